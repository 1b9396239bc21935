"""A design as a picture: who listens to what, and who issues what."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from ..messages.types import Command, Event, Message
from .completions import process_of
from .course import ends_in, timeouts_set_in

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from ..authoring.decorators import Handler
    from .aggregate_definition import AggregateDefinition
    from .process_definition import ProcessDefinition
    from .projection_definition import ProjectionDefinition

__all__ = ["Link", "Node", "Picture", "mermaid_of", "picture_of"]

_SHAPES = {
    "aggregate": '[("{}")]',
    "command": '["{}"]',
    "event": '("{}")',
    "projection": '[/"{}"/]',
    "process": '{{{{"{}"}}}}',
    "timeout": '(["{}"])',
}
_ELSEWHERE = ":::elsewhere"


def mermaid_of(
    aggregates: Collection[AggregateDefinition],
    processes: Collection[ProcessDefinition],
    messages: Collection[type[Message]],
    projections: Collection[ProjectionDefinition],
) -> str:
    """A Mermaid flowchart; the same design gives the same text.

    Args:
        aggregates: to draw
        processes: to draw
        messages: more events and commands to draw, whichever class uses them
        projections: to draw

    """
    return picture_of(aggregates, processes, messages, projections).text()


def picture_of(
    aggregates: Collection[AggregateDefinition],
    processes: Collection[ProcessDefinition],
    messages: Collection[type[Message]],
    projections: Collection[ProjectionDefinition],
) -> Picture:
    """The same as data.

    Args:
        aggregates: to draw
        processes: to draw
        messages: more events and commands to draw, whichever class uses them
        projections: to draw

    """
    picture = Picture()
    made = {event for aggregate in aggregates for event in aggregate.makes}
    taken = {command for aggregate in aggregates for command in aggregate.handlers}
    picture.add("aggregate", (one.cls for one in aggregates))
    picture.add("process", (one.cls for one in processes))
    picture.add("projection", (one.cls for one in projections))
    commands = {message for message in messages if issubclass(message, Command)}
    events = {message for message in messages if issubclass(message, Event)}
    for process in processes:
        commands.update(process.commands, process.rejections)
        events.update(process.events())
    for projection in projections:
        events.update(projection.events())
    # A process manager makes the event that its instances have ended where one listens to it.
    ended = {event: ours for event in events if (ours := process_of(event)) is not None}
    here = {event for event, of in ended.items() if of in {one.cls for one in processes}}
    picture.add("command", commands | taken, taken)
    picture.add("event", events | made, made | here)
    for event in here:
        picture.link(ended[event], "-.->", event)
    for aggregate in aggregates:
        for command in aggregate.handlers:
            picture.link(command, "-->", aggregate.cls)
        for event in aggregate.makes:
            picture.link(aggregate.cls, "-->", event)
    for process in processes:
        _draw_process(picture, process)
    for projection in projections:
        for event, handler in projection.events().items():
            picture.link(event, "-->", projection.cls, "", handler.name)
    return picture


def _draw_process(picture: Picture, process: ProcessDefinition) -> None:
    cls = process.cls
    for event, handler in process.handlers.items():
        picture.link(event, "-->", cls, _label(process, handler), handler.name)
    for event in process.effects:
        picture.link(event, "-.->", cls, "after")
    for command in process.commands:
        picture.link(cls, "-->", command)
    for command in process.rejections:
        picture.link(command, "-.->", cls, "rejected")
    is_set = timeouts_set_in(cls)
    for name in sorted({name for name in is_set if name is not None} | process.timeouts.keys()):
        node = picture.add_timeout(cls, name)
        if name in is_set or None in is_set:
            picture.link(cls, "-.->", node)
        if name in process.timeouts:
            handler = process.timeouts[name]
            picture.link(node, "-->", cls, _label(process, handler), handler.name)


def _label(process: ProcessDefinition, handler: Handler) -> str:
    words = ["start"] if handler.start else []
    if handler.end:
        words.append("end")
    elif ends_in(handler, process.cls):
        words.append("may end")
    return ", ".join(words)


class Node(NamedTuple):
    """A class, or a timeout, in a drawing.

    Attributes:
        kind: ``"aggregate"``, ``"command"``, ``"event"``, ``"process"``, ``"projection"`` or
            ``"timeout"``
        text: what it is called
        is_ours: whether the domain has it
        cls: the class; None of a timeout
        timeout: the name of a timeout; None of a class

    """

    kind: str
    text: str
    is_ours: bool = True
    cls: type | None = None
    timeout: str | None = None


class Link(NamedTuple):
    """An arrow from one node to another.

    Attributes:
        start: the id of the node that it comes from
        arrow: as Mermaid writes it
        end: the id of the node that it leads to
        label: what it says
        handler: the method that it leads to; empty if it leads to none

    """

    start: str
    arrow: str
    end: str
    label: str = ""
    handler: str = ""


class Picture:
    """The nodes, by their ids, and links of a flowchart."""

    def __init__(self) -> None:
        self._ids: dict[type | str, str] = {}
        self._taken: set[str] = set()
        self.nodes: dict[str, Node] = {}
        self.links: set[Link] = set()

    def add(self, kind: str, classes: Iterable[type], ours: Collection[type] | None = None) -> None:
        """Draw classes; those that are not ours look as if from elsewhere."""
        for cls in sorted(classes, key=_place):
            version = getattr(cls, "__wire_version__", 1)
            text = cls.__name__ if version == 1 else f"{cls.__name__} v{version}"
            node = self._new_id(f"{kind}_{text}")
            self._ids.setdefault(cls, node)
            self.nodes[node] = Node(kind, text, ours is None or cls in ours, cls)

    def add_timeout(self, cls: type, name: str) -> str:
        """Draw a timeout of a process manager."""
        node = self._new_id(f"timeout_{cls.__name__}_{name}")
        self._ids[node] = node
        self.nodes[node] = Node("timeout", f"timeout {name}", timeout=name)
        return node

    def link(
        self, start: type | str, arrow: str, end: type | str, label: str = "", handler: str = ""
    ) -> None:
        """Draw an arrow."""
        self.links.add(Link(self._ids[start], arrow, self._ids[end], label, handler))

    def text(self, said: Mapping[Link, str] | None = None) -> str:
        """All of it.

        Args:
            said: what else arrows say

        """
        more = said or {}
        nodes = [f"{name}{_shape(node)}" for name, node in sorted(self.nodes.items())]
        links = sorted({_arrow(link, more.get(link, "")) for link in self.links})
        lines = ["flowchart LR", *(f"    {line}" for line in [*nodes, *links])]
        if any(not node.is_ours for node in self.nodes.values()):
            lines.append("    classDef elsewhere stroke-dasharray: 5 5")
        return "\n".join(lines) + "\n"

    def _new_id(self, text: str) -> str:
        wanted = node = re.sub(r"[^A-Za-z0-9_]", "_", text)
        number = 1
        while node in self._taken:
            number += 1
            node = f"{wanted}_{number}"
        self._taken.add(node)
        return node


def _shape(node: Node) -> str:
    shape = _SHAPES[node.kind].format(_safe(node.text))
    return shape if node.is_ours else shape + _ELSEWHERE


def _arrow(link: Link, more: str) -> str:
    words = ": ".join(one for one in (link.label, more) if one)
    label = f'|"{words}"|' if words else ""
    return f"{link.start} {link.arrow}{label} {link.end}"


def _place(cls: type) -> tuple[str, str, str]:
    return cls.__name__, cls.__module__, cls.__qualname__


def _safe(text: str) -> str:
    """A text as it may stand between quotes: what could mean something is written as a number."""
    return re.sub(r"[^\w .:-]", lambda found: f"#{ord(found[0])};", text)
