"""Durable state for Procession: the store, its records, and the engines behind it."""

if __name__ == "store":  # the folder's own name, by which it is found in a checkout
    from importlib import import_module

    import_module("actors._checkout").share_modules("store")

from .dictionary import DictionaryEngine
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
from .gauges import MOST_OVERDUE, LastBackup, OldestReader, StoreGauges
from .identifiers import (
    BY_PEOPLE,
    MAX_NAME_BYTES,
    EventPlace,
    Issue,
    category_of,
    check_name,
    command_id_at,
    event_id_at,
    id_in_stream,
    is_issued_by,
    place_of_event,
    place_of_issue,
    transition_id_at,
)
from .lmdb.environment import Durability
from .lmdb.store import FORMAT_VERSION, LmdbStore
from .maintenance.copying import Sizes, backup, backup_open, compact
from .maintenance.upgrade import upgrade
from .opening import open_store
from .reads import Reads
from .records import (
    COMMITTED,
    FROM_OUTSIDE,
    Append,
    Block,
    CodeRecord,
    CommandRecord,
    CommandResult,
    Committed,
    Conflict,
    Duplicate,
    EventRecord,
    GivenCommand,
    IdTaken,
    NameKind,
    Outcome,
    ParkedRecord,
    RefusalRecord,
    Step,
    StepExtras,
    TimerRecord,
    TransitionRecord,
    UnmatchedRecord,
)
from .state_changes import PackedFields, Tail, added, change_between, checksum_of, with_head
from .storage_engine import EngineSnapshot, StorageEngine, Ticket
from .store import Store
from .verify.inspecting import StoreFinding
from .verify.verify import verify, verify_open

__all__ = [
    "BY_PEOPLE",
    "COMMITTED",
    "FORMAT_VERSION",
    "FROM_OUTSIDE",
    "MAX_NAME_BYTES",
    "MOST_OVERDUE",
    "Append",
    "Block",
    "ClosedError",
    "CodeRecord",
    "CommandRecord",
    "CommandResult",
    "Committed",
    "Conflict",
    "CorruptRecord",
    "DamagedStore",
    "DictionaryEngine",
    "Duplicate",
    "Durability",
    "EngineSnapshot",
    "EventPlace",
    "EventRecord",
    "GivenCommand",
    "IdTaken",
    "InvalidName",
    "Issue",
    "LastBackup",
    "LmdbStore",
    "LockedStore",
    "NameKind",
    "OldestReader",
    "Outcome",
    "PackedFields",
    "ParkedRecord",
    "ProcessionError",
    "ReadOnlyStore",
    "Reads",
    "RefusalRecord",
    "Sizes",
    "Step",
    "StepExtras",
    "StorageEngine",
    "Store",
    "StoreError",
    "StoreFinding",
    "StoreFull",
    "StoreGauges",
    "Tail",
    "Ticket",
    "TimerRecord",
    "TransitionRecord",
    "UnknownFormat",
    "UnmatchedRecord",
    "added",
    "backup",
    "backup_open",
    "category_of",
    "change_between",
    "check_name",
    "checksum_of",
    "command_id_at",
    "compact",
    "event_id_at",
    "id_in_stream",
    "is_issued_by",
    "open_store",
    "place_of_event",
    "place_of_issue",
    "transition_id_at",
    "upgrade",
    "verify",
    "verify_open",
    "with_head",
]
