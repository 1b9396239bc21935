"""Opening a store for the place where its rows are."""

from __future__ import annotations

from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import ReadOnlyStore, StoreError
from .lmdb.store import LmdbStore
from .postgresql.address import Address, is_address
from .storage_engine import StorageEngine
from .store import Store

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from .coded import AsStored, PayloadCodec
    from .lmdb.environment import Durability

__all__ = ["located", "open_store", "refusing_without_driver"]


def located(place: str | os.PathLike[str]) -> Path | Address:
    """Where a store is, as it is shown: a folder, absolute, or an address without its password.

    Raises:
        StoreError: a URL is none

    """
    if is_address(place):
        return Address.parse(place)
    # The process may change its folder.
    return Path(place).absolute()


def open_store(
    place: str | os.PathLike[str] | StorageEngine,
    *,
    durability: Durability = "fsync",
    read_only: bool = False,
    codec: PayloadCodec | AsStored | None = None,
) -> Store:
    """Open a store.

    Args:
        place: a folder, whose store is an LMDB file and is made when it is missing; a URL that
            begins with ``postgresql://``, whose store is in a database; or a storage engine, which
            is closed with its store
        durability: of a folder, as for `LmdbStore`, or of a URL, as for `PostgresEngine`; an engine
            has its own
        read_only: only to be read
        codec: what encodes payloads, states and texts, as for `Store`

    Raises:
        LockedStore: the folder, or what the URL names, is open for writing elsewhere
        ReadOnlyStore: the engine cannot be written to, and `read_only` was not said
        UnknownFormat: another version wrote the folder
        WrongCodec: another codec wrote it, or none
        DamagedStore: the folder is truncated, or no store
        StoreError: a URL is none, or the extra for PostgreSQL is missing

    """
    if is_address(place):
        return _in_postgresql(place, durability=durability, read_only=read_only, codec=codec)
    if not isinstance(place, StorageEngine):
        return LmdbStore(place, durability=durability, read_only=read_only, codec=codec)
    if place.read_only and not read_only:
        raise ReadOnlyStore(f"{place!r} was opened for reading only; say so: read_only=True")
    return Store(place, codec=codec)


def _in_postgresql(
    url: str,
    *,
    durability: Durability,
    read_only: bool,
    codec: PayloadCodec | AsStored | None,
) -> Store:
    address = Address.parse(url)
    with refusing_without_driver(address):
        module: Any = import_module(".postgresql.store", __package__)
    store: Store = module.PostgresStore(
        address, durability=durability, read_only=read_only, codec=codec
    )
    return store


@contextmanager
def refusing_without_driver(address: Address | str) -> Iterator[None]:
    """What stands on the driver is imported where it is used, and it may be missing."""
    try:
        yield
    except ImportError as error:
        raise StoreError(
            f"the store at {address} needs the driver of PostgreSQL: "
            f"pip install 'procession[postgresql]'"
        ) from error
