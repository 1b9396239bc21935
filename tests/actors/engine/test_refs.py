"""References: actors as a Pykka user knows them."""

from collections.abc import Iterator
from pathlib import Path
from threading import Event as Flag
from typing import Any

import pykka
import pytest

from procession import (
    Aggregate,
    Command,
    Domain,
    Event,
    InvalidMessage,
    ProcessManager,
    Runtime,
    UnknownMessage,
    apply,
    handle,
)
from procession.clock import SystemClock
from procession.core.stimuli import Reload
from procession.engine.aggregate_actor import AggregateActor
from procession.engine.engine import Engine, Options, Parts
from procession.engine.instance_actor import InstanceActor, InstanceMessage
from procession.engine.router import Router
from procession.model.registry import Registry
from procession.store import LmdbStore

WAIT = 30

shop = Domain("refs")


class Place(Command):
    order: str


class Weigh(Command):
    order: str


class Placed(Event):
    order: str
    number: int


entered, release = Flag(), Flag()


@shop.register
class Order(Aggregate, identity="order"):
    count: int = 0

    @handle(Place)
    def place(self, command: Place) -> Placed:
        if self.id == "slow":
            entered.set()
            assert release.wait(WAIT)
        return Placed(self.id, self.count + 1)

    @apply(Placed)
    def _placed(self, event: Placed) -> None:
        self.count = event.number


@shop.register
class Scale(Aggregate, identity="order"):
    @handle(Weigh)
    def weigh(self, command: Weigh) -> None: ...


@shop.register
class Handling(ProcessManager, correlate="order"):
    seen: list[int] = []

    @handle(Placed, start=True)
    def on_placed(self, event: Placed) -> None:
        self.seen.append(event.number)


@pytest.fixture
def runtime() -> Iterator[Runtime]:
    entered.clear()
    release.clear()
    with Runtime.ephemeral(shop) as running:
        yield running
        release.set()


def test_an_aggregates_reference_takes_its_commands(runtime: Runtime) -> None:
    order = runtime.ref(Order, "a")
    assert isinstance(order, pykka.ActorRef)
    assert order.ask(Place("a")) == [Placed("a", 1)]
    assert order.ask(Place("a"), block=False).get(timeout=WAIT) == [Placed("a", 2)]
    order.tell(Place("a"))
    runtime.settle(timeout=WAIT)
    view = runtime.get(Order, "a")
    assert view is not None
    assert view.version == 3


def test_a_reference_tells_whether_its_actor_is_awake(runtime: Runtime) -> None:
    order, handling = runtime.ref(Order, "a"), runtime.ref(Handling, "a")
    assert not order.is_alive()
    order.ask(Place("a"))
    runtime.settle(timeout=WAIT)
    assert order.is_alive()
    assert handling.is_alive()


def test_stop_passivates_and_nothing_is_lost(runtime: Runtime) -> None:
    order, handling = runtime.ref(Order, "a"), runtime.ref(Handling, "a")
    order.ask(Place("a"))
    runtime.settle(timeout=WAIT)
    assert order.stop(timeout=WAIT) is True
    assert handling.stop(timeout=WAIT) is True
    assert not order.is_alive()
    assert not handling.is_alive()
    assert order.ask(Place("a")) == [Placed("a", 2)]
    runtime.settle(timeout=WAIT)
    view = runtime.get(Handling, "a")
    assert view is not None
    assert view.state["seen"] == [1, 2]


def test_stop_says_that_the_actor_was_asleep_already(runtime: Runtime) -> None:
    assert runtime.ref(Order, "a").stop(timeout=WAIT) is False
    assert runtime.ref(Handling, "a").stop(block=False).get(timeout=WAIT) is False


def test_stop_waits_for_what_the_actor_has_in_hand(runtime: Runtime) -> None:
    order = runtime.ref(Order, "slow")
    answer = order.ask(Place("slow"), block=False)
    assert entered.wait(WAIT)
    stopped = order.stop(block=False)
    with pytest.raises(pykka.Timeout):
        stopped.get(timeout=0.01)
    release.set()
    assert answer.get(timeout=WAIT) == [Placed("slow", 1)]
    assert stopped.get(timeout=WAIT) is True
    assert not order.is_alive()


def test_a_message_that_an_actor_does_not_take_is_refused_with_a_sentence(
    runtime: Runtime,
) -> None:
    order = runtime.ref(Order, "a")
    for call in (order.ask, order.tell):
        with pytest.raises(InvalidMessage, match=r"Order does not take Weigh.*it takes Place"):
            call(Weigh("a"))
        with pytest.raises(InvalidMessage, match=r"is for 'refs::order-b'"):
            call(Place("b"))
    instance, router = runtime.ref(Handling, "a"), runtime.ref(Handling)
    for take in (instance.ask, instance.tell):
        with pytest.raises(InvalidMessage, match=r"instance 'a' of refs\.Handling does not take"):
            take(Placed("a", 1))
    for take in (router.ask, router.tell):
        with pytest.raises(InvalidMessage, match=r"the router of refs\.Handling does not take"):
            take("anything")
    with pytest.raises(InvalidMessage, match="close the runtime"):
        router.stop()
    with pytest.raises(InvalidMessage, match="has no proxy"):
        order.proxy()
    runtime.settle(timeout=WAIT)
    assert list(runtime.events()) == []


def test_a_reference_names_the_class_of_its_actor(runtime: Runtime) -> None:
    assert runtime.ref(Order, "a").actor_class is AggregateActor
    assert runtime.ref(Handling, "a").actor_class is InstanceActor
    assert runtime.ref(Handling).actor_class is Router
    assert "refs::order-a" in str(runtime.ref(Order, "a"))


def test_a_class_that_is_not_registered_has_no_reference(runtime: Runtime) -> None:
    class Other(ProcessManager): ...

    with pytest.raises(UnknownMessage, match="Other is in no domain"):
        runtime.ref(Other, "a")


def test_no_actor_is_alive_once_the_runtime_is_closed() -> None:
    with Runtime.ephemeral(shop) as runtime:
        refs: list[pykka.ActorRef[Any]] = [
            runtime.ref(Order, "a"),
            runtime.ref(Handling, "a"),
            runtime.ref(Handling),
        ]
        runtime.ask(Place("a"))
        runtime.settle(timeout=WAIT)
        assert all(ref.is_alive() for ref in refs)
    assert not any(ref.is_alive() for ref in refs)


def test_the_hooks_of_an_actor_are_called(tmp_path: Path) -> None:
    called: list[str] = []

    class Noting(InstanceActor):
        def on_start(self) -> None:
            called.append(f"{self.instance} starts")

        def on_stop(self) -> None:
            called.append(f"{self.instance} stops")

        def on_failure(self, *error: Any) -> None:
            called.append(f"{self.instance} fails: {error[1]}")

        def hand(self, *arguments: Any) -> None:
            if self.instance == "broken":
                raise ValueError("a fault of the engine's own")
            super().hand(*arguments)

    with LmdbStore(tmp_path, durability="none") as store:
        parts = Parts(instance_actor=Noting)
        engine = Engine(store, Registry([shop]), SystemClock(), Options(), parts)
        engine.start()
        for name in ("a", "broken"):
            engine.deliver("refs.Handling", name, InstanceMessage(Reload()))
        engine.dispatcher.nudge()
        assert engine.dispatcher.wait_quiet(WAIT)
        assert called[:1] == ["a starts"]
        assert "broken fails: a fault of the engine's own" in called
        assert engine.passivate("refs.Handling", "a").get(timeout=WAIT)
        assert called[-1] == "a stops"
        engine.close(WAIT)
    assert called[-1] == "broken stops"
