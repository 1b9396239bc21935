"""The simulated disk: commits that are refused, whose answer is lost, or that a power cut takes."""

import pytest

from procession.store import DictionaryEngine
from procession.testing import FAULTS, Simulation
from tests.actors.testing.simulation.selling import (
    PROGRAM,
    Charged,
    Place,
    Placed,
    Reminded,
    Returned,
    rows_of,
    shop,
    texts,
)

DISK = ("disk_error", "disk_full", "torn", "power_cut")


@pytest.mark.parametrize("kind", DISK)
@pytest.mark.parametrize("which", range(8))
def test_whatever_the_disk_does_in_a_commit_each_thing_takes_effect_once(
    kind: str, which: int
) -> None:
    for turn in range(1, 40, 3):
        with Simulation(shop, program=[Place("o1"), Returned("o1")]) as simulation:
            while simulation.turns < turn and simulation.step():
                pass
            simulation.provoke(kind, which)
            simulation.run()
            kinds = [type(one.event) for one in simulation.events()]
            assert sorted(one.__name__ for one in kinds) == [
                "Charged",
                "Placed",
                "Reminded",
                "Returned",
            ]
            assert simulation.verify() == []


@pytest.mark.parametrize("seed", range(20))
def test_a_disk_that_fails_again_and_again_loses_nothing(seed: int) -> None:
    faults = ("disk", "crash", "order")
    with Simulation(shop, program=PROGRAM, seed=seed, faults=faults) as simulation:
        simulation.run()
        kinds = [type(one.event) for one in simulation.events()]
        assert [kinds.count(one) for one in (Placed, Returned, Reminded)] == [3, 2, 3]
        assert kinds.count(Charged) == 2
        assert simulation.verify() == []


def test_the_run_log_names_what_the_disk_did() -> None:
    told = []
    for kind in DISK:
        with Simulation(shop, program=[Place("o1")]) as simulation:
            simulation.provoke(kind)
            simulation.run()
            told += [one for one in texts(simulation) if "disk" in one or "power" in one]
    assert told == [
        "the disk fails in a commit: nothing of it is kept, and it does not say so",
        "the disk is full: nothing of a commit is kept",
        "the disk fails in a commit: all of it is kept, and it does not say so",
        "the power is cut inside a commit: nothing of it is kept",
    ]


def test_a_power_cut_takes_back_what_was_not_synced_and_never_a_middle() -> None:
    for durability in ("os", "none"):
        for which in range(6):
            states = [rows_of(Simulation(shop))]
            program = [Place("o1"), Place("o2")]
            with Simulation(shop, program=program, durability=durability) as simulation:
                journal = simulation._world.engine.journal
                while simulation.step():
                    if journal.counts.commits >= len(states):
                        states.append(rows_of(simulation))
                simulation.provoke("power_cut", which)
                before = simulation._world.crashes
                while simulation._world.crashes == before:
                    assert simulation.step() or simulation._moves.next(brings=True, waits=True)
                assert simulation.verify() == []
                assert rows_of(simulation) == states[len(states) - 1 - which % len(states)]


def test_a_power_cut_takes_back_nothing_that_was_synced() -> None:
    with Simulation(shop, program=[Place("o1")]) as simulation:
        simulation.ask(Place("o9"))
        simulation.provoke("power_cut")
        simulation.run()
        assert len(list(simulation.events("shop::order-o9"))) >= 1


def test_a_process_that_only_crashes_keeps_what_was_not_synced() -> None:
    with Simulation(shop, durability="none") as simulation:
        simulation.ask(Place("o1"))
        before = rows_of(simulation)
        simulation.crash()
        assert rows_of(simulation) == before


@pytest.mark.parametrize("seed", range(20))
def test_without_syncs_power_cuts_leave_a_store_that_is_sound_and_comes_to_rest(seed: int) -> None:
    with Simulation(shop, program=PROGRAM, seed=seed, faults=FAULTS, durability="os") as simulation:
        simulation.run()
        assert simulation.verify() == []


def test_a_copy_of_tables_is_of_its_own() -> None:
    with Simulation(shop) as simulation:
        simulation.ask(Place("o1"))
        with simulation._world.store.snapshot() as snapshot:
            copied = DictionaryEngine.copy_of(snapshot)
        before = rows_of(simulation)
        other = copied.copied()
        assert other.commit({"meta": {b"x": b"y"}}, {}).outcome == "committed"
        assert copied.get_many([("meta", b"x")]) == [None]
        assert rows_of(simulation) == before
