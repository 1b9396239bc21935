"""What instance actors and aggregate actors share: running ahead of the disk, and going back.

An actor hands a step to the journal and goes on with its next message; what it lets out waits for
the commit. When a step is not committed after all, what is in memory is stale: the actor waits
until everything it handed over has been answered, forgets its state, and takes the undone messages
again, in order, before any other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from ..store import Committed, Conflict, Outcome, Step
from .journal import PendingWrite
from .pooled_actor import TURN, PooledActor

if TYPE_CHECKING:
    from datetime import timedelta

    from ..store import StoreError
    from .journal import Journal
    from .pooled_actor import Scheduler

__all__ = ["DurableActor", "PendingStep"]

M = TypeVar("M")
"""What the actor is sent."""

D = TypeVar("D")
"""What it decides about that."""


class PendingStep(PendingWrite, Generic[M, D], gc=False, kw_only=True):
    """The step that an actor made of a message, on its way to disk."""

    actor: DurableActor[M, D]
    message: M
    decision: D

    def committed(self, outcome: Outcome) -> None:
        """The step was answered; called by the journal, in order."""
        actor = self.actor
        if (actor.is_stale or type(outcome) is not Committed) and actor.must_repeat(self, outcome):
            return
        actor.finish(self.message, self.decision, outcome)
        actor.answered += 1
        if actor.is_stale:
            actor.wake()

    def failed(self, error: StoreError) -> bool:
        """The disk refused: the actor makes the step anew, unless a caller was told instead."""
        actor = self.actor
        actor.is_stale = True
        if actor.tell_failure(self.message, error):
            actor.answered += 1
            actor.wake()
        else:
            actor.must_repeat(self, Conflict(str(error)))
        return False


class DurableActor(PooledActor, Generic[M, D]):
    """An actor whose state is a log in the store.

    Its counters have one writer each, so that they need no lock: `sent` belongs to the
    residency, `handed` to the actor, `answered` and `finished` to the journal.
    """

    # Slots, since with as many attributes as an instance has, each would have a dictionary of
    # 1.5 KB of its own, instead of 8 bytes for each attribute.
    __slots__ = (
        "_pending",
        "_undone",
        "answered",
        "dispatcher",
        "envelopes",
        "finished",
        "handed",
        "idle_timeout",
        "is_stale",
        "scheduled",
        "sent",
        "touched",
    )

    def __init__(self, dispatcher: Scheduler, journal: Journal) -> None:
        # As the parent's, which is not called: an actor is made for every order and more.
        self.dispatcher = dispatcher
        self.envelopes = []
        self.scheduled = False
        self._pending = journal.pending
        self.idle_timeout: timedelta | None = None
        self.touched = 0
        self.sent = 0
        self.handed = 0
        self.answered = 0
        self.finished = 0
        self.is_stale = False
        self._undone: tuple[M, ...] = ()

    @property
    def is_done(self) -> bool:
        """Whether every message it was sent is finished, so that it may be dropped."""
        return (
            self.sent == self.finished
            and self.handed == self.answered
            and not (self.scheduled or self.envelopes or self.is_stale)
        )

    # In the actor's turn

    def take_turn(self) -> None:
        """Handle what is in the inbox, after going back to what the log says if need be."""
        if not self.is_stale or self._go_back():
            envelopes = self.envelopes
            left = TURN
            # Until memory is no longer what the log will say.
            while envelopes and left and not self.is_stale:
                left -= 1
                self.on_receive(envelopes.pop(0))
        self.scheduled = False
        # Something may have come after `work` looked and before the flag was cleared.
        if self.envelopes or self.is_stale:
            if self.is_stale and self.handed != self.answered:
                return
            self.wake()

    def _go_back(self) -> bool:
        """Forget what is in memory, once everything handed over was answered."""
        if self.handed != self.answered:
            return False
        self.is_stale = False
        self.envelopes[:0] = self._undone
        self._undone = ()
        self.forget()
        return True

    def forget(self) -> None:
        """Drop the state in memory; the next message has it read from the log."""
        raise NotImplementedError

    def hand(self, message: M, decision: D, step: Step) -> None:
        """Give a step to the journal."""
        self.handed += 1
        # The worker looks after the journal when the actors have had their turns.
        self._pending.append(PendingStep(step=step, actor=self, message=message, decision=decision))

    # Called by the journal

    def finish(self, message: M, decision: D, outcome: Outcome) -> None:
        """Let out what the step made. It is durable."""
        raise NotImplementedError

    def tell_failure(self, message: M, error: StoreError) -> bool:
        """Tell the caller who waits that the disk refused; False if none waits, to try again."""
        del message, error
        return False

    def must_repeat(self, work: PendingStep[M, D], outcome: Outcome) -> bool:
        """Whether a step that was answered must be made again from what the log says."""
        if not isinstance(outcome, Conflict) and not (self._undone and not _writes(work.step)):
            return False
        self._undone += (work.message,)
        self.is_stale = True
        self.answered += 1
        self.wake()
        return True


def _writes(step: Step) -> bool:
    return (
        step.append is not None
        or step.transition is not None
        or step.park is not None
        or step.extras is not None
    )
