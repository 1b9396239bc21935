"""What waits in a design: timeouts that are set, and events that are not done with."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from ..control.aside import timeout_row, timers
from ..store import CorruptRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..control.face import Face
    from ..control.plain import Plain

__all__ = ["Waits", "set_timeouts", "waits"]

MOST_COUNTED = 1_000
"""Timers, and events, that are counted: those that are due first, and the oldest. A page that is
open counts them every two seconds."""

MOST_LOOKED_AT = 5_000
"""Timers among which those of one name are looked for."""


class Waits(NamedTuple):
    """What waits, as far as it was looked at.

    Attributes:
        timeouts: how many are set, by process manager and name
        are_more_timeouts: whether there are timers that were not looked at
        events: how many a process manager is not done with, by its name and their type
        are_more_events: whether there are some that were not looked at
        backlog: all events that a process manager is not done with, by its name

    """

    timeouts: Counter[tuple[str, str]]
    are_more_timeouts: bool
    events: Counter[tuple[str, str]]
    are_more_events: bool
    backlog: Mapping[str, int]


def waits(face: Face) -> Waits:
    """Count what waits for each process manager; it takes as long with a million as with thousands.

    Args:
        face: where to look

    """
    timeouts: Counter[tuple[str, str]] = Counter()
    looked_at = 0
    for _, timer in islice(timers(face), MOST_COUNTED + 1):
        looked_at += 1
        if looked_at > MOST_COUNTED:
            break
        if not isinstance(timer, CorruptRecord) and timer.kind == "timeout":
            timeouts[timer.process, timer.name] += 1
    events: Counter[tuple[str, str]] = Counter()
    backlog: Counter[str] = Counter()
    are_more_events = False
    most = max(1, MOST_COUNTED // len(face.logs))
    processes = face.processes()
    for log in face.logs:
        last = log.store.last_position()
        done = {process: log.done(process) for process in processes}
        backlog.update({process: max(0, last - there) for process, there in done.items()})
        first = min(done.values(), default=last)
        if first < last:
            events.update(_unread(log, done, first, most))
            are_more_events = are_more_events or last - first > most
    return Waits(timeouts, looked_at > MOST_COUNTED, events, are_more_events, backlog)


def _unread(log: Face, done: dict[str, int], first: int, most: int) -> Counter[tuple[str, str]]:
    """The events that process managers are not done with in one log, by their names and types."""
    events: Counter[tuple[str, str]] = Counter()
    for position, event in islice(log.store.scan_log_through(first), most):
        if not isinstance(event, CorruptRecord):
            # What another partition sent is for one process manager.
            events.update(
                (one, event.type)
                for one, there in done.items()
                if there < position and event.sent_for in {"", one}
            )
    return events


def set_timeouts(face: Face, process: str, name: str, *, limit: int) -> list[Plain]:
    """The timeouts of one name that are due first, among those that are looked at.

    Args:
        face: where to look
        process: the process manager's name
        name: of the timeout
        limit: most of them

    Raises:
        UnknownMessage: there is no such process manager

    """
    process = face.known(process)
    looked_at = islice(timers(face), MOST_LOOKED_AT)
    found = (
        timeout_row(face, timer)
        for _, timer in looked_at
        if not isinstance(timer, CorruptRecord)
        and (timer.kind, timer.process, timer.name) == ("timeout", process, name)
    )
    return list(islice(found, limit))
