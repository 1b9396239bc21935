"""Which instructions of a function can follow one another, and what is done on every way."""

from __future__ import annotations

import dis
import inspect
import types
from itertools import pairwise
from typing import TYPE_CHECKING

from .code_scan import loads

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Flow", "always_calls"]

_JUMPS = frozenset((*dis.hasjrel, *dis.hasjabs))
_NO_WAY_ON = frozenset(
    {
        "JUMP_BACKWARD",
        "JUMP_BACKWARD_NO_INTERRUPT",
        "JUMP_FORWARD",
        "RAISE_VARARGS",
        "RERAISE",
        "RETURN_CONST",
        "RETURN_VALUE",
    }
)


class Flow:
    """How the instructions of one function can follow one another.

    What happens when an exception is caught is left out.

    Args:
        code: of the function

    """

    def __init__(self, code: types.CodeType) -> None:
        self.instructions = list(dis.get_instructions(code))
        places = {one.offset: index for index, one in enumerate(self.instructions)}
        self._next: list[list[int]] = []
        for index, one in enumerate(self.instructions):
            after = [places[one.argval]] if one.opcode in _JUMPS else []
            if one.opname not in _NO_WAY_ON and index + 1 < len(self.instructions):
                after.append(index + 1)
            self._next.append(after)

    def reaches(self, start: int, end: int) -> bool:
        """Whether the instruction at `end` can come after that at `start`."""
        return end in self._after(self._next[start], set())

    def returns_without(self, avoided: set[int]) -> bool:
        """Whether the function can return without any of these instructions."""
        return any(
            self.instructions[index].opname in {"RETURN_VALUE", "RETURN_CONST"}
            for index in self._after([0], avoided) - avoided
        )

    def _after(self, todo: Iterable[int], avoided: set[int]) -> set[int]:
        seen: set[int] = set()
        left = list(todo)
        while left:
            index = left.pop()
            if index not in seen:
                seen.add(index)
                if index not in avoided:
                    left += self._next[index]
        return seen


def always_calls(
    function: object, method: str, of: type, seen: frozenset[object] = frozenset()
) -> bool:
    """Whether a function calls the method of that name on every way through it.

    Only a yes is certain.

    Args:
        function: a plain function
        method: such as ``"mark_as_complete"``, on whatever object
        of: the class whose method it is; what it calls through `self` is followed
        seen: functions that call this one

    """
    if not isinstance(function, types.FunctionType) or function in seen:
        return False
    code = function.__code__
    if code.co_exceptiontable:
        return False
    flow = Flow(code)
    own = code.co_varnames[0] if code.co_argcount else None
    calls = set[int]()
    for index, (before, one) in enumerate(pairwise(flow.instructions), 1):
        if one.opname in {"LOAD_ATTR", "LOAD_METHOD"}:
            is_own = own is not None and loads(before, own)
            called = inspect.getattr_static(of, one.argval, None) if is_own else None
            if one.argval == method or always_calls(called, method, of, seen | {function}):
                calls.add(index)
        elif one.opname == "LOAD_GLOBAL":
            called = function.__globals__.get(one.argval)
            if always_calls(called, method, of, seen | {function}):
                calls.add(index)
    return not flow.returns_without(calls)
