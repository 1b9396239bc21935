"""Procession: durable process managers, one actor for each instance.

What people write with is here; `procession.testing` has what their tests need, and
`procession.store` the store as a part of its own.
"""

if __name__ == "actors":  # the folder's own name, by which it is found in a checkout
    from ._checkout import share_modules

    share_modules("actors")

from typing import TYPE_CHECKING, Any

from .authoring.aggregate import Aggregate
from .authoring.completed import Completed
from .authoring.context import Context
from .authoring.decorators import (
    ALL,
    after,
    apply,
    ended,
    handle,
    project,
    rejected,
    timeout,
    upcast,
)
from .authoring.process_manager import ProcessManager
from .authoring.projection import Projection
from .authoring.retry import PARK, SKIP, Retry
from .authoring.state import Indexed
from .clock import Alarm, Clock, SystemClock
from .engine.health import Backup, Health, HealthProblem
from .engine.projection_rebuild import ProjectionProgress
from .engine.pruning import PruningReport
from .engine.rebuilding import RebuildProgress
from .errors import (
    AlreadyDecided,
    AlreadyEnded,
    AlreadyStarted,
    BeginUndecided,
    DefinitionError,
    EarlyEvent,
    Erased,
    IdReused,
    InfiniteLoopError,
    InvalidMessage,
    LateEvent,
    MissingExtra,
    MovedOn,
    NotProjected,
    NotRefreshed,
    PartitionDown,
    ProcessEnded,
    Pruned,
    QueryInHandler,
    Rejected,
    SeveralDocuments,
    StreamHeldUp,
    TimedOut,
    UnknownInstance,
    UnknownMessage,
    UnreadableRecord,
    UnreadableRow,
    WaitingInHandler,
)
from .listening.page_address import Page
from .messages.personal import Personal
from .messages.reply import Reply
from .messages.types import Command, Event, UnknownCommand, UnknownEvent
from .model.design_finding import DesignFinding
from .model.domain import Domain
from .queries.diagnostics import Explanation, HeldEvent, StuckInstance
from .queries.documents import DocumentReader
from .queries.follower import Follower
from .queries.trace import TraceNode
from .queries.views import (
    AggregateView,
    Counts,
    Erasure,
    InstanceTransition,
    InstanceView,
    Moment,
    Parked,
    ParkedKind,
    PartitionState,
    StoredEvent,
    Timeout,
    Transition,
    View,
)
from .runtime import Runtime
from .store import (
    ClosedError,
    CorruptRecord,
    DamagedStore,
    DatabaseRefused,
    FailingDisk,
    ForgottenKey,
    InvalidName,
    LockedStore,
    LostStore,
    NoThread,
    PayloadCodec,
    ProcessionError,
    ReadOnlyStore,
    StoreError,
    StoreFull,
    TakenOver,
    TooManyReaders,
    UnknownFormat,
    WrongCodec,
)

if TYPE_CHECKING:
    from .async_runtime import AsyncRuntime
    from .page.console import console as console
    from .shadowing.report import ShadowDifference, ShadowExample, ShadowReport
    from .shadowing.shadow import shadow

__version__ = "0.2.0"

__all__ = [
    "ALL",
    "PARK",
    "SKIP",
    "Aggregate",
    "AggregateView",
    "Alarm",
    "AlreadyDecided",
    "AlreadyEnded",
    "AlreadyStarted",
    "AsyncRuntime",
    "Backup",
    "BeginUndecided",
    "Clock",
    "ClosedError",
    "Command",
    "Completed",
    "Context",
    "CorruptRecord",
    "Counts",
    "DamagedStore",
    "DatabaseRefused",
    "DefinitionError",
    "DesignFinding",
    "DocumentReader",
    "Domain",
    "EarlyEvent",
    "Erased",
    "Erasure",
    "Event",
    "Explanation",
    "FailingDisk",
    "Follower",
    "ForgottenKey",
    "Health",
    "HealthProblem",
    "HeldEvent",
    "IdReused",
    "Indexed",
    "InfiniteLoopError",
    "InstanceTransition",
    "InstanceView",
    "InvalidMessage",
    "InvalidName",
    "LateEvent",
    "LockedStore",
    "LostStore",
    "MissingExtra",
    "Moment",
    "MovedOn",
    "NoThread",
    "NotProjected",
    "NotRefreshed",
    "Page",
    "Parked",
    "ParkedKind",
    "PartitionDown",
    "PartitionState",
    "PayloadCodec",
    "Personal",
    "ProcessEnded",
    "ProcessManager",
    "ProcessionError",
    "Projection",
    "ProjectionProgress",
    "Pruned",
    "PruningReport",
    "QueryInHandler",
    "ReadOnlyStore",
    "RebuildProgress",
    "Rejected",
    "Reply",
    "Retry",
    "Runtime",
    "SeveralDocuments",
    "ShadowDifference",
    "ShadowExample",
    "ShadowReport",
    "StoreError",
    "StoreFull",
    "StoredEvent",
    "StreamHeldUp",
    "StuckInstance",
    "SystemClock",
    "TakenOver",
    "TimedOut",
    "Timeout",
    "TooManyReaders",
    "TraceNode",
    "Transition",
    "UnknownCommand",
    "UnknownEvent",
    "UnknownFormat",
    "UnknownInstance",
    "UnknownMessage",
    "UnreadableRecord",
    "UnreadableRow",
    "View",
    "WaitingInHandler",
    "WrongCodec",
    "__version__",
    "after",
    "apply",
    "ended",
    "handle",
    "project",
    "rejected",
    "shadow",
    "timeout",
    "upcast",
]


def __getattr__(name: str) -> Any:
    # What takes a while to import, or needs an extra, is imported where it is asked for.
    if name == "AsyncRuntime":
        from .async_runtime import AsyncRuntime  # noqa: PLC0415

        return AsyncRuntime
    if name == "console":
        from .page.console import console  # noqa: PLC0415

        return console
    if name == "shadow":
        from .shadowing.shadow import shadow  # noqa: PLC0415

        return shadow
    if name in {"ShadowDifference", "ShadowExample", "ShadowReport"}:
        from .shadowing import report  # noqa: PLC0415

        return getattr(report, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
