"""What made a transition, found again in the log as the stimulus that it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..store import CommandRecord, RefusalRecord, TimerRecord, place_of_effect, place_of_issue
from .stimuli import CommandRefused, EventDelivered, TimeoutDue

if TYPE_CHECKING:
    from ..model.plans import ProcessPlan
    from ..store import TransitionRecord
    from .ports import Reads

__all__ = ["issued_command", "stimulus_of"]


def stimulus_of(
    plan: ProcessPlan,
    instance: str,
    transition: TransitionRecord,
    due: int,
    reads: Reads,
    *,
    refreshing: bool,
) -> EventDelivered | TimeoutDue | CommandRefused | None:
    """What made a transition; None if an operator did, or if no handler is left for it.

    Args:
        plan: of the process manager
        instance: its id
        transition: one of the instance's
        due: when it was due, if it was a timeout
        reads: the log
        refreshing: whether state is being rebuilt by it

    Raises:
        InvalidMessage: the event or the command does not fit its class
        UnknownMessage: it is of a version that nothing turns into that of the class

    """
    definition, time, cause = plan.definition, transition.time, transition.cause
    record = reads.event_of(transition)
    if record is not None:
        if plan.subscription.handler_of(record) is None:
            return None
        event = plan.subscription.load(record)
        return EventDelivered(record, event, now=time, refreshing=refreshing)
    command = issued_command(plan, instance, cause, reads)
    if command is not None:
        command.correlation_id = transition.correlation_id
        command.headers = transition.headers
        message = plan.registry.load_command(command.type, command.data)
        if type(message) in definition.rejections:
            refusal = RefusalRecord(command, transition.note or "")
            return CommandRefused(refusal, now=time, refreshing=refreshing)
        return None
    name = cause.removeprefix("timeout:")
    if name != cause and name in definition.timeouts:
        timer = TimerRecord(due, plan.name, instance, name, "timeout", headers=transition.headers)
        return TimeoutDue(timer, now=time, refreshing=refreshing)
    return None


def issued_command(
    plan: ProcessPlan, instance: str, command_id: str, reads: Reads
) -> CommandRecord | None:
    """The command with that id, if the instance, or an after-effect of it, issued it."""
    issue, effect = place_of_issue(command_id), place_of_effect(command_id)
    if issue is not None and issue[:2] == (plan.name, instance):
        made = reads.stored_transition(plan.name, instance, issue.version)
        if made is None:
            return None
        version, time, causation, commands = made.version, made.time, made.cause, made.commands
    elif effect is not None and effect[:2] == (plan.name, instance):
        done = reads.effect_at(effect.position, plan.name, instance)
        if done is None:
            return None
        version, time, commands = done.version, done.time, done.commands
        causation = reads.event_at(effect.position).event_id
    else:
        return None
    for one, kind, data in commands:
        if one == command_id:
            return CommandRecord(
                one, kind, "", time, data, "", causation, plan.name, instance, version
            )
    return None
