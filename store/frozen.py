"""A store as it is at one moment: what is read of it does not change while its writer goes on."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from .coded import AS_STORED
from .errors import ReadOnlyStore
from .storage_engine import NOTHING
from .store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from contextlib import AbstractContextManager

    from .storage_engine import EngineReads, EngineSnapshot, StorageEngine, Ticket

__all__ = ["frozen"]


@contextmanager
def frozen(store: Store) -> Iterator[Store]:
    """The store as it is now, for one thread, for as long as the block lasts; commits go on."""
    with store.snapshot() as snapshot:
        # It is decoded already.
        yield Store(_FrozenEngine(snapshot), codec=AS_STORED)


class _FrozenEngine:
    """One snapshot. Satisfies `StorageEngine`."""

    read_only = True
    is_remote = False

    def __init__(self, snapshot: EngineSnapshot) -> None:
        self._snapshot = snapshot
        self.get_many, self.range, self.newest = snapshot.get_many, snapshot.range, snapshot.newest

    def check_usable(self) -> None:
        """It is usable for as long as the snapshot is."""

    def check_owner(self) -> None:
        """Whether the process forked is the snapshot's own affair."""

    @property
    def writer_reads(self) -> EngineReads:
        return self

    def commit(
        self,
        puts: Mapping[str, Mapping[bytes, bytes]],
        deletes: Mapping[str, Collection[bytes]],
        rewritten: Mapping[str, Mapping[bytes, bytes]] = NOTHING,
    ) -> Ticket:
        del puts, deletes, rewritten
        raise ReadOnlyStore("a store as it was at one moment cannot be written to")

    @contextmanager
    def snapshot(self) -> Iterator[EngineSnapshot]:
        yield self._snapshot

    def close(self) -> None:
        """What opened the snapshot lets go of it."""


if TYPE_CHECKING:
    _satisfies_the_seam: Callable[[EngineSnapshot], StorageEngine] = _FrozenEngine
    _is_a_block: Callable[[Store], AbstractContextManager[Store]] = frozen
