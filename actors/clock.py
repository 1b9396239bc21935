"""Time as a parameter: nothing below `Runtime` reads the machine's clock."""

from __future__ import annotations

import logging
import os
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from .store.interrupts import Bell, start_thread

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

logger = logging.getLogger("procession")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

LATEST = (datetime(9999, 12, 31, tzinfo=UTC) - _EPOCH) // _MICROSECOND
"""The last time that is stored, in microseconds."""


def to_micros(moment: datetime) -> int:
    """Whole microseconds since 1970, which is how times are stored."""
    return (moment - _EPOCH) // _MICROSECOND


LONGEST_WAIT = 30.0
"""Seconds that an alarm waits before it looks at its clock again, which may have been set."""


AFTER_A_FAILURE = 1.0
"""Seconds after which a clock is asked again that could not tell the time."""


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

    _alarms: _Alarms | None = None

    def now(self) -> datetime:
        """The time, in UTC."""
        return datetime.now(UTC)

    def alarm(self, ring: Callable[[], None]) -> Alarm:
        """An alarm; all of one clock have a thread in common, so what one calls must not wait."""
        alarms = self._alarms
        if alarms is None or not alarms.is_of_this_process:
            # Where two threads come here at once, each has one, and a thread of its own.
            alarms = _Alarms(self)
            # A class of the user's own may be frozen.
            object.__setattr__(self, "_alarms", alarms)
        return _Alarm(alarms, ring)

    def attach(self, settle: Callable[[float], bool]) -> None:
        """Nothing: real time does not wait."""

    def detach(self, settle: Callable[[float], bool]) -> None:
        """Nothing, as `attach`."""


_MACHINE_NOW = SystemClock.now


class _Alarm:
    """One of the alarms of a clock. Satisfies `Alarm`."""

    def __init__(self, alarms: _Alarms, ring: Callable[[], None]) -> None:
        self._alarms = alarms
        self._ring = ring
        # Held while it rings.
        self._ringing = threading.Lock()
        self.is_closed = False

    def set(self, moment: datetime) -> None:
        self._alarms.set(self, moment)

    def close(self) -> None:
        self.is_closed = True
        self._alarms.forget(self)
        # It may be ringing now.
        with self._ringing:
            pass

    def ring(self) -> None:
        with self._ringing:
            if not self.is_closed:
                self._ring()


class _Alarms:
    """All alarms of a clock: one thread rings them, since a process may have thousands.

    Args:
        clock: tells the time

    """

    def __init__(self, clock: SystemClock) -> None:
        self._clock = clock
        self._bell = Bell(threading.Lock())
        self._moments: dict[_Alarm, datetime] = {}
        # Those that were set; one that never was need not be closed.
        self._open: set[_Alarm] = set()
        # For which moment the thread waits; None while it does not know of one.
        self._next: datetime | None = None
        self._thread: threading.Thread | None = None
        self._owner = os.getpid()

    @property
    def is_of_this_process(self) -> bool:
        """Whether its thread can be here: a fork has none."""
        return self._owner == os.getpid()

    def set(self, alarm: _Alarm, moment: datetime) -> None:
        """Have one ring at a moment, instead of any set before.

        Raises:
            NoThread: the operating system starts none

        """
        with self._bell.lock:
            if alarm.is_closed:
                return
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="procession-alarms", daemon=True)
                # It waits for the lock.
                start_thread(thread)
                self._thread = thread
            self._open.add(alarm)
            self._moments[alarm] = moment
            if self._next is None or moment < self._next:
                self._bell.notify_all()

    def forget(self, alarm: _Alarm) -> None:
        """Ring one no more; the thread ends with the last."""
        with self._bell.lock:
            self._moments.pop(alarm, None)
            self._open.discard(alarm)
            if self._open:
                return
            thread, self._thread = self._thread, None
            self._bell.notify_all()
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        me = threading.current_thread()
        while True:
            with self._bell.lock:
                if self._thread is not me:
                    return
                due = self._due_or_wait()
            for alarm in due:
                try:
                    alarm.ring()
                except BaseException:
                    # The others ring all the same.
                    logger.exception("what an alarm calls failed")

    def _due_or_wait(self) -> list[_Alarm]:
        """Those whose moment has come; if there are none, it waits first until one may."""
        try:
            due = self._due()
            if not due:
                self._wait()
        except Exception:
            # A clock of the user's own may fail, and tell the time the next time.
            logger.exception("a clock could not tell the time, and is asked again")
            self._bell.wait(AFTER_A_FAILURE)
            return []
        return due

    def _due(self) -> list[_Alarm]:
        """Those whose moment has come, which are set no more."""
        now = self._clock.now()
        due = [alarm for alarm, moment in self._moments.items() if moment <= now]
        for alarm in due:
            del self._moments[alarm]
        return due

    def _wait(self) -> None:
        self._next = min(self._moments.values(), default=None)
        if self._next is None:
            self._bell.wait()
            return
        # What a thread waits is not what the clock does: that may be set, and a machine that
        # sleeps counts no waiting.
        left = (self._next - self._clock.now()).total_seconds()
        self._bell.wait(min(max(left, 0.0), LONGEST_WAIT))
        self._next = None
