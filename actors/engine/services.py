"""What every part of the engine may use; put together once, before any of the parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..model.registry import Registry
    from ..store import Store
    from .dispatcher import Dispatcher
    from .event_buffer import EventBuffer
    from .failure_log import FailureLog
    from .instance_watches import InstanceWatches
    from .journal import Journal
    from .pending_replies import PendingReplies
    from .residency import Residency

__all__ = ["Services"]


@dataclass(frozen=True, slots=True)
class Services:
    """The parts that the others stand on.

    Attributes:
        registry: all classes
        store: durable state
        dispatcher: gives actors their turns
        journal: takes steps to disk
        residency: wakes actors and gives them their work
        event_buffer: the newest events of the log
        replies: what callers wait for
        now: tells the time, in microseconds
        failures: tells of attempts that failed
        watches: the instances whose steps callers wait for

    """

    registry: Registry
    store: Store
    dispatcher: Dispatcher
    journal: Journal
    residency: Residency
    event_buffer: EventBuffer
    replies: PendingReplies
    now: Callable[[], int]
    failures: FailureLog
    watches: InstanceWatches
