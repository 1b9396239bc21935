"""Fan-out: one event that is for many instances, and what it costs another process manager.

    python -m bench.fan_out --instances 1000 5000 10000 20000 --listed 1000 20000

A herd listens to three events. One holds a number, and a function makes ids of it. The two others
hold the ids themselves, so that they are as large as the herd: one in a tuple, which all instances
may share, the other in a list, of which each has a copy. Each is published once to start all
instances and once more when they are awake, in a store with fsync, for each size in a fresh
process. From the call of `publish` until all is settled is the time; what the processor did
meanwhile, divided by the instances, is what an instance costs; of three tries the one that was
disturbed least counts. If that is the same at every size, nothing looks at all instances for each
of them. The figure takes both events together: what was committed lately is known to the store
without a look, which helps the second event of a small herd and is no law.

Then the first one again while a thread knocks: it publishes an event that is for one instance of
another process manager, and the next one when that is handled. The longest time from the call of
`publish` until the handler has it is what the other one waits.

It is fair because an instance of the herd does the least that a step can, so that what the event's
way to it costs shows, and because the knocks, which take time from the fan-out, are in a run of
their own.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from procession import Domain, Event, ProcessManager, Runtime, handle

from .apart import apart
from .cases import case_id
from .measure import Figure, program, run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

TRIES = 3

PAUSE = 0.01
"""Seconds between two knocks."""


class Counted(Event):
    """For the first so many cases."""

    cases: int


class Named(Event):
    """For the cases that it names."""

    cases: tuple[str, ...]


class Listed(Event):
    """As `Named`, in a list, which a handler could change."""

    cases: list[str]


class Knocked(Event):
    case: str


herd = Domain("herd")


def counted(event: Counted) -> list[str]:
    return [case_id(number) for number in range(event.cases)]


@herd.register
class Member(ProcessManager):
    case: str = ""
    calls: int = 0

    @handle(Counted, start=True, correlate=counted)
    def on_counted(self, event: Counted) -> None:
        self.calls += 1

    @handle(Named, start=True, correlate={"case": "cases"})
    def on_named(self, event: Named) -> None:
        self.calls += 1

    @handle(Listed, start=True, correlate={"case": "cases"})
    def on_listed(self, event: Listed) -> None:
        self.calls += 1


@herd.register
class Bystander(ProcessManager, correlate="case"):
    case: str = ""

    @handle(Knocked, start=True)
    def on_knocked(self, event: Knocked) -> None:
        heard.append(time.perf_counter())
        was_heard.set()


heard: list[float] = []
"""When the bystander had an event."""

was_heard = threading.Event()


class Cost(NamedTuple):
    """Of one event."""

    seconds: float
    cpu_us: float
    """What the processor did for each instance."""


class FanOut(NamedTuple):
    """What an event costs that starts all, and the same for those who are awake."""

    costs: list[Cost]
    longest_wait: float
    """Of the bystander, if there was a knock."""


def fan_out(store: Path, way: str, instances: int, *, knocks: bool = False) -> FanOut:
    """Publish an event for so many instances, twice."""
    event: Event = Counted(instances)
    if way != "counted":
        names = [case_id(number) for number in range(instances)]
        event = Listed(names) if way == "listed" else Named(tuple(names))
    costs: list[Cost] = []
    waits = [0.0]
    with Runtime(store, herd, max_awake=2 * instances) as runtime:
        # What the first of all events costs is in no time.
        knock(runtime)
        runtime.settle()
        for _ in range(2):
            over = threading.Event()
            knocking = threading.Thread(target=_keep_knocking, args=(runtime, over, waits))
            began, cpu = time.perf_counter(), time.process_time()
            if knocks:
                knocking.start()
            runtime.publish(event, stream="herd::call-1")
            runtime.settle()
            cpu = time.process_time() - cpu
            costs.append(Cost(time.perf_counter() - began, cpu / instances * 1e6))
            over.set()
            if knocks:
                knocking.join()
        steps = runtime.stats()["transitions"]
    if steps < 2 * instances:
        raise RuntimeError(f"{steps:,} steps, where there should be {2 * instances:,}")
    return FanOut(costs, max(waits))


def knock(runtime: Runtime) -> float:
    """Publish what is for the bystander alone; returns how long that took to have it."""
    heard.clear()
    was_heard.clear()
    began = time.perf_counter()
    runtime.publish(Knocked("one"), stream="herd::door-1")
    was_heard.wait()
    return heard[0] - began


def _keep_knocking(runtime: Runtime, over: threading.Event, waits: list[float]) -> None:
    while not over.is_set():
        waits.append(knock(runtime))
        time.sleep(PAUSE)


def measure(folder: Path, instances: Sequence[int], listed: Sequence[int]) -> list[Figure]:
    costs = {
        way: {size: _costs(folder, way, size) for size in sizes}
        for way, sizes in (("counted", instances), ("named", listed), ("listed", listed))
    }
    most = max(instances)
    wait = apart(fan_out, folder / "knocks", "counted", most, knocks=True).longest_wait
    seconds = max(one.seconds for one in costs["counted"][most])
    return [
        Figure(
            row=17,
            what="seconds until one event for the most instances is handled by all",
            value=round(seconds, 3),
            unit="s",
            reach=2,
            better="at most",
            details={
                "instances": most,
                "seconds_by_instances": {
                    f"{size:,}": [round(one.seconds, 3) for one in found]
                    for size, found in costs["counted"].items()
                },
            },
        ),
        _flatness("an instance of the most that one event is for", costs["counted"], 1.3),
        _flatness("an instance of the most that one event names", costs["named"], 1.3),
        _flatness("an instance of the most that one event names in a list", costs["listed"], 2),
        Figure(
            row=17,
            what="longest that another process manager's event waits meanwhile",
            value=round(wait, 4),
            unit="s",
            reach=0.2,
            better="at most",
            details={"instances": most},
        ),
    ]


def _costs(folder: Path, way: str, instances: int) -> list[Cost]:
    """Of starting and of going on: of three tries, the one that was disturbed least."""
    tries = [
        apart(fan_out, folder / f"{way}{instances}-{turn}", way, instances).costs
        for turn in range(TRIES)
    ]
    return [
        Cost(min(one.seconds for one in found), min(one.cpu_us for one in found))
        for found in zip(*tries, strict=True)
    ]


def _flatness(what: str, costs: dict[int, list[Cost]], reach: float) -> Figure:
    few, most = min(costs), max(costs)
    starting, going_on = (
        many.cpu_us / one.cpu_us for one, many in zip(costs[few], costs[most], strict=True)
    )
    together = {size: sum(one.cpu_us for one in costs[size]) for size in (few, most)}
    return Figure(
        row=17,
        what=f"{what}, against the fewest",
        value=round(together[most] / together[few], 3),
        unit="times",
        reach=reach,
        better="at most",
        details={
            "fewest": few,
            "most": most,
            "starting": round(starting, 3),
            "going_on": round(going_on, 3),
            "cpu_us_by_instances": {
                f"{size:,}": [round(one.cpu_us, 1) for one in found]
                for size, found in costs.items()
            },
        },
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = program("fan_out", __doc__)
    parser.add_argument("--instances", type=int, nargs="+", default=[1_000, 5_000, 10_000, 20_000])
    parser.add_argument(
        "--listed", type=int, nargs="+", default=[1_000, 20_000], help="that an event names"
    )
    options = parser.parse_args(arguments)
    run(options, lambda folder: measure(folder, options.instances, options.listed))


if __name__ == "__main__":
    main()
