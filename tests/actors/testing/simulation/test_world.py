"""What is durable outlives a crash, and nothing else of the process does."""

import gc
import weakref

import pytest

from procession.store import ClosedError
from procession.testing import FAULTS, Simulation
from tests.actors.testing.simulation.selling import Place, rows_of, shop


def test_a_crash_leaves_the_rows_and_closes_the_store() -> None:
    with Simulation(shop) as simulation:
        simulation.tell(Place("o1"))
        simulation.settle()
        before, rows = simulation._world.store, rows_of(simulation)
        assert rows["log"]
        simulation.crash()
        assert rows_of(simulation) == rows
        with pytest.raises(ClosedError):
            before.last_position()
        simulation.run()
        assert simulation._world.crashes == 1


def test_a_simulation_is_closed_with_its_block() -> None:
    with Simulation(shop, program=[Place("o1")], seed=1, faults=FAULTS) as simulation:
        simulation.run()
    with pytest.raises(ClosedError):
        list(simulation.events())


def test_a_simulation_that_is_forgotten_leaves_nothing() -> None:
    simulation = Simulation(shop, program=[Place("o1")])
    simulation.run()
    tables = weakref.ref(simulation._world._disk)
    del simulation
    gc.collect()
    assert tables() is None
