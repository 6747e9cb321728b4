"""The thread in which a process computes: JAX calls leave it one by one, and the event loop goes on meanwhile."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from core.actor import Actor
    from core.compute import Eager


class Processor:
    """Runs functions in order; JAX is imported with the first of them."""

    def __init__(self, layout: str) -> None:
        self._layout = layout
        self._eager: Eager | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="compute")

    def submit(self, function: Any, arguments: tuple[Any, ...]) -> asyncio.Future[Any]:
        """Queue a computation; its future may be cancelled as long as it has not begun."""
        future = asyncio.wrap_future(self._thread.submit(self._run, function, arguments))
        # Whoever submitted it may have given up waiting; an error nobody waits for is then nobody's.
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        return future

    def rehearse(self, actor: Actor) -> asyncio.Future[None]:
        """Let an actor make its calls once, so that they are compiled."""
        return asyncio.wrap_future(self._thread.submit(actor.rehearse, self._run))

    def _run(self, function: Any, arguments: tuple[Any, ...]) -> Any:
        if self._eager is None:
            from core.compute import Eager

            self._eager = Eager(self._layout)
        return self._eager.run(function, arguments)

    def close(self) -> None:
        """End the thread after the computation that it is at."""
        self._thread.shutdown(wait=True, cancel_futures=True)
