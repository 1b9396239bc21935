"""Reads of the log with all that was handed over, for actors that decide and routers that route."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from ..core.ports import UNREADABLE, Link
from ..store import CorruptRecord, EventRecord, StoreError, place_of_issue

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from ..store import (
        Block,
        CommandRecord,
        EffectRecord,
        Reads,
        RefusalRecord,
        Store,
        TimerRecord,
        TransitionRecord,
        UnmatchedRecord,
    )
    from .journal import Journal

__all__ = ["AheadReads", "event_at"]


class AheadReads:
    """What instances, aggregates and routers read while others hand over.

    Each call sees all that was handed over up to then; none is called with the journal's lock held.

    Args:
        store: where the log is
        journal: whose open commit is read along

    """

    def __init__(self, store: Store, journal: Journal) -> None:
        self._store = store
        self._ahead = store.ahead
        self._lock = journal.lock

    # What is about to be loaded

    def gather_instances(self, owners: Collection[tuple[str, str]]) -> None:
        """Ask at once for what a wave of instances, of any process managers, is to be made of."""
        with self._lock:
            self._ahead.gather_instances(owners)
            if self._store.is_remote:
                self._ahead.gather_set_aside(owners)

    def gather_timers(self, timers: Iterable[TimerRecord]) -> None:
        """Ask at once for what a wave of timers is to be checked against."""
        with self._lock:
            self._ahead.gather_timers(timers)

    def gather_index(self, process: str, keys: Iterable[tuple[str, str]]) -> None:
        """Ask at once for the instances that a page of events finds by learnt keys.

        Args:
            process: whose keys
            keys: each a field and a value

        """
        with self._lock:
            self._ahead.gather_index(process, keys)

    def gather_commands(self, commands: Iterable[CommandRecord]) -> None:
        """Ask at once for what a wave of commands is to be checked against."""
        with self._lock:
            self._ahead.gather_commands(commands)

    # Of instances

    def last_transition(self, process: str, instance: str) -> TransitionRecord | None:
        """The newest transition of one instance."""
        with self._lock:
            return self._ahead.last_transition(process, instance)

    def block_of(self, process: str, instance: str) -> Block | None:
        """Why an instance takes nothing, if so."""
        with self._lock:
            return self._ahead.block_of(process, instance)

    def held(
        self, process: str, instance: str, limit: int
    ) -> tuple[int, Block | None, list[int], int]:
        """What is set aside for an instance.

        Returns:
            the highest position that is parked at it, why it takes nothing, the first positions
            that wait for it, and the highest that does

        """
        ahead = self._ahead
        with self._lock:
            parked = ahead.last_parked(process, instance)
            block, positions = ahead.read_waiting(process, instance, 0, limit)
            return parked, block, positions, ahead.last_waiting(process, instance)

    def waiting(self, process: str, instance: str, after: int, limit: int) -> list[int]:
        """Positions of events that wait for an instance."""
        with self._lock:
            return self._ahead.read_waiting(process, instance, after, limit)[1]

    def any_blocked(self, process: str) -> bool:
        """Whether an instance of that process manager takes nothing, since something failed."""
        with self._lock:
            return self._ahead.any_blocked(process)

    def read_index(self, process: str, field: str, value: str) -> list[str]:
        """The instances whose learnt key has that value, in order of id."""
        with self._lock:
            return self._ahead.read_index(process, field, value)

    def unmatched(self, process: str, limit: int) -> list[UnmatchedRecord]:
        """The first events that are held for who learns their keys, in order of position."""
        with self._lock:
            return list(islice(self._ahead.scan_unmatched(process), limit))

    def count_unmatched(self, process: str) -> int:
        """How many events are held for who learns their keys."""
        with self._lock:
            return self._ahead.count_unmatched(process)

    def refusals_of(self, process: str, instance: str) -> list[RefusalRecord]:
        """The refusals that an instance was not told of."""
        with self._lock:
            return [
                one
                for one in self._ahead.scan_refusals()
                if (one.command.process, one.command.instance) == (process, instance)
            ]

    # Of aggregates

    def read_stream(self, stream: str, after: int, limit: int) -> list[EventRecord]:
        """Events of one stream in order of version, behind a version."""
        with self._lock:
            return self._ahead.read_stream(stream, after, limit)

    def read_snapshot(self, stream: str) -> tuple[int, bytes] | None:
        """The version and state of an aggregate's newest snapshot."""
        with self._lock:
            return self._ahead.read_snapshot(stream)

    def last_version(self, stream: str) -> int:
        """The version of a stream's newest event, which may be pruned."""
        with self._lock:
            return self._ahead.last_version(stream)

    def may_be_pruned(self) -> bool:
        """Whether anything was ever pruned."""
        return self._ahead.may_be_pruned()

    # Of the log

    def read_log(self, after: int, limit: int) -> list[EventRecord]:
        """Events in order of position; in the place of a damaged one stands an `UNREADABLE`."""
        with self._lock:
            try:
                return self._ahead.read_log(after, limit)
            except CorruptRecord:
                # One of them, and the others must not suffer from it.
                end = min(after + limit, self._ahead.last_position())
                return [event_at(self._ahead, each) for each in range(after + 1, end + 1)]

    # What the core asks

    def event_at(self, position: int) -> EventRecord:
        with self._lock:
            return event_at(self._ahead, position)

    def event_of(self, transition: TransitionRecord) -> EventRecord | None:
        if not transition.position:
            return None
        with self._lock:
            return self._ahead.event_at(transition.position)

    def link_before(self, event: EventRecord) -> Link | None:
        # The id of a command from outside may be any text; the events that it made have no depth.
        issue = place_of_issue(event.causation_id or "") if event.depth else None
        if issue is None:
            return None
        with self._lock:
            issuer = self._ahead.stored_transition(issue.process, issue.instance, issue.version)
        if issuer is None or all(one[0] != event.causation_id for one in issuer.commands):
            return None
        before = self.event_of(issuer)
        return None if before is None else Link(*issue[:3], before)

    def effect_at(self, position: int, process: str, instance: str) -> EffectRecord | None:
        with self._lock:
            return self._ahead.effect_at(position, process, instance)

    def stored_transition(
        self, process: str, instance: str, version: int
    ) -> TransitionRecord | None:
        with self._lock:
            return self._ahead.stored_transition(process, instance, version)

    def refusal(self, sequence: int) -> RefusalRecord | None:
        with self._lock:
            return self._ahead.refusal_at(sequence)

    def held_back(self, timer: TimerRecord) -> CommandRecord | None:
        with self._lock:
            return self._ahead.held_back(timer)

    def timer_of(self, timer: TimerRecord) -> TimerRecord | None:
        with self._lock:
            return self._ahead.timer_of(timer)

    def set_aside(self, process: str, instance: str) -> frozenset[int]:
        with self._lock:
            return frozenset(self._ahead.scan_set_aside(process, instance))

    def undecided_of(self, process: str, instance: str) -> list[int]:
        with self._lock:
            return self._ahead.undecided_of(process, instance)

    def transitions(self, process: str, instance: str) -> Iterator[TransitionRecord]:
        # An instance is rebuilt when all that it handed over is durable.
        return self._store.scan_transitions(process, instance)


def event_at(reads: Reads, position: int) -> EventRecord:
    """The event at a position; one of the type `UNREADABLE` if it is damaged or missing."""
    error: StoreError
    try:
        found = reads.event_at(position)
    except CorruptRecord as damage:
        error = damage
    else:
        if found is not None:
            return found
        error = StoreError(f"the log has no event at position {position}; go back to a backup")
    # Without its frames, which would know the record in turn, and a record is never looked at by
    # Python's cycle collector.
    error.__traceback__ = None
    return EventRecord(
        UNREADABLE, "", 0, 0, b"", f"position {position}", "", position=position, message=error
    )
