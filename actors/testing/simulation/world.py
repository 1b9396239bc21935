"""One simulated process: what a crash ends, and what starts anew on what was durable."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from ...engine.engine import Engine, Options, Parts
from ...engine.ingress import Ingress
from ...errors import QueryInHandler, WaitingInHandler
from ...queries.reader import Reader
from ...store import DictionaryEngine
from .faults import Crash, Faults, RuntimeBroke
from .run_log import RunLog
from .scheduler import SeededScheduler
from .simulated_actors import SimulatedAggregate, SimulatedInstance
from .simulated_clock import SimulatedClock
from .simulated_disk import SimulatedDisk
from .simulated_store import SimulatedStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from ...model.registry import Registry
    from ...store import Durability
    from .deviations import Deviations

__all__ = ["World"]

logger = logging.getLogger("procession")


class World:
    """The runtime's parts between two crashes, and what outlives a crash.

    That is the clock, the faults, the log, and what was committed to dictionaries, which take and
    refuse what a file would.

    Args:
        registry: all classes
        deviations: from the ordinary run
        start: the clock's first time
        durability: as for `Runtime`
        options: as for the engine

    Attributes:
        has_changed: whether a reader may see something else than when this was last set to false

    """

    def __init__(
        self,
        registry: Registry,
        deviations: Deviations,
        *,
        start: datetime | None,
        durability: Durability,
        options: Options,
    ) -> None:
        self.registry = registry
        self.options = options
        self.clock = SimulatedClock(start)
        self.log = RunLog(self.clock)
        self.faults = Faults(deviations, self.log)
        self.crashes = 0
        self.has_changed = False
        self._begin(SimulatedDisk(DictionaryEngine(), self.faults, durability))

    def _begin(self, disk: SimulatedDisk) -> None:
        self._disk = disk
        registry, clock, faults = self.registry, self.clock, self.faults
        self.store = SimulatedStore(disk, faults)
        self.reader = Reader(self.store, registry)
        self.ingress = Ingress(registry, clock, self.store.secret(), run=f"{self.crashes:012x}")
        parts = Parts(
            dispatcher=SeededScheduler,
            instance_actor=partial(SimulatedInstance, faults),
            aggregate_actor=partial(SimulatedAggregate, faults),
            has_threads=False,
        )
        self.engine = Engine(self.store, registry, clock, self.options, parts)
        assert isinstance(self.engine.dispatcher, SeededScheduler)
        self.scheduler = self.engine.dispatcher
        faults.let_others = self.scheduler.let_others
        self.engine.start()

    def restart(self) -> None:
        """End the process here, and start another one; waiting callers hear that it is closed."""
        disk = self._disk.reopened()
        self.crashes += 1
        self.clock.forget()
        self.faults.forget()
        self.engine.services.replies.close()
        self.has_changed = True
        self._begin(disk)

    def end(self) -> None:
        """Let go of the store. Nothing is finished."""
        self.store.close()

    def crash(self) -> None:
        """Have a crash between two turns."""
        self.faults.reached.closed("crash_before_commit")
        self.log.note("crash: what was not committed is gone")
        self.restart()

    def cut_power(self) -> bool:
        """Have the power fail between two turns, if that is another thing than a crash.

        Returns:
            whether it did

        """
        cut = None if self._disk.is_synced else self.faults.deviations.take("power_cut")
        if cut is None:
            return False
        self.faults.reached.closed("power_cut")
        self._disk.lose(cut.which)
        self.restart()
        return True

    def guarded(self, do: Callable[..., Any], *arguments: Any) -> None:
        """Do something that may end in a crash, from which the process then starts anew.

        Raises:
            AssertionError: the runtime itself failed

        """
        disabled, logger.disabled = logger.disabled, True
        try:
            do(*arguments)
        except Crash:
            self.restart()
        except RuntimeBroke as error:
            raise AssertionError(str(error)) from error.__cause__
        finally:
            logger.disabled = disabled

    def looking(self, call: str) -> Reader:
        """What answers questions.

        Raises:
            QueryInHandler: a handler asks

        """
        if self.scheduler.in_turn:
            raise QueryInHandler(call)
        return self.reader

    def refuse_in_turn(self, call: str) -> None:
        """Refuse a call that lets things happen, while a handler runs.

        Raises:
            WaitingInHandler: a handler made the call

        """
        if self.scheduler.in_turn:
            raise WaitingInHandler(
                f"{call}() was called from a handler. It lets other actors have their turns, and "
                f"what a handler makes must leave only with its step: use self.issue(...)"
            )
