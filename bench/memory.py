"""The memory that this process holds, as the kernel counts it. Needs Linux.

LMDB maps its file into the process, and the kernel counts every page of it that was looked at as
resident, though it may take each away at any moment. So two numbers are kept apart: *anonymous*
memory, which is what the process allocated and no other process can use, and *mapped* memory, which
is pages of files: of the store, and of shared libraries. The figures are about the first one.
"""

from __future__ import annotations

import gc
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Memory", "resident", "settled"]


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes that are resident: what was allocated, and pages of files."""

    anonymous: int
    mapped: int


def resident() -> Memory:
    """What this process holds right now."""
    found: dict[str, int] = {}
    with Path("/proc/self/smaps_rollup").open(encoding="ascii") as file:
        next(file)
        for line in file:
            name, size, *_ = line.split()
            found[name] = int(size) * 1024
    anonymous = found["Anonymous:"]
    return Memory(anonymous, found["Rss:"] - anonymous)


def settled() -> Memory:
    """What this process holds once what is garbage has gone."""
    gc.collect()
    return resident()
