"""What an operator changes in an instance: it is rebuilt, amended or ended, or a timeout moved."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from ..errors import MovedOn, Pruned, UnknownInstance
from ..messages.codec import refuse_erased
from ..store import PRUNED, Step, StepExtras, TimerRecord, TransitionRecord
from .amending import BY_OPERATOR, amended, headers_of, with_values
from .decide import changed_keys
from .decision import EMPTY, Decision
from .ending import decide_end
from .erasing import decide_erase
from .replay import Replay, replay_log, replayed_fields
from .stimuli import Adjust, Amend, End, Erase, Refresh

if TYPE_CHECKING:
    from ..model.plans import ProcessPlan
    from .ports import Reads
    from .process_state import ProcessState
    from .stimuli import Operation, Rebuilt

__all__ = ["operate"]


def operate(plan: ProcessPlan, state: ProcessState, operation: Operation, reads: Reads) -> Decision:
    """Decide what an operator asks for; as `decide`, but errors are the operator's.

    Args:
        plan: what is known of the process manager
        state: the instance before it; all that it made is on disk
        operation: what is asked for
        reads: answers what is asked of the log

    Returns:
        what is to be written; the outcome ``"nothing"`` says that there was nothing to do

    Raises:
        Exception: what a handler raised while the state was rebuilt

    """
    if isinstance(operation, Erase):
        return decide_erase(plan, state, operation, reads)
    if state.is_complete and _is_pruned(plan, state, reads):
        if isinstance(operation, Amend):
            raise Pruned(
                f"{plan.name} {state.instance!r} was complete and was pruned, so there is nothing "
                f"of it to amend"
            )
        if isinstance(operation, Refresh):
            # There is nothing that it could be made of.
            return Decision(state, EMPTY, "nothing")
    if isinstance(operation, Refresh):
        # What is in the log of others is not to bring it back.
        refuse_erased(state.fields, f"{plan.name} {state.instance!r}")
        return _refresh(plan, state, operation, reads)
    if isinstance(operation, Adjust):
        return _adjust(plan, state, operation, reads)
    if not state.version:
        raise UnknownInstance(
            f"{plan.name} has no instance {state.instance!r} that has started; find() lists those "
            f"that have. If its start failed, retry or skip what is parked of it"
        )
    if operation.version not in {None, state.version} and not (
        isinstance(operation, End) and state.is_complete
    ):
        raise MovedOn(plan.name, state.instance, operation.version, state.version)
    if isinstance(operation, End):
        return decide_end(plan, state, operation, reads)
    return _amend(plan, state, operation)


def _refresh(plan: ProcessPlan, state: ProcessState, operation: Refresh, reads: Reads) -> Decision:
    """The state is rebuilt; what is due later, and whether it has ended, stay as they are."""
    definition, begun = plan.definition, state
    if operation.until:
        rebuilt = operation.rebuilt
        if rebuilt is None or rebuilt.version != state.version:
            rebuilt = _from_origin(plan, state, operation.until, reads)
        begun = rebuilt.state or state
        state = replace(state, seen=max(state.seen, rebuilt.seen))
    if not state.version:
        if not begun.version or state.block is not None:
            return Decision(state, EMPTY, "nothing")
        # It begins with what came before its class listened to it.
        state = replace(state, is_complete=begun.is_complete, correlation_id=begun.correlation_id)
    made = (
        begun.restore(definition).__dict__
        if operation.until
        else (replayed_fields(plan, state, reads))
    )
    renewed = with_values(definition, state, made)
    changed = changed_keys(state.indexed, renewed.indexed or {})
    extras = StepExtras(index=changed) if changed else None
    by = operation.by
    told = (operation.handler, "refresh", None if by is None else f"rebuilt by {by}")
    headers = None if by is None else headers_of(by)
    return _recorded(plan, renewed, operation.now, told, extras, "refreshed", headers)


def _is_pruned(plan: ProcessPlan, state: ProcessState, reads: Reads) -> bool:
    """Whether what stays of an instance is that it was complete."""
    last = reads.stored_transition(plan.name, state.instance, state.version)
    return last is not None and last.cause == PRUNED


def _from_origin(plan: ProcessPlan, state: ProcessState, until: int, reads: Reads) -> Rebuilt:
    """What an instance comes to when the log is gone through up to a position."""
    replay = Replay(plan, state.instance, reads)
    replay.leave_out(reads.set_aside(plan.name, state.instance))
    ((_, rebuilt),) = replay_log(plan, [replay], reads, until)
    if rebuilt is None:
        assert replay.error is not None
        raise replay.error
    return rebuilt


def _adjust(plan: ProcessPlan, state: ProcessState, operation: Adjust, reads: Reads) -> Decision:
    """What is due is moved to another time, or cancelled."""
    name, due = operation.name, operation.due
    timers = state.timers or {}
    before = timers.get(name)
    if before is None:
        return Decision(state, EMPTY, "nothing")
    kind = "timeout" if name in plan.definition.timeouts else "command"
    old = TimerRecord(before, plan.name, state.instance, name, kind)
    there = reads.timer_of(old)
    if kind == "command" and there is None:
        # It has left already.
        return Decision(state, EMPTY, "nothing")
    extras = StepExtras(due=old, timers=[])
    others = {other: when for other, when in timers.items() if other != name}
    if due:
        extras.timers = [replace(there or old, due=due, depth=0)]
        others[name] = due
    verb, handler = ("moved", "move_timeout") if due else ("cancelled", "cancel_timeout")
    note = f"{name} {verb} by {operation.by or 'an operator'}"
    moved = replace(state, timers=others, values=None, base=0, weight=0, packed=None)
    told = (handler, BY_OPERATOR, note)
    headers = headers_of(operation.by)
    return _recorded(plan, moved, operation.now, told, extras, "adjusted", headers)


def _amend(plan: ProcessPlan, state: ProcessState, operation: Amend) -> Decision:
    """Fields have other values, and what holds up the instance may be tried again with them."""
    changed = amended(plan.definition, state, operation.fields)
    names = list(operation.fields)
    note = f"{', '.join(names)} amended by {operation.by or 'an operator'}"
    index = changed_keys(state.indexed, changed.indexed or {})
    extras = StepExtras(index=index) if index else None
    block = state.block
    retries = operation.retries and block is not None
    if block is not None and retries:
        extras = extras or StepExtras()
        extras.unblock = True
        if block.position:
            extras.waits = [(plan.name, state.instance, block.position)]
        if block.kind == "retry":
            extras.cancel = [TimerRecord(block.due, plan.name, state.instance, "retry", "retry")]
        else:
            extras.unpark = block.parked
            extras.decision = ("retry", operation.now, operation.by)
        changed = replace(changed, block=None)
    headers = headers_of(operation.by, names)
    told = ("amend", BY_OPERATOR, note)
    decision = _recorded(plan, changed, operation.now, told, extras, "amended", headers)
    # What is to be tried again is in the store, before what waits behind it.
    decision.reload = retries
    return decision


def _recorded(
    plan: ProcessPlan,
    state: ProcessState,
    now: int,
    told: tuple[str, str, str | None],
    extras: StepExtras | None,
    outcome: str,
    headers: bytes | None = None,
) -> Decision:
    """A transition that no handler made; `told` is its handler, cause and note.

    Its state is stored whole, so that what follows may stand on it.
    """
    handler, cause, note = told
    state = replace(state, version=state.version + 1)
    transition = TransitionRecord(
        state.version,
        now,
        handler,
        state.is_complete,
        cause,
        state.correlation_id,
        state.seen,
        state.fields,
        [],
        state.timers or None,
        note,
        state.fields_version,
        run=state.run,
        code=plan.code,
        headers=headers,
    )
    step = Step(process=plan.name, instance=state.instance, transition=transition, extras=extras)
    return Decision(state, step, outcome)
