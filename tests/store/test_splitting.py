"""An undivided store is taken apart into partitions, and its work goes on there."""

from __future__ import annotations

import os
import random
import signal
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from domain_examples.order_fulfilment import (
    PATIENCE,
    CancelOrder,
    ConfirmPayment,
    Order,
    OrderFulfilment,
    Payment,
    PlaceOrder,
    Shipment,
    shop,
)
from procession import (
    Aggregate,
    Command,
    Domain,
    Event,
    IdReused,
    ProcessManager,
    Projection,
    Retry,
    Runtime,
    handle,
    project,
)
from procession.cli import main
from procession.store import (
    DamagedStore,
    DatabaseRefused,
    StoreError,
    copy,
    divided_store,
    open_store,
    verify,
)
from procession.store.layout.keys import numbered
from procession.store.layout.schema import count_key, row_of
from procession.store.maintenance import sorting, splitting
from procession.store.postgresql import divided_database
from procession.store.postgresql.parameters import copied
from procession.testing import VirtualClock
from tests.actors.cluster.crossing import Called, Case, Marked, Numbered, Open, crossing
from tests.coding import Reversed
from tests.postgresql import shared_server
from tests.store.test_verifying_apart import children

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from procession.store import Store

ITS_BACKEND = "SELECT pid FROM pg_stat_activity WHERE application_name = 'divides'"

PARTITIONS = 3
WAIT = 30


@pytest.fixture(params=["folder", "database"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where the divided store is to be."""
    if request.param == "database":
        return shared_server().new_url(without_tables=True)
    return str(tmp_path / "divided")


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splitting, "AT_ONCE", 20_000)
    monkeypatch.setattr(splitting, "NOTED_EVERY", 4)
    monkeypatch.setattr(sorting, "ADDED_AT_ONCE", 20)


def found_wrong(place: str) -> list[object]:
    with Runtime(place, read_only=True) as runtime:
        return list(runtime.verify())


# The example of orders


def first_half(runtime: Runtime, seed: int) -> None:
    chosen = random.Random(seed)
    for number in range(12):
        country = chosen.choice(["DE", "FR", "XX"])
        total = Decimal(chosen.choice([20, 700, 2_000]))
        runtime.tell(order(f"o{number}", total, country), command_id=f"placed-{number}")
    runtime.settle(WAIT)


def second_half(runtime: Runtime, clock: VirtualClock, seed: int) -> None:
    chosen = random.Random(seed)
    for number in range(12):
        name = f"o{number}"
        act = chosen.choice([ConfirmPayment(name), CancelOrder(name, "changed my mind"), None])
        if act is not None:
            runtime.tell(act)
    runtime.settle(WAIT)
    clock.advance(PATIENCE + timedelta(hours=1))
    runtime.settle(WAIT)


def all_states(runtime: Runtime) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for number in range(12):
        for cls in (OrderFulfilment, Order, Payment, Shipment):
            view = runtime.get(cls, f"o{number}")
            found[f"{cls.__name__} {number}"] = view and (view.state, view.version)
    return found


def order(name: str, total: Decimal, country: str) -> PlaceOrder:
    return PlaceOrder(name, "mug", 1, total, country)


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("seed", range(2))
def test_orders_that_go_on_in_partitions_end_as_they_would_have(tmp_path: Path, seed: int) -> None:
    clocks = VirtualClock(), VirtualClock()
    with Runtime(tmp_path / "whole", shop, clock=clocks[0], durability="none") as runtime:
        first_half(runtime, seed)
        second_half(runtime, clocks[0], seed)
        expected = all_states(runtime)
        counts = {name: one.instances for name, one in runtime.counts().items()}
    with Runtime(tmp_path / "half", shop, clock=clocks[1], durability="none") as runtime:
        first_half(runtime, seed)
        before = all_states(runtime)
    copy(tmp_path / "half", tmp_path / "divided", partitions=PARTITIONS)
    with Runtime(tmp_path / "divided", shop, clock=clocks[1]) as runtime:
        assert all_states(runtime) == before
        second_half(runtime, clocks[1], seed)
        assert all_states(runtime) == expected
        assert {name: one.instances for name, one in runtime.counts().items()} == counts
        assert runtime.verify() == []
        # An id from before the copying stands for what it stood for.
        with pytest.raises(IdReused):
            runtime.tell(order("o1", Decimal(999), "AT"), command_id="placed-1")


# All that crosses


def busy(folder: Path, **options: Any) -> dict[str, Any]:
    with Runtime(folder, crossing, durability="none", **options) as runtime:
        for number in range(12):
            parts = (f"p0-{number}", f"p1-{number}", f"bad-{number}")
            runtime.tell(Open(f"c{number}", parts))
        runtime.settle(WAIT)
        for number in range(12):
            runtime.publish(
                Numbered(f"c{number}", f"n{number % 5}"),
                stream=f"crossing::numbers-{number}",
                event_id=f"given-{number}",
            )
        for number in range(8):
            # Those from 5 are held for who learns them.
            runtime.publish(Marked(f"n{number}"), stream=f"crossing::marks-{number}")
        runtime.publish(Called(tuple(f"c{number}" for number in range(12))), stream="calls-1")
        runtime.settle(WAIT)
        return states_of(runtime)


def states_of(runtime: Runtime) -> dict[str, Any]:
    return {view.id: (view.state, view.version) for view in runtime.find(Case)}


@pytest.mark.usefixtures("small_parts")
def test_what_crosses_partitions_is_there_as_if_it_had_been_sent(
    tmp_path: Path, target: str
) -> None:
    expected = busy(tmp_path / "whole")
    copy(tmp_path / "whole", target, partitions=PARTITIONS)
    assert verify(tmp_path / "whole") == []
    with Runtime(target, crossing) as runtime:
        runtime.settle(WAIT)
        assert states_of(runtime) == expected
        # A key that was learnt before, one that is learnt only now, and an id from before.
        runtime.publish(Marked("n1"), stream="crossing::marks-later")
        runtime.publish(Numbered("c3", "n6"), stream="crossing::numbers-later")
        again = runtime.publish(
            Numbered("c2", "n2"), stream="crossing::numbers-2", event_id="given-2"
        )
        runtime.settle(WAIT)
        found = states_of(runtime)
        for number in range(12):
            more = number % 5 == 1 or number == 3
            before = expected[f"c{number}"][0]["marks"]
            assert found[f"c{number}"][0]["marks"] == before + more, number
        assert again <= max(one.position for one in runtime.events("crossing::numbers-2"))
        for number in (1, 3, 7):
            runtime.refresh(Case, f"c{number}")
        assert {one: state for one, (state, _) in states_of(runtime).items()} == {
            one: state for one, (state, _) in found.items()
        }
        assert runtime.verify() == []


@pytest.mark.parametrize("noted_every", [2, 5, 256])
def test_an_instance_has_seen_in_its_partition_what_it_had_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, noted_every: int
) -> None:
    monkeypatch.setattr(splitting, "NOTED_EVERY", noted_every)
    busy(tmp_path / "whole")
    copy(tmp_path / "whole", tmp_path / "divided", partitions=PARTITIONS)
    divided = divided_store(tmp_path / "divided")
    assert divided is not None
    with open_store(tmp_path / "whole", read_only=True) as store:
        positions, seen = seen_in(store)
    at = {place: position for position, place in positions.items()}
    for number in range(PARTITIONS):
        with divided.open(number, read_only=True) as store:
            here, found = seen_in(store)
        # In a partition, places come in the order in which they were stored.
        assert found == {
            who: max((one for one, place in here.items() if at[place] <= seen[who]), default=0)
            for who in found
        }


def seen_in(
    store: Store,
) -> tuple[dict[int, tuple[str, int]], dict[tuple[str, str, int], int]]:
    """Streams and versions by position, and how far each transition has seen."""
    with store.stored_snapshot() as rows:
        events = {numbered(key): row_of("log", key, raw) for key, raw in rows.scan("log")}
        made = [row_of("transitions", key, raw) for key, raw in rows.scan("transitions")]
    return (
        {position: (one.stream, one.version) for position, one in events.items()},
        {(one.process, one.instance, one.version): one.seen for one in made},
    )


def test_a_store_with_a_codec_is_divided_with_the_codec(tmp_path: Path) -> None:
    expected = busy(tmp_path / "whole", codec=Reversed())
    with pytest.raises(StoreError, match="codec"):
        copy(tmp_path / "whole", tmp_path / "divided", partitions=2)
    copy(tmp_path / "whole", tmp_path / "divided", partitions=2, codec=Reversed())
    with Runtime(tmp_path / "divided", crossing, codec=Reversed()) as runtime:
        assert states_of(runtime) == expected
        runtime.publish(Marked("n1"), stream="crossing::marks-later")
        runtime.settle(WAIT)
        assert sum(state["marks"] for state, _ in states_of(runtime).values()) == 15


# What failed, waits or is due


class Begun(Event):
    job: str


class Went(Event):
    job: str
    number: int


class Ring(Command):
    bell: str


class Rung(Event):
    bell: str


def jobs_failing(bad: set[str]) -> tuple[Domain, type[ProcessManager], type[Aggregate]]:
    jobs = Domain("jobs")
    jobs.register(Begun, Went)

    @jobs.register
    class Bell(Aggregate, identity="bell"):
        rung: int = 0

        @handle(Ring)
        def ring(self, command: Ring) -> Rung:
            if command.bell in bad:
                raise ValueError(command.bell)
            return Rung(command.bell)

    @jobs.register
    class Job(ProcessManager, correlate=named_by(bad), retry=Retry(attempts=1)):
        job: str = ""
        went: list[int] = []

        @handle(Begun, start=True)
        def begun(self, event: Begun) -> None:
            if f"start {event.job}" in bad:
                raise ValueError(event.job)
            self.job = event.job
            self.issue(Ring(f"late-{event.job}"), after=timedelta(hours=1))
            self.issue(Ring(f"bell-{event.job}"))

        @handle(Went)
        def on_went(self, event: Went) -> None:
            if f"{event.job} {event.number}" in bad:
                raise ValueError(event.job)
            self.went.append(event.number)

    return jobs, Job, Bell


def named_by(bad: set[str]) -> Callable[[Any], str]:
    def named(event: Any) -> str:
        if f"route {event.job}" in bad:
            raise ValueError(event.job)
        return str(event.job)

    return named


@pytest.mark.usefixtures("small_parts")
def test_what_is_parked_waits_or_is_due_goes_on_in_its_partition(tmp_path: Path) -> None:
    names = [f"j{number}" for number in range(7)]
    bad = {f"{name} 1" for name in names[:4]} | {"start j5", "bell-j6", "route odd"}
    clock = VirtualClock()
    jobs, job, bell = jobs_failing(bad)
    with Runtime(tmp_path / "whole", jobs, clock=clock, durability="none") as runtime:
        for name in [*names, "odd"]:
            runtime.publish(Begun(name), stream=f"jobs::begins-{name}-x")
        for number in range(3):
            for name in names:
                runtime.publish(Went(name, number), stream=f"jobs::goes-{name}-{number}")
        runtime.settle(WAIT)
        (first, *_) = [one for one in runtime.parked() if one.instance == "j0"]
        runtime.skip(first.id)
        runtime.settle(WAIT)
        parked = sorted(
            (one.process or "", one.instance or "", one.error) for one in runtime.parked()
        )
        due = sorted(one.due for one in runtime.timeouts())
    copy(tmp_path / "whole", tmp_path / "divided", partitions=PARTITIONS)
    bad.clear()
    with Runtime(tmp_path / "divided", jobs, clock=clock) as runtime:
        runtime.settle(WAIT)
        assert parked == sorted(
            (one.process or "", one.instance or "", one.error) for one in runtime.parked()
        )
        assert sorted(one.due for one in runtime.timeouts()) == due
        for one in list(runtime.parked()):
            runtime.retry(one.id)
        runtime.settle(WAIT)
        clock.advance(timedelta(hours=2))
        runtime.settle(WAIT)
        assert list(runtime.parked()) == []
        for name in names:
            went = [0, 2] if name == "j0" else [0, 1, 2]
            view = runtime.get(job, name)
            assert view is not None
            assert view.state["went"] == went, name
            for which in ("late", "bell"):
                assert runtime.get(bell, f"{which}-{name}") is not None, name
        assert runtime.get(job, "odd") is not None
        assert runtime.verify() == []


# What is refused


@pytest.mark.parametrize("quarters", [1, 3], ids=["written", "verified"])
def test_a_copy_that_was_cut_off_or_refused_leaves_no_store(
    tmp_path: Path, target: str, quarters: int
) -> None:
    busy(tmp_path / "whole")

    def stop(done: int, total: int) -> None:
        if done > total * quarters // 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy(tmp_path / "whole", target, partitions=2, on_progress=stop)
    assert divided_store(target) is None
    assert [one.name for one in tmp_path.iterdir()] == ["whole"]
    with pytest.raises(StoreError, match="1 to 4096 partitions"):
        copy(tmp_path / "whole", target, partitions=0)
    assert main(["copy", str(tmp_path / "whole"), target, "--partitions", "2"]) == 0
    with pytest.raises(StoreError, match=r"holds a store already|is not empty"):
        copy(tmp_path / "whole", target, partitions=2)
    assert found_wrong(target) == []


def test_a_division_in_which_a_process_is_killed_that_verifies_leaves_nothing(
    tmp_path: Path, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy(tmp_path / "whole")
    monkeypatch.setattr(splitting, "WORTH_PROCESSES", 0)
    before = children()

    def kill(done: int, total: int) -> None:
        if done == total // 2:
            os.kill(max(children() - before), signal.SIGKILL)

    with pytest.raises(StoreError, match="was killed by SIGKILL"):
        copy(tmp_path / "whole", target, partitions=PARTITIONS, on_progress=kill)
    assert children() <= before
    assert divided_store(target) is None
    assert [one.name for one in tmp_path.iterdir()] == ["whole"]


def test_a_division_is_interrupted_although_the_server_does_not_answer(tmp_path: Path) -> None:
    busy(tmp_path / "whole")
    server, schema = shared_server(), shared_server().new_url(without_tables=True)
    target = f"{schema}&application_name=divides"
    backend: list[int] = []

    def stop(done: int, total: int) -> None:
        if not done:
            ((pid,),) = server.ask(schema, ITS_BACKEND)
            backend.append(pid)
            os.kill(pid, signal.SIGSTOP)
        elif 2 * done > total:
            # The server has got the rows, and does not say that it took them.
            raise KeyboardInterrupt

    try:
        with pytest.raises(KeyboardInterrupt):
            copy(tmp_path / "whole", target, partitions=PARTITIONS, on_progress=stop)
    finally:
        os.kill(backend[0], signal.SIGCONT)
    assert divided_store(target) is None
    copy(tmp_path / "whole", target, partitions=PARTITIONS)
    assert found_wrong(target) == []


@pytest.mark.usefixtures("small_parts")
def test_a_division_into_a_database_that_ends_its_connection_is_refused(tmp_path: Path) -> None:
    busy(tmp_path / "whole")
    server, schema = shared_server(), shared_server().new_url(without_tables=True)
    target = f"{schema}&application_name=divides"

    def end(done: int, _: int) -> None:
        if not done:
            server.ask(schema, f"SELECT pg_terminate_backend(pid, 20000) FROM ({ITS_BACKEND}) one")

    with pytest.raises(DatabaseRefused, match="broke"):
        copy(tmp_path / "whole", target, partitions=PARTITIONS, on_progress=end)
    assert divided_store(target) is None
    assert [one.name for one in tmp_path.iterdir()] == ["whole"]


def test_a_database_that_has_not_all_rows_of_a_division_gets_no_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy(tmp_path / "whole")
    target = shared_server().new_url(without_tables=True)
    monkeypatch.setattr(
        divided_database,
        "copied",
        lambda some: copied([(partition, rows[1:]) for partition, rows in some]),
    )
    with pytest.raises(DamagedStore, match="has not all that was copied"):
        copy(tmp_path / "whole", target, partitions=PARTITIONS)
    assert divided_store(target) is None


def test_projections_begin_anew_if_that_is_wanted(tmp_path: Path) -> None:
    folded: list[str] = []
    counting = Domain("counting")

    @counting.projection
    class Bells(Projection):
        @project(Rung)
        def rung(self, event: Rung) -> None:
            folded.append(event.bell)

    with Runtime(tmp_path / "whole", counting, durability="none") as runtime:
        for number in range(6):
            runtime.publish(Rung(f"b{number}"), stream=f"counting::bells-b{number}")
        runtime.settle(WAIT)
    with pytest.raises(StoreError, match="projections_anew=True"):
        copy(tmp_path / "whole", tmp_path / "divided", partitions=2)
    copy(tmp_path / "whole", tmp_path / "divided", partitions=2, projections_anew=True)
    folded.clear()
    with Runtime(tmp_path / "divided", counting) as runtime:
        runtime.settle(WAIT)
        assert sorted(folded) == [f"b{number}" for number in range(6)]


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("processes", [False, True], ids=["here", "in processes"])
def test_a_partition_that_is_not_sound_is_found_and_nothing_is_left(
    tmp_path: Path, target: str, monkeypatch: pytest.MonkeyPatch, *, processes: bool
) -> None:
    busy(tmp_path / "whole")
    monkeypatch.setattr(splitting, "WORTH_PROCESSES", 0 if processes else 1 << 30)
    copy(tmp_path / "whole", tmp_path / "sound", partitions=PARTITIONS)
    assert found_wrong(str(tmp_path / "sound")) == []
    counted = count_key
    monkeypatch.setattr(splitting, "count_key", lambda *names: counted(*names, "wrong"))
    with pytest.raises(
        StoreError, match=r"partition-000\d of the copy is not sound.* another than"
    ):
        copy(tmp_path / "whole", target, partitions=PARTITIONS)
    assert divided_store(target) is None
    assert sorted(one.name for one in tmp_path.iterdir()) == ["sound", "whole"]


@pytest.mark.usefixtures("small_parts")
def test_it_is_told_to_the_end_how_far_a_division_is(tmp_path: Path, target: str) -> None:
    busy(tmp_path / "whole")
    told: list[tuple[int, int]] = []
    copy(
        tmp_path / "whole",
        target,
        partitions=PARTITIONS,
        on_progress=lambda done, total: told.append((done, total)),
    )
    done, totals = zip(*told, strict=True)
    assert (done[0], done[-1], {*totals}) == (0, totals[0], {totals[0]})
    assert list(done) == sorted(done)
    # It is half done when all is written, and each partition that was verified is told.
    assert [one for one in done if 2 * one > totals[0]] == [
        totals[0] // 2 + totals[0] // 2 * number // PARTITIONS
        for number in range(1, PARTITIONS + 1)
    ]
