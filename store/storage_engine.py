"""The seam below the store: tables of keys and values, read in waves and written in one commit.

All that the store knows of LMDB, of a dictionary, or of a database elsewhere is here. Keys and
values are bytes, and keys are in the order of their bytes. What one engine refuses, all refuse, so
that what works on one works on the others.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, runtime_checkable

from msgspec import Struct

from .errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

__all__ = [
    "KEPT",
    "LONGEST_KEY",
    "NOTHING",
    "EngineReads",
    "EngineSnapshot",
    "Row",
    "StorageEngine",
    "Ticket",
    "have_keys",
]

LONGEST_KEY = 511
"""Bytes of the longest key that a table holds, which is LMDB's; the shortest has one byte."""

Row: TypeAlias = tuple[bytes, bytes]
"""A key and its value."""


class Ticket(Struct, frozen=True):
    """What became of a commit.

    Attributes:
        outcome: ``"committed"``: all of it is durable. ``"failed"``: nothing of it was kept.
            ``"unknown"``: the answer was lost; the store looks for the commit's number before it
            goes on
        error: why it is not known to be durable

    """

    outcome: Literal["committed", "failed", "unknown"]
    error: StoreError | None = None


KEPT = Ticket("committed")


NOTHING: Mapping[str, Mapping[bytes, bytes]] = MappingProxyType({})
"""No rows."""


def have_keys(
    puts: Mapping[str, Mapping[bytes, bytes]], deletes: Mapping[str, Collection[bytes]]
) -> bool:
    """Whether all rows have keys that every engine takes."""
    # Many keys have few lengths.
    lengths = {length for rows in puts.values() for length in set(map(len, rows))}
    return all(0 < one <= LONGEST_KEY for one in lengths) and all(map(all, deletes.values()))


class EngineReads(Protocol):
    """Looks at the tables, each as they are at one moment."""

    def get_many(self, keys: Sequence[tuple[str, bytes]]) -> list[bytes | None]:
        """The values of keys, each in a table, as they are at one moment; None where there is none.

        One call is one trip, so that a caller gathers the keys of a wave of work first.

        Raises:
            InvalidName: a key is empty

        """
        ...

    def range(
        self, table: str, start: bytes, end: bytes, limit: int, *, backwards: bool = False
    ) -> list[Row]:
        """Rows of a table as they are at one moment, in order of their keys.

        Args:
            table: which
            start: the lowest key that is wanted
            end: the first key that is not wanted any more
            limit: most rows
            backwards: begin with the highest key

        """
        ...

    def newest(self, table: str, ranges: Sequence[tuple[bytes, bytes]]) -> list[Row | None]:
        """The row with the highest key of each range, as they are at one moment, in one trip.

        Args:
            table: which
            ranges: each the lowest key that is wanted, and the first that is not wanted any more

        """
        ...


class EngineSnapshot(EngineReads, Protocol):
    """All tables as they are at one moment, for one thread that goes through them.

    It answers all that an engine's reads do; for a key that no table could hold, with None.
    """

    @property
    def last_written(self) -> int | None:
        """When they were last written to, in microseconds; None of tables that are no file."""
        ...

    def get(self, table: str, key: bytes) -> bytes | None:
        """The value of a key, or None; of a key that no table could hold as well.

        Raises:
            DamagedStore: the engine cannot read it

        """
        ...

    def scan(self, table: str, start: bytes = b"", *, backwards: bool = False) -> Iterator[Row]:
        """Rows in order of their keys, from one key on; backwards, the rows below it.

        Raises:
            DamagedStore: the engine cannot read on

        """
        ...

    def count(self, table: str) -> int:
        """How many rows the engine says that a table has."""
        ...


@runtime_checkable
class StorageEngine(EngineReads, Protocol):
    """Durable tables. `commit` is called by one thread at a time, the rest by any.

    Its own reads may be called in a signal handler too, whatever the thread was at: so they take no
    lock that this thread may hold, and leave none taken when they are interrupted.
    """

    @property
    def read_only(self) -> bool:
        """Whether another process may be writing meanwhile."""
        ...

    @property
    def is_remote(self) -> bool:
        """Whether each look is a trip to another process, so that few calls matter most."""
        ...

    def check_usable(self) -> None:
        """Refuse to go on with what is closed, or is that of a parent process.

        Raises:
            ClosedError: it is closed
            ReadOnlyStore: it was opened before a fork, by the parent

        """
        ...

    def check_owner(self) -> None:
        """Refuse to go on in a process that was forked from the one that opened it.

        Raises:
            ReadOnlyStore: this is such a one

        """
        ...

    @property
    def writer_reads(self) -> EngineReads:
        """The same reads, for the one thread that hands over and commits; may be the engine itself.

        They may keep something open, and take locks.
        """
        ...

    def commit(
        self,
        puts: Mapping[str, Mapping[bytes, bytes]],
        deletes: Mapping[str, Collection[bytes]],
        rewritten: Mapping[str, Mapping[bytes, bytes]] = NOTHING,
    ) -> Ticket:
        """Write rows in one durable transaction.

        Args:
            puts: by table, values by key
            deletes: by table, keys; one that is not there is none the worse
            rewritten: as `puts`, of rows in the tables in `APPENDED` that are there

        Returns:
            what became of it; it fails if one of the keys is empty, or one to be put too long

        Raises:
            StoreError: rows for a table in `APPENDED` do not come in order, behind those that are
                there; nothing was kept

        """
        ...

    def snapshot(self) -> AbstractContextManager[EngineSnapshot]:
        """All tables as they are now, for as long as the block lasts; commits go on."""
        ...

    def close(self) -> None:
        """Let go of the tables. Everything else raises `ClosedError` afterwards."""
        ...
