"""How one partition reads what the others have sent, and tells them that it has sent something."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..store import SentRecord, Store
    from ..store.postgresql.calls import LaneEnds

__all__ = ["NodeNeighbour", "StoreNeighbour"]


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

    def has_sent(self, target: int, sequence: int) -> bool:
        return self.last_sent(target) >= sequence

    def may_have_more(self, target: int, after: int) -> bool:
        del target, after
        # To look costs as much as to read it.
        return True

    def cursor_of(self, source: int) -> int:
        return self.store.cursor_of(source)

    def nudge(self, source: int) -> None:
        self._tell(self._number, source)


class NodeNeighbour(StoreNeighbour):
    """As `StoreNeighbour`, in a database, of which a node looks at all lanes at once.

    It does so before it runs a partition, and once more as soon as it runs it; then it tells the
    partition of all lanes that hold something.

    Args:
        number: of the other partition
        store: that reads it
        tell: as for `StoreNeighbour`
        lanes: what the node knows of lanes, by source and target, from before it ran the target

    """

    def __init__(
        self,
        number: int,
        store: Store,
        tell: Callable[[int, int], None],
        lanes: Mapping[tuple[int, int], LaneEnds],
    ) -> None:
        super().__init__(number, store, tell)
        self._lanes = lanes

    def has_sent(self, target: int, sequence: int) -> bool:
        ends = self._lanes.get((self._number, target))
        # The look may be old: a node that was stopped since reads what others have taken.
        return (ends is not None and ends.sent >= sequence) or super().has_sent(target, sequence)

    def may_have_more(self, target: int, after: int) -> bool:
        del target, after
        return False
