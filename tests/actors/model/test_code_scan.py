"""Which message classes code speaks of is read from the code itself."""

from __future__ import annotations

import sys
import types
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pytest

from procession import Command, Event, ProcessManager
from procession.model.code_scan import (
    classes_named_in,
    code_reached,
    first_arguments,
    may_assign,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Paid(Event):
    order_id: str


class Failed(Event):
    order_id: str


class Shipped(Event):
    order_id: str


class Ship(Command):
    order_id: str


here = sys.modules[__name__]


def helper() -> Event:
    return Shipped("o1")


def calls_helper(self: object) -> Event:
    return helper()


def endless(self: object) -> Any:
    return endless(self) or even_more(self)


def even_more(self: object) -> Any:
    return endless(self) or Paid("o1")


def direct(self: object, command: Ship) -> Any:
    if command.order_id:
        return Paid(command.order_id)
    return Failed(command.order_id)


def nested(self: object) -> Any:
    def inner() -> list[Event]:
        return [Paid(name) for name in "ab"]

    return inner()


def through_module(self: object) -> Any:
    return here.Paid("o1")


def only_annotated(self: object) -> list[Paid | Failed]:
    return list(self.found())  # type: ignore[attr-defined]


def generator(self: object) -> Iterator[Event]:
    yield Paid("o1")
    yield from (Failed(name) for name in "ab")


def from_data(self: object) -> Any:
    return globals()["Pa" + "id"]("o1")


def only_tested(self: object, event: object) -> bool:
    return isinstance(event, Event)


def local_class_in_annotation(self: object, event: Paid) -> None:
    del event


@pytest.mark.parametrize(
    ("function", "found"),
    [
        (direct, {Paid, Failed}),
        (calls_helper, {Shipped}),
        (endless, {Paid}),
        (nested, {Paid}),
        (through_module, {Paid}),
        (only_annotated, {Paid, Failed}),
        (generator, {Paid, Failed}),
    ],
)
def test_classes_are_found_where_the_code_names_them(
    function: Callable[..., Any], found: set[type[Event]]
) -> None:
    assert classes_named_in([function], Event) == found


def test_a_class_that_only_data_leads_to_is_not_found() -> None:
    assert classes_named_in([from_data], Event) == set()


def test_a_class_that_is_only_an_arguments_annotation_is_not_found() -> None:
    assert classes_named_in([local_class_in_annotation], Event) == set()


def test_the_base_itself_is_not_among_what_is_found() -> None:
    assert classes_named_in([only_tested], Event) == set()


def test_only_subclasses_of_the_base_are_found() -> None:
    assert classes_named_in([direct], Command) == set()


def test_several_functions_are_looked_at_together() -> None:
    assert classes_named_in([direct, calls_helper], Event) == {Paid, Failed, Shipped}


def test_a_class_that_a_closure_holds_is_found() -> None:
    class Local(Event):
        order_id: str

    def makes() -> Event:
        return Local("o1")

    def calls() -> Event:
        return makes()

    assert classes_named_in([makes], Event) == {Local}
    assert classes_named_in([calls], Event) == {Local}


def test_a_local_class_that_is_not_there_yet_is_no_error() -> None:
    def makes() -> Event:
        return Later("o1")

    before = classes_named_in([makes], Event)

    class Later(Event):
        order_id: str

    assert before == set()
    assert classes_named_in([makes], Event) == {Later}


def test_a_return_annotation_that_is_no_text_is_read_too() -> None:
    def makes() -> Any: ...

    makes.__annotations__["return"] = list[Paid | None]
    assert classes_named_in([makes], Event) == {Paid}
    makes.__annotations__["return"] = Failed
    assert classes_named_in([makes], Event) == {Failed}


def test_what_is_no_plain_function_is_passed_over() -> None:
    assert classes_named_in([print, types.SimpleNamespace, Paid], Event) == set()


def names_an_attribute(self: Any) -> Any:
    return self.context.helper, self.Paid


def test_an_attribute_is_no_variable_of_the_module_by_that_name() -> None:
    assert classes_named_in([names_an_attribute], Event) == set()


class Base:
    def make(self) -> Event:
        return Paid("o1")

    def refuse(self) -> Event:
        return Failed("o1")


class Child(Base):
    def make(self) -> Event:
        return self._ship()

    def _ship(self) -> Event:
        return Shipped("o1")

    def from_parent(self) -> Event:
        return super().make()

    def from_parent_by_name(self) -> Event:
        return Base.refuse(self)

    def from_another(self, other: Base) -> Event:
        return other.make()

    def from_a_function(self) -> Event:
        return asks(self)

    def kept(self) -> Any:
        refuse = self.refuse
        return [refuse for _ in "ab"]


def asks(maker: Base) -> Event:
    return maker.make()


@pytest.mark.parametrize(
    ("function", "found"),
    [
        (Child.make, {Shipped}),
        (Child.from_parent, {Paid, Shipped}),
        (Child.from_parent_by_name, {Failed}),
        (Child.from_another, set()),
        (Child.from_a_function, {Shipped}),
        (Child.kept, {Failed}),
    ],
)
def test_methods_of_the_class_are_followed_where_it_is_asked_for(
    function: Callable[..., Any], found: set[type[Event]]
) -> None:
    assert classes_named_in([function], Event, of=Child) == found
    assert classes_named_in([function], Event) == set()


LATE = "late"


def literal(self: Any) -> None:
    self.wait("payment", 1)
    self.wait(LATE, f"{self.days}")
    self.wait(name="shipment", days=2 * self.days)


def in_a_branch_and_a_loop(self: Any) -> None:
    if self.days:
        for days in self.days:
            self.wait("payment", min(days, 3))


def worked_out(self: Any) -> None:
    self.wait(f"late-{self.days}", 1)


def added(self: Any) -> None:
    self.wait(LATE + self.days, 1)


def formatted(self: Any) -> None:
    self.wait("late-{}".format(self.days), 1)  # noqa: UP032 - this is what is tested


def field(self: Any) -> None:
    self.wait(self.days, 1)


def number(self: Any) -> None:
    self.wait(1)


def not_called(self: Any) -> Any:
    return self.days


def calls_literal(self: Any) -> None:
    literal(self)


def in_a_closure(self: Any) -> Any:
    return lambda: self.wait("payment", 1)


@pytest.mark.parametrize(
    ("function", "found"),
    [
        (literal, {"payment", "late", "shipment"}),
        (in_a_branch_and_a_loop, {"payment"}),
        (worked_out, {None}),
        (added, {None}),
        (formatted, {None}),
        (field, {None}),
        (number, {None}),
        (not_called, set()),
        (calls_literal, {"payment", "late", "shipment"}),
        (in_a_closure, {"payment"}),
    ],
)
def test_the_first_argument_of_a_call_is_read_where_it_is_a_text(
    function: Callable[..., Any], found: set[str | None]
) -> None:
    assert first_arguments([function], "wait") == found


def test_the_first_argument_may_be_a_text_that_a_closure_holds() -> None:
    late = "late"

    def waits(self: Any) -> None:
        self.wait(late, 1)

    assert first_arguments([waits], "wait") == {"late"}


# What may set an attribute

HOOKS: dict[str, Callable[..., Any]] = {}
REMEMBERED: list[object] = []


class Setting:
    """Each method may set `key`, or may not; its name says which."""

    key = ""
    count = 0
    items: list[str] = []

    @property
    def short(self) -> str:
        return self.key

    @short.setter
    def short(self, value: str) -> None:
        self.key = value

    @cached_property
    def lazy(self) -> str:
        return ""

    def _set(self, value: str) -> None:
        self.key = value

    def _count(self, value: str) -> None:
        self.items.append(value)

    def may_itself(self) -> None:
        self.key = "a"

    def may_by_a_method(self) -> None:
        self._set("a")

    def may_by_a_method_in_a_loop(self) -> None:
        for one in self.items: self._set(one)  # fmt: skip  # noqa: E701

    def may_by_a_bound_method(self) -> None:
        HOOKS["each"](self._set)

    def may_by_a_property(self) -> None:
        self.short = "a"

    def may_by_an_attribute_of_another_kind(self) -> None:
        assert not self.lazy

    def may_by_a_name_in_a_text(self) -> None:
        setattr(self, "".join("key"), "a")

    def may_by_a_function_of_a_table(self) -> None:
        HOOKS["set"](self, "a")

    def may_by_a_function_with_the_object_last(self) -> None:
        value = "a"
        HOOKS["set"](value, self)

    def may_by_what_remembers_it(self) -> None:
        REMEMBERED.append(self)

    def may_by_a_function_inside(self) -> None:
        def inside() -> None:
            HOOKS["set"](self)

        inside()

    def may_as_one_of_all_arguments(*arguments: Any) -> None:
        HOOKS["set"](*arguments)

    def cannot_with_another_attribute(self) -> None:
        self.count = self.count + 1
        self.count += 1
        value, self.count = self.key, 3
        del self.items
        self._count(value)

    def cannot_with_a_function_inside(self) -> None:
        self._count("".join(each + self.key for each in self.items))
        for each in map(lambda one: one + self.key, self.items):  # noqa: C417 - a shared variable
            self._count(each)

    def cannot_with_other_objects(self, event: object) -> None:
        HOOKS["set"](event, self.key)


class AlsoSetting(Setting):
    def _count(self, value: str) -> None:
        super()._count(value)

    def cannot_by_super(self) -> None:
        super().cannot_with_another_attribute()

    def may_by_super(self) -> None:
        super().may_itself()


@pytest.mark.parametrize(
    "name",
    [name for name in dir(AlsoSetting) if name.startswith(("may_", "cannot_"))],
)
def test_a_method_sets_no_attribute_only_if_its_object_goes_nowhere(name: str) -> None:
    found = may_assign([getattr(AlsoSetting, name)], {"key"}, of=AlsoSetting)
    assert found is name.startswith("may_")


def test_what_the_base_classes_do_is_not_read() -> None:
    class Issuing(ProcessManager, correlate="order"):
        order: str = ""

        def on_it(self) -> None:
            self.issue()
            self.set_timeout("soon", timedelta(1))
            self.mark_as_complete()

    assert list(code_reached([Issuing.on_it], Issuing)) == [Issuing.on_it]
