"""How many steps a second each process manager makes, from the newest of them alone."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING

from ..store import CorruptRecord

if TYPE_CHECKING:
    from ..control.face import Face

__all__ = ["pace"]

NEWEST = 1_000
"""Transitions that are looked at."""

WINDOW = 10_000_000
"""Microseconds back from now that count."""


def pace(face: Face) -> dict[str, float]:
    """Steps a second by process manager: in the last ten seconds, or in less if there were many."""
    now = face.now()
    since = now - WINDOW
    first = max(0, face.store.last_transition_number() - NEWEST)
    steps: Counter[str] = Counter()
    oldest = now
    seen = 0
    for _, found in islice(face.store.scan_all_transitions(first), NEWEST):
        if isinstance(found, CorruptRecord):
            continue
        process, _, record = found
        seen += 1
        if record.time > since:
            oldest = min(oldest, record.time)
            steps[process] += 1
    # If all of those that are looked at are newer, there were more of them in the window.
    is_cut = seen == NEWEST and steps.total() == NEWEST
    seconds = max(1, now - oldest if is_cut else WINDOW) / 1_000_000
    return {process: count / seconds for process, count in steps.items()}
