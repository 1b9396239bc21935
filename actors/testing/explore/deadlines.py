"""What must come to be within a time: promises with a deadline, beside what must always be so."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, TypeGuard, TypeVar

from ..simulation.simulation import Simulation
from ..simulation.wording import elapsed
from .counterexample import Failure, reason

if TYPE_CHECKING:
    from ...authoring.process_manager import ProcessManager

__all__ = ["Deadlines", "Outstanding", "ends_within", "is_promise", "within"]

Outstanding: TypeAlias = Callable[[Simulation], Iterable[Hashable]]
"""Names what is still to come: of each that it names, something is expected."""

F = TypeVar("F", bound=Outstanding)


class _Begun(NamedTuple):
    """When something was outstanding for the first time: by quiet time, and in the run log's."""

    quiet: timedelta
    told: str


def within(limit: timedelta) -> Callable[[F], F]:
    """Mark a function that names what is still to come, and say how long that may take.

    The function is given the `Simulation`, and returns or yields the names of what is outstanding,
    as the ids of the orders that are paid and not shipped. What it names again and again for longer
    than the limit breaks the promise, and so does what is left when nothing is due any more. Time
    that passes because a deviation has it pass while something is in flight is not counted, nor
    is what the clock needs to come back to where it was before it was set back.

    Args:
        limit: the most time that may pass, by the simulated clock

    Raises:
        ValueError: the limit is negative

    """
    if limit < timedelta(0):
        raise ValueError(f"within({limit!r}) is negative; nothing comes before it is outstanding")

    def mark(outstanding: F) -> F:
        outstanding.__procession_within__ = limit  # type: ignore[attr-defined]
        return outstanding

    return mark


def ends_within(cls: type[ProcessManager], limit: timedelta) -> Outstanding:
    """The promise that every instance of a process manager ends in time.

    An instance that starts anew has its time anew.

    Args:
        cls: the process manager
        limit: the most time that may pass from an instance's start to its end, by the simulated
            clock

    Raises:
        ValueError: the limit is negative

    """

    def outstanding(simulation: Simulation) -> Iterable[Hashable]:
        for view in simulation.find(cls, complete=False):
            runs = sum(step.is_complete for step in simulation.history(cls, view.id))
            yield view.id if not runs else f"{view.id} (run {runs + 1})"

    outstanding.__name__ = f"every_{cls.__name__}_ends"
    return within(limit)(outstanding)


def is_promise(invariant: Callable[[Simulation], object]) -> TypeGuard[Outstanding]:
    """Whether `within` has marked an invariant."""
    return hasattr(invariant, "__procession_within__")


class Deadlines:
    """What is outstanding in one run, and since when.

    Args:
        simulation: that runs
        promises: that `within` has marked

    """

    def __init__(self, simulation: Simulation, promises: Iterable[Outstanding]) -> None:
        self._simulation = simulation
        self._since: list[tuple[Outstanding, timedelta, dict[Hashable, _Begun]]] = []
        for promise in promises:
            limit: timedelta = promise.__procession_within__  # type: ignore[attr-defined]
            self._since.append((promise, limit, {}))

    def look(self) -> Failure | None:
        """Look what is outstanding, after something has changed; a failure if that cannot be."""
        simulation = self._simulation
        now = _Begun(simulation.quiet_time, elapsed(simulation.elapsed))
        for promise, _, since in self._since:
            try:
                left = dict.fromkeys(promise(simulation))
            except Exception as error:  # noqa: BLE001 - as for an invariant
                return self._failure(promise, "", reason(error), error)
            kept = {name: since.get(name, now) for name in left}
            since.clear()
            since.update(kept)
        return None

    def broken(self) -> Failure | None:
        """What has been outstanding for too long."""
        now = self._simulation.quiet_time
        for promise, limit, since in self._since:
            for name, begun in since.items():
                if now - begun.quiet > limit:
                    why = f"{name} is outstanding since {begun.told}"
                    return self._failure(promise, "", why)
        return None

    def broken_at_end(self) -> Failure | None:
        """What is left, of which nothing will come any more; when the run has come to its end."""
        if not self._simulation.is_at_rest:
            return None
        for promise, _, since in self._since:
            for name, begun in since.items():
                why = f"{name} is outstanding since {begun.told}, and nothing is due any more"
                return self._failure(promise, " when everything has settled", why)
        return None

    def _failure(
        self, promise: Outstanding, when: str, why: str, error: BaseException | None = None
    ) -> Failure:
        name = getattr(promise, "__name__", repr(promise))
        return Failure(name, when, why, self._simulation.trace, error)
