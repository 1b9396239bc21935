"""Which simulated node owns which partition, by leases with epochs, as all nodes read it.

It stands where a table stands that all nodes share. The node that takes a partition raises its
epoch, and every commit names the epoch that its node knows: so a commit of the node that had the
partition before is refused, however late it comes.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...store import TakenOver

__all__ = ["Lease", "Leases"]


@dataclass(slots=True)
class Lease:
    """Who has one partition.

    Attributes:
        epoch: how often it was taken
        node: the name of the node that took it last; empty when that one has let go of it
        has_run_out: whether another node may take it, since its node has not renewed it in time

    """

    epoch: int = 0
    node: str = ""
    has_run_out: bool = False


class Leases:
    """The leases of all partitions.

    Args:
        partitions: how many there are

    """

    def __init__(self, partitions: int) -> None:
        self._leases = [Lease() for _ in range(partitions)]

    def __getitem__(self, partition: int) -> Lease:
        return self._leases[partition]

    def of(self, node: str) -> list[int]:
        """The partitions of a node."""
        return [number for number, lease in enumerate(self._leases) if lease.node == node]

    @property
    def free(self) -> list[int]:
        """The partitions that a node may take."""
        leases = enumerate(self._leases)
        return [number for number, lease in leases if not lease.node or lease.has_run_out]

    def take(self, partition: int, node: str) -> int:
        """Have a node own a partition from now on; returns the epoch that its commits name."""
        lease = self._leases[partition]
        lease.epoch += 1
        lease.node, lease.has_run_out = node, False
        return lease.epoch

    def release(self, partition: int) -> None:
        """Have no node own a partition."""
        lease = self._leases[partition]
        lease.node, lease.has_run_out = "", False

    def refusal(self, partition: int, epoch: int) -> TakenOver | None:
        """What a commit is answered that names an epoch; None if that is the newest."""
        lease = self._leases[partition]
        if lease.epoch == epoch:
            return None
        return TakenOver(
            f"partition {partition} was taken over by {lease.node or 'another node'}, with epoch "
            f"{lease.epoch}; this commit names epoch {epoch}, and nothing of it was kept"
        )
