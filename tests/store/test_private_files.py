"""A store is its owner's alone, whatever makes it; and no link leads anywhere else."""

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from procession.store import LmdbStore, StoreError, backup, compact

ROOT = Path(__file__).parents[2]
FILES = ["data.mdb", "lock.mdb", "writer.lock"]

only_superuser = pytest.mark.skipif(
    os.getuid() != 0, reason="only the superuser can become somebody else"
)


def rights(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    LmdbStore(tmp_path / "store").close()
    return tmp_path / "store"


@pytest.fixture(autouse=True)
def generous_umask() -> object:
    before = os.umask(0)
    yield
    os.umask(before)


def test_what_a_store_makes_is_its_owners_alone(path: Path) -> None:
    assert rights(path) == 0o700
    assert {file.name: rights(file) for file in path.iterdir()} == dict.fromkeys(FILES, 0o600)


def test_the_folders_above_and_one_that_was_there_keep_their_rights(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir(mode=0o755)
    LmdbStore(tmp_path / "mine").close()
    LmdbStore(tmp_path / "above" / "store").close()
    assert rights(tmp_path / "mine") == 0o755
    assert rights(tmp_path / "above") == 0o777
    assert rights(tmp_path / "above" / "store") == 0o700


@pytest.mark.parametrize("copy", [backup, compact])
def test_a_copy_is_its_owners_alone(
    path: Path, tmp_path: Path, copy: Callable[[Path, Path], object]
) -> None:
    copy(path, tmp_path / "copy")
    assert rights(tmp_path / "copy") == 0o700
    assert {file.name: rights(file) for file in (tmp_path / "copy").iterdir()} == {
        "data.mdb": 0o600
    }


@pytest.mark.parametrize("given", [0o600, 0o640, 0o660])
def test_compacting_in_its_place_keeps_the_rights_of_the_file(path: Path, given: int) -> None:
    (path / "data.mdb").chmod(given)
    compact(path)
    assert rights(path / "data.mdb") == given


@only_superuser
def test_compacting_by_the_superuser_leaves_the_file_to_its_owner(path: Path) -> None:
    os.chown(path / "data.mdb", 65534, 65534)
    compact(path)
    found = (path / "data.mdb").stat()
    assert (found.st_uid, found.st_gid) == (65534, 65534)


TAKE = """
import fcntl, os, sys
os.setgid(65534)
os.setuid(65534)
for name in sys.argv[2:]:
    try:
        fcntl.flock(os.open(os.path.join(sys.argv[1], name), os.O_RDONLY), fcntl.LOCK_EX)
        print("taken", name)
    except PermissionError:
        print("refused", name)
"""


@only_superuser
@pytest.mark.parametrize("was", [0o600, 0o644])
def test_no_other_user_can_take_a_lock_also_of_a_store_whose_locks_all_could_read(
    was: int,
) -> None:
    # Not in pytest's folder, which only its owner may enter.
    code = """
import subprocess, sys, tempfile
from pathlib import Path
from procession.store import LmdbStore
with tempfile.TemporaryDirectory() as here:
    Path(here).chmod(0o755)
    store = Path(here, "store")
    store.mkdir()
    store.chmod(0o755)
    LmdbStore(store).close()
    for name in ("lock.mdb", "writer.lock"):
        (store / name).chmod(int(sys.argv[1]))
    with LmdbStore(store):
        subprocess.run([sys.executable, "-c", sys.argv[2], store, *sys.argv[3:]], check=True)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(was), TAKE, *FILES],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "".join(f"refused {name}\n" for name in FILES)


def test_a_lock_stays_with_a_group_that_may_write_the_data(path: Path) -> None:
    (path / "data.mdb").chmod(0o660)
    (path / "writer.lock").chmod(0o664)
    LmdbStore(path).close()
    assert rights(path / "writer.lock") == 0o660


# Links


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("is_there", [True, False])
def test_a_file_of_a_store_that_is_a_link_is_refused_and_what_it_leads_to_stays(
    path: Path, tmp_path: Path, name: str, *, is_there: bool
) -> None:
    other = tmp_path / "other"
    if is_there:
        (path / name).rename(other)
    else:
        (path / name).unlink()
    before = other.read_bytes() if is_there else None
    (path / name).symlink_to(other)
    with pytest.raises(StoreError, match=f"{name} is a symbolic link"):
        LmdbStore(path)
    assert (other.read_bytes() if other.exists() else None) == before


@pytest.mark.parametrize("name", ["data.mdb", "lock.mdb"])
def test_it_is_refused_for_reading_too(path: Path, tmp_path: Path, name: str) -> None:
    (path / name).rename(tmp_path / "other")
    (path / name).symlink_to(tmp_path / "other")
    with pytest.raises(StoreError, match=f"{name} is a symbolic link"):
        LmdbStore(path, read_only=True)


def test_a_link_in_the_place_of_what_compacting_writes_is_removed_and_not_followed(
    path: Path, tmp_path: Path
) -> None:
    (tmp_path / "other").write_text("mine")
    (path / "data.mdb.partial").symlink_to(tmp_path / "other")
    compact(path)
    assert (tmp_path / "other").read_text() == "mine"
    assert sorted(file.name for file in path.iterdir()) == FILES


@pytest.mark.parametrize("copy", [backup, compact])
def test_a_link_that_comes_between_is_not_followed_by_a_copy(
    path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    copy: Callable[[Path, Path], object],
) -> None:
    (tmp_path / "other").write_text("mine")
    make = Path.mkdir

    def make_and_link(folder: Path, *args: object, **options: object) -> None:
        make(folder, *args, **options)  # type: ignore[arg-type]
        (folder / "data.mdb.partial").symlink_to(tmp_path / "other")

    monkeypatch.setattr(Path, "mkdir", make_and_link)
    with pytest.raises(StoreError, match="is a symbolic link"):
        copy(path, tmp_path / "copy")
    assert (tmp_path / "other").read_text() == "mine"


def test_a_store_in_a_folder_that_is_a_link_opens(path: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(path)
    LmdbStore(tmp_path / "link").close()
