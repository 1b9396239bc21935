"""Writing a store's tables anew: in the order of their keys, into a file that is no store yet.

It is written under a name that makes no store, and gets its own when all of it is on disk.
"""

from __future__ import annotations

import contextlib
import os
from itertools import chain, islice
from typing import TYPE_CHECKING

import lmdb

from ..errors import DamagedStore, StoreError, StoreFull
from ..layout.frames import check_all
from ..layout.schema import place_of
from ..lmdb.environment import MAX_TABLES
from ..lmdb.lmdb_errors import is_room_wanted
from ..lmdb.private_files import create_file, open_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from typing import TypeAlias

    Rows: TypeAlias = Iterator[tuple[bytes, bytes]]

__all__ = [
    "PARTIAL",
    "ROOM",
    "gone_on_failure",
    "in_parts",
    "needed_bytes",
    "new_environment",
    "refusals_of_the_disk",
    "sound",
    "sync_file",
    "write_tables",
]

PARTIAL = "data.mdb.partial"
"""What a file is called until it is whole."""

AT_ONCE = 1 << 24
"""Bytes of records in one transaction, which are kept in memory."""

FEW = 64
"""Rows that a transaction may have more than that."""

ROOM = 1 << 24


def write_tables(partial: Path, tables: Iterable[tuple[str, Rows]], size: int) -> None:
    """Write tables into a new file, each page filled.

    Args:
        partial: the file, which is missing
        tables: each by its name, with its rows in the order of their keys
        size: bytes that the file may come to have, beside some room

    Raises:
        DamagedStore: the keys of a table are not in order
        StoreError: the disk refused

    """
    # Here, where it is known that what fails is the writing: rows are read between two writes.
    with refusals_of_the_disk(partial):
        env = new_environment(partial, MAX_TABLES, size + ROOM)
    with env:
        for table, rows in tables:
            _write_table(partial, env, table, rows)
        with refusals_of_the_disk(partial):
            env.sync(True)
    with refusals_of_the_disk(partial):
        _lengthen(partial)


def new_environment(file: Path, tables: int, size: int) -> lmdb.Environment:
    """A file that is written by one, and brought to disk at the end.

    Args:
        file: is made
        tables: how many it may have
        size: bytes that it may come to have

    """
    os.close(create_file(file))
    return lmdb.Environment(
        str(file), subdir=False, lock=False, sync=False, max_dbs=tables, map_size=size
    )


def _write_table(partial: Path, env: lmdb.Environment, table: str, rows: Rows) -> None:
    with refusals_of_the_disk(partial):
        db = env.open_db(table.encode())
    for some in in_parts(rows):
        with refusals_of_the_disk(partial), env.begin(write=True) as txn, txn.cursor(db) as copy:
            consumed, added = copy.putmulti(some, append=True)
        if consumed != added:
            raise DamagedStore(f"the keys of table {table!r} are not in order")


def in_parts(rows: Rows) -> Iterator[list[tuple[bytes, bytes]]]:
    """Rows in parts, each for one transaction."""
    some: list[tuple[bytes, bytes]] = []
    size = 0
    # A few are counted together, which costs least for each.
    while few := list(islice(rows, FEW)):
        some += few
        size += sum(map(len, chain.from_iterable(few)))
        if size > AT_ONCE:
            yield some
            some, size = [], 0
    if some:
        yield some


def sound(rows: Rows, table: str) -> Rows:
    """The rows of a table, each after its checksum was compared."""
    while few := list(islice(rows, FEW)):
        if table == "ids":
            for key, value in few:
                place_of(key, value)
        else:
            check_all(few, table)
        yield from few


def _lengthen(file: Path) -> None:
    """Pages at the end that were taken and freed again are not written; the header counts them."""
    needed = needed_bytes(file)
    if file.stat().st_size < needed:
        os.truncate(file, needed)


def needed_bytes(file: Path) -> int:
    """How long a file must be for all that its header speaks of."""
    with lmdb.Environment(str(file), subdir=False, readonly=True, lock=False) as env:
        return (env.info()["last_pgno"] + 1) * env.stat()["psize"]


def sync_file(file: Path) -> None:
    """Bring what was written to a file to disk."""
    fd = open_file(file, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextlib.contextmanager
def gone_on_failure(partial: Path) -> Iterator[None]:
    """Remove the file if the block fails."""
    try:
        yield
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def refusals_of_the_disk(target: Path) -> Iterator[None]:
    """Raise our error for one of the disk's, in the words of what was being written."""
    try:
        yield
    except (OSError, lmdb.Error) as error:
        code = getattr(error, "errno", None) or getattr(error, "code", None) or 0
        if is_room_wanted(code):
            raise StoreFull(
                f"no room on the disk for the copy at {target}; it was removed ({error})"
            ) from error
        raise StoreError(f"the copy at {target} failed, and was removed: {error}") from error
