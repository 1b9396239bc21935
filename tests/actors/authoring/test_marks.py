"""Marks that lead to no method, and the decorators that stand above and below them."""

from __future__ import annotations

import functools
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import pytest

from procession import (
    Aggregate,
    Command,
    DefinitionError,
    Domain,
    Event,
    ProcessManager,
    Rejected,
    Runtime,
    after,
    apply,
    handle,
    rejected,
    timeout,
    upcast,
)
from procession.authoring.marks import attributes_of, called, marks_on
from procession.testing import VirtualClock

if TYPE_CHECKING:
    from collections.abc import Callable


class Placed(Event):
    order_id: str


class Paid(Event):
    order_id: str


class Pay(Command):
    order_id: str


class Refuse(Command):
    order_id: str


CALLS: list[str] = []

Mark: TypeAlias = "Callable[[Any], Callable[..., Any]]"


def traced(function: Any) -> Any:
    """A decorator as it should be."""

    @functools.wraps(function)
    def wrapper(*arguments: Any) -> Any:
        CALLS.append(function.__name__)
        return function(*arguments)

    return wrapper


def bare(function: Any) -> Any:
    """A decorator that forgets what it decorates."""

    def wrapper(*arguments: Any) -> Any:
        return function(*arguments)

    return wrapper


def every_mark() -> list[Any]:
    return [
        pytest.param(mark, id=name)
        for name, mark in (
            ("handle", handle(Paid)),
            ("apply", apply(Paid)),
            ("timeout", timeout("late")),
            ("rejected", rejected(Pay)),
            ("after", after(Paid)),
            ("upcast", upcast(from_version=1)),
        )
    ]


# What a decorator above the mark does


def test_a_wrapper_above_a_mark_is_what_is_called() -> None:
    shop = Domain("shop")

    @shop.register
    class Payment(Aggregate, identity="order_id"):
        paid: int = 0

        @traced
        @handle(Pay)
        def pay(self, command: Pay) -> Paid:
            return Paid(self.id)

        @traced
        @handle(Refuse)
        def refuse(self, command: Refuse) -> None:
            raise Rejected("no")

        @traced
        @apply(Paid)
        def _paid(self, event: Paid) -> None:
            self.paid += 1

    @shop.register
    class Fulfilment(ProcessManager, correlate="order_id"):
        @traced
        @handle(Placed, start=True)
        def on_placed(self, event: Placed) -> None:
            self.issue(Pay(event.order_id), Refuse(event.order_id))
            self.set_timeout("late", timedelta(minutes=1))

        @traced
        @rejected(Refuse)
        def on_refused(self, command: Refuse, reason: str) -> None: ...

        @traced
        @timeout("late")
        def on_late(self) -> None: ...

        @traced
        @after(Placed)
        def tell(self, event: Placed) -> None: ...

    CALLS.clear()
    clock = VirtualClock()
    with Runtime.ephemeral(shop, clock=clock) as runtime:
        runtime.publish(Placed("o1"), stream="web-1")
        runtime.settle(timeout=10)
        clock.advance(timedelta(minutes=1))
        runtime.settle(timeout=10)
        handlers = [one.handler for one in runtime.history(Fulfilment, "o1")]
    assert handlers == ["on_placed", "on_refused", "on_late"]
    expected = {"pay", "refuse", "_paid", "on_placed", "on_refused", "on_late", "tell"}
    assert set(CALLS) == expected


def test_a_wrapper_may_add_arguments_to_those_of_the_handler() -> None:
    def with_limit(function: Any) -> Any:
        @functools.wraps(function)
        def wrapper(self: Any, event: Any) -> Any:
            return function(self, event, 7)

        return wrapper

    class Fulfilment(ProcessManager, correlate="order_id"):
        limit: int = 0

        @with_limit
        @handle(Placed, start=True)
        def on_placed(self, event: Placed, limit: int) -> None:
            self.limit = limit

    shop = Domain("shop")
    shop.register(Fulfilment)
    with Runtime.ephemeral(shop) as runtime:
        runtime.publish(Placed("o1"), stream="web-1")
        runtime.settle(timeout=10)
        found = runtime.get(Fulfilment, "o1")
        assert found is not None
        assert found.state["limit"] == 7


def test_a_wrapper_that_cannot_be_called_as_a_handler_is_refused() -> None:
    def short(function: Any) -> Any:
        @functools.wraps(function)
        def wrapper(self: Any) -> Any:
            return function(self, None)

        return wrapper

    class Fulfilment(ProcessManager, correlate="order_id"):
        @short
        @handle(Placed, start=True)
        def on_placed(self, event: Placed) -> None: ...

    with pytest.raises(DefinitionError, match=r"on_placed\(self.*\) is called as on_placed"):
        Domain("shop").register(Fulfilment)


def test_what_a_wrapped_method_names_is_seen_as_before() -> None:
    shop = Domain("shop")

    class Payment(Aggregate, identity="order_id"):
        @traced
        @handle(Pay)
        def pay(self, command: Pay) -> Any:
            return Paid(self.id)

    shop.register(Payment)
    assert shop.aggregates[Payment].events == {Paid}


def test_a_mark_of_the_outer_function_is_not_that_of_the_inner() -> None:
    @handle(Placed)
    def inner(self: Any, event: Any) -> None: ...

    outer = handle(Paid)(traced(inner))
    assert [called(one) for one in marks_on(inner)] == ["@handle(Placed)"]
    assert [called(one) for one in marks_on(outer)] == ["@handle(Placed)", "@handle(Paid)"]
    assert {one.function for one in marks_on(outer)} == {outer}


@pytest.mark.parametrize("mark", every_mark())
@pytest.mark.parametrize("base", [ProcessManager, Aggregate])
def test_a_decorator_that_loses_a_mark_is_refused_when_the_class_is_made(
    mark: Mark, base: type
) -> None:
    with pytest.raises(
        DefinitionError,
        match=r"Lost\.method: what stands above @\w+\(.*\) lost the mark.* functools\.wraps",
    ):

        class Lost(base):  # type: ignore[misc]
            @bare
            @mark
            def method(self) -> None: ...


def test_a_mark_above_a_decorator_that_forgets_is_kept() -> None:
    class Kept(ProcessManager, correlate="order_id"):
        @handle(Placed, start=True)
        @bare
        def on_placed(self, event: Placed) -> None: ...

    shop = Domain("shop")
    shop.register(Kept)
    assert shop.processes[Kept].handlers[Placed].name == "on_placed"


def test_a_mark_that_a_decorator_of_the_service_makes_is_found_when_it_is_lost() -> None:
    def on(event: type[Event]) -> Callable[[Any], Any]:
        def decorate(function: Any) -> Any:
            return bare(handle(event)(function))

        return decorate

    with pytest.raises(DefinitionError, match=r"Lost\.on_placed: what stands above"):

        class Lost(ProcessManager):
            @on(Placed)
            def on_placed(self, event: Placed) -> None: ...


def test_a_mark_that_a_mixin_lost_is_refused_in_the_class_that_takes_it() -> None:
    class Mixin:
        @bare
        @handle(Placed)
        def on_placed(self, event: Placed) -> None: ...

    with pytest.raises(DefinitionError, match=r"Mixin\.on_placed: what stands above"):

        class Mixed(Mixin, ProcessManager): ...


def test_a_marked_method_that_is_taken_out_of_its_class_is_refused() -> None:
    with pytest.raises(DefinitionError, match=r"Gone\.on_placed: .* not in the class"):

        class Gone(ProcessManager):
            @handle(Placed)
            def on_placed(self, event: Placed) -> None: ...

            del on_placed


# Two of one name


@pytest.mark.parametrize("mark", every_mark())
def test_two_marked_methods_of_one_name_are_refused_with_the_mark_of_the_first(mark: Mark) -> None:
    with pytest.raises(
        DefinitionError, match=r"Two has two methods called method: .* first, which is @\w+\("
    ):

        class Two(ProcessManager):
            @mark
            def method(self) -> None: ...

            @handle(Placed)  # type: ignore[no-redef]
            def method(self, event: Placed) -> None: ...  # noqa: F811 - the fault


def test_a_second_method_without_a_mark_hides_the_first_no_less() -> None:
    with pytest.raises(DefinitionError, match=r"Two has two methods called on_placed"):

        class Two(ProcessManager):
            @handle(Placed)
            def on_placed(self, event: Placed) -> None: ...

            @traced  # type: ignore[no-redef]
            def on_placed(self, event: Placed) -> None: ...  # noqa: F811


def test_a_loop_that_marks_one_name_again_and_again_is_refused() -> None:
    with pytest.raises(DefinitionError, match=r"Looped has two methods called on_any"):

        class Looped(ProcessManager):
            for event in (Placed, Paid):

                @handle(event)
                def on_any(self, event: Event) -> None: ...


# What is no method


class Dispatched:
    """Something that can be called, and is no function."""

    def __call__(self, *arguments: Any) -> None: ...


KINDS: list[Any] = [
    pytest.param(staticmethod, "@staticmethod", id="staticmethod"),
    pytest.param(classmethod, "@classmethod", id="classmethod"),
    pytest.param(property, "@property", id="property"),
    pytest.param(functools.cached_property, "@cached_property", id="cached_property"),
    pytest.param(functools.lru_cache, "a cache such as @lru_cache", id="lru_cache"),
    pytest.param(functools.cache, "a cache such as @lru_cache", id="cache"),
    pytest.param(functools.partial, "a partial", id="partial"),
    pytest.param(functools.partialmethod, "a partialmethod", id="partialmethod"),
    pytest.param(functools.singledispatchmethod, "a singledispatchmethod", id="dispatch"),
]


@pytest.mark.parametrize("mark", [one for one in every_mark() if one.id != "upcast"])
@pytest.mark.parametrize(("kind", "told"), KINDS)
def test_a_mark_above_what_is_no_method_is_refused(mark: Mark, kind: Mark, told: str) -> None:
    with pytest.raises(DefinitionError, match=r"Odd\.method: @\w+\(.*\) stands above") as caught:

        class Odd(ProcessManager):
            @mark
            @kind
            def method(self, event: Event) -> None: ...

    assert told in str(caught.value)
    assert "write a plain method" in str(caught.value)


@pytest.mark.parametrize("mark", [one for one in every_mark() if one.id != "upcast"])
@pytest.mark.parametrize(("kind", "told"), KINDS)
def test_a_mark_below_what_is_no_method_is_refused(mark: Mark, kind: Mark, told: str) -> None:
    with pytest.raises(DefinitionError, match=r"Odd\.method: .* stands above @\w+\(") as caught:

        class Odd(ProcessManager):
            @kind
            @mark
            def method(self, event: Event) -> None: ...

    assert told in str(caught.value)
    assert "write a plain method" in str(caught.value)


def test_an_object_that_can_be_called_is_no_method() -> None:
    with pytest.raises(DefinitionError, match=r"@handle\(Placed\) stands above <.*Dispatched"):
        handle(Placed)(Dispatched())


def test_an_upcaster_of_a_state_is_a_static_method_either_way() -> None:
    class Kept(ProcessManager, correlate="order_id", version=3):
        @handle(Placed, start=True)
        def on_placed(self, event: Placed) -> None: ...

        @staticmethod
        @upcast(from_version=1)
        def from_first(old: dict[str, Any]) -> dict[str, Any]:
            return old

        @upcast(from_version=2)
        @staticmethod
        def from_second(old: dict[str, Any]) -> dict[str, Any]:
            return old

    Domain("shop").register(Kept)


# What is no fault


CELL = """
class Again(ProcessManager, correlate="order_id"):
    @handle(Placed, start=True)
    def on_placed(self, event: Placed) -> None: ...
    {line}
    @handle(Paid)
    def on_paid(self, event: Paid) -> None: ...
"""


def test_a_cell_of_a_notebook_may_be_run_again_also_after_it_failed_halfway() -> None:
    names: dict[str, Any] = dict(globals())
    with pytest.raises(NameError):
        exec(CELL.format(line="missing"), names)
    for _ in range(2):
        exec(CELL.format(line=""), names)
        shop = Domain("shop")
        shop.register(names["Again"])
        assert shop.processes[names["Again"]].handlers.keys() == {Placed, Paid}


def test_a_function_that_makes_classes_makes_as_many_as_it_likes() -> None:
    def make(name: str) -> type[ProcessManager]:
        class Made(ProcessManager, correlate="order_id", name=f"shop.{name}"):
            @handle(Placed, start=True)
            def on_placed(self, event: Placed) -> None: ...

        return Made

    shop = Domain("shop")
    shop.register(*(make(f"Made{one}") for one in range(3)))
    assert len(shop.processes) == 3


def test_a_method_of_a_class_in_a_class_is_its_own() -> None:
    class Outer(ProcessManager, correlate="order_id"):
        @handle(Placed, start=True)
        def on_placed(self, event: Placed) -> None: ...

        class Inner(ProcessManager, correlate="order_id"):
            @handle(Placed, start=True)
            def on_placed(self, event: Placed) -> None: ...

    Domain("shop").register(Outer, Outer.Inner)


def test_a_marked_function_from_elsewhere_is_called_by_the_name_it_has_in_the_class() -> None:
    def anything(self: Any, event: Any) -> None: ...

    made = type("Made", (ProcessManager,), {"on_placed": handle(Placed, start=True)(anything)})
    (found,) = marks_on(attributes_of(made, ProcessManager)["on_placed"])
    assert found.function is anything
    shop = Domain("shop")
    shop.register(type("Keyed", (made,), {}, correlate="order_id"))
    assert [one.handlers[Placed].name for one in shop.processes.values()] == ["on_placed"]


def test_a_partialmethod_beside_the_method_that_it_calls_is_no_fault() -> None:
    class Kept(ProcessManager, correlate="order_id"):
        @handle(Placed, start=True)
        def on_placed(self, event: Placed, *, often: int = 1) -> None: ...

        _on_placed_twice: ClassVar[Any] = functools.partialmethod(on_placed, often=2)

    class Child(Kept):
        _on_placed_thrice: ClassVar[Any] = functools.partialmethod(Kept.on_placed, often=3)

    shop = Domain("shop")
    shop.register(Child)
    assert shop.processes[Child].handlers[Placed].name == "on_placed"
