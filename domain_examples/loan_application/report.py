"""How the applications ended, read from the store alone.

Nothing is counted while the program runs, so a run that was killed and started again, or that
published everything twice, comes to the same figures.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from .process import CATEGORY, ApplicationSubmitted, LoanApplication

if TYPE_CHECKING:
    from procession import Runtime

__all__ = ["figures"]


def figures(runtime: Runtime) -> dict[str, Any]:
    """Count what is in the store; call it once the runtime has settled.

    An event is early when its case was not submitted yet, and late when its case has ended. A
    case that was never submitted has no process, and so no outcome.

    Args:
        runtime: whose store to read

    """
    events: Counter[str] = Counter()
    submitted: set[str] = set()
    early = 0
    for stored in runtime.events(CATEGORY):
        case = stored.stream.removeprefix(f"{CATEGORY}-")
        events[case] += 1
        if isinstance(stored.event, ApplicationSubmitted):
            submitted.add(case)
        elif case not in submitted:
            early += 1

    outcome = dict.fromkeys(("approved", "declined", "cancelled", "open"), 0)
    transitions = offers = longest = 0
    for case in submitted:
        process = runtime.get(LoanApplication, case)
        if process is None:
            raise LookupError(f"application {case} was submitted but has no process")
        outcome[process.state["outcome"]] += 1
        # A version is a number of transitions.
        transitions += process.version
        longest = max(longest, process.version)
        offers += process.state["offers_created"]

    return {
        "events": events.total(),
        "cases": len(events),
        "outcome": outcome,
        "transitions": transitions,
        # A process takes every event of its case but those before its start and after its end.
        "late_events_skipped": events.total() - early - transitions,
        "early_events": early,
        "offers_created_while_open": offers,
        "max_transitions_of_one_case": longest,
    }
