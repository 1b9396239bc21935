"""OCEL 2.0: object-centric event logs, as JSON, XML and SQLite."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from typing import IO, TYPE_CHECKING, Any, NamedTuple
from xml.sax.saxutils import escape, quoteattr

from ..errors import InvalidMessage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from .stage import Related, Stage

__all__ = ["write_json", "write_sqlite", "write_xml"]

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_json(stage: Stage, target: Path) -> None:
    """As the JSON format has it."""
    with target.open("w", encoding="utf-8") as file:
        file.write("{")
        _write_list(file, "objectTypes", _types(stage.object_types))
        file.write(",\n")
        _write_list(file, "eventTypes", _types(stage.event_types))
        file.write(",\n")
        _write_list(
            file,
            "objects",
            (
                {
                    "id": name,
                    "type": kind,
                    "attributes": [one._asdict() for one in changes],
                    "relationships": _relationships(related),
                }
                for name, kind, changes, related in stage.objects()
            ),
        )
        file.write(",\n")
        _write_list(
            file,
            "events",
            (
                {
                    "id": event.id,
                    "type": event.type,
                    "time": event.time,
                    "attributes": [
                        {"name": name, "value": value} for name, value in event.values.items()
                    ],
                    "relationships": _relationships(event.related),
                }
                for event in stage.events()
            ),
        )
        file.write("}\n")


def _types(types: dict[str, dict[str, str]]) -> Iterator[dict[str, Any]]:
    for name, attributes in types.items():
        yield {
            "name": name,
            "attributes": [{"name": one, "type": kind} for one, kind in attributes.items()],
        }


def _relationships(related: list[Related]) -> list[dict[str, str]]:
    return [{"objectId": one.object, "qualifier": one.qualifier} for one in related]


def _write_list(file: IO[str], name: str, values: Iterable[object]) -> None:
    file.write(f'"{name}":[')
    for number, value in enumerate(values):
        file.write(",\n" if number else "\n")
        file.write(json.dumps(value, ensure_ascii=False, separators=(",", ":")))
    file.write("]")


class XmlWriter:
    """Elements, one after the other.

    Args:
        file: open for text

    """

    def __init__(self, file: IO[str]) -> None:
        self._write = file.write
        self._write('<?xml version="1.0" encoding="utf-8"?>\n')

    def begin(self, tag: str, **attributes: str) -> None:
        """The start of an element; ``_`` in names stands for ``-``, in front it is left out."""
        self._write(f"<{tag}{_attributes(attributes)}>")

    def end(self, tag: str) -> None:
        """Its end."""
        self._write(f"</{tag}>")

    def whole(self, tag: str, text: str = "", **attributes: str) -> None:
        """An element with text in it."""
        # A bare carriage return would be read as the end of a line.
        inside = escape(_fit(text), {"\r": "&#13;"})
        begun = f"<{tag}{_attributes(attributes)}"
        self._write(f"{begun}>{inside}</{tag}>" if inside else f"{begun}/>")


def _attributes(attributes: dict[str, str]) -> str:
    return "".join(
        f" {name.strip('_').replace('_', '-')}={quoteattr(_fit(value))}"
        for name, value in attributes.items()
    )


def _fit(text: str) -> str:
    """Text as XML can say it: some characters it has no way to."""
    return _NO_XML.sub("\ufffd", text)


def sayable(*names: str | None) -> None:
    """Refuse names and ids that could not be told from others in XML.

    Raises:
        InvalidMessage: one has a character that XML cannot say

    """
    for name in names:
        if name is not None and _NO_XML.search(name):
            raise InvalidMessage(
                f"{name!r} has a character that XML cannot say; export to a format that is no XML"
            )


def _as_text(value: Any) -> str:
    """A value as OCEL 2.0 has it in XML."""
    return str(int(value) if isinstance(value, bool) else value)


def write_xml(stage: Stage, target: Path) -> None:
    """As the XML format has it."""
    with target.open("w", encoding="utf-8") as file:
        xml = XmlWriter(file)
        xml.begin("log")
        _write_types(xml, "object", stage.object_types)
        _write_types(xml, "event", stage.event_types)
        xml.begin("objects")
        for name, kind, changes, related in stage.objects():
            sayable(name)
            xml.begin("object", id=name, type=kind)
            xml.begin("attributes")
            for one in changes:
                xml.whole("attribute", _as_text(one.value), name=one.name, time=one.time)
            xml.end("attributes")
            _write_related(xml, related)
            xml.end("object")
        xml.end("objects")
        xml.begin("events")
        for event in stage.events():
            sayable(*event.names)
            xml.begin("event", id=event.id, type=event.type, time=event.time)
            xml.begin("attributes")
            for attribute, value in event.values.items():
                xml.whole("attribute", _as_text(value), name=attribute)
            xml.end("attributes")
            _write_related(xml, event.related)
            xml.end("event")
        xml.end("events")
        xml.end("log")


def _write_types(xml: XmlWriter, what: str, types: dict[str, dict[str, str]]) -> None:
    xml.begin(f"{what}-types")
    for name, attributes in types.items():
        xml.begin(f"{what}-type", name=name)
        xml.begin("attributes")
        for attribute, kind in attributes.items():
            xml.whole("attribute", name=attribute, type=kind)
        xml.end("attributes")
        xml.end(f"{what}-type")
    xml.end(f"{what}-types")


def _write_related(xml: XmlWriter, related: list[Related]) -> None:
    xml.begin("objects")
    for one in related:
        xml.whole("relationship", object_id=one.object, qualifier=one.qualifier)
    xml.end("objects")


_COLUMNS = {"string": "text", "integer": "integer", "float": "real", "boolean": "boolean"}

_TABLES = """
pragma journal_mode = off;
create table event_map_type (ocel_type text primary key, ocel_type_map text not null);
create table object_map_type (ocel_type text primary key, ocel_type_map text not null);
create table event (
    ocel_id text primary key, ocel_type text not null references event_map_type (ocel_type)
);
create table object (
    ocel_id text primary key, ocel_type text not null references object_map_type (ocel_type)
);
create table event_object (
    ocel_event_id text references event (ocel_id),
    ocel_object_id text references object (ocel_id),
    ocel_qualifier text,
    primary key (ocel_event_id, ocel_object_id, ocel_qualifier)
);
create table object_object (
    ocel_source_id text references object (ocel_id),
    ocel_target_id text references object (ocel_id),
    ocel_qualifier text,
    primary key (ocel_source_id, ocel_target_id, ocel_qualifier)
);
"""


class _Table(NamedTuple):
    """The table of a type: its name, and its columns by attribute."""

    name: str
    columns: dict[str, str]


_OF_EVENT = ("ocel_id", "ocel_time")
_OF_OBJECT = (*_OF_EVENT, "ocel_changed_field")
_TAKEN = ("map_type", "object")
"""What no table of a type can be called behind `event_` and `object_`."""


def write_sqlite(stage: Stage, target: Path) -> None:
    """As the relational format has it."""
    target.unlink(missing_ok=True)
    with closing(sqlite3.connect(target)) as sql:
        sql.executescript(_TABLES)
        objects = _tables(sql, "object", stage.object_types, _OF_OBJECT)
        events = _tables(sql, "event", stage.event_types, _OF_EVENT)
        for name, kind, changes, related in stage.objects():
            sql.execute("insert into object values (?, ?)", (name, kind))
            for one in changes:
                column = objects[kind].columns[one.name]
                row = {"ocel_id": name, "ocel_time": one.time, "ocel_changed_field": column}
                _insert(sql, objects[kind], row | {column: one.value})
            if not changes:
                row = {"ocel_id": name, "ocel_time": "1970-01-01T00:00:00Z"}
                _insert(sql, objects[kind], row)
            for each in related:
                sql.execute("insert into object_object values (?, ?, ?)", (name, *each))
        for event in stage.events():
            sql.execute("insert into event values (?, ?)", (event.id, event.type))
            columns = events[event.type].columns
            values = {columns[attribute]: value for attribute, value in event.values.items()}
            row = {"ocel_id": event.id, "ocel_time": event.time}
            _insert(sql, events[event.type], row | values)
            for each in event.related:
                sql.execute("insert into event_object values (?, ?, ?)", (event.id, *each))
        sql.commit()


def _tables(
    sql: sqlite3.Connection, what: str, types: dict[str, dict[str, str]], own: tuple[str, ...]
) -> dict[str, _Table]:
    """A table for each type, by type."""
    shorts = _told_apart((re.sub(r"\W", "_", kind) for kind in types), _TAKEN)
    tables: dict[str, _Table] = {}
    for (kind, attributes), short in zip(types.items(), shorts, strict=True):
        columns = dict(zip(attributes, _told_apart(attributes, own), strict=True))
        table = tables[kind] = _Table(f"{what}_{short}", columns)
        # An object has a row for each change, an event has one.
        key = "primary key " * (what == "event")
        said = [f"ocel_id text {key}references {what} (ocel_id)", "ocel_time timestamp"]
        said += [f"{name} text" for name in own[2:]]
        said += [f"{_quoted(columns[one])} {_COLUMNS[of]}" for one, of in attributes.items()]
        sql.execute(f"create table {_quoted(table.name)} ({', '.join(said)})")
        sql.execute(f"insert into {what}_map_type values (?, ?)", (kind, short))  # noqa: S608
    return tables


def _told_apart(names: Iterable[str], taken: Iterable[str]) -> list[str]:
    """Names as SQLite tells them apart, which looks at no capitals; those that are taken too."""
    known, found = {one.lower() for one in taken}, []
    for one in names:
        name = one
        while name.lower() in known:
            name += "_"
        known.add(name.lower())
        found.append(name)
    return found


def _insert(sql: sqlite3.Connection, table: _Table, row: dict[str, Any]) -> None:
    columns = ", ".join(map(_quoted, row))
    places = ", ".join("?" * len(row))
    sql.execute(
        f"insert into {_quoted(table.name)} ({columns}) values ({places})",  # noqa: S608 - quoted
        list(row.values()),
    )


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
