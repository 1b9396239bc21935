"""What LMDB says of its file: how much of it is used, and who reads an old state of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..gauges import OldestReader

if TYPE_CHECKING:
    from .environment import Environment

__all__ = ["file_gauges", "oldest_of"]


def file_gauges(environment: Environment) -> tuple[int, int, OldestReader | None]:
    """The bytes of the map, those of them that are used, and the oldest reader that is behind.

    Raises:
        StoreError: LMDB cannot read

    """

    def look(_: object) -> tuple[int, int, OldestReader | None]:
        env = environment.env
        info = env.info()
        used = (info["last_pgno"] + 1) * env.stat()["psize"]
        return info["map_size"], used, oldest_of(env.readers(), info["last_txnid"])

    # While one reads, no other thread changes the map.
    return environment.look(look)


def oldest_of(listing: str, newest: int) -> OldestReader | None:
    """The reader of the oldest state, in what LMDB lists of its readers; None if none is behind.

    Args:
        listing: a line for each: its process, its thread, and the commit that it reads
        newest: the number of the newest commit

    """
    rows = (line.split() for line in listing.splitlines())
    reading = [
        OldestReader(int(row[0]), newest - int(row[2]))
        for row in rows
        # One that reads nothing now has a dash in the place of the commit.
        if len(row) == 3 and row[0].isdigit() and row[2].isdigit()
    ]
    oldest = max(reading, key=lambda one: one.commits_behind, default=None)
    return oldest if oldest is not None and oldest.commits_behind > 0 else None
