"""What an exploration says of what it covered, and of what it never reached."""

from typing import Any

from procession import Aggregate, Command, Domain, Event, ProcessManager, handle, timeout
from procession.testing import Coverage, explore

desk = Domain("desk")


class Ask(Command):
    person: str


class Asked(Event):
    person: str


class Answered(Event):
    person: str


@desk.register
class Counter(Aggregate, identity="person"):
    @handle(Ask)
    def ask(self, command: Ask) -> Asked:
        return Asked(self.id)


@desk.register
class Queue(ProcessManager, correlate="person"):
    person: str = ""

    @handle(Asked, start=True)
    def on_asked(self, event: Asked) -> None: ...

    @handle(Answered)
    def on_answered(self, event: Answered) -> None:
        self.set_timeout("rest", event.position)  # type: ignore[attr-defined] # never reached

    @timeout("rest")
    def on_rest(self) -> None: ...


def covered(clients: int, **options: Any) -> Coverage:
    return explore(desk, [[Ask(f"p{number}")] for number in range(clients)], **options)


def test_all_orders_of_the_clients_are_met_and_all_goes_wrong_once_at_each_handler() -> None:
    coverage = covered(4, max_examples=120)
    assert (coverage.orders, coverage.orders_in_all) == (24, 24)
    assert str(coverage) == (
        "120 runs; 24 of 24 orders of the clients; 2 handlers of 4; every one of them with "
        "a failure before it ran, a failure after it ran, a crash before its commit, "
        "a crash after its commit\n"
        "never reached:\n    Queue.on_answered(Answered)\n    Queue.on_rest(rest)"
    )
    assert coverage.handlers == ["Queue.on_asked(Asked)", "Counter.ask(Ask)"]
    assert coverage.never == ["Queue.on_answered(Answered)", "Queue.on_rest(rest)"]


def test_what_was_not_reached_in_the_runs_there_were_is_told() -> None:
    coverage = covered(4, max_examples=5)
    assert coverage.runs == 5
    assert coverage.orders < 24
    assert "a failure before it ran: Counter.ask(Ask)" in coverage.never
    assert " of 8 failures and crashes at them" in str(coverage)


def test_what_may_not_happen_is_not_missed() -> None:
    coverage = covered(2, max_examples=50, faults=["order", "crash"])
    assert str(coverage).splitlines()[0] == (
        "50 runs; 2 of 2 orders of the clients; 2 handlers of 4; every one of them with "
        "a crash before its commit, a crash after its commit"
    )
    coverage = covered(2, faults=[])
    assert str(coverage).startswith(
        "1 runs; 1 of 2 orders of the clients; 2 handlers of 4\nnever reached:"
    )


def test_only_the_first_of_much_that_was_never_reached_is_told_one_by_one() -> None:
    many = Domain("many")

    class Many(ProcessManager, correlate="person"):
        person: str = ""

    for number in range(20):
        event = type(f"Event{number}", (Event,), {"__annotations__": {"person": str}})

        def on(self: Any, event: Any) -> None: ...

        setattr(Many, f"on_{number}", handle(event, start=True)(on))
    many.register(Many)
    text = str(explore(many, [], max_examples=1))
    assert "    Many.on_11(Event11)\n    and 8 more" in text
