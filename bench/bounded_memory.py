"""Bounded memory: what a million open instances cost when ten thousand may be awake.

    python -m bench.bounded_memory --instances 1000000

Instances are started one after another and left open. Anonymous memory is read when the first
50,000 are open (by then as many are awake as may be) and when all are. Each time everything is
settled and garbage is gone. The ratio of the two is the figure; the highest of the readings taken
on the way, without waiting, is told as well.

It is fair because the first reading already has the full number awake: what grows beyond it grows
with the instances that sleep, and that is what must not be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from procession import Runtime

from .cases import Opened, case_id, cases, stream_of
from .feeding import feed
from .measure import SERIES, Figure, program, run
from .memory import resident, settled

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

READINGS = 40


def measure(folder: Path, instances: int, first: int, max_awake: int) -> list[Figure]:
    series: list[tuple[int, int, int]] = []
    stride = max(1, (instances - first) // READINGS)
    with Runtime(folder / "store", cases, max_awake=max_awake) as runtime:

        def start(begin: int, end: int) -> None:
            feed(runtime, (Opened(case_id(number)) for number in range(begin, end)), stream_of)

        start(0, first)
        runtime.settle()
        before = settled()
        for begin in range(first, instances, stride):
            end = min(begin + stride, instances)
            start(begin, end)
            now = resident()
            series.append((end, now.anonymous, now.mapped))
        runtime.settle()
        after = settled()
        stats = runtime.stats()
    return [
        Figure(
            row=4,
            what="memory with all instances open, against the first few",
            value=round(after.anonymous / before.anonymous, 3),
            unit="times",
            reach=1.3,
            better="at most",
            details={
                "instances": instances,
                "first": first,
                "awake": stats["awake"],
                "first_bytes": before.anonymous,
                "all_bytes": after.anonymous,
                "highest_bytes": max(anonymous for _, anonymous, _ in series),
                "mapped_bytes": after.mapped,
                SERIES: {
                    "columns": ["instances", "anonymous_bytes", "mapped_bytes"],
                    "points": series,
                },
            },
        )
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = program("bounded_memory", __doc__)
    parser.add_argument("--instances", type=int, default=1_000_000)
    parser.add_argument("--first", type=int, default=50_000)
    parser.add_argument("--max-awake", type=int, default=10_000)
    options = parser.parse_args(arguments)
    run(
        options,
        lambda folder: measure(folder, options.instances, options.first, options.max_awake),
    )


if __name__ == "__main__":
    main()
