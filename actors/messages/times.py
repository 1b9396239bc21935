"""Times as text that says all of them: the offset to the microsecond, the zone's name, the fold.

The text is that of RFC 3339 wherever that can say the time, which msgspec reads by itself. What it
cannot say stands in brackets behind it, as RFC 9557 has it:
``2026-10-25T02:30:00+01:00[Europe/Berlin]``.
"""

from __future__ import annotations

import dataclasses
import re
from contextlib import suppress
from datetime import UTC, datetime, time
from typing import TYPE_CHECKING, Any, TypeVar
from zoneinfo import ZoneInfo

import msgspec
from msgspec import inspect

from .described import WITH_FIELDS, every_type_in

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["are_in", "reading", "told", "with_times", "written"]

T = TypeVar("T")

# MessagePack has bytes; JSON, which msgspec assumes, has not.
_NATIVE = (bytes, datetime, time)
_TIMES = frozenset({datetime, time})
_OF_TIMES = (inspect.DateTimeType, inspect.TimeType)

_FOLD = "[_fold=1]"
_TEXT = re.compile(
    r"(?P<said>(?P<day>\d{4}-\d\d-\d\dT)?\d\d:\d\d:\d\d(?:\.\d{1,6})?"
    r"(?:Z|[+-]\d\d:\d\d(?::\d\d(?:\.\d{6})?)?)?)"
    r"(?:\[(?P<zone>[^\]=]+)\])?(?P<fold>\[_fold=1\])?"
)

_load_plain: Callable[[bytes], Any] = msgspec.msgpack.Decoder().decode


# Writing


def written(value: object) -> Any:
    """A value as plain ones, with its times as text."""
    root = [msgspec.to_builtins(value, builtin_types=_NATIVE)]
    # Not by recursion: what is plain may be as deep as msgspec can go.
    waiting: list[Any] = [root]
    while waiting:
        one = waiting.pop()
        has_keys = False
        for place, inner in one.items() if type(one) is dict else enumerate(one):
            kind = type(inner)
            if kind is datetime or kind is time:
                one[place] = _text_of(inner)
            elif kind is dict or kind is list:
                waiting.append(inner)
            elif kind is tuple:
                one[place] = parts = list(inner)
                waiting.append(parts)
            if type(place) in _TIMES:
                has_keys = True
        if has_keys:
            items = [(_text_of(k) if type(k) in _TIMES else k, inner) for k, inner in one.items()]
            one.clear()
            one.update(items)
    return root[0]


def _text_of(moment: datetime | time) -> str:
    """A time as text.

    Raises:
        ValueError: it has a zone of which nothing can be written

    """
    zone = moment.tzinfo
    if zone is UTC and not moment.fold:
        # As below, for what is usual.
        return moment.isoformat()[: -len("+00:00")] + "Z"
    offset = moment.utcoffset()
    name = zone.key if isinstance(zone, ZoneInfo) else None
    if zone is not None and offset is None and not name:
        raise ValueError(f"{moment!r} has a zone without offset or name; use zoneinfo.ZoneInfo")
    text = moment.isoformat()
    if name:
        text = f"{text}[{name}]"
    elif zone is not None and not offset:
        text = text.removesuffix("+00:00") + "Z"
    if moment.fold and moment.replace(fold=0).utcoffset() == offset:
        # Where clocks are set, the offset tells it.
        text += _FOLD
    return text


# Reading


def reading(kind: Any, decode: Callable[[bytes], T]) -> Callable[[bytes], T]:
    """What decodes values of a type, also with times that msgspec cannot read.

    Args:
        kind: the type
        decode: msgspec's own decoder, which reads all others

    """
    described: inspect.Type | None = None

    def read(packed: bytes) -> T:
        nonlocal described
        try:
            return decode(packed)
        except msgspec.ValidationError as error:
            try:
                plain = _load_plain(packed)
            except (msgspec.DecodeError, TypeError, ValueError):
                # Damage of a kind that is found only where a type is known.
                raise error from None
        described = described or inspect.type_info(kind)
        read: T = msgspec.convert(_restored(described, plain), kind, builtin_types=_NATIVE)
        return read

    return read


def with_times(kind: Any, plain: Any) -> Any:
    """Plain values of a type, with the times in them that msgspec cannot read by itself."""
    return _restored(inspect.type_info(kind), plain)


def _restored(kind: inspect.Type, plain: Any) -> Any:
    """Plain values with the times that msgspec cannot read, where the type has them."""
    if isinstance(kind, inspect.Metadata):
        return _restored(kind.type, plain)
    if isinstance(kind, inspect.UnionType):
        for one in kind.types:
            if _takes(one, plain):
                return _restored(one, plain)
        return plain
    if not _takes(kind, plain):
        return plain
    if isinstance(plain, str):
        return _moment_of(plain, datetime if isinstance(kind, inspect.DateTimeType) else time)
    if isinstance(kind, inspect.DictType):
        key, value = kind.key_type, kind.value_type
        return {_restored(key, k): _restored(value, v) for k, v in plain.items()}
    if isinstance(kind, WITH_FIELDS):
        if isinstance(plain, dict):
            types = {field.encode_name: field.type for field in kind.fields}
            return {k: _restored(types[k], v) if k in types else v for k, v in plain.items()}
        of_parts = [field.type for field in kind.fields]
        tagged = 1 if isinstance(kind, inspect.StructType) and kind.tag is not None else 0
    elif isinstance(kind, inspect.TupleType):
        of_parts, tagged = list(kind.item_types), 0
    else:
        assert isinstance(kind, inspect.CollectionType)
        return [_restored(kind.item_type, one) for one in plain]
    of_parts = [inspect.AnyType()] * tagged + of_parts
    known = [_restored(one, part) for one, part in zip(of_parts, plain, strict=False)]
    return known + plain[len(known) :]


def _takes(kind: inspect.Type, plain: Any) -> bool:
    """Whether plain values of that shape may hold times of a type; of a union one member does."""
    if isinstance(kind, inspect.Metadata):
        return _takes(kind.type, plain)
    if isinstance(plain, str):
        return isinstance(kind, _OF_TIMES)
    is_array = isinstance(kind, inspect.NamedTupleType)
    if isinstance(kind, inspect.StructType):
        is_array = kind.array_like
        if kind.tag is not None and isinstance(plain, dict | list):
            tag = plain[:1] if isinstance(plain, list) else [plain.get(kind.tag_field)]
            if tag != [kind.tag]:
                return False
    if isinstance(plain, dict):
        return not is_array and isinstance(kind, (inspect.DictType, *WITH_FIELDS))
    if isinstance(plain, list):
        return is_array or isinstance(kind, inspect.CollectionType | inspect.TupleType)
    return False


def _moment_of(text: str, kind: type[datetime | time]) -> datetime | time | str:
    """The time that a text says; the text itself if it is none of that kind.

    Raises:
        ValidationError: its zone is not known here

    """
    with suppress(msgspec.ValidationError):
        return msgspec.convert(text, kind)
    found = _TEXT.fullmatch(text)
    if found is None or (found["day"] is None) is (kind is datetime):
        return text
    zone = None if found["zone"] is None else _zone(found["zone"], text)
    with suppress(ValueError, OverflowError):
        moment = kind.fromisoformat(found["said"])
        if zone is not None:
            moment = _in_zone(moment, zone)
        return moment.replace(fold=1) if found["fold"] else moment
    return text


def _zone(name: str, text: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError) as error:
        raise msgspec.ValidationError(
            f"{text!r} is in a time zone that is not known here; install the package tzdata"
        ) from error


def _in_zone(moment: datetime | time, zone: ZoneInfo) -> datetime | time:
    """The same moment by the clocks of a zone; a time of day is in it without more."""
    if isinstance(moment, time):
        return moment.replace(tzinfo=zone)
    for fold in (0, 1):
        there = moment.replace(tzinfo=zone, fold=fold)
        if there.utcoffset() == moment.utcoffset():
            return there
    # The zone's rules were changed since it was written. What was meant may be the moment or what
    # clocks show; an order of events needs the moment.
    return moment.astimezone(zone)


# The types that have times, and values that are compared


def are_in(kind: Any) -> bool:
    """Whether a value of that type may hold a time."""
    return any(isinstance(one, _OF_TIMES) for one in every_type_in(inspect.type_info(kind)))


def told(value: Any) -> Any:
    """A value in which each time is what it says.

    Python calls times of two zones different whenever clocks are set there, even if they are the
    same moment.
    """
    kind = type(value)
    if isinstance(value, datetime | time):
        return kind, value.replace(tzinfo=None), value.utcoffset()
    if kind is list:
        return [told(one) for one in value]
    if isinstance(value, tuple):
        return tuple(told(one) for one in value)
    if kind is set or kind is frozenset:
        return {told(one) for one in value}
    if kind is dict:
        return {told(key): told(one) for key, one in value.items()}
    if isinstance(value, msgspec.Struct):
        return kind, *(told(getattr(value, name)) for name in kind.__struct_fields__)
    if dataclasses.is_dataclass(kind) and kind.__dataclass_params__.eq:  # type: ignore[attr-defined]
        return kind, *(told(getattr(value, one.name)) for one in dataclasses.fields(kind))
    return value
