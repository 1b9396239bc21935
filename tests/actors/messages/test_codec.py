"""What can be packed reads back equal; everything else is refused, with the field's name."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import Any
from uuid import UUID

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from procession import Command, Event, InvalidMessage
from procession.messages.codec import codecs, dump_headers, load_headers
from tests.naming import called


def packed(message: Event | Command) -> bytes:
    return codecs[type(message)].dump(message)


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Size(IntEnum):
    SMALL = 1
    LARGE = 2


class Kind(StrEnum):
    NEW = "new"
    USED = "used"


@dataclass
class Address:
    street: str
    number: int | None = None


class Item(Event):
    sku: str
    price: Decimal


class Everything(Event):
    flag: bool
    count: int
    ratio: float
    text: str
    nothing: None
    plain: Any
    mapping: dict[str, Any]
    naive: datetime
    aware: datetime
    day: date
    span: timedelta
    total: Decimal
    key: UUID
    raw: bytes
    colour: Colour
    size: Size
    kind: Kind
    maybe: Decimal | None
    numbers: list[int]
    moments: list[datetime]
    pair: tuple[str, Decimal]
    parts: tuple[int, ...]
    unique: set[str]
    frozen: frozenset[UUID]
    prices: dict[str, Decimal]
    by_number: dict[int, str]
    by_day: dict[date, timedelta]
    item: Item
    items: list[Item]
    address: Address
    addresses: dict[str, Address | None]


class Ask(Command):
    order_id: str
    amount: Decimal


class Loose(Event):
    """One field of each kind, each optional, for one wrong value at a time."""

    flag: bool | None = None
    count: int | None = None
    ratio: float | None = None
    text: str | None = None
    moment: datetime | None = None
    day: date | None = None
    span: timedelta | None = None
    total: Decimal | None = None
    key: UUID | None = None
    raw: bytes | None = None
    colour: Colour | None = None
    numbers: list[int] | None = None
    parts: tuple[int, ...] | None = None
    unique: set[int] | None = None
    prices: dict[str, Decimal] | None = None
    item: Item | None = None
    address: Address | None = None
    plain: Any = None


texts = st.text(max_size=8)
integers = st.integers(-(2**63), 2**64 - 1)
floats = st.floats(allow_nan=False)
decimals = st.decimals(allow_nan=False)
zones = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
aware = st.datetimes(
    min_value=datetime(2, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
    max_value=datetime(9998, 12, 31),  # noqa: DTZ001
    timezones=zones,
)
plain = st.recursive(
    st.none() | st.booleans() | integers | floats | texts | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
items = st.builds(Item, sku=texts, price=decimals)
addresses = st.builds(Address, street=texts, number=st.none() | integers)
everything = st.builds(
    Everything,
    flag=st.booleans(),
    count=integers,
    ratio=floats,
    text=texts,
    nothing=st.none(),
    plain=plain,
    mapping=st.dictionaries(texts, plain, max_size=3),
    naive=st.datetimes(),
    aware=aware,
    day=st.dates(),
    span=st.timedeltas(),
    total=decimals,
    key=st.uuids(),
    raw=st.binary(max_size=8),
    colour=st.sampled_from(Colour),
    size=st.sampled_from(Size),
    kind=st.sampled_from(Kind),
    maybe=st.none() | decimals,
    numbers=st.lists(integers, max_size=3),
    moments=st.lists(st.datetimes(), max_size=3),
    pair=st.tuples(texts, decimals),
    parts=st.lists(integers, max_size=3).map(tuple),
    unique=st.sets(texts, max_size=3),
    frozen=st.frozensets(st.uuids(), max_size=3),
    prices=st.dictionaries(texts, decimals, max_size=3),
    by_number=st.dictionaries(st.integers(-(2**63), 2**63 - 1), texts, max_size=3),
    by_day=st.dictionaries(st.dates(), st.timedeltas(), max_size=3),
    item=items,
    items=st.lists(items, max_size=3),
    address=addresses,
    addresses=st.dictionaries(texts, st.none() | addresses, max_size=3),
)


@settings(derandomize=True, deadline=None, max_examples=150)
@given(everything)
def test_every_type_of_field_reads_back_equal_and_of_the_same_type(event: Everything) -> None:
    back = codecs[Everything].load(packed(event))
    assert back == event
    assert back is not event
    for name in Everything.__struct_fields__:
        assert type(getattr(back, name)) is type(getattr(event, name))


@settings(derandomize=True, deadline=None, max_examples=150)
@given(everything)
def test_packing_the_same_value_again_gives_the_same_bytes(event: Everything) -> None:
    first = packed(event)
    assert packed(event) == first
    assert msgpack.unpackb(first, strict_map_key=False).keys() == set(Everything.__struct_fields__)


@settings(derandomize=True, deadline=None)
@given(st.datetimes(), aware)
def test_a_naive_time_stays_naive_and_an_aware_one_keeps_its_offset(
    naive: datetime, with_zone: datetime
) -> None:
    load = codecs[Loose].load
    back = load(packed(Loose(moment=naive))).moment
    assert back is not None
    assert back.tzinfo is None
    back = load(packed(Loose(moment=with_zone))).moment
    assert back is not None
    assert (back, back.utcoffset()) == (with_zone, with_zone.utcoffset())


@settings(derandomize=True, deadline=None)
@given(decimals)
def test_a_decimal_keeps_its_digits(total: Decimal) -> None:
    back = codecs[Loose].load(packed(Loose(total=total))).total
    assert str(back) == str(total)


def test_a_command_reads_back_equal() -> None:
    command = Ask("o1", Decimal("9.50"))
    assert codecs[Ask].load(packed(command)) == command


@settings(derandomize=True, deadline=None)
@given(st.integers(min_value=2**64) | st.integers(max_value=-(2**63) - 1))
def test_a_number_of_more_than_64_bits_is_refused_by_field(number: int) -> None:
    with pytest.raises(InvalidMessage, match=r"Loose is not valid: .*2\*\*64.*`\$\.count`"):
        packed(Loose(count=number))
    with pytest.raises(InvalidMessage, match=r"Loose is not valid: .*`\$\.plain`"):
        packed(Loose(plain=[{"deep": number}]))


WRONG: list[tuple[str, Any]] = [
    ("flag", 1),
    ("flag", "true"),
    ("count", "1"),
    ("count", True),
    ("count", 1.0),
    ("count", Decimal(1)),
    ("ratio", "0.5"),
    ("ratio", math.nan),
    ("text", 1),
    ("text", b"bytes"),
    ("text", "\ud800"),
    ("text", "half an emoji \udc00"),
    ("moment", "2000-01-01T00:00:00"),
    ("moment", date(2000, 1, 1)),
    ("moment", 0),
    ("moment", "2026-10-25T02:30:00+01:00[Europe/Berlin]"),
    ("day", datetime(2000, 1, 1, tzinfo=UTC)),
    ("day", "2000-01-01"),
    ("span", 5),
    ("span", "PT5S"),
    ("total", "99"),
    ("total", 0.1),
    ("total", Decimal("NaN")),
    ("total", Decimal("sNaN")),
    ("key", "00000000-0000-0000-0000-000000000001"),
    ("key", "x"),
    ("raw", "text"),
    ("colour", "red"),
    ("colour", "green"),
    ("numbers", (1, 2)),
    ("numbers", {1, 2}),
    ("numbers", ["1"]),
    ("numbers", 1),
    ("parts", [1, 2]),
    ("unique", [1, 2]),
    ("prices", {1: Decimal(1)}),
    ("prices", {"a": "1"}),
    ("prices", []),
    ("item", {"sku": "a", "price": Decimal(1)}),
    ("item", Loose()),
    ("address", {"street": "Main Street", "number": 1}),
    ("plain", object()),
    ("plain", print),
    ("plain", (1, 2)),
    ("plain", {1, 2}),
    ("plain", Decimal(1)),
    ("plain", [math.nan]),
    ("plain", {"deep": ["\udfff"]}),
    ("plain", datetime(2000, 1, 1, tzinfo=UTC)),
    ("plain", Item("a", Decimal(1))),
]


@pytest.mark.parametrize(("name", "value"), WRONG, ids=called)
def test_a_value_of_the_wrong_type_is_refused_with_the_fields_name(name: str, value: Any) -> None:
    with pytest.raises(InvalidMessage, match=rf"^Loose is not valid: .*\b{name}\b"):
        packed(Loose(**{name: value}))


def test_a_list_that_holds_itself_is_refused_with_the_fields_name() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(InvalidMessage, match=r"^Loose is not valid: .*`\$\.plain`"):
        packed(Loose(plain=endless))


def test_a_wrong_value_deep_inside_is_refused_with_the_way_to_it() -> None:
    wrong: Any = "1"
    with pytest.raises(InvalidMessage, match=r"\$\.numbers\[2\]"):
        packed(Loose(numbers=[1, 2, wrong]))
    with pytest.raises(InvalidMessage, match="item"):
        packed(Loose(item=Item("a", wrong)))


def test_a_required_field_cannot_be_none() -> None:
    nothing: Any = None
    with pytest.raises(InvalidMessage, match=r"^Ask is not valid: .*\$\.order_id"):
        packed(Ask(nothing, Decimal(1)))


def test_refusing_a_value_leaves_it_as_it_was() -> None:
    tags: list[Any] = [1, "2"]
    event = Loose(numbers=tags)
    with pytest.raises(InvalidMessage):
        packed(event)
    assert event == Loose(numbers=[1, "2"])  # type: ignore[list-item]


def test_stored_fields_that_the_class_lacks_are_dropped() -> None:
    packed = msgpack.packb({"order_id": "o1", "amount": "9", "colour": "red"})
    assert codecs[Ask].load(packed) == Ask("o1", Decimal(9))


def test_fields_that_were_not_stored_have_their_defaults() -> None:
    assert codecs[Loose].load(msgpack.packb({"count": 3})) == Loose(count=3)


@pytest.mark.parametrize(
    "packed",
    [
        msgpack.packb({"order_id": "o1"}),
        msgpack.packb({"order_id": 1, "amount": "9"}),
        msgpack.packb({"order_id": "o1", "amount": "nine"}),
        msgpack.packb(["o1", "9"]),
        msgpack.packb({"order_id": "o1", "amount": "9"})[:-1],
        b"",
        b"\xc1",
        b"\x81\xa1\xff\x01",
    ],
)
def test_stored_bytes_that_do_not_fit_the_class_are_refused_with_its_name(packed: bytes) -> None:
    with pytest.raises(InvalidMessage, match=r"^stored Ask does not fit its class: "):
        codecs[Ask].load(packed)


@settings(derandomize=True, deadline=None)
@given(st.binary(max_size=40))
def test_no_bytes_whatever_make_loading_raise_anything_else(packed: bytes) -> None:
    try:
        loaded = codecs[Loose].load(packed)
    except InvalidMessage:
        return
    assert isinstance(loaded, Loose)


@settings(derandomize=True, deadline=None)
@given(st.dictionaries(texts, plain, max_size=3))
def test_headers_of_plain_values_read_back_equal(headers: dict[str, Any]) -> None:
    assert load_headers(dump_headers(headers)) == headers


def test_no_headers_take_no_room() -> None:
    assert dump_headers(None) is None
    assert dump_headers({}) is None
    assert load_headers(None) == {}


@pytest.mark.parametrize("value", [object(), Decimal(1), 2**64, "\ud800", {1, 2}])
def test_a_header_that_is_no_plain_value_is_refused_with_its_name(value: Any) -> None:
    with pytest.raises(InvalidMessage, match=r"^headers is not valid: .*\btrace\b"):
        dump_headers({"trace": value})


def test_a_header_with_a_name_that_is_no_text_is_refused() -> None:
    wrong: Any = {1: "x"}
    with pytest.raises(InvalidMessage, match=r"^headers is not valid: "):
        dump_headers(wrong)
