"""Which databases a store opens in, and what is said of those in which it does not."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from psycopg import connect

from procession.store import (
    Address,
    DamagedStore,
    DatabaseRefused,
    StoreError,
    UnknownFormat,
    open_store,
    verify_open,
)
from procession.store.layout.frames import frame
from procession.store.layout.schema import FORMAT_VERSION, TABLES
from procession.store.postgresql.engine import PostgresEngine
from procession.store.postgresql.migrations import COME_AND_GO, SCHEMA_VERSION
from procession.store.postgresql.store import PostgresStore
from tests.postgresql import NEEDED, Server, new_server, shared_server

ROOT = Path(__file__).parents[2]


@pytest.fixture
def server() -> Server:
    return shared_server()


@pytest.fixture
def url(server: Server) -> str:
    return server.new_url()


# Addresses


def test_an_address_is_shown_without_its_passwords() -> None:
    address = Address.parse(
        "postgresql://shop:s3cret%40x@db.example:5433/orders?sslmode=require&schema=eu"
        "&password=s3cret&sslpassword=s3cret&wait_for_owner=60"
    )
    assert str(address) == (
        "postgresql://shop@db.example:5433/orders?sslmode=require&schema=eu&wait_for_owner=60"
    )
    assert (address.schema, address.wait_for_owner) == ("eu", 60.0)
    assert "s3cret" not in repr(address)
    assert "s3cret%40x@db" in address.conninfo
    assert "schema" not in address.conninfo


def test_a_password_is_in_nothing_that_is_said() -> None:
    url = "postgresql://shop:s3cret@127.0.0.1:1/orders"
    with pytest.raises(DatabaseRefused) as refused:
        open_store(url)
    assert "s3cret" not in str(refused.value)
    assert "postgresql://shop@127.0.0.1:1/orders" in str(refused.value)
    for wrong in (f"{url[:26]}[::1/orders", f"{url}?port=none", f"{url}?s3cret", f"{url}?a=%zz"):
        with pytest.raises(StoreError) as wrong_said:
            open_store(wrong)
        assert "s3cret" not in str(wrong_said.value)


def test_an_address_stands_for_one_store_whoever_comes_by_it() -> None:
    one = Address.parse("postgresql://a:b@host:5432/db?schema=s")
    assert one.identity == Address.parse("postgres://c@host:5432/db?sslmode=off&schema=s").identity
    assert one.identity != Address.parse("postgresql://a:b@host:5432/db").identity
    assert one.identity != Address.parse("postgresql://a:b@host:5432/other?schema=s").identity


@pytest.mark.parametrize(
    "said",
    ["schema=", "schema=pg_x", f"schema={'x' * 64}", "wait_for_owner=-1", "wait_for_owner=x"],
)
def test_parameters_of_ours_are_checked(said: str) -> None:
    with pytest.raises(StoreError, match=said.partition("=")[0]):
        Address.parse(f"postgresql://host/db?{said}")


def test_a_parameter_that_is_unknown_is_refused() -> None:
    with pytest.raises(StoreError, match="no address that PostgreSQL understands"):
        open_store("postgresql://host/db?colour=red")


def test_without_the_driver_it_is_said_what_to_install() -> None:
    code = (
        "import sys\nsys.modules['psycopg'] = None\n"
        "from procession.store import StoreError, open_store\n"
        "try:\n    open_store('postgresql://u:s3cret@host/db')\n"
        "except StoreError as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert "postgresql://u@host/db" in done.stdout
    assert "pip install 'procession[postgresql]'" in done.stdout


# Tables


def test_a_store_has_one_table_for_each_of_the_format(server: Server, url: str) -> None:
    PostgresStore(url).close()
    columns = server.ask(
        url,
        "SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid "
        "WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r' AND attnum > 0 "
        "GROUP BY c.relname HAVING array_agg(attname::text ORDER BY attnum) = "
        "ARRAY['part', 'key', 'value']",
    )
    assert {table for (table,) in columns} == set(TABLES)


def test_schemas_keep_stores_in_one_database_apart(server: Server) -> None:
    with PostgresStore(server.new_url()) as one, PostgresStore(server.new_url()) as other:
        one._engine.commit({"checkpoints": {b"a": b""}}, {})
        assert other._engine.range("checkpoints", b"", b"z", 9) == []


def test_two_processes_that_make_a_store_at_once_make_one(server: Server) -> None:
    url = f"{server.url('made_by_two')}&wait_for_owner=60"
    there = threading.Barrier(4)

    def make() -> None:
        there.wait()
        PostgresStore(url).close()

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.ask(url, "SELECT schema_version, partitions FROM store") == [(SCHEMA_VERSION, 1)]
    assert server.ask(url, "SELECT epoch FROM owners") == [(4,)]


def test_there_is_nothing_to_read_where_no_store_was_made(server: Server) -> None:
    url = server.url("never_made")
    with pytest.raises(StoreError, match=r"there is no store at .*'never_made'"):
        PostgresStore(url, read_only=True)
    assert server.ask(url, "SELECT to_regnamespace('never_made')") == [(None,)]


def test_tables_that_a_newer_version_made_are_refused(server: Server, url: str) -> None:
    PostgresStore(url).close()
    server.ask(url, "UPDATE store SET schema_version = 99")
    for read_only in (False, True):
        with pytest.raises(
            UnknownFormat, match=f"have version 99.* knows version {SCHEMA_VERSION}"
        ):
            PostgresStore(url, read_only=read_only)
    server.ask(url, f"UPDATE store SET schema_version = {SCHEMA_VERSION}")


def test_rows_of_a_newer_format_are_refused(url: str) -> None:
    engine = PostgresEngine(url)
    engine.commit({"meta": {b"format": frame(b"format", FORMAT_VERSION + 1)}}, {})
    engine.close()
    with pytest.raises(UnknownFormat, match=f"has format {FORMAT_VERSION + 1}"):
        PostgresStore(url)
    PostgresEngine(url).close()


def test_rows_that_do_not_say_their_format_are_no_store(url: str) -> None:
    engine = PostgresEngine(url)
    engine.commit({"meta": {b"other": b""}}, {})
    engine.close()
    with pytest.raises(DamagedStore, match="do not say which format"):
        PostgresStore(url)


def test_tables_of_something_else_are_left_alone(server: Server) -> None:
    url = server.url("of_others")
    server.ask(server.url("public"), "CREATE SCHEMA of_others")
    server.ask(url, "CREATE TABLE log (line text)")
    with pytest.raises(StoreError, match="give the store a schema of its own"):
        PostgresStore(url)
    assert server.ask(url, "SELECT tablename FROM pg_tables WHERE schemaname = 'of_others'") == [
        ("log",)
    ]


def test_the_number_of_partitions_is_that_with_which_a_store_was_made(server: Server) -> None:
    url = server.url("made_with_two")
    PostgresEngine(url, partitions=2).close()
    for read_only in (False, True):
        with pytest.raises(StoreError, match=r"made with 2 partitions, .* opened with 1"):
            PostgresEngine(url, read_only=read_only)
    with pytest.raises(StoreError, match="part=2 is no partition of 2"):
        PostgresEngine(url, part=2, partitions=2)


def test_partitions_have_owners_and_rows_of_their_own(server: Server) -> None:
    url = server.url("in_two_parts")
    one, other = (PostgresEngine(url, part=part, partitions=2) for part in range(2))
    one.commit({"log": {b"1": b"of the first"}}, {})
    other.commit({"log": {b"1": b"of the second"}}, {})
    assert one.get_many([("log", b"1")]) == [b"of the first"]
    assert other.get_many([("log", b"1")]) == [b"of the second"]
    one.close()
    other.close()


# What is durable


def test_a_database_that_acknowledges_before_it_has_written_is_refused(
    server: Server, url: str
) -> None:
    with connect(server.url(), autocommit=True) as connection:
        connection.execute("CREATE ROLE hasty LOGIN SUPERUSER")
        connection.execute("ALTER ROLE hasty SET synchronous_commit = off")
    hasty = url.replace("postgres@", "hasty@")
    with pytest.raises(StoreError, match="has synchronous_commit=off"):
        PostgresStore(hasty)
    PostgresStore(hasty, durability="none").close()
    PostgresStore(hasty, read_only=True).close()


@pytest.mark.parametrize(("is_needed", "outcome"), [("1", "Failed"), ("", "Skipped")])
def test_without_a_server_a_test_is_left_out_unless_servers_are_needed(
    is_needed: str, outcome: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(NEEDED, is_needed)
    monkeypatch.setattr("tests.postgresql.programs", lambda: None)
    with pytest.raises(BaseException, match="there is no PostgreSQL here") as raised, new_server():
        pass
    assert type(raised.value).__name__ == outcome


def test_tables_of_the_version_before_are_brought_to_todays(server: Server) -> None:
    url = server.url("first_version")
    options = "SELECT relname FROM pg_class WHERE relnamespace = 'first_version'::regnamespace "
    cleared = f"{options} AND 'autovacuum_vacuum_threshold=5000' = ANY(reloptions) ORDER BY 1"
    PostgresStore(url).close()
    for table in COME_AND_GO:
        server.ask(url, f'ALTER TABLE "{table}" RESET (autovacuum_vacuum_threshold)')
    server.ask(url, "DROP TABLE document_sets, documents")
    server.ask(url, "UPDATE store SET schema_version = 2")
    assert server.ask(url, cleared) == []
    PostgresStore(url).close()
    assert server.ask(url, cleared) == [(table,) for table in sorted(COME_AND_GO)]
    assert server.ask(url, "SELECT schema_version FROM store") == [(SCHEMA_VERSION,)]
    server.ask(url, "DROP SCHEMA first_version CASCADE")


def test_a_format_that_is_gone_from_under_an_open_store_is_found(server: Server, url: str) -> None:
    with PostgresStore(url) as store:
        assert verify_open(store).findings == []
        server.ask(url, "DELETE FROM meta WHERE key = 'format'")
        assert [str(one) for one in verify_open(store).findings] == ["meta format: is missing"]
