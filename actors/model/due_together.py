"""Timeouts of one process that are set for one moment, each of which ends it."""

from __future__ import annotations

import inspect
import operator
import types
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import combinations
from typing import TYPE_CHECKING, Any

from ..authoring.decorators import methods_of
from ..authoring.process_manager import ProcessManager
from .code_scan import closure_of, first_arguments, loads
from .control_flow import Flow, always_calls
from .design_finding import DesignFinding

if TYPE_CHECKING:
    import dis
    from collections.abc import Callable, Iterator

    from .process_definition import ProcessDefinition

__all__ = ["timeouts_due_together"]

_UNKNOWN = object()
_NOW = ("attribute", ("attribute", ("local", 0), "context"), "now")
_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
}
_PLAIN = (int, float, str, timedelta, datetime, types.NoneType)


@dataclass(frozen=True, slots=True)
class _Setting:
    """Where a method sets a timeout, by itself or through another, and for when.

    A moment is a delay, a time, or how it is worked out; two that are alike are one moment.
    """

    index: int
    name: str
    moment: Any


def timeouts_due_together(process: ProcessDefinition) -> Iterator[DesignFinding]:
    """Two timeouts that one step sets for one moment, and each of them ends the process."""
    cls = process.cls
    ending = {
        name: handler
        for name, handler in process.timeouts.items()
        if always_calls(handler.function, "mark_as_complete", cls)
    }
    told: set[tuple[str, str]] = set()
    for method, function in methods_of(cls, ProcessManager).items():
        if not isinstance(function, types.FunctionType) or len(ending) < 2:
            continue
        flow = Flow(function.__code__)
        taken_back = first_arguments([function], "cancel_timeout")
        settings = list(_settings_in(function, cls, flow, frozenset()))
        names = [one.name for one in settings]
        for one, other in combinations(settings, 2):
            if (
                one.moment == other.moment
                and one.name in ending
                and other.name in ending
                and not taken_back & {one.name, other.name, None}
                # Set twice, the later one counts, and which that is depends on the way taken.
                and names.count(one.name) == names.count(other.name) == 1
                and flow.reaches(one.index, other.index)
                and (isinstance(one.moment, _PLAIN) or not _assigns_between(flow, one, other))
                and (one.name, other.name) not in told
            ):
                told.add((one.name, other.name))
                yield DesignFinding(
                    "timeouts-due-together",
                    f"{cls.__name__}.{method}",
                    f"sets the timeouts {one.name!r} and {other.name!r} for one moment, and "
                    f"each ends the process: {ending[one.name].name} runs, and "
                    f"{ending[other.name].name} never does while both are set",
                    "set them for different moments, or do all of it in one of the two",
                )


def _assigns_between(flow: Flow, one: _Setting, other: _Setting) -> bool:
    between = flow.instructions[one.index : other.index]
    return any(each.opname == "STORE_ATTR" for each in between)


def _settings_in(
    function: types.FunctionType, cls: type, flow: Flow, callers: frozenset[object]
) -> Iterator[_Setting]:
    own = function.__code__.co_varnames[0] if function.__code__.co_argcount else ""
    for index, one in enumerate(flow.instructions):
        if one.opname not in {"LOAD_ATTR", "LOAD_METHOD"}:
            continue
        if one.argval == "set_timeout":
            name, moment = _arguments(flow.instructions, index, function)
            if isinstance(name, str) and moment is not _UNKNOWN:
                yield _Setting(index, name, moment)
            continue
        called = inspect.getattr_static(cls, one.argval, None)
        if (
            index
            and loads(flow.instructions[index - 1], own)
            and isinstance(called, types.FunctionType)
            and called not in callers | {function}
        ):
            inside = Flow(called.__code__)
            for setting in _settings_in(called, cls, inside, callers | {function}):
                if isinstance(setting.moment, _PLAIN):
                    yield _Setting(index, setting.name, setting.moment)


def _arguments(
    instructions: list[dis.Instruction], index: int, function: types.FunctionType
) -> tuple[Any, Any]:
    """The name and the moment that a call of `set_timeout` is given, as far as they show."""
    closure = closure_of(function)
    stack: list[Any] = []
    keywords: tuple[str, ...] = ()
    for one in instructions[index + 1 :]:
        if one.opname in {"CACHE", "EXTENDED_ARG", "NOP", "PRECALL", "PUSH_NULL"}:
            continue
        if one.opname == "KW_NAMES":
            # The number of a constant; not every Python's `dis` shows which.
            keywords = function.__code__.co_consts[one.arg or 0]
        elif one.opname in {"CALL", "CALL_KW"}:
            if one.opname == "CALL_KW":
                keywords = stack.pop()
            count = one.arg or 0
            given = stack[len(stack) - count :]
            del stack[len(stack) - count :]
            if not stack:
                named = dict(zip(keywords, given[count - len(keywords) :], strict=True))
                by_place = dict(zip(("name", "when"), given, strict=False))
                whole = by_place | named if keywords else by_place
                moment = _normal(whole.get("when", _UNKNOWN))
                return whole.get("name"), moment
            stack.append(_called(stack.pop(), given, keywords))
            keywords = ()
        elif one.opname == "BINARY_OP" and len(stack) > 1:
            right, left = stack.pop(), stack.pop()
            stack.append(_combined(one.argrepr, left, right))
        elif one.opname in {"LOAD_ATTR", "LOAD_METHOD"} and stack:
            stack.append(_attribute(stack.pop(), one.argval))
        elif one.opname.startswith("LOAD_"):
            loaded = _loaded(one, function, closure)
            if loaded is _UNKNOWN:
                break
            stack.append(loaded)
        else:
            break
    return None, _UNKNOWN


def _loaded(one: dis.Instruction, function: types.FunctionType, closure: dict[str, Any]) -> Any:
    """What an instruction loads: a value, or a name that stands for one."""
    name = one.argval
    if one.opname in {"LOAD_CONST", "LOAD_SMALL_INT"}:
        return name
    if one.opname == "LOAD_GLOBAL":
        return _shown(function.__globals__.get(name, _UNKNOWN), name)
    if one.opname == "LOAD_DEREF" and name in closure:
        return _shown(closure[name], name)
    code = function.__code__
    if one.opname.startswith("LOAD_FAST") and name in code.co_varnames[: code.co_argcount]:
        # An argument that is given another value on the way is no such name.
        return ("local", code.co_varnames.index(name)) if not _is_stored(code, name) else _UNKNOWN
    return _UNKNOWN


def _is_stored(code: types.CodeType, name: str) -> bool:
    return any(
        one.opname.startswith("STORE_") and name in str(one.argval)
        for one in Flow(code).instructions
    )


def _shown(value: Any, name: str) -> Any:
    is_plain = isinstance(value, (*_PLAIN, type, types.ModuleType))
    return value if is_plain else ("global", name)


def _attribute(value: Any, name: str) -> Any:
    if value is _UNKNOWN:
        return _UNKNOWN
    if isinstance(value, types.ModuleType):
        return _shown(vars(value).get(name, _UNKNOWN), f"{value.__name__}.{name}")
    return ("attribute", value, name)


def _called(function: Any, given: list[Any], keywords: tuple[str, ...]) -> Any:
    """What a call comes to, if it always comes to the same."""
    if function is not timedelta and function is not datetime:
        return _UNKNOWN
    return _worked_out(("call", function, tuple(given), keywords), function, given, keywords)


def _combined(sign: str, left: Any, right: Any) -> Any:
    if sign not in _OPERATORS:
        return _UNKNOWN
    return _worked_out(("operator", sign, left, right), _OPERATORS[sign], [left, right], ())


def _worked_out(
    told: tuple[Any, ...], function: Callable[..., Any], given: list[Any], keywords: tuple[str, ...]
) -> Any:
    if any(one is _UNKNOWN for one in given):
        return _UNKNOWN
    if not all(isinstance(one, _PLAIN) for one in given):
        return told
    by_place = given[: len(given) - len(keywords)]
    named = dict(zip(keywords, given[len(by_place) :], strict=True))
    try:
        return function(*by_place, **named)
    except (ArithmeticError, TypeError, ValueError):
        return _UNKNOWN  # The step fails there, and sets nothing.


def _normal(moment: Any) -> Any:
    """A delay is counted from now, so `self.context.now + delay` is the same moment."""
    match moment:
        case ("operator", "+", left, timedelta() as delay) if left == _NOW:
            return delay
        case None:
            return _UNKNOWN
        case _:
            return moment
