"""Frames: how a value is written. MessagePack behind a checksum; see `docs/store-format.md`."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Any

import msgpack

from ..errors import CorruptRecord

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["NUMBER", "Framer", "frame", "number", "unframe"]

NUMBER = struct.Struct(">Q")
"""Numbers in keys: eight bytes, the largest first, so that LMDB's order is theirs."""

number: Callable[[int], bytes] = NUMBER.pack

_CHECKSUM = struct.Struct("<I")
_crc32 = zlib.crc32
_pack_checksum = _CHECKSUM.pack
_unpackb: Callable[..., Any] = msgpack.unpackb


class Framer:
    """Makes frames; for one thread at a time, since it keeps its packer.

    A new packer for each value, which is what `msgpack.packb` makes, costs half as much again.
    """

    def __init__(self) -> None:
        self._pack: Callable[[Any], bytes] = msgpack.Packer().pack

    def frame(self, key: bytes, value: Any) -> bytes:
        """CRC-32 of the key and the packed value, four bytes, the lowest first; then the latter.

        With the key, a row that came to stand under another key is noticed as well.
        """
        packed = self._pack(value)
        return _pack_checksum(_crc32(packed, _crc32(key))) + packed


def frame(key: bytes, value: Any) -> bytes:
    """One frame, for any thread."""
    return Framer().frame(key, value)


def unframe(raw: bytes, table: str, key: bytes) -> Any:
    """The value of a frame.

    Raises:
        CorruptRecord: the checksum does not match, or there is no value

    """
    packed = raw[4:]
    if _pack_checksum(_crc32(packed, _crc32(key))) != raw[:4]:
        raise _corrupt(
            table,
            key,
            "does not match its checksum: the file was changed or damaged after it was written",
        )
    try:
        return _unpackb(packed, strict_map_key=False)
    except Exception as error:
        raise _corrupt(table, key, f"is no MessagePack value: {error}") from error


def _corrupt(table: str, key: bytes, what: str) -> CorruptRecord:
    error = CorruptRecord(
        f"the record {key!r} of table {table!r} {what}; go back to a backup, or look with "
        f"`procession verify` what else is damaged"
    )
    error.table, error.key = table, key
    return error
