"""Headers go along with a chain: through commands, events, timeouts, refusals and crashes."""

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
    InvalidMessage,
    ProcessManager,
    Rejected,
    Retry,
    Runtime,
    after,
    handle,
    rejected,
    timeout,
)
from procession.testing import Publish, Scenario, Simulation, Tell, VirtualClock

house = Domain("house")
BY_ANN = {"actor": "ann", "trace": 7}
HOUR = timedelta(hours=1)


class Started(Event):
    name: str


class Done(Event):
    name: str


class Start(Command):
    name: str


class Work(Command):
    name: str


class Forbid(Command):
    name: str


@house.register
class Job(Aggregate, identity="name"):
    @handle(Start)
    def start(self, command: Start) -> Started:
        return Started(command.name)

    @handle(Work)
    def work(self, command: Work) -> Done:
        return Done(command.name)

    @handle(Forbid)
    def forbid(self, command: Forbid) -> None:
        raise Rejected("no")


told: list[dict[str, Any]] = []


@house.register
class Following(ProcessManager, correlate="name"):
    name: str = ""
    seen: list[list[str]] = []
    failures: int = 0

    def note(self, what: str) -> None:
        self.seen.append([what, str(self.context.actor), str(self.context.headers.get("trace"))])

    def on_error(self, error: Exception, context: Context) -> Retry:
        return Retry(3, timedelta(minutes=1))

    @handle(Started, start=True)
    def on_started(self, event: Started) -> None:
        self.note("started")
        self.issue(Work(event.name), after=HOUR)
        self.issue(Forbid(event.name))
        self.set_timeout("late", 2 * HOUR)

    @handle(Done)
    def on_done(self, event: Done) -> None:
        self.note("done")

    @rejected(Forbid)
    def on_forbidden(self, command: Forbid, reason: str) -> None:
        self.note("refused")

    @timeout("late")
    def on_late(self) -> None:
        if self.context.attempt == 1 and not self.context.refreshing:
            raise ConnectionError("try again")
        self.note("late")
        self.issue(Work(self.name))

    @after(Done)
    def tell_others(self, event: Done) -> None:
        told.append(self.context.headers)


house.register(Started, Done)
ALL = ["started", "refused", "done", "late", "done"]


def begun_by_ask(runtime: Any) -> None:
    runtime.ask(Start("a"), headers=BY_ANN)


def begun_by_tell(runtime: Any) -> None:
    runtime.tell(Start("a"), headers=BY_ANN)


def begun_by_tell_many(runtime: Any) -> None:
    runtime.tell_many([Start("a")], headers=lambda _: BY_ANN)


def begun_by_publish(runtime: Any) -> None:
    runtime.publish(Started("a"), stream="feed-a", headers=BY_ANN)


BEGINNINGS = [begun_by_ask, begun_by_tell, begun_by_tell_many, begun_by_publish]


@pytest.fixture(autouse=True)
def none_told() -> Iterator[None]:
    told.clear()
    yield
    told.clear()


def check(runtime: Any) -> None:
    view = runtime.get(Following, "a")
    assert view is not None
    assert view.state["seen"] == [[what, "ann", "7"] for what in ALL]
    assert {tuple(one.headers.items()) for one in runtime.events()} == {tuple(BY_ANN.items())}


@pytest.mark.parametrize("begin", BEGINNINGS)
def test_headers_go_along_the_whole_chain(tmp_path: Path, begin: Callable[[Any], None]) -> None:
    clock = VirtualClock()
    with Runtime(tmp_path, house, clock=clock, durability="none") as runtime:
        begin(runtime)
        clock.advance(3 * HOUR)
        runtime.settle()
        check(runtime)
        assert told == [BY_ANN, BY_ANN]
        # State that was made of them is rebuilt as it was.
        assert runtime.refresh(Following) == 1
        check(runtime)
        assert runtime.verify() == []


def test_headers_outlive_every_stop_of_the_process(tmp_path: Path) -> None:
    clock = VirtualClock()
    with Runtime(tmp_path, house, clock=clock, durability="none") as runtime:
        begun_by_tell(runtime)
    for _ in range(12):
        with Runtime(tmp_path, house, clock=clock, durability="none") as runtime:
            clock.advance(timedelta(minutes=15))
            runtime.settle()
    with Runtime(tmp_path, house, clock=clock, durability="none") as runtime:
        check(runtime)


@pytest.mark.parametrize("seed", range(20))
def test_headers_outlive_crashes_failing_commits_and_retries(seed: int) -> None:
    program = [Tell(Start("a"), headers=BY_ANN)]
    with Simulation(
        house, program=program, seed=seed, faults=("order", "crash", "commit", "duplicate", "sleep")
    ) as run:
        run.run()
        check(run)


def test_a_timeout_that_an_operator_moves_keeps_its_headers(tmp_path: Path) -> None:
    clock = VirtualClock()
    with Runtime(tmp_path, house, clock=clock, durability="none") as runtime:
        begun_by_ask(runtime)
        runtime.settle()
        assert runtime.move_timeout(Following, "a", "late", 2 * HOUR)
        (delayed,) = (one for one in runtime.timeouts(Following) if one.kind == "command")
        assert runtime.move_timeout(Following, "a", delayed.name, HOUR)
        clock.advance(3 * HOUR)
        check(runtime)


def test_a_command_that_was_parked_keeps_its_headers(tmp_path: Path) -> None:
    lonely = Domain("house")
    lonely.register(Job, Started, Done)
    with Runtime(tmp_path, lonely, durability="none") as runtime:
        runtime.tell(Forbid("a"), headers=BY_ANN)
        runtime.tell(Start("a"), headers=BY_ANN)
        runtime.settle()
        (stored,) = runtime.events()
        assert stored.headers == BY_ANN


def test_a_chain_without_headers_has_none(tmp_path: Path) -> None:
    with Runtime(tmp_path, house, durability="none") as runtime:
        runtime.ask(Start("a"))
        runtime.ask(Start("b"), headers={})
        runtime.settle()
        assert all(one.headers == {} for one in runtime.events())
        view = runtime.get(Following, "a")
        assert view is not None
        assert view.state["seen"][0] == ["started", "None", "None"]


@pytest.mark.parametrize("wrong", [{"a": object()}, {1: "a"}, "ann", 5])
def test_headers_that_cannot_be_stored_are_refused_before_anything_is(
    tmp_path: Path, wrong: Any
) -> None:
    with Runtime(tmp_path, house, durability="none") as runtime:
        for call in (
            lambda: runtime.ask(Start("a"), headers=wrong),
            lambda: runtime.tell(Start("a"), headers=wrong),
            lambda: runtime.tell_many([Start("a")], headers=wrong),
            lambda: runtime.publish(Started("a"), stream="s-1", headers=wrong),
        ):
            with pytest.raises(InvalidMessage, match="headers"):
                call()
        assert not list(runtime.events())


def test_a_scenario_takes_headers_and_hands_them_on() -> None:
    scenario = Scenario(house, Following).given(Started("a"), headers=BY_ANN)
    outcome = scenario.when(rejected(Forbid("a"), reason="no")).when(
        Done("a"), headers={"trace": 8}
    )
    outcome.state(seen=[["started", "ann", "7"], ["refused", "ann", "7"], ["done", "None", "8"]])
    with pytest.raises(ValueError, match="has the headers of what set it"):
        scenario.when(timeout("late"), headers=BY_ANN)


def test_a_simulation_takes_headers_with_each_of_its_calls() -> None:
    for begin in (begun_by_ask, begun_by_tell, begun_by_publish):
        with Simulation(house) as run:
            begin(run)
            run.advance(3 * HOUR)
            check(run)
    program = [Publish(Started("a"), stream="feed-a", headers=BY_ANN)]
    with Simulation(house, program=program) as run:
        run.run()
        check(run)
