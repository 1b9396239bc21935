"""Checks what instances have: their transitions, what waits, what is due, and learnt keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from ..identifiers import command_id_at, is_issued_by
from ..layout.frames import number
from ..layout.keys import digest
from ..layout.schema import BlockRow, instance_key

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeAlias

    from ..layout.schema import ParkedRow, TimerRow, TransitionRow
    from .inspecting import Inspection

    Learnt: TypeAlias = set[tuple[str, int, str]]

__all__ = ["check_instances"]

BY_PEOPLE = {"refresh", "operator"}
"""Causes of transitions that nothing in the store stands behind."""


def check_instances(inspection: Inspection, learnt: Learnt) -> None:
    """Go through all tables whose keys name instances.

    Args:
        inspection: of the store
        learnt: process, version of its state, and name of each field that is known to be a
            learnt key; those that the index shows to be are found

    """
    processes = inspection.processes()
    learnt = set(learnt)
    for key, _, _ in inspection.rows("index"):
        inspection.say_all("index", key, _of_index(inspection, key, processes, learnt))
    _check_transitions(inspection, learnt)
    for key, (process, name, position), row in inspection.rows("waiting"):
        if position:
            problems = _of_waiting(inspection, position, row)
        else:
            problems = _of_block(inspection, process, name, row)
        inspection.say_all("waiting", key, problems)
        inspection.say_unknown("waiting", key, "process", process)
    for key, _, timer in inspection.rows("timers"):
        inspection.say_all("timers", key, _of_timer(inspection, key, timer))
        inspection.say_unknown("timers", key, "process", timer.process)
        if timer.command is not None:
            inspection.say_unknown("timers", key, "command", timer.command.type)


# Transitions


class _Instance:
    """What is kept of one instance while its transitions pass by."""

    def __init__(self, process: str, instance: str) -> None:
        self.process = process
        self.instance = instance
        self.version = 0
        self.seen = 0
        self.handled = 0
        # Positions that came after higher ones; all others came once, since each was the highest.
        self.late: set[int] = set()
        self.last: TransitionRow | None = None


def _check_transitions(inspection: Inspection, learnt: Learnt) -> None:
    instance = _Instance("", "")
    for key, (process, name, version), row in inspection.rows("transitions"):
        if (process, name) != (instance.process, instance.instance):
            _end(inspection, instance, learnt)
            instance = _Instance(process, name)
        inspection.say_gap("transitions", key, key[:-8], instance.version, version)
        if version != instance.version + 1:
            instance.last = None
        inspection.say_all("transitions", key, _of_transition(inspection, instance, version, row))
        inspection.say_unknown("transitions", key, "process", process)
        for _, kind, _ in row.commands:
            inspection.say_unknown("transitions", key, "command", kind)
        instance.version, instance.last, instance.seen = version, row, row.seen
    _end(inspection, instance, learnt)


def _of_transition(
    inspection: Inspection, instance: _Instance, version: int, row: TransitionRow
) -> Iterator[str]:
    for place, (command_id, _, _) in enumerate(row.commands):
        expected = command_id_at(instance.process, instance.instance, version, place)
        if command_id != expected:
            yield f"issued command {command_id}, whose id would be {expected}"
    if row.seen < instance.seen:
        yield f"has seen up to {row.seen}, and the one before it up to {instance.seen}"
    if row.seen > inspection.last_position:
        yield f"has seen up to {row.seen}, and the log ends at {inspection.last_position}"
    yield from _of_cause(inspection, instance, version, row)


def _of_cause(
    inspection: Inspection, instance: _Instance, version: int, row: TransitionRow
) -> Iterator[str]:
    cause, last = row.cause, instance.last
    if row.position:
        event = inspection.event(row.position)
        if event is None or event.id != cause:
            yield (
                f"was caused by {cause} at position {row.position}, where the log has "
                f"{'nothing' if event is None else event.id}"
            )
        else:
            yield from _of_handled(inspection, instance, row.position, row)
        return
    if cause in BY_PEOPLE:
        return
    kind, _, name = cause.partition(":")
    if kind == "timeout" and last is not None and name in (last.timers or {}):
        return
    position = inspection.position_of(cause)
    if position:
        yield from _of_handled(inspection, instance, position, row)
    elif kind == "timeout":
        # If the one before could not be read, it cannot be told what it had set.
        if last is not None or version == 1:
            yield f"was caused by timeout {name!r}, which was not set"
    elif not is_issued_by(cause, instance.process, instance.instance):
        yield f"was caused by {cause}, which is no event, timeout or command of the instance"
    elif not inspection.is_issued(cause):
        yield f"was caused by the refusal of {cause}, which no transition issued"


def _of_handled(
    inspection: Inspection, instance: _Instance, position: int, row: TransitionRow
) -> Iterator[str]:
    event = inspection.event(position)
    assert event is not None
    if position > row.seen:
        yield f"handled position {position}, and says that it has seen up to {row.seen}"
    if event.correlation_id != row.correlation_id:
        yield f"has correlation id {row.correlation_id}, and its event has {event.correlation_id}"
    if position > instance.handled:
        instance.handled = position
    elif position in instance.late:
        yield f"handled {row.cause} once more"
    else:
        instance.late.add(position)


def _end(inspection: Inspection, instance: _Instance, learnt: Learnt) -> None:
    """All transitions of an instance have passed."""
    if instance.last is None:
        return
    prefix = instance_key(instance.process, instance.instance)
    key = prefix + number(instance.version)
    if instance.late:
        inspection.say_all("transitions", key, _handled_twice(inspection, prefix, instance.late))
    _say_lost_timers(inspection, instance, instance.last)
    inspection.say_all(
        "transitions", key, _not_in_index(inspection, instance, instance.last, learnt)
    )


def _handled_twice(inspection: Inspection, prefix: bytes, late: set[int]) -> Iterator[str]:
    """What came late may have come before, when it was the highest."""
    seen: set[int] = set()
    for key, raw in inspection.keys("transitions", prefix):
        row = inspection.read("transitions", key, raw)
        cause = row.cause
        position = row.position or (0 if cause in BY_PEOPLE else inspection.position_of(cause))
        if position in late and position in seen:
            yield f"or one before it handled {cause} a second time"
        if position in late:
            seen.add(position)


# What is due


def _timer_key(due: int, process: str, instance: str, kind: str, name: str) -> bytes:
    return number(due) + digest(process, instance, kind, name)


def _say_lost_timers(inspection: Inspection, instance: _Instance, last: TransitionRow) -> None:
    """What is due later has a row; one that was due may have been taken away by now."""
    for name, due in (last.timers or {}).items():
        if due <= inspection.now:
            continue
        keys = [
            _timer_key(due, instance.process, instance.instance, kind, name)
            for kind in ("timeout", "command")
        ]
        if not any(inspection.has("timers", key) for key in keys):
            is_command = is_issued_by(name, instance.process, instance.instance)
            inspection.say(
                "timers",
                keys[is_command],
                f"{name} of {instance.process} {instance.instance} is missing, which is due "
                f"as its newest transition says",
            )


def _of_timer(inspection: Inspection, key: bytes, timer: TimerRow) -> Iterator[str]:
    due = int.from_bytes(key[:8], "big")
    owner = f"{timer.process} {timer.instance}"
    if key != _timer_key(due, timer.process, timer.instance, timer.kind, timer.name):
        yield f"has the key of another than {timer.kind} {timer.name} of {owner}"
    if (timer.command is not None) != (timer.kind == "command"):
        yield f"is a {timer.kind} {'with' if timer.command is not None else 'without'} a command"
    elif timer.command is not None:
        if timer.command.command_id != timer.name:
            yield f"is called {timer.name}, and holds back {timer.command.command_id}"
        yield from inspection.problems_of_command(timer.command)
    if timer.kind == "retry":
        block = inspection.look("waiting", instance_key(timer.process, timer.instance) + bytes(8))
        if not isinstance(block, BlockRow) or block.kind != "retry" or block.due != due:
            yield f"is for another attempt, and {owner} does not wait for that"
        return
    last = inspection.last_transition(timer.process, timer.instance)
    if last is None:
        yield f"is of {owner}, which has no transitions"
    elif (last.timers or {}).get(timer.name) != due:
        yield f"is {timer.name} of {owner}, whose newest transition does not have it for that time"


# What waits


def _of_waiting(inspection: Inspection, position: int, row: BlockRow | int) -> Iterator[str]:
    if row != 0:
        yield "is not as the format has it: a block, in a place for an event that waits"
    if inspection.event(position) is None:
        yield "waits for an event that the log does not have"


def _of_block(
    inspection: Inspection, process: str, instance: str, row: BlockRow | int
) -> Iterator[str]:
    if not isinstance(row, BlockRow):
        yield "is not as the format has it: no block, in the place for one"
        return
    if (bool(row.position), bool(row.name), bool(row.sequence)).count(True) != 1:
        yield "is a block for anything but one event, timeout or refusal"
    if row.position and inspection.event(row.position) is None:
        yield f"is blocked by position {row.position}, which the log does not have"
    if row.sequence and inspection.look("refusals", number(row.sequence)) is None:
        yield f"is blocked by refusal {row.sequence}, which is not there"
    if row.kind == "retry":
        key = _timer_key(row.due, process, instance, "retry", "retry")
        if not inspection.has("timers", key):
            yield f"waits for another attempt at {row.due}, and no timer is set for it"
        return
    parked: ParkedRow | None = inspection.look("parked", number(row.parked)) if row.parked else None
    if parked is None:
        yield f"is blocked by parked {row.parked}, which is not there"
    elif (parked.process, parked.instance) != (process, instance) or not parked.blocks:
        yield f"is blocked by parked {row.parked}, which does not block it"


# Learnt keys


def _of_index(
    inspection: Inspection, key: bytes, processes: list[str], learnt: Learnt
) -> Iterator[str]:
    """Some state of that instance has such a value; notes of which process and field it is."""
    wanted, instance = key[:16], key[16:].decode()
    for process in processes:
        last = inspection.last_transition(process, instance)
        if last is None:
            continue
        field = _field_of(wanted, process, last)
        if field is not None:
            learnt.add((process, last.state_version, field))
            return
        # What an older version of the class wrote stays, and does no harm.
        for at, raw in inspection.keys("transitions", instance_key(process, instance)):
            older = inspection.read("transitions", at, raw)
            if older.state_version != last.state_version and _field_of(wanted, process, older):
                return
    yield f"is for a value that no state of {instance} has"


def _field_of(wanted: bytes, process: str, row: TransitionRow) -> str | None:
    for field, text in _texts(row).items():
        if digest(process, field, text) == wanted:
            return field
    return None


def _texts(row: TransitionRow) -> dict[str, str]:
    """The fields of a state by which an instance could be found."""
    try:
        state: dict[str, Any] = msgspec.msgpack.decode(row.state, type=dict[str, Any])
    except msgspec.DecodeError:
        # The row's checksum matches, so it was written like this; it can have no keys.
        return {}
    return {
        field: str(value)
        for field, value in state.items()
        if (isinstance(value, str) and value)
        or (isinstance(value, int) and not isinstance(value, bool))
    }


def _not_in_index(
    inspection: Inspection, instance: _Instance, last: TransitionRow, learnt: Learnt
) -> Iterator[str]:
    if not learnt:
        return
    name = instance.instance.encode()
    for field, text in _texts(last).items():
        if (instance.process, last.state_version, field) in learnt and not inspection.has(
            "index", digest(instance.process, field, text) + name
        ):
            yield f"has {field}={text!r}, and the index does not find it by that"
