"""This process as a node: its share of the partitions of a database, which changes as others come.

A thread looks a few times a second who owns what. It opens partitions that are free while this node
has less than its share, and hands over what is more than that. A partition that another node took
over ends here, and nothing else does.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

from ..engine.leader_watch import LeaderWatch
from ..store import StoreError
from ..store.interrupts import start_thread
from .answering import Answering
from .balancing import Look, decide
from .call_format import CallFormat
from .correspondence import Correspondence
from .neighbours import NodeNeighbour
from .node_partition import NodePartition
from .outage import Outage
from .partition_runtime import PartitionRuntime

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from ..engine.pending_replies import ReplyFuture
    from ..model.domain import Domain
    from ..model.registry import Registry
    from ..store.postgresql.calls import LaneEnds
    from ..store.postgresql.divided_database import DividedDatabase

__all__ = ["NodeShare"]

logger = logging.getLogger("procession")

LOOK_EVERY = 0.2
"""Seconds between two looks at who owns what."""

TOGETHER = 32
"""Partitions that are looked at in one trip as they are opened."""


class NodeShare:
    """The partitions of a divided store in a database, of which this process runs some.

    Args:
        divided: the store
        registry: all classes
        domains: whose classes to run
        options: as for `Runtime`, for each partition

    Attributes:
        parts: all partitions, in order
        node: the connections of this process, and its lease

    """

    def __init__(
        self,
        divided: DividedDatabase,
        registry: Registry,
        domains: tuple[Domain, ...],
        options: dict[str, Any],
    ) -> None:
        self._divided = divided
        self._domains = domains
        self._options = options
        self.node = divided.node()
        self.parts: list[NodePartition] = []
        self._before: Look | None = None
        self._leaving: dict[int, threading.Thread] = {}
        self._waits_for = ""
        # Of lanes from other nodes' partitions to those here, the newest that was told of.
        self._heads: dict[tuple[int, int], int] = {}
        # Lanes as they were before the partitions were run that are being opened.
        self._lanes: dict[tuple[int, int], LaneEnds] = {}
        # Partitions that are being opened: what they sent before is looked for afterwards.
        self._opening: set[int] = set()
        # Partitions that run and were not told yet what the lanes to them hold.
        self._untold: set[int] = set()
        # Partitions that are this node's in the database, and do not run, with their epochs.
        self._orphans: dict[int, int] = {}
        self._is_over = threading.Event()
        self._leaders = LeaderWatch()
        form = CallFormat(registry, options.get("codec"))
        self._answering = Answering(self.parts, form, self._wake)
        self._correspondence = Correspondence(
            self.node.calls, self._owned, self._others, self._answering, self._has_moved, form
        )
        self._outage = Outage("the nodes of the store cannot be looked at")
        self._unopened = [
            Outage(f"partition {one} cannot be opened") for one in range(divided.count)
        ]
        self._thread = threading.Thread(target=self._keep, name="procession-node", daemon=True)
        try:
            for some in _pages_of(range(divided.count)):
                with self.node.opening(some):
                    for number in some:
                        self.parts.append(self._part(number, form))
            self._neighbours = {
                part.number: NodeNeighbour(part.number, part.store, self._tell, self._lanes)
                for part in self.parts
            }
            self.node.lease.begin(registry.reads(), registry.writes())
            self._balance(raises=True)
            self._tell_of_lanes()
            self._correspondence.start()
            start_thread(self._thread)
        except BaseException:
            self.close(timeout=0.0)
            raise

    def _part(self, number: int, form: CallFormat) -> NodePartition:
        options = self._options
        store = self._divided.open(
            number, read_only=True, codec=options.get("codec"), node=self.node
        )
        return NodePartition(number, store, self._ask, form, *self._domains, **options)

    def _ask(
        self, number: int, kind: str, request: bytes, finish: Callable[[Any], Any]
    ) -> ReplyFuture[Any]:
        return self._correspondence.call(number, kind, request, finish)

    def _wake(self) -> None:
        self._correspondence.wake()

    def _owned(self) -> list[int]:
        return [part.number for part in self.parts if part.local is not None]

    def _others(self) -> list[int]:
        return [part.number for part in self.parts if part.local is None]

    def _tell(self, target: int, source: int) -> None:
        """A partition has sent something to another one, which another node may run."""
        local = self.parts[target].local
        if local is not None and source not in self._opening:
            local.nudge(source)

    def _has_moved(self, sources: list[int]) -> None:
        """Partitions of other nodes have new commits."""
        for source in sources:
            self.parts[source].has_moved()
        if not self._owned():
            return
        # A look at each lane would be a trip for each.
        for (source, target), head in self.node.calls.heads(sources).items():
            if self._heads.get((source, target)) != head:
                self._tell(target, source)
                self._heads[source, target] = head

    @property
    def has_taken_all(self) -> bool:
        """Whether all that partitions have sent to others, durably, was taken, durably."""
        return self.node.calls.are_lanes_empty(range(len(self.parts)))

    # Its share

    def _keep(self) -> None:
        while not self._is_over.wait(LOOK_EVERY):
            try:
                self._balance()
                self._tell_of_lanes()
                for part in self.parts:
                    local = part.local
                    if local is not None:
                        local.try_lanes_again()
            except StoreError as error:
                # Who seemed to be gone has to seem so twice again.
                self._before = None
                self._outage.failed(error)
            else:
                self._outage.went_well()

    def _balance(self, *, raises: bool = False) -> None:
        lease = self.node.lease
        look = Look(*lease.look())
        for row in look.owners:
            # It ends here before anything else is done about it.
            if row.token != lease.id and self.parts[row.part].local is not None:
                lease.lose(row.part)
                self._leave(row.part, timeout=0.0)
        self._take_orphans(look)
        decision = decide(lease.id, look, self._before)
        self._before = look
        if decision.waits_for != self._waits_for:
            self._waits_for = decision.waits_for
            lease.say_waits_for(decision.waits_for)
            if decision.waits_for:
                logger.warning(
                    "this node owns no partition until %s is gone: one of the two writes messages "
                    "that the other one cannot read",
                    decision.waits_for,
                )
        for number in decision.leave:
            if self.parts[number].local is not None:
                self._leave(number, timeout=None)
        free = {one: epoch for one, epoch in decision.take.items() if self._is_free_here(one)}
        self._run_all(lease.take(free), raises=raises)

    def _take_orphans(self, look: Look) -> None:
        """Run what was taken by a statement whose answer was lost, once that is seen twice."""
        orphans = {
            row.part: row.epoch
            for row in look.owners
            if row.token == self.node.lease.id and self._is_free_here(row.part)
        }
        again = {one: epoch for one, epoch in orphans.items() if self._orphans.get(one) == epoch}
        self._run_all(self.node.lease.take(again), raises=False)
        self._orphans = orphans

    def _is_free_here(self, number: int) -> bool:
        return number not in self._leaving and self.parts[number].local is None

    def _run_all(self, numbers: Collection[int], *, raises: bool) -> None:
        """Run partitions that are this node's now."""
        if not numbers:
            return
        self._lanes.clear()
        self._lanes.update(self.node.calls.lanes(range(len(self.parts))))
        self._opening.update(numbers)
        try:
            for some in _pages_of(numbers):
                with self.node.opening(some):
                    for number in some:
                        if self._is_over.is_set():
                            return
                        self._run(number, raises=raises)
        finally:
            self._opening.clear()
            self._lanes.clear()

    def _run(self, number: int, *, raises: bool) -> None:
        try:
            store = self._divided.open(number, codec=self._options.get("codec"), node=self.node)
        except BaseException:
            self.node.lease.claimed(number).close()
            raise
        others = {one: other for one, other in self._neighbours.items() if one != number}
        try:
            runtime = PartitionRuntime(
                store, others, *self._domains, watch=self._leaders, **self._options
            )
        except Exception as error:
            store.close()
            if raises:
                raise
            self._unopened[number].failed(error)
            return
        self._unopened[number].went_well()
        self._untold.add(number)
        self.parts[number].local = runtime
        # Who waited for a commit of another node's waits for one of this node's now.
        self.parts[number].has_moved()

    def _tell_of_lanes(self) -> None:
        """Tell partitions that run since a while ago, and others of them, what lanes hold.

        It may have been sent while no node ran who it is for, or by who ended before it told.
        """
        if not self._untold:
            return
        for (source, target), ends in self.node.calls.lanes(range(len(self.parts))).items():
            if self._untold.isdisjoint((source, target)):
                continue
            if ends.sent != ends.taken:
                self._tell(target, source)
            self._heads[source, target] = ends.sent
        self._untold.clear()

    def _leave(self, number: int, timeout: float | None) -> None:
        """Hand a partition over, beside all else."""
        if number in self._leaving:
            return

        def leave() -> None:
            try:
                self.parts[number].leave(timeout)
            except Exception:
                logger.exception("partition %s could not be handed over in order", number)
            finally:
                self._leaving.pop(number, None)

        thread = threading.Thread(target=leave, name="procession-hand-over", daemon=True)
        self._leaving[number] = thread
        start_thread(thread)

    def close(self, *, timeout: float | None) -> None:
        """Hand all over."""
        self._is_over.set()
        if self._thread.is_alive():
            self._thread.join()
        for thread in list(self._leaving.values()):
            thread.join()
        error: BaseException | None = None
        for part in self.parts:
            try:
                part.leave(timeout)
            except Exception as one:  # noqa: BLE001 - it is raised when the others are closed
                error = error or one
        # First, since it hands calls over until then.
        self._correspondence.close()
        self._answering.close()
        for part in self.parts:
            part.close(timeout=timeout)
        self.node.close()
        if error is not None:
            raise error


def _pages_of(numbers: Collection[int]) -> Iterator[list[int]]:
    """Partitions that are opened together."""
    ordered = sorted(numbers)
    for start in range(0, len(ordered), TOGETHER):
        yield ordered[start : start + TOGETHER]
