"""One engine that runs on one store, from its opening to its end."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ...engine.engine import Engine, Options, Parts
from ...engine.ingress import Ingress
from .scheduler import SeededScheduler
from .simulated_actors import SimulatedAggregate, SimulatedInstance

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...clock import Clock
    from ...engine.lanes import Neighbour
    from ...model.registry import Registry
    from .faults import Faults
    from .simulated_store import SimulatedStore

__all__ = ["Running"]


class Running:
    """The real engine with its scheduler, on a store of its own; its turns come from outside.

    Args:
        store: that it writes
        faults: what goes wrong in it
        registry: all classes
        clock: where the time comes from
        options: as for the engine
        run: in the ids that it makes; no other run on the same tables has the same
        neighbours: of a partition, the others by number

    """

    def __init__(
        self,
        store: SimulatedStore,
        faults: Faults,
        registry: Registry,
        clock: Clock,
        options: Options,
        *,
        run: str,
        neighbours: Mapping[int, Neighbour] | None = None,
    ) -> None:
        self.store = store
        self.faults = faults
        self.registry = registry
        self.ingress = Ingress(registry, clock, store.secret(), run=run)
        parts = Parts(
            dispatcher=SeededScheduler,
            instance_actor=partial(SimulatedInstance, faults),
            aggregate_actor=partial(SimulatedAggregate, faults),
            has_threads=False,
        )
        self.engine = Engine(store, registry, clock, options, parts, neighbours=neighbours)
        assert isinstance(self.engine.dispatcher, SeededScheduler)
        self.scheduler = self.engine.dispatcher
        faults.let_others = self.scheduler.let_others

    @property
    def number(self) -> int:
        """The partition that it runs; 0 if the store is not divided."""
        partition = self.store.partition
        return 0 if partition is None else partition.number

    @property
    def is_drained(self) -> bool:
        """Whether it has done, durably, all that it has begun."""
        return not (self.scheduler.ready or self.engine.wants_idle)
