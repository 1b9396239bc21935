"""A domain whose messages cross from partition to partition by every way there is."""

from __future__ import annotations

from procession import (
    Aggregate,
    Command,
    Domain,
    Event,
    Indexed,
    ProcessManager,
    Rejected,
    after,
    apply,
    handle,
    rejected,
)


class Open(Command):
    case: str
    parts: tuple[str, ...]


class Opened(Event):
    case: str
    parts: tuple[str, ...]


class Make(Command):
    part: str
    case: str


class Made(Event):
    part: str
    case: str


class Numbered(Event):
    case: str
    number: str


class Marked(Event):
    """Names a case by the number that it has learnt."""

    number: str


class Called(Event):
    """For all cases that it names."""

    cases: tuple[str, ...]


class Noted(Command):
    note: str


class NoteMade(Event):
    note: str


crossing = Domain("crossing")
crossing.register(Opened, Made, Numbered, Marked, Called, NoteMade)


@crossing.register
class Desk(Aggregate, identity="case"):
    @handle(Open)
    def open(self, command: Open) -> Opened:
        return Opened(command.case, command.parts)


@crossing.register
class Part(Aggregate, identity="part"):
    made: int = 0

    @handle(Make)
    def make(self, command: Make) -> Made:
        if command.part.startswith("bad"):
            raise Rejected("it is bad")
        return Made(command.part, command.case)

    @apply(Made)
    def _made(self, event: Made) -> None:
        self.made += 1


@crossing.register
class Note(Aggregate, identity="note"):
    count: int = 0

    @handle(Noted)
    def take(self, command: Noted) -> NoteMade:
        return NoteMade(command.note)

    @apply(NoteMade)
    def _made(self, event: NoteMade) -> None:
        self.count += 1


@crossing.register
class Case(ProcessManager, correlate="case", unmatched="hold"):
    case: str = ""
    number: Indexed[str] = ""
    parts: tuple[str, ...] = ()
    made: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    marks: int = 0
    calls: int = 0

    @handle(Opened, start=True)
    def on_opened(self, event: Opened) -> None:
        self.parts = event.parts
        for part in event.parts:
            self.issue(Make(part, event.case))

    @handle(Made)
    def on_made(self, event: Made) -> None:
        self.made = (*self.made, event.part)

    @rejected(Make)
    def on_refused(self, command: Make, reason: str) -> None:
        self.refused = (*self.refused, command.part)

    @handle(Numbered)
    def on_numbered(self, event: Numbered) -> None:
        self.number = event.number

    @handle(Marked, correlate={"number": "number"})
    def on_marked(self, event: Marked) -> None:
        self.marks += 1

    @handle(Called, correlate=lambda event: list(event.cases))
    def on_called(self, event: Called) -> None:
        self.calls += 1

    @after(Made)
    def note(self, event: Made) -> None:
        self.issue(Noted(f"note-{event.case}-{event.part}"))
