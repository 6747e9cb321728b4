"""Checks of the hyperparameters that models are made with."""

from __future__ import annotations


def size(model: str, option: str, value: object, *, least: int = 1) -> None:
    """Refuse what is no whole number from `least`. Raises `ValueError`, which names the model and the option."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{option} of {model} is {value!r}; a whole number from {least} is expected")


def image_shape(model: str, input_shape: tuple[int, ...], least: int) -> tuple[int, int, int]:
    """Rows, columns and channels of images [rows, columns(, channels)]. Raises `ValueError` for other examples."""
    if len(input_shape) not in (2, 3) or min(input_shape[:2]) < least:
        raise ValueError(
            f"{model} takes images of at least {least}×{least} pixels, not examples of shape {input_shape}"
        )
    return input_shape[0], input_shape[1], input_shape[2] if len(input_shape) == 3 else 1


def no_tokens(model: str, tokens: int) -> None:
    """Refuse examples that are tokens. Raises `ValueError`."""
    if tokens:
        raise ValueError(f"{model} takes examples of numbers, not of tokens; lstm, decoder and encoder take tokens")
