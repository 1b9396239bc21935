"""The tables in one LMDB file."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import lmdb

from ..errors import DamagedStore, FailingDisk, LostStore, StoreError
from ..layout.schema import APPENDED
from ..storage_engine import KEPT, LONGEST_KEY, NOTHING, Ticket
from .environment import Environment
from .looks import KeptReads, get_many, in_order, newest, rows_between

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import TypeAlias

    from lmdb import _Database

    from ..storage_engine import EngineReads, EngineSnapshot, Row, StorageEngine
    from .environment import Durability

    Txn: TypeAlias = lmdb.Transaction[bytes]

__all__ = ["LmdbEngine", "Snapshot"]

TICK = 10_000
"""Microseconds that a file's time may be behind: it is that of the kernel's last tick."""

PER_ROW = 1 << 12
"""Bytes that one row may take while a transaction changes the pages around it."""


class Snapshot(NamedTuple):
    """The whole store in one read transaction. Satisfies `EngineSnapshot`."""

    env: lmdb.Environment
    txn: Txn
    tables: dict[str, _Database]
    fd: int

    @property
    def last_written(self) -> int:
        return os.fstat(self.fd).st_mtime_ns // 1000 + TICK

    def get(self, table: str, key: bytes) -> bytes | None:
        try:
            return self.txn.get(key, db=self.tables[table])
        except lmdb.Error as error:
            if not 0 < len(key) <= LONGEST_KEY:
                return None
            raise _unreadable(error) from error

    def get_many(self, keys: Sequence[tuple[str, bytes]]) -> list[bytes | None]:
        try:
            return get_many(self.txn, self.tables, keys)
        except lmdb.Error:
            # One of them may be longer than any key.
            return [self.get(table, key) for table, key in keys]

    def range(
        self, table: str, start: bytes, end: bytes, limit: int, *, backwards: bool = False
    ) -> list[Row]:
        try:
            return rows_between(
                self.txn, self.tables[table], start, end, limit, backwards=backwards
            )
        except lmdb.Error as error:
            raise _unreadable(error) from error

    def newest(self, table: str, ranges: Sequence[tuple[bytes, bytes]]) -> list[Row | None]:
        try:
            return newest(self.txn, self.tables[table], ranges)
        except lmdb.Error as error:
            raise _unreadable(error) from error

    def scan(self, table: str, start: bytes = b"", *, backwards: bool = False) -> Iterator[Row]:
        try:
            with self.txn.cursor(self.tables[table]) as cursor:
                if backwards:
                    found = cursor.prev() if cursor.set_range(start) else cursor.last()
                else:
                    found = cursor.set_range(start)
                if found:
                    rows = cursor.iterprev() if backwards else cursor.iternext()
                    yield from in_order(rows, start, backwards=backwards)
        except lmdb.Error as error:
            raise _unreadable(error) from error

    def count(self, table: str) -> int:
        try:
            return self.txn.stat(self.tables[table])["entries"]
        except lmdb.Error as error:
            raise _unreadable(error) from error


def _unreadable(error: lmdb.Error) -> DamagedStore:
    return DamagedStore(f"LMDB cannot read on: {error}")


class LmdbEngine:
    """Tables in one LMDB file. Satisfies `StorageEngine`.

    Args:
        path: the folder; made when it is missing
        durability: ``"fsync"`` survives a power cut; ``"os"`` survives the end of the process,
            and is synced when it is closed; ``"none"`` is never synced
        read_only: read beside a writer, in this process or another
        map_size: bytes of the first memory map; it grows by itself
        prepare: called with the environment to check and open the tables, as the first of those
            who share it

    """

    is_remote = False

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        durability: Durability,
        read_only: bool,
        map_size: int,
        prepare: Callable[[Environment, dict[str, _Database]], None],
    ) -> None:
        self.environment = environment = Environment(
            path, read_only=read_only, durability=durability, map_size=map_size
        )
        self.read_only = read_only
        self._write_lock = threading.Lock() if read_only else environment.writing
        self._snapshot_lock = threading.Lock()
        try:
            # Those of the writer are taken where there is one in this process: to open a table,
            # LMDB waits for the writer with the interpreter's lock held, and that one may wait
            # for this.
            with environment.tables() as tables:
                prepare(environment, tables)
            self._db = tables
            self._writer_reads = KeptReads(environment, tables)
            if not read_only:
                self._writer_reads.take_place()
        except BaseException:
            environment.close()
            raise

    def check_usable(self) -> None:
        self.environment.check_usable()

    def check_owner(self) -> None:
        if self.environment.is_inherited:
            self.environment.check_usable()

    def get_many(self, keys: Sequence[tuple[str, bytes]]) -> list[bytes | None]:
        return self.environment.look(lambda txn: get_many(txn, self._db, keys))

    def range(
        self, table: str, start: bytes, end: bytes, limit: int, *, backwards: bool = False
    ) -> list[Row]:
        return self.environment.look(
            lambda txn: rows_between(txn, self._db[table], start, end, limit, backwards=backwards)
        )

    def newest(self, table: str, ranges: Sequence[tuple[bytes, bytes]]) -> list[Row | None]:
        return self.environment.look(lambda txn: newest(txn, self._db[table], ranges))

    @property
    def writer_reads(self) -> EngineReads:
        """In one transaction that is kept until the next commit; not of what is only read."""
        return self if self.read_only else self._writer_reads

    def commit(
        self,
        puts: Mapping[str, Mapping[bytes, bytes]],
        deletes: Mapping[str, Collection[bytes]],
        rewritten: Mapping[str, Mapping[bytes, bytes]] = NOTHING,
    ) -> Ticket:
        environment = self.environment
        environment.check_writable()
        with self._write_lock:
            # Once more: it may have been closed while this waited.
            environment.check_usable()
            size = PER_ROW * sum(map(len, (*puts.values(), *rewritten.values())))
            try:
                environment.make_room(size)
            except lmdb.Error as error:
                return self._failed(error)
            while True:
                try:
                    with environment.begin_write() as txn:
                        self._write(txn, puts, deletes)
                        for table, rows in rewritten.items():
                            with txn.cursor(self._db[table]) as cursor:
                                cursor.putmulti(list(rows.items()))
                        # Nothing is written to a file that the folder has no more.
                        environment.refuse_lost()
                except LostStore as lost:
                    return Ticket("failed", lost)
                except lmdb.MapFullError:
                    environment.grow()
                    continue
                except lmdb.Error as error:
                    return self._failed(error)
                finally:
                    # Also of one that was interrupted, which may be there.
                    environment.shared_read.forget()
                return KEPT

    def _failed(self, error: lmdb.Error) -> Ticket:
        """What a commit comes to that LMDB refused; LMDB is opened again if it has given up."""
        ours = self.environment.error(error, "committing")
        try:
            self.environment.reopen()
        except StoreError as again:
            # The next one who reads or commits tries it anew, and is told the same.
            ours.add_note(f"it could not be opened again yet: {again}")
        # On the way to disk the last page counts; the number of the commit tells whether it came.
        return Ticket("unknown" if isinstance(ours, FailingDisk) else "failed", ours)

    def _write(
        self,
        txn: Txn,
        puts: Mapping[str, Mapping[bytes, bytes]],
        deletes: Mapping[str, Collection[bytes]],
    ) -> None:
        for table, rows in puts.items():
            if table in APPENDED:
                with txn.cursor(self._db[table]) as cursor:
                    consumed, added = cursor.putmulti(rows.items(), append=True)
                if consumed != added:
                    raise StoreError(f"rows for {table!r} do not come behind those that are there")
            else:
                with txn.cursor(self._db[table]) as cursor:
                    # In order, so that neighbours on a page are written one after the other.
                    cursor.putmulti([(key, rows[key]) for key in sorted(rows)])
        for table, keys in deletes.items():
            db = self._db[table]
            for key in keys:
                txn.delete(key, db=db)

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """The whole store as it is now, for as long as the block lasts; one at a time.

        Commits go on, and `close` waits. Pages that are freed meanwhile are not used again.
        """
        environment = self.environment
        # First, since a lock that a parent held at a fork is never released here.
        environment.check_usable()
        with self._snapshot_lock:
            environment.check_usable()
            # If LMDB has given up, it is opened again here.
            environment.look(lambda _: None)
            if not environment.read_only:
                with self._write_lock:
                    environment.make_spare()
            with environment.reading_for_long() as txn:
                yield Snapshot(environment.env, txn, self._db, environment.fd)

    def look_after(self) -> None:
        """Give back the places of readers that have died, and look whether the locks are there.

        Raises:
            StoreError: LMDB cannot look at its table

        """
        self.environment.look_after()

    def replace(self, file: Path) -> None:
        """Put another file in the place of the store's own, and close; see `Environment`."""
        with self._snapshot_lock, self._write_lock:
            self.environment.replace(file)

    def close(self) -> None:
        if self.environment.is_inherited:
            # A lock that some thread of the parent held at the fork is never released here.
            return
        with self._snapshot_lock, self._write_lock:
            self.environment.close()


if TYPE_CHECKING:
    _satisfies_the_seam: Callable[..., StorageEngine] = LmdbEngine
    _is_a_snapshot: Callable[..., EngineSnapshot] = Snapshot
