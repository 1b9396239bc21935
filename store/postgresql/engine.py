"""The tables in a PostgreSQL database."""

from __future__ import annotations

import os
import threading
from collections import deque
from contextlib import contextmanager, suppress
from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

from ..errors import (
    ClosedError,
    DatabaseRefused,
    InvalidName,
    ReadOnlyStore,
    StoreError,
    TakenOver,
)
from ..interrupts import Latch, uninterrupted
from ..layout.schema import APPENDED
from ..storage_engine import KEPT, LONGEST_KEY, Ticket, have_keys
from .address import Address
from .connection import Connection, Session
from .migrations import check_tables, make_tables
from .ownership import Ownership
from .postgresql_errors import KnownKey
from .snapshot import Snapshot
from .statements import commit_of, fence, get_many, newest, rows_between, rows_of, values

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from psycopg.pq.abc import PGresult

    from ..lmdb.environment import Durability
    from ..storage_engine import EngineReads, Row, StorageEngine
    from .connection import Call

__all__ = ["PostgresEngine"]

MOST_READERS = 2
"""Connections that are kept for readers; the lease and the writer have one each besides."""

BRIEFLY = 0.000_5
"""Seconds between two looks for a connection that another thread has given back."""

PATIENCE = 1.0
"""Seconds that a reader waits for one before it makes one more."""

FIRST_PAUSE = 0.02
LAST_PAUSE = 1.0
"""Seconds between two attempts of the writer to reach the database."""

MENDING = 30.0
"""Seconds that the main thread waits until it is known what became of a commit."""

USUALLY_NEW = APPENDED | {"ids", "started"}
"""Tables whose rows have keys with a number that no row had before."""

HIGHEST_KEY = b"\xff" * (LONGEST_KEY + 1)

T = TypeVar("T")


class PostgresEngine:
    """Tables in a schema of a database. Satisfies `StorageEngine`.

    Args:
        url: ``postgresql://user@host/database?schema=shop``, as for `Address`
        read_only: read beside a writer, in this process or another; makes nothing
        durability: ``"fsync"`` keeps what the database's `synchronous_commit` says, which must not
            be off; ``"os"`` and ``"none"`` turn it off, and a crash of the server takes back what
            was acknowledged last
        part: which partition
        partitions: how many the store has, which is decided when it is made

    Raises:
        StoreError: the address is none, there is no store to be read, or it has another number of
            partitions
        LockedStore: another process has it open for writing
        DatabaseRefused: the database does not answer, or does not let this user in
        UnknownFormat: a newer version of Procession made the tables

    """

    is_remote = True

    def __init__(
        self,
        url: str | Address,
        *,
        read_only: bool = False,
        durability: Durability = "fsync",
        part: int = 0,
        partitions: int = 1,
    ) -> None:
        if not 0 <= part < partitions:
            raise StoreError(f"part={part} is no partition of {partitions}, which count from 0")
        self.address = address = Address.parse(url) if isinstance(url, str) else url
        self.read_only = read_only
        self._part = part
        self._durability = durability
        self._owner = os.getpid()
        self._is_closed = False
        # Taken and given back without a lock, which a signal handler could not wait for.
        self._idle: deque[Connection] = deque()
        self._lent: set[object] = set()
        # Held by who commits, or reads for the writer.
        self._lock = threading.Lock()
        self._writer: Connection | None = None
        self._writer_reads = _WriterReads(self.look_as_writer, part)
        # Whether what this process sent may still be on its way, and be carried out.
        self._is_in_doubt = False
        # The highest keys of tables to which rows are added at the end.
        self._ends: dict[str, bytes] = {}
        self._ownership: Ownership | None = None
        first = self._connect()
        try:
            if read_only:
                check_tables(first, address, partitions)
            else:
                make_tables(first, address, partitions)
                self._ownership = Ownership(address, part, self._connect)
        except BaseException:
            first.close()
            raise
        self._idle.append(first)

    def __repr__(self) -> str:
        return f"<PostgresEngine at {self.address}>"

    def _connect(self) -> Connection:
        is_safe = self._durability == "fsync"
        commits = "" if is_safe or self.read_only else "off"
        connection = Connection(self.address, Session(self.read_only, commits))
        if self.read_only:
            return connection
        refusal = None
        if connection.is_standby:
            refusal = (
                "is a standby, which only reads; give the address of the primary, or open it with "
                "read_only=True"
            )
        elif is_safe and "off" in {connection.synchronous_commit, connection.fsync}:
            refusal = (
                f"has synchronous_commit={connection.synchronous_commit} and "
                f"fsync={connection.fsync}, so that a crash of the server takes back what was "
                f"acknowledged. Turn both on, for the server, the role and the database; or say "
                f'that it may: durability="none"'
            )
        if refusal is not None:
            connection.close()
            raise StoreError(f"the database at {self.address} {refusal}")
        return connection

    # Whether it can be used

    def check_usable(self) -> None:
        if self._is_closed:
            raise ClosedError(f"the store at {self.address} is closed")
        self.check_owner()

    def check_owner(self) -> None:
        if os.getpid() != self._owner:
            raise ReadOnlyStore(
                f"the store at {self.address} was opened by another process before a fork, and its "
                f"connections are that one's alone; open it after the fork"
            )

    @property
    def trips(self) -> int:
        """How often something was sent and waited for, by the connections that are at rest now."""
        there = [*self._idle, *([] if self._writer is None else [self._writer])]
        return sum(one.trips for one in there)

    # Reading

    def get_many(self, keys: Sequence[tuple[str, bytes]]) -> list[bytes | None]:
        return _get_many(self.look, self._part, keys)

    def range(
        self, table: str, start: bytes, end: bytes, limit: int, *, backwards: bool = False
    ) -> list[Row]:
        call = rows_between(self._part, table, start, end, limit, backwards=backwards)
        return [row for row in rows_of(self.look(call)) if row is not None]

    def newest(self, table: str, ranges: Sequence[tuple[bytes, bytes]]) -> list[Row | None]:
        return rows_of(self.look(newest(self._part, table, ranges)))

    @property
    def writer_reads(self) -> EngineReads:
        """On the connection that commits; not of what is only read."""
        return self if self.read_only else self._writer_reads

    def look(self, call: Call) -> PGresult:
        """The answer to a question, on a connection of the readers."""
        self.check_usable()
        if self._is_in_doubt:
            # What ends it takes a lock. In a signal handler it may wait for the very thread that
            # waits for it here.
            try:
                uninterrupted(self._end_doubt, "procession-mending", timeout=MENDING)
            except TimeoutError:
                raise DatabaseRefused(
                    f"it is not known yet what became of the last commit to {self.address}"
                ) from None
        while True:
            # Stands for the connection from before there is one.
            place = object()
            try:
                connection, is_new = self._take(place)
                try:
                    return connection.one(*call)
                except DatabaseRefused:
                    # One that was idle may have broken long ago.
                    if is_new or not connection.is_broken:
                        raise
                finally:
                    self._give_back(connection)
            finally:
                self._lent.discard(place)

    def _take(self, place: object) -> tuple[Connection, bool]:
        """A connection, and whether it is new."""
        left = PATIENCE
        while True:
            self._lent.add(place)
            with suppress(IndexError):
                return self._idle.pop(), False
            if len(self._lent) <= MOST_READERS or left <= 0:
                return self._connect(), True
            self._lent.discard(place)
            Latch().wait(BRIEFLY)
            left -= BRIEFLY

    def _give_back(self, connection: Connection) -> None:
        if connection.is_broken or len(self._idle) >= MOST_READERS:
            connection.close()
            return
        self._idle.append(connection)
        if self._is_closed:
            # Who closed it may not have seen this one.
            self._close_idle()

    def look_as_writer(self, call: Call) -> PGresult:
        """The answer to a question, on the connection that commits.

        It waits for as long as the database does not answer: what decides a step on what it reads
        must not take a database that is away for one that cannot be read.
        """
        pause = 0.0
        while True:
            self.check_usable()
            with self._lock:
                self.check_usable()
                try:
                    self._end_doubt_locked()
                    connection, _ = self._writing()
                    return connection.one(*call)
                except DatabaseRefused:
                    if self._writer is not None and not self._writer.is_broken:
                        raise
            # At once the first time: the connection may have broken long ago.
            Latch().wait(pause)
            pause = min(max(FIRST_PAUSE, 2 * pause), LAST_PAUSE)

    def _writing(self) -> tuple[Connection, bool]:
        """The connection that commits, and whether it is new; with the lock held."""
        writer = self._writer
        if writer is not None and writer.is_fresh():
            return writer, False
        self._writer = writer = self._connect()
        return writer, True

    # Writing

    def commit(
        self,
        puts: Mapping[str, Mapping[bytes, bytes]],
        deletes: Mapping[str, Collection[bytes]],
    ) -> Ticket:
        self.check_usable()
        ownership = self._ownership
        if ownership is None:
            raise ReadOnlyStore(f"the store at {self.address} is open for reading only")
        if not have_keys(puts, deletes):
            return Ticket("failed", InvalidName("a key is empty or too long"))
        with self._lock:
            # Once more: it may have been closed while this waited.
            self.check_usable()
            if ownership.lost is not None:
                return Ticket("failed", ownership.lost)
            try:
                self._end_doubt_locked()
                connection, _ = self._writing()
                self._check_order(connection, puts)
            except DatabaseRefused as error:
                return Ticket("failed", error)
            fenced = fence({self._part: ownership.epoch})
            try:
                try:
                    rows = commit_of(self._part, puts, deletes, new=USUALLY_NEW)
                    connection.run(fenced, *rows)
                except KnownKey:
                    rows = commit_of(self._part, puts, deletes, new=APPENDED)
                    connection.run(fenced, *rows)
            except StoreError as error:
                if isinstance(error, TakenOver):
                    ownership.lost = error
                # Without an answer, what was sent may be carried out at any time.
                self._is_in_doubt = connection.is_broken
                return Ticket("unknown" if connection.is_broken else "failed", error)
            except BaseException:
                self._is_in_doubt = True
                raise
            for table in APPENDED & puts.keys():
                for key in puts[table]:
                    self._ends[table] = key
            return KEPT

    def _check_order(
        self, connection: Connection, puts: Mapping[str, Mapping[bytes, bytes]]
    ) -> None:
        for table in APPENDED & puts.keys():
            if table not in self._ends:
                call = newest(self._part, table, [(b"", HIGHEST_KEY)])
                (row,) = rows_of(connection.one(*call))
                self._ends[table] = b"" if row is None else row[0]
            keys = [self._ends[table], *puts[table]]
            if any(before >= after for before, after in pairwise(keys)):
                raise StoreError(f"rows for {table!r} do not come behind those that are there")

    def _end_doubt(self) -> None:
        with self._lock:
            self.check_usable()
            self._end_doubt_locked()

    def _end_doubt_locked(self) -> None:
        """See to it that nothing is on its way any more of what this process sent.

        With another epoch, the server refuses what comes late, and what it has begun holds the row
        of the owner until it has ended. What is there then is what came of the commit.

        Raises:
            TakenOver: another process has the partition by now
            DatabaseRefused: the database does not answer

        """
        ownership = self._ownership
        if not self._is_in_doubt or ownership is None:
            return
        if ownership.lost is not None:
            # The number of a commit that is there may be that of another one of the new owner.
            raise ownership.lost
        self._ends.clear()
        connection, is_new = self._writing()
        try:
            ownership.raise_epoch(connection)
        except DatabaseRefused:
            if is_new or not connection.is_broken:
                raise
            ownership.raise_epoch(self._writing()[0])
        self._is_in_doubt = False

    # At one moment

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """All tables as they are now, on a connection of its own."""
        self.check_usable()
        if self._is_in_doubt:
            self._end_doubt()
        connection = self._connect()
        try:
            yield Snapshot(connection, self._part)
        finally:
            connection.close()

    def close(self) -> None:
        """Let go of the tables, and let another process have them at once."""
        if self._is_closed or os.getpid() != self._owner:
            self._is_closed = True
            return
        with self._lock:
            self._is_closed = True
            if self._ownership is not None:
                self._ownership.close()
            if self._writer is not None:
                self._writer.close()
        self._close_idle()

    def _close_idle(self) -> None:
        while self._idle:
            try:
                self._idle.pop().close()
            except IndexError:
                return


class _WriterReads:
    """Reads on the connection that commits. Satisfies `EngineReads`."""

    def __init__(self, look: Callable[[Call], PGresult], part: int) -> None:
        self._look = look
        self._part = part

    def get_many(self, keys: Sequence[tuple[str, bytes]]) -> list[bytes | None]:
        return _get_many(self._look, self._part, keys)

    def range(
        self, table: str, start: bytes, end: bytes, limit: int, *, backwards: bool = False
    ) -> list[Row]:
        call = rows_between(self._part, table, start, end, limit, backwards=backwards)
        return [row for row in rows_of(self._look(call)) if row is not None]

    def newest(self, table: str, ranges: Sequence[tuple[bytes, bytes]]) -> list[Row | None]:
        return rows_of(self._look(newest(self._part, table, ranges)))


def _get_many(
    look: Callable[[Call], PGresult], part: int, keys: Sequence[tuple[str, bytes]]
) -> list[bytes | None]:
    if not all(key for _, key in keys):
        raise InvalidName("a store cannot look for a name that is empty")
    if not keys:
        return []
    call, where = get_many(part, keys)
    found = values(look(call))
    return [found[place] for place in where]


if TYPE_CHECKING:
    _satisfies_the_seam: Callable[..., StorageEngine] = PostgresEngine
