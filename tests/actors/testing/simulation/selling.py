"""A shop that charges an account and waits for it: what the tests of the simulation run."""

from datetime import timedelta
from typing import Any, ClassVar

from procession import (
    Aggregate,
    Command,
    Domain,
    Event,
    ProcessManager,
    Rejected,
    after,
    apply,
    handle,
    rejected,
    timeout,
)
from procession.store.layout.schema import TABLES
from procession.testing import Publish, Simulation

__all__ = [
    "PROGRAM",
    "Account",
    "Charge",
    "Charged",
    "Order",
    "Place",
    "Placed",
    "Remind",
    "Reminded",
    "Returned",
    "Selling",
    "rows_of",
    "shop",
    "texts",
]

shop = Domain("shop")


class Place(Command):
    order_id: str
    price: int = 10


class Charge(Command):
    order_id: str
    price: int


class Remind(Command):
    order_id: str


class Placed(Event):
    order_id: str
    price: int


class Charged(Event):
    order_id: str
    price: int


class Reminded(Event):
    order_id: str


class Returned(Event):
    order_id: str


@shop.register
class Order(Aggregate, identity="order_id"):
    is_placed: bool = False

    @handle(Place)
    def place(self, command: Place) -> Placed:
        if self.is_placed:
            raise Rejected("it was placed before")
        return Placed(self.id, command.price)

    @handle(Remind)
    def remind(self, command: Remind) -> Reminded:
        return Reminded(self.id)

    @apply(Placed)
    def _placed(self, event: Placed) -> None:
        self.is_placed = True


@shop.register
class Account(Aggregate, identity="order_id"):
    @handle(Charge)
    def charge(self, command: Charge) -> Charged:
        if command.price > 1_000:
            raise Rejected("too much")
        return Charged(self.id, command.price)


@shop.register
class Selling(ProcessManager, correlate="order_id"):
    order_id: str = ""
    status: str = "new"
    returns: int = 0

    # Hooks of tests.
    on_return: ClassVar[Any] = None
    posted: ClassVar[list[str]] = []
    post: ClassVar[Any] = None

    @handle(Placed, start=True)
    def on_placed(self, event: Placed) -> None:
        self.status = "charging"
        self.issue(Charge(self.order_id, event.price))
        self.set_timeout("patience", timedelta(minutes=30))
        self.issue(Remind(self.order_id), after=timedelta(days=1))

    @handle(Charged)
    def on_charged(self, event: Charged) -> None:
        self.status = "charged"
        self.cancel_timeout("patience")

    @handle(Returned)
    def on_returned(self, event: Returned) -> None:
        self.returns += 1
        if Selling.on_return is not None:
            Selling.on_return(self)

    @rejected(Charge)
    def on_refused(self, command: Charge, reason: str) -> None:
        self.status = f"refused: {reason}"

    @timeout("patience")
    def on_patience(self) -> None:
        self.status = "late"

    @after(Charged)
    def tell_world(self, event: Charged) -> None:
        Selling.posted.append(self.id)
        if Selling.post is not None:
            Selling.post(self)


def rows_of(simulation: Simulation) -> dict[str, list[tuple[bytes, bytes]]]:
    """Every row of the simulation's store."""
    with simulation._world.store.snapshot() as snapshot:
        return {table: list(snapshot.scan(table)) for table in TABLES}


def texts(simulation: Simulation) -> list[str]:
    return [line.text for line in simulation.trace]


PROGRAM: list[list[Any]] = [
    [Place("o1"), timedelta(minutes=10), Publish(Returned("o1"), stream="shop::desk-1")],
    [Place("o2", 2_000), Returned("o1"), timedelta(hours=2), Place("o3")],
]
