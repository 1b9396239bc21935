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
    for log in face.logs:
        own = {} if log.partition is None else {"partition": log.partition.number}
        yield from ({**own, **row} for row in _of_log(log))


def _of_log(log: Face) -> Iterator[Plain]:
    store = log.store
    end = store.last_position()
    for name in sorted({*projections_in(store), *log.projections()}):
        feed = log.projection_feed(name)
        position = store.checkpoint(f"{PREFIX}{name}") if feed is None else feed.position
        blocks = [store.block_of(name, stream) for stream in store.scan_held(name)]
        yield {
            "projection": name,
            "position": position,
            "end": end,
            "backlog": max(0, end - position),
            "oldest": _time_behind(log, position),
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
        for number, log in enumerate(face.logs)
        for stream in log.store.scan_held(name)
        if after is None or stream > after
    )
    return (_held(face.logs[number], name, stream) for stream, number in islice(held, limit))


def _held(log: Face, name: str, stream: str) -> Plain:
    store = log.store
    block = store.block_of(name, stream)
    is_parked = block is not None and block.kind == "parked"
    record = store.parked_as(block.parked) if block is not None and is_parked else None
    return {
        "stream": stream,
        "position": None if block is None else block.position,
        "parked": None if record is None else log.whole_number(record.number),
        "error_type": None if record is None else record.error_type,
        "error": None if record is None else record.error_text,
        "retry": None if block is None or is_parked else moment(block.due),
        "waiting": sum(1 for _ in store.scan_waiting(name, stream)),
    }


def _time_behind(log: Face, position: int) -> str | None:
    """When the oldest event was stored that is not in the tables."""
    try:
        found = log.store.event_at(position + 1)
    except CorruptRecord:
        return None
    return None if found is None else moment(found.time)
