"""What one command does to one aggregate, decided by itself: no actor, store or clock."""

from typing import Any

import pytest

from procession import (
    Aggregate,
    Command,
    Domain,
    Event,
    ProcessManager,
    Rejected,
    UnknownMessage,
    apply,
    handle,
    rejected,
)
from procession.core.carry_out import (
    CommandDecision,
    CommandDelivered,
    carry_out,
    refuse_command,
)
from procession.messages.codec import dump
from procession.model.plans import AggregatePlan
from procession.model.registry import Registry
from procession.store import Append, CommandRecord, CommandResult, EventRecord, Step

depot = Domain("depot")


class Fill(Command):
    box: str
    items: int


class Empty(Command):
    box: str


class Filled(Event):
    box: str
    items: int


@depot.register
class Box(Aggregate, identity="box", snapshot_every=4):
    items: int = 0

    @handle(Fill)
    def fill(self, command: Fill) -> list[Filled]:
        return [Filled(self.id, 1) for _ in range(command.items)]

    @handle(Empty)
    def empty(self, command: Empty) -> None: ...

    @apply(Filled)
    def _filled(self, event: Filled) -> None:
        self.items += event.items


class Packing(ProcessManager, correlate="box"):
    @handle(Filled, start=True)
    def on_filled(self, event: Filled) -> None: ...


@depot.register
class Loading(Packing):
    """It hears of a refused `Fill`, and of no other."""

    @rejected(Fill)
    def on_refused(self, command: Fill, reason: str) -> None: ...


@depot.register
class Emptying(Packing):
    """It hears of a refused `Empty`, and of no other."""

    @rejected(Empty)
    def on_refused(self, command: Empty, reason: str) -> None: ...


depot.register(Packing)
plan = AggregatePlan(depot.aggregates[Box], Registry([depot]))
STREAM = "depot::box-b"


def delivered(command: Command, *, process: str | None = None) -> CommandDelivered:
    """A command from outside, or one that an instance issued, the fourth link of its chain."""
    packed, shared = dump(command)
    record = CommandRecord(
        "c1", f"depot.{type(command).__name__}.v1", STREAM, 5, packed, "chain", message=shared
    )
    if process is not None:
        record.process, record.instance, record.depth = process, "b", 3
    record.sequence = 7
    return CommandDelivered(record, is_from_outside=process is None)


def box(version: int = 0) -> Any:
    made = plan.definition.begin(STREAM)
    for _ in range(version):
        plan.definition.evolve(made, Filled("b", 1))
    return made


def events_of(decision: CommandDecision) -> list[EventRecord]:
    assert decision.step.append is not None
    return decision.step.append.events


@pytest.mark.parametrize("version", [0, 1, 6])
def test_events_follow_the_version_that_the_stream_has_and_the_step_expects_it(
    version: int,
) -> None:
    decision = carry_out(plan, box(version), delivered(Fill("b", 3)))
    assert decision.step.append is not None
    assert (decision.step.append.stream, decision.step.append.expected) == (STREAM, version)
    assert [one.version for one in events_of(decision)] == [version + 1, version + 2, version + 3]


def test_an_event_says_which_command_made_it_in_which_chain() -> None:
    [event] = events_of(carry_out(plan, box(), delivered(Fill("b", 1))))
    assert (event.type, event.stream) == ("depot.Filled.v1", STREAM)
    assert (event.correlation_id, event.causation_id) == ("chain", "c1")


def test_a_command_that_is_read_from_the_store_is_carried_out_as_one_that_was_just_made() -> None:
    made, read = delivered(Fill("b", 2)), delivered(Fill("b", 2))
    read.record.message = None
    decisions = [carry_out(plan, box(), one) for one in (read, made)]
    made.record.message = None
    assert decisions[0] == decisions[1]


def test_a_command_that_no_class_of_today_reads_is_an_error_that_names_it() -> None:
    command = delivered(Fill("b", 1))
    command.record.type, command.record.message = "depot.Paint.v1", None
    with pytest.raises(UnknownMessage, match=r"Box cannot carry out a depot\.Paint\.v1"):
        carry_out(plan, box(), command)


def test_a_chain_grows_by_what_an_instance_issues_and_begins_with_what_comes_from_outside() -> None:
    [first] = events_of(carry_out(plan, box(), delivered(Fill("b", 1))))
    [next_one] = events_of(carry_out(plan, box(), delivered(Fill("b", 1), process="depot.Loading")))
    assert (first.depth, next_one.depth) == (0, 4)


def test_the_id_of_a_command_from_outside_is_remembered_and_no_other() -> None:
    command = delivered(Fill("b", 1))
    from_outside = carry_out(plan, box(), command).step
    assert from_outside.given is command.record
    assert from_outside.result == CommandResult()
    issued = carry_out(plan, box(), delivered(Fill("b", 1), process="depot.Loading")).step
    assert (issued.given, issued.result) == (None, None)
    assert (from_outside.take, issued.take) == (7, 7)


def test_a_command_that_makes_no_event_is_done_and_leaves_the_stream_as_it_was() -> None:
    command = delivered(Empty("b"))
    decision = carry_out(plan, box(2), command)
    assert (decision.outcome, decision.refusal) == ("", None)
    assert decision.step == Step(
        Append(STREAM, 2, []), take=7, given=command.record, result=CommandResult()
    )


@pytest.mark.parametrize(("items", "version"), [(2, None), (3, 4), (5, 6)])
def test_a_snapshot_is_written_when_it_is_due_and_not_before(
    items: int, version: int | None
) -> None:
    extras = carry_out(plan, box(1), delivered(Fill("b", items))).step.extras
    if version is None:
        assert extras is None
    else:
        assert extras is not None
        assert extras.snapshot is not None
        assert extras.snapshot[0] == version


NO = Rejected("the box is full")


@pytest.mark.parametrize("is_awaited", [False, True])
def test_a_refusal_answers_a_command_from_outside(is_awaited: bool) -> None:
    command = delivered(Fill("b", 1))
    decision = refuse_command(plan, command, NO, 4, now=9, is_awaited=is_awaited)
    assert (decision.outcome, decision.refusal) == ("rejected", NO)
    assert decision.step == Step(
        Append(STREAM, 4, []),
        take=7,
        given=command.record,
        result=CommandResult(refusal="the box is full"),
    )


def test_a_refusal_goes_to_the_instance_whose_class_hears_it() -> None:
    command = delivered(Fill("b", 1), process="depot.Loading")
    decision = refuse_command(plan, command, NO, 4, now=9)
    step = decision.step
    assert (decision.outcome, step.process, step.instance) == ("rejected", "depot.Loading", "b")
    assert step.extras is not None
    assert step.extras.refusal is not None
    assert step.extras.refusal.command is command.record
    assert step.extras.refusal.reason == "the box is full"
    assert (step.given, step.park) == (None, None)


@pytest.mark.parametrize(
    ("command", "process"),
    [
        (Fill("b", 1), "depot.Packing"),
        (Empty("b"), "depot.Loading"),
        (Fill("b", 1), "depot.Emptying"),
        (Fill("b", 1), "depot.GoneSince"),
    ],
    ids=["another class hears it", "Empty is not heard", "Fill is not heard", "the class is gone"],
)
def test_a_refusal_that_no_instance_hears_is_parked(command: Command, process: str) -> None:
    decision = refuse_command(plan, delivered(command, process=process), NO, 4, now=9)
    assert decision.outcome == "parked"
    assert decision.step.extras is None
    assert decision.step.park is not None
    assert (decision.step.park.process, decision.step.park.error_text) == (process, str(NO))


@pytest.mark.parametrize("process", [None, "depot.Loading"])
@pytest.mark.parametrize("is_awaited", [False, True])
def test_an_error_is_parked_unless_a_caller_waits_for_it(
    is_awaited: bool, process: str | None
) -> None:
    command = delivered(Fill("b", 1), process=process)
    error = ZeroDivisionError("by zero")
    decision = refuse_command(plan, command, error, 4, now=9, is_awaited=is_awaited)
    step = decision.step
    # If its id took effect before, that is the answer.
    assert step.given is (command.record if process is None else None)
    assert (step.result, step.extras) == (None, None)
    assert (decision.outcome, step.park is None) == (
        ("", True) if is_awaited else ("parked", False)
    )
    if step.park is not None:
        assert (step.park.error_type, step.park.time) == ("ZeroDivisionError", 9)


def test_a_step_expects_no_version_when_no_aggregate_decided() -> None:
    assert refuse_command(plan, delivered(Fill("b", 1)), NO, None, now=9).step.append is None
