"""What a step adds to a packed state, so that a state that grows is not written whole each time.

A packed state is a MessagePack map of fields. Between two states, a field is the same, was added to
at its end (an array or a map), or is another one. What is said here is found from packed bytes
alone, so that a change in place at any depth is seen. A change carries the checksum of the state
that it leads to; made on any other state it is refused.
"""

from __future__ import annotations

import zlib
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "Misfit",
    "PackedFields",
    "Tail",
    "added",
    "apply_change",
    "change_between",
    "checksum_of",
    "texts_in",
    "with_head",
]

_encode = msgspec.msgpack.Encoder().encode
_split = msgspec.msgpack.Decoder(dict[str, msgspec.Raw]).decode

# The first byte of an array or a map says how many elements there are, or how long that number is.
_FIXED = {0x90: "array", 0x80: "map"}
_SIZED = {0xDC: ("array", 2), 0xDD: ("array", 4), 0xDE: ("map", 2), 0xDF: ("map", 4)}
_HEADS = {"array": (0x90, 0xDC, 0xDD), "map": (0x80, 0xDE, 0xDF)}


class Misfit(ValueError):
    """A change that does not fit the state that it is made on."""


class _Change(msgspec.Struct, array_like=True):
    """As it is stored: the checksum of the new state, fields that are others, and additions."""

    checksum: int
    others: dict[str, bytes]
    added: dict[str, tuple[int, bytes]]


_decode = msgspec.msgpack.Decoder(_Change).decode


class Tail(NamedTuple):
    """What was added at the end of an array or a map: its kind, how many elements, their bytes."""

    kind: str
    elements: int
    packed: bytes


NOTHING_KNOWN: Mapping[str, Tail] = MappingProxyType({})


class PackedFields(NamedTuple):
    """A packed state, field by field.

    Attributes:
        parts: each field's bytes
        sums: the checksum of each field's contents, without what says how many there are, so that
            what is added goes on from it

    """

    parts: dict[str, bytes]
    sums: dict[str, int]

    @classmethod
    def of(cls, packed: bytes) -> PackedFields:
        """The fields of a packed state.

        Raises:
            Misfit: it is none

        """
        try:
            parts = {name: bytes(raw) for name, raw in _split(packed).items()}
        except msgspec.DecodeError as error:
            raise Misfit(f"it is no state: {error}") from error
        return cls(parts, {name: _sum(part) for name, part in parts.items()})

    def whole(self) -> bytes:
        """The packed state."""
        return _encode({name: msgspec.Raw(part) for name, part in self.parts.items()})

    def checksum(self) -> int:
        """Of all that the state says."""
        total = 0
        for name, part in self.parts.items():
            kind, count, _ = _head(part)
            said = f"{name}\0{kind}{count}\0{self.sums[name]}\0"
            total = zlib.crc32(said.encode(), total)
        return total


def added(before: bytes, after: bytes) -> Tail | None:
    """What is at the end of an array or a map that was not there before; None if it is another."""
    kind, count, start = _head(before)
    kind_after, count_after, start_after = _head(after)
    if not kind or kind != kind_after or count_after < count:
        return None
    # Compared where it is: large states are copied as little as can be.
    body = memoryview(before)[start:]
    if not after.startswith(body, start_after):
        return None
    return Tail(kind, count_after - count, after[start_after + len(body) :])


def change_between(
    before: PackedFields, parts: dict[str, bytes], known: Mapping[str, Tail] = NOTHING_KNOWN
) -> tuple[bytes | None, PackedFields]:
    """What leads from one state to another.

    Args:
        before: the one
        parts: the fields of the other
        known: what was `added` to fields, of those that were compared already

    Returns:
        the change, or None if the states have other fields; and the other state

    """
    if before.parts.keys() != parts.keys():
        return None, PackedFields(parts, {name: _sum(part) for name, part in parts.items()})
    others: dict[str, bytes] = {}
    tails: dict[str, tuple[int, bytes]] = {}
    sums = dict(before.sums)
    for name, part in parts.items():
        tail = known.get(name)
        if tail is None:
            if part == before.parts[name]:
                continue
            tail = added(before.parts[name], part)
        elif not tail.elements:
            continue
        if tail is None:
            others[name] = part
            sums[name] = _sum(part)
        else:
            tails[name] = tail.elements, tail.packed
            sums[name] = zlib.crc32(tail.packed, sums[name])
    after = PackedFields(parts, sums)
    return _encode(_Change(after.checksum(), others, tails)), after


def apply_change(before: PackedFields, change: bytes) -> PackedFields:
    """The state that a change leads to.

    Raises:
        Misfit: it is no change, or one of another state

    """
    try:
        said = _decode(change)
    except msgspec.DecodeError as error:
        raise Misfit(f"it is no change of a state: {error}") from error
    parts = before.parts | said.others
    sums = before.sums | {name: _sum(part) for name, part in said.others.items()}
    for name, (count, packed) in said.added.items():
        part = before.parts.get(name, b"")
        kind, there, start = _head(part)
        if not kind:
            raise Misfit(f"nothing can be added to the field {name!r}")
        parts[name] = with_head(kind, there + count, part[start:] + packed)
        sums[name] = zlib.crc32(packed, sums[name])
    after = PackedFields(parts, sums)
    if after.checksum() != said.checksum:
        raise Misfit("it was made on another state: the one that it stands on was changed")
    return after


def checksum_of(stored: bytes, base: int) -> int:
    """The checksum of a state, of what is stored of it.

    Args:
        stored: the state, or the change that leads to it
        base: the version that the change stands on; 0 for a whole state

    Raises:
        Misfit: it is neither

    """
    if not base:
        return PackedFields.of(stored).checksum()
    try:
        return _decode(stored).checksum
    except msgspec.DecodeError as error:
        raise Misfit(f"it is no change of a state: {error}") from error


def texts_in(state: bytes) -> list[tuple[str, str]]:
    """The fields of a state by which an instance could be found, with each value in them."""
    try:
        fields: dict[str, Any] = msgspec.msgpack.decode(state, type=dict[str, Any])
    except msgspec.DecodeError:
        # It is read when its checksum matches, so it was written like this; it can have no keys.
        return []
    return [
        (field, str(value))
        for field, held in fields.items()
        for value in (held if isinstance(held, list) else [held])
        if (isinstance(value, str) and value)
        or (isinstance(value, int) and not isinstance(value, bool))
    ]


def _sum(part: bytes) -> int:
    return zlib.crc32(memoryview(part)[_head(part)[2] :])


def with_head(kind: str, count: int, body: bytes) -> bytes:
    """An array or a map of so many elements."""
    fixed, short, long = _HEADS[kind]
    if count < 16:
        return bytes((fixed | count,)) + body
    if count < 1 << 16:
        return bytes((short,)) + count.to_bytes(2, "big") + body
    return bytes((long,)) + count.to_bytes(4, "big") + body


def _head(packed: bytes) -> tuple[str, int, int]:
    """What a value is, how many elements it has, and where they begin; nothing for all others."""
    first: Any = packed[0] if packed else 0
    kind = _FIXED.get(first & 0xF0)
    if kind is not None:
        return kind, first & 0x0F, 1
    if first in _SIZED:
        kind, size = _SIZED[first]
        return kind, int.from_bytes(packed[1 : 1 + size], "big"), 1 + size
    return "", 0, 0
