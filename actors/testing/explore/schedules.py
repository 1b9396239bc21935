"""Which runs an exploration has of a program, one after the other.

Several ways take turns, so that no kind of flaw has to wait for another: the orders of the clients,
each first with the ordinary inner order; what is to go wrong at each handler once, and time that
passes behind it; an upgrade at each turn; deviations by chance; priorities by chance; and changes
to runs that reached something new.
"""

from __future__ import annotations

import random
from itertools import cycle
from typing import TYPE_CHECKING

from ..simulation.deviations import Deviation, Schedule, number_of
from ..simulation.moves import LATEST

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..simulation.reached import HandlerId, Reached
    from .coverage import Coverage
    from .orders import Orders

__all__ = ["FEW", "MOST", "Schedules"]

MOST = 6
"""Deviations of one run. Hardly any flaw takes more than two or three."""

FEW = 12
"""Turns that count as the start, where each turn is another case: things come from outside."""

TRIES = 3
"""How often something is to go wrong at a handler before it is given up."""

SHUFFLE, DEMOTE = number_of("shuffle"), number_of("demote")
LATE, UPGRADE = number_of("late"), number_of("upgrade")


class Schedules:
    """Makes schedules, the same for the same seed, and learns from what came of them.

    Args:
        orders: of the clients
        kinds: of deviations that are allowed, each as often as it is to be tried
        seed: of the search
        coverage: of all runs so far

    """

    def __init__(self, orders: Orders, kinds: Sequence[int], seed: int, coverage: Coverage) -> None:
        self._orders = orders
        self._kinds = [one for one in kinds if one not in {SHUFFLE, DEMOTE}]
        self._has_orders = SHUFFLE in kinds
        self._turns = FEW
        """How many turns the longest of the runs without deviations took."""
        self._random = random.Random(seed)  # noqa: S311 - the same again is what it is for
        self._coverage = coverage
        self._drawn: set[int] = set()
        self._later: list[tuple[int, ...]] = []
        self._where: dict[HandlerId, tuple[Schedule, int]] = {}
        self._tries: dict[tuple[HandlerId, str], int] = {}
        self._late: set[tuple[HandlerId, int]] = set()
        self._upgraded = 0
        self._corpus: list[Schedule] = []
        ways: tuple[Callable[[], Schedule | None], ...] = (
            self._next_order,
            self._by_chance,
            self._next_order,
            self._by_priority,
            self._next_order,
            self._by_chance,
            self._next_order,
            self._next_accident,
            self._next_order,
            self._by_chance,
            self._next_order,
            self._next_late,
            self._next_order,
            self._changed,
            self._next_order,
            self._next_upgrade,
        )
        self._ways = cycle(ways)
        self._number = len(ways)

    def next(self) -> Schedule | None:
        """The next one; None if there is none but the ones that were there."""
        for _ in range(self._number):
            schedule = next(self._ways)()
            if schedule is not None:
                return schedule
        return None

    def learn(self, schedule: Schedule, turns: int, reached: Reached, *, is_new: bool) -> None:
        """Take in what came of a schedule, and whether it reached something new."""
        if not schedule.deviations:
            self._turns = max(self._turns, turns)
        if is_new:
            self._corpus.append(schedule)
        for handler, turn in reached.handlers.items():
            self._where.setdefault(handler, (schedule, turn))

    # The ways

    def _next_order(self) -> Schedule | None:
        """An order that was not met yet; then one whose run was not an ordinary one."""
        count = self._orders.count
        if count == 1 or not self._has_orders:
            return None
        while len(self._drawn) < count:
            number = self._random.randrange(count)
            if number in self._drawn:
                continue
            self._drawn.add(number)
            order = self._orders.at(number)
            if not self._coverage.has_met(order):
                return Schedule(order)
            self._later.append(order)
        return Schedule(self._later.pop()) if self._later else None

    def _next_accident(self) -> Schedule | None:
        """A failure or a crash at a handler at which it has not happened yet."""
        for handler, kind in self._coverage.missed_accidents:
            tries = self._tries.get((handler, kind), 0)
            if handler in self._where and tries < TRIES:
                self._tries[handler, kind] = tries + 1
                schedule, turn = self._where[handler]
                accident = Deviation(turn, number_of(kind), 0)
                return schedule._replace(deviations=(*schedule.deviations, accident))
        return None

    def _next_late(self) -> Schedule | None:
        """What a handler's step asked for is late: what is due, once or more, comes before it."""
        if LATE not in self._kinds:
            return None
        for handler, (schedule, turn) in self._where.items():
            for which in range(LATEST):
                if (handler, which) not in self._late:
                    self._late.add((handler, which))
                    late = Deviation(turn, LATE, which)
                    return schedule._replace(deviations=(*schedule.deviations, late))
        return None

    def _next_upgrade(self) -> Schedule | None:
        """An upgrade at a turn of the ordinary run at which none has been yet."""
        if UPGRADE not in self._kinds or self._upgraded >= self._turns:
            return None
        self._upgraded += 1
        return Schedule((), (Deviation(self._upgraded, UPGRADE, 0),))

    def _by_chance(self) -> Schedule | None:
        """A few deviations, anywhere."""
        if not self._kinds:
            return None
        count = self._random.choice((1, 1, 1, 2, 2, 2, 3, 3, 4, 5, MOST))
        return Schedule(self._an_order(), tuple(self._deviation() for _ in range(count)))

    def _by_priority(self) -> Schedule | None:
        """Priorities by chance, with a few moments at which they change, and few deviations."""
        if not self._has_orders:
            return None
        chance = self._random
        deviations = [Deviation(1, SHUFFLE, chance.randrange(1 << 16))]
        deviations += [Deviation(self._a_turn(), DEMOTE, 0) for _ in range(chance.randrange(3))]
        deviations += [self._deviation() for _ in range(chance.choice((0, 0, 1, 2)))]
        return Schedule(self._an_order(), tuple(deviations))

    def _changed(self) -> Schedule | None:
        """A run that reached something new, with one deviation more, less, or moved."""
        if not (self._corpus and self._kinds):
            return None
        chance = self._random
        order, deviations = chance.choice(self._corpus)
        changed = list(deviations)
        if changed and chance.randrange(3) == 0:
            place = chance.randrange(len(changed))
            changed[place] = changed[place]._replace(at=self._a_turn())
        else:
            changed = [*changed[-MOST:], self._deviation()]
        return Schedule(order, tuple(changed))

    # By chance

    def _an_order(self) -> tuple[int, ...]:
        """One that was not met yet, most of the time; or none, so that all come when they can."""
        if self._orders.count == 1 or not self._has_orders or self._random.randrange(4) == 0:
            return ()
        for _ in range(4):
            order = self._orders.at(self._random.randrange(self._orders.count))
            if not self._coverage.has_met(order):
                break
        return order

    def _a_turn(self) -> int:
        chance = self._random
        last = FEW if chance.randrange(3) == 0 else self._turns + self._turns // 4
        return chance.randint(1, last)

    def _deviation(self) -> Deviation:
        chance = self._random
        return Deviation(self._a_turn(), chance.choice(self._kinds), chance.randrange(8))
