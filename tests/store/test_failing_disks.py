"""A disk that errs and recovers, files that vanish, and no error of LMDB's own."""

import contextlib
import errno
import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import lmdb
import pytest

from procession.store import (
    Append,
    DamagedStore,
    EventRecord,
    FailingDisk,
    LmdbStore,
    LostStore,
    ProcessionError,
    Step,
    StoreError,
    StoreFull,
    TooManyReaders,
    backup_open,
    verify,
    verify_open,
)

ROOT = Path(__file__).parents[2]
ALL = 1_000_000


def append(*data: bytes) -> Step:
    return Step(
        append=Append("s", None, [EventRecord("T", "s", 0, 0, item, "", "") for item in data])
    )


def content(store: LmdbStore) -> list[bytes]:
    return [event.data for event in store.read_log(0, ALL)]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LmdbStore]:
    with LmdbStore(tmp_path / "store") as store:
        store.commit([append(b"1")])
        yield store


# An error on LMDB's header


@contextlib.contextmanager
def header_fails(folder: Path) -> Iterator[None]:
    """Have each write to the header fail with EIO, as by a disk; reading goes on."""
    header = next(fd for fd in open_files(folder / "data.mdb") if is_synced(fd))
    kept = os.dup(header)
    # Writing to addresses where nothing is mapped is an input/output error.
    nowhere = os.open("/proc/self/mem", os.O_RDWR)
    os.dup2(nowhere, header, inheritable=False)
    os.close(nowhere)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            # Unless LMDB has closed it meanwhile.
            if Path(f"/proc/self/fd/{header}").readlink().name == "mem":
                os.dup2(kept, header, inheritable=False)
        os.close(kept)


def open_files(file: Path) -> list[int]:
    found = []
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            if link.readlink() == file:
                found.append(int(link.name))
    return found


def is_synced(fd: int) -> bool:
    return bool(fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_DSYNC)


def test_after_an_error_on_the_header_the_store_is_opened_again_by_itself(
    store: LmdbStore, tmp_path: Path
) -> None:
    with header_fails(tmp_path / "store"), pytest.raises(FailingDisk, match="committing"):
        store.commit([append(b"lost")])
    # Reading and writing go on, and no number is missing.
    assert content(store) == [b"1"]
    store.commit([append(b"2")])
    assert content(store) == [b"1", b"2"]
    assert [event.position for event in store.read_log(0, ALL)] == [1, 2]
    assert verify_open(store).findings == []


def test_a_store_that_reads_beside_the_writer_here_goes_on_too(
    store: LmdbStore, tmp_path: Path
) -> None:
    with LmdbStore(tmp_path / "store", read_only=True) as reader:
        with header_fails(tmp_path / "store"), pytest.raises(FailingDisk):
            store.commit([append(b"lost")])
        assert content(reader) == [b"1"]
        store.commit([append(b"2")])
        assert content(reader) == [b"1", b"2"]


def test_while_a_snapshot_is_read_the_store_says_that_the_disk_failed_and_heals_after_it(
    store: LmdbStore, tmp_path: Path
) -> None:
    with store.snapshot() as snapshot:
        with header_fails(tmp_path / "store"), pytest.raises(FailingDisk):
            store.commit([append(b"lost")])
        with pytest.raises(FailingDisk):
            content(store)
        with pytest.raises(FailingDisk):
            store.commit([append(b"lost")])
        assert snapshot.count("log") == 1
    assert content(store) == [b"1"]
    store.commit([append(b"2")])
    assert content(store) == [b"1", b"2"]


def test_while_it_cannot_be_opened_again_each_call_says_so_and_then_it_heals(
    store: LmdbStore, tmp_path: Path
) -> None:
    table = tmp_path / "store" / "lock.mdb"
    with header_fails(tmp_path / "store"):
        table.rename(tmp_path / "away")
        table.mkdir()
        for _ in range(3):
            with pytest.raises(FailingDisk):
                store.commit([append(b"lost")])
            with pytest.raises(StoreError):
                content(store)
    table.rmdir()
    (tmp_path / "away").rename(table)
    assert content(store) == [b"1"]
    store.commit([append(b"2")])
    assert content(store) == [b"1", b"2"]


# Whatever LMDB raises


def errors_of_lmdb() -> list[lmdb.Error]:
    def below(cls: type[lmdb.Error]) -> Iterator[type[lmdb.Error]]:
        yield cls
        for one in cls.__subclasses__():
            yield from below(one)

    found = [cls("injected") for cls in dict.fromkeys(below(lmdb.Error))]
    for code in (errno.EIO, errno.ENOSPC, errno.EMFILE, errno.EACCES, errno.ENOMEM, errno.EINVAL):
        error = lmdb.Error(os.strerror(code))
        # As LMDB sets it.
        vars(error)["code"] = code
        found.append(error)
    return found


ERRORS = {
    f"{type(one).__name__} {one}": one
    for one in errors_of_lmdb()
    # It says that the map is to grow, and comes once for each size.
    if not isinstance(one, lmdb.MapFullError)
}


def again(error: lmdb.Error) -> lmdb.Error:
    """The same error, without what it came through before."""
    made = type(error)(*error.args)
    made.__dict__.update(error.__dict__)
    return made


class Failing:
    """Something of LMDB's of which each call by some names fails, also of what it makes."""

    def __init__(self, real: Any, names: set[str], error: lmdb.Error) -> None:
        self._real, self._names, self._error = real, names, error

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._real, name)
        if not callable(real):
            return real

        def call(*args: Any, **options: Any) -> Any:
            if name in self._names:
                raise again(self._error)
            given = {key: getattr(one, "_real", one) for key, one in options.items()}
            made = real(*args, **given)
            if isinstance(made, lmdb.Transaction | lmdb.Cursor):
                return Failing(made, self._names, self._error)
            return made

        return call

    def __enter__(self) -> Self:
        self._real.__enter__()
        return self

    def __exit__(self, *error: object) -> Any:
        return self._real.__exit__(*error)


CALLS: dict[str, Callable[[LmdbStore], object]] = {
    "commit": lambda store: store.commit([append(b"x")]),
    "read_log": lambda store: store.read_log(0, ALL),
    "checkpoint": lambda store: store.checkpoint("P"),
    "secret": lambda store: store.secret(),
    "look_after": lambda store: store.look_after(10**15),
    "verify_open": verify_open,
    "backup_open": lambda store: backup_open(store, store._file.environment.path.parent / "copy"),
}

PLACES: list[set[str]] = [
    {"begin"},
    {"get"},
    {"stat"},
    {"info"},
    {"cursor"},
    {"set_range", "last"},
    {"putmulti"},
    {"copyfd"},
    {"reader_check"},
]


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
def test_no_call_lets_an_error_of_lmdb_out(tmp_path: Path, error: lmdb.Error) -> None:
    for place in PLACES:
        with LmdbStore(tmp_path / "store", durability="none") as store:
            store.commit([append(b"1")])
            shared = store._file.environment._shared
            real = shared.env
            for call in CALLS.values():
                store._file.environment.shared_read.forget()
                failing: Any = Failing(real, place, error)
                shared.env = failing
                try:
                    with contextlib.suppress(ProcessionError):
                        call(store)
                finally:
                    store._file.environment.shared_read.forget()
                    if shared.env is failing:
                        shared.env = real
                    # Else it was opened again meanwhile.
                    real = shared.env
            # It harmed nothing.
            store.commit([append(b"2")])
            assert content(store)[-1] == b"2"
        assert verify(tmp_path / "store") == []


def failing_environment(name: str, error: lmdb.Error) -> Callable[..., Failing]:
    real = lmdb.Environment
    return lambda *args, **options: Failing(real(*args, **options), {name}, error)


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
def test_opening_and_closing_let_none_out_either(
    tmp_path: Path, error: lmdb.Error, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LmdbStore(tmp_path / "store", durability="os")
    shared = store._file.environment._shared
    shared.env = Failing(shared.env, {"sync"}, error)  # type: ignore[assignment]
    with pytest.raises(ProcessionError):
        store.close()

    def refuse(*_: object, **__: object) -> object:
        raise again(error)

    with monkeypatch.context() as patch:
        patch.setattr("procession.store.lmdb.shared_env.lmdb.Environment", refuse)
        with pytest.raises(ProcessionError):
            LmdbStore(tmp_path / "store")
    for name in ("begin", "open_db", "info"):
        with monkeypatch.context() as patch:
            patch.setattr(
                "procession.store.lmdb.shared_env.lmdb.Environment",
                failing_environment(name, error),
            )
            with pytest.raises(ProcessionError):
                LmdbStore(tmp_path / "store")
    LmdbStore(tmp_path / "store").close()


# What is said


def test_a_full_target_is_not_called_a_damaged_source(
    store: LmdbStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "copy"
    full = os.open("/dev/full", os.O_WRONLY)
    monkeypatch.setattr(
        "procession.store.maintenance.copying.create_file", lambda partial: os.dup(full)
    )
    store.commit([append(bytes(5_000_000))])
    with pytest.raises(StoreFull, match=f"copy at {target}"):
        backup_open(store, target)
    os.close(full)
    assert not target.exists()


def test_too_many_open_files_are_called_that(tmp_path: Path) -> None:
    LmdbStore(tmp_path).close()
    code = """
import os, resource, sys
from procession.store import *
LmdbStore(sys.argv[1]).close()
taken = [os.open("/dev/null", os.O_RDONLY)]
most = taken[-1] + 12
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
names = set()
try:
    while True:
        taken.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass
# One more is free each time, so that each file in turn is the one too many.
while True:
    try:
        LmdbStore(sys.argv[1]).close()
        break
    except StoreError as error:
        assert "oo many open files" in str(error), error
        names.add(type(error).__name__)
    os.close(taken.pop())
print(sorted(names), len(taken) > 1)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "['StoreError'] True\n", done.stderr


@pytest.mark.parametrize(("number", "error"), [(errno.EIO, FailingDisk), (errno.ENOSPC, StoreFull)])
def test_a_disk_that_refuses_the_lock_is_named_and_the_next_attempt_is_not_kept_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, error: type[StoreError]
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", refuse)
        with pytest.raises(error, match="locking"):
            LmdbStore(tmp_path)
    LmdbStore(tmp_path).close()


def test_a_disk_that_refuses_while_a_store_is_made_leaves_none_and_the_next_attempt_makes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def begin(path: str, **_: object) -> object:
        # So it is left by LMDB, which no call then took for a store.
        (Path(path) / "data.mdb").touch()
        raise again(ERRORS["Error Input/output error"])

    def refuse(_: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    here = "procession.store.lmdb.shared_env"
    for name, call, error in (
        (f"{here}.lmdb.Environment", begin, FailingDisk),
        (f"{here}.sync_folder", refuse, StoreFull),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(name, call)
            with pytest.raises(error, match="opening"):
                LmdbStore(tmp_path)
        assert not (tmp_path / "data.mdb").exists()
    LmdbStore(tmp_path).close()


# Files that vanish


def remove(file: Path) -> None:
    file.unlink()


def rename(file: Path) -> None:
    file.rename(file.with_name("away"))


def replace(file: Path) -> None:
    copy = file.with_name("copy")
    copy.write_bytes(file.read_bytes())
    copy.replace(file)


@pytest.mark.parametrize("how", [remove, rename, replace])
def test_a_file_that_is_gone_is_noticed_before_the_next_commit_is_acknowledged(
    tmp_path: Path, how: Callable[[Path], None]
) -> None:
    file = tmp_path / "data.mdb"
    store = LmdbStore(tmp_path)
    store.commit([append(b"1")])
    how(file)
    there = file.read_bytes() if file.exists() else None
    for _ in range(2):
        with pytest.raises(LostStore, match=r"data\.mdb of the store at"):
            store.commit([append(b"2")])
    # What was acknowledged can still be read, and nothing else.
    assert content(store) == [b"1"]
    store.close()
    # What has the name now is another's, and stays as it is.
    assert (file.read_bytes() if file.exists() else None) == there


@pytest.mark.parametrize("name", ["lock.mdb", "writer.lock"])
def test_a_lock_that_is_gone_is_noticed_by_who_looks_after_the_store(
    tmp_path: Path, name: str
) -> None:
    with LmdbStore(tmp_path) as store:
        store.look_after(1_000_000)
        remove(tmp_path / name)
        store.look_after(2_000_000)
        with pytest.raises(LostStore, match=name):
            store.commit([append(b"2")])


def test_a_folder_that_is_gone_is_noticed(tmp_path: Path) -> None:
    store = LmdbStore(tmp_path / "store")
    (tmp_path / "store").rename(tmp_path / "away")
    with pytest.raises(LostStore):
        store.commit([append(b"2")])
    store.close()


def test_what_was_acknowledged_before_is_in_the_file_that_was_there(tmp_path: Path) -> None:
    store = LmdbStore(tmp_path / "store")
    store.commit([append(b"1")])
    (tmp_path / "store").rename(tmp_path / "away")
    with pytest.raises(LostStore):
        store.commit([append(b"2")])
    store.close()
    with LmdbStore(tmp_path / "away") as found:
        assert content(found) == [b"1"]


def test_the_names_of_errors_say_what_is_the_matter() -> None:
    for one in (FailingDisk, LostStore, TooManyReaders, DamagedStore):
        assert issubclass(one, StoreError)
