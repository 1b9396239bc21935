"""What goes wrong with a capsule."""

from __future__ import annotations

from ..store import ProcessionError

__all__ = ["CapsuleError"]


class CapsuleError(ProcessionError):
    """A capsule cannot be made, or a file is none that can be opened."""
