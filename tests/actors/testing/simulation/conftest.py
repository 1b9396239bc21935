"""What every test of the simulation begins with."""

from typing import Any

import pytest

from tests.actors.testing.simulation.selling import Selling


@pytest.fixture(autouse=True)
def no_hooks() -> Any:
    Selling.on_return = Selling.post = None
    Selling.posted.clear()
    yield
    Selling.on_return = Selling.post = None
    Selling.posted.clear()
