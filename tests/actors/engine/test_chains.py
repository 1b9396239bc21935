"""Chains of steps run to their end inside one commit: the rules, each with the real runtime.

Nothing here depends on how fast the machine is: no commit closes for the time that has passed,
except where a test moves that time itself, and no second thread helps out unless a handler is
blocked for good.
"""

from __future__ import annotations

import threading
from collections import deque
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pykka
import pytest

from procession import (
    Aggregate,
    Command,
    Domain,
    Event,
    InfiniteLoopError,
    ProcessManager,
    Rejected,
    Runtime,
    StoreError,
    after,
    apply,
    handle,
    timeout,
)
from procession.store import LmdbStore
from procession.store.storage_engine import NOTHING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from pathlib import Path

    from procession.store import Outcome, Step, Ticket
    from procession.testing import VirtualClock

WAIT = 30
"""Seconds after which a test has failed; nothing waits for so long."""

FEED = "feed::x-1"

LATE = 1 << 62
"""Microseconds; after everything."""


class Disk(LmdbStore):
    """A store that notes its commits, and holds or refuses them as the test says."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.commits: list[set[str]] = []
        """The tables that each commit wrote or deleted rows of."""
        self.may_commit, self.is_held = threading.Event(), threading.Event()
        self.may_commit.set()
        self.refusals: deque[StoreError] = deque()
        self.broken: Callable[[Step], bool] = lambda step: False
        self.before_commit: Callable[[], None] = lambda: None
        original = self._engine.commit

        def commit(
            puts: Mapping[str, Mapping[bytes, bytes]],
            deletes: Mapping[str, Collection[bytes]],
            rewritten: Mapping[str, Mapping[bytes, bytes]] = NOTHING,
        ) -> Ticket:
            self.commits.append({*puts, *deletes} - {"meta", "names"})
            return original(puts, deletes, rewritten)

        self._engine.commit = commit  # type: ignore[method-assign]

    def hand_over(self, step: Step) -> Outcome:
        if self.broken(step):
            raise RuntimeError("a mistake of ours")
        return super().hand_over(step)

    def close_commit(self, checkpoints: Mapping[str, int] | None = None) -> None:
        self.before_commit()
        if not self.may_commit.is_set():
            self.is_held.set()
            assert self.may_commit.wait(WAIT)
        if self.refusals:
            self.drop_commit()
            raise self.refusals.popleft()
        super().close_commit(checkpoints)

    def hold(self) -> None:
        """From now on no commit comes to its end."""
        self.is_held.clear()
        self.may_commit.clear()


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time by which commits close at the latest; it stands, unless a test moves it."""
    time = [0.0]
    for module in ("journal", "dispatcher"):
        monkeypatch.setattr(f"procession.engine.{module}.seconds", lambda: time[0])
    return time


@contextmanager
def opened(path: Path, domain: Domain, **options: Any) -> Iterator[tuple[Runtime, Disk]]:
    """A runtime with one worker, unless it says otherwise, on a disk that notes its commits."""
    chosen: dict[str, Any] = {"workers": 1, "durability": "none"} | options
    with pytest.MonkeyPatch.context() as patches:
        patches.setattr("procession.runtime.open_store", Disk)
        runtime = Runtime(path, domain, **chosen)
    disk = runtime._store
    assert isinstance(disk, Disk)
    try:
        with runtime:
            yield runtime, disk
    finally:
        disk.may_commit.set()
        for gate in gates.values():
            gate.set()


def settle(runtime: Runtime) -> None:
    runtime.settle(timeout=WAIT)


# A domain: an order with a payment and a parcel


class Place(Command):
    order: str


class Placed(Event):
    order: str


class Pay(Command):
    order: str


class Paid(Event):
    order: str


class Ship(Command):
    order: str


class Shipped(Event):
    order: str


class Poke(Command):
    name: str


class Poked(Event):
    name: str
    times: int


handled: list[str] = []
"""The handlers that ran, in order."""

threads: set[str] = set()
"""Those that they ran in."""

gates: dict[str, threading.Event] = {}
"""By name of a handler: what it waits for."""

reached = threading.Semaphore(0)
"""Released when a handler comes to its gate."""

fails: set[str] = set()
"""Handlers that raise an error."""


def run(name: str) -> None:
    handled.append(name)
    threads.add(threading.current_thread().name)
    if name in gates:
        reached.release()
        assert gates[name].wait(WAIT)
    if name in fails:
        raise ValueError(f"{name} fails")


@pytest.fixture(autouse=True)
def nothing_happened() -> Iterator[None]:
    global reached  # noqa: PLW0603 - the handlers know it
    reached = threading.Semaphore(0)
    for one in (handled, threads, gates, fails):
        one.clear()
    yield
    for gate in gates.values():
        gate.set()


def beside(call: Callable[[], object]) -> None:
    """Have something called in another thread, which ends when its answer is there."""
    threading.Thread(target=call, daemon=True).start()


def gate(name: str) -> threading.Event:
    gates[name] = threading.Event()
    return gates[name]


shop = Domain("chains")


@shop.register
class Order(Aggregate, identity="order"):
    @handle(Place)
    def place(self, command: Place) -> Placed:
        run("place")
        return Placed(self.id)


@shop.register
class Payment(Aggregate, identity="order"):
    @handle(Pay)
    def pay(self, command: Pay) -> Paid:
        run("pay")
        return Paid(self.id)


@shop.register
class Parcel(Aggregate, identity="order"):
    @handle(Ship)
    def ship(self, command: Ship) -> Shipped:
        run("ship")
        return Shipped(self.id)


@shop.register
class Bell(Aggregate, identity="name"):
    """Another aggregate, in nobody's way; it takes no more than two pokes at a time."""

    times: int = 0

    @handle(Poke)
    def poke(self, command: Poke) -> Poked:
        run("poke")
        if self.id == "full" and self.times:
            raise Rejected("it is ringing")
        return Poked(self.id, self.times + 1)

    @apply(Poked)
    def _poked(self, event: Poked) -> None:
        self.times = event.times


@shop.register
class Fulfilment(ProcessManager, correlate="order"):
    order: str = ""
    status: str = "new"

    @handle(Placed, start=True)
    def on_placed(self, event: Placed) -> None:
        run("on_refreshed" if self.context.refreshing else "on_placed")
        self.status = "placed"
        self.issue(Pay(self.id))

    @handle(Paid)
    def on_paid(self, event: Paid) -> None:
        run("on_paid")
        self.status = "paid"
        self.issue(Ship(self.id))

    @handle(Shipped, end=True)
    def on_shipped(self, event: Shipped) -> None:
        run("on_shipped")
        self.status = "shipped"

    @after(Shipped)
    def thank(self, event: Shipped) -> None:
        handled.append("thank")


WHOLE = ["place", "on_placed", "pay", "on_paid", "ship", "on_shipped"]


def status(runtime: Runtime, order: str) -> str | None:
    view = runtime.get(Fulfilment, order)
    return None if view is None else str(view.state["status"])


# One commit


def test_an_order_that_comes_alone_is_one_commit_and_its_commands_are_never_rows(
    tmp_path: Path,
) -> None:
    with opened(tmp_path, shop) as (runtime, disk):
        settle(runtime)
        disk.commits.clear()
        before = runtime.stats()["commits"]
        assert runtime.ask(Place("o1"), timeout=WAIT) == [Placed("o1")]
        # The chain was at its end when the caller was answered.
        assert handled[:6] == WHOLE
        assert status(runtime, "o1") == "shipped"
        settle(runtime)
        chain, *rest = disk.commits
        assert {"log", "transitions"} <= chain
        assert "queue" not in chain
        # How far the after-effect is done comes later.
        assert all(tables == {"checkpoints"} for tables in rest)
        assert runtime.stats()["commits"] - before == len(disk.commits)


def test_many_orders_that_come_together_are_one_commit(tmp_path: Path) -> None:
    with opened(tmp_path, shop) as (runtime, disk):
        blocked = gate("poke")
        waits = runtime.ask(Poke("x"), block=False)
        assert reached.acquire(timeout=WAIT)
        replies = [runtime.ask(Place(f"o{number}"), block=False) for number in range(50)]
        disk.commits.clear()
        blocked.set()
        for reply in (waits, *replies):
            reply.get(timeout=WAIT)
        assert {status(runtime, f"o{number}") for number in range(50)} == {"shipped"}
        assert len([tables for tables in disk.commits if "transitions" in tables]) == 1
        assert not any("queue" in tables for tables in disk.commits)


def test_a_command_that_was_told_is_accepted_and_carried_out_in_one_commit(
    tmp_path: Path,
) -> None:
    with opened(tmp_path, shop) as (runtime, disk):
        settle(runtime)
        disk.commits.clear()
        runtime.tell(Place("o1"))
        settle(runtime)
        assert status(runtime, "o1") == "shipped"
        assert not any("queue" in tables for tables in disk.commits)


def test_a_commit_is_no_larger_than_was_said_though_the_chain_goes_on(tmp_path: Path) -> None:
    with opened(tmp_path, shop, largest_commit=2) as (runtime, disk):
        settle(runtime)
        disk.commits.clear()
        runtime.ask(Place("o1"), timeout=WAIT)
        settle(runtime)
        assert status(runtime, "o1") == "shipped"
        # Three events and three transitions: what is under way between two commits is a row.
        assert len([tables for tables in disk.commits if tables & {"log", "transitions"}]) == 3
        assert handled[:6] == WHOLE


def test_an_aggregate_that_refuses_goes_on_in_the_same_commit(tmp_path: Path) -> None:
    with opened(tmp_path, shop) as (runtime, disk):
        runtime.ask(Poke("full"), timeout=WAIT)
        blocked = gate("pay")
        waits = runtime.ask(Pay("o1"), block=False)
        assert reached.acquire(timeout=WAIT)
        replies = [runtime.ask(Poke("full"), block=False) for _ in range(500)]
        disk.commits.clear()
        before = runtime.stats()["commits"]
        blocked.set()
        waits.get(timeout=WAIT)
        for reply in replies:
            with pytest.raises(Rejected, match="it is ringing"):
                reply.get(timeout=WAIT)
        settle(runtime)
        assert runtime.stats()["commits"] - before <= 3
        view = runtime.get(Bell, "full")
        assert view is not None
        assert view.version == 1


# Order


class Split(Command):
    name: str


class Left(Event):
    name: str


class Right(Event):
    name: str


class Echo(Command):
    name: str


class Echoed(Event):
    name: str


def test_an_instance_handles_by_position_and_never_depth_first(tmp_path: Path) -> None:
    domain = Domain("depth")

    @domain.register
    class Splitter(Aggregate, identity="name"):
        @handle(Split)
        def split(self, command: Split) -> Iterator[Event]:
            yield Left(self.id)
            yield Right(self.id)

    @domain.register
    class Wall(Aggregate, identity="name"):
        @handle(Echo)
        def echo(self, command: Echo) -> Echoed:
            return Echoed(self.id)

    @domain.register
    class Listener(ProcessManager, correlate="name"):
        name: str = ""
        heard: list[str] = []

        @handle(Left, start=True)
        def on_left(self, event: Left) -> None:
            # What comes of it is the third event, and for this instance as well.
            self.issue(Echo(self.id))
            self.heard.append(f"{self.context.position} left")

        @handle(Right)
        def on_right(self, event: Right) -> None:
            self.heard.append(f"{self.context.position} right")

        @handle(Echoed)
        def on_echoed(self, event: Echoed) -> None:
            self.heard.append(f"{self.context.position} echoed")

    with opened(tmp_path, domain) as (runtime, disk):
        settle(runtime)
        disk.commits.clear()
        runtime.ask(Split("a"), timeout=WAIT)
        settle(runtime)
        view = runtime.get(Listener, "a")
        assert view is not None
        assert view.state["heard"] == ["1 left", "2 right", "3 echoed"]
        assert len(disk.commits) == 1
        assert runtime.stats()["seen_again"] == 0


def test_loops_are_counted_through_what_is_not_committed_yet(tmp_path: Path) -> None:
    domain = Domain("loops")

    @domain.register
    class Wall(Aggregate, identity="name"):
        times: int = 0

        @handle(Poke)
        def poke(self, command: Poke) -> Poked:
            return Poked(self.id, self.times + 1)

        @apply(Poked)
        def _poked(self, event: Poked) -> None:
            self.times = event.times

    @domain.register
    class Again(ProcessManager, correlate="name"):
        name: str = ""
        times: int = 0

        @handle(Poked, start=True)
        def on_poked(self, event: Poked) -> None:
            self.times = event.times
            self.issue(Poke(self.id))

    with opened(tmp_path, domain, max_chain=200) as (runtime, disk):
        settle(runtime)
        disk.commits.clear()
        with pytest.raises(InfiniteLoopError, match="200 events long"):
            runtime.ask(Poke("a"), timeout=WAIT)
        settle(runtime)
        (parked,) = runtime.parked()
        assert "200 events long" in parked.error
        view = runtime.get(Again, "a")
        assert view is not None
        assert view.state["times"] == 200
        assert len(disk.commits) == 1
        assert "queue" not in disk.commits[0]


def test_no_handler_runs_in_a_callers_thread(tmp_path: Path) -> None:
    with opened(tmp_path, shop, workers=2) as (runtime, _):
        runtime.ask(Place("o1"), timeout=WAIT)
        runtime.ask(Place("o2"), block=False).get(timeout=WAIT)
        runtime.tell_many([Place("o3"), Place("o4")])
        runtime.publish(Placed("o5"), stream=FEED)
        settle(runtime)
        assert handled.count("on_shipped") == 5
        assert all(name.startswith("procession-worker") for name in threads), threads


# A handler that is blocked


def test_a_command_in_a_blocked_handler_has_its_row_when_the_commit_closes(
    tmp_path: Path,
) -> None:
    with opened(tmp_path, shop, workers=2) as (runtime, disk):
        blocked = gate("pay")
        reply = runtime.ask(Place("o1"), block=False)
        assert reached.acquire(timeout=WAIT)
        assert runtime.ask(Poke("x"), timeout=WAIT) == [Poked("x", 1)]
        # All that was handed over is durable, of all chains, and the caller has its answer.
        assert reply.get(timeout=WAIT) == [Placed("o1")]
        assert status(runtime, "o1") == "placed"
        [row] = disk.read_queue(0, 10)
        assert (row.type, row.stream) == ("chains.Pay.v1", "chains::payment-o1")
        blocked.set()
        settle(runtime)
        assert disk.read_queue(0, 10) == []
        assert status(runtime, "o1") == "shipped"
        assert handled.count("pay") == 1


def test_the_position_in_a_commit_is_below_what_a_blocked_handler_has_in_hand(
    tmp_path: Path,
) -> None:
    with opened(tmp_path, shop, workers=2) as (runtime, disk):
        runtime.ask(Poke("x"), timeout=WAIT)
        blocked = gate("on_placed")
        runtime.publish(Placed("o1"), stream=FEED)
        assert reached.acquire(timeout=WAIT)
        for _ in range(3):
            runtime.ask(Poke("x"), timeout=WAIT)
        assert disk.last_position() == 5
        assert disk.checkpoint("chains.Fulfilment") == 1
        blocked.set()
        settle(runtime)
    with opened(tmp_path, shop) as (runtime, disk):
        assert disk.checkpoint("chains.Fulfilment") == disk.last_position()


def test_a_copy_of_the_disk_while_a_handler_is_blocked_goes_on_to_the_same_end(
    tmp_path: Path,
) -> None:
    with opened(tmp_path / "first", shop, workers=2) as (runtime, _):
        blocked = gate("ship")
        runtime.ask(Place("o1"), timeout=WAIT)
        assert reached.acquire(timeout=WAIT)
        runtime.backup(tmp_path / "copy")
        blocked.set()
        settle(runtime)
    gates.clear()
    with opened(tmp_path / "copy", shop) as (runtime, _):
        settle(runtime)
        assert status(runtime, "o1") == "shipped"
        assert [one.event for one in runtime.events()] == [
            Placed("o1"),
            Paid("o1"),
            Shipped("o1"),
        ]


# When a commit closes


def test_an_ask_beside_many_slow_handlers_is_answered_before_they_are_through(
    tmp_path: Path, now: list[float]
) -> None:
    through: list[int] = []
    many = 200

    domain = Domain("slow")

    @domain.register
    class Patient(ProcessManager, correlate="order", begin="origin"):
        @handle(Placed, start=True)
        def on_placed(self, event: Placed) -> None:
            run("on_placed")
            # As if it took five milliseconds.
            now[0] += 0.005

    domain.register(Bell)
    with opened(tmp_path, domain) as (runtime, disk):
        blocked = gate("on_placed")
        orders = [Placed(f"o{number}") for number in range(many)]
        beside(lambda: runtime.publish_many(orders, stream=FEED))
        assert reached.acquire(timeout=WAIT)
        reply = runtime.ask(Poke("x"), block=False)
        disk.before_commit = lambda: through.append(handled.count("on_placed"))
        blocked.set()
        assert reply.get(timeout=WAIT) == [Poked("x", 1)]
        settle(runtime)
        assert handled.count("on_placed") == many
    # A commit closed with a few of them, since a caller waited, and it was the one that did.
    poked = handled.index("poke")
    assert poked <= 2
    assert through[0] <= poked + 4


def test_a_step_for_which_no_caller_waits_closes_no_commit(
    tmp_path: Path, now: list[float]
) -> None:
    domain = Domain("slow")

    @domain.register
    class Patient(ProcessManager, correlate="order", begin="origin"):
        @handle(Placed, start=True)
        def on_placed(self, event: Placed) -> None:
            now[0] += 0.005

    with opened(tmp_path, Domain("slow")) as (runtime, _):
        runtime.publish_many([Placed(f"o{number}") for number in range(100)], stream=FEED)
    with opened(tmp_path, domain) as (runtime, disk):
        settle(runtime)
        assert runtime.stats()["transitions"] == 100
        assert len([tables for tables in disk.commits if "transitions" in tables]) == 1


# What leaves waits for the disk


def test_nothing_of_a_chain_is_seen_outside_before_its_commit(tmp_path: Path) -> None:
    with opened(tmp_path, shop, workers=2) as (runtime, disk):
        settle(runtime)
        disk.hold()
        reply = runtime.ask(Place("o1"), block=False)
        assert disk.is_held.wait(WAIT)
        assert handled == WHOLE
        with pytest.raises(pykka.Timeout):
            reply.get(timeout=0)
        assert list(runtime.events()) == []
        assert runtime.get(Fulfilment, "o1") is None
        assert disk.checkpoint("chains.Fulfilment") == 0
        disk.may_commit.set()
        assert reply.get(timeout=WAIT) == [Placed("o1")]
        assert status(runtime, "o1") == "shipped"
        settle(runtime)
        assert handled == [*WHOLE, "thank"]


def test_an_effect_never_runs_for_what_the_disk_refused(tmp_path: Path) -> None:
    with opened(tmp_path, shop) as (runtime, disk):
        settle(runtime)
        disk.refusals.append(StoreError("no room"))
        with pytest.raises(StoreError, match="no room"):
            runtime.ask(Place("o1"), timeout=WAIT)
        settle(runtime)
        assert "thank" not in handled
        runtime.ask(Place("o1"), timeout=WAIT)
        settle(runtime)
        assert handled == [*WHOLE, *WHOLE, "thank"]


def test_a_command_that_comes_twice_in_one_commit_is_answered_alike_and_takes_effect_once(
    tmp_path: Path,
) -> None:
    with opened(tmp_path, shop) as (runtime, _):
        blocked = gate("pay")
        waits = runtime.ask(Pay("o1"), block=False)
        assert reached.acquire(timeout=WAIT)
        replies = [runtime.ask(Poke("x"), command_id="c1", block=False) for _ in range(3)]
        blocked.set()
        waits.get(timeout=WAIT)
        assert [reply.get(timeout=WAIT) for reply in replies] == [[Poked("x", 1)]] * 3
        assert len(list(runtime.events("chains::bell-x"))) == 1


def test_a_command_that_comes_twice_in_a_commit_that_fails_is_answered_alike(
    tmp_path: Path,
) -> None:
    with opened(tmp_path, shop) as (runtime, disk):
        blocked = gate("pay")
        waits = runtime.ask(Pay("o1"), block=False)
        assert reached.acquire(timeout=WAIT)
        replies = [runtime.ask(Poke("x"), command_id="c1", block=False) for _ in range(3)]
        disk.refusals.append(StoreError("no room"))
        blocked.set()
        for reply in (waits, *replies):
            with pytest.raises(StoreError, match="no room"):
                reply.get(timeout=WAIT)
        assert runtime.ask(Poke("x"), command_id="c1", timeout=WAIT) == [Poked("x", 1)]


# When it fails


def test_after_a_commit_failed_a_chain_begins_again_where_the_disk_is_and_takes_effect_once(
    tmp_path: Path,
) -> None:
    with opened(tmp_path, shop, workers=2) as (runtime, disk):
        blocked = gate("pay")
        runtime.ask(Place("o1"), block=False)
        assert reached.acquire(timeout=WAIT)
        # The first part of the chain becomes durable, and its second part is refused twice.
        runtime.ask(Poke("x"), timeout=WAIT)
        disk.refusals.extend([StoreError("no room"), StoreError("no room")])
        blocked.set()
        settle(runtime)
        assert not disk.refusals
        assert handled.count("place") == 1
        assert handled.count("pay") == handled.count("on_shipped") == 3
        assert status(runtime, "o1") == "shipped"
        history = [one.handler for one in runtime.history(Fulfilment, "o1")]
        assert history == ["on_placed", "on_paid", "on_shipped"]
        positions = [one.position for one in runtime.events()]
        assert positions == list(range(1, 5))
        assert disk.read_queue(0, 10) == []


def test_a_caller_whose_commit_failed_is_told_and_what_it_sent_never_comes_back(
    tmp_path: Path,
) -> None:
    with opened(tmp_path, shop) as (runtime, disk):
        settle(runtime)
        for call in (
            lambda: runtime.ask(Place("o1"), timeout=WAIT),
            lambda: runtime.tell(Place("o1")),
            lambda: runtime.publish(Placed("o1"), stream=FEED),
        ):
            handled.clear()
            disk.refusals.append(StoreError("no room"))
            with pytest.raises(StoreError, match="no room"):
                call()
            settle(runtime)
            assert len(handled) == len(set(handled))
        assert list(runtime.events()) == []
        assert runtime.get(Fulfilment, "o1") is None
        assert disk.read_queue(0, 10) == []


def test_the_counters_go_back_with_a_commit_that_failed(tmp_path: Path) -> None:
    with opened(tmp_path, shop) as (runtime, disk):
        settle(runtime)
        before = runtime.stats()
        disk.refusals.append(StoreError("no room"))
        with pytest.raises(StoreError, match="no room"):
            runtime.ask(Place("o1"), timeout=WAIT)
        settle(runtime)
        assert runtime.stats() | {"awake": 0} == before | {"awake": 0}
        runtime.ask(Place("o1"), timeout=WAIT)
        settle(runtime)
        stats = runtime.stats()
        assert (stats["events"], stats["transitions"], stats["in_flight"]) == (3, 3, 0)


def test_a_handler_that_fails_is_parked_in_the_chains_own_commit_and_the_other_steps_stand(
    tmp_path: Path,
) -> None:
    fails.add("on_paid")
    with opened(tmp_path, shop) as (runtime, disk):
        settle(runtime)
        disk.commits.clear()
        assert runtime.ask(Place("o1"), timeout=WAIT) == [Placed("o1")]
        assert len([tables for tables in disk.commits if "parked" in tables]) == 1
        assert {"log", "transitions", "parked"} <= disk.commits[0]
        (parked,) = runtime.parked()
        assert status(runtime, "o1") == "placed"
        assert [one.event for one in runtime.events()] == [Placed("o1"), Paid("o1")]
        fails.clear()
        runtime.retry(parked.id)
        settle(runtime)
        assert status(runtime, "o1") == "shipped"


def test_an_error_of_our_own_in_a_hand_over_is_told_and_nothing_spins(tmp_path: Path) -> None:
    with opened(tmp_path, shop) as (runtime, disk):
        settle(runtime)
        tries: list[Step] = []

        def breaks(step: Step) -> bool:
            if step.append is not None and step.append.stream == "chains::bell-bad":
                tries.append(step)
                return True
            return False

        disk.broken = breaks
        with pytest.raises(StoreError, match="a mistake of ours"):
            runtime.ask(Poke("bad"), timeout=WAIT)
        assert len(tries) <= 2
        assert runtime.ask(Poke("good"), timeout=WAIT) == [Poked("good", 1)]
        assert runtime.get(Bell, "bad") is None


# Timers


def test_a_timer_that_is_set_and_cancelled_inside_one_commit_writes_nothing(
    tmp_path: Path, clock: VirtualClock
) -> None:
    domain = Domain("timers")

    @domain.register
    class Payments(Aggregate, identity="order"):
        @handle(Pay)
        def pay(self, command: Pay) -> Paid:
            return Paid(self.id)

    @domain.register
    class Impatient(ProcessManager, correlate="order"):
        @handle(Placed, start=True)
        def on_placed(self, event: Placed) -> None:
            self.set_timeout("late", timedelta(minutes=1))
            self.issue(Pay(self.id))

        @handle(Paid)
        def on_paid(self, event: Paid) -> None:
            self.cancel_timeout("late")

        @timeout("late")
        def on_late(self) -> None:
            run("on_late")

    with opened(tmp_path, domain, clock=clock) as (runtime, disk):
        settle(runtime)
        disk.commits.clear()
        runtime.publish(Placed("o1"), stream=FEED)
        settle(runtime)
        assert any("transitions" in tables for tables in disk.commits)
        assert not any("timers" in tables for tables in disk.commits)
        clock.advance(timedelta(hours=1))
        settle(runtime)
        assert handled == []


def test_no_timer_fires_in_the_commit_that_sets_it(tmp_path: Path, clock: VirtualClock) -> None:
    domain = Domain("timers")
    rows: list[int] = []

    @domain.register
    class AtOnce(ProcessManager, correlate="order"):
        @handle(Placed, start=True)
        def on_placed(self, event: Placed) -> None:
            self.set_timeout("now", timedelta(0))

        @timeout("now")
        def on_now(self) -> None:
            run("on_now")
            # What was set is durable by now.
            rows.append(len(list(disk.scan_timers(LATE))))

    with opened(tmp_path, domain, clock=clock) as (runtime, disk):
        settle(runtime)
        disk.commits.clear()
        runtime.publish(Placed("o1"), stream=FEED)
        settle(runtime)
        assert handled == ["on_now"]
        assert rows == [1]
        assert ["timers" in tables for tables in disk.commits] == [True, True]
        assert list(disk.scan_timers(LATE)) == []


# Cuts


def test_stopping_an_actor_waits_until_what_it_handed_over_is_durable(tmp_path: Path) -> None:
    with opened(tmp_path, shop, workers=2) as (runtime, disk):
        settle(runtime)
        refs: list[Any] = [runtime.ref(Fulfilment, "o1"), runtime.ref(Order, "o1")]
        disk.hold()
        reply = runtime.ask(Place("o1"), block=False)
        assert disk.is_held.wait(WAIT)
        stopping = [ref.stop(block=False) for ref in refs]
        for one in stopping:
            with pytest.raises(pykka.Timeout):
                one.get(timeout=0)
        assert all(ref.is_alive() for ref in refs)
        disk.may_commit.set()
        assert reply.get(timeout=WAIT) == [Placed("o1")]
        assert [one.get(timeout=WAIT) for one in stopping] == [True, True]
        assert not any(ref.is_alive() for ref in refs)


def test_an_actor_is_stopped_beside_a_handler_that_is_blocked_once_its_steps_are_durable(
    tmp_path: Path,
) -> None:
    with opened(tmp_path, shop, workers=2) as (runtime, disk):
        blocked = gate("pay")
        runtime.ask(Place("o1"), block=False)
        assert reached.acquire(timeout=WAIT)
        assert runtime.ref(Fulfilment, "o1").stop(timeout=WAIT)
        assert disk.last_transition("chains.Fulfilment", "o1") is not None
        assert not runtime.ref(Fulfilment, "o1").is_alive()
        blocked.set()
        settle(runtime)
        assert status(runtime, "o1") == "shipped"


def test_a_refresh_waits_until_what_its_instance_handed_over_is_durable(tmp_path: Path) -> None:
    with opened(tmp_path, shop) as (runtime, disk):
        runtime.publish(Placed("o0"), stream=FEED)
        settle(runtime)
        handled.clear()
        blocked = gate("on_placed")
        beside(lambda: runtime.publish(Placed("o1"), stream=FEED))
        assert reached.acquire(timeout=WAIT)
        refreshing = threading.Thread(target=lambda: runtime.refresh(Fulfilment, "o1"))
        refreshing.start()
        engine = runtime._running
        assert engine is not None
        # The one who publishes waits as well.
        while len(engine.services.replies) < 2:
            pass
        disk.before_commit = lambda: handled.append("commit")
        blocked.set()
        refreshing.join(WAIT)
        assert not refreshing.is_alive()
        assert "commit" in handled[: handled.index("on_refreshed")]
        settle(runtime)
