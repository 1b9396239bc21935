"""A long backlog: memory while a process manager catches up with a million events.

    python -m bench.backlog --events 1000000

The events are published, by a process of its own, into a store where no process manager handles
them. Then the store is opened with the process manager, which starts one instance for each.
Anonymous memory is read again and again while it catches up, without waiting for anything: the
highest reading after the first 50,000 steps against the one at 50,000 is the figure.

It is fair because at the first reading as many instances are awake as may be and the backlog is at
its longest. Events that were read too far ahead would show, as would what is kept of finished ones.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from procession import Runtime

from .apart import apart
from .cases import Opened, case_id, cases, outside, stream_of
from .feeding import lay_up, passing, steps_of
from .measure import SERIES, Figure, program, run
from .memory import resident

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

READINGS = 100


def fill(store: Path, events: int) -> None:
    lay_up(store, outside, (Opened(case_id(number)) for number in range(events)), stream_of)


def measure(folder: Path, events: int, first: int, max_awake: int) -> list[Figure]:
    store = folder / "store"
    apart(fill, store, events)
    stride = max(1, (events - first) // READINGS)
    series: list[tuple[int, int, int]] = []
    in_flight = 0
    began = time.perf_counter()
    with Runtime(store, cases, max_awake=max_awake) as runtime:
        for steps, _ in passing(steps_of(runtime), [*range(first, events, stride), events]):
            now = resident()
            series.append((steps, now.anonymous, now.mapped))
            in_flight = max(in_flight, runtime.stats()["in_flight"])
        seconds = time.perf_counter() - began
    _, at_first, _ = series[0]
    highest = max(anonymous for _, anonymous, _ in series)
    return [
        Figure(
            row=5,
            what="highest memory while catching up, against that after the first steps",
            value=round(highest / at_first, 3),
            unit="times",
            reach=1.3,
            better="at most",
            details={
                "events": events,
                "first": first,
                "first_bytes": at_first,
                "highest_bytes": highest,
                "last_bytes": series[-1][1],
                "mapped_bytes": series[-1][2],
                "steps_per_s": round(events / seconds),
                "largest_in_flight": in_flight,
                SERIES: {
                    "columns": ["steps", "anonymous_bytes", "mapped_bytes"],
                    "points": series,
                },
            },
        )
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = program("backlog", __doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--first", type=int, default=50_000)
    parser.add_argument("--max-awake", type=int, default=10_000)
    options = parser.parse_args(arguments)
    run(options, lambda folder: measure(folder, options.events, options.first, options.max_awake))


if __name__ == "__main__":
    main()
