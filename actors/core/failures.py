"""What becomes of an error: another attempt later, going on without it, or setting it aside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from ..authoring.cause import Cause
from ..authoring.process_manager import DECIDES_ONLY, STEP_IS_OVER, seal
from ..authoring.retry import PARK, SKIP, Retry
from ..errors import (
    AlreadyStarted,
    EarlyEvent,
    Erased,
    InfiniteLoopError,
    InvalidMessage,
    LateEvent,
    UnknownMessage,
    their_place_of_error,
    type_of_error,
)
from ..store import CorruptRecord, ParkedRecord, Step, StepExtras, TimerRecord
from .decision import EMPTY
from .effects import owed_effect
from .ports import UNREADABLE
from .stimuli import CommandRefused, EventDelivered, RetryDue, TimeoutDue

if TYPE_CHECKING:
    from ..model.plans import ProcessPlan
    from ..store import Block, CommandRecord, EventRecord
    from .decision import Decision
    from .ports import Reads
    from .stimuli import Stimulus

__all__ = [
    "cause_unread",
    "fail",
    "handler_name",
    "is_final",
    "parked_at_stream",
    "parked_command",
    "parked_effect",
    "parked_event",
    "parked_sequence",
]

LONGEST_TEXT = 10_000
"""Characters that are kept of an error's text, which may quote a whole payload."""

_OUT_OF_TIME = (AlreadyStarted, EarlyEvent, LateEvent)
"""Raised by no handler, about an event that is no reason to suspend its instance."""

_FINAL = (InvalidMessage, UnknownMessage, CorruptRecord, InfiniteLoopError)


def fail(plan: ProcessPlan, decision: Decision, stimulus: Stimulus, error: BaseException) -> Step:
    """What an instance does about an error, by its class or by `on_error`.

    Args:
        plan: of the process manager
        decision: as far as it came; its state moves on
        stimulus: at which the instance failed
        error: what was raised

    Returns:
        the step that has it tried again, skipped or parked

    """
    cause, process = decision.cause, decision.process
    # What the handler did to the object is undone by making it anew.
    decision.state = replace(decision.state, values=None)
    if process is not None:
        seal(process, STEP_IS_OVER)
    if cause is not None and process is None and isinstance(error, Erased):
        # What was erased is for no instance any more, and no person can help.
        return _pass_over(plan, decision, stimulus, cause)
    decision.error = error
    if cause is None:
        # Not a handler's doing: the actor logs it, and there is nothing to set aside.
        decision.outcome = "failed"
        return EMPTY
    if process is None and isinstance(error, _OUT_OF_TIME):
        return _park(plan, decision, stimulus, error, cause, blocks=False)
    verdict = _verdict(plan, decision, error)
    if verdict is SKIP:
        return _pass_over(plan, decision, stimulus, cause)
    if isinstance(verdict, Retry):
        wait = plan.wait(verdict, decision.state.instance, cause.id, decision.attempt)
        if wait is not None:
            due = stimulus.now + round(wait.total_seconds() * 1_000_000)
            return _try_later(plan, decision, stimulus, cause, due)
    return _park(plan, decision, stimulus, error, cause, blocks=True)


def cause_unread(stimulus: Stimulus, block: Block | None, reads: Reads) -> Cause | None:
    """What a stimulus is about, when its instance cannot be read.

    Args:
        stimulus: what the instance should have taken
        block: why it took no events, if that could be read
        reads: finds what is to be tried again

    """
    if isinstance(stimulus, EventDelivered):
        return Cause.of_event(stimulus.record)
    if isinstance(stimulus, CommandRefused):
        return Cause.of_refusal(stimulus.refusal)
    if isinstance(stimulus, TimeoutDue):
        return Cause.of_timer(stimulus.timer, "")
    if not isinstance(stimulus, RetryDue) or block is None:
        return None
    if block.position:
        return Cause.of_event(reads.event_at(block.position))
    if block.name:
        timer = stimulus.timer
        failed = TimerRecord(
            block.due,
            timer.process,
            timer.instance,
            block.name,
            "timeout",
            None,
            block.depth,
            block.headers,
        )
        return Cause.of_timer(failed, "")
    refusal = reads.refusal(block.sequence)
    return None if refusal is None else Cause.of_refusal(refusal)


def _verdict(plan: ProcessPlan, decision: Decision, error: BaseException) -> object:
    process = decision.process
    if not isinstance(error, Exception):
        return PARK
    if process is None and isinstance(error, _FINAL):
        # No handler ran: what cannot be read now cannot be read in a minute, and a chain that has
        # no end has none then.
        return PARK
    if process is not None:
        seal(process, DECIDES_ONLY)
        try:
            verdict = process.on_error(error, process.context)
        except Exception as second:  # noqa: BLE001 - the first error is parked all the same
            decision.on_error_failed = second
            return PARK
        finally:
            seal(process, STEP_IS_OVER)
        if verdict is not None:
            return verdict
    return plan.definition.retry or PARK


def _taken(stimulus: Stimulus) -> StepExtras | None:
    """What goes from the store whatever becomes of the error."""
    if isinstance(stimulus, EventDelivered) and stimulus.was_held:
        return StepExtras(unwait=stimulus.record.position)
    if isinstance(stimulus, RetryDue):
        return StepExtras(due=stimulus.timer, unblock=True)
    return None


def _step(plan: ProcessPlan, decision: Decision, extras: StepExtras | None) -> Step:
    return Step(process=plan.name, instance=decision.state.instance, extras=extras)


def _pass_over(plan: ProcessPlan, decision: Decision, stimulus: Stimulus, cause: Cause) -> Step:
    """Go on as if it had not come."""
    taken, failed = _taken(stimulus), None
    if cause.name:
        # Not always the one that was brought: another of the same moment may go first.
        name, instance = plan.name, decision.state.instance
        failed = TimerRecord(cause.due, name, instance, cause.name, "timeout")
    if isinstance(stimulus, TimeoutDue):
        taken = StepExtras(due=failed)
    elif isinstance(stimulus, CommandRefused):
        taken = StepExtras(told=stimulus.refusal.sequence)
    elif taken is not None:
        # What is tried again may be a timeout or a refusal, and goes with its retry.
        taken.told = cause.sequence
        taken.cancel = [failed] if failed is not None else []
    owes = 0 if cause.event is None else owed_effect(plan, cause.event)
    if owes and isinstance(stimulus, EventDelivered) and stimulus.learnt is not None:
        taken = taken or StepExtras()
    if taken is not None:
        # The effect runs as if the event had been handled.
        taken.owes = owes
    state = decision.state
    decision.state = replace(state, seen=max(state.seen, cause.position))
    decision.reload = True
    decision.outcome = "skipped_error"
    return EMPTY if taken is None else _step(plan, decision, taken)


def _try_later(
    plan: ProcessPlan, decision: Decision, stimulus: Stimulus, cause: Cause, due: int
) -> Step:
    state = decision.state
    block = cause.block("retry", decision.attempt, due)
    decision.state = replace(state, block=block, seen=max(state.seen, cause.position))
    decision.outcome = "retries"
    decision.is_put_off = isinstance(stimulus, TimeoutDue)
    extras = _taken(stimulus) or StepExtras()
    extras.timers = [TimerRecord(due, plan.name, state.instance, "retry", "retry")]
    extras.block = block
    extras.unblock = False
    return _step(plan, decision, extras)


def _park(
    plan: ProcessPlan,
    decision: Decision,
    stimulus: Stimulus,
    error: BaseException,
    cause: Cause,
    *,
    blocks: bool,
) -> Step:
    """Set it aside for a person; `blocks` if the instance is suspended by it."""
    state = decision.state
    block = cause.block("parked", decision.attempt, cause.due) if blocks else state.block
    decision.state = replace(state, block=block, seen=max(state.seen, cause.position))
    decision.outcome = "parked"
    decision.is_put_off = isinstance(stimulus, TimeoutDue)
    extras = _taken(stimulus)
    if blocks:
        extras = extras or StepExtras()
        extras.block = block
        extras.unblock = False
        extras.was_complete = state.is_complete if state.version else None
    step = _step(plan, decision, extras)
    step.park = ParkedRecord(
        plan.name,
        state.instance,
        cause.id,
        type_of_error(error),
        _text(error) + _text_of_second(decision.on_error_failed),
        decision.attempt,
        stimulus.now,
        position=cause.position,
        name=cause.name,
        sequence=cause.sequence,
        blocks=blocks,
        handler=handler_name(plan, cause),
        place=_place(error),
    )
    return step


def handler_name(plan: ProcessPlan, cause: Cause) -> str:
    """What people know by name of what failed: the method, or what else it was."""
    if cause.event is None:
        return cause.id if cause.name else f"the refusal of {cause.type}"
    if cause.type == UNREADABLE:
        return "reading"
    handler = plan.subscription.handler_of(cause.event)
    return cause.type if handler is None else handler.name


def parked_event(
    error: BaseException, process: str, instance: str, event: EventRecord, now: int
) -> ParkedRecord:
    """An event whose instances could not be found."""
    return ParkedRecord(
        process,
        instance,
        event.event_id,
        type_of_error(error),
        _text(error),
        attempts=1,
        time=now,
        position=event.position,
        place=_place(error),
    )


def parked_effect(
    error: BaseException,
    process: str,
    instance: str,
    event: EventRecord,
    effect: str,
    attempts: int,
    now: int,
) -> ParkedRecord:
    """An after-effect that failed, or whose instances could not be found; it blocks no instance."""
    return ParkedRecord(
        process,
        instance,
        event.event_id,
        type_of_error(error),
        _text(error),
        attempts,
        now,
        position=event.position,
        effect=effect,
        handler=effect,
        place=_place(error),
    )


def parked_at_stream(
    error: BaseException,
    projection: str,
    event: EventRecord,
    method: str,
    attempts: int,
    now: int,
    *,
    blocks: bool,
) -> ParkedRecord:
    """An event that a projection could not write; `blocks` if its stream waits behind it."""
    return ParkedRecord(
        projection,
        event.stream,
        event.event_id,
        type_of_error(error),
        _text(error),
        attempts,
        now,
        position=event.position,
        blocks=blocks,
        handler=method,
        place=_place(error),
    )


def is_final(error: BaseException) -> bool:
    """Whether what raised it would raise it again in a minute, since no handler ran."""
    return isinstance(error, _FINAL)


def parked_command(error: BaseException, command: CommandRecord, now: int) -> ParkedRecord:
    """A command that its aggregate refused or failed at, and that no caller waits for."""
    return ParkedRecord(
        command.process or "",
        command.instance or "",
        command.command_id,
        type_of_error(error),
        _text(error),
        attempts=1,
        time=now,
        command=command,
        place=_place(error),
    )


def parked_sequence(error: BaseException, sequence: int, now: int) -> ParkedRecord:
    """A queued command that cannot be read, so it cannot be told whose it was."""
    return ParkedRecord(
        "", "", f"sequence {sequence}", type_of_error(error), _text(error), attempts=1, time=now
    )


def _text(error: BaseException) -> str:
    try:
        return _utf8(str(error)[:LONGEST_TEXT])
    except Exception:  # noqa: BLE001 - an error of the user's may be broken itself
        return "its text cannot be read, since its __str__ fails"


def _place(error: BaseException) -> str:
    return _utf8(their_place_of_error(error))


def _text_of_second(error: BaseException | None) -> str:
    """What went wrong when `on_error` was to say what becomes of the first error."""
    if error is None:
        return ""
    return f" (and on_error failed: {type_of_error(error)}: {_text(error)})"


def _utf8(text: str) -> str:
    # It may quote anything, and what is stored must be UTF-8.
    return str.encode(text, "utf-8", "backslashreplace").decode()
