"""What is in a store's file: every row of every table, as it was packed."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import lmdb

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Row", "rows_of"]


class Row(NamedTuple):
    """One row."""

    table: str
    key: bytes
    value: bytes


def rows_of(store: Path) -> Iterator[Row]:
    """The rows of a store that no process has open."""
    with (
        lmdb.Environment(str(store), readonly=True, max_dbs=32) as env,
        env.begin() as txn,
    ):
        # LMDB keeps the tables' names as the keys of its main one.
        for name in [bytes(name) for name, _ in txn.cursor()]:
            table = env.open_db(name, txn=txn, create=False)
            for key, value in txn.cursor(table):
                yield Row(name.decode(), key, value)
