"""What instance actors and aggregate actors share: running ahead of the disk, and going back.

An actor hands a step to the journal and goes on with its next stimulus; what it lets out waits for
the commit. When a step is not committed after all, what is in memory is stale: the actor waits
until everything it handed over has been answered, forgets its state, and does the undone stimuli
again, in order, before any other.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from pykka._envelope import Envelope

from ..store import Committed, Conflict, Step
from .dispatcher import TURN, PooledActor

if TYPE_CHECKING:
    from datetime import timedelta

    from ..store import Outcome, StoreError
    from .dispatcher import Dispatcher
    from .journal import Journal

__all__ = ["DurableActor", "Stimulus"]

logger = logging.getLogger("procession")


class Stimulus(Struct, gc=False):
    """One message to a durable actor, and the step that comes of it.

    The residency sets `actor`, the actor sets `step`.
    """

    actor: Any = None
    step: Any = None
    is_own: bool = False
    """Whether the actor gave it to itself, so that the residency does not count it."""

    def committed(self, outcome: Outcome) -> None:
        """The step was answered; called by the journal, in order."""
        actor = self.actor
        if (actor.is_stale or type(outcome) is not Committed) and actor.must_repeat(self, outcome):
            return
        if not self.is_own:
            actor.finished += 1
        self.finish(outcome)
        actor.answered += 1
        if actor.is_stale:
            actor.wake()

    def failed(self, error: StoreError) -> None:
        """The disk refused; called by the journal, in order."""
        actor = self.actor
        actor.is_stale = True
        if self.refuse(error):
            actor.finished += 1
            actor.answered += 1
            actor.wake()
        else:
            actor.must_repeat(self, Conflict(str(error)))

    def refuse(self, error: StoreError) -> bool:
        """Tell whoever waits that the disk refused; False if nobody waits, to try again."""
        del error
        return False

    def finish(self, outcome: Outcome) -> None:
        """Let out what the step made. It is durable."""


class DurableActor(PooledActor):
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

    def __init__(self, dispatcher: Dispatcher, journal: Journal) -> None:
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
        self._undone: tuple[Stimulus, ...] = ()

    @property
    def is_done(self) -> bool:
        """Whether every stimulus it was given is finished, so that it may be dropped."""
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
                message = envelopes.pop(0)
                if type(message) is Envelope:
                    self._open(message)
                else:
                    self.on_receive(message)
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
        """Drop the state in memory; the next stimulus reads it from the log."""
        raise NotImplementedError

    def hand(self, stimulus: Stimulus, step: Step) -> None:
        """Give a step to the journal."""
        stimulus.step = step
        self.handed += 1
        # The worker looks after the journal when the actors have had their turns.
        self._pending.append(stimulus)

    # Called by the journal

    def must_repeat(self, stimulus: Stimulus, outcome: Outcome) -> bool:
        """Whether a step that was answered must be made again from what the log says."""
        if not isinstance(outcome, Conflict) and not (self._undone and not _writes(stimulus.step)):
            return False
        self._undone += (stimulus,)
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
