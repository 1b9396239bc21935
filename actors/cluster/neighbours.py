"""How one partition reads what the others have sent, and tells them that it has sent something."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..store import SentRecord, Store

__all__ = ["StoreNeighbour"]


class StoreNeighbour:
    """Another partition, of which only what is durable is read. Satisfies `Neighbour`.

    LMDB shows a commit to other readers, of this process or another, when it is durable.

    Args:
        number: of the other partition
        store: its own, or one that reads it beside its writer
        tell: tells its runtime, if that is in this process, of more in the lane from a partition

    """

    def __init__(self, number: int, store: Store, tell: Callable[[int, int], None]) -> None:
        self._number = number
        self._tell = tell
        self.store = store

    def read_lane(self, target: int, after: int, limit: int) -> list[SentRecord]:
        return self.store.read_lane(target, after, limit)

    def last_sent(self, target: int) -> int:
        return self.store.last_sent(target)

    def cursor_of(self, source: int) -> int:
        return self.store.cursor_of(source)

    def nudge(self, source: int) -> None:
        self._tell(self._number, source)
