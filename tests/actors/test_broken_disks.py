"""A full disk, a folder that is no good, a store that is somebody else's: what a runtime does then.

What the store alone does is in `tests/store/test_environment.py`; records that are damaged, in
`test_damaged_records.py`.
"""

import functools
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from procession import DamagedStore, LockedStore, Runtime, StoreError

ROOT = Path(__file__).parents[2]

SHOP = """
import os, resource, signal, sys, threading
from datetime import timedelta
from pathlib import Path
from procession import *
folder = sys.argv[1]
shop = Domain("shop")


class Place(Command):
    order_id: str
    text: str = ""


class Placed(Event):
    order_id: str
    text: str = ""


class Ship(Command):
    order_id: str


class Shipped(Event):
    order_id: str


free = threading.Event()
free.set()


@shop.register
class Basket(Aggregate, identity="order_id"):
    count: int = 0

    @handle(Place)
    def place(self, command):
        return Placed(self.id, command.text)

    @apply(Placed)
    def _placed(self, event):
        self.count += 1


@shop.register
class Parcel(Aggregate, identity="order_id"):
    @handle(Ship)
    def ship(self, command):
        return Shipped(self.id)


@shop.register
class Order(ProcessManager, correlate="order_id"):
    order_id: str = ""
    text: str = ""
    log: list[str] = []

    @handle(Placed, start=True)
    def on_placed(self, event):
        free.wait(60)
        self.log.append("placed")
        self.text = "x" * 40_000
        self.issue(Ship(self.order_id))
        self.set_timeout("late", timedelta(days=1))

    @handle(Shipped)
    def on_shipped(self, event):
        self.log.append("shipped")

    @timeout("late")
    def on_late(self):
        self.log.append("late")


def say(*words):
    print(*words, flush=True)
"""


def run(folder: Path, code: str, *before: str) -> str:
    """What a script printed, that had the shop and `folder`."""
    done = subprocess.run(
        [*before, sys.executable, "-c", SHOP + code, str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# In a namespace of its own, a process may mount what nobody else sees, and which goes with it.
MOUNTED = 'mount $OPTIONS "$0" && exec "$@"'


def mounted(folder: Path, options: str) -> tuple[str, ...]:
    """What a command line begins with, so that its process has something mounted on the folder."""
    return ("unshare", "-rm", "sh", "-c", MOUNTED.replace("$OPTIONS", options), str(folder))


@functools.cache
def may_mount() -> bool:
    if shutil.which("unshare") is None:
        return False
    there = subprocess.run(
        [*mounted(Path("/mnt"), "-t tmpfs none"), "true"], check=False, capture_output=True
    )
    return there.returncode == 0


needs_mount = pytest.mark.skipif(
    not may_mount(), reason="this user may mount nothing, not even in a namespace of its own"
)


# A full disk

FULL = """
ballast = Path(folder, "ballast")

def fill_by_ballast():
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while file.write(bytes(size)):
                    pass
            except OSError:
                pass

def fill_by_limit():
    resource.setrlimit(resource.RLIMIT_FSIZE, (used(), resource.RLIM_INFINITY))

def make_room_by_ballast():
    ballast.unlink()

def make_room_by_limit():
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

def used():
    return (Path(folder, "data.mdb").stat().st_blocks * 512) or 1

def refused(call):
    for attempt in range(200):
        try:
            call(attempt)
        except StoreFull as error:
            assert folder in str(error) and "free some space" in str(error), error
            return attempt
    raise AssertionError("the disk took everything")

def big(kind, attempt):
    return f"{kind}{attempt}", "y" * 50_000

with Runtime(folder, shop) as runtime:
    for n in range(5):
        runtime.ask(Place(f"before{n}"))
    runtime.settle(timeout=60)
    # Handlers are held up, so that what they make comes when there is no room.
    free.clear()
    runtime.tell_many([Place(f"told{n}") for n in range(5)])
    for n in range(5):
        runtime.publish(Placed(f"published{n}"), stream="feed::x-1")
    HOW()
    asked = refused(lambda n: runtime.ask(Place(*big("asked", n)), timeout=60))
    told = refused(lambda n: runtime.tell(Place(*big("later", n))))
    many = refused(lambda n: runtime.publish_many([Placed(*big("many", n))], stream="feed::x-1"))
    free.set()
    refused(lambda n: runtime.ask(Place(*big("again", n + asked)), timeout=60))
    # Some of them wait for room, and are made again until there is some.
    assert any(runtime.get(Order, f"{kind}{n}") is None
               for kind in ("told", "published") for n in range(5))
    # Reading goes on.
    assert runtime.get(Order, "before0").state["log"] == ["placed", "shipped"]
    MAKE_ROOM()
    runtime.settle(timeout=60)
    names = ["before", "told", "published"]
    for name in [f"{kind}{n}" for kind in names for n in range(5)]:
        assert runtime.get(Order, name).state["log"] == ["placed", "shipped"], name
    for kind, accepted in (("asked", asked), ("later", told), ("many", many)):
        for n in range(accepted):
            assert runtime.get(Order, f"{kind}{n}").state["log"] == ["placed", "shipped"]
        assert runtime.get(Order, f"{kind}{accepted}") is None
    assert list(runtime.parked()) == []
    runtime.ask(Place("after"))
    runtime.settle(timeout=60)
    assert runtime.get(Order, "after").state["log"] == ["placed", "shipped"]
    assert runtime.verify() == []
with Runtime(folder, shop) as runtime:
    runtime.settle(timeout=60)
    assert runtime.get(Order, "told4").state["log"] == ["placed", "shipped"]
    assert runtime.verify() == []
say("all is well")
"""


@needs_mount
def test_a_disk_that_fills_up_is_told_to_callers_and_everything_goes_on_when_there_is_room(
    tmp_path: Path,
) -> None:
    code = FULL.replace("HOW()", "fill_by_ballast()").replace("MAKE_ROOM", "make_room_by_ballast")
    said = run(tmp_path, code, *mounted(tmp_path, "-t tmpfs -o size=4m none"))
    assert said == "all is well\n"


def test_a_limit_on_the_size_of_files_is_told_to_callers_as_a_full_disk_is(tmp_path: Path) -> None:
    code = FULL.replace("HOW()", "fill_by_limit()").replace("MAKE_ROOM", "make_room_by_limit")
    assert run(tmp_path, code) == "all is well\n"


@needs_mount
def test_a_runtime_that_is_closed_while_the_disk_is_full_loses_nothing_of_what_was_acknowledged(
    tmp_path: Path,
) -> None:
    code = (
        FULL.partition("with Runtime")[0]
        + """
runtime = Runtime(folder, shop)
free.clear()
runtime.tell_many([Place(f"told{n}") for n in range(20)])
fill_by_ballast()
refused(lambda n: runtime.tell(Place(*big("later", n))))
free.set()
runtime.close()
make_room_by_ballast()
with Runtime(folder, shop) as runtime:
    runtime.settle(timeout=60)
    for n in range(20):
        assert runtime.get(Order, f"told{n}").state["log"] == ["placed", "shipped"]
    assert runtime.verify() == []
say("all is well")
"""
    )
    said = run(tmp_path, code, *mounted(tmp_path, "-t tmpfs -o size=4m none"))
    assert said == "all is well\n"


# Folders


@needs_mount
def test_a_folder_that_is_read_only_is_refused_for_writing_and_can_be_read(tmp_path: Path) -> None:
    run(tmp_path, "with Runtime(folder, shop) as r: r.ask(Place('o1')); r.settle(timeout=60)")
    code = """
for path in (folder, folder + "/below"):
    try:
        Runtime(path, shop)
    except StoreError as error:
        assert path in str(error) and "Read-only" in str(error), error
        say(type(error).__name__)
with Runtime(folder, shop, read_only=True) as runtime:
    say(runtime.get(Order, "o1").state["log"])
"""
    options = f'--bind "{tmp_path}" "{tmp_path}" && mount -o remount,bind,ro'
    said = run(tmp_path, code, *mounted(tmp_path, options))
    assert said == "StoreError\nStoreError\n['placed', 'shipped']\n"
    # A backup has no file but the data.
    (tmp_path / "lock.mdb").unlink()
    assert run(tmp_path, code, *mounted(tmp_path, options)) == said


@pytest.mark.skipif(os.getuid() != 0, reason="only the superuser can become somebody else")
def test_a_folder_of_somebody_else_is_refused() -> None:
    code = """
import tempfile
os.umask(0o022)
with tempfile.TemporaryDirectory() as here:
    os.chmod(here, 0o755)
    Path(here, "store").mkdir()
    pid = os.fork()
    if not pid:
        os.setuid(65534)
        for name in ("store", "none"):
            try:
                Runtime(Path(here, name), shop)
            except StoreError as error:
                assert str(Path(here, name)) in str(error) and "denied" in str(error), error
                say(type(error).__name__)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
"""
    assert run(Path("unused"), code) == "StoreError\nStoreError\n"


def test_a_path_below_a_file_is_refused_and_the_file_stays(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "file", tmp_path / "file" / "a" / "b"):
        with pytest.raises(StoreError, match="cannot be made") as caught:
            Runtime(path)
        assert str(path) in str(caught.value)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("path", ["a\0b", "x" * 300])
def test_a_path_that_no_file_system_has_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(StoreError, match="cannot be"):
        Runtime(tmp_path / path)


def test_a_file_of_something_else_is_refused_and_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "data.mdb").write_bytes(b"SQLite format 3\0" * 10_000)
    for read_only in (False, True):
        with pytest.raises(DamagedStore, match=r"data\.mdb"):
            Runtime(tmp_path, read_only=read_only)
    assert (tmp_path / "data.mdb").read_bytes() == b"SQLite format 3\0" * 10_000


# Other processes


def test_a_store_is_refused_while_another_process_has_it_and_opens_when_that_was_killed(
    tmp_path: Path,
) -> None:
    code = """
runtime = Runtime(folder, shop)
runtime.tell_many([Place(f"o{n}") for n in range(50)])
say("told")
sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", SHOP + code, str(tmp_path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        try:
            assert other.stdout.readline() == "told\n"
            with pytest.raises(LockedStore, match=f"by process {other.pid};"):
                Runtime(tmp_path)
        finally:
            other.kill()
        assert other.wait() == -signal.SIGKILL
    code = """
with Runtime(folder, shop) as runtime:
    runtime.settle(timeout=60)
    say(sum(one.state["log"] == ["placed", "shipped"] for one in runtime.find(Order)))
    assert runtime.verify() == []
"""
    assert run(tmp_path, code) == "50\n"


FORK = """
def in_child(call):
    pid = os.fork()
    if not pid:
        # The default action ends the child: what hangs is told from what answers.
        signal.alarm(20)
        try:
            say("returned", call())
        except ProcessionError as error:
            say(type(error).__name__, "fork" in str(error), folder in str(error))
        os._exit(0)
    return os.waitpid(pid, 0)[1]

runtime = Runtime(folder, shop)
runtime.publish(Placed("o1"), stream="feed::x-1", event_id="e1")
runtime.settle(timeout=60)
"""

CALLS = [
    "ask(Place('a'))",
    "ask(Place('a'), block=False)",
    "ask(Place('a'), command_id='c1')",
    "tell(Place('a'))",
    "tell_many([Place('a')])",
    "tell_many([])",
    "publish(Placed('o1'), stream='feed::x-1')",
    "publish_many([Placed('o1')], stream='feed::x-1')",
    "settle()",
    "get(Order, 'o1')",
    "get(Basket, 'o1')",
    "history(Order, 'o1')",
    "find(Order)",
    "events()",
    "parked()",
    "timeouts()",
    "trace('e1')",
    "why('e1')",
    "stuck(Order, timedelta(0))",
    "retry(1)",
    "skip(1)",
    "refresh(Order)",
    "refresh(Order, 'o1')",
    "move_timeout(Order, 'o1', 'late', timedelta(1))",
    "cancel_timeout(Order, 'o1', 'late')",
    "backup(folder + '-copy')",
    "verify()",
    "stats()",
    "close()",
    "__exit__(None, None, None)",
]


def test_a_forked_child_is_told_that_its_parents_runtime_is_not_its_own_whatever_it_calls(
    tmp_path: Path,
) -> None:
    listed = "".join(f"    lambda: runtime.{call},\n" for call in CALLS)
    code = f"""
calls = [
{listed}]
for call in calls:
    assert in_child(call) == 0
runtime.ask(Place("o2"))
runtime.settle(timeout=60)
say(runtime.get(Order, "o2").state["log"])
assert runtime.verify() == []
runtime.close()
"""
    *children, parent = run(tmp_path, FORK + code).splitlines()
    told = dict(zip(CALLS, children, strict=True))
    assert {call: said for call, said in told.items() if said != "ReadOnlyStore True True"} == {}
    assert parent == "['placed', 'shipped']"


def test_a_child_that_was_forked_while_handlers_run_and_locks_are_held_is_told_so_too(
    tmp_path: Path,
) -> None:
    code = """
free.clear()
runtime.tell_many([Place(f"o{n}") for n in range(20)])
store, engine = runtime._store, runtime._running
dispatcher, journal = engine.dispatcher, engine.journal
with store._engine._write_lock, journal.lock, dispatcher.lock, dispatcher._bell.lock:
    statuses = [in_child(call) for call in (
        lambda: runtime.ask(Place("a")), lambda: runtime.settle(), runtime.close)]
assert statuses == [0, 0, 0], statuses
free.set()
runtime.settle(timeout=60)
runtime.close()
"""
    assert run(tmp_path, FORK + code) == "ReadOnlyStore True True\n" * 3


def test_a_forked_child_that_ends_leaves_an_ephemeral_store_to_its_parent() -> None:
    code = """
runtime = Runtime.ephemeral(shop)
here = Path(runtime._path)
pid = os.fork()
if not pid:
    # As a program ends, with all that is to be done then.
    sys.exit(0)
assert os.waitpid(pid, 0)[1] == 0
say(here.is_dir())
runtime.ask(Place("o1"))
runtime.close()
say(here.is_dir())
"""
    assert run(Path("unused"), code) == "True\nFalse\n"
