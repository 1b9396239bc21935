"""The timeline: what is due next, and what the run log tells when time moves."""

from datetime import timedelta

from procession.testing import Simulation
from tests.actors.testing.simulation.selling import Place, Selling, shop, texts

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


def test_a_clock_that_is_set_forward_has_what_is_due_happen_and_the_run_log_tells() -> None:
    with Simulation(shop, program=[Place("o1", REFUSED)]) as simulation:
        while not list(simulation.timeouts()):
            simulation.step()
        simulation.provoke("clock_forward")
        simulation.settle()
        text = "the clock is set forward by 01:00:00: timeout patience of Selling o1"
        assert text in texts(simulation)
        view = simulation.get(Selling, "o1")
        assert view is not None
        assert view.state["status"] == "late"
        assert simulation.elapsed == 0


def test_a_clock_that_is_set_back_loses_nothing_and_what_is_due_comes_by_the_clock() -> None:
    with Simulation(shop, program=[Place("o1", REFUSED)]) as simulation:
        while not list(simulation.timeouts()):
            simulation.step()
        start = simulation._world.clock.start
        simulation.provoke("clock_back")
        simulation.run()
        assert "the clock is set back by 01:00:00" in texts(simulation)
        (late,) = [one for one in simulation.history(Selling, "o1") if one.handler == "on_patience"]
        assert late.time == start + timedelta(minutes=30)
        assert simulation.elapsed // 60_000_000 == 25 * 60
        # What the clock takes to come back to where it was is no time for which anything waits.
        assert simulation.quiet_time == timedelta(days=1)


def test_a_client_waits_by_the_time_that_passes_and_not_by_what_the_clock_shows() -> None:
    program = [timedelta(minutes=10), Place("o1")]
    with Simulation(shop, program=program) as simulation:
        simulation.step()
        simulation.provoke("clock_forward")
        simulation.run()
        (placed, *_) = simulation.events("shop::order-o1")
        assert placed.time - simulation._world.clock.start == timedelta(minutes=70)
