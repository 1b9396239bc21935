"""The one family of errors: what the store raises, and the base of everything else.

`actors.errors` adds what the runtime raises. A user who wants all of them catches
`ProcessionError`; one who cares about the disk catches `StoreError`.
"""

from __future__ import annotations

__all__ = [
    "ClosedError",
    "CorruptRecord",
    "DamagedStore",
    "InvalidName",
    "LockedStore",
    "ProcessionError",
    "ReadOnlyStore",
    "StoreError",
    "StoreFull",
    "UnknownFormat",
]


class ProcessionError(Exception):
    """Base of every error that Procession raises itself."""


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


class ClosedError(StoreError):
    """The store or the runtime is closed."""


class InvalidName(StoreError, ValueError):
    """A stream, process or id that cannot be a key: empty, too long, or with a NUL in it."""
