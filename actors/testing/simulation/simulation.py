"""The real runtime, one turn at a time, the same for the same seed."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeAlias, TypeVar, overload

from ...authoring.process_manager import due_time
from ...clock import to_micros
from ...core.stimuli import Amend, End
from ...engine.engine import Options
from ...model.domain import Domain
from ...model.registry import Registry
from ...store import DictionaryEngine, verify_open
from .accidents import Accidents
from .beginning import Beginning
from .between import check_between
from .caller import Caller
from .clients import Clients
from .deviations import Deviations, Planned, Schedule, Seeded, deviation, kinds_of, unpacked
from .moves import Moves
from .nodes import Nodes
from .operators import Operator
from .program import Publish, Tell
from .services import Services
from .timeline import Timeline
from .world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import datetime
    from os import PathLike

    from ...authoring.aggregate import Aggregate
    from ...authoring.process_manager import ProcessManager
    from ...messages.reply import Reply
    from ...messages.types import Command, Event
    from ...queries.views import (
        AggregateView,
        Counts,
        InstanceView,
        Moment,
        Parked,
        StoredEvent,
        Timeout,
        Transition,
    )
    from ...store import Durability, PayloadCodec, StoreFinding
    from .deviations import Deviation
    from .program import Program
    from .reached import Reached
    from .run_log import Trace
    from .services import Service

__all__ = ["Simulation", "Stored", "beginning_of", "registry_of"]

Stored: TypeAlias = "Simulation | Beginning | str | PathLike[str] | None"
"""What a run may begin with."""

A = TypeVar("A", bound="Aggregate")
P = TypeVar("P", bound="ProcessManager")
R = TypeVar("R")

MAX_STEPS = 10_000
"""Turns after which a run counts as endless."""


class Simulation:
    """Runs domains as a `Runtime` does, on one thread, and the same for the same seed.

    The routers, the actors, the journal, the timer service, the after-effects and the store are the
    real ones. Simulated are the order of turns, the clock, and what goes wrong. Nothing happens by
    itself: `step` lets one thing happen, and a call that waits lets things happen until it has
    what it waits for. A context manager; leaving the `with` block closes the store.

    Args:
        domains: whose classes to run
        program: what comes from outside when `step` or `run` let it come, as for `explore`
        seed: a number for a run of its own, or a word that `explore` gave; without one, the
            ordinary run
        faults: what a number as a seed may let happen: ``"order"`` (turns held back,
            swapped and overtaken, commits cut), ``"time"`` (the clock moves on while things are in
            flight), ``"crash"``, ``"commit"`` (one fails), ``"handler"`` (one fails),
            ``"duplicate"`` (things are brought again), ``"sleep"`` (idle actors leave memory),
            ``"service"`` (answers are late, break off or never come), ``"disk"`` (it errs, is full
            or does not say what became of a commit, and the power is cut), ``"clock"`` (it is set
            forward or back, and so is that of one of several nodes), ``"upgrade"`` (the process
            starts again with `upgrade`), ``"resend"`` (a client without ids sends again what was
            done), ``"operator"`` (one ends an instance, or amends one without changing anything),
            ``"node"`` (of several, one hangs, is late to renew a lease, hands a partition over, all
            are replaced one after the other, a lane is late), ``"erasure"`` (an operator erases an
            instance or a stream), ``"pruning"`` (one prunes what is complete)
        start: the clock's first time, with a zone; without one, the start of the year 2000
        stream: of the events in the program that name none
        services: outside, which answer what they are told
        durability: as for `Runtime`; with less than ``"fsync"`` a power cut takes back commits
        store: what the run begins with: what another simulation has stored, a store in a folder,
            which is only read, or an incident capsule; the clock begins where they ended. Without
            one, with nothing
        codec: of a store in a folder that has one; the run has none
        upgrade: another version of the domains, with which a deviation may have the process start
            again; where there are nodes, also one after the other, in a rolling deploy
        retired: as for `Runtime`
        nodes: how many processes share the partitions of a divided store; without it, there is one
            process, and the store is not divided
        partitions: how many there are; without it, as many as what the run begins with has, or
            twice the nodes
        options: as for `Runtime`: `max_awake`, `idle_timeout`, `max_in_flight`,
            `largest_commit`, `max_chain`

    Attributes:
        parked_before: ids of what was parked already in what the run began with

    """

    def __init__(
        self,
        *domains: Domain,
        program: Program = (),
        seed: int | str | None = None,
        faults: Iterable[str] = ("order",),
        start: datetime | None = None,
        stream: str | None = None,
        services: Iterable[Service] = (),
        durability: Durability = "fsync",
        store: Stored = None,
        codec: PayloadCodec | None = None,
        upgrade: Domain | Iterable[Domain] | None = None,
        retired: Iterable[str] = (),
        nodes: int | None = None,
        partitions: int | None = None,
        **options: Any,
    ) -> None:
        deviations, order = Deviations(), Schedule().order
        if isinstance(seed, str):
            order, planned = unpacked(seed)[0]
            deviations = Planned(planned)
        elif seed is not None:
            services = list(services)
            kinds = kinds_of(
                faults,
                has_services=bool(services),
                has_upgrade=upgrade is not None,
                has_nodes=nodes is not None,
            )
            deviations = Seeded(seed, kinds)
        self._put_together(
            Registry(domains),
            program,
            deviations,
            order,
            start=start,
            stream=stream,
            services=services,
            durability=durability,
            store=store,
            codec=codec,
            upgrade=None if upgrade is None else registry_of(upgrade),
            retired=retired,
            nodes=nodes,
            partitions=partitions,
            **options,
        )

    @classmethod
    def planned(
        cls, registry: Registry, program: Program, schedule: Schedule, **options: Any
    ) -> Self:
        """A run that goes by a schedule, by registries and a beginning that many runs may share.

        Args:
            registry: all classes
            program: what comes from outside
            schedule: how it goes
            options: as for `Simulation`; `upgrade` is a registry

        """
        made = cls.__new__(cls)
        deviations = Planned(schedule.deviations)
        made._put_together(registry, program, deviations, schedule.order, **options)  # noqa: SLF001 - as `__init__`
        return made

    def _put_together(
        self,
        registry: Registry,
        program: Program,
        deviations: Deviations,
        order: tuple[int, ...],
        *,
        start: datetime | None = None,
        stream: str | None = None,
        services: Iterable[Service] = (),
        durability: Durability = "fsync",
        store: Stored = None,
        codec: PayloadCodec | None = None,
        upgrade: Registry | None = None,
        retired: Iterable[str] = (),
        nodes: int | None = None,
        partitions: int | None = None,
        **options: Any,
    ) -> None:
        if nodes is None and partitions is not None:
            raise ValueError(f"partitions={partitions!r} without nodes=; say how many nodes run")
        make = World if nodes is None else partial(Nodes, nodes, partitions)
        beginning = beginning_of(store, codec)
        self.parked_before = beginning.parked
        self._world = world = make(
            registry,
            deviations,
            beginning=beginning,
            start=start,
            durability=durability,
            upgrade=upgrade,
            retired=retired,
            options=Options(**options),
        )
        self._clients = clients = Clients(program, world, stream, order)
        outside = Services(services, world, clients)
        self._timeline = timeline = Timeline(world, clients, outside)
        self._operator = operator = Operator(world)
        accidents = Accidents(world, clients, timeline, operator)
        self._moves = moves = Moves(world, clients, outside, timeline, accidents)
        self._caller = Caller(world, clients, moves)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the store. Nothing is finished."""
        self._world.end()

    @property
    def has_changed(self) -> bool:
        """Whether what one can see may have changed since this was last set to false."""
        return self._world.has_changed

    @has_changed.setter
    def has_changed(self, value: bool) -> None:
        self._world.has_changed = value

    # Letting things happen

    def step(self) -> bool:
        """Let one thing happen; false if nothing is left to do before another time comes."""
        self._world.refuse_in_turn("step")
        return self._moves.next(brings=True, waits=False)

    def run(self, *, max_steps: int = MAX_STEPS, horizon: timedelta | None = None) -> None:
        """Bring the whole program, and let everything settle up to the last timeout.

        Args:
            max_steps: turns after which it counts as endless
            horizon: how long after the start the clock stops

        Raises:
            AssertionError: it did not come to rest

        """
        for _ in self.steps(max_steps=max_steps, horizon=horizon):
            pass

    def steps(
        self, *, max_steps: int = MAX_STEPS, horizon: timedelta | None = None
    ) -> Iterator[None]:
        """As `run`, and pauses after each step."""
        self._world.refuse_in_turn("run")
        last = self.turns + max_steps
        end = None if horizon is None else self._world.clock.start + horizon
        while self._moves.next(brings=True, waits=True, end=end):
            yield
            if self.turns > last:
                raise AssertionError(
                    f"it did not come to rest within {max_steps} turns: something goes on for "
                    f"ever. If it is meant to, as a timeout that sets itself again, give horizon="
                )

    def settle(self) -> None:
        """Let things happen until nothing is undelivered and nothing is in flight."""
        self._world.refuse_in_turn("settle")
        while self._moves.next(brings=False, waits=False):
            pass

    def advance(self, by: timedelta) -> None:
        """Let time pass. What is due on the way happens in order of time, and all settles.

        Raises:
            ValueError: `by` is negative; time does not run backwards

        """
        world, clock = self._world, self._world.clock
        world.refuse_in_turn("advance")
        if by < timedelta(0):
            raise ValueError(f"by={by!r} is negative; a clock only goes forward")
        end = clock.steady + by
        self.settle()
        while (due := self._timeline.next_due()) is not None and due <= end:
            world.guarded(partial(self._timeline.move_to, due, is_quiet=True))
            self.settle()
        if clock.steady < end:
            world.guarded(partial(self._timeline.move_to, end, is_quiet=True))
            self.settle()

    def crash(self, node: int | None = None) -> None:
        """End the simulated process here, and start another one on what was durable.

        Args:
            node: of several nodes, the one that dies, from 1; the others take over what it had.
                Without it, all end and start anew

        """
        self._world.refuse_in_turn("crash")
        self._world.crash(None if node is None else node - 1)

    def upgrade(self, *domains: Domain) -> None:
        """End the simulated process here, and start another version of the domains on what is left.

        Classes of either version name what the other has under the same name, and what the program
        still brings is read by the new one.

        Args:
            domains: of the version that goes on

        Raises:
            DefinitionError: the store has names that have no class in that version
            BeginUndecided: a process manager is new, and does not say where it begins

        """
        self._world.refuse_in_turn("upgrade")
        self._world.upgrade(Registry(domains))

    def provoke(self, accident: str, which: int = 0) -> None:
        """Have something go wrong at the first chance.

        Args:
            accident: ``"crash"``; ``"crash_before_commit"`` or ``"crash_after_commit"``, inside
                the next one; ``"commit_fails"``; ``"fails_before"`` or ``"fails_after"``, the next
                handler; ``"repeat_event"``, ``"repeat_command"`` or ``"repeat_outside"``, one
                that came of late; ``"turn"``, ``"hold"``, ``"arrival"``: the turn of another;
                ``"cut"``: the open commit closes before the chains are at their ends;
                ``"overtake"``: others run between a handler and the hand-over of its step;
                ``"shuffle"``: from here on everyone has a priority by chance; ``"demote"``: the one
                with the highest falls behind all others;
                ``"answers_late"``, ``"answers_half"`` or ``"answers_never"``: the next answer of
                a service; ``"resend"``: something comes again under another id;
                ``"disk_error"``, ``"disk_full"``, ``"torn"`` (the disk fails and does not say
                whether the commit is there) or ``"power_cut"``, in the next commit;
                ``"clock_forward"`` or ``"clock_back"``: the machine's clock is set; ``"upgrade"``;
                ``"time"``: the clock moves to what is due next; ``"late"``: it does so up to four
                times, and all that is in flight is late; ``"sleep"``: idle actors leave
                memory; ``"end"`` or ``"amend"``: an operator does that to an instance; ``"erase"``:
                one erases an instance or a stream; ``"prune"``: one prunes what is complete by
                then; where there are nodes, ``"crash"``: one dies; ``"hang"``: one hangs, and goes
                on when others have taken over; ``"lease"``: one is late to renew a lease;
                ``"hand_over"``: one hands a partition over; ``"deploy"``: all are replaced, one
                after the other, by ones with `upgrade` if there is one; ``"skew"``: the clock of
                one is set;
                ``"lane"``: what one partition has for another is read late
            which: where there are several

        Raises:
            ValueError: there is no such accident

        """
        self._world.faults.deviations.armed.append(deviation(accident, which))

    # Looking

    @property
    def now(self) -> datetime:
        """The simulated time."""
        return self._world.clock.now()

    @property
    def trace(self) -> Trace:
        """What happened so far, a line for each turn. As text, it is for people to read."""
        return self._world.log.trace

    @property
    def turns(self) -> int:
        """How many turns there were."""
        return self._world.log.turn

    @property
    def reached(self) -> Reached:
        """Which handlers ran, and what went wrong at them."""
        return self._world.faults.reached

    @property
    def came(self) -> tuple[int, ...]:
        """The clients, by their places, in the order in which what they brought was answered."""
        return tuple(self._clients.came)

    @property
    def happened(self) -> list[str]:
        """The kinds of deviations that had their chance, in the order in which they first did."""
        return list(self._world.faults.deviations.taken)

    @property
    def chosen(self) -> list[Deviation]:
        """What a deviation that shuffles came to, as deviations of single turns."""
        return self._moves.chosen

    @property
    def is_through(self) -> bool:
        """Whether everything in the program was brought."""
        return self._clients.are_through

    @property
    def elapsed(self) -> int:
        """Microseconds since the start."""
        return self._world.clock.elapsed

    @property
    def quiet_time(self) -> timedelta:
        """How much time passed while nothing was in flight."""
        return timedelta(microseconds=self._timeline.quiet)

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing is due any more, in the runtime or for a client."""
        return self._timeline.next_due() is None

    def knows(self, cls: type[ProcessManager]) -> bool:
        """Whether the process manager is in one of the domains that run."""
        return self._world.running(cls) in self._world.registry.processes

    @overload
    def get(self, cls: type[P], id: object) -> InstanceView[P] | None: ...

    @overload
    def get(self, cls: type[A], id: object) -> AggregateView[A] | None: ...

    def get(
        self,
        cls: type[ProcessManager | Aggregate],
        id: object,  # noqa: A002 - the public word
    ) -> InstanceView | AggregateView | None:
        """One instance or aggregate as it is on disk, or None if nothing happened to it yet."""
        return self._world.looking("get").get(self._world.running(cls), id)

    def at(self, cls: type[ProcessManager], id: object, version: int) -> Moment | None:  # noqa: A002
        """One instance as one of its transitions left it, or None if nothing happened to it yet."""
        return self._world.looking("at").at(self._world.running(cls), id, version)

    def history(self, cls: type[ProcessManager], id: object) -> Iterator[Transition]:  # noqa: A002
        """The transitions of one instance, oldest first."""
        return self._world.looking("history").history(self._world.running(cls), id)

    def find(
        self,
        cls: type[P],
        *,
        complete: bool | None = None,
        suspended: bool | None = None,
        **fields: Any,
    ) -> Iterator[InstanceView[P]]:
        """The instances of a process manager, in the order in which they started."""
        reader = self._world.looking("find")
        cls = self._world.running(cls)
        return reader.find(cls, fields, complete=complete, suspended=suspended)

    def events(
        self, stream_or_category: str | None = None, *, after: int | Mapping[int, int] = 0
    ) -> Iterator[StoredEvent]:
        """Stored events in order of position; of several partitions, in order of time.

        Args:
            stream_or_category: only of that one
            after: a position; of several partitions, a mapping of partitions to positions

        """
        look: Any = self._world.looking("events")
        found: Iterator[StoredEvent] = look.events(stream_or_category, after)
        return found

    def timeouts(
        self,
        cls: type[ProcessManager] | None = None,
        id: object = None,  # noqa: A002
        *,
        before: datetime | None = None,
    ) -> Iterator[Timeout]:
        """What is due later, in order of time."""
        running = None if cls is None else self._world.running(cls)
        return self._world.looking("timeouts").timeouts(running, id, before)

    def counts(self, cls: type[ProcessManager] | None = None) -> dict[str, Counts]:
        """How many instances there are by status, and what is parked by kind."""
        return self._world.looking("counts").counts(cls)

    def parked(self, *, decided: bool = False) -> Iterator[Parked]:
        """What could not be handled, the oldest first."""
        return self._world.looking("parked").parked(decided=decided)

    def verify(self) -> list[StoreFinding]:
        """Check the whole store; returns all that is wrong."""
        world = self._world
        latest, stores = to_micros(world.clock.latest), world.stores
        if not world.is_divided:
            return verify_open(stores[0], now=lambda: latest).findings
        found = list(check_between(stores, world.registry))
        for number, store in enumerate(stores):
            found += [
                one._replace(problem=f"in partition {number}: {one.problem}")
                for one in verify_open(store, now=lambda: latest).findings
            ]
        return found

    def stats(self) -> dict[str, int]:
        """Counters since the last crash, and gauges."""
        return self._world.stats()

    # Asking for something

    def tell(
        self,
        command: Command,
        *,
        command_id: str | None = None,
        headers: Mapping[str, Any] | None = None,
    ) -> str:
        """Have a command carried out later; returns its id once the command is durable.

        Like every call that waits for an answer, it asks again under the same id when a simulated
        crash or a refusing disk leaves it without one.
        """
        return self._caller.send("tell", Tell(command, command_id, headers), command_id)

    def publish(
        self,
        event: Event,
        *,
        stream: str,
        event_id: str | None = None,
        headers: Mapping[str, Any] | None = None,
        as_import: bool = False,
    ) -> int:
        """Store an event from outside; returns its position once it is durable."""
        item = Publish(event, stream, event_id, headers, as_import)
        name = self._caller.send("publish", item, event_id)
        return self._world.position_of(stream, name)

    def ask(
        self,
        command: Command[R],
        *,
        command_id: str | None = None,
        headers: Mapping[str, Any] | None = None,
    ) -> Reply[R]:
        """Have an aggregate carry out a command; returns the events it made once durable.

        Raises:
            Rejected: the aggregate refused
            IdReused: the id is that of another command

        """
        return self._caller.ask(command, command_id, headers)

    # Deciding

    def retry(self, parked_id: int, *, by: str | None = None) -> None:
        """Handle what was parked, then what waited behind it, in order.

        Raises:
            AlreadyDecided: another decision about it was made before

        """
        self._decide("retry", partial(self._operator.retry, parked_id, by))

    def skip(self, parked_id: int, *, by: str | None = None) -> None:
        """Go on without what was parked.

        Raises:
            AlreadyDecided: another decision about it was made before

        """
        self._decide("skip", partial(self._operator.skip, parked_id, by))

    def cancel_timeout(
        self,
        cls: type[ProcessManager],
        id: object,  # noqa: A002
        name: str,
        *,
        by: str | None = None,
    ) -> bool:
        """Have a timeout, or a command that is held back, not come at all."""
        adjust = partial(self._operator.adjust, cls, id, name, 0, by)
        return bool(self._decide("cancel_timeout", adjust))

    def move_timeout(
        self,
        cls: type[ProcessManager],
        id: object,  # noqa: A002
        name: str,
        when: timedelta | datetime,
        *,
        by: str | None = None,
    ) -> bool:
        """Have a timeout, or a command that is held back, come at another time."""
        due = due_time(to_micros(self._world.clock.now()), when)
        adjust = partial(self._operator.adjust, cls, id, name, due, by)
        return bool(self._decide("move_timeout", adjust))

    def end(
        self,
        cls: type[ProcessManager],
        id: object,  # noqa: A002
        *,
        reason: str,
        by: str | None = None,
        version: int | None = None,
        compensate: bool = True,
    ) -> int:
        """End an instance that is not to go on; as `Runtime.end`.

        Returns:
            the version that it has afterwards; 0 if a simulated crash came before the answer

        """
        end = End(reason, by, version, compensate)
        return self._decide("end", partial(self._operator.end, cls, id, end))

    def amend(
        self,
        cls: type[ProcessManager],
        id: object,  # noqa: A002
        fields: Mapping[str, Any] | None = None,
        /,
        *,
        by: str | None = None,
        version: int | None = None,
        retry: bool = False,
        **more: Any,
    ) -> int:
        """Give fields of an instance other values; as `Runtime.amend`.

        Returns:
            the version that it has afterwards; 0 if a simulated crash came before the answer

        """
        amend = Amend({**(fields or {}), **more}, by, version, retry)
        return self._decide("amend", partial(self._operator.amend, cls, id, amend))

    def erase(
        self,
        cls: type[ProcessManager] | None = None,
        id: object = None,  # noqa: A002
        *,
        stream: str | None = None,
        by: str | None = None,
    ) -> None:
        """Erase what is kept of an instance or a stream; as `Runtime.erase`."""
        if cls is not None:
            erase = partial(self._operator.erase, cls, id, by)
        else:
            assert stream is not None
            erase = partial(self._operator.erase_stream, stream, by)
        self._decide("erase", erase)

    def _decide(self, call: str, decide: Callable[[], int | None]) -> int:
        world, found = self._world, []
        world.refuse_in_turn(call)
        if world.is_divided:
            # Until each partition has an owner again.
            self.settle()
        world.log.note(f"outside: {call}")
        world.guarded(lambda: found.append(decide()))
        return found[0] or 0 if found else 0

    def kept(self) -> Beginning:
        """What is stored, and the time, for other runs to begin with."""
        tables = []
        for store in self._world.stores:
            with store.snapshot() as snapshot:
                tables.append(DictionaryEngine.copy_of(snapshot))
        return Beginning(tables, family=self._world.family, start=self.now)


def beginning_of(store: Stored, codec: PayloadCodec | None = None) -> Beginning:
    """What a run begins with that is given another simulation, a folder, a capsule, or nothing.

    Args:
        store: what is given
        codec: of a store in a folder that has one

    Raises:
        WrongCodec: another codec wrote the store, or none
        StoreError: there is no store in the folder, or it cannot be read
        CapsuleError: the file is no capsule that a run can begin with

    """
    if isinstance(store, Beginning):
        return store
    if isinstance(store, Simulation):
        return store.kept()
    return Beginning() if store is None else Beginning.of_place(store, codec=codec)


def registry_of(domains: Domain | Iterable[Domain]) -> Registry:
    """All classes of one domain or several.

    Raises:
        DefinitionError: they do not fit together

    """
    return Registry([domains] if isinstance(domains, Domain) else domains)
