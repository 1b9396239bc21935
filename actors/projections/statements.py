"""The statements that keep the checkpoints of projections, in SQLite and in PostgreSQL.

They stand in the user's own database, in two tables beside the user's, so that a checkpoint is kept
or lost with what was written up to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from ..authoring.projection_database import Checkpoint

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..authoring.projection_database import Tables

__all__ = ["Dialect", "SqlConnection"]

Dialect: TypeAlias = Literal["sqlite", "postgresql"]

_MAKE = (
    """
    create table if not exists procession_projections (
        projection varchar(100) not null,
        part integer not null,
        beside integer not null,
        store varchar(64) not null,
        version integer not null,
        generation integer not null,
        position bigint not null,
        primary key (projection, part, beside)
    )
    """,
    """
    create table if not exists procession_projected (
        projection varchar(100) not null,
        part integer not null,
        beside integer not null,
        position bigint not null,
        primary key (projection, part, beside, position)
    )
    """,
)
_OF = "projection = :projection and part = :part and beside = :beside"
_READ = f"select store, version, generation, position from procession_projections where {_OF}"
_MOVE = (
    "update procession_projections set store = :store, version = :version, "
    f"generation = :generation, position = :position where {_OF}"
)
_ADD = (
    "insert into procession_projections "
    "(projection, part, beside, store, version, generation, position) "
    "values (:projection, :part, :beside, :store, :version, :generation, :position)"
)
_DROP = f"delete from procession_projections where {_OF}"
_DONE = f"select position from procession_projected where {_OF}"
_NOTE = (
    "insert into procession_projected (projection, part, beside, position) "
    "values (:projection, :part, :beside, :position)"
)
_FORGET = f"delete from procession_projected where {_OF} and position = :position"
_FORGET_ALL = f"delete from procession_projected where {_OF}"

_LOCK = 0x70726F6A
"""Of PostgreSQL's advisory locks, the one under which tables are made: "proj"."""


class SqlConnection:
    """What the connections have in common; one for each driver says how a statement is run."""

    is_exact = True
    handle: Any
    dialect: Dialect

    def run(self, statement: str, values: dict[str, Any] | None = None) -> Sequence[Sequence[Any]]:
        """Carry out a statement with values by name; the rows, of one that has any."""
        raise NotImplementedError

    def open_transaction(self) -> None:
        """Begin; in SQLite as the only connection that writes until it ends."""
        raise NotImplementedError

    def make(self) -> None:
        """Make the tables of checkpoints, if they are missing, and begin a transaction."""
        self.open_transaction()
        if self.dialect == "postgresql":
            # Two who make the same table at once are told by PostgreSQL that one of them failed.
            self.run(f"select pg_advisory_xact_lock({_LOCK})")
        for statement in _MAKE:
            self.run(statement)

    def begin(self, tables: Tables) -> Checkpoint | None:
        self.open_transaction()
        lock = " for update" if self.dialect == "postgresql" else ""
        return self._read(_READ + lock, tables)

    def checkpoint(self, tables: Tables) -> Checkpoint | None:
        """How far the tables are, within a transaction; None if they are new."""
        return self._read(_READ, tables)

    def _read(self, statement: str, tables: Tables) -> Checkpoint | None:
        for store, version, generation, position in self.run(statement, _of(tables)):
            return Checkpoint(store, version, generation, position)
        return None

    def set_checkpoint(self, tables: Tables, checkpoint: Checkpoint) -> None:
        values = {
            **_of(tables),
            "store": checkpoint.store,
            "version": checkpoint.version,
            "generation": checkpoint.generation,
            "position": checkpoint.position,
        }
        is_there = self._read(_READ, tables) is not None
        self.run(_MOVE if is_there else _ADD, values)

    def drop_checkpoint(self, tables: Tables) -> None:
        self.run(_DROP, _of(tables))
        self.run(_FORGET_ALL, _of(tables))

    def positions_done(self, tables: Tables) -> set[int]:
        return {position for (position,) in self.run(_DONE, _of(tables))}

    def note_done(self, tables: Tables, position: int) -> None:
        self.run(_NOTE, {**_of(tables), "position": position})

    def forget_done(self, tables: Tables, positions: Iterable[int]) -> None:
        for position in positions:
            self.run(_FORGET, {**_of(tables), "position": position})

    def save(self) -> None:
        self.run("savepoint procession")

    def keep(self) -> None:
        self.run("release savepoint procession")

    def go_back(self) -> None:
        self.run("rollback to savepoint procession")
        self.keep()

    def swap(self, names: Iterable[tuple[str, str]]) -> None:
        for old, new in names:
            self.run(f"drop table if exists {new}")
            self.run(f"alter table {old} rename to {new}")

    def drop(self, names: Iterable[str]) -> None:
        for name in names:
            self.run(f"drop table if exists {name}")


def _of(tables: Tables) -> dict[str, Any]:
    return {
        "projection": tables.projection,
        "part": tables.part,
        "beside": int(tables.is_beside),
    }
