"""Time as a parameter: the machine's clock and its alarms; `testing/` has the virtual one's."""

from __future__ import annotations

import os
import sys
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import procession.clock
from procession import Alarm, Clock, SystemClock
from procession.clock import from_micros, stopwatch, to_micros
from procession.testing import VirtualClock

if TYPE_CHECKING:
    from collections.abc import Iterator

MINUTE = timedelta(minutes=1)
FOR_EVER = timedelta(days=9999)
PATIENCE = 30


# Stored times


@settings(derandomize=True, deadline=None)
@given(
    st.datetimes(
        min_value=datetime(1800, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
        max_value=datetime(2200, 1, 1),  # noqa: DTZ001
        timezones=st.integers(-1439, 1439).map(lambda m: timezone(timedelta(minutes=m))),
    )
)
def test_a_stored_time_is_the_same_moment_to_the_microsecond(moment: datetime) -> None:
    assert from_micros(to_micros(moment)) == moment


def test_a_stored_time_is_read_in_utc() -> None:
    assert from_micros(0) == datetime(1970, 1, 1, tzinfo=UTC)
    assert from_micros(0).tzinfo is UTC


def test_a_stopwatch_tells_the_time_of_its_clock() -> None:
    clock = VirtualClock()
    now = stopwatch(clock)
    assert now() == to_micros(clock.now())
    clock.advance(MINUTE)
    assert now() == to_micros(clock.now())


def test_a_stopwatch_of_the_machines_clock_agrees_with_it() -> None:
    clock = SystemClock()
    before = to_micros(clock.now())
    assert before <= stopwatch(clock)() <= to_micros(clock.now())


class Shifted(SystemClock):
    """The machine's clock, as far off as the test says."""

    def __init__(self) -> None:
        self.by = timedelta(0)

    def now(self) -> datetime:
        return super().now() + self.by


def test_a_clock_with_a_time_of_its_own_is_believed_by_its_stopwatch() -> None:
    clock = Shifted()
    clock.by = FOR_EVER
    before = to_micros(clock.now())
    assert before <= stopwatch(clock)() <= to_micros(clock.now())


def test_a_clock_that_was_given_another_time_is_believed_by_its_stopwatch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    moment = datetime(2000, 1, 1, tzinfo=UTC)
    clock = SystemClock()
    monkeypatch.setattr(clock, "now", lambda: moment)
    assert stopwatch(clock)() == to_micros(moment)
    monkeypatch.setattr(SystemClock, "now", lambda clock: moment)
    assert stopwatch(SystemClock())() == to_micros(moment)


def test_a_stopwatch_of_the_machines_clock_makes_no_datetime() -> None:
    """Neither does that of a class that leaves `now` as it is."""

    class Named(SystemClock):
        pass

    for clock in (SystemClock(), Named()):
        assert "to_micros" not in stopwatch(clock).__code__.co_names


# The machine's clock


@pytest.fixture
def rung() -> threading.Semaphore:
    """Counts the rings."""
    return threading.Semaphore(0)


@pytest.fixture
def alarm(rung: threading.Semaphore) -> Iterator[Alarm]:
    """An alarm of the machine's clock, which is closed in the end."""
    made = SystemClock().alarm(rung.release)
    yield made
    made.close()


def test_the_machines_clock_tells_the_time_in_utc() -> None:
    before = datetime.now(UTC)
    now = SystemClock().now()
    assert before <= now <= datetime.now(UTC)
    assert now.tzinfo is UTC


def test_an_alarm_rings_when_its_moment_has_come(alarm: Alarm, rung: threading.Semaphore) -> None:
    alarm.set(SystemClock().now() + timedelta(milliseconds=1))
    assert rung.acquire(timeout=PATIENCE)


def test_an_alarm_set_to_the_past_rings_at_once(alarm: Alarm, rung: threading.Semaphore) -> None:
    alarm.set(SystemClock().now() - FOR_EVER)
    assert rung.acquire(timeout=PATIENCE)


def test_setting_an_alarm_earlier_rings_it_earlier(alarm: Alarm, rung: threading.Semaphore) -> None:
    alarm.set(SystemClock().now() + FOR_EVER)
    alarm.set(SystemClock().now())
    assert rung.acquire(timeout=PATIENCE)


def test_an_alarm_can_be_set_again_after_it_rang(alarm: Alarm, rung: threading.Semaphore) -> None:
    for _ in range(3):
        alarm.set(SystemClock().now())
        assert rung.acquire(timeout=PATIENCE)


def test_an_alarm_may_set_itself_again_while_it_rings() -> None:
    clock, rings, enough = SystemClock(), list[int](), threading.Event()
    ready = threading.Event()

    def ring() -> None:
        ready.wait(PATIENCE)
        rings.append(len(rings))
        if len(rings) == 3:
            enough.set()
        else:
            own.set(clock.now())

    own = clock.alarm(ring)
    ready.set()
    own.set(clock.now())
    assert enough.wait(PATIENCE)
    own.close()
    assert rings == [0, 1, 2]


def test_closing_an_alarm_ends_its_thread_without_a_ring(rung: threading.Semaphore) -> None:
    before = set(threading.enumerate())
    alarm = SystemClock().alarm(rung.release)
    alarm.set(SystemClock().now() + FOR_EVER)
    alarm.close()
    assert set(threading.enumerate()) <= before
    assert not rung.acquire(blocking=False)


def test_alarms_of_a_clock_share_a_thread_and_each_rings_whatever_the_others_do(
    rung: threading.Semaphore, caplog: pytest.LogCaptureFixture
) -> None:
    before, clock = threading.active_count(), SystemClock()

    def fail() -> None:
        raise RuntimeError("it fails")

    failing = clock.alarm(fail)
    others = [clock.alarm(rung.release) for _ in range(100)]
    for alarm in (failing, *others):
        alarm.set(clock.now())
    for _ in others:
        assert rung.acquire(timeout=PATIENCE)
    assert threading.active_count() == before + 1
    assert "what an alarm calls failed" in caplog.text
    for alarm in (failing, *others):
        alarm.close()
    assert threading.active_count() == before


def test_a_clock_that_fails_once_rings_all_the_same(
    rung: threading.Semaphore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(procession.clock, "AFTER_A_FAILURE", 0.001)
    fails = iter([True])

    class Failing(SystemClock):
        def now(self) -> datetime:
            if next(fails, False):
                raise OSError("the server of the time did not answer")
            return super().now()

    alarm = Failing().alarm(rung.release)
    alarm.set(SystemClock().now())
    assert rung.acquire(timeout=PATIENCE)
    alarm.close()
    assert "a clock could not tell the time" in caplog.text


def test_an_alarm_that_ends_its_thread_leaves_the_others(rung: threading.Semaphore) -> None:
    clock = SystemClock()
    leaving, other = clock.alarm(sys.exit), clock.alarm(rung.release)
    leaving.set(clock.now())
    other.set(clock.now() + timedelta(milliseconds=1))
    assert rung.acquire(timeout=PATIENCE)
    leaving.close()
    other.close()


def test_a_clock_of_a_frozen_class_has_alarms(rung: threading.Semaphore) -> None:
    @dataclass(frozen=True)
    class Ahead(SystemClock):
        by: timedelta = MINUTE

        def now(self) -> datetime:
            return super().now() + self.by

    alarm = Ahead().alarm(rung.release)
    alarm.set(SystemClock().now())
    assert rung.acquire(timeout=PATIENCE)
    alarm.close()


def test_an_alarm_that_is_closed_while_it_rings_has_rung_when_the_call_returns() -> None:
    clock, rings = SystemClock(), threading.Event()
    may_end, has_rung = threading.Event(), list[bool]()

    def ring() -> None:
        rings.set()
        assert may_end.wait(PATIENCE)
        has_rung.append(True)

    alarm = clock.alarm(ring)
    alarm.set(clock.now())
    assert rings.wait(PATIENCE)
    closing = threading.Thread(target=alarm.close)
    closing.start()
    assert not has_rung
    may_end.set()
    closing.join(PATIENCE)
    assert has_rung == [True]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_clock_rings_after_a_fork_although_its_thread_is_in_the_parent(
    rung: threading.Semaphore,
) -> None:
    clock = SystemClock()
    before = clock.alarm(rung.release)
    before.set(clock.now() + FOR_EVER)
    child = os.fork()
    if not child:
        own = threading.Semaphore(0)
        clock.alarm(own.release).set(clock.now())
        os._exit(0 if own.acquire(timeout=PATIENCE) else 1)
    assert os.waitpid(child, 0)[1] == 0
    before.close()


def test_an_alarm_may_be_set_further_than_a_thread_can_wait(
    rung: threading.Semaphore,
) -> None:
    alarm = SystemClock().alarm(rung.release)
    alarm.set(datetime.max.replace(tzinfo=UTC))
    alarm.set(SystemClock().now())
    assert rung.acquire(timeout=PATIENCE)
    alarm.close()


def test_an_alarm_looks_at_its_clock_every_half_minute() -> None:
    assert procession.clock.LONGEST_WAIT <= 30


def test_an_alarm_rings_when_its_clock_is_set_forward(
    monkeypatch: pytest.MonkeyPatch, rung: threading.Semaphore
) -> None:
    monkeypatch.setattr(procession.clock, "LONGEST_WAIT", 0.001)
    clock = Shifted()
    alarm = clock.alarm(rung.release)
    alarm.set(clock.now() + FOR_EVER)
    clock.by = FOR_EVER
    assert rung.acquire(timeout=PATIENCE)
    alarm.close()


def test_an_alarm_whose_clock_is_set_back_rings_once_when_its_moment_has_come(
    monkeypatch: pytest.MonkeyPatch, rung: threading.Semaphore
) -> None:
    monkeypatch.setattr(procession.clock, "LONGEST_WAIT", 0.001)
    clock, looks = Shifted(), threading.Semaphore(0)
    now = clock.now

    def look() -> datetime:
        looks.release()
        return now()

    monkeypatch.setattr(clock, "now", look)
    clock.by = -FOR_EVER
    alarm = clock.alarm(rung.release)
    alarm.set(SystemClock().now() + MINUTE)
    for _ in range(3):
        assert looks.acquire(timeout=PATIENCE)
    assert not rung.acquire(blocking=False)
    clock.by = 2 * MINUTE
    assert rung.acquire(timeout=PATIENCE)
    alarm.close()
    assert not rung.acquire(blocking=False)


def test_both_clocks_are_clocks() -> None:
    clocks: list[Clock] = [SystemClock(), VirtualClock()]
    assert all(clock.now().tzinfo is not None for clock in clocks)
