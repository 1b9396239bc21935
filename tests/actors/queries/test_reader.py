"""`find`, and what `get` says of suspension."""

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest

from procession import (
    Aggregate,
    ClosedError,
    Command,
    Domain,
    Event,
    Indexed,
    InstanceView,
    ProcessManager,
    Retry,
    Runtime,
    UnknownMessage,
    handle,
)
from procession.queries.reader import Reader
from procession.testing import VirtualClock

desk = Domain("desk")

PAGE = 256
"""More than a store reads at a time."""


class Opened(Event):
    case: str
    city: str = "Oslo"


class Billed(Event):
    case: str
    invoice: str


class Closed(Event):
    case: str


class Other(Command):
    case: str


@desk.register
class Case(ProcessManager, correlate="case"):
    case: str = ""
    city: str = ""
    invoice: Indexed[str] = ""
    notes: list[str] = []

    fails: ClassVar[set[str]] = set()

    @handle(Opened, start=True)
    def opened(self, event: Opened) -> None:
        if self.case in self.fails:
            raise ValueError("no")
        self.city = event.city

    @handle(Billed)
    def billed(self, event: Billed) -> None:
        if self.case in self.fails:
            raise ValueError("no")
        self.invoice = event.invoice

    @handle(Closed, end=True)
    def closed(self, event: Closed) -> None:
        pass


@desk.register
class Patient(ProcessManager, correlate="case", retry=Retry(attempts=3), early="hold"):
    case: str = ""

    fails: ClassVar[set[str]] = set()

    @handle(Opened, start=True)
    def opened(self, event: Opened) -> None:
        if self.case in self.fails:
            raise ValueError("no")

    @handle(Billed)
    def billed(self, event: Billed) -> None:
        if self.case in self.fails:
            raise ValueError("no")


@desk.register
class Clerk(Aggregate, identity="case"):
    @handle(Other)
    def other(self, command: Other) -> None:
        pass


@pytest.fixture(autouse=True)
def nothing_fails() -> Iterator[None]:
    Case.fails = set()
    Patient.fails = set()
    yield
    Case.fails = set()
    Patient.fails = set()


@pytest.fixture
def runtime(clock: VirtualClock) -> Iterator[Runtime]:
    with Runtime.ephemeral(desk, clock=clock) as runtime:
        yield runtime


def publish(runtime: Runtime, *events: Event) -> None:
    runtime.publish_many(events, stream="outside-1")
    runtime.settle(timeout=30)


def ids(found: Iterator[InstanceView]) -> list[str]:
    return [one.id for one in found]


class CountingStore:
    """Passes calls on, and counts the rows that come back."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.rows: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._store, name)

        def counted(*args: Any, **keywords: Any) -> Any:
            found = call(*args, **keywords)
            if isinstance(found, Iterator):
                return self._counted(name, found)
            self.rows[name] += 1
            return found

        return counted

    def _counted(self, name: str, found: Iterator[Any]) -> Iterator[Any]:
        for one in found:
            self.rows[name] += 1
            yield one


def counting(runtime: Runtime) -> tuple[Reader, CountingStore]:
    store: Any = CountingStore(runtime._store)
    return Reader(store, runtime._registry), store


def test_instances_are_found_in_the_order_of_their_starts_by_completion_and_values(
    runtime: Runtime,
) -> None:
    publish(runtime, Opened("c", "Bergen"), Opened("a"), Opened("b"), Opened("d"))
    publish(runtime, Closed("b"), Closed("c"))
    assert ids(runtime.find(Case)) == ["c", "a", "b", "d"]
    assert ids(runtime.find(Case, complete=True)) == ["c", "b"]
    assert ids(runtime.find(Case, complete=False)) == ["a", "d"]
    assert ids(runtime.find(Case, city="Oslo")) == ["a", "b", "d"]
    assert ids(runtime.find(Case, city="Oslo", complete=True)) == ["b"]
    assert ids(runtime.find(Case, city="Rome")) == []
    assert list(runtime.find(Case)) == [runtime.get(Case, one) for one in "cabd"]


def test_instances_are_read_only_when_asked_for(
    runtime: Runtime,
) -> None:
    many = 4 * PAGE + 1
    publish(runtime, *(Opened(f"{number:06}") for number in range(many)))
    reader, store = counting(runtime)
    found = reader.find(Case, {}, complete=None, suspended=None)
    assert not store.rows
    first = [next(found).id for _ in range(10)]
    assert first == [f"{number:06}" for number in range(10)]
    assert store.rows["scan_started"] == 10
    assert len(list(found)) == many - 10
    assert store.rows["scan_started"] == many


def test_instances_may_come_and_go_while_they_are_listed(runtime: Runtime) -> None:
    publish(runtime, *(Opened(f"{number:06}") for number in range(2 * PAGE)))
    found = runtime.find(Case, complete=False)
    seen = [next(found).id]
    publish(runtime, Opened("zzz"), *(Closed(f"{number:06}") for number in range(PAGE, 2 * PAGE)))
    seen += ids(found)
    assert len(seen) == len(set(seen)) == PAGE + 1
    assert seen[-1] == "zzz"


def test_a_learnt_key_is_looked_up_and_not_searched_for(runtime: Runtime) -> None:
    publish(runtime, *(Opened(f"{number:06}") for number in range(500)))
    publish(runtime, Billed("000007", "i-7"), Billed("000009", "i-7"), Billed("000008", "i-8"))
    publish(runtime, Closed("000009"))
    reader, store = counting(runtime)
    found = reader.find(Case, {"invoice": "i-7"}, complete=None, suspended=None)
    assert ids(found) == ["000007", "000009"]
    assert store.rows["scan_started"] == 0
    assert ids(runtime.find(Case, invoice="i-7", complete=True)) == ["000009"]
    assert ids(runtime.find(Case, invoice="i-8", city="Rome")) == []
    # What is not set is in no index, and is found all the same.
    assert len(ids(runtime.find(Case, invoice=""))) == 497


def test_views_are_copies(runtime: Runtime) -> None:
    publish(runtime, Opened("a"))
    for _ in range(2):
        (view,) = runtime.find(Case)
        assert view.state["notes"] == []
        view.state["notes"].append("mine")
        view.state["city"] = "Rome"
    publish(runtime, Billed("a", "i-1"))
    again = runtime.get(Case, "a")
    assert again is not None
    assert (again.state["city"], again.state["notes"]) == ("Oslo", [])


def test_a_field_that_is_not_there_is_refused_at_once(runtime: Runtime) -> None:
    with pytest.raises(TypeError, match="Case has no field 'town'; it has case, city, invoice"):
        runtime.find(Case, town="Oslo")


def test_other_classes_are_refused_at_once(runtime: Runtime) -> None:
    cls: Any = Clerk
    with pytest.raises(TypeError, match=r"Clerk is none; use events\(\)"):
        runtime.find(cls)

    class Stray(ProcessManager, correlate="case"):
        @handle(Opened, start=True)
        def opened(self, event: Opened) -> None:
            pass

    with pytest.raises(UnknownMessage, match="Stray is in no domain"):
        runtime.find(Stray)


def test_a_parked_event_suspends_until_somebody_decides(runtime: Runtime) -> None:
    Case.fails = {"b"}
    publish(runtime, Opened("a"), Opened("c"), Opened("b"), Billed("b", "i-1"))
    begun = {"case": "b", "city": "", "invoice": "", "notes": []}
    assert runtime.get(Case, "b") == InstanceView("b", begun, 0, False, "suspended")
    assert ids(runtime.find(Case, case="b")) == ["b"]
    # One that failed before it started comes first.
    assert ids(runtime.find(Case)) == ["b", "a", "c"]
    assert ids(runtime.find(Case, suspended=True)) == ["b"]
    assert ids(runtime.find(Case, suspended=False)) == ["a", "c"]
    assert ids(runtime.find(Case, complete=True)) == []
    Case.fails = set()
    (parked,) = (one for one in runtime.parked() if one.process == "desk.Case")
    runtime.retry(parked.id)
    runtime.settle(timeout=10)
    assert ids(runtime.find(Case, suspended=True)) == []
    assert ids(runtime.find(Case, suspended=False)) == ["a", "c", "b"]
    after = runtime.get(Case, "b")
    assert after is not None
    assert (after.status, after.version, after.state["invoice"]) == ("running", 2, "i-1")


def test_a_running_instance_is_suspended_with_the_state_it_had(runtime: Runtime) -> None:
    publish(runtime, Opened("a"))
    Case.fails = {"a"}
    publish(runtime, Billed("a", "i-1"), Closed("a"))
    (view,) = runtime.find(Case, suspended=True, city="Oslo")
    assert (view.id, view.version, view.status, view.is_complete) == ("a", 1, "suspended", False)
    assert ids(runtime.find(Case, suspended=True, city="Rome")) == []


def test_a_retry_that_waits_does_not_suspend(runtime: Runtime, clock: VirtualClock) -> None:
    publish(runtime, Opened("a"))
    Patient.fails = {"a", "b"}
    publish(runtime, Billed("a", "i-1"), Opened("b"))
    view = runtime.get(Patient, "a")
    assert view is not None
    assert (view.status, view.version) == ("running", 1)
    view = runtime.get(Patient, "b")
    assert view is not None
    assert (view.status, view.version, view.state["case"]) == ("running", 0, "b")
    assert ids(runtime.find(Patient, complete=False)) == ["b", "a"]
    assert ids(runtime.find(Patient, suspended=True)) == []
    for _ in range(2):
        clock.advance(timedelta(minutes=1))
        runtime.settle(timeout=10)
    assert ids(runtime.find(Patient, suspended=True)) == ["a", "b"]


def test_held_events_alone_are_no_instance(runtime: Runtime) -> None:
    publish(runtime, Billed("a", "i-1"))
    assert runtime.get(Patient, "a") is None
    assert ids(runtime.find(Patient)) == []
    publish(runtime, Opened("a"))
    view = runtime.get(Patient, "a")
    assert view is not None
    assert (view.status, view.version) == ("running", 2)


def test_instances_are_found_beside_the_writer(tmp_path: Path) -> None:
    with Runtime(tmp_path, desk, durability="none") as runtime:
        Case.fails = {"b"}
        publish(runtime, Opened("a"), Opened("b"))
        with Runtime(tmp_path, desk, read_only=True) as reader:
            assert ids(reader.find(Case)) == ["b", "a"]
            assert ids(reader.find(Case, suspended=True)) == ["b"]


def test_a_closed_runtime_finds_nothing_more(runtime: Runtime) -> None:
    publish(runtime, Opened("a"), Opened("b"))
    found = runtime.find(Case)
    assert next(found).id == "a"
    runtime.close()
    with pytest.raises(ClosedError):
        list(found)
    with pytest.raises(ClosedError):
        runtime.find(Case)
