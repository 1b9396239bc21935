"""Where `check` finds that a process waits for a person who may never act."""

import types
from datetime import timedelta
from typing import Any

import pytest

from domain_examples.user_onboarding import (
    Account,
    AccountRegistered,
    EmailConfirmed,
    EmailVerified,
    Letters,
    UserOnboarding,
    Workspace,
    WriteCode,
)
from procession import (
    ALL,
    Aggregate,
    Command,
    Domain,
    Event,
    ProcessManager,
    after,
    handle,
    rejected,
    timeout,
)


class Start(Command):
    order_id: str


class Confirm(Command):
    order_id: str


class Cancel(Command):
    order_id: str


class Pay(Command):
    order_id: str


class Ship(Command):
    order_id: str


class Started(Event):
    order_id: str


class Confirmed(Event):
    order_id: str


class Cancelled(Event):
    order_id: str


class Paid(Event):
    order_id: str


class Pending(Event):
    order_id: str


class Shipped(Event):
    order_id: str


class FromBank(Event):
    order_id: str


class Order(Aggregate, identity="order_id"):
    @handle(Start)
    def start(self, command: Start) -> Started:
        return Started(self.id)

    @handle(Confirm)
    def confirm(self, command: Confirm) -> Confirmed:
        return Confirmed(self.id)

    @handle(Cancel)
    def cancel(self, command: Cancel) -> Cancelled:
        return Cancelled(self.id)


class Payment(Aggregate, identity="order_id"):
    @handle(Pay)
    def pay(self, command: Pay) -> Paid | Pending:
        return Paid(self.id) if command.order_id else Pending(self.id)

    @handle(Ship)
    def ship(self, command: Ship) -> Shipped:
        return Shipped(self.id)


DAY = timedelta(days=1)


def waits(*classes: Any) -> list[str]:
    domain = Domain("shop")
    domain.register(Order, Payment, *classes)
    return [finding.place for finding in domain.check() if finding.code == "endless-wait"]


class Waiting(ProcessManager, correlate="order_id"):
    order_id: str = ""

    @handle(Started, start=True)
    def on_started(self, event: Started) -> None: ...

    @handle(Confirmed, end=True)
    def on_confirmed(self, event: Confirmed) -> None: ...


class Remembered(Waiting):
    """What goes on is in the hands of others; each child says what it sets besides."""

    @timeout("late")
    def on_late(self) -> None:
        self.mark_as_complete()


# What is found


def test_a_step_after_which_only_a_person_can_go_on_is_found() -> None:
    domain = Domain("shop")
    domain.register(Order, Waiting)
    (finding,) = domain.check()
    assert (finding.code, finding.place) == ("endless-wait", "Waiting.on_started")
    assert "waits for Confirmed, of Confirm, which nothing here issues" in finding.message
    assert "no timeout is set" in finding.message
    assert finding.mend.startswith("set a timeout, and end the process when it is due")
    assert "`shop.register(Confirm)`" in finding.mend


def test_a_registration_that_no_timeout_ends_is_found() -> None:
    class Impatient(UserOnboarding):
        @handle(AccountRegistered, start=True)
        def on_account_registered(self, event: AccountRegistered) -> None:
            self.status = "awaiting_verification"
            self.email, self.seats, self.code = event.email, event.seats, event.code
            self.issue(WriteCode(event.account_id, event.email, event.code))

    domain = Domain("onboarding")
    domain.register(EmailConfirmed, Account, Letters, Workspace, Impatient)
    found = [finding.place for finding in domain.check() if finding.code == "endless-wait"]
    assert found == ["Impatient.on_account_registered"]


def test_a_timeout_that_only_reminds_once_leaves_the_process_waiting() -> None:
    class Reminding(Remembered):
        @handle(Started, start=True)
        def on_started(self, event: Started) -> None:
            self.set_timeout("late", DAY)

        @timeout("late")
        def on_late(self) -> None:
            self.issue(Ship(self.id))

        @handle(Shipped)
        def on_shipped(self, event: Shipped) -> None: ...

    assert waits(Reminding) == ["Reminding.on_shipped"]


def test_a_step_that_cancels_the_only_timeout_and_waits_on_is_found() -> None:
    class Twice(Remembered):
        @handle(Started, start=True)
        def on_started(self, event: Started) -> None:
            self.set_timeout("late", DAY)

        @handle(Cancelled)
        def on_cancelled(self, event: Cancelled) -> None:
            self.cancel_timeout("late")

    assert waits(Twice) == ["Twice.on_cancelled"]


def test_a_step_behind_one_that_cancelled_the_timeout_is_found() -> None:
    class Later(Remembered):
        @handle(Started, start=True)
        def on_started(self, event: Started) -> None:
            self.set_timeout("late", DAY)

        @handle(Cancelled)
        def on_cancelled(self, event: Cancelled) -> None:
            self.cancel_timeout("late")
            self.issue(Ship(self.id))

        @handle(Shipped)
        def on_shipped(self, event: Shipped) -> None: ...

    assert waits(Later) == ["Later.on_shipped"]


def test_an_answer_that_puts_off_the_rest_to_a_person_is_found() -> None:
    class Put(ProcessManager, correlate="order_id"):
        @handle(Started, start=True)
        def on_started(self, event: Started) -> None:
            self.issue(Pay(self.id))

        @handle(Paid, end=True)
        def on_paid(self, event: Paid) -> None: ...

        @handle(Pending)
        def on_pending(self, event: Pending) -> None: ...

        @handle(Confirmed, end=True)
        def on_confirmed(self, event: Confirmed) -> None: ...

    assert waits(Put) == ["Put.on_pending"]


# What is left alone


def test_an_onboarding_that_a_timeout_ends_is_no_endless_wait() -> None:
    domain = Domain("onboarding")
    domain.register(EmailConfirmed, Account, Letters, Workspace, UserOnboarding)
    assert [finding.code for finding in domain.check()] == []


def test_a_wait_with_a_timeout_is_left_alone() -> None:
    class Timed(Remembered):
        @handle(Started, start=True)
        def on_started(self, event: Started) -> None:
            self.set_timeout("late", DAY)

    assert waits(Timed) == []


def test_a_timeout_of_an_earlier_step_ends_a_later_wait_too() -> None:
    class Timed(Remembered):
        @handle(Started, start=True)
        def on_started(self, event: Started) -> None:
            self.set_timeout("late", DAY)
            self.issue(Ship(self.id))

        @handle(Shipped)
        def on_shipped(self, event: Shipped) -> None: ...

    assert waits(Timed) == []


def test_a_timeout_whose_name_does_not_show_may_be_any() -> None:
    class Timed(Remembered):
        @handle(Started, start=True)
        def on_started(self, event: Started) -> None:
            self.set_timeout(str(event.order_id), DAY)

    assert waits(Timed) == []


def test_a_command_that_another_process_manager_issues_comes_without_a_person() -> None:
    class Clerk(ProcessManager, stateless=True):
        @handle(Started)
        def on_started(self, event: Started) -> None:
            self.issue(Confirm(event.order_id))

    assert waits(Waiting, Clerk) == []


def test_a_command_that_an_effect_sends_comes_without_a_person() -> None:
    sent: list[Command] = []

    class Calling(Waiting):
        @after(Started)
        def call(self, event: Started) -> None:
            sent.append(Confirm(event.order_id))

    assert waits(Calling) == []


def test_a_command_that_is_registered_by_itself_comes_from_a_service() -> None:
    assert waits(Waiting, Confirm) == []


def test_an_event_from_outside_is_no_person() -> None:
    class Banking(ProcessManager, correlate="order_id"):
        @handle(Started, start=True)
        def on_started(self, event: Started) -> None: ...

        @handle(FromBank, end=True)
        def on_bank(self, event: FromBank) -> None: ...

    assert waits(Banking) == []
    assert waits(Banking, FromBank) == []


def test_an_answer_that_is_still_due_makes_the_process_go_on() -> None:
    class Both(ProcessManager, correlate="order_id"):
        is_paid: bool = False

        @handle(Started, start=True)
        def on_started(self, event: Started) -> None:
            self.issue(Pay(self.id), Ship(self.id))

        @handle(Paid)
        @handle(Pending)
        def on_paid(self, event: Paid | Pending) -> None:
            self.is_paid = True

        @handle(Shipped)
        def on_shipped(self, event: Shipped) -> None:
            if self.is_paid:
                self.mark_as_complete()

        @handle(Cancelled, end=True)
        def on_cancelled(self, event: Cancelled) -> None: ...

    assert waits(Both) == []


def test_an_aggregate_that_answers_with_several_events_may_still_make_the_next() -> None:
    class Both(Command):
        order_id: str

    class Several(Aggregate, identity="order_id"):
        @handle(Both)
        def both(self, command: Both) -> Any:
            yield Paid(self.id)
            yield Shipped(self.id)

    class Asking(ProcessManager, correlate="order_id"):
        @handle(Started, start=True)
        def on_started(self, event: Started) -> None:
            self.issue(Both(self.id))

        @handle(Paid)
        def on_paid(self, event: Paid) -> None: ...

        @handle(Shipped, end=True)
        def on_shipped(self, event: Shipped) -> None: ...

        @handle(Cancelled, end=True)
        def on_cancelled(self, event: Cancelled) -> None: ...

    assert waits(Several, Asking) == []


def test_a_refusal_tells_that_another_event_goes_on() -> None:
    class Withdrawing(Remembered):
        @handle(Started, start=True)
        def on_started(self, event: Started) -> None:
            self.set_timeout("late", DAY)

        @timeout("late")
        def on_late(self) -> None:
            self.issue(Cancel(self.id))

        @handle(Cancelled, end=True)
        def on_cancelled(self, event: Cancelled) -> None: ...

        @rejected(Cancel)
        def on_refused(self, command: Cancel, reason: str) -> None: ...

    assert waits(Withdrawing) == []


def test_a_command_for_an_aggregate_elsewhere_may_be_answered_with_anything() -> None:
    class Abroad(Command):
        order_id: str

    class Sending(Waiting):
        @handle(Started, start=True)
        def on_started(self, event: Started) -> None:
            self.issue(Abroad(event.order_id))

    assert waits(Sending) == []


def test_another_start_is_nothing_that_is_waited_for() -> None:
    class Alone(ProcessManager, correlate="order_id", restart=True):
        @handle(Started, start=True)
        def on_started(self, event: Started) -> None: ...

        @handle(Confirmed, start=True)
        def on_confirmed(self, event: Confirmed) -> None: ...

        @handle(FromBank, end=True)
        def on_bank(self, event: FromBank) -> None: ...

    assert waits(Alone) == []


def test_one_for_all_events_waits_for_nothing() -> None:
    class Counting(ProcessManager, correlate=ALL):
        seen: int = 0

        @handle(Started, start=True)
        @handle(Confirmed)
        def on_any(self, event: Started | Confirmed) -> None:
            self.seen += 1

    assert waits(Counting) == []


def test_one_that_nothing_ends_is_told_once() -> None:
    class Endless(ProcessManager, correlate="order_id"):
        @handle(Started, start=True)
        def on_started(self, event: Started) -> None: ...

        @handle(Confirmed)
        def on_confirmed(self, event: Confirmed) -> None: ...

    domain = Domain("shop")
    domain.register(Order, Endless)
    assert [finding.code for finding in domain.check()] == ["no-end"]


def test_a_step_that_may_end_the_process_is_left_alone() -> None:
    class Ending(Waiting):
        @handle(Started, start=True)
        def on_started(self, event: Started) -> None:
            if event.order_id == "o1":
                self.mark_as_complete()

    assert waits(Ending) == []


class Helper:
    def arm(self, process: ProcessManager) -> None:
        process.set_timeout("late", DAY)


HELPER = Helper()


def hands_itself_to_an_object(self: Any, event: Event) -> None:
    HELPER.arm(self)


def finds_a_method_by_name(self: Any, event: Event) -> None:
    getattr(self, "set_" + "timeout")("late", DAY)


def stores_itself(self: Any, event: Event) -> None:
    me = self
    me.set_timeout("late", DAY)


@pytest.mark.parametrize(
    "function", [hands_itself_to_an_object, finds_a_method_by_name, stores_itself]
)
def test_a_step_whose_code_does_not_tell_all_may_set_a_timeout(function: Any) -> None:
    def again() -> Any:
        # A mark stays on the function that it was put on.
        return types.FunctionType(function.__code__, function.__globals__)

    class Untold(Remembered):
        on_started = handle(Started, start=True)(again())

    class Behind(Remembered):
        on_cancelled = handle(Cancelled)(again())

        @handle(Started, start=True)
        def on_started(self, event: Started) -> None:
            self.issue(Ship(self.id))

        @handle(Shipped)
        def on_shipped(self, event: Shipped) -> None: ...

    assert waits(Untold) == []
    assert waits(Behind) == []


def test_the_event_that_is_verified_by_a_person_is_what_is_waited_for() -> None:
    class Verified(ProcessManager, correlate="account_id"):
        @handle(AccountRegistered, start=True)
        def on_registered(self, event: AccountRegistered) -> None: ...

        @handle(EmailVerified, end=True)
        def on_verified(self, event: EmailVerified) -> None: ...

    domain = Domain("onboarding")
    domain.register(Account, Verified)
    (finding,) = domain.check()
    assert "EmailVerified, of VerifyEmail" in finding.message
