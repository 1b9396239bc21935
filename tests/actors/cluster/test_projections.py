"""Projections of a divided store: each partition has a checkpoint, and all have the tables."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from procession import Domain, Event, Projection, Retry, Runtime, StoreError, project
from procession.projections import DbApi
from tests.actors.cluster.tables import PLACE, Keys, Placed, connect, tables

WAIT = 30
KEYS = [f"k{number}" for number in range(12)]


class Counted(Event):
    key: str


def made(path: Path, bad: set[str]) -> tuple[Domain, type[Projection], Callable[[], list[str]]]:
    domain = Domain("shop")

    @domain.projection
    class Keys(
        Projection,
        database=DbApi(lambda: sqlite3.connect(path, timeout=WAIT)),
        tables=["keys"],
        retry=Retry(attempts=1),
    ):
        def create(self) -> None:
            keys = self.table("keys")
            self.db.execute(f"create table if not exists {keys} (key text primary key)")

        @project(Counted)
        def counted(self, event: Counted) -> None:
            if event.key in bad:
                raise ValueError(event.key)
            self.db.execute(f"insert into {self.table('keys')} values (?)", (event.key,))

    def rows() -> list[str]:
        with sqlite3.connect(path, timeout=WAIT) as connection:
            found = [key for (key,) in connection.execute("select key from keys order by key")]
        connection.close()
        return found

    return domain, Keys, rows


def test_all_partitions_write_the_same_tables_and_make_them_anew_together(tmp_path: Path) -> None:
    bad = {"k3"}
    domain, keys, rows = made(tmp_path / "tables.db", bad)
    with Runtime(tmp_path / "store", domain, partitions=3) as runtime:
        positions = {key: runtime.publish(Counted(key), stream=f"shop::sum-{key}") for key in KEYS}
        runtime.settle(WAIT)
        assert rows() == sorted({*KEYS} - bad)
        assert runtime.health().projections_backlog == {"shop.Keys": 0}
        (parked,) = runtime.parked()
        bad.clear()
        runtime.retry(parked.id)
        runtime.settle(WAIT)
        assert rows() == sorted(KEYS)
        progress = runtime.rebuild(keys)
        assert progress.projected == len(KEYS)
        assert rows() == sorted(KEYS)
        new = runtime.publish(Counted("new"), stream="shop::sum-new")
        assert runtime.read(keys, after=new, stream="shop::sum-new", timeout=WAIT) >= new
        assert "new" in rows()
        runtime.read(keys, timeout=WAIT)
        with pytest.raises(ValueError, match="say in whose stream"):
            runtime.read(keys, after=positions["k1"])


def test_partitions_go_on_from_their_own_checkpoints(tmp_path: Path) -> None:
    domain, keys, rows = made(tmp_path / "tables.db", set())
    for some in (KEYS[:6], KEYS[6:]):
        with Runtime(tmp_path / "store", domain, partitions=3) as runtime:
            for key in some:
                runtime.publish(Counted(key), stream=f"shop::sum-{key}")
            runtime.read(keys, timeout=WAIT)
    assert rows() == sorted(KEYS)


def test_where_another_process_runs_partitions_making_tables_anew_is_refused_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PLACE, str(tmp_path / "tables.db"))

    def said(query: str) -> list[str]:
        connection = connect()
        found = [one for (one,) in connection.execute(query)]
        connection.close()
        return found

    names = "select name from sqlite_master order by name"
    with Runtime(tmp_path / "store", tables, partitions=2, processes=2) as runtime:
        runtime.publish_many([Placed(key) for key in KEYS], stream=lambda one: f"web-{one.key}")
        runtime.read(Keys, timeout=WAIT)
        before = said(names)
        with pytest.raises(StoreError, match="have one process run all of them"):
            runtime.rebuild(Keys)
        assert said(names) == before
        assert said("select key from keys order by key") == sorted(KEYS)
    with Runtime(tmp_path / "store", tables) as runtime:
        assert runtime.rebuild(Keys).projected == len(KEYS)
