"""Typed values to bytes and back: msgspec checks and converts, msgpack packs.

A value is accepted when what was packed reads back equal to it under its annotations. That one
rule refuses a wrong type, a `"99"` where a `Decimal` belongs, and whatever would come back as
something else.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgpack
import msgspec

from .errors import InvalidMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Codec", "codec_of", "dump", "dump_headers", "load_headers"]

T = TypeVar("T")

_packb: Callable[[Any], bytes] = msgpack.packb
_to_builtins = msgspec.to_builtins
# MessagePack has bytes; JSON, which msgspec assumes, has not.
_NATIVE = (bytes,)

_MISFITS = (TypeError, ValueError, ArithmeticError, RecursionError)
"""What packing and comparing raise for values that are no data; they do not say where."""


class Codec(Generic[T]):
    """Packs and unpacks the values of one type.

    Args:
        kind: a class or typed dictionary that msgspec understands
        name: what errors call it

    """

    def __init__(self, kind: Any, name: str) -> None:
        self._name = name
        self._decode: Callable[[bytes], T] = msgspec.msgpack.Decoder(kind).decode

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
            packed = _packb(_to_builtins(value, builtin_types=_NATIVE))
            back = self._decode(packed)
            is_same = back == value
        except msgspec.ValidationError as error:
            raise InvalidMessage(f"{self._name} is not valid: {error}") from error
        except _MISFITS as error:
            where = _first_misfit(value)
            raise InvalidMessage(f"{self._name} is not valid: {error}{where}") from error
        if not is_same:
            raise InvalidMessage(f"{self._name} is not valid: {_first_difference(value, back)}")
        return packed, back

    def load(self, packed: bytes) -> T:
        """Unpack a value.

        Raises:
            InvalidMessage: what is stored does not fit the annotations

        """
        try:
            return self._decode(packed)
        except (msgspec.ValidationError, msgspec.DecodeError) as error:
            raise InvalidMessage(f"stored {self._name} does not fit its class: {error}") from error


def _fields(value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    return {name: getattr(value, name) for name in value.__struct_fields__}


def _first_misfit(value: Any) -> str:
    """Where the trouble is, in the words of msgspec."""
    for name, given in _fields(value).items():
        try:
            _packb(_to_builtins(given, builtin_types=_NATIVE))
            operator.eq(given, given)
        except _MISFITS:
            return f" - at `$.{name}`"
    return ""


def _first_difference(value: Any, back: Any) -> str:
    read_back = _fields(back)
    for name, given in _fields(value).items():
        read = read_back.get(name)
        if given != read:
            return (
                f"{name}={given!r} would be read back as {read!r}; "
                f"give a value of the annotated type"
            )
    return "it would not read back equal"


_codecs: dict[type, Codec[Any]] = {}


def codec_of(cls: type[T]) -> Codec[T]:
    """The codec of a message class; made once."""
    codec = _codecs.get(cls)
    if codec is None:
        codec = _codecs[cls] = Codec(cls, cls.__name__)
    return codec


def dump(message: Any) -> bytes:
    """Pack an event or a command.

    Raises:
        InvalidMessage: a field does not fit its annotation

    """
    return codec_of(type(message)).dump(message)


_headers: Codec[dict[str, Any]] = Codec(dict[str, Any], "headers")


def dump_headers(headers: Mapping[str, Any] | None) -> bytes | None:
    """Pack headers: names and plain values."""
    return _headers.dump(dict(headers)) if headers else None


def load_headers(packed: bytes | None) -> dict[str, Any]:
    """Unpack headers."""
    return _headers.load(packed) if packed else {}
