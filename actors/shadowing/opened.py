"""A store, or the partitions of a divided one, open to be read."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from ..store import StorageEngine, divided_store, open_store

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from ..store import PayloadCodec, Store

__all__ = ["opened"]


@contextmanager
def opened(
    place: str | os.PathLike[str] | StorageEngine, *, codec: PayloadCodec | None = None
) -> Iterator[list[Store]]:
    """What is at a place, for as long as the block lasts; a service may be writing meanwhile.

    Args:
        place: a folder, an address, or a storage engine, which stays open
        codec: of a store that has one

    Raises:
        StoreError: there is no store, or it cannot be read

    """
    if isinstance(place, StorageEngine):
        yield [open_store(place, read_only=True, codec=codec)]
        return
    divided = divided_store(place)
    with ExitStack() as stack:
        if divided is None:
            yield [stack.enter_context(open_store(place, read_only=True, codec=codec))]
            return
        numbers = range(divided.count)
        yield [stack.enter_context(divided.open(one, read_only=True)) for one in numbers]
