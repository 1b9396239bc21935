"""Rows that come in any order and are wanted in that of their keys, kept on disk meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from .rewriting import ROOM, gone_on_failure, in_parts, new_environment, refusals_of_the_disk

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import lmdb
    from lmdb import _Database

    from .rewriting import Rows

__all__ = ["Sorter"]

ADDED_AT_ONCE = 10_000
"""Rows that are written together."""


class Sorter:
    """A file of its own for rows that are put first, and read in the order of their keys then.

    Args:
        file: is made, and removed at the end
        tables: by which rows are told apart
        size: bytes that the file may come to have, beside some room

    """

    def __init__(self, file: Path, tables: Sequence[str], size: int) -> None:
        self._file = file
        self._added: dict[str, list[tuple[bytes, bytes]]] = {}
        self._count = 0
        self._looking: lmdb.Transaction | None = None
        # Here, where it is known that what fails is the writing.
        with refusals_of_the_disk(file):
            file.unlink(missing_ok=True)
            with gone_on_failure(file):
                self._env = new_environment(file, len(tables), size + ROOM)
                try:
                    self._db: dict[str, _Database] = {
                        table: self._env.open_db(table.encode()) for table in tables
                    }
                except BaseException:
                    self._env.close()
                    raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end_look()
        self._env.close()
        self._file.unlink(missing_ok=True)

    def put(self, table: str, rows: Rows) -> None:
        """Take up rows; `rows` may not be under way meanwhile, and what comes again is replaced."""
        self._end_look()
        for some in in_parts(rows):
            with (
                refusals_of_the_disk(self._file),
                self._env.begin(write=True) as txn,
                txn.cursor(self._db[table]) as cursor,
            ):
                cursor.putmulti(some)

    def add(self, table: str, key: bytes, value: bytes) -> None:
        """Take up a row, which is written with others."""
        self._added.setdefault(table, []).append((key, value))
        self._count += 1
        if self._count >= ADDED_AT_ONCE:
            self._write_added()

    def _write_added(self) -> None:
        if self._count:
            added, self._added, self._count = self._added, {}, 0
            for table, rows in added.items():
                self.put(table, iter(rows))

    def rows(self, table: str) -> Rows:
        """All that was put, in the order of the keys."""
        self._write_added()
        with self._env.begin() as txn, txn.cursor(self._db[table]) as cursor:
            yield from cursor

    def get(self, table: str, key: bytes) -> bytes | None:
        """What was put under a key."""
        self._write_added()
        found = self._look().get(key, db=self._db[table])
        return None if found is None else bytes(found)

    def up_to(self, table: str, key: bytes) -> tuple[bytes, bytes] | None:
        """The last row whose key is not above one."""
        self._write_added()
        with self._look().cursor(self._db[table]) as cursor:
            found = cursor.set_range(key)
            if not (found and cursor.key() == key):
                # Without a key that is not below it, the last one of all.
                found = cursor.prev() if found else cursor.last()
            return (bytes(cursor.key()), bytes(cursor.value())) if found else None

    def _look(self) -> lmdb.Transaction:
        if self._looking is None:
            self._looking = self._env.begin()
        return self._looking

    def _end_look(self) -> None:
        # Pages that it reads would be taken for free by what is written.
        if self._looking is not None:
            self._looking.abort()
            self._looking = None
