"""Frames: how a value is written. MessagePack behind a checksum; see `docs/store-format.md`."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Any

import msgpack
import msgspec

from ..errors import CorruptRecord, InvalidName

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = [
    "NUMBER",
    "check_all",
    "corrupt",
    "frame",
    "moved",
    "no_number",
    "number",
    "pack",
    "pack_checksum",
    "unframe",
]

NUMBER = struct.Struct(">Q")
"""Numbers in keys: eight bytes, the largest first, so that LMDB's order is theirs."""

number: Callable[[int], bytes] = NUMBER.pack
"""Raises `struct.error` for what is no such number; `no_number` makes our error of it."""


def no_number(error: struct.error) -> InvalidName:
    """Our error for a number that can be in no key."""
    return InvalidName(f"the store has numbers from 0 to 2**64 - 1 only: {error}")


_CHECKSUM = struct.Struct("<I")
_crc32 = zlib.crc32
pack_checksum = _CHECKSUM.pack
_CHANGED = "does not match its checksum: the file was changed or damaged after it was written"
# What writes most of the time packs in a third of the time that msgpack takes.
pack: Callable[[Any], bytes] = msgspec.msgpack.Encoder().encode
_unpackb: Callable[..., Any] = msgpack.unpackb


def frame(key: bytes, value: Any) -> bytes:
    """CRC-32 of the key and the packed value, four bytes, the lowest first; then the latter.

    With the key, a row that came to stand under another key is noticed as well.
    """
    packed = pack(value)
    return pack_checksum(_crc32(packed, _crc32(key))) + packed


def check_all(rows: Iterable[tuple[bytes, bytes]], table: str) -> None:
    """Compare the checksums of the frames of a table, and look no further into them.

    Raises:
        CorruptRecord: one does not match, or there is no value

    """
    for key, raw in rows:
        packed = raw[4:]
        if not packed or pack_checksum(_crc32(packed, _crc32(key))) != raw[:4]:
            raise corrupt(table, key, _CHANGED)


def moved(raw: bytes, table: str, key: bytes, to: bytes) -> bytes:
    """The frame of the same value under another key.

    Raises:
        CorruptRecord: the checksum does not match

    """
    packed = raw[4:]
    if pack_checksum(_crc32(packed, _crc32(key))) != raw[:4]:
        raise corrupt(table, key, _CHANGED)
    return pack_checksum(_crc32(packed, _crc32(to))) + packed


def unframe(raw: bytes, table: str, key: bytes) -> Any:
    """The value of a frame.

    Raises:
        CorruptRecord: the checksum does not match, or there is no value

    """
    packed = raw[4:]
    if pack_checksum(_crc32(packed, _crc32(key))) != raw[:4]:
        raise corrupt(table, key, _CHANGED)
    try:
        return _unpackb(packed, strict_map_key=False)
    except Exception as error:
        raise corrupt(table, key, f"is no MessagePack value: {error}") from error


def corrupt(table: str, key: bytes, what: str) -> CorruptRecord:
    """The error that says what is wrong with a row."""
    error = CorruptRecord(
        f"the record {key!r} of table {table!r} {what}; go back to a backup, or look with "
        f"`procession verify` what else is damaged"
    )
    error.table, error.key = table, key
    return error
