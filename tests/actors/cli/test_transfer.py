"""`procession import` and `export`, each by itself."""

import json
from pathlib import Path

import pytest

from procession.cli import main
from procession.store import divided_store
from tests.actors.importing.test_files import MAP, ROWS

DOMAIN = "tests.actors.importing.test_files:bills"


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("PROCESSION_STORE", raising=False)
    (tmp_path / "mapping.toml").write_text(MAP)
    (tmp_path / "log.csv").write_text(ROWS)
    return tmp_path


def imported(log: Path, *more: str) -> int:
    given = ["--map", str(log / "mapping.toml"), "--store", str(log / "store"), "-d", DOMAIN]
    return main(["import", str(log / "log.csv"), *given, *more])


def test_a_log_comes_in_and_goes_out(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert imported(log, "--json", "--until", "2024-04-01T00:00Z") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["rows"], found["events"], found["left_out"]) == (4, 3, 1)
    assert (found["until"], found["is_live"]) == ("2024-04-01T00:00:00+00:00", False)
    assert imported(log) == 0
    assert "3 stored before" in capsys.readouterr().out
    target = log / "log.jsonocel"
    assert main(["export", str(target), "--store", str(log / "store"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "events": 3,
        "objects": 2,
        "position": 3,
        "pruned": 0,
    }
    assert main(["export", str(target), "--store", str(log / "store"), "--after", "2"]) == 0
    assert "1 events, 1 objects" in capsys.readouterr().out


def test_a_store_goes_live_by_a_time(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert imported(log, "--live-from", "2024-05-01T00:00Z", "--json") == 0
    assert json.loads(capsys.readouterr().out)["is_live"] is True


def test_a_store_is_divided_when_it_goes_live(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert imported(log, "--live-from", "2024-05-01T00:00Z", "--partitions", "2", "--json") == 0
    assert json.loads(capsys.readouterr().out)["is_live"] is True
    divided = divided_store(log / "store")
    assert divided is not None
    assert divided.count == 2


@pytest.mark.parametrize(
    ("option", "says"),
    [
        (("--live-from", "2024-05-01"), "has no zone"),
        (("--live-from", "soon"), "write it as"),
        (("--live-from", "2999-05-01T00:00Z"), "has not come"),
        (("--format", "xls"), "give a format"),
        (("--partitions", "2"), "with live_from (--live-from)"),
    ],
)
def test_what_cannot_be_done_is_said(
    log: Path, capsys: pytest.CaptureFixture[str], option: tuple[str, str], says: str
) -> None:
    assert imported(log, *option) == 2
    assert says in capsys.readouterr().err
    assert not (log / "store").exists()


def test_an_import_needs_classes(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", str(log / "log.csv"), "--store", str(log / "store")]) == 2
    assert "--domain" in capsys.readouterr().err
