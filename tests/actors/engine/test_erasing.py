"""What is erased is gone for all who look, and comes back by nothing."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import pytest

from procession import (
    Aggregate,
    Command,
    DefinitionError,
    Domain,
    Erased,
    Erasure,
    Event,
    Indexed,
    Personal,
    ProcessManager,
    Rejected,
    Runtime,
    UnknownInstance,
    apply,
    handle,
    timeout,
)
from procession.store import Erase, ErasureRecord, Step, StepExtras, compact, erased_at, open_store
from procession.store.layout.schema import TABLES
from tests.postgresql import shared_server

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
        Admit(patient=patient, name=WORDS[0]),
        command_id=f"admit-{patient}",
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
            "instance",
            "clinic.Stay",
            "p1",
            "dpo",
        )
        runtime.erase(Record, "p1", by="dpo")
        assert [one.id for one in runtime.erasures()] == ["p1", "clinic::record-p1"]
        with pytest.raises(Erased):
            runtime.get(Stay, "p1")
        with pytest.raises(Erased):
            runtime.get(Record, "p1")
        for listed in (runtime.history(Stay, "p1"), runtime.events(), runtime.find(Stay)):
            for one in listed:
                assert one.error is not None
                assert one.error.startswith("Erased")
        assert list(runtime.find(Stay, name=WORDS[0])) == []
        [gone] = list(runtime.parked(decided=True))
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
        assert len(list(runtime.erasures())) == 2
        # What is in the log of others brings nothing back.
        assert runtime.refresh(Stay) == 0
        assert runtime.refresh(Stay, since="origin") == 0
        with pytest.raises(Erased):
            runtime.refresh(Stay, "p1")


bank = Domain("bank")


class Opened(Event):
    account: str
    holder: str
    name: Annotated[str, Personal(subject="holder")]
    born: Annotated[int, Personal(subject="holder")]


class Open(Command):
    account: str
    holder: str
    name: Annotated[str, Personal(subject="holder")]
    born: Annotated[int, Personal(subject="holder")]


class Moved(Event):
    account: str
    lines: int


class Greet(Command):
    account: str
    holder: str
    text: Annotated[str, Personal(subject="holder")]


@bank.register
class Account(Aggregate, identity="account"):
    name: str = ""

    @handle(Open)
    def open(self, command: Open) -> Opened:
        return Opened(
            account=command.account, holder=command.holder, name=command.name, born=command.born
        )

    @handle(Greet)
    def greet(self, command: Greet) -> Moved:
        return Moved(account=command.account, lines=40)

    @apply(Opened)
    def _opened(self, event: Opened) -> None:
        self.name = event.name

    @apply(Moved)
    def _moved(self, event: Moved) -> None: ...


@bank.register
class Business(ProcessManager, correlate="account"):
    account: str = ""
    holder: str = ""
    name: Annotated[Indexed[str], Personal(subject="holder")] = ""
    lines: list[str] = []

    @handle(Opened, start=True)
    def on_opened(self, event: Opened) -> None:
        self.holder, self.name = event.holder, event.name
        self.issue(Greet(account=self.account, holder=event.holder, text=f"Dear {event.name}"))
        self.issue(
            Greet(account=self.account, holder=event.holder, text=f"Once more {event.name}"),
            after=timedelta(days=3),
        )

    @handle(Moved)
    def on_moved(self, event: Moved) -> None:
        # So large that what follows is stored as changes.
        self.lines += [f"line {number} of many" for number in range(event.lines)]


def test_the_data_of_one_person_is_erased_in_the_copies_that_others_hold(tmp_path: Path) -> None:
    with Runtime(tmp_path / "s", bank, durability="none") as runtime:
        for account, holder, name in (("a1", "h1", WORDS[0]), ("a2", "h2", "Grace Hopper")):
            runtime.ask(Open(account=account, holder=holder, name=name, born=1815))
            runtime.settle(timeout=10)
            for _ in range(5):
                runtime.publish(Moved(account=account, lines=40), stream=f"bank::till-{account}")
            runtime.settle(timeout=10)
        assert any(one.base for one in runtime._store.scan_transitions("bank.Business", "a1"))
        runtime.erase(subject="h1", by="dpo")
        business = runtime.get(Business, "a1")
        assert business is not None
        assert (business.state["name"], business.status) == ("(erased)", "running")
        assert len(business.state["lines"]) == 240
        other = runtime.get(Business, "a2")
        assert other is not None
        assert other.state["name"] == "Grace Hopper"
        opened = [one.event for one in runtime.events() if one.type == "bank.Opened.v1"]
        assert [(one.name, one.born) for one in opened if isinstance(one, Opened)] == [
            ("(erased)", 0),
            ("Grace Hopper", 1815),
        ]
        held = runtime.get(Account, "a1")
        assert held is not None
        assert held.state["name"] == "(erased)"
        # It goes on, and so does its state that is stored as changes.
        runtime.publish(Moved(account="a1", lines=2), stream="bank::till-a1")
        runtime.settle(timeout=10)
        business = runtime.get(Business, "a1")
        assert business is not None
        assert len(business.state["lines"]) == 242
        assert list(runtime.find(Business, name=WORDS[0])) == []
    compact(tmp_path / "s")
    assert files_with(tmp_path / "s", WORDS[0]) == []
    assert files_with(tmp_path / "s", "Grace Hopper") != []


@pytest.fixture
def address() -> str:
    return shared_server().new_url()


def test_what_is_erased_is_in_no_table_of_a_database(address: str) -> None:
    with Runtime(address, clinic) as runtime:
        admitted(runtime)
        runtime.tell(Note(patient="p1", text="fail"))
        runtime.settle(timeout=20)
        assert rows_with(address, *WORDS[:2])
        runtime.erase(Stay, "p1")
        runtime.erase(Record, "p1")
        assert rows_with(address, *WORDS[:2]) == []
        with pytest.raises(Erased):
            runtime.get(Stay, "p1")


def rows_with(address: str, *words: str) -> list[str]:
    """The tables of which a row has one of the words in it."""
    found = []
    with open_store(address, read_only=True) as store, store.snapshot() as snapshot:
        for table in TABLES:
            for _, raw in snapshot.scan(table):
                found += [table for word in words if word.encode() in raw]
    return found


def test_an_erasure_that_was_cut_off_goes_on_when_the_store_is_opened(tmp_path: Path) -> None:
    with Runtime(tmp_path / "s", clinic, durability="none") as runtime:
        admitted(runtime)
    with open_store(tmp_path / "s", durability="none") as store:
        noted = ErasureRecord("stream", "", "clinic::record-p1", 1, "dpo")
        store.commit([Step(extras=StepExtras(erase=Erase(1, record=noted)))])
    with Runtime(tmp_path / "s", clinic, durability="none") as runtime:
        with pytest.raises(Erased):
            runtime.get(Record, "p1")
        assert [one.is_done for one in runtime._store.scan_erasures()] == [True]


def test_what_was_erased_is_erased_again_in_a_store_that_was_restored(tmp_path: Path) -> None:
    with Runtime(tmp_path / "s", clinic, durability="none") as runtime:
        admitted(runtime)
        runtime.backup(tmp_path / "copy")
        runtime.erase(Stay, "p1", by="dpo")
        runtime.erase(stream="clinic::record-p1", by="dpo")
        told = [one.to_dict() for one in runtime.erasures()]
    with Runtime(tmp_path / "copy", clinic, durability="none") as runtime:
        erasures = [Erasure.from_dict(one) for one in told]
        assert runtime.erase_again(erasures) == erasures
        assert runtime.erase_again(erasures) == []
        for cls in (Stay, Record):
            with pytest.raises(Erased):
                runtime.get(cls, "p1")


def test_one_thing_is_named_and_it_must_be_there(tmp_path: Path) -> None:
    with Runtime(tmp_path / "s", clinic, durability="none") as runtime:
        with pytest.raises(TypeError, match="give a class and an id"):
            runtime.erase()
        with pytest.raises(TypeError, match="give a class and an id"):
            runtime.erase(Stay, "p1", stream="a-1")
        with pytest.raises(UnknownInstance, match="nothing is kept of it"):
            runtime.erase(Stay, "nobody")
        assert list(runtime.erasures()) == []


def test_a_mark_that_cannot_be_is_refused() -> None:
    class Meant(Event):
        of: str
        born: Annotated[datetime, Personal]

    class Unsaid(Event):
        of: str
        name: Annotated[str, Personal(subject="holder")]

    for event, why in ((Meant, "no value that says nothing"), (Unsaid, "names no field")):
        with pytest.raises(DefinitionError, match=why):
            Runtime.ephemeral(domain_of(event))


def domain_of(event: type[Event]) -> Domain:
    made = Domain("made")
    made.register(event)
    return made


def test_an_erasure_in_a_divided_store_reaches_the_copies_in_other_partitions(
    tmp_path: Path,
) -> None:
    with Runtime(tmp_path / "s", clinic, partitions=2) as runtime:
        # The stream and the instance are in two partitions.
        runtime.publish(Admitted(patient="p1", name=WORDS[0]), stream="clinic::door-p2")
        runtime.settle(timeout=30)
        runtime.erase(Stay, "p1", by="dpo")
        runtime.erase(stream="clinic::door-p2", by="dpo")
        with pytest.raises(Erased):
            runtime.get(Stay, "p1")
        for part in runtime.partition_runtimes:
            kept = [one.data for one in part._store.scan_log() if one.type == "clinic.Admitted.v1"]
            assert all(erased_at(data) is not None for data in kept)
        assert [one.id for one in runtime.erasures()] == ["p1", "clinic::door-p2"]
