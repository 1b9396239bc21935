"""Copies of a store: one made quickly while writing goes on, and one as small as can be.

Either is written under a name that makes no store, and gets its own when all of it is on disk.
"""

from __future__ import annotations

import contextlib
import errno
import os
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import lmdb

from ..errors import DamagedStore, StoreError, StoreFull
from ..lmdb.environment import DATA_FILE, MAX_TABLES
from ..lmdb.frames import unframe
from ..lmdb.schema import TABLES
from ..lmdb.store import LmdbStore
from .file_swap import sync_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeAlias

    from ..lmdb.store import Snapshot

    Rows: TypeAlias = Iterator[tuple[bytes, bytes]]

__all__ = ["Sizes", "backup", "backup_open", "compact"]

PARTIAL = "data.mdb.partial"
"""What a copy is called until it is whole."""

AT_ONCE = 1 << 24
"""Bytes of records in one transaction of a rewriting, which are kept in memory."""

ROOM = 1 << 24


class Sizes(NamedTuple):
    """Bytes of the file before and after it was compacted."""

    before: int
    after: int


def backup(path: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """Copy a store as it is at one moment, beside its writer or without one.

    The copy is a store like any other: to restore it, open it.

    Args:
        path: the store's folder
        target: the copy's folder, which is missing or empty

    Raises:
        StoreError: there is no store, the target holds something, or the disk refused; nothing
            is left at the target

    """
    with LmdbStore(path, read_only=True) as store:
        backup_open(store, target)


def backup_open(store: LmdbStore, target: str | os.PathLike[str]) -> None:
    """As `backup`, for a store that is open here already."""
    with _new_file(Path(target)) as partial, store.snapshot() as snapshot:
        # LMDB's own copying lets other threads of this process go on.
        fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            snapshot.env.copyfd(fd, compact=True)
        finally:
            os.close(fd)
        _refuse_short(partial)


def compact(path: str | os.PathLike[str], target: str | os.PathLike[str] | None = None) -> Sizes:
    """Write a store anew, in full pages and without what is free in its file.

    Args:
        path: the store's folder
        target: the folder of the compacted store, which is missing or empty; without it, the
            store itself is compacted, and nobody may have it open meanwhile

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
        with LmdbStore(path, read_only=True) as store, _new_file(Path(target)) as partial:
            before = data.stat().st_size
            _rewrite(store, partial)
        return Sizes(before, (Path(target) / DATA_FILE).stat().st_size)
    if not data.is_file():
        raise StoreError(f"there is no store at {path}")
    store = LmdbStore(path)
    try:
        before = data.stat().st_size
        partial = data.with_name(PARTIAL)
        # Left by a compacting that was interrupted; no other one runs, since we are the writer.
        partial.unlink(missing_ok=True)
        with _refusals_of_the_disk(partial), _gone_on_failure(partial):
            _rewrite(store, partial)
            _sync(partial)
            store.replace(partial)
    finally:
        store.close()
    return Sizes(before, data.stat().st_size)


# The new file


@contextlib.contextmanager
def _new_file(target: Path) -> Iterator[Path]:
    """The file to write; it becomes the target's data when the block has ended well."""
    existed = target.exists()
    with _refusals_of_the_disk(target):
        if existed and (not target.is_dir() or any(target.iterdir())):
            raise StoreError(
                f"{target} is not empty: a copy gets a folder of its own, which is missing or empty"
            )
        target.mkdir(parents=True, exist_ok=True)
        partial = target / PARTIAL
        try:
            with _gone_on_failure(partial):
                yield partial
                _sync(partial)
                partial.replace(target / DATA_FILE)
                sync_folder(target)
                sync_folder(target.absolute().parent)
        except BaseException:
            if not existed:
                with contextlib.suppress(OSError):
                    target.rmdir()
            raise


@contextlib.contextmanager
def _gone_on_failure(partial: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def _refusals_of_the_disk(target: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, lmdb.Error) as error:
        code = getattr(error, "errno", None) or getattr(error, "code", 0)
        if code in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            raise StoreFull(
                f"no room on the disk for the copy at {target}; it was removed ({error})"
            ) from error
        raise StoreError(f"the copy at {target} failed, and was removed: {error}") from error


def _sync(file: Path) -> None:
    fd = os.open(file, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _refuse_short(file: Path) -> None:
    with lmdb.Environment(str(file), subdir=False, readonly=True, lock=False) as env:
        needed = (env.info()["last_pgno"] + 1) * env.stat()["psize"]
    if file.stat().st_size < needed:
        raise StoreError(f"{file} has {file.stat().st_size} bytes where it needs {needed}")


# Rewriting


def _rewrite(store: LmdbStore, partial: Path) -> None:
    """Write all rows in the order of their keys, so that every page is filled; then compare."""
    with store.snapshot() as source:
        used = (source.env.info()["last_pgno"] + 1) * source.env.stat()["psize"]
        with lmdb.Environment(
            str(partial),
            subdir=False,
            lock=False,
            sync=False,
            max_dbs=MAX_TABLES,
            map_size=2 * used + ROOM,
        ) as env:
            for table in TABLES:
                _write_table(source, env, table)
            env.sync(True)
        _lengthen(partial)
        with lmdb.Environment(
            str(partial), subdir=False, lock=False, readonly=True, max_dbs=MAX_TABLES
        ) as env:
            for table in TABLES:
                _compare(source, env, table)


def _write_table(source: Snapshot, env: lmdb.Environment, table: str) -> None:
    db = env.open_db(table.encode())
    with source.txn.cursor(source.tables[table]) as cursor:
        rows = cursor.iternext()
        some = True
        while some:
            with env.begin(write=True) as txn, txn.cursor(db) as copy:
                consumed, added = copy.putmulti(_some(rows, table), append=True)
            if consumed != added:
                raise DamagedStore(f"the keys of table {table!r} are not in order")
            some = consumed > 0


def _some(rows: Rows, table: str) -> Rows:
    size = 0
    for key, value in rows:
        unframe(value, table, key)
        yield key, value
        size += len(key) + len(value)
        if size > AT_ONCE:
            return


def _lengthen(file: Path) -> None:
    """Pages at the end that were taken and freed again are not written; the header counts them."""
    with lmdb.Environment(str(file), subdir=False, readonly=True, lock=False) as env:
        needed = (env.info()["last_pgno"] + 1) * env.stat()["psize"]
    if file.stat().st_size < needed:
        os.truncate(file, needed)


def _compare(source: Snapshot, env: lmdb.Environment, table: str) -> None:
    db = env.open_db(table.encode(), create=False)
    with (
        env.begin() as txn,
        txn.cursor(db) as copy,
        source.txn.cursor(source.tables[table]) as cursor,
    ):
        count = source.txn.stat(source.tables[table])["entries"]
        is_same = txn.stat(db)["entries"] == count
        rows = 0
        for here, there in zip_longest(cursor, copy):
            is_same = is_same and here == there
            rows += 1
        if not is_same or rows != count:
            raise DamagedStore(f"table {table!r} could not be copied whole: it is damaged")
