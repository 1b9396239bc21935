"""Pages of a store with many instances look at a part of it, whatever is asked for."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from procession import Runtime
from procession.control import aside, instances
from procession.control.face import Face
from procession.control.instances import Status, instance_page
from procession.page import waits as page_waits
from procession.page.drawing import drawn
from procession.page.pace import pace
from procession.store import Store
from procession.testing import VirtualClock
from tests.actors.control.shop import PlaceOrder, shop

MANY = 12


@pytest.fixture
def runtime() -> Iterator[Runtime]:
    with Runtime.ephemeral(shop, clock=VirtualClock()) as runtime:
        for number in range(MANY):
            runtime.ask(PlaceOrder(order_id=f"bad{number:02}", amount=number))
            runtime.ask(PlaceOrder(order_id=f"good{number:02}", amount=number))
        runtime.ask(PlaceOrder(order_id="odd1", amount=1))
        runtime.settle(timeout=30)
        yield runtime


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The instances whose state was read."""
    read: list[str] = []
    last_transition = Store.last_transition

    def counted(store: Store, process: str, name: str, *rest: Any) -> Any:
        read.append(name)
        return last_transition(store, process, name, *rest)

    monkeypatch.setattr(Store, "last_transition", counted)
    monkeypatch.setattr(instances, "MOST_LOOKED_AT", 5)
    return read


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"status": [Status.COMPLETE]},
        {"status": [Status.SUSPENDED]},
        {"status": [Status.RUNNING]},
        {"where": {"amount": "7"}},
        {"where": {"card": "card-bad03"}},
    ],
)
def test_a_part_looks_at_few_and_all_parts_have_all(
    runtime: Runtime, looked_at: list[str], wanted: Any
) -> None:
    face = Face(runtime)
    found: list[str] = []
    after = None
    while True:
        looked_at.clear()
        part = instance_page(face, "Fulfilment", after=after, limit=3, **wanted)
        assert len(looked_at) == part.looked_at <= 5
        assert len(part.rows) <= 3
        found += [one["id"] for one in part.rows]
        after = part.after
        if after is None:
            break
    everyone = [one["id"] for one in instances.instances(face, "Fulfilment", limit=99, **wanted)]
    if Status.SUSPENDED not in wanted.get("status", ()):
        # It failed at its start, and is told among the suspended.
        everyone = [one for one in everyone if one != "odd1"]
    assert sorted(found) == sorted(everyone)


def test_a_part_of_what_is_parked_looks_at_few_and_all_parts_have_all(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aside, "MOST_LOOKED_AT", 5)
    face = Face(runtime)
    lengths: list[int] = []
    found: list[str] = []
    after: int | None = 0
    while after is not None:
        rows, after = aside.parked_page(face, handler="on_charged", after=after, limit=4)
        lengths.append(len(rows))
        found += [one["instance"] for one in rows]
    assert found == [f"bad{number:02}" for number in range(MANY)]
    assert max(lengths) == 4
    rows, after = aside.parked_page(face, handler="on_placed")
    assert (rows, after) == ([], 5)


def test_the_pace_is_that_of_the_last_seconds(runtime: Runtime) -> None:
    face = Face(runtime)
    assert pace(face) == {"shop.Fulfilment": 3 * MANY / 10}
    runtime.clock.advance(timedelta(seconds=11))
    assert pace(face) == {}


def test_a_drawing_has_a_place_for_each_box_and_counts_on_its_arrows(runtime: Runtime) -> None:
    [drawing] = drawn(Face(runtime))
    places = [(box.x, box.y) for box in drawing.boxes]
    assert len(set(places)) == len(places)
    assert all(box.y + box.height <= drawing.height for box in drawing.boxes)
    [fulfilment] = [box for box in drawing.boxes if box.process == "shop.Fulfilment"]
    assert fulfilment.counts is not None
    assert (fulfilment.counts.suspended, fulfilment.counts.complete) == (MANY + 1, MANY)
    assert sorted(arrow.parked for arrow in drawing.arrows if arrow.parked) == [1, MANY]


def test_a_drawing_shows_the_timeouts_that_are_set_and_the_events_that_wait(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def waiting() -> dict[str, str]:
        [drawing] = drawn(Face(runtime))
        [fulfilment] = [box for box in drawing.boxes if box.process == "shop.Fulfilment"]
        found = {arrow.timeout or arrow.label: arrow.waits for arrow in drawing.arrows}
        return {"backlog": str(fulfilment.backlog), **{k: one for k, one in found.items() if one}}

    assert waiting() == {"backlog": "0", "payment": f"{MANY}"}
    monkeypatch.setattr(Face, "done", lambda face, process: 0)
    events = 4 * MANY + 1
    assert waiting() == {
        "backlog": f"{events}",
        "payment": f"{MANY}",
        "start": f"{2 * MANY + 1}",
        "end": f"{2 * MANY}",
    }
    # Of what there is, a part is looked at.
    monkeypatch.setattr(page_waits, "MOST_COUNTED", 5)
    monkeypatch.setattr(page_waits, "MOST_LOOKED_AT", 5)
    found = page_waits.waits(Face(runtime))
    assert (found.timeouts.total(), found.are_more_timeouts) == (5, True)
    assert (found.events.total(), found.are_more_events) == (5, True)
    assert waiting()["payment"] == "5+"
    listed = page_waits.set_timeouts(Face(runtime), "Fulfilment", "payment", limit=9)
    assert len({one["id"] for one in listed}) == 5
