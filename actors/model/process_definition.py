"""A process manager class, read once and checked."""

from __future__ import annotations

import inspect
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from ..authoring.completed import Completed
from ..authoring.decorators import (
    Handler,
    check_method,
    handlers_of,
    methods_of,
    refuse_async,
)
from ..authoring.marks import refuse_overridden
from ..authoring.process_manager import LONGEST_NAME, ProcessManager, UnitOfWork, state_type_of
from ..errors import DefinitionError, InvalidMessage, shown
from ..messages.identifiers import composite_id, fitting_id, id_of
from ..messages.types import Command, Event
from ..store import InvalidName, check_name
from .base_classes import derived_beside, refuse_unheard
from .code_scan import classes_named_in, may_assign
from .correlation import Correlation, key_of
from .fingerprint import fingerprint_of
from .lifetimes import check_retention
from .options import check_retry, check_version
from .streams import check_streams
from .upcasting import Chain, check_chain, check_upcaster

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ..authoring.aggregate import Aggregate
    from ..authoring.retry import Retry
    from ..store import TransitionRecord

__all__ = ["ProcessDefinition"]

HOLD_FOR = timedelta(minutes=1)
"""How long an event is held whose learnt key no instance has, unless the class says otherwise."""

LONGEST_HOLD = timedelta(days=36_500)


class ProcessDefinition:
    """What a process manager class says.

    Args:
        cls: the class
        domain: the name of the domain it is registered in
        externals: event classes that stand for events of other domains, with their wire names

    Raises:
        DefinitionError: it cannot work as it is written

    """

    def __init__(
        self, cls: type[ProcessManager], domain: str, externals: Mapping[type, str] | None = None
    ) -> None:
        self.cls = cls
        self.name = cls.__procession_name__ or f"{domain}.{cls.__name__}"
        self.externals = externals if externals is not None else {}
        options = cls.__procession_options__
        self.idle_timeout: timedelta | None = options.get("idle_timeout")
        self.retention: timedelta | None = options.get("retention")
        self.early: str = options.get("early", "skip")
        self.unmatched: str = options.get("unmatched", "hold")
        self.hold_for: timedelta = options.get("hold_for", HOLD_FOR)
        self.late: str = options.get("late", "skip")
        self.restart: bool = options.get("restart", False)
        self.begins: Literal["origin", "now"] | datetime | None = options.get("begin")
        self.stateless: bool = options.get("stateless", False)
        self.retry: Retry | None = options.get("retry")
        self.streams: list[str | type[Aggregate]] = list(options.get("streams", ()))
        refuse_overridden(cls, ProcessManager)
        self.state = state_type_of(cls)
        self.state_version: int = options.get("version", 1)
        self.handlers: dict[type, Handler] = dict(handlers_of(cls, ProcessManager, "handle"))
        self.timeouts: dict[str, Handler] = handlers_of(cls, ProcessManager, "timeout")
        self.rejections: dict[type, Handler] = handlers_of(cls, ProcessManager, "rejected")
        self.effects: dict[type, Handler] = handlers_of(cls, ProcessManager, "after")
        self.endings: dict[None, Handler] = handlers_of(cls, ProcessManager, "ended")
        """The method that runs when an operator ends an instance, if there is one."""
        if len(self.name.encode()) > LONGEST_NAME:
            raise InvalidName(f"{self.name}: a name has at most {LONGEST_NAME} bytes; shorten it")
        check_name("process name", self.name)
        self._check_options(options)
        self._chain = self._chain_of_states()
        self._check_names()
        self._check_handlers()
        self._check_methods()
        self._check_on_error()
        if self.stateless:
            self._check_stateless(options)
        else:
            self._check_starts()
        default = options.get("correlate")
        self.correlations: dict[type, Correlation] = {}
        if not self.stateless:
            for event, handler in {**self.effects, **self.handlers}.items():
                self.correlations[event] = Correlation(cls, self.state, handler, default)
        self._check_unmatched(options)
        self.key = self._composite_key(default)
        """The fields that name an instance together; none if one is enough."""
        methods = methods_of(cls, ProcessManager).values()
        self.commands = classes_named_in(methods, Command, of=cls)
        self._check_base_classes()
        self.teachers = frozenset(
            event
            for event, handler in self.handlers.items()
            if self.state.indexed and self._may_teach(event, handler)
        )
        """The events whose handlers may set a learnt key."""
        self._fingerprint: bytes | None = None

    def id_of(self, value: object) -> str:
        """The id of an instance, as a caller names it.

        By what `id_of` takes; by a tuple, where several fields name it; or by the id of an event
        that is handled by itself.

        Raises:
            InvalidMessage: it cannot name an instance
            InvalidName: it is empty or too long

        """
        where = f"for {self.cls.__name__}"
        if self.key and issubclass(type(value), tuple):
            parts: tuple[object, ...] = tuple(value)  # type: ignore[arg-type]
            if len(parts) != len(self.key):
                raise InvalidMessage(
                    f"id {where}: {shown(parts)} has {len(parts)} parts; its instances are named "
                    f"by {', '.join(self.key)}"
                )
            return composite_id(parts, where)
        if self.stateless and isinstance(value, str):
            # The id of an event in a stream with a long name may be too long for an instance.
            value = fitting_id(value)
        return id_of(value, where)

    def begin(self, instance: str, event: Event) -> ProcessManager:
        """A new instance, whose fields that `correlate` names are set from its id.

        Raises:
            InvalidMessage: the id fits one of them not

        """
        made = self.made_of(instance, 0, self.state.fresh())
        if not self.stateless:
            for own, value in self.correlations[type(event)].own_fields(event, instance):
                setattr(made, own, value)
        return made

    def restore(
        self, instance: str, version: int, state: bytes, state_version: int
    ) -> ProcessManager:
        """An instance as its newest transition left it.

        Args:
            instance: its id
            version: of that transition
            state: its fields
            state_version: the version of the class that wrote them

        Raises:
            UnknownMessage: nothing turns a state of that version into one of today's
            InvalidMessage: the state does not fit the class

        """
        return self.made_of(instance, version, self._load(state, state_version))

    def made_of(self, instance: str, version: int, values: dict[str, Any]) -> ProcessManager:
        """An instance whose fields are at hand; they are its own from then on."""
        made = self.cls.__new__(self.cls)
        made._unit = UnitOfWork(instance, version, self.name)  # noqa: SLF001 - a friend
        made.__dict__ = values  # type: ignore[misc] # a user's class has one
        return made

    def state_of(self, record: TransitionRecord) -> dict[str, Any]:
        """The fields that a transition left, as the class has them today.

        Raises:
            UnknownMessage: nothing turns a state of that version into one of today's
            InvalidMessage: the state does not fit the class

        """
        return self._load(record.state, record.state_version)

    @property
    def readable_states(self) -> list[str]:
        """The names of states that the class reads, by their versions; the last one it writes."""
        versions = range(self._chain.oldest, self.state_version + 1)
        return [f"{self.name}.state.v{version}" for version in versions]

    def _load(self, state: bytes, version: int) -> dict[str, Any]:
        if version != self.state_version:
            state = self._chain.lift(state, version)
        return self.state.load(state)

    @property
    def fingerprint(self) -> bytes:
        """What tells this version of the class from others that may decide something else.

        It is worked out once, since each partition that is opened asks for it. A cached property
        would give the definition a dictionary, and each step looks at its attributes.
        """
        if self._fingerprint is None:
            self._fingerprint = self._worked_out_fingerprint()
        return self._fingerprint

    def _worked_out_fingerprint(self) -> bytes:
        handlers = (
            *self.handlers.values(),
            *self.timeouts.values(),
            *self.rejections.values(),
            *self.endings.values(),
        )
        said = [f"{self.early} {self.restart} {self.stateless} {self.state_version}"]
        for one in handlers:
            named = getattr(one.subject, "__qualname__", one.subject)
            said.append(f"{named} by {one.name} {one.start} {one.end}")
        said += [
            f"{event.__qualname__} for {self.correlations[event].describe()}"
            for event in self.handlers
            if event in self.correlations
        ]
        options = self.cls.__procession_options__
        said += [f"of {one if isinstance(one, str) else one.__qualname__}" for one in self.streams]
        functions: list[Any] = [options.get("correlate")]
        for one in (*handlers, *self.upcasters.values()):
            functions += [one.function, one.correlate]
        called = [one for one in functions if callable(one)]
        return fingerprint_of(self.cls, self.state, called, said)

    @property
    def naming_fields(self) -> frozenset[str]:
        """The fields that say which instance it is, set when it starts."""
        return frozenset(name for one in self.correlations.values() for name in one.sets)

    def events(self) -> Iterable[type]:
        """Every event class that it handles or acts after."""
        return dict.fromkeys((*self.handlers, *self.effects))

    def _check_unmatched(self, options: dict[str, Any]) -> None:
        """What is said of events by a learnt key is of use only where there are any."""
        if any(one.learnt for one in self.correlations.values()):
            return
        for option in ("unmatched", "hold_for"):
            if option in options:
                raise DefinitionError(
                    f"{self.cls.__qualname__}: {option}={options[option]!r} is for events that "
                    f"find their instances by a learnt key, and none does; remove it, or "
                    f"correlate a handler by a field that is `Indexed`"
                )

    def _composite_key(self, default: object) -> tuple[str, ...]:
        """The key of the class; where the handlers say it themselves, they agree on it."""
        found = {one.key: one.where for one in self.correlations.values() if one.key}
        for key, where in list(found.items())[1:]:
            first = next(iter(found))
            if key != first:
                raise DefinitionError(
                    f"{where} names instances by {', '.join(key)}, and {found[first]} by "
                    f"{', '.join(first)}; give the class one `correlate=`, and map its fields in "
                    f"the handlers"
                )
        return key_of(default) or next(iter(found), ())

    def _may_teach(self, event: type, handler: Handler) -> bool:
        sets = self.correlations[event].sets
        if handler.start and (self.early == "hold" or any(o in self.state.indexed for o in sets)):
            # What was held is handled with it, or it sets the key itself.
            return True
        return may_assign(
            [handler.function], self.state.indexed, changed=self.state.holding_many, of=self.cls
        )

    def _check_options(self, options: dict[str, Any]) -> None:
        where = self.cls.__qualname__
        begin = options.get("begin", "now")
        if isinstance(begin, datetime):
            if begin.utcoffset() is None:
                raise DefinitionError(f"{where}: begin={begin!r} has no time zone; add tzinfo=UTC")
        elif not isinstance(begin, str) or begin not in {"origin", "now"}:
            raise DefinitionError(
                f'{where}: begin={shown(begin)}; give "origin", "now" or a datetime with a zone'
            )
        if self.early not in {"skip", "hold", "park"}:
            raise DefinitionError(f'{where}: early={self.early!r}; give "skip", "hold" or "park"')
        if self.unmatched not in {"skip", "hold", "park"}:
            raise DefinitionError(
                f'{where}: unmatched={self.unmatched!r}; give "skip", "hold" or "park"'
            )
        if self.late not in {"skip", "park"}:
            raise DefinitionError(f'{where}: late={self.late!r}; give "skip" or "park"')
        check_retention(self.cls, self.retention)
        hold_for: object = self.hold_for
        if not isinstance(hold_for, timedelta) or not timedelta(0) < hold_for <= LONGEST_HOLD:
            raise DefinitionError(
                f"{where}: hold_for={hold_for!r}; give a timedelta above 0, of at most "
                f"{LONGEST_HOLD.days} days, such as timedelta(minutes=5)"
            )
        if "hold_for" in options and self.unmatched != "hold":
            raise DefinitionError(
                f"{where}: hold_for says how long events are held, and "
                f"unmatched={self.unmatched!r} holds none; remove one of the two"
            )
        if self.retry is not None:
            check_retry(self.cls, self.retry)
        check_version(self.cls, self.state_version, "fields")
        check_streams(where, self.streams, is_given="streams" in options)

    def _check_names(self) -> None:
        """No method of the user's stands in the place of one of ours."""
        for body in self.cls.__mro__:
            if body in ProcessManager.__mro__:
                continue
            for name in body.__dict__:
                is_ours = name in ProcessManager.__dict__ and not name.startswith("__")
                if name == "__init__":
                    raise DefinitionError(
                        f"{self.cls.__qualname__}.__init__ would not run when an instance is read "
                        f"from its log; give fields their defaults in the class body"
                    )
                if is_ours and name != "on_error":
                    raise DefinitionError(
                        f"{self.cls.__qualname__}.{name}: ProcessManager has a {name!r} of its "
                        f"own, which would be gone; choose another name for the method"
                    )

    def _check_methods(self) -> None:
        """Every marked method can be called, and has done its work when it returns."""
        for arguments, handlers in (
            (("event",), self.handlers.values()),
            (("event",), self.effects.values()),
            ((), self.timeouts.values()),
            (("command", "reason"), self.rejections.values()),
            (("reason",), self.endings.values()),
        ):
            for handler in handlers:
                check_method(self.cls, handler, *arguments)
                if inspect.isgeneratorfunction(inspect.unwrap(handler.function)):
                    raise DefinitionError(
                        f"{self.cls.__qualname__}.{handler.name} has a `yield`, so calling it "
                        f"would do nothing; call self.issue(...) for each command instead"
                    )

    def _check_base_classes(self) -> None:
        for handlers in (self.handlers, self.effects):
            refuse_unheard(self.cls, handlers, derived_beside(handlers))
        refuse_unheard(self.cls, self.rejections, self.commands)

    def _check_on_error(self) -> None:
        where = f"{self.cls.__qualname__}.on_error"
        refuse_async(where, self.cls.on_error)
        if inspect.isgeneratorfunction(inspect.unwrap(self.cls.on_error)):
            raise DefinitionError(
                f"{where} has a `yield`, so calling it would do nothing; return what becomes of "
                f"the error"
            )

    def _chain_of_states(self) -> Chain:
        """What turns states of older versions into today's."""
        where = self.cls.__qualname__
        self.upcasters = upcasters = dict[int, Handler]()
        for subject, upcaster in handlers_of(self.cls, ProcessManager, "upcast").items():
            if subject.name:
                raise DefinitionError(
                    f"{where}.{upcaster.name}: @upcast({subject}) names a message; in a class, "
                    f"write `@upcast(from_version={subject.from_version})` for its state, or "
                    f"move the function out and register it in a domain"
                )
            check_upcaster(f"{where}.", upcaster)
            upcasters[subject.from_version] = upcaster
        add = f"`@upcast(from_version={{}})` in {where}"
        check_chain(f"the state of {where}", {self.state_version}, upcasters, add)
        return Chain(f"the state of {where}", self.state_version, upcasters, f"write {add}")

    def _check_handlers(self) -> None:
        where = self.cls.__qualname__
        if not self.handlers and not self.effects:
            raise DefinitionError(
                f"{where} handles nothing; mark a method with @handle(SomeEvent, start=True)"
            )
        for event, handler in self.handlers.items():
            if not issubclass(event, Event):
                raise DefinitionError(
                    f"{where}.{handler.name}: a process manager handles events, and "
                    f"{event.__name__} is a command; handle it in an aggregate"
                )
        for event, handler in {**self.effects, **self.handlers}.items():
            if event is Completed:
                raise DefinitionError(
                    f"{where}.{handler.name}: Completed does not say of which process manager; "
                    f"write for example `@{'handle' if event in self.handlers else 'after'}"
                    f"(Completed[Fulfilment])`"
                )
        for handler in handlers_of(self.cls, ProcessManager, "apply").values():
            raise DefinitionError(
                f"{where}.{handler.name}: @apply belongs to aggregates; "
                f"use @handle({handler.subject.__name__}) here"
            )

    def _check_starts(self) -> None:
        if not self.handlers:
            first = next(iter(self.effects.values()))
            raise DefinitionError(
                f"{self.cls.__qualname__} has no @handle method, so no instance would ever begin, "
                f"and {first.name} would never run; give it `stateless=True`, or write "
                f"`@handle({first.subject.__name__}, start=True)`"
            )
        if self.handlers and not any(handler.start for handler in self.handlers.values()):
            first = next(iter(self.handlers.values()))
            raise DefinitionError(
                f"{self.cls.__qualname__} has no handler with start=True, so no instance would "
                f"ever begin; write for example `@handle({first.subject.__name__}, start=True)` "
                f"on {first.name}"
            )

    def _check_stateless(self, options: dict[str, Any]) -> None:
        where = self.cls.__qualname__
        for handler in self.handlers.values():
            if handler.start or handler.end or handler.correlate is not None:
                raise DefinitionError(
                    f"{where}.{handler.name}: a stateless process manager handles each event by "
                    f"itself; remove start, end and correlate"
                )
        wrong = (
            ("correlate=", "correlate" in options),
            (f"the field {next(iter(self.state.fields), '')!r}", bool(self.state.fields)),
            ("@timeout", bool(self.timeouts)),
            ("@rejected", bool(self.rejections)),
            ("@ended", bool(self.endings)),
            ("early=", "early" in options),
            ("unmatched=", "unmatched" in options),
            ("hold_for=", "hold_for" in options),
            ("late=", "late" in options),
            ("restart=", self.restart),
            ("version=", "version" in options),
        )
        for what, is_there in wrong:
            if is_there:
                raise DefinitionError(
                    f"{where} is stateless, and has {what}; remove it, or `stateless=True`"
                )
