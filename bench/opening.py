"""Opening: how much longer it takes with a million open instances than with none.

    python -m bench.opening --instances 1000000

Stores with no instance, with a tenth of them and with all of them are made and closed. Then each
is opened, in a fresh process every time, and the time is taken from before the store is opened to
the first reply of an `ask`. Of several tries, the median counts. The figure is the seconds that
the largest store takes longer than the empty one; it is below 0 when chance makes it faster.

It is fair because the empty store goes through the very same program. The operating system has
the files in memory, having written them just before: what is measured is what the runtime does,
not how fast the disk reads.
"""

from __future__ import annotations

import time
from statistics import median
from typing import TYPE_CHECKING

from procession import Runtime

from .apart import apart
from .cases import Count, Opened, case_id, cases, counters, stream_of
from .feeding import feed
from .measure import Figure, program, run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def fill(store: Path, instances: int) -> None:
    # How it is synced makes no difference to what is opened afterwards.
    with Runtime(store, cases, counters, durability="os") as runtime:
        feed(runtime, (Opened(case_id(number)) for number in range(instances)), stream_of)
        runtime.settle()


def seconds_to_first_reply(store: Path, name: str) -> float:
    began = time.perf_counter()
    runtime = Runtime(store, cases, counters)
    runtime.ask(Count(name))
    seconds = time.perf_counter() - began
    runtime.close()
    return seconds


def measure(folder: Path, instances: int, tries: int) -> list[Figure]:
    seconds: dict[int, float] = {}
    for size in (0, instances // 10, instances):
        store = folder / str(size)
        apart(fill, store, size)
        seconds[size] = median(
            apart(seconds_to_first_reply, store, f"n{number}") for number in range(tries)
        )
    return [
        Figure(
            row=7,
            what="seconds that opening takes longer with all instances than with none",
            value=round(seconds[instances] - seconds[0], 4),
            unit="s",
            reach=0.5,
            better="at most",
            details={
                "tries": tries,
                "seconds_by_instances": {f"{k:,}": round(v, 4) for k, v in seconds.items()},
            },
        )
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = program("opening", __doc__)
    parser.add_argument("--instances", type=int, default=1_000_000)
    parser.add_argument("--tries", type=int, default=5)
    options = parser.parse_args(arguments)
    run(options, lambda folder: measure(folder, options.instances, options.tries))


if __name__ == "__main__":
    main()
