"""State is rebuilt from all that concerns an instance, and goes on from where it stopped."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from procession import (
    SKIP,
    Aggregate,
    Command,
    Domain,
    Event,
    Indexed,
    InvalidMessage,
    NotRefreshed,
    ProcessManager,
    QueryInHandler,
    RebuildProgress,
    Runtime,
    handle,
    timeout,
)
from procession.engine.rebuilding import Rebuilding
from procession.model.code_ages import CodeAges
from procession.store import CodeRecord, LmdbStore
from procession.testing import VirtualClock


class Joined(Event):
    member: str


class Visited(Event):
    member: str
    hours: int = 1


class Praised(Event):
    member: str


class CardGiven(Event):
    member: str
    card: str


class Scanned(Event):
    card: str


class Left(Event):
    member: str


class SendBadge(Command):
    member: str


class BadgeSent(Event):
    member: str


class Badges(Aggregate, identity="member"):
    @handle(SendBadge)
    def send(self, command: SendBadge) -> BadgeSent:
        return BadgeSent(self.id)


class Base(ProcessManager, correlate="member", name="club.Membership"):
    member: str = ""
    card: Indexed[str] = ""
    log: list[str] = []
    ids: list[str] = []

    @handle(Joined, start=True)
    def joined(self, event: Joined) -> None:
        self.log.append("joined")
        self.set_timeout("yearly", timedelta(days=1))

    @handle(CardGiven)
    def card_given(self, event: CardGiven) -> None:
        self.card = event.card
        self.log.append(f"card {event.card}")

    @timeout("yearly")
    def yearly(self) -> None:
        self.log.append("yearly")

    @handle(Left, end=True)
    def left(self, event: Left) -> None:
        self.log.append("left")


def club(cls: type[ProcessManager]) -> Domain:
    made = Domain("club")
    made.register(cls, Badges, Visited, Praised, Scanned, Left)
    return made


def before() -> Domain:
    class Membership(Base, name="club.Membership"):
        pass

    return club(Membership)


def later(**options: Any) -> tuple[Domain, type[ProcessManager]]:
    class Membership(Base, name="club.Membership", **options):
        @handle(Visited)
        def visited(self, event: Visited) -> None:
            self.log.append(f"visited {event.hours}")
            self.ids.append(self.context.new_id())
            self.issue(SendBadge(self.member))
            self.set_timeout("yearly", timedelta(days=2))

        @handle(Scanned, correlate={"card": "card"})
        def scanned(self, event: Scanned) -> None:
            self.log.append(f"scanned {event.card}")

    return club(Membership), Membership


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def opened(tmp_path: Path, clock: VirtualClock) -> Iterator[Callable[[Domain], Runtime]]:
    """Opens the one store with another domain each time."""
    last: list[Runtime] = []

    def again(domain: Domain) -> Runtime:
        for one in last:
            one.close()
        last[:] = [Runtime(tmp_path, domain, clock=clock, durability="none")]
        return last[0]

    yield again
    for one in last:
        if not one._is_closed:
            assert one.verify() == []
        one.close()


def publish(runtime: Runtime, *events: Event, stream: str = "feed-1") -> None:
    for event in events:
        runtime.publish(event, stream=stream)
        runtime.settle(timeout=10)


def log_of(runtime: Runtime, cls: type[ProcessManager], name: str = "ada") -> list[str]:
    view = runtime.get(cls, name)
    assert view is not None
    found: list[str] = view.state["log"]
    return found


Opened = Callable[[Domain], Runtime]


def test_a_handler_that_was_added_sees_its_past_events_when_asked_and_issues_nothing(
    opened: Opened,
) -> None:
    runtime = opened(before())
    publish(runtime, Joined("ada"), Visited("ada", 3), Visited("bob", 7), Visited("ada", 5))
    domain, cls = later()
    runtime = opened(domain)
    assert runtime.refresh(cls, "ada") == 1
    assert log_of(runtime, cls) == ["joined"]
    pending = [one.due for one in runtime.timeouts()]
    assert runtime.refresh(cls, "ada", since="origin") == 1
    runtime.settle(timeout=10)
    assert log_of(runtime, cls) == ["joined", "visited 3", "visited 5"]
    assert list(runtime.events("club::badges")) == []
    assert [one.due for one in runtime.timeouts()] == pending
    last = list(runtime.history(cls, "ada"))[-1]
    assert (last.handler, last.commands) == ("refresh", ())
    # What comes now is handled as ever.
    publish(runtime, Visited("ada", 9))
    assert log_of(runtime, cls)[-1] == "visited 9"
    assert len(list(runtime.events("club::badges"))) == 1


def test_the_history_says_who_had_state_rebuilt_if_that_was_said(opened: Opened) -> None:
    runtime = opened(before())
    publish(runtime, Joined("ada"))
    domain, cls = later()
    runtime = opened(domain)
    runtime.refresh(cls, "ada", by="ann")
    runtime.refresh(cls, "ada", since="origin", by="bea")
    runtime.refresh(cls, by="cem")
    runtime.refresh(cls, since="origin", by="dov")
    runtime.refresh(cls)
    runtime.rebuild(cls, by="eva")
    runtime.refresh(cls, "ada")
    _, *rebuilt = runtime.history(cls, "ada")
    assert [one.by for one in rebuilt] == ["ann", "bea", "cem", "dov", None, "eva", None]
    assert [one.note for one in rebuilt[-2:]] == ["rebuilt by eva", None]
    assert runtime.verify() == []


def test_who_asks_is_checked_before_anything_is_rebuilt(opened: Opened) -> None:
    domain, cls = later()
    runtime = opened(domain)
    publish(runtime, Joined("ada"))
    for rebuild in (
        lambda: runtime.refresh(cls, "ada", by=7),  # type: ignore[arg-type]
        lambda: runtime.refresh(cls, by="x" * 1_001),
        lambda: runtime.rebuild(cls, by=b"ann"),  # type: ignore[call-overload]
    ):
        with pytest.raises(InvalidMessage, match="by="):
            rebuild()
    assert len(list(runtime.history(cls, "ada"))) == 1


def test_a_second_refresh_comes_to_the_same_and_so_do_the_ids_that_handlers_make(
    opened: Opened,
) -> None:
    runtime = opened(before())
    publish(runtime, Joined("ada"), Visited("ada", 3), CardGiven("ada", "c1"), Visited("ada", 4))
    domain, cls = later()
    runtime = opened(domain)
    states = []
    for _ in range(2):
        runtime.refresh(cls, "ada", since="origin")
        view = runtime.get(cls, "ada")
        assert view is not None
        states.append(view.state)
    assert states[0] == states[1]
    assert len(set(states[0]["ids"])) == 2


def test_what_came_before_the_start_or_after_the_end_concerns_no_instance(opened: Opened) -> None:
    runtime = opened(before())
    publish(
        runtime, Visited("ada", 1), Joined("ada"), Visited("ada", 2), Left("ada"), Visited("ada", 3)
    )
    domain, cls = later()
    runtime = opened(domain)
    runtime.refresh(cls, "ada", since="origin")
    assert log_of(runtime, cls) == ["joined", "visited 2", "left"]
    view = runtime.get(cls, "ada")
    assert view is not None
    assert view.is_complete


def test_what_came_before_the_start_is_taken_up_behind_it_where_the_class_holds_it(
    opened: Opened,
) -> None:
    runtime = opened(before())
    publish(runtime, Visited("ada", 1), Joined("ada"), Visited("ada", 2))
    domain, cls = later(early="hold")
    runtime = opened(domain)
    runtime.refresh(cls, "ada", since="origin")
    assert log_of(runtime, cls) == ["joined", "visited 1", "visited 2"]


def test_what_was_held_and_handled_is_not_taken_twice(opened: Opened) -> None:
    domain, cls = later(early="hold")
    runtime = opened(domain)
    publish(runtime, Visited("ada", 1), Joined("ada"), Visited("ada", 2))
    logged = log_of(runtime, cls)
    assert logged == ["joined", "visited 1", "visited 2"]
    runtime.refresh(cls, "ada", since="origin")
    assert log_of(runtime, cls) == logged


def test_learnt_keys_lead_to_an_instance_as_they_were_learnt(opened: Opened) -> None:
    runtime = opened(before())
    publish(
        runtime,
        Joined("ada"),
        Joined("bob"),
        Scanned("c1"),
        CardGiven("ada", "c1"),
        Scanned("c1"),
        CardGiven("ada", "c2"),
        Scanned("c1"),
        CardGiven("bob", "c1"),
        Scanned("c1"),
        Scanned("c2"),
    )
    domain, cls = later()
    runtime = opened(domain)
    assert runtime.rebuild(cls).rebuilt == 2
    ada = ["joined", "card c1", "scanned c1", "card c2", "scanned c2"]
    bob = ["joined", "card c1", "scanned c1"]
    assert (log_of(runtime, cls), log_of(runtime, cls, "bob")) == (ada, bob)
    for name, expected in (("ada", ada), ("bob", bob)):
        runtime.refresh(cls, name, since="origin")
        assert log_of(runtime, cls, name) == expected


def test_events_of_streams_that_are_not_listened_to_do_not_count(opened: Opened) -> None:
    runtime = opened(before())
    publish(runtime, Joined("ada"), Visited("ada", 1))
    publish(runtime, Visited("ada", 2), stream="other-1")
    domain, cls = later(streams=["feed"])
    runtime = opened(domain)
    runtime.refresh(cls, "ada", since="origin")
    assert log_of(runtime, cls) == ["joined", "visited 1"]


def test_a_timeout_comes_when_it_was_due_among_what_it_did_not_see(
    opened: Opened, clock: VirtualClock
) -> None:
    runtime = opened(before())
    publish(runtime, Joined("ada"))
    clock.advance(timedelta(hours=1))
    publish(runtime, Visited("ada", 1))
    clock.advance(timedelta(days=2))
    runtime.settle(timeout=10)
    publish(runtime, Visited("ada", 2))
    domain, cls = later()
    runtime = opened(domain)
    runtime.refresh(cls, "ada", since="origin")
    assert log_of(runtime, cls) == ["joined", "visited 1", "yearly", "visited 2"]


def test_what_is_parked_is_left_out_and_so_is_what_was_skipped(opened: Opened) -> None:
    fails = {"on": True}

    class Membership(Base, name="club.Membership"):
        @handle(Visited)
        def visited(self, event: Visited) -> None:
            if fails["on"]:
                raise ValueError("no")
            self.log.append(f"visited {event.hours}")

    runtime = opened(club(Membership))
    publish(runtime, Joined("ada"), Visited("ada", 1))
    (parked,) = runtime.parked()
    fails["on"] = False
    runtime.refresh(Membership, "ada", since="origin")
    assert log_of(runtime, Membership) == ["joined"]
    runtime.skip(parked.id)
    runtime.settle(timeout=10)
    runtime.refresh(Membership, "ada", since="origin")
    assert log_of(runtime, Membership) == ["joined"]
    publish(runtime, Visited("ada", 2))
    assert log_of(runtime, Membership) == ["joined", "visited 2"]


def test_an_instance_begins_with_a_start_that_was_added(opened: Opened) -> None:
    class Membership(Base, name="club.Membership"):
        @handle(Visited, start=True)
        def visited(self, event: Visited) -> None:
            self.log.append(f"visited {event.hours}")

    runtime = opened(before())
    publish(runtime, Visited("eve", 1), Visited("eve", 2))
    runtime = opened(club(Membership))
    assert runtime.get(Membership, "eve") is None
    assert runtime.refresh(Membership, "eve") == 0
    assert runtime.refresh(Membership, "nobody", since="origin") == 0
    assert runtime.refresh(Membership, "eve", since="origin") == 1
    view = runtime.get(Membership, "eve")
    assert view is not None
    assert (view.version, view.is_complete, view.state["member"]) == (1, False, "eve")
    assert view.state["log"] == ["visited 1", "visited 2"]
    publish(runtime, Visited("eve", 3))
    assert log_of(runtime, Membership, "eve") == ["visited 1", "visited 2", "visited 3"]


def test_what_was_handled_anew_is_not_handled_when_it_is_brought_again(
    opened: Opened, tmp_path: Path
) -> None:
    runtime = opened(before())
    publish(runtime, Joined("ada"), Visited("ada", 3))
    domain, cls = later()
    runtime = opened(domain)
    runtime.refresh(cls, "ada", since="origin")
    runtime.close()
    with LmdbStore(tmp_path) as store:
        # As after a crash before the checkpoint was written.
        store.commit([], {"club.Membership": 0})
    runtime = opened(domain)
    runtime.settle(timeout=10)
    assert log_of(runtime, cls) == ["joined", "visited 3"]


def test_a_word_that_is_no_beginning_is_refused(opened: Opened) -> None:
    domain, cls = later()
    since: Any = "yesterday"
    with pytest.raises(ValueError, match="since='yesterday'; give \"origin\", or nothing"):
        opened(domain).refresh(cls, since=since)


# All of them


def test_all_are_rebuilt_with_progress_and_passed_over_when_it_is_called_again(
    opened: Opened,
) -> None:
    names = [f"m{number}" for number in range(5)]
    runtime = opened(before())
    publish(runtime, *(Joined(name) for name in names), *(Visited(name) for name in names))
    domain, cls = later()
    runtime = opened(domain)
    seen: list[tuple[int, str]] = []

    def note(progress: RebuildProgress) -> None:
        seen.append((progress.done, progress.newest))

    done = runtime.rebuild(cls, on_progress=note)
    assert (done.rebuilt, done.passed_over, done.not_rebuilt) == (5, 0, 0)
    assert seen == list(enumerate(names, 1))
    assert all(log_of(runtime, cls, name) == ["joined", "visited 1"] for name in names)
    assert list(runtime.history(cls, "m1"))[-1].handler == "rebuild"
    again = runtime.rebuild(cls)
    assert (again.rebuilt, again.passed_over) == (0, 5)
    # One that moved on is rebuilt again, and a refresh asks nobody.
    publish(runtime, Visited("m3"))
    again = runtime.rebuild(cls)
    assert (again.rebuilt, again.passed_over) == (1, 4)
    assert runtime.refresh(cls, since="origin") == 5


def test_what_was_interrupted_goes_on_where_it_stopped(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("procession.engine.rebuilding.TOGETHER", 2)
    names = [f"m{number}" for number in range(6)]
    runtime = opened(before())
    publish(runtime, *(Joined(name) for name in names), *(Visited(name) for name in names))
    domain, cls = later()
    runtime = opened(domain)

    def stop(progress: RebuildProgress) -> None:
        if progress.done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runtime.rebuild(cls, on_progress=stop)
    assert log_of(runtime, cls, "m5") == ["joined"]
    runtime = opened(domain)
    done = runtime.rebuild(cls)
    assert (done.rebuilt, done.passed_over) == (2, 4)
    assert all(log_of(runtime, cls, name) == ["joined", "visited 1"] for name in names)


def test_one_that_moves_meanwhile_is_decided_with_what_moved_it(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = opened(before())
    publish(runtime, Joined("ada"), Visited("ada", 1))
    domain, cls = later()
    runtime = opened(domain)
    real, moved = Rebuilding._ask, list[str]()

    def ask(self: Any, name: str, refresh: Any) -> Any:
        # What it comes to is known by now, without this.
        publish(runtime, CardGiven("ada", "c1"))
        moved.append(name)
        return real(self, name, refresh)

    monkeypatch.setattr(Rebuilding, "_ask", ask)
    assert runtime.rebuild(cls).rebuilt == 1
    assert moved == ["ada"]
    assert log_of(runtime, cls) == ["joined", "visited 1", "card c1"]


def test_one_that_fails_stays_as_it_was_and_all_others_are_rebuilt(opened: Opened) -> None:
    class Membership(Base, name="club.Membership"):
        @handle(Visited)
        def visited(self, event: Visited) -> None:
            if event.hours == 0:
                raise ValueError("no hours")
            self.log.append(f"visited {event.hours}")

    runtime = opened(before())
    publish(runtime, *(Joined(name) for name in ("a", "b", "c")))
    publish(runtime, Visited("a", 1), Visited("b", 0), Visited("c", 1))
    runtime = opened(club(Membership))
    with pytest.raises(NotRefreshed, match=r"1 of 3 instances of club\.Membership") as raised:
        runtime.rebuild(Membership)
    assert raised.value.errors == {"b": "ValueError: no hours"}
    assert [log_of(runtime, Membership, name) for name in "abc"] == [
        ["joined", "visited 1"],
        ["joined"],
        ["joined", "visited 1"],
    ]
    with pytest.raises(ValueError, match="no hours"):
        runtime.refresh(Membership, "b", since="origin")


def test_refresh_of_all_goes_on_past_one_that_fails(opened: Opened) -> None:
    class Membership(Base, name="club.Membership"):
        @handle(Joined, start=True)
        def joined(self, event: Joined) -> None:
            if event.member == "b":
                raise ValueError("not this one")
            self.log.append("joined anew")

    runtime = opened(before())
    publish(runtime, *(Joined(name) for name in ("a", "b", "c")))
    runtime = opened(club(Membership))
    with pytest.raises(NotRefreshed) as raised:
        runtime.refresh(Membership)
    assert (raised.value.rebuilt, raised.value.not_rebuilt) == (2, 1)
    assert log_of(runtime, Membership, "c") == ["joined anew"]


def test_what_an_error_passes_over_is_passed_over_anew(opened: Opened) -> None:
    class Membership(Base, name="club.Membership"):
        @handle(Visited)
        def visited(self, event: Visited) -> None:
            if event.hours == 0:
                raise ValueError("no hours")
            self.log.append(f"visited {event.hours}")

        def on_error(self, error: Exception, context: Any) -> Any:
            return SKIP

    runtime = opened(before())
    publish(runtime, Joined("a"), Visited("a", 0), Visited("a", 1))
    runtime = opened(club(Membership))
    assert runtime.refresh(Membership, "a", since="origin") == 1
    assert log_of(runtime, Membership, "a") == ["joined", "visited 1"]


def test_a_handler_that_runs_for_a_rebuild_may_look_nothing_up(opened: Opened) -> None:
    errors: list[Exception] = []

    class Membership(Base, name="club.Membership"):
        @handle(Visited)
        def visited(self, event: Visited) -> None:
            try:
                runtime.get(Membership, "a")
            except QueryInHandler as error:
                errors.append(error)

    runtime = opened(before())
    publish(runtime, Joined("a"), Visited("a", 1))
    runtime = opened(club(Membership))
    runtime.rebuild(Membership)
    assert len(errors) == 1
    assert runtime.get(Membership, "a") is not None


# By which code


def ages(runtime: Runtime, cls: type[ProcessManager]) -> dict[str, str]:
    return {one.id: one.code for one in runtime.stuck(cls, timedelta(0))}


def test_stuck_says_which_instances_an_older_code_decided(opened: Opened) -> None:
    runtime = opened(before())
    publish(runtime, Joined("a"), Joined("b"))
    domain, cls = later()
    runtime = opened(domain)
    publish(runtime, Joined("c"), CardGiven("b", "c9"))
    assert ages(runtime, cls) == {"a": "older", "b": "older", "c": "same"}
    (first, *_) = runtime.stuck(cls, timedelta(0))
    assert str(first).endswith("; decided by older code")
    runtime.rebuild(cls)
    assert set(ages(runtime, cls).values()) == {"same"}


def test_the_same_code_has_one_number_however_often_the_store_is_opened(
    opened: Opened, tmp_path: Path
) -> None:
    for _ in range(3):
        runtime = opened(before())
        publish(runtime, Joined("a"))
    domain, _ = later()
    publish(opened(domain), Joined("b"))
    runtime = opened(before())
    assert len(list(runtime._store.scan_codes())) == 2
    (old,) = runtime._registry.processes
    assert ages(runtime, old) == {"a": "same", "b": "newer"}


def test_no_code_is_written_when_the_same_code_opens_a_store(opened: Opened) -> None:
    domain, _ = later()
    publish(opened(domain), Joined("a"))
    codes = list(opened(domain)._store.scan_codes())
    assert list(opened(domain)._store.scan_codes()) == codes
    assert not opened(domain)._store.ahead.fresh_codes


def test_another_python_is_not_comparable(opened: Opened, tmp_path: Path) -> None:
    domain, cls = later()
    runtime = opened(domain)
    publish(runtime, Joined("a"))
    runtime.close()
    with LmdbStore(tmp_path) as store:
        definition = domain.processes[cls]
        number = store.number_of_code(definition.name, "cpython-99", definition.fingerprint)
        assert number == 2
        found = CodeAges(store, definition)
        assert [found.of(one) for one in (0, 1)] == ["not comparable", "same"]
        store.commit([])
        assert list(store.scan_codes())[1] == CodeRecord(
            definition.name, "cpython-99", definition.fingerprint, 2
        )
        assert found.of(2) == "not comparable"


def test_check_says_which_instances_an_older_code_decided(opened: Opened, tmp_path: Path) -> None:
    runtime = opened(before())
    publish(runtime, Joined("a"), Joined("b"), Left("b"))
    domain, cls = later()
    assert "older-code" not in [one.code for one in domain.check()]
    found = [one for one in domain.check(tmp_path) if one.code == "older-code"]
    assert [one.place for one in found] == [cls.__qualname__]
    assert "2 instances were decided by older code, such as 'a'" in found[0].message
    assert "runtime.rebuild(Membership)" in found[0].mend
    runtime = opened(domain)
    runtime.rebuild(cls)
    assert [one for one in domain.check(tmp_path) if one.code == "older-code"] == []
