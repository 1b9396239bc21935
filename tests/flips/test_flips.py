"""Promise 11: who reads a damaged byte notices it, or `verify` does; no answer is made of it."""

from pathlib import Path

import pytest

from tests.flips.campaign import look, make_store, run


def test_no_byte_that_is_changed_makes_a_wrong_answer_of_which_verify_knows_nothing() -> None:
    tally = run(36, seed=3)
    assert tally.silent == []
    assert tally.flips.total() == 36
    assert tally.noticed_by_reading.total() > 5


@pytest.fixture
def sound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    monkeypatch.setenv("EFFECTS", str(tmp_path / "effects"))
    make_store(tmp_path / "store")
    return (tmp_path / "store" / "data.mdb").read_bytes()


def test_the_reader_tells_a_store_with_other_contents_from_the_sound_one(
    sound: bytes, tmp_path: Path
) -> None:
    expected = look(tmp_path / "copy", sound)
    assert look(tmp_path / "copy", sound) == expected
    before, after = look(tmp_path / "copy", sound.replace(b"o0003", b"o9993"))
    assert before["digest"] != expected[0]["digest"]
    assert "CorruptRecord" in before["errors"]
    assert after["findings"]
