"""Turns a store of format 1 into one of today's format: built beside it, then put in its place.

What this module knows of format 1 is written down here, since all other code moves on.
"""

from __future__ import annotations

import secrets
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lmdb

from ..errors import DamagedStore, StoreError, UnknownFormat
from ..identifiers import BY_PEOPLE, EVADES, category_of, event_id_at, place_of_event
from ..layout.frames import frame, number, unframe
from ..layout.keys import numbered
from ..layout.schema import (
    DOCUMENT_TABLES,
    FOR_PARTITIONS,
    FORMAT_VERSION,
    LOOKALIKE,
    SECRET,
    count_key,
    name_key,
    started_key,
    stream_key,
    transitions_key,
)
from ..lmdb.environment import DATA_FILE, Environment, is_there
from ..lmdb.store import OLD_FORMAT
from ..store import SECRET_BYTES
from .rewriting import PARTIAL, gone_on_failure, refusals_of_the_disk, sync_file, write_tables
from .sorting import Sorter

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator

    from lmdb import _Database

    from ..records import NameKind
    from .rewriting import Rows

__all__ = ["upgrade"]

OLD_TABLES = (
    "log",
    "streams",
    "event_ids",
    "transitions",
    "queue",
    "command_ids",
    "checkpoints",
    "parked",
    "parked_at",
    "decided",
    "waiting",
    "timers",
    "index",
    "refusals",
    "snapshots",
    "meta",
)

KEPT_TABLES = tuple(name for name in OLD_TABLES if name not in {"log", "streams", "transitions"})
"""Those that have the same keys today; what all others add to comes last."""

NEW_TABLES = ("erasures", "tombstones", "codes", "unmatched", "unmatched_by", "effects", "owed")
"""Those of which format 1 had nothing."""

LONGEST_KEY = 511

PACKAGES = {"actors.": "procession.", "store.": "procession.store."}
"""What our packages were called when errors were parked, and what they are called now."""


def upgrade(path: str | os.PathLike[str]) -> bool:
    """Turn a store of format 1 into one of today's format.

    Transitions are numbered by their times, and those of one instance by their versions. Memory
    does not depend on how many rows there are: what has to be sorted is on disk beside the new
    file meanwhile. What is kept in memory are the names of types and process managers, and the
    events that had the same id as another one.

    The new file is built beside the old one and takes its place when all of it is on disk: whenever
    the upgrade is cut short, one of the two is there and whole.

    Args:
        path: the store's folder; no process may have the store open

    Returns:
        whether there was anything to do: False if the store has today's format already

    Raises:
        LockedStore: the store is open somewhere
        UnknownFormat: the store has neither format
        CorruptRecord: a record is damaged; the store stays as it is
        StoreError: there is no store, or the disk refused; the store stays as it is

    """
    data = Path(path) / DATA_FILE
    if not is_there(Path(path)):
        raise StoreError(f"there is no store at {path}")
    environment = Environment(path, read_only=False, durability="fsync", map_size=1 << 28)
    try:
        # The format comes first: the tables of another one are others.
        meta = _open_tables(environment, "meta")["meta"]
        with environment.read() as txn:
            raw = txn.get(b"format", db=meta)
        found = None if raw is None else unframe(raw, "meta", b"format")
        if found == FORMAT_VERSION:
            return False
        if found != OLD_FORMAT:
            raise UnknownFormat(
                f"the store at {path} has format {found}, and this version of Procession turns "
                f"format {OLD_FORMAT} into {FORMAT_VERSION}; open it with the version that wrote it"
            )
        tables = _open_tables(environment, *OLD_TABLES)
        partial = data.with_name(PARTIAL)
        with refusals_of_the_disk(partial):
            # Left by an upgrade that was interrupted; no other one runs: we are the writer.
            partial.unlink(missing_ok=True)
        with refusals_of_the_disk(partial), gone_on_failure(partial):
            size = 4 * data.stat().st_size
            with (
                Sorter(partial.with_suffix(".times"), ("times",), size) as times,
                Sorter(partial.with_suffix(".ids"), ("ids", "started"), size) as ids,
                environment.read() as txn,
            ):
                write_tables(partial, _NewTables(txn, tables, times, ids).tables(), size)
            sync_file(partial)
            environment.replace(partial)
    finally:
        environment.close()
    return True


def _open_tables(environment: Environment, *names: str) -> dict[str, _Database]:
    try:
        return {name: environment.env.open_db(name.encode(), create=False) for name in names}
    except lmdb.NotFoundError as error:
        raise DamagedStore(
            f"{environment.path} holds an LMDB file that is no Procession store"
        ) from error


class _NewTables:
    """The rows of today's format, made of those of format 1."""

    def __init__(
        self, txn: lmdb.Transaction[bytes], tables: dict[str, _Database], times: Sorter, ids: Sorter
    ) -> None:
        self._txn = txn
        self._tables = tables
        self._times = times
        self._ids = ids
        self._names: set[tuple[NameKind, str]] = set()
        # Events that had the same id as one whose id came from outside, by position.
        self._renamed: dict[int, str] = {}
        self._any_lookalike = False
        # What is counted, by what it is and by names.
        self._counts: Counter[tuple[str, ...]] = Counter()
        # Instances that were started again, and the version at which they were.
        self._runs: dict[bytes, int] = {}
        self._change: dict[str, Callable[[bytes, Any], Any]] = {
            "meta": self._meta,
            "log": self._event,
            "event_ids": self._event_id,
            "command_ids": self._result,
            "queue": self._command,
            "parked": self._undecided,
            "decided": self._parked,
            "waiting": self._waiting,
            "timers": self._timer,
            "refusals": self._refusal,
        }

    def tables(self) -> Iterator[tuple[str, Rows]]:
        # The log comes first: events may get other ids there.
        yield "log", self._rows("log")
        self._times.put("times", self._when_they_were())
        self._ids.put("ids", self._places_of_transitions())
        self._ids.put("ids", self._places_of_events())
        self._ids.put("started", self._first_transitions())
        yield "transitions", self._transitions()
        for table in ("ids", "started"):
            yield table, self._ids.rows(table)
        for table in KEPT_TABLES:
            rows = self._rows(table)
            if table == "meta":
                rows = self._with_more(rows)
            elif table == "checkpoints":
                rows = self._with_beginnings(rows)
            yield table, rows
        yield "names", self._name_rows()
        yield "counts", self._count_rows()
        for table in (*NEW_TABLES, *FOR_PARTITIONS, *DOCUMENT_TABLES):
            yield table, iter(())

    def _old(self, table: str) -> Iterator[tuple[bytes, Any]]:
        found = 0
        with self._txn.cursor(self._tables[table]) as cursor:
            for key, raw in cursor:
                found += 1
                yield key, unframe(raw, table, key)
        if found != self._txn.stat(self._tables[table])["entries"]:
            raise DamagedStore(f"table {table!r} could not be read whole: it is damaged")

    def _rows(self, table: str) -> Rows:
        change = self._change.get(table)
        for key, row in self._old(table):
            yield key, frame(key, row if change is None else change(key, row))

    # Transitions had the instance and the version for a key, and are numbered now

    def _when_they_were(self) -> Rows:
        """The old keys of transitions behind their times, which give the order."""
        instance, time, is_complete = b"", 0, False
        for place, (key, row) in enumerate(self._old("transitions")):
            if key[:-8] != instance:
                self._count_instance(instance, is_complete=is_complete)
                instance, time = key[:-8], 0
            is_complete = row[2]
            # A clock may have been put back; the versions of an instance stay in order.
            time = max(time, row[0])
            yield number(time) + number(place), key
        self._count_instance(instance, is_complete=is_complete)

    def _count_instance(self, instance: bytes, *, is_complete: bool) -> None:
        """Count an instance by its status; its keys began so."""
        if not instance:
            return
        block = self._look("waiting", instance + number(0))
        status = "complete" if is_complete else "running"
        if isinstance(block, list) and block[0] == "parked":
            status = "suspended"
        self._counts["instance", instance.partition(b"\0")[0].decode(), status] += 1

    def _numbered(self) -> Iterator[tuple[int, bytes, tuple[str, str, int]]]:
        """Numbers of transitions, their old keys, and what these said."""
        for place, (_, key) in enumerate(self._times.rows("times"), 1):
            process, instance, _ = key[:-8].decode().split("\0")
            yield place, key, (process, instance, numbered(key))

    def _transitions(self) -> Rows:
        for place, old_key, owner in self._numbered():
            key = number(place)
            row = self._look("transitions", old_key)
            run = self._run(old_key, row)
            # By which code it was decided is not known.
            yield key, frame(key, [*owner, *self._transition(owner[0], row), run, 0, None])

    def _places_of_transitions(self) -> Rows:
        for place, _, (process, instance, version) in self._numbered():
            key = transitions_key(process, instance) + number(version)
            yield key, number(place)

    def _first_transitions(self) -> Rows:
        for place, _, (process, instance, version) in self._numbered():
            if version == 1:
                key = started_key(process) + number(place)
                yield key, frame(key, instance)

    def _places_of_events(self) -> Rows:
        for old_key, position in self._old("streams"):
            key = stream_key(old_key[:-9].decode()) + number(numbered(old_key))
            yield key, number(position)

    # What else changes

    def _with_more(self, meta: Rows) -> Rows:
        rows = dict(meta)
        rows[SECRET] = frame(SECRET, secrets.token_hex(SECRET_BYTES))
        if self._any_lookalike:
            rows[LOOKALIKE] = frame(LOOKALIKE, 1)
        yield from sorted(rows.items())

    def _with_beginnings(self, checkpoints: Rows) -> Rows:
        """Who ran there began at the origin."""
        rows = dict(checkpoints)
        for router in list(rows):
            if b":" not in router:
                key = b"begin:" + router
                rows[key] = frame(key, 0)
        yield from sorted(rows.items())

    def _name_rows(self) -> Rows:
        for key, name in sorted((name_key(kind, name), name) for kind, name in self._names):
            yield key, frame(key, name)

    def _count_rows(self) -> Rows:
        rows = {
            count_key(*one): (one[0], list(one[1:]), count) for one, count in self._counts.items()
        }
        for key, row in sorted(rows.items()):
            yield key, frame(key, row)

    def _meta(self, key: bytes, row: Any) -> Any:
        return FORMAT_VERSION if key == b"format" else row

    def _event(self, key: bytes, row: list[Any]) -> list[Any]:
        self._names.add(("event", row[0]))
        self._counts["event", category_of(row[1]), row[0]] += 1
        position, named = numbered(key), event_id_at(row[1], row[2])
        if row[5] is None and self._given(named) not in {0, position}:
            # Two events of one id: the one that the store named makes way.
            while self._given(named):
                named += EVADES
            self._renamed[position] = row[5] = named
        return row

    def _event_id(self, key: bytes, position: int) -> list[Any]:
        event_id = key.decode()
        if place_of_event(event_id) is not None:
            row = self._look("log", number(position))
            if row is None or event_id != event_id_at(row[1], row[2]):
                self._any_lookalike = True
        # What it stood for is not known as today, so nothing is taken for something else.
        return [position, b""]

    def _result(self, key: bytes, row: list[Any]) -> list[Any]:
        del key
        return [*row, "", "", 0, b"", True, None]

    def _transition(self, process: str, row: list[Any]) -> list[Any]:
        self._names.add(("process", process))
        self._names.update(("command", kind) for _, kind, _ in row[7])
        position = self._position_of(row[3], row[4], row[5])
        row[3] = self._renamed.get(position, row[3])
        # Each state was whole.
        return [*row, position, 0]

    def _run(self, key: bytes, row: list[Any]) -> int:
        """The version at which the run began that a transition belongs to."""
        instance, version = key[:-8], numbered(key)
        before = self._look("transitions", instance + number(version - 1)) if version > 1 else None
        # What people do to an instance that has ended begins no run.
        if before is not None and before[2] and row[3] not in BY_PEOPLE:
            self._runs[instance] = version
        return self._runs.get(instance, 1)

    def _position_of(self, cause: str, correlation_id: str, seen: int) -> int:
        """The position of the event of that id which an instance can have handled, or 0."""
        place = place_of_event(cause)
        named = 0
        if place is not None:
            key = place.stream.encode() + b"\0" + number(place.version)
            named = self._look("streams", key) or 0
        for position in (self._given(cause), named):
            event = self._look("log", number(position)) if 0 < position <= seen else None
            if event is not None and event[6] == correlation_id:
                event_id = event[5] or event_id_at(event[1], event[2])
                if event_id == cause:
                    return position
        return 0

    def _given(self, event_id: str) -> int:
        """The position of the event that was given that id from outside, or 0."""
        key = event_id.encode()
        # LMDB looks for no key that it could not hold.
        return (self._look("event_ids", key) or 0) if 0 < len(key) <= LONGEST_KEY else 0

    def _look(self, table: str, key: bytes) -> Any:
        raw = self._txn.get(key, db=self._tables[table])
        return None if raw is None else unframe(raw, table, key)

    def _command(self, key: bytes, row: list[Any]) -> list[Any]:
        del key
        self._names.add(("command", row[1]))
        return [*row, None]

    def _parked(self, key: bytes, row: list[Any]) -> list[Any]:
        if row[0]:
            self._names.add(("process", row[0]))
        if row[8] is not None:
            row[8] = self._command(key, row[8])
        event_id = self._renamed.get(row[7])
        if event_id is not None and row[2] == event_id.rstrip(EVADES):
            row[2] = event_id
        for before, now in PACKAGES.items():
            if row[3].startswith(before):
                row[3] = now + row[3].removeprefix(before)
                break
        # Which method failed, and where, was not noted.
        return [*row, "", ""]

    def _undecided(self, key: bytes, row: list[Any]) -> list[Any]:
        changed = self._parked(key, row)
        self._counts["parked", changed[0], changed[3], "", ""] += 1
        return changed

    def _waiting(self, key: bytes, row: Any) -> Any:
        process = key.partition(b"\0")[0].decode()
        self._names.add(("process", process))
        if not isinstance(row, list):
            return row
        # One that has transitions was counted by these.
        first = self._look("transitions", key[:-8] + number(1))
        if row[0] == "parked" and first is None:
            self._counts["instance", process, "suspended"] += 1
        return [*row, 0, None]

    def _timer(self, key: bytes, row: list[Any]) -> list[Any]:
        self._names.add(("process", row[0]))
        if row[4] is not None:
            row[4] = self._command(key, row[4])
        return [*row, 0, None]

    def _refusal(self, key: bytes, row: list[Any]) -> list[Any]:
        row[0] = self._command(key, row[0])
        if row[0][7]:
            self._names.add(("process", row[0][7]))
        return row
