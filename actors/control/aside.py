"""What is parked, and what is due later, as it is stored."""

from __future__ import annotations

from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING

from ..store import CorruptRecord
from .plain import moment, unpacked

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..store import ParkedRecord, TimerRecord
    from .face import Face
    from .plain import Plain

__all__ = ["parked", "parked_groups", "selected", "timeouts"]

NEVER = (1 << 63) - 1


def parked(
    face: Face,
    *,
    decided: bool = False,
    process: str | None = None,
    error: str | None = None,
    after: int = 0,
    limit: int = 50,
) -> Iterator[Plain]:
    """What is parked, the oldest first, or what was until a person decided.

    Args:
        face: where to look
        decided: whether to list what was decided instead
        process: only of this process manager
        error: only of this type, with its module or without
        after: only those with higher ids
        limit: most of them

    Raises:
        UnknownMessage: there is no such process manager

    """
    process = None if process is None else face.known(process)
    return islice(_parked(face, process, error, after, decided=decided), limit)


def _parked(
    face: Face, process: str | None, error: str | None, after: int, *, decided: bool
) -> Iterator[Plain]:
    for number, record in face.store.scan_parked_through(decided=decided):
        if number <= after:
            continue
        if isinstance(record, CorruptRecord):
            yield {"id": number, "error": str(record)}
        elif _is_meant(record, process, error):
            yield _told(face, record)


def _is_meant(record: ParkedRecord, process: str | None, error: str | None) -> bool:
    return process in {None, record.process} and error in {
        None,
        record.error_type,
        record.error_type.rpartition(".")[2],
    }


def _told(face: Face, record: ParkedRecord) -> Plain:
    action, time, by = record.decision or (None, None, None)
    return {
        "id": record.number,
        "process": record.process,
        "instance": record.instance,
        "cause": record.cause,
        "type": _type_of(face, record),
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


def _type_of(face: Face, record: ParkedRecord) -> str | None:
    """The type of the event or the command that could not be handled."""
    if record.command is not None:
        return record.command.type
    with suppress(CorruptRecord):
        event = face.store.event_at(record.position) if record.position else None
        return None if event is None else event.type
    return None


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
    until: int = NEVER,
) -> list[int]:
    """The numbers of what is parked and meant: those that are given, or all of a kind.

    Args:
        face: where to look
        ids: these, if any are given
        process: only of this process manager
        error: only of this type, with its module or without
        until: none with a higher number

    Raises:
        UnknownMessage: there is no such process manager

    """
    if ids:
        return list(ids)
    process = None if process is None else face.known(process)
    return [
        number
        for number, record in face.store.scan_parked_through()
        if number <= until
        and not isinstance(record, CorruptRecord)
        and _is_meant(record, process, error)
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
            yield _timeout(timer)


def _timeout(timer: TimerRecord) -> Plain:
    held = timer.command
    return {
        "process": timer.process,
        "id": timer.instance,
        "name": timer.name,
        "kind": timer.kind,
        "due": moment(timer.due),
        "command": None if held is None else {"type": held.type, "data": unpacked(held.data)},
    }
