"""What goes wrong inside the process: commits and handlers that fail."""

from typing import Any

import pytest

from procession.testing import Simulation
from tests.actors.testing.simulation.selling import Place, Returned, Selling, shop, texts


def test_a_crash_before_a_commit_keeps_nothing_and_one_behind_it_everything() -> None:
    for accident, kept in (("crash_before_commit", 0), ("crash_after_commit", 1)):
        with Simulation(shop, program=[Place("o1")]) as simulation:
            simulation.provoke(accident)
            while "crash" not in str(simulation.trace):
                simulation.step()
            assert len(simulation._world.store.read_queue(0, 9) or stored(simulation)) == kept
            simulation.run()
            assert len(list(simulation.events("shop::order"))) == 2


def stored(simulation: Simulation) -> list[Any]:
    return simulation._world.store.read_queue(1 << 62, 9)


@pytest.mark.parametrize("accident", ["fails_before", "fails_after"])
def test_a_handler_that_is_made_to_fail_is_parked_and_the_operator_has_it_tried_again(
    accident: str,
) -> None:
    for chance in range(5):
        with Simulation(shop, program=[Place("o1"), Returned("o1")]) as simulation:
            for _ in range(chance * 3):
                simulation.step()
            simulation.provoke(accident)
            simulation.run()
            assert "InjectedFailure" in str(simulation.trace) or "after-effect" in str(
                simulation.trace
            )
            assert not list(simulation.parked())
            view = simulation.get(Selling, "o1")
            assert view is not None
            assert (view.state["status"], view.state["returns"]) == ("charged", 1)


def test_a_commit_that_fails_is_made_again() -> None:
    with Simulation(shop, program=[Place("o1")]) as simulation:
        for _ in range(3):
            simulation.provoke("commit_fails")
        simulation.run()
        assert texts(simulation).count("a commit of 1 step fails: nothing of it is kept") == 3
        assert len(list(simulation.events())) == 3
