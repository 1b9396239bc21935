"""Time as a parameter: nothing below `Runtime` reads the machine's clock."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from .store.interrupts import start_thread

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "LATEST",
    "Alarm",
    "Clock",
    "SystemClock",
    "from_micros",
    "nanoseconds",
    "pause",
    "stopwatch",
    "to_micros",
]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

LATEST = (datetime(9999, 12, 31, tzinfo=UTC) - _EPOCH) // _MICROSECOND
"""The last time that is stored, in microseconds."""


def to_micros(moment: datetime) -> int:
    """Whole microseconds since 1970, which is how times are stored."""
    return (moment - _EPOCH) // _MICROSECOND


LONGEST_WAIT = 30.0
"""Seconds that an alarm waits before it looks at its clock again, which may have been set."""


def stopwatch(clock: Clock) -> Callable[[], int]:
    """A function that tells the clock's time in microseconds since 1970.

    For the machine's clock it makes no `datetime` on the way: a step asks for the time, and that
    is a twentieth of what a step costs. Nor for one that counts in `micros` itself. Any other
    clock is asked.
    """
    micros: Callable[[], int] | None = getattr(clock, "micros", None)
    if micros is not None:
        return micros
    if getattr(clock.now, "__func__", None) is _MACHINE_NOW:
        return lambda: time.time_ns() // 1000
    return lambda: to_micros(clock.now())


def seconds() -> float:
    """Seconds that never run backwards, for how long a thread waits; no step depends on them."""
    return time.monotonic()


def nanoseconds() -> int:
    """The machine's time since 1970, for spans, which others compare; no step depends on it."""
    return time.time_ns()


def pause(duration: float) -> None:
    """Have this thread wait for seconds; no step depends on them."""
    time.sleep(duration)


def from_micros(micros: int) -> datetime:
    """The moment, in UTC, of a stored time."""
    return _EPOCH + timedelta(microseconds=micros)


class Alarm(Protocol):
    """Calls back once at or after the moment it is set to."""

    def set(self, moment: datetime) -> None:
        """Ring at that moment, instead of any set before."""
        ...

    def close(self) -> None:
        """Never ring again."""
        ...


class Clock(Protocol):
    """Where the time comes from: the machine, or a test."""

    def now(self) -> datetime:
        """The time, with its zone."""
        ...

    def alarm(self, ring: Callable[[], None]) -> Alarm:
        """An alarm that calls `ring`, from a thread of the clock's choosing."""
        ...

    def attach(self, settle: Callable[[float], bool]) -> None:
        """Something runs by this clock from now on.

        Args:
            settle: waits at most so many seconds until it has nothing to do before time goes on,
                and returns whether that is so; a clock that people move calls it when it moves

        """
        ...

    def detach(self, settle: Callable[[float], bool]) -> None:
        """It runs no more."""
        ...


class SystemClock:
    """The machine's clock. A class of your own may have another `now`, and is believed."""

    def now(self) -> datetime:
        """The time, in UTC."""
        return datetime.now(UTC)

    def alarm(self, ring: Callable[[], None]) -> Alarm:
        """An alarm with a thread of its own, from when it is first set."""
        return _ThreadAlarm(self, ring)

    def attach(self, settle: Callable[[float], bool]) -> None:
        """Nothing: real time does not wait."""

    def detach(self, settle: Callable[[float], bool]) -> None:
        """Nothing, as `attach`."""


_MACHINE_NOW = SystemClock.now


class _ThreadAlarm:
    def __init__(self, clock: Clock, ring: Callable[[], None]) -> None:
        self._clock = clock
        self._ring = ring
        self._condition = threading.Condition()
        self._moment: datetime | None = None
        self._closed = False
        self._thread: threading.Thread | None = None

    def set(self, moment: datetime) -> None:
        with self._condition:
            self._moment = moment
            if self._thread is None and not self._closed:
                # Not before, so that one that is never set need not be closed.
                thread = threading.Thread(target=self._run, name="procession-alarm", daemon=True)
                start_thread(thread)
                self._thread = thread
            self._condition.notify()

    def close(self) -> None:
        with self._condition:
            self._closed = True
            self._condition.notify()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while self._wait():
            self._ring()

    def _wait(self) -> bool:
        """Sleep until the moment has come; False when closed."""
        with self._condition:
            while not self._closed:
                if self._moment is None:
                    self._condition.wait()
                    continue
                seconds = (self._moment - self._clock.now()).total_seconds()
                if seconds <= 0:
                    self._moment = None
                    return True
                # What a thread waits is not what the clock does: that may be set, and a machine
                # that sleeps counts no waiting.
                self._condition.wait(min(seconds, LONGEST_WAIT))
        return False
