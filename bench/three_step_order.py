"""Throughput of the three-step order with full durability, and the bare loop beside it.

    python -m bench.three_step_order --orders 20000 --json

The bare loop runs first, in the same process and on the same disk, so the ratio of the two means
something on any machine: it is one figure. The other is whether it stays so: orders a second while
the last tenth of the orders is completed, against those while the first tenth is. To say anything
about that takes many orders (`--orders 500000`).

Orders are handed over by `tell_many`, two thousand at once and never more than some thousands
ahead of those that are complete, as a service does that is at its limit. How many are complete is
told by `stats()`: an order is three transitions. In the end each one is looked up on disk.
"""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from procession import Runtime

from .ceiling import BareLoop
from .feeding import passing
from .measure import SERIES, Figure, present, program
from .memory import resident
from .workload import OrderFulfillment, PlaceOrder, shop

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TOGETHER = 2_000
"""Orders that the caller hands over before it waits for them to be taken in."""

AHEAD = 10_000
"""Most orders that are handed over and not complete."""

STEPS = 3
"""Transitions of one order."""

READINGS = 50


@dataclass(slots=True)
class Run:
    """What one run came to."""

    seconds: float = 0.0
    cpu: float = 0.0
    """Seconds of the processor, without looking whether all is complete."""
    complete: int = 0
    points: list[tuple[int, float, int]] = field(default_factory=list)
    """Orders so far, seconds since the beginning, anonymous bytes."""

    def seconds_at(self, orders: float) -> float:
        """When so many were complete, by a straight line between the points around it."""
        before = (0, 0.0)
        for done, seconds, _ in self.points:
            if done >= orders:
                share = (orders - before[0]) / (done - before[0])
                return before[1] + share * (seconds - before[1])
            before = done, seconds
        return self.seconds

    def rates(self) -> Iterator[tuple[int, int, int]]:
        """Orders so far, orders a second since the point before, anonymous bytes."""
        before = (0, 0.0)
        for done, seconds, size in self.points:
            if done > before[0]:
                yield done, round((done - before[0]) / (seconds - before[1])), size
            before = done, seconds


def measure_ceiling(folder: Path, orders: int) -> float:
    """Orders a second of the bare loop."""
    loop = BareLoop(folder)
    try:
        return loop.run(orders)
    finally:
        loop.close()


def order(number: int) -> PlaceOrder:
    return PlaceOrder(f"o{number:07d}", "c1", Decimal(99))


def measure(folder: Path, orders: int) -> Run:
    """Carry out that many orders through the public API."""
    run = Run()
    stride = max(1, orders // READINGS)
    with Runtime(folder, shop) as runtime:

        def done() -> int:
            return runtime.stats()["transitions"] // STEPS

        def note(found: int, now: float) -> None:
            if found >= len(run.points) * stride:
                run.points.append((found, now - began, resident().anonymous))

        began, cpu = time.perf_counter(), time.process_time()
        for start in range(0, orders, TOGETHER):
            end = min(start + TOGETHER, orders)
            runtime.tell_many([order(number) for number in range(start, end)])
            for passed in passing(done, [end - AHEAD]):
                note(*passed)
        runtime.settle()
        run.seconds = time.perf_counter() - began
        run.cpu = time.process_time() - cpu
        run.points.append((done(), run.seconds, resident().anonymous))
        run.complete = sum(
            1
            for number in range(orders)
            if (process := runtime.get(OrderFulfillment, order(number).order_id))
            and process.is_complete
        )
    return run


def figures(orders: int, ceiling: float, ceiling_cpu: float, run: Run) -> list[Figure]:
    tenth = orders / 10
    first = tenth / run.seconds_at(tenth)
    last = tenth / (run.seconds - run.seconds_at(9 * tenth))
    return [
        Figure(
            row=1,
            what="orders a second, against the bare loop",
            value=round(orders / run.seconds / ceiling, 3),
            unit="times",
            reach=0.5,
            better="at least",
            details={
                "orders": orders,
                "complete": run.complete,
                "orders_per_s": round(orders / run.seconds),
                "ceiling_orders_per_s": round(ceiling),
            },
        ),
        Figure(
            row=1,
            what="what the bare loop has the processor do for an order, against ours",
            value=round(ceiling_cpu / run.cpu, 3),
            unit="times",
            reach=0.5,
            better="at least",
            details={
                "cpu_us_per_order": round(run.cpu / orders * 1e6, 1),
                "ceiling_cpu_us_per_order": round(ceiling_cpu / orders * 1e6, 1),
            },
        ),
        Figure(
            row=2,
            what="orders a second in the last tenth of the orders, against the first tenth",
            value=round(last / first, 3),
            unit="times",
            reach=0.85,
            better="at least",
            details={
                "orders": orders,
                "first_tenth_orders_per_s": round(first),
                "last_tenth_orders_per_s": round(last),
                SERIES: {
                    "columns": ["orders", "orders_per_s", "anonymous_bytes"],
                    "points": list(run.rates()),
                },
            },
        ),
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = program("three_step_order", __doc__)
    parser.add_argument("--orders", type=int, default=20_000, help="how many orders to carry out")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        before = time.process_time()
        ceiling = measure_ceiling(Path(folder, "ceiling"), options.orders)
        ceiling_cpu = time.process_time() - before
        run = measure(Path(folder, "store"), options.orders)
    rate = options.orders / run.seconds
    present(
        figures(options.orders, ceiling, ceiling_cpu, run),
        as_json=options.json,
        orders=options.orders,
        complete=run.complete,
        orders_per_s=round(rate),
        ceiling_orders_per_s=round(ceiling),
        ratio=round(rate / ceiling, 3),
        cores=os.cpu_count(),
    )


if __name__ == "__main__":
    main()
