"""Which rows hold what belongs to one stream or one instance, and what they are without it.

Rows are told by page, so that each step that erases is short; what belongs to a stream or an
instance and is found by its id comes first, and then what is found by looking through short tables.
Positions, versions, ids, types and times stay.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from .errors import CorruptRecord
from .layout.frames import NUMBER, number, unframe
from .layout.keys import LAST, digest, numbered
from .layout.markers import marker, words_for
from .layout.schema import (
    BLOCKED,
    SENT_TOGETHER,
    copies_of,
    first_in,
    instance_key,
    stream_key,
    transitions_key,
)
from .state_changes import texts_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .reads import Reads
    from .storage_engine import Row

__all__ = [
    "EVENTS",
    "Place",
    "erased",
    "is_there",
    "places_of_instance",
    "places_of_stream",
    "row_of_message",
]

Place = tuple[str, bytes]
"""A table, and a key in it; in `outgoing`, what would be the key of a message alone."""

PAGE = 256
"""Rows that one step erases at most."""

EVENTS = frozenset({"log", "event_ids"})
"""Tables of what an aggregate is read from: without it, the aggregate takes nothing any more."""


# Which rows


def places_of_stream(reads: Reads, stream: str) -> Iterator[list[Place]]:
    """Rows that hold what the events of a stream say, and the commands for it."""
    yield from _events_of(reads, stream)
    yield [("snapshots", stream.encode())]
    yield from _held_events(reads, stream)

    def is_for_it(command: list[Any] | None) -> bool:
        return command is not None and command[2] == stream

    tests: dict[str, Callable[[list[Any]], bool]] = {
        "queue": is_for_it,
        "command_ids": lambda row: row[4] == stream,
        "parked": lambda row: is_for_it(row[8]) or _is_at_event(reads, row[7], stream),
        "decided": lambda row: is_for_it(row[8]) or _is_at_event(reads, row[7], stream),
        "timers": lambda row: is_for_it(row[4]),
        "refusals": lambda row: is_for_it(row[0]),
    }
    for table, test in tests.items():
        yield from _rows_where(reads, table, test)
    yield from _messages_where(
        reads,
        lambda message: (
            (message[0] is not None and message[0][1] == stream)
            or is_for_it(message[3])
            or (message[4] is not None and is_for_it(message[4][0]))
        ),
    )


def places_of_instance(
    reads: Reads, process: str, instance: str, until: int
) -> Iterator[list[Place]]:
    """Rows that hold what an instance knew, issued or failed at.

    Args:
        reads: the store
        process: the process manager
        instance: the instance's id
        until: the version of its last transition that is erased

    """
    owner = [process, instance]
    after = 0
    prefix = transitions_key(process, instance)
    while after < until:
        rows = reads.rows_behind("ids", prefix, after, min(PAGE, until - after))
        if not rows:
            break
        yield _learnt_in(reads, process, instance, after, len(rows))
        yield [("transitions", place) for _, place in rows]
        after = numbered(rows[-1][0])
    yield [("waiting", instance_key(process, instance) + BLOCKED)]

    def is_its_own(command: list[Any] | None) -> bool:
        return command is not None and command[7:9] == owner

    tests: dict[str, Callable[[list[Any]], bool]] = {
        "queue": is_its_own,
        "parked": lambda row: row[:2] == owner or is_its_own(row[8]),
        "decided": lambda row: row[:2] == owner or is_its_own(row[8]),
        "timers": lambda row: row[:2] == owner,
        "refusals": lambda row: is_its_own(row[0]),
        "effects": lambda row: row[:2] == owner,
    }
    for table, test in tests.items():
        yield from _rows_where(reads, table, test)
    yield from _messages_where(
        reads,
        lambda message: (
            is_its_own(message[3])
            or (message[4] is not None and is_its_own(message[4][0]))
            or (message[5] is not None and message[5][:2] == owner)
        ),
    )


def is_there(reads: Reads, place: Place) -> bool:
    """Whether there is anything at a place."""
    table, key = place
    if table == "outgoing":
        return row_of_message(reads, key) is not None
    return bool(reads.rows_between(table, key, key + b"\0", 1))


def row_of_message(reads: Reads, place: bytes) -> tuple[bytes, list[Any]] | None:
    """The key of the row that holds a message to another partition, and the row; None without one.

    Args:
        reads: the store
        place: what would be the key of the message alone

    """
    rows = reads.rows_between("outgoing", place, place[: NUMBER.size] + LAST, 1)
    # The message may have been dropped since it was found, or what comes next is damaged.
    return next((one for one in _sound(rows) if first_in(*one) <= numbered(place)), None)


def _learnt_in(reads: Reads, process: str, instance: str, after: int, count: int) -> list[Place]:
    """Rows of the index by which an instance is found by what some of its states say.

    Its class takes those away that it knows of; here are those that older classes wrote.
    """
    with suppress(CorruptRecord):
        states = [one.state for one in reads.read_transitions(process, instance, after, count)]
        keys = {
            digest(process, field, text) + instance.encode()
            for state in states
            for field, text in texts_in(state)
        }
        return [("index", key) for key in keys]
    return []


def _events_of(reads: Reads, stream: str) -> Iterator[list[Place]]:
    """The events with their digests, and the copies that other partitions sent of them."""
    after = 0
    prefix = stream_key(stream)
    while rows := reads.rows_behind("ids", prefix, after, PAGE // 2):
        yield from _with_ids(reads, rows)
        after = numbered(rows[-1][0])
    start = copies_of(stream)
    while rows := reads.rows_between("ids", start, copies_of(stream) + b"\xff" * 64, PAGE):
        yield [
            place
            for page in _with_ids(reads, rows)
            for place in page
            if place[0] == "log" and _is_at_event(reads, numbered(place[1]), stream)
        ]
        start = rows[-1][0] + b"\0"


def _with_ids(reads: Reads, rows: list[Row]) -> Iterator[list[Place]]:
    places: list[Place] = [("log", place) for _, place in rows]
    for _, place in rows:
        event = reads.event_at(numbered(place))
        if event is not None:
            places.append(("event_ids", event.event_id.encode()))
    yield places


def _is_at_event(reads: Reads, position: int, stream: str) -> bool:
    event = reads.event_at(position) if position else None
    return event is not None and event.stream == stream


def _held_events(reads: Reads, stream: str) -> Iterator[list[Place]]:
    """Events that are held for who learns their keys, which are values that they name."""
    yield from _places_where(
        reads, "unmatched", lambda key, _: _is_at_event(reads, numbered(key), stream)
    )


def _rows_where(
    reads: Reads, table: str, test: Callable[[list[Any]], bool]
) -> Iterator[list[Place]]:
    def is_meant(key: bytes, raw: bytes) -> bool:
        # Whose a damaged row is cannot be told; `verify` tells of it.
        with suppress(CorruptRecord):
            return test(unframe(raw, table, key))
        return False

    return _places_where(reads, table, is_meant)


def _messages_where(reads: Reads, test: Callable[[list[Any]], bool]) -> Iterator[list[Place]]:
    """Messages to other partitions."""
    start = b""
    while rows := reads.rows_between("outgoing", start, LAST * 2, PAGE // SENT_TOGETHER):
        found: list[Place] = [
            ("outgoing", key[: NUMBER.size] + number(sequence))
            for key, row in _sound(rows)
            for sequence, message in enumerate(row, first_in(key, row))
            if test(message)
        ]
        if found:
            yield found
        start = rows[-1][0] + b"\0"


def _sound(rows: list[Row]) -> Iterator[tuple[bytes, list[Any]]]:
    for key, raw in rows:
        # Whose a damaged row is cannot be told; `verify` tells of it.
        with suppress(CorruptRecord):
            yield key, unframe(raw, "outgoing", key)


def _places_where(
    reads: Reads, table: str, test: Callable[[bytes, bytes], bool]
) -> Iterator[list[Place]]:
    """Rows of a table that is looked through, a page at a time."""
    start = b""
    while rows := reads.rows_between(table, start, LAST * 64, PAGE):
        found = [(table, key) for key, raw in rows if test(key, raw)]
        if found:
            yield found
        start = rows[-1][0] + b"\0"


# What they are without it


class _Words(NamedTuple):
    """What stands in the place of what was erased at one moment."""

    payload: bytes
    text: str

    def or_none(self, text: str | None) -> str | None:
        return None if text is None else self.text


def erased(table: str, row: Any, time: int) -> Any:
    """A row without what it said of people; None of one that goes.

    Args:
        table: that it is in
        row: what its frame holds; of `outgoing`, one message in it
        time: of the erasure, in microseconds

    """
    change = _CHANGES[table]
    return change(row, _Words(marker(time), words_for(time)))


def _event(row: list[Any], words: _Words) -> list[Any]:
    row[4], row[8] = words.payload, None
    return row


def _transition(row: list[Any], words: _Words) -> list[Any]:
    row[9], row[15] = words.payload, 0
    row[10] = [[one[0], one[1], words.payload] for one in row[10]]
    row[12], row[18] = words.or_none(row[12]), None
    return row


def _command(row: list[Any], words: _Words) -> list[Any]:
    row[4], row[11] = words.payload, None
    return row


def _event_id(row: list[Any], words: _Words) -> list[Any]:
    del words
    row[1] = b""
    return row


def _result(row: list[Any], words: _Words) -> list[Any]:
    row[2], row[6], row[8] = words.or_none(row[2]), b"", None
    return row


def _parked(row: list[Any], words: _Words) -> list[Any]:
    row[4] = words.text
    if row[8] is not None:
        row[8] = _command(row[8], words)
    if row[13] is not None:
        row[13] = [*row[13][:2], None]
    return row


def _block(row: list[Any], words: _Words) -> list[Any]:
    del words
    row[8] = None
    return row


def _timer(row: list[Any], words: _Words) -> list[Any]:
    if row[4] is not None:
        row[4] = _command(row[4], words)
    row[6] = None
    return row


def _refusal(row: list[Any], words: _Words) -> list[Any]:
    return [_command(row[0], words), words.text]


def _effect(row: list[Any], words: _Words) -> list[Any]:
    row[5] = [[one[0], one[1], words.payload] for one in row[5]]
    return row


def _message(row: list[Any], words: _Words) -> list[Any]:
    changes = (_event, None, None, _command, _refusal)
    for place, change in enumerate(changes):
        if change is not None and row[place] is not None:
            row[place] = change(row[place], words)
    return row


def _gone(row: Any, words: _Words) -> None:
    del row, words


_CHANGES: dict[str, Callable[[Any, _Words], Any]] = {
    "log": _event,
    "transitions": _transition,
    "queue": _command,
    "event_ids": _event_id,
    "command_ids": _result,
    "parked": _parked,
    "decided": _parked,
    "waiting": _block,
    "timers": _timer,
    "refusals": _refusal,
    "index": _gone,
    "snapshots": _gone,
    "unmatched": _gone,
    "effects": _effect,
    "outgoing": _message,
    "documents": _gone,
}
