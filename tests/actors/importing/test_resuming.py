"""An import that was cut off goes on behind what is stored, and does not look at that again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from procession import Domain, Event, ProcessManager, UnreadableRow, handle, timeout
from procession.importing import EventRule, LogMapping, import_file
from procession.importing.backtest import Backtest
from procession.importing.mapping import Reading
from procession.store import LmdbStore, StoreError, open_store, verify
from tests.postgresql import shared_server

if TYPE_CHECKING:
    from pathlib import Path

START = datetime(2024, 1, 1, tzinfo=UTC)
FAR = datetime(2024, 3, 1, tzinfo=UTC)


class Booked(Event):
    account: str


books = Domain("books")
books.register(Booked)


@books.register
class Account(ProcessManager, correlate="account"):
    booked: int = 0
    reminded: int = 0

    @handle(Booked, start=True)
    def on_booked(self, event: Booked) -> None:
        self.booked += 1
        self.set_timeout("idle", timedelta(hours=5))

    @timeout("idle")
    def on_idle(self) -> None:
        self.reminded += 1


MAPPING = LogMapping(time="time", stream="account-{account}", event=[EventRule("Booked")])


def write(path: Path, hours: list[float]) -> Path:
    """A log of an event at each hour; its rows are in the order in which they are given."""
    lines = [
        f"{(START + timedelta(hours=hour)).isoformat()},{'abc'[row % 3]}"
        for row, hour in enumerate(hours)
    ]
    path.write_text("time,account\n" + "\n".join(lines) + "\n")
    return path


class Looks:
    """How many rows an import checks, and brings into the store; it may be cut off."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.checked = self.brought = 0
        self.cut_after: int | None = None
        prepared, bring = Reading.prepared, Backtest.bring
        commit_if_due = Backtest.commit_if_due

        def check(*arguments: object) -> object:
            self.checked += 1
            return prepared(*arguments)  # type: ignore[arg-type] # as they are

        def take(backtest: Backtest, *arguments: object) -> int:
            if self.brought == self.cut_after:
                raise KeyboardInterrupt
            self.brought += 1
            return bring(backtest, *arguments)  # type: ignore[arg-type] # as they are

        def end(backtest: Backtest) -> None:
            commit_if_due(backtest)
            if self.brought % 4 == 0:
                backtest.commit()

        monkeypatch.setattr(Reading, "prepared", check)
        monkeypatch.setattr(Backtest, "bring", take)
        monkeypatch.setattr(Backtest, "commit_if_due", end)

    def begin(self, cut_after: int | None = None) -> None:
        self.checked = self.brought = 0
        self.cut_after = cut_after


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    return Looks(monkeypatch)


@pytest.fixture(params=["folder", "database"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return shared_server().new_url() if request.param == "database" else str(tmp_path / "store")


def rows_of(store: str | Path) -> list[tuple[object, ...]]:
    with open_store(store, read_only=True) as found:
        events = [(one.position, one.event_id, one.time, one.version) for one in found.scan_log()]
        steps = [
            (place, stored[1], stored[2].version, stored[2].time, stored[2].state)
            for place, stored in found.scan_all_transitions()
            if isinstance(stored, tuple)
        ]
    return [*events, *steps]


HOURS = [3.0, 1.0, 2.0, 30.0, 9.0, 8.0, 8.0, 40.0, 41.0, 20.0, 21.0, 22.0]


def cut_off(log: Path, store: str | Path, looks: Looks, after: int) -> None:
    looks.begin(after)
    with pytest.raises(KeyboardInterrupt):
        import_file(log, store, books, mapping=MAPPING)


def test_what_is_stored_is_neither_checked_nor_looked_up_again(
    tmp_path: Path, store: str, looks: Looks
) -> None:
    log = write(tmp_path / "log.csv", HOURS)
    looks.begin()
    import_file(log, tmp_path / "whole", books, mapping=MAPPING, until=FAR)
    cut_off(log, store, looks, 10)
    looks.begin()
    found = import_file(log, store, books, mapping=MAPPING, until=FAR)
    # Eight were committed when the tenth was there.
    assert (looks.checked, looks.brought) == (4, 4)
    assert (found.rows, found.events, found.known, found.left_out) == (12, 4, 8, 0)
    assert rows_of(store) == rows_of(tmp_path / "whole")
    assert verify(store) == []


def test_a_log_that_has_grown_goes_on_behind_what_is_stored(tmp_path: Path, looks: Looks) -> None:
    log, store = write(tmp_path / "log.csv", HOURS), tmp_path / "store"
    import_file(log, store, books, mapping=MAPPING)
    write(log, [*HOURS, 41.0, 50.0])
    looks.begin()
    found = import_file(log, store, books, mapping=MAPPING)
    assert (looks.checked, found.events, found.known) == (2, 2, 12)


def test_a_row_that_came_in_between_is_not_passed_over(tmp_path: Path, looks: Looks) -> None:
    log, store = write(tmp_path / "log.csv", HOURS), tmp_path / "store"
    cut_off(log, store, looks, 10)
    looks.begin()
    write(log, [*HOURS, 5.0])
    with pytest.raises(UnreadableRow, match=r"row 13: .*happened at 2024-01-01 05:00"):
        import_file(log, store, books, mapping=MAPPING)


def test_another_mapping_and_another_file_are_told_by_their_ids(
    tmp_path: Path, looks: Looks
) -> None:
    log, store = write(tmp_path / "log.csv", HOURS), tmp_path / "store"
    named = LogMapping(
        **{name: getattr(MAPPING, name) for name in MAPPING.__struct_fields__}
        | {"id": "{time}{account}"}
    )
    import_file(log, store, books, mapping=named)
    looks.begin()
    found = import_file(write(tmp_path / "same.csv", HOURS), store, books, mapping=named)
    assert (looks.checked, found.events, found.known) == (12, 0, 12)


def test_what_tells_how_far_it_is_goes_when_the_store_goes_live(tmp_path: Path) -> None:
    log, store = write(tmp_path / "log.csv", HOURS), tmp_path / "store"
    import_file(log, store, books, mapping=MAPPING)
    with LmdbStore(store, read_only=True) as found:
        mark = found.imported_up_to()
        assert mark is not None
        assert (mark.rows, mark.row) == (12, 9)
    import_file(log, store, books, mapping=MAPPING, live_from=FAR)
    with LmdbStore(store, read_only=True) as found:
        assert found.imported_up_to() is None
    with pytest.raises(StoreError, match="gone live"):
        import_file(log, store, books, mapping=MAPPING)
