"""The simulator's `Context`: one live actor, its mailbox, its tasks and its requests."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Generator, Sequence
from heapq import heappush
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec.structs import force_setattr
from simpy.events import NORMAL

from core import rng
from core.actor import (
    Actor,
    Context,
    DeadlineExceeded,
    Message,
    Payload,
    PeerLeft,
    QueueFull,
    Refusal,
    Refused,
)
from core.availability import IN_USE, METERED
from core.records.rows import Row
from core.wire import copy_of
from sim.task import DONE, Deadline, Group, Sleep, Task, Wait

if TYPE_CHECKING:
    from sim.dormant import Dormant
    from sim.node import Node
    from sim.world import World


class LocalMessage:
    """A message to an actor itself, at a time: a timer. It outlives the rest of an actor, but not a crash."""

    __slots__ = ("generation", "index", "message", "owner")

    def __init__(self, node: Node, message: Message, delay_s: float) -> None:
        if not delay_s >= 0:
            raise ValueError(f"a delay is not negative: {delay_s}")
        self.owner: Node | Dormant = node if node.dormant is None else node.dormant
        self.index = node.index
        self.message = message
        #: Twice the actor's life that it is for; one more when it is over.
        self.generation = 2 * node.life
        node.env.set_timer(node.env._now + delay_s, self, self.generation)

    def fire(self) -> None:
        life = self.generation // 2
        self.generation += 1
        node = self.owner.node(self.index)
        if node.life == life:
            node.take_local(self.message)

    def cancel(self) -> None:
        if self.generation % 2 == 0:
            self.generation += 1
            self.owner.env.forget_timer()


class _Receive(Wait):
    __slots__ = ("cell", "timeout")

    def __init__(self, cell: Cell, timeout: float | None) -> None:
        self.cell = cell
        self.timeout = timeout

    def __await__(self) -> Generator[Wait, Any, Any]:
        inbox = self.cell.inbox
        if inbox:
            return inbox.popleft()
        return (yield self)

    def arm(self, task: Task) -> None:
        if not self.cell.runs:
            raise RuntimeError("an actor that handles messages does not receive them")
        if self.cell.receiver is not None:
            raise RuntimeError("two coroutines of one actor wait for its messages")
        if self.timeout is not None:
            task.set_timer(self.timeout)
        self.cell.receiver = task

    def disarm(self, task: Task) -> None:
        self.cell.receiver = None

    def expire(self, task: Task) -> None:
        self.cell.receiver = None
        task.resume(task.throw, DeadlineExceeded(self.timeout or 0.0))


class _Request(Wait):
    __slots__ = ("cell", "message", "number", "timeout", "to")

    def __init__(self, cell: Cell, to: str, message: Message, timeout: float) -> None:
        self.cell = cell
        if not timeout >= 0:
            raise ValueError(f"a time-out is not negative: {timeout}")
        self.to = to
        self.message = message
        self.timeout = timeout
        self.number = 0

    def arm(self, task: Task) -> None:
        cell = self.cell
        cell.requests = number = cell.requests + 1
        self.number = number
        message = self.message
        if message.sender:
            message = copy_of(message)
        force_setattr(message, "sender", cell.name)
        force_setattr(message, "correlation", number)
        node = cell.node
        node.transmit(self.to, message)
        cell.pending[number] = task
        task.armed = True
        heappush(node.queue, (node.env._now + self.timeout, NORMAL, node.next_entry(), task, task.generation))

    def disarm(self, task: Task) -> None:
        self.cell.pending.pop(self.number, None)

    def expire(self, task: Task) -> None:
        del self.cell.pending[self.number]
        task.resume(task.throw, DeadlineExceeded(self.timeout))


class Computation(Wait):
    """Waiting for the device to have done a job."""

    __slots__ = ("arguments", "begun", "cell", "function", "job")

    def __init__(self, cell: Cell, function: Any, arguments: tuple[Any, ...]) -> None:
        self.cell = cell
        self.function = function
        self.arguments = arguments
        self.job = self.begun = 0

    def arm(self, task: Task) -> None:
        evaluator = self.cell.world.evaluator
        work = evaluator.work(self.function, self.arguments)
        self.job = self.cell.node.submit(task, self.function.name, work)
        self.begun = evaluator.begin(self.function, self.arguments)

    def disarm(self, task: Task) -> None:
        self.cell.world.evaluator.drop(self.begun)
        self.cell.node.cancel(self.job)

    def ended(self, task: Task) -> None:
        """The device has done it. Numerics are asked for at the end, so that what never ends costs none."""
        try:
            outcome = self.cell.world.evaluator.end(self.begun)
        except Exception as mistake:  # noqa: BLE001  whatever tracing the function raises is for the actor
            task.resume(task.throw, mistake)
        else:
            task.resume(task.send, outcome)


class SimulatedDevice:
    """What an actor sees of its device; reading is a closed form and changes nothing."""

    __slots__ = ("node",)

    def __init__(self, node: Node) -> None:
        self.node = node

    @property
    def profile(self) -> str:
        return self.node.placement.profile.name

    @property
    def battery_level(self) -> float | None:
        return self.node.device.reading(self.node.env._now).battery_level

    @property
    def charging(self) -> bool:
        return self.node.device.reading(self.node.env._now).charging

    @property
    def temperature_c(self) -> float | None:
        return self.node.device.reading(self.node.env._now).case_temperature_c

    @property
    def network(self) -> str:
        return self.node.placement.link.at(self.node.env._now).kind

    @property
    def metered(self) -> bool:
        habit = self.node.habit
        away = habit is not None and habit.state & METERED != 0
        return away or self.node.placement.link.at(self.node.env._now).metered

    @property
    def in_use(self) -> bool:
        habit = self.node.habit
        return habit is not None and habit.state & IN_USE != 0

    @property
    def load(self) -> float:
        return self.node.device.reading(self.node.env._now).load


class Cell(Context):
    """A live actor."""

    __slots__ = (
        "absorbs",
        "accepts",
        "actor",
        "admits",
        "bound",
        "busy",
        "concurrent",
        "draining",
        "inbox",
        "node",
        "open_requests",
        "pending",
        "receiver",
        "requests",
        "runs",
        "task",
        "tasks",
        "transmit",
        "world",
    )

    def __init__(self, world: World, node: Node, actor: Actor) -> None:
        kind = type(actor)
        self.world = world
        self.node = node
        self.transmit = node.transmit
        self.actor = actor
        #: What it may get at all, and what of that its peers may send it.
        self.accepts, self.admits = world.accepts(kind)
        self.absorbs = kind.absorbs
        self.bound = kind.mailbox
        self.concurrent = kind.concurrent
        self.runs = kind.defines("run")
        self.draining = False
        #: Busy with a handler; an actor with a life of its own is always busy.
        self.busy = False
        #: Messages that wait; made when the first does.
        self.inbox: deque[Message] | None = None
        self.pending: dict[int, Task] = {}
        #: Requests that were taken and are not answered, by their identity.
        self.open_requests: dict[int, Message] = {}
        self.requests = 0
        self.receiver: Task | None = None
        #: The handler's task, reused from message to message.
        self.task = Task(world.env, None, self._handled)
        #: Further live tasks: children, concurrent handlers.
        self.tasks: dict[Task, None] = {}

    # Messages in.

    def absorbs_all(self, kinds: Sequence[type[Message]]) -> bool:
        """Whether messages of all these kinds may be absorbed."""
        return all(kind in self.absorbs and kind in self.admits for kind in kinds)

    def start_run(self) -> None:
        """Begin the life of an actor that has one of its own."""
        self.busy = True
        self.task = Task(self.world.env, self.actor.run(self), self._run_ended)
        self.task.start()

    def take(self, message: Message) -> None:
        """Give a message to the actor, now or when it is free."""
        if self.busy:
            task = self.receiver
            if task is not None:
                self.receiver = None
                task.resume(task.send, message)
            elif self.inbox is None:
                self.inbox = deque((message,))
            else:
                self.inbox.append(message)
        elif self.concurrent:
            task = Task(self.world.env, self.actor.handle(self, message), self._concurrent_ended)
            self.tasks[task] = None
            task.resume(task.send, None)
        else:
            # The first stretch of a handler runs without its task: many handlers never wait.
            coroutine = self.actor.handle(self, message)
            self.busy = True
            try:
                wait = coroutine.send(None)
            except StopIteration:
                self.busy = False
                return
            except Exception as error:  # noqa: BLE001  an actor's failure is handed to the world
                self.busy = False
                self.world.actor_failed(self, error)
                return
            task = self.task
            task.send = coroutine.send
            task.throw = coroutine.throw
            task.suspend(wait)

    def take_refusal(self, task: Task, message: Refusal) -> None:
        """Give the failure of a request to the task that waits for its reply."""
        failure: Exception
        if message.reason == "full":
            failure = QueueFull(message.sender)
        elif message.reason == "gone":
            failure = PeerLeft(message.sender)
        else:
            failure = Refused(message.sender, message.reason)
        task.resume(task.throw, failure)

    def _handled(self, task: Task, result: Any, error: BaseException | None) -> None:
        self.busy = False
        if error is not None:
            self.world.actor_failed(self, error)
        if self.inbox and not self.draining:
            # A loop, not a recursion: a handler that never waits ends within `take`.
            self.draining = True
            while self.inbox and not self.busy:
                self.take(self.inbox.popleft())
            self.draining = False

    def _run_ended(self, task: Task, result: Any, error: BaseException | None) -> None:
        if error is not None:
            self.world.actor_failed(self, error)
        else:
            self.world.leave(self.node)

    def _concurrent_ended(self, task: Task, result: Any, error: BaseException | None) -> None:
        del self.tasks[task]
        if error is not None:
            self.world.actor_failed(self, error)

    def _spawned(self, task: Task, begins: bool) -> None:
        if begins:
            self.tasks[task] = None
        else:
            del self.tasks[task]

    @property
    def idle(self) -> bool:
        """Whether nothing is held here that a dormant row could not hold."""
        return not (self.busy or self.runs or self.inbox or self.tasks or self.pending or self.open_requests)

    def release(self) -> None:
        """Let go of what holds the cell itself, so that it goes at once and not with the next garbage collection."""
        del self.task

    def kill(self) -> None:
        """End all tasks without a word, children first."""
        while self.tasks:
            self.tasks.popitem()[0].kill()
        self.task.kill()
        self.pending.clear()
        self.inbox = None
        self.receiver = None

    # The contract.

    @property
    def name(self) -> str:
        return self.node.name

    @property
    def now(self) -> float:
        return self.world.env._now

    @property
    def device(self) -> SimulatedDevice:
        return SimulatedDevice(self.node)

    def sleep(self, seconds: float) -> Awaitable[None]:
        return Sleep(seconds)

    def later(self, delay: float, message: Message) -> LocalMessage:
        if type(message) not in self.accepts:
            raise TypeError(f"{type(self.actor).__name__} does not accept {type(message).__name__}")
        return LocalMessage(self.node, message, delay)

    def deadline(self, seconds: float) -> Deadline:
        return Deadline(self.world.env, seconds)

    def group(self) -> Group:
        return Group(self.world.env, self._spawned)

    def send(self, to: str, message: Message) -> Awaitable[None]:
        if message.sender:
            if message.sender != self.node.name or message.correlation:
                message = copy_of(message)
                force_setattr(message, "sender", self.node.name)
                force_setattr(message, "correlation", 0)
        else:
            force_setattr(message, "sender", self.node.name)
        self.transmit(to, message)
        return DONE

    def request(self, to: str, message: Message, *, timeout: float) -> Awaitable[Message]:
        return _Request(self, to, message, timeout)

    def reply(self, request: Message, message: Message) -> Awaitable[None]:
        node = self.node
        if message.sender:
            message = copy_of(message)
            force_setattr(message, "correlation", 0)
        force_setattr(message, "sender", node.name)
        if request.correlation:
            force_setattr(message, "correlation", -request.correlation)
            self.open_requests.pop(id(request), None)
        node.transmit(request.sender, message)
        return DONE

    def receive(self, *, timeout: float | None = None) -> Awaitable[Message]:
        return _Receive(self, timeout)

    def watch(self, peer: str) -> None:
        self.world.watch(self.node, peer)

    def compute(self, function: Any, *arguments: Any) -> Awaitable[Any]:
        return Computation(self, function, arguments)

    async def value(self, payload: Payload, *, ahead: bool = False) -> Any:
        return self.world.evaluator.value(payload, ahead=ahead)

    def random(self, purpose: str, counter: int = 0) -> np.random.Generator:
        return rng.generator(self.world.seed, self.name, purpose, counter)

    def secret(self, purpose: str, size: int, counter: int = 0) -> bytes:
        return rng.secret_bytes(self.world.seed, size, self.name, purpose, counter)

    def record(self, row: Row) -> None:
        self.world.record(self.name, row)
