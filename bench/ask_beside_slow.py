"""An ask beside slow handlers: what a caller waits while strangers' handlers take their time.

    python -m bench.ask_beside_slow --instances 400 --seconds 0.005

An event for each instance is published, all at once; each handler sleeps. While they do, a thread
asks an aggregate that has nothing to do with them, again and again, until the last instance has
taken its step. The longest that an ask took is the figure; the median, and the same with no handler
asleep, are told.

It is fair because the asks go on for as long as a handler sleeps, and the worst of them counts. A
commit that waited for the run queue to be empty, as it once did, would show two seconds here; one
that waits no longer than a moment for the caller's sake shows some milliseconds: a handler, the
commit, and the turn of the threads.
"""

from __future__ import annotations

import time
from statistics import median
from typing import TYPE_CHECKING

from procession import Domain, Event, ProcessManager, Runtime, handle

from .cases import Count, case_id, counters
from .measure import Figure, percentile, program, run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

QUIET = 200
"""Asks while no handler sleeps."""


class Begun(Event):
    case: str
    seconds: float


slow = Domain("slow")
slow.register(Begun)


@slow.register
class Sleeper(ProcessManager, correlate="case", begin="origin"):
    case: str = ""

    @handle(Begun, start=True)
    def on_begun(self, event: Begun) -> None:
        time.sleep(event.seconds)


def asks_while(runtime: Runtime, name: str, goes_on: Callable[[int], bool]) -> list[float]:
    """How long each ask took, one after the other, for as long as it goes on."""
    found: list[float] = []
    while goes_on(len(found)):
        began = time.perf_counter()
        runtime.ask(Count(f"{name}{len(found)}"))
        found.append(time.perf_counter() - began)
    return found


def measure(folder: Path, instances: int, seconds: float) -> list[Figure]:
    with Runtime(folder / "store", slow, counters) as runtime:
        alone = asks_while(runtime, "quiet", lambda done: done < QUIET)
        runtime.publish_many(
            [Begun(case_id(number), seconds) for number in range(instances)],
            stream="slow::case-1",
        )
        began = time.perf_counter()
        beside = asks_while(
            runtime, "slow", lambda done: not done or runtime.stats()["transitions"] < instances
        )
        slept = time.perf_counter() - began
    return [
        Figure(
            row=24,
            what="longest ask of an aggregate while strangers' handlers sleep",
            value=round(max(beside) * 1e3, 2),
            unit="ms",
            reach=50,
            better="at most",
            details={
                "instances": instances,
                "sleeping_ms": seconds * 1e3,
                "all_slept_after_s": round(slept, 3),
                "asks": len(beside),
                "median_ms": round(median(beside) * 1e3, 2),
                "p90_ms": round(percentile(beside, 90) * 1e3, 2),
                "median_ms_none_asleep": round(median(alone) * 1e3, 2),
            },
        )
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = program("ask_beside_slow", __doc__)
    parser.add_argument("--instances", type=int, default=400)
    parser.add_argument("--seconds", type=float, default=0.005, help="that a handler sleeps")
    options = parser.parse_args(arguments)
    run(options, lambda folder: measure(folder, options.instances, options.seconds))


if __name__ == "__main__":
    main()
