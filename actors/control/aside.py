"""What is parked, and what is due later, as it is stored."""

from __future__ import annotations

from contextlib import suppress
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
    looks = enumerate(face.store.scan_parked_through(decided=decided, after=after))
    for looked_at, (number, record) in looks:
        if looked_at == MOST_LOOKED_AT or len(rows) == limit:
            return rows, after
        after = number
        if isinstance(record, CorruptRecord):
            rows.append({"id": number, "error": str(record)})
        elif meant.takes(record):
            rows.append(parked_row(face, record))
    return rows, None


def _parked(face: Face, meant: _Meant, after: int, *, decided: bool) -> Iterator[Plain]:
    for number, record in face.store.scan_parked_through(decided=decided, after=after):
        if isinstance(record, CorruptRecord):
            yield {"id": number, "error": str(record)}
        elif meant.takes(record):
            yield parked_row(face, record)


def parked_row(face: Face, record: ParkedRecord) -> Plain:
    """What is parked, or was until it was decided, with what it is about."""
    action, time, by = record.decision or (None, None, None)
    return {
        "id": record.number,
        "process": record.process,
        "instance": record.instance,
        "cause": record.cause,
        **_content(face, record),
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


def _content(face: Face, record: ParkedRecord) -> Plain:
    """The event or the command that could not be handled."""
    message: EventRecord | CommandRecord | None = record.command
    if message is None and record.position:
        with suppress(CorruptRecord):
            message = face.store.event_at(record.position)
    if message is None:
        return {"type": None, "data": None}
    try:
        return {"type": message.type, "data": face.shown_message(message.type, message.data)}
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
    if face.parts:
        return [
            number
            for place_of, part in enumerate(face.parts)
            for one in selected(part, process=process, error=error, handler=handler, place=place)
            if (number := face.whole_number(place_of, one)) <= until
        ]
    meant = _Meant(None if process is None else face.known(process), error, handler, place)
    return [
        number
        for number, record in face.store.scan_parked_through()
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
    for due, timer in face.store.scan_timers_through(NEVER):
        if isinstance(timer, CorruptRecord):
            yield {"due": moment(due), "error": str(timer)}
        elif process in {None, timer.process} and instance in {None, timer.instance}:
            yield timeout_row(face, timer)


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
