"""A device that turns off in its own heat is one that has crashed, and comes back by itself when it has cooled."""

import dataclasses

from core.actor import Context, Message, Start
from core.devices import Heat, ThrottleLevel
from core.records.rows import DeviceRow, JobRow
from tests.sim.studies import PLUGGED, Chore, handling, place, run, study

#: 2 W heat it to 45 °C, and it turns off at 40.
HOT = dataclasses.replace(
    PLUGGED, name="hot", heat=Heat(10.0, 20.0 / 3.0), throttle=(ThrottleLevel(40.0, 5.0, power_cap=0.0),)
)


def test_it_is_lost_and_comes_back() -> None:
    starts = []

    async def worker(ctx: Context, message: Message) -> None:
        starts.append(ctx.now)
        await ctx.compute(Chore(1e5))

    async def life(ctx: Context) -> None:
        await ctx.sleep(1000.0)

    outcome = run(study(life, place("phone", handling(worker, Start), profile=HOT)))
    rows = [(at, row) for at, name, row in outcome.records.rows if name == "phone"]
    events = [(at, row.event) for at, row in rows if isinstance(row, DeviceRow)]
    names = [event for _, event in events]
    assert names[:5] == ["start", "job_start", "throttle", "job_end", "overheated"]
    off_s = next(at for at, event in events if event == "overheated")
    on_s = next(at for at, event in events if event == "restart")
    jobs = [row for _, row in rows if isinstance(row, JobRow)]
    assert jobs[0].outcome == "overheated"
    assert jobs[0].seconds == off_s
    assert starts[0] == 0.0
    # Restarted, it begins again, and it is off again in less time than from cold.
    assert starts[1] == on_s > off_s
    assert names.count("overheated") > 1
