"""A store is verified by a process of its own, whose end harms nothing and is told."""

import os
import signal
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import lmdb
import pytest

from procession.cli import main
from procession.store import (
    Append,
    DamagedStore,
    EventRecord,
    LmdbStore,
    Step,
    StoreError,
    TooManyReaders,
    UnknownFormat,
    verify,
    verify_apart,
    verify_open,
)
from procession.store.layout.frames import frame
from procession.store.verify.apart import Verifiers
from procession.store.verify.inspecting import TOLD_EVERY
from procession.store.verify.reader_process import ReaderProcess
from tests.store.test_dead_readers import TAKES_ALL_PLACES, reader

ROOT = Path(__file__).parents[2]
PAGE = os.sysconf("SC_PAGE_SIZE")
LAST_PAGE = 136
"""Where a header page of LMDB says which page is the last."""


def append(data: bytes) -> Step:
    return Step(append=Append("s", None, [EventRecord("T", "s", 0, 0, data, "", "")]))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with LmdbStore(tmp_path / "store", durability="none") as store:
        store.commit([append(b"\x80")])
    return tmp_path / "store"


def cut(path: Path) -> None:
    """Make a file in which a record of many pages ends behind the end of the file.

    Its header says so too: nothing notices before that record is read.
    """
    with lmdb.Environment(str(path), max_dbs=32) as env:
        meta = env.open_db(b"meta")
        # Free pages, so that those that lead to the record need not come behind it.
        for number in range(50):
            with env.begin(write=True) as txn:
                txn.put(b"ballast", bytes((50 - number) * PAGE), db=meta)
        with env.begin(write=True) as txn:
            txn.delete(b"ballast", db=meta)
    with LmdbStore(path, durability="none") as store:
        store.commit([append(bytes(200 * PAGE))])
    data = path / "data.mdb"
    pages = data.stat().st_size // PAGE - 100
    with data.open("r+b") as file:
        for header in (0, PAGE):
            file.seek(header + LAST_PAGE)
            (last,) = struct.unpack("<Q", file.read(8))
            file.seek(header + LAST_PAGE)
            file.write(struct.pack("<Q", min(last, pages - 1)))
        file.truncate(pages * PAGE)


def test_it_finds_what_a_check_in_this_process_finds(path: Path) -> None:
    with LmdbStore(path, read_only=True) as store:
        here = verify_open(store)
    assert verify_apart(path) == (here.findings, here.checked)
    assert verify(path) == []


def test_the_time_is_asked_for_when_what_is_looked_at_stands_still(path: Path) -> None:
    asked = []

    def now() -> int:
        asked.append(True)
        return 0

    assert verify_apart(path, now=now, learnt=[("P", 1, "key")]).findings == []
    assert asked == [True]


def test_a_file_that_ends_the_reader_by_a_signal_is_called_damaged(path: Path) -> None:
    cut(path)
    with pytest.raises(DamagedStore) as caught:
        verify(path)
    assert str(caught.value) == (
        f"the reader of the store was killed by SIGBUS when it opened the file: the file is "
        f"truncated or damaged at {path / 'data.mdb'}; restore it from a backup"
    )


def test_the_command_line_says_so_in_one_line_and_ends_with_2(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut(path)
    assert main(["verify", str(path)]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert said.err.startswith("error: the reader of the store was killed by SIGBUS")


def test_a_service_whose_file_is_cut_under_it_verifies_and_lives_on(tmp_path: Path) -> None:
    code = """
import os, sys
from procession import DamagedStore, Runtime
from tests.store.test_verifying_apart import PAGE
runtime = Runtime(sys.argv[1])
data = sys.argv[1] + "/data.mdb"
def now():
    os.truncate(data, 2 * PAGE)
    return 0
runtime._now = now
try:
    runtime.verify()
except DamagedStore as error:
    print(error, flush=True)
# Closing would read what is not there any more.
os._exit(0)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "killed by SIGBUS" in done.stdout


def test_a_reader_that_another_process_killed_is_not_taken_for_damage(path: Path) -> None:
    before = children()

    def now() -> int:
        # It waits for the answer.
        (child,) = children() - before
        os.kill(child, signal.SIGKILL)
        return 0

    with pytest.raises(StoreError, match="killed by SIGKILL when it opened") as caught:
        verify_apart(path, now=now)
    assert type(caught.value) is StoreError


def children() -> set[int]:
    return {int(one) for one in Path("/proc/thread-self/children").read_text().split()}


def test_what_the_child_raises_is_raised_here(path: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=f"there is no store at {tmp_path / 'none'}"):
        verify(tmp_path / "none")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StoreError):
        verify(tmp_path / "file")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "data.mdb").write_bytes(b"SQLite format 3\0" * 10_000)
    with pytest.raises(DamagedStore, match=r"data\.mdb"):
        verify(tmp_path / "other")
    with reader(path, TAKES_ALL_PLACES) as (count, culprit):
        with pytest.raises(TooManyReaders) as full:
            verify(path)
        assert full.value.processes == {culprit.pid: int(count)}


def test_a_process_that_cannot_be_started_is_named(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("multiprocessing.spawn.get_executable", lambda: b"/nowhere/python")
    with pytest.raises(StoreError, match="no process could be started to read the store at"):
        verify(path)


def test_one_that_is_no_python_of_ours_is_told_with_its_last_words(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "python"
    other.write_text("#!/bin/sh\necho I am something else\nexit 7\n")
    other.chmod(0o755)
    monkeypatch.setattr("multiprocessing.spawn.get_executable", lambda: os.fsencode(other))
    with pytest.raises(StoreError, match="ended with 7: I am something else"):
        verify(path)


def test_a_child_whose_end_is_kept_from_its_parent_is_not_taken_for_a_sound_store(
    path: Path,
) -> None:
    cut(path)
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        with pytest.raises(StoreError, match="ended without saying what it found"):
            verify(path)
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_no_child_is_left_when_the_caller_is_interrupted(path: Path) -> None:
    def now() -> Any:
        raise KeyboardInterrupt

    before = children()
    with pytest.raises(KeyboardInterrupt):
        verify_apart(path, now=now)
    assert children() <= before


def test_a_child_ends_when_its_parent_has_ended(path: Path) -> None:
    with ReaderProcess(path, "verify", limit=1, learnt=[], asks_now=True) as child:
        for message in child.messages():
            assert message == {"asks": "now"}
            break
        child._process.stdin.close()  # type: ignore[union-attr]
        assert child._process.wait(timeout=60) == 0


def test_an_unknown_format_is_told_as_that(path: Path) -> None:
    with (
        lmdb.Environment(str(path), max_dbs=32) as env,
        env.begin(write=True) as txn,
    ):
        txn.put(b"format", frame(b"format", 99), db=env.open_db(b"meta", txn))
    with pytest.raises(UnknownFormat):
        verify(path)


def test_it_runs_where_nothing_of_a_checkout_is_installed(path: Path) -> None:
    code = """
import sys
sys.path = [one for one in sys.path if '__editable__' not in one]
import store
from store.verify.apart import verify
print(verify(sys.argv[1]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


def test_it_is_told_how_far_it_is(tmp_path: Path) -> None:
    with LmdbStore(tmp_path / "store", durability="none") as store:
        store.commit([append(b"\x80") for _ in range(TOLD_EVERY + 1)])
    told: list[tuple[int, int]] = []
    found = verify_apart(tmp_path / "store", on_progress=lambda *said: told.append(said))
    assert found.findings == []
    assert told
    assert told == sorted(told)
    assert all(TOLD_EVERY <= rows < of == sum(found.checked.values()) for rows, of in told)


def test_stores_may_be_made_after_the_processes_that_verify_them(tmp_path: Path) -> None:
    names = ["one", "two", "three"]
    with Verifiers(tmp_path, names) as verifiers:
        for name in names:
            with LmdbStore(tmp_path / name, durability="none") as store:
                store.commit([append(b"\x80")])
        with lmdb.Environment(str(tmp_path / "two"), max_dbs=32) as env:
            ids = env.open_db(b"ids")
            with env.begin(write=True) as txn:
                txn.drop(ids, delete=False)
        verifiers.begin()
        found = dict(verifiers.findings())
    assert sorted(found) == sorted(names)
    assert [found["one"], found["three"]] == [None, None]
    assert "ids has nothing there" in str(found["two"])
