"""Making a failing run simpler in ways that Hypothesis does not try.

Hypothesis takes deviations away and lowers their numbers. Often one is needed only because another
happens at the wrong turn; so here one is left out while another is moved to every turn there is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ..simulation.deviations import Deviation

__all__ = ["shortened"]

T = TypeVar("T")

TRIES = 600
"""Runs that may be spent on it; most take a few milliseconds."""


def shortened(
    attempt: Callable[[list[Deviation]], T | None],
    deviations: Sequence[Deviation],
    turns: int,
    tries: int = TRIES,
) -> tuple[list[Deviation], T | None]:
    """Fewer deviations with which it still fails, as far as they can be found.

    Args:
        attempt: one run; what went wrong in it, or None if nothing or something else did
        deviations: of a run that fails
        turns: how far to move them
        tries: most runs

    Returns:
        the deviations, and what went wrong with them; None if there are no fewer

    """
    best, failure = list(deviations), None
    is_shorter = True
    while is_shorter:
        is_shorter = False
        for fewer in _simpler(best, turns):
            if not tries:
                break
            tries -= 1
            found = attempt(fewer)
            if found is not None:
                best, failure, is_shorter = fewer, found, True
                break
    return best, failure


def _simpler(deviations: list[Deviation], turns: int) -> Iterator[list[Deviation]]:
    """One by itself, at every turn; then one less, with another one moved."""
    if len(deviations) < 2:
        return
    yield []
    for one in dict.fromkeys(each._replace(at=0) for each in deviations):
        for at in range(1, turns + 1):
            yield [one._replace(at=at)]
    if len(deviations) == 2:
        return
    for left_out in range(len(deviations)):
        rest = [*deviations[:left_out], *deviations[left_out + 1 :]]
        yield rest
        for place, one in enumerate(rest):
            for at in range(1, turns + 1):
                yield [*rest[:place], one._replace(at=at), *rest[place + 1 :]]
