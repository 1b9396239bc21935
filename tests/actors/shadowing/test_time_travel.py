"""An instance as it was: looked at, stepped through, and gone on with elsewhere."""

import asyncio
import json
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from procession import AsyncRuntime, Moment, Runtime, StoreError, UnknownInstance, after, handle
from procession.cli import main
from procession.model.registry import Registry
from procession.shadowing.stepping import step_through
from procession.store import open_store
from procession.testing import VirtualClock
from tests.actors.shadowing.shop import (
    PLACES,
    Charge,
    Charged,
    Fulfilment,
    Order,
    OrderPlaced,
    Ship,
    fill,
    shop,
    with_manager,
)

NAME = "shop.Fulfilment"
DOMAIN = "tests.actors.shadowing.shop:shop"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    fill(folder)
    return folder


@pytest.fixture
def looking(store: Path) -> Iterator[Runtime]:
    with Runtime(store, shop, read_only=True) as runtime:
        yield runtime


def clock_at(moment: Moment | None) -> VirtualClock:
    assert moment is not None
    return VirtualClock(moment.time)


# Looking


def test_a_moment_has_the_state_what_was_known_and_what_was_issued(looking: Runtime) -> None:
    moment = looking.at(Fulfilment, "good1", 2)
    assert moment is not None
    assert (moment.version, moment.handler, moment.is_complete) == (2, "on_charged", False)
    assert moment.state["status"] == "shipping"
    assert [type(one.event) for one in moment.events] == [OrderPlaced, Charged]
    assert moment.events[-1].event_id == moment.cause
    assert moment.issued == (Ship("good1"),)
    assert moment.timeouts == {}
    assert moment.copy.status == "shipping"

    first = looking.at(Fulfilment, "good1", 1)
    assert first is not None
    assert first.timeouts == {"payment": first.time + timedelta(minutes=30)}
    assert (first.state["status"], first.issued) == ("charging", (Charge("good1", Decimal(11)),))
    with pytest.raises(AttributeError):
        first.version = 2  # type: ignore[misc]


def test_what_never_was_has_no_moment(looking: Runtime) -> None:
    assert looking.at(Fulfilment, "nobody", 1) is None
    for version in (0, 4, True):
        with pytest.raises(ValueError, match="has the versions 1 to 3"):
            looking.at(Fulfilment, "good1", version)


def test_a_moment_can_be_told_as_json(looking: Runtime) -> None:
    moment = looking.at(Fulfilment, "good1", 2)
    assert moment is not None
    told = moment.to_dict()
    assert told["events"][0]["event"] == {"order_id": "good1", "total": "11"}
    assert told["issued"] == [{"type": "Ship.v1", "data": {"order_id": "good1"}}]


def test_coroutines_and_partitions_have_moments(store: Path, tmp_path: Path) -> None:
    async def look() -> Moment[Fulfilment] | None:
        async with AsyncRuntime(store, shop, read_only=True) as runtime:
            return await runtime.at(Fulfilment, "late", 2)

    moment = asyncio.run(look())
    assert moment is not None
    assert (moment.handler, moment.cause) == ("on_late", "timeout:payment")
    with Runtime(tmp_path, shop, partitions=2, control=False) as runtime:
        runtime.ask(PLACES[0])
        runtime.settle(timeout=10)
        divided = runtime.at(Fulfilment, "good0", 1)
        assert divided is not None
        assert divided.handler == "on_placed"


# The command


def test_show_has_an_instance_as_it_was(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "Fulfilment", "good1", "-s", str(store), "--version", "1"]) == 0
    said = capsys.readouterr().out
    assert "shop.Fulfilment good1: running, version 1" in said
    assert "  status = charging" in said
    assert "payment at" in said
    assert "on_charged" not in said
    assert main(["show", "Fulfilment", "good1", "-s", str(store), "--version", "9"]) == 2
    assert "has the versions 1 to 3" in capsys.readouterr().err


def test_show_stops_before_each_handler_in_the_users_debugger(
    store: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONBREAKPOINT", "tests.actors.shadowing.test_time_travel.stopped")
    command = ["show", "Fulfilment", "good1", "-s", str(store), "--debug"]
    assert main([*command, "--domain", DOMAIN]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said == [
        "stopped",
        "version 1: on_placed by shop.OrderPlaced.v1",
        "stopped",
        "version 2: on_charged by shop.Charged.v1",
        "stopped",
        "version 3: on_shipped by shop.Shipped.v1",
    ]
    assert main([*command, "--domain", DOMAIN, "--version", "2"]) == 0
    assert capsys.readouterr().out.splitlines() == said[2:4]
    assert main(command) == 2
    assert "--domain MODULE:NAME" in capsys.readouterr().err


def stopped() -> None:
    """In the place of a debugger."""
    print("stopped")  # noqa: T201


def test_other_code_is_stepped_through_and_what_differs_is_told(store: Path) -> None:
    class Other(Fulfilment, name=NAME):
        @handle(Charged)
        def on_charged(self, event: Charged) -> None:
            self.status = "?"

    stops: list[int] = []
    registry = Registry([with_manager(Other)])
    [definition] = registry.processes.values()
    with open_store(store, read_only=True) as opened:
        steps = list(
            step_through(opened, registry, definition, "good1", stop=lambda: stops.append(1))
        )
        with pytest.raises(UnknownInstance, match="no version 7"):
            list(step_through(opened, registry, definition, "good1", version=7))
    assert (len(stops), steps[0].differs) == (3, [])
    assert "status is another: 'shipping' → '?'" in (steps[1].differs or [])


# Going on elsewhere


def test_a_fork_goes_on_as_the_instance_did(looking: Runtime) -> None:
    for version in (1, 2):
        clock = clock_at(looking.at(Fulfilment, "good1", version))
        with looking.fork(Fulfilment, "good1", version, clock=clock) as fork:
            clock.advance(timedelta(minutes=1))
            fork.settle(timeout=10)
            then, now = looking.get(Fulfilment, "good1"), fork.get(Fulfilment, "good1")
            assert then is not None
            assert now is not None
            assert (now.version, now.state, now.status) == (3, then.state, "complete")
            assert fork.get(Order, "good1") is not None
            assert fork.get(Fulfilment, "good0") is None
            assert [str(one) for one in fork.verify()] == []


def test_another_course_is_taken_from_there(looking: Runtime) -> None:
    before = looking.get(Fulfilment, "late")
    clock = clock_at(looking.at(Fulfilment, "late", 1))
    with looking.fork(Fulfilment, "late", 1, clock=clock) as fork:
        fork.publish(Charged("late"), stream="bank::payment-late")
        clock.advance(timedelta(hours=1))
        fork.settle(timeout=10)
        now = fork.get(Fulfilment, "late")
        assert now is not None
        assert now.state["status"] == "shipped"
    assert looking.get(Fulfilment, "late") == before


def test_a_timeout_that_was_due_later_is_due_in_the_fork(looking: Runtime) -> None:
    clock = clock_at(looking.at(Fulfilment, "late", 1))
    with looking.fork(Fulfilment, "late", 1, clock=clock) as fork:
        clock.advance(timedelta(minutes=31))
        fork.settle(timeout=10)
        now = fork.get(Fulfilment, "late")
        assert now is not None
        assert (now.state["status"], now.status) == ("late", "complete")


def test_other_code_goes_on_in_a_new_folder(looking: Runtime, tmp_path: Path) -> None:
    class Other(Fulfilment, name=NAME):
        @handle(Charged, end=True)
        def on_charged(self, event: Charged) -> None:
            self.status = "paid by card"

    place, code = tmp_path / "fork", [with_manager(Other)]
    clock = clock_at(looking.at(Fulfilment, "good1", 1))
    with looking.fork(Fulfilment, "good1", 1, place, domains=code, clock=clock) as fork:
        fork.settle(timeout=10)
        now = fork.get(Other, "good1")
        assert now is not None
        assert now.state["status"] == "paid by card"
    with pytest.raises(StoreError, match="holds something already"):
        looking.fork(Fulfilment, "good1", 1, place)
    with pytest.raises(UnknownInstance, match="no version 9"):
        looking.fork(Fulfilment, "good1", 9)


def test_the_command_goes_on_in_a_new_folder_and_tells_what_came_of_it(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["fork", "Fulfilment", "late", "-s", str(store), "--domain", DOMAIN]
    assert main([*command, str(tmp_path / "one"), "--version", "1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["fork"], told["from"], told["version"]) == (str(tmp_path / "one"), 1, 2)
    assert (told["state"]["status"], told["history"][-1]["handler"]) == ("late", "on_late")
    assert main([*command, str(tmp_path / "two"), "--version", "1"]) == 0
    assert "status = late" in capsys.readouterr().out
    with Runtime(tmp_path / "one", shop, read_only=True) as fork:
        assert [one.id for one in fork.find(Fulfilment)] == ["late"]
    assert main([*command, str(tmp_path / "one"), "--version", "1"]) == 2
    assert "holds something already" in capsys.readouterr().err
    assert main([*command[:-2], str(tmp_path / "three"), "--version", "1"]) == 2
    assert "--domain MODULE:NAME" in capsys.readouterr().err


def test_nothing_leaves_a_fork_unless_it_is_asked_for(looking: Runtime) -> None:
    left: list[str] = []

    class Telling(Fulfilment, name=NAME):
        @after(Charged)
        def tell(self, event: Charged) -> None:
            left.append(event.order_id)

    code = [with_manager(Telling)]
    options: dict[str, Any] = {
        "domains": code,
        "clock": clock_at(looking.at(Fulfilment, "good1", 1)),
    }
    with looking.fork(Fulfilment, "good1", 1, **options) as fork:
        fork.settle(timeout=10)
    assert left == []
    with looking.fork(Fulfilment, "good1", 1, after_effects=True, **options) as fork:
        fork.settle(timeout=10)
    assert left == ["good1"]


def test_after_effects_that_are_left_out_are_taken_up_where_they_run(tmp_path: Path) -> None:
    done: list[str] = []

    class Telling(Fulfilment, name=NAME):
        @after(Charged)
        def tell(self, event: Charged) -> None:
            done.append(event.order_id)

    code = with_manager(Telling)
    options: dict[str, Any] = {"durability": "none", "control": False}
    for place, runs, told in (
        (PLACES[0], True, ["good0"]),
        (PLACES[1], False, ["good0"]),
        (PLACES[2], True, ["good0", "good1", "good2"]),
    ):
        with Runtime(tmp_path, code, after_effects=runs, **options) as runtime:
            runtime.ask(place)
            runtime.settle(timeout=10)
        assert done == told
