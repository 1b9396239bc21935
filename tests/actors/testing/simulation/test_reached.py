"""What a run reached: its handlers, what went wrong at them, and what came after what."""

from procession.model.registry import Registry
from procession.testing import Simulation
from procession.testing.simulation.reached import Reached, handlers_in
from tests.actors.testing.simulation.selling import Place, shop

PROGRAM = [Place("o1")]


def reached_by(*accidents: str) -> Reached:
    with Simulation(shop, program=PROGRAM) as simulation:
        for accident in accidents:
            simulation.provoke(accident)
        simulation.run()
        return simulation.reached


def at_handlers(reached: Reached) -> list[tuple[str, str]]:
    return [(str(handler), kind) for handler, kind in reached.accidents]


def test_the_handlers_of_domains_are_named_by_class_method_and_what_they_handle() -> None:
    assert list(map(str, handlers_in(Registry([shop])))) == [
        "Selling.on_placed(Placed)",
        "Selling.on_charged(Charged)",
        "Selling.on_returned(Returned)",
        "Selling.on_patience(patience)",
        "Selling.on_refused(Charge)",
        "Selling.tell_world(Charged)",
        "Order.place(Place)",
        "Order.remind(Remind)",
        "Account.charge(Charge)",
    ]


def test_the_handlers_that_ran_are_noted_in_order() -> None:
    assert list(map(str, reached_by().handlers)) == [
        "Order.place(Place)",
        "Selling.on_placed(Placed)",
        "Account.charge(Charge)",
        "Selling.on_charged(Charged)",
        "Selling.tell_world(Charged)",
        "Order.remind(Remind)",
    ]


def test_a_handler_that_was_made_to_fail_is_noted() -> None:
    assert at_handlers(reached_by("fails_before")) == [("Order.place(Place)", "fails_before")]
    assert at_handlers(reached_by("fails_after")) == [("Order.place(Place)", "fails_after")]


def test_a_crash_is_one_of_all_handlers_whose_steps_were_in_the_commit() -> None:
    with Simulation(shop, program=PROGRAM) as simulation:
        while not simulation.reached.handlers:
            simulation.step()
        simulation.provoke("crash_after_commit")
        simulation.run()
        kinds = {kind for _, kind in simulation.reached.accidents}
        names = [str(handler) for handler, _ in simulation.reached.accidents]
    assert kinds == {"crash_after_commit"}
    assert names[:2] == ["Order.place(Place)", "Selling.on_placed(Placed)"]


def test_a_crash_between_turns_takes_what_was_not_committed() -> None:
    with Simulation(shop, program=PROGRAM) as simulation:
        while not simulation.reached.handlers:
            simulation.step()
        simulation.crash()
        assert at_handlers(simulation.reached) == [("Order.place(Place)", "crash_before_commit")]


def test_what_happened_to_an_instance_is_noted_behind_what_had_happened_to_it() -> None:
    assert ("Selling", "Placed", "Charged", "") in {
        (process, before, what, "") for process, before, what, _ in reached_by().meetings
    }
