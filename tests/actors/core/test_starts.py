"""How a process begins and ends: starts, what comes too early, completion, another run."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from procession import (
    Aggregate,
    Command,
    Domain,
    Event,
    Indexed,
    ProcessManager,
    Runtime,
    handle,
    timeout,
)
from procession.store import LmdbStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from procession.queries.views import InstanceView
    from procession.testing import VirtualClock


class Ordered(Event):
    order_id: str


class Paid(Event):
    order_id: str
    amount: int = 1


class Shipped(Event):
    order_id: str


class Closed(Event):
    order_id: str


def go(runtime: Runtime, *events: Event) -> None:
    """Publish events and let everything happen that they cause."""
    runtime.publish_many(events, stream="feed::x-1")
    runtime.settle(timeout=20)


def look(runtime: Runtime, cls: type[ProcessManager], name: str = "o1") -> InstanceView:
    view = runtime.get(cls, name)
    assert view is not None
    return view


# Starts

trade = Domain("trade")


@trade.register
class Either(ProcessManager, correlate="order_id"):
    """Whichever comes first starts it."""

    log: list[str] = []

    # What a test wants to happen in a handler.
    hook: ClassVar[Any] = None

    @handle(Ordered, start=True)
    def on_ordered(self, event: Ordered) -> None:
        self.log.append("ordered")
        if Either.hook is not None:
            Either.hook(self)

    @handle(Paid, start=True)
    def on_paid(self, event: Paid) -> None:
        self.log.append("paid")

    @handle(Shipped)
    def on_shipped(self, event: Shipped) -> None:
        self.log.append("shipped")


@pytest.fixture(autouse=True)
def no_hook() -> Iterator[None]:
    yield
    Either.hook = None


@pytest.mark.parametrize("first", [Ordered("o1"), Paid("o1")])
def test_whichever_start_comes_first_starts_and_the_other_is_an_ordinary_step(
    first: Event,
) -> None:
    second = Paid("o1") if isinstance(first, Ordered) else Ordered("o1")
    with Runtime.ephemeral(trade) as runtime:
        go(runtime, first, second, Shipped("o1"))
        names = [type(event).__name__.lower() for event in (first, second)]
        assert look(runtime, Either).state == {"log": [*names, "shipped"]}
        assert look(runtime, Either).version == 3


def test_a_start_that_fails_starts_nothing_and_starts_when_it_is_tried_again() -> None:
    def fail(process: Either) -> None:
        raise ValueError("not yet")

    Either.hook = fail
    with Runtime.ephemeral(trade) as runtime:
        go(runtime, Ordered("o1"), Paid("o1"), Shipped("o1"))
        assert look(runtime, Either).version == 0
        Either.hook = None
        [parked] = runtime.parked()
        runtime.retry(parked.id)
        runtime.settle(timeout=10)
        assert look(runtime, Either).state == {"log": ["ordered", "paid", "shipped"]}


def test_a_start_that_is_delivered_again_after_a_restart_runs_once(tmp_path: Path) -> None:
    with Runtime(tmp_path, trade) as runtime:
        go(runtime, Ordered("o1"), Paid("o1"))
    for _ in range(2):
        with LmdbStore(tmp_path) as store:
            store.commit([], {"trade.Either": 0})
        with Runtime(tmp_path, trade) as runtime:
            runtime.settle(timeout=10)
            assert look(runtime, Either).state == {"log": ["ordered", "paid"]}
            assert look(runtime, Either).version == 2


strict = Domain("strict")


@strict.register
class Once(ProcessManager, correlate="order_id", restart=True):
    log: list[str] = []

    @handle(Ordered, start="only")
    def on_ordered(self, event: Ordered) -> None:
        self.log.append("ordered")

    @handle(Paid)
    def on_paid(self, event: Paid) -> None:
        self.log.append("paid")

    @handle(Closed, end=True)
    def on_closed(self, event: Closed) -> None: ...


def test_a_second_start_only_of_a_live_instance_is_parked_and_does_not_suspend_it() -> None:
    with Runtime.ephemeral(strict) as runtime:
        go(runtime, Ordered("o1"), Ordered("o1"), Paid("o1"))
        assert look(runtime, Once).state == {"log": ["ordered", "paid"]}
        assert look(runtime, Once).status == "running"
        [parked] = runtime.parked()
        assert parked.instance == "o1"
        assert parked.error == (
            "procession.errors.AlreadyStarted: strict.Once 'o1' is running, and on_ordered only "
            "starts: this strict.Ordered.v1 would start it a second time; skip it, or write "
            "start=True"
        )
        runtime.skip(parked.id)
        go(runtime, Paid("o1"))
        assert look(runtime, Once).state == {"log": ["ordered", "paid", "paid"]}


def test_a_start_only_after_the_end_begins_a_new_run() -> None:
    with Runtime.ephemeral(strict) as runtime:
        go(runtime, Ordered("o1"), Closed("o1"), Ordered("o1"), Paid("o1"))
        assert list(runtime.parked()) == []
        assert look(runtime, Once).state == {"log": ["ordered", "paid"]}
        assert look(runtime, Once).version == 4


def test_a_parked_second_start_is_not_parked_again_after_a_restart(tmp_path: Path) -> None:
    with Runtime(tmp_path, strict) as runtime:
        go(runtime, Ordered("o1"), Ordered("o1"))
    with LmdbStore(tmp_path) as store:
        store.commit([], {"strict.Once": 0})
    with Runtime(tmp_path, strict) as runtime:
        runtime.settle(timeout=10)
        assert len(list(runtime.parked())) == 1
        go(runtime, Paid("o1"))
        assert look(runtime, Once).state == {"log": ["ordered", "paid"]}


# What comes too early


def early_domain(early: str, **options: Any) -> tuple[Domain, type[ProcessManager]]:
    domain = Domain("early")

    @domain.register
    class Order(ProcessManager, correlate="order_id", early=early, **options):  # type: ignore[arg-type]
        log: list[str] = []
        amounts: list[int] = []
        payment: Indexed[str] = ""

        @handle(Ordered, start=True)
        def on_ordered(self, event: Ordered) -> None:
            self.log.append("ordered")

        @handle(Paid)
        def on_paid(self, event: Paid) -> None:
            self.log.append("paid")
            self.amounts.append(event.amount)

        @handle(Shipped)
        def on_shipped(self, event: Shipped) -> None:
            self.log.append("shipped")

        @handle(Closed, end=True)
        def on_closed(self, event: Closed) -> None: ...

    return domain, Order


def test_an_event_before_the_start_is_skipped_and_counted_if_nothing_else_is_said() -> None:
    domain, order = early_domain("skip")
    with Runtime.ephemeral(domain) as runtime:
        go(runtime, Paid("o1"), Shipped("o1"))
        assert runtime.stats()["skipped_early"] == 2
        assert runtime.get(order, "o1") is None
        go(runtime, Ordered("o1"))
        assert look(runtime, order).state["log"] == ["ordered"]


def test_held_events_are_handled_in_order_right_after_the_start() -> None:
    domain, order = early_domain("hold")
    with Runtime.ephemeral(domain) as runtime:
        go(runtime, Paid("o1", 1), Shipped("o1"), Paid("o2"), Paid("o1", 2))
        assert runtime.stats()["held"] == 4
        assert runtime.stats()["transitions"] == 0
        go(runtime, Ordered("o1"), Paid("o1", 3))
        found = look(runtime, order)
        assert found.state["log"] == ["ordered", "paid", "shipped", "paid", "paid"]
        assert found.state["amounts"] == [1, 2, 3]
        assert (found.version, found.status) == (5, "running")
        assert list(runtime.parked()) == []


def test_an_instance_that_only_holds_events_has_not_begun() -> None:
    domain, order = early_domain("hold")
    with Runtime.ephemeral(domain) as runtime:
        go(runtime, Paid("o1"))
        view = runtime.get(order, "o1")
        assert view is None or (view.version == 0 and view.status != "suspended")


def test_held_events_are_kept_across_a_restart(tmp_path: Path) -> None:
    domain, order = early_domain("hold")
    with Runtime(tmp_path, domain) as runtime:
        go(runtime, Paid("o1", 1), Paid("o1", 2))
    with Runtime(tmp_path, domain) as runtime:
        go(runtime, Paid("o1", 3))
    with LmdbStore(tmp_path) as store:
        store.commit([], {"early.Order": 0})
    with Runtime(tmp_path, domain) as runtime:
        go(runtime, Ordered("o1"), Paid("o1", 4))
        assert look(runtime, order).state["amounts"] == [1, 2, 3, 4]


def test_held_events_are_kept_when_the_instance_is_passivated(clock: VirtualClock) -> None:
    domain, order = early_domain("hold", idle_timeout=timedelta(minutes=1))
    with Runtime.ephemeral(domain, clock=clock) as runtime:
        go(runtime, Paid("o1", 1), Paid("o1", 2))
        clock.advance(timedelta(minutes=2))
        assert runtime.stats()["awake"] == 0
        go(runtime, Ordered("o1"))
        assert look(runtime, order).state["amounts"] == [1, 2]


@pytest.mark.parametrize("count", [63, 64, 65, 128, 700])
def test_several_hundred_held_events_are_all_handled_in_order(count: int) -> None:
    domain, order = early_domain("hold")
    with Runtime.ephemeral(domain) as runtime:
        go(runtime, *(Paid("o1", number) for number in range(count)))
        go(runtime, Ordered("o1"), *(Paid("o1", count + number) for number in range(100)))
        assert look(runtime, order).state["amounts"] == list(range(count + 100))
        go(runtime, Shipped("o1"))
        assert look(runtime, order).state["log"][-1] == "shipped"


@pytest.mark.parametrize("count", [0, 1, 3, 63, 64, 65, 300])
def test_held_events_wait_for_a_start_that_fails_and_is_tried_again(count: int) -> None:
    domain = Domain("early")
    failing = True

    @domain.register
    class Order(ProcessManager, correlate="order_id", early="hold"):
        log: list[int] = []

        @handle(Ordered, start=True)
        def on_ordered(self, event: Ordered) -> None:
            if failing:
                raise ValueError("not yet")
            self.log.append(-1)

        @handle(Paid)
        def on_paid(self, event: Paid) -> None:
            self.log.append(event.amount)

    with Runtime.ephemeral(domain) as runtime:
        go(runtime, *(Paid("o1", number) for number in range(count)), Ordered("o1"))
        go(runtime, Paid("o1", count), Paid("o1", count + 1))
        assert look(runtime, Order).status == "suspended"
        failing = False
        [parked] = runtime.parked()
        runtime.retry(parked.id)
        runtime.settle(timeout=20)
        assert look(runtime, Order).state["log"] == [-1, *range(count + 2)]
        go(runtime, Paid("o1", 999))
        assert look(runtime, Order).state["log"][-1] == 999
        assert look(runtime, Order).status == "running"


def test_a_held_event_may_teach_a_key_that_the_next_event_is_found_by() -> None:
    domain = Domain("early")

    class Settled(Event):
        payment: str

    class PaymentMade(Event):
        order_id: str
        payment: str

    @domain.register
    class Order(ProcessManager, correlate="order_id", early="hold"):
        payment: Indexed[str] = ""
        settled: int = 0

        @handle(Ordered, start=True)
        def on_ordered(self, event: Ordered) -> None: ...

        @handle(PaymentMade)
        def on_payment_made(self, event: PaymentMade) -> None:
            self.payment = event.payment

        @handle(Settled, correlate={"payment": "payment"})
        def on_settled(self, event: Settled) -> None:
            self.settled += 1

    orders = [f"o{number}" for number in range(40)]
    with Runtime.ephemeral(domain) as runtime:
        go(runtime, *(PaymentMade(order, f"p-{order}") for order in orders))
        go(runtime, *(e for one in orders for e in (Ordered(one), Settled(f"p-{one}"))))
        assert [look(runtime, Order, one).state["settled"] for one in orders] == [1] * 40


def test_a_held_event_that_fails_suspends_the_instance_and_keeps_the_rest_in_order() -> None:
    domain = Domain("early")
    failing = True

    @domain.register
    class Order(ProcessManager, correlate="order_id", early="hold"):
        amounts: list[int] = []

        @handle(Ordered, start=True)
        def on_ordered(self, event: Ordered) -> None: ...

        @handle(Paid)
        def on_paid(self, event: Paid) -> None:
            if failing and event.amount == 2:
                raise ValueError("two")
            self.amounts.append(event.amount)

    with Runtime.ephemeral(domain) as runtime:
        go(runtime, *(Paid("o1", number) for number in range(5)), Ordered("o1"), Paid("o1", 5))
        assert look(runtime, Order).state["amounts"] == [0, 1]
        assert look(runtime, Order).status == "suspended"
        failing = False
        [parked] = runtime.parked()
        runtime.retry(parked.id)
        runtime.settle(timeout=10)
        assert look(runtime, Order).state["amounts"] == [0, 1, 2, 3, 4, 5]


def test_what_was_held_for_an_instance_that_ends_at_once_is_skipped() -> None:
    domain = Domain("early")

    @domain.register
    class Order(ProcessManager, correlate="order_id", early="hold"):
        @handle(Ordered, start=True, end=True)
        def on_ordered(self, event: Ordered) -> None: ...

        @handle(Paid)
        def on_paid(self, event: Paid) -> None:
            raise AssertionError("it has ended")

    with Runtime.ephemeral(domain) as runtime:
        go(runtime, Paid("o1"), Paid("o1"), Ordered("o1"))
        assert look(runtime, Order).status == "complete"
        assert runtime.stats()["skipped_complete"] == 2


def test_an_early_event_is_parked_if_that_is_said_and_does_not_suspend() -> None:
    domain, order = early_domain("park")
    with Runtime.ephemeral(domain) as runtime:
        go(runtime, Paid("o1", 7))
        [parked] = runtime.parked()
        assert parked.error == (
            "procession.errors.EarlyEvent: early.Order 'o1' has not started: this early.Paid.v1 "
            "came before its start; retry it when it has, or skip it"
        )
        go(runtime, Ordered("o1"), Shipped("o1"))
        assert look(runtime, order).state["log"] == ["ordered", "shipped"]
        assert look(runtime, order).status == "running"
        runtime.retry(parked.id)
        runtime.settle(timeout=10)
        assert look(runtime, order).state["log"] == ["ordered", "shipped", "paid"]
        assert look(runtime, order).state["amounts"] == [7]


def test_an_early_event_that_is_retried_too_early_is_parked_again() -> None:
    domain, order = early_domain("park")
    with Runtime.ephemeral(domain) as runtime:
        go(runtime, Paid("o1", 7))
        [parked] = runtime.parked()
        runtime.retry(parked.id)
        runtime.settle(timeout=10)
        [again] = runtime.parked()
        assert again.id != parked.id
        go(runtime, Ordered("o1"))
        runtime.retry(again.id)
        runtime.settle(timeout=10)
        assert look(runtime, order).state["amounts"] == [7]
        assert list(runtime.parked()) == []


# The end

ending = Domain("ending")


class Archive(Command):
    order_id: str


class Archived(Event):
    order_id: str


@ending.register
class Files(Aggregate, identity="order_id"):
    @handle(Archive)
    def archive(self, command: Archive) -> Archived:
        return Archived(self.id)


@ending.register
class Order(ProcessManager, correlate="order_id"):
    order_id: str = ""
    paid: int = 0

    runs: ClassVar[list[str]] = []

    @handle(Ordered, start=True)
    def on_ordered(self, event: Ordered) -> None:
        Order.runs.append("ordered")
        self.set_timeout("late", timedelta(hours=1))

    @handle(Paid)
    def on_paid(self, event: Paid) -> None:
        Order.runs.append("paid")
        self.paid += event.amount
        if self.paid >= 10:
            self.mark_as_complete()

    @handle(Closed, end=True)
    def on_closed(self, event: Closed) -> None:
        Order.runs.append("closed")
        self.issue(Archive(self.order_id))

    @timeout("late")
    def on_late(self) -> None:
        Order.runs.append("late")


@ending.register
class Again(ProcessManager, correlate="order_id", restart=True):
    order_id: str = ""
    log: list[str] = []
    key: Indexed[str] = ""

    @handle(Ordered, start=True)
    def on_ordered(self, event: Ordered) -> None:
        self.log.append(f"ordered at {self.version}")
        self.set_timeout("late", timedelta(hours=1))

    @handle(Paid)
    def on_paid(self, event: Paid) -> None:
        self.log.append("paid")
        self.key = f"k{event.amount}"

    @handle(Closed, end=True)
    def on_closed(self, event: Closed) -> None: ...

    @timeout("late")
    def on_late(self) -> None:
        self.log.append("late")


@pytest.fixture(autouse=True)
def no_runs() -> None:
    Order.runs.clear()


@pytest.mark.parametrize("last", [Closed("o1"), Paid("o1", 10)])
def test_after_the_end_events_run_no_code_make_no_transition_and_are_counted(
    last: Event,
) -> None:
    with Runtime.ephemeral(ending) as runtime:
        go(runtime, Ordered("o1"), last)
        assert look(runtime, Order).status == "complete"
        runs, before = list(Order.runs), list(runtime.history(Order, "o1"))
        go(runtime, Paid("o1"), Ordered("o1"), Closed("o1"))
        assert Order.runs == runs
        assert list(runtime.history(Order, "o1")) == before
        # The other process manager takes the second start.
        assert runtime.stats()["skipped_complete"] >= 3
        assert runtime.get(Order, "o1") == look(runtime, Order)


def test_events_after_the_end_are_counted_one_by_one() -> None:
    domain = Domain("ending")
    domain.register(Files, Order)
    with Runtime.ephemeral(domain) as runtime:
        go(runtime, Ordered("o1"), Closed("o1"))
        for count, event in enumerate((Paid("o1"), Ordered("o1"), Closed("o1")), start=1):
            go(runtime, event)
            assert runtime.stats()["skipped_complete"] == count


def test_the_last_step_of_a_process_may_still_issue_commands() -> None:
    with Runtime.ephemeral(ending) as runtime:
        go(runtime, Ordered("o1"), Closed("o1"))
        assert [e.event for e in runtime.events("ending::files")] == [Archived("o1")]


def test_an_instance_that_ends_is_complete_after_a_restart_too(tmp_path: Path) -> None:
    with Runtime(tmp_path, ending) as runtime:
        go(runtime, Ordered("o1"), Closed("o1"))
    with Runtime(tmp_path, ending) as runtime:
        go(runtime, Paid("o1"))
        assert look(runtime, Order).version == 2


def test_a_restart_begins_a_new_run_with_fresh_state_that_continues_the_log() -> None:
    with Runtime.ephemeral(ending) as runtime:
        go(runtime, Ordered("o1"), Paid("o1", 5), Closed("o1"), Paid("o1", 6))
        assert look(runtime, Again).is_complete
        go(runtime, Ordered("o1"), Paid("o1", 7))
        found = look(runtime, Again)
        assert found.state == {"order_id": "o1", "log": ["ordered at 3", "paid"], "key": "k7"}
        assert (found.version, found.status) == (5, "running")
        history = list(runtime.history(Again, "o1"))
        assert [one.version for one in history] == [1, 2, 3, 4, 5]
        assert [one.is_complete for one in history] == [False, False, True, False, False]
        assert history[1].state["log"] == ["ordered at 0", "paid"]


def test_a_new_run_begins_after_a_restart_of_the_program_too(
    tmp_path: Path, clock: VirtualClock
) -> None:
    with Runtime(tmp_path, ending, clock=clock) as runtime:
        go(runtime, Ordered("o1"), Paid("o1", 5), Closed("o1"))
    with Runtime(tmp_path, ending, clock=clock) as runtime:
        go(runtime, Ordered("o1"))
        assert look(runtime, Again).state["log"] == ["ordered at 3"]
        clock.advance(timedelta(hours=2))
        runtime.settle(timeout=10)
        assert look(runtime, Again).state["log"] == ["ordered at 3", "late"]


def test_a_run_that_fails_to_begin_leaves_the_last_one_as_it_was() -> None:
    domain = Domain("ending")
    failing = False

    @domain.register
    class Runs(ProcessManager, correlate="order_id", restart=True):
        count: int = 0

        @handle(Ordered, start=True)
        def on_ordered(self, event: Ordered) -> None:
            self.count += 1
            if failing:
                raise ValueError("no")

        @handle(Closed, end=True)
        def on_closed(self, event: Closed) -> None:
            self.count += 10

    with Runtime.ephemeral(domain) as runtime:
        go(runtime, Ordered("o1"), Closed("o1"))
        failing = True
        go(runtime, Ordered("o1"))
        assert look(runtime, Runs).state == {"count": 11}
        failing = False
        [parked] = runtime.parked()
        runtime.retry(parked.id)
        runtime.settle(timeout=10)
        assert look(runtime, Runs).state == {"count": 1}
        assert not look(runtime, Runs).is_complete


def test_ending_an_instance_that_was_passivated_leaves_no_timer_and_nothing_waiting(
    tmp_path: Path, clock: VirtualClock
) -> None:
    with Runtime(tmp_path, ending, clock=clock, idle_timeout=timedelta(minutes=1)) as runtime:
        go(runtime, Ordered("o1"), Paid("o1"))
        assert [one.name for one in runtime.timeouts(Order)] == ["late"]
        clock.advance(timedelta(minutes=5))
        assert runtime.stats()["awake"] == 0
        go(runtime, Closed("o1"))
        assert list(runtime.timeouts()) == []
        clock.advance(timedelta(hours=2))
        runtime.settle(timeout=10)
        assert "late" not in Order.runs
        assert look(runtime, Order).version == 3
    with LmdbStore(tmp_path) as store:
        assert list(store.scan_timers(1 << 62)) == []
        for process in ("ending.Order", "ending.Again"):
            assert store.read_waiting(process, "o1", 0, 10) == (None, [])
            assert store.last_waiting(process, "o1") == 0


def test_what_waited_behind_a_failure_is_cleared_when_the_retried_step_ends_the_process(
    tmp_path: Path,
) -> None:
    domain = Domain("ending")
    failing = True

    @domain.register
    class Fragile(ProcessManager, correlate="order_id"):
        @handle(Ordered, start=True)
        def on_ordered(self, event: Ordered) -> None: ...

        @handle(Closed, end=True)
        def on_closed(self, event: Closed) -> None:
            if failing:
                raise ValueError("no")

        @handle(Paid)
        def on_paid(self, event: Paid) -> None:
            raise AssertionError("it has ended")

    with Runtime(tmp_path, domain) as runtime:
        go(runtime, Ordered("o1"), Closed("o1"), *(Paid("o1") for _ in range(150)))
        failing = False
        [parked] = runtime.parked()
        runtime.retry(parked.id)
        runtime.settle(timeout=10)
        assert look(runtime, Fragile).status == "complete"
        assert runtime.stats()["skipped_complete"] == 150
    with LmdbStore(tmp_path) as store:
        assert store.read_waiting("ending.Fragile", "o1", 0, 10) == (None, [])
