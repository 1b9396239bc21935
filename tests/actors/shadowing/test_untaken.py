"""Events that made no transition: what other code would take up is found, and nothing else."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from procession import (
    SKIP,
    Aggregate,
    Command,
    Domain,
    Event,
    ProcessManager,
    Runtime,
    ShadowReport,
    handle,
    shadow,
    timeout,
)
from procession.testing import VirtualClock

NAME = "desk.Case"


class Opened(Event):
    case: str


class Noted(Event):
    case: str
    other: str


class Closed(Event):
    case: str


class Alert(Command):
    case: str


class Alerted(Event):
    case: str


class Board(Aggregate, identity="case"):
    @handle(Alert)
    def alert(self, command: Alert) -> Alerted:
        return Alerted(self.id)


class Case(ProcessManager, correlate="case", name=NAME):
    case: str = ""
    notes: int = 0

    @handle(Opened, start=True)
    def on_opened(self, event: Opened) -> None:
        self.set_timeout("long", timedelta(hours=1))

    @handle(Closed, end=True)
    def on_closed(self, event: Closed) -> None:
        self.notes = 0

    @timeout("long")
    def on_long(self) -> None:
        self.mark_as_complete()


def domain_with(*classes: type) -> Domain:
    domain = Domain("desk")
    domain.register(Opened, Noted, Closed, Board, *classes)
    return domain


def fill(runtime: Runtime, clock: VirtualClock) -> None:
    """One case is noted while it is open, before it is and when it was closed; one is never open.

    And one is noted and then takes too long, and one is noted when it took too long.
    """

    def publish(event: Opened | Noted | Closed) -> None:
        runtime.publish(event, stream=f"desk::mail-{event.case}")
        runtime.settle(timeout=10)
        clock.advance(timedelta(seconds=1))

    for one in (Noted("a", "z"), Opened("a"), Noted("a", "z"), Closed("a"), Noted("a", "z")):
        publish(one)
    publish(Noted("b", "z"))
    for one in (Opened("c"), Noted("c", "z"), Opened("d")):
        publish(one)
    clock.advance(timedelta(hours=2))
    runtime.settle(timeout=10)
    publish(Noted("d", "z"))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, clock = tmp_path_factory.mktemp("desk"), VirtualClock()
    domain = domain_with(Case)
    with Runtime(folder, domain, clock=clock, durability="none", control=False) as runtime:
        fill(runtime, clock)
    return folder


def told(report: ShadowReport) -> set[tuple[str, str, str, int]]:
    assert (report.not_deterministic, report.outside, report.damaged) == ((), (), {})
    return {(one.kind, one.handler, one.how, one.steps) for one in report.differences}


class Noting(Case, name=NAME):
    @handle(Noted)
    def on_noted(self, event: Noted) -> None:
        self.notes += 1
        self.issue(Alert(event.case))


class Starting(Case, name=NAME):
    @handle(Noted, start=True)
    def on_noted(self, event: Noted) -> None:
        self.notes += 1


class Failing(Case, name=NAME):
    @handle(Noted)
    def on_noted(self, event: Noted) -> None:
        raise ValueError("no notes")


class Skipping(Failing, name=NAME):
    def on_error(self, error: Exception, context: object) -> Any:
        return SKIP


class Elsewhere(Case, name=NAME):
    @handle(Opened, start=True, correlate=lambda event: None)
    def on_opened(self, event: Opened) -> None:
        self.set_timeout("long", timedelta(hours=1))

    @handle(Noted, correlate="other")
    def on_noted(self, event: Noted) -> None:
        self.notes += 1


class Another(ProcessManager, correlate="case", name="desk.Another", begin="origin"):
    case: str = ""

    @handle(Noted, start=True)
    def on_noted(self, event: Noted) -> None:
        pass


class Later(Another, name="desk.Another", begin="now"):
    pass


NOTED = "desk.Noted.v1"

UP = ("taken up", "on_noted")


@pytest.mark.parametrize(
    ("classes", "planted"),
    [
        ([Case], set()),
        ([Noting], {(*UP, f"{NOTED} is handled", 2)}),
        (
            [Starting],
            {(*UP, f"{NOTED} is handled", 2), (*UP, f"{NOTED} starts an instance", 2)},
        ),
        ([Failing], {(*UP, f"{NOTED} raises ValueError", 2)}),
        ([Skipping], set()),
        ([Elsewhere], {("passed over", "on_opened", "it is for another instance", 3)}),
        ([Case, Another], {(*UP, f"{NOTED} starts an instance", 6)}),
        ([Case, Later], set()),
    ],
    ids=["same", "noting", "starting", "failing", "skipping", "elsewhere", "another", "later"],
)
def test_what_would_be_taken_up_is_found_and_nothing_else(
    store: Path, classes: list[type], planted: set[tuple[str, str, str, int]]
) -> None:
    assert told(shadow(store, domain_with(*classes), processes=0)) == planted


def test_an_example_of_an_event_says_which_and_what_comes_of_it(store: Path) -> None:
    [one] = shadow(store, domain_with(Noting), processes=0).differences
    assert (one.process, one.of, one.instances) == (NAME, "events", 0)
    example = one.example
    assert (example.instance, example.version, example.stored) == ("a", 2, "no transition")
    assert example.now == "desk::mail-a@3: Alert(case='a')"
    assert "2 events, as 'a' at version 2: no transition →" in str(one)


def test_only_events_for_running_instances_count_where_only_these_are_asked_for(
    store: Path,
) -> None:
    assert told(shadow(store, domain_with(Noting), live=True, processes=0)) == set()


def test_a_sample_has_as_many_events_of_a_type(store: Path) -> None:
    differences = shadow(store, domain_with(Case, Another), sample=2, processes=0).differences
    assert [one.steps for one in differences] == [2]


def test_events_of_a_divided_store_are_looked_at_where_their_instances_are(tmp_path: Path) -> None:
    clock, domain = VirtualClock(), domain_with(Case)
    with Runtime(tmp_path, domain, partitions=3, clock=clock, control=False) as runtime:
        for one in "abcdef":
            runtime.publish(Opened(one), stream="desk::mail-all")
            runtime.publish(Noted(one, "z"), stream="desk::mail-all")
            runtime.settle(timeout=10)
            clock.advance(timedelta(seconds=1))
    assert told(shadow(tmp_path, domain, processes=0)) == set()
    assert told(shadow(tmp_path, domain_with(Noting), processes=0)) == {
        (*UP, f"{NOTED} is handled", 6)
    }
