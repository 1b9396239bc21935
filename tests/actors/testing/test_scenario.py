"""Scenarios: given, when, then, of one process manager or aggregate without a runtime."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from procession import (
    ALL,
    Aggregate,
    AlreadyStarted,
    Command,
    Context,
    DefinitionError,
    Domain,
    EarlyEvent,
    Event,
    Indexed,
    InvalidMessage,
    InvalidName,
    ProcessManager,
    Rejected,
    Retry,
    Runtime,
    UnknownMessage,
    apply,
    handle,
    rejected,
    timeout,
)
from procession.testing import ProcessOutcome, Scenario, VirtualClock, delayed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HALF_HOUR = timedelta(minutes=30)
DAY = timedelta(days=1)
START = datetime(2000, 1, 1, tzinfo=UTC)

shop = Domain("shop")


class PlaceOrder(Command):
    order_id: str
    total: Decimal


class OrderPlaced(Event):
    order_id: str
    total: Decimal


class OrderSplit(Event):
    order_id: str
    into: list[str]


class Pay(Command):
    order_id: str
    amount: Decimal


class Paid(Event):
    order_id: str


class PaymentFailed(Event):
    order_id: str


class Ship(Command):
    order_id: str
    parcels: list[str] = []


class Shipped(Event):
    parcel: str
    order_id: str


class Delivered(Event):
    parcel: str


class Thank(Command):
    order_id: str


class Thanked(Event):
    order_id: str


shop.register(Paid, PaymentFailed, Shipped, Delivered, Thanked)


@shop.register
class Order(Aggregate, identity="order_id"):
    total: Decimal | None = None
    parts: list[str] = []

    @handle(PlaceOrder)
    def place(self, command: PlaceOrder) -> Iterator[OrderPlaced | OrderSplit]:
        if self.total is not None:
            raise Rejected("this order was placed before")
        yield OrderPlaced(self.id, command.total)
        if command.total > 1_000:
            raise Rejected(f"{self.total} is too much")
        if command.total > 100:
            yield OrderSplit(self.id, ["a", "b"])

    @apply(OrderPlaced)
    def _placed(self, event: OrderPlaced) -> None:
        self.total = event.total

    @apply(OrderSplit)
    def _split(self, event: OrderSplit) -> None:
        self.parts = event.into


@shop.register
class Desk(Aggregate, identity="order_id"):
    @handle(Pay)
    def pay(self, command: Pay) -> Paid | PaymentFailed:
        return Paid(self.id)

    @handle(Ship)
    def ship(self, command: Ship) -> Shipped:
        if command.parcels == ["bulky"]:
            raise KeyError("no such van")
        return Shipped("p1", self.id)

    @handle(Thank)
    def thank(self, command: Thank) -> Thanked:
        return Thanked(self.id)


@shop.register
class Fulfilment(ProcessManager, correlate="order_id"):
    order_id: str = ""
    status: str = "new"
    parcel: Indexed[str] = ""
    reasons: list[str] = []
    letter: str = ""

    contexts: ClassVar[list[Context]] = []

    @handle(OrderPlaced, start=True)
    def on_placed(self, event: OrderPlaced) -> None:
        Fulfilment.contexts.append(self.context)
        self.status = "awaiting payment"
        self.issue(Pay(event.order_id, event.total))
        self.letter = self.issue(Thank(event.order_id), after=DAY)
        self.set_timeout("payment", HALF_HOUR)

    @handle(Paid)
    def on_paid(self, event: Paid) -> None:
        Fulfilment.contexts.append(self.context)
        self.status = "paid"
        self.cancel_timeout("payment")
        self.set_timeout("parcel", self.context.time + DAY)
        self.issue(Ship(self.order_id), Ship(self.order_id, ["gift"]))

    @handle(PaymentFailed, end=True)
    def on_failed(self, event: PaymentFailed) -> None:
        self.status = "cancelled"
        self.cancel(self.letter)

    @handle(Shipped)
    def on_shipped(self, event: Shipped) -> None:
        self.parcel = event.parcel

    @handle(Delivered, correlate={"parcel": "parcel"}, end=True)
    def on_delivered(self, event: Delivered) -> None:
        self.status = "delivered"

    @timeout("payment")
    def on_payment_timeout(self) -> None:
        Fulfilment.contexts.append(self.context)
        self.status = "timed out"
        self.mark_as_complete()

    @timeout("parcel")
    def on_parcel_timeout(self) -> None:
        self.status = "late"

    @rejected(Ship)
    def on_no_ship(self, command: Ship, reason: str) -> None:
        Fulfilment.contexts.append(self.context)
        self.reasons.append(f"{command.parcels}: {reason}")
        self.issue(Ship(self.order_id, ["again"]))


PLACED, PAID = OrderPlaced("o1", Decimal(9)), Paid("o1")

placed = Scenario(shop).given(PLACED)


@pytest.fixture(autouse=True)
def no_contexts() -> None:
    Fulfilment.contexts = []


def failing(expect: Callable[[], object]) -> list[str]:
    """The lines of what an expectation says when it fails."""
    with pytest.raises(AssertionError) as error:
        expect()
    return str(error.value).splitlines()


# A process manager


def test_the_process_manager_is_the_one_that_handles_the_event() -> None:
    outcome = Scenario(shop).when(PLACED)
    assert isinstance(outcome, ProcessOutcome)
    outcome.issues(Pay("o1", Decimal(9)), delayed(Thank("o1"), DAY))
    outcome.state(status="awaiting payment", order_id="o1").continues()


def test_every_expectation_can_be_chained_to_every_other() -> None:
    (
        placed.when(PaymentFailed("o1"))
        .issues()
        .cancels(Thank("o1"))
        .cancels_timeout("payment")
        .state(status="cancelled")
        .completes()
        .when(PAID)
        .ignores()
        .state(status="cancelled")
    )


def test_a_scenario_never_changes_and_can_be_the_beginning_of_many() -> None:
    first, second = placed.given(PAID), placed.given(PaymentFailed("o1"))
    first.when(Shipped("p1", "o1")).state(status="paid", parcel="p1")
    second.when(Shipped("p1", "o1")).ignores()
    placed.when(PAID).continues()
    placed.when(PAID).continues()


def test_an_outcome_goes_on_as_a_scenario_in_which_it_happened() -> None:
    outcome = placed.when(PAID)
    outcome.when(Shipped("p1", "o1")).when(Delivered("p1")).completes()
    outcome.when(timeout("parcel")).state(status="late").continues()


def test_commands_are_compared_exactly_and_in_order() -> None:
    outcome = placed.when(PAID)
    outcome.issues(Ship("o1"), Ship("o1", ["gift"]))
    for wrong in ([Ship("o1", ["gift"]), Ship("o1")], [Ship("o1")], [], [Ship("o1")] * 3):
        with pytest.raises(AssertionError):
            outcome.issues(*wrong)


def test_a_command_that_is_held_back_is_another_than_one_that_is_not() -> None:
    outcome = Scenario(shop).when(PLACED)
    pay = Pay("o1", Decimal(9))
    outcome.issues(pay, delayed(Thank("o1"), START + DAY))
    for wrong in (Thank("o1"), delayed(Thank("o1"), HALF_HOUR)):
        with pytest.raises(AssertionError):
            outcome.issues(pay, wrong)


def test_commands_that_are_taken_back_are_told() -> None:
    placed.when(PaymentFailed("o1")).cancels(Thank("o1"))
    placed.when(PAID).cancels()


def test_a_command_issued_and_taken_back_in_one_step_was_not_issued() -> None:
    hasty = Domain("hasty")

    @hasty.register
    class Hasty(ProcessManager, correlate="order_id"):
        @handle(Paid, start=True)
        def on_paid(self, event: Paid) -> None:
            self.cancel(self.issue(Thank(event.order_id), after=DAY))

    Scenario(hasty, shop, Hasty).when(PAID).issues().cancels()


def test_timeouts_that_are_set_are_told_by_delay_or_moment() -> None:
    outcome = Scenario(shop).when(PLACED)
    outcome.sets_timeout("payment")
    outcome.sets_timeout("payment", HALF_HOUR)
    outcome.sets_timeout("payment", START + HALF_HOUR)
    for wrong in (DAY, START):
        with pytest.raises(AssertionError):
            outcome.sets_timeout("payment", wrong)
    with pytest.raises(AssertionError):
        outcome.sets_timeout("parcel")


def test_a_timeout_is_taken_back_by_the_handler_or_by_completing_if_it_was_set() -> None:
    placed.when(PAID).cancels_timeout("payment").sets_timeout("parcel", DAY)
    placed.when(PaymentFailed("o1")).cancels_timeout("payment")
    with pytest.raises(AssertionError):
        placed.when(PAID).cancels_timeout("parcel")
    with pytest.raises(AssertionError):
        placed.when(PAID).when(Paid("o1")).cancels_timeout("payment")


def test_a_timeout_that_is_moved_is_set_and_not_taken_back() -> None:
    again = placed.given(PAID).when(PAID)
    again.sets_timeout("parcel", DAY)
    with pytest.raises(AssertionError):
        again.cancels_timeout("parcel")


def test_a_timeout_falls_due_at_its_time() -> None:
    placed.when(timeout("payment")).state(status="timed out").completes().issues()
    assert Fulfilment.contexts[-1].event_id == "timeout:payment"
    assert Fulfilment.contexts[-1].time == START + HALF_HOUR


def test_a_timeout_that_is_not_set_any_more_is_ignored() -> None:
    placed.given(PAID).when(timeout("payment")).ignores().state(status="paid")


def test_what_is_given_after_a_timeout_happens_at_its_time() -> None:
    begun = Scenario(shop, now=datetime(2024, 3, 1, tzinfo=UTC)).given(PLACED, PAID)
    outcome = begun.given(timeout("parcel")).when(PAID)
    outcome.sets_timeout("parcel", datetime(2024, 3, 3, tzinfo=UTC))


def test_a_timeout_that_cannot_have_happened_cannot_be_given() -> None:
    with pytest.raises(ValueError, match=r"given timeout\('payment'\): no instance has set"):
        placed.given(PAID, timeout("payment")).when(PAID)


def test_a_command_can_be_refused() -> None:
    outcome = placed.given(PAID).when(rejected(Ship("o1", ["gift"]), reason="no paper"))
    outcome.state(reasons=["['gift']: no paper"]).issues(Ship("o1", ["again"])).continues()
    assert Fulfilment.contexts[-1].event_id == "shop.Fulfilment-o1@2.1"
    outcome.when(rejected(Ship("o1", ["again"]), reason="closed")).state(
        reasons=["['gift']: no paper", "['again']: closed"]
    )


def test_a_refusal_after_the_end_is_ignored() -> None:
    ended = placed.given(PAID, PaymentFailed("o1"))
    ended.when(rejected(Ship("o1"), reason="closed")).ignores()


def test_only_what_was_issued_can_be_refused() -> None:
    with pytest.raises(UnknownMessage, match=r"Fulfilment has not issued Ship\(order_id='o2'"):
        placed.given(PAID).when(rejected(Ship("o2"), reason="closed"))


def test_a_refusal_that_no_process_manager_handles_is_reported() -> None:
    with pytest.raises(UnknownMessage, match="no process manager here handles a rejected Pay"):
        placed.when(rejected(Pay("o1", Decimal(9)), reason="closed"))


def test_an_event_before_the_start_is_ignored() -> None:
    outcome = Scenario(shop).when(PAID).ignores().issues()
    lines = failing(lambda: outcome.state(status="new"))
    assert lines[0].endswith("there is no instance 'o1'")
    assert lines[1] == "  nothing came of it: 'o1' has not started"


def test_an_instance_is_found_by_a_key_that_it_learnt() -> None:
    shipped = placed.given(PAID, Shipped("p1", "o1"))
    shipped.when(Delivered("p1")).completes()
    shipped.when(Delivered("p2")).holds().state(status="paid")
    shipped.given(Shipped("p3", "o1")).when(Delivered("p1")).holds()


def test_an_event_whose_key_is_learnt_later_is_handled_then() -> None:
    early = placed.given(PAID, Delivered("p1"))
    early.when(Shipped("p1", "o1")).completes()
    with pytest.raises(AssertionError, match="no instance has the learnt key that it names"):
        early.when(Delivered("p2")).ignores()


def test_several_instances_have_nothing_to_do_with_each_other() -> None:
    both = placed.given(OrderPlaced("o2", Decimal(7)), PAID)
    both.when(Paid("o2")).state(order_id="o2").issues(Ship("o2"), Ship("o2", ["gift"]))
    both.when(timeout("payment")).state(order_id="o2", status="timed out")


def test_a_timeout_that_several_instances_have_set_is_refused() -> None:
    with pytest.raises(ValueError, match=r"both 'o1' and 'o2' have set the timeout 'payment'"):
        placed.given(OrderPlaced("o2", Decimal(7))).when(timeout("payment"))


def test_handlers_see_a_context_as_the_runtime_would_give_it() -> None:
    placed.when(PAID)
    first, second = Fulfilment.contexts
    assert (first.event_id, first.stream) == ("shop::order-o1@1", "shop::order-o1")
    assert (first.type, first.position, first.attempt) == ("shop.OrderPlaced.v1", 1, 1)
    assert (first.time, first.causation_id, first.headers) == (START, None, {})
    assert (second.stream, second.position) == ("shop::desk-o1", 2)
    assert second.correlation_id == first.correlation_id == first.event_id
    assert not second.refreshing


def test_what_a_handler_raises_propagates_as_it_is() -> None:
    broken = Domain("broken")

    class Oops(Exception):
        pass

    @broken.register
    class Broken(ProcessManager, correlate="order_id", retry=Retry(attempts=3)):
        @handle(Paid, start=True)
        def on_paid(self, event: Paid) -> None:
            raise Oops

        def on_error(self, error: Exception, context: Context) -> Any:
            pytest.fail("nothing is tried again here")

    with pytest.raises(Oops) as error:
        Scenario(broken).when(PAID)
    assert error.traceback[-1].name == "on_paid"


def spoiling(spoil: Callable[[Any], object]) -> Scenario:
    rotten = Domain("rotten")

    @rotten.register
    class Rotten(ProcessManager, correlate="order_id"):
        order_id: str = ""
        when: datetime | None = None

        @handle(Paid, start=True)
        def on_paid(self, event: Paid) -> None:
            spoil(self)

    return Scenario(rotten, shop, Rotten)


@pytest.mark.parametrize(
    ("spoil", "error", "text"),
    [
        (lambda p: setattr(p, "status", "x"), InvalidMessage, r"self\.status is no declared field"),
        (lambda p: setattr(p, "when", "today"), InvalidMessage, r"state of .*Rotten is not valid"),
        (lambda p: p.issue(Ship("o1", [1])), InvalidMessage, r"Ship is not valid"),  # type: ignore[list-item]
        (lambda p: p.issue(Ship("x" * 500)), InvalidName, r"is 500 bytes long; at most 400"),
        (lambda p: p.issue(globals()["Lost"]("o1")), UnknownMessage, r"no aggregate takes Lost"),
        (lambda p: p.set_timeout("tea", DAY), InvalidMessage, r"no @timeout\('tea'\) method"),
    ],
)
def test_what_the_runtime_would_refuse_the_scenario_refuses(
    spoil: Callable[[Any], object], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        spoiling(spoil).when(PAID)


class Lost(Command):
    order_id: str


def test_an_event_that_does_not_fit_its_annotations_is_refused() -> None:
    wrong: Any = "9"
    with pytest.raises(InvalidMessage, match=r"OrderPlaced is not valid: total='9'"):
        Scenario(shop).when(OrderPlaced("o1", wrong))


def test_state_is_what_would_be_read_from_disk() -> None:
    def spoil(process: Any) -> None:
        process.when = datetime(2024, 1, 1, 12, tzinfo=UTC)

    spoiling(spoil).when(PAID).state(when=datetime(2024, 1, 1, 12, tzinfo=UTC))


# Starts, ends, and those that have neither


class Begun(Event):
    job: str
    to: list[str] = []


class Noted(Event):
    job: str
    text: str


class Ended(Event):
    job: str


def make_yard() -> Domain:
    yard = Domain("yard")
    yard.register(Begun, Noted, Ended)
    return yard


def jobs(**keywords: Any) -> Scenario:
    yard = make_yard()

    @yard.register
    class Job(ProcessManager, correlate="job", **keywords):
        job: str = ""
        notes: list[str] = []

        @handle(Begun, start=True)
        def on_begun(self, event: Begun) -> None:
            self.notes.append(f"begun at {self.version}")

        @handle(Noted)
        def on_noted(self, event: Noted) -> None:
            self.notes.append(event.text)
            self.issue(Thank(event.text))

        @handle(Ended, end=True)
        def on_ended(self, event: Ended) -> None: ...

    return Scenario(yard, shop, Job)


def test_an_early_event_that_is_held_is_handled_with_the_start() -> None:
    early = jobs(early="hold").when(Noted("j", "a")).holds().issues()
    with pytest.raises(AssertionError, match="it is held until then"):
        early.ignores()
    started = early.when(Noted("j", "b")).holds().when(Begun("j"))
    started.state(notes=["begun at 0", "a", "b"]).issues(Thank("a"), Thank("b")).continues()
    started.when(Noted("j", "c")).state(notes=["begun at 0", "a", "b", "c"]).issues(Thank("c"))


def test_a_process_that_ends_with_what_was_held_has_ended() -> None:
    held = jobs(early="hold").given(Noted("j", "a"), Ended("j"), Noted("j", "b"))
    held.when(Begun("j")).completes().state(notes=["begun at 0", "a"]).issues(Thank("a"))


def test_an_early_event_that_would_be_parked_raises() -> None:
    with pytest.raises(EarlyEvent, match=r"yard\.Job 'j' has not started"):
        jobs(early="park").when(Noted("j", "a"))


def test_only_what_is_held_is_held() -> None:
    with pytest.raises(AssertionError, match="was handled"):
        jobs(early="hold").when(Begun("j")).holds()
    with pytest.raises(AssertionError, match="has not started"):
        jobs().when(Noted("j", "a")).holds()


def test_a_completed_process_ignores_its_start_or_starts_anew() -> None:
    done = (Begun("j"), Noted("j", "a"), Ended("j"))
    jobs().given(*done).when(Begun("j")).ignores().state(notes=["begun at 0", "a"])
    jobs(restart=True).given(*done).when(Begun("j")).continues().state(notes=["begun at 3"])


def test_a_second_start_that_only_starts_raises() -> None:
    yard = make_yard()

    @yard.register
    class Job(ProcessManager, correlate="job"):
        @handle(Begun, start="only")
        def on_begun(self, event: Begun) -> None: ...

    with pytest.raises(AlreadyStarted):
        Scenario(yard).given(Begun("j")).when(Begun("j"))


def test_a_stateless_process_manager_handles_each_event_by_itself() -> None:
    yard = make_yard()

    @yard.register
    class Clerk(ProcessManager, stateless=True):
        @handle(Noted)
        def on_noted(self, event: Noted) -> None:
            self.issue(Thank(event.text))

    noted = Scenario(yard, shop, Clerk).given(Noted("j", "a"), Noted("j", "b"))
    noted.when(Noted("j", "c")).issues(Thank("c")).completes().state()


def test_one_event_may_reach_many_instances_or_one_for_all_or_none() -> None:
    yard = make_yard()

    @yard.register
    class Many(ProcessManager, correlate=lambda event: event.to):
        seen: int = 0

        @handle(Begun, start=True)
        def on_begun(self, event: Begun) -> None:
            self.seen += 1
            self.issue(Thank(self.id))

    @yard.register
    class One(ProcessManager, correlate=ALL):
        seen: int = 0

        @handle(Begun, start=True)
        def on_begun(self, event: Begun) -> None:
            self.seen += 1

    many = Scenario(yard, shop, Many)
    outcome = many.when(Begun("j", ["b", "a"])).issues(Thank("b"), Thank("a")).state(seen=1)
    again = outcome.when(Begun("j", ["c", "b"])).continues()
    with pytest.raises(AssertionError, match="the state of Many 'c'"):
        again.state(seen=2)
    many.when(Begun("j", [])).ignores()
    Scenario(yard, shop, One).given(Begun("i")).when(Begun("j")).state(seen=2)


def test_the_stream_of_the_context_is_one_that_is_listened_to() -> None:
    yard, streams = Domain("yard"), list[str]()

    @yard.register
    class Clerk(ProcessManager, correlate="order_id", streams=["yard::gate", "attic::box"]):
        @handle(Paid, start=True)
        def on_paid(self, event: Paid) -> None:
            streams.append(self.context.stream)

    Scenario(yard, shop, Clerk).when(PAID)
    assert streams == ["attic::box-1"]


def test_events_of_other_domains_are_handled_under_their_own_names() -> None:
    yard, names = Domain("yard"), list[str]()

    class Received(Event):
        order_id: str

    yard.register_external_event(Received, "Billing.PaymentReceived.v3")

    @yard.register
    class Clerk(ProcessManager, correlate="order_id"):
        @handle(Received, start=True)
        def on_received(self, event: Received) -> None:
            names.append(self.context.type)

    Scenario(yard).when(Received("o1")).continues()
    assert names == ["Billing.PaymentReceived.v3"]


# An aggregate


def test_an_aggregate_emits_events_and_has_a_state() -> None:
    outcome = Scenario(shop).when(PlaceOrder("o1", Decimal(101)))
    outcome.emits(OrderPlaced("o1", Decimal(101)), OrderSplit("o1", ["a", "b"]))
    outcome.state(total=Decimal(101), parts=["a", "b"])


def test_an_aggregate_begins_with_the_events_of_its_stream() -> None:
    split = Scenario(shop, Order).given(PLACED, OrderSplit("o1", ["x"]))
    outcome = split.when(PlaceOrder("o1", Decimal(1))).rejects("this order was placed before")
    outcome.rejects().state(total=Decimal(9), parts=["x"])


def test_an_aggregate_may_be_given_commands_that_it_carried_out() -> None:
    given_ = Scenario(shop).given(PlaceOrder("o1", Decimal(1)))
    given_.when(PlaceOrder("o1", Decimal(2))).rejects().state(total=Decimal(1))
    with pytest.raises(Rejected, match="placed before"):
        given_.given(PlaceOrder("o1", Decimal(3))).when(PlaceOrder("o1", Decimal(4)))


def test_a_command_that_is_refused_half_way_changed_nothing() -> None:
    outcome = Scenario(shop).when(PlaceOrder("o1", Decimal(1_001)))
    outcome.rejects("1001 is too much").state(total=None)
    with pytest.raises(AssertionError, match="it was rejected: '1001 is too much'"):
        outcome.emits()


def test_an_outcome_of_an_aggregate_goes_on() -> None:
    outcome = Scenario(shop).when(PlaceOrder("o1", Decimal(1))).emits(OrderPlaced("o1", Decimal(1)))
    outcome.when(PlaceOrder("o1", Decimal(1))).rejects()


def test_an_aggregates_own_errors_propagate_as_they_are() -> None:
    with pytest.raises(KeyError, match="no such van"):
        Scenario(shop).when(Ship("o1", ["bulky"]))


def test_a_command_that_does_not_fit_its_annotations_is_refused() -> None:
    wrong: Any = "9"
    with pytest.raises(InvalidMessage, match="PlaceOrder is not valid"):
        Scenario(shop).when(PlaceOrder("o1", wrong))


def test_what_is_not_in_an_aggregates_stream_cannot_be_given() -> None:
    with pytest.raises(UnknownMessage, match=r"given Paid\(.*no handler of Order makes that"):
        Scenario(shop).given(PAID).when(PlaceOrder("o1", Decimal(1)))
    with pytest.raises(ValueError, match=r"is for 'shop::order-o2', and this .* 'shop::order-o1'"):
        Scenario(shop).given(PlaceOrder("o2", Decimal(1))).when(PlaceOrder("o1", Decimal(1)))


# Which one is meant


def two() -> Domain:
    twins = Domain("twins")

    @twins.register
    class First(ProcessManager, correlate="order_id"):
        @handle(Paid, start=True)
        def on_paid(self, event: Paid) -> None: ...

        @handle(PaymentFailed)
        def on_failed(self, event: PaymentFailed) -> None: ...

    @twins.register
    class Second(ProcessManager, correlate="order_id"):
        @handle(Paid, start=True)
        def on_paid(self, event: Paid) -> None: ...

        @timeout("tea")
        def on_tea(self) -> None: ...

    return twins


def test_where_several_handle_it_the_error_says_to_name_one() -> None:
    with pytest.raises(ValueError, match=r"Paid is handled by .*First, .*Second; name the one"):
        Scenario(two()).when(PAID)


def test_what_is_given_may_tell_which_one_is_meant() -> None:
    Scenario(two()).given(PAID).when(PaymentFailed("o1")).continues()
    Scenario(two()).given(PAID, PaymentFailed("o1")).when(PAID).continues()


def test_the_one_that_is_named_is_meant() -> None:
    twins = two()
    for cls in twins.processes:
        Scenario(twins, cls).when(PAID).continues()


def test_what_nothing_handles_is_reported() -> None:
    with pytest.raises(UnknownMessage, match="no process manager here handles Thanked; write one"):
        Scenario(shop).when(Thanked("o1"))
    with pytest.raises(UnknownMessage, match=r"no process manager here handles timeout\('tea'\)"):
        Scenario(shop).when(timeout("tea"))
    with pytest.raises(UnknownMessage, match="Fulfilment does not handle Thanked, so nothing"):
        placed.given(Thanked("o1")).when(PAID)
    with pytest.raises(UnknownMessage, match="no aggregate takes Lost"):
        Scenario(shop).when(Lost("o1"))


def test_a_class_of_the_wrong_kind_is_reported() -> None:
    with pytest.raises(UnknownMessage, match="Order is an aggregate, and takes commands"):
        Scenario(shop, Order).when(PAID)
    with pytest.raises(UnknownMessage, match="Fulfilment is a process manager, and handles events"):
        Scenario(shop, Fulfilment).when(PlaceOrder("o1", Decimal(1)))


@pytest.mark.parametrize("wrong", [Paid, rejected(Ship), "paid", None, 5])
def test_what_cannot_happen_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match="cannot happen in a scenario; give an event"):
        Scenario(shop).given(wrong)
    with pytest.raises(TypeError, match="cannot happen in a scenario; give an event"):
        Scenario(shop).when(wrong)


@pytest.mark.parametrize("wrong", [[], [Fulfilment], [shop, Fulfilment, Order]])
def test_a_scenario_needs_a_domain_and_at_most_one_class(wrong: list[Any]) -> None:
    with pytest.raises(TypeError, match="takes domains, and at most one class"):
        Scenario(*wrong)


def test_the_time_of_a_scenario_needs_a_zone() -> None:
    with pytest.raises(ValueError, match="has no time zone"):
        Scenario(shop, now=datetime(2024, 1, 1))  # noqa: DTZ001 - refused


def test_domains_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(DefinitionError, match="two domains are called 'shop'"):
        Scenario(shop, Domain("shop"))


def test_what_is_registered_later_is_found() -> None:
    growing = Domain("growing")
    with pytest.raises(UnknownMessage):
        Scenario(growing).when(PAID)

    @growing.register
    class Late(ProcessManager, correlate="order_id"):
        @handle(Paid, start=True)
        def on_paid(self, event: Paid) -> None: ...

    Scenario(growing).when(PAID).continues()


def test_a_command_is_no_mark_for_a_method() -> None:
    with pytest.raises(DefinitionError, match=r"give its class: `@rejected\(Ship\)`"):

        class Wrong(ProcessManager, correlate="order_id"):
            @rejected(Ship("o1"))
            def on_no_ship(self, command: Ship, reason: str) -> None: ...


def test_marks_stand_for_what_they_mark_and_say_so() -> None:
    assert timeout("tea") == timeout("tea")
    assert repr(timeout("tea")) == "timeout('tea')"
    refusal = rejected(Thank("o1"), reason="closed")
    assert refusal == replace(refusal)
    assert repr(refusal) == "rejected(Thank(order_id='o1'), reason='closed')"


# What a failed expectation says


def test_what_was_issued_stands_beside_what_was_expected() -> None:
    outcome = placed.when(PAID)
    assert failing(lambda: outcome.issues(Ship("o2"), Ship("o1", ["gift"]), Thank("o1"))) == [
        "Fulfilment, when Paid(order_id='o1'): the commands are not as expected",
        "  expected  Ship(order_id='o2', parcels=[])",
        "  issued    Ship(order_id='o1', parcels=[])",
        "                 ^^^^^^^^^^^^^",
        "  both      Ship(order_id='o1', parcels=['gift'])",
        "  expected  Thank(order_id='o1')",
    ]


def test_one_too_many_is_told_from_one_that_differs() -> None:
    outcome = Scenario(shop).when(PLACED)
    assert failing(lambda: outcome.issues(delayed(Thank("o1"), timedelta(days=2))))[1:] == [
        "  expected  delayed(Thank(order_id='o1'), timedelta(days=2))",
        "  issued    Pay(order_id='o1', amount=Decimal('9'))",
        "  issued    delayed(Thank(order_id='o1'), timedelta(days=1))",
    ]


def test_nothing_is_called_nothing_and_why_is_told() -> None:
    assert failing(lambda: Scenario(shop).when(PAID).issues(Thank("o1")))[1:] == [
        "  expected  Thank(order_id='o1')",
        "  issued    nothing",
        "  nothing came of it: 'o1' has not started",
    ]
    assert failing(lambda: placed.when(PAID).issues())[1:] == [
        "  expected  nothing",
        "  issued    Ship(order_id='o1', parcels=[])",
        "  issued    Ship(order_id='o1', parcels=['gift'])",
    ]


def test_a_state_that_differs_is_shown_with_the_differences_first() -> None:
    assert failing(lambda: placed.when(PAID).state(order_id="o1", status="x")) == [
        "Fulfilment, when Paid(order_id='o1'): the state of Fulfilment 'o1' is not as expected",
        "  expected  status = 'x'",
        "  is        status = 'paid'",
        "  both      order_id = 'o1'",
        "  besides   parcel = ''",
        "  besides   reasons = []",
        "  besides   letter = 'shop.Fulfilment-o1@1.1'",
    ]


@pytest.mark.parametrize(
    ("expect", "said"),
    [
        (lambda: placed.when(PAID).completes(), "Fulfilment 'o1' has not ended"),
        (lambda: placed.when(PaymentFailed("o1")).continues(), "Fulfilment 'o1' has ended"),
        (lambda: Scenario(shop).when(PAID).completes(), "expected to end with this"),
        (lambda: Scenario(shop).when(PAID).continues(), "expected to go on with this"),
        (lambda: placed.when(PAID).ignores(), "'o1' was handled by on_paid"),
        (lambda: placed.when(PAID).cancels(Thank("o1")), "cancelled nothing"),
        (
            lambda: placed.when(PAID).sets_timeout("payment"),
            "set       timeout('parcel', timedelta(days=1))",
        ),
        (lambda: placed.when(PAID).cancels_timeout("parcel"), "cancelled timeout('payment')"),
        (lambda: placed.when(Delivered("p9")).issues(Thank("x")), "no instance has the learnt"),
        (
            lambda: Scenario(shop).when(PlaceOrder("o1", Decimal(1))).rejects(),
            "emitted   OrderPlaced(order_id='o1', total=Decimal('1'))",
        ),
        (
            lambda: Scenario(shop).when(PlaceOrder("o1", Decimal(1_001))).rejects("no"),
            "said      '1001 is too much'",
        ),
        (
            lambda: Scenario(shop).when(PlaceOrder("o1", Decimal(1))).state(parts=["x"]),
            "is        parts = []",
        ),
    ],
)
def test_every_expectation_that_fails_says_what_there_is(
    expect: Callable[[], object], said: str
) -> None:
    assert said in "\n".join(failing(expect))


def test_a_field_or_timeout_that_is_not_there_is_no_expectation() -> None:
    with pytest.raises(TypeError, match="has no field 'statsu'; it has order_id, status"):
        placed.when(PAID).state(statsu="paid")
    with pytest.raises(TypeError, match="Order has no field 'totl'"):
        Scenario(shop).when(PlaceOrder("o1", Decimal(1))).state(totl=1)
    with pytest.raises(InvalidMessage, match=r"no @timeout\('tea'\) method; it has payment, parc"):
        placed.when(PAID).sets_timeout("tea")
    with pytest.raises(InvalidMessage, match=r"no @timeout\('tea'\) method"):
        placed.when(PAID).cancels_timeout("tea")
    wrong: Any = PAID
    with pytest.raises(InvalidMessage, match=r"issues takes commands and delayed"):
        placed.when(PAID).issues(wrong)


@pytest.mark.parametrize(
    "expect",
    [
        lambda: placed.when(PAID).issues(),
        lambda: placed.when(PAID).state(status="x"),
        lambda: placed.when(PAID).completes(),
        lambda: placed.when(PAID).ignores(),
        lambda: placed.when(PAID).holds(),
        lambda: placed.when(PAID).cancels(Thank("o1")),
        lambda: placed.when(PAID).sets_timeout("payment"),
        lambda: placed.when(PAID).cancels_timeout("parcel"),
        lambda: Scenario(shop).when(PlaceOrder("o1", Decimal(1))).rejects(),
        lambda: Scenario(shop).when(PlaceOrder("o1", Decimal(1))).emits(),
        lambda: Scenario(shop).when(PlaceOrder("o1", Decimal(1))).state(parts=["x"]),
    ],
)
def test_pytest_shows_the_line_of_the_test_and_none_of_ours(expect: Callable[[], object]) -> None:
    with pytest.raises(AssertionError) as error:
        expect()
    assert error.traceback.filter(error)[-1].path == Path(__file__)


# The same as the runtime


HAPPENINGS = st.lists(
    st.one_of(
        st.just(PLACED),
        st.just(PAID),
        st.just(PaymentFailed("o1")),
        st.sampled_from(["p1", "p2"]).map(lambda parcel: Shipped(parcel, "o1")),
        st.sampled_from(["p1", "p2"]).map(Delivered),
    ),
    max_size=12,
)


@settings(max_examples=40)
@given(HAPPENINGS)
def test_a_scenario_comes_to_what_the_runtime_comes_to(happenings: list[Event]) -> None:
    alone = Domain("alone")

    @alone.register
    class Same(Fulfilment, early="hold", restart=True):
        pass

    @alone.register
    class Deaf(Aggregate, identity="order_id"):
        @handle(Pay)
        @handle(Ship)
        @handle(Thank)
        def ignore(self, command: Command) -> None: ...

    issued: list[Command] = []
    scenario, state = Scenario(alone), None
    for happening in happenings:
        outcome = scenario.when(happening)
        issued += [command for change in outcome._changes for command, _ in change.issued]
        state = outcome._states.get("o1", state)
        scenario = scenario.given(happening)
    with Runtime.ephemeral(alone, clock=VirtualClock()) as runtime:
        for happening in happenings:
            runtime.publish(happening, stream="feed::x-1")
        runtime.settle(timeout=30)
        view = runtime.get(Same, "o1")
        told = [c for step in runtime.history(Same, "o1") for c in step.commands]
    assert (view and view.state) == state
    assert told == issued
