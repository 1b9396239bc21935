"""Snapshots keep loading short, and never change what an aggregate is."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lmdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from procession import (
    Aggregate,
    Command,
    DefinitionError,
    Domain,
    Event,
    Rejected,
    Runtime,
    apply,
    handle,
)
from procession.engine.aggregate_actor import load_aggregate
from procession.model.aggregate_definition import AggregateDefinition
from procession.model.plans import AggregatePlan
from procession.model.registry import Registry
from procession.store import LmdbStore, Store, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from procession.store import EventRecord


ROOT = Path(__file__).parents[3]


class Add(Command):
    account: str
    amounts: list[int]


class Added(Event):
    amount: int


class Named(Event):
    tags: list[str]


def account(
    every: int | None = 10,
    *,
    rate: int = 1,
    grows: bool = True,
    fields: dict[str, tuple[Any, Any]] | None = None,
) -> type[Aggregate]:
    """The class as one version of the service has it."""

    class Account(Aggregate, identity="account", snapshot_every=every):
        total: Decimal = Decimal(0)
        amounts: list[int] = []
        tags: set[str] = set()

        @handle(Add)
        def add(self, command: Add) -> Iterator[Event]:
            for amount in command.amounts:
                if amount < 0:
                    raise Rejected("no debts")
                yield Added(amount)
                if amount % 3 == 0:
                    yield Named([f"{amount}", "three"])

        @apply(Named)
        def _named(self, event: Named) -> None:
            self.tags.update(event.tags)

    if not grows:

        def _added(self: Any, event: Added) -> None:
            self.total += event.amount
    elif rate == 1:

        def _added(self: Any, event: Added) -> None:
            self.total += event.amount
            self.amounts.append(event.amount)
    else:

        def _added(self: Any, event: Added) -> None:
            self.total += event.amount * 2
            self.amounts.append(event.amount)

    body: dict[str, Any] = {"_added": apply(Added)(_added), "__annotations__": {}}
    for name, (hint, default) in (fields or {}).items():
        body["__annotations__"][name] = hint
        body[name] = default
    body["__module__"] = __name__
    return type("Account", (Account,), body)


def bank(cls: type[Aggregate]) -> Domain:
    domain = Domain("bank")
    domain.register(cls)
    return domain


def opened(folder: Path, cls: type[Aggregate], **options: Any) -> Runtime:
    return Runtime(folder, bank(cls), durability="none", **options)


def add(runtime: Runtime, count: int, *, at_once: int = 1, account: str = "a1") -> None:
    for _ in range(count // at_once):
        runtime.ask(Add(account, [1] * at_once), timeout=10)


class CountingStore:
    """A store that counts the events it was read."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.rows = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def may_be_pruned(self) -> bool:
        # A store that is open for reading only cannot tell, and looks.
        return False

    def read_stream(self, stream: str, after: int, limit: int) -> list[EventRecord]:
        page = self._store.read_stream(stream, after, limit)
        self.rows += len(page)
        return page


def load(folder: Path, cls: type[Aggregate], name: str = "a1") -> tuple[Aggregate, int]:
    """An aggregate as it is loaded, and how many events were read for it."""
    domain = bank(cls)
    [definition] = domain.aggregates.values()
    with LmdbStore(folder, read_only=True) as store:
        counting = CountingStore(store)
        stream = f"{definition.category}-{name}"
        loaded = load_aggregate(AggregatePlan(definition, Registry([domain])), stream, counting)
    return loaded, counting.rows


def drop_snapshots(folder: Path) -> int:
    """Empty the table; returns how many there were."""
    with lmdb.Environment(str(folder), max_dbs=32) as env:
        table = env.open_db(b"snapshots", create=False)
        with env.begin(write=True) as txn:
            count = int(txn.stat(table)["entries"])
            txn.drop(table, delete=False)
    return count


def snapshot(folder: Path, name: str = "a1") -> int:
    """The version of the stored snapshot, or 0."""
    with LmdbStore(folder, read_only=True) as store:
        found = store.read_snapshot(f"bank::account-{name}")
    return 0 if found is None else found[0]


# When they are made


@pytest.mark.parametrize(
    ("events", "version"), [(0, 0), (9, 0), (10, 10), (11, 10), (19, 10), (20, 20), (57, 50)]
)
def test_a_snapshot_is_made_after_every_so_many_events(
    tmp_path: Path, events: int, version: int
) -> None:
    with opened(tmp_path, account(10)) as runtime:
        add(runtime, events)
    assert snapshot(tmp_path) == version


def test_one_command_with_many_events_makes_one_snapshot_behind_them_all(tmp_path: Path) -> None:
    with opened(tmp_path, account(10)) as runtime:
        add(runtime, 25, at_once=25)
        assert snapshot(tmp_path) == 25
        add(runtime, 9)
        assert snapshot(tmp_path) == 25
        add(runtime, 1)
    assert snapshot(tmp_path) == 35


def test_every_hundred_events_when_the_class_does_not_say(tmp_path: Path) -> None:
    with opened(tmp_path, account(None)) as runtime:
        add(runtime, 99, at_once=99)
        assert snapshot(tmp_path) == 0
        add(runtime, 1)
    assert snapshot(tmp_path) == 100


def test_the_counting_goes_on_where_an_earlier_run_stopped(tmp_path: Path) -> None:
    for _ in range(4):
        with opened(tmp_path, account(10)) as runtime:
            add(runtime, 6)
    assert snapshot(tmp_path) == 20


def test_none_is_made_or_looked_at_when_they_are_switched_off(tmp_path: Path) -> None:
    with opened(tmp_path, account(0)) as runtime:
        add(runtime, 30)
    assert drop_snapshots(tmp_path) == 0
    with opened(tmp_path, account(1)) as runtime:
        add(runtime, 1)
    assert snapshot(tmp_path) == 31
    loaded, rows = load(tmp_path, account(0))
    assert (loaded.version, rows) == (31, 31)


def test_a_refused_command_makes_no_snapshot(tmp_path: Path) -> None:
    with opened(tmp_path, account(2)) as runtime:
        add(runtime, 1)
        with pytest.raises(Rejected):
            runtime.ask(Add("a1", [1, 1, -1]), timeout=10)
        view = runtime.get(next(iter(runtime._reader._registry.aggregates)), "a1")
        assert view is not None
        assert view.version == 1
    assert snapshot(tmp_path) == 0


def test_a_commit_that_fails_leaves_no_snapshot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tmp_path, account(5)) as runtime:
        add(runtime, 4)

        def refuse(*_: object) -> Any:
            runtime._store.drop_commit()
            raise StoreError("the disk is full")

        with monkeypatch.context() as patched:
            patched.setattr(runtime._store, "close_commit", refuse)
            with pytest.raises(StoreError):
                add(runtime, 1)
        assert snapshot(tmp_path) == 0
        add(runtime, 1)
        assert snapshot(tmp_path) == 5


# What they save


def test_loading_does_not_grow_with_the_stream(tmp_path: Path) -> None:
    cls = account(10, grows=False)
    most = []
    for _ in range(6):
        with opened(tmp_path, cls) as runtime:
            add(runtime, 55, at_once=11)
        loaded, rows = load(tmp_path, cls)
        assert loaded.version == loaded.total  # type: ignore[attr-defined]
        most.append(rows)
    assert max(most) <= 11


def test_a_state_that_grows_is_written_when_the_events_outweigh_it(tmp_path: Path) -> None:
    cls = account(10)
    written: list[int] = []
    with opened(tmp_path, cls) as runtime:
        for number in range(1, 301):
            add(runtime, 10, at_once=10)
            found = runtime._store.read_snapshot("bank::account-a1")
            assert found is not None
            version, packed = found
            if version == 10 * number:
                written.append(len(packed))
            # Behind it, there are never more bytes than it has, and those of one command.
            behind = [
                len(one.data) for one in runtime._store.scan_stream("bank::account-a1", version)
            ]
            assert sum(behind) < len(packed) + sum(behind[-10:] or [0])
        events = sum(len(one.data) for one in runtime._store.scan_log())
    assert len(written) > 5
    # All together they weigh as much as the events; one for every ten of these would have weighed
    # as the square of their number.
    assert sum(written) <= events + max(written)
    assert sum(len(packed) * number // 300 for number in range(1, 301)) > 5 * events


def test_only_the_events_behind_the_snapshot_are_read(tmp_path: Path) -> None:
    cls = account(10, grows=False)
    with opened(tmp_path, cls) as runtime:
        add(runtime, 1_000, at_once=100)
        add(runtime, 7)
    loaded, rows = load(tmp_path, cls)
    assert (loaded.version, rows) == (1_007, 7)


def test_a_new_aggregate_costs_one_look(tmp_path: Path) -> None:
    cls = account(10)
    with opened(tmp_path, cls) as runtime:
        runtime.settle(timeout=10)
    domain = bank(cls)
    [definition] = domain.aggregates.values()
    calls: list[str] = []

    class Recording:
        def __getattr__(self, name: str) -> Callable[..., list[Any]]:
            calls.append(name)
            return lambda *_: []

    loaded = load_aggregate(
        AggregatePlan(definition, Registry([domain])),
        "bank::account-a1",
        Recording(),  # type: ignore[arg-type]
    )
    assert loaded.version == 0
    # The first is a number in memory.
    assert calls == ["may_be_pruned", "last_version"]


def test_a_look_at_an_aggregate_reads_only_what_is_behind_the_snapshot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cls = account(10, grows=False)
    with opened(tmp_path, cls) as runtime:
        add(runtime, 500, at_once=50)
        add(runtime, 3)
        counting = CountingStore(runtime._store)
        monkeypatch.setattr(runtime._reader, "_store", counting)
        view = runtime.get(cls, "a1")
        assert view is not None
        assert (view.version, view.state["total"], counting.rows) == (503, 503, 3)


def test_an_aggregate_that_was_put_to_sleep_goes_on_from_its_snapshot(tmp_path: Path) -> None:
    cls = account(10)
    with opened(tmp_path, cls, max_awake=1) as runtime:
        for number in range(25):
            add(runtime, 1, account=f"a{number % 2}")
        runtime.settle(timeout=10)
        view = runtime.get(cls, "a0")
        assert view is not None
        assert (view.version, view.state["total"]) == (13, 13)


# They are a cache


def test_without_the_snapshots_everything_is_the_same(tmp_path: Path) -> None:
    cls = account(4)
    with opened(tmp_path, cls) as runtime:
        for number in range(20):
            runtime.ask(Add("a1", [number, 3]), timeout=10)
    before, rows = load(tmp_path, cls)
    assert drop_snapshots(tmp_path) == 1
    after, more_rows = load(tmp_path, cls)
    assert before.__dict__ == after.__dict__
    assert before.version == after.version
    assert rows < 10 < more_rows
    with opened(tmp_path, cls) as runtime:
        add(runtime, 1)
        view = runtime.get(cls, "a1")
        assert view is not None
        assert view.version == before.version + 1
    assert snapshot(tmp_path) == before.version + 1


amounts = st.lists(st.integers(min_value=-1, max_value=9), max_size=4)


@given(st.integers(min_value=1, max_value=7), st.lists(amounts, max_size=12), st.data())
def test_loading_with_and_without_snapshots_gives_the_same(
    tmp_path_factory: pytest.TempPathFactory,
    every: int,
    commands: list[list[int]],
    data: st.DataObject,
) -> None:
    folder = tmp_path_factory.mktemp("bank")
    cls = account(every)
    runtime = opened(folder, cls)
    try:
        for given_amounts in commands:
            if data.draw(st.booleans(), label="restart"):
                runtime.close()
                runtime = opened(folder, cls)
            try:
                runtime.ask(Add("a1", given_amounts), timeout=10)
            except Rejected:
                assert -1 in given_amounts
        view = runtime.get(cls, "a1")
    finally:
        runtime.close()
    with_them, _ = load(folder, cls)
    without, _ = load(folder, account(0))
    assert with_them.__dict__ == without.__dict__
    assert with_them.version == without.version
    assert (view.state if view else None) == (without.__dict__ if without.version else None)
    assert {name: type(value) for name, value in with_them.__dict__.items()} == {
        name: type(value) for name, value in without.__dict__.items()
    }


def test_making_a_snapshot_changes_nothing_in_memory() -> None:
    definition = AggregateDefinition(account(2), "bank")
    live = definition.cls("a1")
    definition.decide(live, Add("a1", [3, 4]))
    before = dict(live.__dict__)
    made = definition.snapshot(live)
    assert made is not None
    assert made[0] == 3
    assert all(live.__dict__[name] is value for name, value in before.items())
    assert definition.snapshot(live) is None


# The class changes


@pytest.mark.parametrize(
    "changed",
    [
        account(10, fields={"extra": (int, 7)}),
        account(10, fields={"amounts": (list[str], [])}),
        account(10, fields={"total": (Decimal, Decimal(5))}),
        account(10, rate=2),
    ],
    ids=["a new field", "another type", "another default", "another rule"],
)
def test_a_snapshot_of_a_class_that_was_changed_is_ignored(
    tmp_path: Path, changed: type[Aggregate]
) -> None:
    with opened(tmp_path, account(10)) as runtime:
        add(runtime, 20, at_once=20)
    _, rows = load(tmp_path, changed)
    assert rows == 20


def test_the_new_rule_counts_from_the_first_event_and_makes_snapshots_of_its_own(
    tmp_path: Path,
) -> None:
    with opened(tmp_path, account(10)) as runtime:
        add(runtime, 20, at_once=20)
    changed = account(10, rate=2)
    with opened(tmp_path, changed) as runtime:
        add(runtime, 1)
        view = runtime.get(changed, "a1")
        assert view is not None
        assert view.state["total"] == 42
    assert snapshot(tmp_path) == 21
    loaded, rows = load(tmp_path, changed)
    assert (loaded.total, rows) == (Decimal(42), 0)  # type: ignore[attr-defined]


def test_the_same_code_has_the_same_fingerprint_in_another_class_object() -> None:
    one, other = (AggregateDefinition(account(10), "bank") for _ in range(2))
    live = one.cls("a1")
    one.decide(live, Add("a1", [1] * 10))
    made = one.snapshot(live)
    assert made is not None
    assert other.snapshots.unpack(made[1]) == live.__dict__


PRINTS_ITS_FINGERPRINT = """
from procession import Aggregate, Command, Event, apply, handle
from procession.model.aggregate_definition import AggregateDefinition


class Do(Command):
    name: str


class Done(Event):
    name: str


def is_known(name):
    return name in {"one", "two", "three", "four"}


class Thing(Aggregate, identity="name"):
    names: set[str] = {"five", "six", "seven"}
    by_name: dict[str, set[str]] = {"some": {"eight", "nine"}}

    @property
    def count(self):
        return len(self.names - {"ten", "eleven"})

    @handle(Do)
    def do(self, command: Do) -> Done:
        return Done(self.id)

    @apply(Done)
    def _done(self, event):
        if is_known(event.name) or event.name in ("twelve", frozenset({"13", "14"})):
            self._note(event)

    def _note(self, event):
        self.names = {*self.names, event.name}


print(AggregateDefinition(Thing, "d").snapshots._mark.hex())
"""


def test_the_fingerprint_of_a_class_is_the_same_in_each_run() -> None:
    printed = {
        subprocess.run(
            [sys.executable, "-c", source],
            env=os.environ | {"PYTHONHASHSEED": str(seed), "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in range(3)
        for source in (PRINTS_ITS_FINGERPRINT, "# a line more" + PRINTS_ITS_FINGERPRINT)
    }
    assert len(printed) == 1
    [fingerprint] = printed
    assert len(fingerprint.strip()) == 16


@pytest.mark.parametrize(
    ("before", "after"),
    [('"four"', '"fore"'), ('"ten"', '"10"'), ("event.name}", "event.name[1:]}")],
    ids=["a function that is called", "a property", "a method that is called"],
)
def test_the_fingerprint_sees_what_applying_an_event_calls(before: str, after: str) -> None:
    def mark(source: str) -> bytes:
        space: dict[str, Any] = {"__name__": "service", "print": lambda _: None}
        exec(source, space)
        found: bytes = AggregateDefinition(space["Thing"], "d").snapshots._mark
        return found

    changed = PRINTS_ITS_FINGERPRINT.replace(before, after)
    assert changed != PRINTS_ITS_FINGERPRINT
    assert mark(changed) != mark(PRINTS_ITS_FINGERPRINT)


def test_a_state_that_does_not_fit_its_annotations_has_no_snapshot_and_works(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Loose(Aggregate, identity="account", category="account", snapshot_every=2):
        total: int = 0

        @handle(Add)
        def add(self, command: Add) -> Added:
            return Added(command.amounts[0])

        @apply(Added)
        def _added(self, event: Added) -> None:
            self.total = f"{self.total}{event.amount}"  # type: ignore[assignment]

    with caplog.at_level(logging.WARNING, "procession"), opened(tmp_path, Loose) as runtime:
        add(runtime, 5)
        view = runtime.get(Loose, "a1")
        assert view is not None
        assert view.state == {"total": "011111"}
    assert snapshot(tmp_path) == 0
    # Not after each event.
    said = [one.message for one in caplog.records]
    assert len(said) == 2
    for message in said:
        assert message.startswith(f"no snapshot of {Loose.__qualname__}, its events are read")


@pytest.mark.parametrize("every", [-1, 1.5, "10", True])
def test_a_number_of_events_that_is_none_is_refused(every: Any) -> None:
    with pytest.raises(DefinitionError, match=r"snapshot_every=.*; give the number of events"):
        bank(account(every))
