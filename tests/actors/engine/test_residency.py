"""Who is awake: woken by a stimulus, passivated when idle or too many, never with work in hand."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from procession.engine.dispatcher import Dispatcher
from procession.engine.durable_actor import DurableActor
from procession.engine.residency import Residency
from procession.testing import VirtualClock

MINUTE = timedelta(minutes=1)


class Sleeper(DurableActor[Any]):
    """Does nothing until the test says that it has."""

    def be_done(self) -> None:
        """Be done with every stimulus."""
        self.envelopes.clear()
        self.scheduled = False

    def forget(self) -> None:
        """It holds nothing."""


class World:
    """A residency on a dispatcher that never starts, so that nothing happens by itself."""

    def __init__(self, *, max_awake: int = 1_000, idle_timeout: timedelta = MINUTE) -> None:
        self.clock = VirtualClock()
        self.dispatcher = Dispatcher(1, lambda: False, lambda actor, error: None)
        self.residency = Residency(
            self.dispatcher, self.clock, max_awake=max_awake, idle_timeout=idle_timeout
        )
        self.made: list[str] = []
        self.own_timeout: timedelta | None = None
        self.journal: Any = SimpleNamespace(number=1)
        """Of which an actor knows the number of the open commit."""

    def send(self, name: str, *, finish: bool = True) -> Sleeper:
        """Send a message to an actor, which is done with it at once unless told otherwise."""
        self.residency.send([(("kind", name), self._wake, object())])
        actor = self.residency._awake["kind", name]
        assert isinstance(actor, Sleeper)
        if finish:
            actor.be_done()
        return actor

    def _wake(self, name: str) -> Sleeper:
        self.made.append(name)
        actor = Sleeper(self.dispatcher, self.journal)
        actor.idle_timeout = self.own_timeout
        return actor

    @property
    def awake(self) -> set[str]:
        """Who is awake."""
        return {name for _, name in self.residency._awake}


@pytest.fixture
def world() -> World:
    return World()


# Waking


def test_an_message_wakes_its_actor_and_stands_in_the_inbox(world: World) -> None:
    first, second = object(), object()
    for message in (first, second):
        world.residency.send([(("kind", "a"), world._wake, message)])
    actor = world.residency._awake["kind", "a"]
    assert actor.envelopes == [first, second]
    assert actor.scheduled
    assert world.made == ["a"]
    assert len(world.residency) == 1


def test_one_name_under_two_kinds_is_two_actors(world: World) -> None:
    world.residency.send([(("order", "a"), world._wake, object())])
    world.residency.send([(("payment", "a"), world._wake, object())])
    one, other = world.residency._awake.values()
    assert one is not other


def test_a_passivated_actor_is_woken_anew_by_its_next_message(world: World) -> None:
    before = world.send("a")
    world.clock.advance(MINUTE)
    assert world.awake == set()
    assert world.send("a") is not before
    assert world.made == ["a", "a"]


# Passivation by idle time


def test_an_actor_is_passivated_after_its_idle_time(world: World) -> None:
    world.send("a")
    world.clock.advance(MINUTE - timedelta(seconds=1))
    assert world.awake == {"a"}
    world.clock.advance(timedelta(seconds=1))
    world.clock.advance(MINUTE / 8)
    assert world.awake == set()
    assert world.residency.passivated == 1


def test_an_message_starts_the_idle_time_anew(world: World) -> None:
    world.send("a")
    world.send("b")
    for _ in range(4):
        world.clock.advance(MINUTE / 2)
        world.send("a")
    assert world.awake == {"a"}


def test_a_class_may_have_an_idle_time_of_its_own(world: World) -> None:
    world.send("short")
    world.own_timeout = 3 * MINUTE
    world.send("long")
    world.clock.advance(MINUTE)
    assert world.awake == {"long"}
    world.clock.advance(2 * MINUTE)
    assert world.awake == set()


def test_an_actor_with_work_in_hand_is_never_passivated_for_being_idle(world: World) -> None:
    busy = world.send("busy", finish=False)
    for _ in range(100):
        world.clock.advance(MINUTE)
    assert world.awake == {"busy"}
    busy.be_done()
    world.clock.advance(MINUTE)
    assert world.awake == set()


def test_a_closed_population_passivates_nobody_and_lets_go_of_the_clock(world: World) -> None:
    world.send("a")
    world.residency.close()
    world.clock.advance(100 * MINUTE)
    assert world.awake == {"a"}


def test_an_actor_woken_after_a_rest_stays_for_its_whole_idle_time(world: World) -> None:
    world.clock.advance(100 * MINUTE)
    world.send("a")
    world.clock.advance(MINUTE - timedelta(seconds=1))
    assert world.awake == {"a"}
    world.clock.advance(timedelta(seconds=1))
    assert world.awake == set()


def test_the_clock_stops_for_no_sweep_that_would_find_nobody(world: World) -> None:
    stops: list[object] = []

    def note(seconds: float) -> bool:
        stops.append(world.clock.now())
        return True

    world.clock.attach(note)
    world.own_timeout = timedelta(days=365)
    world.send("a")
    world.clock.advance(timedelta(days=3_650))
    assert world.awake == set()
    assert len(stops) < 10


def test_an_message_that_comes_in_a_rest_ends_it(world: World) -> None:
    world.own_timeout = 100 * MINUTE
    world.send("long")
    world.clock.advance(10 * MINUTE)
    world.own_timeout = None
    world.send("short")
    world.clock.advance(MINUTE)
    assert world.awake == {"long"}


def test_an_idle_time_beyond_the_end_of_all_times_is_for_ever() -> None:
    world = World(idle_timeout=timedelta.max)
    world.send("a")
    world.clock.advance(timedelta(days=9_999))
    assert world.awake == {"a"}


# Passivation because there are too many


def test_no_more_are_awake_than_was_said() -> None:
    world = World(max_awake=32)
    for number in range(1_000):
        world.send(f"a{number}")
        assert len(world.residency) <= 32
    assert world.residency.passivated == 1_000 - len(world.residency)


def test_one_may_be_the_most(world: World) -> None:
    world = World(max_awake=1)
    for number in range(10):
        world.send(f"a{number}")
        assert world.awake == {f"a{number}"}


def test_those_idle_longest_are_passivated_first() -> None:
    world = World(max_awake=16)
    for number in range(16):
        world.send(f"a{number}")
    world.send("a0")
    world.send("new")
    assert "a0" in world.awake
    assert "a1" not in world.awake
    assert "new" in world.awake


def test_an_actor_with_work_in_hand_is_never_passivated_to_make_room() -> None:
    world = World(max_awake=16)
    busy = {f"busy{number}" for number in range(5)}
    for name in busy:
        world.send(name, finish=False)
    for number in range(1_000):
        world.send(f"a{number}")
    assert busy <= world.awake


def test_busy_actors_may_be_more_than_was_said_until_they_are_done() -> None:
    world = World(max_awake=16)
    busy = [world.send(f"busy{number}", finish=False) for number in range(100)]
    assert len(world.residency) == 100
    for actor in busy:
        actor.be_done()
    for number in range(1_000):
        world.send(f"a{number}")
    assert len(world.residency) <= 32


@pytest.mark.parametrize("stuck", [1, 2, 8, 15])
def test_a_few_stuck_actors_do_not_keep_all_others_awake(stuck: int) -> None:
    world = World(max_awake=16)
    for number in range(stuck):
        world.send(f"stuck{number}", finish=False)
    for number in range(2_000):
        world.send(f"a{number}")
    assert len(world.residency) <= 2 * 16


def test_actors_passivated_for_idleness_make_room_too() -> None:
    world = World(max_awake=16)
    for number in range(16):
        world.send(f"a{number}")
    world.clock.advance(MINUTE)
    assert world.awake == set()
    for number in range(16):
        world.send(f"b{number}")
    assert len(world.residency) == 16
    assert world.residency.passivated == 16


# What is not durable yet


def test_an_actor_whose_step_is_not_durable_stays_awake(world: World) -> None:
    actor = world.send("a")
    actor.commit = world.journal.number
    world.clock.advance(10 * MINUTE)
    assert world.residency.passivate("kind", "a") is False
    assert world.residency.passivate_idle() == 0
    assert world.awake == {"a"}
    world.journal.number += 1
    assert world.residency.passivate("kind", "a") is True
    assert world.awake == set()


def test_an_actor_whose_step_became_durable_is_passivated_for_being_idle(world: World) -> None:
    actor = world.send("a")
    actor.commit = world.journal.number
    world.journal.number += 1
    world.clock.advance(2 * MINUTE)
    assert world.awake == set()


def test_when_all_wait_for_the_disk_the_commit_is_asked_to_close() -> None:
    world = World(max_awake=4)
    for number in range(4):
        world.send(f"a{number}").commit = world.journal.number
    due = [world.dispatcher.is_commit_due]
    world.send("new")
    due.append(world.dispatcher.is_commit_due)
    assert due == [False, True]
    world.journal.number += 1
    for number in range(100):
        world.send(f"b{number}")
    assert len(world.residency) <= 4


def test_only_those_that_sleep_are_asked_for_together(world: World) -> None:
    world.send("a")
    assert world.residency.asleep([("kind", one) for one in "abc"]) == [
        ("kind", "b"),
        ("kind", "c"),
    ]
    assert world.residency.asleep([("other", "a")]) == [("other", "a")]


def test_starting_over_makes_every_actor_forget_before_its_next_message(world: World) -> None:
    actors = [world.send("done"), world.send("busy", finish=False)]
    answered: Any = SimpleNamespace(reply=object())
    again: Any = SimpleNamespace(reply=None)
    actors[1].envelopes[:] = [again, answered, again]
    world.residency.start_over()
    assert [one.is_stale for one in actors] == [True, True]
    # What no caller waits for comes again from the log.
    assert [one.envelopes for one in actors] == [[], [answered]]
