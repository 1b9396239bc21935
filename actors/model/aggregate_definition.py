"""An aggregate class, read once and checked; and what it decides."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from types import NoneType
from typing import TYPE_CHECKING, Any
from uuid import UUID

from ..authoring.aggregate import Aggregate, Own, state_type_of
from ..authoring.decorators import Handler, check_method, handlers_of, methods_of
from ..authoring.marks import called, refuse_overridden
from ..errors import DefinitionError, InvalidMessage, UnknownMessage, shown
from ..messages.codec import codecs
from ..messages.identifiers import SURELY_SHORT, id_of, is_plain_id
from ..messages.outcomes_said import events_said_by
from ..messages.types import Command, Event
from ..store import check_name
from .base_classes import refuse_unheard
from .code_scan import classes_named_in
from .lifetimes import check_retention
from .snapshots import EVERY, Snapshots

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CANNOT_CHANGE", "AggregateDefinition"]

CANNOT_CHANGE = frozenset(
    {bool, bytes, date, datetime, Decimal, float, int, NoneType, str, timedelta, UUID}
)
"""Types of values that stay what they are, whoever has them."""


class AggregateDefinition:
    """An aggregate class, read once and checked.

    Args:
        cls: the class
        domain: the name of the domain it is registered in

    Raises:
        DefinitionError: it cannot work as it is written

    """

    def __init__(self, cls: type[Aggregate], domain: str) -> None:
        self.cls = cls
        options = cls.__procession_options__
        self.category = f"{domain}::{options.get('category') or _snake_case(cls.__name__)}"
        if "-" in self.category:
            raise DefinitionError(
                f"{cls.__qualname__}: category {self.category!r} has a dash, which is where the "
                f"id begins in a stream's name; write it with _ instead"
            )
        refuse_overridden(cls, Aggregate)
        self.state = state_type_of(cls)
        self.handlers: dict[type, Handler] = dict(handlers_of(cls, Aggregate, "handle"))
        self.appliers: dict[type, Callable[[Any, Any], None]] = {
            event: handler.function
            for event, handler in handlers_of(cls, Aggregate, "apply").items()
        }
        self._said = {
            command: said
            for command in self.handlers
            if issubclass(command, Command) and (said := events_said_by(command))
        }
        """The events that come of a command, of those that say it."""
        self.identity: str = options.get("identity", "")
        self._check_handlers()
        appliers = {handler.name for handler in handlers_of(cls, Aggregate, "apply").values()}
        deciding = [f for name, f in methods_of(cls, Aggregate).items() if name not in appliers]
        self.events = classes_named_in(deciding, Event, of=cls)
        """The events that the code of its handlers names."""
        self.makes = frozenset((*self.events, *self.appliers))
        """Those, and the events that it applies, which its code may find in other ways."""
        self._check_appliers()
        self._refuse_others_marks()
        self.retention: timedelta | None = options.get("retention")
        check_retention(cls, self.retention)
        self.snapshots = Snapshots(
            cls, self.state, self.appliers, options.get("snapshot_every", EVERY)
        )

    def stream_of(self, command: Command) -> str:
        """The stream of the aggregate that a command is for.

        Raises:
            InvalidName: the id is empty or too long

        """
        name = getattr(command, self.identity)
        if type(name) is not str or not is_plain_id(name):
            name = id_of(name, self.identity)
        stream = f"{self.category}-{name}"
        if len(stream) > SURELY_SHORT:
            check_name("stream", stream)
        return stream

    def begin(self, stream: str) -> Aggregate:
        """An aggregate before its first event."""
        made = self.cls.__new__(self.cls)
        object.__setattr__(made, "_own", Own(stream[len(self.category) + 1 :]))
        made.__dict__.update(self.state.fresh())
        return made

    def decide(self, aggregate: Aggregate, command: Command) -> list[tuple[Event, bytes, Any]]:
        """Run the command's handler; the events are applied, and returned with what `dump` says.

        Raises:
            Rejected: the aggregate refuses
            InvalidMessage: an event does not fit its annotations, or is none of those that the
                command says come of it
            UnknownMessage: there is no handler for the command

        """
        handler = self.handlers.get(type(command))
        if handler is None:
            raise UnknownMessage(
                f"{self.cls.__qualname__} has no handler for {shown(command)}; the class that took "
                f"it was renamed or removed, or the command has a newer version"
            )
        answer = handler.function(aggregate, command)
        said = self._said.get(type(command)) if self._said else None
        made: list[tuple[Event, bytes, Any]] = []
        # What it is known to make is told faster than what is an event.
        is_one = type(answer) in self.makes or isinstance(answer, Event)
        for event in (answer,) if is_one else _events(answer, aggregate):
            if said is not None and not isinstance(event, said):
                raise InvalidMessage(
                    f"{self.cls.__qualname__}.{handler.name} made {shown(event)}, and "
                    f"{type(command).__qualname__} says that other events come of it: "
                    f"{', '.join(one.__qualname__ for one in said)}; add it to `Command[...]`"
                )
            codec = codecs[type(event)]
            packed, own = codec.exchange(event)
            aggregate._own.weight += len(packed)  # noqa: SLF001 - a friend
            # What is read back: memory holds what the log says, and shares nothing with it.
            self.evolve(aggregate, own)
            made.append((event, packed, own if codec.is_immutable else None))
        return made

    def evolve(self, aggregate: Aggregate, event: Event) -> None:
        """Apply one event, made now or read from the stream."""
        own = aggregate._own  # noqa: SLF001 - a friend: it lets the object change
        applier = self.appliers.get(type(event))
        if applier is not None:
            own.applying = True
            try:
                applier(aggregate, event)
            finally:
                own.applying = False
        own.version += 1

    def is_as_before(self, aggregate: Aggregate | None, version: int) -> bool:
        """Whether an aggregate whose handler raised is for sure as it was at a version.

        Events may have been applied, and what is inside a list or the like may have been changed.
        """
        return (
            aggregate is not None
            and aggregate._own.version == version  # noqa: SLF001 - a friend
            and all(type(value) in CANNOT_CHANGE for value in aggregate.__dict__.values())
        )

    def snapshot(self, aggregate: Aggregate) -> tuple[int, bytes] | None:
        """A snapshot of the aggregate as it is now, with its version, if one is due."""
        own = aggregate._own  # noqa: SLF001 - a friend
        every = self.snapshots.every
        # When the events outweigh it, so that a state that grows is not written again and again.
        if not every or own.version < own.snapshot + every or own.weight < own.snapshot_size:
            return None
        # A state that cannot be packed is tried again later, and not after each event.
        own.snapshot, own.weight = own.version, 0
        packed = self.snapshots.pack(aggregate.__dict__)
        if packed is None:
            return None
        own.snapshot_size = len(packed)
        return own.version, packed

    def recall(
        self, aggregate: Aggregate, version: int, packed: bytes, *, whoever_made_it: bool = False
    ) -> None:
        """Begin from a snapshot, if it fits the class as it is now.

        Args:
            aggregate: before its first event
            version: of the snapshot
            packed: the snapshot
            whoever_made_it: whether one that other code made is taken, if its fields fit: the
                events that it was made of are gone

        """
        values = self.snapshots.unpack(packed, whoever_made_it=whoever_made_it)
        if values is not None:
            aggregate.__dict__.update(values)
            own = aggregate._own  # noqa: SLF001 - a friend
            own.version = own.snapshot = version
            own.snapshot_size = len(packed)

    def _refuse_others_marks(self) -> None:
        for role in ("timeout", "rejected", "after", "ended"):
            for handler in handlers_of(self.cls, Aggregate, role).values():
                raise DefinitionError(
                    f"{self.cls.__qualname__}.{handler.name}: {called(handler)} belongs to process "
                    f"managers, and would never be called in an aggregate; move it to one"
                )
        for upcaster in handlers_of(self.cls, Aggregate, "upcast").values():
            raise DefinitionError(
                f"{self.cls.__qualname__}.{upcaster.name}: an aggregate's state comes from its "
                f"events, so there is no old state to turn into a new one; upcast its events"
            )

    def _check_handlers(self) -> None:
        where = self.cls.__qualname__
        if not self.identity:
            raise DefinitionError(
                f"{where} does not say which field of its commands names it; write for example "
                f'`class {where}(Aggregate, identity="order_id")`'
            )
        if not self.handlers:
            raise DefinitionError(f"{where} takes no command; mark a method with @handle(SomeCmd)")
        for command, handler in self.handlers.items():
            if not issubclass(command, Command):
                raise DefinitionError(
                    f"{where}.{handler.name}: an aggregate handles commands, and "
                    f"{command.__name__} is an event; use @apply for an event it made, or a "
                    f"process manager for others"
                )
            check_method(self.cls, handler, "command")
            if self.identity not in command.__struct_fields__:
                raise DefinitionError(
                    f"{where}.{handler.name}: identity={self.identity!r}, but "
                    f"{command.__name__} has no such field; add it, or name another"
                )
            if handler.start or handler.end or handler.correlate is not None:
                raise DefinitionError(
                    f"{where}.{handler.name}: start, end and correlate are for process managers; "
                    f"an aggregate is found by its identity"
                )

    def _check_appliers(self) -> None:
        appliers = handlers_of(self.cls, Aggregate, "apply")
        refuse_unheard(self.cls, appliers, self.events)
        for applier in appliers.values():
            check_method(self.cls, applier, "event")
            if inspect.isgeneratorfunction(inspect.unwrap(applier.function)):
                raise DefinitionError(
                    f"{self.cls.__qualname__}.{applier.name} has a `yield`, so calling it would do "
                    f"nothing; assign the fields, and make events in the command's handler"
                )


def _events(answer: object, aggregate: Aggregate) -> Iterator[Event]:
    if answer is None:
        return
    if not isinstance(answer, Iterable):
        raise InvalidMessage(_no_event(answer, aggregate))
    source = iter(answer)
    while True:
        try:
            event = next(source)
        except StopIteration as end:
            returned = end.value
            break
        if not isinstance(event, Event):
            raise InvalidMessage(_no_event(event, aggregate))
        yield event
    # What a handler returns once it has yielded is an event, or several, as well.
    if isinstance(returned, Event):
        yield returned
    else:
        yield from _events(returned, aggregate)


def _no_event(value: object, aggregate: Aggregate) -> str:
    return (
        f"a handler of {type(aggregate).__qualname__} returned {shown(value)}; "
        f"return or yield events, or None"
    )


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
