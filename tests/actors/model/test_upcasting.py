"""Messages and states of older versions: turned into today's when they are read, or parked."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from procession import (
    Aggregate,
    Command,
    DefinitionError,
    Domain,
    Event,
    Indexed,
    InvalidMessage,
    ProcessManager,
    Rejected,
    Retry,
    Runtime,
    UnknownCommand,
    UnknownEvent,
    UnknownMessage,
    apply,
    handle,
    rejected,
    timeout,
    upcast,
)
from procession.testing import VirtualClock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from procession import Parked


# What an older version of the service wrote


class OldPlaced(Event, name="Shop.OrderPlaced.v1"):
    order: str
    total: str


class MiddlePlaced(Event, name="Shop.OrderPlaced.v2"):
    order_id: str
    total: Decimal


class NewestPlaced(Event, name="Shop.OrderPlaced.v4"):
    reference: str


def publish(folder: Path, *events: Event, stream: str = "import-1") -> None:
    """Have an older or a newer version of the service write events."""
    domain = Domain("Shop")
    domain.register(*{type(event) for event in events}, Noted)
    with Runtime(folder, domain, durability="none") as runtime:
        runtime.publish_many(events, stream=stream)


class Noted(Event):
    text: str


# What reads it


class OrderPlaced(Event, version=3):
    order_id: str
    total: Decimal
    currency: str


@upcast("OrderPlaced", from_version=1)
def in_euros_and_cents(old: dict[str, Any]) -> dict[str, Any]:
    return {"order_id": old["order"], "total": Decimal(old["total"])}


@upcast("OrderPlaced", from_version=2)
def with_a_currency(old: dict[str, Any]) -> dict[str, Any]:
    return old | {"currency": "EUR"}


class Orders(ProcessManager, correlate="order_id", begin="origin"):
    order_id: str = ""
    total: Decimal = Decimal(0)
    currency: str = ""

    @handle(OrderPlaced, start=True)
    def on_placed(self, event: OrderPlaced) -> None:
        self.total = event.total
        self.currency = event.currency


class Reports(ProcessManager, correlate="order_id", begin="origin"):
    order_id: str = ""

    @handle(OrderPlaced, start=True)
    def on_placed(self, event: OrderPlaced) -> None: ...


def shop(*registered: Callable[..., Any]) -> Domain:
    domain = Domain("Shop")
    for one in registered:
        domain.register(one)
    return domain


def opened(folder: Path, *registered: Callable[..., Any]) -> Runtime:
    return Runtime(folder, shop(*registered), durability="none", clock=VirtualClock())


def parked(runtime: Runtime) -> list[Parked]:
    runtime.settle(timeout=10)
    return list(runtime.parked())


# Events


def test_an_old_event_is_handled_as_one_of_todays_class(tmp_path: Path) -> None:
    publish(tmp_path, MiddlePlaced("o1", Decimal("9.50")))
    with opened(tmp_path, Orders, with_a_currency) as runtime:
        runtime.settle(timeout=10)
        view = runtime.get(Orders, "o1")
        assert view is not None
        assert view.state == {"order_id": "o1", "total": Decimal("9.50"), "currency": "EUR"}


def test_several_upcasters_follow_one_another(tmp_path: Path) -> None:
    publish(tmp_path, OldPlaced("o1", "9.50"))
    with opened(tmp_path, Orders, in_euros_and_cents, with_a_currency) as runtime:
        runtime.settle(timeout=10)
        view = runtime.get(Orders, "o1")
        assert view is not None
        assert view.state == {"order_id": "o1", "total": Decimal("9.50"), "currency": "EUR"}


def test_readers_see_an_old_event_as_one_of_todays_class_under_its_old_name(
    tmp_path: Path,
) -> None:
    publish(tmp_path, OldPlaced("o1", "9"))
    with opened(tmp_path, Orders, in_euros_and_cents, with_a_currency) as runtime:
        [stored] = runtime.events()
        assert stored.event == OrderPlaced("o1", Decimal(9), "EUR")
        assert stored.type == "Shop.OrderPlaced.v1"


def test_an_upcaster_is_given_plain_values_of_its_own(tmp_path: Path) -> None:
    seen: list[dict[str, Any]] = []

    @upcast("OrderPlaced", from_version=2)
    def look(old: dict[str, Any]) -> dict[str, Any]:
        seen.append(dict(old))
        old["currency"] = "EUR"
        return old

    publish(tmp_path, MiddlePlaced("o1", Decimal("9.50")))
    with opened(tmp_path, Orders, Reports, look) as runtime:
        runtime.settle(timeout=10)
        assert len(seen) >= 2
        assert all(one == {"order_id": "o1", "total": "9.50"} for one in seen)


def test_a_whole_wire_name_says_whose_payloads_an_upcaster_takes(tmp_path: Path) -> None:
    class Received(Event):
        amount: Decimal
        payer: str

    @upcast("Billing.PaymentReceived.v1", from_version=1)
    def nobody_paid(old: dict[str, Any]) -> dict[str, Any]:
        return old | {"payer": "unknown"}

    class Books(ProcessManager, correlate="payer", begin="origin"):
        payer: str = ""

        @handle(Received, start=True)
        def on_received(self, event: Received) -> None: ...

    class OldReceived(Event, name="Billing.PaymentReceived.v1"):
        amount: Decimal

    publish(tmp_path, OldReceived(Decimal(3)))
    books = Domain("Books")
    books.register_external_event(Received, "Billing.PaymentReceived.v2")
    books.register(Books, nobody_paid)
    with Runtime(tmp_path, books, durability="none") as runtime:
        runtime.settle(timeout=10)
        assert runtime.get(Books, "unknown") is not None
        assert next(runtime.events()).event == Received(Decimal(3), "unknown")


def test_an_old_event_without_an_upcaster_is_parked_at_each_process_manager(
    tmp_path: Path,
) -> None:
    publish(tmp_path, MiddlePlaced("o1", Decimal(9)))
    with opened(tmp_path, Orders, Reports) as runtime:
        found = parked(runtime)
        assert sorted(one.process for one in found) == ["Shop.Orders", "Shop.Reports"]
        for one in found:
            assert one.cause == "import-1@1"
            assert "UnknownMessage" in one.error
            assert "Shop.OrderPlaced is of version 2" in one.error
            assert '@upcast("OrderPlaced", from_version=2)' in one.error
        assert [type(stored.event) for stored in runtime.events()] == [UnknownEvent]


def test_a_parked_old_event_is_handled_when_it_is_retried_with_an_upcaster(
    tmp_path: Path,
) -> None:
    publish(tmp_path, MiddlePlaced("o1", Decimal(9)))
    with opened(tmp_path, Orders) as runtime:
        [one] = parked(runtime)
    with opened(tmp_path, Orders, with_a_currency) as runtime:
        runtime.retry(one.id)
        assert parked(runtime) == []
        view = runtime.get(Orders, "o1")
        assert view is not None
        assert view.state["currency"] == "EUR"


def test_an_event_of_a_newer_version_is_parked_at_those_who_handle_the_class(
    tmp_path: Path,
) -> None:
    publish(tmp_path, NewestPlaced("o1"))
    with opened(tmp_path, Orders, with_a_currency) as runtime:
        [one] = parked(runtime)
        assert "Shop.OrderPlaced is of version 4" in one.error
        assert "newer" in one.error
        [stored] = runtime.events()
        assert stored.event == UnknownEvent("Shop.OrderPlaced.v4", {"reference": "o1"})


def test_an_event_that_nobody_handles_is_parked_nowhere(tmp_path: Path) -> None:
    publish(tmp_path, Noted("hello"))
    with opened(tmp_path, Orders) as runtime:
        assert parked(runtime) == []


def test_another_version_from_a_category_that_is_not_listened_to_is_parked_nowhere(
    tmp_path: Path,
) -> None:
    class Listening(ProcessManager, correlate="order_id", begin="origin", streams=["Shop::order"]):
        order_id: str = ""

        @handle(OrderPlaced, start=True)
        def on_placed(self, event: OrderPlaced) -> None: ...

    publish(tmp_path, NewestPlaced("o1"))
    with opened(tmp_path, Listening) as runtime:
        assert parked(runtime) == []


def test_a_version_with_a_class_of_its_own_is_for_those_who_handle_that_class(
    tmp_path: Path,
) -> None:
    class OldOrders(ProcessManager, correlate="order_id", begin="origin"):
        order_id: str = ""

        @handle(MiddlePlaced, start=True)
        def on_placed(self, event: MiddlePlaced) -> None: ...

    publish(tmp_path, MiddlePlaced("o1", Decimal(9)))
    with opened(tmp_path, Orders, OldOrders) as runtime:
        assert parked(runtime) == []
        assert runtime.get(OldOrders, "o1") is not None
        assert runtime.get(Orders, "o1") is None


def test_a_domain_that_knows_another_version_of_a_foreign_event_has_it_parked(
    tmp_path: Path,
) -> None:
    class Foreign(Event):
        order_id: str

    class Listening(ProcessManager, correlate="order_id", begin="origin"):
        order_id: str = ""

        @handle(Foreign, start=True)
        def on_placed(self, event: Foreign) -> None: ...

    crm = Domain("Crm")
    crm.register_external_event(Foreign, "Shop.OrderPlaced.v2")
    crm.register(Listening)
    with Runtime(tmp_path, crm, shop(OrderPlaced), durability="none") as runtime:
        runtime.publish(OrderPlaced("o1", Decimal(9), "EUR"), stream="order-1")
        [one] = parked(runtime)
        assert one.process == "Crm.Listening"
        assert "Shop.OrderPlaced is of version 3" in one.error


def test_an_upcaster_that_fails_parks_the_event_and_delays_nobody(tmp_path: Path) -> None:
    @upcast("OrderPlaced", from_version=2)
    def clumsy(old: dict[str, Any]) -> dict[str, Any]:
        return {"order_id": old["order_id"], "total": old["sum"], "currency": "EUR"}

    publish(tmp_path, MiddlePlaced("o1", Decimal(9)))
    with opened(tmp_path, Orders, clumsy) as runtime:
        runtime.publish(OrderPlaced("o2", Decimal(1), "EUR"), stream="order-2")
        [one] = parked(runtime)
        assert "its upcaster clumsy from version 2 failed: KeyError('sum')" in one.error
        assert runtime.get(Orders, "o2") is not None


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (None, "return the new fields as a dictionary"),
        ({"order_id": object()}, "cannot be packed"),
        ({"order_id": 7}, "does not fit its class"),
    ],
)
def test_an_upcaster_that_returns_something_else_parks_the_event(
    tmp_path: Path, answer: Any, why: str
) -> None:
    @upcast("OrderPlaced", from_version=2)
    def wrong(old: dict[str, Any]) -> dict[str, Any]:
        result: dict[str, Any] = answer
        return result

    publish(tmp_path, MiddlePlaced("o1", Decimal(9)))
    with opened(tmp_path, Orders, wrong) as runtime:
        [one] = parked(runtime)
        assert why in one.error


# Commands


class Pay(Command, version=2):
    order_id: str
    amount: Decimal


class Paid(Event):
    order_id: str
    amount: Decimal


class Payment(Aggregate, identity="order_id"):
    amount: Decimal = Decimal(0)

    @handle(Pay)
    def pay(self, command: Pay) -> Paid:
        if command.amount > 100:
            raise Rejected("too much")
        return Paid(self.id, command.amount)

    @apply(Paid)
    def _paid(self, event: Paid) -> None:
        self.amount = event.amount


@upcast("Pay", from_version=1)
def pay_an_amount(old: dict[str, Any]) -> dict[str, Any]:
    return {"order_id": old["order_id"], "amount": str(old["cents"] / 100)}


def older_payments() -> tuple[type[Command], type[Aggregate], Any]:
    class Pay(Command):
        order_id: str
        cents: int

    class Payment(Aggregate, identity="order_id"):
        @handle(Pay)
        def pay(self, command: Pay) -> None: ...

    class Billing(ProcessManager, correlate="order_id", begin="origin"):
        order_id: str = ""

        @handle(Noted, start=True, correlate="text")
        def on_noted(self, event: Noted) -> None:
            self.issue(Pay(event.text, 999_900))

    return Pay, Payment, Billing


def leave_in_the_queue(folder: Path, cents: int) -> None:
    """Have the older version of the service go down with a command in its queue."""
    old_pay, old_payment, _ = older_payments()
    with Runtime(folder, shop(old_payment), durability="none") as runtime:
        assert runtime._running is not None
        runtime._running.command_queue.is_closed = True
        runtime.tell(old_pay(order_id="o1", cents=cents))


def test_an_old_command_that_waits_in_the_queue_is_carried_out_as_todays(tmp_path: Path) -> None:
    leave_in_the_queue(tmp_path, 950)
    with opened(tmp_path, Payment, pay_an_amount) as runtime:
        assert parked(runtime) == []
        view = runtime.get(Payment, "o1")
        assert view is not None
        assert view.state == {"amount": Decimal("9.5")}


def test_an_old_command_without_an_upcaster_is_parked(tmp_path: Path) -> None:
    leave_in_the_queue(tmp_path, 950)
    with opened(tmp_path, Payment) as runtime:
        [one] = parked(runtime)
        assert "Shop.Pay.v1" in one.error
        assert '@upcast("Pay", from_version=1)' in one.error
        assert runtime.get(Payment, "o1") is None


def test_the_refusal_of_an_old_command_reaches_the_instance_that_issued_it(
    tmp_path: Path,
) -> None:
    _, old_payment, old_billing = older_payments()
    with Runtime(tmp_path, shop(old_payment, old_billing), durability="none") as runtime:
        assert runtime._running is not None
        runtime._running.command_queue.is_closed = True
        runtime.publish(Noted("o1"), stream="order-o1")
        runtime.settle(timeout=10)

    class Billing(ProcessManager, correlate="order_id", begin="origin"):
        order_id: str = ""
        reason: str = ""

        @handle(Noted, start=True, correlate="text")
        def on_noted(self, event: Noted) -> None:
            self.issue(Pay(event.text, Decimal(1)))

        @rejected(Pay)
        def on_refused(self, command: Pay, reason: str) -> None:
            self.reason = f"{command.amount}: {reason}"

    with opened(tmp_path, Payment, Billing, pay_an_amount) as runtime:
        assert parked(runtime) == []
        view = runtime.get(Billing, "o1")
        assert view is not None
        assert view.state["reason"] == "9999.0: too much"
        first = next(runtime.history(Billing, "o1"))
        assert first.commands == (Pay("o1", Decimal("9999.0")),)
    with opened(tmp_path, Payment, Billing) as runtime:
        first = next(runtime.history(Billing, "o1"))
        assert [type(one) for one in first.commands] == [UnknownCommand]


# Aggregates


class Account(Aggregate, identity="order_id"):
    total: Decimal = Decimal(0)

    @handle(Pay)
    def pay(self, command: Pay) -> OrderPlaced:
        return OrderPlaced(self.id, command.amount, "EUR")

    @apply(OrderPlaced)
    def _placed(self, event: OrderPlaced) -> None:
        self.total += event.total


def test_an_aggregate_is_made_from_its_old_events_as_todays(tmp_path: Path) -> None:
    publish(tmp_path, OldPlaced("o1", "9"), stream="Shop::account-o1")
    with opened(tmp_path, Account, in_euros_and_cents, with_a_currency) as runtime:
        runtime.ask(Pay("o1", Decimal(1)), timeout=10)
        view = runtime.get(Account, "o1")
        assert view is not None
        assert (view.version, view.state) == (2, {"total": Decimal(10)})


@pytest.mark.parametrize(
    ("event", "mend"),
    [
        (OldPlaced("o1", "9"), '@upcast("OrderPlaced", from_version=1)'),
        (NewestPlaced("o1"), "run the version of the service that knows it"),
        (Noted("o1"), "register a class that has the wire name Shop.Noted.v1"),
    ],
)
def test_an_aggregate_with_an_event_that_nothing_can_read_is_not_loaded(
    tmp_path: Path, event: Event, mend: str
) -> None:
    publish(tmp_path, event, stream="Shop::account-o1")
    with opened(tmp_path, Account) as runtime:
        with pytest.raises(UnknownMessage) as caught:
            runtime.ask(Pay("o1", Decimal(1)), timeout=10)
        assert "Account cannot be loaded: version 1 of 'Shop::account-o1'" in str(caught.value)
        assert mend in str(caught.value)
        with pytest.raises(UnknownMessage, match="cannot be loaded"):
            runtime.get(Account, "o1")
        told = runtime.tell(Pay("o1", Decimal(1)))
        [one] = parked(runtime)
        assert one.cause == told
        assert mend in one.error
        assert len(list(runtime.events())) == 1


# States of instances


class Started(Event):
    order_id: str


class Went(Event):
    order_id: str


class Looked(Event):
    payment: str


def older_process() -> Any:
    class Journey(ProcessManager, correlate="order_id"):
        order_id: str = ""
        steps: int = 0
        notes: str = ""

        @handle(Started, start=True)
        def on_started(self, event: Started) -> None:
            self.notes = "started"

            self.set_timeout("rest", timedelta(days=1))
            self.set_timeout("end", timedelta(days=2))

        @handle(Went)
        def on_went(self, event: Went) -> None:
            self.steps += 1

        @timeout("rest")
        def rest(self) -> None: ...

        @timeout("end")
        def end(self) -> None: ...

    return Journey


class Journey(ProcessManager, correlate="order_id", version=3):
    order_id: str = ""
    path: list[str] = []
    title: str = "none"

    @staticmethod
    @upcast(from_version=1)
    def with_a_path(old: dict[str, Any]) -> dict[str, Any]:
        return {"order_id": old["order_id"], "walked": ["?"] * old["steps"]}

    @upcast(from_version=2)
    @staticmethod
    def renamed(old: dict[str, Any]) -> dict[str, Any]:
        return {"order_id": old["order_id"], "path": old["walked"]}

    @handle(Started, start=True)
    def on_started(self, event: Started) -> None: ...

    @handle(Went)
    def on_went(self, event: Went) -> None:
        self.path.append(f"step {len(self.path)}")

    @timeout("rest")
    def rest(self) -> None: ...

    @timeout("end")
    def end(self) -> None: ...


def walk(folder: Path, cls: Any, *events: Event) -> None:
    with opened(folder, cls) as runtime:
        for event in events:
            runtime.publish(event, stream="walk-1")
        runtime.settle(timeout=10)


def test_the_state_of_an_instance_under_way_is_turned_into_todays(tmp_path: Path) -> None:
    walk(tmp_path, older_process(), Started("o1"), Went("o1"))
    with opened(tmp_path, Journey) as runtime:
        runtime.publish(Went("o1"), stream="walk-1")
        assert parked(runtime) == []
        view = runtime.get(Journey, "o1")
        assert view is not None
        assert view.state == {"order_id": "o1", "path": ["?", "step 1"], "title": "none"}
        assert view.version == 3


def test_views_and_history_show_old_states_as_todays(tmp_path: Path) -> None:
    walk(tmp_path, older_process(), Started("o1"), Went("o1"))
    with opened(tmp_path, Journey) as runtime:
        view = runtime.get(Journey, "o1")
        assert view is not None
        assert view.state == {"order_id": "o1", "path": ["?"], "title": "none"}
        states = [one.state["path"] for one in runtime.history(Journey, "o1")]
        assert states == [[], ["?"]]
        assert [one.state["path"] for one in runtime.find(Journey)] == [["?"]]


def test_a_state_that_was_written_today_is_not_turned_into_anything(tmp_path: Path) -> None:
    walk(tmp_path, older_process(), Started("o1"))
    walk(tmp_path, Journey, Went("o1"))
    walk(tmp_path, Journey, Went("o1"))
    with opened(tmp_path, Journey) as runtime:
        states = [one.state["path"] for one in runtime.history(Journey, "o1")]
        assert states == [[], ["step 0"], ["step 0", "step 1"]]


def test_an_operator_s_step_keeps_the_version_of_the_state(tmp_path: Path) -> None:
    walk(tmp_path, older_process(), Started("o1"), Went("o1"))
    with opened(tmp_path, Journey) as runtime:
        assert runtime.cancel_timeout(Journey, "o1", "rest")
        states = [one.state["path"] for one in runtime.history(Journey, "o1")]
        assert states == [[], ["?"], ["?"]]
        runtime.publish(Went("o1"), stream="walk-1")
        runtime.settle(timeout=10)
        # The object in memory is made anew from the state of today.
        assert runtime.cancel_timeout(Journey, "o1", "end")
        runtime.publish(Went("o1"), stream="walk-1")
        assert parked(runtime) == []
        states = [one.state["path"] for one in runtime.history(Journey, "o1")]
        assert states[3:] == [["?", "step 1"], ["?", "step 1"], ["?", "step 1", "step 2"]]


def test_a_state_that_is_rebuilt_is_one_of_todays(tmp_path: Path) -> None:
    walk(tmp_path, older_process(), Started("o1"), Went("o1"))
    with opened(tmp_path, Journey) as runtime:
        assert runtime.refresh(Journey, "o1") == 1
        runtime.publish(Went("o1"), stream="walk-1")
        assert parked(runtime) == []
        states = [one.state["path"] for one in runtime.history(Journey, "o1")]
        assert states == [[], ["?"], ["step 0"], ["step 0", "step 1"]]


def test_without_a_new_version_new_fields_have_their_defaults_and_gone_ones_are_dropped(
    tmp_path: Path,
) -> None:
    class Journey(ProcessManager, correlate="order_id"):
        order_id: str = ""
        steps: int = 0
        title: str = "none"

        @handle(Started, start=True)
        def on_started(self, event: Started) -> None: ...

        @handle(Went)
        def on_went(self, event: Went) -> None:
            self.steps += 10

    walk(tmp_path, older_process(), Started("o1"), Went("o1"))
    walk(tmp_path, Journey, Went("o1"))
    with opened(tmp_path, Journey) as runtime:
        view = runtime.get(Journey, "o1")
        assert view is not None
        assert view.state == {"order_id": "o1", "steps": 11, "title": "none"}


def test_a_state_that_nothing_turns_into_todays_parks_what_the_instance_is_given(
    tmp_path: Path,
) -> None:
    class Journey(ProcessManager, correlate="order_id", version=2):
        order_id: str = ""

        @handle(Started, start=True)
        def on_started(self, event: Started) -> None: ...

        @handle(Went)
        def on_went(self, event: Went) -> None: ...

    walk(tmp_path, older_process(), Started("o1"))
    with opened(tmp_path, Journey) as runtime:
        runtime.publish(Went("o1"), stream="walk-1")
        runtime.publish(Started("o2"), stream="walk-2")
        [one] = parked(runtime)
        assert (one.process, one.instance) == ("Shop.Journey", "o1")
        assert "Journey is of version 1, and its class is at version 2" in one.error
        assert "@upcast(from_version=1)" in one.error
        assert runtime.get(Journey, "o2") is not None
        with pytest.raises(UnknownMessage, match="of version 1"):
            runtime.get(Journey, "o1")


def test_a_state_of_a_newer_class_parks_what_the_instance_is_given(tmp_path: Path) -> None:
    walk(tmp_path, Journey, Started("o1"))
    with opened(tmp_path, older_process()) as runtime:
        runtime.publish(Went("o1"), stream="walk-1")
        [one] = parked(runtime)
        assert "is of version 3, which is newer than its class here, at version 1" in one.error


def test_an_upcaster_of_states_that_fails_is_named(tmp_path: Path) -> None:
    class Journey(ProcessManager, correlate="order_id", version=2):
        order_id: str = ""

        @staticmethod
        @upcast(from_version=1)
        def clumsy(old: dict[str, Any]) -> dict[str, Any]:
            raise ValueError("no")

        @handle(Started, start=True)
        def on_started(self, event: Started) -> None: ...

    walk(tmp_path, older_process(), Started("o1"))
    with (
        opened(tmp_path, Journey) as runtime,
        pytest.raises(InvalidMessage, match="clumsy from version 1 failed: ValueError"),
    ):
        runtime.get(Journey, "o1")


def test_a_learnt_key_that_an_upcaster_renames_is_found_after_the_next_step(
    tmp_path: Path,
) -> None:
    def older() -> Any:
        class Journey(ProcessManager, correlate="order_id"):
            order_id: str = ""
            paid_by: Indexed[str] = ""

            @handle(Started, start=True)
            def on_started(self, event: Started) -> None:
                self.paid_by = f"payment of {event.order_id}"

        return Journey

    class Journey(ProcessManager, correlate="order_id", version=2):
        order_id: str = ""
        payment: Indexed[str] = ""
        looked: int = 0

        @staticmethod
        @upcast(from_version=1)
        def renamed(old: dict[str, Any]) -> dict[str, Any]:
            return {"order_id": old["order_id"], "payment": old["paid_by"]}

        @handle(Started, start=True)
        def on_started(self, event: Started) -> None: ...

        @handle(Looked, correlate={"payment": "payment"})
        def on_looked(self, event: Looked) -> None:
            self.looked += 1

    walk(tmp_path, older(), Started("o1"))
    walk(tmp_path, Journey, Started("o1"), Looked("payment of o1"))
    with opened(tmp_path, Journey) as runtime:
        view = runtime.get(Journey, "o1")
        assert view is not None
        assert view.state["looked"] == 1


def test_a_learnt_key_may_be_of_another_type_in_todays_state(tmp_path: Path) -> None:
    def older() -> Any:
        class Journey(ProcessManager, correlate="order_id"):
            order_id: str = ""
            payment: Indexed[int] = 0

            @handle(Started, start=True)
            def on_started(self, event: Started) -> None:
                self.payment = 7

        return Journey

    class Journey(ProcessManager, correlate="order_id", version=2):
        order_id: str = ""
        payment: Indexed[str] = ""
        looked: int = 0

        @staticmethod
        @upcast(from_version=1)
        def as_text(old: dict[str, Any]) -> dict[str, Any]:
            return old | {"payment": f"payment {old['payment']}"}

        @handle(Started, start=True)
        def on_started(self, event: Started) -> None: ...

        @handle(Looked, correlate={"payment": "payment"})
        def on_looked(self, event: Looked) -> None:
            self.looked += 1

    walk(tmp_path, older(), Started("o1"))
    walk(tmp_path, Journey, Started("o1"), Looked("payment 7"))
    with opened(tmp_path, Journey) as runtime:
        assert parked(runtime) == []
        view = runtime.get(Journey, "o1")
        assert view is not None
        assert view.state["looked"] == 1


# What cannot be read is not tried again


def failing(started: type[Event]) -> Any:
    class Journey(ProcessManager, correlate="order_id", retry=Retry(first=timedelta(minutes=1))):
        order_id: str = ""

        @handle(started, start=True)
        def on_started(self, event: Any) -> None:
            raise ConnectionError("not now")

    return Journey


def test_a_state_that_cannot_be_read_is_parked_without_a_retry(tmp_path: Path) -> None:
    class Journey(ProcessManager, correlate="order_id", version=2, retry=Retry(attempts=5)):
        order_id: str = ""

        @handle(Started, start=True)
        def on_started(self, event: Started) -> None: ...

    walk(tmp_path, older_process(), Started("o1"))
    with opened(tmp_path, Journey) as runtime:
        runtime.publish(Started("o1"), stream="walk-1")
        [one] = parked(runtime)
        assert one.attempts == 1
        assert runtime.stats()["retries"] == 0


def test_an_event_that_waits_for_its_retry_and_cannot_be_read_any_more_is_parked(
    tmp_path: Path,
) -> None:
    class NewStarted(Event, name="Shop.Started.v2"):
        order_id: str

    clock = VirtualClock()
    older = shop(failing(Started))
    with Runtime(tmp_path, older, durability="none", clock=clock) as runtime:
        runtime.publish(Started("o1"), stream="walk-1")
        runtime.settle(timeout=10)
        assert runtime.stats()["retries"] == 1
    newer = shop(failing(NewStarted))
    with Runtime(tmp_path, newer, durability="none", clock=clock) as runtime:
        clock.advance(timedelta(minutes=1))
        [one] = parked(runtime)
        assert (one.process, one.instance, one.cause) == ("Shop.Journey", "o1", "walk-1@1")
        assert "Shop.Started is of version 1" in one.error


def test_an_event_that_waits_behind_a_parked_one_and_cannot_be_read_any_more_is_parked(
    tmp_path: Path,
) -> None:
    class NewWent(Event, name="Shop.Went.v2"):
        order_id: str

    def process(went: type[Event], error: Exception | None = None) -> Any:
        class Journey(ProcessManager, correlate="order_id"):
            order_id: str = ""

            @handle(Started, start=True)
            def on_started(self, event: Any) -> None:
                if error is not None:
                    raise error

            @handle(went)
            def on_went(self, event: Any) -> None: ...

        return Journey

    with opened(tmp_path, process(Went, ConnectionError("no"))) as runtime:
        runtime.publish(Started("o1"), stream="walk-1")
        runtime.publish(Went("o1"), stream="walk-1")
        [first] = parked(runtime)
    with opened(tmp_path, process(NewWent)) as runtime:
        runtime.retry(first.id)
        [second] = parked(runtime)
        assert (second.cause, second.instance) == ("walk-1@2", "o1")
        assert "Shop.Went is of version 1" in second.error
        runtime.skip(second.id)
        assert parked(runtime) == []


# What is refused when it is registered


def of(name: str, version: Any) -> Callable[..., Any]:
    @upcast(name, from_version=version)
    def function(old: dict[str, Any]) -> dict[str, Any]:
        return old

    return function


@pytest.mark.parametrize(
    ("name", "version", "mend"),
    [
        ("OrderPlaced", 0, "a whole number from 1"),
        ("OrderPlaced", "1", "a whole number from 1"),
        ("OrderPlaced", True, "a whole number from 1"),
        (OrderPlaced, 1, '@upcast("OrderPlaced", from_version=1)'),
        ("Order Placed", 1, "no name of a class"),
        ("Shop.OrderPlaced", 1, "the whole wire name"),
        ("Shop.OrderPlaced.v2", 1, "disagree"),
    ],
)
def test_a_malformed_upcaster_is_refused(name: Any, version: Any, mend: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        of(name, version)
    assert mend in str(caught.value)


@pytest.mark.parametrize(
    ("functions", "mend"),
    [
        ([of("OrderPlaced", 3)], "OrderPlaced has version 3 here, so .*`version=4`"),
        ([of("OrderPlaced", 7)], "`version=8`"),
        (
            [of("OrderPlaced", 1)],
            r"version 2 to 3; write `@upcast\(\"OrderPlaced\", from_version=2",
        ),
        ([of("OrderPlacd", 1)], "Shop.OrderPlacd, which no class here is called"),
    ],
)
def test_an_upcaster_that_leads_nowhere_is_refused(
    functions: list[Callable[..., Any]], mend: str
) -> None:
    with pytest.raises(DefinitionError, match=mend):
        Runtime.ephemeral(shop(Orders, *functions))


def test_two_upcasters_for_one_step_are_refused() -> None:
    domain = shop(of("OrderPlaced", 1))
    with pytest.raises(DefinitionError, match=r"both upcast Shop\.OrderPlaced\.v1; remove one"):
        domain.register(of("Shop.OrderPlaced.v1", 1))


def test_two_upcasters_for_one_step_in_two_domains_are_refused() -> None:
    crm = Domain("Crm")
    crm.register(of("Shop.OrderPlaced.v2", 2))
    with pytest.raises(DefinitionError, match=r"both upcast Shop\.OrderPlaced\.v2, in two"):
        Runtime.ephemeral(shop(Orders, OrderPlaced, with_a_currency), crm)


def test_an_upcaster_for_a_version_that_has_a_class_is_refused() -> None:
    with pytest.raises(DefinitionError, match="which MiddlePlaced is the class of"):
        Runtime.ephemeral(shop(Orders, MiddlePlaced, with_a_currency))


def test_registering_an_upcaster_again_changes_nothing() -> None:
    domain = shop(Orders, with_a_currency)
    assert domain.register(with_a_currency) is with_a_currency
    Runtime.ephemeral(domain).close()


def test_a_function_that_is_no_upcaster_is_refused() -> None:
    with pytest.raises(DefinitionError, match="below @upcast"):
        shop(len)


def test_an_upcaster_without_a_name_is_refused_by_a_domain() -> None:
    @upcast(from_version=1)
    def whose(old: dict[str, Any]) -> dict[str, Any]:
        return old

    with pytest.raises(DefinitionError, match="does not say whose payloads"):
        shop(whose)


def test_an_upcaster_that_takes_more_than_the_payload_is_refused() -> None:
    @upcast("OrderPlaced", from_version=1)
    def wants_more(old: dict[str, Any], version: int) -> dict[str, Any]:
        return old

    with pytest.raises(DefinitionError, match="called with the old payload alone"):
        shop(wants_more)


def test_wrong_upcasters_of_states_are_refused() -> None:
    def process(version: int, *functions: Callable[..., Any]) -> type:
        body: dict[str, Any] = {f"from_{n}": staticmethod(one) for n, one in enumerate(functions)}
        body["on_started"] = handle(Started, start=True)(lambda self, event: None)
        return type("Trip", (ProcessManager,), body, correlate="order_id", version=version)

    for version, functions, mend in (
        (1, [of("", 1)], "the state of Trip has version 1 here, so .*`version=2`"),
        (3, [of("", 1)], r"write `@upcast\(from_version=2\)` in Trip"),
        (2, [of("", 1), of("", 1)], r"are both @upcast\(from_version=1\)"),
        (2, [of("Trip", 1)], r"names a message; in a class, write `@upcast\(from_version=1\)`"),
        (2, [upcast(from_version=1)(lambda self, old: old)], "below @staticmethod"),
        (0, [], "version=0; give the version of its fields"),
        (True, [], "version=True"),
    ):
        with pytest.raises(DefinitionError, match=mend):
            shop(process(version, *functions))


def test_a_stateless_process_manager_has_no_version() -> None:
    class Mailer(ProcessManager, stateless=True, version=2):
        @handle(Started)
        def on_started(self, event: Started) -> None: ...

    with pytest.raises(DefinitionError, match="stateless, and has version="):
        shop(Mailer)


def test_an_aggregate_has_no_states_to_upcast() -> None:
    class Thing(Aggregate, identity="order_id"):
        @staticmethod
        @upcast(from_version=1)
        def older(old: dict[str, Any]) -> dict[str, Any]:
            return old

        @handle(Pay)
        def pay(self, command: Pay) -> Paid:
            return Paid(self.id, command.amount)

    with pytest.raises(DefinitionError, match="upcast its events"):
        shop(Thing)
