"""Checks across keys: names that must exist, numbers that must fit together.

A check reads whatever it needs and yields what it finds; on a draft, of which some keys are invalid, reading one of
these ends that check alone, so that the rest of a file's mistakes still come out.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic_core import PydanticCustomError

from core import devices as catalogue
from core.availability import factor
from core.devices.bounds import bound
from core.network.traces import TraceWrong
from core.scenario import resolve
from core.scenario.effects import EFFECT_CHECKS
from core.scenario.fault_checks import FAULT_CHECKS
from core.scenario.findings import Finding, KeyPath, Unreadable, listed, unknown
from core.scenario.kinds import OF_CLASS, Kind, did_you_mean
from core.scenario.names import (
    ALGORITHMS,
    ASYNCHRONOUS,
    COORDINATOR,
    DATA_SUFFIXES,
    DATASETS,
    EVALUATOR,
    FILE_OPTIONS,
    MODELS,
    TOPOLOGIES,
    WITHOUT_SERVER_RATE,
    is_regression,
)
from core.scenario.networking import NoNetwork, trace

if TYPE_CHECKING:
    from core.scenario.schema import Group, ProfileSpec, Scenario, Station, TraceSpec

#: Devices whose names are compared one by one.
MOST_DEVICES: Final = 1_000_000


def findings(scenario: Scenario) -> list[Finding]:
    """All that the checks find."""
    found: list[Finding] = []

    def collect(check: Callable[..., Iterator[Finding]], *arguments: object) -> None:
        try:
            found.extend(check(scenario, *arguments))
        except (Unreadable, NoNetwork):
            # A key has no valid value, or there are no sites to look up: other findings say so.
            return

    for check in _CHECKS:
        collect(check)
    for path, station in _stations(scenario):
        for station_check in _STATION_CHECKS:
            collect(station_check, path, station)
    return found


def _read(get: Callable[[], Station | None]) -> Station | None:
    try:
        return get()
    except Unreadable:
        return None


def _stations(s: Scenario) -> Iterator[tuple[KeyPath, Station | Group]]:
    """The places where actors live, with their keys."""
    for path, station in ((COORDINATOR, _read(lambda: s.coordinator)), (EVALUATOR, _read(lambda: s.evaluator))):
        if station is not None:
            yield (path,), station
    try:
        groups = s.devices
    except Unreadable:
        return
    for i, group in enumerate(groups):
        yield ("devices", i), group


# Checks of one place.


def _device(s: Scenario, path: KeyPath, station: Station | Group) -> Iterator[Finding]:
    yield from unknown((*path, "device"), station.device, "a class of devices", resolve.profile_names(s))


def _link(s: Scenario, path: KeyPath, station: Station | Group) -> Iterator[Finding]:
    yield from unknown((*path, "link"), station.link, "an access link", resolve.link_names(s))


def _region(s: Scenario, path: KeyPath, station: Station | Group) -> Iterator[Finding]:
    noun = "a region" if s.network.topology is None else "a site of network.topology, or a kind of them"
    yield from unknown((*path, "region"), station.region, noun, resolve.region_names(s))


def _radio(s: Scenario, path: KeyPath, station: Station | Group) -> Iterator[Finding]:
    """The link needs a radio that the device has."""
    try:
        profile, link = resolve.profile(s, station.device), resolve.link(s, station.link)
    except ValueError:
        return
    for change in link.handovers:
        if change.link.kind not in profile.radios:
            hint = (
                f"it changes to {change.link.name}, which is {change.link.kind}: a {station.device} has no such radio"
            )
            yield Finding((*path, "link"), f"links of the kinds {', '.join(profile.radios)}", hint)
    if link.kind not in profile.radios:
        fitting = []
        for name in resolve.link_names(s):
            try:
                if resolve.link(s, name).kind in profile.radios:
                    fitting.append(name)
            except (Unreadable, ValueError):
                continue
        hint = f"{link.name} is {link.kind}, for which a {station.device} has no radio"
        yield Finding((*path, "link"), f"one of {listed(tuple(fitting))}", hint)


def _feeds(s: Scenario, path: KeyPath, station: Station | Group) -> Iterator[Finding]:
    """The battery, when full, feeds the device's full load in the cold that the group starts in."""
    from core.scenario.schema import Group

    if not isinstance(station, Group):
        return
    try:
        profile = resolve.profile(s, station.device)
    except ValueError:
        return
    battery = profile.battery
    if battery is None:
        return
    load_w = profile.most_w
    if load_w > 0.0 and battery.empty_s(battery.energy_j, load_w, battery.resistance_factor(station.ambient)) == 0.0:
        yield Finding(
            (*path, "ambient"),
            f"a temperature at which the battery of a {station.device} feeds its full load of {load_w:.3g} W",
            "in this cold its resistance is too large, even when it is full",
        )


def _spread(s: Scenario, path: KeyPath, station: Station | Group) -> Iterator[Finding]:
    """A spread that is asked of the catalogue is in it."""
    from core.scenario.schema import Group

    if isinstance(station, Group) and station.network_spread == OF_CLASS and station.link in s.links:
        yield Finding((*path, "network_spread"), "a number", f"{station.link} is no link of the catalogue's")


def _within_reach(s: Scenario, path: KeyPath, station: Station | Group) -> Iterator[Finding]:
    """A delay is known between its region and the coordinator's."""
    if s.network.topology is not None:
        return
    here, there = station.region, s.coordinator.region
    known = resolve.region_names(s)
    if here in known and there in known and (here, there) not in resolve.region_delays(s):
        reached = tuple(name for name in known if (name, there) in resolve.region_delays(s))
        yield Finding(
            (*path, "region"),
            f"a region with a delay to the coordinator's: {listed(reached)}",
            f"network.region_delays has no delay between {here} and {there}",
        )


# Checks of the whole.


def _own_names(s: Scenario) -> Iterator[Finding]:
    """What a scenario defines itself does not hide what the catalogue has."""
    for key, own, taken in (("links", s.links, catalogue.links()), ("profiles", s.profiles, catalogue.profiles())):
        for name in own:
            if name in taken:
                yield Finding((key, name), "another name", f"the catalogue has {name} already")


def _own_links(s: Scenario) -> Iterator[Finding]:
    """Links can be made: traces can be read, hand-overs lead somewhere, in order of time."""
    for name, spec in s.links.items():
        try:
            for i, change in enumerate(spec.handovers):
                yield from unknown(
                    ("links", name, "handovers", i, "link"), change.link, "an access link", resolve.link_names(s)
                )
            found = list(_link_traces(("links", name, "trace"), spec.trace))
            yield from found
            if not found:
                resolve.link(s, name)
        except Unreadable:
            continue
        except catalogue.UnknownName:
            continue
        except ValueError as error:
            yield Finding(("links", name), "a link that can be", str(error))


def _link_traces(path: KeyPath, spec: TraceSpec | None) -> Iterator[Finding]:
    """The traces of a link can be read."""
    for direction in ("up", "down"):
        with contextlib.suppress(Unreadable):
            file = None if spec is None else getattr(spec, direction)
            try:
                if file is not None:
                    trace(file)
            except TraceWrong as error:
                yield Finding((*path, direction), error.accepted, f"{error.name}:{error.line}: {error.found}")
            except ValueError as error:
                yield Finding((*path, direction), "the path of a .csv file, relative to the scenario's", str(error))


def _topology(s: Scenario) -> Iterator[Finding]:
    """The network of sites can be made, and is in one piece."""
    name = s.network.topology
    if name is None:
        return
    found = list(_options(("network", "topology_options"), name, s.network.topology_options, TOPOLOGIES))
    if found:
        yield from found
        return
    try:
        resolve.topology(s)
    except ValueError as error:
        yield Finding(("network", "topology"), "a network in one piece", str(error))


def _relay(s: Scenario) -> Iterator[Finding]:
    """The relay is somewhere, within reach of all devices."""
    relay = s.network.relay
    if relay is None:
        return
    path = ("network", "relay", "region")
    known = resolve.region_names(s)
    yield from unknown(path, relay.region, "a region or site", known)
    if s.network.topology is None and relay.region in known:
        delays = resolve.region_delays(s)
        for region in dict.fromkeys(group.region for group in s.devices):
            if region in known and (region, relay.region) not in delays:
                yield Finding(path, "a region with a delay to all groups'", f"there is no delay to {region}")


def _emulated_links(s: Scenario) -> Iterator[Finding]:
    """Emulated links are asked for where they are all that happens to packets, but for delays."""
    if not s.real.emulate_links:
        return
    for key, found in resolve.network(s).between_links.items():
        without = "null, or a network whose edges only have delays" if key == "topology" else "null"
        yield Finding(
            ("network", key),
            f"{without}; or real.emulate_links: false, and with `--world real` messages as fast as the machine's own",
            f"emulated links are the devices' own and share nothing beyond, and {found}",
        )


def _places(s: Scenario) -> Iterator[Finding]:
    """Own places do not hide regions of the catalogue."""
    taken = {*catalogue.regions(), *catalogue.backbone()}
    for name in s.network.places:
        if name in taken:
            yield Finding(("network", "places", name), "another name", f"the catalogue has {name} already")


def _own_profiles(s: Scenario) -> Iterator[Finding]:
    for name, spec in s.profiles.items():
        try:
            base = spec.base
            if base not in catalogue.profiles():
                yield from unknown(("profiles", name, "base"), base, "a class of the catalogue", catalogue.profiles())
                continue
            known = tuple(parameter.key for parameter in catalogue.provenance(base))
            found = [
                finding
                for key in spec.numbers
                for finding in unknown(("profiles", name, "numbers", key), key, f"the key of a number of {base}", known)
            ]
            found += _profile_bounds(("profiles", name), spec, known)
            yield from found or _profile_whole(("profiles", name), spec)
        except Unreadable:
            continue


def _profile_bounds(path: KeyPath, spec: ProfileSpec, known: tuple[str, ...]) -> Iterator[Finding]:
    """Each number is one that a device can have."""
    for number, value in resolve.profile_numbers(spec).items():
        if number == "battery.energy_j" and number not in known and spec.battery is not None:
            yield Finding((*path, "battery"), "null, or a base with a battery", f"{spec.base} has no battery")
        elif number in known and not bound(number).holds(value):
            yield Finding(_number_path(path, spec, number), bound(number).accepted)


def _profile_whole(path: KeyPath, spec: ProfileSpec) -> Iterator[Finding]:
    """The numbers go together: what is wrong is told of one that alone makes it so, or else of one that mends it."""
    numbers = resolve.profile_numbers(spec)

    def refusal(given: Mapping[str, float]) -> str:
        try:
            catalogue.made(spec.base, given, called=str(path[-1]))
        except ValueError as error:
            return str(error)
        return ""

    why = refusal(numbers)
    if not why:
        return
    alone = [key for key, value in numbers.items() if refusal({key: value})]
    mending = [key for key in numbers if not refusal({other: v for other, v in numbers.items() if other != key})]
    for key in (*alone, *mending)[:1]:
        path = _number_path(path, spec, key)
    yield Finding(path, "values that a device can have", why)


def _number_path(path: KeyPath, spec: ProfileSpec, number: str) -> KeyPath:
    """Where a number of an own class stands."""
    own = {stands: key for key, stands in resolve.PROFILE_KEYS.items()}
    return (*path, "numbers", number) if number in spec.numbers or number not in own else (*path, own[number])


def _group_names(s: Scenario) -> Iterator[Finding]:
    """Groups have names of their own, and no actor's name stands for two."""
    counted = Counter(group.name for group in s.devices)
    seen: set[str] = set()
    actors = {COORDINATOR, EVALUATOR}
    if sum(group.count for group in s.devices) <= MOST_DEVICES:
        actors.update(f"{group.name}-{i}" for group in s.devices for i in range(group.count))
    for i, group in enumerate(s.devices):
        if counted[group.name] > 1 and group.name in seen:
            yield Finding(("devices", i, "name"), "a name that no other group has", "an earlier group has this name")
        if group.name in actors:
            yield Finding(("devices", i, "name"), "a name that is no actor's", "an actor has this name")
        seen.add(group.name)


def _device_total(s: Scenario) -> Iterator[Finding]:
    total = sum(group.count for group in s.devices)
    if total > MOST_DEVICES:
        yield Finding(("devices",), f"at most {MOST_DEVICES} devices in all groups", f"there are {total}")


def _participants(s: Scenario) -> Iterator[Finding]:
    """min_participants <= max_participants <= devices."""
    total = sum(group.count for group in s.devices)
    if not total:
        return
    least = s.training.min_participants
    most: int | None = None
    with contextlib.suppress(Unreadable):
        most = s.training.max_participants
    if most is not None and most > total:
        yield Finding(
            ("training", "max_participants"),
            f"a whole number up to {total}, the number of devices, or null (all devices)",
        )
    if least > min(total, total if most is None else most):
        bound = f"{total}, the number of devices" if most is None or most >= total else f"max_participants, {most}"
        yield Finding(("training", "min_participants"), f"a whole number up to {bound}")


def _clients(s: Scenario) -> Iterator[Finding]:
    """The data can be dealt to that many clients, and every device gets one's share."""
    total = sum(group.count for group in s.devices)
    clients = total if s.data.clients is None else s.data.clients
    path: KeyPath = ("devices",) if s.data.clients is None else ("data", "clients")
    what = "groups with together" if s.data.clients is None else "null, or a whole number"
    if clients < total:
        yield Finding(path, f"{what} from {total}, the number of devices")
    facts = DATASETS.get(s.data.dataset)
    if facts is None:
        return
    if s.data.partition == "sampled":
        return
    least = s.data.min_examples or (10 if s.data.partition == "dirichlet" else 1)
    if s.data.partition == "natural":
        chosen = s.data.options.get("clients", facts.natural_clients) if "clients" in facts.options else None
        bound = chosen if isinstance(chosen, int) else facts.natural_clients
        why = f"{s.data.dataset} has {bound} natural clients"
    elif facts.examples is None:
        return
    else:
        bound = facts.examples // least
        why = f"{s.data.dataset} has {facts.examples} examples"
        why += f", at least {least} for each client" if least > 1 else ""
    if bound is not None and clients > bound:
        other = "; the partitions iid and dirichlet deal to more" if s.data.partition == "natural" else ""
        at_most = f"at most {bound} devices" if s.data.clients is None else f"null, or a whole number up to {bound}"
        if bound == 0:
            path, at_most, other = ("data", "partition"), "another partition, such as iid or dirichlet", ""
        yield Finding(path, f"{at_most}{other}", f"{why}, asked for are {clients} clients")


def _availability(s: Scenario) -> Iterator[Finding]:
    """Traces are given where they are asked for, and can be read."""
    for i, group in enumerate(s.devices):
        try:
            wanted = group.availability
            path: KeyPath = ("devices", i, "availability", "trace")
            if wanted.kind == "trace" and wanted.trace is None:
                yield Finding(path, "the path of a file", "the kind is trace")
            elif wanted.kind != "trace" and wanted.trace is not None:
                yield Finding(path, "null, or the kind trace", f"the kind is {wanted.kind}")
            elif wanted.trace is not None and not Path(wanted.trace).is_file():
                yield Finding(
                    path, "the path of a file, relative to the scenario's", f"there is no file {wanted.trace}"
                )
            elif wanted.trace is not None:
                resolve.user_traces(wanted.trace)
        except Unreadable:
            continue
        except ValueError as error:
            yield Finding(path, "traces in a .csv, a .json (FLASH) or another file (FedScale)", str(error))


def _correlations(s: Scenario) -> Iterator[Finding]:
    """There are quantities that correlate like that, and they differ among the devices."""
    for i, group in enumerate(s.devices):
        path: KeyPath = ("devices", i, "correlation")
        try:
            factor(resolve.correlations(group))
        except Unreadable:
            continue
        except ValueError as error:
            yield Finding(path, "correlations that hold together, such as smaller ones", str(error))


def _held_out(s: Scenario) -> Iterator[Finding]:
    if s.evaluator is not None and s.data.test_fraction == 0:
        yield Finding(
            ("data", "test_fraction"), "a share above 0, or `evaluator: null`", "the evaluator would have no examples"
        )


def _options(
    path: KeyPath, name: str, options: Mapping[str, object], known: Mapping[str, Mapping[str, Kind]]
) -> Iterator[Finding]:
    """Options of a part of ours are those that it has, with values that it takes; own parts look at theirs."""
    kinds = known.get(name)
    if kinds is None:
        return
    for option, value in options.items():
        if option not in kinds:
            accepted = listed(tuple(kinds)) if kinds else "no options"
            taker = Path(name).name
            yield Finding((*path, option), f"{taker} takes {accepted}", did_you_mean(option, kinds))
            continue
        try:
            kinds[option].read(value)
        except PydanticCustomError as error:
            hint = (error.context or {}).get("hint", "").removesuffix("; ")
            yield Finding((*path, option), kinds[option].accepted, hint)


def _data_options(s: Scenario) -> Iterator[Finding]:
    known = {name: facts.options for name, facts in DATASETS.items()}
    if s.data.dataset.endswith(DATA_SUFFIXES):
        known[s.data.dataset] = FILE_OPTIONS
    yield from _options(("data", "options"), s.data.dataset, s.data.options, known)


def _model_options(s: Scenario) -> Iterator[Finding]:
    yield from _options(("model", "options"), s.model.name, s.model.options, MODELS)


def _algorithm_options(s: Scenario) -> Iterator[Finding]:
    yield from _options(("training", "options"), s.training.algorithm, s.training.options, ALGORITHMS)


def _algorithm_rules(s: Scenario) -> Iterator[Finding]:
    """Keys of the training job that an algorithm has no use for stay at what they mean nothing at."""
    training = s.training
    name = training.algorithm

    def stays(key: str, neutral: float, why: str) -> Iterator[Finding]:
        with contextlib.suppress(Unreadable):
            if getattr(training, key) != neutral:
                yield Finding(("training", key), f"{neutral:g}", f"{name} {why}")

    if name in WITHOUT_SERVER_RATE:
        yield from stays("server_learning_rate", 1, "has no learning rate of the server")
    if name in ASYNCHRONOUS:
        yield from stays("over_selection", 1, "has no rounds that need more clients than results")
        yield from stays("pause", 0, "has no rounds to rest between")


def _mixture(s: Scenario) -> Iterator[Finding]:
    """AFL has a weight for every client that may come."""
    slots = s.training.options.get("clients")
    total = sum(group.count for group in s.devices)
    if s.training.algorithm == "afl" and isinstance(slots, int) and slots < total:
        accepted = f"nothing here, or a whole number from {total}, the number of devices"
        yield Finding(("training", "options", "clients"), accepted, "clients beyond would not be heard")


def _target(s: Scenario) -> Iterator[Finding]:
    """A target is one that a score can reach, and there is a score."""
    target = s.report.target
    if target is None:
        return
    path: KeyPath = ("report", "target")
    if target > 1.0 and not is_regression(s.data.dataset, s.data.options):
        yield Finding(path, "an accuracy above 0 up to 1 (100 %), as this is no regression")
    if s.evaluator is None:
        yield Finding(path, "null, or an evaluator", "without an evaluator no model has a score")


def _client_evaluation(s: Scenario) -> Iterator[Finding]:
    if s.training.eval_clients_every is not None and s.data.test_fraction == 0:
        yield Finding(
            ("data", "test_fraction"),
            "a share above 0, or `training.eval_clients_every: null`",
            "the clients would have no examples to evaluate on",
        )


def _dataset_file(s: Scenario) -> Iterator[Finding]:
    yield from _file(("data", "dataset"), s.data.dataset)


def _model_file(s: Scenario) -> Iterator[Finding]:
    yield from _file(("model", "name"), s.model.name)


def _algorithm_file(s: Scenario) -> Iterator[Finding]:
    yield from _file(("training", "algorithm"), s.training.algorithm)


def _surrogate(s: Scenario) -> Iterator[Finding]:
    """The curves of a surrogate are there, and were fitted to training like this."""
    if s.numerics.fidelity != "surrogate":
        return
    path, accepted = ("numerics", "surrogate"), "the path of a file that `aivsim surrogate` wrote for such training"
    if s.numerics.surrogate is None:
        yield Finding(path, accepted, "fidelity surrogate needs learning curves")
        return
    # Only here, because the records load more than a check needs.
    from core.records import RecordsError
    from core.records.curves import learning_of, read_curves, unlike

    try:
        curves = read_curves(s.numerics.surrogate)
    except RecordsError as error:
        yield Finding(path, accepted, str(error))
        return
    difference = unlike(curves.learning, learning_of(s.resolved()))
    if difference:
        yield Finding(path, accepted, f"its curves were fitted to other training: {difference}")
    if s.numerics.strict_wire:
        yield Finding(("numerics", "strict_wire"), "false", "a surrogate's models have no numbers to encode")


def _file(path: KeyPath, spec: str) -> Iterator[Finding]:
    """A file that is named exists."""
    file = spec if spec.endswith(DATA_SUFFIXES) else spec.rpartition(":")[0]
    if file.endswith((*DATA_SUFFIXES, ".py")) and not Path(file).is_file():
        yield Finding(path, "the path of a file, relative to the scenario's", f"there is no file {file}")


_STATION_CHECKS: Final = (_device, _link, _region, _radio, _feeds, _spread, _within_reach)
_CHECKS: Final = (
    _own_names,
    _own_links,
    _topology,
    _relay,
    _emulated_links,
    _places,
    _own_profiles,
    _group_names,
    _device_total,
    _participants,
    _clients,
    _availability,
    _correlations,
    _held_out,
    _data_options,
    _model_options,
    _algorithm_options,
    _algorithm_rules,
    _client_evaluation,
    _dataset_file,
    _model_file,
    _algorithm_file,
    _surrogate,
    _mixture,
    _target,
    *EFFECT_CHECKS,
    *FAULT_CHECKS,
)
