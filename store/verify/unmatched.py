"""Checks events that are held for who learns their keys: the rows, and how they are found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..layout.keys import digest, numbered
from ..layout.schema import unmatched_by_key, unmatched_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..layout.schema import UnmatchedRow
    from .inspecting import Inspection

__all__ = ["check_unmatched"]


def check_unmatched(inspection: Inspection) -> None:
    """Go through both tables."""
    processes: set[str] = set()
    for key, (process, position), row in inspection.rows("unmatched"):
        processes.add(process)
        inspection.say_all("unmatched", key, _of_held(inspection, process, position, row))
        inspection.say_unknown("unmatched", key, "process", process)
    for key, _, _ in inspection.rows("unmatched_by"):
        inspection.say_all("unmatched_by", key, _of_key(inspection, key, processes))


def _of_held(
    inspection: Inspection, process: str, position: int, row: UnmatchedRow
) -> Iterator[str]:
    if inspection.event(position) is None:
        yield "holds an event that the log does not have"
    for value in row.values:
        if not inspection.has(
            "unmatched_by", unmatched_by_key(process, row.field, value, position)
        ):
            yield f"is held for {row.field}={value!r}, and is not found by that"


def _of_key(inspection: Inspection, key: bytes, processes: set[str]) -> Iterator[str]:
    """Some process manager holds an event there for that value."""
    position = numbered(key)
    for process in processes:
        row: UnmatchedRow | None = inspection.look("unmatched", unmatched_key(process, position))
        if row is not None and any(
            digest(process, row.field, value) == key[:16] for value in row.values
        ):
            return
    yield f"is for an event at {position} that is not held for it"
