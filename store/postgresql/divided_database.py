"""The partitions of a divided store in one database: rows that say which partition they are of."""

from __future__ import annotations

import os
import secrets
import socket
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Self

from msgspec.structs import astuple

from ..errors import DamagedStore, StoreError, WrongPartition
from ..layout.frames import frame, unframe
from ..layout.schema import CODEC, COMMITS, FORMAT_VERSION, OWN, SECRET, PartitionRow
from ..partitions import Partition
from ..store import SECRET_BYTES
from .connecting import Connector
from .connection import Statement
from .migrations import make_tables, make_tables_within, partitions_of, transaction
from .node import DatabaseNode
from .parameters import copied, number_of, text
from .questions import Values, ask
from .statements import Rows, commit_of, copy_into, counts_of
from .store import PostgresStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from ..coded import AsStored, PayloadCodec
    from ..lmdb.environment import Durability
    from ..storage_engine import Row
    from .address import Address
    from .connection import Connection

__all__ = ["DividedDatabase", "divided_in", "filling_divided_in", "make_divided_in"]

_ALONE = Statement(
    b"",
    b"SELECT pg_advisory_xact_lock(hashtextextended('procession ' || current_setting($1), 0))",
)


class DividedDatabase:
    """One divided store in a database. Satisfies `Divided`.

    Args:
        address: of the store
        count: how many partitions it has, for ever
        family: what tells its partitions from those of another store

    """

    def __init__(self, address: Address, count: int, family: str) -> None:
        self.place = address
        self.count = count
        self.family = family

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DividedDatabase) and other._said() == self._said()

    def __hash__(self) -> int:
        return hash(self._said())

    def _said(self) -> tuple[str, int, str]:
        return self.place.identity, self.count, self.family

    def __repr__(self) -> str:
        return f"<DividedDatabase of {self.count} partitions at {self.place}>"

    def partitions(self) -> Iterator[Partition]:
        """All of them, in order."""
        return (Partition(number, self.count) for number in range(self.count))

    def node(self, *, durability: Durability = "fsync", read_only: bool = False) -> DatabaseNode:
        """What this process is to have in common for its partitions; it is closed after them."""
        return DatabaseNode(self.place, durability=durability, read_only=read_only)

    def open(
        self,
        number: int,
        *,
        read_only: bool = False,
        codec: PayloadCodec | AsStored | None = None,
        node: DatabaseNode | None = None,
    ) -> PostgresStore:
        """Open a partition.

        Args:
            number: which
            read_only: read beside its owner, which may be this process
            codec: as for `Store`
            node: of this process; its owner's, unless it is only read

        Raises:
            LockedStore: another process has it
            WrongPartition: the rows are another store's partition
            WrongCodec: another codec wrote it, or none

        """
        return PostgresStore(
            self.place,
            read_only=read_only,
            partition=Partition(number, self.count),
            family=self.family,
            node=node,
            codec=codec,
        )


def divided_in(address: Address) -> DividedDatabase | None:
    """The divided store at an address; None if there is none.

    Raises:
        DatabaseRefused: the database does not answer

    """
    connection = Connector(address, read_only=True)()
    try:
        return _found(connection, address)
    finally:
        connection.close()


def _found(connection: Connection, address: Address) -> DividedDatabase | None:
    count = partitions_of(connection, address)
    if count < 2:
        return None
    raw = _own_row(connection)
    family = "" if raw is None else unframe(raw, "partitions", OWN)[2]
    return DividedDatabase(address, count, family)


def make_divided_in(
    address: Address, count: int, *, codec: PayloadCodec | None = None
) -> DividedDatabase:
    """The divided store at an address, with all its partitions; made where it is missing.

    Args:
        address: of the store
        count: of partitions
        codec: what encodes payloads, states and texts

    Raises:
        WrongPartition: the store that is there has another number of partitions
        StoreError: the number is none, or the database refused

    """
    Partition(0, count).check()
    connection = Connector(address)()
    try:
        there = partitions_of(connection, address)
        if there and there != count:
            raise WrongPartition(
                f"the store at {address} has {there} partitions, and was opened with "
                f"partitions={count}: the number is fixed when a store is made"
                if there > 1
                else f"the store at {address} is not divided, and was opened with "
                f"partitions={count}: open it without, or copy it into a new schema with "
                f"`procession copy`"
            )
        make_tables(connection, address, count)
        found = _found(connection, address)
        if found is None or not found.family:
            _make_partitions(connection, count, codec)
            found = _found(connection, address)
        assert found is not None
        return found
    finally:
        connection.close()


def _make_partitions(connection: Connection, count: int, codec: PayloadCodec | None) -> None:
    """Write the first rows of all partitions, so that they know each other; all, or none."""
    family, rows = secrets.token_hex(16), []
    for number in range(count):
        meta = {
            b"format": FORMAT_VERSION,
            b"store_id": secrets.token_hex(16),
            SECRET: secrets.token_hex(SECRET_BYTES),
            COMMITS: 1,
            **({} if codec is None else {CODEC: codec.name}),
        }
        own = astuple(PartitionRow(number, count, family))
        puts = {
            "meta": {key: frame(key, value) for key, value in meta.items()},
            "partitions": {OWN: frame(OWN, own)},
        }
        rows.append(Rows(number, puts))
    # Of two processes that make it, one waits here for the other, and finds it made.
    connection.one(Statement(b"", b"BEGIN"))
    connection.one(_ALONE, [text("search_path")])
    if _own_row(connection) is None:
        connection.run(*commit_of(rows, new=()))
    connection.one(Statement(b"", b"COMMIT"))


def _own_row(connection: Connection) -> bytes | None:
    """What the first partition knows of all."""
    question = Values(0, [("partitions", OWN)])
    (raw,) = ask(lambda call: connection.one(*call), question)
    return raw


@contextmanager
def filling_divided_in(
    address: Address, count: int
) -> Iterator[Callable[[Mapping[str, Sequence[Sequence[Row]]]], None]]:
    """Make a divided store at an address of rows that there are already: all of it, or nothing.

    Args:
        address: of the store; its schema has no tables
        count: of partitions

    Yields:
        what takes rows: by table, those of each partition; no row comes twice. The server takes
        them while the next ones are made, and what it refuses is raised when those are put

    Raises:
        StoreError: there is a store, or the database refused

    """
    connection = Connector(address)()
    try:
        with transaction(connection):
            if partitions_of(connection, address):
                raise StoreError(
                    f"{address} holds a store already; give the copy a place of its own"
                )
            make_tables_within(connection, address, count)
            with _CopyBeside(connection) as beside:
                yield beside.put
            answers = connection.run(*map(counts_of, beside.written))
            for (table, rows), answer in zip(beside.written.items(), answers, strict=True):
                found = {
                    number_of(answer.get_value(one, 0)): number_of(answer.get_value(one, 1))
                    for one in range(answer.ntuples)
                }
                if found != rows:
                    raise DamagedStore(f"table {table!r} at {address} has not all that was copied")
    finally:
        connection.close()


class _CopyBeside:
    """Has the server take rows, by a thread of its own, which alone uses the connection meanwhile.

    A context manager; when the block has ended well, the server has taken all of them.

    Attributes:
        written: how many rows, by table and partition

    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="procession-copy")
        self._under_way: Future[None] | None = None
        self.written: dict[str, Counter[int]] = {}

    def put(self, tables: Mapping[str, Sequence[Sequence[Row]]]) -> None:
        """Have rows taken, once those before them were: so many are in memory at most."""
        self._wait()
        self._under_way = self._thread.submit(self._copy, tables)

    def _copy(self, tables: Mapping[str, Sequence[Sequence[Row]]]) -> None:
        for table, by_partition in tables.items():
            some = [(partition, rows) for partition, rows in enumerate(by_partition) if rows]
            if some:
                self._connection.copy_in(copy_into(table), copied(some))
            for partition, rows in some:
                self.written.setdefault(table, Counter())[partition] += len(rows)

    def _wait(self) -> None:
        if self._under_way is not None:
            self._under_way.result()

    def __enter__(self) -> Self:
        # Of the same socket: what waits at it can be woken, whoever lets go of the other.
        self._line = socket.socket(fileno=os.dup(self._connection.fileno()))
        return self

    def __exit__(self, failed: type[BaseException] | None, *_: object) -> None:
        try:
            if failed is None:
                self._wait()
        finally:
            with self._line, self._thread:
                if self._under_way is not None and not self._under_way.done():
                    with suppress(OSError):
                        self._line.shutdown(socket.SHUT_RDWR)
                    wait([self._under_way])
                    self._connection.close()
