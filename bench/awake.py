"""Bytes for each awake instance: what it costs to keep 100,000 instances in memory.

    python -m bench.awake --instances 100000

A runtime is opened and its anonymous memory read: that is an empty one. Then every instance is
started by one event and left open and idle, and when all is settled and garbage is gone, memory is
read again. The difference, divided by the instances that `stats()` says are awake, is the figure.
No aggregate is awake, since the events come from outside.

It is fair because all that an instance needs is in it: its actor, its state, its id, its place in
the table of those awake, and whatever the allocator lost on the way. The events themselves are
made one batch at a time and are gone when memory is read, but for what the runtime keeps of them.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from procession import Runtime

from .cases import Opened, case_id, cases, stream_of
from .feeding import feed
from .measure import Figure, program, run
from .memory import settled

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def measure(folder: Path, instances: int) -> list[Figure]:
    with Runtime(
        folder / "store", cases, max_awake=2 * instances, idle_timeout=timedelta(days=1)
    ) as runtime:
        empty = settled()
        feed(runtime, (Opened(case_id(number)) for number in range(instances)), stream_of)
        runtime.settle()
        awake = runtime.stats()["awake"]
        full = settled()
    return [
        Figure(
            row=3,
            what="bytes for each awake instance",
            value=round((full.anonymous - empty.anonymous) / awake, 1),
            unit="bytes",
            reach=3_500,
            better="at most",
            details={
                "instances": instances,
                "awake": awake,
                "empty_runtime_bytes": empty.anonymous,
                "all_awake_bytes": full.anonymous,
                "mapped_bytes": full.mapped,
            },
        )
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = program("awake", __doc__)
    parser.add_argument("--instances", type=int, default=100_000)
    options = parser.parse_args(arguments)
    run(options, lambda folder: measure(folder, options.instances))


if __name__ == "__main__":
    main()
