"""The open commit: what was handed over and is not durable yet, over what is.

Steps are checked and numbered when they are handed over, so that each stands on those before it,
and what they come to is written once, when the commit closes: a command that was issued and carried
out meanwhile never becomes a row.
"""

from __future__ import annotations

import struct
from bisect import bisect_left, insort
from collections import defaultdict
from contextlib import suppress
from copy import copy
from itertools import islice
from typing import TYPE_CHECKING, Any
from zlib import crc32

from msgspec import Raw, Struct

from .erasing import erased, row_of_message
from .errors import CorruptRecord, DamagedStore, StoreError
from .identifiers import BY_PEOPLE, ENDS, EVADES, category_of, event_id_at, place_of_event
from .layout.frames import (
    NUMBER,
    corrupt,
    frame,
    no_number,
    number,
    pack,
    pack_checksum,
    unframe,
)
from .layout.keys import LAST, digest, numbered
from .layout.schema import (
    APPENDED,
    BLOCKED,
    DENSE,
    IMPORTED_UP_TO,
    LARGE_MESSAGE,
    LOOKALIKE,
    PRUNED_UP_TO,
    SENT_TOGETHER,
    TABLES,
    Marks,
    block_to_row,
    command_from_row,
    command_to_row,
    copied_event_to_row,
    copies_key,
    document_key,
    document_set_key,
    document_set_to_row,
    effect_key,
    effect_to_row,
    erasure_to_row,
    event_to_row,
    first_in,
    given_to_row,
    instance_key,
    last_of_process,
    name_key,
    outgoing_key,
    owed_key,
    parked_at_key,
    parked_from_row,
    parked_to_row,
    refusal_to_row,
    sent_to_row,
    started_key,
    stream_key,
    timer_key,
    timer_to_row,
    tombstone_to_row,
    transition_to_row,
    transitions_key,
    unmatched_by_key,
    unmatched_key,
    unmatched_to_row,
)
from .namesakes import Namesakes
from .open_counts import OpenCounts
from .reads import ALL, HIGHEST, Reads, number_asked_for
from .records import (
    COMMITTED,
    FROM_OUTSIDE,
    PASSED_OVER,
    Conflict,
    Duplicate,
    GivenCommand,
    IdTaken,
    SentRecord,
    StepExtras,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from .names import KnownNames
    from .open_counts import Status
    from .partitions import Partition
    from .records import (
        Append,
        Arrival,
        CodeRecord,
        CommandRecord,
        CommandResult,
        Cut,
        DocumentChanges,
        EffectRecord,
        Erase,
        EventRecord,
        NameKind,
        Outcome,
        ParkedRecord,
        RefusalRecord,
        Step,
        Taken,
        TimerRecord,
        TransitionRecord,
        UnmatchedRecord,
    )
    from .storage_engine import EngineReads, Row

__all__ = ["Counters", "OpenCommit"]

HEADS_KEPT = 8_192
"""Newest versions that are remembered from one commit to the next, at most."""

ALONG = 8
"""Events of one aggregate that are asked for before it is known whether they are there."""

FEW = 4
"""Aggregates of a wave for which that is done, at most: the trips of many are shared anyway."""

AT_ONCE = 256
"""Events of one aggregate that are asked for with those of others, at most."""

INDEXED = 64
"""Bytes of a row in `ids`, about."""

SET_ASIDE = "waiting", "parked_at"
"""Tables in which something is set aside for instances, by keys that begin with theirs."""

HELD, BLOCKS = "held", "blocks"
"""What is counted of a process manager once that was asked for."""


class Counters(Struct):
    """The newest numbers."""

    position: int = 0
    transition: int = 0
    sequence: int = 0
    sequence_from_outside: int = FROM_OUTSIDE
    parked: int = 0
    refusal: int = 0
    commits: int = 0
    any_waiting: bool = False
    """Whether some instance may be suspended. Rare, and asked for whenever one is loaded."""
    any_lookalike: bool = False
    """Whether an event was given an id that the store may be about to make for another one."""
    any_unmatched: bool = False
    """Whether some event may be held for who learns its key. Asked for with every key."""
    pruned: Marks = Marks()
    """How far what was pruned reaches."""
    any_pruned: bool = False
    """Whether anything was, which is asked for wherever nothing was found."""
    owed: int = 0
    """How many after-effects came to be owed since the store was opened, and 1 if any was then."""
    sent: dict[int, int] = {}
    """The newest sequence of each lane to another partition."""
    taken: dict[int, int] = {}
    """The sequence of each lane up to which its target has taken what was sent."""
    cursors: dict[int, int] = {}
    """The sequence of each lane from another partition up to which it was taken."""
    checkpoints: dict[str, int] = {}
    """Of a partition: how far routers are, and up to where they have sent to others."""

    def copied(self) -> Counters:
        """Another one with the same numbers."""
        made = copy(self)
        made.sent, made.taken = self.sent.copy(), self.taken.copy()
        made.cursors, made.checkpoints = self.cursors.copy(), self.checkpoints.copy()
        return made


class Sending:
    """What goes to other partitions.

    Attributes:
        partition: which one this is, of a divided store
        targets: partitions for which something was handed over since the journal told them
        together: packed messages to each partition, in order, of which no row was made yet

    """

    def __init__(self, partition: Partition | None) -> None:
        self.partition = partition
        self.targets: set[int] = set()
        self.together: dict[int, list[bytes]] = {}


class _Gathered:
    """What was asked for of many that are to be looked at one by one."""

    __slots__ = ("are_there", "index", "instances", "namesakes", "nothing")

    def __init__(self, namesakes: Namesakes | None) -> None:
        # What is likely to be asked for next; None where that saves nothing.
        self.namesakes = namesakes
        # Categories of which the stream that was looked up last was there. Here, since an object of
        # more than thirty attributes is looked up in more slowly: an order took a hundredth more.
        self.are_there: set[str] = set()
        # Instances for which the engine has nothing in a table of what is set aside, by what their
        # keys begin with. True until something of them is written.
        self.nothing: dict[str, dict[bytes, None]] = {table: {} for table in SET_ASIDE}
        # Of instances that are about to be loaded, by what their keys begin with: the place of the
        # newest transition and its row. True for as long as the newest version is that one.
        self.instances: dict[bytes, tuple[Row, bytes | None]] = {}
        # What the engine has of learnt keys, by what their rows begin with. True until a commit.
        self.index: dict[bytes, list[Row]] = {}

    def were_there(self, prefixes: list[bytes]) -> None:
        """Some that were asked for since their namesakes were have rows."""
        if self.namesakes is not None and prefixes:
            self.namesakes.were_there(prefixes)

    def forget_nothing(self) -> None:
        """It is not known any more for which instances the engine has nothing."""
        for owners in self.nothing.values():
            owners.clear()

    def has_none(self, table: str, owner: bytes) -> bool:
        """Whether the engine has no row in a table whose key begins so."""
        owners = self.nothing.get(table)
        return owners is not None and owner in owners


class OpenCommit(Reads):
    """Steps on their way to disk, and what a reader sees of the store with them.

    Args:
        engine: where what is durable is
        counters: its newest numbers
        names: what its table of names holds
        partition: which one this is, of a divided store
        is_remote: whether each look is a trip

    """

    def __init__(
        self,
        engine: EngineReads,
        counters: Counters,
        names: KnownNames,
        partition: Partition | None = None,
        *,
        is_remote: bool = False,
    ) -> None:
        self._engine = engine
        self.sending = Sending(partition)
        self._names = names
        self.counters = counters
        self._known_events = names.events
        self._known_commands = names.commands
        # Codes that are not durable yet, by number.
        self.fresh_codes: dict[int, CodeRecord] = {}
        # The newest versions of streams and instances that were asked for or written of late, by
        # what their keys begin with. Nothing else writes, so they stay true.
        self._heads: dict[bytes, int] = {}
        # Commands that were accepted in earlier commits, and not carried out yet: some of them.
        self._pending: dict[str, CommandRecord] = {}
        # Sequences that are in the queue on disk for sure, and were not taken: some of them.
        self._stored: set[int] = set()
        self._gathered = _Gathered(Namesakes() if is_remote else None)
        # By process manager, and only of those that were asked for: how many events are held for
        # who learns their keys, and how many instances take nothing.
        self._asked: dict[str, dict[str, int]] = {HELD: {}, BLOCKS: {}}
        self._counts = OpenCounts(engine)
        # What is to be written, by table and key; None for what goes.
        self._changes: dict[str, dict[bytes, bytes | None]] = {table: {} for table in TABLES}
        # What the engine said, so that no key is asked for twice, and None for what goes.
        self._known: dict[str, dict[bytes, bytes | None]] = {table: {} for table in TABLES}
        self._empty()

    def _empty(self) -> None:
        # Of some thirty tables a commit touches a few, and what it did not is empty as it is. Who
        # writes the commit may still have what it did.
        for rows in (self._changes, self._known):
            for table, those in rows.items():
                if those:
                    rows[table] = {}
        # The keys that change, in order, of tables that are read in ranges; of those in `DENSE`,
        # the keys that are pruned.
        self._sorted: defaultdict[str, list[bytes]] = defaultdict(list)
        self._gathered.index = {}
        # Keys of rows that go, or went and came again.
        self._gone: set[tuple[str, bytes]] = set()
        # Keys of rows that came before they went: whether the engine has an older row is asked for
        # when the commit closes.
        self._unsure: set[tuple[str, bytes]] = set()
        # Commands that were issued and not carried out yet, by sequence. Most never become rows.
        self._queued: dict[int, CommandRecord] = {}
        self.sending.together = {}
        # Commands from outside that were accepted in this commit and not carried out yet, by id.
        self._accepted: dict[str, CommandRecord] = {}
        self._counts.begin()
        # Looked up once, since every step counts.
        self._added = self._counts.added
        self._begun = self._counts.begun
        self._log = self._changes["log"]
        self._transitions = self._changes["transitions"]
        self._ids = self._changes["ids"]
        # Rows of what is only added to that are there and get another value, by table and key.
        self.rewritten: dict[str, dict[bytes, bytes]] = {}
        self._is_broken = False
        self.steps = 0
        """Steps that were handed over and left a trace."""
        self.size = 0
        """Bytes of the rows that are to be written."""

    # Opening and closing

    def begin_next(self) -> None:
        """The commit is durable, and the next one is open."""
        self._names.keep()
        self.fresh_codes.clear()
        self._pending.update(self._accepted)
        if len(self._pending) > HEADS_KEPT:
            self._pending.clear()
        self._stored.update(self._queued)
        if len(self._stored) > HEADS_KEPT:
            self._stored.clear()
        for table, owners in self._gathered.nothing.items():
            for key in self._changes[table] if owners else ():
                owners.pop(key[: -NUMBER.size], None)
            if len(owners) > HEADS_KEPT:
                # Those that came last are most likely awake.
                kept = islice(owners, len(owners) - HEADS_KEPT // 2, None)
                self._gathered.nothing[table] = dict.fromkeys(kept)
        self._empty()
        over = len(self._heads) - HEADS_KEPT
        if over > 0:
            # Those that came last may be of instances that are about to be loaded.
            self._heads = dict(islice(self._heads.items(), over + HEADS_KEPT // 2, None))
        if len(self._gathered.instances) > HEADS_KEPT:
            # What was awake when it was sent to was never loaded.
            self._gathered.instances.clear()

    def begin_again(self, counters: Counters) -> None:
        """Nothing of the commit was kept.

        Args:
            counters: the newest durable numbers

        """
        self.counters = counters
        self._names.take_back()
        self._heads.clear()
        self._pending.clear()
        self._stored.clear()
        self._gathered.instances.clear()
        self._gathered.forget_nothing()
        for counts in self._asked.values():
            counts.clear()
        self._counts.forget()
        self._empty()

    def net_effect(
        self, checkpoints: Mapping[str, int]
    ) -> tuple[dict[str, dict[bytes, bytes]], dict[str, list[bytes]]]:
        """The rows to put and the keys to delete, by table.

        Raises:
            StoreError: a step could be laid in only in part, and the commit must be dropped

        """
        if self._is_broken:
            raise StoreError("a step of the commit failed after part of it was handed over")
        for target in list(self.sending.together):
            self._lay_sent(target)
        for sequence, command in self._queued.items():
            self._put("queue", number(sequence), command_to_row(command))
        for command_id, command in self._accepted.items():
            self._put("command_ids", command_id.encode(), given_to_row(command, None))
        for router, position in checkpoints.items():
            self._put("checkpoints", router.encode(), position)
        if self.sending.partition is not None:
            self.counters.checkpoints.update(checkpoints)
        for key, row in self._counts.changes().items():
            if row is None:
                self._changes["counts"][key] = None
            else:
                self._put("counts", key, row)
        for kind, name in self._names.fresh:
            self._put("names", name_key(kind, name), name)
        self._forget_what_never_was()
        for place, code in self.fresh_codes.items():
            # With the first commit, since a transition has the number from now on.
            self._put("codes", number(place), (code.process, code.python, code.fingerprint))
        puts: dict[str, dict[bytes, bytes]] = {}
        deletes: dict[str, list[bytes]] = {}
        for table, changes in self._changes.items():
            if not changes:
                continue
            if table in DENSE:
                puts[table] = changes  # type: ignore[assignment] # what goes from these is apart
                continue
            there = {key: row for key, row in changes.items() if row is not None}
            if there:
                puts[table] = there
            if len(there) < len(changes):
                deletes[table] = [key for key, row in changes.items() if row is None]
        for table in DENSE:
            pruned = self._sorted.get(table)
            if pruned:
                # What came again under such a key is put in its place.
                deletes[table] = sorted(set(pruned) - self._changes[table].keys())
        return puts, deletes

    def _forget_what_never_was(self) -> None:
        """Write nothing for what came and went again, of which the engine has no row."""
        unsure = [one for one in self._unsure if self._changes[one[0]][one[1]] is None]
        if unsure:
            for (table, key), raw in zip(unsure, self._engine.get_many(unsure), strict=True):
                if raw is None:
                    del self._changes[table][key]

    # Reading

    def gather(self, keys: Iterable[tuple[str, bytes]]) -> None:
        """Ask the engine at once for all that a wave of work is about to look at."""
        known, changes = self._known, self._changes
        unknown = [
            one for one in keys if one[1] not in known[one[0]] and one[1] not in changes[one[0]]
        ]
        if unknown and any(self._gathered.nothing.values()):
            has_none = self._gathered.has_none
            unknown = [one for one in unknown if not has_none(one[0], one[1][: -NUMBER.size])]
        if unknown:
            for (table, key), raw in zip(unknown, self._engine.get_many(unknown), strict=True):
                known[table][key] = raw

    def gather_ids(self, events: Iterable[EventRecord]) -> None:
        """As `gather`, for events that are to be stored under ids from outside."""
        self.gather(_ids_of(events))

    def gather_commands(
        self, commands: Iterable[CommandRecord], streams: Collection[str] = ()
    ) -> None:
        """As `gather`, for commands that are to be carried out.

        Args:
            commands: these
            streams: of those aggregates that are to be loaded, where a look is a trip; of a few
                that are likely to be there, what most are made of is asked for along

        """
        heads, wanted = self._heads, dict[tuple[str, bytes], bytes]()
        for command in commands:
            prefix = stream_key(command.stream)
            if prefix not in heads:
                wanted["ids", prefix + FIRST] = prefix
            # Without a digest it is not remembered, and no other one can have its id, unless it was
            # read from the queue, whose rows say no digest.
            is_given = command.process is None and (command.digest or command.sequence)
            if is_given and not self._is_pending(command):
                command_id = command.command_id.encode()
                wanted["command_ids", command_id] = command_id
        along: list[tuple[str, bytes]] = []
        if streams:
            # A new one has nothing, and most are like the one before of their category.
            likely = [one for one in streams if category_of(one) in self._gathered.are_there]
            along = self._first_rows(likely)
        namesakes = self._namesakes(map(stream_key, streams)) if streams else []
        if not wanted and not along:
            return
        known = self._known["command_ids"]
        first_rows = [("ids", prefix + FIRST) for prefix in namesakes]
        found = self._engine.get_many([*wanted, *first_rows, *along])
        may_be_pruned = self.counters.any_pruned
        for ((table, _), key), raw in zip(wanted.items(), found, strict=False):
            if table == "command_ids":
                known[key] = raw
            elif raw is None and not may_be_pruned:
                # What the open commit has of a stream, its newest version is remembered of.
                heads[key] = 0
        if streams:
            there = []
            for prefix, raw in zip(namesakes, found[len(wanted) :], strict=False):
                if raw is not None:
                    there.append(prefix)
                elif not may_be_pruned:
                    heads[prefix] = 0
            self._gathered.were_there(there)
            rest = found[len(wanted) + len(namesakes) :]
            for (table, key), raw in zip(along, rest, strict=True):
                self._known[table][key] = raw
            self._note_who_is_there(streams)

    def _namesakes(self, prefixes: Iterable[bytes]) -> list[bytes]:
        """What is likely to be asked for next when these are asked for, and is not known."""
        namesakes = self._gathered.namesakes
        if namesakes is None:
            return []
        return [one for one in namesakes.next_of(prefixes) if one not in self._heads]

    def _note_who_is_there(self, streams: Iterable[str]) -> None:
        for stream in streams:
            if self._heads.get(stream_key(stream)) == 0:
                self._gathered.are_there.discard(category_of(stream))
            else:
                self._gathered.are_there.add(category_of(stream))

    def _first_rows(self, streams: Collection[str]) -> list[tuple[str, bytes]]:
        """Places of the snapshots and first events of streams, if they are few, to be asked for."""
        keys: list[tuple[str, bytes]] = []
        for stream in streams if len(streams) <= FEW else ():
            prefix = stream_key(stream)
            if prefix not in self._heads:
                keys.append(("snapshots", stream.encode()))
                keys += [("ids", prefix + number(one)) for one in range(1, ALONG + 1)]
        return [one for one in keys if one[1] not in self._changes[one[0]]]

    def _find_ends(self, along: list[tuple[str, bytes]]) -> None:
        """Note the newest versions of streams that end among the events that were asked for."""
        asked: dict[bytes, list[Row | None]] = {}
        for table, key in along:
            if table == "ids":
                raw = self._known["ids"][key]
                row = None if raw is None else (key, raw)
                asked.setdefault(key[: -NUMBER.size], []).append(row)
        for prefix, rows in asked.items():
            there = [one for one in rows if one is not None]
            # The last one has none behind it, and none is missing before it. Of one that is lost,
            # the next one is there: the stream is damaged, and does not end.
            if there and rows[: len(there)] == there and len(there) < len(rows) - 1:
                self._heads[prefix] = self._behind("ids", prefix, there[-1])

    def gather_streams(self, streams: Iterable[str]) -> None:
        """As `gather`, for aggregates that are to be loaded: their snapshots and newest events.

        Args:
            streams: theirs, of which `gather_commands` has found those that are new

        """
        heads = self._heads
        found = {one: stream_key(one) for one in streams}
        found = {one: prefix for one, prefix in found.items() if heads.get(prefix) != 0}
        if not found:
            return
        along = self._first_rows([one for one, prefix in found.items() if prefix not in heads])
        self.gather(along)
        if not self.counters.any_pruned:
            self._find_ends(along)
        unknown = [one for one, prefix in found.items() if prefix not in heads]
        if along and len(unknown) == 1:
            self._gather_rest(unknown[0])
        self._gather_heads(prefix for prefix in found.values() if prefix not in heads)
        self.gather(
            key
            for stream, prefix in found.items()
            if heads[prefix]
            for key in (("snapshots", stream.encode()), ("ids", prefix + FIRST))
        )
        wanted: list[tuple[str, bytes]] = []
        for stream, prefix in found.items():
            snapshot = self.read_snapshot(stream) if heads[prefix] else None
            first = 1 if snapshot is None else snapshot[0] + 1
            # As many as are read of a stream at once, and not too many of all of them.
            last = min(heads[prefix], first + AT_ONCE)
            wanted += [("ids", prefix + number(one)) for one in range(first, last + 1)]
            if len(wanted) > HEADS_KEPT:
                break
        self.gather(wanted)
        known = self._known["ids"]
        self.gather(("log", raw) for _, key in wanted if (raw := known.get(key)))

    def _gather_rest(self, stream: str) -> None:
        """Ask for the events of one stream behind its snapshot, or those that are known of it."""
        prefix, known = stream_key(stream), self._known["ids"]
        snapshot = self.read_snapshot(stream)
        first = 1 if snapshot is None else snapshot[0] + 1
        while known.get(prefix + number(first)) is not None:
            first += 1
        rows = self._engine.range(
            "ids", prefix + number(first), prefix + number(HIGHEST), AT_ONCE + 1
        )
        known.update(rows)
        if 0 < len(rows) <= AT_ONCE:
            self._heads[prefix] = self._behind("ids", prefix, rows[-1])

    def _gather_heads(self, prefixes: Iterable[bytes]) -> None:
        """Ask the engine at once for the newest versions of streams."""
        wanted = list(dict.fromkeys(prefixes))
        if not wanted:
            return
        for prefix, row in zip(wanted, self._newest("ids", wanted), strict=True):
            self._heads[prefix] = self._behind("ids", prefix, row)

    def _newest(self, table: str, prefixes: Sequence[bytes]) -> list[Row | None]:
        """What the engine has with the highest number behind each of several prefixes."""
        last = number(HIGHEST)
        return self._engine.newest(table, [(one, one + last) for one in prefixes])

    def gather_instances(self, owners: Iterable[tuple[str, str]]) -> None:
        """As `gather`, for instances that are to be loaded.

        Args:
            owners: each the name of a process manager and the id of an instance

        """
        heads, gathered = self._heads, self._gathered.instances
        prefixes: list[bytes] = []
        wanted: list[bytes] = []
        for process, instance in owners:
            prefix = transitions_key(process, instance)
            prefixes.append(prefix)
            head = heads.get(prefix)
            # What the open commit has, and what is known to be new, need not be looked for.
            if head is None or (head and prefix + number(head) not in self._ids):
                wanted.append(prefix)
        namesakes = self._namesakes(prefixes)
        if not wanted:
            return
        # Neighbours are found quickly one after the other.
        wanted.sort()
        try:
            rows = self._newest("ids", wanted + namesakes)
            for prefix in reversed(namesakes):
                heads[prefix] = self._behind("ids", prefix, rows.pop())
            self._gathered.were_there([one for one in namesakes if heads[one]])
            places = [row for row in rows if row is not None and len(row[1]) == len(FIRST)]
            pointers = [("transitions", pointer) for _, pointer in places]
            found = self._engine.get_many(pointers) if pointers else []
        except DamagedStore:
            # Each is told of it when it is loaded.
            return
        for prefix, row in zip(wanted, rows, strict=True):
            # Anew, so that it is among those that came last.
            heads.pop(prefix, None)
            heads[prefix] = 0 if row is None else numbered(row[0])
        for place, raw in zip(places, found, strict=True):
            gathered[place[0][: -len(FIRST)]] = place, raw

    def gather_set_aside(self, owners: Iterable[tuple[str, str]]) -> None:
        """As `gather`, for what is set aside for instances that are to be loaded, which is rare.

        Args:
            owners: each the name of a process manager and the id of an instance

        """
        prefixes = [instance_key(*one) for one in owners]
        for table, may_have in (
            ("waiting", self._may_wait()),
            ("parked_at", self._may_be_parked()),
        ):
            nothing = self._gathered.nothing[table]
            unknown = [one for one in prefixes if one not in nothing]
            if may_have and unknown:
                found = zip(unknown, self._newest(table, unknown), strict=True)
                unknown = [one for one, row in found if row is None]
            nothing.update(dict.fromkeys(unknown))

    def gather_steps(self, steps: Iterable[Step]) -> None:
        """As `gather`, for steps from outside that are to be handed over."""
        keys: list[tuple[str, bytes]] = []
        prefixes: list[bytes] = []
        for step in steps:
            given, append = step.given, step.append
            if given is not None and not self._is_pending(given):
                keys.append(("command_ids", given.command_id.encode()))
            if step.extras is not None:
                keys += _looked_at(step, step.extras)
            if append is None:
                continue
            if append.unique:
                keys += _ids_of(append.events)
            prefix = stream_key(append.stream)
            if prefix not in self._heads:
                prefixes.append(prefix)
        self.gather(keys)
        self._gather_heads(prefixes)

    def gather_index(self, process: str, keys: Iterable[tuple[str, str]]) -> None:
        """As `gather`, for learnt keys by which instances are to be found.

        Args:
            process: whose keys
            keys: each a field and a value

        """
        prefixes = dict.fromkeys(digest(process, *one) for one in keys)
        wanted = [one for one in prefixes if one not in self._gathered.index]
        found = self._newest_of_index((one, one + b"\xff") for one in wanted)
        # Nearly all values have one instance or none. Those that have more are read when it is
        # their turn.
        below = self._newest_of_index((one, found[one][0]) for one in wanted if one in found)
        for one in wanted:
            if one not in below:
                self._gathered.index[one] = [found[one]] if one in found else []

    def _newest_of_index(self, ranges: Iterable[tuple[bytes, bytes]]) -> dict[bytes, Row]:
        """The rows with the highest keys of ranges that have any, by where these begin."""
        wanted = list(ranges)
        rows = self._engine.newest("index", wanted) if wanted else []
        return {start: row for (start, _), row in zip(wanted, rows, strict=True) if row is not None}

    def gather_timers(self, timers: Iterable[TimerRecord]) -> None:
        """As `gather`, for timers that are to fire."""
        self.gather([("timers", timer_key(one)) for one in timers])

    def is_new_stream(self, stream: str) -> bool:
        """Whether a stream that was asked for with others has no event."""
        return self._heads.get(stream_key(stream)) == 0

    def is_new_instance(self, process: str, instance: str) -> bool:
        """Whether an instance that was asked for with others has no transition, and none waits."""
        counters = self.counters
        return (
            not (counters.any_waiting or counters.parked)
            and self._heads.get(transitions_key(process, instance)) == 0
        )

    def last_transition(self, process: str, instance: str) -> TransitionRecord | None:
        prefix = transitions_key(process, instance)
        head = self._heads.get(prefix)
        if head == 0:
            return None
        gathered = self._gathered.instances.pop(prefix, None)
        if gathered is not None and numbered(gathered[0][0]) == head:
            place, raw = gathered
            # Only for now: it is of no use any more when the instance has moved on.
            known = self._known["transitions"]
            known[place[1]] = raw
            last = self._transitions_at(process, instance, [place])[0]
            del known[place[1]]
            return last
        rows = self._engine.range("ids", prefix, prefix + number(HIGHEST), 1, backwards=True)
        newest = self._heads[prefix] = self._behind("ids", prefix, rows[0] if rows else None)
        if rows and numbered(rows[0][0]) == newest:
            return self._transitions_at(process, instance, rows)[0]
        # What was handed over is newer, if there is any.
        return self.transition_at(process, instance, newest) if newest else None

    def count_unmatched(self, process: str) -> int:
        """How many events are held for who learns their keys."""
        held = self._asked[HELD].get(process)
        if held is None:
            rows = self._scan_rows("unmatched", started_key(process), last_of_process(process))
            held = self._asked[HELD][process] = sum(1 for _ in rows)
        return held

    def any_blocked(self, process: str) -> bool:
        # Counted once, since a log may have many events in a row for which it is asked.
        blocked = self._asked[BLOCKS].get(process)
        if blocked is None:
            blocked = 0
            if self._may_wait():
                blocked = sum(1 for key in self._heads_waiting(process) if not numbered(key))
            self._asked[BLOCKS][process] = blocked
        return blocked > 0

    def last_position(self) -> int:
        return self.counters.position

    def last_sequences(self) -> tuple[int, int]:
        return self.counters.sequence, self.counters.sequence_from_outside

    def read_stream(self, stream: str, after: int, limit: int) -> list[EventRecord]:
        if self._heads.get(stream_key(stream)) == after:
            return []
        found = super().read_stream(stream, after, limit)
        if limit > 0 and not (found or after or self.may_be_pruned()):
            # So that its newest version need not be asked for when its first event comes.
            self._heads[stream_key(stream)] = 0
        return found

    def read_queue(self, after: int, limit: int) -> list[CommandRecord]:
        # Of those that go, only the ones behind that are in the way; there are many before it.
        rows = self._range("queue", number_asked_for(after + 1), number(HIGHEST), limit)
        durable = [command_from_row(unframe(raw, "queue", key), numbered(key)) for key, raw in rows]
        self._stored.update(one.sequence for one in durable)
        found = durable + [one for place, one in self._queued.items() if place > after]
        return list(islice(sorted(found, key=lambda one: one.sequence), limit))

    def given_command(self, command_id: str) -> GivenCommand | None:
        one = self._accepted.get(command_id)
        if one is None:
            return super().given_command(command_id)
        return GivenCommand(one.type, one.stream, one.time, one.digest)

    def scan_names(self) -> Iterator[tuple[NameKind, str]]:
        yield from super().scan_names()
        yield from tuple(self._names.fresh)

    def _may_wait(self) -> bool:
        return self.counters.any_waiting

    def _may_be_parked(self) -> bool:
        return self.counters.parked > 0

    def may_be_pruned(self) -> bool:
        return self.counters.any_pruned

    def owed_so_far(self) -> int:
        return self.counters.owed

    def _get(self, table: str, key: bytes) -> bytes | None:
        raw = self._changes[table].get(key)
        if raw is not None:
            return raw
        known = self._known[table]
        try:
            return known[key]
        except KeyError:
            raw = None
            if table not in SET_ASIDE or not self._gathered.has_none(table, key[: -NUMBER.size]):
                raw = self._engine.get_many(((table, key),))[0]
            known[key] = raw
            return raw

    def _get_many(self, keys: Sequence[tuple[str, bytes]]) -> list[bytes | None]:
        self.gather(keys)
        return [self._get(table, key) for table, key in keys]

    def _range(
        self, table: str, start: bytes, end: bytes, limit: int, *, backwards: bool = False
    ) -> list[Row]:
        if table in DENSE:
            raise NotImplementedError("what was handed over is found by its number there")
        changed = self._sorted[table]
        changed = changed[bisect_left(changed, start) : bisect_left(changed, end)]
        rows: list[Row] = []
        if table not in SET_ASIDE or not self._is_of_none(table, start, end):
            # As many more as may be gone again.
            rows = self._engine.range(table, start, end, limit + len(changed), backwards=backwards)
        return self._merged(table, rows, changed, limit, backwards=backwards)

    def _is_of_none(self, table: str, start: bytes, end: bytes) -> bool:
        """Whether a range is of one instance for which the engine has nothing there."""
        has_none = self._gathered.has_none
        return any(
            has_none(table, one) and end.startswith(one) for one in (start, start[: -NUMBER.size])
        )

    def _index_rows(self, prefix: bytes) -> list[Row]:
        rows = self._gathered.index.get(prefix)
        end = prefix + b"\xff"
        if rows is None:
            rows = self._gathered.index[prefix] = self._engine.range("index", prefix, end, ALL)
        changed = self._sorted["index"]
        changed = changed[bisect_left(changed, prefix) : bisect_left(changed, end)]
        return self._merged("index", rows, changed, ALL)

    def _merged(
        self,
        table: str,
        rows: list[Row],
        changed: list[bytes],
        limit: int,
        *,
        backwards: bool = False,
    ) -> list[Row]:
        """What the engine has of a range, with what the open commit makes of it."""
        if not changed:
            return rows
        merged: dict[bytes, bytes | None] = dict(rows)
        for key in changed:
            merged[key] = self._changes[table][key]
        found = [(key, row) for key, row in merged.items() if row is not None]
        found.sort(reverse=backwards)
        return found[:limit]

    def _page(self, table: str, prefix: bytes, after: int, limit: int) -> list[Row]:
        if table not in DENSE:
            return super()._page(table, prefix, after, limit)
        start, end = prefix + number_asked_for(after + 1), prefix + number(HIGHEST)
        gathered = self._gathered_page(prefix, after, limit) if table == "ids" else []
        if gathered:
            return gathered
        pruned = set(self._sorted[table])
        rows = self._engine.range(table, start, end, max(0, limit + len(pruned)))
        changes = self._changes[table]
        if pruned:
            there = ((key, changes.get(key, None if key in pruned else raw)) for key, raw in rows)
            rows = [(key, raw) for key, raw in there if raw is not None][: max(0, limit)]
        place = numbered(rows[-1][0]) if rows else after
        while len(rows) < limit:
            place += 1
            key = prefix + number(place)
            raw = changes.get(key)
            if raw is None:
                break
            rows.append((key, raw))
        return rows

    def _gathered_page(self, prefix: bytes, after: int, limit: int) -> list[Row]:
        """As `_page`, of versions that were asked for with others; empty if one was not."""
        known, changes = self._known["ids"], self._changes["ids"]
        rows: list[Row] = []
        for place in range(after + 1, min(self._heads.get(prefix, 0), after + limit) + 1):
            key = prefix + number(place)
            raw = changes[key] if key in changes else known.get(key)
            if raw is None:
                return []
            rows.append((key, raw))
        return rows

    def _last(self, table: str, prefix: bytes, below: int = HIGHEST) -> int:
        if table not in DENSE:
            return super()._last(table, prefix, below)
        head = self._heads.get(prefix) if table == "ids" else None
        if head is not None:
            return head
        rows = self._engine.range(table, prefix, prefix + number(below), 1, backwards=True)
        place = self._behind(table, prefix, rows[0] if rows else None)
        if table == "ids":
            self._heads[prefix] = place
        return place

    def _behind(self, table: str, prefix: bytes, newest: Row | None) -> int:
        """The last number of a prefix, of which the engine has this as the newest row."""
        place = 0 if newest is None else numbered(newest[0])
        # What was handed over comes behind that, without a gap.
        changes = self._changes[table]
        while prefix + number(place + 1) in changes:
            place += 1
        return place

    # Handing over

    def hand_over(self, step: Step) -> Outcome:
        """Check what the step expects, then lay it in whole; as `Store.hand_over`."""
        take, given = step.take, step.given
        append, transition = step.append, step.transition
        if given is not None:
            command_id = given.command_id
            # One that was accepted, and not carried out since, is of no other step.
            if self._accepted.get(command_id) is not given and not self._is_pending(given):
                repeated = self._refuse_given(step, given)
                if repeated is not None:
                    return repeated
        is_there = not take or take in self._queued or take in self._stored
        if not is_there and self._get("queue", number(take)) is None:
            return Duplicate()
        is_rare = step.extras is not None or step.park is not None or step.wait
        heads = self._heads
        refusal: Outcome | None = None
        if append is not None:
            prefix = stream_key(append.stream)
            if append.unique:
                refusal = self.refuse_ids(append)
            version = append.expected
            if (
                version is not None
                and heads.get(prefix) != version
                and refusal is None
                and not self._is_at(prefix, version)
            ):
                refusal = Conflict(f"stream {append.stream!r} is not at version {version}")
        if is_rare and refusal is None:
            refusal = self._refuse_rare(step)
        if transition is not None:
            own_prefix = transitions_key(step.process, step.instance)
            version = transition.version - 1
            if (
                heads.get(own_prefix) != version
                and refusal is None
                and not self._is_at(own_prefix, version)
            ):
                refusal = Conflict(
                    f"instance {step.instance!r} of {step.process} is not at version {version}"
                )
        if refusal is not None:
            return refusal
        # The checks above changed nothing.
        try:
            if take and self._queued.pop(take, None) is None:
                self._stored.discard(take)
                self._delete("queue", number(take))
            if transition is not None:
                self._write_transition(step, transition, own_prefix)
            if append is not None and append.events:
                self._write_events(append, prefix)
            if step.enqueue:
                self._enqueue(step.enqueue)
            if given is not None and step.result is not None:
                self._write_result(given, step.result, append)
            if is_rare:
                self._write_rare(step)
            if step.send:
                self._send(step.send)
        except BaseException:
            # Part of the step is laid in, which must not become durable.
            self._is_broken = True
            raise
        self.steps += 1
        return COMMITTED

    def _refuse_rare(self, step: Step) -> Outcome | None:
        refusal = None
        if step.park is not None:
            refusal = self._refuse_park(step.park, step.extras)
        if step.extras is not None and refusal is None:
            refusal = self._refuse_extras(step, step.extras)
        return refusal

    def _write_rare(self, step: Step) -> None:
        if step.park is not None:
            self._write_parked(step.park)
        if step.wait:
            self._let_wait(step.process, step.instance, step.wait)
        if step.extras is not None:
            self._write_extras(step, step.extras)

    def _put(self, table: str, key: bytes, row: Any) -> None:
        raw = self._changes[table][key] = frame(key, row)
        self.size += len(raw)

    def _set(self, table: str, key: bytes, row: Any) -> None:
        """As `_put`, for a row that may go again, in a table that is read in ranges."""
        if key not in self._changes[table]:
            insort(self._sorted[table], key)
        self._put(table, key, row)

    def _delete(self, table: str, key: bytes) -> None:
        changes = self._changes[table]
        if key not in changes:
            insort(self._sorted[table], key)
            self._gone.add((table, key))
        elif (table, key) not in self._gone:
            self._unsure.add((table, key))
        changes[key] = None
        self._known[table][key] = None

    # What a step expects

    def _is_at(self, prefix: bytes, version: int) -> bool:
        """Whether a version is the newest behind a prefix."""
        head = self._heads.get(prefix)
        if head is None:
            head = self._last("ids", prefix)
        if version < 0:
            # No key can have it, so it is no conflict that a step was quicker.
            raise no_number(struct.error(f"version {version}"))
        return head == version

    def refuse_ids(self, append: Append) -> Duplicate | IdTaken | None:
        """Whether an id that was given from outside is that of an event which is there."""
        for event in append.events:
            event_id = event.event_id
            given = self._given_event(event_id)
            if given is not None:
                position, content = given
                if _may_be_same(event.digest, content):
                    return Duplicate(position=position)
                first = self.event_or_tombstone(position)
                if first is None:
                    raise corrupt(
                        "event_ids", event_id.encode(), "is at a position that is not in the log"
                    )
                return IdTaken(event_id, first.type, first.stream, first.time, position)
            there = self._named_event(event_id)
            if there is not None:
                return IdTaken(
                    event_id, there.type, there.stream, there.time, there.position, is_given=False
                )
        return None

    def _is_pending(self, command: CommandRecord) -> bool:
        """Whether a command is the one that was accepted under its id, and not carried out since.

        It may have been read from the queue meanwhile.
        """
        accepted = self._pending.get(command.command_id)
        return accepted is command or (
            accepted is not None and 0 < accepted.sequence == command.sequence
        )

    def _refuse_given(self, step: Step, given: CommandRecord) -> Duplicate | IdTaken | None:
        """Whether the id of a command from outside stands for another, or for one that was taken.

        One that is accepted and not carried out may still be: from the queue, or for a caller who
        cannot wait for that.
        """
        first = self.given_command(given.command_id)
        if first is None:
            return None
        if not _may_be_same(given.digest, first.digest):
            return IdTaken(
                given.command_id, first.type, first.stream, first.time, result=first.result
            )
        if first.result is not None or step.enqueue:
            return Duplicate(result=first.result)
        return None

    def _refuse_park(self, parked: ParkedRecord, extras: StepExtras | None) -> Duplicate | None:
        if parked.position:
            key = parked_at_key(parked)
            raw = self._get("parked_at", key)
            # What this step takes away is not in its way.
            if raw is not None and not (
                extras is not None and extras.unpark == unframe(raw, "parked_at", key)
            ):
                return Duplicate(position=parked.position)
        return None

    def _refuse_extras(self, step: Step, extras: StepExtras) -> Duplicate | None:
        """Whether what the step is for is gone, or what it does is there: it was done before."""
        arrived = extras.arrived
        if arrived is not None and self.counters.cursors.get(arrived.source, 0) != (
            arrived.first - 1
        ):
            return Duplicate()
        if extras.effect is not None and self._get(*_place_of(extras.effect)) is not None:
            return Duplicate()
        for table, key in _taken(step, extras):
            raw = self._get(table, key)
            if raw is None:
                return Duplicate()
            if table == "parked":
                # It is read again when it moves; if it is damaged, that is told before.
                parked = parked_from_row(unframe(raw, table, key), numbered(key))
                at = parked_at_key(parked)
                there = self._get("parked_at", at) if parked.position else None
                if there is not None:
                    unframe(there, "parked_at", at)
        return None

    # What a step writes

    def _write_transition(self, step: Step, record: TransitionRecord, prefix: bytes) -> None:
        process, instance, version = step.process, step.instance, record.version
        counters = self.counters
        counters.transition = place = counters.transition + 1
        key = number(place)
        packed = pack(transition_to_row(process, instance, record))
        # As `frame` does, with a call less, here and below.
        self._transitions[key] = raw = pack_checksum(crc32(packed, crc32(key))) + packed
        # The key of the one is all that the other says.
        self._ids[prefix + number(version)] = key
        self._heads[prefix] = version
        self.size += len(raw) + INDEXED
        if version == 1:
            first = started_key(process) + key
            packed = pack(instance)
            raw = pack_checksum(crc32(packed, crc32(first))) + packed
            self._changes["started"][first] = raw
            self.size += len(raw)
            insort(self._sorted["started"], first)
            self._begun[process] = self._begun.get(process, 0) + 1
        if record.is_complete or record.run == version != 1:
            if record.run == version != 1 or record.cause in BY_PEOPLE:
                self._count_end(step, record)
            else:
                ended = self._counts.ended
                ended[process] = ended.get(process, 0) + 1
        if process not in self._names.processes:
            self._names.add("process", process)
        for command in record.commands:
            if command[1] not in self._known_commands:
                self._names.add("command", command[1])

    def _count_end(self, step: Step, record: TransitionRecord) -> None:
        """Count an instance that began again, or that is complete as people left it."""
        version = record.version
        # One that has ended goes on with a new run only, or stays so while people mend it.
        was_complete = record.run == version
        if record.cause in BY_PEOPLE:
            # One that was suspended is counted when what suspended it goes.
            is_suspended = step.extras is not None and step.extras.unpark
            was_complete = version > 1 and (record.handler not in ENDS or bool(is_suspended))
        more = record.is_complete - was_complete
        if more:
            ended = self._counts.ended
            ended[step.process] = ended.get(step.process, 0) + more

    def _write_events(self, append: Append, prefix: bytes) -> None:
        stream = append.stream
        version = append.expected
        if version is None:
            version = self._last("ids", prefix)
        counters = self.counters
        # As `category_of` does, with a call less.
        category = stream.partition("-")[0]
        added = self._added.get(category)
        if added is None:
            added = self._added[category] = {}
        position = counters.position
        for event in append.events:
            version += 1
            position += 1
            event.version, event.position = version, position
            named = event_id_at(stream, version)
            if not event.event_id:
                event.event_id = self._free_id(named) if counters.any_lookalike else named
            if not event.correlation_id:
                event.correlation_id = event.event_id
            key = number(position)
            packed = pack(event_to_row(event, named))
            self._log[key] = raw = pack_checksum(crc32(packed, crc32(key))) + packed
            self._ids[prefix + number(version)] = key
            self.size += len(raw) + INDEXED
            kind = event.type
            added[kind] = added.get(kind, 0) + 1
            if kind not in self._known_events:
                self._names.add("event", kind)
            if append.unique:
                self._remember_id(event, named)
        counters.position = position
        self._heads[prefix] = version

    def _free_id(self, named: str) -> str:
        """The id that the store makes, out of the way of those that were given from outside."""
        while self._get("event_ids", named.encode()) is not None:
            named += EVADES
        return named

    def _remember_id(self, event: EventRecord, named: str) -> None:
        """Note an id that was given from outside."""
        self._put("event_ids", event.event_id.encode(), (event.position, event.digest))
        if (
            event.event_id != named
            and not self.counters.any_lookalike
            and place_of_event(event.event_id) is not None
        ):
            self._put("meta", LOOKALIKE, 1)
            self.counters.any_lookalike = True

    def _enqueue(self, commands: list[CommandRecord]) -> None:
        counters, queued = self.counters, self._queued
        for command in commands:
            if command.process is None:
                counters.sequence_from_outside = sequence = counters.sequence_from_outside + 1
                if command.digest:
                    # One that was parked comes again without: its id is written already.
                    self._accepted[command.command_id] = command
            else:
                counters.sequence = sequence = counters.sequence + 1
            command.sequence = sequence
            queued[sequence] = command
            if command.type not in self._known_commands:
                self._names.add("command", command.type)

    def _write_result(
        self, given: CommandRecord, result: CommandResult, append: Append | None
    ) -> None:
        if append is not None and append.events:
            result.first_position = append.events[0].position
            result.events = len(append.events)
        command_id = given.command_id
        first: CommandRecord | GivenCommand | None = self._accepted.pop(command_id, None)
        if first is None:
            first = self._pending.pop(command_id, None)
        if first is None:
            first = self.given_command(command_id) or given
        self._put("command_ids", given.command_id.encode(), given_to_row(first, result))

    def _write_parked(self, parked: ParkedRecord) -> None:
        self.counters.parked += 1
        self._counts.park(parked, 1)
        parked.number = self.counters.parked
        self._set("parked", number(parked.number), parked_to_row(parked))
        if parked.position:
            self._set("parked_at", parked_at_key(parked), parked.number)
        self._names.add_process(parked.process)
        self._note_command(parked.command)

    def _write_extras(self, step: Step, extras: StepExtras) -> None:
        for parked_number in _decided(extras):
            self._decide(extras, parked_number)
        for table, key in _taken(step, extras):
            if table != "unmatched":
                self._delete(table, key)
        if extras.let_go:
            self._let_go(step.process, extras.let_go)
        if extras.effect is not None:
            self._write_effect(extras.effect)
        for timer in extras.cancel:
            self._delete("timers", timer_key(timer))
        for timer in extras.timers:
            self._set("timers", timer_key(timer), timer_to_row(timer))
            self._names.add_process(timer.process)
            self._note_command(timer.command)
        for process, instance, position in extras.waits:
            self._let_wait(process, instance, position)
        if extras.unblock or extras.block is not None:
            self._write_block(step, extras)
        process, instance = step.process, step.instance
        for field, old, new in extras.index:
            self._learn(process, instance, field, old, new)
        if self.counters.any_unmatched:
            for field, _, new in extras.index:
                extras.is_met |= new is not None and self._meet(process, instance, field, new)
        if extras.hold is not None:
            self._hold(extras.hold)
        if extras.owes:
            self._owe(step, extras.owes)
        if extras.refusal is not None:
            self._write_refusal(extras.refusal)
        if extras.snapshot is not None:
            assert step.append is not None
            self._put("snapshots", step.append.stream.encode(), list(extras.snapshot))
        if extras.arrived is not None or extras.taken is not None:
            self._write_lanes(extras)
        if extras.imported is not None:
            self._put("meta", IMPORTED_UP_TO, str(extras.imported))
        if extras.documents is not None:
            self._write_documents(extras.documents)
        self._take_out(extras)

    def _write_block(self, step: Step, extras: StepExtras) -> None:
        """Have an instance go on, or take nothing from now on."""
        blocked = instance_key(step.process, step.instance) + BLOCKED
        if extras.unblock and self._get("waiting", blocked) is not None:
            self._delete("waiting", blocked)
            self._count(BLOCKS, step.process, -1)
            if extras.unpark:
                was = self._status(step.process, step.instance)
                self._counts.move(step.process, "suspended", was)
        if extras.block is not None:
            if step.park is not None:
                extras.block.parked = step.park.number
            if self._get("waiting", blocked) is None:
                self._count(BLOCKS, step.process, 1)
            if extras.block.kind == "parked":
                status: Status | None = "complete" if extras.was_complete else "running"
                if extras.was_complete is None:
                    status = self._status(step.process, step.instance)
                self._counts.move(step.process, status, "suspended")
            self._set("waiting", blocked, block_to_row(extras.block))
            self.counters.any_waiting = True
            self._names.add_process(step.process)

    def _write_lanes(self, extras: StepExtras) -> None:
        """What came from other partitions, and what these have taken."""
        if extras.arrived is not None:
            self._take_in(extras.arrived)
        if extras.taken is not None:
            self._let_go_of_sent(extras.taken)

    def _write_documents(self, changes: DocumentChanges) -> None:
        """What a projection writes, with how far it is."""
        projection = changes.projection
        for (generation, key), value in changes.values.items():
            place = document_key(projection, generation, key)
            if value is None:
                self._delete("documents", place)
            else:
                self._set("documents", place, (value,))
        for one in changes.sets:
            place = document_set_key(projection, one.generation)
            self._set("document_sets", place, document_set_to_row(one))
        for generation in changes.dropped:
            self._delete("document_sets", document_set_key(projection, generation))

    def _take_out(self, extras: StepExtras) -> None:
        """Have leave what is not kept any more: pruned, or erased."""
        if extras.cut is not None:
            self._cut(extras.cut)
        if extras.erase is not None:
            self._erase(extras.erase)

    def _write_refusal(self, refusal: RefusalRecord) -> None:
        self.counters.refusal += 1
        refusal.sequence = self.counters.refusal
        self._set("refusals", number(refusal.sequence), refusal_to_row(refusal))
        self._names.add_process(refusal.command.process or "")
        self._note_command(refusal.command)

    def _write_effect(self, effect: EffectRecord) -> None:
        key = effect_key(effect.position, effect.process, effect.instance)
        self._set("effects", key, effect_to_row(effect))
        self._names.add_process(effect.process)
        for _, kind, _ in effect.commands:
            if kind not in self._known_commands:
                self._names.add("command", kind)

    def _status(self, process: str, instance: str) -> Status | None:
        """What an instance is when nothing suspends it; None before its first transition."""
        try:
            last = self.last_transition(process, instance)
        except CorruptRecord:
            # What cannot be read may be suspended because of that; it is taken for what most are.
            return "running"
        if last is None:
            return None
        return "complete" if last.is_complete else "running"

    # What leaves for good

    def _cut(self, cut: Cut) -> None:
        """Take rows out of the store, and write what stays in their place."""
        events, tombstones, transitions, parked = self.counters.pruned
        for table, key in cut.rows:
            if table == "tombstones":
                tombstones = max(tombstones, numbered(key))
            elif table == "transitions":
                transitions = max(transitions, numbered(key))
            elif table == "decided":
                parked = max(parked, numbered(key))
            if table in DENSE:
                self._sorted[table].append(key)
                self._known[table][key] = None
            else:
                self._delete(table, key)
        for one in cut.tombstones:
            events = max(events, one.position)
            self._set("tombstones", number(one.position), tombstone_to_row(one))
            if not one.sent_for:
                self._counts.drop_event(one.stream.partition("-")[0], one.type)
        for process, before, now, instance in cut.moved:
            self._delete("started", started_key(process) + number(before))
            self._set("started", started_key(process) + number(now), instance)
        for prefix in cut.gone:
            self._heads[prefix] = 0
            self._gathered.instances.pop(prefix, None)
        for process in cut.forgotten:
            self._counts.move(process, "complete", None)
        self.counters.pruned = marks = Marks(events, tombstones, transitions, parked)
        self.counters.any_pruned = True
        self._put("meta", PRUNED_UP_TO, str(marks))

    def _let_wait(self, process: str, instance: str, position: int) -> None:
        self._set("waiting", instance_key(process, instance) + number(position), 0)
        self.counters.any_waiting = True
        self._names.add_process(process)

    def _owe(self, step: Step, position: int) -> None:
        """Note that an after-effect is to run, and the version that handled its event."""
        process, instance = step.process, step.instance
        version = self._last("ids", transitions_key(process, instance))
        self._set("owed", owed_key(process, position, instance), version)
        self.counters.owed += 1
        self._names.add_process(process)

    def _decide(self, extras: StepExtras, parked_number: int) -> None:
        """Move what was parked to what was decided; it may be parked again from now on."""
        key = number(parked_number)
        raw = self._get("parked", key)
        assert raw is not None
        parked = parked_from_row(unframe(raw, "parked", key), parked_number)
        parked.decision = extras.decision
        self._counts.park(parked, -1)
        self._set("decided", key, parked_to_row(parked))
        is_passed_over = extras.decision is not None and extras.decision[0] in PASSED_OVER
        # That an event was passed over is kept where it is looked for when it is brought again.
        if parked.position and (parked.effect or not is_passed_over):
            key = parked_at_key(parked)
            raw = self._get("parked_at", key)
            # This step may have parked it again already.
            if raw is not None and unframe(raw, "parked_at", key) == parked_number:
                self._delete("parked_at", key)

    def _learn(
        self, process: str, instance: str, field: str, old: str | None, new: str | None
    ) -> None:
        if old is not None:
            self._delete("index", digest(process, field, old) + instance.encode())
        if new is not None:
            self._set("index", digest(process, field, new) + instance.encode(), 0)

    def _hold(self, held: UnmatchedRecord) -> None:
        """Keep an event for who learns its key."""
        self._set("unmatched", unmatched_key(held.process, held.position), unmatched_to_row(held))
        for value in held.values:
            key = unmatched_by_key(held.process, held.field, value, held.position)
            self._set("unmatched_by", key, 0)
        self.counters.any_unmatched = True
        self._count(HELD, held.process, 1)
        self._names.add_process(held.process)

    def _let_go(self, process: str, position: int) -> None:
        """Keep an event no longer."""
        held = self._sound_unmatched(process, position)
        if held is not None:
            for value in held.values:
                self._delete("unmatched_by", unmatched_by_key(process, held.field, value, position))
        self._delete("unmatched", unmatched_key(process, position))
        self._count(HELD, process, -1)

    def _meet(self, process: str, instance: str, field: str, value: str) -> bool:
        """Have the events that were held for a key wait for the instance that learns it.

        Returns:
            whether any does here; those for an instance of another partition are sent to it

        """
        partition = self.sending.partition
        target = None if partition is None else partition.of(instance)
        is_here = partition is None or target == partition.number
        prefix = digest(process, field, value)
        rows = self._range("unmatched_by", prefix, prefix + LAST, ALL)
        is_met = False
        for key, _ in rows:
            position = numbered(key)
            held = self._sound_unmatched(process, position)
            if held is None or value not in held.values:
                continue
            if instance not in held.taken:
                if is_here:
                    self._let_wait(process, instance, position)
                    is_met = True
                else:
                    self._send_on(process, instance, position, target or 0)
                held.taken.append(instance)
            self._delete("unmatched_by", key)
            held.values.remove(value)
            if held.values:
                self._set("unmatched", unmatched_key(process, position), unmatched_to_row(held))
            else:
                self._delete("unmatched", unmatched_key(process, position))
                self._count(HELD, process, -1)
        return is_met

    # What is erased

    def _erase(self, erase: Erase) -> None:
        """Write rows anew without what they said of people."""
        self._erase_sent([key for table, key in erase.places if table == "outgoing"], erase.time)
        for table, key in erase.places:
            if table == "outgoing":
                continue
            raw = self._get(table, key)
            if raw is None:
                continue
            if table == "unmatched":
                self._let_go(key[:-9].decode(), numbered(key))
                continue
            row = erased(table, unframe(raw, table, key), erase.time)
            if row is None:
                self._delete(table, key)
            else:
                self._put_anew(table, key, frame(key, row))
        for table, key, before, after in erase.anew:
            if self._get(table, key) == before:
                self._put_anew(table, key, after)
        # What is in memory of these rows says what they said.
        self._gathered.instances.clear()
        self._pending.clear()
        record = erase.record
        if record is not None:
            record.number = record.number or self._last("erasures", b"") + 1
            self._set("erasures", number(record.number), erasure_to_row(record))

    def _erase_sent(self, places: list[bytes], time: int) -> None:
        """Write rows anew that hold messages to other partitions."""
        rows: dict[bytes, list[Any]] = {}
        for place in places:
            found = row_of_message(self, place)
            if found is not None:
                key, row = found[0], rows.setdefault(*found)
                which = numbered(place) - first_in(key, row)
                row[which] = erased("outgoing", row[which], time)
        for key, row in rows.items():
            self._put_anew("outgoing", key, frame(key, row))

    def _put_anew(self, table: str, key: bytes, raw: bytes) -> None:
        """Write another row in the place of one that is there."""
        self.size += len(raw)
        changes = self._changes[table]
        if table in APPENDED and key not in changes:
            self.rewritten.setdefault(table, {})[key] = self._known[table][key] = raw
            return
        if table not in APPENDED and key not in changes:
            insort(self._sorted[table], key)
        changes[key] = raw

    # Lanes between partitions

    def _send(self, all_sent: list[SentRecord]) -> None:
        """Lay what is for other partitions at the ends of the lanes to them."""
        newest, names, processes = self.counters.sent, self._names, self._names.processes
        sending = self.sending
        for sent in all_sent:
            target = sent.target
            sent.sequence = newest[target] = newest.get(target, 0) + 1
            sending.targets.add(target)
            packed = pack(sent_to_row(sent))
            together = sending.together.get(target)
            if together is None:
                together = sending.together[target] = []
            together.append(packed)
            if len(together) == SENT_TOGETHER or len(packed) > LARGE_MESSAGE:
                self._lay_sent(target)
            if sent.event is not None:
                if sent.process not in processes:
                    names.add("process", sent.process)
            elif sent.command is not None:
                self._note_command(sent.command)
            elif sent.refusal is not None:
                self._note_command(sent.refusal.command)

    def _lay_sent(self, target: int) -> None:
        """Make a row of what is next in the lane to a partition."""
        together = self.sending.together.pop(target)
        key = outgoing_key(target, self.counters.sent[target])
        self._set("outgoing", key, [Raw(one) for one in together])

    def _send_on(self, process: str, instance: str, position: int, target: int) -> None:
        """Send an event that was held here to the partition of the instance that it is for."""
        event = self.event_at(position)
        if event is None:
            raise corrupt("unmatched", unmatched_key(process, position), "holds no event")
        self._send([SentRecord(target, event, process, [instance])])

    def _let_go_of_sent(self, taken: Taken) -> None:
        """Drop rows that a partition has taken; the newest stays, since it says the number."""
        target, counters = taken.target, self.counters
        counters.taken[target] = max(taken.up_to, counters.taken.get(target, 0))
        for last in taken.rows:
            if last < counters.sent.get(target, 0):
                self._delete("outgoing", outgoing_key(target, last))

    def _take_in(self, arrived: Arrival) -> None:
        """Move the cursor of a lane, and write what came by it; a step's commands are queued."""
        self.counters.cursors[arrived.source] = arrived.last
        self._put("cursors", number(arrived.source), arrived.last)
        if arrived.events:
            self._write_copies(arrived.events)
        for refusal in arrived.refusals:
            self._write_refusal(refusal)
        for one in arrived.learnt:
            self._learn(one.process, one.instance, one.field, one.old, one.new)
            self._names.add_process(one.process)
            if (
                one.new is not None
                and self.counters.any_unmatched
                and self._meet(one.process, one.instance, one.field, one.new)
            ):
                arrived.met.append((one.process, one.instance))

    def _write_copies(self, events: list[EventRecord]) -> None:
        """Write events of another partition's, which are in no stream here."""
        position, log, ids = self.counters.position, self._log, self._ids
        for event in events:
            position += 1
            event.position = position
            place = number(position)
            packed = pack(copied_event_to_row(event))
            log[place] = raw = pack_checksum(crc32(packed, crc32(place))) + packed
            ids[copies_key(event.sent_for, event.stream, event.version) + place] = place
            self.size += len(raw) + INDEXED
            if event.type not in self._known_events:
                self._names.add("event", event.type)
            if event.sent_for not in self._names.processes:
                self._names.add("process", event.sent_for)
        self.counters.position = position

    def _sound_unmatched(self, process: str, position: int) -> UnmatchedRecord | None:
        # Who learns the key is not to suffer from a damaged row; `verify` tells of it.
        with suppress(CorruptRecord):
            return self.unmatched_at(process, position)
        return None

    def _count(self, of: str, process: str, more: int) -> None:
        """Keep a count true that was asked for."""
        counts = self._asked[of]
        if process in counts:
            counts[process] += more

    def _note_command(self, command: CommandRecord | None) -> None:
        if command is not None and command.type not in self._known_commands:
            self._names.add("command", command.type)


FIRST = number(1)


def _may_be_same(content: bytes, first: bytes) -> bool:
    """Whether two digests tell of no difference; without one, nothing is known of what it is of."""
    return content == first or not (content and first)


def _decided(extras: StepExtras) -> list[int]:
    """The numbers of what was parked and is decided."""
    return [extras.unpark, *extras.unpark_too] if extras.unpark else extras.unpark_too


def _looked_at(step: Step, extras: StepExtras) -> list[tuple[str, bytes]]:
    """What is looked at before a step from outside is laid in, by table and key."""
    taken = _taken(step, extras)
    return taken if extras.effect is None else [*taken, _place_of(extras.effect)]


def _ids_of(events: Iterable[EventRecord]) -> list[tuple[str, bytes]]:
    """Where the ids are looked for that events were given from outside."""
    return [("event_ids", one.event_id.encode()) for one in events if one.event_id]


def _place_of(effect: EffectRecord) -> tuple[str, bytes]:
    return "effects", effect_key(effect.position, effect.process, effect.instance)


def _taken(step: Step, extras: StepExtras) -> list[tuple[str, bytes]]:
    """What the step is for, by table and key."""
    taken = []
    if extras.due is not None:
        taken.append(("timers", timer_key(extras.due)))
    if extras.unwait:
        key = instance_key(step.process, step.instance) + number(extras.unwait)
        taken.append(("waiting", key))
    taken += [("parked", number(one)) for one in _decided(extras)]
    if extras.told:
        taken.append(("refusals", number(extras.told)))
    if extras.let_go:
        taken.append(("unmatched", unmatched_key(step.process, extras.let_go)))
    if extras.paid:
        taken.append(("owed", owed_key(step.process, extras.paid, step.instance)))
    return taken
