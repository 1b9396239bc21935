"""Answers from the store what decisions ask of the log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core.ports import UNREADABLE
from ..store import CorruptRecord, EventRecord, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..store import CommandRecord, RefusalRecord, Store, TimerRecord, TransitionRecord

__all__ = ["StoreReads", "event_at"]

PAGE = 64


class StoreReads:
    """What the core may read, for instances that run.

    Args:
        store: where the log is
        held_back: finds the command that a timer holds back

    """

    def __init__(
        self, store: Store, held_back: Callable[[TimerRecord], CommandRecord | None]
    ) -> None:
        self._store = store
        self.held_back = held_back

    def event_at(self, position: int) -> EventRecord:
        return event_at(self._store, position)

    def event_of(self, transition: TransitionRecord) -> EventRecord | None:
        position = self._store.position_of(transition.cause)
        return self._store.read_log(position - 1, 1)[0] if position else None

    def event_before(self, event: EventRecord) -> EventRecord | None:
        causation_id = event.causation_id
        if causation_id is None or not event.depth:
            # The command came from outside, and its id may be any text.
            return None
        process, _, rest = causation_id.partition("-")
        instance, _, number = rest.rpartition("@")
        version = int(number.partition(".")[0])
        page = self._store.read_transitions(process, instance, version - 1, 1)
        return self.event_of(page[0]) if page else None

    def refusal(self, sequence: int) -> RefusalRecord | None:
        page = self._store.read_refusals(sequence - 1, 1)
        return page[0] if page and page[0].sequence == sequence else None

    def transitions(self, process: str, instance: str) -> Iterator[TransitionRecord]:
        after = 0
        while page := self._store.read_transitions(process, instance, after, PAGE):
            yield from page
            after = page[-1].version


def event_at(store: Store, position: int) -> EventRecord:
    """The event at a position; one of the type `UNREADABLE` if it is damaged or missing."""
    error: StoreError
    try:
        page = store.read_log(position - 1, 1)
    except CorruptRecord as damage:
        error = damage
    else:
        if page and page[0].position == position:
            return page[0]
        error = StoreError(f"the log has no event at position {position}; go back to a backup")
    # Without its frames, which would know the record in turn, and a record is never looked at by
    # Python's cycle collector.
    error.__traceback__ = None
    return EventRecord(
        UNREADABLE, "", 0, 0, b"", f"position {position}", "", position=position, message=error
    )
