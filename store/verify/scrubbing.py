"""Reading the rows of a store again and again, a few at a time, to find those that are damaged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..coded import AS_STORED
from ..errors import StoreError
from ..layout.keys import Misshapen
from ..layout.schema import TABLES, key_of, readable, row_of
from ..lmdb.store import LmdbStore
from .inspecting import StoreFinding

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator

__all__ = ["scrub"]

MOST_AT_ONCE = 256
"""Rows that are read at once, in a read transaction that ends with them."""


def scrub(
    path: str | os.PathLike[str],
    rows_a_second: int,
    *,
    pause: Callable[[float], bool],
    found: Callable[[StoreFinding], object],
    passed: Callable[[int], object],
) -> None:
    """Look at each row's checksum and shape, and begin again, until a pause says that it is over.

    What two rows both say is not compared: that is what `verify` does.

    Args:
        path: the store's folder; its writer may go on
        rows_a_second: at most
        pause: waits so many seconds; returns whether to go on
        found: is given what is wrong, each time it is met
        passed: is given how many rows there were, when each was looked at

    Raises:
        StoreError: there is no store, or it cannot be opened at all

    """
    at_once = min(rows_a_second, MOST_AT_ONCE)
    with LmdbStore(path, read_only=True, codec=AS_STORED) as store:
        while True:
            rows = 0
            for table in TABLES:
                for some in _parts(store, table, at_once, found):
                    rows += some
                    if not pause(some / rows_a_second):
                        return
            passed(rows)
            # Of an empty store as well, it is not to be read without a pause.
            if not pause(1.0):
                return


def _parts(
    store: LmdbStore, table: str, at_once: int, found: Callable[[StoreFinding], object]
) -> Iterator[int]:
    """Check a table in parts; yields how many rows each has."""
    start = b"\0"
    while True:
        try:
            rows = store.rows_from(table, start, at_once)
        except StoreError as error:
            # What comes behind it cannot be found either.
            found(StoreFinding(table, "", str(error)))
            return
        for key, raw in rows:
            try:
                key_of(table, key)
                row_of(table, key, raw)
            except Misshapen as error:
                found(StoreFinding(table, readable(table, key), str(error)))
        yield len(rows)
        if len(rows) < at_once:
            return
        start = rows[-1][0] + b"\0"
