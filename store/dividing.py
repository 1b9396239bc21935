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

    def open(self, number: int, *, read_only: bool = False) -> Store:
        """Open a partition.

        Raises:
            LockedStore: another process has it open for writing
            WrongPartition: what is there is another store's partition

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


def make_divided_store(place: str | os.PathLike[str], count: int) -> Divided:
    """The divided store at a place, with all its partitions; made where it is missing.

    Raises:
        WrongPartition: the store that is there has another number of partitions, or is not divided
        StoreError: the number is none, or what holds the store refused

    """
    if is_address(place):
        made: Divided = _in_database(place).make_divided_in(Address.parse(place), count)
        return made
    return make_divided(place, count)


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
