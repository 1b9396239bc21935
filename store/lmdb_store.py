"""The LMDB store: which table holds what, and how a step becomes puts.

The layout is documented in `docs/store-format.md`; change both together.
"""

from __future__ import annotations

import secrets
import threading
from typing import TYPE_CHECKING, Any, Self

import lmdb

from .encoding import NUMBER, frame, number, unframe
from .environment import DATA_FILE, Durability, Environment
from .errors import DamagedStore, StoreError, UnknownFormat
from .records import (
    CommandRecord,
    CommandResult,
    Committed,
    Conflict,
    Duplicate,
    EventRecord,
    ParkedRecord,
    TransitionRecord,
)

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence
    from typing import TypeAlias

    from lmdb import _Database

    from .records import Append, Outcome, Step

    Txn: TypeAlias = lmdb.Transaction[bytes]

__all__ = ["FORMAT_VERSION", "LmdbStore"]

FORMAT_VERSION = 1
"""Stamped into every store; a store with another number is refused."""

TABLES = (
    "meta",
    "log",
    "streams",
    "transitions",
    "queue",
    "event_ids",
    "command_ids",
    "checkpoints",
    "parked",
    "waiting",
)

_LAST = b"\xff" * 8


class LmdbStore:
    """Durable state in one LMDB file. Satisfies `store.Store`.

    Args:
        path: the store's folder; made when it is missing
        durability: ``"fsync"`` survives a power cut; ``"os"`` survives the end of the process,
            and is synced when it is closed; ``"none"`` is never synced
        read_only: read beside a writer, in this process or another
        map_size: bytes of the first memory map; it grows by itself

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
    ) -> None:
        if durability not in {"fsync", "os", "none"}:
            raise StoreError(f'durability is "fsync", "os" or "none", not {durability!r}')
        self._environment = Environment(
            path, read_only=read_only, durability=durability, map_size=map_size
        )
        self._write_lock = threading.Lock()
        try:
            self._db = self._open_tables()
            self._check_format()
            with self._environment.read() as txn:
                self._last_position = self._last_number(txn, "log")
                self._last_ticket = self._last_number(txn, "queue")
                self._last_parked = self._last_number(txn, "parked")
        except BaseException as error:
            self._environment.close()
            if isinstance(error, lmdb.Error):
                raise DamagedStore(
                    f"{self._environment.path / DATA_FILE} cannot be read: {error}"
                ) from error
            raise
        self._checkpoints: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the store. Everything else raises `ClosedError` afterwards."""
        with self._write_lock:
            self._environment.close()

    # Opening

    def _open_tables(self) -> dict[str, _Database]:
        env, read_only = self._environment.env, self._environment.read_only
        try:
            if not read_only:
                self._refuse_foreign(env)
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

    def _check_format(self) -> None:
        with self._environment.read() as txn:
            raw = txn.get(b"format", db=self._db["meta"])
        if raw is None:
            if self._environment.read_only:
                raise DamagedStore(f"{self._environment.path} is no Procession store")
            with self._environment.begin_write() as txn:
                txn.put(b"format", frame(FORMAT_VERSION), db=self._db["meta"])
                txn.put(b"store_id", frame(secrets.token_hex(16)), db=self._db["meta"])
            return
        found = unframe(raw, "meta", b"format")
        if found != FORMAT_VERSION:
            raise UnknownFormat(
                f"the store at {self._environment.path} has format {found}, and this version of "
                f"Procession knows format {FORMAT_VERSION}; open it with the version that wrote it"
            )

    def _last_number(self, txn: Txn, table: str) -> int:
        with txn.cursor(self._db[table]) as cursor:
            return _numbered(cursor.key()) if cursor.last() else 0

    # Writing

    def commit(
        self, steps: Sequence[Step], checkpoints: Mapping[str, int] | None = None
    ) -> list[Outcome]:
        with self._write_lock:
            counters = self._last_position, self._last_ticket, self._last_parked
            while True:
                try:
                    return self._commit(steps, checkpoints or {})
                except lmdb.MapFullError:
                    self._set_counters(counters)
                    self._environment.grow()
                except lmdb.Error as error:
                    self._set_counters(counters)
                    raise self._environment.error(error, "committing") from error
                except BaseException:
                    self._set_counters(counters)
                    raise

    def _set_counters(self, counters: tuple[int, int, int]) -> None:
        self._last_position, self._last_ticket, self._last_parked = counters

    def _commit(self, steps: Sequence[Step], checkpoints: Mapping[str, int]) -> list[Outcome]:
        with self._environment.begin_write() as txn:
            outcomes = [self._write(txn, step) for step in steps]
            db = self._db["checkpoints"]
            for router, position in checkpoints.items():
                txn.put(router.encode(), frame(position), db=db)
        self._environment.cover()
        return outcomes

    def _write(self, txn: Txn, step: Step) -> Outcome:
        refusal = self._check(txn, step)
        if refusal is not None:
            return refusal
        if step.take:
            txn.delete(number(step.take), db=self._db["queue"])
        if step.append is not None:
            self._append(txn, step.append)
        if step.transition is not None:
            record = step.transition
            txn.put(
                _instance_key(step.process, step.instance) + number(record.version),
                frame(_transition_to_row(record)),
                db=self._db["transitions"],
            )
        if step.enqueue:
            db = self._db["queue"]
            for command in step.enqueue:
                self._last_ticket += 1
                command.ticket = self._last_ticket
                txn.put(number(command.ticket), frame(_command_to_row(command)), db=db, append=True)
        if step.result is not None and step.command_id is not None:
            self._write_result(txn, step)
        if step.park is not None:
            self._park(txn, step.park)
        if step.wait:
            txn.put(
                _instance_key(step.process, step.instance) + number(step.wait),
                frame(0),
                db=self._db["waiting"],
            )
        return Committed()

    def _check(self, txn: Txn, step: Step) -> Conflict | Duplicate | None:
        """What the step expects and does not find; looked at before anything is written."""
        if step.take and txn.get(number(step.take), db=self._db["queue"]) is None:
            return Duplicate()
        if step.command_id is not None:
            raw = txn.get(step.command_id.encode(), db=self._db["command_ids"])
            if raw is not None:
                return Duplicate(result=_result(raw, step.command_id))
        park = step.park
        if park is not None and park.position:
            key = _instance_key(park.process, park.instance) + number(park.position)
            if txn.get(key, db=self._db["waiting"]) is not None:
                return Duplicate(position=park.position)
        append = step.append
        if append is not None:
            if append.unique:
                for event in append.events:
                    position = self._position_of(txn, event.event_id)
                    if position:
                        return Duplicate(position=position)
            if append.expected is not None and not self._is_at(
                txn, "streams", append.stream.encode() + b"\0", append.expected
            ):
                return Conflict(f"stream {append.stream!r} is not at version {append.expected}")
        if step.transition is not None and not self._is_at(
            txn,
            "transitions",
            _instance_key(step.process, step.instance),
            step.transition.version - 1,
        ):
            return Conflict(
                f"instance {step.instance!r} of {step.process} is not at version "
                f"{step.transition.version - 1}"
            )
        return None

    def _is_at(self, txn: Txn, table: str, prefix: bytes, version: int) -> bool:
        db = self._db[table]
        if txn.get(prefix + number(version + 1), db=db) is not None:
            return False
        return not version or txn.get(prefix + number(version), db=db) is not None

    def _append(self, txn: Txn, append: Append) -> None:
        log, streams = self._db["log"], self._db["streams"]
        prefix = append.stream.encode() + b"\0"
        version = append.expected
        if version is None:
            version = self._last_of(txn, "streams", prefix)
        for event in append.events:
            version += 1
            self._last_position += 1
            event.version, event.position = version, self._last_position
            named = event_id_at(append.stream, version)
            if not event.event_id:
                event.event_id = named
            if not event.correlation_id:
                event.correlation_id = event.event_id
            position = number(event.position)
            txn.put(position, frame(_event_to_row(event, named)), db=log, append=True)
            txn.put(prefix + number(version), frame(event.position), db=streams)
            if append.unique:
                txn.put(event.event_id.encode(), frame(event.position), db=self._db["event_ids"])

    def _write_result(self, txn: Txn, step: Step) -> None:
        result, append = step.result, step.append
        assert result is not None
        assert step.command_id is not None
        if append is not None:
            result.first_position = append.events[0].position
            result.events = len(append.events)
        row = (result.first_position, result.events, result.refusal)
        txn.put(step.command_id.encode(), frame(row), db=self._db["command_ids"])

    def _park(self, txn: Txn, parked: ParkedRecord) -> None:
        self._last_parked += 1
        parked.number = self._last_parked
        txn.put(number(parked.number), frame(_parked_to_row(parked)), db=self._db["parked"])
        if parked.position:
            key = _instance_key(parked.process, parked.instance) + number(parked.position)
            txn.put(key, frame(parked.number), db=self._db["waiting"])

    # Reading

    def last_position(self) -> int:
        if self._environment.read_only:
            with self._environment.read() as txn:
                return self._last_number(txn, "log")
        return self._last_position

    def read_log(self, after: int, limit: int) -> list[EventRecord]:
        with self._environment.read() as txn:
            rows = self._page(txn, "log", b"", after, limit)
        return [_event_from_row(unframe(raw, "log", key), _numbered(key)) for key, raw in rows]

    def read_stream(self, stream: str, after: int, limit: int) -> list[EventRecord]:
        events = []
        log = self._db["log"]
        with self._environment.read() as txn:
            for key, raw in self._page(txn, "streams", stream.encode() + b"\0", after, limit):
                position = unframe(raw, "streams", key)
                event = txn.get(number(position), db=log)
                if event is None:
                    raise StoreError(
                        f"stream {stream!r} points at position {position}, "
                        f"which the log does not have"
                    )
                events.append(_event_from_row(unframe(event, "log", number(position)), position))
        return events

    def position_of(self, event_id: str) -> int:
        with self._environment.read() as txn:
            return self._position_of(txn, event_id)

    def _position_of(self, txn: Txn, event_id: str) -> int:
        key = event_id.encode()
        raw = txn.get(key, db=self._db["event_ids"])
        if raw is not None:
            return int(unframe(raw, "event_ids", key))
        # Ids that were not given from outside say themselves where their event is.
        stream, _, version = event_id.rpartition("@")
        if not stream or not version.isdecimal() or len(version) > 18:
            return 0
        key = stream.encode() + b"\0" + number(int(version))
        raw = txn.get(key, db=self._db["streams"])
        return 0 if raw is None else int(unframe(raw, "streams", key))

    def last_transition(self, process: str, instance: str) -> TransitionRecord | None:
        prefix = _instance_key(process, instance)
        with (
            self._environment.read() as txn,
            txn.cursor(self._db["transitions"]) as cursor,
        ):
            if not _seek_last(cursor, prefix):
                return None
            key, raw = cursor.item()
        return _transition_from_row(unframe(raw, "transitions", key), _numbered(key))

    def read_transitions(
        self, process: str, instance: str, after: int, limit: int
    ) -> list[TransitionRecord]:
        prefix = _instance_key(process, instance)
        with self._environment.read() as txn:
            rows = self._page(txn, "transitions", prefix, after, limit)
        return [
            _transition_from_row(unframe(raw, "transitions", key), _numbered(key))
            for key, raw in rows
        ]

    def read_instances(
        self, process: str, after: str, limit: int
    ) -> list[tuple[str, TransitionRecord]]:
        prefix = process.encode() + b"\0"
        start = prefix + after.encode() + b"\0" + _LAST if after else prefix
        found = []
        with (
            self._environment.read() as txn,
            txn.cursor(self._db["transitions"]) as cursor,
        ):
            while len(found) < limit and cursor.set_range(start):
                key = cursor.key()
                if not key.startswith(prefix):
                    break
                instance = key[:-8]
                _seek_last(cursor, instance)
                key, raw = cursor.item()
                record = _transition_from_row(unframe(raw, "transitions", key), _numbered(key))
                found.append((instance[len(prefix) : -1].decode(), record))
                start = instance + _LAST
        return found

    def read_queue(self, after: int, limit: int) -> list[CommandRecord]:
        with self._environment.read() as txn:
            rows = self._page(txn, "queue", b"", after, limit)
        return [_command_from_row(unframe(raw, "queue", key), _numbered(key)) for key, raw in rows]

    def last_ticket(self) -> int:
        return self._last_ticket

    def result_of(self, command_id: str) -> CommandResult | None:
        with self._environment.read() as txn:
            raw = txn.get(command_id.encode(), db=self._db["command_ids"])
        return None if raw is None else _result(raw, command_id)

    def checkpoint(self, router: str) -> int:
        key = router.encode()
        with self._environment.read() as txn:
            raw = txn.get(key, db=self._db["checkpoints"])
        return 0 if raw is None else int(unframe(raw, "checkpoints", key))

    def read_parked(self, after: int, limit: int) -> list[ParkedRecord]:
        with self._environment.read() as txn:
            rows = self._page(txn, "parked", b"", after, limit)
        return [_parked_from_row(unframe(raw, "parked", key), _numbered(key)) for key, raw in rows]

    def last_waiting(self, process: str, instance: str) -> int:
        with self._environment.read() as txn:
            return self._last_of(txn, "waiting", _instance_key(process, instance))

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

    def _last_of(self, txn: Txn, table: str, prefix: bytes) -> int:
        with txn.cursor(self._db[table]) as cursor:
            return _numbered(cursor.key()) if _seek_last(cursor, prefix) else 0


def event_id_at(stream: str, version: int) -> str:
    """The id of an event that was given none: it says where the event is."""
    return f"{stream}@{version}"


def _instance_key(process: str, instance: str) -> bytes:
    return f"{process}\0{instance}\0".encode()


def _seek_last(cursor: lmdb.Cursor[bytes], prefix: bytes) -> bool:
    """Put the cursor on the last key that is the prefix and a number."""
    found = cursor.prev() if cursor.set_range(prefix + _LAST) else cursor.last()
    return found and cursor.key()[:-8] == prefix


def _numbered(key: bytes) -> int:
    return int(NUMBER.unpack_from(key, len(key) - 8)[0])


def _result(raw: bytes, command_id: str) -> CommandResult:
    return CommandResult(*unframe(raw, "command_ids", command_id.encode()))


# Rows are lists, whose places are the format; names would be written a million times.


def _event_to_row(event: EventRecord, named: str) -> list[Any]:
    event_id = event.event_id
    return [
        event.type,
        event.stream,
        event.version,
        event.time,
        event.data,
        None if event_id == named else event_id,
        event.correlation_id,
        event.causation_id,
        event.headers,
    ]


def _event_from_row(row: list[Any], position: int) -> EventRecord:
    kind, stream, version, time, data, event_id, correlation_id, causation_id, headers = row
    return EventRecord(
        kind,
        stream,
        version,
        time,
        data,
        event_id or event_id_at(stream, version),
        correlation_id,
        causation_id,
        headers,
        position,
    )


def _transition_to_row(record: TransitionRecord) -> list[Any]:
    return [
        record.time,
        record.handler,
        record.is_complete,
        record.cause,
        record.correlation_id,
        record.seen,
        record.state,
        record.commands,
    ]


def _transition_from_row(row: list[Any], version: int) -> TransitionRecord:
    *values, commands = row
    return TransitionRecord(version, *values, [tuple(command) for command in commands])


def _command_to_row(command: CommandRecord) -> list[Any]:
    return [
        command.command_id,
        command.type,
        command.stream,
        command.time,
        command.data,
        command.correlation_id,
        command.causation_id,
        command.process,
        command.instance,
        command.version,
    ]


def _command_from_row(row: list[Any], ticket: int) -> CommandRecord:
    return CommandRecord(*row, ticket)


def _parked_to_row(parked: ParkedRecord) -> list[Any]:
    return [
        parked.process,
        parked.instance,
        parked.cause,
        parked.error_type,
        parked.error_text,
        parked.attempts,
        parked.time,
        parked.position,
        None if parked.command is None else _command_to_row(parked.command),
    ]


def _parked_from_row(row: list[Any], parked_number: int) -> ParkedRecord:
    *values, command = row
    return ParkedRecord(
        *values,
        command=None if command is None else _command_from_row(command, 0),
        number=parked_number,
    )


if TYPE_CHECKING:
    from .port import Store

    _satisfies_the_port: Callable[..., Store] = LmdbStore
