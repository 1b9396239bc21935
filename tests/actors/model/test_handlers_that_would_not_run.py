"""Handlers that would never be called are refused where they are registered, or made to run."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import pytest

from procession import (
    Aggregate,
    Command,
    DefinitionError,
    Domain,
    Event,
    ProcessManager,
    Runtime,
    after,
    apply,
    handle,
    rejected,
    timeout,
    upcast,
)
from procession.model.registry import Registry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator


class Placed(Event):
    order_id: str


class Paid(Event):
    order_id: str


class Failed(Event):
    order_id: str


class Pay(Command):
    order_id: str


class Payment(Aggregate, identity="order_id"):
    status: str = "new"

    @handle(Pay)
    def pay(self, command: Pay) -> Any:
        return Paid(self.id)

    @apply(Paid)
    def _paid(self, event: Paid) -> None:
        self.status = "paid"


class Fulfilment(ProcessManager, correlate="order_id"):
    seen: list[str] = []

    @handle(Placed, start=True)
    def on_placed(self, event: Placed) -> None:
        self.seen.append("placed")
        self.issue(Pay(event.order_id))

    @handle(Paid)
    def on_paid(self, event: Paid) -> None:
        self.seen.append("paid")

    @timeout("late")
    def on_late(self) -> None: ...

    @rejected(Pay)
    def on_refused(self, command: Pay, reason: str) -> None: ...

    @after(Paid)
    def tell(self, event: Paid) -> None: ...


def refused(cls: type, *parts: str) -> None:
    """See that a class is refused with these parts in the message, and nothing is registered."""
    domain = Domain("shop")
    with pytest.raises(DefinitionError) as caught:
        domain.register(cls)
    for part in parts:
        assert part in str(caught.value)
    assert not domain.processes
    assert not domain.aggregates


# Overriding


@pytest.mark.parametrize(
    ("name", "mark"),
    [
        ("on_paid", "@handle(Paid)"),
        ("on_late", "@timeout('late')"),
        ("on_refused", "@rejected(Pay)"),
        ("tell", "@after(Paid)"),
    ],
)
@pytest.mark.parametrize(
    "instead",
    [lambda self, *rest: None, None, staticmethod(len), functools.partialmethod(len)],
    ids=["method", "nothing", "staticmethod", "partialmethod"],
)
def test_a_method_that_takes_the_place_of_a_marked_one_must_be_marked_itself(
    name: str, mark: str, instead: Any
) -> None:
    child = type("Child", (Fulfilment,), {name: instead})
    refused(child, f"Child.{name} takes the place of Fulfilment.{name}", f"write `{mark}` above it")


@pytest.mark.parametrize(("name", "mark"), [("pay", "@handle(Pay)"), ("_paid", "@apply(Paid)")])
def test_a_method_of_an_aggregate_that_takes_the_place_of_a_marked_one_must_be_too(
    name: str, mark: str
) -> None:
    child = type("Child", (Payment,), {name: lambda self, message: None})
    refused(child, f"Child.{name} takes the place of Payment.{name}", f"write `{mark}` above it")


def test_a_mixin_before_the_class_takes_the_place_of_a_marked_method_as_well() -> None:
    mixin = type("Mixin", (), {"on_paid": lambda self, event: None})
    refused(type("Child", (mixin, Fulfilment), {}), "Child.on_paid takes the place of")


def test_a_mixin_behind_the_class_takes_no_place() -> None:
    mixin = type("Mixin", (), {"on_paid": lambda self, event: None})
    Domain("shop").register(type("Child", (Fulfilment, mixin), {}))


def test_a_class_in_between_may_leave_the_mark_to_the_classes_below() -> None:
    class Between(Fulfilment):
        def on_paid(self, event: Paid) -> None:
            super().on_paid(event)

    class Child(Between):
        @handle(Paid)
        def on_paid(self, event: Paid) -> None:
            super().on_paid(event)
            self.seen.append("twice")

    shop = Domain("shop")
    shop.register(Payment, Child)
    with Runtime.ephemeral(shop) as runtime:
        runtime.publish(Placed("o1"), stream="web-1")
        runtime.settle(timeout=10)
        found = runtime.get(Child, "o1")
        assert found is not None
        assert found.state["seen"] == ["placed", "paid", "twice"]


def test_a_wrapper_around_the_parents_method_keeps_its_mark() -> None:
    class Child(Fulfilment):
        @functools.wraps(Fulfilment.on_paid)
        def on_paid(self, event: Paid) -> None: ...  # type: ignore[override]

    shop = Domain("shop")
    shop.register(Child)
    assert shop.processes[Child].handlers[Paid].function is Child.on_paid


def test_a_method_may_be_replaced_where_another_is_marked_for_the_same() -> None:
    class Child(Fulfilment):
        def on_paid(self, event: Paid) -> None: ...

        @handle(Paid)
        def on_payment(self, event: Paid) -> None: ...

    shop = Domain("shop")
    shop.register(Child)
    assert shop.processes[Child].handlers[Paid].name == "on_payment"


# Marks that a class of the other kind takes


@pytest.mark.parametrize("mark", [timeout("late"), rejected(Pay), after(Paid)])
def test_a_mark_for_process_managers_is_refused_in_an_aggregate(mark: Any) -> None:
    def method(self: Any, *rest: Any) -> None: ...

    child = type("Child", (Payment,), {"method": mark(method)})
    refused(child, "Child.method: @", "belongs to process managers")


# Base classes


class OrderEvent(Event):
    order_id: str


class Shipped(OrderEvent):
    carrier: str = ""


class Elsewhere(Event):
    order_id: str


@pytest.mark.parametrize("decorate", [handle, after])
def test_a_handler_for_the_base_of_other_events_is_refused(
    decorate: Callable[[type[Event]], Callable[[Any], Callable[..., Any]]],
) -> None:
    class Nosy(ProcessManager, stateless=True):
        @decorate(OrderEvent)
        def on_any(self, event: OrderEvent) -> None: ...

    refused(
        Nosy, f"Nosy.on_any: @{decorate.__name__}(OrderEvent)", f"`@{decorate.__name__}(Shipped)`"
    )


def test_a_base_that_is_handled_with_all_that_is_derived_from_it_is_no_fault() -> None:
    class Nosy(ProcessManager, stateless=True):
        @handle(Shipped)
        @handle(OrderEvent)
        def on_any(self, event: OrderEvent) -> None: ...

    Domain("shop").register(Nosy)


def test_an_event_whose_base_is_handled_is_refused_at_the_latest_when_it_is_published() -> None:
    class Derived(Elsewhere): ...

    class Nosy(ProcessManager, stateless=True):
        @handle(Elsewhere)
        def on_any(self, event: Elsewhere) -> None: ...

    shop = Domain("shop")
    shop.register(Nosy)
    with Runtime.ephemeral(shop) as runtime:
        with pytest.raises(DefinitionError, match=r"not be called for Derived"):
            runtime.publish(Derived("o1"), stream="web-1")
        assert list(runtime.events()) == []
    shop.register(Derived)
    with pytest.raises(DefinitionError, match=r"Nosy\.on_any: @handle\(Elsewhere\) is for"):
        Registry([shop])


def test_a_later_version_may_be_derived_from_the_one_before() -> None:
    class Older(Event, name="shop.Moved.v1"):
        order_id: str

    class Newer(Older, name="shop.Moved.v2"):
        place: str = ""

    class Keeper(ProcessManager, stateless=True):
        @handle(Older)
        def on_moved(self, event: Older) -> None: ...

    shop = Domain("shop")
    shop.register(Keeper, Newer)
    Registry([shop])


def test_an_applier_for_the_base_of_what_the_aggregate_makes_is_refused() -> None:
    class Shipment(Aggregate, identity="order_id"):
        @handle(Pay)
        def ship(self, command: Pay) -> Shipped:
            return Shipped(self.id)

        @apply(OrderEvent)
        def _any(self, event: OrderEvent) -> None: ...

    refused(Shipment, "Shipment._any: @apply(OrderEvent)", "`@apply(Shipped)`")


def test_a_refusal_of_a_derived_command_is_not_that_of_its_base() -> None:
    class PayFast(Pay): ...

    class Hasty(ProcessManager, correlate="order_id"):
        @handle(Placed, start=True)
        def on_placed(self, event: Placed) -> None:
            self.issue(PayFast(event.order_id))

        @rejected(Pay)
        def on_refused(self, command: Pay, reason: str) -> None: ...

    refused(Hasty, "Hasty.on_refused: @rejected(Pay)", "`@rejected(PayFast)`")


# Yielding and returning, and waiting


def test_an_event_that_a_handler_returns_after_it_yielded_is_made_last() -> None:
    class Both(Aggregate, identity="order_id"):
        seen: list[str] = []

        @handle(Pay)
        def pay(self, command: Pay) -> Any:
            if self.seen:
                return [Failed(self.id), Placed(self.id)]
            yield Placed(self.id)
            return Paid(self.id)

        @apply(Placed)
        @apply(Paid)
        @apply(Failed)
        def _seen(self, event: Event) -> None:
            self.seen.append(type(event).__name__)

    shop = Domain("shop")
    shop.register(Both)
    with Runtime.ephemeral(shop) as runtime:
        assert runtime.ask(Pay("o1"), timeout=10) == [Placed("o1"), Paid("o1")]
        assert runtime.ask(Pay("o1"), timeout=10) == [Failed("o1"), Placed("o1")]
        found = runtime.get(Both, "o1")
        assert found is not None
        assert found.state["seen"] == ["Placed", "Paid", "Failed", "Placed"]


def test_what_a_handler_returns_after_it_yielded_must_be_events() -> None:
    class Both(Aggregate, identity="order_id"):
        @handle(Pay)
        def pay(self, command: Pay) -> Any:
            yield Placed(self.id)
            return 5

    shop = Domain("shop")
    shop.register(Both)
    with Runtime.ephemeral(shop) as runtime:
        with pytest.raises(ValueError, match="returned 5; return or yield events"):
            runtime.ask(Pay("o1"), timeout=10)
        assert list(runtime.events()) == []


def test_an_applier_that_yields_is_refused() -> None:
    class Lazy(Payment):
        @apply(Paid)
        def _paid(self, event: Paid) -> Iterator[None]:  # type: ignore[override]
            yield

    refused(Lazy, "Lazy._paid has a `yield`")


async def waits(self: Any, *rest: Any) -> None: ...


async def waits_and_yields(self: Any, *rest: Any) -> AsyncIterator[None]:
    yield


@pytest.mark.parametrize("function", [waits, waits_and_yields])
@pytest.mark.parametrize(
    ("parent", "name", "mark"),
    [
        (Fulfilment, "on_paid", handle(Paid)),
        (Fulfilment, "on_late", timeout("late")),
        (Fulfilment, "on_refused", rejected(Pay)),
        (Fulfilment, "on_error", lambda function: function),
        (Payment, "pay", handle(Pay)),
        (Payment, "_paid", apply(Paid)),
    ],
)
def test_a_method_that_waits_is_refused_wherever_none_can_run(
    function: Any, parent: type, name: str, mark: Any
) -> None:
    @functools.wraps(function)
    def copy(*arguments: Any) -> Any:
        return function(*arguments)

    refused(type("Later", (parent,), {name: mark(copy)}), f"Later.{name} is `async def`")


@pytest.mark.parametrize("function", [waits, waits_and_yields])
def test_a_correlation_or_an_upcaster_that_waits_is_refused(function: Any) -> None:
    class Later(ProcessManager, correlate=function):
        @handle(Placed, start=True)
        def on_placed(self, event: Placed) -> None: ...

    refused(Later, "Later.on_placed: correlate=", "is `async def`")

    @functools.wraps(function)
    def old(payload: Any) -> Any:
        return function(payload)

    with pytest.raises(DefinitionError, match="is `async def`, and nothing would await it"):
        Domain("shop").register(upcast("Placed", from_version=1)(old))


def test_an_on_error_that_yields_is_refused() -> None:
    class Lazy(Fulfilment):
        def on_error(self, error: Exception, context: Any) -> Any:
            yield

    refused(Lazy, "Lazy.on_error has a `yield`")


# Too late


def test_what_is_registered_while_a_runtime_runs_the_domain_is_refused() -> None:
    class Other(Payment, category="other"): ...

    shop = Domain("shop")
    shop.register(Fulfilment, Payment)

    @upcast("Placed", from_version=1)
    def old(payload: Any) -> Any:
        return payload

    with Runtime.ephemeral(shop) as runtime:
        for late in (type("Late", (Fulfilment,), {}), Other, Failed, old):
            with pytest.raises(
                DefinitionError, match=r" is registered in shop while a runtime runs .* or close"
            ):
                shop.register(late)
        with pytest.raises(DefinitionError, match=r"Failed is registered in shop while"):
            shop.register_external_event(Failed, "Billing.Failed.v1")
        shop.register(Fulfilment, Payment)
        assert runtime.stats()["parked"] == 0
    assert (list(shop.processes), list(shop.aggregates)) == ([Fulfilment], [Payment])
    assert (shop.messages, shop.externals, shop.upcasters) == (set(), {}, {})
    shop.register(type("Late", (Fulfilment,), {}))
    assert len(shop.processes) == 2


def test_a_runtime_that_was_refused_or_only_reads_holds_up_no_registration(tmp_path: Any) -> None:
    shop = Domain("shop")
    shop.register(Fulfilment)
    with pytest.raises(DefinitionError, match="issues Pay"):
        Runtime(tmp_path, shop)
    shop.register(Payment)
    Runtime(tmp_path, shop).close()
    with Runtime(tmp_path, shop, read_only=True):
        shop.register(Failed)
    assert shop.messages == {Failed}


# Categories


@pytest.mark.parametrize("category", ["", "a\0b", "x" * 600, "\ud800"])
def test_a_category_that_no_stream_can_have_is_refused(category: str) -> None:
    class Deaf(Fulfilment, streams=[category]): ...

    refused(Deaf, "Deaf: streams has ", "which no event can have")


@pytest.mark.parametrize("category", ["payment", "Payment", "Shop::payment", "shop::Payment"])
def test_a_category_that_is_nearly_that_of_an_aggregate_is_refused(category: str) -> None:
    class Deaf(Fulfilment, streams=[category]): ...

    shop = Domain("shop")
    shop.register(Payment, Deaf)
    with pytest.raises(
        DefinitionError, match=r"Deaf: streams has .*'shop::payment'.* `streams=\[Payment\]`"
    ):
        Registry([shop])


class Stock(Aggregate, identity="order_id"):
    @handle(type("Take", (Command,), {"__annotations__": {"order_id": "str"}}))
    def take(self, command: Any) -> Placed:
        return Placed(self.id)


def test_check_finds_a_category_that_no_handled_event_can_have() -> None:
    class Paying(ProcessManager, correlate="order_id", streams=["shop::paymnt", Stock]):
        @handle(Paid, start=True, end=True)
        def on_paid(self, event: Paid) -> None: ...

    shop = Domain("shop")
    shop.register(Payment, Stock, Paying)
    found = [one for one in shop.check() if one.code.startswith("unheard")]
    assert [(one.code, one.place) for one in found] == [
        ("unheard-category", "Paying"),
        ("unheard-category", "Paying"),
        ("unheard-event", "Paying.on_paid"),
    ]
    assert "'shop::paymnt'" in found[0].message
    assert "Stock makes none of them" in found[1].message
    assert "add Payment to streams" in found[2].mend
    # What a service publishes may be in any stream but an aggregate's.
    shop.register(Paid)
    (left,) = (one for one in shop.check() if one.code.startswith("unheard"))
    assert "'shop::stock'" in left.message


def test_check_finds_nothing_in_categories_that_events_can_have() -> None:
    class Paying(ProcessManager, correlate="order_id", streams=[Payment, "other::payment", "feed"]):
        @handle(Paid, start=True, end=True)
        def on_paid(self, event: Paid) -> None: ...

        @handle(Failed)
        def on_failed(self, event: Failed) -> None: ...

    shop = Domain("shop")
    shop.register(Payment, Paying, Failed)
    assert [str(one) for one in shop.check()] == []


def test_why_and_a_counter_tell_of_events_that_streams_leave_out() -> None:
    class Deaf(Fulfilment, streams=["feeed"]): ...

    shop = Domain("shop")
    shop.register(Payment, Deaf)
    with Runtime.ephemeral(shop) as runtime:
        runtime.publish(Placed("o1"), stream="feed-1", event_id="e1")
        runtime.publish(Failed("o1"), stream="feed-1", event_id="e2")
        runtime.settle(timeout=10)
        (row,) = runtime.why("e1")
        assert (row.process, row.instance, row.outcome) == ("shop.Deaf", None, "not for us")
        assert row.detail == "its category 'feed' is not in streams: 'feeed'"
        assert runtime.why("e2") == []
        assert runtime.stats()["not_in_streams"] == 1


def test_why_tells_of_a_category_that_no_event_can_have_though_others_listen() -> None:
    class Deaf(ProcessManager, correlate="order_id", streams=["shop::paymnt"]):
        @handle(Paid, start=True)
        def on_paid(self, event: Paid) -> None: ...

    class Elsewhere(ProcessManager, correlate="order_id", streams=[Payment]):
        @handle(Placed, start=True)
        def on_placed(self, event: Placed) -> None: ...

    shop = Domain("shop")
    shop.register(Payment, Fulfilment, Deaf, Elsewhere)
    with Runtime.ephemeral(shop) as runtime:
        runtime.publish(Placed("o1"), stream="web-1", event_id="e1")
        runtime.settle(timeout=10)
        paid = next(one for one in runtime.events() if isinstance(one.event, Paid))
        assert [(row.process, row.outcome) for row in runtime.why(paid.event_id)] == [
            ("shop.Fulfilment", "stepped"),
            ("shop.Deaf", "not for us"),
        ]
