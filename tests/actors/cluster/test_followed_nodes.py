"""Following, and hearing of ends, where two nodes share the partitions of a database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

pytest.importorskip("psycopg")

from procession import (
    Completed,
    Domain,
    Event,
    InstanceTransition,
    Parked,
    ProcessManager,
    Retry,
    Runtime,
    StoredEvent,
    handle,
)
from tests.actors.cluster.two_nodes import two_nodes

if TYPE_CHECKING:
    from collections.abc import Iterator

WAIT = 60
PARTS = [f"p{number}" for number in range(8)]


class OrderCame(Event):
    order: str
    parts: int


class PartPicked(Event):
    part: str
    order: str


class PartWeighed(Event):
    part: str


depot = Domain("depot")
depot.register(OrderCame, PartPicked, PartWeighed)


@depot.register
class Picking(ProcessManager, correlate="part", retry=Retry(attempts=1)):
    part: str = ""
    order: str = ""

    @handle(PartPicked, start=True)
    def on_picked(self, event: PartPicked) -> None:
        if event.part == "bad":
            raise ValueError("it is broken")
        self.order = event.order

    @handle(PartWeighed, end=True)
    def on_weighed(self, event: PartWeighed) -> None:
        pass


def order_of(event: Completed[Picking]) -> str:
    return event.copy.order


@depot.register
class Packing(ProcessManager, correlate="order"):
    order: str = ""
    missing: int = 0
    packed: tuple[str, ...] = ()

    @handle(OrderCame, start=True)
    def on_came(self, event: OrderCame) -> None:
        self.missing = event.parts

    @handle(Completed[Picking], correlate=order_of)
    def on_part(self, event: Completed[Picking]) -> None:
        self.missing -= 1
        self.packed += (event.id,)
        if not self.missing:
            self.mark_as_complete()


@pytest.fixture
def both() -> Iterator[tuple[Runtime, Runtime]]:
    with two_nodes(depot) as opened:
        yield opened


def told(found: list[StoredEvent | InstanceTransition | Parked]) -> list[str]:
    """Each record by what it is of."""
    return sorted(
        f"event {one.event_id}"
        if isinstance(one, StoredEvent)
        else f"transition {one.process} {one.instance} {one.version}"
        if isinstance(one, InstanceTransition)
        else f"parked {one.instance}"
        for one in found
    )


def test_a_process_manager_hears_of_ends_in_partitions_of_other_nodes_and_both_are_followed(
    both: tuple[Runtime, Runtime],
) -> None:
    one, other = both
    following = other.follow(after=0, transitions=True, parked=True, timeout=WAIT)
    one.publish(OrderCame("o1", len(PARTS)), stream="depot::desk-o1")
    first = [next(following)]
    one.publish_many(
        [PartPicked(part, "o1") for part in (*PARTS, "bad")],
        stream=lambda event: f"depot::shelf-{event.part}",
    )
    one.publish_many(
        [PartWeighed(part) for part in PARTS], stream=lambda event: f"depot::scale-{event.part}"
    )
    view = other.wait(Packing, "o1", until=lambda view: view.is_complete, timeout=WAIT)
    assert sorted(view.state["packed"]) == PARTS
    one.settle(timeout=WAIT)
    # An order, parts that are picked and weighed with their ends, and one that is broken; what
    # each of the instances made of these; and what is parked.
    count = (1 + 3 * len(PARTS) + 1) + (2 * len(PARTS) + 1 + len(PARTS)) + 1
    first += [next(following) for _ in range(count // 2)]
    # Whoever goes on may be at another node.
    later = one.follow(after=following.position, transitions=True, parked=True, timeout=WAIT)
    rest = [next(later) for _ in range(count - len(first))]
    whole = told([*first, *rest])
    assert len(set(whole)) == count
    assert "parked bad" in whole
    assert sum(line.startswith("transition depot.Packing o1") for line in whole) == 1 + len(PARTS)
    for runtime in both:
        again = runtime.follow(after=0, transitions=True, parked=True, timeout=0.0)
        assert told(list(again)) == whole
        assert (
            list(runtime.follow(after=later.position, transitions=True, parked=True, timeout=0.0))
            == []
        )
