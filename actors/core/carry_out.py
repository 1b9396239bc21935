"""What one command does to one aggregate: events, a refusal, or something to set aside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from ..errors import Erased, Rejected, UnknownMessage
from ..messages.refusals import pack_refusal
from ..messages.types import UnknownCommand
from ..store import (
    Append,
    CommandRecord,
    CommandResult,
    EventRecord,
    RefusalRecord,
    Step,
    StepExtras,
)
from .failures import parked_command

if TYPE_CHECKING:
    from ..authoring.aggregate import Aggregate
    from ..model.plans import AggregatePlan

__all__ = ["CommandDecision", "CommandDelivered", "carry_out", "refuse_command"]


class CommandDelivered(Struct, gc=False):
    """A command for one aggregate.

    Attributes:
        record: as it was accepted
        is_from_outside: whether its id was given to the caller, or by the caller, and is remembered

    """

    record: CommandRecord
    is_from_outside: bool


class CommandDecision(Struct, gc=False):
    """What came of a command.

    Attributes:
        step: what is to be written
        refusal: why the aggregate made no events, if it refused or failed
        outcome: ``"rejected"`` or ``"parked"``, the names of counters; nothing otherwise

    """

    step: Step
    refusal: BaseException | None = None
    outcome: str = ""


def carry_out(
    plan: AggregatePlan, aggregate: Aggregate, delivered: CommandDelivered
) -> CommandDecision:
    """Have an aggregate decide about a command; it evolves by the events that it makes.

    Args:
        plan: what is known of the aggregate's class
        aggregate: as its stream left it
        delivered: the command

    Returns:
        what is to be written

    Raises:
        BaseException: what the handler raised; some events may have been applied by then

    """
    record = delivered.record
    command = record.message
    if command is None:
        command = plan.registry.load_command(record.type, record.data)
    if type(command) is UnknownCommand:
        raise UnknownMessage(
            f"{plan.definition.cls.__qualname__} cannot carry out a {record.type}, which "
            f"nothing here can read; {plan.registry.mend_for(record.type)}"
        )
    version = aggregate._own.version  # noqa: SLF001 - a friend
    made = plan.definition.decide(aggregate, command)
    stream = record.stream
    append = Append(stream, version, [])
    step = Step(append, take=record.sequence)
    if delivered.is_from_outside:
        step.given, step.result = record, CommandResult()
    depth, headers = record.depth + 1 if record.process else 0, record.headers
    for event, packed, shared in made:
        version += 1
        append.events.append(
            EventRecord(
                plan.names[type(event)],
                stream,
                version,
                0,
                packed,
                "",
                record.correlation_id,
                record.command_id,
                headers,
                depth,
                0,
                shared,
            )
        )
    if made:
        snapshot = plan.definition.snapshot(aggregate)
        if snapshot is not None:
            step.extras = StepExtras(snapshot=snapshot)
    return CommandDecision(step)


def refuse_command(
    plan: AggregatePlan,
    delivered: CommandDelivered,
    error: BaseException,
    version: int | None,
    *,
    now: int,
    is_awaited: bool = False,
) -> CommandDecision:
    """What becomes of a command that its aggregate refused or failed at.

    Args:
        plan: what is known of the aggregate's class
        delivered: the command
        error: why
        version: of the aggregate that decided; None before one did
        now: the time, in microseconds
        is_awaited: whether a caller waits for the reply

    """
    record = delivered.record
    step = Step(take=record.sequence)
    decision = CommandDecision(step, error)
    if version is not None:
        # It may have been decided by events that are not on disk after all, and then it is
        # decided again.
        step.append = Append(record.stream, version, [])
    reason = error.reason if isinstance(error, Rejected) else None
    if isinstance(error, Erased):
        # No person can have it carried out, so it is refused and not parked.
        reason = str(error)
    if reason is None:
        is_answer = False
    elif record.process is None:
        # Refusing is an answer; the caller who sent the command from outside may look it up.
        is_answer = True
    else:
        is_answer = _is_heard(plan, record)
        if is_answer:
            step.process, step.instance = record.process, record.instance or ""
            step.extras = StepExtras(refusal=RefusalRecord(record, reason))
    if delivered.is_from_outside:
        step.given = record
        if reason is not None:
            packed = pack_refusal(error) if isinstance(error, Rejected) else None
            step.result = CommandResult(refusal=reason, error=packed)
    if is_answer or isinstance(error, Erased):
        decision.outcome = "rejected"
    elif not is_awaited:
        decision.outcome = "parked"
        step.park = parked_command(error, record, now)
    return decision


def _is_heard(plan: AggregatePlan, command: CommandRecord) -> bool:
    """Whether the instance that issued a command has a method for its refusal."""
    registry = plan.registry
    definition = registry.process_named(command.process or "")
    if definition is None:
        return False
    name = registry.name_today(command.type)
    return any(registry.name_of(one) == name for one in definition.rejections)
