"""The command line shows a divided store and acts on it, with a service or without one."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from procession import Domain, Event, ProcessManager, Runtime, handle, timeout
from procession.cli import main
from tests.actors.cluster.crossing import Called, Numbered, Open, crossing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PARTITIONS = 4
CASES = [f"c{number}" for number in range(9)]
DOMAIN = ("--domain", "tests.actors.cluster.crossing:crossing")


def work_on(runtime: Runtime) -> None:
    for number, case in enumerate(CASES):
        runtime.ask(Open(case, (f"p{number}", f"bad{number}")))
        runtime.publish(Numbered(case, f"n{number}"), stream=f"numbers-{number}")
    runtime.publish(Called(tuple(CASES)), stream="calls-1", event_id="a call")
    runtime.settle(timeout=20)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("divided") / "store"


@pytest.fixture(scope="module", params=["with a service", "without a service"])
def store(path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    with Runtime(path, crossing, partitions=PARTITIONS) as runtime:
        if not runtime.counts()["crossing.Case"].instances:
            work_on(runtime)
        if request.param == "with a service":
            yield path
            return
    yield path


def told(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> list[Any]:
    assert main([*arguments, "--json"]) == status
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_processes_and_instances_are_told_of_all_partitions(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (row,) = told(capsys, "ls", "-s", str(store))
    assert (row["process"], row["running"], row["backlog"]) == ("crossing.Case", 9, 0)
    rows = told(capsys, "ls", "Case", "-s", str(store))
    assert sorted(row["id"] for row in rows) == CASES
    again = told(capsys, "ls", "Case", "--limit", "4", "-s", str(store))
    more = told(capsys, "ls", "Case", "--after", again[-1]["id"], "-s", str(store))
    assert [*again, *more] == rows
    assert [
        row["id"] for row in told(capsys, "ls", "Case", "--where", "number=n3", "-s", str(store))
    ] == ["c3"]
    (shown,) = told(capsys, "show", "Case", "c5", "-s", str(store))
    assert shown["state"]["made"] == ["p5"]


def test_events_are_told_once_each(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = told(capsys, "events", "--limit", "1000", "-s", str(store))
    assert len({row["event_id"] for row in rows}) == len(rows)
    assert sum(row["type"] == "crossing.Opened.v1" for row in rows) == 9
    (opened,) = told(capsys, "events", "crossing::desk-c3", "-s", str(store))
    assert opened["data"]["case"] == "c3"
    tail = told(capsys, "tail", "--last", "1000", "-s", str(store))
    assert [row["event_id"] for row in tail] == [row["event_id"] for row in rows]


def test_why_and_trace_go_through_all_partitions(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = told(capsys, "why", "a call", "-s", str(store), *DOMAIN)
    assert sorted(row["instance"] for row in rows) == CASES
    (opened,) = told(capsys, "events", "crossing::desk-c3", "-s", str(store))
    rows = told(capsys, "trace", opened["event_id"], "-s", str(store), *DOMAIN)
    assert [row["kind"] for row in rows].count("transition") == 3


def test_partitions_are_listed(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = told(capsys, "partitions", "-s", str(store))
    assert [row["number"] for row in rows] == [0, 1, 2, 3]
    assert {row["lane_backlog"] for row in rows} == {0}
    assert {row["backlog"] for row in rows} == {0}
    assert sum(row["events"] for row in rows) > 9


def test_what_is_done_to_it_as_files_is_done_to_all_partitions(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (checked,) = told(capsys, "verify", str(store))
    assert checked["findings"] == []
    told(capsys, "backup", str(store), str(tmp_path / "copy"))
    (row,) = told(capsys, "ls", "-s", str(tmp_path / "copy"))
    assert row["running"] == 9
    (sizes,) = told(capsys, "compact", str(tmp_path / "copy"))
    assert sizes["bytes"] > 0
    told(capsys, "compact", str(tmp_path / "copy"), str(tmp_path / "small"))
    (checked,) = told(capsys, "verify", str(tmp_path / "small"))
    assert checked["findings"] == []


def test_an_instance_is_amended_and_ended_in_its_partition(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told(capsys, "refresh", "Case", "-s", str(store), *DOMAIN)
    told(capsys, "amend", "Case", "c7", "marks=5", "-s", str(store), *DOMAIN)
    (shown,) = told(capsys, "show", "Case", "c7", "-s", str(store))
    assert shown["state"]["marks"] == 5
    rows = told(capsys, "rebuild", "Case", "-s", str(store), *DOMAIN)
    assert rows[-1]["rebuilt"] + rows[-1]["passed_over"] == 9


failing = Domain("failing")


class Ordered(Event):
    order: str


@failing.register
class Order(ProcessManager, correlate="order"):
    order: str = ""
    tried: int = 0

    @handle(Ordered, start=True)
    def on_ordered(self, event: Ordered) -> None:
        self.set_timeout("late", timedelta(days=1))
        if is_bad:
            raise RuntimeError("it is bad")

    @timeout("late")
    def on_late(self) -> None:
        self.mark_as_complete()


is_bad = True


def test_what_is_parked_in_each_partition_is_retried_or_skipped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    global is_bad  # noqa: PLW0603 - the handler reads it
    path = tmp_path / "store"
    named = ("-s", str(path))
    with Runtime(path, failing, partitions=PARTITIONS) as runtime:
        for number in range(8):
            runtime.publish(Ordered(f"o{number}"), stream=f"orders-{number}", event_id=f"e{number}")
        runtime.settle(timeout=20)
        rows = told(capsys, "parked", "--each", *named)
        assert sorted(row["instance"] for row in rows) == [f"o{number}" for number in range(8)]
        assert [row["id"] for row in rows] == sorted(one.id for one in runtime.parked())
        stuck = told(capsys, "stuck", "--since", "0s", *named)
        assert {row["parked"]["id"] for row in stuck} == {row["id"] for row in rows}
        assert {one.parked for one in runtime.stuck(Order, timedelta())} == {
            row["id"] for row in rows
        }
        (why,) = told(capsys, "why", "e3", *named)
        assert why["outcome"] == "parked"
        told(capsys, "skip", str(rows[0]["id"]), *named)
        is_bad = False
        told(capsys, "retry", "--error", "RuntimeError", "--process", "Order", "--yes", *named)
        runtime.settle(timeout=20)
        assert told(capsys, "parked", "--each", *named) == []
        found = told(capsys, "ls", "Order", *named)
        assert {row["id"] for row in found} == {row["instance"] for row in rows[1:]}
        due = told(capsys, "timeouts", *named)
        assert {row["id"] for row in due} == {row["instance"] for row in rows[1:]}
        one = rows[5]["instance"]
        told(capsys, "timeout", "cancel", "Order", one, "late", *named)
        told(capsys, "end", "Order", one, "--reason", "test", "--yes", *named)
        view = runtime.get(Order, one)
        assert view is not None
        assert view.is_complete
        (stats,) = told(capsys, "stats", *named)
        assert stats["events"] >= 8
        (health,) = told(capsys, "health", *named)
        assert health["is_healthy"]


def test_a_store_that_is_not_divided_has_no_partitions_to_list(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Runtime(tmp_path / "whole", crossing):
        pass
    assert main(["partitions", "-s", str(tmp_path / "whole")]) == 2
    assert "is not divided" in capsys.readouterr().err
