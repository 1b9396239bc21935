"""Values as JSON has them, and back: text, numbers, true and false, null, lists, and mappings.

Decimals, ids, enums and bytes (as base64) are text, and so are times, with their zones.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from ..errors import InvalidMessage, shown
from .times import with_times, written

__all__ = ["as_json", "from_plain", "plain", "refuse_other"]

T = TypeVar("T")


def plain(value: object) -> Any:
    """A value as JSON has it."""
    # What is text of its own kind to us first; JSON would have bytes as text, too.
    return msgspec.to_builtins(written(value), str_keys=True)


def as_json(values: object) -> str:
    """Plain values as JSON."""
    return json.dumps(values, ensure_ascii=False, separators=(",", ":"))


def from_plain(kind: type[T], values: object, name: str) -> T:
    """A value of a type of plain ones; those that have their type already stay as they are.

    Args:
        kind: the type
        values: as `plain` makes them, or as a person writes them: a number for a `Decimal`, too
        name: what errors call it

    Raises:
        InvalidMessage: they do not fit the type

    """
    try:
        return msgspec.convert(values, kind, str_keys=True)
    except msgspec.ValidationError:
        # A time may be written in a way that msgspec does not read.
        try:
            restored = with_times(kind, values)
            return msgspec.convert(restored, kind, str_keys=True)
        except (msgspec.ValidationError, AttributeError, TypeError) as error:
            raise InvalidMessage(f"{name} is not valid: {error}") from error


def refuse_other(values: object, name: str) -> None:
    """Refuse what is no mapping.

    Raises:
        InvalidMessage: it is none

    """
    if not issubclass(type(values), Mapping):
        raise InvalidMessage(f"{name}: {shown(values)} is no mapping; give values by field")
