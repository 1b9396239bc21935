"""Checks what is found by its version: streams and instances, and what each instance went through.

Transitions are numbered in the order in which they were made, so those of one instance lie apart;
`ids` has them side by side.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from ..identifiers import BY_PEOPLE, PRUNED, command_id_at, is_issued_by, place_of_effect
from ..layout.frames import number
from ..layout.keys import numbered
from ..layout.schema import (
    COPY,
    DASHLESS,
    INSTANCE,
    STREAM,
    copies_key,
    started_key,
    stream_key,
    timer_key,
    transitions_key,
)
from ..records import TimerRecord
from ..state_changes import Misfit
from .events import problems_of_cause
from .inspecting import DamagedRow, States
from .learnt_keys import not_in_index

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..layout.schema import EventRow, TransitionRow
    from .inspecting import Inspection
    from .learnt_keys import Learnt

__all__ = ["check_histories"]


def check_histories(inspection: Inspection, learnt: Learnt) -> None:
    """Go through the transitions by their numbers, and through streams and instances by versions.

    Args:
        inspection: of the store
        learnt: process, version of its state, and name of each field that is a learnt key

    """
    inspection.read_codes()
    _check_transitions(inspection)
    for key, (process, place), instance in inspection.rows("started"):
        inspection.say_all("started", key, _of_started(inspection, process, place, instance))
    _check_ids(inspection, learnt)
    _check_listed(inspection)


def _check_listed(inspection: Inspection) -> None:
    """Look for what `ids` does not have, unless it led to as many as there are."""
    listed, checked = inspection.listed, inspection.checked
    if listed["log"] != checked["log"]:
        for key, event in inspection.rows_again("log"):
            inspection.say_all("log", key, _of_listed_event(inspection, numbered(key), event))
    if listed["transitions"] != checked["transitions"]:
        for key, row in inspection.rows_again("transitions"):
            problems = _of_listed_transition(inspection, numbered(key), row)
            inspection.say_all("transitions", key, _named(row, problems))


def _of_listed_event(inspection: Inspection, position: int, event: EventRow) -> Iterator[str]:
    if event.sent_for is not None:
        key = copies_key(event.sent_for, event.stream, event.version) + number(position)
        if inspection.look("ids", key) != position:
            yield f"is a copy for {event.sent_for}, and ids does not have it"
        return
    there = inspection.look("ids", stream_key(event.stream) + number(event.version))
    if there != position:
        yield (
            f"is version {event.version} of {event.stream}, and ids has {there or 'nothing'} there"
        )
        yield from problems_of_cause(inspection, position, event)


def _of_listed_transition(inspection: Inspection, place: int, row: TransitionRow) -> Iterator[str]:
    key = transitions_key(row.process, row.instance) + number(row.version)
    there = inspection.look("ids", key)
    if there != place:
        yield f"is transition {place}, and ids has {there or 'nothing'} there"


# By number


def _check_transitions(inspection: Inspection) -> None:
    before = 0
    for key, place, row in inspection.rows("transitions"):
        if place != before + 1:
            pruned = inspection.pruned.transitions
            inspection.say_gap("transitions", key, b"", before, place, pruned)
        before = place
        inspection.say_all("transitions", key, _named(row, _of_transition(inspection, place, row)))
        inspection.say_unknown("transitions", key, "process", row.process)
        for _, kind, _ in row.commands:
            inspection.say_unknown("transitions", key, "command", kind)


def _named(row: TransitionRow, problems: Iterator[str]) -> Iterator[str]:
    """A number tells people nothing, so the instance is said with it."""
    for problem in problems:
        yield f"{row.process} {row.instance} version {row.version}: {problem}"


def _of_transition(inspection: Inspection, place: int, row: TransitionRow) -> Iterator[str]:
    for which, (command_id, _, _) in enumerate(row.commands):
        expected = command_id_at(row.process, row.instance, row.version, which)
        if command_id != expected:
            yield f"issued command {command_id}, whose id would be {expected}"
    yield from inspection.problems_of_code(row.process, row.code)
    if row.seen > inspection.last_position:
        yield f"has seen up to {row.seen}, and the log ends at {inspection.last_position}"
    if row.version == 1 or (
        row.cause == PRUNED and inspection.first_version(row.process, row.instance) == row.version
    ):
        begun = inspection.look("started", started_key(row.process) + number(place))
        if begun != row.instance:
            yield f"is a first transition, and started has {begun or 'nothing'} for it"


def _of_started(inspection: Inspection, process: str, place: int, instance: str) -> Iterator[str]:
    row = inspection.transition(place)
    if row is None:
        yield f"is {instance}, whose first transition is not there"
    elif (row.process, row.instance) != (process, instance) or not (
        row.version == 1 or row.cause == PRUNED
    ):
        yield f"is {instance}, and this is version {row.version} of {row.process} {row.instance}"


# By version


class _History:
    """What is kept of one instance while its transitions pass by."""

    def __init__(self) -> None:
        self.version = 0
        self.seen = 0
        self.handled = 0
        # Positions that came after higher ones; all others came once, since each was the highest.
        self.late: set[int] = set()
        self.place = 0
        self.last: TransitionRow | None = None
        self.states = States()
        # Whether the newest state could be read.
        self.has_state = True


def _check_ids(inspection: Inspection, learnt: Learnt) -> None:
    prefix, before, place = b"", 0, 0
    history: _History | None = None
    for key, (one, kind, name, version), at in inspection.rows("ids"):
        if key[:-8] != prefix:
            if history is not None:
                _end(inspection, history, learnt)
            prefix, before, place = key[:-8], 0, 0
            history = _History() if kind == INSTANCE else None
        if kind == COPY:
            inspection.say_all("ids", key, _of_copy(inspection, key, at))
            continue
        if version != before + 1:
            pruned = _pruned_before(inspection, kind, version, place, at)
            inspection.say_gap("ids", key, prefix, before, version, pruned)
        if at <= place:
            inspection.say("ids", key, f"is at {at}, before the version before it")
        before, place = version, at
        if history is not None:
            _check_instance(inspection, history, key, (name, one, version), at)
        elif kind in {STREAM, DASHLESS}:
            stream = _stream_in(one, kind, name)
            inspection.say_all("ids", key, _of_stream(inspection, stream, version, at))
        else:
            inspection.say("ids", key, f"is of kind {kind}, which the format does not have")
    if history is not None:
        _end(inspection, history, learnt)


def _pruned_before(inspection: Inspection, kind: str, version: int, place: int, at: int) -> int:
    """The version below one up to which others may have been pruned, of which nothing stays."""
    if kind == INSTANCE:
        with suppress(DamagedRow):
            row = inspection.transition(at)
            return version if row is not None and row.cause == PRUNED else 0
        return 0
    return version if place < inspection.pruned.tombstones else 0


def _stream_in(one: str, kind: str, name: str) -> str:
    """The stream whose key has these parts; empty if there is none."""
    if "-" in name or (one and kind == DASHLESS):
        return ""
    return f"{name}-{one}" if kind == STREAM else name


def _of_stream(inspection: Inspection, stream: str, version: int, position: int) -> Iterator[str]:
    event = inspection.event(position)
    found = event or inspection.tombstone(position)
    if found is None:
        yield f"is at position {position}, which the log does not have"
    elif found.stream != stream or found.version != version:
        yield (
            f"is at position {position}, where the log has version {found.version} "
            f"of {found.stream}"
        )
    elif event is not None and event.sent_for is None:
        inspection.listed["log"] += 1
        # Here, since what caused it is mostly a neighbour, whose commands are at hand.
        if event.causation_id is not None:
            problems = problems_of_cause(inspection, position, event)
            inspection.say_all("log", number(position), problems)


def _of_copy(inspection: Inspection, key: bytes, position: int) -> Iterator[str]:
    event = inspection.event(position)
    found = event or inspection.tombstone(position)
    if found is None:
        yield f"is at position {position}, which the log does not have"
    elif not found.sent_for or key != (
        copies_key(found.sent_for, found.stream, found.version) + number(position)
    ):
        yield f"is at position {position}, where the log has no such copy"
    elif event is not None:
        inspection.listed["log"] += 1


# What an instance went through


def _check_instance(
    inspection: Inspection,
    history: _History,
    key: bytes,
    said: tuple[str, str, int],
    place: int,
) -> None:
    """The next transition of an instance."""
    # Of one that cannot be read, or is another's, nothing can be said of what it did.
    try:
        row = inspection.transition(place)
    except DamagedRow:
        # It is reported where it stands.
        history.last = None
        return
    if row is None:
        inspection.say("ids", key, f"is transition {place}, which is not there")
        history.last = None
        return
    if (row.process, row.instance, row.version) != said:
        who = f"version {row.version} of {row.process} {row.instance}"
        inspection.say("ids", key, f"is transition {place}, which is {who}")
        history.last = None
        return
    inspection.listed["transitions"] += 1
    inspection.note_issued(row)
    if row.version != history.version + 1:
        history.last = None
    problems = _of_next(inspection, history, row)
    inspection.say_all("transitions", number(place), _named(row, problems))
    inspection.say_all("transitions", number(place), _named(row, _of_state(history, row)))
    history.version, history.seen, history.place, history.last = row.version, row.seen, place, row


def _of_next(inspection: Inspection, history: _History, row: TransitionRow) -> Iterator[str]:
    if row.seen < history.seen:
        yield f"has seen up to {row.seen}, and the one before it up to {history.seen}"
    cause, last = row.cause, history.last
    if row.position:
        event = inspection.event(row.position)
        if event is None or event.id != cause:
            yield (
                f"was caused by {cause} at position {row.position}, where the log has "
                f"{'nothing' if event is None else event.id}"
            )
        else:
            yield from _of_handled(inspection, history, row.position, row)
        return
    if cause in BY_PEOPLE:
        return
    kind, _, name = cause.partition(":")
    if kind == "timeout" and last is not None and name in (last.timers or {}):
        return
    position = inspection.position_of(cause)
    if position:
        yield from _of_handled(inspection, history, position, row)
    elif kind == "timeout":
        # If the one before could not be read, it cannot be told what it had set.
        if last is not None or row.version == 1:
            yield f"was caused by timeout {name!r}, which was not set"
    elif not (
        is_issued_by(cause, row.process, row.instance)
        or (place_of_effect(cause) or ())[:2] == (row.process, row.instance)
    ):
        yield f"was caused by {cause}, which is no event, timeout or command of the instance"
    elif not inspection.is_issued(cause):
        yield f"was caused by the refusal of {cause}, which no transition issued"


def _of_state(history: _History, row: TransitionRow) -> Iterator[str]:
    history.has_state = False
    try:
        row.state = history.states.after(row)
        history.has_state = True
    except Misfit as error:
        yield f"has a state that cannot be read: {error}"


def _of_handled(
    inspection: Inspection, history: _History, position: int, row: TransitionRow
) -> Iterator[str]:
    event = inspection.event(position)
    assert event is not None
    if position > row.seen:
        yield f"handled position {position}, and says that it has seen up to {row.seen}"
    if event.correlation_id != row.correlation_id:
        yield f"has correlation id {row.correlation_id}, and its event has {event.correlation_id}"
    if position > history.handled:
        history.handled = position
    elif position in history.late:
        yield f"handled {row.cause} once more"
    else:
        history.late.add(position)


def _end(inspection: Inspection, history: _History, learnt: Learnt) -> None:
    """All transitions of an instance have passed by."""
    last, key = history.last, number(history.place)
    if last is None:
        return
    _count(inspection, last)
    if history.late:
        problems = _handled_twice(inspection, last, history.late)
        inspection.say_all("transitions", key, _named(last, problems))
    _say_lost_timers(inspection, last)
    if history.has_state:
        problems = not_in_index(inspection, last, learnt)
        inspection.say_all("transitions", key, _named(last, problems))


def _count(inspection: Inspection, last: TransitionRow) -> None:
    """Count an instance by its status, if that can be read."""
    with suppress(DamagedRow):
        status = "complete" if last.is_complete else "running"
        if inspection.is_suspended(last.process, last.instance):
            status = "suspended"
        inspection.counts["instance", last.process, status] += 1


def _handled_twice(inspection: Inspection, last: TransitionRow, late: set[int]) -> Iterator[str]:
    """What came late may have come before, when it was the highest."""
    seen: set[int] = set()
    for row in inspection.transitions(last.process, last.instance):
        cause = row.cause
        position = row.position or (0 if cause in BY_PEOPLE else inspection.position_of(cause))
        if position in late and position in seen:
            yield f"or one before it handled {cause} a second time"
        if position in late:
            seen.add(position)


def _say_lost_timers(inspection: Inspection, last: TransitionRow) -> None:
    """What is due later has a row; one that was due may have been taken away by now."""
    process, instance = last.process, last.instance
    for name, due in (last.timers or {}).items():
        if due <= inspection.now:
            continue
        keys = [
            timer_key(TimerRecord(due, process, instance, name, kind))
            for kind in ("timeout", "command")
        ]
        if not any(inspection.has("timers", key) for key in keys):
            inspection.say(
                "timers",
                keys[is_issued_by(name, process, instance)],
                f"{name} of {process} {instance} is missing, which is due as its newest transition "
                f"says",
            )
