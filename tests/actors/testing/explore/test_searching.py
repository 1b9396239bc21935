"""Hypothesis makes runs up until one fails, and makes that one as short as it can."""

from typing import Any

from hypothesis import strategies as st

from procession.testing.explore.counterexample import Failure
from procession.testing.explore.searching import MOST, search
from procession.testing.simulation.deviations import Deviation
from procession.testing.simulation.run_log import Trace

CRASH, FAILS = 3, 7


def failure(name: str) -> Failure:
    return Failure(name, "", "", Trace(), None)


def test_a_run_that_fails_is_found_in_its_shortest_form() -> None:
    def run(program: Any, deviations: list[Deviation]) -> Failure | None:
        is_wrong = sum(program) > 4 and any(one.kind == CRASH for one in deviations)
        return failure("wrong") if is_wrong else None

    programs = st.lists(st.integers(0, 9))
    found = search(run, programs, [CRASH, FAILS], turns=40, max_examples=500, seed=0)
    assert found is not None
    assert found.program == [5]
    assert found.deviations == [Deviation(1, CRASH, 0)]
    assert found.failure.name == "wrong"


def test_nothing_is_found_where_no_run_fails() -> None:
    runs: list[list[Deviation]] = []

    def run(program: Any, deviations: list[Deviation]) -> None:
        runs.append(deviations)

    assert search(run, st.just([]), [CRASH], turns=40, max_examples=30, seed=0) is None
    assert len(runs) == 30
    assert max(map(len, runs)) <= MOST


def test_no_run_deviates_where_no_kind_is_allowed() -> None:
    def run(program: Any, deviations: list[Deviation]) -> Failure | None:
        return failure("wrong") if deviations else None

    assert search(run, st.just([]), [], turns=40, max_examples=30, seed=0) is None


def test_of_two_flaws_the_first_that_was_found_is_shortened() -> None:
    names: list[str] = []

    def run(program: int, deviations: list[Deviation]) -> Failure | None:
        if program < 100:
            return None
        names.append("odd" if program % 2 else "even")
        return failure(names[-1])

    found = search(run, st.integers(0, 1_000), [], turns=40, max_examples=100, seed=1)
    assert found is not None
    assert found.failure.name == names[0]
    assert found.program in (100, 101)
