"""A clock that only moves when told, and lets everything happen on the way."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from types import FunctionType, MethodType
from typing import TYPE_CHECKING

from ..errors import TimedOut
from ..store.interrupts import uninterrupted

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..clock import Alarm

__all__ = ["StoppedAlarm", "VirtualClock", "first_time"]

PATIENCE = 60.0
"""Real seconds that a runtime has to settle before the clock moves on."""

MOST_ALARMS = 100_000
"""Alarms that one `advance` lets ring."""

ROUNDS = 1_000
"""How often runtimes that share a clock may give one another something to do at one moment."""


class VirtualClock:
    """A clock that stands still until `advance` moves it.

    Args:
        start: its first time, with a zone; without one, the start of the year 2000
        patience: most seconds, real ones, that `advance` waits for a runtime to settle

    """

    def __init__(self, start: datetime | None = None, *, patience: float = PATIENCE) -> None:
        self._now = first_time(start)
        self._patience = patience
        self._lock = threading.Lock()
        self._alarms: list[StoppedAlarm] = []
        self._settles: list[Callable[[float], bool]] = []

    def now(self) -> datetime:
        """The time, as far as it was advanced."""
        return self._now

    def advance(self, by: timedelta, *, settle: bool = True) -> None:
        """Move forward, stopping wherever something is due, and return when all is settled.

        What falls due happens in order of time, and each finds the clock at its own moment; what
        it sets for a moment within `by` happens as well. Every runtime that uses the clock is
        settled before the first move and after each stop. Called from a handler or an
        after-effect, which would wait for itself, it moves and rings without settling.

        Args:
            by: how far
            settle: False moves and rings without waiting for anything, for a test in which time
                goes on while a handler is held up

        Raises:
            ValueError: `by` is negative; time does not run backwards
            TimedOut: something did not settle, or set alarms again and again (more than
                `MOST_ALARMS`); the clock stands where that happened

        """
        if by < timedelta(0):
            raise ValueError(f"by={by!r} is negative; a clock only goes forward")
        uninterrupted(lambda: self._advance(by, settle=settle), "procession-clock")

    def _advance(self, by: timedelta, *, settle: bool) -> None:
        if settle:
            self._settle()
        rung, rung_for = 0, "something"
        left, due = self._move(by)
        while due:
            for alarm in due:
                alarm.ring_if_due()
            if settle:
                self._settle()
            rung += len(due)
            rung_for = next(filter(None, (_told(one.ring) for one in due)), rung_for)
            if rung >= MOST_ALARMS:
                raise TimedOut(
                    f"the clock stopped at {self._now}, {left} before the end: {rung:,} alarms "
                    f"rang on the way, the last of them for {rung_for}. Give what is set again "
                    f"and again a longer delay, or advance by less at a time"
                )
            left, due = self._move(left)

    def alarm(self, ring: Callable[[], None]) -> Alarm:
        """An alarm that rings inside `advance`."""
        alarm = StoppedAlarm(self.now, ring, self.remove)
        with self._lock:
            self._alarms.append(alarm)
        return alarm

    def attach(self, settle: Callable[[float], bool]) -> None:
        """Have `advance` wait for this as well."""
        with self._lock:
            self._settles.append(settle)

    def detach(self, settle: Callable[[float], bool]) -> None:
        """Wait for it no more."""
        with self._lock:
            self._settles.remove(settle)

    def remove(self, alarm: StoppedAlarm) -> None:
        """Forget an alarm; called by the alarm when it is closed."""
        with self._lock:
            self._alarms.remove(alarm)

    def _move(self, left: timedelta) -> tuple[timedelta, list[StoppedAlarm]]:
        """Go to the next moment at which something is due; returns what is left, and what is."""
        with self._lock:
            end = self._now + left
            moments = [one.moment for one in self._alarms if one.moment is not None]
            stop = max(self._now, min([end, *moments]))
            left -= stop - self._now
            self._now = stop
            due = [one for one in self._alarms if one.moment is not None and one.moment <= stop]
        return left, due

    def _settle(self) -> None:
        settles = list(self._settles)
        for _ in range(ROUNDS):
            if not all(settle(self._patience) for settle in settles):
                break
            # Runtimes may give one another something to do, as after-effects that publish.
            if len(settles) < 2 or all(settle(0) for settle in settles):
                return
        raise TimedOut(
            f"the clock stopped at {self._now}: what is under way there did not settle within "
            f"{self._patience} seconds. A handler is still running, or messages keep coming; see "
            f"stats()"
        )


class StoppedAlarm:
    """An alarm of a clock that stands still: it rings when the clock that was moved asks it to.

    Args:
        now: tells the clock's time
        ring: what the alarm calls
        remove: has the clock forget the alarm

    """

    def __init__(
        self,
        now: Callable[[], datetime],
        ring: Callable[[], None],
        remove: Callable[[StoppedAlarm], None],
    ) -> None:
        self.ring = ring
        self._now = now
        self._remove = remove
        self.moment: datetime | None = None

    def set(self, moment: datetime) -> None:
        self.moment = moment

    @property
    def left(self) -> timedelta | None:
        """How long it is until it rings; None if it is not set."""
        return None if self.moment is None else self.moment - self._now()

    def ring_if_due(self) -> None:
        # Another that rang before it may have closed it, or set it anew.
        if self.moment is not None and self.moment <= self._now():
            self.moment = None
            self.ring()

    def close(self) -> None:
        # The clock may be about to ring it.
        self.moment = None
        self._remove(self)


def _told(ring: Callable[[], None]) -> str:
    """What an alarm rings for, if what it calls can tell."""
    return "" if isinstance(ring, FunctionType | MethodType) else str(ring)


def first_time(start: datetime | None) -> datetime:
    """The first time of a clock that stands still, in UTC; without one, the start of 2000.

    In a zone whose clocks are set, an hour later is not always the next hour of the day.

    Raises:
        ValueError: it has no zone

    """
    start = start or datetime(2000, 1, 1, tzinfo=UTC)
    if start.utcoffset() is None:
        raise ValueError(f"start={start!r} has no time zone; add tzinfo=UTC")
    return start.astimezone(UTC)
