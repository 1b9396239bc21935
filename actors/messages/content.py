"""What a message says, in one form: equal messages have one digest, however they were written."""

from __future__ import annotations

import dataclasses
import decimal
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from hashlib import blake2b
from itertools import chain
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec
from msgspec import NODEFAULT, Struct, structs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["digest_of", "unversioned"]

DIGEST_SIZE = 16

_encode: Callable[[Any], bytes] = msgspec.msgpack.Encoder().encode
_AS_IT_IS = frozenset({str, int, bool, type(None), bytes})
_EXACT = decimal.Context(prec=decimal.MAX_PREC, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN)
_WHOLE = float(1 << 53)
"""Up to here a float that is whole is that number and no other."""


def digest_of(secret: bytes, name: str, message: Struct, stream: str = "") -> bytes:
    """What tells a message from others of other content.

    Args:
        secret: of the store; without it, the content cannot be found by trying what it might be
        name: the wire name; its version does not count
        message: as it is read back
        stream: where an event belongs

    """
    hashed = _begun(secret, name).copy()
    said = _struct(message)
    hashed.update(_encode((stream, said) if stream else said))
    return hashed.digest()


@lru_cache(maxsize=4_096)
def _begun(secret: bytes, name: str) -> blake2b:
    """What is the same for all messages of a type."""
    return blake2b(unversioned(name).encode() + b"\0", digest_size=DIGEST_SIZE, key=secret)


def unversioned(name: str) -> str:
    """A wire name without its version."""
    return name.rpartition(".v")[0]


class _Inner:
    """What has values inside: which, and what tells how many of which kind there are."""

    __slots__ = ("mark", "values")

    def __init__(self, values: list[Any], *, named: bool = True) -> None:
        self.values = values
        self.mark = -1 - len(values) if named else len(values)


def _plain(value: Any) -> Any:
    """A value as MessagePack has it; what is inside of it one after the other, however deep."""
    kind = type(value)
    if kind in _AS_IT_IS:
        return value
    made = _makers[kind](value)
    if type(made) is not _Inner:
        return made
    said: list[Any] = []
    waiting = [made]
    while waiting:
        one = waiting.pop()
        kind = type(one)
        if kind is not _Inner and kind not in _AS_IT_IS:
            one = _makers[kind](one)
        if type(one) is _Inner:
            said.append(one.mark)
            waiting.extend(reversed(one.values))
        else:
            said.append(one)
    return said


def _struct(value: Struct) -> list[Any]:
    """Fields by name. One that has its default is left out, so that it may be added to a class."""
    cls = _classes[type(value)]
    said: list[Any] = [cls.tag]
    if not cls.has_defaults:
        # As `_fields`, with what most classes need done at once.
        said.extend(chain.from_iterable(zip(cls.names, cls.values_of(value), strict=True)))
        for place in cls.places:
            said[place] = _plain(said[place])
        return said
    said += [_plain(one) for one in _fields(cls, value)]
    return said


def _fields(cls: _Class, value: Struct) -> list[Any]:
    said: list[Any] = []
    for name, given, default in zip(cls.names, cls.values_of(value), cls.defaults, strict=True):
        if given != default or type(given) is not type(default):
            said += (name, given)
    return said


def _inner_struct(value: Struct) -> _Inner:
    cls = _classes[type(value)]
    return _Inner([cls.tag, *_fields(cls, value)])


class _Class:
    """What is known of a class of messages."""

    def __init__(self, cls: type[Struct]) -> None:
        fields = sorted(structs.fields(cls), key=lambda field: field.name)
        self.tag = cls.__struct_config__.tag
        self.names = [field.name for field in fields]
        self.values_of = _getter(self.names)
        self.defaults = [_default(field) for field in fields]
        self.has_defaults = any(one is not NODEFAULT for one in self.defaults)
        # Where in what is said there are values that are not said as they are.
        self.places = [
            2 + 2 * number for number, field in enumerate(fields) if field.type not in _AS_IT_IS
        ]


def _getter(names: list[str]) -> Callable[[Any], Sequence[Any]]:
    if len(names) > 1:
        return attrgetter(*names)
    return lambda value: [getattr(value, name) for name in names]


def _default(field: structs.FieldInfo) -> Any:
    return field.default if field.default_factory is NODEFAULT else field.default_factory()


class _Classes(dict[type, _Class]):
    def __missing__(self, cls: type[Struct]) -> _Class:
        found = self[cls] = _Class(cls)
        return found


_classes = _Classes()


def _dataclass(value: Any) -> _Inner:
    names = sorted(field.name for field in dataclasses.fields(value))
    return _Inner([one for name in names for one in (name, getattr(value, name))])


def _mapping(value: Mapping[Any, Any]) -> _Inner:
    keyed = sorted(((_encode(_plain(key)), one) for key, one in value.items()), key=_first)
    return _Inner([one for pair in keyed for one in pair])


_first = itemgetter(0)


def _set(value: AbstractSet[Any]) -> list[bytes]:
    return sorted(_encode(_plain(one)) for one in value)


def _sequence(value: Any) -> _Inner:
    return _Inner(list(value), named=False)


def _decimal(value: Decimal) -> str:
    return str(value.normalize(_EXACT)) if value else "0"


def _float(value: float) -> float:
    return int(value) if abs(value) < _WHOLE and value.is_integer() else value


def _datetime(value: datetime) -> str:
    return (value if value.tzinfo is None else value.astimezone(UTC)).isoformat()


def _timedelta(value: timedelta) -> list[int]:
    return [value.days, value.seconds, value.microseconds]


# What comes first stands for its subclasses, too.
_KINDS: tuple[tuple[type, Callable[[Any], Any]], ...] = (
    (Enum, lambda value: _plain(value.value)),
    (Struct, _inner_struct),
    (Mapping, _mapping),
    (AbstractSet, _set),
    (tuple, _sequence),
    (list, _sequence),
    (Decimal, _decimal),
    (float, _float),
    (datetime, _datetime),
    (date, date.isoformat),
    (time, time.isoformat),
    (timedelta, _timedelta),
    (UUID, str),
)


class _Makers(dict[type, "Callable[[Any], Any]"]):
    def __missing__(self, kind: type) -> Callable[[Any], Any]:
        make: Callable[[Any], Any] = msgspec.to_builtins
        if dataclasses.is_dataclass(kind):
            make = _dataclass
        for known, how in _KINDS:
            if issubclass(kind, known):
                make = how
                break
        self[kind] = make
        return make


_makers = _Makers()
