"""The LMDB store: opening it, committing to it, and reading from it.

The layout is documented in `docs/store-format.md`; change both together.
"""

from __future__ import annotations

import secrets
import struct
import threading
from contextlib import contextmanager, suppress
from copy import copy
from typing import TYPE_CHECKING, NamedTuple, Self

import lmdb

from ..errors import CorruptRecord, DamagedStore, StoreError, UnknownFormat
from ..records import FROM_OUTSIDE, Block, CommandResult
from .environment import DATA_FILE, Durability, Environment
from .extras_writer import BLOCKED, Counters
from .frames import NUMBER, Framer, frame, number, unframe
from .names import KnownNames
from .schema import (
    LAST,
    LOOKALIKE,
    TABLES,
    command_from_row,
    digest,
    event_from_row,
    instance_key,
    kind_of_name,
    numbered,
    parked_from_row,
    refusal_from_row,
    seek_last,
    timer_from_row,
    transition_from_row,
)
from .step_writer import Writer, find_position

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import TypeAlias

    from lmdb import _Database

    from ..records import (
        CommandRecord,
        EventRecord,
        NameKind,
        Outcome,
        ParkedRecord,
        RefusalRecord,
        Step,
        TimerRecord,
        TransitionRecord,
    )

    Txn: TypeAlias = lmdb.Transaction[bytes]

__all__ = ["FORMAT_VERSION", "LmdbStore", "Snapshot"]

FORMAT_VERSION = 2
"""Stamped into every store; a store with another number is refused."""

OLD_FORMAT = 1
"""What `procession upgrade` turns into today's format."""

FEW = 4
"""Transitions of an instance that are looked for one by one."""

PER_STEP = 1 << 12
"""Bytes that one step may put into the queue and have taken off again in the same commit."""


class Snapshot(NamedTuple):
    """The whole store at one moment."""

    env: lmdb.Environment
    txn: Txn
    tables: dict[str, _Database]


class LmdbStore:
    """Durable state in one LMDB file. Satisfies `store.Store`.

    Args:
        path: the store's folder; made when it is missing
        durability: ``"fsync"`` survives a power cut; ``"os"`` survives the end of the process,
            and is synced when it is closed; ``"none"`` is never synced
        read_only: read beside a writer, in this process or another
        map_size: bytes of the first memory map; it grows by itself
        store_id: what a new store is called; random when it is not given

    Raises:
        LockedStore: it is open for writing elsewhere
        UnknownFormat: another version wrote it
        DamagedStore: it is truncated, or no store

    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        durability: Durability = "fsync",
        read_only: bool = False,
        map_size: int = 1 << 28,
        store_id: str | None = None,
    ) -> None:
        if durability not in {"fsync", "os", "none"}:
            raise StoreError(f'durability is "fsync", "os" or "none", not {durability!r}')
        self._environment = Environment(
            path, read_only=read_only, durability=durability, map_size=map_size
        )
        self._write_lock = threading.Lock()
        self._snapshot_lock = threading.Lock()
        self._framer = Framer()
        self._names = KnownNames(())
        self._new_id = store_id or secrets.token_hex(16)
        try:
            self._db = self._open_tables()
            with self._environment.read() as txn:
                self._counters = Counters(
                    position=self._last_number(txn, "log"),
                    sequence=self._last_number(txn, "queue", below=FROM_OUTSIDE),
                    sequence_from_outside=max(FROM_OUTSIDE, self._last_number(txn, "queue")),
                    parked=max(self._last_number(txn, "parked"), self._last_number(txn, "decided")),
                    refusal=self._last_number(txn, "refusals"),
                    any_waiting=self._has_rows(txn, "waiting"),
                    any_lookalike=txn.get(LOOKALIKE, db=self._db["meta"]) is not None,
                )
                if not read_only:
                    self._names = KnownNames(self._sound_names(txn))
        except BaseException as error:
            self._environment.close()
            # The latter: a key of another length than a number's.
            if isinstance(error, lmdb.Error | struct.error):
                raise DamagedStore(
                    f"{self._environment.path / DATA_FILE} cannot be read: {error}"
                ) from error
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the store. Everything else raises `ClosedError` afterwards."""
        if self._environment.is_inherited:
            # A lock that some thread of the parent held at the fork is never released here.
            return
        with self._snapshot_lock, self._write_lock:
            self._environment.close()

    def check_owner(self) -> None:
        """Refuse to go on in a process that was forked from the one that opened it.

        Raises:
            ReadOnlyStore: this is such a one

        """
        if self._environment.is_inherited:
            self._environment.check_usable()

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """The whole store as it is now, for as long as the block lasts; one at a time.

        Commits go on, and `close` waits. Pages that are freed meanwhile are not used again.
        """
        # First, since a lock that a parent held at a fork is never released here.
        self._environment.check_usable()
        with self._snapshot_lock:
            self._environment.check_usable()
            if not self._environment.read_only:
                with self._write_lock:
                    self._environment.make_spare()
            with self._environment.read() as txn:
                yield Snapshot(self._environment.env, txn, self._db)

    def replace(self, file: Path) -> None:
        """Put another file in the place of the store's own, and close; see `Environment`."""
        with self._snapshot_lock, self._write_lock:
            self._environment.replace(file)

    # Opening

    def _open_tables(self) -> dict[str, _Database]:
        # Those of the writer are taken where there is one in this process: to open a table, LMDB
        # waits for the writer with the interpreter's lock held, and that one may wait for this.
        with self._environment.tables() as tables:
            if not tables:
                tables.update(self._tables_of_file())
            elif self._environment.read_only:
                self._check_format(tables["meta"])
        return tables

    def _tables_of_file(self) -> dict[str, _Database]:
        env, read_only = self._environment.env, self._environment.read_only
        try:
            if not read_only:
                self._refuse_foreign(env)
            # The format comes first, so that a store that is refused stays as it is.
            self._check_format(env.open_db(b"meta", create=not read_only))
            return {name: env.open_db(name.encode(), create=not read_only) for name in TABLES}
        except (lmdb.NotFoundError, lmdb.ReadonlyError) as error:
            raise DamagedStore(
                f"{self._environment.path} holds an LMDB file that is no Procession store"
            ) from error

    def _refuse_foreign(self, env: lmdb.Environment) -> None:
        with env.begin() as txn:
            names = {bytes(key) for key in txn.cursor().iternext(keys=True, values=False)}
        if names and b"meta" not in names:
            raise DamagedStore(
                f"{self._environment.path} holds an LMDB file of something else; "
                f"give the store a folder of its own"
            )

    def _check_format(self, meta: _Database) -> None:
        with self._environment.read() as txn:
            raw = txn.get(b"format", db=meta)
        if raw is None:
            if self._environment.read_only:
                raise DamagedStore(f"{self._environment.path} is no Procession store")
            with self._environment.begin_write() as txn:
                txn.put(b"format", frame(b"format", FORMAT_VERSION), db=meta)
                txn.put(b"store_id", frame(b"store_id", self._new_id), db=meta)
            return
        found = unframe(raw, "meta", b"format")
        if found == OLD_FORMAT:
            raise UnknownFormat(
                f"the store at {self._environment.path} has format {found}, and this version of "
                f"Procession knows format {FORMAT_VERSION}; turn it into that, while no process "
                f"has it open, with: procession upgrade {self._environment.path}"
            )
        if found != FORMAT_VERSION:
            raise UnknownFormat(
                f"the store at {self._environment.path} has format {found}, and this version of "
                f"Procession knows format {FORMAT_VERSION}; open it with the version that wrote it"
            )

    def _last_number(self, txn: Txn, table: str, below: int = (1 << 64) - 1) -> int:
        with txn.cursor(self._db[table]) as cursor:
            found = cursor.prev() if cursor.set_range(number(below)) else cursor.last()
            return numbered(cursor.key()) if found else 0

    def _has_rows(self, txn: Txn, table: str) -> bool:
        with txn.cursor(self._db[table]) as cursor:
            return bool(cursor.first())

    # Writing

    def commit(
        self, steps: Sequence[Step], checkpoints: Mapping[str, int] | None = None
    ) -> list[Outcome]:
        self._environment.check_usable()
        with self._write_lock:
            # Once more: it may have been closed while this waited.
            self._environment.check_usable()
            self._environment.make_room(PER_STEP * len(steps))
            while True:
                counters = copy(self._counters)
                try:
                    with self._environment.begin_write() as txn:
                        writer = Writer(txn, self._db, counters, self._names, self._framer)
                        outcomes = [writer.write(step) for step in steps]
                        if checkpoints:
                            writer.write_checkpoints(checkpoints)
                        if self._names.fresh:
                            writer.write_names()
                except BaseException as error:
                    self._names.take_back()
                    if isinstance(error, lmdb.MapFullError):
                        self._environment.grow()
                        continue
                    if isinstance(error, lmdb.Error):
                        raise self._environment.error(error, "committing") from error
                    raise
                self._names.keep()
                self._counters = counters
                self._environment.shared_read.forget()
                return outcomes

    # Reading

    def last_position(self) -> int:
        self._environment.check_usable()
        if self._environment.read_only:
            with self._environment.read() as txn:
                return self._last_number(txn, "log")
        return self._counters.position

    def read_log(self, after: int, limit: int) -> list[EventRecord]:
        with self._environment.read() as txn:
            rows = self._page(txn, "log", b"", after, limit)
        return [event_from_row(unframe(raw, "log", key), numbered(key)) for key, raw in rows]

    def read_stream(self, stream: str, after: int, limit: int) -> list[EventRecord]:
        events: list[EventRecord] = []
        log = self._db["log"]
        prefix = stream.encode() + b"\0"
        with self._environment.shared_read as txn:
            if txn.get(prefix + number(after + 1), db=self._db["streams"]) is None:
                # Most streams that are asked for are new ones.
                return events
        with self._environment.read() as txn:
            for key, raw in self._page(txn, "streams", prefix, after, limit):
                position = unframe(raw, "streams", key)
                event = txn.get(number(position), db=log)
                if event is None:
                    raise StoreError(
                        f"stream {stream!r} points at position {position}, "
                        f"which the log does not have"
                    )
                events.append(event_from_row(unframe(event, "log", number(position)), position))
        return events

    def position_of(self, event_id: str) -> int:
        with self._environment.shared_read as txn:
            return find_position(txn, self._db, event_id)

    def last_transition(self, process: str, instance: str) -> TransitionRecord | None:
        prefix = instance_key(process, instance)
        transitions = self._db["transitions"]
        version, key, raw = 0, b"", None
        with self._environment.shared_read as txn:
            # Most are new, or at their beginning: a few looks cost less than a cursor.
            while version < FEW:
                next_key = prefix + number(version + 1)
                next_raw = txn.get(next_key, db=transitions)
                if next_raw is None:
                    break
                version, key, raw = version + 1, next_key, next_raw
            else:
                with txn.cursor(transitions) as cursor:
                    seek_last(cursor, prefix)
                    key, raw = cursor.item()
                version = numbered(key)
        return transition_from_row(unframe(raw, "transitions", key), version) if raw else None

    def read_transitions(
        self, process: str, instance: str, after: int, limit: int
    ) -> list[TransitionRecord]:
        prefix = instance_key(process, instance)
        with self._environment.read() as txn:
            rows = self._page(txn, "transitions", prefix, after, limit)
        return [
            transition_from_row(unframe(raw, "transitions", key), numbered(key))
            for key, raw in rows
        ]

    def read_instances(
        self, process: str, after: str, limit: int
    ) -> list[tuple[str, TransitionRecord]]:
        prefix = process.encode() + b"\0"
        start = prefix + after.encode() + b"\0" + LAST if after else prefix
        found: list[tuple[str, TransitionRecord]] = []
        with (
            self._environment.read() as txn,
            txn.cursor(self._db["transitions"]) as cursor,
        ):
            while len(found) < limit and cursor.set_range(start):
                key = cursor.key()
                if not key.startswith(prefix):
                    break
                instance = key[:-8]
                seek_last(cursor, instance)
                key, raw = cursor.item()
                record = transition_from_row(unframe(raw, "transitions", key), numbered(key))
                found.append((instance[len(prefix) : -1].decode(), record))
                start = instance + LAST
        return found

    def read_queue(self, after: int, limit: int) -> list[CommandRecord]:
        with self._environment.read() as txn:
            rows = self._page(txn, "queue", b"", after, limit)
        return [command_from_row(unframe(raw, "queue", key), numbered(key)) for key, raw in rows]

    def last_sequences(self) -> tuple[int, int]:
        self._environment.check_usable()
        return self._counters.sequence, self._counters.sequence_from_outside

    def result_of(self, command_id: str) -> CommandResult | None:
        with self._environment.shared_read as txn:
            raw = txn.get(command_id.encode(), db=self._db["command_ids"])
        if raw is None:
            return None
        return CommandResult(*unframe(raw, "command_ids", command_id.encode()))

    def checkpoint(self, router: str) -> int:
        key = router.encode()
        with self._environment.read() as txn:
            raw = txn.get(key, db=self._db["checkpoints"])
        return 0 if raw is None else int(unframe(raw, "checkpoints", key))

    def read_parked(self, after: int, limit: int, *, decided: bool = False) -> list[ParkedRecord]:
        table = "decided" if decided else "parked"
        with self._environment.read() as txn:
            rows = self._page(txn, table, b"", after, limit)
        return [parked_from_row(unframe(raw, table, key), numbered(key)) for key, raw in rows]

    def last_waiting(self, process: str, instance: str) -> int:
        if not self._may_wait():
            return 0
        with (
            self._environment.read() as txn,
            txn.cursor(self._db["waiting"]) as cursor,
        ):
            return (
                numbered(cursor.key()) if seek_last(cursor, instance_key(process, instance)) else 0
            )

    def read_waiting(
        self, process: str, instance: str, after: int, limit: int
    ) -> tuple[Block | None, list[int]]:
        if not self._may_wait():
            return None, []
        prefix = instance_key(process, instance)
        with self._environment.shared_read as txn:
            raw = txn.get(prefix + BLOCKED, db=self._db["waiting"])
            rows = self._page(txn, "waiting", prefix, after, limit)
        block = None if raw is None else Block(*unframe(raw, "waiting", prefix + BLOCKED))
        for key, row in rows:
            unframe(row, "waiting", key)
        return block, [numbered(key) for key, _ in rows]

    def read_waiting_instances(self, after: tuple[str, str], limit: int) -> list[tuple[str, str]]:
        start = instance_key(*after) + LAST + b"\0" if any(after) else b"\0"
        found: list[tuple[str, str]] = []
        with (
            self._environment.read() as txn,
            txn.cursor(self._db["waiting"]) as cursor,
        ):
            while len(found) < limit and cursor.set_range(start):
                key = cursor.key()
                # The block, if there is one, comes before what waits behind it.
                if numbered(key):
                    process, instance, _ = key[:-8].decode().split("\0")
                    found.append((process, instance))
                start = key[:-8] + LAST + b"\0"
        return found

    def last_parked(self, process: str, instance: str) -> int:
        self._environment.check_usable()
        if not (self._counters.parked or self._environment.read_only):
            return 0
        with (
            self._environment.read() as txn,
            txn.cursor(self._db["parked_at"]) as cursor,
        ):
            found = seek_last(cursor, instance_key(process, instance))
            return numbered(cursor.key()) if found else 0

    def any_blocked(self, process: str) -> bool:
        if not self._may_wait():
            return False
        prefix = start = process.encode() + b"\0"
        with (
            self._environment.read() as txn,
            txn.cursor(self._db["waiting"]) as cursor,
        ):
            while cursor.set_range(start) and cursor.key().startswith(prefix):
                # The block, if there is one, comes before what waits behind it.
                if not numbered(cursor.key()):
                    return True
                start = cursor.key()[:-8] + LAST + b"\0"
        return False

    def _may_wait(self) -> bool:
        """Whether anything is in the table at all, which is asked for with every instance."""
        self._environment.check_usable()
        return self._counters.any_waiting or self._environment.read_only

    def read_timers(self, after: bytes, until: int, limit: int) -> list[tuple[bytes, TimerRecord]]:
        found: list[tuple[bytes, TimerRecord]] = []
        with (
            self._environment.read() as txn,
            txn.cursor(self._db["timers"]) as cursor,
        ):
            if not cursor.set_range(after + b"\0" if after else b"\0"):
                return found
            for key, raw in cursor.iternext():
                if len(found) == limit or NUMBER.unpack_from(key)[0] > until:
                    break
                found.append((key, timer_from_row(unframe(raw, "timers", key), key)))
        return found

    def read_index(self, process: str, field: str, value: str) -> list[str]:
        prefix = digest(process, field, value)
        found: list[str] = []
        with (
            self._environment.read() as txn,
            txn.cursor(self._db["index"]) as cursor,
        ):
            if cursor.set_range(prefix):
                for key, raw in cursor.iternext():
                    if not key.startswith(prefix):
                        break
                    # It says nothing, and its checksum speaks for the key.
                    unframe(raw, "index", key)
                    found.append(key[len(prefix) :].decode())
        return found

    def read_refusals(self, after: int, limit: int) -> list[RefusalRecord]:
        with self._environment.read() as txn:
            rows = self._page(txn, "refusals", b"", after, limit)
        return [refusal_from_row(unframe(raw, "refusals", key), numbered(key)) for key, raw in rows]

    def read_snapshot(self, stream: str) -> tuple[int, bytes] | None:
        key = stream.encode()
        with self._environment.read() as txn:
            raw = txn.get(key, db=self._db["snapshots"])
        if raw is None:
            return None
        version, state = unframe(raw, "snapshots", key)
        return version, state

    def scan_names(self) -> Iterator[tuple[NameKind, str]]:
        with self._environment.read() as txn, txn.cursor(self._db["names"]) as cursor:
            rows = list(cursor)
        for key, raw in rows:
            yield kind_of_name(key), unframe(raw, "names", key)

    def _sound_names(self, txn: Txn) -> Iterator[tuple[NameKind, str]]:
        with txn.cursor(self._db["names"]) as cursor:
            for key, raw in cursor:
                # One that is damaged is written again when it is used next.
                with suppress(CorruptRecord):
                    yield kind_of_name(key), unframe(raw, "names", key)

    def _page(
        self, txn: Txn, table: str, prefix: bytes, after: int, limit: int
    ) -> list[tuple[bytes, bytes]]:
        """Rows whose key is the prefix and a number above `after`."""
        rows: list[tuple[bytes, bytes]] = []
        size = len(prefix) + 8
        with txn.cursor(self._db[table]) as cursor:
            if limit <= 0 or not cursor.set_range(prefix + number(after + 1)):
                return rows
            for key, raw in cursor.iternext():
                if not key.startswith(prefix) or len(key) != size:
                    break
                rows.append((key, raw))
                if len(rows) == limit:
                    break
        return rows


if TYPE_CHECKING:
    from ..port import Store

    _satisfies_the_port: Callable[..., Store] = LmdbStore
