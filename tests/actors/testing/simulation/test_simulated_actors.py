"""Simulated instances and aggregates: handlers that fail, and an event that is given again."""

import pytest

from procession.testing import Simulation
from tests.actors.testing.simulation.selling import Order, Place, Returned, Selling, shop, texts


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


def test_an_aggregate_that_is_made_to_fail_makes_no_event_until_the_operator_retries() -> None:
    for accident in ("fails_before", "fails_after"):
        with Simulation(shop) as simulation:
            simulation.provoke(accident)
            simulation.tell(Place("o1"))
            while not list(simulation.parked()):
                simulation.step()
            assert simulation.get(Order, "o1") is None
            assert f"the aggregate failed {accident[6:]} its handler ran" in texts(simulation)[-2]
            simulation.run()
            view = simulation.get(Order, "o1")
            assert view is not None
            assert view.version == 2


def test_an_event_that_an_instance_is_given_again_changes_nothing() -> None:
    with Simulation(shop, program=[Place("o1"), Returned("o1")]) as simulation:
        while not (view := simulation.get(Selling, "o1")) or not view.state["returns"]:
            simulation.step()
        simulation.provoke("repeat_event")
        simulation.settle()
        assert "Returned to Selling o1 is brought again" in texts(simulation)
        assert "Selling o1 passed over Returned, which it has seen" in texts(simulation)
        assert simulation.get(Selling, "o1") == view
