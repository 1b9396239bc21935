"""Chains: the ids that go through them, what a handler knows of them, and `trace`."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest

from procession import (
    Aggregate,
    Command,
    Context,
    Domain,
    Event,
    ProcessManager,
    Rejected,
    Retry,
    Runtime,
    TraceNode,
    UnknownMessage,
    handle,
    rejected,
    timeout,
)
from procession.store.lmdb.engine import LmdbEngine
from procession.testing import VirtualClock

shop = Domain("shop")


class Place(Command):
    order: str
    amount: int


class Placed(Event):
    order: str
    amount: int


class Noted(Event):
    order: str


class Pay(Command):
    order: str
    amount: int


class Paid(Event):
    order: str


class Ship(Command):
    order: str


class Shipped(Event):
    order: str


class Cancel(Command):
    order: str


class Cancelled(Event):
    order: str


@shop.register
class Order(Aggregate, identity="order"):
    @handle(Place)
    def place(self, command: Place) -> Any:
        yield Placed(self.id, command.amount)
        yield Noted(self.id)

    @handle(Cancel)
    def cancel(self, command: Cancel) -> Cancelled:
        return Cancelled(self.id)


@shop.register
class Payment(Aggregate, identity="order"):
    @handle(Pay)
    def pay(self, command: Pay) -> Paid | None:
        if command.amount < 0:
            raise Rejected("negative")
        # Nothing: the payment is never heard of again.
        return Paid(self.id) if command.amount else None


@shop.register
class Shipment(Aggregate, identity="order"):
    @handle(Ship)
    def ship(self, command: Ship) -> Shipped:
        return Shipped(self.id)


@shop.register
class Fulfilment(ProcessManager, correlate="order", retry=Retry(attempts=2)):
    order: str = ""
    reminders: int = 0

    contexts: ClassVar[list[Context]] = []
    failures: ClassVar[list[str]] = []

    def note(self) -> None:
        self.contexts.append(self.context)
        if self.context.event_id in self.failures:
            self.failures.remove(self.context.event_id)
            raise ValueError("once")

    @handle(Placed, start=True)
    def placed(self, event: Placed) -> None:
        self.note()
        self.issue(Pay(self.order, event.amount))
        self.set_timeout("remind", timedelta(minutes=10))
        self.set_timeout("give up", timedelta(minutes=25))

    @handle(Paid)
    def paid(self, event: Paid) -> None:
        self.note()
        self.issue(Ship(self.order))

    @handle(Shipped, end=True)
    def shipped(self, event: Shipped) -> None:
        self.note()

    @timeout("remind")
    def remind(self) -> None:
        self.note()
        self.reminders += 1
        self.set_timeout("remind", timedelta(minutes=10))

    @timeout("give up")
    def give_up(self) -> None:
        self.note()
        self.issue(Cancel(self.order))
        self.mark_as_complete()

    @rejected(Pay)
    def refused(self, command: Pay, reason: str) -> None:
        self.note()
        self.issue(Cancel(self.order))
        self.mark_as_complete()


@pytest.fixture(autouse=True)
def no_contexts() -> Iterator[None]:
    Fulfilment.contexts.clear()
    Fulfilment.failures.clear()
    yield
    Fulfilment.contexts.clear()


@pytest.fixture
def runtime(clock: VirtualClock) -> Iterator[Runtime]:
    with Runtime.ephemeral(shop, clock=clock) as runtime:
        yield runtime


def lines(node: TraceNode) -> list[str]:
    return str(node).splitlines()


def found(runtime: Runtime, kind: type[Event]) -> Any:
    return next(one for one in runtime.events() if isinstance(one.event, kind))


def test_one_correlation_id_goes_through_a_chain_and_causation_points_at_the_direct_cause(
    runtime: Runtime,
) -> None:
    command_id = runtime.tell(Place("o1", 5))
    runtime.settle(timeout=10)
    events = {type(one.event): one for one in runtime.events()}
    assert {one.correlation_id for one in events.values()} == {command_id}
    assert events[Placed].causation_id == events[Noted].causation_id == command_id
    steps = list(runtime.history(Fulfilment, "o1"))
    assert {one.correlation_id for one in steps} == {command_id}
    placed, paid, shipped = events[Placed], events[Paid], events[Shipped]
    assert [one.cause for one in steps] == [placed.event_id, paid.event_id, shipped.event_id]
    assert paid.causation_id == "shop.Fulfilment-o1@1.0"
    assert shipped.causation_id == "shop.Fulfilment-o1@2.0"


def test_a_handler_knows_where_its_event_came_from(runtime: Runtime, clock: VirtualClock) -> None:
    position = runtime.publish(
        Placed("o1", 5), stream="outside-1", event_id="e-1", headers={"user": "ann"}
    )
    runtime.settle(timeout=10)
    first, second, _ = Fulfilment.contexts
    assert first == Context(
        event_id="e-1",
        type="shop.Placed.v1",
        stream="outside-1",
        position=position,
        time=clock.now(),
        now=clock.now(),
        correlation_id="e-1",
        causation_id=None,
        headers={"user": "ann"},
        attempt=1,
        refreshing=False,
    )
    paid = found(runtime, Paid)
    assert second.event_id == paid.event_id
    assert second.causation_id == paid.causation_id == "shop.Fulfilment-o1@1.0"
    assert second.correlation_id == "e-1"
    assert (second.headers, second.stream) == ({"user": "ann"}, "shop::payment-o1")


def test_a_handler_knows_which_attempt_it_is(runtime: Runtime, clock: VirtualClock) -> None:
    Fulfilment.failures.append("e-1")
    runtime.publish(Placed("o1", 5), stream="outside-1", event_id="e-1")
    runtime.settle(timeout=10)
    clock.advance(timedelta(seconds=1))
    runtime.settle(timeout=10)
    assert [one.attempt for one in Fulfilment.contexts] == [1, 2, 1, 1]


def test_a_timeout_belongs_to_the_chain_and_what_it_issues_names_it(
    runtime: Runtime, clock: VirtualClock
) -> None:
    command_id = runtime.tell(Place("o1", 0))
    runtime.settle(timeout=10)
    start = clock.now()
    for _ in range(3):
        clock.advance(timedelta(minutes=10))
        runtime.settle(timeout=10)
    reminded = Fulfilment.contexts[1]
    assert (reminded.event_id, reminded.type) == ("timeout:remind", "timeout")
    assert reminded.time == start + timedelta(minutes=10)
    assert {one.correlation_id for one in Fulfilment.contexts} == {command_id}
    cancelled = found(runtime, Cancelled)
    assert cancelled.correlation_id == command_id
    assert cancelled.causation_id == "shop.Fulfilment-o1@4.0"
    assert [one.cause for one in runtime.history(Fulfilment, "o1")][1:] == [
        "timeout:remind",
        "timeout:remind",
        "timeout:give up",
    ]


def test_a_refusal_belongs_to_the_chain_and_its_context_is_of_the_refused_command(
    runtime: Runtime, clock: VirtualClock
) -> None:
    command_id = runtime.tell(Place("o1", -1))
    runtime.settle(timeout=10)
    context = Fulfilment.contexts[1]
    assert (context.event_id, context.type) == ("shop.Fulfilment-o1@1.0", "shop.Pay.v1")
    assert context.causation_id == found(runtime, Placed).event_id
    assert context.time == clock.now()
    assert context.correlation_id == command_id
    assert found(runtime, Cancelled).correlation_id == command_id
    assert found(runtime, Cancelled).causation_id == "shop.Fulfilment-o1@2.0"


def test_a_trace_is_the_whole_tree_from_whichever_event_it_is_asked(runtime: Runtime) -> None:
    command_id = runtime.tell(Place("o1", 5))
    runtime.tell(Place("other", 5))
    runtime.settle(timeout=10)
    tree = runtime.trace(command_id)
    mine = [one for one in runtime.events() if one.correlation_id == command_id]
    assert len(mine) == 4
    assert all(runtime.trace(one.event_id) == tree for one in mine)
    positions = {type(one.event): one.position for one in mine}
    assert lines(tree) == [
        f"command {command_id}",
        f"  event shop.Placed.v1 (shop::order-o1@1) at {positions[Placed]}",
        "    transition shop.Fulfilment-o1@1 (placed)",
        "      command shop.Pay.v1 (shop.Fulfilment-o1@1.0)",
        f"        event shop.Paid.v1 (shop::payment-o1@1) at {positions[Paid]}",
        "          transition shop.Fulfilment-o1@2 (paid)",
        "            command shop.Ship.v1 (shop.Fulfilment-o1@2.0)",
        f"              event shop.Shipped.v1 (shop::shipment-o1@1) at {positions[Shipped]}",
        "                transition shop.Fulfilment-o1@3 (shipped)",
        f"  event shop.Noted.v1 (shop::order-o1@2) at {positions[Noted]}",
    ]


def test_the_nodes_of_a_trace_say_what_they_are(runtime: Runtime, clock: VirtualClock) -> None:
    runtime.publish(Placed("o1", 5), stream="outside-1", event_id="e-1")
    runtime.settle(timeout=10)
    root = runtime.trace(found(runtime, Shipped).event_id)
    assert (root.kind, root.id, root.type) == ("event", "e-1", "shop.Placed.v1")
    assert (root.position, root.time, root.process) == (1, clock.now(), None)
    (step,) = root.children
    assert (step.kind, step.type, step.position) == ("transition", "placed", None)
    assert (step.process, step.instance, step.time) == ("shop.Fulfilment", "o1", clock.now())
    (command,) = step.children
    assert (command.kind, command.type) == ("command", "shop.Pay.v1")
    assert (command.process, command.instance) == ("shop.Fulfilment", "o1")
    assert [node.kind for _, node in root.walk()].count("event") == 3
    assert repr(root) == "<TraceNode event shop.Placed.v1 (e-1) at 1, 1 children>"


def test_a_trace_shows_timeouts_below_what_set_them(runtime: Runtime, clock: VirtualClock) -> None:
    command_id = runtime.tell(Place("o1", 0))
    runtime.settle(timeout=10)
    for _ in range(3):
        clock.advance(timedelta(minutes=10))
        runtime.settle(timeout=10)
    assert lines(runtime.trace(found(runtime, Cancelled).event_id)) == [
        f"command {command_id}",
        "  event shop.Placed.v1 (shop::order-o1@1) at 1",
        "    transition shop.Fulfilment-o1@1 (placed)",
        "      command shop.Pay.v1 (shop.Fulfilment-o1@1.0)",
        "      transition shop.Fulfilment-o1@2 (remind) - timeout remind",
        "        transition shop.Fulfilment-o1@3 (remind) - timeout remind",
        "      transition shop.Fulfilment-o1@4 (give_up) - timeout give up",
        "        command shop.Cancel.v1 (shop.Fulfilment-o1@4.0)",
        "          event shop.Cancelled.v1 (shop::order-o1@3) at 3",
        "  event shop.Noted.v1 (shop::order-o1@2) at 2",
    ]


def test_a_trace_shows_refusals_below_what_was_refused(runtime: Runtime) -> None:
    command_id = runtime.tell(Place("o1", -1))
    runtime.settle(timeout=10)
    assert lines(runtime.trace(found(runtime, Cancelled).event_id)) == [
        f"command {command_id}",
        "  event shop.Placed.v1 (shop::order-o1@1) at 1",
        "    transition shop.Fulfilment-o1@1 (placed)",
        "      command shop.Pay.v1 (shop.Fulfilment-o1@1.0) - refused: negative",
        "        transition shop.Fulfilment-o1@2 (refused) - negative",
        "          command shop.Cancel.v1 (shop.Fulfilment-o1@2.0)",
        "            event shop.Cancelled.v1 (shop::order-o1@3) at 3",
        "  event shop.Noted.v1 (shop::order-o1@2) at 2",
    ]


def test_a_trace_works_beside_the_writer_and_with_classes_missing(
    tmp_path: Path, clock: VirtualClock
) -> None:
    with Runtime(tmp_path, shop, clock=clock, durability="none") as runtime:
        runtime.tell(Place("o1", 5))
        runtime.settle(timeout=10)
        whole = runtime.trace("shop::payment-o1@1")
        with Runtime(tmp_path, shop, read_only=True) as reader:
            assert reader.trace("shop::payment-o1@1") == whole
    with Runtime(tmp_path, Domain("nothing"), read_only=True) as reader:
        # The way up is in the ids, and what issued commands made is searched for in the log.
        kinds = [node.type for _, node in reader.trace("shop::payment-o1@1").walk()]
        assert kinds == [
            "",
            "shop.Placed.v1",
            "placed",
            "shop.Pay.v1",
            "shop.Paid.v1",
            "shop.Noted.v1",
        ]


def test_a_command_id_that_looks_like_an_issued_one_is_still_from_outside(
    runtime: Runtime,
) -> None:
    runtime.tell(Place("o1", 5), command_id="shop.Fulfilment-o1@1.7")
    runtime.settle(timeout=10)
    tree = runtime.trace("shop::order-o1@2")
    assert (tree.kind, tree.id) == ("command", "shop.Fulfilment-o1@1.7")
    assert len(list(tree.walk())) == 10


def test_a_command_that_made_nothing_is_a_trace_of_its_own(runtime: Runtime) -> None:
    runtime.tell(Pay("o1", -5), command_id="c-1")
    runtime.settle(timeout=10)
    assert str(runtime.trace("c-1")) == "command c-1 - refused: negative"


def test_an_id_of_nothing_is_refused(runtime: Runtime) -> None:
    with pytest.raises(UnknownMessage, match="no event has the id 'nothing'"):
        runtime.trace("nothing")


def test_a_chain_is_put_together_without_reading_the_rest_of_the_log(runtime: Runtime) -> None:
    runtime.tell_many([Place(f"o{number}", 5) for number in range(500)])
    runtime.settle(timeout=30)
    rows = 0

    def counted(real: Any) -> Any:
        def read(*args: Any, **options: Any) -> Any:
            nonlocal rows
            page = real(*args, **options)
            rows += len(page)
            return page

        return read

    with pytest.MonkeyPatch.context() as patch:
        for name in ("get_many", "range"):
            patch.setattr(LmdbEngine, name, counted(getattr(LmdbEngine, name)))
        assert len(list(runtime.trace("shop::payment-o250@1").walk())) == 10
    # Of more than 5,000.
    assert 0 < rows < 100


class Ping(Command):
    id: str
    left: int


class Pinged(Event):
    id: str
    left: int


def test_a_trace_may_be_longer_than_python_can_nest_calls() -> None:
    echoes = Domain("echoes")

    @echoes.register
    class Wall(Aggregate, identity="id"):
        @handle(Ping)
        def ping(self, command: Ping) -> Pinged:
            return Pinged(self.id, command.left)

    @echoes.register
    class Echo(ProcessManager, correlate="id"):
        @handle(Pinged, start=True)
        def pinged(self, event: Pinged) -> None:
            if event.left:
                self.issue(Ping(self.id, event.left - 1))

    with Runtime.ephemeral(echoes) as runtime:
        runtime.publish(Pinged("a", 600), stream="echoes::yard-a")
        runtime.settle(timeout=30)
        tree = runtime.trace("echoes::wall-a@300")
        assert len(list(tree.walk())) == 601 * 3 - 1
        assert len(lines(tree)) == 601 * 3 - 1
