"""The instances of process managers, as they are stored."""

from __future__ import annotations

import json
from contextlib import suppress
from enum import StrEnum
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, NamedTuple

from ..core.amending import actor_in
from ..errors import InvalidMessage
from ..queries.reader import failed_starts
from ..queries.views import Counts, error_of
from ..store import CorruptRecord, InvalidName
from .plain import STILL, moment, unpacked

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ..store import Block, Store, TransitionRecord
    from .face import Face
    from .plain import Plain

__all__ = ["Found", "Status", "instance", "instance_page", "instances", "processes", "stuck"]


BETWEEN = 1_000
"""Instances that a search looks at from one `STILL` to the next."""


class Status(StrEnum):
    """How an instance is."""

    RUNNING = "running"
    SUSPENDED = "suspended"
    COMPLETE = "complete"


def processes(face: Face) -> Iterator[Plain]:
    """Each process manager: how many instances it has by status, and how far it is behind."""
    kept = face.runtime.counts()
    for name in face.processes():
        # One that has no instance may have no counts.
        counts = kept.get(name, Counts())
        behind = [_behind(log, name) for log in face.logs]
        yield {
            "process": name,
            **{one.value: getattr(counts, one.value) for one in Status},
            "backlog": sum(count for count, _ in behind),
            "oldest": min((oldest for _, oldest in behind if oldest), default=None),
        }


def _behind(log: Face, process: str) -> tuple[int, str | None]:
    """How many events of a log a process manager is not done with, and the time of the oldest."""
    last, done = log.store.last_position(), log.done(process)
    return (last - done, _time_at(log.store, done + 1)) if done < last else (0, None)


def _time_at(store: Store, position: int) -> str | None:
    with suppress(CorruptRecord):
        event = store.event_at(position)
        return None if event is None else moment(event.time)
    return None


def instances(
    face: Face,
    process: str,
    *,
    status: Iterable[Status] = (),
    where: Mapping[str, str] | None = None,
    after: str | None = None,
    limit: int = 50,
) -> Iterator[Plain]:
    """Instances in the order of their starts, those that failed at their start before them.

    Those of a divided store come one partition after the other.

    Between them are `STILL`s, so that a search for which no caller waits any more can be ended.

    Args:
        face: where to look
        process: the process manager's name
        status: only those
        where: only those whose state has these values, each as JSON or as text
        after: only those behind the instance of this id
        limit: most of them

    Raises:
        UnknownMessage: there is no such process manager

    """
    process, wanted, fields = face.known(process), set(status), where or {}
    known = _known_by_key(face, process, fields)
    logs = face.logs
    first = 0 if after is None else logs.index(face.log_of(process, after))
    rows = (
        _found(log, process, wanted, fields, known.get(log), None if place else after)
        for place, log in enumerate(logs[first:])
    )
    return _up_to(limit, chain.from_iterable(rows))


def _up_to(limit: int, rows: Iterator[Plain]) -> Iterator[Plain]:
    while limit > 0 and (row := next(rows, None)) is not None:
        yield row
        limit -= row is not STILL


def _found(
    log: Face,
    process: str,
    status: set[Status],
    where: Mapping[str, str],
    known: list[str] | None,
    after: str | None,
) -> Iterator[Plain]:
    looks = enumerate(_searched(log, process, status, known, after), 1)
    for looked_at, (number, name) in looks:
        row = _looked_at(log, process, number, name, status, where)
        if row is not None:
            yield row
        if looked_at % BETWEEN == 0:
            yield STILL


def _known_by_key(
    face: Face, process: str, where: Mapping[str, str]
) -> dict[Face, list[str] | None]:
    """Of each log, the instances that have the learnt key that is asked for; None for all."""
    for field, said in where.items():
        if face.is_indexed(process, field):
            with suppress(InvalidName):
                found: dict[Face, list[str] | None] = {log: [] for log in face.logs}
                for name in face.log_of_key(said).store.scan_index(process, field, said):
                    there = found[face.log_of(process, name)]
                    assert there is not None
                    there.append(name)
                return found
    return {}


def _looked_at(
    face: Face,
    process: str,
    number: int,
    name: str | CorruptRecord,
    status: set[Status],
    where: Mapping[str, str],
) -> Plain | None:
    """What is told of one instance; None if it is not one of those that are meant."""
    if isinstance(name, CorruptRecord):
        return {"number": number, "id": None, "error": str(name)}
    try:
        last = face.store.last_transition(process, name)
        block = face.store.block_of(process, name)
        state = {} if last is None else unpacked(last.state)
    except (CorruptRecord, ValueError) as error:
        return {"number": number, "id": name, "error": error_of(error)}
    found = _status(last, block)
    if status and found not in status:
        return None
    if not all(field in state and _matches(state[field], said) for field, said in where.items()):
        return None
    return {
        "id": name,
        "status": found.value,
        "version": 0 if last is None else last.version,
        "time": None if last is None else moment(last.time),
        "state": face.shown_state(process, state),
    }


class Found(NamedTuple):
    """A part of a listing.

    Attributes:
        rows: the instances, as `instances` tells them
        after: what to go on behind; None at the end
        looked_at: how many were looked at

    """

    rows: list[Plain]
    after: str | None
    looked_at: int


MOST_LOOKED_AT = 5_000
"""Instances that one page of a listing looks at, however few of them are meant."""


def instance_page(
    face: Face,
    process: str,
    *,
    status: Iterable[Status] = (),
    where: Mapping[str, str] | None = None,
    after: str | None = None,
    limit: int = 50,
) -> Found:
    """Some instances, and where to go on; it takes as long with a million as with a thousand.

    They come in the order of their starts, one partition after the other; those that are suspended
    alone, by id. Those that failed at their start are among the suspended only.

    Args:
        face: where to look
        process: the process manager's name
        status: only those
        where: only those whose state has these values, each as JSON or as text
        after: as the part before this one told
        limit: most of them

    Raises:
        UnknownMessage: there is no such process manager

    """
    process, wanted, fields = face.known(process), set(status), where or {}
    rows: list[Plain] = []
    looked_at = 0
    for place, log, number, name in _in_parts(face, process, wanted, fields, after):
        if looked_at == MOST_LOOKED_AT or len(rows) == limit:
            return Found(rows, after, looked_at)
        looked_at += 1
        after = place
        row = _looked_at(log, process, number, name, wanted, fields)
        if row is not None:
            rows.append(row)
    return Found(rows, None, looked_at)


def _in_parts(
    face: Face, process: str, status: set[Status], where: Mapping[str, str], after: str | None
) -> Iterator[tuple[str, Face, int, str | CorruptRecord]]:
    """The instances to look at, each with what to go on behind, its log and its number there."""
    known = _known_by_key(face, process, where)
    said, _, behind = (after or "").partition(":")
    first = int(said) if said.isdecimal() else 0
    for place, log in enumerate(face.logs[first:], first):
        found = _in_log(log, process, status, known.get(log), behind if place == first else "")
        for there, number, name in found:
            yield f"{place}:{there}", log, number, name


def _in_log(
    log: Face, process: str, status: set[Status], known: list[str] | None, after: str
) -> Iterator[tuple[str, int, str | CorruptRecord]]:
    if known is not None:
        return ((one, 0, one) for one in sorted(known) if one > after)
    if status == {Status.SUSPENDED}:
        return ((one, 0, one) for one in log.store.scan_blocked(process, after))
    behind = int(after) if after.isdecimal() else 0
    return ((str(place), place, name) for place, name in log.store.scan_started(process, behind))


def _searched(
    log: Face, process: str, status: set[Status], known: list[str] | None, after: str | None
) -> Iterator[tuple[int, str | CorruptRecord]]:
    """The instances to look at, by the shortest way, each with the number that it started as."""
    if known is not None:
        return _some(log.store, process, known, after)
    if status == {Status.SUSPENDED}:
        return _some(log.store, process, log.store.scan_blocked(process), after)
    return _all(log.store, process, after)


def _some(
    store: Store, process: str, names: Iterable[str], after: str | None
) -> Iterator[tuple[int, str]]:
    """Instances that are known, in the order in which all are listed."""
    last = (0, "") if after is None else (store.started_as(process, after), after)
    return iter(
        sorted(one for name in names if (one := (store.started_as(process, name), name)) > last)
    )


def _all(
    store: Store, process: str, after: str | None
) -> Iterator[tuple[int, str | CorruptRecord]]:
    """The instances in the order of their starts; before them, by id, those that failed at it."""
    number = 0 if after is None else store.started_as(process, after)
    started = store.scan_started(process, number)
    if number:
        return started
    failed = failed_starts(store, process)
    # Without those of them that start while others are listed.
    others = (one for one in started if one[1] not in failed)
    return chain(((0, name) for name in sorted(failed) if name > (after or "")), others)


def _status(last: TransitionRecord | None, block: Block | None) -> Status:
    if block is not None and block.kind == "parked":
        return Status.SUSPENDED
    return Status.COMPLETE if last is not None and last.is_complete else Status.RUNNING


def _matches(value: Any, said: str) -> bool:
    """Whether a value is what a person typed; of a list, whether a member is."""
    if isinstance(value, list) and any(_matches(one, said) for one in value):
        return True
    if isinstance(value, str):
        return value == said
    with suppress(ValueError):
        return bool(json.loads(said) == value)
    return False


# One instance


def instance(
    face: Face,
    process: str,
    id: str,  # noqa: A002
    *,
    limit: int = 50,
    before: int | None = None,
    version: int | None = None,
) -> Plain | None:
    """All that is known of one instance, with its newest transitions; None if there is none.

    Args:
        face: where to look
        process: the process manager's name
        id: of the instance
        limit: most transitions
        before: only transitions with lower versions
        version: as the transition of that version left it; without it, as it is now

    Raises:
        UnknownMessage: there is no such process manager
        InvalidMessage: the instance has no such version

    """
    process = face.known(process)
    log = face.log_of(process, id)
    last = log.store.last_transition(process, id)
    block = log.store.block_of(process, id)
    if last is None and block is None:
        return None
    if version is not None:
        newest = 0 if last is None else last.version
        if not 1 <= version <= newest:
            raise InvalidMessage(
                f"version={version}: {process} {id!r} has the versions 1 to {newest}"
                if newest
                else f"version={version}: {process} {id!r} has no transition yet"
            )
        last, block = log.store.transition_at(process, id, version), None
    is_now = version is None
    version = 0 if last is None else last.version
    newest = version if before is None else min(version, before - 1)
    return {
        "process": process,
        "id": id,
        "status": _status(last, block).value,
        "version": version,
        "time": None if last is None else moment(last.time),
        "state": {} if last is None else face.shown_state(process, unpacked(last.state)),
        **_waits_for(log, process, id, last, block),
        # What was set aside by then is not known any more.
        **({} if is_now else {"waiting": 0}),
        "history": list(_history(log, process, id, newest, limit)),
    }


def _waits_for(
    face: Face, process: str, name: str, last: TransitionRecord | None, block: Block | None
) -> Plain:
    parked = None
    if block is not None and block.kind == "parked":
        aside = face.store.parked_as(block.parked)
        parked = {
            "id": face.whole_number(block.parked),
            "error": None if aside is None else f"{aside.error_type}: {aside.error_text}",
        }
    waiting = sum(1 for _ in islice(face.store.scan_waiting(process, name), MOST_COUNTED))
    return {
        "due": {} if last is None else {k: moment(v) for k, v in (last.timers or {}).items()},
        "retry": moment(block.due) if block is not None and block.kind == "retry" else None,
        "parked": parked,
        "waiting": waiting,
    }


MOST_COUNTED = 10_000
"""Events that wait for one instance and are counted, at most."""


def _history(face: Face, process: str, name: str, newest: int, limit: int) -> Iterator[Plain]:
    """Transitions up to one, oldest first, each with what it changed in the state."""
    first = max(1, newest - limit + 1)
    before: Any = None
    for version in range(max(1, first - 1), newest + 1):
        try:
            record = face.store.transition_at(process, name, version)
            state = {} if record is None else unpacked(record.state)
        except (CorruptRecord, ValueError) as error:
            before = None
            if version >= first:
                yield {"version": version, "error": error_of(error)}
            continue
        if record is not None and version >= first:
            yield _transition(face, process, record, ({} if version == 1 else before, state))
        before = state


def _transition(
    face: Face, process: str, record: TransitionRecord, states: tuple[Any, Plain]
) -> Plain:
    before, state = states
    cause = None
    with suppress(CorruptRecord):
        event = face.store.event_at(record.position) if record.position else None
        cause = None if event is None else event.type
    return {
        "version": record.version,
        "time": moment(record.time),
        "handler": record.handler,
        "cause": record.cause,
        "type": cause,
        "position": record.position or None,
        "changes": None if before is None else face.shown_changes(process, _changes(before, state)),
        "commands": [
            {"id": command_id, "type": kind, "data": face.shown_message(kind, data)}
            for command_id, kind, data in record.commands
        ],
        "is_complete": record.is_complete,
        "note": record.note,
        "by": actor_in(record),
    }


def _changes(before: Plain, state: Plain) -> Plain:
    """What each field was and is that is another now."""
    return {
        field: [before.get(field), state.get(field)]
        for field in (*before, *(one for one in state if one not in before))
        if field not in before or field not in state or before[field] != state[field]
    }


# What does not move


def stuck(face: Face, *, seconds: float = 3600.0, process: str | None = None) -> Iterator[Plain]:
    """Instances that have not ended and have not moved for a time, and what they wait for.

    Between them are `STILL`s, as between `instances`.

    Args:
        face: where to look
        seconds: for how long at least
        process: only of this process manager

    Raises:
        UnknownMessage: there is no such process manager

    """
    names = face.processes() if process is None else [face.known(process)]
    before = face.now() - round(seconds * 1_000_000)
    return chain.from_iterable(_stuck(log, name, before) for log in face.logs for name in names)


def _stuck(face: Face, process: str, before: int) -> Iterator[Plain]:
    yield from _held(face, process, before)
    for looked_at, (number, name) in enumerate(_all(face.store, process, None), 1):
        if looked_at % BETWEEN == 0:
            yield STILL
        if isinstance(name, CorruptRecord):
            yield {"process": process, "number": number, "id": None, "error": str(name)}
            continue
        try:
            last = face.store.last_transition(process, name)
            block = face.store.block_of(process, name)
            if last is not None and (last.is_complete or last.time > before):
                continue
            yield {
                "process": process,
                "id": name,
                "version": 0 if last is None else last.version,
                "handler": None if last is None else last.handler,
                "since": None if last is None else moment(last.time),
                **_waits_for(face, process, name, last, block),
            }
        except CorruptRecord as error:
            yield {"process": process, "id": name, "error": str(error)}


def _held(face: Face, process: str, before: int) -> Iterator[Plain]:
    """Events that are held, since no instance has their learnt key yet."""
    for held in face.store.scan_unmatched(process):
        with suppress(CorruptRecord):
            event = face.store.event_at(held.position)
            if event is not None and event.time <= before:
                yield {
                    "process": process,
                    "id": None,
                    "event": event.event_id,
                    "type": event.type,
                    "since": moment(event.time),
                    "field": held.field,
                    "values": list(held.values),
                    "until": moment(held.until),
                }
