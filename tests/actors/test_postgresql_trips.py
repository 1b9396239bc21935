"""How often a runtime goes to its database for many that come together: not once for each."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("psycopg")

from procession import (
    Aggregate,
    Command,
    Domain,
    Event,
    Indexed,
    ProcessManager,
    Runtime,
    StoreError,
    after,
    handle,
)
from tests.postgresql import shared_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from procession.store import StoreFinding

MANY = 300
KEYS = [f"k{number:03}" for number in range(MANY)]
WAIT = 60


class Order(Command):
    key: str


class Ordered(Event):
    key: str


class Numbered(Event):
    key: str
    number: str


class Weighed(Event):
    number: str


mill = Domain("mill")
mill.register(Numbered, Weighed)


class Spilt(Event):
    key: str


mill.register(Spilt)


@mill.register
class Sack(Aggregate, identity="key"):
    @handle(Order)
    def order(self, command: Order) -> Ordered:
        return Ordered(command.key)


@mill.register
class Milling(ProcessManager, correlate="key"):
    key: str = ""
    number: Indexed[str] = ""
    weighed: int = 0

    @handle(Ordered, start=True)
    def on_ordered(self, event: Ordered) -> None:
        self.key = event.key

    @handle(Numbered)
    def on_numbered(self, event: Numbered) -> None:
        self.number = event.number

    @handle(Weighed, correlate={"number": "number"})
    def on_weighed(self, event: Weighed) -> None:
        self.weighed += 1

    @handle(Spilt)
    def on_spilt(self, event: Spilt) -> None:
        raise ValueError(event.key)


@pytest.fixture
def url() -> str:
    return shared_server().new_url()


@pytest.fixture
def runtime(url: str) -> Iterator[Runtime]:
    with Runtime(url, mill) as one:
        yield one


def trips_of(runtime: Runtime, call: Callable[[], object]) -> int:
    engine: Any = runtime._store._engine
    before = engine.trips
    call()
    runtime.settle(timeout=WAIT)
    trips: int = engine.trips - before
    return trips


def order_all(runtime: Runtime, *, with_ids: bool = False) -> None:
    ids = (lambda one: f"id {one.key}") if with_ids else None
    runtime.tell_many([Order(key) for key in KEYS], command_id=ids)


def number_all(runtime: Runtime, *, with_ids: bool = False) -> None:
    runtime.publish_many(
        [Numbered(key, f"n{key}") for key in KEYS],
        stream=lambda event: f"mill::label-{event.key}",
        event_id=(lambda event: f"id {event.key}") if with_ids else None,
    )


def weigh_all(runtime: Runtime) -> None:
    runtime.publish_many(
        [Weighed(f"n{key}") for key in KEYS], stream=lambda event: f"mill::scale-{event.number}"
    )


@pytest.mark.parametrize("with_ids", [False, True], ids=["without ids", "with ids"])
def test_many_commands_share_their_trips(runtime: Runtime, *, with_ids: bool) -> None:
    assert trips_of(runtime, lambda: order_all(runtime, with_ids=with_ids)) < MANY / 3
    if with_ids:
        assert trips_of(runtime, lambda: order_all(runtime, with_ids=True)) < MANY / 10
    assert runtime.stats()["transitions"] == MANY


@pytest.mark.parametrize("with_ids", [False, True], ids=["without ids", "with ids"])
def test_many_events_share_their_trips(runtime: Runtime, *, with_ids: bool) -> None:
    order_all(runtime)
    runtime.settle(timeout=WAIT)
    assert trips_of(runtime, lambda: number_all(runtime, with_ids=with_ids)) < MANY / 3
    if with_ids:
        assert trips_of(runtime, lambda: number_all(runtime, with_ids=True)) < MANY / 10
    assert runtime.stats()["transitions"] == 2 * MANY


def test_many_events_that_find_their_instances_by_learnt_keys_share_their_trips(
    runtime: Runtime,
) -> None:
    order_all(runtime)
    runtime.settle(timeout=WAIT)
    number_all(runtime)
    runtime.settle(timeout=WAIT)
    assert trips_of(runtime, lambda: weigh_all(runtime)) < MANY / 3
    assert runtime.stats()["transitions"] == 3 * MANY


def test_many_aggregates_that_sleep_are_loaded_in_few_trips(url: str) -> None:
    with Runtime(url, mill) as runtime:
        order_all(runtime)
        runtime.settle(timeout=WAIT)
    with Runtime(url, mill) as runtime:
        assert trips_of(runtime, lambda: order_all(runtime)) < MANY / 3
        assert runtime.stats()["transitions"] == MANY


def scales() -> Domain:
    """An aggregate with an event for each command."""
    scale = Domain("scale")
    scale.register(Ordered)

    @scale.register
    class Scale(Aggregate, identity="key"):
        @handle(Order)
        def order(self, command: Order) -> Ordered:
            return Ordered(command.key)

    return scale


def test_an_ask_of_an_aggregate_that_sleeps_takes_three_trips(url: str) -> None:
    scale = scales()
    few, many = KEYS[:3], KEYS[3:6]
    with Runtime(url, scale) as runtime:
        for one in [*few, *many * 12]:
            runtime.ask(Order(one))
    with Runtime(url, scale) as runtime:
        # Most are like the one before: new, or there.
        runtime.ask(Order(KEYS[6]))
        runtime.ask(Order(few[-1]))

        def fewest(keys: list[str]) -> int:
            # Of several, since the runtime looks for other things from time to time.
            return min(trips_of(runtime, partial(runtime.ask, Order(one))) for one in keys)

        # What it is made of in one, or two if that is much; its events; the commit.
        assert (fewest(few[:2]), fewest(many), fewest(few)) == (3, 4, 1)


def test_a_process_that_has_the_id_of_its_order_is_looked_for_with_it(runtime: Runtime) -> None:
    def trips(key: str) -> int:
        return trips_of(runtime, partial(runtime.ask, Order(key)))

    # Of several, since the runtime looks for other things from time to time. One for the order and
    # its process, one for the commit of the order, and one for that of the process.
    assert min(trips(key) for key in KEYS[:4]) == 3
    assert runtime.stats()["transitions"] == 4


@pytest.mark.parametrize("lost", range(2, 10))
def test_an_aggregate_of_which_a_later_event_is_lost_takes_no_command_whichever_it_is(
    url: str, lost: int, findings: list[StoreFinding]
) -> None:
    scale = scales()
    with Runtime(url, scale) as runtime:
        for _ in range(10):
            runtime.ask(Order("one"))
    ids = "SELECT key, value FROM ids ORDER BY key"
    shared_server().ask(
        url,
        f"DELETE FROM ids WHERE key = (SELECT key FROM ids ORDER BY key OFFSET {lost - 1} LIMIT 1)",
    )
    before = shared_server().ask(url, ids)
    with Runtime(url, scale) as runtime:
        for _ in range(2):
            with pytest.raises(StoreError):
                runtime.ask(Order("one"))
    assert shared_server().ask(url, ids) == before
    assert findings
    findings.clear()


def test_after_effects_of_new_events_are_not_looked_up_before_they_run(url: str) -> None:
    acted: list[str] = []
    post = Domain("post")
    post.register(Numbered)

    @post.register
    class Letter(ProcessManager, correlate="key"):
        @handle(Numbered, start=True)
        def on_numbered(self, event: Numbered) -> None: ...

        @after(Numbered)
        def send(self, event: Numbered) -> None:
            acted.append(event.key)

    with Runtime(url, post) as runtime:
        # Each reads the newest state of its instance, in two trips on its own thread.
        assert trips_of(runtime, lambda: number_all(runtime)) < MANY * 3
    assert sorted(acted) == KEYS


def spill_all(runtime: Runtime) -> None:
    runtime.publish_many(
        [Spilt(key) for key in KEYS], stream=lambda event: f"mill::floor-{event.key}"
    )


def test_many_messages_that_fail_are_parked_in_few_trips(url: str) -> None:
    with Runtime(url, mill) as runtime:
        order_all(runtime)
        runtime.settle(timeout=WAIT)
        # For each it would be four, and was.
        assert trips_of(runtime, lambda: spill_all(runtime)) < MANY / 3
        assert runtime.stats()["parked"] == MANY
    with Runtime(url, mill) as runtime:
        # What is loaded is asked together what is set aside for it, of which there is some.
        runtime.tell_many([Order(f"new {key}") for key in KEYS])
        assert trips_of(runtime, lambda: runtime.settle(timeout=WAIT)) < MANY / 3


def test_after_effects_share_their_trips_once_something_is_parked(url: str) -> None:
    acted: list[str] = []
    post = Domain("post")
    post.register(Numbered, Spilt)

    @post.register
    class Letter(ProcessManager, correlate="key"):
        @handle(Numbered, start=True)
        def on_numbered(self, event: Numbered) -> None: ...

        @handle(Spilt, start=True)
        def on_spilt(self, event: Spilt) -> None:
            raise ValueError(event.key)

        @after(Numbered)
        def send(self, event: Numbered) -> None:
            acted.append(event.key)

    with Runtime(url, post) as runtime:
        runtime.publish(Spilt("one"), stream="post::floor-one")
        runtime.settle(timeout=WAIT)
        # Each reads the newest state of its instance, in two trips on its own thread.
        assert trips_of(runtime, lambda: number_all(runtime)) < MANY * 3
    assert sorted(acted) == KEYS
