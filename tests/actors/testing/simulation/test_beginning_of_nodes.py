"""What a run over nodes begins with: what nodes have stored before, or a divided store."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from procession import Runtime
from procession.testing import Publish, Simulation, explore
from tests.actors.testing.nodes.crossing_orders import (
    Labelled,
    Letter,
    Ordered,
    Scanned,
    came_to_its_end,
    orders,
)
from tests.actors.testing.simulation.selling import texts

if TYPE_CHECKING:
    from pathlib import Path

BROUGHT = (
    Publish(Ordered("o1", ("a1", "bad2", "a4")), stream="desk-1"),
    Publish(Labelled("o1", "n1"), stream="carrier-1"),
    Publish(Scanned("n1"), stream="carrier-2"),
)


def bring(where: Simulation | Runtime, *some: Publish) -> None:
    for one in some:
        where.publish(one.event, stream=one.stream or "")


def test_other_nodes_go_on_wherever_a_run_ended() -> None:
    with Simulation(orders, nodes=3) as before:
        bring(before, *BROUGHT)
        steps = 0
        while before.step():
            steps += 1
            if steps % 5:
                continue
            with Simulation(orders, nodes=2, store=before) as after:
                after.run()
                came_to_its_end(after)
                assert after.verify() == []
        came_to_its_end(before)
    assert steps > 8


def test_runs_of_nodes_that_follow_one_another_make_no_id_twice() -> None:
    with Simulation(orders, nodes=2) as before:
        bring(before, *BROUGHT)
        before.crash(node=1)
        before.settle()
        with Simulation(orders, nodes=2, store=before) as after:
            assert after.now == before.now
            after.publish(Ordered("o2", ("a5",)), stream="desk-2")
            after.publish(Labelled("o2", "n2"), stream="carrier-3")
            after.settle()
            names = [one.event_id for one in after.events()]
            assert len(set(names)) == len(names) > len(list(before.events()))
            assert not [one for one in texts(after) if "refused" in one]
            assert after.get(Letter, "letter-o2") is not None
            assert before.get(Letter, "letter-o2") is None


def test_nodes_begin_with_what_a_divided_store_in_a_folder_has(tmp_path: Path) -> None:
    with Runtime(tmp_path / "shop", orders, partitions=4) as runtime:
        bring(runtime, BROUGHT[0])
        runtime.settle(timeout=10)
        # A service may be running meanwhile.
        with Simulation(orders, nodes=3, store=tmp_path / "shop") as simulation:
            bring(simulation, *BROUGHT[1:])
            simulation.settle()
            came_to_its_end(simulation)
            assert simulation.verify() == []
        assert runtime.get(Letter, "letter-o1") is None


def test_an_exploration_over_nodes_begins_with_what_nodes_have_stored() -> None:
    with Simulation(orders, nodes=2) as before:
        bring(before, BROUGHT[0])
        before.advance(timedelta(minutes=1))
        explore(
            orders, [[BROUGHT[1], BROUGHT[2]]], [came_to_its_end], nodes=3, store=before,
            max_examples=8,
        )  # fmt: skip


def test_a_run_does_not_begin_with_a_store_of_another_shape() -> None:
    with Simulation(orders, program=BROUGHT[:1]) as one, Simulation(orders, nodes=2) as two:
        one.run()
        with pytest.raises(ValueError, match="not divided; have it begin with a divided one"):
            Simulation(orders, nodes=2, store=one)
        with pytest.raises(ValueError, match="which nodes share; say how many: nodes="):
            Simulation(orders, store=two)
        with pytest.raises(ValueError, match=r"partitions=3, and the store .* has 4"):
            Simulation(orders, nodes=2, partitions=3, store=two)
