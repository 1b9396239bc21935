"""What is told of a divided store: the answers of its partitions, put together by kind of call.

Numbers of what is parked say the partition as well, as those of the runtime do.
"""

from __future__ import annotations

from collections import deque
from heapq import merge
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from . import aside, instances, log
from .plain import plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .face import Face
    from .plain import Plain

__all__ = [
    "events",
    "instance",
    "instances_of",
    "parked",
    "partitions",
    "processes",
    "stuck",
    "timeouts",
]


def partitions(face: Face) -> list[Plain]:
    """Each partition: who runs it, how much it has, and how far it is behind.

    Raises:
        CannotAct: the store is not divided

    """
    return [plain(one) for one in face.needs_partitions("partitions").partitions()]


def processes(face: Face) -> Iterator[Plain]:
    """As of one store: counts and backlogs added up, and the oldest event that waits."""
    found: dict[str, Plain] = {}
    for part in face.parts:
        for row in instances.processes(part):
            whole = found.setdefault(row["process"], row)
            if whole is row:
                continue
            for name, value in row.items():
                if isinstance(value, int):
                    whole[name] += value
            whole["oldest"] = min(filter(None, (whole["oldest"], row["oldest"])), default=None)
    return iter(found[name] for name in sorted(found))


def instances_of(
    face: Face, process: str, *, after: str | None, limit: int, **meant: Any
) -> Iterator[Plain]:
    """As of one store, one partition after the other."""
    process = face.known(process)
    first = 0 if after is None else face.partition_of(process, after)
    rows = chain.from_iterable(
        instances.instances(
            part, process, after=after if number == first else None, limit=limit, **meant
        )
        for number, part in enumerate(face.parts)
        if number >= first
    )
    return islice(rows, limit)


def instance(
    face: Face,
    process: str,
    id: str,  # noqa: A002
    *,
    limit: int,
    version: int | None = None,
) -> Plain | None:
    """As of one store: its partition knows."""
    process = face.known(process)
    number = face.partition_of(process, id)
    found = instances.instance(face.parts[number], process, id, limit=limit, version=version)
    return None if found is None else _with_whole_id(face, number, found)


def stuck(face: Face, *, seconds: float, process: str | None) -> Iterator[Plain]:
    """As of one store, one partition after the other."""
    return (
        _with_whole_id(face, number, row)
        for number, part in enumerate(face.parts)
        for row in instances.stuck(part, seconds=seconds, process=process)
    )


def _with_whole_id(face: Face, number: int, row: Plain) -> Plain:
    if row.get("parked") is not None:
        row["parked"]["id"] = face.whole_number(number, row["parked"]["id"])
    return row


def parked(face: Face, *, after: int, limit: int, **meant: Any) -> Iterator[Plain]:
    """As of one store, in the order of the numbers, which is about that of the times."""

    def of_part(number: int, part: Face) -> Iterator[Plain]:
        behind = (after - number) // len(face.parts)
        rows = aside.parked(part, after=max(0, behind), limit=limit, **meant)
        return ({**row, "id": face.whole_number(number, row["id"])} for row in rows)

    found = (of_part(number, part) for number, part in enumerate(face.parts))
    return islice(merge(*found, key=lambda row: row["id"]), limit)


def timeouts(face: Face, *, limit: int, **meant: Any) -> Iterator[Plain]:
    """As of one store, in order of time."""
    found = (aside.timeouts(part, limit=limit, **meant) for part in face.parts)
    return islice(merge(*found, key=lambda row: row["due"]), limit)


def events(face: Face, *, stream: str | None, after: int | None, limit: int) -> Iterator[Plain]:
    """As of one store: of one stream in its order, else about in that of time.

    Raises:
        InvalidMessage: `after` is given without a stream, and each partition has its own positions

    """
    if stream is not None and "-" in stream:
        part = face.parts[face.partition_of_stream(stream)]
        return log.events(part, stream=stream, after=after, limit=limit)
    if after is not None:
        face.refuse_position(after)

    def of_part(number: int, part: Face) -> Iterator[Plain]:
        rows = log.events(part, stream=stream, after=None, limit=limit)
        return ({"partition": number, **row} for row in rows)

    rows = merge(
        *(of_part(number, part) for number, part in enumerate(face.parts)),
        key=lambda row: row.get("time") or "",
    )
    # Of the whole log the newest ones, of a category the first ones.
    return iter(deque(rows, limit)) if stream is None else islice(rows, limit)
