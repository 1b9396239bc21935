"""The tables, and how keys and rows are made. Documented in `docs/store-format.md`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .encoding import NUMBER
from .records import CommandRecord, EventRecord, ParkedRecord, TransitionRecord

if TYPE_CHECKING:
    import lmdb

__all__ = [
    "LAST",
    "TABLES",
    "command_from_row",
    "command_to_row",
    "event_from_row",
    "event_id_at",
    "event_to_row",
    "instance_key",
    "numbered",
    "parked_from_row",
    "parked_to_row",
    "seek_last",
    "transition_from_row",
    "transition_to_row",
]

TABLES = (
    "meta",
    "log",
    "streams",
    "transitions",
    "queue",
    "event_ids",
    "command_ids",
    "checkpoints",
    "parked",
    "waiting",
)

LAST = b"\xff" * 8
"""Sorts behind every number that follows a name in a key."""


def event_id_at(stream: str, version: int) -> str:
    """The id of an event that was given none: it says where the event is."""
    return f"{stream}@{version}"


def instance_key(process: str, instance: str) -> bytes:
    """What the keys of one instance begin with; a number follows."""
    return f"{process}\0{instance}\0".encode()


def numbered(key: bytes) -> int:
    """The number that a key ends with."""
    return int(NUMBER.unpack_from(key, len(key) - 8)[0])


def seek_last(cursor: lmdb.Cursor[bytes], prefix: bytes) -> bool:
    """Put the cursor on the last key that is the prefix and a number."""
    found = cursor.prev() if cursor.set_range(prefix + LAST) else cursor.last()
    return found and cursor.key()[:-8] == prefix


# Rows are lists, whose places are the format; names would be written a million times.


def event_to_row(event: EventRecord, named: str) -> list[Any]:
    """Its id is left out where it is the one that `event_id_at` makes."""
    event_id = event.event_id
    return [
        event.type,
        event.stream,
        event.version,
        event.time,
        event.data,
        None if event_id == named else event_id,
        event.correlation_id,
        event.causation_id,
        event.headers,
    ]


def event_from_row(row: list[Any], position: int) -> EventRecord:
    kind, stream, version, time, data, event_id, correlation_id, causation_id, headers = row
    return EventRecord(
        kind,
        stream,
        version,
        time,
        data,
        event_id or event_id_at(stream, version),
        correlation_id,
        causation_id,
        headers,
        position,
    )


def transition_to_row(record: TransitionRecord) -> list[Any]:
    return [
        record.time,
        record.handler,
        record.is_complete,
        record.cause,
        record.correlation_id,
        record.seen,
        record.state,
        record.commands,
    ]


def transition_from_row(row: list[Any], version: int) -> TransitionRecord:
    time, handler, is_complete, cause, correlation_id, seen, state, commands = row
    issued = [tuple(command) for command in commands]
    return TransitionRecord(
        version, time, handler, is_complete, cause, correlation_id, seen, state, issued
    )


def command_to_row(command: CommandRecord) -> list[Any]:
    return [
        command.command_id,
        command.type,
        command.stream,
        command.time,
        command.data,
        command.correlation_id,
        command.causation_id,
        command.process,
        command.instance,
        command.version,
    ]


def command_from_row(row: list[Any], ticket: int) -> CommandRecord:
    command_id, kind, stream, time, data, correlation_id, causation_id, *issuer = row
    process, instance, version = issuer
    return CommandRecord(
        command_id,
        kind,
        stream,
        time,
        data,
        correlation_id,
        causation_id,
        process,
        instance,
        version,
        ticket,
    )


def parked_to_row(parked: ParkedRecord) -> list[Any]:
    return [
        parked.process,
        parked.instance,
        parked.cause,
        parked.error_type,
        parked.error_text,
        parked.attempts,
        parked.time,
        parked.position,
        None if parked.command is None else command_to_row(parked.command),
    ]


def parked_from_row(row: list[Any], parked_number: int) -> ParkedRecord:
    process, instance, cause, error_type, error_text, attempts, time, position, command = row
    return ParkedRecord(
        process,
        instance,
        cause,
        error_type,
        error_text,
        attempts,
        time,
        position,
        None if command is None else command_from_row(command, 0),
        parked_number,
    )
