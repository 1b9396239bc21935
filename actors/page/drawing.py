"""The design as a drawing with live counts: columns of boxes, and arrows from left to right."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from ..queries.views import Counts
from .waits import waits

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ..control.face import Face
    from ..control.plain import Plain
    from ..model.diagram import Link, Node, Picture
    from .waits import Waits

__all__ = [
    "HEIGHT",
    "MARGIN",
    "WIDTH",
    "Arrow",
    "Box",
    "Drawing",
    "Place",
    "curve",
    "drawn",
    "placed",
]

WIDTH, HEIGHT = 160, 44
"""Of a box."""

TALL = 106
"""The height of a process manager's box, which has its counts in it."""

ACROSS, DOWN = 56, 22
"""Between two boxes."""

MARGIN = 16
SWEEPS = 4
"""How often the boxes of each column are put beside those that they are linked to."""


class Box(NamedTuple):
    """A class, or a timeout.

    Attributes:
        kind: as of a `Node`
        text: what it is called
        is_ours: whether the domain has it
        process: a process manager's name
        counts: of its instances
        backlog: how many events a process manager is not done with
        x: from the left
        y: from above
        height: of the box

    """

    kind: str
    text: str
    is_ours: bool
    process: str | None
    counts: Counts | None
    backlog: int
    x: int
    y: int
    height: int


class Place(NamedTuple):
    """Where a box is: from the left, from above, and how high it is."""

    x: int
    y: int
    height: int


class Arrow(NamedTuple):
    """An arrow.

    Attributes:
        path: as SVG has it
        is_dashed: whether it is drawn with dashes
        label: what it says
        parked: how many things are parked that came this way
        waits: how many wait to go this way, as people read it; empty if none does
        said: what happened on it, if that was measured
        is_dead: whether nothing did, of what was measured
        timeout: the name of the timeout that it leads from, if it does from one
        process: the process manager that it leads to
        x: of the label
        y: of the label

    """

    path: str
    is_dashed: bool
    label: str
    parked: int
    waits: str
    said: str
    is_dead: bool
    timeout: str | None
    process: str | None
    x: int
    y: int


class Drawing(NamedTuple):
    """A domain's design; all its boxes are `box_width` wide."""

    domain: str
    width: int
    height: int
    box_width: int
    boxes: list[Box]
    arrows: list[Arrow]


def drawn(face: Face, found: Plain | None = None) -> list[Drawing]:
    """The design of each domain whose classes are here.

    Args:
        face: what is shown
        found: what happened on it, as `measured` tells it

    """
    happened = {
        (domain, tuple(link["link"])): link
        for domain, one in (found or {}).items()
        for link in one["links"]
    }
    counts = face.runtime.counts()
    names = face.process_names()
    waiting = _Waiting(face, waits(face))
    return [
        _drawing(domain, picture, names, counts, waiting, happened)
        for domain, picture in face.pictures().items()
    ]


class _Waiting:
    """What waits at the arrows to process managers."""

    def __init__(self, face: Face, found: Waits) -> None:
        self._face = face
        self._found = found

    def backlog(self, process: str | None) -> int:
        return 0 if process is None else self._found.backlog.get(process, 0)

    def before(self, start: Node, process: str | None) -> str:
        """How many wait between a node and a process manager; more than those, with a plus."""
        if process is None:
            return ""
        found = self._found
        if start.timeout is not None:
            count, is_cut = found.timeouts[process, start.timeout], found.are_more_timeouts
        elif start.kind == "event" and start.cls is not None:
            kind = self._face.event_type(process, start.cls)
            count, is_cut = found.events[process, kind], found.are_more_events
        else:
            return ""
        return f"{count:,}{'+' * is_cut}" if count else ""


def _drawing(
    domain: str,
    picture: Picture,
    names: Mapping[type, str],
    counts: Mapping[str, Counts],
    waiting: _Waiting,
    happened: Mapping[tuple[str, tuple[str, ...]], Plain],
) -> Drawing:
    processes = {
        one: None if node.cls is None else names.get(node.cls)
        for one, node in picture.nodes.items()
    }
    places, width, height = placed(
        picture, {one: HEIGHT if of is None else TALL for one, of in processes.items()}
    )
    boxes: dict[str, Box] = {}
    for one, place in places.items():
        node, process = picture.nodes[one], processes[one]
        boxes[one] = Box(
            kind=node.kind,
            text=node.text,
            is_ours=node.is_ours,
            process=process,
            counts=None if process is None else counts.get(process, Counts()),
            backlog=waiting.backlog(process),
            x=place.x,
            y=place.y,
            height=place.height,
        )
    return Drawing(
        domain=domain,
        width=width,
        height=height,
        box_width=WIDTH,
        boxes=list(boxes.values()),
        arrows=[
            _arrow(
                link,
                boxes,
                picture.nodes[link.start],
                waiting,
                happened.get((domain, tuple(link)), {}),
            )
            for link in sorted(picture.links)
        ],
    )


def placed(picture: Picture, heights: Mapping[str, int]) -> tuple[dict[str, Place], int, int]:
    """Where the boxes of a design are, and how wide and high the drawing is.

    Args:
        picture: the design
        heights: of the boxes, by node

    """
    columns = _columns(picture)
    _sort(columns, picture.links)
    places: dict[str, Place] = {}
    for number, column in enumerate(columns):
        y = MARGIN
        for one in column:
            places[one] = Place(MARGIN + number * (WIDTH + ACROSS), y, heights[one])
            y += heights[one] + DOWN
    width = MARGIN * 2 + len(columns) * (WIDTH + ACROSS) - ACROSS
    lowest = max((one.y + one.height for one in places.values()), default=0)
    return places, width, lowest + MARGIN + HEIGHT


def _columns(picture: Picture) -> list[list[str]]:
    """The nodes in columns, each behind all that lead to it; a circle is opened where it closes."""
    leads_to: dict[str, list[str]] = defaultdict(list)
    for link in sorted(picture.links):
        leads_to[link.start].append(link.end)
    has_begun: dict[str, bool] = {}
    done: list[str] = []
    forward: list[tuple[str, str]] = []
    led_to = {link.end for link in picture.links}
    # Those that none leads to come first: what comes from outside.
    for root in sorted(picture.nodes, key=lambda name: (name in led_to, name)):
        if root in has_begun:
            continue
        has_begun[root] = True
        todo = [(root, iter(leads_to[root]))]
        while todo:
            node, ends = todo[-1]
            for end in ends:
                if end not in has_begun:
                    has_begun[end] = True
                    forward.append((node, end))
                    todo.append((end, iter(leads_to[end])))
                    break
                if not has_begun[end]:
                    forward.append((node, end))
            else:
                has_begun[node] = False
                done.append(node)
                todo.pop()
    place = dict.fromkeys(picture.nodes, 0)
    ends_of: dict[str, list[str]] = defaultdict(list)
    for start, end in forward:
        ends_of[start].append(end)
    for node in reversed(done):
        for end in ends_of[node]:
            place[end] = max(place[end], place[node] + 1)
    columns: list[list[str]] = [[] for _ in range(max(place.values(), default=-1) + 1)]
    for node in sorted(picture.nodes):
        columns[place[node]].append(node)
    return columns


def _sort(columns: list[list[str]], links: Iterable[Link]) -> None:
    """Put the nodes of each column in the order of those that they are linked to."""
    beside: dict[str, list[str]] = defaultdict(list)
    for link in sorted(links):
        beside[link.start].append(link.end)
        beside[link.end].append(link.start)
    for _ in range(SWEEPS):
        place = {node: row for column in columns for row, node in enumerate(column)}
        for column in columns:
            column.sort(
                key=lambda node: (
                    sum(place[one] for one in beside[node]) / len(beside[node])
                    if beside[node]
                    else place[node]
                )
            )
            place |= {node: row for row, node in enumerate(column)}


def curve(start: Place | Box, end: Place | Box) -> tuple[str, int, int]:
    """The path of an arrow from one box to another, as SVG has it, and where its label is."""
    from_x, from_y = start.x + WIDTH, start.y + start.height // 2
    to_x, to_y = end.x, end.y + end.height // 2
    if to_x > from_x:
        bend = (to_x - from_x) // 2
        path = f"M{from_x},{from_y} C{from_x + bend},{from_y} {to_x - bend},{to_y} {to_x},{to_y}"
        label_y = (from_y + to_y) // 2 - 4
    else:
        # Back: below both boxes.
        from_x, to_x = start.x + WIDTH // 2, end.x + WIDTH // 2
        from_y, to_y = start.y + start.height, end.y + end.height
        low = max(from_y, to_y) + DOWN + HEIGHT // 2
        path = f"M{from_x},{from_y} C{from_x},{low} {to_x},{low} {to_x},{to_y}"
        label_y = low - DOWN // 2
    return path, (from_x + to_x) // 2, label_y


def _arrow(
    link: Link, boxes: Mapping[str, Box], begin: Node, waiting: _Waiting, happened: Plain
) -> Arrow:
    start, end = boxes[link.start], boxes[link.end]
    path, label_x, label_y = curve(start, end)
    parked = 0
    if end.counts is not None and link.handler:
        parked = sum(
            count for kind, count in end.counts.parked.items() if kind.handler == link.handler
        )
    return Arrow(
        path=path,
        is_dashed=link.arrow != "-->",
        label=link.label,
        parked=parked,
        waits=waiting.before(begin, end.process) if link.handler else "",
        said=happened.get("said", ""),
        is_dead=happened.get("is_dead", False),
        timeout=begin.timeout,
        process=end.process,
        x=label_x,
        y=label_y,
    )
