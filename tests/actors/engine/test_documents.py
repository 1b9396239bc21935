"""Documents that a projection keeps in the store: a fold of the log, with its position."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import pytest

from procession import (
    AsyncRuntime,
    DefinitionError,
    Domain,
    Event,
    InvalidMessage,
    InvalidName,
    NotProjected,
    ProcessManager,
    Projection,
    Retry,
    Runtime,
    StreamHeldUp,
    after,
    handle,
    project,
)
from procession.engine.projection_feed import ProjectionFeed
from procession.projections import Documents
from procession.store import compact, copy, verify_open
from procession.testing import VirtualClock
from tests.coding import Reversed

WAIT = 30


class Counted(Event):
    key: str
    value: int


@dataclass
class Sum:
    """One document."""

    total: int
    values: list[int] = field(default_factory=list)
    price: Decimal = Decimal("0.10")


class Shop(NamedTuple):
    """A domain with a projection, and what its handlers do."""

    domain: Domain
    sums: type[Projection]
    bad: set[int]
    seen: list[tuple[int, int]]
    """After an event: its value, and the sum that an after-effect found."""
    runtimes: list[Runtime]


def made(*, version: int = 1, **options: Any) -> Shop:
    domain = Domain("shop")
    bad: set[int] = set()
    seen: list[tuple[int, int]] = []
    runtimes: list[Runtime] = []
    domain.register(Counted)

    class Sums(Projection, name="shop.Sums", database=Documents(Sum), version=version, **options):
        factor: ClassVar[int] = version

        @project(Counted)
        def counted(self, event: Counted) -> None:
            found = self.db.get(event.key) or Sum(0)
            found.total += event.value * Sums.factor
            found.values.append(event.value)
            self.db.put(event.key, found)
            if event.value in bad:
                raise ValueError(f"{event.value} is bad")
            if event.value < 0:
                self.db.delete(event.key)

        def erase(self, kind: str, process: str, name: str) -> None:
            for key, found in self.db.items():
                if name == f"shop::sum-{key}" and found.total:
                    self.db.delete(key)

    domain.projection(Sums)

    @domain.register
    class Reader(ProcessManager, correlate="key"):
        @handle(Counted, start=True)
        def counted(self, event: Counted) -> None:
            pass

        @after(Counted)
        def read(self, event: Counted) -> None:
            found = runtimes[-1].documents(Sums).get(event.key)
            seen.append((event.value, 0 if found is None else found.total))

    return Shop(domain, Sums, bad, seen, runtimes)


@pytest.fixture
def shop() -> Shop:
    return made(retry=Retry(attempts=2, first=timedelta(seconds=10)))


@pytest.fixture
def opened(tmp_path: Path, clock: VirtualClock) -> Iterator[Callable[[Shop], Runtime]]:
    runtimes: list[Runtime] = []

    def open_it(shop: Shop) -> Runtime:
        runtime = Runtime(tmp_path / "store", shop.domain, clock=clock, durability="none")
        shop.runtimes.append(runtime)
        runtimes.append(runtime)
        return runtime

    yield open_it
    for runtime in runtimes:
        runtime.close()


def count(runtime: Runtime, *values: int, key: str = "a") -> int:
    events = [Counted(key, value) for value in values]
    return runtime.publish_many(events, stream=f"shop::sum-{key}")[-1]


def sum_of(runtime: Runtime, shop: Shop, key: str) -> Sum:
    found = runtime.documents(shop.sums).get(key)
    assert isinstance(found, Sum)
    return found


def totals(runtime: Runtime, shop: Shop) -> dict[str, int]:
    return {key: found.total for key, found in runtime.documents(shop.sums).items()}


def test_documents_are_read_by_key_and_in_order_of_their_keys(
    shop: Shop, opened: Callable[[Shop], Runtime]
) -> None:
    runtime = opened(shop)
    documents = runtime.documents(shop.sums)
    assert documents.get("a") is None
    assert list(documents.items()) == []
    count(runtime, 1, 2)
    last = [count(runtime, 10, key=key) for key in ("c", "ba", "bé", "b")][-1]
    assert runtime.read(shop.sums, after=last, timeout=WAIT) >= last
    assert documents.get("a") == Sum(3, [1, 2], Decimal("0.10"))
    assert [key for key, _ in documents.items()] == ["a", "b", "ba", "bé", "c"]
    assert [key for key, _ in documents.items("b")] == ["b", "ba", "bé"]
    assert [key for key, _ in documents.items("b", after="ba")] == ["bé"]
    assert [key for key, _ in documents.items(after="bé")] == ["c"]
    count(runtime, -1, key="b")
    runtime.read(shop.sums, timeout=WAIT)
    assert documents.get("b") is None
    assert verify_open(runtime._store).findings == []


def test_more_documents_than_a_page_are_read_in_order(
    shop: Shop, opened: Callable[[Shop], Runtime]
) -> None:
    runtime = opened(shop)
    keys = [f"k{number:04}" for number in range(600)]
    events = [Counted(key, 1) for key in keys]
    runtime.publish_many(events, stream=lambda event: f"shop::sum-{event.key}")
    runtime.read(shop.sums, timeout=WAIT)
    assert [key for key, _ in runtime.documents(shop.sums).items()] == keys


def test_a_caller_reads_what_it_wrote_and_after_effects_do(
    shop: Shop, opened: Callable[[Shop], Runtime]
) -> None:
    runtime = opened(shop)
    for number in range(1, 6):
        position = count(runtime, 1)
        assert runtime.read(shop.sums, after=position, timeout=WAIT) >= position
        assert sum_of(runtime, shop, "a").total == number
    runtime.settle(WAIT)
    assert [value for value, _ in shop.seen] == [1] * 5
    assert all(found >= number for number, (_, found) in enumerate(shop.seen, 1))


def test_a_runtime_that_is_opened_again_goes_on_and_one_that_only_reads_reads(
    tmp_path: Path, shop: Shop, opened: Callable[[Shop], Runtime]
) -> None:
    runtime = opened(shop)
    count(runtime, 1, 2)
    runtime.settle(WAIT)
    runtime.close()
    runtime = opened(shop)
    count(runtime, 4)
    runtime.settle(WAIT)
    assert totals(runtime, shop) == {"a": 7}
    with Runtime(tmp_path / "store", shop.domain, read_only=True) as reading:
        assert totals(reading, shop) == {"a": 7}


def test_what_a_failed_handler_wrote_is_undone_and_only_its_stream_waits(
    shop: Shop, opened: Callable[[Shop], Runtime], clock: VirtualClock
) -> None:
    shop.bad.update({2, 64})
    runtime = opened(shop)
    position = count(runtime, 1, 2, 4)
    count(runtime, 8, 16, key="b")
    runtime.settle(WAIT)
    assert totals(runtime, shop) == {"a": 1, "b": 24}
    clock.advance(timedelta(seconds=10))
    runtime.settle(WAIT)
    (parked,) = runtime.parked()
    with pytest.raises(StreamHeldUp):
        runtime.read(shop.sums, after=position)
    shop.bad.discard(2)
    runtime.retry(parked.id, by="ann")
    runtime.settle(WAIT)
    assert totals(runtime, shop) == {"a": 7, "b": 24}
    assert sum_of(runtime, shop, "a").values == [1, 2, 4]
    assert verify_open(runtime._store).findings == []


def test_documents_are_made_anew_beside_those_that_are_read(
    shop: Shop, opened: Callable[[Shop], Runtime], clock: VirtualClock
) -> None:
    shop.bad.add(2)
    runtime = opened(shop)
    count(runtime, 1, 2, 4)
    count(runtime, 8, key="b")
    runtime.settle(WAIT)
    clock.advance(timedelta(seconds=10))
    runtime.settle(WAIT)
    told: list[dict[str, int]] = []
    with pytest.raises(NotProjected, match="2 is bad"):
        runtime.rebuild(shop.sums)
    assert totals(runtime, shop) == {"a": 1, "b": 8}
    shop.bad.clear()
    progress = runtime.rebuild(
        shop.sums, by="ann", on_progress=lambda _: told.append(totals(runtime, shop))
    )
    assert (progress.projected, progress.position) == (4, 4)
    assert told == [{"a": 1, "b": 8}]
    assert totals(runtime, shop) == {"a": 7, "b": 8}
    runtime.settle(WAIT)
    assert not list(runtime.parked())
    count(runtime, 16)
    runtime.settle(WAIT)
    assert sum_of(runtime, shop, "a").values == [1, 2, 4, 16]
    assert verify_open(runtime._store).findings == []


def test_documents_that_are_not_read_any_more_go_little_by_little(
    shop: Shop, opened: Callable[[Shop], Runtime]
) -> None:
    runtime = opened(shop)
    events = [Counted(f"k{number}", 1) for number in range(600)]
    runtime.publish_many(events, stream=lambda event: f"shop::sum-{event.key}")
    runtime.read(shop.sums, timeout=WAIT)
    runtime.rebuild(shop.sums)
    for _ in range(3):
        runtime.read(shop.sums, after=count(runtime, 1), timeout=WAIT)
    runtime.settle(WAIT)
    (left,) = runtime._store.document_sets("shop.Sums")
    assert (left.generation, left.state) == (2, "live")
    with runtime._store.snapshot() as snapshot:
        assert snapshot.count("documents") == 601
    assert verify_open(runtime._store).findings == []


def test_documents_that_were_made_anew_before_there_were_any_are_not_taken_for_those_that_are_read(
    shop: Shop, opened: Callable[[Shop], Runtime], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(_: object) -> None:
        raise InterruptedError

    with monkeypatch.context() as patched:
        # The projection has not begun when its documents are made anew.
        patched.setattr(ProjectionFeed, "has_work", lambda _: False)
        runtime = opened(shop)
        count(runtime, 1, 2)
        with pytest.raises(InterruptedError):
            runtime.rebuild(shop.sums, on_progress=stop)
        runtime.close()
    runtime = opened(shop)
    runtime.read(shop.sums, timeout=WAIT)
    assert totals(runtime, shop) == {"a": 3}
    runtime.rebuild(shop.sums)
    assert totals(runtime, shop) == {"a": 3}
    assert verify_open(runtime._store).findings == []


def test_a_version_that_was_raised_has_them_made_anew(
    shop: Shop, opened: Callable[[Shop], Runtime]
) -> None:
    runtime = opened(shop)
    count(runtime, 1, 2)
    runtime.settle(WAIT)
    runtime.close()
    newer = made(version=10)
    runtime = opened(newer)
    runtime.settle(WAIT)
    assert totals(runtime, newer) == {"a": 30}
    count(runtime, 4)
    runtime.settle(WAIT)
    assert totals(runtime, newer) == {"a": 70}


def test_what_is_erased_goes_from_the_documents_and_from_those_beside_them(
    shop: Shop, opened: Callable[[Shop], Runtime]
) -> None:
    runtime = opened(shop)
    count(runtime, 1)
    count(runtime, 2, key="b")
    count(runtime, 64, key="c")
    runtime.settle(WAIT)

    def stop(_: object) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        runtime.rebuild(shop.sums, on_progress=stop)
    runtime.erase(stream="shop::sum-a")
    assert totals(runtime, shop) == {"b": 2, "c": 64}
    runtime.rebuild(shop.sums)
    assert totals(runtime, shop) == {"b": 2, "c": 64}
    assert verify_open(runtime._store).findings == []


def test_documents_are_awaited(tmp_path: Path) -> None:
    domain = Domain("shop")

    @domain.projection
    class Last(Projection, database=Documents(int)):
        @project(Counted)
        def counted(self, event: Counted) -> None:
            self.db.put(event.key, event.value)

    async def look() -> None:
        async with AsyncRuntime(tmp_path / "store", domain, durability="none") as runtime:
            await runtime.publish(Counted("a", 1), stream="shop::sum-a")
            await runtime.read(Last, timeout=WAIT)
            documents = runtime.documents(Last)
            assert await documents.get("a") == 1
            assert [row async for row in documents.items()] == [("a", 1)]

    asyncio.run(look())


def test_documents_are_encoded_and_copies_of_the_store_have_them(tmp_path: Path) -> None:
    domain = Domain("shop")

    @domain.projection
    class Names(Projection, database=Documents(dict[str, str])):
        @project(Counted)
        def counted(self, event: Counted) -> None:
            self.db.put(event.key, {"name": "Ann Example"})

    place, copied, small = (tmp_path / name for name in ("store", "copied", "small"))
    with Runtime(place, domain, durability="none", codec=Reversed()) as runtime:
        count(runtime, 1)
        runtime.read(Names, timeout=WAIT)
        runtime.backup(tmp_path / "backup")
        with runtime._store.stored_snapshot() as snapshot:
            [(_, raw)] = snapshot.scan("documents")
        assert b"Ann" not in raw
        assert b"elpmaxE nnA" in raw
    copy(place, copied)
    compact(place, small)
    for folder in (tmp_path / "backup", copied, small):
        with Runtime(folder, domain, read_only=True, codec=Reversed()) as beside:
            assert dict(beside.documents(Names).items()) == {"a": {"name": "Ann Example"}}


# What is refused


def test_a_document_of_another_kind_or_key_fails_its_event(tmp_path: Path) -> None:
    domain = Domain("shop")
    told: list[type[BaseException]] = []

    @domain.projection
    class Wrong(Projection, database=Documents(int)):
        @project(Counted)
        def counted(self, event: Counted) -> None:
            for key, value in (("a", "text"), ("", 1), ("x" * 500, 1), ("a\0b", 1)):
                try:
                    self.db.put(key, value)
                except (InvalidMessage, InvalidName) as error:
                    told.append(type(error))
            self.db.put("big", 1 << 40)

    with Runtime(tmp_path / "store", domain, durability="none") as runtime:
        count(runtime, 1)
        runtime.settle(WAIT)
        assert told == [InvalidMessage, InvalidName, InvalidName, InvalidName]
        assert dict(runtime.documents(Wrong).items()) == {"big": 1 << 40}
        with pytest.raises(InvalidName):
            runtime.documents(Wrong).get("")


def test_documents_have_no_tables_and_a_projection_without_them_has_none(tmp_path: Path) -> None:
    class Tabled(Projection, database=Documents(), tables=["sums"]):
        @project(Counted)
        def counted(self, event: Counted) -> None:
            pass

    domain = Domain("shop")
    with pytest.raises(DefinitionError, match="documents are in no tables"):
        domain.projection(Tabled)
    with pytest.raises(DefinitionError, match="merge="):
        Documents(merge=1)  # type: ignore[arg-type]
    with pytest.raises(DefinitionError, match="cannot be of this kind"):
        Documents(object())

    @domain.projection
    class Bare(Projection):
        @project(Counted)
        def counted(self, event: Counted) -> None:
            pass

    with (
        Runtime(tmp_path / "store", domain, durability="none") as runtime,
        pytest.raises(DefinitionError, match="keeps none in the store"),
    ):
        runtime.documents(Bare)
