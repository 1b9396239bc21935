"""What a process holds, what a store's file is made of, and whether either has grown."""

import re
import statistics
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from procession.store import LmdbStore

MEGABYTE = 1 << 20


class Held(NamedTuple):
    """What a process holds at one moment. What is mapped from files is not its memory."""

    memory: float
    files: int
    threads: int


class Pages(NamedTuple):
    """The pages of a store's file: what is in use, and what is free or waits to be."""

    live: int
    dead: int

    @property
    def ratio(self) -> float:
        return self.dead / max(1, self.live)


class Bound(NamedTuple):
    """How much more there may be at the end than after the first of the periods."""

    what: str
    factor: float
    more: float


BOUNDS = (
    Bound("memory", 1.15, 8.0),
    Bound("files", 1.0, 3),
    # As many as the options of the load allow: 2 workers with 16 each, 4 for after-effects, 3
    # alarms, one that waits for clients, and its own 6. Those that were once needed stay.
    Bound("threads", 0.0, 46),
    # While a backup or a long look lasts, nothing that is freed is used again: some megabytes.
    # If it never were, each minute would leave many times as much.
    Bound("dead", 1.0, 8_000),
    # Only where what is complete is pruned; what runs, and what is to go, is more at some moments.
    Bound("live", 1.5, 500),
    Bound("reader_memory", 1.15, 8.0),
    Bound("reader_files", 1.0, 0),
    Bound("reader_threads", 1.0, 0),
)
"""Memory in megabytes, dead pages of 4 KB. Live pages grow with the log if nothing is pruned."""


def held() -> Held:
    """What this process holds."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(r"RssAnon:\s+(\d+) kB", status)
    assert found is not None, "this system does not tell anonymous memory apart"
    return Held(
        int(found[1]) * 1024 / MEGABYTE,
        sum(1 for _ in Path("/proc/self/fd").iterdir()),
        threading.active_count(),
    )


def pages(path: str | Path) -> Pages:
    """Of what a store's file is made, as one reader sees it."""
    with LmdbStore(path, read_only=True) as store, store.stored_snapshot() as snapshot:
        stats = [snapshot.txn.stat(table) for table in snapshot.tables.values()]
        stats.append(snapshot.env.stat())
        live = sum(one["branch_pages"] + one["leaf_pages"] + one["overflow_pages"] for one in stats)
        # Two pages are LMDB's own headers.
        return Pages(live, snapshot.env.info()["last_pgno"] - 1 - live)


def grown(what: str, samples: Sequence[Sequence[float]]) -> str:
    """Why it counts as grown, or nothing.

    Args:
        what: as `BOUNDS` has it
        samples: of each period, from the first whose end counts

    """
    bound = next(one for one in BOUNDS if one.what == what)
    before, after = statistics.median(samples[0]), statistics.median(samples[-1])
    most = before * bound.factor + bound.more
    if after <= most:
        return ""
    return f"{what} grew from {before:,.1f} to {after:,.1f}, where {most:,.1f} was the bound"
