"""Runs the small program once, on a disk that refuses some writes.

    python -m tests.disks.worker STORE FIRST COUNT ERRNO

With `failing.c` put before the C library, writes FIRST to FIRST + COUNT fail. What was refused is
tried again. It prints what was acknowledged, what was refused, and how many writes failed.
"""

import json
import logging
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from procession import ProcessionError, Runtime
from tests.disks.failing import FailingDisk
from tests.disks.shop import GiftNoted, PlaceOrder, shop

TRIES = 12

MANY = 1_000

FEW = 2
"""Tries of one whose disk fails for good."""

ORDERS = 3


class Worker:
    def __init__(self, folder: str, tries: int) -> None:
        self.folder = folder
        self.tries = tries
        self.acknowledged: list[str] = []
        self.refused = Counter[str]()
        self.raw: list[str] = []

    def attempt(self, call: Callable[[], Any]) -> Any:
        """What comes of a call that is made again when it is refused; None if it always is."""
        for _ in range(self.tries):
            try:
                return call() or True
            except ProcessionError as error:
                self.refused[type(error).__name__] += 1
            except Exception as error:  # noqa: BLE001 - that is what is looked for
                self.raw.append(f"{type(error).__name__}: {error}")
        return None

    def run(self) -> None:
        runtime: Runtime | None = self.attempt(lambda: Runtime(self.folder, shop))
        if runtime is None:
            return
        for number in range(ORDERS):
            self.bring(runtime, f"o{number}", is_asked=number % 2 == 1)
        self.attempt(lambda: runtime.close(timeout=1))

    def bring(self, runtime: Runtime, order: str, *, is_asked: bool) -> None:
        placed, gift = PlaceOrder(order), GiftNoted(order)
        if is_asked:
            done = self.attempt(lambda: runtime.ask(placed, command_id=order, timeout=10))
        else:
            done = self.attempt(lambda: runtime.tell(placed, command_id=order))
        if done:
            self.acknowledged.append(order)
        name = f"gift-{order}"
        if self.attempt(lambda: runtime.publish(gift, stream=f"gifts-{name}", event_id=name)):
            self.acknowledged.append(name)
        with suppress(ProcessionError):
            runtime.settle(timeout=1)


def main() -> None:
    folder, first, count, number = sys.argv[1], *map(int, sys.argv[2:5])
    logging.disable()
    disk = FailingDisk()
    disk.arm(folder, first, count, number)
    worker = Worker(folder, TRIES if count < MANY else FEW)
    worker.run()
    told = {
        "acknowledged": worker.acknowledged,
        "refused": worker.refused,
        "raw": worker.raw,
        "failed": disk.disarm(),
    }
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main()
