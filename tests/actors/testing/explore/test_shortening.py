"""A failing run has no more deviations than it needs."""

from __future__ import annotations

from procession.testing.explore.shortening import shortened
from procession.testing.simulation.deviations import Deviation

CRASH, TIME, FAILS = 3, 2, 7


def test_what_is_not_needed_when_another_is_moved_goes() -> None:
    def attempt(deviations: list[Deviation]) -> str | None:
        """Time at turn 17 alone does it, or time at 9 with a crash before."""
        kinds = {(one.kind, one.at) for one in deviations}
        return "wrong" if (TIME, 17) in kinds or {(TIME, 9), (CRASH, 2)} <= kinds else None

    found = [Deviation(2, CRASH, 0), Deviation(5, FAILS, 1), Deviation(9, TIME, 3)]
    assert shortened(attempt, found, 30) == ([Deviation(17, TIME, 3)], "wrong")


def test_two_of_which_both_are_needed_stay() -> None:
    def attempt(deviations: list[Deviation]) -> str | None:
        return "wrong" if {one.kind for one in deviations} >= {CRASH, TIME} else None

    found = [Deviation(2, CRASH, 0), Deviation(5, FAILS, 1), Deviation(9, TIME, 3)]
    fewer, failure = shortened(attempt, found, 30)
    assert fewer == [Deviation(2, CRASH, 0), Deviation(9, TIME, 3)]
    assert failure == "wrong"


def test_none_at_all_is_found_if_the_ordinary_run_fails_too() -> None:
    assert shortened(lambda _: "wrong", [Deviation(2, CRASH, 0), Deviation(5, FAILS, 1)], 30) == (
        [],
        "wrong",
    )


def test_one_alone_is_left_as_it_is() -> None:
    tried: list[list[Deviation]] = []
    assert shortened(tried.append, [Deviation(2, CRASH, 0)], 30) == ([Deviation(2, CRASH, 0)], None)
    assert tried == []


def test_no_more_runs_are_spent_than_allowed() -> None:
    tried: list[list[Deviation]] = []
    found = [Deviation(number, CRASH, 0) for number in range(4)]
    assert shortened(tried.append, found, 1_000, tries=50) == (found, None)
    assert len(tried) == 50
