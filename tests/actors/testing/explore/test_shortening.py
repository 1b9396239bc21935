"""A failing run has no more deviations than it needs, and as ordinary an order as can be."""

from __future__ import annotations

from procession.testing.explore.shortening import shortened
from procession.testing.simulation.deviations import Deviation, Schedule

CRASH, TIME, FAILS = 3, 2, 7


def by(*deviations: Deviation) -> Schedule:
    return Schedule((), deviations)


def test_what_is_not_needed_when_another_is_moved_goes() -> None:
    def attempt(schedule: Schedule) -> str | None:
        """Time at turn 17 alone does it, or time at 9 with a crash before."""
        kinds = {(one.kind, one.at) for one in schedule.deviations}
        return "wrong" if (TIME, 17) in kinds or {(TIME, 9), (CRASH, 2)} <= kinds else None

    found = by(Deviation(2, CRASH, 0), Deviation(5, FAILS, 1), Deviation(9, TIME, 3))
    assert shortened(attempt, found, 30) == (by(Deviation(17, TIME, 3)), "wrong")


def test_two_of_which_both_are_needed_stay() -> None:
    def attempt(schedule: Schedule) -> str | None:
        return "wrong" if {one.kind for one in schedule.deviations} >= {CRASH, TIME} else None

    found = by(Deviation(2, CRASH, 0), Deviation(5, FAILS, 1), Deviation(9, TIME, 3))
    fewer, failure = shortened(attempt, found, 30)
    assert fewer == by(Deviation(2, CRASH, 0), Deviation(9, TIME, 3))
    assert failure == "wrong"


def test_of_very_many_those_two_stay_that_are_needed() -> None:
    def attempt(schedule: Schedule) -> str | None:
        tried.append(schedule)
        return "wrong" if {17, 61} <= {one.at for one in schedule.deviations} else None

    tried: list[Schedule] = []
    found = by(*(Deviation(number, CRASH, 0) for number in range(1, 80)))
    fewer, _ = shortened(attempt, found, 100)
    assert [one.at for one in fewer.deviations] == [17, 61]
    assert len(tried) < 400


def test_an_order_stays_as_far_as_it_is_needed() -> None:
    def attempt(schedule: Schedule) -> str | None:
        order = schedule.order
        return "wrong" if order and order.index(2) < order.index(1) else None

    assert shortened(attempt, Schedule((2, 1, 1, 0, 2)), 30) == (Schedule((0, 2, 1, 1, 2)), "wrong")


def test_without_an_order_it_is_simpler_still() -> None:
    found = Schedule((1, 0), (Deviation(2, CRASH, 0),))
    simpler, _ = shortened(lambda one: "wrong" if one.deviations else None, found, 30)
    assert simpler == by(Deviation(2, CRASH, 0))


def test_none_at_all_is_found_if_the_ordinary_run_fails_too() -> None:
    found = by(Deviation(2, CRASH, 0), Deviation(5, FAILS, 1))
    assert shortened(lambda _: "wrong", found, 30) == (Schedule(), "wrong")


def test_no_more_runs_are_spent_than_allowed() -> None:
    tried: list[Schedule] = []
    found = by(*(Deviation(number, CRASH, 0) for number in range(4)))
    assert shortened(tried.append, found, 1_000, tries=50) == (found, None)
    assert len(tried) == 50
