"""All partitions of a store, read as if they were one; of a store that is not divided, the one.

Each partition has positions of its own. Here a position stands for one place in all of them: that
of the partition, times how many partitions there are, and the partition's number. So positions of
one partition compare as they do there; those of different partitions must not be compared, and
`event_for` says where the event is that an instance has seen.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from msgspec.structs import replace

from ..model.beginnings import begun_at
from .transitions import transition_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from ..store import (
        Block,
        CommandResult,
        CorruptRecord,
        EffectRecord,
        EventRecord,
        ParkedRecord,
        Store,
        TombstoneRecord,
        TransitionRecord,
        UnmatchedRecord,
    )

__all__ = ["AllPartitions"]


class AllPartitions:
    """Answers what `Tracer`, `Explainer` and `lay_fork` ask of a store.

    Args:
        stores: of the partitions, in order
        stateless: names of process managers whose instances are where their events are

    """

    def __init__(self, stores: Sequence[Store], stateless: Collection[str] = ()) -> None:
        self._stores = stores
        self._count = len(stores)
        self._stateless = stateless

    # Where something is

    def _whole(self, number: int, position: int) -> int:
        return position * self._count + number if position else 0

    def local_position(self, position: int) -> int:
        """The position in the log of its own partition."""
        return position // self._count

    def place_of(self, position: int) -> tuple[int, int]:
        """The number of the partition that a position is of, and the position there."""
        return position % self._count, position // self._count

    def _of(self, name: str) -> int:
        partition = self._stores[0].partition
        return 0 if partition is None else partition.of(name)

    def _of_stream(self, stream: str) -> int:
        partition = self._stores[0].partition
        return 0 if partition is None else partition.of_stream(stream)

    def _of_instance(self, process: str, instance: str) -> int:
        if process not in self._stateless or self._count == 1:
            return self._of(instance)
        there = (
            number
            for number, store in enumerate(self._stores)
            if store.last_transition(process, instance) is not None
        )
        return next(there, 0)

    def is_beside(self, stream: str, position: int) -> bool:
        """Whether a stream is in the log that a position is of."""
        return self._of_stream(stream) == position % self._count

    # Events

    def _event(self, number: int, event: EventRecord) -> EventRecord:
        return replace(event, position=self._whole(number, event.position))

    def position_of(self, event_id: str) -> int:
        """As of a store."""
        for number, store in enumerate(self._stores):
            position = store.position_of(event_id)
            if position:
                return self._whole(number, position)
        return 0

    def event_at(self, position: int) -> EventRecord | None:
        """As of a store; of a copy, the event in its stream."""
        number, local = self.place_of(position)
        event = self._stores[number].event_at(local)
        if event is not None and event.sent_for:
            return self.event_in(event.stream, event.version)
        return None if event is None else self._event(number, event)

    def read_events(self, positions: list[int]) -> list[EventRecord]:
        """As of a store, one partition after the other; a copy as it is where it came to."""
        return [
            self._event(number, event)
            for number, store in enumerate(self._stores)
            if (there := [local for of, local in map(self.place_of, positions) if of == number])
            for event in store.read_events(there)
        ]

    def tombstone_at(self, position: int) -> TombstoneRecord | None:
        """As of a store."""
        number, local = self.place_of(position)
        return self._stores[number].tombstone_at(local)

    def event_in(self, stream: str, version: int) -> EventRecord | None:
        """As of a store."""
        number = self._of_stream(stream)
        event = self._stores[number].event_in(stream, version)
        return None if event is None else self._event(number, event)

    def scan_stream(self, stream: str, after: int = 0) -> Iterator[EventRecord]:
        """As of a store."""
        number = self._of_stream(stream)
        return (self._event(number, one) for one in self._stores[number].scan_stream(stream, after))

    def scan_log(self, after: int = 0) -> Iterator[EventRecord]:
        """Events of all partitions, one after the other, without copies; some may be before it."""
        return (
            self._event(number, one)
            for number, store in enumerate(self._stores)
            for one in store.scan_log(after if self._count == 1 else 0)
            if not one.sent_for
        )

    def copies_of(self, process: str, event: EventRecord) -> list[EventRecord]:
        """An event wherever it is for a process manager: first in its stream, then its copies."""
        if self._count == 1:
            return [event]
        copies = (
            replace(event, position=self._whole(number, position))
            for number, store in enumerate(self._stores)
            for position in store.positions_of_copies(process, event.stream, event.version)
        )
        return [event, *copies]

    def event_for(self, process: str, instance: str, event: EventRecord) -> EventRecord | None:
        """An event with its place in the log of an instance; None if it has not come there."""
        if process in self._stateless:
            return event
        number = self._of(instance)
        there = [
            one for one in self.copies_of(process, event) if one.position % self._count == number
        ]
        if len(there) > 1:
            # It was found by several learnt values, and taken once.
            for one in there:
                if transition_of(self, process, instance, one)[0] is not None:
                    return one
        return max(there, key=lambda one: one.position, default=None)

    def begun_at(self, process: str, event: EventRecord) -> int | None:
        """Behind which position a process manager began, in the log that an event is in."""
        number = event.position % self._count
        found = begun_at(self._stores[number], process)
        return None if found is None else found * self._count + number

    # Commands and after-effects

    def result_of(self, command_id: str) -> CommandResult | None:
        """As of a store."""
        for number, store in enumerate(self._stores):
            result = store.result_of(command_id)
            if result is not None:
                first = self._whole(number, result.first_position)
                return replace(result, first_position=first)
        return None

    def effect_at(self, position: int, process: str, instance: str) -> EffectRecord | None:
        """As of a store; the position is as the effect's id has it."""
        number = self._of_instance(process, instance)
        effect = self._stores[number].effect_at(position, process, instance)
        return None if effect is None else self._effect(number, effect)

    def effects_after(self, event: EventRecord, processes: Iterable[str]) -> list[EffectRecord]:
        """What the after-effects of an event issued, wherever it is for these."""
        found = {one.position for name in processes for one in self.copies_of(name, event)}
        return [
            self._effect(number, effect)
            for number, local in map(self.place_of, sorted(found | {event.position}))
            for effect in self._stores[number].effects_after(local)
        ]

    def _effect(self, number: int, effect: EffectRecord) -> EffectRecord:
        return replace(effect, position=self._whole(number, effect.position))

    # Instances

    def _transition(self, number: int, record: TransitionRecord) -> TransitionRecord:
        return replace(
            record,
            position=self._whole(number, record.position),
            seen=self._whole(number, record.seen),
        )

    def last_transition(self, process: str, instance: str) -> TransitionRecord | None:
        """As of a store."""
        number = self._of_instance(process, instance)
        found = self._stores[number].last_transition(process, instance)
        return None if found is None else self._transition(number, found)

    def transition_at(self, process: str, instance: str, version: int) -> TransitionRecord | None:
        """As of a store."""
        number = self._of_instance(process, instance)
        found = self._stores[number].transition_at(process, instance, version)
        return None if found is None else self._transition(number, found)

    def read_transitions(
        self, process: str, instance: str, after: int, limit: int
    ) -> list[TransitionRecord]:
        """As of a store."""
        number = self._of_instance(process, instance)
        found = self._stores[number].read_transitions(process, instance, after, limit)
        return [self._transition(number, one) for one in found]

    def scan_transitions(
        self, process: str, instance: str, after: int = 0
    ) -> Iterator[TransitionRecord]:
        """As of a store."""
        number = self._of_instance(process, instance)
        found = self._stores[number].scan_transitions(process, instance, after)
        return (self._transition(number, one) for one in found)

    def scan_started(self, process: str) -> Iterator[tuple[int, str | CorruptRecord]]:
        """As of a store, one partition after the other."""
        return chain.from_iterable(store.scan_started(process) for store in self._stores)

    def read_index(self, process: str, field: str, value: str) -> list[str]:
        """As of a store: the partition of the value knows."""
        return self._stores[self._of(value)].read_index(process, field, value)

    def read_waiting(
        self, process: str, instance: str, after: int, limit: int
    ) -> tuple[Block | None, list[int]]:
        """As of a store."""
        number = self._of_instance(process, instance)
        block, positions = self._stores[number].read_waiting(
            process, instance, (after - number) // self._count, limit
        )
        if block is not None:
            position, parked = self._whole(number, block.position), block.parked
            block = replace(block, position=position, parked=self._whole(number, parked))
        return block, [self._whole(number, one) for one in positions]

    # What is held or parked

    def unmatched_at(self, process: str, position: int) -> UnmatchedRecord | None:
        """As of a store."""
        number, local = self.place_of(position)
        return self._stores[number].unmatched_at(process, local)

    def scan_parked(self, *, decided: bool = False) -> Iterator[ParkedRecord]:
        """As of a store, one partition after the other; with the ids that operators see."""
        return (
            replace(
                one,
                position=self._whole(number, one.position),
                number=self._whole(number, one.number),
            )
            for number, store in enumerate(self._stores)
            for one in store.scan_parked(decided=decided)
        )
