"""An operator ends an instance: what goes with it, what its class makes good, and who is told."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from procession import (
    Aggregate,
    AlreadyDecided,
    AlreadyEnded,
    Command,
    DefinitionError,
    Domain,
    Event,
    InvalidMessage,
    MovedOn,
    ProcessManager,
    Retry,
    Runtime,
    UnknownInstance,
    ended,
    handle,
    rejected,
    timeout,
)
from procession.testing import VirtualClock

DAY = timedelta(days=1)
STREAM = "feed::order-1"


class Ordered(Event):
    order: str


class Changed(Event):
    order: str
    fail: bool = False


class Reserve(Command):
    order: str


class Refund(Command):
    order: str
    because: str


class Remind(Command):
    order: str


class Refunded(Event):
    order: str


shop = Domain("shop")


@shop.register
class Till(Aggregate, identity="order"):
    refunds: int = 0

    @handle(Refund)
    def refund(self, command: Refund) -> Refunded:
        return Refunded(self.id)

    @handle(Reserve)
    def reserve(self, command: Reserve) -> None:
        return None

    @handle(Remind)
    def remind(self, command: Remind) -> Refunded:
        return Refunded(self.id)


is_mended = threading.Event()


@shop.register
class Order(ProcessManager, correlate="order", late="skip"):
    order: str = ""
    status: str = "new"
    changes: int = 0
    said: list[str] = []

    @handle(Ordered, start=True)
    def on_ordered(self, event: Ordered) -> None:
        self.status = "open"
        self.issue(Reserve(self.order))
        self.issue(Remind(self.order), after=2 * DAY)
        self.set_timeout("late", DAY)

    @handle(Changed)
    def on_changed(self, event: Changed) -> None:
        if event.fail and not is_mended.is_set():
            raise ValueError("cannot change")
        self.changes += 1

    @handle(Refunded)
    def on_refunded(self, event: Refunded) -> None:
        self.said.append("refunded")

    @timeout("late")
    def on_late(self) -> None:
        self.said.append("late")

    @rejected(Reserve)
    def on_reserve_rejected(self, command: Reserve, reason: str) -> None:
        self.said.append(reason)

    @ended
    def give_back(self, reason: str) -> None:
        if reason == "break":
            raise RuntimeError("cannot give back")
        self.status = "withdrawn"
        self.said.append(f"{reason} by {self.context.actor} at {self.context.now:%H:%M}")
        self.issue(Refund(self.order, reason))


@pytest.fixture(autouse=True)
def _broken() -> None:
    is_mended.clear()


@pytest.fixture
def runtime(clock: VirtualClock) -> Iterator[Runtime]:
    with Runtime.ephemeral(shop, clock=clock) as opened:
        yield opened
        assert opened.verify() == []


def send(runtime: Runtime, *events: Event) -> None:
    for event in events:
        runtime.publish(event, stream=STREAM)
    runtime.settle(timeout=10)


def view_of(runtime: Runtime, order: str = "o1") -> Any:
    view = runtime.get(Order, order)
    assert view is not None
    return view


def test_an_ended_instance_is_complete_and_says_who_ended_it_and_why(runtime: Runtime) -> None:
    send(runtime, Ordered("o1"))
    assert runtime.end(Order, "o1", reason="fraud", by="ann") == 2
    runtime.settle(timeout=10)
    view = view_of(runtime)
    assert (view.status, view.version, view.state["status"]) == ("complete", 2, "withdrawn")
    last = list(runtime.history(Order, "o1"))[-1]
    assert (last.handler, last.cause, last.by) == ("ended", "operator", "ann")
    assert last.note == "ended by ann: fraud"
    assert last.commands == (Refund("o1", "fraud"),)
    (refunded,) = [one for one in runtime.events() if isinstance(one.event, Refunded)]
    assert refunded.headers == {"actor": "ann"}
    assert view.state["said"] == ["fraud by ann at 12:00"], "what comes late is passed over"


def test_its_timeouts_and_held_back_commands_never_come(
    runtime: Runtime, clock: VirtualClock
) -> None:
    send(runtime, Ordered("o1"))
    assert len(list(runtime.timeouts())) == 2
    runtime.end(Order, "o1", reason="fraud", compensate=False)
    assert list(runtime.timeouts()) == []
    clock.advance(3 * DAY)
    runtime.settle(timeout=10)
    assert not any(isinstance(one.event, Refunded) for one in runtime.events())
    assert view_of(runtime).version == 2


def test_without_compensation_its_method_does_not_run(runtime: Runtime) -> None:
    send(runtime, Ordered("o1"))
    runtime.end(Order, "o1", reason="fraud", compensate=False)
    last = list(runtime.history(Order, "o1"))[-1]
    assert (last.handler, last.commands, last.by) == ("end", (), None)
    assert last.note == "ended by an operator: fraud"
    assert view_of(runtime).state["status"] == "open"


def test_when_its_method_fails_the_instance_is_as_before(runtime: Runtime) -> None:
    send(runtime, Ordered("o1"))
    with pytest.raises(RuntimeError, match="cannot give back"):
        runtime.end(Order, "o1", reason="break")
    assert view_of(runtime).status == "running"
    assert len(list(runtime.timeouts())) == 2
    runtime.end(Order, "o1", reason="break", compensate=False)
    assert view_of(runtime).status == "complete"


def test_what_suspended_it_is_decided_with_the_end(runtime: Runtime) -> None:
    send(runtime, Ordered("o1"), Changed("o1", fail=True), Changed("o1"))
    (parked,) = runtime.parked()
    assert view_of(runtime).status == "suspended"
    runtime.end(Order, "o1", reason="fraud", by="ann")
    runtime.settle(timeout=10)
    assert view_of(runtime).status == "complete"
    assert list(runtime.parked()) == []
    (decided,) = runtime.parked(decided=True)
    assert (decided.id, decided.decision, decided.decided_by) == (parked.id, "end", "ann")
    assert runtime.stats()["skipped_complete"] >= 1, "what waited behind it came late"
    assert view_of(runtime).state["changes"] == 0
    with pytest.raises(AlreadyDecided, match="end was decided"):
        runtime.retry(parked.id)
    (explained,) = runtime.why(parked.cause)
    assert explained.detail == f"by ann, who ended the instance, of what was parked as {parked.id}"


def test_one_that_waits_for_another_attempt_is_not_tried_again(clock: VirtualClock) -> None:
    domain = Domain("waiting")

    @domain.register
    class Trying(
        ProcessManager, correlate="order", retry=Retry(attempts=5, first=DAY, maximum=DAY)
    ):
        order: str = ""

        @handle(Ordered, start=True)
        def on_ordered(self, event: Ordered) -> None:
            pass

        @handle(Changed)
        def on_changed(self, event: Changed) -> None:
            raise ValueError("never")

    domain.register(Ordered, Changed)
    with Runtime.ephemeral(domain, clock=clock) as runtime:
        send(runtime, Ordered("o1"), Changed("o1"), Changed("o1"))
        assert [one.kind for one in runtime.timeouts()] == ["retry"]
        runtime.end(Trying, "o1", reason="enough")
        runtime.settle(timeout=10)
        assert list(runtime.timeouts()) == []
        clock.advance(10 * DAY)
        runtime.settle(timeout=10)
        assert list(runtime.parked()) == []
        assert [one.handler for one in runtime.history(Trying, "o1")] == ["on_ordered", "end"]
        assert runtime.verify() == []


def test_what_was_parked_without_suspending_it_is_decided_as_well(clock: VirtualClock) -> None:
    domain = Domain("starts")

    @domain.register
    class Once(ProcessManager, correlate="order"):
        order: str = ""

        @handle(Ordered, start="only")
        def on_ordered(self, event: Ordered) -> None:
            pass

        @handle(Changed)
        def on_changed(self, event: Changed) -> None:
            raise ValueError("never")

    domain.register(Ordered, Changed)
    with Runtime.ephemeral(domain, clock=clock) as runtime:
        send(runtime, Ordered("o1"), Ordered("o1"), Ordered("o1"), Changed("o1"))
        first, *_ = runtime.parked()
        runtime.skip(first.id)
        assert len(list(runtime.parked())) == 2
        runtime.end(Once, "o1", reason="enough")
        assert list(runtime.parked()) == []
        decisions = [one.decision for one in runtime.parked(decided=True)]
        assert decisions == ["skip", "end", "end"]
        assert runtime.verify() == []


def test_a_parked_timeout_is_decided_and_gone(clock: VirtualClock) -> None:
    domain = Domain("late")

    @domain.register
    class Billing(ProcessManager, correlate="order"):
        order: str = ""

        @handle(Ordered, start=True)
        def on_ordered(self, event: Ordered) -> None:
            self.set_timeout("due", DAY)

        @timeout("due")
        def on_due(self) -> None:
            raise ValueError("never")

    domain.register(Ordered)
    with Runtime.ephemeral(domain, clock=clock) as runtime:
        send(runtime, Ordered("o1"))
        clock.advance(2 * DAY)
        runtime.settle(timeout=10)
        assert [one.cause for one in runtime.parked()] == ["timeout:due"]
        runtime.end(Billing, "o1", reason="enough")
        runtime.settle(timeout=10)
        assert (list(runtime.parked()), list(runtime.timeouts())) == ([], [])
        assert runtime.verify() == []


def test_an_operator_who_saw_another_version_is_told_and_nothing_is_done(runtime: Runtime) -> None:
    send(runtime, Ordered("o1"))
    seen = view_of(runtime).version
    send(runtime, Changed("o1"))
    with pytest.raises(MovedOn, match="is at version 2, and not at 1 any more") as caught:
        runtime.end(Order, "o1", reason="fraud", version=seen)
    assert (caught.value.expected, caught.value.version) == (1, 2)
    assert view_of(runtime).status == "running"
    assert runtime.end(Order, "o1", reason="fraud", version=2) == 3


def test_of_two_operators_who_end_one_instance_one_is_told_that_the_other_did(
    runtime: Runtime,
) -> None:
    send(runtime, Ordered("o1"))
    outcomes: list[object] = []

    def end(by: str) -> None:
        try:
            outcomes.append(runtime.end(Order, "o1", reason="fraud", by=by))
        except AlreadyEnded as error:
            outcomes.append(error.by)

    threads = [threading.Thread(target=end, args=(by,)) for by in ("ann", "bob")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winner = list(runtime.history(Order, "o1"))[1].by
    assert outcomes.count(2) == 1
    assert winner in {"ann", "bob"}
    assert winner in outcomes
    with pytest.raises(AlreadyEnded, match=f"was ended by {winner} already"):
        runtime.end(Order, "o1", reason="fraud", version=1)


def test_an_operator_who_ends_and_one_who_skips_at_once_leave_one_decision(
    runtime: Runtime,
) -> None:
    orders = [f"o{number}" for number in range(20)]
    for order in orders:
        send(runtime, Ordered(order), Changed(order, fail=True))
    told: dict[tuple[str, str], object] = {}

    def decide(call: str, order: str, number: int) -> None:
        try:
            if call == "end":
                told[call, order] = runtime.end(Order, order, reason="fraud", compensate=False)
            else:
                runtime.skip(number)
                told[call, order] = None
        except AlreadyDecided as error:
            told[call, order] = error.decision

    threads = [
        threading.Thread(target=decide, args=(call, one.instance, one.id))
        for one in runtime.parked()
        for call in ("end", "skip")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    runtime.settle(timeout=10)
    decisions = {one.instance: one.decision for one in runtime.parked(decided=True)}
    for order in orders:
        assert view_of(runtime, order).status == "complete"
        assert told["end", order] == 2
        assert told["skip", order] == (None if decisions[order] == "skip" else "end")


def test_what_ended_by_itself_or_never_was_is_not_ended(runtime: Runtime) -> None:
    with pytest.raises(UnknownInstance, match="has no instance 'o1' that has started"):
        runtime.end(Order, "o1", reason="fraud")
    send(runtime, Ordered("o1"))
    for reason in ("", 7, "x" * 10_001, "\ud800"):
        with pytest.raises(InvalidMessage, match="says nothing that can be recorded"):
            runtime.end(Order, "o1", reason=reason)  # type: ignore[arg-type]
    for version in (0, True, "1"):
        with pytest.raises(InvalidMessage, match="is no version of an instance"):
            runtime.end(Order, "o1", reason="fraud", version=version)  # type: ignore[arg-type]
    assert view_of(runtime).version == 1


def test_an_end_outlives_a_restart_and_a_rebuild(tmp_path: Path, clock: VirtualClock) -> None:
    with Runtime(tmp_path, shop, clock=clock) as runtime:
        send(runtime, Ordered("o1"), Changed("o1"))
        runtime.end(Order, "o1", reason="a: fraud", by="ann: of the desk")
        runtime.settle(timeout=10)
    with Runtime(tmp_path, shop, clock=clock) as runtime:
        before = view_of(runtime)
        assert before.status == "complete"
        for since in (None, "origin"):
            assert runtime.refresh(Order, "o1", since=since) == 1
            assert view_of(runtime).state == before.state
            assert view_of(runtime).is_complete
        assert len([one for one in runtime.events() if isinstance(one.event, Refunded)]) == 1
        assert runtime.verify() == []


def test_a_trace_shows_who_ended_it_and_what_that_issued(runtime: Runtime) -> None:
    send(runtime, Ordered("o1"))
    runtime.end(Order, "o1", reason="fraud", by="ann")
    runtime.settle(timeout=10)
    (refunded,) = [one for one in runtime.events() if isinstance(one.event, Refunded)]
    for event_id in (refunded.event_id, next(iter(runtime.events())).event_id):
        shown = str(runtime.trace(event_id))
        assert "transition shop.Order-o1@2 (ended) - ended by ann: fraud" in shown
        assert f"({refunded.event_id})" in shown


def test_one_that_is_started_again_after_an_end_is_another_run(clock: VirtualClock) -> None:
    domain = Domain("again")

    @domain.register
    class Again(ProcessManager, correlate="order", restart=True):
        order: str = ""
        changes: int = 0

        @handle(Ordered, start=True)
        def on_ordered(self, event: Ordered) -> None:
            self.changes += 1

    domain.register(Ordered)
    with Runtime.ephemeral(domain, clock=clock) as runtime:
        send(runtime, Ordered("o1"), Ordered("o1"))
        runtime.end(Again, "o1", reason="enough")
        send(runtime, Ordered("o1"))
        view = runtime.get(Again, "o1")
        assert view is not None
        assert (view.status, view.state["changes"]) == ("running", 1)
        assert runtime.verify() == []


def test_the_mark_is_checked_when_the_class_is_registered() -> None:
    domain = Domain("marks")

    class Wrong(ProcessManager, correlate="order"):
        order: str = ""

        @handle(Ordered, start=True)
        def on_ordered(self, event: Ordered) -> None:
            pass

        @ended
        def over(self) -> None:
            pass

    with pytest.raises(DefinitionError, match=r"is called as over\(self, reason\)"):
        domain.register(Wrong)

    class Twice(ProcessManager, correlate="order"):
        order: str = ""

        @handle(Ordered, start=True)
        def on_ordered(self, event: Ordered) -> None:
            pass

        @ended
        def over(self, reason: str) -> None:
            pass

        @ended
        def gone(self, reason: str) -> None:
            pass

    with pytest.raises(DefinitionError, match="over and gone are both @ended"):
        domain.register(Twice)

    class Stateless(ProcessManager, stateless=True):
        @handle(Ordered)
        def on_ordered(self, event: Ordered) -> None:
            pass

        @ended
        def over(self, reason: str) -> None:
            pass

    with pytest.raises(DefinitionError, match="is stateless, and has @ended"):
        domain.register(Stateless)

    class Counter(Aggregate, identity="order"):
        @handle(Reserve)
        def reserve(self, command: Reserve) -> None:
            pass

        @ended
        def over(self, reason: str) -> None:
            pass

    with pytest.raises(DefinitionError, match="@ended belongs to process managers"):
        domain.register(Counter)

    with pytest.raises(DefinitionError, match="stands above @staticmethod"):

        class Static(ProcessManager, correlate="order"):
            @ended
            @staticmethod
            def over(reason: str) -> None:
                pass
