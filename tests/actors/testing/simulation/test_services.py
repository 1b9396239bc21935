"""Services outside: they are asked by events, and answer late, half, or never."""

from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from procession import InvalidMessage
from procession.testing import Publish, Service, Simulation
from tests.actors.testing.simulation.selling import (
    Charged,
    Place,
    Placed,
    Remind,
    Returned,
    Selling,
    shop,
    texts,
)

HOUR = timedelta(hours=1)


def desk(placed: Placed) -> list[Any]:
    """Has everything returned in two parts."""
    back = Publish(Returned(placed.order_id), stream="shop::desk-1")
    return [back, HOUR, back]


DESK = Service("the desk", to=Placed, answer=desk)


def _same(answer: list[Any], asked: Placed) -> list[Any]:
    del asked
    return answer


def returned(simulation: Simulation) -> list[timedelta]:
    start = simulation._world.clock.start
    events = simulation.events("shop::desk")
    return [one.time - start for one in events if isinstance(one.event, Returned)]


def test_a_service_answers_each_event_that_asks_it_once_in_order_and_in_its_time() -> None:
    program = [Place("o1"), timedelta(minutes=5), Place("o2")]
    with Simulation(shop, program=program, services=[DESK]) as simulation:
        simulation.run()
        minutes = [one // timedelta(minutes=1) for one in returned(simulation)]
        assert minutes == [0, 5, 60, 65]
        view = simulation.get(Selling, "o1")
        assert view is not None
        assert view.state["returns"] == 2
        assert "the desk: publish Returned(order_id='o1')" in texts(simulation)


def test_a_service_may_answer_with_commands_and_settling_waits_for_that() -> None:
    remind = Service("the post", to=Charged, answer=lambda charged: [Remind(charged.order_id)])
    with Simulation(shop, services=[remind]) as simulation:
        simulation.ask(Place("o1"))
        simulation.settle()
        assert "the post: tell Remind(order_id='o1')" in texts(simulation)


def test_a_crash_has_no_answer_come_twice_and_none_lost() -> None:
    for kind in ("crash", "crash_before_commit", "crash_after_commit", "torn", "disk_full"):
        for turns in range(1, 30, 2):
            with Simulation(shop, program=[Place("o1")], services=[DESK]) as simulation:
                while simulation.turns < turns and simulation.step():
                    pass
                simulation.provoke(kind)
                simulation.run()
                assert len(returned(simulation)) == 2


def test_an_answer_may_break_off() -> None:
    with Simulation(shop, program=[Place("o1")], services=[DESK]) as simulation:
        simulation.provoke("answers_half")
        simulation.run()
        assert len(returned(simulation)) == 1
        assert "the desk breaks off its answer" in texts(simulation)


def test_an_answer_of_one_message_cannot_break_off() -> None:
    one = Service("the post", to=Charged, answer=lambda charged: [Remind(charged.order_id)])
    with Simulation(shop, program=[Place("o1")], services=[one]) as simulation:
        simulation.provoke("answers_half")
        simulation.run()
        assert not [text for text in texts(simulation) if "breaks off" in text]


def test_a_service_may_never_answer() -> None:
    with Simulation(shop, program=[Place("o1")], services=[DESK]) as simulation:
        simulation.provoke("answers_never")
        simulation.run()
        assert returned(simulation) == []
        assert "the desk never answers" in texts(simulation)


@pytest.mark.parametrize(("which", "minutes"), [(0, 30), (1, 24 * 60)])
def test_a_late_answer_comes_after_the_clock_has_moved_to_what_is_due(
    which: int, minutes: int
) -> None:
    # Selling waits for half an hour, and has something reminded after a day.
    with Simulation(shop, program=[Place("o1", 2_000)], services=[DESK]) as simulation:
        simulation.provoke("answers_late", which)
        simulation.run()
        assert returned(simulation)[0] == timedelta(minutes=minutes)
        assert len(returned(simulation)) == 2


def test_a_late_answer_comes_at_last_when_nothing_is_due() -> None:
    with Simulation(shop, program=[Place("o1")], services=[DESK]) as simulation:
        simulation.provoke("answers_late", 3)
        simulation.run()
        assert len(returned(simulation)) == 2


def test_an_answer_that_does_not_fit_is_refused_when_it_is_given() -> None:
    wrong: list[tuple[type[Exception], Any]] = [
        (TypeError, ["yes"]),
        (ValueError, [timedelta(-1)]),
        (InvalidMessage, [Returned(5)]),  # type: ignore[arg-type]
    ]
    for error, answer in wrong:
        service = Service("odd", to=Placed, answer=partial(_same, answer))
        with (
            Simulation(shop, program=[Place("o1")], services=[service]) as simulation,
            pytest.raises(error),
        ):
            simulation.run()
