"""Opening a store for the place where its rows are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import ReadOnlyStore
from .lmdb.store import LmdbStore
from .storage_engine import StorageEngine
from .store import Store

if TYPE_CHECKING:
    import os

    from .lmdb.environment import Durability
    from .partitions import Partition

__all__ = ["open_store"]


def open_store(
    place: str | os.PathLike[str] | StorageEngine,
    *,
    durability: Durability = "fsync",
    read_only: bool = False,
    partition: Partition | None = None,
    family: str = "",
) -> Store:
    """Open a store.

    Args:
        place: a folder, whose store is an LMDB file and is made when it is missing; or a storage
            engine, which is closed with its store
        durability: of a folder, as for `LmdbStore`; an engine has its own
        read_only: only to be read
        partition: which one it is to be, of a divided store
        family: what is the same in all partitions of that

    Raises:
        LockedStore: the folder is open for writing elsewhere
        ReadOnlyStore: the engine cannot be written to, and `read_only` was not said
        UnknownFormat: another version wrote the folder
        DamagedStore: the folder is truncated, or no store
        WrongPartition: it is another partition, or none

    """
    if not isinstance(place, StorageEngine):
        return LmdbStore(
            place,
            durability=durability,
            read_only=read_only,
            partition=partition,
            family=family,
        )
    if place.read_only and not read_only:
        raise ReadOnlyStore(f"{place!r} was opened for reading only; say so: read_only=True")
    return Store(place, partition=partition, family=family)
