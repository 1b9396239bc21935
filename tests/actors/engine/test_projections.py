"""Projections: ordered, kept with their checkpoint, held up by stream, before all after-effects."""

import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import pytest

from procession import (
    AsyncRuntime,
    DefinitionError,
    Domain,
    Event,
    NotProjected,
    ProcessManager,
    Projection,
    Retry,
    Runtime,
    StreamHeldUp,
    TimedOut,
    UnknownMessage,
    WaitingInHandler,
    after,
    handle,
    project,
)
from procession.projections import DbApi
from procession.testing import VirtualClock

WAIT = 30


class Counted(Event):
    key: str
    value: int


class Shop(NamedTuple):
    """A domain with a projection of its own, and what its handlers and its database do."""

    domain: Domain
    tables: type[Projection]
    path: Path
    bad: set[int]
    away: threading.Event
    seen: list[tuple[int, int]]
    """After an event: its value, and the sum that an after-effect found in the table."""

    def rows(self) -> list[tuple[str, int]]:
        """What the table has, in order of its keys."""
        with sqlite3.connect(self.path) as connection:
            found = connection.execute("select key, total from sums order by key").fetchall()
        connection.close()
        return found


def made(path: Path, *, name: str = "Sums", version: int = 1, **options: Any) -> Shop:
    domain = Domain("shop")
    bad: set[int] = set()
    away = threading.Event()
    seen: list[tuple[int, int]] = []
    domain.register(Counted)

    def connect() -> sqlite3.Connection:
        if away.is_set():
            raise sqlite3.OperationalError("the database is away")
        return sqlite3.connect(path)

    class Sums(
        Projection,
        name=f"shop.{name}",
        database=DbApi(connect),
        tables=["sums"],
        version=version,
        **options,
    ):
        factor: ClassVar[int] = version

        def create(self) -> None:
            self.db.execute(
                f"create table if not exists {self.table('sums')} (key text primary key, total int)"
            )

        @project(Counted)
        def counted(self, event: Counted) -> None:
            if away.is_set():
                # As a driver whose connection is lost.
                self.db.connection.close()
            self.db.execute(
                f"insert into {self.table('sums')} values (?, ?) "
                f"on conflict (key) do update set total = total + excluded.total",
                (event.key, event.value * Sums.factor),
            )
            if event.value in bad:
                raise ValueError(f"{event.value} is bad")

    domain.projection(Sums)

    @domain.register
    class Reader(ProcessManager, correlate="key"):
        @handle(Counted, start=True)
        def counted(self, event: Counted) -> None:
            pass

        @after(Counted)
        def read(self, event: Counted) -> None:
            with sqlite3.connect(path) as connection:
                found = connection.execute(
                    "select total from sums where key = ?", (event.key,)
                ).fetchone()
            connection.close()
            seen.append((event.value, 0 if found is None else found[0]))

    return Shop(domain, Sums, path, bad, away, seen)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return made(tmp_path / "tables.db", retry=Retry(attempts=2, first=timedelta(seconds=10)))


@pytest.fixture
def opened(tmp_path: Path, clock: VirtualClock) -> Iterator[Callable[[Shop], Runtime]]:
    runtimes: list[Runtime] = []

    def open_it(shop: Shop) -> Runtime:
        runtime = Runtime(tmp_path / "store", shop.domain, clock=clock, durability="none")
        runtimes.append(runtime)
        return runtime

    yield open_it
    for runtime in runtimes:
        runtime.close()


def count(runtime: Runtime, *values: int, key: str = "a") -> int:
    events = [Counted(key, value) for value in values]
    return runtime.publish_many(events, stream=f"shop::sum-{key}")[-1]


def test_events_are_folded_into_a_table_with_their_position(
    shop: Shop, opened: Callable[[Shop], Runtime]
) -> None:
    runtime = opened(shop)
    count(runtime, 1, 2, 3)
    count(runtime, 10, key="b")
    runtime.settle(WAIT)
    assert shop.rows() == [("a", 6), ("b", 10)]
    assert runtime.stats()["projected"] == 4
    health = runtime.health()
    assert health.projections_backlog == {"shop.Sums": 0}
    assert health.projections_lag == {}


def test_a_runtime_that_is_opened_again_goes_on_from_the_checkpoint(
    shop: Shop, opened: Callable[[Shop], Runtime]
) -> None:
    runtime = opened(shop)
    count(runtime, 1, 2)
    runtime.settle(WAIT)
    runtime.close()
    runtime = opened(shop)
    count(runtime, 4)
    runtime.settle(WAIT)
    assert shop.rows() == [("a", 7)]


def test_a_projection_that_is_new_to_a_store_takes_the_whole_log(
    tmp_path: Path, shop: Shop, opened: Callable[[Shop], Runtime]
) -> None:
    runtime = opened(shop)
    count(runtime, *range(1, 60))
    runtime.close()
    other = made(tmp_path / "other.db", name="Sums")
    runtime = opened(other)
    runtime.settle(WAIT)
    assert other.rows() == [("a", sum(range(1, 60)))]


def test_after_effects_read_tables_that_have_their_event(
    shop: Shop, opened: Callable[[Shop], Runtime]
) -> None:
    runtime = opened(shop)
    for number in range(20):
        count(runtime, 1, key=f"k{number}")
    runtime.settle(WAIT)
    assert shop.seen == [(1, 1)] * 20


# What fails


def test_an_event_that_fails_is_tried_again_and_only_its_stream_waits(
    shop: Shop, opened: Callable[[Shop], Runtime], clock: VirtualClock
) -> None:
    shop.bad.add(2)
    runtime = opened(shop)
    count(runtime, 1, 2, 4)
    count(runtime, 8, key="b")
    runtime.settle(WAIT)
    assert shop.rows() == [("a", 1), ("b", 8)]
    shop.bad.clear()
    clock.advance(timedelta(seconds=10))
    runtime.settle(WAIT)
    assert shop.rows() == [("a", 7), ("b", 8)]
    assert not list(runtime.parked())


def test_an_event_that_fails_for_good_is_parked_and_a_retry_takes_its_stream_up_in_order(
    shop: Shop, opened: Callable[[Shop], Runtime], clock: VirtualClock
) -> None:
    shop.bad.add(2)
    runtime = opened(shop)
    count(runtime, 1, 2, 4)
    runtime.settle(WAIT)
    clock.advance(timedelta(seconds=10))
    runtime.settle(WAIT)
    (parked,) = runtime.parked()
    assert (parked.process, parked.instance) == ("shop.Sums", "shop::sum-a")
    assert (parked.error, parked.attempts, parked.handler) == ("ValueError: 2 is bad", 2, "counted")
    assert [one.name for one in runtime.health().problems] == ["parked"]
    count(runtime, 16)
    runtime.settle(WAIT)
    assert shop.rows() == [("a", 1)]
    shop.bad.clear()
    runtime.retry(parked.id, by="ann")
    runtime.settle(WAIT)
    assert shop.rows() == [("a", 23)]
    assert not runtime.health().problems


def test_an_event_that_is_skipped_stays_out_and_its_stream_goes_on(
    shop: Shop, opened: Callable[[Shop], Runtime], clock: VirtualClock
) -> None:
    shop.bad.add(2)
    runtime = opened(shop)
    count(runtime, 1, 2, 4)
    runtime.settle(WAIT)
    clock.advance(timedelta(seconds=10))
    runtime.settle(WAIT)
    (parked,) = runtime.parked()
    runtime.skip(parked.id)
    runtime.settle(WAIT)
    assert shop.rows() == [("a", 5)]
    runtime.rebuild(shop.tables)
    assert shop.rows() == [("a", 5)]


def test_what_waits_is_taken_up_after_a_restart(
    shop: Shop, opened: Callable[[Shop], Runtime], clock: VirtualClock
) -> None:
    shop.bad.add(2)
    runtime = opened(shop)
    count(runtime, 1, 2, 4)
    runtime.settle(WAIT)
    runtime.close()
    shop.bad.clear()
    runtime = opened(shop)
    count(runtime, 8)
    runtime.settle(WAIT)
    assert shop.rows() == [("a", 1)]
    clock.advance(timedelta(seconds=10))
    runtime.settle(WAIT)
    assert shop.rows() == [("a", 15)]


def test_a_second_failure_behind_the_first_holds_the_stream_up_again(
    shop: Shop, opened: Callable[[Shop], Runtime], clock: VirtualClock
) -> None:
    shop.bad.update({2, 8})
    runtime = opened(shop)
    count(runtime, 1, 2, 4, 8, 16)
    runtime.settle(WAIT)
    shop.bad.discard(2)
    clock.advance(timedelta(seconds=10))
    runtime.settle(WAIT)
    assert shop.rows() == [("a", 7)]
    shop.bad.clear()
    clock.advance(timedelta(seconds=10))
    runtime.settle(WAIT)
    assert shop.rows() == [("a", 31)]


# The gate


def test_where_the_database_fails_after_effects_wait_and_then_go_and_say_so(
    shop: Shop, opened: Callable[[Shop], Runtime], clock: VirtualClock
) -> None:
    runtime = opened(shop)
    count(runtime, 1)
    runtime.settle(WAIT)
    shop.away.set()
    count(runtime, 2)
    runtime.settle(WAIT)
    assert shop.seen == [(1, 1)]
    (problem,) = runtime.health().problems
    assert problem.name == "projection_behind"
    assert "after-effects wait for it" in problem.detail
    clock.advance(timedelta(seconds=59))
    runtime.settle(WAIT)
    assert shop.seen == [(1, 1)]
    clock.advance(timedelta(seconds=1))
    runtime.settle(WAIT)
    assert shop.seen == [(1, 1), (2, 1)]
    (problem,) = runtime.health().problems
    assert "after-effects go on without it" in problem.detail
    shop.away.clear()
    clock.advance(timedelta(seconds=11))
    runtime.settle(WAIT)
    assert shop.rows() == [("a", 3)]
    assert not runtime.health().problems
    count(runtime, 4)
    runtime.settle(WAIT)
    assert shop.seen[-1] == (4, 7)


def test_what_an_alarm_changes_is_looked_at_by_the_leader_and_holds_up_no_other_alarm(
    shop: Shop, opened: Callable[[Shop], Runtime], monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = opened(shop)
    runtime.settle(WAIT)
    assert runtime._running is not None
    feeds, looked = runtime._running.projections, list[threading.Thread]()
    monkeypatch.setattr(feeds, "open_gates", lambda: ["Sums"])
    monkeypatch.setattr(feeds, "_has_changed", lambda: looked.append(threading.current_thread()))
    # The machine's clock rings all alarms on one thread.
    feeds._ring()
    runtime.settle(WAIT)
    assert len(looked) == 1
    assert looked[0] is not threading.current_thread()


# Reading one's own writes


def test_a_caller_reads_what_it_wrote(shop: Shop, opened: Callable[[Shop], Runtime]) -> None:
    runtime = opened(shop)
    for number in range(1, 6):
        position = count(runtime, 1)
        assert runtime.read(shop.tables, after=position, timeout=WAIT) >= position
        assert shop.rows() == [("a", number)]
    assert runtime.read(shop.tables, timeout=WAIT) == 5


async def read_in_a_coroutine(path: Path, shop: Shop) -> int:
    async with AsyncRuntime(path, shop.domain) as runtime:
        position = await runtime.publish(Counted("a", 5), stream="shop::sum-a")
        return await runtime.read(shop.tables, after=position, timeout=WAIT)


@pytest.mark.anyio
async def test_a_coroutine_reads_what_it_wrote(tmp_path: Path, shop: Shop) -> None:
    assert await read_in_a_coroutine(tmp_path / "other", shop) == 1
    assert shop.rows() == [("a", 5)]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def test_reading_says_why_what_was_written_is_not_there(
    shop: Shop, opened: Callable[[Shop], Runtime], clock: VirtualClock
) -> None:
    shop.bad.add(2)
    runtime = opened(shop)
    count(runtime, 1)
    position = count(runtime, 2)
    runtime.settle(WAIT)
    with pytest.raises(TimedOut, match="catching up"):
        runtime.read(shop.tables, after=position, timeout=0)
    clock.advance(timedelta(seconds=10))
    runtime.settle(WAIT)
    with pytest.raises(StreamHeldUp, match=r"retry\(1\)") as held:
        runtime.read(shop.tables, after=position, timeout=WAIT)
    assert held.value.parked_id == 1
    other = count(runtime, 3, key="b")
    assert runtime.read(shop.tables, after=other, timeout=WAIT) == other
    shop.away.set()
    position = count(runtime, 4, key="b")
    runtime.settle(WAIT)
    with pytest.raises(TimedOut, match="its database fails"):
        runtime.read(shop.tables, after=position, timeout=0)
    with pytest.raises(ValueError, match="the newest is 4"):
        runtime.read(shop.tables, after=99)
    shop.away.clear()


# Made anew


def test_tables_are_made_anew_beside_those_that_are_read_and_swapped(
    shop: Shop, opened: Callable[[Shop], Runtime], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("procession.engine.projection_rebuild.BATCH", 10)
    runtime = opened(shop)
    count(runtime, *range(1, 16))
    runtime.settle(WAIT)
    with sqlite3.connect(shop.path) as connection:
        connection.execute("update sums set total = 0")
    connection.close()
    told: list[tuple[int, list[tuple[str, int]]]] = []
    progress = runtime.rebuild(
        shop.tables, on_progress=lambda one: told.append((one.position, shop.rows()))
    )
    assert told[0] == (10, [("a", 0)])
    assert (progress.position, progress.projected) == (15, 15)
    assert shop.rows() == [("a", sum(range(1, 16)))]
    count(runtime, 1)
    runtime.settle(WAIT)
    assert shop.rows() == [("a", sum(range(1, 16)) + 1)]
    with sqlite3.connect(shop.path) as connection:
        names = {name for (name,) in connection.execute("select name from sqlite_master")}
    connection.close()
    assert not {one for one in names if one.startswith("sums__")}


def test_a_rebuild_that_was_interrupted_goes_on_where_it_stopped(
    shop: Shop, opened: Callable[[Shop], Runtime], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("procession.engine.projection_rebuild.BATCH", 10)
    runtime = opened(shop)
    count(runtime, *range(1, 16))
    runtime.settle(WAIT)

    def interrupt(progress: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runtime.rebuild(shop.tables, on_progress=interrupt)
    assert runtime.rebuild(shop.tables).projected == 5
    assert shop.rows() == [("a", sum(range(1, 16)))]


def test_a_rebuild_that_fails_leaves_the_tables_that_are_read(
    shop: Shop, opened: Callable[[Shop], Runtime]
) -> None:
    runtime = opened(shop)
    count(runtime, 1, 2)
    runtime.settle(WAIT)
    shop.bad.add(2)
    with pytest.raises(NotProjected, match="position 2 could not be written: ValueError"):
        runtime.rebuild(shop.tables)
    assert shop.rows() == [("a", 3)]
    count(runtime, 4)
    runtime.settle(WAIT)
    assert shop.rows() == [("a", 7)]


def test_what_was_parked_is_retried_by_a_rebuild_that_writes_it(
    shop: Shop, opened: Callable[[Shop], Runtime], clock: VirtualClock
) -> None:
    shop.bad.add(2)
    runtime = opened(shop)
    count(runtime, 1, 2, 4)
    runtime.settle(WAIT)
    clock.advance(timedelta(seconds=10))
    runtime.settle(WAIT)
    shop.bad.clear()
    runtime.rebuild(shop.tables, by="ann")
    runtime.settle(WAIT)
    assert shop.rows() == [("a", 7)]
    assert not list(runtime.parked())
    (decided,) = runtime.parked(decided=True)
    assert (decided.decision, decided.decided_by) == ("retry", "ann")
    count(runtime, 8)
    runtime.settle(WAIT)
    assert shop.rows() == [("a", 15)]


def test_tables_of_an_older_version_of_the_class_are_made_anew_when_it_is_opened(
    tmp_path: Path, shop: Shop, opened: Callable[[Shop], Runtime]
) -> None:
    runtime = opened(shop)
    count(runtime, 1, 2)
    runtime.settle(WAIT)
    runtime.close()
    newer = made(shop.path, version=10)
    runtime = opened(newer)
    position = count(runtime, 4)
    assert runtime.read(newer.tables, after=position, timeout=WAIT) == position
    assert newer.rows() == [("a", 70)]


# Whose they are


def test_tables_of_another_store_are_refused(
    tmp_path: Path, shop: Shop, opened: Callable[[Shop], Runtime]
) -> None:
    runtime = opened(shop)
    count(runtime, 1)
    runtime.settle(WAIT)
    runtime.close()
    with Runtime(tmp_path / "other", shop.domain, durability="none") as other:
        count(other, 2)
        other.settle(WAIT)
        (problem,) = other.health().problems
        assert "another store" in problem.detail
    assert shop.rows() == [("a", 1)]


def test_a_projection_that_lost_its_class_keeps_the_store_from_being_opened(
    tmp_path: Path, shop: Shop, opened: Callable[[Shop], Runtime]
) -> None:
    runtime = opened(shop)
    count(runtime, 1)
    runtime.settle(WAIT)
    runtime.close()
    renamed = made(shop.path, name="Totals")
    with pytest.raises(DefinitionError, match=r'name="shop\.Sums"'):
        opened(renamed)
    with Runtime(tmp_path / "store", renamed.domain, retired=["shop.Sums"]):
        pass


def test_a_handler_of_a_projection_that_waits_for_itself_is_refused(
    tmp_path: Path, clock: VirtualClock
) -> None:
    domain, found = Domain("shop"), list[BaseException]()

    @domain.projection
    class Waiting(Projection):
        @project(Counted)
        def counted(self, event: Counted) -> None:
            for call in (runtime.settle, runtime.close, lambda: runtime.read(Waiting)):
                with pytest.raises(WaitingInHandler) as refused:
                    call()
                found.append(refused.value)

    with Runtime(tmp_path / "store", domain, clock=clock) as runtime:
        count(runtime, 1)
        runtime.settle(WAIT)
        assert len(found) == 3
        with pytest.raises(DefinitionError, match="names no tables"):
            runtime.rebuild(Waiting)

        class Stranger(Projection):
            @project(Counted)
            def counted(self, event: Counted) -> None:
                pass

        with pytest.raises(UnknownMessage, match="in no domain"):
            runtime.read(Stranger)


def test_without_a_database_the_checkpoint_is_in_the_store(
    tmp_path: Path, clock: VirtualClock
) -> None:
    domain, seen, bad = Domain("shop"), list[tuple[int, str]](), {3}

    @domain.projection
    class Outside(Projection, retry=Retry(attempts=1)):
        @project(Counted)
        def counted(self, event: Counted) -> None:
            if event.value in bad:
                raise ValueError(event.value)
            seen.append((event.value, self.context.stream))

    with Runtime(tmp_path / "store", domain, clock=clock) as runtime:
        count(runtime, 1, 2, 3, 4)
        count(runtime, 5, key="b")
        runtime.settle(WAIT)
    assert [value for value, _ in seen] == [1, 2, 5]
    bad.clear()
    with Runtime(tmp_path / "store", domain, clock=clock) as runtime:
        runtime.retry(1)
        count(runtime, 6)
        runtime.settle(WAIT)
    assert [value for value, _ in seen] == [1, 2, 5, 3, 4, 6]
    assert seen[0] == (1, "shop::sum-a")


def test_what_waits_for_a_retry_never_overtakes_what_comes_before_it(
    tmp_path: Path, opened: Callable[[Shop], Runtime], clock: VirtualClock
) -> None:
    shop = made(tmp_path / "tables.db", retry=Retry(attempts=9, first=timedelta(0)))
    # The second event fails in both passes through the batch, and then the first event does.
    fails = {1: [3], 2: [1, 2]}
    calls: Counter[int] = Counter()
    order: list[int] = []
    write = shop.tables.__dict__["counted"]

    class InOrder(shop.tables, name="shop.InOrder"):  # type: ignore[name-defined, misc, call-arg]
        @project(Counted)
        def counted(self, event: Counted) -> None:
            write(self, event)
            calls[event.value] += 1
            if calls[event.value] in fails.get(event.value, ()):
                raise ValueError(event.value)
            order.append(event.value)

    domain = Domain("shop")
    domain.projection(InOrder)
    runtime = opened(shop._replace(domain=domain))
    count(runtime, 1, 2, 4)
    runtime.settle(WAIT)
    assert shop.rows() == [("a", 7)]
    assert order[-3:] == [1, 2, 4]
    assert calls[1] == 4
