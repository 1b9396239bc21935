"""What programs write in ways of their own is read as what it is."""

from __future__ import annotations

import json
import tracemalloc
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest

from procession import Domain, Event, Runtime, UnreadableRow
from procession.importing import EventRule, LogMapping, import_file
from procession.importing.rows import rows_of
from tests.history.kinds import OBJECT_LOGS, write_objects, write_xes

if TYPE_CHECKING:
    from pathlib import Path


class Placed(Event):
    express: bool
    items: list[str]


class Noted(Event):
    flag: bool | None = None
    cost: float | None = None
    share: float = 0.5


told = Domain("told")
told.register(Placed, Noted)


def events(store: Path) -> list[Any]:
    with Runtime(store, told, read_only=True) as runtime:
        return [one.event for one in runtime.events()]


@pytest.mark.parametrize("suffix", ["jsonocel", "xmlocel", "sqlite"])
def test_one_mapping_reads_booleans_and_objects_of_all_formats_of_ocel(
    tmp_path: Path, suffix: str
) -> None:
    log = tmp_path / f"log.{suffix}"
    write_objects(log, OBJECT_LOGS["many objects"]())
    mapping = LogMapping(
        time="time",
        stream="orders-{object:order}",
        id="{id}",
        zone="UTC",
        event=[
            EventRule("Placed", {"type": "place order", "express": True}, {"items": "object:item"})
        ],
        others="skip",
    )
    import_file(log, tmp_path / "store", told, mapping=mapping, durability="none")
    items = [[f"item {order}{one}" for one in range(3)] for order in (0, 2)]
    assert events(tmp_path / "store") == [Placed(True, one) for one in items]


NOTED = LogMapping(
    time="time:timestamp",
    stream="notes-{case:concept:name}",
    event=[EventRule("Noted", {}, {"share": "rate"})],
)


def test_a_number_that_is_none_is_a_value_that_is_missing(tmp_path: Path) -> None:
    nan = float("nan")
    write_xes(tmp_path / "log.xes", [[("a", 0, {"cost": nan, "rate": nan}), ("a", 1, {"rate": 1})]])
    import_file(tmp_path / "log.xes", tmp_path / "store", told, mapping=NOTED, durability="none")
    assert events(tmp_path / "store") == [Noted(), Noted(share=1.0)]


@pytest.mark.skipif(find_spec("pyarrow") is None, reason="pyarrow is not installed")
def test_a_number_that_is_none_is_missing_in_parquet_too(tmp_path: Path) -> None:
    import pyarrow as pa  # noqa: PLC0415 - an extra
    import pyarrow.parquet as pq  # noqa: PLC0415

    row = {"time:timestamp": "2020-01-01T00:00Z", "case:concept:name": "1", "cost": float("nan")}
    pq.write_table(pa.Table.from_pylist([{**row, "rate": 2.0}]), tmp_path / "log.parquet")
    import_file(
        tmp_path / "log.parquet", tmp_path / "store", told, mapping=NOTED, durability="none"
    )
    assert events(tmp_path / "store") == [Noted(share=2.0)]


@pytest.mark.parametrize(("said", "is_so"), [("true", True), ("1", True), ("0", False)])
def test_booleans_of_xes_are_spelt_as_xml_has_them(tmp_path: Path, said: str, is_so: bool) -> None:
    (tmp_path / "log.xes").write_text(
        f'<log><trace><event><boolean key="flag" value="{said}"/></event></trace></log>'
    )
    assert [row for _, row in rows_of(tmp_path / "log.xes")] == [{"flag": is_so}]


@pytest.mark.parametrize(
    "log", [{"ocel:events": {}, "ocel:objects": {}}, {"objects": []}, {"events": []}, {}]
)
def test_json_that_is_no_log_of_ocel_2_is_refused_and_not_taken_for_an_empty_one(
    tmp_path: Path, log: dict[str, Any]
) -> None:
    (tmp_path / "log.jsonocel").write_text(json.dumps(log))
    with pytest.raises(UnreadableRow, match=r"OCEL 1\.0 has to be converted"):
        import_file(tmp_path / "log.jsonocel", tmp_path / "store", told)
    assert not (tmp_path / "store").exists()


def test_how_a_long_xml_file_is_laid_out_stays_on_disk(tmp_path: Path) -> None:
    blank = " " * 400
    event = f"<event id='e' type='t' time='2020-01-01T00:00Z'/>\n{blank}"
    taken = []
    for count in (400, 4_000):
        (tmp_path / "log.xml").write_text(f"<log>\n<events>\n{event * count}</events></log>")
        tracemalloc.start()
        assert sum(1 for _ in rows_of(tmp_path / "log.xml")) == count
        taken.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert taken[1] < 1.5 * taken[0]
