"""What stays of a pruned instance: one more transition, which says that it was complete."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..errors import InvalidMessage, UnknownMessage
from ..store import PRUNED, Step, TransitionRecord

if TYPE_CHECKING:
    from ..model.plans import ProcessPlan

__all__ = ["keys_kept", "tombstone"]

HANDLER = "pruned"
"""What its transition names in the place of a method."""


def tombstone(plan: ProcessPlan, instance: str, last: TransitionRecord, now: int) -> Step:
    """The step after which an instance's other transitions may go.

    Its learnt keys stay, so that events find it as they find one that is complete; other fields
    have the values with which an instance begins.

    Args:
        plan: of the process manager
        instance: the instance's id
        last: its newest transition, which ended it, with its whole state
        now: the time, in microseconds

    """
    definition = plan.definition
    fields, _ = definition.state.exchange(definition.state.fresh() | _learnt(plan, last))
    transition = TransitionRecord(
        last.version + 1,
        now,
        HANDLER,
        True,
        PRUNED,
        last.correlation_id,
        last.seen,
        fields,
        state_version=definition.state_version,
        run=last.run,
        code=plan.code,
    )
    return Step(process=plan.name, instance=instance, transition=transition)


def keys_kept(
    plan: ProcessPlan, last: TransitionRecord
) -> list[tuple[str, str | None, str | None]]:
    """The learnt keys of an instance that go when nothing stays of it."""
    definition = plan.definition
    values = _learnt(plan, last)
    if not values:
        return []
    keys = definition.state.keys_of(definition.state.fresh() | values)
    return [(field, key, None) for field, held in keys.items() for key in held]


def _learnt(plan: ProcessPlan, last: TransitionRecord) -> dict[str, Any]:
    """The values of the fields by which events find the instance."""
    definition = plan.definition
    if not definition.state.indexed:
        return {}
    # What does not fit the class as it is today has no keys of today's.
    with suppress(InvalidMessage, UnknownMessage):
        values = definition.state_of(last)
        return {field: values[field] for field in definition.state.indexed}
    return {}
