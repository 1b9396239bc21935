"""Searching for a run in which something goes wrong, and making that run as short as possible."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from ...model.domain import Domain
from ...model.registry import Registry
from ..simulation.deviations import FAULTS, Deviation, kinds_of, seed_of, unpacked
from ..simulation.faults import InjectedFailure
from ..simulation.program import program_from, program_to
from ..simulation.simulation import MAX_STEPS, Simulation
from .counterexample import CounterExample, Failure, reason
from .shortening import shortened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import timedelta
    from types import ModuleType

    from hypothesis.strategies import SearchStrategy

    from ..simulation.program import Program

    Invariant: TypeAlias = Callable[[Simulation], object]

__all__ = ["at_end", "explore"]

F = TypeVar("F", bound="Callable[..., object]")

TURNS = 200
"""How long the runs of a program that is made up are taken to be."""

NEEDED = (
    "explore and ProcessMachine need Hypothesis, which searches and shortens; install it with "
    "`pip install procession[testing]`"
)


def at_end(invariant: F) -> F:
    """Mark an invariant that need only hold when everything has settled."""
    invariant.__procession_at_end__ = True  # type: ignore[attr-defined]
    return invariant


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
        program: what comes from outside: a list of commands, events, `Publish(event, ...)` and
            times that pass; a list of such lists, which are brought side by side; or a strategy
            of Hypothesis for either
        invariants: functions of the `Simulation` that raise, or return False, when something is
            wrong; called whenever something was committed, and at the end. Those marked with
            `at_end` are called at the end only
        at_end: more of those
        faults: what may happen; see `Simulation`
        before_each: called before each run; sets back what your code keeps outside the runtime
        allow_parked: whether a handler may fail by itself, so that something is parked
        max_examples: how many runs to try
        max_steps: turns after which a run counts as endless
        horizon: how long after its start a run ends, whatever is still due
        seed: a word that a failure told, to have exactly that run; or a number for another search
        options: as for `Simulation`

    Raises:
        CounterExample: an invariant was broken; its text shows the shortest run that does it

    """
    chosen = [domains] if isinstance(domains, Domain) else list(domains)
    checks = list(invariants)
    search = _Search(
        Registry(chosen),
        [one for one in checks if not hasattr(one, "__procession_at_end__")],
        [*checks, *at_end],
        before_each,
        allow_parked,
        {"max_steps": max_steps, "horizon": horizon},
        options,
    )
    if isinstance(seed, str):
        search.repeat(seed, program)
        return
    search.look(program, kinds_of(faults), max_examples, seed or 0)


class _Search:
    """What all runs of one exploration share."""

    def __init__(
        self,
        registry: Registry,
        always: list[Invariant],
        finally_: list[Invariant],
        before_each: Callable[[], object] | None,
        allow_parked: bool,
        limits: dict[str, Any],
        options: dict[str, Any],
    ) -> None:
        self._registry = registry
        self._always = always
        self._finally = finally_
        self._before_each = before_each
        self._allow_parked = allow_parked
        self._limits = limits
        self._options = options

    def repeat(self, seed: str, program: Any) -> None:
        """One run, as a failure told it."""
        deviations, packed = unpacked(seed)
        if packed is not None:
            program = program_from(self._registry, packed)
        elif not isinstance(program, Sequence):
            raise TypeError(f"seed={seed!r} was made for a program that is a list; give that list")
        failure, _ = self.run(program, deviations)
        if failure is not None:
            raise CounterExample(failure, seed) from failure.error

    def look(self, program: Any, kinds: list[int], max_examples: int, seed: int) -> None:
        """Many runs, until one fails; then ever shorter ones."""
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
            packed = None if is_list else program_to(self._registry, found.program)
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
        if self._before_each is not None:
            self._before_each()
        with Simulation.planned(self._registry, program, deviations, **self._options) as simulation:
            failure = self._failure(simulation)
            return failure, simulation.turns

    def _failure(self, simulation: Simulation) -> Failure | None:
        try:
            for _ in simulation.steps(**self._limits):
                if simulation.has_changed:
                    simulation.has_changed = False
                    failure = self._broken(simulation, self._always, "")
                    if failure is not None:
                        return failure
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what was looked for
            return Failure("the run itself", "", reason(error), simulation.trace, error)
        checks = [self._the_store_is_sound, *self._finally]
        return self._broken(simulation, checks, " when everything has settled")

    @staticmethod
    def _the_store_is_sound(simulation: Simulation) -> None:
        """Versions have no gaps, and what one record says of another is so."""
        findings = simulation.verify()
        assert not findings, "; ".join(str(one) for one in findings)

    def _broken(
        self, simulation: Simulation, invariants: list[Invariant], when: str
    ) -> Failure | None:
        """The first invariant that does not hold now."""
        own = [] if self._allow_parked else [nothing_unexpected_is_parked]
        for invariant in [*own, *invariants]:
            name = getattr(invariant, "__name__", repr(invariant))
            try:
                if invariant(simulation) is not False:
                    continue
            except Exception as error:  # noqa: BLE001 - that is how it says no
                return Failure(name, when, reason(error), simulation.trace, error)
            return Failure(name, when, "it returned False", simulation.trace, None)
        return None


def nothing_unexpected_is_parked(simulation: Simulation) -> None:
    """No handler fails, and no command is refused, unless the simulation has it fail."""
    for parked in simulation.parked():
        if InjectedFailure.__name__ not in parked.error.partition(":")[0]:
            who = f"{parked.process} {parked.instance}".strip() or "a command from outside"
            raise AssertionError(f"{who} parked {parked.cause}: {parked.error}")


def _searching() -> ModuleType:
    try:
        return importlib.import_module(".searching", __package__)
    except ImportError as error:
        if error.name != "hypothesis":
            raise
        raise ImportError(NEEDED) from error
