"""The decorators: what they mark, what a subclass inherits, what they refuse."""

from __future__ import annotations

from typing import Any

import pytest

from procession import Aggregate, Command, DefinitionError, Event, ProcessManager, apply, handle
from procession.authoring.decorators import after, handlers_of, methods_of, rejected, timeout


class Placed(Event):
    order_id: str


class Paid(Event):
    order_id: str


class Pay(Command):
    order_id: str


class Base(ProcessManager):
    @handle(Placed, start=True)
    def on_placed(self, event: Placed) -> None: ...

    @handle(Paid, end=True, correlate="order_id")
    def on_paid(self, event: Paid) -> None: ...


def test_a_marked_method_is_still_the_plain_function() -> None:
    def on_paid(self: Any, event: Paid) -> str:
        return event.order_id

    assert handle(Paid)(on_paid) is on_paid
    assert on_paid(None, Paid("o1")) == "o1"


def test_a_mark_says_what_the_method_is_for() -> None:
    found = handlers_of(Base, ProcessManager, "handle")
    assert found.keys() == {Placed, Paid}
    placed, paid = found[Placed], found[Paid]
    assert (placed.name, placed.start, placed.end, placed.correlate) == (
        "on_placed",
        True,
        False,
        None,
    )
    assert (paid.name, paid.start, paid.end, paid.correlate) == (
        "on_paid",
        False,
        True,
        "order_id",
    )
    assert paid.subject is Paid
    assert paid.function is Base.__dict__["on_paid"]


def test_marks_of_other_roles_are_left_out() -> None:
    class Payment(Aggregate, identity="order_id"):
        @handle(Pay)
        def pay(self, command: Pay) -> Paid:
            return Paid(command.order_id)

        @apply(Paid)
        def _paid(self, event: Paid) -> None: ...

    assert handlers_of(Payment, Aggregate, "handle").keys() == {Pay}
    assert handlers_of(Payment, Aggregate, "apply").keys() == {Paid}


def test_one_method_may_be_for_several_messages() -> None:
    class Both(ProcessManager):
        @handle(Placed, start=True)
        @handle(Paid)
        def on_either(self, event: Event) -> None: ...

    found = handlers_of(Both, ProcessManager, "handle")
    assert {message: handler.name for message, handler in found.items()} == {
        Placed: "on_either",
        Paid: "on_either",
    }
    assert found[Placed].start
    assert not found[Paid].start


def test_a_subclass_inherits_marked_methods() -> None:
    class Child(Base):
        pass

    assert handlers_of(Child, ProcessManager, "handle").keys() == {Placed, Paid}


def test_a_subclass_that_marks_the_method_of_that_name_again_replaces_it() -> None:
    class Child(Base):
        @handle(Paid)
        def on_paid(self, event: Paid) -> None: ...

    found = handlers_of(Child, ProcessManager, "handle")
    assert found[Paid].function is Child.__dict__["on_paid"]
    assert not found[Paid].end


def test_methods_of_our_own_base_are_not_the_users() -> None:
    assert methods_of(Base, ProcessManager).keys() == {"on_placed", "on_paid"}


def test_two_methods_for_one_message_are_refused_with_both_names() -> None:
    class Two(Base):
        @handle(Paid)
        def on_paid_too(self, event: Paid) -> None: ...

    with pytest.raises(
        DefinitionError, match=r"Two: on_paid and on_paid_too are both @handle\(Paid\); put what"
    ):
        handlers_of(Two, ProcessManager, "handle")


@pytest.mark.parametrize("decorate", [handle, apply, rejected, after])
@pytest.mark.parametrize(
    "wrong", [int, "Placed", None, Placed("o1"), Event, Command, list[Placed], Placed | Paid]
)
def test_what_is_no_message_class_is_refused_with_an_example(decorate: Any, wrong: Any) -> None:
    with pytest.raises(
        DefinitionError,
        match=rf"@{decorate.__name__} takes a class derived from .*write for example `@",
    ):
        decorate(wrong)


@pytest.mark.parametrize(("decorate", "wrong"), [(apply, Pay), (after, Pay), (rejected, Paid)])
def test_a_message_of_the_other_kind_is_refused(decorate: Any, wrong: Any) -> None:
    with pytest.raises(DefinitionError, match=rf"@{decorate.__name__} takes a class derived from"):
        decorate(wrong)


@pytest.mark.parametrize("wrong", ["yes", 2, None])
def test_a_start_that_means_nothing_is_refused(wrong: Any) -> None:
    with pytest.raises(DefinitionError, match=r"@handle: start=.*; give True, False or"):
        handle(Placed, start=wrong)


@pytest.mark.parametrize("wrong", ["", "x" * 81, "a\0b", None, 5, Placed])
def test_a_timeout_without_a_proper_name_is_refused_with_an_example(wrong: Any) -> None:
    with pytest.raises(DefinitionError, match=r'@timeout takes the name .*`@timeout\("payment"\)`'):
        timeout(wrong)


def test_two_methods_for_one_timeout_are_refused_with_both_names() -> None:
    class Two(Base):
        @timeout("payment")
        def on_late(self) -> None: ...

        @timeout("payment")
        def on_too_late(self) -> None: ...

    with pytest.raises(
        DefinitionError, match=r"Two: on_late and on_too_late are both @timeout\('payment'\)"
    ):
        handlers_of(Two, ProcessManager, "timeout")
