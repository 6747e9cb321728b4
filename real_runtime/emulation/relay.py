"""`python -P -m real_runtime.emulation.relay`: carries the packets of all nodes between their TUN interfaces.

Arguments are the numbers of the inherited descriptors, one a node; standard input begins with a line, the `Plan` as
JSON; a second line is the monotonic clock's time at which the study began. It is the lifeline too: when it ends, as the
launcher wants the end or is gone, so does the relay, and leaves the counts of all nodes as a line of JSON on standard
output.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import sys
import time
from typing import Final

import msgspec

from real_runtime.emulation.shaping import Plan, Shaper, Told
from real_runtime.priority import raise_priority

#: Packets that are read from one interface before others get their turn.
BURST: Final = 64
#: Larger than any packet of an interface.
PACKET_BYTES: Final = 65536
#: Longest sleep, s.
IDLE_S: Final = 10.0


def relay(shaper: Shaper, interfaces: list[int], lifeline: int) -> None:
    """Carry packets until the lifeline ends."""
    number_of = {interface: number for number, interface in enumerate(interfaces)}
    watched = [*interfaces, lifeline]
    clock = time.monotonic
    while True:
        wait_s = min(max(shaper.next_s - clock(), 0.0), IDLE_S)
        ready, _, _ = select.select(watched, (), (), wait_s)
        for interface in ready:
            if interface == lifeline:
                told = os.read(lifeline, 4096)
                if not told:
                    return
                # So short a line comes in one piece.
                shaper.begin(float(told))
                continue
            number = number_of[interface]
            try:
                for _ in range(BURST):
                    shaper.offer(clock(), number, os.read(interface, PACKET_BYTES))
            except BlockingIOError:
                pass
        for number, packet in shaper.due(clock()):
            # A node that has ended has switched its interface off; its packets are lost, as on a dead machine.
            with contextlib.suppress(OSError):
                os.write(interfaces[number], packet)


def main() -> None:
    lifeline = sys.stdin.fileno()
    head = bytearray()
    while b"\n" not in head:
        piece = os.read(lifeline, 1 << 16)
        if not piece:
            return
        head += piece
    plan, _, begun = head.partition(b"\n")
    shaper = Shaper(msgspec.json.decode(plan, type=Plan))
    if begun:
        shaper.begin(float(begun))
    # Lateness of the relay is error of the emulation; nothing here makes cycles that would need collecting.
    raise_priority(by=10)
    gc.disable()
    began_s = time.process_time()
    relay(shaper, [int(argument) for argument in sys.argv[1:]], lifeline)
    told = Told(shaper.counts, time.process_time() - began_s)
    sys.stdout.write(msgspec.json.encode(told).decode() + "\n")


if __name__ == "__main__":
    main()
