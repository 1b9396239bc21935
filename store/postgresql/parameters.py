"""Values as PostgreSQL takes them in its binary format."""

from __future__ import annotations

import struct
from itertools import chain, repeat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

__all__ = [
    "bigint",
    "bigints",
    "boolean",
    "byteas",
    "copied",
    "integer",
    "integers",
    "number_of",
    "numbers_of",
    "repeated",
    "seconds_of",
    "text",
    "texts",
]

_BYTEA, _INTEGER, _BIGINT, _TEXT = 17, 23, 20, 25

# Dimensions, whether there are nulls, the type of the elements; of each dimension its length and
# the number of its first element.
_EMPTY = struct.Struct("!iii")
_HEADER = struct.Struct("!iiiii")
_SIZE = struct.Struct("!i")
_BIG = struct.Struct("!q")
_DOUBLE = struct.Struct("!d")

_COPY_BEGINS = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_COPY_ENDS = b"\xff\xff"
# How many fields a row has, and the first, which is an integer.
_COPIED_ROW = struct.Struct("!hii")

COPIED_AT_ONCE = 512
"""Rows of a COPY that are put together."""

integer = _SIZE.pack
bigint = _BIG.pack
double = _DOUBLE.pack


def boolean(value: bool) -> bytes:
    return b"\1" if value else b"\0"


def text(value: str) -> bytes:
    return value.encode()


def seconds_of(value: float) -> bytes:
    """A double precision number."""
    return double(value)


def number_of(value: bytes | None) -> int:
    """An integer of any size, as PostgreSQL gives it back; 0 for a null."""
    return int.from_bytes(value or b"", "big", signed=True)


def numbers_of(value: bytes | None) -> list[int]:
    """The integers of an array, of any size, none of them a null."""
    found: list[int] = []
    raw, place = value or b"", _HEADER.size
    while place < len(raw):
        (size,) = _SIZE.unpack_from(raw, place)
        place += _SIZE.size
        found.append(number_of(raw[place : place + size]))
        place += size
    return found


def byteas(values: Collection[bytes]) -> bytes:
    """An array of byte strings."""
    return _array(_BYTEA, values)


def integers(values: Collection[int]) -> bytes:
    return _array(_INTEGER, [integer(one) for one in values])


def bigints(values: Collection[int]) -> bytes:
    return _array(_BIGINT, [bigint(one) for one in values])


def repeated(runs: Iterable[tuple[int, int]]) -> bytes:
    """An array of integers, each with how often it comes in a row."""
    size, elements = _SIZE.pack(_SIZE.size), []
    length = 0
    for value, times in runs:
        elements.append((size + _SIZE.pack(value)) * times)
        length += times
    if not length:
        return _EMPTY.pack(0, 0, _INTEGER)
    return b"".join((_HEADER.pack(1, 0, _INTEGER, length, 1), *elements))


def texts(values: Collection[str]) -> bytes:
    return _array(_TEXT, [one.encode() for one in values])


def copied(
    by_partition: Iterable[tuple[int, Sequence[tuple[bytes, bytes]]]],
) -> Iterator[bytes]:
    """What a COPY in the binary format takes for rows of partitions: number, key and value."""
    yield _COPY_BEGINS
    for partition, rows in by_partition:
        begins = repeat(_COPIED_ROW.pack(3, _SIZE.size, partition))
        for place in range(0, len(rows), COPIED_AT_ONCE):
            keys, values = zip(*rows[place : place + COPIED_AT_ONCE], strict=True)
            lengths, sizes = (map(_SIZE.pack, map(len, some)) for some in (keys, values))
            fields = zip(begins, lengths, keys, sizes, values, strict=False)
            yield b"".join(chain.from_iterable(fields))
    yield _COPY_ENDS


def _array(kind: int, values: Collection[bytes]) -> bytes:
    if not values:
        return _EMPTY.pack(0, 0, kind)
    sizes = map(_SIZE.pack, map(len, values))
    parts = chain.from_iterable(zip(sizes, values, strict=True))
    return b"".join((_HEADER.pack(1, 0, kind, len(values), 1), *parts))
