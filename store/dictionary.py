"""The tables in dictionaries: for simulations, and for tests that need no disk."""

from __future__ import annotations

import os
import threading
from bisect import bisect_left, insort
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

from .errors import ClosedError, InvalidName, ReadOnlyStore, StoreError
from .interrupts import Latch
from .layout.schema import APPENDED, TABLES
from .storage_engine import KEPT, NOTHING, Ticket, have_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from .storage_engine import EngineReads, EngineSnapshot, Row, StorageEngine

__all__ = ["DictionaryEngine"]

T = TypeVar("T")

BRIEFLY = 0.000_1
"""Seconds between two looks while a commit is under way."""


class _Tables:
    """Tables, and their keys in order. Satisfies `EngineReads`."""

    def __init__(self, tables: dict[str, dict[bytes, bytes]], keys: dict[str, list[bytes]]) -> None:
        self._tables = tables
        self._keys = keys

    def get_many(self, keys: Sequence[tuple[str, bytes]]) -> list[bytes | None]:
        return [self._tables[table].get(key) for table, key in keys]

    def range(
        self, table: str, start: bytes, end: bytes, limit: int, *, backwards: bool = False
    ) -> list[Row]:
        rows, keys = self._tables[table], self._keys[table]
        first, last = bisect_left(keys, start), bisect_left(keys, end)
        if backwards:
            wanted = keys[max(first, last - limit) : last][::-1]
        else:
            wanted = keys[first : min(last, first + limit)]
        return [(key, rows[key]) for key in wanted]

    def newest(self, table: str, ranges: Sequence[tuple[bytes, bytes]]) -> list[Row | None]:
        rows, keys = self._tables[table], self._keys[table]
        found: list[Row | None] = []
        for start, end in ranges:
            last = bisect_left(keys, end)
            key = keys[last - 1] if last else b""
            found.append((key, rows[key]) if last and key >= start else None)
        return found


class _Snapshot(_Tables):
    """The tables of one moment, which a commit leaves as they are. Satisfies `EngineSnapshot`."""

    last_written = None

    def __init__(self) -> None:
        super().__init__({}, {})

    def take(
        self, tables: Mapping[str, dict[bytes, bytes]], keys: Mapping[str, list[bytes]]
    ) -> None:
        """Be of this moment."""
        self._tables, self._keys = dict(tables), dict(keys)

    def shares(self, table: str, rows: dict[bytes, bytes]) -> bool:
        """Whether it has these very rows."""
        return self._tables.get(table) is rows

    def get(self, table: str, key: bytes) -> bytes | None:
        return self._tables[table].get(key)

    def scan(self, table: str, start: bytes = b"", *, backwards: bool = False) -> Iterator[Row]:
        rows, keys = self._tables[table], self._keys[table]
        at = bisect_left(keys, start)
        places = range(at - 1, -1, -1) if backwards else range(at, len(keys))
        return ((keys[place], rows[keys[place]]) for place in places)

    def count(self, table: str) -> int:
        return len(self._tables[table])


class DictionaryEngine:
    """Tables that last as long as the object. Satisfies `StorageEngine`."""

    is_remote = False

    def __init__(self, *, read_only: bool = False) -> None:
        self.read_only = read_only
        self._tables: dict[str, dict[bytes, bytes]] = {table: {} for table in TABLES}
        self._keys: dict[str, list[bytes]] = {table: [] for table in TABLES}
        # Those that are looked at now.
        self._snapshots: set[_Snapshot] = set()
        # Held by a commit alone.
        self._lock = threading.Lock()
        self._commits = 0
        self._owner = os.getpid()
        self._is_closed = False

    def reopened(self) -> DictionaryEngine:
        """Another engine on the same tables, for a store that is opened again; closes this one."""
        self.close()
        return self.beside()

    def beside(self, *, read_only: bool = False) -> DictionaryEngine:
        """Another engine on the same tables, for another store on one thread.

        Args:
            read_only: whether that store only looks, and so sees what others commit

        """
        other = DictionaryEngine(read_only=read_only)
        other._tables, other._keys, other._lock = self._tables, self._keys, self._lock
        other._snapshots = self._snapshots
        return other

    @classmethod
    def copy_of(cls, snapshot: EngineSnapshot) -> DictionaryEngine:
        """An engine with a copy of all that the tables of another one hold."""
        made = cls()
        for table, rows in made._tables.items():
            rows.update(snapshot.scan(table))
            made._keys[table].extend(rows)
        return made

    def copied(self) -> DictionaryEngine:
        """Another engine with a copy of all that this one holds."""
        made = DictionaryEngine()
        with self._lock:
            made._tables = {table: rows.copy() for table, rows in self._tables.items()}
            made._keys = {table: keys.copy() for table, keys in self._keys.items()}
        return made

    def check_usable(self) -> None:
        if self._is_closed:
            raise ClosedError("the store in memory is closed")
        self.check_owner()

    def check_owner(self) -> None:
        # What a child would write to its copy, the parent would not see.
        if os.getpid() != self._owner:
            raise ReadOnlyStore(
                "the store in memory was made by another process before a fork, and is that one's "
                "alone; make one after the fork"
            )

    def get_many(self, keys: Sequence[tuple[str, bytes]]) -> list[bytes | None]:
        self.check_usable()
        if not all(key for _, key in keys):
            raise InvalidName("the store in memory cannot look for a name that is empty")
        return self._look(lambda: self._there.get_many(keys))

    def range(
        self, table: str, start: bytes, end: bytes, limit: int, *, backwards: bool = False
    ) -> list[Row]:
        self.check_usable()
        return self._look(lambda: self._there.range(table, start, end, limit, backwards=backwards))

    def newest(self, table: str, ranges: Sequence[tuple[bytes, bytes]]) -> list[Row | None]:
        self.check_usable()
        return self._look(lambda: self._there.newest(table, ranges))

    @property
    def _there(self) -> _Tables:
        return _Tables(self._tables, self._keys)

    @property
    def writer_reads(self) -> EngineReads:
        return self

    def _look(self, look: Callable[[], T]) -> T:
        """Look without a lock: once more, if a commit came between."""
        while True:
            number = self._commits
            if not self._lock.locked():
                try:
                    found = look()
                except (IndexError, KeyError):
                    if not self._has_moved(number):
                        raise
                else:
                    if not self._has_moved(number):
                        return found
            Latch().wait(BRIEFLY)

    def _has_moved(self, number: int) -> bool:
        return self._lock.locked() or self._commits != number

    def commit(
        self,
        puts: Mapping[str, Mapping[bytes, bytes]],
        deletes: Mapping[str, Collection[bytes]],
        rewritten: Mapping[str, Mapping[bytes, bytes]] = NOTHING,
    ) -> Ticket:
        self.check_usable()
        if self.read_only:
            raise ReadOnlyStore("the store in memory was opened for reading only")
        if not have_keys(puts, deletes):
            return Ticket("failed", StoreError("a key is empty or too long"))
        with self._lock:
            self._commits += 1
            self._check_order(puts)
            self._leave_to_snapshots({*puts, *deletes, *rewritten})
            for table, rows in puts.items():
                there, keys = self._tables[table], self._keys[table]
                for key, value in rows.items():
                    if key not in there:
                        insort(keys, key)
                    there[key] = value
            for table, gone in deletes.items():
                there, keys = self._tables[table], self._keys[table]
                for key in gone:
                    if there.pop(key, None) is not None:
                        del keys[bisect_left(keys, key)]
            for table, rows in rewritten.items():
                self._tables[table].update(rows)
        return KEPT

    def _leave_to_snapshots(self, changed: Iterable[str]) -> None:
        """Go on with copies of tables that are to change and that are looked at."""
        for one in tuple(self._snapshots):
            for table in changed:
                if one.shares(table, self._tables[table]):
                    self._tables[table] = self._tables[table].copy()
                    self._keys[table] = self._keys[table].copy()

    def _check_order(self, puts: Mapping[str, Mapping[bytes, bytes]]) -> None:
        for table in APPENDED & puts.keys():
            keys = [*self._keys[table][-1:], *puts[table]]
            if any(before >= after for before, after in pairwise(keys)):
                raise StoreError(f"rows for {table!r} do not come behind those that are there")

    @contextmanager
    def snapshot(self) -> Iterator[EngineSnapshot]:
        self.check_usable()
        found = _Snapshot()
        # Before it is of a moment, so that no commit that comes then overlooks it.
        self._snapshots.add(found)
        try:
            self._look(lambda: found.take(self._tables, self._keys))
            yield found
        finally:
            self._snapshots.discard(found)

    def close(self) -> None:
        self._is_closed = True


if TYPE_CHECKING:
    _satisfies_the_seam: Callable[[], StorageEngine] = DictionaryEngine
