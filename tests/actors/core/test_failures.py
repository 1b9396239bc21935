"""A handler that fails: nothing of its step is kept, it is tried again, and then set aside."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest

from procession import (
    PARK,
    SKIP,
    Aggregate,
    AlreadyDecided,
    Command,
    Context,
    Domain,
    Event,
    ProcessManager,
    Rejected,
    Retry,
    Runtime,
    UnknownMessage,
    handle,
    timeout,
)
from procession.store import LmdbStore, Step, StepExtras
from procession.testing import VirtualClock

works = Domain("works")


class Began(Event):
    job: str


class Worked(Event):
    job: str
    part: int


class Note(Command):
    job: str
    part: int


class Noted(Event):
    job: str
    part: int


@works.register
class Notes(Aggregate, identity="job"):
    @handle(Note)
    def note(self, command: Note) -> Noted:
        if command.part == 666:
            raise Rejected("that part is cursed")
        if command.part == 777:
            raise ZeroDivisionError("a bug in the aggregate")
        return Noted(self.id, command.part)


class Job(ProcessManager, correlate="job"):
    """Fails at the parts that a test asks it to fail at."""

    job: str = ""
    parts: list[int] = []
    attempts: list[int] = []

    failing: ClassVar[dict[tuple[str, int], int]] = {}
    decide: ClassVar[Any] = None

    @handle(Began, start=True)
    def begin(self, event: Began) -> None:
        self._maybe_fail(0)
        self.set_timeout("late", timedelta(hours=1))

    @handle(Worked)
    def work(self, event: Worked) -> None:
        self.parts.append(event.part)
        self.attempts.append(self.context.attempt)
        self.issue(Note(self.job, event.part))
        self._maybe_fail(event.part)

    @timeout("late")
    def on_late(self) -> None:
        self._maybe_fail(-1)
        self.parts.append(-1)

    def on_error(self, error: Exception, context: Context) -> Any:
        return Job.decide(self, error, context) if Job.decide is not None else None

    def _maybe_fail(self, part: int) -> None:
        left = Job.failing.get((self.id, part), 0)
        if left:
            Job.failing[self.id, part] = left - 1
            raise ValueError(f"part {part} of {self.id}")


@works.register
class Patient(Job, retry=Retry(attempts=4, first=timedelta(seconds=10), factor=2)):
    """Tries again after 10, 20 and 40 seconds."""


hasty = Domain("hasty")
hasty.register(Job, Notes)


@pytest.fixture(autouse=True)
def nothing_fails() -> Iterator[None]:
    Job.failing = {}
    Job.decide = None
    yield
    Job.failing = {}
    Job.decide = None


def feed(runtime: Runtime, job: str, *parts: int) -> None:
    for part in parts:
        event = Began(job) if part == 0 else Worked(job, part)
        runtime.publish(event, stream=f"feed::job-{job}")
    runtime.settle(timeout=10)


def parts_of(runtime: Runtime, job: str, cls: type[Job] = Patient) -> list[int]:
    view = runtime.get(cls, job)
    assert view is not None
    found: list[int] = view.state["parts"]
    return found


def noted(runtime: Runtime) -> list[int]:
    return [e.event.part for e in runtime.events() if isinstance(e.event, Noted)]


def test_a_failed_handler_is_tried_again_after_longer_and_longer_waits(
    clock: VirtualClock,
) -> None:
    Job.failing = {("a", 2): 3}
    with Runtime.ephemeral(works, clock=clock) as runtime:
        feed(runtime, "a", 0, 1, 2, 3)
        for seconds in (10, 20, 40):
            assert parts_of(runtime, "a") == [1]
            clock.advance(timedelta(seconds=seconds - 1))
            runtime.settle(timeout=10)
            assert parts_of(runtime, "a") == [1], "it was tried too early"
            clock.advance(timedelta(seconds=1))
            runtime.settle(timeout=10)
        view = runtime.get(Patient, "a")
        assert view is not None
        assert view.state["parts"] == [1, 2, 3]
        assert view.state["attempts"] == [1, 4, 1]
        assert noted(runtime) == [1, 2, 3], "a failed attempt let a command out"
        assert view.status == "running"
        assert list(runtime.parked()) == []


def test_the_number_of_attempts_survives_a_restart(tmp_path: Path, clock: VirtualClock) -> None:
    Job.failing = {("a", 1): 99}
    for seconds in (0, 10, 20, 40):
        with Runtime(tmp_path, works, clock=clock) as runtime:
            if not seconds:
                feed(runtime, "a", 0, 1)
            clock.advance(timedelta(seconds=seconds))
            runtime.settle(timeout=10)
            parked = list(runtime.parked())
            assert [one.attempts for one in parked] == ([4] if seconds == 40 else [])


def test_a_retry_that_is_due_while_the_program_is_down_is_made_when_it_is_up(
    tmp_path: Path, clock: VirtualClock
) -> None:
    Job.failing = {("a", 1): 1}
    with Runtime(tmp_path, works, clock=clock) as runtime:
        feed(runtime, "a", 0, 1, 2)
    clock.advance(timedelta(days=1))
    with Runtime(tmp_path, works, clock=clock) as runtime:
        runtime.settle(timeout=10)
        # The timeout was due as well; it was set first, and waited for the failed step.
        assert parts_of(runtime, "a") == [1, 2, -1]


def test_what_is_parked_suspends_its_instance_and_nobody_else(clock: VirtualClock) -> None:
    Job.failing = {("a", 2): 1}
    with Runtime.ephemeral(hasty, clock=clock) as runtime:
        feed(runtime, "a", 0, 1, 2, 3, 4)
        feed(runtime, "b", 0, 1, 2, 3, 4)
        view = runtime.get(Job, "a")
        assert view is not None
        assert view.status == "suspended"
        assert view.state["parts"] == [1]
        assert parts_of(runtime, "b", Job) == [1, 2, 3, 4]
        (parked,) = runtime.parked()
        assert parked.process == "hasty.Job"
        assert parked.instance == "a"
        assert parked.cause == "feed::job-a@3"
        assert parked.error == "ValueError: part 2 of a"
        assert parked.attempts == 1
        assert parked.time == clock.now()


def test_retry_handles_it_and_then_what_waited_in_order(clock: VirtualClock) -> None:
    Job.failing = {("a", 2): 1}
    with Runtime.ephemeral(hasty, clock=clock) as runtime:
        feed(runtime, "a", 0, 1, 2, *range(3, 200))
        (parked,) = runtime.parked()
        clock.advance(timedelta(minutes=5))
        runtime.retry(parked.id, by="ada")
        runtime.settle(timeout=10)
        assert parts_of(runtime, "a", Job) == list(range(1, 200))
        assert noted(runtime) == list(range(1, 200))
        view = runtime.get(Job, "a")
        assert view is not None
        assert view.status == "running"
        assert list(runtime.parked()) == []
        (decided,) = runtime.parked(decided=True)
        assert (decided.decision, decided.decided_by) == ("retry", "ada")
        assert decided.decided_at == clock.now()
        feed(runtime, "a", 500)
        assert parts_of(runtime, "a", Job)[-1] == 500


def test_skip_goes_on_without_it(clock: VirtualClock) -> None:
    Job.failing = {("a", 2): 1}
    with Runtime.ephemeral(hasty, clock=clock) as runtime:
        feed(runtime, "a", 0, 1, 2, 3, 4)
        (parked,) = runtime.parked()
        runtime.skip(parked.id)
        runtime.settle(timeout=10)
        assert parts_of(runtime, "a", Job) == [1, 3, 4]
        assert noted(runtime) == [1, 3, 4]
        (decided,) = runtime.parked(decided=True)
        assert (decided.decision, decided.decided_by) == ("skip", None)


def test_a_retry_that_fails_parks_it_again(clock: VirtualClock) -> None:
    Job.failing = {("a", 2): 2}
    with Runtime.ephemeral(hasty, clock=clock) as runtime:
        feed(runtime, "a", 0, 1, 2, 3)
        for _ in range(2):
            (parked,) = runtime.parked()
            assert parts_of(runtime, "a", Job) == [1]
            runtime.retry(parked.id)
            runtime.settle(timeout=10)
        assert parts_of(runtime, "a", Job) == [1, 2, 3]


def test_what_is_parked_and_what_waits_survive_a_restart(tmp_path: Path) -> None:
    Job.failing = {("a", 2): 1}
    with Runtime(tmp_path, hasty) as runtime:
        feed(runtime, "a", 0, 1, 2, 3)
    with Runtime(tmp_path, hasty) as runtime:
        feed(runtime, "a", 4)
        view = runtime.get(Job, "a")
        assert view is not None
        assert view.status == "suspended"
        (parked,) = runtime.parked()
        runtime.retry(parked.id)
        runtime.settle(timeout=10)
        assert parts_of(runtime, "a", Job) == [1, 2, 3, 4]
    with Runtime(tmp_path, hasty) as runtime:
        runtime.settle(timeout=10)
        assert parts_of(runtime, "a", Job) == [1, 2, 3, 4]
        assert list(runtime.parked()) == []


def test_a_start_that_fails_can_be_retried(clock: VirtualClock) -> None:
    Job.failing = {("a", 0): 1}
    with Runtime.ephemeral(hasty, clock=clock) as runtime:
        feed(runtime, "a", 0, 1, 2)
        view = runtime.get(Job, "a")
        assert view is not None
        assert (view.version, view.status) == (0, "suspended")
        (parked,) = runtime.parked()
        runtime.retry(parked.id)
        runtime.settle(timeout=10)
        assert parts_of(runtime, "a", Job) == [1, 2]


def test_a_start_that_fails_is_tried_again_by_itself(clock: VirtualClock) -> None:
    Job.failing = {("a", 0): 1}
    with Runtime.ephemeral(works, clock=clock) as runtime:
        feed(runtime, "a", 0, 1, 2)
        clock.advance(timedelta(seconds=10))
        runtime.settle(timeout=10)
        assert parts_of(runtime, "a") == [1, 2]


def test_a_timeout_that_fails_is_tried_again(clock: VirtualClock) -> None:
    Job.failing = {("a", -1): 2}
    with Runtime.ephemeral(works, clock=clock) as runtime:
        feed(runtime, "a", 0, 1)
        clock.advance(timedelta(hours=1))
        runtime.settle(timeout=10)
        feed(runtime, "a", 2)
        assert parts_of(runtime, "a") == [1]
        for _ in range(2):
            clock.advance(timedelta(minutes=1))
            runtime.settle(timeout=10)
        assert sorted(parts_of(runtime, "a")) == [-1, 1, 2]
        assert list(runtime.timeouts()) == []


def test_a_timeout_that_was_parked_is_retried_or_skipped(clock: VirtualClock) -> None:
    Job.failing = {("a", -1): 1, ("b", -1): 1}
    with Runtime.ephemeral(hasty, clock=clock) as runtime:
        feed(runtime, "a", 0)
        feed(runtime, "b", 0)
        clock.advance(timedelta(hours=1))
        runtime.settle(timeout=10)
        feed(runtime, "a", 1)
        feed(runtime, "b", 1)
        first, second = sorted(runtime.parked(), key=lambda one: one.instance)
        assert first.cause == "timeout:late"
        runtime.retry(first.id)
        runtime.skip(second.id)
        runtime.settle(timeout=10)
        assert sorted(parts_of(runtime, "a", Job)) == [-1, 1]
        assert parts_of(runtime, "b", Job) == [1]
        assert list(runtime.timeouts()) == []


def test_on_error_decides_for_one_error(clock: VirtualClock) -> None:
    Job.failing = {("a", 2): 1, ("a", 3): 1, ("a", 4): 1}
    asked: list[tuple[str, int]] = []

    def decide(process: Job, error: Exception, context: Context) -> Any:
        asked.append((str(error), context.attempt))
        part = int(str(error).split()[1])
        return {2: SKIP, 3: Retry(attempts=2, first=timedelta(seconds=1)), 4: PARK}[part]

    Job.decide = decide
    with Runtime.ephemeral(works, clock=clock) as runtime:
        feed(runtime, "a", 0, 1, 2, 3, 4, 5)
        assert parts_of(runtime, "a") == [1]
        clock.advance(timedelta(seconds=1))
        runtime.settle(timeout=10)
        assert parts_of(runtime, "a") == [1, 3]
        assert [one.cause for one in runtime.parked()] == ["feed::job-a@5"]
        assert asked == [("part 2 of a", 1), ("part 3 of a", 1), ("part 4 of a", 1)]
        assert runtime.stats()["skipped_error"] == 1


def test_a_wait_before_a_retry_holds_no_thread_and_no_other_instance(
    clock: VirtualClock,
) -> None:
    Job.failing = {(f"w{n}", 1): 1 for n in range(50)}
    with Runtime.ephemeral(works, clock=clock) as runtime:
        before = threading.active_count()
        for number in range(50):
            runtime.publish(Began(f"w{number}"), stream="feed::job-1")
            runtime.publish(Worked(f"w{number}", 1), stream="feed::job-1")
        feed(runtime, "free", 0, 1)
        assert parts_of(runtime, "free") == [1]
        assert threading.active_count() <= before + 2


def test_a_command_that_its_aggregate_fails_at_is_parked_and_can_be_sent_again() -> None:
    with Runtime.ephemeral(hasty) as runtime:
        feed(runtime, "a", 0, 777, 1)
        assert parts_of(runtime, "a", Job) == [777, 1]
        (parked,) = runtime.parked()
        assert parked.error == "ZeroDivisionError: a bug in the aggregate"
        assert (parked.process, parked.instance) == ("hasty.Job", "a")
        runtime.retry(parked.id)
        runtime.settle(timeout=10)
        (again,) = runtime.parked()
        assert again.id != parked.id
        runtime.skip(again.id)
        assert list(runtime.parked()) == []


def test_deciding_about_what_is_not_parked_is_refused() -> None:
    with Runtime.ephemeral(hasty) as runtime:
        for call in (runtime.retry, runtime.skip):
            with pytest.raises(UnknownMessage, match="nothing is parked under 7"):
                call(7)


def test_a_decision_is_made_once() -> None:
    Job.failing = {("a", 1): 1}
    with Runtime.ephemeral(hasty) as runtime:
        feed(runtime, "a", 0, 1)
        (parked,) = runtime.parked()
        runtime.skip(parked.id, by="ada")
        for call in (runtime.retry, runtime.skip):
            with pytest.raises(AlreadyDecided, match="skip was decided") as caught:
                call(parked.id)
            (decided,) = runtime.parked(decided=True)
            assert caught.value.parked_id == parked.id
            assert (caught.value.decision, caught.value.by) == ("skip", "ada")
            assert caught.value.time == decided.decided_at


@pytest.mark.parametrize(
    "options",
    [{"attempts": 0}, {"first": timedelta(-1)}, {"factor": 0.5}, {"maximum": timedelta(-1)}],
)
def test_a_retry_that_makes_no_sense_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="="):
        Retry(**options)


def test_waits_do_not_grow_beyond_the_maximum() -> None:
    retry = Retry(attempts=2_000, first=timedelta(seconds=1), maximum=timedelta(minutes=1))
    assert retry.wait(1) == timedelta(seconds=1)
    assert retry.wait(3) == timedelta(seconds=4)
    assert retry.wait(1_999) == timedelta(minutes=1)
    assert retry.wait(2_000) is None


def test_a_crash_while_what_waited_is_taken_up_is_made_good_without_another_event(
    tmp_path: Path,
) -> None:
    Job.failing = {("a", 2): 1}
    with Runtime(tmp_path / "store", hasty) as runtime:
        feed(runtime, "a", 0, 1, 2, 3, 4)
        (parked,) = runtime.parked()
        # What the parts before it led to may have come into the log in between.
        (position,) = (one.position for one in runtime.events() if one.event_id == parked.cause)
    # As if the process had died right after the decision was on disk.
    with LmdbStore(tmp_path / "store") as store:
        decided = StepExtras(
            unpark=parked.id,
            decision=("retry", 0, None),
            unblock=True,
            waits=[("hasty.Job", "a", position)],
        )
        store.commit([Step(process="hasty.Job", instance="a", extras=decided)])
    with Runtime(tmp_path / "store", hasty) as runtime:
        runtime.settle(timeout=10)
        assert parts_of(runtime, "a", Job) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "change",
    [
        lambda process: process.issue(Note("a", 9)),
        lambda process: process.set_timeout("late", timedelta(1)),
        lambda process: process.cancel_timeout("late"),
        lambda process: process.mark_as_complete(),
        lambda process: setattr(process, "parts", [9]),
        lambda process: delattr(process, "parts"),
    ],
)
def test_what_on_error_would_change_is_refused_and_the_error_is_parked(
    clock: VirtualClock, change: Any
) -> None:
    def decide(process: Job, error: Exception, context: Context) -> Any:
        change(process)
        return SKIP

    Job.decide, Job.failing = decide, {("a", 2): 1}
    with Runtime.ephemeral(hasty, clock=clock) as runtime:
        feed(runtime, "a", 0, 1, 2)
        (parked,) = runtime.parked()
        assert parked.error.startswith("ValueError: part 2 of a (and on_error failed: ")
        assert "came in on_error, which only says what becomes of an error" in parked.error
        runtime.skip(parked.id)
        runtime.settle(timeout=10)
        assert parts_of(runtime, "a", Job) == [1]
        assert [one.name for one in runtime.timeouts()] == ["late"]


def test_an_on_error_that_fails_itself_parks_the_first_error(clock: VirtualClock) -> None:
    Job.failing = {("a", 1): 1}

    def decide(process: Job, error: Exception, context: Context) -> Any:
        raise RuntimeError("no idea")

    Job.decide = decide
    with Runtime.ephemeral(works, clock=clock) as runtime:
        feed(runtime, "a", 0, 1)
        (parked,) = runtime.parked()
        assert parked.error == (
            "ValueError: part 1 of a (and on_error failed: RuntimeError: no idea)"
        )
