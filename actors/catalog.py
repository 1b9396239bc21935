"""All that one runtime knows: its domains' classes, and the wire names of their messages.

Names live here and not on the classes, so that a class can be in several runtimes and domains.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .codec import Codec, codec_of
from .errors import DefinitionError, UnknownMessage
from .messages import Command, Event, Message, UnknownCommand, UnknownEvent
from .names import category_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from store import EventRecord

    from .aggregate import Aggregate, AggregateDefinition
    from .domain import Domain
    from .process_definition import ProcessDefinition
    from .process_manager import ProcessManager

__all__ = ["Catalog"]


class Catalog:
    """Finds definitions and classes for the runtime.

    Args:
        domains: in any order

    Raises:
        DefinitionError: the domains do not fit together

    """

    def __init__(self, domains: Iterable[Domain]) -> None:
        self.domains = tuple(dict.fromkeys(domains))
        self._refuse_namesakes()
        self.processes: dict[type[ProcessManager], ProcessDefinition] = {
            cls: definition
            for domain in self.domains
            for cls, definition in domain.processes.items()
        }
        self._refuse_shared_classes()
        self.aggregates: dict[type[Aggregate], AggregateDefinition] = {
            cls: definition
            for domain in self.domains
            for cls, definition in domain.aggregates.items()
        }
        self._takers: dict[type, AggregateDefinition] = {}
        for domain in self.domains:
            for command, definition in domain.commands():
                self._add_taker(command, definition)
        self._refuse_untaken()
        self._names: dict[type, str] = {}
        self._classes: dict[str, type[Message]] = {}
        self._event_codecs: dict[str, Codec[Event]] = {}
        self._command_codecs: dict[str, Codec[Command]] = {}
        for cls, owner in self._owners().items():
            self._add_name(cls, owner)
        self._by_name = {one.name: one for one in self.processes.values()}
        for domain in self.domains:
            for cls, name in domain.externals.items():
                # Read with this class only where the domain that makes the event is not here.
                self._event_codecs.setdefault(name, codec_of(cls))
                self._names.setdefault(cls, name)
        for process in self.processes.values():
            self.categories_of(process)
        self._by_category = {
            definition.category: definition for definition in self.aggregates.values()
        }

    # Looking things up

    def name_of(self, cls: type[Message], definition: ProcessDefinition | None = None) -> str:
        """The wire name of a message class.

        Args:
            cls: the class
            definition: of the process manager that uses it, if it is one that may know it as an
                event of another domain

        Raises:
            UnknownMessage: no domain knows it

        """
        if definition is not None and cls in definition.externals:
            return definition.externals[cls]
        name = self._names.get(cls)
        if (
            name is None
            and issubclass(cls, Event)
            and (cls.__wire_name__ or len(self.domains) == 1)
        ):
            # An event that nobody here handles or makes can still be published and read.
            self._add_name(cls, self.domains[0].name)
            name = self._names[cls]
        if name is None:
            raise UnknownMessage(
                f"{cls.__qualname__} is not known here; register it in its domain: "
                f"`{self._some_domain()}.register({cls.__name__})`"
            )
        return name

    def process_named(self, name: str) -> ProcessDefinition | None:
        """The process manager of that name."""
        return self._by_name.get(name)

    def categories_of(self, definition: ProcessDefinition) -> frozenset[str] | None:
        """The categories that a process manager listens to; None for all.

        Raises:
            DefinitionError: it names an aggregate that is in no domain here

        """
        if not definition.streams:
            return None
        found: set[str] = set()
        for stream in definition.streams:
            if isinstance(stream, str):
                found.add(stream)
            elif stream in self.aggregates:
                found.add(self.aggregates[stream].category)
            else:
                raise DefinitionError(
                    f"{definition.cls.__qualname__}: streams names {stream.__qualname__}, which is "
                    f"in no domain of this runtime; register it"
                )
        return frozenset(found)

    def load_event(self, record: EventRecord) -> Event:
        """A copy of a stored event for one reader, to do with as it likes.

        Raises:
            InvalidMessage: what is stored does not fit the class

        """
        codec = self._event_codecs.get(record.type)
        if codec is None:
            return UnknownEvent(record.type, codec_of(dict).load(record.data))
        return codec.load(record.data)

    def load_command(self, name: str, packed: bytes) -> Command:
        """A copy of a stored command.

        Raises:
            InvalidMessage: what is stored does not fit the class

        """
        codec = self._command_codecs.get(name)
        if codec is None:
            return UnknownCommand(name, codec_of(dict).load(packed))
        return codec.load(packed)

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

    def aggregate_of(self, stream: str) -> AggregateDefinition | None:
        """The aggregate whose stream that is."""
        return self._by_category.get(category_of(stream))

    def process(self, cls: type[ProcessManager]) -> ProcessDefinition:
        """The definition of a process manager.

        Raises:
            UnknownMessage: no domain here has it

        """
        definition = self.processes.get(cls)
        if definition is None:
            raise UnknownMessage(f"{self._unregistered(cls)}")
        return definition

    def aggregate(self, cls: type[Aggregate]) -> AggregateDefinition:
        """The definition of an aggregate.

        Raises:
            UnknownMessage: no domain here has it

        """
        definition = self.aggregates.get(cls)
        if definition is None:
            raise UnknownMessage(f"{self._unregistered(cls)}")
        return definition

    def _unregistered(self, cls: type) -> str:
        return (
            f"{cls.__qualname__} is in no domain of this runtime; "
            f"register it: `{self._some_domain()}.register({cls.__name__})`"
        )

    def _some_domain(self) -> str:
        return self.domains[0].name if self.domains else "domain"

    # Putting it together

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
            for cls in (*domain.processes, *domain.aggregates):
                homes = [d.name for d in self.domains if cls in d.processes or cls in d.aggregates]
                if len(homes) > 1:
                    raise DefinitionError(
                        f"{cls.__qualname__} is in the domains {' and '.join(homes)} of one "
                        f"runtime; every event would be handled twice, so register it in one"
                    )

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

    def _owners(self) -> dict[type[Message], str]:
        """Which domain each message belongs to.

        A command belongs to the aggregate that takes it, an event to the one that makes it. What
        nobody makes belongs where it was registered, or to the only domain that handles it.
        """
        owners: dict[type[Message], str] = {}
        for domain in self.domains:
            for message in domain.messages:
                self._own(owners, message, domain.name, "registered")
        made: dict[type[Message], str] = {}
        for domain in self.domains:
            for aggregate in domain.aggregates.values():
                for event in aggregate.events:
                    if event not in owners:
                        self._own(made, event, domain.name, "made")
                for command in aggregate.handlers:
                    made.setdefault(command, domain.name)
        owners = made | owners
        handled: dict[type[Message], str] = {}
        for domain in self.domains:
            for process in domain.processes.values():
                for event in process.events():
                    if event not in owners and event not in process.externals:
                        self._own(handled, event, domain.name, "handled")
        return handled | owners

    def _own(
        self, owners: dict[type[Message], str], cls: type[Message], domain: str, how: str
    ) -> None:
        other = owners.setdefault(cls, domain)
        if other != domain and cls.__wire_name__ is None:
            raise DefinitionError(
                f"{cls.__qualname__} is {how} in the domains {other} and {domain}, so its wire "
                f"name is not clear; say whose it is with `{other}.register({cls.__name__})`, or "
                f'give it `name="{other}.{cls.__name__}.v{cls.__wire_version__}"`'
            )

    def _add_name(self, cls: type[Message], domain: str) -> None:
        name = cls.__wire_name__ or f"{domain}.{cls.__name__}.v{cls.__wire_version__}"
        other = self._classes.setdefault(name, cls)
        if other is not cls:
            raise DefinitionError(
                f"{cls.__module__}.{cls.__qualname__} and {other.__module__}."
                f"{other.__qualname__} have the same wire name {name}; rename one, or give it a "
                f"version"
            )
        try:
            codec: Codec[Any] = codec_of(cls)
        except Exception as error:
            raise DefinitionError(
                f"{cls.__module__}.{cls.__qualname__}: an annotation cannot be used: {error}"
            ) from error
        self._names[cls] = name
        if issubclass(cls, Event):
            self._event_codecs[name] = codec
        elif issubclass(cls, Command):
            self._command_codecs[name] = codec
