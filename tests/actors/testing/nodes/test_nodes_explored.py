"""Whatever happens to nodes and between them, each chain comes to the end that it has undisturbed.

`HYPOTHESIS_PROFILE=long` has many more runs, and makes those that fail as short as it can.
"""

from __future__ import annotations

import os
from typing import Any

import pytest

from procession.testing import FAULTS, CounterExample, explore
from procession.testing.explore import explore as exploring
from tests.actors.testing.nodes.crossing_orders import (
    came_to_its_end,
    each_was_recalled_twice,
    orders,
    program,
    recall,
)
from tests.actors.testing.nodes.sabotage import SABOTAGE

IS_LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
RUNS = 1_000 if IS_LONG else 30

WITHOUT_TIME = [one for one in FAULTS if one != "time"]
"""When time passes, what is held for a key may be let go of, as it says."""


def test_each_chain_comes_to_its_end_whatever_happens_to_nodes() -> None:
    coverage = explore(
        orders, program(), [came_to_its_end], nodes=3, faults=WITHOUT_TIME, max_examples=RUNS
    )
    assert coverage.runs == RUNS


def test_a_message_for_many_comes_to_each_once_whatever_happens_to_nodes() -> None:
    coverage = explore(orders, recall(), [each_was_recalled_twice], nodes=3, max_examples=RUNS)
    assert coverage.runs == RUNS


def as_it_is(attempt: Any, schedule: Any, turns: int) -> Any:
    del attempt, turns
    return schedule, None


@pytest.mark.parametrize("what", SABOTAGE)
def test_what_breaks_it_is_found(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    SABOTAGE[what](monkeypatch)
    if not IS_LONG:
        # That takes longer than finding it.
        monkeypatch.setattr(exploring, "shortened", as_it_is)
    with pytest.raises(CounterExample):
        explore(
            orders,
            program(),
            [came_to_its_end],
            nodes=3,
            faults=WITHOUT_TIME,
            max_examples=600,
            # Any search comes upon each of them within a minute; this one soon.
            seed=3,
        )
