"""For tests of what people build: a clock that only moves when told."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from .clock import Alarm

__all__ = ["VirtualClock"]


class VirtualClock:
    """A clock that stands still until `advance` moves it.

    Args:
        start: its first time, with a zone; without one, the start of the year 2000

    """

    def __init__(self, start: datetime | None = None) -> None:
        start = start or datetime(2000, 1, 1, tzinfo=UTC)
        if start.tzinfo is None:
            raise ValueError(f"start={start!r} has no time zone; add tzinfo=UTC")
        self._now = start
        self._lock = threading.Lock()
        self._alarms: list[_VirtualAlarm] = []

    def now(self) -> datetime:
        """The time, as far as it was advanced."""
        return self._now

    def advance(self, by: timedelta) -> None:
        """Move forward, and ring the alarms whose moment has come, before returning.

        Raises:
            ValueError: `by` is negative; time does not run backwards

        """
        if by < timedelta(0):
            raise ValueError(f"by={by!r} is negative; a clock only goes forward")
        with self._lock:
            self._now += by
            alarms = list(self._alarms)
        for alarm in alarms:
            alarm.ring_if_due()

    def alarm(self, ring: Callable[[], None]) -> Alarm:
        """An alarm that rings inside `advance`."""
        alarm = _VirtualAlarm(self, ring)
        with self._lock:
            self._alarms.append(alarm)
        return alarm

    def remove(self, alarm: _VirtualAlarm) -> None:
        """Forget an alarm; called by the alarm when it is closed."""
        with self._lock:
            self._alarms.remove(alarm)


class _VirtualAlarm:
    def __init__(self, clock: VirtualClock, ring: Callable[[], None]) -> None:
        self._clock = clock
        self._ring = ring
        self._moment: datetime | None = None

    def set(self, moment: datetime) -> None:
        self._moment = moment

    def ring_if_due(self) -> None:
        if self._moment is not None and self._moment <= self._clock.now():
            self._moment = None
            self._ring()

    def close(self) -> None:
        # `advance` may have it in hand already.
        self._moment = None
        self._clock.remove(self)
