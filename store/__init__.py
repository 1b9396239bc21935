"""Durable state for Procession: the store, its records, and the engines behind it."""

if __name__ == "store":  # the folder's own name, by which it is found in a checkout
    from importlib import import_module

    import_module("actors._checkout").share_modules("store")

from importlib.util import find_spec

if find_spec("fcntl") is None:
    raise ImportError(
        "Procession locks its store by fcntl, which this Python does not have, as on Windows; "
        "run it on Linux or macOS, or on Windows inside WSL 2",
        name="fcntl",
    )

from .dictionary import DictionaryEngine
from .dividing import Divided, divided_store, is_divided, make_divided_store, operating
from .erasing import EVENTS, places_of_instance, places_of_stream
from .errors import (
    ClosedError,
    CorruptRecord,
    DamagedStore,
    DatabaseRefused,
    FailingDisk,
    InvalidName,
    LockedStore,
    LostStore,
    NoThread,
    ProcessionError,
    ReadOnlyStore,
    StoreError,
    StoreFull,
    TakenOver,
    TooManyReaders,
    UnknownFormat,
    WrongPartition,
)
from .frozen import frozen
from .gauges import MOST_OVERDUE, LastBackup, OldestReader, StoreGauges
from .identifiers import (
    BY_PEOPLE,
    ENDS,
    MAX_NAME_BYTES,
    PRUNED,
    EffectIssue,
    EventPlace,
    Issue,
    category_of,
    check_name,
    command_id_at,
    effect_command_id_at,
    effect_id_at,
    event_id_at,
    id_in_stream,
    is_issued_by,
    place_of_effect,
    place_of_event,
    place_of_issue,
    place_of_transition,
    transition_id_at,
)
from .layout.markers import erased_at, marker, words_for
from .layout.schema import FORMAT_VERSION
from .lmdb.divided_store import DividedStore, divided_at, make_divided
from .lmdb.environment import Durability
from .lmdb.store import LmdbStore
from .maintenance.copying import Sizes, backup, backup_open, compact
from .maintenance.divided import (
    backup_divided,
    compact_divided,
    opened_partitions,
    verify_divided,
    verify_lanes,
)
from .maintenance.excerpt import Excerpt, Tables, write_excerpt
from .maintenance.moving import Copied, copy
from .maintenance.upgrade import upgrade
from .opening import located, open_store
from .partitions import MOST_PARTITIONS, Partition, partition_of
from .postgresql.address import Address, is_address
from .reads import Reads
from .records import (
    COMMITTED,
    FROM_OUTSIDE,
    PASSED_OVER,
    Append,
    Arrival,
    Block,
    CodeRecord,
    CommandRecord,
    CommandResult,
    Committed,
    Conflict,
    Cut,
    Duplicate,
    EffectRecord,
    Erase,
    ErasureRecord,
    EventRecord,
    GivenCommand,
    IdTaken,
    LearntKey,
    NameKind,
    Outcome,
    ParkedRecord,
    RefusalRecord,
    SentRecord,
    Step,
    StepExtras,
    TimerRecord,
    TombstoneRecord,
    TransitionRecord,
    UnmatchedRecord,
)
from .state_changes import PackedFields, Tail, added, change_between, checksum_of, with_head
from .storage_engine import EngineReads, EngineSnapshot, StorageEngine, Ticket
from .store import Store
from .verify.apart import verify, verify_apart, verify_beside
from .verify.inspecting import StoreFinding
from .verify.reader_process import ReaderProcess
from .verify.verify import verify_open

__all__ = [
    "BY_PEOPLE",
    "COMMITTED",
    "ENDS",
    "EVENTS",
    "FORMAT_VERSION",
    "FROM_OUTSIDE",
    "MAX_NAME_BYTES",
    "MOST_OVERDUE",
    "MOST_PARTITIONS",
    "PASSED_OVER",
    "Address",
    "Append",
    "Arrival",
    "Block",
    "ClosedError",
    "CodeRecord",
    "CommandRecord",
    "CommandResult",
    "Committed",
    "Conflict",
    "Copied",
    "CorruptRecord",
    "DamagedStore",
    "DatabaseRefused",
    "DictionaryEngine",
    "Divided",
    "DividedStore",
    "Duplicate",
    "Durability",
    "EffectIssue",
    "EffectRecord",
    "EngineReads",
    "EngineSnapshot",
    "Erase",
    "ErasureRecord",
    "EventPlace",
    "EventRecord",
    "Excerpt",
    "FailingDisk",
    "GivenCommand",
    "IdTaken",
    "InvalidName",
    "Issue",
    "LastBackup",
    "LearntKey",
    "LmdbStore",
    "LockedStore",
    "LostStore",
    "NameKind",
    "NoThread",
    "OldestReader",
    "Outcome",
    "PackedFields",
    "ParkedRecord",
    "Partition",
    "ProcessionError",
    "ReadOnlyStore",
    "ReaderProcess",
    "Reads",
    "RefusalRecord",
    "SentRecord",
    "Sizes",
    "Step",
    "StepExtras",
    "StorageEngine",
    "Store",
    "StoreError",
    "StoreFinding",
    "StoreFull",
    "StoreGauges",
    "Tables",
    "Tail",
    "TakenOver",
    "Ticket",
    "TimerRecord",
    "TooManyReaders",
    "TransitionRecord",
    "UnknownFormat",
    "UnmatchedRecord",
    "WrongPartition",
    "added",
    "backup",
    "backup_divided",
    "backup_open",
    "category_of",
    "change_between",
    "check_name",
    "checksum_of",
    "command_id_at",
    "compact",
    "compact_divided",
    "copy",
    "divided_at",
    "divided_store",
    "effect_command_id_at",
    "effect_id_at",
    "erased_at",
    "event_id_at",
    "frozen",
    "id_in_stream",
    "is_address",
    "is_divided",
    "is_issued_by",
    "located",
    "make_divided",
    "make_divided_store",
    "marker",
    "open_store",
    "opened_partitions",
    "operating",
    "partition_of",
    "place_of_effect",
    "place_of_event",
    "place_of_issue",
    "place_of_transition",
    "places_of_instance",
    "places_of_stream",
    "transition_id_at",
    "upgrade",
    "verify",
    "verify_apart",
    "verify_beside",
    "verify_divided",
    "verify_lanes",
    "verify_open",
    "with_head",
    "words_for",
    "write_excerpt",
]
