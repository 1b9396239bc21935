"""The journal: steps in the order of their hand-over, committed together; nothing leaves before.

The store below it is a real one, on tables in memory whose commits a test can refuse.
"""

from __future__ import annotations

import threading
from collections import deque
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from procession.core.decision import EMPTY
from procession.engine import journal as module
from procession.engine.failure_log import FailureLog
from procession.engine.journal import (
    LONGEST_PATIENCE,
    PAGE,
    PATIENCE,
    PATIENCE_OF_MANY,
    Journal,
    PendingWrite,
    Waiting,
)
from procession.store import (
    Append,
    ClosedError,
    CommandRecord,
    CommandResult,
    Committed,
    Conflict,
    CorruptRecord,
    DictionaryEngine,
    Duplicate,
    EventRecord,
    Outcome,
    Step,
    Store,
    StoreError,
    StoreFull,
    Ticket,
)
from procession.store.storage_engine import NOTHING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


class Disk(DictionaryEngine):
    """Tables in memory, which refuse commits as often as they are told."""

    def __init__(self, happened: list[str]) -> None:
        super().__init__()
        self._happened = happened
        self.refusals: list[StoreError] = []

    def commit(
        self,
        puts: Mapping[str, Mapping[bytes, bytes]],
        deletes: Mapping[str, Collection[bytes]],
        rewritten: Mapping[str, Mapping[bytes, bytes]] = NOTHING,
    ) -> Ticket:
        if self.refusals:
            self._happened.append("refused")
            return Ticket("failed", self.refusals.pop(0))
        self._happened.append("committed")
        return super().commit(puts, deletes, rewritten)


class Faulty(Store):
    """A store in which the hand-over of a step fails, if it is told so."""

    errors: dict[int, Exception]
    """By the step's identity."""

    def hand_over(self, step: Step) -> Outcome:
        error = self.errors.pop(id(step), None)
        if error is not None:
            raise error
        return super().hand_over(step)


class FakeDispatcher:
    """What the journal needs of a dispatcher; the test gives the turns."""

    def __init__(self) -> None:
        self.turns = 0
        self.is_commit_due = False
        self.urgent: deque[Any] = deque()
        self.commit_by: float | None = None
        self.scheduled: list[Any] = []

    def nudge(self) -> None:
        """The test gives the turns."""

    def schedule(self, actor: Any) -> None:
        if not actor.scheduled:
            actor.scheduled = True
            self.scheduled.append(actor)

    schedule_from_outside = schedule

    def give_turns(self) -> None:
        """One to each that stands in the run queue now."""
        scheduled, self.scheduled = self.scheduled, []
        for actor in scheduled:
            actor.take_turn()


class FakeActor:
    """Writes down what its steps bring about."""

    def __init__(self, bench: Bench, name: str) -> None:
        self._bench = bench
        self._name = name
        self.commit = 0
        self.outcomes: list[Outcome] = []
        self.has_caller = False

    def settle(self, message: Any, decision: Any, outcome: Outcome) -> None:
        del decision
        assert self._bench.journal.lock.locked()
        self.outcomes.append(outcome)
        self._bench.happened.append(f"{self._name} settled {message}")
        if self.has_caller:
            self._bench.journal.wait(FakeReply(self._bench, str(message)))

    def spoilt(self, message: Any, error: StoreError) -> None:
        # Whoever waits may do anything when he is told.
        assert not self._bench.journal.lock.locked()
        self._bench.happened.append(f"{self._name} spoilt {message}: {error}")


class FakeReply(Waiting):
    """A caller who waits for what an actor decided."""

    bench: Any
    name: str

    def durable(self) -> None:
        self.bench.happened.append(f"{self.name} answered")

    def failed(self, error: StoreError) -> bool:
        self.bench.happened.append(f"{self.name} told: {error}")
        return False


class FakeWork(PendingWrite, kw_only=True):
    """A step from another thread, which writes down what it is told."""

    name: str
    happened: list[str]
    error: StoreError | None = None
    again: bool = False

    def durable(self) -> None:
        self.happened.append(f"{self.name} durable")

    def failed(self, error: StoreError) -> bool:
        self.error = error
        self.happened.append(f"{self.name} failed")
        return self.again


class Patience(threading.Event):
    """Writes down how long it was to wait, and does not."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout)
        return False


class Bench:
    """A journal, and everything that happens around it, in order."""

    def __init__(
        self, largest_commit: int = 100, *, waits: bool = True, partitions: int = 1
    ) -> None:
        self.happened: list[str] = []
        self.disk = Disk(self.happened)
        self.store = Faulty(self.disk)
        self.store.errors = {}
        self.dispatcher = FakeDispatcher()
        self.positions: dict[str, int] = {}
        self.now = 1
        self.looked_after = 0
        """How often the engine was told that all is durable."""
        self.journal = Journal(
            self.store,
            self.dispatcher,
            largest_commit=largest_commit,
            waits=waits,
            failures=FailureLog(lambda: 0),
            now=lambda: self.now,
            published=self._published,
            checkpoints=lambda: dict(self.positions),
            durable=self._durable,
            start_over=self._start_over,
            partitions=partitions,
        )
        self.patience = self.journal._may_retry = Patience()
        self.actor = FakeActor(self, "actor")

    def _published(self, events: list[EventRecord]) -> None:
        assert self.journal.lock.locked()
        self.happened.append(f"published {[event.position for event in events]}")

    def _durable(self) -> None:
        # In order with the commits; before or after those who wait are told.
        self.looked_after += 1

    def _start_over(self) -> None:
        assert self.journal.lock.locked()
        self.happened.append("start over")

    def hand(self, step: Step, message: str = "m", actor: FakeActor | None = None) -> bool:
        """An actor hands a step over."""
        decision: Any = SimpleNamespace(step=step)
        generation = self.journal.generation
        return self.journal.hand_over(actor or self.actor, message, decision, generation)

    def work(self, name: str, step: Step | None = None) -> FakeWork:
        return FakeWork(step=step or event(name), name=name, happened=self.happened)

    def add(self, *names: str) -> list[FakeWork]:
        """Steps come from another thread, and the intake has its turn."""
        works = [self.work(name) for name in names]
        self.journal.add_all(works)
        self.dispatcher.give_turns()
        return works

    def flush_all(self) -> None:
        """Until nothing is left, with a turn for the intake in between."""
        while self.journal.flush():
            self.dispatcher.give_turns()

    @property
    def stored(self) -> list[str]:
        """The streams of the events that are durable, in order."""
        return [one.stream for one in self.store.read_log(0, 10_000)]


def event(stream: str, expected: int | None = None, *, event_id: str = "", count: int = 1) -> Step:
    records = [EventRecord("E", stream, 0, 1, b"\x80", event_id, "") for _ in range(count)]
    return Step(append=Append(stream, expected, records, unique=bool(event_id)))


def accepted(command_id: str) -> Step:
    record = CommandRecord(command_id, "C", "s", 1, b"\x80", command_id)
    return Step(given=record, result=CommandResult())


@pytest.fixture
def bench() -> Bench:
    return Bench()


# Handing over


def test_an_event_is_of_the_time_at_which_it_was_handed_over_and_not_at_which_it_was_made(
    bench: Bench,
) -> None:
    made = event("a", count=2)
    bench.now = 7
    assert bench.hand(made, "first")
    bench.flush_all()
    assert [one.time for one in bench.store.read_log(0, 10)] == [7, 7]


def test_what_follows_a_step_in_memory_happens_at_its_hand_over_before_anything_is_durable(
    bench: Bench,
) -> None:
    assert bench.hand(event("a", count=2), "first")
    assert bench.hand(event("b"), "second")
    assert bench.happened == [
        "published [1, 2]",
        "actor settled first",
        "published [3]",
        "actor settled second",
    ]
    assert bench.stored == []
    bench.journal.flush()
    assert bench.stored == ["a", "a", "b"]


def test_each_step_stands_on_those_that_were_handed_over_before_it(bench: Bench) -> None:
    other = FakeActor(bench, "other")
    assert bench.hand(event("a", 0))
    assert bench.hand(event("a", 1), actor=other)
    # It was decided before the other one, and handed over after it.
    assert bench.hand(event("a", 1))
    assert [type(one) for one in bench.actor.outcomes] == [Committed, Conflict]
    assert [type(one) for one in other.outcomes] == [Committed]
    bench.journal.flush()
    assert bench.stored == ["a", "a"]


def test_an_actor_knows_the_number_of_the_commit_that_its_newest_step_is_in(bench: Bench) -> None:
    bench.hand(event("a"))
    assert bench.actor.commit == bench.journal.number == 1
    bench.journal.flush()
    assert bench.actor.commit < bench.journal.number
    bench.hand(event("a"))
    assert bench.actor.commit == bench.journal.number == 2


def test_only_events_that_take_effect_are_published(bench: Bench) -> None:
    bench.hand(event("a", 7))
    bench.hand(event("a", event_id="e1"))
    bench.hand(event("a", event_id="e1"))
    assert [type(one) for one in bench.actor.outcomes] == [Conflict, Committed, Duplicate]
    assert [one for one in bench.happened if one.startswith("published")] == ["published [1]"]


def test_what_was_decided_in_an_older_generation_is_refused_and_leaves_no_trace(
    bench: Bench,
) -> None:
    old = bench.journal.generation
    bench.hand(event("a"))
    bench.disk.refusals = [StoreError("broken")]
    bench.journal.flush()
    bench.happened.clear()
    late: Any = SimpleNamespace(step=event("late"))
    assert bench.journal.hand_over(bench.actor, "late", late, old) is False
    assert bench.happened == []
    assert not bench.journal.has_work
    nothing: Any = SimpleNamespace(step=EMPTY)
    assert bench.journal.hand_over(bench.actor, "late", nothing, old) is False


def test_a_step_that_writes_nothing_is_in_order_and_is_no_commit(bench: Bench) -> None:
    assert bench.hand(EMPTY)
    assert bench.journal.has_work, "that a message was handled may let somebody go on"
    assert bench.journal.flush() is True
    assert bench.happened == ["actor settled m"]
    assert bench.looked_after == 1
    assert bench.journal.counts.commits == 0
    assert bench.journal.flush() is False


def test_a_step_whose_expectation_cannot_be_read_is_a_conflict_and_the_others_stand(
    bench: Bench,
) -> None:
    damaged = event("b")
    bench.store.errors[id(damaged)] = CorruptRecord("the record is damaged")
    bench.hand(event("a"))
    assert bench.hand(damaged)
    bench.hand(event("c"))
    assert bench.actor.outcomes[1] == Conflict("the record is damaged")
    bench.journal.flush()
    assert bench.stored == ["a", "c"]


# Closing a commit


def test_an_empty_journal_has_nothing_to_flush(bench: Bench) -> None:
    assert bench.journal.flush() is False
    assert bench.happened == []


def test_all_that_was_handed_over_is_one_commit_and_who_waits_is_told_after_it_in_order(
    bench: Bench,
) -> None:
    bench.actor.has_caller = True
    bench.hand(event("a"), "a")
    bench.add("b")
    bench.hand(event("c"), "c")
    bench.happened.clear()
    assert bench.journal.flush() is True
    assert bench.happened == ["committed", "a answered", "b durable", "c answered"]
    assert bench.looked_after == 1
    assert bench.stored == ["a", "b", "c"]
    assert (bench.journal.counts.commits, bench.journal.counts.steps) == (1, 3)


def test_a_commit_is_due_when_it_has_as_many_steps_as_was_said() -> None:
    bench = Bench(largest_commit=3)
    due = []
    for name in "abc":
        bench.hand(event(name))
        due.append(bench.dispatcher.is_commit_due)
    assert due == [False, False, True]
    bench.journal.flush()
    assert not bench.dispatcher.is_commit_due


def test_a_commit_is_due_when_its_rows_are_large(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LARGEST_SIZE", 1_000)
    bench.hand(event("a"))
    due = [bench.dispatcher.is_commit_due]
    large = event("b")
    assert large.append is not None
    large.append.events[0].data = b"\xc4\xff" + bytes(1_000)
    bench.hand(large)
    due.append(bench.dispatcher.is_commit_due)
    assert due == [False, True]


def test_steps_that_were_refused_fill_no_commit() -> None:
    bench = Bench(largest_commit=2)
    bench.hand(event("a"))
    for _ in range(10):
        bench.hand(event("a", 7))
    assert not bench.dispatcher.is_commit_due


def test_a_commit_closes_soon_after_a_step_for_which_a_caller_waits(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [50.0]
    monkeypatch.setattr(module, "seconds", lambda: now[0])
    bench.hand(event("a"))
    deadlines = [bench.dispatcher.commit_by]
    bench.actor.has_caller = True
    for _ in range(2):
        # The first one decides.
        bench.hand(event("a"))
        deadlines.append(bench.dispatcher.commit_by)
        now[0] += 0.004
    bench.journal.flush()
    deadlines.append(bench.dispatcher.commit_by)
    bench.hand(event("a"))
    deadlines.append(bench.dispatcher.commit_by)
    assert deadlines == [None, 50 + PATIENCE, 50 + PATIENCE, None, now[0] + PATIENCE]


def test_who_waits_for_one_step_has_the_commit_of_many_close_sooner(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [50.0]
    monkeypatch.setattr(module, "seconds", lambda: now[0])
    many = bench.work("many")
    many.patience = PATIENCE_OF_MANY
    bench.journal.add(many)
    bench.dispatcher.give_turns()
    deadlines = [bench.dispatcher.commit_by]
    now[0] = 50.001
    bench.add("one")
    deadlines.append(bench.dispatcher.commit_by)
    # And the other way round.
    bench.journal.flush()
    bench.add("one")
    again = bench.work("many")
    again.patience = PATIENCE_OF_MANY
    bench.journal.add(again)
    bench.dispatcher.give_turns()
    deadlines.append(bench.dispatcher.commit_by)
    assert deadlines == [50 + PATIENCE_OF_MANY, now[0] + PATIENCE, now[0] + PATIENCE]


@pytest.mark.parametrize(
    ("partitions", "times"), [(1, 1), (8, 1), (16, 2), (1_024, LONGEST_PATIENCE / PATIENCE_OF_MANY)]
)
def test_who_hands_over_many_waits_longer_where_many_partitions_take_turns(
    partitions: int, times: float
) -> None:
    bench = Bench(partitions=partitions)
    assert bench.journal.intake.patience_of_many == pytest.approx(times * PATIENCE_OF_MANY)


def test_no_more_chains_are_begun_when_the_commit_is_nearly_full_or_its_time_nearly_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [50.0]
    monkeypatch.setattr(module, "seconds", lambda: now[0])
    bench = Bench(largest_commit=4)
    for name in "ab":
        bench.hand(event(name))
    nearly = [bench.journal.is_nearly_due]
    bench.hand(event("c"))
    nearly.append(bench.journal.is_nearly_due)
    bench.journal.flush()
    bench.add("d")
    nearly.append(bench.journal.is_nearly_due)
    now[0] += PATIENCE / 2
    nearly.append(bench.journal.is_nearly_due)
    assert nearly == [False, True, False, True]


def test_a_commit_for_which_a_caller_waits_goes_before_looks_that_are_trips(bench: Bench) -> None:
    journal, dispatcher = bench.journal, bench.dispatcher

    def goes_first() -> tuple[bool, bool]:
        dispatcher.is_commit_due = False
        return journal.commits_first(), dispatcher.is_commit_due

    bench.hand(event("a"))
    bench.store.is_remote = True
    assert goes_first() == (False, False)
    bench.add("one")
    # Others for whose turn a caller waits are to be in the same commit.
    dispatcher.urgent.append(bench.actor)
    assert goes_first() == (True, False)
    dispatcher.urgent.clear()
    assert goes_first() == (True, True)
    bench.store.is_remote = False
    assert goes_first() == (False, False)
    bench.store.is_remote = True
    journal.flush()
    assert goes_first() == (False, False)
    many = bench.work("many")
    many.patience = PATIENCE_OF_MANY
    journal.add(many)
    dispatcher.give_turns()
    assert goes_first() == (False, False)


def test_a_simulation_has_no_deadline_that_a_clock_would_decide_about() -> None:
    bench = Bench(waits=False)
    bench.actor.has_caller = True
    bench.hand(event("a"))
    assert bench.dispatcher.commit_by is None


def test_what_is_handed_over_while_others_are_told_is_in_the_next_commit(bench: Bench) -> None:
    class Chain(FakeWork, kw_only=True):
        def durable(self) -> None:
            FakeWork.durable(self)
            bench.hand(event("next"), "next")

    bench.journal.add(Chain(step=event("first"), name="first", happened=bench.happened))
    bench.dispatcher.give_turns()
    bench.happened.clear()
    bench.flush_all()
    assert bench.happened == [
        "committed",
        "first durable",
        "published [2]",
        "actor settled next",
        "committed",
    ]
    assert bench.looked_after == 2
    assert bench.actor.commit == 2


def test_a_duplicate_of_what_is_not_durable_yet_is_answered_after_it_and_like_it(
    bench: Bench,
) -> None:
    outcomes: list[tuple[str, Outcome]] = []
    for name in ("original", "duplicate"):
        bench.journal.add(
            PendingWrite(accepted("c1"), lambda found, name=name: outcomes.append((name, found)))  # type: ignore[misc]
        )
    bench.dispatcher.give_turns()
    assert outcomes == []
    bench.disk.refusals = [StoreError("broken")]
    bench.journal.flush()
    assert outcomes == [], "neither took effect"
    bench.flush_all()
    bench.dispatcher.give_turns()
    bench.flush_all()
    assert [(name, type(found)) for name, found in outcomes] == [
        ("original", Committed),
        ("duplicate", Duplicate),
    ]


# Waiting for all to be durable


def test_what_is_to_be_done_when_all_is_durable_waits_for_the_commit(bench: Bench) -> None:
    bench.hand(event("a"))
    bench.journal.call_when_durable(lambda: bench.happened.append(f"called with {bench.stored}"))
    bench.happened.clear()
    bench.journal.flush()
    assert bench.happened == ["committed", "called with ['a']"]


def test_what_is_to_be_done_when_all_is_durable_is_done_though_there_is_nothing_to_commit(
    bench: Bench,
) -> None:
    bench.journal.call_when_durable(lambda: bench.happened.append("called"))
    assert bench.journal.flush() is True
    assert bench.happened == ["called"]
    assert bench.looked_after == 1


def test_what_is_to_be_done_when_all_is_durable_is_done_once_when_all_is_gone(
    bench: Bench,
) -> None:
    bench.hand(event("a"))
    bench.journal.call_when_durable(lambda: bench.happened.append("called"))
    bench.disk.refusals = [StoreError("broken")]
    bench.happened.clear()
    bench.flush_all()
    assert bench.happened == ["refused", "start over", "called"]
    assert bench.looked_after == 0


# When the disk refuses


def test_when_a_commit_fails_all_is_forgotten_first_and_then_every_caller_is_told_in_order(
    bench: Bench,
) -> None:
    bench.actor.has_caller = True
    bench.hand(event("a"), "a")
    [work] = bench.add("b")
    bench.hand(event("c"), "c")
    full = StoreFull("no room")
    bench.disk.refusals = [full]
    bench.happened.clear()
    assert bench.journal.flush() is True
    assert bench.happened == [
        "refused",
        "start over",
        "a told: no room",
        "b failed",
        "c told: no room",
    ]
    assert work.error is full
    assert (bench.journal.counts.commits, bench.journal.counts.steps) == (0, 0)
    assert bench.stored == []


def test_after_a_commit_failed_positions_and_versions_are_those_of_the_disk(bench: Bench) -> None:
    bench.hand(event("a"))
    bench.journal.flush()
    bench.hand(event("a", 1))
    bench.hand(event("b", 0))
    bench.disk.refusals = [StoreError("broken")]
    number, generation = bench.journal.number, bench.journal.generation
    bench.journal.flush()
    assert (bench.journal.number, bench.journal.generation) == (number + 1, generation + 1)
    assert not bench.journal.has_work
    bench.happened.clear()
    bench.hand(event("a", 1))
    assert bench.happened[0] == "published [2]"
    bench.flush_all()
    assert bench.stored == ["a", "a"]


def test_a_step_of_no_actor_that_is_to_be_written_again_is(bench: Bench) -> None:
    one, other = bench.add("a", "b")
    one.again = True
    bench.disk.refusals = [StoreError("broken")]
    bench.flush_all()
    bench.dispatcher.give_turns()
    bench.flush_all()
    assert bench.stored == ["a"]
    assert isinstance(one.outcome, Committed)
    assert other.error is not None


def test_a_pending_write_comes_again_until_it_is_durable(bench: Bench) -> None:
    outcomes: list[Outcome] = []
    bench.journal.add(PendingWrite(event("a"), outcomes.append))
    bench.disk.refusals = [StoreError("broken") for _ in range(8)]
    while not outcomes:
        bench.dispatcher.give_turns()
        bench.journal.flush()
    assert bench.stored == ["a"]
    # While the disk refuses, the waits grow to a bound.
    assert bench.patience.waits == [0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0]


def test_after_a_commit_succeeds_nothing_waits_any_more(bench: Bench) -> None:
    bench.disk.refusals = [StoreError("broken"), StoreError("broken")]
    for name in ("a", "b", "c", "d"):
        bench.add(name)
        bench.journal.flush()
    assert bench.patience.waits == [0.05, 0.1]
    bench.disk.refusals = [StoreError("broken")]
    for name in ("e", "f"):
        bench.add(name)
        bench.journal.flush()
    assert bench.patience.waits == [0.05, 0.1, 0.05]


def test_an_error_of_our_own_in_a_commit_is_told_and_keeps_nothing(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.actor.has_caller = True
    bench.hand(event("a"), "a")
    bench.disk.commit = lambda *_: 1 / 0  # type: ignore[method-assign, assignment]
    bench.happened.clear()
    bench.journal.flush()
    del bench.disk.commit
    assert bench.happened[0] == "start over"
    assert "ZeroDivisionError" in bench.happened[1]
    assert "an error of our own" in caplog.text
    bench.hand(event("b", 0), "b")
    bench.journal.flush()
    assert bench.stored == ["b"]


# An open commit that is spoilt


def spoil(bench: Bench) -> None:
    """A step fails with an error of our own, of which part may be laid in."""
    bad = event("bad")
    bench.store.errors[id(bad)] = RuntimeError("a mistake of ours")
    with bench.journal.lock:
        assert bench.journal.lay(bad) is None


def test_an_error_of_our_own_in_a_hand_over_drops_the_open_commit_whole(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.actor.has_caller = True
    bench.hand(event("a"), "a")
    generation = bench.journal.generation
    bench.happened.clear()
    spoil(bench)
    assert bench.happened == ["start over"]
    assert bench.journal.generation == generation + 1
    # The text of an error may quote what was to be written.
    assert "an error of our own: RuntimeError" in caplog.text
    assert "a mistake of ours" not in caplog.text
    assert bench.journal.flush() is True
    assert "a mistake of ours" in bench.happened[1]
    assert bench.stored == []
    assert bench.journal.flush() is False


def test_a_step_that_spoils_the_open_commit_is_not_settled_and_its_actor_is_told_why(
    bench: Bench,
) -> None:
    bad = event("bad")
    bench.store.errors[id(bad)] = RuntimeError("a mistake of ours")
    assert bench.hand(bad, "bad") is False
    assert bench.actor.outcomes == []
    assert bench.happened[0] == "start over"
    assert bench.happened[1].startswith("actor spoilt bad: a commit failed: RuntimeError")


def test_who_stands_awake_for_a_commit_that_is_spoilt_waits_for_no_other(bench: Bench) -> None:
    bench.hand(event("a"))
    spoil(bench)
    assert bench.actor.commit < bench.journal.number


def test_a_commit_that_is_spoilt_closes_before_more_is_tried(bench: Bench) -> None:
    # Otherwise a step that fails each time would be tried again and again at once.
    spoil(bench)
    assert bench.dispatcher.is_commit_due
    bench.journal.flush()
    bench.hand(event("a"))
    bench.journal.flush()
    assert bench.patience.waits == [0.05]


def test_what_is_handed_over_behind_a_spoilt_commit_stands_or_its_caller_is_told(
    bench: Bench,
) -> None:
    bench.actor.has_caller = True
    bench.hand(event("before"), "before")
    spoil(bench)
    bench.hand(event("behind"), "behind")
    [work] = bench.add("work")
    bench.flush_all()
    told = [one for one in bench.happened if "told:" in one]
    answered = [one for one in bench.happened if one.endswith("answered")]
    assert len(told) + len(answered) == 2
    assert any(one.startswith("before told") for one in told)
    assert ("behind" in bench.stored) == ("behind answered" in answered)
    assert ("work" in bench.stored) == (work.error is None)


def test_works_that_come_behind_a_spoilt_commit_are_written_once(bench: Bench) -> None:
    spoil(bench)
    outcomes: list[Outcome] = []
    bench.journal.add(PendingWrite(event("work"), outcomes.append))
    for _ in range(3):
        bench.dispatcher.give_turns()
        bench.flush_all()
    assert bench.stored == ["work"]
    assert len(outcomes) == 1


# Steps from other threads


def test_a_step_from_another_thread_is_handed_over_in_the_turn_of_the_intake(
    bench: Bench,
) -> None:
    bench.journal.add(bench.work("a"))
    assert not bench.journal.has_work
    assert bench.dispatcher.scheduled == [bench.journal.intake]
    assert bench.journal.intake.is_urgent, "a caller waits"
    bench.dispatcher.give_turns()
    assert bench.happened == ["published [1]"]
    assert bench.journal.has_work


def test_the_intake_takes_a_page_in_each_turn_and_keeps_the_order(bench: Bench) -> None:
    names = [f"{number:04}" for number in range(2 * PAGE + 10)]
    bench.journal.add_all([bench.work(name) for name in names])
    taken = []
    while bench.dispatcher.scheduled:
        bench.dispatcher.give_turns()
        taken.append(bench.store.ahead.last_position())
    assert taken == [PAGE, 2 * PAGE, 2 * PAGE + 10]
    bench.journal.flush()
    assert bench.stored == names


def test_a_commit_may_fall_between_steps_that_came_together(bench: Bench) -> None:
    bench.journal.add_all([bench.work(f"{number:04}") for number in range(PAGE + 1)])
    bench.dispatcher.give_turns()
    bench.journal.flush()
    assert len(bench.stored) == PAGE
    bench.dispatcher.give_turns()
    bench.journal.flush()
    assert len(bench.stored) == PAGE + 1


def test_steps_added_from_many_threads_are_each_committed_once_in_their_order() -> None:
    bench = Bench(largest_commit=7)
    threads, each = 4, 300
    is_over = threading.Event()

    def add(number: int) -> None:
        for count in range(each):
            bench.journal.add(bench.work(f"{number}-{count:04}"))

    def flush() -> None:
        while not is_over.is_set() or bench.journal.has_work:
            bench.journal.flush()

    def take_in() -> None:
        intake = bench.journal.intake
        while not is_over.is_set() or intake.works:
            intake.work()

    adders = [threading.Thread(target=add, args=(number,)) for number in range(threads)]
    others = [threading.Thread(target=each_) for each_ in (flush, flush, take_in)]
    for thread in (*adders, *others):
        thread.start()
    for thread in adders:
        thread.join()
    is_over.set()
    for thread in others:
        thread.join()
    bench.flush_all()
    stored = bench.stored
    assert len(stored) == len(set(stored)) == threads * each
    for number in range(threads):
        mine = [one for one in stored if one.startswith(f"{number}-")]
        assert mine == sorted(mine)
    durable = [one for one in bench.happened if one.endswith(" durable")]
    assert len(durable) == threads * each


# The end


def test_a_journal_in_a_hurry_does_not_wait_and_gives_up(bench: Bench) -> None:
    bench.disk.refusals = [StoreError("broken"), StoreError("broken")]
    bench.add("a")
    bench.journal.flush()
    given_up = [bench.journal.has_given_up]
    bench.journal.hurry()
    bench.add("b")
    bench.journal.flush()
    given_up.append(bench.journal.has_given_up)
    assert given_up == [False, True]
    assert bench.patience.waits == []


def test_a_journal_in_a_hurry_writes_when_the_disk_lets_it(bench: Bench) -> None:
    bench.journal.hurry()
    bench.add("a")
    bench.journal.flush()
    assert bench.stored == ["a"]
    assert not bench.journal.has_given_up


def test_all_who_wait_for_an_abandoned_journal_are_told_that_it_was_closed(bench: Bench) -> None:
    bench.actor.has_caller = True
    bench.hand(event("a"), "a")
    [handed] = bench.add("b")
    left = bench.work("c")
    bench.journal.add(left)
    # None of these would come to an end.
    handed.again = left.again = True
    bench.happened.clear()
    bench.journal.abandon()
    assert [one.partition(":")[0] for one in bench.happened] == ["a told", "b failed", "c failed"]
    assert isinstance(handed.error, ClosedError)
    assert isinstance(left.error, ClosedError)
    assert bench.journal.flush() is False
    assert bench.stored == []


def test_what_comes_to_an_abandoned_journal_is_refused(bench: Bench) -> None:
    generation = bench.journal.generation
    bench.journal.abandon()
    late = bench.work("late")
    bench.journal.add(late)
    assert isinstance(late.error, ClosedError)
    step: Any = SimpleNamespace(step=event("a"))
    assert bench.journal.hand_over(bench.actor, "m", step, generation) is False
    assert bench.actor.outcomes == []


def test_a_disk_that_answers_after_the_end_changes_nothing_any_more(bench: Bench) -> None:
    bench.actor.has_caller = True
    bench.hand(event("a"), "a")

    def answer_late(*_: object) -> Ticket:
        # Closing does not wait for the lock, which this commit has.
        bench.journal.is_over = True
        bench.disk.close()
        return Ticket("failed", ClosedError("closed meanwhile"))

    bench.disk.commit = answer_late  # type: ignore[method-assign, assignment]
    bench.happened.clear()
    bench.journal.flush()
    assert "start over" not in bench.happened
    assert not bench.journal.lock.locked()


def test_closing_does_not_wait_for_a_disk_that_never_answers(bench: Bench) -> None:
    bench.hand(event("a"))
    left = bench.work("b")
    bench.journal.add(left)
    with bench.journal.lock:
        bench.journal.abandon()
    assert isinstance(left.error, ClosedError)
    assert bench.hand(event("c")) is False


# Checkpoints


def test_positions_that_have_changed_are_written_along_with_steps(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[dict[str, int]] = []
    close_commit = bench.store.close_commit

    def note(checkpoints: Any = None) -> None:
        written.append(dict(checkpoints))
        close_commit(checkpoints)

    monkeypatch.setattr(bench.store, "close_commit", note)
    for positions in ({"p": 1, "q": 1}, {"p": 1, "q": 2}, {"p": 1, "q": 2}):
        bench.positions = positions
        bench.hand(event("a"))
        bench.journal.flush()
    assert written == [{"p": 1, "q": 1}, {"q": 2}, {}]


def test_positions_count_once_they_are_durable(bench: Bench) -> None:
    bench.positions = {"p": 1}
    bench.hand(event("a"))
    bench.disk.refusals = [StoreError("broken")]
    bench.journal.flush()
    assert bench.journal.done_up_to == {}
    assert bench.store.checkpoint("p") == 0
    bench.hand(event("a"))
    bench.journal.flush()
    assert bench.journal.done_up_to == {"p": 1}
    assert bench.store.checkpoint("p") == 1


def test_positions_are_written_without_a_step_when_someone_asks(bench: Bench) -> None:
    bench.positions = {"p": 9}
    assert bench.journal.flush() is False
    bench.journal.nudge_checkpoints()
    assert bench.journal.flush() is True
    assert bench.store.checkpoint("p") == 9
    assert bench.journal.flush() is False


def test_the_last_positions_are_written_by_themselves_if_they_changed(bench: Bench) -> None:
    bench.positions = {"p": 9}
    bench.journal.write_checkpoints()
    bench.journal.write_checkpoints()
    assert bench.store.checkpoint("p") == 9
    assert bench.happened == ["committed"]


def test_a_commit_of_which_nothing_is_known_is_looked_for_before_anything_else_is_decided(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose_the_answer(puts: Any, deletes: Any) -> Ticket:
        DictionaryEngine.commit(bench.disk, puts, deletes)
        monkeypatch.setattr(bench.disk, "get_many", refuse)
        return Ticket("unknown", StoreError("the answer was lost"))

    def refuse(keys: Any) -> list[bytes | None]:
        raise StoreError("and the disk cannot be read")

    monkeypatch.setattr(bench.disk, "commit", lose_the_answer)
    assert bench.hand(event("a"), "first")
    bench.dispatcher.is_commit_due = False
    seen: list[tuple[bool, bool]] = []
    for _ in range(2):
        bench.journal.flush()
        seen.append((bench.store.is_unsure, bench.dispatcher.is_commit_due))
        monkeypatch.undo()
    assert seen == [(True, True), (False, False)]
    assert bench.store.last_position() == 1
