"""A service that has orders placed, one after another, until its input ends or it is killed; says
which processes it has, and what was acknowledged.

python orders_worker.py PLACE NAME PARTITIONS PROCESSES
"""

from __future__ import annotations

import os
import sys
import threading
from itertools import count
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from domain_examples.order_fulfilment import shop
from procession import ProcessionError, Runtime
from procession.store import LockedStore
from tests.actors.cluster.crossing import Open, crossing
from tests.kill.order_kinds import order_of

BRIEFLY = 0.02


def say(line: str) -> None:
    # One write for each line, so that it is whole or not there when the process is killed.
    os.write(1, f"{line}\n".encode())


def opened(place: str, partitions: int, processes: int) -> Runtime:
    """What runs it, once the process that had the store before has ended."""
    while True:
        try:
            if partitions == 1:
                return Runtime(place, shop, crossing)
            return Runtime(place, shop, crossing, partitions=partitions, processes=processes)
        except LockedStore:
            threading.Event().wait(BRIEFLY)


def place(runtime: Runtime, name: str, is_over: threading.Event) -> None:
    """Have an order placed, and a case opened whose parts may be in other partitions."""
    for command in (order_of(name), Open(name, (f"{name}-a", f"{name}-b"))):
        while True:
            try:
                runtime.tell(command, command_id=f"{type(command).__name__}-{name}")
                break
            except ProcessionError as error:
                # It was another process's, which was killed.
                say(f"error {type(error).__name__}")
                if is_over.wait(BRIEFLY):
                    return
    say(f"told {name}")


def main(where: str, run: str, partitions: str, processes: str) -> None:
    is_over = threading.Event()

    def read() -> None:
        sys.stdin.read()
        is_over.set()

    threading.Thread(target=read, daemon=True).start()
    with opened(where, int(partitions), int(processes)) as runtime:
        known = getattr(runtime, "processes", {})
        say(f"runs {' '.join(map(str, {os.getpid(), *known.values()}))}")
        for number in count():
            if is_over.is_set():
                break
            place(runtime, f"{run}-{number:04}", is_over)


if __name__ == "__main__":
    main(*sys.argv[1:])
