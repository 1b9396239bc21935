"""Fields that nothing sets, learnt keys that nothing learns, ends that nothing calls."""

from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import Any, ClassVar

import pytest

from procession import (
    ALL,
    Aggregate,
    Command,
    Context,
    Domain,
    Event,
    Indexed,
    ProcessManager,
    after,
    apply,
    handle,
    timeout,
    upcast,
)


class Open(Command):
    order_id: str


class Opened(Event):
    order_id: str
    number: str


class Settled(Event):
    number: str


class Closed(Event):
    order_id: str


def found(*classes: Any) -> list[tuple[str, str]]:
    domain = Domain("shop")
    domain.register(Opened, Settled, Closed, *classes)
    return [(finding.code, finding.place) for finding in domain.check()]


class Quiet(ProcessManager, correlate="order_id"):
    """Has nothing to find; its children have."""

    order_id: str = ""

    @handle(Opened, start=True)
    def on_opened(self, event: Opened) -> None: ...

    @handle(Closed, end=True)
    def on_closed(self, event: Closed) -> None: ...


# field-never-set


def test_a_field_that_no_method_sets_is_found() -> None:
    class Noting(Quiet):
        note: str = ""

    domain = Domain("shop")
    domain.register(Opened, Closed, Noting)
    (finding,) = domain.check()
    assert (finding.code, finding.place) == ("field-never-set", "Noting.note")
    assert "no method sets" in finding.message
    assert "set `self.note` in a handler" in finding.mend
    assert "ClassVar" in finding.mend


def test_a_field_that_is_only_read_is_not_set() -> None:
    class Reading(Quiet):
        days: int | None = 3

        @timeout("late")
        def on_late(self) -> None: ...

        @handle(Opened, start=True)
        def on_opened(self, event: Opened) -> None:
            self.set_timeout("late", timedelta(days=self.days or 1))

    assert found(Reading) == [("field-never-set", "Reading.days")]


def test_a_field_of_an_aggregate_that_no_event_changes_is_found() -> None:
    class Order(Aggregate, identity="order_id"):
        status: str = "new"
        closed: bool = False

        @handle(Open)
        def open(self, command: Open) -> Opened:
            return Opened(self.id, self.status)

        @apply(Opened)
        def _opened(self, event: Opened) -> None:
            self.closed = False

    assert found(Order) == [("field-never-set", "Order.status")]


def test_the_field_that_names_an_instance_is_set_when_it_starts() -> None:
    class Two(ProcessManager, correlate=("order_id", "item")):
        order_id: str = ""
        item: str = ""

        @handle(Opened, start=True, end=True, correlate={"order_id": "order_id", "item": "number"})
        def on_opened(self, event: Opened) -> None: ...

    assert found(Quiet, Two) == []


def test_one_for_all_events_has_no_field_that_is_set_at_its_start() -> None:
    class Counting(ProcessManager, correlate=ALL):
        order_id: str = ""

        @handle(Opened, start=True)
        def on_opened(self, event: Opened) -> None: ...

    assert found(Counting) == [("field-never-set", "Counting.order_id")]


def test_a_constant_of_the_class_is_no_field() -> None:
    class Constant(Quiet):
        days: ClassVar[int] = 3

    assert found(Constant) == []


class Parent(Quiet):
    note: str = ""

    def _note(self, text: str) -> None:
        self.note = text


class Base:
    """Not one of ours: a class to mix in."""

    def fill(self) -> None:
        self.note = "filled"


def test_a_field_that_an_inherited_method_sets_is_set() -> None:
    class Child(Parent):
        other: str = ""

        @handle(Opened, start=True)
        def on_opened(self, event: Opened) -> None:
            self.other = event.number

    class Mixed(Base, Quiet):
        note: str = ""

    assert found(Parent, Child, Mixed) == []


SETTERS: dict[str, Callable[..., Any]] = {}


class Setter:
    def fill(self, process: Any) -> None:
        process.note = "filled"


SETTER = Setter()


def fill(process: Any) -> None:
    process.note = "filled"


def decorated(function: Any) -> Any:
    @wraps(function)
    def inside(*arguments: Any) -> Any:
        arguments[0].note = "filled"
        return function(*arguments)

    return inside


def by_a_function(self: Any, event: Event) -> None:
    fill(self)


def by_an_object(self: Any, event: Event) -> None:
    SETTER.fill(self)


def by_a_table(self: Any, event: Event) -> None:
    SETTERS["fill"](self)


def by_setattr(self: Any, event: Event) -> None:
    for name in ("no", "te"):
        setattr(self, name, "filled")


def by_its_dictionary(self: Any, event: Event) -> None:
    vars(self).update({"no" + "te": "filled"})
    self.__dict__["note"] = "filled"


def by_a_method_found_by_name(self: Any, event: Event) -> None:
    getattr(self, "fi" + "ll")()


def by_another_name(self: Any, event: Event) -> None:
    me = self
    me.note = "filled"


def by_unpacking(self: Any, event: Any) -> None:
    _, *self.note = event.number


def by_adding(self: Any, event: Any) -> None:
    self.note += event.number


def in_a_loop(self: Any, event: Any) -> None:
    for self.note in event.number:
        pass


@decorated
def by_a_decorator(self: Any, event: Event) -> None: ...


@pytest.mark.parametrize(
    "function",
    [
        by_a_function,
        by_an_object,
        by_a_table,
        by_setattr,
        by_its_dictionary,
        by_a_method_found_by_name,
        by_another_name,
        by_unpacking,
        by_adding,
        in_a_loop,
        by_a_decorator,
    ],
)
def test_a_field_that_code_may_set_in_any_way_counts_as_set(function: Any) -> None:
    class Setting(Quiet):
        note: str = ""

        on_opened = handle(Opened, start=True)(function)

    assert found(Setting) == []


def test_a_field_that_a_property_sets_is_set() -> None:
    class Setting(Quiet):
        note: str = ""

        @property
        def text(self) -> str:
            return self.note

        @text.setter
        def text(self, value: str) -> None:
            self.note = value

    assert found(Setting) == []


def test_a_field_whose_value_is_changed_inside_is_set() -> None:
    class Collecting(Quiet):
        notes: list[str] = []
        seen: dict[str, int] = {}

        @handle(Opened, start=True)
        def on_opened(self, event: Opened) -> None:
            self.notes.append(event.number)
            self.seen[event.number] = 1

    assert found(Collecting) == []


def test_a_field_that_only_an_upcaster_fills_is_set() -> None:
    class Newer(Quiet, version=2):
        note: str = ""

        @staticmethod
        @upcast(from_version=1)
        def _from_1(old: dict[str, Any]) -> dict[str, Any]:
            return old | {"note": "old"}

    assert found(Newer) == []


# key-never-learnt


class Learning(Quiet):
    number: Indexed[str] = ""

    @handle(Settled, correlate={"number": "number"})
    def on_settled(self, event: Settled) -> None: ...


def test_a_learnt_key_that_nothing_sets_is_found() -> None:
    domain = Domain("shop")
    domain.register(Opened, Settled, Closed, Learning)
    (finding,) = domain.check()
    assert (finding.code, finding.place) == ("key-never-learnt", "Learning.number")
    assert "learnt key of on_settled" in finding.message
    assert "no instance is ever found by it" in finding.message
    assert "`self.number`" in finding.mend


def test_a_learnt_key_that_a_step_sets_is_learnt() -> None:
    class Taught(Learning):
        @handle(Opened, start=True)
        def on_opened(self, event: Opened) -> None:
            self._learn(event.number)

        def _learn(self, number: str) -> None:
            self.number = number

    class Handed(Learning):
        @handle(Opened, start=True)
        def on_opened(self, event: Opened) -> None:
            SETTER.fill(self)

    class Inherited(Taught):
        @handle(Closed, end=True)
        def on_closed(self, event: Closed) -> None: ...

    assert found(Taught, Handed, Inherited) == []


def test_a_learnt_key_that_holds_many_is_learnt_by_adding_to_it() -> None:
    class Many(Quiet):
        numbers: Indexed[set[str]] = set()

        @handle(Settled, correlate={"numbers": "number"})
        def on_settled(self, event: Settled) -> None: ...

    class Adding(Many):
        @handle(Opened, start=True)
        def on_opened(self, event: Opened) -> None:
            self.numbers.add(event.number)

    assert found(Many, Adding) == [("key-never-learnt", "Many.numbers")]


def test_an_indexed_field_that_finds_nothing_is_a_field_like_others() -> None:
    class Unused(Quiet):
        number: Indexed[str] = ""

    assert found(Unused) == [("field-never-set", "Unused.number")]


# uncalled-end


class Ending(ProcessManager, correlate="order_id"):
    @handle(Opened, start=True)
    def on_opened(self, event: Opened) -> None: ...

    def _finish(self) -> None:
        self.mark_as_complete()


def test_an_end_in_a_method_that_nothing_calls_is_found() -> None:
    domain = Domain("shop")
    domain.register(Opened, Ending)
    (finding,) = domain.check()
    assert (finding.code, finding.place) == ("uncalled-end", "Ending._finish")
    assert "no handler calls" in finding.message
    assert "remove it" in finding.mend


def test_an_end_that_only_such_a_method_calls_is_found_where_it_is() -> None:
    class Twice(ProcessManager, correlate="order_id"):
        @handle(Opened, start=True, end=True)
        def on_opened(self, event: Opened) -> None: ...

        def _may_finish(self) -> None:
            self._finish()

        def _finish(self) -> None:
            self.mark_as_complete()

    assert found(Twice) == [("uncalled-end", "Twice._finish")]


def calls_it(self: Any, event: Event) -> None:
    self._finish()


def calls_it_in_a_loop(self: Any, event: Event) -> None:
    for _ in map(lambda one: self._finish(), "ab"):  # noqa: C417 - what is tested
        pass


def calls_it_by_name(self: Any, event: Event) -> None:
    getattr(self, "_fin" + "ish")()


def keeps_it(self: Any, event: Event) -> None:
    finish = self._finish
    finish()


def hands_itself_on(self: Any, event: Event) -> None:
    SETTERS["finish"](self)


@pytest.mark.parametrize(
    "function", [calls_it, calls_it_in_a_loop, calls_it_by_name, keeps_it, hands_itself_on]
)
def test_an_end_that_a_handler_may_call_is_left_alone(function: Any) -> None:
    class Called(ProcessManager, correlate="order_id"):
        on_opened = handle(Opened, start=True)(function)

        def _finish(self) -> None:
            self.mark_as_complete()

    assert found(Called) == []


def test_ends_that_timeouts_properties_and_parents_call_are_left_alone() -> None:
    class Late(ProcessManager, correlate="order_id"):
        @handle(Opened, start=True)
        def on_opened(self, event: Opened) -> None:
            self.set_timeout("late", timedelta(days=1))

        @timeout("late")
        def on_late(self) -> None:
            assert self.is_over

        @property
        def is_over(self) -> bool:
            self._finish()
            return True

        def _finish(self) -> None:
            self.mark_as_complete()

    class Child(Late):
        def _finish(self) -> None:
            self.mark_as_complete()

    assert found(Late, Child) == []


def test_what_a_parent_offers_its_children_need_not_be_called_by_each() -> None:
    class Child(Ending):
        @handle(Opened, start=True, end=True)
        def on_opened(self, event: Opened) -> None: ...

    assert found(Child) == []


def test_what_the_engine_calls_is_called() -> None:
    class Failing(Quiet):
        def on_error(self, error: Exception, context: Context) -> None:
            self._finish()

        @after(Closed)
        def tell(self, event: Closed) -> None: ...

        def _finish(self) -> None:
            self.mark_as_complete()

    assert found(Failing) == []
