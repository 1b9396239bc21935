"""A domain whose payloads cross from partition to partition: patients in one, wards in another."""

from __future__ import annotations

from datetime import timedelta

from procession import (
    Aggregate,
    Command,
    Domain,
    Event,
    ProcessManager,
    Rejected,
    apply,
    handle,
    rejected,
)

WORDS = ("Ada-Byron-King", "lupus-vulgaris", "corner-chamber")
"""What is told of patients, and stands in no id and in no other test."""

wards = Domain("wards")


class Admit(Command):
    patient: str
    name: str


class Admitted(Event):
    patient: str
    name: str


class Lay(Command):
    ward: str
    patient: str
    text: str


class Laid(Event):
    ward: str
    patient: str
    text: str


wards.register(Admitted, Laid)


@wards.register
class Record(Aggregate, identity="patient"):
    name: str = ""

    @handle(Admit)
    def admit(self, command: Admit) -> Admitted:
        return Admitted(command.patient, command.name)

    @apply(Admitted)
    def _admitted(self, event: Admitted) -> None:
        self.name = event.name


@wards.register
class Ward(Aggregate, identity="ward"):
    beds: int = 0

    @handle(Lay)
    def lay(self, command: Lay) -> Laid:
        if command.ward.startswith("full"):
            raise Rejected(f"no {WORDS[2]} for {command.text}")
        return Laid(command.ward, command.patient, command.text)

    @apply(Laid)
    def _laid(self, event: Laid) -> None:
        self.beds += 1


@wards.register
class Stay(ProcessManager, correlate="patient"):
    patient: str = ""
    name: str = ""
    notes: tuple[str, ...] = ()

    @handle(Admitted, start=True)
    def on_admitted(self, event: Admitted) -> None:
        self.name = event.name
        for ward in (f"w-{event.patient}", f"full-{event.patient}"):
            self.issue(Lay(ward, event.patient, f"{WORDS[1]} of {event.name}"))
        self.issue(Lay("late", event.patient, WORDS[2]), after=timedelta(days=1))

    @handle(Laid)
    def on_laid(self, event: Laid) -> None:
        self.notes = (*self.notes, event.text)

    @rejected(Lay)
    def on_refused(self, command: Lay, reason: str) -> None:
        self.notes = (*self.notes, reason)
