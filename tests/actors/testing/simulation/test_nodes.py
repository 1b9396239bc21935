"""A simulated node that dies, hangs, is late or is replaced loses nothing and repeats nothing."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from procession import InvalidMessage, Rejected
from procession.testing import ALL_FAULTS, Simulation
from procession.testing.simulation.nodes import Nodes
from tests.actors.testing.nodes.crossing_orders import (
    Letter,
    Order,
    Ordered,
    Parcel,
    came_to_its_end,
    orders,
    program,
)
from tests.actors.testing.simulation import selling
from tests.actors.testing.simulation.selling import Charge, Place, Selling, shop, texts


def of_orders(**options: Any) -> Simulation:
    return Simulation(orders, program=program(), nodes=3, **options)


def run_to(simulation: Simulation, text: str) -> None:
    """Let things happen until the run log says something."""
    while not any(text in line for line in texts(simulation)):
        assert simulation.step(), f"{text!r} never comes"


def test_a_chain_goes_from_partition_to_partition_and_comes_to_its_end() -> None:
    with of_orders() as simulation:
        simulation.run()
        came_to_its_end(simulation)
        assert simulation.verify() == []
        nodes = {line.split(",")[0] for line in texts(simulation) if line.startswith("node")}
        assert nodes == {"node 1", "node 2", "node 3"}


@pytest.mark.parametrize("seed", range(4))
def test_a_seed_has_the_same_run_each_time(seed: int) -> None:
    traces = []
    for _ in range(2):
        with of_orders(seed=seed, faults=[one for one in ALL_FAULTS if one != "resend"]) as run:
            run.run()
            traces.append(str(run.trace))
    assert traces[0] == traces[1]


def test_others_take_over_what_a_node_had_that_dies_and_it_gets_its_share_when_it_is_back() -> None:
    with of_orders() as simulation:
        run_to(simulation, "Order o1 handled Ordered")
        simulation.crash(node=2)
        simulation.run()
        came_to_its_end(simulation)
        said = texts(simulation)
        assert "node 2 dies: what it had not committed is gone" in said
        assert "node 1 takes partition 1, which node 2 had: epoch 2" in said
        assert "node 2 comes back" in said
        world = simulation._world
        assert isinstance(world, Nodes)
        assert [len(world.leases.of(f"node {one}")) for one in (1, 2, 3)] == [2, 2, 2]


def test_all_nodes_may_end_at_once() -> None:
    with of_orders() as simulation:
        run_to(simulation, "Parcel a1 carried out Pack")
        simulation.crash()
        simulation.run()
        came_to_its_end(simulation)
        assert simulation.verify() == []


def test_what_a_node_commits_that_hung_and_was_replaced_is_refused() -> None:
    with of_orders() as simulation:
        run_to(simulation, "Order o1 handled Ordered")
        # What it has in hand is not committed yet.
        simulation.provoke("hang")
        simulation.run()
        said = texts(simulation)
        hung = said.index("node 2 hangs")
        assert said[hung + 1] == "node 2 hangs, and its leases run out"
        back = said.index("node 2 goes on after it hung")
        refused = "node 2, partition 4: a commit is refused, since another node has taken over"
        assert back < said.index(refused)
        assert "node 2 stops partition 4, which it has lost" in said
        came_to_its_end(simulation)
        assert simulation.verify() == []


def test_a_node_that_is_late_to_renew_a_lease_loses_it_and_goes_on_with_the_others() -> None:
    with of_orders() as simulation:
        run_to(simulation, "Order o1 handled Ordered")
        simulation.provoke("lease")
        simulation.run()
        said = texts(simulation)
        assert "node 2 is late to renew its lease of partition 4" in said
        assert "node 1 takes partition 4, which node 2 had: epoch 2" in said
        assert "node 2, partition 4: a commit is refused, since another node has taken over" in said
        assert "node 2 stops partition 4, which it has lost" in said
        came_to_its_end(simulation)


def test_a_partition_is_handed_over_when_what_was_begun_is_durable() -> None:
    with of_orders() as simulation:
        run_to(simulation, "Order o1 handled Ordered")
        simulation.provoke("hand_over")
        simulation.run()
        came_to_its_end(simulation)
        said = texts(simulation)
        begun = said.index(
            "node 2 hands partition 4 over to node 1: it takes nothing new, and finishes what it "
            "has begun"
        )
        done = said.index("node 2 lets go of partition 4")
        assert any("partition 4: commit of" in line for line in said[begun:done])
        assert said[done + 1] == "node 1 takes partition 4: epoch 2"
        assert not any("refused, since" in line for line in said)


@pytest.mark.parametrize("dies", [1, 2])
def test_a_node_dies_in_the_middle_of_a_hand_over(dies: int) -> None:
    with of_orders() as simulation:
        run_to(simulation, "Order o1 handled Ordered")
        simulation.provoke("hand_over")
        run_to(simulation, "hands partition 4 over")
        simulation.crash(node=dies)
        simulation.run()
        came_to_its_end(simulation)
        assert simulation.verify() == []


def test_a_rolling_deploy_replaces_each_node_and_disturbs_nothing() -> None:
    with of_orders() as simulation:
        run_to(simulation, "Order o1 handled Ordered")
        simulation.provoke("deploy")
        simulation.run()
        came_to_its_end(simulation)
        replaced = [line for line in texts(simulation) if "is replaced by" in line]
        assert [line.partition(" is")[0] for line in replaced] == ["node 1", "node 2", "node 3"]
        assert not any("refused, since" in line or "dies" in line for line in texts(simulation))


def test_a_lane_that_is_late_is_read_when_nothing_else_is_to_be_done() -> None:
    with of_orders() as simulation:
        simulation.provoke("lane")
        simulation.run()
        came_to_its_end(simulation)
        assert any("is late" in line for line in texts(simulation))


def test_one_node_has_all_and_takes_it_again_when_it_is_back() -> None:
    with Simulation(orders, program=program(), nodes=1, partitions=1) as simulation:
        run_to(simulation, "Order o1 handled Ordered")
        for accident in ("lease", "hang", "hand_over", "deploy"):
            simulation.provoke(accident)
        simulation.crash(node=1)
        simulation.run()
        came_to_its_end(simulation)


def test_every_call_reaches_the_partition_that_it_is_about() -> None:
    with Simulation(shop, nodes=3) as simulation:
        for number in range(6):
            events = simulation.ask(Place(f"o{number}"))
            assert [type(one).__name__ for one in events] == ["Placed"]
        with pytest.raises(Rejected, match="too much"):
            simulation.ask(Charge("o1", 2_000))
        simulation.tell(Charge("o2", 3))
        position = simulation.publish(selling.Returned("o3"), stream="shop::desk-o3")
        simulation.settle()
        view = simulation.get(Selling, "o3")
        assert view is not None
        assert view.state["returns"] == 1
        assert position >= 1
        assert {one.id for one in simulation.find(Selling)} == {f"o{one}" for one in range(6)}
        assert [one.id for one in simulation.find(Selling, returns=1)] == ["o3"]
        assert next(iter(simulation.history(Selling, "o2"))).handler == "on_placed"
        assert len(list(simulation.events("shop::order"))) == 6
        assert len(list(simulation.events("shop::order-o1"))) == 1
        told = list(simulation.events())
        seen: dict[int, int] = {}
        for one in told[:5]:
            seen[one.partition] = max(seen.get(one.partition, 0), one.position)
        assert len(list(simulation.events(after=seen))) == len(told) - 5
        with pytest.raises(InvalidMessage, match="a position for each partition"):
            simulation.events(after=3)
        assert simulation.counts()["shop.Selling"].running == 6
        assert len(list(simulation.timeouts(Selling, "o4"))) == 1
        assert simulation.move_timeout(Selling, "o4", next(_names(simulation)), timedelta(days=9))
        assert simulation.stats()["running"] == 6
        simulation.advance(timedelta(days=2))
        assert len(list(simulation.events("shop::order"))) == 11
        assert simulation.end(Selling, "o5", reason="a test") > 0
        assert simulation.verify() == []


def _names(simulation: Simulation) -> Any:
    return (one.name for one in simulation.timeouts(Selling, "o4"))


def test_an_operator_retries_and_skips_what_any_partition_has_parked() -> None:
    def fail(process: Any) -> None:
        raise ValueError(process.id)

    selling.Selling.on_return = fail
    with Simulation(shop, nodes=3) as simulation:
        for number in range(6):
            simulation.tell(Place(f"o{number}"))
            simulation.publish(selling.Returned(f"o{number}"), stream=f"shop::desk-o{number}")
        simulation.settle()
        parked = {one.instance: one.id for one in simulation.parked()}
        assert len(parked) == 6
        simulation.skip(parked["o1"])
        selling.Selling.on_return = None
        simulation.retry(parked["o2"])
        simulation.settle()
        assert {one.instance for one in simulation.parked()} == {"o0", "o3", "o4", "o5"}
        view = simulation.get(Selling, "o2")
        assert view is not None
        assert view.state["returns"] == 1


def test_a_caller_waits_while_no_node_has_the_partition_and_has_its_answer_then() -> None:
    with Simulation(orders, nodes=3) as simulation:
        simulation.crash(node=3)
        simulation.publish(Ordered("o1", ("a1",)), stream="desk-1")
        simulation.crash(node=1)
        simulation.publish(Ordered("o2", ("a2",)), stream="desk-2")
        simulation.settle()
        for name, parcel in (("o1", "a1"), ("o2", "a2")):
            view, made = simulation.get(Order, name), simulation.get(Parcel, parcel)
            assert view is not None
            assert view.state["packed"] == (parcel,)
            assert made is not None
        assert simulation.get(Letter, "letter-o9") is None


def test_all_nodes_go_on_with_another_version() -> None:
    with Simulation(shop, nodes=2, program=[Place("o1")]) as simulation:
        simulation.settle()
        simulation.upgrade(shop)
        simulation.run()
        assert simulation.get(Selling, "o1") is not None


def test_what_nodes_cannot_have_is_refused() -> None:
    with pytest.raises(ValueError, match="give numbers from 1"):
        Simulation(orders, nodes=0)
    with pytest.raises(ValueError, match="say how many nodes"):
        Simulation(orders, partitions=4)
    with pytest.raises(ValueError, match="fsync"):
        Simulation(orders, nodes=2, durability="os")
