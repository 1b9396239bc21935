"""Random ids: orders that are called by UUIDs, against orders whose ids ascend.

    python -m bench.random_ids --orders 100000

The three-step order is carried out with full durability and commits of the usual size, twice, each
in a fresh process: with ascending ids, and with random ones (UUIDs of version 4, made from a fixed
seed beforehand). Rows that are kept by id are then written all over the file, and each commit
copies the pages that it changes. Three figures: what the processor does for an order, random
against ascending; the bytes that the disk wrote for an order with random ids; and what the
processor does for an order of the last half of the orders, against all of them, which shows
whether it becomes slower with the size of the store.

It is fair because both kinds of ids have 36 characters. What the disk wrote is taken from the
kernel's counter of the device that the store is on, with everything synced before and after. The
counter of the process itself does not do: what is written through a memory map, or by the kernel
later, is not in it. So whatever else writes to the disk meanwhile counts as well, and the figure is
rather too high; where the device has no such counter, there is no such figure.
"""

from __future__ import annotations

import os
import random
import time
import uuid
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from procession import Runtime

from .apart import apart
from .feeding import passing
from .measure import SERIES, Figure, program, run
from .three_step_order import AHEAD, STEPS, TOGETHER
from .workload import PlaceOrder, shop

if TYPE_CHECKING:
    from collections.abc import Sequence

SEED = 1

READINGS = 20

SECTOR = 512
"""Bytes of what the kernel counts in, whatever the disk's own sectors are."""


class Reading(NamedTuple):
    """How far a run was."""

    orders: int
    cpu: float
    seconds: float


class Run(NamedTuple):
    """What one run came to."""

    readings: list[Reading]
    written: int | None
    """Bytes that the disk wrote, if that can be told."""

    @property
    def cpu_us(self) -> float:
        """What the processor did for an order."""
        first, last = self.readings[0], self.readings[-1]
        return (last.cpu - first.cpu) / (last.orders - first.orders) * 1e6

    @property
    def last_half_cpu_us(self) -> float:
        """The same for the last half of the orders."""
        last = self.readings[-1]
        half = next(one for one in reversed(self.readings) if one.orders <= last.orders / 2)
        return (last.cpu - half.cpu) / (last.orders - half.orders) * 1e6


def random_ids(orders: int) -> list[str]:
    numbers = random.Random(SEED)
    return [str(uuid.UUID(int=numbers.getrandbits(128), version=4)) for _ in range(orders)]


def ascending_ids(orders: int) -> list[str]:
    return [str(uuid.UUID(int=number << 96, version=4)) for number in range(orders)]


def bytes_written(folder: Path) -> int | None:
    """What the disk that a folder is on has written since the machine was started."""
    device = folder.stat().st_dev
    counters = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat")
    os.sync()
    try:
        return int(counters.read_text(encoding="ascii").split()[6]) * SECTOR
    except (OSError, IndexError, ValueError):
        return None


def carry_out(store: Path, orders: int, *, at_random: bool) -> Run:
    ids = random_ids(orders) if at_random else ascending_ids(orders)
    readings: list[Reading] = []
    stride = max(1, orders // READINGS)
    before = bytes_written(store.parent)
    with Runtime(store, shop) as runtime:

        def done() -> int:
            return runtime.stats()["transitions"] // STEPS

        def note() -> None:
            readings.append(Reading(done(), time.process_time(), time.perf_counter()))

        note()
        for start in range(0, orders, TOGETHER):
            together = [
                PlaceOrder(name, "c1", Decimal(99)) for name in ids[start : start + TOGETHER]
            ]
            runtime.tell_many(together)
            for _ in passing(done, [start + TOGETHER - AHEAD]):
                pass
            if done() >= readings[-1].orders + stride:
                note()
        runtime.settle()
        note()
    after = bytes_written(store.parent)
    if readings[-1].orders != orders:
        raise RuntimeError(f"{readings[-1].orders:,} orders are complete, of {orders:,}")
    return Run(readings, None if before is None or after is None else after - before)


def measure(folder: Path, orders: int) -> list[Figure]:
    ascending = apart(carry_out, folder / "ascending", orders, at_random=False)
    at_random = apart(carry_out, folder / "random", orders, at_random=True)
    figures = [
        Figure(
            row=20,
            what="an order with a random id, against one with an ascending id",
            value=round(at_random.cpu_us / ascending.cpu_us, 3),
            unit="times",
            reach=1.4,
            better="at most",
            details={
                "orders": orders,
                "random_cpu_us": round(at_random.cpu_us, 1),
                "ascending_cpu_us": round(ascending.cpu_us, 1),
                "random_orders_per_s": _rate(at_random),
                "ascending_orders_per_s": _rate(ascending),
            },
        ),
        Figure(
            row=20,
            what="an order of the last half of those with random ids, against all of them",
            value=round(at_random.last_half_cpu_us / at_random.cpu_us, 3),
            unit="times",
            reach=1.15,
            better="at most",
            details={
                "orders": orders,
                "last_half_cpu_us": round(at_random.last_half_cpu_us, 1),
                "last_half_cpu_us_ascending": round(ascending.last_half_cpu_us, 1),
                SERIES: {
                    "columns": ["orders", "cpu_s"],
                    "points": [(one.orders, round(one.cpu, 3)) for one in at_random.readings],
                },
            },
        ),
    ]
    if at_random.written is not None and ascending.written is not None:
        figures.append(
            Figure(
                row=20,
                what="bytes that the disk writes for an order with a random id",
                value=round(at_random.written / orders),
                unit="bytes",
                reach=10_000,
                better="at most",
                details={"orders": orders, "ascending": round(ascending.written / orders)},
            )
        )
    return figures


def _rate(found: Run) -> int:
    first, last = found.readings[0], found.readings[-1]
    return round((last.orders - first.orders) / (last.seconds - first.seconds))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = program("random_ids", __doc__)
    parser.add_argument("--orders", type=int, default=100_000)
    options = parser.parse_args(arguments)
    run(options, lambda folder: measure(folder, options.orders))


if __name__ == "__main__":
    main()
