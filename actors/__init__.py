"""Procession: durable process managers, one actor for each instance.

What people write with is here; `actors.testing` has what their tests need.
"""

from store import (
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

from .aggregate import Aggregate
from .clock import Alarm, Clock, SystemClock
from .context import Context
from .design import Finding
from .domain import Domain
from .errors import (
    AlreadyStarted,
    DefinitionError,
    EarlyEvent,
    InfiniteLoopError,
    InvalidMessage,
    Rejected,
    TimedOut,
    UnknownMessage,
    WaitingInHandler,
)
from .explaining import Explanation, StuckInstance
from .handlers import ALL, after, apply, handle, rejected, timeout, upcast
from .messages import Command, Event, UnknownCommand, UnknownEvent
from .process_manager import ProcessManager
from .retry import PARK, SKIP, Retry
from .runtime import Runtime
from .state import Indexed
from .tracing import TraceNode
from .views import AggregateView, InstanceView, Parked, StoredEvent, Timeout, Transition

__all__ = [
    "ALL",
    "PARK",
    "SKIP",
    "Aggregate",
    "AggregateView",
    "Alarm",
    "AlreadyStarted",
    "Clock",
    "ClosedError",
    "Command",
    "Context",
    "CorruptRecord",
    "DamagedStore",
    "DefinitionError",
    "Domain",
    "EarlyEvent",
    "Event",
    "Explanation",
    "Finding",
    "Indexed",
    "InfiniteLoopError",
    "InstanceView",
    "InvalidMessage",
    "InvalidName",
    "LockedStore",
    "Parked",
    "ProcessManager",
    "ProcessionError",
    "ReadOnlyStore",
    "Rejected",
    "Retry",
    "Runtime",
    "StoreError",
    "StoreFull",
    "StoredEvent",
    "StuckInstance",
    "SystemClock",
    "TimedOut",
    "Timeout",
    "TraceNode",
    "Transition",
    "UnknownCommand",
    "UnknownEvent",
    "UnknownFormat",
    "UnknownMessage",
    "WaitingInHandler",
    "after",
    "apply",
    "handle",
    "rejected",
    "timeout",
    "upcast",
]
