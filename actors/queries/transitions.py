"""What an event did to an instance, found in the instance's transitions."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..store import EventRecord, Store, TransitionRecord

__all__ = ["PAGE", "first_where", "transition_of"]

PAGE = 256
"""Rows read at a time; no read transaction is kept between two pages."""


def transition_of(
    store: Store, process: str, instance: str, record: EventRecord
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
        return store.read_transitions(process, instance, version - 1, 1)[0].seen >= record.position

    first = first_where(is_later, last.version)
    page = store.read_transitions(process, instance, first - 2, 1) if first > 1 else []
    before = page[0] if page else None
    after = first - 1
    while page := store.read_transitions(process, instance, after, PAGE):
        for transition in page:
            if transition.cause == record.event_id:
                return transition, before
        after = page[-1].version
    return None, before


def first_where(is_so: Callable[[int], bool], last: int) -> int:
    """The first number from 1 for which something is so; it is for `last`, and stays so."""
    low, high = 1, last
    while low < high:
        middle = (low + high) // 2
        if is_so(middle):
            high = middle
        else:
            low = middle + 1
    return low
