"""Rows that come in any order and are wanted in that of their keys, kept on disk meanwhile."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Self

import lmdb

from ..lmdb.private_files import create_file
from .rewriting import ROOM, gone_on_failure, in_parts, refusals_of_the_disk

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from lmdb import _Database

    from .rewriting import Rows

__all__ = ["Sorter"]


class Sorter:
    """A file of its own for rows that are put first, and read in the order of their keys then.

    Args:
        file: is made, and removed at the end
        tables: by which rows are told apart
        size: bytes that the file may come to have, beside some room

    """

    def __init__(self, file: Path, tables: Sequence[str], size: int) -> None:
        self._file = file
        # Here, where it is known that what fails is the writing.
        with refusals_of_the_disk(file):
            file.unlink(missing_ok=True)
            with gone_on_failure(file):
                self._env = self._make(len(tables), size)
                try:
                    self._db: dict[str, _Database] = {
                        table: self._env.open_db(table.encode()) for table in tables
                    }
                except BaseException:
                    self._env.close()
                    raise

    def _make(self, tables: int, size: int) -> lmdb.Environment:
        os.close(create_file(self._file))
        return lmdb.Environment(
            str(self._file),
            subdir=False,
            lock=False,
            sync=False,
            max_dbs=tables,
            map_size=size + ROOM,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._env.close()
        self._file.unlink(missing_ok=True)

    def put(self, table: str, rows: Rows) -> None:
        """Take up rows; no reader may be there meanwhile."""
        for some in in_parts(rows):
            with (
                refusals_of_the_disk(self._file),
                self._env.begin(write=True) as txn,
                txn.cursor(self._db[table]) as cursor,
            ):
                cursor.putmulti(some)

    def rows(self, table: str) -> Rows:
        """All that was put, in the order of the keys."""
        with self._env.begin() as txn, txn.cursor(self._db[table]) as cursor:
            yield from cursor
