"""Equal messages have one digest, and others have others."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any

import pytest

from procession import Command
from procession.messages.content import digest_of

KEY = bytes(32)


class Colour(Enum):
    RED = 1
    BLUE = 2


@dataclass
class Place:
    row: int
    seat: str


class Inner(Command):
    values: list[float]
    note: str = ""


class Everything(Command):
    price: Decimal
    at: datetime
    names: set[str]
    counts: dict[str, int]
    inner: Inner
    place: Place
    colours: frozenset[Colour]
    ratio: float


def made(**other: Any) -> Everything:
    given: dict[str, Any] = {
        "price": Decimal("5.10"),
        "at": datetime(2020, 1, 1, 12, tzinfo=UTC),
        "names": {"a", "b"},
        "counts": {"x": 1, "y": 2},
        "inner": Inner([1.5]),
        "place": Place(1, "a"),
        "colours": frozenset({Colour.RED, Colour.BLUE}),
        "ratio": 2.0,
    }
    return Everything(**given | other)


SAME = {
    "price": Decimal("5.1"),
    "at": datetime(2020, 1, 1, 14, tzinfo=timezone(timedelta(hours=2))),
    "names": {"b", "a"},
    "counts": {"y": 2, "x": 1},
    "inner": Inner([1.5], ""),
    "place": Place(1, "a"),
    "colours": frozenset({Colour.BLUE, Colour.RED}),
    "ratio": 2,
}
OTHER = {
    "price": Decimal("5.11"),
    "at": datetime(2020, 1, 1, 13, tzinfo=UTC),
    "names": {"ab"},
    "counts": {"x": 2, "y": 1},
    "inner": Inner([1.5], "n"),
    "place": Place(2, "a"),
    "colours": frozenset({Colour.RED}),
    "ratio": 2.5,
}


@pytest.mark.parametrize("field", SAME)
def test_equal_values_have_one_digest_and_others_have_another(field: str) -> None:
    first = digest_of(KEY, "shop.Everything.v1", made())
    same, other = made(**{field: SAME[field]}), made(**{field: OTHER[field]})
    assert same == made()
    assert digest_of(KEY, "shop.Everything.v1", same) == first
    assert digest_of(KEY, "shop.Everything.v1", other) != first


def test_the_type_the_stream_and_the_secret_count_and_the_version_does_not() -> None:
    message = Inner([1.0])
    first = digest_of(KEY, "shop.Inner.v1", message, "s-1")
    assert len(first) == 16
    assert digest_of(KEY, "shop.Inner.v2", message, "s-1") == first
    others = [
        digest_of(KEY, "shop.Outer.v1", message, "s-1"),
        digest_of(KEY, "shop.Inner.v1", message, "s-2"),
        digest_of(KEY, "shop.Inner.v1", message),
        digest_of(b"\1" * 32, "shop.Inner.v1", message, "s-1"),
    ]
    assert len({first, *others}) == 5


def test_a_content_may_be_as_deep_as_a_message_may_be() -> None:
    class Deep(Command):
        items: Any

    def nested(last: object) -> Deep:
        items: Any = last
        for number in range(800):
            items = [items] if number % 2 else {"a": items}
        return Deep(items)

    ends: list[Any] = [1, 2, [], {}, [[]], 1]
    digests = {digest_of(KEY, "shop.Deep.v1", nested(end)) for end in ends}
    assert len(digests) == 5


def test_a_field_that_is_added_with_a_default_and_those_in_another_order_change_nothing() -> None:
    class Before(Command):
        a: int
        b: str

    class After(Command):
        b: str
        a: int
        c: list[str] = []

    before = digest_of(KEY, "shop.It.v1", Before(1, "x"))
    assert digest_of(KEY, "shop.It.v1", After("x", 1)) == before
    assert digest_of(KEY, "shop.It.v1", After("x", 1, ["y"])) != before
