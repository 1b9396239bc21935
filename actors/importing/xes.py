"""Events of XES logs as rows.

A row has the event's attributes by their keys, and those of its trace with `case:` before them.
`type` and `time` are `concept:name` and `time:timestamp`, if there is nothing of these names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .xml_events import xml_events

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from .files_opened import Row

__all__ = ["xes_rows"]

_READ: dict[str, Callable[[str], Any]] = {
    "string": str,
    "date": str,
    "id": str,
    "int": int,
    "float": float,
    "boolean": lambda said: said.lower() in {"true", "1"},
}


def xes_rows(path: Path) -> Iterator[Row]:
    """All events, trace by trace."""
    within: list[str] = []
    case: Row = {}
    row: Row = {}
    for is_start, tag, attributes, _ in xml_events(path):
        if not is_start:
            within.pop()
            if tag == "event":
                for name, key in (("type", "concept:name"), ("time", "time:timestamp")):
                    if key in row:
                        row.setdefault(name, row[key])
                yield {f"case:{key}": value for key, value in case.items()} | row
            continue
        where = within[-1] if within else ""
        within.append(tag)
        if tag == "trace":
            case = {}
        elif tag == "event":
            row = {}
        elif tag in _READ and where in {"trace", "event"}:
            # What stands inside of another attribute is not looked at.
            of = row if where == "event" else case
            of[attributes["key"]] = _READ[tag](attributes["value"])
