"""Making the tables of a projection anew: beside those that are read, and then in their place.

The new ones have a checkpoint of their own, so what is interrupted goes on. Readers see the old
tables until one transaction swaps them; what was set aside meanwhile is in the new ones.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..authoring.projection_database import Checkpoint
from ..errors import DefinitionError, NotProjected, type_of_error
from .projection_feed import ahead_of, handle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ..authoring.projection_database import Connection
    from ..store import EventRecord
    from .projection_feed import ProjectionFeed

__all__ = ["ProjectionProgress", "ProjectionRebuild"]

BATCH = 1_000
"""Events that are written in one transaction, at most."""


@dataclass(slots=True)
class ProjectionProgress:
    """How far it has come to make the tables of a projection anew.

    Attributes:
        position: up to which the log is in the new tables; of a divided store, of the partition
            that was written last
        end: up to which there is a log then
        projected: how many events were written, since it was begun or went on
        partition: of a divided store, which partition it is of

    """

    position: int = 0
    end: int = 0
    projected: int = 0
    partition: int | None = None


class ProjectionRebuild:
    """Makes the tables of one projection anew.

    Args:
        engines: that project it: one, or of a divided store those of all partitions
        name: of the projection
        by: who asks; recorded with what was parked and is in the new tables
        told: is called with the progress after each batch

    Raises:
        DefinitionError: the class says of no database, or of no tables that could be swapped

    """

    def __init__(
        self,
        feeds: Sequence[ProjectionFeed],
        by: str | None,
        told: Callable[[ProjectionProgress], object] | None = None,
    ) -> None:
        self._feeds = feeds
        self._by = by
        self._told = told
        self._progress = ProjectionProgress()
        self._first = feeds[0]
        self._plan = self._first.plan
        definition = self._first.definition
        has_tables = definition.database is not None and definition.tables
        if definition.documents is None and not has_tables:
            raise DefinitionError(
                f"{definition.cls.__qualname__} names no tables in a database that could be made "
                f"anew beside those that are read; write `database=` and `tables=[...]`, and name "
                f"the tables with `self.table(...)`"
            )
        self._generation = 0

    def run(self) -> ProjectionProgress:
        """Make them, and swap them in.

        Raises:
            NotProjected: an event could not be written; the tables that are read are as before
            Exception: what the database said

        """
        connection = self._first.connect()
        try:
            with self._alone():
                self._prepare(connection)
            for feed in self._feeds:
                self._follow(connection, feed)
            with ExitStack() as locks:
                for feed in self._feeds:
                    locks.enter_context(feed.lock)
                    # What is set aside and is in the new tables is to be known as such.
                    feed.wait_until_durable()
                for feed in self._feeds:
                    self._follow(connection, feed)
                with self._alone():
                    self._swap(connection)
                for feed in self._feeds:
                    feed.begin_anew(self._by)
        except BaseException:
            with suppress(Exception):
                connection.roll_back()
            raise
        finally:
            connection.close()
        return self._progress

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Have nothing else write what is beside, of all partitions."""
        with ExitStack() as locks:
            for feed in self._feeds:
                locks.enter_context(feed.lock_beside)
            yield

    @property
    def _suffix(self) -> str:
        return f"__{self._generation}"

    def _prepare(self, connection: Connection) -> None:
        """Make the tables beside, or find those that were begun before by this very version."""
        definition = self._first.definition
        connection.make()
        live = [connection.checkpoint(feed.tables) for feed in self._feeds]
        begun = [connection.checkpoint(feed.beside) for feed in self._feeds]
        # The first making is the projection's own, though it may not have begun.
        newest = max([1, *(one.generation for one in live if one is not None)])
        unfit = {one.generation for one in begun if one is not None}
        self._generation = max(unfit, default=0)
        fits = all(
            one is not None
            and one.generation == self._generation > newest
            and (one.store, one.version) == (feed.store_id, definition.version)
            for one, feed in zip(begun, self._feeds, strict=True)
        )
        if not fits:
            # No other that was begun may be taken for it.
            self._generation = max(newest, *unfit, 0) + 1
            for number in (*unfit, self._generation):
                connection.drop(f"{name}__{number}" for name in definition.tables)
            for feed in self._feeds:
                connection.drop_checkpoint(feed.beside)
                connection.set_checkpoint(feed.beside, self._checkpoint(feed, 0))
            definition.made(connection.handle, self._suffix).create()
        connection.commit()

    def _checkpoint(self, feed: ProjectionFeed, position: int) -> Checkpoint:
        return Checkpoint(feed.store_id, self._first.definition.version, self._generation, position)

    def _follow(self, connection: Connection, feed: ProjectionFeed) -> None:
        """Write the log of one partition, up to its end."""
        while self._take_batch(connection, feed):
            if self._told is not None:
                self._told(self._progress)

    def _take_batch(self, connection: Connection, feed: ProjectionFeed) -> bool:
        """Write a batch; false at the end of the log."""
        with feed.lock_beside:
            return self._write_batch(connection, feed)

    def _write_batch(self, connection: Connection, feed: ProjectionFeed) -> bool:
        beside, end = feed.beside, feed.last_position()
        found = connection.begin(beside)
        if found is None or found.generation != self._generation:
            connection.roll_back()
            raise NotProjected(feed.name, 0, "another call makes its tables anew as well")
        if found.position >= end:
            connection.roll_back()
            return False
        records = feed.read(found.position, min(BATCH, end - found.position))
        ours = [one for one in records if feed.is_to_write(one)]
        ahead = ahead_of(self._plan, connection, feed.now, self._suffix)
        for number, record in enumerate(ours):
            if ahead is not None:
                ahead(ours, number)
            self._write(connection, feed, record)
        # What was pruned at the end of the log is not there to be read.
        last = records[-1].position if records else end
        connection.set_checkpoint(beside, self._checkpoint(feed, last))
        connection.commit()
        progress = self._progress
        progress.position, progress.end, progress.partition = last, end, feed.partition
        return True

    def _write(self, connection: Connection, feed: ProjectionFeed, record: EventRecord) -> None:
        try:
            handle(self._plan, connection, record, feed.now(), suffix=self._suffix)
        except Exception as error:
            raise NotProjected(
                feed.name, record.position, f"{type_of_error(error)}: {error}"
            ) from error
        self._progress.projected += 1

    def _swap(self, connection: Connection) -> None:
        """Put the new tables into the place of those that are read; with all locks held."""
        for feed in self._feeds:
            found = connection.begin(feed.beside) if feed is self._first else None
            found = found or connection.checkpoint(feed.beside)
            assert found is not None
            connection.drop_checkpoint(feed.tables)
            connection.drop_checkpoint(feed.beside)
            connection.set_checkpoint(feed.tables, found)
            for position in feed.positions_set_aside():
                connection.note_done(feed.tables, position)
        tables = self._first.definition.tables
        connection.swap((f"{name}{self._suffix}", name) for name in tables)
        connection.commit()
