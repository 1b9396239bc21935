"""The file of a capsule: what is none, was damaged or is another version's is refused."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from procession import Runtime, StoreError
from procession.capsule import Capsule, CapsuleError, file, make_capsule
from procession.testing import VirtualClock
from tests.actors.capsule.orders import Reserved, shop


@pytest.fixture(scope="module")
def capsule(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("capsule")
    with Runtime(folder / "store", shop, clock=VirtualClock(), durability="none") as runtime:
        event = Reserved(article="hat", order_id="o1", customer="Alexandra")
        runtime.publish(event, stream="reservations-o1")
        runtime.settle(timeout=20)
    make_capsule(folder / "store", shop, "Sending", "o1", folder / "capsule")
    return folder / "capsule"


Members = dict[str, bytes]


def changed(capsule: Path, target: Path, change: Callable[[Members, Any], None]) -> Path:
    """The capsule with other members, or another page about them."""
    with zipfile.ZipFile(capsule) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    contents = json.loads(members["capsule.json"])
    change(members, contents)
    members["capsule.json"] = json.dumps(contents).encode()
    with zipfile.ZipFile(target, "w") as archive:
        for name, packed in members.items():
            archive.writestr(name, packed)
    return target


def without_log(members: Members, contents: Any) -> None:
    del members["0/log"]


def with_more(members: Members, contents: Any) -> None:
    members["../evil"] = b""


def with_evil_name(members: Members, contents: Any) -> None:
    members["../evil"] = members["0/log"]
    contents["members"]["../evil"] = contents["members"]["0/log"]


def of_a_newer_version(members: Members, contents: Any) -> None:
    contents["version"] = 2
    contents["more"] = "of what is not known yet"


def with_another_log(members: Members, contents: Any) -> None:
    members["0/log"] = bytes(len(members["0/log"]))


def with_no_process(members: Members, contents: Any) -> None:
    del contents["process"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without_log, "it has other members than it says"),
        (with_more, "it has other members than it says"),
        (with_evil_name, "'../evil' is no table of a store"),
        (of_a_newer_version, "has version 2 of the capsule's format"),
        (with_another_log, "0/log does not match its checksum"),
        (with_no_process, "capsule.json cannot be read"),
    ],
)
def test_a_file_that_is_not_as_it_was_written_is_refused(
    change: Callable[[Members, Any], None], said: str, capsule: Path, tmp_path: Path
) -> None:
    path = changed(capsule, tmp_path / "changed", change)

    with pytest.raises(CapsuleError, match=said):
        Capsule(path).open_in(tmp_path / "opened")
    assert not (tmp_path / "opened").exists()


def test_a_file_that_is_cut_off_or_no_archive_is_refused(capsule: Path, tmp_path: Path) -> None:
    whole = capsule.read_bytes()
    for content in (b"", b"no archive", whole[: len(whole) // 2], whole[:-1]):
        (tmp_path / "cut").write_bytes(content)
        with pytest.raises(CapsuleError, match="is no capsule, or"):
            Capsule(tmp_path / "cut")
    with pytest.raises(CapsuleError, match="is no capsule, or"):
        Capsule(tmp_path / "missing")


def test_one_bit_that_is_another_is_noticed(capsule: Path, tmp_path: Path) -> None:
    whole = bytearray(capsule.read_bytes())
    with zipfile.ZipFile(capsule) as archive:
        at = archive.getinfo("0/log").header_offset + 60
    whole[at] ^= 1
    (tmp_path / "flipped").write_bytes(whole)

    with pytest.raises(CapsuleError, match="0/log"):
        Capsule(tmp_path / "flipped").tables()


def test_more_than_is_allowed_is_refused_before_it_is_unpacked(
    capsule: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file, "MOST_BYTES", 100)
    with pytest.raises(CapsuleError, match="at most 100 are opened"):
        Capsule(capsule)


def test_its_file_is_its_owners_and_takes_the_place_of_none(capsule: Path) -> None:
    assert capsule.stat().st_mode & 0o777 == 0o600
    with pytest.raises(CapsuleError, match="File exists"):
        make_capsule(capsule.parent / "store", shop, "Sending", "o1", capsule)


def test_a_store_is_made_in_a_folder_of_its_own(capsule: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("something")
    with pytest.raises(StoreError, match="is not empty"):
        Capsule(capsule).open_in(tmp_path)
