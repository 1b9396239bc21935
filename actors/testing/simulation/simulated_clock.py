"""A clock that stands still until the simulation moves it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ...clock import to_micros
from ...engine.residency import Residency

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...clock import Alarm

__all__ = ["SimulatedClock"]


class SimulatedClock:
    """Stands still until it is moved, and knows what it would ring for next."""

    def __init__(self, start: datetime | None = None) -> None:
        start = start or datetime(2000, 1, 1, tzinfo=UTC)
        if start.tzinfo is None:
            raise ValueError(f"start={start!r} has no time zone; add tzinfo=UTC")
        self.start = self._now = start
        self._alarms: list[_SimulatedAlarm] = []

    def now(self) -> datetime:
        return self._now

    def alarm(self, ring: Callable[[], None]) -> Alarm:
        alarm = _SimulatedAlarm(self, ring)
        self._alarms.append(alarm)
        return alarm

    def attach(self, settle: Callable[[float], bool]) -> None:
        """Nothing: whoever moves it settles."""

    def detach(self, settle: Callable[[float], bool]) -> None:
        """Nothing, as `attach`."""

    def forget(self) -> None:
        """The program that set the alarms is gone."""
        self._alarms.clear()

    def remove(self, alarm: _SimulatedAlarm) -> None:
        self._alarms.remove(alarm)

    def next_due(self) -> datetime | None:
        """When something is due later, apart from sweeping out who is idle."""
        moments = [
            one.moment
            for one in self._alarms
            if one.moment is not None and one.moment > self._now and not one.is_sweep
        ]
        return min(moments, default=None)

    def move_to(self, moment: datetime) -> None:
        """It is that time now; what was set for a time up to it rings."""
        self._now = max(self._now, moment)
        for alarm in list(self._alarms):
            alarm.ring_if_due()

    @property
    def elapsed(self) -> int:
        """Microseconds since the start."""
        return to_micros(self._now) - to_micros(self.start)


class _SimulatedAlarm:
    def __init__(self, clock: SimulatedClock, ring: Callable[[], None]) -> None:
        self._clock = clock
        self._ring = ring
        self.is_sweep = isinstance(getattr(ring, "__self__", None), Residency)
        self.moment: datetime | None = None

    def set(self, moment: datetime) -> None:
        self.moment = moment

    def ring_if_due(self) -> None:
        if self.moment is not None and self.moment <= self._clock.now():
            self.moment = None
            self._ring()

    def close(self) -> None:
        self.moment = None
        self._clock.remove(self)
