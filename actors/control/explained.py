"""What the classes explain: why, the chain of an event, and the design."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .plain import plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .face import Face
    from .plain import Plain

__all__ = ["graph", "trace", "why"]


def why(face: Face, event: str) -> list[Plain]:
    """What came of an event, for every process manager that listens to it.

    Args:
        face: where to look
        event: its id

    Raises:
        UnknownMessage: there is no such event
        CannotAct: the classes are not here

    """
    return [plain(one) for one in face.needs_classes("why").why(event)]


def trace(face: Face, event: str) -> Iterator[Plain]:
    """All that one beginning led to: each link with its depth, before those that it led to.

    Args:
        face: where to look
        event: the id of any event in it, or of the command that began it

    Raises:
        UnknownMessage: nothing has that id
        CannotAct: the classes are not here

    """
    root = face.needs_classes("trace").trace(event)
    return (
        {
            "depth": depth,
            "kind": node.kind,
            "id": node.id,
            "type": node.type,
            "process": node.process,
            "instance": node.instance,
            "position": node.position,
            "time": plain(node.time),
            "note": node.note,
            "line": node.line,
        }
        for depth, node in root.walk()
    )


def graph(face: Face) -> Plain:
    """The design of each domain, as a Mermaid flowchart, by the domain's name.

    Raises:
        CannotAct: the classes are not here

    """
    face.needs_classes("graph")
    return face.graphs()
