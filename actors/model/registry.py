"""All that one runtime knows: its domains' classes, and the wire names of their messages.

Names live here and not on the classes, so that a class can be in several runtimes and domains.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import DefinitionError, UnknownMessage, shown
from ..messages.codec import Codec, codecs
from ..messages.personal import personal_of
from ..messages.types import Command, Event, Message, UnknownCommand, UnknownEvent
from ..store import category_of
from .base_classes import refuse_unheard
from .completions import category_for, completed_of, heard_in, process_of, wire_name_for
from .ownership import owners_of, wire_name_of
from .upcasting import Chain, OldCodec, Readers, check_chain, split

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from ..authoring.aggregate import Aggregate
    from ..authoring.decorators import Handler
    from ..authoring.process_manager import ProcessManager
    from ..authoring.projection import Projection
    from ..messages.personal import PersonalField
    from ..store import EventRecord, NameKind
    from .aggregate_definition import AggregateDefinition
    from .process_definition import ProcessDefinition
    from .projection_definition import ProjectionDefinition
    from .registered import Listener, Registered
    from .upcasting import Loads

__all__ = ["Registry"]


class Registry:
    """Finds definitions and classes for the runtime.

    Args:
        domains: in any order

    Raises:
        DefinitionError: the domains do not fit together

    """

    def __init__(self, domains: Iterable[Registered]) -> None:
        self.domains = tuple(dict.fromkeys(domains))
        self._refuse_namesakes()
        self.processes: dict[type[ProcessManager], ProcessDefinition] = {
            cls: definition
            for domain in self.domains
            for cls, definition in domain.processes.items()
        }
        self.projections: dict[type[Projection], ProjectionDefinition] = {
            cls: definition
            for domain in self.domains
            for cls, definition in domain.projections.items()
        }
        self._refuse_shared_classes()
        self.aggregates: dict[type[Aggregate], AggregateDefinition] = {
            cls: definition
            for domain in self.domains
            for cls, definition in domain.aggregates.items()
        }
        self._by_category = {one.category: one for one in self.aggregates.values()}
        self._takers: dict[type, AggregateDefinition] = {}
        for domain in self.domains:
            for command, definition in domain.commands():
                self._add_taker(command, definition)
        self._refuse_untaken()
        self._names: dict[type, str] = {}
        self._classes: dict[str, type[Message]] = {}
        self._event_codecs: dict[str, Loads[Event]] = {}
        self._command_codecs: dict[str, Loads[Command]] = {}
        self._addresses: dict[type, tuple[str, Callable[[Command], str]]] = {}
        self._personal: dict[str, Mapping[str, PersonalField]] = {}
        self._today: dict[str, str] = {}
        # By wire names without versions, then by the versions that they take.
        self._upcasters: dict[str, dict[int, Handler]] = {}
        for cls, owner in owners_of(self.domains).items():
            self._add_name(cls, wire_name_of(cls, owner))
        self._by_name: dict[str, ProcessDefinition | ProjectionDefinition] = {}
        listeners: list[ProcessDefinition | ProjectionDefinition] = [
            *self.processes.values(),
            *self.projections.values(),
        ]
        for listener in listeners:
            self._add_stored_name(listener)
        self.heard = heard_in(listeners, self.processes)
        """Process managers to whose completions others listen."""
        for process in self.processes.values():
            # Also those to which no class listens any more: the store may have some.
            if not process.stateless:
                self._add_name(completed_of(process), wire_name_for(process.name))
        for domain in self.domains:
            for cls, name in domain.externals.items():
                self._add_external(cls, name)
        self._add_upcasters()
        for listener in listeners:
            self.categories_of(listener)
        self._refuse_unheard(self._names)

    # Looking things up

    def name_of(self, cls: type[Message], definition: Listener | None = None) -> str:
        """The wire name of a message class.

        Args:
            cls: the class
            definition: of the class that uses it, if it is one that may know it as an event of
                another domain

        Raises:
            UnknownMessage: no domain knows it
            DefinitionError: its base class is handled, and it is not

        """
        if definition is not None and cls in definition.externals:
            return definition.externals[cls]
        name = self._names.get(cls)
        if name is None and issubclass(cls, Event):
            # An event that no class here declares can still be made, published and read.
            if len(self.domains) == 1:
                name = wire_name_of(cls, self.domains[0].name)
            else:
                name = cls.__wire_name__
            if name is not None:
                self._refuse_unheard([cls])
                self._add_name(cls, name)
        if name is None:
            raise UnknownMessage(
                f"{cls.__qualname__} is not known here, since no domain of this runtime owns it; "
                f"register it in its domain: {self._register(cls)}"
            )
        return name

    def can_read(self, kind: NameKind, name: str) -> bool:
        """Whether what is stored under a name has a class here that it is read as.

        Args:
            kind: what the name is of
            name: the wire name of an event or a command, or the name of a process manager or a
                projection

        """
        if kind == "process":
            return name in self._by_name
        return name in (self._event_codecs if kind == "event" else self._command_codecs)

    def classes(self) -> Mapping[str, type[Message]]:
        """The message classes that are known, by their wire names."""
        return self._classes

    def reads(self) -> frozenset[str]:
        """What is understood here of what may be stored: names of messages and of states."""
        states = (name for one in self.processes.values() for name in one.readable_states)
        return frozenset((*self._event_codecs, *self._command_codecs, *states))

    def writes(self) -> frozenset[str]:
        """What may be stored by what runs here, by the same names."""
        states = (name for one in self.processes.values() for name in one.readable_states[-1:])
        return frozenset((*self._classes, *states))

    def named(self, name: str) -> ProcessDefinition | ProjectionDefinition | None:
        """The process manager or the projection of that name."""
        return self._by_name.get(name)

    def process_named(self, name: str) -> ProcessDefinition | None:
        """The process manager of that name."""
        found = self._by_name.get(name)
        return found if found is not None and found.cls in self.processes else None

    def categories_of(self, definition: Listener) -> frozenset[str] | None:
        """The categories that a process manager or a projection listens to; None for all.

        Raises:
            DefinitionError: it names an aggregate that is in no domain here, or nearly the category
                of one that is

        """
        if not definition.streams:
            return None
        found: set[str] = set()
        for stream in definition.streams:
            if isinstance(stream, str):
                self._refuse_misspelt(definition, stream)
                found.add(stream)
            elif stream in self.aggregates:
                found.add(self.aggregates[stream].category)
            else:
                raise DefinitionError(
                    f"{definition.cls.__qualname__}: streams names {stream.__qualname__}, which is "
                    f"in no domain of this runtime; register it"
                )
        # What a class says by name that it listens to is in streams of its own.
        for event in definition.events():
            process = process_of(event)
            if process is not None and process in self.processes:
                found.add(category_for(self.processes[process].name))
        return frozenset(found)

    def load_event(self, record: EventRecord) -> Event:
        """A copy of a stored event for one reader, to do with as it likes.

        Raises:
            InvalidMessage: what is stored does not fit the class

        """
        codec = self._event_codecs.get(record.type)
        if codec is None:
            return UnknownEvent(record.type, codecs[dict].load(record.data))
        return codec.load(record.data)

    def readers_of(self, definition: Listener, events: Iterable[type]) -> Readers[Event]:
        """How a class reads those events; its classes for them may be others than the makers'.

        Args:
            definition: of the process manager or the projection
            events: the classes

        """
        readers: Readers[Event] = Readers(self._classes.__contains__)
        for cls in events:
            name = self.name_of(cls, definition)
            is_external = cls in definition.externals
            readers.add(name, codecs[cls], self._chain(name), is_external=is_external)
        return readers

    def mend_for(self, name: str) -> str:
        """What to do about a stored message whose wire name has no class here."""
        base, version = split(name)
        versions = [split(known)[1] for known in self._classes if split(known)[0] == base]
        if not versions:
            return f"register a class that has the wire name {name}"
        if max(versions) < version:
            return f"run the version of the service that knows it, or register a class {name}"
        return upcast_it(base).format(version)

    def name_today(self, name: str) -> str:
        """The wire name of the class as which a stored message of that name is read."""
        return self._today.get(name, name)

    def load_command(self, name: str, packed: bytes) -> Command:
        """A copy of a stored command.

        Raises:
            InvalidMessage: what is stored does not fit the class

        """
        codec = self._command_codecs.get(name)
        if codec is None:
            return UnknownCommand(name, codecs[dict].load(packed))
        return codec.load(packed)

    def personal_fields(self, name: str) -> Mapping[str, PersonalField]:
        """The fields that are marked as personal of a stored message of that wire name."""
        found = self._personal.get(name)
        if found is None:
            found = self._personal[name] = self._personal_fields(self.name_today(name))
        return found

    def _personal_fields(self, today: str) -> Mapping[str, PersonalField]:
        cls = self._classes.get(today)
        if cls is None:
            external = (one for one, known in self._names.items() if known == today)
            cls = next(external, None)
        if cls is None:
            return {}
        taker = self._takers.get(cls)
        if taker is None:
            return personal_of(cls)
        # Who issued it keeps it too, and what is the aggregate's is not the issuer's.
        return {
            field: one._replace(subject=one.subject or taker.identity or None)
            for field, one in personal_of(cls).items()
        }

    def personal_state(self, name: str) -> Mapping[str, PersonalField]:
        """The same of the states of a process manager, or of the aggregates of a category."""
        aggregate = self._by_category.get(name)
        if aggregate is not None:
            return aggregate.state.personal
        found = (one.state.personal for one in self.processes.values() if one.name == name)
        return next(found, {})

    def taker_of(self, command: type) -> AggregateDefinition:
        """The aggregate that takes a command.

        Raises:
            UnknownMessage: none does

        """
        taker = self._takers.get(command)
        if taker is None:
            raise UnknownMessage(
                f"no aggregate takes {command.__qualname__}; write an aggregate with "
                f"@handle({command.__name__}), and register it in a domain of this runtime"
            )
        return taker

    def owner_of(self, stream: str) -> AggregateDefinition | None:
        """The aggregate class of which a stream is one's own; None if no domain here has it."""
        return self._by_category.get(category_of(stream))

    def address(self, command: Command) -> tuple[str, str]:
        """The wire name of a command, and the stream of the aggregate that takes it.

        Raises:
            UnknownMessage: no aggregate takes it
            InvalidName: the aggregate's id is empty or too long

        """
        cls = type(command)
        found = self._addresses.get(cls)
        if found is None:
            taker = self.taker_of(cls)
            found = self._addresses[cls] = self.name_of(cls), taker.stream_of
        name, stream_of = found
        return name, stream_of(command)

    def process(self, cls: type[ProcessManager]) -> ProcessDefinition:
        """The definition of a process manager.

        Raises:
            UnknownMessage: no domain here has it

        """
        definition = self.processes.get(cls) if issubclass(type(cls), type) else None
        if definition is None:
            raise UnknownMessage(f"{self._unregistered(cls)}")
        return definition

    def aggregate(self, cls: type[Aggregate]) -> AggregateDefinition:
        """The definition of an aggregate.

        Raises:
            UnknownMessage: no domain here has it

        """
        definition = self.aggregates.get(cls) if issubclass(type(cls), type) else None
        if definition is None:
            raise UnknownMessage(f"{self._unregistered(cls)}")
        return definition

    def projection(self, cls: type[Projection]) -> ProjectionDefinition:
        """The definition of a projection.

        Raises:
            UnknownMessage: no domain here has it

        """
        definition = self.projections.get(cls) if issubclass(type(cls), type) else None
        if definition is None:
            raise UnknownMessage(f"{self._unregistered(cls)}")
        return definition

    def _unregistered(self, cls: object) -> str:
        if not issubclass(type(cls), type):
            return f"{shown(cls)} is no class; give a process manager or an aggregate"
        assert isinstance(cls, type)
        return (
            f"{cls.__qualname__} is in no domain of this runtime; "
            f"register it: {self._register(cls)}"
        )

    def _register(self, cls: type) -> str:
        """How a class is registered, in each of the domains that may be meant."""
        names = [domain.name for domain in self.domains] or ["domain"]
        return " or ".join(f"`{name}.register({cls.__name__})`" for name in names)

    # Putting it together

    def _refuse_misspelt(self, definition: Listener, category: str) -> None:
        """A category that is written otherwise than that of an aggregate is no other category."""
        if category in self._by_category:
            return
        for one in self.aggregates.values():
            prefix, _, name = category.rpartition("::")
            owner, _, own = one.category.rpartition("::")
            if _letters(name) == _letters(own) and _letters(prefix) in {"", _letters(owner)}:
                raise DefinitionError(
                    f"{definition.cls.__qualname__}: streams has {category!r}, which no event of "
                    f"{one.cls.__qualname__} has: its category is {one.category!r}. Write "
                    f"`streams=[{one.cls.__name__}]`; if another service publishes into "
                    f"{category!r}, give that a name that is not so like it"
                )

    def _refuse_namesakes(self) -> None:
        names: set[str] = set()
        for domain in self.domains:
            if domain.name in names:
                raise DefinitionError(
                    f"two domains are called {domain.name!r}; their streams would be mixed, "
                    f"so rename one"
                )
            names.add(domain.name)

    def _refuse_shared_classes(self) -> None:
        for domain in self.domains:
            for cls in (*domain.processes, *domain.aggregates, *domain.projections):
                homes = [
                    one.name
                    for one in self.domains
                    if cls in one.processes or cls in one.aggregates or cls in one.projections
                ]
                if len(homes) > 1:
                    raise DefinitionError(
                        f"{cls.__qualname__} is in the domains {' and '.join(homes)} of one "
                        f"runtime; every event would be handled twice, so register it in one"
                    )

    def _refuse_unheard(self, classes: Iterable[type[Message]]) -> None:
        for process in self.processes.values():
            for handlers in (process.handlers, process.effects):
                refuse_unheard(process.cls, handlers, classes)
        for projection in self.projections.values():
            refuse_unheard(projection.cls, projection.handlers, classes)

    def _add_taker(self, command: type, definition: AggregateDefinition) -> None:
        other = self._takers.setdefault(command, definition)
        if other is not definition:
            raise DefinitionError(
                f"{command.__name__} is taken by {other.cls.__qualname__}."
                f"{other.handlers[command].name} and by {definition.cls.__qualname__}."
                f"{definition.handlers[command].name}; a command goes to one aggregate, "
                f"so give one of them a command of its own"
            )

    def _refuse_untaken(self) -> None:
        for definition in self.processes.values():
            for command in definition.commands:
                if command not in self._takers:
                    raise DefinitionError(
                        f"{definition.cls.__qualname__} issues {command.__name__}, which no "
                        f"aggregate takes; write an aggregate with @handle({command.__name__}), "
                        f"and register it in a domain of this runtime"
                    )

    def _add_upcasters(self) -> None:
        for domain in self.domains:
            for name, upcaster in domain.upcasters.items():
                base, version = split(name)
                others = self._upcasters.setdefault(base, {})
                other = others.setdefault(version, upcaster)
                if other.function is not upcaster.function:
                    raise DefinitionError(
                        f"{other.function.__qualname__} and {upcaster.function.__qualname__} both "
                        f"upcast {name}, in two domains of this runtime; remove one"
                    )
        current: dict[str, set[int]] = {}
        for name in (*self._classes, *(n for d in self.domains for n in d.externals.values())):
            base, version = split(name)
            current.setdefault(base, set()).add(version)
        for base, upcasters in self._upcasters.items():
            self._check_upcasters(base, current.get(base, set()), upcasters)
        for name, cls in self._classes.items():
            self._read_older(name, codecs[cls], self._codecs_for(cls))
        for domain in self.domains:
            for cls, name in domain.externals.items():
                self._read_older(name, codecs[cls], self._event_codecs)

    def _check_upcasters(self, base: str, current: set[int], upcasters: dict[int, Handler]) -> None:
        if not current:
            first = next(iter(upcasters.values()))
            raise DefinitionError(
                f"{first.function.__qualname__} upcasts {base}, which no class here is called; "
                f"correct the name, or register the class in its domain"
            )
        short = base.partition(".")[2]
        check_chain(base, current, upcasters, f'`@upcast("{short}", from_version={{}})`')
        for version, upcaster in upcasters.items():
            cls = self._classes.get(f"{base}.v{version}")
            if cls is not None:
                raise DefinitionError(
                    f"{upcaster.function.__qualname__} upcasts {base} from version {version}, "
                    f"which {cls.__qualname__} is the class of; remove one of them"
                )

    def _chain(self, name: str) -> Chain:
        """What leads to the version in a wire name."""
        base, version = split(name)
        found: dict[int, Handler] = {}
        upcasters = self._upcasters.get(base, {})
        older = version - 1
        while older in upcasters:
            found[older] = upcasters[older]
            older -= 1
        return Chain(base, version, found, upcast_it(base))

    def _read_older(self, name: str, codec: Codec[Any], codecs: dict[str, Loads[Any]]) -> None:
        chain = self._chain(name)
        base, version = split(name)
        for older in range(chain.oldest, version):
            codecs.setdefault(f"{base}.v{older}", OldCodec(codec, chain, older))
            self._today.setdefault(f"{base}.v{older}", name)

    def _codecs_for(self, cls: type[Message]) -> dict[str, Any]:
        return self._event_codecs if issubclass(cls, Event) else self._command_codecs

    def _add_stored_name(self, definition: ProcessDefinition | ProjectionDefinition) -> None:
        other = self._by_name.setdefault(definition.name, definition)
        if other is not definition:
            raise DefinitionError(
                f"{other.cls.__qualname__} and {definition.cls.__qualname__} are both called "
                f"{definition.name}; give one of them another `name=`, since what is theirs is "
                f"stored under that name"
            )

    def _add_external(self, cls: type[Event], name: str) -> None:
        # Read with this class only where the domain that makes the event is not here.
        self._event_codecs.setdefault(name, codecs[cls])
        other = self._names.setdefault(cls, name)
        if other != name and self._classes.get(other) is not cls:
            raise DefinitionError(
                f"{cls.__qualname__} stands for {other} in one domain and for {name} in another, "
                f"so the wire name of what is published with it is not clear; use a class of its "
                f"own for one of them"
            )

    def _add_name(self, cls: type[Message], name: str) -> None:
        other = self._classes.setdefault(name, cls)
        if other is not cls:
            raise DefinitionError(
                f"{cls.__module__}.{cls.__qualname__} and {other.__module__}."
                f"{other.__qualname__} have the same wire name {name}; rename one, or give it a "
                f"version"
            )
        codec = codecs[cls]
        personal_of(cls)
        self._names[cls] = name
        self._codecs_for(cls)[name] = codec


def _letters(name: str) -> str:
    return name.replace("_", "").casefold()


def upcast_it(base: str) -> str:
    """What to do about a version that no upcaster takes; ``{}`` stands for the version."""
    domain, _, short = base.partition(".")
    return (
        f'write `@upcast("{short}", from_version={{}})`, register the function in the domain '
        f"{domain}, then retry"
    )
