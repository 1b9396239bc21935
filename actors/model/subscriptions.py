"""Whom an event is for: which process managers listen to it, and which of their instances.

The router, the after-effects, the diagnostics and the scenarios all ask here, so that they agree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct

from ..errors import UnknownMessage
from ..messages.codec import codecs
from ..messages.types import Event
from ..store import category_of
from .upcasting import split

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from ..authoring.decorators import Handler
    from ..store import EventRecord
    from .correlation import Correlation
    from .process_definition import ProcessDefinition
    from .registered import Listener
    from .registry import Registry

    ReadIndex: TypeAlias = Callable[[str, str, str], Iterable[str]]
    LearntKey: TypeAlias = tuple[str, list[str]]

__all__ = ["Listening", "Shortcut", "Subscription", "Subscriptions"]


class Shortcut(Struct, frozen=True):
    """Events of a class that name one instance by a field."""

    cls: type[Event]
    field: str


class Listening:
    """The events that one class takes, and how it reads them.

    Args:
        definition: of the process manager or the projection
        registry: knows the wire names of its classes
        handlers: by event class

    Raises:
        DefinitionError: `streams` names an aggregate that is in no domain here

    """

    def __init__(
        self,
        definition: Listener,
        registry: Registry,
        handlers: Mapping[type, Handler],
    ) -> None:
        self.listener = definition
        self._categories = registry.categories_of(definition)
        # How each event is read: other domains' classes for it may differ.
        self._readers = registry.readers_of(definition, handlers)
        named = {registry.name_of(event, definition): one for event, one in handlers.items()}
        # By wire names, and by wire names without their versions: an older event is read as the
        # newest class.
        self._handlers: dict[str, Handler] = {}
        for name in sorted(named, key=lambda name: split(name)[1]):
            self._handlers[name] = self._handlers[split(name)[0]] = named[name]

    def listens_to(self, record: EventRecord) -> bool:
        """Whether an event is for some instance, by its type and the category of its stream."""
        return self._readers[record.type] is not None and (
            self._categories is None or category_of(record.stream) in self._categories
        )

    @property
    def is_restricted(self) -> bool:
        """Whether `streams` leaves any events out."""
        return self._categories is not None

    def leaves_out(self, record: EventRecord) -> bool:
        """Whether an event would be listened to in another category of stream."""
        return (
            self._categories is not None
            and self._readers[record.type] is not None
            and category_of(record.stream) not in self._categories
        )

    def describe_streams(self, record: EventRecord) -> str:
        """Which categories are listened to, and which one an event has that is left out."""
        named = ", ".join(map(repr, sorted(self._categories or ())))
        return f"its category {category_of(record.stream)!r} is not in streams: {named}"

    def handler_of(self, record: EventRecord) -> Handler | None:
        """The method for a stored event; None if there is none any more."""
        return self._handlers.get(record.type) or self._handlers.get(split(record.type)[0])

    def load(self, record: EventRecord) -> Event:
        """A copy of a stored event, as the class that is handled for it.

        Raises:
            InvalidMessage: what is stored does not fit the class
            UnknownMessage: it is of a version that nothing turns into that of the class, or is
                not handled any more

        """
        reader = self._readers[record.type]
        if reader is None:
            raise UnknownMessage(
                f"{self.listener.name} has no handler for {record.type} any more; write one, "
                f"or skip the event"
            )
        message: Event | None = record.message
        if message is not None and reader is codecs[type(message)]:
            return message
        return reader.load(record.data)


class Subscription(Listening):
    """The events that one process manager takes, how it reads them, and whom each is for.

    Args:
        definition: of the process manager
        registry: knows the wire names of its classes
        handlers: by event class: those that handle, or those that act after

    Raises:
        DefinitionError: `streams` names an aggregate that is in no domain here

    """

    def __init__(
        self,
        definition: ProcessDefinition,
        registry: Registry,
        handlers: Mapping[type, Handler],
    ) -> None:
        super().__init__(definition, registry, handlers)
        self.definition = definition

    def shortcut(self, wire_type: str) -> Shortcut | None:
        """How nearly all events of a type name the one instance that they are for.

        Returns:
            None where it takes more: they are not listened to, for many, or found by what an
            instance has learnt

        """
        handler, reader = self._handlers.get(wire_type), self._readers[wire_type]
        if handler is None or reader is None or self._categories is not None:
            return None
        correlation = self.definition.correlations.get(handler.subject)
        if self.definition.stateless or correlation is None or correlation.learnt:
            return None
        field = correlation.field_of_event
        if not field or reader is not codecs[handler.subject]:
            return None
        return Shortcut(handler.subject, field)

    def learnt_of(self, event: Event) -> LearntKey | None:
        """The learnt key by which an event finds its instances, and the values that it names."""
        correlation = self.definition.correlations.get(type(event))
        if correlation is None or not correlation.learnt:
            return None
        return correlation.learnt, correlation.ids(event)

    def finds_by_learnt_key(self, record: EventRecord) -> bool:
        """Whether an event finds its instances by what they have learnt."""
        handler = self.handler_of(record)
        correlation = handler and self.definition.correlations.get(handler.subject)
        return bool(correlation and correlation.learnt)

    def route(
        self, record: EventRecord, event: Event, read_index: ReadIndex
    ) -> tuple[list[str], LearntKey | None]:
        """The ids of the instances that an event is for, and the learnt key that led to them.

        Args:
            record: as it is stored
            event: what was read of it
            read_index: finds the instances of a process manager whose field has a value

        Raises:
            Exception: what `correlate` raised, or that what it returned is no id

        """
        definition = self.definition
        if definition.stateless:
            return [definition.id_of(record.event_id)], None
        correlation = definition.correlations[type(event)]
        named = correlation.ids(event)
        if not correlation.learnt:
            return named, None
        field = correlation.learnt
        found = {one: None for value in named for one in read_index(definition.name, field, value)}
        return list(found), (field, named)

    def instances_of(self, record: EventRecord, read_index: ReadIndex) -> list[str]:
        """As `route`, for a caller who wants the ids alone.

        Raises:
            Exception: the event cannot be read, or it cannot be correlated

        """
        return self.route(record, self.load(record), read_index)[0]

    def describe(self, record: EventRecord) -> str:
        """How an event that is listened to names its instances, in words."""
        if self.definition.stateless:
            return "stateless"
        return self._correlation_of(record).describe()

    def _correlation_of(self, record: EventRecord) -> Correlation:
        handler = self.handler_of(record)
        assert handler is not None
        return self.definition.correlations[handler.subject]


class Subscriptions:
    """Those of all process managers of a runtime."""

    def __init__(self, registry: Registry) -> None:
        self._all = [
            Subscription(definition, registry, definition.handlers)
            for definition in registry.processes.values()
        ]

    def to(self, record: EventRecord) -> Iterator[Subscription]:
        """Those that an event is for, by its type and the category of its stream."""
        return (one for one in self._all if one.listens_to(record))

    def leaving_out(self, record: EventRecord) -> Iterator[Subscription]:
        """Those that an event would be for, were it in another category of stream."""
        return (one for one in self._all if one.leaves_out(record))
