"""The numbers that an operator asks of a store, and what LMDB says of its readers."""

from pathlib import Path

import pytest

from procession.store import (
    MOST_OVERDUE,
    LastBackup,
    LmdbStore,
    OldestReader,
    Step,
    StepExtras,
    TimerRecord,
)
from procession.store.gauges import last_backup_from, last_backup_to
from procession.store.layout.frames import frame
from procession.store.layout.schema import LAST_BACKUP
from procession.store.lmdb.file_gauges import oldest_of
from procession.store.verify.verify import verify_open

HEAD = "    pid     thread     txnid\n"


@pytest.mark.parametrize(
    ("listing", "oldest"),
    [
        ("(no active readers)\n", None),
        (HEAD, None),
        (HEAD + "  12 7f2a919bab80 -\n", None),
        (HEAD + "  12 7f2a919bab80 40\n", None),
        (HEAD + "  12 7f2a919bab80 38\n  13 7f2a919bab81 30\n  12 7f -\n", OldestReader(13, 10)),
    ],
)
def test_the_oldest_reader_is_the_one_that_is_the_most_commits_behind(
    listing: str, oldest: OldestReader | None
) -> None:
    assert oldest_of(listing, 40) == oldest


@pytest.mark.parametrize("path", ["/a", "/with a space/b", "/\\xff"])
def test_a_backup_reads_back_as_it_was_noted(tmp_path: Path, path: str) -> None:
    backup = LastBackup(1_700_000_000_000_000, path)
    assert last_backup_from(last_backup_to(backup)) == backup
    with LmdbStore(tmp_path) as store:
        store.note_backup(backup)
        store.commit([Step()], {"router": 0})
        assert store.gauges(0).last_backup == backup
        assert verify_open(store, now=lambda: 0).findings == []
    with LmdbStore(tmp_path) as store:
        assert store.gauges(0).last_backup == backup


@pytest.mark.parametrize("said", ["", "7", "7 ", "-7 /a", "soon /a", f"{10**18} /a"])
def test_what_is_no_backup_is_none(said: str) -> None:
    assert last_backup_from(said) is None


def test_a_note_of_a_backup_that_is_none_is_found_by_verify(tmp_path: Path) -> None:
    with LmdbStore(tmp_path) as store:
        store._file.commit({"meta": {LAST_BACKUP: frame(LAST_BACKUP, "soon")}}, {})
        (found,) = verify_open(store, now=lambda: 0).findings
        assert "is no moment and folder" in str(found)


def test_overdue_timers_are_counted_up_to_a_bound(tmp_path: Path) -> None:
    timers = [TimerRecord(5 + n, "p", f"i{n}", "t", "retry") for n in range(MOST_OVERDUE + 10)]
    with LmdbStore(tmp_path, durability="none") as store:
        store.commit([Step(process="p", instance="i", extras=StepExtras(timers=timers))])
        assert store.gauges(4).overdue == 0
        assert (store.gauges(6).overdue, store.gauges(6).oldest_due) == (2, 5)
        assert store.gauges(10**6).overdue == MOST_OVERDUE
