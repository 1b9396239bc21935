"""Where a process manager begins that is new to a store with history."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest

from procession import (
    BeginUndecided,
    Command,
    DefinitionError,
    DesignFinding,
    Domain,
    Event,
    ProcessionError,
    ProcessManager,
    Runtime,
    after,
    handle,
)
from procession.store import (
    Append,
    DictionaryEngine,
    EventRecord,
    LmdbStore,
    Step,
    Store,
    verify,
)
from procession.testing import Simulation, VirtualClock, explore

WAIT = 20
START = datetime(2026, 3, 1, tzinfo=UTC)


class Shipped(Event):
    order: str


class Returned(Event):
    order: str


class Mailed:
    """Letters that were sent."""

    letters: ClassVar[list[str]] = []


@pytest.fixture(autouse=True)
def mailed() -> None:
    Mailed.letters.clear()


def shop() -> Domain:
    """What ran before."""
    made = Domain("shop")
    made.register(Shipped, Returned)
    return made


def with_letters(**options: Any) -> tuple[Domain, type[ProcessManager]]:
    made = shop()

    @made.register
    class Letters(ProcessManager, correlate="order", **options):
        count: int = 0

        @handle(Shipped, start=True)
        def on_shipped(self, event: Shipped) -> None:
            self.count += 1

        @after(Shipped)
        def write(self, event: Shipped) -> None:
            Mailed.letters.append(event.order)

    return made, Letters


def opened(
    path: Path, domain: Domain, clock: VirtualClock | None = None, **options: Any
) -> Runtime:
    clock = clock or VirtualClock(START)
    return Runtime(path, domain, durability="none", clock=clock, **options)


def ship(path: Path, *orders: str, clock: VirtualClock | None = None, **options: Any) -> None:
    with opened(path, shop(), clock, **options) as runtime:
        for order in orders:
            runtime.publish(Shipped(order), stream="feed-1")


def letters_after(path: Path, domain: Domain) -> list[str]:
    """What the runtime writes letters about when it is opened, and one more order is shipped."""
    with opened(path, domain) as runtime:
        runtime.publish(Shipped("new"), stream="feed-1")
        runtime.settle(timeout=WAIT)
        assert runtime.verify() == []
    # Those of several instances run at once, so their order is not known.
    return sorted(Mailed.letters)


# What a class says


def test_a_class_that_is_new_to_history_and_does_not_say_where_it_begins_is_not_opened(
    tmp_path: Path,
) -> None:
    ship(tmp_path, *map(str, range(1_000)))
    domain, _ = with_letters()
    with pytest.raises(BeginUndecided) as caught:
        opened(tmp_path, domain)
    assert isinstance(caught.value, DefinitionError)
    assert isinstance(caught.value, ProcessionError)
    assert caught.value.counts == {"shop.Letters": 1_000}
    told = str(caught.value)
    assert "holds 1,000 events that it handles" in told
    assert '`class Letters(ProcessManager, begin="now", ...)`' in told
    assert 'begin="origin"' in told
    assert 'name="..."' in told
    # The store was left alone, and is closed: it can be opened.
    ship(tmp_path, "one more")
    assert Mailed.letters == []


def test_a_class_that_begins_now_acts_on_what_comes_and_on_nothing_that_was(
    tmp_path: Path,
) -> None:
    ship(tmp_path, "old")
    domain, letters = with_letters(begin="now")
    assert letters_after(tmp_path, domain) == ["new"]
    with opened(tmp_path, domain) as runtime:
        assert runtime.get(letters, "old") is None
        first = next(runtime.events())
        (row,) = runtime.why(first.event_id)
        assert (row.outcome, row.detail) == ("not for us", "it began behind position 1")


def test_a_class_that_begins_at_the_origin_acts_on_all_of_it(tmp_path: Path) -> None:
    ship(tmp_path, "old")
    domain, _ = with_letters(begin="origin")
    assert letters_after(tmp_path, domain) == ["new", "old"]


def test_a_stateless_class_says_it_as_well(tmp_path: Path) -> None:
    ship(tmp_path, "old")

    def counting(**options: Any) -> Domain:
        made = shop()

        @made.register
        class Counting(ProcessManager, stateless=True, **options):
            @handle(Shipped)
            def on_shipped(self, event: Shipped) -> None:
                Mailed.letters.append(event.order)

        return made

    with pytest.raises(BeginUndecided, match="1 events"):
        opened(tmp_path, counting())
    assert letters_after(tmp_path, counting(begin="now")) == ["new"]


def test_a_class_that_only_acts_after_events_says_it_as_well(tmp_path: Path) -> None:
    ship(tmp_path, "old")
    domain = shop()

    @domain.register
    class Postman(ProcessManager, stateless=True):
        @after(Shipped)
        def write(self, event: Shipped) -> None:
            Mailed.letters.append(event.order)

    with pytest.raises(BeginUndecided, match="Postman"):
        opened(tmp_path, domain)


def test_all_classes_that_do_not_say_it_are_told_of_at_once(tmp_path: Path) -> None:
    ship(tmp_path, "old")
    domain, _ = with_letters()

    @domain.register
    class Other(ProcessManager, correlate="order"):
        @handle(Shipped, start=True)
        def on_shipped(self, event: Shipped) -> None: ...

    with pytest.raises(BeginUndecided) as caught:
        opened(tmp_path, domain)
    assert caught.value.counts == {"shop.Letters": 1, "shop.Other": 1}


@pytest.mark.parametrize("begin", ["later", 3, ["now"], datetime(2026, 1, 1)])  # noqa: DTZ001
def test_what_is_no_beginning_is_refused_where_it_is_registered(begin: Any) -> None:
    with pytest.raises(DefinitionError, match=r"Letters: begin="):
        with_letters(begin=begin)


# A time


def test_a_class_may_begin_with_what_was_stored_at_or_after_a_time(tmp_path: Path) -> None:
    clock = VirtualClock(START)
    for order in ("a", "b", "c", "d"):
        ship(tmp_path, order, clock=clock)
        clock.advance(timedelta(hours=1))
    # Those of several instances run at once, so their order is not known.
    for hours, expected in ((2, ["c", "d"]), (1.5, ["c", "d"]), (0, ["a", "b", "c", "d"])):
        Mailed.letters.clear()
        store = tmp_path / f"{hours}"
        with opened(tmp_path, shop(), read_only=True) as runtime:
            runtime.backup(store)
        domain, _ = with_letters(begin=START + timedelta(hours=hours))
        with opened(store, domain, clock) as runtime:
            runtime.settle(timeout=WAIT)
        assert sorted(Mailed.letters) == expected


def test_a_time_that_has_not_come_is_refused(tmp_path: Path) -> None:
    ship(tmp_path, "old")
    domain, _ = with_letters(begin=START + timedelta(seconds=1))
    with pytest.raises(BeginUndecided, match="has not come"):
        opened(tmp_path, domain)


def store_of(times: list[int]) -> Store:
    store = Store(DictionaryEngine())
    events = [EventRecord("E", "s-1", 0, time, b"", "", "") for time in times]
    store.commit([Step(append=Append("s-1", None, events))])
    return store


@pytest.mark.parametrize("size", range(8))
def test_the_place_of_a_time_is_found_by_halving(size: int) -> None:
    with store_of([10 * place for place in range(1, size + 1)]) as store:
        for moment in range(10 * size + 15):
            before = [place for place in range(1, size + 1) if 10 * place < moment]
            assert store.position_before(moment) == max(before, default=0)


def test_where_a_clock_was_put_back_the_place_of_a_time_is_one_where_the_log_comes_to_it() -> None:
    times = [10, 20, 30, 15, 25, 35]
    with store_of(times) as store:
        for moment in range(40):
            place = store.position_before(moment)
            assert place == 0 or times[place - 1] < moment
            assert place == len(times) or times[place] >= moment


# Who is known


def test_a_class_that_is_known_is_opened_whatever_it_says(tmp_path: Path) -> None:
    domain, _ = with_letters()
    with opened(tmp_path, domain) as runtime:
        runtime.publish(Shipped("a"), stream="feed-1")
        runtime.settle(timeout=WAIT)
    # What came while the class was not there is handled when it is there again.
    ship(tmp_path, "b", retired=["shop.Letters"])
    for options in ({}, {"begin": "now"}, {"begin": "origin"}):
        domain, _ = with_letters(**options)
        with opened(tmp_path, domain) as runtime:
            runtime.settle(timeout=WAIT)
    assert sorted(Mailed.letters) == ["a", "b"]


def test_a_class_that_was_renamed_and_keeps_its_name_is_known(tmp_path: Path) -> None:
    domain, _ = with_letters()
    with opened(tmp_path, domain) as runtime:
        runtime.publish(Shipped("a"), stream="feed-1")
        runtime.settle(timeout=WAIT)
    renamed = shop()

    @renamed.register
    class Mail(ProcessManager, correlate="order", name="shop.Letters"):
        count: int = 0

        @handle(Shipped, start=True)
        def on_shipped(self, event: Shipped) -> None:
            self.count += 1

    with opened(tmp_path, renamed) as runtime:
        view = runtime.get(Mail, "a")
        assert view is not None
        assert view.state == {"count": 1}


def test_a_class_is_known_though_nothing_was_handled_and_a_crash_came_first(
    tmp_path: Path,
) -> None:
    domain, _ = with_letters()
    runtime = opened(tmp_path, domain)
    runtime.publish(Returned("a"), stream="feed-1")
    # What is handled comes with the first commit or later, so it is never history.
    with LmdbStore(tmp_path, read_only=True) as store:
        assert store.checkpoint("begin:shop.Letters") == 0
        assert ("begin:shop.Letters", 0) in store.scan_checkpoints()
    runtime.close()
    ship(tmp_path, "b", retired=["shop.Letters"])
    with opened(tmp_path, domain) as runtime:
        runtime.settle(timeout=WAIT)
    assert Mailed.letters == ["b"]


def test_history_that_a_class_does_not_handle_is_in_nobodys_way(tmp_path: Path) -> None:
    with opened(tmp_path, shop()) as runtime:
        runtime.publish(Returned("a"), stream="feed-1")
    domain, _ = with_letters()
    assert letters_after(tmp_path, domain) == ["new"]


def test_events_of_other_streams_do_not_count(tmp_path: Path) -> None:
    ship(tmp_path, "old")
    domain, _ = with_letters(streams=["other"])
    with opened(tmp_path, domain):
        pass
    domain, _ = with_letters(streams=["feed"], name="shop.Others")
    with pytest.raises(BeginUndecided):
        # It had after-effects, so its name is missed.
        opened(tmp_path, domain, retired=["shop.Letters"])


def test_opening_read_only_is_never_refused(tmp_path: Path) -> None:
    ship(tmp_path, "old")
    domain, letters = with_letters()
    with opened(tmp_path, domain, read_only=True) as runtime:
        assert runtime.get(letters, "old") is None


def test_rebuilding_leaves_out_what_was_before_the_beginning(tmp_path: Path) -> None:
    ship(tmp_path, "a", "a")
    domain, letters = with_letters(begin="now")
    with opened(tmp_path, domain) as runtime:
        runtime.publish(Shipped("a"), stream="feed-1")
        runtime.settle(timeout=WAIT)
        runtime.refresh(letters, "a", since="origin")
        view = runtime.get(letters, "a")
        assert view is not None
        assert view.state == {"count": 1}


def test_whatever_crashes_a_class_that_does_not_say_where_it_begins_goes_on() -> None:
    domain, letters = with_letters()

    def all_there(simulation: Simulation) -> None:
        assert {one.id for one in simulation.find(letters)} == {"a", "b"}

    explore(
        domain,
        [Shipped("a"), Shipped("b")],
        at_end=[all_there],
        max_examples=100,
    )


# Counting, and checking


def test_check_tells_of_a_class_that_does_not_say_where_it_begins(tmp_path: Path) -> None:
    ship(tmp_path, "old", "older")
    domain, _ = with_letters()

    def undecided(domain: Domain) -> list[DesignFinding]:
        return [one for one in domain.check(tmp_path) if one.code == "begin-undecided"]

    (found,) = undecided(domain)
    assert found.place.endswith("Letters")
    assert "holds 2 events that it handles" in found.message
    assert 'begin="now"' in found.mend
    assert undecided(with_letters(begin="now")[0]) == []
    with opened(tmp_path, with_letters(begin="now")[0]):
        pass
    assert undecided(domain) == []


def test_check_says_when_it_needs_the_other_domains_to_count(tmp_path: Path) -> None:
    ship(tmp_path, "old")

    class Charge(Command):
        order: str

    domain = shop()

    @domain.register
    class Charging(ProcessManager, correlate="order"):
        @handle(Shipped, start=True)
        def on_shipped(self, event: Shipped) -> None:
            self.issue(Charge(event.order))

    (found,) = [one for one in domain.check(tmp_path) if one.code == "begin-undecided"]
    assert "this domain alone does not tell" in found.message
    assert "beside=[...]" in found.mend


def test_what_was_counted_is_what_is_there_whatever_fails(tmp_path: Path) -> None:
    with LmdbStore(tmp_path, durability="none") as store:
        for kind, stream in (("A", "x-1"), ("B", "x-2"), ("A", "x-3"), ("A", "y"), ("A", "x-1")):
            event = EventRecord(kind, stream, 0, 5, b"", "", "")
            store.commit([Step(append=Append(stream, None, [event]))])
            lost = EventRecord(kind, stream, 0, 5, b"", "", "")
            store.hand_over(Step(append=Append(stream, None, [lost])))
            store.drop_commit()
        assert sorted(store.read_counts()) == [
            ("event", ("x", "A"), 3),
            ("event", ("x", "B"), 1),
            ("event", ("y", "A"), 1),
        ]
    assert verify(tmp_path) == []
