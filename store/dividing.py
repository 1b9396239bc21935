"""Divided stores, wherever they are: in a folder with one for each partition, or in a database."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from .lmdb.divided_store import divided_at, make_divided
from .opening import refusing_without_driver
from .postgresql.address import Address, is_address

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator
    from pathlib import Path

    from .coded import AsStored, PayloadCodec
    from .partitions import Partition
    from .store import Store

__all__ = ["Divided", "divided_store", "is_divided", "make_divided_store", "operating"]


class Divided(Protocol):
    """One divided store."""

    @property
    def place(self) -> Path | Address:
        """Where it is; as it is shown, without a password."""
        ...

    @property
    def count(self) -> int:
        """How many partitions it has, for ever."""
        ...

    @property
    def family(self) -> str:
        """What tells its partitions from those of another store."""
        ...

    def partitions(self) -> Iterator[Partition]:
        """All of them, in order."""
        ...

    def open(
        self,
        number: int,
        *,
        read_only: bool = False,
        codec: PayloadCodec | AsStored | None = None,
    ) -> Store:
        """Open a partition.

        Raises:
            LockedStore: another process has it open for writing
            WrongPartition: what is there is another store's partition
            WrongCodec: another codec wrote it, or none

        """
        ...


def divided_store(place: str | os.PathLike[str]) -> Divided | None:
    """The divided store at a place; None if there is none.

    Raises:
        StoreError: what says how many partitions there are cannot be read

    """
    if is_address(place):
        found: Divided | None = _in_database(place).divided_in(Address.parse(place))
        return found
    return divided_at(place)


def is_divided(place: str | os.PathLike[str], partitions: int | None) -> bool:
    """Whether a place has a divided store, or is to have one of so many partitions."""
    return (partitions is not None and partitions != 1) or divided_store(place) is not None


def make_divided_store(
    place: str | os.PathLike[str], count: int, *, codec: PayloadCodec | None = None
) -> Divided:
    """The divided store at a place, with all its partitions; made where it is missing.

    Args:
        place: a folder, or an address
        count: of partitions
        codec: what encodes payloads, states and texts

    Raises:
        WrongPartition: the store that is there has another number of partitions, or is not divided
        WrongCodec: the store that is there was written with another codec, or with none
        StoreError: the number is none, or what holds the store refused

    """
    if is_address(place):
        module = _in_database(place)
        made: Divided = module.make_divided_in(Address.parse(place), count, codec=codec)
        return made
    return make_divided(place, count, codec=codec)


def _in_database(place: str) -> Any:
    with refusing_without_driver(Address.parse(place)):
        return import_module(".postgresql.divided_database", __package__)


def operating() -> Any:
    """What operators see of the nodes of a store in a database: the module `operating`.

    Raises:
        StoreError: the driver of PostgreSQL is missing

    """
    with refusing_without_driver("a database"):
        return import_module(".postgresql.operating", __package__)
