"""What an operator changes in an instance: its state is rebuilt, or what is due is moved."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from ..store import Step, StepExtras, TimerRecord, TransitionRecord
from .decide import changed_keys
from .decision import EMPTY, Decision
from .replay import Replay, replay_log, replayed_fields
from .stimuli import Adjust, Refresh

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
    if isinstance(operation, Refresh):
        return _refresh(plan, state, operation, reads)
    return _adjust(plan, state, operation, reads)


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
    fields, values = definition.state.exchange(made)
    indexed, extras = state.indexed, None
    if definition.state.indexed:
        indexed = definition.state.keys_of(values)
        changed = changed_keys(state.indexed, indexed)
        extras = StepExtras(index=changed) if changed else None
    renewed = replace(
        state, fields=fields, fields_version=definition.state_version, indexed=indexed
    )
    return _recorded(
        plan, renewed, operation.now, (operation.handler, "refresh", None), extras, "refreshed"
    )


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
    moved = replace(state, timers=others)
    return _recorded(plan, moved, operation.now, (handler, "operator", note), extras, "adjusted")


def _recorded(
    plan: ProcessPlan,
    state: ProcessState,
    now: int,
    told: tuple[str, str, str | None],
    extras: StepExtras | None,
    outcome: str,
) -> Decision:
    """A transition that no handler made; `told` is its handler, cause and note."""
    handler, cause, note = told
    # Stored whole, so that what follows may stand on it.
    state = replace(state, version=state.version + 1, values=None, base=0, weight=0, packed=None)
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
    )
    step = Step(process=plan.name, instance=state.instance, transition=transition, extras=extras)
    return Decision(state, step, outcome)
