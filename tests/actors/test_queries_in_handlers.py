"""What a handler may not look up, since it would find another thing when it runs again."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from procession import (
    Aggregate,
    Command,
    Context,
    Domain,
    Event,
    ProcessManager,
    QueryInHandler,
    Rejected,
    Runtime,
    after,
    handle,
    rejected,
    timeout,
)
from procession.testing import Simulation, VirtualClock

shop = Domain("shop")


class Opened(Event):
    account: str


class Looked(Event):
    account: str


class Failed(Event):
    account: str


class Check(Command):
    account: str
    refuse: bool = False


@shop.register
class Book(Aggregate, identity="account"):
    @handle(Check)
    def check(self, command: Check) -> None:
        if command.refuse:
            raise Rejected("no")
        look("aggregate")


@shop.register
class Account(ProcessManager, correlate="account"):
    account: str = ""

    @handle(Opened, start=True)
    def opened(self, event: Opened) -> None:
        self.issue(Check(self.account, refuse=True))
        self.set_timeout("due", timedelta(hours=1))

    @handle(Looked)
    def looked(self, event: Looked) -> None:
        look("handle")

    @handle(Failed)
    def failed(self, event: Failed) -> None:
        raise ValueError("as it was meant")

    @timeout("due")
    def due(self) -> None:
        look("timeout")

    @rejected(Check)
    def refused(self, command: Check, reason: str) -> None:
        look("rejected")

    def on_error(self, error: Exception, context: Context) -> None:
        look("on_error")

    @after(Opened)
    def told(self, event: Opened) -> None:
        look("after")


asked: list[Callable[[], Any]] = []
errors: dict[str, Exception] = {}
found: dict[str, Any] = {}


def look(where: str) -> None:
    for ask in asked:
        try:
            found[where] = ask()
        except QueryInHandler as error:
            errors[where] = error


@pytest.fixture(autouse=True)
def _forget() -> None:
    asked.clear()
    errors.clear()
    found.clear()


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def runtime(clock: VirtualClock) -> Iterator[Runtime]:
    with Runtime.ephemeral(shop, clock=clock) as opened:
        yield opened


def go_through(runtime: Runtime, clock: VirtualClock) -> None:
    for event in (Opened("a"), Looked("a"), Failed("a")):
        runtime.publish(event, stream="outside-1")
    runtime.settle(timeout=10)
    (parked,) = runtime.parked()
    runtime.skip(parked.id)
    clock.advance(timedelta(hours=2))
    runtime.settle(timeout=10)
    runtime.ask(Check("b"))


REFUSED = {"aggregate", "handle", "timeout", "rejected", "on_error"}


def test_every_handler_that_decides_is_refused_a_query_and_an_after_effect_is_not(
    runtime: Runtime, clock: VirtualClock
) -> None:
    asked.append(lambda: runtime.get(Account, "a"))
    go_through(runtime, clock)
    assert errors.keys() == REFUSED
    assert found.keys() == {"after"}
    assert found["after"].id == "a"


@pytest.mark.parametrize(
    ("call", "ask"),
    [
        ("get", lambda runtime: runtime.get(Account, "a")),
        ("find", lambda runtime: runtime.find(Account)),
        ("history", lambda runtime: runtime.history(Account, "a")),
        ("events", lambda runtime: runtime.events()),
        ("timeouts", lambda runtime: runtime.timeouts()),
        ("parked", lambda runtime: runtime.parked()),
        ("stuck", lambda runtime: runtime.stuck(Account, timedelta(0))),
        ("trace", lambda runtime: runtime.trace("outside-1@1")),
        ("why", lambda runtime: runtime.why("outside-1@1")),
    ],
)
def test_each_query_says_why_it_is_refused(
    runtime: Runtime, call: str, ask: Callable[[Runtime], Any]
) -> None:
    asked.append(lambda: ask(runtime))
    runtime.ask(Check("b"))
    assert str(errors["aggregate"]).startswith(
        f"{call}() was called from a handler. What it answers depends on what else has been done"
    )
    assert "learnt key" in str(errors["aggregate"])


def test_a_query_of_another_store_is_refused_as_well(runtime: Runtime, tmp_path: Path) -> None:
    with Runtime(tmp_path / "other", shop) as other:
        asked.append(lambda: other.get(Account, "a"))
        runtime.ask(Check("b"))
    assert errors.keys() == {"aggregate"}


def test_a_handler_that_runs_again_for_a_refresh_is_refused_too(
    runtime: Runtime, clock: VirtualClock
) -> None:
    for event in (Opened("a"), Looked("a")):
        runtime.publish(event, stream="outside-1")
    runtime.settle(timeout=10)
    asked.append(lambda: runtime.get(Account, "a"))
    assert runtime.refresh(Account, "a") == 1
    assert errors.keys() == {"handle", "rejected"}


def test_a_simulation_refuses_what_a_runtime_refuses() -> None:
    with Simulation(shop) as simulation:
        asked.append(lambda: simulation.get(Account, "a"))
        for event in (Opened("a"), Looked("a"), Failed("a")):
            simulation.publish(event, stream="outside-1")
        simulation.settle()
        assert errors.keys() == {"handle", "rejected", "on_error"}
        assert found.keys() == {"after"}
