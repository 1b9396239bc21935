"""A domain whose projection has a table in a database of its own, which all partitions write."""

from __future__ import annotations

import os
import sqlite3

from procession import Domain, Event, Projection, project
from procession.projections import DbApi

PLACE = "TABLES_OF_KEYS"
"""Where the database is, in the environment."""


class Placed(Event):
    key: str


def connect() -> sqlite3.Connection:
    return sqlite3.connect(os.environ[PLACE], timeout=60)


tables = Domain("tables")


@tables.projection
class Keys(Projection, database=DbApi(connect), tables=["keys"]):
    def create(self) -> None:
        self.db.execute(f"create table if not exists {self.table('keys')} (key text primary key)")

    @project(Placed)
    def placed(self, event: Placed) -> None:
        self.db.execute(f"insert into {self.table('keys')} values (?)", (event.key,))
