"""A bounded context: which classes belong to it, and whether they fit together."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeVar, overload

from .aggregate import Aggregate, AggregateDefinition
from .errors import DefinitionError
from .messages import WIRE_NAME, Command, Event, Message
from .process_definition import ProcessDefinition
from .process_manager import ProcessManager

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Domain"]

C = TypeVar("C", bound=type)

_NAME = re.compile(r"\w+")


class Domain:
    """A bounded context, and the aggregates, process managers and messages registered in it.

    Registering does nothing to a class, so one class may be registered in several domains, and
    several runtimes may use one domain.

    Args:
        name: letters, digits and ``_``; the part of wire names before the first dot

    Raises:
        DefinitionError: the name cannot be part of a wire name

    """

    def __init__(self, name: str) -> None:
        if not _NAME.fullmatch(name):
            raise DefinitionError(
                f"{name!r} is no name for a domain; use letters, digits and _ only"
            )
        self.name = name
        self.aggregates: dict[type[Aggregate], AggregateDefinition] = {}
        self.processes: dict[type[ProcessManager], ProcessDefinition] = {}
        self.messages: set[type[Message]] = set()
        """Events and commands that were registered by name, not found in handlers."""
        self.externals: dict[type[Event], str] = {}
        """Classes that stand for events of other domains, and those events' wire names."""

    def __repr__(self) -> str:
        return f"Domain({self.name!r})"

    @overload
    def register(self, cls: C, /) -> C: ...

    @overload
    def register(self, cls: type, /, *classes: type) -> None: ...

    def register(self, cls: C, /, *classes: type) -> C | None:
        """Add aggregates, process managers, and messages that no handler mentions.

        Also a decorator. Registering a class again changes nothing.

        Args:
            cls: a subclass of `Aggregate`, `ProcessManager`, `Event` or `Command`
            classes: more of them

        Returns:
            the class, when it is one

        Raises:
            DefinitionError: a class cannot work as it is written; none of them was registered

        """
        before = (self.aggregates.copy(), self.processes.copy(), self.messages.copy())
        try:
            every: tuple[type, ...] = (cls, *classes)
            for one in every:
                self._register(one)
        except BaseException:
            self.aggregates, self.processes, self.messages = before
            raise
        return None if classes else cls

    def register_external_event(self, cls: type[Event], name: str) -> None:
        """Use a class of this domain for an event that another domain makes.

        Fields that the class does not have are ignored; one that the event does not have parks
        it. Call it before the process managers that handle the class are registered.

        Args:
            cls: our class for the event, with the fields that are of interest here
            name: the event's wire name, such as ``"Billing.PaymentReceived.v1"``

        Raises:
            DefinitionError: the name is no wire name, or one of the two is taken

        """
        given: object = cls
        if not (isinstance(given, type) and issubclass(given, Event)):
            raise DefinitionError(f"{cls!r} is no Event; derive it from Event")
        if not WIRE_NAME.fullmatch(name):
            raise DefinitionError(
                f'{name!r} is no wire name; write it as "<Domain>.<Class>.v<version>"'
            )
        if self.externals.get(cls, name) != name:
            raise DefinitionError(
                f"{cls.__qualname__} stands for {self.externals[cls]} already; "
                f"use another class for {name}"
            )
        for other, taken in self.externals.items():
            if taken == name and other is not cls:
                raise DefinitionError(
                    f"{other.__qualname__} stands for {name} already; use that class"
                )
        self.externals[cls] = name

    def commands(self) -> Iterator[tuple[type, AggregateDefinition]]:
        """Every command that an aggregate of this domain takes."""
        for definition in self.aggregates.values():
            for command in definition.handlers:
                yield command, definition

    def _register(self, cls: type) -> None:
        if not isinstance(cls, type):
            raise DefinitionError(f"{cls!r} is no class; register the class itself")
        if issubclass(cls, Aggregate):
            if cls not in self.aggregates:
                self._add_aggregate(AggregateDefinition(cls, self.name))
        elif issubclass(cls, ProcessManager):
            if cls not in self.processes:
                self._add_process(ProcessDefinition(cls, self.name, self.externals))
        elif issubclass(cls, (Event, Command)):
            self.messages.add(cls)
        else:
            raise DefinitionError(
                f"{cls.__qualname__} is no Aggregate, ProcessManager, Event or Command; "
                f"derive it from one of these"
            )

    def _add_aggregate(self, new: AggregateDefinition) -> None:
        for command, other in self.commands():
            if command in new.handlers:
                raise DefinitionError(
                    f"{command.__name__} is taken by {other.cls.__qualname__}."
                    f"{other.handlers[command].name} and by {new.cls.__qualname__}."
                    f"{new.handlers[command].name}; a command goes to one aggregate, "
                    f"so give one of them a command of its own"
                )
        for other in self.aggregates.values():
            if other.category == new.category:
                raise DefinitionError(
                    f"{new.cls.__qualname__} and {other.cls.__qualname__} both have the category "
                    f"{new.category!r}; give one of them `category=`"
                )
        self.aggregates[new.cls] = new

    def _add_process(self, new: ProcessDefinition) -> None:
        for other in self.processes.values():
            if other.name == new.name:
                raise DefinitionError(
                    f"two process managers are called {new.name}; rename one, "
                    f"since its instances are stored under that name"
                )
        self.processes[new.cls] = new
