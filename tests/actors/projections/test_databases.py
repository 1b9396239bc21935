"""What every database of a projection does: SQLite and PostgreSQL, by the DB-API and SQLAlchemy."""

import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from sqlalchemy import create_engine, text

from procession import DefinitionError, Domain, Event, Projection, Retry, Runtime, project
from procession.authoring.projection_database import Checkpoint, Database, Tables
from procession.projections import DbApi, SqlAlchemy
from tests.postgresql import shared_server

if TYPE_CHECKING:
    from collections.abc import Callable

WAIT = 30
LIVE, BESIDE = Tables("shop.Sums"), Tables("shop.Sums", is_beside=True)


class Counted(Event):
    key: str
    value: int


def of_sqlite(path: Path) -> DbApi:
    return DbApi(lambda: sqlite3.connect(path))


def of_sqlite_by_alchemy(path: Path) -> SqlAlchemy:
    return SqlAlchemy(create_engine(f"sqlite:///{path}"))


def of_postgresql(path: Path) -> DbApi:
    schema = shared_server().new_url(without_tables=True)
    return DbApi(lambda: connected(schema))


def of_postgresql_by_alchemy(path: Path) -> SqlAlchemy:
    schema = shared_server().new_url(without_tables=True)
    return SqlAlchemy(
        lambda: create_engine("postgresql+psycopg://", creator=lambda: connected(schema))
    )


def connected(url: str) -> psycopg.Connection[Any]:
    """A connection in whose schema the tables are."""
    place, _, query = url.partition("?")
    schema = dict(one.split("=") for one in query.split("&"))["schema"]
    connection = psycopg.connect(place, sslmode="disable", options=f"-c search_path={schema}")
    with connection.cursor() as cursor:
        cursor.execute(f"create schema if not exists {schema}".encode())
    connection.commit()
    return connection


@pytest.fixture(
    params=[of_sqlite, of_sqlite_by_alchemy, of_postgresql, of_postgresql_by_alchemy],
    ids=lambda one: one.__name__,
)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    make: Callable[[Path], Database] = request.param
    return make(tmp_path / "tables.db")


def run(db: Any, statement: str) -> list[tuple[Any, ...]]:
    """A statement on what handlers get."""
    is_alchemy = not hasattr(db, "fetchall")
    result = db.execute(text(statement)) if is_alchemy else db.execute(statement)
    rows = result.fetchall() if statement.startswith("select") else []
    return [tuple(one) for one in rows]


def test_a_checkpoint_is_kept_or_lost_with_what_was_written(database: Database) -> None:
    connection = database.connect()
    connection.make()
    run(connection.handle, "create table sums (key varchar(9) primary key, total integer)")
    connection.set_checkpoint(LIVE, Checkpoint("s", 1, 1, 0))
    connection.commit()
    assert connection.begin(LIVE) == Checkpoint("s", 1, 1, 0)
    run(connection.handle, "insert into sums values ('a', 1)")
    connection.set_checkpoint(LIVE, Checkpoint("s", 1, 1, 7))
    connection.roll_back()
    assert connection.begin(LIVE) == Checkpoint("s", 1, 1, 0)
    connection.save()
    run(connection.handle, "insert into sums values ('b', 2)")
    connection.go_back()
    connection.save()
    run(connection.handle, "insert into sums values ('c', 3)")
    connection.keep()
    connection.set_checkpoint(LIVE, Checkpoint("s", 1, 1, 9))
    connection.note_done(LIVE, 11)
    connection.commit()
    connection.close()
    other = database.connect()
    other.make()
    assert other.checkpoint(LIVE) == Checkpoint("s", 1, 1, 9)
    assert other.checkpoint(BESIDE) is None
    assert other.positions_done(LIVE) == {11}
    assert run(other.handle, "select key, total from sums") == [("c", 3)]
    other.forget_done(LIVE, [11])
    other.drop_checkpoint(BESIDE)
    other.commit()
    assert other.begin(LIVE) == Checkpoint("s", 1, 1, 9)
    assert other.positions_done(LIVE) == set()
    other.roll_back()
    other.close()


def test_a_projection_folds_fails_by_stream_and_is_made_anew(
    database: Database, tmp_path: Path
) -> None:
    domain, bad = Domain("shop"), {2}

    @domain.projection
    class Sums(Projection, database=database, tables=["sums"], retry=Retry(attempts=1)):
        def create(self) -> None:
            sums = self.table("sums")
            run(self.db, f"create table if not exists {sums} (position integer primary key)")

        @project(Counted)
        def counted(self, event: Counted) -> None:
            run(self.db, f"insert into {self.table('sums')} values ({self.context.position})")
            if event.value in bad:
                # In PostgreSQL, nothing goes on in a transaction in which a statement failed.
                run(self.db, "select nothing from nowhere")

    def rows() -> list[int]:
        connection = database.connect()
        found = [one for (one,) in run(connection.handle, "select position from sums")]
        connection.close()
        return sorted(found)

    with Runtime(tmp_path / "store", domain, durability="none") as runtime:
        for key, value in (("a", 1), ("b", 2), ("a", 3), ("b", 4)):
            runtime.publish(Counted(key, value), stream=f"shop::sum-{key}")
        runtime.settle(WAIT)
        assert rows() == [1, 3]
        (parked,) = runtime.parked()
        bad.clear()
        runtime.retry(parked.id)
        runtime.settle(WAIT)
        assert rows() == [1, 2, 3, 4]
        assert runtime.rebuild(Sums).projected == 4
        runtime.publish(Counted("a", 5), stream="shop::sum-a")
        runtime.read(Sums, timeout=WAIT)
        assert rows() == [1, 2, 3, 4, 5]


def test_what_is_no_database_is_refused_with_the_mend() -> None:
    with pytest.raises(DefinitionError, match="give a function that opens a connection"):
        DbApi("orders.db")  # type: ignore[arg-type]
    with pytest.raises(DefinitionError, match="there are sqlite3, psycopg"):
        DbApi(object).connect()
    with pytest.raises(DefinitionError, match="give an engine"):
        SqlAlchemy("sqlite://")  # type: ignore[arg-type]


def test_without_the_extra_a_sentence_says_what_to_install() -> None:
    program = (
        "import sys; sys.modules['sqlalchemy'] = None\n"
        "import procession.projections as found\n"
        "found.DbApi\n"
        "try: found.SqlAlchemy\n"
        "except ImportError as error: print(error)"
    )
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    assert "pip install procession[sqlalchemy]" in said
