"""A world is removed when it ends, and a crash leaves nothing of the process open."""

import gc

import lmdb
import pytest

from procession.testing import FAULTS, Simulation
from tests.actors.testing.simulation.selling import (
    Place,
    shop,
)


def test_nothing_is_left_behind() -> None:
    with Simulation(shop, program=[Place("o1")], seed=1, faults=FAULTS) as simulation:
        simulation.run()
        folder = simulation._world.folder
        assert folder.is_dir()
    assert not folder.exists()
    forgotten = Simulation(shop)
    folder = forgotten._world.folder
    del forgotten, simulation
    gc.collect()
    assert not folder.exists()


def test_an_environment_is_closed_with_its_simulation() -> None:
    with Simulation(shop) as simulation:
        environment = simulation._world.store._file.environment.env
        simulation.crash()
        simulation.run()
    with pytest.raises(lmdb.Error):
        environment.begin()
