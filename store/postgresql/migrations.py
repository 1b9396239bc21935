"""The tables in a schema of a database: how they are made, and which version of them is there.

A migration is never changed once it was released; another one comes behind it.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..errors import StoreError, UnknownFormat, WrongPartition
from ..layout.schema import DOCUMENT_TABLES, TABLES
from .connection import Statement
from .parameters import integer, number_of, text
from .views import NODE_VIEWS, VIEWS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .address import Address
    from .connection import Connection

__all__ = [
    "SCHEMA_VERSION",
    "check_tables",
    "make_tables",
    "make_tables_within",
    "partitions_of",
    "transaction",
]


def _table(name: str) -> str:
    return (
        f'CREATE TABLE "{name}" (part integer NOT NULL, key bytea NOT NULL, '
        f"value bytea NOT NULL, PRIMARY KEY (part, key))"
    )


# Every row says which partition it is of. `owners` has the epoch that a commit must name: it is
# raised whenever another process takes the partition over. The lock of a commit on this row keeps
# that waiting, and is no change of the row: those would pile up beside an old open transaction.
_FIRST = (
    "CREATE TABLE store (schema_version integer NOT NULL, partitions integer NOT NULL)",
    *(_table(one) for one in TABLES if one not in DOCUMENT_TABLES),
    """
    CREATE TABLE owners (part integer PRIMARY KEY, epoch bigint NOT NULL, token text, owner text,
        since timestamptz, leased_until timestamptz)
    """,
    "INSERT INTO owners (part, epoch) SELECT part, 0 FROM generate_series(0, $1::int - 1) AS part",
    "INSERT INTO store VALUES (1, $1::int)",
    # It locks in the order of partitions, as renewing a lease does: of two that lock many, one
    # waits for the other, and none for ever.
    """
    CREATE FUNCTION fence(parts integer[], epochs bigint[]) RETURNS void LANGUAGE plpgsql AS $$
    DECLARE
        held integer;
        taker text;
    BEGIN
        PERFORM 1 FROM owners JOIN unnest(parts, epochs) AS mine(part, epoch) USING (part, epoch)
            ORDER BY owners.part FOR NO KEY UPDATE OF owners;
        GET DIAGNOSTICS held = ROW_COUNT;
        IF held <> cardinality(parts) THEN
            SELECT string_agg(format('partition %s is owned by %s since %s', part, owner, since),
                              ', ')
                INTO taker
                FROM unnest(parts, epochs) AS mine(part, epoch) JOIN owners USING (part)
                WHERE owners.epoch <> mine.epoch;
            RAISE EXCEPTION '%', taker USING ERRCODE = 'PX001';
        END IF;
    END
    $$
    """,
    *VIEWS,
)

# A node says that it is alive, and which types of messages it reads. What it has for the owner of a
# partition that is another node's is a row of `calls`, until it has taken the answer.
_NODES = (
    """
    CREATE TABLE nodes (id text PRIMARY KEY, name text NOT NULL, since timestamptz NOT NULL,
        alive_until timestamptz NOT NULL, reads text[] NOT NULL, writes text[] NOT NULL,
        is_drained boolean NOT NULL, waits_for text)
    """,
    """
    CREATE TABLE calls (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, part integer NOT NULL,
        asker text NOT NULL, kind text NOT NULL, request bytea NOT NULL, answer bytea,
        since timestamptz NOT NULL DEFAULT clock_timestamp())
    """,
    "CREATE INDEX calls_open ON calls (part, id) WHERE answer IS NULL",
    "ALTER TABLE owners ADD COLUMN wanted_by text",
    *NODE_VIEWS,
)

COME_AND_GO = ("queue", "timers", "waiting", "owed", "unmatched", "unmatched_by", "outgoing")
"""Tables that are short, with many more rows gone than there."""

# A table of a few rows through which a million went is cleared up after each few thousand, and not
# when a share of what is there has changed; and at once, since each look for the first row of one
# goes through what is gone.
_CLEARED_UP = tuple(
    f'ALTER TABLE "{table}" SET (autovacuum_vacuum_scale_factor = 0, '
    f"autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0)"
    for table in COME_AND_GO
)

_DOCUMENTS = tuple(_table(one) for one in DOCUMENT_TABLES)

MIGRATIONS = (_FIRST, _NODES, _CLEARED_UP, _DOCUMENTS)
SCHEMA_VERSION = len(MIGRATIONS)
"""Of the tables; a store with a newer one is refused, and one with an older is migrated."""

_LOCK = Statement(
    b"migrate_alone",
    b"SELECT pg_advisory_xact_lock(hashtextextended('procession ' || current_setting($1), 0))",
)
_SCHEMA = Statement(b"schema", b"SELECT to_regnamespace(quote_ident($1))::text")
_IS_THERE = Statement(b"is_there", b"SELECT to_regclass(quote_ident($1) || '.store')::text")
_VERSION = Statement(b"version", b"SELECT schema_version, partitions FROM store")
_NOTE = Statement(b"note_version", b"UPDATE store SET schema_version = $1::int")


def partitions_of(connection: Connection, address: Address) -> int:
    """With how many partitions the store was made; 0 if there is none."""
    if connection.one(_IS_THERE, [text(address.schema)]).get_value(0, 0) is None:
        return 0
    return number_of(connection.one(_VERSION).get_value(0, 1))


def check_tables(connection: Connection, address: Address, partitions: int) -> None:
    """Look whether the tables are there, for a store that is only read.

    Raises:
        StoreError: there is no store, or it has another number of partitions
        UnknownFormat: the tables have another version

    """
    version = _version(connection, address, partitions)
    if not version:
        raise StoreError(
            f"there is no store at {address}: the database has none in its schema "
            f"{address.schema!r}"
        )
    if version < SCHEMA_VERSION:
        raise UnknownFormat(
            f"the tables of the store at {address} have version {version}, and this version of "
            f"Procession reads version {SCHEMA_VERSION}; open the store for writing once, which "
            f"migrates them"
        )


def make_tables(connection: Connection, address: Address, partitions: int) -> None:
    """Make the tables, or bring them to today's version: whole, or not at all.

    Raises:
        StoreError: the role may not, or the store has another number of partitions
        UnknownFormat: a newer version of Procession made them

    """
    if _version(connection, address, partitions) == SCHEMA_VERSION:
        return
    with transaction(connection):
        make_tables_within(connection, address, partitions)


def make_tables_within(connection: Connection, address: Address, partitions: int) -> None:
    """As `make_tables`, in a transaction that was begun."""
    # Of two processes that open a new store, one waits here for the other.
    connection.one(_LOCK, [text("search_path")])
    if connection.one(_SCHEMA, [text(address.schema)]).get_value(0, 0) is None:
        quoted = address.schema.replace('"', '""')
        connection.one(_once(f'CREATE SCHEMA "{quoted}"'))
    version = _version(connection, address, partitions)
    for number, statements in enumerate(MIGRATIONS[version:], version + 1):
        for sql in statements:
            given = [integer(partitions)] if "$1" in sql else []
            connection.one(_once(sql), given)
        connection.one(_NOTE, [integer(number)])


def _version(connection: Connection, address: Address, partitions: int) -> int:
    """Of the tables that are there; 0 if none are."""
    if connection.one(_IS_THERE, [text(address.schema)]).get_value(0, 0) is None:
        return 0
    found = connection.one(_VERSION)
    version, there = (number_of(found.get_value(0, column)) for column in range(2))
    if version > SCHEMA_VERSION:
        raise UnknownFormat(
            f"the tables of the store at {address} have version {version}, and this version of "
            f"Procession knows version {SCHEMA_VERSION}; open it with the version that made them"
        )
    if there != partitions:
        raise WrongPartition(
            f"the store at {address} was made with {there} partitions, which is for good, and "
            f"cannot be opened with {partitions}; give partitions={there}"
        )
    return version


@contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    """All that the block does, or nothing."""
    connection.one(_once("BEGIN"))
    try:
        yield
        connection.one(_once("COMMIT"))
    except BaseException:
        if not connection.is_broken:
            connection.one(_once("ROLLBACK"))
        raise


def _once(sql: str) -> Statement:
    """SQL that is carried out once: it is prepared without a name, and keeps none."""
    return Statement(b"", sql.encode())
