"""A dispatcher without threads: the simulation says which actor has the next turn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...engine.dispatcher import Dispatcher

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...engine.leader_watch import LeaderWatch
    from ...engine.pooled_actor import PooledActor

__all__ = ["SeededScheduler"]


class SeededScheduler(Dispatcher):
    """Stands where the dispatcher stands, and gives an actor its turn when it is told to.

    Attributes:
        idle: does what a worker does when no actor waits for a turn: it commits
        ready: the actors that wait for a turn, in order of arrival
        held: the actors that wait until nothing else is to be done
        in_turn: whether an actor is having its turn
        drive: set while an operator waits for what nudges; makes happen what the operator waits for

    """

    def __init__(
        self,
        workers: int,
        on_idle: Callable[[], bool],
        on_error: Callable[[PooledActor, BaseException], None],
        has_more: Callable[[], bool] = bool,
        watch: LeaderWatch | None = None,
    ) -> None:
        super().__init__(workers, on_idle, on_error, has_more, watch)
        self.idle = on_idle
        # In a list, from which any one may be taken; none goes before the others.
        self.ready: list[PooledActor] = []  # type: ignore[assignment] # it is appended to alone
        self.urgent = self.ready  # type: ignore[assignment] # as above
        self.held: list[PooledActor] = []
        self.in_turn = False
        self.drive: Callable[[], None] | None = None

    # For actors

    def schedule(self, actor: PooledActor) -> None:
        self.schedule_locked(actor)

    def schedule_from_outside(self, actor: PooledActor) -> None:
        self.schedule_locked(actor)
        self.nudge()

    def schedule_locked(self, actor: PooledActor, *, is_urgent: bool = False) -> None:
        del is_urgent
        if not actor.scheduled:
            actor.scheduled = True
            self.ready.append(actor)

    def nudge(self) -> None:
        if self.drive is not None and not self.in_turn:
            self.drive()

    # For the engine

    def start(self) -> None:
        """No threads."""

    # For the simulation

    def give_turn(self, actor: PooledActor) -> None:
        """Let an actor have its turn. What it raises is a fault of the runtime's own."""
        self.ready.remove(actor)
        was_in_turn, self.in_turn = self.in_turn, True
        self.turns += 1
        try:
            actor.take_turn()
        finally:
            self.in_turn = was_in_turn

    def next_ones(self) -> list[PooledActor]:
        """The actors of which one has the next turn: as in the runtime, the urgent ones first.

        So what came from outside is taken in before a timer that becomes due behind it.
        """
        ready = [actor for actor in self.ready if actor not in self.held]
        return [actor for actor in ready if actor.is_urgent] or ready

    def let_others(self, which: int) -> None:
        """What another thread does while a handler blocks its own: a turn, a commit, or both."""
        others = self.next_ones()
        if others:
            self.give_turn(others[which % len(others)])
        if which % 2:
            self.idle()
