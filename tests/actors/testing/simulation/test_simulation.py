"""Simulation: the real runtime, one turn at a time, and the same for the same seed."""

import gc
import itertools
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import lmdb
import pytest

from procession import (
    Aggregate,
    Command,
    Domain,
    Event,
    IdReused,
    InvalidMessage,
    ProcessManager,
    Rejected,
    Retry,
    Runtime,
    WaitingInHandler,
    after,
    apply,
    handle,
    rejected,
    timeout,
)
from procession.store.lmdb.schema import TABLES
from procession.testing import FAULTS, Publish, Simulation

shop = Domain("shop")


class Place(Command):
    order_id: str
    price: int = 10


class Charge(Command):
    order_id: str
    price: int


class Remind(Command):
    order_id: str


class Placed(Event):
    order_id: str
    price: int


class Charged(Event):
    order_id: str
    price: int


class Reminded(Event):
    order_id: str


class Returned(Event):
    order_id: str


@shop.register
class Order(Aggregate, identity="order_id"):
    is_placed: bool = False

    @handle(Place)
    def place(self, command: Place) -> Placed:
        if self.is_placed:
            raise Rejected("it was placed before")
        return Placed(self.id, command.price)

    @handle(Remind)
    def remind(self, command: Remind) -> Reminded:
        return Reminded(self.id)

    @apply(Placed)
    def _placed(self, event: Placed) -> None:
        self.is_placed = True


@shop.register
class Account(Aggregate, identity="order_id"):
    @handle(Charge)
    def charge(self, command: Charge) -> Charged:
        if command.price > 1_000:
            raise Rejected("too much")
        return Charged(self.id, command.price)


@shop.register
class Selling(ProcessManager, correlate="order_id"):
    order_id: str = ""
    status: str = "new"
    returns: int = 0

    # Hooks of tests.
    on_return: ClassVar[Any] = None
    posted: ClassVar[list[str]] = []
    post: ClassVar[Any] = None

    @handle(Placed, start=True)
    def on_placed(self, event: Placed) -> None:
        self.status = "charging"
        self.issue(Charge(self.order_id, event.price))
        self.set_timeout("patience", timedelta(minutes=30))
        self.issue(Remind(self.order_id), after=timedelta(days=1))

    @handle(Charged)
    def on_charged(self, event: Charged) -> None:
        self.status = "charged"
        self.cancel_timeout("patience")

    @handle(Returned)
    def on_returned(self, event: Returned) -> None:
        self.returns += 1
        if Selling.on_return is not None:
            Selling.on_return(self)

    @rejected(Charge)
    def on_refused(self, command: Charge, reason: str) -> None:
        self.status = f"refused: {reason}"

    @timeout("patience")
    def on_patience(self) -> None:
        self.status = "late"

    @after(Charged)
    def tell_world(self, event: Charged) -> None:
        Selling.posted.append(self.id)
        if Selling.post is not None:
            Selling.post(self)


@pytest.fixture(autouse=True)
def no_hooks() -> Any:
    Selling.on_return = Selling.post = None
    Selling.posted.clear()
    yield
    Selling.on_return = Selling.post = None
    Selling.posted.clear()


def rows_of(simulation: Simulation) -> dict[str, list[tuple[bytes, bytes]]]:
    """Every row of the simulation's store."""
    with simulation._world.store.snapshot() as snapshot:
        return {
            name: list(snapshot.txn.cursor(table).iternext())
            for name, table in snapshot.tables.items()
        }


def texts(simulation: Simulation) -> list[str]:
    return [line.text for line in simulation.trace]


PROGRAM: list[list[Any]] = [
    [Place("o1"), timedelta(minutes=10), Publish(Returned("o1"), stream="shop::desk-1")],
    [Place("o2", 2_000), Returned("o1"), timedelta(hours=2), Place("o3")],
]


# The same for the same seed


@pytest.mark.parametrize("seed", [None, *range(6)])
def test_the_same_seed_gives_the_same_run_byte_for_byte(seed: int | None) -> None:
    runs = []
    for _ in range(2):
        with Simulation(shop, program=PROGRAM, seed=seed, faults=FAULTS) as simulation:
            simulation.run()
            runs.append((rows_of(simulation), list(simulation.trace), str(simulation.trace)))
    assert runs[0] == runs[1]
    assert set(TABLES) <= set(runs[0][0])


def test_the_same_seed_gives_the_same_run_in_another_process() -> None:
    program = (
        "import hashlib, runpy\n"
        f"names = runpy.run_path({__file__!r})\n"
        "s = names['Simulation'](names['shop'], program=names['PROGRAM'], seed=3,\n"
        "    faults=names['FAULTS'])\n"
        "s.run()\n"
        "found = repr((names['rows_of'](s), list(s.trace)))\n"
        "s.close()\n"
        "print(hashlib.sha256(found.encode()).hexdigest())\n"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": number},
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parents[4],
        ).stdout
        for number in ("1", "2")
    }
    assert len(found) == 1


def test_another_seed_gives_another_order() -> None:
    orders = set()
    for seed in range(10):
        with Simulation(shop, program=[[Place("o1")], [Place("o2")]], seed=seed) as simulation:
            simulation.run()
            orders.add(str(simulation.trace))
    assert len(orders) > 3


def test_the_ordinary_run_comes_to_what_the_runtime_comes_to() -> None:
    with Simulation(shop, program=[Place("o1"), Place("o2", 2_000)]) as simulation:
        while simulation.step():
            pass
        with Runtime.ephemeral(shop) as runtime:
            runtime.tell(Place("o1"))
            runtime.settle(timeout=10)
            runtime.tell(Place("o2", 2_000))
            runtime.settle(timeout=10)
            for name in ("o1", "o2"):
                assert simulation.get(Selling, name) == runtime.get(Selling, name)
            assert [e.event for e in simulation.events()] == [e.event for e in runtime.events()]
            ours, theirs = simulation.stats(), runtime.stats()
            assert ours["transitions"] == theirs["transitions"]


@pytest.mark.parametrize("seed", range(40))
def test_whatever_happens_each_thing_takes_effect_once(seed: int) -> None:
    with Simulation(shop, program=PROGRAM, seed=seed, faults=FAULTS) as simulation:
        simulation.run()
        assert simulation.is_through
        kinds = [type(one.event) for one in simulation.events()]
        assert [kinds.count(one) for one in (Placed, Returned, Reminded)] == [3, 2, 3]
        assert kinds.count(Charged) == 2
        view = simulation.get(Selling, "o1")
        assert view is not None
        for one in ("o1", "o2", "o3"):
            history = list(simulation.history(Selling, one))
            assert [step.version for step in history] == list(range(1, len(history) + 1))
            causes = [step.cause for step in history]
            assert len(set(causes)) == len(causes)
        assert set(Selling.posted) >= {"o1", "o3"}
        assert simulation.verify() == []


PLACED = (
    "Selling o1 handled Placed → issued Charge, issued Remind (in 1d 00:00:00), "
    "set timeout patience (in 00:30:00)"
)


def test_the_trace_reads_as_what_happened() -> None:
    with Simulation(shop, program=[Place("o1"), timedelta(hours=1)]) as simulation:
        simulation.provoke("crash_before_commit")
        simulation.run()
        told = [line.text for line in simulation.trace.essential]
        assert told == [
            "outside: tell Place(order_id='o1', price=10)",
            "crash inside a commit of 1 step: nothing of it is kept",
            "outside: tell Place(order_id='o1', price=10), again",
            "Order o1 carried out Place → Placed",
            PLACED,
            "Account o1 carried out Charge → Charged",
            "Selling o1 handled Charged → cancelled timeout patience",
            "Selling o1 ran the after-effect of Charged",
            "time moves to 01:00:00",
            "time moves to 1d 00:00:00: Remind of Selling o1",
            "Order o1 carried out Remind → Reminded",
        ]
        assert str(simulation.trace).splitlines()[0].endswith(f"00:00:00  {told[0]}")
        assert str(simulation.trace) == str(simulation.trace.essential)
        assert simulation.trace[-1].is_detail
        assert len(simulation.trace[:2]) == 2


# Words of the runtime


def test_tell_returns_when_it_is_durable_and_settle_when_all_is_done() -> None:
    with Simulation(shop) as simulation:
        assert simulation.tell(Place("o1")) == "outside.1"
        assert simulation.get(Selling, "o1") is None
        simulation.settle()
        view = simulation.get(Selling, "o1")
        assert view is not None
        assert view.state["status"] == "charged"
        assert simulation.stats()["transitions"] == 2
        assert [one.kind for one in simulation.timeouts(Selling)] == ["command"]
        assert [one.id for one in simulation.find(Selling, status="charged")] == ["o1"]
        assert simulation.knows(Selling)


def test_ask_returns_the_events_or_raises_the_refusal() -> None:
    with Simulation(shop) as simulation:
        assert simulation.ask(Place("o1"), command_id="one") == [Placed("o1", 10)]
        assert simulation.ask(Place("o1"), command_id="one") == [Placed("o1", 10)]
        with pytest.raises(Rejected, match="placed before"):
            simulation.ask(Place("o1"))
        with pytest.raises(InvalidMessage):
            simulation.ask(Place("o1", "much"))  # type: ignore[arg-type]


def test_publish_returns_the_position_and_the_same_id_is_stored_once() -> None:
    with Simulation(shop) as simulation:
        for _ in range(2):
            position = simulation.publish(
                Returned("o1"), stream="shop::desk-1", event_id="a", headers={"by": "post"}
            )
            assert position == 1
        assert [one.headers for one in simulation.events()] == [{"by": "post"}]


def test_an_event_under_an_id_of_the_store_is_refused_and_not_brought_again() -> None:
    taken = "shop::order-o1@1"
    program = [Place("o1"), timedelta(minutes=1), Publish(Returned("o2"), "desk-1", taken)]
    with Simulation(shop, program=[*program, Place("o3")]) as simulation:
        simulation.run()
        assert simulation.get(Order, "o3") is not None
        assert taken in [one.event_id for one in simulation.events("shop::order-o1")]
        assert [one for one in texts(simulation) if "is refused" in one and taken in one]
        with pytest.raises(IdReused, match=taken):
            simulation.publish(Returned("o2"), stream="desk-1", event_id=taken)


@pytest.mark.parametrize("accident", ["crash_before_commit", "crash_after_commit", "commit_fails"])
def test_a_caller_asks_again_when_no_answer_comes(accident: str) -> None:
    with Simulation(shop) as simulation:
        simulation.provoke(accident)
        assert simulation.ask(Place("o1")) == [Placed("o1", 10)]
        simulation.provoke(accident)
        simulation.tell(Place("o2"))
        simulation.provoke(accident)
        simulation.publish(Returned("o1"), stream="shop::desk-1")
        simulation.settle()
        assert [one.event for one in simulation.events("shop::desk")] == [Returned("o1")]
        assert len(list(simulation.events("shop::order"))) == 2


def test_time_passes_in_order_and_everything_settles_on_the_way() -> None:
    noon = datetime(2024, 2, 29, 12, tzinfo=UTC)
    with Simulation(shop, start=noon) as simulation:
        simulation.tell(Place("o1"))
        simulation.advance(timedelta(days=2))
        assert simulation.now == noon + timedelta(days=2)
        (one,) = [one for one in simulation.events() if one.event == Reminded("o1")]
        assert one.time == noon + timedelta(days=1)
        with pytest.raises(ValueError, match="is negative"):
            simulation.advance(timedelta(-1))
    with pytest.raises(ValueError, match="has no time zone"):
        Simulation(shop, start=datetime(2024, 1, 1))  # noqa: DTZ001


def test_a_timeout_may_be_moved_and_cancelled() -> None:
    with Simulation(shop) as simulation:
        simulation.provoke("hold", 0)
        simulation.tell(Place("o1"))
        simulation.settle()
        (one,) = simulation.timeouts(Selling, "o1")
        assert simulation.move_timeout(Selling, "o1", one.name, timedelta(days=3), by="unit")
        assert simulation.cancel_timeout(Selling, "o1", one.name)
        assert not simulation.cancel_timeout(Selling, "o1", one.name)
        simulation.advance(timedelta(days=9))
        assert Reminded("o1") not in [one.event for one in simulation.events()]


def test_an_operator_retries_or_skips_what_is_parked() -> None:
    def fail(process: Selling) -> None:
        raise ValueError("not today")

    with Simulation(shop) as simulation:
        simulation.ask(Place("o1"))
        Selling.on_return = fail
        for _ in range(2):
            simulation.publish(Returned("o1"), stream="shop::desk-1")
        simulation.settle()
        (one,) = simulation.parked()
        assert one.error == "ValueError: not today"
        simulation.skip(one.id, by="unit")
        simulation.settle()
        (one,) = simulation.parked()
        Selling.on_return = None
        simulation.retry(one.id, by="unit")
        simulation.settle()
        assert not list(simulation.parked())
        view = simulation.get(Selling, "o1")
        assert view is not None
        assert view.state["returns"] == 1
        assert len(list(simulation.parked(decided=True))) == 2


# What goes wrong


def test_a_crash_before_a_commit_keeps_nothing_and_one_behind_it_everything() -> None:
    for accident, kept in (("crash_before_commit", 0), ("crash_after_commit", 1)):
        with Simulation(shop, program=[Place("o1")]) as simulation:
            simulation.provoke(accident)
            while "crash" not in str(simulation.trace):
                simulation.step()
            assert len(simulation._world.store.read_queue(0, 9) or stored(simulation)) == kept
            simulation.run()
            assert len(list(simulation.events("shop::order"))) == 2


def stored(simulation: Simulation) -> list[Any]:
    return simulation._world.store.read_queue(1 << 62, 9)


def test_a_crash_between_turns_takes_what_was_not_committed() -> None:
    with Simulation(shop) as simulation:
        simulation.tell(Place("o1"))
        simulation.step()
        simulation.step()
        assert "Order o1 carried out Place → Placed" in texts(simulation)
        simulation.crash()
        assert not list(simulation.events())
        simulation.settle()
        assert texts(simulation).count("Order o1 carried out Place → Placed") == 2
        assert len(list(simulation.events("shop::order"))) == 1


@pytest.mark.parametrize("accident", ["fails_before", "fails_after"])
def test_a_handler_that_is_made_to_fail_is_parked_and_the_operator_has_it_tried_again(
    accident: str,
) -> None:
    for chance in range(5):
        with Simulation(shop, program=[Place("o1"), Returned("o1")]) as simulation:
            for _ in range(chance * 3):
                simulation.step()
            simulation.provoke(accident)
            simulation.run()
            assert "InjectedFailure" in str(simulation.trace) or "after-effect" in str(
                simulation.trace
            )
            assert not list(simulation.parked())
            view = simulation.get(Selling, "o1")
            assert view is not None
            assert (view.state["status"], view.state["returns"]) == ("charged", 1)


def test_an_effect_that_fails_is_run_again_and_one_that_ran_before_a_crash_too() -> None:
    for accident, times in (("fails_before", 1), ("fails_after", 2)):
        Selling.posted.clear()
        with Simulation(shop, program=[Place("o1")]) as simulation:
            while "Selling o1 handled Charged → cancelled timeout patience" not in texts(
                simulation
            ):
                simulation.step()
            simulation.provoke(accident)
            simulation.run()
            assert Selling.posted == ["o1"] * times
    Selling.posted.clear()
    with Simulation(shop, program=[Place("o1")]) as simulation:
        while not Selling.posted:
            simulation.step()
        simulation.crash()
        simulation.run()
        assert Selling.posted == ["o1", "o1"]


def test_an_effect_may_tell_and_dies_with_a_crash_on_the_way() -> None:
    with Simulation(shop, program=[Place("o1")]) as simulation:
        ended: list[str] = []

        def post(process: Selling) -> None:
            simulation.tell(Place("o9"), command_id="nine")
            ended.append(process.id)

        Selling.post = post
        while "Selling o1 handled Charged → cancelled timeout patience" not in texts(simulation):
            simulation.step()
        simulation.run()
        assert simulation.get(Selling, "o9") is not None
        assert ended[0] == "o1"


@pytest.mark.parametrize("kind", ["repeat_event", "repeat_command", "repeat_outside"])
def test_what_is_brought_again_takes_no_effect(kind: str) -> None:
    for which in range(4):
        with Simulation(shop, program=[Place("o1"), Returned("o1")]) as simulation:
            while len(list(simulation.events())) < 2 + which % 2:
                simulation.step()
            simulation.provoke(kind, which)
            simulation.run()
            assert "again" in str(simulation.trace)
            kinds = [type(one.event).__name__ for one in simulation.events()]
            assert sorted(kinds) == ["Charged", "Placed", "Reminded", "Returned"]
            view = simulation.get(Selling, "o1")
            assert view is not None
            assert view.version == 3


def test_time_may_move_on_while_something_is_in_flight() -> None:
    with Simulation(shop, program=[Place("o1")]) as simulation:
        while "Account o1 carried out Charge → Charged" not in texts(simulation):
            simulation.step()
        simulation.provoke("time")
        simulation.step()
        assert "timeout patience of Selling o1" in texts(simulation)[-1]
        simulation.run()
        history = [one.handler for one in simulation.history(Selling, "o1")]
        assert history == ["on_placed", "on_patience", "on_charged"]


def test_actors_that_leave_memory_come_back_as_they_were() -> None:
    with Simulation(shop, program=[Place("o1"), Returned("o1"), Returned("o1")]) as simulation:
        while simulation.step() and simulation.step():
            simulation.provoke("sleep")
            simulation.step()
        simulation.run()
        view = simulation.get(Selling, "o1")
        assert view is not None
        assert (view.state["status"], view.state["returns"]) == ("charged", 2)
        assert simulation.stats()["passivated"] > 3


def test_a_commit_that_fails_is_made_again() -> None:
    with Simulation(shop, program=[Place("o1")]) as simulation:
        for _ in range(3):
            simulation.provoke("commit_fails")
        simulation.run()
        assert texts(simulation).count("a commit of 1 step fails: nothing of it is kept") == 3
        assert len(list(simulation.events())) == 3


# Refusals


def test_a_handler_cannot_let_others_have_their_turns() -> None:
    refused: list[str] = []

    def wait(simulation: Simulation) -> None:
        calls: list[Any] = [
            simulation.settle,
            simulation.step,
            simulation.run,
            simulation.crash,
            lambda: simulation.tell(Place("o2")),
            lambda: simulation.advance(timedelta(1)),
            lambda: simulation.retry(1),
        ]
        for call in calls:
            with pytest.raises(WaitingInHandler) as raised:
                call()
            refused.append(str(raised.value).partition("(")[0])

    with Simulation(shop) as simulation:
        Selling.on_return = lambda _: wait(simulation)
        simulation.ask(Place("o1"))
        simulation.publish(Returned("o1"), stream="shop::desk-1")
        simulation.settle()
        assert refused == ["settle", "step", "run", "crash", "tell", "advance", "retry"]


def test_what_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="there is no 'flood'; there are"):
        Simulation(shop, seed=1, faults=["flood"])
    with Simulation(shop) as simulation, pytest.raises(ValueError, match="there is no 'flood'"):
        simulation.provoke("flood")


def test_nothing_is_left_behind() -> None:
    with Simulation(shop, program=[Place("o1")], seed=1, faults=FAULTS) as simulation:
        simulation.run()
        folder = simulation._world.folder
        assert folder.is_dir()
    assert not folder.exists()
    forgotten = Simulation(shop)
    folder = forgotten._world.folder
    del forgotten, simulation
    gc.collect()
    assert not folder.exists()


def test_retries_of_a_class_wait_in_simulated_time() -> None:
    slow = Domain("slow")
    failing = itertools.count()

    class Begun(Event):
        id: str

    @slow.register
    class Trying(
        ProcessManager, correlate="id", retry=Retry(attempts=3, first=timedelta(minutes=1))
    ):
        @handle(Begun, start=True, end=True)
        def on_begun(self, event: Begun) -> None:
            if next(failing) < 2:
                raise OSError("not yet")

    with Simulation(slow, program=[Begun("a")]) as simulation:
        simulation.run()
        view = simulation.get(Trying, "a")
        assert view is not None
        assert view.is_complete
        assert simulation.trace[-1].after > 60_000_000


def test_an_environment_is_closed_with_its_simulation() -> None:
    with Simulation(shop) as simulation:
        environment = simulation._world.store._environment.env
        simulation.crash()
        simulation.run()
    with pytest.raises(lmdb.Error):
        environment.begin()
