"""Checks what instances have besides their transitions: what waits, and what is due."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from ..layout.frames import number
from ..layout.keys import numbered
from ..layout.schema import BlockRow, instance_key, timer_key
from ..records import TimerRecord
from .inspecting import DamagedRow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..layout.schema import ParkedRow, TimerRow
    from .inspecting import Inspection

__all__ = ["check_instances"]


def check_instances(inspection: Inspection) -> None:
    """Go through the tables of what instances are to take up."""
    for key, (process, name, position), row in inspection.rows("waiting"):
        if position:
            problems = _of_waiting(inspection, position, row)
        else:
            problems = _of_block(inspection, process, name, row)
            _count_failed_start(inspection, process, name)
        inspection.say_all("waiting", key, problems)
        inspection.say_unknown("waiting", key, "process", process)
    for key, _, timer in inspection.rows("timers"):
        inspection.say_all("timers", key, _of_timer(inspection, key, timer))
        inspection.say_unknown("timers", key, "process", timer.process)
        if timer.command is not None:
            inspection.say_unknown("timers", key, "command", timer.command.type)


# What is due


def _of_timer(inspection: Inspection, key: bytes, timer: TimerRow) -> Iterator[str]:
    due = numbered(key[:8])
    owner = f"{timer.process} {timer.instance}"
    own = TimerRecord(due, timer.process, timer.instance, timer.name, timer.kind)
    if key != timer_key(own):
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


def _count_failed_start(inspection: Inspection, process: str, instance: str) -> None:
    """Count an instance that failed before its first transition; others were counted by these."""
    with suppress(DamagedRow):
        is_suspended = inspection.is_suspended(process, instance)
        if is_suspended and not inspection.first_version(process, instance):
            inspection.counts["instance", process, "suspended"] += 1


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
        key = timer_key(TimerRecord(row.due, process, instance, "retry", "retry"))
        if not inspection.has("timers", key):
            yield f"waits for another attempt at {row.due}, and no timer is set for it"
        return
    parked: ParkedRow | None = inspection.look("parked", number(row.parked)) if row.parked else None
    if parked is None:
        yield f"is blocked by parked {row.parked}, which is not there"
    elif (parked.process, parked.instance) != (process, instance) or not parked.blocks:
        yield f"is blocked by parked {row.parked}, which does not block it"
