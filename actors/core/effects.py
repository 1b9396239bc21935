"""After-effects: which are owed, and the commands of one, whose step makes no transition."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..authoring.cause import Cause
from ..store import CommandRecord, EffectRecord, Step, StepExtras
from .cycles import refuse_endless
from .ports import UNREADABLE

if TYPE_CHECKING:
    from ..authoring.decorators import Handler
    from ..authoring.process_manager import ProcessManager
    from ..model.plans import ProcessPlan
    from ..store import EventRecord, TransitionRecord
    from .ports import Reads

__all__ = ["effect_step", "owed_effect", "version_for"]


def owed_effect(plan: ProcessPlan, record: EventRecord) -> int:
    """The position of an event, if there is an effect after it; 0 if not.

    The step that is done with the event says that its effect is owed, where that could not be told
    later: the event was set aside, or found its instance by a key that others may have by then.

    Args:
        plan: of the process manager
        record: the event

    """
    if not plan.definition.effects or record.type == UNREADABLE:
        return 0
    return record.position if plan.after_effects.listens_to(record) else 0


def effect_step(
    plan: ProcessPlan,
    process: ProcessManager,
    handler: Handler,
    record: EventRecord,
    version: int,
    reads: Reads,
) -> Step | None:
    """The step that sends the commands on their way and notes that the effect is done.

    Args:
        plan: of the process manager
        process: the object whose method ran
        handler: the method
        record: the event that it acted after
        version: as `version_for` has it
        reads: finds what came before in the chain

    Returns:
        None if it issued nothing

    Raises:
        InfiniteLoopError: the chain is as long as is allowed; the commands do not leave
        UnknownMessage: no aggregate takes one of them

    """
    unit = process._unit  # noqa: SLF001 - a friend
    if not unit.issued:
        return None
    if record.depth >= plan.max_chain:
        refuse_endless(plan, Cause.of_event(record), handler, reads)
    commands: list[tuple[str, str, bytes]] = []
    queued: list[CommandRecord] = []
    for command_id, command, data, shared, _ in unit.issued:
        kind, stream = plan.registry.address(command)
        commands.append((command_id, kind, data))
        queued.append(
            CommandRecord(
                command_id,
                kind,
                stream,
                unit.now,
                data,
                record.correlation_id,
                record.event_id,
                plan.name,
                unit.id,
                version,
                record.depth,
                record.headers,
                0,
                shared,
            )
        )
    done = EffectRecord(
        record.position, plan.name, unit.id, handler.name, version, unit.now, commands
    )
    return Step(process=plan.name, instance=unit.id, enqueue=queued, extras=StepExtras(effect=done))


def version_for(
    plan: ProcessPlan,
    instance: str,
    record: EventRecord,
    last: TransitionRecord,
    owed: int | None,
    reads: Reads,
) -> int:
    """The version of an instance in the run for which an effect acts.

    It is the newest, unless the instance was started anew behind the event: then it is the last one
    before that, so that no answer and no refusal reaches a run that did not ask.

    Args:
        plan: of the process manager
        instance: its id
        record: the event
        last: the newest transition
        owed: the version that it had when it was done with the event, if the store says that
        reads: finds how the newest run began

    """
    if owed is not None:
        return last.version if last.run <= owed else last.run - 1
    if last.run > 1:
        started = reads.stored_transition(plan.name, instance, last.run)
        if started is not None and started.position > record.position:
            return last.run - 1
    return last.version
