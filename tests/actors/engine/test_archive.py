"""The archive of what was pruned: lines of JSON, whole after a crash."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import zstandard

from procession.engine.archive import ArchiveFile, opened
from procession.store import Partition, StoreError

LINES = [{"kind": "event", "position": 1}, {"kind": "event", "position": 2}]


def read(path: Path) -> list[Any]:
    packed = path.read_bytes()
    if path.suffix == ".gz":
        packed = gzip.decompress(packed)
    elif path.suffix == ".zst":
        reader = zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True)
        packed = reader.read()
    return [json.loads(line) for line in packed.splitlines()]


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst"])
def test_lines_are_added_and_what_a_crash_cut_off_is_removed(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    ArchiveFile(path).write(LINES)
    whole = path.read_bytes()
    ArchiveFile(path).write(LINES)
    for cut in (1, 5, len(whole) - 1):
        path.write_bytes(whole + whole[:cut])
        ArchiveFile(path).write(LINES[:1])
        assert read(path)[-1] == LINES[0]
        assert read(path)[:2] == LINES
        assert len(read(path)) in {3, 4}


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst"])
def test_a_file_that_is_no_archive_is_refused_and_stays(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"something else, and more of it than a frame has in front")
    with pytest.raises(StoreError, match="is no archive"):
        ArchiveFile(path)
    assert path.read_bytes().startswith(b"something else")


def test_each_partition_has_a_file_of_its_own(tmp_path: Path) -> None:
    taker = opened(tmp_path / "events.jsonl.gz", Partition(3, 8))
    assert taker is not None
    taker(LINES)
    assert read(tmp_path / "events-0003.jsonl.gz") == LINES


def test_without_zstandard_it_is_said_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "zstandard", None)
    with pytest.raises(ModuleNotFoundError, match=r"procession\[archive\]"):
        ArchiveFile(tmp_path / "a.jsonl.zst")
