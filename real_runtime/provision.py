"""`python -P -m real_runtime.provision`: credentials and an address book for nodes that are started by hand."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from real_runtime.book import Book, BookError, Entry, load
from real_runtime.credentials import CredentialsError, create

BOOK_FILE = "book.json"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("directory", type=click.Path(path_type=Path))
@click.option(
    "--node",
    "nodes",
    required=True,
    multiple=True,
    nargs=4,
    type=(str, str, int, str),
    metavar="NAME HOST PORT ACTORS",
    help="A node: where it listens, and its actors, separated by commas.",
)
@click.option("--days", default=7.0, show_default=True, help="How long the certificates are valid.")
def main(directory: Path, nodes: tuple[tuple[str, str, int, str], ...], days: float) -> None:
    """Write authority.crt, NODE.crt and NODE.key of every node, and book.json into DIRECTORY.

    Every machine gets book.json, authority.crt and its own NODE.crt and NODE.key, but no other node's key.
    """
    path = directory / BOOK_FILE
    try:
        prints = create(directory, [name for name, *_ in nodes], days=days)
        entries = {
            name: Entry(host, port, prints[name], tuple(actors.split(","))) for name, host, port, actors in nodes
        }
        Book(os.urandom(8).hex(), entries).save(path)
        load(path)
    except (BookError, CredentialsError) as error:
        click.echo(f"provision: {error}", err=True)
        sys.exit(2)
    except OSError as error:
        click.echo(f"provision: {directory}: {error.strerror or error}", err=True)
        sys.exit(2)
    click.echo(f"{path}: {len(nodes)} nodes")


if __name__ == "__main__":
    main()
