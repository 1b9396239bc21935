"""The journal: steps are committed together and in order, and nobody hears before they are."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, cast

import pytest

from procession.engine.journal import Journal, PendingWrite
from procession.store import (
    Append,
    ClosedError,
    Committed,
    Conflict,
    Duplicate,
    EventRecord,
    Outcome,
    Step,
    Store,
    StoreError,
    StoreFull,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class FakeStore:
    """Keeps commits in a list; refuses as often as it is told."""

    def __init__(self, happened: list[str]) -> None:
        self._happened = happened
        self.commits: list[list[Step]] = []
        self.checkpoints: list[dict[str, int]] = []
        self.refusals: list[Exception] = []
        self.outcomes: dict[int, Outcome] = {}
        """What to answer instead of `Committed`, by the step's identity."""
        self.position = 0

    def commit(
        self, steps: Sequence[Step], checkpoints: Mapping[str, int] | None = None
    ) -> list[Outcome]:
        if self.refusals:
            self._happened.append("refused")
            raise self.refusals.pop(0)
        self._happened.append(f"commit {len(steps)}")
        self.commits.append(list(steps))
        self.checkpoints.append(dict(checkpoints or {}))
        outcomes: list[Outcome] = []
        for step in steps:
            outcome = self.outcomes.get(id(step), Committed())
            outcomes.append(outcome)
            if step.append is not None and isinstance(outcome, Committed):
                for event in step.append.events:
                    self.position += 1
                    event.position = self.position
        return outcomes


class FakeWork(PendingWrite, kw_only=True):
    """A step with a name, which writes down what it is told."""

    name: str
    happened: list[str]
    outcome: Outcome | None = None
    error: StoreError | None = None
    again: bool = False

    def committed(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.happened.append(f"{self.name} committed")

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
    """A journal on a fake store, and everything that happens around it, in order."""

    def __init__(self, largest_commit: int = 100) -> None:
        self.happened: list[str] = []
        self.store = FakeStore(self.happened)
        self.positions: dict[str, int] = {}
        self.journal = Journal(
            cast("Store", self.store),
            largest_commit=largest_commit,
            wake=lambda: self.happened.append("wake"),
            published=self._published,
            told=lambda: self.happened.append("told"),
            checkpoints=lambda: dict(self.positions),
        )
        self.patience = self.journal._may_retry = Patience()

    def _published(self, events: list[EventRecord]) -> None:
        self.happened.append(f"published {[event.position for event in events]}")

    def work(self, name: str, *, events: int = 0) -> FakeWork:
        step = Step()
        if events:
            records = [
                EventRecord("shop.Paid.v1", "a-b", 0, 0, b"", f"{name}{number}", "")
                for number in range(events)
            ]
            step.append = Append("a-b", None, records)
        return FakeWork(step=step, name=name, happened=self.happened)

    def add(self, *names: str) -> list[FakeWork]:
        works = [self.work(name) for name in names]
        self.journal.add_all(works)
        return works


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_adding_a_step_asks_for_a_flush_and_writes_nothing_yet(bench: Bench) -> None:
    bench.journal.add(bench.work("a"))
    assert bench.happened == ["wake"]


def test_steps_added_together_ask_for_one_flush(bench: Bench) -> None:
    bench.add("a", "b", "c")
    assert bench.happened == ["wake"]


def test_an_empty_journal_has_nothing_to_flush(bench: Bench) -> None:
    assert bench.journal.flush() is False
    assert bench.happened == []


def test_all_that_is_queued_goes_into_one_commit_in_order(bench: Bench) -> None:
    works = bench.add("a", "b", "c")
    bench.happened.clear()
    assert bench.journal.flush() is True
    assert bench.store.commits == [[work.step for work in works]]
    assert bench.happened == ["commit 3", "a committed", "b committed", "c committed", "told"]


def test_a_commit_is_at_most_as_large_as_was_said_and_order_is_kept() -> None:
    bench = Bench(largest_commit=2)
    bench.add("a", "b", "c", "d", "e")
    bench.happened.clear()
    while bench.journal.flush():
        pass
    assert bench.happened == [
        "commit 2",
        "a committed",
        "b committed",
        "told",
        "commit 2",
        "c committed",
        "d committed",
        "told",
        "commit 1",
        "e committed",
        "told",
    ]


def test_the_journal_is_full_when_there_is_enough_for_the_largest_commit() -> None:
    bench = Bench(largest_commit=2)
    assert not bench.journal.is_full()
    bench.add("a")
    assert not bench.journal.is_full()
    bench.add("b")
    assert bench.journal.is_full()
    bench.journal.flush()
    assert not bench.journal.is_full()


def test_a_step_added_while_others_are_told_goes_into_the_next_commit(bench: Bench) -> None:
    class Chain(FakeWork, kw_only=True):
        def committed(self, outcome: Outcome) -> None:
            FakeWork.committed(self, outcome)
            bench.journal.add(bench.work("next"))

    bench.journal.add(Chain(step=Step(), name="first", happened=bench.happened))
    bench.journal.flush()
    bench.journal.flush()
    assert bench.happened == [
        "wake",
        "commit 1",
        "first committed",
        "wake",
        "told",
        "commit 1",
        "next committed",
        "told",
    ]


def test_events_are_published_after_the_commit_and_before_anyone_is_told(bench: Bench) -> None:
    for name in ("a", "b"):
        bench.journal.add(bench.work(name, events=2))
    bench.happened.clear()
    bench.journal.flush()
    assert bench.happened == [
        "commit 2",
        "published [1, 2, 3, 4]",
        "a committed",
        "b committed",
        "told",
    ]


def test_each_step_gets_its_own_outcome_and_only_written_events_are_published(
    bench: Bench,
) -> None:
    works = [bench.work(name, events=1) for name in "abcd"]
    conflict, duplicate = Conflict("stream moved on"), Duplicate(7)
    bench.store.outcomes = {id(works[1].step): conflict, id(works[2].step): duplicate}
    bench.journal.add_all(works)
    bench.journal.flush()
    assert isinstance(works[0].outcome, Committed)
    assert works[1].outcome is conflict
    assert works[2].outcome is duplicate
    assert isinstance(works[3].outcome, Committed)
    assert "published [1, 2]" in bench.happened


def test_commits_and_steps_are_counted(bench: Bench) -> None:
    bench.add("a", "b")
    bench.journal.flush()
    bench.add("c")
    bench.journal.flush()
    assert (bench.journal.commits, bench.journal.steps) == (2, 3)


# When the disk refuses


def test_when_a_commit_fails_every_step_in_it_is_told_in_order(bench: Bench) -> None:
    works = bench.add("a", "b")
    full = StoreFull("no room")
    bench.store.refusals = [full]
    bench.happened.clear()
    assert bench.journal.flush() is True
    assert bench.happened == ["refused", "a failed", "b failed"]
    assert [work.error for work in works] == [full, full]
    assert (bench.journal.commits, bench.journal.steps) == (0, 0)


def test_when_a_commit_fails_the_steps_that_stand_on_it_fail_too() -> None:
    bench = Bench(largest_commit=1)
    bench.add("a", "b", "c")
    bench.store.refusals = [StoreError("broken")]
    bench.happened.clear()
    bench.journal.flush()
    assert bench.happened == ["refused", "a failed", "b failed", "c failed"]
    assert bench.journal.flush() is False


def test_a_step_that_failed_may_be_added_again_and_is_committed(bench: Bench) -> None:
    [work] = bench.add("a")
    work.again = True
    bench.store.refusals = [StoreError("broken")]
    bench.happened.clear()
    while bench.journal.flush():
        pass
    assert bench.happened == ["refused", "a failed", "commit 1", "a committed", "told"]
    assert isinstance(work.outcome, Committed)


def test_while_the_disk_refuses_the_waits_grow_to_a_bound(bench: Bench) -> None:
    [work] = bench.add("a")
    work.again = True
    bench.store.refusals = [StoreError("broken") for _ in range(8)]
    while bench.journal.flush():
        pass
    assert bench.patience.waits == [0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0]


def test_after_a_commit_succeeds_nothing_waits_any_more(bench: Bench) -> None:
    bench.store.refusals = [StoreError("broken"), StoreError("broken")]
    for name in ("a", "b", "c", "d"):
        bench.add(name)
        bench.journal.flush()
    assert bench.patience.waits == [0.05, 0.1]
    bench.store.refusals = [StoreError("broken")]
    for name in ("e", "f"):
        bench.add(name)
        bench.journal.flush()
    assert bench.patience.waits == [0.05, 0.1, 0.05]


def test_a_journal_in_a_hurry_does_not_wait_and_gives_up(bench: Bench) -> None:
    bench.store.refusals = [StoreError("broken"), StoreError("broken")]
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
    [work] = bench.add("a")
    bench.journal.flush()
    assert isinstance(work.outcome, Committed)
    assert not bench.journal.has_given_up


def test_abandoned_steps_are_told_that_it_was_closed(bench: Bench) -> None:
    works = bench.add("a", "b")
    bench.happened.clear()
    bench.journal.abandon()
    assert bench.happened == ["a failed", "b failed"]
    assert all(isinstance(work.error, ClosedError) for work in works)
    assert bench.journal.flush() is False


def test_abandoning_ends_though_a_step_is_handed_over_again_each_time(bench: Bench) -> None:
    first, _ = bench.add("a", "b")
    first.again = True
    bench.happened.clear()
    bench.journal.abandon()
    assert bench.happened == ["a failed", "b failed"]
    assert not bench.journal.pending


# Checkpoints


def test_positions_that_have_changed_are_written_along_with_steps(bench: Bench) -> None:
    for positions in ({"p": 1, "q": 1}, {"p": 1, "q": 2}, {"p": 1, "q": 2}):
        bench.positions = positions
        bench.add("a")
        bench.journal.flush()
    assert bench.store.checkpoints == [{"p": 1, "q": 1}, {"q": 2}, {}]


def test_positions_of_a_failed_commit_are_written_with_the_next(bench: Bench) -> None:
    bench.positions = {"p": 1}
    bench.store.refusals = [StoreError("broken")]
    bench.add("a")
    bench.journal.flush()
    bench.add("b")
    bench.journal.flush()
    assert bench.store.checkpoints == [{"p": 1}]


def test_positions_are_written_without_a_step_when_someone_asks(bench: Bench) -> None:
    bench.positions = {"p": 9}
    assert bench.journal.flush() is False
    bench.journal.nudge_checkpoints()
    assert bench.journal.flush() is True
    assert bench.store.checkpoints == [{"p": 9}]
    assert bench.journal.flush() is False


def test_the_last_positions_are_written_by_themselves_if_they_changed(bench: Bench) -> None:
    bench.positions = {"p": 9}
    bench.journal.write_checkpoints()
    bench.journal.write_checkpoints()
    assert bench.store.checkpoints == [{"p": 9}]


# Many threads


def test_steps_added_from_many_threads_are_each_committed_once_in_their_order() -> None:
    bench = Bench(largest_commit=7)
    threads = 4
    works = [[bench.work(f"{t}") for _ in range(300)] for t in range(threads)]
    flushing = threading.Event()

    def add(mine: list[FakeWork]) -> None:
        for work in mine:
            bench.journal.add(work)

    def flush() -> None:
        while not flushing.is_set() or bench.journal.pending:
            bench.journal.flush()

    adders = [threading.Thread(target=add, args=(mine,)) for mine in works]
    flushers = [threading.Thread(target=flush) for _ in range(2)]
    for thread in (*adders, *flushers):
        thread.start()
    for thread in adders:
        thread.join()
    flushing.set()
    for thread in flushers:
        thread.join()

    committed = [id(step) for steps in bench.store.commits for step in steps]
    assert len(committed) == len(set(committed)) == threads * 300
    place = {step: number for number, step in enumerate(committed)}
    for mine in works:
        places = [place[id(work.step)] for work in mine]
        assert places == sorted(places)
