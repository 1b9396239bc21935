"""What is due never overtakes what was stored before, however late the one or the other is."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procession import SKIP, Context, Domain, Event, ProcessManager, Runtime, handle, timeout
from procession.testing import VirtualClock

MINUTE = timedelta(minutes=1)

bills = Domain("bills")


class Billed(Event):
    bill: str


class Paid(Event):
    bill: str


class Noted(Event):
    bill: str
    text: str


class Bill(ProcessManager, correlate="bill"):
    bill: str = ""
    notes: list[str] = []

    failing: ClassVar[bool] = False

    @handle(Billed, start=True)
    def on_billed(self, event: Billed) -> None:
        self.set_timeout("overdue", 30 * MINUTE)

    @handle(Noted)
    def on_noted(self, event: Noted) -> None:
        if Bill.failing:
            raise ValueError("as the test asked")
        self.notes.append(event.text)

    @handle(Paid)
    def on_paid(self, event: Paid) -> None:
        self.notes.append("paid")
        self.mark_as_complete()

    @timeout("overdue")
    def on_overdue(self) -> None:
        self.notes.append("overdue")
        self.mark_as_complete()


class Reminder(ProcessManager, correlate="bill"):
    """Is reminded again and again."""

    bill: str = ""
    notes: list[str] = []

    @handle(Billed, start=True)
    def on_billed(self, event: Billed) -> None:
        self.set_timeout("first", 10 * MINUTE)
        self.set_timeout("second", 20 * MINUTE)

    @handle(Noted)
    def on_noted(self, event: Noted) -> None:
        self.notes.append(event.text)

    @timeout("first")
    def on_first(self) -> None:
        self.notes.append("first")

    @timeout("second")
    def on_second(self) -> None:
        self.notes.append("second")


@pytest.fixture(autouse=True)
def nothing_fails() -> None:
    Bill.failing = False


bills.register(Bill)
reminders = Domain("bills")
reminders.register(Reminder)


class Clumsy(ProcessManager, correlate="bill"):
    bill: str = ""
    notes: list[str] = []

    tries: ClassVar[int] = 0

    @handle(Billed, start=True)
    def on_billed(self, event: Billed) -> None:
        self.set_timeout("first", 10 * MINUTE)

    @handle(Noted)
    def on_noted(self, event: Noted) -> None:
        self.notes.append(event.text)

    @timeout("first")
    def on_first(self) -> None:
        Clumsy.tries += 1
        raise ValueError("clumsy")

    def on_error(self, error: Exception, context: Context) -> Any:
        return SKIP


skipping = Domain("bills")
skipping.register(Clumsy)

outside = Domain("bills")
outside.register(Billed, Paid, Noted)


def stored_meanwhile(folder: Path, clock: VirtualClock, *events: Event) -> None:
    """Events are stored and acknowledged, and no process manager is there to take them."""
    retired = ["bills.Bill", "bills.Reminder"]
    with Runtime(folder, outside, clock=clock, retired=retired) as runtime:
        runtime.publish_many(events, stream="feed-1")


def notes_of(runtime: Runtime, cls: type[Bill | Reminder], bill: str) -> list[str]:
    view = runtime.get(cls, bill)
    assert view is not None
    notes: list[str] = view.state["notes"]
    return notes


def test_what_was_paid_in_time_is_not_overdue_however_late_the_process_is_up_again(
    tmp_path: Path,
) -> None:
    clock, names = VirtualClock(), [f"b{number}" for number in range(1_500)]
    with Runtime(tmp_path, bills, clock=clock) as runtime:
        runtime.publish_many([Billed(name) for name in names], stream="feed-1")
        runtime.settle(timeout=60)
    clock.advance(29 * MINUTE)
    stored_meanwhile(tmp_path, clock, *(Paid(name) for name in names))
    clock.advance(31 * MINUTE)
    with Runtime(tmp_path, bills, clock=clock, max_in_flight=64) as runtime:
        runtime.settle(timeout=60)
        assert runtime.stats()["skipped_complete"] == 0
        assert {tuple(view.state["notes"]) for view in runtime.find(Bill)} == {("paid",)}


@pytest.mark.parametrize(("minute", "notes"), [(29, ["paid"]), (30, ["paid"]), (31, ["overdue"])])
def test_an_event_counts_by_when_it_was_stored(
    tmp_path: Path, minute: int, notes: list[str]
) -> None:
    clock = VirtualClock()
    with Runtime(tmp_path, bills, clock=clock) as runtime:
        runtime.publish(Billed("b"), stream="feed-1")
        runtime.settle(timeout=10)
    clock.advance(minute * MINUTE)
    stored_meanwhile(tmp_path, clock, Paid("b"))
    clock.advance(60 * MINUTE)
    with Runtime(tmp_path, bills, clock=clock) as runtime:
        runtime.settle(timeout=10)
        assert notes_of(runtime, Bill, "b") == notes
        assert list(runtime.timeouts(Bill)) == []


@given(st.lists(st.integers(0, 40), max_size=8))
def test_an_instance_takes_its_timeouts_and_events_in_order_of_time(minutes: list[int]) -> None:
    clock, folder = VirtualClock(), TemporaryDirectory()
    minutes = sorted(minutes)
    with folder as name:
        path = Path(name)
        with Runtime(path, reminders, clock=clock, durability="none") as runtime:
            runtime.publish(Billed("b"), stream="feed-1")
            runtime.settle(timeout=10)
        for before, minute in pairwise([0, *minutes]):
            clock.advance((minute - before) * MINUTE)
            stored_meanwhile(path, clock, Noted("b", f"{minute}"))
        clock.advance(60 * MINUTE)
        with Runtime(path, reminders, clock=clock, durability="none") as runtime:
            runtime.settle(timeout=10)
            # Of what is of one moment, the event goes first.
            expected = [(minute, 0, f"{minute}") for minute in minutes]
            expected += [(10, 1, "first"), (20, 1, "second")]
            assert notes_of(runtime, Reminder, "b") == [text for _, _, text in sorted(expected)]


@pytest.mark.parametrize("decision", ["retry", "skip"])
def test_what_waited_behind_a_failure_is_not_overtaken(decision: str) -> None:
    clock = VirtualClock()
    with Runtime.ephemeral(bills, clock=clock) as runtime:
        Bill.failing = True
        for event in (Billed("b"), Noted("b", "noted")):
            runtime.publish(event, stream="feed-1")
        runtime.settle(timeout=10)
        clock.advance(29 * MINUTE)
        runtime.publish(Paid("b"), stream="feed-1")
        clock.advance(60 * MINUTE)
        Bill.failing = False
        (parked,) = [one for one in runtime.parked() if one.process == "bills.Bill"]
        (runtime.retry if decision == "retry" else runtime.skip)(parked.id)
        runtime.settle(timeout=10)
        assert notes_of(runtime, Bill, "b") == ["noted", "paid"][decision == "skip" :]


def test_what_waited_behind_a_failure_and_came_too_late_is_handled_after_the_timeout() -> None:
    clock = VirtualClock()
    with Runtime.ephemeral(bills, clock=clock) as runtime:
        runtime.publish(Billed("b"), stream="feed-1")
        runtime.settle(timeout=10)
        Bill.failing = True
        runtime.publish(Noted("b", "noted"), stream="feed-1")
        clock.advance(31 * MINUTE)
        runtime.publish(Paid("b"), stream="feed-1")
        clock.advance(MINUTE)
        Bill.failing = False
        (parked,) = [one for one in runtime.parked() if one.process == "bills.Bill"]
        runtime.retry(parked.id)
        runtime.settle(timeout=10)
        assert notes_of(runtime, Bill, "b") == ["noted", "overdue"]
        assert runtime.stats()["skipped_complete"] == 1


def test_a_timeout_that_failed_and_was_skipped_is_not_taken_again_before_later_events() -> None:
    clock = VirtualClock()
    with Runtime.ephemeral(skipping, clock=clock) as runtime:
        runtime.publish(Billed("b"), stream="feed-1")
        clock.advance(20 * MINUTE)
        runtime.publish(Noted("b", "on"), stream="feed-1")
        runtime.settle(timeout=10)
        view = runtime.get(Clumsy, "b")
        assert view is not None
        assert view.state["notes"] == ["on"]
        assert Clumsy.tries == 1
