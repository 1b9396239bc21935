"""The store: typed records over a storage engine. `reads` has what can be read.

A store keeps the global log, the streams, the transition logs, the queue of commands, what was
parked, and the routers' checkpoints. It knows nothing of actors or of typed messages.
"""

from __future__ import annotations

import re
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from msgspec.structs import astuple

from .coded import AsStored, CodedEngine, coded
from .errors import CorruptRecord, DamagedStore, FailingDisk, StoreError, WrongPartition
from .gauges import MOST_OVERDUE, StoreGauges, last_backup_from, last_backup_to
from .layout.frames import frame, number, unframe
from .layout.keys import LAST, numbered
from .layout.schema import (
    COMMITS,
    IMPORTED,
    IMPORTED_UP_TO,
    LAST_BACKUP,
    LOOKALIKE,
    OWN,
    SECRET,
    Marks,
    PartitionRow,
    event_from_row,
    first_of_row,
    kind_of_name,
    transition_from_row,
)
from .names import KnownNames
from .open_commit import Counters, OpenCommit
from .partitions import MOST_PARTITIONS, Partition
from .reads import ALL, HIGHEST, Reads
from .records import FROM_OUTSIDE, CodeRecord, SourceMark

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from .coded import PayloadCodec
    from .gauges import LastBackup
    from .personal import PersonalFields
    from .records import NameKind, Outcome, Step
    from .storage_engine import EngineSnapshot, Row, StorageEngine, Ticket

__all__ = ["SECRET_BYTES", "Store"]

SECRET_BYTES = 32
_SECRET = f"[0-9a-f]{{{2 * SECRET_BYTES}}}"


class Store(Reads):
    """One partition's durable state.

    Its reads see what is durable, those of `ahead` all that was handed over. One thread at a time
    hands over, closes commits and reads from `ahead`; any thread may read from the store itself.

    Args:
        engine: where the rows are
        secret: of a new store, 64 hexadecimal digits; random when it is not given
        partition: of a new store, which one it is of a divided store; one that is there must be
            that one
        family: of a new store, what is the same in all partitions of the divided store
        codec: what encodes payloads, states and texts; a store that is there must be of that one.
            `AS_STORED` takes rows as they are

    Attributes:
        partition: which one it is; None if the store is not divided
        codec: what encodes payloads, states and texts; None if nothing does

    Raises:
        WrongCodec: the store that is there was written with another codec, or with none
        WrongPartition: the store that is there is another partition, or none

    """

    has_format = False
    """Whether its rows say which format they have, for those who open them later."""

    def __init__(
        self,
        engine: StorageEngine,
        *,
        secret: str | None = None,
        partition: Partition | None = None,
        family: str = "",
        codec: PayloadCodec | AsStored | None = None,
    ) -> None:
        self._stored = engine
        self._engine = engine = coded(engine, codec)
        self.codec = None if isinstance(codec, AsStored) else codec
        self.is_remote = engine.is_remote
        """Whether each look is a trip."""
        # The number of a commit of which it is not known whether it is there.
        self._unsure: int | None = None
        self._counters = self._read_counters()
        # Written with the first commit: nothing stands on it before.
        self._new_secret: str | None = None
        is_new = not (self._counters.commits or engine.read_only)
        if is_new and self._get("meta", SECRET) is None:
            self._new_secret = secret or secrets.token_hex(SECRET_BYTES)
        self._new_partition: PartitionRow | None = None
        self.partition = self._settle_partition(partition, family)
        names = KnownNames(() if engine.read_only else self._sound_names())
        self.ahead = OpenCommit(
            engine.writer_reads,
            self._counters.copied(),
            names,
            self.partition,
            is_remote=engine.is_remote,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the store. Everything else raises `ClosedError` afterwards."""
        self._engine.close()

    def encode_apart(self, personal: PersonalFields) -> None:
        """Have the codec encode what is personal with keys of its persons; without one, nothing.

        Args:
            personal: says which fields are, of all that is written from now on

        """
        if isinstance(self._engine, CodedEngine):
            self._engine.encode_apart(personal)

    def check_owner(self) -> None:
        """Refuse to go on in a process that was forked from the one that opened the store.

        Raises:
            ReadOnlyStore: this is such a one

        """
        self._engine.check_owner()

    # Writing

    def hand_over(self, step: Step) -> Outcome:
        """Check what a step expects, number what it makes, and lay it into the open commit.

        It is whole in the next commit, or not at all. Steps that were handed over are in order:
        each sees what those before it made.

        Returns:
            what it comes to if the commit succeeds; `Conflict`, `Duplicate` and `IdTaken` steps
            leave no trace

        """
        return self.ahead.hand_over(step)

    def close_commit(self, checkpoints: Mapping[str, int] | None = None) -> None:
        """Make all that was handed over durable, in one transaction; the next commit is open then.

        Args:
            checkpoints: routers' names and the position up to which each is done

        Raises:
            StoreError: the transaction failed; none of the steps was written, and the open commit
                is empty again

        """
        ahead, is_tried, is_kept = self.ahead, False, False
        try:
            self._engine.check_usable()
            self._refuse_unsure()
            puts, deletes = ahead.net_effect(checkpoints or {})
            rewritten = ahead.rewritten
            if puts or deletes or rewritten or self._new_partition is not None:
                ahead.counters.commits += 1
                puts["meta"] = {
                    **puts.get("meta", {}),
                    COMMITS: frame(COMMITS, ahead.counters.commits),
                }
                if self._new_secret is not None:
                    puts["meta"][SECRET] = frame(SECRET, self._new_secret)
                if self._new_partition is not None:
                    puts["partitions"] = {OWN: frame(OWN, astuple(self._new_partition))}
                is_tried = True
                if rewritten:
                    self._refuse_failed(self._engine.commit(puts, deletes, rewritten))
                else:
                    self._refuse_failed(self._engine.commit(puts, deletes))
            is_kept = True
        except BaseException:
            # One that was interrupted may have come to its end all the same.
            is_kept = is_tried and self._is_kept()
            raise
        finally:
            if is_kept:
                self._counters = ahead.counters.copied()
                if is_tried:
                    self._new_secret = self._new_partition = None
                ahead.begin_next()
            else:
                self.drop_commit()

    @property
    def commit_count(self) -> int:
        """How many commits the store has had in its life."""
        return self._counters.commits

    @property
    def is_unsure(self) -> bool:
        """Whether it is not known yet if a commit that was reported as failed is there.

        Closing the next commit finds out. Until then, what is there may not be known.
        """
        return self._unsure is not None

    def drop_commit(self) -> None:
        """Forget all that was handed over and is not durable."""
        self.ahead.begin_again(self._counters.copied())

    def commit(
        self, steps: Sequence[Step], checkpoints: Mapping[str, int] | None = None
    ) -> list[Outcome]:
        """Hand over steps and make them durable, in one transaction.

        Args:
            steps: what to write; their records get their positions and sequences
            checkpoints: routers' names and the position up to which each is done

        Returns:
            one outcome for each step

        Raises:
            StoreError: the transaction failed; none of the steps was written

        """
        try:
            outcomes = [self.hand_over(step) for step in steps]
        except BaseException:
            self.drop_commit()
            raise
        self.close_commit(checkpoints)
        return outcomes

    def _refuse_failed(self, ticket: Ticket) -> None:
        if ticket.outcome == "committed":
            return
        # The answer may be lost and the commit there all the same.
        if ticket.outcome == "failed" or not self._is_kept():
            raise ticket.error or StoreError("a commit failed, and its engine did not say why")

    def _is_kept(self) -> bool:
        """Whether the commit that was tried last is there: its number tells."""
        self._unsure = number = self.ahead.counters.commits
        is_kept = self._commits_in_meta() == number
        self._unsure = None
        return is_kept

    def _refuse_unsure(self) -> None:
        if self._unsure is None:
            return
        is_there = self._commits_in_meta() == self._unsure
        if is_there:
            # What was handed over since then has the numbers of what is there.
            owed = self._counters.owed
            self._counters = self._read_counters()
            self._new_secret = self._new_partition = None
            # Another number than before, if anything is owed.
            self._counters.owed += owed
        self._unsure = None
        if is_there:
            raise FailingDisk(
                "the commit before this one is there, though the disk said that it failed, and "
                "could not be read at once; nothing of this one was kept, and it can be tried again"
            )

    def look_after(self, now: int) -> None:
        """Clear up what others who read the store left behind; called after each commit.

        Args:
            now: the time in microseconds

        Raises:
            StoreError: it cannot be done now

        """

    def number_of_code(self, process: str, python: str, fingerprint: bytes) -> int:
        """The number of a code of a process manager; a new one is written with the next commit.

        Called before anything is handed over that has the number.
        """
        fresh = self.ahead.fresh_codes
        for code in (*self.scan_codes(), *fresh.values()):
            if (code.process, code.python, code.fingerprint) == (process, python, fingerprint):
                return code.number
        new = max(self._newest("codes"), *fresh, 0) + 1
        fresh[new] = CodeRecord(process, python, fingerprint, new)
        return new

    def snapshot(self) -> AbstractContextManager[EngineSnapshot]:
        """All tables as they are now, for as long as the block lasts; commits go on."""
        return self._engine.snapshot()

    def stored_snapshot(self) -> AbstractContextManager[EngineSnapshot]:
        """As `snapshot`, with rows as they are stored: for copies of the store."""
        return self._stored.snapshot()

    # Reading

    def secret(self) -> bytes:
        """The key of the digests that tell what an id from outside stands for.

        Raises:
            DamagedStore: the store has none, or something else in its place
            CorruptRecord: it cannot be read

        """
        self._engine.check_usable()
        secret: Any = self._new_secret
        if secret is None:
            raw = self._get("meta", SECRET)
            secret = None if raw is None else unframe(raw, "meta", SECRET)
        if not (isinstance(secret, str) and re.fullmatch(_SECRET, secret)):
            raise DamagedStore(
                "the store has lost its secret, without which it cannot tell whether an id stands "
                "for the same; go back to a backup"
            )
        return bytes.fromhex(secret)

    def sent(self, partitions: int) -> dict[int, int]:
        """The sequence of the newest that was sent to each partition that was sent anything.

        Args:
            partitions: how many there are

        """
        if not self._engine.range("outgoing", b"", LAST * 2, 1):
            return {}
        ranges = [(number(one), number(one) + LAST) for one in range(partitions)]
        rows = self._engine.newest("outgoing", ranges)
        return {one: numbered(row[0]) for one, row in enumerate(rows) if row is not None}

    def cursors(self) -> dict[int, int]:
        """Up to where the lane from each partition was taken of which anything was."""
        rows = self._engine.range("cursors", b"", LAST + b"\0", MOST_PARTITIONS)
        return {numbered(key): int(unframe(raw, "cursors", key)) for key, raw in rows}

    def last_position(self) -> int:
        self._engine.check_usable()
        return self._newest("log") if self._engine.read_only else self._counters.position

    def last_transition_number(self) -> int:
        """The number of the newest transition of all, or 0."""
        self._engine.check_usable()
        return self._newest("transitions")

    def last_parked_number(self) -> int:
        """The number of what was parked last, whether it is decided or not, or 0."""
        self._engine.check_usable()
        # In this order: it goes from the one table to the other.
        return max(self._newest("parked"), self._newest("decided"))

    def read_counts(self) -> Iterator[tuple[str, tuple[str, ...], int]]:
        """How many there are as of one moment: what is counted, by which names, and how many.

        ``"event"`` by the category of the streams and the type; ``"instance"`` by process manager
        and status; ``"parked"``, what is not decided, by process manager, type of the error,
        method, and place in the code.

        Raises:
            CorruptRecord: a count is damaged

        """
        for key, raw in self._range("counts", b"", LAST * 3, ALL):
            of, names, count = unframe(raw, "counts", key)
            yield of, tuple(names), count

    def position_before(self, moment: int) -> int:
        """The position behind which the log has what was stored at or after a moment.

        It is found by halving, so it costs as much in a long log as in a short one. Where the clock
        was put back across the moment, the log comes to it several times, and this is one of them:
        an event before the moment, or the beginning, with one at or after it, or the end, behind.

        Args:
            moment: in microseconds

        """
        low, high = 0, self.last_position()
        while low < high:
            middle = (low + high + 1) // 2
            place, time = self._time_at(middle, low)
            if time < moment:
                low = middle
            else:
                high = place - 1
        return low

    def _time_at(self, position: int, after: int) -> tuple[int, int]:
        """The newest event up to a position that can be read, and its time; `after` is exclusive.

        If there is none, it counts as before all.
        """
        while position > after:
            # An excerpt has gaps, which may be long.
            rows = self._range("log", number(after + 1), number(position + 1), 1, backwards=True)
            if not rows:
                break
            [(key, raw)] = rows
            position = numbered(key)
            # What is damaged was stored when its neighbours were.
            with suppress(CorruptRecord):
                return position, event_from_row(unframe(raw, "log", key), position).time
            position -= 1
        return after, -1

    def newest_time(self) -> int | None:
        """The later of the times of the newest event and the newest transition; None without any.

        Raises:
            CorruptRecord: one of them is damaged

        """
        event = self.event_at(self.last_position())
        transition = self._one("transitions", self._newest("transitions"), transition_from_row)
        return max((one.time for one in (event, transition) if one is not None), default=None)

    def last_sequences(self) -> tuple[int, int]:
        self._engine.check_usable()
        return self._counters.sequence, self._counters.sequence_from_outside

    def _may_wait(self) -> bool:
        self._engine.check_usable()
        return self._counters.any_waiting or self._engine.read_only

    def _may_be_parked(self) -> bool:
        self._engine.check_usable()
        return self._counters.parked > 0 or self._engine.read_only

    def may_be_pruned(self) -> bool:
        self._engine.check_usable()
        return self._counters.any_pruned or self._engine.read_only

    def owed_so_far(self) -> int:
        self._engine.check_usable()
        return self._counters.owed

    def _get(self, table: str, key: bytes) -> bytes | None:
        return self._engine.get_many(((table, key),))[0]

    def _get_many(self, keys: Sequence[tuple[str, bytes]]) -> list[bytes | None]:
        return self._engine.get_many(keys)

    def _range(
        self, table: str, start: bytes, end: bytes, limit: int, *, backwards: bool = False
    ) -> list[Row]:
        return self._engine.range(table, start, end, limit, backwards=backwards)

    # For operators

    def gauges(self, now: int) -> StoreGauges:
        """A few numbers of what is durable; any thread may ask, and none waits for a commit.

        Args:
            now: the time in microseconds, by which timers are overdue

        Raises:
            StoreError: the store cannot be read

        """
        self._engine.check_usable()
        parked = suspended = 0
        for of, names, count in self.read_counts():
            parked += count * (of == "parked")
            suspended += count * (of == "instance" and names[1] == "suspended")
        due = self._engine.range("timers", b"", number(now + 1), MOST_OVERDUE)
        raw = self._get("meta", LAST_BACKUP)
        return StoreGauges(
            parked=parked,
            suspended=suspended,
            overdue=len(due),
            oldest_due=int.from_bytes(due[0][0][:8], "big") if due else 0,
            last_backup=None
            if raw is None
            else last_backup_from(unframe(raw, "meta", LAST_BACKUP)),
        )

    @property
    def location(self) -> Path | None:
        """The folder that it is in; None if it is in none."""
        return None

    def note_backup(self, backup: LastBackup) -> None:
        """Keep when the store was backed up last, and where to; any thread may call this.

        Raises:
            StoreError: the disk refused

        """
        row = frame(LAST_BACKUP, last_backup_to(backup))
        ticket = self._engine.commit({"meta": {LAST_BACKUP: row}}, {})
        if ticket.outcome != "committed":
            raise ticket.error or StoreError("that there is a backup could not be written")

    @property
    def is_import(self) -> bool:
        """Whether what it holds was imported, and nothing may leave it yet."""
        return self._has("meta", IMPORTED)

    def imported_up_to(self) -> SourceMark | None:
        """How far the source is in the store that was imported last; None if none was.

        Raises:
            CorruptRecord: it cannot be read

        """
        raw = self._get("meta", IMPORTED_UP_TO)
        said = None if raw is None else unframe(raw, "meta", IMPORTED_UP_TO)
        return None if said is None else SourceMark.parse(str(said))

    def note_import(self, *, is_import: bool) -> None:
        """Keep that what it holds is imported, or that what comes of it may leave from now on.

        Raises:
            StoreError: the disk refused

        """
        row = frame(IMPORTED, 1)
        ticket = self._engine.commit(
            {"meta": {IMPORTED: row}} if is_import else {},
            {} if is_import else {"meta": [IMPORTED, IMPORTED_UP_TO]},
        )
        if ticket.outcome != "committed":
            raise ticket.error or StoreError("that the store is an import could not be written")

    # Opening

    def _read_counters(self) -> Counters:
        """The newest durable numbers, as the tables have them."""
        engine, lanes, pruned = self._engine, list(self._lanes()), self.pruned_up_to()
        return Counters(
            position=self._newest("log"),
            transition=self._newest("transitions"),
            sequence=self._newest("queue", below=FROM_OUTSIDE),
            sequence_from_outside=max(FROM_OUTSIDE, self._newest("queue")),
            parked=self.last_parked_number(),
            refusal=self._newest("refusals"),
            commits=self._sound_commits(),
            any_waiting=bool(engine.range("waiting", b"", LAST, 1)),
            any_unmatched=bool(engine.range("unmatched", b"", LAST, 1)),
            any_lookalike=self._get("meta", LOOKALIKE) is not None,
            pruned=pruned,
            any_pruned=pruned != Marks(),
            owed=len(engine.range("owed", b"", LAST, 1)),
            sent={target: last for target, _, last in lanes},
            taken={target: first - 1 for target, first, _ in lanes},
            cursors=self.cursors(),
            checkpoints=dict(self.scan_checkpoints() if self._has("partitions", OWN) else ()),
        )

    def _has(self, table: str, key: bytes) -> bool:
        return self._get(table, key) is not None

    def _lanes(self) -> Iterator[tuple[int, int, int]]:
        """The lanes to other partitions: the target, and the first and the last that is there."""
        start = b""
        while rows := self._engine.range("outgoing", start, LAST * 2, 1):
            key, raw = rows[0]
            target = key[:8]
            yield numbered(target), first_of_row(key, raw), self._last("outgoing", target)
            start = target + LAST + b"\0"

    def _settle_partition(self, wanted: Partition | None, family: str) -> Partition | None:
        """Which partition this is."""
        raw = self._get("partitions", OWN)
        if raw is not None:
            number_of_own, count, found = unframe(raw, "partitions", OWN)
            own = Partition(number_of_own, count)
            if wanted is not None and (wanted, family) != (own, found):
                raise WrongPartition(
                    f"the store is partition {own.number} of {own.count} of the divided store "
                    f"{found}, and was opened as {wanted.number} of {wanted.count} of {family}: "
                    f"the number of partitions is fixed when a store is made, and a partition "
                    f"belongs to the store that it was made for"
                )
            return own
        if wanted is not None:
            wanted.check()
            if self._counters.commits:
                raise WrongPartition(
                    f"the store is a whole one, and was opened as partition {wanted.number} of "
                    f"{wanted.count}: copy it into a divided store with `procession copy`"
                )
            if not self._engine.read_only:
                self._new_partition = PartitionRow(wanted.number, wanted.count, family)
        return wanted

    def _newest(self, table: str, below: int = HIGHEST) -> int:
        """The highest number that is a key of a table."""
        return self._last(table, b"", below)

    def _commits_in_meta(self) -> int:
        raw = self._get("meta", COMMITS)
        return 0 if raw is None else int(unframe(raw, "meta", COMMITS))

    def _sound_commits(self) -> int:
        # If it is damaged, the next commit writes it again.
        with suppress(CorruptRecord):
            return self._commits_in_meta()
        return 0

    def _sound_names(self) -> Iterator[tuple[NameKind, str]]:
        for key, raw in self._scan_rows("names", b"", b"\xff"):
            # One that is damaged is written again when it is used next.
            with suppress(CorruptRecord):
                yield kind_of_name(key), unframe(raw, "names", key)
