"""Rules of OCEL 2.0 for its three formats, and where each is from.

From the pages of the standard, https://www.ocel-standard.org/specification/formats/ (`json`, `xml`,
`sqlite`), as read in November 2026: the members, elements, attributes and tables of their examples;
the types of attributes; that times are as ISO 8601 has them; and how a boolean is spelt, which is
`true` and `false` in JSON, `1` and `0` in XML and in SQLite.

From the schema files that pm4py carries, which are not copied here: which members of JSON have to
be there. Where these are narrower than the pages, as in taking text only for values, or know other
names, as the XML's for a relationship, the pages are followed; `qualifier`, which the XML's example
calls `relationship`, is as in the logs that the standard publishes.

From pm4py's check of SQLite files: the primary and foreign keys. The pages' example has none.

From the schema file for XML that pm4py carries: that ids and types are there once, and that types
and objects that are named are there. That times have a zone, and that nothing is there which no
rule names, are rules of our own.
"""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from contextlib import closing
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal
from xml.etree import ElementTree as ET

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Kind = Literal["string", "time", "integer", "float", "boolean"]


class _Strict(msgspec.Struct, forbid_unknown_fields=True):
    """What says nothing more than this."""


class _Attribute(_Strict):
    name: str
    type: Kind


class _Type(_Strict):
    name: str
    attributes: list[_Attribute]


class _Relationship(_Strict):
    objectId: str  # noqa: N815 - as the format spells it
    qualifier: str


class _Value(_Strict):
    name: str
    value: str | int | float | bool


class _Changed(_Strict):
    name: str
    value: str | int | float | bool
    time: datetime


class _Object(_Strict):
    id: str
    type: str
    attributes: list[_Changed] = []
    relationships: list[_Relationship] = []


class _Event(_Strict):
    id: str
    type: str
    time: datetime
    attributes: list[_Value] = []
    relationships: list[_Relationship] = []


class Log(_Strict):
    """A log as JSON has it."""

    objectTypes: list[_Type]  # noqa: N815 - as the format spells it
    eventTypes: list[_Type]  # noqa: N815 - as above
    objects: list[_Object]
    events: list[_Event]


_FITS: dict[Kind, tuple[type, ...]] = {
    "string": (str,),
    "time": (str,),
    "integer": (int,),
    "float": (int, float),
    "boolean": (bool,),
}


def broken_in_json(path: Path) -> list[str]:
    """What breaks a rule; what has another shape raises `msgspec.ValidationError`."""
    log = msgspec.json.decode(path.read_bytes(), type=Log)
    said = [*_named_twice("object", (one.id for one in log.objects))]
    said += _named_twice("event", (one.id for one in log.events))
    objects = {one.id for one in log.objects}
    sides: tuple[tuple[list[_Type], list[Any]], ...] = (
        (log.objectTypes, log.objects),
        (log.eventTypes, log.events),
    )
    for types, ones in sides:
        said += _named_twice("type", (one.name for one in types))
        kinds = {one.name: {each.name: each.type for each in one.attributes} for one in types}
        for one in ones:
            if one.type not in kinds:
                said.append(f"{one.id}: the type {one.type} is declared nowhere")
                continue
            for value in one.attributes:
                kind = kinds[one.type].get(value.name)
                if kind is None or type(value.value) not in _FITS[kind]:
                    said.append(f"{one.id}: {value.name} is {value.value!r}, declared as {kind}")
            said += [
                f"{one.id}: {each.objectId} is no object"
                for each in one.relationships
                if each.objectId not in objects
            ]
    return said


def _named_twice(what: str, names: Iterator[str]) -> list[str]:
    return [f"{what} {name}, {count} times" for name, count in Counter(names).items() if count > 1]


_ELEMENTS: dict[str, tuple[set[str], tuple[str, ...]]] = {
    "log": (set(), ("object-types", "event-types", "objects", "events")),
    "log/object-types": (set(), ("object-type",)),
    "log/event-types": (set(), ("event-type",)),
    "object-types/object-type": ({"name"}, ("attributes",)),
    "event-types/event-type": ({"name"}, ("attributes",)),
    "object-type/attributes": (set(), ("attribute",)),
    "event-type/attributes": (set(), ("attribute",)),
    "log/objects": (set(), ("object",)),
    "log/events": (set(), ("event",)),
    "objects/object": ({"id", "type"}, ("attributes", "objects")),
    "events/event": ({"id", "type", "time"}, ("attributes", "objects")),
    "object/attributes": (set(), ("attribute",)),
    "event/attributes": (set(), ("attribute",)),
    "object/objects": (set(), ("relationship",)),
    "event/objects": (set(), ("relationship",)),
    "objects/relationship": ({"object-id", "qualifier"}, ()),
}
"""By the element and the one around it: its attributes, and what may be in it."""

_OF_ATTRIBUTES = {
    "object-type": {"name", "type"},
    "event-type": {"name", "type"},
    "object": {"name", "time"},
    "event": {"name"},
}


_SPELT = {
    "string": re.compile(".*", re.DOTALL),
    "integer": re.compile(r"-?\d+"),
    "float": re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?"),
    "boolean": re.compile("[01]"),
}


def broken_in_xml(path: Path) -> list[str]:
    """What breaks a rule: elements and their attributes, and objects that are not there."""
    root = ET.parse(path).getroot()
    said = list(_broken_element(root, "", ""))
    for what in ("object", "event"):
        declared = {
            (kind.get("name"), one.get("name")): one.get("type")
            for kind in root.iterfind(f"{what}-types/{what}-type")
            for one in kind.iter("attribute")
        }
        said += [
            f"{each.get('name')} is {each.text!r}, declared as {kind}"
            for one in root.iterfind(f"{what}s/{what}")
            for each in one.iter("attribute")
            for kind in [declared.get((one.get("type"), each.get("name")))]
            if kind is None or not _SPELT[kind].fullmatch(each.text or "")
        ]
    objects = {one.get("id") for one in root.iterfind("objects/object")}
    said += [
        f"{one.get('object-id')} is no object"
        for one in root.iter("relationship")
        if one.get("object-id") not in objects
    ]
    for one in root.iter():
        if "time" in one.attrib:
            assert datetime.fromisoformat(one.attrib["time"]).tzinfo is not None
    return said


def _broken_element(element: ET.Element, around: str, beyond: str) -> Iterator[str]:
    tag = element.tag
    needed: set[str]
    inside: tuple[str, ...]
    if tag == "attribute":
        needed, inside = _OF_ATTRIBUTES[beyond], ()
    else:
        place = f"{around}/{tag}".strip("/")
        if place not in _ELEMENTS:
            yield f"{place} is no element"
            return
        needed, inside = _ELEMENTS[place]
    if set(element.attrib) != needed:
        yield f"{tag} has {sorted(element.attrib)}, and needs {sorted(needed)}"
    for one in element:
        if one.tag not in inside:
            yield f"{one.tag} in {tag}"
        else:
            yield from _broken_element(one, tag, around)


_COLUMN_TYPES = {"text", "timestamp", "integer", "real", "boolean"}

_KEYS: dict[str, tuple[set[str], set[tuple[str, str, str]]]] = {
    "event_map_type": ({"ocel_type"}, set()),
    "object_map_type": ({"ocel_type"}, set()),
    "event": ({"ocel_id"}, {("ocel_type", "event_map_type", "ocel_type")}),
    "object": ({"ocel_id"}, {("ocel_type", "object_map_type", "ocel_type")}),
    "event_object": (
        {"ocel_event_id", "ocel_object_id", "ocel_qualifier"},
        {("ocel_event_id", "event", "ocel_id"), ("ocel_object_id", "object", "ocel_id")},
    ),
    "object_object": (
        {"ocel_source_id", "ocel_target_id", "ocel_qualifier"},
        {("ocel_source_id", "object", "ocel_id"), ("ocel_target_id", "object", "ocel_id")},
    ),
}
"""By the table: its primary key, and what it refers to."""


def broken_in_sqlite(path: Path) -> list[str]:
    """What breaks a rule: tables, keys, and rows that refer to nothing."""
    with closing(sqlite3.connect(path)) as sql:
        rules = dict(_KEYS)
        for what in ("event", "object"):
            for (name,) in sql.execute(f"select ocel_type_map from {what}_map_type"):
                key = {"ocel_id"} if what == "event" else set()
                rules[f"{what}_{name}"] = (key, {("ocel_id", what, "ocel_id")})
        tables = {
            name for (name,) in sql.execute("select name from sqlite_schema where type = 'table'")
        }
        said = [f"the tables are {sorted(tables)}"] * (tables != set(rules))
        for table, (key, refers) in rules.items():
            columns = sql.execute(f'pragma table_info("{table}")').fetchall()
            kinds = {column[2].lower() for column in columns}
            said += [f"{table} has columns of {one}" for one in kinds - _COLUMN_TYPES]
            found = {name for _, name, _, _, _, place in columns if place}
            if found != key:
                said.append(f"{table} has the key {sorted(found)}")
            to = {
                (row[3], row[2], row[4])
                for row in sql.execute(f'pragma foreign_key_list("{table}")')
            }
            if to != refers:
                said.append(f"{table} refers to {sorted(to)}")
        said += [str(row) for row in sql.execute("pragma foreign_key_check")]
    return said
