"""Commands on what is no store, on sick disks, without rights: one sentence, no traceback."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import lmdb
import pytest

from procession import Runtime
from procession.cli import main
from procession.store import Append, EventRecord, LmdbStore, Step, StoreError
from tests.disks.failing import compiled, needs_compiler

ROOT = Path(__file__).parents[2]


def sound(path: Path) -> None:
    with LmdbStore(path, durability="none") as store:
        event = EventRecord("Shop.Happened.v1", "shop::x-1", 0, 1, b"\x80", "", "")
        store.commit([Step(append=Append("shop::x-1", None, [event]))])


# What is no store


def is_a_file(path: Path) -> None:
    path.write_text("mine")


def is_empty(path: Path) -> None:
    path.mkdir()


def has_an_empty_file(path: Path) -> None:
    path.mkdir()
    (path / "data.mdb").touch()


def has_a_folder_for_a_file(path: Path) -> None:
    (path / "data.mdb").mkdir(parents=True)


def has_a_file_of_something_else(path: Path) -> None:
    path.mkdir()
    (path / "data.mdb").write_bytes(b"SQLite format 3\0" * 10_000)


def has_an_lmdb_file_of_something_else(path: Path) -> None:
    path.mkdir()
    with lmdb.Environment(str(path), max_dbs=3) as env:
        env.open_db(b"theirs")


def is_a_link_to_itself(path: Path) -> None:
    path.symlink_to(path)


def has_a_folder_for_its_readers(path: Path) -> None:
    sound(path)
    (path / "lock.mdb").unlink()
    (path / "lock.mdb").mkdir()


NO_STORES = [
    lambda path: None,
    is_a_file,
    is_empty,
    has_an_empty_file,
    has_a_folder_for_a_file,
    has_a_file_of_something_else,
    has_an_lmdb_file_of_something_else,
    is_a_link_to_itself,
    has_a_folder_for_its_readers,
]

COMMANDS = [
    ["verify", "store"],
    ["backup", "store", "target"],
    ["compact", "store"],
    ["compact", "store", "target"],
    ["upgrade", "store"],
]


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a command says that cannot be done."""
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1), said
    assert said.err.startswith("error: ")
    return said.err


@pytest.mark.parametrize("make", NO_STORES)
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_what_is_no_store_is_refused_in_one_line_that_names_it(
    command: list[str],
    make: Callable[[Path], object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "store")
    assert "store" in refused(command, capsys)
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("make", NO_STORES)
def test_a_runtime_that_only_reads_refuses_it_as_well(
    make: Callable[[Path], object], tmp_path: Path
) -> None:
    make(tmp_path / "store")
    with pytest.raises(StoreError, match=str(tmp_path / "store")):
        Runtime(tmp_path / "store", read_only=True)


@pytest.mark.parametrize("target", ["file", "file/below", "link", "store", "a\0b", "x" * 300])
@pytest.mark.parametrize("command", ["backup", "compact"])
def test_a_target_that_cannot_be_is_refused_in_one_line(
    command: str,
    target: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    sound(tmp_path / "store")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to("link")
    refused([command, "store", target], capsys)
    assert (tmp_path / "file").read_text() == "mine"
    assert main(["verify", "store"]) == 0


@pytest.mark.parametrize("path", ["a\0b", "x" * 300, ""])
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_path_that_no_file_system_has_is_refused_in_one_line(
    command: list[str],
    path: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    refused([path if one == "store" else one for one in command], capsys)


def test_what_lies_in_the_way_of_compacting_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sound(tmp_path)
    (tmp_path / "data.mdb.partial").mkdir()
    assert "data.mdb.partial" in refused(["compact", str(tmp_path)], capsys)


# Sick disks


@needs_compiler
def test_whichever_write_the_disk_refuses_it_is_one_line_and_the_store_is_whole(
    tmp_path: Path,
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.disks.commands", str(tmp_path / "here"), "31"],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=compiled(tmp_path),
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    runs = json.loads(done.stdout)
    assert len(runs) > 60
    for one in runs:
        assert (one["left"], one["findings"]) == ([], []), one
        # What was written in part is written on, where that is enough.
        assert one["status"] == 2 or (one["status"] == 0 and "half of it" in one["run"]), one
        assert one["error"].count("\n") == (one["status"] == 2), one
        assert "reading" not in one["error"], "what was written is named, not what was read"
        if one["run"].endswith("ENOSPC"):
            assert "no room on the disk" in one["error"], one


# Limits and rights

MAIN = """
import os, resource, sys
from procession import Runtime
from procession.cli import main
def outcome(arguments):
    if arguments[0] != "read":
        return main(arguments)
    try:
        Runtime(arguments[1], read_only=True).close()
    except StoreError as error:
        sys.stderr.write(f"error: {error}\\n")
        return 2
    return 0
from procession.store import StoreError
"""


def run(code: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", MAIN + code, *arguments],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
    )


@pytest.mark.parametrize("command", [*COMMANDS, ["read", "store"]], ids=" ".join)
def test_too_many_open_files_are_called_that(command: list[str], tmp_path: Path) -> None:
    sound(tmp_path / "store")
    code = """
target = sys.argv[-1] if sys.argv[-1].endswith("target") else None
taken = [os.open("/dev/null", os.O_RDONLY)]
most = taken[-1] + 20
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
try:
    while True:
        taken.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass
# One more is free each time, so that each file in turn is the one too many.
while (status := outcome(sys.argv[1:])) and len(taken) > 1:
    assert status == 2, status
    os.close(taken.pop())
print(status)
"""
    done = run(code, *(one if one == command[0] else str(tmp_path / one) for one in command))
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["0"]), done.stderr
    said = done.stderr.splitlines()
    assert said
    for line in said:
        assert line.startswith("error: ")
        assert "oo many open files" in line, line


@pytest.mark.skipif(os.getuid() != 0, reason="only the superuser can become another user")
@pytest.mark.parametrize("command", [*COMMANDS, ["read", "store"]], ids=" ".join)
def test_without_rights_it_is_one_line(command: list[str]) -> None:
    code = """
import tempfile
from pathlib import Path
from tests.store.test_commands_in_trouble import sound
with tempfile.TemporaryDirectory() as here:
    os.chmod(here, 0o755)
    sound(Path(here, "store"))
    # What is imported by now need not be readable to another user.
    assert outcome(["verify", str(Path(here, "store"))]) == 0
    os.chdir(here)
    for rights in (0o700, 0o755):
        os.chmod("store", rights)
        if not (child := os.fork()):
            os.setuid(65534)
            os._exit(outcome(sys.argv[1:]))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    done = run(code, *command)
    assert (done.returncode, done.stdout.splitlines()[1:]) == (0, ["2", "2"]), done.stderr
    said = done.stderr.splitlines()
    assert len(said) == 2
    assert all(line.startswith("error: ") and "store" in line for line in said), said


def test_a_full_disk_is_called_that(tmp_path: Path) -> None:
    sound(tmp_path / "store")
    code = """
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 13, resource.RLIM_INFINITY))
print(outcome(sys.argv[1:]))
"""
    for command in (["backup", "store", "target"], ["compact", "store"], ["compact", "store", "t"]):
        paths = [str(tmp_path / one) for one in command[1:]]
        done = run(code, command[0], *paths)
        assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr
        assert done.stderr.count("\n") == 1
        assert "no room on the disk" in done.stderr
        assert sorted(one.name for one in tmp_path.iterdir()) == ["store"]
    assert main(["verify", str(tmp_path / "store")]) == 0
