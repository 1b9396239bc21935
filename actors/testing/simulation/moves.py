"""What may happen next in a simulated run, and which of it does."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from .deviations import Deviation, number_of
from .ranking import Ranking

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from .accidents import Accidents
    from .clients import Clients
    from .running import Running
    from .services import Services
    from .timeline import Timeline
    from .world import World

__all__ = ["LATEST", "Moves"]


class _Move(NamedTuple):
    """One thing that may happen next, and who does it."""

    make: Callable[[], object]
    who: object
    is_arrival: bool = False


TURN = number_of("turn")

LATEST = 4
"""How often the clock moves, at most, while things are in flight and late."""


class Moves:
    """Lets one thing happen at a time: the ordinary one, or what a deviation says.

    Attributes:
        chosen: the turns in which a ranking chose another move than the ordinary one, as
            deviations that do the same

    """

    def __init__(
        self,
        world: World,
        clients: Clients,
        services: Services,
        timeline: Timeline,
        accidents: Accidents,
    ) -> None:
        self._world = world
        self._clients = clients
        self._services = services
        self._timeline = timeline
        self._accidents = accidents
        self._deviations = world.faults.deviations
        self._ranking: Ranking | None = None
        self._times = 0
        """How often the clock is still to move before what is in flight."""
        self.chosen: list[Deviation] = []

    def next(self, *, brings: bool, waits: bool, end: datetime | None = None) -> bool:
        """Let one thing happen; false if there is nothing.

        Args:
            brings: whether something may come from outside
            waits: whether time may pass when nothing else is to be done
            end: up to when

        """
        deviations, log = self._deviations, self._world.log
        log.turn += 1
        deviations.arm(log.turn)
        if deviations.armed and self._accidents.happen():
            return True
        moves = self._possible(brings=brings) or self._when_quiet(waits=waits, end=end)
        if not moves:
            log.turn -= 1
            return False
        if (number := deviations.take("shuffle")) is not None:
            self._ranking = Ranking(number.which)
        if (late := deviations.take("late")) is not None:
            self._times = 1 + late.which % LATEST
        move = self._arrival(moves) or self._pass_time()
        if len(moves) > 1 and (other := deviations.take("turn")) is not None:
            move = moves[1 + other.which % (len(moves) - 1)]
        self._world.guarded((move or self._first(moves)).make)
        return True

    def _first(self, moves: list[_Move]) -> _Move:
        """The ordinary next move, or the one that the ranking has first."""
        # A commit that is due is waited for: otherwise it could be put off for ever.
        is_due = any(part.scheduler.is_commit_due for part in self._world.parts)
        if self._ranking is None or len(moves) == 1 or is_due:
            return moves[0]
        who = [move.who for move in moves]
        if self._deviations.take("demote") is not None:
            self._ranking.demote(who[self._ranking.first(who)])
        place = self._ranking.first(who)
        if place:
            self.chosen.append(Deviation(self._world.log.turn, TURN, place - 1))
        return moves[place]

    def _pass_time(self) -> _Move | None:
        """What has the clock move while things are in flight, if a deviation says so."""
        if not self._times:
            return None
        for part in self._world.parts:
            timers, ready = part.engine.timers, part.scheduler.next_ones()
            if ready and ready[0].is_urgent:
                return None
            if timers in ready:
                return _Move(partial(part.scheduler.give_turn, timers), timers)
            # What is not durable is not due.
            if part.engine.wants_idle:
                return self._commit_of(part)
        due = self._timeline.next_due()
        if due is None:
            return None
        self._times -= 1
        return _Move(partial(self._timeline.move_to, due), "time")

    def _arrival(self, moves: list[_Move]) -> _Move | None:
        """Something that comes from outside before its time, if a deviation says so."""
        arrivals = [move for move in moves[1:] if move.is_arrival]
        if arrivals and (one := self._deviations.take("arrival")) is not None:
            return arrivals[one.which % len(arrivals)]
        return None

    def _possible(self, *, brings: bool, holds: bool = True) -> list[_Move]:
        """What may happen now, the ordinary next thing first."""
        moves: list[_Move] = []
        for part in self._world.parts:
            self._add_moves_of(part, moves, holds=holds)
        moves += [_Move(make, who) for make, who in self._world.moves()]
        # What is held back may be what was tried again already.
        if not moves and not self._world.is_any_held and self._accidents.have_parked():
            moves.append(_Move(self._accidents.retry, "operator"))
        # Services answer by themselves.
        arrivals = self._services.ready
        if brings:
            arrivals += self._clients.ready
        moves += [
            _Move(partial(self._clients.bring, client), client, is_arrival=True)
            for client in arrivals
            if self._clients.can_bring(client)
        ]
        return moves

    def _add_moves_of(self, part: Running, moves: list[_Move], *, holds: bool) -> None:
        """Add what may happen in one engine."""
        engine, scheduler = part.engine, part.scheduler
        actors = scheduler.next_ones()
        may_hold = holds and bool(actors) and not actors[0].is_urgent
        if may_hold and (held := self._deviations.take("hold")) is not None:
            scheduler.held.append(actors.pop(held.which % len(actors)))
        moves += [_Move(partial(scheduler.give_turn, actor), actor) for actor in actors]
        if engine.wants_idle:
            moves.insert(0 if scheduler.is_commit_due else len(moves), self._commit_of(part))
        if engine.effects.is_ready:
            effect = partial(self._run_effect, part)
            moves.append(_Move(effect, ("effect", part.number)))

    def _when_quiet(self, *, waits: bool, end: datetime | None) -> list[_Move]:
        """What happens when nothing else can: what was held back goes on, or time passes."""
        is_awaited = self._clients.waking_times or self._services.waking_times
        if not (waits and is_awaited):
            if self._world.let_go_held():
                return self._possible(brings=False, holds=False)
            if not waits:
                return []
            # Everything came and everything is settled.
            self._deviations.stop()
        due = self._timeline.next_due()
        if due is None and self._services.hurry():
            return self._possible(brings=False)
        if due is None or (end is not None and due > end):
            return []
        move = partial(self._timeline.move_to, due, is_quiet=not self._world.is_any_held)
        return [_Move(move, "time")]

    def _commit_of(self, part: Running) -> _Move:
        return _Move(partial(self._commit, part), ("commit", part.number))

    def _commit(self, part: Running) -> None:
        part.scheduler.idle()
        self._world.has_changed = True

    def _run_effect(self, part: Running) -> None:
        self._accidents.run_effect(part)
        self._world.has_changed = True
