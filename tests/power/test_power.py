"""Promise 5: whatever a power cut leaves, what was acknowledged is there and the store whole."""

import random
from pathlib import Path

import pytest

from tests.power.campaign import Tally, check, record, recorder, run
from tests.power.recording import SECTOR, Moment, images


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EFFECTS", str(tmp_path / "effects"))
    library = recorder(tmp_path)
    if library is None:
        pytest.skip("recording what is written needs Linux and a C compiler")
    return library


@pytest.mark.usefixtures("library")
def test_whatever_a_power_cut_leaves_of_what_was_not_synced_nothing_is_lost() -> None:
    tally = run(20, seed=7)
    assert tally is not None
    assert tally.wrong == []
    assert (tally.lost, tally.doubled) == (0, 0)
    assert tally.images == 20
    assert tally.torn_writes > 0
    assert tally.lost_writes > 0
    assert tally.acknowledged > 0
    assert tally.opened > 0


def test_a_disk_that_says_that_it_synced_and_did_not_is_found_out(
    library: Path, tmp_path: Path
) -> None:
    moments = [one for one in record(library, tmp_path, 0) if one.kind not in "SD"]
    tally = Tally()
    *_, last = images(moments, random.Random(1), 20)
    check(tmp_path / "image", last, tally)
    assert tally.lost or tally.wrong


def test_what_was_synced_is_in_every_image_and_what_was_not_may_be_torn() -> None:
    whole, torn = b"a" * 4 * SECTOR, b"b" * 4 * SECTOR
    moments = [
        Moment("W", 0, whole),
        Moment("S", 0, b""),
        Moment("A", 0, b"said\n"),
        Moment("W", len(whole), torn),
        Moment("W", 0, b"c" * SECTOR),
        Moment("D", 0, b"c" * SECTOR),
    ]
    kinds = set()
    for seed in range(200):
        *_, last = images(moments, random.Random(seed), len(moments))
        assert last.data[:SECTOR] == b"c" * SECTOR
        assert last.data[SECTOR : 4 * SECTOR] == whole[SECTOR:]
        assert last.lines == ["said"]
        rest = last.data[4 * SECTOR :]
        assert set(rest) <= set(b"b\0")
        kinds.add((last.torn, last.lost))
    assert kinds == {(0, 0), (1, 0), (0, 1)}
