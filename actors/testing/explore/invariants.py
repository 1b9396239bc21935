"""What must always be so: how an invariant is asked, and the two that `explore` brings with it."""

from __future__ import annotations

from collections.abc import Callable
from types import GeneratorType
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from ..simulation.faults import InjectedFailure
from ..simulation.simulation import Simulation
from .counterexample import Failure, reason

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "Invariant",
    "at_end",
    "broken",
    "is_for_the_end",
    "nothing_unexpected_is_parked",
    "the_store_is_sound",
]

__tracebackhide__ = True
"""What pytest looks for: it shows the test's own lines, and not those that called them."""

Invariant: TypeAlias = Callable[[Simulation], object]

F = TypeVar("F", bound=Callable[..., object])


def at_end(invariant: F) -> F:
    """Mark an invariant that need only hold when everything has settled."""
    invariant.__procession_at_end__ = True  # type: ignore[attr-defined]
    return invariant


def is_for_the_end(invariant: Invariant) -> bool:
    """Whether `at_end` has marked an invariant."""
    return hasattr(invariant, "__procession_at_end__")


def broken(simulation: Simulation, invariants: Iterable[Invariant], when: str) -> Failure | None:
    """The first invariant that does not hold now."""
    for invariant in invariants:
        name = getattr(invariant, "__name__", repr(invariant))
        try:
            found = invariant(simulation)
            if not (found is False or isinstance(found, GeneratorType)):
                continue
        except Exception as error:  # noqa: BLE001 - that is how an invariant says no
            return Failure(name, when, reason(error), simulation.trace, error)
        why = "it returned False"
        if found is not False:
            why = (
                "it yields what is outstanding, and nothing says for how long that may be; mark it "
                "with @within(timedelta(...))"
            )
        return Failure(name, when, why, simulation.trace, None)
    return None


def the_store_is_sound(simulation: Simulation) -> None:
    """Versions have no gaps, and what one record says of another is so."""
    findings = simulation.verify()
    assert not findings, "; ".join(str(one) for one in findings)


def nothing_unexpected_is_parked(simulation: Simulation) -> None:
    """No handler fails, and no command is refused, unless the simulation has it fail.

    What was parked in a store that the run began with is none of it.
    """
    for parked in simulation.parked():
        if parked.id in simulation.parked_before:
            continue
        if InjectedFailure.__name__ not in parked.error.partition(":")[0]:
            name = f"{parked.process} {parked.instance}".strip() or "a command from outside"
            raise AssertionError(f"{name} parked {parked.cause}: {parked.error}")
