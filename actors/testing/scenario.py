"""Scenarios: given what happened, when something happens, then this comes of it."""

from __future__ import annotations

from copy import copy
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, overload

from ..authoring.aggregate import Aggregate
from ..authoring.decorators import Due, Refused
from ..authoring.process_manager import ProcessManager
from ..clock import to_micros
from ..core.amending import checked
from ..core.stimuli import Amend, End
from ..engine.admin import person
from ..errors import Rejected, UnknownMessage
from ..messages.codec import codecs, dump, dump_headers
from ..messages.types import Command, Event
from ..model.domain import Domain
from ..model.plans import ProcessPlan
from ..model.registry import Registry
from .outcomes import AggregateOutcome, ProcessOutcome
from .rehearsal import Rehearsal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ..model.aggregate_definition import AggregateDefinition
    from ..model.process_definition import ProcessDefinition
    from .rehearsal import Happened

__all__ = ["Scenario"]

START = datetime(2000, 1, 1, tzinfo=UTC)

MAX_CHAIN = 1_000
"""As a runtime's, though only what is said happens, and no chain gets long."""


class _Ended(NamedTuple):
    """An operator ended the instance."""

    reason: str
    by: str | None
    compensates: bool

    def __repr__(self) -> str:
        return f"end(reason={self.reason!r})"


class _Amended(NamedTuple):
    """An operator gave fields of the instance other values."""

    fields: dict[str, Any]
    by: str | None

    def __repr__(self) -> str:
        return f"amend({', '.join(f'{name}={value!r}' for name, value in self.fields.items())})"


_What: TypeAlias = Event | Command | Due | Refused | _Ended | _Amended


class Scenario:
    """One process manager or aggregate, without a store, without threads, in microseconds.

    It runs the real code: what the runtime would refuse, raises here, and so does whatever a
    handler raises. A scenario never changes, so that one can be the beginning of many. Only what
    is said happens: nothing is carried out, tried again or due by itself.

    Args:
        what: domains, and the class if what happens does not tell which one is meant
        now: the time, with a zone, before any timeout

    Raises:
        DefinitionError: the domains do not fit together

    """

    def __init__(
        self, *what: Domain | type[ProcessManager | Aggregate], now: datetime = START
    ) -> None:
        if now.utcoffset() is None:
            raise ValueError(f"now={now!r} has no time zone; add tzinfo=UTC")
        domains = [one for one in what if isinstance(one, Domain)]
        classes = [one for one in what if not isinstance(one, Domain)]
        if not domains or len(classes) > 1:
            raise TypeError("Scenario takes domains, and at most one class that is meant")
        registered = tuple(
            (
                len(d.aggregates),
                len(d.processes),
                len(d.projections),
                len(d.messages),
                len(d.externals),
                len(d.upcasters),
            )
            for d in domains
        )
        self._registry = _registry_of(tuple(domains), registered)
        self._now = to_micros(now)
        self._happened: tuple[_What, ...] = ()
        # Of each of these, in order.
        self._headers: tuple[bytes | None, ...] = ()
        self._cls = classes[0] if classes else None

    def given(
        self, *happened: Event | Command | Due | Refused, headers: Mapping[str, Any] | None = None
    ) -> Scenario:
        """A scenario in which this happened as well, after what happened already.

        Args:
            happened: for a process manager, what `when` takes; for an aggregate, the events of
                its stream, or commands that it carried out
            headers: of the events among them, as for `when`

        """
        packed = dump_headers(headers)
        for one in happened:
            _check(one)
        return self._longer(happened, packed)

    def _longer(self, happened: Sequence[_What], packed: bytes | None = None) -> Scenario:
        longer = copy(self)
        # Its own kind:
        longer._happened = (*self._happened, *happened)  # noqa: SLF001
        longer._headers = (*self._headers, *[packed] * len(happened))  # noqa: SLF001
        return longer

    @overload
    def when(
        self, what: Command, *, headers: Mapping[str, Any] | None = None
    ) -> AggregateOutcome: ...

    @overload
    def when(
        self, what: Event | Due | Refused, *, headers: Mapping[str, Any] | None = None
    ) -> ProcessOutcome: ...

    def when(
        self, what: _What, *, headers: Mapping[str, Any] | None = None
    ) -> AggregateOutcome | ProcessOutcome:
        """Have something happen.

        Args:
            what: a command for an aggregate; an event for a process manager, or
                ``timeout("payment")``, or ``rejected(CreateShipment(...), reason="...")``
            headers: of an event or a command, as for `Runtime.ask`; a timeout has those of what
                set it, and a refusal those of what issued the command

        Returns:
            what came of it

        Raises:
            UnknownMessage: nothing here takes it
            ValueError: several process managers take it, and none is named; or headers are given
                of what has its own
            InvalidMessage: a message, a header or the state does not fit
            Exception: what a handler raised; a `Rejected` of an aggregate is an outcome

        """
        _check(what)
        packed = dump_headers(headers)
        if packed is not None and isinstance(what, Due | Refused):
            raise ValueError(
                f"{what!r} has the headers of what set it or issued the command; give them there"
            )
        if isinstance(what, Command):
            return self._decided(what, headers)
        return self._handled(what, headers)

    def end(self, reason: str, *, by: str | None = None, compensate: bool = True) -> ProcessOutcome:
        """Have an operator end the instance; as `Runtime.end`.

        Raises:
            UnknownInstance: none has started
            ValueError: several have, or several process managers are there, and none is named
            AlreadyEnded: it is complete
            InvalidMessage: `by` names no person
            Exception: what its `ended` method raised

        """
        return self._handled(_Ended(reason, person(by), compensate), None)

    def amend(
        self, fields: Mapping[str, Any] | None = None, /, *, by: str | None = None, **more: Any
    ) -> ProcessOutcome:
        """Have an operator give fields of the instance other values; as `Runtime.amend`.

        Raises:
            UnknownInstance: none has started
            ValueError: several have, or several process managers are there, and none is named
            InvalidMessage: a field is not there, says which instance it is, or cannot have that
                value; or `by` names no person

        """
        return self._handled(_Amended({**(fields or {}), **more}, person(by)), None)

    @property
    def timeouts(self) -> Iterable[str]:
        """The timeouts that there are."""
        return [
            name
            for cls, definition in self._registry.processes.items()
            if self._cls in {None, cls}
            for name in definition.timeouts
        ]

    # A process manager

    def _handled(
        self,
        what: Event | Due | Refused | _Ended | _Amended,
        headers: Mapping[str, Any] | None,
    ) -> ProcessOutcome:
        packed = dump_headers(headers)
        definition = self._process_for(what)
        plan = ProcessPlan(definition, self._registry, max_chain=MAX_CHAIN)
        rehearsal = Rehearsal(plan, self._now)
        for one, its_headers in zip(self._happened, self._headers, strict=True):
            if not self._happen(rehearsal, definition, one, its_headers) and isinstance(one, Due):
                raise ValueError(f"given {one!r}: no instance has set that timeout")
        before = len(rehearsal.changes)
        found = self._happen(rehearsal, definition, what, packed)
        changes = rehearsal.changes[before:]
        reasons = [
            (one.outcome, _REASONS[one.outcome].format(one.instance))
            for one in found
            if one.outcome != "transitions"
        ]
        if not found:
            is_due = isinstance(what, Due)
            reasons = [("nothing", _NOT_SET if is_due else _REASONS["not_for_us"])]
        reached = [one.instance for one in found if one.instance] or list(rehearsal.states)
        states = {
            name: definition.state.load(state.fields) if state.version else None
            for name in dict.fromkeys(reached)
            for state in (rehearsal.states[name],)
        }
        return ProcessOutcome(
            self._longer((what,), packed),
            definition.cls.__name__,
            what,
            rehearsal.time,
            changes,
            states,
            reasons,
        )

    def _happen(
        self,
        rehearsal: Rehearsal,
        definition: ProcessDefinition,
        what: _What,
        headers: bytes | None,
    ) -> list[Happened]:
        if not _handles(definition, what):
            raise UnknownMessage(
                f"{definition.cls.__qualname__} does not handle {_called(what)}, so nothing would "
                f"come of {what!r}; leave it out, or write a method for it"
            )
        if isinstance(what, Event):
            return rehearsal.publish(what, self._stream_of(definition, what), headers)
        if isinstance(what, Due):
            return rehearsal.fall_due(what.name)
        if isinstance(what, _Ended):
            return rehearsal.operate(End(what.reason, what.by, compensates=what.compensates))
        if isinstance(what, _Amended):
            return rehearsal.operate(Amend(checked(definition, what.fields), what.by))
        assert isinstance(what, Refused)
        return rehearsal.refuse(what.command, what.reason)

    def _process_for(self, what: _What) -> ProcessDefinition:
        if self._cls is not None:
            if not issubclass(self._cls, ProcessManager):
                raise UnknownMessage(
                    f"{self._cls.__qualname__} is an aggregate, and takes commands, not {what!r}"
                )
            return self._registry.process(self._cls)
        handling = [one for one in self._registry.processes.values() if _handles(one, what)]
        if not handling:
            raise UnknownMessage(
                f"no process manager here handles {_called(what)}; write one, and register it"
            )
        # What happened before may tell more.
        fitting = [one for one in handling if all(_handles(one, given) for given in self._happened)]
        found = fitting or handling
        if len(found) > 1:
            names = [one.cls.__qualname__ for one in found]
            raise ValueError(
                f"{_called(what)} is handled by {', '.join(names)}; name the one that is meant: "
                f"Scenario(..., {names[0]})"
            )
        return found[0]

    def _stream_of(self, definition: ProcessDefinition, event: Event) -> str:
        """A stream in which such an event might be, for `self.context`."""
        categories = self._registry.categories_of(definition)
        for maker in self._registry.aggregates.values():
            is_listened_to = categories is None or maker.category in categories
            if is_listened_to and type(event) in maker.makes:
                given = getattr(event, maker.identity, None)
                return f"{maker.category}-{given or 1}"
        return f"{min(categories) if categories else 'outside'}-1"

    # An aggregate

    def _decided(self, command: Command, headers: Mapping[str, Any] | None) -> AggregateOutcome:
        definition = self._aggregate_for(command)
        command = self._checked(command)
        stream = definition.stream_of(command)
        aggregate = self._loaded(definition, stream)
        made: list[Event] = []
        refusal: Rejected | None = None
        try:
            made = [event for event, *_ in definition.decide(aggregate, command)]
        except Rejected as error:
            # It may have applied some of what it was about to make.
            refusal, aggregate = error, self._loaded(definition, stream)
        for event in made:
            # It could not be stored without a name.
            self._registry.name_of(type(event))
        return AggregateOutcome(
            self.given(command, headers=headers),
            definition.cls.__name__,
            command,
            made,
            refusal,
            aggregate.__dict__,
        )

    def _aggregate_for(self, command: Command) -> AggregateDefinition:
        if self._cls is None:
            return self._registry.taker_of(type(command))
        if not issubclass(self._cls, Aggregate):
            raise UnknownMessage(
                f"{self._cls.__qualname__} is a process manager, and handles events, not "
                f"{command!r}"
            )
        return self._registry.aggregate(self._cls)

    def _loaded(self, definition: AggregateDefinition, stream: str) -> Aggregate:
        aggregate = definition.begin(stream)
        name = definition.cls.__qualname__
        for one in self._happened:
            if isinstance(one, Command):
                command = self._checked(one)
                if definition.stream_of(command) != stream:
                    raise ValueError(
                        f"given {one!r}: that is for {definition.stream_of(command)!r}, and this "
                        f"scenario is about {stream!r}"
                    )
                definition.decide(aggregate, command)
            elif isinstance(one, Event) and type(one) in definition.makes:
                definition.evolve(aggregate, codecs[type(one)].exchange(one)[1])
            else:
                raise UnknownMessage(
                    f"given {one!r}: no handler of {name} makes that, so it is not in its stream; "
                    f"leave it out"
                )
        return aggregate

    def _checked(self, command: Command) -> Command:
        """As the aggregate would get it."""
        name, _ = self._registry.address(command)
        data, shared = dump(command)
        return shared or self._registry.load_command(name, data)


@lru_cache(maxsize=32)
def _registry_of(domains: tuple[Domain, ...], registered: object) -> Registry:
    # Put together once for many scenarios, and again when more was registered.
    del registered
    return Registry(domains)


def _check(what: object) -> None:
    if not isinstance(what, Event | Command | Due | Refused):
        raise TypeError(
            f"{what!r} cannot happen in a scenario; give an event, a command, timeout(name), or "
            f"rejected(command, reason=...)"
        )


def _handles(definition: ProcessDefinition, what: _What) -> bool:
    if isinstance(what, Due):
        return what.name in definition.timeouts
    if isinstance(what, Refused):
        return type(what.command) in definition.rejections
    if isinstance(what, _Ended | _Amended):
        return True
    return type(what) in definition.handlers


def _called(what: _What) -> str:
    if isinstance(what, Due | _Ended | _Amended):
        return repr(what)
    if isinstance(what, Refused):
        return f"a rejected {type(what.command).__name__}"
    return type(what).__name__


_NOT_SET = "no instance has set that timeout"

_REASONS = {
    "skipped_early": "{!r} has not started",
    "held": "{!r} has not started, and it is held until then",
    "unmatched": "no instance has the learnt key that it names, and it is held until one has",
    "skipped_unmatched": "no instance has the learnt key that it names",
    "skipped_complete": "{!r} is complete",
    "not_for_us": "it names no instance",
}
