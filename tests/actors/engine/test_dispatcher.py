"""Many actors on few threads: order, one turn at a time, and what a blocked one holds up."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pykka
import pytest

from procession.engine.dispatcher import SPARE, Dispatcher
from procession.engine.pooled_actor import TURN, PooledActor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENCE = 30
"""Seconds until a test that hangs fails."""


def nothing() -> bool:
    return False


class Pool:
    """A dispatcher, and what went wrong in its actors' turns."""

    def __init__(
        self,
        workers: int,
        on_idle: Callable[[], bool] = nothing,
        of: type[Dispatcher] = Dispatcher,
    ) -> None:
        self.errors: list[tuple[PooledActor, BaseException]] = []
        self.dispatcher = of(
            workers, on_idle, lambda actor, error: self.errors.append((actor, error))
        )

    @contextmanager
    def running(self) -> Iterator[Dispatcher]:
        self.dispatcher.start()
        try:
            yield self.dispatcher
        finally:
            self.dispatcher.stop()

    def settle(self) -> None:
        assert self.dispatcher.wait_quiet(PATIENCE)


@pytest.fixture
def pool() -> Iterator[Pool]:
    """A running pool of two workers, whose actors make no mistakes."""
    made = Pool(2)
    with made.running():
        yield made
    assert made.errors == []


class Recorder(PooledActor):
    """Keeps what it was sent, and answers with it."""

    greeting = "hello"

    def __init__(self, dispatcher: Dispatcher) -> None:
        super().__init__(dispatcher)
        self.seen: list[Any] = []

    def on_receive(self, message: Any) -> Any:
        if isinstance(message, BaseException):
            raise message
        self.seen.append(message)
        return "answer", message

    def double(self, number: int) -> int:
        return 2 * number

    def fail(self) -> None:
        raise ValueError("on purpose")

    def on_stop(self) -> None:
        self.seen.append("stopped")


class Blocked(PooledActor):
    """Waits in its turn until the test lets it go."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        super().__init__(dispatcher)
        self.entered = threading.Event()
        self.gate = threading.Event()
        self.seen: list[Any] = []

    def on_receive(self, message: Any) -> None:
        self.entered.set()
        assert self.gate.wait(PATIENCE)
        self.seen.append(message)


@contextmanager
def blocked(dispatcher: Dispatcher, count: int) -> Iterator[list[Blocked]]:
    """So many actors that are all in the middle of a turn."""
    actors = [Blocked(dispatcher) for _ in range(count)]
    try:
        for actor in actors:
            actor.post("first")
        for actor in actors:
            assert actor.entered.wait(PATIENCE)
        yield actors
    finally:
        for actor in actors:
            actor.gate.set()


# Order, and one turn at a time


def test_an_actor_handles_messages_in_the_order_they_were_sent(pool: Pool) -> None:
    actor = Recorder(pool.dispatcher)
    for number in range(5_000):
        actor.post(number)
    pool.settle()
    assert actor.seen == list(range(5_000))


def test_messages_through_a_reference_and_posted_ones_keep_their_order(pool: Pool) -> None:
    actor = Recorder(pool.dispatcher)
    reference = actor.actor_ref
    for number in range(0, 300, 3):
        actor.post(number)
        reference.tell(number + 1)
        reference.ask(number + 2, block=False)
    pool.settle()
    assert actor.seen == list(range(300))


def test_each_of_several_senders_keeps_its_order_and_nothing_is_lost() -> None:
    pool = Pool(4)
    with pool.running() as dispatcher:
        actor = Recorder(dispatcher)

        def send(sender: int) -> None:
            for number in range(2_000):
                actor.post((sender, number))

        senders = [threading.Thread(target=send, args=(sender,)) for sender in range(4)]
        for thread in senders:
            thread.start()
        for thread in senders:
            thread.join()
        pool.settle()
    for sender in range(4):
        assert [number for who, number in actor.seen if who == sender] == list(range(2_000))
    assert len(actor.seen) == 8_000


def test_an_actor_never_has_two_turns_at_once() -> None:
    class Careful(PooledActor):
        inside = False
        overlaps = 0
        handled = 0

        def on_receive(self, message: Any) -> None:
            self.overlaps += self.inside
            self.inside = True
            self.handled += 1
            if message is not None:
                message.wait(PATIENCE)
            self.inside = False

    pool = Pool(4)
    with pool.running() as dispatcher:
        actors = [Careful(dispatcher) for _ in range(20)]
        gate = threading.Event()
        for round_ in range(200):
            for number, actor in enumerate(actors):
                # A few that block make the lead go from thread to thread.
                actor.post(gate if round_ == 100 and number < 3 else None)
        gate.set()
        pool.settle()
    assert [actor.handled for actor in actors] == [200] * 20
    assert [actor.overlaps for actor in actors] == [0] * 20


def test_an_actor_with_a_full_inbox_lets_others_have_their_turn() -> None:
    order: list[str] = []

    class Named(PooledActor):
        def on_receive(self, message: Any) -> None:
            order.append(message)

    pool = Pool(1)
    busy, other = Named(pool.dispatcher), Named(pool.dispatcher)
    for _ in range(10 * TURN):
        busy.post("busy")
    other.post("other")
    with pool.running():
        pool.settle()
    assert order.index("other") == TURN
    assert len(order) == 10 * TURN + 1


def test_an_actor_may_send_to_itself_and_to_others(pool: Pool) -> None:
    class Countdown(Recorder):
        other: Recorder

        def on_receive(self, message: int) -> None:
            self.seen.append(message)
            if message:
                self.post(message - 1)
                self.other.post(message)

    actor = Countdown(pool.dispatcher)
    actor.other = Recorder(pool.dispatcher)
    actor.post(500)
    pool.settle()
    assert actor.seen == list(range(500, -1, -1))
    assert actor.other.seen == list(range(500, 0, -1))


# Few threads


def test_fifty_thousand_actors_run_on_a_bounded_number_of_threads() -> None:
    threads: set[int] = set()

    class Small(PooledActor):
        total = 0

        def on_receive(self, message: int) -> None:
            threads.add(threading.get_ident())
            self.total += message

    pool = Pool(3)
    before = threading.active_count()
    with pool.running() as dispatcher:
        actors = [Small(dispatcher) for _ in range(50_000)]
        for message in (1, 2):
            for actor in actors:
                actor.post(message)
        pool.settle()
        assert threading.active_count() - before <= 3 * SPARE
    assert threading.active_count() == before
    assert all(actor.total == 3 for actor in actors)
    assert len(threads) <= 3 * SPARE
    assert pool.errors == []


def test_one_worker_is_one_thread_even_when_it_is_blocked() -> None:
    threads: set[int] = set()

    class Here(Recorder):
        def on_receive(self, message: Any) -> None:
            threads.add(threading.get_ident())
            super().on_receive(message)

    pool = Pool(1)
    before = threading.active_count()
    with pool.running() as dispatcher:
        others = [Here(dispatcher) for _ in range(1_000)]
        with blocked(dispatcher, 1):
            for other in others:
                other.post(1)
            assert threading.active_count() == before + 1
            assert not any(other.seen for other in others)
        pool.settle()
    assert all(other.seen == [1] for other in others)
    assert len(threads) == 1


def test_threads_are_bounded_even_when_all_are_blocked() -> None:
    pool = Pool(2)
    before = threading.active_count()
    with pool.running() as dispatcher, blocked(dispatcher, 2 * SPARE) as actors:
        late = Recorder(dispatcher)
        late.post("late")
        # And one that watches.
        assert threading.active_count() - before == 2 * SPARE + 1
        assert late.seen == []
        for actor in actors:
            actor.gate.set()
        pool.settle()
        assert late.seen == ["late"]


# What a blocked actor holds up


def test_a_blocked_actor_does_not_stop_others(pool: Pool) -> None:
    with blocked(pool.dispatcher, 1) as [actor]:
        others = [Recorder.start(pool.dispatcher) for _ in range(100)]
        for number, other in enumerate(others):
            assert other.ask(number, timeout=PATIENCE) == ("answer", number)
        assert actor.seen == []
    pool.settle()
    assert actor.seen == ["first"]


def test_more_blocked_actors_than_workers_do_not_stop_others(pool: Pool) -> None:
    with blocked(pool.dispatcher, 10) as actors:
        other = Recorder.start(pool.dispatcher)
        assert other.ask("still here", timeout=PATIENCE) == ("answer", "still here")
        assert all(actor.seen == [] for actor in actors)
    pool.settle()
    assert all(actor.seen == ["first"] for actor in actors)


def test_a_blocked_actor_keeps_its_messages_in_order(pool: Pool) -> None:
    with blocked(pool.dispatcher, 1) as [actor]:
        for message in ("second", "third"):
            actor.post(message)
        Recorder.start(pool.dispatcher).ask("meanwhile", timeout=PATIENCE)
        assert actor.seen == []
    pool.settle()
    assert actor.seen == ["first", "second", "third"]


def test_others_go_on_however_often_actors_have_been_blocked_before(pool: Pool) -> None:
    other = Recorder.start(pool.dispatcher)
    for count in (1, 4, 1, 4, 10, 1):
        pool.settle()
        with blocked(pool.dispatcher, count):
            assert other.ask(count, timeout=PATIENCE) == ("answer", count)


def test_a_thread_that_was_blocked_goes_on_working_afterwards(pool: Pool) -> None:
    for _ in range(3):
        with blocked(pool.dispatcher, 4):
            pass
        pool.settle()
    actors = [Recorder(pool.dispatcher) for _ in range(100)]
    for actor in actors:
        actor.post("x")
    pool.settle()
    assert all(actor.seen == ["x"] for actor in actors)


class Watched(Dispatcher):
    """Counts the looks at the leader while an actor is in the middle of a turn."""

    def __init__(self, workers: int, *arguments: Any) -> None:
        super().__init__(workers, *arguments)
        self.actor: Blocked | None = None
        self.looks = threading.Semaphore(0)

    @property
    def is_in_part(self) -> bool:
        if self.actor is not None and self.actor.entered.is_set():
            self.looks.release()
        return super().is_in_part


class Part(Blocked):
    is_part = True


def test_a_part_of_the_engine_keeps_the_lead_in_a_long_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("procession.engine.leader_watch.LONG_TURN", float("inf"))
    pool = Pool(2, of=Watched)
    dispatcher = pool.dispatcher
    assert isinstance(dispatcher, Watched)
    with pool.running():
        # Once a handler has blocked, the leader is looked at more often.
        with blocked(dispatcher, 1):
            Recorder.start(dispatcher).ask("x", timeout=PATIENCE)
        pool.settle()
        other, dispatcher.actor = Recorder(dispatcher), Part(dispatcher)
        dispatcher.actor.post("first")
        assert dispatcher.actor.entered.wait(PATIENCE)
        other.post("behind it")
        for _ in range(5):
            assert dispatcher.looks.acquire(timeout=PATIENCE)
        assert other.seen == []
        dispatcher.actor.gate.set()
        pool.settle()
        assert other.seen == ["behind it"]


def test_a_part_of_the_engine_that_is_blocked_for_too_long_does_not_stop_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("procession.engine.leader_watch.LONG_TURN", 0.0)
    pool = Pool(2)
    with pool.running() as dispatcher:
        part = Part(dispatcher)
        part.post("first")
        assert part.entered.wait(PATIENCE)
        assert Recorder.start(dispatcher).ask("x", timeout=PATIENCE) == ("answer", "x")
        assert part.seen == []
        part.gate.set()
        pool.settle()
        assert part.seen == ["first"]


# Pykka's references


def test_ask_returns_the_answer(pool: Pool) -> None:
    assert Recorder.start(pool.dispatcher).ask("x", timeout=PATIENCE) == ("answer", "x")


def test_ask_without_blocking_returns_a_future(pool: Pool) -> None:
    reference = Recorder.start(pool.dispatcher)
    futures = [reference.ask(number, block=False) for number in range(10)]
    assert all(isinstance(future, pykka.Future) for future in futures)
    assert pykka.get_all(futures, timeout=PATIENCE) == [("answer", n) for n in range(10)]


@pytest.mark.parametrize("error", [ValueError("bad"), SystemExit(3)])
def test_ask_raises_what_the_actor_raised_and_only_there(pool: Pool, error: Exception) -> None:
    reference = Recorder.start(pool.dispatcher)
    with pytest.raises(type(error)) as caught:
        reference.ask(error, timeout=PATIENCE)
    assert caught.value is error
    assert reference.ask("next", timeout=PATIENCE) == ("answer", "next")


def test_ask_gives_up_when_its_time_has_run_out(pool: Pool) -> None:
    with blocked(pool.dispatcher, 1) as [actor], pytest.raises(pykka.Timeout):
        actor.actor_ref.ask("x", timeout=0)


def test_a_proxy_calls_methods_and_reads_and_writes_attributes(pool: Pool) -> None:
    proxy: Any = Recorder.start(pool.dispatcher).proxy()
    assert proxy.double(21).get(timeout=PATIENCE) == 42
    assert proxy.greeting.get(timeout=PATIENCE) == "hello"
    proxy.greeting = "good-bye"
    assert proxy.greeting.get(timeout=PATIENCE) == "good-bye"


def test_a_proxys_future_raises_what_the_method_raised(pool: Pool) -> None:
    proxy: Any = Recorder.start(pool.dispatcher).proxy()
    with pytest.raises(ValueError, match="on purpose"):
        proxy.fail().get(timeout=PATIENCE)


def test_a_stopped_actor_was_told_and_takes_no_more(pool: Pool) -> None:
    actor = Recorder(pool.dispatcher)
    reference = actor.actor_ref
    reference.tell("x")
    assert reference.is_alive()
    assert reference.stop(timeout=PATIENCE)
    assert actor.seen == ["x", "stopped"]
    assert not reference.is_alive()
    with pytest.raises(pykka.ActorDeadError):
        reference.tell("y")
    with pytest.raises(pykka.ActorDeadError):
        reference.ask("y", timeout=PATIENCE)
    assert not reference.stop(timeout=PATIENCE)


def test_all_references_to_an_actor_are_equal_and_know_its_class(pool: Pool) -> None:
    actor = Recorder(pool.dispatcher)
    assert actor.actor_ref.actor_urn == actor.actor_ref.actor_urn
    assert actor.actor_ref.actor_class is Recorder
    assert Recorder(pool.dispatcher).actor_urn != actor.actor_urn
    assert "Recorder" in str(actor.actor_ref)


def test_pooled_actors_are_in_no_global_registry(pool: Pool) -> None:
    reference = Recorder.start(pool.dispatcher)
    reference.ask("x", timeout=PATIENCE)
    assert reference not in pykka.ActorRegistry.get_all()


# Errors in a turn


@pytest.mark.parametrize("error", [ValueError("bad"), SystemExit(3), KeyboardInterrupt()])
def test_an_error_in_a_turn_is_reported_and_the_worker_lives_on(error: BaseException) -> None:
    pool = Pool(1)
    with pool.running() as dispatcher:
        actor, other = Recorder(dispatcher), Recorder(dispatcher)
        actor.post("before")
        actor.post(error)
        actor.post("after")
        other.post("other")
        pool.settle()
        assert threading.active_count() >= 2
    assert pool.errors == [(actor, error)]
    assert actor.seen == ["before", "after"]
    assert other.seen == ["other"]


def test_errors_of_many_actors_are_all_reported() -> None:
    pool = Pool(2)
    with pool.running() as dispatcher:
        actors = [Recorder(dispatcher) for _ in range(100)]
        for actor in actors:
            actor.actor_ref.tell(ValueError("bad"))
            actor.post("after")
        pool.settle()
    assert {id(actor) for actor, _ in pool.errors} == {id(actor) for actor in actors}
    assert all(actor.seen == ["after"] for actor in actors)


# Being quiet, being idle, stopping


def test_a_dispatcher_without_work_is_quiet(pool: Pool) -> None:
    pool.settle()


def test_a_dispatcher_is_not_quiet_while_an_actor_is_in_its_turn(pool: Pool) -> None:
    with blocked(pool.dispatcher, 1):
        assert not pool.dispatcher.wait_quiet(0)
    pool.settle()


def test_a_dispatcher_is_not_quiet_before_what_waits_is_handled() -> None:
    pool = Pool(1)
    actor = Recorder(pool.dispatcher)
    actor.post("x")
    assert not pool.dispatcher.wait_quiet(0)
    with pool.running():
        pool.settle()
    assert actor.seen == ["x"]


def test_several_threads_may_wait_for_quiet(pool: Pool) -> None:
    answers: list[bool] = []
    with blocked(pool.dispatcher, 1):
        waiting = [
            threading.Thread(target=lambda: answers.append(pool.dispatcher.wait_quiet(PATIENCE)))
            for _ in range(3)
        ]
        for thread in waiting:
            thread.start()
    for thread in waiting:
        thread.join()
    assert answers == [True] * 3


def test_on_idle_runs_once_the_queue_is_empty_and_before_it_is_quiet() -> None:
    pending: list[Any] = []
    done: list[Any] = []

    def commit() -> bool:
        batch, pending[:] = pending[:], []
        done.extend(batch)
        return bool(batch)

    class Worker(PooledActor):
        def on_receive(self, message: Any) -> None:
            pending.append(message)

    pool = Pool(2, on_idle=commit)
    with pool.running() as dispatcher:
        for number in range(200):
            Worker(dispatcher).post(number)
        pool.settle()
        assert sorted(done) == list(range(200))


def test_what_on_idle_wakes_is_handled_before_it_is_quiet() -> None:
    left = [5]

    def on_idle() -> bool:
        if not left[0]:
            return False
        left[0] -= 1
        actor.post(left[0])
        return True

    pool = Pool(2, on_idle=on_idle)
    actor = Recorder(pool.dispatcher)
    with pool.running() as dispatcher:
        dispatcher.nudge()
        pool.settle()
    assert actor.seen == [4, 3, 2, 1, 0]


class Turns:
    """Actors with one message each, and how many were handled when `on_idle` was called."""

    def __init__(self, count: int) -> None:
        self.handled: list[int] = []
        self.seen_by_idle: list[int] = []
        self.pool = Pool(1, on_idle=self._on_idle)
        self.dispatcher = self.pool.dispatcher
        self.after_turn: Callable[[int], None] = lambda number: None
        world = self

        class Worker(PooledActor):
            def on_receive(self, message: int) -> None:
                world.handled.append(message)
                world.after_turn(message)

        for number in range(1, count + 1):
            Worker(self.dispatcher).post(number)

    def _on_idle(self) -> bool:
        # As the journal does when it closes the open commit.
        self.dispatcher.is_commit_due, self.dispatcher.commit_by = False, None
        self.seen_by_idle.append(len(self.handled))
        return False

    def run(self) -> list[int]:
        with self.pool.running():
            self.pool.settle()
        return self.seen_by_idle


def test_on_idle_waits_for_the_end_of_the_queue_when_nothing_is_due() -> None:
    assert Turns(1_000).run() == [1_000]


def test_on_idle_runs_between_turns_when_a_commit_is_due() -> None:
    turns = Turns(1_000)

    def after_turn(number: int) -> None:
        turns.dispatcher.is_commit_due = number in {1, 300}

    turns.after_turn = after_turn
    assert turns.run() == [1, 300, 1_000]


def test_on_idle_runs_between_turns_once_the_time_of_the_commit_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    monkeypatch.setattr("procession.engine.dispatcher.seconds", lambda: now[0])
    turns = Turns(1_000)

    def after_turn(number: int) -> None:
        if number == 5:
            turns.dispatcher.commit_by = now[0] + 0.01
        elif number == 300:
            now[0] += 0.01

    turns.after_turn = after_turn
    assert turns.run() == [300, 1_000]


def test_a_nudge_calls_on_idle_without_any_actor() -> None:
    called = threading.Event()

    def on_idle() -> bool:
        called.set()
        return False

    pool = Pool(2, on_idle=on_idle)
    with pool.running() as dispatcher:
        pool.settle()
        called.clear()
        dispatcher.nudge()
        assert called.wait(PATIENCE)


def test_a_worker_knows_that_it_is_one(pool: Pool) -> None:
    class Asks(PooledActor):
        def on_receive(self, message: Any) -> bool:
            return pool.dispatcher.is_worker

    assert Asks.start(pool.dispatcher).ask("x", timeout=PATIENCE) is True
    assert not pool.dispatcher.is_worker


def test_a_worker_of_one_dispatcher_is_none_of_another(pool: Pool) -> None:
    other = Pool(1)

    class Asks(PooledActor):
        def on_receive(self, message: Any) -> bool:
            return other.dispatcher.is_worker

    with other.running():
        assert Asks.start(pool.dispatcher).ask("x", timeout=PATIENCE) is False


def test_stop_ends_every_thread_after_the_turns_in_hand() -> None:
    pool = Pool(2)
    before = threading.active_count()
    with pool.running() as dispatcher, blocked(dispatcher, 5) as actors:
        stopping = threading.Thread(target=dispatcher.stop)
        stopping.start()
        for actor in actors:
            actor.gate.set()
        stopping.join(PATIENCE)
        assert not stopping.is_alive()
    assert threading.active_count() == before
    assert [actor.seen for actor in actors] == [["first"]] * 5


def test_messages_left_when_it_stops_are_not_handled() -> None:
    pool = Pool(1)
    with pool.running():
        pool.settle()
    actor = Recorder(pool.dispatcher)
    actor.post("too late")
    assert actor.seen == []
    assert not actor.empty()


def test_stopping_twice_is_no_error() -> None:
    pool = Pool(2)
    with pool.running() as dispatcher:
        dispatcher.stop()


def test_what_one_actor_left_to_commit_is_committed_while_the_next_one_is_blocked() -> None:
    pending: list[str] = []
    committed, release = threading.Event(), threading.Event()

    def commit() -> bool:
        if not pending:
            return False
        pending.clear()
        committed.set()
        return True

    class Actor(PooledActor):
        def on_receive(self, message: Any) -> Any:
            if message == "make":
                # Made in the leader's own turn, as steps are: nobody is called for it.
                pending.append("step")
                blocker = Actor(self.dispatcher)
                blocker.envelopes.append("block")
                dispatcher.schedule_locked(blocker)
            else:
                assert release.wait(PATIENCE)

    def fail(actor: PooledActor, error: BaseException) -> None:
        raise error

    dispatcher = Dispatcher(2, commit, fail, has_more=lambda: bool(pending))
    dispatcher.start()
    try:
        Actor(dispatcher).post("make")
        assert committed.wait(PATIENCE), "it waited until the blocked actor was through"
        assert not release.is_set()
        release.set()
        assert dispatcher.wait_quiet(PATIENCE)
    finally:
        release.set()
        dispatcher.stop()


def test_a_worker_that_meets_an_error_of_our_own_says_so_and_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    errors = [RuntimeError("on purpose")]

    def fail_once() -> bool:
        if errors:
            raise errors.pop()
        return False

    pool = Pool(1, fail_once)
    with pool.running() as dispatcher:
        recorder = Recorder(dispatcher)
        recorder.post("first")
        pool.settle()
        assert recorder.seen == ["first"]
    [record] = [one for one in caplog.records if one.levelname == "CRITICAL"]
    assert record.message == "a worker met an error of our own, and goes on"
    assert record.exc_info is not None


def test_a_commit_that_another_thread_closes_meanwhile_is_due_no_more(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Closing(Dispatcher):
        """A dispatcher whose open commit another thread closes just after each look at it."""

        looks = 0

        @property
        def commit_by(self) -> float | None:
            self.looks += 1
            return 0.0 if self.looks % 2 else None

        @commit_by.setter
        def commit_by(self, by: float | None) -> None:
            del by

    pool = Pool(1, of=Closing)
    with pool.running() as dispatcher:
        recorder = Recorder(dispatcher)
        for number in range(4):
            recorder.post(number)
        pool.settle()
    assert recorder.seen == [0, 1, 2, 3]
    assert not caplog.records
