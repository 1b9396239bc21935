"""A domain whose projections keep documents in the store."""

from __future__ import annotations

from operator import add

from procession import Domain, Event, Projection, project
from procession.projections import Documents


class Counted(Event):
    key: str
    value: int


sums = Domain("sums")


@sums.projection
class Totals(Projection, database=Documents(int, merge=add)):
    """Under each key and under `all`, of which every partition has its own."""

    @project(Counted)
    def counted(self, event: Counted) -> None:
        for key in (event.key, "all"):
            self.db.put(key, (self.db.get(key) or 0) + event.value)


@sums.projection
class Newest(Projection, database=Documents(int)):
    """Under one key in every partition, though nothing says what they are together."""

    @project(Counted)
    def counted(self, event: Counted) -> None:
        self.db.put("newest", event.value)
