"""When something is due next, in the runtime or outside, and what happens when time moves."""

from __future__ import annotations

from datetime import timedelta
from itertools import chain, islice
from typing import TYPE_CHECKING

from ...clock import to_micros
from .wording import elapsed, short

if TYPE_CHECKING:
    from datetime import datetime

    from ...store import TimerRecord
    from .clients import Clients
    from .services import Services
    from .world import World

__all__ = ["Timeline"]

TOLD = 8
"""How many of the timers that are due at once the run log tells of."""


class Timeline:
    """Moves the clock of a world, and wakes the clients and services that wait for a time."""

    def __init__(self, world: World, clients: Clients, services: Services) -> None:
        self._world = world
        self._clients = clients
        self._services = services
        self.quiet = 0
        """Microseconds that passed while nothing was in flight."""
        self._set_back = 0
        """Microseconds until the clock is where it was before it was set back."""

    def next_due(self) -> datetime | None:
        """The next moment for which the runtime, a client or a service waits."""
        moments = [*self._clients.waking_times, *self._services.waking_times]
        due = self._world.clock.next_due()
        return min(moments if due is None else [*moments, due], default=None)

    def move_to(self, moment: datetime, *, is_quiet: bool = False) -> None:
        """Move the clock, and have the run log tell what is due and whose it is.

        Args:
            moment: up to when
            is_quiet: whether nothing is in flight

        """
        world = self._world
        before = world.clock.elapsed
        world.clock.move_to(moment)
        passed = world.clock.elapsed - before
        again = min(passed, self._set_back)
        self._set_back -= again
        if is_quiet:
            self.quiet += passed - again
        due = self._due()
        is_awaited = self._clients.wake(moment) | self._services.wake(moment)
        text = f"time moves to {elapsed(world.clock.elapsed)}"
        # An alarm that was set for a timeout rings although the timeout was cancelled since.
        world.log.note(f"{text}: {due}" if due else text, not (due or is_awaited))

    def set_clock(self, by: timedelta) -> None:
        """Set the machine's clock forward or back, which is no time that goes by."""
        world = self._world
        world.clock.set(by)
        micros = by // timedelta(microseconds=1)
        self._set_back = max(0, self._set_back - micros)
        due = self._due()
        where = "forward" if micros > 0 else "back"
        text = f"the clock is set {where} by {elapsed(abs(micros))}"
        world.log.note(f"{text}: {due}" if due else text)

    def _due(self) -> str:
        """What is due, and whose it is."""
        world = self._world
        until = to_micros(world.clock.now())
        timers = islice(
            chain.from_iterable(store.scan_timers(until) for store in world.stores), TOLD
        )
        return ", ".join(
            f"{_what(timer)} of {short(timer.process)} {timer.instance}" for _, timer in timers
        )


def _what(timer: TimerRecord) -> str:
    if timer.command is not None:
        return short(timer.command.type)
    return f"timeout {timer.name}" if timer.kind == "timeout" else "another attempt"
