"""The counts that are kept: what the open commit adds to them, and the rows that this comes to.

A count is known by what is counted and by names: events by the category of their streams and their
type; instances by their process manager and status; what is parked by its process manager, the type
of the error, the method that failed and the place in its code.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Literal, TypeAlias

from .errors import CorruptRecord
from .layout.frames import unframe
from .layout.schema import count_key

if TYPE_CHECKING:
    from .layout.schema import ParkedRow
    from .records import ParkedRecord
    from .storage_engine import EngineReads

__all__ = ["MOST_KNOWN", "OpenCounts", "Status", "kind_of_parked"]

Status: TypeAlias = Literal["running", "complete", "suspended"]

Counted: TypeAlias = tuple[str, ...]

MOST_KNOWN = 8_192
"""Counts that are remembered from one commit to the next, at most."""


class OpenCounts:
    """Gathers what a commit adds, so that a count is written once however many steps change it.

    Attributes:
        added: events of this commit, by category and type
        begun: instances that began in it, by process manager
        ended: instances that ended in it, less those that began again

    Args:
        engine: where the counts are

    """

    def __init__(self, engine: EngineReads) -> None:
        self._engine = engine
        self._totals: dict[Counted, int] = {}
        self.begin()

    def begin(self) -> None:
        """Another commit is open."""
        # Filled by every step, so these are plain dictionaries, and parts are put together later.
        self.added: dict[str, dict[str, int]] = {}
        self.begun: dict[str, int] = {}
        self.ended: dict[str, int] = {}
        self._moved: dict[Counted, int] = {}
        if len(self._totals) > MOST_KNOWN:
            self._totals.clear()

    def forget(self) -> None:
        """What is known may not be what is durable."""
        self._totals.clear()

    def move(self, process: str, before: Status | None, after: Status | None) -> None:
        """An instance has another status; None for one that has none, or is gone."""
        for status, more in ((before, -1), (after, 1)):
            if status is not None:
                self._add(("instance", process, status), more)

    def park(self, parked: ParkedRecord, more: int) -> None:
        """Something is parked, or with -1 no more."""
        self._add(("parked", *kind_of_parked(parked)), more)

    def drop_event(self, category: str, kind: str) -> None:
        """An event was pruned."""
        self._add(("event", category, kind), -1)

    def _add(self, one: Counted, more: int) -> None:
        self._moved[one] = self._moved.get(one, 0) + more

    def changes(self) -> dict[bytes, tuple[str, list[str], int] | None]:
        """The rows that change, by key; None for one that goes. Called once for a commit."""
        changed = self._moved
        for category, kinds in self.added.items():
            for kind, count in kinds.items():
                changed["event", category, kind] = count + changed.get(("event", category, kind), 0)
        for process, count in self.begun.items():
            self._add(("instance", process, "running"), count)
        for process, count in self.ended.items():
            self._add(("instance", process, "running"), -count)
            self._add(("instance", process, "complete"), count)
        totals, rows = self._totals, dict[bytes, tuple[str, list[str], int] | None]()
        unknown = [one for one, more in changed.items() if more and one not in totals]
        if unknown:
            self._look_up(unknown)
        for one, more in changed.items():
            if more and one in totals:
                # An instance that cannot be read may have been counted as another than it is.
                totals[one] = total = max(0, totals[one] + more)
                rows[count_key(*one)] = (one[0], list(one[1:]), total) if total else None
        return rows

    def _look_up(self, unknown: list[Counted]) -> None:
        keys = [("counts", count_key(*one)) for one in unknown]
        for one, key, raw in zip(unknown, keys, self._engine.get_many(keys), strict=True):
            # One that is damaged stays as it is, and `verify` tells of it.
            with suppress(CorruptRecord):
                self._totals[one] = 0 if raw is None else unframe(raw, *key)[2]


def kind_of_parked(parked: ParkedRecord | ParkedRow) -> tuple[str, str, str, str]:
    """By what it is counted: process manager, type of the error, method, and place in the code."""
    return parked.process, parked.error_type, parked.handler, parked.place
