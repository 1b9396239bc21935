"""The tables in dictionaries: for scenarios, and for simulations that need no disk."""

from __future__ import annotations

import threading
from bisect import bisect_left, insort
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .errors import ClosedError
from .layout.schema import TABLES
from .storage_engine import KEPT

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from .storage_engine import EngineSnapshot, Row, StorageEngine, Ticket

__all__ = ["DictionaryEngine"]


class _Snapshot:
    """A copy of the tables. Satisfies `EngineSnapshot`."""

    last_written = None

    def __init__(self, tables: dict[str, dict[bytes, bytes]], keys: dict[str, list[bytes]]) -> None:
        self._tables = {table: rows.copy() for table, rows in tables.items()}
        self._keys = {table: there.copy() for table, there in keys.items()}

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

    read_only = False

    def __init__(self) -> None:
        self._tables: dict[str, dict[bytes, bytes]] = {table: {} for table in TABLES}
        self._keys: dict[str, list[bytes]] = {table: [] for table in TABLES}
        self._lock = threading.Lock()
        self._is_closed = False

    def reopened(self) -> DictionaryEngine:
        """Another engine on the same tables, for a store that is opened again; closes this one."""
        self.close()
        other = DictionaryEngine()
        other._tables, other._keys, other._lock = self._tables, self._keys, self._lock
        return other

    def check_usable(self) -> None:
        if self._is_closed:
            raise ClosedError("the store in memory is closed")

    def get_many(self, keys: Sequence[tuple[str, bytes]]) -> list[bytes | None]:
        self.check_usable()
        with self._lock:
            return [self._tables[table].get(key) for table, key in keys]

    def range(
        self, table: str, start: bytes, end: bytes, limit: int, *, backwards: bool = False
    ) -> list[Row]:
        self.check_usable()
        with self._lock:
            rows, keys = self._tables[table], self._keys[table]
            first, last = bisect_left(keys, start), bisect_left(keys, end)
            if backwards:
                wanted = keys[max(first, last - limit) : last][::-1]
            else:
                wanted = keys[first : min(last, first + limit)]
            return [(key, rows[key]) for key in wanted]

    def newest(self, table: str, ranges: Sequence[tuple[bytes, bytes]]) -> list[Row | None]:
        self.check_usable()
        found: list[Row | None] = []
        with self._lock:
            rows, keys = self._tables[table], self._keys[table]
            for start, end in ranges:
                last = bisect_left(keys, end)
                key = keys[last - 1] if last else b""
                found.append((key, rows[key]) if last and key >= start else None)
        return found

    def commit(
        self,
        puts: Mapping[str, Mapping[bytes, bytes]],
        deletes: Mapping[str, Collection[bytes]],
    ) -> Ticket:
        self.check_usable()
        with self._lock:
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
        return KEPT

    @contextmanager
    def snapshot(self) -> Iterator[EngineSnapshot]:
        self.check_usable()
        with self._lock:
            copied = _Snapshot(self._tables, self._keys)
        yield copied

    def close(self) -> None:
        self._is_closed = True


if TYPE_CHECKING:
    _satisfies_the_seam: Callable[[], StorageEngine] = DictionaryEngine
