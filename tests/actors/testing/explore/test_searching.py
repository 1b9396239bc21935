"""Hypothesis makes programs and runs up until one fails, and makes that one as short as it can."""

from datetime import timedelta
from typing import Any

from hypothesis import strategies as st

from procession import Event
from procession.testing.explore.counterexample import Failure
from procession.testing.explore.schedules import MOST, SHUFFLE
from procession.testing.explore.searching import search
from procession.testing.simulation.deviations import Deviation, Schedule
from procession.testing.simulation.run_log import Trace

CRASH, FAILS = 3, 7


class Weighed(Event):
    kilos: int


def failure(name: str) -> Failure:
    return Failure(name, "", "", Trace(), None)


def weights() -> st.SearchStrategy[Any]:
    return st.lists(st.builds(Weighed, st.integers(0, 9)))


def test_a_run_that_fails_is_found_in_its_shortest_form() -> None:
    def run(program: Any, schedule: Schedule) -> Failure | None:
        is_heavy = sum(one.kilos for one in program) > 4
        is_wrong = is_heavy and any(one.kind == CRASH for one in schedule.deviations)
        return failure("wrong") if is_wrong else None

    found = search(run, weights(), [CRASH, FAILS], turns=40, max_examples=500, seed=0)
    assert found is not None
    assert found.program == [Weighed(5)]
    assert found.schedule == Schedule((), (Deviation(1, CRASH, 0),))
    assert found.failure.name == "wrong"


def test_an_order_of_the_clients_is_chosen_for_each_program() -> None:
    def run(program: Any, schedule: Schedule) -> Failure | None:
        return failure("wrong") if schedule.order[:2] == (1, 1) else None

    programs = st.lists(st.lists(st.builds(Weighed, st.just(0)), max_size=3), max_size=3)
    found = search(run, programs, [SHUFFLE], turns=40, max_examples=500, seed=0)
    assert found is not None
    assert sum(map(len, found.program)) == 3
    assert len(found.program[1]) == 2
    assert found.schedule.order[:2] == (1, 1)


def test_nothing_is_found_where_no_run_fails() -> None:
    runs: list[Schedule] = []

    def run(program: Any, schedule: Schedule) -> None:
        runs.append(schedule)

    assert search(run, st.just([]), [CRASH], turns=40, max_examples=30, seed=0) is None
    assert len(runs) == 30
    assert max(len(one.deviations) for one in runs) <= MOST


def test_no_run_deviates_where_no_kind_is_allowed() -> None:
    def run(program: Any, schedule: Schedule) -> Failure | None:
        return failure("wrong") if schedule != Schedule() else None

    assert search(run, st.just([]), [], turns=40, max_examples=30, seed=0) is None


def test_of_two_flaws_the_first_that_was_found_is_shortened() -> None:
    names: list[str] = []

    def run(program: Any, schedule: Schedule) -> Failure | None:
        hours = program[0] // timedelta(hours=1)
        if hours < 100:
            return None
        names.append("odd" if hours % 2 else "even")
        return failure(names[-1])

    programs = st.integers(0, 1_000).map(lambda hours: [timedelta(hours=hours)])
    found = search(run, programs, [], turns=40, max_examples=100, seed=1)
    assert found is not None
    assert found.failure.name == names[0]
    assert found.program[0] // timedelta(hours=1) in (100, 101)
