"""What an operator decides in a simulation."""

from datetime import timedelta

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
