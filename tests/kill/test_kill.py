"""Promises 2, 4, 5 and 7: a worker is killed again and again, and nothing is lost or doubled."""

from decimal import Decimal
from pathlib import Path

import pytest

from procession import Runtime
from procession.store import Append, EventRecord, LmdbStore, Step, backup, compact
from tests.kill.campaign import CAN_HAPPEN, FAULTS, Campaign, finish, kill, read_some, start
from tests.kill.checker import Acknowledged, Findings
from tests.kill.points import ONLY_DATABASE, POINTS
from tests.kill.shop import AddNote, GiftNoted, PlaceOrder, shop
from tests.postgresql import new_server

KILLS = len(POINTS) + 8


def test_a_worker_killed_at_every_point_of_its_life_loses_nothing_and_does_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EFFECTS", "")
    monkeypatch.setenv("OPERATORS", "")
    tally = Campaign(tmp_path, KILLS, seed=20_240_229).run()
    assert tally.wrong == []
    assert (tally.lost, tally.doubled, tally.effects_missing) == (0, 0, 0)
    # All that can happen did, or this run has shown nothing about it.
    assert set(POINTS) <= set(tally.kills)
    assert tally.kills.total() == KILLS
    assert tally.acknowledged > 200, "the workers were killed before they did anything"
    assert tally.happened >= CAN_HAPPEN


def test_a_worker_killed_beside_a_server_that_is_cut_off_too_loses_nothing_and_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EFFECTS", "")
    monkeypatch.setenv("OPERATORS", "")
    points = {*FAULTS, *ONLY_DATABASE}
    with new_server() as server:
        tally = Campaign(tmp_path, len(points) + 3, seed=3, server=server).run()
    assert tally.wrong == []
    assert (tally.lost, tally.doubled, tally.effects_missing) == (0, 0, 0)
    # The points of a commit that may not come are few beside those that always do.
    assert len(points & set(tally.kills)) >= len(points) - 2
    assert set(FAULTS) <= set(tally.kills)
    assert tally.acknowledged > 50, "the workers were killed before they did anything"


def test_of_two_operators_one_is_told_that_the_decision_is_theirs_whatever_kill_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EFFECTS", "")
    monkeypatch.setenv("OPERATORS", "")
    tally = Campaign(tmp_path, 10, seed=5, operators=2).run()
    assert tally.wrong == []
    assert (tally.lost, tally.doubled, tally.effects_missing) == (0, 0, 0)
    # How many depends on how far each worker comes before its kill.
    assert tally.decided > 0


def test_a_copy_made_while_another_process_writes_is_whole_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EFFECTS", str(tmp_path / "effects"))
    worker = start(tmp_path / "store", 0)
    assert worker.stdout is not None
    try:
        acknowledged = Acknowledged(read_some(worker.stdout, 50))
        backup(tmp_path / "store", tmp_path / "copy")
        compact(tmp_path / "store", tmp_path / "small")
    finally:
        kill(worker)
    for copy in (tmp_path / "copy", tmp_path / "small"):
        assert Findings(str(copy), acknowledged).wrong == []
        with Runtime(copy, shop) as runtime:
            finish(runtime, acknowledged.orders)
        assert Findings(str(copy), acknowledged).wrong == []


# The kill test means something only if its checker can fail.


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sound store with one order, one event under an id, and one command under an id."""
    monkeypatch.setenv("EFFECTS", str(tmp_path / "effects"))
    with Runtime(tmp_path / "store", shop) as runtime:
        runtime.ask(PlaceOrder("o1", Decimal(1)))
        runtime.publish(GiftNoted("o1"), stream="killed::gift-o1", event_id="gift-o1")
        runtime.tell(AddNote("o1"), command_id="note-o1")
        finish(runtime, {"o1"})
    return tmp_path / "store"


def test_the_checker_finds_nothing_in_a_sound_store(store: Path) -> None:
    with LmdbStore(store) as opened:
        position = opened.position_of("gift-o1")
    lines = ["open", "asked o1", "told o1", f"published gift-o1 {position}", "noted note-o1"]
    assert Findings(str(store), Acknowledged(lines)).wrong == []


@pytest.mark.parametrize("line", ["asked o2", "told o2", "published gift-o1 99", "noted note-o2"])
def test_the_checker_finds_what_was_acknowledged_and_is_not_there(store: Path, line: str) -> None:
    findings = Findings(str(store), Acknowledged([line]))
    assert findings.lost == 1
    assert "lost" in findings.wrong[0]


@pytest.mark.parametrize("line", ["decided 1 retry 0", "decided 1 skip 1"])
def test_the_checker_finds_a_decision_of_which_there_is_none(store: Path, line: str) -> None:
    findings = Findings(str(store), Acknowledged([line]))
    assert findings.lost == 1
    both = Findings(str(store), Acknowledged(["decided 1 retry 0", "decided 1 skip 1"]))
    assert both.doubled == 1


def test_the_checker_finds_a_transition_that_was_made_twice(store: Path) -> None:
    with LmdbStore(store) as opened:
        last = opened.last_transition("killed.Fulfilment", "o1")
        assert last is not None
        last.version += 1
        opened.commit([Step(process="killed.Fulfilment", instance="o1", transition=last)])
    findings = Findings(str(store), Acknowledged())
    assert findings.doubled
    assert "took an event twice" in " ".join(findings.wrong)
    assert "went on after its end" in " ".join(findings.wrong)


def test_the_checker_finds_a_command_that_took_effect_twice(store: Path) -> None:
    stream = "killed::notebook-o1"
    with LmdbStore(store) as opened:
        (noted,) = opened.read_stream(stream, 0, 10)
        again = EventRecord(
            noted.type, stream, 2, noted.time, noted.data, "", "note-o1", noted.causation_id
        )
        opened.commit([Step(append=Append(stream, 1, [again]))])
    findings = Findings(str(store), Acknowledged())
    assert findings.doubled
    assert "took effect 2 times" in " ".join(findings.wrong)
