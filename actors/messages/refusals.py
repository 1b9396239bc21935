"""A refusal as it is stored, so that it can be raised again: its class, and what it carries.

Values are packed as they are where MessagePack has them, and as a pair of a word and its contents
where it has not. What is neither is left out, and the refusal that is raised again says so.
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

import msgspec

from ..errors import Rejected

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["pack_refusal", "refused_again"]

T = TypeVar("T")

_encode: Callable[[Any], bytes] = msgspec.msgpack.Encoder().encode

_PLAIN = frozenset({str, int, bool, float, bytes, type(None)})

_TAKEN_APART: dict[type, Callable[[Any], Any]] = {
    Decimal: str,
    UUID: str,
    datetime: datetime.isoformat,
    date: date.isoformat,
    time: time.isoformat,
    timedelta: lambda value: [value.days, value.seconds, value.microseconds],
    list: lambda value: [_taken_apart(one) for one in value],
    tuple: lambda value: [_taken_apart(one) for one in value],
    set: lambda value: [_taken_apart(one) for one in value],
    frozenset: lambda value: [_taken_apart(one) for one in value],
    dict: lambda value: [[_taken_apart(key), _taken_apart(one)] for key, one in value.items()],
}

_PUT_TOGETHER: dict[str, Callable[[Any], Any]] = {
    "Decimal": Decimal,
    "UUID": UUID,
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "timedelta": lambda said: timedelta(*said),
    "list": lambda said: [_put_together(one) for one in said],
    "tuple": lambda said: tuple(_put_together(one) for one in said),
    "set": lambda said: {_put_together(one) for one in said},
    "frozenset": lambda said: frozenset(_put_together(one) for one in said),
    "dict": lambda said: {_put_together(key): _put_together(one) for key, one in said},
    "Enum": lambda said: _found(Enum, said[0])[said[1]],
}


class _Refusal(msgspec.Struct, array_like=True):
    """What is stored beside the reason."""

    cls: str
    args: list[Any] | None
    fields: dict[str, Any]
    left_out: list[str]


_decode = msgspec.msgpack.Decoder(_Refusal).decode


def pack_refusal(error: Rejected) -> bytes | None:
    """What a refusal is beside its reason; None if it is nothing else."""
    if type(error) is Rejected and vars(error).keys() == {"reason"}:
        return None
    fields, left_out = {}, []
    for name, value in vars(error).items():
        packed = _packable(value)
        if name == "reason":
            continue
        if packed is None:
            left_out.append(name)
        else:
            fields[name] = packed[0]
    arguments = [_packable(one) for one in error.args]
    args = None if None in arguments else [one[0] for one in arguments if one is not None]
    return _encode(_Refusal(_name_of(type(error)), args, fields, left_out))


def refused_again(reason: str, packed: bytes | None) -> Rejected:
    """A refusal like the one that was stored.

    It is of the same class, if the program still has it; otherwise a `Rejected` with the same
    reason and attributes. Its notes say what is missing.
    """
    if packed is None:
        return Rejected(reason)
    said = _decode(packed)
    lost: list[str] = []
    error = _made(said, reason, lost)
    error.__dict__["reason"] = reason
    for name, value in said.fields.items():
        try:
            error.__dict__[name] = _put_together(value)
        except (LookupError, ValueError, TypeError):
            said.left_out.append(name)
    lost += [f"its attribute {name!r}, which could not be stored" for name in said.left_out]
    if lost:
        error.add_note(f"this was refused before, and is without {' and '.join(lost)}")
    return error


def _made(said: _Refusal, reason: str, lost: list[str]) -> Rejected:
    try:
        cls = _found(Rejected, said.cls)
        args = (reason,) if said.args is None else _put_together(["tuple", said.args])
        # Not by its `__init__`, which may take anything.
        error: Rejected = cls.__new__(cls, *args)
        error.args = args
    except Exception:  # noqa: BLE001 - it may run code of the class's own
        lost.append(f"its class, {said.cls}, which is not here as it was")
        return Rejected(reason)
    return error


def _packable(value: object) -> tuple[Any] | None:
    """A value as it is stored; None if it cannot be."""
    try:
        apart = _taken_apart(value)
        _encode(apart)
    except Exception:  # noqa: BLE001 - the value may be anything, and what it does its own
        return None
    return (apart,)


def _taken_apart(value: Any) -> Any:
    kind = type(value)
    if kind in _PLAIN:
        return value
    if issubclass(kind, Enum):
        return ["Enum", [_name_of(kind), value.name]]
    take = _TAKEN_APART.get(kind)
    if take is None:
        raise TypeError(f"a {kind.__name__} cannot be stored")
    return [kind.__name__, take(value)]


def _put_together(said: Any) -> Any:
    if type(said) is list:
        word, contents = said
        return _PUT_TOGETHER[word](contents)
    return said


def _name_of(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _found(base: type[T], name: str) -> type[T]:
    """The class of that name below another one; nothing is imported to find it."""
    waiting: list[Any] = [base]
    while waiting:
        cls = waiting.pop()
        if _name_of(cls) == name:
            found: type[T] = cls
            return found
        waiting += type.__subclasses__(cls)
    raise LookupError(f"there is no class {name}")
