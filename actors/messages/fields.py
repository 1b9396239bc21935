"""Which types a field of a message or a state can have: those whose values read back equal.

msgspec says itself which types it cannot decode. It also decodes what it can never have encoded,
such as a class that it does not know; those are told here.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from pathlib import PurePath
from typing import Any, Generic, NamedTuple, TypedDict, TypeVar

import msgspec
from msgspec import inspect

from ..errors import DefinitionError
from .described import WITH_FIELDS, every_type_in, inside_of

__all__ = [
    "are_names_known",
    "hints_of",
    "refuse_unfit",
    "refuse_unfit_message",
    "typed_dict",
    "variables_in",
]


def hints_of(cls: type) -> dict[str, Any]:
    """The annotations of a class, by field.

    Raises:
        DefinitionError: one cannot be read

    """
    try:
        return typing.get_type_hints(cls, include_extras=True)
    except NameError as error:
        raise DefinitionError(
            f"{cls.__qualname__}: an annotation names {error.name!r}, which is not known in its "
            f"module; import it there, outside `if TYPE_CHECKING`"
        ) from error
    except Exception as error:
        raise DefinitionError(
            f"{cls.__qualname__}: an annotation cannot be read: {error}"
        ) from error


def are_names_known(cls: type) -> bool:
    """Whether what the annotations of a class name is defined by now."""
    try:
        hints_of(cls)
    except DefinitionError as error:
        return not isinstance(error.__cause__, NameError)
    return True


def refuse_unfit_message(cls: type[msgspec.Struct]) -> None:
    """Refuse a message that has a field of a type whose values could not be stored.

    Raises:
        DefinitionError: there is such a field

    """
    hints = hints_of(cls)
    refuse_unfit(cls, cls, {name: hints[name] for name in cls.__struct_fields__})


def typed_dict(name: str, hints: Mapping[str, Any]) -> Any:
    """A type that has these fields, of which each may be missing."""
    return _typed_dict(name, dict(hints), total=False)


# Type checkers want them written out.
_typed_dict: Any = TypedDict


def refuse_unfit(cls: type, kind: Any, hints: Mapping[str, Any]) -> None:
    """Refuse a class that has a field of a type whose values could not be stored.

    Args:
        cls: the class that a user wrote
        kind: what is decoded for it: itself, if it is a message, or a typed dictionary
        hints: its fields, with their annotations

    Raises:
        DefinitionError: there is such a field

    """
    where = cls.__qualname__
    try:
        msgspec.msgpack.Decoder(kind)
    except Exception as error:
        raise DefinitionError(f"{where}{_refused_in(hints, error)}") from error
    # A class below a generic one says what a variable stands for.
    said = set() if getattr(cls, "__parameters__", ()) else _variables_above(cls)
    for field in inspect.type_info(kind).fields:  # type: ignore[attr-defined] # it has fields
        hint = hints[field.name]
        variable = _variable_in(hint)
        if variable is not None and variable not in said:
            unfit: _Unfit | None = _of_variable(variable)
        else:
            unfit = _first_unfit(field.type)
        if unfit is not None:
            raise DefinitionError(
                f"{where}.{field.name}: {_called(hint)} cannot be stored, since {unfit.reason}; "
                f"{unfit.mend}"
            )


def _variables_above(cls: type) -> set[object]:
    return {one for base in cls.__mro__[1:] for one in getattr(base, "__parameters__", ())}


def _refused_in(hints: Mapping[str, Any], error: Exception) -> str:
    """The field of a type that msgspec refuses, and its words for it."""
    for name, hint in hints.items():
        try:
            msgspec.msgpack.Decoder(hint)
        except Exception as same:  # noqa: BLE001 - whatever it is, it is raised again
            return (
                f".{name}: {_called(hint)} cannot be stored: {same}; write another type, or keep "
                f"it in parts that are plain values"
            )
    return f": its fields cannot be stored: {error}"


class _Unfit(NamedTuple):
    """Why values of a type cannot be stored, and what to write."""

    reason: str
    mend: str


def _of_variable(variable: TypeVar) -> _Unfit:
    return _Unfit(
        f"nothing says what the type variable {variable} stands for",
        "write the type, such as `Page[str]` for a `Page[T]`, or Any for plain values",
    )


def _variable_in(hint: Any) -> TypeVar | None:
    """A type variable that could stand for anything."""
    free = (one for one in variables_in(hint) if one.__bound__ is None)
    return next(free, None)


def variables_in(hint: Any) -> list[TypeVar]:
    """The type variables in an annotation."""
    found = (hint,) if isinstance(hint, TypeVar) else getattr(hint, "__parameters__", ())
    return [one for one in found if isinstance(one, TypeVar)]


def _first_unfit(described: inspect.Type) -> _Unfit | None:
    """The first type inside of one whose values cannot be stored."""
    found = (_unfit(one) for one in every_type_in(described))
    return next((one for one in found if one is not None), None)


def _unfit(one: inspect.Type) -> _Unfit | None:
    """What is wrong with a type by itself."""
    if isinstance(one, inspect.CustomType):
        return _of_class(one.cls)
    if isinstance(one, inspect.ByteArrayType | inspect.MemoryViewType):
        return _Unfit("what is read back is bytes", "write bytes")
    if isinstance(one, inspect.RawType | inspect.ExtType):
        return _Unfit("it is a part of a message and no value", "write bytes")
    if isinstance(one, inspect.DictType):
        return _unfit_member(one.key_type, as_key=True)
    if isinstance(one, inspect.SetType | inspect.FrozenSetType):
        return _unfit_member(one.item_type, as_key=False)
    if isinstance(one, WITH_FIELDS):
        return _of_fields(one.cls)
    return None


def _unfit_member(member: inspect.Type, *, as_key: bool) -> _Unfit | None:
    """What cannot be the key of a mapping, or in a set."""
    waiting = [member]
    while waiting:
        one = waiting.pop()
        is_object = isinstance(one, inspect.StructType | inspect.DataclassType)
        if isinstance(one, _CANNOT_BE_HASHED) or (
            is_object and (as_key or one.cls.__hash__ is None)  # type: ignore[attr-defined] # it is one of a class
        ):
            name = getattr(getattr(one, "cls", None), "__name__", "")
            name = name or type(one).__name__.removesuffix("Type").lower()
            what = "the key of a mapping" if as_key else "in a set"
            return _Unfit(
                f"a {name} can never be {what}",
                "write a list of pairs" if as_key else "write a list",
            )
        if isinstance(one, _HASHED_BY_PARTS):
            waiting += inside_of(one)
    return None


_HASHED_BY_PARTS = (
    inspect.Metadata,
    inspect.UnionType,
    inspect.TupleType,
    inspect.VarTupleType,
    inspect.FrozenSetType,
    inspect.NamedTupleType,
)
_CANNOT_BE_HASHED = (inspect.ListType, inspect.SetType, inspect.DictType, inspect.TypedDictType)


def _of_fields(cls: Any) -> _Unfit | None:
    """What is wrong with a class that has fields, apart from these."""
    if cls.__module__ == _MESSAGES and cls.__name__ in {"Message", "Event", "Command"}:
        return _Unfit(
            "it does not say which fields there are", "write the class of the message itself"
        )
    variables = [_variable_in(cls)]
    if isinstance(cls, type) and not issubclass(cls, Generic):
        variables += map(_variable_in, hints_of(cls).values())
    for variable in variables:
        if variable is not None:
            return _of_variable(variable)
    if dataclasses.is_dataclass(cls) and cls.__eq__ is object.__eq__:
        return _Unfit(
            f"a {cls.__name__} is equal to itself alone, so what is read back differs",
            "remove `eq=False` above it, or give it an `__eq__`",
        )
    return None


_MESSAGES = __name__.removesuffix("fields") + "types"

_INSTEAD: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (PurePath, "write str, and make a path of it where it is used"),
    (str, "write str, or an enum"),
    (int, "write int, or an enum"),
    (float, "write float"),
    ((complex, BaseException), "write its text, or its parts"),
    (type, "write its name as str"),
    (Mapping, "write dict[...]"),
    (AbstractSet, "write set[...] or frozenset[...]"),
    (Iterable, "write list[...] or tuple[...]"),
)


def _of_class(cls: type) -> _Unfit:
    if (
        cls is object
        or getattr(cls, "__abstractmethods__", None)
        or getattr(cls, "_is_protocol", False)
    ):
        return _Unfit(
            "it does not say how its values are read back",
            "write the type that they have, or Any for plain values: text, numbers, None, bytes, "
            "lists and mappings of these",
        )
    reason = f"nothing says how a {cls.__name__} is read back"
    for kinds, instead in _INSTEAD:
        if issubclass(cls, kinds):
            return _Unfit(reason, instead)
    return _Unfit(
        reason, "write a dataclass or a message with the same fields, or plain values such as str"
    )


def _called(hint: Any) -> str:
    is_plain = isinstance(hint, type) and not typing.get_args(hint)
    return f"the type {hint.__qualname__ if is_plain else hint}"
