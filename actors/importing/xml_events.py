"""Elements of an XML file, one after the other; a file that declares entities is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn, TypeAlias
from xml.parsers import expat

from .files_opened import opened

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["xml_events"]

CHUNK = 1 << 16

XmlEvent: TypeAlias = "tuple[bool, str, dict[str, str], str]"
"""Whether it is the start of an element, its name, its attributes, and at its end its text."""


def xml_events(path: Path) -> Iterator[XmlEvent]:
    """Starts and ends of elements, in order.

    Raises:
        ValueError: it is no XML, or declares entities, by which a short file can be a long text

    """
    found: list[XmlEvent] = []
    within: list[tuple[str, dict[str, str], list[str]]] = []

    def start(tag: str, attributes: dict[str, str]) -> None:
        # Without its namespace, which some write before the name.
        tag = tag.rpartition(":")[2]
        if within:
            # Text is of elements that have no others in them; around these, it lays them out.
            within[-1][2].clear()
        within.append((tag, attributes, []))
        found.append((True, tag, attributes, ""))

    def text(said: str) -> None:
        if within:
            within[-1][2].append(said)

    def end(_: str) -> None:
        tag, attributes, said = within.pop()
        found.append((False, tag, attributes, "".join(said)))

    def refuse(*_: object) -> NoReturn:
        raise ValueError("it declares entities, which are not read")

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text
    parser.EntityDeclHandler = refuse
    with opened(path) as file:
        try:
            while chunk := file.read(CHUNK):
                parser.Parse(chunk, False)
                yield from found
                found.clear()
            parser.Parse(b"", True)
        except expat.ExpatError as error:
            raise ValueError(f"it is no XML: {error}") from error
    yield from found
