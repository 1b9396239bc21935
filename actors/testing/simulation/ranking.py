"""Who goes first: priorities by chance, as in probabilistic concurrency testing.

Burckhardt and others, "A Randomized Scheduler with Probabilistic Guarantees of Finding Bugs", 2010:
the actor with the highest priority goes on until it has nothing to do, and at a few moments the one
in front falls behind all others. A flaw that takes few such moments is likely to be met.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Ranking"]


class Ranking:
    """Gives everyone who has something to do a priority.

    Args:
        number: of which the priorities are made; the same each time

    """

    def __init__(self, number: int) -> None:
        self._random = random.Random(number)  # noqa: S311 - the same again is what it is for
        self._ranks: dict[object, float] = {}
        self._lowest = 0.0

    def first(self, who: Sequence[object]) -> int:
        """The place of the one who goes first."""
        ranks = self._ranks
        for one in who:
            if one not in ranks:
                ranks[one] = self._random.random()
        return max(range(len(who)), key=lambda place: ranks[who[place]])

    def demote(self, one: object) -> None:
        """Have one fall behind all others."""
        self._lowest -= 1
        self._ranks[one] = self._lowest
