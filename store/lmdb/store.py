"""The LMDB store: opening it and committing to it; `reads` has what can be read.

The layout is documented in `docs/store-format.md`; change both together.
"""

from __future__ import annotations

import secrets
import struct
import threading
from contextlib import contextmanager, suppress
from copy import copy
from typing import TYPE_CHECKING, NamedTuple, Self

import lmdb

from ..errors import CorruptRecord, DamagedStore, StoreError, UnknownFormat
from ..records import FROM_OUTSIDE
from .environment import DATA_FILE, Durability, Environment
from .extras_writer import Counters
from .frames import Framer, frame, unframe
from .names import KnownNames
from .reads import Reads
from .schema import LOOKALIKE, TABLES, kind_of_name
from .step_writer import Writer

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import TypeAlias

    from lmdb import _Database

    from ..records import NameKind, Outcome, Step

    Txn: TypeAlias = lmdb.Transaction[bytes]

__all__ = ["FORMAT_VERSION", "LmdbStore", "Snapshot"]

FORMAT_VERSION = 2
"""Stamped into every store; a store with another number is refused."""

OLD_FORMAT = 1
"""What `procession upgrade` turns into today's format."""

PER_STEP = 1 << 12
"""Bytes that one step may put into the queue and have taken off again in the same commit."""


class Snapshot(NamedTuple):
    """The whole store at one moment."""

    env: lmdb.Environment
    txn: Txn
    tables: dict[str, _Database]


class LmdbStore(Reads):
    """Durable state in one LMDB file. Satisfies `store.Store`.

    Args:
        path: the store's folder; made when it is missing
        durability: ``"fsync"`` survives a power cut; ``"os"`` survives the end of the process,
            and is synced when it is closed; ``"none"`` is never synced
        read_only: read beside a writer, in this process or another
        map_size: bytes of the first memory map; it grows by itself
        store_id: what a new store is called; random when it is not given

    Raises:
        LockedStore: it is open for writing elsewhere
        UnknownFormat: another version wrote it
        DamagedStore: it is truncated, or no store

    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        durability: Durability = "fsync",
        read_only: bool = False,
        map_size: int = 1 << 28,
        store_id: str | None = None,
    ) -> None:
        if durability not in {"fsync", "os", "none"}:
            raise StoreError(f'durability is "fsync", "os" or "none", not {durability!r}')
        self._environment = Environment(
            path, read_only=read_only, durability=durability, map_size=map_size
        )
        self._write_lock = threading.Lock()
        self._snapshot_lock = threading.Lock()
        self._framer = Framer()
        self._names = KnownNames(())
        self._new_id = store_id or secrets.token_hex(16)
        try:
            self._db = self._open_tables()
            with self._environment.read() as txn:
                self._counters = Counters(
                    position=self._last_number(txn, "log"),
                    sequence=self._last_number(txn, "queue", below=FROM_OUTSIDE),
                    sequence_from_outside=max(FROM_OUTSIDE, self._last_number(txn, "queue")),
                    parked=max(self._last_number(txn, "parked"), self._last_number(txn, "decided")),
                    refusal=self._last_number(txn, "refusals"),
                    any_waiting=self._has_rows(txn, "waiting"),
                    any_lookalike=txn.get(LOOKALIKE, db=self._db["meta"]) is not None,
                )
                if not read_only:
                    self._names = KnownNames(self._sound_names(txn))
        except BaseException as error:
            self._environment.close()
            # The latter: a key of another length than a number's.
            if isinstance(error, lmdb.Error | struct.error):
                raise DamagedStore(
                    f"{self._environment.path / DATA_FILE} cannot be read: {error}"
                ) from error
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the store. Everything else raises `ClosedError` afterwards."""
        if self._environment.is_inherited:
            # A lock that some thread of the parent held at the fork is never released here.
            return
        with self._snapshot_lock, self._write_lock:
            self._environment.close()

    def check_owner(self) -> None:
        """Refuse to go on in a process that was forked from the one that opened it.

        Raises:
            ReadOnlyStore: this is such a one

        """
        if self._environment.is_inherited:
            self._environment.check_usable()

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """The whole store as it is now, for as long as the block lasts; one at a time.

        Commits go on, and `close` waits. Pages that are freed meanwhile are not used again.
        """
        # First, since a lock that a parent held at a fork is never released here.
        self._environment.check_usable()
        with self._snapshot_lock:
            self._environment.check_usable()
            if not self._environment.read_only:
                with self._write_lock:
                    self._environment.make_spare()
            with self._environment.read() as txn:
                yield Snapshot(self._environment.env, txn, self._db)

    def replace(self, file: Path) -> None:
        """Put another file in the place of the store's own, and close; see `Environment`."""
        with self._snapshot_lock, self._write_lock:
            self._environment.replace(file)

    # Opening

    def _open_tables(self) -> dict[str, _Database]:
        # Those of the writer are taken where there is one in this process: to open a table, LMDB
        # waits for the writer with the interpreter's lock held, and that one may wait for this.
        with self._environment.tables() as tables:
            if not tables:
                tables.update(self._tables_of_file())
            elif self._environment.read_only:
                self._check_format(tables["meta"])
        return tables

    def _tables_of_file(self) -> dict[str, _Database]:
        env, read_only = self._environment.env, self._environment.read_only
        try:
            if not read_only:
                self._refuse_foreign(env)
            # The format comes first, so that a store that is refused stays as it is.
            self._check_format(env.open_db(b"meta", create=not read_only))
            return {name: env.open_db(name.encode(), create=not read_only) for name in TABLES}
        except (lmdb.NotFoundError, lmdb.ReadonlyError) as error:
            raise DamagedStore(
                f"{self._environment.path} holds an LMDB file that is no Procession store"
            ) from error

    def _refuse_foreign(self, env: lmdb.Environment) -> None:
        with env.begin() as txn:
            names = {bytes(key) for key in txn.cursor().iternext(keys=True, values=False)}
        if names and b"meta" not in names:
            raise DamagedStore(
                f"{self._environment.path} holds an LMDB file of something else; "
                f"give the store a folder of its own"
            )

    def _check_format(self, meta: _Database) -> None:
        with self._environment.read() as txn:
            raw = txn.get(b"format", db=meta)
        if raw is None:
            if self._environment.read_only:
                raise DamagedStore(f"{self._environment.path} is no Procession store")
            with self._environment.begin_write() as txn:
                txn.put(b"format", frame(b"format", FORMAT_VERSION), db=meta)
                txn.put(b"store_id", frame(b"store_id", self._new_id), db=meta)
            return
        found = unframe(raw, "meta", b"format")
        if found == OLD_FORMAT:
            raise UnknownFormat(
                f"the store at {self._environment.path} has format {found}, and this version of "
                f"Procession knows format {FORMAT_VERSION}; turn it into that, while no process "
                f"has it open, with: procession upgrade {self._environment.path}"
            )
        if found != FORMAT_VERSION:
            raise UnknownFormat(
                f"the store at {self._environment.path} has format {found}, and this version of "
                f"Procession knows format {FORMAT_VERSION}; open it with the version that wrote it"
            )

    def _sound_names(self, txn: Txn) -> Iterator[tuple[NameKind, str]]:
        with txn.cursor(self._db["names"]) as cursor:
            for key, raw in cursor:
                # One that is damaged is written again when it is used next.
                with suppress(CorruptRecord):
                    yield kind_of_name(key), unframe(raw, "names", key)

    def _has_rows(self, txn: Txn, table: str) -> bool:
        with txn.cursor(self._db[table]) as cursor:
            return bool(cursor.first())

    # Writing

    def commit(
        self, steps: Sequence[Step], checkpoints: Mapping[str, int] | None = None
    ) -> list[Outcome]:
        self._environment.check_usable()
        with self._write_lock:
            # Once more: it may have been closed while this waited.
            self._environment.check_usable()
            self._environment.make_room(PER_STEP * len(steps))
            while True:
                counters = copy(self._counters)
                try:
                    with self._environment.begin_write() as txn:
                        writer = Writer(txn, self._db, counters, self._names, self._framer)
                        outcomes = [writer.write(step) for step in steps]
                        if checkpoints:
                            writer.write_checkpoints(checkpoints)
                        if self._names.fresh:
                            writer.write_names()
                except BaseException as error:
                    self._names.take_back()
                    if isinstance(error, lmdb.MapFullError):
                        self._environment.grow()
                        continue
                    if isinstance(error, lmdb.Error):
                        raise self._environment.error(error, "committing") from error
                    raise
                self._names.keep()
                self._counters = counters
                self._environment.shared_read.forget()
                return outcomes


if TYPE_CHECKING:
    from ..port import Store

    _satisfies_the_port: Callable[..., Store] = LmdbStore
