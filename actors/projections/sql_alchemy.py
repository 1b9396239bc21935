"""Tables in a database that SQLAlchemy reaches, on SQLite or PostgreSQL; the extra `sqlalchemy`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import DefinitionError, shown
from .statements import SqlConnection

try:
    from sqlalchemy import Engine, event, text
except ImportError as missing:
    raise ImportError(
        "procession.projections.SqlAlchemy stands on SQLAlchemy, which is not installed: "
        "`pip install procession[sqlalchemy]`"
    ) from missing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["SqlAlchemy"]


class SqlAlchemy:
    """A projection's database, reached by an engine of SQLAlchemy 2.

    Handlers get a `sqlalchemy.Connection` as `self.db`; a session of the user's stands on it with
    ``Session(bind=self.db, join_transaction_mode="create_savepoint")``.

    Args:
        engine: of SQLite or PostgreSQL; or a function that makes one, called when it is needed

    Raises:
        DefinitionError: it is no engine

    """

    def __init__(self, engine: Engine | Callable[[], Engine]) -> None:
        given: object = engine
        if not (isinstance(given, Engine) or callable(given)):
            raise DefinitionError(
                f"SqlAlchemy({shown(engine)}): give an engine, such as "
                f'`SqlAlchemy(create_engine("sqlite:///orders.db"))`'
            )
        self._engine = engine

    def connect(self) -> SqlAlchemyConnection:
        """Open a connection.

        Raises:
            DefinitionError: it is of a database that is not known

        """
        if not isinstance(self._engine, Engine):
            self._engine = self._engine()
        return SqlAlchemyConnection(self._engine)


class SqlAlchemyConnection(SqlConnection):
    """One connection of an engine."""

    def __init__(self, engine: Engine) -> None:
        name = engine.dialect.name
        if name not in {"sqlite", "postgresql"}:
            raise DefinitionError(
                f"SqlAlchemy: {engine!r} is of {name}; a projection's tables are in SQLite or "
                f"PostgreSQL"
            )
        self.dialect = "sqlite" if name == "sqlite" else "postgresql"
        self.handle = self._connection = engine.connect()
        driver: Any = self._connection.connection.driver_connection
        # It is the projection's own, and goes back into no pool.
        self._connection.detach()
        if self.dialect == "sqlite":
            # As in `DbApiConnection`.
            driver.isolation_level = None
            driver.execute("pragma legacy_alter_table = on")
            event.listen(self._connection, "begin", _begin_immediate)

    def run(self, statement: str, values: dict[str, Any] | None = None) -> Sequence[Sequence[Any]]:
        result = self._connection.execute(text(statement), values or {})
        return [tuple(row) for row in result] if result.returns_rows else []

    def open_transaction(self) -> None:
        self._connection.begin()

    def commit(self) -> None:
        self._connection.commit()

    def roll_back(self) -> None:
        self._connection.rollback()

    def close(self) -> None:
        self._connection.close()


def _begin_immediate(connection: Any) -> None:
    connection.exec_driver_sql("begin immediate")
