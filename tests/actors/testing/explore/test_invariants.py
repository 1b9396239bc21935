"""Invariants: how one is asked, and those that `explore` brings with it."""

import pytest

from procession.testing import Simulation, at_end
from procession.testing.explore.invariants import (
    broken,
    is_for_the_end,
    nothing_unexpected_is_parked,
    the_store_is_sound,
)
from tests.actors.testing.simulation.selling import Place, Placed, Returned, Selling, shop


def holds(simulation: Simulation) -> None:
    assert simulation.turns >= 0


def is_false(simulation: Simulation) -> bool:
    return simulation.turns < 0


def raises(simulation: Simulation) -> None:
    raise LookupError(f"after {simulation.turns} turns")


def test_the_first_invariant_that_does_not_hold_is_told_and_why() -> None:
    with Simulation(shop) as simulation:
        assert broken(simulation, [holds], "") is None
        found = broken(simulation, [holds, is_false, raises], " at last")
        assert found is not None
        assert (found.name, found.when, found.why) == ("is_false", " at last", "it returned False")
        found = broken(simulation, [raises], "")
        assert found is not None
        assert (found.name, found.why) == ("raises", "LookupError: after 0 turns")


def test_a_mark_says_that_an_invariant_is_for_the_end() -> None:
    assert not is_for_the_end(holds)
    assert is_for_the_end(at_end(lambda simulation: None))


def test_what_fails_by_itself_is_unexpected_and_what_was_made_to_fail_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(process: Selling) -> None:
        raise ValueError("not today")

    for is_made_to_fail in (True, False):
        with Simulation(shop) as simulation:
            simulation.ask(Place("o1"))
            if is_made_to_fail:
                while Placed("o1", 10) not in [one.event for one in simulation.events()]:
                    simulation.step()
                simulation.provoke("fails_before")
                while not list(simulation.parked()):
                    simulation.step()
            else:
                monkeypatch.setattr(Selling, "on_return", fail)
                simulation.publish(Returned("o1"), stream="shop::desk-1")
                simulation.settle()
            found = broken(simulation, [nothing_unexpected_is_parked, the_store_is_sound], "")
            assert (found is None) == is_made_to_fail
            if found is not None:
                assert "Selling o1 parked" in found.why
                assert "ValueError: not today" in found.why
