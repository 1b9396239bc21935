"""Isolation: what all others get done while one instance in a thousand sleeps in its handler.

    python -m bench.isolation --instances 50000

One event is laid up for each instance; every thousandth says that its handler is to sleep for a
second. Then the process manager is started with four workers. The time counts from before the
store is opened until all the instances that do *not* sleep have taken their step; those that sleep
are counted neither as done nor as time. The same is done with a store in which none sleeps, and
the same instances are waited for. Steps a second of the others, sleeping against not, are the
figure.

It is fair because the sleepers are spread evenly, so that the others meet them all the way, and
`sleep` stands for any handler that blocks without the interpreter. A sleeper that has woken is
taken off the count of transitions before its step is on disk: that can only make the others look
slower.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from procession import Domain, Event, ProcessManager, Runtime, handle

from .feeding import lay_up, passing
from .measure import Figure, program, run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

ONE_IN = 1_000


class Begun(Event):
    case: str
    seconds: float


outside = Domain("isolation")
outside.register(Begun)

isolation = Domain("isolation")

woken: list[str] = []
"""The instances that have slept."""


@isolation.register
class Sleeper(ProcessManager, correlate="case", begin="origin"):
    case: str = ""

    @handle(Begun, start=True)
    def on_begun(self, event: Begun) -> None:
        if event.seconds:
            time.sleep(event.seconds)
            woken.append(event.case)


def stream_of(event: Begun) -> str:
    return f"isolation::case-{event.case}"


def steps_per_s_of_others(store: Path, instances: int, workers: int, seconds: float) -> float:
    """Of all but every thousandth, which sleeps for so many seconds."""
    sleepers = range(ONE_IN // 2, instances, ONE_IN)
    lay_up(
        store,
        outside,
        (Begun(f"c{n:07d}", seconds if n in sleepers else 0.0) for n in range(instances)),
        stream_of,
    )
    woken.clear()
    others = instances - len(sleepers)
    began = time.perf_counter()
    with Runtime(store, isolation, workers=workers) as runtime:
        ((_, ended),) = passing(lambda: runtime.stats()["transitions"] - len(woken), [others])
    return others / (ended - began)


def measure(folder: Path, instances: int, workers: int, seconds: float) -> list[Figure]:
    # When none sleeps, a thousandth of the steps is not waited for at the end.
    alone = steps_per_s_of_others(folder / "alone", instances, workers, 0.0)
    beside = steps_per_s_of_others(folder / "beside", instances, workers, seconds)
    return [
        Figure(
            row=10,
            what="steps a second of all others while some sleep, against none sleeping",
            value=round(beside / alone, 3),
            unit="times",
            reach=0.8,
            better="at least",
            details={
                "instances": instances,
                "sleepers": len(range(ONE_IN // 2, instances, ONE_IN)),
                "sleeping_s": seconds,
                "workers": workers,
                "steps_per_s_none_sleeping": round(alone),
                "steps_per_s_beside_sleepers": round(beside),
            },
        )
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = program("isolation", __doc__)
    parser.add_argument("--instances", type=int, default=50_000)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=1.0, help="that a sleeper sleeps")
    options = parser.parse_args(arguments)
    run(
        options,
        lambda folder: measure(folder, options.instances, options.workers, options.seconds),
    )


if __name__ == "__main__":
    main()
