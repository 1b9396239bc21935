"""The tables, and how keys and rows are made. Documented in `docs/store-format.md`."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any, cast

from ..identifiers import event_id_at
from ..records import (
    Block,
    CommandRecord,
    EventRecord,
    ParkedRecord,
    RefusalRecord,
    TimerRecord,
    TransitionRecord,
)
from .frames import NUMBER

if TYPE_CHECKING:
    import lmdb

    from ..records import NameKind

__all__ = [
    "FOR_PARTITIONS",
    "LAST",
    "LOOKALIKE",
    "TABLES",
    "block_to_row",
    "command_from_row",
    "command_to_row",
    "digest",
    "event_from_row",
    "event_to_row",
    "instance_key",
    "kind_of_name",
    "name_key",
    "numbered",
    "parked_from_row",
    "parked_to_row",
    "refusal_from_row",
    "refusal_to_row",
    "seek_last",
    "timer_from_row",
    "timer_key",
    "timer_to_row",
    "transition_from_row",
    "transition_to_row",
]

FOR_PARTITIONS = ("partitions", "outgoing", "cursors")
"""Tables that are there, and empty: a store that is one of several will use them."""

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
    "parked_at",
    "decided",
    "waiting",
    "timers",
    "index",
    "refusals",
    "snapshots",
    "names",
    *FOR_PARTITIONS,
)

LAST = b"\xff" * 8
"""Sorts behind every number that follows a name in a key."""

LOOKALIKE = b"lookalike"
"""Stands in `meta` once an event was given an id that looks like one that the store makes."""


def instance_key(process: str, instance: str) -> bytes:
    """What the keys of one instance begin with; a number follows."""
    return f"{process}\0{instance}\0".encode()


def digest(*parts: str) -> bytes:
    """Stands for names that are too long for a key together."""
    return blake2b("\0".join(parts).encode(), digest_size=16).digest()


def parked_at_key(parked: ParkedRecord) -> bytes:
    """Of what was parked for an event: at most one for its handlers, and one for each effect."""
    if parked.effect:
        return digest(parked.process, parked.instance, parked.effect) + NUMBER.pack(parked.position)
    return instance_key(parked.process, parked.instance) + NUMBER.pack(parked.position)


def timer_key(timer: TimerRecord) -> bytes:
    return NUMBER.pack(timer.due) + digest(timer.process, timer.instance, timer.kind, timer.name)


def name_key(kind: NameKind, name: str) -> bytes:
    """Where a name stands; it may be longer than a key, so it is in the row."""
    return kind.encode() + b"\0" + digest(name)


def kind_of_name(key: bytes) -> NameKind:
    kind: Any = key.partition(b"\0")[0].decode()
    return cast("NameKind", kind)


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
        event.depth,
    ]


def event_from_row(row: list[Any], position: int) -> EventRecord:
    kind, stream, version, time, data, event_id, *rest = row
    correlation_id, causation_id, headers, depth = rest
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
        depth,
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
        record.timers,
        record.note,
        record.state_version,
        record.position,
    ]


def transition_from_row(row: list[Any], version: int) -> TransitionRecord:
    time, handler, is_complete, cause, correlation_id, seen, state, commands, *rest = row
    issued = [tuple(command) for command in commands]
    return TransitionRecord(
        version, time, handler, is_complete, cause, correlation_id, seen, state, issued, *rest
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
        command.depth,
    ]


def command_from_row(row: list[Any], sequence: int) -> CommandRecord:
    command_id, kind, stream, time, data, correlation_id, causation_id, *issuer = row
    process, instance, version, depth = issuer
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
        depth,
        sequence,
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
        parked.name,
        parked.sequence,
        parked.blocks,
        parked.effect,
        parked.decision,
    ]


def parked_from_row(row: list[Any], parked_number: int) -> ParkedRecord:
    *values, command, name, sequence, blocks, effect, decision = row
    parked = ParkedRecord(*values)
    parked.command = None if command is None else command_from_row(command, 0)
    parked.name, parked.sequence, parked.blocks, parked.effect = name, sequence, blocks, effect
    parked.decision = None if decision is None else tuple(decision)
    parked.number = parked_number
    return parked


def timer_to_row(timer: TimerRecord) -> list[Any]:
    command = timer.command
    row = None if command is None else command_to_row(command)
    return [timer.process, timer.instance, timer.name, timer.kind, row]


def timer_from_row(row: list[Any], key: bytes) -> TimerRecord:
    process, instance, name, kind, command = row
    record = None if command is None else command_from_row(command, 0)
    return TimerRecord(NUMBER.unpack_from(key)[0], process, instance, name, kind, record)


def refusal_to_row(refusal: RefusalRecord) -> list[Any]:
    return [command_to_row(refusal.command), refusal.reason]


def refusal_from_row(row: list[Any], sequence: int) -> RefusalRecord:
    command, reason = row
    return RefusalRecord(command_from_row(command, 0), reason, sequence)


def block_to_row(block: Block) -> list[Any]:
    return [
        block.kind,
        block.position,
        block.name,
        block.sequence,
        block.attempts,
        block.due,
        block.parked,
    ]
