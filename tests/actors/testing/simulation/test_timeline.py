"""The timeline: what is due next, and what the run log tells when time moves."""

from datetime import timedelta

from procession.testing import Simulation
from tests.actors.testing.simulation.selling import Place, shop, texts

REFUSED = 2_000
"""A price that no account is charged, so that the timeout is not cancelled."""


def test_the_next_moment_is_the_first_of_a_timer_and_a_client_that_waits() -> None:
    # Selling sets a timeout of half an hour.
    for wait, minutes in ((timedelta(minutes=5), 5), (timedelta(days=2), 30)):
        with Simulation(shop, program=[Place("o1", REFUSED), wait]) as simulation:
            assert simulation._timeline.next_due() is None
            while simulation.step():
                pass
            due = simulation._timeline.next_due()
            assert due == simulation.now + timedelta(minutes=minutes)


def test_the_run_log_tells_what_is_due_and_whose_it_is() -> None:
    with Simulation(shop) as simulation:
        simulation.ask(Place("o1", REFUSED))
        while not list(simulation.timeouts()):
            simulation.step()
        simulation._timeline.move_to(simulation.now + timedelta(minutes=30))
        assert texts(simulation)[-1] == "time moves to 00:30:00: timeout patience of Selling o1"
        assert not simulation.trace[-1].is_detail


def test_time_that_moves_for_nothing_is_a_detail() -> None:
    with Simulation(shop) as simulation:
        simulation._timeline.move_to(simulation.now + timedelta(days=3))
        assert texts(simulation) == ["time moves to 3d 00:00:00"]
        assert simulation.trace[-1].is_detail
