"""A shop whose code tests change, and what it has stored."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

from procession import (
    Aggregate,
    Command,
    Domain,
    Event,
    ProcessManager,
    Rejected,
    Runtime,
    apply,
    handle,
    rejected,
    timeout,
)
from procession.testing import VirtualClock

__all__ = [
    "PLACES",
    "Charge",
    "Charged",
    "Fulfilment",
    "Order",
    "OrderPlaced",
    "Place",
    "Ship",
    "Shipped",
    "fill",
    "shop",
    "with_manager",
]


class Place(Command):
    order_id: str
    total: Decimal


class OrderPlaced(Event):
    order_id: str
    total: Decimal


class Charge(Command):
    order_id: str
    amount: Decimal


class Charged(Event):
    order_id: str


class Ship(Command):
    order_id: str


class Shipped(Event):
    order_id: str


class Fulfilment(ProcessManager, correlate="order_id", name="shop.Fulfilment"):
    order_id: str = ""
    status: str = "new"
    total: Decimal = Decimal(0)

    @handle(OrderPlaced, start=True)
    def on_placed(self, event: OrderPlaced) -> None:
        self.status = "charging"
        self.total = event.total
        self.issue(Charge(event.order_id, event.total))
        self.set_timeout("payment", timedelta(minutes=30))

    @handle(Charged)
    def on_charged(self, event: Charged) -> None:
        self.cancel_timeout("payment")
        self.status = "shipping"
        self.issue(Ship(event.order_id), after=timedelta(minutes=1))

    @handle(Shipped, end=True)
    def on_shipped(self, event: Shipped) -> None:
        self.status = "shipped"

    @rejected(Charge)
    def on_refused(self, command: Charge, reason: str) -> None:
        self.status = f"refused: {reason}"

    @timeout("payment")
    def on_late(self) -> None:
        self.status = "late"
        self.mark_as_complete()


class Order(Aggregate, identity="order_id"):
    @handle(Place)
    def place(self, command: Place) -> OrderPlaced:
        return OrderPlaced(self.id, command.total)


class Account(Aggregate, identity="order_id"):
    is_charged: bool = False

    @handle(Charge)
    def charge(self, command: Charge) -> Charged | None:
        if command.amount > 1_000:
            raise Rejected("over the limit")
        return None if command.amount < 1 else Charged(self.id)

    @apply(Charged)
    def _charged(self, event: Charged) -> None:
        self.is_charged = True


class Parcel(Aggregate, identity="order_id"):
    @handle(Ship)
    def ship(self, command: Ship) -> Shipped:
        return Shipped(self.id)


def with_manager(manager: type[ProcessManager]) -> Domain:
    """The shop with another process manager."""
    domain = Domain("shop")
    domain.register(Order, Account, Parcel, manager)
    return domain


shop = with_manager(Fulfilment)

PLACES = [
    *(Place(f"good{number}", Decimal(10 + number)) for number in range(3)),
    Place("dear", Decimal(2_000)),
    Place("late", Decimal(0)),
    Place("open", Decimal("0.5")),
]
"""Three that go through, one that is refused, two that wait for a payment; time is up for both."""


def fill(folder: Path, domain: Domain = shop) -> None:
    """Have each of the places come to its end, but one."""
    clock = VirtualClock()
    with Runtime(folder, domain, clock=clock, durability="none", control=False) as runtime:
        for one in PLACES[:-1]:
            runtime.ask(one)
        runtime.settle(timeout=10)
        clock.advance(timedelta(hours=1))
        runtime.ask(PLACES[-1])
        runtime.settle(timeout=10)
