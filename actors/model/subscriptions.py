"""Who an event is for, and what it did to an instance, as the store alone tells it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..store import category_of
from .upcasting import split

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..messages.types import Event
    from ..store import EventRecord, Store, TransitionRecord
    from .process_definition import ProcessDefinition
    from .registry import Registry
    from .upcasting import Loads

__all__ = ["Listener", "Listeners", "first_where", "transition_of"]

"""Rows read at a time; no read transaction is kept between two pages."""


@dataclass(frozen=True, slots=True)
class Listener:
    """A process manager that handles events of some class.

    Attributes:
        definition: of the process manager
        event: its class for the event
        reader: makes an object of what is stored

    """

    definition: ProcessDefinition
    event: type
    reader: Loads[Event]

    @property
    def how(self) -> str:
        """How the event names its instances, in words."""
        if self.definition.stateless:
            return "stateless"
        return self.definition.correlations[self.event].describe()

    @property
    def learnt(self) -> str:
        """The learnt key by which instances are found, if it is one."""
        if self.definition.stateless:
            return ""
        return self.definition.correlations[self.event].learnt

    def instances(self, store: Store, record: EventRecord) -> list[str]:
        """The ids that the event is for, as the router would find them now.

        Raises:
            Exception: the event cannot be read, or the correlation failed

        """
        if self.definition.stateless:
            return [record.event_id]
        correlation = self.definition.correlations[self.event]
        named = correlation.ids(self.reader.load(record.data))
        if not correlation.learnt:
            return named
        found: dict[str, None] = {}
        for value in named:
            found |= dict.fromkeys(
                store.scan_index(self.definition.name, correlation.learnt, value)
            )
        return list(found)


class Listeners:
    """Finds the process managers that listen to events."""

    def __init__(self, registry: Registry) -> None:
        self._all = [
            _Ears(registry, definition, registry.categories_of(definition))
            for definition in registry.processes.values()
        ]

    def of(self, record: EventRecord) -> Iterator[Listener]:
        """Those that listen to an event, by its type and its stream's category."""
        for ears in self._all:
            found = ears.listener(record)
            if found is not None:
                yield found


class _Ears:
    """What one process manager listens to."""

    def __init__(
        self, registry: Registry, definition: ProcessDefinition, categories: frozenset[str] | None
    ) -> None:
        self._definition = definition
        self._categories = categories
        self._readers = registry.readers_of(definition, definition.handlers)
        # The newest version of a class is what older events are read as.
        names = {registry.name_of(event, definition): event for event in definition.handlers}
        newest = sorted(names, key=lambda name: split(name)[1])
        self._classes: dict[str, type] = {split(name)[0]: names[name] for name in newest} | names

    def listener(self, record: EventRecord) -> Listener | None:
        if self._categories is not None and category_of(record.stream) not in self._categories:
            return None
        reader = self._readers[record.type]
        if reader is None:
            return None
        event = self._classes.get(record.type) or self._classes[split(record.type)[0]]
        return Listener(self._definition, event, reader)


def transition_of(
    store: Store, process: str, instance: str, record: EventRecord
) -> tuple[TransitionRecord | None, TransitionRecord | None]:
    """What an event did to an instance, and what the instance did last before it came.

    `seen` never gets smaller along an instance's transitions, so they are searched by halving.
    An event that waited makes its transition later than its position says; the rest of the
    transitions is looked through for it.
    """
    last = store.last_transition(process, instance)
    if last is None:
        return None, None
    if last.seen < record.position:
        return None, last

    def is_later(version: int) -> bool:
        transition = store.transition_at(process, instance, version)
        assert transition is not None
        return transition.seen >= record.position

    first = first_where(is_later, last.version)
    before = store.transition_at(process, instance, first - 1)
    for transition in store.scan_transitions(process, instance, first - 1):
        if transition.position == record.position or (
            not transition.position and transition.cause == record.event_id
        ):
            return transition, before
    return None, before


def first_where(is_so: Callable[[int], bool], last: int) -> int:
    """The first number from 1 for which something is so; it is for `last`, and stays so."""
    low, high = 1, last
    while low < high:
        middle = (low + high) // 2
        if is_so(middle):
            high = middle
        else:
            low = middle + 1
    return low
