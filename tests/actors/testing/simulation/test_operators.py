"""What an operator decides in a simulation."""

from contextlib import suppress
from datetime import timedelta

import pytest

from procession import StoreError
from procession.testing import Simulation
from tests.actors.testing.simulation.selling import Place, Reminded, Returned, Selling, shop


def test_a_timeout_may_be_moved_and_cancelled() -> None:
    with Simulation(shop) as simulation:
        simulation.provoke("hold", 0)
        simulation.tell(Place("o1"))
        simulation.settle()
        (one,) = simulation.timeouts(Selling, "o1")
        assert simulation.move_timeout(Selling, "o1", one.name, timedelta(days=3), by="unit")
        assert simulation.cancel_timeout(Selling, "o1", one.name)
        assert not simulation.cancel_timeout(Selling, "o1", one.name)
        simulation.advance(timedelta(days=9))
        assert Reminded("o1") not in [one.event for one in simulation.events()]


def test_an_operator_retries_or_skips_what_is_parked() -> None:
    def fail(process: Selling) -> None:
        raise ValueError("not today")

    with Simulation(shop) as simulation:
        simulation.ask(Place("o1"))
        Selling.on_return = fail
        for _ in range(2):
            simulation.publish(Returned("o1"), stream="shop::desk-1")
        simulation.settle()
        (one,) = simulation.parked()
        assert one.error == "ValueError: not today"
        simulation.skip(one.id, by="unit")
        simulation.settle()
        (one,) = simulation.parked()
        Selling.on_return = None
        simulation.retry(one.id, by="unit")
        simulation.settle()
        assert not list(simulation.parked())
        view = simulation.get(Selling, "o1")
        assert view is not None
        assert view.state["returns"] == 1
        assert len(list(simulation.parked(decided=True))) == 2


@pytest.mark.parametrize("kind", ["commit_fails", "disk_error", "disk_full", "torn"])
@pytest.mark.parametrize("which", range(8))
def test_a_disk_that_refuses_a_decision_hangs_nothing(kind: str, which: int) -> None:
    def fail(process: Selling) -> None:
        raise ValueError("not today")

    with Simulation(shop) as simulation:
        simulation.ask(Place("o1"))
        Selling.on_return = fail
        simulation.publish(Returned("o1"), stream="shop::desk-1")
        simulation.settle()
        (one,) = simulation.parked()
        simulation.tell(Place("o2"))
        simulation.provoke(kind, which)
        with suppress(StoreError):
            simulation.skip(one.id)
        simulation.settle()
        assert len(list(simulation.parked())) <= 1
        assert simulation.verify() == []
