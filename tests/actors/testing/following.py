"""One run of a random domain, followed turn by turn: the disk, the memory, and the bounds."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from procession.engine.aggregate_actor import AggregateActor, load_aggregate
from procession.engine.instance_actor import InstanceActor
from procession.engine.pooled_actor import TURN
from procession.store import FailingDisk
from procession.testing.simulation.faults import InjectedStoreError
from tests.actors.testing.checking import Checker
from tests.actors.testing.stored import plain

if TYPE_CHECKING:
    from procession.testing import Simulation
    from tests.actors.testing.descriptions import DomainMade

__all__ = ["Ran", "bounds_hold", "follow", "memory_is_the_log", "skip_all", "states"]

MAX_STEPS = 30_000

MOST_EVENTS = 60
"""A run with more is left where it is: some domains are slow to come to rest."""


class Ran(NamedTuple):
    """How much happened in a run."""

    turns: int
    events: int
    transitions: int
    crashes: int


def follow(
    made: DomainMade, simulation: Simulation, items: list[list[Any]], *, faults: bool
) -> Ran:
    """Run to the end, then have an operator skip what is parked; check all of it on the way.

    Args:
        made: the description of what runs
        simulation: that runs it
        items: what clients bring, as the simulation was given it
        faults: whether handlers are made to fail

    """
    checker = Checker(made, simulation, items, faults=faults)
    for _ in simulation.steps(max_steps=MAX_STEPS):
        bounds_hold(simulation)
        if simulation.has_changed:
            simulation.has_changed = False
            checker.look()
            memory_is_the_log(simulation)
            if len(checker.disk.events) > MOST_EVENTS:
                return _ran(simulation, checker)
    checker.check_quiet()
    skip_all(simulation, checker)
    findings = simulation.verify()
    assert not findings, "; ".join(map(str, findings))
    # Forgetting everything changes nothing, and a runtime that reads all of it again sees the same.
    before = states(simulation)
    simulation.crash()
    simulation.settle()
    assert states(simulation) == before
    Checker(made, simulation, items, faults=faults).check_quiet()
    return _ran(simulation, checker)


def _ran(simulation: Simulation, checker: Checker) -> Ran:
    steps = sum(map(len, checker.disk.steps.values()))
    return Ran(simulation.turns, len(checker.disk.events), steps, simulation._world.crashes)


def skip_all(simulation: Simulation, checker: Checker) -> None:
    """An operator goes on without what is parked, until nothing is."""
    while parked := list(simulation.parked()):
        for one in parked:
            # When the disk refuses, there is another time.
            with suppress(InjectedStoreError, FailingDisk):
                simulation.skip(one.id)
        simulation.run(max_steps=MAX_STEPS)
        checker.check_quiet()
    memory_is_the_log(simulation)
    for process in checker.managers:
        held = list(simulation._world.store.scan_unmatched(process))
        assert not held, f"{process} holds {held} for ever"
    for process, instance in checker.disk.steps:
        block, waiting = checker.disk.waiting(process, instance)
        assert block is None, f"{process} {instance} is suspended by nothing that is parked"
        assert not waiting, f"{process} {instance} leaves {waiting} waiting"


def memory_is_the_log(simulation: Simulation) -> None:
    """What is in memory is what reading it again would give, with what is not on disk yet."""
    if simulation._world.store.is_unsure:
        # Which of the two is there is not known before the next commit, and all is read anew then.
        return
    engine = simulation._world.engine
    for (kind, name), actor in engine.residency._awake.items():
        if actor.is_stale:
            # It is about to read its log.
            continue
        if isinstance(actor, InstanceActor) and actor._is_loaded:
            _instance_is_its_log(simulation, actor, kind, name)
        elif isinstance(actor, AggregateActor) and actor._aggregate is not None:
            read = load_aggregate(actor._share.plan, name, simulation._world.store.ahead)
            found = actor._aggregate
            assert found.version == read.version, name
            assert found.__dict__ == read.__dict__, name


def _instance_is_its_log(
    simulation: Simulation, actor: InstanceActor, kind: str, name: str
) -> None:
    last = simulation._world.store.ahead.last_transition(kind, name)
    state, definition = actor.state, actor._share.plan.definition
    assert state.version == (0 if last is None else last.version), f"{kind} {name}"
    if last is None:
        return
    assert state.is_complete == last.is_complete, f"{kind} {name}"
    assert (state.timers or {}) == (last.timers or {}), f"{kind} {name}"
    assert state.seen >= last.seen, f"{kind} {name}"
    read = definition.state_of(last)
    assert definition.state.load(state.fields) == read, f"{kind} {name}"
    if state.values is not None and not state.is_complete:
        assert state.values == read, f"{kind} {name}"


def bounds_hold(simulation: Simulation, names: int = 3) -> None:
    """What is in hand is bounded by the options, whatever there is to do.

    Args:
        simulation: that runs
        names: how many instances one event may be for

    """
    engine, options = simulation._world.engine, simulation._world.options
    most = options.max_in_flight
    for router in engine.routers:
        assert router.in_flight <= most, router.plan.definition.name
    assert 0 <= engine.command_queue.in_flight <= most
    assert len(engine.timers._in_hand) <= most
    # A turn may hand over a few more steps than close a commit.
    largest = options.largest_commit + TURN
    assert engine.journal._store.ahead.steps <= largest
    assert len(engine.services.event_buffer._kept[0]) <= 2 * max(most, largest) + largest
    # Those with work, and those whose steps are not durable.
    working = most * (names * len(engine.routers) + 2) + largest
    awake = len(engine.residency)
    assert awake <= options.max_awake + working + 1, f"{awake} are awake"


def states(simulation: Simulation) -> dict[tuple[str, str], Any]:
    """Every instance and aggregate as the runtime shows it."""
    found: dict[tuple[str, str], Any] = {}
    for cls, definition in simulation._world.registry.processes.items():
        for view in simulation.find(cls):
            found[definition.name, view.id] = (plain(view.state), view.version, view.status)
    streams = {event.stream for event in simulation.events()}
    for kind, made in simulation._world.registry.aggregates.items():
        for stream in streams:
            category, _, name = stream.partition("-")
            if category == made.category:
                found[category, name] = simulation.get(kind, name)
    return found
