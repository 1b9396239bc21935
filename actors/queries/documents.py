"""Reading what a projection keeps in the store, from outside of its handlers."""

from __future__ import annotations

from heapq import merge
from itertools import groupby
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ..errors import SeveralDocuments
from ..store import check_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ..authoring.documents import Documents
    from ..store import Store

__all__ = ["DocumentReader", "StoredDocuments"]

T = TypeVar("T")

PAGE = 256
"""Documents that are read at a time."""


class DocumentReader(Generic[T]):
    """The documents of one projection, as they are on disk; any thread may use it.

    Args:
        projection: its name
        documents: what they are
        stores: where they are; of a divided store, all partitions
        refuse_closed: raises an error if the runtime was closed

    """

    def __init__(
        self,
        projection: str,
        documents: Documents[T],
        stores: Sequence[Store],
        refuse_closed: Callable[[], None],
    ) -> None:
        self._projection = projection
        self._documents = documents
        self._stored = [StoredDocuments(projection, store) for store in stores]
        self._refuse_closed = refuse_closed

    def __repr__(self) -> str:
        return f"<documents of {self._projection}>"

    def get(self, key: str) -> T | None:
        """The document under a key, or None.

        Args:
            key: as the projection has put it

        Raises:
            SeveralDocuments: several partitions have one, and the class gives no `merge=`
            InvalidName: no key can be that
            InvalidMessage: it does not fit the kind that the class says

        """
        check_name("document's key", key)
        self._refuse_closed()
        found = [
            self._documents.load(packed)
            for stored in self._stored
            if (packed := stored.at(key)) is not None
        ]
        return self._one_of(key, found) if found else None

    def items(self, prefix: str = "", *, after: str | None = None) -> Iterator[tuple[str, T]]:
        """Keys and documents, in order of the keys; nothing is kept open in between.

        Args:
            prefix: what the keys begin with
            after: only keys behind this one

        Raises:
            SeveralDocuments: as `get`
            InvalidMessage: as `get`

        """
        rows = merge(*(stored.rows(prefix, after) for stored in self._stored), key=_key_of)
        self._refuse_closed()
        for key, group in groupby(rows, _key_of):
            yield key, self._one_of(key, [self._documents.load(packed) for _, packed in group])

    def _one_of(self, key: str, found: list[T]) -> T:
        first, *others = found
        for other in others:
            if self._documents.merge is None:
                raise SeveralDocuments(self._projection, key)
            first = self._documents.merge(first, other)
        return first


class StoredDocuments:
    """The documents of one projection in one log, as they are stored; no class is needed.

    Args:
        projection: its name
        store: of the log

    """

    def __init__(self, projection: str, store: Store) -> None:
        self._projection = projection
        self._store = store

    @property
    def are_there(self) -> bool:
        """Whether the projection keeps any, if only none by now."""
        return bool(self._store.document_sets(self._projection))

    def at(self, key: str) -> bytes | None:
        """The one under a key."""
        store = self._store
        while True:
            generation = self._generation()
            packed = store.document_at(self._projection, generation, key)
            # Others may have been put into the place of these meanwhile.
            if packed is not None or generation == self._generation():
                return packed

    def rows(self, prefix: str, after: str | None) -> Iterator[tuple[str, bytes]]:
        """Keys and documents, in order of the keys; nothing is kept open in between.

        Args:
            prefix: what the keys begin with
            after: only keys behind this one

        """
        while True:
            generation = self._generation()
            page = self._store.read_documents(self._projection, generation, prefix, after, PAGE)
            if generation != self._generation():
                continue
            yield from page
            if len(page) < PAGE:
                return
            after = page[-1][0]

    def _generation(self) -> int:
        """Which making is read; 0 before the first."""
        sets = self._store.document_sets(self._projection)
        return next((one.generation for one in sets if one.state == "live"), 0)


def _key_of(row: tuple[str, Any]) -> str:
    return row[0]
