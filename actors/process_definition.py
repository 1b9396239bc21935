"""A process manager class, read once and checked."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from store import InvalidName, check_name

from .aggregate import Aggregate
from .correlation import Correlation
from .errors import DefinitionError
from .handlers import Handler, check_method, handlers_of, methods_of
from .messages import Command, Event
from .process_manager import Desk, ProcessManager, state_type_of
from .references import classes_named_in
from .retry import Retry

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import timedelta

__all__ = ["ProcessDefinition"]

LONGEST_NAME = 100
"""Bytes of a process manager's name, which is part of its instances' keys."""


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
        self.name = f"{domain}.{cls.__name__}"
        self.externals = externals if externals is not None else {}
        options = cls.__procession_options__
        self.idle_timeout: timedelta | None = options.get("idle_timeout")
        self.early: str = options.get("early", "skip")
        self.restart: bool = options.get("restart", False)
        self.stateless: bool = options.get("stateless", False)
        self.retry: Retry | None = options.get("retry")
        self.streams: list[str | type[Aggregate]] = list(options.get("streams", ()))
        self.state = state_type_of(cls)
        self.handlers: dict[type, Handler] = dict(handlers_of(cls, ProcessManager, "handle"))
        self.timeouts: dict[str, Handler] = handlers_of(cls, ProcessManager, "timeout")
        self.rejections: dict[type, Handler] = handlers_of(cls, ProcessManager, "rejected")
        self.effects: dict[type, Handler] = handlers_of(cls, ProcessManager, "after")
        if len(self.name.encode()) > LONGEST_NAME:
            raise InvalidName(f"{self.name}: a name has at most {LONGEST_NAME} bytes; shorten it")
        check_name("process name", self.name)
        self._check_options(options)
        self._check_names()
        self._check_handlers()
        self._check_methods()
        if self.stateless:
            self._check_stateless(options)
        else:
            self._check_starts()
        default = options.get("correlate")
        self.correlations: dict[type, Correlation] = {}
        if not self.stateless:
            for event, handler in {**self.effects, **self.handlers}.items():
                self.correlations[event] = Correlation(cls, self.state, handler, default)
        self.commands = classes_named_in(methods_of(cls, ProcessManager).values(), Command)

    def begin(self, instance: str, event: Event) -> ProcessManager:
        """A new instance, whose field that `correlate` names is set."""
        made = self.cls(instance)
        made._desk.name = self.name  # noqa: SLF001 - a friend
        if not self.stateless:
            own, value = self.correlations[type(event)].own_field(event, instance)
            if own in self.state.fields:
                setattr(made, own, value)
        return made

    def restore(self, instance: str, version: int, state: bytes) -> ProcessManager:
        """An instance as its newest transition left it."""
        made = self.cls.__new__(self.cls)
        made._desk = Desk(instance, version, self.name)  # noqa: SLF001 - a friend
        made.__dict__.update(self.state.load(state))
        return made

    def events(self) -> Iterable[type]:
        """Every event class that it handles or acts after."""
        return dict.fromkeys((*self.handlers, *self.effects))

    def _check_options(self, options: dict[str, Any]) -> None:
        where = self.cls.__qualname__
        if self.early not in {"skip", "hold", "park"}:
            raise DefinitionError(f'{where}: early={self.early!r}; give "skip", "hold" or "park"')
        if self.retry is not None and not isinstance(self.retry, Retry):
            raise DefinitionError(
                f"{where}: retry={self.retry!r}; give a Retry, such as `retry=Retry(attempts=3)`"
            )
        if "streams" in options and not self.streams:
            raise DefinitionError(
                f"{where}: streams is empty, so nothing would be listened to; name a category or "
                f"an aggregate class, or remove it to listen to all"
            )
        for stream in self.streams:
            is_class = isinstance(stream, type) and issubclass(stream, Aggregate)
            if not is_class and not isinstance(stream, str):
                raise DefinitionError(
                    f"{where}: streams has {stream!r}; give categories such as "
                    f'"ecommerce::order", or aggregate classes'
                )
            if isinstance(stream, str) and "-" in stream:
                raise DefinitionError(
                    f"{where}: streams has {stream!r}, which is one stream; give its category, "
                    f"{stream.partition('-')[0]!r}"
                )

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
        ):
            for handler in handlers:
                check_method(self.cls, handler, *arguments)
                if inspect.isgeneratorfunction(inspect.unwrap(handler.function)):
                    raise DefinitionError(
                        f"{self.cls.__qualname__}.{handler.name} has a `yield`, so calling it "
                        f"would do nothing; call self.issue(...) for each command instead"
                    )

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
        for handler in handlers_of(self.cls, ProcessManager, "apply").values():
            raise DefinitionError(
                f"{where}.{handler.name}: @apply belongs to aggregates; "
                f"use @handle({handler.subject.__name__}) here"
            )

    def _check_starts(self) -> None:
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
            ("early=", "early" in options),
            ("restart=", self.restart),
        )
        for what, is_there in wrong:
            if is_there:
                raise DefinitionError(
                    f"{where} is stateless, and has {what}; remove it, or `stateless=True`"
                )
