"""Whatever happens to nodes and between them, each chain comes to the end that it has undisturbed.

`HYPOTHESIS_PROFILE=long` explores for a minute, and looks for each sabotage for a minute at most.
"""

import os
from datetime import timedelta

import pytest

from procession.testing import FAULTS, CounterExample, explore
from tests.actors.testing.nodes.crossing_orders import came_to_its_end, orders, program
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


@pytest.mark.parametrize("what", SABOTAGE)
def test_what_breaks_it_is_found(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    SABOTAGE[what](monkeypatch)
    with pytest.raises(CounterExample):
        explore(
            orders,
            program(),
            [came_to_its_end],
            nodes=3,
            faults=WITHOUT_TIME,
            budget=timedelta(seconds=60),
        )
