"""The design with what happened on it: counts, waits, dead arrows, and ways with their shares."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from procession import (
    Aggregate,
    Command,
    Domain,
    Event,
    InvalidMessage,
    ProcessManager,
    Runtime,
    handle,
    timeout,
)
from procession.control.face import Face
from procession.control.measured import measured, part_of
from procession.page.svg import svg_of
from procession.queries.measured import SAMPLE, Part, Waits
from procession.testing import VirtualClock

if TYPE_CHECKING:
    from collections.abc import Iterator

START = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)

shop = Domain("shop")


class Ordered(Event):
    order: str


class Paid(Event):
    order: str


class Returned(Event):
    order: str


class Send(Command):
    order: str


class Sent(Event):
    order: str


@shop.register
class Parcel(Aggregate, identity="order"):
    @handle(Send)
    def send(self, command: Send) -> Sent:
        return Sent(command.order)


@shop.register
class Selling(ProcessManager, correlate="order"):
    order: str = ""

    @handle(Ordered, start=True)
    def on_ordered(self, event: Ordered) -> None:
        self.set_timeout("payment", 30 * MINUTE)

    @handle(Paid)
    def on_paid(self, event: Paid) -> None:
        self.cancel_timeout("payment")
        self.issue(Send(event.order))

    @handle(Sent, end=True)
    @handle(Returned, end=True)
    def on_over(self, event: Sent | Returned) -> None: ...

    @timeout("payment")
    def on_unpaid(self) -> None:
        self.mark_as_complete()


shop.register(Ordered, Paid, Returned)


@pytest.fixture
def sold() -> Iterator[Runtime]:
    """Three orders that are paid after 1, 2 and 3 minutes; in the next month one that is not."""
    clock = VirtualClock(START)
    with Runtime.ephemeral(shop, clock=clock) as runtime:
        for minutes in (1, 2, 3):
            order = f"o{minutes}"
            runtime.publish(Ordered(order), stream="shop::desk-1")
            runtime.settle(10)
            clock.advance(minutes * MINUTE)
            runtime.publish(Paid(order), stream="shop::desk-1")
            runtime.settle(10)
        clock.advance(timedelta(days=30))
        runtime.publish(Ordered("o9"), stream="shop::desk-1")
        runtime.settle(10)
        clock.advance(timedelta(hours=1))
        runtime.settle(10)
        yield runtime


def arrows(found: Any) -> dict[tuple[str, str], Any]:
    return {(one["from"], one["to"]): one for one in found["shop"]["arrows"]}


def test_each_arrow_has_its_count_and_the_waits_before_it(sold: Runtime) -> None:
    found = arrows(measured(Face(sold), Part()))
    paid = found["Paid", "Selling"]
    assert (paid["count"], paid["median"], paid["p95"]) == (3, 120.0, 180.0)
    assert found["Ordered", "Selling"]["count"] == 4
    assert found["Ordered", "Selling"]["median"] is None
    assert found["Selling", "Send"]["count"] == 3
    assert found["Parcel", "Sent"]["count"] == 3


def test_deadlines_that_were_set_and_struck_are_counted(sold: Runtime) -> None:
    found = arrows(measured(Face(sold), Part()))
    assert found["Selling", "timeout payment"]["count"] == 4
    struck = found["timeout payment", "Selling"]
    assert (struck["count"], struck["median"]) == (1, 1800.0)


def test_an_arrow_that_was_never_gone_is_dead_and_a_method_of_two_events_has_two(
    sold: Runtime,
) -> None:
    found = arrows(measured(Face(sold), Part()))
    assert found["Sent", "Selling"]["count"] == 3
    dead = {ends for ends, one in found.items() if one["is_dead"]}
    assert dead == {("Returned", "Selling")}


def test_ways_come_with_their_shares_the_commonest_first(sold: Runtime) -> None:
    found = measured(Face(sold), Part())["shop"]["variants"]["shop.Selling"]
    assert [(one["way"], one["count"], one["share"]) for one in found] == [
        ("on_ordered → on_paid → on_over", 3, 0.75),
        ("on_ordered → on_unpaid", 1, 0.25),
    ]


def test_two_months_stand_beside_each_other(sold: Runtime) -> None:
    middle = START + timedelta(days=20)
    found = measured(Face(sold), part_of(None, middle, None), part_of(middle, None, None))
    ordered = arrows(found)["Ordered", "Selling"]
    assert (ordered["count"], ordered["beside"]["count"]) == (3, 1)
    [common] = found["shop"]["variants"]["shop.Selling"]
    assert (common["share"], common["beside"]["share"]) == (1.0, 0.0)
    assert '|"3, 2.0 min to 3.0 min | never"|' in found["shop"]["mermaid"]


def test_it_is_drawn_as_one_svg_file_that_says_what_never_happened(sold: Runtime) -> None:
    drawn = svg_of("shop", measured(Face(sold), Part())["shop"])
    root = ET.fromstring(drawn)
    said = [one.text for one in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"Selling", "3, 2.0 min to 3.0 min", "never"} <= set(said)
    assert 'class="dead"' in drawn


def test_below_the_svg_drawing_are_the_ways_with_their_shares(sold: Runtime) -> None:
    middle = START + timedelta(days=20)
    found = measured(Face(sold), part_of(None, middle, None), part_of(middle, None, None))["shop"]
    root = ET.fromstring(svg_of("shop", found))
    texts = list(root.iter("{http://www.w3.org/2000/svg}text"))
    lowest = max(int(one.attrib["y"]) for one in texts if "way" not in one.get("class", ""))
    ways = [one for one in texts if "way" in one.get("class", "")]
    [way] = found["variants"]["shop.Selling"]
    assert [one.text for one in ways] == [
        "Ways of shop.Selling",
        f"100.0% | 0.0%, {way['count']}: {way['way']}",
    ]
    assert lowest < int(ways[0].attrib["y"]) < int(ways[1].attrib["y"])
    assert int(ways[1].attrib["y"]) < int(root.attrib["height"])
    assert len(str(ways[1].text)) < int(root.attrib["width"])


def test_a_version_of_the_code_has_its_own_figures(sold: Runtime) -> None:
    code = next(iter(sold._store.scan_codes())).number
    mine = arrows(measured(Face(sold), part_of(None, None, code)))
    others = arrows(measured(Face(sold), part_of(None, None, code + 1)))
    assert mine["Paid", "Selling"]["count"] == 3
    assert others["Paid", "Selling"]["count"] == 0


def test_a_part_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(InvalidMessage, match="is not behind since"):
        part_of(START, START, None)
    with pytest.raises(InvalidMessage, match="has no zone"):
        part_of(START.replace(tzinfo=None), None, None)


@settings(max_examples=30)
@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=60))
def test_of_few_waits_the_percentiles_are_exact(given_waits: list[int]) -> None:
    waits = Waits(("handled", "p", "h"))
    for one in given_waits:
        waits.add(one)
    ranked = sorted(given_waits)
    assert waits.percentile(0.5) == ranked[(len(ranked) + 1) // 2 - 1] / 1_000_000
    assert waits.percentile(1.0) == ranked[-1] / 1_000_000


def test_of_many_waits_a_sample_of_fixed_size_is_kept_and_is_the_same_each_time() -> None:
    def found() -> tuple[float, float, int]:
        chance, waits = Random(1), Waits(("handled", "p", "h"))
        for _ in range(20 * SAMPLE):
            waits.add(chance.randrange(1_000_000))
        median, p95 = waits.percentile(0.5), waits.percentile(0.95)
        assert median is not None
        assert p95 is not None
        return median, p95, len(waits._sample)

    median, p95, kept = found()
    assert kept == SAMPLE
    assert abs(median - 0.5) < 0.06
    assert abs(p95 - 0.95) < 0.03
    assert found() == (median, p95, kept)
