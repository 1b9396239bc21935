"""Exploration: what it finds, how it says so, and that it can be had again."""

import sys
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import strategies as st

from procession import (
    Aggregate,
    Command,
    Domain,
    Event,
    InvalidMessage,
    ProcessManager,
    Retry,
    handle,
    timeout,
)
from procession.testing import CounterExample, Publish, Simulation, at_end, explore

shop = Domain("shop")


class Place(Command):
    order_id: str
    pieces: int = 1


class Pack(Command):
    order_id: str


class Placed(Event):
    order_id: str
    pieces: int


class Packed(Event):
    order_id: str


class Asked(Event):
    order_id: str


@shop.register
class Order(Aggregate, identity="order_id"):
    @handle(Place)
    def place(self, command: Place) -> Placed:
        return Placed(self.id, command.pieces)

    @handle(Pack)
    def pack(self, command: Pack) -> Packed:
        return Packed(self.id)


@shop.register
class Packing(ProcessManager, correlate="order_id"):
    order_id: str = ""
    left: int = 0

    @handle(Placed, start=True)
    def on_placed(self, event: Placed) -> None:
        self.left += event.pieces
        for _ in range(event.pieces):
            self.issue(Pack(self.order_id))

    @handle(Packed)
    def on_packed(self, event: Packed) -> None:
        self.left -= 1

    @handle(Asked)
    def on_asked(self, event: Asked) -> None:
        if self.left == 2:
            raise ValueError("two are left")


def all_is_packed(simulation: Simulation) -> None:
    for one in simulation.find(Packing):
        assert one.state["left"] == 0, f"{one.state['left']} left of {one.id}"


def test_what_holds_in_every_run_passes() -> None:
    explore(shop, [Place("o1", 2), Place("o2")], at_end=[all_is_packed], max_examples=100)


def test_an_invariant_is_checked_whenever_something_was_committed() -> None:
    with pytest.raises(CounterExample, match=r"all_is_packed does not hold: 1 left of o1"):
        explore(shop, [Place("o1")], [all_is_packed])


def test_one_that_is_marked_is_checked_when_everything_has_settled() -> None:
    @at_end
    def all_is_packed_in_the_end(simulation: Simulation) -> None:
        all_is_packed(simulation)

    explore(shop, [Place("o1")], [all_is_packed_in_the_end])


def test_an_invariant_may_say_no_by_returning_false() -> None:
    def nothing_is_placed(simulation: Simulation) -> bool:
        return not list(simulation.events("shop::order"))

    with pytest.raises(CounterExample, match="nothing_is_placed does not hold: it returned False"):
        explore(shop, [Place("o1")], [nothing_is_placed])


def test_why_is_told_in_one_line() -> None:
    def nothing_is_placed(simulation: Simulation) -> None:
        assert not list(simulation.events("shop::order"))

    with pytest.raises(CounterExample, match=r"does not hold: assert not .*\n\n ") as raised:
        explore(shop, [Place("o1")], [nothing_is_placed])
    assert isinstance(raised.value.__cause__, AssertionError)


def test_a_handler_that_fails_by_itself_is_found_by_the_runs_own_invariant() -> None:
    program = [[Place("o1", 2)], [Publish(Asked("o1"), stream="shop::desk-1")]]
    with pytest.raises(CounterExample, match="ValueError: two are left") as raised:
        explore(shop, program)
    assert "Packing o1 failed at Asked: parked (ValueError: two are left)" in str(raised.value)
    assert raised.value.invariant == "nothing_unexpected_is_parked"
    explore(shop, program, allow_parked=True)


def test_a_strategy_makes_programs_and_the_shortest_one_is_pinned_by_its_seed() -> None:
    def at_most_three_pieces(simulation: Simulation) -> None:
        events = [one.event for one in simulation.events()]
        pieces = sum(one.pieces for one in events if isinstance(one, Placed))
        assert pieces <= 3, f"{pieces} pieces"

    orders = st.builds(Place, st.sampled_from(["o1", "o2"]), st.integers(1, 3))
    events = st.builds(Asked, st.just("o9")) | st.builds(
        Publish, st.builds(Asked, st.just("o9")), st.just("shop::desk-1")
    )
    times = st.builds(timedelta, minutes=st.integers(0, 9))
    programs = st.lists(st.lists(orders | events | times, max_size=4), max_size=3)
    with pytest.raises(CounterExample, match="4 pieces") as raised:
        explore(shop, programs, [at_most_three_pieces])
    told = [line.text for line in raised.value.trace.essential if "outside" in line.text]
    assert 2 <= len(told) <= 3
    assert all("Place(" in line for line in told)
    with pytest.raises(CounterExample) as again:
        explore(shop, programs, [at_most_three_pieces], seed=raised.value.seed)
    assert str(again.value) == str(raised.value)
    # It holds the program itself, so that the strategy may change.
    with pytest.raises(CounterExample) as other:
        explore(shop, [], [at_most_three_pieces], seed=raised.value.seed)
    assert str(other.value) == str(raised.value)


def test_the_ordinary_run_needs_no_accident_to_be_told() -> None:
    with pytest.raises(CounterExample) as raised:
        explore(shop, [Place("o1"), timedelta(minutes=1)], [lambda _: False])
    assert "crash" not in str(raised.value)
    assert "<lambda> does not hold" in str(raised.value)


def test_a_seed_that_was_not_copied_whole_is_refused() -> None:
    with pytest.raises(ValueError, match="not copied whole"):
        explore(shop, [Place("o1")], seed="eNqbNG")
    with pytest.raises(ValueError, match="not copied whole"):
        explore(shop, [Place("o1")], seed="nonsense!")


def test_a_run_of_its_own_is_no_failure_once_the_flaw_is_mended() -> None:
    with pytest.raises(CounterExample) as raised:
        explore(shop, [Place("o1")], [all_is_packed])
    explore(shop, [Place("o1")], seed=raised.value.seed)


def test_a_seed_of_a_given_program_needs_that_program() -> None:
    with pytest.raises(CounterExample) as raised:
        explore(shop, [Place("o1")], [all_is_packed])
    with pytest.raises(TypeError, match="give that list"):
        explore(shop, st.just([Place("o1")]), [all_is_packed], seed=raised.value.seed)


def test_what_goes_on_for_ever_is_told_and_can_be_cut_off() -> None:
    clocks = Domain("clocks")

    class Wound(Event):
        clock: str

    @clocks.register
    class Ticking(ProcessManager, correlate="clock"):
        ticks: int = 0

        @handle(Wound, start=True)
        def on_wound(self, event: Wound) -> None:
            self.set_timeout("tick", timedelta(seconds=1))

        @timeout("tick")
        def on_tick(self) -> None:
            self.ticks += 1
            self.set_timeout("tick", timedelta(seconds=1))

    with pytest.raises(CounterExample, match="did not come to rest within 500 turns"):
        explore(clocks, [Wound("a")], max_steps=500)

    def it_ticked(simulation: Simulation) -> None:
        view = simulation.get(Ticking, "a")
        assert view is not None
        assert view.state["ticks"] == 9

    explore(
        clocks, [Wound("a")], at_end=[it_ticked], horizon=timedelta(seconds=9), faults=["order"]
    )


def test_faults_that_are_left_out_do_not_happen() -> None:
    def nothing_crashed(simulation: Simulation) -> None:
        assert "crash" not in str(simulation.trace)

    explore(shop, [Place("o1", 2)], [nothing_crashed], faults=["order", "time", "duplicate"])
    with pytest.raises(CounterExample, match="crash"):
        explore(shop, [Place("o1", 2)], [nothing_crashed], faults=["crash"])
    with pytest.raises(ValueError, match="there is no 'flood'"):
        explore(shop, [Place("o1", 2)], faults=["flood"])


def test_what_is_kept_outside_is_set_back_before_each_run() -> None:
    seen: list[str] = []

    def once(simulation: Simulation) -> None:
        seen.append("run")
        assert len(seen) == 1

    explore(shop, [Place("o1")], at_end=[once], before_each=seen.clear, max_examples=20)


def test_retries_of_the_class_are_part_of_what_is_explored() -> None:
    patient = Domain("patient")

    class Begun(Event):
        id: str

    @patient.register
    class Trying(ProcessManager, correlate="id", retry=Retry(attempts=9)):
        @handle(Begun, start=True, end=True)
        def on_begun(self, event: Begun) -> None: ...

    def it_ends(simulation: Simulation) -> None:
        view = simulation.get(Trying, "a")
        assert view is not None
        assert view.is_complete
        assert not list(simulation.parked())

    explore(patient, [Begun("a")], at_end=[it_ends])

    def never_retried(simulation: Simulation) -> None:
        assert "will try again" not in str(simulation.trace)

    with pytest.raises(CounterExample, match="failed at Begun, and will try again"):
        explore(patient, [Begun("a")], [never_retried])


def test_a_program_that_does_not_fit_is_refused_and_is_no_finding() -> None:
    with pytest.raises(TypeError, match="a program holds commands, events"):
        explore(shop, ["Place"])
    with pytest.raises(TypeError, match="a program is a list"):
        explore(shop, 5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a program is a list"):
        explore(shop, "Place")
    with pytest.raises(ValueError, match="is negative"):
        explore(shop, [timedelta(-1)])
    with pytest.raises(InvalidMessage, match="pieces"):
        explore(shop, [Place("o1", "two")])  # type: ignore[arg-type]


def test_without_hypothesis_the_rest_can_be_used_and_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in [one for one in sys.modules if one.partition(".")[0] == "hypothesis"]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("procession.testing.explore.searching", "procession.testing.explore.machine"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    with pytest.raises(ImportError, match=r"pip install procession\[testing\]"):
        explore(shop, st.just([Place("o1")]))
    assert explore(shop, [Place("o1")], max_examples=10).runs == 10
    testing: Any = sys.modules["procession.testing"]
    with pytest.raises(ImportError, match=r"pip install procession\[testing\]"):
        _ = testing.ProcessMachine
    with Simulation(shop, program=[Place("o1")]) as simulation:
        simulation.run()
        assert simulation.get(Packing, "o1") is not None
