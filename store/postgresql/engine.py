"""The tables in a PostgreSQL database."""

from __future__ import annotations

import os
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Generic, TypeVar

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
from ..storage_engine import KEPT, LONGEST_KEY, NOTHING, Ticket, have_keys
from .address import Address
from .connecting import Connector
from .filling import Filling
from .migrations import check_tables, make_tables
from .ownership import Ownership
from .questions import Between, Newest, Values, ask
from .readers import Readers
from .snapshot import Snapshot
from .statements import Rows
from .writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from ..lmdb.environment import Durability
    from ..storage_engine import EngineReads, Row, StorageEngine
    from .claim import Claim
    from .connection import Connection
    from .first_look import FirstLook
    from .node import DatabaseNode
    from .questions import Question
    from .writer import Commit, Queued, QueuedQuestion

__all__ = ["PostgresEngine"]

FIRST_PAUSE = 0.02
LAST_PAUSE = 1.0
"""Seconds between two attempts of the writer to reach the database."""

MENDING = 30.0
"""Seconds that the main thread waits until it is known what became of a commit."""

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
        node: what this process has in common for its partitions; it has the tables made, and is
            closed after them

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
        node: DatabaseNode | None = None,
    ) -> None:
        if not 0 <= part < partitions:
            raise StoreError(f"part={part} is no partition of {partitions}, which count from 0")
        self.address = address = Address.parse(url) if isinstance(url, str) else url
        self.read_only = read_only
        self._part = part
        self._owner = os.getpid()
        self._is_closed = False
        # Whether what this process sent may still be on its way, and be carried out.
        self._is_in_doubt = False
        # The highest keys of tables to which rows are added at the end.
        self._ends: dict[str, bytes] = {}
        self._writer_reads = _WriterReads(self, part)
        self._claim: Claim | None = None
        self._first = None if node is None else node.first_looks.get(part)
        self._is_shared = node is not None
        if node is not None:
            self._connect: Callable[[], Connection] = node.connect
            self._readers, self._writer = node.readers, node.writer
            if not read_only:
                self._claim = node.lease.claimed(part)
            return
        self._connect = connect = Connector(address, durability=durability, read_only=read_only)
        self._readers, self._writer = Readers(connect), Writer(connect)
        first = connect()
        try:
            if read_only:
                check_tables(first, address, partitions)
            else:
                make_tables(first, address, partitions)
                self._claim = Ownership(address, part, connect)
        except BaseException:
            first.close()
            raise
        self._readers.add(first)

    def __repr__(self) -> str:
        return f"<PostgresEngine at {self.address}>"

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
        return self._readers.trips + self._writer.trips

    # Reading

    def get_many(self, keys: Sequence[tuple[str, bytes]]) -> list[bytes | None]:
        first = self._first_look()
        known = None if first is None else first.get_many(keys)
        return _get_many(self.look, self._part, keys) if known is None else known

    def range(
        self, table: str, start: bytes, end: bytes, limit: int, *, backwards: bool = False
    ) -> list[Row]:
        first = self._first_look()
        if first is not None:
            known = first.range(table, start, end, limit, backwards=backwards)
            if known is not None:
                return known
        return self.look(Between(self._part, table, start, end, limit, backwards=backwards))

    def newest(self, table: str, ranges: Sequence[tuple[bytes, bytes]]) -> list[Row | None]:
        return self.look(Newest(self._part, table, ranges))

    def _first_look(self) -> FirstLook | None:
        """What is known already, while the partition is being opened and was not written to."""
        first = self._first
        if first is not None:
            self.check_usable()
        return first

    @property
    def writer_reads(self) -> EngineReads:
        """On the connection that commits; not of what is only read."""
        return self if self.read_only else self._writer_reads

    def look(self, question: Question[T]) -> T:
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
        return ask(lambda call: self._readers.look(call)[0], question)

    def look_as_writer(self, question: Question[T]) -> T:
        """The answer to a question, on the connection that commits.

        It waits for as long as the database does not answer: what decides a step on what it reads
        must not take a database that is away for one that cannot be read.
        """
        pause = 0.0
        while True:
            self.check_usable()
            queued = _QueuedQuestion(self, question)
            try:
                self._writer.ask(queued)
            except DatabaseRefused:
                if not queued.asks_again:
                    raise
            else:
                return queued.answered()
            # At once the first time: the connection may have broken long ago.
            Latch().wait(pause)
            pause = min(max(FIRST_PAUSE, 2 * pause), LAST_PAUSE)

    def prepare_to_ask(self) -> None:
        """Look whether a question can be sent; with the writer's lock held.

        Raises:
            TakenOver: another process has the partition
            DatabaseRefused: the database does not answer
            StoreError: the store is closed

        """
        # Once more: it may have been closed while this waited.
        self.check_usable()
        self._end_doubt_locked()

    # Writing

    def commit(
        self,
        puts: Mapping[str, Mapping[bytes, bytes]],
        deletes: Mapping[str, Collection[bytes]],
        rewritten: Mapping[str, Mapping[bytes, bytes]] = NOTHING,
    ) -> Ticket:
        self.check_usable()
        if self._claim is None:
            raise self._refusal_to_write()
        if not have_keys(puts, deletes):
            return Ticket("failed", InvalidName("a key is empty or too long"))
        self._first = None
        return self._writer.commit(_Commit(self, self._claim, puts, deletes, rewritten))

    def prepare(self, claim: Claim, puts: Mapping[str, Mapping[bytes, bytes]]) -> None:
        """Look whether a commit can be sent; with the writer's lock held.

        Raises:
            TakenOver: another process has the partition
            DatabaseRefused: the database does not answer
            StoreError: its rows do not come in order, or the store is closed

        """
        # Once more: it may have been closed while this waited.
        self.check_usable()
        if claim.lost is not None:
            raise claim.lost
        self._end_doubt_locked()
        connection, _ = self._writer.connection()
        self._check_order(connection, puts)

    def note(self, puts: Mapping[str, Mapping[bytes, bytes]]) -> None:
        """A commit is durable."""
        for table in APPENDED & puts.keys():
            for key in puts[table]:
                self._ends[table] = key

    def doubt(self) -> None:
        """Without an answer, what was sent may be carried out at any time."""
        self._is_in_doubt = True

    def _check_order(
        self, connection: Connection, puts: Mapping[str, Mapping[bytes, bytes]]
    ) -> None:
        for table in APPENDED & puts.keys():
            if table not in self._ends:
                last = Newest(self._part, table, [(b"", HIGHEST_KEY)])
                (row,) = ask(lambda call: connection.one(*call), last)
                self._ends[table] = b"" if row is None else row[0]
            keys = [self._ends[table], *puts[table]]
            if any(before >= after for before, after in pairwise(keys)):
                raise StoreError(f"rows for {table!r} do not come behind those that are there")

    def _end_doubt(self) -> None:
        with self._writer.held():
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
        claim = self._claim
        if not self._is_in_doubt or claim is None:
            return
        if claim.lost is not None:
            # The number of a commit that is there may be that of another one of the new owner.
            raise claim.lost
        self._ends.clear()
        connection, is_new = self._writer.connection()
        try:
            claim.raise_epoch(connection)
        except DatabaseRefused:
            if is_new or not connection.is_broken:
                raise
            claim.raise_epoch(self._writer.connection()[0])
        self._is_in_doubt = False

    def filling(self) -> Filling:
        """What takes many rows that are new, quickly; it is closed before this."""
        self.check_usable()
        if self._claim is None:
            raise self._refusal_to_write()
        return Filling(self.address, self._claim)

    def _refusal_to_write(self) -> ReadOnlyStore:
        return ReadOnlyStore(f"the store at {self.address} is open for reading only")

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
        with self._writer.held():
            self._is_closed = True
            if self._claim is not None:
                self._claim.close()
            if not self._is_shared:
                self._writer.close()
        if not self._is_shared:
            self._readers.close()


class _Commit:
    """A commit of a partition, as the writer sees it. Satisfies `Commit`."""

    def __init__(
        self,
        engine: PostgresEngine,
        claim: Claim,
        puts: Mapping[str, Mapping[bytes, bytes]],
        deletes: Mapping[str, Collection[bytes]],
        rewritten: Mapping[str, Mapping[bytes, bytes]],
    ) -> None:
        self._engine = engine
        self._claim = claim
        self.part = claim.part
        self.rows = Rows(claim.part, puts, deletes, rewritten)
        self.turn = Latch()
        self.behind: Queued | None = None
        self.ticket: Ticket | None = None
        self.error: Exception | None = None

    @property
    def is_over(self) -> bool:
        return self.ticket is not None or self.error is not None

    @property
    def epoch(self) -> int:
        return self._claim.epoch

    def prepare(self) -> bool:
        try:
            self._engine.prepare(self._claim, self.rows.puts)
        except (DatabaseRefused, TakenOver) as error:
            self.ticket = Ticket("failed", error)
        except Exception as error:  # noqa: BLE001 - it is raised in the thread that commits it
            self.error = error
        return not self.is_over

    def is_kept(self) -> None:
        self._engine.note(self.rows.puts)
        self.ticket = KEPT

    def is_refused(self, error: StoreError, *, in_doubt: bool) -> None:
        if isinstance(error, TakenOver):
            self._claim.lost = error
        if in_doubt:
            self._engine.doubt()
        self.ticket = Ticket("unknown" if in_doubt else "failed", error)


class _QueuedQuestion(Generic[T]):
    """What a partition asks on the writer's connection. Satisfies `QueuedQuestion`."""

    def __init__(self, engine: PostgresEngine, question: Question[T]) -> None:
        self._engine = engine
        self.question = question
        self.turn = Latch()
        self.behind: Queued | None = None
        self.answer: T | None = None
        self.error: Exception | None = None
        self.asks_again = False

    @property
    def is_over(self) -> bool:
        return self.answer is not None or self.error is not None

    def check(self) -> None:
        self._engine.prepare_to_ask()

    def answered(self) -> T:
        assert self.answer is not None
        return self.answer


class _WriterReads:
    """Reads on the connection that commits. Satisfies `EngineReads`."""

    def __init__(self, engine: PostgresEngine, part: int) -> None:
        self._look = engine.look_as_writer
        self._part = part

    def get_many(self, keys: Sequence[tuple[str, bytes]]) -> list[bytes | None]:
        return _get_many(self._look, self._part, keys)

    def range(
        self, table: str, start: bytes, end: bytes, limit: int, *, backwards: bool = False
    ) -> list[Row]:
        return self._look(Between(self._part, table, start, end, limit, backwards=backwards))

    def newest(self, table: str, ranges: Sequence[tuple[bytes, bytes]]) -> list[Row | None]:
        return self._look(Newest(self._part, table, ranges))


def _get_many(
    look: Callable[[Values], list[bytes | None]], part: int, keys: Sequence[tuple[str, bytes]]
) -> list[bytes | None]:
    if not all(key for _, key in keys):
        raise InvalidName("a store cannot look for a name that is empty")
    return look(Values(part, keys)) if keys else []


if TYPE_CHECKING:
    _satisfies_the_seam: Callable[..., StorageEngine] = PostgresEngine
    _is_a_commit: Callable[..., Commit] = _Commit
    _is_a_question: Callable[..., QueuedQuestion] = _QueuedQuestion
