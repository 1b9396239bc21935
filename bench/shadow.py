"""Trying code on what is stored: what is decided in a second of one core, and memory meanwhile.

    python -m bench.shadow --orders 1000000 --processes 2

Orders of the reference workload are carried out first. Then all their steps are decided again by
the same code, which must come to the same, in this process; their events are applied again, two of
three commands are carried out again, and each event is looked up in its instance. The processor
time is what counts, so that others on the machine make no difference. On the way, the memory that
the process allocated is read ten times. Last, the same is done by processes of its own, for the
time that a caller waits.

It is fair because nothing is kept from the first to the second time: the store is opened anew, and
each instance, its transitions and their events are read from it.
"""

from __future__ import annotations

import time
from decimal import Decimal
from typing import TYPE_CHECKING

from procession import Runtime, shadow

from .feeding import batched
from .measure import SERIES, Figure, program, run
from .memory import resident
from .workload import PlaceOrder, shop

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

TOGETHER = 2_000
READINGS = 10


def fill(store: Path, orders: int) -> None:
    with Runtime(store, shop, durability="none", control=False) as runtime:
        placed = (PlaceOrder(f"o{one:08d}", "c1", Decimal("9.50")) for one in range(orders))
        for some in batched(placed, TOGETHER):
            runtime.tell_many(some)
            runtime.settle()


def measure(folder: Path, orders: int, processes: int) -> list[Figure]:
    store = folder / "store"
    fill(store, orders)
    points: list[tuple[int, int]] = []

    def read(done: int, of: int) -> None:
        if done >= of * len(points) / READINGS:
            points.append((done, resident().anonymous))

    began = time.process_time()
    report = shadow(store, shop, processes=0, on_progress=read)
    cpu = time.process_time() - began
    assert str(report).endswith("no differences")
    assert report.steps == 3 * orders

    began = time.perf_counter()
    assert shadow(store, shop, processes=processes).steps == report.steps
    seconds = time.perf_counter() - began
    first = next((size for done, size in points if done), points[-1][1])
    return [
        Figure(
            row=28,
            what="steps and commands that are decided again in a second of one core",
            value=round((report.steps + report.commands) / cpu),
            unit="steps/s",
            reach=20_000,
            better="at least",
            details={
                "instances": report.instances,
                "steps": report.steps,
                "commands": report.commands,
                "events": report.events,
                "us_an_order": round(cpu / orders * 1e6, 1),
                "mb_of_memory": round(max(size for _, size in points) / 1e6, 1),
                "processes": processes,
                "seconds_of_all_processes": round(seconds, 1),
            },
        ),
        Figure(
            row=28,
            what="memory when all are decided again, against a tenth of them",
            value=round(points[-1][1] / first, 3),
            unit="times",
            reach=1.1,
            better="at most",
            details={
                "instances": report.instances,
                "mb_more": round((points[-1][1] - first) / 1e6, 2),
                SERIES: points,
            },
        ),
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = program("shadow", __doc__)
    parser.add_argument("--orders", type=int, default=100_000)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args(arguments)
    run(options, lambda folder: measure(folder, options.orders, options.processes))


if __name__ == "__main__":
    main()
