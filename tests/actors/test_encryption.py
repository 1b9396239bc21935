"""A store whose content is encrypted: no word of it in the files, and keys that are forgotten."""

import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import pytest

from procession import (
    Aggregate,
    Command,
    Domain,
    Erased,
    Erasure,
    Event,
    Personal,
    ProcessManager,
    Rejected,
    Retry,
    Runtime,
    StoreError,
    WrongCodec,
    apply,
    handle,
    timeout,
)
from procession.encryption import AesGcm, SqliteKeys
from procession.store import PayloadCodec, StoreFinding, backup, compact, copy, verify
from tests.postgresql import shared_server

WORDS = ("Lovelace", "lupus", "chamber")

clinic = Domain("clinic")


class Admitted(Event):
    patient: str
    name: str


class Admit(Command):
    patient: str
    name: str


class Note(Command):
    patient: str
    text: str


class Noted(Event):
    patient: str
    text: str


@clinic.register
class Record(Aggregate, identity="patient"):
    name: str = ""

    @handle(Admit)
    def admit(self, command: Admit) -> Admitted:
        if self.name:
            raise Rejected(f"{self.name} is here")
        return Admitted(command.patient, command.name)

    @handle(Note)
    def note(self, command: Note) -> Noted:
        return Noted(command.patient, command.text)

    @apply(Admitted)
    def _admitted(self, event: Admitted) -> None:
        self.name = event.name

    @apply(Noted)
    def _noted(self, event: Noted) -> None: ...


@clinic.register
class Stay(ProcessManager, correlate="patient", retry=Retry(attempts=1)):
    patient: str = ""
    name: str = ""
    notes: list[str] = []

    @handle(Admitted, start=True)
    def on_admitted(self, event: Admitted) -> None:
        self.name = event.name
        self.issue(Note(event.patient, f"{WORDS[1]} of {event.name}"))
        self.issue(Note(event.patient, f"{WORDS[2]} for {event.name}"), after=timedelta(days=1))
        self.set_timeout("round", timedelta(days=1))

    @handle(Noted)
    def on_noted(self, event: Noted) -> None:
        self.notes.append(event.text)
        if event.text == "fail":
            raise ValueError(f"no bed for {self.name}")

    @timeout("round")
    def on_round(self) -> None: ...


def codec_in(folder: Path) -> PayloadCodec:
    return AesGcm(SqliteKeys(folder / "keys.sqlite"))


def opened(folder: Path, codec: PayloadCodec | None) -> Runtime:
    return Runtime(folder, clinic, durability="none", codec=codec)


def admit(runtime: Runtime, *patients: str) -> None:
    for patient in patients:
        runtime.ask(Admit(patient, WORDS[0]), headers={"ward": WORDS[2]})
    runtime.settle(timeout=10)


def all_in(runtime: Runtime, patient: str) -> list[object]:
    view = runtime.get(Stay, patient)
    record = runtime.get(Record, patient)
    assert view is not None
    assert record is not None
    return [view.state, record.state, [one.state for one in runtime.history(Stay, patient)]]


def files_with(folder: Path) -> list[str]:
    return [
        f"{word} in {file.name}"
        for file in folder.rglob("*")
        if file.is_file()
        for word in WORDS
        if word.encode() in file.read_bytes()
    ]


def test_no_word_of_what_is_stored_is_in_a_file_and_the_work_goes_on(tmp_path: Path) -> None:
    folder, codec = tmp_path / "s", codec_in(tmp_path)
    with opened(folder, codec) as runtime:
        admit(runtime, "p1")
        with pytest.raises(Rejected, match=WORDS[0]):
            runtime.ask(Admit("p1", "x"), command_id="again")
        runtime.ask(Note("p1", "fail"))
        runtime.settle(timeout=10)
        assert runtime.verify() == []
        before = all_in(runtime, "p1")
        [parked] = list(runtime.parked())
        assert parked.error == f"ValueError: no bed for {WORDS[0]}"
    assert files_with(tmp_path) == []
    with opened(folder, codec_in(tmp_path)) as runtime:
        assert all_in(runtime, "p1") == before
        assert [one.error for one in runtime.parked()] == [parked.error]
        with pytest.raises(Rejected, match=WORDS[0]):
            runtime.ask(Admit("p1", "x"), command_id="again")
        runtime.skip(parked.id)
        runtime.ask(Note("p1", "calm"))
        runtime.settle(timeout=10)
        view = runtime.get(Stay, "p1")
        assert view is not None
        assert view.state["notes"] == [f"{WORDS[1]} of {WORDS[0]}", "calm"]
    assert verify(folder, codec=codec_in(tmp_path)) == []
    assert files_with(tmp_path) == []


def test_a_store_is_opened_with_the_codec_that_it_was_made_with(tmp_path: Path) -> None:
    with opened(tmp_path / "s", codec_in(tmp_path)) as runtime:
        admit(runtime, "p1")
    with pytest.raises(WrongCodec, match="give the codec of that name"):
        opened(tmp_path / "s", None)
    with pytest.raises(WrongCodec, match="give the codec of that name"):
        verify(tmp_path / "s")
    (tmp_path / "other").mkdir()
    with pytest.raises(WrongCodec, match="give the codec that it was made with"):
        opened(tmp_path / "s", codec_in(tmp_path / "other"))
    with opened(tmp_path / "plain", None) as runtime:
        admit(runtime, "p1")
    with pytest.raises(WrongCodec, match="only a new store"):
        opened(tmp_path / "plain", codec_in(tmp_path))


def test_what_was_erased_is_unreadable_in_copies_and_others_are_whole(tmp_path: Path) -> None:
    folder, codec = tmp_path / "s", codec_in(tmp_path)
    with opened(folder, codec) as runtime:
        admit(runtime, "p1", "p2")
        before = all_in(runtime, "p2")
        runtime.backup(tmp_path / "copy")
        for cls in (Stay, Record):
            runtime.erase(cls, "p1", by="dpo")
            with pytest.raises(Erased):
                runtime.get(cls, "p1")
        assert all_in(runtime, "p2") == before
        assert runtime.verify() == []
        told = [one.to_dict() for one in runtime.erasures()]
    # The copy was made before, and nothing was erased there.
    assert verify(tmp_path / "copy", codec=codec_in(tmp_path)) == []
    with opened(tmp_path / "copy", codec_in(tmp_path)) as runtime:
        runtime.settle(timeout=10)
        for cls in (Stay, Record):
            with pytest.raises(Erased):
                runtime.get(cls, "p1")
        assert all(one.error is not None for one in runtime.history(Stay, "p1"))
        with pytest.raises(Erased):
            runtime.ask(Note("p1", "more"))
        assert all_in(runtime, "p2") == before
        runtime.erase_again(Erasure.from_dict(one) for one in told)
        runtime.ask(Note("p2", "calm"))
        runtime.settle(timeout=10)
        assert runtime.verify() == []


def test_a_stream_that_was_erased_has_another_key_from_then_on(tmp_path: Path) -> None:
    with opened(tmp_path / "s", codec_in(tmp_path)) as runtime:
        runtime.publish(Noted("p1", WORDS[1]), stream="web-p1")
        runtime.backup(tmp_path / "copy")
        runtime.erase(stream="web-p1")
        runtime.publish(Noted("p1", "calm"), stream="web-p1")
    with opened(tmp_path / "s", codec_in(tmp_path)) as runtime:
        first, second = runtime.events("web-p1")
        assert (first.error or "").startswith("Erased")
        assert second.event == Noted("p1", "calm")
    with opened(tmp_path / "copy", codec_in(tmp_path)) as runtime:
        [first] = runtime.events("web-p1")
        assert (first.error or "").startswith("Erased")


def test_copies_are_made_without_the_codec_and_are_opened_with_it(tmp_path: Path) -> None:
    folder, codec = tmp_path / "s", codec_in(tmp_path)
    with opened(folder, codec) as runtime:
        admit(runtime, "p1")
        before = all_in(runtime, "p1")
    compact(folder)
    backup(folder, tmp_path / "copy")
    copy(folder, tmp_path / "moved")
    for place in (folder, tmp_path / "copy", tmp_path / "moved"):
        with opened(place, codec_in(tmp_path)) as runtime:
            assert all_in(runtime, "p1") == before
    assert files_with(tmp_path) == []


def test_what_was_changed_in_a_row_is_found(tmp_path: Path) -> None:
    codec = codec_in(tmp_path)
    codec.prepare(["one"])
    encoded = codec.encode(b"words", "one")
    assert codec.decode(encoded) == b"words"
    for changed in (encoded[:-1] + bytes([encoded[-1] ^ 1]), b"\0" * 60):
        with pytest.raises(ValueError, match=r"was changed|has no key"):
            codec.decode(changed)


def test_a_row_that_cannot_be_decoded_leaves_those_beside_it_readable(
    tmp_path: Path, findings: list[StoreFinding]
) -> None:
    with opened(tmp_path / "s", codec_in(tmp_path)) as runtime:
        for patient in ("p1", "p2"):
            runtime.publish(Noted(patient, WORDS[1]), stream=f"web-{patient}")
    # As where an older copy of the keys was restored.
    with sqlite3.connect(tmp_path / "keys.sqlite") as keys:
        keys.execute("DELETE FROM keys WHERE subject = 'web-p1'")
    keys.close()
    found = verify(tmp_path / "s", codec=codec_in(tmp_path))
    assert [(one.table, one.key) for one in found] == [("log", "1")]
    with Runtime(tmp_path / "s", clinic, read_only=True, codec=codec_in(tmp_path)) as runtime:
        assert [one.event for one in runtime.events("web-p2")] == [Noted("p2", WORDS[1])]
    # What is damaged here is meant to be.
    findings.clear()


def test_a_file_that_holds_no_keys_is_refused(tmp_path: Path) -> None:
    (tmp_path / "keys.sqlite").write_text("something else, and long enough to be no database")
    with pytest.raises(StoreError, match=r"the file of keys at .* cannot be used"):
        codec_in(tmp_path)
    with pytest.raises(StoreError, match=r"the file of keys at .* cannot be used"):
        SqliteKeys(tmp_path / "none" / "keys.sqlite")


def test_a_database_has_no_word_of_it(tmp_path: Path) -> None:
    url = shared_server().new_url()
    with Runtime(url, clinic, codec=codec_in(tmp_path)) as runtime:
        admit(runtime, "p1")
        before = all_in(runtime, "p1")
        assert runtime.verify() == []
        with runtime._store.stored_snapshot() as stored:
            rows = [row for table in ("log", "transitions") for row in stored.scan(table)]
        assert rows
        assert not [row for row in rows if any(word.encode() in row[1] for word in WORDS)]
    with Runtime(url, clinic, codec=codec_in(tmp_path)) as runtime:
        assert all_in(runtime, "p1") == before


# One person's fields

persons = Domain("persons")


class Enrol(Command):
    patient: str
    name: Annotated[str, Personal]


class Enrolled(Event):
    patient: str
    name: Annotated[str, Personal]


class Referred(Event):
    case: str
    patient: str
    name: Annotated[str, Personal(subject="patient")]
    others: Annotated[list[str], Personal(subject="patient")]


@persons.register
class Patient(Aggregate, identity="patient", snapshot_every=1):
    name: Annotated[str, Personal] = ""

    @handle(Enrol)
    def enrol(self, command: Enrol) -> Enrolled:
        if command.name == "nobody":
            raise Rejected(f"{self.name} is here")
        return Enrolled(command.patient, command.name)

    @apply(Enrolled)
    def _enrolled(self, event: Enrolled) -> None:
        self.name = event.name


@persons.register
class Case(ProcessManager, correlate="case"):
    case: str = ""
    patient: str = ""
    name: Annotated[str, Personal(subject="patient")] = ""
    others: Annotated[list[str], Personal(subject="patient")] = []
    count: int = 0

    @handle(Referred, start=True)
    def on_referred(self, event: Referred) -> None:
        self.patient, self.name, self.count = event.patient, event.name, self.count + 1
        self.others = [*self.others, *event.others]
        self.issue(Enrol(event.patient, event.name))


def with_persons(folder: Path, codec: PayloadCodec | None = None, **options: Any) -> Runtime:
    codec = codec_in(folder.parent) if codec is None else codec
    return Runtime(folder, persons, durability="none", codec=codec, **options)


def refer(runtime: Runtime, case: str, patient: str, name: str, *others: str) -> None:
    runtime.publish(Referred(case, patient, name, list(others)), stream=f"web-{case}")
    runtime.settle(timeout=10)


def states(runtime: Runtime) -> list[dict[str, Any]]:
    found = [runtime.get(Case, case) for case in ("k1", "k2")]
    found += [runtime.get(Patient, patient) for patient in ("p1", "p2")]  # type: ignore[misc]
    return [one.state for one in found if one is not None]


def test_a_person_whose_data_is_erased_is_in_no_copy_and_the_rest_of_it_is(tmp_path: Path) -> None:
    with with_persons(tmp_path / "s") as runtime:
        refer(runtime, "k1", "p1", WORDS[0], "a" * 2_000)
        refer(runtime, "k1", "p1", WORDS[0], "b")
        refer(runtime, "k2", "p2", WORDS[1])
        runtime.backup(tmp_path / "copy")
        before = states(runtime)
        runtime.erase(subject="p1")
        without = states(runtime)
        told = [one.to_dict() for one in runtime.erasures()]
    assert without[0] == {**before[0], "name": "(erased)", "others": []}
    assert without[2] == {"name": "(erased)"}
    assert without[1::2] == before[1::2]
    # Nothing was erased in the copy; the key of the person is gone.
    assert verify(tmp_path / "copy", codec=codec_in(tmp_path)) == []
    with with_persons(tmp_path / "copy") as runtime:
        assert states(runtime) == without
        with runtime._store.snapshot() as snapshot:
            snapshots = dict(snapshot.scan("snapshots"))
        assert [WORDS[0].encode() in one for one in snapshots.values()] == [False, False]
        assert WORDS[1].encode() in snapshots[b"persons::patient-p2"]
        for one in runtime.history(Case, "k1"):
            assert (one.state["name"], one.commands) == ("(erased)", (Enrol("p1", "(erased)"),))
        runtime.erase_again(Erasure.from_dict(one) for one in told)
        # Whoever comes back has another key, and instances go on.
        refer(runtime, "k1", "p1", "Byron", "c")
        assert states(runtime)[0] == {**before[0], "name": "Byron", "others": ["c"], "count": 3}
        assert runtime.verify() == []
        after = states(runtime)
    with with_persons(tmp_path / "copy") as runtime:
        assert states(runtime) == after


def test_what_was_made_of_a_persons_data_is_erased_in_a_copy_when_it_is_erased_again(
    tmp_path: Path,
) -> None:
    with with_persons(tmp_path / "s") as runtime:
        refer(runtime, "k1", "p1", WORDS[0])
        with pytest.raises(Rejected, match=WORDS[0]):
            runtime.ask(Enrol("p1", "nobody"), command_id="again")
        runtime.backup(tmp_path / "copy")
        runtime.erase(subject="p1")
        told = [one.to_dict() for one in runtime.erasures()]
    with with_persons(tmp_path / "copy") as runtime:
        runtime.erase_again(Erasure.from_dict(one) for one in told)
        with pytest.raises(Rejected, match="erased"):
            runtime.ask(Enrol("p1", "nobody"), command_id="again")


class _Cut:
    """A codec whose process ends when it is to forget."""

    def __init__(self, codec: PayloadCodec) -> None:
        self.name, self.prepare = codec.name, codec.prepare
        self.encode, self.decode = codec.encode, codec.decode
        self.look_again = codec.look_again

    def forget(self, subject: str, time: int) -> None:
        raise StoreError(f"the keys are away: {subject!r} at {time}")


def test_an_erasure_that_was_cut_off_before_the_key_went_goes_on(tmp_path: Path) -> None:
    with with_persons(tmp_path / "s", _Cut(codec_in(tmp_path))) as runtime:
        refer(runtime, "k1", "p1", WORDS[0])
        runtime.backup(tmp_path / "copy")
        with pytest.raises(StoreError, match="the keys are away: '\\\\x00p1'"):
            runtime.erase(subject="p1")
    with with_persons(tmp_path / "copy", read_only=True) as runtime:
        assert states(runtime)[0]["name"] == WORDS[0]
    with with_persons(tmp_path / "s") as runtime:
        assert states(runtime)[0]["name"] == "(erased)"
    with with_persons(tmp_path / "copy", read_only=True) as runtime:
        assert states(runtime)[0]["name"] == "(erased)"
