"""What a service and its clients agree about, beside the calls."""

from __future__ import annotations

__all__ = ["BY", "END", "LOOK_AGAIN", "ROWS"]

BY = "procession-by"
"""The header in which a client claims who asks, percent-encoded."""

ROWS = "application/x-ndjson"
"""The type of an answer that is rows: one JSON object a line."""

END: dict[str, object] = {}
"""The last of all rows, without which a client takes an answer for broken off."""

LOOK_AGAIN = 0.25
"""Seconds between looks for what is new, while a client follows the log."""
