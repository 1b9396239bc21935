"""The newest events of the log, in memory, for routers that keep up with it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from ..store import CorruptRecord, EventRecord, StoreError

if TYPE_CHECKING:
    from ..store import Store

__all__ = ["UNREADABLE", "EventBuffer", "event_at"]

UNREADABLE = ""
"""The type of what stands for an event that cannot be read; its message is the error."""


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


def event_at(store: Store, position: int) -> EventRecord:
    """The event at a position; one of the type `UNREADABLE` if it is damaged or missing."""
    error: StoreError
    try:
        page = store.read_log(position - 1, 1)
    except CorruptRecord as damage:
        error = damage
    else:
        if page and page[0].position == position:
            return page[0]
        error = StoreError(f"the log has no event at position {position}; go back to a backup")
    # Without its frames, which would know the record in turn, and a record is never looked at by
    # Python's cycle collector.
    error.__traceback__ = None
    return EventRecord(
        UNREADABLE, "", 0, 0, b"", f"position {position}", "", position=position, message=error
    )
