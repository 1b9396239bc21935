"""Procession: durable process managers, one actor for each instance.

What people write with is here; `procession.testing` has what their tests need, and
`procession.store` the store as a part of its own.
"""

if __name__ == "actors":  # the folder's own name, by which it is found in a checkout
    from ._checkout import share_modules

    share_modules("actors")

from .store import (
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

from .authoring.aggregate import Aggregate
from .clock import Alarm, Clock, SystemClock
from .authoring.context import Context
from .model.design_rules import Finding
from .model.domain import Domain
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
from .queries.diagnostics import Explanation, StuckInstance
from .authoring.decorators import ALL, after, apply, handle, rejected, timeout, upcast
from .messages.types import Command, Event, UnknownCommand, UnknownEvent
from .authoring.process_manager import ProcessManager
from .authoring.retry import PARK, SKIP, Retry
from .runtime import Runtime
from .authoring.state import Indexed
from .queries.trace import TraceNode
from .queries.views import AggregateView, InstanceView, Parked, StoredEvent, Timeout, Transition

__version__ = "0.2.0"

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
    "__version__",
    "after",
    "apply",
    "handle",
    "rejected",
    "timeout",
    "upcast",
]
