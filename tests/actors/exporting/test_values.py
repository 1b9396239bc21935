"""Values, names and ids of every kind go out as files keep them, and come back as they were."""

from __future__ import annotations

import csv
import json
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from procession import Domain, Event, InvalidMessage, ProcessManager, handle
from procession.exporting import FORMATS, export
from procession.importing import Backtest, import_file
from procession.store import open_store
from tests.actors.exporting.ocel_rules import broken_in_json, broken_in_sqlite, broken_in_xml

if TYPE_CHECKING:
    from pathlib import Path

START = datetime(2021, 5, 1, tzinfo=UTC)
WITH_PARQUET = [one for one in FORMATS if one != "parquet" or find_spec("pyarrow")]


class Colour(Enum):
    RED = "red"


class Told(Event):
    case: str
    text: str = ""
    flag: bool = False
    whole: int = 0
    part: float = 0.0
    either: int | bool | str | None = None
    moment: datetime | None = None
    day: date | None = None
    lasts: timedelta | None = None
    price: Decimal | None = None
    key: UUID | None = None
    colour: Colour | None = None
    raw: bytes = b""
    lists: list[list[int]] = []
    flags: dict[str, bool] = {}
    Text: str = ""
    ocel_id: str = ""


telling = Domain("telling")
telling.register(Told)


@telling.register
class Case(ProcessManager, correlate="case"):
    text: str = ""
    flag: bool = False
    either: int | bool | str | None = None
    moment: datetime | None = None
    lists: list[list[int]] = []

    @handle(Told, start=True)
    def on_told(self, event: Told) -> None:
        self.text, self.flag, self.either = event.text, event.flag, event.either
        self.moment, self.lists = event.moment, event.lists


def stored(path: Path, *events: tuple[str, str, Event]) -> Path:
    """A store with events, each with its stream and its id, all of one moment."""
    with Backtest(path, telling, durability="none") as backtest:
        for stream, event_id, event in events:
            backtest.publish(event, stream=stream, time=START, event_id=event_id)
    return path


def held(path: Path) -> list[Any]:
    with open_store(path, read_only=True) as store:
        return [
            *store.scan_log(),
            *(
                (name, one)
                for name, _ in store.scan_instances("telling.Case")
                for one in store.scan_transitions("telling.Case", name)
            ),
        ]


SAYABLE = st.characters(exclude_categories=["Cs"], exclude_characters="\ufffe\uffff").filter(
    lambda one: one >= " " or one in "\t\n\r"
)
NAMES = st.text(SAYABLE, min_size=1, max_size=5)
ZONES = st.sampled_from([None, UTC, timezone(timedelta(hours=5, minutes=45))])
TOLD = st.builds(
    Told,
    case=st.sampled_from(["1", "ü 2"]),
    text=st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
    flag=st.booleans(),
    whole=st.integers(-(1 << 63), (1 << 64) - 1),
    part=st.floats(allow_nan=False),
    either=st.none() | st.integers(-9, 9) | st.booleans() | st.sampled_from(["1", "true", ""]),
    moment=st.none() | st.datetimes(timezones=ZONES),
    day=st.none() | st.dates(),
    lasts=st.none() | st.timedeltas(timedelta(0), timedelta(days=999)),
    price=st.none() | st.decimals(allow_nan=False, allow_infinity=False, places=2),
    key=st.none() | st.uuids(),
    colour=st.none() | st.just(Colour.RED),
    raw=st.binary(max_size=3),
    lists=st.lists(st.lists(st.integers(0, 3), max_size=2), max_size=2),
    flags=st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=2), st.booleans(), max_size=2
    ),
    Text=st.sampled_from(["", 'two\r\nlines, "quoted" <&>', "\u2028 \U0001f600"]),
)


@given(
    events=st.lists(st.tuples(NAMES, TOLD), min_size=1, max_size=4),
    kind=st.sampled_from(WITH_PARQUET),
)
@settings(max_examples=20)
def test_values_and_names_of_every_kind_come_back_from_every_format(
    events: list[tuple[str, Told]], kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("values")
    named = [(f"s-{name}", f"{number}{name}", one) for number, (name, one) in enumerate(events)]
    store = stored(folder / "store", *named)
    export(store, folder / "log", kind=kind)
    import_file(folder / "log", folder / "back", telling, kind=kind, durability="none")
    assert held(folder / "back") == held(store)
    shutil.rmtree(folder)


ALL = Told(
    "1",
    "a",
    flag=True,
    whole=1 << 63,
    part=float("inf"),
    either=True,
    moment=datetime(2021, 5, 1, 12, tzinfo=timezone(timedelta(hours=2))),
    price=Decimal("1.10"),
    key=UUID(int=7),
    raw=b"\0\xff",
    lists=[[1], []],
    Text="A",
    ocel_id="own",
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stored(
        tmp_path_factory.mktemp("told") / "store",
        ("case-1", "e 1", ALL),
        ("case-1", "e 2", Told("1", "b", either=5)),
        ("object-1", "e 3", Told("1", "b")),
        ("Object-1", "e 4", Told("1", "b")),
        ("map_type-1", "e 5", Told("1", "b")),
    )


def test_values_that_a_format_cannot_tell_from_others_are_told_as_text(
    store: Path, tmp_path: Path
) -> None:
    export(store, tmp_path / "log.jsonocel")
    log = json.loads((tmp_path / "log.jsonocel").read_text(), parse_constant=pytest.fail)
    first, second = (
        {each["name"]: each["value"] for each in one["attributes"]} for one in log["events"][:2]
    )
    assert (first["whole"], first["part"], first["either"]) == (str(1 << 63), "Infinity", "true")
    assert (second["whole"], second["part"], second["either"]) == ("0", "0.0", "5")
    assert first["flag"] is True
    assert (first["raw"], first["moment"]) == ("AP8=", "2021-05-01T12:00:00+02:00")
    export(store, tmp_path / "log.jsonl")
    rows = [
        json.loads(line, parse_constant=pytest.fail)
        for line in (tmp_path / "log.jsonl").read_text().splitlines()
    ]
    assert [type(row["data"]) for row in rows] == [str, dict, dict, dict, dict]


def test_every_kind_of_value_keeps_the_rules_of_ocel(store: Path, tmp_path: Path) -> None:
    for suffix, broken in (
        ("jsonocel", broken_in_json),
        ("xmlocel", broken_in_xml),
        ("sqlite", broken_in_sqlite),
    ):
        export(store, tmp_path / f"log.{suffix}")
        assert broken(tmp_path / f"log.{suffix}") == []


def test_names_that_only_capitals_tell_apart_are_columns_and_tables_of_their_own(
    store: Path, tmp_path: Path
) -> None:
    export(store, tmp_path / "log.sqlite")
    with closing(sqlite3.connect(tmp_path / "log.sqlite")) as sql:
        told = "select text, Text_, ocel_id, ocel_id_, flag from event_telling_Told_v1"
        found = sql.execute(told).fetchone()
        assert found == ("a", "A", "e 1", "own", 1)
        objects = dict(sql.execute("select ocel_type, ocel_type_map from object_map_type"))
        assert objects == {
            "Object": "Object_",
            "case": "case",
            "map_type": "map_type_",
            "object": "object__",
        }


def test_of_one_moment_an_attribute_of_an_object_has_the_last_value(
    store: Path, tmp_path: Path
) -> None:
    export(store, tmp_path / "log.jsonocel")
    [case] = [
        one
        for one in json.loads((tmp_path / "log.jsonocel").read_text())["objects"]
        if one["id"] == "case-1"
    ]
    values = {one["name"]: one["value"] for one in case["attributes"]}
    assert len(values) == len(case["attributes"])
    assert (values["Case.text"], values["Case.flag"], values["Case.lists"]) == ("b", False, "[]")


@pytest.mark.parametrize("kind", ["ocel-xml", "xes"])
@pytest.mark.parametrize(("stream", "event_id"), [("s-\x01", "e"), ("s-1", "e\x02")])
def test_a_name_that_xml_cannot_say_is_refused_and_leaves_no_file(
    tmp_path: Path, kind: str, stream: str, event_id: str
) -> None:
    store = stored(tmp_path / "store", (stream, event_id, Told("1")))
    with pytest.raises(InvalidMessage, match="no XML"):
        export(store, tmp_path / "log", kind=kind)
    assert list(tmp_path.iterdir()) == [store]


def test_objects_of_a_row_are_a_list_whose_ids_may_have_spaces(tmp_path: Path) -> None:
    store = stored(tmp_path / "store", ("case-a b", "e1", Told("c d")))
    export(store, tmp_path / "log.csv")
    with (tmp_path / "log.csv").open(newline="") as file:
        [row] = csv.DictReader(file)
    assert json.loads(row["objects"]) == ["case-a b", "telling.Case-c d"]
