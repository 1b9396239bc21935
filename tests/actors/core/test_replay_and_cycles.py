"""Chains that come back to themselves are stopped; state is rebuilt, letting nothing out."""

from datetime import timedelta
from pathlib import Path
from typing import ClassVar

import pytest

from procession import (
    Aggregate,
    Command,
    Domain,
    Event,
    Indexed,
    InfiniteLoopError,
    ProcessManager,
    Rejected,
    Retry,
    Runtime,
    TimedOut,
    apply,
    handle,
    rejected,
    timeout,
)
from procession.testing import VirtualClock

# Loops

loops = Domain("loops")


class Ping(Event):
    ball: str
    count: int


class Pong(Event):
    ball: str


class HitBack(Command):
    ball: str
    count: int


class Return(Command):
    ball: str


@loops.register
class Table(Aggregate, identity="ball"):
    @handle(HitBack)
    def hit(self, command: HitBack) -> Ping:
        if command.count < 0:
            raise Rejected("no negative balls")
        return Ping(self.id, command.count)

    @handle(Return)
    def give_back(self, command: Return) -> Pong:
        return Pong(self.id)


class Echo(ProcessManager, correlate="ball"):
    """Answers a ping with the very same ping."""

    ball: str = ""

    @handle(Ping, start=True)
    def on_ping(self, event: Ping) -> None:
        self.issue(HitBack(event.ball, event.count))


class PingPong(ProcessManager, correlate="ball"):
    @handle(Ping, start=True)
    def on_ping(self, event: Ping) -> None:
        self.issue(Return(event.ball))

    @handle(Pong)
    def on_pong(self, event: Pong) -> None:
        self.issue(HitBack(event.ball, 1))


class Counting(ProcessManager, correlate="ball"):
    """Never makes the same event twice, and never ends."""

    hits: int = 0

    @handle(Ping, start=True)
    def on_ping(self, event: Ping) -> None:
        self.hits += 1
        self.issue(HitBack(event.ball, event.count + 1))


class Reflex(ProcessManager, stateless=True):
    """Answers each ping by itself."""

    @handle(Ping)
    def on_ping(self, event: Ping) -> None:
        self.issue(HitBack(event.ball, event.count))


class Patient(ProcessManager, correlate="ball"):
    """Gets the same answer again and again, and gives up at last."""

    hits: int = 0
    limit: ClassVar[int] = 3

    @handle(Ping, start=True)
    def on_ping(self, event: Ping) -> None:
        self.hits += 1
        if self.hits < Patient.limit:
            self.issue(HitBack(event.ball, event.count))
        else:
            self.mark_as_complete()


class Hourly(ProcessManager, correlate="ball"):
    """Does the same every hour, with a command that is held back."""

    hits: int = 0

    @handle(Ping, start=True)
    def on_ping(self, event: Ping) -> None:
        self.hits += 1
        self.issue(HitBack(event.ball, event.count), after=timedelta(hours=1))


class Stubborn(ProcessManager, correlate="ball"):
    """Insists on what is refused."""

    refused: int = 0

    @handle(Ping, start=True)
    def on_ping(self, event: Ping) -> None:
        self.issue(HitBack(event.ball, -1))

    @rejected(HitBack)
    def on_refused(self, command: HitBack, reason: str) -> None:
        self.refused += 1
        self.issue(command)


class Restless(ProcessManager, correlate="ball"):
    """Sets a timeout without delay in the same timeout."""

    turns: int = 0

    @handle(Ping, start=True)
    def on_ping(self, event: Ping) -> None:
        self.set_timeout("now", timedelta(0))

    @timeout("now")
    def on_now(self) -> None:
        self.turns += 1
        self.set_timeout("now", timedelta(0))


class Clumsy(Restless, retry=Retry(attempts=2, first=timedelta(seconds=1))):
    """As it, and fails at each first attempt."""

    @timeout("now")
    def on_now(self) -> None:
        if self.context.attempt == 1:
            raise ValueError("clumsy")
        super().on_now()


def domain_of(*classes: type) -> Domain:
    domain = Domain("loops")
    domain.register(Table)
    for cls in classes:
        domain.register(cls)
    return domain


def test_a_command_that_makes_the_very_event_that_caused_it_is_stopped_at_once() -> None:
    with Runtime.ephemeral(domain_of(Echo)) as runtime:
        runtime.tell(HitBack("b", 1))
        runtime.settle(timeout=10)
        view = runtime.get(Echo, "b")
        assert view is not None
        assert view.version == 1
        (parked,) = runtime.parked()
        assert parked.error == (
            "procession.errors.InfiniteLoopError: loops.Echo 'b': the chain makes the very event "
            "that caused it, and the state is the same as then, so it would go on for ever: Ping "
            "(loops::table-b@2) <- Ping (loops::table-b@1). End it in the handler, or have a field "
            "tell how often it came"
        )


def test_ping_pong_between_two_events_is_stopped() -> None:
    with Runtime.ephemeral(domain_of(PingPong)) as runtime:
        runtime.tell(HitBack("b", 1))
        runtime.settle(timeout=10)
        (parked,) = runtime.parked()
        assert "InfiniteLoopError" in parked.error
        assert "Ping (loops::table-b@3) <- Pong (loops::table-b@2)" in parked.error
        view = runtime.get(PingPong, "b")
        assert view is not None
        assert view.version == 2


def test_a_stateless_process_always_meets_the_same_state() -> None:
    with Runtime.ephemeral(domain_of(Reflex)) as runtime:
        runtime.tell(HitBack("b", 1))
        runtime.settle(timeout=10)
        (parked,) = runtime.parked()
        assert "the chain makes the very event that caused it" in parked.error
        assert runtime.stats()["transitions"] == 1


def test_a_chain_longer_than_the_limit_is_stopped() -> None:
    with Runtime.ephemeral(domain_of(Counting), max_chain=25) as runtime:
        runtime.tell(HitBack("b", 1))
        runtime.settle(timeout=10)
        (parked,) = runtime.parked()
        assert "is 25 events long" in parked.error
        view = runtime.get(Counting, "b")
        assert view is not None
        assert view.state["hits"] == 25


def test_a_chain_that_was_too_long_goes_on_when_the_limit_is_raised_as_the_error_says(
    tmp_path: Path,
) -> None:
    domain = domain_of(Counting)
    with Runtime(tmp_path, domain, max_chain=25) as runtime:
        runtime.tell(HitBack("b", 1))
        runtime.settle(timeout=10)
        (parked,) = runtime.parked()
        assert "open the runtime with a max_chain of more than 25, and retry" in parked.error
        runtime.retry(parked.id)
        runtime.settle(timeout=10)
        (parked,) = runtime.parked()
    with Runtime(tmp_path, domain, max_chain=40) as runtime:
        runtime.retry(parked.id)
        runtime.settle(timeout=10)
        view = runtime.get(Counting, "b")
        assert view is not None
        assert view.state["hits"] == 40
        assert ["is 40 events long" in one.error for one in runtime.parked()] == [True]


def test_the_same_event_from_outside_is_no_loop() -> None:
    with Runtime.ephemeral(domain_of(PingPong, Counting), max_chain=5) as runtime:
        for _ in range(20):
            runtime.publish(Pong("b"), stream="feed::x-1")
        runtime.settle(timeout=10)
        assert list(runtime.parked()) == []


@pytest.mark.parametrize("limit", [1, 3, 20, 100, 200])
@pytest.mark.parametrize("idle", [timedelta(milliseconds=1), timedelta(hours=1)])
def test_an_honest_process_may_meet_the_same_event_as_often_as_its_state_says(
    limit: int, idle: timedelta
) -> None:
    with Runtime.ephemeral(domain_of(Patient), idle_timeout=idle, max_awake=2) as runtime:
        Patient.limit = limit
        runtime.tell(HitBack("b", 1))
        runtime.settle(timeout=30)
        assert list(runtime.parked()) == []
        view = runtime.get(Patient, "b")
        assert view is not None
        assert view.state["hits"] == limit
        assert view.is_complete


def test_repeats_that_are_minutes_apart_begin_a_new_count(clock: VirtualClock) -> None:
    with Runtime.ephemeral(domain_of(Hourly), clock=clock, max_chain=5) as runtime:
        runtime.tell(HitBack("b", 1))
        runtime.settle(timeout=10)
        clock.advance(timedelta(days=2))
        assert list(runtime.parked()) == []
        view = runtime.get(Hourly, "b")
        assert view is not None
        assert view.state["hits"] == 49


def test_a_refusal_that_issues_its_own_command_again_comes_to_an_end() -> None:
    with Runtime.ephemeral(domain_of(Stubborn), max_chain=30) as runtime:
        runtime.tell(HitBack("b", 1))
        runtime.settle(timeout=10)
        (parked,) = runtime.parked()
        assert "is 30 events long, with refusals and timeouts" in parked.error
        view = runtime.get(Stubborn, "b")
        assert view is not None
        assert view.state["refused"] == 29


@pytest.mark.parametrize("limit", [30, 60])
def test_a_timeout_without_delay_that_sets_itself_comes_to_an_end(limit: int) -> None:
    with Runtime.ephemeral(domain_of(Restless), max_chain=limit) as runtime:
        runtime.tell(HitBack("b", 1))
        runtime.settle(timeout=10)
        (parked,) = runtime.parked()
        assert f"is {limit} events long" in parked.error
        view = runtime.get(Restless, "b")
        assert view is not None
        assert view.state["turns"] == limit - 1


def test_an_attempt_to_go_on_begins_no_new_count(clock: VirtualClock) -> None:
    with Runtime.ephemeral(domain_of(Clumsy), clock=clock, max_chain=6) as runtime:
        runtime.tell(HitBack("b", 1))
        runtime.settle(timeout=10)
        clock.advance(timedelta(hours=1))
        (parked,) = runtime.parked()
        assert "is 6 events long" in parked.error


def test_who_asks_hears_of_a_chain_without_an_end_that_began_in_the_same_commit() -> None:
    with Runtime.ephemeral(domain_of(Echo)) as runtime:
        with pytest.raises(InfiniteLoopError, match="the chain makes the very event"):
            runtime.ask(HitBack("b", 1))
        # The command was carried out all the same.
        assert [one.type for one in runtime.events()] == ["loops.Ping.v1"] * 2
        # Of another chain, the asker hears nothing.
        assert runtime.ask(HitBack("b", 2)) == [Ping("b", 2)]


def test_a_clock_stops_when_alarms_ring_without_end(
    clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("procession.testing.clock.MOST_ALARMS", 50)
    with Runtime.ephemeral(domain_of(Hourly), clock=clock) as runtime:
        runtime.tell(HitBack("b", 1))
        runtime.settle(timeout=10)
        with pytest.raises(TimedOut, match=r"50 alarms rang .* of loops\.Hourly 'b'"):
            clock.advance(timedelta(days=30))


# Refresh

library = Domain("library")


class Borrowed(Event):
    book: str
    reader: str


class Extended(Event):
    book: str
    days: int


class Remind(Command):
    book: str
    number: int


class Reminded(Event):
    book: str


@library.register
class Reminders(Aggregate, identity="book"):
    sent: int = 0

    @handle(Remind)
    def remind(self, command: Remind) -> Reminded:
        if command.number == 13:
            raise Rejected("unlucky")
        return Reminded(self.id)

    @apply(Reminded)
    def _reminded(self, event: Reminded) -> None:
        self.sent += 1


@library.register
class Loan(ProcessManager, correlate="book"):
    book: str = ""
    reader: Indexed[str] = ""
    days: int = 14
    notes: list[str] = []
    calls: list[str] = []

    # What a later version of the code does differently.
    bonus: ClassVar[int] = 0
    outside: ClassVar[list[str]] = []

    @handle(Borrowed, start=True)
    def on_borrowed(self, event: Borrowed) -> None:
        self.reader = event.reader
        self.notes.append("borrowed")
        self.days += Loan.bonus
        self.set_timeout("due", timedelta(days=14))
        self.issue(Remind(self.book, 1))
        self.skip_refreshing()
        Loan.outside.append("called")

    @handle(Extended)
    def on_extended(self, event: Extended) -> None:
        self.days += event.days
        self.notes.append(f"extended, refreshing={self.context.refreshing}")
        self.issue(Remind(self.book, event.days))

    @timeout("due")
    def on_due(self) -> None:
        self.notes.append("due")

    @rejected(Remind)
    def on_refused(self, command: Remind, reason: str) -> None:
        self.notes.append(f"refused {command.number}: {reason}")


@pytest.fixture(autouse=True)
def first_version() -> None:
    Loan.bonus = 0
    Loan.outside = []


def lend(runtime: Runtime, clock: VirtualClock, book: str = "b") -> None:
    runtime.publish(Borrowed(book, "ada"), stream=f"desk::loan-{book}")
    runtime.publish(Extended(book, 7), stream=f"desk::loan-{book}")
    runtime.publish(Extended(book, 13), stream=f"desk::loan-{book}")
    runtime.settle(timeout=10)
    clock.advance(timedelta(days=14))
    runtime.settle(timeout=10)


def test_refresh_rebuilds_the_state_and_lets_nothing_out(clock: VirtualClock) -> None:
    with Runtime.ephemeral(library, clock=clock) as runtime:
        lend(runtime, clock)
        before = runtime.get(Loan, "b")
        assert before is not None
        events = len(list(runtime.events()))
        Loan.bonus = 100
        assert runtime.refresh(Loan, "b") == 1
        runtime.settle(timeout=10)
        after = runtime.get(Loan, "b")
        assert after is not None
        assert before.state["days"] == 34
        assert after.state["days"] == 134
        assert after.state["notes"] == [
            "borrowed",
            "extended, refreshing=True",
            "extended, refreshing=True",
            "refused 13: unlucky",
            "due",
        ]
        assert len(list(runtime.events())) == events, "a refresh issued commands"
        assert Loan.outside == ["called"], "skip_refreshing did not leave the handler"
        assert list(runtime.timeouts()) == []
        last = list(runtime.history(Loan, "b"))[-1]
        assert (last.version, last.handler, last.cause) == (6, "refresh", "refresh")
        assert last.state == after.state
        assert last.commands == ()


def test_a_second_refresh_changes_nothing_more(clock: VirtualClock) -> None:
    with Runtime.ephemeral(library, clock=clock) as runtime:
        lend(runtime, clock)
        runtime.refresh(Loan, "b")
        once = runtime.get(Loan, "b")
        runtime.refresh(Loan, "b")
        twice = runtime.get(Loan, "b")
        assert once is not None
        assert twice is not None
        assert once.state == twice.state


def test_refresh_of_all_and_of_none(clock: VirtualClock) -> None:
    with Runtime.ephemeral(library, clock=clock) as runtime:
        for number in range(7):
            lend(runtime, clock, f"b{number}")
        Loan.bonus = 1
        assert runtime.refresh(Loan) == 7
        assert runtime.refresh(Loan, "nobody") == 0
        for number in range(7):
            view = runtime.get(Loan, f"b{number}")
            assert view is not None
            assert view.state["days"] == 35


def test_pending_timeouts_outlive_a_refresh_and_fire_once(clock: VirtualClock) -> None:
    with Runtime.ephemeral(library, clock=clock) as runtime:
        runtime.publish(Borrowed("b", "ada"), stream="desk::loan-b")
        runtime.settle(timeout=10)
        runtime.refresh(Loan, "b")
        assert [one.name for one in runtime.timeouts()] == ["due"]
        clock.advance(timedelta(days=14))
        runtime.settle(timeout=10)
        view = runtime.get(Loan, "b")
        assert view is not None
        assert view.state["notes"].count("due") == 1


def test_the_instance_goes_on_from_the_refreshed_state(tmp_path: Path, clock: VirtualClock) -> None:
    with Runtime(tmp_path, library, clock=clock) as runtime:
        lend(runtime, clock)
        Loan.bonus = 100
        runtime.refresh(Loan, "b")
    with Runtime(tmp_path, library, clock=clock) as runtime:
        runtime.publish(Extended("b", 1), stream="desk::loan-b")
        runtime.settle(timeout=10)
        view = runtime.get(Loan, "b")
        assert view is not None
        assert view.state["days"] == 135


def test_a_refresh_whose_handler_fails_leaves_the_instance_as_it_was(
    clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Runtime.ephemeral(library, clock=clock) as runtime:
        lend(runtime, clock)
        before = runtime.get(Loan, "b")
        monkeypatch.setattr(Loan, "bonus", None)
        with pytest.raises(TypeError):
            runtime.refresh(Loan, "b")
        assert runtime.get(Loan, "b") == before
        monkeypatch.setattr(Loan, "bonus", 0)
        runtime.publish(Extended("b", 1), stream="desk::loan-b")
        runtime.settle(timeout=10)
        view = runtime.get(Loan, "b")
        assert view is not None
        assert view.state["days"] == 35


# An id that had several runs


class Opened(Event):
    visit: str
    reason: str


class Referred(Event):
    visit: str
    by: str


class Treated(Event):
    visit: str
    by: str


class Left(Event):
    visit: str


ward = Domain("ward")


@ward.register
class Visit(ProcessManager, correlate="visit", restart=True):
    visit: str = ""
    reason: str = ""
    treated: list[str] = []
    versions: list[int] = []

    # What a later version of the code does differently.
    mark: ClassVar[str] = ""
    end: ClassVar[type[Event]] = Left

    @handle(Opened, start=True)
    def on_opened(self, event: Opened) -> None:
        self.reason = event.reason
        self._note(event)

    @handle(Treated)
    def on_treated(self, event: Treated) -> None:
        self.treated.append(event.by + Visit.mark)
        self._note(event)

    @handle(Left)
    def on_left(self, event: Left) -> None:
        self._note(event)

    def _note(self, event: Event) -> None:
        self.versions.append(self.version)
        if isinstance(event, Visit.end):
            self.mark_as_complete()


def visit(runtime: Runtime, *events: Event) -> None:
    runtime.publish_many(events, stream="ward::visit-v")
    runtime.settle(timeout=10)


RUNS = [
    [Opened("v", "fever"), Treated("v", "ada"), Treated("v", "ben"), Left("v")],
    [Opened("v", "cough"), Treated("v", "cem"), Left("v")],
    [Opened("v", "a wound"), Treated("v", "dia")],
]


@pytest.mark.parametrize("is_over", [False, True])
def test_refresh_of_an_id_that_was_started_again_gives_the_state_of_its_last_run(
    is_over: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Runtime.ephemeral(ward) as runtime:
        visit(runtime, *(event for run in RUNS for event in run))
        if is_over:
            visit(runtime, Left("v"))
        monkeypatch.setattr(Visit, "mark", "!")
        assert runtime.refresh(Visit, "v") == 1
        view = runtime.get(Visit, "v")
        assert view is not None
        assert view.state["reason"] == "a wound"
        assert view.state["treated"] == ["dia!"]
        assert view.state["versions"] == [7, 8, 9][: 2 + is_over]
        assert view.is_complete is is_over


@pytest.mark.parametrize("end", [Treated, Referred], ids=["sooner", "never"])
def test_where_a_run_ended_is_what_the_log_says_and_not_what_a_newer_class_would_do(
    end: type[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Runtime.ephemeral(ward) as runtime:
        visit(runtime, *(event for run in RUNS for event in run), Treated("v", "eli"))
        before = runtime.get(Visit, "v")
        assert before is not None
        assert before.state["treated"] == ["dia", "eli"]
        monkeypatch.setattr(Visit, "end", end)
        runtime.refresh(Visit, "v")
        after = runtime.get(Visit, "v")
        assert after is not None
        assert after.state == before.state
        assert not after.is_complete


def test_a_handler_sees_the_version_that_it_saw_however_often_its_instance_was_refreshed() -> None:
    with Runtime.ephemeral(ward) as runtime:
        visit(runtime, Opened("v", "fever"), Left("v"))
        runtime.refresh(Visit, "v")
        visit(runtime, Opened("v", "cough"))
        runtime.refresh(Visit, "v")
        visit(runtime, Treated("v", "ada"))
        runtime.refresh(Visit, "v")
        view = runtime.get(Visit, "v")
        assert view is not None
        assert view.state["versions"] == [3, 5]


class Stay(ProcessManager, correlate="visit", restart=True, name="Clinic.Stay"):
    """As it was: it began in two ways."""

    seen: list[str] = []

    @handle(Opened, start=True)
    def on_opened(self, event: Opened) -> None:
        self.seen.append(event.reason)

    @handle(Referred, start=True)
    def on_referred(self, event: Referred) -> None:
        self.seen.append(event.by)

    @handle(Treated)
    def on_treated(self, event: Treated) -> None:
        self.seen.append(event.by)

    @handle(Left, end=True)
    def on_left(self, event: Left) -> None: ...


class StayWithoutReferrals(ProcessManager, correlate="visit", restart=True, name="Clinic.Stay"):
    """A newer one, which passes referrals by."""

    seen: list[str] = []

    @handle(Opened, start=True)
    def on_opened(self, event: Opened) -> None:
        self.seen.append(event.reason)

    @handle(Treated)
    def on_treated(self, event: Treated) -> None:
        self.seen.append(event.by)

    @handle(Left, end=True)
    def on_left(self, event: Left) -> None: ...


class StayThatIsOpened(ProcessManager, correlate="visit", restart=True, name="Clinic.Stay"):
    """A newer one, which no referral begins."""

    seen: list[str] = []

    @handle(Opened, start=True)
    def on_opened(self, event: Opened) -> None:
        self.seen.append(event.reason)

    @handle(Referred)
    def on_referred(self, event: Referred) -> None:
        self.seen.append(event.by)

    @handle(Treated)
    def on_treated(self, event: Treated) -> None:
        self.seen.append(event.by)

    @handle(Left, end=True)
    def on_left(self, event: Left) -> None: ...


@pytest.mark.parametrize(
    ("newer", "events", "seen"),
    [
        (StayWithoutReferrals, [], ["a doctor"]),
        (StayWithoutReferrals, [Treated("v", "ben")], ["ben"]),
        (StayThatIsOpened, [], ["a doctor"]),
        (StayThatIsOpened, [Treated("v", "ben")], ["a doctor", "ben"]),
    ],
)
def test_a_run_that_would_begin_in_no_such_way_any_more_does_not_go_on_with_the_run_before(
    newer: type[ProcessManager], events: list[Event], seen: list[str], tmp_path: Path
) -> None:
    before, after = Domain("clinic"), Domain("clinic")
    before.register(Stay)
    after.register(newer, Referred)
    with Runtime(tmp_path, before) as runtime:
        visit(runtime, Opened("v", "fever"), Treated("v", "ada"), Left("v"))
        visit(runtime, Referred("v", "a doctor"), *events)
    with Runtime(tmp_path, after) as runtime:
        runtime.refresh(newer, "v")
        view = runtime.get(newer, "v")
        assert view is not None
        assert view.state == {"seen": seen}
