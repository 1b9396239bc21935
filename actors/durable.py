"""What instance actors and aggregate actors share: running ahead of the disk, and going back.

An actor hands a step to the journal and goes on with its next errand; what it lets out waits for
the commit. When a step is not committed after all, what is in memory is stale: the actor waits
until everything it handed over has been answered, forgets its state, and does the undone errands
again, in order, before any other.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from pykka._envelope import Envelope

from store import Conflict, Step

from .dispatcher import PooledActor

if TYPE_CHECKING:
    from datetime import timedelta

    from store import Outcome, StoreError

    from .dispatcher import Dispatcher
    from .journal import Journal

__all__ = ["DurableActor", "Errand"]

logger = logging.getLogger("procession")


class Errand:
    """One message to a durable actor, and the step that comes of it."""

    __slots__ = ("actor", "step")

    actor: DurableActor
    step: Step

    def committed(self, outcome: Outcome) -> None:
        """The step was answered; called by the journal, in order."""
        self.actor.answer(self, outcome)

    def failed(self, error: StoreError) -> None:
        """The disk refused; called by the journal, in order."""
        if self.refuse(error):
            self.actor.answer_refused()
        else:
            self.actor.answer(self, Conflict(str(error)))

    def refuse(self, error: StoreError) -> bool:
        """Tell whoever waits that the disk refused; False if nobody waits, to try again."""
        del error
        return False

    def finish(self, outcome: Outcome) -> None:
        """Let out what the step made. It is durable."""


class DurableActor(PooledActor):
    """An actor whose state is a log in the store.

    Its counters have one writer each, so that they need no lock: `sent` belongs to the
    population, `handed` to the actor, `answered` and `finished` to the journal.
    """

    idle_timeout: timedelta | None = None

    def __init__(self, dispatcher: Dispatcher, journal: Journal) -> None:
        super().__init__(dispatcher)
        self._journal = journal
        self.touched = 0
        self.sent = 0
        self.handed = 0
        self.answered = 0
        self.finished = 0
        self.is_stale = False
        self._undone: list[Errand] = []

    @property
    def is_done(self) -> bool:
        """Whether every errand it was given is finished, so that it may be dropped."""
        return self.sent == self.finished

    # In the actor's turn

    def work(self) -> None:
        """Handle what is in the inbox, after going back to what the log says if need be."""
        if self.is_stale:
            if self.handed != self.answered:
                return
            self.is_stale = False
            undone, self._undone = self._undone, []
            self.envelopes.extendleft(Envelope(errand) for errand in reversed(undone))
            self.forget()
        super().work()

    def has_work(self) -> bool:
        """Whether another turn is needed."""
        if self.is_stale:
            return self.handed == self.answered
        return bool(self.envelopes)

    def forget(self) -> None:
        """Drop the state in memory; the next errand reads it from the log."""
        raise NotImplementedError

    def hand(self, errand: Errand, step: Step) -> None:
        """Give a step to the journal."""
        errand.step = step
        self.handed += 1
        self._journal.add(errand)

    # Called by the journal

    def answer(self, errand: Errand, outcome: Outcome) -> None:
        """One step was answered."""
        step = errand.step
        if isinstance(outcome, Conflict) or (self._undone and not _writes(step)):
            if isinstance(outcome, Conflict):
                logger.info("going back to the log: %s", outcome.reason)
            self._undone.append(errand)
            self.is_stale = True
        else:
            self.finished += 1
            errand.finish(outcome)
        self.answered += 1
        if self.is_stale and self.answered == self.handed:
            self.wake()

    def answer_refused(self) -> None:
        """One step was not written, and whoever asked for it was told."""
        self.finished += 1
        self.is_stale = True
        self.answered += 1
        if self.answered == self.handed:
            self.wake()


def _writes(step: Step) -> bool:
    return step.append is not None or step.transition is not None or step.park is not None
