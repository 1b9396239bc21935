"""Places orders until it is killed, and prints the id of each one that was acknowledged.

    python worker.py STORE RUN

`ask`, `tell` and `tell_many` are in turn, from several threads, so that commits hold all kinds.
"""

import itertools
import sys
import threading
from decimal import Decimal
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2])]

from shop import GiftNoted, PlaceOrder, shop  # noqa: E402 - the path comes first

from actors import Runtime  # noqa: E402

THREADS = 4


def order(run: str, thread: int, number: int) -> PlaceOrder:
    total = Decimal(2_000) if number % 5 == 0 else Decimal(number % 900)
    return PlaceOrder(f"{run}-{thread}-{number:05d}", total)


def acknowledge(*orders: PlaceOrder) -> None:
    # One write for each line, so that a line is whole or not there when the process is killed.
    for one in orders:
        sys.stdout.write(f"{one.order_id}\n")
        sys.stdout.flush()


def place(runtime: Runtime, run: str, thread: int) -> None:
    numbers = itertools.count()
    while True:
        gift = f"{run}-{thread}-{next(numbers):05d}"
        # Before its order, so that it is held.
        runtime.publish(GiftNoted(gift), stream=f"killed::gift-{gift}", event_id=f"gift-{gift}")
        late = PlaceOrder(gift, Decimal(8))
        runtime.ask(late)
        acknowledge(late)
        first = order(run, thread, next(numbers))
        runtime.ask(first)
        acknowledge(first)
        second = order(run, thread, next(numbers))
        runtime.tell(second)
        acknowledge(second)
        several = [order(run, thread, next(numbers)) for _ in range(7)]
        runtime.tell_many(several)
        acknowledge(*several)


def main() -> None:
    store, run = sys.argv[1:]
    # Few awake and few in flight, so that passivation and reading behind are part of it.
    with Runtime(store, shop, max_awake=50, max_in_flight=40) as runtime:
        sys.stdout.write("open\n")
        sys.stdout.flush()
        threads = [
            threading.Thread(target=place, args=(runtime, run, number)) for number in range(THREADS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    main()
