"""Which event belongs to which objects, and what became of these: gathered before it is written.

It is gathered in a scratch database, so memory is bounded however long the log is.
"""

from __future__ import annotations

import base64
import json
import sqlite3
import tempfile
from datetime import datetime
from heapq import merge
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import msgspec

from ..clock import from_micros
from ..messages.personal import masked
from ..queries.all_partitions import AllPartitions
from ..store import PRUNED, category_of, erased_at, id_in_stream, place_of_issue

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from ..model.registry import Registry
    from ..store import EventRecord, Issue, Store, TransitionRecord

__all__ = ["Change", "Related", "Stage", "StagedEvent", "text_of"]

EVERY = 1_024

_SCHEMA = """
pragma journal_mode = off;
pragma synchronous = off;
create table place (position integer primary key, sequence integer);
create table object (id text primary key, type text) without rowid;
create table relation (position integer, object text, qualifier text,
                       primary key (position, object, qualifier)) without rowid;
create table sends (source text, target text, qualifier text,
                      primary key (source, target, qualifier)) without rowid;
create table change (object text, name text, time integer, value text,
                     primary key (object, name, time));
create table instance (process text, id text, object text, primary key (process, id)) without rowid;
"""

_OWN = frozenset(
    {
        "id",
        "type",
        "time",
        "position",
        "stream",
        "data",
        "headers",
        "correlation_id",
        "causation_id",
    }
)
"""Names of what an event has beside its fields."""

_INTEGERS = 1 << 63
"""Whole numbers of SQLite and of XES are below this, and not below its negative."""


class Related(NamedTuple):
    """An object that something has to do with."""

    object: str
    qualifier: str


class Change(NamedTuple):
    """What a field of an instance was from a time on."""

    name: str
    time: str
    value: Any


class StagedEvent(NamedTuple):
    """An event as every format has it."""

    partition: int | None
    """None in a store that is not divided."""
    position: int
    id: str
    type: str
    time: str
    values: dict[str, Any]
    related: list[Related]

    @property
    def names(self) -> tuple[str | None, ...]:
        """Its ids and those of what it belongs to, which come back as they are."""
        told = self.values
        return self.id, told["stream"], told["correlation_id"], told.get("causation_id")


class Stage:
    """What there is to write. A context manager.

    Args:
        stores: open for reading: one, or all partitions of a divided store in order
        objects: the only types of objects, if not all
        after: events behind these positions, one for each store
        progress: is called with how many events were looked at, and of how many

    """

    def __init__(
        self,
        stores: Sequence[Store],
        objects: Collection[str] | None,
        after: Sequence[int],
        progress: Callable[[int, int], object],
        registry: Registry,
    ) -> None:
        self._stores, self._wanted, self._after = stores, objects, after
        self.is_divided = stores[0].partition is not None
        # A position of a divided store stands for a partition as well.
        self._whole = AllPartitions(stores)
        self._registry = registry
        self._progress = progress
        self._folder = tempfile.TemporaryDirectory(prefix="procession-export-")
        self._sql = sqlite3.connect(Path(self._folder.name) / "stage")
        self._sql.executescript(_SCHEMA)
        self.last = [store.last_position() for store in stores]
        """The newest position of each store."""
        self.event_types: dict[str, dict[str, str]] = {}
        """Attributes and their kinds, by type of event."""
        self.object_types: dict[str, dict[str, str]] = {}
        """The same of objects."""

    def __enter__(self) -> Self:
        try:
            self._gather()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the scratch database."""
        self._sql.close()
        self._folder.cleanup()

    # Gathering

    def _gather(self) -> None:
        for name, is_process in self._processes():
            if is_process:
                self._gather_instances(name)
        total = sum(self.last) - sum(self._after)
        for sequence, event in enumerate(self._records()):
            if self.is_divided:
                self._sql.execute("insert into place values (?, ?)", (event.position, sequence))
            self._gather_event(event)
            if not sequence % EVERY:
                self._progress(sequence, total)
        if self._wanted is not None:
            known = {kind for (kind,) in self._sql.execute("select distinct type from object")}
            for kind in known - set(self._wanted):
                self._sql.execute("delete from object where type = ?", (kind,))
            self._sql.execute("delete from relation where object not in (select id from object)")
            self._sql.execute(
                "delete from sends where source not in (select id from object) "
                "or target not in (select id from object)"
            )
        if self._wanted is not None or any(self._after):
            self._sql.execute("delete from object where id not in (select object from relation)")
        self._sql.execute("create index of_change on change (object, time)")
        self._sql.execute("create index of_object on relation (object, position)")
        self._sql.commit()
        for (kind,) in self._sql.execute("select distinct type from object order by type"):
            self.object_types.setdefault(kind, {})
        for kind in set(self.object_types) - {
            one for (one,) in self._sql.execute("select distinct type from object")
        }:
            del self.object_types[kind]

    def _processes(self) -> Iterator[tuple[str, bool]]:
        found = dict.fromkeys(one for store in self._stores for one in store.scan_names())
        for kind, name in found:
            yield name, kind == "process"

    def _gather_instances(self, process: str) -> None:
        for number, store in enumerate(self._stores):
            for instance, _ in store.scan_instances(process):
                self._gather_instance(number, process, instance)

    def _gather_instance(self, number: int, process: str, instance: str) -> None:
        put = self._sql.execute
        before: dict[str, Any] = {}
        owner, kind = f"{process}-{instance}", process
        for one in self._stores[number].scan_transitions(process, instance):
            position = self._event_of(number, one.position)
            if one.version == 1:
                owner, kind = self._object_of(process, instance, position)
                put("insert or ignore into object values (?, ?)", (owner, kind))
                put(
                    "insert or ignore into instance values (?, ?, ?)",
                    (process, instance, owner),
                )
            if self._is_wanted(position):
                put(
                    "insert or ignore into relation values (?, ?, ?)",
                    (position, owner, f"{process}.{one.handler}"),
                )
            if one.cause != PRUNED and erased_at(one.state) is None:
                before = self._gather_state(process, owner, kind, one, before)

    def _event_of(self, number: int, position: int) -> int:
        """Where the event is that a partition has at a position, or has a copy of; 0 for none."""
        if not self.is_divided:
            return position
        found = self._whole.event_at(position * len(self._stores) + number) if position else None
        return 0 if found is None else found.position

    def _is_wanted(self, position: int) -> bool:
        number, local = self._whole.place_of(position)
        return self._after[number] < local <= self.last[number]

    def _object_of(self, process: str, instance: str, position: int) -> tuple[str, str]:
        """What an instance is about: what the stream is that it began with, or itself."""
        event = self._whole.event_at(position) if position else None
        if event is not None and id_in_stream(event.stream) == instance:
            return event.stream, category_of(event.stream)
        return f"{process}-{instance}", process

    def _gather_state(
        self,
        process: str,
        owner: str,
        kind: str,
        one: TransitionRecord,
        before: dict[str, Any],
    ) -> dict[str, Any]:
        definition = self._registry.process_named(process)
        personal = () if definition is None else definition.state.personal.keys()
        state = masked(plain_map(one.state), personal)
        attributes = self.object_types.setdefault(kind, {})
        short = process.rpartition(".")[2]
        for name, value in state.items():
            if value is None or (name in before and before[name] == value):
                continue
            attribute = f"{short}.{name}"
            told = scalar(value)
            _note(attributes, attribute, told)
            self._sql.execute(
                # At one time an attribute has one value: the last one.
                "insert or replace into change values (?, ?, ?, ?)",
                (owner, attribute, one.time, json.dumps(told)),
            )
        return state

    def _gather_event(self, event: EventRecord) -> None:
        put, kind = self._sql.execute, category_of(event.stream)
        put("insert or ignore into object values (?, ?)", (event.stream, kind))
        put(
            "insert or ignore into relation values (?, ?, ?)",
            (event.position, event.stream, "stream"),
        )
        attributes = self.event_types.setdefault(event.type, {})
        for name, value in self._values(event).items():
            _note(attributes, name, value)
        issue = place_of_issue(event.causation_id or "")
        if issue is None:
            return
        found = put(
            "select object from instance where process = ? and id = ?",
            (issue.process, issue.instance),
        ).fetchone()
        if found is None:
            return
        issuer = self._issuer(issue)
        command = next(
            (one[1] for one in (issuer.commands if issuer else ()) if one[0] == event.causation_id),
            "command",
        )
        put(
            "insert or ignore into relation values (?, ?, ?)",
            (event.position, found[0], f"caused by {command} of {issue.process}"),
        )
        if found[0] != event.stream:
            put("insert or ignore into sends values (?, ?, ?)", (found[0], event.stream, command))

    def _issuer(self, issue: Issue) -> TransitionRecord | None:
        """The transition that issued a command: where its instance lies, or elsewhere."""
        partition, stores = self._stores[0].partition, list(self._stores)
        if partition is not None:
            stores.insert(0, stores.pop(partition.of(issue.instance)))
        found = (
            one.stored_transition(issue.process, issue.instance, issue.version) for one in stores
        )
        return next((one for one in found if one is not None), None)

    def _records(self) -> Iterator[EventRecord]:
        """All events: of partitions by time, and within each by position."""
        logs = (self._log(number) for number in range(len(self._stores)))
        return merge(*logs, key=lambda event: event.time) if self.is_divided else next(logs)

    def _log(self, number: int) -> Iterator[EventRecord]:
        for event in self._stores[number].scan_log(self._after[number]):
            if event.position > self.last[number]:
                return
            if not event.sent_for:
                if self.is_divided:
                    event.position = event.position * len(self._stores) + number
                yield event

    def _values(self, event: EventRecord) -> dict[str, Any]:
        fields = masked(plain_map(event.data), self._registry.personal_fields(event.type))
        values = {
            name: scalar(value)
            for name, value in fields.items()
            if name not in _OWN and value is not None
        }
        number, values["position"] = self._whole.place_of(event.position)
        if self.is_divided:
            values["partition"] = number
        values["stream"] = event.stream
        values["data"] = text_of(fields)
        if event.headers:
            values["headers"] = text_of(plain_map(event.headers))
        values["correlation_id"] = event.correlation_id
        if event.causation_id:
            values["causation_id"] = event.causation_id
        return values

    # What there is

    @property
    def counts(self) -> tuple[int, int]:
        """How many events and objects there are to write."""
        [events] = self._sql.execute("select count(distinct position) from relation").fetchone()
        [objects] = self._sql.execute("select count(*) from object").fetchone()
        return events, objects

    def events(self) -> Iterator[StagedEvent]:
        """All events, in order of position; of a divided store by time, then by partition."""
        for event in self._records():
            staged = self._staged(event)
            if staged is not None:
                yield staged

    def _staged(self, event: EventRecord) -> StagedEvent | None:
        related = [
            Related(*row)
            for row in self._sql.execute(
                "select object, qualifier from relation where position = ? order by 1, 2",
                (event.position,),
            )
        ]
        if not related:
            return None
        number, position = self._whole.place_of(event.position)
        kinds = self.event_types[event.type]
        return StagedEvent(
            number if self.is_divided else None,
            position,
            event.event_id,
            event.type,
            time_of(event.time),
            {name: _as_declared(one, kinds[name]) for name, one in self._values(event).items()},
            related,
        )

    def objects(self) -> Iterator[tuple[str, str, list[Change], list[Related]]]:
        """All objects, with what became of them, and those that they sent commands to."""
        for name, kind in self._sql.execute("select id, type from object order by id"):
            kinds = self.object_types[kind]
            changes = [
                Change(attribute, time_of(time), _as_declared(json.loads(value), kinds[attribute]))
                for attribute, time, value in self._sql.execute(
                    "select name, time, value from change where object = ? order by time, rowid",
                    (name,),
                )
            ]
            related = [
                Related(*row)
                for row in self._sql.execute(
                    "select target, qualifier from sends where source = ? order by 1, 2", (name,)
                )
            ]
            yield name, kind, changes, related

    def events_of(self, name: str) -> Iterator[StagedEvent]:
        """The events of one object, in the order of `events`."""
        rows = self._sql.execute(
            "select distinct relation.position, sequence from relation left join place "
            "using (position) where object = ? order by sequence, 1",
            (name,),
        )
        for position, _ in rows:
            event = self._whole.event_at(position)
            assert event is not None
            staged = self._staged(event)
            assert staged is not None
            yield staged


def _note(attributes: dict[str, str], name: str, value: Any) -> None:
    """Note the kind of an attribute; of several kinds, all its values are text."""
    kind = _kind_of(value)
    before = attributes.setdefault(name, kind)
    if before != kind:
        attributes[name] = "float" if {before, kind} == {"integer", "float"} else "string"


def _kind_of(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    return "float" if isinstance(value, float) else "string"


def scalar(value: Any) -> Any:
    """A value as an attribute has it: what has parts, and a number that formats lack, as JSON."""
    if isinstance(value, int):
        return value if -_INTEGERS <= value < _INTEGERS else text_of(value)
    if isinstance(value, float):
        return value if isfinite(value) else text_of(value)
    if isinstance(value, bytes | datetime):
        return _other(value)
    return value if isinstance(value, str) else text_of(value)


def _as_declared(value: Any, kind: str) -> Any:
    """A value of an attribute, as text if some other value of it is."""
    return text_of(value) if kind == "string" and not isinstance(value, str) else value


def plain_map(packed: bytes) -> dict[str, Any]:
    """What is stored, as plain values; of what was erased, when it was."""
    time = erased_at(packed)
    if time is not None:
        return {"erased": time_of(time)}
    found: dict[str, Any] = msgspec.msgpack.decode(packed)
    return found


def text_of(value: Any) -> str:
    """A value as JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_other)


def _other(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} is not plain")


def time_of(micros: int) -> str:
    """A time as ISO 8601 has it, to the microsecond."""
    return from_micros(micros).isoformat(timespec="microseconds").replace("+00:00", "Z")
