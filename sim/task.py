"""Coroutines as resumables: a task is driven by `coroutine.send`, with no SimPy process and no event object.

What an actor awaits yields one *wait* to the driver, which arms it; whoever ends the wait resumes the task. Every
resumption moves the task's generation on, so that a timer of the same wait is overtaken, not removed.
Cancellation follows trio and asyncio: `Cancelled` is thrown at the present await and caught by the scope it is for.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar

import simpy

from core.actor import ChildFailed, DeadlineExceeded
from core.records import RecordsError
from sim.engine import StopRun

if TYPE_CHECKING:
    from sim.engine import ActorEnvironment


#: How often a coroutine that is killed may await something on its way out before it is left lying.
MAX_KILLS = 100


class Cancelled(BaseException):
    """Thrown into a coroutine to end it or a scope within it, which is its argument; actors let it pass."""


class Killed(BaseException):
    """Thrown into a coroutine whose device stopped or whose run is over; it cannot go on."""


class Done:
    """An awaitable that is over before it begins."""

    __slots__ = ()

    # A call of C code, not of a Python function: this is awaited with every message sent.
    __await__: ClassVar[Any] = iter(()).__iter__


DONE = Done()


class Wait:
    """Base of what a task may wait for."""

    __slots__ = ()

    def __await__(self) -> Generator[Wait, Any, Any]:
        return (yield self)

    def arm(self, task: Task) -> None:
        """Begin to wait: see to it that `task.resume` is called in time."""
        raise NotImplementedError

    def disarm(self, task: Task) -> None:
        """The wait is over early, by cancellation."""

    def expire(self, task: Task) -> None:
        """The timer of this wait has fired."""
        task.resume(task.send, None)


class Sleep(Wait):
    """Wait for a time."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def arm(self, task: Task) -> None:
        task.set_timer(self.seconds)


class _Current(Wait):
    """Not a wait: asks the driver which task is running."""

    __slots__ = ()


CURRENT = _Current()


class Task:
    """One coroutine of an actor. `ended` is called with (task, result, error) when it is over."""

    __slots__ = ("armed", "cancelled", "ended", "env", "generation", "send", "throw", "waiting")

    def __init__(
        self,
        env: ActorEnvironment,
        coroutine: Coroutine[Any, Any, Any] | None,
        ended: Callable[[Task, Any, BaseException | None], None],
    ) -> None:
        self.env = env
        self.generation = 0
        #: Whether a timer for the present generation is in the heap.
        self.armed = False
        self.waiting: Wait | None = None
        #: Scopes for which it was cancelled and which it has not left yet.
        self.cancelled: tuple[object, ...] = ()
        self.ended = ended
        self.send: Any = None
        self.throw: Any = None
        if coroutine is not None:
            self.send = coroutine.send
            self.throw = coroutine.throw

    @property
    def alive(self) -> bool:
        """Whether its coroutine has not ended."""
        return self.send is not None

    def set_timer(self, seconds: float) -> None:
        """Let the present wait expire after `seconds`."""
        if not seconds >= 0:
            raise ValueError(f"a delay is not negative: {seconds}")
        self.armed = True
        self.env.set_timer(self.env._now + seconds, self, self.generation)

    def fire(self) -> None:
        """The timer of the present wait."""
        self.armed = False
        wait = self.waiting
        if wait is not None:
            wait.expire(self)

    def resume(self, method: Callable[[Any], Any], value: Any) -> None:
        """Go on with `send(value)` or `throw(error)` until the next wait or the end."""
        self.generation += 1
        if self.armed:
            self.armed = False
            self.env.forget_timer()
        self.waiting = None
        try:
            wait = method(value)
            while wait is CURRENT:
                wait = self.send(self)
        except StopIteration as stop:
            self.send = self.throw = None
            self.ended(self, stop.value, None)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as problem:  # noqa: BLE001  whatever it is, it is handed to the parent
            self.send = self.throw = None
            self.ended(self, None, problem)
        else:
            self.suspend(wait)

    def suspend(self, wait: Any) -> None:
        """The coroutine has yielded: begin to wait for what it awaits."""
        if isinstance(wait, Wait):
            if wait is CURRENT:
                self.resume(self.send, self)
                return
            self.waiting = wait
            try:
                wait.arm(self)
            except (StopRun, RecordsError):
                raise
            except Exception as problem:  # noqa: BLE001  what cannot be begun is the mistake of the actor that awaits it
                self.resume(self.throw, problem)
        else:
            self.resume(self.throw, TypeError(f"an actor awaits methods of its context, not {wait!r}"))

    def throw_in(self, error: BaseException) -> None:
        """Throw `error` at the present await, now; only from the event loop, never from a task's own code."""
        if self.waiting is not None:
            self.waiting.disarm(self)
        if self.send is None:
            # Giving up what it waited for has brought to light that its device is off.
            return
        if isinstance(error, Cancelled):
            self.cancelled += error.args
        self.resume(self.throw, error)

    def left(self, scope: object, before: tuple[object, ...]) -> object | None:
        """A scope is over; another one, further out, for which the task was cancelled since this one began."""
        self.cancelled = tuple(other for other in self.cancelled if other is not scope)
        return next((other for other in self.cancelled if other not in before), None)

    def interrupt(self, error: BaseException) -> Interrupt:
        """Throw `error` at the present await, as an event of its own at this very time."""
        if self.waiting is _START and self.armed:
            # It never begins.
            self.generation += 1
            self.armed = False
            self.env.forget_timer()
        return Interrupt(self, error)

    def kill(self) -> None:
        """End without a word: its device stopped, or the run did. Children are killed before their parents."""
        if self.send is None:
            return
        throw = self.throw
        self.send = self.throw = None
        self.generation += 1
        if self.armed:
            self.armed = False
            self.env.forget_timer()
        if self.waiting is not None:
            self.waiting.disarm(self)
            self.waiting = None
        for _ in range(MAX_KILLS):
            try:
                throw(Killed())
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException:  # noqa: BLE001  how it ended is nobody's business any more
                return
            # It awaits something on its way out: that is cut short, too.

    def start(self) -> None:
        """Begin as an event of its own at this very time."""
        self.waiting = _START
        self.armed = True
        self.env.set_timer(self.env._now, self, self.generation)


class _Start(Wait):
    __slots__ = ()


_START = _Start()


class Until(Wait):
    """Wait for a SimPy event, `await Until(event)`: a process, a resource request, a condition. Gives its value."""

    __slots__ = ("event", "task")

    def __init__(self, event: simpy.Event) -> None:
        self.event = event
        self.task: Task | None = None

    def __await__(self) -> Generator[Wait, Any, Any]:
        event = self.event
        if event.callbacks is not None:
            return (yield self)
        if event.ok:
            return event.value
        raise event.value

    def arm(self, task: Task) -> None:
        self.task = task
        callbacks = self.event.callbacks
        if callbacks is not None:
            callbacks.append(self._happened)

    def disarm(self, task: Task) -> None:
        self.task = None

    def _happened(self, event: simpy.Event) -> None:
        task = self.task
        if task is None:
            return
        event.defused = True
        task.resume(task.send if event.ok else task.throw, event.value)


class Interrupt:
    """An error on its way to a task."""

    __slots__ = ("error", "generation", "task")

    def __init__(self, task: Task, error: BaseException) -> None:
        self.task = task
        self.error = error
        self.generation = 0
        task.env.set_timer(task.env._now, self, 0)

    def fire(self) -> None:
        self.generation = 1
        if self.task.alive:
            self.task.throw_in(self.error)

    def revoke(self) -> None:
        """Take it back if it has not been thrown."""
        if self.generation == 0:
            self.generation = 1
            self.task.env.forget_timer()


class Deadline:
    """`async with ctx.deadline(seconds)`."""

    __slots__ = ("before", "env", "expired", "generation", "rate", "seconds", "task")

    def __init__(self, env: ActorEnvironment, seconds: float, rate: float = 1.0) -> None:
        if not seconds >= 0:
            raise ValueError(f"a deadline is not negative: {seconds}")
        self.env = env
        self.seconds = seconds
        #: Seconds of the actor's clock, by which `seconds` are counted, for a true second.
        self.rate = rate
        self.generation = 0
        self.expired = False
        self.task: Task | None = None
        #: Scopes for which the task had been cancelled when this one began.
        self.before: tuple[object, ...] = ()

    async def __aenter__(self) -> None:
        self.task = await CURRENT
        self.before = self.task.cancelled
        self.env.set_timer(self.env._now + self.seconds / self.rate, self, self.generation)

    def fire(self) -> None:
        self.expired = True
        if self.task is not None:
            self.task.throw_in(Cancelled(self))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        task, self.task = self.task, None
        if not self.expired:
            self.generation += 1
            self.env.forget_timer()
            return
        outer = None if task is None else task.left(self, self.before)
        if isinstance(error, Cancelled) and error.args[0] is self:
            raise DeadlineExceeded(self.seconds) if outer is None else Cancelled(outer) from None


class Child:
    """A child of a group."""

    __slots__ = ("_interrupt", "_result", "task")

    def __init__(self, task: Task) -> None:
        self.task = task
        self._interrupt: Interrupt | None = None
        self._result: Any = None

    @property
    def done(self) -> bool:
        return not self.task.alive

    def result(self) -> Any:
        if self.task.alive:
            raise RuntimeError("the child has not ended")
        return self._result

    def cancel(self) -> None:
        if self.task.alive and (self._interrupt is None or self._interrupt.generation):
            self._interrupt = self.task.interrupt(Cancelled(self))


class _GroupWait(Wait):
    __slots__ = ("group",)

    def __init__(self, group: Group) -> None:
        self.group = group

    def arm(self, task: Task) -> None:
        self.group.joining = True

    def disarm(self, task: Task) -> None:
        self.group.joining = False


class Group:
    """`async with ctx.group() as group`: children that end before the block does."""

    __slots__ = (
        "before",
        "children",
        "ending",
        "env",
        "failure",
        "interrupt",
        "joining",
        "parent",
        "running",
        "spawned",
    )

    def __init__(self, env: ActorEnvironment, spawned: Callable[[Task, bool], None]) -> None:
        self.env = env
        self.children: dict[Task, Child] = {}
        self.failure: BaseException | None = None
        self.joining = False
        self.running = False
        #: Whether its children have been told to end.
        self.ending = False
        self.parent: Task | None = None
        #: Scopes for which the parent had been cancelled when the block began.
        self.before: tuple[object, ...] = ()
        self.interrupt: Interrupt | None = None
        #: Tells the actor of each task that begins (True) and ends (False).
        self.spawned = spawned

    async def __aenter__(self) -> Group:
        self.parent = await CURRENT
        self.before = self.parent.cancelled
        self.running = True
        return self

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> Child:
        if not self.running or self.ending:
            coroutine.close()
            raise RuntimeError("the group has ended")
        task = Task(self.env, coroutine, self._ended)
        child = self.children[task] = Child(task)
        self.spawned(task, True)
        task.start()
        return child

    def _ended(self, task: Task, result: Any, error: BaseException | None) -> None:
        child = self.children.pop(task)
        self.spawned(task, False)
        if error is None:
            child._result = result
        elif not isinstance(error, Cancelled) and self.failure is None:
            self.failure = error
            self._cancel_children()
            if self.parent is not None and not self.joining:
                self.interrupt = self.parent.interrupt(Cancelled(self))
        if not self.children and self.joining and self.parent is not None:
            self.joining = False
            self.parent.resume(self.parent.send, None)

    def _cancel_children(self) -> None:
        if not self.ending:
            self.ending = True
            for child in self.children.values():
                child.cancel()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Killed | GeneratorExit):
            # The whole actor is being killed, its children before it.
            return
        interrupted = isinstance(error, Cancelled)
        if error is not None:
            self._cancel_children()
        while self.children:
            try:
                await _GroupWait(self)
            except Cancelled as cancelled:
                self._cancel_children()
                interrupted = interrupted or cancelled.args[0] is not self
        self.running = False
        parent, self.parent = self.parent, None
        if self.interrupt is not None:
            self.interrupt.revoke()
        outer = None if parent is None else parent.left(self, self.before)
        if error is not None and not isinstance(error, Cancelled):
            # The block's own exception passes.
            return
        if interrupted and outer is not None:
            raise Cancelled(outer) from None
        if self.failure is not None:
            raise ChildFailed(f"a child failed: {self.failure!r}") from self.failure
