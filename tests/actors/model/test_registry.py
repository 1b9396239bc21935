"""What one runtime knows of its domains: wire names, takers, and what does not fit together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from procession import (
    Aggregate,
    Command,
    DefinitionError,
    Domain,
    Event,
    InvalidMessage,
    ProcessManager,
    Runtime,
    UnknownCommand,
    UnknownEvent,
    UnknownMessage,
    after,
    apply,
    handle,
)
from procession.messages.codec import codecs
from procession.model.registry import Registry
from procession.store import EventRecord

if TYPE_CHECKING:
    from pathlib import Path


def packed(message: Event | Command) -> bytes:
    return codecs[type(message)].dump(message)


class Placed(Event):
    order_id: str


class Paid(Event):
    order_id: str


class PaidTwice(Event, version=2):
    order_id: str


class Imported(Event, name="Legacy.Invoice.v7"):
    order_id: str


class Unheard(Event):
    order_id: str


class Pay(Command):
    order_id: str


class Ship(Command):
    order_id: str


class Payment(Aggregate, identity="order_id"):
    @handle(Pay)
    def pay(self, command: Pay) -> list[Event]:
        return [Paid(self.id), PaidTwice(self.id), Imported(self.id)]

    @apply(Paid)
    def _paid(self, event: Paid) -> None: ...

    @apply(PaidTwice)
    def _paid_twice(self, event: PaidTwice) -> None: ...


class Fulfilment(ProcessManager, correlate="order_id"):
    @handle(Placed, start=True)
    def on_placed(self, event: Placed) -> None:
        self.issue(Pay(event.order_id))

    @handle(Paid)
    def on_paid(self, event: Paid) -> None: ...


def domain(name: str, *classes: type) -> Domain:
    made = Domain(name)
    for cls in classes:
        made.register(cls)
    return made


def record(kind: str, data: bytes) -> EventRecord:
    return EventRecord(kind, "shop::payment-o1", 1, 0, data, "e1", "c1")


def test_the_wire_name_is_domain_class_and_version() -> None:
    registry = Registry([domain("shop", Payment, Fulfilment)])
    assert registry.name_of(Paid) == "shop.Paid.v1"
    assert registry.name_of(PaidTwice) == "shop.PaidTwice.v2"
    assert registry.name_of(Imported) == "Legacy.Invoice.v7"
    assert registry.name_of(Pay) == "shop.Pay.v1"
    assert registry.name_of(Placed) == "shop.Placed.v1"


def test_an_event_belongs_to_the_domain_that_applies_it_not_to_those_that_handle_it() -> None:
    orders, money = domain("orders", Fulfilment, Placed), domain("money", Payment)
    for domains in ([orders, money], [money, orders]):
        registry = Registry(domains)
        assert registry.name_of(Paid) == "money.Paid.v1"
        assert registry.name_of(Pay) == "money.Pay.v1"
        assert registry.name_of(Placed) == "orders.Placed.v1"


def test_an_event_belongs_first_of_all_where_it_was_registered() -> None:
    orders = domain("orders", Fulfilment, Placed)
    registry = Registry([orders, domain("money", Payment), domain("x", Paid)])
    assert registry.name_of(Paid) == "x.Paid.v1"


def test_one_class_may_have_other_names_in_other_runtimes() -> None:
    assert Registry([domain("a", Payment)]).name_of(Paid) == "a.Paid.v1"
    assert Registry([domain("b", Payment)]).name_of(Paid) == "b.Paid.v1"


def test_an_event_that_nobody_mentions_belongs_to_the_only_domain() -> None:
    assert Registry([domain("shop", Payment)]).name_of(Unheard) == "shop.Unheard.v1"


def test_an_event_that_nobody_mentions_is_unknown_among_several_domains() -> None:
    registry = Registry([domain("shop", Payment), domain("other")])
    with pytest.raises(UnknownMessage, match=r"Unheard is not known.*shop\.register\(Unheard\)"):
        registry.name_of(Unheard)


def test_the_same_domain_given_twice_counts_once() -> None:
    shop = domain("shop", Payment)
    assert Registry([shop, shop]).domains == (shop,)


def test_a_stored_event_is_read_as_its_class() -> None:
    registry = Registry([domain("shop", Payment)])
    assert registry.load_event(record("shop.Paid.v1", packed(Paid("o1")))) == Paid("o1")


def test_each_reader_of_a_stored_event_has_a_copy() -> None:
    registry = Registry([domain("shop", Payment)])
    stored = record("shop.Paid.v1", packed(Paid("o1")))
    assert registry.load_event(stored) is not registry.load_event(stored)


def test_a_stored_event_of_an_unknown_class_is_read_as_its_name_and_plain_values() -> None:
    registry = Registry([domain("shop", Payment)])
    event = registry.load_event(record("gone.Lost.v4", packed(Paid("o1"))))
    assert event == UnknownEvent("gone.Lost.v4", {"order_id": "o1"})


def test_a_stored_event_of_another_version_is_unknown() -> None:
    registry = Registry([domain("shop", Payment)])
    event = registry.load_event(record("shop.Paid.v2", packed(Paid("o1"))))
    assert isinstance(event, UnknownEvent)


def test_a_stored_event_that_does_not_fit_its_class_is_refused_with_its_name() -> None:
    registry = Registry([domain("shop", Payment)])
    with pytest.raises(InvalidMessage, match=r"stored Paid does not fit.*order_id"):
        registry.load_event(record("shop.Paid.v1", b"\x80"))


def test_a_stored_command_is_read_as_its_class_or_as_plain_values() -> None:
    registry = Registry([domain("shop", Payment)])
    assert registry.load_command("shop.Pay.v1", packed(Pay("o1"))) == Pay("o1")
    assert registry.load_command("shop.Gone.v1", packed(Pay("o1"))) == UnknownCommand(
        "shop.Gone.v1", {"order_id": "o1"}
    )


def test_a_commands_taker_is_found() -> None:
    registry = Registry([domain("shop", Payment)])
    assert registry.taker_of(Pay).cls is Payment


def test_a_command_that_nobody_takes_is_unknown_with_the_mend() -> None:
    registry = Registry([domain("shop", Payment)])
    with pytest.raises(UnknownMessage, match=r"no aggregate takes Ship;.*@handle\(Ship\)"):
        registry.taker_of(Ship)


def test_a_class_that_is_in_no_domain_is_unknown_with_the_mend() -> None:
    registry = Registry([domain("shop")])
    with pytest.raises(UnknownMessage, match=r"Payment is in no .*shop\.register\(Payment\)"):
        registry.aggregate(Payment)
    with pytest.raises(UnknownMessage, match=r"Fulfilment is in no .*\.register\(Fulfilment\)"):
        registry.process(Fulfilment)


# Domains that do not fit together


def test_two_domains_of_one_name_are_refused() -> None:
    with pytest.raises(DefinitionError, match=r"two domains are called 'shop'.*rename one"):
        Registry([domain("shop"), domain("shop")])


@pytest.mark.parametrize("cls", [Payment, Fulfilment])
def test_one_class_in_two_domains_of_one_runtime_is_refused(cls: type) -> None:
    with pytest.raises(
        DefinitionError, match=rf"{cls.__name__} is in the domains a and b .*register it in one"
    ):
        Registry([domain("a", cls), domain("b", cls)])


def test_a_command_that_aggregates_of_two_domains_take_is_refused() -> None:
    class Rival(Aggregate, identity="order_id"):
        @handle(Pay)
        def snatch(self, command: Pay) -> None: ...

    with pytest.raises(
        DefinitionError, match=r"Pay is taken by Payment\.pay and by .*Rival\.snatch; .*of its own"
    ):
        Registry([domain("a", Payment), domain("b", Rival)])


def test_an_issued_command_that_no_aggregate_takes_is_refused() -> None:
    with pytest.raises(
        DefinitionError, match=r"Fulfilment issues Pay, which no aggregate.*@handle\(Pay\)"
    ):
        Registry([domain("shop", Fulfilment)])


def test_a_command_issued_through_a_function_must_have_a_taker_too() -> None:
    def shipping(order_id: str) -> Command:
        return Ship(order_id)

    class Sender(ProcessManager, correlate="order_id"):
        @handle(Placed, start=True)
        def on_placed(self, event: Placed) -> None:
            self.issue(shipping(event.order_id))

    with pytest.raises(DefinitionError, match="Sender issues Ship"):
        Registry([domain("shop", Sender, Payment)])


def test_an_event_applied_in_two_domains_is_refused_until_one_of_them_owns_it() -> None:
    class Shipping(Aggregate, identity="order_id"):
        @handle(Ship)
        def ship(self, command: Ship) -> Paid:
            return Paid(self.id)

        @apply(Paid)
        def _paid(self, event: Paid) -> None: ...

    a, b = domain("a", Payment), domain("b", Shipping)
    with pytest.raises(
        DefinitionError, match=r"Paid is declared by aggregates in the domains a and b.*a\.register"
    ):
        Registry([a, b])
    b.register(Paid)
    assert Registry([a, b]).name_of(Paid) == "b.Paid.v1"


def test_an_event_registered_in_two_domains_is_refused() -> None:
    with pytest.raises(
        DefinitionError, match=r"Placed is registered in the domains a and b.*a\.register\(Placed\)"
    ):
        Registry([domain("a", Placed), domain("b", Placed)])


def test_among_several_domains_an_event_that_code_makes_and_none_owns_is_refused() -> None:
    class Shipping(Aggregate, identity="order_id"):
        @handle(Ship)
        def ship(self, command: Ship) -> Placed:
            return Placed(self.id)

    a, b = domain("a", Payment, Fulfilment), domain("b", Shipping)
    with pytest.raises(DefinitionError) as caught:
        Registry([a, b])
    message = str(caught.value)
    assert "Placed belongs to none of the domains a, b" in message
    assert "the code of" in message
    assert "Shipping names it, Fulfilment.on_placed handles it" in message
    # The domain whose aggregate's code names it is likelier meant than the one that handles it.
    assert message.endswith("Register it where it belongs: `b.register(Placed)`")
    b.register(Placed)
    assert Registry([a, b]).name_of(Placed) == "b.Placed.v1"


def test_among_several_domains_handling_an_event_does_not_make_it_ones_own() -> None:
    a, b = domain("a", Payment), domain("b", Fulfilment)
    with pytest.raises(DefinitionError) as caught:
        Registry([a, b])
    message = str(caught.value)
    assert "Placed belongs to none of the domains a, b" in message
    assert "Fulfilment.on_placed handles it" in message
    assert "`b.register(Placed)` or if another service makes it" in message
    assert '`b.register_external_event(Placed, "<that domain>.Placed.v1")`' in message
    b.register(Placed)
    assert Registry([a, b]).name_of(Placed) == "b.Placed.v1"


def test_all_classes_that_no_domain_owns_are_told_at_once() -> None:
    class Watcher(ProcessManager, correlate="order_id"):
        @handle(Placed, start=True)
        def on_placed(self, event: Placed) -> None: ...

        @after(Unheard)
        def on_unheard(self, event: Unheard) -> None: ...

    with pytest.raises(DefinitionError) as caught:
        Registry([domain("a", Payment), domain("b", Watcher)])
    assert [line.split()[0] for line in str(caught.value).splitlines()] == ["Placed", "Unheard"]


def test_an_event_that_stands_for_anothers_has_that_name_whatever_code_mentions_it() -> None:
    class Watcher(ProcessManager, correlate="order_id"):
        @handle(Placed, start=True)
        def on_placed(self, event: Placed) -> None: ...

    class Copier(Aggregate, identity="order_id"):
        @handle(Ship)
        def ship(self, command: Ship) -> Placed:
            return Placed(self.id)

    for others in ([], [domain("other", Payment)]):
        shop = domain("shop", Watcher, Copier)
        shop.register_external_event(Placed, "Web.Placed.v3")
        assert Registry([shop, *others]).name_of(Placed) == "Web.Placed.v3"


def test_a_class_that_stands_for_two_events_is_refused() -> None:
    a, b = domain("a"), domain("b")
    a.register_external_event(Placed, "Web.Placed.v1")
    b.register_external_event(Placed, "Phone.Placed.v1")
    with pytest.raises(
        DefinitionError, match=r"Placed stands for Web\.Placed\.v1 in one .*Phone\.Placed\.v1 in"
    ):
        Registry([a, b])


def test_without_any_domain_an_event_is_known_by_its_whole_wire_name_alone() -> None:
    assert Registry([]).name_of(Imported) == "Legacy.Invoice.v7"
    with pytest.raises(UnknownMessage, match="Unheard is not known"):
        Registry([]).name_of(Unheard)


def test_two_process_managers_of_one_name_are_refused_across_domains() -> None:
    class Shipment(ProcessManager, name="a.Fulfilment", correlate="order_id"):
        @handle(Placed, start=True)
        def on_placed(self, event: Placed) -> None: ...

    with pytest.raises(
        DefinitionError, match=r"Fulfilment and .*Shipment are both called a\.Fulfilment; give one"
    ):
        Registry([domain("a", Fulfilment, Payment, Placed), domain("b", Shipment)])


def test_an_event_with_a_whole_wire_name_may_be_registered_anywhere() -> None:
    assert Registry([domain("a", Imported), domain("b", Imported)]).name_of(Imported) == (
        "Legacy.Invoice.v7"
    )


def test_two_messages_of_one_wire_name_are_refused_with_both_classes() -> None:
    class Other(Event, name="shop.Paid.v1"):
        order_id: str

    with pytest.raises(
        DefinitionError,
        match=r"Paid and .*Other .*shop\.Paid\.v1; rename one|"
        r"Other and .*Paid .*shop\.Paid\.v1; rename one",
    ):
        Registry([domain("shop", Payment, Other)])


def test_a_message_with_an_annotation_that_cannot_be_used_is_refused_with_its_class() -> None:
    class Muddled(Event):
        values: list[int] | set[int]

    class Unresolved(Event):
        value: "Nowhere"  # type: ignore[name-defined] # noqa: F821

    for cls, what in (
        (Muddled, r"Muddled\.values: the type list"),
        (Unresolved, "Unresolved: an annotation names 'Nowhere'"),
    ):
        with pytest.raises(DefinitionError, match=what):
            Registry([domain("shop", cls)])


# The same, where users meet it


def test_a_runtime_refuses_domains_that_do_not_fit_together_before_it_makes_a_file(
    tmp_path: Path,
) -> None:
    for wrong in (
        [domain("shop"), domain("shop")],
        [domain("a", Payment), domain("b", Payment)],
        [domain("shop", Fulfilment)],
    ):
        with pytest.raises(DefinitionError):
            Runtime(tmp_path / "store", *wrong)
        assert list(tmp_path.iterdir()) == []


def test_classes_registered_after_a_runtime_was_refused_mend_it() -> None:
    shop = domain("shop", Fulfilment)
    with pytest.raises(DefinitionError, match="issues Pay"):
        Registry([shop])
    shop.register(Payment)
    found: Any = Registry([shop]).taker_of(Pay)
    assert found.cls is Payment
