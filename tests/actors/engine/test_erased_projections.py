"""What is erased or pruned in the store, and the tables of projections."""

import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import Literal

from procession import Domain, Event, ProcessManager, Projection, Runtime, handle, project
from procession.projections import DbApi
from procession.testing import VirtualClock

WAIT = 30


class Named(Event):
    key: str
    name: str


def domain_with(path: Path) -> tuple[Domain, type[Projection]]:
    domain = Domain("people")
    domain.register(Named)

    @domain.register
    class Welcome(ProcessManager, correlate="key"):
        @handle(Named, start=True, end=True)
        def named(self, event: Named) -> None:
            pass

    class Names(Projection, database=DbApi(lambda: sqlite3.connect(path)), tables=["names"]):
        def create(self) -> None:
            names = self.table("names")
            self.db.execute(f"create table if not exists {names} (stream text, name text)")

        @project(Named)
        def named(self, event: Named) -> None:
            row = (self.context.stream, event.name)
            self.db.execute(f"insert into {self.table('names')} values (?, ?)", row)

        def erase(
            self, kind: Literal["instance", "stream", "subject"], process: str, name: str
        ) -> None:
            del kind, process
            self.db.execute(f"delete from {self.table('names')} where stream = ?", (name,))

    domain.projection(Names)
    return domain, Names


def names_in(path: Path) -> list[str]:
    connection = sqlite3.connect(path)
    found = connection.execute("select name from names order by name").fetchall()
    connection.close()
    return [name for (name,) in found]


def name_two(runtime: Runtime) -> None:
    for key, name in (("a", "Ann"), ("b", "Ben")):
        runtime.publish(Named(key, name), stream=f"names-{key}")


def test_a_projection_takes_out_of_its_tables_what_is_erased(tmp_path: Path) -> None:
    path = tmp_path / "tables.db"
    domain, names = domain_with(path)
    with Runtime(tmp_path / "store", domain, durability="none") as runtime:
        name_two(runtime)
        runtime.read(names, timeout=WAIT)
        assert names_in(path) == ["Ann", "Ben"]
        runtime.erase(stream="names-a", by="dpo")
        assert names_in(path) == ["Ben"]
        # What was erased says nothing to those who come later.
        runtime.rebuild(names)
        assert names_in(path) == ["Ben"]
        assert list(runtime.parked()) == []


def test_a_projection_that_is_made_anew_over_a_pruned_log_has_what_is_left(tmp_path: Path) -> None:
    path, clock = tmp_path / "tables.db", VirtualClock()
    domain, names = domain_with(path)
    with Runtime(tmp_path / "store", domain, clock=clock, durability="none") as runtime:
        name_two(runtime)
        runtime.read(names, timeout=WAIT)
        clock.advance(timedelta(seconds=1))
        # The last event of the log stays.
        assert runtime.prune(before=clock.now()).events == 1
        assert names_in(path) == ["Ann", "Ben"]
        runtime.rebuild(names)
        assert names_in(path) == ["Ben"]


def test_nothing_is_pruned_that_a_projection_has_not_seen(tmp_path: Path) -> None:
    path, clock = tmp_path / "away" / "tables.db", VirtualClock()
    domain, names = domain_with(path)
    with Runtime(tmp_path / "store", domain, clock=clock, durability="none") as runtime:
        name_two(runtime)
        clock.advance(timedelta(seconds=1))
        assert runtime.prune(before=clock.now()).events == 0
        path.parent.mkdir()
        clock.advance(timedelta(seconds=10))
        runtime.read(names, timeout=WAIT)
        assert names_in(path) == ["Ann", "Ben"]
        assert runtime.prune(before=clock.now()).events == 1
