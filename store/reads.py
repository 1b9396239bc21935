"""Reading records: single ones, bounded batches, and scans that page inside.

What could be long is scanned: an iterator reads some at a time, keeps nothing open in between, and
comes to what is damaged after all that is before it. `after` is exclusive. `read_*` is for a caller
who wants a bounded batch at once; `limit` is the most rows.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from .errors import CorruptRecord, StoreError
from .identifiers import place_of_event
from .layout.frames import NUMBER, corrupt, no_number, number, unframe
from .layout.keys import LAST, digest, numbered
from .layout.schema import (
    BLOCKED,
    PRUNED_UP_TO,
    SENT_TOGETHER,
    Marks,
    code_from_row,
    command_from_row,
    copies_key,
    document_key,
    document_set_from_row,
    document_set_key,
    effect_from_row,
    effect_key,
    erasure_from_row,
    event_from_row,
    first_in,
    first_of_row,
    given_from_row,
    instance_key,
    kind_of_name,
    last_of_process,
    parked_at_key,
    parked_from_row,
    place_of,
    refusal_from_row,
    sent_from_row,
    started_key,
    stream_key,
    timer_from_row,
    timer_key,
    tombstone_from_row,
    transition_from_row,
    transitions_key,
    unmatched_from_row,
    unmatched_key,
)
from .records import Block
from .state_changes import Misfit, PackedFields, apply_change

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from .records import (
        CodeRecord,
        CommandRecord,
        CommandResult,
        DocumentSet,
        EffectRecord,
        ErasureRecord,
        EventRecord,
        GivenCommand,
        NameKind,
        ParkedRecord,
        RefusalRecord,
        SentRecord,
        TimerRecord,
        TombstoneRecord,
        TransitionRecord,
        UnmatchedRecord,
    )
    from .storage_engine import Row

__all__ = ["ALL", "HIGHEST", "Reads", "number_asked_for"]

T = TypeVar("T")
K = TypeVar("K")

HIGHEST = (1 << 64) - 1
"""The highest number that a key can have."""

FIRST_PAGE = 4
"""Rows that a scan reads at first: what is looked for is often the next one."""

PAGE = 256
"""Rows that a scan reads at a time after that."""


def number_asked_for(value: int) -> bytes:
    """A number in a key, as a caller gave it.

    Raises:
        InvalidName: no key can have it

    """
    try:
        return number(value)
    except struct.error as error:
        raise no_number(error) from error


class Reads:
    """What can be read of a store, or of a store with its open commit; they fill in the rest."""

    def _get(self, table: str, key: bytes) -> bytes | None:
        raise NotImplementedError

    def _get_many(self, keys: Sequence[tuple[str, bytes]]) -> list[bytes | None]:
        raise NotImplementedError

    def _range(
        self, table: str, start: bytes, end: bytes, limit: int, *, backwards: bool = False
    ) -> list[Row]:
        raise NotImplementedError

    def _may_wait(self) -> bool:
        """Whether anything is in `waiting` at all, which is asked for with every instance."""
        raise NotImplementedError

    def _may_be_parked(self) -> bool:
        """Whether anything was ever parked, which is asked for with every instance."""
        raise NotImplementedError

    def may_be_pruned(self) -> bool:
        """Whether anything was ever pruned, which is asked for where nothing was found."""
        raise NotImplementedError

    def pruned_up_to(self) -> Marks:
        """How far what was pruned reaches; all 0 while nothing was.

        Raises:
            CorruptRecord: it cannot be read

        """
        raw = self._get("meta", PRUNED_UP_TO)
        said = None if raw is None else unframe(raw, "meta", PRUNED_UP_TO)
        return (None if said is None else Marks.parse(str(said))) or Marks()

    # The log and the streams

    def last_position(self) -> int:
        """The position of the newest event, or 0."""
        raise NotImplementedError

    def event_at(self, position: int) -> EventRecord | None:
        """The event at a position of the global log."""
        return self._one("log", position, event_from_row)

    def read_events(self, positions: Sequence[int]) -> list[EventRecord]:
        """The events at those positions of the global log, in one trip.

        Raises:
            CorruptRecord: one is damaged or missing

        """
        keys = [number_asked_for(one) for one in positions]
        found: list[EventRecord] = []
        raws = self._get_many([("log", key) for key in keys])
        for position, key, raw in zip(positions, keys, raws, strict=True):
            if raw is None:
                raise corrupt("log", key, "is not there")
            found.append(event_from_row(unframe(raw, "log", key), position))
        return found

    def event_in(self, stream: str, version: int) -> EventRecord | None:
        """The event that is that version of a stream."""
        for event in self.read_stream(stream, version - 1, 1):
            return event if event.version == version else None
        return None

    def position_of(self, event_id: str) -> int:
        """The position of the event with that id, or 0."""
        given = self._given_event(event_id)
        if given is not None:
            return given[0]
        event = self._named_event(event_id)
        return 0 if event is None else event.position

    def tombstone_at(self, position: int) -> TombstoneRecord | None:
        """What stays of the event at a position, if it was pruned."""
        return self._one("tombstones", position, tombstone_from_row)

    def read_tombstones(self, after: int, limit: int) -> list[TombstoneRecord]:
        """What stays of events that were pruned, in order of position, at most so many."""
        return self._batch("tombstones", b"", after, limit, tombstone_from_row)

    def event_or_tombstone(self, position: int) -> EventRecord | TombstoneRecord | None:
        """The event at a position, or what stays of it."""
        event = self.event_at(position)
        return (
            event
            if event is not None or not self.may_be_pruned()
            else (self.tombstone_at(position))
        )

    def last_version(self, stream: str) -> int:
        """The version of a stream's newest event, which may be pruned; 0 of a new stream."""
        return self._last("ids", stream_key(stream))

    def _given_event(self, event_id: str) -> tuple[int, bytes] | None:
        """The position and the digest of the event that was given that id from outside."""
        key = event_id.encode()
        raw = self._get("event_ids", key)
        if raw is None:
            return None
        position, content = unframe(raw, "event_ids", key)
        return position, content

    def _named_event(self, event_id: str) -> EventRecord | TombstoneRecord | None:
        """The event that the store gave that id, which says itself where the event is."""
        place = place_of_event(event_id)
        if place is None:
            return None
        key = stream_key(place.stream) + number(place.version)
        raw = self._get("ids", key)
        event = None if raw is None else self.event_or_tombstone(place_of(key, raw))
        # The event there may have another id.
        return event if event is not None and event.event_id == event_id else None

    def scan_log(self, after: int = 0) -> Iterator[EventRecord]:
        """Events of the global log in order of position."""
        return self._scan("log", b"", after, event_from_row)

    def read_log(self, after: int, limit: int) -> list[EventRecord]:
        """As `scan_log`, at most so many at once: what a reader of the log's end has room for."""
        return self._batch("log", b"", after, limit, event_from_row)

    def scan_log_through(self, after: int = 0) -> Iterator[tuple[int, EventRecord | CorruptRecord]]:
        """As `scan_log`, by position; in the place of a damaged event stands its error."""
        pages = _in_pages(
            lambda last, limit: self._page("log", b"", last, limit),
            after,
            lambda row: numbered(row[0]),
        )
        for key, raw in pages:
            position = numbered(key)
            try:
                yield position, event_from_row(unframe(raw, "log", key), position)
            except CorruptRecord as error:
                yield position, error

    def scan_stream_through(self, stream: str) -> Iterator[tuple[int, EventRecord | CorruptRecord]]:
        """As `scan_stream`, by version; in the place of a damaged event stands its error."""
        return _through(
            lambda last, limit: self.read_stream(stream, last, limit),
            lambda version: self._get("ids", stream_key(stream) + number(version)) is not None,
        )

    def scan_stream(self, stream: str, after: int = 0) -> Iterator[EventRecord]:
        """Events of one stream in order of version; `after` is a version."""
        return _in_pages(
            lambda last, limit: self.read_stream(stream, last, limit),
            after,
            lambda event: event.version,
        )

    def read_stream(self, stream: str, after: int, limit: int) -> list[EventRecord]:
        """As `scan_stream`, at most so many."""
        prefix = stream_key(stream)
        try:
            key = prefix + number(after + 1)
        except struct.error as error:
            raise no_number(error) from error
        if self._get("ids", key) is None and not self.may_be_pruned():
            # Most streams that are asked for are new ones.
            return []
        found: list[EventRecord] = []
        while True:
            rows = self._page("ids", prefix, after, limit - len(found))
            found += self._pointed_at("log", rows, slice(1, 3), [stream], event_from_row)
            if len(found) >= limit or not rows:
                return found
            # Some were pruned, or there are no more.
            after = numbered(rows[-1][0])
            if len(rows) == len(found) or not self.may_be_pruned():
                return found

    # Instances

    def last_transition(self, process: str, instance: str) -> TransitionRecord | None:
        """The newest transition of one instance, which holds its state."""
        prefix = transitions_key(process, instance)
        rows = self._range("ids", prefix, prefix + number(HIGHEST), 1, backwards=True)
        return self._transitions_at(process, instance, rows)[0] if rows else None

    def transition_at(self, process: str, instance: str, version: int) -> TransitionRecord | None:
        """The transition that brought one instance to a version."""
        rows = self._row_of_transition(process, instance, version)
        return self._transitions_at(process, instance, rows)[0] if rows else None

    def stored_transition(
        self, process: str, instance: str, version: int
    ) -> TransitionRecord | None:
        """As `transition_at`, with its state as it is stored, which may be a change.

        One look at its row, however large the state is and however many changes it stands on.
        """
        rows = self._row_of_transition(process, instance, version)
        if not rows:
            return None
        owner = [process, instance]
        return self._pointed_at("transitions", rows, slice(3), owner, transition_from_row)[0]

    def _row_of_transition(
        self, process: str, instance: str, version: int
    ) -> list[tuple[bytes, bytes]]:
        key = transitions_key(process, instance) + number_asked_for(version)
        raw = self._get("ids", key)
        return [] if raw is None else [(key, raw)]

    def scan_transitions(
        self, process: str, instance: str, after: int = 0
    ) -> Iterator[TransitionRecord]:
        """Transitions of one instance in order of version; `after` is a version."""
        return _in_pages(
            lambda last, limit: self.read_transitions(process, instance, last, limit),
            after,
            lambda transition: transition.version,
        )

    def scan_transitions_through(
        self, process: str, instance: str
    ) -> Iterator[tuple[int, TransitionRecord | CorruptRecord]]:
        """As `scan_transitions`, by version; in the place of a damaged one stands its error."""
        prefix = transitions_key(process, instance)
        return _through(
            lambda last, limit: self.read_transitions(process, instance, last, limit),
            lambda version: self._get("ids", prefix + number(version)) is not None,
        )

    def read_transitions(
        self, process: str, instance: str, after: int, limit: int
    ) -> list[TransitionRecord]:
        """As `scan_transitions`, at most so many."""
        rows = self._page("ids", transitions_key(process, instance), after, limit)
        return self._transitions_at(process, instance, rows)

    def _transitions_at(
        self, process: str, instance: str, rows: list[Row]
    ) -> list[TransitionRecord]:
        """The transitions that rows of `ids` point at, each with its whole state.

        Raises:
            CorruptRecord: one is damaged, or one that it stands on

        """
        owner = [process, instance]
        found = self._pointed_at("transitions", rows, slice(3), owner, transition_from_row)
        if not any(one.base for one in found):
            return found
        first = found[0]
        before: list[TransitionRecord] = []
        if first.base:
            # Those that it stands on, which are few.
            prefix = transitions_key(process, instance)
            rows = self._page("ids", prefix, first.base - 1, first.version - first.base)
            before = self._pointed_at("transitions", rows, slice(3), owner, transition_from_row)
        state, fields, weight = b"", None, 0
        for one in before + found:
            if not one.base:
                state, fields, weight = one.state, None, 0
                continue
            try:
                fields = apply_change(fields or PackedFields.of(state), one.state)
            except Misfit as error:
                key = transitions_key(process, instance) + number(one.version)
                raise corrupt("ids", key, f"is of a state that cannot be read: {error}") from error
            weight += len(one.state)
            one.change, one.state, one.weight = one.state, fields.whole(), weight
        return found

    def version_of(self, process: str, instance: str) -> int:
        """The version of an instance; 0 of one that is not there."""
        return self._last("ids", transitions_key(process, instance))

    def transitions_below(
        self, process: str, instance: str, version: int, limit: int
    ) -> list[tuple[int, int, TransitionRecord]]:
        """Transitions of an instance below a version, newest first, at most so many.

        Returns:
            version, number, and the transition with its state as it is stored

        """
        prefix = transitions_key(process, instance)
        rows = self._range("ids", prefix, prefix + number(version), limit, backwards=True)
        owner = [process, instance]
        found = self._pointed_at("transitions", rows, slice(3), owner, transition_from_row)
        return [
            (one.version, place_of(key, raw), one)
            for (key, raw), one in zip(rows, found, strict=True)
        ]

    def number_of(self, process: str, instance: str, version: int) -> int:
        """The number of one transition of an instance; 0 if it is not there."""
        rows = self._row_of_transition(process, instance, version)
        return place_of(*rows[0]) if rows else 0

    def scan_instances(
        self, process: str, after: int = 0
    ) -> Iterator[tuple[str, TransitionRecord]]:
        """Instances of one process manager in the order in which they started.

        Each comes with its newest transition; `after` is the number of a first transition.
        """
        prefix = started_key(process)
        for key, raw in self._scan_rows(
            "started", prefix + number_asked_for(after + 1), last_of_process(process)
        ):
            instance = str(unframe(raw, "started", key))
            last = self.last_transition(process, instance)
            if last is None:
                raise StoreError(
                    f"instance {instance!r} of {process} started with transition "
                    f"{numbered(key)}, which the store does not have"
                )
            yield instance, last

    def scan_all_transitions(
        self, after: int = 0
    ) -> Iterator[tuple[int, tuple[str, str, TransitionRecord] | CorruptRecord]]:
        """The transitions of all instances by number: process, instance, transition.

        Each with its state as it is stored, which may be a change; in the place of a damaged one
        stands its error.
        """
        pages = _in_pages(
            lambda last, limit: self._page("transitions", b"", last, limit),
            after,
            lambda row: numbered(row[0]),
        )
        for key, raw in pages:
            place = numbered(key)
            try:
                row = unframe(raw, "transitions", key)
                yield place, (row[0], row[1], transition_from_row(row, place))
            except CorruptRecord as error:
                yield place, error

    def scan_started(
        self, process: str, after: int = 0
    ) -> Iterator[tuple[int, str | CorruptRecord]]:
        """The instances of a process manager by the numbers of their first transitions.

        In the place of one whose id is damaged stands the error.
        """
        start = started_key(process) + number_asked_for(after + 1)
        for key, raw in self._scan_rows("started", start, last_of_process(process)):
            try:
                yield numbered(key), str(unframe(raw, "started", key))
            except CorruptRecord as error:
                yield numbered(key), error

    def started_as(self, process: str, instance: str) -> int:
        """The number of the first transition that an instance has; 0 if it has none."""
        # Of one that was pruned, the first that stays.
        rows = self._page("ids", transitions_key(process, instance), 0, 1)
        return place_of(*rows[0]) if rows else 0

    # Commands

    def scan_queue(self, after: int = 0) -> Iterator[CommandRecord]:
        """Commands not yet carried out, in order of sequence.

        Commands that instances issued have sequences from 1; those from outside have sequences
        above `FROM_OUTSIDE`.
        """
        return _in_pages(self.read_queue, after, lambda command: command.sequence)

    def read_queue(self, after: int, limit: int) -> list[CommandRecord]:
        """As `scan_queue`, at most so many: what may be under way at once."""
        return self._batch("queue", b"", after, limit, command_from_row)

    def last_sequences(self) -> tuple[int, int]:
        """The newest sequence of an issued command, and of one from outside."""
        raise NotImplementedError

    def given_command(self, command_id: str) -> GivenCommand | None:
        """What the id of a command from outside stands for."""
        key = command_id.encode()
        raw = self._get("command_ids", key)
        return None if raw is None else given_from_row(unframe(raw, "command_ids", key))

    def result_of(self, command_id: str) -> CommandResult | None:
        """What came of the command with that id, if it came from outside and was carried out."""
        given = self.given_command(command_id)
        return None if given is None else given.result

    # Checkpoints

    def checkpoint(self, router: str) -> int:
        """The position up to which that router is done, or 0."""
        return self.stored_checkpoint(router) or 0

    def stored_checkpoint(self, router: str) -> int | None:
        """As `checkpoint`; None if there is none."""
        key = router.encode()
        raw = self._get("checkpoints", key)
        return None if raw is None else int(unframe(raw, "checkpoints", key))

    def scan_checkpoints(self) -> Iterator[tuple[str, int]]:
        """All routers that have a checkpoint, each with the position up to which it is done."""
        for key, raw in self._scan_rows("checkpoints", b"", b"\xff"):
            yield key.decode(), int(unframe(raw, "checkpoints", key))

    # What is set aside

    def parked_as(self, number: int) -> ParkedRecord | None:
        """What is parked under a number and not yet decided."""
        return self._one("parked", number, parked_from_row)

    def decided_as(self, number: int) -> ParkedRecord | None:
        """What was parked under a number until a person decided."""
        return self._one("decided", number, parked_from_row)

    def scan_parked(self, after: int = 0, *, decided: bool = False) -> Iterator[ParkedRecord]:
        """What is parked, or what was until a person decided, in order of its number."""
        return self._scan("decided" if decided else "parked", b"", after, parked_from_row)

    def scan_parked_through(
        self, *, decided: bool = False, after: int = 0
    ) -> Iterator[tuple[int, ParkedRecord | CorruptRecord]]:
        """As `scan_parked`, by number; in the place of a damaged one stands its error."""
        table = "decided" if decided else "parked"
        for key, raw in self._scan_rows(table, number_asked_for(after + 1), LAST + b"\0"):
            try:
                yield numbered(key), parked_from_row(unframe(raw, table, key), numbered(key))
            except CorruptRecord as error:
                yield numbered(key), error

    def parked_number(self, parked: ParkedRecord) -> int:
        """The number under which the same thing was parked last, or 0."""
        key = parked_at_key(parked)
        raw = self._get("parked_at", key)
        return 0 if raw is None else int(unframe(raw, "parked_at", key))

    def scan_command_ids(self, after: str = "") -> Iterator[str]:
        """The ids of all commands from outside that are remembered, in order."""
        start = after.encode() + b"\0"
        for key, _ in self._scan_rows("command_ids", start, b"\xff" * 9):
            yield key.decode()

    def last_parked(self, process: str, instance: str) -> int:
        """The highest position that is parked at an instance, or was skipped, or 0."""
        if not self._may_be_parked():
            return 0
        return self._last("parked_at", instance_key(process, instance))

    def block_of(self, process: str, instance: str) -> Block | None:
        """Why an instance takes nothing, if so."""
        if not self._may_wait():
            return None
        key = instance_key(process, instance) + BLOCKED
        raw = self._get("waiting", key)
        return None if raw is None else Block(*unframe(raw, "waiting", key))

    def any_blocked(self, process: str) -> bool:
        """Whether an instance of that process manager takes nothing, since something failed."""
        return self._may_wait() and any(not numbered(key) for key in self._heads_waiting(process))

    def scan_blocked(self, process: str, after: str = "") -> Iterator[str]:
        """The instances of a process manager that take nothing, since something failed, by id.

        Only those behind the instance `after`, if it is given.
        """
        if self._may_wait():
            for key in self._heads_waiting(process, after):
                if not numbered(key):
                    yield key[:-8].decode().split("\0")[1]

    def scan_held(self, process: str) -> Iterator[str]:
        """The instances of a process manager that take nothing, or for which events wait, by id."""
        if self._may_wait():
            for key in self._heads_waiting(process):
                yield key[:-8].decode().split("\0")[1]

    def last_waiting(self, process: str, instance: str) -> int:
        """The highest position that waits until the instance may take it, or 0."""
        return self._last("waiting", instance_key(process, instance)) if self._may_wait() else 0

    def scan_waiting(self, process: str, instance: str, after: int = 0) -> Iterator[int]:
        """Positions of events that wait until the instance may take them, in order."""
        prefix = instance_key(process, instance)
        return self._scan("waiting", prefix, after, lambda _, position: position)

    def read_waiting(
        self, process: str, instance: str, after: int, limit: int
    ) -> tuple[Block | None, list[int]]:
        """Why an instance takes nothing, if so, and the positions that wait, in order."""
        if not self._may_wait():
            return None, []
        prefix = instance_key(process, instance)
        # The block, if there is one, comes before what waits behind it.
        rows = self._range(
            "waiting", prefix + BLOCKED, prefix + LAST, limit + 1 if not after else 1
        )
        block = None
        if rows and not numbered(rows[0][0]):
            key, raw = rows.pop(0)
            block = Block(*unframe(raw, "waiting", key))
        if after:
            start = prefix + number_asked_for(after + 1)
            rows = self._range("waiting", start, prefix + LAST, limit)
        for key, raw in rows[:limit]:
            unframe(raw, "waiting", key)
        return block, [numbered(key) for key, _ in rows[:limit]]

    def scan_all_waiting(self) -> Iterator[int]:
        """Positions of the events that wait for any instance, or failed and hold one up."""
        for key, raw in self._scan_rows("waiting", b"", b"\xff"):
            row = unframe(raw, "waiting", key)
            yield numbered(key) or Block(*row).position

    def scan_ready(self) -> Iterator[tuple[str, str]]:
        """Instances for which events wait and nothing blocks, by process and id."""
        for key in self._heads_waiting(""):
            if numbered(key):
                process, instance, _ = key[:-8].decode().split("\0")
                yield process, instance

    def _heads_waiting(self, process: str, after: str = "") -> Iterator[bytes]:
        """The first key of each instance that has any in `waiting`; of one process manager, or all.

        It is that of the block, if there is one. Of one process manager, they begin behind the
        instance `after`.
        """
        start = process.encode() + b"\0" if process else b"\0"
        if after:
            start = instance_key(process, after) + LAST + b"\0"
        end = last_of_process(process) if process else b"\xff"
        while rows := self._range("waiting", start, end, 1):
            key = rows[0][0]
            yield key
            start = key[:-8] + LAST + b"\0"

    # What is due, what is learnt, what was refused

    def scan_timers(self, until: int, after: bytes = b"") -> Iterator[tuple[bytes, TimerRecord]]:
        """Timers due at or before `until`, in order of time, each with the key to go on after."""
        end = number_asked_for(until) + LAST * 3
        for key, raw in self._scan_rows("timers", after + b"\0" if after else b"", end):
            yield key, timer_from_row(unframe(raw, "timers", key), key)

    def timer_of(self, timer: TimerRecord) -> TimerRecord | None:
        """That timer as it was set; None once it is done with, moved or cancelled."""
        key = timer_key(timer)
        raw = self._get("timers", key)
        return None if raw is None else timer_from_row(unframe(raw, "timers", key), key)

    def scan_timers_through(self, until: int) -> Iterator[tuple[int, TimerRecord | CorruptRecord]]:
        """As `scan_timers`, by time; in the place of a damaged one stands its error."""
        for key, raw in self._scan_rows("timers", b"", number_asked_for(until) + LAST * 3):
            try:
                yield numbered(key[:8]), timer_from_row(unframe(raw, "timers", key), key)
            except CorruptRecord as error:
                yield numbered(key[:8]), error

    def held_back(self, timer: TimerRecord) -> CommandRecord | None:
        """The command that a timer holds back; None once it has left."""
        found = self.timer_of(timer)
        return None if found is None else found.command

    def waits(self, process: str, instance: str) -> bool:
        """Whether an instance takes nothing, or is still to take up what waits for it."""
        block, positions = self.read_waiting(process, instance, 0, 1)
        return block is not None or bool(positions)

    def scan_index(self, process: str, field: str, value: str) -> Iterator[str]:
        """The instances whose learnt key has that value, in order of id."""
        prefix = digest(process, field, value)
        for key, raw in self._scan_rows("index", prefix, prefix + b"\xff"):
            # It says nothing, and its checksum speaks for the key.
            unframe(raw, "index", key)
            yield key[len(prefix) :].decode()

    def read_index(self, process: str, field: str, value: str) -> list[str]:
        """As `scan_index`, all at once, as they are at one moment."""
        prefix = digest(process, field, value)
        rows = self._index_rows(prefix)
        for key, raw in rows:
            unframe(raw, "index", key)
        return [key[len(prefix) :].decode() for key, _ in rows]

    def _index_rows(self, prefix: bytes) -> list[Row]:
        return self._range("index", prefix, prefix + b"\xff", ALL)

    def unmatched_at(self, process: str, position: int) -> UnmatchedRecord | None:
        """The event at a position, if it is held for who learns its key."""
        key = unmatched_key(process, position)
        raw = self._get("unmatched", key)
        return None if raw is None else unmatched_from_row(unframe(raw, "unmatched", key), key)

    def scan_unmatched(self, process: str, after: int = 0) -> Iterator[UnmatchedRecord]:
        """The events that are held for who learns their keys, in order of position.

        One whose row is damaged is left out: it must not hold up the others, and `verify` tells.
        """
        start = started_key(process) + number_asked_for(after + 1)
        for key, raw in self._scan_rows("unmatched", start, last_of_process(process)):
            with suppress(CorruptRecord):
                yield unmatched_from_row(unframe(raw, "unmatched", key), key)

    def refusal_at(self, sequence: int) -> RefusalRecord | None:
        """The refusal with that number, if its instance was not yet told of it."""
        return self._one("refusals", sequence, refusal_from_row)

    def scan_refusals(self, after: int = 0) -> Iterator[RefusalRecord]:
        """Refusals that their instances were not yet told of, in order of sequence."""
        return self._scan("refusals", b"", after, refusal_from_row)

    def read_refusals(self, after: int, limit: int) -> list[RefusalRecord]:
        """As `scan_refusals`, at most so many."""
        return self._batch("refusals", b"", after, limit, refusal_from_row)

    def read_snapshot(self, stream: str) -> tuple[int, bytes] | None:
        """The version and state of an aggregate's newest snapshot."""
        key = stream.encode()
        raw = self._get("snapshots", key)
        if raw is None:
            return None
        version, state = unframe(raw, "snapshots", key)
        return version, state

    def scan_names(self) -> Iterator[tuple[NameKind, str]]:
        """The names that were ever stored, by kind: types of events and commands, and processes."""
        for key, raw in self._scan_rows("names", b"", b"\xff"):
            yield kind_of_name(key), unframe(raw, "names", key)

    def code_at(self, code_number: int) -> CodeRecord | None:
        """The code of a process manager with that number."""
        return self._one("codes", code_number, code_from_row)

    def scan_codes(self) -> Iterator[CodeRecord]:
        """The codes that decided transitions; without those that cannot be read."""
        for key, raw in self._scan_rows("codes", b"", b"\xff" * 9):
            # Another number is given to that code.
            with suppress(CorruptRecord):
                yield code_from_row(unframe(raw, "codes", key), numbered(key))

    def effect_at(self, position: int, process: str, instance: str) -> EffectRecord | None:
        """What the after-effect of the event at a position issued in an instance, if anything."""
        if not 0 < position <= HIGHEST:
            return None
        key = effect_key(position, process, instance)
        raw = self._get("effects", key)
        return None if raw is None else effect_from_row(unframe(raw, "effects", key), position)

    def acted_in(self, process: str, effects: Sequence[tuple[int, str]]) -> set[tuple[int, str]]:
        """Those after-effects of a process manager that have issued something, in one trip.

        Args:
            process: the process manager
            effects: each the position of an event, and the id of an instance

        """
        keys = [("effects", effect_key(position, process, one)) for position, one in effects]
        found = self._get_many(keys) if keys else []
        return {one for one, raw in zip(effects, found, strict=True) if raw is not None}

    def effects_after(self, position: int) -> list[EffectRecord]:
        """What the after-effects of the event at a position issued, in all instances."""
        start = number_asked_for(position)
        return [
            effect_from_row(unframe(raw, "effects", key), position)
            for key, raw in self._range("effects", start, start + LAST * 3, ALL)
        ]

    def scan_set_aside(self, process: str, instance: str) -> Iterator[int]:
        """Positions of events that wait for an instance, are parked at it, or were skipped."""
        prefix = instance_key(process, instance)
        for table in ("waiting", "parked_at"):
            yield from self._scan(table, prefix, 0, lambda _, position: position)
        block = self.block_of(process, instance)
        if block is not None and block.position:
            yield block.position

    def undecided_of(self, process: str, instance: str) -> list[int]:
        """Numbers of what is parked of the events that an instance was to handle.

        Its after-effects, and the commands that it issued, are not among them.
        """
        prefix = instance_key(process, instance)
        rows = self._range("parked_at", prefix + number(1), prefix + LAST, ALL)
        numbers = [unframe(raw, "parked_at", key) for key, raw in rows]
        # One that was passed over keeps its row.
        found = self._get_many([("parked", number(one)) for one in numbers])
        return [one for one, raw in zip(numbers, found, strict=True) if raw is not None]

    # Documents of projections

    def document_sets(self, projection: str) -> list[DocumentSet]:
        """The makings of a projection's documents, oldest first."""
        start = started_key(projection)
        return [
            document_set_from_row(unframe(raw, "document_sets", key), key)
            for key, raw in self._range("document_sets", start, start + LAST + b"\0", ALL)
        ]

    def document_at(self, projection: str, generation: int, key: str) -> bytes | None:
        """What a document says, or None."""
        place = document_key(projection, generation, key)
        raw = self._get("documents", place)
        return None if raw is None else self._value_of(place, raw)

    def documents_at(
        self, projection: str, generation: int, keys: Sequence[str]
    ) -> list[bytes | None]:
        """As `document_at`, of several keys in one trip."""
        places = [document_key(projection, generation, key) for key in keys]
        raws = self._get_many([("documents", place) for place in places])
        return [
            None if raw is None else self._value_of(place, raw)
            for place, raw in zip(places, raws, strict=True)
        ]

    def read_documents(
        self, projection: str, generation: int, prefix: str, after: str | None, limit: int
    ) -> list[tuple[str, bytes]]:
        """The keys of documents and what these say, in order of the keys, at most so many.

        Args:
            projection: its name
            generation: which making of them
            prefix: what the keys begin with
            after: only keys behind this one
            limit: most of them

        """
        own = document_set_key(projection, generation)
        begun = own + prefix.encode()
        start = begun if after is None else max(begun, own + after.encode() + b"\0")
        # No byte of a text is as high.
        rows = self._range("documents", start, begun + b"\xff", limit)
        return [(key[len(own) :].decode(), self._value_of(key, raw)) for key, raw in rows]

    @staticmethod
    def _value_of(key: bytes, raw: bytes) -> bytes:
        (value,) = unframe(raw, "documents", key)
        return bytes(value)

    # Lanes between partitions

    def read_lane(self, target: int, after: int, limit: int) -> list[SentRecord]:
        """What is for another partition, in order, behind a sequence.

        Args:
            target: the other partition
            after: the sequence
            limit: as many are read if there are, and what else is in the row of the last

        """
        prefix = number_asked_for(target)
        found: list[SentRecord] = []
        # Rows are full where much is sent, and may hold one message each where little is.
        most = limit // SENT_TOGETHER + 1
        while len(found) < limit:
            rows = self._page("outgoing", prefix, after, most)
            for key, raw in rows:
                row = unframe(raw, "outgoing", key)
                try:
                    for sequence, one in enumerate(row, first_in(key, row)):
                        if sequence > after:
                            found.append(sent_from_row(one, target, sequence))
                except (TypeError, ValueError) as error:
                    raise corrupt("outgoing", key, f"holds no messages: {error}") from error
            if len(rows) < most:
                break
            after = numbered(rows[-1][0])
            # As many as the rest takes if they are as full as these.
            most = (limit - len(found)) * most // max(len(found), 1) + 1
        return found

    def first_sent(self, target: int) -> int:
        """The sequence of the oldest of what is there for a partition, or 1."""
        rows = self._page("outgoing", number_asked_for(target), 0, 1)
        return first_of_row(*rows[0]) if rows else 1

    def last_sent(self, target: int) -> int:
        """The sequence of the newest that was sent to a partition, or 0."""
        return self._last("outgoing", number_asked_for(target))

    def cursor_of(self, source: int) -> int:
        """The sequence up to which the lane from another partition was taken, or 0."""
        key = number_asked_for(source)
        raw = self._get("cursors", key)
        return 0 if raw is None else int(unframe(raw, "cursors", key))

    def positions_of_copies(self, process: str, stream: str, version: int) -> list[int]:
        """Positions of the copies that other partitions sent of an event for a process manager."""
        rows = self._page("ids", copies_key(process, stream, version), 0, ALL)
        return [place_of(key, raw) for key, raw in rows]

    def rows_sent(self, target: int, after: int, up_to: int, limit: int) -> list[int]:
        """The sequences under which rows are for another partition, behind one, up to another."""
        prefix = number_asked_for(target)
        start, end = (prefix + number_asked_for(one + 1) for one in (after, up_to))
        return [numbered(key) for key, _ in self._range("outgoing", start, end, limit)]

    # After-effects that wait

    def is_set_aside(self, process: str, instance: str, position: int) -> bool:
        """Whether an event waits for an instance, is tried again, is parked at it, or was skipped.

        Args:
            process: the process manager
            instance: its id; empty for an event whose instances could not be found
            position: of the event

        """
        return bool(self.all_set_aside(process, [(instance, position)]))

    def all_set_aside(
        self, process: str, events: Iterable[tuple[str, int]]
    ) -> set[tuple[str, int]]:
        """Those of many for which `is_set_aside` is so, in one trip.

        Args:
            process: the process manager
            events: each the id of an instance, and the position of an event

        """
        wanted: dict[tuple[str, bytes], list[tuple[str, int]]] = {}
        may_be_parked, may_wait = self._may_be_parked(), self._may_wait()
        for one in events:
            own = instance_key(process, one[0])
            key = own + number_asked_for(one[1])
            if may_be_parked:
                wanted["parked_at", key] = [one]
            if may_wait:
                wanted["waiting", key] = [one]
                # Several events may be for one instance.
                wanted.setdefault(("waiting", own + BLOCKED), []).append(one)
        found: set[tuple[str, int]] = set()
        raws = self._get_many(list(wanted)) if wanted else []
        for (table, key), raw in zip(wanted, raws, strict=True):
            if raw is None:
                continue
            about = wanted[table, key]
            if numbered(key):
                found.update(about)
            else:
                position = Block(*unframe(raw, table, key)).position
                found.update(one for one in about if one[1] == position)
        return found

    def is_passed_over(self, process: str, instance: str, position: int) -> bool:
        """Whether an operator has decided that an event is not handled at an instance."""
        key = instance_key(process, instance) + number_asked_for(position)
        raw = self._get("parked_at", key) if self._may_be_parked() else None
        return raw is not None and self.decided_as(int(unframe(raw, "parked_at", key))) is not None

    def may_set_aside(self) -> bool:
        """Whether anything may be set aside, or an after-effect owed, which is rare."""
        return self._may_wait() or self._may_be_parked() or self.owed_so_far() > 0

    def owed_so_far(self) -> int:
        """A number that is another whenever more after-effects are owed; 0 while none ever was.

        It begins anew when the store is opened.
        """
        raise NotImplementedError

    def owed_at(self, process: str, position: int) -> dict[str, int]:
        """The instances in which the effect of the event at a position is owed.

        Each comes with the version that it had when it was done with the event.
        """
        return self.owed_between(process, position, position).get(position, {})

    def owed_between(self, process: str, first: int, last: int) -> dict[int, dict[str, int]]:
        """As `owed_at`, of the events from one position to another, by position; in one trip."""
        prefix = started_key(process)
        place = len(prefix) + NUMBER.size
        found: dict[int, dict[str, int]] = {}
        start, end = number_asked_for(first), number_asked_for(last)
        for key, raw in self._range("owed", prefix + start, prefix + end + b"\xff", ALL):
            version = int(unframe(raw, "owed", key))
            found.setdefault(numbered(key[:place]), {})[key[place:].decode()] = version
        return found

    def scan_owed(self, process: str) -> Iterator[tuple[int, str, int]]:
        """After-effects that are owed, in order of position, with the instance and the version.

        One whose row is damaged is left out: it must not hold up the others, and `verify` tells.
        """
        prefix = started_key(process)
        for key, raw in self._scan_rows("owed", prefix, last_of_process(process)):
            place = len(prefix) + NUMBER.size
            with suppress(CorruptRecord):
                version = int(unframe(raw, "owed", key))
                yield numbered(key[:place]), key[place:].decode(), version

    # What was erased

    def scan_erasures(self) -> Iterator[ErasureRecord]:
        """What was erased, in the order in which that was begun."""
        return self._scan("erasures", b"", 0, erasure_from_row)

    def row_of_transition(
        self, process: str, instance: str, version: int
    ) -> tuple[bytes, bytes, list[Any]]:
        """A transition as it is stored: its key, its value, and the columns in that.

        Raises:
            CorruptRecord: it is damaged, or not there

        """
        ((key, place),) = self._row_of_transition(process, instance, version)
        raw = self._get("transitions", place)
        if raw is None:
            raise corrupt("ids", key, "points at a transition that is not there")
        return place, raw, unframe(raw, "transitions", place)

    def rows_between(self, table: str, start: bytes, end: bytes, limit: int) -> list[Row]:
        """Rows of a table as they are stored, from one key on, up to another."""
        return self._range(table, start, end, limit)

    def rows_behind(self, table: str, prefix: bytes, after: int, limit: int) -> list[Row]:
        """Rows as they are stored, whose key is the prefix and a number above `after`."""
        return self._page(table, prefix, after, limit)

    # What the calls share

    def _one(self, table: str, place: int, made: Callable[[Any, int], T]) -> T | None:
        """The record whose key is a number."""
        key = number_asked_for(place)
        raw = self._get(table, key)
        return None if raw is None else made(unframe(raw, table, key), place)

    def _pointed_at(
        self,
        table: str,
        rows: list[Row],
        where: slice,
        owner: list[str],
        made: Callable[[Any, int], T],
    ) -> list[T]:
        """The records that rows of `ids` point at, without events that were pruned.

        Such a row has no checksum: what it points at says itself whose it is, and which version.

        Args:
            table: that they point into
            rows: of `ids`
            where: the columns that say whose it is, and the version
            owner: whose it must be
            made: makes a record of a row

        """
        records: list[T] = []
        found = self._get_many([(table, place) for _, place in rows])
        for (key, pointer), raw in zip(rows, found, strict=True):
            place = place_of(key, pointer)
            if raw is None:
                if table == "log" and self.may_be_pruned() and self.tombstone_at(place):
                    continue
                raise corrupt("ids", key, f"points at {place} in {table}, which is not there")
            row = unframe(raw, table, pointer)
            if row[where] != [*owner, numbered(key)]:
                raise corrupt("ids", key, f"points at {place} in {table}, which is another's")
            records.append(made(row, place))
        return records

    def _scan(
        self, table: str, prefix: bytes, after: int, made: Callable[[Any, int], T]
    ) -> Iterator[T]:
        """Records whose keys are the prefix and a number above `after`."""
        pages = _in_pages(
            lambda last, limit: self._page(table, prefix, last, limit),
            after,
            lambda row: numbered(row[0]),
        )
        for key, raw in pages:
            yield made(unframe(raw, table, key), numbered(key))

    def _batch(
        self, table: str, prefix: bytes, after: int, limit: int, made: Callable[[Any, int], T]
    ) -> list[T]:
        """As `_scan`, at most so many, at once."""
        rows = self._page(table, prefix, after, limit)
        return [made(unframe(raw, table, key), numbered(key)) for key, raw in rows]

    def _scan_rows(self, table: str, start: bytes, end: bytes) -> Iterator[Row]:
        """Rows from one key on, up to another."""
        return _in_pages(
            lambda first, limit: self._range(table, first, end, limit),
            start,
            lambda row: row[0] + b"\0",
        )

    def _page(self, table: str, prefix: bytes, after: int, limit: int) -> list[Row]:
        """Rows whose key is the prefix and a number above `after`."""
        if limit <= 0:
            return []
        return self._range(table, prefix + number_asked_for(after + 1), prefix + LAST, limit)

    def _last(self, table: str, prefix: bytes, below: int = HIGHEST) -> int:
        """The highest number below another that is the end of a key with that prefix, or 0."""
        rows = self._range(table, prefix, prefix + NUMBER.pack(below), 1, backwards=True)
        return numbered(rows[0][0]) if rows else 0


ALL = 1 << 62
"""A limit that no table comes to."""


def _in_pages(read: Callable[[K, int], list[T]], after: K, key_of: Callable[[T], K]) -> Iterator[T]:
    """All that a call reads in pages; nothing is open while the caller looks at them."""
    limit = FIRST_PAGE
    while True:
        page = read(after, limit)
        yield from page
        if len(page) < limit:
            return
        after, limit = key_of(page[-1]), PAGE


class _Versioned(Protocol):
    version: int


V = TypeVar("V", bound=_Versioned)


def _through(
    read: Callable[[int, int], list[V]], is_there: Callable[[int], bool]
) -> Iterator[tuple[int, V | CorruptRecord]]:
    """All versions that a call reads in pages, and the errors of those that are damaged."""
    last, limit = 0, FIRST_PAGE
    while True:
        try:
            page = read(last, limit)
        except CorruptRecord:
            # One of them; the others are read one by one.
            for version in range(last + 1, last + limit + 1):
                if not is_there(version):
                    return
                try:
                    for one in read(version - 1, 1):
                        yield version, one
                except CorruptRecord as error:
                    yield version, error
            last, limit = last + limit, PAGE
            continue
        for one in page:
            yield one.version, one
        if len(page) < limit:
            return
        last, limit = page[-1].version, PAGE
