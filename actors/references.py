"""Which message classes a class's code speaks of: what it makes, and what it issues.

Nobody should have to list by hand what the code says already, so the functions' compiled names
are looked up where Python itself would look them up. A name that only data leads to is not seen;
naming the class in the method's return annotation makes it seen.
"""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["classes_named_in"]

C = TypeVar("C")


def classes_named_in(functions: Iterable[Callable[..., Any]], base: type[C]) -> set[type[C]]:
    """Subclasses of `base` that the functions name, or the functions that these call.

    Args:
        functions: plain functions
        base: `Event` or `Command`

    """
    found: set[type[C]] = set()
    seen: set[types.CodeType] = set()
    todo = [function for function in functions if isinstance(function, types.FunctionType)]
    while todo:
        function = todo.pop()
        if function.__code__ in seen:
            continue
        seen.add(function.__code__)
        for value in _values(function):
            if isinstance(value, type):
                if issubclass(value, base) and value is not base:
                    found.add(value)
            elif isinstance(value, types.FunctionType):
                todo.append(value)
    return found


def _values(function: types.FunctionType) -> Iterator[Any]:
    """Everything that the function's names stand for."""
    names = {
        name: cell.cell_contents
        for name, cell in zip(
            function.__code__.co_freevars, function.__closure__ or (), strict=True
        )
        if _is_filled(cell)
    }
    attributes = {name for code in _nested(function.__code__) for name in code.co_names}
    names |= {name: function.__globals__[name] for name in attributes & function.__globals__.keys()}
    for value in names.values():
        yield value
        if isinstance(value, types.ModuleType):
            yield from (vars(value)[name] for name in attributes & vars(value).keys())
    returned = function.__annotations__.get("return")
    if isinstance(returned, str):
        words = returned.replace("[", " ").replace("]", " ").replace("|", " ").replace(",", " ")
        yield from (
            function.__globals__[word] for word in words.split() if word in function.__globals__
        )
    else:
        yield returned
        yield from _arguments(returned)


def _arguments(annotation: Any) -> Iterator[Any]:
    for argument in getattr(annotation, "__args__", ()):
        yield argument
        yield from _arguments(argument)


def _nested(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _nested(constant)


def _is_filled(cell: types.CellType) -> bool:
    # A local class that is defined further down is an empty cell as yet.
    try:
        cell.cell_contents  # noqa: B018 - reading is the test
    except ValueError:
        return False
    return True
