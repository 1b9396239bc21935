"""Time as a parameter: the machine's clock, the virtual one, and their alarms."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors import Alarm, Clock, SystemClock
from actors.clock import from_micros, stopwatch, to_micros
from actors.testing import VirtualClock

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


# The virtual clock


def test_the_virtual_clock_stands_still() -> None:
    clock = VirtualClock()
    assert clock.now() == clock.now() == datetime(2000, 1, 1, tzinfo=UTC)


def test_the_virtual_clock_starts_where_it_is_told() -> None:
    start = datetime(2024, 2, 29, tzinfo=timezone(timedelta(hours=1)))
    assert VirtualClock(start).now() is start


def test_the_virtual_clock_needs_a_time_zone() -> None:
    with pytest.raises(ValueError, match=r"has no time zone; add tzinfo=UTC"):
        VirtualClock(datetime(2024, 1, 1))  # noqa: DTZ001 - refused


def test_the_virtual_clock_moves_by_what_it_is_told() -> None:
    clock = VirtualClock()
    start = clock.now()
    clock.advance(MINUTE)
    clock.advance(timedelta(0))
    assert clock.now() == start + MINUTE


def test_the_virtual_clock_does_not_run_backwards() -> None:
    clock = VirtualClock()
    start = clock.now()
    with pytest.raises(ValueError, match="only goes forward"):
        clock.advance(-MINUTE)
    assert clock.now() == start


def test_a_virtual_alarm_rings_once_when_its_moment_has_come() -> None:
    clock, rung = VirtualClock(), list[datetime]()
    alarm = clock.alarm(lambda: rung.append(clock.now()))
    alarm.set(clock.now() + MINUTE)
    clock.advance(MINUTE - timedelta(microseconds=1))
    assert rung == []
    clock.advance(timedelta(microseconds=1))
    assert rung == [clock.now()]
    clock.advance(FOR_EVER)
    assert len(rung) == 1


def test_a_virtual_alarm_that_was_never_set_does_not_ring() -> None:
    clock, rung = VirtualClock(), list[datetime]()
    clock.alarm(lambda: rung.append(clock.now()))
    clock.advance(FOR_EVER)
    assert rung == []


def test_setting_a_virtual_alarm_again_replaces_the_moment() -> None:
    clock, rung = VirtualClock(), list[datetime]()
    alarm = clock.alarm(lambda: rung.append(clock.now()))
    alarm.set(clock.now() + MINUTE)
    alarm.set(clock.now() + 2 * MINUTE)
    clock.advance(MINUTE)
    assert rung == []
    clock.advance(MINUTE)
    assert len(rung) == 1


def test_a_virtual_alarm_may_set_itself_again_while_it_rings() -> None:
    clock, rung = VirtualClock(), list[datetime]()

    def ring() -> None:
        rung.append(clock.now())
        own.set(clock.now() + MINUTE)

    own = clock.alarm(ring)
    own.set(clock.now() + MINUTE)
    for _ in range(3):
        clock.advance(MINUTE)
    start = datetime(2000, 1, 1, tzinfo=UTC)
    assert rung == [start + MINUTE, start + 2 * MINUTE, start + 3 * MINUTE]


def test_a_closed_virtual_alarm_does_not_ring() -> None:
    clock, rung = VirtualClock(), list[datetime]()
    alarm = clock.alarm(lambda: rung.append(clock.now()))
    alarm.set(clock.now())
    alarm.close()
    clock.advance(FOR_EVER)
    assert rung == []


def test_a_virtual_alarm_that_another_closes_in_the_same_moment_does_not_ring() -> None:
    clock, rung = VirtualClock(), list[str]()

    def close_the_other() -> None:
        second.close()

    first = clock.alarm(close_the_other)
    second = clock.alarm(lambda: rung.append("second"))
    for alarm in (first, second):
        alarm.set(clock.now() + MINUTE)
    clock.advance(MINUTE)
    assert rung == []


def test_every_virtual_alarm_that_is_due_rings() -> None:
    clock, rung = VirtualClock(), list[int]()
    for number in range(5):
        clock.alarm(lambda number=number: rung.append(number)).set(  # type: ignore[misc]
            clock.now() + number * MINUTE
        )
    clock.advance(2 * MINUTE)
    assert sorted(rung) == [0, 1, 2]


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


def test_an_alarm_may_be_set_further_than_a_thread_can_wait(
    rung: threading.Semaphore,
) -> None:
    alarm = SystemClock().alarm(rung.release)
    alarm.set(datetime.max.replace(tzinfo=UTC))
    alarm.set(SystemClock().now())
    assert rung.acquire(timeout=PATIENCE)
    alarm.close()


def test_both_clocks_are_clocks() -> None:
    clocks: list[Clock] = [SystemClock(), VirtualClock()]
    assert all(clock.now().tzinfo is not None for clock in clocks)
