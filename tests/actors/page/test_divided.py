"""The page of a divided store: it shows all partitions as one store, and acts on each."""

from __future__ import annotations

import json
import re
from contextlib import ExitStack, contextmanager
from html import unescape
from typing import TYPE_CHECKING

import pytest

from procession import Page, Runtime
from procession.clock import seconds
from procession.page import pages
from procession.store.interrupts import Latch
from tests.actors.control.service import short_folder
from tests.actors.control.shop import Fulfilment, OrderPlaced, PlaceOrder, shop
from tests.actors.page.visiting import Answer, Guest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PARTITIONS = 4
BAD = [f"bad{number}" for number in range(6)]
OPEN = [f"open{number}" for number in range(6)]

NODES = 0
"""In the place of how many processes of one runtime: two nodes that share a database."""


PROCESSES = pytest.mark.parametrize(
    "processes", [1, 2, NODES], ids=["one process", "two processes", "two nodes"]
)


@contextmanager
def node_beside() -> Iterator[str]:
    """A node that has a database by itself; the address of that."""
    pytest.importorskip("psycopg")
    from tests.postgresql import shared_server  # noqa: PLC0415 - it needs the driver

    url = shared_server().new_url(without_tables=True)
    with Runtime(url, shop, partitions=PARTITIONS, control=False):
        yield url


def until(is_so: Callable[[], bool]) -> None:
    end = seconds() + 60
    while not is_so():
        assert seconds() < end
        Latch().wait(0.01)


@contextmanager
def opened(processes: int) -> Iterator[Runtime]:
    """Its instances are in all partitions."""
    page = Page(address="http://127.0.0.1:0", token=None)
    with ExitStack() as stack:
        place: str | Path
        if processes == NODES:
            place = stack.enter_context(node_beside())
        else:
            place = stack.enter_context(short_folder()) / "store"
        runtime = stack.enter_context(
            Runtime(place, shop, partitions=PARTITIONS, processes=processes or 1, control=page)
        )
        if processes == NODES:
            # The page is of a node that runs half of what it shows.
            until(lambda: len(runtime._share._owned()) == PARTITIONS // 2)  # type: ignore[attr-defined]
        for name in (*BAD, *OPEN):
            runtime.ask(PlaceOrder(order_id=name, amount=7))
        runtime.settle(timeout=30)
        yield runtime


def guest_of(runtime: Runtime) -> Guest:
    assert runtime.page_url is not None
    assert runtime.health().page is not None
    return Guest(runtime.page_url)


@pytest.fixture(scope="module")
def guest() -> Iterator[Guest]:
    """Of a runtime that no test changes."""
    with opened(1) as runtime:
        yield guest_of(runtime)


def links(page: Answer, path: str) -> list[str]:
    return [unescape(one) for one in re.findall(rf'href="({path}\?[^"]*)"', page.text)]


def ids(page: Answer) -> list[str]:
    return re.findall(r'<th scope="row"><a [^>]*>(.*?)</a>', page.text)


def followed(guest: Guest, page: Answer, path: str) -> list[str]:
    """The ids on a page, and on those that it goes on to."""
    found = ids(page)
    while link := re.search(rf'<a rel="next" href="({path}\?[^"]*)"', page.text):
        page = guest.get(unescape(link[1]))
        found += ids(page)
    return found


def test_counts_are_added_up_and_the_partitions_are_listed(guest: Guest) -> None:
    page = guest.get("/")
    row = re.findall(r"<tr>(.*?)</tr>", page.text.split("<tbody>")[1], re.DOTALL)[0]
    cells = re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL)
    said = [re.sub(r"<[^>]*>", "", one).strip() for one in cells]
    assert said[:4] == ["shop.Fulfilment", "6", "6", "0"]
    assert said[5] == "0"
    assert 'href="/partitions"' in page.text
    listed = guest.get("/partitions").text
    assert listed.count('<th scope="row">') == PARTITIONS


def test_listings_go_through_all_partitions_a_part_at_a_time(
    guest: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "LIMIT", 2)
    every = guest.get("/instances", process="Fulfilment")
    assert len(ids(every)) == 2
    assert sorted(followed(guest, every, "/instances")) == sorted([*BAD, *OPEN])
    suspended = guest.get("/instances", process="Fulfilment", status="suspended")
    assert sorted(followed(guest, suspended, "/instances")) == BAD


def test_an_instance_an_event_and_a_stream_are_found_in_their_partition(guest: Guest) -> None:
    for name in OPEN:
        page = unescape(guest.get("/instance", process="Fulfilment", id=name).text)
        assert "<strong>on_placed</strong>" in page
        assert f"/event?id=shop%3A%3Aorder-{name}%401" in page
        event = unescape(guest.get("/event", id=f"shop::order-{name}@1").text)
        assert re.search(r"at position \d+ of partition \d", event)
        assert "<strong>started</strong>" in event
        assert f"shop::order-{name}@1" in guest.get("/stream", name=f"shop::order-{name}").text


def test_a_search_finds_what_any_partition_has(guest: Guest) -> None:
    for name in OPEN:
        assert f"id={name}" in guest.get("/search", q=name).text
        assert f">{name}</a>" in guest.get("/search", q=f"card-{name}").text
        assert "/event?id=" in guest.get("/search", q=f"shop::order-{name}@1").text
        found = guest.get("/instances", process="Fulfilment", field="card", value=f"card-{name}")
        assert ids(found) == [name]
    assert sorted(ids(guest.get("/search", q="status=charging"))) == sorted([*BAD, *OPEN])


def test_timeouts_come_in_the_order_in_which_they_are_due(guest: Guest) -> None:
    page = guest.get("/timeouts", process="Fulfilment", name="payment").text
    due = re.findall(r'<time datetime="(.*?)"', page)
    assert len(due) == 12
    assert due == sorted(due)


def test_the_design_adds_up_what_waits_and_what_happened(guest: Guest) -> None:
    page = guest.get("/graph").text
    assert ">6 running<" in page
    assert ">6 parked<" in page
    assert ">12 set<" in page
    assert "There is no event." in guest.get("/backlog", process="Fulfilment").text
    assert 'class="label happened"' in guest.get("/graph?measured=1").text


def test_the_calls_below_the_page_are_those_of_the_command_line(guest: Guest) -> None:
    rows = json.loads(guest.get("/calls/partitions").text)
    assert [row["number"] for row in rows] == list(range(PARTITIONS))


@PROCESSES
def test_what_is_done_is_done_in_the_partition_that_it_is_about(processes: int) -> None:
    with opened(processes) as runtime:
        guest = guest_of(runtime)
        new_events_are_at_the_end_of_the_tail(guest, runtime)
        parked_work_is_decided_one_by_one_and_all_at_once(guest, runtime)
        an_instance_is_amended_and_ended(guest, runtime)


def new_events_are_at_the_end_of_the_tail(guest: Guest, runtime: Runtime) -> None:
    assert guest.get("/tail").text.count("shop.OrderPlaced.v1") == 12
    for number in range(PARTITIONS):
        runtime.publish(OrderPlaced(f"late{number}", 1), stream=f"shop::other-late{number}")
    runtime.settle(timeout=30)
    assert guest.get("/tail").text.count("shop.OrderPlaced.v1") == 12 + PARTITIONS


def parked_work_is_decided_one_by_one_and_all_at_once(guest: Guest, runtime: Runtime) -> None:
    [link] = links(guest.get("/parked"), "/parked/kind")
    kind = guest.get(link)
    numbers = [int(one) for one in re.findall(r'<li value="(\d+)">', kind.text)]
    assert numbers == sorted(one.id for one in runtime.parked())
    instances = {one.id: one.instance for one in runtime.parked()}
    done = guest.press(kind, f"Skip {numbers[2]}", by="ann")
    assert "skip: 1 done. By ann (as claimed)." in done.text
    runtime.settle(timeout=30)
    skipped = instances[numbers[2]]
    assert skipped is not None
    view = runtime.get(Fulfilment, skipped)
    assert view is not None
    assert view.status == "running"
    sure = guest.get("/parked/sure", verdict="skip", handler="on_charged")
    assert "5 done" in guest.press(sure, "Skip 5").text
    runtime.settle(timeout=30)
    assert "Nothing is parked" in guest.get("/parked").text
    decided = guest.get("/parked/decided").text
    assert [int(one) for one in re.findall(r'<th scope="row">(\d+)<', decided)] == numbers


def an_instance_is_amended_and_ended(guest: Guest, runtime: Runtime) -> None:
    page = guest.get("/instance", process="Fulfilment", id="open3")
    assert "amend: done" in guest.press(page, "Amend", field="amount", value="9").text
    page = guest.get("/instance", process="Fulfilment", id="open3")
    assert "<code>7</code> → <code>9</code>" in page.text
    assert "timeout/move: done" in guest.press(page, "Move payment", when="7200").text
    page = guest.get("/instance", process="Fulfilment", id="open3")
    assert "end: done" in guest.press(page, "End", reason="lost").text
    view = runtime.get(Fulfilment, "open3")
    assert view is not None
    assert view.is_complete
