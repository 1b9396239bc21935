"""What actors with a log share: turns, and going back to what the log says when a commit fails.

The actor counts: a message is decided by adding one to its state, and its step is an event. Below
it are a real journal and a real store, on tables in memory.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from procession.engine.durable_actor import DurableActor
from procession.engine.failure_log import FailureLog
from procession.engine.journal import Journal
from procession.engine.pooled_actor import TURN
from procession.store import Append, DictionaryEngine, EventRecord, Step, Store, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from procession.store import Outcome


class Asked:
    """A message, for which a caller may wait."""

    def __init__(self, name: str, *, has_caller: bool = False) -> None:
        self.name = name
        self.reply: Any = SimpleNamespace(set_exception=self._fail) if has_caller else None
        self.error: BaseException | None = None

    def _fail(self, exc_info: Any) -> None:
        self.error = exc_info[1]


class Counter(DurableActor[Asked]):
    """Counts its messages; its state is the number of events in its log."""

    __slots__ = ("bench", "count")

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench.dispatcher, bench.journal)
        self.bench = bench
        self.count: int | None = None

    def forget(self) -> None:
        self.bench.happened.append("forgot")
        self.count = None

    def on_receive(self, message: Asked) -> None:
        generation = self.journal.generation
        if self.count is None:
            with self.journal.lock:
                self.count = len(self.bench.store.ahead.read_stream("s", 0, 1_000))
        self.bench.happened.append(f"{message.name} at {self.count}")
        self.bench.meanwhile.pop(message.name, lambda: None)()
        record = EventRecord("E", "s", 0, 1, b"\x80", "", "")
        decision: Any = SimpleNamespace(step=Step(append=Append("s", self.count, [record])))
        if not self.journal.hand_over(self, message, decision, generation):
            self.cut_off(message)

    def settle(self, message: Asked, decision: Any, outcome: Outcome) -> None:
        del decision
        assert outcome.is_committed
        assert self.count is not None
        self.count += 1
        self.bench.happened.append(f"{message.name} settled")


class Bench:
    """One actor, and what happens to it in order."""

    def __init__(self) -> None:
        self.happened: list[str] = []
        self.meanwhile: dict[str, Callable[[], object]] = {}
        """What happens while a message is decided, by its name."""
        self.store = Store(DictionaryEngine())
        self.dispatcher: Any = SimpleNamespace(
            schedule=self._schedule,
            schedule_from_outside=self._schedule,
            nudge=lambda: None,
            turns=0,
            is_commit_due=False,
            commit_by=None,
        )
        self.journal = Journal(
            self.store,
            self.dispatcher,
            largest_commit=1_000,
            waits=False,
            failures=FailureLog(lambda: 0),
            now=lambda: 1,
            published=lambda events: None,
            checkpoints=dict,
            durable=lambda: None,
            start_over=self._start_over,
        )
        self.actor = Counter(self)

    def _start_over(self) -> None:
        self.actor.start_over()

    def _schedule(self, actor: Any) -> None:
        actor.scheduled = True

    def send(self, *names: str, has_caller: bool = False) -> list[Asked]:
        messages = [Asked(name, has_caller=has_caller) for name in names]
        for one in messages:
            self.actor.post(one)
        return messages

    def turn(self) -> list[str]:
        """Give the actor a turn; returns what happened in it."""
        before = len(self.happened)
        self.dispatcher.turns += 1
        self.actor.take_turn()
        return self.happened[before:]

    def fail(self) -> None:
        """The commit fails."""

        def refuse(*_: object) -> None:
            self.store.drop_commit()
            raise StoreError("no room")

        with pytest.MonkeyPatch.context() as patches:
            patches.setattr(self.store, "close_commit", refuse)
            self.journal.nudge_checkpoints()
            self.journal.flush()


@pytest.fixture
def bench() -> Bench:
    return Bench()


# Turns


def test_it_goes_on_with_its_next_message_when_a_step_is_handed_over(bench: Bench) -> None:
    bench.send("a", "b")
    assert bench.turn() == ["a at 0", "a settled", "b at 1", "b settled"]


def test_it_lets_others_have_their_turns(bench: Bench) -> None:
    bench.send(*(f"m{number}" for number in range(3 * TURN)))
    bench.turn()
    assert bench.actor.scheduled
    left = len(bench.actor.envelopes)
    assert 3 * TURN - left in {TURN, TURN + 1}


def test_a_thread_that_lost_the_lead_hands_over_and_stops(bench: Bench) -> None:
    def lose_the_lead() -> None:
        bench.dispatcher.turns += 1

    bench.meanwhile = {"a": lose_the_lead, "c": lose_the_lead}
    bench.send("a", "b", "c", "d")
    turns = [bench.turn() for _ in range(3)]
    assert [one[0] for turn in turns for one in turn if "settled" in one] == ["a", "b", "c", "d"]
    assert [turn[-1] for turn in turns] == ["a settled", "c settled", "d settled"]
    assert bench.actor.envelopes == []


def test_an_error_of_a_message_costs_the_others_nothing(bench: Bench) -> None:
    def fail() -> None:
        raise ValueError("on purpose")

    bench.meanwhile = {"a": fail}
    bench.send("a", "b")
    with pytest.raises(ValueError, match="on purpose"):
        bench.turn()
    assert bench.actor.scheduled
    assert bench.turn() == ["b at 0", "b settled"]


# Staying awake


def test_it_is_done_when_all_is_handled_and_durable(bench: Bench) -> None:
    assert bench.actor.is_done
    bench.send("a")
    done = [bench.actor.is_done]
    bench.turn()
    done.append(bench.actor.is_done)
    bench.journal.flush()
    done.append(bench.actor.is_done)
    assert done == [False, False, True]


# When a commit fails


def test_it_goes_back_to_what_is_durable_and_what_no_caller_waits_for_is_gone(
    bench: Bench,
) -> None:
    bench.send("a")
    bench.turn()
    bench.journal.flush()
    bench.send("b")
    bench.turn()
    bench.send("c")
    bench.send("d", has_caller=True)
    bench.fail()
    # The others come again from the log, as those whose steps are gone.
    assert bench.turn() == ["forgot", "d at 1", "d settled"]
    bench.journal.flush()
    assert len(bench.store.read_stream("s", 0, 10)) == 2


def test_what_is_decided_while_the_commit_fails_that_it_stands_on_is_decided_again(
    bench: Bench,
) -> None:
    bench.send("a")
    bench.turn()
    bench.meanwhile = {"b": bench.fail}
    [message] = bench.send("b", has_caller=True)
    assert bench.turn() == ["b at 1", "forgot", "b at 0", "b settled"]
    assert message.error is None
    bench.journal.flush()
    assert len(bench.store.read_stream("s", 0, 10)) == 1


def test_what_no_caller_waits_for_is_not_decided_again_but_comes_again(bench: Bench) -> None:
    bench.send("a")
    bench.turn()
    bench.meanwhile = {"b": bench.fail}
    bench.send("b")
    assert bench.turn() == ["b at 1"]
    bench.send("a", "b")
    assert bench.turn() == ["forgot", "a at 0", "a settled", "b at 1", "b settled"]


def test_what_is_decided_when_all_is_over_is_not_decided_again(bench: Bench) -> None:
    bench.meanwhile = {"a": bench.journal.abandon}
    bench.send("a", has_caller=True)
    assert bench.turn() == ["a at 0"]
    assert bench.actor.envelopes == []


def test_the_caller_whose_step_is_a_mistake_of_ours_is_told(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_it() -> None:
        monkeypatch.setattr(bench.store, "hand_over", lambda step: 1 / 0)

    bench.meanwhile = {"a": break_it}
    [message] = bench.send("a", has_caller=True)
    assert bench.turn() == ["a at 0"]
    assert isinstance(message.error, StoreError)
    assert bench.actor.envelopes == []


# Waiting until all is durable


def test_what_is_paused_goes_on_when_all_is_durable_and_before_what_came_behind(
    bench: Bench,
) -> None:
    paused: list[str] = []

    class Careful(Counter):
        __slots__ = ()

        def on_receive(self, message: Asked) -> None:
            if message.name == "careful" and self.commit >= self.journal.number:
                paused.append(message.name)
                self.pause(message)
                return
            super().on_receive(message)

    bench.actor = Careful(bench)
    bench.send("a", "careful", "b")
    assert bench.turn() == ["a at 0", "a settled"]
    assert not bench.actor.is_done
    scheduled = [bench.actor.scheduled]
    # What comes meanwhile waits as well.
    bench.send("c")
    assert bench.turn() == []
    bench.journal.flush()
    scheduled.append(bench.actor.scheduled)
    assert scheduled == [False, True]
    assert [one for one in bench.turn() if "at" in one] == ["careful at 1", "b at 2", "c at 3"]
    assert paused == ["careful"]


def test_what_is_paused_goes_on_though_the_commit_fails(bench: Bench) -> None:
    [message] = bench.send("careful", has_caller=True)
    bench.actor.envelopes.clear()
    bench.actor.pause(message)
    bench.fail()
    assert bench.actor.scheduled
    assert bench.turn() == ["forgot", "careful at 0", "careful settled"]
