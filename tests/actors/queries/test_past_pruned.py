"""Whoever reads on behind a position learns that something was pruned there."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from procession import Domain, Event, ProcessManager, Pruned, Runtime, StoredEvent, handle
from procession.cli import main
from procession.control.calls import Tail
from procession.control.client import connect
from procession.queries import pruned
from procession.testing import VirtualClock

shop = Domain("shop")


class Placed(Event):
    order: str


@shop.register
class Once(ProcessManager, stateless=True):
    @handle(Placed)
    def on_placed(self, event: Placed) -> None: ...


def place(runtime: Runtime, *orders: str) -> None:
    for order in orders:
        runtime.publish(Placed(order), stream=f"web-{order}")
    runtime.settle(timeout=10)


def prune(runtime: Runtime) -> None:
    runtime.clock.advance(timedelta(days=1))
    runtime.prune(before=runtime.clock.now())


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "s"


@pytest.fixture
def runtime(store: Path) -> Iterator[Runtime]:
    """Of eight events, the first seven were pruned."""
    with Runtime(store, shop, clock=VirtualClock(), durability="none") as runtime:
        place(runtime, *"abcdefgh")
        prune(runtime)
        yield runtime


def positions(found: Iterator[StoredEvent]) -> list[int]:
    return [one.position for one in found]


def test_events_behind_a_position_are_refused_where_some_of_them_were_pruned(
    runtime: Runtime,
) -> None:
    assert positions(runtime.events()) == [8]
    for category in (None, "web"):
        with pytest.raises(Pruned, match=r"after=3: .* pruned, up to position 7; an archive may"):
            runtime.events(category, after=3)
        assert positions(runtime.events(category, after=3, past_pruned=True)) == [8]
        assert positions(runtime.events(category, after=7)) == [8]
    assert positions(runtime.events("web-h", after=3)) == [8]


def test_what_is_pruned_while_it_is_read_is_missed_by_no_reader(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruned, "PAGE", 2)
    place(runtime, "i", "j", "k")
    reading = runtime.events(after=7)
    assert next(reading).position == 8
    prune(runtime)
    with pytest.raises(Pruned, match=r"after=8: .* up to position 10"):
        list(reading)


def test_a_follower_that_was_away_too_long_is_told(runtime: Runtime) -> None:
    beginning, follower = (runtime.follow(after=one, timeout=0) for one in (0, 8))
    assert positions(beginning) == [8]
    place(runtime, "i", "j")
    assert positions(follower) == [9, 10]
    gone = runtime.follow(after=follower.position, timeout=0)
    place(runtime, "k", "l")
    prune(runtime)
    for one in (gone, follower, beginning):
        with pytest.raises(Pruned, match=r"behind the event \d+, .* were pruned, up to 11"):
            next(one)
    again = runtime.follow(after=follower.position, past_pruned=True, timeout=0)
    assert positions(again) == [12]
    # One that sees transitions has numbers of its own.
    with pytest.raises(Pruned, match=r"behind the transition 1, .* were pruned"):
        next(runtime.follow(after="transition.0:1", events=False, transitions=True, timeout=0))


def test_a_person_who_goes_on_behind_a_position_is_told(
    runtime: Runtime, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runtime.close()
    said = "events behind position 3 were pruned, up to 7"
    assert main(["events", "-s", str(store), "--after", "3"]) == 0
    assert said in capsys.readouterr().out
    assert main(["events", "-s", str(store), "--after", "3", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == {"position": 7, "pruned": True, "error": said}
    assert [one["position"] for one in rows] == [7, 8]
    assert main(["events", "-s", str(store), "--json"]) == 0
    assert "pruned" not in capsys.readouterr().out
    with connect(store) as client:
        rows = list(client.rows(Tail(after="event.0:3")))
        assert [one.get("position") for one in rows] == [None, 8]
        assert "were pruned, up to 7" in rows[0]["error"]
        assert [one["position"] for one in client.rows(Tail(last=5))] == [8]
