"""More busy actors than may be awake: what a step costs when none can be put to sleep.

    python -m bench.busy_actors --instances 30000 --max-awake 10000 1000 100

A backlog is laid up: an event that starts each instance, then three rounds of one more for each. It
is worked off from copies of one store, each in a fresh process: once where all instances may be
awake, and once for each smaller number of them. Nothing else holds work back: as many events may be
in hand, and as many steps in one commit, as there are. So an instance that took its step is busy
until the commit that holds it is durable, and when the next one wakes, those awake are too many and
none of them may sleep. What the processor did for a step, against the run where all may be awake,
is the figure; the worst of them counts.

It is fair because both do the same steps with the same bounds but one. What the smaller number
costs by intention, that instances are read again from the log, is in it.
"""

from __future__ import annotations

import shutil
import time
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from procession import Runtime

from .apart import apart
from .cases import Noted, Opened, case_id, cases, outside, stream_of
from .feeding import lay_up, passing
from .measure import Figure, program, run

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

ROUNDS = 3


class Cost(NamedTuple):
    """Of one run."""

    cpu_us: float
    """What the processor did for a step."""
    seconds: float
    highest_awake: int
    passivated: int
    commits: int


def fill(store: Path, instances: int) -> None:
    def events() -> Iterator[Opened | Noted]:
        names = [case_id(number) for number in range(instances)]
        yield from map(Opened, names)
        for _ in range(ROUNDS):
            yield from map(Noted, names)

    lay_up(store, outside, events(), stream_of)


def work_off(store: Path, instances: int, max_awake: int) -> Cost:
    steps = (1 + ROUNDS) * instances
    highest = 0
    began, cpu = time.perf_counter(), time.process_time()
    with Runtime(
        store,
        cases,
        max_awake=max_awake,
        max_in_flight=steps,
        largest_commit=steps,
        idle_timeout=timedelta(days=1),
    ) as runtime:

        def done() -> int:
            nonlocal highest
            stats = runtime.stats()
            highest = max(highest, stats["awake"])
            return stats["transitions"]

        for _ in passing(done, [steps]):
            pass
        runtime.settle()
        cpu = time.process_time() - cpu
        stats = runtime.stats()
    return Cost(
        cpu / steps * 1e6,
        time.perf_counter() - began,
        highest,
        stats["passivated"],
        stats["commits"],
    )


def measure(folder: Path, instances: int, max_awake: Sequence[int]) -> list[Figure]:
    apart(fill, folder / "backlog", instances)
    found: dict[int, Cost] = {}
    for most in [2 * instances, *max_awake]:
        store = folder / str(most)
        shutil.copytree(folder / "backlog", store)
        found[most] = apart(work_off, store, instances, most)
        shutil.rmtree(store)
    free = found.pop(2 * instances)
    return [
        Figure(
            row=18,
            what="a step when more are busy than may be awake, against one when all may be",
            value=round(max(one.cpu_us for one in found.values()) / free.cpu_us, 3),
            unit="times",
            reach=2,
            better="at most",
            details={
                "instances": instances,
                "cpu_us_per_step": round(free.cpu_us, 2),
                "commits": free.commits,
                "by_max_awake": {
                    f"{most:,}": {
                        "cpu_us_per_step": round(one.cpu_us, 2),
                        "highest_awake": one.highest_awake,
                        "passivated": one.passivated,
                        "commits": one.commits,
                    }
                    for most, one in found.items()
                },
            },
        )
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = program("busy_actors", __doc__)
    parser.add_argument("--instances", type=int, default=30_000)
    parser.add_argument("--max-awake", type=int, nargs="+", default=[10_000, 1_000, 100])
    options = parser.parse_args(arguments)
    run(options, lambda folder: measure(folder, options.instances, options.max_awake))


if __name__ == "__main__":
    main()
