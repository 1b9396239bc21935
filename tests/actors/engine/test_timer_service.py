"""The timer service: nothing fires before it is durable, nothing twice, and nothing is missed.

Below it are a real journal and a real store, on tables in memory; the test gives it its turns, and
hands over what an instance would.
"""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from procession.clock import stopwatch, to_micros
from procession.engine.ahead_reads import AheadReads
from procession.engine.failure_log import FailureLog
from procession.engine.journal import Journal, Waiting
from procession.engine.timers import TimerService
from procession.store import (
    CommandRecord,
    DictionaryEngine,
    Step,
    StepExtras,
    Store,
    StoreError,
    TimerRecord,
)

if TYPE_CHECKING:
    from procession.engine.instance_actor import InstanceMessage
    from procession.testing import VirtualClock

P = "shop.P"
MINUTE = timedelta(minutes=1)


class Bench:
    """A timer service, whose instances do what the test says."""

    def __init__(self, clock: VirtualClock, *, max_in_flight: int = 100) -> None:
        self.clock = clock
        self.store = Store(DictionaryEngine())
        self.messages: dict[tuple[str, str], InstanceMessage] = {}
        self.brought: list[tuple[str, str]] = []
        self.enqueued: list[str] = []
        self.is_known = True
        self.unknown: set[str] = set()
        dispatcher: Any = SimpleNamespace(
            schedule=self._schedule,
            schedule_from_outside=self._schedule,
            nudge=lambda: None,
            turns=0,
            is_commit_due=False,
            commit_by=None,
        )
        self._scheduled: list[Any] = []
        self.journal = Journal(
            self.store,
            dispatcher,
            largest_commit=100,
            waits=False,
            failures=FailureLog(lambda: 0),
            now=lambda: 1,
            published=lambda events: None,
            checkpoints=dict,
            durable=self._durable,
            start_over=self._start_over,
        )
        self.events = SimpleNamespace(last=0)
        # All sleep.
        residency = SimpleNamespace(asleep=list, is_awake=lambda process, instance: False)
        self.routed = 0
        """How far the router of the only process manager is."""
        services: Any = SimpleNamespace(
            dispatcher=dispatcher,
            store=self.store,
            journal=self.journal,
            residency=residency,
            event_buffer=self.events,
            now=stopwatch(clock),
        )
        self.reads = AheadReads(self.store, self.journal)
        self.timers = TimerService(
            services,
            self.reads,
            clock,
            self._deliver,
            lambda process, position: self.routed >= position,
            self._enqueue,
            max_in_flight=max_in_flight,
        )
        self.turn()

    def _durable(self) -> None:
        self.timers.look_after_commit()

    def _start_over(self) -> None:
        self.timers.start_over()

    def _schedule(self, actor: Any) -> None:
        actor.scheduled = True
        self._scheduled.append(actor)

    def _deliver(self, process: str, instance: str, message: InstanceMessage) -> bool:
        del process
        if not self.is_known or instance in self.unknown:
            return False
        stimulus: Any = message.stimulus
        place = instance, stimulus.timer.name
        self.messages[place] = message
        self.brought.append(place)
        return True

    def _enqueue(self, commands: list[CommandRecord]) -> None:
        self.enqueued += [one.command_id for one in commands]

    # What a test does

    def timer(self, name: str, seconds: float = 0, instance: str = "i") -> TimerRecord:
        due = to_micros(self.clock.now()) + int(seconds * 1_000_000)
        return TimerRecord(due, P, instance, name, "timeout")

    def delayed(self, number: int, seconds: float = 0) -> TimerRecord:
        timer = self.timer(f"{P}-i@1.{number}", seconds)
        timer.kind = "command"
        timer.command = CommandRecord(timer.name, "C", "s", 1, b"\x80", "c", None, P, "i", 1)
        return timer

    def set(self, *timers: TimerRecord) -> None:
        """An instance hands over a step that sets timers."""
        with self.journal.lock:
            self.journal.lay(Step(process=P, instance="i", extras=StepExtras(timers=[*timers])))
            self.timers.notice([*timers])

    def cancel(self, *timers: TimerRecord) -> None:
        """An instance hands over a step that cancels timers."""
        with self.journal.lock:
            self.journal.lay(Step(process=P, instance="i", extras=StepExtras(cancel=[*timers])))

    def settle(
        self,
        name: str,
        instance: str = "i",
        *,
        puts_off: bool = False,
        fires: TimerRecord | None = None,
    ) -> None:
        """An instance hands over what came of a timer that it was brought."""
        message = self.messages.pop((instance, name))
        stimulus: Any = message.stimulus
        step = Step(process=P, instance=instance)
        if not puts_off:
            step.extras = StepExtras(due=fires or stimulus.timer)
        decision: Any = SimpleNamespace(is_put_off=puts_off, step=step)
        with self.journal.lock:
            if not puts_off:
                self.journal.lay(step)
            self.timers.done(message, decision)
            self.journal.has_notes = True

    def turn(self) -> list[tuple[str, str]]:
        """Give the timer service its turns, until it wants none; returns what it brought."""
        before = len(self.brought)
        while self.timers.has_work():
            self.timers.work()
        return self.brought[before:]

    def commit(self) -> list[tuple[str, str]]:
        """Close the commit; returns what the timer service brings then."""
        self.journal.flush()
        return self.turn()

    def fail(self) -> list[tuple[str, str]]:
        """As `commit`, with a disk that refuses."""

        def refuse(*_: object) -> None:
            self.store.drop_commit()
            raise StoreError("no room")

        with pytest.MonkeyPatch.context() as patches:
            patches.setattr(self.store, "close_commit", refuse)
            self.journal.flush()
        return self.turn()


@pytest.fixture
def bench(clock: VirtualClock) -> Bench:
    return Bench(clock)


# In which commit


def test_what_is_set_fires_once_the_commit_that_sets_it_is_durable(bench: Bench) -> None:
    bench.set(bench.timer("now"))
    assert bench.turn() == []
    assert bench.commit() == [("i", "now")]


def test_what_is_set_and_cancelled_in_one_commit_never_fires(bench: Bench) -> None:
    timer = bench.timer("now")
    bench.set(timer)
    bench.cancel(timer)
    assert bench.commit() == []
    bench.clock.advance(MINUTE)
    assert bench.turn() == []


def test_what_is_set_for_later_fires_at_its_time(bench: Bench) -> None:
    bench.set(bench.timer("later", 60), bench.timer("last", 3_600))
    assert bench.commit() == []
    bench.clock.advance(timedelta(seconds=59))
    assert bench.turn() == []
    bench.clock.advance(timedelta(seconds=1))
    assert bench.turn() == [("i", "later")]


def test_what_is_set_while_a_commit_is_told_fires_after_the_next_one(bench: Bench) -> None:
    """As a worker does whose handler comes back while another one closes a commit."""

    class Late(Waiting):
        def durable(self) -> None:
            bench.set(bench.timer("now"))

        def failed(self, error: StoreError) -> bool:
            raise AssertionError(error)

    with bench.journal.lock:
        bench.journal.wait(Late())
    assert bench.commit() == [], "it is not durable"
    assert bench.commit() == [("i", "now")]


def test_what_is_set_for_later_while_a_commit_is_told_is_not_missed(bench: Bench) -> None:
    class Late(Waiting):
        def durable(self) -> None:
            bench.set(bench.timer("later", 60))

        def failed(self, error: StoreError) -> bool:
            raise AssertionError(error)

    with bench.journal.lock:
        bench.journal.wait(Late())
    bench.commit()
    bench.commit()
    bench.clock.advance(MINUTE)
    assert bench.turn() == [("i", "later")]


def test_what_fired_is_in_hand_until_that_is_durable(bench: Bench) -> None:
    bench.set(bench.timer("now"))
    bench.commit()
    bench.settle("now")
    # Something else rings, while the row is still there.
    bench.timers.ring()
    assert bench.turn() == []
    assert bench.commit() == []
    bench.timers.ring()
    assert bench.turn() == []


# When the clock is set


def test_what_is_set_after_the_clock_was_set_forward_does_not_wait_for_an_older_alarm(
    bench: Bench,
) -> None:
    bench.set(bench.timer("later", 60))
    assert bench.commit() == []
    # The machine slept for an hour: its alarm has not rung.
    bench.clock._now += 60 * MINUTE
    bench.set(bench.timer("new", 1))
    assert bench.commit() == [("i", "later")]
    bench.clock.advance(timedelta(seconds=1))
    assert bench.turn() == [("i", "new")]


def test_what_fired_before_the_clock_was_set_back_does_not_fire_again(bench: Bench) -> None:
    bench.set(bench.timer("now"), bench.timer("later", 60))
    assert bench.commit() == [("i", "now")]
    bench.settle("now")
    bench.commit()
    bench.clock._now -= 60 * MINUTE
    bench.set(bench.timer("soon", 1))
    assert bench.commit() == []
    bench.clock.advance(MINUTE)
    assert bench.turn() == [("i", "soon")]
    bench.clock.advance(60 * MINUTE)
    assert bench.turn() == [("i", "later")]


# When the commit fails


def test_what_was_set_in_a_commit_that_failed_never_fires(bench: Bench) -> None:
    bench.set(bench.timer("now"))
    assert bench.fail() == []
    assert bench.commit() == []


def test_what_fired_in_a_commit_that_failed_comes_again(bench: Bench) -> None:
    bench.set(bench.timer("now"))
    assert bench.commit() == [("i", "now")]
    bench.settle("now")
    assert bench.fail() == [("i", "now")]
    bench.settle("now")
    assert bench.commit() == []


def test_what_was_in_hand_when_a_commit_failed_comes_again(bench: Bench) -> None:
    bench.set(bench.timer("now"))
    assert bench.commit() == [("i", "now")]
    bench.set(bench.timer("other", 60))
    assert bench.fail() == [("i", "now")]


# Those that are put off


def test_what_is_put_off_comes_again_when_its_instance_goes_on_durably(bench: Bench) -> None:
    bench.set(bench.timer("now"))
    bench.commit()
    bench.settle("now", puts_off=True)
    assert bench.commit() == []
    bench.timers.ring()
    assert bench.turn() == []
    bench.timers.release(P, "i")
    assert bench.turn() == []
    assert bench.commit() == [("i", "now")]


def test_what_is_put_off_and_cancelled_by_what_has_its_instance_go_on_is_gone(
    bench: Bench,
) -> None:
    timer = bench.timer("now")
    bench.set(timer)
    bench.commit()
    bench.settle("now", puts_off=True)
    bench.commit()
    bench.cancel(timer)
    bench.timers.release(P, "i")
    assert bench.turn() == []
    assert bench.commit() == []


def test_an_instance_that_put_nothing_off_has_nobody_look(bench: Bench) -> None:
    bench.timers.release(P, "i")
    assert not bench.journal.has_work


def test_what_is_of_a_process_manager_that_does_not_run_here_stays(bench: Bench) -> None:
    bench.is_known = False
    bench.set(bench.timer("now"))
    assert bench.commit() == []
    bench.timers.ring()
    assert bench.turn() == []
    assert [one.name for _, one in bench.store.scan_timers(1 << 62)] == ["now"]


# Room


def test_no_more_are_in_hand_than_may_be_and_the_others_come_when_these_are_durable(
    clock: VirtualClock,
) -> None:
    bench = Bench(clock, max_in_flight=2)
    names = [(f"i{number}", "now") for number in range(5)]
    bench.set(*(bench.timer("now", place - 9, name) for place, (name, _) in enumerate(names)))
    assert bench.commit() == names[:2]
    for instance, _ in names[:2]:
        bench.settle("now", instance)
    assert bench.turn() == []
    assert bench.commit() == names[2:4]
    for instance, _ in names[2:4]:
        bench.settle("now", instance)
    assert bench.commit() == names[4:]


def test_room_that_comes_while_it_looks_is_taken_up_at_once(
    clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(clock, max_in_flight=2)
    bench.set(bench.timer("now"))
    assert bench.commit() == [("i", "now")]
    others = [(f"i{number}", "now") for number in range(3)]
    bench.set(*(bench.timer("now", place - 9, name) for place, (name, _) in enumerate(others)))
    bench.journal.flush()
    bench.settle("now")
    gather = bench.reads.gather_timers

    def commit_meanwhile(timers: list[TimerRecord]) -> None:
        monkeypatch.undo()
        bench.journal.flush()
        gather(timers)

    monkeypatch.setattr(bench.reads, "gather_timers", commit_meanwhile)
    assert bench.turn() == others[:2]


def test_what_cannot_be_brought_takes_no_room_from_the_others(clock: VirtualClock) -> None:
    bench = Bench(clock, max_in_flight=2)
    bench.unknown = {"i0", "i1", "i2"}
    names = [(f"i{number}", "now") for number in range(6)]
    bench.set(*(bench.timer("now", place - 9, name) for place, (name, _) in enumerate(names)))
    assert bench.commit() == names[3:5]


def test_a_wave_that_is_due_is_asked_for_at_once_with_its_instances(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = bench.store._engine
    asked: list[int] = []

    def noting(name: str) -> None:
        ask = getattr(engine, name)

        def note(*parts: Any) -> Any:
            asked.append(len(parts[-1]))
            return ask(*parts)

        monkeypatch.setattr(engine, name, note)

    names = [f"i{number}" for number in range(5)]
    bench.set(*(bench.timer("now", instance=name) for name in names))
    bench.journal.flush()
    noting("get_many")
    noting("newest")
    assert len(bench.turn()) == 5
    for name in names:
        assert bench.store.ahead.is_new_instance(P, name)
        bench.settle("now", name)
    # The timers, and the instances, which have no transitions.
    assert asked == [5, 5]


# Due at one moment


def test_what_was_brought_comes_again_when_another_of_its_moment_fired_in_its_place(
    bench: Bench,
) -> None:
    timers = {name: bench.timer(name) for name in ("first", "second")}
    bench.set(*timers.values())
    [(_, brought)] = bench.commit()[:1]
    [other] = timers.keys() - {brought}
    bench.messages.pop(("i", other), None)
    bench.settle(brought, fires=timers[other])
    assert (("i", brought)) in bench.commit()


# Commands that were held back


def test_a_command_leaves_for_the_queue_in_the_order_of_its_issue_and_once(bench: Bench) -> None:
    delayed = [bench.delayed(number) for number in (10, 2, 1)]
    bench.set(*delayed)
    bench.commit()
    assert bench.enqueued == [f"{P}-i@1.{number}" for number in (1, 2, 10)]
    bench.timers.ring()
    bench.turn()
    assert len(bench.enqueued) == 3
    bench.commit()
    bench.timers.ring()
    bench.turn()
    assert len(bench.enqueued) == 3
    assert [one.command_id for one in bench.store.read_queue(0, 10)] == bench.enqueued
    assert list(bench.store.scan_timers(1 << 62)) == []


def test_a_command_that_left_in_a_commit_that_failed_leaves_again(bench: Bench) -> None:
    bench.set(bench.delayed(1))
    bench.commit()
    bench.enqueued.clear()
    bench.fail()
    assert bench.enqueued == [f"{P}-i@1.1"]
    bench.commit()
    assert [one.command_id for one in bench.store.read_queue(0, 10)] == bench.enqueued


def test_a_command_that_was_cancelled_before_it_left_never_does(bench: Bench) -> None:
    timer = bench.delayed(1, seconds=60)
    bench.set(timer)
    bench.commit()
    bench.clock.advance(MINUTE)
    # Its instance cancels it in the open commit, before the service has its turn.
    bench.cancel(timer)
    bench.turn()
    assert bench.enqueued == []
    bench.commit()
    assert bench.store.read_queue(0, 10) == []


# The end


def test_a_service_that_is_closed_rings_no_more(bench: Bench) -> None:
    bench.set(bench.timer("later", 60))
    bench.commit()
    bench.timers.close()
    bench.clock.advance(MINUTE)
    assert not bench.timers.has_work()


# What was stored before


def test_what_is_due_waits_until_the_router_is_where_the_log_ended_then_and_no_longer(
    bench: Bench,
) -> None:
    bench.set(bench.timer("now"), bench.timer("later", 60))
    bench.events.last = 5
    bench.commit()
    assert bench.turn() == []
    bench.events.last, bench.routed = 9, 4
    bench.timers.ring()
    assert bench.turn() == []
    # What came after the look does not count.
    bench.routed = 5
    bench.timers.ring()
    assert bench.turn() == [("i", "now")]


def test_what_becomes_due_meanwhile_waits_for_what_is_stored_by_then(
    bench: Bench, clock: VirtualClock
) -> None:
    bench.set(bench.timer("now"), bench.timer("later", 60, instance="j"))
    bench.events.last = 5
    bench.commit()
    assert bench.turn() == []
    clock.advance(timedelta(seconds=60))
    bench.events.last, bench.routed = 9, 5
    bench.timers.ring()
    assert bench.turn() == [("i", "now")]
    bench.routed = 9
    bench.timers.ring()
    assert bench.turn() == [("j", "later")]
