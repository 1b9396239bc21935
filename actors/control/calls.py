"""The calls, as data: what a client asks for, and what is done about it.

A call is the same whether it goes through the socket of a service, or is carried out by a client
that has opened the store itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeAlias

from msgspec import Meta, Struct, field

from ..queries.log_end import Kind
from .acting import amend, cancel_timeout, decide, end, move_timeout, note_backup, refresh
from .aside import NEVER, parked, parked_groups, selected, timeouts
from .condition import health, partitions, stats
from .documents import documents
from .erasing import erase, erase_again, erasures
from .explained import graph, trace, why
from .following import Following
from .instances import Status, instance, instances, processes, stuck
from .log import events
from .measured import measured, part_of
from .plain import Plain
from .projections import held_streams, projections
from .pruning import prune
from .rebuilding import rebuild, rebuild_tables, refresh_all

if TYPE_CHECKING:
    from .face import Face

__all__ = [
    "CALLS",
    "Amend",
    "Answer",
    "Call",
    "CancelTimeout",
    "Decide",
    "Documents",
    "End",
    "Erase",
    "EraseAgain",
    "Erasures",
    "Events",
    "Graph",
    "Health",
    "HeldStreams",
    "Instance",
    "Instances",
    "Measured",
    "MoveTimeout",
    "NoteBackup",
    "Parked",
    "ParkedGroups",
    "Partitions",
    "Processes",
    "Projections",
    "Prune",
    "Rebuild",
    "RebuildTables",
    "Refresh",
    "RefreshAll",
    "Selected",
    "Stats",
    "Stuck",
    "Tail",
    "Timeouts",
    "Trace",
    "Why",
]

Limit: TypeAlias = Annotated[int, Meta(ge=1)]
"""Most rows of an answer."""

Answer: TypeAlias = Plain | list[Any] | Iterator[Plain] | Following | None
"""One value; or rows, one after the other, with an end or, of what is followed, without one."""


class Call(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One thing that a client asks for. Its fields are the arguments.

    Attributes:
        path: what it is called in a request
        acts: whether it changes anything; then it is a POST, and otherwise a GET
        within: seconds in which a service that is well answers; None of what may take long

    """

    path: ClassVar[str]
    acts: ClassVar[bool] = True
    within: ClassVar[float | None] = None

    def answer(self, face: Face, by: str) -> Answer:
        """Carry it out.

        Args:
            face: where
            by: who asks

        """
        raise NotImplementedError


class Look(Call, frozen=True):
    """A call that changes nothing."""

    acts = False

    def answer(self, face: Face, by: str) -> Answer:
        del by
        return self.look(face)

    def look(self, face: Face) -> Answer:
        """Carry it out; it is the same for all who ask."""
        raise NotImplementedError


# Looking


class Processes(Look, frozen=True):
    """The process managers: counts by status, backlog, and the oldest event that waits."""

    path = "processes"

    def look(self, face: Face) -> Answer:
        return processes(face)


class Partitions(Look, frozen=True):
    """The partitions of a divided store: who runs each, and how far it is behind."""

    path = "partitions"

    def look(self, face: Face) -> Answer:
        return partitions(face)


class Projections(Look, frozen=True):
    """The projections: how far each is, and of how many streams something is set aside."""

    path = "projections"

    def look(self, face: Face) -> Answer:
        return projections(face)


class HeldStreams(Look, frozen=True):
    """The streams of which a projection has set something aside."""

    path = "projections/held"
    projection: str
    after: str | None = None
    limit: Limit = 50

    def look(self, face: Face) -> Answer:
        return held_streams(face, self.projection, after=self.after, limit=self.limit)


class Documents(Look, frozen=True):
    """Documents that a projection keeps, in the order of their keys, or what is under one."""

    path = "projections/documents"
    projection: str
    key: str | None = None
    prefix: str = ""
    after: str | None = None
    limit: Limit = 50

    def look(self, face: Face) -> Answer:
        return documents(
            face,
            self.projection,
            key=self.key,
            prefix=self.prefix,
            after=self.after,
            limit=self.limit,
        )


class Instances(Look, frozen=True):
    """Instances of a process manager."""

    path = "instances"
    process: str
    status: list[Status] = []
    where: dict[str, str] = field(default_factory=dict)
    after: str | None = None
    limit: Limit = 50

    def look(self, face: Face) -> Answer:
        return instances(
            face,
            self.process,
            status=self.status,
            where=self.where,
            after=self.after,
            limit=self.limit,
        )


class Instance(Look, frozen=True):
    """One instance with its newest transitions."""

    path = "instance"
    process: str
    id: str
    limit: Limit = 50
    version: int | None = None

    def look(self, face: Face) -> Answer:
        return instance(face, self.process, self.id, limit=self.limit, version=self.version)


class Stuck(Look, frozen=True):
    """Instances that have not moved for a time."""

    path = "stuck"
    process: str | None = None
    seconds: float = 3600.0

    def look(self, face: Face) -> Answer:
        return stuck(face, seconds=self.seconds, process=self.process)


class Parked(Look, frozen=True):
    """What is parked, one by one."""

    path = "parked"
    process: str | None = None
    error: str | None = None
    handler: str | None = None
    place: str | None = None
    decided: bool = False
    after: int = 0
    limit: Limit = 50

    def look(self, face: Face) -> Answer:
        return parked(
            face,
            decided=self.decided,
            process=self.process,
            error=self.error,
            handler=self.handler,
            place=self.place,
            after=self.after,
            limit=self.limit,
        )


class ParkedGroups(Look, frozen=True):
    """What is parked, by where it failed and how."""

    path = "parked/groups"
    process: str | None = None

    def look(self, face: Face) -> Answer:
        return parked_groups(face, process=self.process)


class Selected(Look, frozen=True):
    """How many parked things a decision would be about, and the highest number among them."""

    path = "parked/selected"
    ids: list[int] = []
    process: str | None = None
    error: str | None = None
    handler: str | None = None
    place: str | None = None

    def look(self, face: Face) -> Answer:
        found = selected(
            face,
            ids=self.ids,
            process=self.process,
            error=self.error,
            handler=self.handler,
            place=self.place,
        )
        return {"count": len(found), "until": max(found, default=0)}


class Timeouts(Look, frozen=True):
    """What is due later."""

    path = "timeouts"
    process: str | None = None
    id: str | None = None
    limit: Limit = 50

    def look(self, face: Face) -> Answer:
        return timeouts(face, process=self.process, id=self.id, limit=self.limit)


class Events(Look, frozen=True):
    """Stored events."""

    path = "events"
    stream: str | None = None
    after: int | None = None
    limit: Limit = 50

    def look(self, face: Face) -> Answer:
        return events(face, stream=self.stream, after=self.after, limit=self.limit)


class Tail(Look, frozen=True):
    """The newest of the log, and with `follow` what comes to its end, as it comes."""

    path = "tail"
    kinds: list[Kind] = []
    stream: str | None = None
    types: list[str] = []
    process: str | None = None
    last: Annotated[int, Meta(ge=0)] = 10
    after: str | None = None
    follow: bool = False

    def look(self, face: Face) -> Answer:
        found = Following(
            face,
            kinds=self.kinds,
            stream=self.stream,
            types=self.types,
            process=self.process,
            last=self.last,
            after=self.after,
        )
        return found if self.follow else found.rows()


class Why(Look, frozen=True):
    """What came of an event for everyone who listens to it."""

    path = "why"
    event: str

    def look(self, face: Face) -> Answer:
        return why(face, self.event)


class Erasures(Look, frozen=True):
    """What was erased, when, and who asked."""

    path = "erasures"

    def look(self, face: Face) -> Answer:
        return erasures(face)


class Trace(Look, frozen=True):
    """All that one beginning led to."""

    path = "trace"
    event: str

    def look(self, face: Face) -> Answer:
        return trace(face, self.event)


class Graph(Look, frozen=True):
    """The design of each domain."""

    path = "graph"

    def look(self, face: Face) -> Answer:
        return graph(face)


class Measured(Look, frozen=True):
    """The design of each domain with what happened on it, and another part of that beside it."""

    path = "measured"
    since: datetime | None = None
    until: datetime | None = None
    code: int | None = None
    beside: bool = False
    beside_since: datetime | None = None
    beside_until: datetime | None = None
    beside_code: int | None = None

    def look(self, face: Face) -> Answer:
        return self.happened(face)

    def happened(self, face: Face) -> Plain:
        """The answer, which is one value."""
        part = part_of(self.since, self.until, self.code)
        beside = part_of(self.beside_since, self.beside_until, self.beside_code)
        return measured(face, part, beside if self.beside else None)


class Stats(Look, frozen=True):
    """Counters and gauges of the service."""

    path = "stats"
    within = 30.0

    def look(self, face: Face) -> Answer:
        return {**stats(face)}


class Health(Look, frozen=True):
    """How the service is."""

    path = "health"
    within = 30.0

    def look(self, face: Face) -> Answer:
        return health(face)


# Acting


class Decide(Call, frozen=True):
    """Retry or skip what is parked."""

    path = "decide"
    verdict: Literal["retry", "skip"]
    ids: list[int] = []
    process: str | None = None
    error: str | None = None
    handler: str | None = None
    place: str | None = None
    until: int = NEVER

    def answer(self, face: Face, by: str) -> Answer:
        return decide(
            face,
            self.verdict,
            by,
            ids=self.ids,
            process=self.process,
            error=self.error,
            handler=self.handler,
            place=self.place,
            until=self.until,
        )


class MoveTimeout(Call, frozen=True):
    """Have a timeout come at another time."""

    path = "timeout/move"
    process: str
    id: str
    name: str
    when: str

    def answer(self, face: Face, by: str) -> Answer:
        return move_timeout(face, self.process, self.id, self.name, self.when, by)


class CancelTimeout(Call, frozen=True):
    """Have a timeout not come at all."""

    path = "timeout/cancel"
    process: str
    id: str
    name: str

    def answer(self, face: Face, by: str) -> Answer:
        return cancel_timeout(face, self.process, self.id, self.name, by)


class End(Call, frozen=True):
    """End an instance that is not to go on."""

    path = "end"
    process: str
    id: str
    reason: str
    version: int | None = None
    compensate: bool = True

    def answer(self, face: Face, by: str) -> Answer:
        return end(
            face,
            self.process,
            self.id,
            self.reason,
            by,
            version=self.version,
            compensate=self.compensate,
        )


class Erase(Call, frozen=True):
    """Erase what is kept of an instance, a stream or a person."""

    path = "erase"
    process: str | None = None
    id: str | None = None
    stream: str | None = None
    subject: str | None = None

    def answer(self, face: Face, by: str) -> Answer:
        return erase(
            face, by, process=self.process, id=self.id, stream=self.stream, subject=self.subject
        )


class EraseAgain(Call, frozen=True):
    """Erase what was erased in a store that was lost, as `erasures` told it."""

    path = "erase-again"
    erasures: list[dict[str, Any]]

    def answer(self, face: Face, by: str) -> Answer:
        del by
        return erase_again(face, self.erasures)


class Amend(Call, frozen=True):
    """Give fields of an instance other values, each as text or as JSON."""

    path = "amend"
    process: str
    id: str
    fields: dict[str, str]
    version: int | None = None
    retry: bool = False

    def answer(self, face: Face, by: str) -> Answer:
        return amend(
            face,
            self.process,
            self.id,
            self.fields,
            by,
            version=self.version,
            retry=self.retry,
        )


class Refresh(Call, frozen=True):
    """Rebuild the state of one instance."""

    path = "refresh"
    process: str
    id: str
    since: Literal["origin"] | None = None

    def answer(self, face: Face, by: str) -> Answer:
        return refresh(face, self.process, self.id, by, since=self.since)


class RefreshAll(Call, frozen=True):
    """Rebuild the state of all instances of a process manager, and tell how far it is."""

    path = "refresh/all"
    process: str
    since: Literal["origin"] | None = None

    def answer(self, face: Face, by: str) -> Answer:
        return refresh_all(face, self.process, by, since=self.since)


class Rebuild(Call, frozen=True):
    """Rebuild all instances of a process manager, and tell how far it is."""

    path = "rebuild"
    process: str

    def answer(self, face: Face, by: str) -> Answer:
        return rebuild(face, self.process, by)


class RebuildTables(Call, frozen=True):
    """Make the tables of a projection anew, and tell how far it is."""

    path = "projections/rebuild"
    projection: str

    def answer(self, face: Face, by: str) -> Answer:
        return rebuild_tables(face, self.projection, by)


class Prune(Call, frozen=True):
    """Take out of the store what was complete before a moment."""

    path = "prune"
    before: str
    ids_before: str | None = None
    archive: str | None = None

    def answer(self, face: Face, by: str) -> Answer:
        del by  # what went has no place for it
        return prune(face, self.before, self.ids_before, self.archive)


class NoteBackup(Call, frozen=True):
    """Note a copy that was made of the store beside its service."""

    path = "backup/note"
    within = 30.0
    target: str
    seconds: Annotated[float, Meta(ge=0)]

    def answer(self, face: Face, by: str) -> Answer:
        del by  # what is noted of a backup has no place for it
        note_backup(face, self.target, self.seconds)
        return None


CALLS: tuple[type[Call], ...] = (
    Processes,
    Partitions,
    Projections,
    HeldStreams,
    Documents,
    Instances,
    Instance,
    Stuck,
    Parked,
    ParkedGroups,
    Selected,
    Timeouts,
    Events,
    Tail,
    Erasures,
    Why,
    Trace,
    Graph,
    Measured,
    Stats,
    Health,
    Decide,
    MoveTimeout,
    CancelTimeout,
    End,
    Amend,
    Erase,
    EraseAgain,
    Refresh,
    RefreshAll,
    Rebuild,
    RebuildTables,
    Prune,
    NoteBackup,
)
