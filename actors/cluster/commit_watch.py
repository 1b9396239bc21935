"""Notices what other processes commit to their partitions."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol

from ..store import StoreError
from ..store.interrupts import start_thread
from .outage import Outage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["CommitWatch", "Watched"]

SHORTEST, LONGEST = 0.000_5, 0.01
"""Seconds between two looks: while others commit, and when they have not for a while."""


class Watched(Protocol):
    """A store that another process may write to."""

    def newest_commit(self) -> int:
        """A number that is another one after each commit, of any process."""
        ...


class CommitWatch:
    """Looks at the numbers of the newest commits, which costs a microsecond for each store.

    Args:
        stores: those to look at, open for reading, by partition
        moved: called with the partition that has a new commit, on a thread of the watch

    """

    def __init__(self, stores: Mapping[int, Watched], moved: Callable[[int], None]) -> None:
        self._stores = stores
        self._moved = moved
        self._seen: dict[int, int] = {}
        self._outages = {
            one: Outage(f"the commits of partition {one} cannot be looked at") for one in stores
        }
        self._is_over = threading.Event()
        self._thread = threading.Thread(
            target=self._look, name="procession-commit-watch", daemon=True
        )

    def start(self) -> None:
        """Begin, if there is anything to look at."""
        if self._stores:
            start_thread(self._thread)

    def _look(self) -> None:
        pause = SHORTEST
        while not self._is_over.wait(pause):
            has_moved = False
            for number, store in self._stores.items():
                try:
                    newest = store.newest_commit()
                except StoreError as error:
                    self._outages[number].failed(error)
                    pause = LONGEST
                    continue
                self._outages[number].went_well()
                if self._seen.get(number) != newest:
                    self._seen[number] = newest
                    has_moved = True
                    self._moved(number)
            pause = SHORTEST if has_moved else min(2 * pause, LONGEST)

    def close(self) -> None:
        """End it, and wait for that."""
        self._is_over.set()
        if self._thread.is_alive():
            self._thread.join()
