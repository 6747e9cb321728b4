"""Text by characters, and windows of recordings.

The vocabulary is the distinct characters of the file in the order of their code points, so that it is the same whoever
reads the file; a federation that may not look at all text would agree on one beforehand.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int32]
Positions = npt.NDArray[np.int64]


def _codes(text: str) -> npt.NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le"), np.uint32)


def next_characters(texts: Sequence[str], client: Ints, length: int) -> tuple[Ints, Ints, Positions, int]:
    """Pieces of all that a client says, in its order, with a line break between two texts.

    Returns x int32[n, length], y int32[n, length] (the characters one further), the first text of each client's piece,
    and the size of the vocabulary. Pieces do not overlap but for the one character; what is left at a client's end is
    left out, and so is a client with no more than `length` characters.
    """
    order = np.argsort(client, kind="stable")
    joined: list[npt.NDArray[np.uint32]] = []
    firsts: list[int] = []
    for members in np.split(order, np.flatnonzero(np.diff(client[order])) + 1):
        codes = _codes("\n".join(texts[i] for i in members))
        count = (len(codes) - 1) // length
        for piece in range(max(count, 0)):
            joined.append(codes[piece * length : (piece + 1) * length + 1])
            firsts.append(int(members[0]))
    if not joined:
        empty = np.zeros((0, length), np.int32)
        return empty, empty, np.zeros(0, np.int64), 0
    pieces = np.stack(joined)
    vocabulary = np.unique(pieces)
    tokens = np.searchsorted(vocabulary, pieces).astype(np.int32)
    return tokens[:, :-1].copy(), tokens[:, 1:].copy(), np.array(firsts, np.int64), len(vocabulary)


def padded_characters(texts: Sequence[str], length: int) -> tuple[Ints, int]:
    """The first `length` characters of each text behind as many 0 as are lacking, and the number of tokens."""
    vocabulary = np.unique(_codes("".join(texts)))
    x = np.zeros((len(texts), length), np.int32)
    for row, text in enumerate(texts):
        codes = _codes(text[:length])
        # A model that speaks at the last position has the end of the text there.
        x[row, length - len(codes) :] = np.searchsorted(vocabulary, codes) + 1
    return x, len(vocabulary) + 1


def window_starts(bounds: Positions, window: int, stride: int, ahead: int) -> tuple[Positions, Positions]:
    """First rows of the windows, and their recordings; `ahead` rows behind a window belong to the same recording."""
    starts = [np.arange(low, high - window - ahead + 1, stride) for low, high in itertools.pairwise(bounds.tolist())]
    recording = np.repeat(np.arange(len(starts)), [len(part) for part in starts])
    return np.concatenate(starts).astype(np.int64), recording.astype(np.int64)
