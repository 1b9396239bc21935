"""The decorators that mark methods, and what they leave on them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ParamSpec, Protocol, TypeVar, overload

from ..errors import DefinitionError
from ..messages.types import WIRE_NAME, Command, Event
from .marks import (
    ALL,
    Correlate,
    Handler,
    Start,
    attributes_of,
    called,
    mark_method,
    marks_on,
)

__all__ = [
    "ALL",
    "Correlate",
    "Due",
    "Handler",
    "Refused",
    "Upcast",
    "after",
    "apply",
    "check_method",
    "ended",
    "handle",
    "handlers_of",
    "is_async",
    "methods_of",
    "note_options",
    "project",
    "refuse_async",
    "refuse_keywords",
    "rejected",
    "timeout",
    "upcast",
    "upcasters_of",
]

F = TypeVar("F", bound=Callable[..., Any])
P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True, repr=False)
class Upcast:
    """What an upcaster takes: payloads of that version; `name` is empty for a state."""

    name: str
    from_version: int

    def __repr__(self) -> str:
        name = f"{self.name!r}, " if self.name else ""
        return f"{name}from_version={self.from_version}"


class HandlesCommand(Protocol[R]):
    """Marks a method that returns, or yields, the events that a command says come of it."""

    @overload
    def __call__(
        self, function: Callable[P, Iterable[R] | None]
    ) -> Callable[P, Iterable[R] | None]: ...

    @overload
    def __call__(self, function: Callable[P, R | None]) -> Callable[P, R | None]: ...


class _Unsaid(Event, frozen=True):
    """What no command says comes of it: one that says nothing is the one that fits."""


@overload
def handle(
    message: type[Event],
    *,
    start: Start = False,
    end: bool = False,
    correlate: Correlate | None = None,
) -> Callable[[F], F]: ...


@overload
def handle(  # type: ignore[overload-overlap] # no command says this, and to `Any` it is no matter
    message: type[Command[_Unsaid]],
) -> Callable[[F], F]: ...


@overload
def handle(message: type[Command[R]]) -> HandlesCommand[R]: ...


def handle(
    message: type[Event | Command],
    *,
    start: Start = False,
    end: bool = False,
    correlate: Correlate | None = None,
) -> Any:
    """Mark the method that handles an event (process manager) or a command (aggregate).

    Args:
        message: the event or command class
        start: the event starts an instance where there is none (process managers); with
            ``"only"``, it is parked where there is a live one
        end: the process is complete after this event (process managers)
        correlate: how this event names its instance; wins over the class's `correlate`

    """
    _check_message("handle", message, Event, Command)
    if start not in {True, False, "only"}:
        raise DefinitionError(f'@handle: start={start!r}; give True, False or "only"')
    return _marker("handle", message, start=start, end=end, correlate=correlate)


def apply(event: type[Event]) -> Callable[[F], F]:
    """Mark the method of an aggregate that changes its state by an event it made."""
    _check_message("apply", event, Event)
    return _marker("apply", event)


@dataclass(frozen=True, slots=True, repr=False)
class Due:
    """What `timeout(name)` returns: it marks a method; in a test, the timeout is due."""

    name: str

    def __call__(self, function: F) -> F:
        return _marker("timeout", self.name)(function)

    def __repr__(self) -> str:
        return f"timeout({self.name!r})"


@dataclass(frozen=True, slots=True, repr=False)
class Refused:
    """What `rejected(command, reason=...)` returns: in a test, an aggregate refused it."""

    command: Command
    reason: str

    def __call__(self, function: F) -> F:
        raise DefinitionError(
            f"@rejected on {function.__qualname__} has a command; give its class: "
            f"`@rejected({type(self.command).__name__})`"
        )

    def __repr__(self) -> str:
        return f"rejected({self.command!r}, reason={self.reason!r})"


def timeout(name: str) -> Due:
    """Mark the method of a process manager that runs when the timeout of that name is due.

    In a scenario, what it returns stands for the timeout being due.
    """
    given: object = name
    if not isinstance(given, str) or not given or "\0" in given or len(given) > 80:
        raise DefinitionError(
            f"@timeout takes the name that set_timeout is given, of at most 80 characters, "
            f'not {name!r}; write for example `@timeout("payment")`'
        )
    return Due(name)


@overload
def rejected(command: type[Command]) -> Callable[[F], F]: ...


@overload
def rejected(command: Command, *, reason: str = "") -> Refused: ...


def rejected(command: type[Command] | Command, *, reason: str = "") -> Callable[[F], F] | Refused:
    """Mark the method that runs when an aggregate refused a command that this instance issued.

    The method takes the command and the reason. Of a command itself, and not its class, it stands
    for that refusal in a scenario.
    """
    if isinstance(command, Command):
        return Refused(command, reason)
    _check_message("rejected", command, Command)
    return _marker("rejected", command)


def after(event: type[Event]) -> Callable[[F], F]:
    """Mark the method that affects the outside world once the event was handled everywhere.

    It runs on threads of its own, at least once, and may block; or on an event loop of the
    runtime's own, if it is ``async def``.
    """
    _check_message("after", event, Event)
    return _marker("after", event)


def project(event: type[Event]) -> Callable[[F], F]:
    """Mark the method of a projection that writes an event into its tables.

    It runs on a thread of the projection's own, and may block.
    """
    _check_message("project", event, Event)
    return _marker("project", event)


def ended(function: F) -> F:
    """Mark the method of a process manager that runs when an operator ends an instance.

    It takes the reason, and issues what makes good what was done: ``runtime.end`` has it run unless
    it is told not to. The instance is complete afterwards, so no timeout can be set.
    """
    return _marker("ended", None)(function)


def upcast(name: str = "", *, from_version: int) -> Callable[[F], F]:
    """Mark the function that turns payloads of an older version into the next version's.

    It takes the old fields as a dictionary of plain values and returns those of the next version.
    For events and commands it is a plain function that is registered in a domain; for the state
    of a process manager it is a static method of the class, and has no name.

    Args:
        name: of the class, as ``"OrderPlaced"``, or the whole wire name, as
            ``"Billing.PaymentReceived.v1"``
        from_version: the version of the payloads that it takes

    Raises:
        DefinitionError: the name or the version is malformed

    """
    given: object = from_version
    if not isinstance(given, int) or isinstance(given, bool) or given < 1:
        raise DefinitionError(
            f"@upcast: from_version={from_version!r}; give the version of the old payloads, a "
            f"whole number from 1"
        )
    named: object = name
    if not isinstance(named, str):
        raise DefinitionError(
            f"@upcast takes the name of a class as text, not {name!r}; "
            f'write for example `@upcast("OrderPlaced", from_version=1)`'
        )
    whole = WIRE_NAME.fullmatch(named)
    if whole is None and any(one in " ." for one in named):
        raise DefinitionError(
            f'@upcast: {name!r} is no name of a class; write "OrderPlaced", or the whole wire '
            f'name, such as "Billing.PaymentReceived.v1"'
        )
    if whole is not None and int(whole[1]) != given:
        raise DefinitionError(
            f"@upcast: {name!r} and from_version={from_version} disagree; "
            f"give the version that the function takes in both places"
        )

    def mark(function: F) -> F:
        # Below or above @staticmethod: the mark belongs on the function itself.
        _marker("upcast", Upcast(named, given))(getattr(function, "__func__", function))
        return function

    return mark


def upcasters_of(function: object) -> list[Handler]:
    """What a function was marked with by `upcast`."""
    return [mark for mark in marks_on(function) if mark.role == "upcast"]


def _check_message(role: str, message: object, *bases: type) -> None:
    if isinstance(message, type) and issubclass(message, bases) and message not in bases:
        return
    kinds = " or ".join(base.__name__ for base in bases)
    raise DefinitionError(
        f"@{role} takes a class derived from {kinds}, not {message!r}; "
        f"write for example `@{role}(OrderPlaced)`"
    )


def _marker(role: str, subject: object, **options: Any) -> Callable[[F], F]:
    def mark(function: F) -> F:
        mark_method(role, subject, function, **options)
        return function

    return mark


def methods_of(cls: type, base: type) -> dict[str, Callable[..., Any]]:
    """The functions of a class and its parents up to `base`, by name; the nearest one counts."""
    found: dict[str, Callable[..., Any]] = {}
    for name, value in attributes_of(cls, base).items():
        function = getattr(value, "__func__", value)
        if inspect.isfunction(function):
            found[name] = function
    return found


def refuse_keywords(cls: type, unknown: Iterable[str], known: Iterable[str]) -> None:
    """Refuse class keywords that no class takes.

    Raises:
        DefinitionError: there are some

    """
    for keyword in unknown:
        raise DefinitionError(
            f"{cls.__qualname__} has the class keyword {keyword!r}, which nothing takes; "
            f"there are {', '.join(known)}"
        )


def note_options(cls: Any, given: Mapping[str, object]) -> None:
    """Note the class keywords that a class was given; the others are those of the class below it.

    Args:
        cls: of an aggregate, a process manager or a projection
        given: by keyword; None for one that was not

    """
    cls.__procession_options__ = cls.__procession_options__ | {
        keyword: value for keyword, value in given.items() if value is not None
    }


def refuse_async(
    where: str, function: Callable[..., Any], mend: str = "write a plain `def`"
) -> None:
    """Refuse a function that waits, where nothing would await it.

    Raises:
        DefinitionError: it, or what it wraps, is ``async def``

    """
    if is_async(function) or inspect.isasyncgenfunction(inspect.unwrap(function)):
        raise DefinitionError(f"{where} is `async def`, and nothing would await it; {mend}")


def is_async(function: Callable[..., Any]) -> bool:
    """Whether a function, or what it wraps, is ``async def`` and can be awaited."""
    return inspect.iscoroutinefunction(inspect.unwrap(function))


def check_method(cls: type, handler: Handler, *arguments: str) -> None:
    """Refuse a method that cannot be called with these arguments, or that waits.

    Args:
        cls: the class it belongs to
        handler: the method
        arguments: what it is given besides ``self``

    Raises:
        DefinitionError: it is ``async def`` and no @after method, or takes something else

    """
    where = f"{cls.__qualname__}.{handler.name}"
    if handler.role != "after":
        mend = "write a plain `def`. An @after method of a process manager may wait"
        refuse_async(where, handler.function, mend)
    elif inspect.isasyncgenfunction(inspect.unwrap(handler.function)):
        raise DefinitionError(
            f"{where} is `async def` with a `yield`, and nothing would go through what it yields; "
            f"write an `async def` without one"
        )
    # Of what is called, which may be a decorator's own function.
    signature = inspect.signature(handler.function, follow_wrapped=False)
    try:
        signature.bind(None, *arguments)
    except TypeError as error:
        wanted = ", ".join(("self", *arguments))
        given = signature.replace(return_annotation=inspect.Signature.empty)
        raise DefinitionError(
            f"{where}{given} is called as {handler.name}({wanted}): "
            f"{error}; write `def {handler.name}({wanted})`"
        ) from None


def handlers_of(cls: type, base: type, role: str) -> dict[Any, Handler]:
    """The marked methods of a class by what they are for, with what Python calls by their names.

    Raises:
        DefinitionError: two methods are for one thing

    """
    found: dict[Any, Handler] = {}
    for name, value in attributes_of(cls, base).items():
        for mark in reversed(list(marks_on(value))):
            if mark.role != role:
                continue
            other = found.get(mark.subject)
            if other is not None:
                raise DefinitionError(
                    f"{cls.__qualname__}: {other.name} and {name} are both "
                    f"{called(mark)}; put what both do into one method"
                )
            found[mark.subject] = replace(mark, name=name)
    return found
