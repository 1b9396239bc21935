"""Views tell others nothing that is personal; the program itself has it."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated

import pytest

from procession import (
    Aggregate,
    Command,
    Domain,
    Event,
    Personal,
    ProcessManager,
    Runtime,
    StoredEvent,
    apply,
    handle,
)

NAME = "Ada Lovelace"

clinic = Domain("clinic")


class Enrol(Command):
    patient: str
    name: Annotated[str, Personal]


class Enrolled(Event):
    patient: str
    name: Annotated[str, Personal]


@clinic.register
class Patient(Aggregate, identity="patient"):
    name: Annotated[str, Personal] = ""
    visits: int = 0

    @handle(Enrol)
    def enrol(self, command: Enrol) -> Enrolled:
        return Enrolled(command.patient, command.name)

    @apply(Enrolled)
    def _enrolled(self, event: Enrolled) -> None:
        self.name = event.name


@clinic.register
class Stay(ProcessManager, correlate="patient"):
    patient: str = ""
    name: Annotated[str, Personal] = ""

    @handle(Enrolled, start=True)
    def on_enrolled(self, event: Enrolled) -> None:
        self.name = event.name
        self.issue(Enrol(event.patient, event.name), after=timedelta(days=1))


@pytest.fixture
def runtime() -> Iterator[Runtime]:
    with Runtime.ephemeral(clinic) as runtime:
        runtime.ask(Enrol("p1", NAME))
        runtime.settle(timeout=10)
        yield runtime


def test_what_a_view_tells_others_is_masked_and_its_attributes_are_not(runtime: Runtime) -> None:
    stay, patient = runtime.get(Stay, "p1"), runtime.get(Patient, "p1")
    moment = runtime.at(Stay, "p1", 1)
    assert stay is not None
    assert patient is not None
    assert moment is not None
    views = [
        stay,
        patient,
        moment,
        *runtime.find(Stay),
        *runtime.history(Stay, "p1"),
        *runtime.events(),
        *runtime.timeouts(),
    ]
    for view in views:
        for told in (str(view.to_dict()), view.to_json(), view._repr_html_()):
            assert NAME not in told
            assert "(personal)" in told
        assert NAME in repr(view)
        assert NAME in view.to_json(personal=True)
    assert stay.state["name"] == patient.state["name"] == NAME
    assert patient.to_dict()["state"] == {"name": "(personal)", "visits": 0}


def test_what_was_told_with_what_is_personal_is_read_back(runtime: Runtime) -> None:
    [stored] = runtime.events()
    assert StoredEvent.from_dict(stored.to_dict(personal=True), Enrolled) == stored
    assert StoredEvent.from_dict(stored.to_dict(), Enrolled).event == Enrolled("p1", "(personal)")
