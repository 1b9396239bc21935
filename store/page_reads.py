"""Reading for one page of work after the other: each as of one moment, and each record once."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Self, cast

from .errors import CorruptRecord
from .layout.frames import unframe
from .layout.keys import numbered
from .layout.schema import Marks, event_from_row, last_of_process, started_key
from .reads import Reads, number_asked_for
from .records import EventRecord
from .storage_engine import LONGEST_KEY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .partitions import Partition
    from .records import TransitionRecord
    from .storage_engine import EngineSnapshot, Row
    from .store import Store

__all__ = ["PageReads"]

MOST_KEPT = 16_000_000
"""Bytes of records that are kept, about, of those that were read last, and as many of before."""

PER_RECORD = 1_000
"""Bytes that a record counts for besides its state or payload."""

PRUNED = "what was pruned"
"""Noted beside the names of tables: what stays of it leaves in the end."""

BEHIND_ALL = b"\xff" * (LONGEST_KEY + 1)
"""Above every key."""


class PageReads(Reads):
    """What a store holds, for one who goes through much of it; for one thread.

    Until `turn` is called, all that is read is of one moment, except where each look is a trip. A
    moment that lasted would have the file grow. What was decoded is kept for longer, up to a bound:
    an event, and a transition, stay what they are, except that both can be erased.

    Args:
        store: stays open

    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._moment = ExitStack()
        self.partition: Partition | None = store.partition
        """Which one the store is; None if it is not divided."""
        self._is_remote = store.is_remote
        self._snapshot: EngineSnapshot | None = None
        # Whether a table has anything at all, of those that are asked with every instance or event.
        self._is_used: dict[str, bool] = {}
        # What was read last, with its bytes, and what was before.
        self._size = 0
        self._events: dict[int, EventRecord] = {}
        self._events_before: dict[int, EventRecord] = {}
        self._lives: dict[tuple[str, str], list[TransitionRecord]] = {}
        self._lives_before: dict[tuple[str, str], list[TransitionRecord]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.turn()

    def turn(self) -> None:
        """Turn the page: what is read from now on is as it is from now on."""
        self._is_used.clear()
        self._snapshot = None
        self._moment.close()

    def _begin(self) -> EngineSnapshot:
        self._snapshot = snapshot = self._moment.enter_context(self._store.snapshot())
        return snapshot

    def _get(self, table: str, key: bytes) -> bytes | None:
        if self._is_remote:
            return self._store._get(table, key)  # noqa: SLF001 - a friend
        return (self._snapshot or self._begin()).get(table, key)

    def _get_many(self, keys: Sequence[tuple[str, bytes]]) -> list[bytes | None]:
        if self._is_remote:
            return self._store._get_many(keys)  # noqa: SLF001 - a friend
        return (self._snapshot or self._begin()).get_many(keys)

    def _range(
        self, table: str, start: bytes, end: bytes, limit: int, *, backwards: bool = False
    ) -> list[Row]:
        if self._is_remote:
            return self._store._range(  # noqa: SLF001 - a friend
                table, start, end, limit, backwards=backwards
            )
        snapshot = self._snapshot or self._begin()
        return snapshot.range(table, start, end, limit, backwards=backwards)

    # What is rarely there at all

    def _may_wait(self) -> bool:
        return self._may_have("waiting")

    def _may_be_parked(self) -> bool:
        return self._may_have("parked_at")

    def may_be_pruned(self) -> bool:
        any_pruned = self._is_used.get(PRUNED)
        if any_pruned is None:
            any_pruned = self._is_remote or self.pruned_up_to() != Marks()
            self._is_used[PRUNED] = any_pruned
        return any_pruned

    def _may_have(self, table: str) -> bool:
        is_used = self._is_used.get(table)
        if is_used is None:
            # Without one moment for all, something may come to be there in between.
            is_used = self._is_remote or bool(self._range(table, b"", BEHIND_ALL, 1))
            self._is_used[table] = is_used
        return is_used

    def read_snapshot(self, stream: str) -> tuple[int, bytes] | None:
        return super().read_snapshot(stream) if self._may_have("snapshots") else None

    def last_position(self) -> int:
        return self._last("log", b"")

    def last_transition_number(self) -> int:
        """The number of the newest transition of all, or 0."""
        return self._last("transitions", b"")

    def last_sequences(self) -> tuple[int, int]:
        return self._store.last_sequences()

    def owed_so_far(self) -> int:
        return self._store.owed_so_far()

    # Records that are asked for more than once

    def read_log_through(
        self, after: int, limit: int
    ) -> list[tuple[int, EventRecord | CorruptRecord]]:
        """As `scan_log_through`, at most so many."""
        found: list[tuple[int, EventRecord | CorruptRecord]] = []
        kept, fresh = self._events, list[EventRecord]()
        for key, raw in self._page("log", b"", after, limit):
            position = numbered(key)
            event = kept.get(position)
            if event is None:
                try:
                    event = event_from_row(unframe(raw, "log", key), position)
                except CorruptRecord as error:
                    found.append((position, error))
                    continue
                fresh.append(event)
            found.append((position, event))
        self._keep(fresh)
        return found

    def read_started_through(
        self, process: str, after: int, limit: int
    ) -> list[tuple[int, str | CorruptRecord]]:
        """As `scan_started`, at most so many."""
        found: list[tuple[int, str | CorruptRecord]] = []
        start = started_key(process) + number_asked_for(after + 1)
        for key, raw in self._range("started", start, last_of_process(process), limit):
            try:
                found.append((numbered(key), str(unframe(raw, "started", key))))
            except CorruptRecord as error:
                found.append((numbered(key), error))
        return found

    def read_events(self, positions: Sequence[int]) -> list[EventRecord]:
        kept, before = self._events, self._events_before
        found = [kept.get(one) or before.get(one) for one in positions]
        if not all(found):
            missing = [place for place, one in zip(positions, found, strict=True) if one is None]
            read = super().read_events(missing)
            self._keep(read)
            fresh = iter(read)
            found = [one or next(fresh) for one in found]
        return cast("list[EventRecord]", found)

    def _keep(self, events: list[EventRecord]) -> None:
        if events:
            self._grow(sum([PER_RECORD + len(one.data) for one in events]))
            self._events.update({one.position: one for one in events})

    def _life_kept(self, process: str, instance: str) -> list[TransitionRecord] | None:
        key = process, instance
        return self._lives.get(key) or self._lives_before.get(key)

    def _grow(self, size: int) -> None:
        self._size += size
        if self._size > MOST_KEPT:
            self._size = size
            self._events_before, self._events = self._events, {}
            self._lives_before, self._lives = self._lives, {}

    def read_transitions(
        self, process: str, instance: str, after: int, limit: int
    ) -> list[TransitionRecord]:
        known = self._life_kept(process, instance)
        # Behind them it may have gone on meanwhile.
        if known is not None and after < known[-1].version:
            return [one for one in known if one.version > after][:limit]
        found = super().read_transitions(process, instance, after, limit)
        if found and not after and len(found) < limit:
            size = sum([PER_RECORD + len(one.state) for one in found])
            # One that is large is not worth all others.
            if size < MOST_KEPT // 16:
                self._grow(size)
                self._lives[process, instance] = found
        return found

    def stored_transition(
        self, process: str, instance: str, version: int
    ) -> TransitionRecord | None:
        known = self._life_kept(process, instance)
        if known is not None:
            place = version - known[0].version
            # Of a change, the state that is kept is the whole one.
            if 0 <= place < len(known) and not known[place].base:
                return known[place]
        return super().stored_transition(process, instance, version)
