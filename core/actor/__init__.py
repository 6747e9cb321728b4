"""The actor contract: `Actor`, `Message`, `Context` and the failures between actors."""

from core.actor.actor import SYSTEM_MESSAGES, Actor, PeerGone, Refusal, Start
from core.actor.context import Child, Context, DeviceView, Group, Timer
from core.actor.failures import (
    ChildFailed,
    DeadlineExceeded,
    DeviceFailed,
    Failure,
    PeerLeft,
    QueueFull,
    Refused,
)
from core.wire import ArrayDict, Message, Payload

__all__ = [
    "SYSTEM_MESSAGES",
    "Actor",
    "ArrayDict",
    "Child",
    "ChildFailed",
    "Context",
    "DeadlineExceeded",
    "DeviceFailed",
    "DeviceView",
    "Failure",
    "Group",
    "Message",
    "Payload",
    "PeerGone",
    "PeerLeft",
    "QueueFull",
    "Refusal",
    "Refused",
    "Start",
    "Timer",
]
