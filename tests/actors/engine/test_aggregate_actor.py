"""Aggregates in a runtime: one command after another, its events together."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from procession import (
    Aggregate,
    Command,
    Domain,
    Event,
    InvalidMessage,
    ProcessManager,
    Rejected,
    Runtime,
    StoreError,
    apply,
    handle,
)
from procession.store import Committed
from procession.testing import Publish, Simulation

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from procession.store import Outcome, Step

wait_for = 10


class Fill(Command):
    box: str
    items: list[str]


class Take(Command):
    box: str
    item: str


class Look(Command):
    box: str


class Put(Event):
    box: str
    item: str
    place: int


class Filled(Event):
    box: str
    items: int


class Taken(Event):
    box: str
    item: str


class Box(Aggregate, identity="box"):
    items: list[str] = []

    @handle(Fill)
    def fill(self, command: Fill) -> Iterator[Event]:
        for item in command.items:
            if item in self.items:
                raise Rejected(f"{item} is in there already")
            yield Put(self.id, item, len(self.items))
        yield Filled(self.id, len(self.items))

    @handle(Take)
    def take(self, command: Take) -> Taken:
        if command.item not in self.items:
            raise Rejected(f"there is no {command.item}")
        return Taken(self.id, command.item)

    @handle(Look)
    def look(self, command: Look) -> None: ...

    @apply(Put)
    def _put(self, event: Put) -> None:
        self.items.append(event.item)

    @apply(Taken)
    def _taken(self, event: Taken) -> None:
        self.items.remove(event.item)


def depot(*more: type) -> Domain:
    domain = Domain("depot")
    for one in (Box, *more):
        domain.register(one)
    return domain


class Commits:
    """Stands before the store's commits, notes the steps of each, and holds up or refuses them."""

    def __init__(self, runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
        self._store = store = runtime._store
        self._hand_over, self._close_commit = store.hand_over, store.close_commit
        self._open: list[Step] = []
        self.durable: list[list[Step]] = []
        """The steps of every commit that is on disk."""
        self.may_go = threading.Event()
        self.may_go.set()
        self.error: StoreError | None = None
        monkeypatch.setattr(store, "hand_over", self.hand_over)
        monkeypatch.setattr(store, "close_commit", self.close_commit)

    def hand_over(self, step: Step) -> Outcome:
        outcome = self._hand_over(step)
        if isinstance(outcome, Committed):
            self._open.append(step)
        return outcome

    def close_commit(self, checkpoints: Mapping[str, int] | None = None) -> None:
        steps, self._open = self._open, []
        assert self.may_go.wait(wait_for)
        if self.error is not None:
            self._store.drop_commit()
            raise self.error
        self._close_commit(checkpoints)
        self.durable.append(steps)


def test_the_events_of_one_command_commit_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Runtime(tmp_path, depot(), durability="none") as runtime:
        commits = Commits(runtime, monkeypatch)
        made = runtime.ask(Fill("b1", ["a", "b"]), timeout=wait_for)
        assert made == [Put("b1", "a", 0), Put("b1", "b", 1), Filled("b1", 2)]
        [[step]] = [steps for steps in commits.durable if steps]
        assert step.append is not None
        assert [event.version for event in step.append.events] == [1, 2, 3]
        assert [event.position for event in step.append.events] == [1, 2, 3]


def test_when_their_commit_fails_none_of_the_events_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Runtime(tmp_path, depot(), durability="none") as runtime:
        commits = Commits(runtime, monkeypatch)
        commits.error = StoreError("the disk is full")
        with pytest.raises(StoreError, match="the disk is full"):
            runtime.ask(Fill("b1", ["a", "b"]), timeout=wait_for)
        commits.error = None
        assert list(runtime.events()) == []
        assert runtime.get(Box, "b1") is None
        assert len(runtime.ask(Fill("b1", ["a"]), timeout=wait_for)) == 2


def test_a_refusal_after_some_events_leaves_none_of_them() -> None:
    with Runtime.ephemeral(depot()) as runtime:
        runtime.ask(Fill("b1", ["a"]), timeout=wait_for)
        with pytest.raises(Rejected, match="a is in there already"):
            runtime.ask(Fill("b1", ["b", "a"]), timeout=wait_for)
        view = runtime.get(Box, "b1")
        assert view is not None
        assert (view.state, view.version) == ({"items": ["a"]}, 2)
        # Memory went back as well.
        assert runtime.ask(Fill("b1", ["b"]), timeout=wait_for)[0] == Put("b1", "b", 1)


def test_a_yielded_event_is_applied_before_the_next_line_runs() -> None:
    with Runtime.ephemeral(depot()) as runtime:
        made = runtime.ask(Fill("b1", ["a", "b", "c"]), timeout=wait_for)
        assert [event.place for event in made if isinstance(event, Put)] == [0, 1, 2]
        with pytest.raises(Rejected, match="d is in there already"):
            runtime.ask(Fill("b1", ["d", "d"]), timeout=wait_for)


def test_a_command_without_events_writes_none_and_replies() -> None:
    with Runtime.ephemeral(depot()) as runtime:
        assert runtime.ask(Look("b1"), timeout=wait_for) == []
        assert runtime.get(Box, "b1") is None


def test_asks_from_many_threads_are_carried_out_one_after_another() -> None:
    threads, each = 8, 20
    replies: dict[str, list[Event]] = {}
    begin = threading.Barrier(threads)

    with Runtime.ephemeral(depot()) as runtime:

        def ask(number: int) -> None:
            begin.wait(wait_for)
            for turn in range(each):
                item = f"{number}-{turn}"
                replies[item] = runtime.ask(Fill("b1", [item]), timeout=wait_for)

        workers = [threading.Thread(target=ask, args=(number,)) for number in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(30)
        stored = [one.event for one in runtime.events("depot::box-b1")]
    puts = [event for event in stored if isinstance(event, Put)]
    assert [event.place for event in puts] == list(range(threads * each))
    assert {event.item for event in puts} == set(replies)
    for first, second in zip(stored[::2], stored[1::2], strict=True):
        # The events of one ask stand side by side, and are what its caller was told.
        assert isinstance(first, Put)
        assert replies[first.item] == [first, second]


def test_of_many_who_want_the_same_one_gets_it() -> None:
    with Runtime.ephemeral(depot()) as runtime:
        runtime.ask(Fill("b1", ["ring"]), timeout=wait_for)
        futures = [runtime.ask(Take("b1", "ring"), block=False) for _ in range(20)]
        answers: list[object] = []
        for future in futures:
            try:
                answers.append(future.get(timeout=wait_for))
            except Rejected as error:
                answers.append(error.reason)
    assert answers[0] == [Taken("b1", "ring")]
    assert answers[1:] == ["there is no ring"] * 19


def test_a_handler_never_runs_twice_at_once_in_one_aggregate() -> None:
    inside = threading.Semaphore(0)
    go_on = threading.Event()
    running: list[str] = []
    overlaps: list[str] = []

    class Slow(Aggregate, identity="box", category="slow"):
        @handle(Take)
        def take(self, command: Take) -> None:
            if self.id in running:
                overlaps.append(self.id)
            running.append(self.id)
            inside.release()
            assert go_on.wait(wait_for)
            running.remove(self.id)

    domain = Domain("depot")
    domain.register(Slow)
    with Runtime.ephemeral(domain, workers=4) as runtime:
        futures = [
            runtime.ask(Take(box, item), block=False) for item in "123" for box in ("b1", "b2")
        ]
        # Both aggregates are in a handler at once; each has two commands more to come.
        assert inside.acquire(timeout=wait_for)
        assert inside.acquire(timeout=wait_for)
        assert sorted(running) == ["b1", "b2"]
        go_on.set()
        for future in futures:
            assert future.get(timeout=wait_for) == []
    assert overlaps == []


def test_an_aggregate_goes_on_while_its_steps_are_on_their_way_and_replies_when_they_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Runtime(tmp_path, depot(), durability="none") as runtime:
        commits = Commits(runtime, monkeypatch)
        commits.may_go.clear()
        futures = [runtime.ask(Fill("b1", [item]), block=False) for item in "abc"]
        assert runtime.get(Box, "b1") is None
        commits.may_go.set()
        places = [future.get(timeout=wait_for)[0] for future in futures]
        assert places == [Put("b1", item, place) for place, item in enumerate("abc")]


def test_a_commit_that_fails_is_no_harm_to_the_commands_behind_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Runtime(tmp_path, depot(), durability="none") as runtime:
        runtime.ask(Fill("b1", ["a"]), timeout=wait_for)
        commits = Commits(runtime, monkeypatch)
        commits.error = StoreError("the disk is full")
        with pytest.raises(StoreError):
            runtime.ask(Fill("b1", ["b"]), timeout=wait_for)
        commits.error = None
        assert runtime.ask(Fill("b1", ["c"]), timeout=wait_for)[0] == Put("b1", "c", 1)
        view = runtime.get(Box, "b1")
        assert view is not None
        assert view.state == {"items": ["a", "c"]}


def test_a_command_that_was_told_waits_for_no_other_aggregate_and_keeps_its_place() -> None:
    with Runtime.ephemeral(depot()) as runtime:
        runtime.tell_many(Fill(f"b{number % 3}", [f"{number}"]) for number in range(30))
        runtime.settle(timeout=wait_for)
        for box in range(3):
            view = runtime.get(Box, f"b{box}")
            assert view is not None
            assert view.state == {"items": [f"{number}" for number in range(box, 30, 3)]}


def test_process_managers_see_the_events_of_one_command_in_their_order() -> None:
    class Watch(ProcessManager, correlate="box"):
        box: str = ""
        seen: list[str] = []

        @handle(Put, start=True)
        def on_put(self, event: Put) -> None:
            self.seen.append(event.item)

        @handle(Filled)
        def on_filled(self, event: Filled) -> None:
            self.seen.append(f"{event.items} in all")

    with Runtime.ephemeral(depot(Watch)) as runtime:
        runtime.ask(Fill("b1", ["a", "b"]), timeout=wait_for)
        runtime.settle(timeout=wait_for)
        view = runtime.get(Watch, "b1")
        assert view is not None
        assert view.state["seen"] == ["a", "b", "2 in all"]


def test_an_event_that_is_imported_is_read_before_the_aggregate_decides_again() -> None:
    with Runtime.ephemeral(depot()) as runtime:
        runtime.ask(Fill("b1", ["a"]), timeout=wait_for)
        runtime.publish(Put("b1", "z", 1), stream="depot::box-b1", as_import=True)
        assert runtime.ask(Take("b1", "z"), timeout=wait_for) == [Taken("b1", "z")]
        view = runtime.get(Box, "b1")
        assert view is not None
        assert (view.state, view.version) == ({"items": ["a"]}, 4)


def test_only_the_aggregate_writes_to_its_stream() -> None:
    with Runtime.ephemeral(depot()) as runtime:
        refused = (
            lambda: runtime.publish(Put("b1", "z", 1), stream="depot::box-b1"),
            lambda: runtime.publish_many([Put("b1", "z", 1)], stream=lambda _: "depot::box-b1"),
        )
        for call in refused:
            with pytest.raises(InvalidMessage, match="is the stream of Box, which alone writes"):
                call()
        assert list(runtime.events()) == []
        # A stream of another category is nobody's own.
        assert runtime.publish(Put("b1", "z", 1), stream="depot::boxes-b1") == 1


def test_what_is_imported_names_the_aggregate_whose_stream_it_is() -> None:
    with Runtime.ephemeral(depot()) as runtime:
        with pytest.raises(
            InvalidMessage, match=r"the stream of Box 'b1', and box='b2' of the Put"
        ):
            runtime.publish(Put("b2", "z", 1), stream="depot::box-b1", as_import=True)
        with pytest.raises(InvalidMessage, match="the stream of no aggregate that is registered"):
            runtime.publish(Put("b1", "z", 1), stream="elsewhere-b1", as_import=True)
        events = [Put(name, "z", 1) for name in ("b1", "b2")]
        positions = runtime.publish_many(
            events, stream=lambda event: f"depot::box-{event.box}", as_import=True
        )
        assert positions == [1, 2]
        assert runtime.ask(Take("b2", "z"), timeout=wait_for) == [Taken("b2", "z")]


def test_a_runtime_without_the_aggregate_may_publish_into_its_stream() -> None:
    other = Domain("depot")
    other.register(Put)
    with Runtime.ephemeral(other) as runtime:
        assert runtime.publish(Put("b1", "z", 1), stream="depot::box-b1") == 1


def test_a_simulation_and_its_clients_refuse_what_a_runtime_refuses() -> None:
    event = Put("b1", "z", 1)
    with pytest.raises(InvalidMessage, match="which alone writes"):
        Simulation(depot(), program=[Publish(event, "depot::box-b1")])
    program = [Publish(event, "depot::box-b1", as_import=True), Take("b1", "z")]
    with Simulation(depot(), program=program) as simulation:
        with pytest.raises(InvalidMessage, match="which alone writes"):
            simulation.publish(event, stream="depot::box-b1")
        simulation.run()
        view = simulation.get(Box, "b1")
        assert view is not None
        assert (view.state, view.version) == ({"items": []}, 2)
