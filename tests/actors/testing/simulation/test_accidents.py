"""What goes wrong between two turns: crashes, time that moves on, things that are brought again."""

import pytest

from procession.testing import Simulation
from tests.actors.testing.simulation.selling import Place, Returned, Selling, shop, texts


def test_a_crash_between_turns_takes_what_was_not_committed() -> None:
    with Simulation(shop, program=[Place("o1")]) as simulation:
        while "Order o1 carried out Place → Placed" not in texts(simulation):
            simulation.step()
        simulation.crash()
        assert not list(simulation.events())
        while simulation.step():
            pass
        assert texts(simulation).count("Order o1 carried out Place → Placed") == 2
        assert len(list(simulation.events("shop::order"))) == 1


def test_an_effect_that_fails_is_run_again_and_one_that_ran_before_a_crash_too() -> None:
    for accident, times in (("fails_before", 1), ("fails_after", 2)):
        Selling.posted.clear()
        with Simulation(shop, program=[Place("o1")]) as simulation:
            while "Selling o1 handled Charged → cancelled timeout patience" not in texts(
                simulation
            ):
                simulation.step()
            simulation.provoke(accident)
            simulation.run()
            assert Selling.posted == ["o1"] * times
    Selling.posted.clear()
    with Simulation(shop, program=[Place("o1")]) as simulation:
        while not Selling.posted:
            simulation.step()
        simulation.crash()
        simulation.run()
        assert Selling.posted == ["o1", "o1"]


def test_an_effect_may_tell_and_dies_with_a_crash_on_the_way() -> None:
    with Simulation(shop, program=[Place("o1")]) as simulation:
        ended: list[str] = []

        def post(process: Selling) -> None:
            simulation.tell(Place("o9"), command_id="nine")
            ended.append(process.id)

        Selling.post = post
        while "Selling o1 handled Charged → cancelled timeout patience" not in texts(simulation):
            simulation.step()
        simulation.run()
        assert simulation.get(Selling, "o9") is not None
        assert ended[0] == "o1"


@pytest.mark.parametrize("kind", ["repeat_event", "repeat_command", "repeat_outside"])
def test_what_is_brought_again_takes_no_effect(kind: str) -> None:
    for which in range(4):
        with Simulation(shop, program=[Place("o1"), Returned("o1")]) as simulation:
            while len(list(simulation.events())) < 2 + which % 2:
                simulation.step()
            simulation.provoke(kind, which)
            simulation.run()
            assert "again" in str(simulation.trace)
            kinds = [type(one.event).__name__ for one in simulation.events()]
            assert sorted(kinds) == ["Charged", "Placed", "Reminded", "Returned"]
            view = simulation.get(Selling, "o1")
            assert view is not None
            assert view.version == 3


def test_time_may_move_on_while_something_is_in_flight_and_what_came_before_goes_first() -> None:
    with Simulation(shop, program=[Place("o1")]) as simulation:
        while not any("Selling o1 handled Placed" in one for one in texts(simulation)):
            simulation.step()
        simulation.provoke("cut")
        while "Account o1 carried out Charge → Charged" not in texts(simulation):
            simulation.step()
        simulation.provoke("time")
        simulation.step()
        assert "timeout patience of Selling o1" in texts(simulation)[-1]
        simulation.run()
        history = [one.handler for one in simulation.history(Selling, "o1")]
        assert history == ["on_placed", "on_charged"]


def test_a_commit_may_close_before_a_chain_is_at_its_end() -> None:
    with Simulation(shop, program=[Place("o1")]) as simulation:
        while not any("Selling o1 handled Placed" in one for one in texts(simulation)):
            simulation.step()
        assert not list(simulation.events())
        simulation.provoke("cut")
        simulation.step()
        assert [type(one.event).__name__ for one in simulation.events()] == ["Placed"]
        # What was issued and is not carried out has its row in the queue.
        assert [one.type for one in simulation._world.store.read_queue(0, 9)] == ["shop.Charge.v1"]
        simulation.run()
        assert simulation.verify() == []


@pytest.mark.parametrize("which", range(4))
def test_another_thread_may_overtake_between_a_handler_and_its_hand_over(which: int) -> None:
    with Simulation(shop, program=[[Place("o1")], [Place("o2")]]) as simulation:
        simulation.provoke("overtake", which)
        simulation.run()
        assert "another thread takes over meanwhile" in texts(simulation)
        for one in ("o1", "o2"):
            history = [step.handler for step in simulation.history(Selling, one)]
            assert history == ["on_placed", "on_charged"]
        assert simulation.verify() == []


def test_actors_that_leave_memory_come_back_as_they_were() -> None:
    with Simulation(shop, program=[Place("o1"), Returned("o1"), Returned("o1")]) as simulation:
        while simulation.step() and simulation.step():
            simulation.provoke("sleep")
            simulation.step()
        simulation.run()
        view = simulation.get(Selling, "o1")
        assert view is not None
        assert (view.state["status"], view.state["returns"]) == ("charged", 2)
        assert simulation.stats()["passivated"] > 3
