"""Going through the tables of one snapshot, with look-ups; what was found on the way."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

from ..errors import DamagedStore
from ..identifiers import (
    PRUNED,
    place_of_effect,
    place_of_event,
    place_of_issue,
    place_of_transition,
)
from ..layout.frames import number
from ..layout.keys import LAST, Misshapen, digest
from ..layout.schema import (
    BLOCKED,
    EXCERPT,
    PRUNED_UP_TO,
    ROW_READERS,
    ROW_READERS_AGAIN,
    TABLES,
    BlockRow,
    CommandRow,
    EffectRow,
    EventIdRow,
    EventRow,
    Marks,
    PartitionRow,
    TombstoneRow,
    TransitionRow,
    effect_key,
    instance_key,
    key_reader,
    readable,
    row_of,
    stream_key,
    transitions_key,
)
from ..partitions import Partition
from ..records import NameKind
from ..state_changes import Misfit, PackedFields, apply_change

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..storage_engine import EngineSnapshot

__all__ = ["DamagedRow", "Enough", "Inspection", "States", "StoreFinding"]


EVENTS_KEPT = 64
"""Events that are not read again when they are looked up."""

COMMANDS_KEPT = 64
"""Ids of commands that are not looked for among what transitions issued."""

TOLD_EVERY = 10_000
"""Rows after which it is told how far it is."""


class StoreFinding(NamedTuple):
    """One thing that is wrong with a store."""

    table: str
    key: str
    """As people read it; empty if it is about the table."""
    problem: str

    def __str__(self) -> str:
        return (
            f"{self.table} {self.key}: {self.problem}"
            if self.key
            else (f"{self.table}: {self.problem}")
        )


class DamagedRow(Exception):
    """A row that another one leads to cannot be read, so nothing can be said about the two."""


class Enough(Exception):
    """As much was found as was asked for."""


class States:
    """Whole states of one instance, whose transitions come one after the other."""

    def __init__(self) -> None:
        self._version = 0
        self._state = b""
        self._fields: PackedFields | None = None

    def after(self, row: TransitionRow) -> bytes:
        """The state after the next transition.

        Raises:
            Misfit: it is stored as a change, and does not fit what came before

        """
        if not row.base:
            self._version, self._state, self._fields = row.version, row.state, None
            return row.state
        if row.base != self._version:
            raise Misfit(f"it stands on version {row.base}, which is not the last whole one")
        before = self._fields or PackedFields.of(self._state)
        self._fields = apply_change(before, row.state)
        return self._fields.whole()


class Inspection:
    """One snapshot, and what was found in it so far.

    Args:
        snapshot: what is looked at
        now: what was due before this time, in microseconds, may have gone
        limit: most findings
        began: called with the name of each table that is gone through
        on_progress: called now and then with how many rows it went through, and how many there are

    Attributes:
        now: the latest time that is known of, once the log was gone through
        partition: which one it is, of a divided store
        is_excerpt: whether the store has some records of another, so that numbers have gaps, and
            what a record came of may not be there
        pruned: how far what was pruned reaches
        any_given_ids: whether an event has an id from outside

    """

    def __init__(
        self,
        snapshot: EngineSnapshot,
        now: int,
        limit: int,
        began: Callable[[str], object] | None = None,
        on_progress: Callable[[int, int], object] | None = None,
    ) -> None:
        self._limit = limit
        self._began = began
        self._on_progress = on_progress
        self._rows = 0 if on_progress is None else sum(map(snapshot.count, TABLES))
        self._snapshot = snapshot
        self._get = snapshot.get
        self.now = now
        # Of the last transitions that were looked at, the commands that they issued.
        self._issued: set[str] = set()
        # Without the checksum, once all rows of a table were found to be sound.
        self._readers = dict(ROW_READERS)
        self.checked: Counter[str] = Counter()
        self.findings: list[StoreFinding] = []
        # Of events and of transitions, how many `ids` has where they are.
        self.listed = Counter[str]()
        # How many there are, by what is counted and by names.
        self.counts = Counter[tuple[str, ...]]()
        self.last_position = self._last_number("log")
        self.partition = self._read_partition()
        self.is_excerpt = self.has("meta", EXCERPT)
        self.pruned = self._read_marks()
        self._any_waits = any(True for _ in snapshot.scan("waiting"))
        self.any_given_ids = any(True for _ in snapshot.scan("event_ids"))
        self._names: set[tuple[str, str]] = set()
        self._codes: dict[int, str] = {}
        # An instance and the streams of its id are neighbours, and lead to the same events.
        self._events: dict[int, EventRow] = {}

    def say(self, table: str, key: bytes, problem: str) -> None:
        """Note what is wrong with a row."""
        self.findings.append(StoreFinding(table, readable(table, key), problem))
        if len(self.findings) >= self._limit:
            raise Enough

    def say_all(self, table: str, key: bytes, problems: Iterator[str]) -> None:
        """Note all that is wrong with a row, as far as that can be told."""
        try:
            for problem in problems:
                self.say(table, key, problem)
        except DamagedRow:
            # What is damaged where it leads to is reported there.
            pass

    def say_gap(
        self,
        table: str,
        key: bytes,
        prefix: bytes,
        before: int,
        found: int,
        pruned: int = 0,
    ) -> None:
        """Note if a number does not follow that of the last row that could be read.

        What was pruned may be missing up to a number, which is given.
        """
        if self.is_excerpt and not prefix:
            return
        expected = max(before, min(pruned, found - 1)) + 1
        # Rows that could not be read are reported, and are no gap.
        while expected < found and self.has(table, prefix + number(expected)):
            expected += 1
        if expected != found:
            self.say(table, key, f"comes where {expected} is missing")

    def read_names(self) -> None:
        """Read the table of names, which all other tables are checked against."""
        for key, (kind, found), name in self.rows("names"):
            self._names.add((kind, name))
            if found != digest(name):
                self.say("names", key, f"has the key of another name than {name}")
            if kind not in get_args(NameKind):
                self.say("names", key, f"is a name of a {kind}, which the format does not have")

    def read_codes(self) -> None:
        """Read the table of codes, which transitions are checked against."""
        before = 0
        for key, place, row in self.rows("codes"):
            self.say_gap("codes", key, b"", before, place)
            before = place
            self._codes[place] = row.process

    def problems_of_code(self, process: str, code: int) -> Iterator[str]:
        """What is wrong with the number of the code that decided a transition."""
        owner = self._codes.get(code)
        if not code or owner == process:
            return
        if owner is not None:
            yield f"was decided by code {code}, which is that of {owner}"
        elif not self.has("codes", number(code)):
            yield f"was decided by code {code}, which is not there"

    def say_unknown(self, table: str, key: bytes, kind: str, name: str | None) -> None:
        """Note a name that is in use and not in the table of names; once."""
        if name and (kind, name) not in self._names:
            self._names.add((kind, name))
            self.say(table, key, f"has the {kind} {name}, which names does not have")

    # Going through

    def rows(self, table: str) -> Iterator[tuple[bytes, Any, Any]]:
        """Each row that can be read, in order, as its key, what the key says, and the row.

        What the key says is one value, or a tuple of its parts if there are several.
        """
        if self._began is not None:
            self._began(table)
        before = b""
        count = 0
        checked, said_before = self.checked, len(self.findings)
        checked[table] = 0
        said_by, read = key_reader(table), ROW_READERS[table]
        try:
            for key, raw in self._snapshot.scan(table):
                count += 1
                checked[table] = count
                if count % TOLD_EVERY == 0 and self._on_progress is not None:
                    self._on_progress(checked.total(), self._rows)
                if key <= before:
                    self.say(table, key, "comes after a key that is not below it")
                before = key
                try:
                    said, row = said_by(key), read(key, raw)
                except Misshapen as error:
                    self.say(table, key, str(error))
                else:
                    yield key, said[0] if len(said) == 1 else said, row
            counted = self._snapshot.count(table)
            if counted != count:
                self.say(table, b"", f"is said to have {counted} rows, and {count} are there")
            if len(self.findings) == said_before:
                self._readers[table] = ROW_READERS_AGAIN[table]
        except DamagedStore as error:
            self.say(table, b"", str(error))

    def rows_again(self, table: str) -> Iterator[tuple[bytes, Any]]:
        """Each row that can be read, once more: what is wrong with the others was told."""
        with suppress(DamagedStore):
            for key, raw in self._snapshot.scan(table):
                with suppress(Misshapen):
                    yield key, ROW_READERS[table](key, raw)

    def transitions(self, process: str, instance: str, start: int = 1) -> Iterator[TransitionRow]:
        """The transitions of an instance that are there, in order of version, with whole states.

        Args:
            process: the process manager's name
            instance: the instance's id
            start: the first version that is wanted, whose state is whole

        Raises:
            DamagedRow: one of them cannot be read, or where it is

        """
        prefix, states = transitions_key(process, instance), States()
        for key, raw in self._snapshot.scan("ids", prefix + number(start)):
            if not key.startswith(prefix):
                return
            row = self.transition(self.read("ids", key, raw))
            if row is not None:
                try:
                    row.state = states.after(row)
                except Misfit:
                    raise DamagedRow from None
                yield row

    # Looking up

    def has(self, table: str, key: bytes) -> bool:
        """Whether there is a row, whatever it holds."""
        return self._get(table, key) is not None

    def key_behind(self, table: str, key: bytes) -> bytes | None:
        """The next key, whatever its row holds."""
        return next((found for found, _ in self._snapshot.scan(table, key + b"\0")), None)

    def look(self, table: str, key: bytes) -> Any:
        """The row with that key, or None.

        Raises:
            DamagedRow: there is one, and it cannot be read

        """
        raw = self._get(table, key)
        if raw is None:
            return None
        # As in `read`, with two calls less, since most of the time is spent here.
        try:
            return self._readers[table](key, raw)
        except Misshapen:
            raise DamagedRow from None

    @staticmethod
    def read(table: str, key: bytes, raw: bytes) -> Any:
        """The row in a frame.

        Raises:
            DamagedRow: it cannot be read

        """
        try:
            return row_of(table, key, raw)
        except Misshapen:
            raise DamagedRow from None

    def event(self, position: int) -> EventRow | None:
        """The event at a position."""
        found = self._events.get(position)
        if found is None and 0 < position < 1 << 63:
            found = self.look("log", number(position))
            if found is not None:
                if len(self._events) >= EVENTS_KEPT:
                    self._events.clear()
                self._events[position] = found
        return found

    def transition(self, place: int) -> TransitionRow | None:
        """The transition with a number."""
        found: TransitionRow | None = (
            self.look("transitions", number(place)) if 0 < place < 1 << 63 else None
        )
        return found

    def position_of(self, event_id: str) -> int:
        """Where the event with an id is, or 0."""
        given: EventIdRow | None = self.look("event_ids", event_id.encode())
        if given is not None:
            return given.position
        place = place_of_event(event_id)
        if place is None:
            return 0
        key = stream_key(place.stream) + number(place.version)
        position: int = self.look("ids", key) or 0
        event = self.event(position)
        return position if event is not None and event.id == event_id else 0

    def last_transition(self, process: str, instance: str) -> TransitionRow | None:
        """The newest transition of an instance, with its whole state."""
        prefix = transitions_key(process, instance)
        key, raw = next(self._snapshot.scan("ids", prefix + LAST, backwards=True), (b"", b""))
        row = self.transition(self.read("ids", key, raw)) if key[:-8] == prefix else None
        if row is not None and row.base:
            *_, row = self.transitions(process, instance, row.base)
        return row

    def first_version(self, process: str, instance: str) -> int:
        """The lowest version of an instance that is there, or 0."""
        prefix = transitions_key(process, instance)
        key = next((key for key, _ in self._snapshot.scan("ids", prefix)), b"")
        return int.from_bytes(key[-8:], "big") if key[:-8] == prefix else 0

    def is_suspended(self, process: str, instance: str) -> bool:
        """Whether an instance takes nothing until an operator decides."""
        if not self._any_waits:
            return False
        block = self.look("waiting", instance_key(process, instance) + BLOCKED)
        return isinstance(block, BlockRow) and block.kind == "parked"

    def is_issued(self, command_id: str) -> bool:
        """Whether the transition, or the after-effect, that a command's id names issued it."""
        if command_id in self._issued:
            return True
        issue = place_of_issue(command_id)
        if issue is None:
            effect = self._effect_of(command_id)
            if effect is not None:
                return any(one[0] == command_id for one in effect.commands)
            named = place_of_effect(command_id)
            return named is not None and (self._may_be_elsewhere or self.was_there(named.position))
        place: int | None = self.look(
            "ids", transitions_key(issue.process, issue.instance) + number(issue.version)
        )
        row = self.transition(place or 0)
        if row is None:
            return self._may_be_elsewhere or self.is_pruned(*issue[:3])
        return any(one[0] == command_id for one in row.commands)

    def note_issued(self, row: TransitionRow) -> None:
        """Have the commands of a transition at hand for what comes next: its neighbours.

        All transitions were gone through. After a finding, the ids of its commands may be wrong.
        """
        if row.commands and not self.findings:
            if len(self._issued) >= COMMANDS_KEPT:
                self._issued.clear()
            self._issued.update([command_id for command_id, _, _ in row.commands])

    @property
    def _may_be_elsewhere(self) -> bool:
        """Whether an instance that is not here may be in another partition, or was left out."""
        return self.partition is not None or self.is_excerpt

    def tombstone(self, position: int) -> TombstoneRow | None:
        """What stays of an event that was pruned."""
        found: TombstoneRow | None = self.look("tombstones", number(position))
        return found

    def was_there(self, position: int) -> bool:
        """Whether an event at a position is none that is missing: it was pruned."""
        return 0 < position <= self.pruned.tombstones or self.tombstone(position) is not None

    def is_pruned(self, process: str, instance: str, version: int) -> bool:
        """Whether a transition is none that is missing: it was pruned."""
        if not self.pruned.transitions:
            return False
        last = self.last_transition(process, instance)
        return last is None or version < (last.version if last.cause == PRUNED else last.run)

    def is_end(self, transition_id: str) -> bool:
        """Whether the transition that an id names ended its instance."""
        found = place_of_transition(transition_id)
        if found is None:
            return False
        process, instance, version = found
        place: int | None = self.look("ids", transitions_key(process, instance) + number(version))
        row = self.transition(place or 0)
        if row is None:
            return self._may_be_elsewhere or self.is_pruned(process, instance, version)
        return row.is_complete

    def _effect_of(self, command_id: str) -> EffectRow | None:
        """The after-effect that a command's id names."""
        issue = place_of_effect(command_id)
        if issue is None:
            return None
        key = effect_key(issue.position, issue.process, issue.instance)
        found: EffectRow | None = self.look("effects", key)
        return found

    def problems_of_command(self, command: CommandRow) -> Iterator[str]:
        """What is wrong with a command that is somewhere on its way."""
        if command.process is None:
            if command.instance is not None or command.version:
                yield "names an instance, and no process"
            return
        if command.origin is not None:
            # Its issuer is in that partition.
            return
        effect = self._effect_of(command.command_id)
        issue = place_of_issue(command.command_id)
        issuer = effect and (effect.process, effect.instance, effect.version)
        issuer = issuer or (issue and issue[:3])
        if not self.is_issued(command.command_id):
            yield f"no transition issued command {command.command_id}"
        elif issuer != (command.process, command.instance, command.version):
            yield f"says that another transition issued command {command.command_id}"

    def processes(self) -> list[str]:
        """The process managers that have instances."""
        found: list[str] = []
        start = b"\0"
        while key := next((key for key, _ in self._snapshot.scan("started", start)), None):
            name = key.partition(b"\0")[0]
            found.append(name.decode(errors="replace"))
            # Behind all that begin with the name and its end.
            start = name + b"\1"
        return found

    def _read_partition(self) -> Partition | None:
        """Which partition it is; what is damaged of that is told when the table is gone through."""
        for key, raw in self._snapshot.scan("partitions"):
            with suppress(Misshapen):
                row: PartitionRow = row_of("partitions", key, raw)
                return Partition(row.number, row.count)
        return None

    def _read_marks(self) -> Marks:
        """How far what was pruned reaches; what is damaged of that is told with its table."""
        with suppress(DamagedRow):
            said = self.look("meta", PRUNED_UP_TO)
            return Marks.parse(str(said)) or Marks()
        return Marks()

    def _last_number(self, table: str) -> int:
        for key, _ in self._snapshot.scan(table, LAST + b"\0", backwards=True):
            return int.from_bytes(key, "big")
        return 0
