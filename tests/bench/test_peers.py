"""The comparison with other libraries, as far as it goes without them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.peers import __main__ as peers
from bench.peers import environments

OURS = {"orders": 20_000, "orders_per_s": 12_000, "complete": 20_000}


def result(orders_per_s: float) -> dict[str, Any]:
    return {"version": "1.2.3", "orders": 500, "orders_per_s": orders_per_s}


def test_a_ratio_says_how_many_times_as_fast_ours_is() -> None:
    row = peers.row(peers.PEERS[0], result(400.0), OURS)
    assert row == {
        "system": "eventsourcing",
        "version": "1.2.3",
        "store": "SQLite",
        "orders": 500,
        "orders_per_s": 400.0,
        "ratio_of_ours": 30.0,
    }


def test_a_peer_that_is_faster_has_a_ratio_below_one() -> None:
    assert peers.row(peers.PEERS[0], result(24_000.0), OURS)["ratio_of_ours"] == 0.5


def test_the_table_has_a_line_for_ours_and_for_each_peer() -> None:
    rows = [peers.row(peer, result(4.8), OURS) for peer in peers.PEERS]
    heading, ours, *lines, note = peers.table(rows, OURS).splitlines()
    assert heading.split() == ["system", "version", "store", "orders", "orders/s", "ours", "is"]
    assert ours.split()[-2:] == ["20,000", "12,000"]
    assert [line.split()[0] for line in lines] == [peer.package for peer in peers.PEERS]
    assert all(line.split()[-2:] == ["2,500.0", "times"] for line in lines)
    assert "fsync" in note


def test_peers_have_names_of_their_own() -> None:
    names = [peer.name for peer in peers.PEERS]
    assert len(set(names)) == len(names)


def test_an_unknown_name_is_refused_with_the_choices(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["peers", "--only", "celery"])
    with pytest.raises(SystemExit):
        peers.main()
    message = capsys.readouterr().err
    assert all(peer.name in message for peer in peers.PEERS)


@pytest.mark.parametrize("peer", peers.PEERS, ids=lambda peer: peer.name)
def test_a_peers_script_compiles_and_imports_nothing_of_ours(peer: peers.Peer) -> None:
    text = peer.script.read_text()
    compile(text, str(peer.script), "exec")
    assert not any(
        line.startswith((f"import {ours}", f"from {ours}", "from ."))
        for line in text.splitlines()
        for ours in ("actors", "bench", "store")
    )


@pytest.mark.parametrize("library", sorted({peer.package for peer in peers.PEERS}))
def test_every_requirement_is_pinned_and_the_library_is_one(library: str) -> None:
    lines = environments.requirements(library).read_text().splitlines()
    assert all(line.count("==") == 1 for line in lines)
    assert any(line.startswith(f"{library}==") for line in lines)


def test_an_environment_that_is_there_is_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[list[str]] = []

    def pretend(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        made.append(command)
        interpreter = tmp_path / "dbos" / "bin" / "python"
        interpreter.parent.mkdir(parents=True, exist_ok=True)
        interpreter.touch()
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", pretend)
    first = environments.environment("dbos", tmp_path)
    assert len(made) == 2
    assert environments.environment("dbos", tmp_path) == first
    assert len(made) == 2
    # Other packages, another environment.
    (tmp_path / "dbos" / environments.STAMP).write_text("dbos==0.0.1\n")
    environments.environment("dbos", tmp_path)
    assert len(made) == 4


@pytest.fixture
def without_packages(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Libraries whose environment cannot be made; the runs of the others are pretended."""
    missing: set[str] = set()

    def environment(library: str, folder: Path) -> Path:
        if library in missing:
            raise environments.NotMade(f"{library}: no matching distribution found")
        return folder / library

    monkeypatch.setattr(peers, "environment", environment)
    monkeypatch.setattr(peers, "run_ours", lambda _orders: OURS)
    monkeypatch.setattr(peers, "run", lambda _command: result(300.0))
    monkeypatch.setattr(sys, "argv", ["peers"])
    return missing


def test_a_peer_without_packages_is_named_and_the_others_go_on(
    without_packages: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    without_packages.add("dbos")  # and so neither of its rows
    assert peers.main() == 0
    printed = capsys.readouterr()
    assert "not measured: dbos: no matching distribution found" in printed.err
    assert "eventsourcing" in printed.out
    assert "dbos" not in printed.out


def test_when_all_peers_fail_so_does_the_program(without_packages: set[str]) -> None:
    without_packages.update(peer.package for peer in peers.PEERS)
    assert peers.main() == 1


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("import sys; sys.exit('3 of 5 orders are complete')", "3 of 5 orders are complete"),
        ("print('hello')", "printed no JSON: hello"),
    ],
)
def test_a_run_without_a_result_says_why(program: str, message: str) -> None:
    with pytest.raises(peers.Failed, match=message):
        peers.run([sys.executable, "-c", program])


def test_a_run_that_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "TIME_LIMIT", 0.2)
    with pytest.raises(peers.Failed, match="did not end within"):
        peers.run([sys.executable, "-c", "import time; time.sleep(60)"])


def test_beside_a_peer_on_postgresql_ours_is_measured_on_its_server(
    without_packages: set[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    there = {"orders": 2_000, "orders_per_s": 4_500.0}
    monkeypatch.setattr(peers, "run_on_one_server", lambda *_: (result(300.0), there))
    monkeypatch.setattr(sys, "argv", ["peers", "--only", "dbos-postgresql", "--json"])
    assert peers.main() == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ours_on_postgresql"] == there
    assert [one["ratio_of_ours"] for one in found["rows"]] == [15.0]


def test_without_a_server_a_peer_on_postgresql_is_not_measured(
    without_packages: set[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "programs", lambda: None)
    assert peers.main() == 0
    assert "not measured: there is no PostgreSQL here" in capsys.readouterr().err
