"""How far a file is in a store: a row that is written in the commit of what it tells of.

A digest of all rows that are imported goes with it. So what is there already is passed over only
where the file still begins with just these rows; in any other, each event is told by its id.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

from ..store import SourceMark, StoreError, open_store

if TYPE_CHECKING:
    import os

    from ..store import PayloadCodec
    from .files_opened import Row
    from .mapping import Placed, Prepared

__all__ = ["SourceProgress", "digest_of_row", "mark_of"]

_SIZE = 16
_ALL = 1 << 63
"""Digests are added up below this, so that the order of the rows makes no difference."""


def digest_of_row(row: Row) -> int:
    """What tells a row from others."""
    said = blake2b(repr(row).encode(), digest_size=8).digest()
    return int.from_bytes(said, "big") % _ALL


def mark_of(store: str | os.PathLike[str], codec: PayloadCodec | None = None) -> SourceMark | None:
    """How far the source is that was imported last; None if there is none."""
    try:
        with open_store(store, read_only=True, codec=codec) as found:
            return found.imported_up_to() if found.is_import else None
    except StoreError:
        # There is none yet, or opening it for the import says what is wrong.
        return None


class SourceProgress:
    """Tells which rows are in the store, while a source is read and while it is imported.

    Args:
        said: what tells the source, and how it is read, from others
        mark: how far some source is in the store

    Attributes:
        passed_over: how many rows were found to be in the store

    """

    def __init__(self, said: bytes, mark: SourceMark | None) -> None:
        self._source = blake2b(said, digest_size=_SIZE).hexdigest()
        self._mark = mark if mark is not None and mark.source == self._source else None
        self._last: tuple[int, int, int] | None = None if self._mark is None else self._mark[1:4]
        self.passed_over = self._rows = self._digest = 0

    def has(self, placed: Placed, digest: int) -> bool:
        """Whether a row is in the store, as far as it can be told before all are read."""
        if self._last is None or placed > self._last:
            return False
        self.passed_over += 1
        self._rows += 1
        self._digest = (self._digest + digest) % _ALL
        return True

    @property
    def is_right(self) -> bool:
        """Whether the rows that were passed over are those that were imported, and no others."""
        mark = self._mark
        return mark is None or (mark.rows, mark.digest) == (self._rows, f"{self._digest:x}")

    def note(self, one: Prepared) -> None:
        """A row was imported, behind those before it."""
        self._last = (one.time, one.place, one.row)
        self._rows += 1
        self._digest = (self._digest + one.digest) % _ALL

    def mark(self) -> SourceMark | None:
        """How far it is; None before the first row."""
        if self._last is None:
            return None
        return SourceMark(self._source, *self._last, self._rows, f"{self._digest:x}")
