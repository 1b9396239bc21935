"""Files of history: what they are read as, and how their faults are told."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from domain_examples.loan_application.process import bank
from procession import (
    DefinitionError,
    Domain,
    Event,
    ProcessManager,
    Runtime,
    UnreadableRow,
    handle,
)
from procession.importing import EventRule, LogMapping, import_file, read_mapping
from procession.importing.in_order import InOrder
from procession.importing.mapping import Prepared
from procession.store import LmdbStore
from tests.history.loans import LOAN_LOG, LOAN_MAP, imported, looped

if TYPE_CHECKING:
    from pathlib import Path


class Told(Event):
    name: str
    by: str | None = None


class Billed(Event):
    invoice: str
    amount: Decimal
    items: list[str] = []
    note: str | None = None
    urgent: bool = False


class Settled(Event):
    invoice: str


bills = Domain("bills")
bills.register(Billed, Settled)


@bills.register
class Bill(ProcessManager, correlate="invoice"):
    amount: Decimal = Decimal(0)

    @handle(Billed, start=True)
    def on_billed(self, event: Billed) -> None:
        self.amount = event.amount

    @handle(Settled, end=True)
    def on_settled(self, event: Settled) -> None: ...


MAP = """
time = "when"
zone = "Europe/Amsterdam"
stream = "bill-{number}"
id = "{id}"
others = "skip"

[[event]]
type = "Billed"
when = { what = ["created", "made"] }
fields = { invoice = "{number}", urgent = { value = true } }

[[event]]
type = "bills.Settled.v1"
when = { what = "paid" }
fields = { invoice = "number" }
"""

ROWS = """id,when,what,number,amount,items,note
1,2024-03-01 09:00,created,7,12.50,"[""pen"", ""ink""]",
2,2024-03-02T09:00:00+01:00,looked at,7,,,
4,2024-03-04 09:00,paid,7,,,
3,2024-03-03 09:00,made,8,1.00,[],by hand
"""


def written(tmp_path: Path, name: str, text: str, mapping: str = MAP) -> tuple[Path, Path]:
    log, toml = tmp_path / name, tmp_path / "mapping.toml"
    if name.endswith(".gz"):
        log.write_bytes(gzip.compress(text.encode()))
    else:
        log.write_text(text)
    toml.write_text(mapping)
    return log, toml


def test_rows_become_events_in_order_of_time(tmp_path: Path) -> None:
    log, mapping = written(tmp_path, "log.csv.gz", ROWS)
    found = import_file(log, tmp_path / "store", bills, mapping=mapping)
    assert (found.rows, found.left_out, found.events, found.transitions) == (4, 1, 3, 3)
    with Runtime(tmp_path / "store", bills, read_only=True) as runtime:
        events = list(runtime.events())
        assert [one.event_id for one in events] == ["1", "3", "4"]
        assert events[0].event == Billed("7", Decimal("12.50"), ["pen", "ink"], None, True)
        assert events[0].time == datetime(2024, 3, 1, 8, tzinfo=UTC)
        bill = runtime.get(Bill, "7")
        assert bill is not None
        assert bill.is_complete


def test_lines_of_json_are_rows_too(tmp_path: Path) -> None:
    rows = [
        {"id": 1, "when": "2024-03-01T09:00Z", "what": "made", "number": 7, "amount": "3.10"},
        {"id": 2, "when": "2024-03-02T09:00Z", "what": "paid", "number": "7"},
    ]
    log, mapping = written(tmp_path, "log.jsonl", "\n".join(map(json.dumps, rows)))
    assert import_file(log, tmp_path / "store", bills, mapping=mapping).events == 2


def test_the_same_file_again_changes_nothing(tmp_path: Path) -> None:
    log, mapping = written(tmp_path, "log.csv", ROWS)
    import_file(log, tmp_path / "store", bills, mapping=mapping)
    found = import_file(log, tmp_path / "store", bills, mapping=mapping)
    assert (found.events, found.known, found.transitions) == (0, 3, 0)


def test_a_file_that_has_grown_goes_on(tmp_path: Path) -> None:
    log, mapping = written(tmp_path, "log.csv", ROWS, MAP.replace('id = "{id}"\n', ""))
    import_file(log, tmp_path / "store", bills, mapping=mapping)
    log.write_text(ROWS + "9,2024-03-09 09:00,paid,8,,,\n")
    found = import_file(log, tmp_path / "store", bills, mapping=mapping)
    assert (found.events, found.known) == (1, 3)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("5,2024-03-05 09:00,created,9,much,[],", r"row 5: .*amount"),
        ("5,2024-03-05 09:00,created,9,1.00,[1],", r"row 5: .*items"),
        ("5,last week,created,9,1.00,[],", r"row 5: time 'last week'"),
        ("5,2024-03-05 09:00,created,9", r"row 5: 4 values for 7 columns"),
        ('5,2024-03-05 09:00,"created', r"row 5: "),
    ],
)
def test_a_broken_row_is_named_and_nothing_is_stored(tmp_path: Path, row: str, says: str) -> None:
    log, mapping = written(tmp_path, "log.csv", f"{ROWS}{row}\n")
    with pytest.raises(UnreadableRow, match=rf"log\.csv: {says}"):
        import_file(log, tmp_path / "store", bills, mapping=mapping)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("mapping", "says"),
    [
        (MAP.replace("number = ", "numbr = ").replace('"Billed"', '"Biled"'), "no event of"),
        (MAP.replace("urgent", "urgnt"), "has no urgnt"),
        (MAP.replace('time = "when"\n', ""), "mapping.toml: .*time"),
        (MAP.replace("others", "other"), "mapping.toml: .*other"),
        (MAP.replace("Europe/Amsterdam", "Europe/Nowhere"), "not known here"),
        (MAP.replace("bill-{number}", "bill-{number"), "stream"),
        (MAP + "x =", "mapping.toml"),
    ],
)
def test_a_mapping_is_checked_before_anything_is_read(
    tmp_path: Path, mapping: str, says: str
) -> None:
    log, toml = written(tmp_path, "log.csv", "", mapping)
    with pytest.raises(DefinitionError, match=says):
        import_file(log, tmp_path / "store", bills, mapping=toml)


def test_a_row_that_no_rule_fits_is_refused_unless_it_is_to_be_left_out(tmp_path: Path) -> None:
    log, mapping = written(tmp_path, "log.csv", ROWS, MAP.replace('others = "skip"', ""))
    with pytest.raises(UnreadableRow, match=r"row 2: no \[\[event\]\] fits"):
        import_file(log, tmp_path / "store", bills, mapping=mapping)


def test_a_file_without_a_known_name_needs_its_format(tmp_path: Path) -> None:
    log, mapping = written(tmp_path, "log.dat", ROWS)
    with pytest.raises(UnreadableRow, match="give the format"):
        import_file(log, tmp_path / "store", bills, mapping=mapping)
    assert import_file(log, tmp_path / "s", bills, mapping=mapping, kind="csv").events == 3


def test_a_file_that_is_not_there_is_said_to_be_so(tmp_path: Path) -> None:
    with pytest.raises(UnreadableRow, match=r"no\.csv: No such file"):
        import_file(tmp_path / "no.csv", tmp_path / "store", bills)


def test_a_mapping_may_be_written_in_code(tmp_path: Path) -> None:
    log, _ = written(tmp_path, "log.jsonl", '{"t": 1709280000, "invoice": "7"}')
    mapping = LogMapping(time="t", unit="s", stream="x-{invoice}", event=[EventRule("Settled")])
    assert import_file(log, tmp_path / "store", bills, mapping=mapping).events == 1
    with LmdbStore(tmp_path / "store", read_only=True) as store:
        [event] = store.scan_log()
        assert (event.event_id, event.time) == ("log.jsonl#1", 1709280000 * 10**6)


def test_more_rows_than_are_in_memory_are_in_order() -> None:
    def prepared(time: int, row: int) -> Prepared:
        return Prepared(time, row, row, 0, "t", "s-1", "e", b"", None, "", None)

    places = [(time * 7 % 50, row) for row, time in enumerate(range(230))]
    with InOrder(run=40) as log:
        for time, row in places:
            log.add(prepared(time, row))
        assert [(one.time, one.row) for one in log] == sorted(places)


def test_the_mapping_of_the_loans_fits_their_classes(tmp_path: Path) -> None:
    read_mapping(LOAN_MAP)
    log = tmp_path / "log.csv"
    log.write_text(
        "seq,time,case,activity,lifecycle,resource,amount_requested\n"
        "1,2011-10-01T00:38:44.546+02:00,173688,A_SUBMITTED,COMPLETE,112,20000\n"
        "2,2011-10-01T00:38:45.546+02:00,173688,A_DECLINED,COMPLETE,,20000\n"
    )
    assert import_file(log, tmp_path / "s", bank, mapping=LOAN_MAP).transitions == 2


@pytest.mark.skipif(not LOAN_LOG.exists(), reason="the loan log is not beside the project")
def test_the_beginning_of_a_real_log_comes_to_what_a_plain_loop_finds(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    with gzip.open(LOAN_LOG, "rt") as whole:
        log.write_text("".join(next(whole) for _ in range(1_501)))
    assert imported(log, tmp_path / "store") == looped(log)


def test_a_column_that_some_rows_lack_is_empty_there_and_one_that_none_has_is_refused(
    tmp_path: Path,
) -> None:
    domain = Domain("sparse")

    @domain.register
    class Once(ProcessManager, stateless=True):
        @handle(Told)
        def on_told(self, event: Told) -> None: ...

    log = tmp_path / "log.jsonl"
    rows = [
        {"at": "2020-01-01T00:00:00Z", "id": "1", "who": "ann"},
        {"at": "2020-01-02T00:00:00Z", "id": "2"},
    ]
    log.write_text("".join(f"{json.dumps(row)}\n" for row in rows))

    def mapped(column: str) -> LogMapping:
        fields: dict[str, Any] = {"name": "{id}", "by": column}
        return LogMapping(time="at", stream="told-{id}", event=[EventRule("Told", {}, fields)])

    import_file(log, tmp_path / "s", domain, mapping=mapped("who"), durability="none")
    with Runtime(tmp_path / "s", domain, read_only=True) as runtime:
        assert [one.event for one in runtime.events()] == [Told("1", "ann"), Told("2")]
    with pytest.raises(UnreadableRow, match="by of Told: no row has the column 'whom'"):
        import_file(log, tmp_path / "none", domain, mapping=mapped("whom"), durability="none")
    assert not (tmp_path / "none").exists()
