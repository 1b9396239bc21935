"""Two versions of one domain, of which the first one cannot read what the second one writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from procession import Aggregate, Command, Domain, Event, ProcessManager, handle, upcast
from procession.testing import Publish, at_end

if TYPE_CHECKING:
    from procession.testing import Simulation

__all__ = ["came_to_its_end", "first", "program", "second"]

ORDERS, LETTERS = ("o1", "o2", "o3"), ("a", "b")


class Ordered(Event, name="post.Ordered.v1"):
    order: str
    parcels: tuple[str, ...]


class Pack(Command, name="post.Pack.v1"):
    parcel: str
    order: str


class Packed(Event, name="post.Packed.v1"):
    parcel: str
    order: str


class Weighed(Event, name="post.Packed.v2"):
    """As `Packed`, with a weight."""

    parcel: str
    order: str
    grams: int


class Parcel(Aggregate, identity="parcel", category="parcel"):
    @handle(Pack)
    def pack(self, command: Pack) -> Packed:
        return Packed(self.id, command.order)


class WeighedParcel(Aggregate, identity="parcel", category="parcel"):
    @handle(Pack)
    def pack(self, command: Pack) -> Weighed:
        return Weighed(self.id, command.order, 1)


class Order(ProcessManager, correlate="order", name="post.Order"):
    order: str = ""
    packed: tuple[str, ...] = ()

    @handle(Ordered, start=True)
    def on_ordered(self, event: Ordered) -> None:
        for parcel in event.parcels:
            self.issue(Pack(parcel, event.order))

    @handle(Packed)
    def on_packed(self, event: Packed) -> None:
        self.packed = (*self.packed, event.parcel)


class WeighedOrder(ProcessManager, correlate="order", name="post.Order", version=2):
    order: str = ""
    grams: dict[str, int] = {}

    @staticmethod
    @upcast(from_version=1)
    def weigh(old: dict[str, Any]) -> dict[str, Any]:
        return {"order": old["order"], "grams": dict.fromkeys(old["packed"], 1)}

    @handle(Ordered, start=True)
    def on_ordered(self, event: Ordered) -> None:
        for parcel in event.parcels:
            self.issue(Pack(parcel, event.order))

    @handle(Weighed)
    def on_packed(self, event: Weighed) -> None:
        self.grams[event.parcel] = event.grams


first, second = Domain("post"), Domain("post")
first.register(Parcel, Order)
second.register(WeighedParcel, WeighedOrder)


@second.register
@upcast("post.Packed.v1", from_version=1)
def weighed(old: dict[str, Any]) -> dict[str, Any]:
    return {**old, "grams": 1}


def program() -> list[list[Any]]:
    """A client for each order, which orders more while nodes are replaced."""
    return [
        [Publish(Ordered(name, (f"{letter}-{name}",)), stream=f"desk-{name}") for letter in LETTERS]
        for name in ORDERS
    ]


@at_end
def came_to_its_end(run: Simulation) -> None:
    """All parcels were packed, each once, by whichever version."""
    assert not list(run.parked())
    for name in ORDERS:
        view = run.get(Order, name)
        assert view is not None
        packed = view.state.get("packed", view.state.get("grams", ()))
        assert sorted(packed) == [f"{letter}-{name}" for letter in LETTERS], view.state
        for parcel in packed:
            assert len(list(run.events(f"post::parcel-{parcel}"))) == 1, parcel
