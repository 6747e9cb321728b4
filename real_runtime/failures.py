"""How a run on sockets fails; apart from what runs it, so that a simulation loads no transport to know it."""

from __future__ import annotations


class LaunchError(Exception):
    """The run cannot begin, or has failed; `code` is the exit code: 1, or 2 if the user's input is wrong."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code
