"""The smallest process manager that does something, for figures about one step or one instance.

A case is opened by one event and noted upon by others. `outside` has the same events under the same
names and no process manager that handles them: what is published with it is a backlog for `cases`.
"""

from procession import Aggregate, Command, Domain, Event, ProcessManager, handle


class Opened(Event):
    case: str


class Noted(Event):
    case: str


class Count(Command):
    counter: str


class Counted(Event):
    counter: str


outside = Domain("cases")
outside.register(Opened, Noted)

cases = Domain("cases")

counters = Domain("counters")
"""One aggregate that answers a command with one event, to which no process manager listens."""


cases.register(Opened, Noted)
counters.register(Counted)


@cases.register
class Case(ProcessManager, correlate="case", begin="origin"):
    case: str = ""
    notes: int = 0

    @handle(Opened, start=True)
    def on_opened(self, event: Opened) -> None:
        """Be there: the state is the fields' defaults and the id."""

    @handle(Noted)
    def on_noted(self, event: Noted) -> None:
        self.notes += 1


@counters.register
class Counter(Aggregate, identity="counter"):
    @handle(Count)
    def count(self, command: Count) -> Counted:
        return Counted(self.id)


def case_id(number: int) -> str:
    return f"c{number:07d}"


def stream_of(event: Opened | Noted) -> str:
    return f"cases::case-{event.case}"
