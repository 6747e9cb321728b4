"""`ctx.deadline` and `ctx.group` on asyncio's `timeout` and `TaskGroup`, with the failures both worlds share.

`TaskGroup` raises an `ExceptionGroup`; here the first child's exception becomes the cause of one `ChildFailed`, and an
exception that the block itself raised passes as it is.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from types import TracebackType
from typing import Any

from core.actor import ChildFailed, DeadlineExceeded


def _cancelling() -> int:
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


#: Before Python 3.13 a `TaskGroup` whose child fails while it joins cancels its own task once and leaves it so.
_FORGETS_TO_UNCANCEL = sys.version_info < (3, 13)


class Deadline:
    """`async with ctx.deadline(seconds)`."""

    __slots__ = ("_seconds", "_timeout")

    def __init__(self, seconds: float, wall_s: float) -> None:
        self._seconds = seconds
        self._timeout = asyncio.timeout(wall_s)

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._timeout.__aexit__(kind, error, trace)
        except TimeoutError:
            raise DeadlineExceeded(self._seconds) from None


class Child:
    """A child of a group."""

    __slots__ = ("_task",)

    def __init__(self, task: asyncio.Task[Any]) -> None:
        self._task = task

    def cancel(self) -> None:
        self._task.cancel()

    @property
    def done(self) -> bool:
        return self._task.done()

    def result(self) -> Any:
        if not self._task.done():
            raise RuntimeError("the child has not ended")
        return None if self._task.cancelled() else self._task.result()


class Group:
    """`async with ctx.group() as group`."""

    __slots__ = ("_cancelling", "_tasks")

    def __init__(self) -> None:
        self._tasks = asyncio.TaskGroup()
        self._cancelling = 0

    def _requested(self) -> bool:
        """Whether the task group has cancelled its own task to end the block."""
        return bool(getattr(self._tasks, "_parent_cancel_requested", False))

    async def __aenter__(self) -> Group:
        self._cancelling = _cancelling()
        await self._tasks.__aenter__()
        return self

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> Child:
        try:
            return Child(self._tasks.create_task(coroutine))
        except RuntimeError:
            coroutine.close()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        requested = self._requested()
        try:
            try:
                await self._tasks.__aexit__(kind, error, trace)
            finally:
                task = asyncio.current_task()
                if _FORGETS_TO_UNCANCEL and task is not None and self._requested() and not requested:
                    task.uncancel()
        except BaseExceptionGroup as failures:
            if error is not None and not isinstance(error, asyncio.CancelledError):
                # The block's own exception passes, as asyncio re-raises it when this returns.
                return
            if _cancelling() > self._cancelling:
                # A scope around this one was cancelled: that passes, whatever its children did on their way out.
                raise asyncio.CancelledError from None
            first = failures.exceptions[0]
            raise ChildFailed(f"a child failed: {first!r}") from first
