"""Checks what is between the partitions of a divided store, as far as one of them can tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..layout.schema import first_in, outgoing_key
from ..partitions import MOST_PARTITIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..layout.schema import PartitionRow, SentRow
    from .inspecting import Inspection

__all__ = ["check_lanes"]


def check_lanes(inspection: Inspection) -> None:
    """Go through the tables that only a divided store uses."""
    own: PartitionRow | None = None
    for key, name, row in inspection.rows("partitions"):
        if name != "own":
            inspection.say("partitions", key, "is no name of the format")
        elif not row.number < row.count <= MOST_PARTITIONS:
            inspection.say("partitions", key, f"is partition {row.number} of {row.count}")
        else:
            own = row
    before = (-1, 0)
    for key, (target, sequence), row in inspection.rows("outgoing"):
        first = first_in(key, row)
        if first < 1:
            inspection.say("outgoing", key, f"has {len(row)} messages, and {sequence} were sent")
        # A row that cannot be read is reported, and is no gap.
        elif (
            target == before[0]
            and first != before[1] + 1
            and inspection.key_behind("outgoing", outgoing_key(*before)) == key
        ):
            inspection.say("outgoing", key, f"comes where {before[1] + 1} is missing")
        before = (target, sequence)
        for message in row:
            inspection.say_all("outgoing", key, _of_sent(own, target, message))
            inspection.say_unknown("outgoing", key, "process", message.process)
    for key, source, _ in inspection.rows("cursors"):
        if not _is_other(own, source):
            inspection.say("cursors", key, "is of a lane from a partition that there is not")


def _of_sent(own: PartitionRow | None, target: int, message: SentRow) -> Iterator[str]:
    if not _is_other(own, target):
        yield "is for a partition that there is not"
    said = [message.event, message.command, message.refusal, message.learnt]
    if sum(one is not None for one in said) != 1:
        yield "has not just one of an event, a command, a refusal and a learnt key"
    if (message.event is None) != (not message.process):
        yield "has an event for no process manager, or is for one without an event"


def _is_other(own: PartitionRow | None, partition: int) -> bool:
    return own is not None and partition < own.count and partition != own.number
