"""A design with what happened on it, as one SVG file that needs nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape, quoteattr

from ..model.diagram import Link, Node, Picture
from .drawing import HEIGHT, MARGIN, WIDTH, Place, curve, placed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..control.plain import Plain

__all__ = ["svg_of"]

STYLE = (
    "svg{font:12px sans-serif;background:#fff}text{text-anchor:middle;fill:#222}"
    "rect{fill:#fff;stroke:#667}.aggregate rect{fill:#eef}.process rect{fill:#efe}"
    ".event rect{fill:#ffe}.command rect,.timeout rect{fill:#f6f6f6}"
    ".elsewhere rect{stroke-dasharray:5 5}path{fill:none;stroke:#667}"
    "text.way{text-anchor:start}text.process{font-weight:bold}"
    ".dashed{stroke-dasharray:4 3}.dead{stroke:#c33;stroke-dasharray:2 4}"
    "text.dead{fill:#c33;stroke:none}text.figures{font-size:11px}"
)


TIP = (
    '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" '
    'orient="auto"><path d="M0,0 L8,4 L0,8 z" style="fill:#667"/></marker></defs>'
)
"""The tip of an arrow."""

LINE = 18
"""From one line below the drawing to the next."""

LETTER = 7
"""The width of a letter there, at most in the mean."""


def svg_of(domain: str, found: Plain) -> str:
    """Draw one domain.

    Args:
        domain: its name
        found: its part of the answer to the call `measured`

    """
    picture = Picture()
    picture.nodes = {name: _node(**one) for name, one in found["nodes"].items()}
    picture.links = {Link(*one["link"]) for one in found["links"]}
    said = {Link(*one["link"]): one for one in found["links"]}
    places, width, height = placed(picture, dict.fromkeys(picture.nodes, HEIGHT))
    ways = list(_ways(found["variants"]))
    begin = height
    height += LINE * len(ways) + (MARGIN if ways else 0)
    width = max([width, *(2 * MARGIN + LETTER * len(text) for _, text in ways)])
    title = f"The design of {domain} with what happened on it"
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label={quoteattr(title)}>',
        f"<title>{escape(title)}</title><style>{STYLE}</style>",
        TIP,
    ]
    for link in sorted(picture.links):
        lines += _arrow(link, places, said[link])
    for name, node in sorted(picture.nodes.items()):
        lines.append(_box(node, places[name]))
    for number, (kind, text) in enumerate(ways, 1):
        y = begin + LINE * number
        lines.append(f'<text x="{MARGIN}" y="{y}" class="{kind}">{escape(text)}</text>')
    lines.append("</svg>")
    return "\n".join(lines) + "\n"


def _ways(variants: dict[str, list[dict[str, Any]]]) -> Iterator[tuple[str, str]]:
    """The lines below the drawing: what each is, and its text. The commonest way comes first."""
    for process, ways in variants.items():
        if ways:
            yield "way process", f"Ways of {process}"
        for one in ways:
            beside = f" | {one['beside']['share']:.1%}" if "beside" in one else ""
            yield "way", f"{one['share']:.1%}{beside}, {one['count']:,}: {one['way']}"


def _node(kind: str, text: str, *, is_ours: bool) -> Node:
    return Node(kind, text, is_ours)


def _arrow(link: Link, places: dict[str, Place], said: dict[str, Any]) -> list[str]:
    path, x, y = curve(places[link.start], places[link.end])
    kinds = [
        *(["dashed"] if link.arrow != "-->" else []),
        *(["dead"] if said["is_dead"] else []),
    ]
    lines = [f'<path d="{path}" class="{" ".join(kinds)}" marker-end="url(#tip)"/>']
    if link.label:
        lines.append(f'<text x="{x}" y="{y}">{escape(link.label)}</text>')
    if said["said"]:
        kind = "figures dead" if said["is_dead"] else "figures"
        lines.append(f'<text x="{x}" y="{y + 13}" class="{kind}">{escape(said["said"])}</text>')
    return lines


def _box(node: Node, place: Place) -> str:
    kind = node.kind if node.is_ours else f"{node.kind} elsewhere"
    middle, line = place.x + WIDTH // 2, place.y + place.height // 2 + MARGIN // 4
    round_by = 22 if node.kind in {"event", "timeout"} else 4
    return (
        f'<g class="{kind}"><rect x="{place.x}" y="{place.y}" width="{WIDTH}" '
        f'height="{place.height}" rx="{round_by}"/><text x="{middle}" y="{line}">'
        f"{escape(node.text)}</text></g>"
    )
