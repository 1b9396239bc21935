"""Durable state for Procession: the port, its records, and the LMDB store behind it."""

if __name__ == "store":  # the folder's own name, by which it is found in a checkout
    from importlib import import_module

    import_module("actors._checkout").share_modules("store")

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
from .lmdb.environment import Durability
from .lmdb.schema import event_id_at
from .lmdb.store import FORMAT_VERSION, LmdbStore
from .maintenance.copying import Sizes, backup, backup_open, compact
from .port import Store
from .records import (
    FROM_OUTSIDE,
    MAX_NAME_BYTES,
    Append,
    Block,
    CommandRecord,
    CommandResult,
    Committed,
    Conflict,
    Duplicate,
    EventRecord,
    Outcome,
    ParkedRecord,
    RefusalRecord,
    Step,
    StepExtras,
    TimerRecord,
    TransitionRecord,
    check_name,
)
from .verify.inspecting import StoreFinding
from .verify.verify import verify, verify_open

__all__ = [
    "FORMAT_VERSION",
    "FROM_OUTSIDE",
    "MAX_NAME_BYTES",
    "Append",
    "Block",
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
    "RefusalRecord",
    "Sizes",
    "Step",
    "StepExtras",
    "Store",
    "StoreError",
    "StoreFinding",
    "StoreFull",
    "TimerRecord",
    "TransitionRecord",
    "UnknownFormat",
    "backup",
    "backup_open",
    "check_name",
    "compact",
    "event_id_at",
    "verify",
    "verify_open",
]
