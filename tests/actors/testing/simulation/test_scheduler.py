"""The scheduler: an actor has its turn when the simulation says so."""

import pytest

from procession.testing import Simulation
from tests.actors.testing.simulation.selling import Place, shop


def test_actors_wait_in_order_of_arrival_and_once_each() -> None:
    with Simulation(shop) as simulation:
        simulation.tell(Place("o1"))
        scheduler = simulation._world.scheduler
        while not scheduler.ready:
            simulation.step()
        before = list(scheduler.ready)
        for actor in before:
            scheduler.schedule(actor)
        assert scheduler.ready == before
        scheduler.give_turn(before[0])
        assert before[0] not in scheduler.ready


def test_a_turn_that_raises_is_over() -> None:
    with Simulation(shop) as simulation:
        simulation.tell(Place("o1"))
        scheduler = simulation._world.scheduler
        while not scheduler.ready:
            simulation.step()
        actor = scheduler.ready[0]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(actor, "take_turn", lambda: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                scheduler.give_turn(actor)
        assert not scheduler.in_turn


def test_an_operator_drives_the_engine_outside_of_a_turn_only() -> None:
    with Simulation(shop) as simulation:
        scheduler, driven = simulation._world.scheduler, list[str]()
        scheduler.nudge()
        scheduler.drive = lambda: driven.append("driven")
        scheduler.in_turn = True
        scheduler.nudge()
        assert driven == []
        scheduler.in_turn = False
        scheduler.nudge()
        assert driven == ["driven"]
        scheduler.drive = None
