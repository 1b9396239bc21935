"""Which message classes a class's code speaks of: what it makes, what it issues, what it calls.

An author need not list by hand what the code says already, so the functions' compiled names
are looked up where Python itself would look them up. A name that only data leads to is not seen;
naming the class in the method's return annotation makes it seen. Compiled code is read and not
its source, which is not there for code that came from a notebook, a prompt or `exec`.
"""

from __future__ import annotations

import dis
import inspect
import types
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = [
    "AttributeUse",
    "attributes_used_in",
    "classes_named_in",
    "closure_of",
    "code_reached",
    "first_arguments",
    "instructions_of",
    "loads",
    "may_assign",
    "nested_codes",
]

C = TypeVar("C")


def classes_named_in(
    functions: Iterable[Callable[..., Any]], base: type[C], *, of: type | None = None
) -> set[type[C]]:
    """Subclasses of `base` that the functions name, or the functions that these call.

    Args:
        functions: plain functions
        base: `Event` or `Command`
        of: the class whose methods the functions are; what they call through `self` is then
            followed too

    """
    return {
        value
        for function in _reached(functions, of)
        for value in _values(function)
        if isinstance(value, type) and issubclass(value, base) and value is not base
    }


def first_arguments(
    functions: Iterable[Callable[..., Any]], method: str, *, of: type | None = None
) -> set[str | None]:
    """What the functions, or those that these call, give first to the method of that name.

    Args:
        functions: plain functions
        method: such as ``"set_timeout"``, called on whatever object
        of: as for `classes_named_in`

    Returns:
        the texts; None among them for a call whose first argument is none that can be read off
        the code, or that has no arguments. So it is empty only if the method is never called.

    """
    return {
        _text_at(instructions, index + 1, function)
        for function in _reached(functions, of)
        for code in nested_codes(function.__code__)
        for instructions in (instructions_of(code),)
        for index, instruction in enumerate(instructions)
        if instruction.argval == method and instruction.opname in _ATTRIBUTE
    }


@dataclass(frozen=True, slots=True)
class AttributeUse:
    """Which attributes, of whatever object, some functions assign and read.

    `is_open` says that the code does not tell all of it: it passes the object itself on, stores
    it, returns it, or assigns by names that are worked out.
    """

    assigned: frozenset[str]
    read: frozenset[str]
    is_open: bool


def attributes_used_in(functions: Iterable[Callable[..., Any]], *, of: type) -> AttributeUse:
    """The attributes that the functions, or those that these call, assign and read.

    Args:
        functions: plain functions
        of: as for `classes_named_in`

    """
    own = {
        function
        for body in of.__mro__
        for value in body.__dict__.values()
        for function in _functions_of(value)
    }
    assigned: set[str] = set()
    read: set[str] = set()
    is_open = False
    for function in _reached(functions, of):
        is_open = is_open or (function in own and _gives_away(function, of))
        for code in nested_codes(function.__code__):
            for one in instructions_of(code):
                if one.opname == "STORE_ATTR":
                    assigned.add(one.argval)
                elif one.opname in _ATTRIBUTE:
                    read.add(one.argval)
                is_open = is_open or (one.opname.startswith("LOAD_") and _is_unseen(one.argval))
    return AttributeUse(frozenset(assigned), frozenset(read), is_open)


def may_assign(
    functions: Iterable[Callable[..., Any]],
    names: Iterable[str],
    *,
    changed: Iterable[str] = (),
    of: type,
) -> bool:
    """Whether the functions, or those that these call, may assign attributes of these names.

    Only a no is certain. The code that gets hold of the object itself may do anything with it, so
    a method that passes its object on, stores it or returns it may assign them all.

    Args:
        functions: plain functions
        names: of attributes, on whatever object
        changed: names of attributes whose values can be changed themselves, as a set can: who
            reads one may change it
        of: as for `classes_named_in`

    """
    use = attributes_used_in(functions, of=of)
    return use.is_open or not (use.assigned.isdisjoint(names) and use.read.isdisjoint(changed))


def _is_unseen(name: object) -> bool:
    return isinstance(name, str) and name in _UNSEEN


def _gives_away(function: types.FunctionType, of: type) -> bool:
    """Whether a method does anything with its object but to use attributes that can be followed."""
    code = function.__code__
    if not code.co_argcount:
        # The object is among `*arguments`.
        return bool(code.co_flags & inspect.CO_VARARGS)
    own = code.co_varnames[0]
    for body in nested_codes(code):
        instructions = instructions_of(body)
        # A variable that an inner function shares is in a cell, and what loads the cell is no use.
        shared = own in body.co_cellvars + body.co_freevars
        for index, one in enumerate(instructions):
            if not _touches(one, own, "LOAD_DEREF" if shared else "LOAD_FAST"):
                continue
            after = index + 1
            if instructions[after].opname == "COPY":  # `self.count += 1` loads and stores
                after += 1
            used = instructions[after]
            if not loads(one, own) or used.opname not in _USES or _is_hidden(of, used.argval):
                return True
    return False


def _is_hidden(of: type, name: str) -> bool:
    """Whether a class has an attribute of that name that runs code which cannot be followed."""
    for body in of.__mro__:
        if name in body.__dict__ and not _is_ours(body.__module__) and body is not object:
            value = body.__dict__[name]
            return hasattr(type(value), "__get__") and not _functions_of(value)
    return False


_UNSEEN = frozenset({"setattr", "__setattr__", "vars", "__dict__"})
"""What assigns attributes whose names the code does not tell."""

_VARIABLE = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"})
_ATTRIBUTE = frozenset({"LOAD_ATTR", "LOAD_METHOD"})
_USES = _ATTRIBUTE | {"STORE_ATTR", "DELETE_ATTR", "LOAD_SUPER_ATTR", "LOAD_SUPER_METHOD"}


def _reached(
    functions: Iterable[Callable[..., Any]], of: type | None
) -> Iterator[types.FunctionType]:
    """The functions and all that they call, each once."""
    seen: set[types.CodeType] = set()
    todo = [function for function in functions if isinstance(function, types.FunctionType)]
    while todo:
        function = todo.pop()
        if function.__code__ in seen:
            continue
        seen.add(function.__code__)
        yield function
        todo += [value for value in _values(function) if isinstance(value, types.FunctionType)]
        if of is not None:
            todo += _methods_called(function, of)


def code_reached(functions: Iterable[Callable[..., Any]], of: type) -> Iterator[types.FunctionType]:
    """The functions and all that they call, in other modules as well, each once.

    Args:
        functions: plain functions
        of: the class whose methods they are

    """
    return _reached(functions, of)


def _methods_called(function: types.FunctionType, of: type) -> Iterator[types.FunctionType]:
    """The methods of a class that a function gets at through its first argument, or the class."""
    code = function.__code__
    own = code.co_varnames[0] if code.co_argcount else None
    for body in nested_codes(code):
        instructions = instructions_of(body)
        for before, instruction in pairwise(instructions):
            if instruction.opname in _USES and loads(before, own):
                yield from next(_methods(of, instruction.argval), ())
    if "super" in code.co_names or any(
        isinstance(value, type) and value is not object and value in of.__mro__
        for value in _values(function)
    ):
        # `super().name` and `Class.name`: whichever class has it.
        for body in nested_codes(code):
            for name in body.co_names:
                for functions in _methods(of, name):
                    yield from functions


def _methods(of: type, name: str) -> Iterator[list[types.FunctionType]]:
    """The functions that people wrote for an attribute of that name, of the nearest class first."""
    for body in of.__mro__:
        # What the base classes do says nothing about the design.
        written = [
            function
            for function in _functions_of(body.__dict__.get(name))
            if not _is_ours(str(function.__module__))
        ]
        if written:
            yield written


def _functions_of(value: object) -> list[types.FunctionType]:
    """What runs when an attribute of a class is used: its function, or those of its property."""
    if isinstance(value, property):
        parts: tuple[object, ...] = (value.fget, value.fset, value.fdel)
    else:
        parts = (getattr(value, "__func__", value),)
    return [one for one in parts if isinstance(one, types.FunctionType)]


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] == __name__.partition(".")[0]


def loads(instruction: dis.Instruction, name: str | None) -> bool:
    """Whether an instruction leaves the variable of that name on top of the stack."""
    loaded = _loaded(instruction)
    return bool(loaded) and loaded[-1] == name


def _touches(instruction: dis.Instruction, name: str, how: str) -> bool:
    """Whether the instruction puts the variable of that name on the stack, in that way."""
    return how in instruction.opname and name in _loaded(instruction)


def _loaded(instruction: dis.Instruction) -> tuple[str, ...]:
    """The variables that the instruction loads, the one on top of the stack last."""
    kind, loaded = instruction.opname, instruction.argval
    # From Python 3.13 on, one instruction may load two variables, or store one and load one.
    if kind.startswith("STORE_FAST_LOAD_FAST"):
        return (loaded[1],)
    if not kind.startswith(("LOAD_FAST", "LOAD_DEREF")):
        return ()
    return loaded if isinstance(loaded, tuple) else (loaded,)


def _text_at(
    instructions: list[dis.Instruction], index: int, function: types.FunctionType
) -> str | None:
    """The text that an instruction loads as an argument, if it is the whole argument."""
    first = instructions[index]
    value: object = None
    if first.opname == "LOAD_CONST":
        value = first.argval
    elif first.opname == "LOAD_GLOBAL":
        value = function.__globals__.get(first.argval)
    elif first.opname == "LOAD_DEREF":
        value = closure_of(function).get(first.argval)
    if not isinstance(value, str):
        return None
    # It is the whole argument if it lies on the stack until the call takes it, together with
    # what lies below. An operator, a format or a method of the text takes it and leaves another.
    depth = 1
    for instruction in instructions[index + 1 :]:
        depth += dis.stack_effect(instruction.opcode, instruction.arg, jump=False)
        if depth <= 1:
            return value if depth < 1 else None
    return None


def instructions_of(code: types.CodeType) -> list[dis.Instruction]:
    """The instructions of a function's code, without what is part of the one after it."""
    # An argument of more than a byte has a prefix, which is part of the instruction after it.
    return [one for one in dis.get_instructions(code) if one.opname != "EXTENDED_ARG"]


def closure_of(function: types.FunctionType) -> dict[str, Any]:
    """What the function's free variables stand for."""
    return {
        name: cell.cell_contents
        for name, cell in zip(
            function.__code__.co_freevars, function.__closure__ or (), strict=True
        )
        if _is_filled(cell)
    }


def _values(function: types.FunctionType) -> Iterator[Any]:
    """Everything that the function's names stand for."""
    names = closure_of(function)
    attributes = {name for code in nested_codes(function.__code__) for name in code.co_names}
    # An attribute may be called as a variable of the module is.
    variables = {
        one.argval
        for code in nested_codes(function.__code__)
        for one in instructions_of(code)
        if one.opname in _VARIABLE
    }
    names |= {name: function.__globals__[name] for name in variables & function.__globals__.keys()}
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


def nested_codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """A function's code, and that of the functions inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from nested_codes(constant)


def _is_filled(cell: types.CellType) -> bool:
    # A local class that is defined further down is an empty cell as yet.
    try:
        cell.cell_contents  # noqa: B018 - reading is the test
    except ValueError:
        return False
    return True
