"""Every program runs, small, and prints a figure. How large the figure is, is no matter of a test.

What is tested is that each measures what it says: the counts in the details.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import math
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from bench import isolation, real_log
from bench.__main__ import main as run_all
from bench.ask_latency import rows_of_one_ask
from bench.programs import PROGRAMS, Program
from bench.rows import rows_of
from domain_examples.loan_application.log_file import open_log
from procession.store.layout.schema import stream_key
from tests.postgresql import programs

HAS_LOG = real_log.LOG.exists()


class Ran(NamedTuple):
    """What one program printed, and what it left in its folder."""

    out: str
    left: list[str]

    @property
    def figures(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.out)["figures"]
        return found

    @property
    def details(self) -> dict[str, Any]:
        found: dict[str, Any] = self.figures[0]["details"]
        return found


@cache
def ran(module: str) -> Ran:
    """Runs a program once for all tests, small."""
    program = next(one for one in PROGRAMS if one.module == module)
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.redirect_stdout(io.StringIO()) as out,
    ):
        importlib.import_module(f"bench.{module}").main(
            ["--json", "--folder", folder, *program.quick]
        )
        return Ran(out.getvalue(), [one.name for one in Path(folder).iterdir()])


MAY_BE_NONE = {"opening", "awake", "partitions", "postgresql"}
"""Programs whose figures may be zero or less, as below."""


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(
            one,
            marks=[
                pytest.mark.skipif(
                    one.module in {"backtest", "real_log"} and not HAS_LOG,
                    reason="the real log is not in ../shared/eventlogs",
                ),
                pytest.mark.skipif(
                    one.module == "instructions" and shutil.which("valgrind") is None,
                    reason="valgrind, which counts instructions, is not here",
                ),
                pytest.mark.skipif(
                    one.module == "instructions" and os.environ.get("HYPOTHESIS_PROFILE") != "long",
                    reason="takes long under valgrind; HYPOTHESIS_PROFILE=long runs it",
                ),
                pytest.mark.skipif(
                    one.module == "postgresql" and programs() is None,
                    reason="PostgreSQL is not here",
                ),
            ],
        )
        for one in PROGRAMS
        if one.row != 2  # the program of the first figure
    ],
    ids=lambda program: str(program.module),
)
def test_a_program_prints_well_formed_figures(
    program: Program,
) -> None:
    done = ran(program.module)
    assert done.out.count("\n") == 1
    assert not done.left
    found = done.figures
    rows = {1, 2} if program.row == 1 else {program.row}
    assert {one["row"] for one in found} == rows
    for one in found:
        assert one["what"]
        assert one["unit"]
        assert one["better"] in {"at least", "at most"}
        assert isinstance(one["reaches"], bool)
        assert math.isfinite(one["value"])
        # A difference may be of either sign, memory that other tests left free is taken before
        # there is more of it, and a server's processor time is counted in ticks, of which a hundred
        # orders may need none; everything else is a ratio or a count.
        assert one["value"] > 0 or program.module in MAY_BE_NONE
        assert one["reach"] > 0
        assert one["details"]
        assert tempfile.gettempdir() not in json.dumps(one)


def test_the_three_step_order_keeps_its_words(capsys: pytest.CaptureFixture[str]) -> None:
    module = importlib.import_module("bench.three_step_order")
    module.main(["--orders", "50", "--json"])
    found = json.loads(capsys.readouterr().out)
    words = ["orders", "complete", "orders_per_s", "ceiling_orders_per_s", "ratio", "cores"]
    assert list(found) == [*words, "figures"]
    assert found["orders"] == found["complete"] == 50


def test_idle_instances_are_all_awake() -> None:
    found = ran("awake").details
    assert found["awake"] == found["instances"]


def test_no_more_are_awake_than_may_be() -> None:
    assert ran("bounded_memory").details["awake"] <= 500


def test_sleeping_instances_are_resumed() -> None:
    found = ran("resuming").details
    # Each once after it was started, and most once more; what is in flight stays.
    assert found["passivated"] > 1.5 * found["instances"]


def test_every_visit_of_a_history_is_a_resuming() -> None:
    found = ran("history").details
    assert found["passivated"] == found["visits"] - 1


def test_all_sleepers_have_slept() -> None:
    # Those of the second store; in the first one nobody sleeps.
    assert ran("isolation").details["sleepers"] == 2
    assert len(isolation.woken) == 2


def test_one_ask_writes_an_event_and_its_place_in_the_stream(tmp_path: Path) -> None:
    written = rows_of_one_ask(tmp_path / "store")
    assert sorted(row.table for row in written.new) == ["ids", "log"]
    # Every commit has a number, and counts its events.
    assert [row.table for row in written.again] == ["counts", "meta"]


@pytest.mark.skipif(not HAS_LOG, reason="the real log is not in ../shared/eventlogs")
def test_the_bare_loop_appends_the_events_that_the_runtime_stores(tmp_path: Path) -> None:
    with open_log(str(real_log.LOG)) as rows:
        activities = [row for row, _ in zip(rows, range(300), strict=False)]
    bare = real_log.BareAppender(tmp_path / "bare")
    bare.run([real_log.plain(activity) for activity in activities])
    bare.close()
    real_log.replayed(tmp_path / "store", activities)
    ours, theirs = [
        {(row.table, row.key): len(row.value) for row in rows_of(tmp_path / name)}
        for name in ("store", "bare")
    ]
    assert all(ours[one] == size for one, size in theirs.items() if one[0] == "log")
    # The runtime also keeps a digest of what an id stands for.
    assert all(ours[one] >= size for one, size in theirs.items() if one[0] == "event_ids")
    for table in ("log", "event_ids"):
        assert sum(one[0] == table for one in ours) == len(activities)
    # The place of an event in its stream, which the store has beside those of transitions.
    places = {
        ("ids", stream_key(key[:-9].decode()) + key[-8:])
        for table, key in theirs
        if table == "streams"
    }
    assert len(places) == len(activities)
    assert places <= set(ours)


def test_a_missing_log_is_said_and_is_no_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    real_log.main(["--log", str(tmp_path / "none"), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found == {"skipped": "the log is not there", "figures": []}


def test_all_together_writes_results_and_a_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = run_all(["--quick", "--only", "3,14", "--results", str(tmp_path)])
    assert status == 0
    said = capsys.readouterr().out
    assert "bytes for each awake instance" in said
    assert "Everything was small" in said
    results = json.loads((tmp_path / "results.json").read_text("utf-8"))
    assert results["machine"]["cores"] >= 1
    assert list(results["rows"]) == ["3", "14"]
    assert json.loads((tmp_path / "14.json").read_text("utf-8")) == results["rows"]["14"]


def test_an_unknown_number_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run_all(["--only", "99"])
    assert "no figure has the number 99" in capsys.readouterr().err


def test_a_program_that_fails_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = Program(3, "awake", (), ("--instances", "none"), 60)
    small = next(one for one in PROGRAMS if one.module == "history")
    monkeypatch.setattr("bench.__main__.PROGRAMS", (broken, small))
    assert run_all(["--quick", "--only", "3,14", "--results", str(tmp_path)]) == 1
    assert "awake failed: exit status 2" in capsys.readouterr().out
    assert (tmp_path / "14.json").exists()
