"""Searching for a run in which something goes wrong, and making that run as short as possible."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...model.domain import Domain
from ...model.registry import Registry
from ..simulation.deviations import FAULTS, Deviation, kinds_of, seed_of, unpacked
from ..simulation.program import program_from, program_to
from ..simulation.simulation import MAX_STEPS, Simulation
from .counterexample import CounterExample, Failure, reason
from .invariants import broken, is_for_the_end, nothing_unexpected_is_parked, the_store_is_sound
from .shortening import shortened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import timedelta
    from types import ModuleType

    from hypothesis.strategies import SearchStrategy

    from ..simulation.program import Program
    from .invariants import Invariant

__all__ = ["explore"]

TURNS = 200
"""How long the runs of a program that is made up are taken to be."""

NEEDED = (
    "explore and ProcessMachine need Hypothesis, which searches and shortens; install it with "
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
    max_examples: int = 300,
    max_steps: int = MAX_STEPS,
    horizon: timedelta | None = None,
    seed: str | int | None = None,
    **options: Any,
) -> None:
    """Search for an order of turns, and accidents, that break an invariant.

    Each run brings the whole program and lets everything settle, up to the last timeout. The
    ordinary run comes first; the others differ from it in what `faults` allows. When one breaks
    an invariant, Hypothesis shortens it for as long as it still does.

    Args:
        domains: whose classes to run
        program: what comes from outside: a list of commands, events, `Tell(command, ...)`,
            `Publish(event, ...)` and times that pass; a list of such lists, which are brought side
            by side; or a strategy of Hypothesis for either
        invariants: functions of the `Simulation` that raise, or return False, when something is
            wrong; called whenever something was committed, and at the end. An invariant marked
            with `at_end` is called at the end only
        at_end: more invariants for the end
        faults: what may happen; see `Simulation`
        before_each: called before each run; sets back what your code keeps outside the runtime
        allow_parked: whether a handler may fail by itself, so that something is parked
        max_examples: how many runs to try
        max_steps: turns after which a run counts as endless
        horizon: how long after its start a run ends, whatever is still due
        seed: the word in the text of a failure, for exactly that run; a number for another search
        options: as for `Simulation`

    Raises:
        CounterExample: an invariant was broken; its text shows the shortest run that does it

    """
    checks = list(invariants)
    own = [] if allow_parked else [nothing_unexpected_is_parked]
    search = _Search(
        Registry([domains] if isinstance(domains, Domain) else domains),
        [*own, *(one for one in checks if not is_for_the_end(one))],
        [*own, the_store_is_sound, *checks, *at_end],
        before_each,
        {"max_steps": max_steps, "horizon": horizon},
        options,
    )
    if isinstance(seed, str):
        search.repeat(seed, program)
        return
    search.look(program, kinds_of(faults), max_examples, seed or 0)


@dataclass(frozen=True, slots=True)
class _Search:
    """What all runs of one exploration share."""

    registry: Registry
    always: list[Invariant]
    at_end: list[Invariant]
    before_each: Callable[[], object] | None
    limits: dict[str, Any]
    options: dict[str, Any]

    def repeat(self, seed: str, program: Any) -> None:
        """Have one run again, by the word in the text of its failure."""
        deviations, packed = unpacked(seed)
        if packed is not None:
            program = program_from(self.registry, packed)
        elif not isinstance(program, Sequence):
            raise TypeError(f"seed={seed!r} was made for a program that is a list; give that list")
        failure, _ = self.run(program, deviations)
        if failure is not None:
            raise CounterExample(failure, seed) from failure.error

    def look(self, program: Any, kinds: list[int], max_examples: int, seed: int) -> None:
        """Many runs, until one fails; then ever shorter runs."""
        searching = _searching()
        is_list = isinstance(program, Sequence)
        if not (is_list or isinstance(program, searching.strategies.SearchStrategy)):
            raise TypeError(f"a program is a list, or a strategy that makes lists, not {program!r}")
        turns = TURNS
        if is_list:
            failure, turns = self.run(program, [])
            if failure is not None:
                raise CounterExample(failure, seed_of([])) from failure.error
        found = searching.search(
            lambda made, deviations: self.run(made, deviations)[0],
            searching.strategies.just(program) if is_list else program,
            kinds,
            turns=turns,
            max_examples=max_examples,
            seed=seed,
        )
        if found is not None:
            deviations, failure = self._shortened(found.program, found.deviations, found.failure)
            packed = None if is_list else program_to(self.registry, found.program)
            raise CounterExample(failure, seed_of(deviations, packed)) from failure.error

    def _shortened(
        self, program: Program, deviations: list[Deviation], failure: Failure
    ) -> tuple[list[Deviation], Failure]:
        """The same flaw with fewer deviations, if there is such a run."""
        _, turns = self.run(program, deviations)

        def attempt(fewer: list[Deviation]) -> Failure | None:
            other, _ = self.run(program, fewer)
            return other if other is not None and other.name == failure.name else None

        fewer, shorter = shortened(attempt, deviations, turns)
        return fewer, shorter or failure

    def run(self, program: Program, deviations: Iterable[Deviation]) -> tuple[Failure | None, int]:
        """One run: what went wrong, if anything, and how many turns it took."""
        if self.before_each is not None:
            self.before_each()
        with Simulation.planned(self.registry, program, deviations, **self.options) as simulation:
            failure = self._failure(simulation)
            return failure, simulation.turns

    def _failure(self, simulation: Simulation) -> Failure | None:
        try:
            for _ in simulation.steps(**self.limits):
                if simulation.has_changed:
                    simulation.has_changed = False
                    failure = broken(simulation, self.always, "")
                    if failure is not None:
                        return failure
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what was looked for
            return Failure("the run itself", "", reason(error), simulation.trace, error)
        return broken(simulation, self.at_end, " when everything has settled")


def _searching() -> ModuleType:
    try:
        return importlib.import_module(".searching", __package__)
    except ImportError as error:
        if error.name != "hypothesis":
            raise
        raise ImportError(NEEDED) from error
