"""Logs by readers that know nothing of this library: what an import of them has to come to."""

from __future__ import annotations

import gzip
import json
import sqlite3
from collections import defaultdict
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["PlainEvent", "plain_events"]


class PlainEvent(NamedTuple):
    """An event as its log has it; objects by their type, in the order of the log.

    Attributes of its case have `case:` before their names.
    """

    id: str
    type: str
    time: datetime
    values: dict[str, Any]
    objects: dict[str, list[str]]


def plain_events(path: Path) -> list[PlainEvent]:
    """All events of a log, in order of time; those of one time in the order of the log."""
    name = path.name.removesuffix(".gz")
    for suffix, read in _READ.items():
        if name.endswith(suffix):
            return sorted(read(path), key=lambda one: one.time)
    raise ValueError(f"{path} is of no format that is known here")


def _moment(said: str) -> datetime:
    found = datetime.fromisoformat(said)
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)


_VALUES: dict[str, Any] = {
    "string": str,
    "id": str,
    "date": datetime.fromisoformat,
    "int": int,
    "float": float,
    "boolean": lambda said: said.lower() in {"true", "1"},
}


def _xes(path: Path) -> Iterator[PlainEvent]:
    number = 0
    with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
        for _, element in ET.iterparse(file):
            if _tag(element) != "trace":
                continue
            case = _told(element)
            for one in element:
                if _tag(one) != "event":
                    continue
                number += 1
                values = _told(one)
                yield PlainEvent(
                    f"{path.name}#{number}",
                    str(values["concept:name"]),
                    _moment(str(values["time:timestamp"])),
                    {f"case:{key}": value for key, value in case.items()} | values,
                    {},
                )
            element.clear()


def _tag(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]


def _told(element: ET.Element) -> dict[str, Any]:
    return {
        one.get("key", ""): _VALUES[_tag(one)](one.get("value"))
        for one in element
        if _tag(one) in _VALUES
    }


def _ocel_json(path: Path) -> Iterator[PlainEvent]:
    log = json.loads(path.read_text())
    types = {one["id"]: one["type"] for one in log["objects"]}
    for one in log["events"]:
        related = (each["objectId"] for each in one.get("relationships", ()))
        values = {each["name"]: each["value"] for each in one.get("attributes", ())}
        yield _event(one["id"], one["type"], one["time"], values, related, types)


def _ocel_xml(path: Path) -> Iterator[PlainEvent]:
    root = ET.parse(path).getroot()
    types = {one.get("id", ""): one.get("type", "") for one in root.iterfind("objects/object")}
    booleans = {
        (kind.get("name"), one.get("name"))
        for kind in root.iterfind("event-types/event-type")
        for one in kind.iter("attribute")
        if one.get("type") == "boolean"
    }
    for one in root.iterfind("events/event"):
        kind = one.get("type", "")
        values = {
            each.get("name", ""): each.text in {"1", "true"}
            if (kind, each.get("name")) in booleans
            else each.text
            for each in one.iterfind("attributes/attribute")
        }
        related = (each.get("object-id", "") for each in one.iterfind("objects/*"))
        yield _event(one.get("id", ""), kind, one.get("time", ""), values, related, types)


def _ocel_sqlite(path: Path) -> Iterator[PlainEvent]:
    with closing(sqlite3.connect(path)) as sql:
        sql.row_factory = sqlite3.Row
        types = {one["ocel_id"]: one["ocel_type"] for one in sql.execute("select * from object")}
        related: defaultdict[str, list[str]] = defaultdict(list)
        for one in sql.execute("select * from event_object"):
            related[one["ocel_event_id"]].append(one["ocel_object_id"])
        for kind, table in sql.execute("select * from event_map_type").fetchall():
            columns = sql.execute(f'pragma table_info("event_{table}")').fetchall()
            booleans = {one["name"] for one in columns if one["type"].lower() == "boolean"}
            for row in sql.execute(f'select * from "event_{table}"'):
                values: dict[str, Any] = {
                    name: bool(value) if name in booleans and value is not None else value
                    for name, value in dict(row).items()
                }
                name, time = values.pop("ocel_id"), values.pop("ocel_time")
                yield _event(name, kind, time, values, related[name], types)


def _event(
    name: str, kind: str, time: str, values: dict[str, Any], related: Any, types: dict[str, str]
) -> PlainEvent:
    objects: dict[str, list[str]] = {}
    for one in dict.fromkeys(related):
        objects.setdefault(types[one], []).append(one)
    return PlainEvent(name, kind, _moment(time), values, objects)


_READ = {
    ".xes": _xes,
    ".jsonocel": _ocel_json,
    ".xmlocel": _ocel_xml,
    ".sqlite": _ocel_sqlite,
}
