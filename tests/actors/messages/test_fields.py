"""What passes registration can be stored, and comes back as the type that is annotated."""

from __future__ import annotations

import dataclasses
import sys
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from fractions import Fraction
from ipaddress import IPv4Address
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import (
    Any,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    Optional,
    Protocol,
    TypedDict,
    TypeVar,
)
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from procession import (
    Aggregate,
    Command,
    DefinitionError,
    Domain,
    Event,
    InvalidMessage,
    ProcessManager,
    Runtime,
    handle,
)
from procession.authoring.state import StateType
from procession.messages.codec import codecs
from procession.store import PackedFields

T = TypeVar("T")
Bound = TypeVar("Bound", bound=int)
Number = NewType("Number", int)


# As values, for types that are put together when a test runs.
a_list: Any = list
a_set: Any = set
a_frozenset: Any = frozenset
a_tuple: Any = tuple
a_dict: Any = dict
an_event_class: Any = type(Event)


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Size(IntEnum):
    SMALL = 1
    LARGE = 2


class Mixed(Enum):
    ONE = 1
    TWO = "two"


class HasNumber(Protocol):
    number: int


class Plain:
    number = 1


class Text(str):  # noqa: SLOT000 - as people write it
    pass


@dataclass(frozen=True)
class Place:
    street: str
    price: Decimal = Decimal(0)


@dataclass
class Line:
    sku: str
    inner: Optional[Line] = None  # noqa: UP045 - a type that is read at once
    prices: list[Decimal] = dataclasses.field(default_factory=list)


@dataclass
class WithPath:
    path: Path


@dataclass(eq=False)
class Alone:
    number: int


@dataclass
class Page(Generic[T]):
    items: list[T]


class Pair(NamedTuple):
    name: str
    price: Decimal


class Typed(TypedDict, total=False):
    name: str
    price: Decimal


class Item(Event):
    sku: str
    price: Decimal = Decimal(0)


class Other(Event):
    text: str = ""


def event_of(hint: Any, **body: Any) -> Any:
    """An event class with one field, as if its annotation were written there."""
    namespace = {"__annotations__": {"field": hint}, "__module__": __name__, **body}
    return an_event_class("Made", (Event,), namespace)


def state_of(hint: Any, default: Any, base: type = ProcessManager) -> StateType:
    namespace = {"__annotations__": {"field": hint}, "__module__": __name__, "field": default}
    return StateType(type("Made", (base,), namespace), base)


# What is refused

UNFIT: list[tuple[Any, str]] = [
    (Path, "write str, and make a path"),
    (PurePosixPath, "write str, and make a path"),
    (deque, r"write list\[...\]"),
    (deque[int], r"write list\[...\]"),
    (Counter[str], r"write dict\[...\]"),
    (OrderedDict[str, int], r"write dict\[...\]"),
    (bytearray, "write bytes"),
    (memoryview, "write bytes"),
    (msgspec.Raw, "write bytes"),
    (Callable[[int], int], "or Any for plain values"),
    (object, "or Any for plain values"),
    (Hashable, "or Any for plain values"),
    (HasNumber, "or Any for plain values"),
    (Iterable[int], "or Any for plain values"),
    (Iterator[int], "or Any for plain values"),
    (T, "write the type, such as"),
    (a_list[T], "write the type, such as"),
    (Page, "write the type, such as"),
    (Page[Path], "write str, and make a path"),
    (Plain, "write a dataclass or a message"),
    (SimpleNamespace, "write a dataclass or a message"),
    (Text, "write str"),
    (Fraction, "or plain values such as str"),
    (IPv4Address, "or plain values such as str"),
    (complex, "write its text"),
    (ValueError, "write its text"),
    (type, "write its name"),
    (type[int], "write its name"),
    (Alone, "remove `eq=False`"),
    (Mixed, "write another type"),
    (Event, "write the class of the message itself"),
    (Item | Other, "write another type"),
    (list[int] | set[int], "write another type"),
    (Decimal | str, "write another type"),
    (set[list[int]], "write a list"),
    (set[Line], "write a list"),
    (dict[Place, int], "write a list of pairs"),
    (dict[tuple[Item, int], int], "write a list of pairs"),
    (frozenset[tuple[dict[str, int], ...]], "write a list"),
]
AROUND: list[Callable[[Any], Any]] = [
    lambda hint: hint,
    lambda hint: a_list[hint],
    lambda hint: a_dict[str, a_tuple[hint, ...]],
    lambda hint: a_tuple[int, hint],
    lambda hint: Optional[hint],  # noqa: UP045 - not every hint has an `|`
    lambda hint: dataclasses.make_dataclass("Around", [("inner", hint)]),
    lambda hint: an_event_class(
        "Around", (Event,), {"__annotations__": {"inner": hint}, "__module__": __name__}
    ),
]


@pytest.mark.parametrize("around", AROUND, ids=range(len(AROUND)))
@pytest.mark.parametrize(("hint", "mend"), UNFIT, ids=[str(hint) for hint, _ in UNFIT])
def test_a_field_of_a_type_that_cannot_be_stored_is_refused_with_the_mend(
    hint: Any, mend: str, around: Callable[[Any], Any]
) -> None:
    whole = around(hint)
    wanted = rf"Made\.field: .* cannot be stored.*{mend}"
    made = event_of(whole)
    with pytest.raises(DefinitionError, match=wanted):
        Domain("shop").register(made)
    for base in (ProcessManager, Aggregate):
        with pytest.raises(DefinitionError, match=wanted):
            state_of(whole, None, base)


def test_every_message_that_a_class_takes_makes_or_issues_is_looked_at() -> None:
    class Wrong(Event):
        path: Path

    class Ask(Command):
        order_id: str

    class AskWrong(Command):
        order_id: str
        path: Path

    class Taking(Aggregate, identity="order_id"):
        @handle(AskWrong)
        def take(self, command: AskWrong) -> None: ...

    class Making(Aggregate, identity="order_id"):
        @handle(Ask)
        def ask(self, command: Ask) -> Event:
            return Wrong(Path())

    class Hearing(ProcessManager, correlate="path"):
        @handle(Wrong, start=True)
        def on_wrong(self, event: Wrong) -> None: ...

    class Issuing(ProcessManager, correlate="sku"):
        @handle(Item, start=True)
        def on_item(self, event: Item) -> None:
            self.issue(AskWrong("o1", Path()))

    for cls in (Taking, Making, Hearing, Issuing, Wrong):
        domain = Domain("shop")
        with pytest.raises(DefinitionError, match=r"Wrong\.path: the type Path cannot be stored"):
            domain.register(cls)
        assert len(domain.aggregates) + len(domain.processes) + len(domain.messages) == 0
    with pytest.raises(DefinitionError, match=r"Wrong\.path: the type Path cannot be stored"):
        Domain("shop").register_external_event(Wrong, "Billing.Wrong.v1")


class Early(Event):
    later: Later  # type: ignore[name-defined] # noqa: F821 - what the test is about


def test_an_annotation_may_name_what_is_defined_further_below() -> None:
    domain = Domain("shop")
    domain.register(Early)
    with pytest.raises(DefinitionError, match="Early: an annotation names 'Later'"):
        Runtime.ephemeral(domain)
    sys.modules[__name__].__dict__["Later"] = Place
    try:
        with Runtime.ephemeral(domain) as runtime:
            runtime.publish(Early(Place("a")), stream="feed-1")
            [stored] = runtime.events()
            assert stored.event == Early(Place("a"))
    finally:
        del sys.modules[__name__].__dict__["Later"]


def test_a_dataclass_decorator_above_a_message_is_refused_with_what_to_do() -> None:
    for decorate in (dataclass, dataclass(frozen=True), dataclass(slots=True, kw_only=True)):

        class Paid(Event):
            amount: int = 0

        with pytest.raises(DefinitionError, match=r"Paid is below @dataclass, .*: remove @datac"):
            decorate(Paid)


@pytest.mark.parametrize("base", [ProcessManager, Aggregate])
def test_a_dataclass_decorator_above_what_has_state_is_refused_with_what_to_do(base: type) -> None:
    made: Any = dataclass(type("Made", (base,), {"__annotations__": {"a": int}, "a": 0}))
    with pytest.raises(DefinitionError, match=r"Made is below @dataclass, .*; remove @dataclass: "):
        StateType(made, base)


def test_a_generic_message_is_stored_where_it_says_what_its_variable_is() -> None:
    class Listed(Event, Generic[T]):
        items: list[T]

    class Prices(Listed[Decimal]):
        pass

    class Numbers(Event, Generic[Bound]):
        items: list[Bound]

    with pytest.raises(DefinitionError, match=r"Listed\.items: .* the type variable ~T stands"):
        Domain("shop").register(Listed)
    prices = Prices([Decimal("0.1")])
    assert codecs[Prices].exchange(prices)[1] == prices
    assert codecs[Numbers].exchange(Numbers([1]))[1] == Numbers([1])


# Whatever passes can be stored

texts = st.text(st.characters(codec="utf-8"), max_size=4)
WHOLE = st.integers(-(2**63), 2**63 - 1)
moments = st.datetimes() | st.datetimes(
    datetime(2, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
    datetime(9998, 1, 1),  # noqa: DTZ001 - the same
    timezones=st.just(UTC),
)
decimals = st.decimals(allow_nan=False)
ATOMS: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (int, WHOLE),
    (float, st.floats(allow_nan=False)),
    (bool, st.booleans()),
    (str, texts),
    (bytes, st.binary(max_size=4)),
    (None, st.none()),
    (Decimal, decimals),
    (UUID, st.uuids()),
    (datetime, moments),
    (date, st.dates()),
    (time, st.times()),
    (timedelta, st.timedeltas()),
    (Colour, st.sampled_from(Colour)),
    (Size, st.sampled_from(Size)),
    (Number, WHOLE),
    (Literal["a", 1], st.sampled_from(["a", 1])),
]
CLASSES: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (Place, st.builds(Place, texts, decimals)),
    (Pair, st.builds(Pair, texts, decimals)),
    (Item, st.builds(Item, texts, decimals)),
]
UNHASHED: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (Line, st.builds(Line, texts, st.none() | st.builds(Line, texts), st.lists(decimals))),
    (Typed, st.fixed_dictionaries({"name": texts}, optional={"price": decimals})),
    (Page[Decimal], st.builds(Page, st.lists(decimals, max_size=2))),
    (Any, st.none() | texts | WHOLE | st.lists(WHOLE, max_size=2)),
    (list, st.lists(texts, max_size=2)),
    (dict, st.dictionaries(texts, WHOLE, max_size=2)),
    (Sequence[int], st.lists(WHOLE, max_size=2)),
    (Mapping[str, int], st.dictionaries(texts, WHOLE, max_size=2)),
]
Typing = tuple[Any, st.SearchStrategy[Any]]


def hashed(depth: int) -> st.SearchStrategy[Typing]:
    """Types whose values can be in a set."""
    flat = st.sampled_from(ATOMS + CLASSES)
    if not depth:
        return flat
    inner = hashed(depth - 1)
    return st.one_of(
        flat,
        inner.map(lambda one: (a_tuple[one[0], ...], st.lists(one[1], max_size=2).map(tuple))),
        st.tuples(inner, inner).map(
            lambda two: (a_tuple[two[0][0], two[1][0]], st.tuples(two[0][1], two[1][1]))
        ),
        inner.map(lambda one: (a_frozenset[one[0]], st.frozensets(one[1], max_size=2))),
    )


def typings(depth: int) -> st.SearchStrategy[Typing]:
    """Annotations, each with the values that it stands for."""
    flat = st.sampled_from(ATOMS + CLASSES + UNHASHED)
    if not depth:
        return flat
    inner = typings(depth - 1)
    return st.one_of(
        hashed(depth),
        flat,
        inner.map(lambda one: (a_list[one[0]], st.lists(one[1], max_size=2))),
        hashed(depth - 1).map(lambda one: (a_set[one[0]], st.sets(one[1], max_size=2))),
        st.tuples(hashed(depth - 1), inner).map(
            lambda two: (
                a_dict[two[0][0], two[1][0]],
                st.dictionaries(two[0][1], two[1][1], max_size=2),
            )
        ),
        inner.map(lambda one: (Optional[one[0]], st.none() | one[1])),  # noqa: UP045 - built here
        st.tuples(inner, inner).map(
            lambda two: (
                (two[0][0] | two[1][0], two[0][1] | two[1][1])
                if isinstance(two[0][0], type) and isinstance(two[1][0], type)
                else two[0]
            )
        ),
        inner.map(
            lambda one: (
                made := dataclasses.make_dataclass("Around", [("inner", one[0])]),
                st.builds(made, one[1]),
            )
        ),
    )


def types_in(value: Any) -> Any:
    """A value as the types of all that is in it, in the order in which it is compared."""
    if isinstance(value, set | frozenset):
        return type(value), sorted(map(repr, map(types_in, value)))
    if isinstance(value, dict):
        return type(value), sorted(repr((types_in(k), types_in(v))) for k, v in value.items())
    if isinstance(value, list | tuple):
        return type(value), [types_in(one) for one in value]
    if isinstance(value, Event):
        return type(value), [types_in(getattr(value, one)) for one in value.__struct_fields__]
    if dataclasses.is_dataclass(value):
        return type(value), [types_in(one) for one in vars(value).values()]
    return type(value)


@settings(derandomize=True, deadline=None, max_examples=400)
@given(st.data())
def test_any_annotation_that_passes_registration_can_be_stored_and_read_back(
    data: st.DataObject,
) -> None:
    hint, values = data.draw(typings(2))
    made = event_of(hint)
    try:
        Domain("shop").register(made)
    except DefinitionError:
        return
    value = data.draw(values)
    packed, back = codecs[made].exchange(made(value))
    assert back == made(value) == codecs[made].load(packed)
    assert types_in(back) == types_in(made(value))
    state = state_of(hint, value)
    packed, values_back = state.exchange({"field": value})
    assert values_back == state.load(packed) == state.fresh() == {"field": value}
    assert types_in(values_back) == types_in({"field": value}) == types_in(state.fresh())


@pytest.mark.parametrize(
    ("hint", "values"),
    ATOMS + CLASSES + UNHASHED,
    ids=[str(h) for h, _ in ATOMS + CLASSES + UNHASHED],
)
def test_no_type_that_can_be_stored_is_refused(hint: Any, values: Any) -> None:
    for around in AROUND:
        Domain("shop").register(event_of(around(hint)))
    if (hint, values) not in UNHASHED:
        Domain("shop").register(event_of(a_set[hint]))


# Numbers

GIVEN: dict[type, st.SearchStrategy[Any]] = {
    int: st.integers(-(2**53), 2**53),
    float: st.floats(allow_nan=False),
    bool: st.booleans(),
    Decimal: decimals,
    str: st.sampled_from(["1", "0.1", ""]),
    Fraction: st.fractions(),
    complex: st.complex_numbers(allow_nan=False),
}
TAKEN = {(int, float), (int, Decimal)}
"""What is given where something else is annotated; all other pairs are refused."""


def inside(wrap: str, one: Any) -> Any:
    ways: dict[str, Callable[[], Any]] = {
        "plain": lambda: one,
        "list": lambda: [one],
        "tuple": lambda: (one, "x"),
        "set": lambda: {one},
        "value": lambda: {"a": [one]},
        "key": lambda: {one: 1},
        "dataclass": lambda: Page([one]),
    }
    return ways[wrap]()


def hint_inside(wrap: str, hint: Any) -> Any:
    a_page: Any = Page
    return {
        "plain": hint,
        "list": a_list[hint],
        "tuple": a_tuple[hint, str],
        "set": a_set[hint],
        "value": a_dict[str, a_list[hint]],
        "key": a_dict[hint, int],
        "dataclass": a_page[hint],
    }[wrap]


@pytest.mark.parametrize("wrap", ["plain", "list", "tuple", "set", "value", "key", "dataclass"])
@pytest.mark.parametrize("hint", [int, float, bool, Decimal], ids=lambda one: one.__name__)
@pytest.mark.parametrize("kind", GIVEN, ids=lambda one: one.__name__)
def test_a_number_is_taken_or_refused_by_its_type_and_not_by_what_it_is(
    kind: type, hint: Any, wrap: str
) -> None:
    whole = hint_inside(wrap, hint)
    made = event_of(whole)
    codec = codecs[made]
    state = state_of(whole | None, None)

    @settings(derandomize=True, deadline=None, max_examples=25)
    @given(GIVEN[kind])
    def each(value: Any) -> None:
        given = inside(wrap, value)
        if kind is hint or (kind, hint) in TAKEN:
            back = codec.exchange(made(given))[1].field
            assert back == given
            assert types_in(back) == types_in(inside(wrap, hint(value)))
            assert state.exchange({"field": given})[1] == {"field": back}
        else:
            with pytest.raises(InvalidMessage):
                codec.exchange(made(given))
            with pytest.raises(InvalidMessage):
                state.exchange({"field": given})

    each()


def test_a_float_for_a_decimal_is_refused_with_the_field_whatever_it_is() -> None:
    class Sold(Event):
        sku: str
        price: Decimal
        tax: Decimal | None = None

    for value in (0.1, 0.5, 1.0, float("inf")):
        for sold in (Sold("a", value), Sold("a", Decimal(1), value)):  # type: ignore[arg-type]
            with pytest.raises(InvalidMessage, match=rf"(price|tax)={value} would be read back as"):
                codecs[Sold].exchange(sold)


def test_a_float_that_is_added_to_a_large_state_of_decimals_is_refused() -> None:
    for hint, large, larger in (
        (list[Decimal], [Decimal(1)] * 2_000, [*[Decimal(1)] * 2_000, 0.5]),
        (
            dict[str, Decimal],
            {str(number): Decimal(1) for number in range(2_000)},
            {str(number): Decimal(1) for number in range(2_000)} | {"x": 0.5},
        ),
    ):
        state = state_of(hint, type(large)())
        packed = state.exchange({"field": large})[0]
        before = PackedFields.of(packed)
        assert state.exchange_parts({"field": large}, before)[1] == {"field": large}
        with pytest.raises(InvalidMessage, match="field"):
            state.exchange_parts({"field": larger}, before)


# Defaults

DEFAULTS: list[tuple[Any, Any, Any]] = [
    (Decimal, 0, Decimal(0)),
    (float, 0, 0.0),
    (set[str], frozenset(), set()),
    (frozenset[str], set(), frozenset()),
    (frozenset[int], {1}, frozenset({1})),
    (dict, Counter(), {}),
    (dict[str, int], OrderedDict(), {}),
    (tuple, [], ()),
    (tuple[int, ...], [1], (1,)),
    (tuple[Decimal, ...], (1, 2), (Decimal(1), Decimal(2))),
    (list[int], (), []),
    (bytes, bytearray(b"a"), b"a"),
    (Decimal | None, 1, Decimal(1)),
    (int, Size.LARGE, 2),
]


@pytest.mark.parametrize(("hint", "default", "brought"), DEFAULTS, ids=str)
def test_a_default_has_the_annotated_type_and_is_what_is_read_back(
    hint: Any, default: Any, brought: Any
) -> None:
    made = event_of(hint, field=default)
    new = made()
    packed, back = codecs[made].exchange(new)
    fresh = state_of(hint, default).fresh()["field"]
    for value in (new.field, back.field, codecs[made].load(packed).field, fresh):
        assert value == brought
        assert types_in(value) == types_in(brought)
    assert types_in(state_of(hint, default, Aggregate).fresh()["field"]) == types_in(brought)


def test_a_new_object_has_what_is_annotated() -> None:
    class Till(ProcessManager, correlate="sku"):
        total: Decimal = 0  # type: ignore[assignment] # as people write it

        @handle(Item, start=True)
        def on_item(self, event: Item) -> None:
            assert type(self.total) is Decimal

    class Bank(Aggregate):
        total: Decimal = 0  # type: ignore[assignment] # the same

    assert type(Bank("b").total) is Decimal
    shop = Domain("shop")
    shop.register(Till)
    with Runtime.ephemeral(shop) as runtime:
        runtime.publish(Item("a"), stream="feed-1")
        runtime.settle(timeout=5)
        assert list(runtime.parked()) == []


@pytest.mark.parametrize(
    ("hint", "default"),
    [(Decimal, 0.5), (Decimal, 0.1), (int, 1.0), (int, None), (bool, 1), (UUID, "x"), (str, 5)],
    ids=str,
)
def test_a_default_that_does_not_fit_is_refused_with_the_field(hint: Any, default: Any) -> None:
    with pytest.raises(DefinitionError, match=r"Made\.field: its default .* does not fit: .*field"):
        Domain("shop").register(event_of(hint, field=default))
    with pytest.raises(DefinitionError, match=r"Made: a default does not fit: .*field"):
        state_of(hint, default)


def test_a_default_that_is_brought_only_later_is_refused_with_what_to_write() -> None:
    made = event_of(Decimal, field=msgspec.field(default=0))
    with pytest.raises(
        DefinitionError, match=r"Made\.field: its default 0 would be read back as Decimal\('0'\); w"
    ):
        Domain("shop").register(made)
