"""The simulated store: commits that fail, before or after they are durable."""

from procession.testing import Simulation
from tests.actors.testing.simulation.selling import Place, shop, texts


def test_a_crash_before_a_commit_keeps_nothing_and_one_behind_it_everything() -> None:
    for accident, kept in (("crash_before_commit", 0), ("crash_after_commit", 2)):
        with Simulation(shop, program=[Place("o1")]) as simulation:
            simulation.provoke(accident)
            while "crash" not in str(simulation.trace):
                simulation.step()
            assert len(list(simulation.events())) == kept
            simulation.run()
            assert len(list(simulation.events("shop::order"))) == 2


def test_a_commit_that_fails_is_made_again() -> None:
    with Simulation(shop, program=[Place("o1")]) as simulation:
        for _ in range(3):
            simulation.provoke("commit_fails")
        simulation.run()
        assert sum("fails: nothing of it is kept" in one for one in texts(simulation)) == 3
        assert len(list(simulation.events())) == 3
