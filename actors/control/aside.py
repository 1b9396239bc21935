"""What is parked, and what is due later, as it is stored."""

from __future__ import annotations

from contextlib import suppress
from heapq import merge
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from ..queries.views import error_of
from ..store import CorruptRecord
from .plain import moment

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..store import CommandRecord, EventRecord, ParkedRecord, TimerRecord
    from .face import Face
    from .plain import Plain

__all__ = [
    "NEVER",
    "parked",
    "parked_groups",
    "parked_page",
    "parked_row",
    "selected",
    "timeout_row",
    "timeouts",
    "timers",
]

NEVER = (1 << 63) - 1


def parked(
    face: Face,
    *,
    decided: bool = False,
    process: str | None = None,
    error: str | None = None,
    handler: str | None = None,
    place: str | None = None,
    after: int = 0,
    limit: int = 50,
) -> Iterator[Plain]:
    """What is parked, the oldest first, or what was until a person decided.

    Of a divided store it comes in the order of the numbers, which is about that of the times.

    Args:
        face: where to look
        decided: whether to list what was decided instead
        process: only of this process manager
        error: only of this type, with its module or without
        handler: only what failed in this method
        place: only what failed at this line of the code
        after: only those with higher ids
        limit: most of them

    Raises:
        UnknownMessage: there is no such process manager

    """
    meant = _Meant(None if process is None else face.known(process), error, handler, place)
    return islice(_parked(face, meant, after, decided=decided), limit)


class _Meant(NamedTuple):
    """What of all that is parked is meant; None stands for any."""

    process: str | None
    error: str | None
    handler: str | None
    place: str | None

    def takes(self, record: ParkedRecord) -> bool:
        return (
            self.process in {None, record.process}
            and self.error in {None, record.error_type, record.error_type.rpartition(".")[2]}
            and self.handler in {None, record.handler}
            and self.place in {None, record.place}
        )


MOST_LOOKED_AT = 5_000
"""Parked things that one part of a listing looks at, however few of them are meant."""


def parked_page(
    face: Face,
    *,
    decided: bool = False,
    process: str | None = None,
    error: str | None = None,
    handler: str | None = None,
    place: str | None = None,
    after: int = 0,
    limit: int = 50,
) -> tuple[list[Plain], int | None]:
    """A part of what is parked, in as much time with a million things as with a thousand.

    Args:
        face: where to look
        decided: as for `parked`
        process: as for `parked`
        error: as for `parked`
        handler: as for `parked`
        place: as for `parked`
        after: as the part before this one told
        limit: most of them

    Returns:
        the rows, and what to go on behind; None at the end

    Raises:
        UnknownMessage: there is no such process manager

    """
    meant = _Meant(None if process is None else face.known(process), error, handler, place)
    rows: list[Plain] = []
    looks = enumerate(_scanned(face, decided=decided, after=after))
    for looked_at, (number, log, record) in looks:
        if looked_at == MOST_LOOKED_AT or len(rows) == limit:
            return rows, after
        after = number
        if isinstance(record, CorruptRecord):
            rows.append({"id": number, "error": str(record)})
        elif meant.takes(record):
            rows.append(parked_row(log, record))
    return rows, None


def _parked(face: Face, meant: _Meant, after: int, *, decided: bool) -> Iterator[Plain]:
    for number, log, record in _scanned(face, decided=decided, after=after):
        if isinstance(record, CorruptRecord):
            yield {"id": number, "error": str(record)}
        elif meant.takes(record):
            yield parked_row(log, record)


def _scanned(
    face: Face, *, decided: bool = False, after: int = 0
) -> Iterator[tuple[int, Face, ParkedRecord | CorruptRecord]]:
    """What is parked in all logs, by the numbers that people know, each with its log."""

    def of(log: Face) -> Iterator[tuple[int, Face, ParkedRecord | CorruptRecord]]:
        behind = log.numbers_behind(after)
        found = log.store.scan_parked_through(decided=decided, after=behind)
        return ((log.whole_number(number), log, record) for number, record in found)

    return merge(*map(of, face.logs), key=lambda one: one[0])


def parked_row(log: Face, record: ParkedRecord) -> Plain:
    """What is parked in a log, or was until it was decided, with what it is about."""
    action, time, by = record.decision or (None, None, None)
    return {
        "id": log.whole_number(record.number),
        "process": record.process,
        "instance": record.instance,
        "cause": record.cause,
        **_content(log, record),
        "error_type": record.error_type,
        "error": record.error_text,
        "handler": record.handler,
        "place": record.place,
        "attempts": record.attempts,
        "time": moment(record.time),
        "suspends": record.blocks,
        "decision": action,
        "decided_at": None if time is None else moment(time),
        "decided_by": by,
    }


def _content(log: Face, record: ParkedRecord) -> Plain:
    """The event or the command that could not be handled."""
    message: EventRecord | CommandRecord | None = record.command
    if message is None and record.position:
        with suppress(CorruptRecord):
            message = log.store.event_at(record.position)
    if message is None:
        return {"type": None, "data": None}
    try:
        return {"type": message.type, "data": log.shown_message(message.type, message.data)}
    except ValueError as error:
        return {"type": message.type, "data": None, "unreadable": error_of(error)}


def parked_groups(face: Face, *, process: str | None = None) -> list[Plain]:
    """What is parked, put together by where it failed and how, the largest group first.

    Never by the text of an error, which has ids and amounts in it. The counts are kept, so this
    takes as long with a million parked things as with ten.

    Args:
        face: where to look
        process: only of this process manager

    Raises:
        UnknownMessage: there is no such process manager

    """
    wanted = None if process is None else face.known(process)
    groups = [
        {
            "process": name,
            "error_type": kind.error,
            "handler": kind.handler,
            "place": kind.place,
            "count": count,
        }
        for name, counts in face.runtime.counts().items()
        if wanted in {None, name}
        for kind, count in counts.parked.items()
    ]
    return sorted(groups, key=lambda group: -int(group["count"]))


def selected(
    face: Face,
    *,
    ids: Sequence[int] = (),
    process: str | None = None,
    error: str | None = None,
    handler: str | None = None,
    place: str | None = None,
    until: int = NEVER,
) -> list[int]:
    """The numbers of what is parked and meant: those that are given, or all of a kind.

    Args:
        face: where to look
        ids: these, if any are given
        process: only of this process manager
        error: only of this type, with its module or without
        handler: only what failed in this method
        place: only what failed at this line of the code
        until: none with a higher number

    Raises:
        UnknownMessage: there is no such process manager

    """
    if ids:
        return list(ids)
    meant = _Meant(None if process is None else face.known(process), error, handler, place)
    return [
        number
        for number, _, record in _scanned(face)
        if number <= until and not isinstance(record, CorruptRecord) and meant.takes(record)
    ]


def timeouts(
    face: Face,
    *,
    process: str | None = None,
    id: str | None = None,  # noqa: A002 - the word that people type
    limit: int = 50,
) -> Iterator[Plain]:
    """What is due later, in order of time.

    Args:
        face: where to look
        process: only of this process manager
        id: only of this instance
        limit: most of them

    Raises:
        UnknownMessage: there is no such process manager

    """
    wanted = None if process is None else face.known(process)
    return islice(_timeouts(face, wanted, id), limit)


def _timeouts(face: Face, process: str | None, instance: str | None) -> Iterator[Plain]:
    for due, timer in timers(face):
        if isinstance(timer, CorruptRecord):
            yield {"due": moment(due), "error": str(timer)}
        elif process in {None, timer.process} and instance in {None, timer.instance}:
            yield timeout_row(face, timer)


def timers(face: Face) -> Iterator[tuple[int, TimerRecord | CorruptRecord]]:
    """The timers of all logs, each with when it is due, in order of that."""
    found = (log.store.scan_timers_through(NEVER) for log in face.logs)
    return merge(*found, key=lambda one: one[0])


def timeout_row(face: Face, timer: TimerRecord) -> Plain:
    """A timer, as it is told."""
    held = timer.command
    return {
        "process": timer.process,
        "id": timer.instance,
        "name": timer.name,
        "kind": timer.kind,
        "due": moment(timer.due),
        "command": None
        if held is None
        else {"type": held.type, "data": face.shown_message(held.type, held.data)},
    }
