"""Checks the counts that are kept, against what was counted while all tables were gone through."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..layout.schema import count_key

if TYPE_CHECKING:
    from .inspecting import Inspection

__all__ = ["check_counts"]

_TABLES = {
    "event": ("log",),
    "instance": ("transitions", "ids", "waiting"),
    "parked": ("parked",),
}
"""Where that is of which there are counts."""


def check_counts(inspection: Inspection) -> None:
    """Go through the table, when all others were gone through.

    What is kept in memory for it are the names, of which there are few.
    """
    counted = inspection.counts
    # Of what is damaged it cannot be told how it is to be counted.
    damaged = [one.table for one in inspection.findings]
    unread = {of: sum(damaged.count(one) for one in tables) for of, tables in _TABLES.items()}
    for key, _, row in inspection.rows("counts"):
        if key != count_key(row.of, *row.names):
            inspection.say("counts", key, f"has the key of another than {_said(row.of, row.names)}")
        found = counted.pop((row.of, *row.names), 0)
        if not found <= row.count <= found + unread[row.of]:
            inspection.say(
                "counts", key, f"says {row.count} {_said(row.of, row.names)}, and {found} are there"
            )
    for (of, *names), found in counted.items():
        key = count_key(of, *names)
        if not inspection.has("counts", key):
            inspection.say("counts", key, f"is missing, and {found} {_said(of, names)} are there")


def _said(of: str, names: list[str]) -> str:
    return f"{of} ({', '.join(names)})"
