"""A divided store whose content is encrypted: in all partitions, and between them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from procession import Erased, Erasure, Runtime, UnknownInstance, WrongCodec
from procession.cli import main
from procession.encryption import AesGcm, SqliteKeys
from procession.store import StoreError, divided_at
from tests.actors.cluster.wards import WORDS, Admit, Admitted, Laid, Record, Stay, Ward, wards
from tests.coding import Reversed
from tests.postgresql import shared_server

if TYPE_CHECKING:
    from pathlib import Path

    from procession.store import PayloadCodec

PATIENTS = [f"p{number}" for number in range(8)]
PATIENCE = 60


def codec_in(folder: Path) -> PayloadCodec:
    return AesGcm(SqliteKeys(folder / "keys.sqlite"))


def opened(folder: Path, **options: Any) -> Runtime:
    return Runtime(folder / "store", wards, codec=codec_in(folder), **options)


def admit(runtime: Runtime, patients: list[str] = PATIENTS) -> None:
    for patient in patients:
        runtime.ask(Admit(patient, WORDS[0]), headers={"ward": WORDS[2]})
    runtime.settle(timeout=PATIENCE)


def notes_of(runtime: Runtime, patients: list[str] = PATIENTS) -> dict[str, list[str]]:
    views = {patient: runtime.get(Stay, patient) for patient in patients}
    return {patient: sorted(view.state["notes"]) for patient, view in views.items() if view}


LAID = f"{WORDS[1]} of {WORDS[0]}"
ALL = dict.fromkeys(PATIENTS, sorted([LAID, f"no {WORDS[2]} for {LAID}"]))


def files_with(folder: Path) -> list[str]:
    return [
        f"{word} in {file.relative_to(folder)}"
        for file in folder.rglob("*")
        if file.is_file()
        for word in WORDS
        if word.encode() in file.read_bytes()
    ]


@pytest.mark.parametrize("processes", [1, 2], ids=["one process", "two processes"])
def test_no_word_is_in_a_file_of_any_partition(tmp_path: Path, processes: int) -> None:
    with opened(tmp_path, partitions=4, processes=processes) as runtime:
        admit(runtime)
        assert notes_of(runtime) == ALL
        # A fair part of it went from one partition to another.
        assert sum(part.store.last_sent(to) for part in _parts(runtime) for to in range(4)) > 8
        runtime.backup(tmp_path / "copy")
    assert files_with(tmp_path) == []
    with opened(tmp_path) as runtime:
        assert notes_of(runtime) == ALL
        assert runtime.verify() == []
        runtime.amend(Stay, "p1", name=WORDS[0], by="the ward")
        admit(runtime, ["p9"])
    assert files_with(tmp_path) == []


def _parts(runtime: Runtime) -> list[Any]:
    return list(runtime.partition_runtimes)


@pytest.mark.parametrize("processes", [1, 2], ids=["one process", "two processes"])
def test_what_is_erased_is_gone_from_all_partitions_and_their_copies(
    tmp_path: Path, processes: int
) -> None:
    with opened(tmp_path, partitions=4, processes=processes) as runtime:
        admit(runtime)
        runtime.publish(Laid("web", "p2", WORDS[2]), stream="web-ward")
        runtime.settle(timeout=PATIENCE)
        runtime.backup(tmp_path / "copy")
        for cls, name in ((Stay, "p1"), (Record, "p1"), (Ward, "w-p1")):
            runtime.erase(cls, name, by="dpo")
            with pytest.raises(Erased):
                runtime.get(cls, name)
        assert notes_of(runtime, PATIENTS[2:]) == {one: ALL[one] for one in PATIENTS[2:]} | {
            "p2": sorted([*ALL["p2"], WORDS[2]])
        }
        # What comes after that has another key, in all partitions.
        runtime.erase(stream="web-ward")
        runtime.publish(Laid("web", "p2", "calm"), stream="web-ward")
        runtime.settle(timeout=PATIENCE)
        assert "calm" in notes_of(runtime, ["p2"])["p2"]
        told = [one.to_dict() for one in runtime.erasures()]
        assert runtime.verify() == []
    with opened(tmp_path) as runtime:
        assert "calm" in notes_of(runtime, ["p2"])["p2"]
        first, last = runtime.events("web-ward")
        assert (first.error or "").startswith("Erased")
        assert last.event == Laid("web", "p2", "calm")
    # Its keys are gone, and so is what the copy has, which was made before.
    with Runtime(tmp_path / "copy", wards, codec=codec_in(tmp_path)) as copy:
        copy.settle(timeout=PATIENCE)
        for cls, name in ((Stay, "p1"), (Record, "p1"), (Ward, "w-p1")):
            with pytest.raises(Erased):
                copy.get(cls, name)
        done = copy.erase_again(Erasure.from_dict(one) for one in told)
        assert [one.id for one in done] == [
            "p1",
            "wards::record-p1",
            "wards::ward-w-p1",
            "web-ward",
        ]
        assert copy.verify() == []


def test_what_is_erased_a_second_time_is_gone_everywhere_again(tmp_path: Path) -> None:
    with Runtime(tmp_path / "store", wards, partitions=4) as runtime:
        for text in ("first", "second"):
            runtime.publish(Admitted("p1", text), stream="web-desk")
            runtime.settle(timeout=PATIENCE)
            runtime.erase(stream="web-desk")
        stored = [
            event.data
            for part in _parts(runtime)
            for event in part.store.scan_log()
            if event.stream == "web-desk"
        ]
        assert len(stored) > 2
        assert not [one for one in stored if b"first" in one or b"second" in one]
        with pytest.raises(UnknownInstance):
            runtime.erase(Stay, "nobody")


class Away(Reversed):
    """Its keys cannot be reached."""

    def forget(self, subject: str, time: int) -> None:
        raise StoreError(f"the keys are away: {subject!r} at {time}")


def test_the_key_of_a_person_goes_when_all_partitions_are_done(tmp_path: Path) -> None:
    with Runtime(tmp_path / "store", wards, partitions=4, codec=Away()) as runtime:
        for patient in PATIENTS:
            with pytest.raises(StoreError, match="the keys are away"):
                runtime.erase(subject=patient)
            done = [
                [one.is_done for one in part.store.scan_erasures() if one.id == patient]
                for part in _parts(runtime)
            ]
            assert sorted(done) == [[False], [True], [True], [True]]


def test_it_is_opened_with_the_codec_that_it_was_made_with(tmp_path: Path) -> None:
    with opened(tmp_path, partitions=2):
        pass
    with pytest.raises(WrongCodec, match="give the codec of that name"):
        Runtime(tmp_path / "store", wards)
    with pytest.raises(WrongCodec, match="give the codec that it was made with"):
        Runtime(tmp_path / "store", wards, codec=Reversed())
    with Runtime(tmp_path / "plain", wards, partitions=2):
        pass
    with pytest.raises(WrongCodec, match="only a new store"):
        Runtime(tmp_path / "plain", wards, codec=codec_in(tmp_path))
    divided = divided_at(tmp_path / "store")
    assert divided is not None
    # As if the power had failed while it was made.
    (divided.folder_of(1) / "data.mdb").unlink()
    with pytest.raises(WrongCodec):
        Runtime(tmp_path / "store", wards, partitions=2)
    assert not (divided.folder_of(1) / "data.mdb").exists()
    with opened(tmp_path, partitions=2) as runtime:
        assert runtime.verify() == []


def test_the_command_line_checks_and_copies_it_without_the_codec(tmp_path: Path) -> None:
    with opened(tmp_path, partitions=2) as runtime:
        admit(runtime)
    store = str(tmp_path / "store")
    assert main(["backup", store, str(tmp_path / "copy")]) == 0
    assert main(["compact", store]) == 0
    for place in ("store", "copy"):
        with Runtime(tmp_path / place, wards, codec=codec_in(tmp_path)) as runtime:
            assert notes_of(runtime) == ALL


class Held(Reversed):
    """One that cannot go to another process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()


def test_a_codec_that_cannot_go_to_other_processes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be pickled"):
        Runtime(tmp_path / "store", wards, partitions=2, processes=2, codec=Held())


def test_no_word_is_in_a_database_that_nodes_share(tmp_path: Path) -> None:
    server = shared_server()
    url, codec = server.new_url(without_tables=True), codec_in(tmp_path)
    with (
        Runtime(url, wards, partitions=2, codec=codec) as first,
        Runtime(url, wards, partitions=2, codec=codec_in(tmp_path)) as second,
    ):
        # Each asks the other one for half of it.
        admit(first)
        admit(second, ["p8", "p9"])
        assert notes_of(second) == ALL
        second.amend(Stay, "p1", name=WORDS[0], by="the ward")
        first.amend(Stay, "p2", name=WORDS[0], by="the ward")
        for runtime, patient in ((first, "p3"), (second, "p4"), (first, "p5"), (second, "p6")):
            for cls in (Stay, Record):
                runtime.erase(cls, patient)
                for node in (first, second):
                    with pytest.raises(Erased):
                        node.get(cls, patient)
        assert first.verify() == []
        # Its log for recovery has all that was ever written, calls between nodes among it.
        assert files_with(server.data) == []
