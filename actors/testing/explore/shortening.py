"""Making a failing run simpler: a simpler order of the clients, and fewer deviations.

Often a deviation is needed only because another happens at the wrong turn; so one is left out while
another is moved to every turn there is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ..simulation.deviations import Deviation, Schedule

__all__ = ["shortened"]

T = TypeVar("T")

TRIES = 600
"""Runs that may be spent on it; most take a few milliseconds."""

MANY = 6
"""Deviations up to which each is tried by itself; of more, whole parts are left out first."""


def shortened(
    attempt: Callable[[Schedule], T | None],
    schedule: Schedule,
    turns: int,
    tries: int = TRIES,
) -> tuple[Schedule, T | None]:
    """A simpler schedule with which it still fails, as far as there is one.

    Args:
        attempt: one run; what went wrong in it, or None if nothing or something else did
        schedule: of a run that fails
        turns: how far to move deviations
        tries: most runs

    Returns:
        the schedule, and what went wrong with it; None if there is no simpler one

    """
    best, failure = schedule, None
    tried = {best}
    is_simpler = True
    while is_simpler:
        is_simpler = False
        for other in _simpler(best, turns):
            if other in tried:
                continue
            if len(tried) > tries:
                break
            tried.add(other)
            found = attempt(other)
            if found is not None:
                best, failure, is_simpler = other, found, True
                break
    return best, failure


def _simpler(schedule: Schedule, turns: int) -> Iterator[Schedule]:
    order, deviations = schedule
    if order:
        yield schedule._replace(order=())
    for fewer in _fewer(deviations, turns):
        yield schedule._replace(deviations=tuple(fewer))
    for place in range(len(order) - 1):
        first, second = order[place : place + 2]
        if first > second:
            yield schedule._replace(order=(*order[:place], second, first, *order[place + 2 :]))


def _fewer(deviations: Sequence[Deviation], turns: int) -> Iterator[Sequence[Deviation]]:
    """None; of many, parts; one by itself, at every turn; then one less, with another one moved."""
    if deviations:
        yield []
    if len(deviations) > MANY:
        size = len(deviations) // 2
        while size:
            for start in range(0, len(deviations), size):
                yield [*deviations[:start], *deviations[start + size :]]
            size //= 2
        return
    if len(deviations) < 2:
        return
    for one in dict.fromkeys(each._replace(at=0) for each in deviations):
        for at in range(1, turns + 1):
            yield [one._replace(at=at)]
    if len(deviations) == 2:
        return
    for left_out in range(len(deviations)):
        rest = [*deviations[:left_out], *deviations[left_out + 1 :]]
        yield rest
    for left_out in range(len(deviations)):
        rest = [*deviations[:left_out], *deviations[left_out + 1 :]]
        for place, one in enumerate(rest):
            for at in range(1, turns + 1):
                yield [*rest[:place], one._replace(at=at), *rest[place + 1 :]]
