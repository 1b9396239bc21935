"""What a handler may know about the event in its hands."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from ..clock import from_micros
from ..messages.codec import load_headers

if TYPE_CHECKING:
    from datetime import datetime

    from ..store import EventRecord

__all__ = ["Context"]

MADE_HERE = uuid.UUID("6f1d3c52-8f0b-5a55-9d0e-4f2a5b7f9c11")
"""The namespace of the ids that handlers make; it stays, or a replay would make others."""


class Ids:
    """Ids that come of a place, and are the same wherever they are made anew."""

    __slots__ = ("_place", "_used")

    def new_id(self) -> str:
        """An id for something new: a UUID as text, another one with each call in a handler.

        It comes of the instance, its version, what is handled, and how often it was called: so
        another attempt, and the handler that runs again when state is rebuilt, make the same ids.
        """
        used = getattr(self, "_used", 0)
        object.__setattr__(self, "_used", used + 1)
        # A context that a test made by itself has no place.
        place = "\0".join(map(str, (*getattr(self, "_place", ()), used)))
        return str(uuid.uuid5(MADE_HERE, place))

    def at(self, *place: str | int) -> Self:
        """Say of which place its ids come; returns itself."""
        object.__setattr__(self, "_place", place)
        return self


@dataclass(frozen=True, slots=True)
class Context(Ids):
    """Where the event that is being handled came from.

    Attributes:
        event_id: its id
        type: its wire name
        stream: the stream it is in
        position: its place in the global log
        time: when it was stored
        now: the time at which it is decided: that of the transition, which is the same when state
            is rebuilt. In an `@after` method, the time of the attempt
        correlation_id: the id that everything in its chain shares
        causation_id: the id of the command or event that caused it, if one did
        headers: what was said about the chain by who began it, with `ask`, `tell` or `publish`
        attempt: 1 the first time it is handled
        refreshing: whether state is being rebuilt, so that nothing leaves the instance

    """

    event_id: str
    type: str
    stream: str
    position: int
    time: datetime
    now: datetime
    correlation_id: str
    causation_id: str | None = None
    headers: dict[str, Any] = field(default_factory=dict)
    attempt: int = 1
    refreshing: bool = False

    @property
    def actor(self) -> Any:
        """Who began the chain: the header of that name, by custom; None if there is none."""
        return self.headers.get("actor")

    @classmethod
    def of(
        cls,
        event: EventRecord,
        now: int,
        attempt: int = 1,
        *,
        refreshing: bool = False,
    ) -> Context:
        """The context of a stored event.

        Args:
            event: as it is stored
            now: the time at which it is decided, in microseconds
            attempt: 1 the first time
            refreshing: whether state is being rebuilt

        """
        return cls(
            event_id=event.event_id,
            type=event.type,
            stream=event.stream,
            position=event.position,
            time=from_micros(event.time),
            now=from_micros(now),
            correlation_id=event.correlation_id,
            causation_id=event.causation_id,
            headers=load_headers(event.headers),
            attempt=attempt,
            refreshing=refreshing,
        )
