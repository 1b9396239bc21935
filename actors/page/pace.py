"""How many steps a second each process manager makes, from the newest of them alone."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import islice
from typing import TYPE_CHECKING

from ..store import CorruptRecord

if TYPE_CHECKING:
    from ..control.face import Face

__all__ = ["pace"]

NEWEST = 1_000
"""Transitions that are looked at, of all logs together."""

WINDOW = 10_000_000
"""Microseconds back from now that count."""


def pace(face: Face) -> dict[str, float]:
    """Steps a second by process manager: in the last ten seconds, or in less if there were many."""
    newest = max(1, NEWEST // len(face.logs))
    found: defaultdict[str, float] = defaultdict(float)
    for log in face.logs:
        for process, steps in _pace_in(log, newest).items():
            found[process] += steps
    return found


def _pace_in(log: Face, newest: int) -> dict[str, float]:
    now = log.now()
    since = now - WINDOW
    first = max(0, log.store.last_transition_number() - newest)
    steps: Counter[str] = Counter()
    oldest = now
    seen = 0
    for _, found in islice(log.store.scan_all_transitions(first), newest):
        if isinstance(found, CorruptRecord):
            continue
        process, _, record = found
        seen += 1
        if record.time > since:
            oldest = min(oldest, record.time)
            steps[process] += 1
    # If all of those that are looked at are newer, there were more of them in the window.
    is_cut = seen == newest and steps.total() == newest
    seconds = max(1, now - oldest if is_cut else WINDOW) / 1_000_000
    return {process: count / seconds for process, count in steps.items()}
