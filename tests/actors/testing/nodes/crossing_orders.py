"""Orders whose chains cross from partition to partition by every way there is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from procession import (
    Aggregate,
    Command,
    Domain,
    Event,
    Indexed,
    ProcessManager,
    Rejected,
    after,
    apply,
    handle,
    rejected,
)
from procession.testing import Publish, at_end

if TYPE_CHECKING:
    from procession.testing import Simulation

__all__ = [
    "Letter",
    "Order",
    "Ordered",
    "Parcel",
    "came_to_its_end",
    "each_was_recalled_twice",
    "orders",
    "program",
    "recall",
]

orders = Domain("orders")


class Ordered(Event):
    order: str
    parcels: tuple[str, ...]


class Pack(Command):
    parcel: str
    order: str


class Packed(Event):
    parcel: str
    order: str


class Labelled(Event):
    """The order learns the number by which the carrier names it."""

    order: str
    number: str


class Scanned(Event):
    number: str


class Recalled(Event):
    """For all orders that it names."""

    orders: tuple[str, ...]


class Write(Command):
    letter: str


class Written(Event):
    letter: str


@orders.register
class Parcel(Aggregate, identity="parcel"):
    packed: int = 0

    @handle(Pack)
    def pack(self, command: Pack) -> Packed:
        if command.parcel.startswith("bad"):
            raise Rejected("it is bad")
        return Packed(self.id, command.order)

    @apply(Packed)
    def _packed(self, event: Packed) -> None:
        self.packed += 1


@orders.register
class Letter(Aggregate, identity="letter"):
    written: int = 0

    @handle(Write)
    def write(self, command: Write) -> Written:
        return Written(self.id)

    @apply(Written)
    def _written(self, event: Written) -> None:
        self.written += 1


@orders.register
class Order(ProcessManager, correlate="order", early="hold"):
    order: str = ""
    number: Indexed[str] = ""
    packed: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    scans: int = 0
    recalls: int = 0

    @handle(Ordered, start=True)
    def on_ordered(self, event: Ordered) -> None:
        for parcel in event.parcels:
            self.issue(Pack(parcel, event.order))

    @handle(Packed)
    def on_packed(self, event: Packed) -> None:
        self.packed = (*self.packed, event.parcel)

    @rejected(Pack)
    def on_refused(self, command: Pack, reason: str) -> None:
        self.refused = (*self.refused, command.parcel)

    @handle(Labelled)
    def on_labelled(self, event: Labelled) -> None:
        self.number = event.number

    @handle(Scanned, correlate={"number": "number"})
    def on_scanned(self, event: Scanned) -> None:
        self.scans += 1

    @handle(Recalled, correlate=lambda event: list(event.orders))
    def on_recalled(self, event: Recalled) -> None:
        self.recalls += 1

    @after(Labelled)
    def write(self, event: Labelled) -> None:
        self.issue(Write(f"letter-{event.order}"))


def program() -> list[list[Any]]:
    """One client orders, and a carrier scans what it has labelled, in whatever order it comes."""
    return [
        [Publish(Ordered("o1", ("a1", "bad2", "a4")), stream="desk-1")],
        [
            Publish(Labelled("o1", "n1"), stream="carrier-1"),
            Publish(Scanned("n1"), stream="carrier-2"),
        ],
    ]


def recall() -> list[list[Any]]:
    """Three orders, of which each is in another partition, and one message for all of them."""
    names = ("o1", "o2", "o3")
    ordered = [Publish(Ordered(name, (f"a-{name}",)), stream=f"desk-{name}") for name in names]
    return [
        ordered,
        [Publish(Recalled(names), stream="recall-1"), Publish(Recalled(names), stream="recall-2")],
    ]


@at_end
def each_was_recalled_twice(run: Simulation) -> None:
    """All that a message was for have it, each once."""
    views = list(run.find(Order))
    assert sorted(view.id for view in views) == ["o1", "o2", "o3"]
    assert [view.state["recalls"] for view in views] == [2, 2, 2]
    assert sorted(view.state["packed"] for view in views) == [("a-o1",), ("a-o2",), ("a-o3",)]


@at_end
def came_to_its_end(run: Simulation) -> None:
    """Everything happened once, as it does when nothing disturbs it."""
    order, letter = run.get(Order, "o1"), run.get(Letter, "letter-o1")
    assert order is not None, "the order is lost"
    state = order.state
    assert sorted(state["packed"]) == ["a1", "a4"], state
    assert state["refused"] == ("bad2",), state
    assert state["scans"] == 1, state
    for name in ("a1", "a4"):
        parcel = run.get(Parcel, name)
        assert parcel is not None, f"{name} is lost"
        assert parcel.state == {"packed": 1}, name
    assert letter is not None, "the letter is lost"
    assert letter.state == {"written": 1}, "the letter"
