"""The cost of history: resuming an instance with 100,000 transitions, against one with ten.

    python -m bench.history --transitions 100000

The long instance and fifty short ones are made first. Then the store is opened with room for one
awake instance only, and the long one and one of the short ones are visited in turn, so that each
has been passivated when its next event comes. The time from publishing the event until all is
settled is taken; the ratio of the medians is the figure. The short ones are visited in rotation,
since each visit makes them longer.

It is fair because both take the same turns in the same run. Nothing is synced: two syncs of a disk
in each visit would hide any difference of microseconds.
"""

from __future__ import annotations

import time
from statistics import median
from typing import TYPE_CHECKING

from procession import Runtime

from .cases import Noted, Opened, cases, outside, stream_of
from .feeding import lay_up
from .measure import Figure, percentile, program, run

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

LONG = "long"
SHORT = [f"short{number:02d}" for number in range(50)]
FEW = 10


def fill(store: Path, transitions: int) -> None:
    def events() -> Iterator[Opened | Noted]:
        for name, length in [(LONG, transitions), *((name, FEW) for name in SHORT)]:
            yield Opened(name)
            for _ in range(length - 1):
                yield Noted(name)

    lay_up(store, outside, events(), stream_of)
    with Runtime(store, cases, durability="none") as runtime:
        runtime.settle()


def measure(folder: Path, transitions: int, tries: int) -> list[Figure]:
    store = folder / "store"
    fill(store, transitions)
    seconds: dict[str, list[float]] = {"long": [], "short": []}
    with Runtime(store, cases, durability="none", max_awake=1) as runtime:
        for turn in range(tries):
            for kind, name in (("long", LONG), ("short", SHORT[turn % len(SHORT)])):
                event = Noted(name)
                began = time.perf_counter()
                runtime.publish(event, stream=stream_of(event))
                runtime.settle()
                seconds[kind].append(time.perf_counter() - began)
        passivated = runtime.stats()["passivated"]
    long, short = median(seconds["long"]), median(seconds["short"])
    return [
        Figure(
            row=14,
            what="resuming an instance with a long history, against one with a short one",
            value=round(long / short, 3),
            unit="times",
            reach=1.2,
            better="at most",
            details={
                "transitions": transitions,
                "tries": tries,
                "visits": 2 * tries,
                "passivated": passivated,
                "long_us": round(long * 1e6, 1),
                "short_us": round(short * 1e6, 1),
                "long_p99_us": round(percentile(seconds["long"], 99) * 1e6, 1),
                "short_p99_us": round(percentile(seconds["short"], 99) * 1e6, 1),
            },
        )
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = program("history", __doc__)
    parser.add_argument("--transitions", type=int, default=100_000)
    parser.add_argument("--tries", type=int, default=1_000)
    options = parser.parse_args(arguments)
    run(options, lambda folder: measure(folder, options.transitions, options.tries))


if __name__ == "__main__":
    main()
