"""What an event did to an instance, found in the instance's transitions."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..store import EventRecord, TransitionRecord

__all__ = ["transition_of"]


class Transitions(Protocol):
    """Where the transitions of instances are read."""

    def last_transition(self, process: str, instance: str) -> TransitionRecord | None:
        """The newest transition of one instance."""
        ...

    def transition_at(self, process: str, instance: str, version: int) -> TransitionRecord | None:
        """The transition that brought one instance to a version."""
        ...

    def scan_transitions(
        self, process: str, instance: str, after: int = 0
    ) -> Iterator[TransitionRecord]:
        """Transitions of one instance in order of version; `after` is a version."""
        ...


def transition_of(
    store: Transitions, process: str, instance: str, record: EventRecord
) -> tuple[TransitionRecord | None, TransitionRecord | None]:
    """What an event did to an instance, and what the instance did last before it came.

    `seen` never gets smaller along an instance's transitions, so they are searched by halving.
    An event that waited makes its transition later than its position says; the rest of the
    transitions is looked through for it.
    """
    last = store.last_transition(process, instance)
    if last is None:
        return None, None
    if last.seen < record.position:
        return None, last

    def is_later(version: int) -> bool:
        transition = store.transition_at(process, instance, version)
        assert transition is not None
        return transition.seen >= record.position

    first = bisect_left(range(1, last.version), True, key=is_later) + 1
    before = store.transition_at(process, instance, first - 1)
    for transition in store.scan_transitions(process, instance, first - 1):
        if transition.position == record.position:
            return transition, before
    return None, before
