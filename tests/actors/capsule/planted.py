"""A shop in which one failure is planted, at one of many places."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

from procession import (
    Aggregate,
    Command,
    Domain,
    Event,
    Indexed,
    ProcessManager,
    Rejected,
    Retry,
    Runtime,
    after,
    apply,
    handle,
    rejected,
    timeout,
)
from procession.testing import VirtualClock


class Placed(Event):
    order_id: str
    customer: str
    email: str
    card: int
    total: Decimal
    items: list[str]


class Pay(Command):
    order_id: str
    customer: str
    amount: Decimal


class Paid(Event):
    order_id: str
    customer: str
    amount: Decimal


class Ship(Command):
    order_id: str
    items: list[str]


class Shipped(Event):
    order_id: str
    parcel: str


class Delivered(Event):
    parcel: str


class Told(Event):
    order_id: str


MASK = ["Placed.customer", "Placed.email", "Placed.card"]
"""Fields that no planted failure reads, but for whether two of them are the same."""


def fail(text: str) -> Callable[[Any, Any], None]:
    def planted(_: Any, message: Any) -> None:
        raise ValueError(f"{text}: {message}")

    return planted


def only_if(condition: Callable[[Any, Any], object], text: str) -> Callable[[Any, Any], None]:
    def planted(me: Any, message: Any) -> None:
        if condition(me, message):
            raise RuntimeError(text)

    return planted


def assign(name: str, value: object) -> Callable[[Any, Any], None]:
    return lambda me, _: setattr(me, name, value)


def nest(me: Any, message: Any) -> None:
    nest(me, message)


PLANTED: dict[str, tuple[str, Callable[[Any, Any], object]]] = {
    "at the start": ("placed", fail("no stock for")),
    "a value of the wrong type": ("placed", assign("steps", "three")),
    "a field that is not declared": ("placed", assign("colour", "red")),
    "an item that is not there": ("placed", lambda _, event: event.items[9]),
    "a division by zero": ("placed", lambda _, event: 1 / (event.total - event.total)),
    "a command that does not fit": (
        "placed",
        lambda me, _: me.issue(
            Ship(order_id=me.order_id, items="hat")  # type: ignore[arg-type] # the planted one
        ),
    ),
    "a command that nothing takes": ("placed", lambda me, _: me.issue(Placed)),
    "at the second event": ("paid", fail("no account for")),
    "a key that is not in the state": ("paid", lambda me, _: me.prices["gloves"]),
    "a state that an earlier step left": ("shipped", lambda me, _: me.never.upper()),
    "two values that are the same": (
        "paid",
        only_if(lambda me, event: me.customer == event.customer, "paid by who ordered"),
    ),
    "a value of a length": ("paid", only_if(lambda me, _: len(me.customer) > 9, "a long name")),
    "a sum that is too high": ("paid", only_if(lambda _, event: event.amount > 90, "too much")),
    "what its class forbids": ("shipped", lambda me, _: me.set_timeout("unknown", timedelta(1))),
    "endless nesting": ("shipped", nest),
    "at a learnt key": ("delivered", fail("no such parcel")),
    "at a timeout": ("late", lambda me, _: [][me.steps]),
    "at a refusal": ("refused", lambda me, _: me.prices["why"]),
    "in an aggregate": ("pay", only_if(lambda me, _: me.payments == 0, "the bank is closed")),
    "where an aggregate takes its event": ("apply", lambda me, _: me.payments / 0),
    "in an after-effect": ("effect", fail("no mail to")),
    "while it is tried again": ("retried", fail("not yet")),
}


def shop_with(flaw: str | None) -> tuple[Domain, type[ProcessManager]]:
    """The shop, with one failure planted or with none."""
    where, do = PLANTED[flaw] if flaw is not None else ("", fail(""))

    def planted(here: str, me: Any, message: Any = None) -> None:
        if here == where:
            do(me, message)

    shop = Domain("shop")

    @shop.register
    class Payment(Aggregate, identity="order_id"):
        payments: int = 0

        @handle(Pay)
        def pay(self, command: Pay) -> Paid:
            planted("pay", self, command)
            if where == "refused":
                raise Rejected("no money")
            return Paid(order_id=command.order_id, customer=command.customer, amount=command.amount)

        @apply(Paid)
        def _paid(self, event: Paid) -> None:
            planted("apply", self, event)
            self.payments += 1

    @shop.register
    class Shipment(Aggregate, identity="order_id"):
        @handle(Ship)
        def ship(self, command: Ship) -> Shipped:
            return Shipped(order_id=command.order_id, parcel=f"parcel of {command.order_id}")

    @shop.register
    class Order(
        ProcessManager,
        correlate="order_id",
        retry=Retry(attempts=3 if where == "retried" else 1),
    ):
        order_id: str = ""
        customer: str = ""
        steps: int = 0
        never: str | None = None
        parcel: Indexed[str] = ""
        prices: dict[str, int] = {}

        @handle(Placed, start=True)
        def placed(self, event: Placed) -> None:
            self.customer = event.customer
            self.prices["hat"] = 3
            self.issue(Pay(order_id=self.order_id, customer=event.customer, amount=event.total))
            self.set_timeout("late", timedelta(days=1))
            planted("placed", self, event)

        @handle(Paid)
        def paid(self, event: Paid) -> None:
            self.steps += 1
            self.issue(Ship(order_id=self.order_id, items=["hat"]))
            planted("paid", self, event)
            planted("retried", self, event)

        @rejected(Pay)
        def refused(self, command: Pay, reason: str) -> None:
            planted("refused", self, reason)

        @handle(Shipped)
        def shipped(self, event: Shipped) -> None:
            self.steps += 1
            self.parcel = event.parcel
            planted("shipped", self, event)

        @handle(Delivered, correlate={"parcel": "parcel"})
        def delivered(self, event: Delivered) -> None:
            planted("delivered", self, event)
            self.mark_as_complete()

        @after(Shipped)
        def tell(self, event: Shipped) -> None:
            planted("effect", self, event)

        @timeout("late")
        def late(self) -> None:
            planted("late", self)
            self.mark_as_complete()

    return shop, Order


def publish(runtime: Runtime, orders: int) -> None:
    """So many orders are placed."""
    for number in range(orders):
        runtime.publish(
            Placed(
                order_id=f"o{number}",
                customer=f"Alexandra Muster{number}",
                email=f"muster{number}@example.org",
                card=4_929_123_456_780_000 + number,
                total=Decimal("99.50"),
                items=["hat"],
            ),
            stream=f"orders-o{number}",
        )


def play(runtime: Runtime, clock: VirtualClock, flaw: str | None) -> None:
    """Four orders, of which each meets what is planted."""
    publish(runtime, 4)
    runtime.settle(timeout=20)
    if PLANTED.get(flaw or "", ("",))[0] == "delivered":
        for number in range(4):
            event = Delivered(parcel=f"parcel of o{number}")
            runtime.publish(event, stream=f"parcels-{number}")
    runtime.settle(timeout=20)
    clock.advance(timedelta(days=2))
