"""Throughput of the three-step order with full durability, and the bare loop beside it.

    python -m bench.three_step_order --orders 20000 --json

The bare loop runs first, in the same process and on the same disk, so the ratio of the two means
something on any machine.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from decimal import Decimal
from pathlib import Path

from actors import Runtime

from .ceiling import BareLoop
from .workload import OrderFulfillment, PlaceOrder, shop

TOGETHER = 2_000
"""Orders that the caller hands over before it waits for them to be taken in."""


def measure_ceiling(folder: Path, orders: int) -> float:
    """Orders a second of the bare loop."""
    loop = BareLoop(folder)
    try:
        return loop.run(orders)
    finally:
        loop.close()


def measure(folder: Path, orders: int) -> tuple[float, int]:
    """Orders a second through the public API, and how many are complete on disk."""
    with Runtime(folder, shop) as runtime:
        commands = [PlaceOrder(f"o{number:07d}", "c1", Decimal(99)) for number in range(orders)]
        began = time.perf_counter()
        for start in range(0, orders, TOGETHER):
            runtime.tell_many(commands[start : start + TOGETHER])
        runtime.settle()
        seconds = time.perf_counter() - began
        complete = sum(
            1
            for command in commands
            if (process := runtime.get(OrderFulfillment, command.order_id)) and process.is_complete
        )
    return orders / seconds, complete


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.three_step_order", description=__doc__)
    parser.add_argument("--orders", type=int, default=20_000, help="how many orders to carry out")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--folder", help="where to put the stores; a temporary one by default")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        ceiling = measure_ceiling(Path(folder, "ceiling"), options.orders)
        orders_per_s, complete = measure(Path(folder, "store"), options.orders)
    result = {
        "orders": options.orders,
        "complete": complete,
        "orders_per_s": round(orders_per_s),
        "ceiling_orders_per_s": round(ceiling),
        "ratio": round(orders_per_s / ceiling, 3),
        "cores": os.cpu_count(),
    }
    if options.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name:>22}  {value:,}")


if __name__ == "__main__":
    main()
