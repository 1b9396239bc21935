"""The log of events, and what instances did about them, as they are stored."""

from __future__ import annotations

from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING

from ..queries.pruned import refuse_pruned
from ..queries.views import error_of
from ..store import CorruptRecord, category_of
from .plain import moment, unpacked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..store import EventRecord, TransitionRecord
    from .face import Face
    from .plain import Plain

__all__ = ["AT_ONCE", "Following", "event_at", "events"]

AT_ONCE = 500
"""Most rows of one look at the end of the log."""


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


def _events(face: Face, stream: str | None, after: int) -> Iterator[Plain]:
    if stream is not None and "-" in stream:
        for version, record in face.store.scan_stream_through(stream):
            if isinstance(record, CorruptRecord):
                yield {"stream": stream, "version": version, "error": str(record)}
            elif record.position > after:
                yield _event(record)
        return
    for position, record in face.store.scan_log_through(after):
        if isinstance(record, CorruptRecord):
            yield {"position": position, "error": str(record)}
        elif not record.sent_for and (stream is None or category_of(record.stream) == stream):
            yield _event(record)


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
    return None if record is None else _event(record)


def _event(record: EventRecord) -> Plain:
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
        **_data(record.data),
    }


def _data(packed: bytes) -> Plain:
    try:
        return {"data": unpacked(packed)}
    except ValueError as error:
        return {"error": error_of(error)}


class Following:
    """What comes to the end of the log, looked at again and again.

    Args:
        face: where to look
        stream: events of this stream or category only
        process: what the instances of this process manager do, and no events
        last: how many of the newest of the whole log are looked at to begin with
        after: the position, or the number of a transition, to begin behind instead

    Attributes:
        has_more: whether the last look came to no end, so that another finds more at once

    Raises:
        UnknownMessage: there is no such process manager

    """

    def __init__(
        self,
        face: Face,
        *,
        stream: str | None = None,
        process: str | None = None,
        last: int = 10,
        after: int | None = None,
    ) -> None:
        self._face = face
        self._stream = stream
        self._process = None if process is None else face.known(process)
        newest = (
            face.store.last_position() if process is None else face.store.last_transition_number()
        )
        self._after = max(0, newest - last) if after is None else after
        self.has_more = True
        self._look: Callable[[], Iterator[tuple[int, Plain | None]]] = (
            self._new_events if process is None else self._new_transitions
        )

    @property
    def is_over(self) -> bool:
        """Whether nothing more comes, since the runtime is being closed."""
        return self._face.is_closing

    def look(self) -> list[Plain]:
        """What is new since the last look, or a part of it that is long enough."""
        looked_at = list(islice(self._look(), AT_ONCE))
        self.has_more = len(looked_at) == AT_ONCE
        if looked_at:
            self._after = looked_at[-1][0]
        return [row for _, row in looked_at if row is not None]

    def rows(self) -> Iterator[Plain]:
        """What there is by now."""
        while self.has_more:
            yield from self.look()

    def _new_events(self) -> Iterator[tuple[int, Plain | None]]:
        for position, record in self._face.store.scan_log_through(self._after):
            if isinstance(record, CorruptRecord):
                yield position, {"position": position, "error": str(record)}
            elif not record.sent_for and (
                # A copy is told of where it is an event of its stream.
                self._stream in {None, record.stream, category_of(record.stream)}
            ):
                yield position, _event(record)
            else:
                yield position, None

    def _new_transitions(self) -> Iterator[tuple[int, Plain | None]]:
        for number, found in self._face.store.scan_all_transitions(self._after):
            if isinstance(found, CorruptRecord):
                yield number, {"number": number, "error": str(found)}
            elif found[0] == self._process:
                yield number, self._moved(found[1], found[2])
            else:
                yield number, None

    def _moved(self, instance: str, record: TransitionRecord) -> Plain:
        kind = None
        with suppress(CorruptRecord):
            event = self._face.store.event_at(record.position) if record.position else None
            kind = None if event is None else event.type
        return {
            "process": self._process,
            "id": instance,
            "version": record.version,
            "time": moment(record.time),
            "handler": record.handler,
            "cause": record.cause,
            "type": kind,
            "commands": [kind for _, kind, _ in record.commands],
            "is_complete": record.is_complete,
        }
