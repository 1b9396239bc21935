"""A divided store goes out as one file: all partitions' events in the order of time."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from procession import InvalidMessage, Runtime
from procession.cli import main
from procession.exporting import export
from procession.importing import import_file
from procession.store import StoreError, divided_at
from tests.actors.cluster.crossing import Called, Case, Numbered, Open, crossing
from tests.postgresql import shared_server

if TYPE_CHECKING:
    from pathlib import Path

PARTITIONS = 3
WAIT = 30


@pytest.fixture(params=["folder", "database"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    place = str(tmp_path / "store")
    if request.param == "database":
        place = shared_server().new_url(without_tables=True)
    with Runtime(place, crossing, partitions=PARTITIONS) as runtime:
        for number in range(6):
            runtime.ask(Open(f"c{number}", (f"p{number}",)))
        runtime.settle(WAIT)
        runtime.publish(Called(tuple(f"c{number}" for number in range(6))), stream="calls-1")
        runtime.settle(WAIT)
    return place


def rows_in(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_all_events_go_out_once_with_the_objects_of_every_partition(
    store: str, tmp_path: Path
) -> None:
    file = tmp_path / "log.jsonl"
    found = export(store, file)
    rows = rows_in(file)
    with Runtime(store, crossing, read_only=True) as runtime:
        events = list(runtime.events())
        assert [one["id"] for one in rows] == [one.event_id for one in events]
        assert [(one["partition"], one["position"]) for one in rows] == [
            (one.partition, one.position) for one in events
        ]
    assert found.events == len(rows)
    (called,) = [one for one in rows if one["type"].endswith("Called.v1")]
    # Instances of other partitions took a copy of it.
    assert {one["id"] for one in called["objects"]} == {
        "calls-1",
        *(f"crossing::desk-c{number}" for number in range(6)),
    }
    made = next(one for one in rows if one["type"].endswith("Made.v1"))
    assert any("caused by crossing.Make.v1" in one["qualifier"] for one in made["objects"])
    export(store, tmp_path / "again.jsonl")
    assert (tmp_path / "again.jsonl").read_bytes() == file.read_bytes()


def test_an_export_goes_on_from_the_positions_of_the_one_before(store: str, tmp_path: Path) -> None:
    first = export(store, tmp_path / "first.jsonl")
    with Runtime(store, crossing) as runtime:
        runtime.publish(Numbered("c1", "n1"), stream="numbers-1")
        runtime.settle(WAIT)
    file = tmp_path / "second.jsonl"
    arguments = ["export", str(file), "--store", store, "--after", str(first.position)]
    assert main(arguments) == 0
    assert [one["type"] for one in rows_in(file)] == ["crossing.Numbered.v1"]
    assert export(store, file, after={0: 0}).events == first.events + 1
    for wrong in (3, "event.0:1", {7: 1}):
        with pytest.raises(InvalidMessage, match="after="):
            export(store, file, after=wrong)


@pytest.mark.parametrize("kind", ["csv", "xes", "ocel-json", "ocel-xml", "ocel-sqlite"])
def test_every_format_of_a_divided_store_comes_back_as_one(tmp_path: Path, kind: str) -> None:
    with Runtime(tmp_path / "store", crossing, partitions=PARTITIONS) as runtime:
        for number in range(4):
            runtime.ask(Open(f"c{number}", (f"p{number}",)))
        runtime.settle(WAIT)
        expected = {view.id: view.state for view in runtime.find(Case)}
    export(tmp_path / "store", tmp_path / "log", kind=kind)
    import_file(tmp_path / "log", tmp_path / "back", crossing, kind=kind)
    with Runtime(tmp_path / "back", crossing, read_only=True) as runtime:
        assert {view.id: view.state for view in runtime.find(Case)} == expected


def test_one_partition_alone_is_not_exported(tmp_path: Path) -> None:
    with Runtime(tmp_path / "store", crossing, partitions=2):
        pass
    divided = divided_at(tmp_path / "store")
    assert divided is not None
    with pytest.raises(StoreError, match="export the whole store"):
        export(divided.folder_of(0), tmp_path / "log.csv")
