"""What a simulation has on disk, as plain values."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

from procession.store.layout.schema import TABLES

if TYPE_CHECKING:
    from procession.store import Block, CommandResult, ParkedRecord, TimerRecord
    from procession.testing import Simulation

__all__ = ["Disk", "StoredEvent", "StoredStep", "all_rows", "number_of", "plain", "said_of"]

MANY = 1_000_000
END = 1 << 62


class StoredEvent(NamedTuple):
    """One event of the log."""

    position: int
    number: int
    said: dict[str, Any]
    event_id: str
    stream: str
    version: int
    time: int
    correlation_id: str
    causation_id: str | None


class StoredStep(NamedTuple):
    """One transition; `commands` are their ids, numbers and fields."""

    version: int
    handler: str
    state: dict[str, Any]
    is_complete: bool
    cause: str
    correlation_id: str
    note: str | None
    commands: list[tuple[str, int, dict[str, Any]]]
    time: int
    timers: dict[str, int]


def number_of(message: object) -> int:
    """The number in the name of a message's class."""
    return int("".join(filter(str.isdigit, type(message).__name__)))


def said_of(message: Any) -> dict[str, Any]:
    """The fields of a message."""
    return {name: getattr(message, name) for name in ("who", "n", "others", "key", "amount")}


def plain(state: dict[str, Any]) -> dict[str, Any]:
    """A state without the classes of the domain."""
    return {
        name: value.value if isinstance(value, Enum) else value for name, value in state.items()
    }


class Disk:
    """Reads it. What is logged never changes, so it is read once; the rest every time."""

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self.events: list[StoredEvent] = []
        self.steps: dict[tuple[str, str], list[StoredStep]] = {}
        self.refresh()

    def refresh(self) -> list[StoredEvent]:
        """Read what changed; returns the new events."""
        store = self.simulation._world.store
        new = self._new_events()
        self.events += new
        for definition in self.simulation._world.registry.processes.values():
            for instance, last in list(store.scan_instances(definition.name)):
                steps = self.steps.setdefault((definition.name, instance), [])
                if len(steps) < last.version:
                    steps += self._new_steps(definition, instance, len(steps))
        self.queued = [one.command_id for one in store.read_queue(0, MANY)]
        self.timers: list[TimerRecord] = [one for _, one in list(store.scan_timers(END))]
        self.refusals = store.read_refusals(0, MANY)
        self.parked: list[ParkedRecord] = list(store.scan_parked())
        self.decided: list[ParkedRecord] = list(store.scan_parked(decided=True))
        return new

    def waiting(self, process: str, instance: str) -> tuple[Block | None, list[int]]:
        """What holds an instance up, and what waits for it."""
        return self.simulation._world.store.read_waiting(process, instance, 0, MANY)

    def result_of(self, command_id: str) -> CommandResult | None:
        """What came of a command from outside."""
        return self.simulation._world.store.result_of(command_id)

    def _new_events(self) -> list[StoredEvent]:
        registry = self.simulation._world.registry
        found = []
        for record in self.simulation._world.store.read_log(len(self.events), MANY):
            event = registry.load_event(record)
            found.append(
                StoredEvent(
                    record.position,
                    number_of(event),
                    said_of(event),
                    record.event_id,
                    record.stream,
                    record.version,
                    record.time,
                    record.correlation_id,
                    record.causation_id,
                )
            )
        return found

    def _new_steps(self, definition: Any, instance: str, after: int) -> list[StoredStep]:
        registry = self.simulation._world.registry
        found = []
        store = self.simulation._world.store
        for record in store.read_transitions(definition.name, instance, after, MANY):
            commands = []
            for command_id, kind, data in record.commands:
                command = registry.load_command(kind, data)
                commands.append((command_id, number_of(command), said_of(command)))
            found.append(
                StoredStep(
                    record.version,
                    record.handler,
                    plain(definition.state_of(record)),
                    record.is_complete,
                    record.cause,
                    record.correlation_id,
                    record.note,
                    commands,
                    record.time,
                    record.timers or {},
                )
            )
        return found


def all_rows(simulation: Simulation) -> dict[str, list[tuple[bytes, bytes]]]:
    """Every row of every table, byte for byte."""
    with simulation._world.store.snapshot() as snapshot:
        return {table: list(snapshot.scan(table)) for table in TABLES}
