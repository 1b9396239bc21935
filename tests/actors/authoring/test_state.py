"""The annotated fields of a class: defaults, bytes, and what may not be a field."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import UUID

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from procession import Aggregate, DefinitionError, InvalidMessage, ProcessManager
from procession.authoring.state import StateType

if TYPE_CHECKING:
    from fractions import Fraction  # noqa: TC004 - a mistake on purpose


class Colour(Enum):
    RED = "red"


@dataclass
class Line:
    sku: str
    tags: list[str] = field(default_factory=list)


class Order(ProcessManager):
    limit: ClassVar[int] = 5
    order_id: str = ""
    count: int = 0
    total: Decimal = Decimal(0)
    due: datetime | None = None
    colour: Colour = Colour.RED
    lines: list[Line] = []
    by_day: dict[str, set[int]] = {}
    key: UUID = UUID(int=0)
    span: timedelta = timedelta()

    def double(self) -> int:
        return 2 * self.count

    @property
    def is_late(self) -> bool:
        return self.due is not None


def state_of(cls: type[ProcessManager]) -> StateType:
    return StateType(cls, ProcessManager)


order = state_of(Order)


def test_the_fields_are_the_annotated_ones_in_order() -> None:
    assert list(order.fields) == [
        "order_id",
        "count",
        "total",
        "due",
        "colour",
        "lines",
        "by_day",
        "key",
        "span",
    ]


def test_class_variables_methods_and_properties_are_no_state() -> None:
    assert not {"limit", "double", "is_late"} & order.fields.keys()


def test_fields_of_parents_are_state_too() -> None:
    class Late(Order):
        days: int = 3
        count: int = 7

    late = state_of(Late).fresh()
    assert (late["days"], late["count"], late["order_id"]) == (3, 7, "")


def test_fresh_values_are_the_defaults() -> None:
    assert order.fresh() == {
        "order_id": "",
        "count": 0,
        "total": Decimal(0),
        "due": None,
        "colour": Colour.RED,
        "lines": [],
        "by_day": {},
        "key": UUID(int=0),
        "span": timedelta(),
    }


def test_mutable_defaults_are_each_callers_own_all_the_way_down() -> None:
    class Deep(ProcessManager):
        nested: dict[str, list[int]] = {"a": [1]}
        line: Line = Line("a", ["x"])

    deep = state_of(Deep)
    one = deep.fresh()
    one["nested"]["a"].append(2)
    one["line"].tags.append("y")
    assert deep.fresh() == {"nested": {"a": [1]}, "line": Line("a", ["x"])}


states = st.fixed_dictionaries(
    {
        "order_id": st.text(max_size=5),
        "count": st.integers(-(2**63), 2**64 - 1),
        "total": st.decimals(allow_nan=False),
        "due": st.none() | st.datetimes(),
        "colour": st.just(Colour.RED),
        "lines": st.lists(
            st.builds(Line, st.text(max_size=3), st.lists(st.text(max_size=3))), max_size=3
        ),
        "by_day": st.dictionaries(st.text(max_size=3), st.sets(st.integers(0, 9)), max_size=3),
        "key": st.uuids(),
        "span": st.timedeltas(),
    }
)


@settings(derandomize=True, deadline=None)
@given(states)
def test_state_reads_back_equal(values: dict[str, Any]) -> None:
    assert order.load(order.exchange(values)[0]) == values


@settings(derandomize=True, deadline=None)
@given(states, st.sets(st.sampled_from(sorted(Order.__annotations__.keys() - {"limit"}))))
def test_a_field_that_was_not_stored_has_its_default(
    values: dict[str, Any], missing: set[str]
) -> None:
    stored = msgpack.unpackb(order.exchange(values)[0])
    packed = msgpack.packb({name: stored[name] for name in stored if name not in missing})
    loaded = order.load(packed)
    assert loaded == values | {name: order.fresh()[name] for name in missing}


def test_a_default_for_what_was_not_stored_is_the_callers_own() -> None:
    empty = msgpack.packb({})
    order.load(empty)["lines"].append(Line("a"))
    assert order.load(empty)["lines"] == []


def test_a_stored_field_that_the_class_lost_is_dropped() -> None:
    stored = msgpack.unpackb(order.exchange(order.fresh())[0])
    loaded = order.load(msgpack.packb(stored | {"gone": [1, 2], "also": "gone"}))
    assert loaded == order.fresh()


def test_a_renamed_field_is_a_lost_one_and_a_new_one() -> None:
    stored = msgpack.unpackb(order.exchange(order.fresh() | {"count": 5})[0])
    stored["amount"] = stored.pop("count")
    assert order.load(msgpack.packb(stored)) == order.fresh()


def test_stored_state_of_another_type_is_refused_with_class_and_field() -> None:
    with pytest.raises(InvalidMessage, match=r"stored state of Order .*`\$\.count`"):
        order.load(msgpack.packb({"count": "many"}))


def test_an_attribute_that_is_no_field_is_refused_with_the_mend() -> None:
    with pytest.raises(InvalidMessage, match=r"self\.statsu is no declared field of Order.*: `sta"):
        order.exchange(order.fresh() | {"statsu": "paid"})


def test_a_deleted_field_is_refused() -> None:
    values = order.fresh()
    del values["count"]
    with pytest.raises(InvalidMessage, match=r"self\.count of Order was deleted; assign"):
        order.exchange(values)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("order_id", 5),
        ("count", "5"),
        ("count", None),
        ("count", 2**64),
        ("total", "5"),
        ("due", "2000-01-01T00:00:00"),
        ("colour", "red"),
        ("lines", (Line("a"),)),
        ("lines", [{"sku": "a"}]),
        ("by_day", {"a": [1]}),
        ("order_id", "\ud800"),
        ("order_id", object()),
    ],
)
def test_a_wrongly_typed_value_is_refused_with_class_and_field(name: str, value: Any) -> None:
    with pytest.raises(InvalidMessage, match=rf"^state of Order is not valid: .*\b{name}\b"):
        order.exchange(order.fresh() | {name: value})


def test_a_class_without_fields_has_empty_state() -> None:
    class Nothing(ProcessManager):
        pass

    nothing = state_of(Nothing)
    assert nothing.load(nothing.exchange({})[0]) == nothing.fresh() == {}


def test_a_field_without_default_is_refused_with_the_mend() -> None:
    class Bad(ProcessManager):
        status: str

    with pytest.raises(DefinitionError, match=r"Bad\.status has no default; write `status: "):
        state_of(Bad)


def test_a_field_without_annotation_is_refused_with_the_mend() -> None:
    class Bad(ProcessManager):
        status = "new"

    with pytest.raises(DefinitionError, match=r"Bad\.status has no annot.* `status: str = 'new'`"):
        state_of(Bad)


def test_a_name_with_an_underscore_in_front_needs_no_annotation() -> None:
    class Good(ProcessManager):
        _table = ("a", "b")

    assert state_of(Good).fields == {}


@pytest.mark.parametrize(
    "name", ["id", "version", "context", "issue", "mark_as_complete", "set_timeout", "_unit"]
)
def test_a_field_with_a_name_of_ours_is_refused(name: str) -> None:
    bad = type("Bad", (ProcessManager,), {"__annotations__": {name: "str"}, name: ""})
    with pytest.raises(DefinitionError, match=rf"Bad\.{name}: ProcessManager has .*choose another"):
        state_of(bad)


@pytest.mark.parametrize("name", ["id", "version", "_own"])
def test_a_field_of_an_aggregate_with_a_name_of_ours_is_refused(name: str) -> None:
    bad = type("Bad", (Aggregate,), {"__annotations__": {name: "str"}, name: ""})
    with pytest.raises(DefinitionError, match=rf"Bad\.{name}: Aggregate has .*choose another"):
        StateType(bad, Aggregate)


def test_a_default_that_does_not_fit_is_refused_with_the_field() -> None:
    class Bad(ProcessManager):
        count: int = "none"  # type: ignore[assignment]

    with pytest.raises(DefinitionError, match=r"Bad: a default does not fit: .*`\$\.count`"):
        state_of(Bad)


def test_a_type_that_cannot_be_stored_is_refused_with_class_and_field() -> None:
    class Bad(ProcessManager):
        value: complex = 1j

    with pytest.raises(DefinitionError, match=r"Bad\.value: the type complex cannot be stored"):
        state_of(Bad)


def test_a_union_that_could_not_be_told_apart_is_refused_with_the_class() -> None:
    class Bad(ProcessManager):
        values: list[int] | set[int] = []

    with pytest.raises(DefinitionError, match=r"Bad\.values: the type list\[int\] \| set\[int\] "):
        state_of(Bad)


def test_an_annotation_that_is_there_only_for_type_checkers_is_refused_with_the_mend() -> None:
    class Bad(ProcessManager):
        share: Fraction | None = None  # an import that is missing when the program runs

    with pytest.raises(DefinitionError, match=r"Bad: .*'Fraction'.*outside `if TYPE_CHECKING`"):
        state_of(Bad)


@pytest.mark.parametrize("annotation", ["list[", "Decimal.nothing", "1 + ''"])
def test_an_annotation_that_cannot_be_read_is_refused_with_the_class(annotation: str) -> None:
    body = {"__annotations__": {"value": annotation}, "value": 0, "__module__": __name__}
    bad = type("Bad", (ProcessManager,), body)
    with pytest.raises(DefinitionError, match=r"Bad: an annotation cannot be read: "):
        state_of(bad)


def test_an_instance_of_a_subclass_of_a_declared_type_may_stand_in_for_it() -> None:
    class Counts(ProcessManager):
        seen: dict[str, int] = {}

    counts = state_of(Counts)
    assert counts.load(counts.exchange({"seen": Counter("aab")})[0]) == {"seen": {"a": 2, "b": 1}}
