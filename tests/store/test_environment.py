"""Files, locks, other processes, and a disk that is full."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from procession.store import (
    Append,
    Committed,
    DamagedStore,
    EventRecord,
    LmdbStore,
    LockedStore,
    Step,
    StoreError,
)

ALL = 1_000_000
ROOT = Path(__file__).parents[2]

PREAMBLE = """
import os, resource, sys
from procession.store import *
folder = sys.argv[1]

def append(*data):
    events = [EventRecord("T", "s", 0, 0, item, "", "") for item in data]
    return Step(append=Append("s", None, events))

def say(*words):
    print(*words, flush=True)
"""


def append(*data: bytes) -> Step:
    return Step(
        append=Append("s", None, [EventRecord("T", "s", 0, 0, item, "", "") for item in data])
    )


def fast(folder: Path) -> LmdbStore:
    return LmdbStore(folder, durability="none", map_size=1 << 16)


def in_another_process(folder: Path, code: str) -> str:
    """What a script printed, that had the store's names and `folder`."""
    done = subprocess.run(
        [sys.executable, "-c", PREAMBLE + code, str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


class Companion:
    """Another process that answers one line for each line it gets."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.pid = process.pid
        self.stdin: IO[str] = process.stdin
        self.stdout: IO[str] = process.stdout

    def ask(self, expression: str) -> str:
        self.stdin.write(expression + "\n")
        self.stdin.flush()
        return self.hear()

    def hear(self) -> str:
        return self.stdout.readline().strip()


@contextmanager
def companion(folder: Path, code: str) -> Iterator[Companion]:
    with subprocess.Popen(
        [sys.executable, "-c", PREAMBLE + code, str(folder)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Companion(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            assert process.wait() == 0


ANSWER = """
say("ready")
for line in sys.stdin:
    say(eval(line))
"""


# One writer


def test_a_second_writer_in_the_same_process_is_refused_at_once(tmp_path: Path) -> None:
    with fast(tmp_path) as store:
        with pytest.raises(LockedStore, match=f"by process {os.getpid()};"):
            fast(tmp_path)
        assert store.commit([append(b"1")]) == [Committed()]
    fast(tmp_path).close()


def test_a_second_writer_through_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "store")
    with fast(tmp_path / "store"), pytest.raises(LockedStore):
        fast(tmp_path / "link")


def test_a_second_writer_in_another_process_is_refused_at_once(tmp_path: Path) -> None:
    with fast(tmp_path):
        said = in_another_process(
            tmp_path, "try: LmdbStore(folder)\nexcept LockedStore as error: say(error)"
        )
    assert str(tmp_path) in said
    assert f"by process {os.getpid()};" in said


def test_the_refusal_names_the_other_process(tmp_path: Path) -> None:
    with companion(tmp_path, "store = LmdbStore(folder)" + ANSWER) as other:
        assert other.hear() == "ready"
        with pytest.raises(LockedStore, match=f"by process {other.pid};"):
            fast(tmp_path)
    fast(tmp_path).close()


def test_a_writer_that_died_leaves_no_lock(tmp_path: Path) -> None:
    said = in_another_process(
        tmp_path, "store = LmdbStore(folder); store.commit([append(b'1')]); say('1'); os._exit(0)"
    )
    assert said == "1\n"
    with fast(tmp_path) as store:
        assert store.last_position() == 1


def test_a_refused_opening_leaves_no_lock(tmp_path: Path) -> None:
    fast(tmp_path).close()
    content = (tmp_path / "data.mdb").read_bytes()
    (tmp_path / "data.mdb").write_bytes(b"")
    with pytest.raises(DamagedStore):
        fast(tmp_path)
    (tmp_path / "data.mdb").write_bytes(content)
    fast(tmp_path).close()


def test_a_store_open_for_reading_cannot_be_opened_for_writing_beside_it(tmp_path: Path) -> None:
    fast(tmp_path).close()
    with LmdbStore(tmp_path, read_only=True):
        with pytest.raises(LockedStore, match="open it for writing first"):
            fast(tmp_path)
        LmdbStore(tmp_path, read_only=True).close()
    fast(tmp_path).close()


# Reading from another process


def test_a_reader_in_another_process_sees_each_commit_and_follows_the_growing_map(
    tmp_path: Path,
) -> None:
    reading = "store = LmdbStore(folder, read_only=True)" + ANSWER
    with fast(tmp_path) as store, companion(tmp_path, reading) as reader:
        assert reader.hear() == "ready"
        assert reader.ask("store.last_position()") == "0"
        for n in range(1, 41):
            store.commit([append(bytes(100_000))])
            assert reader.ask("store.last_position()") == str(n)
        assert reader.ask("sum(len(e.data) for e in store.read_log(0, 1000))") == "4000000"


def test_a_writer_in_another_process_can_be_read_from_here(tmp_path: Path) -> None:
    writing = "store = LmdbStore(folder, map_size=1 << 16)" + ANSWER
    with companion(tmp_path, writing) as writer:
        assert writer.hear() == "ready"
        with LmdbStore(tmp_path, read_only=True) as reader:
            for n in range(1, 11):
                assert writer.ask("store.commit([append(bytes(100_000))])") == "[Committed()]"
                assert reader.read_log(n - 1, ALL)[0].position == n


# Damaged files


def damaged(how: str, content: bytes) -> bytes:
    half = len(content) // 2
    return {
        "empty": b"",
        "one byte": content[:1],
        "one page": content[:4096],
        "two pages": content[:8192],
        "half": content[: half - half % 4096],
        "half a page too short": content[:-2048],
        "an odd number of bytes": content[: half + 123],
        "random bytes": bytes((n * 73 + 5) % 251 for n in range(50_000)),
        "text": b"this is no store\n" * 1_000,
        "zeros": bytes(100_000),
    }[how]


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize(
    "how",
    [
        "empty",
        "one byte",
        "one page",
        "two pages",
        "half",
        "half a page too short",
        "an odd number of bytes",
        "random bytes",
        "text",
        "zeros",
    ],
)
def test_a_damaged_file_is_refused_and_stays_as_it_is(
    tmp_path: Path, how: str, *, read_only: bool
) -> None:
    file = tmp_path / "data.mdb"
    with fast(tmp_path) as store:
        store.commit([append(*[bytes(5_000)] * 100)])
    whole = file.read_bytes()
    broken = damaged(how, whole)
    file.write_bytes(broken)
    with pytest.raises(DamagedStore, match=r"data\.mdb"):
        LmdbStore(tmp_path, read_only=read_only)
    assert file.read_bytes() == broken
    file.write_bytes(whole)
    with LmdbStore(tmp_path, read_only=read_only) as store:
        assert len(store.read_log(0, ALL)) == 100


def test_a_path_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StoreError, match="cannot be made"):
        fast(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


def test_the_folders_above_a_new_store_are_made(tmp_path: Path) -> None:
    fast(tmp_path / "a" / "b").close()
    assert sorted(file.name for file in (tmp_path / "a" / "b").iterdir()) == [
        "data.mdb",
        "lock.mdb",
        "writer.lock",
    ]


# A full disk

FILL = """
def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

def fill(size):
    '''Commit until there is no room; each event says which it is.'''
    while True:
        n = store.last_position() + 1
        try:
            store.commit([append(b"%d " % n + bytes(size))], {"P": n})
        except StoreFull as error:
            assert folder in str(error), error
            return n - 1
"""


@pytest.mark.parametrize("size", [100, 3_000, 100_000])
@pytest.mark.parametrize("durability", ["fsync", "none"])
def test_a_full_disk_is_reported_and_harms_nothing_that_was_committed(
    tmp_path: Path, size: int, durability: str
) -> None:
    code = f"""
store = LmdbStore(folder, durability="{durability}", map_size=1 << 16)
store.commit([append(*(b"%d " % n for n in range(1, 51)))], {{"P": 50}})
limit(os.stat(folder + "/data.mdb").st_size + 300_123)
say(fill({size}))
assert len(store.read_log(0, 10 ** 6)) == store.last_position()
os._exit(0)
"""
    last = int(in_another_process(tmp_path, FILL + code))
    assert last >= 50
    with fast(tmp_path) as store:
        assert store.last_position() == store.checkpoint("P") == last
        events = store.read_log(0, ALL)
        assert [int(event.data.split()[0]) for event in events] == list(range(1, last + 1))
        assert [event.version for event in store.read_stream("s", 0, ALL)] == list(
            range(1, last + 1)
        )


def test_a_store_goes_on_without_a_gap_once_there_is_room_again(tmp_path: Path) -> None:
    code = """
store = LmdbStore(folder, map_size=1 << 16)
limit(200_000)
last = fill(3_000)
assert fill(3_000) == last
limit(resource.RLIM_INFINITY)
store.commit([append(b"%d " % (last + 1))])
store.close()
say(last + 1)
"""
    last = int(in_another_process(tmp_path, FILL + code))
    with fast(tmp_path) as store:
        events = store.read_log(0, ALL)
        assert [int(event.data.split()[0]) for event in events] == list(range(1, last + 1))


# Forks

IN_CHILD = """
def in_child(work):
    pid = os.fork()
    if pid:
        _, status = os.waitpid(pid, 0)
        assert status == 0, status
        return
    try:
        work()
    except StoreError as error:
        say(type(error).__name__, error)
    os._exit(0)
"""


@pytest.mark.parametrize(
    "call",
    [
        "commit([append(b'2')])",
        "read_log(0, 1)",
        "last_position()",
        "last_sequences()",
        "last_waiting('P', 'a')",
    ],
)
def test_a_forked_child_may_not_use_the_store_of_its_parent(tmp_path: Path, call: str) -> None:
    code = f"""
store = LmdbStore(folder)
store.commit([append(b"1")])
in_child(lambda: store.{call})
store.commit([append(b"3")])
store.close()
"""
    said = in_another_process(tmp_path, IN_CHILD + code)
    assert said.startswith(f"ReadOnlyStore the store at {tmp_path} was opened by another process")
    with fast(tmp_path) as store:
        assert [event.data for event in store.read_log(0, ALL)] == [b"1", b"3"]


def test_a_child_forked_in_the_middle_of_a_commit_does_not_hang(tmp_path: Path) -> None:
    code = """
store = LmdbStore(folder)
with store._file._write_lock:
    in_child(lambda: store.commit([append(b"2")]))
    in_child(lambda: store.close())
store.commit([append(b"3")])
"""
    said = in_another_process(tmp_path, IN_CHILD + code)
    assert said.startswith("ReadOnlyStore")
    assert said.count("\n") == 1


def test_a_forked_child_that_closes_the_store_does_not_close_its_parents(tmp_path: Path) -> None:
    code = """
store = LmdbStore(folder)
in_child(store.close)
store.commit([append(b"1")])
try:
    LmdbStore(folder)
except LockedStore:
    say("still locked")
"""
    assert in_another_process(tmp_path, IN_CHILD + code) == "still locked\n"


def test_a_forked_child_cannot_open_the_store_anew_and_is_told_why(tmp_path: Path) -> None:
    code = """
store = LmdbStore(folder)
in_child(lambda: LmdbStore(folder))
in_child(lambda: LmdbStore(folder, read_only=True))
"""
    writing, reading = in_another_process(tmp_path, IN_CHILD + code).splitlines()
    assert writing.startswith("LockedStore")
    assert reading.startswith("LockedStore")
    assert "fork" in reading


def test_a_child_forked_before_the_store_was_opened_may_read_it(tmp_path: Path) -> None:
    fast(tmp_path).close()
    code = """
LmdbStore(folder).close()
in_child(lambda: say(LmdbStore(folder, read_only=True).last_position()))
"""
    assert in_another_process(tmp_path, IN_CHILD + code) == "0\n"


@pytest.mark.parametrize("end", ["os._exit(0)", "store.close(); os._exit(0)"])
def test_the_lock_of_a_parent_does_not_live_on_in_a_forked_child(tmp_path: Path, end: str) -> None:
    code = f"""
store = LmdbStore(folder)
ready, told = os.pipe()
if os.fork() == 0:
    os.write(told, b"x")
    sys.stdin.read()
    say("child ends")
    os._exit(0)
os.read(ready, 1)
say("parent ends")
{end}
"""
    with companion(tmp_path, code) as parent:
        assert parent.hear() == "parent ends"
        # Its end is certain once it has been waited for; the child is still there.
        os.waitid(os.P_PID, parent.pid, os.WEXITED | os.WNOWAIT)
        with fast(tmp_path) as store:
            store.commit([append(b"1")])
        parent.stdin.close()
        assert parent.hear() == "child ends"


def test_a_kill_in_a_commit_that_frees_pages_at_the_end_leaves_a_store_that_opens(
    tmp_path: Path,
) -> None:
    program = """
import os, sys
from procession.store import CommandRecord, LmdbStore, Step
store = LmdbStore(sys.argv[1])
several = [
    CommandRecord("c", "t", "s-1", 1, b"x" * 5_000, "c", None, "p", "i", 1) for _ in range(5)
]
store.commit([Step(enqueue=several), *(Step(take=n) for n in range(1, 6))])
os._exit(9)
"""
    subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], check=False, cwd=Path(__file__).parents[2]
    )
    with LmdbStore(tmp_path) as store:
        assert store.read_queue(0, 10) == []


def test_a_store_whose_map_cannot_grow_says_so_and_goes_on_as_far_as_it_can(tmp_path: Path) -> None:
    code = """
store = LmdbStore(folder, durability="none", map_size=1 << 20)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (40 << 20), resource.RLIM_INFINITY))
# Who reads for long asks for more than there is, and gets along without.
with store.snapshot():
    store.commit([append(b"first")])
committed = 1
try:
    while True:
        store.commit([append(bytes(500_000))])
        committed += 1
except StoreFull as error:
    assert "cannot grow beyond" in str(error), error
assert committed > 10
assert len(store.read_log(committed - 2, 9)) == 2
assert store.last_position() == committed
store.commit([append(b"last")])
say(committed)
"""
    last = int(in_another_process(tmp_path, code))
    with fast(tmp_path) as store:
        assert store.last_position() == last + 1
