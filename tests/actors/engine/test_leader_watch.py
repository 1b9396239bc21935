"""One thread looks after many leaders: whom it has relieved, and how long it waits for that."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from procession.engine import leader_watch as watching
from procession.engine.dispatcher import Dispatcher
from procession.engine.leader_watch import (
    ALERT,
    ALERT_LOOKS,
    FAIR,
    FOR_EACH,
    LATE,
    LONG_TURN,
    MOST_PATIENT,
    STALLED,
    LeaderWatch,
    Patience,
)
from procession.store.interrupts import Latch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENCE = 30
"""Seconds until a test that hangs fails."""


class FakeLed:
    """What has a leader, as a test says."""

    def __init__(self) -> None:
        self.progress = 0
        self.is_led = self.is_held_up = True
        self.is_in_part = False
        self.has_another = True
        self.relieved: list[int] = []

    def relieve(self, progress: int) -> bool:
        self.relieved.append(progress)
        return self.has_another


class Looks:
    """A watch that looks when the test says so, at a time of the test's."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *leds: FakeLed) -> None:
        self.now = 0.0
        monkeypatch.setattr(watching, "seconds", lambda: self.now)
        # No thread of its own looks as well.
        monkeypatch.setattr(LeaderWatch, "_run", lambda _: None)
        self._watch = LeaderWatch()
        for led in leds:
            self._watch.join(led)

    def after(self, seconds: float) -> float | None:
        """Look after so many seconds; returns when it wants to look again."""
        self.now += seconds
        return self._watch._look()


def test_a_leader_without_progress_is_relieved_while_something_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    led = FakeLed()
    looks = Looks(monkeypatch, led)
    assert looks.after(0.0) == STALLED
    assert looks.after(STALLED / 2) == STALLED
    assert led.relieved == []
    looks.after(STALLED)
    assert led.relieved == [0]


def test_a_leader_that_goes_on_is_not_relieved(monkeypatch: pytest.MonkeyPatch) -> None:
    led = FakeLed()
    looks = Looks(monkeypatch, led)
    for _ in range(5):
        led.progress += 1
        looks.after(STALLED)
    assert led.relieved == []


def test_a_blocked_leader_is_relieved_at_once_when_something_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    led = FakeLed()
    led.is_held_up = False
    looks = Looks(monkeypatch, led)
    for _ in range(5):
        looks.after(STALLED)
    assert led.relieved == []
    led.is_held_up = True
    looks.after(STALLED)
    assert led.relieved == [0]


def test_only_the_leader_that_is_blocked_is_relieved(monkeypatch: pytest.MonkeyPatch) -> None:
    blocked, busy = FakeLed(), FakeLed()
    looks = Looks(monkeypatch, blocked, busy)
    for _ in range(3):
        busy.progress += 1
        looks.after(STALLED)
    assert blocked.relieved
    assert busy.relieved == []


def test_a_leader_is_looked_at_sooner_after_its_handlers_have_blocked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    led = FakeLed()
    looks = Looks(monkeypatch, led)
    looks.after(0.0)
    assert looks.after(STALLED) == ALERT
    led.progress += 1
    for _ in range(ALERT_LOOKS - 1):
        led.progress += 1
        assert looks.after(ALERT) == ALERT
    led.progress += 1
    assert looks.after(ALERT) == STALLED


def test_a_leader_that_no_thread_can_relieve_is_not_looked_at_sooner(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    led = FakeLed()
    led.has_another = False
    looks = Looks(monkeypatch, led)
    looks.after(0.0)
    assert looks.after(STALLED) == STALLED
    assert led.relieved == [0]


def test_a_part_of_the_engine_is_relieved_after_a_long_turn_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    led = FakeLed()
    led.is_in_part = True
    looks = Looks(monkeypatch, led)
    looks.after(0.0)
    looks.after(LONG_TURN / 2)
    assert led.relieved == []
    # That a part took long says nothing of handlers.
    assert looks.after(LONG_TURN) == STALLED
    assert led.relieved == [0]


def test_the_watch_sleeps_while_there_is_no_leader(monkeypatch: pytest.MonkeyPatch) -> None:
    led = FakeLed()
    led.is_led = False
    looks = Looks(monkeypatch, led)
    # There may have been one since the last look.
    assert looks.after(0.0) == STALLED
    assert looks.after(STALLED) is None
    led.progress += 1
    assert looks.after(1.0) == STALLED


class Raising(FakeLed):
    """It cannot be looked at."""

    def __init__(self) -> None:
        super().__init__()
        del self.is_held_up

    def __getattr__(self, name: str) -> bool:
        raise RuntimeError(name)


def test_a_leader_that_cannot_be_looked_at_leaves_the_others_looked_after(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    one, other = Raising(), FakeLed()
    looks = Looks(monkeypatch, one, other)
    looks.after(0.0)
    assert looks.after(STALLED) == ALERT
    assert other.relieved == [0]
    assert "could not be looked at" in caplog.text


def test_a_leader_that_was_there_before_it_joined_is_looked_after() -> None:
    watch, none, led = LeaderWatch(), FakeLed(), FakeLed()
    none.is_led = False
    watch.join(none)
    try:
        until(lambda: bool(watch._bell._sleepers) and watch._is_asleep)
        watch.join(led)
        until(lambda: bool(led.relieved))
    finally:
        watch.leave(none)
        watch.leave(led)


def until(is_so: Callable[[], bool]) -> None:
    for _ in range(PATIENCE * 1_000):
        if is_so():
            return
        Latch().wait(0.001)
    raise AssertionError


class LateBell:
    """A bell that is never rung, and lets its waiting thread go on too late, by its own clock."""

    def __init__(self) -> None:
        self.now = self.late = 0.0
        self.waited: list[float] = []

    def wait(self, timeout: float) -> bool:
        self.waited.append(timeout)
        self.now += timeout + self.late
        return False


def test_the_watch_waits_longer_while_it_is_let_go_on_late(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bell, patience = LateBell(), Patience()
    patience.leaders = 256
    monkeypatch.setattr(watching, "seconds", lambda: bell.now)

    def waits(late: float) -> float:
        bell.late = late
        patience.wait(bell, STALLED)  # type: ignore[arg-type]
        return bell.waited[-1]

    # What a machine with nothing else to do takes does not count.
    assert waits(LATE / 2) == STALLED
    assert waits(0.02) == STALLED
    assert waits(0.02) == pytest.approx(FAIR * 0.02)
    assert waits(10.0) == pytest.approx(FAIR * 0.02)
    assert waits(0.0) == MOST_PATIENT
    for _ in range(20):
        waits(0.0)
    assert waits(0.0) == STALLED


def test_a_single_leader_is_not_waited_for_however_late_the_watch_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bell, patience = LateBell(), Patience()
    monkeypatch.setattr(watching, "seconds", lambda: bell.now)
    bell.late = 10.0
    for leaders, most in (1, STALLED), (2, 2 * FOR_EACH), (1, STALLED):
        patience.leaders = leaders
        patience.wait(bell, STALLED)  # type: ignore[arg-type]
        assert patience.of(STALLED) == most


def _watches() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name == "procession-watch"]


@pytest.fixture
def dispatchers() -> Iterator[list[Dispatcher]]:
    """Three that share a watch, and have not started."""
    watch = LeaderWatch()
    made = [Dispatcher(2, bool, lambda *_: None, watch=watch) for _ in range(3)]
    yield made
    for one in made:
        one.stop()


def test_dispatchers_share_one_thread_that_is_there_while_any_runs(
    dispatchers: list[Dispatcher],
) -> None:
    before = len(_watches())
    for one in dispatchers:
        one.start()
        assert len(_watches()) == before + 1
    for one in dispatchers[:2]:
        one.stop()
        assert len(_watches()) == before + 1
    dispatchers[2].stop()
    assert len(_watches()) == before


def test_a_watch_that_was_left_by_all_is_there_for_who_comes_next() -> None:
    watch = LeaderWatch()
    before = len(_watches())
    for _ in range(2):
        one = Dispatcher(2, bool, lambda *_: None, watch=watch)
        one.start()
        assert len(_watches()) == before + 1
        assert one.wait_quiet(PATIENCE)
        one.stop()
        assert len(_watches()) == before
