"""The documents that projections keep, as they are stored."""

from __future__ import annotations

from heapq import merge
from itertools import islice
from typing import TYPE_CHECKING

from ..errors import InvalidMessage
from ..queries.documents import StoredDocuments
from ..store import check_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .face import Face
    from .plain import Plain

__all__ = ["documents"]


def documents(
    face: Face,
    projection: str,
    *,
    key: str | None = None,
    prefix: str = "",
    after: str | None = None,
    limit: int = 50,
) -> Iterator[Plain]:
    """Documents in the order of their keys; of a divided store, those of each partition.

    Args:
        face: where to look
        projection: its name
        key: only what is under it
        prefix: only what is under keys that begin with it
        after: only what is under keys behind this one
        limit: most of them

    Raises:
        UnknownMessage: there is no such projection, or there are several
        InvalidMessage: it keeps no documents in the store
        InvalidName: no key can be that

    """
    name = face.known_projection(projection)
    stored = [StoredDocuments(name, log.store) for log in face.logs]
    if not any(one.are_there for one in stored):
        raise InvalidMessage(
            f"{name} keeps no documents in the store; what it writes is in a database of its own, "
            f"or in none"
        )
    if key is not None:
        check_name("document's key", key)
        at = ((number, one.at(key)) for number, one in enumerate(stored))
        return (_row(face, name, key, number, packed) for number, packed in at if packed)
    rows = merge(*(_rows(number, one, prefix, after) for number, one in enumerate(stored)))
    return (_row(face, name, *row) for row in islice(rows, limit))


def _rows(
    number: int, stored: StoredDocuments, prefix: str, after: str | None
) -> Iterator[tuple[str, int, bytes]]:
    for key, packed in stored.rows(prefix, after):
        yield key, number, packed


def _row(face: Face, name: str, key: str, number: int, packed: bytes) -> Plain:
    own = {"partition": number} if face.is_divided else {}
    return {"key": key, **own, "document": face.shown_document(name, packed)}
