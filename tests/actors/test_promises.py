"""The numbered promises of the design, each by a test that fails when it is broken."""

import ast
import shutil
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import lmdb
import pytest

import procession
from procession import (
    Aggregate,
    BeginUndecided,
    ClosedError,
    Command,
    CorruptRecord,
    DamagedStore,
    DefinitionError,
    Domain,
    Event,
    IdReused,
    InvalidMessage,
    InvalidName,
    LockedStore,
    ProcessManager,
    ReadOnlyStore,
    Rejected,
    Runtime,
    StoreError,
    StoreFull,
    UnknownFormat,
    UnknownMessage,
    after,
    apply,
    handle,
    timeout,
)
from procession.store import LmdbStore, Store, StoreFinding, is_address, open_store
from procession.store.layout.frames import frame
from procession.store.postgresql.store import PostgresStore
from procession.testing import FAULTS, CounterExample, Simulation, VirtualClock, explore
from tests.postgresql import shared_server

bank = Domain("bank")


class Open(Command):
    account: str


class Opened(Event):
    account: str


class Deposit(Command):
    account: str
    amount: int


class Deposited(Event):
    account: str
    amount: int
    notes: list[str] = []


class Audit(Command):
    account: str
    total: int


class Audited(Event):
    account: str
    total: int


@bank.register
class Account(Aggregate, identity="account"):
    balance: int = 0

    @handle(Open)
    def open(self, command: Open) -> Opened:
        return Opened(self.id)

    @handle(Deposit)
    def deposit(self, command: Deposit) -> Any:
        if command.amount < 0:
            raise Rejected("a deposit is positive")
        yield Deposited(self.id, command.amount)
        if command.amount > 1_000_000:
            # After an event was applied already: memory must go back as well.
            raise Rejected("that is too much")

    @apply(Deposited)
    def _deposited(self, event: Deposited) -> None:
        self.balance += event.amount


@bank.register
class Auditor(Aggregate, identity="account"):
    @handle(Audit)
    def audit(self, command: Audit) -> Audited:
        return Audited(self.id, command.total)


@bank.register
class Book(ProcessManager, correlate="account"):
    account: str = ""
    total: int = 0
    lines: list[int] = []

    # Hooks for tests: what to do when a deposit comes.
    on_deposit: ClassVar[Any] = None

    @handle(Opened, start=True)
    def begin(self, event: Opened) -> None:
        self.lines.append(0)

    @handle(Deposited)
    def note(self, event: Deposited) -> None:
        self.total += event.amount
        self.lines.append(event.amount)
        event.notes.append("seen")
        self.issue(Audit(self.account, self.total))
        if Book.on_deposit is not None:
            Book.on_deposit(self, event)

    @handle(Audited)
    def audited(self, event: Audited) -> None:
        if event.total == 100:
            self.mark_as_complete()


@pytest.fixture(params=["folder", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a store is to be: what is promised holds in a folder and in a database."""
    return str(tmp_path) if request.param == "folder" else shared_server().new_url()


@pytest.fixture(autouse=True)
def no_hook() -> Any:
    Book.on_deposit = None
    yield
    Book.on_deposit = None


def deposits(runtime: Runtime, account: str, *amounts: int) -> None:
    for amount in amounts:
        runtime.ask(Deposit(account, amount))


# 1. One writer


def test_1_a_store_that_is_open_for_writing_is_refused_at_once(place: str) -> None:
    with (
        Runtime(place, bank),
        pytest.raises(LockedStore, match="already open for writing, by process"),
    ):
        Runtime(place, bank)
    with Runtime(place, bank) as runtime:
        runtime.ask(Open("a"))


def test_1_another_process_is_refused_too_and_reading_beside_the_writer_works(
    place: str,
) -> None:
    program = (
        "import sys\n"
        "from actors import Domain, LockedStore, Runtime\n"
        "try:\n"
        "    Runtime(sys.argv[1], Domain('bank'))\n"
        "except LockedStore:\n"
        "    print('refused')\n"
        "with Runtime(sys.argv[1], Domain('bank'), read_only=True) as reader:\n"
        "    print(len(list(reader.events())))\n"
    )
    with Runtime(place, bank) as runtime:
        runtime.ask(Open("a"))
        out = subprocess.run(
            [sys.executable, "-c", program, place],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parents[2],
        )
        assert out.stdout.split() == ["refused", "1"]
        with Runtime(place, bank, read_only=True) as reader:
            runtime.settle(timeout=10)
            runtime.ask(Deposit("a", 5))
            runtime.settle(timeout=10)
            view = reader.get(Book, "a")
            assert view is not None
            assert view.state["total"] == 5
            with pytest.raises(ReadOnlyStore, match="read_only=True"):
                reader.ask(Open("b"))


# 2. A step is atomic


def test_2_an_error_in_a_handler_leaves_memory_and_disk_as_before(place: str) -> None:
    def fail(process: Book, event: Deposited) -> None:
        if event.amount == 13:
            process.mark_as_complete()
            raise ValueError("thirteen")

    Book.on_deposit = fail
    with Runtime(place, bank) as runtime:
        runtime.ask(Open("a"))
        deposits(runtime, "a", 1)
        runtime.settle(timeout=10)
        deposits(runtime, "a", 13)
        runtime.settle(timeout=10)
        view = runtime.get(Book, "a")
        assert view is not None
        assert (view.version, view.state["total"], view.state["lines"]) == (3, 1, [0, 1])
        assert not view.is_complete
        assert view.status == "suspended"
        totals = [e.event.total for e in runtime.events() if isinstance(e.event, Audited)]
        assert totals == [1], "the failed step's command left"
        assert runtime.stats()["parked"] == 1


def test_2_a_refusal_after_an_applied_event_leaves_the_aggregate_as_before(place: str) -> None:
    with Runtime(place, bank) as runtime:
        runtime.ask(Deposit("a", 5))
        with pytest.raises(Rejected, match="too much"):
            runtime.ask(Deposit("a", 1_000_001))
        runtime.ask(Deposit("a", 6))
        view = runtime.get(Account, "a")
        assert view is not None
        assert (view.state["balance"], view.version) == (11, 2)


def opens(kind: type[Store]) -> Callable[..., Store]:
    """What opens a store of that kind, wherever it is."""

    def open_it(place: str, **options: Any) -> Store:
        base = PostgresStore if is_address(place) else LmdbStore
        cls: Any = type(kind.__name__, (kind, base), {})
        store: Store = cls(place, **options)
        return store

    return open_it


class Faulty(Store):
    """A store whose disk can be told to refuse."""

    broken = False
    refused: list[int] = []
    often = threading.Event()

    def close_commit(self, checkpoints: Any = None) -> None:
        if Faulty.broken:
            Faulty.refused.append(self.ahead.steps)
            if len(Faulty.refused) == 3:
                Faulty.often.set()
            self.drop_commit()
            raise StoreFull("no room on the disk, says the test")
        super().close_commit(checkpoints)


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch) -> type[Faulty]:
    monkeypatch.setattr("procession.runtime.open_store", opens(Faulty))
    Faulty.broken, Faulty.refused, Faulty.often = False, [], threading.Event()
    return Faulty


def test_2_a_refused_commit_is_told_to_the_caller_and_memory_goes_back(
    place: str, faulty: type[Faulty]
) -> None:
    with Runtime(place, bank) as runtime:
        runtime.ask(Deposit("a", 5))
        faulty.broken = True
        for call in (
            lambda: runtime.ask(Deposit("a", 1)),
            lambda: runtime.tell(Deposit("a", 1)),
            lambda: runtime.publish(Opened("z"), stream="feed::account-z"),
        ):
            with pytest.raises(StoreFull, match="no room"):
                call()
        faulty.broken = False
        runtime.ask(Deposit("a", 6))
        runtime.settle(timeout=10)
        view = runtime.get(Account, "a")
        assert view is not None
        assert view.state["balance"] == 11


def test_2_steps_that_the_disk_refused_are_made_again_without_being_asked(
    place: str, faulty: type[Faulty]
) -> None:
    told, ran = threading.Event(), threading.Event()

    def break_disk(process: Book, event: Deposited) -> None:
        if not ran.is_set():
            ran.set()
            # What callers asked for is on disk, and what comes of it will not be.
            assert told.wait(10)
            faulty.broken = True

    Book.on_deposit = break_disk
    with Runtime(place, bank) as runtime:
        runtime.ask(Open("a"))
        runtime.settle(timeout=10)
        runtime.tell_many([Deposit("a", n) for n in range(1, 8)])
        told.set()
        assert faulty.often.wait(10)
        faulty.broken = False
        assert sum(faulty.refused) > 3, "no step was lost, so none was made again"
        runtime.settle(timeout=20)
        view = runtime.get(Book, "a")
        assert view is not None
        assert view.state["lines"] == [0, 1, 2, 3, 4, 5, 6, 7]
        audits = [e.event.total for e in runtime.events() if isinstance(e.event, Audited)]
        assert audits == [1, 3, 6, 10, 15, 21, 28]


# 3. Order


def test_3_an_instance_sees_its_events_in_order_of_position_and_never_two_at_once(
    place: str,
) -> None:
    inside: dict[str, int] = defaultdict(int)
    together: list[str] = []
    seen: dict[str, list[int]] = defaultdict(list)

    def watch(process: Book, event: Deposited) -> None:
        inside[process.id] += 1
        if inside[process.id] > 1:
            together.append(process.id)
        seen[process.id].append(process.context.position)
        inside[process.id] -= 1

    Book.on_deposit = watch
    with Runtime(place, bank, workers=4, max_awake=3, max_in_flight=8) as runtime:
        names = [f"a{n}" for n in range(7)]
        for name in names:
            runtime.ask(Open(name))

        def pay(name: str) -> None:
            for amount in range(1, 40):
                runtime.tell(Deposit(name, amount * 1_000))

        threads = [threading.Thread(target=pay, args=(name,)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        runtime.settle(timeout=30)
        assert together == []
        assert {name: len(found) for name, found in seen.items()} == dict.fromkeys(names, 39)
        assert all(found == sorted(found) for found in seen.values())
        for name in names:
            history = list(runtime.history(Book, name))
            assert history[-1].state["lines"] == [0, *(n * 1_000 for n in range(1, 40))]


# 4. Each effect once


def test_4_an_event_published_twice_under_one_id_is_stored_and_handled_once(place: str) -> None:
    with Runtime(place, bank) as runtime:
        first = runtime.publish(Opened("a"), stream="feed::x-1", event_id="e1")
        again = runtime.publish(Opened("a"), stream="feed::x-1", event_id="e1")
        assert first == again == 1
        many = runtime.publish_many(
            [Deposited("a", 1), Deposited("a", 1), Deposited("a", 2)],
            stream="feed::x-1",
            event_id=lambda event: f"d{event.amount}",
        )
        assert many == [2, 2, 3]
        runtime.settle(timeout=10)
        view = runtime.get(Book, "a")
        assert view is not None
        assert view.state["lines"] == [0, 1, 2]


def test_4_a_command_id_given_twice_takes_effect_once_and_has_the_same_reply(place: str) -> None:
    with Runtime(place, bank) as runtime:
        first = runtime.ask(Deposit("a", 5), command_id="c1")
        assert runtime.ask(Deposit("a", 5), command_id="c1") == first
        assert runtime.tell(Deposit("a", 5), command_id="c1") == "c1"
        told = runtime.tell(Deposit("a", 7))
        assert runtime.tell(Deposit("a", 7), command_id=told) == told
        with pytest.raises(Rejected, match="positive"):
            runtime.ask(Deposit("a", -1), command_id="c2")
        with pytest.raises(Rejected, match="positive"):
            runtime.ask(Deposit("a", -1), command_id="c2")
        runtime.settle(timeout=10)
        view = runtime.get(Account, "a")
        assert view is not None
        assert (view.state["balance"], view.version) == (12, 2)


def test_4_the_same_command_id_from_many_threads_at_once_takes_effect_once(place: str) -> None:
    with Runtime(place, bank) as runtime:
        futures = [runtime.ask(Deposit("a", 5), command_id="c1", block=False) for _ in range(20)]
        replies = [future.get(timeout=10) for future in futures]
        assert all(reply == [Deposited("a", 5)] for reply in replies)
        view = runtime.get(Account, "a")
        assert view is not None
        assert view.version == 1


def test_4_a_command_told_many_times_at_once_leaves_nothing_in_the_queue(place: str) -> None:
    with Runtime(place, bank) as runtime:
        threads = [
            threading.Thread(
                target=runtime.tell, args=(Deposit("a", 5),), kwargs={"command_id": "c"}
            )
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        runtime.settle(timeout=10)
        view = runtime.get(Account, "a")
        assert view is not None
        assert view.version == 1
    with open_store(place) as store:
        assert store.read_queue(0, 10) == []


def test_4_what_is_delivered_again_after_a_restart_changes_nothing(place: str) -> None:
    with Runtime(place, bank) as runtime:
        runtime.ask(Open("a"))
        deposits(runtime, "a", 1, 2, 3)
        runtime.settle(timeout=10)
        before = list(runtime.history(Book, "a"))
    with open_store(place) as store:
        # As if the process had died before the router's position was written.
        store.commit([], {"bank.Book": 0})
    with Runtime(place, bank) as runtime:
        runtime.settle(timeout=10)
        assert list(runtime.history(Book, "a")) == before
        assert runtime.stats()["seen_again"] == len(list(runtime.events()))
        audits = [e for e in runtime.events() if isinstance(e.event, Audited)]
        assert len(audits) == 3


# 5. Nothing is lost


class Watching(Store):
    """A store whose commits wait until the test lets them go on."""

    held = threading.Event()
    reached = threading.Event()
    steps = 0

    def close_commit(self, checkpoints: Any = None) -> None:
        Watching.steps = self.ahead.steps
        Watching.reached.set()
        assert Watching.held.wait(10)
        super().close_commit(checkpoints)


@pytest.fixture
def watching(monkeypatch: pytest.MonkeyPatch) -> type[Watching]:
    monkeypatch.setattr("procession.runtime.open_store", opens(Watching))
    # A commit closes when there is nothing more to do, however slow the machine is.
    for clock in ("procession.engine.dispatcher.seconds", "procession.engine.journal.seconds"):
        monkeypatch.setattr(clock, lambda: 0.0)
    Watching.held.set()
    return Watching


def test_5_nothing_is_seen_outside_before_its_commit(place: str, watching: type[Watching]) -> None:
    handled: list[str] = []
    with Runtime(place, bank) as runtime, Runtime(place, bank, read_only=True) as reader:
        runtime.ask(Open("a"))
        runtime.settle(timeout=10)
        Book.on_deposit = lambda process, event: handled.append(process.id)
        watching.reached.clear()
        watching.held.clear()
        reply = runtime.ask(Deposit("a", 5), block=False)
        assert watching.reached.wait(10)
        # The chain ran to its end, and nothing of it is on disk:
        # Deposit -> Deposited -> Audit -> Audited. In a database, the caller does not wait for it.
        assert (handled, watching.steps) == (([], 1) if is_address(place) else (["a"], 4))
        # So there is no reply, and no reader has heard of it.
        with pytest.raises(procession.TimedOut):
            runtime.ask(Open("other"), timeout=0.05)
        for one in (runtime, reader):
            assert [e.type for e in one.events()] == ["bank.Opened.v1"]
            account, book = one.get(Account, "a"), one.get(Book, "a")
            assert account is not None
            assert account.state["balance"] == 0
            assert book is not None
            assert (book.version, book.state["total"]) == (1, 0)
            assert len(list(one.history(Book, "a"))) == 1
        watching.held.set()
        assert reply.get(timeout=10) == [Deposited("a", 5)]
        runtime.settle(timeout=10)
        types = [e.type for e in reader.events()]
        assert types[:2] == ["bank.Opened.v1", "bank.Deposited.v1"]
        assert sorted(types[2:]) == ["bank.Audited.v1", "bank.Opened.v1"]


def test_5_no_effect_on_the_outside_world_comes_before_its_commit(
    place: str, watching: type[Watching]
) -> None:
    domain = Domain("mail")
    sent: list[str] = []

    @domain.register
    class Greeting(ProcessManager, correlate="account"):
        account: str = ""

        @handle(Opened, start=True)
        def on_opened(self, event: Opened) -> None:
            """Nothing to do."""

        @after(Opened)
        def greet(self, event: Opened) -> None:
            sent.append(event.account)

    published: list[int] = []

    def publish() -> None:
        published.append(runtime.publish(Opened("a"), stream="mail::box-a"))

    with Runtime(place, domain) as runtime:
        runtime.settle(timeout=10)
        watching.reached.clear()
        watching.held.clear()
        thread = threading.Thread(target=publish)
        thread.start()
        assert watching.reached.wait(10)
        # The event, and what its instance made of it, for which no caller in a database waits.
        assert watching.steps == (1 if is_address(place) else 2)
        assert (published, sent) == ([], [])
        watching.held.set()
        thread.join(10)
        runtime.settle(timeout=10)
        assert (published, sent) == ([1], ["a"])


def test_5_what_tell_returned_for_is_carried_out_by_the_next_run(place: str) -> None:
    blocked, release = threading.Event(), threading.Event()

    def block(process: Book, event: Deposited) -> None:
        blocked.set()
        release.wait(10)

    Book.on_deposit = block
    runtime = Runtime(place, bank, max_in_flight=2)
    runtime.ask(Open("a"))
    runtime.tell_many([Deposit("a", n) for n in range(1, 30)])
    assert blocked.wait(10)
    release.set()
    runtime.close()
    with pytest.raises(ClosedError):
        runtime.ask(Open("b"))
    Book.on_deposit = None
    with Runtime(place, bank) as runtime:
        runtime.settle(timeout=10)
        view = runtime.get(Book, "a")
        assert view is not None
        assert view.state["lines"] == list(range(30))


def test_5_a_crash_while_one_handler_is_slow_and_others_commit_loses_nothing(
    tmp_path: Path,
) -> None:
    blocked, release = threading.Event(), threading.Event()

    def block(process: Book, event: Deposited) -> None:
        if process.id == "slow":
            blocked.set()
            release.wait(20)

    Book.on_deposit = block
    with Runtime(tmp_path / "store", bank) as runtime:
        runtime.ask(Open("slow"))
        runtime.ask(Deposit("slow", 1))
        assert blocked.wait(10)
        runtime.ask(Open("quick"))
        for amount in range(1, 20):
            runtime.ask(Deposit("quick", amount * 1_000))
        # What a crash would leave behind now.
        (tmp_path / "crashed").mkdir()
        shutil.copy(tmp_path / "store" / "data.mdb", tmp_path / "crashed" / "data.mdb")
        release.set()
    Book.on_deposit = None
    with Runtime(tmp_path / "crashed", bank) as runtime:
        runtime.settle(timeout=10)
        slow, quick = runtime.get(Book, "slow"), runtime.get(Book, "quick")
        assert slow is not None
        assert slow.state["lines"] == [0, 1]
        assert quick is not None
        assert quick.state["lines"] == [n * 1_000 for n in range(20)]


def test_5_an_event_that_comes_while_the_instance_passivates_is_not_lost(
    place: str,
    clock: VirtualClock,
) -> None:
    with Runtime(place, bank, clock=clock, idle_timeout=timedelta(seconds=8)) as runtime:
        runtime.ask(Open("a"))
        stop = threading.Event()

        def advance() -> None:
            while not stop.is_set():
                clock.advance(timedelta(seconds=9), settle=False)

        sweeper = threading.Thread(target=advance)
        sweeper.start()
        runtime.tell_many([Deposit("a", n * 1_000) for n in range(1, 300)])
        runtime.settle(timeout=30)
        stop.set()
        sweeper.join()
        view = runtime.get(Book, "a")
        assert view is not None
        assert view.state["lines"] == [n * 1_000 for n in range(300)]
        assert runtime.stats()["passivated"] > 0


# 6. Isolation


def test_6_an_instance_that_waits_and_one_that_fails_delay_no_other(place: str) -> None:
    domain = Domain("line")
    others = [f"o{number}" for number in range(50)]
    done: set[str] = set()
    all_done = threading.Event()

    @domain.register
    class Line(ProcessManager, correlate="account"):
        account: str = ""

        @handle(Opened, start=True)
        def on_opened(self, event: Opened) -> None:
            if event.account == "fails":
                raise ValueError("no")
            if event.account == "waits":
                # Only the others can end this.
                assert all_done.wait(30)
                return
            done.add(event.account)
            if len(done) == len(others):
                all_done.set()

    with Runtime(place, domain, workers=2) as runtime:
        events = [Opened(name) for name in ("waits", "fails", *others)]
        runtime.publish_many(events, stream=lambda event: f"line-{event.account}")
        runtime.settle(timeout=30)
        assert done == set(others)
        assert [one.instance for one in runtime.parked()] == ["fails"]
        assert runtime.get(Line, "waits") is not None


# 7. State is the log


def test_7_forgetting_memory_at_any_moment_gives_the_same_states(tmp_path: Path) -> None:
    with Runtime(tmp_path / "kept", bank) as kept:
        for command in (Open("a"), *(Deposit("a", n) for n in (1, 2, 3, 4))):
            kept.ask(command)
            kept.settle(timeout=10)
        expected = [(t.state, t.commands, t.handler) for t in kept.history(Book, "a")]
    for amount in (None, 1, 2, 3, 4):
        with Runtime(tmp_path / "forgotten", bank) as runtime:
            runtime.ask(Open("a") if amount is None else Deposit("a", amount))
            runtime.settle(timeout=10)
    with Runtime(tmp_path / "forgotten", bank) as runtime:
        found = [(t.state, t.commands, t.handler) for t in runtime.history(Book, "a")]
        account = runtime.get(Account, "a")
    assert found == expected
    assert account is not None
    assert account.state == {"balance": 10}


def test_7_a_passivated_instance_resumes_with_its_state(place: str, clock: VirtualClock) -> None:
    with Runtime(place, bank, clock=clock, idle_timeout=timedelta(minutes=1)) as runtime:
        runtime.ask(Open("a"))
        deposits(runtime, "a", 1, 2)
        runtime.settle(timeout=10)
        assert runtime.stats()["awake"] == 3
        clock.advance(timedelta(minutes=2))
        assert runtime.stats()["awake"] == 0
        deposits(runtime, "a", 3)
        runtime.settle(timeout=10)
        view = runtime.get(Book, "a")
        assert view is not None
        assert view.state["lines"] == [0, 1, 2, 3]


def test_7_one_handlers_changes_to_an_event_are_nobody_elses(place: str) -> None:
    with Runtime(place, bank) as runtime:
        runtime.ask(Open("a"))
        deposits(runtime, "a", 1)
        runtime.settle(timeout=10)
        notes = [e.event.notes for e in runtime.events() if isinstance(e.event, Deposited)]
        assert notes == [[]]


# 8. Bounded


def test_8_a_backlog_waits_on_disk_and_not_in_memory(place: str) -> None:
    outside, inside = Domain("line"), Domain("line")
    outside.register(Opened)
    gauges: list[dict[str, int]] = []
    running: list[Runtime] = []

    @inside.register
    class Line(ProcessManager, correlate="account", begin="origin"):
        account: str = ""

        @handle(Opened, start=True)
        def on_opened(self, event: Opened) -> None:
            gauges.extend(runtime.stats() for runtime in running)

    with Runtime(place, outside) as runtime:
        events = [Opened(f"a{number}") for number in range(300)]
        runtime.publish_many(events, stream=lambda event: f"line-{event.account}")
    with Runtime(place, inside, max_in_flight=8, max_awake=16) as runtime:
        running.append(runtime)
        runtime.settle(timeout=30)
        assert runtime.stats()["transitions"] == 300
        assert runtime.stats()["in_flight"] == 0
    assert gauges
    assert max(one["in_flight"] for one in gauges) <= 8
    # Those that have work may be more than those that may be awake.
    assert max(one["awake"] for one in gauges) <= 16 + 8


# 9. Time is a parameter


def test_9_every_time_that_is_stored_comes_from_the_clock(place: str, clock: VirtualClock) -> None:
    with Runtime(place, bank, clock=clock) as runtime:
        runtime.ask(Open("a"))
        runtime.settle(timeout=10)
        clock.advance(timedelta(days=400, microseconds=1))
        deposits(runtime, "a", 1)
        runtime.settle(timeout=10)
        noon = datetime(2024, 2, 29, 12, tzinfo=UTC)
        later = noon + timedelta(days=400, microseconds=1)
        assert [e.time for e in runtime.events()] == [noon, later, later]
        assert [t.time for t in runtime.history(Book, "a")] == [noon, later, later]


def test_9_nothing_but_the_clock_module_reads_the_clock() -> None:
    reading = {"now", "utcnow", "today", "time", "time_ns", "monotonic", "perf_counter", "sleep"}
    root = Path(__file__).parents[2]
    for file in [*root.glob("actors/**/*.py"), *root.glob("store/**/*.py")]:
        if file.name == "clock.py":
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                assert not (
                    node.value.id in {"time", "datetime", "date"} and node.attr in reading
                ), f"{file.name}:{node.lineno} reads the clock"


# 10. Replayable


@pytest.mark.parametrize("seed", range(5))
def test_10_one_seed_is_one_order_and_any_failing_order_can_be_had_again(seed: int) -> None:
    program = [[Open("a"), Deposit("a", 5)], [Open("b"), Deposit("b", 6), Deposit("a", 7)]]
    runs = []
    for _ in range(2):
        with Simulation(bank, program=program, seed=seed, faults=FAULTS) as simulation:
            simulation.run()
            stored = [(one.event_id, one.position, one.time) for one in simulation.events()]
            runs.append((list(simulation.trace), stored))
    assert runs[0] == runs[1]

    def nobody_is_overtaken(simulation: Simulation) -> None:
        first = next((one.event for one in simulation.events()), Opened("a"))
        assert first == Opened("a")

    with pytest.raises(CounterExample) as raised:
        explore(bank, program, [nobody_is_overtaken], seed=seed)
    with pytest.raises(CounterExample) as again:
        explore(bank, program, [nobody_is_overtaken], seed=raised.value.seed)
    assert list(again.value.trace) == list(raised.value.trace)


# 11. Clear refusals


def test_11_bad_input_is_refused_and_nothing_is_stored(place: str) -> None:
    with Runtime(place, bank) as runtime:
        with pytest.raises(InvalidMessage, match="amount"):
            runtime.ask(Deposit("a", "five"))  # type: ignore[arg-type]
        with pytest.raises(InvalidMessage, match="amount"):
            runtime.tell(Deposit("a", 1.5))  # type: ignore[arg-type]
        with pytest.raises(InvalidMessage, match="account"):
            runtime.publish(Opened(5), stream="feed::x-1")  # type: ignore[arg-type]
        with pytest.raises(InvalidName, match="600 bytes"):
            runtime.ask(Open("x" * 600))
        with pytest.raises(InvalidName, match="bytes"):
            runtime.publish(Opened("a"), stream="feed::" + "é" * 300 + "-1")
        with pytest.raises(InvalidName, match="bytes"):
            runtime.publish(Opened("a"), stream="feed::x-1", event_id="e" * 600)
        with pytest.raises(InvalidMessage, match="category-id"):
            runtime.publish(Opened("a"), stream="nowhere")
        with pytest.raises(InvalidName, match="empty"):
            runtime.ask(Open(""))
        with pytest.raises(InvalidMessage, match="is no command"):
            runtime.ask(Opened("a"))  # type: ignore[call-overload]
        with pytest.raises(InvalidMessage, match="is no event"):
            runtime.publish(Open("a"), stream="feed::x-1")  # type: ignore[arg-type]

        class Stray(Command):
            account: str

        with pytest.raises(UnknownMessage, match="no aggregate takes"):
            runtime.ask(Stray("a"))
        runtime.settle(timeout=10)
        assert list(runtime.events()) == []
        assert runtime.stats()["steps"] == 0


def test_11_an_event_whose_id_is_too_long_is_parked_and_delays_nobody(place: str) -> None:
    with Runtime(place, bank) as runtime:
        runtime.publish(Opened("x" * 600), stream="feed::x-1")
        runtime.publish(Opened("a"), stream="feed::x-1")
        runtime.settle(timeout=10)
        assert runtime.stats()["parked"] == 1
        assert runtime.get(Book, "a") is not None


def test_11_a_null_id_makes_no_instance(place: str) -> None:
    domain = Domain("nulls")

    class Seen(Event):
        who: str | None

    @domain.register
    class Watcher(ProcessManager, correlate="who"):
        count: int = 0

        @handle(Seen, start=True)
        def on_seen(self, event: Seen) -> None:
            self.count += 1

    with Runtime(place, domain) as runtime:
        runtime.publish(Seen(None), stream="feed::x-1")
        runtime.settle(timeout=10)
        assert runtime.get(Watcher, "None") is None
        assert runtime.stats()["not_for_us"] == 1


def test_11_a_store_of_a_newer_format_is_refused(tmp_path: Path) -> None:
    with Runtime(tmp_path, bank) as runtime:
        runtime.ask(Open("a"))
    with lmdb.open(str(tmp_path), max_dbs=32) as env:
        meta = env.open_db(b"meta")
        with env.begin(write=True) as txn:
            txn.put(b"format", frame(b"format", 99), db=meta)
    before = (tmp_path / "data.mdb").read_bytes()
    with pytest.raises(UnknownFormat, match="format 99"):
        Runtime(tmp_path, bank)
    assert (tmp_path / "data.mdb").read_bytes() == before


@pytest.mark.parametrize("left", [0, 100, 5_000, 20_000])
def test_11_a_truncated_file_is_refused(tmp_path: Path, left: int) -> None:
    with Runtime(tmp_path, bank) as runtime:
        runtime.tell_many([Open(f"a{number}") for number in range(50)])
        runtime.settle(timeout=10)
    file = tmp_path / "data.mdb"
    with file.open("r+b") as data:
        data.truncate(left)
    with pytest.raises(DamagedStore, match=r"data\.mdb"):
        Runtime(tmp_path, bank)
    assert file.stat().st_size == left


def test_11_a_damaged_record_is_reported_and_harms_no_other(
    tmp_path: Path, findings: list[StoreFinding]
) -> None:
    with Runtime(tmp_path, bank) as runtime:
        runtime.ask(Open("damaged-account"))
        runtime.ask(Open("good"))
        runtime.settle(timeout=10)
    file = tmp_path / "data.mdb"
    file.write_bytes(file.read_bytes().replace(b"damaged-account", b"DAMAGED-account"))
    with Runtime(tmp_path, bank) as runtime:
        damaged, sound = runtime.events()
        assert "CorruptRecord: the record" in str(damaged.error)
        assert sound.event == Opened("good")
        assert runtime.get(Book, "good") is not None
    assert issubclass(CorruptRecord, StoreError)
    assert [one.table for one in findings] == ["log", "transitions", "started"]
    findings.clear()


def test_11_options_out_of_range_are_refused_before_a_store_is_made(tmp_path: Path) -> None:
    for options in ({"workers": 0}, {"max_awake": -1}, {"max_in_flight": 1.5}):
        with pytest.raises(ValueError, match="whole number"):
            Runtime(tmp_path / "store", bank, **options)
    with pytest.raises(StoreError, match="durability"):
        Runtime(tmp_path / "store", bank, durability="maybe")  # type: ignore[arg-type]
    assert not (tmp_path / "store").exists()


# 12. Fair deadlines


class Lent(Event):
    book: str


class Returned(Event):
    book: str


library = Domain("library")
library.register(Lent, Returned)


@library.register
class Loan(ProcessManager, correlate="book", restart=True):
    book: str = ""
    log: list[str] = []

    @handle(Lent, start=True)
    def lent(self, event: Lent) -> None:
        self.set_timeout("warn", timedelta(minutes=30))
        self.set_timeout("fine", timedelta(minutes=30))

    @handle(Returned)
    def returned(self, event: Returned) -> None:
        self.log.append("returned")

    @timeout("warn")
    def warn(self) -> None:
        self.log.append("warned")

    @timeout("fine")
    def fine(self) -> None:
        self.log.append("fined")


def logs(runtime: Runtime) -> dict[str, list[str]]:
    runtime.settle(timeout=60)
    return {view.id: view.state["log"] for view in runtime.find(Loan)}


def test_12_what_was_stored_up_to_a_moment_comes_before_what_is_due_then(place: str) -> None:
    books = [f"b{number}" for number in range(300)]
    clock = VirtualClock()
    with Runtime(place, library, clock=clock) as runtime:
        runtime.publish_many([Lent(book) for book in books], stream=lambda e: f"desk-{e.book}")
        runtime.settle(timeout=60)
        clock.advance(timedelta(minutes=29))
        runtime.publish_many([Returned(book) for book in books], stream=lambda e: f"desk-{e.book}")
    # Whether they were handled by then or not, the process is up again long after the moment.
    with Runtime(place, library, clock=VirtualClock(clock.now() + timedelta(hours=1))) as runtime:
        assert logs(runtime) == {book: ["returned", "warned", "fined"] for book in books}


def test_12_what_is_due_comes_before_what_is_stored_later_and_in_the_order_of_setting(
    place: str,
) -> None:
    clock = VirtualClock()
    with Runtime(place, library, clock=clock) as runtime:
        runtime.publish(Lent("b"), stream="desk-b")
        runtime.settle(timeout=60)
    late = VirtualClock(clock.now() + timedelta(minutes=30, microseconds=1))
    with Runtime(place, library, clock=late) as runtime:
        # Before any timer had its turn, as far as this thread can tell.
        runtime.publish(Returned("b"), stream="desk-b")
        assert logs(runtime) == {"b": ["warned", "fined", "returned"]}


# 13. One id, one meaning


def test_13_an_id_that_was_used_keeps_what_it_stood_for(place: str) -> None:
    with Runtime(place, bank) as runtime:
        first = runtime.ask(Deposit("ada", 7), command_id="k")
        assert runtime.ask(Deposit("ada", 7), command_id="k") == first
        for other in (Deposit("ben", 7), Deposit("ada", 8), Open("ada")):
            with pytest.raises(IdReused, match=r"bank\.Deposit\.v1 for 'bank::account-ada'"):
                runtime.ask(other, command_id="k")
            with pytest.raises(IdReused):
                runtime.tell(other, command_id="k")
        position = runtime.publish(Opened("x"), stream="feed-1", event_id="e")
        assert runtime.publish(Opened("x"), stream="feed-1", event_id="e") == position
        with pytest.raises(IdReused):
            runtime.publish(Opened("y"), stream="feed-1", event_id="e")
        with pytest.raises(IdReused):
            runtime.publish(Opened("x"), stream="feed-2", event_id="e")
        runtime.settle(timeout=10)
        assert runtime.get(Account, "ben") is None
        assert len(list(runtime.events("bank::account"))) == 1


def test_13_a_run_never_hears_of_what_an_ended_one_had_under_way(place: str) -> None:
    desk = Domain("desk")

    class Came(Event):
        who: str

    class Left(Event):
        who: str

    class Remind(Command):
        who: str

    class Reminded(Event):
        who: str

    @desk.register
    class Post(Aggregate, identity="who"):
        @handle(Remind)
        def remind(self, command: Remind) -> Reminded:
            return Reminded(self.id)

    @desk.register
    class Visit(ProcessManager, correlate="who", restart=True):
        who: str = ""
        heard: list[str] = []

        @handle(Came, start=True)
        def came(self, event: Came) -> None:
            self.set_timeout("tired", timedelta(minutes=5))
            self.issue(Remind(self.who), after=timedelta(minutes=5))

        @handle(Left, end=True)
        def left(self, event: Left) -> None: ...

        @timeout("tired")
        def tired(self) -> None:
            self.heard.append("tired")

        @handle(Reminded)
        def reminded(self, event: Reminded) -> None:
            self.heard.append("reminded")

    clock = VirtualClock()
    with Runtime(place, desk, clock=clock) as runtime:
        for event in (Came("ann"), Left("ann"), Came("ann")):
            runtime.publish(event, stream="door-1")
            runtime.settle(timeout=10)
            clock.advance(timedelta(minutes=1))
        clock.advance(timedelta(minutes=2, seconds=30))
        runtime.settle(timeout=10)
        view = runtime.get(Visit, "ann")
        assert view is not None
        assert view.state["heard"] == []
        clock.advance(timedelta(minutes=2))
        runtime.settle(timeout=10)
        view = runtime.get(Visit, "ann")
        assert view is not None
        assert sorted(view.state["heard"]) == ["reminded", "tired"]


def test_13_a_class_with_another_name_repeats_nothing(place: str) -> None:
    with Runtime(place, library) as runtime:
        runtime.publish(Lent("b"), stream="desk-b")
        runtime.settle(timeout=10)
    renamed = Domain("library")
    renamed.register(Lent, Returned)

    class Borrowing(ProcessManager, correlate="book", begin="origin"):
        book: str = ""

        @handle(Lent, start=True)
        def lent(self, event: Lent) -> None: ...

    renamed.register(Borrowing)
    with pytest.raises(DefinitionError, match=r'name="library\.Loan"'):
        Runtime(place, renamed)


# 14. What is written runs


def test_14_a_handler_that_could_never_be_called_is_refused_at_registration() -> None:
    def traced(function: Any) -> Any:
        def call(*arguments: Any) -> Any:
            return function(*arguments)

        return call

    with pytest.raises(DefinitionError, match="lost the mark"):

        class Unheard(ProcessManager, correlate="book"):
            @traced
            @handle(Lent, start=True)
            def lent(self, event: Lent) -> None: ...

    class Quiet(Loan):
        def returned(self, event: Returned) -> None: ...

    with pytest.raises(DefinitionError, match="has no such mark itself"):
        Domain("quiet").register(Quiet)

    class Waiting(ProcessManager, correlate="book"):
        @handle(Lent, start=True)
        async def lent(self, event: Lent) -> None: ...

    with pytest.raises(DefinitionError, match="async def"):
        Domain("waiting").register(Waiting)


def test_14_a_class_that_history_would_surprise_is_refused_at_opening(place: str) -> None:
    outside = Domain("library")
    outside.register(Lent, Returned)
    with Runtime(place, outside) as runtime:
        runtime.publish_many([Lent(f"b{number}") for number in range(7)], stream="desk-1")
    with pytest.raises(BeginUndecided, match="7 events") as raised:
        Runtime(place, library)
    assert raised.value.counts == {"library.Loan": 7}
    with Runtime(place, library, read_only=True) as runtime:
        assert list(runtime.find(Loan)) == []


def test_14_an_event_that_no_class_can_take_any_more_is_refused_at_opening(place: str) -> None:
    with Runtime(place, library) as runtime:
        runtime.publish(Lent("b"), stream="desk-b")
        runtime.settle(timeout=10)
    gone = Domain("library")
    gone.register(Returned)
    with pytest.raises(DefinitionError, match=r"library\.Lent\.v1|library\.Loan"):
        Runtime(place, gone)
