"""What a simulated run begins with: nothing, or what another simulation or a store has stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...capsule import Capsule, is_capsule
from ...clock import from_micros
from ...store import DictionaryEngine, Store, open_store

if TYPE_CHECKING:
    import os
    from datetime import datetime

__all__ = ["Beginning"]


class Beginning:
    """Tables that many runs may begin with, each with a copy of its own.

    Args:
        tables: which are not written to; without any, runs begin with nothing
        start: the first time of a run that begins with them; of tables that hold something, the
            time of their newest event or transition

    Attributes:
        parked: under which numbers something is parked already

    """

    def __init__(
        self, tables: DictionaryEngine | None = None, start: datetime | None = None
    ) -> None:
        self._tables = tables
        self.start = start
        self.parked = frozenset(
            () if tables is None else (number for number, _ in Store(tables).scan_parked_through())
        )

    @property
    def has_tables(self) -> bool:
        """Whether there is anything to begin with."""
        return self._tables is not None

    @classmethod
    def of_place(cls, place: str | os.PathLike[str]) -> Beginning:
        """What a store has, which is only read, or an incident capsule.

        A service may be writing to the store meanwhile.

        Raises:
            StoreError: there is no store, or it cannot be read
            CapsuleError: the file is no capsule, or it is of a divided store

        """
        if is_capsule(place):
            tables = Capsule(place).in_memory()
        else:
            with open_store(place, read_only=True) as store, store.snapshot() as snapshot:
                tables = DictionaryEngine.copy_of(snapshot)
        newest = Store(tables).newest_time()
        return cls(tables, None if newest is None else from_micros(newest))

    def tables(self) -> DictionaryEngine:
        """The tables for one run."""
        return DictionaryEngine() if self._tables is None else self._tables.copied()
