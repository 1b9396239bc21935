"""History is imported into a divided store as into any other: the same comes of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from procession import (
    Aggregate,
    Command,
    Domain,
    Event,
    ProcessManager,
    Retry,
    Runtime,
    UnreadableRow,
    after,
    handle,
    timeout,
)
from procession.importing import EventRule, Imported, LogMapping, dividing, import_file
from procession.importing.backtest import Backtest
from procession.store import StoreError
from procession.testing import VirtualClock

if TYPE_CHECKING:
    from pathlib import Path

START = datetime(2024, 1, 1, tzinfo=UTC)
LIVE = START + timedelta(days=9)
PARTITIONS = 4


class Borrowed(Event):
    book: str
    reader: str


class Returned(Event):
    book: str
    reader: str


class Fined(Event):
    reader: str


class Fine(Command):
    reader: str


library = Domain("library")
library.register(Borrowed, Returned)


@library.register
class Account(Aggregate, identity="reader"):
    fines: int = 0

    @handle(Fine)
    def fine(self, command: Fine) -> Fined:
        return Fined(reader=command.reader)


@library.register
class Loans(
    ProcessManager,
    correlate="reader",
    retry=Retry(
        attempts=2, first=timedelta(hours=1), factor=1.0, maximum=timedelta(hours=1), jitter="none"
    ),
):
    """All loans of one reader; the events are in streams of the books."""

    out: int = 0
    late: int = 0
    log: list[str] = []

    @handle(Borrowed, start=True)
    def on_borrowed(self, event: Borrowed) -> None:
        if event.book == "b13":
            raise RuntimeError("it is in no catalogue")
        self.out += 1
        self.log = [*self.log, f"{event.book} {self.context.now - START}"]
        self.set_timeout("late", timedelta(days=2))

    @handle(Returned)
    def on_returned(self, event: Returned) -> None:
        self.out -= 1
        if not self.out:
            self.cancel_timeout("late")

    @timeout("late")
    def on_late(self) -> None:
        self.late += 1
        self.log = [*self.log, f"late {self.context.now - START}"]
        self.issue(Fine(reader=str(self.id)))
        if self.late < 3:
            self.set_timeout("late", timedelta(days=1))


MAPPING = LogMapping(
    time="time",
    stream="book-{book}",
    event=[
        EventRule("Borrowed", when={"what": "borrowed"}),
        EventRule("Returned", when={"what": "returned"}),
    ],
)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    lines = ["time,what,book,reader"]
    for row in range(60):
        time = START + timedelta(hours=3 * row)
        lines.append(f"{time.isoformat()},borrowed,b{row},r{row % 17}")
        if row % 3:
            back = time + timedelta(hours=30)
            lines.append(f"{back.isoformat()},returned,b{row},r{row % 17}")
    path = tmp_path / "log.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def bring(log: Path, store: Path, **options: Any) -> Imported:
    return import_file(log, store, library, mapping=MAPPING, live_from=LIVE, **options)


def found_in(store: Path) -> dict[str, object]:
    """What came of history, whatever the partitions."""
    with Runtime(store, library, read_only=True) as runtime:
        return {
            "instances": sorted(
                (one.id, one.version, one.status, sorted(one.state.items()))
                for one in runtime.find(Loans)
            ),
            "steps": {
                one.id: [(step.handler, step.time) for step in runtime.history(Loans, one.id)]
                for one in runtime.find(Loans)
            },
            "timeouts": sorted((one.instance, one.name, one.due) for one in runtime.timeouts()),
            "parked": sorted((one.instance, one.error, one.time) for one in runtime.parked()),
            "events": sorted((one.event_id, one.time) for one in runtime.events()),
        }


def test_the_same_comes_of_a_log_whether_or_not_the_store_is_divided(
    tmp_path: Path, log: Path
) -> None:
    whole = bring(log, tmp_path / "whole")
    divided = bring(log, tmp_path / "divided", partitions=PARTITIONS)
    assert divided == whole
    assert whole.parked == 1
    found = found_in(tmp_path / "divided")
    assert found == found_in(tmp_path / "whole")
    assert {one for steps in found["steps"].values() for one, _ in steps} >= {"on_late"}  # type: ignore[attr-defined]
    assert [one.name for one in tmp_path.iterdir() if "importing" in one.name] == []


def test_a_service_goes_on_from_it_in_all_partitions(tmp_path: Path, log: Path) -> None:
    stores = tmp_path / "whole", tmp_path / "divided"
    bring(log, stores[0])
    bring(log, stores[1], partitions=PARTITIONS)
    ends = []
    for store in stores:
        clock = VirtualClock(LIVE)
        with Runtime(store, library, clock=clock) as runtime:
            clock.advance(timedelta(days=5))
            runtime.settle(timeout=10)
            assert [str(one) for one in runtime.verify()] == []
            states = {one.id: one.state for one in runtime.find(Loans)}
            fines = sorted(one.stream for one in runtime.events("library::account"))
            ends.append((states, fines))
    assert ends[0] == ends[1]
    assert ends[0][1]


def test_what_was_cut_off_goes_on_behind_what_is_stored(
    tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = bring(log, tmp_path / "whole")
    take, left = Backtest.bring, iter(range(50))

    def cut(backtest: Backtest, *arguments: Any) -> int:
        if next(left, None) is None:
            backtest.commit()
            raise KeyboardInterrupt
        return take(backtest, *arguments)

    store = tmp_path / "divided"
    with monkeypatch.context() as patched:
        patched.setattr(Backtest, "bring", cut)
        with pytest.raises(KeyboardInterrupt):
            bring(log, store, partitions=PARTITIONS)
    assert not store.exists()
    again = bring(log, store, partitions=PARTITIONS)
    assert (again.known, again.events) == (50, whole.events - 50)
    assert found_in(store) == found_in(tmp_path / "whole")


def test_what_was_cut_off_while_it_was_divided_is_divided_again(
    tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring(log, tmp_path / "whole")
    store = tmp_path / "divided"
    beside = tmp_path / "divided.importing"

    def killed(*_: object, **__: object) -> None:
        (beside / "divided").mkdir()
        (beside / "divided" / "half").touch()
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(dividing, "copy", killed)
        with pytest.raises(KeyboardInterrupt):
            bring(log, store, partitions=PARTITIONS)
    again = bring(log, store, partitions=PARTITIONS)
    assert (again.events, again.is_live) == (0, True)
    assert found_in(store) == found_in(tmp_path / "whole")
    assert not beside.exists()


def test_after_effects_that_would_leave_are_not_divided(tmp_path: Path, log: Path) -> None:
    telling = Domain("telling")
    telling.register(Borrowed, Returned)

    @telling.register
    class Letters(ProcessManager, correlate="reader", begin="origin"):
        @handle(Borrowed, start=True)
        def on_borrowed(self, event: Borrowed) -> None: ...

        @after(Borrowed)
        def tell(self, event: Borrowed) -> None: ...

    def divide(since: datetime) -> Imported:
        return import_file(
            log,
            tmp_path / "divided",
            telling,
            mapping=MAPPING,
            live_from=since,
            partitions=PARTITIONS,
        )

    with pytest.raises(StoreError, match="Letters would act after events of 2024-01-03"):
        divide(START + timedelta(days=2))
    assert divide(LIVE).known == 100
    with Runtime(tmp_path / "divided", telling) as runtime:
        runtime.settle(timeout=10)
        assert runtime.stats()["effects"] == 0


def test_a_log_that_cannot_be_read_leaves_no_divided_store(tmp_path: Path, log: Path) -> None:
    log.write_text(log.read_text() + "yesterday,borrowed,b1,r1\n")
    with pytest.raises(UnreadableRow, match="row 101"):
        bring(log, tmp_path / "divided", partitions=PARTITIONS)
    assert not (tmp_path / "divided").exists()


def test_it_is_refused_before_anything_is_written_where_it_cannot_be(
    tmp_path: Path, log: Path
) -> None:
    with pytest.raises(StoreError, match="when it goes live; say from when"):
        import_file(log, tmp_path / "new", library, mapping=MAPPING, partitions=PARTITIONS)
    with pytest.raises(StoreError, match="a store has 1 to 4096 partitions, not 0"):
        bring(log, tmp_path / "new", partitions=0)
    with pytest.raises(StoreError, match="is in a database"):
        import_file(
            log,
            "postgresql://shop@db.example/orders",
            library,
            mapping=MAPPING,
            live_from=LIVE,
            partitions=PARTITIONS,
        )
    with Runtime(tmp_path / "service", library, partitions=PARTITIONS):
        pass
    with pytest.raises(StoreError, match="is not empty"):
        bring(log, tmp_path / "service", partitions=PARTITIONS)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["log.csv", "service"]
