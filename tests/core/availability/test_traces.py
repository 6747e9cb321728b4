"""Trace files: FedScale's, FLASH's and our own are read as they say, bad ones are refused, and nothing is executed."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.availability import CHARGING, IN_USE, METERED, Replay, Table, Trace, TraceError, read_traces
from core.availability import traces as module
from core.availability.states import DOCKED, HOME

FEDSCALE = {
    7: {"duration": 50, "inactive": [30, 80], "finish_time": 100, "active": [10, 50], "model": "A"},
    2: {"duration": 20, "inactive": [200.5], "finish_time": 200.5, "active": [180], "model": "B"},
    3: {"duration": 0, "inactive": [], "finish_time": 60, "active": [], "model": "C"},
}


def write(path: Path, content: object) -> Path:
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def state_at(trace: Trace, time_s: float) -> int:
    """The state of a trace at a time of its own."""
    place = time_s % trace.period_s
    past = [state for at, state in zip(trace.times_s, trace.states, strict=True) if at <= place]
    return past[-1] if past else trace.states[-1]


@pytest.mark.parametrize("protocol", range(5))
def test_fedscale_is_read_as_it_defines_itself(tmp_path: Path, protocol: int) -> None:
    found = {trace.name: trace for trace in read_traces(write(tmp_path / "t", pickle.dumps(FEDSCALE, protocol)))}
    assert list(found) == ["2", "3", "7"]
    for client, entry in FEDSCALE.items():
        trace = found[str(client)]
        for time_s in np.arange(0.25, 2.0 * entry["finish_time"], 0.5):  # type: ignore[operator]
            place = time_s % entry["finish_time"]  # type: ignore[operator]
            slots = zip(entry["active"], entry["inactive"], strict=True)  # type: ignore[call-overload]
            available = any(begin <= place <= end for begin, end in slots)
            assert (state_at(trace, time_s) == DOCKED) == available, (client, time_s)


class Evil:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        import os

        return os.system, ("touch /tmp/aivsim-was-here",)


HOSTILE: dict[str, bytes] = {
    "a call": pickle.dumps({1: Evil()}),
    "an old call": b"cos\nsystem\n(S'true'\ntR.",
    "a set": pickle.dumps({1, 2}, 4),
    "bytes": pickle.dumps({1: b"x"}, 4),
    "a huge memo": b"\x80\x04]r\xff\xff\xff\x7f.",
    "an old huge memo": b"(lp2000000000\n.",
    "a persistent id": b"Pabc\n.",
    "a registered extension": b"\x80\x02\x82\x01.",
    "nothing": b"",
    "noise": bytes(range(256)),
    "a cut file": pickle.dumps(FEDSCALE)[:-10],
    "a number": pickle.dumps(5),
    "a list": pickle.dumps([1, 2]),
    "digits without end": b"I" + b"9" * 5000 + b"\n.",
    "an empty stack": b"\x80\x04.",
    "an unhashable key": b"}(]Nu.",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_pickles_are_refused(tmp_path: Path, kind: str) -> None:
    file = write(tmp_path / "t", HOSTILE[kind])
    with pytest.raises(TraceError, match=str(file)):
        read_traces(file)
    assert not Path("/tmp/aivsim-was-here").exists()


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60), st.integers(0, 200), st.binary(max_size=3))
def test_any_bytes_are_a_trace_or_refused(tmp_path_factory: Any, noise: bytes, at: int, graft: bytes) -> None:
    whole = pickle.dumps(FEDSCALE)
    for data in (noise, whole[:at] + graft + whole[at + len(graft) :]):
        file = write(tmp_path_factory.mktemp("t") / "t", data)
        with contextlib.suppress(TraceError):
            assert all(trace.times_s for trace in read_traces(file))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"active": [50, 10], "inactive": [80, 30]}, "goes back in time"),
        ({"active": [10], "inactive": [5]}, "goes back in time"),
        ({"active": [10, 20], "inactive": [30]}, "two lists of times of one length"),
        ({"active": "10"}, "two lists"),
        ({"active": ["x", 50]}, "a number of seconds"),
        ({"active": [math.nan, 50]}, "a number of seconds"),
        ({"active": [True, 50]}, "a number of seconds"),
        ({"finish_time": 40}, "below its length"),
        ({"finish_time": 0}, "lasts 0.0 s"),
        ({"finish_time": None}, "finish_time"),
        ({"active": [-5, 50]}, "below its length"),
        ({"finish_time": 1e-3, "active": [0, 4e-4], "inactive": [2e-4, 6e-4]}, "at most one a second"),
    ],
)
def test_impossible_slots_are_refused(tmp_path: Path, change: dict[str, object], why: str) -> None:
    file = write(tmp_path / "t", pickle.dumps({7: {**FEDSCALE[7], **change}}))
    with pytest.raises(TraceError, match=why) as caught:
        read_traces(file)
    assert "client '7'" in str(caught.value)


def test_a_client_stands_once(tmp_path: Path) -> None:
    slot = {"active": [10.0], "inactive": [20.0], "finish_time": 100}
    with pytest.raises(TraceError, match="client '7': stands twice, once as a number"):
        read_traces(write(tmp_path / "t", pickle.dumps({7: slot, "7": slot})))


def test_flash_is_read_as_it_defines_itself(tmp_path: Path) -> None:
    """Available: screen off or locked, charging, and Wi-Fi."""
    events = [
        ("2020-02-01 06:00:00", "wifi"),
        ("2020-02-01 07:00:00", "battery_charged_on"),
        ("2020-02-01 08:00:00", "screen_on"),
        ("2020-02-01 08:00:00", "screen_unlock"),
        ("2020-02-01 09:00:00", "screen_lock"),
        ("2020-02-01 09:30:00", "battery_okay"),
        ("2020-02-01 10:00:00", "4G"),
        ("2020-02-01 11:00:00", "battery_charged_off"),
    ]
    messages = "".join(f"{time}\t{event}\n" for time, event in events)
    (trace,) = read_traces(write(tmp_path / "t.json", {"user": {"model": "X", "messages": messages}}))
    assert trace.period_s == 86_400.0
    assert [(at / 3600, state) for at, state in zip(trace.times_s, trace.states, strict=True)] == [
        (6, 0),
        (7, CHARGING),
        (8, CHARGING | IN_USE),
        (9, CHARGING),
        (10, CHARGING | METERED),
        (11, METERED),
    ]


def test_flash_as_its_phones_wrote_it(tmp_path: Path) -> None:
    """What FLASH's own reader takes (models/timer.py): charges among the events, any case, blank lines; and CRLF."""
    lines = (
        "2020-01-29 00:43:40\tbattery_charged_off",
        "2020-01-29 00:43:40\t93.0%",
        "2020-01-29 00:43:41\twifi",
        "",
        "2020-01-29 06:00:00\tBattery_Charged_On ",
        "   ",
        "2020-01-29 07:00:00\t100%",
        "2020-01-29 08:00:00\tUnknown",
        "2020-01-29 09:00:00\tWIFI",
        "2020-01-29 10:00:00\tunknown",
        "2020-01-30 01:00:00\t0.0%",
        "",
    )
    files = {end: write(tmp_path / f"{end!r}.json", {"0": {"messages": end.join(lines)}}) for end in ("\n", "\r\n")}
    (trace,) = read_traces(files["\n"])
    assert read_traces(files["\r\n"]) == (trace,)
    # The charge on the second day changes nothing, but the trace lasts until then.
    assert trace.period_s == 2 * 86_400.0
    assert list(zip(trace.times_s, trace.states, strict=True)) == [
        (2620.0, METERED),
        (2621.0, 0),
        (6 * 3600.0, CHARGING),
        (8 * 3600.0, CHARGING | METERED),
        (9 * 3600.0, CHARGING),
        (10 * 3600.0, CHARGING | METERED),
    ]


def test_lines_of_flash_are_counted_with_blank_ones(tmp_path: Path) -> None:
    file = write(tmp_path / "t.json", {"u": {"messages": "\n1\twifi\n \n2\tdance\n"}})
    with pytest.raises(TraceError, match="line 4: has the unknown event 'dance'"):
        read_traces(file)


def test_a_phone_of_flash_is_in_use_with_its_screen_on_and_not_locked(tmp_path: Path) -> None:
    """All sequences of four. Screen and lock of which nothing was told yet, but of the other, are a user's."""
    sequences = list(itertools.product(("on", "off", "lock", "unlock"), repeat=4))
    clients = {
        " ".join(events): {"messages": "".join(f"{i}0\tscreen_{event}\n" for i, event in enumerate(events, 1))}
        for events in sequences
    }
    found = {trace.name: trace for trace in read_traces(write(tmp_path / "t.json", clients))}
    for events in sequences:
        on, locked = True, False
        for i, event in enumerate(events, 1):
            on = {"on": True, "off": False}.get(event, on)
            locked = {"lock": True, "unlock": False}.get(event, locked)
            in_use = bool(state_at(found[" ".join(events)], 10.0 * i) & IN_USE)
            assert in_use == (on and not locked), (events, i)


@pytest.mark.parametrize(
    ("messages", "at_rest"),
    [
        ("1\twifi\n2\tbattery_charged_on\n3\tscreen_lock\n4\tscreen_on\n", True),
        ("1\twifi\n2\tbattery_charged_on\n3\tscreen_off\n4\tscreen_unlock\n", True),
        ("1\twifi\n2\tbattery_charged_on\n3\tscreen_on\n4\tscreen_unlock\n", False),
        ("1\twifi\n2\tbattery_charged_on\n", True),
    ],
)
def test_a_locked_phone_that_lights_up_is_at_rest(tmp_path: Path, messages: str, at_rest: bool) -> None:
    (trace,) = read_traces(write(tmp_path / "t.json", {"u": {"messages": messages}}))
    assert (state_at(trace, 5.0) == DOCKED) == at_rest


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("{", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ([], "a map"),
        ('{"a": {"messages": "0\\tscreen_on"}, "a": {"messages": "5\\tscreen_on"}}', "the key 'a' stands twice"),
        ({"u": {}}, "has no `messages`"),
        ({"u": {"messages": ""}}, "has no event"),
        ({"u": {"messages": "5\tdance\n"}}, "unknown event 'dance'"),
        ({"u": {"messages": "5\t%\n"}}, "unknown event '%'"),
        ({"u": {"messages": "5\tmuch%\n"}}, "unknown event 'much%'"),
        ({"u": {"messages": "5\t93.0\n"}}, "unknown event '93.0'; known are .* and a charge such as 93.0%"),
        ({"u": {"messages": "later\twifi\n"}}, "begins with 'later'"),
        ({"u": {"messages": "nan\twifi\n"}}, "begins with 'nan'"),
        ({"u": {"messages": "1e300\twifi\n"}}, "begins with '1e300'"),
        ({"u": {"messages": "10\twifi\n5\t4G\n"}}, "line 2: goes back in time"),
        ({}, "has no client"),
    ],
)
def test_bad_flash_files_are_refused(tmp_path: Path, content: object, why: str) -> None:
    file = write(tmp_path / "t.json", content)
    with pytest.raises(TraceError, match=why) as caught:
        read_traces(file)
    assert str(file) in str(caught.value)


CSV = "client,time_s,state\na,0,idle\na,10,charging\nb,5,in_use+metered\na,60,end\nb,8,idle\nb,20,end\n"


def test_a_table(tmp_path: Path) -> None:
    a, b = read_traces(write(tmp_path / "t.csv", CSV))
    assert a == Trace("a", 60.0, (0.0, 10.0), (HOME, DOCKED))
    assert b == Trace("b", 20.0, (5.0, 8.0), (IN_USE | METERED, HOME))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "line 1"),
        ("a,b\n", "client,time_s,state is accepted"),
        ("client,time_s,state\na,1\n", "line 2: has 2 fields"),
        ("client,time_s,state\na,x,idle\n", "line 2: has the time 'x'"),
        ("client,time_s,state\na,1,asleep\na,2,end\n", "line 2: has the state 'asleep'"),
        ("client,time_s,state\na,5,idle\na,4,charging\na,9,end\n", "line 3: goes back in time"),
        ("client,time_s,state\na,5,idle\n", "no state `end`"),
        ("client,time_s,state\na,5,idle\na,9,end\na,10,idle\n", "line 4: comes after the end"),
        ("client,time_s,state\na,5,idle\na,5,end\n", "below its length"),
        (b"client,time_s,state\n\xff", "no table"),
        ('client,time_s,state\n"a', "no table"),
        ("client,time_s,state\n", "has no client"),
    ],
)
def test_bad_tables_are_refused(tmp_path: Path, content: object, why: str) -> None:
    with pytest.raises(TraceError, match=why):
        read_traces(write(tmp_path / "t.csv", content))


def test_sizes_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "t", pickle.dumps(FEDSCALE))
    for bound, why in (
        ("MAX_BYTES", "bytes; at most 2 are read"),
        ("MAX_CLIENTS", "at most 2 clients"),
        ("MAX_EVENTS", "2 events"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(module, bound, 2)
            with pytest.raises(TraceError, match=why):
                read_traces(file)
    with pytest.raises(TraceError, match="cannot be read"):
        read_traces(tmp_path / "none")


TRACES = (
    Trace("a", 100.0, (10.0, 30.0, 50.0), (DOCKED, HOME, IN_USE)),
    Trace("b", 77.0, (0.0, 30.0), (METERED, CHARGING)),
    Trace("c", 50.0, (20.0,), (DOCKED,)),
)


@pytest.mark.parametrize("shuffled", [False, True])
def test_devices_follow_their_traces_again_and_again(shuffled: bool) -> None:
    process = Replay(TRACES, 9, 1, "phone", shuffled=shuffled)
    table = Table(process)
    began = table.state.tolist()
    found = table.until(1000.0)
    for index in range(9):
        trace, course = TRACES[index % 3], process.course(index)
        assert course.state == began[index]
        mine = found.device == index
        alone = []
        # Where it is in its trace is the same all the time: less than a second off, or anywhere.
        shift = float(process._shift_s[index])
        assert (0.0 <= shift < trace.period_s) if shuffled else (-1.0 < shift <= 0.0)
        assert course.state == state_at(trace, shift)
        while course.next_s < 1000.0:
            at_s = course.next_s
            middle = (at_s + 1e-6 + shift) % trace.period_s
            course.step()
            assert course.state == state_at(trace, middle)
            alone.append((at_s, course.state))
        assert alone == list(zip(found.time_s[mine].tolist(), found.after[mine].tolist(), strict=True))
        assert len(alone) >= (0 if len(trace.times_s) == 1 else int(1000 / trace.period_s) * len(trace.times_s) - 2)
