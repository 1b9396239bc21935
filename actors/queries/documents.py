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

__all__ = ["DocumentReader"]

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
        self._stores = stores
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
            for store in self._stores
            if (packed := self._packed(store, key)) is not None
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
        rows = merge(*(self._rows(store, prefix, after) for store in self._stores), key=_key_of)
        for key, group in groupby(rows, _key_of):
            yield key, self._one_of(key, [self._documents.load(packed) for _, packed in group])

    def _one_of(self, key: str, found: list[T]) -> T:
        first, *others = found
        for other in others:
            if self._documents.merge is None:
                raise SeveralDocuments(self._projection, key)
            first = self._documents.merge(first, other)
        return first

    def _packed(self, store: Store, key: str) -> bytes | None:
        while True:
            generation = self._generation(store)
            packed = store.document_at(self._projection, generation, key)
            # Others may have been put into the place of these meanwhile.
            if packed is not None or generation == self._generation(store):
                return packed

    def _rows(self, store: Store, prefix: str, after: str | None) -> Iterator[tuple[str, bytes]]:
        while True:
            self._refuse_closed()
            generation = self._generation(store)
            page = store.read_documents(self._projection, generation, prefix, after, PAGE)
            if generation != self._generation(store):
                continue
            yield from page
            if len(page) < PAGE:
                return
            after = page[-1][0]

    def _generation(self, store: Store) -> int:
        """Which making is read; 0 before the first."""
        sets = store.document_sets(self._projection)
        return next((one.generation for one in sets if one.state == "live"), 0)


def _key_of(row: tuple[str, Any]) -> str:
    return row[0]
