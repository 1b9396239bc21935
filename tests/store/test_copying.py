"""Copies: as small as can be, or made beside the writer; and nothing half done is left."""

import errno
import fcntl
import os
import random
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import lmdb
import pytest

import procession.store.lmdb.file_swap
import procession.store.maintenance.copying
import procession.store.maintenance.rewriting
from procession.store import (
    Append,
    CorruptRecord,
    DamagedStore,
    EventRecord,
    LmdbStore,
    LockedStore,
    Step,
    StepExtras,
    StoreError,
    StoreFull,
    TransitionRecord,
    backup,
    backup_open,
    compact,
    verify,
)
from procession.store.layout.schema import TABLES
from procession.store.lmdb.file_swap import alone
from procession.store.maintenance.rewriting import PARTIAL

ALL = 1_000_000


def publish(stream: str, data: bytes = b"data") -> Step:
    event = EventRecord("Shop.Happened.v1", stream, 0, 1, data, "", "")
    return Step(append=Append(stream, None, [event]))


def handle(instance: str, position: int, cause: str) -> Step:
    transition = TransitionRecord(1, 2, "on", True, cause, cause, position, b"\x80")
    return Step(process="Shop.Orders", instance=instance, transition=transition)


def fill(path: Path, orders: int = 300) -> None:
    """Streams and instances that come in no order, in several commits, as in life."""
    names = [f"o{number}" for number in range(orders)]
    random.Random(7).shuffle(names)
    with LmdbStore(path, durability="none", map_size=1 << 16) as made:
        for position, name in enumerate(names, 1):
            stream = f"shop::order-{name}"
            made.commit([publish(stream), handle(name, position, f"{stream}@1")], {"r": position})


def rows(path: Path) -> dict[str, list[tuple[bytes, bytes]]]:
    with lmdb.Environment(str(path), max_dbs=32, readonly=True, lock=False) as env:
        tables = {name: env.open_db(name.encode(), create=False) for name in TABLES}
        with env.begin() as txn:
            return {name: list(txn.cursor(db)) for name, db in tables.items()}


def size(path: Path) -> int:
    return (path / "data.mdb").stat().st_size


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("filled")
    fill(path)
    return path


@pytest.fixture
def path(filled: Path, tmp_path: Path) -> Path:
    path = tmp_path / "store"
    path.mkdir()
    (path / "data.mdb").write_bytes((filled / "data.mdb").read_bytes())
    return path


# Compacting


def test_a_compacted_store_has_the_same_rows_in_a_smaller_file(path: Path, tmp_path: Path) -> None:
    sizes = compact(path, tmp_path / "small")
    assert rows(tmp_path / "small") == rows(path)
    assert verify(tmp_path / "small") == []
    assert sizes == (size(path), size(tmp_path / "small"))
    assert sizes.after < sizes.before / 1.5


def test_a_store_that_is_compacted_in_its_place_has_the_same_rows(path: Path) -> None:
    before = rows(path)
    sizes = compact(path)
    assert rows(path) == before
    assert verify(path) == []
    assert sizes.after == size(path) < sizes.before
    assert sorted(file.name for file in path.iterdir()) == ["data.mdb", "lock.mdb", "writer.lock"]


def test_a_compacted_store_is_written_to_as_before(path: Path) -> None:
    compact(path)
    with LmdbStore(path) as made:
        position = made.last_position()
        made.commit([publish("shop::order-new"), publish("shop::order-o7")])
        assert made.last_position() == position + 2
    assert verify(path) == []
    compact(path)
    assert verify(path) == []


def test_an_empty_store_and_large_records_can_be_compacted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    LmdbStore(tmp_path / "empty").close()
    compact(tmp_path / "empty")
    assert verify(tmp_path / "empty") == []
    monkeypatch.setattr(procession.store.maintenance.rewriting, "AT_ONCE", 10_000)
    with LmdbStore(tmp_path / "large", durability="none") as made:
        made.commit([publish(f"shop::order-o{n}", b"x" * 9_000 * (n % 3)) for n in range(50)])
    before = rows(tmp_path / "large")
    compact(tmp_path / "large")
    assert rows(tmp_path / "large") == before


def test_a_store_is_compacted_to_another_folder_beside_its_writer(
    path: Path, tmp_path: Path
) -> None:
    with LmdbStore(path) as made:
        compact(path, tmp_path / "small")
        made.commit([publish("shop::order-new")])
    assert verify(tmp_path / "small") == []


@pytest.mark.parametrize("read_only", [False, True])
def test_a_store_that_is_open_here_is_not_replaced(path: Path, *, read_only: bool) -> None:
    content = (path / "data.mdb").read_bytes()
    with (
        LmdbStore(path, read_only=read_only),
        pytest.raises(LockedStore, match=r"already open for writing|is open for reading in this"),
    ):
        compact(path)
    assert (path / "data.mdb").read_bytes() == content
    assert not (path / PARTIAL).exists()


ELSEWHERE = """
import sys
from procession.store import LmdbStore
with LmdbStore(sys.argv[1], read_only=sys.argv[2] == "read"):
    print("open", flush=True)
    sys.stdin.readline()
"""


@pytest.mark.parametrize("how", ["read", "write"])
def test_a_store_that_another_process_has_open_is_not_replaced(path: Path, how: str) -> None:
    content = (path / "data.mdb").read_bytes()
    with subprocess.Popen(
        [sys.executable, "-c", ELSEWHERE, str(path), how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "open\n"
        with pytest.raises(LockedStore, match=r"another process|already open for writing"):
            compact(path)
        process.stdin.close()
    assert (path / "data.mdb").read_bytes() == content
    compact(path)


def test_whoever_opens_a_store_while_it_is_replaced_gets_the_new_one(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compact(path, tmp_path / "new")
    with LmdbStore(tmp_path / "new") as made:
        made.commit([publish("shop::order-new")])
        newest = made.last_position()

    def flock(fd: int, how: int) -> None:
        if how == fcntl.LOCK_EX:
            monkeypatch.undo()
            # The old file is open already, and this is what it waits for.
            with alone(path / "data.mdb"):
                (tmp_path / "new" / "data.mdb").replace(path / "data.mdb")
        fcntl.flock(fd, how)

    monkeypatch.setattr(procession.store.lmdb.file_swap, "fcntl", _With(fcntl, flock=flock))
    with LmdbStore(path, read_only=True) as opened:
        assert opened.last_position() == newest


class _With:
    """A module with something else in it."""

    def __init__(self, module: Any, **others: Any) -> None:
        self.__dict__.update(vars(module) | others)


CRASH = """
import os, pathlib, sys
import procession.store.maintenance.copying as copying
import procession.store.maintenance.rewriting as rewriting
import procession.store.lmdb.environment as environment

def crash_at(owner, name, count, after=False):
    real, calls = getattr(owner, name), []
    def called(*args, **options):
        calls.append(name)
        if len(calls) == count and not after:
            os._exit(9)
        result = real(*args, **options)
        if len(calls) == count:
            os._exit(9)
        return result
    setattr(owner, name, called)

moment = sys.argv[2]
if moment == "while it writes":
    crash_at(rewriting, "_write_table", 4)
elif moment == "while it compares":
    crash_at(copying, "_compare", 3)
elif moment == "before the sync":
    crash_at(copying, "sync_file", 1)
elif moment == "before the new file has its name":
    crash_at(pathlib.Path, "replace", 1)
elif moment == "when the new file has its name":
    crash_at(pathlib.Path, "replace", 1, after=True)
else:
    crash_at(environment, "sync_folder", 1, after=True)
copying.compact(sys.argv[1])
"""


@pytest.mark.parametrize(
    "moment",
    [
        "while it writes",
        "while it compares",
        "before the sync",
        "before the new file has its name",
        "when the new file has its name",
        "at the end",
    ],
)
def test_a_crash_while_a_store_is_compacted_leaves_it_whole(path: Path, moment: str) -> None:
    before = rows(path)
    ended = subprocess.run([sys.executable, "-c", CRASH, str(path), moment], check=False)
    assert ended.returncode == 9
    assert rows(path) == before
    assert verify(path) == []
    compact(path)
    assert rows(path) == before
    assert not (path / PARTIAL).exists()


def test_a_damaged_record_is_not_carried_over(path: Path, tmp_path: Path) -> None:
    with lmdb.Environment(str(path), max_dbs=32) as env:
        log = env.open_db(b"log")
        with env.begin(write=True) as txn:
            txn.put((7).to_bytes(8, "big"), b"damaged", db=log)
    content = (path / "data.mdb").read_bytes()
    with pytest.raises(CorruptRecord, match="of table 'log'"):
        compact(path)
    with pytest.raises(CorruptRecord, match="of table 'log'"):
        compact(path, tmp_path / "small")
    assert (path / "data.mdb").read_bytes() == content
    assert not (path / PARTIAL).exists()
    assert not (tmp_path / "small").exists()


def test_a_copy_in_which_something_is_missing_is_noticed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = procession.store.maintenance.rewriting.sound

    def all_but_the_first(rows: Any, table: str) -> Any:
        some = real(rows, table)
        if table == "ids":
            next(some, None)
        return some

    monkeypatch.setattr(procession.store.maintenance.copying, "sound", all_but_the_first)
    content = (path / "data.mdb").read_bytes()
    with pytest.raises(DamagedStore, match="'ids' could not be copied whole"):
        compact(path)
    assert (path / "data.mdb").read_bytes() == content


# Backups


def test_a_backup_is_a_store_of_its_own(path: Path, tmp_path: Path) -> None:
    backup(path, tmp_path / "copy")
    assert rows(tmp_path / "copy") == rows(path)
    assert [file.name for file in (tmp_path / "copy").iterdir()] == ["data.mdb"]
    with LmdbStore(tmp_path / "copy") as restored, LmdbStore(path) as made:
        restored.commit([publish("shop::order-new")])
        assert restored.last_position() == made.last_position() + 1
    assert verify(tmp_path / "copy") == []


def test_a_backup_is_made_while_the_store_is_written_to(path: Path, tmp_path: Path) -> None:
    ended = threading.Event()
    with LmdbStore(path, durability="none") as made:

        def write() -> None:
            while not ended.is_set():
                made.commit([publish("shop::order-new")])

        writer = threading.Thread(target=write)
        writer.start()
        try:
            for number in range(5):
                backup_open(made, tmp_path / str(number))
                backup(path, tmp_path / f"other-{number}")
        finally:
            ended.set()
            writer.join()
        newest = made.last_position()
    found = []
    for number in range(5):
        for copy in (tmp_path / str(number), tmp_path / f"other-{number}"):
            assert verify(copy) == []
            with LmdbStore(copy, read_only=True) as restored:
                found.append(restored.last_position())
    assert found == sorted(found)
    assert found[-1] <= newest


def test_a_backup_goes_into_an_empty_folder(path: Path, tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    backup(path, tmp_path / "copy")
    assert verify(tmp_path / "copy") == []


@pytest.mark.parametrize("copy", [backup, compact])
def test_a_target_that_holds_something_is_refused(copy: Any, path: Path, tmp_path: Path) -> None:
    target = tmp_path / "copy"
    target.mkdir()
    (target / "letter").write_text("dear")
    for one in (target, target / "letter", path):
        with pytest.raises(StoreError, match="is not empty"):
            copy(path, one)
    assert [file.name for file in target.iterdir()] == ["letter"]
    assert (target / "letter").read_text() == "dear"


@pytest.mark.parametrize("copy", [backup, compact])
def test_where_there_is_no_store_nothing_is_copied_or_made(copy: Any, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no store"):
        copy(tmp_path / "nowhere", tmp_path / "copy")
    with pytest.raises(StoreError, match="there is no store"):
        compact(tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("copy", [backup, compact])
@pytest.mark.parametrize(("code", "raised"), [(errno.ENOSPC, StoreFull), (errno.EIO, StoreError)])
def test_a_disk_that_refuses_leaves_nothing_of_a_copy(
    copy: Any,
    code: int,
    raised: type[StoreError],
    path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fsync(fd: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(procession.store.maintenance.rewriting, "os", _With(os, fsync=fsync))
    (tmp_path / "empty").mkdir()
    for target in (tmp_path / "new", tmp_path / "empty"):
        with pytest.raises(raised, match="was removed"):
            copy(path, target)
    assert not (tmp_path / "new").exists()
    assert list((tmp_path / "empty").iterdir()) == []


def test_what_is_there_of_a_copy_that_is_not_whole_is_no_store(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "copy"
    found: list[str] = []

    def sync(file: Path) -> None:
        found.extend(one.name for one in target.iterdir())
        with pytest.raises(StoreError, match="there is no store"):
            LmdbStore(target, read_only=True)

    monkeypatch.setattr(procession.store.maintenance.copying, "sync_file", sync)
    backup(path, target)
    assert found == [PARTIAL]


# Snapshots


def test_a_store_closes_when_who_reads_all_of_it_is_done(path: Path) -> None:
    order: list[str] = []

    def close() -> None:
        made.close()
        order.append("closed")

    made = LmdbStore(path)
    closing = threading.Thread(target=close)
    with made.snapshot():
        closing.start()
        closing.join(0.05)
        order.append("read")
    closing.join()
    assert order == ["read", "closed"]


def test_a_store_may_outgrow_its_map_while_all_of_it_is_read(tmp_path: Path) -> None:
    with LmdbStore(tmp_path, durability="none", map_size=1 << 16) as made:
        with made.stored_snapshot() as snapshot:
            for _ in range(20):
                made.commit([publish("shop::order-new", b"x" * 100_000)])
            assert snapshot.txn.stat(snapshot.tables["log"])["entries"] == 0
        assert len(made.read_log(0, ALL)) == 20


def test_a_snapshot_of_an_aggregate_is_in_a_copy(path: Path, tmp_path: Path) -> None:
    with LmdbStore(path) as made:
        step = publish("shop::order-new")
        step.extras = StepExtras(snapshot=(1, b"state"))
        made.commit([step])
        backup_open(made, tmp_path / "copy")
    with LmdbStore(tmp_path / "copy") as restored:
        assert restored.read_snapshot("shop::order-new") == (1, b"state")
