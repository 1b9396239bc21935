"""The rows and keys as `docs/store-format.md` has them, described a second time.

Not made with what the store writes and checks them with, so that a mistake there is noticed.
"""

from __future__ import annotations

import zlib
from hashlib import blake2b
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Meta, Struct

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "OWN_TICKETS_END",
    "BlockRow",
    "CodeRow",
    "CommandRow",
    "CountRow",
    "EffectRow",
    "EventIdRow",
    "EventRow",
    "Misshapen",
    "Owned",
    "ParkedRow",
    "RefusalRow",
    "ResultRow",
    "SnapshotRow",
    "Started",
    "TimerRow",
    "TransitionRow",
    "UnmatchedRow",
    "Versioned",
    "digest",
    "key_of",
    "number",
    "own_prefix",
    "row_of",
    "version_at",
    "version_of",
]

Number = Annotated[int, Meta(ge=1)]
OrNone = Annotated[int, Meta(ge=0)]
Name = Annotated[str, Meta(min_length=1)]
Digest = Annotated[bytes, Meta(max_length=16)]

OWN_TICKETS_END = 1 << 62


class Misshapen(ValueError):
    """A key or a value that is not as the format has it."""


# Rows


class _Row(Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    pass


class EventRow(_Row):
    """In `log`."""

    type: Name
    stream: Name
    version: Number
    time: int
    data: bytes
    event_id: Name | None
    correlation_id: Name
    causation_id: Name | None
    headers: bytes | None
    depth: OrNone
    # Only of a copy that another partition sent.
    sent_for: Name | None = None
    sent_to: list[Name] | None = None


class TransitionRow(_Row):
    """In `transitions`."""

    process: Name
    instance: Name
    version: Number
    time: int
    handler: Name
    is_complete: bool
    cause: Name
    correlation_id: Name
    seen: OrNone
    state: bytes
    commands: list[tuple[Name, Name, bytes]]
    timers: dict[str, int] | None
    note: str | None
    state_version: Number
    position: OrNone
    base: OrNone
    run: Number
    code: OrNone
    headers: bytes | None


class CommandRow(_Row):
    """In `queue`, and inside of others."""

    command_id: Name
    type: Name
    stream: Name
    time: int
    data: bytes
    correlation_id: Name
    causation_id: Name | None
    process: Name | None
    instance: Name | None
    version: OrNone
    depth: OrNone
    headers: bytes | None
    # Only of a command that another partition issued.
    origin: OrNone | None = None


class EventIdRow(_Row):
    """In `event_ids`."""

    position: Number
    digest: Digest


class ResultRow(_Row):
    """In `command_ids`."""

    first_position: OrNone
    events: OrNone
    refusal: str | None
    type: str
    stream: str
    time: int
    digest: Digest
    is_done: bool
    error: bytes | None


class ParkedRow(_Row):
    """In `parked` and `decided`."""

    process: str
    instance: str
    cause: Name
    error_type: Name
    error_text: str
    attempts: Number
    time: int
    position: OrNone
    command: CommandRow | None
    name: str
    sequence: OrNone
    blocks: bool
    effect: str
    decision: tuple[Literal["retry", "skip", "end"], int, str | None] | None
    handler: str
    place: str


class BlockRow(_Row):
    """In `waiting`, in the place of position 0."""

    kind: Literal["retry", "parked"]
    position: OrNone
    name: str
    sequence: OrNone
    attempts: Number
    due: OrNone
    parked: OrNone
    depth: OrNone
    headers: bytes | None


class TimerRow(_Row):
    """In `timers`."""

    process: Name
    instance: Name
    name: Name
    kind: Literal["timeout", "retry", "command"]
    command: CommandRow | None
    depth: OrNone
    headers: bytes | None


class RefusalRow(_Row):
    """In `refusals`."""

    command: CommandRow
    reason: str


class CodeRow(_Row):
    """In `codes`."""

    process: Name
    python: Name
    fingerprint: bytes


class SnapshotRow(_Row):
    """In `snapshots`."""

    version: Number
    state: bytes


class UnmatchedRow(_Row):
    """In `unmatched`."""

    field: Name
    values: Annotated[list[Name], Meta(min_length=1)]
    until: int
    taken: list[Name]


class CountRow(_Row):
    """In `counts`."""

    of: Literal["event", "instance", "parked"]
    names: list[str]
    count: Number


class ErasureRow(_Row):
    """In `erasures`."""

    kind: Literal["instance", "stream", "subject"]
    name: str
    id: Name
    time: int
    by: str | None
    is_done: bool


class TombstoneRow(_Row):
    """In `tombstones`."""

    type: Name
    stream: Name
    version: Number
    time: int
    event_id: Name | None
    sent_for: str


class EffectRow(_Row):
    """In `effects`."""

    process: Name
    instance: Name
    handler: Name
    version: OrNone
    time: int
    commands: Annotated[list[tuple[Name, Name, bytes]], Meta(min_length=1)]


class PartitionRow(_Row):
    """In `partitions`."""

    number: OrNone
    count: Number
    family: Name


class SentRow(_Row):
    """One message in a row of `outgoing`."""

    event: EventRow | None
    process: str
    instances: list[Name] | None
    command: CommandRow | None
    refusal: RefusalRow | None
    learnt: tuple[Name, Name, Name, Name | None, Name | None] | None


class DocumentSetRow(_Row):
    """In `document_sets`."""

    state: Literal["live", "beside", "gone"]
    version: Number
    position: OrNone
    done: list[Number]


class DocumentRow(_Row):
    """In `documents`."""

    value: bytes


_zero: Callable[[bytes], Any] = msgspec.msgpack.Decoder(Literal[0]).decode
_block: Callable[[bytes], Any] = msgspec.msgpack.Decoder(BlockRow).decode
_DECODERS: Mapping[str, Callable[[bytes], Any]] = {
    "meta": msgspec.msgpack.Decoder(int | str).decode,
    "log": msgspec.msgpack.Decoder(EventRow).decode,
    "transitions": msgspec.msgpack.Decoder(TransitionRow).decode,
    "started": msgspec.msgpack.Decoder(Name).decode,
    "queue": msgspec.msgpack.Decoder(CommandRow).decode,
    "event_ids": msgspec.msgpack.Decoder(EventIdRow).decode,
    "command_ids": msgspec.msgpack.Decoder(ResultRow).decode,
    "checkpoints": msgspec.msgpack.Decoder(OrNone).decode,
    "parked": msgspec.msgpack.Decoder(ParkedRow).decode,
    "parked_at": msgspec.msgpack.Decoder(Number).decode,
    "decided": msgspec.msgpack.Decoder(ParkedRow).decode,
    "timers": msgspec.msgpack.Decoder(TimerRow).decode,
    "index": _zero,
    "waiting": _zero,
    "refusals": msgspec.msgpack.Decoder(RefusalRow).decode,
    "snapshots": msgspec.msgpack.Decoder(SnapshotRow).decode,
    "names": msgspec.msgpack.Decoder(Name).decode,
    "codes": msgspec.msgpack.Decoder(CodeRow).decode,
    "unmatched": msgspec.msgpack.Decoder(UnmatchedRow).decode,
    "unmatched_by": _zero,
    "counts": msgspec.msgpack.Decoder(CountRow).decode,
    "effects": msgspec.msgpack.Decoder(EffectRow).decode,
    "owed": msgspec.msgpack.Decoder(OrNone).decode,
    "erasures": msgspec.msgpack.Decoder(ErasureRow).decode,
    "tombstones": msgspec.msgpack.Decoder(TombstoneRow).decode,
    "partitions": msgspec.msgpack.Decoder(PartitionRow).decode,
    "outgoing": msgspec.msgpack.Decoder(
        Annotated[list[SentRow], msgspec.Meta(min_length=1)]
    ).decode,
    "cursors": msgspec.msgpack.Decoder(Number).decode,
    "document_sets": msgspec.msgpack.Decoder(DocumentSetRow).decode,
    "documents": msgspec.msgpack.Decoder(DocumentRow).decode,
}


def row_of(table: str, key: bytes, raw: bytes) -> Any:
    """The row in a frame.

    Raises:
        Misshapen: the checksum does not match, or the row is not as the format has it

    """
    if table == "ids":
        # A key of another table, and nothing around it.
        if len(raw) != 8 or raw == bytes(8):
            raise Misshapen("points at no number")
        return int.from_bytes(raw, "big")
    packed = raw[4:]
    if len(raw) < 5 or zlib.crc32(key + packed) != int.from_bytes(raw[:4], "little"):
        raise Misshapen("does not match its checksum: it was changed after it was written")
    decode = _DECODERS[table]
    if table == "waiting" and key[-8:] == bytes(8):
        decode = _block
    try:
        return decode(packed)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Misshapen(f"is not as the format has it: {error}") from error


# Keys


class Versioned(NamedTuple):
    """A key of `ids`."""

    id: str
    kind: str
    name: str
    version: int


class Started(NamedTuple):
    """A key of `started`."""

    process: str
    number: int


class Owned(NamedTuple):
    """A key that begins with an instance."""

    process: str
    instance: str
    number: int


def number(value: int) -> bytes:
    """Eight bytes, the highest first."""
    return value.to_bytes(8, "big")


def own_prefix(process: str, instance: str) -> bytes:
    """What the keys of an instance begin with."""
    return process.encode() + b"\0" + instance.encode() + b"\0"


def version_of(stream: str, version: int) -> bytes:
    """The key in `ids` of a version of a stream."""
    category, dash, own = stream.partition("-")
    kind = "s" if dash else "n"
    return b"\0".join(text.encode() for text in (own, kind, category, "")) + number(version)


def version_at(process: str, instance: str, version: int) -> bytes:
    """The key in `ids` of a version of an instance."""
    return b"\0".join(text.encode() for text in (instance, "i", process, "")) + number(version)


def digest(*parts: str) -> bytes:
    """What stands for several names in a key."""
    return blake2b(b"\0".join(part.encode() for part in parts), digest_size=16).digest()


def key_of(table: str, key: bytes) -> Any:
    """What a key says: a number, a text, or a tuple of such; bytes where it has a digest.

    Raises:
        Misshapen: it is not as the format has it

    """
    try:
        return _PARSERS[table](key)
    except Misshapen:
        raise
    except ValueError as error:
        raise Misshapen(f"has a key that is not as the format has it: {error}") from error


def _number(key: bytes, least: int = 1) -> int:
    value = int.from_bytes(key, "big")
    if len(key) != 8 or value < least:
        raise Misshapen("has a key that is no number")
    return value


def _text(key: bytes) -> str:
    if not key or b"\0" in key:
        raise Misshapen("has a key that is no name")
    return key.decode()


def _versioned(key: bytes) -> Versioned:
    one, kind, name, nothing = key[:-8].decode().split("\0")
    if nothing or not kind:
        raise Misshapen("has a key without an end of the name, or without a kind")
    return Versioned(one, kind, name, _number(key[-8:]))


def _started(key: bytes) -> Started:
    if key[-9:-8] != b"\0":
        raise Misshapen("has a key without an end of the name")
    return Started(_text(key[:-9]), _number(key[-8:]))


def _sent(key: bytes) -> tuple[int, int]:
    if len(key) != 16:
        raise Misshapen("has a key of another length than 16 bytes")
    return _number(key[:8], 0), _number(key[8:])


def _unmatched_by(key: bytes) -> int:
    if len(key) != 24:
        raise Misshapen("has a key of another length than 24 bytes")
    return _number(key[16:])


def _digest(key: bytes) -> bytes:
    if len(key) != 16:
        raise Misshapen("has a key of another length than 16 bytes")
    return key


def _effect(key: bytes) -> tuple[int, bytes]:
    if len(key) != 24:
        raise Misshapen("has a key of another length than 24 bytes")
    return _number(key[:8]), key[8:]


def _named(key: bytes) -> str:
    kind = key.partition(b"\0")[0]
    if kind not in {b"event", b"command", b"process"} or len(key) != len(kind) + 17:
        raise Misshapen("has a key that is for no name of an event, a command or a process")
    return kind.decode()


def _owned(key: bytes, least: int = 1) -> Owned:
    process, instance, nothing = key[:-8].decode().split("\0")
    if not process or not instance or nothing:
        raise Misshapen("has a key that names no instance")
    return Owned(process, instance, _number(key[-8:], least))


def _owed(key: bytes) -> tuple[str, int, str]:
    process, nothing, rest = key.partition(b"\0")
    if not nothing:
        raise Misshapen("has a key without an end of the name")
    return _text(process), _number(rest[:8]), _text(rest[8:])


def _document(key: bytes) -> tuple[str, int, str]:
    projection, nothing, rest = key.partition(b"\0")
    if not nothing:
        raise Misshapen("has a key without an end of the name")
    return _text(projection), _number(rest[:8]), _text(rest[8:])


def _timer(key: bytes) -> bytes:
    if len(key) != 24:
        raise Misshapen("has a key of another length than 24 bytes")
    return key


def _learnt(key: bytes) -> bytes:
    _text(key[16:])
    return key


_PARSERS: Mapping[str, Callable[[bytes], Any]] = {
    "meta": _text,
    "log": _number,
    "transitions": _number,
    "ids": _versioned,
    "started": _started,
    "queue": _number,
    "event_ids": _text,
    "command_ids": _text,
    "checkpoints": _text,
    "parked": _number,
    # An instance or a digest; what it should be is told by the row that it leads to.
    "parked_at": bytes,
    "decided": _number,
    "waiting": lambda key: _owned(key, 0),
    "timers": _timer,
    "index": _learnt,
    "refusals": _number,
    "snapshots": _text,
    "names": _named,
    "codes": _number,
    "unmatched": _started,
    "unmatched_by": _unmatched_by,
    "counts": _digest,
    "effects": _effect,
    "owed": _owed,
    "erasures": _number,
    "tombstones": _number,
    "partitions": _text,
    "outgoing": _sent,
    "cursors": lambda key: _number(key, 0),
    "document_sets": _started,
    "documents": _document,
}
