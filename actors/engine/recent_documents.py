"""Documents of a projection as they are in the store: those of one batch, and the last before it.

In a database elsewhere each look is a trip, and a batch asks for the same documents as the one
before it. Between batches alone these are bounded: a batch has in memory what it reads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Place", "RecentDocuments"]

Place: TypeAlias = tuple[int, str]
"""A generation, and a key in it."""

OWN = 100
"""Bytes that an entry takes beside its key and its document, about."""


class RecentDocuments:
    """What was read and written of late; who else writes these documents has them forgotten.

    Args:
        size: bytes of those that are kept from one batch to the next, about

    """

    def __init__(self, size: int) -> None:
        self._most = size
        self._size = 0
        # In order of use, the last one last.
        self._packed: dict[Place, bytes | None] = {}

    def __contains__(self, place: Place) -> bool:
        return place in self._packed

    def __getitem__(self, place: Place) -> bytes | None:
        packed = self._packed[place] = self._packed.pop(place)
        return packed

    def __setitem__(self, place: Place, packed: bytes | None) -> None:
        if place in self._packed:
            self._size -= _size_of(place, self._packed.pop(place))
        self._packed[place] = packed
        self._size += _size_of(place, packed)

    def take(self, written: Mapping[Place, bytes | None]) -> None:
        """Those were written."""
        for place, packed in written.items():
            self[place] = packed

    def shrink(self) -> None:
        """A batch is over: let go of those that were not used for the longest time."""
        while self._size > self._most:
            place = next(iter(self._packed))
            self._size -= _size_of(place, self._packed.pop(place))

    def clear(self) -> None:
        """Forget all."""
        self._packed, self._size = {}, 0


def _size_of(place: Place, packed: bytes | None) -> int:
    return OWN + len(place[1]) + len(packed or b"")
