"""Tables in a database that Python's DB-API reaches: SQLite, and PostgreSQL by psycopg 3."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ..errors import DefinitionError, shown
from .statements import SqlConnection

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .statements import Dialect

__all__ = ["DbApi"]

_DRIVERS: dict[str, Dialect] = {"sqlite3": "sqlite", "psycopg": "postgresql"}

_NAMED = re.compile(r":(\w+)")


class DbApi:
    """A projection's database, reached by `sqlite3` or `psycopg`.

    Args:
        connect: opens a connection, as ``lambda: sqlite3.connect("orders.db")``; called on the
            thread that uses it, and again when the database has failed. The connection is the
            projection's own

    Raises:
        DefinitionError: it cannot be called

    """

    def __init__(self, connect: Callable[[], Any]) -> None:
        if not callable(connect):
            raise DefinitionError(
                f"DbApi({shown(connect)}): give a function that opens a connection, such as "
                f'`DbApi(lambda: sqlite3.connect("orders.db"))`'
            )
        self._connect = connect

    def connect(self) -> DbApiConnection:
        """Open a connection.

        Raises:
            DefinitionError: it is of a driver that is not known

        """
        connection = self._connect()
        driver = type(connection).__module__.partition(".")[0]
        dialect = _DRIVERS.get(driver)
        if dialect is None:
            raise DefinitionError(
                f"DbApi: {shown(connection)} is of the driver {driver}; there are "
                f"{', '.join(_DRIVERS)}. Others go by SqlAlchemy, on SQLite or PostgreSQL"
            )
        return DbApiConnection(connection, dialect)


class DbApiConnection(SqlConnection):
    """One connection, with one cursor for the statements of handlers."""

    def __init__(self, connection: Any, dialect: Dialect) -> None:
        self._connection = connection
        self.dialect = dialect
        if dialect == "sqlite":
            # It would begin by itself, when it likes, and commit before some statements.
            connection.isolation_level = None
            # What is swapped keeps the views and triggers that name it.
            connection.execute("pragma legacy_alter_table = on")
        self.handle = connection.cursor()
        self._cursor = connection.cursor()

    def run(self, statement: str, values: dict[str, Any] | None = None) -> Sequence[Sequence[Any]]:
        if self.dialect == "postgresql":
            statement = _NAMED.sub(r"%(\1)s", statement)
        cursor = self._cursor
        cursor.execute(statement, values or {})
        return [] if cursor.description is None else [tuple(row) for row in cursor.fetchall()]

    def open_transaction(self) -> None:
        # psycopg begins with the first statement.
        if self.dialect == "sqlite":
            self.run("begin immediate")

    def commit(self) -> None:
        self._connection.commit()

    def roll_back(self) -> None:
        self._connection.rollback()

    def close(self) -> None:
        self._connection.close()
