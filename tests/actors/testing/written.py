"""From a description to classes, as a person would have written them."""

from textwrap import indent
from typing import Any, NamedTuple

from procession import Domain
from tests.actors.testing.descriptions import (
    Action,
    AggregateMade,
    Decision,
    DomainMade,
    ManagerMade,
    OnEvent,
    OnRefusal,
    OnTimeout,
)

__all__ = ["Written", "written"]

HEADER = """\
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum

from procession import (
    ALL, Aggregate, Command, Domain, Event, Indexed, ProcessManager, Rejected, Retry, apply, handle,
    rejected, timeout,
)

wild = Domain("wild")


class Stage(Enum):
    NEW = "new"
    OLD = "old"
"""

MESSAGE = """

class {name}({base}):
    who: str
    n: int
    others: list[str] = []
    key: str = ""
    amount: Decimal = Decimal(0)
"""

APPLY = """
@apply(Event{event})
def apply{event}(self, event):
    self.count += 1
    self.names.append(f"{event} {{event.n}}")
    self.total += event.amount"""

STATE = """\
who: str = ""
log: list[str] = []
fuel: int = 0
count: int = 0
total: Decimal = Decimal(0)
tags: set[str] = set()
by: dict[str, int] = {}
last: datetime | None = None
stage: Stage = Stage.NEW
pair: tuple[int, str] = (0, "")
held: str = ""
"""


class Written(NamedTuple):
    """A domain, its classes by name, and its text."""

    domain: Domain
    classes: dict[str, Any]
    text: str


def written(made: DomainMade) -> Written:
    """The classes of a description."""
    commands = [one.command for each in made.aggregates for one in each.decisions]
    parts = [HEADER]
    parts += [MESSAGE.format(name=f"Event{one}", base="Event") for one in range(made.events)]
    parts += [MESSAGE.format(name=f"Command{one}", base="Command") for one in commands]
    parts += map(_aggregate, made.aggregates)
    parts += map(_manager, made.managers)
    text = "".join(parts)
    classes: dict[str, Any] = {"__name__": "wild_domain"}
    # A reader of the code of a class finds names in it, as in code that was typed.
    exec(compile(text, "<wild domain>", "exec", dont_inherit=True), classes)
    return Written(classes["wild"], classes, text)


def _aggregate(made: AggregateMade) -> str:
    lines = [
        "count: int = 0",
        "names: list[str] = []",
        "total: Decimal = Decimal(0)",
        *(_decision(one) for one in made.decisions),
    ]
    applied = sorted({event for one in made.decisions for event in one.emits})
    lines += [APPLY.format(event=event) for event in applied]
    keywords = f'identity="who", category="aggregate{made.number}"'
    if made.snapshot_every:
        keywords += f", snapshot_every={made.snapshot_every}"
    return _class(made.name, f"Aggregate, {keywords}", lines)


def _decision(made: Decision) -> str:
    checks = []
    if made.limit is not None:
        checks.append(f'if before >= {made.limit}:\n    raise Rejected(f"{{before}} are enough")')
    if made.fails_at is not None:
        checks.append(f'if command.n == {made.fails_at}:\n    raise ValueError("it is meant to")')
    makes = [
        f"yield Event{event}(command.who, command.n, command.others, command.key, command.amount)"
        for event in made.emits
    ]
    late = made.is_late and bool(makes)
    body = [*makes[:1], *checks, *makes[1:]] if late else [*checks, *makes]
    if not makes:
        body.append("return None")
    text = indent("\n".join(["before = self.count", *body]), "    ")
    return f"\n@handle(Command{made.command})\ndef decide{made.command}(self, command):\n{text}"


def _manager(made: ManagerMade) -> str:
    keywords = ["ProcessManager"]
    if made.attempts:
        retry = f"Retry(attempts={made.attempts}, first=timedelta(seconds=40))"
        keywords.append(f"retry={retry}")
    if made.streams is not None:
        listed = ", ".join(f"Aggregate{one}" for one in made.streams)
        keywords.append(f"streams=[{listed}]")
    if made.stateless:
        keywords.append("stateless=True")
        lines = []
    else:
        keywords += ['correlate="who"', f'early="{made.early}"', f"restart={made.restart}"]
        if made.unmatched != "hold":
            keywords.append(f'unmatched="{made.unmatched}"')
        if made.late != "skip":
            keywords.append(f'late="{made.late}"')
        kind = "Indexed[str]" if made.is_indexed else "str"
        lines = [STATE + f'key: {kind} = ""']
    for one in made.handlers:
        lines.append(_handler(made, one))
    return _class(made.name, ", ".join(keywords), lines)


CORRELATE = {
    "who": "",
    "others": ', correlate="others"',
    "odd": ", correlate=lambda event: event.who if event.n % 2 else None",
    "key": ', correlate={"key": "key"}',
    "ALL": ", correlate=ALL",
}


def _handler(manager: ManagerMade, made: OnEvent | OnTimeout | OnRefusal) -> str:
    if isinstance(made, OnEvent):
        mark, arguments, said = f"@handle(Event{made.event}", ", event", "event"
        if not manager.stateless:
            mark += f", start={made.start!r}, end={made.end!r}{CORRELATE[made.correlate]}"
        mark += ")"
    elif isinstance(made, OnRefusal):
        mark, arguments = f"@rejected(Command{made.command})", ", command, reason"
        said = "command"
    else:
        mark, arguments, said = f'@timeout("t{made.number}")', "", ""
    fuel = f"{said}.n" if said else "self.fuel - 1"
    lines = [f"fuel = {fuel}"]
    if not manager.stateless:
        told = f"{{{said}.n}}" if said else ""
        reason = " {reason}" if isinstance(made, OnRefusal) else ""
        lines += ["self.fuel = fuel", f'self.log.append(f"{made.name} {told}{reason}")']
    for action in made.actions:
        lines += _action(action, said)
    return f"\n{mark}\ndef {made.name}(self{arguments}):\n" + indent("\n".join(lines), "    ")


def _action(made: Action, said: str) -> list[str]:
    who = f"{said}.who" if said else "self.id"
    rest = f"{said}.others, {said}.key, {said}.amount" if said else '[], "", Decimal("0.5")'
    to = {"own": "self.id", "said": who, "fixed": '"a"'}[made.to]
    command = f"Command{made.what}({to}, fuel - 1, {rest})"
    if made.kind == "issue" and made.minutes:
        # What is held back may be taken back later.
        issue = f"self.issue({command}, after=timedelta(minutes={made.minutes}))"
        issue = f"self.held = {issue}" if made.times else issue
    else:
        issue = f"self.issue({command})"
    amount = f"{said}.amount" if said else 'Decimal("0.5")'
    key = f"{said}.key" if said else "self.key"
    minutes = f"timedelta(minutes={made.minutes})"
    return {
        "count": ["self.count += 1"],
        "total": [f"self.total += {amount}"],
        "tag": [f"self.tags.add({who})"],
        "tally": [f"self.by[{who}] = self.by.get({who}, 0) + 1"],
        "time": ["self.last = self.context.time"],
        "stage": ["self.stage = Stage.OLD if self.stage is Stage.NEW else Stage.NEW"],
        "pair": ["self.pair = (self.pair[0] + 1, self.id)"],
        "learn": [f"self.key = {key}"],
        "issue": ["if fuel > 0:", f"    {issue}"],
        "set": ["if fuel > 0:", f'    self.set_timeout("t{made.what}", {minutes})'],
        "cancel": [f'self.cancel_timeout("t{made.what}")'],
        "take back": ["if self.held:", "    self.cancel(self.held)"],
        "complete": [f"if self.count >= {made.times}:", "    self.mark_as_complete()"],
        "fail": [
            f"if self.context.attempt <= {made.times}:",
            '    raise RuntimeError("it is meant to")',
        ],
    }[made.kind]


def _class(name: str, bases: str, lines: list[str]) -> str:
    body = indent("\n".join(lines), "    ")
    return f"\n\n@wild.register\nclass {name}({bases}):\n{body}\n"
