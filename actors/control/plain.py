"""What is stored, as plain data: what JSON can say, without any class of the user's."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, TypeAlias

import msgspec

from ..clock import from_micros
from ..store import erased_at

__all__ = ["STILL", "Plain", "moment", "plain", "unpacked"]

Plain: TypeAlias = dict[str, Any]
"""An object of JSON."""

STILL: Plain = {}
"""In the place of a row: there is none yet, and the search goes on."""

_load = msgspec.msgpack.Decoder(strict=False).decode


def plain(value: Any) -> Any:
    """A value as JSON can say it.

    Times are text of RFC 3339, durations are seconds, bytes are base64, and what is no text and
    names something in a mapping is named by its text.
    """
    if isinstance(value, Mapping):
        return {
            key if isinstance(key, str) else str(plain(key)): plain(one)
            for key, one in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(one) for one in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {one.name: plain(getattr(value, one.name)) for one in dataclasses.fields(value)}
    if value is None or isinstance(value, str | bool | int | float):
        return value
    return str(value)


def unpacked(packed: bytes | None) -> Any:
    """What a message, a state or headers say that are stored; an empty mapping for none.

    Of what was erased, when that was.
    """
    if not packed:
        return {}
    time = erased_at(packed)
    return plain(_load(packed)) if time is None else {"erased": moment(time)}


def moment(micros: int) -> str:
    """A stored time, as text of RFC 3339."""
    return from_micros(micros).isoformat()
