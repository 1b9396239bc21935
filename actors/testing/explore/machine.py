"""A state machine of Hypothesis over a simulation, for tests that have rules of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import hypothesis
from hypothesis import strategies
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ...model.domain import Domain
from ..simulation.deviations import FAULTS, KINDS, kinds_of
from ..simulation.simulation import Simulation
from .invariants import nothing_unexpected_is_parked

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["ProcessMachine"]


class ProcessMachine(RuleBasedStateMachine):
    """Turns the scheduler, and lets things go wrong; subclasses add rules and invariants.

    Attributes:
        domains: whose classes to run; a subclass sets it
        faults: what may happen beside the rules of the subclass, as for `explore`
        allow_parked: whether a handler may fail by itself
        options: as for `Simulation`
        simulation: what the rules work with

    """

    domains: ClassVar[Domain | Iterable[Domain]] = ()
    faults: ClassVar[Iterable[str]] = FAULTS
    allow_parked: ClassVar[bool] = False
    options: ClassVar[dict[str, Any]] = {}

    def __init__(self) -> None:
        super().__init__()
        domains = self.domains
        self.simulation = Simulation(
            *([domains] if isinstance(domains, Domain) else domains), **self.options
        )
        self._kinds = kinds_of(
            self.faults,
            has_services=bool(self.options.get("services")),
            has_upgrade="upgrade" in self.options,
            has_nodes="nodes" in self.options,
        )

    def at_end(self) -> None:
        """What must hold when everything has settled, up to the last timeout; override it."""

    @rule(count=strategies.integers(1, 16))
    def take_turns(self, count: int) -> None:
        """Let a few things happen."""
        for _ in range(count):
            self.simulation.step()

    @rule(data=strategies.data(), which=strategies.integers(0, 7))
    def go_wrong(self, data: strategies.DataObject, which: int) -> None:
        """Let something happen that is not ordinary."""
        if self._kinds:
            kind = data.draw(strategies.sampled_from([KINDS[one][0] for one in self._kinds]))
            self.simulation.provoke(kind, which)
            self.simulation.step()

    @rule()
    def settle(self) -> None:
        """Let everything settle."""
        self.simulation.settle()

    @invariant()
    def nothing_unexpected_is_parked(self) -> None:
        """No handler fails, and no command is refused, unless the simulation has it fail."""
        if not self.allow_parked:
            nothing_unexpected_is_parked(self.simulation)

    def teardown(self) -> None:
        """Let everything settle, and look at the end."""
        try:
            self.simulation.run()
            self.nothing_unexpected_is_parked()
            self.at_end()
        finally:
            hypothesis.note(str(self.simulation.trace))
            self.simulation.close()
