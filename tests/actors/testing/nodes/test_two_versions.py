"""Nodes are replaced by ones with other code, one after the other, and their clocks differ."""

from __future__ import annotations

from typing import Any

import pytest

from procession.testing import CounterExample, Simulation, explore
from procession.testing.explore import explore as exploring
from procession.testing.simulation import nodes
from tests.actors.testing.nodes.crossing_orders import came_to_its_end as orders_came_to_their_end
from tests.actors.testing.nodes.crossing_orders import orders
from tests.actors.testing.nodes.crossing_orders import program as program_of_orders
from tests.actors.testing.nodes.test_nodes_explored import RUNS
from tests.actors.testing.nodes.two_versions import came_to_its_end, first, program, second
from tests.actors.testing.simulation.selling import texts

FAULTS = ("order", "crash", "node")


def run_to(simulation: Simulation, text: str) -> None:
    while not any(text in line for line in texts(simulation)):
        assert simulation.step(), f"{text!r} never comes"


def test_new_nodes_own_nothing_until_the_last_old_one_is_gone() -> None:
    with Simulation(first, program=program(), nodes=3, upgrade=second) as simulation:
        run_to(simulation, "Order o1 handled Ordered")
        simulation.provoke("deploy")
        simulation.run()
        came_to_its_end(simulation)
        assert simulation.verify() == []
        said = texts(simulation)
        gone = said.index("node 3 is replaced by one with the next version")
        for name, other in (("node 1", "node 2"), ("node 2", "node 3")):
            came = said.index(f"{name} is replaced by one with the next version")
            assert said[came + 1] == f"{name} owns no partition until {other} is gone"
            assert not any(line.startswith(f"{name} takes") for line in said[came:gone])
            assert any(line.startswith(f"{name} takes") for line in said[gone:])


def test_orders_come_to_their_end_through_a_rolling_deploy_whatever_else_happens() -> None:
    coverage = explore(
        first,
        program(),
        [came_to_its_end],
        nodes=3,
        upgrade=second,
        faults=FAULTS,
        max_examples=RUNS,
    )
    assert coverage.runs == RUNS
    assert coverage.kinds["deploy"]


def test_a_version_that_others_read_has_its_share_at_once() -> None:
    with Simulation(first, program=program(), nodes=2, upgrade=first) as simulation:
        run_to(simulation, "Order o1 handled Ordered")
        simulation.provoke("deploy")
        simulation.run()
        came_to_its_end(simulation)
        assert not any("owns no partition" in line for line in texts(simulation))


def as_it_is(attempt: Any, schedule: Any, turns: int) -> Any:
    del attempt, turns
    return schedule, None


def test_nodes_that_own_what_others_cannot_read_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "waiting", lambda there: {})
    # That takes longer than finding it.
    monkeypatch.setattr(exploring, "shortened", as_it_is)
    with pytest.raises(CounterExample):
        explore(
            first,
            program(),
            [came_to_its_end],
            nodes=3,
            upgrade=second,
            faults=FAULTS,
            max_examples=600,
            # Any search comes upon it within a minute; this one soon.
            seed=3,
        )


def test_clocks_that_differ_between_nodes_lose_and_double_nothing() -> None:
    with Simulation(orders, program=program_of_orders(), nodes=3) as simulation:
        for which in range(3):
            simulation.provoke("skew", which)
        simulation.run()
        orders_came_to_their_end(simulation)
        assert simulation.verify() == []
        assert sum("the clock of node" in line for line in texts(simulation)) == 3
    coverage = explore(
        orders,
        program_of_orders(),
        [orders_came_to_their_end],
        nodes=3,
        faults=("order", "node", "clock"),
        max_examples=RUNS,
    )
    assert coverage.kinds["skew"]
