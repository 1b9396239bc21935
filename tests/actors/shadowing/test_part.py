"""Each process reads its share of what is stored, and together they find what one finds."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from procession import ShadowReport
from procession.model.registry import Registry
from procession.shadowing import part as module
from procession.shadowing.opened import opened
from procession.shadowing.part import Part, go_through
from procession.shadowing.report import Findings
from procession.store import PageReads
from tests.actors.shadowing.dearer import shop as dearer
from tests.actors.shadowing.shop import fill


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    fill(folder)
    return folder


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TOGETHER", 2)


def share(number: int, of: int, sample: int | None = None) -> Part:
    return Part(number, of, {}, {}, sample, is_live=False)


def read(places: list[int], part: Part) -> Iterator[tuple[list[int], int]]:
    """The pages that a process reads of a table, and how often it has looked."""
    looks = 0

    def behind(place: int, limit: int) -> list[tuple[int, str]]:
        nonlocal looks
        looks += 1
        return [(one, "row") for one in places if one > place][:limit]

    for page in part.pages(behind):
        yield [place for place, _ in page], looks


@pytest.mark.parametrize("of", [1, 2, 3, 7])
@pytest.mark.parametrize(
    "places", [[], [1], list(range(1, 30)), [2, 3, 4, 90, 91, 1_000_001], [5, 6, 7]]
)
def test_the_shares_of_all_processes_are_all_there_is_and_each_row_is_in_one(
    places: list[int], of: int
) -> None:
    shares = [
        [one for page, _ in read(places, share(number, of)) for one in page] for number in range(of)
    ]
    assert sorted(one for each in shares for one in each) == places


def test_a_gap_is_passed_over_at_once() -> None:
    for number in range(3):
        looks = [looks for _, looks in read([1, 2, 1_000_000, 1_000_001], share(number, 3))]
        assert looks == [] or looks[-1] <= 5


def test_a_process_reads_no_event_of_another_one(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[int] = []
    real = PageReads.read_log_through

    def noted(reads: PageReads, after: int, limit: int) -> list[tuple[int, object]]:
        page = real(reads, after, limit)
        found.extend(position for position, _ in page)
        return list(page)

    monkeypatch.setattr(PageReads, "read_log_through", noted)
    with opened(store) as stores:
        go_through(stores, Registry([dearer]), share(1, 3), lambda _: None)
    assert set(found) == {3, 4, 9, 10}


def report_of(store: Path, of: int) -> ShadowReport:
    findings = Findings()
    with opened(store) as stores:
        for number in range(of):
            part = share(number, of)
            findings.add(go_through(stores, Registry([dearer]), part, lambda _: None))
    return findings.report([])


@pytest.mark.parametrize("of", [2, 3, 5])
def test_processes_find_together_what_one_finds(store: Path, of: int) -> None:
    alone = report_of(store, 1)
    assert alone.differences
    assert report_of(store, of) == alone
