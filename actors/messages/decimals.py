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

__all__ = ["Decimals", "decimals_in", "float_for_decimal"]


class Decimals:
    """The decimals in a type.

    Args:
        plain: gives the types of the fields that are decimals themselves; None if others have some
            inside, or there are no fields

    """

    def __init__(self, plain: Callable[[Any], Any] | None, *, is_one: bool) -> None:
        self._plain = plain
        self._is_one = is_one

    def may_be_floats(self, value: Any) -> bool:
        """Whether a value may have a float in the place of a decimal; false for nearly all."""
        if self._plain is None:
            return True
        if self._is_one:
            return type(self._plain(value)) is float
        return float in map(type, self._plain(value))


def decimals_in(kind: Any) -> Decimals | None:
    """Where a value of that type has decimals; None if nowhere."""
    if kind is dict:
        return None
    described = inspect.type_info(kind)
    if not isinstance(described, inspect.StructType | inspect.TypedDictType):
        return Decimals(None, is_one=False) if _has_decimals(described) else None
    names = [field.name for field in described.fields if _has_decimals(field.type)]
    if not names:
        return None
    if not all(_is_plain(field.type) for field in described.fields if field.name in names):
        return Decimals(None, is_one=False)
    get = attrgetter if isinstance(described, inspect.StructType) else itemgetter
    return Decimals(get(*names), is_one=len(names) == 1)


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
