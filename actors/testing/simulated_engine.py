"""The runtime's own parts, put together for a simulation: no threads, and accidents."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ..engine.engine import Engine, Options
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
        super().__init__(store, registry, clock, options, dispatcher=SeededScheduler)
        # Whoever makes actors makes those that can fail.
        for router in self.routers:
            waker = partial(SimulatedInstance, router, watch)
            router._wake_instance = waker  # type: ignore[assignment] # noqa: SLF001
        self.command_queue._wakers = {  # noqa: SLF001
            definition.category: partial(SimulatedAggregate, self.command_queue, definition, watch)
            for definition in registry.aggregates.values()
        }
        # No threads for after-effects, and no waiting before a commit is tried again.
        self.effects._most = 0  # noqa: SLF001
        self.journal._may_retry.set()  # noqa: SLF001

    @property
    def scheduler(self) -> SeededScheduler:
        assert isinstance(self.dispatcher, SeededScheduler)
        return self.dispatcher

    @property
    def wants_commit(self) -> bool:
        """Whether a worker with nothing else to do would find something."""
        journal = self.journal
        return bool(journal.pending) or journal._wants_checkpoints or self.effects.has_work()  # noqa: SLF001

    @property
    def effects_ready(self) -> bool:
        """Whether an after-effect is to run."""
        return bool(self.effects._ready)  # noqa: SLF001

    def put_to_sleep(self) -> int:
        """Passivate whoever has nothing to do; returns how many that were."""
        residency = self.residency
        awake = residency._awake  # noqa: SLF001
        idle = [key for key, actor in awake.items() if actor.is_done]
        for key in idle:
            del awake[key]
        residency._room += len(idle)  # noqa: SLF001
        residency.passivated += len(idle)
        return len(idle)
