"""The words that all figures are told in."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Literal

import pytest

from bench.apart import apart
from bench.feeding import batched, passing
from bench.machine import describe
from bench.measure import Figure, percentile, present, said
from bench.memory import resident
from bench.programs import PROGRAMS
from bench.subprocesses import Failed, output_of
from bench.three_step_order import Run

if TYPE_CHECKING:
    from pathlib import Path


def figure(value: float, better: Literal["at least", "at most"] = "at most", **more: Any) -> Figure:
    return Figure(row=3, what="size", value=value, unit="bytes", reach=10, better=better, **more)


@pytest.mark.parametrize(
    ("better", "value", "reaches"),
    [
        ("at least", 11, True),
        ("at least", 10, True),
        ("at least", 9.9, False),
        ("at most", 9.9, True),
        ("at most", 10, True),
        ("at most", 11, False),
        ("at least", math.nan, False),
        ("at most", math.nan, False),
    ],
)
def test_a_figure_reaches_when_it_is_on_the_better_side(
    better: Literal["at least", "at most"], value: float, reaches: bool
) -> None:
    assert figure(value, better).reaches is reaches


def test_a_figure_goes_through_json_and_comes_back() -> None:
    before = figure(4.5, details={"instances": 7})
    found = json.loads(json.dumps(before.as_json()))
    assert found["reaches"] is True
    assert Figure.from_json(found) == before


def test_figures_are_printed_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    present([figure(12_345, details={"awake": 7, "series": {"points": []}})], as_json=False)
    text = capsys.readouterr().out
    assert "size: 12,345 bytes" in text
    assert "at most  10 bytes: NOT reached" in text
    assert "awake  7" in text
    assert "series" not in text


def test_figures_are_printed_as_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    present([figure(9)], as_json=True, cores=2)
    found = json.loads(capsys.readouterr().out)
    assert found["cores"] == 2
    assert [one["value"] for one in found["figures"]] == [9]


@pytest.mark.parametrize(
    ("share", "value"), [(0, 1), (1, 1), (50, 50), (99, 99), (99.9, 100), (100, 100)]
)
def test_a_percentile_is_the_smallest_value_that_so_many_do_not_exceed(
    share: float, value: float
) -> None:
    assert percentile([float(one) for one in range(100, 0, -1)], share) == value


def test_a_percentile_of_one_value_is_that_value() -> None:
    assert percentile([7.0], 1) == percentile([7.0], 99.9) == 7.0


def test_there_is_no_percentile_of_nothing() -> None:
    with pytest.raises(ValueError, match="measure at least one"):
        percentile([], 50)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1234567, "1,234,567"),
        (0.26543, "0.2654"),
        (12345.6, "12,346"),
        (True, "True"),
        ({"a": 1000, "b": 2.5}, "a 1,000, b 2.5"),
        ([1, 2], "1, 2"),
        ("x", "x"),
    ],
)
def test_values_are_told_as_people_read_them(value: object, text: str) -> None:
    assert said(value) == text


def test_what_is_allocated_shows_as_anonymous_memory() -> None:
    before = resident()
    held = bytearray(b"x") * (64 << 20)
    after = resident()
    assert len(held) == 64 << 20
    assert 60 << 20 < after.anonymous - before.anonymous < 80 << 20
    assert after.mapped > 0


def test_a_mapped_file_does_not_count_as_anonymous(tmp_path: Path) -> None:
    growth = apart(grown_by_reading_a_map, tmp_path / "file")
    assert growth[0] < 4 << 20
    assert growth[1] >= 32 << 20


def grown_by_reading_a_map(file: Path) -> tuple[int, int]:
    import mmap  # noqa: PLC0415 - only this process needs it

    file.write_bytes(b"x" * (32 << 20))
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as seen:
        before = resident()
        assert sum(seen[place] for place in range(0, len(seen), 4096)) > 0
        after = resident()
    return after.anonymous - before.anonymous, after.mapped - before.mapped


def test_the_machine_is_described_without_a_path_of_it(tmp_path: Path) -> None:
    found = json.dumps(describe(tmp_path))
    assert json.loads(found)["cores"] >= 1
    assert json.loads(found)["file_system"] != "unknown"
    assert str(tmp_path) not in found


def test_marks_are_passed_in_order() -> None:
    counts = iter([0, 3, 5, 5, 12])
    passed = list(passing(lambda: next(counts), [2, 4, 10]))
    assert [count for count, _ in passed] == [3, 5, 12]
    times = [time for _, time in passed]
    assert times == sorted(times)


def test_a_count_that_stands_still_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.feeding.PATIENCE", 0.0)
    with pytest.raises(TimeoutError, match="stands still at 7 on its way to 8"):
        list(passing(lambda: 7, [8]))


def test_batches_hold_all_items_in_order() -> None:
    assert list(batched(range(5), 2)) == [[0, 1], [2, 3], [4]]


def test_the_time_of_a_number_of_orders_lies_on_the_line_between_two_points() -> None:
    run = Run(seconds=10.0, points=[(100, 2.0, 0), (300, 6.0, 0), (400, 10.0, 0)])
    assert run.seconds_at(50) == 1.0
    assert run.seconds_at(200) == 4.0
    assert run.seconds_at(400) == 10.0
    assert [rate for _, rate, _ in run.rates()] == [50, 50, 25]


def test_a_program_that_takes_too_long_is_ended() -> None:
    with pytest.raises(Failed, match="not done within 0 s"):
        output_of(["bench.history"], 0.01)


def test_a_program_that_fails_is_told_with_its_last_line() -> None:
    with pytest.raises(Failed, match=r"exit status 2: .*unrecognized arguments: --nonsense"):
        output_of(["bench.history", "--nonsense"], 60)


def test_every_row_has_one_program() -> None:
    assert [program.row for program in PROGRAMS] == list(range(1, len(PROGRAMS) + 1))
