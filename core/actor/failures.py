"""Failures an actor can handle: the same exceptions, for the same reasons, in both worlds."""

from __future__ import annotations


class Failure(Exception):
    """Base of everything that may go wrong between actors."""


class PeerLeft(Failure):
    """The peer has left, was lost, or was never there."""

    def __init__(self, peer: str) -> None:
        super().__init__(f"{peer} has left")
        self.peer = peer


class DeadlineExceeded(Failure):
    """A `ctx.deadline` or the time-out of a request or a receive ran out."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"not done within {seconds:g} s")
        self.seconds = seconds


class QueueFull(Failure):
    """The receiver's mailbox was full, so that it refused the request."""

    def __init__(self, peer: str) -> None:
        super().__init__(f"the mailbox of {peer} is full")
        self.peer = peer


class Refused(Failure):
    """The receiver does not take this message: it is not expected, too large, or not valid."""

    def __init__(self, peer: str, reason: str) -> None:
        super().__init__(f"{peer} refused the message: {reason}")
        self.peer = peer
        self.reason = reason


class ChildFailed(Failure):
    """A child of a `ctx.group()` failed; `__cause__` is the child's own exception."""


class DeviceFailed(Failure):
    """The device under the actor stopped (empty battery, crash): its computation is lost."""
