"""Energy of a radio: so much a byte, a power while it is active, and promotion and tail around activity.

The states are those of Huang et al. ("A close examination of performance and power characteristics of 4G LTE
networks", MobiSys 2012): idle, promotion, active, and a tail after the last byte. A transfer costs
`P_promotion t_promotion + (slope rate + P_active) bytes / rate + P_tail min(gap, t_tail)`, where the rate is that of
the device's access link.

Deviations: the delay of a promotion is part of the link's latency, and a transfer that shares its link with others
takes the tail's power, not the active one, for the time that it takes longer.
"""

from __future__ import annotations

import math
from typing import NamedTuple


class Radio(NamedTuple):
    """Energy and powers above idle. With `tail_s` 0 there are no states: a byte has its energy, and that is all."""

    #: Energy of a byte beside the power of being active, J.
    send_j_per_byte: float
    receive_j_per_byte: float
    #: Power while bytes move, W.
    send_w: float = 0.0
    receive_w: float = 0.0
    #: Power and time of going from idle to active.
    promotion_w: float = 0.0
    promotion_s: float = 0.0
    #: Power and time after the last byte.
    tail_w: float = 0.0
    tail_s: float = 0.0

    @property
    def promotion_j(self) -> float:
        """Energy of a promotion, J."""
        return self.promotion_w * self.promotion_s

    @property
    def most_w(self) -> float:
        """Power of its thirstiest state, W, beside the energy of bytes."""
        return max(self.send_w, self.receive_w, self.promotion_w, self.tail_w)

    def byte_j(self, up_bytes_per_s: float, down_bytes_per_s: float) -> tuple[float, float]:
        """Energy of a byte sent and of one received, J, at the link's rates; above the tail, which runs meanwhile."""
        return (
            self.send_j_per_byte + max(self.send_w - self.tail_w, 0.0) / up_bytes_per_s,
            self.receive_j_per_byte + max(self.receive_w - self.tail_w, 0.0) / down_bytes_per_s,
        )

    def problem(self) -> str | None:
        """What is wrong with the values, if something is."""
        for name, value in zip(self._fields, self, strict=True):
            if not 0.0 <= value < math.inf:
                return f"{name} is {value!r}; at least 0"
        return None

    def transfer_j(self, size_bytes: float, bytes_per_s: float, *, up: bool, gap_s: float = math.inf) -> float:
        """Energy of one transfer from idle, followed by `gap_s` of silence, J."""
        slope, watts = (self.send_j_per_byte, self.send_w) if up else (self.receive_j_per_byte, self.receive_w)
        active_j = slope * size_bytes + watts * size_bytes / bytes_per_s
        return self.promotion_j + active_j + self.tail_w * min(gap_s, self.tail_s)
