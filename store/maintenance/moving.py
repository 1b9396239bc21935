"""Taking a store to another place: from a folder to a database, back, or to another folder.

Rows are copied as they are, table by table in the order of their keys. Until all are there and were
compared, the target has no format, and so is no store: it has a row that says what it is a copy of,
by which the copying goes on where it was cut off.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from importlib import import_module
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

import lmdb

from ..coded import AS_STORED
from ..errors import DamagedStore, StoreError
from ..layout.frames import frame, unframe
from ..layout.schema import COMMITS, TABLES
from ..lmdb.engine import Snapshot
from ..lmdb.environment import DATA_FILE, MAX_TABLES
from ..lmdb.file_swap import sync_folder
from ..lmdb.private_files import PRIVATE_FOLDER, create_file
from ..opening import located, open_store
from ..partitions import Partition
from ..postgresql.address import Address, is_address
from .copying import LARGEST_COPY
from .rewriting import PARTIAL, in_parts, refusals_of_the_disk, sound, sync_file
from .splitting import rows_to_divide, split

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from ..coded import PayloadCodec
    from ..storage_engine import EngineSnapshot, Row
    from .splitting import Put

__all__ = ["Copied", "copy"]

MARK = b"copying"
"""Stands in `meta` of the target until all is there: the source's id, and its number of commits."""

LAST = b"\xff" * 512

T = TypeVar("T")


class Copied(NamedTuple):
    """What was copied.

    Attributes:
        rows: how many the store has
        before: how many of them were there from an attempt that was cut off

    """

    rows: int
    before: int


def copy(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    partitions: int = 1,
    codec: PayloadCodec | None = None,
    projections_anew: bool = False,
    on_progress: Callable[[int, int], object] | None = None,
) -> Copied:
    """Copy a store that no process has open, with its id, to another place.

    What was cut off goes on where it was, when it is called again. At the end every row of the
    target is compared with its source.

    Args:
        source: the store's folder, or its address in a database
        target: a folder that is missing or empty, or the address of a schema without tables
        partitions: into how many it is divided on the way; each is checked at the end, nothing is
            gone on with that was cut off, and the target is removed then
        codec: with which the store was written; it is needed only to divide one that has a codec
        projections_anew: of a store with projections that is divided: have them begin anew, with
            tables that are new to them
        on_progress: called with how many rows are copied or compared, and how many there are to be

    Returns:
        how many rows were copied

    Raises:
        LockedStore: a process has one of the two open
        CorruptRecord: a record of the source is damaged; verify it
        StoreError: there is no store, the target holds something else, or it refused to take rows

    """
    # It must be there: one that is opened for writing would be made.
    open_store(source, read_only=True, codec=AS_STORED).close()
    if partitions != 1:
        return _divide(source, target, partitions, projections_anew, codec, on_progress)
    with (
        open_store(source, codec=AS_STORED) as store,
        store.snapshot() as here,
        _opened(target) as there,
        # One reads the source, another the copy.
        ThreadPoolExecutor(2, thread_name_prefix="procession-copy") as reading,
    ):
        _refuse_part(here, source)
        _begin(here, there)
        counts = {table: here.count(table) for table in TABLES if table != "meta"}
        tell = _Told(2 * sum(counts.values()), on_progress)
        before = 0
        behind: dict[str, bytes] = {}
        for table in counts:
            behind[table] = there.newest(table)
            if behind[table]:
                before += sum(1 for key, _ in here.scan(table) if key <= behind[table])
        tell(before)
        parts = (
            (table, part)
            for table, last in behind.items()
            for part in in_parts(sound(here.scan(table, last + b"\0" if last else b""), table))
        )
        with closing(_ahead(parts, reading)) as ready:
            for table, part in ready:
                there.write(table, part)
                tell(len(part))
        with there.snapshot() as copied:
            for table in counts:
                _compare(here, copied, table, reading, tell)
        there.finish(dict(here.scan("meta")))
    return Copied(sum(counts.values()), before)


def _divide(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    parts: int,
    projections_anew: bool,
    codec: PayloadCodec | None,
    on_progress: Callable[[int, int], object] | None,
) -> Copied:
    Partition(0, parts).check()
    with (
        open_store(source, codec=codec) as store,
        store.stored_snapshot() as here,
        _to_divide_into(target, parts) as (folder, put_too),
    ):
        _refuse_part(here, source)
        tell = _Told(2 * rows_to_divide(here), on_progress)
        tell(0)
        rows = split(
            store,
            here,
            folder,
            parts,
            codec=codec,
            projections_anew=projections_anew,
            tell=tell,
            put_too=put_too,
        )
    return Copied(rows, 0)


@contextmanager
def _to_divide_into(
    target: str | os.PathLike[str], parts: int
) -> Iterator[tuple[Path, Put | None]]:
    """The folder for the partitions, and what puts them into a database if that is the target."""
    if not is_address(target):
        yield Path(target), None
        return
    module: Any = import_module("..postgresql.divided_database", __package__)
    with (
        module.filling_divided_in(Address.parse(target), parts) as put,
        TemporaryDirectory(prefix="procession-copy-") as scratch,
    ):
        yield Path(scratch) / "divided", put


class _Told:
    """How far it is."""

    def __init__(self, total: int, on_progress: Callable[[int, int], object] | None) -> None:
        self._total, self._on_progress, self._done = total, on_progress, 0

    def __call__(self, more: int) -> None:
        self._done += more
        if self._on_progress is not None:
            self._on_progress(self._done, self._total)


def _ahead(parts: Iterator[T], reading: ThreadPoolExecutor) -> Generator[T]:
    """Each part, while the next one is read already; nothing is read once this is closed."""
    wanted = reading.submit(next, parts, None)
    try:
        while (part := wanted.result()) is not None:
            wanted = reading.submit(next, parts, None)
            yield part
    finally:
        wait([wanted])


def _refuse_part(here: EngineSnapshot, source: str | os.PathLike[str]) -> None:
    if next(here.scan("partitions"), None) is not None:
        raise StoreError(
            f"the store at {located(source)} is a partition of a divided store, and only whole "
            f"stores can be copied"
        )


def _begin(here: EngineSnapshot, there: _Target) -> None:
    """See to it that the target is empty, or an unfinished copy of just this."""
    rows = dict(here.scan("meta"))
    commits = unframe(rows[COMMITS], "meta", COMMITS) if COMMITS in rows else 0
    mark = frame(MARK, f"{unframe(rows[b'store_id'], 'meta', b'store_id')} {commits}")
    with there.snapshot() as found:
        meta = dict(found.scan("meta"))
        if meta == {MARK: mark}:
            return
        if MARK in meta:
            raise StoreError(
                f"{there.place} has an unfinished copy of another store, or of this one before it "
                f"was written to again; remove it, and copy anew"
            )
        if meta or any(next(found.scan(table), None) for table in TABLES):
            raise StoreError(
                f"{there.place} holds a store already; give the copy a place of its own"
            )
    there.write("meta", [(MARK, mark)])


def _compare(
    here: EngineSnapshot,
    there: EngineSnapshot,
    table: str,
    reading: ThreadPoolExecutor,
    tell: Callable[[int], None],
) -> None:
    # Rows that are the same come in the same parts.
    rows, copies = (_ahead(in_parts(one.scan(table)), reading) for one in (here, there))
    with closing(rows), closing(copies):
        for part, copied in zip_longest(rows, copies):
            if copied != part:
                raise DamagedStore(
                    f"table {table!r} of the copy is not as its source has it: something else "
                    f"wrote there meanwhile; remove the copy, and copy anew"
                )
            tell(len(part))


# Where it goes


class _Target(Protocol):
    """What becomes a store."""

    place: str

    def newest(self, table: str) -> bytes:
        """The highest key that is there, or no bytes."""
        ...

    def write(self, table: str, rows: list[Row]) -> None:
        """Write rows behind those that are there; what a crash takes back is the last of them."""
        ...

    def snapshot(self) -> Any:
        """All that is there, as that of an engine."""
        ...

    def finish(self, meta: dict[bytes, bytes]) -> None:
        """Make it a store, with these rows of `meta`; all of it is durable then."""
        ...


@contextmanager
def _opened(target: str | os.PathLike[str]) -> Iterator[_Target]:
    if is_address(target):
        # What stands on the driver is imported where it is used.
        module: Any = import_module("..postgresql.engine", __package__)
        engine = module.PostgresEngine(target)
        try:
            with closing(engine.filling()) as filling:
                yield _Database(engine, filling)
        finally:
            engine.close()
        return
    folder = _Folder(Path(target))
    try:
        yield folder
    finally:
        folder.close()


class _Database:
    """A schema of a database. Satisfies `_Target`."""

    def __init__(self, engine: Any, filling: Any) -> None:
        self._engine = engine
        self.write = filling.write
        self.place = str(engine.address)
        self.snapshot = engine.snapshot

    def newest(self, table: str) -> bytes:
        (row,) = self._engine.newest(table, [(b"", LAST)])
        return b"" if row is None else row[0]

    def finish(self, meta: dict[bytes, bytes]) -> None:
        ticket = self._engine.commit({"meta": meta}, {"meta": [MARK]})
        if ticket.outcome != "committed":
            raise ticket.error


class _Folder:
    """A file that gets the name of a store's when it is whole. Satisfies `_Target`."""

    def __init__(self, folder: Path) -> None:
        self.place = str(folder)
        self._folder = folder
        self._file = folder / PARTIAL
        with refusals_of_the_disk(self._file):
            if folder.exists() and not (
                folder.is_dir() and {one.name for one in folder.iterdir()} <= {PARTIAL}
            ):
                raise StoreError(
                    f"{folder} is not empty: a copy gets a folder of its own, which is missing or "
                    f"empty, or has a copy that was not finished"
                )
            folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
            if not self._file.exists():
                os.close(create_file(self._file))
            self._env = lmdb.Environment(
                str(self._file),
                subdir=False,
                lock=False,
                max_dbs=MAX_TABLES,
                map_size=LARGEST_COPY,
            )
            self._tables = {table: self._env.open_db(table.encode()) for table in TABLES}

    def newest(self, table: str) -> bytes:
        with self._env.begin() as txn, txn.cursor(self._tables[table]) as cursor:
            return bytes(cursor.key()) if cursor.last() else b""

    def write(self, table: str, rows: list[Row]) -> None:
        with (
            refusals_of_the_disk(self._file),
            self._env.begin(write=True) as txn,
            txn.cursor(self._tables[table]) as cursor,
        ):
            cursor.putmulti(rows, append=True)

    @contextmanager
    def snapshot(self) -> Iterator[EngineSnapshot]:
        with self._env.begin() as txn:
            yield Snapshot(self._env, txn, self._tables, -1)

    def finish(self, meta: dict[bytes, bytes]) -> None:
        with refusals_of_the_disk(self._file):
            with self._env.begin(write=True) as txn:
                txn.delete(MARK, db=self._tables["meta"])
                for key, value in meta.items():
                    txn.put(key, value, db=self._tables["meta"])
            self._env.close()
            sync_file(self._file)
            self._file.replace(self._folder / DATA_FILE)
            sync_folder(self._folder)
            sync_folder(self._folder.absolute().parent)

    def close(self) -> None:
        self._env.close()
