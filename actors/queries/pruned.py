"""What is told of what was pruned, in the place of what is asked of it, and to who reads on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from ..clock import from_micros
from ..errors import Pruned

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..store import CorruptRecord, EventRecord, Store, TombstoneRecord

__all__ = ["pruned_behind", "refuse_pruned", "refuse_pruned_behind", "unpruned"]

PAGE = 256
"""Events after which it is looked whether some were pruned meanwhile."""


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


def pruned_behind(store: Store, position: int) -> int:
    """The newest position of an event that was pruned, if it is behind another one; else 0."""
    newest = store.pruned_up_to().events
    return newest if newest > position else 0


def refuse_pruned_behind(store: Store, position: int) -> None:
    """Say that a reader who goes on behind a position would miss what was pruned.

    Raises:
        Pruned: some of the events behind the position were pruned

    """
    newest = pruned_behind(store, position)
    if newest:
        raise Pruned(
            f"after={position}: events behind it were pruned, up to position {newest}; an archive "
            f"may have them, and past_pruned=True goes on with what is there"
        )


def unpruned(store: Store, after: int) -> Iterator[tuple[int, EventRecord | CorruptRecord]]:
    """The log behind a position, for as long as all of it that was not read yet is there.

    Raises:
        Pruned: something was pruned meanwhile that was not read

    """
    seen = after
    for number, (position, record) in enumerate(store.scan_log_through(after), 1):
        if number % PAGE == 0:
            refuse_pruned_behind(store, seen)
        yield position, record
        seen = position
    refuse_pruned_behind(store, seen)
