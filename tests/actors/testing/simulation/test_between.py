"""What two partitions say must fit together: what was sent and taken, and who has learnt a key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from procession.store import partition_of
from procession.store.open_commit import OpenCommit
from procession.testing import Publish, Simulation
from tests.actors.testing.nodes.crossing_orders import Labelled, Ordered, orders, program

if TYPE_CHECKING:
    import pytest

PARTITIONS = 6


def test_partitions_that_fit_together_have_nothing_that_is_wrong() -> None:
    with Simulation(orders, program=program(), nodes=2, partitions=PARTITIONS) as simulation:
        for _ in simulation.steps():
            # What is on its way is not missing.
            assert simulation.verify() == []


def test_a_key_that_its_partition_does_not_know_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    take_in = OpenCommit._take_in

    def broken(self: OpenCommit, arrived: Any) -> None:
        arrived.learnt = []
        take_in(self, arrived)

    monkeypatch.setattr(OpenCommit, "_take_in", broken)
    brings = [
        Publish(Ordered("o1", ()), stream="desk-1"),
        Publish(Labelled("o1", "n1"), stream="carrier-1"),
    ]
    with Simulation(orders, program=brings, nodes=2, partitions=PARTITIONS) as simulation:
        simulation.run()
        [finding] = simulation.verify()
        own, of_key = partition_of("o1", PARTITIONS), partition_of("n1", PARTITIONS)
        assert finding.table == "index"
        assert finding.problem == (
            f"in partition {of_key}: is missing for o1 of partition {own}, which has learnt "
            f"number = 'n1'"
        )


def test_a_lane_of_which_more_was_taken_than_sent_is_found() -> None:
    with Simulation(orders, program=program(), nodes=2, partitions=PARTITIONS) as simulation:
        simulation.run()
        store = simulation._world.stores[partition_of("o1", PARTITIONS)]
        taken = {one: store.cursor_of(one) for one in range(PARTITIONS)}
        source = max(taken, key=lambda one: taken[one])
        sender: Any = simulation._world.stores[source]
        sender.last_sent = lambda target: 0
        problems = [one.problem for one in simulation.verify() if one.table == "cursors"]
        assert any(f"says {taken[source]} were taken, and 0 were sent" in one for one in problems)
