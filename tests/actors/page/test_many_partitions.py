"""The page of many partitions: what a look costs grows as they do, and what is said does not."""

from __future__ import annotations

import re
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from starlette.requests import Request

from procession import Page, Runtime
from procession.control.face import Face
from procession.control.following import Following
from procession.control.log import events
from procession.page import pages
from procession.page.folding import folded_projections
from procession.store.lmdb.engine import LmdbEngine
from procession.testing import VirtualClock
from tests.actors.control.service import short_folder
from tests.actors.control.shop import PlaceOrder, shop
from tests.actors.engine.test_pruning import DAY, Place, Shipped
from tests.actors.engine.test_pruning import shop as retained
from tests.actors.page.visiting import Guest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

FEW, MANY = 4, 16
EACH = 6
"""Orders that go wrong, for each partition; as many wait."""


@contextmanager
def opened(partitions: int) -> Iterator[Runtime]:
    page = Page(address="http://127.0.0.1:0", token=None)
    with (
        short_folder() as folder,
        Runtime(folder / "store", shop, partitions=partitions, control=page) as runtime,
    ):
        names = [
            f"{kind}{number}" for number in range(EACH * partitions) for kind in ("bad", "open")
        ]
        runtime.tell_many([PlaceOrder(order_id=name, amount=7) for name in names])
        runtime.settle(timeout=60)
        yield runtime


@pytest.fixture(scope="module")
def few() -> Iterator[Runtime]:
    with opened(FEW) as runtime:
        yield runtime


@pytest.fixture(scope="module")
def many() -> Iterator[Runtime]:
    with opened(MANY) as runtime:
        yield runtime


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What this thread reads of the files: each is a transaction."""
    found: list[str] = []
    here = threading.current_thread()

    def count(name: str) -> None:
        whole = getattr(LmdbEngine, name)

        def counted(engine: LmdbEngine, *given: Any, **named: Any) -> Any:
            if threading.current_thread() is here:
                found.append(name)
            return whole(engine, *given, **named)

        monkeypatch.setattr(LmdbEngine, name, counted)

    for name in ("get_many", "range", "newest"):
        count(name)
    return found


def look(path: str, query: str = "") -> Callable[[Face], object]:
    show = getattr(pages, f"_{path}")
    request = Request({"type": "http", "query_string": query.encode(), "headers": []})
    return lambda face: show(face, request)


@pytest.mark.parametrize(
    ("call", "most"),
    [
        pytest.param(look("overview"), 14, id="overview"),
        pytest.param(look("partitions"), 9, id="partitions"),
        pytest.param(look("graph"), 7, id="design"),
        pytest.param(look("parked"), 1, id="parked"),
        pytest.param(look("tail"), 6, id="tail"),
        pytest.param(lambda face: list(Following(face, last=10).rows()), 5, id="rows of a tail"),
        pytest.param(lambda face: list(events(face, limit=10)), 5, id="newest events"),
    ],
)
def test_a_look_reads_as_often_for_each_partition_however_many_there_are(
    few: Runtime, many: Runtime, reads: list[str], call: Callable[[Face], object], most: int
) -> None:
    counts: dict[int, int] = {}
    for partitions, runtime in ((FEW, few), (MANY, many)):
        face = Face(runtime)
        reads.clear()
        call(face)
        counts[partitions] = len(reads)
    assert 0 < counts[MANY] <= counts[FEW] + most * (MANY - FEW)


def test_the_newest_rows_are_those_of_all_partitions_together(many: Runtime) -> None:
    every = list(Following(Face(many), last=10_000).rows())
    assert len(every) == 3 * EACH * MANY
    for last in (1, 2, 40, len(every)):
        newest = list(Following(Face(many), last=last).rows())
        assert newest == every[-last:]
        told = [(one["partition"], one["position"]) for one in events(Face(many), limit=last)]
        assert told == [(one["partition"], one["position"]) for one in newest]
    kinds: Any = ["event", "transition", "parked"]
    rows = list(Following(Face(many), kinds=kinds, last=7).rows())
    assert sorted(one["kind"] for one in rows) == sorted(kinds * 7)


def test_the_overview_is_as_long_for_many_partitions(few: Runtime, many: Runtime) -> None:
    def parts(runtime: Runtime) -> tuple[int, int]:
        assert runtime.page_url is not None
        text = Guest(runtime.page_url).get("/").text
        assert "Not healthy" in text
        return text.count("<tr"), text.count("<li")

    assert parts(few) == parts(many)


def test_partitions_that_are_behind_or_have_problems_are_shown_first(
    many: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def numbers(**query: object) -> list[str]:
        assert many.page_url is not None
        text = Guest(many.page_url).get("/partitions", **query).text
        assert f"<dd>{3 * EACH * MANY}</dd>" in text
        return re.findall(r'<th scope="row">(\d+)<', text)

    assert numbers() == [str(one) for one in range(MANY)]
    monkeypatch.setattr(pages, "LIMIT", 3)
    assert len(numbers()) == 3
    assert numbers(all=1) == [str(one) for one in range(MANY)]


def test_a_projection_is_one_row_with_the_sums_of_its_partitions() -> None:
    def row(partition: int, oldest: str | None, problem: str | None) -> dict[str, Any]:
        return {
            "partition": partition,
            "projection": "Totals",
            "position": 10,
            "backlog": partition,
            "oldest": oldest,
            "streams_held": 1,
            "problem": problem,
        }

    [whole] = folded_projections(
        [row(1, "b", None), row(2, "a", "the database"), row(3, None, "x")]
    )
    assert (whole["position"], whole["backlog"], whole["streams_held"]) == (30, 6, 3)
    assert (whole["oldest"], whole["problem"]) == ("a", "the database")


def test_the_newest_events_of_partitions_that_were_pruned_are_those_that_are_left(
    tmp_path: Path,
) -> None:
    clock = VirtualClock()
    with Runtime(tmp_path / "s", retained(), clock=clock, control=False, partitions=2) as runtime:
        for number in range(8):
            runtime.tell(Place(order_id=f"o{number}"))
            runtime.publish(Shipped(order_id=f"o{number}"), stream="post-1")
        runtime.settle(timeout=30)
        clock.advance(30 * DAY)
        runtime.prune(before=clock.now())
        for number in range(8, 12):
            runtime.tell(Place(order_id=f"o{number}"))
        runtime.settle(timeout=30)
        left = sorted(event.event_id for event in runtime.events())
        assert sorted(one["event_id"] for one in events(Face(runtime), limit=100)) == left
