"""Random steps against a store and against plain dicts, which must agree on everything."""

import shutil
import tempfile
from collections import defaultdict
from copy import deepcopy
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from store import (
    FROM_OUTSIDE,
    Append,
    CommandRecord,
    CommandResult,
    Committed,
    Conflict,
    Duplicate,
    EventRecord,
    LmdbStore,
    Outcome,
    ParkedRecord,
    Step,
    Store,
    TransitionRecord,
    event_id_at,
)

ALL = 1_000_000
STREAMS = ["s", "s1", "日本"]
PROCESSES = ["P", "PQ"]
INSTANCES = ["a", "ab", "b", "é"]
EVENT_IDS = ["e1", "e2", "e3"]
COMMAND_IDS = ["c1", "c2", "c3"]

numbers = st.integers(min_value=0, max_value=4)


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
    return CommandRecord("c", "C", "s", 6, draw(st.binary(max_size=3)), "c", None, process)


@st.composite
def transitions(draw: st.DrawFn) -> TransitionRecord:
    version = draw(st.integers(min_value=1, max_value=4))
    return TransitionRecord(
        version, 7, "on", draw(st.booleans()), "e", "e", 3, draw(st.binary()), [("c", "C", b"")]
    )


@st.composite
def steps(draw: st.DrawFn) -> Step:
    """A step whose parts are there or not, and fit what is stored or do not."""
    step = Step(process=draw(st.sampled_from(PROCESSES)), instance=draw(st.sampled_from(INSTANCES)))
    parts = draw(
        st.sets(st.sampled_from(["append", "move", "queue", "take", "id", "park", "wait"]))
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
        step.command_id = draw(st.sampled_from(COMMAND_IDS))
        step.result = draw(st.none() | st.builds(CommandResult))
    if "park" in parts:
        step.park = ParkedRecord(step.process, step.instance, "e", "E", "text", 1, 8, draw(numbers))
    if "wait" in parts:
        step.wait = draw(numbers)
    return step


class Model:
    """A store in plain dicts."""

    def __init__(self) -> None:
        self.log: list[EventRecord] = []
        self.streams: dict[str, list[EventRecord]] = defaultdict(list)
        self.given_ids: dict[str, int] = {}
        self.transitions: dict[tuple[str, str], list[TransitionRecord]] = defaultdict(list)
        self.queue: dict[int, CommandRecord] = {}
        self.results: dict[str, CommandResult] = {}
        self.parked: list[ParkedRecord] = []
        self.waiting: dict[tuple[str, str], set[int]] = defaultdict(set)
        self.checkpoints: dict[str, int] = {}

    def refusal(self, step: Step) -> Outcome | None:
        if step.command_id in self.results:
            return Duplicate(result=self.results[step.command_id])
        if step.take and step.take not in self.queue:
            return Duplicate()
        append = step.append
        if append is not None:
            if append.unique and append.events[0].event_id in self.given_ids:
                return Duplicate(position=self.given_ids[append.events[0].event_id])
            if append.expected not in {None, len(self.streams[append.stream])}:
                return Conflict("")
        who = (step.process, step.instance)
        if step.park is not None and step.park.position in self.waiting[who]:
            return Duplicate(position=step.park.position)
        if step.transition and step.transition.version != len(self.transitions[who]) + 1:
            return Conflict("")
        return None

    def write(self, step: Step) -> None:
        """Write a step whose numbers the store has set."""
        who = (step.process, step.instance)
        if step.transition is not None:
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
            assert command.ticket > max(lane, default=0 if command.process else FROM_OUTSIDE)
            self.queue[command.ticket] = command
        if step.result is not None and step.command_id is not None:
            if step.append is not None:
                first = step.append.events[0].position
                assert step.result == CommandResult(first, len(step.append.events))
            self.results[step.command_id] = step.result
        if step.park is not None:
            self.parked.append(step.park)
            assert step.park.number == len(self.parked)
            self.waiting[who] |= {step.park.position} - {0}
        self.waiting[who] |= {step.wait} - {0}

    def position_of(self, event_id: str) -> int:
        return next((e.position for e in self.log if e.event_id == event_id), 0)


class StoreAndModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.store: Store = self.open()
        self.model = Model()

    def open(self) -> Store:
        return LmdbStore(self.folder, durability="none", map_size=1 << 16)

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.folder)

    @rule(
        wanted=st.lists(steps(), min_size=1, max_size=6),
        checkpoints=st.dictionaries(st.sampled_from(PROCESSES), numbers, max_size=2),
    )
    def commit(self, wanted: list[Step], checkpoints: dict[str, int]) -> None:
        outcomes = self.store.commit(wanted, checkpoints)
        # The model has copies: changing a record later must not change what is expected.
        for step, outcome in zip(deepcopy(wanted), outcomes, strict=True):
            refusal = self.model.refusal(step)
            if isinstance(refusal, Conflict):
                assert isinstance(outcome, Conflict)
            elif refusal is not None:
                assert outcome == refusal
            else:
                assert outcome == Committed()
                self.model.write(step)
        self.model.checkpoints.update(checkpoints)

    @precondition(lambda self: self.model.log or self.model.queue)
    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = self.open()

    @rule(after=numbers, limit=numbers)
    def read_pages(self, after: int, limit: int) -> None:
        store, model, end = self.store, self.model, after + limit
        assert store.read_log(after, limit) == model.log[after:end]
        assert store.read_parked(after, limit) == model.parked[after:end]
        for stream in STREAMS:
            assert store.read_stream(stream, after, limit) == model.streams[stream][after:end]
        for who, transitions in model.transitions.items():
            assert store.read_transitions(*who, after, limit) == transitions[after:end]
        for lane in (0, FROM_OUTSIDE):
            tickets = sorted(t for t in model.queue if t > lane + after)[:limit]
            assert store.read_queue(lane + after, limit) == [model.queue[t] for t in tickets]

    @rule(after=st.sampled_from(["", "a", "aa", "b", "z", "é"]), limit=numbers)
    def list_instances(self, after: str, limit: int) -> None:
        for process in PROCESSES:
            expected = sorted(
                (instance, transitions[-1])
                for (owner, instance), transitions in self.model.transitions.items()
                if owner == process and transitions and instance > after
            )
            assert self.store.read_instances(process, after, limit) == expected[:limit]

    @invariant()
    def they_agree(self) -> None:
        store, model = self.store, self.model
        assert store.last_position() == len(model.log)
        assert store.read_log(0, ALL) == model.log
        assert store.read_queue(0, ALL) == [model.queue[t] for t in sorted(model.queue)]
        assert store.read_parked(0, ALL) == model.parked
        for stream in STREAMS:
            assert store.read_stream(stream, 0, ALL) == model.streams[stream]
            for version in range(1, 4):
                named = event_id_at(stream, version)
                assert store.position_of(named) == model.position_of(named)
        for event_id in EVENT_IDS:
            assert store.position_of(event_id) == model.position_of(event_id)
        for command_id in COMMAND_IDS:
            assert store.result_of(command_id) == model.results.get(command_id)
        for process in PROCESSES:
            assert store.checkpoint(process) == model.checkpoints.get(process, 0)
            for instance in INSTANCES:
                who = (process, instance)
                transitions = model.transitions[who]
                assert store.read_transitions(*who, 0, ALL) == transitions
                newest = transitions[-1] if transitions else None
                assert store.last_transition(*who) == newest
                assert store.last_waiting(*who) == max(model.waiting[who], default=0)


StoreAndModel.TestCase.settings = settings(max_examples=60, stateful_step_count=15)
TestStoreAndModel = StoreAndModel.TestCase
