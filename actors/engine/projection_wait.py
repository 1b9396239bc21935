"""Waiting until a projection has an event in its tables, so that a caller reads what it wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import TimedOut

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..store.interrupts import Latch
    from .event_loops import EventLoops
    from .projection_feed import ProjectionFeed
    from .services import Services

__all__ = ["ProjectionWait"]


class ProjectionWait:
    """Of one caller, for one position.

    Args:
        services: of the engine
        feed: of the projection
        position: the event that is to be in the tables, with all before it

    """

    def __init__(self, services: Services, feed: ProjectionFeed, position: int) -> None:
        self._services = services
        self._feed = feed
        self._position = position

    @property
    def loops(self) -> EventLoops:
        """For a caller who waits in one."""
        return self._services.replies.loops

    @property
    def position(self) -> int:
        """Up to which the log is in the tables."""
        return self._feed.position

    def looks(self) -> Iterator[Latch]:
        """Look whether it is there, each time that the projection is further.

        Yields:
            what opens when it may be

        Raises:
            StreamHeldUp: what is parked in its stream holds it up
            ClosedError: the runtime was closed

        """
        with self._feed.watching() as watch:
            while True:
                # First, so that nothing falls between the look and the wait.
                latch = watch.renewed()
                if self._feed.has(self._position):
                    return
                yield latch

    def too_late(self, timeout: float | None) -> TimedOut:
        """The error when time ran out."""
        feed = self._feed
        why = "it is catching up"
        if feed.failing_since is not None:
            why = f"its database fails: {feed.last_error}"
        elif feed.is_outdated:
            why = "its tables are of another version of the class"
        return TimedOut(
            f"read: {feed.name} has the log up to position {feed.position}, and had not come to "
            f"{self._position} within {timeout} seconds; {why}"
        )
