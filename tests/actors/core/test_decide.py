"""The core by itself: plain values in, plain values out; no actor, thread, store or clock."""

import subprocess
import sys
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import asdict

from procession import (
    SKIP,
    Aggregate,
    Command,
    Context,
    Domain,
    Event,
    Indexed,
    ProcessManager,
    Retry,
    handle,
    rejected,
    timeout,
)
from procession.core.decide import decide
from procession.core.decision import Decision
from procession.core.process_state import ProcessState
from procession.core.stimuli import CommandRefused, EventDelivered, RetryDue, Stimulus, TimeoutDue
from procession.messages.codec import dump
from procession.model.plans import ProcessPlan
from procession.model.registry import Registry
from procession.store import (
    CommandRecord,
    EventRecord,
    RefusalRecord,
    TimerRecord,
    TransitionRecord,
)

desk = Domain("desk")


class Asked(Event):
    case: str
    what: str


class Answer(Command):
    case: str


@desk.register
class Answers(Aggregate, identity="case"):
    @handle(Answer)
    def answer(self, command: Answer) -> None: ...


@desk.register
class Case(ProcessManager, correlate="case", restart=True, retry=Retry(attempts=3)):
    case: str = ""
    key: Indexed[str] = ""
    done: list[str] = []

    @handle(Asked, start=True)
    def on_asked(self, event: Asked) -> None:
        self.done.append(event.what)
        if event.what == "issue":
            self.issue(Answer(self.case))
        elif event.what == "later":
            self.set_timeout("late", self.context.time)
        elif event.what == "learn":
            self.key = f"key of {self.case}"
        elif event.what == "end":
            self.mark_as_complete()
        elif event.what in {"fail", "skip"}:
            raise ValueError(event.what)

    @timeout("late")
    def on_late(self) -> None:
        self.done.append("late")

    @rejected(Answer)
    def on_refused(self, command: Answer, reason: str) -> None:
        self.done.append(reason)

    def on_error(self, error: Exception, context: Context) -> Any:
        return SKIP if str(error) == "skip" else None


plan = ProcessPlan(desk.processes[Case], Registry([desk]), max_chain=10)


class Log:
    """Answers from a list of events."""

    def __init__(self, events: list[EventRecord]) -> None:
        self._events = events

    def event_at(self, position: int) -> EventRecord:
        return self._events[position - 1]

    def event_of(self, transition: TransitionRecord) -> EventRecord | None:
        return self._events[transition.position - 1] if transition.position else None

    def link_before(self, event: EventRecord) -> None: ...

    def undecided_of(self, process: str, instance: str) -> list[int]:
        return []

    def effect_at(self, position: int, process: str, instance: str) -> None: ...

    def stored_transition(self, process: str, instance: str, version: int) -> None: ...

    def refusal(self, sequence: int) -> None: ...

    def held_back(self, timer: TimerRecord) -> None: ...

    def timer_of(self, timer: TimerRecord) -> TimerRecord:
        return timer

    def read_log(self, after: int, limit: int) -> list[EventRecord]:
        return self._events[after : after + limit]

    def set_aside(self, process: str, instance: str) -> frozenset[int]:
        return frozenset()

    def transitions(self, process: str, instance: str) -> list[TransitionRecord]:
        return []


def asked(position: int, what: str) -> EventRecord:
    data, shared = dump(Asked("a", what))
    return EventRecord(
        "desk.Asked.v1",
        "desk::cases-a",
        position,
        position,
        data,
        f"desk::cases-a@{position}",
        "chain",
        position=position,
        message=shared,
    )


def refused() -> CommandRefused:
    command = CommandRecord(
        "desk.Case-a@1.0", "desk.Answer.v1", "desk::answers-a", 0, dump(Answer("a"))[0], "chain"
    )
    return CommandRefused(RefusalRecord(command, "closed", sequence=1))


def due(state: ProcessState, kind: str) -> TimerRecord:
    if kind == "retry":
        at = 0 if state.block is None else state.block.due
        return TimerRecord(at, plan.name, "a", "retry", "retry")
    return TimerRecord((state.timers or {}).get("late", 0), plan.name, "a", "late", "timeout")


WHAT = ("note", "issue", "later", "learn", "end", "fail", "skip")

happens = st.lists(st.sampled_from((*WHAT, "timeout", "retry", "refusal")), max_size=12)


def played(
    what: list[str], look: Callable[[ProcessState, Stimulus, Decision], None]
) -> ProcessState:
    """The state after all that happens, each decision shown to the test."""
    events: list[EventRecord] = []
    state = ProcessState("a")
    for number, one in enumerate(what, 1):
        stimulus: Stimulus
        if one == "timeout":
            stimulus = TimeoutDue(due(state, "timeout"))
        elif one == "retry":
            stimulus = RetryDue(due(state, "retry"))
        elif one == "refusal":
            stimulus = refused()
        else:
            events.append(asked(len(events) + 1, one))
            stimulus = EventDelivered(events[-1], plan.subscription.load(events[-1]))
        stimulus.now = number * 1_000_000
        # The object is a cache of the fields, and is used up.
        state.values = None
        decision = decide(plan, state, stimulus, Log(events))
        look(state, stimulus, decision)
        state = decision.state
    return state


def plain(state: ProcessState) -> dict[str, Any]:
    """A state without the object, which is made of the fields."""
    return deepcopy({name: one for name, one in asdict(state).items() if name != "values"})


@given(happens)
def test_a_decision_leaves_the_state_that_it_is_given_as_it_was(what: list[str]) -> None:
    seen: list[dict[str, Any]] = []

    def look(state: ProcessState, stimulus: Stimulus, decision: Decision) -> None:
        if seen:
            assert plain(state) == seen.pop()
        seen.append(plain(decision.state))

    played(what, look)


@given(happens)
def test_the_same_stimulus_in_the_same_state_is_decided_in_the_same_way(what: list[str]) -> None:
    def step(decision: Decision) -> Any:
        return decision.outcome, repr(decision.step), plain(decision.state)

    first: list[Any] = []
    played(what, lambda _, __, decision: first.append(step(decision)))
    second: list[Any] = []
    played(what, lambda _, __, decision: second.append(step(decision)))
    assert first == second


@given(happens)
def test_a_state_is_what_its_newest_transition_says(what: list[str]) -> None:
    def look(state: ProcessState, stimulus: Stimulus, decision: Decision) -> None:
        last = decision.step.transition
        if last is None:
            assert decision.state.version == state.version
            assert decision.state.fields == state.fields
            return
        read = ProcessState.after(plan.definition, "a", last)
        kept = {"block", "to_take_up", "holds_early", "content"}
        for name, value in plain(decision.state).items():
            if name not in kept:
                assert (value or None) == (plain(read)[name] or None), name

    played(what, look)


@given(happens)
def test_a_failure_writes_no_transition_and_no_command(what: list[str]) -> None:
    def look(state: ProcessState, stimulus: Stimulus, decision: Decision) -> None:
        if decision.error is not None:
            step = decision.step
            assert (step.transition, step.enqueue) == (None, None)
            assert decision.state.fields == state.fields
            assert decision.outcome in {"retries", "skipped_error", "parked"}

    played(what, look)


def test_the_core_is_imported_without_pykka_lmdb_or_a_runtime() -> None:
    # The package's own face imports all; the rooms below the engine need none of it.
    program = (
        "import sys, types, pathlib\n"
        "import procession\n"
        "home = pathlib.Path(procession.__file__).parent\n"
        "for name in [one for one in sys.modules if one.split('.')[0] == 'procession']:\n"
        "    del sys.modules[name]\n"
        "bare = types.ModuleType('procession'); bare.__path__ = [str(home)]\n"
        "sys.modules['procession'] = bare\n"
        "import procession.core.decide, procession.core.replay, procession.core.carry_out\n"
        "assert not any(one.startswith(('procession.engine', 'procession.runtime'))\n"
        "               for one in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize("what", WHAT)
def test_an_event_at_or_below_the_one_that_was_seen_is_passed_over(what: str) -> None:
    record = asked(1, what)
    first = decide(plan, ProcessState("a"), EventDelivered(record, Asked("a", what)), Log([record]))
    state = first.state
    state.block = None
    again = decide(plan, state, EventDelivered(record, Asked("a", what)), Log([record]))
    assert again.outcome == "seen_again"
    assert again.step.transition is None
