"""What a node does for each of its partitions must not grow with how many there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

pytest.importorskip("psycopg")

from procession import Runtime
from procession.cluster.neighbours import NodeNeighbour
from procession.store.postgresql.calls import LaneEnds
from procession.store.postgresql.connection import Connection
from tests.actors.cluster.crossing import Case, Open, crossing
from tests.postgresql import shared_server

if TYPE_CHECKING:
    from procession.store.postgresql.connection import Call

PATIENCE = 60
EACH = 3
"""Cases for each partition."""
BACKGROUND = frozenset({"answered_calls", "all_owners", "renew_all"})
"""Statements of threads that look again and again, however long something takes."""


class Counted:
    """Trips, of all connections, but for what is looked at again and again."""

    def __init__(self) -> None:
        self.trips = 0


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    found, run = Counted(), Connection.run

    def run_counted(connection: Connection, *calls: Call) -> object:
        names = {statement.name.decode() for (statement, _) in calls}
        found.trips += not names & BACKGROUND
        return run(connection, *calls)

    monkeypatch.setattr(Connection, "run", run_counted)
    return found


def filled(partitions: int) -> str:
    """A store with something in most of the lanes that there may be."""
    url = shared_server().new_url(without_tables=True)
    with Runtime(url, crossing, partitions=partitions) as runtime:
        runtime.tell_many(
            [Open(f"c{number}", (f"p{number}",)) for number in range(EACH * partitions)]
        )
        runtime.settle(timeout=PATIENCE)
    return url


def test_the_trips_of_opening_and_starting_are_as_many_for_each_partition(
    counted: Counted,
) -> None:
    trips: dict[int, int] = {}
    for partitions in (4, 8):
        url = filled(partitions)
        before = counted.trips
        with Runtime(url, crossing) as runtime:
            runtime.settle(timeout=PATIENCE)
            trips[partitions] = counted.trips - before
            assert len(list(runtime.find(Case))) == EACH * partitions
    # For each pair of partitions it would be 56 instead of 12; and 47 for each partition it was.
    assert trips[8] - trips[4] <= 4 * 4
    assert trips[8] <= 60


def test_a_lane_is_not_empty_while_what_was_sent_is_not_taken() -> None:
    url = filled(2)
    server = shared_server()
    with Runtime(url, crossing) as runtime:
        runtime.settle(timeout=PATIENCE)
        calls = runtime._share.node.calls  # type: ignore[attr-defined]
        assert set(calls.lanes(range(2))) == {(0, 1), (1, 0)}
        assert calls.are_lanes_empty(range(2))
        cursor = server.ask(url, "DELETE FROM cursors WHERE part = 1 RETURNING key, value")
        assert not calls.are_lanes_empty(range(2))
        assert not calls.are_lanes_empty([0])
        # Of the other lane all was taken.
        assert calls.are_lanes_empty([1])
        assert calls.lanes([0])[0, 1].taken == 0
        server.ask(url, "INSERT INTO cursors VALUES (1, %s, %s)", *cursor[0])
        assert calls.are_lanes_empty(range(2))


def test_a_look_at_lanes_that_is_old_is_not_taken_for_an_older_backup() -> None:
    class Sender:
        """A store that has sent ten since the look."""

        asked = 0

        def last_sent(self, target: int) -> int:
            assert target == 1
            self.asked += 1
            return 10

    sender = Sender()
    lanes = {(0, 1): LaneEnds(sent=4, taken=4)}
    neighbour = NodeNeighbour(0, sender, lambda target, source: None, lanes)  # type: ignore[arg-type]
    assert neighbour.has_sent(1, 4)
    assert sender.asked == 0
    assert neighbour.has_sent(1, 10)
    assert not neighbour.has_sent(1, 11)
    assert sender.asked == 2
