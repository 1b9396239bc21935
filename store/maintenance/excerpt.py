"""Some of a store's records, and a store that has just these.

Positions and numbers stay what they were, so there are gaps between them: a row in `meta` says that
the store is an excerpt, and a check of it expects them.
"""

from __future__ import annotations

import secrets
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct, field

from ..errors import StoreError
from ..identifiers import category_of, event_id_at
from ..layout.frames import frame, number, unframe
from ..layout.keys import digest
from ..layout.schema import (
    BLOCKED,
    COMMITS,
    EXCERPT,
    FORMAT_VERSION,
    LOOKALIKE,
    OWN,
    SECRET,
    TABLES,
    block_to_row,
    command_to_row,
    copied_event_to_row,
    copies_key,
    count_key,
    effect_key,
    effect_to_row,
    event_to_row,
    given_to_row,
    instance_key,
    name_key,
    owed_key,
    parked_at_key,
    parked_to_row,
    place_of,
    refusal_to_row,
    started_key,
    stream_key,
    timer_key,
    timer_to_row,
    transition_to_row,
    transitions_key,
    unmatched_by_key,
    unmatched_key,
    unmatched_to_row,
)
from ..lmdb.divided_store import DividedStore, mark_divided
from ..lmdb.environment import is_there
from ..open_counts import kind_of_parked
from ..records import (
    PASSED_OVER,
    Block,
    CodeRecord,
    CommandRecord,
    EffectRecord,
    EventRecord,
    GivenCommand,
    ParkedRecord,
    RefusalRecord,
    TimerRecord,
    TransitionRecord,
    UnmatchedRecord,
)
from ..state_changes import PackedFields, change_between
from ..store import SECRET_BYTES
from .copying import LARGEST_COPY, new_file
from .rewriting import write_tables

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence

    from ..partitions import Partition
    from ..records import (
        NameKind,
    )
    from ..storage_engine import Row
    from ..store import Store

__all__ = ["Excerpt", "Tables", "family_of", "write_excerpt"]

Tables: TypeAlias = "Mapping[str, Sequence[Row]]"
"""Rows by table, in the order of their keys; a table without rows may be missing."""


class Excerpt(Struct):
    """Records of one partition, or of a store that is not divided.

    They are taken with `take_*`, may be changed where they are, and become rows by `tables`.

    Attributes:
        streams: whose events are here, all of them
        instances: who is here, with all transitions
        indexed: which of these the index finds by their learnt keys

    """

    streams: set[str] = field(default_factory=set)
    instances: set[tuple[str, str]] = field(default_factory=set)
    indexed: set[tuple[str, str]] = field(default_factory=set)
    events: dict[int, EventRecord] = field(default_factory=dict)
    given_events: set[int] = field(default_factory=set)
    commands: dict[str, GivenCommand] = field(default_factory=dict)
    transitions: dict[int, tuple[str, str, TransitionRecord]] = field(default_factory=dict)
    codes: dict[int, CodeRecord] = field(default_factory=dict)
    snapshots: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    queue: dict[int, CommandRecord] = field(default_factory=dict)
    waiting: set[tuple[str, str, int]] = field(default_factory=set)
    blocks: dict[tuple[str, str], Block] = field(default_factory=dict)
    timers: list[TimerRecord] = field(default_factory=list)
    refusals: dict[int, RefusalRecord] = field(default_factory=dict)
    parked: dict[int, ParkedRecord] = field(default_factory=dict)
    decided: dict[int, ParkedRecord] = field(default_factory=dict)
    effects: dict[tuple[int, str, str], EffectRecord] = field(default_factory=dict)
    owed: dict[tuple[str, int, str], int] = field(default_factory=dict)
    unmatched: list[UnmatchedRecord] = field(default_factory=list)
    learnt: set[tuple[str, str, str, str]] = field(default_factory=set)
    """Process, field, value and instance."""
    checkpoints: dict[str, int] = field(default_factory=dict)
    has_lookalike: bool = False

    @property
    def size(self) -> int:
        """How many events and transitions there are, which is most of it."""
        return len(self.events) + len(self.transitions)

    # Taking

    def take_event(self, store: Store, event: EventRecord) -> None:
        """An event, with what its ids stand for."""
        if event.position in self.events:
            return
        self.events[event.position] = event
        if event.sent_for:
            return
        if _has(store, "event_ids", event.event_id.encode()):
            self.given_events.add(event.position)
        if event.causation_id is not None and not event.depth:
            given = store.given_command(event.causation_id)
            if given is not None:
                self.commands[event.causation_id] = given

    def take_stream(self, store: Store, stream: str) -> Iterator[EventRecord]:
        """All events of a stream, one by one, and its snapshot."""
        self.streams.add(stream)
        snapshot = store.read_snapshot(stream)
        if snapshot is not None:
            self.snapshots[stream] = snapshot
        for event in store.scan_stream(stream):
            self.take_event(store, event)
            yield event

    def take_instance(
        self, store: Store, process: str, instance: str
    ) -> Iterator[TransitionRecord]:
        """All transitions of an instance, one by one, and what it has to do.

        Of each event that it handled, and of those that are set aside for it, the position is
        known then; the caller takes the events.
        """
        self.instances.add((process, instance))
        last: TransitionRecord | None = None
        for last in store.scan_transitions(process, instance):
            place = place_of(*_row(store, "ids", _version_key(process, instance, last.version)))
            self.transitions[place] = process, instance, last
            code = store.code_at(last.code) if last.code else None
            if code is not None:
                self.codes[code.number] = code
            yield last
        block, positions = store.read_waiting(process, instance, 0, LARGEST_COPY)
        self.waiting.update((process, instance, position) for position in positions)
        if block is not None:
            self.blocks[process, instance] = block
            self._take_timer(store, TimerRecord(block.due, process, instance, "retry", "retry"))
            self._take_refusal(store, block.sequence)
        for name, due in ((last and last.timers) or {}).items():
            for kind in ("timeout", "command"):
                self._take_timer(store, TimerRecord(due, process, instance, name, kind))

    def _take_timer(self, store: Store, wanted: TimerRecord) -> None:
        found = store.timer_of(wanted)
        if found is not None:
            self.timers.append(found)

    def _take_refusal(self, store: Store, sequence: int) -> None:
        refusal = store.refusal_at(sequence) if sequence else None
        if refusal is not None:
            self.refusals[sequence] = refusal

    def take_effects(self, store: Store, position: int, processes: Sequence[str]) -> None:
        """What after-effects of an event issued, are to do, and who waits for its learnt key."""
        for effect in store.effects_after(position):
            if (effect.process, effect.instance) in self.instances:
                self.effects[position, effect.process, effect.instance] = effect
        for process in processes:
            for instance, version in store.owed_at(process, position).items():
                if (process, instance) in self.instances:
                    self.owed[process, position, instance] = version
            held = store.unmatched_at(process, position)
            if held is not None:
                self.unmatched.append(held)

    def take_work(self, store: Store) -> None:
        """What is under way or set aside for the instances and streams that are here.

        The queue, and all that was parked, is gone through.
        """
        for command in store.scan_queue():
            if self._is_own(command):
                self.queue[command.sequence] = command
                given = None if command.process else store.given_command(command.command_id)
                if given is not None:
                    self.commands[command.command_id] = given
        for refusal in store.scan_refusals():
            if (refusal.command.process, refusal.command.instance) in self.instances:
                self.refusals[refusal.sequence] = refusal
        for there, is_decided in ((self.parked, False), (self.decided, True)):
            for parked in store.scan_parked(decided=is_decided):
                if self._concerns(parked):
                    there[parked.number] = parked
                    self._take_refusal(store, parked.sequence)
        self.checkpoints = dict(store.scan_checkpoints())
        self.has_lookalike = _has(store, "meta", LOOKALIKE)

    def _is_own(self, command: CommandRecord) -> bool:
        if command.process is None:
            return command.stream in self.streams
        return (command.process, command.instance) in self.instances

    def _concerns(self, parked: ParkedRecord) -> bool:
        if parked.command is not None:
            return self._is_own(parked.command)
        if not parked.instance:
            return parked.position in self.events
        return (parked.process, parked.instance) in self.instances and (
            not parked.position or parked.position in self.events
        )

    # As rows

    def tables(self, partition: Partition | None, family: str) -> dict[str, list[Row]]:
        """The rows of a store that has what was taken.

        Args:
            partition: of a divided store, which one it is
            family: of a divided store, what its partitions have in common

        """
        rows = _Rows()
        counts: Counter[tuple[str, ...]] = Counter()
        for position, event in self.events.items():
            if not event.sent_for:
                counts["event", category_of(event.stream), event.type] += 1
            self._put_event(rows, position, event)
        self._put_transitions(rows, counts)
        for parked in self.parked.values():
            counts["parked", *kind_of_parked(parked)] += 1
        self._put_work(rows)
        self._put_set_aside(rows)
        for (of, *names), count in counts.items():
            rows.put("counts", count_key(of, *names), (of, names, count))
        self._put_meta(rows)
        if partition is not None:
            rows.put("partitions", OWN, (partition.number, partition.count, family))
        return rows.in_order()

    def _put_event(self, rows: _Rows, position: int, event: EventRecord) -> None:
        rows.name("event", event.type)
        where = number(position)
        if event.sent_for:
            rows.put("log", where, copied_event_to_row(event))
            key = copies_key(event.sent_for, event.stream, event.version)
            rows.point("ids", key + where, where)
            return
        named = event_id_at(event.stream, event.version)
        rows.put("log", where, event_to_row(event, named))
        rows.point("ids", stream_key(event.stream) + number(event.version), where)
        if position in self.given_events:
            # Without the digest of its content, by which that could be guessed.
            rows.put("event_ids", event.event_id.encode(), (position, b""))

    def _put_transitions(self, rows: _Rows, counts: Counter[tuple[str, ...]]) -> None:
        before: dict[tuple[str, str], tuple[PackedFields, int]] = {}
        last: dict[tuple[str, str], TransitionRecord] = {}
        for place, (process, instance, one) in sorted(self.transitions.items()):
            self._put_change(before, (process, instance), one)
            last[process, instance] = one
            rows.name("process", process)
            rows.name_commands(one.commands)
            rows.put("transitions", number(place), transition_to_row(process, instance, one))
            rows.point("ids", _version_key(process, instance, one.version), number(place))
            if one.version == 1:
                rows.put("started", started_key(process) + number(place), instance)
        for (process, instance), one in last.items():
            status = "complete" if one.is_complete else "running"
            block = self.blocks.get((process, instance))
            if block is not None and block.kind == "parked":
                status = "suspended"
            counts["instance", process, status] += 1
        for code in self.codes.values():
            rows.put("codes", number(code.number), (code.process, code.python, code.fingerprint))

    @staticmethod
    def _put_change(
        before: dict[tuple[str, str], tuple[PackedFields, int]],
        who: tuple[str, str],
        one: TransitionRecord,
    ) -> None:
        """Say a state as a change where it was one, though it may be another state by now.

        `before` has the state that it stands on, and the version of the last whole one.
        """
        fields, base, one.change = PackedFields.of(one.state), 0, None
        if one.base:
            one.change, fields = change_between(before[who][0], fields.parts)
            base = 0 if one.change is None else before[who][1]
        one.base = base
        before[who] = fields, base or one.version

    def _put_work(self, rows: _Rows) -> None:
        for command_id, given in self.commands.items():
            row = [*given_to_row(given, given.result)]
            # As with events, without the digest of its content.
            row[6] = b""
            rows.put("command_ids", command_id.encode(), row)
        for sequence, command in self.queue.items():
            rows.name_command(command)
            rows.put("queue", number(sequence), command_to_row(command))
        for timer in self.timers:
            rows.name("process", timer.process)
            rows.name_command(timer.command)
            rows.put("timers", timer_key(timer), timer_to_row(timer))
        for sequence, refusal in self.refusals.items():
            rows.name_command(refusal.command)
            rows.put("refusals", number(sequence), refusal_to_row(refusal))
        for stream, (version, state) in self.snapshots.items():
            rows.put("snapshots", stream.encode(), (version, state))
        for (position, process, instance), effect in self.effects.items():
            rows.name("process", process)
            rows.name_commands(effect.commands)
            rows.put("effects", effect_key(position, process, instance), effect_to_row(effect))
        for (process, position, instance), version in self.owed.items():
            rows.name("process", process)
            rows.put("owed", owed_key(process, position, instance), version)
        for process, name, value, instance in self.learnt:
            rows.put("index", digest(process, name, value) + instance.encode(), 0)

    def _put_set_aside(self, rows: _Rows) -> None:
        for number_of_one, parked in (self.parked | self.decided).items():
            rows.name("process", parked.process)
            rows.name_command(parked.command)
            table = "parked" if number_of_one in self.parked else "decided"
            rows.put(table, number(number_of_one), parked_to_row(parked))
            is_passed = parked.decision is not None and parked.decision[0] in PASSED_OVER
            if parked.position and (parked.decision is None or is_passed):
                rows.put("parked_at", parked_at_key(parked), number_of_one)
        for (process, instance), block in self.blocks.items():
            rows.put("waiting", instance_key(process, instance) + BLOCKED, block_to_row(block))
        for process, instance, position in self.waiting:
            rows.put("waiting", instance_key(process, instance) + number(position), 0)
        for held in self.unmatched:
            key = unmatched_key(held.process, held.position)
            rows.put("unmatched", key, unmatched_to_row(held))
            for value in held.values:
                key = unmatched_by_key(held.process, held.field, value, held.position)
                rows.put("unmatched_by", key, 0)

    def _put_meta(self, rows: _Rows) -> None:
        last = max(self.events, default=0)
        for router, position in self.checkpoints.items():
            beyond = last + router.startswith("since:")
            rows.put("checkpoints", router.encode(), min(position, beyond))
        rows.put("meta", b"format", FORMAT_VERSION)
        rows.put("meta", b"store_id", secrets.token_hex(16))
        rows.put("meta", SECRET, secrets.token_hex(SECRET_BYTES))
        rows.put("meta", COMMITS, 1)
        rows.put("meta", EXCERPT, 1)
        if self.has_lookalike:
            rows.put("meta", LOOKALIKE, 1)


class _Rows:
    """Rows as they come, by table and key."""

    def __init__(self) -> None:
        self._tables: dict[str, dict[bytes, bytes]] = {table: {} for table in TABLES}

    def put(self, table: str, key: bytes, row: object) -> None:
        self._tables[table][key] = frame(key, row)

    def point(self, table: str, key: bytes, place: bytes) -> None:
        self._tables[table][key] = place

    def name(self, kind: NameKind, name: str | None) -> None:
        if name:
            self.put("names", name_key(kind, name), name)

    def name_command(self, command: CommandRecord | None) -> None:
        if command is not None:
            self.name("command", command.type)
            self.name("process", command.process)

    def name_commands(self, commands: Sequence[tuple[str, str, bytes]]) -> None:
        for _, kind, _ in commands:
            self.name("command", kind)

    def in_order(self) -> dict[str, list[Row]]:
        return {table: sorted(rows.items()) for table, rows in self._tables.items()}


def _version_key(process: str, instance: str, version: int) -> bytes:
    return transitions_key(process, instance) + number(version)


def _has(store: Store, table: str, key: bytes) -> bool:
    with store.snapshot() as snapshot:
        return snapshot.get(table, key) is not None


def _row(store: Store, table: str, key: bytes) -> Row:
    with store.snapshot() as snapshot:
        return key, snapshot.get(table, key) or b""


# As a store


def write_excerpt(folder: str | os.PathLike[str], partitions: Sequence[Tables]) -> None:
    """Make a store of the rows of an excerpt.

    Args:
        folder: which is missing or empty
        partitions: the rows of each, in order; those of a store that is not divided, alone

    Raises:
        StoreError: the folder holds something, the rows are in no order, or the disk refused

    """
    family = family_of(partitions[0])
    if not family:
        _write(Path(folder), partitions[0])
        return
    place = Path(folder).absolute()
    if is_there(place) or (place.exists() and any(place.iterdir())):
        raise StoreError(f"{folder} is not empty; give the store a folder of its own")
    divided = DividedStore(place, len(partitions), family)
    for which, tables in enumerate(partitions):
        _write(divided.folder_of(which), tables)
    mark_divided(divided)


def family_of(tables: Tables) -> str:
    """What tells a partition from those of other divided stores; empty of a whole store."""
    own = dict(tables.get("partitions", ())).get(OWN)
    return "" if own is None else str(unframe(own, "partitions", OWN)[2])


def _write(folder: Path, tables: Tables) -> None:
    with new_file(folder) as partial:
        write_tables(
            partial, ((table, iter(tables.get(table, ()))) for table in TABLES), LARGEST_COPY
        )
