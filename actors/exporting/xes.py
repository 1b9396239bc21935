"""XES: event logs of cases. Each object is a case, with all events that have to do with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .ocel import XmlWriter, sayable

if TYPE_CHECKING:
    from pathlib import Path

    from .stage import Stage

__all__ = ["write_xes"]

_EXTENSIONS = (
    ("Concept", "concept", "http://www.xes-standard.org/concept.xesext"),
    ("Time", "time", "http://www.xes-standard.org/time.xesext"),
    ("Identity", "identity", "http://www.xes-standard.org/identity.xesext"),
)
_TAGS = {bool: "boolean", int: "int", float: "float"}


def write_xes(stage: Stage, target: Path) -> None:
    """One trace for each object; an event of several objects is in the trace of each."""
    with target.open("w", encoding="utf-8") as file:
        xml = XmlWriter(file)
        xml.begin("log", xes_version="1849-2016", xmlns="http://www.xes-standard.org/")
        for name, prefix, uri in _EXTENSIONS:
            xml.whole("extension", name=name, prefix=prefix, uri=uri)
        for name, kind, _, _ in stage.objects():
            sayable(name)
            xml.begin("trace")
            xml.whole("string", key="concept:name", value=name)
            xml.whole("string", key="type", value=kind)
            for event in stage.events_of(name):
                sayable(*event.names)
                xml.begin("event")
                xml.whole("string", key="concept:name", value=event.type)
                xml.whole("date", key="time:timestamp", value=event.time)
                xml.whole("string", key="id", value=event.id)
                for attribute, value in event.values.items():
                    _write(xml, attribute, value)
                xml.end("event")
            xml.end("trace")
        xml.end("log")


def _write(xml: XmlWriter, key: str, value: Any) -> None:
    said = str(value).lower() if isinstance(value, bool) else str(value)
    xml.whole(_TAGS.get(type(value), "string"), key=key, value=said)
