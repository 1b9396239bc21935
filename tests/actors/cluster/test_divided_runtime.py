"""A runtime over several partitions does what one over one does, in files and in a database."""

from __future__ import annotations

import shutil
from collections import Counter
from functools import partial
from itertools import count
from typing import TYPE_CHECKING

import pytest

from procession import IdReused, InvalidMessage, Runtime, StoreError
from procession.runtime import pages_of
from procession.store import (
    DamagedStore,
    DividedStore,
    WrongPartition,
    divided_at,
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
    Noted,
    Numbered,
    Open,
    Opened,
    Part,
    crossing,
)
from tests.actors.cluster.tags import Started, Tagged, Tags, tagging
from tests.postgresql import shared_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
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


def test_the_history_says_who_had_an_instance_rebuilt(runtime: Runtime) -> None:
    for number in range(8):
        runtime.tell(Open(f"c{number}", ()))
    runtime.settle(timeout=20)
    assert runtime.refresh(Case, "c1", by="ann") == 1
    assert runtime.refresh(Case, by="bea") == 8
    assert [one.by for one in runtime.history(Case, "c1")] == [None, "ann", "bea"]


def test_reused_ids_of_a_batch_are_told_by_their_places_in_the_whole(runtime: Runtime) -> None:
    many = [Open(f"c{number}", ()) for number in range(1_100)]
    runtime.tell_many(many[::300], command_id=lambda one: one.case)
    others = [Open(one.case, ("p",)) for one in many]
    with pytest.raises(IdReused) as said:
        runtime.tell_many(others, command_id=lambda one: one.case)
    assert said.value.places == (0, 300, 600, 900)
    stored = [Made(f"p{number}", "c") for number in range(0, 20, 7)]
    runtime.publish_many(
        stored, stream=lambda one: f"feed-{one.part}", event_id=lambda one: one.part
    )
    with pytest.raises(IdReused) as said:
        runtime.publish_many(
            [Made(f"p{number}", "d") for number in range(20)],
            stream=lambda one: f"feed-{one.part}",
            event_id=lambda one: one.part,
        )
    assert said.value.places == (0, 7, 14)


def test_a_batch_is_in_as_many_pages_as_there_would_be_in_a_store_for_each_partition(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("procession.cluster.divided_runtime.TOGETHER", 10)
    pages: list[int] = []

    def noted(messages: Iterable[Open], most: int) -> Iterator[list[Open]]:
        for page in pages_of(messages, most):
            pages.append(len(page))
            yield page

    monkeypatch.setattr("procession.cluster.divided_runtime.pages_of", noted)
    runtime.tell_many([Open(f"c{number}", ()) for number in range(15 * PARTITIONS)])
    assert pages == [10 * PARTITIONS, 5 * PARTITIONS]


@pytest.mark.parametrize("bad", [0, 7, 19])
def test_a_batch_of_which_one_does_not_fit_leaves_nothing_in_any_partition(
    runtime: Runtime, bad: int
) -> None:
    names = [f"c{number}" for number in range(20)]

    def headers(one: Open | Made) -> dict[str, object]:
        name = one.case if isinstance(one, Open) else one.part
        return {"odd": object()} if name == names[bad] else {}

    with pytest.raises(InvalidMessage, match="odd"):
        runtime.tell_many([Open(name, ()) for name in names], headers=headers)
    with pytest.raises(InvalidMessage, match="odd"):
        runtime.publish_many(
            [Made(name, "c") for name in names],
            stream=lambda one: f"feed-{one.part}",
            headers=headers,
        )
    runtime.settle(timeout=20)
    assert list(runtime.events()) == []


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


def test_why_says_of_an_event_what_came_of_it_in_other_partitions(runtime: Runtime) -> None:
    for number in range(12):
        runtime.ask(Open(f"c{number}", (f"p{number}",)))
        runtime.publish(Numbered(f"c{number}", f"n{number}"), stream=f"numbers-{number}")
    runtime.settle(timeout=20)
    runtime.publish(Marked("n3"), stream="marks-1", event_id="a mark")
    runtime.publish(Marked("unknown"), stream="marks-1", event_id="a held mark")
    cases = tuple(f"c{number}" for number in range(12))
    runtime.publish(Called((*cases, "never")), stream="calls-1", event_id="a call")
    runtime.settle(timeout=20)
    for made in (one for one in runtime.events("crossing::part")):
        (row,) = runtime.why(made.event_id)
        assert isinstance(made.event, Made)
        assert (row.outcome, row.instance) == ("stepped", made.event.case)
    (row,) = runtime.why("a mark")
    assert (row.outcome, row.instance) == ("stepped", "c3")
    (row,) = runtime.why("a held mark")
    assert row.outcome == "held"
    told = {row.instance: row.outcome for row in runtime.why("a call")}
    assert told == dict.fromkeys(cases, "stepped") | {"never": "skipped: no instance"}


def test_trace_follows_a_chain_through_all_partitions(runtime: Runtime) -> None:
    parts = ("p1", "p2", "p3", "bad1", "bad2")
    for number in range(6):
        runtime.tell(Open(f"c{number}", tuple(f"{one}-{number}" for one in parts)))
    runtime.settle(timeout=20)
    for opened in list(runtime.events("crossing::desk")):
        assert isinstance(opened.event, Opened)
        case = opened.event.case
        told = [(node.kind, node.type) for _, node in runtime.trace(opened.event_id).walk()]
        wanted = {
            ("command", ""): 1,
            ("event", "crossing.Opened.v1"): 1,
            ("transition", "on_opened"): 1,
            ("command", "crossing.Make.v1"): 5,
            ("event", "crossing.Made.v1"): 3,
            ("transition", "on_made"): 3,
            ("transition", "on_refused"): 2,
            ("effect", "note"): 3,
            ("command", "crossing.Noted.v1"): 3,
            ("event", "crossing.NoteMade.v1"): 3,
        }
        assert Counter(told) == wanted
        note = next(iter(runtime.events(f"crossing::note-note-{case}-p1-{case[1:]}")))
        assert str(runtime.trace(note.event_id)) == str(runtime.trace(opened.event_id))


def states_of(runtime: Runtime) -> dict[str, object]:
    return {view.id: view.state for view in runtime.find(Case)}


def work_on(runtime: Runtime, cases: int) -> None:
    for number in range(cases):
        runtime.tell(Open(f"c{number}", (f"p{number}", f"q{number}", f"bad{number}")))
        runtime.publish(Numbered(f"c{number}", f"n{number}"), stream=f"numbers-{number}")
    runtime.settle(timeout=20)
    for number in range(cases):
        runtime.publish(Marked(f"n{number}"), stream=f"marks-{number * 7}")
    named = tuple(f"c{number}" for number in range(cases))
    runtime.publish(Called(named), stream="calls-1")
    runtime.settle(timeout=20)


def test_rebuilding_comes_to_the_same_states_in_each_partition(runtime: Runtime) -> None:
    work_on(runtime, 12)
    before = states_of(runtime)
    told: list[int] = []
    progress = runtime.rebuild(Case, on_progress=lambda one: told.append(one.done))
    assert (progress.rebuilt, told[-1]) == (12, 12)
    assert states_of(runtime) == before
    assert runtime.rebuild(Case).passed_over == 12
    assert runtime.refresh(Case) == 12
    assert runtime.refresh(Case, since="origin") == 12
    assert runtime.refresh(Case, "c3", since="origin") == 1
    assert states_of(runtime) == before


def test_health_adds_up_and_names_the_partition_of_a_problem(runtime: Runtime) -> None:
    work_on(runtime, 4)
    health = runtime.health()
    assert health.is_healthy
    assert health.backlog == {"crossing.Case": 0}
    assert health.control is not None
    for number in range(4):
        runtime.tell(Open(f"c{number}", ()), command_id=f"again-{number}")
    runtime.settle(timeout=20)
    part = runtime.partition_runtimes[2]
    # A node has what it runs itself of a partition within what it knows of it.
    part = getattr(part, "local", part)
    engine = part._running
    assert engine is not None
    assert engine.lanes is not None
    engine.lanes.damage[1] = "the lane from partition 1 goes on with 7, and 5 is missing"
    (problem,) = runtime.health().problems
    assert (problem.name, problem.partition) == ("lane_damaged", 2)
    engine.lanes.damage.clear()


def test_a_lane_is_short_again_when_its_target_has_taken_all_and_sends_nothing_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("procession.engine.lanes.LONGEST", 8)
    monkeypatch.setattr("procession.engine.lanes.STRIDE", 4)
    (here, *_), (there, *_) = (
        [name for name in map(str, range(20)) if partition_of(name, 2) == one] for one in (0, 1)
    )
    with Runtime(tmp_path / "divided", crossing, partitions=2) as runtime:
        runtime.publish_many([Called((there,))] * 40, stream=f"calls-{here}")
        for _ in range(1_000):
            runtime.settle(timeout=20)
            if runtime.health().is_healthy:
                break
        assert runtime.health().problems == ()


def test_a_backup_beside_work_that_goes_on_is_a_whole_store(tmp_path: Path) -> None:
    wanted = {f"c{number}": (f"p{number}", f"q{number}") for number in range(300)}
    with Runtime(tmp_path / "divided", crossing, partitions=PARTITIONS) as runtime:
        runtime.tell_many([Open(case, parts) for case, parts in wanted.items()])
        runtime.backup(tmp_path / "copy")
        health = runtime.health()
        assert health.last_backup is not None
        assert health.last_backup.path == str(tmp_path / "copy")
        runtime.settle(timeout=30)
        with pytest.raises(StoreError, match="is not empty"):
            runtime.backup(tmp_path / "copy")
        assert runtime.verify() == []
    with Runtime(tmp_path / "copy", crossing) as copy:
        copy.settle(timeout=30)
        assert {view.id: tuple(sorted(view.state["made"])) for view in copy.find(Case)} == wanted
        assert copy.verify() == []


def test_verify_finds_that_a_partition_is_from_an_older_backup(tmp_path: Path) -> None:
    path = tmp_path / "divided"
    with Runtime(path, crossing, partitions=2) as runtime:
        work_on(runtime, 4)
        runtime.backup(tmp_path / "older")
        work_on(runtime, 12)
    older, newer = divided_at(tmp_path / "older"), divided_at(path)
    assert older is not None
    assert newer is not None
    shutil.copy(older.folder_of(0) / "data.mdb", newer.folder_of(0) / "data.mdb")
    with Runtime(path, crossing, read_only=True) as runtime:
        (finding,) = (one for one in runtime.verify() if one.table == "cursors")
    assert "in partition 1: took" in finding.problem
    before = (newer.folder_of(0) / "data.mdb").read_bytes()
    with pytest.raises(DamagedStore, match="older backup"):
        Runtime(path, crossing)
    # It has taken nothing before it was refused.
    assert (newer.folder_of(0) / "data.mdb").read_bytes() == before


def test_nothing_new_is_begun_while_a_lane_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("procession.engine.lanes.LONGEST", 8)
    monkeypatch.setattr("procession.engine.lanes.STRIDE", 4)
    (here, *others), (there, *_) = (
        [name for name in map(str, range(20)) if partition_of(name, 2) == one] for one in (0, 1)
    )
    with Runtime(tmp_path / "divided", crossing, partitions=2) as runtime:
        engine = runtime.partition_runtimes[1]._running
        assert engine is not None
        assert engine.lanes is not None
        runtime.settle(timeout=20)
        engine.lanes.is_closed = True
        runtime.publish_many([Called((there,))] * 40, stream=f"calls-{here}")
        while runtime.health().is_healthy:
            # A commit each, after any of which what is new would be taken.
            runtime.publish(Called((here,)), stream=f"calls-{here}")
        runtime.tell(Open(here, ()))
        asked = runtime.ask(Open(others[0], ()), block=False)
        for _ in range(20):
            runtime.publish(Called((here,)), stream=f"calls-{here}")
        for name in (here, others[0]):
            assert list(runtime.events(f"crossing::desk-{name}")) == []
        engine.lanes.is_closed = False
        engine.lanes.nudge(0)
        assert len(asked.get(timeout=20)) == 1
        runtime.settle(timeout=20)
        assert len(list(runtime.events(f"crossing::desk-{here}"))) == 1


def test_an_event_that_names_several_learnt_values_is_taken_once_by_who_has_them(
    tmp_path: Path,
) -> None:
    with Runtime(tmp_path / "divided", tagging, partitions=PARTITIONS) as runtime:
        for number in range(12):
            tags = tuple(f"t{number}-{place}" for place in range(5))
            runtime.publish(Started(f"c{number}", tags), stream=f"starts-{number}")
        runtime.settle(timeout=20)
        for number in range(12):
            tags = tuple(f"t{number}-{place}" for place in range(5))
            runtime.publish(Tagged(tags), stream=f"marks-{number}", event_id=f"mark-{number}")
        runtime.settle(timeout=20)
        assert [view.state["count"] for view in runtime.find(Tags)] == [1] * 12
        assert runtime.refresh(Tags, since="origin") == 12
        assert [view.state["count"] for view in runtime.find(Tags)] == [1] * 12
        for number in range(12):
            (row,) = runtime.why(f"mark-{number}")
            assert row.outcome == "stepped"


@pytest.mark.parametrize("partitions", [4, 32])
def test_all_partitions_keep_awake_at_most_what_eight_undivided_stores_do(
    tmp_path: Path, partitions: int
) -> None:
    most = 16
    with Runtime(tmp_path / "store", crossing, partitions=partitions, max_awake=most) as runtime:
        for start in range(0, 400, 8):
            # Few at a time: those that have work are awake, however many they are.
            runtime.tell_many([Noted(f"n{number}") for number in range(start, start + 8)])
            runtime.settle(timeout=20)
        awake = [len(one._running.residency) for one in runtime.partition_runtimes]  # type: ignore[union-attr]
    assert 0 < max(awake) <= most
    assert sum(awake) <= 8 * most
