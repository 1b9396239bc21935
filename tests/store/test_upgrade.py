"""A store of an older format becomes one of today's, whole, whenever it is cut short."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import lmdb
import pytest

from procession import Domain, Event, ProcessManager, Runtime, handle
from procession.cli import main
from procession.store import (
    FORMAT_VERSION,
    FROM_OUTSIDE,
    PRUNED,
    Append,
    CommandResult,
    CorruptRecord,
    DamagedStore,
    EventRecord,
    LmdbStore,
    LockedStore,
    Step,
    StoreError,
    UnknownFormat,
    upgrade,
    verify,
)
from procession.store.maintenance.rewriting import PARTIAL
from procession.testing import VirtualClock
from tests.store.described import row_of
from tests.store.format_1 import HELD, LATER, OUT, QUEUED, REFUSED, ROWS, T, number, own, write

ALL = 1_000
P = "shop.Orders"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "store"
    write(path, ROWS)
    return path


def test_a_store_of_format_1_is_refused_with_what_to_do(path: Path) -> None:
    content = (path / "data.mdb").read_bytes()
    for read_only in (False, True):
        with pytest.raises(UnknownFormat, match=f"has format 1, .*: procession upgrade {path}$"):
            LmdbStore(path, read_only=read_only)
    assert (path / "data.mdb").read_bytes() == content


def test_an_upgraded_store_is_sound_and_has_what_the_old_one_had(path: Path) -> None:
    assert upgrade(path)
    assert verify(path) == []
    assert sorted(file.name for file in path.iterdir()) == ["data.mdb", "lock.mdb", "writer.lock"]
    with LmdbStore(path) as store:
        log = store.read_log(0, ALL)
        assert [(one.stream, one.version, one.depth) for one in log] == [
            ("feed-1", 1, 0),
            ("gate-1", 1, 0),
            ("feed-1", 2, 0),
            ("gate-1", 2, 0),
            ("shop::pay-o1", 1, 1),
        ]
        assert store.read_stream("gate-1", 0, ALL) == [log[1], log[3]]
        history = store.read_transitions(P, "o1", 0, ALL)
        assert [(one.cause, one.seen) for one in history] == [
            ("given", 1),
            ("gate-1@1", 2),
            (REFUSED[0], 2),
            ("timeout:late", 2),
            ("operator", 2),
            ("shop::pay-o1@1", 5),
        ]
        assert history[0].commands == [(one[0], one[1], b"\x80") for one in (QUEUED, REFUSED, HELD)]
        assert history[-1].timers == {HELD[0]: LATER}
        queue = store.read_queue(0, ALL)
        assert [(one.sequence, one.command_id) for one in queue] == [
            (7, QUEUED[0]),
            (FROM_OUTSIDE + 1, OUT[0]),
        ]
        assert store.result_of("told") == CommandResult(refusal="no")
        assert store.checkpoint(P) == 5
        block, waiting = store.read_waiting(P, "o2", 0, ALL)
        assert block is not None
        assert (block.parked, waiting) == (1, [2])
        ((_, timer),) = list(store.scan_timers(LATER))
        assert timer.command is not None
        assert timer.command.command_id == HELD[0]
        assert store.read_index(P, "key", "k1") == ["o1"]
        assert [one.reason for one in store.read_refusals(0, ALL)] == ["no"]
        assert store.read_snapshot("gate-1") == (1, b"state")


def test_the_transitions_of_an_upgraded_store_say_where_their_events_are(path: Path) -> None:
    upgrade(path)
    with LmdbStore(path) as store:
        found = [one.position for one in store.read_transitions(P, "o1", 0, ALL)]
    assert found == [1, 2, 0, 0, 0, 5]


def test_transitions_are_numbered_by_time_and_those_of_one_instance_by_version(path: Path) -> None:
    upgrade(path)
    with lmdb.Environment(str(path), max_dbs=32, readonly=True) as env:
        db = env.open_db(b"transitions", create=False)
        with env.begin() as txn:
            rows = [(key, row_of("transitions", key, raw)) for key, raw in txn.cursor(db)]
    assert [key for key, _ in rows] == [number(place) for place in range(1, 10)]
    assert [(row.instance, row.version) for _, row in rows] == [
        ("o9", 1),
        *(("o1", version) for version in range(1, 7)),
        ("o0", 1),
        ("o0", 2),
    ]
    with LmdbStore(path) as store:
        assert [instance for instance, _ in store.scan_instances(P)] == ["o9", "o1", "o0"]
        assert [one.time for one in store.read_transitions(P, "o0", 0, ALL)] == [T + 1, T - 9]


def test_an_upgraded_store_has_all_names(path: Path) -> None:
    upgrade(path)
    with LmdbStore(path) as store:
        assert set(store.scan_names()) == {
            ("event", "shop.Placed.v1"),
            *(("command", f"shop.Do{n}.v1") for n in range(3)),
            ("command", "shop.Out.v1"),
            ("process", P),
        }


def test_the_errors_of_what_was_parked_are_called_as_they_are_now(path: Path) -> None:
    upgrade(path)
    with LmdbStore(path) as store:
        assert [one.error_type for one in list(store.scan_parked())] == [
            "procession.errors.EarlyEvent",
            "procession.store.errors.StoreFull",
        ]
        (decided,) = list(store.scan_parked(decided=True))
        assert (decided.error_type, decided.decision) == ("shop.OutOfStock", ("retry", T, "ann"))


def test_of_two_events_with_one_id_the_one_that_the_store_named_gets_another(path: Path) -> None:
    upgrade(path)
    with LmdbStore(path) as store:
        ids = [one.event_id for one in store.read_log(0, ALL)]
        assert ids == ["given", "gate-1@1", "gate-1@2", "gate-1@2+", "shop::pay-o1@1"]
        assert [store.position_of(event_id) for event_id in ids] == [1, 2, 3, 4, 5]
        event = EventRecord("shop.Placed.v1", "feed-1", 0, T, b"", "gate-1@3", "")
        later = EventRecord("shop.Placed.v1", "gate-1", 0, T, b"", "", "")
        store.commit(
            [
                Step(append=Append("feed-1", None, [event], unique=True)),
                Step(append=Append("gate-1", None, [later])),
            ]
        )
        assert later.event_id == "gate-1@3+"
    assert verify(path) == []


def test_a_store_of_todays_format_is_left_as_it_is(path: Path) -> None:
    assert upgrade(path)
    content = (path / "data.mdb").read_bytes()
    assert not upgrade(path)
    assert (path / "data.mdb").read_bytes() == content


# Format 1 knew no pruning, so what is pruned has today's format or was upgraded before.


class Placed(Event, name="shop.Placed.v1"):
    pass


class Orders(ProcessManager, name=P, retention=timedelta(days=1)):
    key: str = ""

    @handle(Placed, start=True, correlate=lambda event: "o9")
    def on_placed(self, event: Placed) -> None:
        self.mark_as_complete()


@pytest.fixture
def pruned(tmp_path: Path) -> Path:
    """An upgraded store, of which an instance that was complete and its event were pruned since."""
    ended = [*ROWS["transitions"][own("o9", 1)]]
    ended[2] = True
    few: dict[str, dict[bytes, Any]] = {table: {} for table in ROWS} | {
        "meta": ROWS["meta"],
        "log": {number(n): ROWS["log"][number(n)] for n in (1, 2)},
        "streams": {b"feed-1\0" + number(1): 1, b"gate-1\0" + number(1): 2},
        "event_ids": {b"given": 1},
        "transitions": {own("o9", 1): ended},
        "checkpoints": {P.encode(): 2},
    }
    path = tmp_path / "pruned"
    write(path, few)
    assert upgrade(path)
    domain = Domain("shop")
    domain.register(Placed, Orders)
    later = VirtualClock(datetime(2030, 1, 1, tzinfo=UTC))
    with Runtime(path, domain, clock=later, durability="none", control=False) as runtime:
        report = runtime.prune(before=datetime(2029, 1, 1, tzinfo=UTC))
        assert (report.instances, report.events) == (1, 1)
    return path


def test_what_was_upgraded_is_pruned_as_any_other(pruned: Path) -> None:
    assert verify(pruned) == []
    with LmdbStore(pruned) as store:
        # The newest event of all stays.
        assert [one.stream for one in store.read_log(0, ALL)] == ["gate-1"]
        [tombstone] = store.read_tombstones(0, ALL)
        assert (tombstone.stream, tombstone.version, tombstone.event_id) == ("feed-1", 1, "given")
        assert store.position_of("given") == 1
        assert store.last_version("feed-1") == 1
        assert [one.cause for one in store.read_transitions(P, "o9", 0, ALL)] == [PRUNED]


def test_a_pruned_store_is_left_as_it_is(pruned: Path) -> None:
    content = (pruned / "data.mdb").read_bytes()
    assert not upgrade(pruned)
    assert (pruned / "data.mdb").read_bytes() == content


def test_the_command_line_upgrades(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["upgrade", str(path)]) == 0
    assert main(["upgrade", str(path)]) == 0
    assert capsys.readouterr().out == (
        f"{path}: has format {FORMAT_VERSION} now\n{path}: has format {FORMAT_VERSION} already\n"
    )
    assert main(["upgrade", str(path / "nowhere")]) == 2
    assert "there is no store" in capsys.readouterr().err


# What is refused


def test_a_store_that_is_in_use_is_not_upgraded(path: Path) -> None:
    script = (
        "import fcntl, sys; lock = open(sys.argv[1], 'a'); fcntl.flock(lock, fcntl.LOCK_EX); "
        "print('locked', flush=True); sys.stdin.read()"
    )
    arguments = [sys.executable, "-c", script, str(path / "writer.lock")]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(LockedStore, match="already open for writing"):
            upgrade(path)
        other.communicate()
    assert upgrade(path)


def test_a_store_of_an_unknown_format_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "new", ROWS | {"meta": {b"format": 9}})
    with pytest.raises(UnknownFormat, match=f"format 9, .* turns format 1 into {FORMAT_VERSION}"):
        upgrade(tmp_path / "new")


def test_a_damaged_record_is_not_carried_over(path: Path) -> None:
    file = path / "data.mdb"
    file.write_bytes(file.read_bytes().replace(b"shop.OutOfStock", b"SHOP.OutOfStock"))
    content = file.read_bytes()
    with pytest.raises(CorruptRecord, match="of table 'decided'"):
        upgrade(path)
    assert file.read_bytes() == content
    assert not (path / PARTIAL).exists()


def test_a_file_that_is_no_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data.mdb").write_bytes(b"SQLite format 3\0" * 1_000)
    with pytest.raises(DamagedStore):
        upgrade(tmp_path)
    with pytest.raises(StoreError, match="there is no store"):
        upgrade(tmp_path / "nowhere")


# Cut short


CRASH = """
import os, pathlib, sys
import procession.store.lmdb.environment as environment
import procession.store.maintenance.rewriting as rewriting
import procession.store.maintenance.sorting as sorting
import procession.store.maintenance.upgrade as upgrading

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
elif moment == "while it sorts":
    crash_at(sorting.Sorter, "put", 2, after=True)
elif moment == "before the sync":
    crash_at(upgrading, "sync_file", 1)
elif moment == "before the new file has its name":
    crash_at(pathlib.Path, "replace", 1)
elif moment == "when the new file has its name":
    crash_at(pathlib.Path, "replace", 1, after=True)
else:
    crash_at(environment, "sync_folder", 1, after=True)
upgrading.upgrade(sys.argv[1])
"""


@pytest.mark.parametrize(
    ("moment", "is_new"),
    [
        ("while it writes", False),
        ("while it sorts", False),
        ("before the sync", False),
        ("before the new file has its name", False),
        ("when the new file has its name", True),
        ("at the end", True),
    ],
)
def test_a_crash_leaves_the_old_store_or_the_new_one_whole(
    path: Path, moment: str, *, is_new: bool
) -> None:
    ended = subprocess.run([sys.executable, "-c", CRASH, str(path), moment], check=False)
    assert ended.returncode == 9
    assert upgrade(path) == (not is_new)
    assert sorted(file.name for file in path.iterdir()) == ["data.mdb", "lock.mdb", "writer.lock"]
    assert verify(path) == []
    with LmdbStore(path) as store:
        assert store.last_position() == 5
        found: Any = store.last_transition(P, "o1")
        assert found.version == 6


def test_the_sample_has_rows_in_every_table() -> None:
    assert all(ROWS.values())
    assert ROWS["log"].keys() == {number(position) for position in range(1, 6)}
