"""Where a float was given and a `Decimal` was read back, which equality alone does not tell."""

from __future__ import annotations

import dataclasses
from decimal import Decimal
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import inspect

from .described import every_type_in, inside_of

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["float_for_decimal", "may_have_floats"]


def may_have_floats(kind: Any) -> Callable[[Any], bool] | None:
    """What tells whether a value of a type may have a float where a `Decimal` is annotated.

    Returns:
        None if the type has no decimals; otherwise a function of the value, which is false for
        nearly all where only whole fields are decimals, and always true where they are nested

    """
    if kind is dict:
        return None
    described = inspect.type_info(kind)
    if not isinstance(described, inspect.StructType | inspect.TypedDictType):
        return _always if _has_decimals(described) else None
    fields = [field for field in described.fields if _has_decimals(field.type)]
    if not all(_is_plain(field.type) for field in fields):
        return _always
    names = [field.name for field in fields]
    get: Any = attrgetter if isinstance(described, inspect.StructType) else itemgetter
    if len(names) == 1:
        one = get(*names)
        return lambda value: type(one(value)) is float
    if names:
        several = get(*names)
        return lambda value: float in map(type, several(value))
    return None


def _always(value: Any) -> bool:
    del value
    return True


def _is_plain(described: inspect.Type) -> bool:
    """Whether it is a `Decimal`, or one of several single values."""
    if isinstance(described, inspect.UnionType):
        return all(_is_plain(one) for one in described.types)
    return next(inside_of(described), None) is None


def _has_decimals(described: inspect.Type) -> bool:
    return any(isinstance(one, inspect.DecimalType) for one in every_type_in(described))


def float_for_decimal(given: Any, read: Any) -> bool:
    """Whether a float is somewhere in a value, and a `Decimal` in its place in what was read."""
    waiting = [(given, read)]
    while waiting:
        one, back = waiting.pop()
        if type(one) is float:
            if type(back) is Decimal:
                return True
        elif isinstance(one, list | tuple):
            waiting += zip(one, back, strict=False)
        elif isinstance(one, dict):
            waiting += zip(one, back, strict=False)
            waiting += zip(one.values(), back.values(), strict=False)
        elif isinstance(one, set | frozenset):
            same = {each: each for each in back}
            waiting += ((each, same.get(each)) for each in one)
        else:
            waiting += (
                (getattr(one, name, None), getattr(back, name, None)) for name in _names_of(one)
            )
    return False


def _names_of(value: Any) -> tuple[str, ...]:
    if isinstance(value, msgspec.Struct):
        return value.__struct_fields__
    if dataclasses.is_dataclass(value):
        return tuple(one.name for one in dataclasses.fields(value))
    return ()
