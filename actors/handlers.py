"""The decorators that mark methods, and what they leave on them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from .errors import DefinitionError
from .messages import Command, Event, Message

__all__ = ["Correlate", "Handler", "apply", "handle", "handlers_of", "methods_of"]

F = TypeVar("F", bound=Callable[..., Any])

Correlate: TypeAlias = (
    str | Mapping[str, str] | Callable[[Any], "str | int | Iterable[str | int] | None"]
)

_MARKS = "__procession_marks__"


@dataclass(frozen=True, slots=True)
class Handler:
    """One method, and the message that it is for.

    `role` is the decorator's name; `function` is the plain function, `name` that of the method.
    """

    role: str
    message: type[Message]
    name: str
    function: Callable[..., Any]
    start: bool = False
    end: bool = False
    correlate: Correlate | None = None


def handle(
    message: type[Message],
    *,
    start: bool = False,
    end: bool = False,
    correlate: Correlate | None = None,
) -> Callable[[F], F]:
    """Mark the method that handles an event (process manager) or a command (aggregate).

    Args:
        message: the event or command class
        start: the event starts an instance where there is none (process managers)
        end: the process is complete after this event (process managers)
        correlate: how this event names its instance; wins over the class's `correlate`

    """
    return _marker("handle", message, start=start, end=end, correlate=correlate)


def apply(event: type[Event]) -> Callable[[F], F]:
    """Mark the method of an aggregate that changes its state by an event it made."""
    return _marker("apply", event)


def _marker(role: str, message: object, **options: Any) -> Callable[[F], F]:
    if (
        not isinstance(message, type)
        or not issubclass(message, (Event, Command))
        or message in {Event, Command}
    ):
        raise DefinitionError(
            f"@{role} takes a class derived from Event or Command, not {message!r}; "
            f"write for example `@{role}(OrderPlaced)`"
        )

    def mark(function: F) -> F:
        made = Handler(role, message, function.__name__, function, **options)
        function.__dict__.setdefault(_MARKS, []).append(made)
        return function

    return mark


def methods_of(cls: type, base: type) -> dict[str, Callable[..., Any]]:
    """The functions of a class and its parents up to `base`, by name; the nearest one counts."""
    found: dict[str, Callable[..., Any]] = {}
    for body in reversed(cls.__mro__):
        if body not in base.__mro__:
            for name, value in body.__dict__.items():
                function = getattr(value, "__func__", value)
                if inspect.isfunction(function):
                    found[name] = function
    return found


def handlers_of(cls: type, base: type, role: str) -> dict[type[Message], Handler]:
    """The marked methods of a class by message.

    Raises:
        DefinitionError: two methods are for one message

    """
    found: dict[type[Message], Handler] = {}
    for function in methods_of(cls, base).values():
        for mark in reversed(function.__dict__.get(_MARKS, ())):
            if mark.role != role:
                continue
            other = found.get(mark.message)
            if other is not None:
                raise DefinitionError(
                    f"{cls.__qualname__}: {other.name} and {mark.name} are both "
                    f"@{role}({mark.message.__name__}); put what both do into one method"
                )
            found[mark.message] = mark
    return found
