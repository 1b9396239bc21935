"""The test as a caller: things happen until its answer comes, and it asks again if none does."""

import pytest

from procession.testing import Simulation
from tests.actors.testing.simulation.selling import Order, Place, Placed, Returned, shop, texts


@pytest.mark.parametrize("accident", ["crash_before_commit", "crash_after_commit", "commit_fails"])
def test_a_caller_asks_again_when_no_answer_comes(accident: str) -> None:
    with Simulation(shop) as simulation:
        simulation.provoke(accident)
        assert simulation.ask(Place("o1")) == [Placed("o1", 10)]
        simulation.provoke(accident)
        simulation.tell(Place("o2"))
        simulation.provoke(accident)
        simulation.publish(Returned("o1"), stream="shop::desk-1")
        simulation.settle()
        assert [one.event for one in simulation.events("shop::desk")] == [Returned("o1")]
        assert len(list(simulation.events("shop::order"))) == 2


def test_an_answer_under_a_known_id_comes_at_once() -> None:
    with Simulation(shop) as simulation:
        assert simulation.ask(Place("o1"), command_id="one") == [Placed("o1", 10)]
        turns = simulation.turns
        assert simulation.ask(Place("o1"), command_id="one") == [Placed("o1", 10)]
        assert simulation.turns == turns


def test_each_call_without_an_id_has_one_of_its_own() -> None:
    with Simulation(shop) as simulation:
        assert simulation.tell(Place("o1")) == "outside.1"
        assert simulation.tell(Place("o2"), command_id="two") == "two"
        assert simulation.tell(Place("o3")) == "outside.2"
        simulation.settle()
        assert all(simulation.get(Order, one) is not None for one in ("o1", "o2", "o3"))
        assert [one for one in texts(simulation) if one.startswith("outside")] == [
            f"outside: tell Place(order_id='o{number}', price=10)" for number in (1, 2, 3)
        ]
