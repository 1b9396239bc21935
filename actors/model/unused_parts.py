"""Parts of a class that nothing uses: a field that nothing sets, an end that nothing calls."""

from __future__ import annotations

import types
from datetime import date, timedelta
from decimal import Decimal
from enum import Enum
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin
from uuid import UUID

from ..authoring.aggregate import Aggregate
from ..authoring.decorators import methods_of
from ..authoring.process_manager import ProcessManager
from .code_scan import attributes_used_in, code_reached, instructions_of, nested_codes
from .design_finding import DesignFinding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ..authoring.state import StateType
    from .aggregate_definition import AggregateDefinition
    from .process_definition import ProcessDefinition

__all__ = ["fields_never_set", "own_fields_never_set", "uncalled_ends"]

_CANNOT_CHANGE = (bool, bytes, date, Decimal, Enum, float, int, str, timedelta, UUID)


def own_fields_never_set(process: ProcessDefinition) -> Iterator[DesignFinding]:
    """Fields of a process manager, learnt keys among them, that stay as they are at the start."""
    correlations = process.correlations.values()
    learnt = {one.learnt for one in correlations if one.learnt}
    # They are set when an instance starts.
    named = {name for one in correlations for name in (one.own, *one.key)} - learnt
    upcasters = [one.function for one in process.upcasters.values()]
    texts = set(chain.from_iterable(map(_texts_in, code_reached(upcasters, process.cls))))
    for name in _never_set(process.cls, ProcessManager, process.state):
        if name in learnt:
            handlers = [
                process.handlers.get(event) or process.effects[event]
                for event, one in process.correlations.items()
                if one.learnt == name
            ]
            yield DesignFinding(
                "key-never-learnt",
                f"{process.cls.__name__}.{name}",
                f"is the learnt key of {', '.join(sorted(one.name for one in handlers))}, and no "
                f"method sets it, so no instance is ever found by it",
                f"set `self.{name}` in the step that learns it, or correlate by another field",
            )
        elif name not in named | texts:
            yield _never_set_finding(process.cls, name, "a handler")


def fields_never_set(aggregate: AggregateDefinition) -> Iterator[DesignFinding]:
    """Fields of an aggregate that no event changes."""
    for name in _never_set(aggregate.cls, Aggregate, aggregate.state):
        yield _never_set_finding(aggregate.cls, name, "an `@apply` method")


def uncalled_ends(process: ProcessDefinition) -> Iterator[DesignFinding]:
    """Methods that end the process, and that no handler reaches."""
    cls = process.cls
    roots = [
        handler.function
        for handlers in (
            process.handlers,
            process.timeouts,
            process.rejections,
            process.effects,
            process.endings,
        )
        for handler in handlers.values()
    ]
    # What Python or the engine calls by itself.
    roots += [
        function
        for name, function in methods_of(cls, ProcessManager).items()
        if name.startswith("__") or name == "on_error"
    ]
    if attributes_used_in(roots, of=cls).is_open:
        return  # What gets hold of the object may call any of its methods.
    reached = {function.__code__ for function in code_reached(roots, cls)}
    for name, value in vars(cls).items():
        # A parent's methods may be there for others of its children.
        function = getattr(value, "__func__", value)
        if isinstance(function, types.FunctionType) and function.__code__ not in reached:
            attributes = {
                one.argval
                for code in nested_codes(function.__code__)
                for one in instructions_of(code)
                if one.opname in {"LOAD_ATTR", "LOAD_METHOD"}
            }
            if "mark_as_complete" in attributes:
                yield DesignFinding(
                    "uncalled-end",
                    f"{cls.__name__}.{name}",
                    "calls mark_as_complete(), and no handler calls this method",
                    "call it in the handler after which the process is over, or remove it",
                )


def _never_set_finding(cls: type, name: str, place: str) -> DesignFinding:
    return DesignFinding(
        "field-never-set",
        f"{cls.__name__}.{name}",
        "is a field that no method sets, so it keeps its default for ever",
        f"set `self.{name}` in {place}; annotate it as ClassVar if it is a constant; or remove it",
    )


def _never_set(cls: type, base: type, state: StateType) -> list[str]:
    """The fields that no method assigns, nor may change inside; empty if that cannot be told."""
    use = attributes_used_in(_functions_of(cls, base), of=cls)
    if use.is_open:
        return []
    return [
        name
        for name, hint in state.fields.items()
        if name not in use.assigned and (name not in use.read or _cannot_change(hint))
    ]


def _functions_of(cls: type, base: type) -> list[Callable[..., Any]]:
    """The methods of a class and its parents, overridden ones too, and those of its properties."""
    found: list[Callable[..., Any]] = []
    for body in cls.__mro__:
        if body in base.__mro__:
            continue
        for value in vars(body).values():
            parts: Iterable[Any] = (getattr(value, "__func__", value),)
            if isinstance(value, property):
                parts = (value.fget, value.fset, value.fdel)
            found += [one for one in parts if isinstance(one, types.FunctionType)]
    return found


def _texts_in(function: types.FunctionType) -> Iterator[str]:
    """The texts that a function has, such as the names of the fields that it fills."""
    for code in nested_codes(function.__code__):
        for constant in code.co_consts:
            yield from (constant,) if isinstance(constant, str) else ()
            if isinstance(constant, tuple):
                yield from (one for one in constant if isinstance(one, str))


def _cannot_change(hint: Any) -> bool:
    """Whether values of a type stay what they are, so that only assigning sets the field."""
    origin = get_origin(hint)
    if origin is Annotated:
        return _cannot_change(get_args(hint)[0])
    if origin in {Union, types.UnionType}:
        return all(map(_cannot_change, get_args(hint)))
    if origin is Literal or hint in {None, types.NoneType}:
        return True
    return isinstance(hint, type) and issubclass(hint, _CANNOT_CHANGE)
