"""How far projections are, and what holds up their streams."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from ..engine.projection_checkpoint import PREFIX, projections_in
from ..store import CorruptRecord
from .plain import moment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .face import Face
    from .plain import Plain

__all__ = ["held_streams", "projections"]


def projections(face: Face) -> Iterator[Plain]:
    """How far each projection is, in each partition.

    Of a store that no service has open, it is what the store knows: where the tables are in a
    database of their own, they may be further.

    Args:
        face: where to look

    """
    for number, part in enumerate(face.parts):
        yield from ({"partition": number, **row} for row in projections(part))
    if face.parts:
        return
    store = face.store
    end = store.last_position()
    for name in sorted({*projections_in(store), *face.projections()}):
        feed = face.projection_feed(name)
        position = store.checkpoint(f"{PREFIX}{name}") if feed is None else feed.position
        blocks = [store.block_of(name, stream) for stream in store.scan_held(name)]
        yield {
            "projection": name,
            "position": position,
            "end": end,
            "backlog": max(0, end - position),
            "oldest": _time_behind(face, position),
            "streams_held": len(blocks),
            "parked": sum(1 for one in blocks if one is not None and one.kind == "parked"),
            "problem": None if feed is None else feed.trouble or None,
        }


def held_streams(face: Face, projection: str, *, after: str | None, limit: int) -> Iterator[Plain]:
    """The streams of which a projection has set something aside, and what holds each up.

    Args:
        face: where to look
        projection: its name
        after: only streams behind this one, in the order of their names
        limit: most of them

    Raises:
        UnknownMessage: there is no such projection, or there are several

    """
    name = face.known_projection(projection)
    held = sorted(
        (stream, number)
        for number, part in enumerate(face.parts or [face])
        for stream in part.store.scan_held(name)
        if after is None or stream > after
    )
    return (_held(face, name, *one) for one in islice(held, limit))


def _held(face: Face, name: str, stream: str, number: int) -> Plain:
    store = face.parts[number].store if face.parts else face.store
    block = store.block_of(name, stream)
    is_parked = block is not None and block.kind == "parked"
    record = store.parked_as(block.parked) if block is not None and is_parked else None
    parked = None if record is None else record.number
    if face.parts and parked is not None:
        parked = face.whole_number(number, parked)
    return {
        "stream": stream,
        "position": None if block is None else block.position,
        "parked": parked,
        "error_type": None if record is None else record.error_type,
        "error": None if record is None else record.error_text,
        "retry": None if block is None or is_parked else moment(block.due),
        "waiting": sum(1 for _ in store.scan_waiting(name, stream)),
    }


def _time_behind(face: Face, position: int) -> str | None:
    """When the oldest event was stored that is not in the tables."""
    try:
        found = face.store.event_at(position + 1)
    except CorruptRecord:
        return None
    return None if found is None else moment(found.time)
