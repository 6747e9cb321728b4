"""The actor contract: `Actor`, `Message`, `Context` and the failures between actors."""

from core.actor.actor import LOCAL_MESSAGES, SYSTEM_MESSAGES, Actor, DeviceChanged, PeerGone, Refusal, Start
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
from core.crowd import Crowd, News
from core.wire import ArrayDict, Message, Payload

__all__ = [
    "LOCAL_MESSAGES",
    "SYSTEM_MESSAGES",
    "Actor",
    "ArrayDict",
    "Child",
    "ChildFailed",
    "Context",
    "Crowd",
    "DeadlineExceeded",
    "DeviceChanged",
    "DeviceFailed",
    "DeviceView",
    "Failure",
    "Group",
    "Message",
    "News",
    "Payload",
    "PeerGone",
    "PeerLeft",
    "QueueFull",
    "Refusal",
    "Refused",
    "Start",
    "Timer",
]
