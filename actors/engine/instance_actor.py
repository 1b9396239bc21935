"""The actor of one process instance: a stimulus in, a step out. `core` decides what it does."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass
from dataclasses import replace as replaced
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct
from msgspec.structs import replace

from ..core.decide import decide, released
from ..core.decision import EMPTY, Decision
from ..core.failures import cause_unread, fail, handler_name
from ..core.operations import operate
from ..core.process_state import ProcessState
from ..core.stimuli import (
    Amend,
    CommandDue,
    CommandRefused,
    End,
    Erase,
    EventDelivered,
    Operation,
    Reload,
    Stimulus,
    TimeoutDue,
)
from ..errors import InfiniteLoopError
from ..store import (
    COMMITTED,
    CommandRecord,
    CommandResult,
    Conflict,
    Duplicate,
    StoreError,
)
from .durable_actor import DurableActor, damaged
from .failure_log import Failure
from .journal import Waiting
from .pending_replies import ReplyFuture

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from ..authoring.cause import Cause
    from ..model.plans import ProcessPlan
    from ..store import Outcome, TimerRecord
    from .ahead_reads import AheadReads
    from .services import Services

    # Gives a message to an instance, by its process manager's name and its id; false if no
    # process manager of that name runs here. Any thread may call it, and nudges afterwards.
    Deliver: TypeAlias = Callable[[str, str, "InstanceMessage"], bool]

__all__ = ["Giver", "InstanceActor", "InstanceMessage", "InstanceShare"]

PAGE = 64
"""Held events that are taken up at a time."""

_OUTCOMES = {
    "parked": "parked",
    "retries": "retried",
    "skipped_error": "skipped",
}
"""What becomes of a failed attempt, by the outcome of its decision."""


class Giver(Protocol):
    """A part of the engine that gives instances their stimuli, and counts them."""

    def done(self, message: InstanceMessage, decision: Decision) -> None:
        """What came of a stimulus was handed over; called in order, with the journal's lock."""
        ...


class Timers(Protocol):
    """What an instance tells of timers."""

    def notice(self, timers: list[TimerRecord]) -> None:
        """Timers that were just set; called with the journal's lock."""
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
        given: the id of an operation, as of a command, which its step takes
        is_repeated: whether the store said before that the instance was not at its version

    """

    stimulus: Stimulus | Operation
    giver: Giver | None = None
    reply: ReplyFuture[int] | None = None
    given: CommandRecord | None = None
    is_repeated: bool = False


@dataclass(frozen=True, slots=True)
class InstanceShare:
    """What all instances of one process manager share.

    Attributes:
        services: of the engine
        plan: of the process manager
        reads: the log with all that was handed over
        timers: is told of timers that were set, and of instances that go on
        enqueue: takes commands that were just committed to the queue
        counts: what happened, by outcome

    """

    services: Services
    plan: ProcessPlan
    reads: AheadReads
    timers: Timers
    enqueue: Callable[[list[CommandRecord]], None]
    counts: dict[str, int]


class InstanceActor(DurableActor[InstanceMessage]):
    """Holds one instance's state, and has a step decided for each stimulus.

    Args:
        share: what all instances of its process manager share
        instance: the correlation id

    """

    __slots__ = ("_is_loaded", "_share", "_unreported", "instance", "state")

    def __init__(self, share: InstanceShare, instance: str) -> None:
        # No `super()`, as in aggregates.
        DurableActor.__init__(self, share.services.dispatcher, share.services.journal)
        self._share = share
        self.instance = instance
        self.idle_timeout = share.plan.definition.idle_timeout
        self.state = ProcessState(instance)
        self._is_loaded = False
        # What counts as handled only when what waits in the store has been taken up: a crash must
        # not leave it there with no part of the engine to look at it.
        self._unreported: tuple[tuple[InstanceMessage, Decision], ...] = ()

    # Turns

    def on_receive(self, message: InstanceMessage) -> None:
        """Have one stimulus decided, and hand its step over."""
        share, generation = self._share, self.journal.generation
        stimulus: Any = message.stimulus
        if message.reply is not None:
            self._operate(message, stimulus, generation)
            return
        if not self._is_loaded:
            if share.services.store.ahead.is_new_instance(share.plan.name, self.instance):
                self._is_loaded, self.state = True, ProcessState(self.instance)
            elif not self._load_for(message, stimulus, generation):
                return
        stimulus.now = share.services.now()
        decision = decide(share.plan, self.state, stimulus, share.reads)
        if decision.first is not None:
            self._time_out_first(message, decision.first)
            return
        self.hand(message, decision, generation)

    def _time_out_first(self, message: InstanceMessage, timer: TimerRecord) -> None:
        """Handle a timeout before an event that was stored after it was due."""
        if self.commit >= self.journal.number:
            # No timer fires in the commit that sets it.
            self.pause(message)
            return
        self.envelopes[:0] = [InstanceMessage(TimeoutDue(timer, is_first=True)), message]

    def _load_for(self, message: InstanceMessage, stimulus: Stimulus, generation: int) -> bool:
        """Read the log; returns whether the stimulus is still to be decided."""
        try:
            self._load()
        except BaseException as error:  # noqa: BLE001 - whatever it is, a person must see it
            self._take_unread(message, stimulus, error, generation)
            return False
        # What was held is among what was just read.
        return not _is_held(message)

    def hand(self, message: InstanceMessage, decision: Decision, generation: int) -> None:
        """Hand a step over, and go on from what was decided."""
        error = decision.error
        if error is not None:
            self._log(decision, error)
        if not self.journal.hand_over(self, message, decision, generation):
            self.cut_off(message)
            return
        if isinstance(error, InfiniteLoopError) and decision.cause is not None:
            # Without its frames, which know the decision.
            told = InfiniteLoopError(str(error))
            self.journal.tell_asker(decision.cause.correlation_id, told)
        if decision.reload or self.is_stale:
            self.is_stale = False
            self._read_again()

    def _take_unread(
        self, message: InstanceMessage, stimulus: Stimulus, error: BaseException, generation: int
    ) -> None:
        """The instance cannot be read. It must not go on as if it had no state."""
        share, block = self._share, self.state.block
        stimulus.now = share.services.now()
        if isinstance(stimulus, CommandDue):
            # It needs no state, and was told of once when something else failed.
            decision = Decision(self.state, released(stimulus.timer), "nothing")
        elif (block is not None and block.kind == "parked") or isinstance(stimulus, Reload):
            # One that is suspended needs no state until a person decides. What waits when an
            # instance is to be read again fails in its turn, and is parked where a person sees it.
            decision = decide(share.plan, self.state, stimulus, share.reads)
        else:
            decision = Decision(replace(self.state, block=None), EMPTY)
            with suppress(StoreError):
                decision.cause = cause_unread(stimulus, block, share.reads)
            decision.step = fail(share.plan, decision, stimulus, error)
        self.hand(message, decision, generation)
        self._is_loaded = self.state.block is not None

    def _operate(self, message: InstanceMessage, operation: Operation, generation: int) -> None:
        if self.commit >= self.journal.number:
            # All that it handed over must be on disk first: an operator decides about what is.
            self.pause(message)
            return
        share = self._share
        was_read = False
        try:
            if not (self._is_loaded and self.state.version):
                self._load()
            was_read = True
            operation.now = share.services.now()
            decision = operate(share.plan, self.state, operation, share.reads)
            if message.given is not None and decision.step is not EMPTY:
                decision.step.given, decision.step.result = message.given, CommandResult()
        except BaseException:  # noqa: BLE001 - it is raised where the operator waits
            # One that is suspended needs no state until a person decides.
            self._is_loaded = was_read or self.state.block is not None
            reply, message.reply = message.reply, None
            assert reply is not None
            # The error knows the frames that it came through, and these know the message, which
            # Python's cycle collector does not look at; so the message lets go of the reply.
            reply.set_exception()
            decision = Decision(self.state, EMPTY, "failed")
        self.hand(message, decision, generation)

    def _log(self, decision: Decision, error: BaseException) -> None:
        """Tell of an attempt that failed."""
        share, cause, block = self._share, decision.cause, decision.state.block
        name, outcome = share.plan.name, _OUTCOMES.get(decision.outcome, "failed")
        handler, second = self._handler_of(cause), decision.on_error_failed
        failure = Failure(
            error=error,
            handler=handler,
            event="" if cause is None else cause.id,
            process=name,
            instance=self.instance,
            attempt=decision.attempt,
            outcome=outcome,
            next_try=block.due if outcome == "retried" and block is not None else None,
            level=logging.ERROR if outcome == "failed" else logging.WARNING,
        )
        share.services.failures.tell(failure)
        if second is not None:
            failure = replaced(failure, error=second, handler="on_error", outcome="parked")
            share.services.failures.tell(failure)
        # An error knows the frames that it came through, which know the decision; such a circle
        # would stay, since decisions are not looked at by Python's cycle collector.
        decision.error = decision.on_error_failed = None

    def _handler_of(self, cause: Cause | None) -> str:
        """What people know by name of what failed."""
        return "an operation" if cause is None else handler_name(self._share.plan, cause)

    def forget(self) -> None:
        """Drop the state in memory; the next message has it read from the log."""
        self._is_loaded = False
        self.state.values = None

    def start_over(self) -> None:
        """As the parent's; what it has not reported comes again."""
        self._unreported = ()
        super().start_over()

    def settle(self, message: InstanceMessage, decision: Decision, outcome: Outcome) -> None:
        """What a step brings about in memory, in order; called with the journal's lock."""
        share = self._share
        if outcome is COMMITTED:
            self.state = decision.state
            share.counts[decision.outcome] += 1
            step = decision.step
            if step.enqueue:
                share.enqueue(step.enqueue)
            extras = step.extras
            if extras is not None:
                if extras.timers:
                    share.timers.notice(extras.timers)
                if extras.is_met:
                    # Events were held for the key that it learnt.
                    decision.reload = True
        elif type(outcome) is Conflict:
            self._decide_again(message, outcome)
            return
        elif isinstance(message.stimulus, End | Amend | Erase) and not _is_done(outcome):
            # Another operator was quicker with what is parked: look again, and decide.
            self.is_stale = True
            self.envelopes.insert(0, message)
            return
        else:
            # What it was for is gone, so it was done before, and the log knows better.
            self.is_stale = True
            decision.outcome = "nothing"
            if message.reply is not None:
                decision.state = self.state
        watches = share.services.watches
        if watches.by_instance:
            watches.note_step(share.plan.name, self.instance, self.journal)
        if message.giver is not None:
            if (self.state.to_take_up or decision.reload) and (
                type(message.stimulus) is EventDelivered
            ):
                self._unreported += ((message, decision),)
            else:
                message.giver.done(message, decision)
        elif message.reply is not None and decision.outcome != "failed":
            self.journal.wait(_Answer(message.reply, _answer_to(message.stimulus, decision)))

    def _decide_again(self, message: InstanceMessage, conflict: Conflict) -> None:
        self.is_stale = True
        if not message.is_repeated:
            message.is_repeated = True
            # What is held comes again when the instance is read.
            if not _is_held(message):
                self.envelopes.insert(0, message)
            return
        error = damaged(conflict)
        if message.reply is None:
            raise error
        self.spoilt(message, error)

    def _report_all(self) -> None:
        if not self._unreported:
            return
        with self.journal.lock:
            unreported, self._unreported = self._unreported, ()
            for message, decision in unreported:
                assert message.giver is not None
                message.giver.done(message, decision)

    # What waits in the store

    def _read_again(self) -> None:
        """Read what waits, after it was changed; what counts as handled may wait no longer."""
        self.state.values = None
        try:
            self._load()
            if self.state.block is None and not self.state.to_take_up:
                self._resume()
        except Exception as error:  # noqa: BLE001 - the next stimulus reads again, and fails
            self._is_loaded = False
            failure = Failure(
                error=error,
                handler="reading",
                process=self._share.plan.name,
                instance=self.instance,
                outcome="failed",
                level=logging.ERROR,
            )
            self._share.services.failures.tell(failure)
            self._give_what_waits()
        if not self.state.to_take_up:
            self._report_all()

    def _load(self) -> None:
        """Rehydrate from the newest transition."""
        # Marked first: an instance whose log cannot be read is suspended, not read for ever.
        self._is_loaded = True
        if self.envelopes:
            # These are still in the store, and are read again from there.
            self.envelopes[:] = [one for one in self.envelopes if not _is_held(one)]
        plan, reads, instance = self._share.plan, self._share.reads, self.instance
        try:
            last = reads.last_transition(plan.name, instance)
            self.state = ProcessState.after(plan.definition, instance, last)
        except Exception:
            self.state = ProcessState(instance)
            self.state.block = reads.block_of(plan.name, instance)
            raise
        self._read_held()

    def _read_held(self) -> None:
        plan, reads, state = self._share.plan, self._share.reads, self.state
        # What was skipped is not in any transition.
        parked, state.block, positions, waiting = reads.held(plan.name, self.instance, PAGE)
        state.seen = max(state.seen, parked)
        if state.block is not None:
            state.seen = max(state.seen, state.block.position)
        if not positions:
            return
        state.seen = max(state.seen, waiting)
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
        name, reads = self._share.plan.name, self._share.reads
        while positions := reads.waiting(name, self.instance, after, PAGE):
            for position in positions:
                delivered = self._held(position)
                if self._starts(delivered):
                    return [delivered]
            after = positions[-1]
        return []

    def _starts(self, delivered: EventDelivered) -> bool:
        handler = self._share.plan.subscription.handler_of(delivered.record)
        return handler is not None and bool(handler.start)

    def _held(self, position: int) -> EventDelivered:
        # Read when it is handled: one that cannot be must not stop the others.
        return EventDelivered(self._share.reads.event_at(position), was_held=True)

    def _take_first(self, stimuli: list[EventDelivered]) -> None:
        self.envelopes[:0] = [InstanceMessage(one) for one in stimuli]

    def _give_what_waits(self) -> None:
        """Let the first event that waits fail, if there is one, so that it is parked again."""
        with suppress(StoreError):
            name, reads = self._share.plan.name, self._share.reads
            _, block, positions, _ = reads.held(name, self.instance, 1)
            if block is None and positions:
                self._take_first([self._held(positions[0])])

    def _resume(self) -> None:
        """Nothing holds it up any more: timeouts and refusals may have been put off."""
        share, name = self._share, self._share.plan.name
        share.timers.release(name, self.instance)
        for refusal in share.reads.refusals_of(name, self.instance):
            self.envelopes.append(InstanceMessage(CommandRefused(refusal)))


class _Answer(Waiting, gc=False):
    """An operator's answer, which waits for the disk."""

    reply: ReplyFuture[int]
    answer: int

    def durable(self) -> None:
        self.reply.set(self.answer)

    def failed(self, error: StoreError) -> bool:
        self.reply.set_exception((type(error), error, error.__traceback__))
        return False


def _answer_to(operation: Stimulus | Operation, decision: Decision) -> int:
    """The version that an instance has after it; or whether there was anything to do."""
    if isinstance(operation, End | Amend | Erase):
        return decision.state.version
    return decision.outcome != "nothing"


def _is_done(outcome: Outcome) -> bool:
    """Whether an operation with that id was carried out before."""
    return type(outcome) is Duplicate and outcome.result is not None


def _is_held(message: InstanceMessage) -> bool:
    stimulus = message.stimulus
    return isinstance(stimulus, EventDelivered) and stimulus.was_held
