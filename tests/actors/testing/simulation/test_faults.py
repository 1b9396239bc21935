"""Faults: the simulated parts ask which accident happens, and what was brought may come again."""

from functools import partial

from procession.testing.simulation.deviations import Deviations, deviation
from procession.testing.simulation.faults import RECENT, Faults
from procession.testing.simulation.reached import HandlerId
from procession.testing.simulation.run_log import RunLog
from procession.testing.simulation.simulated_clock import SimulatedClock


def faults() -> Faults:
    return Faults(Deviations(), RunLog(SimulatedClock()))


def test_an_accident_happens_once_to_the_first_part_that_asks_for_its_kind() -> None:
    made = faults()
    made.deviations.armed.append(deviation("commit_fails", 0))
    assert made.accident("crash_before_commit") == ""
    assert made.accident("crash_before_commit", "commit_fails") == "commit_fails"
    assert made.accident("commit_fails") == ""


def test_a_handler_that_was_made_to_fail_is_remembered() -> None:
    made, handler = faults(), HandlerId(int, "on_placed", "handle", str)
    assert (made.handler_accident(handler), made.has_failed) == ("", False)
    made.deviations.armed.append(deviation("fails_after", 0))
    assert (made.handler_accident(handler), made.has_failed) == ("fails_after", True)
    assert (made.handler_accident(handler), made.has_failed) == ("", True)
    assert list(made.reached.accidents) == [(handler, "fails_after")]


def test_of_what_was_brought_of_late_one_is_brought_again() -> None:
    made, again = faults(), list[int]()
    for number in range(RECENT + 2):
        made.brought("repeat_event", f"event {number}", partial(again.append, number))
    assert not made.bring_again()
    for which in (0, 1, RECENT - 1):
        made.deviations.armed.append(deviation("repeat_event", which))
        assert made.bring_again()
    assert again == [RECENT + 1, RECENT, 2]


def test_what_was_brought_to_a_process_that_is_gone_is_not_brought_again() -> None:
    made = faults()
    made.brought("repeat_command", "a command", lambda: None)
    made.forget()
    made.deviations.armed.append(deviation("repeat_command", 0))
    assert not made.bring_again()
