"""The parts of a step that few steps have: timers, blocks, refusals, learnt keys, snapshots."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from ..records import FROM_OUTSIDE, Duplicate, StepExtras
from .frames import Framer, number, unframe
from .keys import digest
from .schema import (
    block_to_row,
    instance_key,
    parked_at_key,
    parked_from_row,
    parked_to_row,
    refusal_to_row,
    timer_key,
    timer_to_row,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypeAlias

    import lmdb
    from lmdb import _Database

    from ..records import CommandRecord, Step
    from .names import KnownNames

    Txn: TypeAlias = lmdb.Transaction[bytes]
    Tables: TypeAlias = Mapping[str, _Database]

__all__ = ["BLOCKED", "Counters", "ExtrasWriter"]

BLOCKED = number(0)
"""Sorts before the positions of the events that wait behind a block."""


class Counters(Struct):
    """The newest numbers in the store."""

    position: int = 0
    sequence: int = 0
    sequence_from_outside: int = FROM_OUTSIDE
    parked: int = 0
    refusal: int = 0
    any_waiting: bool = False
    """Whether some instance may be suspended. Rare, and asked for whenever one is loaded."""
    any_lookalike: bool = False
    """Whether an event was given an id that the store may be about to make for another one."""


class ExtrasWriter:
    """Writes a step's `extras` within one transaction."""

    def __init__(
        self, txn: Txn, tables: Tables, counters: Counters, names: KnownNames, framer: Framer
    ) -> None:
        self._txn = txn
        self._tables = tables
        self._counters = counters
        self._names = names
        self._frame = framer.frame

    def refuse(self, step: Step) -> Duplicate | None:
        """Whether what the step is for is gone: then it was done before."""
        extras = step.extras
        assert extras is not None
        for table, key in self._taken(step, extras):
            if self._txn.get(key, db=self._tables[table]) is None:
                return Duplicate()
        return None

    def write(self, step: Step) -> None:
        extras = step.extras
        assert extras is not None
        if extras.unpark:
            self._decide(extras)
        for table, key in self._taken(step, extras):
            self._txn.delete(key, db=self._tables[table])
        for timer in extras.cancel:
            self._txn.delete(timer_key(timer), db=self._tables["timers"])
        for timer in extras.timers:
            self._put("timers", timer_key(timer), timer_to_row(timer))
            self._names.add_process(timer.process)
            self._note_command(timer.command)
        for process, instance, position in extras.waits:
            self._put("waiting", instance_key(process, instance) + number(position), 0)
            self._counters.any_waiting = True
            self._names.add_process(process)
        prefix = instance_key(step.process, step.instance)
        if extras.unblock:
            self._txn.delete(prefix + BLOCKED, db=self._tables["waiting"])
        if extras.block is not None:
            if step.park is not None:
                extras.block.parked = step.park.number
            self._put("waiting", prefix + BLOCKED, block_to_row(extras.block))
            self._counters.any_waiting = True
            self._names.add_process(step.process)
        for field, old, new in extras.index:
            self._learn(step, field, old, new)
        if extras.refusal is not None:
            refusal = extras.refusal
            self._counters.refusal += 1
            refusal.sequence = self._counters.refusal
            self._put("refusals", number(refusal.sequence), refusal_to_row(refusal))
            self._names.add_process(refusal.command.process or "")
            self._note_command(refusal.command)
        if extras.snapshot is not None:
            assert step.append is not None
            self._put("snapshots", step.append.stream.encode(), list(extras.snapshot))

    def _taken(self, step: Step, extras: StepExtras) -> list[tuple[str, bytes]]:
        """What the step is for, by table and key."""
        taken = []
        if extras.due is not None:
            taken.append(("timers", timer_key(extras.due)))
        if extras.unwait:
            key = instance_key(step.process, step.instance) + number(extras.unwait)
            taken.append(("waiting", key))
        if extras.unpark:
            taken.append(("parked", number(extras.unpark)))
        if extras.told:
            taken.append(("refusals", number(extras.told)))
        return taken

    def _decide(self, extras: StepExtras) -> None:
        """Move what was parked to what was decided; it may be parked again from now on."""
        key = number(extras.unpark)
        raw = self._txn.get(key, db=self._tables["parked"])
        assert raw is not None
        parked = parked_from_row(unframe(raw, "parked", key), extras.unpark)
        parked.decision = extras.decision
        self._put("decided", key, parked_to_row(parked))
        is_skipped = extras.decision is not None and extras.decision[0] == "skip"
        # That an event was skipped is kept where it is looked for when it is brought again.
        if parked.position and (parked.effect or not is_skipped):
            key = parked_at_key(parked)
            raw = self._txn.get(key, db=self._tables["parked_at"])
            # This step may have parked it again already.
            if raw is not None and unframe(raw, "parked_at", key) == extras.unpark:
                self._txn.delete(key, db=self._tables["parked_at"])

    def _learn(self, step: Step, field: str, old: str | None, new: str | None) -> None:
        table = self._tables["index"]
        instance = step.instance.encode()
        if old is not None:
            self._txn.delete(digest(step.process, field, old) + instance, db=table)
        if new is not None:
            self._put("index", digest(step.process, field, new) + instance, 0)

    def _note_command(self, command: CommandRecord | None) -> None:
        if command is not None and command.type not in self._names.commands:
            self._names.add("command", command.type)

    def _put(self, table: str, key: bytes, row: object) -> None:
        self._txn.put(key, self._frame(key, row), db=self._tables[table])
