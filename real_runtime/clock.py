"""The study's time by the machine's monotonic clock, scaled."""

from __future__ import annotations

import time

from core.faults import ActorClock


class Clock:
    """Seconds of the study since `start`; one of them lasts `time_scale` seconds of the wall."""

    __slots__ = ("_started", "time_scale")

    def __init__(self, time_scale: float = 1.0) -> None:
        if not time_scale > 0:
            raise ValueError(f"time_scale is more than 0, not {time_scale}")
        self.time_scale = time_scale
        self._started: float | None = None

    def start(self, origin_s: float | None = None) -> None:
        """Let this moment be zero, or the one that the machine's monotonic clock showed `origin_s`."""
        now_s = time.monotonic()
        self._started = now_s if origin_s is None else min(origin_s, now_s)

    @property
    def origin_s(self) -> float:
        """What the machine's monotonic clock showed at zero."""
        if self._started is None:
            raise RuntimeError("the clock has not started")
        return self._started

    @property
    def started(self) -> bool:
        """Whether the study has begun."""
        return self._started is not None

    @property
    def now(self) -> float:
        """Seconds of the study; 0 before the start."""
        if self._started is None:
            return 0.0
        return (time.monotonic() - self._started) / self.time_scale

    def wall(self, seconds: float) -> float:
        """Wall seconds of `seconds` of the study; raises `ValueError` if they are negative or not a number."""
        if not seconds >= 0:
            raise ValueError(f"a delay is not negative: {seconds}")
        return seconds * self.time_scale


class OwnClock:
    """The study's time as one actor sees it: faults may put its clock wrong."""

    __slots__ = ("_clock", "_skew")

    def __init__(self, clock: Clock, skew: ActorClock) -> None:
        self._clock = clock
        self._skew = skew

    @property
    def now(self) -> float:
        """Seconds of the study by this clock."""
        return self._skew.reading(self._clock.now)

    def wall(self, seconds: float) -> float:
        """Wall seconds of `seconds` by this clock; raises `ValueError` if they are negative or not a number."""
        return self._skew.true(self._clock.wall(seconds))
