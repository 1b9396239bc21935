"""When something is due next, in the runtime or for a client, and what happens when time moves."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from ...clock import to_micros
from .wording import elapsed, short

if TYPE_CHECKING:
    from datetime import datetime

    from ...store import TimerRecord
    from .clients import Clients
    from .world import World

__all__ = ["Timeline"]

TOLD = 8
"""How many of the timers that are due at once the run log tells of."""


class Timeline:
    """Moves the clock of a world, and wakes the clients that wait for a time."""

    def __init__(self, world: World, clients: Clients) -> None:
        self._world = world
        self._clients = clients

    def next_due(self) -> datetime | None:
        """The next moment for which the runtime or a client waits."""
        moments = self._clients.waking_times
        due = self._world.clock.next_due()
        return min(moments if due is None else [*moments, due], default=None)

    def move_to(self, moment: datetime) -> None:
        """Move the clock, and have the run log tell what is due and whose it is."""
        world = self._world
        world.clock.move_to(moment)
        timers = islice(world.store.scan_timers(to_micros(moment)), TOLD)
        due = ", ".join(
            f"{_what(timer)} of {short(timer.process)} {timer.instance}" for _, timer in timers
        )
        is_awaited = self._clients.wake(moment)
        text = f"time moves to {elapsed(world.clock.elapsed)}"
        # An alarm that was set for a timeout rings although the timeout was cancelled since.
        world.log.note(f"{text}: {due}" if due else text, not (due or is_awaited))


def _what(timer: TimerRecord) -> str:
    if timer.command is not None:
        return short(timer.command.type)
    return f"timeout {timer.name}" if timer.kind == "timeout" else "another attempt"
