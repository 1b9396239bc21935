"""The actor of one process instance: a stimulus in, a step out. `core` decides what it does."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct
from msgspec.structs import replace

from ..core.decide import EMPTY, decide
from ..core.decision import Decision
from ..core.failures import cause_unread, fail
from ..core.operations import operate
from ..core.process_state import ProcessState
from ..core.stimuli import (
    Adjust,
    CommandRefused,
    EventDelivered,
    Operation,
    Refresh,
    Reload,
    Stimulus,
)
from ..store import Committed, StoreError
from .durable_actor import DurableActor
from .pending_replies import Reply

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable
    from typing import TypeAlias

    from ..core.ports import Reads
    from ..model.plans import ProcessPlan
    from ..store import CommandRecord, Outcome, TimerRecord
    from .services import Services

    # Gives a message to an instance, by its process manager's name and its id; false if no
    # process manager of that name runs here. Any thread may call it, and nudges afterwards.
    Deliver: TypeAlias = Callable[[str, str, "InstanceMessage"], bool]

__all__ = ["Giver", "InstanceActor", "InstanceMessage", "InstanceShare"]

logger = logging.getLogger("procession")

PAGE = 64
"""Held events that are taken up at a time."""


class Giver(Protocol):
    """A part of the engine that gives instances their stimuli, and counts them."""

    def done(self, message: InstanceMessage, decision: Decision) -> None:
        """What came of a stimulus is durable; called by the journal, in order."""
        ...


class Timers(Protocol):
    """What an instance tells of timers."""

    def notice(self, timers: list[TimerRecord]) -> None:
        """Timers that were just set; called by the journal."""
        ...

    def release(self, process: str, instance: str) -> None:
        """An instance goes on: what it put off comes again."""
        ...


class InstanceMessage(Struct, gc=False):
    """What an instance actor is sent.

    Attributes:
        stimulus: what happens, or what an operator asks for
        giver: is told when it is done, if it counts
        reply: of the operator who waits, for an operation
        is_own: whether the actor gave it to itself, so that the residency does not count it

    """

    stimulus: Stimulus | Operation
    giver: Giver | None = None
    reply: Reply[bool] | None = None
    is_own: bool = False


@dataclass(frozen=True, slots=True)
class InstanceShare:
    """What all instances of one process manager share.

    Attributes:
        services: of the engine
        plan: of the process manager
        reads: answers what a decision asks of the log
        timers: is told of timers that were set, and of instances that go on
        enqueue: takes commands that were just committed to the queue
        wake_router: has the router look at what was reported to it
        counts: what happened, by outcome

    """

    services: Services
    plan: ProcessPlan
    reads: Reads
    timers: Timers
    enqueue: Callable[[list[CommandRecord]], None]
    wake_router: Callable[[], None]
    counts: Counter[str]


class InstanceActor(DurableActor[InstanceMessage, Decision]):
    """Holds one instance's state, and has a step decided for each stimulus.

    Args:
        share: what all instances of its process manager share
        instance: the correlation id

    """

    __slots__ = ("_is_loaded", "_looks_again", "_share", "_unreported", "instance", "state")

    def __init__(self, share: InstanceShare, instance: str) -> None:
        super().__init__(share.services.dispatcher, share.services.journal)
        self._share = share
        self.instance = instance
        self.idle_timeout = share.plan.definition.idle_timeout
        self.state = ProcessState(instance)
        self._is_loaded = False
        # Whether to look at what waits in the store when everything handed over is answered.
        self._looks_again = False
        # What counts as handled only when what waits in the store has been taken up: a crash must
        # not leave it there with no part of the engine to look at it.
        self._unreported: tuple[tuple[InstanceMessage, Decision], ...] = ()

    # Turns

    def on_receive(self, message: InstanceMessage) -> None:
        """Have one stimulus decided, and hand its step over."""
        stimulus = message.stimulus
        if isinstance(stimulus, (Refresh, Adjust)):
            self._operate(message, stimulus)
            return
        share = self._share
        if not self._is_loaded:
            try:
                self._load()
            except BaseException as error:  # noqa: BLE001 - whatever it is, a person must see it
                self._take_unread(message, stimulus, error)
                return
            if _is_held(message):
                # It is among those that were just read.
                return
        stimulus.now = share.services.now()
        stimulus.is_ahead = self.handed != self.answered
        decision = decide(share.plan, self.state, stimulus, share.reads)
        if decision.reload or decision.error is not None:
            self._settle_on(message, decision)
        else:
            # As that does, with a call less.
            self.state = decision.state
            self.hand(message, decision, decision.step)

    def _settle_on(self, message: InstanceMessage, decision: Decision) -> None:
        """Go on from what was decided."""
        self.state = decision.state
        if decision.reload:
            self._look_again()
        if decision.error is not None:
            self._log(decision)
        self.hand(message, decision, decision.step)

    def _take_unread(
        self, message: InstanceMessage, stimulus: Stimulus, error: BaseException
    ) -> None:
        """The instance cannot be read. It must not go on as if it had no state."""
        share, block = self._share, self.state.block
        stimulus.now = share.services.now()
        if block is not None and block.kind == "parked":
            # It is suspended, and needs no state until a person decides.
            self._settle_on(message, decide(share.plan, self.state, stimulus, share.reads))
            return
        if isinstance(stimulus, Reload):
            # What waits fails in its turn, and is parked where a person sees it.
            self._settle_on(message, decide(share.plan, self.state, stimulus, share.reads))
            return
        decision = Decision(replace(self.state, block=None), EMPTY)
        with suppress(StoreError):
            decision.cause = cause_unread(stimulus, block, share.reads)
        decision.step = fail(share.plan, decision, stimulus, error)
        self._settle_on(message, decision)
        self._is_loaded = self.state.block is not None

    def _operate(self, message: InstanceMessage, operation: Operation) -> None:
        if self.handed != self.answered:
            # Everything must be on disk first.
            self.envelopes.insert(0, message)
            self.is_stale = True
            return
        share = self._share
        was_read = False
        try:
            if not (self._is_loaded and self.state.version):
                self._load()
            was_read = True
            operation.now = share.services.now()
            decision = operate(share.plan, self.state, operation, share.reads)
        except BaseException:  # noqa: BLE001 - it is raised where the operator waits
            # One that is suspended needs no state until a person decides.
            self._is_loaded = was_read or self.state.block is not None
            reply, message.reply = message.reply, None
            assert reply is not None
            # The error knows the frames that it came through, and these know the message, which
            # Python's cycle collector does not look at; so the message lets go of the reply.
            reply.set_exception()
            decision = Decision(self.state, EMPTY, "failed")
        self._settle_on(message, decision)

    def _log(self, decision: Decision) -> None:
        name, error = self._share.plan.name, decision.error
        if decision.outcome == "parked":
            assert decision.cause is not None
            logger.warning(
                "%s %r: %s was parked", name, self.instance, decision.cause.id, exc_info=error
            )
        elif decision.outcome == "failed":
            logger.error("%s %r failed", name, self.instance, exc_info=error)
        # An error knows the frames that it came through, which know the decision; such a circle
        # would stay, since decisions are not looked at by Python's cycle collector.
        decision.error = None

    def forget(self) -> None:
        """Drop the state in memory; the next message has it read from the log."""
        self._is_loaded = False
        self.state.process = None
        if not (self._looks_again or self._unreported):
            return
        self._looks_again = False
        try:
            self._load()
            if self.state.block is None and not self.state.to_take_up:
                self._resume()
        except Exception:
            # The next stimulus reads again, and fails where a person sees it.
            self._is_loaded = False
            logger.exception("%s %r cannot be read", self._share.plan.name, self.instance)
            self._give_what_waits()
        if not self.state.to_take_up:
            self._report_all()

    # Called by the journal

    def finish(self, message: InstanceMessage, decision: Decision, outcome: Outcome) -> None:
        """Let out what the step made. It is durable."""
        if not message.is_own:
            self.finished += 1
        share = self._share
        if type(outcome) is Committed:
            share.counts[decision.outcome] += 1
            step = decision.step
            if step.enqueue:
                share.enqueue(step.enqueue)
            extras = step.extras
            if extras is not None and extras.timers:
                share.timers.notice(extras.timers)
        else:
            # What it was for is gone, so memory ran ahead with something that was done before.
            self.is_stale = True
            decision.outcome = "nothing"
        if message.giver is not None:
            if (self.state.to_take_up or self._looks_again) and (
                type(message.stimulus) is EventDelivered
            ):
                self._unreported += ((message, decision),)
            else:
                message.giver.done(message, decision)
        elif message.reply is not None and decision.outcome != "failed":
            message.reply.set(decision.outcome != "nothing")

    def _report_all(self) -> None:
        unreported, self._unreported = self._unreported, ()
        for message, decision in unreported:
            assert message.giver is not None
            message.giver.done(message, decision)
        if unreported:
            self._share.wake_router()

    # What waits in the store

    def _load(self) -> None:
        """Rehydrate from the newest transition."""
        # Marked first: an instance whose log cannot be read is suspended, not read for ever.
        self._is_loaded = True
        if self.envelopes:
            # These are still in the store, and are read again from there.
            self.envelopes[:] = [one for one in self.envelopes if not _is_held(one)]
        plan, store, instance = self._share.plan, self._share.services.store, self.instance
        try:
            last = store.last_transition(plan.name, instance)
            self.state = ProcessState.after(plan.definition, instance, last)
        except Exception:
            self.state = ProcessState(instance)
            self.state.block = store.block_of(plan.name, instance)
            raise
        self._read_held()

    def _read_held(self) -> None:
        plan, store, state = self._share.plan, self._share.services.store, self.state
        # What was skipped is not in any transition.
        state.seen = max(state.seen, store.last_parked(plan.name, self.instance))
        state.block, positions = store.read_waiting(plan.name, self.instance, 0, PAGE)
        if state.block is not None:
            state.seen = max(state.seen, state.block.position)
        if not positions:
            return
        state.seen = max(state.seen, store.last_waiting(plan.name, self.instance))
        if state.block is not None:
            return
        held = [self._held(position) for position in positions]
        definition = plan.definition
        may_hold = definition.early == "hold" and not (state.version or definition.stateless)
        if may_hold and not any(self._starts(one) for one in held):
            held = self._held_start(positions[-1])
        if held:
            state.to_take_up = len(held)
            self._take_first(held)
        else:
            state.holds_early = True

    def _held_start(self, after: int) -> list[EventDelivered]:
        """The first start among what waits behind a position, if there is one."""
        name, store = self._share.plan.name, self._share.services.store
        for position in store.scan_waiting(name, self.instance, after):
            delivered = self._held(position)
            if self._starts(delivered):
                return [delivered]
        return []

    def _starts(self, delivered: EventDelivered) -> bool:
        handler = self._share.plan.subscription.handler_of(delivered.record)
        return handler is not None and bool(handler.start)

    def _held(self, position: int) -> EventDelivered:
        # Read when it is handled: one that cannot be must not stop the others.
        return EventDelivered(self._share.reads.event_at(position), was_held=True)

    def _take_first(self, stimuli: list[EventDelivered]) -> None:
        self.envelopes[:0] = [InstanceMessage(one, is_own=True) for one in stimuli]

    def _give_what_waits(self) -> None:
        """Let the first event that waits fail, if there is one, so that it is parked again."""
        with suppress(StoreError):
            name, store = self._share.plan.name, self._share.services.store
            block, positions = store.read_waiting(name, self.instance, 0, 1)
            if block is None and positions:
                self._take_first([self._held(positions[0])])

    def _look_again(self) -> None:
        """Read what waits once everything that was handed over is on disk."""
        self._looks_again = True
        self.is_stale = True

    def _resume(self) -> None:
        """Nothing holds it up any more: timeouts and refusals may have been put off."""
        name, store = self._share.plan.name, self._share.services.store
        self._share.timers.release(name, self.instance)
        for refusal in store.scan_refusals():
            if (refusal.command.process, refusal.command.instance) == (name, self.instance):
                self.envelopes.append(InstanceMessage(CommandRefused(refusal), is_own=True))


def _is_held(message: InstanceMessage) -> bool:
    stimulus = message.stimulus
    return isinstance(stimulus, EventDelivered) and stimulus.was_held
