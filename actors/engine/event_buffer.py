"""The newest events of the log, in memory, for routers that keep up with it."""

from __future__ import annotations

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
        # Events, and the position before the first of them: taken together by those who read
        # while others add, so that no lock is needed. A list that is in use only grows.
        self._kept: tuple[list[EventRecord], int] = [], last
        self.last = last
        """The position of the newest event that was handed over."""

    def extend(self, events: list[EventRecord]) -> None:
        """Add events that were just handed over."""
        kept = self._kept[0]
        kept += events
        self.last += len(events)
        if len(kept) > 2 * self._size:
            self._kept = kept[-self._size :], self.last - self._size

    def start_over(self, last: int) -> None:
        """Forget events; `last` is the position of the newest that is durable."""
        self._kept = [], last
        self.last = last

    def after(self, position: int, limit: int) -> list[EventRecord]:
        """Events behind a position, in order, at most `limit`.

        In the place of one that is damaged stands a record of the type `UNREADABLE`.
        """
        kept, before = self._kept
        if position >= before:
            start = position - before
            return kept[start : start + limit]
        return self._reads.read_log(position, limit)
