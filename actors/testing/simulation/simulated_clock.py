"""A clock that stands still until the simulation moves it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...clock import to_micros
from ...engine.residency import Residency
from ..clock import StoppedAlarm, first_time

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from ...clock import Alarm

__all__ = ["SimulatedClock"]


class SimulatedClock:
    """Stands still until it is moved, and knows what it would ring for next."""

    def __init__(self, start: datetime | None = None) -> None:
        self.start = self._now = first_time(start)
        self._alarms: list[StoppedAlarm] = []

    def now(self) -> datetime:
        return self._now

    def alarm(self, ring: Callable[[], None]) -> Alarm:
        alarm = StoppedAlarm(self.now, ring, self.remove)
        self._alarms.append(alarm)
        return alarm

    def attach(self, settle: Callable[[float], bool]) -> None:
        """Nothing: the simulation settles by itself when it moves the clock."""

    def detach(self, settle: Callable[[float], bool]) -> None:
        """Nothing, as `attach`."""

    def forget(self) -> None:
        """Drop all alarms, since the process that set them is gone."""
        self._alarms.clear()

    def remove(self, alarm: StoppedAlarm) -> None:
        self._alarms.remove(alarm)

    def next_due(self) -> datetime | None:
        """When something is due later, apart from the sweeps for idle actors."""
        moments = [
            one.moment
            for one in self._alarms
            if one.moment is not None and one.moment > self._now and not _is_sweep(one)
        ]
        return min(moments, default=None)

    def move_to(self, moment: datetime) -> None:
        """Move the time forward; the alarms that were set for a time up to it ring."""
        self._now = max(self._now, moment)
        for alarm in list(self._alarms):
            alarm.ring_if_due()

    @property
    def elapsed(self) -> int:
        """Microseconds since the start."""
        return to_micros(self._now) - to_micros(self.start)


def _is_sweep(alarm: StoppedAlarm) -> bool:
    return isinstance(getattr(alarm.ring, "__self__", None), Residency)
