"""Reading from a store: single records, bounded batches, and scans that page inside."""

from __future__ import annotations

from itertools import islice, takewhile
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import StoreError
from ..records import Block, CommandResult
from .extras_writer import BLOCKED, Counters
from .frames import NUMBER, number, unframe
from .keys import LAST, digest, numbered, seek_last
from .schema import (
    command_from_row,
    event_from_row,
    instance_key,
    kind_of_name,
    parked_from_row,
    refusal_from_row,
    timer_from_row,
    transition_from_row,
)
from .step_writer import find_position

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeAlias

    import lmdb
    from lmdb import _Database

    from ..records import (
        CommandRecord,
        EventRecord,
        NameKind,
        ParkedRecord,
        RefusalRecord,
        TimerRecord,
        TransitionRecord,
    )
    from .environment import Environment

    Txn: TypeAlias = lmdb.Transaction[bytes]

__all__ = ["Reads"]

T = TypeVar("T")
K = TypeVar("K")

FIRST_PAGE = 4
"""Rows that a scan reads at first: what is looked for is often the next one."""

PAGE = 256
"""Rows that a scan reads at a time after that."""

FEW = 4
"""Transitions of an instance that are looked for one by one."""


class Reads:
    """What can be read of a store; the store that opened it fills in the rest."""

    _environment: Environment
    _db: dict[str, _Database]
    _counters: Counters

    def last_position(self) -> int:
        self._environment.check_usable()
        if self._environment.read_only:
            with self._environment.read() as txn:
                return self._last_number(txn, "log")
        return self._counters.position

    def event_at(self, position: int) -> EventRecord | None:
        return self._one("log", position, event_from_row)

    def event_in(self, stream: str, version: int) -> EventRecord | None:
        for event in self.read_stream(stream, version - 1, 1):
            return event if event.version == version else None
        return None

    def position_of(self, event_id: str) -> int:
        with self._environment.read() as txn:
            return find_position(txn, self._db, event_id)

    def scan_log(self, after: int = 0) -> Iterator[EventRecord]:
        return self._scan("log", b"", after, event_from_row)

    def read_log(self, after: int, limit: int) -> list[EventRecord]:
        return self._batch("log", b"", after, limit, event_from_row)

    def scan_stream(self, stream: str, after: int = 0) -> Iterator[EventRecord]:
        return _in_pages(
            lambda last, limit: self.read_stream(stream, last, limit),
            after,
            lambda event: event.version,
        )

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

    def transition_at(self, process: str, instance: str, version: int) -> TransitionRecord | None:
        prefix = instance_key(process, instance)
        return self._one("transitions", version, transition_from_row, prefix)

    def scan_transitions(
        self, process: str, instance: str, after: int = 0
    ) -> Iterator[TransitionRecord]:
        prefix = instance_key(process, instance)
        return self._scan("transitions", prefix, after, transition_from_row)

    def read_transitions(
        self, process: str, instance: str, after: int, limit: int
    ) -> list[TransitionRecord]:
        prefix = instance_key(process, instance)
        return self._batch("transitions", prefix, after, limit, transition_from_row)

    def scan_instances(
        self, process: str, after: str = ""
    ) -> Iterator[tuple[str, TransitionRecord]]:
        return _in_pages(
            lambda last, limit: self._instances(process, last, limit), after, lambda one: one[0]
        )

    def _instances(
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

    def scan_queue(self, after: int = 0) -> Iterator[CommandRecord]:
        return self._scan("queue", b"", after, command_from_row)

    def read_queue(self, after: int, limit: int) -> list[CommandRecord]:
        return self._batch("queue", b"", after, limit, command_from_row)

    def last_sequences(self) -> tuple[int, int]:
        self._environment.check_usable()
        return self._counters.sequence, self._counters.sequence_from_outside

    def result_of(self, command_id: str) -> CommandResult | None:
        with self._environment.read() as txn:
            raw = txn.get(command_id.encode(), db=self._db["command_ids"])
        if raw is None:
            return None
        return CommandResult(*unframe(raw, "command_ids", command_id.encode()))

    def checkpoint(self, router: str) -> int:
        key = router.encode()
        with self._environment.read() as txn:
            raw = txn.get(key, db=self._db["checkpoints"])
        return 0 if raw is None else int(unframe(raw, "checkpoints", key))

    def scan_checkpoints(self) -> Iterator[tuple[str, int]]:
        for key, raw in self._scan_rows("checkpoints", b"", lambda _: True):
            yield key.decode(), int(unframe(raw, "checkpoints", key))

    def parked_as(self, number: int) -> ParkedRecord | None:
        return self._one("parked", number, parked_from_row)

    def scan_parked(self, after: int = 0, *, decided: bool = False) -> Iterator[ParkedRecord]:
        return self._scan("decided" if decided else "parked", b"", after, parked_from_row)

    def last_parked(self, process: str, instance: str) -> int:
        self._environment.check_usable()
        if not (self._counters.parked or self._environment.read_only):
            return 0
        return self._last_of("parked_at", process, instance)

    def block_of(self, process: str, instance: str) -> Block | None:
        if not self._may_wait():
            return None
        key = instance_key(process, instance) + BLOCKED
        with self._environment.read() as txn:
            raw = txn.get(key, db=self._db["waiting"])
        return None if raw is None else Block(*unframe(raw, "waiting", key))

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

    def last_waiting(self, process: str, instance: str) -> int:
        return self._last_of("waiting", process, instance) if self._may_wait() else 0

    def _last_of(self, table: str, process: str, instance: str) -> int:
        """The highest number behind an instance in the keys of a table."""
        with (
            self._environment.read() as txn,
            txn.cursor(self._db[table]) as cursor,
        ):
            found = seek_last(cursor, instance_key(process, instance))
            return numbered(cursor.key()) if found else 0

    def scan_waiting(self, process: str, instance: str, after: int = 0) -> Iterator[int]:
        prefix = instance_key(process, instance)
        return self._scan("waiting", prefix, after, lambda _, position: position)

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

    def scan_ready(self) -> Iterator[tuple[str, str]]:
        return _in_pages(self._ready, ("", ""), lambda one: one)

    def _ready(self, after: tuple[str, str], limit: int) -> list[tuple[str, str]]:
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

    def scan_timers(self, until: int, after: bytes = b"") -> Iterator[tuple[bytes, TimerRecord]]:
        for key, raw in self._scan_rows(
            "timers", after, lambda key: bool(NUMBER.unpack_from(key)[0] <= until)
        ):
            yield key, timer_from_row(unframe(raw, "timers", key), key)

    def scan_index(self, process: str, field: str, value: str) -> Iterator[str]:
        prefix = digest(process, field, value)
        for key, raw in self._scan_rows("index", prefix, lambda key: key.startswith(prefix)):
            # It says nothing, and its checksum speaks for the key.
            unframe(raw, "index", key)
            yield key[len(prefix) :].decode()

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

    def refusal_at(self, sequence: int) -> RefusalRecord | None:
        return self._one("refusals", sequence, refusal_from_row)

    def scan_refusals(self, after: int = 0) -> Iterator[RefusalRecord]:
        return self._scan("refusals", b"", after, refusal_from_row)

    def read_refusals(self, after: int, limit: int) -> list[RefusalRecord]:
        return self._batch("refusals", b"", after, limit, refusal_from_row)

    def read_snapshot(self, stream: str) -> tuple[int, bytes] | None:
        key = stream.encode()
        with self._environment.read() as txn:
            raw = txn.get(key, db=self._db["snapshots"])
        if raw is None:
            return None
        version, state = unframe(raw, "snapshots", key)
        return version, state

    def scan_names(self) -> Iterator[tuple[NameKind, str]]:
        for key, raw in self._scan_rows("names", b"", lambda _: True):
            yield kind_of_name(key), unframe(raw, "names", key)

    # What the calls share

    def _last_number(self, txn: Txn, table: str, below: int = (1 << 64) - 1) -> int:
        with txn.cursor(self._db[table]) as cursor:
            found = cursor.prev() if cursor.set_range(number(below)) else cursor.last()
            return numbered(cursor.key()) if found else 0

    def _one(
        self, table: str, place: int, made: Callable[[Any, int], T], prefix: bytes = b""
    ) -> T | None:
        """The record whose key is the prefix and a number."""
        # Of its own: the shared one may still be from before a commit that a scan has seen.
        with self._environment.read() as txn:
            key = prefix + number(place)
            raw = txn.get(key, db=self._db[table])
        return None if raw is None else made(unframe(raw, table, key), place)

    def _scan(
        self, table: str, prefix: bytes, after: int, made: Callable[[Any, int], T]
    ) -> Iterator[T]:
        """Records whose keys are the prefix and a number above `after`."""

        def read(last: int, limit: int) -> list[tuple[bytes, bytes]]:
            with self._environment.read() as txn:
                return self._page(txn, table, prefix, last, limit)

        for key, raw in _in_pages(read, after, lambda row: numbered(row[0])):
            yield made(unframe(raw, table, key), numbered(key))

    def _batch(
        self, table: str, prefix: bytes, after: int, limit: int, made: Callable[[Any, int], T]
    ) -> list[T]:
        """As `_scan`, at most so many, at once."""
        with self._environment.read() as txn:
            rows = self._page(txn, table, prefix, after, limit)
        return [made(unframe(raw, table, key), numbered(key)) for key, raw in rows]

    def _scan_rows(
        self, table: str, after: bytes, is_wanted: Callable[[bytes], bool]
    ) -> Iterator[tuple[bytes, bytes]]:
        """Rows whose keys come after another one, up to the first that is not wanted."""

        def read(last: bytes, limit: int) -> list[tuple[bytes, bytes]]:
            with (
                self._environment.read() as txn,
                txn.cursor(self._db[table]) as cursor,
            ):
                if not cursor.set_range(last + b"\0"):
                    return []
                wanted = takewhile(lambda row: is_wanted(row[0]), cursor.iternext())
                return list(islice(wanted, limit))

        return _in_pages(read, after, lambda row: row[0])

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


def _in_pages(read: Callable[[K, int], list[T]], after: K, key_of: Callable[[T], K]) -> Iterator[T]:
    """All that a call reads in pages; nothing is open while the caller looks at them."""
    limit = FIRST_PAGE
    while True:
        page = read(after, limit)
        yield from page
        if len(page) < limit:
            return
        after, limit = key_of(page[-1]), PAGE
