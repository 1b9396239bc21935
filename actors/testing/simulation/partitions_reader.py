"""Answers questions about a divided store from all of its partitions."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from heapq import merge
from itertools import chain
from typing import TYPE_CHECKING, Any

from ...authoring.aggregate import Aggregate
from ...errors import InvalidMessage
from ...messages.identifiers import id_of
from ...queries.views import Counts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from ...authoring.process_manager import ProcessManager
    from ...model.process_definition import ProcessDefinition
    from ...model.registry import Registry
    from ...queries.reader import Reader
    from ...queries.views import (
        AggregateView,
        InstanceView,
        Moment,
        Parked,
        StoredEvent,
        Timeout,
        Transition,
    )
    from ...store import Partition, Store

__all__ = ["PartitionsReader"]


class PartitionsReader:
    """As `Reader`, over the readers of all partitions, of which each sees what is durable.

    Args:
        readers: one for each partition, in order
        stores: what they read
        registry: all classes
        partition: any of them

    """

    def __init__(
        self,
        readers: Sequence[Reader],
        stores: Sequence[Store],
        registry: Registry,
        partition: Partition,
    ) -> None:
        self._readers = readers
        self._stores = stores
        self._registry = registry
        self._partition = partition

    def partition_of_instance(self, definition: ProcessDefinition, instance: str) -> int:
        """The partition of an instance; of a stateless one, that in which its event is."""
        if definition.stateless:
            for number, store in enumerate(self._stores):
                if store.last_transition(definition.name, instance) is not None:
                    return number
        return self._partition.of(instance)

    def get(
        self, cls: type[ProcessManager | Aggregate], name: object
    ) -> InstanceView | AggregateView | None:
        """As `Reader.get`."""
        if issubclass(cls, Aggregate):
            definition = self._registry.aggregate(cls)
            stream = f"{definition.category}-{id_of(name, f'for {cls.__name__}')}"
            return self._readers[self._partition.of_stream(stream)].get(cls, name)
        return self._of(cls, name).get(cls, name)

    def _of(self, cls: type[ProcessManager], name: object) -> Reader:
        definition = self._registry.process(cls)
        number = self.partition_of_instance(definition, definition.id_of(name))
        return self._readers[number]

    def at(self, cls: type[ProcessManager], name: object, version: int) -> Moment | None:
        """As `Reader.at`."""
        return self._of(cls, name).at(cls, name, version)

    def history(self, cls: type[ProcessManager], name: object) -> Iterator[Transition]:
        """As `Reader.history`."""
        return self._of(cls, name).history(cls, name)

    def find(
        self,
        cls: type[ProcessManager],
        fields: Mapping[str, Any],
        *,
        complete: bool | None,
        suspended: bool | None,
    ) -> Iterator[InstanceView]:
        """As `Reader.find`: those of one partition after those of another."""
        definition = self._registry.process(cls)
        for field in definition.state.indexed:
            if field in fields:
                return self._found_by_key(definition, field, fields, complete, suspended)
        return chain.from_iterable(
            reader.find(cls, fields, complete=complete, suspended=suspended)
            for reader in self._readers
        )

    def _found_by_key(
        self,
        definition: ProcessDefinition,
        field: str,
        fields: Mapping[str, Any],
        complete: bool | None,
        suspended: bool | None,
    ) -> Iterator[InstanceView]:
        """Instances by a learnt key, which the partition of its value knows."""
        key = id_of(fields[field], field)
        for name in self._stores[self._partition.of(key)].read_index(definition.name, field, key):
            yield from self._readers[self._partition.of(name)].found_among(
                definition, [name], fields, complete=complete, suspended=suspended
            )

    def events(
        self, stream_or_category: str | None, after: int | Mapping[int, int]
    ) -> Iterator[StoredEvent]:
        """As `Reader.events`; those of several partitions are merged by their times.

        Args:
            stream_or_category: as for `Reader.events`
            after: of a stream, a version; otherwise positions by partition, or 0

        Raises:
            InvalidMessage: it is a position of no partition

        """
        if stream_or_category is not None and "-" in stream_or_category:
            number = self._partition.of_stream(stream_or_category)
            version = after if isinstance(after, int) else 0
            return self._readers[number].events(stream_or_category, version)
        if isinstance(after, int) and after:
            raise InvalidMessage(
                f"after={after}: a divided store has a position for each partition; give a "
                f"mapping of partitions to positions"
            )
        positions = {} if isinstance(after, int) else after
        return merge(
            *(
                reader.events(stream_or_category, positions.get(number, 0))
                for number, reader in enumerate(self._readers)
            ),
            key=lambda event: event.time,
        )

    def timeouts(
        self, cls: type[ProcessManager] | None, name: object, before: datetime | None
    ) -> Iterator[Timeout]:
        """As `Reader.timeouts`."""
        return merge(
            *(reader.timeouts(cls, name, before) for reader in self._readers),
            key=lambda one: one.due,
        )

    def counts(self, cls: type[ProcessManager] | None) -> dict[str, Counts]:
        """As `Reader.counts`."""
        found: dict[str, Counts] = {}
        for reader in self._readers:
            for name, counts in reader.counts(cls).items():
                found[name] = _added(found[name], counts) if name in found else counts
        return found

    def parked(self, *, decided: bool) -> Iterator[Parked]:
        """As `Reader.parked`; the ids say which partition has it."""
        return merge(
            *(
                self._parked_in(number, reader, decided=decided)
                for number, reader in enumerate(self._readers)
            ),
            key=lambda one: one.time,
        )

    def _parked_in(self, number: int, reader: Reader, *, decided: bool) -> Iterator[Parked]:
        for one in reader.parked(decided=decided):
            yield replace(one, id=one.id * len(self._readers) + number)


def _added(one: Counts, other: Counts) -> Counts:
    parked = Counter(one.parked)
    parked.update(other.parked)
    return Counts(
        running=one.running + other.running,
        complete=one.complete + other.complete,
        suspended=one.suspended + other.suspended,
        parked=dict(parked),
    )
