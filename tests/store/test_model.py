"""Random steps against a store and against plain dicts, which must agree on everything.

So must the open commit, at any moment, with what is durable once it closes; and a commit that comes
to nothing leaves all as it was, in whatever way it failed.
"""

import shutil
import tempfile
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from copy import copy, deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec import structs

from procession.store import (
    FROM_OUTSIDE,
    Append,
    Block,
    CommandRecord,
    CommandResult,
    Committed,
    Conflict,
    DictionaryEngine,
    Duplicate,
    EventRecord,
    GivenCommand,
    IdTaken,
    LmdbStore,
    Outcome,
    ParkedRecord,
    Reads,
    RefusalRecord,
    Step,
    StepExtras,
    Store,
    StoreError,
    Ticket,
    TimerRecord,
    TransitionRecord,
    event_id_at,
)
from procession.store.postgresql.store import PostgresStore
from tests.postgresql import shared_server

ALL = 1_000_000
STREAMS = ["s", "s1", "日本"]
PROCESSES = ["P", "PQ"]
INSTANCES = ["a", "ab", "b", "é"]
EVENT_IDS = ["e1", "e2", "e3"]
COMMAND_IDS = ["c1", "c2", "c3"]
DIGESTS = [b"", b"one", b"another"]
VALUES = ["x", "y"]
EFFECTS = ["", "print"]
NAMES = [(process, instance) for process in PROCESSES for instance in INSTANCES]

numbers = st.integers(min_value=0, max_value=4)
pages = st.integers(min_value=1, max_value=3)


@contextmanager
def in_pages(size: int) -> Iterator[None]:
    """Scans read so many rows at a time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("procession.store.reads.FIRST_PAGE", 1)
        patch.setattr("procession.store.reads.PAGE", size)
        yield


@st.composite
def appends(draw: st.DrawFn) -> Append:
    stream = draw(st.sampled_from(STREAMS))
    unique = draw(st.booleans())
    if unique:
        ids = [draw(st.sampled_from(EVENT_IDS))]
    else:
        ids = [""] * draw(st.integers(min_value=1, max_value=3))
    data = draw(st.binary(max_size=3)) * draw(st.sampled_from([1, 1, 3_000]))
    events = [EventRecord("E", stream, 0, 5, data, event_id, "") for event_id in ids]
    return Append(stream, draw(st.none() | numbers), events, unique)


@st.composite
def commands(draw: st.DrawFn) -> CommandRecord:
    process = draw(st.none() | st.sampled_from(PROCESSES))
    command_id = draw(st.sampled_from(COMMAND_IDS))
    return CommandRecord(command_id, "C", "s", 6, draw(st.binary(max_size=3)), "c", None, process)


@st.composite
def transitions(draw: st.DrawFn) -> TransitionRecord:
    version = draw(st.integers(min_value=1, max_value=4))
    return TransitionRecord(
        version, 7, "on", draw(st.booleans()), "e", "e", 3, draw(st.binary()), [("c", "C", b"")]
    )


timers = st.builds(
    TimerRecord,
    numbers,
    st.sampled_from(PROCESSES),
    st.sampled_from(INSTANCES),
    st.sampled_from(["late", "later"]),
    st.sampled_from(["timeout", "retry"]),
)


@st.composite
def rarities(draw: st.DrawFn) -> StepExtras:
    """What few steps write, and what they are for: that is there, or not."""
    made = StepExtras()
    parts = draw(
        st.sets(
            st.sampled_from(["timers", "waits", "block", "index", "refusal", "decide", "take"]),
            min_size=1,
            max_size=3,
        )
    )
    if "timers" in parts:
        made.timers = draw(st.lists(timers, max_size=3))
        made.cancel = draw(st.lists(timers, max_size=2))
    if "waits" in parts:
        who = st.sampled_from(NAMES)
        waits = draw(st.lists(st.tuples(who, st.integers(1, 4)), max_size=3))
        made.waits = [(*name, position) for name, position in waits]
    if "block" in parts:
        made.block = draw(st.none() | st.builds(Block, st.just("retry"), numbers))
        made.unblock = draw(st.booleans())
    if "index" in parts:
        values = st.none() | st.sampled_from(VALUES)
        made.index = [("key", draw(values), draw(values))]
    if "refusal" in parts:
        made.refusal = RefusalRecord(draw(commands()), "no")
    if "decide" in parts:
        made.unpark = draw(st.integers(1, 6))
        made.decision = (
            draw(st.sampled_from(["skip", "retry"])),
            draw(numbers),
            draw(st.sampled_from(["ann", None])),
        )
    if "take" in parts:
        made.due = draw(st.none() | timers)
        made.unwait = draw(numbers)
        made.told = draw(numbers)
    return made


@st.composite
def steps(draw: st.DrawFn) -> Step:
    """A step whose parts are there or not, and fit what is stored or do not."""
    step = Step(process=draw(st.sampled_from(PROCESSES)), instance=draw(st.sampled_from(INSTANCES)))
    parts = draw(
        st.sets(
            st.sampled_from(["append", "move", "queue", "take", "id", "park", "wait", "extras"]),
            min_size=1,
            max_size=4,
        )
    )
    if "append" in parts:
        step.append = draw(appends())
    if "move" in parts:
        step.transition = draw(transitions())
    if "queue" in parts:
        step.enqueue = draw(st.lists(commands(), max_size=2))
    if "take" in parts:
        step.take = draw(st.sampled_from([0, FROM_OUTSIDE])) + draw(st.integers(1, 4))
    if "id" in parts:
        told = [one for one in step.enqueue or [] if one.process is None]
        given = told[0] if told else draw(commands())
        given.process = None
        given.digest = draw(st.sampled_from(DIGESTS))
        step.given = given
        step.result = draw(st.none() | st.builds(CommandResult))
    if "park" in parts:
        step.park = ParkedRecord(step.process, step.instance, "e", "E", "text", 1, 8, draw(numbers))
        step.park.effect = draw(st.sampled_from(EFFECTS))
    if "wait" in parts:
        step.wait = draw(numbers)
    if "extras" in parts:
        step.extras = draw(rarities())
        if step.append is not None:
            step.extras.snapshot = draw(st.none() | st.tuples(numbers, st.binary(max_size=3)))
    return step


def fitted(model: "Model", step: Step) -> Step:
    """A step that is refused for as little as possible: most that are drawn fit nowhere."""
    who, extras = (step.process, step.instance), step.extras or StepExtras()

    def one_of(there: Collection[Any], drawn: int) -> Any:
        return sorted(there)[drawn % len(there)] if there else 0

    if step.transition is not None:
        step.transition.version = len(model.transitions[who]) + 1
    if step.append is not None and step.append.expected is not None:
        step.append.expected = len(model.streams[step.append.stream])
    step.take = one_of(model.queue, step.take) if step.take else 0
    if extras.due is not None and timer_id(extras.due) not in model.timers:
        due = one_of(model.timers, extras.due.due)
        extras.due = deepcopy(model.timers[due]) if due else None
    extras.unwait = one_of(model.waiting[who], extras.unwait) if extras.unwait else 0
    extras.unpark = one_of(model.parked, extras.unpark) if extras.unpark else 0
    extras.told = one_of(model.refusals, extras.told) if extras.told else 0
    return step


def timer_id(timer: TimerRecord) -> tuple[int, str, str, str, str]:
    return timer.due, timer.process, timer.instance, timer.kind, timer.name


def parked_id(parked: ParkedRecord) -> tuple[str, str, str, int]:
    return parked.process, parked.instance, parked.effect, parked.position


def names_of(step: Step) -> set[tuple[str, str]]:
    """The names of all that a step writes."""
    extras = step.extras or StepExtras()
    events = step.append.events if step.append else []
    issued = step.transition.commands if step.transition else []
    refused = [extras.refusal.command] if extras.refusal else []
    processes = {step.process} if step.transition or step.wait or extras.block else set()
    processes |= {timer.process for timer in extras.timers}
    processes |= {process for process, _, _ in extras.waits}
    processes |= {step.park.process} if step.park else set()
    processes |= {one.process for one in refused if one.process}
    commands = {one.type for one in [*(step.enqueue or []), *refused]}
    return (
        {("event", one.type) for one in events}
        | {("command", kind) for kind in commands | {kind for _, kind, _ in issued}}
        | {("process", name) for name in processes}
    )


class Model:
    """A store in plain dicts."""

    def __init__(self) -> None:
        self.log: list[EventRecord] = []
        self.streams: dict[str, list[EventRecord]] = defaultdict(list)
        self.given_ids: dict[str, int] = {}
        self.transitions: dict[tuple[str, str], list[TransitionRecord]] = defaultdict(list)
        self.queue: dict[int, CommandRecord] = {}
        self.given: dict[str, GivenCommand] = {}
        self.parked: dict[int, ParkedRecord] = {}
        self.decided: dict[int, ParkedRecord] = {}
        self.parked_at: dict[tuple[str, str, str, int], int] = {}
        self.blocks: dict[tuple[str, str], Block] = {}
        self.timers: dict[tuple[int, str, str, str, str], TimerRecord] = {}
        self.index: dict[tuple[str, str], set[str]] = defaultdict(set)
        self.refusals: dict[int, RefusalRecord] = {}
        self.snapshots: dict[str, tuple[int, bytes]] = {}
        self.waiting: dict[tuple[str, str], set[int]] = defaultdict(set)
        self.checkpoints: dict[str, int] = {}
        self.names: set[tuple[str, str]] = set()
        self.started: dict[str, list[tuple[int, str]]] = defaultdict(list)
        self.moves = 0

    def refusal(self, step: Step) -> Outcome | None:
        first = None if step.given is None else self.given.get(step.given.command_id)
        if first is not None and step.given is not None:
            if len({first.digest, step.given.digest} - {b""}) == 2:
                return IdTaken(step.given.command_id, "C", "s", 6, result=first.result)
            if first.result is not None or step.enqueue:
                return Duplicate(result=first.result)
        if step.take and step.take not in self.queue:
            return Duplicate()
        append = step.append
        if append is not None:
            if append.unique and append.events[0].event_id in self.given_ids:
                return Duplicate(position=self.given_ids[append.events[0].event_id])
            if append.expected not in {None, len(self.streams[append.stream])}:
                return Conflict("")
        who = (step.process, step.instance)
        extras = step.extras or StepExtras()
        if step.park is not None:
            number = self.parked_at.get(parked_id(step.park))
            if number is not None and number != extras.unpark:
                return Duplicate(position=step.park.position)
        if (
            (extras.due is not None and timer_id(extras.due) not in self.timers)
            or (extras.unwait and extras.unwait not in self.waiting[who])
            or (extras.unpark and extras.unpark not in self.parked)
            or (extras.told and extras.told not in self.refusals)
        ):
            return Duplicate()
        if step.transition and step.transition.version != len(self.transitions[who]) + 1:
            return Conflict("")
        return None

    def write(self, step: Step) -> None:
        """Write a step whose numbers the store has set."""
        who = (step.process, step.instance)
        self.names |= names_of(step)
        if step.transition is not None:
            self.moves += 1
            if step.transition.version == 1:
                self.started[step.process].append((self.moves, step.instance))
            self.transitions[who].append(step.transition)
        if step.take:
            del self.queue[step.take]
        for event in step.append.events if step.append else []:
            self.log.append(event)
            stream = self.streams[event.stream]
            stream.append(event)
            assert (event.position, event.version) == (len(self.log), len(stream))
            if step.append and step.append.unique:
                self.given_ids[event.event_id] = event.position
            else:
                assert event.event_id == event_id_at(event.stream, event.version)
        for command in step.enqueue or []:
            lane = [t for t in self.queue if (t > FROM_OUTSIDE) == (command.process is None)]
            assert command.sequence > max(lane, default=0 if command.process else FROM_OUTSIDE)
            # Its content is not in the queue.
            self.queue[command.sequence] = structs.replace(command, digest=b"")
            if command.process is None and command.digest:
                accepted = GivenCommand("C", "s", 6, command.digest)
                self.given.setdefault(command.command_id, accepted)
        if step.result is not None and step.given is not None:
            if step.append is not None:
                first = step.append.events[0].position
                assert step.result == CommandResult(first, len(step.append.events))
            there = self.given.get(step.given.command_id)
            known = step.given.digest if there is None else there.digest
            self.given[step.given.command_id] = GivenCommand("C", "s", 6, known, step.result)
        if step.extras is not None and step.extras.unpark:
            decided = self.parked.pop(step.extras.unpark)
            decided.decision = step.extras.decision
            self.decided[decided.number] = decided
            what = (step.extras.decision or ("retry",))[0]
            # That an event was skipped stays known.
            if decided.effect or what != "skip":
                self.parked_at.pop(parked_id(decided), None)
        if step.park is not None:
            number = step.park.number
            assert number == len(self.parked) + len(self.decided) + 1
            self.parked[number] = step.park
            if step.park.position:
                self.parked_at[parked_id(step.park)] = number
        if step.extras is not None:
            self.write_besides(step, step.extras)
        self.waiting[who] |= {step.wait} - {0}

    def write_besides(self, step: Step, extras: StepExtras) -> None:
        who = (step.process, step.instance)
        if extras.due is not None:
            del self.timers[timer_id(extras.due)]
        for timer in extras.cancel:
            self.timers.pop(timer_id(timer), None)
        self.timers.update({timer_id(timer): timer for timer in extras.timers})
        self.waiting[who].discard(extras.unwait)
        for process, instance, position in extras.waits:
            self.waiting[process, instance].add(position)
        if extras.unblock:
            self.blocks.pop(who, None)
        if extras.block is not None:
            assert extras.block.parked == (step.park.number if step.park else 0)
            self.blocks[who] = extras.block
        for _, old, new in extras.index:
            self.index[step.process, old or ""].discard(step.instance)
            if new is not None:
                self.index[step.process, new].add(step.instance)
        self.refusals.pop(extras.told, None)
        if extras.refusal is not None:
            assert extras.refusal.sequence > max(self.refusals, default=0)
            self.refusals[extras.refusal.sequence] = extras.refusal
        if extras.snapshot is not None:
            assert step.append is not None
            self.snapshots[step.append.stream] = extras.snapshot

    def unblocked(self) -> list[tuple[str, str]]:
        return [who for who in sorted(NAMES) if self.waiting[who] and who not in self.blocks]

    def position_of(self, event_id: str) -> int:
        return next((e.position for e in self.log if e.event_id == event_id), 0)


def queued(store: Reads, after: int, limit: int) -> list[CommandRecord]:
    """What is in the queue, without what is beside the ids of those that are not durable yet."""
    return [structs.replace(one, digest=b"") for one in store.read_queue(after, limit)]


def all_agrees(store: Reads, model: Model) -> None:
    assert store.last_position() == len(model.log)
    assert store.read_log(0, ALL) == model.log
    assert set(store.scan_names()) == model.names
    assert queued(store, 0, ALL) == [model.queue[t] for t in sorted(model.queue)]
    for decided, parked in ((False, model.parked), (True, model.decided)):
        assert list(store.scan_parked(decided=decided)) == [parked[n] for n in sorted(parked)]
    assert store.read_refusals(0, ALL) == [model.refusals[n] for n in sorted(model.refusals)]
    assert list(store.scan_ready()) == model.unblocked()
    for stream in STREAMS:
        assert store.read_stream(stream, 0, ALL) == model.streams[stream]
        assert store.read_snapshot(stream) == model.snapshots.get(stream)
        for version in range(1, 4):
            named = event_id_at(stream, version)
            assert store.position_of(named) == model.position_of(named)
    for event_id in EVENT_IDS:
        assert store.position_of(event_id) == model.position_of(event_id)
    for command_id in COMMAND_IDS:
        assert store.given_command(command_id) == model.given.get(command_id)
    for process in PROCESSES:
        assert store.checkpoint(process) == model.checkpoints.get(process, 0)
        for value in VALUES:
            assert store.read_index(process, "key", value) == sorted(model.index[process, value])
        for instance in INSTANCES:
            who = (process, instance)
            transitions = model.transitions[who]
            assert store.read_transitions(*who, 0, ALL) == transitions
            newest = transitions[-1] if transitions else None
            assert store.last_transition(*who) == newest
            assert store.last_waiting(*who) == max(model.waiting[who], default=0)
            assert store.block_of(*who) == model.blocks.get(who)


def pages_agree(store: Reads, model: Model, after: int, limit: int) -> None:
    end = after + limit
    assert store.read_log(after, limit) == model.log[after:end]
    refusals = [model.refusals[n] for n in sorted(model.refusals) if n > after]
    assert store.read_refusals(after, limit) == refusals[:limit]
    for who in NAMES:
        waiting = sorted(position for position in model.waiting[who] if position > after)
        assert store.read_waiting(*who, after, limit) == (model.blocks.get(who), waiting[:limit])
    for stream in STREAMS:
        assert store.read_stream(stream, after, limit) == model.streams[stream][after:end]
    for who, transitions in model.transitions.items():
        assert store.read_transitions(*who, after, limit) == transitions[after:end]
    for lane in (0, FROM_OUTSIDE):
        sequences = sorted(t for t in model.queue if t > lane + after)[:limit]
        assert queued(store, lane + after, limit) == [model.queue[t] for t in sequences]


def scans_agree(store: Reads, model: Model, after: int, size: int) -> None:
    with in_pages(size):
        assert list(store.scan_log(after)) == model.log[after:]
        assert list(store.scan_ready()) == model.unblocked()
        for decided, parked in ((False, model.parked), (True, model.decided)):
            expected = [parked[n] for n in sorted(parked) if n > after]
            assert list(store.scan_parked(after, decided=decided)) == expected
        for stream in STREAMS:
            assert list(store.scan_stream(stream, after)) == model.streams[stream][after:]
        for who, transitions in model.transitions.items():
            assert list(store.scan_transitions(*who, after)) == transitions[after:]
        for who in NAMES:
            waiting = sorted(position for position in model.waiting[who] if position > after)
            assert list(store.scan_waiting(*who, after)) == waiting
        for process in PROCESSES:
            started = [
                (instance, model.transitions[process, instance][-1])
                for place, instance in model.started[process]
                if place > after
            ]
            assert list(store.scan_instances(process, after)) == started
        timers = [timer for _, timer in store.scan_timers(after)]
    assert [timer.due for timer in timers] == sorted(timer.due for timer in timers)
    due = {key: timer for key, timer in model.timers.items() if key[0] <= after}
    assert len(timers) == len(due)
    assert {timer_id(timer): timer for timer in timers} == due


class Interrupted(BaseException):
    """As when a key is pressed."""


FATES: dict[str, Ticket | Interrupted] = {
    "kept": Ticket("committed"),
    "refused": Ticket("failed", StoreError("the disk refused")),
    "lost and kept": Ticket("unknown", StoreError("no answer")),
    "lost and not kept": Ticket("unknown", StoreError("no answer")),
    "interrupted and kept": Interrupted(),
    "interrupted and not kept": Interrupted(),
}


class StoreAndModel(RuleBasedStateMachine):
    """What holds of every store; how it is opened is told below."""

    def __init__(self) -> None:
        super().__init__()
        self.store: Store = self.open()
        self.model = Model()

    def open(self) -> Store:
        raise NotImplementedError

    def teardown(self) -> None:
        self.store.close()

    def taken(self, model: Model, step: Step, outcome: Outcome) -> None:
        """Write a step to the model, and see that the store answered as the model would."""
        # The model has a copy: changing a record later must not change what is expected.
        step = deepcopy(step)
        refusal = model.refusal(step)
        if isinstance(refusal, Conflict):
            assert isinstance(outcome, Conflict)
        elif refusal is not None:
            assert outcome == refusal
        else:
            assert outcome == Committed()
            model.write(step)

    @rule(
        wanted=st.lists(steps(), min_size=1, max_size=6),
        checkpoints=st.dictionaries(st.sampled_from(PROCESSES), numbers, max_size=2),
        fits=st.booleans(),
    )
    def commit(self, wanted: list[Step], checkpoints: dict[str, int], *, fits: bool) -> None:
        if fits:
            wanted = [fitted(self.model, step) for step in wanted]
        outcomes = self.store.commit(wanted, checkpoints)
        for step, outcome in zip(wanted, outcomes, strict=True):
            self.taken(self.model, step, outcome)
        self.model.checkpoints.update(checkpoints)

    @rule(
        wanted=st.lists(steps(), min_size=1, max_size=4),
        fate=st.sampled_from([*FATES, "dropped"]),
        after=numbers,
        limit=pages,
        fits=st.booleans(),
    )
    def hand_over(
        self, wanted: list[Step], fate: str, after: int, limit: int, *, fits: bool
    ) -> None:
        store, model = self.store, deepcopy(self.model)
        counters, known = copy(store.ahead.counters), known_names(store)
        for step in wanted:
            if fits:
                fitted(model, step)
            self.taken(model, step, store.hand_over(step))
            all_agrees(store.ahead, model)
            pages_agree(store.ahead, model, after, limit)
            scans_agree(store.ahead, model, after, limit)
            # Nobody else sees it.
            all_agrees(store, self.model)
        if self.close(fate):
            self.model = model
        else:
            assert store.ahead.counters == counters
            assert known_names(store) == known
        assert store.ahead.steps == store.ahead.size == 0
        all_agrees(store.ahead, self.model)
        assert store.last_sequences() == store.ahead.last_sequences()

    def close(self, fate: str) -> bool:
        """Close the open commit, whose engine does with it what is said; returns what is kept."""
        store = self.store
        if fate == "dropped":
            store.drop_commit()
            return False
        engine, answer = store._engine, FATES[fate]
        is_kept = not fate.endswith(("refused", "not kept"))
        commit, asked = engine.commit, []

        def fateful(puts: Any, deletes: Any) -> Ticket:
            asked.append(puts)
            if is_kept:
                assert commit(puts, deletes).outcome == "committed"
            if isinstance(answer, Ticket):
                return answer
            raise answer

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(engine, "commit", fateful)
            try:
                store.close_commit()
            except (StoreError, Interrupted):
                assert asked
                assert fate not in {"kept", "lost and kept"}
            else:
                # What was handed over may come to nothing, and the engine is not asked then.
                assert fate in {"kept", "lost and kept"} or not asked
        return is_kept or not asked

    @precondition(lambda self: self.model.log or self.model.queue)
    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = self.open()

    @rule(after=numbers, limit=numbers)
    def read_pages(self, after: int, limit: int) -> None:
        pages_agree(self.store, self.model, after, limit)

    @rule(after=numbers, size=pages)
    def scan(self, after: int, size: int) -> None:
        scans_agree(self.store, self.model, after, size)

    @invariant()
    def they_agree(self) -> None:
        all_agrees(self.store, self.model)


def known_names(store: Store) -> tuple[set[str], ...]:
    known = store.ahead._names
    return set(known.events), set(known.commands), set(known.processes)


class InFile(StoreAndModel):
    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        super().__init__()

    def open(self) -> Store:
        return LmdbStore(self.folder, durability="none", map_size=1 << 16)

    def teardown(self) -> None:
        super().teardown()
        shutil.rmtree(self.folder)


class InMemory(StoreAndModel):
    def __init__(self) -> None:
        self.engine = DictionaryEngine()
        super().__init__()

    def open(self) -> Store:
        self.engine = self.engine.reopened()
        return Store(self.engine)


class InDatabase(StoreAndModel):
    def __init__(self) -> None:
        self.url = shared_server().new_url()
        super().__init__()

    def open(self) -> Store:
        return PostgresStore(self.url, durability="none")

    def teardown(self) -> None:
        super().teardown()
        shared_server().take_back()


InFile.TestCase.settings = InMemory.TestCase.settings = settings(
    max_examples=60, stateful_step_count=15
)
# A look at all there is takes a thousand trips.
InDatabase.TestCase.settings = settings(max_examples=5, stateful_step_count=12)
TestInFile = InFile.TestCase
TestInDatabase = InDatabase.TestCase
TestInMemory = InMemory.TestCase
