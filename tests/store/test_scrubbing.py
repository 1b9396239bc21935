"""A scrub looks at every row again and again, a few at a time, and says which are damaged."""

from collections.abc import Callable
from itertools import count
from pathlib import Path

import lmdb
import pytest

from procession.store import Append, DamagedStore, EventRecord, LmdbStore, Step, StoreFinding
from procession.store.verify.scrubbing import MOST_AT_ONCE, scrub
from procession.store.verify.verify import verify_path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with LmdbStore(tmp_path / "store", durability="none") as store:
        events = [EventRecord("T.E.v1", "s-1", 0, 1, b"\x80", "", "") for _ in range(600)]
        store.commit([Step(append=Append("s-1", None, events))])
    return tmp_path / "store"


def damage(path: Path, table: bytes, key: bytes) -> None:
    with lmdb.Environment(str(path), max_dbs=32) as env:
        db = env.open_db(table)
        with env.begin(write=True) as txn:
            raw = txn.get(key, db=db)
            assert raw is not None
            txn.put(key, raw[:-1] + bytes([raw[-1] ^ 1]), db=db)


def passes(
    path: Path, number: int, rate: int = 1_000, meanwhile: Callable[[int], object] = lambda _: None
) -> tuple[list[StoreFinding], list[int], list[float]]:
    """What so many passes find, how many rows each has, and the pauses."""
    found: list[StoreFinding] = []
    rows: list[int] = []
    pauses: list[float] = []

    def pause(seconds: float) -> bool:
        meanwhile(len(pauses))
        pauses.append(seconds)
        return len(rows) < number

    scrub(path, rate, pause=pause, found=found.append, passed=rows.append)
    return found, rows, pauses


def test_a_pass_looks_at_every_row_that_verify_looks_at(path: Path) -> None:
    checked = sum(verify_path(path).checked.values())
    assert passes(path, 2)[:2] == ([], [checked, checked])


def test_what_is_damaged_is_found_in_every_pass_and_nothing_behind_it_is_passed_by(
    path: Path,
) -> None:
    for position in (1, 300, 600):
        damage(path, b"log", position.to_bytes(8, "big"))
    found, rows, _ = passes(path, 2)
    assert [(one.table, one.key) for one in found] == [("log", n) for n in ("1", "300", "600")] * 2
    assert "checksum" in found[0].problem
    assert len(rows) == 2


@pytest.mark.parametrize("rate", [1, 7, 100, 10_000])
def test_it_pauses_so_that_no_second_has_more_rows(path: Path, rate: int) -> None:
    _, (rows,), pauses = passes(path, 1, rate)
    assert sum(pauses[:-1]) == pytest.approx(rows / rate)
    assert pauses[-1] == 1.0
    assert max(pauses[:-1]) <= max(1.0, MOST_AT_ONCE / rate)


def test_the_writer_goes_on_and_what_it_adds_is_seen(path: Path) -> None:
    numbers = count(1)
    with LmdbStore(path, durability="none") as writer:

        def write(_: int) -> None:
            event = EventRecord("T.E.v1", "s-1", 0, 1, b"\x80", "", "")
            if next(numbers) <= 20:
                writer.commit([Step(append=Append("s-1", None, [event]))])

        found, (first, second), _ = passes(path, 2, 100, write)
    assert found == []
    assert second > first


def test_a_table_that_cannot_be_read_is_a_finding_and_the_others_are_read(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = LmdbStore.rows_from

    def refuse(store: LmdbStore, table: str, start: bytes, limit: int) -> object:
        if table == "log":
            raise DamagedStore("LMDB cannot read on")
        return rows(store, table, start, limit)

    monkeypatch.setattr(LmdbStore, "rows_from", refuse)
    found, (there,), _ = passes(path, 1)
    assert found == [StoreFinding("log", "", "LMDB cannot read on")]
    assert there > 600
