"""An actor that looks at results while others are at work: `ahead` makes batches of them and changes nothing else."""

from __future__ import annotations

from aivsim.testing import deploy, place, run_sim
from core.actor import Actor, Context, Message, Payload
from core.compute import Function
from core.devices import Work
from sim.world import World

PHONES = 4
SQUARE = Function(
    "look_ahead_test.square", lambda x: {"out": {"y": x * x}}, (), lambda x: Work(flops=1e9, bytes=0.0, steps=1)
)


class Ask(Message, frozen=True, kw_only=True):
    x: float


class Answer(Message, frozen=True, kw_only=True):
    out: Payload


class Phone(Actor):
    accepts = (Ask,)

    async def handle(self, ctx: Context, message: Message) -> None:
        assert isinstance(message, Ask)
        outcome = await ctx.compute(SQUARE, message.x)
        await ctx.send("asker", Answer(out=outcome["out"]))


class Asker(Actor):
    """Looks at each answer when it comes; the last phone is not waited for."""

    accepts = (Answer,)

    def __init__(self, ahead: bool, found: list[tuple[float, float]]) -> None:
        self.ahead = ahead
        self.found = found

    async def run(self, ctx: Context) -> None:
        for number in range(PHONES):
            await ctx.send(f"phone-{number}", Ask(x=float(number)))
        for _ in range(PHONES - 1):
            answer = await ctx.receive(timeout=60.0)
            assert isinstance(answer, Answer)
            value = await ctx.value(answer.out, ahead=self.ahead)
            self.found.append((ctx.now, float(value["y"])))


def looked(ahead: bool) -> tuple[list[tuple[float, float]], tuple[int, int, int]]:
    found: list[tuple[float, float]] = []
    # Latencies so unlike that an answer has arrived before the next job ends, when all have begun.
    phones = [place(f"phone-{k}", Phone, device="phone_mid", latency_s=0.004 * 4**k) for k in range(PHONES)]
    worlds: list[World] = []
    run_sim(deploy([place("asker", lambda: Asker(ahead, found)), *phones], [Ask, Answer]), prepare=worlds.append)
    counts = worlds[0].evaluator.counts
    return found, (counts.looks, counts.batches, counts.jobs_wasted)


def test_a_look_ahead_computes_in_one_batch_what_plain_looks_compute_one_by_one() -> None:
    plain, counted = looked(ahead=False)
    assert [value for _, value in plain] == [float(k * k) for k in range(PHONES - 1)]
    assert counted == (PHONES - 1, PHONES - 1, 0)
    assert looked(ahead=True) == (plain, (PHONES - 1, 1, 1))
