"""`why` and `stuck`: what came of an event, and what instances wait for."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest

from procession import (
    SKIP,
    Aggregate,
    Command,
    Domain,
    Event,
    Explanation,
    Indexed,
    ProcessManager,
    Retry,
    Runtime,
    StuckInstance,
    UnknownMessage,
    handle,
    timeout,
)
from procession.store import LmdbStore
from procession.testing import VirtualClock

desk = Domain("desk")


class Opened(Event):
    case: str


class Added(Event):
    case: str


class Paid(Event):
    invoice: str


class Ended(Event):
    case: str


class Nudged(Event):
    case: str


class Remind(Command):
    case: str


@desk.register
class Clerk(Aggregate, identity="case"):
    @handle(Remind)
    def remind(self, command: Remind) -> Nudged:
        return Nudged(self.id)


class Faulty(ProcessManager):
    """Fails as the tests say, by event class and instance."""

    fails: ClassVar[dict[tuple[type, str], type[Exception]]] = {}

    def note(self, event: Event) -> None:
        error = self.fails.get((type(event), self.id))
        if error is not None:
            raise error(f"no {type(event).__name__}")


@desk.register
class Case(Faulty, correlate="case", begin="origin"):
    case: str = ""
    invoice: Indexed[str] = ""

    @handle(Opened, start=True)
    def opened(self, event: Opened) -> None:
        self.note(event)

    @handle(Added)
    def added(self, event: Added) -> None:
        self.note(event)
        self.invoice = f"i-{self.case}"
        self.set_timeout("remind", timedelta(days=1))
        self.issue(Remind(self.case), after=timedelta(hours=2))

    @handle(Paid, correlate={"invoice": "invoice"})
    def paid(self, event: Paid) -> None:
        self.note(event)

    @handle(Ended, end=True)
    def ended(self, event: Ended) -> None:
        self.note(event)

    @timeout("remind")
    def remind(self) -> None:
        pass

    def on_error(self, error: Exception, context: Any) -> Any:
        if isinstance(error, KeyError):
            return SKIP
        return Retry(attempts=2) if isinstance(error, OSError) else None


def letters(event: Opened) -> list[str]:
    return list(event.case)


def by_initials(event: Added) -> Any:
    if event.case == "?":
        raise LookupError("who is that?")
    return None if event.case == "nobody" else list(event.case)


@desk.register
class Board(Faulty, streams=["board"], early="hold"):
    @handle(Opened, start=True, correlate=letters)
    def opened(self, event: Opened) -> None:
        self.note(event)

    @handle(Added, correlate=by_initials)
    def added(self, event: Added) -> None:
        self.note(event)


@pytest.fixture(autouse=True)
def nothing_fails() -> Iterator[None]:
    Faulty.fails.clear()
    yield
    Faulty.fails.clear()


@pytest.fixture
def runtime(clock: VirtualClock) -> Iterator[Runtime]:
    with Runtime.ephemeral(desk, clock=clock) as runtime:
        yield runtime


def publish(runtime: Runtime, **events: Event) -> None:
    for event_id, event in events.items():
        runtime.publish(event, stream="outside-1", event_id=event_id)
    runtime.settle(timeout=10)


def why(runtime: Runtime, event_id: str) -> tuple[str, str]:
    (row,) = runtime.why(event_id)
    return row.outcome, row.detail


def test_an_event_started_an_instance_or_stepped_it(runtime: Runtime) -> None:
    publish(runtime, e1=Opened("a"), e2=Added("a"), e3=Opened("a"))
    assert runtime.why("e1") == [
        Explanation("desk.Case", "a", "event.case", "started", "version 1 by opened")
    ]
    assert why(runtime, "e2") == ("stepped", "version 2 by added")
    assert why(runtime, "e3") == ("stepped", "version 3 by opened")
    assert str(runtime.why("e2")[0]) == (
        "desk.Case 'a', by event.case: stepped (version 2 by added)"
    )


def test_only_those_who_listen_to_the_type_in_that_stream_are_asked(runtime: Runtime) -> None:
    runtime.publish(Opened("a"), stream="board-1", event_id="here")
    publish(runtime, there=Opened("b"), nobody=Nudged("a"))
    assert [(row.process, row.instance, row.how) for row in runtime.why("here")] == [
        ("desk.Case", "a", "event.case"),
        ("desk.Board", "a", "function 'letters'"),
    ]
    assert [row.process for row in runtime.why("there")] == ["desk.Case"]
    assert runtime.why("nobody") == []


def test_an_event_that_found_no_instance_or_one_that_had_ended_was_skipped(
    runtime: Runtime,
) -> None:
    publish(runtime, e1=Added("a"), e2=Opened("a"), e3=Ended("a"), e4=Added("a"))
    assert why(runtime, "e1") == ("skipped: no instance", "it had not started")
    assert why(runtime, "e4") == ("skipped: complete", "since version 2")


def test_an_error_that_was_passed_over_is_a_skip_without_a_trace(runtime: Runtime) -> None:
    Faulty.fails[Added, "a"] = KeyError
    publish(runtime, e1=Opened("a"), e2=Added("a"))
    outcome, detail = why(runtime, "e2")
    assert outcome == "skipped"
    assert "passed over" in detail


def test_a_learnt_key_leads_to_its_instances_or_to_nobody(runtime: Runtime) -> None:
    publish(runtime, e1=Opened("a"), e2=Added("a"), e3=Paid("i-a"), e4=Paid("i-z"))
    assert runtime.why("e3") == [
        Explanation(
            "desk.Case",
            "a",
            "learnt key 'invoice' = event.invoice",
            "stepped",
            "version 3 by paid",
        )
    ]
    (row,) = runtime.why("e4")
    assert (row.instance, row.outcome) == (None, "held")
    assert row.detail.startswith("until an instance has 'invoice' = 'i-z', or 2")


def test_what_failed_is_parked_and_what_came_later_waits_behind_it(runtime: Runtime) -> None:
    Faulty.fails[Added, "a"] = ValueError
    publish(runtime, e1=Opened("a"), e2=Added("a"), e3=Ended("a"))
    (parked,) = runtime.parked()
    assert why(runtime, "e2") == ("parked", f"{parked.id}: ValueError: no Added")
    assert why(runtime, "e3") == (
        "waiting behind a parked one",
        f"the event at 2, parked as {parked.id}",
    )
    Faulty.fails.clear()
    runtime.retry(parked.id)
    runtime.settle(timeout=10)
    assert why(runtime, "e2") == ("stepped", "version 2 by added")
    assert why(runtime, "e3") == ("stepped", "version 3 by ended")


def test_a_parked_event_that_a_person_skipped_says_so(runtime: Runtime) -> None:
    Faulty.fails[Added, "a"] = ValueError
    publish(runtime, e1=Opened("a"), e2=Added("a"), e3=Ended("a"))
    (parked,) = runtime.parked()
    runtime.skip(parked.id, by="ann")
    runtime.settle(timeout=10)
    outcome, detail = why(runtime, "e2")
    assert outcome == "skipped: by decision"
    assert detail == f"by ann, of what was parked as {parked.id}"
    assert why(runtime, "e3") == ("stepped", "version 2 by ended")


def test_what_is_to_be_tried_again_is_retrying(runtime: Runtime, clock: VirtualClock) -> None:
    Faulty.fails[Added, "a"] = OSError
    publish(runtime, e1=Opened("a"), e2=Added("a"), e3=Ended("a"))
    assert why(runtime, "e2") == ("retrying", "attempt 2 at 2024-02-29 12:00:01")
    assert why(runtime, "e3") == (
        "waiting behind a retry",
        "of the event at 2 at 2024-02-29 12:00:01",
    )
    clock.advance(timedelta(seconds=1))
    runtime.settle(timeout=10)
    assert why(runtime, "e2")[0] == "parked"
    assert why(runtime, "e3")[0] == "waiting behind a parked one"


def test_an_early_event_is_held_and_later_made_its_step(runtime: Runtime) -> None:
    runtime.publish(Added("xy"), stream="board-1", event_id="e1")
    runtime.settle(timeout=10)
    rows = [row for row in runtime.why("e1") if row.process == "desk.Board"]
    assert [(row.instance, row.outcome) for row in rows] == [("x", "held"), ("y", "held")]
    assert {row.how for row in rows} == {"function 'by_initials'"}


def test_an_event_may_be_for_nobody_here(runtime: Runtime) -> None:
    runtime.publish(Added("nobody"), stream="board-1", event_id="e1")
    runtime.settle(timeout=10)
    (row,) = (row for row in runtime.why("e1") if row.process == "desk.Board")
    assert (row.instance, row.outcome, row.detail) == (None, "not for us", "")


def test_an_event_that_cannot_be_correlated_is_parked_without_an_instance(
    runtime: Runtime,
) -> None:
    runtime.publish(Added("?"), stream="board-1", event_id="e1")
    runtime.settle(timeout=10)
    (parked,) = runtime.parked()
    (row,) = (row for row in runtime.why("e1") if row.process == "desk.Board")
    assert (row.instance, row.outcome) == (None, "failed to correlate")
    assert row.detail == f"{parked.id}: LookupError: who is that?"
    assert str(row).startswith("desk.Board, by function 'by_initials': failed to correlate (")


def test_what_no_router_has_come_to_is_not_delivered_yet(tmp_path: Path) -> None:
    with Runtime(tmp_path, Domain("desk"), durability="none") as runtime:
        for event_id, event in {"e1": Opened("a"), "e2": Paid("i-a")}.items():
            runtime.publish(event, stream="outside-1", event_id=event_id)
    with Runtime(tmp_path, desk, read_only=True) as reader:
        assert why(reader, "e1") == ("not delivered yet", "")
        (row,) = reader.why("e2")
        assert (row.instance, row.outcome) == (None, "not delivered yet")
    with Runtime(tmp_path, desk, durability="none") as runtime:
        runtime.settle(timeout=10)
        assert why(runtime, "e1")[0] == "started"
    with Runtime(tmp_path, desk, read_only=True) as reader:
        assert why(reader, "e1")[0] == "started"
        assert why(reader, "e2")[0] == "held"


def test_an_event_is_found_among_many_transitions_with_few_reads(runtime: Runtime) -> None:
    numbers = range(1, 1_001)
    runtime.publish(Opened("a"), stream="outside-1")
    runtime.publish_many(
        [Opened("a") for _ in numbers],
        stream="outside-1",
        event_id=lambda event: None,
    )
    runtime.settle(timeout=30)
    reads = 0
    real = LmdbStore.transition_at

    def counted(*args: Any) -> Any:
        nonlocal reads
        reads += 1
        return real(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LmdbStore, "transition_at", counted)
        assert why(runtime, "outside-1@500") == ("stepped", "version 500 by opened")
    assert 0 < reads < 20


def test_an_id_of_no_event_is_refused(runtime: Runtime) -> None:
    with pytest.raises(UnknownMessage, match="no event has the id 'nothing'"):
        runtime.why("nothing")


def test_stuck_tells_who_has_not_moved_and_what_for(runtime: Runtime, clock: VirtualClock) -> None:
    Faulty.fails[Ended, "parked"] = ValueError
    Faulty.fails[Paid, "retrying"] = OSError
    publish(runtime, e1=Opened("idle"), e2=Opened("done"), e3=Ended("done"))
    publish(runtime, e4=Opened("parked"), e5=Ended("parked"))
    start = clock.now()
    clock.advance(timedelta(minutes=50))
    publish(runtime, e6=Opened("timed"), e7=Added("timed"))
    publish(runtime, e8=Opened("retrying"), e9=Added("retrying"))
    assert [one.id for one in runtime.stuck(Case, timedelta(hours=1))] == []
    clock.advance(timedelta(minutes=10))
    (parked,) = runtime.parked()
    idle, suspended = runtime.stuck(Case, since=timedelta(hours=1))
    assert idle == StuckInstance("idle", 1, "opened", start, {}, {})
    assert idle.waits_for_nothing
    assert str(idle) == (
        "idle: at version 1 (opened) since 2024-02-29 12:00:00; waits for events only"
    )
    assert (suspended.parked, suspended.error) == (parked.id, "ValueError: no Ended")
    assert not suspended.waits_for_nothing
    assert f"waits for an operator to retry or skip {parked.id}" in str(suspended)
    clock.advance(timedelta(minutes=50))
    publish(runtime, e10=Paid("i-retrying"))
    found = {one.id: one for one in runtime.stuck(Case, timedelta(hours=1))}
    assert list(found) == ["idle", "parked", "timed", "retrying"], "in the order of their starts"
    timed, retrying = found["timed"], found["retrying"]
    moved = start + timedelta(minutes=50)
    assert timed.time == moved
    assert timed.timeouts == {"remind": moved + timedelta(days=1)}
    assert timed.commands == {"desk.Case-timed@2.0": moved + timedelta(hours=2)}
    assert "the timeout 'remind' at 2024-03-01 12:50:00, the command desk.Case-timed@2.0" in str(
        timed
    )
    assert retrying.retry == clock.now() + timedelta(seconds=1)
    assert retrying.parked is None
    clock.advance(timedelta(hours=2))
    runtime.settle(timeout=10)
    # A command that has left is not waited for.
    assert {one.id: one for one in runtime.stuck(Case, timedelta())}["timed"].commands == {}


def test_stuck_goes_by_the_clock_of_whoever_looks(tmp_path: Path, clock: VirtualClock) -> None:
    with Runtime(tmp_path, desk, clock=clock, durability="none") as runtime:
        publish(runtime, e1=Opened("a"))
    clock.advance(timedelta(hours=1))
    with Runtime(tmp_path, desk, clock=clock, read_only=True) as reader:
        assert [one.id for one in reader.stuck(Case, timedelta(hours=1))] == ["a"]
        assert list(reader.stuck(Case, timedelta(hours=2))) == []


def test_stuck_reads_as_it_is_looked_at(runtime: Runtime) -> None:
    runtime.publish_many([Opened(f"{one:04}") for one in range(600)], stream="outside-1")
    runtime.settle(timeout=30)
    read: list[str] = []
    real = LmdbStore.scan_started

    def counted(*args: Any) -> Any:
        for one in real(*args):
            read.append(str(one[1]))
            yield one

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LmdbStore, "scan_started", counted)
        found = runtime.stuck(Case, timedelta())
        assert next(found).id == "0000"
        assert read == ["0000"]
        assert len(list(found)) == 599


def test_stuck_of_a_class_of_nobody_is_refused_at_once(runtime: Runtime) -> None:
    with pytest.raises(UnknownMessage, match="Faulty is in no domain"):
        runtime.stuck(Faulty, timedelta(hours=1))


def test_each_instance_of_an_event_has_an_answer_of_its_own(runtime: Runtime) -> None:
    Faulty.fails[Added, "x"] = ValueError
    runtime.publish(Opened("xy"), stream="board-1")
    runtime.settle(timeout=10)
    runtime.publish(Added("xy"), stream="board-1", event_id="e1")
    runtime.publish(Added("z"), stream="board-1", event_id="e2")
    runtime.settle(timeout=10)
    rows = [row for row in runtime.why("e1") if row.process == "desk.Board"]
    assert [(row.instance, row.outcome) for row in rows] == [("x", "parked"), ("y", "stepped")]
    (row,) = (row for row in runtime.why("e2") if row.process == "desk.Board")
    assert (row.instance, row.outcome) == ("z", "held")


def test_a_stateless_process_manager_takes_each_event_by_itself(clock: VirtualClock) -> None:
    post = Domain("post")

    @post.register
    class Letters(Faulty, stateless=True):
        @handle(Opened)
        def opened(self, event: Opened) -> None:
            self.note(event)

    Faulty.fails[Opened, "e2"] = ValueError
    with Runtime.ephemeral(post, clock=clock) as runtime:
        publish(runtime, e1=Opened("a"), e2=Opened("a"))
        assert runtime.why("e1") == [
            Explanation("post.Letters", "e1", "stateless", "stepped", "version 1 by opened")
        ]
        assert why(runtime, "e2")[0] == "parked"


def test_an_early_event_may_be_parked_without_holding_up_the_rest(clock: VirtualClock) -> None:
    strict = Domain("strict")

    @strict.register
    class Strict(Faulty, correlate="case", early="park"):
        @handle(Opened, start=True)
        def opened(self, event: Opened) -> None:
            pass

        @handle(Added)
        def added(self, event: Added) -> None:
            pass

    with Runtime.ephemeral(strict, clock=clock) as runtime:
        publish(runtime, e1=Added("a"), e2=Opened("a"))
        outcome, detail = why(runtime, "e1")
        assert outcome == "parked"
        assert "EarlyEvent" in detail
        assert why(runtime, "e2") == ("started", "version 1 by opened")
        (parked,) = runtime.parked()
        runtime.retry(parked.id)
        runtime.settle(timeout=10)
        # `seen` was past it already; it is found among the later transitions.
        assert why(runtime, "e1") == ("stepped", "version 2 by added")


def test_stuck_tells_of_what_failed_at_its_start(runtime: Runtime, clock: VirtualClock) -> None:
    Faulty.fails[Opened, "x"] = ValueError
    runtime.publish(Opened("a"), stream="board-1")
    runtime.publish(Opened("x"), stream="board-1")
    runtime.settle(timeout=10)
    came = clock.now()
    assert list(runtime.stuck(Case, timedelta(hours=1))) == []
    clock.advance(timedelta(hours=2))
    first, second = runtime.stuck(Case, timedelta(hours=1))
    assert (first.id, first.version, first.handler, first.time) == ("x", 0, "", came)
    assert second.id == "a"
    assert first.error is not None
    assert first.error.startswith("ValueError")
    assert str(first).startswith(
        f"x: failed at its start since {came:%Y-%m-%d %H:%M:%S}; waits for "
    )
    assert not first.waits_for_nothing


def test_stuck_tells_of_a_start_that_is_tried_again(runtime: Runtime, clock: VirtualClock) -> None:
    Faulty.fails[Opened, "x"] = OSError
    came = clock.now()
    runtime.publish(Opened("x"), stream="board-1")
    runtime.settle(timeout=10)
    (found,) = runtime.stuck(Case, timedelta(0))
    assert (found.id, found.version, found.time) == ("x", 0, came)
    assert found.retry is not None
