"""Callers who wait for the steps of one instance, or for any commit: they look again then."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..store.interrupts import Latch
from .journal import Waiting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..store import ClosedError, StoreError
    from .journal import Journal
    from .pending_replies import PendingReplies

__all__ = ["InstanceWatch", "InstanceWatches", "open_all"]


class InstanceWatch:
    """Of one caller, who looks at an instance again and again."""

    def __init__(self) -> None:
        self._latch = Latch()
        self._error: ClosedError | None = None

    def renewed(self) -> Latch:
        """What opens when a step is durable that the caller may not see in a look from now on.

        Raises:
            ClosedError: the runtime was closed

        """
        self._latch = latch = Latch()
        # Looked at last, as it is set first.
        if self._error is not None:
            raise self._error
        return latch

    def open(self) -> None:
        """A step is durable, or gone."""
        self._latch.open()

    def give_up(self, error: ClosedError) -> None:
        """The runtime is closed."""
        self._error = error
        self._latch.open()


class InstanceWatches:
    """Those of all callers; any thread may come and go."""

    def __init__(self) -> None:
        # A caller holds it in `with` blocks only, which are safe from interrupts.
        self._lock = threading.Lock()
        self.by_instance: dict[tuple[str, str], set[InstanceWatch]] = {}
        """By process manager and id. Those who hand over steps look whether there is any."""
        self.commits: set[Latch] = set()
        """Of callers who wait for the next commit; any thread may add one."""

    def committed(self) -> None:
        """There was a commit, or there will be none any more."""
        open_all(self.commits)

    @contextmanager
    def watching(
        self, process: str, instance: str, journal: Journal, replies: PendingReplies
    ) -> Iterator[InstanceWatch]:
        """Watch an instance for as long as the block lasts."""
        watch, key = InstanceWatch(), (process, instance)
        try:
            with self._lock:
                self.by_instance.setdefault(key, set()).add(watch)
            replies.add(watch)
            # A step may have been handed over before, of which no look tells yet.
            journal.wait_if_open(_Step(watch))
            yield watch
        finally:
            replies.remove(watch)
            with self._lock:
                watches = self.by_instance.get(key, set())
                watches.discard(watch)
                if not watches:
                    self.by_instance.pop(key, None)

    def note_step(self, process: str, instance: str, journal: Journal) -> None:
        """A step was handed over; with the journal's lock held."""
        with self._lock:
            watches = tuple(self.by_instance.get((process, instance), ()))
        for watch in watches:
            journal.wait(_Step(watch))


def open_all(latches: set[Latch]) -> None:
    """Open latches, to which other threads may add meanwhile; not those that come then."""
    for _ in range(len(latches)):
        try:
            latches.pop().open()
        except KeyError:
            return


class _Step(Waiting, gc=False):
    """A step that a caller waits for."""

    watch: InstanceWatch

    def durable(self) -> None:
        self.watch.open()

    def failed(self, error: StoreError) -> bool:
        """It is gone; the caller looks, and waits for the next."""
        del error
        self.watch.open()
        return False
