"""Partitions: orders on two processes, against one process whose store is not divided.

    python -m bench.partitions --orders 20000

The same three-step orders are carried out three ways, each in fresh processes with fsync: by one
process, on a store that is not divided; by two processes with a partition each, where an order, its
payment and its fulfilment have one id, so that nothing crosses; and by two, where the order and its
payment have an id of one partition and the fulfilment and the shipment one of the other, so that
each order crosses three times (the order's event, the command for the payment, the payment's
event). From the first `tell_many` until all is settled is the time.

Then orders that do not cross and orders that do are carried out by one process that runs both
partitions. What its processor does more for those that cross, divided by the crossings, is what a
crossing costs, the rows of the lane and of the copy in it.

It is fair because the orders are the same; the parent, which takes the calls and packs the
commands, is a third process beside the two, so that on two cores they share what is left of its
time.
"""

from __future__ import annotations

import time
from decimal import Decimal
from itertools import count, islice
from typing import TYPE_CHECKING, NamedTuple

from procession import Aggregate, Command, Domain, Event, ProcessManager, Runtime, handle
from procession.store import partition_of

from .apart import apart
from .measure import Figure, program, run

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

PARTITIONS = 2
CROSSINGS = 3
TOGETHER = 1_024


class Place(Command):
    order: str
    fulfilment: str
    total: Decimal


class Placed(Event):
    order: str
    fulfilment: str
    total: Decimal


class Pay(Command):
    order: str
    fulfilment: str
    amount: Decimal


class Paid(Event):
    order: str
    fulfilment: str
    amount: Decimal


class Ship(Command):
    fulfilment: str


class Shipped(Event):
    fulfilment: str


mail_order = Domain("mail_order")


@mail_order.register
class Order(Aggregate, identity="order"):
    @handle(Place)
    def place(self, command: Place) -> Placed:
        return Placed(self.id, command.fulfilment, command.total)


@mail_order.register
class Payment(Aggregate, identity="order"):
    @handle(Pay)
    def pay(self, command: Pay) -> Paid:
        return Paid(self.id, command.fulfilment, command.amount)


@mail_order.register
class Shipment(Aggregate, identity="fulfilment"):
    @handle(Ship)
    def ship(self, command: Ship) -> Shipped:
        return Shipped(self.id)


@mail_order.register
class Fulfilment(ProcessManager, correlate="fulfilment"):
    fulfilment: str = ""
    status: str = "new"

    @handle(Placed, start=True)
    def on_placed(self, event: Placed) -> None:
        self.status = "awaiting_payment"
        self.issue(Pay(event.order, event.fulfilment, event.total))

    @handle(Paid)
    def on_paid(self, event: Paid) -> None:
        self.status = "awaiting_shipment"
        self.issue(Ship(event.fulfilment))

    @handle(Shipped, end=True)
    def on_shipped(self, event: Shipped) -> None:
        self.status = "completed"


def orders(*, crossing: bool) -> Iterator[Place]:
    """Orders whose fulfilments are in the other partition, or in their own."""
    for number in count():
        order = f"o{number:07}"
        own = partition_of(order, PARTITIONS)
        # Half of all ids are of either partition.
        names = (f"f{number:07}{letter}" for letter in map(str, count()))
        there = next(one for one in names if (partition_of(one, PARTITIONS) == own) != crossing)
        yield Place(order, there, Decimal(99))


class Took(NamedTuple):
    """What some orders took."""

    seconds: float
    cpu: float
    complete: int


def carry_out(
    folder: Path, number: int, *, partitions: int, processes: int, crossing: bool
) -> Took:
    """Carry out that many orders through the public API."""
    made = list(islice(orders(crossing=crossing), number))
    with Runtime(folder, mail_order, partitions=partitions, processes=processes) as runtime:
        began, cpu = time.perf_counter(), time.process_time()
        for start in range(0, number, TOGETHER):
            runtime.tell_many(made[start : start + TOGETHER])
        runtime.settle()
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        complete = runtime.counts(Fulfilment)["mail_order.Fulfilment"].complete
    return Took(seconds, cpu, complete)


def best(
    folder: Path, tries: int, number: int, partitions: int, processes: int, *, crossing: bool
) -> Took:
    """That of several tries which was disturbed least."""
    name = f"{partitions}-{processes}-{crossing}"
    found = [
        apart(
            carry_out,
            folder / f"{name}-{place}",
            number,
            partitions=partitions,
            processes=processes,
            crossing=crossing,
        )
        for place in range(tries)
    ]
    return min(found, key=lambda one: one.seconds if processes > 1 else one.cpu)


def measure(folder: Path, number: int, tries: int) -> list[Figure]:
    whole = best(folder, tries, number, 1, 1, crossing=False)
    staying = best(folder, tries, number, PARTITIONS, 2, crossing=False)
    crossing = best(folder, tries, number, PARTITIONS, 2, crossing=True)
    staying_here = best(folder, tries, number, PARTITIONS, 1, crossing=False)
    crossing_here = best(folder, tries, number, PARTITIONS, 1, crossing=True)
    more = (crossing_here.cpu - staying_here.cpu) / number / CROSSINGS * 1e6
    details = {
        "orders": number,
        "complete": [one.complete for one in (whole, staying, crossing)],
        "orders_per_s_one_process": round(number / whole.seconds),
    }
    return [
        Figure(
            row=27,
            what="orders a second of two processes, against one, where nothing crosses",
            value=round(whole.seconds / staying.seconds, 3),
            unit="times",
            reach=1.7,
            better="at least",
            details={**details, "orders_per_s": round(number / staying.seconds)},
        ),
        Figure(
            row=27,
            what="orders a second of two processes, against one, where each crosses three times",
            value=round(whole.seconds / crossing.seconds, 3),
            unit="times",
            reach=1.3,
            better="at least",
            details={**details, "orders_per_s": round(number / crossing.seconds)},
        ),
        Figure(
            row=27,
            what="what the processor does for a crossing, with the rows of the lane and the copy",
            value=round(more, 1),
            unit="us",
            reach=20,
            better="at most",
            details={
                "cpu_us_per_order_staying": round(staying_here.cpu / number * 1e6, 1),
                "cpu_us_per_order_crossing": round(crossing_here.cpu / number * 1e6, 1),
                "cpu_us_per_order_one_store": round(whole.cpu / number * 1e6, 1),
            },
        ),
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = program("partitions", __doc__)
    parser.add_argument("--orders", type=int, default=20_000)
    parser.add_argument("--tries", type=int, default=3, help="of each way; the best one counts")
    options = parser.parse_args(arguments)
    run(options, lambda folder: measure(folder, options.orders, options.tries))


if __name__ == "__main__":
    main()
