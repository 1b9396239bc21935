"""Readers that die, and readers that take all places: the writer goes on, and the file stays small.

Each reader is a process of its own, and ends by a signal to its id.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lmdb
import pytest

from procession.store import LmdbStore, StoreError, TooManyReaders, backup_open
from procession.store.lmdb.reader_table import MAX_READERS, clear_dead, processes_in

ROOT = Path(__file__).parents[2]

PREAMBLE = """
import os, sys
import lmdb
from procession.store import *
folder = sys.argv[1]

def say(*words):
    print(*words, flush=True)
"""

# It reads at one moment for as long as it lives, as `verify` and `backup` do.
READS_FOR_LONG = """
with LmdbStore(folder, read_only=True) as store, store.snapshot():
    say("reads")
    sys.stdin.read()
"""

TAKES_ALL_PLACES = """
env = lmdb.Environment(folder, readonly=True)
taken = []
try:
    while True:
        taken.append(env.begin())
except lmdb.ReadersFullError:
    say(len(taken))
    sys.stdin.read()
"""

SECOND = 1_000_000


@contextmanager
def reader(folder: Path, code: str, *before: str) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """Another process, and the first line it said; it is killed at the end."""
    with subprocess.Popen(
        [*before, sys.executable, "-c", PREAMBLE + code, str(folder)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip(), process
        finally:
            process.kill()


def kill(process: "subprocess.Popen[str]") -> None:
    process.kill()
    assert process.wait() == -signal.SIGKILL


def change(store: LmdbStore, number: int) -> None:
    """Change the same row again, each time in another page."""
    store.commit([], {"P": number})


def used(folder: Path) -> int:
    """Bytes of the file that were ever used."""
    with lmdb.Environment(str(folder), readonly=True, lock=False) as env:
        return int((env.info()["last_pgno"] + 1) * env.stat()["psize"])


def test_what_a_killed_reader_held_is_used_again_within_a_second_of_commits(
    tmp_path: Path,
) -> None:
    with LmdbStore(tmp_path, durability="none") as store:
        for number in range(100):
            change(store, number)
        with reader(tmp_path, READS_FOR_LONG) as (said, process):
            assert said == "reads"
            kill(process)
        now = 0
        for number in range(1_000):
            change(store, number)
            now += SECOND // 50
            store.look_after(now)
    assert used(tmp_path) < 2 << 20


def test_a_clock_that_was_put_back_delays_nothing(tmp_path: Path) -> None:
    with LmdbStore(tmp_path, durability="none") as store:
        store.look_after(1_000 * SECOND)
        with reader(tmp_path, READS_FOR_LONG) as (_, process):
            kill(process)
        assert process.pid in taken(store)
        store.look_after(10 * SECOND)
        assert process.pid not in taken(store)


def test_a_reader_that_lives_keeps_its_place(tmp_path: Path) -> None:
    with (
        LmdbStore(tmp_path, durability="none") as store,
        reader(tmp_path, READS_FOR_LONG) as (_, process),
    ):
        store.look_after(SECOND)
        assert taken(store)[process.pid] == 1


def taken(store: LmdbStore) -> dict[int, int]:
    found: dict[int, int] = {}
    for line in store._file.environment.env.readers().splitlines():
        first = line.split()[:1]
        if first and first[0].isdigit():
            found[int(first[0])] = found.get(int(first[0]), 0) + 1
    return found


# One's own process id in an earlier life


def may_be_process_1() -> bool:
    if shutil.which("unshare") is None:
        return False
    there = subprocess.run(["unshare", "-rpf", "true"], check=False, capture_output=True)
    return there.returncode == 0


needs_process_ids = pytest.mark.skipif(
    not may_be_process_1(), reason="this user may make no namespace of process ids"
)

# The whole container: its process 1 runs what it is told, and a sidecar reads all the while.
CONTAINER = """
sidecar = LmdbStore(folder, read_only=True)
say(sidecar.last_position())
sys.stdin.read()
"""

LIVES_TWICE = """
assert os.getpid() == 1
store = LmdbStore(folder, durability="none")
for number in range(int(sys.argv[2]), int(sys.argv[2]) + 1_000):
    store.commit([], {"P": number})
snapshot = store.snapshot()
snapshot.__enter__()
say("reads")
os._exit(9)
"""


@needs_process_ids
def test_a_writer_that_comes_back_with_the_id_it_had_clears_what_it_left(tmp_path: Path) -> None:
    LmdbStore(tmp_path).close()
    # The sidecar keeps LMDB from making a new table.
    with reader(tmp_path, CONTAINER):
        sizes = []
        as_process_1 = ["unshare", "-rpf", sys.executable, "-c"]
        for life in range(4):
            done = subprocess.run(
                [*as_process_1, PREAMBLE + LIVES_TWICE, str(tmp_path), str(life * 1_000)],
                cwd=ROOT,
                check=False,
                capture_output=True,
                text=True,
                timeout=120,
            )
            assert done.stdout == "reads\n", done.stderr
            sizes.append(used(tmp_path))
        assert sizes[-1] < sizes[0] + (1 << 20), sizes


def test_what_a_dead_process_of_ones_own_id_left_is_cleared_and_a_live_ones_place_is_not(
    tmp_path: Path,
) -> None:
    LmdbStore(tmp_path).close()
    table = tmp_path / "lock.mdb"
    with (
        reader(tmp_path, READS_FOR_LONG) as (_, dead),
        reader(tmp_path, READS_FOR_LONG) as (
            _,
            alive,
        ),
    ):
        kill(dead)
        assert processes_in(table) == {dead.pid: 1, alive.pid: 1}
        # As if it had been this process: LMDB would take the place for its own.
        content = table.read_bytes()
        here = content.index(dead.pid.to_bytes(4, sys.byteorder), 128)
        with table.open("r+b") as file:
            file.seek(here)
            file.write(os.getpid().to_bytes(4, sys.byteorder))
        assert processes_in(table) == {os.getpid(): 1, alive.pid: 1}
        with LmdbStore(tmp_path):
            pass
        assert processes_in(table) == {alive.pid: 1}


def test_a_table_of_another_make_is_left_alone(tmp_path: Path) -> None:
    table = tmp_path / "lock.mdb"
    with lmdb.Environment(str(tmp_path), max_readers=126) as env, env.begin():
        content = table.read_bytes()
    clear_dead(table)
    assert table.read_bytes()[192:] == content[192:]
    assert processes_in(table) == {}


# All places taken


def test_when_all_places_are_taken_the_writer_goes_on_and_others_are_told_by_whom(
    tmp_path: Path,
) -> None:
    with LmdbStore(tmp_path, durability="none") as store:
        change(store, 1)
        with reader(tmp_path, TAKES_ALL_PLACES) as (count, culprit):
            assert int(count) == MAX_READERS - 1
            for number in range(2, 50):
                change(store, number)
                assert store.checkpoint("P") == number
                store.look_after(number * SECOND)
            with pytest.raises(TooManyReaders, match=f"process {culprit.pid} ") as caught:
                backup_open(store, tmp_path / "copy")
            assert caught.value.processes == {culprit.pid: MAX_READERS - 1, os.getpid(): 1}
            assert "all 1,024 places" in str(caught.value)
            assert not (tmp_path / "copy").exists()
            # Another process is told the same.
            with reader(tmp_path, TELLS) as (said, _):
                assert said == f"TooManyReaders {count}"
            kill(culprit)
        # It heals by itself, with what asks for a place next.
        backup_open(store, tmp_path / "copy")
        with reader(tmp_path, READS_FOR_LONG) as (said, _):
            assert said == "reads"


TELLS = """
try:
    LmdbStore(folder, read_only=True)
    say("read")
except StoreError as error:
    say(type(error).__name__, max(error.processes.values()))
"""


def test_a_store_whose_places_are_all_taken_is_not_opened_and_opens_when_the_culprit_died(
    tmp_path: Path,
) -> None:
    LmdbStore(tmp_path).close()
    # One that reads all the while, so that LMDB makes no new table.
    with (
        reader(tmp_path, READS_FOR_LONG) as (_, other),
        reader(tmp_path, TAKES_ALL_PLACES) as (
            count,
            culprit,
        ),
    ):
        with pytest.raises(TooManyReaders) as caught:
            LmdbStore(tmp_path)
        assert caught.value.processes == {culprit.pid: int(count), other.pid: 1}
        kill(culprit)
        with LmdbStore(tmp_path) as store:
            change(store, 1)


def test_a_place_that_cannot_be_had_is_no_damage(tmp_path: Path) -> None:
    with LmdbStore(tmp_path, durability="none") as store:
        with reader(tmp_path, TAKES_ALL_PLACES), pytest.raises(StoreError) as caught:
            store.snapshot().__enter__()
        assert type(caught.value) is TooManyReaders
