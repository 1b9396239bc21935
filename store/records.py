"""The records that go through the port, and what one commit may hold.

Messages, states and headers are packed MessagePack maps already: the caller that hands them over
has seen that they can be packed, so that one bad value cannot spoil a commit of many steps. Times
are whole microseconds since 1970 in UTC. Positions, versions and sequence numbers start at 1; 0
means "none yet".

Records are Structs out of sight of Python's cycle collector: they refer to no cycle, and thousands
of them are alive at a time, which would keep it busy for a sixth of the time.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, NamedTuple, TypeAlias

from msgspec import Struct

__all__ = [
    "COMMITTED",
    "FROM_OUTSIDE",
    "PASSED_OVER",
    "Append",
    "Arrival",
    "Block",
    "CodeRecord",
    "CommandRecord",
    "CommandResult",
    "Committed",
    "Conflict",
    "Cut",
    "DocumentChanges",
    "DocumentSet",
    "Duplicate",
    "EffectRecord",
    "Erase",
    "ErasureRecord",
    "EventRecord",
    "GivenCommand",
    "IdTaken",
    "LearntKey",
    "NameKind",
    "Outcome",
    "ParkedRecord",
    "RefusalRecord",
    "SentRecord",
    "Step",
    "StepExtras",
    "Taken",
    "TimerRecord",
    "TombstoneRecord",
    "TransitionRecord",
    "UnmatchedRecord",
]

NameKind: TypeAlias = Literal["event", "command", "process"]
"""What a name in the table of names is of: a type of event or command, or a process manager."""

PASSED_OVER = frozenset({"skip", "end"})
"""Decisions after which what was parked is not handled any more."""

FROM_OUTSIDE = 1 << 62
"""Tickets of commands that no instance issued are above this number.

So the queue has two lanes, each in order: what is under way can go before what is new."""


class EventRecord(Struct, gc=False):
    """One event as it is stored. The commit sets `position`, and the engine `time` before it."""

    type: str
    stream: str
    version: int
    time: int
    data: bytes
    event_id: str
    correlation_id: str
    causation_id: str | None = None
    headers: bytes | None = None
    depth: int = 0
    """How many events, refusals and timeouts that were due at once came before it in its chain."""
    position: int = 0
    message: Any = None
    """What `data` reads as, for readers who may share it; it is not stored."""
    digest: bytes = b""
    """What tells its content from others', if its id was given; stored beside the id."""
    sent_for: str = ""
    """Of a copy that another partition sent: the process manager whose instances are here."""
    sent_to: list[str] | None = None
    """Of such a copy: the instances here, if they were found elsewhere, as by a learnt key."""


class CommandRecord(Struct, gc=False):
    """A command that was accepted and is not yet carried out.

    `sequence` is its place in the queue, set by the commit. `process`, `instance` and `version`
    name the transition that issued it, if one did; of one that an after-effect issued, they are
    those of its `EffectRecord`.
    """

    command_id: str
    type: str
    stream: str
    time: int
    data: bytes
    correlation_id: str
    causation_id: str | None = None
    process: str | None = None
    instance: str | None = None
    version: int = 0
    depth: int = 0
    """As that of the event that caused it."""
    headers: bytes | None = None
    """As those of the event that caused it; the events that it makes have them."""
    sequence: int = 0
    message: Any = None
    """As that of an event."""
    digest: bytes = b""
    """As that of an event. One that was read from the queue has none: it is beside its id."""
    origin: int | None = None
    """The partition that issued it, if that is another one: it is told of a refusal."""


class CommandResult(Struct, gc=False):
    """What came of a command from outside: the events it made, or the reason of its refusal.

    `error` is the refusal itself, packed by who refused.
    """

    first_position: int = 0
    events: int = 0
    refusal: str | None = None
    error: bytes | None = None


class GivenCommand(Struct, gc=False):
    """What the id of a command from outside stands for.

    `result` is None until the command is carried out or refused.
    """

    type: str
    stream: str
    time: int
    digest: bytes
    result: CommandResult | None = None


class TransitionRecord(Struct, gc=False):
    """What one cause did to one instance.

    `seen` is the highest position of an event that the instance has handled so far, which is
    what makes a second delivery of an event harmless. `commands` holds
    `(command_id, type, data)`; `timers` what is due later: timeouts by name, delayed commands by
    id, with their times. `note` says more about the cause: the reason of a refusal, or who asked.
    `state_version` is that of the class that wrote `state`. `headers` are those of a timeout or a
    refusal; an event has its own.
    """

    version: int
    time: int
    handler: str
    is_complete: bool
    cause: str
    correlation_id: str
    seen: int
    state: bytes
    commands: list[tuple[str, str, bytes]] = []
    timers: dict[str, int] | None = None
    note: str | None = None
    state_version: int = 1
    position: int = 0
    """The position of the event that `cause` names; 0 for what else was its cause."""
    base: int = 0
    """The version whose state is stored whole, if this one is stored as a change; 0 if not."""
    run: int = 1
    """The version at which the instance started, or started anew, for the last time."""
    code: int = 0
    """The number of the code that decided it; 0 if that is not known."""
    headers: bytes | None = None
    change: bytes | None = None
    """What leads from the state before to this one, if that is what is stored of it."""
    weight: int = 0
    """Bytes of all changes since the whole state, with this one."""


class CodeRecord(Struct, gc=False):
    """One version of the code of a process manager, as it decides what its instances do.

    `fingerprint` tells it from other versions, where `python`, which compiled it, is the same.
    """

    process: str
    python: str
    fingerprint: bytes
    number: int = 0


class EffectRecord(Struct, gc=False):
    """The commands that an after-effect issued; there is none of an effect that issued nothing.

    It ran in `instance` after the event at `position`, by the method `handler`. `version` is that
    of the instance in the run that the event is of; 0 of one that has no transitions. `commands`
    are as those of a transition.
    """

    position: int
    process: str
    instance: str
    handler: str
    version: int
    time: int
    commands: list[tuple[str, str, bytes]]


class DocumentSet(Struct, gc=False):
    """One making of the documents of a projection, and up to where the log is in them.

    `generation` counts the makings, `version` is that of the class, and `done` has positions of
    events that are in the documents though they were set aside. Those that are read are `live`,
    those that are made anew `beside`; what is `gone` is deleted little by little.
    """

    projection: str
    generation: int
    state: Literal["live", "beside", "gone"]
    version: int
    position: int
    done: list[int] = []


class DocumentChanges(Struct, gc=False):
    """What is written at once of the documents of one projection."""

    projection: str
    values: dict[tuple[int, str], bytes | None] = {}
    """By generation and key; None for what goes."""
    sets: list[DocumentSet] = []
    """As they are from now on."""
    dropped: list[int] = []
    """Generations of which no document is left."""


class TimerRecord(Struct, gc=False):
    """Something to do at a time.

    `kind` is ``"timeout"``, ``"retry"`` or ``"command"``; `name` the timeout's name, or the
    delayed command's id. `depth` is that of a timeout which was due at once: it goes on with the
    chain of the step that set it, and one that is due later begins a new chain. `headers` are those
    of the chain that set it, however much later it is due.
    """

    due: int
    process: str
    instance: str
    name: str
    kind: str
    command: CommandRecord | None = None
    depth: int = 0
    headers: bytes | None = None


class RefusalRecord(Struct, gc=False):
    """A command that an instance issued and its aggregate refused, until the instance knows."""

    command: CommandRecord
    reason: str
    sequence: int = 0
    """Its own number, set by the commit."""


class UnmatchedRecord(Struct, gc=False):
    """An event that is held for who learns the key by which it finds its instances.

    `values` are those of `field` that no instance of `process` had. `taken` are the instances that
    it was for by its other values: it is for none of them a second time. It is held `until` a time.
    """

    process: str
    position: int
    field: str
    values: list[str]
    until: int
    taken: list[str] = []


class Block(Struct, gc=False):
    """Why an instance takes no events: one failed, and is tried again, or was parked.

    `kind` is ``"retry"`` or ``"parked"``. The failed one is the event at `position`, the timeout
    `name`, whose chain has that `depth` and these `headers`, or the refusal `sequence`. `parked` is
    the number under which it was parked.
    """

    kind: str
    position: int = 0
    name: str = ""
    sequence: int = 0
    attempts: int = 0
    due: int = 0
    parked: int = 0
    depth: int = 0
    headers: bytes | None = None


class ParkedRecord(Struct, gc=False):
    """What could not be handled, set aside for a person.

    An event (`position`), a timeout (`name`) or a refusal (`sequence`) at an instance, or a command
    (`command`) at its aggregate. `blocks` says that the instance is suspended until an
    operator decides. `effect` names the method, if an after-effect failed. `decision` is what was
    decided, when, and who asked. `number` is set by the commit.
    """

    process: str
    instance: str
    cause: str
    error_type: str
    error_text: str
    attempts: int
    time: int
    position: int = 0
    command: CommandRecord | None = None
    name: str = ""
    sequence: int = 0
    blocks: bool = False
    effect: str = ""
    decision: tuple[str, int, str | None] | None = None
    handler: str = ""
    """The method that failed; empty if none did."""
    place: str = ""
    """Where in the code the error was raised; empty if it was raised by none of the user's."""
    number: int = 0


class LearntKey(Struct, gc=False):
    """That an instance's learnt key has another value; None where it has none."""

    process: str
    instance: str
    field: str
    old: str | None
    new: str | None


class SentRecord(Struct, gc=False):
    """What one partition has for another: one of an event, a command, a refusal or a learnt key.

    An event is for `instances` of `process`; None if the target is to find them.
    `sequence` is its place in the lane to its target, set by the commit.
    """

    target: int
    event: EventRecord | None = None
    process: str = ""
    instances: list[str] | None = None
    command: CommandRecord | None = None
    refusal: RefusalRecord | None = None
    learnt: LearntKey | None = None
    sequence: int = 0


class Arrival(Struct, gc=False):
    """What came from another partition, of its lane up to `last`.

    The cursor must be at `first - 1`, and moves to `last`. Commands are in the step's `enqueue`.
    """

    source: int
    first: int
    last: int
    events: list[EventRecord] = []
    refusals: list[RefusalRecord] = []
    learnt: list[LearntKey] = []
    met: list[tuple[str, str]] = []
    """Instances here for which events were held, as process and id; set when it is handed over."""


class ErasureRecord(Struct, gc=False):
    """That something was erased; it stays in the store, and says nothing of what that was.

    `kind` is ``"instance"`` (`name` is the process manager), ``"stream"``, or ``"subject"``; `id`
    says which. `number` is set by the commit.
    """

    kind: Literal["instance", "stream", "subject"]
    name: str
    id: str
    time: int
    by: str | None = None
    is_done: bool = False
    """Whether all of it is erased; one that is not goes on when the store is opened again."""
    number: int = 0


class Taken(Struct, gc=False):
    """What another partition has taken of what was sent to it.

    Attributes:
        target: the partition
        up_to: the sequence of the last message that it has taken
        rows: the sequences under which rows are of which all was taken; they go

    """

    target: int
    up_to: int
    rows: list[int] = []


class Erase(Struct, gc=False):
    """Rows that are erased, as of one moment, and the record of that."""

    time: int
    places: list[tuple[str, bytes]] = []
    """Each a table, and a key in it; one that is not there is none the worse."""
    anew: list[tuple[str, bytes, bytes, bytes]] = []
    """Rows that are written anew: table, key, the row as it was seen, and the row that is to be.

    One that is another by now stays as it is."""
    record: ErasureRecord | None = None


class Append(Struct, gc=False):
    """Events for the end of one stream.

    `expected` is the version the stream must have, or None for "whatever it is", in which case
    the commit numbers the events. `unique` says that ids were given from outside: the commit looks
    for events with the same id first, and remembers these ids. Without events, the step only
    expects the version.
    """

    stream: str
    expected: int | None
    events: list[EventRecord]
    unique: bool = False


class TombstoneRecord(Struct, gc=False):
    """What stays of an event that was pruned: its id, its place, and what it was.

    `sent_for` is that of a copy.
    """

    type: str
    stream: str
    version: int
    time: int
    event_id: str
    sent_for: str = ""
    position: int = 0


class Cut(Struct, gc=False):
    """Rows that leave the store for good, and what stays in their place.

    `rows` are tables and keys. `tombstones` are of the events among them. `moved` are instances
    whose first transition is another one now: process, its number before and now, instance.
    `gone` are what the keys in `ids` begin with of streams and instances of which nothing stays.
    """

    rows: list[tuple[str, bytes]] = []
    tombstones: list[TombstoneRecord] = []
    moved: list[tuple[str, int, int, str]] = []
    gone: list[bytes] = []
    forgotten: list[str] = []
    """Process managers of instances of which nothing stays, one for each."""


class SourceMark(NamedTuple):
    """How far a source is imported: up to one of its rows, in order of time.

    Attributes:
        source: tells it, and how it is read, from others
        time: of that row, in microseconds
        place: of that row among those of one time
        row: its number
        rows: how many there are up to it
        digest: of all of these, in any order, in hexadecimal digits

    """

    source: str
    time: int
    place: int
    row: int
    rows: int
    digest: str

    @classmethod
    def parse(cls, said: str) -> SourceMark | None:
        """What the row says; None if it is no such text."""
        try:
            source, time, place, row, rows, digest = said.split(" ")
            return cls(source, int(time), int(place), int(row), int(rows), digest)
        except ValueError:
            return None

    def __str__(self) -> str:
        return " ".join(map(str, self))


class StepExtras(Struct, gc=False):
    """What few steps write."""

    due: TimerRecord | None = None
    """A timer that this step is for; it must still be there, and goes."""
    timers: list[TimerRecord] = []
    """Timers to set."""
    cancel: list[TimerRecord] = []
    """Timers that go, if they are still there."""
    unwait: int = 0
    """The position of a waiting event that this step is for; it must be there, and goes."""
    waits: list[tuple[str, str, int]] = []
    """Events that instances are to take up: process, instance, position."""
    block: Block | None = None
    """Why the instance takes nothing from now on."""
    was_complete: bool | None = None
    """Whether the instance that `block` suspends is complete; it is looked up if none says so."""
    unblock: bool = False
    """Whether the instance goes on."""
    unpark: int = 0
    """The number of what was parked; it must be there, and goes to what was decided."""
    unpark_too: list[int] = []
    """Numbers of what else was parked of the instance, which is decided likewise."""
    decision: tuple[str, int, str | None] | None = None
    """What was decided about it, when, and who asked."""
    index: list[tuple[str, str | None, str | None]] = []
    """Learnt keys: the field, the value it had, the value it has."""
    refusal: RefusalRecord | None = None
    """A refusal for `process` and `instance` to be told of."""
    told: int = 0
    """The sequence of the refusal that this step is for; it must be there, and goes."""
    snapshot: tuple[int, bytes] | None = None
    """The aggregate's version after this step, and its state."""
    hold: UnmatchedRecord | None = None
    """An event that is held until an instance learns its key."""
    let_go: int = 0
    """The position of a held event that `process` goes on without; it must be there, and goes."""
    effect: EffectRecord | None = None
    """What an after-effect issued, which it did not do before; `enqueue` has the commands."""
    owes: int = 0
    """The position of an event that the instance is done with now, and whose after-effect is owed.

    The event was set aside before, or found its instance by a learnt key."""
    paid: int = 0
    """The position of an event whose after-effect was owed; it must be there, and goes."""
    is_met: bool = False
    """Whether events were held for a key that `index` says is learnt; set when it is handed over.

    They wait for the instance then."""
    arrived: Arrival | None = None
    """What came from another partition; its lane's cursor must be there, and moves."""
    cut: Cut | None = None
    """What leaves the store for good."""
    erase: Erase | None = None
    """What is erased."""
    imported: SourceMark | None = None
    """How far a source is imported with this step."""
    taken: Taken | None = None
    """What another partition has taken of what was sent to it, and what goes of that."""
    documents: DocumentChanges | None = None
    """What a projection writes into its documents."""


class Step(Struct, gc=False):
    """All that one unit of work writes: committed whole or not at all.

    The store first checks what the step expects (versions, that the taken command is still
    there, that ids are new), then writes.
    """

    append: Append | None = None
    process: str = ""
    instance: str = ""
    transition: TransitionRecord | None = None
    enqueue: list[CommandRecord] | None = None
    take: int = 0
    """The sequence of the queued command that this step carries out."""
    given: CommandRecord | None = None
    """The command from outside, whose id is remembered, that this step accepts or carries out."""
    result: CommandResult | None = None
    """What came of `given`."""
    park: ParkedRecord | None = None
    wait: int = 0
    """The position of an event that `instance` cannot take yet, because it is suspended."""
    send: list[SentRecord] | None = None
    """What is for other partitions."""
    extras: StepExtras | None = None


class Committed(Struct, gc=False):
    """The step is in the store. Positions and sequences have been set in its records."""

    is_committed: ClassVar[bool] = True


COMMITTED = Committed()
"""The one answer of that kind, since it says nothing else."""


class Conflict(Struct, gc=False):
    """The store is not as the step expected; nothing of the step was written."""

    is_committed: ClassVar[bool] = False

    reason: str


class Duplicate(Struct, gc=False):
    """The step's event or command was taken in or carried out already; nothing was written.

    `position` is that of the stored event, `result` what came of the command, if it had an id
    from outside.
    """

    is_committed: ClassVar[bool] = False

    position: int = 0
    result: CommandResult | None = None


class IdTaken(Struct, gc=False):
    """The id of the step's event or command stands for something else; nothing was written.

    What it stands for is an event at `position`, or a command from outside, whose position is 0,
    with its `result` if there is one. `is_given` is false if the store named the event itself.
    """

    is_committed: ClassVar[bool] = False

    id: str
    type: str
    stream: str
    time: int
    position: int = 0
    is_given: bool = True
    result: CommandResult | None = None


Outcome: TypeAlias = Committed | Conflict | Duplicate | IdTaken
