"""The design with what happened on it: each arrow with its figures, and the ways that were gone."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from ..clock import to_micros
from ..errors import InvalidMessage
from ..queries.measured import Measured, Part, measure

if TYPE_CHECKING:
    from datetime import datetime

    from ..model.diagram import Link, Picture
    from ..queries.measured import Key
    from .face import Face
    from .plain import Plain

__all__ = ["measured", "part_of"]

MOST_SHOWN = 20
"""Ways of a process manager that are told, the commonest first."""


def part_of(since: datetime | None, until: datetime | None, code: int | None) -> Part:
    """A part of what is stored.

    Raises:
        InvalidMessage: a time has no zone, or the end is not behind the beginning

    """
    for one in (since, until):
        if one is not None and one.utcoffset() is None:
            raise InvalidMessage(f"{one} has no zone; write it as 2026-11-27T00:00:00+00:00")
    if since is not None and until is not None and since >= until:
        raise InvalidMessage(f"until={until} is not behind since={since}")
    return Part(
        None if since is None else to_micros(since),
        None if until is None else to_micros(until),
        code,
    )


def measured(face: Face, part: Part, beside: Part | None = None) -> Plain:
    """The design of each domain with what happened on it.

    Args:
        face: where to look
        part: of what is stored
        beside: another part, whose figures stand beside those

    Returns:
        by the domain's name, its ``arrows`` and ``variants``, how many records were ``unread``,
        and the drawing: ``nodes``, ``links``, and ``mermaid``

    Raises:
        CannotAct: the classes are not here

    """
    face.needs_classes("graph")
    stores = [log.store for log in face.logs]
    several = _several(face)
    parts = [part] if beside is None else [part, beside]
    found = [measure(stores, one, face.name_today, several) for one in parts]
    return {
        domain: _domain(face, picture, found, several)
        for domain, picture in face.pictures().items()
    }


def _several(face: Face) -> set[tuple[str, str]]:
    """Methods that handle several events."""
    counts = Counter(
        (name, handler.name)
        for name in face.process_names().values()
        if (definition := face.definition(name)) is not None
        for handler in definition.handlers.values()
    )
    return {one for one, count in counts.items() if count > 1}


def _domain(
    face: Face, picture: Picture, found: list[Measured], several: set[tuple[str, str]]
) -> Plain:
    arrows: list[Plain] = []
    said: dict[Link, str] = {}
    dead: set[Link] = set()
    for link in sorted(picture.links):
        key = _key_of(face, picture, link, several)
        if key is None:
            continue
        figures = [_figures(one, key) for one in found]
        said[link] = " | ".join(_said(one) for one in figures)
        is_dead = all(not one["count"] for one in figures)
        if is_dead:
            dead.add(link)
        arrows.append(
            {
                "from": picture.nodes[link.start].text,
                "to": picture.nodes[link.end].text,
                "handler": link.handler or None,
                "is_dead": is_dead,
                **figures[0],
                **({"beside": figures[1]} if len(figures) > 1 else {}),
            }
        )
    names = [
        face.process_names()[node.cls]
        for node in picture.nodes.values()
        if node.kind == "process" and node.cls is not None
    ]
    return {
        "nodes": {
            name: {"kind": node.kind, "text": node.text, "is_ours": node.is_ours}
            for name, node in sorted(picture.nodes.items())
        },
        "links": [
            {"link": list(link), "said": said.get(link, ""), "is_dead": link in dead}
            for link in sorted(picture.links)
        ],
        "arrows": arrows,
        "variants": {name: _variants(found, name) for name in sorted(names)},
        "unread": sum(one.unread for one in found),
        "mermaid": picture.text(said),
    }


def _key_of(face: Face, picture: Picture, link: Link, several: set[tuple[str, str]]) -> Key | None:
    """What is looked for in the log for an arrow; None of one that leaves no trace there."""
    start, end, names = picture.nodes[link.start], picture.nodes[link.end], face.process_names()
    if start.kind == "timeout" and end.cls is not None and start.timeout is not None:
        return ("timeout", names[end.cls], start.timeout)
    if end.kind == "timeout" and start.cls is not None and end.timeout is not None:
        return ("set", names[start.cls], end.timeout)
    if start.cls is None or end.cls is None:
        return None
    if end.kind == "process":
        process = names[end.cls]
        if start.kind == "event" and link.handler:
            is_one_of = (process, link.handler) in several
            kind = (face.event_type(process, start.cls),) if is_one_of else ()
            return ("handled", process, link.handler, *kind)
        refused = face.rejection_of(process, start.cls) if start.kind == "command" else None
        return None if refused is None else ("handled", process, refused)
    if start.kind == "process" and end.kind == "command":
        return ("issued", names[start.cls], face.name_of(end.cls))
    if end.kind == "event":
        return ("made", face.category_of(start.cls), face.name_of(end.cls))
    return None


def _figures(found: Measured, key: Key) -> Plain:
    waits = found.arrows.get(key)
    if waits is None:
        return {"count": 0, "median": None, "p95": None}
    return {
        "count": waits.count,
        "median": waits.percentile(0.5),
        "p95": waits.percentile(0.95),
    }


def _said(figures: Plain) -> str:
    if not figures["count"]:
        return "never"
    if figures["median"] is None:
        return f"{figures['count']:,}"
    return f"{figures['count']:,}, {_span(figures['median'])} to {_span(figures['p95'])}"


def _span(seconds: float) -> str:
    """A time as people read it."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds * 1_000:.0f} ms"


def _variants(found: list[Measured], process: str) -> list[Plain]:
    """The commonest ways, with their shares; what is beside has its own."""
    shown = found[0].variants.get(process, Counter[str]()).most_common(MOST_SHOWN)
    rows: list[Plain] = []
    for way, count in shown:
        row: dict[str, Any] = {"way": way, "count": count, "share": count / found[0].ended[process]}
        if len(found) > 1:
            there = found[1].variants.get(process, Counter[str]())[way]
            row["beside"] = {"count": there, "share": there / max(1, found[1].ended[process])}
        rows.append(row)
    return rows
