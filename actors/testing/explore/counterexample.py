"""A run in which an invariant was broken, for people to read."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from ..simulation.run_log import Trace

__all__ = ["CounterExample", "Failure"]


class Failure(NamedTuple):
    """Which invariant was broken in a run, why, and what had happened.

    `when` says more about the moment, with a space before it.
    """

    name: str
    when: str
    why: str
    trace: Trace
    error: BaseException | None


class CounterExample(AssertionError):
    """An invariant was broken.

    Attributes:
        invariant: its name
        trace: what happened in the shortest run that breaks it
        seed: what has `explore` run exactly that again

    """

    def __init__(self, failure: Failure, seed: str) -> None:
        self.invariant = failure.name
        self.trace = failure.trace
        self.seed = seed
        super().__init__(
            f"{failure.name} does not hold{failure.when}: {failure.why}\n\n"
            f"{failure.trace}\n\n"
            f"To have this run again:\n\n"
            f'    explore(shop, program, invariants, seed="{seed}")'
        )


def reason(error: BaseException) -> str:
    """An exception in one line; of a bare assert, what was asserted."""
    text = str(error).partition("\n")[0]
    if isinstance(error, AssertionError):
        frames = traceback.extract_tb(error.__traceback__)
        return text or (frames[-1].line if frames else None) or "it was asserted"
    return f"{type(error).__name__}: {text}"
