"""The one family of errors: what the store raises, and the base of everything else.

`actors.errors` adds what the runtime raises. A user who wants all of them catches
`ProcessionError`; one who cares about the disk catches `StoreError`.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "ClosedError",
    "CorruptRecord",
    "DamagedStore",
    "DatabaseRefused",
    "FailingDisk",
    "ForgottenKey",
    "InvalidName",
    "LockedStore",
    "LostStore",
    "NoThread",
    "ProcessionError",
    "ReadOnlyStore",
    "StoreError",
    "StoreFull",
    "TakenOver",
    "TooManyReaders",
    "UnknownFormat",
    "WrongCodec",
    "WrongPartition",
]


class ProcessionError(Exception):
    """Base of every error that Procession raises itself."""


class NoThread(ProcessionError, RuntimeError):
    """The operating system starts no thread that is needed."""


class StoreError(ProcessionError):
    """Something about durable state: what happened, and in which store."""


class LockedStore(StoreError):
    """The store is open for writing elsewhere; one store has one writer."""


class ReadOnlyStore(StoreError):
    """The store was opened for reading, or was opened by another process before a fork."""


class UnknownFormat(StoreError):
    """The store was written in a format that this version does not know."""


class DamagedStore(StoreError):
    """The file is truncated, is not an LMDB file, or belongs to something else."""


class CorruptRecord(StoreError):
    """A record's checksum or shape does not match what was written.

    Attributes:
        table: where it is
        key: its key there

    """

    table: str = ""
    key: bytes = b""


class StoreFull(StoreError):
    """The disk or the address space has no room; nothing of the refused commit was kept."""


class WrongPartition(StoreError):
    """The store is another partition than the one it was opened as, or is divided otherwise."""


class WrongCodec(StoreError):
    """The store was written with another payload codec than it was opened with, or with none."""


class ForgottenKey(StoreError):
    """What a payload codec raises for what it cannot decode any more; it is read as erased.

    Args:
        time: when the key was forgotten, in microseconds

    """

    def __init__(self, time: int) -> None:
        super().__init__("the key of what was to be decoded was forgotten")
        self.time = time


class FailingDisk(StoreError):
    """The disk refused to read or write; nothing of what was refused was kept.

    The store opens its file again by itself as soon as the disk works.
    """


class DatabaseRefused(FailingDisk):
    """The database could not be reached, or refused; nothing of what was refused was kept.

    The store connects again by itself as soon as the database answers.
    """


class LostStore(StoreError):
    """A file of an open store was removed or replaced; nothing is acknowledged any more.

    What was acknowledged before is in the file that was there.
    """


class TakenOver(LostStore):
    """Another process has taken the store over; nothing is acknowledged any more.

    What was acknowledged before is in the store, and the other process goes on from it.
    """


class TooManyReaders(StoreError):
    """All places in the store's table of readers are taken.

    Attributes:
        processes: how many each process has, by its id

    """

    processes: Mapping[int, int] = MappingProxyType({})


class ClosedError(StoreError):
    """The store or the runtime is closed."""


class InvalidName(StoreError, ValueError):
    """A stream, process or id that cannot be a key: empty, too long, or with a NUL in it."""
