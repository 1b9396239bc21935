"""A runtime over several partitions does what one over one does, in files and in a database."""

from __future__ import annotations

from functools import partial
from itertools import count
from typing import TYPE_CHECKING

import pytest

from procession import Runtime, StoreError
from procession.store import (
    DividedStore,
    WrongPartition,
    divided_store,
    partition_of,
    verify_open,
)
from tests.actors.cluster.crossing import (
    Called,
    Case,
    Desk,
    Made,
    Marked,
    Note,
    Numbered,
    Open,
    Opened,
    Part,
    crossing,
)
from tests.postgresql import shared_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PARTITIONS = 4


@pytest.fixture(params=["folder", "database"])
def new_place(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """Where stores can be made, each in another place."""
    if request.param == "database":
        return partial(shared_server().new_url, without_tables=True)
    numbers = count()
    return lambda: str(tmp_path / f"store-{next(numbers)}")


@pytest.fixture
def place(new_place: Callable[[], str]) -> str:
    return new_place()


@pytest.fixture
def runtime(place: str) -> Iterator[Runtime]:
    with Runtime(place, crossing, partitions=PARTITIONS) as opened:
        yield opened
        opened.settle(timeout=20)
    divided = divided_store(place)
    assert divided is not None
    for partition in range(PARTITIONS):
        with divided.open(partition, read_only=True) as store:
            assert verify_open(store).findings == []


def test_commands_events_and_refusals_cross_and_come_once(runtime: Runtime) -> None:
    cases = {f"c{number}": (f"p{number}", f"q{number}", f"bad{number}") for number in range(40)}
    for case, parts in cases.items():
        assert runtime.ask(Open(case, parts)) == [Opened(case, parts)]
    runtime.settle(timeout=20)
    for case, parts in cases.items():
        view = runtime.get(Case, case)
        assert view is not None
        assert sorted(view.state["made"]) == sorted(parts[:2])
        assert view.state["refused"] == parts[2:]
        for part in parts[:2]:
            made = runtime.get(Part, part)
            note = runtime.get(Note, f"note-{case}-{part}")
            assert made is not None
            assert made.state == {"made": 1}
            assert note is not None
            assert note.state == {"count": 1}
    # They did cross.
    assert any(partition_of(case, 4) != partition_of(parts[0], 4) for case, parts in cases.items())


def test_an_event_that_names_a_learnt_key_finds_its_instance_in_another_partition(
    runtime: Runtime,
) -> None:
    for number in range(30):
        runtime.ask(Open(f"c{number}", ()))
        runtime.publish(Numbered(f"c{number}", f"n{number}"), stream=f"numbers-{number}")
    runtime.settle(timeout=20)
    for number in range(30):
        runtime.publish(Marked(f"n{number}"), stream=f"marks-{number * 7}")
    runtime.settle(timeout=20)
    assert [view.state["marks"] for view in runtime.find(Case)] == [1] * 30


def test_an_event_whose_key_is_learnt_later_is_held_where_the_key_is(runtime: Runtime) -> None:
    for number in range(30):
        runtime.publish(Marked(f"n{number}"), stream=f"marks-{number * 7}")
    runtime.settle(timeout=20)
    for number in range(30):
        runtime.ask(Open(f"c{number}", ()))
        runtime.publish(Numbered(f"c{number}", f"n{number}"), stream=f"numbers-{number}")
    runtime.settle(timeout=20)
    assert [view.state["marks"] for view in runtime.find(Case)] == [1] * 30


def test_an_event_for_many_goes_to_each_partition_once(runtime: Runtime) -> None:
    cases = tuple(f"c{number}" for number in range(50))
    for case in cases:
        runtime.ask(Open(case, ()))
    runtime.settle(timeout=20)
    runtime.publish(Called(cases), stream="calls-1")
    runtime.settle(timeout=20)
    assert [view.state["calls"] for view in runtime.find(Case)] == [1] * 50
    assert runtime.stats()["events"] == 50 + PARTITIONS


def test_events_are_told_once_each_and_go_on_from_the_position_of_each_partition(
    runtime: Runtime,
) -> None:
    for number in range(20):
        runtime.ask(Open(f"c{number}", (f"p{number}",)))
    runtime.settle(timeout=20)
    told = list(runtime.events())
    assert sum(isinstance(one.event, Opened) for one in told) == 20
    assert sum(isinstance(one.event, Made) for one in told) == 20
    seen: dict[int, int] = {}
    for one in told[:25]:
        seen[one.partition] = max(seen.get(one.partition, 0), one.position)
    rest = list(runtime.events(after=seen))
    assert len(rest) == len(told) - 25


def test_it_goes_on_where_it_was_closed(place: str) -> None:
    for turn in range(3):
        with Runtime(place, crossing, partitions=PARTITIONS) as runtime:
            for number in range(20):
                runtime.tell(Open(f"c{turn}-{number}", (f"p{turn}-{number}",)))
    with Runtime(place, crossing) as runtime:
        runtime.settle(timeout=20)
        assert [len(view.state["made"]) for view in runtime.find(Case)] == [1] * 60


def test_the_number_of_partitions_stays_what_it_was(new_place: Callable[[], str]) -> None:
    divided, whole = new_place(), new_place()
    with Runtime(divided, crossing, partitions=2):
        pass
    with pytest.raises(WrongPartition, match="has 2 partitions, and was opened with partitions=3"):
        Runtime(divided, crossing, partitions=3)
    with Runtime(whole, crossing):
        pass
    with pytest.raises(WrongPartition, match="is not divided"):
        Runtime(whole, crossing, partitions=2)


def test_a_partition_is_not_opened_by_itself(tmp_path: Path) -> None:
    with Runtime(tmp_path, crossing, partitions=2):
        pass
    folder = DividedStore(tmp_path, 2, "").folder_of(1)
    with pytest.raises(WrongPartition, match="partition 1 of 2 of a divided store"):
        Runtime(folder, crossing)


def test_several_partitions_need_fsync(place: str) -> None:
    with pytest.raises(StoreError, match="fsync"):
        Runtime(place, crossing, partitions=2, durability="os")


def test_what_is_parked_is_retried_where_it_is(place: str) -> None:
    with Runtime(place, crossing, partitions=PARTITIONS) as runtime:
        runtime.ask(Open("c1", ()))
        assert runtime.get(Desk, "c1") is not None
        assert list(runtime.parked()) == []
        assert runtime.counts()["crossing.Case"].instances in {0, 1}
