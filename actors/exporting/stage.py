"""Which event belongs to which objects, and what became of these: gathered before it is written.

It is gathered in a scratch database, so memory is bounded however long the log is.
"""

from __future__ import annotations

import base64
import json
import sqlite3
import tempfile
from datetime import datetime
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import msgspec

from ..clock import from_micros
from ..messages.personal import masked
from ..store import PRUNED, category_of, erased_at, id_in_stream, place_of_issue

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from ..model.registry import Registry
    from ..store import EventRecord, Store, TransitionRecord

__all__ = ["Change", "Related", "Stage", "StagedEvent", "text_of"]

EVERY = 1_024

_SCHEMA = """
pragma journal_mode = off;
pragma synchronous = off;
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
        store: open for reading
        objects: the only types of objects, if not all
        after: events behind this position
        progress: is called with how many events were looked at, and of how many

    """

    def __init__(
        self,
        store: Store,
        objects: Collection[str] | None,
        after: int,
        progress: Callable[[int, int], object],
        registry: Registry,
    ) -> None:
        self._store, self._wanted, self._after = store, objects, after
        self._registry = registry
        self._progress = progress
        self._folder = tempfile.TemporaryDirectory(prefix="procession-export-")
        self._sql = sqlite3.connect(Path(self._folder.name) / "stage")
        self._sql.executescript(_SCHEMA)
        self.last = store.last_position()
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
        for event in self._records():
            self._gather_event(event)
            if not event.position % EVERY:
                self._progress(event.position - self._after, self.last - self._after)
        if self._wanted is not None:
            known = {kind for (kind,) in self._sql.execute("select distinct type from object")}
            for kind in known - set(self._wanted):
                self._sql.execute("delete from object where type = ?", (kind,))
            self._sql.execute("delete from relation where object not in (select id from object)")
            self._sql.execute(
                "delete from sends where source not in (select id from object) "
                "or target not in (select id from object)"
            )
        if self._wanted is not None or self._after:
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
        for kind, name in self._store.scan_names():
            yield name, kind == "process"

    def _gather_instances(self, process: str) -> None:
        put = self._sql.execute
        for instance, _ in self._store.scan_instances(process):
            before: dict[str, Any] = {}
            owner, kind = f"{process}-{instance}", process
            for one in self._store.scan_transitions(process, instance):
                if one.version == 1:
                    owner, kind = self._object_of(process, instance, one)
                    put("insert or ignore into object values (?, ?)", (owner, kind))
                    put(
                        "insert or ignore into instance values (?, ?, ?)",
                        (process, instance, owner),
                    )
                if self._after < one.position <= self.last:
                    put(
                        "insert or ignore into relation values (?, ?, ?)",
                        (one.position, owner, f"{process}.{one.handler}"),
                    )
                if one.cause != PRUNED and erased_at(one.state) is None:
                    before = self._gather_state(process, owner, kind, one, before)

    def _object_of(self, process: str, instance: str, first: TransitionRecord) -> tuple[str, str]:
        """What an instance is about: what the stream is that it began with, or itself."""
        event = self._store.event_at(first.position) if first.position else None
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
        issuer = self._store.stored_transition(issue.process, issue.instance, issue.version)
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

    def _records(self) -> Iterator[EventRecord]:
        for event in self._store.scan_log(self._after):
            if event.position > self.last:
                return
            if not event.sent_for:
                yield event

    def _values(self, event: EventRecord) -> dict[str, Any]:
        fields = masked(plain_map(event.data), self._registry.personal_fields(event.type))
        values = {
            name: scalar(value)
            for name, value in fields.items()
            if name not in _OWN and value is not None
        }
        values["position"] = event.position
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
        """All events, in order of position."""
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
        kinds = self.event_types[event.type]
        return StagedEvent(
            event.position,
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
        """The events of one object, in order of position."""
        for (position,) in self._sql.execute(
            "select distinct position from relation where object = ? order by 1", (name,)
        ):
            event = self._store.event_at(position)
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
