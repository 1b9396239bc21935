"""The newest events of the log, in memory, for routers that keep up with it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from ..store import CorruptRecord, EventRecord
from .store_reads import event_at

if TYPE_CHECKING:
    from ..store import Store

__all__ = ["EventBuffer"]


class EventBuffer:
    """Reads the log for routers: from memory near its end, from the store elsewhere.

    Args:
        store: where the rest of the log is
        size: how many events are kept

    """

    def __init__(self, store: Store, size: int) -> None:
        self._store = store
        self._size = size
        self._lock = threading.Lock()
        self._events: list[EventRecord] = []
        self.last = store.last_position()
        """The position of the newest committed event."""

    def extend(self, events: list[EventRecord]) -> None:
        """Add events that were just committed."""
        with self._lock:
            self._events += events
            self.last = events[-1].position
            if len(self._events) > 2 * self._size:
                self._events = self._events[-self._size :]

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
        try:
            return self._store.read_log(position, limit)
        except CorruptRecord:
            # One of them, and the others must not suffer from it.
            end = min(position + limit, self.last)
            return [event_at(self._store, each) for each in range(position + 1, end + 1)]
