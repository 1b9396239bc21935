"""The loan applications: the same figures, whatever happens to the program on its way."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from domain_examples.loan_application.__main__ import main
from domain_examples.loan_application.process import CATEGORY, LoanApplication, bank
from domain_examples.loan_application.progress import Progress
from procession import Runtime

ROOT = Path(__file__).parents[2]
REAL_LOGS = ROOT.parent / "shared" / "eventlogs"

HEADER = "seq,time,case,activity,lifecycle,resource,amount_requested"

# One of each: approved after two offers, declined, cancelled, still open, never submitted.
SMALL = [
    ("7", "W_Afhandelen leads"),
    ("1", "A_SUBMITTED"),
    ("2", "A_SUBMITTED"),
    ("1", "O_CREATED"),
    ("3", "A_SUBMITTED"),
    ("2", "A_DECLINED"),
    ("4", "A_SUBMITTED"),
    ("1", "O_CREATED"),
    ("2", "O_CREATED"),
    ("3", "A_CANCELLED"),
    ("1", "A_ACTIVATED"),
    ("1", "W_Valideren aanvraag"),
    ("4", "W_Completeren aanvraag"),
    ("3", "A_DECLINED"),
]
SMALL_FIGURES = {
    "events": 14,
    "cases": 5,
    "outcome": {"approved": 1, "declined": 1, "cancelled": 1, "open": 1},
    "transitions": 10,
    "late_events_skipped": 3,
    "early_events": 1,
    "offers_created_while_open": 2,
    "max_transitions_of_one_case": 4,
}

EACH_CASE = ["A_SUBMITTED", "O_CREATED", "A_ACTIVATED", "W_Valideren aanvraag"]


def rows_of(events: list[tuple[str, str]]) -> list[str]:
    start = datetime(2011, 10, 1, tzinfo=UTC)
    return [
        f"{seq},{(start + timedelta(seconds=seq)).isoformat()},{case},{activity},COMPLETE,,5000"
        for seq, (case, activity) in enumerate(events, start=1)
    ]


def many_rows(cases: int) -> list[str]:
    """Cases that overlap: all are submitted before the first gets its offer, and so on."""
    return rows_of([(str(case), activity) for activity in EACH_CASE for case in range(cases)])


def figures_of_many(cases: int) -> dict[str, Any]:
    return {
        "events": 4 * cases,
        "cases": cases,
        "outcome": {"approved": cases, "declined": 0, "cancelled": 0, "open": 0},
        "transitions": 3 * cases,
        "late_events_skipped": cases,
        "early_events": 0,
        "offers_created_while_open": cases,
        "max_transitions_of_one_case": 3,
    }


def packed(rows: list[str], level: int = 9) -> bytes:
    return gzip.compress("\n".join([HEADER, *rows, ""]).encode(), level)


def run(
    capsys: pytest.CaptureFixture[str], log: Path, store: Path, *options: str
) -> tuple[int, str, str]:
    status = main([str(log), "--store", str(store), *options])
    said = capsys.readouterr()
    return status, said.out, said.err


def figures(capsys: pytest.CaptureFixture[str], log: Path, store: Path, *options: str) -> Any:
    status, out, err = run(capsys, log, store, *options)
    assert status == 0, err
    return json.loads(out)


def stored_events(store: Path) -> int:
    with Runtime(store, bank, read_only=True) as runtime:
        return sum(1 for _ in runtime.events(CATEGORY))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log.csv.gz"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


def test_every_kind_of_case_is_counted(
    log: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log.write_bytes(packed(rows_of(SMALL)))
    assert figures(capsys, log, store) == SMALL_FIGURES


def test_a_process_remembers_what_its_case_came_to(
    log: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log.write_bytes(packed(rows_of(SMALL)))
    figures(capsys, log, store)
    with Runtime(store, bank, read_only=True) as runtime:
        process = runtime.get(LoanApplication, "1")
        assert process is not None
        assert process.is_complete
        assert process.state == {
            "case": "1",
            "amount_requested": 5000,
            "offers_created": 2,
            "outcome": "approved",
        }
        causes = [step.cause for step in runtime.history(LoanApplication, "1")]
    assert causes == ["bpi2012-2", "bpi2012-4", "bpi2012-8", "bpi2012-11"]


def test_running_again_on_the_same_store_changes_nothing(
    log: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log.write_bytes(packed(rows_of(SMALL)))
    assert figures(capsys, log, store) == SMALL_FIGURES
    assert figures(capsys, log, store) == SMALL_FIGURES


def test_events_published_twice_count_once(
    log: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log.write_bytes(packed(many_rows(600)))
    assert figures(capsys, log, store, "--twice") == figures_of_many(600)
    assert stored_events(store) == 2_400


def test_a_killed_program_comes_to_the_same_figures_when_it_is_started_again(
    log: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = 5_000
    # Uncompressed inside the gzip, so that every part of the bytes holds its part of the rows.
    data = packed(many_rows(cases), level=0)
    before = 0
    for part in (len(data) // 3, len(data) * 2 // 3):
        # It gets its log through a pipe that stays open, so it cannot finish before it is killed.
        command = "domain_examples.loan_application", "/dev/stdin", "--store", str(store)
        with subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as program:
            assert program.stdin is not None
            assert program.stdout is not None
            assert program.stderr is not None
            try:
                program.stdin.write(data[:part])
                program.stdin.flush()
                assert program.stderr.readline() == b"published 1,024 events\n"
            finally:
                program.kill()
            assert program.stdout.read() == b""
        assert program.returncode < 0
        assert before < stored_events(store) < 4 * cases
        before = stored_events(store)
    log.write_bytes(data)
    assert figures(capsys, log, store) == figures_of_many(cases)


@pytest.mark.parametrize(
    ("broken", "complaint"),
    [
        ("1500,2011-10-01T00:00:00+00:00,1,O_CREATED,COMPLETE,112", "6 columns instead of 7"),
        ("1500,2011-10-01T00:00:00+00:00,1,O_CREATED,COMPLETE,,5,5", "8 columns instead of 7"),
        ("", "0 columns instead of 7"),
        ("x,2011-10-01T00:00:00+00:00,1,O_CREATED,COMPLETE,,5", "seq is no whole number: 'x'"),
        ("1499,2011-10-01T00:00:00+00:00,1,O_CREATED,COMPLETE,,5", "seq 1499 comes after 1499"),
        ("1500,yesterday,1,O_CREATED,COMPLETE,,5", "time is not in ISO 8601: 'yesterday'"),
        (
            "1500,2011-10-01T00:00:00,1,O_CREATED,COMPLETE,,5",
            "time has no offset in whole minutes: '2011-10-01T00:00:00'",
        ),
        (
            "1500,2011-10-01T00:00:00+00:00:30,1,O_CREATED,COMPLETE,,5",
            "time has no offset in whole minutes: '2011-10-01T00:00:00+00:00:30'",
        ),
        ("1500,2011-10-01T00:00:00+00:00,,O_CREATED,COMPLETE,,5", "case is no whole number: ''"),
        (
            "1500,2011-10-01T00:00:00+00:00,1,O_CREATED,COMPLETE,,5.5",
            "amount_requested is no whole number: '5.5'",
        ),
        (
            "1500,2011-10-01T00:00:00+00:00,1,O_CREATED,COMPLETE,,5" + 600 * "0",
            "amount_requested is no whole number: '500000000000...0000000000000'",
        ),
        ('1500,"2011"x', "',' expected after '\"'"),
    ],
)
def test_a_broken_row_is_named_and_what_was_stored_stays_good(
    broken: str, complaint: str, log: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = many_rows(500)
    log.write_bytes(packed([*rows[:1499], broken, *rows[1500:]]))
    status, out, err = run(capsys, log, store)
    assert status == 2
    assert out == ""
    assert err.splitlines() == ["published 1,024 events", f"{log}: row 1500: {complaint}"]
    assert stored_events(store) == 1_024
    log.write_bytes(packed(rows))
    assert figures(capsys, log, store) == figures_of_many(500)


def test_a_log_that_ends_too_early_is_named_and_what_was_stored_stays_good(
    log: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = packed(many_rows(500))
    log.write_bytes(data[: len(data) * 3 // 4])
    status, out, err = run(capsys, log, store)
    assert status == 2
    assert out == ""
    published, complaint = err.splitlines()
    assert published == "published 1,024 events"
    assert complaint.startswith(f"{log}: row 1")
    assert complaint.endswith("Compressed file ended before the end-of-stream marker was reached")
    log.write_bytes(data)
    assert figures(capsys, log, store) == figures_of_many(500)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "No such file or directory"),
        (b"", "row 0: the header is not " + HEADER),
        (b"seq,time\n1,2\n", "row 0: Not a gzipped file (b'se')"),
        (gzip.compress(b"seq,time\n1,2\n", mtime=0), "row 0: the header is not " + HEADER),
        (gzip.compress(b"\xff\xfe", mtime=0), "row 0: 'utf-8' codec can't decode byte 0xff"),
    ],
)
def test_a_file_that_is_no_log_is_refused_in_one_line_and_makes_no_store(
    content: bytes | None,
    complaint: str,
    log: Path,
    store: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if content is not None:
        log.write_bytes(content)
    status, out, err = run(capsys, log, store)
    assert status == 2
    assert out == ""
    assert len(err.splitlines()) == 1
    assert err.startswith(f"{log}: {complaint}")
    assert not store.exists()


def test_a_store_that_is_in_use_is_refused_in_one_line(
    log: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log.write_bytes(packed(rows_of(SMALL)))
    with Runtime(store, bank):
        status, out, err = run(capsys, log, store)
    assert status == 2
    assert out == ""
    assert len(err.splitlines()) == 1
    assert str(store) in err


def test_the_program_ends_with_status_2_and_no_traceback(tmp_path: Path) -> None:
    missing = tmp_path / "missing.csv.gz"
    done = subprocess.run(
        [sys.executable, "-m", "domain_examples.loan_application", missing, "--store", tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == f"{missing}: No such file or directory\n"


def test_progress_changes_one_line_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    progress = Progress()
    progress.show("published 1 event")
    progress.show("published 2 events")
    progress.say("done")
    assert capsys.readouterr().err == (
        "\rpublished 1 event\x1b[K\rpublished 2 events\x1b[K\ndone\n"
    )


@pytest.mark.skipif(
    not (REAL_LOGS / "bpi2012_loan.csv.gz").exists(),
    reason="the real log is not in ../shared/eventlogs",
)
def test_the_real_log_comes_to_the_expected_figures(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # BPI Challenge 2012: van Dongen, doi:10.4121/uuid:3926db30-f712-4394-aebc-75976070e91f.
    expected = json.loads((REAL_LOGS / "bpi2012_loan.expected.json").read_text("utf-8"))
    assert figures(capsys, REAL_LOGS / "bpi2012_loan.csv.gz", store) == expected
