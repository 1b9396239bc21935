"""What keys are made of: texts, numbers and digests, each made and read in one place."""

from __future__ import annotations

import struct
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from ..errors import DamagedStore
from .frames import NUMBER

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "DIGEST_BYTES",
    "LAST",
    "Digest",
    "Misshapen",
    "Number",
    "Parts",
    "Text",
    "digest",
    "numbered",
    "parser",
    "told",
]

LAST = b"\xff" * 8
"""Sorts behind every number that follows a name in a key."""

DIGEST_BYTES = 16


class Misshapen(ValueError):
    """A key or a value that is not as the format has it."""


class Text(NamedTuple):
    """UTF-8 without a NUL; a NUL ends it where something follows."""

    name: str
    may_be_empty: bool = False


class Number(NamedTuple):
    """Eight bytes, the highest first."""

    name: str
    least: int = 1


class Digest(NamedTuple):
    """Sixteen bytes that stand for several names."""

    names: str


Parts: TypeAlias = tuple[Text | Number | Digest, ...]


def digest(*parts: str) -> bytes:
    """Stands for names that are too long for a key together."""
    return blake2b("\0".join(parts).encode(), digest_size=DIGEST_BYTES).digest()


def numbered(key: bytes) -> int:
    """The number that a key ends with.

    Raises:
        DamagedStore: it is too short for one

    """
    try:
        return int(NUMBER.unpack_from(key, len(key) - 8)[0])
    except struct.error as error:
        raise DamagedStore(
            f"the key {key!r} cannot be read, since no number is in it: the store was changed or "
            f"damaged; go back to a backup"
        ) from error


def parser(parts: Parts) -> Callable[[bytes], tuple[Any, ...]]:
    """What says of a key what it says: a text, a number, or the bytes of a digest, for each part.

    It raises `Misshapen` if the key is not made of these parts.
    """
    *texts, last = parts
    if not texts and isinstance(last, Number):
        return _parser_of_number(parts, last.least)
    if not texts and isinstance(last, Text):
        return _parser_of_text(parts)
    if not (isinstance(last, Number) and all(isinstance(one, Text) for one in texts)):
        return partial(_parse, parts)
    # Most keys are texts with a number behind them, and are taken apart at once.
    count, least = len(texts), last.least
    filled = [
        place for place, one in enumerate(texts) if not (isinstance(one, Text) and one.may_be_empty)
    ]

    def of_texts(key: bytes) -> tuple[Any, ...]:
        value = int.from_bytes(key[-8:], "big")
        try:
            found: list[Any] = key[:-8].decode().split("\0")
        except UnicodeDecodeError:
            return _parse(parts, key)
        if len(found) != count + 1 or found[count] or value < least or len(key) < 8:
            return _parse(parts, key)
        for place in filled:
            if not found[place]:
                return _parse(parts, key)
        found[count] = value
        return tuple(found)

    return of_texts


def _parser_of_number(parts: Parts, least: int) -> Callable[[bytes], tuple[Any, ...]]:
    def of_number(key: bytes) -> tuple[Any, ...]:
        value = int.from_bytes(key, "big")
        return (value,) if len(key) == 8 and value >= least else _parse(parts, key)

    return of_number


def _parser_of_text(parts: Parts) -> Callable[[bytes], tuple[Any, ...]]:
    def of_text(key: bytes) -> tuple[Any, ...]:
        try:
            text = key.decode()
        except UnicodeDecodeError:
            return _parse(parts, key)
        return (text,) if text and "\0" not in text else _parse(parts, key)

    return of_text


def _parse(parts: Parts, key: bytes) -> tuple[Any, ...]:
    found: list[Any] = []
    rest = key
    for place, part in enumerate(parts):
        if isinstance(part, Text):
            is_last = place + 1 == len(parts)
            text, end, rest = (rest, b"\0", b"") if is_last else rest.partition(b"\0")
            if not end or not (text or part.may_be_empty) or b"\0" in text:
                raise Misshapen(f"has a key that is no {part.name}")
            try:
                found.append(text.decode())
            except UnicodeDecodeError as error:
                raise Misshapen(f"has a key that is not as the format has it: {error}") from error
        elif isinstance(part, Number):
            value, rest = int.from_bytes(rest[:8], "big"), _behind(rest, 8, part.name)
            if value < part.least:
                raise Misshapen(f"has a key that is no {part.name}")
            found.append(value)
        else:
            found.append(rest[:DIGEST_BYTES])
            rest = _behind(rest, DIGEST_BYTES, part.names)
    if rest:
        raise Misshapen("has a key that is longer than the format has it")
    return tuple(found)


def _behind(rest: bytes, size: int, name: str) -> bytes:
    if len(rest) < size:
        raise Misshapen(f"has a key without {name}")
    return rest[size:]


def told(parts: Parts, values: tuple[Any, ...]) -> str:
    """What a key says, for people; a digest in hexadecimal digits."""
    words: list[str] = []
    for part, value in zip(parts, values, strict=True):
        if isinstance(part, Number) and words:
            words.append(part.name)
        words.append(value.hex() if isinstance(part, Digest) else str(value))
    return " ".join(words)
