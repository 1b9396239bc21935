"""Each change of the code is found, as what it is; and nothing else is said to differ."""

import json
import random
import socket
import subprocess
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from procession import (
    DefinitionError,
    Domain,
    ProcessManager,
    Runtime,
    StoreError,
    handle,
    rejected,
    shadow,
    timeout,
    upcast,
)
from procession.cli import main
from procession.testing import VirtualClock
from tests.actors.shadowing.shop import (
    PLACES,
    Charge,
    Charged,
    Fulfilment,
    OrderPlaced,
    Ship,
    Shipped,
    fill,
    shop,
    with_manager,
)
from tests.postgresql import shared_server

NAME = "shop.Fulfilment"

DIGEST = (
    "what shop::order.place does: no command came to it from an instance, and of others the store "
    "keeps a digest"
)

COUNTED = (
    "15 steps of 6 instances, 12 events of 12 aggregates (7 commands carried out again, 6 not kept)"
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    fill(folder)
    return folder


def found(store: Path, manager: type[ProcessManager]) -> set[tuple[str, str, str, int]]:
    report = shadow(store, with_manager(manager), processes=0)
    assert (report.not_deterministic, report.outside, report.damaged) == ((), (), {})
    return {(one.kind, one.handler, one.how, one.steps) for one in report.differences}


def test_code_that_did_not_change_does_the_same(store: Path) -> None:
    report = shadow(store, shop, processes=0)
    assert report.differences == report.not_deterministic == report.outside == ()
    assert (report.instances, report.steps, report.not_known) == (6, 15, (DIGEST,))
    assert (report.streams, report.events, report.commands, report.not_kept) == (12, 12, 7, 6)
    assert str(report) == f"not known: {DIGEST}\n{COUNTED}: no differences"


def test_other_commands_are_found(store: Path) -> None:
    class Other(Fulfilment, name=NAME):
        @handle(OrderPlaced, start=True)
        def on_placed(self, event: OrderPlaced) -> None:
            self.status = "charging"
            self.total = event.total
            self.issue(Charge(event.order_id, event.total + 1))
            self.set_timeout("payment", timedelta(minutes=30))

        @handle(Charged)
        def on_charged(self, event: Charged) -> None:
            self.cancel_timeout("payment")
            self.status = "shipping"
            self.issue(Ship(event.order_id), after=timedelta(minutes=2))
            self.issue(Charge(event.order_id, Decimal(1)))

        @rejected(Charge)
        def on_refused(self, command: Charge, reason: str) -> None:
            self.status = f"refused: {reason}"

    report = shadow(store, with_manager(Other), processes=0)
    assert [(one.kind, one.handler, one.how, one.steps) for one in report.differences] == [
        ("commands", "on_charged", "issues shop.Charge.v1", 3),
        ("commands", "on_charged", "shop.Ship.v1 leaves at another time", 3),
        ("commands", "on_placed", "shop.Charge.v1 has another amount", 6),
    ]
    last = report.differences[-1]
    assert (last.instances, last.running, last.example.instance) == (6, 1, "good0")
    assert (last.example.stored, last.example.now) == ("Decimal('10')", "Decimal('11')")
    unknown = "what an aggregate answers to a {} that was not issued so before, and all that "
    unknown += "comes of the answer"
    assert report.not_known == (
        unknown.format("shop.Charge.v1"),
        unknown.format("shop.Ship.v1"),
        DIGEST,
    )


def test_commands_that_are_not_issued_any_more_and_another_order_are_found(store: Path) -> None:
    class Silent(Fulfilment, name=NAME):
        @handle(Charged)
        def on_charged(self, event: Charged) -> None:
            self.cancel_timeout("payment")
            self.status = "shipping"

    assert found(store, Silent) == {("commands", "on_charged", "does not issue shop.Ship.v1", 3)}


def test_other_timeouts_are_found(store: Path) -> None:
    class Patient(Fulfilment, name=NAME):
        @handle(OrderPlaced, start=True)
        def on_placed(self, event: OrderPlaced) -> None:
            self.status = "charging"
            self.total = event.total
            self.issue(Charge(event.order_id, event.total))
            self.set_timeout("payment", timedelta(minutes=45))

    class Careless(Fulfilment, name=NAME):
        @handle(Charged)
        def on_charged(self, event: Charged) -> None:
            self.status = "shipping"
            self.issue(Ship(event.order_id), after=timedelta(minutes=1))

    class Hasty(Fulfilment, name=NAME):
        @handle(OrderPlaced, start=True)
        def on_placed(self, event: OrderPlaced) -> None:
            self.status = "charging"
            self.total = event.total
            self.issue(Charge(event.order_id, event.total))

    at = ("timeouts", "on_placed")
    assert found(store, Patient) == {(*at, "payment is due at another time", 6)}
    assert found(store, Careless) == {("timeouts", "on_charged", "payment is set", 3)}
    assert found(store, Hasty) == {(*at, "payment is not set", 6)}


def test_another_state_is_found_where_it_is_made_and_where_it_is_met(store: Path) -> None:
    class Other(Fulfilment, name=NAME):
        @handle(OrderPlaced, start=True)
        def on_placed(self, event: OrderPlaced) -> None:
            self.status = "waiting"
            self.total = event.total
            self.issue(Charge(event.order_id, event.total))
            self.set_timeout("payment", timedelta(minutes=30))

        @timeout("payment")
        def on_late(self) -> None:
            if self.status != "waiting":
                self.mark_as_complete()
            self.status = "late"

    report = shadow(store, with_manager(Other), processes=0)
    assert [(one.kind, one.handler, one.how, one.follows) for one in report.differences] == [
        ("completion", "on_late", "the process goes on, and ends as stored", True),
        ("state", "on_placed", "status is another", False),
    ]


def test_another_end_is_found(store: Path) -> None:
    class Other(Fulfilment, name=NAME):
        @rejected(Charge)
        def on_refused(self, command: Charge, reason: str) -> None:
            self.status = f"refused: {reason}"
            self.mark_as_complete()

    assert {one[:3] for one in found(store, Other)} == {
        ("completion", "on_refused", "the process ends, and goes on as stored"),
        ("timeouts", "on_refused", "payment is not set"),
    }


def test_a_handler_that_raises_is_found_with_what_it_says(store: Path) -> None:
    class Strict(Fulfilment, name=NAME):
        @handle(Shipped, end=True)
        def on_shipped(self, event: Shipped) -> None:
            raise ValueError(f"{self.id} was not insured")

    report = shadow(store, with_manager(Strict), processes=0)
    [one] = report.differences
    assert (one.kind, one.how, one.steps) == ("refusals", "raises ValueError", 3)
    assert one.example.now == "ValueError: good0 was not insured"


def test_what_has_no_handler_any_more_is_found(store: Path) -> None:
    class Smaller(ProcessManager, correlate="order_id", name=NAME):
        order_id: str = ""
        status: str = "new"
        total: Decimal = Decimal(0)

        @handle(OrderPlaced, start=True)
        def on_placed(self, event: OrderPlaced) -> None:
            self.status = "charging"
            self.total = event.total
            self.issue(Charge(event.order_id, event.total))

        @handle(Shipped, end=True)
        def on_shipped(self, event: Shipped) -> None:
            self.status = "shipped"

    unhandled = {one for one in found(store, Smaller) if one[0] == "unhandled"}
    assert unhandled == {
        ("unhandled", "on_charged", "shop.Charged.v1 has no handler", 3),
        ("unhandled", "on_late", "timeout:payment has no handler", 2),
        ("unhandled", "on_placed", "the timeout payment is due, and has no handler", 1),
        ("unhandled", "on_refused", "the refusal of shop.Charge.v1 has no handler", 1),
    }


def test_a_process_manager_that_is_gone_is_found(store: Path) -> None:
    domain = with_manager(Fulfilment)
    gone = Domain("shop")
    gone.register(*domain.aggregates)
    [one] = shadow(store, gone, processes=0).differences
    assert (one.kind, one.process, one.instances, one.running) == ("unhandled", NAME, 6, 1)


def test_instances_whose_state_cannot_be_read_are_found(store: Path) -> None:
    class Other(Fulfilment, name=NAME):
        status: int = 0  # type: ignore[assignment] # it is meant not to fit

    report = shadow(store, with_manager(Other), processes=0)
    unreadable = {(one.kind, one.how) for one in report.differences if one.kind == "unreadable"}
    assert unreadable == {("unreadable", "its state cannot be read")}


def test_a_state_that_is_brought_up_to_date_is_no_difference(store: Path) -> None:
    class Newer(Fulfilment, name=NAME, version=2):
        priority: int = 3

        @upcast(from_version=1)
        @staticmethod
        def _from_1(state: dict[str, Any]) -> dict[str, Any]:
            return state | {"priority": 3}

    class Added(Fulfilment, name=NAME):
        priority: int = 3

    assert found(store, Newer) == set()
    assert found(store, Added) == set()


def test_a_field_that_is_dropped_is_found(store: Path) -> None:
    class Fewer(ProcessManager, correlate="order_id", name=NAME):
        order_id: str = ""
        status: str = "new"

        @handle(OrderPlaced, start=True)
        def on_placed(self, event: OrderPlaced) -> None:
            self.status = "charging"
            self.issue(Charge(event.order_id, event.total))
            self.set_timeout("payment", timedelta(minutes=30))

        on_charged = Fulfilment.on_charged
        on_shipped = Fulfilment.on_shipped
        on_refused = Fulfilment.on_refused
        on_late = Fulfilment.on_late

    assert {(kind, how) for kind, _, how, _ in found(store, Fewer)} == {
        ("state", "total is not kept")
    }


def test_an_event_that_would_not_come_to_its_instance_is_found(store: Path) -> None:
    class Other(Fulfilment, name=NAME):
        @handle(Charged, correlate=lambda event: f"other-{event.order_id}")
        def on_charged(self, event: Charged) -> None:
            self.cancel_timeout("payment")
            self.status = "shipping"
            self.issue(Ship(event.order_id), after=timedelta(minutes=1))

    assert found(store, Other) == {("passed over", "on_charged", "it is for another instance", 3)}


def test_what_differs_from_itself_is_said_to_be_not_deterministic(store: Path) -> None:
    class Random(Fulfilment, name=NAME):
        @handle(Charged)
        def on_charged(self, event: Charged) -> None:
            self.cancel_timeout("payment")
            self.status = f"shipping {random.random()}"
            self.issue(Ship(f"{event.order_id}?"), after=timedelta(minutes=1))

    report = shadow(store, with_manager(Random), processes=0)
    assert [(one.kind, one.how) for one in report.differences] == [
        ("commands", "shop.Ship.v1 has another order_id")
    ]
    assert [(one.kind, one.how, one.steps) for one in report.not_deterministic] == [
        ("state", "status is another", 3)
    ]


# What a handler reaches for


def opens_a_socket() -> None:
    socket.create_connection(("127.0.0.1", 9))


def writes_a_file() -> None:
    Path("never-written").write_text("x")


def starts_a_process() -> None:
    subprocess.run(["true"], check=False)


@pytest.mark.parametrize(
    ("reach", "word"),
    [
        (opens_a_socket, "socket."),
        (writes_a_file, "open for writing"),
        (starts_a_process, "subprocess.Popen"),
    ],
)
def test_a_handler_that_is_tried_reaches_nothing_outside(
    store: Path, reach: Any, word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Reaching(Fulfilment, name=NAME):
        @handle(Shipped, end=True)
        def on_shipped(self, event: Shipped) -> None:
            try:
                reach()
            except OSError:
                self.status = "swallowed"

    monkeypatch.chdir(tmp_path)
    report = shadow(store, with_manager(Reaching), processes=0)
    assert report.differences == ()
    [one] = report.outside
    assert (one.kind, one.handler, one.steps) == ("outside", "on_shipped", 3)
    assert word in one.how
    assert list(tmp_path.iterdir()) == []


def test_outside_of_a_handler_all_is_as_ever(store: Path, tmp_path: Path) -> None:
    shadow(store, shop, processes=0)
    (tmp_path / "written").write_text("x")
    with socket.socket():
        pass


# The store, and how much of it


def test_the_store_is_untouched_and_may_be_open_meanwhile(tmp_path: Path) -> None:
    fill(tmp_path)
    data = tmp_path / "data.mdb"
    before = data.read_bytes()
    assert shadow(tmp_path, shop, processes=0).steps == 15
    assert data.read_bytes() == before
    with Runtime(tmp_path, shop, clock=VirtualClock(), durability="none", control=False):
        assert shadow(tmp_path, shop, processes=0).steps == 15


def test_several_processes_find_what_one_does(store: Path) -> None:
    told: list[tuple[int, int]] = []
    here = shadow(store, shop, processes=0)
    apart = shadow(store, shop, processes=2, on_progress=lambda *done: told.append(done))
    assert apart == here
    assert (told[0], told[-1]) == ((0, 18), (18, 18))


def test_a_sample_and_what_is_running(store: Path) -> None:
    sample = shadow(store, shop, sample=2, processes=0)
    assert (sample.instances, sample.not_known) == (2, ())
    live = shadow(store, shop, live=True, processes=0)
    assert (live.instances, live.steps) == (1, 1)


def test_a_divided_store_is_gone_through_as_a_whole(tmp_path: Path) -> None:
    with Runtime(tmp_path, shop, partitions=3, control=False) as runtime:
        for one in PLACES:
            runtime.ask(one)
        runtime.settle(timeout=10)
    report = shadow(tmp_path, shop, processes=0)
    assert (report.instances, report.differences, report.damaged) == (6, (), {})


def test_a_store_in_a_database_is_gone_through_beside_its_service() -> None:
    url = shared_server().new_url()
    with Runtime(url, shop, control=False) as runtime:
        runtime.ask(PLACES[0])
        runtime.settle(timeout=10)
        report = shadow(url, shop, processes=0)
    assert (report.instances, report.steps, report.differences) == (1, 2, ())


def test_what_cannot_be_tried_is_refused(store: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="sample=0"):
        shadow(store, shop, sample=0)
    with pytest.raises(ValueError, match="processes=-1"):
        shadow(store, shop, processes=-1)
    with pytest.raises(StoreError):
        shadow(tmp_path / "none", shop, processes=0)
    with pytest.raises(DefinitionError, match="in no module"):
        shadow(store, with_manager(Fulfilment), processes=1)


def test_the_report_is_there_for_programs(store: Path) -> None:
    class Silent(Fulfilment, name=NAME):
        @handle(Charged)
        def on_charged(self, event: Charged) -> None:
            self.cancel_timeout("payment")
            self.status = "shipping"

    report = shadow(store, with_manager(Silent), processes=0)
    told = json.loads(report.to_json())
    assert told["differences"][0]["example"]["instance"] == "good0"
    assert "does not issue shop.Ship.v1; 3 steps of 3 instances (0 running)" in str(report)


# The command


def test_the_command_says_what_differs_and_ends_accordingly(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = "tests.actors.shadowing"
    assert main(["shadow", str(store), f"{where}.dearer:shop"]) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[0].split() == ["KIND", "HANDLER", "WHAT", "STEPS", "INSTANCES", "EXAMPLE"]
    assert "shop.Charge.v1 has another amount" in said[1]
    assert said[-1] == f"{COUNTED}: 1 difference"

    given = ["shadow", str(store), f"{where}.shop:shop", "--sample", "3", "--json"]
    assert main(given) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["instances"], told["differences"]) == (3, [])

    assert main(["shadow", str(store / "none"), f"{where}.shop:shop"]) == 2
    assert main(["shadow", str(store), f"{where}.none:shop"]) == 2
    assert "cannot be imported" in capsys.readouterr().err
