"""What `Domain.check` finds, and what it leaves alone."""

import dataclasses
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from domain_examples.flawed import ALL as FLAWED
from domain_examples.loan_application.process import bank
from domain_examples.order_fulfilment import shop as order_fulfilment
from domain_examples.payment_reconciliation import reconciliation
from domain_examples.user_onboarding import onboarding
from procession import (
    ALL,
    Aggregate,
    Command,
    DesignFinding,
    Domain,
    Event,
    ProcessManager,
    Runtime,
    after,
    apply,
    handle,
    rejected,
    timeout,
)
from procession.testing import Scenario


class Place(Command):
    order_id: str


class Cancel(Command):
    order_id: str


class Pay(Command):
    order_id: str


class Print(Command):
    order_id: str


class Count(Command):
    order_id: str


class Archive(Command):
    order_id: str


class Placed(Event):
    order_id: str


class Cancelled(Event):
    order_id: str


class Paid(Event):
    order_id: str


class Declined(Event):
    order_id: str


class Printed(Event):
    order_id: str


class Elsewhere(Event):
    order_id: str


class Billed(Event, name="billing.Billed.v3"):
    order_id: str


class Order(Aggregate, identity="order_id"):
    @handle(Place)
    def place(self, command: Place) -> Placed:
        return Placed(self.id)

    @handle(Cancel)
    def cancel(self, command: Cancel) -> Cancelled:
        return Cancelled(self.id)


class Payment(Aggregate, identity="order_id"):
    @handle(Pay)
    def pay(self, command: Pay) -> Any:
        return Paid(self.id) if command.order_id else self._decline()

    def _decline(self) -> Event:
        return Declined(self.id)


class Printer(Aggregate, identity="order_id"):
    @handle(Print)
    def print_out(self, command: Print) -> Printed:
        return Printed(self.id)

    @handle(Count)
    def count(self, command: Count) -> None: ...


DAY = timedelta(days=1)
LATE = "late"


def check(*classes: type) -> list[DesignFinding]:
    domain = Domain("shop")
    domain.register(Order, Payment, Printer, *classes)
    return domain.check()


def codes(*classes: type) -> list[tuple[str, str]]:
    return [(finding.code, finding.place) for finding in check(*classes)]


class Sound(ProcessManager, correlate="order_id"):
    @handle(Placed, start=True)
    def on_placed(self, event: Placed) -> None:
        self.issue(Pay(event.order_id))

    @handle(Paid, end=True)
    def on_paid(self, event: Paid) -> None: ...

    @handle(Declined, end=True)
    def on_declined(self, event: Declined) -> None: ...


# Nothing to find


def test_a_sound_design_has_no_findings() -> None:
    assert check(Sound) == []


@pytest.mark.parametrize(
    "domain", [order_fulfilment, onboarding, reconciliation, bank], ids=lambda domain: domain.name
)
def test_the_examples_have_no_findings(domain: Domain) -> None:
    assert domain.check() == []


@pytest.mark.parametrize("module", FLAWED, ids=lambda module: module.__name__)
def test_the_sound_twins_of_the_flawed_examples_leave_out_what_they_are_not_about(
    module: Any,
) -> None:
    found = {finding.code for finding in module.correct.check()}
    assert found <= {"no-end", "unanswered-command", "unmade-event"}


def test_a_domain_without_process_managers_has_no_findings() -> None:
    assert check() == []
    assert Domain("empty").check() == []


def test_a_finding_is_a_value_that_says_all_of_itself() -> None:
    finding = DesignFinding("no-end", "Sound", "nothing ends it", "end it")
    assert finding == DesignFinding("no-end", "Sound", "nothing ends it", "end it")
    assert str(finding) == "Sound: nothing ends it; end it [no-end]"
    with pytest.raises(dataclasses.FrozenInstanceError):
        finding.code = "other"  # type: ignore[misc]


# no-end


def test_a_process_that_nothing_ends_is_found() -> None:
    class Endless(ProcessManager, correlate="order_id"):
        @handle(Placed, start=True)
        def on_placed(self, event: Placed) -> None: ...

    (finding,) = check(Endless)
    assert (finding.code, finding.place) == ("no-end", "Endless")
    assert "nothing ends" in finding.message
    assert "mark_as_complete" in finding.mend


def test_a_process_that_code_marks_as_complete_has_an_end() -> None:
    class Ending(ProcessManager, correlate="order_id"):
        @handle(Placed, start=True)
        def on_placed(self, event: Placed) -> None:
            self._close()

        def _close(self) -> None:
            self.mark_as_complete()

    assert check(Ending) == []


def test_a_process_that_a_function_marks_as_complete_has_an_end() -> None:
    def close(process: ProcessManager) -> None:
        process.mark_as_complete()

    class Ending(ProcessManager, correlate="order_id"):
        @handle(Placed, start=True)
        def on_placed(self, event: Placed) -> None:
            close(self)

    assert check(Ending) == []


def test_a_process_that_inherits_its_end_has_one() -> None:
    class Child(Sound):
        @after(Paid)
        def tell(self, event: Paid) -> None: ...

    assert check(Child) == []


def test_stateless_ones_and_ones_for_all_need_no_end() -> None:
    class Stateless(ProcessManager, stateless=True):
        @handle(Placed)
        def on_placed(self, event: Placed) -> None:
            self.issue(Print(event.order_id))

    class Counter(ProcessManager, correlate=ALL):
        placed: int = 0

        @handle(Placed, start=True)
        def on_placed(self, event: Placed) -> None:
            self.placed += 1
            self.issue(Print(event.order_id))

    assert check(Stateless, Counter) == []


# unanswered-command


def test_a_command_whose_answer_is_not_handled_is_found() -> None:
    class Deaf(ProcessManager, correlate="order_id"):
        @handle(Placed, start=True)
        def on_placed(self, event: Placed) -> None:
            self.issue(Pay(event.order_id))

        @handle(Cancelled, end=True)
        def on_cancelled(self, event: Cancelled) -> None: ...

    (finding,) = check(Deaf)
    assert (finding.code, finding.place) == ("unanswered-command", "Deaf.on_placed")
    assert "issues Pay" in finding.message
    assert "Declined or Paid" in finding.message
    assert finding.mend.startswith("handle Declined or Paid")


def test_a_command_that_is_issued_through_a_method_is_found_where_the_step_is() -> None:
    class Deaf(ProcessManager, correlate="order_id"):
        @handle(Placed, start=True)
        def on_placed(self, event: Placed) -> None:
            self._pay()

        @handle(Cancelled, end=True)
        def on_cancelled(self, event: Cancelled) -> None: ...

        def _pay(self) -> None:
            self.issue(Pay(self.id))

    assert codes(Deaf) == [("unanswered-command", "Deaf.on_placed")]


def test_a_command_that_makes_no_event_cannot_be_waited_for() -> None:
    class Deaf(ProcessManager, correlate="order_id"):
        @handle(Placed, start=True)
        def on_placed(self, event: Placed) -> None:
            self.issue(Count(event.order_id))

        @handle(Cancelled, end=True)
        def on_cancelled(self, event: Cancelled) -> None: ...

    (finding,) = check(Deaf)
    assert (finding.code, finding.place) == ("unanswered-command", "Deaf.on_placed")
    assert "Printer.count answers with no event" in finding.message
    assert finding.mend.startswith("make an event in Printer.count")


def test_a_refusal_is_no_answer_that_a_process_goes_on_by() -> None:
    class Deaf(ProcessManager, correlate="order_id"):
        @handle(Placed, start=True)
        def on_placed(self, event: Placed) -> None:
            self.issue(Print(event.order_id))

        @rejected(Print)
        def on_refused(self, command: Print, reason: str) -> None:
            self.mark_as_complete()

    assert codes(Deaf) == [("unanswered-command", "Deaf.on_placed")]


def test_the_last_command_needs_no_answer() -> None:
    class Last(ProcessManager, correlate="order_id"):
        @handle(Placed, start=True)
        def on_placed(self, event: Placed) -> None:
            self.issue(Pay(event.order_id))

        @handle(Paid, end=True)
        def on_paid(self, event: Paid) -> None:
            self.issue(Print(self.id))

        @handle(Declined)
        def on_declined(self, event: Declined) -> None:
            self.issue(Cancel(self.id))
            self.mark_as_complete()

    assert check(Last) == []


def test_a_command_beside_one_that_is_answered_needs_no_answer() -> None:
    class Noted(Sound):
        @handle(Placed, start=True)
        def on_placed(self, event: Placed) -> None:
            self.issue(Print(event.order_id), Pay(event.order_id))

    assert check(Noted) == []


def test_a_step_that_sets_a_timeout_goes_on_by_it() -> None:
    class Reminder(ProcessManager, correlate="order_id"):
        @handle(Placed, start=True)
        def on_placed(self, event: Placed) -> None:
            self._remind()

        @timeout("reminder")
        def on_reminder(self) -> None:
            self._remind()

        @handle(Cancelled, end=True)
        def on_cancelled(self, event: Cancelled) -> None: ...

        def _remind(self) -> None:
            self.issue(Print(self.id))
            self.set_timeout("reminder", DAY)

    assert check(Reminder) == []


class Waiting(ProcessManager, correlate="order_id"):
    """Waits until a service cancels; what it prints first leads to nothing."""

    @handle(Placed, start=True)
    def on_placed(self, event: Placed) -> None:
        self.issue(Print(event.order_id))

    @handle(Cancelled)
    def on_cancelled(self, event: Cancelled) -> None:
        self.issue(Pay(self.id))

    @handle(Paid, end=True)
    def on_paid(self, event: Paid) -> None: ...

    @handle(Declined, end=True)
    def on_declined(self, event: Declined) -> None: ...


def test_a_step_after_which_others_must_act_needs_no_answer() -> None:
    assert check(Waiting, Cancel) == []


def test_what_others_did_already_is_not_waited_for_again() -> None:
    class Deaf(Waiting):
        @handle(Paid)
        def on_paid(self, event: Paid) -> None:
            self.issue(Print(self.id))

    assert codes(Deaf, Cancel) == [("unanswered-command", "Deaf.on_paid")]


def test_what_a_timeout_or_a_refusal_leads_to_can_come_before_others_act() -> None:
    class Patient(Waiting):
        @handle(Placed, start=True)
        def on_placed(self, event: Placed) -> None:
            self.issue(Print(self.id))
            self.set_timeout("late", DAY)

        @timeout("late")
        def on_late(self) -> None:
            self.issue(Print(self.id))

        @rejected(Print)
        def on_refused(self, command: Print, reason: str) -> None:
            self.issue(Print(self.id))

    assert check(Patient, Cancel) == []


def test_a_command_for_an_aggregate_of_another_domain_is_left_alone() -> None:
    class Abroad(Command):
        order_id: str

    class Sender(ProcessManager, correlate="order_id"):
        @handle(Placed, start=True)
        def on_placed(self, event: Placed) -> None:
            self.issue(Abroad(event.order_id))

        @handle(Cancelled, end=True)
        def on_cancelled(self, event: Cancelled) -> None: ...

    assert check(Sender) == []


# applied-never-made


ANSWERS: dict[str, type[Event]] = {"printed": Printed, "paid": Paid}


class Archivist(Aggregate, identity="order_id"):
    @handle(Archive)
    def archive(self, command: Archive) -> Cancelled:
        return Cancelled(self.id)

    @apply(Printed)
    def _printed(self, event: Printed) -> None: ...


def test_an_event_that_an_aggregate_applies_and_its_code_does_not_name_is_found() -> None:
    [finding] = check(Archivist)
    assert (finding.code, finding.place) == ("applied-never-made", "Archivist._printed")
    assert "applies Printed" in finding.message
    assert "it names: Cancelled" in finding.message
    assert "return annotation" in finding.mend


def test_an_applied_event_that_only_data_leads_to_works_and_is_named_by_an_annotation() -> None:
    class Looking(Aggregate, identity="order_id"):
        printed: bool = False

        @handle(Archive)
        def archive(self, command: Archive) -> Any:
            return ANSWERS["printed"](self.id)

        @apply(Printed)
        def _printed(self, event: Printed) -> None:
            self.printed = True

    class Telling(Looking):
        @handle(Archive)
        def archive(self, command: Archive) -> Printed:
            return super().archive(command)  # type: ignore[no-any-return]

    assert codes(Looking) == [("applied-never-made", "Looking._printed")]
    assert codes(Telling) == []
    domain = Domain("shop")
    domain.register(Looking)
    with Runtime.ephemeral(domain) as runtime:
        assert runtime.ask(Archive("o1"), timeout=10) == [Printed("o1")]
        view = runtime.get(Looking, "o1")
        assert view is not None
        assert view.state == {"printed": True}
    Scenario(domain, Looking).given(Printed("o1")).when(Archive("o1")).state(printed=True)


# unmade-event


class Listener(ProcessManager, correlate="order_id"):
    @handle(Elsewhere, start=True, end=True)
    def on_elsewhere(self, event: Elsewhere) -> None: ...


def test_an_event_that_nobody_makes_is_found() -> None:
    (finding,) = check(Listener)
    assert (finding.code, finding.place) == ("unmade-event", "Listener.on_elsewhere")
    assert "which no aggregate of shop makes" in finding.message
    assert "`shop.register(Elsewhere)`" in finding.mend
    assert '`shop.register_external_event(Elsewhere, "<that domain>.Elsewhere.v1")`' in finding.mend


def test_an_event_that_is_registered_may_come_from_outside() -> None:
    assert check(Elsewhere, Listener) == []


def test_an_event_that_is_registered_as_external_may_come_from_outside() -> None:
    domain = Domain("shop")
    domain.register_external_event(Elsewhere, "billing.Elsewhere.v1")
    domain.register(Listener)
    assert domain.check() == []


def test_an_event_that_is_named_after_another_domain_comes_from_there() -> None:
    class Biller(ProcessManager, correlate="order_id"):
        @handle(Billed, start=True, end=True)
        def on_billed(self, event: Billed) -> None: ...

    assert check(Biller) == []
    home = Domain("billing")
    home.register(Biller)
    assert [finding.code for finding in home.check()] == ["unmade-event"]


def test_an_event_that_only_an_after_effect_is_for_must_be_made_too() -> None:
    class Teller(ProcessManager, stateless=True):
        @after(Elsewhere)
        def tell(self, event: Elsewhere) -> None: ...

    assert codes(Teller) == [("unmade-event", "Teller.tell")]


# timeout-not-handled, timeout-never-set


def test_a_timeout_that_is_set_and_not_handled_is_found() -> None:
    class Forgetful(ProcessManager, correlate="order_id"):
        @handle(Placed, start=True)
        def on_placed(self, event: Placed) -> None:
            self._wait()

        @handle(Cancelled, end=True)
        def on_cancelled(self, event: Cancelled) -> None: ...

        def _wait(self) -> None:
            self.set_timeout("payment", timedelta(minutes=30))

    (finding,) = check(Forgetful)
    assert (finding.code, finding.place) == ("timeout-not-handled", "Forgetful._wait")
    assert "'payment'" in finding.message
    assert finding.mend == "mark a method with `@timeout('payment')`"


def test_a_timeout_that_is_handled_and_never_set_is_found() -> None:
    class Idle(Sound):
        @timeout("payment")
        def on_late(self) -> None: ...

    (finding,) = check(Idle)
    assert (finding.code, finding.place) == ("timeout-never-set", "Idle.on_late")
    assert "'payment'" in finding.message
    assert "self.set_timeout('payment', ...)" in finding.mend


def test_a_misspelt_timeout_is_found_at_both_ends() -> None:
    class Misspelt(Sound):
        @handle(Placed, start=True)
        def on_placed(self, event: Placed) -> None:
            self.issue(Pay(event.order_id))
            self.set_timeout("paymnt", DAY)

        @timeout("payment")
        def on_late(self) -> None: ...

    assert codes(Misspelt) == [
        ("timeout-never-set", "Misspelt.on_late"),
        ("timeout-not-handled", "Misspelt.on_placed"),
    ]


def test_a_timeout_may_be_named_by_a_constant() -> None:
    class Waiter(Sound):
        @handle(Placed, start=True)
        def on_placed(self, event: Placed) -> None:
            self.issue(Pay(event.order_id))
            self.set_timeout(LATE, DAY)

        @timeout(LATE)
        def on_late(self) -> None: ...

    assert check(Waiter) == []


def test_a_timeout_whose_name_is_worked_out_may_be_any() -> None:
    class Waiter(Sound):
        step: str = ""

        @handle(Placed, start=True)
        def on_placed(self, event: Placed) -> None:
            self.step = "pay"
            self.issue(Pay(event.order_id))
            self.set_timeout(f"late-{self.step}", DAY)

        @timeout("late-pay")
        def on_late(self) -> None: ...

    assert check(Waiter) == []


# ignored-outcome


def test_an_outcome_that_is_ignored_beside_one_that_is_handled_is_found() -> None:
    class Optimist(ProcessManager, correlate="order_id"):
        @handle(Placed, start=True)
        def on_placed(self, event: Placed) -> None:
            self.issue(Pay(event.order_id))

        @handle(Paid, end=True)
        def on_paid(self, event: Paid) -> None: ...

    (finding,) = check(Optimist)
    assert (finding.code, finding.place) == ("ignored-outcome", "Optimist")
    assert "handles Paid, but not Declined" in finding.message
    assert "Payment.pay" in finding.message
    assert "@handle(Declined)" in finding.mend


def test_an_outcome_that_only_an_after_effect_is_for_is_not_ignored() -> None:
    class Teller(ProcessManager, correlate="order_id"):
        @handle(Placed, start=True)
        def on_placed(self, event: Placed) -> None:
            self.issue(Pay(event.order_id))

        @handle(Paid, end=True)
        def on_paid(self, event: Paid) -> None: ...

        @after(Declined)
        def tell(self, event: Declined) -> None: ...

    assert check(Teller) == []


def test_outcomes_of_what_a_process_asks_for_as_it_ends_are_not_ignored() -> None:
    class Hasty(ProcessManager, correlate="order_id"):
        @handle(Placed, start=True, end=True)
        def on_placed(self, event: Placed) -> None:
            self.issue(Pay(event.order_id))

        @handle(Paid)
        def on_paid(self, event: Paid) -> None: ...

    assert check(Hasty) == []


# How it is read


def made_by(handler: Callable[..., Any]) -> list[tuple[str, str]]:
    """The codes for an aggregate with this handler, of which a process hears `Paid` only."""

    class Ask(Command):
        order_id: str

    class Till(Aggregate, identity="order_id"):
        answer = handle(Ask)(handler)

        def decline(self) -> Event:
            return Declined(self.id)

        @staticmethod
        def decline_for(order_id: str) -> Event:
            return Declined(order_id)

    class Asker(ProcessManager, correlate="order_id"):
        @handle(Placed, start=True)
        def on_placed(self, event: Placed) -> None:
            self.issue(Ask(event.order_id))

        @handle(Paid, end=True)
        def on_paid(self, event: Paid) -> None: ...

    return codes(Till, Asker)


def through_a_comprehension(self: Any, command: Command) -> Any:
    yield from (self.decline() for _ in "ab")
    yield Paid(self.id)


def through_a_lambda(self: Any, command: Command) -> Any:
    later: Callable[[], Any] = lambda: self.decline()  # noqa: E731, PLW0108 - what is tested
    return later() or Paid(self.id)


def through_a_static_method(self: Any, command: Command) -> Any:
    return self.decline_for(self.id) or Paid(self.id)


def through_a_return_annotation(self: Any, command: Any) -> Paid | Declined:
    return command.answer  # type: ignore[no-any-return]


def through_another_object(self: Any, command: Any) -> Paid:
    command.decline()
    return Paid(self.id)


@pytest.mark.parametrize(
    "handler",
    [
        through_a_comprehension,
        through_a_lambda,
        through_a_static_method,
        through_a_return_annotation,
    ],
)
def test_what_a_handler_can_make_is_followed_through_its_own_methods(
    handler: Callable[..., Any],
) -> None:
    assert made_by(handler) == [("ignored-outcome", "Asker")]


def test_a_method_of_another_object_by_the_same_name_is_not_followed() -> None:
    assert made_by(through_another_object) == []


def test_a_handler_may_make_what_its_parents_method_makes() -> None:
    class Careful(Payment, category="careful"):
        @handle(Print)
        def pay(self, command: Any) -> Any:
            return super().pay(command)

    class Optimist(ProcessManager, correlate="order_id"):
        @handle(Placed, start=True)
        def on_placed(self, event: Placed) -> None:
            self.issue(Print(event.order_id))

        @handle(Paid, end=True)
        def on_paid(self, event: Paid) -> None: ...

    domain = Domain("shop")
    domain.register(Order, Careful, Optimist)
    assert [finding.code for finding in domain.check()] == ["ignored-outcome"]


def test_findings_come_in_the_order_of_their_places() -> None:
    class Zeta(ProcessManager, correlate="order_id"):
        @handle(Placed, start=True)
        def on_placed(self, event: Placed) -> None: ...

    class Alpha(ProcessManager, correlate="order_id"):
        @handle(Placed, start=True)
        def on_placed(self, event: Placed) -> None: ...

    assert codes(Zeta, Alpha, Listener) == [
        ("no-end", "Alpha"),
        ("unmade-event", "Listener.on_elsewhere"),
        ("no-end", "Zeta"),
    ]
