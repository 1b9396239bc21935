"""Finds the data of one person: fields that are marked, in all rows that hold messages and states.

The whole store is looked through once. Only the marked fields go; what else the rows say stays, so
that instances which hold a copy go on.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgpack

from ..store import (
    BY_PEOPLE,
    CorruptRecord,
    PackedFields,
    change_between,
    erased_at,
    id_in_stream,
    words_for,
)
from ..store.layout.frames import frame, pack, unframe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ..messages.personal import PersonalField
    from ..model.process_definition import ProcessDefinition
    from ..model.registry import Registry
    from ..store import Store

    Anew = tuple[str, bytes, bytes, bytes]

__all__ = ["SubjectRows"]

PAGE = 256
"""Rows that are looked at at once."""

LARGEST_SIZE = 1 << 20
"""Bytes of rows that are written anew at once, about."""


class SubjectRows:
    """The rows that hold data of one person, and what they are without it.

    Args:
        store: where to look
        registry: says which fields are marked
        subject: the person's id
        time: of the erasure, in microseconds

    """

    def __init__(self, store: Store, registry: Registry, subject: str, time: int) -> None:
        self._store = store
        self._registry = registry
        self._subject = subject
        self._words = words_for(time)
        self._touched: set[str] = set()

    def messages(self) -> Iterator[list[Anew]]:
        """Rows with messages that are to be written anew, some at a time."""
        changes: dict[str, Callable[[list[Any]], bool]] = {
            "log": self._event,
            "event_ids": self._event_id,
            "command_ids": self._result,
            "queue": self._command,
            "parked": self._parked,
            "decided": self._parked,
            "timers": lambda row: self._command(row[4]),
            "refusals": self._refusal,
            "effects": lambda row: self._issued(row, 5, row[1]),
            "outgoing": self._sent,
        }
        for table, change in changes.items():
            yield from self._changed(table, change)

    def instances(self) -> Iterator[tuple[ProcessDefinition, str]]:
        """All that have started, of the process managers that are here."""
        for definition in self._registry.processes.values():
            for _, instance in self._store.scan_started(definition.name):
                if isinstance(instance, str):
                    yield definition, instance

    def fields_of(self, definition: ProcessDefinition, instance: str) -> dict[str, Any]:
        """The values that fields of an instance are to have, whose newest state holds such data."""
        last = self._store.last_transition(definition.name, instance)
        if last is None or erased_at(last.state) is not None:
            return {}
        state: dict[str, Any] = _load(last.state)
        found = self._erased(state, self._theirs(state, definition.state.personal, instance))
        return {name: state[name] for name in found if name not in definition.naming_fields}

    def streams(self) -> Iterator[str]:
        """Streams with events of theirs, whose snapshots are made anew of what is left of these."""
        for stream in self._touched:
            first = self._store.read_stream(stream, 0, 1)
            if first and first[0].version == 1:
                yield stream

    def snapshots(self) -> Iterator[list[Anew]]:
        """Rows of snapshots that are to be written anew: their events may have been pruned."""
        for key, raw in self._rows("snapshots"):
            with suppress(CorruptRecord):
                row = unframe(raw, "snapshots", key)
                if self._snapshot(row, key.decode()):
                    yield [("snapshots", key, raw, frame(key, row))]

    # What holds messages

    def _rows(self, table: str) -> Iterator[tuple[bytes, bytes]]:
        start = b""
        while rows := self._store.rows_between(table, start, b"\xff" * 512, PAGE):
            yield from rows
            start = rows[-1][0] + b"\0"

    def _changed(self, table: str, change: Callable[[list[Any]], bool]) -> Iterator[list[Anew]]:
        found: list[Anew] = []
        size = 0
        for key, raw in self._rows(table):
            try:
                row = unframe(raw, table, key)
            except CorruptRecord:
                # `verify` tells of it.
                continue
            if change(row):
                found.append((table, key, raw, frame(key, row)))
                size += len(raw)
            if len(found) == PAGE or size > LARGEST_SIZE:
                yield found
                found, size = [], 0
        if found:
            yield found

    def _event(self, row: list[Any]) -> bool:
        is_theirs, data = self._without(row[0], row[4], id_in_stream(row[1]))
        if is_theirs:
            # Also where the field says nothing any more: in a backup, the key is forgotten, and
            # what was made of the event is still there.
            self._touched.add(row[1])
        if data is None:
            return False
        row[4] = data
        return True

    def _snapshot(self, row: list[Any], stream: str) -> bool:
        definition = self._registry.owner_of(stream)
        personal = {} if definition is None else definition.state.personal
        if not personal:
            return False
        mark, packed = _load(row[1])
        state = _load(packed)
        found = self._erased(state, self._theirs(state, personal, id_in_stream(stream)))
        row[1] = msgpack.packb((mark, _with(PackedFields.of(packed), state, found).whole()))
        return bool(found)

    def _event_id(self, row: list[Any]) -> bool:
        event = self._store.event_at(row[0])
        return self._drop_digest(row, 1, event is not None and event.stream in self._touched)

    def _result(self, row: list[Any]) -> bool:
        is_theirs = row[4] in self._touched or id_in_stream(row[4]) == self._subject
        is_marked = bool(self._registry.personal_fields(row[3]))
        changed = self._drop_digest(row, 6, is_theirs and is_marked)
        if is_theirs and row[2] is not None and row[2] != self._words:
            row[2], row[8] = self._words, None
            return True
        return changed

    @staticmethod
    def _drop_digest(row: list[Any], place: int, is_theirs: bool) -> bool:
        if not is_theirs or not row[place]:
            return False
        row[place] = b""
        return True

    def _command(self, row: list[Any] | None) -> bool:
        if row is None:
            return False
        _, data = self._without(row[1], row[4], id_in_stream(row[2]))
        if data is not None:
            row[4] = data
        return data is not None

    def _is_of_theirs(self, command: list[Any] | None) -> bool:
        if command is None:
            return False
        return self._without(command[1], command[4], id_in_stream(command[2]))[0]

    def _parked(self, row: list[Any]) -> bool:
        event = self._store.event_at(row[7]) if row[7] else None
        is_theirs = self._is_of_theirs(row[8]) or (
            event is not None and event.stream in self._touched
        )
        changed = self._command(row[8])
        if (is_theirs or row[1] == self._subject) and row[4] != self._words:
            row[4] = self._words
            return True
        return changed

    def _refusal(self, row: list[Any]) -> bool:
        is_theirs = self._is_of_theirs(row[0])
        changed = self._command(row[0])
        if is_theirs and row[1] != self._words:
            row[1] = self._words
            return True
        return changed

    def _sent(self, row: list[list[Any]]) -> bool:
        # Each is to be changed, so that `any` is not to stop at the first.
        changed = [self._message(message) for message in row]
        return any(changed)

    def _message(self, row: list[Any]) -> bool:
        changed = [self._event(row[0])] if row[0] is not None else []
        changed.append(self._command(row[3]))
        changed += [self._refusal(row[4])] if row[4] is not None else []
        return any(changed)

    def _issued(self, row: list[Any], place: int, owner: str) -> bool:
        changed = False
        for which, (command_id, kind, data) in enumerate(row[place]):
            _, anew = self._without(kind, data, owner)
            if anew is not None:
                row[place][which] = [command_id, kind, anew]
                changed = True
        return changed

    def _without(self, kind: str, data: bytes, owner: str) -> tuple[bool, bytes | None]:
        """Whether a message has fields of theirs; and what it is without, if they say anything."""
        fields = self._registry.personal_fields(kind)
        if not fields or erased_at(data) is not None:
            return False, None
        said = _load(data)
        if not isinstance(said, dict):
            return False, None
        theirs = self._theirs(said, fields, owner)
        found = self._erased(said, theirs)
        anew = _with(PackedFields.of(data), said, found).whole() if found else None
        return bool(theirs), anew

    def _theirs(
        self, said: dict[str, Any], fields: Mapping[str, PersonalField], owner: str
    ) -> dict[str, PersonalField]:
        """The fields that are that person's."""
        return {
            name: field
            for name, field in fields.items()
            if name in said
            and str(owner if field.subject is None else said.get(field.subject)) == self._subject
        }

    @staticmethod
    def _erased(said: dict[str, Any], fields: Mapping[str, PersonalField]) -> list[str]:
        """Erase fields; the names of those that had another value."""
        changed = [name for name, field in fields.items() if said[name] != field.erased]
        said.update({name: fields[name].erased for name in changed})
        return changed

    # States

    def history(self, definition: ProcessDefinition, instance: str) -> Iterator[list[Anew]]:
        """Its transitions that are to be written anew, with all that stand on one whole state."""
        page: list[Anew] = []
        changes_state = False
        before: PackedFields | None = None
        personal, store = definition.state.personal, self._store
        for record in store.scan_transitions(definition.name, instance):
            if not record.base:
                if page:
                    yield page
                page, changes_state, before = [], False, None
            row_key, raw, row = store.row_of_transition(definition.name, instance, record.version)
            changed = self._issued(row, 10, instance)
            if personal and erased_at(record.state) is None:
                said = _load(record.state)
                theirs = self._theirs(said, personal, instance)
                found = self._erased(said, theirs)
                changes_state |= bool(found)
                after = _with(PackedFields.of(record.state), said, found)
                if record.base and changes_state:
                    assert before is not None
                    row[9] = change_between(before, after.parts)[0]
                    changed = True
                elif found:
                    row[9], changed = after.whole(), True
                before = after
                is_reason = row[12] is not None and record.cause not in BY_PEOPLE
                if theirs and is_reason and row[12] != self._words:
                    # Of a refusal, which may quote it.
                    row[12], changed = self._words, True
            if changed:
                page.append(("transitions", row_key, raw, frame(row_key, row)))
        if page:
            yield page


def _with(fields: PackedFields, said: dict[str, Any], names: list[str]) -> PackedFields:
    """Packed fields of which some have other values; the others stay as they are, to the byte."""
    if not names:
        return fields
    parts = fields.parts | {name: pack(said[name]) for name in names}
    return PackedFields.of(PackedFields(parts, {}).whole())


def _load(packed: bytes) -> Any:
    return msgpack.unpackb(packed, strict_map_key=False)
