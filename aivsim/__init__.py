"""aivsim: a testbed for decentralised AI, in a simulator and on real sockets.

import aivsim
run = aivsim.run("quickstart", seed=1)
run.rounds()
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aivsim.runs import run as run

__all__ = ["run"]


def __getattr__(name: str) -> Any:
    # Importing `aivsim` stays light: what it offers is loaded when it is asked for.
    if name == "run":
        import importlib

        from aivsim.loading import loading

        with loading():
            return importlib.import_module("aivsim.runs").run
    raise AttributeError(f"module 'aivsim' has no attribute {name!r}")
