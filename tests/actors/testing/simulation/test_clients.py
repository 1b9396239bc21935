"""Clients outside the simulated runtime bring a program, and try again under one id."""

from datetime import UTC, datetime, timedelta

import pytest

from procession import IdReused
from procession.testing import FAULTS, CounterExample, Publish, Simulation, Tell, explore
from procession.testing.simulation.deviations import Deviation, Schedule, number_of, seed_of
from tests.actors.testing.simulation.selling import Order, Place, Placed, Returned, shop, texts


def test_an_event_under_an_id_of_the_store_is_refused_and_not_brought_again() -> None:
    taken = "shop::order-o1@1"
    program = [Place("o1"), timedelta(minutes=1), Publish(Returned("o2"), "desk-1", taken)]
    with Simulation(shop, program=[*program, Place("o3")]) as simulation:
        simulation.run()
        assert simulation.get(Order, "o3") is not None
        assert taken in [one.event_id for one in simulation.events("shop::order-o1")]
        assert [one for one in texts(simulation) if "is refused" in one and taken in one]
        with pytest.raises(IdReused, match=taken):
            simulation.publish(Returned("o2"), stream="desk-1", event_id=taken)


def test_a_client_brings_an_item_again_under_its_id_when_a_crash_leaves_it_unanswered() -> None:
    with Simulation(shop, program=[Place("o1"), Place("o2")]) as simulation:
        while not texts(simulation):
            simulation.step()
        simulation.crash()
        simulation.run()
        assert texts(simulation).count("outside: tell Place(order_id='o1', price=10), again") == 1
        assert [one.event for one in simulation.events("shop::order")][:1] == [Placed("o1", 10)]
        assert len(list(simulation.events("shop::order-o1"))) == 2


def test_a_client_waits_for_its_time_while_the_others_go_on() -> None:
    program = [[timedelta(minutes=5), Place("o1")], [Place("o2")]]
    with Simulation(shop, program=program, start=datetime(2024, 1, 1, tzinfo=UTC)) as simulation:
        simulation.run()
        times = [next(simulation.events(f"shop::order-{one}")).time for one in ("o1", "o2")]
        assert times == [datetime(2024, 1, 1, 0, minute, tzinfo=UTC) for minute in (5, 0)]


def test_clients_bring_their_messages_in_the_order_of_a_schedule() -> None:
    program = [[Place("a"), Place("b")], [Place("c")], [Place("d"), Place("e")]]
    for order in ((2, 1, 0, 2, 0), (0, 2, 2, 1, 0), (1, 0, 0, 2, 2)):
        seed = seed_of(Schedule(order))
        with Simulation(shop, program=program, seed=seed) as simulation:
            simulation.run()
            assert simulation.came == order


def test_the_others_wait_for_a_client_whose_turn_comes_at_a_later_time() -> None:
    program = [[timedelta(minutes=5), Place("o1")], [Place("o2")], [timedelta(minutes=9)]]
    seed = seed_of(Schedule((0, 1)))
    with Simulation(shop, program=program, seed=seed) as simulation:
        simulation.run()
        times = [next(simulation.events(f"shop::order-{one}")).time for one in ("o1", "o2")]
        assert times == [simulation._world.clock.start + timedelta(minutes=5)] * 2


def test_an_order_of_another_program_goes_as_far_as_it_fits() -> None:
    program = [[Place("a")], [Place("b"), Place("c")]]
    seed = seed_of(Schedule((7, 1, 0, 0)))
    with Simulation(shop, program=program, seed=seed) as simulation:
        simulation.run()
        assert simulation.came == (1, 0, 1)


def test_an_order_stays_when_a_crash_takes_what_was_brought() -> None:
    program = [[Place("a")], [Place("b")], [Place("c")]]
    for kind in ("crash", "crash_before_commit", "commit_fails"):
        for turn in range(1, 12):
            schedule = Schedule((2, 0, 1), (Deviation(turn, number_of(kind), 0),))
            with Simulation(shop, program=program, seed=seed_of(schedule)) as simulation:
                simulation.run()
                assert simulation.came == (2, 0, 1)


def test_a_client_without_ids_has_done_again_what_it_sends_again() -> None:
    with Simulation(shop, program=[Returned("o1"), Place("o1")], stream="shop::desk-1") as run:
        while not list(run.events()):
            run.step()
        run.provoke("resend")
        run.run()
        assert [type(one.event) for one in run.events("shop::desk")] == [Returned, Returned]
        text = "outside: publish Returned(order_id='o1') comes again, under another id"
        assert text in texts(run)


def test_what_has_an_id_of_its_own_is_not_sent_again_under_another() -> None:
    program = [Publish(Returned("o1"), "shop::desk-1", "once"), Tell(Place("o1"), "place")]
    with Simulation(shop, program=program) as simulation:
        simulation.run()
        simulation.provoke("resend")
        simulation.run()
        assert not [one for one in texts(simulation) if "under another id" in one]


def test_a_search_meets_clients_without_ids_when_that_is_asked_for() -> None:
    def it_is_returned_once(simulation: Simulation) -> None:
        assert len(list(simulation.events("shop::desk"))) <= 1

    back = [Returned("o1")]
    explore(shop, back, [it_is_returned_once], stream="shop::desk-1", max_examples=100)
    with pytest.raises(CounterExample, match="comes again, under another id"):
        explore(
            shop, back, [it_is_returned_once], stream="shop::desk-1", faults=[*FAULTS, "resend"]
        )
