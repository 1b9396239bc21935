"""Turns in order, on the thread that asks for them: what an event brings about has an end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..engine.dispatcher import Dispatcher

if TYPE_CHECKING:
    from ..engine.pooled_actor import PooledActor

__all__ = ["Turns"]


class Turns(Dispatcher):
    """Stands where the dispatcher stands. It has no threads: `give_all` gives the turns."""

    def schedule(self, actor: PooledActor) -> None:
        """Put an actor at the end of the run queue, unless it stands there already."""
        self.schedule_locked(actor)

    def schedule_from_outside(self, actor: PooledActor) -> None:
        """As `schedule`: nothing comes from other threads."""
        self.schedule_locked(actor)

    def nudge(self) -> None:
        """Nothing: all turns are given before anything else is looked at."""

    def start(self) -> None:
        """Start no thread."""

    def give_all(self) -> None:
        """Let actors have their turns until none waits for one."""
        ready, urgent = self.ready, self.urgent
        while ready or urgent:
            actor = (urgent or ready).popleft()
            self.turns += 1
            try:
                actor.take_turn()
            except BaseException as error:  # noqa: BLE001 - the engine tells of it
                self._on_error(actor, error)
        self.work_waits = False
