"""Moves: one thing happens at a time, the ordinary one or what a deviation says."""

from datetime import timedelta

from procession.testing import Simulation
from procession.testing.simulation.deviations import Deviation, Schedule, number_of, seed_of
from tests.actors.testing.simulation.selling import Place, Returned, Selling, shop, texts

TWO = [[Place("o1")], [Place("o2")]]


def handled(simulation: Simulation) -> list[str]:
    return [one for one in texts(simulation) if "handled Placed" in one]


def test_the_ordinary_run_lets_all_settle_before_the_next_thing_comes() -> None:
    with Simulation(shop, program=[Place("o1"), Place("o2")]) as simulation:
        simulation.run()
        told = [line.text for line in simulation.trace.essential]
        second = told.index("outside: tell Place(order_id='o2', price=10)")
        assert "Selling o1 handled Charged → cancelled timeout patience" in told[:second]


def test_an_arrival_comes_before_what_is_in_flight_has_settled() -> None:
    with Simulation(shop, program=TWO) as simulation:
        while not texts(simulation):
            simulation.step()
        simulation.provoke("arrival")
        simulation.step()
        assert [one for one in texts(simulation) if one.startswith("outside")] == [
            "outside: tell Place(order_id='o1', price=10)",
            "outside: tell Place(order_id='o2', price=10)",
        ]


def test_an_actor_that_is_held_has_its_turn_when_nothing_else_is_left() -> None:
    with Simulation(shop) as simulation:
        for one in ("o1", "o2"):
            simulation.tell(Place(one))
        while len(simulation._world.scheduler.ready) < 2 or simulation.stats()["awake"] < 2:
            simulation.step()
        simulation.provoke("hold", 0)
        simulation.settle()
        assert len(handled(simulation)) == 2
        assert simulation._world.scheduler.held == []


def test_a_move_that_finds_nothing_to_do_is_no_turn() -> None:
    with Simulation(shop) as simulation:
        simulation.settle()
        turns = simulation.turns
        assert not simulation.step()
        assert simulation.turns == turns


def test_time_passes_only_when_nothing_else_is_left_and_up_to_the_horizon() -> None:
    with Simulation(shop, program=[Place("o1"), timedelta(hours=1), Returned("o1")]) as simulation:
        simulation.run(horizon=timedelta(minutes=59))
        view = simulation.get(Selling, "o1")
        assert view is not None
        assert (view.state["status"], view.state["returns"]) == ("charged", 0)
        simulation.run()
        assert simulation.is_through
        assert simulation.now == simulation._world.clock.start + timedelta(days=1)


def test_priorities_by_chance_are_spelled_out_by_turns_that_do_the_same() -> None:
    program = [[Place("o1"), Returned("o1")], [Place("o2", 2_000)], [Place("o3")]]
    shuffle = [Deviation(1, number_of("shuffle"), 5), Deviation(9, number_of("demote"), 0)]
    with Simulation(shop, program=program, seed=seed_of(Schedule((), tuple(shuffle)))) as one:
        one.run()
        turns = tuple(one.chosen)
        assert len(turns) > 5
    with Simulation(shop, program=program, seed=seed_of(Schedule((), turns))) as other:
        other.run()
        assert list(other.trace) == list(one.trace)


def test_what_came_from_outside_is_taken_in_before_a_timer_that_is_due_behind_it() -> None:
    with Simulation(shop, program=[Place("o1", 2_000), Returned("o1")]) as simulation:
        while "outside: publish" not in str(simulation.trace):
            simulation.step()
        simulation.provoke("time")
        simulation.step()
        simulation.provoke("hold")
        simulation.run()
        told = [line.text for line in simulation.trace.essential]
        assert told.index("Selling o1 handled Returned") < told.index(
            "Selling o1 handled timeout patience"
        )
