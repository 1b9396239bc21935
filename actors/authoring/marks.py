"""What the decorators leave on methods, and the refusal of a mark that leads to no method.

A mark is on the function itself, so a decorator that uses `functools.wraps` takes it along. One
that does not, or a second method of that name, would lose it without a word. So the class body in
which a mark is made keeps a list of its marks, and the class is compared with it when it is made.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from ..errors import DefinitionError, shown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

__all__ = [
    "ALL",
    "Correlate",
    "Handler",
    "Start",
    "attributes_of",
    "called",
    "mark_method",
    "marks_on",
    "refuse_lost_marks",
    "refuse_overridden",
]


class _All:
    def __repr__(self) -> str:
        return "ALL"


ALL = _All()
"""For `correlate`: one instance, called ``"all"``, sees every event of its types."""

Correlate: TypeAlias = (
    str
    | tuple[str, ...]
    | Mapping[str, str]
    | Callable[[Any], "str | int | tuple[Any, ...] | Iterable[Any] | None"]
    | _All
)

Start: TypeAlias = bool | Literal["only"]

_MARKS = "__procession_marks__"
"""Of a function: its marks."""

_MADE = "__procession_marks_made__"
"""Of a class body: every mark that was made in it."""

_PACKAGE = __name__.rpartition(".")[0]


@dataclass(frozen=True, slots=True)
class Handler:
    """One method, and what it is for.

    `role` is the decorator's name; `subject` the message class, the timeout's name, or None;
    `function` is what is called, `name` that of the method.
    """

    role: str
    subject: Any
    name: str
    function: Callable[..., Any]
    start: Start = False
    end: bool = False
    correlate: Correlate | None = None


def called(mark: Handler) -> str:
    """A mark as it is written: ``@handle(Paid)``."""
    return _written(mark.role, mark.subject)


def _written(role: str, subject: object) -> str:
    if subject is None:
        return f"@{role}"
    return f"@{role}({getattr(subject, '__name__', repr(subject))})"


def mark_method(role: str, subject: object, function: Any, **options: Any) -> None:
    """Mark a method, and note the mark in the class body that is being run.

    Raises:
        DefinitionError: it is no plain function, so it could not be called as a method

    """
    if not inspect.isfunction(function):
        what, why = _unfit(function)
        name = getattr(_inside(function), "__qualname__", None) or shown(function)
        raise DefinitionError(f"{name}: {_written(role, subject)} stands above {what}, and {why}")
    mark = Handler(role, subject, function.__name__, function, **options)
    # Of its own: what a decorator took along from the function below is that function's as well.
    function.__dict__[_MARKS] = (*function.__dict__.get(_MARKS, ()), mark)
    body = _class_body(function)
    if body is not None:
        body[_MADE] = (*body.get(_MADE, ()), mark)


def marks_on(value: object) -> Iterator[Handler]:
    """The marks of what a class has as an attribute, as handlers that call it."""
    function: Any = getattr(value, "__func__", value)
    for mark in _marks_of(function):
        yield replace(mark, function=function)


def _marks_of(function: object) -> tuple[Handler, ...]:
    marks: tuple[Handler, ...] = getattr(function, "__dict__", {}).get(_MARKS, ())
    return marks


def attributes_of(cls: type, base: type) -> dict[str, object]:
    """What people wrote into a class and its parents up to `base`, by name; the nearest counts."""
    found: dict[str, object] = {}
    for body in reversed(_bodies(cls, base)):
        found |= body.__dict__
    return found


def refuse_lost_marks(cls: type, base: type) -> None:
    """Refuse a class in which a mark leads to no method; called when the class is made.

    Args:
        cls: the class
        base: our class below it

    Raises:
        DefinitionError: a decorator lost a mark, a second method took the place of the first, or
            what has the mark is no method

    """
    bodies = _bodies(cls, base)
    methods = {
        id(value)
        for body in bodies
        for value in body.__dict__.values()
        if inspect.isfunction(value)
    }
    for body in bodies:
        kept: set[int] = set()
        for name, value in body.__dict__.items():
            function = _inside(value)
            # What makes use of a method that is there by itself takes no mark from it.
            if function is not value and id(function) in methods:
                continue
            marks = _marks_of(function)
            kept.update(map(id, marks))
            for mark in marks:
                is_upcaster = mark.role == "upcast" and isinstance(value, staticmethod)
                if not (inspect.isfunction(value) or is_upcaster):
                    what, why = _unfit(value)
                    raise DefinitionError(
                        f"{body.__qualname__}.{name}: {what} stands above {called(mark)}, and {why}"
                    )
        for mark in body.__dict__.get(_MADE, ()):
            if id(mark) not in kept:
                raise DefinitionError(_lost(body, mark))


def refuse_overridden(cls: type, base: type) -> None:
    """Refuse a class that has an unmarked attribute in the place of a marked method of a parent.

    Called when the class is read for use, so that a class in between may leave the mark to the
    classes below it. One that is marked for something else says that this is meant.

    Raises:
        DefinitionError: what the parent's method was for is for no method of the class

    """
    attributes = attributes_of(cls, base)
    present = {(mark.role, mark.subject) for one in attributes.values() for mark in marks_on(one)}
    for body in _bodies(cls, base):
        for name, value in body.__dict__.items():
            if attributes[name] is value:
                continue
            roles = {mark.role for mark in marks_on(attributes[name])}
            for mark in marks_on(value):
                if mark.role not in roles and (mark.role, mark.subject) not in present:
                    written = called(mark)
                    raise DefinitionError(
                        f"{cls.__qualname__}.{name} takes the place of {body.__qualname__}.{name}, "
                        f"which is {written}, and has no such mark itself, so neither would be "
                        f"called for it; write `{written}` above it, with the options that it has "
                        f"there, or give it another name"
                    )


def _bodies(cls: type, base: type) -> list[type]:
    return [body for body in cls.__mro__ if body not in base.__mro__]


def _inside(value: object) -> object:
    """The function that an attribute of a class stands for, where it is not the function itself."""
    if isinstance(value, (staticmethod, classmethod)):
        return value.__func__
    if isinstance(value, property):
        return value.fget
    if isinstance(value, _HOLDERS):
        return value.func
    return value


_HOLDERS = (
    functools.cached_property,
    functools.partial,
    functools.partialmethod,
    functools.singledispatchmethod,
)


def _unfit(value: object) -> tuple[str, str]:
    """What an attribute is that is no method, and why it is none, with the mend."""
    if isinstance(value, (staticmethod, classmethod)):
        return (
            f"@{type(value).__name__}",
            "a marked method is called with its instance; write a plain method that takes `self`",
        )
    if hasattr(value, "cache_info") and hasattr(value, "__wrapped__"):
        return (
            "a cache such as @lru_cache",
            (
                "what a cache remembers is not done again, so the second event would change "
                "nothing; write a plain method, and cache a function that it calls"
            ),
        )
    if isinstance(value, (property, functools.cached_property)):
        return (
            f"@{type(value).__name__}",
            "that is read, and never called with a message; write a plain method",
        )
    return (
        f"{shown(value)}, a {type(value).__name__}",
        "that is no function; write a plain method, which may call it",
    )


def _lost(body: type, mark: Handler) -> str:
    where = f"{body.__qualname__}.{mark.name}"
    instead = body.__dict__.get(mark.name)
    if instead is None:
        return (
            f"{where}: a method that is {called(mark)} is not in the class under any name, so it "
            f"would never be called; leave it where it was written"
        )
    inner = inspect.unwrap(instead) if callable(instead) else None
    code = getattr(inner, "__code__", None)
    if code is not None and code.co_qualname == mark.function.__code__.co_qualname:
        return (
            f"{body.__qualname__} has two methods called {mark.name}: the second takes the place "
            f"of the first, which is {called(mark)} and would never be called; give one of them "
            f"another name"
        )
    return (
        f"{where}: what stands above {called(mark)} lost the mark, so nothing would be called for "
        f"it; put the mark on top, or use functools.wraps in that decorator"
    )


def _class_body(function: Callable[..., Any]) -> dict[str, Any] | None:
    """The names of the class body that is run, if the function is written there or marked there.

    A body that was left by an error is gone with its names, and one that is run again, as a cell
    of a notebook is, or a class in a function or in a loop, has names of its own.
    """
    within = function.__qualname__.rpartition(".")[0]
    frame = inspect.currentframe()
    while frame is not None and frame.f_globals.get("__name__", "").startswith(_PACKAGE):
        frame = frame.f_back
    is_marked_there = True
    while frame is not None:
        if _is_class_body(frame) and (is_marked_there or frame.f_code.co_qualname == within):
            names: Any = frame.f_locals
            return names  # type: ignore[no-any-return]
        is_marked_there = False
        frame = frame.f_back
    return None


def _is_class_body(frame: FrameType) -> bool:
    # A function's names are in slots; those of a module are its globals.
    if frame.f_code.co_flags & inspect.CO_OPTIMIZED:
        return False
    names: Mapping[str, Any] = frame.f_locals
    return names is not frame.f_globals and "__qualname__" in names
