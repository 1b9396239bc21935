"""Chains of events and commands that have no end; what tells is the log, never memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import InfiniteLoopError
from ..store import checksum_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..authoring.cause import Cause
    from ..authoring.decorators import Handler
    from ..messages.types import Event
    from ..model.plans import ProcessPlan
    from ..store import EventRecord
    from .ports import Chain, Link, Reads
    from .process_state import ProcessState

__all__ = ["refuse_echo", "refuse_endless"]

LOOKBACK = 64
"""Links of a chain that are looked at, so that a long chain costs no more for each link."""

STRIDE = 8
"""Beyond so many links as are looked at, every so many links a chain is looked at again: one that
comes back to itself does so again and again."""

TOLD = 8
"""Links that an error tells of."""


def refuse_endless(plan: ProcessPlan, cause: Cause, handler: Handler, reads: Chain) -> None:
    """Stop a chain of `max_chain` events, refusals, and timeouts that were due at once.

    Both handlers and after-effects that issue commands are stopped; what else an effect does in
    the world, it has done.

    Args:
        plan: of the process manager
        cause: what is to be handled
        handler: that would run
        reads: finds what came before

    Raises:
        InfiniteLoopError: with the end of the chain

    """
    told = [f"{_short(cause.type)} ({cause.id})"]
    if cause.event is not None:
        told = [_told(cause.event), *(_told(link.event) for link in _links(cause.event, reads))]
    raise InfiniteLoopError(
        f"{plan.name}.{handler.name}: the chain is {cause.depth} events long, with refusals and "
        f"timeouts that were due at once: {' <- '.join(told[:TOLD])}. End it in the handler; or, "
        f"if it is meant to be this long, open the runtime with a max_chain of more than "
        f"{plan.max_chain}, and retry"
    )


def refuse_echo(
    plan: ProcessPlan, state: ProcessState, record: EventRecord, event: Event, reads: Reads
) -> None:
    """Stop a chain in which the same event meets the same state of the same instance again.

    What was decided then would be decided now, and so on for ever. An instance of a stateless
    process manager always meets the same state. Behind an after-effect it is not looked: what that
    issues comes of the world as well, which may be another one by then.

    Args:
        plan: of the process manager
        state: the instance before the event
        record: the event
        event: what was read of it
        reads: finds what came before

    Raises:
        InfiniteLoopError: with the chain

    """
    if record.depth > LOOKBACK and record.depth % STRIDE:
        return
    chain = [_told(record)]
    for link in _links(record, reads):
        before = link.event
        chain.append(_told(before))
        if (
            link.process == plan.name
            and (before.type, before.stream, before.data)
            == (record.type, record.stream, record.data)
            and (
                plan.definition.stateless
                or (
                    link.instance == state.instance and _is_as_then(plan, state, link, event, reads)
                )
            )
        ):
            raise InfiniteLoopError(
                f"{plan.name} {state.instance!r}: the chain makes the very event that caused it, "
                f"and the state is the same as then, so it would go on for ever: "
                f"{' <- '.join(chain)}. End it in the handler, or have a field tell how often "
                f"it came"
            )


def _links(record: EventRecord, reads: Chain) -> Iterator[Link]:
    """What came before an event in its chain, newest first, as far as it is looked at."""
    for _ in range(LOOKBACK):
        link = reads.link_before(record)
        if link is None:
            return
        yield link
        record = link.event


def _is_as_then(
    plan: ProcessPlan, state: ProcessState, link: Link, event: Event, reads: Reads
) -> bool:
    """Whether the state is as it was before the transition that issued the command of a link."""
    definition, before = plan.definition, link.version - 1
    then = reads.stored_transition(plan.name, link.instance, before) if before else None
    now_begins = state.is_complete or not state.version
    if not before or (then is not None and then.is_complete):
        # It began with that event.
        fresh, _ = definition.state.exchange(definition.begin(link.instance, event).__dict__)
        return now_begins or state.fields == fresh
    if then is None or now_begins or then.state_version != state.fields_version:
        return False
    # By their checksums, since to read a large state may take as long as to make all its changes.
    return checksum_of(then.state, then.base) == checksum_of(state.fields, 0)


def _told(event: EventRecord) -> str:
    return f"{_short(event.type)} ({event.event_id})"


def _short(wire_type: str) -> str:
    return wire_type.split(".")[1] if "." in wire_type else wire_type
