"""The entry point of the command line: `aivsim`, or `python -m aivsim`."""

from __future__ import annotations

import os
import sys

import click

from aivsim.errors import INTERRUPTED, RUN_FAILED


def main() -> None:
    """Run the command line, and end with 0 (done), 1 (the run failed), 2 (wrong input) or 130 (interrupted)."""
    from aivsim.cli import cli
    from aivsim.installation import check_installation

    try:
        check_installation()
        code = cli.main(prog_name="aivsim", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        code = INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has enough; the interpreter must not flush the rest.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = RUN_FAILED
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
