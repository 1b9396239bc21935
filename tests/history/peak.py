"""The most memory that a call takes."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["peak_memory"]


def peak_memory(call: Callable[[], object]) -> int:
    """Bytes that Python had at the highest while something was done, beyond those before."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
