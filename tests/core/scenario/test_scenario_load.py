"""Loading: all mistakes at once with their places, overrides, `extends`, names, and random input."""

from __future__ import annotations

import copy
import json
import pickle
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import networkx
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.scenario import Problem, Scenario, ScenarioError, dumps, find, load, parse
from core.scenario.tree import MAX_BYTES

OURS = [Path(__file__).parents[3] / "scenarios"]

SMALL = """
    name: small
    training: {rounds: 3}
    devices:
      - {name: phone, count: 4, device: phone_mid, link: wifi_home}
"""


def write(folder: Path, text: str, name: str = "study.yaml") -> Path:
    path = folder / name
    path.write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8")
    return path


def problems_of(path: Path | str, overrides: tuple[str, ...] = ()) -> tuple[Problem, ...]:
    with pytest.raises(ScenarioError) as caught:
        load(path, overrides, directories=OURS)
    return caught.value.problems


def test_ten_mistakes_come_out_at_once_each_with_file_line_key_value_and_what_is_accepted(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """
        naem: ten mistakes
        seed: -1
        data:
          dataset: digit
          test_fraction: 120 %
        training:
          rounds: many
          deadline: 5 parsec
          epochs: 3
          min_participants: 9
        devices:
          - {name: phone, count: 4, device: phone_hihg, link: wifi_home}
          - {name: phone, count: 2, device: phone_low, link: wifi_hoem, ambient: hot}
        faults:
          - {kind: crash, target: phone-7, at: 1 min}
        """,
    )
    found = {(p.line, p.key): (p.found, str(p)) for p in problems_of(path)}
    expected = {
        (1, "naem"): ('"ten mistakes"', 'did you mean "name"?', "the keys name, description"),
        (2, "seed"): ("-1", "", "a whole number from 0"),
        (4, "data.dataset"): ('"digit"', 'did you mean "digits"?', "or an own data set as the path of a file"),
        (5, "data.test_fraction"): ('"120 %"', "", "below 1"),
        (7, "training.rounds"): ('"many"', "", "a whole number from 1"),
        (8, "training.deadline"): ('"5 parsec"', "", 'such as "30 s"'),
        (9, "training.epochs"): ("3", 'did you mean "local_epochs"?', "the keys algorithm"),
        (10, "training.min_participants"): ("9", "", "up to 6, the number of devices"),
        (12, "devices.0.device"): ('"phone_hihg"', 'did you mean "phone_high"?', "phone_low, phone_mid"),
        (13, "devices.1.name"): ('"phone"', "an earlier group has this name", "no other group"),
        (13, "devices.1.link"): ('"wifi_hoem"', 'did you mean "wifi_home"?', "lte_good"),
        (13, "devices.1.ambient"): ('"hot"', "", "25 degC"),
        (15, "faults.0.target"): ('"phone-7"', "", "a group (phone)"),
    }
    assert found.keys() == expected.keys()
    for place, (value, hint, accepted) in expected.items():
        shown, text = found[place]
        assert shown == value
        assert hint in text
        assert "accepted: " in text
        assert accepted in text.partition("accepted: ")[2]
        assert text.startswith(f"{path}:{place[0]}: {place[1]}: found {value}")


def test_only_the_first_hundred_mistakes_are_explained(tmp_path: Path) -> None:
    keys = "".join(f"key{i}: {i}\n" for i in range(2000))
    found = problems_of(write(tmp_path, textwrap.dedent(SMALL) + keys))
    assert len(found) == 100
    assert found[0].key == "key0"


def test_problems_stand_in_the_order_of_their_lines(tmp_path: Path) -> None:
    path = write(tmp_path, "training: {rounds: 0}\nname: 3\nx: 1\ndevices: []\n")
    assert [p.line for p in problems_of(path)] == [1, 2, 3, 4]


def test_a_missing_key_stands_at_the_map_that_lacks_it(tmp_path: Path) -> None:
    path = write(tmp_path, "name: x\ntraining:\n  deadline: 3 s\n")
    found = {p.key: (p.line, p.found) for p in problems_of(path)}
    assert found == {"training.rounds": (2, "nothing"), "devices": (1, "nothing")}


def test_a_misplaced_key_is_told_its_place(tmp_path: Path) -> None:
    (problem,) = problems_of(write(tmp_path, SMALL + "    learning_rate: 0.1\n"))
    assert "it is a key of training" in str(problem)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("training: 3\n", "training"),
        ("training: [1]\n", "training"),
        ("devices: {a: 1}\n", "devices"),
        ("devices: []\n", "devices"),
        ("devices: [3]\n", "devices.0"),
        ("links: [1]\n", "links"),
        ("links: {a b: {kind: wifi, latency: 0, up: 1, down: 1}}\n", "links.a b"),
        ("model: {options: {a: {b: 1}}}\n", "model.options"),
        ("network: {region_delays: {moon: {earth: far}}}\n", "network.region_delays.moon.earth"),
        ("report: {reference: {accuracy: 0.9}}\n", "report.reference.source"),
        ("numerics: {layout: vmap}\n", "numerics.layout"),
        ("real: {devices: virtual}\n", "real.devices"),
        ("training: {rounds: 3.0}\n", "training.rounds"),
        ("training: {rounds: true}\n", "training.rounds"),
        ("training: {rounds: 3, requirements: {charging: yes}}\n", "training.requirements.charging"),
        ("name: 'tab\\x07'\n".replace("'", '"'), "name"),
    ],
)
def test_values_of_the_wrong_shape_are_named(tmp_path: Path, text: str, key: str) -> None:
    found = {p.key: p for p in problems_of(write(tmp_path, text))}
    assert key in found
    assert found[key].accepted
    assert found[key].line == 1


# Overrides.


@pytest.mark.parametrize(
    ("setting", "read"),
    [
        ("training.rounds=7", lambda s: s.training.rounds == 7),
        ("training.deadline=2 min", lambda s: s.training.deadline == 120.0),
        ("devices.0.count=3", lambda s: s.devices[0].count == 3),
        ("devices.phone.count=3", lambda s: s.devices[0].count == 3),
        ("devices=[{name: a, device: server, link: datacentre}]", lambda s: s.device_names == ("a-0",)),
        ("evaluator=null", lambda s: s.evaluator is None),
        ("evaluator=", lambda s: s.evaluator is None),
        ("model.options={hidden: 8}", lambda s: s.model.options == {"hidden": 8}),
        ("description='a=b: c'", lambda s: s.description == "a=b: c"),
        ("network.region_delays.moon.europe=1.3 s", lambda s: s.network.region_delays == {"moon": {"europe": 1.3}}),
        ("training.learning_rate=1e-2", lambda s: s.training.learning_rate == 0.01),
    ],
)
def test_an_override_replaces_one_value(tmp_path: Path, setting: str, read: Any) -> None:
    path = write(tmp_path, SMALL + "    model: {name: cnn}\n")
    assert read(load(path, [setting]))


def test_later_overrides_win_and_the_seed_over_all(tmp_path: Path) -> None:
    found = load(write(tmp_path, SMALL), ["training.rounds=4", "training.rounds=5", "seed=3"], seed=9)
    assert (found.training.rounds, found.seed) == (5, 9)


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("training.rounds=ten", 'training.rounds: found "ten"; accepted: a whole number'),
        ("training.rouns=10", 'did you mean "rounds"?'),
        ("training.rounds", "accepted: KEY=VALUE"),
        ("=3", "accepted: KEY=VALUE"),
        ("training..rounds=3", "accepted: KEY=VALUE"),
        ("devices.4.count=3", "a number from 0 to 0, or a name: phone"),
        ("devices.phne.count=3", 'did you mean "phone"?'),
        ("name.x=3", "it has no keys below it"),
        ("training.rounds=[", "not valid YAML"),
        ("training.rounds=!!int 3", "the tag"),
        ("extends=quickstart", "there is no such key here"),
        ("devices.0.count=999", "training.rounds"),
    ],
)
def test_a_wrong_override_is_named(tmp_path: Path, setting: str, says: str) -> None:
    found = problems_of(write(tmp_path, SMALL), (setting,))
    if setting == "devices.0.count=999":
        assert any("14 natural clients" in str(p) for p in found)
    else:
        assert any(says in str(p) for p in found)
    if "=" in setting and not setting.startswith(("=", "devices.0.count=999")):
        assert all(p.origin.startswith("--set ") and p.line is None for p in found)


def test_a_negative_seed_is_named(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"--seed -1: seed: found -1; accepted: a whole number from 0"):
        load(write(tmp_path, SMALL), seed=-1)


# Extends.


def test_a_scenario_extends_another_beside_it(tmp_path: Path) -> None:
    write(tmp_path, SMALL, "base.yaml")
    (tmp_path / "deeper").mkdir()
    path = write(
        tmp_path / "deeper",
        """
        extends: ../base.yaml
        name: changed
        training: {deadline: 1 min}
        devices: [{name: b, device: laptop, link: wifi_home}]
        """,
    )
    found = load(path)
    assert (found.name, found.training.rounds, found.training.deadline) == ("changed", 3, 60.0)
    assert found.device_names == ("b-0",)


def test_a_scenario_extends_one_of_ours_by_name(tmp_path: Path) -> None:
    found = load(write(tmp_path, "extends: quickstart\nname: mine\n"), directories=OURS)
    assert found == load("quickstart", ["name=mine"], directories=OURS)


def test_a_scenario_extends_one_in_its_folder_by_name(tmp_path: Path) -> None:
    write(tmp_path, SMALL, "base.yaml")
    assert load(write(tmp_path, "extends: base\nseed: 7\n")).seed == 7


def test_a_mistake_in_what_is_extended_stands_in_its_file(tmp_path: Path) -> None:
    base = write(tmp_path, SMALL.replace("rounds: 3", "rounds: 0"), "base.yaml")
    path = write(tmp_path, "extends: base.yaml\nseed: x\n")
    assert {(p.origin, p.line, p.key) for p in problems_of(path)} == {
        (str(base), 2, "training.rounds"),
        (str(path), 2, "seed"),
    }


def test_cycles_and_what_is_not_there_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "extends: b.yaml\n" + textwrap.dedent(SMALL), "a.yaml")
    write(tmp_path, "extends: a.yaml\n", "b.yaml")
    found = problems_of(tmp_path / "a.yaml")
    assert any("extends itself: a.yaml → b.yaml → a.yaml" in str(p) for p in found)
    assert any("no such file" in str(p) for p in problems_of(write(tmp_path, "extends: nowhere.yaml\n")))
    assert any(p.found == "3" for p in problems_of(write(tmp_path, "extends: 3\n")))


def test_an_own_file_may_extend_ours_of_its_name(tmp_path: Path) -> None:
    path = write(tmp_path, "extends: quickstart\nseed: 7\n", "quickstart.yaml")
    assert load(path, directories=OURS) == load("quickstart", directories=OURS, seed=7)
    (problem,) = problems_of(write(tmp_path, "extends: quickstart.yaml\n", "quickstart.yaml"))
    assert "extends itself: quickstart.yaml → quickstart.yaml" in str(problem)
    (problem,) = problems_of(write(tmp_path, "extends: other\n", "other.yaml"))
    assert "extends itself: other.yaml → other.yaml" in str(problem)


@pytest.mark.parametrize("extends", ["study.yaml", "nowhere.yaml", "3"])
def test_what_only_the_missing_parent_could_have_is_not_asked_for(tmp_path: Path, extends: str) -> None:
    text = f"""
        extends: {extends}
        training: {{deadline: soon}}
        devices: [{{name: a, count: 90, device: own, link: wifi_home}}]
        model: {{options: {{hidden: 3}}}}
    """
    assert [(p.line, p.key) for p in problems_of(write(tmp_path, text))] == [(1, "extends"), (2, "training.deadline")]


def test_paths_are_relative_to_the_file_that_names_them(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "own.py").write_text("def make(): ...\n", encoding="utf-8")
    write(tmp_path / "lib", SMALL + "    model: {name: 'own.py:make'}\n", "base.yaml")
    found = load(write(tmp_path, "extends: lib/base.yaml\n"))
    assert found.model.name == f"{tmp_path}/lib/own.py:make"


def test_a_path_on_the_command_line_is_relative_to_where_one_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, SMALL)
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "own.py").touch()
    monkeypatch.chdir(tmp_path / "here")
    assert load(path, ["model.name=own.py:make"]).model.name == f"{tmp_path}/here/own.py:make"
    (problem,) = problems_of(path, ("data.dataset=none.npz",))
    assert f"there is no file {tmp_path}/here/none.npz" in str(problem)


LINK = "{kind: wifi, latency: 3 ms, up: 1 MB/s, down: 1 MB/s"


@pytest.mark.parametrize("name", ["good.pkl", "client_behave_trace", "odd.name.txt"])
def test_files_of_any_ending_are_relative_to_the_scenario(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "lib").mkdir()
    monkeypatch.chdir(tmp_path)
    slots = {0: {"active": [10.0], "inactive": [20.0], "finish_time": 100}}
    (tmp_path / "lib" / name).write_bytes(pickle.dumps(slots))
    (tmp_path / "lib" / f"rates-{name}").write_text("time_s,bytes_per_s\n0,1000\n1,2000\n", encoding="utf-8")
    text = f"""
        name: traces
        training: {{rounds: 3}}
        links: {{own: {LINK}, trace: {{up: rates-{name}, down: rates-{name}}}}}}}
        devices: [{{name: a, count: 2, device: phone_mid, link: own, availability: {{trace: {name}}}}}]
    """
    write(tmp_path / "lib", text, "base.yaml")
    found = load(write(tmp_path, "extends: lib/base.yaml\n"))
    trace = found.links["own"].trace
    assert trace is not None
    assert (trace.up, trace.down) == (f"{tmp_path}/lib/rates-{name}",) * 2
    assert found.devices[0].availability.trace == f"{tmp_path}/lib/{name}"
    monkeypatch.chdir(tmp_path / "lib")
    for key in (f"devices.a.availability.trace={name}", f"devices.0.availability={{trace: {name}}}"):
        (group,) = load(write(tmp_path, SMALL.replace("phone,", "a,")), [key]).devices
        assert group.availability.trace == f"{tmp_path}/lib/{name}"


@pytest.mark.parametrize(
    ("keys", "key", "found", "says"),
    [
        ("numbers: {battery.pack_ohm: -0.1}", "numbers.battery.pack_ohm", "-0.1", "0 to 100 Ω"),
        ("train_speed: 1 FLOP/s", "train_speed", '"1 FLOP/s"', "1000 to 1e18 FLOP/s"),
        ("battery: 1 MWs, numbers: {idle_w: 5}", "battery", '"1 MWs"', "an energy"),
        ("numbers: {screen_w: 1, idle_w: 5}", "numbers.idle_w", "5", "max_w is 4.4; at least idle_w"),
        ("max_power: 6 W, idle_power: 10 W, numbers: {screen_w: 1}", "idle_power", '"10 W"', "at least idle_w"),
        ("max_power: 9 W, numbers: {screen_w: 4, battery.pack_ohm: 0.2}", "max_power", '"9 W"', "cannot feed"),
    ],
)
def test_a_wrong_number_of_a_profile_is_told_at_its_key(
    tmp_path: Path, keys: str, key: str, found: str, says: str
) -> None:
    text = SMALL.replace("phone_mid", "own") + "    profiles:\n      own:\n        base: phone_mid\n        {}\n"
    lines = keys.replace(", numbers", "\n        numbers").replace("W, idle", "W\n        idle")
    path = write(tmp_path, text.replace("{}", lines))
    (problem,) = problems_of(path)
    assert (problem.key, problem.found) == (f"profiles.own.{key}", found)
    assert says in f"{problem.hint} {problem.accepted}"
    assert problem.line is not None
    assert key.split(".")[0] in path.read_text(encoding="utf-8").splitlines()[problem.line - 1]


def test_what_is_wrong_in_a_trace_is_told_at_its_key_with_the_other_mistakes(tmp_path: Path) -> None:
    (tmp_path / "up.csv").write_text("time_s,bytes_per_s\n0,1000\n1,-3\n", encoding="utf-8")
    (tmp_path / "users.csv").write_text("client,time_s,state\na,0,idle\na,100,dancing\na,200,end\n", encoding="utf-8")
    text = f"""
        seed: -1
        training: {{rounds: 3}}
        links:
          own:
            {LINK.removeprefix("{").replace(", ", chr(10) + " " * 12)}
            trace:
              down: none.csv
              up: up.csv
        devices:
          - name: a
            device: phone_mid
            link: own
            availability:
              trace: users.csv
    """
    path = write(tmp_path, text)
    lines = path.read_text(encoding="utf-8").splitlines()
    found = {problem.key: problem for problem in problems_of(path)}
    assert list(found) == ["seed", "links.own.trace.down", "links.own.trace.up", "devices.0.availability.trace"]
    for key, problem in found.items():
        assert problem.origin == str(path)
        assert problem.line is not None
        assert f"{key.rpartition('.')[2]}:" in lines[problem.line - 1]
    assert f"{tmp_path}/up.csv:3: found '-3'" in found["links.own.trace.up"].hint
    assert "a rate that is a number" in found["links.own.trace.up"].accepted
    assert "none.csv: cannot be read" in found["links.own.trace.down"].hint
    assert "line 3: has the state 'dancing'" in found["devices.0.availability.trace"].hint


def test_a_byte_order_mark_in_a_trace_or_a_graph_is_no_mistake(tmp_path: Path) -> None:
    (tmp_path / "up.csv").write_text("time_s,bytes_per_s\n0,1000\n1,2000\n", encoding="utf-8-sig")
    (tmp_path / "users.csv").write_text("client,time_s,state\na,0,idle\na,200,end\n", encoding="utf-8-sig")
    graph = {"nodes": [{"id": "a"}, {"id": "b"}], "edges": [{"source": "a", "target": "b", "delay_ms": 1}]}
    (tmp_path / "net.json").write_text(json.dumps(graph), encoding="utf-8-sig")
    made = networkx.node_link_graph({**graph, "graph": {}, "directed": False, "multigraph": False}, edges="edges")
    (tmp_path / "net.graphml").write_text("\n".join(networkx.generate_graphml(made)), encoding="utf-8-sig")
    for network in ("net.json", "net.graphml"):
        text = f"""
            training: {{rounds: 3}}
            links: {{own: {LINK}, trace: {{up: up.csv}}}}}}
            devices: [{{name: a, device: phone_mid, link: own, region: a, availability: {{trace: users.csv}}}}]
            coordinator: {{device: server, link: datacentre, region: b}}
            evaluator: null
            network: {{topology: {network}}}
        """
        assert load(write(tmp_path, text)).device_count == 1


def test_a_key_twice_on_the_command_line_has_no_line(tmp_path: Path) -> None:
    (problem,) = problems_of(write(tmp_path, SMALL), ("training={rounds: 3, rounds: 4}",))
    assert (problem.key, problem.hint) == ("rounds", "the key stands twice")


# Files and names.


def test_ours_are_found_by_name_and_a_path_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find("quickstart", OURS) == OURS[0] / "quickstart.yaml"
    write(tmp_path, SMALL, "quickstart")
    monkeypatch.chdir(tmp_path)
    assert load("quickstart", directories=OURS).name == "small"


def test_an_unknown_name_says_which_there_are() -> None:
    (problem,) = problems_of("quikstart")
    assert 'did you mean "quickstart"?' in str(problem)
    assert "drops, faults, hundred_phones, million_phones, quickstart" in str(problem)


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    for raw, says in (
        (b"name: \xff\xfe\n", "not text in UTF-8"),
        (b"#" * (MAX_BYTES + 1), "too large"),
        (b"[1, 2]", "a map of the keys"),
        (b"just words", "a map of the keys"),
        (b"a: [", "not valid YAML"),
    ):
        path = tmp_path / "odd.yaml"
        path.write_bytes(raw)
        (problem,) = problems_of(path)
        assert says in str(problem)
    (problem,) = problems_of(tmp_path)
    assert "a directory" in str(problem)


def test_an_empty_file_lacks_what_every_scenario_needs(tmp_path: Path) -> None:
    assert [p.key for p in problems_of(write(tmp_path, ""))] == ["training", "devices"]


def test_an_unreadable_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    path = write(tmp_path, SMALL)
    monkeypatch.setattr(Path, "open", refuse)
    (problem,) = problems_of(path)
    assert str(problem) == f"{path}: cannot be read: Permission denied"


@pytest.mark.parametrize("path", sorted(OURS[0].glob("*.yaml")), ids=lambda path: path.stem)
def test_ours_load_and_come_back_from_their_resolved_form(path: Path) -> None:
    found = load(path, directories=OURS)
    assert found.name == path.stem
    assert found.description
    assert parse(found.resolved()) == found


def test_a_scenario_written_down_whole_loads_anywhere(tmp_path: Path) -> None:
    odd = "description=" + json.dumps("tab\t, 1e3, é, '😀', a: b # c", ensure_ascii=False)
    found = load("drops", [odd, "training.learning_rate=1e-7"], directories=OURS)
    path = tmp_path / "whole.json"
    path.write_text(dumps(found), encoding="utf-8")
    assert load(path) == found


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "bom.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + textwrap.dedent(SMALL).encode())
    assert load(path).name == "small"


# Random input.

_KEYS = st.sampled_from(
    ["name", "seed", "data", "model", "training", "devices", "links", "faults", "rounds", "count", "options", "extends"]
) | st.sampled_from(["region_delays", "network", "report", "profiles", "base", "random_faults", "evaluator", "x"])
_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["phone_low", "5 s"])
)
_FLAT = st.lists(_SCALARS, max_size=3) | st.dictionaries(_KEYS | st.text(max_size=4), _SCALARS, max_size=4)
_DEEP = st.lists(_SCALARS | _FLAT, max_size=3) | st.dictionaries(
    _KEYS | st.text(max_size=4), _SCALARS | _FLAT, max_size=4
)
_VALUES = _SCALARS | _FLAT | _DEEP


def attempt(get: Callable[[], Scenario]) -> Scenario | ScenarioError:
    try:
        return get()
    except ScenarioError as error:
        return error


def assert_taken_or_named(found: Scenario | ScenarioError) -> None:
    if isinstance(found, Scenario):
        assert parse(found.resolved()) == found
    else:
        assert found.problems
        assert all(p.accepted or p.hint for p in found.problems)
        str(found).encode()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
@given(st.dictionaries(_KEYS, _VALUES, max_size=6))
def test_random_yaml_loads_or_is_refused_as_a_scenario(tmp_path: Path, data: dict[str, object]) -> None:
    path = tmp_path / "random.yaml"
    path.write_text(yaml.safe_dump(data, allow_unicode=False), encoding="utf-8")
    assert_taken_or_named(attempt(lambda: load(path, directories=OURS)))


_GOOD = load("drops", directories=OURS).resolved()


def _leaves(data: object, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if isinstance(data, dict):
        return [leaf for key, value in data.items() for leaf in _leaves(value, (*path, key))]
    if isinstance(data, list):
        return [leaf for i, value in enumerate(data) for leaf in _leaves(value, (*path, str(i)))]
    return [path]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(_leaves(_GOOD)), _VALUES)
def test_one_random_value_in_a_good_scenario_is_taken_or_named(leaf: tuple[str, ...], value: object) -> None:
    data = copy.deepcopy(_GOOD)
    at: Any = data
    for part in leaf[:-1]:
        at = at[int(part)] if isinstance(at, list) else at[part]
    at[int(leaf[-1]) if isinstance(at, list) else leaf[-1]] = value
    assert_taken_or_named(attempt(lambda: parse(data)))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100, deadline=None)
@given(st.text(max_size=40) | st.from_regex(r"[a-z.0-9]{1,20}=[\[\]{}a-z0-9:, ]{0,12}", fullmatch=True))
def test_random_overrides_are_taken_or_named(tmp_path: Path, setting: str) -> None:
    assert_taken_or_named(attempt(lambda: load("quickstart", [setting], directories=OURS)))
