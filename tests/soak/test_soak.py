"""Promise 8 over time, in short: everything goes on at once, and nothing but the log grows."""

import logging
from pathlib import Path

import pytest

from tests.soak.measuring import grown, pages
from tests.soak.soak import soak

MINUTES = 0.1


def test_nothing_but_the_log_grows_while_everything_goes_on_at_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # What is parked is part of it, and is not to be kept for the report.
    caplog.set_level(logging.ERROR, "procession")
    rows: list[dict[str, float]] = []
    result = soak(tmp_path, MINUTES, 0.05, rows.append, warm=3)
    assert result.wrong == []
    # All that can go on did, or this run has shown nothing about it.
    last = rows[-1]
    for what in ("passivated", "retries", "rejected", "decided", "backups", "live"):
        assert last[what] > 0, what
    assert pages(tmp_path / "store").live > rows[0]["live"]


@pytest.mark.parametrize("what", ["memory", "files", "threads", "dead"])
def test_what_grows_is_found(what: str) -> None:
    still = [[10.0, 11.0, 9.0]] * 10
    assert grown(what, still) == ""
    growing = [[10.0 + 2_000 * period] for period in range(10)]
    assert what in grown(what, growing)
