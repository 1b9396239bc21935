"""Instances that several values name together, and keys that hold many values."""

from __future__ import annotations

from datetime import timedelta
from enum import Enum
from itertools import product
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procession import (
    DefinitionError,
    Domain,
    Event,
    Indexed,
    InvalidMessage,
    ProcessManager,
    Runtime,
    handle,
    timeout,
)
from procession.messages.identifiers import composite_id, fitting_id, id_of
from procession.store import InvalidName
from procession.testing import Scenario, Simulation, VirtualClock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class ItemAdded(Event):
    order_id: str
    item_id: str
    other: str = ""


class ItemImported(Event):
    article: str
    order_ref: str


class OrderShipped(Event):
    order_id: str
    items: list[str]


shop = Domain("shop")


def each_item(event: OrderShipped) -> Any:
    return [(event.order_id, item) for item in event.items]


@shop.register
class Item(ProcessManager, correlate=("order_id", "item_id")):
    order_id: str = ""
    item_id: str = ""
    added: int = 0
    shipped: bool = False
    is_late: bool = False

    @handle(ItemAdded, start=True)
    def on_added(self, event: ItemAdded) -> None:
        self.added += 1
        self.set_timeout("late", timedelta(hours=1))

    # In the order of the class, whatever the order here.
    @handle(ItemImported, start=True, correlate={"item_id": "article", "order_id": "order_ref"})
    def on_imported(self, event: ItemImported) -> None:
        self.added += 1

    @handle(OrderShipped, start=True, correlate=each_item)
    def on_shipped(self, event: OrderShipped) -> None:
        self.shipped = True

    @timeout("late")
    def on_late(self) -> None:
        self.is_late = True


def go(runtime: Runtime, *events: Event) -> None:
    runtime.publish_many(events, stream="feed::x-1")
    runtime.settle(timeout=10)


def test_each_pair_has_an_instance_of_its_own_whose_fields_are_set() -> None:
    with Runtime.ephemeral(shop) as runtime:
        go(runtime, ItemAdded("o1", "i1"), ItemAdded("o1", "i2"), ItemAdded("o2", "i1"))
        go(runtime, ItemAdded("o1", "i1"))
        found = {
            one.id: (one.state["order_id"], one.state["item_id"], one.state["added"])
            for one in runtime.find(Item)
        }
        assert found == {
            "o1/i1": ("o1", "i1", 2),
            "o1/i2": ("o1", "i2", 1),
            "o2/i1": ("o2", "i1", 1),
        }


def test_a_mapping_names_the_parts_in_the_order_of_the_class() -> None:
    with Runtime.ephemeral(shop) as runtime:
        go(runtime, ItemImported("i1", "o1"), ItemAdded("o1", "i1"))
        [view] = runtime.find(Item)
        assert (view.id, view.state["added"]) == ("o1/i1", 2)
        assert (view.state["order_id"], view.state["item_id"]) == ("o1", "i1")


def test_a_function_that_returns_a_tuple_names_one_instance_and_a_list_of_tuples_names_many() -> (
    None
):
    with Runtime.ephemeral(shop) as runtime:
        go(runtime, OrderShipped("o1", ["i1", "i2", "i1"]))
        found = {one.id: one.state for one in runtime.find(Item)}
        assert list(found) == ["o1/i1", "o1/i2"]
        assert found["o1/i2"]["item_id"] == "i2"
        assert all(one["shipped"] for one in found.values())

    domain = Domain("one")

    @domain.register
    class One(ProcessManager, correlate=("order_id", "item_id")):
        order_id: str = ""
        item_id: str = ""

        @handle(OrderShipped, start=True, correlate=lambda event: (event.order_id, event.items[0]))
        def on_shipped(self, event: OrderShipped) -> None: ...

    with Runtime.ephemeral(domain) as runtime:
        go(runtime, OrderShipped("o1", ["i1", "i2"]))
        assert [one.id for one in runtime.find(One)] == ["o1/i1"]


def test_where_no_composite_key_is_declared_a_tuple_is_many_ids() -> None:
    domain = Domain("plain")

    @domain.register
    class Plain(ProcessManager, correlate=lambda event: (event.order_id, event.item_id)):
        @handle(ItemAdded, start=True)
        def on_added(self, event: ItemAdded) -> None: ...

    with Runtime.ephemeral(domain) as runtime:
        go(runtime, ItemAdded("a", "b"))
        assert {one.id for one in runtime.find(Plain)} == {"a", "b"}
        with pytest.raises(InvalidMessage, match="is no id"):
            runtime.get(Plain, ("a", "b"))


def test_every_call_that_takes_an_id_takes_the_tuple(tmp_path: Path) -> None:
    clock = VirtualClock()
    pair = ("o/1", "i~7")
    with Runtime(tmp_path, shop, clock=clock) as runtime:
        go(runtime, ItemAdded(*pair))
        view = runtime.get(Item, pair)
        assert view is not None
        assert view.id == "o~11/i~07"
        assert runtime.get(Item, view.id) == view
        assert [one.handler for one in runtime.history(Item, pair)] == ["on_added"]
        assert [one.name for one in runtime.timeouts(Item, pair)] == ["late"]
        assert runtime.ref(Item, pair).is_alive()
        assert runtime.refresh(Item, pair) == 1
        due = clock.now() + timedelta(hours=2)
        assert runtime.move_timeout(Item, pair, "late", due)
        assert runtime.cancel_timeout(Item, pair, "late")
        [stuck] = runtime.stuck(Item, timedelta(0))
        assert stuck.id == view.id
        [told] = runtime.why("feed::x-1@1")
        assert str(told) == (
            "shop.Item 'o~11/i~07', by (event.order_id, event.item_id): started "
            "(version 1 by on_added)"
        )
        with pytest.raises(InvalidMessage, match="3 parts; its instances are named by order_id"):
            runtime.get(Item, ("a", "b", "c"))
        with pytest.raises(InvalidName, match="empty"):
            runtime.get(Item, ("a", ""))


def test_a_simulation_and_a_scenario_take_the_tuple_too() -> None:
    with Simulation(shop) as run:
        run.publish(ItemAdded("o1", "i1"), stream="feed::x-1")
        run.run()
        assert run.get(Item, ("o1", "i1")) is not None
        assert len(list(run.history(Item, ("o1", "i1")))) == 2
    Scenario(shop, Item).when(ItemAdded("o1", "i1")).state(order_id="o1", item_id="i1", added=1)


def test_a_part_that_is_null_names_no_instance() -> None:
    domain = Domain("nulls")

    class Maybe(Event):
        order_id: str
        item_id: str | None = None

    @domain.register
    class Known(ProcessManager, correlate=("order_id", "item_id")):
        order_id: str = ""
        item_id: str = ""

        @handle(Maybe, start=True)
        def on_maybe(self, event: Maybe) -> None: ...

    with Runtime.ephemeral(domain) as runtime:
        go(runtime, Maybe("o1"), Maybe("o1", "i1"))
        assert [one.id for one in runtime.find(Known)] == ["o1/i1"]
        assert runtime.stats()["not_for_us"] == 1


parts = st.text(st.sampled_from("/~01#a\\.-@ é"), min_size=1, max_size=6)
long_parts = st.builds(lambda one, times: one * times, parts, st.integers(1, 30))


@given(
    st.lists(parts | long_parts, min_size=2, max_size=3),
    st.lists(parts | long_parts, min_size=2, max_size=3),
)
def test_no_two_tuples_share_an_id_whatever_characters_their_parts_hold(
    one: list[str], other: list[str]
) -> None:
    found = composite_id(one, "here"), composite_id(other, "here")
    assert (found[0] == found[1]) == (one == other)
    for text in found:
        # It fits, as any id does.
        assert id_of(text, "here") == text


def test_no_pair_of_awkward_parts_shares_an_id_with_another() -> None:
    awkward = [
        "a",
        "/",
        "~",
        "~0",
        "~1",
        "a/",
        "/a",
        "~1a",
        "~/",
        "/~",
        "a~#" + "0" * 32,
        "x" * 400,
    ]
    pairs = list(product(awkward, repeat=2))
    assert len({composite_id(pair, "here") for pair in pairs}) == len(pairs)


def test_a_text_that_looks_shortened_is_told_from_the_one_that_was() -> None:
    long = "x" * 401
    shortened = fitting_id(long)
    assert len(shortened.encode()) <= 400
    assert shortened.startswith("xxx")
    assert fitting_id(shortened) != shortened
    assert len(fitting_id("é" * 300).encode()) <= 400


def test_a_pair_that_is_too_long_for_an_id_has_an_instance_as_any_other() -> None:
    long, other = "x" * 399 + "a", "x" * 399 + "b"
    with Runtime.ephemeral(shop) as runtime:
        go(runtime, ItemAdded("o1", long), ItemAdded("o1", other))
        found = runtime.get(Item, ("o1", long))
        assert found is not None
        assert found.state["item_id"] == long
        assert found.id.startswith("o1/xxx")
        assert len(list(runtime.find(Item))) == 2
        assert list(runtime.parked()) == []


class Colour(Enum):
    RED = "red"


class Made(Event):
    number: int
    key: UUID
    colour: Colour


def test_parts_are_texts_numbers_uuids_and_enums() -> None:
    domain = Domain("kinds")

    @domain.register
    class Kinds(ProcessManager, correlate=("number", "key", "colour")):
        number: int = 0
        key: UUID | None = None
        colour: Colour = Colour.RED

        @handle(Made, start=True)
        def on_made(self, event: Made) -> None: ...

    key = UUID(int=7)
    with Runtime.ephemeral(domain) as runtime:
        go(runtime, Made(3, key, Colour.RED))
        view = runtime.get(Kinds, (3, key, Colour.RED))
        assert view is not None
        assert view.id == f"3/{key}/red"
        assert (view.state["number"], view.state["key"]) == (3, key)


def test_a_tuple_of_another_length_is_parked_with_the_reason() -> None:
    domain = Domain("odd")

    @domain.register
    class Odd(ProcessManager, correlate=("order_id", "item_id")):
        order_id: str = ""
        item_id: str = ""

        @handle(ItemAdded, start=True, correlate=lambda event: (event.order_id, "b", "c"))
        def on_added(self, event: ItemAdded) -> None: ...

    with Runtime.ephemeral(domain) as runtime:
        go(runtime, ItemAdded("o1", "i1"))
        [parked] = runtime.parked()
        assert "has 3 parts, and an id has 2: order_id, item_id" in parked.error


def refused(correlate: Any, match: str, handler: Any = None, **fields: Any) -> None:
    body: dict[str, Any] = {"__annotations__": {}, "__module__": __name__}
    for name, (kind, default) in fields.items():
        body["__annotations__"][name] = kind
        body[name] = default

    @handle(ItemAdded, start=True, correlate=handler)
    def on_added(self: Any, event: ItemAdded) -> None: ...

    body["on_added"] = on_added
    wrong = type("Wrong", (ProcessManager,), body, correlate=correlate)
    with pytest.raises(DefinitionError, match=match):
        Domain("wrong").register(wrong)


BOTH = {"order_id": (str, ""), "item_id": (str, "")}


def test_keys_that_cannot_work_are_refused_at_registration() -> None:
    refused(("order_id",), "must name two fields or more", **BOTH)
    refused(("order_id", "order_id"), "must name two fields or more", **BOTH)
    refused(("order_id", 3), "must name two fields or more", **BOTH)
    refused(("order_id", "nothing"), "has no field 'nothing'", **BOTH)
    refused(("order_id", "item_id"), "has no field 'item_id'; declare", order_id=(str, ""))
    refused(
        ("order_id", "item_id"),
        "names other fields than the class",
        {"order_id": "order_id", "other": "other"},
        **BOTH,
        other=(str, ""),
    )
    refused(
        ("order_id", "item_id"),
        "'item_id' is a learnt key",
        order_id=(str, ""),
        item_id=(Indexed[str], ""),
    )


def test_a_part_that_holds_many_values_is_refused_with_what_to_write() -> None:
    class Wrong(ProcessManager, correlate={"order_id": "order_id", "item_id": "items"}):
        order_id: str = ""
        item_id: str = ""

        @handle(OrderShipped, start=True)
        def on_shipped(self, event: OrderShipped) -> None: ...

    with pytest.raises(DefinitionError, match=r"OrderShipped\.items holds many values; give a fun"):
        Domain("wrong").register(Wrong)


# Keys that hold many values


class Opened(Event):
    order_id: str


class Changed(Event):
    order_id: str
    came: str = ""
    went: str = ""


class Arrived(Event):
    parcel: str


def by_adding(process: Any, event: Changed) -> None:
    if event.came:
        process.parcels.add(event.came)
    process.parcels.discard(event.went)


def by_list(process: Any, event: Changed) -> None:
    if event.came:
        process.parcels.append(event.came)
    if event.went:
        process.parcels.remove(event.went)


def by_tuple(process: Any, event: Changed) -> None:
    kept = [one for one in process.parcels if one != event.went]
    process.parcels = (*kept, event.came) if event.came else tuple(kept)


def holding(hint: Any, default: Any, change: Callable[[Any, Changed], None]) -> tuple[Domain, Any]:
    domain = Domain("post")

    class Order(ProcessManager, correlate="order_id"):
        order_id: str = ""
        parcels: hint = default
        arrived: list[str] = []

        @handle(Opened, start=True)
        def on_opened(self, event: Opened) -> None: ...

        @handle(Changed)
        def on_changed(self, event: Changed) -> None:
            # What changes the set is read here.
            assert self.parcels is not None
            change(self, event)

        @handle(Arrived, correlate={"parcels": "parcel"})
        def on_arrived(self, event: Arrived) -> None:
            self.arrived.append(event.parcel)

    Order.__annotations__["parcels"] = hint
    domain.register(Order)
    return domain, Order


@pytest.mark.parametrize(
    ("hint", "default", "change"),
    [
        (Indexed[set[str]], set(), by_adding),
        (Indexed[list[str]], [], by_list),
        (Indexed[tuple[str, ...]], (), by_tuple),
    ],
    ids=["set", "list", "tuple"],
)
def test_an_instance_is_found_by_each_member_as_members_come_and_go(
    hint: Any, default: Any, change: Any, tmp_path: Path
) -> None:
    domain, order = holding(hint, default, change)
    with Runtime(tmp_path, domain) as runtime:
        go(
            runtime,
            Opened("o1"),
            Opened("o2"),
            Changed("o1", "p1"),
            Changed("o1", "p2"),
            Changed("o2", "p3"),
            Arrived("p1"),
            Arrived("p3"),
            Arrived("p2"),
            Changed("o1", "p4", "p1"),
            Arrived("p1"),
            Arrived("p4"),
        )
    with Runtime(tmp_path, domain) as runtime:
        go(runtime, Arrived("p2"), Changed("o1", went="p2"), Arrived("p2"), Changed("o2", "p4"))
        go(runtime, Arrived("p4"))
        first, second = runtime.get(order, "o1"), runtime.get(order, "o2")
        assert first is not None
        assert second is not None
        assert first.state["arrived"] == ["p1", "p2", "p4", "p2", "p4"]
        assert second.state["arrived"] == ["p3", "p4"]
        assert [one.id for one in runtime.find(order, parcels="p4")] == ["o1", "o2"]
        assert [one.id for one in runtime.find(order, parcels="p3")] == ["o2"]
        assert list(runtime.find(order, parcels="p1")) == []
        assert runtime.refresh(order) == 2
        assert [one.id for one in runtime.find(order, parcels="p4")] == ["o1", "o2"]
        assert runtime.verify() == []


def test_members_are_whatever_a_learnt_key_can_be() -> None:
    class Size(Enum):
        SMALL = 1

    for member, value in ((int, 5), (UUID, UUID(int=3)), (Size, Size.SMALL), (str | None, "a")):
        domain = Domain("kinds")

        class Order(ProcessManager, correlate="order_id"):
            members: Any = set()

            @handle(Opened, start=True)
            def on_opened(self, event: Opened) -> None:
                self.members.add(value)  # noqa: B023 - it is used in this turn of the loop

        Order.__annotations__["members"] = Indexed[set[member]]  # type: ignore[valid-type]
        domain.register(Order)
        with Runtime.ephemeral(domain) as runtime:
            go(runtime, Opened("o1"))
            assert [one.id for one in runtime.find(Order, members=value)] == ["o1"]
            assert runtime.verify() == []


def test_an_event_waits_for_an_instance_that_is_about_to_get_the_member_it_names() -> None:
    """A member is added without an assignment, so reading the field is enough to wait."""
    domain, order = holding(Indexed[set[str]], set(), by_adding)
    with Runtime.ephemeral(domain) as runtime:
        opened = [Opened(f"o{number}") for number in range(20)]
        # The first has it already, so the event finds one at once; it is for all.
        go(runtime, *opened, Changed("o0", "p"))
        go(runtime, *(Changed(f"o{number}", "p") for number in range(1, 20)), Arrived("p"))
        assert all(one.state["arrived"] == ["p"] for one in runtime.find(order))
