"""After-effects: once all handlers are done, at least once, in order, in nobody's way."""

import shutil
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest

import procession
from procession import (
    Aggregate,
    AlreadyDecided,
    Command,
    DatabaseRefused,
    DefinitionError,
    Domain,
    Event,
    Indexed,
    ProcessManager,
    Retry,
    Runtime,
    StoreFull,
    UnknownMessage,
    WaitingInHandler,
    after,
    apply,
    handle,
    timeout,
)
from procession.store import LmdbStore, Outcome, ParkedRecord, Step
from procession.testing import VirtualClock

WAIT = 20


class Place(Command):
    order: str


class Placed(Event):
    order: str


class Pay(Command):
    order: str
    amount: int


class Paid(Event):
    order: str
    amount: int


class Note(Command):
    order: str


class Noted(Event):
    order: str


shop = Domain("shop")
shop.register(Placed, Noted)

Hook = Callable[[Any, Any], None]


class Hooks:
    """What the tests have handlers and effects do."""

    effect: ClassVar[Hook | None] = None
    ledger: ClassVar[Hook | None] = None
    letter: ClassVar[Hook | None] = None


@shop.register
class Order(Aggregate, identity="order"):
    paid: int = 0

    @handle(Place)
    def place(self, command: Place) -> Placed:
        return Placed(self.id)

    @handle(Pay)
    def pay(self, command: Pay) -> Paid:
        return Paid(self.id, command.amount)

    @handle(Note)
    def note(self, command: Note) -> Noted:
        return Noted(self.id)

    @apply(Paid)
    def _paid(self, event: Paid) -> None:
        self.paid += event.amount


@shop.register
class Fulfilment(
    ProcessManager,
    correlate="order",
    retry=Retry(attempts=3, first=timedelta(minutes=1)),
):
    order: str = ""
    total: int = 0

    @handle(Placed, start=True)
    def begin(self, event: Placed) -> None:
        self.order = event.order

    @handle(Paid)
    def paid(self, event: Paid) -> None:
        self.total += event.amount

    @timeout("late")
    def late(self) -> None:
        raise AssertionError("never set")

    @after(Paid)
    def tell_bank(self, event: Paid) -> None:
        if Hooks.effect is not None:
            Hooks.effect(self, event)


@shop.register
class Ledger(ProcessManager, correlate="order"):
    order: str = ""

    @handle(Placed, start=True)
    def begin(self, event: Placed) -> None:
        pass

    @handle(Paid)
    def paid(self, event: Paid) -> None:
        if Hooks.ledger is not None:
            Hooks.ledger(self, event)


@shop.register
class Letters(ProcessManager, stateless=True):
    @after(Noted)
    def write(self, event: Noted) -> None:
        if Hooks.letter is not None:
            Hooks.letter(self, event)


@pytest.fixture(autouse=True)
def no_hooks() -> Any:
    Hooks.effect = Hooks.ledger = Hooks.letter = None
    yield
    Hooks.effect = Hooks.ledger = Hooks.letter = None


class Recorder:
    """Notes which effects ran; the first ones may be told to fail or to block."""

    def __init__(self, *, failures: int = 0) -> None:
        self.seen: list[tuple[str, int, int]] = []
        self.failures = failures
        self.ran = threading.Event()

    def __call__(self, process: Any, event: Paid) -> None:
        self.seen.append((process.id, event.amount, process.context.attempt))
        self.ran.set()
        if self.failures:
            self.failures -= 1
            raise ConnectionError("the bank does not answer")


def discard(value: object) -> None:
    """For functions whose answer is of no interest."""


def parked_in(runtime: Runtime) -> list[ParkedRecord]:
    return list(runtime._store.scan_parked())


def pay(runtime: Runtime, order: str, *amounts: int) -> None:
    for amount in amounts:
        runtime.ask(Pay(order, amount))


# When


class Held(LmdbStore):
    """A store whose commits wait while the test holds them."""

    may_commit = threading.Event()
    is_held = threading.Event()

    def close_commit(self, checkpoints: Mapping[str, int] | None = None) -> None:
        if not Held.may_commit.is_set():
            Held.is_held.set()
        assert Held.may_commit.wait(WAIT)
        super().close_commit(checkpoints)


def test_an_effect_never_runs_before_its_handlers_step_is_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("procession.runtime.open_store", Held)

    def hold(process: Any, event: Paid) -> None:
        # The command, its event and all that its handlers make are held together.
        Held.may_commit.clear()

    totals: list[int] = []
    durable: list[int] = []

    def effect(process: Any, event: Paid) -> None:
        totals.append(process.total)
        durable.extend(one.state["total"] for one in runtime.history(Fulfilment, "a"))

    Hooks.ledger, Hooks.effect = hold, effect
    Held.may_commit.set()
    Held.is_held.clear()
    with Runtime(tmp_path, shop) as runtime:
        runtime.ask(Place("a"))
        runtime.settle(timeout=WAIT)
        reply = runtime.ask(Pay("a", 5), block=False)
        assert Held.is_held.wait(WAIT)
        assert totals == []
        Held.may_commit.set()
        assert reply.get(timeout=WAIT) == [Paid("a", 5)]
        runtime.settle(timeout=WAIT)
        assert totals == [5], "it saw the state that the handler committed"
        assert durable == [0, 5]


def test_an_effect_runs_after_the_handlers_of_every_process_manager() -> None:
    blocked, release = threading.Event(), threading.Event()
    seen = Recorder()

    def block(process: Any, event: Paid) -> None:
        blocked.set()
        assert release.wait(WAIT)

    Hooks.ledger, Hooks.effect = block, seen
    with Runtime.ephemeral(shop) as runtime:
        runtime.ask(Place("a"))
        pay(runtime, "a", 5)
        assert blocked.wait(WAIT)
        while runtime.get(Fulfilment, "a").version < 2:  # type: ignore[union-attr]
            threading.Event().wait(0.005)
        assert not seen.ran.is_set(), "the other process manager is not done with the event"
        release.set()
        runtime.settle(timeout=WAIT)
        assert seen.seen == [("a", 5, 1)]


def test_settling_waits_for_effects_and_for_what_they_ask_for() -> None:
    entered, release = threading.Event(), threading.Event()

    with Runtime.ephemeral(shop) as runtime:

        def effect(process: Any, event: Paid) -> None:
            entered.set()
            assert release.wait(WAIT)
            runtime.tell(Note(event.order))

        letters: list[str] = []
        Hooks.effect = effect
        Hooks.letter = lambda process, event: letters.append(event.order)
        runtime.ask(Place("a"))
        pay(runtime, "a", 5)
        assert entered.wait(WAIT)
        with pytest.raises(procession.TimedOut):
            runtime.settle(timeout=0.05)
        release.set()
        runtime.settle(timeout=WAIT)
        assert letters == ["a"]


# For whom


def test_an_effect_runs_for_instances_that_exist_only() -> None:
    seen = Recorder()
    Hooks.effect = seen
    with Runtime.ephemeral(shop) as runtime:
        pay(runtime, "nobody", 1)
        runtime.ask(Place("a"))
        pay(runtime, "a", 5)
        runtime.settle(timeout=WAIT)
        assert seen.seen == [("a", 5, 1)]
        assert runtime.stats()["effects"] == 1


def test_a_stateless_process_manager_acts_once_for_each_event_on_a_fresh_object() -> None:
    seen: list[tuple[str, str, int]] = []
    Hooks.letter = lambda process, event: seen.append(
        (event.order, process.id, process.context.position)
    )
    with Runtime.ephemeral(shop) as runtime:
        runtime.ask(Note("a"))
        runtime.ask(Note("b"))
        runtime.settle(timeout=WAIT)
        assert sorted(seen) == [("a", "shop::order-a@1", 1), ("b", "shop::order-b@1", 2)]


def test_an_effect_for_many_instances_and_for_a_completed_one_runs_in_each() -> None:
    class Opened(Event):
        team: str

    class Ended(Event):
        teams: list[str]

    seen: list[tuple[str, bool]] = []
    league = Domain("league")

    @league.register
    class Team(ProcessManager, correlate="team"):
        team: str = ""
        is_over: bool = False

        @handle(Opened, start=True)
        def begin(self, event: Opened) -> None:
            pass

        @handle(Ended, end=True, correlate=lambda event: event.teams)
        def end(self, event: Ended) -> None:
            self.is_over = True

        @after(Ended)
        def shake_hands(self, event: Ended) -> None:
            seen.append((self.id, self.is_over))

    with Runtime.ephemeral(league) as runtime:
        runtime.publish_many([Opened("x"), Opened("y")], stream="feed::one-1")
        runtime.publish(Ended(["x", "y", "z"]), stream="feed::one-1")
        runtime.settle(timeout=WAIT)
        assert sorted(seen) == [("x", True), ("y", True)]


def test_an_event_with_an_effect_and_no_handler_finds_its_instance_by_a_learnt_key() -> None:
    class Opened(Event):
        case: str
        paper: str

    class Stamped(Event):
        paper: str

    seen: list[str] = []
    office = Domain("office")

    @office.register
    class Case(ProcessManager, correlate={"paper": "paper"}):
        case: str = ""
        paper: Indexed[str] = ""

        @handle(Opened, start=True, correlate="case")
        def begin(self, event: Opened) -> None:
            self.paper = event.paper

        @after(Stamped)
        def archive(self, event: Stamped) -> None:
            seen.append(self.id)

    with Runtime.ephemeral(office) as runtime:
        runtime.publish(Opened("c1", "p1"), stream="feed::one-1")
        runtime.publish(Stamped("p1"), stream="feed::one-1")
        runtime.publish(Stamped("p2"), stream="feed::one-1")
        runtime.settle(timeout=WAIT)
        assert seen == ["c1"]


def test_events_of_other_streams_are_not_acted_after() -> None:
    class Rang(Event):
        bell: str

    seen: list[str] = []
    house = Domain("house")

    @house.register
    class Door(ProcessManager, stateless=True, streams=["house::door"]):
        @after(Rang)
        def open(self, event: Rang) -> None:
            seen.append(self.context.stream)

    with Runtime.ephemeral(house) as runtime:
        runtime.publish(Rang("x"), stream="house::phone-1")
        runtime.publish(Rang("x"), stream="house::door-1")
        runtime.settle(timeout=WAIT)
        assert seen == ["house::door-1"]


# In order


def test_effects_of_one_instance_run_in_order_and_never_two_at_once() -> None:
    inside: dict[str, int] = defaultdict(int)
    together: list[str] = []
    seen: dict[str, list[int]] = defaultdict(list)

    def effect(process: Any, event: Paid) -> None:
        inside[process.id] += 1
        if inside[process.id] > 1:
            together.append(process.id)
        seen[process.id].append(process.context.position)
        threading.Event().wait(0.0005)
        inside[process.id] -= 1

    Hooks.effect = effect
    names = [f"o{n}" for n in range(6)]
    # Fewer may be in hand than there are, so that the log is read behind its end.
    with Runtime.ephemeral(shop, effect_threads=8, max_in_flight=4) as runtime:
        for name in names:
            runtime.ask(Place(name))
        runtime.tell_many([Pay(name, n) for n in range(1, 31) for name in names])
        runtime.settle(timeout=WAIT)
        assert together == []
        assert {name: len(found) for name, found in seen.items()} == dict.fromkeys(names, 30)
        assert all(found == sorted(found) for found in seen.values())


def test_effects_of_several_instances_run_at_once() -> None:
    together = threading.Barrier(4)
    Hooks.effect = lambda process, event: discard(together.wait(WAIT))
    with Runtime.ephemeral(shop, effect_threads=4) as runtime:
        for name in "abcd":
            runtime.ask(Place(name))
            pay(runtime, name, 1)
        runtime.settle(timeout=WAIT)
        assert runtime.stats()["effects"] == 4


def test_blocked_effects_hold_up_no_handler_no_caller_and_no_timeout(clock: VirtualClock) -> None:
    class Begun(Event):
        job: str

    blocked = threading.Barrier(3)
    release = threading.Event()
    rang: list[str] = []
    yard = Domain("yard")
    yard.register(Begun)

    @yard.register
    class Job(ProcessManager, correlate="job"):
        job: str = ""

        @handle(Begun, start=True)
        def begin(self, event: Begun) -> None:
            self.set_timeout("late", timedelta(hours=1))

        @timeout("late")
        def late(self) -> None:
            rang.append(self.id)

        @after(Begun)
        def call(self, event: Begun) -> None:
            if not release.is_set():
                blocked.wait(WAIT)
                assert release.wait(WAIT)

    with Runtime.ephemeral(yard, shop, clock=clock, effect_threads=2, workers=1) as runtime:
        runtime.publish_many([Begun("a"), Begun("b")], stream="feed::x-1")
        blocked.wait(WAIT)
        runtime.publish(Begun("c"), stream="feed::x-1")
        assert runtime.ask(Place("x"), timeout=WAIT) == [Placed("x")]
        runtime.tell(Pay("x", 3))
        while runtime.stats()["transitions"] < 6:
            threading.Event().wait(0.005)
        clock.advance(timedelta(hours=2), settle=False)
        while len(rang) < 3:
            threading.Event().wait(0.005)
        release.set()
        runtime.settle(timeout=WAIT)
        assert sorted(rang) == ["a", "b", "c"]
        assert runtime.stats()["effects"] == 4


# After a crash, and after none


def test_an_effect_that_a_crash_cut_off_runs_again(tmp_path: Path) -> None:
    blocked, release = threading.Event(), threading.Event()

    def block(process: Any, event: Paid) -> None:
        if event.amount == 2:
            blocked.set()
            assert release.wait(WAIT)

    Hooks.effect = block
    with Runtime(tmp_path / "store", shop) as runtime:
        runtime.ask(Place("a"))
        pay(runtime, "a", 1)
        runtime.settle(timeout=WAIT)
        pay(runtime, "a", 2, 3)
        assert blocked.wait(WAIT)
        while runtime.get(Fulfilment, "a").version < 4:  # type: ignore[union-attr]
            threading.Event().wait(0.005)
        # What a crash would leave behind now.
        (tmp_path / "crashed").mkdir()
        shutil.copy(tmp_path / "store" / "data.mdb", tmp_path / "crashed" / "data.mdb")
        release.set()
    seen = Recorder()
    Hooks.effect = seen
    with Runtime(tmp_path / "crashed", shop) as runtime:
        runtime.settle(timeout=WAIT)
        assert seen.seen == [("a", 2, 1), ("a", 3, 1)]


def test_that_an_effect_is_done_is_on_disk_soon_though_nothing_else_is_committed(
    tmp_path: Path,
) -> None:
    seen = Recorder()
    Hooks.effect = seen
    with Runtime(tmp_path / "store", shop) as runtime:
        runtime.ask(Place("a"))
        pay(runtime, "a", 1)
        runtime.settle(timeout=WAIT)
        (tmp_path / "crashed").mkdir()
        shutil.copy(tmp_path / "store" / "data.mdb", tmp_path / "crashed" / "data.mdb")
    with Runtime(tmp_path / "crashed", shop) as runtime:
        runtime.settle(timeout=WAIT)
        assert len(seen.seen) == 1


def test_an_effect_that_is_done_does_not_run_again_after_a_restart(tmp_path: Path) -> None:
    seen = Recorder()
    Hooks.effect = seen
    with Runtime(tmp_path, shop) as runtime:
        runtime.ask(Place("a"))
        pay(runtime, "a", 1, 2)
        runtime.settle(timeout=WAIT)
    for _ in range(2):
        with Runtime(tmp_path, shop) as runtime:
            runtime.settle(timeout=WAIT)
    assert [amount for _, amount, _ in seen.seen] == [1, 2]


def test_closing_finishes_the_effect_that_runs_and_leaves_the_rest_to_the_next_run(
    tmp_path: Path,
) -> None:
    entered, release, closing = threading.Event(), threading.Event(), threading.Event()
    done: list[int] = []

    def effect(process: Any, event: Paid) -> None:
        entered.set()
        assert release.wait(WAIT)
        done.append(event.amount)

    Hooks.effect = effect
    runtime = Runtime(tmp_path, shop)
    runtime.ask(Place("a"))
    pay(runtime, "a", 1, 2)
    assert entered.wait(WAIT)

    def close() -> None:
        closing.set()
        runtime.close()

    closer = threading.Thread(target=close)
    closer.start()
    assert closing.wait(WAIT)
    assert runtime._running is not None
    while not runtime._running.effects.is_closed:
        threading.Event().wait(0.005)
    assert closer.is_alive()
    release.set()
    closer.join(WAIT)
    assert not closer.is_alive()
    assert done == [1]
    with Runtime(tmp_path, shop) as runtime:
        runtime.settle(timeout=WAIT)
    assert done == [1, 2]


def test_an_effect_that_fails_since_the_runtime_is_closing_is_not_parked(tmp_path: Path) -> None:
    entered, release = threading.Event(), threading.Event()
    errors: list[BaseException] = []
    runtime = Runtime(tmp_path, shop)

    def effect(process: Any, event: Noted) -> None:
        entered.set()
        assert release.wait(WAIT)
        try:
            runtime.ask(Place("a"))
        except procession.ClosedError as error:
            errors.append(error)
            raise

    Hooks.letter = effect
    runtime.ask(Note("a"))
    assert entered.wait(WAIT)
    closer = threading.Thread(target=runtime.close)
    closer.start()
    while not runtime._is_closed:
        threading.Event().wait(0.005)
    assert runtime._running is not None
    while not runtime._running.effects.is_closed:
        threading.Event().wait(0.005)
    release.set()
    closer.join(WAIT)
    assert len(errors) == 1
    seen: list[str] = []
    Hooks.letter = lambda process, event: seen.append(event.order)
    with Runtime(tmp_path, shop) as again:
        again.settle(timeout=WAIT)
        assert seen == ["a"]
        assert parked_in(again) == []


def test_effects_that_are_new_to_a_process_manager_leave_the_past_alone(tmp_path: Path) -> None:
    class Sent(Event):
        order: str

    seen: list[int] = []

    def build(*, with_effect: bool) -> Domain:
        post = Domain("post")

        class Parcel(ProcessManager, correlate="order"):
            order: str = ""

            @handle(Sent, start=True)
            def begin(self, event: Sent) -> None:
                pass

            if with_effect:

                @after(Sent)
                def write(self, event: Sent) -> None:
                    seen.append(self.context.position)

        post.register(Parcel)
        return post

    with Runtime(tmp_path, build(with_effect=False)) as runtime:
        runtime.publish(Sent("a"), stream="post::parcel-a")
        runtime.settle(timeout=WAIT)
    for order in "bc":
        with Runtime(tmp_path, build(with_effect=True)) as runtime:
            runtime.publish(Sent(order), stream="post::parcel-b")
            runtime.settle(timeout=WAIT)
    assert seen == [2, 3]


# When it fails


def test_a_failed_effect_is_retried_at_its_time_and_its_instance_waits_for_it(
    clock: VirtualClock,
) -> None:
    seen = Recorder(failures=2)
    Hooks.effect = seen
    with Runtime.ephemeral(shop, clock=clock) as runtime:
        runtime.ask(Place("a"))
        runtime.ask(Place("b"))
        pay(runtime, "a", 1, 2)
        # Waiting for its time counts as settled, and nobody else waits.
        runtime.settle(timeout=WAIT)
        assert seen.seen == [("a", 1, 1)]
        pay(runtime, "b", 9)
        runtime.settle(timeout=WAIT)
        assert seen.seen[1:] == [("b", 9, 1)], "the clock stands still"
        assert runtime.stats()["effects_retried"] == 2
        clock.advance(timedelta(seconds=59))
        runtime.settle(timeout=WAIT)
        assert len(seen.seen) == 2
        clock.advance(timedelta(seconds=1))
        runtime.settle(timeout=WAIT)
        assert sorted(seen.seen[2:]) == [("a", 1, 2), ("a", 2, 1), ("b", 9, 2)]
        assert seen.seen.index(("a", 1, 2)) < seen.seen.index(("a", 2, 1))
        assert runtime.stats()["effects"] == 3
        assert runtime.stats()["effects_parked"] == 0


def test_an_effect_that_waited_for_its_retry_runs_again_after_a_restart(
    tmp_path: Path, clock: VirtualClock
) -> None:
    seen = Recorder(failures=1)
    Hooks.effect = seen
    with Runtime(tmp_path, shop, clock=clock) as runtime:
        runtime.ask(Place("a"))
        pay(runtime, "a", 1)
        runtime.settle(timeout=WAIT)
    with Runtime(tmp_path, shop, clock=clock) as runtime:
        runtime.settle(timeout=WAIT)
    assert seen.seen == [("a", 1, 1), ("a", 1, 1)]


def test_an_effect_that_fails_every_time_is_parked_and_blocks_nobody(
    tmp_path: Path, clock: VirtualClock
) -> None:
    seen = Recorder(failures=3)
    Hooks.effect = seen
    with Runtime(tmp_path, shop, clock=clock) as runtime:
        runtime.ask(Place("a"))
        pay(runtime, "a", 1, 2)
        for _ in range(3):
            runtime.settle(timeout=WAIT)
            clock.advance(timedelta(minutes=2))
        runtime.settle(timeout=WAIT)
        assert seen.seen == [("a", 1, 1), ("a", 1, 2), ("a", 1, 3), ("a", 2, 1)]
        (parked,) = parked_in(runtime)
        assert (parked.process, parked.instance) == ("shop.Fulfilment", "a")
        assert (parked.effect, parked.position, parked.attempts) == ("tell_bank", 2, 3)
        assert (parked.error_type, parked.error_text) == (
            "ConnectionError",
            "the bank does not answer",
        )
        assert not parked.blocks
        view = runtime.get(Fulfilment, "a")
        assert view is not None
        assert (view.status, view.state["total"]) == ("running", 3)
        assert runtime.stats()["effects_parked"] == 1
    with Runtime(tmp_path, shop, clock=clock) as runtime:
        runtime.settle(timeout=WAIT)
        assert len(seen.seen) == 4, "what is parked counts as done"


def test_an_effect_is_parked_behind_the_handler_that_was_parked_for_the_same_event() -> None:
    class Came(Event):
        guest: str

    is_broken = True
    inn = Domain("inn")

    @inn.register
    class Stay(ProcessManager, correlate="guest"):
        guest: str = ""

        @handle(Came, start=True)
        def begin(self, event: Came) -> None:
            if self.version and is_broken:
                raise ValueError("twice")

        @after(Came)
        def greet(self, event: Came) -> None:
            raise ValueError("no voice")

    with Runtime.ephemeral(inn) as runtime:
        runtime.publish(Came("a"), stream="inn::door-1")
        runtime.publish(Came("a"), stream="inn::door-1")
        runtime.settle(timeout=WAIT)
        found = sorted((one.position, one.effect, one.error_text) for one in parked_in(runtime))
        assert found == [(1, "greet", "no voice"), (2, "", "twice")]
        is_broken = False
        (parked,) = (one for one in parked_in(runtime) if not one.effect)
        runtime.retry(parked.number)
        runtime.settle(timeout=WAIT)
        found = sorted((one.position, one.effect, one.error_text) for one in parked_in(runtime))
        assert found == [(1, "greet", "no voice"), (2, "greet", "no voice")]


def test_an_effect_whose_instance_cannot_be_told_is_parked_and_can_be_retried() -> None:
    class Came(Event):
        guest: str

    class Left(Event):
        guest: str

    is_broken = True
    seen: list[str] = []

    def guest(event: Came | Left) -> str:
        if isinstance(event, Left) and is_broken:
            raise LookupError("who?")
        return event.guest

    inn = Domain("inn")

    @inn.register
    class Stay(ProcessManager, correlate=guest):
        @handle(Came, start=True)
        def begin(self, event: Came) -> None:
            pass

        @after(Left)
        def wave(self, event: Left) -> None:
            seen.append(self.id)

    with Runtime.ephemeral(inn) as runtime:
        runtime.publish(Came("a"), stream="inn::door-1")
        runtime.publish(Left("a"), stream="inn::door-1")
        runtime.settle(timeout=WAIT)
        (parked,) = parked_in(runtime)
        assert (parked.instance, parked.effect, parked.error_text) == ("", "wave", "who?")
        with pytest.raises(LookupError, match="who"):
            runtime.retry(parked.number)
        assert parked_in(runtime) == [parked]
        is_broken = False
        runtime.retry(parked.number)
        runtime.settle(timeout=WAIT)
        assert seen == ["a"]
        assert parked_in(runtime) == []


def test_a_parked_effect_can_be_run_again_and_is_parked_again_when_it_fails(
    clock: VirtualClock,
) -> None:
    seen = Recorder(failures=4)
    Hooks.effect = seen
    with Runtime.ephemeral(shop, clock=clock) as runtime:
        runtime.ask(Place("a"))
        pay(runtime, "a", 1)
        for _ in range(3):
            runtime.settle(timeout=WAIT)
            clock.advance(timedelta(minutes=2))
        runtime.settle(timeout=WAIT)
        (first,) = parked_in(runtime)
        runtime.retry(first.number)
        runtime.settle(timeout=WAIT)
        (second,) = parked_in(runtime)
        assert second.number > first.number
        assert (second.attempts, second.effect) == (4, "tell_bank")
        runtime.retry(second.number)
        runtime.settle(timeout=WAIT)
        assert parked_in(runtime) == []
        assert [attempt for _, _, attempt in seen.seen] == [1, 2, 3, 4, 5]
        with pytest.raises(AlreadyDecided, match="retry was decided"):
            runtime.retry(second.number)


def test_a_retry_that_a_crash_cut_off_is_still_parked(tmp_path: Path) -> None:
    entered, release = threading.Event(), threading.Event()

    def fail(process: Any, event: Noted) -> None:
        raise ValueError("no paper")

    def block(process: Any, event: Noted) -> None:
        entered.set()
        assert release.wait(WAIT)

    Hooks.letter = fail
    with Runtime(tmp_path / "store", shop) as runtime:
        runtime.ask(Note("a"))
        runtime.settle(timeout=WAIT)
        (parked,) = parked_in(runtime)
        Hooks.letter = block
        runtime.retry(parked.number, by="ada")
        # Asked for twice, it runs once, and the second operator hears of the first.
        for call in (runtime.retry, runtime.skip):
            with pytest.raises(AlreadyDecided, match=r"retry was decided .* by ada"):
                call(parked.number, by="ben")
        assert entered.wait(WAIT)
        (tmp_path / "crashed").mkdir()
        shutil.copy(tmp_path / "store" / "data.mdb", tmp_path / "crashed" / "data.mdb")
        release.set()
        runtime.settle(timeout=WAIT)
        assert parked_in(runtime) == []
        assert runtime.stats()["effects"] == 1
    with Runtime(tmp_path / "crashed", shop) as runtime:
        runtime.settle(timeout=WAIT)
        assert parked_in(runtime) == [parked]


def test_an_effect_that_nobody_has_any_more_cannot_be_retried() -> None:
    with Runtime.ephemeral(shop) as runtime:
        runtime.ask(Note("a"))
        runtime.settle(timeout=WAIT)
        assert runtime._running is not None
        record = ParkedRecord("gone.Away", "a", "e1", "E", "e", 1, 0, position=1, effect="wave")
        with pytest.raises(UnknownMessage, match=r"gone\.Away has no @after method"):
            runtime._running.effect_feeds.retry(record, ("retry", 0, None))


class Full(LmdbStore):
    """A store whose disk refuses to park, once."""

    refused = threading.Event()
    parks = False

    def hand_over(self, step: Step) -> Outcome:
        self.parks = self.parks or step.park is not None
        return super().hand_over(step)

    def close_commit(self, checkpoints: Mapping[str, int] | None = None) -> None:
        if self.parks and not Full.refused.is_set():
            Full.refused.set()
            self.drop_commit()
            raise StoreFull("no room on the disk, says the test")
        super().close_commit(checkpoints)


def test_an_effect_is_parked_even_if_the_disk_refuses_at_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("procession.runtime.open_store", Full)
    Full.refused.clear()

    def fail(process: Any, event: Noted) -> None:
        raise ValueError("no paper")

    Hooks.letter = fail
    with Runtime(tmp_path, shop) as runtime:
        runtime.ask(Note("a"))
        runtime.settle(timeout=WAIT)
        assert Full.refused.is_set()
        assert [one.error_text for one in parked_in(runtime)] == ["no paper"]


# What an effect may do


@pytest.mark.parametrize(
    ("call", "use"),
    [
        ("set_timeout", lambda process: process.set_timeout("late", timedelta(1))),
        ("cancel_timeout", lambda process: process.cancel_timeout("late")),
        ("cancel", lambda process: process.cancel("c1")),
        ("mark_as_complete", lambda process: process.mark_as_complete()),
    ],
)
def test_what_would_need_a_step_is_refused_in_an_effect_and_the_error_says_why(
    call: str, use: Callable[[Any], None]
) -> None:
    errors: list[str] = []

    def effect(process: Any, event: Paid) -> None:
        try:
            use(process)
        except RuntimeError as error:
            errors.append(str(error))

    Hooks.effect = effect
    with Runtime.ephemeral(shop) as runtime:
        runtime.ask(Place("a"))
        pay(runtime, "a", 1)
        runtime.settle(timeout=WAIT)
        (error,) = errors
        assert error.startswith(f"shop.Fulfilment.tell_bank: self.{call}(")
        assert "came in an @after method" in error
        assert "on disk already" in error
        view = runtime.get(Fulfilment, "a")
        assert view is not None
        assert not view.is_complete
        assert [one.type for one in runtime.events()] == ["shop.Placed.v1", "shop.Paid.v1"]


def test_what_an_effect_would_change_is_refused_since_it_would_not_be_kept() -> None:
    totals: list[int] = []
    errors: list[str] = []

    def effect(process: Any, event: Paid) -> None:
        totals.append(process.total)
        with pytest.raises(AttributeError) as caught:
            process.total = 1_000
        errors.append(str(caught.value))
        with pytest.raises(AttributeError) as caught:
            del process.total
        errors.append(str(caught.value))

    Hooks.effect = effect
    with Runtime.ephemeral(shop) as runtime:
        runtime.ask(Place("a"))
        for amount in (1, 2):
            pay(runtime, "a", amount)
            runtime.settle(timeout=WAIT)
        assert totals == [1, 3]
        where = "shop.Fulfilment.tell_bank:"
        assert errors[0].startswith(f"{where} self.total = 1000 came in an @after method")
        assert errors[1].startswith(f"{where} del self.total came in an @after method")
        view = runtime.get(Fulfilment, "a")
        assert view is not None
        assert view.state["total"] == 3


def test_effects_may_ask_tell_and_publish() -> None:
    replies: list[list[Event]] = []

    with Runtime.ephemeral(shop, workers=1, effect_threads=1) as runtime:

        def effect(process: Any, event: Paid) -> None:
            if event.amount < 3:
                replies.append(runtime.ask(Pay(event.order, event.amount + 1), timeout=WAIT))
                runtime.tell(Note(event.order))
                runtime.publish(Noted("x"), stream="post::note-x")

        Hooks.effect = effect
        runtime.ask(Place("a"))
        pay(runtime, "a", 1)
        runtime.settle(timeout=WAIT)
        assert replies == [[Paid("a", 2)], [Paid("a", 3)]]
        assert runtime.stats()["effects"] == 3 + 4


def test_an_effect_cannot_wait_for_all_effects() -> None:
    errors: list[str] = []

    with Runtime.ephemeral(shop) as runtime:

        def effect(process: Any, event: Noted) -> None:
            for wait in (runtime.settle, runtime.close):
                with pytest.raises(WaitingInHandler, match="@after method") as caught:
                    wait()
                errors.append(str(caught.value).partition("(")[0])

        Hooks.letter = effect
        runtime.ask(Note("a"))
        runtime.settle(timeout=WAIT)
        assert errors == ["settle", "close"]


# What it costs


def test_a_runtime_without_effects_has_no_thread_for_them() -> None:
    plain = Domain("plain")

    @plain.register
    class Plain(ProcessManager, correlate="order"):
        order: str = ""

        @handle(Placed, start=True)
        def begin(self, event: Placed) -> None:
            pass

    with Runtime.ephemeral(plain) as runtime:
        runtime.publish(Placed("a"), stream="plain::x-1")
        runtime.settle(timeout=WAIT)
        names = [thread.name for thread in threading.enumerate()]
        assert not any(name.startswith("procession-effects") for name in names)
        assert runtime._store.checkpoint("after:plain.Plain") == 0


def test_the_threads_of_effects_are_as_many_as_needed_and_end_with_the_runtime() -> None:
    def threads() -> int:
        names = [thread.name for thread in threading.enumerate()]
        return sum(name.startswith("procession-effects") for name in names)

    with Runtime.ephemeral(shop, effect_threads=3) as runtime:
        assert threads() == 0
        for _ in range(10):
            runtime.ask(Note("a"))
            runtime.settle(timeout=WAIT)
        assert 1 <= threads() <= 3
        runtime.tell_many([Note(f"o{n}") for n in range(100)])
        runtime.settle(timeout=WAIT)
        assert threads() <= 3
    assert threads() == 0


def test_no_more_effects_are_in_hand_than_allowed() -> None:
    release = threading.Event()
    Hooks.letter = lambda process, event: discard(release.wait(WAIT))
    with Runtime.ephemeral(shop, max_in_flight=8, effect_threads=2) as runtime:
        runtime.tell_many([Note(f"o{n}") for n in range(100)])
        assert runtime._running is not None
        effects = runtime._running.effects
        while runtime.stats()["events"] < 100:
            threading.Event().wait(0.005)
        assert sum(len(line) for line in effects._lines.values()) <= 8
        release.set()
        runtime.settle(timeout=WAIT)
        assert runtime.stats()["effects"] == 100
        assert effects._lines == {}


def test_a_process_manager_whose_effects_could_never_run_is_refused() -> None:
    class Idle(ProcessManager, correlate="order"):
        order: str = ""

        @after(Placed)
        def write(self, event: Placed) -> None:
            pass

    with pytest.raises(DefinitionError, match=r"write would never run; give it `stateless=True`"):
        Domain("idle").register(Idle)


def test_the_number_of_threads_is_checked(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="effect_threads=0"):
        Runtime(tmp_path / "store", shop, effect_threads=0)


def test_an_effect_for_which_the_store_could_not_be_read_is_tried_again_and_never_parked(
    clock: VirtualClock,
) -> None:
    tried: list[int] = []

    def effect(process: Any, event: Paid) -> None:
        tried.append(process.context.attempt)
        if len(tried) < 6:
            raise DatabaseRefused("the database is away")

    Hooks.effect = effect
    with Runtime.ephemeral(shop, clock=clock) as runtime:
        runtime.ask(Place("a"))
        pay(runtime, "a", 1)
        for _ in range(6):
            runtime.settle(timeout=WAIT)
            clock.advance(timedelta(seconds=1))
        runtime.settle(timeout=WAIT)
        assert tried == [1] * 6
        assert list(runtime.parked(decided=True)) == []
