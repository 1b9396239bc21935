"""Checks what projections keep in the store: one making that is read, none ahead of the log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..layout.schema import document_set_key

if TYPE_CHECKING:
    from .inspecting import Inspection

__all__ = ["check_documents"]


def check_documents(inspection: Inspection) -> None:
    """Go through the makings of documents, and the documents."""
    seen: set[tuple[str, str]] = set()
    for key, (projection, _), row in inspection.rows("document_sets"):
        if row.position > inspection.last_position:
            inspection.say(
                "document_sets",
                key,
                f"is at position {row.position}, and the log ends at {inspection.last_position}",
            )
        if row.state != "gone" and (projection, row.state) in seen:
            inspection.say("document_sets", key, f"is {row.state} as one before it")
        seen.add((projection, row.state))
    there = b""
    for key, (projection, generation, _), _ in inspection.rows("documents"):
        own = document_set_key(projection, generation)
        if own != there and not inspection.has("document_sets", own):
            inspection.say("documents", key, "is of a making that document_sets does not have")
        there = own
