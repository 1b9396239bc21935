"""The log of events, as they are stored."""

from __future__ import annotations

from heapq import merge
from itertools import chain, islice
from typing import TYPE_CHECKING

from ..queries.log_end import LogEnd, place_of, text_of
from ..queries.pruned import pruned_behind, refuse_pruned
from ..queries.views import error_of
from ..store import CorruptRecord, EventRecord, category_of
from .plain import moment, unpacked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..queries.log_end import Found
    from .face import Face
    from .plain import Plain

__all__ = ["backlog", "event_at", "event_called", "event_row", "events", "log_row"]


def events(
    face: Face,
    *,
    stream: str | None = None,
    after: int | None = None,
    limit: int = 50,
) -> Iterator[Plain]:
    """Stored events in order of position; those of several partitions about in that of time.

    Args:
        face: where to look
        stream: only of this stream or category
        after: only events behind this position; without it, the newest ones of the whole log, or
            the first ones of a stream
        limit: most of them

    Raises:
        InvalidMessage: `after` is given without a stream, and each partition has its own positions

    """
    if stream is not None and "-" in stream:
        return islice(_of_stream(face.log_of_stream(stream), stream, after or 0), limit)
    if after is not None:
        face.refuse_position(after)

    if stream is None and after is None:
        return _newest(face, limit)
    rows = merge(
        *(_of_log(log, stream, after or 0) for log in face.logs),
        key=lambda row: row.get("time") or "",
    )
    found = islice(rows, limit)
    return found if after is None else chain(_pruned(face.logs[0], after), found)


def _newest(face: Face, limit: int) -> Iterator[Plain]:
    """The newest events of all logs together, without copies."""
    count = limit
    while True:
        ends = LogEnd([log.store for log in face.logs], {"event"}, {}, _is_no_copy)
        # Below the oldest that was not pruned a log has none, however far it goes back.
        is_all = count >= sum(ends.place.values())
        ends.go_back(count)
        found = list(ends.look())
        if is_all or len(found) >= limit:
            break
        # There are copies among them.
        count *= 2
    return (
        log_row(face.logs[one.partition], one.number, one.record)
        for one in found[-limit:]
        if isinstance(one.record, EventRecord | CorruptRecord)
    )


def _is_no_copy(found: Found) -> bool:
    return not isinstance(found.record, EventRecord) or not found.record.sent_for


def _pruned(log: Face, after: int) -> Iterator[Plain]:
    """A row that says that events were pruned which would have been among those asked for."""
    newest = pruned_behind(log.store, after)
    if newest:
        said = f"events behind position {after} were pruned, up to {newest}"
        yield {"position": newest, "pruned": True, "error": said}


def _of_stream(log: Face, stream: str, after: int) -> Iterator[Plain]:
    for version, record in log.store.scan_stream_through(stream):
        if isinstance(record, CorruptRecord):
            yield {"stream": stream, "version": version, "error": str(record)}
        elif record.position > after:
            yield event_row(log, record)


def _of_log(log: Face, category: str | None, after: int) -> Iterator[Plain]:
    for position, record in log.store.scan_log_through(after):
        if isinstance(record, CorruptRecord) or (
            not record.sent_for and category in {None, category_of(record.stream)}
        ):
            yield log_row(log, position, record)


def backlog(
    face: Face, process: str, *, after: str | None = None, limit: int = 50
) -> tuple[list[Plain], str | None]:
    """The events that a process manager is not done with, the oldest first.

    Args:
        face: where to look
        process: the process manager's name
        after: as the part before this one told
        limit: most of them

    Returns:
        the rows, and what to go on behind; None at the end

    Raises:
        UnknownMessage: there is no such process manager
        InvalidMessage: `after` is none that was told

    """
    process, logs = face.known(process), face.logs

    def is_for_it(found: Found) -> bool:
        # What another partition sent is for one process manager.
        record = found.record
        return not isinstance(record, EventRecord) or record.sent_for in {"", process}

    seen = {} if after is None else place_of(after, {"event"}, len(logs))
    ends = LogEnd(
        [log.store for log in logs],
        {"event"},
        {("event", place): log.done(process) for place, log in enumerate(logs)},
        is_for_it,
    )
    for one, number in seen.items():
        ends.place[one] = max(ends.place[one], number)
    found = list(islice(ends.look(), limit))
    rows = [
        log_row(logs[one.partition], one.number, one.record)
        for one in found
        if isinstance(one.record, EventRecord | CorruptRecord)
    ]
    return rows, text_of(ends.place) if len(found) == limit else None


def event_called(face: Face, name: str) -> Plain | None:
    """The event with an id; None if there is none.

    Raises:
        Pruned: it was pruned

    """
    for log in face.logs:
        position = log.store.position_of(name)
        if position:
            return event_at(log, position)
    return None


def event_at(log: Face, position: int) -> Plain | None:
    """The event at a position of a log; None if there is none.

    Raises:
        Pruned: it was pruned

    """
    try:
        record = log.store.event_at(position)
    except CorruptRecord as error:
        return {"position": position, "error": str(error)}
    if record is None:
        refuse_pruned(log.store, position)
    return None if record is None else event_row(log, record)


def log_row(log: Face, position: int, record: EventRecord | CorruptRecord) -> Plain:
    """An event at its position, or what is said where it cannot be read."""
    if isinstance(record, CorruptRecord):
        return {"position": position, "error": str(record)}
    return event_row(log, record)


def event_row(face: Face, record: EventRecord) -> Plain:
    """An event, without its class; of a partition, with its number."""
    return {
        **({} if face.partition is None else {"partition": face.partition.number}),
        "position": record.position,
        "time": moment(record.time),
        "type": record.type,
        "stream": record.stream,
        "version": record.version,
        "event_id": record.event_id,
        "correlation_id": record.correlation_id,
        "causation_id": record.causation_id,
        "headers": unpacked(record.headers),
        **_data(face, record),
    }


def _data(face: Face, record: EventRecord) -> Plain:
    try:
        return {"data": face.shown_message(record.type, record.data)}
    except ValueError as error:
        return {"error": error_of(error)}
