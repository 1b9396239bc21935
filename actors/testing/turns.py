"""One turn after the other: what may happen next, what does, and what goes wrong."""

from __future__ import annotations

import logging
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from ..engine.admin import Admin
from .faults import Crash, InjectedFailure, InjectedStoreError, RuntimeBroke
from .outside import Answer, told_of
from .parts import Parts
from .telling import short

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

__all__ = ["Turns"]

logger = logging.getLogger("procession")


class _Move(NamedTuple):
    """One thing that may happen next."""

    kind: str
    what: Any = None


class Turns(Parts):
    """Lets one thing happen at a time: the ordinary one, or what a deviation says."""

    # What may happen

    def _next(self, *, brings: bool, waits: bool, end: datetime | None = None) -> bool:
        """Let one thing happen; false if there is nothing.

        Args:
            brings: whether something may come from outside
            waits: whether time may pass when nothing else is to be done
            end: how far

        """
        self._turn += 1
        self._deviations.arm(self._turn)
        if self._deviations.armed and self._deviate():
            return True
        moves = self._moves(brings=brings) or self._when_quiet(waits=waits, end=end)
        if not moves:
            self._turn -= 1
            return False
        move = self._arrival(moves) or moves[0]
        if len(moves) > 1 and (other := self._deviations.take("turn")) is not None:
            move = moves[1 + other.which % (len(moves) - 1)]
        self._guarded(self._perform, move)
        return True

    def _arrival(self, moves: list[_Move]) -> _Move | None:
        """Something that comes from outside before its time, if a deviation says so."""
        arrivals = [move for move in moves[1:] if move.kind == "bring"]
        if arrivals and (one := self._deviations.take("arrival")) is not None:
            return arrivals[one.which % len(arrivals)]
        return None

    def _moves(self, *, brings: bool, holds: bool = True) -> list[_Move]:
        """What may happen now, the ordinary next thing first."""
        engine = self._engine
        moves = [
            _Move("turn", actor) for actor in engine.scheduler.ready if actor not in self._held
        ]
        if moves and holds and (held := self._deviations.take("hold")) is not None:
            self._held.append(moves.pop(held.which % len(moves)).what)
        if engine.wants_commit:
            moves.append(_Move("commit"))
        if engine.effects.is_ready:
            moves.append(_Move("effect"))
        if self._may_be_parked and not moves:
            self._may_be_parked = bool(self._parked_by_accident())
            if self._may_be_parked:
                moves.append(_Move("retry"))
        if brings:
            moves += [
                _Move("bring", client)
                for client in self._clients
                if client.item is not None and client.answer is None and client.wakes_at is None
            ]
        return moves

    def _when_quiet(self, *, waits: bool, end: datetime | None) -> list[_Move]:
        """What happens when nothing else can: what was held back goes on, or time passes."""
        if not (waits and any(client.wakes_at is not None for client in self._clients)):
            if self._held:
                self._held.clear()
                return self._moves(brings=False, holds=False)
            if not waits:
                return []
            # Everything came and everything is settled.
            self._deviations.stop()
        due = self._next_due()
        return [] if due is None or (end is not None and due > end) else [_Move("time", due)]

    def _perform(self, move: _Move) -> None:
        if move.kind == "turn":
            self._engine.scheduler.give_turn(move.what)
        elif move.kind == "commit":
            self._engine.scheduler.idle()
            self.has_changed = True
        elif move.kind == "effect":
            self._run_effect()
            self.has_changed = True
        elif move.kind == "retry":
            self._retry_accidents()
        elif move.kind == "bring":
            self._bring(move.what)
        else:
            self._move_clock(move.what)

    def _guarded(self, do: Callable[..., Any], *arguments: Any) -> bool:
        """Do something that may end in a crash; false if it did."""
        disabled, logger.disabled = logger.disabled, True
        try:
            do(*arguments)
        except Crash:
            self._restart()
            return False
        except RuntimeBroke as error:
            raise AssertionError(str(error)) from error.__cause__
        finally:
            logger.disabled = disabled
        return True

    # What goes wrong

    def _deviate(self) -> bool:
        """Let something happen that is not ordinary; false if there is no chance for it now."""
        take = self._deviations.take
        if take("crash") is not None:
            self.note("crash: what was not committed is gone")
            self._restart()
            return True
        due = self._next_due()
        if due is not None and take("time") is not None:
            self._guarded(self._move_clock, due)
            return True
        for kind in ("repeat_event", "repeat_command"):
            recent = self._recent.get(kind)
            if recent and (one := take(kind)) is not None:
                what, again = recent[-1 - one.which % len(recent)]
                self.note(f"{what} is brought again")
                again()
                return True
        if self._outside and (one := take("repeat_outside")) is not None:
            item, name = self._outside[-1 - one.which % len(self._outside)]
            self.note(f"outside: {told_of(item)} comes again, under the same id")
            self._engine.journal.add(self._receipt(item, name, Answer(self._engine.command_queue)))
            return True
        if len(self._engine.residency) and take("sleep") is not None:
            count = self._engine.residency.passivate_idle()
            self.note(f"{count} idle actors leave memory", not count)
            return True
        return False

    def _run_effect(self) -> None:
        def run(job: Any) -> bool:
            who = f"{job.source.definition.cls.__name__} {job.instance}"
            what = f"the after-effect of {short(job.record.type)}"
            accident = self.accident("fails_before", "fails_after")
            if accident == "fails_before":
                self.note(f"{who} failed before {what}")
                raise InjectedFailure("the after-effect failed before it ran")
            try:
                is_there: bool = job.source.run(job)
            except Exception as error:
                self.note(f"{who} failed at {what}: {error!r}")
                raise
            if accident:
                self.note(f"{who} failed after {what} had run")
                raise InjectedFailure("the after-effect failed after it ran")
            self.note(f"{who} ran {what}", not is_there)
            return is_there

        self._engine.effects.run_next(run)

    def _parked_by_accident(self) -> list[int]:
        mine = InjectedFailure.__name__
        return [
            one.number
            for one in self._store.scan_parked()
            if one.error_type.rpartition(".")[2] == mine
        ]

    def _retry_accidents(self) -> None:
        for number in self._parked_by_accident():
            self.note("somebody has what was made to fail tried again")
            # When the disk refuses, there is another time.
            with suppress(InjectedStoreError):
                self._operate(partial(Admin.retry, number=number, by=None))
