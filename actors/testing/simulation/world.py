"""One simulated process: what a crash ends, and what starts anew on what was durable."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

from ...authoring.aggregate import Aggregate
from ...authoring.process_manager import ProcessManager
from ...engine.effect_feed import processes_with_effects
from ...engine.projection_checkpoint import projections_in
from ...errors import QueryInHandler, WaitingInHandler
from ...messages.codec import dump
from ...messages.types import Command, Event
from ...model.stored_names import check_stored_names, retired_names
from ...queries.reader import Reader
from ...store import DictionaryEngine, EventRecord
from .faults import Crash, Faults, RuntimeBroke
from .run_log import RunLog
from .running import Running
from .simulated_clock import SimulatedClock
from .simulated_disk import SimulatedDisk
from .simulated_store import SimulatedStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from ...engine.engine import Options
    from ...model.process_definition import ProcessDefinition
    from ...model.registry import Registry
    from ...store import Durability, Store
    from .beginning import Beginning
    from .deviations import Deviations
    from .partitions_reader import PartitionsReader

    Look: TypeAlias = Reader | PartitionsReader
    Move: TypeAlias = tuple[Callable[[], object], object]

__all__ = ["World"]

C = TypeVar("C", bound=ProcessManager | Aggregate)
M = TypeVar("M", Command, Event)

logger = logging.getLogger("procession")


class World:
    """The runtime's parts between two crashes, and what outlives a crash.

    That is the clock, the faults, the log, and what was committed to dictionaries, which take and
    refuse what a file would.

    Args:
        registry: all classes
        deviations: from the ordinary run
        beginning: what was stored before the run
        start: the clock's first time
        durability: as for `Runtime`
        upgrade: all classes of the version that a deviation may have run from some turn on
        retired: as for `Runtime`
        options: as for the engine

    Attributes:
        registry: all classes of the version that runs
        first: those of the version that ran first, in whose messages the program is written
        origin: how many commits there were before the run
        is_divided: whether what is stored is in partitions, which nodes share
        family: of a divided store, what tells its partitions from those of another one
        has_changed: whether a reader may see something else than when this was last set to false

    """

    is_divided = False
    family = ""

    def __init__(
        self,
        registry: Registry,
        deviations: Deviations,
        *,
        beginning: Beginning,
        start: datetime | None,
        durability: Durability,
        upgrade: Registry | None,
        retired: Iterable[str],
        options: Options,
    ) -> None:
        self.registry = self.first = registry
        self.options = options
        self._upgrade = upgrade
        self._versions = [registry] if upgrade is None else [registry, upgrade]
        self._retired = list(retired)
        self.clock = SimulatedClock(start or beginning.start)
        self.log = RunLog(self.clock)
        self.faults = Faults(deviations, self.log)
        self.crashes = 0
        self.has_changed = False
        self.origin: int | None = None
        self._open(beginning, durability)

    def _open(self, beginning: Beginning, durability: Durability) -> None:
        if beginning.is_divided:
            raise ValueError(
                "the run is to begin with a divided store, which nodes share; say how many: nodes="
            )
        tables = beginning.tables() or [DictionaryEngine()]
        self._begin(SimulatedDisk(tables[0], self.faults, durability))

    def _begin(self, disk: SimulatedDisk) -> None:
        self._disk = disk
        self.store = SimulatedStore(disk, self.faults)
        if self.origin is None:
            self.origin = self.store.commit_count
        if self.origin or self.registry is not self.first:
            self._check_names(self.store)
        self.reader = Reader(self.store, self.registry)
        # Of two runs on the same tables, none makes the ids that the other made.
        run = f"{self.origin:06x}{self.crashes:06x}"
        self._running = running = Running(
            self.store, self.faults, self.registry, self.clock, self.options, run=run
        )
        self.engine, self.scheduler = running.engine, running.scheduler
        self.ingress = running.ingress
        self.engine.start()

    def _check_names(self, store: Store, registry: Registry | None = None) -> None:
        registry = registry or self.registry
        check_stored_names(
            store.scan_names(),
            processes_with_effects(store),
            registry,
            retired_names(self._retired, registry),
            projections_in(store),
        )

    # What runs, and what is stored: a store by itself, or the partitions of a divided one

    @property
    def parts(self) -> Sequence[Running]:
        """What is given turns, in order."""
        return (self._running,)

    @property
    def stores(self) -> Sequence[Store]:
        """What is read, by partition."""
        return (self.store,)

    @property
    def readers(self) -> Sequence[Reader]:
        """What answers questions, by partition."""
        return (self.reader,)

    def of_stream(self, stream: str) -> Running | None:
        """What takes what is for a stream; None while nothing does."""
        del stream
        return self._running

    def of_instance(self, definition: ProcessDefinition, instance: str) -> Running | None:
        """What runs an instance; None while nothing does."""
        del definition, instance
        return self._running

    def of_parked(self, number: int) -> tuple[Running | None, int]:
        """What has parked something, or None while nothing runs that, and under which number."""
        return self._running, number

    def parked_id(self, partition: int, number: int) -> int:
        """The number by which an operator names what is parked."""
        del partition
        return number

    def position_of(self, stream: str, event_id: str) -> int:
        """The position of an event of a stream."""
        del stream
        return self.store.position_of(event_id)

    def stats(self) -> dict[str, int]:
        """Counters since the last crash, and gauges."""
        return self.engine.stats()

    # What several nodes have beside it

    def moves(self) -> Iterator[Move]:
        """What else may happen next, and by what a ranking knows it."""
        return iter(())

    def let_go_held(self) -> bool:
        """Have what was held back go on; returns whether anything was."""
        has_held = self.is_any_held
        for part in self.parts:
            part.scheduler.held.clear()
        return has_held

    @property
    def is_any_held(self) -> bool:
        """Whether something is held back until nothing else is to be done."""
        return any(part.scheduler.held for part in self.parts)

    @property
    def accidents(self) -> Mapping[str, Callable[[int], bool]]:
        """What else may go wrong, by the names of deviations; each returns whether it did."""
        return {}

    def restart(self) -> None:
        """End the process here, and start another one; waiting callers hear that it is closed."""
        disk = self._disk.reopened()
        self.crashes += 1
        self.clock.forget()
        self.faults.forget()
        self.engine.services.replies.close()
        self.engine.projections.abandon()
        self.has_changed = True
        self._begin(disk)

    def end(self) -> None:
        """Let go of the store. Nothing is finished."""
        self.engine.projections.abandon()
        self.store.close()

    def crash(self, which: int | None = None) -> None:
        """Have a crash between two turns.

        Args:
            which: of several processes; without it, all

        """
        del which
        self.faults.reached.closed("crash_before_commit")
        self.log.note("crash: what was not committed is gone")
        self.restart()

    def upgrade(self, registry: Registry | None = None) -> None:
        """Have the process end between two turns, and another version of the domains go on.

        Args:
            registry: all classes of that version; without one, the one that was given at first

        Raises:
            DefinitionError: the store has names that have no class in that version
            BeginUndecided: a process manager is new, and does not say where it begins

        """
        registry = registry or self._upgrade
        assert registry is not None
        if registry not in self._versions:
            self._versions.append(registry)
        self.faults.reached.closed("upgrade")
        self.log.note("upgrade: the process ends, and another version of the domains goes on")
        self._upgrade = None
        self._go_on_with(registry)
        self.restart()

    def _go_on_with(self, registry: Registry) -> None:
        """Have what starts next run that version."""
        self.registry = registry

    @property
    def can_upgrade(self) -> bool:
        """Whether there is another version that has not run yet."""
        return self._upgrade is not None

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

    def running(self, cls: type[C]) -> type[C]:
        """The class that runs under the name of one of another version; the same if there is none.

        Args:
            cls: a process manager or an aggregate

        """
        if self.registry is self.first:
            return cls
        known: dict[Any, str] = {}
        running: dict[str, Any] = {}
        for version in (*self._versions, self.registry):
            named: dict[Any, str] = {one.cls: one.name for one in version.processes.values()}
            named |= {one.cls: one.category for one in version.aggregates.values()}
            known |= named
            running |= {name: own for own, name in named.items()}
        found: type[C] = running.get(known.get(cls, ""), cls)
        return found

    def today(self, message: M, part: Running | None = None) -> M:
        """A message of the version that ran first as the one that runs now has it.

        Args:
            message: of the first version
            part: that is to have it, by whose version it goes

        """
        registry = self.registry if part is None else part.registry
        if registry is self.first:
            return message
        name = self.first.name_of(type(message))
        if registry.classes().get(name) is type(message):
            return message
        made: Any
        data = dump(message)[0]
        if isinstance(message, Command):
            made = registry.load_command(name, data)
        else:
            made = registry.load_event(EventRecord(name, "packed-1", 1, 0, data, "", ""))
        return cast("M", made)

    def own_id(self, name: str) -> str:
        """An id for what a client brings, which no run has given that went before on these tables.

        Args:
            name: that it has in this run

        """
        return f"{self.origin}~{name}" if self.origin else name

    def guarded(self, do: Callable[..., Any], *arguments: Any) -> None:
        """Do something that may end in a crash, from which the process then starts anew.

        Raises:
            AssertionError: the runtime itself failed

        """
        disabled, logger.disabled = logger.disabled, True
        try:
            do(*arguments)
        except Crash as crash:
            self._crashed(crash.faults)
        except RuntimeBroke as error:
            raise AssertionError(str(error)) from error.__cause__
        finally:
            logger.disabled = disabled

    def _crashed(self, faults: Faults) -> None:
        """What was in the middle of a commit is gone."""
        del faults
        self.restart()

    @property
    def _is_in_turn(self) -> bool:
        return any(part.scheduler.in_turn for part in self.parts)

    def looking(self, call: str) -> Look:
        """What answers questions.

        Raises:
            QueryInHandler: a handler asks

        """
        self._refuse_query(call)
        return self.reader

    def _refuse_query(self, call: str) -> None:
        if self._is_in_turn:
            raise QueryInHandler(call)

    def refuse_in_turn(self, call: str) -> None:
        """Refuse a call that lets things happen, while a handler runs.

        Raises:
            WaitingInHandler: a handler made the call

        """
        if self._is_in_turn:
            raise WaitingInHandler(
                f"{call}() was called from a handler. It lets other actors have their turns, and "
                f"what a handler makes must leave only with its step: use self.issue(...)"
            )
