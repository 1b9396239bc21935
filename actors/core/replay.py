"""The state of an instance, made anew by deciding again what it decided before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from ..store import CommandRecord, RefusalRecord, TimerRecord
from .decide import take
from .decision import EMPTY, Decision
from .process_state import ProcessState
from .stimuli import CommandRefused, EventDelivered, TimeoutDue

if TYPE_CHECKING:
    from ..model.plans import ProcessPlan
    from ..store import TransitionRecord
    from .ports import Reads
    from .stimuli import Stimulus

__all__ = ["replayed_fields"]


def replayed_fields(plan: ProcessPlan, state: ProcessState, reads: Reads) -> dict[str, Any]:
    """The fields that an instance has when its causes are decided by the class as it is today.

    What the handlers issue and set is dropped. A cause that has no handler any more is left out;
    where none has one, the fields stay as they are.

    Args:
        plan: of the process manager
        state: the instance as it is
        reads: gives its transitions, and the events that made them

    Raises:
        Exception: what a handler raised

    """
    now = ProcessState(state.instance)
    issued: dict[str, CommandRecord] = {}
    for transition in reads.transitions(plan.name, state.instance):
        for command_id, kind, data in transition.commands:
            issued[command_id] = CommandRecord(
                command_id, kind, "", transition.time, data, "", transition.cause
            )
        stimulus = _stimulus_of(plan, state.instance, transition, issued, reads)
        if stimulus is None and transition.position and now.is_complete:
            # An event that has no handler any more began another run.
            now = ProcessState(state.instance)
        elif stimulus is not None and (now.version or isinstance(stimulus, EventDelivered)):
            now = _decided_again(plan, now, transition, stimulus, reads)
        if now.is_complete is not transition.is_complete and now.version:
            # The log says where a run ended, or runs would mix when today's class says otherwise.
            now = replace(now, is_complete=transition.is_complete)
    return (now if now.version else state).restore(plan.definition).__dict__


def _decided_again(
    plan: ProcessPlan,
    now: ProcessState,
    transition: TransitionRecord,
    stimulus: Stimulus,
    reads: Reads,
) -> ProcessState:
    """The state after a transition's cause; as it was, if today's class passes the cause by."""
    version = transition.version - 1
    if now.version:
        due = {stimulus.timer.name: stimulus.timer.due} if type(stimulus) is TimeoutDue else None
        now = replace(now, version=version, timers=due)
    decision = Decision(now, EMPTY)
    take(plan, decision, stimulus, reads)
    return decision.state if decision.outcome == "transitions" else now


def _stimulus_of(
    plan: ProcessPlan,
    instance: str,
    transition: TransitionRecord,
    issued: dict[str, CommandRecord],
    reads: Reads,
) -> Stimulus | None:
    """What made a transition; None if an operator did, or if no handler is left for it."""
    cause, time, definition = transition.cause, transition.time, plan.definition
    record = reads.event_of(transition)
    if record is not None:
        if plan.subscription.handler_of(record) is None:
            return None
        return EventDelivered(record, plan.subscription.load(record), now=time, refreshing=True)
    if cause in issued:
        command = issued[cause]
        command.correlation_id = transition.correlation_id
        if type(plan.registry.load_command(command.type, command.data)) in definition.rejections:
            refusal = RefusalRecord(command, transition.note or "")
            return CommandRefused(refusal, now=time, refreshing=True)
        return None
    name = cause.removeprefix("timeout:")
    if name != cause and name in definition.timeouts:
        timer = TimerRecord(time, plan.name, instance, name, "timeout")
        return TimeoutDue(timer, now=time, refreshing=True)
    return None
