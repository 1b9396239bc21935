"""The newest events of the log, in memory, for routers that keep up with it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..store import EventRecord
    from .ahead_reads import AheadReads

__all__ = ["EventBuffer"]


class EventBuffer:
    """Reads the log for routers: from memory near its end, from the store elsewhere.

    Args:
        reads: the rest of the log
        size: how many events are kept
        last: the position of the newest event

    """

    def __init__(self, reads: AheadReads, size: int, last: int) -> None:
        self._reads = reads
        self._size = size
        self._lock = threading.Lock()
        self._events: list[EventRecord] = []
        self.last = last
        """The position of the newest event that was handed over."""

    def extend(self, events: list[EventRecord]) -> None:
        """Add events that were just handed over."""
        with self._lock:
            self._events += events
            self.last += len(events)
            if len(self._events) > 2 * self._size:
                self._events = self._events[-self._size :]

    def start_over(self, last: int) -> None:
        """Forget events; `last` is the position of the newest that is durable."""
        with self._lock:
            self._events = []
            self.last = last

    def after(self, position: int, limit: int) -> list[EventRecord]:
        """Events behind a position, in order, at most `limit`.

        In the place of one that is damaged stands a record of the type `UNREADABLE`.
        """
        with self._lock:
            if position >= self.last:
                return []
            first = self.last - len(self._events)
            if position >= first:
                start = position - first
                return self._events[start : start + limit]
        return self._reads.read_log(position, limit)
