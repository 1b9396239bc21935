"""Small logs of the kinds that real ones are of, made by number: nothing of them is copied."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape, quoteattr

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

__all__ = ["OBJECT_LOGS", "XES_LOGS", "write_objects", "write_xes"]

START = datetime(2018, 2, 27, 22, tzinfo=timezone(timedelta(hours=1)))

Step = tuple[str, float, dict[str, Any]]
"""What happened, on which day, and what is known of it."""


def _at(days: float) -> datetime:
    return START + timedelta(days=days)


# Cases


def _months() -> Iterable[list[Step]]:
    """Fines that are paid at once, late, or after a penalty; some never."""
    for number in range(8):
        steps: list[Step] = [("Create Fine", number, {"amount": 35.5 + number})]
        for what, days in (("Send Fine", 60), ("Add penalty", 150), ("Payment", 155 + 40 * number)):
            steps.append((what, number + days, {"points": number}))
        yield steps[: 2 + number % 3]


def _ping_pong() -> Iterable[list[Step]]:
    """Tickets that two teams hand to one another."""
    for number in range(4):
        steps = ["Open", *["Second line", "First line"] * number, "Close"]
        yield [
            (
                what,
                number + place / 24,
                {"org:group": f"G{place % 2}", "support team": f"T{place % 3}"},
            )
            for place, what in enumerate(steps)
        ]


def _intervals() -> Iterable[list[Step]]:
    """Steps that have a start and an end, some of which overlap."""
    for number in range(3):
        yield [
            (what, number + end, {"start_timestamp": _at(number + start)})
            for what, start, end in (("pick", 0.1, 0.5), ("pack", 0.2, 0.4), ("ship", 0.5, 0.5))
        ]


def _same_moment() -> Iterable[list[Step]]:
    """Days without times of day: several steps of one case, and of all cases, are of one moment."""
    for _ in range(3):
        yield [
            (what, day, {}) for day in range(2) for what in ("Start trip", "End trip", "Start trip")
        ]


def _missing() -> Iterable[list[Step]]:
    """Attributes that some have, some have not, and some have as no number or as empty text."""
    for number in range(4):
        some: dict[str, Any] = {"dismissal": "NIL"} if number % 2 else {}
        yield [
            ("Register", number, {**some, "expense": float("nan") if number == 1 else 3.25}),
            ("Register", number + 1, {"note": "", "expense": 1.0}),
        ]


def _values() -> Iterable[list[Step]]:
    """Values of all types, keys and texts with what files have to escape."""
    text = 'a "quoted"\r\n\tline; <b>&amp;, ü \u2028 \U0001f600'
    for number in range(3):
        known = {
            "flag": bool(number % 2),
            "due": _at(number).astimezone(UTC),
            "Key <&> é": text,
            "big": (1 << 62) + number,
            "ratio": -1e-7 * number,
        }
        yield [("Say <\"&'>", number, known), ("ü\n", number + 0.5, {})]


XES_LOGS: dict[str, Callable[[], Iterable[list[Step]]]] = {
    "months": _months,
    "ping-pong": _ping_pong,
    "intervals": _intervals,
    "same moment": _same_moment,
    "missing": _missing,
    "values": _values,
}
"""Cases, by kind of log."""

_TAGS = {bool: "boolean", int: "int", float: "float", datetime: "date"}


def write_xes(path: Path, cases: Iterable[list[Step]]) -> None:
    """Write cases, with attributes inside of others and lists, which no row has."""
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(
            '<?xml version="1.0" encoding="utf-8"?>\n<log xmlns="http://www.xes-standard.org/">'
        )
        file.write('<global scope="event"><string key="concept:name" value="?"/></global>')
        for number, case in enumerate(cases):
            file.write(f"<trace>{_attribute('concept:name', f'Case {number}')}")
            file.write(_attribute("weight", number))
            for what, days, known in case:
                file.write(f"<event>{_attribute('concept:name', what)}")
                file.write(_attribute("time:timestamp", _at(days)))
                file.write("".join(_attribute(*one) for one in known.items()))
                file.write(
                    '<list key="parts"><values><string key="part" value="x"/></values></list>'
                )
                file.write('<string key="outer" value="o"><int key="inner" value="1"/></string>')
                file.write("</event>\n")
            file.write("</trace>\n")
        file.write("</log>")


def _attribute(key: str, value: Any) -> str:
    tag = _TAGS.get(type(value), "string")
    said = value.isoformat() if isinstance(value, datetime) else str(value)
    said = said.lower() if isinstance(value, bool) else said
    return f"<{tag} key={quoteattr(key)} value={quoteattr(said)}/>"


# Objects

Happened = tuple[str, float, dict[str, Any], list[str]]
"""What happened, on which day, what is known of it, and its objects, as `TYPE NUMBER`."""


def _many_objects() -> Iterable[Happened]:
    """Orders whose items leave in parcels, with those of other orders."""
    for order in range(4):
        items = [f"item {order}{one}" for one in range(3)]
        yield (
            "place order",
            order,
            {"price": 1.5, "express": order % 2 == 0},
            [f"order {order}", *items],
        )
    for parcel in range(3):
        items = [f"item {order}{parcel}" for order in range(4)]
        orders = [f"order {order}" for order in range(4)]
        yield "send parcel", 7 + parcel, {"weight": parcel}, [f"parcel {parcel}", *items, *orders]
    yield "stocktake", 100, {}, []


def _documents() -> Iterable[Happened]:
    """A purchase with requisition, order, goods and invoice, each a document of its own."""
    for number in range(3):
        papers = [
            f"{one} {number}" for one in ("requisition", "purchase order", "goods", "invoice")
        ]
        for place, paper in enumerate(papers):
            yield (
                f"create {paper[:-2]}",
                place,
                {"by": "Mike"},
                papers[max(0, place - 1) : place + 1],
            )
        yield "block invoice", 5, {"reason": None}, [papers[3]]
        yield "pay", 5, {"blocked": False}, papers


OBJECT_LOGS: dict[str, Callable[[], Iterable[Happened]]] = {
    "many objects": _many_objects,
    "documents": _documents,
}
"""Events with objects, by kind of log."""

_KINDS = {bool: "boolean", int: "integer", float: "float", str: "string", type(None): "string"}


def write_objects(path: Path, happened: Iterable[Happened]) -> None:
    """Write events with their objects, which change and have to do with one another.

    The name of the file says which format of OCEL 2.0 it is to have.
    """
    events = list(happened)
    {".jsonocel": _write_json, ".xmlocel": _write_xml, ".sqlite": _write_sqlite}[path.suffix](
        path, events, sorted({one for *_, objects in events for one in objects})
    )


def _kind(name: str) -> str:
    return name.rpartition(" ")[0]


def _types(events: list[Happened]) -> dict[str, dict[str, str]]:
    types: dict[str, dict[str, str]] = {}
    for what, _, known, _ in events:
        types.setdefault(what, {}).update({key: _KINDS[type(one)] for key, one in known.items()})
    return types


def _changes(place: int) -> list[tuple[str, str]]:
    return [("1970-01-01T00:00:00Z", "open"), (_at(place).isoformat(), "done")]


def _write_json(path: Path, events: list[Happened], objects: list[str]) -> None:
    log = {
        "events": [
            {
                "id": f"e{number}",
                "type": what,
                "time": _at(days).isoformat(),
                "attributes": [
                    {"name": key, "value": one} for key, one in known.items() if one is not None
                ],
                "relationships": [{"objectId": one, "qualifier": "of"} for one in related],
            }
            for number, (what, days, known, related) in enumerate(events)
        ],
        "objects": [
            {
                "id": name,
                "type": _kind(name),
                "attributes": [
                    {"name": "state", "time": time, "value": value}
                    for time, value in _changes(place)
                ],
                "relationships": [{"objectId": objects[0], "qualifier": "beside"}],
            }
            for place, name in enumerate(objects)
        ],
        "eventTypes": [
            {"name": what, "attributes": [{"name": key, "type": one} for key, one in of.items()]}
            for what, of in _types(events).items()
        ],
        "objectTypes": [
            {"name": kind, "attributes": [{"name": "state", "type": "string"}]}
            for kind in sorted(set(map(_kind, objects)))
        ],
    }
    path.write_text(json.dumps(log, indent=1))


def _write_xml(path: Path, events: list[Happened], objects: list[str]) -> None:
    """Laid out on lines, with objects as the standard's schema calls them in every other event."""
    lines = ["<log>", "<event-types>"]
    for what, of in _types(events).items():
        lines += [f"<event-type name={quoteattr(what)}>", "<attributes>"]
        lines += [f"<attribute name={quoteattr(key)} type='{one}'/>" for key, one in of.items()]
        lines += ["</attributes>", "</event-type>"]
    lines += ["</event-types>", "<events>"]
    for number, (what, days, known, related) in enumerate(events):
        time = _at(days).isoformat()
        lines += [f"<event id='e{number}' type={quoteattr(what)} time='{time}'>", "<attributes>"]
        for key, one in known.items():
            said = "" if one is None else str(int(one) if isinstance(one, bool) else one)
            lines.append(f"<attribute name={quoteattr(key)}>{escape(said)}</attribute>")
        lines += ["</attributes>", "<objects>"]
        tag = ("object", "relationship")[number % 2]
        lines += [f"<{tag} object-id='{one}' qualifier='of'/>" for one in related]
        lines += ["</objects>", "</event>"]
    lines += ["</events>", "<objects>"]
    for place, name in enumerate(objects):
        lines += [f"<object id='{name}' type='{_kind(name)}'>", "<attributes>"]
        lines += [
            f"<attribute name='state' time='{time}'>{value}</attribute>"
            for time, value in _changes(place)
        ]
        lines += ["</attributes>", "<objects>"]
        lines += [f"<relationship object-id='{objects[0]}' qualifier='beside'/>"]
        lines += ["</objects>", "</object>"]
    path.write_text("\n".join([*lines, "</objects>", "</log>"]))


def _write_sqlite(path: Path, events: list[Happened], objects: list[str]) -> None:
    """As the example of the standard's page: without keys."""
    with closing(sqlite3.connect(path)) as sql:
        sql.executescript(
            "create table event (ocel_id text, ocel_type text);"
            "create table object (ocel_id text, ocel_type text);"
            "create table event_object (ocel_event_id text, ocel_object_id text, ocel_qualifier);"
            "create table object_object (ocel_source_id text, ocel_target_id, ocel_qualifier);"
            "create table event_map_type (ocel_type text, ocel_type_map text);"
            "create table object_map_type (ocel_type text, ocel_type_map text);"
        )
        for number, (what, of) in enumerate(_types(events).items()):
            sql.execute("insert into event_map_type values (?, ?)", (what, f"T{number}"))
            columns = "".join(f', "{key}" {one}' for key, one in of.items())
            sql.execute(f"create table event_T{number} (ocel_id text, ocel_time text{columns})")
            for place, (one, days, known, related) in enumerate(events):
                if one == what:
                    values = [
                        f"e{place}",
                        _at(days).isoformat(" "),
                        *(known.get(key) for key in of),
                    ]
                    marks = ", ".join("?" * len(values))
                    sql.execute(f"insert into event_T{number} values ({marks})", values)
                    sql.execute("insert into event values (?, ?)", (f"e{place}", what))
                    sql.executemany(
                        "insert into event_object values (?, ?, 'of')",
                        [(f"e{place}", each) for each in related],
                    )
        for name in objects:
            sql.execute("insert into object values (?, ?)", (name, _kind(name)))
        sql.commit()
