"""Checks what is under way or set aside: the queue, refusals, what is parked and was decided."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..layout.frames import number
from ..layout.schema import BlockRow, instance_key, parked_at_key
from ..open_counts import kind_of_parked
from ..records import FROM_OUTSIDE, PASSED_OVER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..layout.schema import CommandRow, ParkedRow, RefusalRow
    from .inspecting import Inspection

__all__ = ["check_work"]


def check_work(inspection: Inspection) -> None:
    """Go through all tables of work that is not done."""
    for key, sequence, command in inspection.rows("queue"):
        inspection.say_all("queue", key, _of_queued(inspection, sequence, command))
        inspection.say_unknown("queue", key, "command", command.type)
    for key, _, refusal in inspection.rows("refusals"):
        inspection.say_all("refusals", key, _of_refusal(inspection, refusal))
        inspection.say_unknown("refusals", key, "command", refusal.command.type)
    for table in ("parked", "decided"):
        for key, parking_number, parked in inspection.rows(table):
            inspection.say_all(table, key, _of_parked(inspection, table, parking_number, parked))
            inspection.say_unknown(table, key, "process", parked.process)
            if table == "parked":
                inspection.counts["parked", *kind_of_parked(parked)] += 1
            if parked.command is not None:
                inspection.say_unknown(table, key, "command", parked.command.type)
    for key, _, parking_number in inspection.rows("parked_at"):
        inspection.say_all("parked_at", key, _of_parked_at(inspection, key, parking_number))


def _of_queued(inspection: Inspection, sequence: int, command: CommandRow) -> Iterator[str]:
    if (sequence > FROM_OUTSIDE) != (command.process is None):
        yield f"is in the wrong lane for a command of {command.process or 'a caller outside'}"
    yield from inspection.problems_of_command(command)


def _of_refusal(inspection: Inspection, refusal: RefusalRow) -> Iterator[str]:
    if refusal.command.process is None:
        yield "is of a command that no instance issued"
    yield from inspection.problems_of_command(refusal.command)


def _of_parked(
    inspection: Inspection, table: str, parking_number: int, parked: ParkedRow
) -> Iterator[str]:
    # Whatever was parked is in one of the two, so their numbers are dense together behind what
    # was pruned.
    key = number(parking_number - 1)
    is_there = inspection.has("parked", key) or inspection.has("decided", key)
    may_miss = parking_number - 1 <= inspection.pruned.parked or inspection.is_excerpt
    if not (is_there or may_miss):
        yield f"comes where {parking_number - 1} is missing"
    if (parked.decision is None) != (table == "parked"):
        yield f"has {'no' if parked.decision is None else 'a'} decision"
    if parked.position:
        event = inspection.event(parked.position)
        if event is None:
            yield f"is about position {parked.position}, which the log does not have"
        elif parked.cause not in {event.id, f"position {parked.position}"}:
            yield f"is about {parked.cause}, and position {parked.position} is {event.id}"
    if parked.command is not None:
        if parked.command.command_id != parked.cause:
            yield f"is about {parked.cause}, and has command {parked.command.command_id}"
        yield from inspection.problems_of_command(parked.command)
    if table == "parked":
        yield from _of_undecided(inspection, parking_number, parked)
    elif inspection.has("parked", number(parking_number)):
        yield "was decided, and is parked as well"


def _of_undecided(inspection: Inspection, parking_number: int, parked: ParkedRow) -> Iterator[str]:
    if parked.position:
        there = inspection.look("parked_at", parked_at_key(parked))
        if there != parking_number:
            yield f"is for a position for which parked_at has {there or 'nothing'}"
    if parked.sequence and inspection.look("refusals", number(parked.sequence)) is None:
        yield f"is about refusal {parked.sequence}, which is not there"
    if parked.blocks:
        key = instance_key(parked.process, parked.instance) + bytes(8)
        block = inspection.look("waiting", key)
        if not isinstance(block, BlockRow) or block.parked != parking_number:
            yield f"is to block {parked.process} {parked.instance}, which is not blocked by it"


def _of_parked_at(inspection: Inspection, key: bytes, parking_number: int) -> Iterator[str]:
    parked: ParkedRow | None = inspection.look("parked", number(parking_number))
    if parked is None:
        decided: ParkedRow | None = inspection.look("decided", number(parking_number))
        if (
            decided is not None
            and decided.decision is not None
            and decided.decision[0] in PASSED_OVER
        ):
            parked = decided
    if parked is None:
        yield f"is for parked {parking_number}, which is not there"
    elif key != parked_at_key(parked):
        yield f"is for parked {parking_number}, which is about something else"
