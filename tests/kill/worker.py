"""Places orders until it is killed, and says which of them were acknowledged.

    python worker.py STORE RUN [POINT COUNT]

Every way in is taken in turn, from several threads, so that commits hold all kinds, are large and
small, and come while others are on their way. What the run before told and published under ids of
its own is told and published again. With a point, it kills itself there; it closes after a while,
so that the points of closing come too.
"""

import itertools
import os
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

sys.path.insert(0, str(Path(__file__).parents[2]))

from procession import AlreadyDecided, ClosedError, Runtime
from procession.store import DatabaseRefused, LmdbStore
from tests.kill.points import CHAIN, CLOSING, arm
from tests.kill.shop import AddNote, GiftNoted, PlaceOrder, approve, shop

THREADS = 4
ROUNDS = 40
FEW_ROUNDS = 2
LARGEST = (4_096, 3, 40)
AWAKE = (400, 50, 50)
PAUSE = 0.01
"""Seconds after which what a database that is away refused is tried again."""

T = TypeVar("T")


def order(run: int, thread: int, number: int) -> PlaceOrder:
    total = Decimal(2_000) if number % 5 == 0 else Decimal(number % 900)
    return PlaceOrder(f"r{run:02d}-{thread}-{number:05d}", total)


def say(line: str) -> None:
    # One write for each line, so that it is whole or not there when the process is killed.
    os.write(1, f"{line}\n".encode())


def again(call: Callable[[], T]) -> T:
    """Until it is acknowledged: of what was refused nothing may be kept, or it shows as doubled."""
    pause = threading.Event()
    while True:
        try:
            return call()
        except DatabaseRefused:
            pause.wait(PAUSE)


class Operator(threading.Thread):
    """Decides about all that is parked, while another one does."""

    def __init__(self, runtime: Runtime, number: int) -> None:
        super().__init__(daemon=True)
        self.runtime, self.number = runtime, number
        self.is_needed = True

    def run(self) -> None:
        while self.is_needed:
            for parked in self.runtime.parked():
                # The two of them mean another thing as often as not.
                is_retry = (parked.id + self.number) % 3 != 0
                decide = self.runtime.retry if is_retry else self.runtime.skip
                if is_retry:
                    approve(parked.instance)
                try:
                    decide(parked.id, by=f"operator {self.number}")
                except AlreadyDecided:
                    continue
                except ClosedError:
                    return
                say(f"decided {parked.id} {'retry' if is_retry else 'skip'} {self.number}")
            self.runtime.settle()


class Customer(threading.Thread):
    def __init__(self, runtime: Runtime, run: int, number: int, rounds: int) -> None:
        super().__init__(daemon=True)
        self.runtime, self.run_number, self.number, self.rounds = runtime, run, number, rounds
        self.numbers = itertools.count()

    def run(self) -> None:
        if self.run_number:
            # Whether they were acknowledged or not, before the kill: they take effect once.
            self.gift(f"r{self.run_number - 1:02d}-{self.number}-00000")
            self.note(f"r{self.run_number - 1:02d}-{self.number}-00000")
        for number in range(self.rounds):
            self.round(is_large=number % 3 == 2)

    def round(self, *, is_large: bool) -> None:
        # Before its order, so that it is held.
        first = order(self.run_number, self.number, next(self.numbers))
        self.gift(first.order_id)
        self.note(first.order_id)
        again(lambda: self.runtime.ask(first))
        say(f"asked {first.order_id}")
        second = order(self.run_number, self.number, next(self.numbers))
        again(lambda: self.runtime.tell(second))
        say(f"told {second.order_id}")
        several = [
            order(self.run_number, self.number, next(self.numbers))
            for _ in range(40 if is_large else 5)
        ]
        try:
            self.runtime.tell_many(several)
        except DatabaseRefused:
            # What came before the refusal may be kept.
            return
        for one in several:
            say(f"told {one.order_id}")

    def gift(self, name: str) -> None:
        stream, event_id = f"killed::gift-{name}", f"gift-{name}"
        position = again(
            lambda: self.runtime.publish(GiftNoted(name), stream=stream, event_id=event_id)
        )
        say(f"published gift-{name} {position}")

    def note(self, name: str) -> None:
        for _ in range(2):
            again(lambda: self.runtime.tell(AddNote(name), command_id=f"note-{name}"))
        say(f"noted note-{name}")


def main() -> None:
    store, run, *point = sys.argv[1:]
    number = int(run)
    # A small map, so that it grows in the middle of things.
    defaults = LmdbStore.__init__.__kwdefaults__
    assert defaults is not None
    defaults["map_size"] = 1 << 18
    if point:
        arm(point[0], int(point[1]))
    # Chains are whole where commits are large and many actors may be awake.
    kind = 0 if point and point[0] == CHAIN else number % len(LARGEST)
    say("ready")
    # Few awake and few in flight, so that passivation and reading behind are part of it.
    with Runtime(
        store,
        shop,
        max_awake=AWAKE[kind],
        idle_timeout=timedelta(milliseconds=40),
        max_in_flight=40,
        largest_commit=LARGEST[kind],
    ) as runtime:
        say("open")
        rounds = FEW_ROUNDS if point and point[0] in CLOSING else ROUNDS
        customers = [Customer(runtime, number, one, rounds) for one in range(THREADS)]
        operators = [Operator(runtime, one) for one in range(int(os.environ.get("OPERATORS", "0")))]
        for thread in (*customers, *operators):
            thread.start()
        for customer in customers:
            customer.join()
        for operator in operators:
            operator.is_needed = False
            operator.join()


if __name__ == "__main__":
    main()
