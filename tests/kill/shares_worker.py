"""A service of several processes, which is killed as a whole or in parts; says what it was told.

python shares_worker.py STORE RUN PARTITIONS PROCESSES
"""

from __future__ import annotations

import os
import sys
import threading
from decimal import Decimal
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from domain_examples.order_fulfilment import PlaceOrder, shop
from procession import PartitionDown, Runtime
from tests.actors.cluster.crossing import Open, crossing

ROUNDS = 150


def say(line: str) -> None:
    # One write for each line, so that it is whole or not there when the process is killed.
    os.write(1, f"{line}\n".encode())


def place(runtime: Runtime, name: str) -> None:
    """Have an order placed, and a case opened whose parts are in other partitions."""
    order = PlaceOrder(order_id=name, sku="tea", quantity=2, total=Decimal(20), country="NL")
    for command in (order, Open(name, (f"{name}-a", f"{name}-b"))):
        while True:
            try:
                runtime.tell(command, command_id=f"{type(command).__name__}-{name}")
                break
            except PartitionDown:
                # Its process was killed, and is started again.
                threading.Event().wait(0.01)
    say(f"told {name}")


def main(store: str, run: str, partitions: str, processes: str) -> None:
    with Runtime(
        store, shop, crossing, partitions=int(partitions), processes=int(processes)
    ) as runtime:
        children = {*runtime.processes.values()} - {os.getpid()}  # type: ignore[attr-defined]
        say(f"runs {' '.join(map(str, children))}")
        for number in range(ROUNDS):
            place(runtime, f"r{run}-{number:04}")
        say("done")


if __name__ == "__main__":
    main(*sys.argv[1:])
