"""What a handler may know about the event in its hands."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..clock import from_micros
from ..messages.codec import load_headers

if TYPE_CHECKING:
    from datetime import datetime

    from ..store import EventRecord

__all__ = ["Context"]


@dataclass(frozen=True, slots=True)
class Context:
    """Where the event that is being handled came from.

    Attributes:
        event_id: its id
        type: its wire name
        stream: the stream it is in
        position: its place in the global log
        time: when it was stored
        correlation_id: the id that everything in its chain shares
        causation_id: the id of the command or event that caused it, if one did
        headers: what the publisher said about it
        attempt: 1 the first time it is handled
        refreshing: whether state is being rebuilt, so that nothing leaves the instance

    """

    event_id: str
    type: str
    stream: str
    position: int
    time: datetime
    correlation_id: str
    causation_id: str | None = None
    headers: dict[str, Any] = field(default_factory=dict)
    attempt: int = 1
    refreshing: bool = False

    @classmethod
    def of(cls, event: EventRecord, attempt: int = 1, *, refreshing: bool = False) -> Context:
        """The context of a stored event."""
        return cls(
            event_id=event.event_id,
            type=event.type,
            stream=event.stream,
            position=event.position,
            time=from_micros(event.time),
            correlation_id=event.correlation_id,
            causation_id=event.causation_id,
            headers=load_headers(event.headers),
            attempt=attempt,
            refreshing=refreshing,
        )
