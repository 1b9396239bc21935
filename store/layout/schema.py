"""The tables: what their keys are made of, and the columns of their rows with their types.

Rows are written, read and verified from what stands here. `docs/store-format.md` says the same to
people, and `tests/store` to the tests, independently.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from functools import lru_cache, partial
from operator import attrgetter
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, cast
from zlib import crc32

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import astuple

from ..errors import CorruptRecord
from ..identifiers import event_id_at
from ..records import (
    Block,
    CodeRecord,
    CommandRecord,
    CommandResult,
    DocumentSet,
    EffectRecord,
    ErasureRecord,
    EventRecord,
    GivenCommand,
    LearntKey,
    ParkedRecord,
    RefusalRecord,
    SentRecord,
    TimerRecord,
    TombstoneRecord,
    TransitionRecord,
    UnmatchedRecord,
)
from .frames import NUMBER, corrupt, pack_checksum, unframe
from .keys import Digest, Misshapen, Number, Parts, Text, digest, numbered, parser, told

if TYPE_CHECKING:
    from collections.abc import Callable, Sized

    from ..records import NameKind

__all__ = [
    "APPENDED",
    "BLOCKED",
    "CODEC",
    "COMMITS",
    "COPY",
    "DASHLESS",
    "DENSE",
    "DOCUMENT_TABLES",
    "EXCERPT",
    "FORMAT_VERSION",
    "FOR_PARTITIONS",
    "IMPORTED",
    "IMPORTED_UP_TO",
    "INSTANCE",
    "LAST_BACKUP",
    "LOOKALIKE",
    "OWN",
    "PRUNED_UP_TO",
    "ROW_READERS",
    "ROW_READERS_AGAIN",
    "SECRET",
    "STREAM",
    "TABLES",
    "BlockRow",
    "CodeRow",
    "CommandRow",
    "CountRow",
    "DocumentRow",
    "DocumentSetRow",
    "EffectRow",
    "ErasureRow",
    "EventIdRow",
    "EventRow",
    "Marks",
    "ParkedRow",
    "PartitionRow",
    "RefusalRow",
    "ResultRow",
    "SentRow",
    "SnapshotRow",
    "TimerRow",
    "TombstoneRow",
    "TransitionRow",
    "UnmatchedRow",
    "block_to_row",
    "code_from_row",
    "command_from_row",
    "command_to_row",
    "copied_event_to_row",
    "copies_key",
    "copies_of",
    "count_key",
    "document_key",
    "document_set_from_row",
    "document_set_key",
    "document_set_to_row",
    "effect_from_row",
    "effect_key",
    "effect_to_row",
    "erasure_from_row",
    "erasure_to_row",
    "event_from_row",
    "event_to_row",
    "first_in",
    "first_of_row",
    "given_from_row",
    "given_to_row",
    "instance_key",
    "key_of",
    "key_reader",
    "kind_of_name",
    "last_of_process",
    "name_key",
    "outgoing_key",
    "owed_key",
    "parked_at_key",
    "parked_from_row",
    "parked_to_row",
    "place_of",
    "readable",
    "refusal_from_row",
    "refusal_to_row",
    "row_of",
    "sent_from_row",
    "sent_to_row",
    "started_key",
    "stream_key",
    "timer_from_row",
    "timer_key",
    "timer_to_row",
    "tombstone_from_row",
    "tombstone_to_row",
    "transition_from_row",
    "transition_to_row",
    "transitions_key",
    "unmatched_by_key",
    "unmatched_from_row",
    "unmatched_key",
    "unmatched_to_row",
]

FORMAT_VERSION = 2
"""Stamped into every store; a store with another number is refused."""

BLOCKED = NUMBER.pack(0)
"""Sorts before the positions of the events that wait behind a block."""

CODEC = b"codec"
"""Stands in `meta` of a store whose content is encoded: the name of the codec."""

COMMITS = b"commits"
"""Stands in `meta`: how many commits there were, which tells a commit whose answer was lost."""

EXCERPT = b"excerpt"
"""Stands in `meta` of a store that has some records of another: numbers have gaps, and what a
record came of need not be there."""

IMPORTED = b"imported"
"""Stands in `meta` as 1 while what the store holds was imported, and nothing may leave it."""

IMPORTED_UP_TO = b"imported_up_to"
"""Stands in `meta` beside `IMPORTED` once a file was imported: a `SourceMark`."""

LAST_BACKUP = b"last_backup"
"""Stands in `meta` once a running store was backed up: the moment, a space, and the folder."""

LOOKALIKE = b"lookalike"
"""Stands in `meta` once an event was given an id that looks like one that the store makes."""

PRUNED_UP_TO = b"pruned"
"""Stands in `meta` once anything was pruned: the marks, which `Marks` says, with spaces between."""

SECRET = b"secret"
"""Stands in `meta`: the key of the digests that tell what an id from outside stands for."""

Positive = Annotated[int, Meta(ge=1)]
OrNone = Annotated[int, Meta(ge=0)]
Name = Annotated[str, Meta(min_length=1)]
ContentDigest = Annotated[bytes, Meta(max_length=16)]
"""Of what an id stands for; empty where that is not known."""


# Rows. A row is an array: a column is known by its place, and columns have the order of the fields
# of their record, without those that the key says.


class _Row(Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    pass


class EventRow(_Row):
    """In `log`."""

    type: Name
    stream: Name
    version: Positive
    time: int
    data: bytes
    event_id: Name | None
    """None where it is the one that `event_id_at` makes."""
    correlation_id: Name
    causation_id: Name | None
    headers: bytes | None
    depth: OrNone
    sent_for: Name | None = None
    """Only of a copy that another partition sent, which is in no stream here."""
    sent_to: list[Name] | None = None

    @property
    def id(self) -> str:
        """The event's id, wherever it is written."""
        return self.event_id or event_id_at(self.stream, self.version)


class TombstoneRow(_Row):
    """In `tombstones`: of an event that was pruned."""

    type: Name
    stream: Name
    version: Positive
    time: int
    event_id: Name | None
    """None where it is the one that `event_id_at` makes."""
    sent_for: str
    """Of a copy that another partition sent; empty otherwise."""

    @property
    def id(self) -> str:
        """As that of the event."""
        return self.event_id or event_id_at(self.stream, self.version)


class TransitionRow(_Row):
    """In `transitions`."""

    process: Name
    instance: Name
    version: Positive
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
    state_version: Positive
    position: OrNone
    base: OrNone
    """The version that `state` stands on, if it is a change and no whole state."""
    run: Positive
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
    origin: OrNone | None = None
    """Only of a command that another partition issued."""


class EventIdRow(_Row):
    """In `event_ids`."""

    position: Positive
    digest: ContentDigest


class ResultRow(_Row):
    """In `command_ids`."""

    first_position: OrNone
    events: OrNone
    refusal: str | None
    type: str
    stream: str
    time: int
    digest: ContentDigest
    is_done: bool
    """False from when the command is accepted until it is carried out or refused."""
    error: bytes | None


class ParkedRow(_Row):
    """In `parked` and `decided`."""

    process: str
    instance: str
    cause: Name
    error_type: Name
    error_text: str
    attempts: Positive
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
    attempts: Positive
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

    version: Positive
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
    count: Positive


class EffectRow(_Row):
    """In `effects`."""

    process: Name
    instance: Name
    handler: Name
    version: OrNone
    time: int
    commands: Annotated[list[tuple[Name, Name, bytes]], Meta(min_length=1)]


class ErasureRow(_Row):
    """In `erasures`."""

    kind: Literal["instance", "stream", "subject"]
    name: str
    """Of the process manager, of an instance; empty otherwise."""
    id: Name
    time: int
    by: str | None
    is_done: bool


class DocumentSetRow(_Row):
    """In `document_sets`."""

    state: Literal["live", "beside", "gone"]
    version: Positive
    position: OrNone
    done: list[Positive]


class DocumentRow(_Row):
    """In `documents`."""

    value: bytes


class PartitionRow(_Row):
    """In `partitions`."""

    number: OrNone
    count: Positive
    family: Name
    """The same in all partitions of one store."""


class SentRow(_Row):
    """One message in a row of `outgoing`: one of the four."""

    event: EventRow | None
    process: str
    instances: list[Name] | None
    command: CommandRow | None
    refusal: RefusalRow | None
    learnt: tuple[Name, Name, Name, Name | None, Name | None] | None


class Marks(NamedTuple):
    """The highest numbers of what was pruned; 0 where nothing was."""

    events: int = 0
    """A position."""
    tombstones: int = 0
    """A position, whose tombstone has gone as well."""
    transitions: int = 0
    parked: int = 0
    """A parking number of what was decided."""

    @classmethod
    def parse(cls, said: str) -> Marks | None:
        """What the row says; None if it is no such text."""
        numbers = said.split(" ")
        if len(numbers) != len(cls._fields) or not all(map(str.isdecimal, numbers)):
            return None
        return cls(*map(int, numbers))

    def __str__(self) -> str:
        return " ".join(map(str, self))


# Tables


class Table(NamedTuple):
    """What the keys of a table are made of, and what its rows are."""

    key: Parts
    row: Any
    other_key: Parts | None = None
    """What else a key may be made of."""


_NAME, _STREAM, _PROCESS, _INSTANCE = map(Text, ("name", "stream", "process", "instance"))
_ID_FIRST = (
    Text("id", may_be_empty=True),
    Text("kind"),
    Text("name", may_be_empty=True),
    Number("version"),
)
_POSITION, _PARKED = Number("position"), Table((Number("parking number"),), ParkedRow)
_SET = (Text("projection"), Number("generation"))
FOR_PARTITIONS = ("partitions", "outgoing", "cursors")
"""Tables that are empty in a store that is not divided."""

DOCUMENT_TABLES = ("document_sets", "documents")
"""Tables of what projections keep in the store itself."""

TABLES: dict[str, Table] = {
    "meta": Table((_NAME,), int | str),
    "log": Table((_POSITION,), EventRow),
    "tombstones": Table((_POSITION,), TombstoneRow),
    "transitions": Table((Number("transition number"),), TransitionRow),
    # An id's streams and instances are neighbours, however the ids of others are spread.
    "ids": Table(_ID_FIRST, Positive),
    "started": Table((_PROCESS, Number("transition number")), Name),
    "queue": Table((Number("sequence"),), CommandRow),
    "event_ids": Table((Text("event id"),), EventIdRow),
    "command_ids": Table((Text("command id"),), ResultRow),
    "checkpoints": Table((Text("router"),), OrNone),
    "parked": _PARKED,
    "parked_at": Table(
        (_PROCESS, Text("instance", may_be_empty=True), _POSITION),
        Positive,
        (Digest("process, instance and effect"), _POSITION),
    ),
    "decided": _PARKED,
    "waiting": Table((_PROCESS, _INSTANCE, Number("position", 0)), Literal[0] | BlockRow),
    "timers": Table((Number("due", 0), Digest("process, instance, kind and name")), TimerRow),
    "index": Table((Digest("process, field and value"), _INSTANCE), Literal[0]),
    "refusals": Table((Number("refusal number"),), RefusalRow),
    "snapshots": Table((_STREAM,), SnapshotRow),
    "names": Table((Text("kind"), Digest("name")), Name),
    "codes": Table((Number("code number"),), CodeRow),
    "unmatched": Table((_PROCESS, _POSITION), UnmatchedRow),
    "unmatched_by": Table((Digest("process, field and value"), _POSITION), Literal[0]),
    "counts": Table((Digest("what is counted and its names"),), CountRow),
    "effects": Table((_POSITION, Digest("process and instance")), EffectRow),
    "owed": Table((_PROCESS, _POSITION, _INSTANCE), OrNone),
    "erasures": Table((Number("erasure number"),), ErasureRow),
    "partitions": Table((_NAME,), PartitionRow),
    "outgoing": Table(
        (Number("target", 0), Number("sequence")), Annotated[list[SentRow], Meta(min_length=1)]
    ),
    "cursors": Table((Number("source", 0),), Positive),
    "document_sets": Table(_SET, DocumentSetRow),
    "documents": Table((*_SET, Text("key")), DocumentRow),
}

_PARSERS = {name: parser(table.key) for name, table in TABLES.items()}
_OTHER_PARSERS = {
    name: parser(table.other_key) for name, table in TABLES.items() if table.other_key is not None
}


def key_of(table: str, key: bytes) -> tuple[Any, ...]:
    """What a key says, part by part.

    Raises:
        Misshapen: it is not as the format has it

    """
    return _parsed(table, key)[1]


def readable(table: str, key: bytes) -> str:
    """A key for people."""
    try:
        parts, said = _parsed(table, key)
    except Misshapen:
        return key.decode("ascii", "backslashreplace")
    if table == "ids":
        one, kind, name, version = said
        return f"{_named(one, kind, name)} version {version}"
    return told(parts, said)


def _named(one: str, kind: str, name: str) -> str:
    """What a key in `ids` calls a stream or an instance, for people."""
    if kind in {INSTANCE, COPY}:
        return f"{name} {one}"
    return f"{name}-{one}" if kind == STREAM else one + name


def _parsed(table: str, key: bytes) -> tuple[Parts, tuple[Any, ...]]:
    parts, _, others = TABLES[table]
    try:
        return parts, _PARSERS[table](key)
    except Misshapen:
        if others is None:
            raise
    return others, _OTHER_PARSERS[table](key)


def key_reader(table: str) -> Callable[[bytes], tuple[Any, ...]]:
    """What does as `key_of` for the keys of one table."""
    return partial(key_of, table) if table in _OTHER_PARSERS else _PARSERS[table]


def row_of(table: str, key: bytes, raw: bytes) -> Any:
    """The row in a frame, with all its types checked.

    Raises:
        Misshapen: the checksum does not match, or the row is not as the format has it

    """
    return ROW_READERS[table](key, raw)


def _row_reader(row: Any) -> Callable[[bytes, bytes], Any]:
    decode = msgspec.msgpack.Decoder(row).decode

    def read(key: bytes, raw: bytes) -> Any:
        packed = raw[4:]
        if not packed or pack_checksum(crc32(key + packed)) != raw[:4]:
            raise Misshapen("does not match its checksum: it was changed after it was written")
        try:
            return decode(packed)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Misshapen(f"is not as the format has it: {error}") from error

    return read


def _row_reader_again(row: Any) -> Callable[[bytes, bytes], Any]:
    decode = msgspec.msgpack.Decoder(row).decode

    def read(key: bytes, raw: bytes) -> Any:
        del key
        try:
            return decode(raw[4:])
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Misshapen(f"is not as the format has it: {error}") from error

    return read


def _place_in(key: bytes, raw: bytes) -> int:
    # The row that it points at says the same, and has a checksum.
    del key
    place = int.from_bytes(raw, "big")
    if len(raw) != NUMBER.size or not place:
        raise Misshapen("is not as the format has it: it points at no number")
    return place


ROW_READERS = {
    name: _place_in if name == "ids" else _row_reader(table.row) for name, table in TABLES.items()
}
"""What does as `row_of` for the rows of one table."""

ROW_READERS_AGAIN = {
    name: _place_in if name == "ids" else _row_reader_again(table.row)
    for name, table in TABLES.items()
}
"""As `ROW_READERS`, for rows whose checksums were compared before."""


# Keys


KEYS_KEPT = 4_096
"""Prefixes of keys that are kept in memory."""

APPENDED = frozenset({"log", "transitions"})
"""Tables whose new keys come behind all that are there."""

DENSE = APPENDED | {"ids"}
"""Tables whose numbers have no gaps, but for what was pruned, and end as they ended before that."""


STREAM, DASHLESS, INSTANCE, COPY = "s", "n", "i", "c"
"""Kinds of what has rows in `ids`. A name without a dash is not a stream's whose id is empty."""


# These are asked for several times within a step.
@lru_cache(maxsize=KEYS_KEPT)
def stream_key(stream: str) -> bytes:
    """What the keys of a stream in `ids` begin with; a version follows."""
    category, dash, name = stream.partition("-")
    return f"{name}\0{STREAM if dash else DASHLESS}\0{category}\0".encode()


@lru_cache(maxsize=KEYS_KEPT)
def transitions_key(process: str, instance: str) -> bytes:
    """What the keys of an instance in `ids` begin with; a version follows."""
    return f"{instance}\0{INSTANCE}\0{process}\0".encode()


def copies_key(process: str, stream: str, version: int) -> bytes:
    """What the keys in `ids` begin with of copies of an event, sent for a process manager.

    A position follows: an event may be sent more than once.
    """
    _, _, name = stream.partition("-")
    return f"{name}\0{COPY}\0{digest(process, stream, str(version)).hex()}\0".encode()


def copies_of(stream: str) -> bytes:
    """What the keys in `ids` begin with of copies of all events of the streams with that id."""
    _, _, name = stream.partition("-")
    return f"{name}\0{COPY}\0".encode()


def started_key(process: str) -> bytes:
    """What the keys of a process manager in `started` begin with; a number follows."""
    return f"{process}\0".encode()


def place_of(key: bytes, raw: bytes) -> int:
    """The number that a row of `ids` points at.

    Raises:
        CorruptRecord: it is none

    """
    if len(raw) != NUMBER.size:
        raise corrupt("ids", key, "points at no number")
    return int.from_bytes(raw, "big")


def unmatched_key(process: str, position: int) -> bytes:
    """Of an event that is held for who learns its key."""
    return f"{process}\0".encode() + NUMBER.pack(position)


def unmatched_by_key(process: str, field: str, value: str, position: int) -> bytes:
    """As `unmatched_key`, to be found by one of its values."""
    return digest(process, field, value) + NUMBER.pack(position)


def count_key(of: str, *names: str) -> bytes:
    """Of how many events, instances or parked things there are with these names."""
    return digest(of, *names)


def effect_key(position: int, process: str, instance: str) -> bytes:
    """Of what an after-effect issued; those of one event are neighbours."""
    return NUMBER.pack(position) + digest(process, instance)


def owed_key(process: str, position: int, instance: str = "") -> bytes:
    """Of an after-effect that is owed; without an instance, what those of one event begin with."""
    return f"{process}\0".encode() + NUMBER.pack(position) + instance.encode()


def last_of_process(process: str) -> bytes:
    """Comes behind all keys that begin with the name of a process manager and its end."""
    return f"{process}\1".encode()


def instance_key(process: str, instance: str) -> bytes:
    """What the keys of one instance begin with; a number follows."""
    return f"{process}\0{instance}\0".encode()


def parked_at_key(parked: ParkedRecord | ParkedRow) -> bytes:
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


outgoing_key: Callable[[int, int], bytes] = struct.Struct(">QQ").pack
"""Of what is for another partition, and its sequence; what is for one lies together, in order."""


def document_set_key(projection: str, generation: int) -> bytes:
    """Of one making of a projection's documents; what their keys begin with as well."""
    return f"{projection}\0".encode() + NUMBER.pack(generation)


def document_key(projection: str, generation: int, key: str) -> bytes:
    """Of a document."""
    return document_set_key(projection, generation) + key.encode()


OWN = b"own"
"""Stands in `partitions`: which of them this one is."""

COLUMNS_OF_EVENT, COLUMNS_OF_COMMAND = 10, 12
"""Of rows without the last column, which few have."""


# Records and their rows. Those of every step are written out, which costs least. A row that was
# read is used up by the record that is made of it.


def copied_event_to_row(event: EventRecord) -> tuple[Any, ...]:
    """The row of a copy that another partition sent."""
    row = event_to_row(event, event_id_at(event.stream, event.version))
    return (*row, event.sent_for, event.sent_to)


def event_to_row(event: EventRecord, named: str) -> tuple[Any, ...]:
    """The row of an event; `named` is the id that `event_id_at` makes for it."""
    event_id = event.event_id
    return (
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
    )


def event_from_row(row: list[Any], position: int) -> EventRecord:
    row[5] = row[5] or event_id_at(row[1], row[2])
    more = row[COLUMNS_OF_EVENT:]
    del row[COLUMNS_OF_EVENT:]
    row.append(position)
    event = EventRecord(*row)
    if more:
        event.sent_for, event.sent_to = more
    return event


def transition_to_row(process: str, instance: str, record: TransitionRecord) -> tuple[Any, ...]:
    return (
        process,
        instance,
        record.version,
        record.time,
        record.handler,
        record.is_complete,
        record.cause,
        record.correlation_id,
        record.seen,
        record.state if record.change is None else record.change,
        record.commands,
        record.timers,
        record.note,
        record.state_version,
        record.position,
        record.base,
        record.run,
        record.code,
        record.headers,
    )


def transition_from_row(row: list[Any], place: int) -> TransitionRecord:
    del place
    row[10] = [tuple(command) for command in row[10]]
    return TransitionRecord(*row[2:])


def code_from_row(row: list[Any], code_number: int) -> CodeRecord:
    process, python, fingerprint = row
    return CodeRecord(process, python, fingerprint, code_number)


def command_to_row(command: CommandRecord) -> list[Any]:
    row = [
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
        command.headers,
    ]
    if command.origin is not None:
        row.append(command.origin)
    return row


def command_from_row(row: list[Any], sequence: int) -> CommandRecord:
    origin = row.pop() if len(row) > COLUMNS_OF_COMMAND else None
    row.append(sequence)
    command = CommandRecord(*row)
    command.origin = origin
    return command


def given_to_row(
    command: CommandRecord | GivenCommand, result: CommandResult | None
) -> tuple[Any, ...]:
    """The row of an id; `result` once something came of the command."""
    first, events, refusal, error = 0, 0, None, None
    if result is not None:
        first, events = result.first_position, result.events
        refusal, error = result.refusal, result.error
    return (
        first,
        events,
        refusal,
        command.type,
        command.stream,
        command.time,
        command.digest,
        result is not None,
        error,
    )


def given_from_row(row: list[Any]) -> GivenCommand:
    first, events, refusal, kind, stream, time, content, is_done, error = row
    result = CommandResult(first, events, refusal, error) if is_done else None
    return GivenCommand(kind, stream, time, content, result)


def _columns_of(row: type[_Row]) -> Callable[[Any], list[Any]]:
    """What makes a row of a record: its fields that are columns; a command in it as its own row."""
    fields = attrgetter(*row.__struct_fields__)

    def to_row(record: Any) -> list[Any]:
        return [
            command_to_row(one) if type(one) is CommandRecord else one for one in fields(record)
        ]

    return to_row


parked_to_row: Callable[[ParkedRecord], list[Any]] = _columns_of(ParkedRow)
timer_to_row: Callable[[TimerRecord], list[Any]] = _columns_of(TimerRow)
refusal_to_row: Callable[[RefusalRecord], list[Any]] = _columns_of(RefusalRow)
block_to_row: Callable[[Block], list[Any]] = _columns_of(BlockRow)
unmatched_to_row: Callable[[UnmatchedRecord], list[Any]] = _columns_of(UnmatchedRow)
effect_to_row: Callable[[EffectRecord], list[Any]] = _columns_of(EffectRow)
erasure_to_row: Callable[[ErasureRecord], list[Any]] = _columns_of(ErasureRow)


def _held(row: list[Any] | None) -> CommandRecord | None:
    return None if row is None else command_from_row(row, 0)


def parked_from_row(row: list[Any], parked_number: int) -> ParkedRecord:
    row[8] = _held(row[8])
    row[13] = None if row[13] is None else tuple(row[13])
    row.append(parked_number)
    return ParkedRecord(*row)


def timer_from_row(row: list[Any], key: bytes) -> TimerRecord:
    row[4] = _held(row[4])
    return TimerRecord(numbered(key[:8]), *row)


def refusal_from_row(row: list[Any], sequence: int) -> RefusalRecord:
    command, reason = row
    return RefusalRecord(command_from_row(command, 0), reason, sequence)


def tombstone_to_row(tombstone: TombstoneRecord) -> tuple[Any, ...]:
    named = event_id_at(tombstone.stream, tombstone.version)
    return (
        tombstone.type,
        tombstone.stream,
        tombstone.version,
        tombstone.time,
        None if tombstone.event_id == named else tombstone.event_id,
        tombstone.sent_for,
    )


def tombstone_from_row(row: list[Any], position: int) -> TombstoneRecord:
    row[4] = row[4] or event_id_at(row[1], row[2])
    tombstone = TombstoneRecord(*row)
    tombstone.position = position
    return tombstone


def unmatched_from_row(row: list[Any], key: bytes) -> UnmatchedRecord:
    return UnmatchedRecord(key[:-9].decode(), numbered(key), *row)


def sent_to_row(sent: SentRecord) -> tuple[Any, ...]:
    event, command, refusal, learnt = sent.event, sent.command, sent.refusal, sent.learnt
    return (
        None if event is None else event_to_row(event, event_id_at(event.stream, event.version)),
        sent.process,
        sent.instances,
        None if command is None else command_to_row(command),
        None if refusal is None else refusal_to_row(refusal),
        None if learnt is None else astuple(learnt),
    )


SENT_TOGETHER, LARGE_MESSAGE = 64, 1_024
"""Messages of a commit to a partition that lie in a row, at most; and the bytes of one behind which
no other lies in its row.

A row costs as much to write, check and drop whether it holds one message or many.
"""


def first_in(key: bytes, row: Sized) -> int:
    """The sequence of the first message in a row of `outgoing`, whose key has that of the last."""
    return numbered(key) - len(row) + 1


def first_of_row(key: bytes, raw: bytes) -> int:
    """As `first_in`, of a row as it is stored; a damaged one may hold as many as a row does."""
    with suppress(CorruptRecord):
        return max(1, first_in(key, unframe(raw, "outgoing", key)))
    return max(1, numbered(key) - SENT_TOGETHER + 1)


def sent_from_row(row: list[Any], target: int, sequence: int) -> SentRecord:
    columns, process, instances, command, refusal, learnt = row
    if columns is not None:
        # Nearly all; as `event_from_row` makes it.
        columns[5] = columns[5] or event_id_at(columns[1], columns[2])
        event = EventRecord(*columns)
        event.sent_for, event.sent_to = process, instances
        return SentRecord(target, event, process, instances, None, None, None, sequence)
    return SentRecord(
        target,
        None,
        process,
        instances,
        None if command is None else command_from_row(command, 0),
        None if refusal is None else refusal_from_row(refusal, 0),
        None if learnt is None else LearntKey(*learnt),
        sequence,
    )


def erasure_from_row(row: list[Any], erasure_number: int) -> ErasureRecord:
    row.append(erasure_number)
    return ErasureRecord(*row)


def document_set_to_row(found: DocumentSet) -> tuple[Any, ...]:
    return found.state, found.version, found.position, found.done


def document_set_from_row(row: list[Any], key: bytes) -> DocumentSet:
    return DocumentSet(key[:-9].decode(), numbered(key), *row)


def effect_from_row(row: list[Any], position: int) -> EffectRecord:
    row[5] = [tuple(command) for command in row[5]]
    return EffectRecord(position, *row)
