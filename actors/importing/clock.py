"""The clock of an import: it stands where history is, and rings when it is told to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..clock import from_micros, to_micros

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

__all__ = ["FARTHEST", "HistoryClock"]

FARTHEST = (1 << 63) - 1
"""A time that never comes, in microseconds."""


class HistoryClock:
    """Moved from one time to the next that matters, by the backtest alone.

    It counts microseconds: it is moved to each event of a history, and asked again and again.

    Args:
        start: its first time

    """

    def __init__(self, start: int) -> None:
        self._now = start
        self._alarms: list[_Alarm] = []
        # When the first of them rings; None after one was set, until it is asked for.
        self._first: int | None = FARTHEST

    def now(self) -> datetime:
        """The time at which it stands."""
        return from_micros(self._now)

    def micros(self) -> int:
        """The same in microseconds."""
        return self._now

    def alarm(self, ring: Callable[[], None]) -> _Alarm:
        """An alarm that calls `ring` when the clock is told to ring."""
        alarm = _Alarm(self, ring)
        self._alarms.append(alarm)
        return alarm

    def attach(self, settle: Callable[[float], bool]) -> None:
        """Nothing: what moves it has all turns given before."""

    def detach(self, settle: Callable[[float], bool]) -> None:
        """Nothing, as `attach`."""

    def next_moment(self) -> int:
        """When the first alarm rings."""
        if self._first is None:
            self._first = min((one.moment for one in self._alarms), default=FARTHEST)
        return self._first

    def move_to(self, moment: int) -> None:
        """Stand at a time that is not before the one at which it stands."""
        self._now = moment

    def ring(self) -> None:
        """Let all alarms ring whose times have come."""
        for alarm in tuple(self._alarms):
            # Another that rang before it may have closed it, or set it anew.
            if alarm.moment <= self._now:
                self.set(alarm, FARTHEST)
                alarm.ring()

    def set(self, alarm: _Alarm, moment: int) -> None:
        """Have an alarm ring then."""
        alarm.moment = moment
        self._first = None

    def remove(self, alarm: _Alarm) -> None:
        """Forget an alarm."""
        self.set(alarm, FARTHEST)
        self._alarms.remove(alarm)


class _Alarm:
    """What a part of the engine sets.

    Args:
        clock: it is of
        ring: what it calls

    """

    def __init__(self, clock: HistoryClock, ring: Callable[[], None]) -> None:
        self.ring = ring
        self.moment = FARTHEST
        self._clock = clock

    def set(self, moment: datetime) -> None:
        """Ring then, instead of at any time set before."""
        self._clock.set(self, to_micros(moment))

    def close(self) -> None:
        """Never ring again."""
        self._clock.remove(self)
