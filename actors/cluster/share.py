"""The partitions that one process runs, and what it reads of the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..engine.leader_watch import LeaderWatch
from ..store import DamagedStore, verify_lanes
from .commit_watch import CommitWatch, Watched
from .neighbours import StoreNeighbour
from .partition_runtime import PartitionRuntime

if TYPE_CHECKING:
    from collections.abc import Collection

    from ..model.domain import Domain
    from ..store import DividedStore, Store

__all__ = ["Share"]


class Share:
    """Some partitions of a divided store, open in this process.

    Args:
        divided: the store
        numbers: of the partitions
        domains: whose classes to run
        options: as for `Runtime`, for each partition

    Raises:
        LockedStore: another process has one of them open for writing
        DamagedStore: one of them, or of those that they exchange with, is from an older backup

    """

    def __init__(
        self,
        divided: DividedStore,
        numbers: Collection[int],
        domains: tuple[Domain, ...],
        options: dict[str, Any],
    ) -> None:
        self.parts: dict[int, PartitionRuntime] = {}
        self._watch: CommitWatch | None = None
        self._read: dict[int, Store] = {}
        owned: dict[int, Store] = {}
        watched: dict[int, Watched] = {}
        codec = options.get("codec")
        try:
            for number in numbers:
                owned[number] = divided.open(number, codec=codec)
            for number in range(divided.count):
                if number not in owned:
                    opened = divided.open(number, read_only=True, codec=codec)
                    self._read[number] = watched[number] = opened
            _refuse_unfit(owned | self._read, numbers)
            neighbours = {
                number: StoreNeighbour(number, store, self._tell)
                for number, store in (owned | self._read).items()
            }
            leaders = LeaderWatch()
            for number in numbers:
                others = {one: other for one, other in neighbours.items() if one != number}
                store = owned.pop(number)
                self.parts[number] = PartitionRuntime(
                    store, others, *domains, watch=leaders, **options
                )
            self._watch = CommitWatch(watched, self._has_moved)
            self._watch.start()
        except BaseException:
            for store in owned.values():
                store.close()
            self.close(timeout=0.0)
            raise

    def _tell(self, target: int, source: int) -> None:
        """A partition has sent something to another one, which another process may run."""
        part = self.parts.get(target)
        if part is not None:
            part.nudge(source)

    def _has_moved(self, source: int) -> None:
        """A partition that another process runs has committed something."""
        for part in self.parts.values():
            part.nudge(source)

    @property
    def has_taken_all(self) -> bool:
        """Whether all that partitions have sent to those here, durably, was taken, durably."""
        return all(part.has_taken_all for part in self.parts.values())

    def close(self, *, timeout: float | None) -> None:
        """Close all of them; each is closed whatever becomes of the others."""
        if self._watch is not None:
            self._watch.close()
        error: BaseException | None = None
        for part in self.parts.values():
            try:
                part.close(timeout=timeout)
            except Exception as one:  # noqa: BLE001 - it is raised when the others are closed
                error = error or one
        for store in self._read.values():
            store.close()
        if error is not None:
            raise error


def _refuse_unfit(stores: dict[int, Store], numbers: Collection[int]) -> None:
    """Refuse what does not fit together before any partition takes what it must not."""
    findings = verify_lanes([stores[number] for number in sorted(stores)], numbers)
    if findings:
        told = "; ".join(finding.problem for finding in findings[:3])
        raise DamagedStore(
            f"{told}: one of the two partitions is from an older backup, or damaged; go back to "
            f"the same backup with all of them"
        )
