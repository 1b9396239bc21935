"""What a simulated run begins with: nothing, or what another simulation or a store has stored."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from ...capsule import Capsule, is_capsule
from ...clock import from_micros
from ...store import (
    DictionaryEngine,
    Partition,
    Store,
    divided_store,
    fitting_snapshots,
    forget_codec,
    open_store,
)

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence
    from datetime import datetime
    from typing import Self

    from ...store import PayloadCodec

__all__ = ["Beginning"]

FAMILY = "simulated"
"""What tells the partitions of a simulated divided store that begins with nothing."""


class Beginning:
    """Tables that many runs may begin with, each with a copy of its own.

    Args:
        tables: which are not written to: of one store, or of each partition of a divided one, in
            order; without any, runs begin with nothing
        family: of a divided store, what tells its partitions from those of another one
        start: the first time of a run that begins with them; of tables that hold something, the
            time of their newest event or transition

    Attributes:
        parked: under which numbers something is parked already

    """

    def __init__(
        self,
        tables: Sequence[DictionaryEngine] = (),
        *,
        family: str = "",
        start: datetime | None = None,
    ) -> None:
        self._tables = tables
        self.is_divided = bool(family)
        self.family = family or FAMILY
        self.start = start
        self.parked = frozenset(
            number * len(tables) + place
            for place, store in enumerate(self.stores())
            for number, _ in store.scan_parked_through()
        )

    @property
    def count(self) -> int:
        """How many tables there are to begin with; 0 for nothing."""
        return len(self._tables)

    @classmethod
    def of_place(cls, place: str | os.PathLike[str], *, codec: PayloadCodec | None = None) -> Self:
        """What a store has, which is only read, or an incident capsule.

        A service may be writing to the store meanwhile.

        Args:
            place: where it is
            codec: of a store that has one; the tables in memory are decoded, and have none

        Raises:
            WrongCodec: another codec wrote the store, or none
            StoreError: there is no store, or it cannot be read
            CapsuleError: the file is no capsule, or was damaged

        """
        if is_capsule(place):
            return cls._of(*Capsule(place).in_memory())
        divided = divided_store(place)
        with ExitStack() as stack:
            if divided is None:
                stores = [stack.enter_context(open_store(place, read_only=True, codec=codec))]
            else:
                stores = [
                    stack.enter_context(divided.open(one, read_only=True, codec=codec))
                    for one in range(divided.count)
                ]
            snapshots = stack.enter_context(fitting_snapshots(stores, decoded=True))
            tables = [DictionaryEngine.copy_of(snapshot) for snapshot in snapshots]
        if codec is not None:
            for one in tables:
                forget_codec(one)
        return cls._of(tables, "" if divided is None else divided.family)

    @classmethod
    def _of(cls, tables: Sequence[DictionaryEngine], family: str) -> Self:
        made = cls(tables, family=family)
        times = [time for store in made.stores() if (time := store.newest_time()) is not None]
        made.start = from_micros(max(times)) if times else None
        return made

    def stores(self) -> list[Store]:
        """The tables as stores."""
        if not self.is_divided:
            return [Store(tables) for tables in self._tables]
        return [
            Store(tables, partition=Partition(number, self.count), family=self.family)
            for number, tables in enumerate(self._tables)
        ]

    def tables(self) -> list[DictionaryEngine]:
        """The tables for one run; none for a run that begins with nothing."""
        return [tables.copied() for tables in self._tables]
