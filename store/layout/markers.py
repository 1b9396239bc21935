"""What stands in the place of what was erased: that it was, and when.

A payload, a state and headers are MessagePack maps, a change of a state and a snapshot arrays. The
marker is a number, so it is none of these: nothing takes it for something that was stored.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from .frames import NUMBER

__all__ = ["erased_at", "marker", "words_for"]

_HEAD = 0xCF
"""Begins a number of eight bytes in MessagePack."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def marker(time: int) -> bytes:
    """In the place of a payload or a state that was erased then, in microseconds."""
    return bytes((_HEAD,)) + NUMBER.pack(time)


def erased_at(stored: bytes) -> int | None:
    """When a payload or a state was erased; None of one that was not."""
    if len(stored) == NUMBER.size + 1 and stored[0] == _HEAD:
        return int(NUMBER.unpack_from(stored, 1)[0])
    return None


def words_for(time: int) -> str:
    """In the place of a text that was erased then."""
    moment = _EPOCH + timedelta(microseconds=time)
    return f"erased {moment.isoformat(timespec='seconds')}"
