"""What a store holds goes out as files, and comes back as the same."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from procession import (
    Aggregate,
    Command,
    Domain,
    Event,
    InvalidMessage,
    MissingExtra,
    ProcessManager,
    Runtime,
    UnreadableRow,
    handle,
    timeout,
)
from procession.exporting import export
from procession.importing import Backtest, EventRule, LogMapping, import_file
from procession.store import LmdbStore
from procession.testing import VirtualClock
from tests.actors.exporting.ocel_rules import broken_in_json, broken_in_sqlite, broken_in_xml

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

START = datetime(2019, 3, 1, tzinfo=UTC)
WITHOUT_EXTRA = ["csv", "jsonl", "xes", "ocel-json", "ocel-xml", "ocel-sqlite"]
PM4PY = os.environ.get("PROCESSION_PM4PY")
"""A Python that has pm4py, which is under the AGPL and so in an environment of its own."""


class Placed(Event):
    order: str
    items: list[str] = []
    note: str | None = None
    price: float = 0.0


class Packed(Event):
    orders: list[str]
    shipment: str


class HandedOn(Event):
    order: str
    team: str


class Done(Event):
    order: str


class Escalate(Command):
    order: str


class Escalated(Event):
    order: str


class Worked(Event):
    order: str


mill = Domain("mill")
mill.register(Placed, Packed, HandedOn, Done, Worked)


@mill.register
class Desk(Aggregate, identity="order"):
    order: str = ""

    @handle(Escalate)
    def escalate(self, command: Escalate) -> Escalated:
        return Escalated(order=command.order)


@mill.register
class Order(ProcessManager, correlate="order"):
    teams: list[str] = []
    hand_overs: int = 0
    overdue: bool = False

    @handle(Placed, start=True)
    def on_placed(self, event: Placed) -> None:
        self.set_timeout("overdue", timedelta(days=90))

    @handle(Packed, correlate="orders")
    def on_packed(self, event: Packed) -> None: ...

    @handle(HandedOn)
    def on_handed_on(self, event: HandedOn) -> None:
        self.teams = [*self.teams, event.team][-3:]
        self.hand_overs += 1

    @timeout("overdue")
    def on_overdue(self) -> None:
        self.overdue = True
        self.issue(Escalate(order=str(self.id)))

    @handle(Done, end=True)
    def on_done(self, event: Done) -> None: ...


@mill.register
class Shipment(ProcessManager, correlate="shipment"):
    orders: list[str] = []

    @handle(Packed, start=True)
    def on_packed(self, event: Packed) -> None:
        self.orders = event.orders


def at(days: float) -> datetime:
    return START + timedelta(days=days)


def publish_all(backtest: Backtest, history: list[tuple[datetime, str, Event]]) -> None:
    for time, stream, event in history:
        backtest.publish(event, stream=stream, time=time, headers={"actor": "é <&\"'>"})
    backtest.let_pass(at(400))


HISTORY: list[tuple[datetime, str, Event]] = [
    (at(0), "order-o1", Placed("o1", ["pen", "ink"], "two\nlines <b>", 2.5)),
    (at(1), "order-o2", Placed("o2")),
    (at(2), "order-o1", HandedOn("o1", "blue")),
    (at(3), "order-o1", HandedOn("o1", "red")),
    (at(4), "shipping-s1", Packed(["o1", "o2"], "s1")),
    (at(120), "order-o1", Done("o1")),
]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    with Backtest(tmp_path / "store", mill, durability="none") as backtest:
        publish_all(backtest, HISTORY)
    return tmp_path / "store"


def held(path: Path) -> list[Any]:
    """All events and what instances made of them."""
    with LmdbStore(path, read_only=True) as opened:
        found: list[Any] = [
            (
                one.event_id,
                one.type,
                one.stream,
                one.version,
                one.time,
                one.data,
                one.headers,
                one.correlation_id,
                one.causation_id,
            )
            for one in opened.scan_log()
        ]
        for process in ("mill.Order", "mill.Shipment"):
            for instance, _ in opened.scan_instances(process):
                found += [
                    (process, instance, one.version, one.time, one.handler, one.state)
                    for one in opened.scan_transitions(process, instance)
                ]
        return found


@pytest.mark.parametrize("kind", WITHOUT_EXTRA)
def test_what_goes_out_comes_back_as_the_same(store: Path, tmp_path: Path, kind: str) -> None:
    found = export(store, tmp_path / "log", kind=kind)
    assert (found.events, found.position) == (6, 6)
    import_file(tmp_path / "log", tmp_path / "back", mill, kind=kind, until=at(400))
    assert held(tmp_path / "back") == held(store)


def test_parquet_goes_out_and_comes_back_too(store: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    export(store, tmp_path / "log.parquet")
    import_file(tmp_path / "log.parquet", tmp_path / "back", mill, until=at(400))
    assert held(tmp_path / "back") == held(store)


def test_parquet_without_its_extra_says_what_to_install(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(MissingExtra, match=r"procession\[parquet\]"):
        export(store, tmp_path / "log.parquet")
    assert list(tmp_path.iterdir()) == [store]
    with pytest.raises(MissingExtra):
        import_file(tmp_path / "log.parquet", tmp_path / "back", mill)


def ocel(store: Path, tmp_path: Path, **options: Any) -> dict[str, Any]:
    export(store, tmp_path / "log.jsonocel", **options)
    found: dict[str, Any] = json.loads((tmp_path / "log.jsonocel").read_text())
    return found


def test_a_real_thing_is_one_object_although_it_is_a_stream_and_an_instance(
    store: Path, tmp_path: Path
) -> None:
    log = ocel(store, tmp_path)
    assert {(one["id"], one["type"]) for one in log["objects"]} == {
        ("order-o1", "order"),
        ("order-o2", "order"),
        ("shipping-s1", "shipping"),
    }


def test_an_event_of_many_objects_has_to_do_with_each(store: Path, tmp_path: Path) -> None:
    packed = ocel(store, tmp_path)["events"][4]
    assert {one["objectId"] for one in packed["relationships"]} == {
        "order-o1",
        "order-o2",
        "shipping-s1",
    }


def test_changes_of_state_are_attributes_of_objects_with_their_times(
    store: Path, tmp_path: Path
) -> None:
    [order] = [one for one in ocel(store, tmp_path)["objects"] if one["id"] == "order-o2"]
    overdue = [
        (one["time"], one["value"]) for one in order["attributes"] if one["name"] == "Order.overdue"
    ]
    assert overdue == [
        ("2019-03-02T00:00:00.000000Z", False),
        ("2019-05-31T00:00:00.000000Z", True),
    ]


def test_what_a_command_caused_is_related_to_who_issued_it(tmp_path: Path) -> None:
    clock = VirtualClock(START)
    with Runtime(tmp_path / "store", mill, clock=clock, durability="none") as runtime:
        runtime.publish(Placed("o1"), stream="order-o1")
        clock.advance(timedelta(days=91))
        log = ocel(tmp_path / "store", tmp_path)
    [_, escalated] = log["events"]
    assert {one["objectId"]: one["qualifier"] for one in escalated["relationships"]} == {
        "mill::desk-o1": "stream",
        "order-o1": "caused by mill.Escalate.v1 of mill.Order",
    }
    [order] = [one for one in log["objects"] if one["id"] == "order-o1"]
    assert order["relationships"] == [
        {"objectId": "mill::desk-o1", "qualifier": "mill.Escalate.v1"}
    ]


def test_only_some_objects_and_only_what_is_new(store: Path, tmp_path: Path) -> None:
    log = ocel(store, tmp_path, objects=["shipping"])
    assert [one["name"] for one in log["objectTypes"]] == ["shipping"]
    assert len(log["events"]) == 1
    log = ocel(store, tmp_path, after=5)
    assert [one["type"] for one in log["events"]] == ["mill.Done.v1"]
    assert [one["id"] for one in log["objects"]] == ["order-o1"]


def test_the_json_has_what_the_schema_of_ocel_asks_for(store: Path, tmp_path: Path) -> None:
    log = ocel(store, tmp_path)
    assert set(log) == {"objectTypes", "eventTypes", "objects", "events"}
    declared = {
        of: {one["name"]: {a["name"]: a["type"] for a in one["attributes"]} for one in log[of]}
        for of in ("objectTypes", "eventTypes")
    }
    kinds = {"string": str, "integer": int, "float": float, "boolean": bool}
    ids = {one["id"] for one in log["objects"]}
    for of, types in (("objects", "objectTypes"), ("events", "eventTypes")):
        for one in log[of]:
            assert set(one) - {"time"} == {"id", "type", "attributes", "relationships"}
            for attribute in one["attributes"]:
                kind = declared[types][one["type"]][attribute["name"]]
                assert type(attribute["value"]) is kinds[kind]
            assert {each["objectId"] for each in one["relationships"]} <= ids
            assert all(each["qualifier"] for each in one["relationships"])


def test_the_xml_and_the_database_say_what_the_json_says(store: Path, tmp_path: Path) -> None:
    log = ocel(store, tmp_path)
    export(store, tmp_path / "log.xmlocel")
    export(store, tmp_path / "log.sqlite")
    root = ET.parse(tmp_path / "log.xmlocel").getroot()
    assert [one.tag for one in root] == ["object-types", "event-types", "objects", "events"]
    in_json = {
        (one["id"], each["objectId"], each["qualifier"])
        for one in log["events"]
        for each in one["relationships"]
    }
    assert in_json == {
        (one.get("id"), each.get("object-id"), each.get("qualifier"))
        for one in root.iter("event")
        for each in one.iter("relationship")
    }
    with closing(sqlite3.connect(tmp_path / "log.sqlite")) as sql:
        assert in_json == set(sql.execute("select * from event_object"))
        for kind, name in sql.execute("select ocel_type, ocel_type_map from event_map_type"):
            count = sql.execute(f'select count(*) from "event_{name}"').fetchone()[0]
            assert count == sum(one["type"] == kind for one in log["events"])


def test_each_format_keeps_the_rules_of_ocel(store: Path, tmp_path: Path) -> None:
    for suffix, broken in (
        ("jsonocel", broken_in_json),
        ("xmlocel", broken_in_xml),
        ("sqlite", broken_in_sqlite),
    ):
        export(store, tmp_path / f"log.{suffix}")
        assert broken(tmp_path / f"log.{suffix}") == []


def test_what_breaks_a_rule_of_ocel_is_found(store: Path, tmp_path: Path) -> None:
    log = ocel(store, tmp_path)
    log["events"][0]["relationships"][0]["objectId"] = "nowhere"
    log["objects"][0]["type"] = "other"
    (tmp_path / "broken").write_text(json.dumps(log))
    assert len(broken_in_json(tmp_path / "broken")) == 2
    export(store, tmp_path / "log.xmlocel")
    text = (tmp_path / "log.xmlocel").read_text().replace("<objects>", "<things>", 1)
    (tmp_path / "broken").write_text(text.replace("</objects><events>", "</things><events>"))
    assert broken_in_xml(tmp_path / "broken")
    export(store, tmp_path / "log.sqlite")
    with closing(sqlite3.connect(tmp_path / "log.sqlite")) as sql:
        sql.execute("delete from object")
        sql.commit()
    assert broken_in_sqlite(tmp_path / "log.sqlite")


def test_logs_of_others_come_in_by_a_mapping(tmp_path: Path) -> None:
    (tmp_path / "log.xes").write_text(
        '<log><global scope="event"><string key="concept:name" value="?"/></global><trace>'
        '<string key="concept:name" value="7"/>'
        '<event><string key="concept:name" value="start"/>'
        '<date key="time:timestamp" value="2020-01-01T00:00:00Z"/></event>'
        "</trace></log>"
    )
    mapping = LogMapping(
        time="time:timestamp",
        stream="order-{case:concept:name}",
        event=[EventRule("Placed", {"concept:name": "start"}, {"order": "case:concept:name"})],
    )
    import_file(tmp_path / "log.xes", tmp_path / "store", mill, mapping=mapping)
    (tmp_path / "log.jsonocel").write_text(
        json.dumps(
            {
                "events": [
                    {
                        "id": "e1",
                        "type": "pack",
                        "time": "2020-01-01T00:00:00Z",
                        "relationships": [
                            {"objectId": "o1", "qualifier": ""},
                            {"objectId": "o2", "qualifier": ""},
                            {"objectId": "s1", "qualifier": ""},
                        ],
                    },
                    {
                        "id": "e2",
                        "type": "pack",
                        "time": "2020-01-02T00:00:00Z",
                        "relationships": [
                            {"objectId": "o1", "qualifier": ""},
                            {"objectId": "s1", "qualifier": ""},
                        ],
                    },
                ],
                "objects": [
                    {"id": "o1", "type": "order"},
                    {"id": "o2", "type": "order"},
                    {"id": "s1", "type": "shipment"},
                ],
            }
        )
    )
    mapping = LogMapping(
        time="time",
        id="{id}",
        stream="ship-{object:shipment}",
        event=[
            EventRule("Packed", {}, {"orders": "object:order", "shipment": "{object:shipment}"})
        ],
    )
    import_file(tmp_path / "log.jsonocel", tmp_path / "other", mill, mapping=mapping)
    with Runtime(tmp_path / "other", mill, read_only=True) as runtime:
        assert [one.event for one in runtime.events()] == [
            Packed(["o1", "o2"], "s1"),
            Packed(["o1"], "s1"),
        ]


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.xes", "<log><trace>", "no XML"),
        ("a.xes", '<!DOCTYPE log [<!ENTITY a "b">]><log>&a;</log>', "entities"),
        ("a.jsonocel", '{"events": [{"id": "e1"', "row 1"),
        ("a.jsonocel", '{"events": [{"id": "e1"}]}', "row 1"),
        ("a.sqlite", "no database", "no OCEL 2.0 database"),
    ],
)
def test_broken_logs_are_refused(tmp_path: Path, name: str, text: str, says: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UnreadableRow, match=says):
        import_file(tmp_path / name, tmp_path / "store", mill)
    assert not (tmp_path / "store").exists()


def test_a_format_that_is_none_is_refused(store: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidMessage, match="ocel-json"):
        export(store, tmp_path / "log.txt")


EVENTS = st.lists(
    st.tuples(
        st.integers(0, 200),
        st.sampled_from(["a", "b", "ü-1"]),
        st.sampled_from(["placed", "on", "back", "packed", "done"]),
        st.text(max_size=4).filter(lambda text: text.isprintable()),
    ),
    min_size=1,
    max_size=20,
)


@given(rows=EVENTS, kind=st.sampled_from(WITHOUT_EXTRA))
@settings(max_examples=8)
def test_logs_of_many_kinds_go_through_without_a_difference(
    rows: list[tuple[int, str, str, str]], kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("log")
    made: dict[str, Callable[[str, str], Event]] = {
        "placed": lambda name, text: Placed(name, [text, "x"], text or None, 0.1),
        "on": lambda name, text: HandedOn(name, f"blue {text}"),
        "back": lambda name, text: HandedOn(name, "red"),
        "packed": lambda name, text: Packed([name, "a", "b"], f"s{text}" if text else "s"),
        "done": lambda name, text: Done(name),
    }
    history = [
        (at(day), f"order-{name}", made[what](name, text))
        for day, name, what, text in sorted(rows, key=lambda one: one[0])
    ]
    with Backtest(folder / "store", mill, durability="none") as backtest:
        publish_all(backtest, history)
    export(folder / "store", folder / "log", kind=kind)
    import_file(folder / "log", folder / "back", mill, kind=kind, until=at(400), durability="none")
    assert held(folder / "back") == held(folder / "store")
    shutil.rmtree(folder)


CHECK = """
import sys, warnings
warnings.filterwarnings("ignore")
import pm4py
path = sys.argv[1]
read = {"jsonocel": pm4py.read_ocel2_json, "xmlocel": pm4py.read_ocel2_xml,
        "sqlite": pm4py.read_ocel2_sqlite}
log = read[path.rpartition(".")[2]](path)
if path.endswith("sqlite"):
    from pm4py.objects.ocel.validation import ocel20_rel_validation
    kept, broken = ocel20_rel_validation.apply(path)
    assert not broken, broken
print(len(log.events), len(log.objects))
"""


@pytest.mark.skipif(PM4PY is None, reason="PROCESSION_PM4PY names no Python that has pm4py")
@pytest.mark.parametrize("suffix", ["jsonocel", "xmlocel", "sqlite"])
def test_another_program_reads_it(store: Path, tmp_path: Path, suffix: str) -> None:
    export(store, tmp_path / f"log.{suffix}")
    done = subprocess.run(
        [str(PM4PY), "-c", CHECK, str(tmp_path / f"log.{suffix}")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split()[-2:] == ["6", "3"]
