"""Simulation: the real runtime, one turn at a time, and the same for the same seed."""

import itertools
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from procession import (
    Domain,
    Event,
    InvalidMessage,
    ProcessManager,
    Rejected,
    Retry,
    Runtime,
    WaitingInHandler,
    handle,
)
from procession.store.layout.schema import TABLES
from procession.testing import FAULTS, Simulation
from tests.actors.testing.simulation.selling import (
    PROGRAM,
    Charged,
    Place,
    Placed,
    Reminded,
    Returned,
    Selling,
    rows_of,
    shop,
)

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


# Words of the runtime


def test_tell_returns_when_it_is_durable_and_settle_when_all_is_done() -> None:
    with Simulation(shop) as simulation:
        assert simulation.tell(Place("o1")) == "outside.1"
        # What the command led to at once is durable with it.
        assert simulation.get(Selling, "o1") is not None
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
