"""Which partition an id belongs to, when a store is one of several.

What has the same id lies together: an order, its payment and the instance that follows it.
"""

from __future__ import annotations

from functools import lru_cache
from zlib import crc32

from msgspec import Struct

from .errors import StoreError

__all__ = ["MOST_PARTITIONS", "Partition", "deciding_part", "partition_of"]

MOST_PARTITIONS = 4_096
"""Partitions that a store can be divided into, at most."""

SPREAD = 0x9E3779B1
"""Odd, and near the golden ratio's part of 2**32: ids that differ little come far apart."""

REMEMBERED = 8_192
"""Ids whose partitions are remembered: a chain asks several times for each of its few ids."""


@lru_cache(maxsize=REMEMBERED)
def partition_of(name: str, count: int) -> int:
    """The partition of an id, the same on every machine and for ever.

    Args:
        name: the id of an instance or an aggregate, or the value of a learnt key; if a part of it
            is in braces (``{c7}o1``), that part alone decides, so that ids which share it lie
            together, as with the hash tags of Redis Cluster
        count: how many partitions there are

    """
    begin = name.find("{") + 1
    # An empty part says nothing, and would put all ids that have one into one partition.
    if begin and (end := name.find("}", begin)) > begin:
        name = name[begin:end]
    return ((crc32(name.encode()) * SPREAD & 0xFFFFFFFF) * count) >> 32


def deciding_part(stream: str) -> str:
    """What of a stream's name decides where it belongs: what follows its category, if anything."""
    _, dash, name = stream.partition("-")
    return name if dash else stream


class Partition(Struct, frozen=True):
    """One of the partitions of a divided store.

    Attributes:
        number: from 0
        count: how many there are

    """

    number: int
    count: int

    def has(self, name: str) -> bool:
        """Whether an id belongs here."""
        return partition_of(name, self.count) == self.number

    def of(self, name: str) -> int:
        """The partition of an id."""
        return partition_of(name, self.count)

    def of_stream(self, stream: str) -> int:
        """The partition of a stream: that of what follows its category, if anything does."""
        return partition_of(deciding_part(stream), self.count)

    def check(self) -> None:
        """Refuse what cannot be.

        Raises:
            StoreError: there are too few or too many, or the number is not one of them

        """
        if not 1 <= self.count <= MOST_PARTITIONS:
            raise StoreError(f"a store has 1 to {MOST_PARTITIONS} partitions, not {self.count}")
        if not 0 <= self.number < self.count:
            raise StoreError(
                f"the partitions of a store of {self.count} are 0 to {self.count - 1}, and "
                f"{self.number} is none of them"
            )
