"""The store in an LMDB file: how it is opened, and what only a file can do.

The layout is documented in `docs/store-format.md`; change both together.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import lmdb
from msgspec import structs

from ..errors import DamagedStore, StoreError, UnknownFormat
from ..layout.frames import frame, unframe
from ..layout.schema import FORMAT_VERSION, SECRET, TABLES
from ..storage_engine import LONGEST_KEY
from ..store import SECRET_BYTES, Store
from .engine import LmdbEngine
from .environment import DATA_FILE
from .file_gauges import file_gauges

if TYPE_CHECKING:
    import os
    from contextlib import AbstractContextManager
    from pathlib import Path

    from lmdb import _Database

    from ..coded import AsStored, PayloadCodec
    from ..gauges import StoreGauges
    from ..partitions import Partition
    from ..storage_engine import Row
    from .engine import Snapshot
    from .environment import Durability, Environment

__all__ = ["LmdbStore"]

LOOK_AFTER_EVERY = 1_000_000
"""Microseconds after which readers are looked after again. While a dead one has its place, no page
that is freed is used again."""

BEHIND_ALL = b"\xff" * (LONGEST_KEY + 1)
"""Above every key."""

OLD_FORMAT = 1
"""What `procession upgrade` turns into today's format."""


class LmdbStore(Store):
    """Durable state in one LMDB file.

    Args:
        path: the store's folder; made when it is missing
        durability: ``"fsync"`` survives a power cut; ``"os"`` survives the end of the process,
            and is synced when it is closed; ``"none"`` is never synced
        read_only: read beside a writer, in this process or another
        map_size: bytes of the first memory map; it grows by itself
        store_id: what a new store is called; random when it is not given
        secret: of a new store, as for `Store`
        partition: which one it is to be, as for `Store`
        family: as for `Store`
        codec: as for `Store`

    Raises:
        LockedStore: it is open for writing elsewhere
        UnknownFormat: another version wrote it
        DamagedStore: it is truncated, or no store
        WrongPartition: it is another partition, or none
        WrongCodec: as `Store`

    """

    has_format = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        durability: Durability = "fsync",
        read_only: bool = False,
        map_size: int = 1 << 28,
        store_id: str | None = None,
        secret: str | None = None,
        partition: Partition | None = None,
        family: str = "",
        codec: PayloadCodec | AsStored | None = None,
    ) -> None:
        if durability not in {"fsync", "os", "none"}:
            raise StoreError(f'durability is "fsync", "os" or "none", not {durability!r}')
        self._new_id = store_id or secrets.token_hex(16)
        self._secret_of_new = secret or secrets.token_hex(SECRET_BYTES)
        self._file = LmdbEngine(
            path,
            durability=durability,
            read_only=read_only,
            map_size=map_size,
            prepare=self._open_tables,
        )
        try:
            super().__init__(self._file, partition=partition, family=family, codec=codec)
        except BaseException as error:
            self._file.close()
            if isinstance(error, DamagedStore):
                raise DamagedStore(
                    f"{self._file.environment.path / DATA_FILE} cannot be read: {error}"
                ) from error
            raise
        self._looked_after = 0

    def stored_snapshot(self) -> AbstractContextManager[Snapshot]:
        """As that of any store; one at a time, see `LmdbEngine`."""
        return self._file.snapshot()

    @property
    def location(self) -> Path:
        """The folder; absolute."""
        return self._file.environment.path

    def newest_commit(self) -> int:
        """A number that is another one after each commit, of any process.

        Raises:
            StoreError: LMDB cannot read it

        """
        return self._file.environment.look(lambda txn: txn.id())

    def refuse_lost(self) -> None:
        """Refuse to go on if the folder's file is not the one that is open.

        Raises:
            LostStore: it was removed or replaced

        """
        self._file.environment.refuse_lost()

    def rows_from(self, table: str, start: bytes, limit: int) -> list[Row]:
        """Rows of a table as they are in the file, from one key on, in order of their keys.

        Raises:
            StoreError: LMDB cannot read them

        """
        return self._file.range(table, start, BEHIND_ALL, limit)

    def replace(self, file: Path) -> None:
        """Put another file in the place of the store's own, and close; see `Environment`."""
        self._file.replace(file)

    def look_after(self, now: int) -> None:
        """Give back the places of readers that have died; done at most once a second."""
        # The clock may have been put back.
        if abs(now - self._looked_after) >= LOOK_AFTER_EVERY:
            self._looked_after = now
            self._file.look_after()

    def gauges(self, now: int) -> StoreGauges:
        """As that of any store, with what LMDB says of its file."""
        size, used, reader = file_gauges(self._file.environment)
        found = super().gauges(now)
        return structs.replace(found, map_size=size, map_used=used, oldest_reader=reader)

    # Opening

    def _open_tables(self, environment: Environment, tables: dict[str, _Database]) -> None:
        if not tables:
            tables.update(self._tables_of_file(environment))
        elif environment.read_only:
            self._check_format(environment, tables["meta"])

    def _tables_of_file(self, environment: Environment) -> dict[str, _Database]:
        env, read_only = environment.env, environment.read_only
        try:
            if not read_only:
                self._refuse_foreign(environment)
            # The format comes first, so that a store that is refused stays as it is.
            self._check_format(environment, env.open_db(b"meta", create=not read_only))
            return {name: env.open_db(name.encode(), create=not read_only) for name in TABLES}
        except (lmdb.NotFoundError, lmdb.ReadonlyError) as error:
            raise DamagedStore(
                f"{environment.path} holds an LMDB file that is no Procession store"
            ) from error
        except lmdb.Error as error:
            raise environment.error(error, "opening") from error

    @staticmethod
    def _refuse_foreign(environment: Environment) -> None:
        with environment.env.begin() as txn:
            names = {bytes(key) for key in txn.cursor().iternext(keys=True, values=False)}
        if names and b"meta" not in names:
            raise DamagedStore(
                f"{environment.path} holds an LMDB file of something else; "
                f"give the store a folder of its own"
            )

    def _check_format(self, environment: Environment, meta: _Database) -> None:
        with environment.read() as txn:
            raw = txn.get(b"format", db=meta)
        if raw is None:
            if environment.read_only:
                raise DamagedStore(f"{environment.path} is no Procession store")
            with environment.begin_write() as txn:
                txn.put(b"format", frame(b"format", FORMAT_VERSION), db=meta)
                txn.put(b"store_id", frame(b"store_id", self._new_id), db=meta)
                txn.put(SECRET, frame(SECRET, self._secret_of_new), db=meta)
            return
        found = unframe(raw, "meta", b"format")
        if found == OLD_FORMAT:
            raise UnknownFormat(
                f"the store at {environment.path} has format {found}, and this version of "
                f"Procession knows format {FORMAT_VERSION}; turn it into that, while no process "
                f"has it open, with: procession upgrade {environment.path}"
            )
        if found != FORMAT_VERSION:
            raise UnknownFormat(
                f"the store at {environment.path} has format {found}, and this version of "
                f"Procession knows format {FORMAT_VERSION}; open it with the version that wrote it"
            )
