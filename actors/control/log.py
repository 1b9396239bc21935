"""The log of events, as they are stored."""

from __future__ import annotations

from itertools import chain, islice
from typing import TYPE_CHECKING

from ..queries.pruned import pruned_behind, refuse_pruned
from ..queries.views import error_of
from ..store import CorruptRecord, category_of
from .plain import moment, unpacked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..store import EventRecord
    from .face import Face
    from .plain import Plain

__all__ = ["event_at", "event_row", "events"]


def events(
    face: Face,
    *,
    stream: str | None = None,
    after: int | None = None,
    limit: int = 50,
) -> Iterator[Plain]:
    """Stored events in order of position.

    Args:
        face: where to look
        stream: only of this stream or category
        after: only events behind this position; without it, the newest ones of the whole log, or
            the first ones of a stream
        limit: most of them

    """
    if after is None:
        after = max(0, face.store.last_position() - limit) if stream is None else 0
        return islice(_events(face, stream, after), limit)
    return chain(_pruned(face, stream, after), islice(_events(face, stream, after), limit))


def _pruned(face: Face, stream: str | None, after: int) -> Iterator[Plain]:
    """A row that says that events were pruned which would have been among those asked for."""
    newest = pruned_behind(face.store, after) if stream is None or "-" not in stream else 0
    if newest:
        said = f"events behind position {after} were pruned, up to {newest}"
        yield {"position": newest, "pruned": True, "error": said}


def _events(face: Face, stream: str | None, after: int) -> Iterator[Plain]:
    if stream is not None and "-" in stream:
        for version, record in face.store.scan_stream_through(stream):
            if isinstance(record, CorruptRecord):
                yield {"stream": stream, "version": version, "error": str(record)}
            elif record.position > after:
                yield event_row(face, record)
        return
    for position, record in face.store.scan_log_through(after):
        if isinstance(record, CorruptRecord):
            yield {"position": position, "error": str(record)}
        elif not record.sent_for and (stream is None or category_of(record.stream) == stream):
            yield event_row(face, record)


def event_at(face: Face, position: int) -> Plain | None:
    """The event at a position; None if there is none.

    Raises:
        Pruned: it was pruned

    """
    try:
        record = face.store.event_at(position)
    except CorruptRecord as error:
        return {"position": position, "error": str(error)}
    if record is None:
        refuse_pruned(face.store, position)
    return None if record is None else event_row(face, record)


def event_row(face: Face, record: EventRecord) -> Plain:
    """An event, without its class."""
    return {
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
