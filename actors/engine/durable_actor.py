"""What instance actors and aggregate actors share: handing over steps, and going back.

An actor hands a step over and goes on with its next message; what it lets out of the runtime waits
for the commit. When what it decided stands on what is gone, it reads its log again before its next
message. What failed with a commit comes again from the log, like all that was in its inbox.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from ..store import StoreError
from .pooled_actor import TURN, PooledActor

if TYPE_CHECKING:
    from datetime import timedelta

    from ..store import Conflict, Outcome
    from .journal import Journal
    from .pooled_actor import Scheduler

__all__ = ["DurableActor", "Message", "damaged"]


class Message(Protocol):
    """What an actor is sent."""

    reply: Any
    """The future of a caller who waits; what no caller waits for comes again from the log."""


M = TypeVar("M", bound=Message)


class DurableActor(PooledActor, Generic[M]):
    """An actor whose state is a log in the store."""

    # Slots, since with as many attributes as an instance has, each would have a dictionary of
    # 1.5 KB of its own, instead of 8 bytes for each attribute.
    __slots__ = (
        "commit",
        "dispatcher",
        "envelopes",
        "idle_timeout",
        "is_paused",
        "is_stale",
        "journal",
        "scheduled",
        "touched",
    )

    def __init__(self, dispatcher: Scheduler, journal: Journal) -> None:
        # As the parent's, which is not called: an actor is made for every order and more.
        self.dispatcher = dispatcher
        self.envelopes = []
        self.scheduled = False
        self.journal = journal
        self.idle_timeout: timedelta | None = None
        self.touched = 0
        # The number of the commit that its newest step is in.
        self.commit = 0
        self.is_stale = False
        # Whether its next message waits until all that it handed over is durable.
        self.is_paused = False

    @property
    def is_done(self) -> bool:
        """Whether all that it was sent is handled and durable, so that it may be dropped."""
        return not (self.scheduled or self.envelopes) and self.commit < self.journal.number

    # In the actor's turn

    def take_turn(self) -> None:
        """Handle messages, at most `TURN`, for as long as this thread has the lead."""
        envelopes, turns = self.envelopes, self.dispatcher.turns
        try:
            if envelopes and not (self.is_stale or self.is_paused):
                self.on_receive(envelopes.pop(0))
            if envelopes:
                self._handle_more(turns)
        finally:
            self.scheduled = False
            # Something may have come after the look and before the flag was cleared.
            if envelopes and not self.is_paused:
                self.wake()

    def _handle_more(self, turns: int) -> None:
        envelopes, dispatcher = self.envelopes, self.dispatcher
        left = TURN
        # Another thread that took over while a handler blocked this one gives turns as well.
        while envelopes and left and not self.is_paused and dispatcher.turns == turns:
            left -= 1
            if self.is_stale:
                # Back to what the log says.
                self.is_stale = False
                self.forget()
                continue
            self.on_receive(envelopes.pop(0))

    def forget(self) -> None:
        """Drop the state in memory; the next message has it read from the log."""
        raise NotImplementedError

    def start_over(self) -> None:
        """Forget what is not durable: the commit that it stood on was not kept.

        Called with the journal's lock and the dispatcher's held, in which callers send as well. A
        message that no caller waits for comes again.
        """
        self.is_stale, self.is_paused = True, False
        self.envelopes[:] = [one for one in self.envelopes if one.reply is not None]

    def pause(self, message: M) -> None:
        """Take a message back, and go on with it when all that was handed over is durable."""
        self.envelopes.insert(0, message)
        self.is_paused = True
        self.journal.call_when_durable(self._resume_turns)

    def _resume_turns(self) -> None:
        self.is_paused = False
        self.wake()

    def settle(self, message: M, decision: Any, outcome: Outcome) -> None:
        """What a step brings about in memory, in order; called with the journal's lock."""
        raise NotImplementedError

    def cut_off(self, message: M) -> None:
        """What was decided about a message stands on what is gone."""
        self.is_stale = True
        if message.reply is not None and not self.journal.is_over:
            self.envelopes.insert(0, message)

    def spoilt(self, message: M, error: StoreError) -> None:
        """A message came to an error of our own or of the store; a caller who waits is told."""
        reply, message.reply = message.reply, None
        if reply is not None:
            reply.set_exception((type(error), error, None))


def damaged(conflict: Conflict) -> StoreError:
    """What is said of a store that is not at a version which was just read of it."""
    return StoreError(
        f"{conflict.reason}, although it was just read: the store is damaged; look with "
        f"`procession verify` what is wrong"
    )
