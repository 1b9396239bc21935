"""Checks the list of erasures: numbers without gaps, and names where there must be one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .inspecting import Inspection

__all__ = ["check_erasures"]


def check_erasures(inspection: Inspection) -> None:
    """Go through the table."""
    before = 0
    for key, erasure_number, row in inspection.rows("erasures"):
        inspection.say_gap("erasures", key, b"", before, erasure_number)
        before = erasure_number
        if bool(row.name) != (row.kind == "instance"):
            inspection.say("erasures", key, f"is of a {row.kind} with the name {row.name!r}")
