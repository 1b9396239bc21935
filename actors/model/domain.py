"""A bounded context: which classes belong to it, and whether they fit together."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeVar, overload
from weakref import WeakSet

from ..authoring.aggregate import Aggregate
from ..authoring.decorators import Handler, upcasters_of
from ..authoring.process_manager import ProcessManager
from ..authoring.projection import Projection
from ..errors import DefinitionError
from ..messages.codec import codecs
from ..messages.fields import are_names_known
from ..messages.types import WIRE_NAME, Command, Event, Message
from ..store import open_store
from .aggregate_definition import AggregateDefinition
from .beginnings import begun_at, handled_in, mend_for
from .code_ages import older_in
from .design_finding import DesignFinding
from .design_rules import findings_in
from .diagram import mermaid_of
from .process_definition import ProcessDefinition
from .projection_definition import ProjectionDefinition
from .registry import Registry
from .upcasting import check_upcaster

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["Domain"]

C = TypeVar("C", bound="Callable[..., Any]")
P = TypeVar("P", bound="type[Projection]")

_NAME = re.compile(r"\w+")


class Domain:
    """A bounded context, and the aggregates, process managers, projections and messages in it.

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
        self.projections: dict[type[Projection], ProjectionDefinition] = {}
        self.messages: set[type[Message]] = set()
        """Events and commands that were registered by themselves."""
        self.externals: dict[type[Event], str] = {}
        """Classes that stand for events of other domains, and those events' wire names."""
        self.upcasters: dict[str, Handler] = {}
        """What turns old payloads into those of the next version, by the old wire names."""
        self._open: WeakSet[object] = WeakSet()

    def __repr__(self) -> str:
        return f"Domain({self.name!r})"

    @overload
    def register(self, cls: C, /) -> C: ...

    @overload
    def register(self, cls: Callable[..., Any], /, *classes: Callable[..., Any]) -> None: ...

    def register(self, cls: C, /, *classes: Callable[..., Any]) -> C | None:
        """Add aggregates, process managers, projections, upcasters, and messages of this domain.

        Of several domains in one runtime, the one that registers a message owns it: the message's
        wire name begins with that domain's name. What an aggregate takes or applies is its
        domain's without being registered.

        Also a decorator. Registering a class again changes nothing. While a runtime runs the
        domain, nothing more can be registered: the runtime would not know of it.

        Args:
            cls: a subclass of `Aggregate`, `ProcessManager`, `Projection`, `Event` or `Command`, or
                a function that `upcast` marks
            classes: more of them

        Returns:
            the class, when it is one

        Raises:
            DefinitionError: a class cannot work as it is written, or a runtime runs the domain;
                none of them was registered

        """
        before = (
            self.aggregates.copy(),
            self.processes.copy(),
            self.projections.copy(),
            self.messages.copy(),
            self.upcasters.copy(),
        )
        try:
            every: tuple[object, ...] = (cls, *classes)
            for one in every:
                self._register(one)
        except BaseException:
            self.aggregates, self.processes, self.projections = before[:3]
            self.messages, self.upcasters = before[3:]
            raise
        return None if classes else cls

    def projection(self, cls: P, /) -> P:
        """Add a projection; a decorator.

        Raises:
            DefinitionError: it is none, it cannot work as it is written, or a runtime runs the
                domain

        """
        given: object = cls
        if not (isinstance(given, type) and issubclass(given, Projection)):
            raise DefinitionError(f"{cls!r} is no Projection; derive it from Projection")
        return self.register(cls)

    def register_external_event(self, cls: type[Event], name: str) -> None:
        """Use a class of this domain for an event that another domain makes.

        Fields that the class does not have are ignored; one that the event does not have parks
        it. Call it before the process managers that handle the class are registered.

        Args:
            cls: our class for the event, with the fields that are of interest here
            name: the event's wire name, such as ``"Billing.PaymentReceived.v1"``

        Raises:
            DefinitionError: the name is no wire name, one of the two is taken, or a runtime runs
                the domain

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
        if cls not in self.externals:
            self._refuse_while_open(cls.__name__)
        _refuse_unfit_messages(cls)
        self.externals[cls] = name

    def opened_by(self, runtime: object) -> None:
        """Take no more classes while a runtime, which has read those that are here, is open."""
        self._open.add(runtime)

    def closed_by(self, runtime: object) -> None:
        """Take classes again; it is no error if the runtime was never opened."""
        self._open.discard(runtime)

    def _refuse_while_open(self, name: str) -> None:
        if self._open:
            raise DefinitionError(
                f"{name} is registered in {self.name} while a runtime runs that domain, which was "
                f"put together when it was opened and would never call it; register it before the "
                f"runtime is opened, or close the runtime first"
            )

    def check(
        self, store: str | os.PathLike[str] | None = None, *, beside: Iterable[Domain] = ()
    ) -> list[DesignFinding]:
        """Look for what is wrong or doubtful in the design, though it can be registered.

        Call it once everything is registered, as a test does: ``assert shop.check() == []``.

        Args:
            store: the folder of a store, beside its writer or without one: then it is also found
                which process managers have instances there that an older code decided, and which
                are new to it and do not say where they begin
            beside: the other domains of the runtime, where this one needs their classes

        Returns:
            the findings, by place; each says where it is, what is there and what to do

        Raises:
            StoreError: there is no store in that folder, or it cannot be opened

        """
        from_outside = self.messages | self.externals.keys()
        findings = findings_in(
            self.name, self.aggregates.values(), self.processes.values(), from_outside
        )
        if store is not None:
            findings += self._decided_by_older_code(store)
            findings += self._without_begin(store, beside)
            findings.sort(key=lambda one: (one.place, one.code, one.message))
        return findings

    def _decided_by_older_code(self, store: str | os.PathLike[str]) -> Iterator[DesignFinding]:
        for definition in self.processes.values():
            count, first = older_in(store, definition)
            if count:
                name = definition.cls.__name__
                yield DesignFinding(
                    "older-code",
                    definition.cls.__qualname__,
                    f"{count} instances were decided by older code, such as {first!r}",
                    f"if today's code would decide otherwise, call runtime.rebuild({name})",
                )

    def _without_begin(
        self, path: str | os.PathLike[str], beside: Iterable[Domain]
    ) -> Iterator[DesignFinding]:
        with open_store(path, read_only=True) as store:
            new = [
                definition
                for definition in self.processes.values()
                if definition.begins is None and begun_at(store, definition.name) is None
            ]
            if not (new and store.last_position()):
                return
            try:
                registry = Registry((self, *beside))
            except DefinitionError as error:
                for definition in new:
                    yield DesignFinding(
                        "begin-undecided",
                        definition.cls.__qualname__,
                        f"is new to the store, and this domain alone does not tell how many events "
                        f"the store holds that it handles: {error}",
                        f"call check(store, beside=[...]) with the other domains of the runtime; "
                        f"or {mend_for(definition)}",
                    )
                return
            for definition in new:
                count = handled_in(store, registry, definition)
                if count:
                    yield DesignFinding(
                        "begin-undecided",
                        definition.cls.__qualname__,
                        f"is new to the store, which holds {count:,} events that it handles, and "
                        f"does not say where it begins, so the store would not be opened",
                        mend_for(definition),
                    )

    def graph(self) -> str:
        """Draw who listens to what and issues what.

        Returns:
            a Mermaid flowchart; the same design gives the same text

        """
        return mermaid_of(
            self.aggregates.values(),
            self.processes.values(),
            self.messages,
            self.projections.values(),
        )

    def commands(self) -> Iterator[tuple[type, AggregateDefinition]]:
        """Every command that an aggregate of this domain takes."""
        for definition in self.aggregates.values():
            for command in definition.handlers:
                yield command, definition

    def _register(self, cls: object) -> None:
        if not isinstance(cls, type):
            upcasters = upcasters_of(cls)
            if not upcasters:
                raise DefinitionError(
                    f"{cls!r} is no class; register the class itself, or a function below @upcast"
                )
            for upcaster in upcasters:
                self._add_upcaster(upcaster)
            return
        if issubclass(cls, Aggregate):
            if cls not in self.aggregates:
                self._refuse_while_open(cls.__qualname__)
                aggregate = AggregateDefinition(cls, self.name)
                _refuse_unfit_messages(*aggregate.handlers, *aggregate.makes)
                self._add_aggregate(aggregate)
        elif issubclass(cls, ProcessManager):
            if cls not in self.processes:
                self._refuse_while_open(cls.__qualname__)
                process = ProcessDefinition(cls, self.name, self.externals)
                _refuse_unfit_messages(*process.events(), *process.rejections, *process.commands)
                self._add_process(process)
        elif issubclass(cls, Projection):
            if cls not in self.projections:
                self._refuse_while_open(cls.__qualname__)
                projection = ProjectionDefinition(cls, self.name, self.externals)
                _refuse_unfit_messages(*projection.handlers)
                self._refuse_taken_name(projection.name)
                self.projections[cls] = projection
        elif issubclass(cls, (Event, Command)):
            if cls not in self.messages:
                self._refuse_while_open(cls.__qualname__)
            _refuse_unfit_messages(cls)
            self.messages.add(cls)
        else:
            raise DefinitionError(
                f"{cls.__qualname__} is no Aggregate, ProcessManager, Projection, Event or "
                f"Command; derive it from one of these"
            )

    def _add_upcaster(self, new: Handler) -> None:
        subject = new.subject
        where = new.function.__qualname__
        if not subject.name:
            raise DefinitionError(
                f"{where}: @upcast({subject}) does not say whose payloads it takes; write for "
                f'example `@upcast("OrderPlaced", {subject})`'
            )
        check_upcaster("", new)
        name = subject.name
        if not WIRE_NAME.fullmatch(name):
            name = f"{self.name}.{name}.v{subject.from_version}"
        if name not in self.upcasters:
            self._refuse_while_open(where)
        other = self.upcasters.setdefault(name, new)
        if other.function is not new.function:
            raise DefinitionError(
                f"{other.function.__qualname__} and {where} both upcast {name}; remove one"
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
        self._refuse_taken_name(new.name)
        self.processes[new.cls] = new

    def _refuse_taken_name(self, name: str) -> None:
        taken = {one.name for one in self.processes.values()}
        taken |= {one.name for one in self.projections.values()}
        if name in taken:
            raise DefinitionError(
                f"two classes are called {name}; rename one, since what is theirs is stored "
                f"under that name"
            )


def _refuse_unfit_messages(*classes: type) -> None:
    """Refuse messages that have a field which could not be stored.

    One whose annotations name what is defined further below is looked at when a runtime opens.

    Raises:
        DefinitionError: there is such a field

    """
    for cls in sorted(classes, key=lambda one: one.__qualname__):
        if are_names_known(cls):
            codecs[cls]
