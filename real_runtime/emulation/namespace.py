"""Network namespaces without names, each with one TUN interface: made by a thread, gone with the last descriptor.

Nothing of the machine's own network is touched: a thread leaves its namespace for a new, empty one (unshare(2)), makes
the interface, its address and its one route there, and ends. What is left are descriptors: of the namespace, of the
interface (whoever holds it reads and writes its packets), of a listening socket. When the processes that hold them have
ended, however they end, the kernel removes all of it; there is no file and no name to clean up.
"""

from __future__ import annotations

import ctypes
import dataclasses
import errno
import fcntl
import os
import socket
import struct
import sys
import threading
from pathlib import Path
from typing import Final

TUN: Final = Path("/dev/net/tun")
INTERFACE: Final = b"tun0"
#: Largest packet, bytes, IP header included: that of Ethernet.
MTU_BYTES: Final = 1500
#: The network that the addresses are of; it exists inside the namespaces only.
NETWORK: Final = "10.0.0.0"
PREFIX_BITS: Final = 16
#: Packets that may wait for the relay to read them: a burst of a whole send buffer.
QUEUE_PACKETS: Final = 8192

# Numbers of the Linux interface: <linux/sched.h>, <linux/if_tun.h>, <linux/sockios.h>, <linux/if.h>,
# <linux/rtnetlink.h>.
_CLONE_NEWNET: Final = 0x40000000
_TUNSETIFF: Final = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x1, 0x1000
_SIOCSIFFLAGS, _SIOCSIFADDR, _SIOCSIFNETMASK, _SIOCSIFMTU, _SIOCSIFTXQLEN = 0x8914, 0x8916, 0x891C, 0x8922, 0x8943
_IFF_UP, _IFF_RUNNING = 0x1, 0x40
_RTM_NEWROUTE: Final = 24
_NLM_REQUEST_ACK_CREATE: Final = 0x1 | 0x4 | 0x400
_NLMSG_ERROR: Final = 2
_RT_TABLE_MAIN, _RTPROT_STATIC, _RT_SCOPE_LINK, _RTN_UNICAST = 254, 4, 253, 1
_RTA_DST, _RTA_OIF, _RTA_METRICS, _RTAX_CC_ALGO = 1, 4, 8, 16


class EmulationUnavailable(Exception):
    """Links cannot be emulated here; the message says what is missing, in one line."""


@dataclasses.dataclass(frozen=True)
class Wire:
    """The end of one node's link: its address, and the descriptors that keep it alive."""

    address: str
    listener: socket.socket
    namespace_fd: int
    tun_fd: int

    def close(self) -> None:
        """Let go of the descriptors that this process holds."""
        self.listener.close()
        os.close(self.namespace_fd)
        os.close(self.tun_fd)


def address_of(number: int) -> str:
    """The address of the node of a number, from 0."""
    return f"10.0.{number // 250}.{number % 250 + 1}"


def make_wire(number: int, *, congestion: str) -> Wire:
    """A namespace of its own for a node, with its link's end and a listening socket inside.

    `congestion` is the congestion control of TCP inside it. Raises `EmulationUnavailable`.
    """
    if missing := _missing():
        raise EmulationUnavailable(f"links cannot be emulated: {missing}")
    made: list[Wire] = []
    failures: list[OSError] = []

    def make() -> None:
        try:
            made.append(_make(address_of(number), congestion))
        except OSError as error:
            failures.append(error)

    # A namespace belongs to a thread: this one leaves the process's own, and ends.
    thread = threading.Thread(target=make, name="namespace")
    thread.start()
    thread.join()
    if failures:
        raise EmulationUnavailable(f"links cannot be emulated: {failures[0].strerror or failures[0]}") from failures[0]
    return made[0]


def enter(namespace_fd: int) -> None:
    """Move the calling thread, and those that it starts, into a namespace. Raises `OSError`."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace_fd, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), f"setns: {os.strerror(ctypes.get_errno())}")


def _missing() -> str:
    """What is known to be missing before anything is tried; empty if nothing is."""
    if sys.platform != "linux":
        return "network namespaces are Linux's"
    if os.geteuid() != 0:
        return "that takes root"
    if not os.access(TUN, os.R_OK | os.W_OK):
        return f"{TUN} is not there, or not to be opened"
    return ""


def _make(address: str, congestion: str) -> Wire:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), f"no new network namespace ({os.strerror(ctypes.get_errno())})")
    namespace_fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    tun_fd = -1
    try:
        tun_fd = _open_tun()
        _configure(address)
        _add_route(congestion)
        listener = socket.create_server((address, 0))
    except OSError:
        os.close(namespace_fd)
        if tun_fd >= 0:
            os.close(tun_fd)
        raise
    return Wire(address, listener, namespace_fd, tun_fd)


def _open_tun() -> int:
    tun_fd = os.open(TUN, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.ioctl(tun_fd, _TUNSETIFF, struct.pack("16sH22x", INTERFACE, _IFF_TUN | _IFF_NO_PI))
    except OSError:
        os.close(tun_fd)
        raise
    return tun_fd


def _configure(address: str) -> None:
    """Give the interface its address, packet size and queue, and switch it and the loopback interface on."""

    def of_address(text: str) -> bytes:
        return struct.pack("16sH2x4s16x", INTERFACE, socket.AF_INET, socket.inet_aton(text))

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SIOCSIFADDR, of_address(address))
        # The address alone, so that the kernel adds no route of its own beside the one below.
        fcntl.ioctl(control, _SIOCSIFNETMASK, of_address("255.255.255.255"))
        fcntl.ioctl(control, _SIOCSIFMTU, struct.pack("16si20x", INTERFACE, MTU_BYTES))
        fcntl.ioctl(control, _SIOCSIFTXQLEN, struct.pack("16si20x", INTERFACE, QUEUE_PACKETS))
        for name in (INTERFACE, b"lo"):
            fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sH22x", name, _IFF_UP | _IFF_RUNNING))


def _attribute(kind: int, value: bytes) -> bytes:
    """A netlink attribute, padded to four bytes."""
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def _add_route(congestion: str) -> None:
    """The route to all other nodes. It names the congestion control: a namespace's own default may not be cubic."""
    network = socket.inet_aton(NETWORK)
    body = struct.pack(
        "=BBBBBBBBI",
        *(socket.AF_INET, PREFIX_BITS, 0, 0, _RT_TABLE_MAIN, _RTPROT_STATIC, _RT_SCOPE_LINK, _RTN_UNICAST, 0),
    )
    body += _attribute(_RTA_DST, network)
    body += _attribute(_RTA_OIF, struct.pack("=i", socket.if_nametoindex(INTERFACE.decode())))
    body += _attribute(_RTA_METRICS, _attribute(_RTAX_CC_ALGO, congestion.encode() + b"\0"))
    head = struct.pack("=IHHII", 16 + len(body), _RTM_NEWROUTE, _NLM_REQUEST_ACK_CREATE, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        netlink.send(head + body)
        answer = netlink.recv(4096)
    kind, code = struct.unpack_from("=4xH10xi", answer)
    if kind != _NLMSG_ERROR or code:
        why = os.strerror(-code) if code else "no answer"
        raise OSError(-code or errno.EIO, f"no route with congestion control {congestion!r} ({why})")
