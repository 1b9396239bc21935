"""What is erased is gone for all who look, and comes back by nothing."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from procession import (
    Aggregate,
    Command,
    Domain,
    Erased,
    Event,
    Indexed,
    ProcessManager,
    Rejected,
    Runtime,
    apply,
    handle,
    timeout,
)
from procession.store import compact

WORDS = ("Ada Lovelace", "ada@example.org", "St James's Square")

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


class Discharge(Command):
    patient: str
    text: str


@clinic.register
class Record(Aggregate, identity="patient"):
    name: str = ""

    @handle(Admit)
    def admit(self, command: Admit) -> Admitted:
        if self.name:
            raise Rejected(f"{self.name} is here already")
        return Admitted(patient=command.patient, name=command.name)

    @handle(Note)
    def note(self, command: Note) -> Noted:
        return Noted(patient=command.patient, text=command.text)

    @apply(Admitted)
    def _admitted(self, event: Admitted) -> None:
        self.name = event.name

    @apply(Noted)
    def _noted(self, event: Noted) -> None: ...


@clinic.register
class Stay(ProcessManager, correlate="patient"):
    patient: str = ""
    name: Indexed[str] = ""
    text: str = ""

    @handle(Admitted, start=True)
    def on_admitted(self, event: Admitted) -> None:
        self.name = event.name
        self.issue(Note(patient=self.patient, text=f"{event.name} came"))
        self.issue(
            Note(patient=self.patient, text=f"{event.name} still here"), after=timedelta(days=3)
        )
        self.set_timeout("round", timedelta(days=1))

    @handle(Noted)
    def on_noted(self, event: Noted) -> None:
        self.text = event.text
        if event.text == "fail":
            raise ValueError(f"no bed for {self.name}")

    @timeout("round")
    def on_round(self) -> None: ...


def admitted(runtime: Runtime, patient: str = "p1") -> None:
    runtime.ask(
        Admit(patient=patient, name=WORDS[0]), command_id=f"admit-{patient}",
        headers={"actor": WORDS[1]},
    )
    runtime.settle(timeout=10)


def files_with(folder: Path, *words: str) -> list[str]:
    """The files of a folder in which some of the words stand."""
    return [
        f"{word} in {file.name}"
        for file in folder.rglob("*")
        if file.is_file()
        for word in words
        if word.encode() in file.read_bytes()
    ]


def test_what_is_erased_is_in_no_file_after_compacting(tmp_path: Path) -> None:
    with Runtime(tmp_path / "s", clinic, durability="none") as runtime:
        admitted(runtime)
        with pytest.raises(Rejected):
            runtime.ask(Admit(patient="p1", name=WORDS[0]), command_id="again")
        runtime.tell(Note(patient="p1", text="fail"))
        runtime.settle(timeout=10)
        assert next(runtime.parked()).error == f"ValueError: no bed for {WORDS[0]}"
        assert files_with(tmp_path / "s", *WORDS[:2])
        erasure = runtime.erase(Stay, "p1", by="dpo")
        assert (erasure.kind, erasure.process, erasure.id, erasure.by) == (
            "instance", "clinic.Stay", "p1", "dpo",
        )
        runtime.erase(Record, "p1", by="dpo")
        assert [one.id for one in runtime.erasures()] == ["p1", "clinic::record-p1"]
        assert runtime.verify() == []
        with pytest.raises(Erased):
            runtime.get(Stay, "p1")
        with pytest.raises(Erased):
            runtime.get(Record, "p1")
        for listed in (runtime.history(Stay, "p1"), runtime.events(), runtime.find(Stay)):
            for one in listed:
                assert one.error is not None
                assert one.error.startswith("Erased")
        assert list(runtime.find(Stay, name=WORDS[0])) == []
        [gone] = [one for one in runtime.parked(decided=True)]
        assert gone.error.startswith("ValueError: erased 20")
        with pytest.raises(Erased):
            runtime.ask(Note(patient="p1", text="more"))
        runtime.publish(Admitted(patient="p1", name="x"), stream="clinic::elsewhere-1")
        runtime.settle(timeout=10)
        with pytest.raises(Erased):
            runtime.get(Stay, "p1")
        assert list(runtime.timeouts()) == []
        assert not list(runtime.parked())
    compact(tmp_path / "s")
    assert files_with(tmp_path / "s", *WORDS) == []
    with Runtime(tmp_path / "s", clinic, durability="none") as runtime:
        assert runtime.verify() == []
        assert len(list(runtime.erasures())) == 2
        assert list(runtime.refresh(Stay) for _ in range(1)) == [0]
