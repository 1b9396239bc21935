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
from .domain import Domain
from .errors import (
    DefinitionError,
    InvalidMessage,
    Rejected,
    TimedOut,
    UnknownMessage,
    WaitingInHandler,
)
from .handlers import apply, handle
from .messages import Command, Event, UnknownCommand, UnknownEvent
from .process_manager import ProcessManager
from .runtime import Runtime
from .views import AggregateView, InstanceView, StoredEvent, Transition

__all__ = [
    "Aggregate",
    "AggregateView",
    "Alarm",
    "Clock",
    "ClosedError",
    "Command",
    "Context",
    "CorruptRecord",
    "DamagedStore",
    "DefinitionError",
    "Domain",
    "Event",
    "InstanceView",
    "InvalidMessage",
    "InvalidName",
    "LockedStore",
    "ProcessManager",
    "ProcessionError",
    "ReadOnlyStore",
    "Rejected",
    "Runtime",
    "StoreError",
    "StoreFull",
    "StoredEvent",
    "SystemClock",
    "TimedOut",
    "Transition",
    "UnknownCommand",
    "UnknownEvent",
    "UnknownFormat",
    "UnknownMessage",
    "WaitingInHandler",
    "apply",
    "handle",
]
