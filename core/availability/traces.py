"""Traces: the states of measured devices by file, one after the other, again and again.

Three formats are read, none of which is ever executed: FedScale's `client_behave_trace` (a pickle, of plain data only),
FLASH's states (JSON), and a table of our own (CSV: client, time_s and state).

FedScale: a client is available when, with t modulo `finish_time`, `active[i] <= t <= inactive[i]`; it is idle, charging
and on free Wi-Fi then, and at home otherwise. FLASH: available when the screen is off or locked, the battery charges,
and the network is Wi-Fi; the three are kept apart here. As for FLASH's own reader (`models/timer.py`), the case of
events does not matter, blank lines are nothing, and the battery's charge (93.0%) stands among the events. In a table,
`state` is idle, any of in_use, charging and metered joined by +, or end, which tells when the trace of its client
begins anew.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import datetime
import io
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NoReturn

from core import plain_json
from core.availability import plain_pickle
from core.availability.states import CHARGING, DOCKED, HOME, IN_USE, METERED

#: Largest file that is read, bytes, and most clients and events of one.
MAX_BYTES: Final = 1 << 28
MAX_CLIENTS: Final = 1_000_000
MAX_EVENTS: Final = 20_000_000
#: Longest trace of a client, s: a hundred years.
MAX_PERIOD_S: Final = 3.2e9

Events = list[tuple[float, int]]


@dataclasses.dataclass(frozen=True)
class Trace:
    """One client: at `times_s[i]`, from 0 up to `period_s`, it comes into `states[i]`; then it all begins anew."""

    name: str
    period_s: float
    times_s: tuple[float, ...]
    states: tuple[int, ...]


class TraceError(ValueError):
    """A file is no trace; says where and why."""


def _refuse(where: str, why: str) -> NoReturn:
    raise TraceError(f"{where}: {why}")


def read_traces(path: str | Path) -> tuple[Trace, ...]:
    """The traces of a file, sorted by client: `.csv`, `.json` (FLASH) or FedScale's pickle. Raises `TraceError`."""
    path = Path(path)
    where, data = str(path), _bytes(path)
    if path.suffix == ".csv":
        found = list(_table(where, data))
    elif path.suffix == ".json":
        found = list(_flash(where, data))
    else:
        found = list(_fedscale(where, data))
    if not found:
        _refuse(where, "has no client")
    return tuple(sorted(found, key=lambda trace: trace.name))


def _bytes(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES:
            _refuse(str(path), f"has {path.stat().st_size} bytes; at most {MAX_BYTES} are read")
        return path.read_bytes()
    except OSError as error:
        raise TraceError(f"{path}: cannot be read: {error.strerror or error}") from error


def _trace(where: str, client: str, period_s: float, events: Events) -> Trace:
    """A trace without events that change nothing. The last of several at one time counts."""
    here = f"{where}: client {client[:100]!r}"
    if not 0.0 < period_s <= MAX_PERIOD_S:
        _refuse(here, f"lasts {period_s!r} s; more than 0 and at most {MAX_PERIOD_S:g} s are accepted")
    kept: Events = []
    for time_s, state in events:
        if not 0.0 <= time_s < period_s:
            _refuse(
                here, f"has an event at {time_s!r} s; times from 0 to below its length, {period_s!r} s, are accepted"
            )
        if kept and time_s < kept[-1][0]:
            _refuse(here, f"goes back in time, from {kept[-1][0]!r} s to {time_s!r} s")
        if kept and time_s == kept[-1][0]:
            kept.pop()
        if not kept or state != kept[-1][1]:
            kept.append((time_s, state))
    if not kept:
        _refuse(here, "has no event")
    if len(kept) > max(1.0, period_s):
        _refuse(here, f"has {len(kept)} events in {period_s:g} s; at most one a second, on the whole, is accepted")
    if len(kept) > 1 and kept[0][1] == kept[-1][1]:
        # The last state lasts over the beginning.
        kept.pop(0)
    return Trace(client, period_s, tuple(time_s for time_s, _ in kept), tuple(state for _, state in kept))


def _number(where: str, what: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= MAX_PERIOD_S:
        _refuse(where, f"{what} is {str(value)[:60]!r}; a number of seconds is accepted")
    return float(value)


# FedScale.


def _unpickled(where: str, data: bytes) -> object:
    try:
        return plain_pickle.loads(data)
    except plain_pickle.NotPlain as error:
        raise TraceError(f"{where}: {error}") from error


def _fedscale(where: str, data: bytes) -> Iterator[Trace]:
    clients = _unpickled(where, data)
    if not isinstance(clients, dict) or len(clients) > MAX_CLIENTS:
        _refuse(where, f"a map of at most {MAX_CLIENTS} clients is accepted")
    events = 0
    names: set[str] = set()
    for client, entry in clients.items():
        here = f"{where}: client {str(client)[:100]!r}"
        if not isinstance(client, str | int) or not isinstance(entry, dict):
            _refuse(here, "a map of names or numbers to maps is accepted")
        if str(client) in names:
            _refuse(here, "stands twice, once as a number and once as text; it once is accepted")
        names.add(str(client))
        active, inactive = entry.get("active"), entry.get("inactive")
        if not isinstance(active, list) or not isinstance(inactive, list) or len(active) != len(inactive):
            _refuse(here, "`active` and `inactive` are not two lists of times of one length")
        events += 2 * len(active)
        if events > MAX_EVENTS:
            _refuse(where, f"has more than {MAX_EVENTS} events")
        period_s = _number(here, "finish_time", entry.get("finish_time"))
        slots: Events = [(0.0, HOME)]
        for begin, end in zip(active, inactive, strict=True):
            begin_s, end_s = _number(here, "a time in `active`", begin), _number(here, "a time in `inactive`", end)
            if end_s < begin_s:
                _refuse(here, f"goes back in time: a slot from {begin_s!r} s to {end_s!r} s")
            slots.append((begin_s, DOCKED))
            # A slot may last until the end of the trace, and no longer.
            if end_s < period_s:
                slots.append((end_s, HOME))
        yield _trace(where, str(client), period_s, slots)


# FLASH.

#: Bits beside those of a state while a phone's lines are read: its screen is off, it is locked, nothing is known of
#: either yet. Any of them leaves it alone, as FLASH has it: available with the screen off or locked.
_OFF: Final = 8
_LOCKED: Final = 16
_UNTOLD: Final = 32
#: What an event, in lower case, makes of a state: bits that it clears, and bits that it sets.
_EVENTS: Final[Mapping[str, tuple[int, int]]] = {
    "battery_charged_on": (0, CHARGING),
    "battery_charged_off": (CHARGING, 0),
    "battery_low": (0, 0),
    "battery_okay": (0, 0),
    "phone_on": (0, 0),
    "phone_off": (0, 0),
    "screen_on": (_OFF | _UNTOLD, 0),
    "screen_off": (_UNTOLD, _OFF),
    "screen_unlock": (_LOCKED | _UNTOLD, 0),
    "screen_lock": (_UNTOLD, _LOCKED),
    "wifi": (METERED, 0),
    **dict.fromkeys(("2g", "3g", "4g", "5g", "unknown"), (0, METERED)),
}
#: The battery's charge, such as 93.0%, stands among the events and changes nothing.
_CHARGE: Final = re.compile(r"[0-9]+(\.[0-9]+)?%")
_DAY_S: Final = 86_400.0


def _flash(where: str, data: bytes) -> Iterator[Trace]:
    try:
        clients = plain_json.loads(data)
    except plain_json.Twice as error:
        raise TraceError(f"{where}: {error}") from error
    except (ValueError, RecursionError) as error:
        raise TraceError(f"{where}: is no JSON: {str(error)[:200]}") from error
    if not isinstance(clients, dict) or len(clients) > MAX_CLIENTS:
        _refuse(where, f"a map of at most {MAX_CLIENTS} clients is accepted")
    for client, entry in clients.items():
        here = f"{where}: client {client[:100]!r}"
        messages = entry.get("messages") if isinstance(entry, dict) else None
        if not isinstance(messages, str):
            _refuse(here, "has no `messages`, lines of a time, a tab and an event")
        times: list[float] = []
        states: list[int] = []
        # Until it is told otherwise: left alone, on its battery, on a network that costs.
        told = METERED | _UNTOLD
        for number, line in enumerate(messages.split("\n"), 1):
            if not line.strip():
                continue
            stamp, _, event = (part.strip() for part in line.strip().partition("\t"))
            change = (0, 0) if _CHARGE.fullmatch(event) else _EVENTS.get(event.lower())
            if change is None:
                known = ", ".join(_EVENTS)
                why = f"has the unknown event {event[:60]!r}; known are {known} and a charge such as 93.0%"
                _refuse(f"{here}, line {number}", why)
            time_s = _stamp(f"{here}, line {number}", stamp)
            if times and time_s < times[-1]:
                _refuse(f"{here}, line {number}", f"goes back in time, to {stamp}")
            told = told & ~change[0] | change[1]
            in_use = 0 if told & (_OFF | _LOCKED | _UNTOLD) else IN_USE
            times.append(time_s)
            states.append(told & (CHARGING | METERED) | in_use)
        if not times:
            _refuse(here, "has no event")
        # Whole days from midnight on, so that the time of day stays what it was when the trace begins anew.
        origin_s = math.floor(times[0] / _DAY_S) * _DAY_S
        period_s = (math.floor((times[-1] - origin_s) / _DAY_S) + 1) * _DAY_S
        yield _trace(where, client, period_s, [(t - origin_s, s) for t, s in zip(times, states, strict=True)])


def _stamp(where: str, text: str) -> float:
    """A time: seconds, or a date and time of day without zone, which is taken as the user's own."""
    with contextlib.suppress(ValueError):
        seconds = float(text)
        if abs(seconds) <= MAX_PERIOD_S:
            return seconds
    for form in ("%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S"):
        try:
            since = datetime.datetime.strptime(text, form) - datetime.datetime(1970, 1, 1)
        except ValueError:
            continue
        return since.total_seconds()
    _refuse(where, f"begins with {text[:60]!r}; seconds, or a time such as 2020-02-01 13:45:00, are accepted")


# Tables.

_WORDS: Final = {"in_use": IN_USE, "charging": CHARGING, "metered": METERED}


def _table(where: str, data: bytes) -> Iterator[Trace]:
    try:
        lines = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
        header = next(lines, [])
        if header != ["client", "time_s", "state"]:
            _refuse(f"{where}, line 1", f"is {','.join(header)[:100]!r}; client,time_s,state is accepted")
        clients: dict[str, list[tuple[str, float, str]]] = {}
        for number, line in enumerate(lines, 2):
            here = f"{where}, line {number}"
            if len(line) != 3 or not line[0]:
                _refuse(here, f"has {len(line)} fields; a client, a time and a state are accepted")
            if number > MAX_EVENTS:
                _refuse(where, f"has more than {MAX_EVENTS} events")
            try:
                time_s = float(line[1])
            except ValueError:
                _refuse(here, f"has the time {line[1][:60]!r}; a number of seconds is accepted")
            clients.setdefault(line[0], []).append((here, _number(here, "the time", time_s), line[2]))
    except (UnicodeDecodeError, csv.Error) as error:
        raise TraceError(f"{where}: is no table of comma-separated values: {str(error)[:200]}") from error
    if len(clients) > MAX_CLIENTS:
        _refuse(where, f"has more than {MAX_CLIENTS} clients")
    for client, entries in clients.items():
        events: Events = []
        end: float | None = None
        for here, time_s, words in entries:
            if end is not None:
                _refuse(here, "comes after the end of its client's trace")
            if events and time_s < events[-1][0]:
                _refuse(here, f"goes back in time, from {events[-1][0]!r} s to {time_s!r} s")
            if words == "end":
                end = time_s
                continue
            events.append((time_s, _state(here, words)))
        period_s = end
        if period_s is None:
            _refuse(f"{where}: client {client[:100]!r}", "has no state `end`, which tells when its trace begins anew")
        yield _trace(where, client, period_s, events)


def _state(where: str, words: str) -> int:
    if words == "idle":
        return 0
    state = 0
    for word in words.split("+"):
        if word not in _WORDS:
            _refuse(
                where, f"has the state {words[:60]!r}; idle, end, or any of {', '.join(_WORDS)} joined by + is accepted"
            )
        state |= _WORDS[word]
    return state
