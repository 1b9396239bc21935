"""Two timeouts that end a process and are due at one moment."""

import datetime as dt
import types
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from procession import Domain, Event, ProcessManager, handle, timeout


class Opened(Event):
    order_id: str
    due: datetime


class Closed(Event):
    order_id: str


DAY = timedelta(days=1)
WEEK = timedelta(weeks=1)
FIRST = "first"


def found(*classes: Any) -> list[str]:
    domain = Domain("shop")
    domain.register(Opened, Closed, *classes)
    return [one.place for one in domain.check() if one.code == "timeouts-due-together"]


class Ending(ProcessManager, correlate="order_id"):
    due: datetime = datetime(2026, 1, 1, tzinfo=UTC)

    @timeout("first")
    def on_first(self) -> None:
        self._end()

    @timeout("second")
    def on_second(self) -> None:
        if self.version > 3:
            self.issue()
        self.mark_as_complete()

    @handle(Closed, end=True)
    def on_closed(self, event: Closed) -> None: ...

    def _end(self) -> None:
        self.mark_as_complete()


class Together(Ending):
    @handle(Opened, start=True)
    def on_opened(self, event: Opened) -> None:
        self.due = event.due
        self.set_timeout("first", DAY)
        self.set_timeout("second", DAY)


def test_two_ending_timeouts_that_are_due_at_one_moment_are_found() -> None:
    domain = Domain("shop")
    domain.register(Opened, Closed, Together)
    (finding,) = domain.check()
    assert (finding.code, finding.place) == ("timeouts-due-together", "Together.on_opened")
    assert "'first' and 'second' for one moment" in finding.message
    assert "on_first runs, and on_second never does" in finding.message
    assert "different moments" in finding.mend


def same_length(self: Any, event: Any) -> None:
    self.set_timeout("first", timedelta(hours=24))
    self.set_timeout("second", dt.timedelta(days=1))


def worked_out(self: Any, event: Any) -> None:
    self.set_timeout("first", 7 * DAY)
    self.set_timeout("second", WEEK)


def by_keyword(self: Any, event: Any) -> None:
    self.set_timeout(name="first", when=DAY)
    self.set_timeout(when=DAY, name="second")


def of_the_event(self: Any, event: Any) -> None:
    self.set_timeout(FIRST, event.due)
    self.set_timeout("second", event.due)


def behind_the_event(self: Any, event: Any) -> None:
    self.set_timeout("first", event.due + timedelta(days=2))
    self.set_timeout("second", event.due + 2 * DAY)


def of_a_field(self: Any, event: Any) -> None:
    self.due = event.due
    self.set_timeout("first", self.due)
    self.set_timeout("second", self.due)


def from_now(self: Any, event: Any) -> None:
    self.set_timeout("first", self.context.now + DAY)
    self.set_timeout("second", DAY)


def at_a_time(self: Any, event: Any) -> None:
    self.set_timeout("first", datetime(2027, 1, 1, tzinfo=UTC))
    self.set_timeout("second", datetime(2027, 1, 1, tzinfo=UTC))


def one_always_and_one_sometimes(self: Any, event: Any) -> None:
    if event.order_id:
        self.set_timeout("first", DAY)
    self.set_timeout("second", DAY)


def other_length(self: Any, event: Any) -> None:
    self.set_timeout("first", DAY)
    self.set_timeout("second", WEEK)


def in_two_branches(self: Any, event: Any) -> None:
    if event.order_id:
        self.set_timeout("first", DAY)
    else:
        self.set_timeout("second", DAY)


def in_two_ways_out(self: Any, event: Any) -> None:
    if event.order_id:
        self.set_timeout("first", DAY)
        return
    self.set_timeout("second", DAY)


def taken_back(self: Any, event: Any) -> None:
    self.set_timeout("first", DAY)
    self.cancel_timeout("first")
    self.set_timeout("second", DAY)


def moved(self: Any, event: Any) -> None:
    self.set_timeout("first", DAY)
    self.set_timeout("first", WEEK)
    self.set_timeout("second", DAY)


def changed_between(self: Any, event: Any) -> None:
    self.set_timeout("first", self.due)
    self.due = event.due
    self.set_timeout("second", self.due)


def two_values_of_one_name(self: Any, event: Any) -> None:
    due = DAY
    self.set_timeout("first", due)
    due = WEEK
    self.set_timeout("second", due)


def two_answers_of_one_function(self: Any, event: Any) -> None:
    self.set_timeout("first", next(event))
    self.set_timeout("second", next(event))


def other_fields(self: Any, event: Any) -> None:
    self.set_timeout("first", event.due)
    self.set_timeout("second", self.due)


def a_name_that_is_worked_out(self: Any, event: Any) -> None:
    self.set_timeout(str(event), DAY)
    self.set_timeout("second", DAY)


def with_start(function: Any) -> Any:
    class Setting(Ending):
        on_opened = handle(Opened, start=True)(
            types.FunctionType(function.__code__, function.__globals__, "on_opened")
        )

    return Setting


@pytest.mark.parametrize(
    "function",
    [
        same_length,
        worked_out,
        by_keyword,
        of_the_event,
        behind_the_event,
        of_a_field,
        from_now,
        at_a_time,
        one_always_and_one_sometimes,
    ],
)
def test_one_moment_is_seen_however_it_is_written(function: Any) -> None:
    assert found(with_start(function)) == ["Setting.on_opened"]


@pytest.mark.parametrize(
    "function",
    [
        other_length,
        in_two_branches,
        in_two_ways_out,
        taken_back,
        moved,
        changed_between,
        two_values_of_one_name,
        two_answers_of_one_function,
        other_fields,
        a_name_that_is_worked_out,
    ],
)
def test_what_may_be_two_moments_or_one_timeout_is_left_alone(function: Any) -> None:
    assert found(with_start(function)) == []


def test_one_moment_is_seen_through_methods_and_told_where_both_are_set() -> None:
    class Delegating(Ending):
        @handle(Opened, start=True)
        def on_opened(self, event: Opened) -> None:
            self._wait_first()
            self._wait_second()

        def _wait_first(self) -> None:
            self.set_timeout("first", DAY)

        def _wait_second(self) -> None:
            self.set_timeout("second", DAY)

    class Inside(Ending):
        @handle(Opened, start=True)
        def on_opened(self, event: Opened) -> None:
            self._wait()

        def _wait(self) -> None:
            self.set_timeout("first", DAY)
            self.set_timeout("second", DAY)

    assert found(Delegating) == ["Delegating.on_opened"]
    assert found(Inside) == ["Inside._wait"]


def test_a_timeout_that_does_not_end_the_process_may_be_due_with_one_that_does() -> None:
    class Reminding(Together):
        @timeout("first")
        def on_first(self) -> None:
            self.issue()

    class Sometimes(Together):
        @timeout("first")
        def on_first(self) -> None:
            if self.version > 3:
                self._end()

    class Catching(Together):
        @timeout("second")
        def on_second(self) -> None:
            try:
                self.issue()
                self.mark_as_complete()
            except ValueError:
                self.issue()

    assert found(Reminding, Sometimes, Catching) == []


def test_timeouts_of_two_steps_are_left_alone() -> None:
    class Stepwise(Ending):
        @handle(Opened, start=True)
        def on_opened(self, event: Opened) -> None:
            self.set_timeout("first", DAY)

        @handle(Closed)
        def on_closed(self, event: Closed) -> None:
            self.set_timeout("second", DAY)

    assert found(Stepwise) == []
