"""Answers from the store what decisions ask of the log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core.ports import UNREADABLE
from ..store import CorruptRecord, EventRecord, StoreError, place_of_issue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..store import CommandRecord, RefusalRecord, Store, TimerRecord, TransitionRecord

__all__ = ["StoreReads", "event_at"]


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
        return self._store.event_at(transition.position) if transition.position else None

    def event_before(self, event: EventRecord) -> EventRecord | None:
        # The id of a command from outside may be any text; the events that it made have no depth.
        issue = place_of_issue(event.causation_id or "") if event.depth else None
        if issue is None:
            return None
        issuer = self._store.transition_at(issue.process, issue.instance, issue.version)
        if issuer is None or all(one[0] != event.causation_id for one in issuer.commands):
            return None
        return self.event_of(issuer)

    def refusal(self, sequence: int) -> RefusalRecord | None:
        return self._store.refusal_at(sequence)

    def transitions(self, process: str, instance: str) -> Iterator[TransitionRecord]:
        return self._store.scan_transitions(process, instance)


def event_at(store: Store, position: int) -> EventRecord:
    """The event at a position; one of the type `UNREADABLE` if it is damaged or missing."""
    error: StoreError
    try:
        found = store.event_at(position)
    except CorruptRecord as damage:
        error = damage
    else:
        if found is not None:
            return found
        error = StoreError(f"the log has no event at position {position}; go back to a backup")
    # Without its frames, which would know the record in turn, and a record is never looked at by
    # Python's cycle collector.
    error.__traceback__ = None
    return EventRecord(
        UNREADABLE, "", 0, 0, b"", f"position {position}", "", position=position, message=error
    )
