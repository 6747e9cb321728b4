"""The commands and their options. Only click is imported here; each command loads what it needs when it is called."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import click

from aivsim.errors import RUN_FAILED

if TYPE_CHECKING:
    from collections.abc import Callable

KINDS: Final = (
    "algorithms",
    "datasets",
    "devices",
    "faults",
    "links",
    "models",
    "partitions",
    "regions",
    "scenarios",
    "topologies",
)

_DIRECTORY: Final = click.Path(path_type=Path)


def _settings(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that change a scenario."""
    seed = click.option("--seed", type=click.IntRange(0), metavar="N", help="Seed, in place of the scenario's.")
    setting = click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="KEY=VALUE",
        help="Override a value, such as training.rounds=10 or devices.0.count=3; may be repeated.",
    )
    return seed(setting(command))


def _version(context: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        from importlib.metadata import PackageNotFoundError, version

        try:
            click.echo(f"aivsim {version('aivsim')}")
        except PackageNotFoundError:
            click.echo("aivsim, not installed (run from its source)")
        context.exit()


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--version", is_flag=True, expose_value=False, is_eager=True, callback=_version, help="Show the version.")
def cli() -> None:
    """A testbed for decentralised AI: the same study in a simulator and on real sockets.

    A SCENARIO is the path of a YAML file, or the name of one that comes with aivsim (see `aivsim list scenarios`).
    Begin with `aivsim run quickstart`.
    """


@cli.command()
@click.argument("scenario", required=False)
@click.option(
    "--resume",
    "resumed",
    type=_DIRECTORY,
    metavar="DIR",
    help="Take up the simulated run in DIR that was killed or interrupted; nothing is computed twice.",
)
@click.option(
    "--world",
    type=click.Choice(["sim", "real"]),
    default="sim",
    show_default=True,
    help="Simulate it, or run it in processes over TLS sockets on this machine.",
)
@click.option("--out", type=_DIRECTORY, metavar="DIR", help="Folder for the run, new or empty; default: runs/NAME-N.")
@_settings
@click.option(
    "--processes", type=click.IntRange(1), metavar="N", help="Processes of the real world; default: one for each core."
)
@click.option("--quiet", is_flag=True, help="No progress, only the closing summary.")
@click.option("--no-report", is_flag=True, help="Do not write report.html.")
def run(
    scenario: str | None,
    resumed: Path | None,
    world: Literal["sim", "real"],
    out: Path | None,
    seed: int | None,
    settings: tuple[str, ...],
    processes: int | None,
    quiet: bool,
    no_report: bool,
) -> None:
    """Run a scenario and write its records, model and report."""
    from aivsim.commands import run_command

    run_command(
        scenario,
        resumed=resumed,
        world=world,
        out=out,
        seed=seed,
        settings=settings,
        processes=processes,
        quiet=quiet,
        report=not no_report,
    )


@cli.command()
@click.argument("scenario")
@_settings
def check(scenario: str, seed: int | None, settings: tuple[str, ...]) -> None:
    """Validate a scenario, and print what the run would be."""
    from aivsim.scenarios import loaded

    # First what is quickly said: the check itself loads the numerics.
    found = loaded(scenario, settings, seed)
    from aivsim.check import check_command

    check_command(found)


@cli.command()
@click.argument("scenario")
@click.option("--repeats", type=click.IntRange(1, 1000), default=5, show_default=True, help="Measurements of each.")
@_settings
def tune(scenario: str, repeats: int, seed: int | None, settings: tuple[str, ...]) -> None:
    """Measure which layout trains a scenario's clients fastest here, and keep it for `numerics.layout: tuned`."""
    from aivsim.scenarios import loaded

    found = loaded(scenario, settings, seed)
    from aivsim.errors import CannotBegin, InputWrong
    from aivsim.tune import tune_command

    try:
        tune_command(found, repeats)
    except CannotBegin as error:
        raise InputWrong(str(error)) from None


@cli.command()
@click.argument("runs", nargs=-1, required=True, type=_DIRECTORY, metavar="RUN_DIR...")
@click.option("--out", type=_DIRECTORY, metavar="FILE", help="Where to write it; default: RUN_DIR/surrogate.json.")
@click.option(
    "--check",
    "checked",
    multiple=True,
    type=_DIRECTORY,
    metavar="OTHER_RUN",
    help="A run, of another seed or cohort size, to state the residual on; it is not fitted to. May be repeated.",
)
def surrogate(runs: tuple[Path, ...], out: Path | None, checked: tuple[Path, ...]) -> None:
    """Fit learning curves to runs that trained, for `numerics.fidelity: surrogate`.

    With runs of several cohort sizes, how much a larger cohort speeds learning up is fitted too.
    """
    from aivsim.surrogate import surrogate_command

    surrogate_command(runs, checked, out)


@cli.command()
@click.argument("file", type=_DIRECTORY)
@click.option("--force", is_flag=True, help="Overwrite the file if there is one.")
def new(file: Path, force: bool) -> None:
    """Write a commented scenario to start from."""
    from aivsim.new import new_command

    new_command(file, force=force)


@cli.command(name="list")
@click.argument("kind", type=click.Choice(KINDS))
def list_(kind: str) -> None:
    """List what can be named in a scenario."""
    from aivsim.listing import list_command

    list_command(kind)


@cli.command()
def schema() -> None:
    """Print the JSON Schema of a scenario, for editors."""
    from aivsim.listing import schema_command

    schema_command()


@cli.command()
@click.argument("directories", nargs=-1, required=True, type=_DIRECTORY, metavar="DIR...")
def report(directories: tuple[Path, ...]) -> None:
    """Write the report of runs again, from their records."""
    from aivsim.commands import report_command

    report_command(directories)


@cli.command()
@click.argument("first", type=_DIRECTORY, metavar="A")
@click.argument("second", type=_DIRECTORY, metavar="B")
@click.option("--out", type=_DIRECTORY, metavar="FILE", help="Write the comparison as an HTML page too.")
def compare(first: Path, second: Path, out: Path | None) -> None:
    """Put two runs side by side."""
    from aivsim.commands import compare_command

    compare_command(first, second, out=out)


@cli.command()
@click.argument("scenario", default="quickstart")
@click.option("--out", type=_DIRECTORY, metavar="FILE", help="Write the profile to a file too.")
@_settings
def profile(scenario: str, out: Path | None, seed: int | None, settings: tuple[str, ...]) -> None:
    """Measure this machine, with the training of SCENARIO, as a class of devices and as the host of many."""
    from aivsim.validate import profile_command

    profile_command(scenario, out, seed=seed, settings=settings)


@cli.command()
@click.argument("scenario", default="quickstart")
@click.option("--out", type=_DIRECTORY, required=True, metavar="DIR", help="Folder for runs and report, new or empty.")
@_settings
@click.option("--quick", is_flag=True, help="Fewer settings of the transfers.")
@click.option("--rates", metavar="LIST", help="Rates of the transfers' links, Mbit/s; default: 1,5,20,100.")
@click.option("--delays", metavar="LIST", help="One-way delays, ms; default: 2,20,80.")
@click.option("--losses", metavar="LIST", help="Shares of packets lost; default: 0,0.1%,1%.")
@click.option("--flows", metavar="LIST", help="How many transfers at once; default: 1,8.")
@click.option("--sizes", metavar="LIST", help="Sizes; 0B is a small message. Default: 0B,1kB,10kB,100kB,1MB,10MB,50MB.")
@click.option(
    "--longest",
    type=click.FloatRange(0.1),
    default=25.0,
    show_default=True,
    metavar="S",
    help="Skip transfers that take longer by the link's rate, s.",
)
@click.option(
    "--congestion",
    type=click.Choice(["cubic", "bbr", "reno"]),
    default="cubic",
    show_default=True,
    help="Congestion control of TCP.",
)
@click.option("--profile", "profile_file", type=_DIRECTORY, metavar="FILE", help="Profile; default: measure it now.")
@click.option(
    "--own-devices", is_flag=True, help="Keep the scenario's devices, instead of this machine as each of them."
)
@click.option(
    "--transfers", "transfers_file", type=_DIRECTORY, metavar="FILE", help="Use transfers that were measured before."
)
@click.option(
    "--only",
    type=click.Choice(["scenario", "transfers"]),
    help="Only the scenario in both worlds, or only the sweep of transfers.",
)
def validate(
    scenario: str,
    out: Path,
    seed: int | None,
    settings: tuple[str, ...],
    quick: bool,
    rates: str | None,
    delays: str | None,
    losses: str | None,
    flows: str | None,
    sizes: str | None,
    longest: float,
    congestion: str,
    own_devices: bool,
    profile_file: Path | None,
    transfers_file: Path | None,
    only: str | None,
) -> None:
    """Run SCENARIO in both worlds over emulated links, time transfers, and print how far simulation is from sockets.

    Linux only, and as root. A full sweep takes an hour, a --quick one five minutes.
    """
    from aivsim.validate import validate_command

    validate_command(
        scenario,
        out=out,
        seed=seed,
        settings=settings,
        options={"rates": rates, "delays": delays, "losses": losses, "flows": flows, "sizes": sizes},
        quick=quick,
        longest_s=longest,
        congestion=congestion,
        own_devices=own_devices,
        profile_file=profile_file,
        transfers_file=transfers_file,
        parts=(only,) if only else ("scenario", "transfers"),
    )


@cli.command()
@click.argument("directory", type=_DIRECTORY, metavar="DIR")
def verify(directory: Path) -> None:
    """Recompute a run's hashes from its stored records and model."""
    from aivsim.commands import verify_command

    if not verify_command(directory):
        raise click.exceptions.Exit(RUN_FAILED)


@cli.command()
@click.argument("topic")
@click.option("--out", type=_DIRECTORY, metavar="DIR", help="Write the checks as a page with figures there.")
@click.option(
    "--data", type=_DIRECTORY, metavar="DIR", help="Folder of the reference data; default: $AIVSIM_SHARED_DATA."
)
@click.option(
    "--results",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Of learning: also run every algorithm on two data sets, and write tables between FILE's markers (minutes). "
    "With --published, those of the published set-ups in their place.",
)
@click.option(
    "--published",
    multiple=True,
    type=click.Choice(("hello-lr", "mnist-lr", "fedprox", "niid-bench")),
    help="Of learning: run this published set-up again beside its figures (minutes; niid-bench an hour). Repeatable.",
)
@click.option(
    "--runs",
    type=_DIRECTORY,
    metavar="DIR",
    default=Path("runs/published"),
    show_default=True,
    help="Where --published keeps its runs; those that are there are read or taken up.",
)
@click.option("--stopped", is_flag=True, help="Take runs of --published that were stopped as far as they got.")
def oracles(
    topic: str,
    out: Path | None,
    data: Path | None,
    results: Path | None,
    published: tuple[str, ...],
    runs: Path,
    stopped: bool,
) -> None:
    """Check the models of TOPIC (such as physics) against theory, measurements and published figures.

    Ends with 1 if a check fails. What needs data that are not there is left out.
    """
    from aivsim.oracles import oracles_command

    oracles_command(topic, out=out, data=data, results=results, published=published, runs=runs, stopped=stopped)


@cli.command()
@click.argument("kind", type=click.Choice(("device", "link")))
@click.argument("name")
def show(kind: str, name: str) -> None:
    """Show every number of a device or a link, with its unit, its source and its kind of evidence."""
    from aivsim.listing import show_command

    show_command(kind, name)


@cli.command()
@click.argument("scenario")
@click.argument("out", type=_DIRECTORY)
@click.argument("records", nargs=-1, required=True, type=_DIRECTORY, metavar="RECORDS...")
@_settings
def merge(scenario: str, out: Path, records: tuple[Path, ...], seed: int | None, settings: tuple[str, ...]) -> None:
    """Make one run in OUT of the records of nodes that were started by hand."""
    from aivsim.commands import merge_command

    merge_command(scenario, out, records, seed=seed, settings=settings)


@cli.command(
    context_settings={"ignore_unknown_options": True, "help_option_names": []},
    short_help="Run one node of a real run, on this machine or one of several.",
    options_metavar="",
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[OPTIONS]")
def node(arguments: tuple[str, ...]) -> None:
    """Run one node of a real run: `python -m real_runtime.node`, which has its own options."""
    from aivsim.commands import node_command

    node_command(arguments)
