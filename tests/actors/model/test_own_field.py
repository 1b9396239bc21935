"""The field that the class keyword `correlate` names is set from the id, whatever starts it."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, NewType
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from procession import (
    ALL,
    Aggregate,
    Command,
    DefinitionError,
    Domain,
    Event,
    Indexed,
    InvalidMessage,
    ProcessManager,
    Runtime,
    apply,
    handle,
)
from procession.messages.identifiers import composite_id, parts_of_id
from procession.model.own_field import OwnField
from tests.naming import called

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Size(Enum):
    SMALL = 1
    LARGE = 2


Number = NewType("Number", int)


class Ordered(Event):
    items: tuple[Any, ...]


class Cancelled(Event):
    item: str


class Deliver(Command):
    item: str


class Delivered(Event):
    item: str


def go(runtime: Runtime, *events: Event) -> None:
    runtime.publish_many(events, stream="feed-1")
    runtime.settle(timeout=10)


def starting(
    correlate: Any, way: Any, *, hints: dict[str, Any], restart: bool = False
) -> tuple[Domain, type[ProcessManager]]:
    """A process manager whose own fields have these types, started by a way of the handler's."""
    domain = Domain("shop")

    def on_ordered(self: Any, event: Ordered) -> None:
        self.started += 1

    def on_cancelled(self: Any, event: Cancelled) -> None: ...

    body: dict[str, Any] = {
        "__module__": __name__,
        "__annotations__": {name: hint | None for name, hint in hints.items()} | {"started": int},
        **dict.fromkeys(hints),
        "started": 0,
        "on_ordered": handle(Ordered, start=True, correlate=way)(on_ordered),
    }
    if len(hints) == 1:
        ends = handle(Cancelled, end=True, correlate={next(iter(hints)): "item"})
        body["on_cancelled"] = ends(on_cancelled)
    cls = type("Item", (ProcessManager,), body, correlate=correlate, restart=restart)
    domain.register(cls)
    return domain, cls


def each(event: Any) -> Any:
    return list(event.items)


def test_a_function_on_the_start_sets_the_field_that_the_class_names() -> None:
    shop = Domain("shop")

    @shop.register
    class Parcel(Aggregate, identity="item"):
        @handle(Deliver)
        def deliver(self, command: Deliver) -> Delivered:
            return Delivered(command.item)

        @apply(Delivered)
        def _delivered(self, event: Delivered) -> None: ...

    @shop.register
    class Item(ProcessManager, correlate="item"):
        item: str = ""
        is_delivered: bool = False

        @handle(Ordered, start=True, correlate=each)
        def on_ordered(self, event: Ordered) -> None:
            self.issue(Deliver(self.item))

        @handle(Delivered, end=True)
        def on_delivered(self, event: Delivered) -> None:
            self.is_delivered = True

    with Runtime.ephemeral(shop) as runtime:
        go(runtime, Ordered(tuple(f"i{number}" for number in range(50))))
        views = list(runtime.find(Item))
        assert len(views) == 50
        assert all(one.state == {"item": one.id, "is_delivered": True} for one in views)


@pytest.mark.parametrize(
    ("correlate", "way"),
    [
        ("item", each),
        ("item", "items"),
        ({"item": "nothing"}, each),
        ({"item": "nothing"}, "items"),
        ("item", {"item": "items"}),
        ("item", {"other": "items"}),
    ],
    ids=called,
)
def test_however_the_start_is_correlated_the_field_of_the_class_is_the_id(
    correlate: Any, way: Any
) -> None:
    shop = Domain("shop")

    class Item(ProcessManager, correlate=correlate):
        item: str = ""
        other: str = ""

        @handle(Ordered, start=True, correlate=way)
        def on_ordered(self, event: Ordered) -> None: ...

    shop.register(Item)
    with Runtime.ephemeral(shop) as runtime:
        go(runtime, Ordered(("a", "b")))
        views = list(runtime.find(Item))
        assert [one.id for one in views] == ["a", "b"]
        assert [one.state["item"] for one in views] == ["a", "b"]
        if isinstance(way, dict) and "other" in way:
            assert [one.state["other"] for one in views] == ["a", "b"]


def test_the_one_instance_for_all_has_that_id_in_its_field() -> None:
    domain, item = starting("item", ALL, hints={"item": str})
    with Runtime.ephemeral(domain) as runtime:
        go(runtime, Ordered(("a",)))
        view = runtime.get(item, "all")
        assert view is not None
        assert view.state["item"] == "all"


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (str, "o1"),
        (int, -5),
        (int, 2**63),
        (UUID, UUID(int=7)),
        (Colour, Colour.BLUE),
        (Size, Size.LARGE),
        (Number, Number(3)),
        (Annotated[int, "a number"], 3),
        (Indexed[str], "o1"),
    ],
    ids=str,
)
@pytest.mark.parametrize("way", [each, "items"], ids=["function", "field"])
def test_the_id_becomes_a_value_of_the_fields_type(hint: Any, value: Any, way: Any) -> None:
    domain = Domain("shop")

    class Item(ProcessManager, correlate="item"):
        item: Any = None

        @handle(Ordered, start=True, correlate=way)
        def on_ordered(self, event: Ordered) -> None: ...

    Item.__annotations__["item"] = hint if hint == Indexed[str] else hint | None
    Item.item = "" if hint == Indexed[str] else None
    domain.register(Item)
    plain = value.value if isinstance(value, Enum) else value
    given = str(plain) if isinstance(plain, UUID) else plain
    with Runtime.ephemeral(domain) as runtime:
        go(runtime, Ordered((given,)))
        view = runtime.get(Item, value)
        assert view is not None
        assert view.state["item"] == value
        assert type(view.state["item"]) is type(value)
        assert list(runtime.parked()) == []


@pytest.mark.parametrize(
    ("hint", "wrong"),
    [
        (int, "o1"),
        (int, "007"),
        (int, "1_0"),
        (UUID, "o1"),
        (Colour, "green"),
        (UUID, UUID(int=1).hex),
    ],
    ids=str,
)
def test_an_id_that_is_no_value_of_the_fields_type_is_parked_with_the_mend(
    hint: Any, wrong: str
) -> None:
    domain, item = starting("item", each, hints={"item": hint})
    with Runtime.ephemeral(domain) as runtime:
        go(runtime, Ordered((wrong,)))
        [parked] = runtime.parked()
        assert parked.instance == wrong
        assert f"Item.on_ordered: the id {wrong!r} cannot become" in parked.error
        assert "the field 'item' is annotated; return an id that can, or annot" in parked.error
        view = runtime.get(item, wrong)
        assert view is not None
        assert view.status == "suspended"


@pytest.mark.parametrize("hint", [float, bytes, list[str], dict[str, int], bool], ids=str)
def test_a_field_that_no_id_can_become_is_refused_at_registration(hint: Any) -> None:
    with pytest.raises(
        DefinitionError, match=r"Item\.on_ordered: 'item' is set to the instance's id at its start"
    ):
        starting("item", each, hints={"item": hint})


def test_a_field_of_another_handlers_event_may_be_called_as_any_field() -> None:
    """Only what starts an instance sets fields."""
    domain = Domain("post")

    class Packed(Event):
        parcel: str

    class Left(Event):
        parcels: tuple[str, ...]

    @domain.register
    class Parcel(ProcessManager, correlate="parcel"):
        parcel: str = ""
        parcels: list[str] = []

        @handle(Packed, start=True)
        def on_packed(self, event: Packed) -> None: ...

        @handle(Left, correlate="parcels")
        def on_left(self, event: Left) -> None:
            self.parcels += event.parcels

    with Runtime.ephemeral(domain) as runtime:
        go(runtime, Packed("a"), Left(("a", "b")))
        view = runtime.get(Parcel, "a")
        assert view is not None
        assert view.state == {"parcel": "a", "parcels": ["a", "b"]}


def test_what_the_class_names_is_set_again_at_each_start() -> None:
    domain, item = starting("item", each, hints={"item": str}, restart=True)
    with Runtime.ephemeral(domain) as runtime:
        go(runtime, Ordered(("a",)), Cancelled("a"), Ordered(("a",)))
        view = runtime.get(item, "a")
        assert view is not None
        assert (view.state["item"], view.state["started"]) == ("a", 1)
        assert [one.state["item"] for one in runtime.history(item, "a")] == ["a", "a", "a"]


def test_a_rebuilt_instance_has_its_field_too(tmp_path: Path) -> None:
    domain, item = starting("item", each, hints={"item": int})
    with Runtime(tmp_path, domain) as runtime:
        go(runtime, Ordered((4, 5)))
    rebuilds: list[Callable[[Runtime], Any]] = [
        lambda runtime: runtime.refresh(item),
        lambda runtime: runtime.refresh(item, "5", since="origin"),
        lambda runtime: runtime.rebuild(item),
    ]
    for rebuild in rebuilds:
        with Runtime(tmp_path, domain) as runtime:
            rebuild(runtime)
            assert [one.state["item"] for one in runtime.find(item)] == [4, 5]


def test_one_that_fails_at_its_start_shows_its_field() -> None:
    domain = Domain("shop")

    @domain.register
    class Item(ProcessManager, correlate="item"):
        item: int = 0

        @handle(Ordered, start=True, correlate=each)
        def on_ordered(self, event: Ordered) -> None:
            raise RuntimeError("no")

    with Runtime.ephemeral(domain) as runtime:
        go(runtime, Ordered((4,)))
        view = runtime.get(Item, 4)
        assert view is not None
        assert (view.status, view.state) == ("suspended", {"item": 4})


# Several fields together


@pytest.mark.parametrize(
    "way",
    [
        lambda event: (event.items[0], event.items[1]),
        lambda event: [(event.items[0], event.items[1])],
        lambda event: composite_id(event.items, ""),
    ],
    ids=["tuple", "tuples", "text"],
)
@pytest.mark.parametrize("items", [("o1", 7), ("o/1~", -7), ("o" * 390, 123_456_789_012)])
def test_each_part_of_an_id_is_set_as_its_fields_type(
    way: Callable[[Any], Any], items: tuple[Any, ...]
) -> None:
    domain, item = starting(("order", "number"), way, hints={"order": str, "number": int})
    is_text = isinstance(way(Ordered(items)), str)
    with Runtime.ephemeral(domain) as runtime:
        go(runtime, Ordered(items))
        view = runtime.get(item, items)
        assert view is not None
        if is_text and len(items[0]) > 200:
            # It was shortened, so that its parts are not to be had from it.
            [parked] = runtime.parked()
            assert "starts an instance, and is not made of order, number; return a" in parked.error
        else:
            assert (view.state["order"], view.state["number"]) == items


def test_text_that_is_not_made_of_parts_starts_nothing_and_says_why() -> None:
    domain, _ = starting(
        ("order", "number"), lambda event: event.items[0], hints={"order": str, "number": int}
    )
    with Runtime.ephemeral(domain) as runtime:
        go(
            runtime,
            Ordered(("o1",)),
            Ordered(("o1/2/3",)),
            Ordered(("o1/many",)),
            Ordered(("o1/",)),
        )
        errors = [one.error for one in runtime.parked()]
        assert len(errors) == 4
        assert "the id 'o1' starts an instance, and is not made of order, number" in errors[0]
        assert "is not made of order, number; return a tuple of these" in errors[1]
        assert "the id 'many' cannot become" in errors[2]
        assert "is not made of order, number; return a tuple of these" in errors[3]


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)


@settings(derandomize=True, deadline=None)
@given(
    st.lists(texts | st.sampled_from(["~", "/", "~0", "~1", "~#", "//"]), min_size=2, max_size=4)
)
def test_the_parts_of_an_id_are_those_it_was_made_of(parts: list[str]) -> None:
    assert parts_of_id(composite_id(parts, "")) == parts


@settings(derandomize=True, deadline=None)
@given(texts)
def test_a_text_has_parts_only_if_it_was_made_of_them(text: str) -> None:
    parts = parts_of_id(text)
    assert parts == [] or composite_id(parts, "") == text


@settings(derandomize=True, deadline=None)
@given(st.sampled_from([int, UUID, Colour, Size, int | str]), texts)
def test_no_two_ids_become_one_value(hint: Any, text: str) -> None:
    field = OwnField("item", hint, "here")
    try:
        value = field.value_of(text)
    except InvalidMessage:
        return
    assert str(value.value if isinstance(value, Enum) else value) == text
