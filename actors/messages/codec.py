"""Typed values to bytes and back, as MessagePack; msgspec checks, converts and packs.

A value is accepted when what was packed reads back equal to it under its annotations. That one
rule refuses a wrong type, a `"99"` where a `Decimal` belongs, and whatever would come back as
something else. Times are equal when they say the same: the same day and hour, at the same offset.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec
from msgspec import inspect, structs

from ..errors import DefinitionError, Erased, InvalidMessage, shown
from ..store import erased_at
from .decimals import float_for_decimal, may_have_floats
from .fields import hints_of, refuse_unfit_message, typed_dict, variables_in
from .times import are_in, reading, told, written

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "Codec",
    "bring",
    "codecs",
    "differ",
    "dump",
    "dump_headers",
    "exchange",
    "load_headers",
    "refuse_erased",
]

T = TypeVar("T")

_encode: Callable[[Any], bytes] = msgspec.msgpack.Encoder().encode
_to_builtins = msgspec.to_builtins
# MessagePack has bytes; JSON, which msgspec assumes, has not.
_NATIVE = (bytes,)


def _pack(value: Any) -> bytes:
    """Whatever it is as plain values, so that it is written as it is read."""
    return _encode(_to_builtins(value, builtin_types=_NATIVE))


def _pack_with_times(value: Any) -> bytes:
    """Times as text with their zone; msgspec by itself would write them without it."""
    return _encode(written(value))


class Codec(Generic[T]):
    """Packs and unpacks the values of one type.

    Args:
        kind: a class or typed dictionary that msgspec understands
        name: what errors call it

    """

    def __init__(self, kind: Any, name: str) -> None:
        self._name = name
        self._decode: Callable[[bytes], T] = msgspec.msgpack.Decoder(kind).decode
        parts = _parts_of(kind)
        # The same bytes in a third of the time, where there is no time among the fields.
        self._pack = _encode if parts <= _DIRECT else _pack
        if are_in(kind):
            self._pack = _pack_with_times
            self._decode = reading(kind, self._decode)
        self.is_immutable = parts <= _IMMUTABLE
        """Whether a value can be given to several readers, because none can change it."""
        self._copied = _shallow_fields(kind)
        self._may_have_floats = may_have_floats(kind)

    def pack(self, value: T) -> bytes:
        """Pack a value, of which it is not asked whether it fits."""
        return self._pack(value)

    def dump(self, value: T) -> bytes:
        """Pack a value.

        Raises:
            InvalidMessage: it does not fit the annotations, or would not read back equal

        """
        return self.exchange(value)[0]

    def exchange(self, value: T) -> tuple[bytes, T]:
        """Pack a value; returns also what it is when it is read back.

        Raises:
            InvalidMessage: it does not fit the annotations, or would not read back equal

        """
        try:
            packed = self._pack(value)
            back = self._decode(packed)
            is_same = back == value or told(back) == told(value)
        except msgspec.ValidationError as error:
            raise InvalidMessage(f"{self._name} is not valid: {error}") from error
        except Exception as error:
            # Anything: comparing may have run code of the value's own.
            where = _first_misfit(value)
            raise InvalidMessage(f"{self._name} is not valid: {_said(error)}{where}") from error
        if not is_same:
            raise InvalidMessage(f"{self._name} is not valid: {_first_difference(value, back)}")
        if self._may_have_floats is not None and self._may_have_floats(value):
            self.refuse_floats(value, back, packed)
        return packed, back

    def refuse_floats(self, value: T, back: T, packed: bytes | None = None) -> None:
        """Refuse a float where a `Decimal` was read back: most would be another number.

        By their types, and not by what the number is, or a test with 0.5 would pass and 0.1 fail
        later.

        Args:
            value: what was given
            back: what was read back
            packed: the value's bytes, if they are at hand

        Raises:
            InvalidMessage: there is one

        """
        if self._may_have_floats is None:
            return
        # Nearly always nothing was converted, which the same bytes say at once.
        if self._pack(back) != (packed or self._pack(value)) and float_for_decimal(value, back):
            raise InvalidMessage(f"{self._name} is not valid: {_first_difference(value, back)}")

    def copy(self, value: T) -> T:
        """The same value for another reader, who may change what is inside."""
        if self._copied is None:
            return self._decode(self._pack(value))
        return structs.replace(
            value,  # type: ignore[type-var] # it has fields that are copied, so it is a message
            **{name: getattr(value, name).copy() for name in self._copied},
        )

    def load(self, packed: bytes) -> T:
        """Unpack a value.

        Raises:
            InvalidMessage: what is stored does not fit the annotations
            Erased: it is not kept any more

        """
        try:
            return self._decode(packed)
        except (msgspec.ValidationError, msgspec.DecodeError, RecursionError) as error:
            refuse_erased(packed, self._name)
            raise InvalidMessage(f"stored {self._name} does not fit its class: {error}") from error


_COLLECTIONS = frozenset({list, tuple, set, frozenset})

_IMMUTABLE = frozenset(
    {
        inspect.TupleType,
        inspect.VarTupleType,
        inspect.BoolType,
        inspect.BytesType,
        inspect.DateTimeType,
        inspect.DateType,
        inspect.DecimalType,
        inspect.EnumType,
        inspect.FloatType,
        inspect.IntType,
        inspect.LiteralType,
        inspect.NoneType,
        inspect.StrType,
        inspect.TimeDeltaType,
        inspect.UUIDType,
    }
)
_DIRECT = _IMMUTABLE - {inspect.DateTimeType} | {
    inspect.DictType,
    inspect.ListType,
    inspect.TupleType,
    inspect.VarTupleType,
}


def _shallow_fields(kind: Any) -> list[str] | None:
    """The fields of a message that are lists or mappings of what cannot be changed.

    Returns:
        None if it has others that can be changed, or may be None

    """
    described = None if kind is dict else inspect.type_info(kind)
    if not isinstance(described, inspect.StructType):
        return None
    found: list[str] = []
    for field in described.fields:
        one = field.type
        if _kinds_in(one) <= _IMMUTABLE:
            continue
        if not isinstance(one, inspect.ListType | inspect.DictType):
            return None
        inner = one.item_type if isinstance(one, inspect.ListType) else one.value_type
        if not _kinds_in(inner) <= _IMMUTABLE:
            return None
        found.append(field.name)
    return found


def _parts_of(kind: Any) -> set[type]:
    """What kinds of values there are in the fields of a message or a state."""
    if kind is dict:
        return {inspect.DictType, inspect.AnyType}
    described = inspect.type_info(kind)
    if isinstance(described, inspect.StructType | inspect.TypedDictType):
        return set().union(*(_kinds_in(field.type) for field in described.fields))
    return _kinds_in(described)


def _kinds_in(described: inspect.Type) -> set[type]:
    kinds: set[type] = set()
    waiting = [described]
    while waiting:
        one = waiting.pop()
        if isinstance(one, inspect.UnionType):
            waiting += one.types
        elif isinstance(one, inspect.Metadata):
            waiting.append(one.type)
        elif isinstance(one, inspect.ListType | inspect.VarTupleType):
            kinds.add(type(one))
            waiting.append(one.item_type)
        elif isinstance(one, inspect.TupleType):
            kinds.add(type(one))
            waiting += one.item_types
        elif isinstance(one, inspect.DictType):
            kinds.add(type(one))
            waiting += (one.key_type, one.value_type)
        else:
            # Nested messages and classes are not looked into; they count as anything.
            kinds.add(type(one))
    return kinds


def _fields(value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    # The codec of a single field has a value without fields.
    return {name: getattr(value, name) for name in getattr(value, "__struct_fields__", ())}


def _first_misfit(value: Any) -> str:
    """Where the trouble is, in the words of msgspec."""
    for name, given in _fields(value).items():
        try:
            _pack_with_times(given)
            operator.eq(given, given)
        except Exception:  # noqa: BLE001 - as above
            return f" - at `$.{name}`"
    return ""


def _first_difference(value: Any, back: Any) -> str:
    read_back = _fields(back)
    for name, given in _fields(value).items():
        read = read_back.get(name)
        if differ(given, read) or float_for_decimal(given, read):
            return (
                f"{name}={shown(given)} would be read back as {shown(read)}; "
                f"give a value of the annotated type"
            )
    return "it would not read back equal"


def differ(one: Any, other: Any) -> bool:
    """Whether two values differ, as far as their own code can tell."""
    try:
        return bool(one != other and told(one) != told(other))
    except Exception:  # noqa: BLE001 - what cannot be compared is not the same
        return True


def _said(error: Exception) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - the value's own error, and its own code
        return type(error).__name__


def bring(hints: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Defaults as values of their annotated types, as they would be read back.

    A list, tuple or set stands for whichever of these the annotation says.

    Args:
        hints: the annotations, by field
        values: the defaults, by field

    Raises:
        InvalidMessage: one does not fit its annotation

    """
    codec: Codec[dict[str, Any]] = Codec(typed_dict("Defaults", hints), "a default")
    given = dict(values)
    try:
        back = codec.load(codec.pack(given))
    except Exception:  # noqa: BLE001 - what is wrong with it is said below
        back = {}
    for name, value in values.items():
        read: Any = type(back.get(name))
        if type(value) is not read and {type(value), read} <= _COLLECTIONS:
            given[name] = read(value)
    brought = codec.exchange(given)[1]
    return {name: brought[name] for name in values}


def _refuse_unfit_defaults(cls: type[msgspec.Struct]) -> None:
    """Refuse defaults that would be read back as something else, or not at all.

    Raises:
        DefinitionError: there is one

    """
    given = {one.name: _default_of(one) for one in structs.fields(cls)}
    # What a type variable stands for is not in the annotation.
    hints = {name: hint for name, hint in hints_of(cls).items() if not variables_in(hint)}
    for name, value in given.items():
        if name not in hints or value is msgspec.NODEFAULT or value is msgspec.UNSET:
            continue
        where = f"{cls.__qualname__}.{name}: its default {shown(value)}"
        try:
            [brought] = bring({name: hints[name]}, {name: value}).values()
        except InvalidMessage as error:
            raise DefinitionError(f"{where} does not fit: {error}") from error
        if type(brought) is not type(value):
            raise DefinitionError(
                f"{where} would be read back as {shown(brought)}; write that instead"
            )


def _default_of(field: structs.FieldInfo) -> Any:
    return field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()


class _Codecs(dict[type, Codec[Any]]):
    def __missing__(self, cls: type) -> Codec[Any]:
        if issubclass(cls, msgspec.Struct):
            refuse_unfit_message(cls)
            _refuse_unfit_defaults(cls)
        codec = self[cls] = Codec(cls, cls.__name__)
        return codec


codecs = _Codecs()
"""The codecs of message classes, each made when it is first asked for.

A class with a field that no message can hold is a `DefinitionError` there.
"""


def refuse_erased(packed: bytes, name: str) -> None:
    """Say so if what cannot be read was erased.

    Raises:
        Erased: it was

    """
    time = erased_at(packed)
    if time is not None:
        raise Erased(name, time)


def dump(message: Any) -> tuple[bytes, Any]:
    """Pack an event or a command.

    Returns:
        the bytes, and the message as it is read back if any number of readers may share it,
        which saves them reading it, or None

    Raises:
        InvalidMessage: a field does not fit its annotation

    """
    codec = codecs[type(message)]
    packed, back = codec.exchange(message)
    return packed, back if codec.is_immutable else None


def exchange(message: Any) -> tuple[bytes, Any, Any]:
    """As `dump`; returns also the message as it is read back, whether it may be shared or not."""
    codec = codecs[type(message)]
    packed, back = codec.exchange(message)
    return packed, back if codec.is_immutable else None, back


_headers: Codec[dict[str, Any]] = Codec(dict[str, Any], "headers")


def dump_headers(headers: Mapping[str, Any] | None) -> bytes | None:
    """Pack headers: names and plain values.

    Raises:
        InvalidMessage: they are no mapping, or hold something else

    """
    if headers is None:
        return None
    try:
        plain = dict(headers) if issubclass(type(headers), Mapping) else None
    except Exception as error:
        raise InvalidMessage(f"headers cannot be read: {_said(error)}") from error
    if plain is None:
        raise InvalidMessage(f"headers={shown(headers)} are no mapping; give names and values")
    return _headers.dump(plain) if plain else None


def load_headers(packed: bytes | None) -> dict[str, Any]:
    """Unpack headers."""
    return _headers.load(packed) if packed else {}
