"""Searching for a run in which something goes wrong, and making that run as short as possible."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ...clock import seconds
from ..simulation.deviations import FAULTS, KINDS, Schedule, kinds_of, seed_of, unpacked
from ..simulation.program import program_from, program_to
from ..simulation.simulation import MAX_STEPS, Simulation, beginning_of, registry_of
from .counterexample import CounterExample, Failure, reason
from .coverage import Coverage
from .deadlines import Deadlines, Outstanding, is_promise
from .invariants import broken, is_for_the_end, nothing_unexpected_is_parked, the_store_is_sound
from .orders import Orders
from .schedules import DEMOTE, SHUFFLE, Schedules
from .shortening import shortened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import timedelta
    from os import PathLike
    from types import ModuleType

    from hypothesis.strategies import SearchStrategy

    from ...model.domain import Domain
    from ...model.registry import Registry
    from ...store import PayloadCodec
    from ..simulation.deviations import Deviation
    from ..simulation.program import Program
    from ..simulation.reached import Reached
    from ..simulation.services import Service
    from ..simulation.simulation import Stored
    from .invariants import Invariant

__all__ = ["explore"]

__tracebackhide__ = True
"""What pytest looks for: it shows the test's own lines, and not those that called them."""

RUNS = 300
"""How many runs to have, unless the caller or a profile of Hypothesis says otherwise."""

RUNS_OF_PROFILE = 3
"""Runs for each example that a profile of Hypothesis has. Its own default, 100, comes to `RUNS`."""

ROUND = 200
"""Programs that a strategy makes before it is looked whether the budget is used up."""

TURNS = 200
"""How long the runs of a program that is made up are taken to be."""

NEEDED = (
    "a strategy that makes programs, and ProcessMachine, need Hypothesis; install it with "
    "`pip install procession[testing]`"
)


def explore(
    domains: Domain | Iterable[Domain],
    program: Program | SearchStrategy[Any],
    invariants: Iterable[Invariant] = (),
    *,
    at_end: Iterable[Invariant] = (),
    faults: Iterable[str] = FAULTS,
    before_each: Callable[[], object] | None = None,
    allow_parked: bool = False,
    max_examples: int | None = None,
    budget: timedelta | None = None,
    corpus: str | PathLike[str] | None = None,
    max_steps: int = MAX_STEPS,
    horizon: timedelta | None = None,
    seed: str | int | None = None,
    services: Iterable[Service] = (),
    store: Stored = None,
    codec: PayloadCodec | None = None,
    upgrade: Domain | Iterable[Domain] | None = None,
    nodes: int | None = None,
    partitions: int | None = None,
    stopwatch: Callable[[], float] = seconds,
    on_progress: Callable[[Coverage], object] | None = None,
    **options: Any,
) -> Coverage:
    """Search for an order of messages and turns, and accidents, that break an invariant.

    Each run brings the whole program and lets everything settle, up to the last timeout. The
    ordinary run comes first; the others differ from it in the order in which the clients bring
    their messages, of which each comes once before one comes again, and in what `faults` allows.
    When one breaks an invariant, it is shortened for as long as it still does.

    Args:
        domains: whose classes to run
        program: what comes from outside: a list of commands, events, `Tell(command, ...)`,
            `Publish(event, ...)` and times that pass; a list of such lists, which are brought side
            by side; or a strategy of Hypothesis for either
        invariants: functions of the `Simulation` that raise, or return False, when something is
            wrong; called whenever something was committed, and at the end. An invariant marked
            with `at_end` is called at the end only. One marked with `within`, as `ends_within`
            makes it, names what is still to come, which must not take longer than that
        at_end: more invariants for the end
        faults: what may happen; see `Simulation`
        before_each: called before each run; sets back what your code keeps outside the runtime
        allow_parked: whether a handler may fail by itself, so that something is parked
        max_examples: how many runs to try; without it and a budget 300, or three times the
            examples of the profile of Hypothesis in force
        budget: how long to go on trying, in real time; shortening what was found is not counted
        corpus: a file that keeps the seeds of runs that reached something new, one a line; they
            are run first the next time. A run that fails is not among them
        max_steps: turns after which a run counts as endless
        horizon: how long after its start a run ends, whatever is still due
        seed: the word in the text of a failure, for exactly that run; a number for another search
        services: outside, which answer what they are told; they may be late, break off or be silent
        store: what every run begins with: what a simulation or a folder has stored, so that old
            logs are met by new code
        codec: of a store in a folder that has one; the runs have none
        upgrade: another version of the domains; a deviation has the process start again with it
        nodes: how many processes share the partitions of a divided store; see `Simulation`
        partitions: how many there are; without it, twice the nodes
        stopwatch: what the budget is measured by; it tells seconds
        on_progress: is called with what was covered so far after each run that breaks nothing
        options: as for `Simulation`

    Returns:
        what was covered, and what never was

    Raises:
        CounterExample: an invariant was broken; its text shows the shortest run that does it

    """
    given, last = list(invariants), list(at_end)
    promises = [one for one in (*given, *last) if is_promise(one)]
    checks = [one for one in given if not is_promise(one)]
    own = [] if allow_parked else [nothing_unexpected_is_parked]
    search = _Search(
        registry_of(domains),
        [*own, *(one for one in checks if not is_for_the_end(one))],
        [*own, the_store_is_sound, *checks, *(one for one in last if not is_promise(one))],
        promises,
        before_each,
        {"max_steps": max_steps, "horizon": horizon},
        options
        | {
            "services": (outside := list(services)),
            "store": beginning_of(store, codec),
            "upgrade": None if upgrade is None else registry_of(upgrade),
            "nodes": nodes,
            "partitions": partitions,
        },
        on_progress,
    )
    kinds = kinds_of(
        faults,
        has_services=bool(outside),
        has_upgrade=upgrade is not None,
        has_nodes=nodes is not None,
    )
    if isinstance(seed, str):
        return search.repeat(seed, program)
    limit, file = _Limit(max_examples, budget, stopwatch), None if corpus is None else Path(corpus)
    known = file.read_text("utf-8").split() if file is not None and file.exists() else []
    if isinstance(program, Sequence):
        coverage = search.look(program, known, kinds, limit, seed or 0)
    else:
        coverage = search.look_with_strategy(program, known, kinds, limit, seed or 0)
    if file is not None:
        file.write_text("".join(f"{one}\n" for one in coverage.corpus), "utf-8")
    return coverage


class _Limit:
    """How many runs to have, and for how long."""

    def __init__(
        self, runs: int | None, budget: timedelta | None, stopwatch: Callable[[], float]
    ) -> None:
        self.runs = _usual_runs() if runs is None and budget is None else runs
        self._stopwatch = stopwatch
        self._until = None if budget is None else stopwatch() + budget.total_seconds()

    def is_reached(self, runs: int) -> bool:
        """Whether there were so many runs, or the time is over."""
        if self.runs is not None and runs >= self.runs:
            return True
        return self._until is not None and self._stopwatch() >= self._until


def _usual_runs() -> int:
    # Who loaded a profile has imported it.
    hypothesis = sys.modules.get("hypothesis")
    if hypothesis is None:
        return RUNS
    return RUNS_OF_PROFILE * int(hypothesis.settings.default.max_examples)


class _Run(NamedTuple):
    """What came of one run."""

    failure: Failure | None
    turns: int
    reached: Reached
    came: tuple[int, ...]
    happened: list[str]
    chosen: list[Deviation]


class _Search:
    """What all runs of one exploration share."""

    def __init__(
        self,
        registry: Registry,
        always: list[Invariant],
        at_end: list[Invariant],
        promises: list[Outstanding],
        before_each: Callable[[], object] | None,
        limits: dict[str, Any],
        options: dict[str, Any],
        on_progress: Callable[[Coverage], object] | None,
    ) -> None:
        self._registry = registry
        self._on_progress = on_progress
        upgrade = options["upgrade"]
        self._versions = [registry] if upgrade is None else [registry, upgrade]
        self._always = always
        self._at_end = at_end
        self._promises = promises
        self._before_each = before_each
        self._limits = limits
        self._options = options

    def repeat(self, seed: str, program: Any) -> Coverage:
        """Have one run again, by the word in the text of its failure."""
        schedule, packed = unpacked(seed)
        if packed is not None:
            program = program_from(self._registry, packed)
        elif not isinstance(program, Sequence):
            raise TypeError(f"seed={seed!r} was made for a program that is a list; give that list")
        coverage = Coverage(self._versions, (), Orders.of(program))
        run = self.run(program, schedule)
        if run.failure is not None:
            raise CounterExample(run.failure, seed) from run.failure.error
        coverage.learn(run.reached, run.came, run.happened)
        return coverage

    def look(
        self, program: Program, known: list[str], kinds: list[int], limit: _Limit, seed: int
    ) -> Coverage:
        """Many runs of one program, until one fails; then ever shorter runs."""
        orders = Orders.of(program)
        coverage = Coverage(self._versions, _names(kinds), orders)
        schedules = Schedules(orders, kinds, seed, coverage)
        first = [Schedule(), *(unpacked(word)[0] for word in known)]
        left = iter(dict.fromkeys(first))
        schedule = next(left, None)
        while schedule is not None:
            run = self.run(program, schedule)
            if run.failure is not None:
                raise self._shortest(program, schedule, run)
            is_new = coverage.learn(run.reached, run.came, run.happened)
            schedules.learn(schedule, run.turns, run.reached, is_new=is_new)
            if is_new:
                coverage.corpus.append(seed_of(schedule))
            self._tell(coverage)
            schedule = next(left, None)
            if schedule is None and not limit.is_reached(coverage.runs):
                schedule = schedules.next()
        return coverage

    def look_with_strategy(
        self,
        programs: SearchStrategy[Any],
        known: list[str],
        kinds: list[int],
        limit: _Limit,
        seed: int,
    ) -> Coverage:
        """Many programs, a run of each, until one fails; then ever shorter ones."""
        searching = _searching()
        if not isinstance(programs, searching.strategies.SearchStrategy):
            raise TypeError(
                f"a program is a list, or a strategy that makes lists, not {programs!r}"
            )
        coverage = Coverage(self._versions, _names(kinds), None)

        def attempt(program: Any, schedule: Schedule) -> Failure | None:
            run = self.run(program, schedule)
            if run.failure is None:
                if coverage.learn(run.reached, run.came, run.happened):
                    coverage.corpus.append(seed_of(schedule, program_to(self._registry, program)))
                self._tell(coverage)
            return run.failure

        for word in known:
            schedule, packed = unpacked(word)
            program = program_from(self._registry, packed)
            if attempt(program, schedule) is not None:
                raise self._shortest(program, schedule, self.run(program, schedule), packed)
        while not limit.is_reached(coverage.runs):
            before = coverage.runs
            left = ROUND if limit.runs is None else min(ROUND, limit.runs - before)
            found = searching.search(
                attempt, programs, kinds, turns=TURNS, max_examples=left, seed=seed + before
            )
            if found is not None:
                run = self.run(found.program, found.schedule)
                packed = program_to(self._registry, found.program)
                raise self._shortest(found.program, found.schedule, run, packed)
            if coverage.runs == before:
                # The strategy has no program that was not tried.
                break
        return coverage

    def _tell(self, coverage: Coverage) -> None:
        if self._on_progress is not None:
            self._on_progress(coverage)

    def _shortest(
        self, program: Program, schedule: Schedule, run: _Run, packed: Any = None
    ) -> CounterExample:
        """The same flaw by a simpler schedule, if there is such a run."""
        failure = run.failure
        assert failure is not None
        name = failure.name

        def attempt(other: Schedule) -> Failure | None:
            again = self.run(program, other).failure
            return again if again is not None and again.name == name else None

        for other in (_spelled_out(schedule, run), schedule):
            found = failure if other == schedule else attempt(other)
            if found is not None:
                schedule, shorter = shortened(attempt, other, run.turns)
                failure = shorter or found
                break
        counter_example = CounterExample(failure, seed_of(schedule, packed))
        counter_example.__cause__ = failure.error
        return counter_example

    def run(self, program: Program, schedule: Schedule) -> _Run:
        """One run, and what came of it."""
        if self._before_each is not None:
            self._before_each()
        with Simulation.planned(self._registry, program, schedule, **self._options) as simulation:
            failure = self._failure(simulation)
            return _Run(
                failure,
                simulation.turns,
                simulation.reached,
                simulation.came,
                simulation.happened,
                simulation.chosen,
            )

    def _failure(self, simulation: Simulation) -> Failure | None:
        deadlines = Deadlines(simulation, self._promises)
        try:
            for _ in simulation.steps(**self._limits):
                failure = None
                if simulation.has_changed:
                    simulation.has_changed = False
                    failure = broken(simulation, self._always, "") or deadlines.look()
                failure = failure or deadlines.broken()
                if failure is not None:
                    return failure
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what was looked for
            return Failure("the run itself", "", reason(error), simulation.trace, error)
        at_end = broken(simulation, self._at_end, " when everything has settled")
        return at_end or deadlines.broken_at_end()


def _names(kinds: Iterable[int]) -> list[str]:
    return [KINDS[one][0] for one in dict.fromkeys(kinds)]


def _spelled_out(schedule: Schedule, run: _Run) -> Schedule:
    """The same run with the turns that chance chose, which can be left out one by one."""
    kept = [one for one in schedule.deviations if one.kind not in {SHUFFLE, DEMOTE}]
    return schedule._replace(deviations=tuple(sorted([*kept, *run.chosen])))


def _searching() -> ModuleType:
    try:
        return importlib.import_module(".searching", __package__)
    except ImportError as error:
        if error.name != "hypothesis":
            raise
        raise ImportError(NEEDED) from error
