"""What one stimulus does to one instance: plain values in, plain values out.

No actor, thread, store or clock is known here. A running instance, a rebuilt one and one in a
scenario are decided by the same function, each with surroundings of its own.
"""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from ..authoring.cause import Cause
from ..authoring.process_manager import (
    STEP_IS_OVER,
    ProcessManager,
    SkippedWhileRefreshing,
    seal,
)
from ..authoring.state import LARGE
from ..errors import AlreadyStarted, EarlyEvent, LateEvent
from ..messages.codec import codecs
from ..store import (
    CommandRecord,
    EventRecord,
    PackedFields,
    RefusalRecord,
    Step,
    StepExtras,
    TimerRecord,
    TransitionRecord,
    change_between,
    erased_at,
    is_issued_by,
    place_of_effect,
    place_of_issue,
)
from .completion import completion_of
from .cycles import refuse_echo, refuse_endless
from .decision import EMPTY, Decision
from .effects import owed_effect
from .failures import fail
from .ports import UNREADABLE
from .process_state import ProcessState
from .stimuli import CommandDue, CommandRefused, EventDelivered, Reload, RetryDue, TimeoutDue

if TYPE_CHECKING:
    from ..authoring.decorators import Handler
    from ..authoring.state import Keys
    from ..messages.types import Event
    from ..model.plans import ProcessPlan
    from .ports import Reads
    from .stimuli import End, Stimulus

__all__ = ["changed_keys", "decide", "released", "run", "take"]

LONG_BEFORE = 86_400_000_000
"""Microseconds by which no clock of a machine is set back: what is older was there before."""

FARTHEST = 256
"""Versions from one state that is stored whole to the next at most, so that loading is bounded."""


def decide(plan: ProcessPlan, state: ProcessState, stimulus: Stimulus, reads: Reads) -> Decision:
    """Decide what comes of a stimulus; a failure is an outcome as well.

    Args:
        plan: what is known of the process manager
        state: the instance before it, which is left as it is
        stimulus: what happens
        reads: answers what is asked of the log

    Returns:
        what is to be written, and the instance as it is from then on

    """
    decision = Decision(state, EMPTY)
    try:
        if type(stimulus) is EventDelivered:
            # As `take` does, with a call less.
            decision.step = _take_event(plan, decision, stimulus, reads)
        else:
            decision.step = take(plan, decision, stimulus, reads)
    except BaseException as error:  # noqa: BLE001 - the class, or a person, decides about it
        decision.step = fail(plan, decision, stimulus, error)
    return decision


def take(plan: ProcessPlan, decision: Decision, stimulus: Stimulus, reads: Reads) -> Step:
    """As `decide`, with failures raised: fills in the decision and returns its step.

    Raises:
        BaseException: what a handler raised, or why there was none to run

    """
    if type(stimulus) is EventDelivered:
        return _take_event(plan, decision, stimulus, reads)
    if type(stimulus) is TimeoutDue:
        return _take_timeout(plan, decision, stimulus, reads)
    if type(stimulus) is CommandRefused:
        return _take_refusal(plan, decision, stimulus, reads)
    if type(stimulus) is RetryDue:
        return _try_again(plan, decision, stimulus, reads)
    if type(stimulus) is CommandDue:
        return _let_leave(decision, stimulus)
    assert type(stimulus) is Reload
    decision.reload = True
    return _nothing(decision)


# What happens


def _take_event(
    plan: ProcessPlan, decision: Decision, stimulus: EventDelivered, reads: Reads
) -> Step:
    state, record = decision.state, stimulus.record
    if state.timers and not stimulus.refreshing:
        decision.first = _due_before(plan, state, stimulus, reads)
        if decision.first is not None:
            return EMPTY
    if stimulus.was_held:
        state = decision.state = replace(state, to_take_up=state.to_take_up - 1)
        decision.reload = not state.to_take_up
        if state.block is not None:
            return _nothing(decision)
        decision.taken = StepExtras(unwait=record.position, owes=owed_effect(plan, record))
    elif record.position <= state.seen and not stimulus.refreshing:
        return _nothing(decision, "seen_again")
    elif state.block is not None or state.to_take_up:
        decision.state = replace(state, seen=record.position)
        decision.outcome = "waiting"
        return Step(process=plan.name, instance=state.instance, wait=record.position)
    elif record.sent_to is not None and not stimulus.refreshing:
        # The partition that found the instance does not say later which it was.
        decision.taken = _owing(plan, record)
    decision.cause = Cause(
        record.event_id,
        record.type,
        record.correlation_id,
        record.depth,
        record.position,
        record,
    )
    if record.type == UNREADABLE:
        raise record.message
    event, learnt = stimulus.event, stimulus.learnt
    if event is None:
        if plan.subscription.handler_of(record) is None:
            # It waited for its after-effect alone, or for a handler that was removed since.
            return _skip(plan, decision, "not_for_us")
        event = plan.subscription.load(record)
        learnt = plan.subscription.learnt_of(event)
    elif stimulus.is_shared:
        event = codecs[type(event)].copy(event)
    if learnt is not None and decision.taken is None and not stimulus.refreshing:
        decision.taken = _owing(plan, record)
    definition = plan.definition
    handler = definition.handlers[type(event)]
    process: ProcessManager | None = None
    begins = state.is_complete or not state.version
    if state.is_complete and not (
        stimulus.refreshing
        or (definition.restart and handler.start and erased_at(state.fields) is None)
    ):
        return _come_late(plan, decision, stimulus)
    if begins:
        if not (handler.start or definition.stateless or stimulus.refreshing):
            return _come_early(plan, decision, stimulus)
        process = definition.begin(state.instance, event)
        process._unit.version = state.version  # noqa: SLF001 - a friend
    elif handler.start == "only" and not stimulus.refreshing:
        raise AlreadyStarted(
            f"{plan.name} {state.instance!r} is running, and {handler.name} only starts: "
            f"this {record.type} would start it a second time; skip it, or write start=True"
        )
    if learnt is not None:
        process = process or state.restore(definition)
        field, values = learnt
        keys = definition.state.key_of(field, process.__dict__[field])
        if not any(value in keys for value in values):
            # Without its effect, which is for who has the key as well.
            decision.taken = StepExtras(unwait=record.position) if stimulus.was_held else None
            return _skip(plan, decision, "not_for_us")
        if (
            plan.partition is not None
            and not stimulus.refreshing
            and _was_found_twice(plan, state, record, event, reads)
        ):
            decision.taken = StepExtras(unwait=record.position) if stimulus.was_held else None
            return _skip(plan, decision, "seen_again")
    if record.depth and not stimulus.refreshing:
        if state.run > 1 and not begins and _is_of_ended_run(plan, state, record, reads):
            return _come_late(plan, decision, stimulus)
        if record.version > 1:
            # The first event of a stream is the same as none before it.
            refuse_echo(plan, state, record, event, reads)
    return run(plan, decision, stimulus, reads, handler, (event,), process)


def _owing(plan: ProcessPlan, record: EventRecord) -> StepExtras | None:
    """What writes that the after-effect of an event is owed, if there is one."""
    owes = owed_effect(plan, record)
    return StepExtras(owes=owes) if owes else None


def _was_found_twice(
    plan: ProcessPlan, state: ProcessState, record: EventRecord, event: Event, reads: Reads
) -> bool:
    """Whether the instance took the same event before, at another position of a divided store.

    An event that names several values of a learnt key is for the instances that each of their
    partitions knows, and an instance may have several of them.
    """
    learnt = plan.subscription.learnt_of(event)
    if learnt is None or len(learnt[1]) < 2:
        return False
    for version in range(state.version, 0, -1):
        before = reads.stored_transition(plan.name, state.instance, version)
        if before is None or before.time < record.time - LONG_BEFORE:
            return False
        if before.cause == record.event_id and before.position:
            return True
    return False


def _due_before(
    plan: ProcessPlan, state: ProcessState, stimulus: EventDelivered, reads: Reads
) -> TimerRecord | None:
    """The first timeout that was due before an event was stored, however late both are handled."""
    record, timers = stimulus.record, state.timers or {}
    is_next = stimulus.was_held or (record.position > state.seen and not state.to_take_up)
    if min(timers.values()) >= record.time or state.block is not None or not is_next:
        return None
    timeouts = plan.definition.timeouts
    # Those of one moment are in the order in which they were set, which sorting keeps.
    for due, what in sorted(((due, what) for what, due in timers.items()), key=itemgetter(0)):
        if due < record.time and what in timeouts:
            timer = TimerRecord(due, plan.name, state.instance, what, "timeout")
            # One that failed and was skipped is gone, although no transition says so.
            found = reads.timer_of(timer)
            if found is not None:
                return found
    return None


def _is_of_ended_run(
    plan: ProcessPlan, state: ProcessState, record: EventRecord, reads: Reads
) -> bool:
    """Whether an event answers a command which the instance issued before it started anew."""
    effect = place_of_effect(record.causation_id or "")
    if effect is not None and (effect.process, effect.instance) == (plan.name, state.instance):
        done = reads.effect_at(effect.position, effect.process, effect.instance)
        return done is not None and done.version < state.run
    issue = place_of_issue(record.causation_id or "")
    return (
        issue is not None
        and (issue.process, issue.instance) == (plan.name, state.instance)
        and issue.version < state.run
    )


def _come_early(plan: ProcessPlan, decision: Decision, stimulus: EventDelivered) -> Step:
    """The event came before the start."""
    state, record = decision.state, stimulus.record
    if plan.definition.early == "hold":
        decision.state = replace(state, seen=max(state.seen, record.position), holds_early=True)
        decision.outcome = "held"
        if stimulus.was_held:
            # It stays where it is.
            return EMPTY
        return Step(process=plan.name, instance=state.instance, wait=record.position)
    if plan.definition.early == "park":
        raise EarlyEvent(
            f"{plan.name} {state.instance!r} has not started: this {record.type} came "
            f"before its start; retry it when it has, or skip it"
        )
    return _skip(plan, decision, "skipped_early")


def _come_late(plan: ProcessPlan, decision: Decision, stimulus: EventDelivered) -> Step:
    """The event came after the end of the run that it is for."""
    state, record = decision.state, stimulus.record
    if plan.definition.late == "park" and erased_at(state.fields) is None:
        raise LateEvent(
            f"{plan.name} {state.instance!r} had ended when this {record.type} came for it; see to "
            f"what it asks for, and skip it"
        )
    return _skip(plan, decision, "skipped_complete")


def _take_timeout(
    plan: ProcessPlan, decision: Decision, stimulus: TimeoutDue, reads: Reads
) -> Step:
    state, timer = decision.state, stimulus.timer
    if state.block is not None or (state.to_take_up and not stimulus.is_first):
        decision.is_put_off = True
        return _nothing(decision)
    first = None if state.is_complete else _first_set(plan, state, timer, reads)
    if first is None:
        # It was moved or cancelled, or the process has ended, since it was read.
        return _only(plan, decision, StepExtras(cancel=[timer]))
    decision.taken = StepExtras(due=first)
    return _time_out(plan, decision, stimulus, reads, first)


def _let_leave(decision: Decision, stimulus: CommandDue) -> Step:
    """A command that was held back leaves, unless the instance may still take it back."""
    state = decision.state
    if state.block is not None or state.to_take_up:
        decision.is_put_off = True
        return _nothing(decision)
    decision.outcome = "nothing"
    return released(stimulus.timer)


def released(timer: TimerRecord) -> Step:
    """The step that puts a command that was held back into the queue."""
    assert timer.command is not None
    return Step(enqueue=[timer.command], extras=StepExtras(due=timer))


def _first_set(
    plan: ProcessPlan, state: ProcessState, timer: TimerRecord, reads: Reads
) -> TimerRecord | None:
    """Of the timeouts due at the same moment, the one that was set first.

    They are brought in any order, one message for each; the state has them as they were set.
    """
    name, instance = plan.name, state.instance
    same = [
        what
        for what, due in (state.timers or {}).items()
        if due == timer.due and not is_issued_by(what, name, instance)
    ]
    if same == [timer.name]:
        return timer
    for what in same:
        first = reads.timer_of(TimerRecord(timer.due, name, instance, what, "timeout"))
        # One that failed and was skipped is gone, although no transition says so.
        if first is not None:
            return first
    return None


def _time_out(
    plan: ProcessPlan,
    decision: Decision,
    stimulus: TimeoutDue | RetryDue,
    reads: Reads,
    timer: TimerRecord,
) -> Step:
    decision.cause = Cause.of_timer(timer, decision.state.correlation_id)
    handler = plan.definition.timeouts.get(timer.name)
    if handler is None:
        raise LookupError(
            f"{plan.name} has no @timeout({timer.name!r}) method any more; "
            f"write one and retry, or skip this"
        )
    return run(plan, decision, stimulus, reads, handler, ())


def _take_refusal(
    plan: ProcessPlan, decision: Decision, stimulus: CommandRefused, reads: Reads
) -> Step:
    state, refusal = decision.state, stimulus.refusal
    if state.block is not None or state.to_take_up:
        # The refusal stays where it is; the instance looks for it when it goes on.
        return _nothing(decision)
    decision.taken = StepExtras(told=refusal.sequence)
    is_of_ended_run = refusal.command.version < state.run and not stimulus.refreshing
    if state.is_complete or is_of_ended_run:
        return _skip(plan, decision, "skipped_complete")
    return _refuse(plan, decision, stimulus, reads, refusal)


def _refuse(
    plan: ProcessPlan,
    decision: Decision,
    stimulus: CommandRefused | RetryDue,
    reads: Reads,
    refusal: RefusalRecord,
) -> Step:
    decision.cause = Cause.of_refusal(refusal)
    command = plan.registry.load_command(refusal.command.type, refusal.command.data)
    handler = plan.definition.rejections.get(type(command))
    if handler is None:
        raise LookupError(
            f"{plan.name} has no @rejected({type(command).__name__}) method "
            f"any more; write one and retry, or skip this"
        )
    return run(plan, decision, stimulus, reads, handler, (command, refusal.reason))


def _try_again(plan: ProcessPlan, decision: Decision, stimulus: RetryDue, reads: Reads) -> Step:
    """Another attempt at what failed."""
    state, timer = decision.state, stimulus.timer
    block = state.block
    if block is None or block.kind != "retry" or block.due != timer.due:
        return _only(plan, decision, StepExtras(cancel=[timer]))
    decision.attempt = block.attempts + 1
    decision.taken = taken = StepExtras(due=timer, unblock=True)
    state = decision.state = replace(state, block=None)
    decision.reload = True
    if block.position:
        record = reads.event_at(block.position)
        decision.cause = Cause.of_event(record)
        if record.type == UNREADABLE:
            raise record.message
        taken.owes = owed_effect(plan, record)
        event = plan.subscription.load(record)
        process = None
        if not state.version or state.is_complete:
            process = plan.definition.begin(state.instance, event)
            process._unit.version = state.version  # noqa: SLF001 - a friend
        handler = plan.definition.handlers[type(event)]
        return run(plan, decision, stimulus, reads, handler, (event,), process)
    if block.name:
        due = (state.timers or {}).get(block.name, 0)
        if 0 < due <= stimulus.now:
            failed = TimerRecord(
                due,
                plan.name,
                state.instance,
                block.name,
                "timeout",
                None,
                block.depth,
                block.headers,
            )
            taken.cancel = [failed]
            return _time_out(plan, decision, stimulus, reads, failed)
    else:
        refusal = reads.refusal(block.sequence)
        if refusal is not None:
            taken.told = block.sequence
            return _refuse(plan, decision, stimulus, reads, refusal)
    # An operator cancelled it, or moved it: then it comes by itself.
    return _only(plan, decision, taken)


# What comes of it


def _nothing(decision: Decision, why: str = "nothing") -> Step:
    decision.outcome = why
    return EMPTY


def _only(plan: ProcessPlan, decision: Decision, extras: StepExtras) -> Step:
    return Step(process=plan.name, instance=decision.state.instance, extras=extras)


def _skip(plan: ProcessPlan, decision: Decision, why: str) -> Step:
    decision.outcome = why
    return EMPTY if decision.taken is None else _only(plan, decision, decision.taken)


def run(
    plan: ProcessPlan,
    decision: Decision,
    stimulus: EventDelivered | TimeoutDue | CommandRefused | RetryDue | End,
    reads: Reads,
    handler: Handler,
    arguments: tuple[object, ...],
    process: ProcessManager | None = None,
) -> Step:
    """Run a handler; the step is what it did, and what the decision takes."""
    cause = decision.cause
    assert cause is not None
    if cause.depth >= plan.max_chain and not stimulus.refreshing:
        refuse_endless(plan, cause, handler, reads)
    if process is None:
        process = decision.state.restore(plan.definition)
    decision.process = process
    unit = process._unit  # noqa: SLF001 - a friend: it gives the object its event
    unit.now, unit.cause, unit.attempt = stimulus.now, cause, decision.attempt
    if stimulus.refreshing:
        unit.context = unit.context_of(cause, refreshing=True)
    try:  # noqa: SIM105 - `suppress` costs as much as a small handler
        handler.function(process, *arguments)
    except SkippedWhileRefreshing:
        pass
    step = _transition(plan, decision, stimulus, reads, handler, process)
    if decision.taken is not None:
        step.extras = _merged(decision.taken, step.extras)
    decision.outcome = "transitions"
    return step


def _transition(
    plan: ProcessPlan,
    decision: Decision,
    stimulus: EventDelivered | TimeoutDue | CommandRefused | RetryDue | End,
    reads: Reads,
    handler: Handler,
    process: ProcessManager,
) -> Step:
    """The transition that a handler made, with all that follows; the state moves on to it."""
    before, cause = decision.state, decision.cause
    assert cause is not None
    definition, name, now = plan.definition, plan.name, stimulus.now
    unit = process._unit  # noqa: SLF001 - a friend
    instance, correlation_id = before.instance, cause.correlation_id
    version = before.version + 1
    is_complete = handler.end or unit.complete or definition.stateless
    packed: PackedFields | None = None
    change: bytes | None = None
    if len(before.fields) < LARGE or not plan.stores_changes:
        fields, values = definition.state.exchange(process.__dict__)
    else:
        fields, values, change, packed = _exchange_large(plan, before, process)
    extras: StepExtras | None = None
    commands: list[tuple[str, str, bytes]] = []
    queued: list[CommandRecord] = []
    headers = cause.headers if cause.event is None else cause.event.headers
    for command_id, command, data, shared, due in unit.issued:
        kind, stream = plan.registry.address(command)
        commands.append((command_id, kind, data))
        record = CommandRecord(
            command_id,
            kind,
            stream,
            now,
            data,
            correlation_id,
            cause.id,
            name,
            instance,
            version,
            # What leaves later begins a new chain.
            0 if due > now else cause.depth,
            headers,
            0,
            shared,
        )
        if due:
            extras = extras or StepExtras(timers=[], cancel=[])
            extras.timers.append(TimerRecord(due, name, instance, command_id, "command", record))
        else:
            queued.append(record)
    timers, asked = before.timers, unit.timers
    if timers or asked or extras is not None:
        timers, extras = _move_timers(plan, decision, reads, asked or {}, extras, now, is_complete)
    seen, position = before.seen, cause.position
    seen = max(seen, position)
    state = decision.state = ProcessState(
        instance,
        version,
        seen,
        is_complete,
        fields,
        definition.state_version,
        timers,
        before.indexed,
        correlation_id,
        before.block,
        before.to_take_up,
        before.holds_early,
        version if before.is_complete else before.run,
        # Most that are complete never go on; what they hold is let go.
        None if is_complete else values,
    )
    if packed is not None:
        state.packed = packed
        if change is not None:
            state.base, state.weight = before.base or before.version, before.weight + len(change)
    if definition.state.indexed:
        state.indexed = definition.state.keys_of(values)
        changed = changed_keys(before.indexed, state.indexed)
        if changed:
            extras = extras or StepExtras()
            extras.index = changed
    if before.holds_early:
        decision.reload = True
    seal(process, STEP_IS_OVER)
    transition = TransitionRecord(
        version,
        now,
        handler.name,
        is_complete,
        cause.id,
        correlation_id,
        seen,
        fields,
        commands,
        timers or None,
        cause.note,
        definition.state_version,
        position,
        state.base,
        state.run,
        plan.code,
        cause.headers,
        change,
    )
    step = Step(None, name, instance, transition, queued, extras=extras)
    if is_complete and plan.completion is not None and not stimulus.refreshing:
        step.append = completion_of(plan.completion, name, instance, cause, transition)
    return step


def _move_timers(
    plan: ProcessPlan,
    decision: Decision,
    reads: Reads,
    asked: dict[str, int | None],
    extras: StepExtras | None,
    now: int,
    is_complete: bool,
) -> tuple[dict[str, int] | None, StepExtras | None]:
    """What is due later after the step, and what it sets and cancels."""
    state, cause = decision.state, decision.cause
    assert cause is not None
    timers = state.timers
    if timers:
        timers = _still_held(plan, state, reads, now)
    if extras is not None or asked or (is_complete and timers):
        extras = extras or StepExtras(timers=[], cancel=[])
        timers = _set_timers(plan, decision, timers or {}, asked, extras, now, is_complete)
    if cause.name and timers and cause.name not in asked and timers.get(cause.name) == cause.due:
        # It has fired.
        timers = {what: when for what, when in timers.items() if what != cause.name}
    return timers, extras


def _exchange_large(
    plan: ProcessPlan, before: ProcessState, process: ProcessManager
) -> tuple[bytes, dict[str, Any], bytes | None, PackedFields]:
    """A large state, packed and read back, and what is stored in its place, if not the whole."""
    state = plan.definition.state
    known = before.packed or PackedFields.of(before.fields)
    parts, values, tails = state.exchange_parts(process.__dict__, known)
    change, packed = change_between(known, parts, tails)
    fields = packed.whole()
    base = before.base or before.version
    if (
        change is None
        or before.is_complete
        or before.fields_version != plan.definition.state_version
        or before.version + 1 - base >= FARTHEST
        # To read the changes would cost more than to have written the state.
        or before.weight + len(change) >= len(fields)
    ):
        return fields, values, None, packed
    return fields, values, change, packed


def _still_held(
    plan: ProcessPlan, state: ProcessState, reads: Reads, now: int
) -> dict[str, int] | None:
    """What is due later, without the commands that were held back and have left since."""
    timers = state.timers or {}
    left = {
        what
        for what, due in timers.items()
        # A timeout goes when it fires.
        if due <= now
        and is_issued_by(what, plan.name, state.instance)
        and reads.held_back(TimerRecord(due, plan.name, state.instance, what, "command")) is None
    }
    return {what: due for what, due in timers.items() if what not in left} if left else timers


def _set_timers(
    plan: ProcessPlan,
    decision: Decision,
    before: dict[str, int],
    asked: dict[str, int | None],
    extras: StepExtras,
    now: int,
    is_complete: bool,
) -> dict[str, int]:
    """Note what is set and cancelled; returns all that is due later, in the order it was set."""
    timeouts, instance, cause = plan.definition.timeouts, decision.state.instance, decision.cause
    assert cause is not None
    headers = cause.headers if cause.event is None else cause.event.headers
    # In the order in which they were set: what is moved is set anew, and goes last.
    timers = {what: due for what, due in before.items() if what not in asked}
    for held in extras.timers:
        if held.name not in asked:
            timers[held.name] = held.due
    timers |= {what: due for what, due in asked.items() if due is not None}
    if is_complete:
        # A timeout of a completed instance never fires; commands held back still leave.
        timers = {what: due for what, due in timers.items() if what not in timeouts}
    if extras.timers:
        # Without the commands that were taken back in the step that issued them.
        extras.timers = [held for held in extras.timers if held.name in timers]
    for what, due in asked.items():
        if due is not None and what in timers:
            # One that is due at once goes on with the chain.
            depth = 0 if due > now else cause.depth + 1
            extras.timers.append(
                TimerRecord(due, plan.name, instance, what, "timeout", None, depth, headers)
            )
    for what, due in before.items():
        if timers.get(what) != due:
            is_command = what not in timeouts and is_issued_by(what, plan.name, instance)
            kind = "command" if is_command else "timeout"
            extras.cancel.append(TimerRecord(due, plan.name, instance, what, kind))
    return timers


def changed_keys(before: Keys | None, keys: Keys) -> list[tuple[str, str | None, str | None]]:
    """The learnt keys that differ: the field, the value that it had, the value that it has.

    Of a field that holds many, each value that went or came.
    """
    changed: list[tuple[str, str | None, str | None]] = []
    for field, values in keys.items():
        known = () if before is None else before.get(field, ())
        if known != values:
            came, went = set(values).difference(known), set(known).difference(values)
            changed += [(field, value, None) for value in known if value in went]
            changed += [(field, None, value) for value in values if value in came]
    return changed


def _merged(taken: StepExtras, made: StepExtras | None) -> StepExtras:
    """What a step takes and what it makes, in one."""
    if made is None:
        return taken
    made.due = taken.due
    made.cancel = [*taken.cancel, *made.cancel]
    made.unwait = taken.unwait
    made.told = taken.told
    made.unblock = taken.unblock
    made.owes = taken.owes
    if taken.decision is not None:
        made.unpark, made.unpark_too = taken.unpark, taken.unpark_too
        made.decision = taken.decision
    return made
