"""Documents in a database to which each look is a trip: few trips, whatever handlers ask for."""

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from procession import Domain, Event, Projection, Retry, Runtime, project
from procession.projections import Documents

pytest.importorskip("psycopg")

from procession.store import DatabaseRefused
from procession.store.postgresql.connection import Call, Connection
from procession.testing import VirtualClock
from tests.postgresql import shared_server

WAIT = 60
EVENTS = 200
FEW = 40
"""Trips, however the events come to be divided into batches."""


class Counted(Event):
    key: str
    value: int


class Shop:
    """A domain with a projection, and what its handlers do."""

    def __init__(self) -> None:
        self.domain = domain = Domain("shop")
        self.bad: set[int] = set()
        shop = self

        @domain.projection
        class Sums(Projection, database=Documents(int), retry=Retry(attempts=1)):
            @project(Counted)
            def counted(self, event: Counted) -> None:
                # What is asked for second is in what was asked for first.
                number = self.db.get(f"number/{event.key}") or 0
                sums = f"sum/{event.key}/{number}"
                self.db.put(sums, (self.db.get(sums) or 0) + event.value)
                if event.value in shop.bad:
                    raise ValueError(f"{event.value} is bad")
                if event.value < 0:
                    self.db.put(f"number/{event.key}", number + 1)

            def erase(self, kind: str, process: str, name: str) -> None:
                self.db.delete("sum/a/0")

        self.sums = Sums


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture
def runtime(shop: Shop) -> Iterator[Runtime]:
    url = shared_server().new_url(without_tables=True)
    with Runtime(url, shop.domain, clock=VirtualClock()) as opened:
        opened.read(shop.sums, timeout=WAIT)
        yield opened


class Trips:
    """Those of the projection's thread, or of who makes its documents anew."""

    def __init__(self) -> None:
        self.count = 0

    def since(self) -> int:
        """How many there were since this was called last."""
        count, self.count = self.count, 0
        return count


@pytest.fixture
def trips(monkeypatch: pytest.MonkeyPatch, runtime: Runtime) -> Trips:
    found, run = Trips(), Connection.run

    def run_counted(connection: Connection, *calls: Call) -> object:
        own = threading.current_thread()
        is_projection = own.name.startswith("procession-projection")
        found.count += is_projection or own is threading.main_thread()
        return run(connection, *calls)

    monkeypatch.setattr(Connection, "run", run_counted)
    return found


def count(runtime: Runtime, shop: Shop, keys: int, value: int = 1) -> None:
    events = [Counted(f"k{number % keys}", value) for number in range(EVENTS)]
    runtime.publish_many(events, stream=lambda event: f"shop::sum-{event.key}")
    runtime.read(shop.sums, timeout=WAIT)


def documents(runtime: Runtime, shop: Shop) -> dict[str, int]:
    return dict(runtime.documents(shop.sums).items())


def test_a_batch_reads_what_its_handlers_ask_for_in_a_few_trips(
    runtime: Runtime, shop: Shop, trips: Trips
) -> None:
    trips.since()
    count(runtime, shop, EVENTS)
    assert trips.since() < FEW
    count(runtime, shop, EVENTS, -1)
    assert trips.since() < FEW
    count(runtime, shop, EVENTS, 5)
    assert trips.since() < FEW
    first = {f"sum/k{number}/0": 0 for number in range(EVENTS)}
    second = {f"sum/k{number}/1": 5 for number in range(EVENTS)}
    numbers = {f"number/k{number}": 1 for number in range(EVENTS)}
    assert documents(runtime, shop) == first | second | numbers
    trips.since()
    assert runtime.rebuild(shop.sums).projected == 3 * EVENTS
    assert trips.since() < FEW
    assert documents(runtime, shop) == first | second | numbers


def test_batches_over_the_same_keys_read_no_document_again(
    runtime: Runtime, shop: Shop, trips: Trips, monkeypatch: pytest.MonkeyPatch
) -> None:
    count(runtime, shop, 4)
    asked = list[str]()
    look = type(runtime._store).documents_at

    def noted(store: object, projection: str, generation: int, keys: list[str]) -> object:
        asked.extend(keys)
        return look(store, projection, generation, keys)  # type: ignore[arg-type]

    monkeypatch.setattr(type(runtime._store), "documents_at", noted)
    for _ in range(3):
        trips.since()
        count(runtime, shop, 4)
        assert trips.since() < FEW
    assert asked == []
    assert documents(runtime, shop) == {f"sum/k{number}/0": EVENTS for number in range(4)}


def test_a_document_that_was_erased_is_read_again(runtime: Runtime, shop: Shop) -> None:
    for expected in (1, 1):
        runtime.publish(Counted("a", 1), stream="shop::sum-a")
        runtime.read(shop.sums, timeout=WAIT)
        assert documents(runtime, shop) == {"sum/a/0": expected}
        runtime.erase(subject="ann")
        assert documents(runtime, shop) == {}


def test_a_handler_that_fails_is_found_among_those_that_are_begun_ahead(
    runtime: Runtime, shop: Shop
) -> None:
    shop.bad.add(7)
    events = [Counted(f"k{number}", number) for number in range(20)]
    runtime.publish_many(events, stream=lambda event: f"shop::sum-{event.key}")
    runtime.read(shop.sums, after=1, timeout=WAIT)
    runtime.settle(WAIT)
    (parked,) = runtime.parked()
    assert parked.instance == "shop::sum-k7"
    assert documents(runtime, shop) == {
        f"sum/k{number}/0": number for number in range(20) if number != 7
    }


@pytest.fixture
def refused(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Has the store refuse the next looks of handlers."""
    left = 0
    look = type(runtime._store).documents_at

    def refuse(store: object, projection: str, generation: int, keys: list[str]) -> object:
        nonlocal left
        if left:
            left -= 1
            raise DatabaseRefused("the database is away")
        return look(store, projection, generation, keys)  # type: ignore[arg-type]

    def begin(looks: int) -> None:
        nonlocal left
        left = looks

    monkeypatch.setattr(type(runtime._store), "documents_at", refuse)
    return begin


def test_where_the_store_cannot_be_read_nothing_is_set_aside_and_the_batch_is_tried_again(
    runtime: Runtime, shop: Shop, refused: Callable[[int], None]
) -> None:
    clock = runtime.clock
    refused(3)
    runtime.publish(Counted("a", 1), stream="shop::sum-a")
    for _ in range(3):
        runtime.settle(WAIT)
        clock.advance(timedelta(seconds=10))
    runtime.read(shop.sums, timeout=WAIT)
    assert list(runtime.parked()) == []
    assert documents(runtime, shop) == {"sum/a/0": 1}
