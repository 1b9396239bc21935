"""Short looks at the tables: what is read in one transaction, and the looks of the writer."""

from __future__ import annotations

from itertools import islice, takewhile
from typing import TYPE_CHECKING, TypeVar

import lmdb

from ..errors import DamagedStore, FailingDisk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import TypeAlias

    from lmdb import _Database

    from ..storage_engine import EngineReads, Row
    from .environment import Environment

    Txn: TypeAlias = lmdb.Transaction[bytes]

__all__ = ["KeptReads", "get_many", "in_order", "newest", "rows_between"]

T = TypeVar("T")


def get_many(
    txn: Txn, tables: Mapping[str, _Database], keys: Sequence[tuple[str, bytes]]
) -> list[bytes | None]:
    """The values of keys, each in a table."""
    get = txn.get
    return [get(key, db=tables[table]) for table, key in keys]


def rows_between(
    txn: Txn, table: _Database, start: bytes, end: bytes, limit: int, *, backwards: bool
) -> list[Row]:
    """Rows from one key on, below another one.

    Raises:
        DamagedStore: the tree leads to others, so that who goes on from these would not get further

    """
    with txn.cursor(table) as cursor:
        if backwards:
            found = cursor.prev() if cursor.set_range(end) else cursor.last()
            rows = cursor.iterprev() if found else iter(())
            looked_at = list(islice(takewhile(lambda row: row[0] >= start, rows), limit))
            if looked_at and (looked_at[0][0] >= end or looked_at[-1][0] >= end):
                raise out_of_order()
            return looked_at
        looked_at = []
        if cursor.set_range(start):
            for row in islice(cursor.iternext(), limit):
                if row[0] >= end:
                    break
                looked_at.append(row)
        if looked_at and (looked_at[0][0] < start or looked_at[-1][0] < start):
            raise out_of_order()
        return looked_at


def in_order(rows: Iterable[Row], start: bytes, *, backwards: bool) -> Iterator[Row]:
    """Rows as a cursor has them, as long as they are in order: pages may lead in a circle.

    Args:
        rows: from `start` on, or backwards from the one before it
        start: where the cursor was set
        backwards: which way they come

    Raises:
        DamagedStore: they are not in order

    """
    last = start
    if backwards:
        for row in rows:
            if row[0] >= last:
                raise out_of_order()
            last = row[0]
            yield row
        return
    rows = iter(rows)
    for first in islice(rows, 1):
        if first[0] < start:
            raise out_of_order()
        last = first[0]
        yield first
    for row in rows:
        if row[0] <= last:
            raise out_of_order()
        last = row[0]
        yield row


def out_of_order() -> DamagedStore:
    """What to say of rows that are not where their keys say."""
    return DamagedStore(
        "the keys of a table are out of order, so the pages that lead to them are damaged; go back "
        "to a backup"
    )


def newest(txn: Txn, table: _Database, ranges: Sequence[tuple[bytes, bytes]]) -> list[Row | None]:
    """The row with the highest key of each range."""
    found: list[Row | None] = []
    with txn.cursor(table) as cursor:
        for start, end in ranges:
            is_there = cursor.prev() if cursor.set_range(end) else cursor.last()
            row = cursor.item() if is_there else None
            found.append(row if row is not None and row[0] >= start else None)
    return found


class KeptReads:
    """Looks of the writer, in a transaction that lasts until the next commit; see `SharedReadTxn`.

    Satisfies `EngineReads`. For threads in which no signal lands.

    Args:
        environment: open for writing
        tables: by name

    """

    def __init__(self, environment: Environment, tables: dict[str, _Database]) -> None:
        self._environment = environment
        self._shared = environment.shared_read
        self._tables = tables

    def take_place(self) -> None:
        """Take a place in LMDB's table of readers, and keep it, whatever others do."""
        self._look(lambda _: None)

    def get_many(self, keys: Sequence[tuple[str, bytes]]) -> list[bytes | None]:
        shared, tables = self._shared, self._tables
        try:
            # As in `_look`, with three calls less, since each step comes here.
            with shared.lock:
                get = (shared.txn or shared.begin()).get
                return [get(key, db=tables[table]) for table, key in keys]
        except (lmdb.Error, FailingDisk) as error:
            return self._look_again(error, lambda txn: get_many(txn, tables, keys))

    def range(
        self, table: str, start: bytes, end: bytes, limit: int, *, backwards: bool = False
    ) -> list[Row]:
        return self._look(
            lambda txn: rows_between(
                txn, self._tables[table], start, end, limit, backwards=backwards
            )
        )

    def newest(self, table: str, ranges: Sequence[tuple[bytes, bytes]]) -> list[Row | None]:
        return self._look(lambda txn: newest(txn, self._tables[table], ranges))

    def _look(self, look: Callable[[Txn], T]) -> T:
        shared = self._shared
        try:
            with shared.lock:
                return look(shared.txn or shared.begin())
        except (lmdb.Error, FailingDisk) as error:
            return self._look_again(error, look)

    def _look_again(self, why: lmdb.Error | FailingDisk, look: Callable[[Txn], T]) -> T:
        """Look once more when LMDB was opened again, if it had given up."""
        environment = self._environment
        if isinstance(why, lmdb.Error):
            raise environment.error(why, "reading") from why
        # Without the lock, since no read may be open meanwhile.
        if not environment.recover():
            raise why
        try:
            return self._shared.look(look)
        except lmdb.Error as error:
            raise environment.error(error, "reading") from error


if TYPE_CHECKING:
    _satisfies_the_seam: Callable[..., EngineReads] = KeptReads
