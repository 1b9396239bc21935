"""How a step becomes puts: one `Writer` for each transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..identifiers import EVADES, event_id_at, place_of_event
from ..records import CommandResult, Committed, Conflict, Duplicate, IdTaken
from .extras_writer import ExtrasWriter
from .frames import Framer, number, unframe
from .keys import numbered, seek_last
from .schema import (
    LOOKALIKE,
    command_to_row,
    event_from_row,
    event_to_row,
    instance_key,
    name_key,
    parked_at_key,
    parked_to_row,
    transition_to_row,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypeAlias

    import lmdb
    from lmdb import _Database

    from ..records import (
        Append,
        CommandRecord,
        EventRecord,
        Outcome,
        ParkedRecord,
        Step,
        StepExtras,
        TransitionRecord,
    )
    from .extras_writer import Counters
    from .names import KnownNames

    Txn: TypeAlias = lmdb.Transaction[bytes]
    Tables: TypeAlias = Mapping[str, _Database]

__all__ = ["Writer", "find_position"]

_COMMITTED = Committed()


class Writer:
    """Writes steps within one transaction.

    Args:
        txn: the transaction
        tables: by name
        counters: moved along; the caller drops them if the transaction fails
        names: what is known of the table of names; the caller takes back what is added to it if
            the transaction fails
        framer: makes the values

    """

    def __init__(
        self, txn: Txn, tables: Tables, counters: Counters, names: KnownNames, framer: Framer
    ) -> None:
        self._frame = framer.frame
        self._txn = txn
        self._get = txn.get
        self._put = txn.put
        self._tables = tables
        self._log = tables["log"]
        self._streams = tables["streams"]
        self._transitions = tables["transitions"]
        self._queue = tables["queue"]
        self._command_ids = tables["command_ids"]
        self._counters = counters
        self._names = names
        self._known_events = names.events
        self._known_commands = names.commands
        self._known_processes = names.processes
        self._rare = ExtrasWriter(txn, tables, counters, names, framer)

    def write(self, step: Step) -> Outcome:
        """Check what the step expects, then write it whole."""
        if step.command_id is not None:
            key = step.command_id.encode()
            raw = self._get(key, db=self._command_ids)
            if raw is not None:
                return Duplicate(result=CommandResult(*unframe(raw, "command_ids", key)))
        if step.take and self._get(number(step.take), db=self._queue) is None:
            return Duplicate()
        append, extras = step.append, step.extras
        refusal = None
        if append is not None:
            refusal = self._refuse_append(append)
        if step.park is not None and refusal is None:
            refusal = self._refuse_park(step.park, extras)
        if extras is not None and refusal is None:
            refusal = self._rare.refuse(step)
        if refusal is not None:
            return refusal
        # The checks above wrote nothing; a transition's is its own first put.
        if step.transition is not None and not self._write_transition(step, step.transition):
            return Conflict(
                f"instance {step.instance!r} of {step.process} is not at version "
                f"{step.transition.version - 1}"
            )
        if step.take:
            self._txn.delete(number(step.take), db=self._queue)
        if append is not None:
            self._write_events(append)
        if step.enqueue:
            self._write_commands(step.enqueue)
        if step.result is not None:
            self._write_result(step)
        if step.park is not None:
            self._write_parked(step.park)
        if step.wait:
            key = instance_key(step.process, step.instance) + number(step.wait)
            self._put(key, self._frame(key, 0), db=self._tables["waiting"])
            self._counters.any_waiting = True
            self._names.add_process(step.process)
        if extras is not None:
            self._rare.write(step)
        return _COMMITTED

    def write_checkpoints(self, checkpoints: Mapping[str, int]) -> None:
        table = self._tables["checkpoints"]
        for router, position in checkpoints.items():
            key = router.encode()
            self._put(key, self._frame(key, position), db=table)

    def write_names(self) -> None:
        """Write the names that the steps were the first to use."""
        table = self._tables["names"]
        for kind, name in self._names.fresh:
            key = name_key(kind, name)
            self._put(key, self._frame(key, name), db=table)

    def _refuse_append(self, append: Append) -> Conflict | Duplicate | IdTaken | None:
        if append.unique:
            for event in append.events:
                position = _given_position(self._txn, self._tables, event.event_id)
                if position:
                    return Duplicate(position=position)
                there = _named_event(self._txn, self._tables, event.event_id)
                if there is not None:
                    return IdTaken(event.event_id, there.position, there.stream)
        version = append.expected
        if version is None:
            return None
        prefix = append.stream.encode() + b"\0"
        if self._get(prefix + number(version + 1), db=self._streams) is None and (
            not version or self._get(prefix + number(version), db=self._streams) is not None
        ):
            return None
        return Conflict(f"stream {append.stream!r} is not at version {version}")

    def _refuse_park(self, parked: ParkedRecord, extras: StepExtras | None) -> Duplicate | None:
        if parked.position:
            key = parked_at_key(parked)
            raw = self._get(key, db=self._tables["parked_at"])
            # What this step takes away is not in its way.
            if raw is not None and not (
                extras is not None and extras.unpark == unframe(raw, "parked_at", key)
            ):
                return Duplicate(position=parked.position)
        return None

    def _write_transition(self, step: Step, record: TransitionRecord) -> bool:
        prefix = instance_key(step.process, step.instance)
        version = record.version
        if version > 1 and self._get(prefix + number(version - 1), db=self._transitions) is None:
            return False
        key = prefix + number(version)
        row = self._frame(key, transition_to_row(record))
        if not self._put(key, row, overwrite=False, db=self._transitions):
            return False
        if step.process not in self._known_processes:
            self._names.add("process", step.process)
        for command in record.commands:
            if command[1] not in self._known_commands:
                self._names.add("command", command[1])
        return True

    def _write_events(self, append: Append) -> None:
        stream = append.stream
        prefix = stream.encode() + b"\0"
        version = append.expected
        if version is None:
            version = self._last_version(prefix)
        counters = self._counters
        position = counters.position
        for event in append.events:
            version += 1
            position += 1
            event.version, event.position = version, position
            named = event_id_at(stream, version)
            if not event.event_id:
                event.event_id = self._free_id(named) if counters.any_lookalike else named
            if not event.correlation_id:
                event.correlation_id = event.event_id
            key = number(position)
            self._put(key, self._frame(key, event_to_row(event, named)), db=self._log, append=True)
            key = prefix + number(version)
            self._put(key, self._frame(key, position), db=self._streams)
            if event.type not in self._known_events:
                self._names.add("event", event.type)
            if append.unique:
                self._remember_id(event, named)
        counters.position = position

    def _free_id(self, named: str) -> str:
        """The id that the store makes, out of the way of those that were given from outside."""
        while self._get(named.encode(), db=self._tables["event_ids"]) is not None:
            named += EVADES
        return named

    def _remember_id(self, event: EventRecord, named: str) -> None:
        """Note an id that was given from outside."""
        key = event.event_id.encode()
        self._put(key, self._frame(key, event.position), db=self._tables["event_ids"])
        if (
            event.event_id != named
            and not self._counters.any_lookalike
            and place_of_event(event.event_id) is not None
        ):
            self._put(LOOKALIKE, self._frame(LOOKALIKE, 1), db=self._tables["meta"])
            self._counters.any_lookalike = True

    def _last_version(self, prefix: bytes) -> int:
        with self._txn.cursor(self._streams) as cursor:
            return numbered(cursor.key()) if seek_last(cursor, prefix) else 0

    def _write_commands(self, commands: list[CommandRecord]) -> None:
        counters = self._counters
        for command in commands:
            if command.process is None:
                counters.sequence_from_outside += 1
                command.sequence = counters.sequence_from_outside
            else:
                counters.sequence += 1
                command.sequence = counters.sequence
            key = number(command.sequence)
            self._put(key, self._frame(key, command_to_row(command)), db=self._queue)
            if command.type not in self._known_commands:
                self._names.add("command", command.type)

    def _write_result(self, step: Step) -> None:
        result, append = step.result, step.append
        assert result is not None
        assert step.command_id is not None
        if append is not None and append.events:
            result.first_position = append.events[0].position
            result.events = len(append.events)
        row = (result.first_position, result.events, result.refusal)
        key = step.command_id.encode()
        self._put(key, self._frame(key, row), db=self._command_ids)

    def _write_parked(self, parked: ParkedRecord) -> None:
        self._counters.parked += 1
        parked.number = self._counters.parked
        key = number(parked.number)
        self._put(key, self._frame(key, parked_to_row(parked)), db=self._tables["parked"])
        if parked.position:
            key = parked_at_key(parked)
            self._put(key, self._frame(key, parked.number), db=self._tables["parked_at"])
        self._names.add_process(parked.process)
        if parked.command is not None and parked.command.type not in self._names.commands:
            self._names.add("command", parked.command.type)


def find_position(txn: Txn, tables: Tables, event_id: str) -> int:
    """The position of the event with that id, or 0."""
    position = _given_position(txn, tables, event_id)
    if position:
        return position
    event = _named_event(txn, tables, event_id)
    return 0 if event is None else event.position


def _given_position(txn: Txn, tables: Tables, event_id: str) -> int:
    """The position of the event that was given that id from outside, or 0."""
    key = event_id.encode()
    raw = txn.get(key, db=tables["event_ids"])
    return 0 if raw is None else int(unframe(raw, "event_ids", key))


def _named_event(txn: Txn, tables: Tables, event_id: str) -> EventRecord | None:
    """The event that the store gave that id, which says itself where the event is."""
    place = place_of_event(event_id)
    if place is None:
        return None
    key = place.stream.encode() + b"\0" + number(place.version)
    raw = txn.get(key, db=tables["streams"])
    if raw is None:
        return None
    position = int(unframe(raw, "streams", key))
    key = number(position)
    raw = txn.get(key, db=tables["log"])
    if raw is None:
        return None
    event = event_from_row(unframe(raw, "log", key), position)
    # The event there may have another id.
    return event if event.event_id == event_id else None
