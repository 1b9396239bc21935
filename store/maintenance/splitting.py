"""Taking an undivided store apart, row by row, into the partitions of a divided one.

Each row goes where the stream, the instance or the value lies that it is of. The log of each
partition has positions of its own, in the order in which the events were stored, and so have
transitions and what was parked; what refers to them is written anew. An event that an instance of
another partition has handled, or is to take up, is there as a copy for its process manager, as if
it had been sent. Where each row went is kept in files beside the copy, so memory stays small.

What stays of events that were pruned has positions among the others. Numbers of which nothing stays
are one that is left out in each partition, where they end: below it, things may be missing there.
"""

from __future__ import annotations

import secrets
import shutil
from collections import Counter
from contextlib import ExitStack
from functools import lru_cache
from heapq import merge
from itertools import chain, groupby, islice
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Self

import msgspec
from msgspec import Struct

from ..errors import DamagedStore, StoreError
from ..identifiers import category_of, effect_command_id_at, place_of_effect, stream_of_event
from ..layout.frames import corrupt, frame, moved, number, unframe
from ..layout.keys import DIGEST_BYTES, LAST, Misshapen, digest, numbered
from ..layout.schema import (
    BLOCKED,
    CODEC,
    COMMITS,
    DASHLESS,
    EXCERPT,
    FORMAT_VERSION,
    IMPORTED,
    INSTANCE,
    LOOKALIKE,
    OWN,
    PRUNED_UP_TO,
    ROW_READERS,
    SECRET,
    TABLES,
    Marks,
    copies_key,
    count_key,
    effect_key,
    instance_key,
    key_of,
    owed_key,
    place_of,
    transitions_key,
    unmatched_by_key,
    unmatched_key,
)
from ..lmdb.divided_store import DividedStore, mark_divided
from ..lmdb.environment import DATA_FILE, MAX_TABLES
from ..lmdb.file_swap import sync_folder
from ..lmdb.private_files import PRIVATE_FOLDER
from ..partitions import Partition, deciding_part
from ..state_changes import texts_in
from ..verify.apart import Verifiers
from ..verify.verify import verify_path
from .copying import LARGEST_COPY
from .number_file import NumberFile
from .rewriting import (
    AT_ONCE,
    PARTIAL,
    new_environment,
    refusals_of_the_disk,
    sound,
    sync_file,
)
from .sorting import Sorter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import TypeAlias

    import lmdb

    from ..coded import PayloadCodec
    from ..layout.schema import ResultRow, TombstoneRow, TransitionRow
    from ..storage_engine import EngineSnapshot, Row
    from ..store import Store
    from ..verify.inspecting import StoreFinding
    from .rewriting import Rows

    Put: TypeAlias = Callable[[Mapping[str, Sequence[Sequence[Row]]]], object]

__all__ = ["PROJECTION", "rows_to_divide", "split"]

UNCOUNTED = frozenset(
    {"meta", "checkpoints", "counts", "document_sets", "documents", "unmatched_by"}
)
"""Tables of which each partition gets rows of its own, or has them made anew."""

PROJECTION = "project:"
"""What stands before the name of a projection, in that of its checkpoint."""

AWAY = 2
"""Bytes that say a partition, in keys of what is kept meanwhile."""

ADDRESSES = 1 << 46
"""Bytes of address space that all partitions may take together."""

WORTH_PROCESSES = 50_000
"""Rows from which on processes verify them, which take a while to start."""

AFTER_ALL = b"\xff" * 512
"""Comes behind all keys."""

TOLD_EVERY = 1_024
"""Rows of which is told at once."""

KEPT_IDS = 16_384
"""Ids of which it is known at once in which partition they are."""

NOTED_EVERY = 256
"""Positions after which it is noted how far the log of each partition reaches."""

HOME = 48
"""Bits of a position in a partition; the partition's number stands above them."""
LOCAL = (1 << HOME) - 1


def split(
    store: Store,
    here: EngineSnapshot,
    folder: Path,
    count: int,
    *,
    codec: PayloadCodec | None,
    projections_anew: bool,
    tell: Callable[[int], None],
    put_too: Put | None = None,
) -> int:
    """Write the partitions of a divided store, check them, and mark the folder as that store.

    Args:
        store: undivided, open for writing, at rest
        here: its rows, as they are stored
        folder: of the new store; missing or empty
        count: of partitions
        codec: of the store, if it has one
        projections_anew: whether projections are to go through the logs from their beginnings
        tell: called with how many rows more are done, which are twice those of `rows_to_divide`:
            they are written and verified
        put_too: called with the rows of all partitions by table, as they are written; they are its
            own from then on

    Returns:
        how many rows the partitions have

    Raises:
        StoreError: something is in the way, which it says; nothing is left in the folder

    """
    Partition(0, count).check()
    meta = _refuse_unfit(here, projections_anew=projections_anew)
    existed = folder.exists()
    if existed and (not folder.is_dir() or any(folder.iterdir())):
        raise StoreError(
            f"{folder} is not empty: a copy gets a folder of its own, which is missing or empty"
        )
    divided = DividedStore(folder.absolute(), count, secrets.token_hex(16))
    rows = rows_to_divide(here)
    try:
        with refusals_of_the_disk(folder):
            folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        with _verifying(divided, rows, codec) as verifying:
            with ExitStack() as stack:
                made = stack.enter_context(_Partitions(divided, put_too))
                _Splitting(store, here, made, stack, tell).write(meta)
                written = made.finish()
            verifying.begin()
            # Meanwhile: what is verified need not be on disk yet.
            made.sync()
            _refuse_unsound(verifying, divided, rows, tell)
        mark_divided(divided)
    except BaseException:
        for one in range(count):
            shutil.rmtree(divided.folder_of(one), ignore_errors=True)
        if not existed:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    return written


def rows_to_divide(here: EngineSnapshot) -> int:
    """How many rows are gone through, some of them twice."""
    # What transitions refer to is looked for before they are copied.
    return here.count("transitions") + sum(
        here.count(one) for one in TABLES if one not in UNCOUNTED
    )


def _verifying(divided: DividedStore, rows: int, codec: PayloadCodec | None) -> Verifiers | _Here:
    """What is to verify the partitions: this process, if they need the codec, or have few rows."""
    folders = [divided.folder_of(one) for one in range(divided.count)]
    if codec is not None or rows < WORTH_PROCESSES:
        return _Here(folders, codec)
    return Verifiers(divided.folder, [one.name for one in folders])


class _Here:
    """Verifies stores in this process, as `Verifiers` do in others."""

    def __init__(self, folders: list[Path], codec: PayloadCodec | None) -> None:
        self._folders = folders
        self._codec = codec

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing has been started."""

    def begin(self) -> None:
        """They are verified when they are asked for."""

    def findings(self) -> Iterator[tuple[str, StoreFinding | None]]:
        for one in self._folders:
            findings, _ = verify_path(one, limit=1, codec=self._codec)
            yield one.name, findings[0] if findings else None


def _refuse_unsound(
    verifying: Verifiers | _Here, divided: DividedStore, rows: int, tell: Callable[[int], None]
) -> None:
    told = 0
    for done, (name, finding) in enumerate(verifying.findings(), 1):
        if finding is not None:
            raise DamagedStore(
                f"{name} of the copy is not sound, so it was removed: {finding}; run "
                f"`procession verify` on the source"
            )
        tell(rows * done // divided.count - told)
        told = rows * done // divided.count


def _refuse_unfit(here: EngineSnapshot, *, projections_anew: bool) -> dict[bytes, bytes]:
    """The rows of `meta`, of a store that can be divided."""
    meta = dict(here.scan("meta"))
    for key, why in (
        (EXCERPT, "has some records of another, so that what they came of is not there"),
        (IMPORTED, "is filled with history and has not gone live: go live with it first"),
    ):
        if key in meta:
            raise StoreError(f"the store cannot be divided, since it {why}")
    names = [key.decode() for key, _ in here.scan("checkpoints", PROJECTION.encode())]
    names = [one.removeprefix(PROJECTION) for one in names if one.startswith(PROJECTION)]
    if names and not projections_anew:
        raise StoreError(
            f"each partition folds a log of its own, so projections ({', '.join(names)}) begin "
            f"anew in a divided store: drop their tables, or give them a new database, and copy "
            f"with projections_anew=True (--projections-anew)"
        )
    return meta


class _Partitions:
    """The files of the partitions: rows are put in the order of their keys, table by table."""

    def __init__(self, divided: DividedStore, put_too: Put | None) -> None:
        self.divided = divided
        self._put_too = put_too
        self.numbers = [one.number for one in divided.partitions()]
        self._files = [divided.folder_of(one) / PARTIAL for one in self.numbers]
        self._envs: list[lmdb.Environment] = []
        self._pending: dict[str, list[list[Row]]] = {}
        self._size = 0
        self._tables: list[dict[str, Any]] = []
        self.written: Counter[tuple[int, str]] = Counter()

    def __enter__(self) -> Self:
        try:
            for file in self._files:
                with refusals_of_the_disk(file):
                    file.parent.mkdir(mode=PRIVATE_FOLDER)
                    env = new_environment(file, MAX_TABLES, ADDRESSES // len(self._files))
                    self._envs.append(env)
                    self._tables.append({one: env.open_db(one.encode()) for one in TABLES})
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for env in self._envs:
            env.close()

    def rows_of(self, table: str) -> list[list[Row]]:
        """Where rows of a table are put, for each partition; `took` is to be told of them.

        The key of each is above all others that the table has there.
        """
        found = self._pending.get(table)
        if found is None:
            found = self._pending[table] = [[] for _ in self.numbers]
        return found

    def took(self, size: int) -> None:
        """Rows of so many bytes were put, or about so many."""
        self._size += size
        if self._size > AT_ONCE:
            self._write()

    def put(self, partition: int, table: str, key: bytes, raw: bytes) -> None:
        """Take up a row, whose key is above all others that this table has there."""
        self.rows_of(table)[partition].append((key, raw))
        self.took(len(key) + len(raw))

    def put_everywhere(self, table: str, rows: Iterable[Row]) -> None:
        """Take up rows in all partitions."""
        for key, raw in rows:
            for one in self.numbers:
                self.put(one, table, key, raw)

    def _write(self) -> None:
        taken = {table: by_partition[:] for table, by_partition in self._pending.items()}
        for by_partition in self._pending.values():
            by_partition[:] = [[] for _ in by_partition]
        if self._put_too is not None:
            self._put_too(taken)
        for partition in self.numbers:
            some = [(table, rows[partition]) for table, rows in taken.items() if rows[partition]]
            if not some:
                continue
            with (
                refusals_of_the_disk(self._files[partition]),
                self._envs[partition].begin(write=True) as txn,
            ):
                for table, rows in some:
                    with txn.cursor(self._tables[partition][table]) as cursor:
                        _, added = cursor.putmulti(rows, append=True)
                    if added != len(rows):
                        raise DamagedStore(
                            f"the keys of table {table!r} are not in order: verify the source"
                        )
                    self.written[partition, table] += added
        self._size = 0

    def finish(self) -> int:
        """Write all of it, under the names of stores; how many rows they have."""
        self._write()
        for env, file in zip(self._envs, self._files, strict=True):
            with refusals_of_the_disk(file):
                env.close()
                file.replace(file.with_name(DATA_FILE))
        return self.written.total()

    def sync(self) -> None:
        """Bring all of it to disk, once it is finished."""
        for file in self._files:
            with refusals_of_the_disk(file):
                sync_file(file.with_name(DATA_FILE))
                sync_folder(file.parent)


class _Splitting:
    """Puts each row where it belongs."""

    def __init__(
        self,
        store: Store,
        here: EngineSnapshot,
        made: _Partitions,
        stack: ExitStack,
        tell: Callable[[int], None],
    ) -> None:
        self._store = store
        self._here = here
        self._made = made
        self._tell = tell
        self._count = made.divided.count
        # What lies near in a table mostly has the same id.
        self._of = lru_cache(KEPT_IDS)(Partition(0, self._count).of)
        self._done: dict[str, int] = {}
        self._checkpoints = {
            key.decode(): unframe(raw, "checkpoints", key) for key, raw in here.scan("checkpoints")
        }
        self._projections = {
            one.removeprefix(PROJECTION) for one in self._checkpoints if one.startswith(PROJECTION)
        }
        self._names_are_places = here.get("meta", LOOKALIKE) is None
        self._may_have_effects = next(here.scan("effects"), None) is not None
        self._may_have_blocks = next(here.scan("waiting"), None) is not None
        self._counts: list[Counter[tuple[str, ...]]] = [Counter() for _ in made.numbers]
        folder = made.divided.folder

        def sorter(name: str, *tables: str) -> Sorter:
            return stack.enter_context(Sorter(folder / f"data.{name}", tables, LARGEST_COPY))

        # Which events are wanted where: position, partition, process manager, NUL, instance.
        self._wanted = sorter("wanted", "wanted")
        # Where events are as copies, and how far a partition's log reaches that has what was stored
        # up to a position: where no event of its own says so, and now and then.
        self._places = sorter("places", "copies", "upto")

        self._noted, self._next_note = [0] * self._count, NOTED_EVERY
        self._pruned = store.pruned_up_to()
        # In each partition, of what was pruned, the last position; and which position and which
        # number of a transition is left out for those of which nothing stays.
        self._gone = [0] * self._count
        self._left_out = [0] * self._count
        self._transition_left_out = [0] * self._count

        def number_file(*tables: str) -> NumberFile:
            last = max(_last_number(here, table) for table in tables)
            return stack.enter_context(NumberFile(folder / f"data.{tables[0]}", last))

        # The partition of an event and its position there; and what numbers other rows have there.
        self._homes = number_file("log", "tombstones")
        # Of a transition, twice its number there, and one more if its instance was complete.
        self._transition_numbers = number_file("transitions")
        self._parking_numbers = number_file("parked", "decided")
        # Rows of tables that have another order in the partitions.
        self._sorted = sorter("sorted", "ids", "effects", "unmatched", "unmatched_by")

    def write(self, meta: dict[bytes, bytes]) -> None:
        """All tables."""
        self._want()
        self._log()
        self._transitions()
        self._parked()
        self._effects()
        self._unmatched()
        self._ids()
        self._started()
        self._queue()
        self._event_ids()
        self._command_ids()
        self._parked_at()
        self._waiting()
        self._timers()
        self._index()
        self._refusals()
        self._snapshots()
        self._owed()
        for table in ("names", "codes", "erasures"):
            self._made.put_everywhere(table, self._stored(table))
        self._checkpoint_rows()
        self._own_rows(meta)

    # Where things are

    def _of_stream(self, stream: str) -> int:
        return self._of(deciding_part(stream))

    def _some(self, table: str) -> Iterator[list[Row]]:
        """The rows of a table, some at a time."""
        rows = self._here.scan(table)
        while some := list(islice(rows, TOLD_EVERY)):
            yield some
            self._tell(len(some))

    def _unframed(self, table: str) -> Iterator[tuple[bytes, Any]]:
        """The rows of a table, with what they say."""
        for some in self._some(table):
            for key, raw in some:
                yield key, unframe(raw, table, key)

    def _stored(self, table: str) -> Rows:
        """The rows of a table as they are, sound."""
        for some in self._some(table):
            yield from sound(iter(some), table)

    def _position(self, position: int, partition: int, process: str) -> int:
        """Where an event is in a partition: itself, or the copy for a process manager."""
        home, local = self._home(position)
        if home == partition:
            return local
        found = self._places.get("copies", _copy_key(position, partition, process))
        if found is None:
            raise DamagedStore(f"position {position} was not brought to where {process} needs it")
        return numbered(found)

    def _home(self, position: int) -> tuple[int, int]:
        """The partition of an event, and its position there."""
        found = self._homes.get(position)
        if not found:
            raise _nothing_at(position)
        return found >> HOME, found & LOCAL

    def _up_to(self, position: int, partition: int) -> int:
        """How far a log reaches that has what was stored up to a position; 0 if nothing was."""
        found = self._homes.get(position)
        if found and found >> HOME == partition:
            return found & LOCAL
        prefix = partition.to_bytes(AWAY, "big")
        row = self._places.up_to("upto", prefix + number(position))
        noted = numbered(row[1]) if row is not None and row[0][:AWAY] == prefix else 0
        homes = self._homes.numbers
        last = min(position, len(homes) - 1)
        for near in range(last, last - last % NOTED_EVERY - 1, -1):
            found = homes[near]
            if found and found >> HOME == partition:
                return max(noted, found & LOCAL)
        return noted

    def _transition(self, old: int) -> tuple[int, bool]:
        """The number of a transition in its partition, and whether its instance was complete."""
        found = self._transition_numbers.get(old)
        if not found:
            raise _no_number("transitions", old)
        return found >> 1, bool(found & 1)

    def _parking_number(self, old: int) -> int:
        """The number in its partition of what was parked."""
        found = self._parking_numbers.get(old)
        if not found:
            raise _no_number("parked", old)
        return found

    def _named(self, command_id: str) -> str:
        """The id of a command: that of an after-effect says the position of the event."""
        if not self._may_have_effects:
            return command_id
        issue = place_of_effect(command_id)
        if issue is None:
            return command_id
        key = effect_key(issue.position, issue.process, issue.instance)
        raw = self._here.get("effects", key)
        if raw is None or all(one[0] != command_id for one in unframe(raw, "effects", key)[5]):
            return command_id
        position = self._position(issue.position, self._of(issue.instance), issue.process)
        return effect_command_id_at(issue.process, issue.instance, position, issue.number)

    def _command(self, row: list[Any], partition: int) -> list[Any]:
        """A command in a partition, which another one may have issued."""
        row[0], row[6] = self._named(row[0]), row[6] and self._named(row[6])
        issuer = self._of(row[8]) if row[7] is not None else partition
        return row if issuer == partition else [*row, issuer]

    # Events, and the copies of them that are wanted elsewhere

    def _want(self) -> None:
        """Note which events instances and learnt keys of which partitions refer to."""
        self._wanted.put("wanted", self._all_wanted())

    def _all_wanted(self) -> Rows:
        of, done = self._of, self._done
        for some in self._some("transitions"):
            for key, raw in some:
                taken: TransitionRow = _row("transitions", key, raw)
                if taken.position:
                    if taken.position > done.get(taken.process, 0):
                        self._refuse_undone(taken.process, taken.position)
                    stream = stream_of_event(taken.cause) if self._names_are_places else None
                    name = None if stream is None else deciding_part(stream)
                    if name != taken.instance and (name is None or of(name) != of(taken.instance)):
                        yield self._needed(taken.process, taken.instance, taken.position)
        for key, _ in self._here.scan("waiting"):
            process, instance, position = _owner_and_number(key)
            if position and process not in self._projections:
                self._refuse_undone(process, position)
                yield self._needed(process, instance, position)
        for table in ("parked", "decided"):
            for _, row in self._rows_of(table):
                if row[7] and row[1] and row[0] not in self._projections:
                    yield self._needed(row[0], row[1], row[7])
        for key, row in self._rows_of("effects"):
            yield self._needed(row[0], row[1], numbered(key[:8]))
        for key, _ in self._here.scan("owed"):
            process, position, instance = key_of("owed", key)
            yield self._needed(process, instance, position)
        for key, row in self._rows_of("unmatched"):
            process, position = key_of("unmatched", key)
            for partition in {self._of(value) for value in row[1]}:
                yield _copy_key(position, partition, process) + b"\0", b""

    def _rows_of(self, table: str) -> Iterator[tuple[bytes, Any]]:
        return ((key, unframe(raw, table, key)) for key, raw in self._here.scan(table))

    def _needed(self, process: str, instance: str, position: int) -> Row:
        partition = self._of(instance)
        return _copy_key(position, partition, process) + b"\0" + instance.encode(), b""

    def _refuse_undone(self, process: str, position: int) -> None:
        """What a router would bring once more where it is not known to have come."""
        if position <= self._done.get(process, 0):
            return
        for router, what in ((process, "events"), (f"after:{process}", "after-effects")):
            if self._checkpoints.get(router, position) < position:
                raise StoreError(
                    f"{process} is not done with its {what}: it is at position "
                    f"{self._checkpoints[router]} of {position}; open the store once with its "
                    f"service, let it settle, close it, and copy again"
                )
        self._done[process] = position

    def _log(self) -> None:
        of, wanted = self._of, groupby(self._wanted.rows("wanted"), lambda one: one[0][:8])
        at, copies = next(wanted, (None, ()))
        gone = self._all_gone()
        gone_key, gone_raw = next(gone)
        ends, key, raw = [0] * self._count, b"", b""
        # The position of the one before, and where it went.
        before = beside = 0
        logs, homes, counts = self._made.rows_of("log"), self._homes.numbers, self._counts
        for some in self._some("log"):
            for key, raw in some:
                if at is not None and at < key:
                    raise _nothing_at(numbered(at))
                event = _event(raw, key)
                home = of(deciding_part(event.stream))
                while gone_key < key:
                    _refuse_gap("log", before, numbered(gone_key), self._pruned.tombstones)
                    self._note_ends(ends, before, numbered(gone_key))
                    behind_key, behind_raw = next(gone)
                    missing, before = numbered(gone_key) - before - 1, numbered(gone_key)
                    if gone_raw:
                        there = _home_of(gone_key, gone_raw, of)
                        _leave_out(ends, {beside, there}, missing)
                        self._put_tombstone(ends, there, gone_key, gone_raw)
                        beside = there
                    else:
                        behind = home if behind_key > key else _home_of(behind_key, behind_raw, of)
                        _leave_out(ends, {beside, behind}, missing)
                        self._end_forgotten(ends, gone_key)
                    gone_key, gone_raw = behind_key, behind_raw
                position = numbered(key)
                if position >= self._next_note:
                    self._note_ends(ends, before, position)
                if position != before + 1:
                    _refuse_gap("log", before, position, self._pruned.tombstones)
                    _leave_out(ends, {beside, home}, position - before - 1)
                before, beside = position, home
                counts[home]["event", category_of(event.stream), event.type] += 1
                ends[home] = end = ends[home] + 1
                local = number(end)
                homes[position] = home << HOME | end
                row = self._event_row(key, raw) if self._may_have_effects or at == key else None
                new = moved(raw, "log", key, local) if row is None else frame(local, row)
                logs[home].append((local, new))
                if at == key and row is not None:
                    self._copies(ends, row, home, key, copies)
                    at, copies = next(wanted, (None, ()))
            self._made.took(_bytes_in(some))
        if at is not None:
            raise _nothing_at(numbered(at))
        if gone_key != AFTER_ALL:
            # The newest event stays, so that positions go on behind it.
            raise _nothing_at(numbered(gone_key) + 1)
        self._end_with_events(ends, key, raw)

    def _copies(
        self, ends: list[int], row: list[Any], home: int, key: bytes, wanted: Iterable[Row]
    ) -> None:
        """Put copies of an event where they are wanted."""
        for (partition, process, is_held), those in groupby(map(itemgetter(0), wanted), _copy_of):
            if partition == home:
                continue
            named = [one[len(_start(one)) :].decode() for one in those]
            local = self._copy(ends, row, partition, key, process, None if is_held else named)
            name = _copy_key(numbered(key), partition, process) + (b"\0" if is_held else b"")
            self._places.add("copies", name, local)

    def _copy(
        self,
        ends: list[int],
        row: list[Any],
        partition: int,
        key: bytes,
        process: str,
        sent_to: list[str] | None,
    ) -> bytes:
        ends[partition] += 1
        local = number(ends[partition])
        self._note_end(partition, key, local)
        self._made.put(partition, "log", local, frame(local, [*row, process, sent_to]))
        copy = copies_key(process, row[1], row[2]) + local
        self._sorted.add("ids", copy + partition.to_bytes(AWAY, "big"), local)
        return local

    # What stays of pruned events

    def _all_gone(self) -> Iterator[Row]:
        """Tombstones, and without a value the last position of which not even that stays."""
        last = self._pruned.tombstones
        no_more = iter([(number(last), b"")] if last else [])
        yield from merge(self._stored("tombstones"), no_more, key=itemgetter(0))
        yield AFTER_ALL, b""

    def _put_tombstone(self, ends: list[int], home: int, key: bytes, raw: bytes) -> None:
        ends[home] += 1
        local = number(ends[home])
        self._gone[home] = ends[home]
        self._homes.put(numbered(key), home << HOME | ends[home])
        self._made.put(home, "tombstones", local, moved(raw, "tombstones", key, local))

    def _end_forgotten(self, ends: list[int], key: bytes) -> None:
        """Leave a position out in all partitions, for the last of which nothing stays."""
        for one in self._made.numbers:
            ends[one] += 1
            self._note_end(one, key, number(ends[one]))
        self._left_out, self._gone = [*ends], [*ends]

    def _end_with_events(self, ends: list[int], key: bytes, raw: bytes) -> None:
        """Have each log end with an event, behind whose position the next ones come.

        Where it ends with what was pruned, the newest event of all is there as a copy, for no
        instance.
        """
        for one in self._made.numbers:
            if self._gone[one] and self._gone[one] == ends[one]:
                self._copy(ends, self._event_row(key, raw), one, key, self._any_process(), [])

    def _event_row(self, key: bytes, raw: bytes) -> list[Any]:
        """The row of an event, with what caused it as it is called now."""
        row: list[Any] = unframe(raw, "log", key)
        row[7] = row[7] and self._named(row[7])
        return row

    def _any_process(self) -> str:
        """The name of a process manager: nothing is pruned but what one is done with."""
        found = (name for kind, name in self._store.scan_names() if kind == "process")
        # No instance of any has taken something, if there is none; its router has gone on.
        return next(found, None) or min(one for one in self._checkpoints if ":" not in one)

    def _note_ends(self, ends: list[int], before: int, position: int) -> None:
        """Note how far logs reach, if it is time for that between two positions."""
        if position < self._next_note:
            return
        for one, (end, noted) in enumerate(zip(ends, self._noted, strict=True)):
            if end != noted:
                self._note_end(one, number(before), number(end))
        self._noted, self._next_note = [*ends], position - position % NOTED_EVERY + NOTED_EVERY

    def _note_end(self, partition: int, key: bytes, local: bytes) -> None:
        """Note how far the log of a partition reaches that has what was stored up to a key."""
        self._places.add("upto", partition.to_bytes(AWAY, "big") + key, local)

    # What has numbers of its own

    def _transitions(self) -> None:
        ends, before = [0] * self._count, 0
        put, of, home_of = self._made.rows_of("transitions"), self._of, self._homes.get
        numbers, pruned = self._transition_numbers.numbers, self._pruned.transitions
        for some in self._some("transitions"):
            for key, raw in some:
                old = numbered(key)
                if before <= pruned < old and pruned:
                    # Those that were pruned are all behind one that stays.
                    ends = [one + 1 for one in ends]
                    self._transition_left_out = [*ends]
                if old != before + 1:
                    _refuse_gap("transitions", before, old, pruned)
                before = old
                row: TransitionRow = _row("transitions", key, raw)
                partition = of(row.instance)
                ends[partition] += 1
                local = number(ends[partition])
                position, home = row.position, home_of(row.position)
                is_here = home > 0 and home >> HOME == partition
                if is_here:
                    row.position = home & LOCAL
                elif position:
                    row.position = self._position(position, partition, row.process)
                else:
                    row.cause = self._named(row.cause)
                is_here = is_here and row.seen == position
                row.seen = row.position if is_here else self._up_to(row.seen, partition)
                put[partition].append((local, frame(local, row)))
                numbers[old] = ends[partition] << 1 | row.is_complete
            self._made.took(_bytes_in(some))

    def _parked(self) -> None:
        """What was parked and what was decided have the same numbers."""
        ends, before = [0] * self._count, 0
        both = (self._of_table(table) for table in ("parked", "decided"))
        for key, table, row in merge(*both, key=itemgetter(0)):
            _refuse_gap("parked", before, numbered(key), self._pruned.parked)
            before = numbered(key)
            if row[0] in self._projections:
                continue
            partition = self._of_parked(row)
            ends[partition] += 1
            local, old = number(ends[partition]), row[7]
            if old:
                row[7] = self._position_of_parked(row, partition)
                row[2] = f"position {row[7]}" if row[2] == f"position {old}" else row[2]
            if row[8] is not None:
                row[8] = self._command(row[8], partition)
                row[2] = row[8][0]
            self._made.put(partition, table, local, frame(local, row))
            self._parking_numbers.put(numbered(key), ends[partition])
            if table == "parked":
                self._counts[partition]["parked", row[0], row[3], row[14], row[15]] += 1

    def _of_table(self, table: str) -> Iterator[tuple[bytes, str, list[Any]]]:
        for key, row in self._unframed(table):
            yield key, table, row

    def _of_parked(self, row: list[Any]) -> int:
        if row[8] is not None:
            return self._of_stream(row[8][2])
        if row[1]:
            return self._of(row[1])
        return self._home(row[7])[0] if row[7] else 0

    def _position_of_parked(self, row: list[Any], partition: int) -> int:
        return self._position(row[7], partition, row[0]) if row[7] else 0

    # Tables whose rows come in another order

    def _effects(self) -> None:
        for key, row in self._unframed("effects"):
            process, instance, old = row[0], row[1], numbered(key[:8])
            partition = self._of(instance)
            position = self._position(old, partition, process)
            for which, command in enumerate(row[5]):
                command[0] = effect_command_id_at(process, instance, position, which)
            new = effect_key(position, process, instance)
            self._sorted.add("effects", new + partition.to_bytes(AWAY, "big"), frame(new, row))
        self._in_order("effects")

    def _unmatched(self) -> None:
        for key, (field, values, until, taken) in self._unframed("unmatched"):
            process, old = key_of("unmatched", key)
            by_partition: dict[int, list[str]] = {}
            for value in values:
                by_partition.setdefault(self._of(value), []).append(value)
            for partition, those in by_partition.items():
                home, local = self._home(old)
                if home != partition:
                    found = self._places.get("copies", _copy_key(old, partition, process) + b"\0")
                    local = numbered(found or b"")
                new, away = unmatched_key(process, local), partition.to_bytes(AWAY, "big")
                row = (field, those, until, taken)
                self._sorted.add("unmatched", new + away, frame(new, row))
                for value in those:
                    by = unmatched_by_key(process, field, value, local)
                    self._sorted.add("unmatched_by", by + away, frame(by, 0))
        self._in_order("unmatched")
        self._in_order("unmatched_by")

    def _in_order(self, table: str) -> None:
        for key, raw in self._sorted.rows(table):
            self._made.put(int.from_bytes(key[-AWAY:], "big"), table, key[:-AWAY], raw)

    # Tables that keep their order

    def _ids(self) -> None:
        copies = _IdsOfCopies(self._sorted.rows("ids"), self._made)
        put, of_transitions, of_events = (
            self._made.rows_of("ids"),
            self._transition_numbers.numbers,
            self._homes.numbers,
        )
        of, prefix, partition, found, is_instance = self._of, b"", 0, 0, False
        placed, last = of_events, -1
        one = kind = name = ""
        next_copy = copies.next
        for some in self._some("ids"):
            for key, raw in some:
                if next_copy < key:
                    copies.put_below(key)
                    next_copy = copies.next
                if key[:-8] != prefix:
                    self._count_instance(partition, kind, name, one, is_complete=found & 1 == 1)
                    prefix = key[:-8]
                    one, kind, name = key[:-9].decode().split("\0")
                    partition = of(name if kind == DASHLESS else one)
                    is_instance = kind == INSTANCE
                    placed = of_transitions if is_instance else of_events
                    last = len(placed) - 1
                # As `_transition` and `_home`, which tell what is wrong.
                old = int.from_bytes(raw, "big")
                found = placed[old] if old <= last and len(raw) == 8 else 0
                if not found:
                    old = place_of(key, raw)
                    _ = self._transition(old) if is_instance else self._home(old)
                place = found >> 1 if is_instance else found & LOCAL
                put[partition].append((key, number(place)))
            self._made.took(_bytes_in(some))
        copies.put_below(AFTER_ALL)
        self._count_instance(partition, kind, name, one, is_complete=found & 1 == 1)

    def _count_instance(
        self, partition: int, kind: str, process: str, instance: str, *, is_complete: bool
    ) -> None:
        """Count an instance as its newest transition left it."""
        if kind == INSTANCE:
            status = "complete" if is_complete else "running"
            if self._may_have_blocks and self._is_suspended(process, instance):
                status = "suspended"
            self._counts[partition]["instance", process, status] += 1

    def _is_suspended(self, process: str, instance: str) -> bool:
        key = instance_key(process, instance) + BLOCKED
        raw = self._here.get("waiting", key)
        return raw is not None and unframe(raw, "waiting", key)[0] == "parked"

    def _started(self) -> None:
        put, of = self._made.rows_of("started"), self._of
        for some in self._some("started"):
            for key, raw in some:
                new = key[:-8] + number(self._transition(numbered(key))[0])
                instance: str = _row("started", key, raw)
                put[of(instance)].append((new, moved(raw, "started", key, new)))
            self._made.took(_bytes_in(some))

    def _queue(self) -> None:
        for key, row in self._unframed("queue"):
            partition = self._of_stream(row[2])
            self._made.put(partition, "queue", key, frame(key, self._command(row, partition)))

    def _event_ids(self) -> None:
        for key, (old, content) in self._unframed("event_ids"):
            partition, position = self._home(old)
            self._made.put(partition, "event_ids", key, frame(key, (position, content)))

    def _command_ids(self) -> None:
        put = self._made.rows_of("command_ids")
        for some in self._some("command_ids"):
            for key, raw in some:
                row: ResultRow = _row("command_ids", key, raw)
                if self._homes.get(row.first_position):
                    partition, row.first_position = self._home(row.first_position)
                else:
                    # Without a stream, as an older version wrote it, any one does.
                    partition = self._of_stream(row.stream)
                    if row.first_position:
                        if row.first_position > self._pruned.tombstones:
                            raise _nothing_at(row.first_position)
                        row.first_position = self._left_out[partition]
                put[partition].append((key, frame(key, row)))
            self._made.took(_bytes_in(some))

    def _parked_at(self) -> None:
        for key, old in self._unframed("parked_at"):
            row = None
            for table in ("parked", "decided"):
                raw = self._here.get(table, number(old))
                if raw is not None:
                    row = unframe(raw, table, number(old))
            if row is None:
                raise DamagedStore(f"what was parked as {old} is not there: verify the source")
            if row[0] in self._projections:
                continue
            partition = self._of_parked(row)
            new = key[:-8] + number(self._position_of_parked(row, partition))
            self._made.put(partition, "parked_at", new, frame(new, self._parking_number(old)))

    def _waiting(self) -> None:
        for key, row in self._unframed("waiting"):
            process, instance, old = _owner_and_number(key)
            if process in self._projections:
                continue
            partition = self._of(instance)
            position = self._position(old, partition, process) if old else 0
            new = key[:-8] + number(position)
            if not old:
                if row[1]:
                    row[1] = self._position(row[1], partition, process)
                if row[6]:
                    row[6] = self._parking_number(row[6])
                first = transitions_key(process, instance) + number(1)
                if row[0] == "parked" and self._here.get("ids", first) is None:
                    # It failed at its start.
                    self._counts[partition]["instance", process, "suspended"] += 1
            self._made.put(partition, "waiting", new, frame(new, row))

    def _timers(self) -> None:
        for key, row in self._unframed("timers"):
            if row[0] in self._projections:
                continue
            partition = self._of(row[1])
            if row[4] is not None:
                row[4] = self._command(row[4], partition)
            self._made.put(partition, "timers", key, frame(key, row))

    def _index(self) -> None:
        """The partition of a value has the row, and the state of the instance says the value."""
        processes = [name for kind, name in self._store.scan_names() if kind == "process"]
        for key, raw in self._stored("index"):
            value = self._value_of(processes, key[:DIGEST_BYTES], key[DIGEST_BYTES:].decode())
            self._made.put(self._of(value), "index", key, raw)

    def _value_of(self, processes: list[str], wanted: bytes, instance: str) -> str:
        for process in processes:
            last = self._store.last_transition(process, instance)
            if last is None:
                continue
            # What an older version of the class learnt stays.
            for one in (last, *self._store.scan_transitions(process, instance)):
                for field, text in texts_in(one.state):
                    if digest(process, field, text) == wanted:
                        return text
        raise DamagedStore(
            f"a learnt key leads to {instance}, which has no such value: verify the source"
        )

    def _refusals(self) -> None:
        for key, (command, reason) in self._unframed("refusals"):
            partition = self._of(command[8] or "")
            row = (self._command(command, partition), reason)
            self._made.put(partition, "refusals", key, frame(key, row))

    def _snapshots(self) -> None:
        for key, raw in self._stored("snapshots"):
            self._made.put(self._of_stream(key.decode()), "snapshots", key, raw)

    def _owed(self) -> None:
        for key, version in self._unframed("owed"):
            process, old, instance = key_of("owed", key)
            partition = self._of(instance)
            new = owed_key(process, self._position(old, partition, process), instance)
            self._made.put(partition, "owed", new, frame(new, version))

    # What each partition has

    def _checkpoint_rows(self) -> None:
        for router, position in sorted(self._checkpoints.items()):
            if router.startswith(PROJECTION):
                continue
            # What begins at a position does so behind all that were stored before it.
            behind = router.startswith("since:") and position > 0
            key = router.encode()
            for one in self._made.numbers:
                place = self._up_to(position - behind, one) + behind
                self._made.put(one, "checkpoints", key, frame(key, place))

    def _own_rows(self, meta: dict[bytes, bytes]) -> None:
        kept = {key: meta[key] for key in (CODEC, LOOKALIKE, SECRET) if key in meta}
        family = self._made.divided.family
        for one, counts in zip(self._made.numbers, self._counts, strict=True):
            rows = sorted((count_key(*names), names, count) for names, count in counts.items())
            for key, (of, *names), count in rows:
                self._made.put(one, "counts", key, frame(key, (of, names, count)))
            # Digests of ids are made with the secret, which is the same in all.
            new: dict[bytes, int | str] = {
                b"format": FORMAT_VERSION,
                b"store_id": secrets.token_hex(16),
                COMMITS: 1,
            }
            if PRUNED_UP_TO in meta:
                # Numbers of what was parked have no gaps here.
                new[PRUNED_UP_TO] = str(
                    Marks(self._gone[one], self._left_out[one], self._transition_left_out[one])
                )
            own = {**kept, **{key: frame(key, value) for key, value in new.items()}}
            for key, raw in sorted(own.items()):
                self._made.put(one, "meta", key, raw)
            self._made.put(one, "partitions", OWN, frame(OWN, (one, self._count, family)))


def _last_number(here: EngineSnapshot, table: str) -> int:
    """The highest number in a table; 0 if it is empty."""
    return next((numbered(key) for key, _ in here.scan(table, LAST + b"\0", backwards=True)), 0)


class _EventPlace(Struct, array_like=True, gc=False):
    """The first columns of an event, which say where it belongs."""

    type: str
    stream: str


_decode_event = msgspec.msgpack.Decoder(_EventPlace).decode


def _event(raw: bytes, key: bytes) -> _EventPlace:
    try:
        return _decode_event(raw[4:])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise corrupt("log", key, f"is not as the format has it: {error}") from error


def _leave_out(ends: list[int], partitions: set[int], missing: int) -> None:
    """Leave as many positions out as are missing between two, where these two go.

    They may have been of one command with either, whose result counts them.
    """
    for one in partitions:
        ends[one] += missing


def _home_of(key: bytes, tombstone: bytes, of: Callable[[str], int]) -> int:
    row: TombstoneRow = _row("tombstones", key, tombstone)
    return of(deciding_part(row.stream))


def _row(table: str, key: bytes, raw: bytes) -> Any:
    """The row in a frame, with its types checked."""
    try:
        return ROW_READERS[table](key, raw)
    except Misshapen as error:
        raise corrupt(table, key, str(error)) from error


def _refuse_gap(table: str, before: int, number: int, pruned: int) -> None:
    """Refuse a number that does not follow another one, unless what is missing was pruned."""
    if number != before + 1 and number > pruned + 1:
        raise DamagedStore(f"table {table!r} has nothing at {number - 1}: verify the source")


def _nothing_at(position: int) -> DamagedStore:
    return DamagedStore(f"the log has nothing at position {position}: verify the source")


def _no_number(table: str, old: int) -> DamagedStore:
    return DamagedStore(f"{table} has no number {old}, which is spoken of: verify the source")


def _bytes_in(rows: Iterable[Row]) -> int:
    return sum(map(len, chain.from_iterable(rows)))


class _IdsOfCopies:
    """Rows of `ids` that lead to copies of events, which come between the others.

    Attributes:
        next: the key of the first that is not put yet; behind all keys if there is none

    """

    def __init__(self, rows: Rows, made: _Partitions) -> None:
        self._rows = rows
        self._made = made
        self._go_on()

    def _go_on(self) -> None:
        key, self._raw = next(self._rows, (b"", b""))
        self.next = key[:-AWAY] or AFTER_ALL
        self._partition = int.from_bytes(key[-AWAY:], "big")

    def put_below(self, key: bytes) -> None:
        """Put those that come before a key."""
        while self.next < key:
            self._made.put(self._partition, "ids", self.next, self._raw)
            self._go_on()


# Keys of what is kept meanwhile


def _copy_key(position: int, partition: int, process: str) -> bytes:
    return number(position) + partition.to_bytes(AWAY, "big") + process.encode()


def _start(wanted: bytes) -> bytes:
    """What a key of what is wanted has in front of the instance."""
    place = wanted.index(b"\0", 8 + AWAY) + 1
    return wanted[:place]


def _copy_of(wanted: bytes) -> tuple[int, str, bool]:
    """The partition, the process manager, and whether it is held there for a learnt key."""
    start = _start(wanted)
    partition = int.from_bytes(wanted[8 : 8 + AWAY], "big")
    return partition, start[8 + AWAY : -1].decode(), start == wanted


def _owner_and_number(key: bytes) -> tuple[str, str, int]:
    process, instance, _ = key[:-8].split(b"\0")
    return process.decode(), instance.decode(), numbered(key)
