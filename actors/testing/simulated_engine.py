"""The runtime's own parts, put together for a simulation: no threads, and accidents."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ..engine.engine import Engine, Options, Parts
from .faults import SimulatedAggregate, SimulatedInstance
from .scheduler import SeededScheduler

if TYPE_CHECKING:
    from ..model.registry import Registry
    from .faults import SimulatedStore, Watch
    from .scheduler import SimulatedClock

__all__ = ["SimulatedEngine"]


class SimulatedEngine(Engine):
    """Everything that runs between two crashes."""

    def __init__(
        self,
        store: SimulatedStore,
        registry: Registry,
        clock: SimulatedClock,
        options: Options,
        watch: Watch,
    ) -> None:
        parts = Parts(
            dispatcher=SeededScheduler,
            instance_actor=partial(SimulatedInstance, watch),
            aggregate_actor=partial(SimulatedAggregate, watch),
            has_threads=False,
        )
        super().__init__(store, registry, clock, options, parts)

    @property
    def scheduler(self) -> SeededScheduler:
        assert isinstance(self.dispatcher, SeededScheduler)
        return self.dispatcher
