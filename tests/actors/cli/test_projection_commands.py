"""What the person on call asks of read models, beside their service and without it."""

import json
import sqlite3
import sys
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from procession import Domain, Event, Projection, Retry, Runtime, project
from procession.cli import main
from procession.projections import DbApi


class Placed(Event):
    order: str


class Reading:
    """A store with a projection, of which one stream is held up."""

    def __init__(self, folder: Path) -> None:
        self.store = folder / "s"
        self.database = folder / "orders.db"
        self.is_mended = False
        self.domain = domain = Domain("shop")
        connect = DbApi(lambda: sqlite3.connect(self.database))

        @domain.projection
        class Orders(Projection, database=connect, tables=["orders"], retry=Retry(attempts=1)):
            def create(self) -> None:
                self.db.execute(f"create table if not exists {self.table('orders')} (id text)")

            @project(Placed)
            def placed(own, event: Placed) -> None:  # noqa: N805 - the test is `self`
                if event.order == "bad" and not self.is_mended:
                    raise ValueError("no column")
                own.db.execute(f"insert into {own.table('orders')} values (?)", (event.order,))

        self.cls = Orders

    def open(self) -> Runtime:
        return Runtime(self.store, self.domain, durability="none")

    def rows(self) -> list[str]:
        connection = sqlite3.connect(self.database)
        found = [one for (one,) in connection.execute("select id from orders order by id")]
        connection.close()
        return found


@pytest.fixture
def reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reading:
    made = Reading(tmp_path)
    module = ModuleType("reading_code")
    vars(module)["shop"] = made.domain
    monkeypatch.setitem(sys.modules, "reading_code", module)
    monkeypatch.setenv("COLUMNS", "200")
    with made.open() as runtime:
        for order in ("good", "bad"):
            runtime.publish(Placed(order), stream=f"web-{order}")
        runtime.publish(Placed("behind"), stream="web-bad")
        runtime.settle(timeout=10)
        runtime.read(made.cls, after=1, timeout=10)
    return made


def said(capsys: pytest.CaptureFixture[str], *words: object) -> list[Any]:
    assert main([*map(str, words), "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


HELD = {
    "stream": "web-bad",
    "position": 2,
    "parked": 1,
    "error_type": "ValueError",
    "error": "no column",
    "retry": None,
    "waiting": 1,
}


@pytest.mark.parametrize("has_service", [True, False])
def test_projections_says_how_far_each_is_and_what_holds_up_its_streams(
    reading: Reading, capsys: pytest.CaptureFixture[str], has_service: bool
) -> None:
    service = reading.open() if has_service else None
    try:
        [row] = said(capsys, "projections", "-s", reading.store)
        assert (row["projection"], row["position"], row["backlog"]) == ("shop.Orders", 3, 0)
        assert (row["streams_held"], row["parked"], row["problem"]) == (1, 1, None)
        assert said(capsys, "projections", "Orders", "-s", reading.store) == [HELD]
        assert said(capsys, "projections", "Orders", "-s", reading.store, "--after", "web-c") == []
        assert main(["projections", "Orders", "-s", str(reading.store)]) == 0
        assert "web-bad" in capsys.readouterr().out
        assert main(["projections", "Others", "-s", str(reading.store)]) == 2
        assert "there is no projection 'Others'; there are: shop.Orders" in capsys.readouterr().err
    finally:
        if service is not None:
            service.close()


@pytest.mark.parametrize("has_service", [True, False])
def test_rebuild_projection_makes_the_tables_anew(
    reading: Reading, capsys: pytest.CaptureFixture[str], has_service: bool
) -> None:
    words = ("rebuild-projection", "Orders", "-s", reading.store, "-d", "reading_code:shop")
    assert reading.rows() == ["good"]
    assert main([str(one) for one in words]) == 2
    assert "no column" in capsys.readouterr().err
    reading.is_mended = True
    service = reading.open() if has_service else None
    try:
        [found] = said(capsys, *words)
    finally:
        if service is not None:
            service.close()
    assert (found["projected"], found["position"], found["finished"]) == (3, 3, True)
    assert reading.rows() == ["bad", "behind", "good"]
    assert said(capsys, "projections", "Orders", "-s", reading.store) == []


# Of a divided store


@pytest.fixture
def divided(reading: Reading, tmp_path: Path) -> Path:
    """A store with tables of its own, of which each partition has orders; one stream is held up."""
    reading.database = tmp_path / "divided.db"
    store = tmp_path / "divided"
    with Runtime(store, reading.domain, partitions=2) as runtime:
        for order in ("good", "bad", "o1", "o2", "o3"):
            runtime.publish(Placed(order), stream=f"web-{order}")
        runtime.settle(timeout=10)
    return store


@pytest.mark.parametrize("has_service", [True, False])
def test_projections_of_a_divided_store_are_listed_by_partition(
    reading: Reading, divided: Path, capsys: pytest.CaptureFixture[str], has_service: bool
) -> None:
    with ExitStack() as stack:
        if has_service:
            stack.enter_context(Runtime(divided, reading.domain))
        rows = said(capsys, "projections", "-s", divided)
        assert [(row["projection"], row["partition"]) for row in rows] == [
            ("shop.Orders", 0),
            ("shop.Orders", 1),
        ]
        assert {row["backlog"] for row in rows} == {0}
        assert sum(row["position"] for row in rows) == 5
        assert sum(row["streams_held"] for row in rows) == 1
        [held] = said(capsys, "projections", "Orders", "-s", divided)
        with Runtime(divided, reading.domain, read_only=True) as beside:
            [parked] = beside.parked()
        assert (held["stream"], held["parked"]) == ("web-bad", parked.id)


@pytest.mark.parametrize("has_service", [True, False])
def test_rebuild_projection_makes_the_tables_of_all_partitions_anew(
    reading: Reading, divided: Path, capsys: pytest.CaptureFixture[str], has_service: bool
) -> None:
    words = ("rebuild-projection", "Orders", "-s", divided, "-d", "reading_code:shop")
    assert reading.rows() == ["good", "o1", "o2", "o3"]
    assert main([str(one) for one in words]) == 2
    assert "no column" in capsys.readouterr().err
    reading.is_mended = True
    with ExitStack() as stack:
        if has_service:
            stack.enter_context(Runtime(divided, reading.domain))
        [found] = said(capsys, *words)
    # It went on behind the partitions that were written before the event that could not be.
    assert 0 < found["projected"] <= 5
    assert found["finished"]
    assert reading.rows() == ["bad", "good", "o1", "o2", "o3"]
    assert said(capsys, "projections", "Orders", "-s", divided) == []
