"""What made an instance do something: an event, a timeout, or a refusal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from ..clock import from_micros
from ..messages.codec import load_headers
from ..store import Block, EventRecord
from .context import Context

if TYPE_CHECKING:
    from ..store import RefusalRecord, TimerRecord

__all__ = ["Cause"]


class Cause(Struct, gc=False):
    """What made an instance do something: an event, a timeout, or a refusal.

    `id` is the event's id, ``timeout:<name>``, or the refused command's id. `headers` are those of
    a timeout or a refusal; an event has its own.
    """

    id: str
    type: str
    correlation_id: str
    depth: int = 0
    position: int = 0
    event: EventRecord | None = None
    name: str = ""
    due: int = 0
    sequence: int = 0
    note: str | None = None
    time: int = 0
    causation_id: str | None = None
    headers: bytes | None = None

    @classmethod
    def of_event(cls, record: EventRecord) -> Cause:
        return cls(
            record.event_id,
            record.type,
            record.correlation_id,
            record.depth,
            record.position,
            record,
        )

    @classmethod
    def of_timer(cls, timer: TimerRecord, correlation_id: str) -> Cause:
        return cls(
            f"timeout:{timer.name}",
            "timeout",
            correlation_id,
            timer.depth,
            name=timer.name,
            due=timer.due,
            time=timer.due,
            headers=timer.headers,
        )

    @classmethod
    def of_refusal(cls, refusal: RefusalRecord) -> Cause:
        command = refusal.command
        return cls(
            command.command_id,
            command.type,
            command.correlation_id,
            command.depth + 1,
            sequence=refusal.sequence,
            note=refusal.reason,
            time=command.time,
            causation_id=command.causation_id,
            headers=command.headers,
        )

    def context(self, attempt: int, now: int, *, refreshing: bool = False) -> Context:
        """What the handler may know of it."""
        if self.event is not None:
            return Context.of(self.event, now, attempt, refreshing=refreshing)
        return Context(
            event_id=self.id,
            type=self.type,
            stream="",
            position=0,
            time=from_micros(self.time),
            now=from_micros(now),
            correlation_id=self.correlation_id,
            causation_id=self.causation_id,
            headers=load_headers(self.headers),
            attempt=attempt,
            refreshing=refreshing,
        )

    def block(self, kind: str, attempts: int, due: int) -> Block:
        """Why the instance goes no further, when this failed."""
        block = Block(kind, self.position, self.name, self.sequence, attempts, due)
        if self.name:
            block.depth, block.headers = self.depth, self.headers
        return block
