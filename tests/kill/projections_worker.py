"""A service whose log is folded into a table and into documents, and which is killed; says what it
was told."""

from __future__ import annotations

import os
import random
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar

from procession import (
    Domain,
    Event,
    ProcessManager,
    Projection,
    Retry,
    Runtime,
    after,
    handle,
    project,
)
from procession.projections import DbApi, Documents

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

ROUNDS = 400


class Speaker:
    """Says what happens to who kills the process; threads of it take turns."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._lock = threading.Lock()

    def __call__(self, line: str) -> None:
        with self._lock:
            self._pipe.send(line)


FAILING = "f"
"""What the keys begin with whose handlers fail now and then."""

PRIME = 1_000_003
"""A sum depends on the order of what is added, and stays small."""

tables = Domain("tables")


class Counted(Event):
    key: str
    value: int


def connect() -> sqlite3.Connection:
    return sqlite3.connect(os.environ["TABLES"], timeout=60)


def summed(before: int | None, value: int) -> int:
    """The sum of a key, with one more value."""
    return value if before is None else (before * 3 + value) % PRIME


OFTEN = Retry(attempts=1_000, first=timedelta(milliseconds=1), maximum=timedelta(milliseconds=5))


@tables.projection
class Sums(Projection, database=DbApi(connect), tables=["sums", "taken"], retry=OFTEN):
    """The sum of each key, and each event that is in it: one that comes twice is refused."""

    def create(self) -> None:
        sums, taken = self.table("sums"), self.table("taken")
        self.db.execute(f"create table if not exists {sums} (key text primary key, total integer)")
        self.db.execute(f"create table if not exists {taken} (position integer primary key)")

    @project(Counted)
    def counted(self, event: Counted) -> None:
        self.db.execute(
            f"insert into {self.table('sums')} values (?, ?) "
            f"on conflict (key) do update set total = (total * 3 + excluded.total) % {PRIME}",
            (event.key, event.value),
        )
        is_beside = self.table("sums") != "sums"
        if event.key.startswith(FAILING) and not is_beside and random.random() < 0.3:
            raise OSError("now and then")
        self.db.execute(f"insert into {self.table('taken')} values (?)", (self.context.position,))


NUMBERS = Documents[int](int)

rebuilding = threading.local()
"""Says of a thread whether it makes documents anew."""


@tables.projection
class Kept(Projection, database=NUMBERS, retry=OFTEN):
    """Documents of the same: the sum of each key, each event that is in it, and the newest one."""

    @project(Counted)
    def counted(self, event: Counted) -> None:
        key, position = event.key, self.context.position
        self.db.put(f"sum/{key}", summed(self.db.get(f"sum/{key}"), event.value))
        for older, _ in self.db.items(f"newest/{key}/"):
            self.db.delete(older)
        self.db.put(f"newest/{key}/{position}", event.value)
        if key.startswith(FAILING) and not hasattr(rebuilding, "is_on") and random.random() < 0.3:
            raise OSError("now and then")
        if self.db.get(f"taken/{position}") is not None:
            raise AssertionError(f"the event at {position} comes twice")
        self.db.put(f"taken/{position}", event.value)


@tables.register
class Reader(ProcessManager, correlate="key"):
    """Acts after each event, and reads the table and the documents."""

    told: ClassVar[Callable[[str], object]]
    runtime: ClassVar[Future[Runtime]]

    @handle(Counted, start=True)
    def counted(self, event: Counted) -> None:
        pass

    @after(Counted)
    def read(self, event: Counted) -> None:
        with connect() as connection:
            query = "select 1 from taken where position = ?"
            found = connection.execute(query, (self.context.position,)).fetchone()
        connection.close()
        kept = Reader.runtime.result().documents(Kept).get(f"taken/{self.context.position}")
        if not event.key.startswith(FAILING):
            Reader.told("stale" if found is None or kept is None else "fresh")


@contextmanager
def opened(store: str, told: Callable[[str], object]) -> Iterator[Runtime]:
    """The service, whose after-effects say what they read."""
    Reader.told, Reader.runtime = told, Future()
    with Runtime(store, tables, durability="os", control=False) as runtime:
        Reader.runtime.set_result(runtime)
        yield runtime


def make_anew(runtime: Runtime, say: Speaker) -> None:
    rebuilding.is_on = True
    for cls in (Kept, Sums):
        try:
            runtime.rebuild(cls)
        except Exception as error:  # noqa: BLE001 - who kills is to hear of it
            say(f"failed {error!r}")
        say(f"rebuilt {cls.__name__}")


def work(store: str, path: str, run: int, pipe: Connection) -> None:
    """Publish events, until it is done or killed."""
    os.environ["TABLES"] = path
    chance = random.Random(run)
    say = Speaker(pipe)
    with opened(store, say) as runtime:
        say("runs")
        if chance.random() < 0.3:
            threading.Thread(target=make_anew, args=(runtime, say), daemon=True).start()
        for number in range(ROUNDS):
            key = chance.choice(("a", "b", "c", f"{FAILING}1", f"{FAILING}2"))
            position = runtime.publish(Counted(key, number), stream=f"tables::sum-{key}")
            say(f"told {position}")
        say("done")
