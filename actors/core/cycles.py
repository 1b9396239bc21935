"""Chains of events that make one another and never end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import InfiniteLoopError

if TYPE_CHECKING:
    from ..authoring.decorators import Handler
    from ..model.plans import ProcessPlan
    from ..store import EventRecord
    from .ports import Reads

__all__ = ["SAMPLE", "refuse_cycle"]

SAMPLE = 8
"""Every so many links, a chain is looked at for coming back to itself."""


def refuse_cycle(
    plan: ProcessPlan,
    record: EventRecord,
    handler: Handler,
    reads: Reads,
) -> None:
    """Stop a chain that is too long, or that made the very same event before.

    It is asked for every `SAMPLE` links, when the chain is too long, and when the instance's last
    event was just the same.

    Args:
        plan: of the process manager
        record: the event
        handler: that would run
        reads: finds the events before it

    Raises:
        InfiniteLoopError: with the chain

    """
    depth = record.depth
    chain = [record]
    before = reads.event_before(record)
    while before is not None and len(chain) <= SAMPLE:
        chain.append(before)
        before = reads.event_before(before)
    same = any(
        (one.type, one.stream, one.data) == (record.type, record.stream, record.data)
        for one in chain[1:]
    )
    if same or depth >= plan.max_chain:
        told = " <- ".join(f"{one.type.split('.')[1]} ({one.event_id})" for one in chain)
        why = "makes the very event that caused it" if same else f"is {depth} events long"
        raise InfiniteLoopError(
            f"{plan.name}.{handler.name}: the chain {why}: {told}. End it in the "
            f"handler, or raise max_chain if it is meant to be this long"
        )
