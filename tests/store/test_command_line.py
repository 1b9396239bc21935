"""`procession`: what it prints, and how it ends."""

import subprocess
import sys
from pathlib import Path

import lmdb
import pytest

from procession.cli import main
from procession.store import Append, EventRecord, LmdbStore, Step
from tests.store.described import version_of


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with LmdbStore(tmp_path / "store", durability="none") as store:
        events = [EventRecord("Shop.Happened.v1", "shop::x-1", 0, 1, b"\x80", "", "")]
        store.commit([Step(append=Append("shop::x-1", None, events))])
    return tmp_path / "store"


def test_it_says_what_was_checked(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(path)]) == 0
    assert capsys.readouterr().out == f"{path}: 8 records in 5 tables checked, 0 findings\n"


def test_it_prints_what_is_wrong_and_ends_with_1(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with lmdb.Environment(str(path), max_dbs=32) as env:
        ids = env.open_db(b"ids")
        with env.begin(write=True) as txn:
            txn.delete(version_of("shop::x-1", 1), db=ids)
    assert main(["verify", str(path)]) == 1
    first, last = capsys.readouterr().out.splitlines()
    assert first == "log 1: is version 1 of shop::x-1, and ids has nothing there"
    assert last.endswith("1 finding")


def test_it_copies_and_compacts(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["backup", str(path), str(tmp_path / "copy")]) == 0
    assert main(["compact", str(path), str(tmp_path / "small")]) == 0
    assert main(["compact", str(path)]) == 0
    for one in ("store", "copy", "small"):
        assert main(["verify", str(tmp_path / one)]) == 0
    said = capsys.readouterr().out
    assert f"{tmp_path / 'copy'}: copied from {path}" in said
    assert f"{tmp_path / 'small'}: " in said


@pytest.mark.parametrize(
    "arguments",
    [["verify", "nowhere"], ["compact", "nowhere"], ["backup", "nowhere", "copy"]],
)
def test_an_error_is_one_line_and_it_ends_with_2(
    arguments: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: there is no store at ")
    assert said.err.count("\n") == 1


def test_it_runs_as_a_module(path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "procession", "verify", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
