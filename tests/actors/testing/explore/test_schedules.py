"""Which runs an exploration has: each order once, the same ones for the same seed."""

import subprocess
import sys
from collections import Counter
from datetime import timedelta
from itertools import permutations
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import settings

from domain_examples.flawed import ships_twice
from procession import Domain, Event, ProcessManager, handle
from procession.testing import CounterExample, Publish, Simulation, explore

door = Domain("door")


class Rang(Event):
    house: str
    who: int


@door.register
class House(ProcessManager, correlate="house"):
    house: str = ""
    seen: list[int] = []

    @handle(Rang, start=True)
    def on_rang(self, event: Rang) -> None:
        self.seen.append(event.who)


def guests(count: int) -> list[list[Any]]:
    return [[Publish(Rang("h", who), stream=f"door::guest-{who}")] for who in range(count)]


def never_in(order: tuple[int, ...]) -> Any:
    def not_in_that_order(simulation: Simulation) -> None:
        view = simulation.get(House, "h")
        assert view is None or tuple(view.state["seen"]) != order

    return not_in_that_order


def orders_seen(count: int, runs: int, seed: int = 0) -> list[tuple[int, ...]]:
    seen: list[tuple[int, ...]] = []

    def note(simulation: Simulation) -> None:
        view = simulation.get(House, "h")
        assert view is not None
        seen.append(tuple(view.state["seen"]))

    explore(door, guests(count), at_end=[note], max_examples=runs, seed=seed, faults=["order"])
    return seen


def test_every_order_of_four_clients_is_met_before_long() -> None:
    assert set(orders_seen(4, 60)) == set(permutations(range(4)))


def test_another_seed_takes_the_orders_in_another_order() -> None:
    first, second = ([*dict.fromkeys(orders_seen(4, 60, seed))] for seed in (1, 2))
    assert sorted(first) == sorted(second)
    assert first != second


@pytest.mark.parametrize("number", range(20))
def test_a_flaw_in_one_order_of_five_clients_is_found_by_every_search(number: int) -> None:
    order = tuple(Random(number).sample(range(5), 5))
    with pytest.raises(CounterExample, match="not_in_that_order") as raised:
        explore(door, guests(5), [never_in(order)], seed=number)
    assert len(raised.value.trace.essential) == 10
    with pytest.raises(CounterExample) as again:
        explore(door, guests(5), [never_in(order)], seed=raised.value.seed)
    assert str(again.value) == str(raised.value)


def test_when_there_are_more_orders_than_runs_hardly_one_comes_twice() -> None:
    seen = Counter(orders_seen(7, 100))
    assert len(seen) > 80


def test_a_client_with_several_messages_keeps_its_order() -> None:
    program = [
        [Publish(Rang("h", who), stream="door::guest-1") for who in (1, 2)],
        [Publish(Rang("h", 9), stream="door::guest-2")],
    ]
    coverage = explore(door, program, max_examples=20)
    assert (coverage.orders, coverage.orders_in_all) == (3, 3)


def test_where_the_order_may_not_differ_there_is_one() -> None:
    coverage = explore(door, guests(3), faults=["crash", "handler"], max_examples=40)
    assert (coverage.orders, coverage.orders_in_all) == (1, 6)


def test_the_search_goes_on_until_the_budget_is_used_up() -> None:
    moments = iter(range(1_000))
    coverage = explore(
        door, guests(2), budget=timedelta(seconds=50), stopwatch=lambda: next(moments)
    )
    assert coverage.runs == 50
    moments = iter(range(1_000))
    coverage = explore(
        door,
        guests(2),
        budget=timedelta(seconds=50),
        max_examples=7,
        stopwatch=lambda: next(moments),
    )
    assert coverage.runs == 7


def test_runs_that_reached_something_new_are_kept_and_come_first_the_next_time(
    tmp_path: Path,
) -> None:
    corpus = tmp_path / "corpus"
    first = explore(door, guests(3), corpus=corpus)
    assert corpus.read_text().split() == first.corpus
    again = explore(door, guests(3), corpus=corpus, max_examples=len(first.corpus))
    assert again.runs == len(first.corpus)
    assert again.never == first.never == []


def test_a_profile_of_hypothesis_says_how_many_runs_there_are() -> None:
    assert explore(door, guests(2)).runs == 3 * settings().max_examples
    in_force = settings.get_current_profile_name()
    settings.register_profile("hurry", max_examples=4)
    settings.load_profile("hurry")
    try:
        assert explore(door, guests(2)).runs == 12
        assert explore(door, guests(2), max_examples=5).runs == 5
    finally:
        settings.load_profile(in_force)


def test_time_passes_while_what_a_step_issued_is_in_flight() -> None:
    module = ships_twice
    for seed in range(5):
        with pytest.raises(CounterExample):
            explore(module.flawed, module.program, module.invariants, faults=["time"], seed=seed)


def test_the_same_seed_has_the_same_runs_in_another_process() -> None:
    script = (
        "from tests.actors.testing.explore.test_schedules import *\n"
        "print(explore(door, guests(3), seed=5, max_examples=150).corpus)"
    )
    folder = Path(__file__).parents[4]
    texts = [
        subprocess.run(
            [sys.executable, "-c", script],
            env={"PYTHONHASHSEED": number, "PYTHONPATH": str(folder)},
            cwd=folder,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for number in ("1", "2")
    ]
    assert texts[0] == texts[1]
    assert texts[0].strip() == str(explore(door, guests(3), seed=5, max_examples=150).corpus)
