"""A log in, checked against what a plain reader finds, out as a file of each format, and in again.

    python -m tests.history.around LOG...

The classes and the mapping are made from the log itself: a class for each type of events, with a
field for each attribute and one for each type of objects, and a process manager for each type of
objects, or for the cases. What a log came to is a line; the exit status is 1 if anything differs.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import types
from collections import Counter
from datetime import datetime, timedelta
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from procession import Aggregate, Command, Domain, Event, ProcessManager, Runtime, handle, timeout
from procession.exporting import FORMATS, export
from procession.importing import EventRule, LogMapping, import_file
from procession.store import open_store
from tests.history.plain import plain_events

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.history.plain import PlainEvent

__all__ = ["Around", "brought_around"]

PATIENCE = timedelta(days=90)
"""After which nothing has happened to an object for too long."""

LATER = timedelta(days=400)
"""How long time goes on behind the last event."""

CASE = "case:concept:name"


class Remind(Command):
    object: str


class Reminders(Aggregate, identity="object"):
    @handle(Remind)
    def remind(self, command: Remind) -> None: ...


class Around(NamedTuple):
    """What a log came to.

    Attributes:
        events: how many
        objects: that were followed
        reminders: deadlines that struck
        returned: steps of an object that are as the one before the last and not as the last
        differing: what is not as the plain reader finds it, or not the same when it comes back

    """

    events: int
    objects: int
    reminders: int
    returned: int
    differing: list[str]


class _Followed(NamedTuple):
    """The classes that follow the objects of a log."""

    domain: Domain
    mapping: LogMapping
    fields: dict[str, dict[str, str]]
    """By type of events: attributes and columns of objects, and the fields that they became."""
    processes: dict[str, type[ProcessManager]]
    """By column."""


def brought_around(log: Path, folder: Path, formats: Iterable[str] = FORMATS) -> Around:
    """Bring a log into a store, out as files, and in again."""
    events = plain_events(log)
    made = _followed(events)
    until = events[-1].time + LATER
    options: dict[str, Any] = {"until": until, "durability": "none"}
    import_file(log, folder / "store", made.domain, mapping=made.mapping, **options)
    wanted = _wanted(events)
    with Runtime(folder / "store", made.domain, read_only=True) as runtime:
        differing = _unlike_events(events, made, runtime) + _unlike_objects(wanted, made, runtime)
    store = _held(folder / "store", made)
    for kind in formats:
        export(folder / "store", folder / "log", made.domain, kind=kind)
        back = folder / f"back-{kind}"
        import_file(folder / "log", back, made.domain, kind=kind, **options)
        if _held(back, made) != store:
            differing.append(f"what comes back from {kind}")
    return Around(
        len(events),
        len(wanted),
        sum(one["reminders"] for one in wanted.values()),
        sum(one["returned"] for one in wanted.values()),
        differing,
    )


def _columns(event: PlainEvent) -> dict[str, Any]:
    """What is known of an event, without what is missing; values of objects are lists."""
    known = event.values | {f"object:{kind}": names for kind, names in event.objects.items()}
    return {
        name: value
        for name, value in known.items()
        if not (value is None or (isinstance(value, float) and isnan(value)))
    }


def _objects(event: PlainEvent) -> list[tuple[str, str]]:
    """The objects of an event, or else its case, each as a column and an id."""
    if CASE in event.values:
        return [(CASE, str(event.values[CASE]))]
    return [(f"object:{kind}", one) for kind, names in event.objects.items() for one in names]


# The classes


def _followed(events: list[PlainEvent]) -> _Followed:
    kinds: dict[str, dict[str, set[type]]] = {}
    for one in events:
        found = kinds.setdefault(one.type, {})
        for name, value in _columns(one).items():
            found.setdefault(name, set()).add(type(value))
    is_xes = CASE in events[0].values
    fields: dict[str, dict[str, str]] = {}
    rules, classes = [], {}
    for number, (kind, columns) in enumerate(sorted(kinds.items())):
        of = fields[kind] = _fields(columns)
        cls = _event_class(f"Event{number}", {of[name]: found for name, found in columns.items()})
        classes[kind] = cls
        told: dict[str, Any] = {field: name for name, field in of.items()}
        rules.append(EventRule(cls.__name__, {"concept:name" if is_xes else "type": kind}, told))
    domain = Domain("log")
    domain.register(*classes.values(), Reminders)
    processes = {}
    for number, column in enumerate(sorted({one for each in events for one, _ in _objects(each)})):
        mine = {
            cls: fields[kind][column] for kind, cls in classes.items() if column in fields[kind]
        }
        processes[column] = _process_class(f"Object{number}", mine)
    domain.register(*processes.values())
    mapping = LogMapping(
        time="time:timestamp" if is_xes else "time",
        stream="log-all",
        zone="UTC",
        id=None if is_xes else "{id}",
        event=rules,
    )
    return _Followed(domain, mapping, fields, processes)


def _fields(columns: Iterable[str]) -> dict[str, str]:
    return {
        name: f"f{number}_{re.sub(r'[^a-z0-9]', '_', name.lower())}"
        for number, name in enumerate(sorted(columns))
    }


def _event_class(name: str, fields: dict[str, set[type]]) -> type[Event]:
    hints: dict[str, Any] = {}
    values: dict[str, Any] = {}
    for field, kinds in fields.items():
        if kinds == {list}:
            hints[field], values[field] = list[str], []
        else:
            hints[field], values[field] = (kinds.pop() if len(kinds) == 1 else str) | None, None

    def body(namespace: dict[str, Any]) -> None:
        namespace.update(values, __module__=__name__, __annotations__=hints)

    return types.new_class(name, (Event,), exec_body=body)


def _process_class(name: str, correlate: dict[type[Event], str]) -> type[ProcessManager]:
    def body(namespace: dict[str, Any]) -> None:
        namespace["__module__"] = __name__
        namespace["__annotations__"] = {
            "steps": int,
            "last": list[str],
            "returned": int,
            "reminders": int,
        }
        namespace.update(steps=0, last=[], returned=0, reminders=0)
        for cls, field in correlate.items():
            listens = handle(cls, start=True, correlate=_ids_in(field))
            namespace[f"on_{cls.__name__.lower()}"] = listens(_step_of(cls.__name__))

        @timeout("patience")
        def on_patience(self: Any) -> None:
            self.reminders += 1
            self.issue(Remind(object=str(self.id)))

        namespace["on_patience"] = on_patience

    return types.new_class(name, (ProcessManager,), exec_body=body)


def _ids_in(field: str) -> Callable[[Any], Any]:
    return lambda event: getattr(event, field) or None


def _step_of(kind: str) -> Callable[[Any, Any], None]:
    def on_event(self: Any, event: object) -> None:
        self.steps += 1
        self.returned += len(self.last) > 1 and self.last[0] == kind != self.last[1]
        self.last = [*self.last, kind][-2:]
        self.set_timeout("patience", PATIENCE)

    return on_event


# What it comes to


def _wanted(events: list[PlainEvent]) -> dict[tuple[str, str], Counter[str]]:
    """What each object comes to, by a loop over the log."""
    wanted: dict[tuple[str, str], Counter[str]] = {}
    last: dict[tuple[str, str], tuple[datetime, list[str]]] = {}
    for one in events:
        for named in _objects(one):
            counts = wanted.setdefault(named, Counter(steps=0, returned=0, reminders=1))
            time, kinds = last.get(named, (one.time, []))
            counts["steps"] += 1
            counts["reminders"] += one.time - time > PATIENCE
            counts["returned"] += len(kinds) > 1 and kinds[0] == one.type != kinds[1]
            last[named] = one.time, [*kinds, one.type][-2:]
    return wanted


def _unlike_events(events: list[PlainEvent], made: _Followed, runtime: Runtime) -> list[str]:
    kinds = {rule.type: next(iter(rule.when.values())) for rule in made.mapping.event}
    stored = list(runtime.events())
    said = [f"{len(stored)} events of {len(events)}"] * (len(stored) != len(events))
    for one, found in zip(events, stored, strict=False):
        kind = kinds[type(found.event).__name__]
        of = made.fields[kind]
        values = {name: getattr(found.event, field) for name, field in of.items()}
        told = {name: value for name, value in values.items() if value not in (None, [])}
        wanted = {
            name: str(value) if isinstance(told.get(name), str) else value
            for name, value in _columns(one).items()
            if value not in ("", [])
        }
        told = {name: value for name, value in told.items() if value != ""}
        if (found.event_id, kind, found.time, told) != (one.id, one.type, one.time, wanted):
            said.append(f"{found} is not as {one}")
    return said


def _unlike_objects(
    wanted: dict[tuple[str, str], Counter[str]], made: _Followed, runtime: Runtime
) -> list[str]:
    found = {
        (column, str(one.id)): Counter(
            {name: one.state[name] for name in ("steps", "returned", "reminders")}
        )
        for column, process in made.processes.items()
        for one in runtime.find(process)
    }
    return [
        f"{named} came to {found.get(named)}, and has {wanted.get(named)}"
        for named in found.keys() | wanted.keys()
        if found.get(named) != wanted.get(named)
    ]


def _held(path: Path, made: _Followed) -> list[Any]:
    """All that a store holds of events and of instances."""
    with open_store(path, read_only=True) as store:
        return [*store.scan_log()] + [
            (process.__name__, instance, one)
            for process in made.processes.values()
            for instance, _ in store.scan_instances(f"log.{process.__name__}")
            for one in store.scan_transitions(f"log.{process.__name__}", instance)
        ]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("logs", nargs="+", type=Path)
    differ = False
    for log in parser.parse_args().logs:
        with tempfile.TemporaryDirectory() as folder:
            found = brought_around(log, Path(folder))
        differ = differ or bool(found.differing)
        print(
            f"{log.name}: {found.events} events, {found.objects} objects, {found.reminders} "
            f"reminders, {found.returned} returned; differing: {len(found.differing)}",
            *found.differing[:3],
            sep="\n  ",
            flush=True,
        )
    return differ


if __name__ == "__main__":
    sys.exit(main())
