"""Following: what comes to the end of the log, once each, in order, wherever one goes on."""

from __future__ import annotations

import asyncio
import random
import threading
from itertools import groupby
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from procession import (
    AsyncRuntime,
    ClosedError,
    Domain,
    Event,
    InstanceTransition,
    InvalidMessage,
    Parked,
    ProcessManager,
    QueryInHandler,
    Runtime,
    StoredEvent,
    handle,
)
from procession.queries.log_end import LogEnd

if TYPE_CHECKING:
    from pathlib import Path

QUIET = 0.0
"""Seconds to wait where all that is to come is there."""

desk = Domain("desk")


class Came(Event):
    name: str


class Went(Event):
    name: str


@desk.register
class Visit(ProcessManager, correlate="name"):
    name: str = ""
    count: int = 0

    @handle(Came, start=True)
    def on_came(self, event: Came) -> None:
        if event.name.startswith("bad"):
            raise ValueError("not today")
        self.count += 1

    @handle(Went, end=True)
    def on_went(self, event: Went) -> None: ...


def names(found: Any) -> list[str]:
    """Each record by its kind and the number that orders it."""
    told = []
    for one in found:
        if isinstance(one, StoredEvent):
            told.append(f"e{one.partition}.{one.position}")
        elif isinstance(one, InstanceTransition):
            told.append(f"t{one.instance}.{one.version}")
        else:
            assert isinstance(one, Parked)
            told.append(f"p{one.id}")
    return told


def test_events_come_once_they_are_stored_and_a_loop_ends_when_nothing_comes() -> None:
    with Runtime.ephemeral(desk) as runtime:
        runtime.publish(Came("early"), stream="desk::door-1")
        following = runtime.follow(timeout=QUIET)
        runtime.publish(Came("ann"), stream="desk::door-1")
        assert [one.event for one in following] == [Came("ann")]
        runtime.publish(Came("ben"), stream="desk::door-1")
        assert [one.event for one in following] == [Came("ben")]
        assert [one.position for one in runtime.follow(after=1, timeout=QUIET)] == [2, 3]


def test_an_event_comes_before_its_transition_and_before_what_is_parked_of_it() -> None:
    with Runtime.ephemeral(desk) as runtime:
        for name in ("ann", "bad"):
            runtime.publish(Came(name), stream="desk::door-1")
            runtime.settle(10)
        found = runtime.follow(after=0, transitions=True, parked=True, timeout=QUIET)
        assert names(found) == ["e0.1", "tann.1", "e0.2", "p1"]


def test_a_transition_says_whose_it_is_and_its_whole_state() -> None:
    with Runtime.ephemeral(desk) as runtime:
        runtime.publish(Came("ann"), stream="desk::door-1")
        runtime.settle(10)
        following = runtime.follow(
            after=0, events=False, transitions=True, process=Visit, timeout=QUIET
        )
        [moved] = following
        assert isinstance(moved, InstanceTransition)
        assert (moved.process, moved.instance) == ("desk.Visit", "ann")
        assert moved.state == {"name": "ann", "count": 1}


def test_what_was_parked_comes_with_its_decision_if_it_is_decided_before_one_looks() -> None:
    with Runtime.ephemeral(desk) as runtime:
        runtime.publish(Came("bad"), stream="desk::door-1")
        runtime.settle(10)
        runtime.skip(1, by="maria")
        [parked] = runtime.follow(after=0, events=False, parked=True, timeout=QUIET)
        assert isinstance(parked, Parked)
        assert (parked.decision, parked.decided_by) == ("skip", "maria")


def test_filters_leave_out_what_is_not_asked_for() -> None:
    with Runtime.ephemeral(desk) as runtime:
        runtime.publish(Came("ann"), stream="desk::door-1")
        runtime.publish(Went("ann"), stream="desk::door-2")
        runtime.publish(Went("ben"), stream="desk::gate-2")

        def positions(**asked: Any) -> list[int]:
            return [one.position for one in runtime.follow(after=0, timeout=QUIET, **asked)]

        assert positions(stream="desk::door") == [1, 2]
        assert positions(stream="desk::door-2") == [2]
        assert positions(type=Went) == [2, 3]
        assert positions(type=["desk.Came.v1"], stream="desk::door-2") == []


def test_stopping_ends_a_loop_that_waits() -> None:
    with Runtime.ephemeral(desk) as runtime:
        following = runtime.follow()
        threading.Timer(0.0, following.stop).start()
        assert list(following) == []
        assert list(following) == []


def test_closing_the_runtime_is_told_to_who_follows() -> None:
    runtime = Runtime.ephemeral(desk)
    following = runtime.follow()
    runtime.close()
    with pytest.raises(ClosedError):
        next(following)


def test_coroutines_follow_without_a_thread_that_waits() -> None:
    async def follow() -> list[str]:
        async with AsyncRuntime.ephemeral(desk) as runtime:
            following = runtime.follow(after=0, transitions=True)
            waiting = asyncio.create_task(anext(following))
            await asyncio.sleep(0)
            await runtime.publish(Came("ann"), stream="desk::door-1")
            found: list[Any] = [await waiting]
            before = following.position
            found.append(await anext(following))
            again = runtime.follow(after=before, transitions=True)
            assert names([await anext(again)]) == names(found[1:])
            following.stop()
            assert [one async for one in following] == []
            return names(found)

    assert asyncio.run(follow()) == ["e0.1", "tann.1"]


def test_a_process_that_only_reads_follows_the_one_that_writes(tmp_path: Path) -> None:
    with (
        Runtime(tmp_path, desk, durability="none", control=False) as runtime,
        Runtime(tmp_path, desk, read_only=True) as beside,
    ):
        following = beside.follow(after=0, timeout=QUIET)
        assert list(following) == []
        runtime.publish(Came("ann"), stream="desk::door-1")
        assert [one.event for one in following] == [Came("ann")]


def test_a_divided_store_is_followed_as_one_and_gone_on_with_partition_by_partition(
    tmp_path: Path,
) -> None:
    with Runtime(tmp_path, desk, partitions=2, control=False) as runtime:
        people = [f"n{number}" for number in range(6)]
        for name in people:
            runtime.publish(Came(name), stream=f"desk::door-{name}")
        runtime.settle(10)
        following = runtime.follow(after=0, timeout=QUIET)
        first = [next(following).event for _ in range(3)]
        rest = [one.event for one in runtime.follow(after=following.position, timeout=QUIET)]
        assert sorted(one.name for one in first + rest) == people  # type: ignore[attr-defined]
        assert len({one.partition for one in runtime.follow(after=0, timeout=QUIET)}) == 2
        with pytest.raises(InvalidMessage, match="a position for each partition"):
            runtime.follow(after=3)


@pytest.mark.parametrize(
    ("after", "asked", "words"),
    [
        (-1, {}, "no position"),
        (1.5, {}, "no position"),
        ("event.0:x", {}, "give the `position` of one that follows the same"),
        ("event.0:1,parked.0:0", {}, "give the `position` of one that follows the same"),
        (9, {}, "another store, or of one that was restored"),
        (1, {"transitions": True}, "have numbers of their own"),
        ({4: 1}, {}, "partitions from 0 to 0"),
    ],
)
def test_a_position_of_something_else_is_refused(after: Any, asked: Any, words: str) -> None:
    with Runtime.ephemeral(desk) as runtime:
        runtime.publish(Came("ann"), stream="desk::door-1")
        with pytest.raises(InvalidMessage, match=words):
            runtime.follow(after=after, **asked)


def test_what_makes_no_sense_together_is_refused() -> None:
    with Runtime.ephemeral(desk) as runtime:
        with pytest.raises(ValueError, match="nothing is followed"):
            runtime.follow(events=False)
        with pytest.raises(ValueError, match=r"process='desk\.Visit' is for"):
            runtime.follow(process=Visit)
        with pytest.raises(ValueError, match="stream='desk::door' is for events"):
            runtime.follow(events=False, parked=True, stream="desk::door")


hall = Domain("hall")


@hall.register
class Asking(ProcessManager, correlate="name"):
    name: str = ""

    @handle(Came, start=True)
    def on_came(self, event: Came) -> None:
        inside[0].follow()


inside: list[Runtime] = []


def test_a_handler_cannot_follow() -> None:
    with Runtime.ephemeral(hall) as runtime:
        inside[:] = [runtime]
        runtime.publish(Came("ann"), stream="hall::door-1")
        runtime.settle(10)
        [parked] = runtime.parked()
        assert QueryInHandler.__name__ in parked.error


@settings(max_examples=15, deadline=None)
@given(
    batches=st.lists(
        st.lists(st.sampled_from(["ann", "ben", "bad1", "bad2", "cid"]), max_size=4), max_size=6
    ),
    seed=st.integers(0, 1 << 16),
)
def test_however_one_stops_and_goes_on_nothing_is_missed_and_nothing_comes_twice(
    batches: list[list[str]], seed: int
) -> None:
    chance = random.Random(seed)
    with Runtime.ephemeral(desk) as runtime:

        def opened(after: Any) -> Any:
            return runtime.follow(after=after, transitions=True, parked=True, timeout=QUIET)

        following, found = opened(0), list[Any]()
        for batch in batches:
            for name in batch:
                runtime.publish(Came(name), stream=f"desk::door-{name}")
            runtime.settle(10)
            if chance.random() < 0.3 and (waiting := list(runtime.parked())):
                runtime.skip(chance.choice(waiting).id)
            for _ in range(chance.randrange(6)):
                found += [one for one in [next(following, None)] if one is not None]
            if chance.random() < 0.5:
                following = opened(following.position)
        found += following
        told = names(found)
        assert len(set(told)) == len(told)
        whole = names(opened(0))
        assert sorted(told) == sorted(whole)
        for kind, those in groupby(sorted(found, key=lambda one: names([one])[0][0]), type):
            one_kind = names(those)
            assert one_kind == [one for one in whole if one in set(one_kind)], kind
        places = {one: place for place, one in enumerate(told)}
        for one in found:
            if isinstance(one, InstanceTransition):
                [cause] = (e for e in found if getattr(e, "event_id", None) == one.cause)
                assert places[names([cause])[0]] < places[names([one])[0]]


def test_a_look_reads_no_further_than_where_the_log_ended_when_it_began() -> None:
    with Runtime.ephemeral(desk) as runtime:
        for _ in range(3):
            runtime.publish(Came("ann"), stream="desk::door-1")
        log = LogEnd([runtime._store], ["event"], {("event", 0): 0}, lambda _: True)
        look = log.look()
        assert next(look).number == 1
        runtime.publish(Came("ann"), stream="desk::door-1")
        assert [one.number for one in look] == [2, 3]
        assert [one.number for one in log.look()] == [4]
