"""What is told of an event that was pruned, in the place of what is asked of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from ..clock import from_micros
from ..errors import Pruned

if TYPE_CHECKING:
    from ..store import TombstoneRecord

__all__ = ["refuse_pruned"]


class Tombstones(Protocol):
    """A store, or all partitions of one."""

    def tombstone_at(self, position: int) -> TombstoneRecord | None:
        """What stays of the event at a position, if it was pruned."""
        ...


def refuse_pruned(store: Tombstones, position: int) -> None:
    """Say that the event at a position was pruned, if it was.

    Raises:
        Pruned: it was

    """
    found = store.tombstone_at(position)
    if found is not None:
        raise Pruned(
            f"event {found.event_id!r}, a {found.type} of {from_micros(found.time)}, was pruned; "
            f"an archive may have it"
        )
