"""The clocks of a simulated machine, which stand still until the simulation moves them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from ...clock import to_micros
from ...engine.residency import Residency
from ..clock import StoppedAlarm, first_time

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from ...clock import Alarm

__all__ = ["NodeClock", "SharedClock", "SimulatedClock"]


class SimulatedClock:
    """Stands still until it is moved, and knows what it would ring for next.

    It is two clocks: `now` is what the machine shows, which may be set forward and back, and
    `steady` only goes on. Alarms are set to what the machine shows.

    Attributes:
        start: where both begin
        steady: the time that went by, as the moment it would be if the clock was never set
        was_set: whether the clock was ever set
        latest: the latest time that a machine may have shown

    """

    def __init__(self, start: datetime | None = None) -> None:
        self.start = self.steady = self.latest = first_time(start)
        self.was_set = False
        self._ahead = self._most_ahead = timedelta(0)
        self._alarms: list[StoppedAlarm] = []

    def now(self) -> datetime:
        return self.steady + self._ahead

    def alarm(self, ring: Callable[[], None]) -> Alarm:
        return self.alarm_of(self.now, ring)

    def alarm_of(self, now: Callable[[], datetime], ring: Callable[[], None]) -> StoppedAlarm:
        """An alarm that is set to what one of several machines shows."""
        alarm = StoppedAlarm(now, ring, self.remove)
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
        """Drop an alarm; one that is gone already is none the worse."""
        self._alarms = [one for one in self._alarms if one is not alarm]

    def next_due(self) -> datetime | None:
        """When something is due later by the steady clock, apart from sweeps for idle actors."""
        left = [one.left for one in self._alarms if one.left is not None and not _is_sweep(one)]
        later = [one for one in left if one > timedelta(0)]
        return self.steady + min(later) if later else None

    def move_to(self, moment: datetime) -> None:
        """Move both clocks forward; the alarms that were set for a time up to it ring.

        Args:
            moment: by the steady clock

        """
        self.steady = max(self.steady, moment)
        self._ring()

    def set(self, by: timedelta) -> None:
        """Set what the machine shows forward or back; what is due by then rings."""
        self.was_set = True
        self._ahead += by
        self._ring()

    def set_of(self, clock: NodeClock, by: timedelta) -> None:
        """Set what one of several machines shows; what is due there by then rings."""
        self.was_set = True
        clock.ahead += by
        self._most_ahead = max(self._most_ahead, clock.ahead)
        self._ring()

    @property
    def elapsed(self) -> int:
        """Microseconds since the start, by the steady clock."""
        return to_micros(self.steady) - to_micros(self.start)

    def _ring(self) -> None:
        self.latest = max(self.latest, self.now() + self._most_ahead)
        for alarm in list(self._alarms):
            alarm.ring_if_due()


class NodeClock:
    """How far what one of several machines shows is ahead of the others."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)


class SharedClock:
    """A simulated clock as one of several processes has it, whose alarms end with the process.

    Args:
        clock: of all
        node: of the machine of this process

    """

    def __init__(self, clock: SimulatedClock, node: NodeClock) -> None:
        self._clock = clock
        self._node = node
        self._alarms: list[StoppedAlarm] = []
        self.attach = clock.attach
        self.detach = clock.detach

    def now(self) -> datetime:
        return self._clock.now() + self._node.ahead

    def alarm(self, ring: Callable[[], None]) -> Alarm:
        alarm = self._clock.alarm_of(self.now, ring)
        self._alarms.append(alarm)
        return alarm

    def forget(self) -> None:
        """Drop its alarms, since the process that set them is gone."""
        for alarm in self._alarms:
            self._clock.remove(alarm)
        self._alarms.clear()


def _is_sweep(alarm: StoppedAlarm) -> bool:
    return isinstance(getattr(alarm.ring, "__self__", None), Residency)
