"""The command queue: in order, within bounds, from memory while it keeps up and else from disk.

Below it are a real journal and a real store, on tables in memory; the test gives it its turns, and
hands over what an aggregate would.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from procession import Aggregate, Command, Domain, Event, handle
from procession.core.carry_out import CommandDecision
from procession.core.stimuli import CommandRefused
from procession.engine.ahead_reads import AheadReads
from procession.engine.command_queue import COME, MOST_COME, NEW, PAGE, CommandQueue
from procession.engine.failure_log import FailureLog
from procession.engine.journal import Journal
from procession.model.registry import Registry
from procession.store import (
    FROM_OUTSIDE,
    CommandRecord,
    DictionaryEngine,
    RefusalRecord,
    Step,
    StepExtras,
    Store,
    StoreError,
)

if TYPE_CHECKING:
    from procession.engine.aggregate_actor import CommandMessage
    from procession.engine.instance_actor import InstanceMessage

MOST = 4

P = "till.P"

till = Domain("till")


class Sell(Command):
    till: str


class Sold(Event):
    till: str


@till.register
class Till(Aggregate, identity="till"):
    @handle(Sell)
    def sell(self, command: Sell) -> Sold:
        return Sold(self.id)


class Bench:
    """A command queue, and aggregates that are done when the test says so."""

    def __init__(self, store: Store | None = None, *, max_in_flight: int = MOST) -> None:
        self.store = store or Store(DictionaryEngine())
        self.sent: dict[str, CommandMessage] = {}
        self.order: list[str] = []
        self.queue: CommandQueue
        self.reads = 0
        self.gathered: list[int] = []
        self.delivered: list[tuple[str, str, InstanceMessage]] = []
        self.stale: list[str] = []
        self.awake: set[tuple[str, str]] = set()
        me: Any = self
        self.scheduled: list[Any] = []
        dispatcher: Any = SimpleNamespace(
            schedule=self._schedule,
            schedule_from_outside=self._schedule,
            nudge=lambda: None,
            turns=0,
            is_commit_due=False,
            commit_by=None,
        )
        self.journal = Journal(
            self.store,
            dispatcher,
            largest_commit=1_000,
            waits=False,
            failures=FailureLog(lambda: 0),
            now=lambda: 1,
            published=lambda events: None,
            checkpoints=dict,
            durable=lambda: None,
            start_over=self._start_over,
        )
        services: Any = SimpleNamespace(
            registry=Registry([till]),
            dispatcher=dispatcher,
            store=self.store,
            journal=self.journal,
            residency=me,
            now=lambda: 0,
            failures=FailureLog(lambda: 0),
        )
        self._watch_reads()
        make_actor: Any = SimpleNamespace
        self.queue = CommandQueue(
            services,
            AheadReads(self.store, self.journal),
            self._deliver,
            make_actor,
            max_in_flight=max_in_flight,
        )

    def _start_over(self) -> None:
        self.queue.start_over()

    def _watch_reads(self) -> None:
        ahead: Any = self.store.ahead
        read_queue, gather = ahead.read_queue, ahead.gather_commands

        def count(after: int, limit: int) -> list[CommandRecord]:
            self.reads += 1
            found: list[CommandRecord] = read_queue(after, limit)
            return found

        def note(commands: list[CommandRecord], *asleep: list[str]) -> None:
            self.gathered.append(len(commands))
            gather(commands, *asleep)

        ahead.read_queue, ahead.gather_commands = count, note

    def _schedule(self, actor: Any) -> None:
        actor.scheduled = True
        self.scheduled.append(actor)

    def _deliver(self, process: str, instance: str, message: InstanceMessage) -> bool:
        self.delivered.append((process, instance, message))
        return True

    # As the residency

    def send(
        self,
        messages: list[tuple[tuple[str, str], object, CommandMessage]],
        *,
        is_urgent: bool = False,
    ) -> None:
        del is_urgent
        for _, _, message in messages:
            name = message.record.command_id
            self.sent[name] = message
            self.order.append(name)

    def make_stale(self, kind: str, name: str) -> None:
        del kind
        self.stale.append(name)

    def is_awake(self, kind: str, name: str) -> bool:
        return (kind, name) in self.awake

    # What a test does

    def ask(self, *names: str, stream: str = "till::till-a") -> None:
        """Callers ask, and wait."""
        for name in names:
            reply: Any = None
            record = CommandRecord(name, "till.Sell.v1", stream, 1, b"\x81\xa4till\xa1a", name)
            self.queue.ask(record, reply, is_remembered=False)

    def issue(self, *names: str, outside: bool = False, stream: str = "till::till-a") -> None:
        """Hand over commands of an instance, or of a caller."""
        process = None if outside else P
        commands = [
            CommandRecord(
                name, "till.Sell.v1", stream, 1, b"\x81\xa4till\xa1a", name, None, process
            )
            for name in names
        ]
        for one in commands:
            one.instance = None if outside else "i"
        with self.journal.lock:
            self.journal.lay(Step(enqueue=commands))
            self.queue.queued(commands)

    def turn(self) -> list[str]:
        """Give the command queue a turn; returns what it sent."""
        before = len(self.order)
        self.queue.scheduled = False
        self.queue.work()
        return self.order[before:]

    def turns(self) -> list[str]:
        """As many as it wants, and then what is new, as when no actor has anything to do."""
        before = len(self.order)
        while self.queue.has_work() or self.queue.has_new:
            if self.queue.has_work():
                self.turn()
            else:
                self.queue.take_new()
        return self.order[before:]

    def carry_out(self, *names: str, decision: CommandDecision | None = None) -> None:
        """Aggregates hand over what came of commands."""
        for name in names:
            delivered = self.sent.pop(name)
            step = Step(take=delivered.record.sequence)
            made = decision or CommandDecision(step)
            with self.journal.lock:
                outcome = self.journal.lay(made.step)
                assert outcome is not None
                assert outcome.is_committed
                self.queue.done(delivered, made)

    def fail(self) -> None:
        """The commit fails."""

        def refuse(*_: object) -> None:
            self.store.drop_commit()
            raise StoreError("no room")

        with pytest.MonkeyPatch.context() as patches:
            patches.setattr(self.store, "close_commit", refuse)
            self.journal.flush()

    @property
    def rows(self) -> list[str]:
        """The commands that have rows on disk."""
        return [one.command_id for one in self.store.read_queue(0, 1_000)]


@pytest.fixture
def bench() -> Bench:
    return Bench()


class RemoteTables(DictionaryEngine):
    """Tables for which each look is a trip."""

    is_remote = True


@pytest.fixture
def far() -> Bench:
    return Bench(Store(RemoteTables()))


# In memory


def test_what_was_just_handed_over_goes_on_in_order_and_nothing_is_read(bench: Bench) -> None:
    bench.issue("a", "b")
    bench.issue("c")
    assert bench.scheduled == [bench.queue]
    assert bench.turns() == ["a", "b", "c"]
    assert bench.reads == 0


def test_what_is_issued_and_carried_out_in_one_commit_is_never_a_row(bench: Bench) -> None:
    bench.issue("a", "b")
    bench.turns()
    bench.carry_out("a", "b")
    bench.journal.flush()
    assert bench.rows == []


def test_what_was_taken_and_not_handed_over_has_its_row_when_the_commit_closes(
    bench: Bench,
) -> None:
    bench.issue("a", "b")
    bench.turns()
    bench.carry_out("a")
    bench.journal.flush()
    assert bench.rows == ["b"]
    # It is in hand, and is not taken a second time.
    assert bench.turns() == []
    bench.carry_out("b")
    bench.journal.flush()
    assert bench.rows == []


def test_all_of_a_wave_are_asked_for_together(bench: Bench) -> None:
    bench.issue("a", "b", "c")
    bench.turn()
    assert bench.gathered == [3]


# Within bounds


def test_what_callers_ask_goes_on_at_once_where_a_look_is_no_trip(bench: Bench) -> None:
    bench.ask("a", "b")
    assert bench.order == ["a", "b"]
    assert bench.gathered == []


def test_what_callers_ask_meanwhile_shares_a_trip(far: Bench) -> None:
    far.ask("a", "b")
    far.ask("c", stream="till::till-b")
    assert far.order == []
    assert far.turns() == ["a", "b", "c"]
    assert far.gathered == [3]


def test_no_trip_is_made_for_aggregates_that_are_in_memory(far: Bench) -> None:
    far.awake.add(("till::till", "till::till-a"))
    far.ask("a")
    far.ask("b", stream="till::till-b")
    assert far.turns() == ["a", "b"]
    assert far.gathered == [1]


def test_what_callers_ask_needs_no_room_among_those_of_the_queue() -> None:
    far = Bench(Store(RemoteTables()), max_in_flight=1)
    far.issue("a", "b", outside=True)
    assert far.turns() == ["a"]
    far.ask("c")
    assert far.turns() == ["c"]


@pytest.mark.parametrize("is_asked", [True, False], ids=["asked", "issued"])
def test_a_trip_that_fails_loses_no_command(
    far: Bench, is_asked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise StoreError("the database is gone")

    monkeypatch.setattr(far.store.ahead, "gather_commands", refuse)
    (far.ask if is_asked else far.issue)("a", "b")
    assert far.turns() == ["a", "b"]


def test_no_more_are_under_way_than_may_be_and_the_rest_follow_in_order(bench: Bench) -> None:
    names = [f"c{number:03}" for number in range(5 * MOST)]
    for name in names:
        bench.issue(name)
    sent: list[str] = []
    while len(sent) < len(names):
        taken = bench.turns()
        assert bench.queue.in_flight <= MOST
        assert taken
        sent += taken
        bench.carry_out(*taken)
    assert sent == names
    assert bench.queue.in_flight == 0


def test_a_backlog_is_read_from_disk_in_order_while_more_comes(bench: Bench) -> None:
    names = [f"c{number:03}" for number in range(50)]
    bench.issue(*names[:30])
    bench.journal.flush()
    sent: list[str] = []
    for name in names[30:]:
        bench.issue(name)
        taken = bench.turns()
        sent += taken
        bench.carry_out(*taken)
    bench.journal.flush()
    while taken := bench.turns():
        sent += taken
        bench.carry_out(*taken)
    assert sent == names


def test_it_goes_on_when_there_is_room_again(bench: Bench) -> None:
    bench.issue(*"abcdef")
    bench.turns()
    assert not bench.queue.has_work()
    bench.scheduled.clear()
    bench.carry_out("a")
    assert bench.scheduled == [bench.queue]
    assert bench.turns() == ["e"]


def test_it_takes_a_page_in_one_turn_so_that_others_have_theirs() -> None:
    bench = Bench(max_in_flight=10 * PAGE)
    bench.issue(*(f"c{number:04}" for number in range(PAGE + 10)))
    assert [len(bench.turn()), len(bench.turn())] == [PAGE, 10]


def test_commands_of_running_processes_go_before_those_of_callers(bench: Bench) -> None:
    bench.issue("told 1", "told 2", "told 3", outside=True)
    bench.issue("issued 1", "issued 2")
    assert bench.turns() == ["issued 1", "issued 2", "told 1", "told 2"]
    bench.carry_out("issued 1", "told 1")
    bench.issue("issued 3")
    assert bench.turns() == ["issued 3", "told 3"]


def test_what_is_new_waits_for_the_ends_of_chains_and_for_no_more_than_a_commit(
    bench: Bench,
) -> None:
    bench.issue("told 1", outside=True)
    bench.turns()
    bench.issue("told 2", outside=True)
    bench.issue("issued")
    assert bench.turn() == ["issued"]
    assert not bench.queue.has_work()
    assert bench.queue.has_new, "it is taken when no actor has anything to do"
    bench.journal.flush()
    # Running processes may always have something to do.
    assert bench.queue.has_work()
    assert bench.turn() == ["told 2"]


def test_what_comes_from_other_partitions_keeps_waiting_what_is_new_for_a_while_only(
    bench: Bench,
) -> None:
    bench.issue("told 1", outside=True)
    bench.turns()
    bench.issue("told 2", outside=True)
    bench.queue.has_come(COME - 1)
    assert not bench.queue.has_work()
    bench.queue.has_come(1)
    assert bench.turn() == ["told 2"]
    bench.issue("told 3", outside=True)
    assert not bench.queue.has_work()


def test_what_came_while_nothing_was_told_makes_no_room_for_all_that_is_told_later() -> None:
    bench = Bench(max_in_flight=1_000)
    bench.issue("told", outside=True)
    bench.turns()
    for _ in range(100):
        bench.queue.has_come(256)
    bench.issue(*(f"told {number:04}" for number in range(9 * NEW)), outside=True)
    taken = 0
    while bench.queue.has_work():
        taken += len(bench.turn())
    assert taken == MOST_COME // COME * NEW


def test_a_queue_that_is_closed_takes_no_more(bench: Bench) -> None:
    bench.issue("a")
    bench.queue.is_closed = True
    assert bench.turns() == []
    assert bench.turn() == []


# When a store is opened, or a commit fails


def test_what_an_earlier_run_left_is_taken_up_in_order() -> None:
    before = Bench()
    before.issue(*"abcdefgh")
    before.issue("told", outside=True)
    before.turns()
    before.carry_out("b")
    before.journal.flush()
    bench = Bench(before.store)
    sent: list[str] = []
    while taken := bench.turns():
        sent += taken
        bench.carry_out(*taken)
    assert sent == [*"acdefgh", "told"]


def test_after_a_commit_failed_it_takes_up_what_is_on_disk(bench: Bench) -> None:
    bench.issue("a", "b")
    bench.turns()
    bench.journal.flush()
    bench.carry_out("a")
    bench.issue("c")
    bench.turns()
    bench.fail()
    assert bench.queue.in_flight == 0
    assert bench.queue.has_work()
    # The third one is gone with the step that issued it.
    assert bench.turns() == ["a", "b"]
    bench.carry_out("a", "b")
    bench.issue("d")
    assert bench.turns() == ["d"]
    bench.carry_out("d")
    bench.journal.flush()
    assert bench.rows == []
    assert bench.queue.in_flight == 0


def test_sequences_of_a_commit_that_failed_are_given_again(bench: Bench) -> None:
    bench.issue("gone", "gone as well")
    bench.issue("told and gone", outside=True)
    bench.fail()
    assert bench.turns() == []
    bench.issue("a")
    bench.issue("b", outside=True)
    assert bench.turns() == ["a", "b"]
    sequences = [bench.sent[name].record.sequence for name in "ab"]
    assert sequences == [1, FROM_OUTSIDE + 1]


# What comes of a command


def test_the_issuer_of_a_command_that_is_refused_is_told(bench: Bench) -> None:
    bench.issue("a")
    bench.turns()
    record = bench.sent["a"].record
    refusal = RefusalRecord(record, "no")
    step = Step(take=record.sequence, extras=StepExtras(refusal=refusal))
    bench.carry_out("a", decision=CommandDecision(step, outcome="rejected"))
    [(process, instance, message)] = bench.delivered
    assert (process, instance) == (P, "i")
    assert message.stimulus == CommandRefused(refusal)
    assert bench.queue.counts["rejected"] == 1


def test_a_command_that_no_aggregate_here_takes_is_set_aside_and_delays_no_other(
    bench: Bench,
) -> None:
    bench.issue("lost", stream="elsewhere::x-1")
    bench.issue("a")
    assert bench.turns() == ["a"]
    assert bench.queue.in_flight == 1
    bench.journal.flush()
    [parked] = bench.store.scan_parked()
    assert parked.command is not None
    assert parked.command.command_id == "lost"
    assert bench.rows == ["a"]


def test_a_command_that_was_carried_out_under_its_id_before_leaves_the_queue(
    bench: Bench,
) -> None:
    bench.issue("a")
    bench.turns()
    with bench.journal.lock:
        bench.queue.discard(bench.sent["a"])
    bench.journal.flush()
    assert bench.rows == []


def test_an_aggregate_forgets_when_a_caller_wrote_to_its_stream(bench: Bench) -> None:
    bench.queue.published("till::till-a")
    bench.queue.published("elsewhere::x-1")
    assert bench.stale == ["till::till-a"]
