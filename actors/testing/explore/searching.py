"""Hypothesis: it makes programs, and a schedule for each, and shortens what fails.

Imported when a strategy makes the programs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import hypothesis
from hypothesis import HealthCheck, Phase, Verbosity, strategies

from ..simulation.deviations import Deviation, Schedule
from .orders import Orders
from .schedules import FEW, MOST, SHUFFLE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hypothesis.strategies import SearchStrategy

    from .counterexample import Failure

__all__ = ["Found", "search"]


class Found(NamedTuple):
    """The shortest run that fails."""

    program: Any
    schedule: Schedule
    failure: Failure


class _Failed(Exception):
    """Ends a run for Hypothesis."""


def search(
    run: Callable[[Any, Schedule], Failure | None],
    programs: SearchStrategy[Any],
    kinds: Sequence[int],
    *,
    turns: int,
    max_examples: int,
    seed: int,
) -> Found | None:
    """Try runs until one fails, then shorter runs that fail in the same way.

    Args:
        run: carries one out, and tells what went wrong
        programs: what comes from outside
        kinds: of deviations that are allowed
        turns: how many the ordinary run has, about
        max_examples: how many runs to try
        seed: of the search

    Returns:
        the shortest run that fails; None if none does

    """
    anywhere = strategies.integers(1, turns + turns // 4)
    deviations = strategies.builds(
        Deviation,
        # Near the start, where things come from outside, every turn is another case.
        strategies.integers(1, FEW) | anywhere | anywhere,
        strategies.sampled_from(kinds or [0]),
        strategies.integers(0, 7),
    )
    has_orders = SHUFFLE in kinds

    @strategies.composite
    def cases(draw: strategies.DrawFn) -> tuple[Any, Schedule]:
        program = draw(programs)
        chosen = draw(strategies.lists(strategies.integers(0, 7))) if has_orders else []
        made = draw(strategies.lists(deviations, max_size=MOST if kinds else 0))
        return program, Schedule(_order_of(program, chosen), tuple(made))

    found: list[Found] = []

    @hypothesis.seed(seed)
    @hypothesis.settings(
        database=None,
        deadline=None,
        derandomize=False,
        max_examples=max_examples,
        # Explaining runs a failing example many times more, and has nothing to explain here.
        phases=[Phase.generate, Phase.shrink],
        print_blob=False,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.quiet,
    )
    @hypothesis.given(cases())
    def attempt(case: tuple[Any, Schedule]) -> None:
        program, schedule = case
        failure = run(program, schedule)
        # Of two flaws Hypothesis shortens the first that it found, and does not turn to the other.
        if failure is not None and (not found or found[0].failure.name == failure.name):
            found[:] = [Found(program, schedule, failure)]
            raise _Failed

    try:
        attempt()
    except _Failed:
        return found[0]
    return None


def _order_of(program: Any, chosen: list[int]) -> tuple[int, ...]:
    """The order in which each number chooses among the clients that have messages left.

    It goes on with the first of them, and none has each client bring its next as soon as it can.
    So a shorter list, and lower numbers, are a simpler order, whatever becomes of the program.
    """
    left = list(Orders.of(program).messages)
    order = []
    for number in chosen:
        clients = [client for client, messages in enumerate(left) if messages]
        if len(clients) < 2:
            break
        client = clients[number % len(clients)]
        left[client] -= 1
        order.append(client)
    return tuple(order)
