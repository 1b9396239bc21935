"""Durable state for Procession: the port, its records, and the LMDB store behind it."""

from .environment import Durability
from .errors import (
    ClosedError,
    CorruptRecord,
    DamagedStore,
    InvalidName,
    LockedStore,
    ProcessionError,
    ReadOnlyStore,
    StoreError,
    StoreFull,
    UnknownFormat,
)
from .lmdb_store import FORMAT_VERSION, LmdbStore
from .port import Store
from .records import (
    FROM_OUTSIDE,
    MAX_NAME_BYTES,
    Append,
    CommandRecord,
    CommandResult,
    Committed,
    Conflict,
    Duplicate,
    EventRecord,
    Outcome,
    ParkedRecord,
    Step,
    TransitionRecord,
    check_name,
)
from .tables import event_id_at

__all__ = [
    "FORMAT_VERSION",
    "FROM_OUTSIDE",
    "MAX_NAME_BYTES",
    "Append",
    "ClosedError",
    "CommandRecord",
    "CommandResult",
    "Committed",
    "Conflict",
    "CorruptRecord",
    "DamagedStore",
    "Duplicate",
    "Durability",
    "EventRecord",
    "InvalidName",
    "LmdbStore",
    "LockedStore",
    "Outcome",
    "ParkedRecord",
    "ProcessionError",
    "ReadOnlyStore",
    "Step",
    "Store",
    "StoreError",
    "StoreFull",
    "TransitionRecord",
    "UnknownFormat",
    "check_name",
    "event_id_at",
]
