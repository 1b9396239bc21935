"""The clock of an import: it stands where history is, and rings when it is told to."""

from __future__ import annotations

from ..clock import from_micros, to_micros
from ..testing.clock import VirtualClock

__all__ = ["FARTHEST", "HistoryClock"]

FARTHEST = (1 << 63) - 1
"""A time that never comes, in microseconds."""


class HistoryClock(VirtualClock):
    """Moved from one time to the next that matters, by the backtest alone."""

    def next_moment(self) -> int:
        """When the first alarm rings, in microseconds."""
        moments = [one.moment for one in self._alarms if one.moment is not None]
        return to_micros(min(moments)) if moments else FARTHEST

    def move_to(self, moment: int) -> None:
        """Stand at a time, in microseconds, that is not before the one at which it stands."""
        self._now = from_micros(moment)

    def ring(self) -> None:
        """Let all alarms ring whose times have come."""
        for alarm in tuple(self._alarms):
            alarm.ring_if_due()
