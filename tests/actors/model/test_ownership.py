"""Which domain a message belongs to: declarations say so, and what code mentions never does."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from procession import (
    Aggregate,
    Command,
    DefinitionError,
    Domain,
    Event,
    ProcessManager,
    Runtime,
    UnknownMessage,
    apply,
    handle,
)
from procession.model.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Pay(Command):
    order_id: str


class Bill(Command):
    order_id: str


class Paid(Event):
    order_id: str


class Pinned(Event, name="Legacy.Pinned.v2"):
    order_id: str


EVENTS: dict[str, type[Event]] = {"paid": Paid, "pinned": Pinned}


# Every pair of domains

Pair: TypeAlias = tuple[bool, bool]


def aggregate(
    command: type[Command[Event]], made: str, *, is_named: bool, is_applied: bool
) -> type:
    """An aggregate that makes an event by its name in code, or by looking it up."""
    event = EVENTS[made]

    class Naming(Aggregate, identity="order_id"):
        @handle(command)
        def carry_out(self, command: Any) -> Any:
            return event(self.id)

    class LookingUp(Aggregate, identity="order_id"):
        @handle(command)
        def carry_out(self, command: Any) -> Any:
            return EVENTS[made](self.id)

    base: type[Aggregate] = Naming if is_named else LookingUp
    if not is_applied:
        return base

    class Applying(base):  # type: ignore[misc, valid-type]
        @apply(event)
        def _applied(self, event: Any) -> None: ...

    return Applying


class Listening(ProcessManager, correlate="order_id"):
    @handle(Paid, start=True)
    def on_paid(self, event: Paid) -> None: ...


class AlsoListening(ProcessManager, correlate="order_id"):
    @handle(Paid, start=True)
    def on_paid(self, event: Paid) -> None: ...


def names_of(
    made: str,
    named: Pair,
    applied: Pair,
    registered: Pair,
    external: Pair,
    listening: Pair,
    *,
    reversed_: bool = False,
) -> dict[str, str] | None:
    """The wire names in a runtime of two domains; None where it cannot be opened."""
    domains = [Domain("a"), Domain("b")]
    listeners = (Listening, AlsoListening)
    for place, (domain, command) in enumerate(zip(domains, (Pay, Bill), strict=True)):
        domain.register(aggregate(command, made, is_named=named[place], is_applied=applied[place]))
        if registered[place]:
            domain.register(EVENTS[made])
        if external[place]:
            domain.register_external_event(EVENTS[made], "Elsewhere.Event.v1")
        if listening[place]:
            domain.register(
                listeners[place], *(one for one in EVENTS.values() if one is not EVENTS[made])
            )
    try:
        registry = Registry(domains[::-1] if reversed_ else domains)
    except DefinitionError:
        return None
    try:
        name = registry.name_of(EVENTS[made])
    except UnknownMessage:
        name = ""
    return {made: name, "pay": registry.name_of(Pay), "bill": registry.name_of(Bill)}


BOTH: tuple[Pair, ...] = ((False, False), (False, True), (True, False), (True, True))
"""What may be so in the one domain, in the other, in both or in none."""


def declarations() -> Iterator[tuple[Any, ...]]:
    return product(EVENTS, BOTH, BOTH, BOTH, BOTH)


def test_changing_the_code_of_handlers_changes_no_wire_name() -> None:
    opened = 0
    for made, *declared in declarations():
        found = [names_of(made, named, *declared) for named in BOTH]
        # Opening gives the same names or an error; a name that is not known is none that is stored.
        names = {one[made] for one in found if one is not None and one[made]}
        assert len(names) <= 1, (made, declared, found)
        for one in found:
            if one is not None:
                assert (one["pay"], one["bill"]) == ("a.Pay.v1", "b.Bill.v1")
                opened += 1
    assert opened > 500


def test_the_order_in_which_domains_are_given_changes_no_wire_name() -> None:
    # Every third, since each order is asked for twice.
    for made, *declared in list(declarations())[::3]:
        for named in BOTH:
            there = names_of(made, named, *declared)
            back = names_of(made, named, *declared, reversed_=True)
            assert there == back, (made, named, declared)


def test_in_one_domain_every_message_is_that_domains_however_it_is_made() -> None:
    for is_named, is_applied in BOTH:
        domain = Domain("shop")
        domain.register(aggregate(Pay, "paid", is_named=is_named, is_applied=is_applied))
        registry = Registry([domain])
        assert registry.name_of(Paid) == "shop.Paid.v1"
        assert registry.name_of(Pinned) == "Legacy.Pinned.v2"


# In a runtime


class Fulfilment(ProcessManager, correlate="order_id"):
    @handle(Paid, start=True, end=True)
    def on_paid(self, event: Paid) -> None: ...


def open_at(folder: Path, billing: Domain) -> Runtime:
    sales = Domain("sales")
    sales.register(Fulfilment)
    return Runtime(folder, sales, billing, durability="none")


@pytest.mark.parametrize("is_applied", [True, False])
def test_an_event_that_code_names_no_more_keeps_its_name_and_is_handled(
    tmp_path: Path, *, is_applied: bool
) -> None:
    for number, is_named in enumerate((True, False)):
        billing = Domain("billing")
        payment = aggregate(Pay, "paid", is_named=is_named, is_applied=is_applied)
        payment.__name__ = "Payment"
        billing.register(payment)
        if not is_applied:
            billing.register(Paid)
        with open_at(tmp_path, billing) as runtime:
            runtime.ask(Pay(f"o{number}"), timeout=10)
            runtime.settle(timeout=10)
            view = runtime.get(Fulfilment, f"o{number}")
            assert view is not None
            assert view.is_complete
            assert [one.type for one in runtime.events()] == ["billing.Paid.v1"] * (number + 1)


def test_an_event_that_only_data_leads_to_and_no_domain_owns_is_refused_where_it_is_made(
    tmp_path: Path,
) -> None:
    a, b = Domain("a"), Domain("b")
    a.register(aggregate(Pay, "paid", is_named=False, is_applied=False))
    b.register(aggregate(Bill, "pinned", is_named=False, is_applied=False))
    with Runtime(tmp_path, a, b, durability="none") as runtime:
        with pytest.raises(
            UnknownMessage,
            match=r"Paid is not known here.* `a\.register\(Paid\)` or `b\.register\(Paid\)`",
        ):
            runtime.ask(Pay("o1"), timeout=10)
        runtime.tell(Pay("o2"))
        runtime.settle(timeout=10)
        [parked] = runtime.parked()
        assert "Paid is not known here" in parked.error
        # A whole wire name says all, and needs no domain.
        runtime.ask(Bill("o3"), timeout=10)
        assert [one.type for one in runtime.events()] == ["Legacy.Pinned.v2"]
    a.register(Paid)
    with Runtime(tmp_path, a, b, durability="none") as runtime:
        runtime.retry(parked.id)
        runtime.settle(timeout=10)
        assert [one.type for one in runtime.events()] == ["Legacy.Pinned.v2", "a.Paid.v1"]


def test_an_event_that_no_domain_owns_cannot_be_published_among_several() -> None:
    a, b = Domain("a"), Domain("b")
    with (
        Runtime.ephemeral(a, b) as runtime,
        pytest.raises(UnknownMessage, match=r"Paid is not known here, .* `a\.register\(Paid\)` or"),
    ):
        runtime.publish(Paid("o1"), stream="web-1")
