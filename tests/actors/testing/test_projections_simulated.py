"""Projections under simulation: whatever goes wrong, in whatever order, a table is a fold."""

import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest

from procession import Domain, Event, ProcessManager, Projection, Retry, after, handle, project
from procession.model.registry import Registry
from procession.projections import DbApi, Documents
from procession.queries.documents import DocumentReader
from procession.testing import Publish, Scenario, Simulation

KEYS = ("a", "b", "c")
PRIME = 1_000_003
FAULTS = ("order", "crash", "commit", "duplicate", "sleep")


class Counted(Event):
    key: str
    value: int


class Table:
    """A domain with a projection, and what is in its table."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.domain = Domain("shop")
        self.late: list[int] = []
        calls = 0

        def connect() -> sqlite3.Connection:
            return sqlite3.connect(path)

        @self.domain.projection
        class Sums(
            Projection,
            database=DbApi(connect),
            tables=["sums"],
            retry=Retry(attempts=9, first=timedelta(seconds=1)),
        ):
            def create(self) -> None:
                sums = self.table("sums")
                self.db.execute(f"create table if not exists {sums} (key text primary key, n int)")

            @project(Counted)
            def counted(self, event: Counted) -> None:
                nonlocal calls
                calls += 1
                if event.key == "c" and calls % 3 == 0:
                    raise OSError("now and then")
                self.db.execute(
                    f"insert into {self.table('sums')} values (?, ?) "
                    f"on conflict (key) do update set n = (n * 3 + excluded.n) % {PRIME}",
                    (event.key, event.value),
                )

        late, rows = self.late, self.rows

        @self.domain.register
        class Reader(ProcessManager, correlate="key"):
            order: int = 0

            @handle(Counted, start=True)
            def counted(self, event: Counted) -> None:
                self.order += 1

            @after(Counted)
            def read(self, event: Counted) -> None:
                if event.key not in rows() and event.key != "c":
                    late.append(event.value)

        self.reader = Reader

    def rows(self) -> dict[str, int]:
        with sqlite3.connect(self.path) as connection:
            found = dict(connection.execute("select key, n from sums").fetchall())
        connection.close()
        return found


def program(count: int) -> list[Publish]:
    """Events in a stream for each key, of which one fails now and then."""
    return [
        Publish(Counted(KEYS[number % 3], number), stream=f"shop::sum-{KEYS[number % 3]}")
        for number in range(count)
    ]


def fold(simulation: Simulation) -> dict[str, int]:
    found: dict[str, int] = {}
    for stored in simulation.events():
        event = stored.event
        assert isinstance(event, Counted)
        before = found.get(event.key)
        found[event.key] = event.value if before is None else (before * 3 + event.value) % PRIME
    return found


@pytest.mark.parametrize("seed", range(6))
def test_a_table_equals_a_fold_of_the_log_whatever_happens(tmp_path: Path, seed: int) -> None:
    table = Table(tmp_path / "tables.db")
    with Simulation(table.domain, program=program(12), seed=seed, faults=FAULTS) as simulation:
        simulation.run()
        assert simulation.verify() == []
        assert not list(simulation.parked())
        assert table.rows() == fold(simulation)
        assert table.late == []


@pytest.mark.parametrize("seed", range(3))
def test_a_table_equals_a_fold_of_the_log_however_the_clock_moves(
    tmp_path: Path, seed: int
) -> None:
    table = Table(tmp_path / "tables.db")
    # After-effects may go on without the table: it is late, by this clock.
    faults = (*FAULTS, "time")
    with Simulation(table.domain, program=program(9), seed=seed, faults=faults) as simulation:
        simulation.run()
        assert table.rows() == fold(simulation)


def test_the_same_seed_gives_the_same_run(tmp_path: Path) -> None:
    told: list[list[str]] = []
    for number in range(2):
        table = Table(tmp_path / f"tables-{number}.db")
        with Simulation(table.domain, program=program(6), seed=5, faults=FAULTS) as simulation:
            simulation.run()
            told.append(simulation.happened)
    assert told[0] == told[1]


def test_a_scenario_goes_past_projections(tmp_path: Path) -> None:
    table = Table(tmp_path / "tables.db")
    Scenario(table.domain, table.reader).when(Counted("a", 1)).state(order=1)
    assert not table.path.exists()


class Kept:
    """A domain with a projection that keeps documents."""

    def __init__(self) -> None:
        self.domain = Domain("shop")
        calls = 0

        @self.domain.projection
        class Sums(
            Projection,
            database=Documents(int),
            retry=Retry(attempts=9, first=timedelta(seconds=1)),
        ):
            @project(Counted)
            def counted(self, event: Counted) -> None:
                nonlocal calls
                calls += 1
                found = self.db.get(event.key)
                new = event.value if found is None else (found * 3 + event.value) % PRIME
                self.db.put(event.key, new)
                if event.key == "c" and calls % 3 == 0:
                    raise OSError("now and then")

        self.sums = Sums
        self.domain.register(Counted)

    def documents(self, simulation: Simulation) -> dict[str, int]:
        definition = Registry([self.domain]).projection(self.sums)
        documents = definition.documents
        assert documents is not None
        stores = simulation._world.stores
        return dict(DocumentReader(definition.name, documents, stores, lambda: None).items())


@pytest.mark.parametrize("seed", range(6))
def test_documents_equal_a_fold_of_the_log_whatever_happens(seed: int) -> None:
    kept = Kept()
    faults = (*FAULTS, "time")
    with Simulation(kept.domain, program=program(12), seed=seed, faults=faults) as simulation:
        simulation.run()
        assert simulation.verify() == []
        assert not list(simulation.parked())
        assert kept.documents(simulation) == fold(simulation)
