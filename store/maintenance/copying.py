"""Copies of a store: one made quickly while writing goes on, and one as small as can be."""

from __future__ import annotations

import contextlib
import os
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import lmdb

from ..coded import AS_STORED
from ..errors import DamagedStore, StoreError
from ..layout.schema import TABLES
from ..lmdb.environment import DATA_FILE, MAX_TABLES, is_there
from ..lmdb.file_swap import sync_folder
from ..lmdb.private_files import PRIVATE_FOLDER, create_file
from ..lmdb.store import LmdbStore
from ..opening import open_store
from .rewriting import (
    PARTIAL,
    gone_on_failure,
    needed_bytes,
    refusals_of_the_disk,
    sound,
    sync_file,
    write_tables,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..lmdb.engine import Snapshot
    from ..store import Store
    from .rewriting import Rows

__all__ = ["Sizes", "backup", "backup_open", "compact", "copy_snapshot", "new_file"]


LARGEST_COPY = 1 << 40
"""Bytes that a copy may come to have whose size is not known before; they are addresses only."""


class Sizes(NamedTuple):
    """Bytes of the file before and after it was compacted."""

    before: int
    after: int


def backup(path: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """Copy a store as it is at one moment, beside its writer or without one.

    The copy is a store like any other: to restore it, open it.

    Args:
        path: the store's folder, or its address in a database
        target: the copy's folder, which is missing or empty

    Raises:
        StoreError: there is no store, the target holds something, or the disk refused; nothing
            is left at the target

    """
    with open_store(path, read_only=True, codec=AS_STORED) as store:
        backup_open(store, target)


def backup_open(store: Store, target: str | os.PathLike[str]) -> None:
    """As `backup`, for a store that is open here already.

    Raises:
        StoreError: as `backup`; or the store is in no folder and no database

    """
    if not isinstance(store, LmdbStore):
        _back_up_rows(store, target)
        return
    with new_file(Path(target)) as partial, store.stored_snapshot() as snapshot:
        copy_snapshot(snapshot, partial)


def copy_snapshot(snapshot: Snapshot, partial: Path) -> None:
    """Write a snapshot into a new file.

    Raises:
        StoreError: the disk refused

    """
    # LMDB's own copying lets other threads of this process go on.
    fd = create_file(partial)
    try:
        # Here, where it is known that what fails is the writing.
        with refusals_of_the_disk(partial):
            snapshot.env.copyfd(fd, compact=True, txn=snapshot.txn)
    finally:
        os.close(fd)
    _refuse_short(partial)


def _back_up_rows(store: Store, target: str | os.PathLike[str]) -> None:
    """Copy a store that is in no file, row by row, into one that is."""
    with store.stored_snapshot() as snapshot:
        if snapshot.get("meta", b"format") is None:
            raise StoreError(
                "only a store in a folder or a database can be copied, and this one is in neither"
            )
        with new_file(Path(target)) as partial:
            rows = ((table, sound(snapshot.scan(table), table)) for table in TABLES)
            write_tables(partial, rows, LARGEST_COPY)


def compact(path: str | os.PathLike[str], target: str | os.PathLike[str] | None = None) -> Sizes:
    """Write a store anew, in full pages and without what is free in its file.

    Args:
        path: the store's folder
        target: the folder of the compacted store, which is missing or empty; without it, the
            store itself is compacted, and no process may have it open meanwhile

    Returns:
        the bytes of the file before and after

    Raises:
        LockedStore: the store itself is to be compacted, and is open somewhere
        CorruptRecord: a record is damaged; the store stays as it is
        StoreError: there is no store, the target holds something, or the disk refused; the store
            stays as it is

    """
    data = Path(path) / DATA_FILE
    if target is not None:
        with (
            LmdbStore(path, read_only=True, codec=AS_STORED) as store,
            new_file(Path(target)) as partial,
        ):
            before = data.stat().st_size
            _rewrite(store, partial)
        return Sizes(before, (Path(target) / DATA_FILE).stat().st_size)
    if not is_there(Path(path)):
        raise StoreError(f"there is no store at {path}")
    store = LmdbStore(path, codec=AS_STORED)
    try:
        before = data.stat().st_size
        partial = data.with_name(PARTIAL)
        with refusals_of_the_disk(partial):
            # Left by a compacting that was interrupted; no other one runs: we are the writer.
            partial.unlink(missing_ok=True)
        with refusals_of_the_disk(partial), gone_on_failure(partial):
            _rewrite(store, partial)
            sync_file(partial)
            store.replace(partial)
    finally:
        store.close()
    return Sizes(before, data.stat().st_size)


# The new file


@contextlib.contextmanager
def new_file(target: Path) -> Iterator[Path]:
    """The file to write; it becomes the target's data when the block has ended well."""
    if "\0" in str(target):
        raise StoreError(f"{str(target)!r} cannot be a folder: it has a NUL in it")
    with refusals_of_the_disk(target):
        existed = target.exists()
        if existed and (not target.is_dir() or any(target.iterdir())):
            raise StoreError(
                f"{target} is not empty: a copy gets a folder of its own, which is missing or empty"
            )
        target.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        partial = target / PARTIAL
        try:
            with gone_on_failure(partial):
                yield partial
                sync_file(partial)
                partial.replace(target / DATA_FILE)
                sync_folder(target)
                sync_folder(target.absolute().parent)
        except BaseException:
            if not existed:
                with contextlib.suppress(OSError):
                    target.rmdir()
            raise


def _refuse_short(file: Path) -> None:
    size, needed = file.stat().st_size, needed_bytes(file)
    if size < needed:
        raise StoreError(f"{file} has {size} bytes where it needs {needed}")


# Compacting


def _rewrite(store: LmdbStore, partial: Path) -> None:
    """Write all rows in the order of their keys, so that every page is filled; then compare."""
    with store.stored_snapshot() as source:
        used = (source.env.info()["last_pgno"] + 1) * source.env.stat()["psize"]
        write_tables(partial, _tables(source), 2 * used)
        with lmdb.Environment(
            str(partial), subdir=False, lock=False, readonly=True, max_dbs=MAX_TABLES
        ) as env:
            for table in TABLES:
                _compare(source, env, table)


def _tables(source: Snapshot) -> Iterator[tuple[str, Rows]]:
    for table in TABLES:
        yield table, sound(source.scan(table), table)


def _compare(source: Snapshot, env: lmdb.Environment, table: str) -> None:
    db = env.open_db(table.encode(), create=False)
    with env.begin() as txn, txn.cursor(db) as copy:
        count = source.count(table)
        is_same = txn.stat(db)["entries"] == count
        rows = 0
        for here, there in zip_longest(source.scan(table), copy):
            is_same = is_same and here == there
            rows += 1
        if not is_same or rows != count:
            raise DamagedStore(f"table {table!r} could not be copied whole: it is damaged")
