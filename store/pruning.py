"""What may leave a store, and what stays of it: which rows go, in steps of bounded size.

An instance that is complete for long enough gets one more transition, its tombstone, and loses all
that came before. An event leaves when nothing that stays needs it; its id and its place stay as a
tombstone. Ids and tombstones leave when they are old enough. Nothing here writes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .errors import CorruptRecord
from .identifiers import PRUNED
from .layout.frames import number
from .layout.schema import (
    copies_key,
    effect_key,
    parked_at_key,
    started_key,
    stream_key,
    transitions_key,
)
from .records import Cut, TimerRecord, TombstoneRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import TypeAlias

    from .records import CommandRecord, EventRecord, ParkedRecord, TransitionRecord
    from .store import Store

    Instance: TypeAlias = tuple[str, str]

__all__ = [
    "Ended",
    "Needed",
    "cut_of_command",
    "cut_of_decided",
    "cut_of_event",
    "cut_of_instance",
    "cut_of_tombstone",
    "forgotten_instance",
    "named_by_work",
    "needed_by_work",
    "prunable",
    "tombstone_version",
]

SLICE = 512
"""Rows that leave in one step, about."""

PAGE = 256
"""Rows that are looked at in one turn, about."""


class Ended(NamedTuple):
    """An instance that may be pruned, as its newest transition left it."""

    process: str
    instance: str
    last: TransitionRecord


# Instances


def prunable(
    store: Store, before: Mapping[str, int], done_up_to: Mapping[str, int]
) -> Iterator[Ended | None]:
    """Instances that are complete for long enough, and are not waited for by what they are about.

    What is not done and names them is for `named_by_work` to tell.

    Args:
        store: what is durable is looked at
        before: by process manager, in microseconds: who was complete before that may go
        done_up_to: by process manager, the position that its router and its after-effects are done
            with

    Yields:
        those; and None now and then, so that the caller may give way to others

    """
    latest = max(before.values(), default=0)
    for place, found in store.scan_all_transitions():
        if place % PAGE == 0:
            yield None
        if isinstance(found, CorruptRecord):
            continue
        process, instance, last = found
        if last.time >= latest:
            return
        if (
            last.is_complete
            and last.cause != PRUNED
            and last.time < before.get(process, 0)
            and last.seen <= done_up_to.get(process, 0)
            and store.version_of(process, instance) == last.version
            and not _has_work(store, process, instance, last)
        ):
            yield Ended(process, instance, last)


def _has_work(store: Store, process: str, instance: str, last: TransitionRecord) -> bool:
    """Whether something waits for an instance, is parked at it, or is due."""
    return (
        store.waits(process, instance)
        or bool(store.undecided_of(process, instance))
        or any(
            store.timer_of(TimerRecord(due, process, instance, name, kind)) is not None
            for name, due in (last.timers or {}).items()
            for kind in ("timeout", "command")
        )
    )


def named_by_work(store: Store, instances: set[Instance]) -> set[Instance]:
    """Those of some instances that something names which is not done: parked, queued, or owed."""
    named: set[Instance] = set()

    def name(process: str | None, instance: str | None) -> None:
        if process is not None and (process, instance) in instances:
            named.add((process, instance or ""))

    for parked in store.scan_parked():
        name(parked.process, parked.instance)
        if parked.command is not None:
            name(parked.command.process, parked.command.instance)
    for command in _issued(store):
        name(command.process, command.instance)
    for refusal in store.scan_refusals():
        name(refusal.command.process, refusal.command.instance)
    for process in {process for process, _ in instances}:
        for _, instance, _ in store.scan_owed(process):
            name(process, instance)
    return named


def _issued(store: Store) -> Iterator[CommandRecord]:
    """Queued commands that instances issued; they come before all others."""
    for command in store.scan_queue():
        if command.process is None:
            return
        yield command


def tombstone_version(store: Store, process: str, instance: str) -> int:
    """The version of an instance's newest tombstone, below which all may go; 0 without one."""
    version = store.version_of(process, instance)
    last = store.stored_transition(process, instance, version) if version else None
    if last is not None and last.cause != PRUNED and last.run > 1:
        # It began anew behind it.
        last = store.stored_transition(process, instance, last.run - 1)
    return last.version if last is not None and last.cause == PRUNED else 0


def cut_of_instance(
    store: Store, process: str, instance: str, tombstone: int
) -> tuple[Cut, list[tuple[int, TransitionRecord]]]:
    """The rows of an instance below its tombstone, the newest first; transitions with numbers.

    They may be some of many: then it is asked again for the rest.
    """
    found = store.transitions_below(process, instance, tombstone, SLICE)
    prefix, cut = transitions_key(process, instance), Cut(rows=[])
    for version, place, _ in found:
        cut.rows += [("ids", prefix + number(version)), ("transitions", number(place))]
    if found and len(found) < SLICE:
        place = store.number_of(process, instance, tombstone)
        cut.moved = [(process, found[-1][1], place, instance)]
    return cut, [(place, one) for _, place, one in found]


def forgotten_instance(store: Store, process: str, instance: str) -> Cut | None:
    """The rows of a tombstone that nothing came behind; None if it has to stay."""
    version = store.version_of(process, instance)
    place = store.number_of(process, instance, version)
    if store.started_as(process, instance) != place or place == store.last_transition_number():
        # The newest number of all says how far they go.
        return None
    prefix = transitions_key(process, instance)
    rows = [
        ("ids", prefix + number(version)),
        ("transitions", number(place)),
        ("started", started_key(process) + number(place)),
    ]
    return Cut(rows=rows, gone=[prefix], forgotten=[process])


# Events


class Needed:
    """Which positions of a part of the log are needed by what stays; a bit for each.

    Args:
        low: the first position
        high: the last one

    """

    def __init__(self, low: int, high: int) -> None:
        self.low, self.high = low, high
        self._bits = bytearray(max(0, high - low) // 8 + 1)

    def clear(self) -> None:
        """Begin anew."""
        self._bits = bytearray(len(self._bits))

    def add(self, position: int) -> None:
        """Something needs an event."""
        if self.low <= position <= self.high:
            place = position - self.low
            self._bits[place >> 3] |= 1 << (place & 7)

    def __contains__(self, position: int) -> bool:
        place = position - self.low
        return not self.low <= position <= self.high or bool(
            self._bits[place >> 3] & 1 << (place & 7)
        )


def needed_by_work(store: Store, needed: Needed, processes: Iterable[str]) -> None:
    """Mark the events that are named by what is parked, held, owed, or waits.

    Args:
        store: what is durable is looked at
        needed: is marked
        processes: the process managers that the store knows

    """
    for parked in store.scan_parked():
        needed.add(parked.position)
    for process in processes:
        for held in store.scan_unmatched(process):
            needed.add(held.position)
        for position, _, _ in store.scan_owed(process):
            needed.add(position)
    for position in store.scan_all_waiting():
        needed.add(position)


def cut_of_event(store: Store, event: EventRecord) -> Cut | None:
    """The rows of an event, with its tombstone; None if an after-effect of it is needed."""
    rows = [("log", number(event.position))]
    for effect in store.effects_after(event.position):
        version = store.version_of(effect.process, effect.instance)
        last = store.stored_transition(effect.process, effect.instance, version)
        if last is not None and last.cause != PRUNED:
            return None
        rows.append(("effects", effect_key(event.position, effect.process, effect.instance)))
    tombstone = TombstoneRecord(
        event.type,
        event.stream,
        event.version,
        event.time,
        event.event_id,
        event.sent_for,
        event.position,
    )
    return Cut(rows=rows, tombstones=[tombstone])


def cut_of_tombstone(store: Store, tombstone: TombstoneRecord) -> Cut | None:
    """The rows of an event's tombstone and its ids; None if they have to stay."""
    position, stream, version = tombstone.position, tombstone.stream, tombstone.version
    rows = [("tombstones", number(position))]
    if tombstone.sent_for:
        rows.append(("ids", copies_key(tombstone.sent_for, stream, version) + number(position)))
        return Cut(rows=rows)
    prefix = stream_key(stream)
    is_newest = store.last_version(stream) == version
    if is_newest and store.read_snapshot(stream) is not None:
        # The aggregate goes on from there.
        return None
    rows += [("ids", prefix + number(version)), ("event_ids", tombstone.event_id.encode())]
    return Cut(rows=rows, gone=[prefix] if is_newest else [])


def cut_of_command(store: Store, command_id: str, before: int) -> Cut | None:
    """The id of a command from outside that was carried out before; None if it has to stay."""
    given = store.given_command(command_id)
    if given is None or given.result is None or given.time >= before:
        return None
    result = given.result
    if result.events and store.event_or_tombstone(result.first_position) is not None:
        return None
    return Cut(rows=[("command_ids", command_id.encode())])


# What was decided


def cut_of_decided(
    store: Store, parked: ParkedRecord, before: int, up_to: int, newest: int
) -> Cut | None:
    """The rows of what was parked and decided; None if they have to stay.

    Args:
        store: what is durable is looked at
        parked: what was decided
        before: in microseconds: what was decided before that may go
        up_to: the position that all are done with: nothing up to there is brought again
        newest: the highest number of all that was parked, which says how far they go

    """
    decision = parked.decision
    if (
        decision is None
        or decision[1] >= before
        or parked.number >= newest
        or parked.position > up_to
    ):
        return None
    if parked.instance:
        version = store.version_of(parked.process, parked.instance)
        last = store.stored_transition(parked.process, parked.instance, version)
        if last is not None and last.cause != PRUNED:
            return None
    rows = [("decided", number(parked.number))]
    if parked.position and store.parked_number(parked) == parked.number:
        rows.append(("parked_at", parked_at_key(parked)))
    return Cut(rows=rows)
