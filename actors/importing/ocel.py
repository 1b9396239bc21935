"""Events of OCEL 2.0 logs as rows: JSON, XML and SQLite.

A row has the event's `id`, `type` and `time`, its attributes by their names, and, for each type of
objects, the ids of those that it has to do with as `object:TYPE`: text if it is one, a list if
there are several.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import IO, TYPE_CHECKING, Any

from .files_opened import opened
from .xml_events import xml_events

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from .files_opened import Row

__all__ = ["json_rows", "sqlite_rows", "xml_rows"]

CHUNK = 1 << 20

_BOOLEANS = {"1": True, "true": True, "0": False, "false": False}


def _row(event: Row, related: Iterable[tuple[str, str]]) -> Row:
    """An event with its objects, each told as its type and its id."""
    found: dict[str, list[str]] = {}
    for kind, name in dict.fromkeys(related):
        found.setdefault(f"object:{kind}", []).append(name)
    return event | {name: one[0] if len(one) == 1 else one for name, one in found.items()}


def json_rows(path: Path) -> Iterator[Row]:
    """Of the JSON format.

    Raises:
        ValueError: it is not as OCEL 2.0 has it

    """
    with opened(path, "rt") as file:
        types = {str(one["id"]): str(one["type"]) for one in _items(file, "objects")}
    with opened(path, "rt") as file:
        for event in _items(file, "events"):
            row = {"id": event["id"], "type": event["type"], "time": event["time"]}
            for one in event.get("attributes") or ():
                row.setdefault(one["name"], one["value"])
            related = [str(one["objectId"]) for one in event.get("relationships") or ()]
            yield _row(row, ((types.get(one, "?"), one) for one in related))


def _items(file: IO[str], wanted: str) -> Iterator[dict[str, Any]]:
    """What a list holds that stands in a JSON object under a name, one at a time."""
    text, is_there = _Text(file), False
    text.take("{")
    while not text.takes("}"):
        name = text.value()
        text.take(":")
        is_there = is_there or name == wanted
        if not text.takes("["):
            text.value()
        elif not text.takes("]"):
            while True:
                value = text.value()
                if name == wanted:
                    if not isinstance(value, dict):
                        raise ValueError(f"{wanted} holds what is no object")
                    yield value
                if text.takes("]"):
                    break
                text.take(",")
        if not text.takes(","):
            text.take("}")
            break
    if not is_there:
        raise ValueError(
            f"it has no {wanted}, as logs of OCEL 2.0 have; a log of OCEL 1.0 has to be converted"
        )


class _Text:
    """JSON that is read as far as it is asked for."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._text, self._place, self._is_whole = "", 0, False
        self._decode = json.JSONDecoder().raw_decode

    def takes(self, mark: str) -> bool:
        """Go past a mark, if it comes next."""
        while True:
            while self._place < len(self._text) and self._text[self._place] in " \t\r\n":
                self._place += 1
            if self._place < len(self._text):
                break
            if not self._more():
                raise ValueError("the file ends too early")
        is_next = self._text[self._place] == mark
        self._place += is_next
        return is_next

    def take(self, mark: str) -> None:
        """Go past a mark, which has to come next."""
        if not self.takes(mark):
            raise ValueError(f"{self._text[self._place]!r} stands where {mark!r} has to")

    def value(self) -> Any:
        """The value that comes next."""
        self.takes("\0")
        while True:
            try:
                found, end = self._decode(self._text, self._place)
            except ValueError:
                if not self._more():
                    raise
                continue
            # A number may go on.
            if end < len(self._text) or not self._more():
                self._place = end
                return found

    def _more(self) -> bool:
        read = "" if self._is_whole else self._file.read(max(CHUNK, len(self._text) - self._place))
        self._is_whole = not read
        self._text, self._place = self._text[self._place :] + read, 0
        return bool(read)


def xml_rows(path: Path) -> Iterator[Row]:
    """Of the XML format."""
    types: dict[str, str] = {}
    booleans: set[tuple[str, str]] = set()
    kind = None
    for is_start, tag, attributes, _ in xml_events(path):
        if tag == "event-type":
            kind = attributes["name"] if is_start else None
        elif not is_start:
            continue
        elif tag == "object" and "id" in attributes:
            types[attributes["id"]] = attributes.get("type", "?")
        elif kind is not None and tag == "attribute" and attributes["type"] == "boolean":
            booleans.add((kind, attributes["name"]))
    row: Row | None = None
    related: list[str] = []
    for is_start, tag, attributes, text in xml_events(path):
        if is_start and tag == "event":
            row = {name: attributes[name] for name in ("id", "type", "time")}
            related = []
        elif row is None:
            continue
        elif is_start and "object-id" in attributes:
            # The standard's pages call it a relationship, and its schema an object.
            related.append(attributes["object-id"])
        elif not is_start and tag == "attribute":
            name, value = attributes["name"], text or None
            is_boolean = value is not None and (row["type"], name) in booleans
            row.setdefault(name, _boolean(value) if is_boolean else value)
        elif not is_start and tag == "event":
            yield _row(row, ((types.get(one, "?"), one) for one in related))
            row = None


def _boolean(said: Any) -> Any:
    """What is declared as boolean, which is not spelt alike everywhere; as it is if it is none."""
    return _BOOLEANS.get(str(said).lower(), said)


_RELATED = """
create temp table of_event as
    select ocel_event_id as event, coalesce(ocel_type, '?') as type, ocel_object_id as id
    from event_object left join object on ocel_object_id = ocel_id;
create index temp.by_event on of_event (event);
"""


def sqlite_rows(path: Path) -> Iterator[Row]:
    """Of the relational format."""
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as sql:
        sql.row_factory = sqlite3.Row
        try:
            yield from _sqlite_rows(sql)
        except sqlite3.Error as error:
            raise ValueError(f"it is no OCEL 2.0 database: {error}") from error


def _sqlite_rows(sql: sqlite3.Connection) -> Iterator[Row]:
    # Few files have an index for this, and without one each event would read the whole table.
    sql.executescript(_RELATED)
    for kind, table in sql.execute("select ocel_type, ocel_type_map from event_map_type"):
        quoted = '"event_' + str(table).replace('"', '""') + '"'
        booleans = {
            name
            for _, name, said, *_ in sql.execute(f"pragma table_info({quoted})")
            if said.lower() in {"boolean", "bool"}
        }
        for one in sql.execute(f"select * from {quoted}"):  # noqa: S608 - quoted
            values = dict(one)
            row = {"id": values.pop("ocel_id"), "type": kind, "time": values.pop("ocel_time")}
            for name, value in values.items():
                row.setdefault(name, _boolean(value) if name in booleans else value)
            related = sql.execute("select type, id from of_event where event = ?", (row["id"],))
            yield _row(row, (tuple(each) for each in related))
