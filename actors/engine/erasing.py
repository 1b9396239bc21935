"""Erases what streams and instances say, in short steps beside the work.

What is to be erased is noted first, so that an erasure that was cut off goes on when the store is
opened again. What is in memory of it is forgotten with the commits that erase it.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Literal

from ..core.stimuli import Amend, Erase
from ..errors import UnknownInstance
from ..store import (
    EVENTS,
    ErasureRecord,
    Step,
    StepExtras,
    check_name,
    is_there,
    owner_of_erasure,
    places_of_instance,
    places_of_stream,
)
from ..store import Erase as EraseRows
from .admin import Admin
from .ingress import Receipt, Receipts
from .instance_actor import InstanceMessage
from .pending_replies import ReplyFuture
from .subjects import SubjectRows

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..model.process_definition import ProcessDefinition
    from ..store import Store
    from .engine import Engine

    Place = tuple[str, bytes]

__all__ = ["Erasing"]


class Erasing:
    """Erases while the engine runs; each call returns when all of it is erased, durably."""

    def __init__(self, engine: Engine, store: Store) -> None:
        self._engine = engine
        self._store = store

    def instance(
        self, definition: ProcessDefinition, instance: str, by: str | None
    ) -> ErasureRecord:
        """Erase what one instance knew; it ends first, if it runs.

        Raises:
            UnknownInstance: nothing is there of it

        """
        store, name = self._store, definition.name
        if not store.started_as(name, instance) and not any(
            any(is_there(store, place) for place in page)
            for page in places_of_instance(store, name, instance, 0)
        ):
            raise UnknownInstance(f"{name} has no instance {instance!r}, and nothing is kept of it")
        return self._begin(ErasureRecord("instance", name, instance, self._now(), by))

    def stream(self, stream: str, by: str | None) -> ErasureRecord:
        """Erase what the events of one stream say, and the commands for it."""
        check_name("stream", stream)
        return self._begin(ErasureRecord("stream", "", stream, self._now(), by))

    def subject(self, subject: str, by: str | None) -> ErasureRecord:
        """Erase the fields that are marked as one person's, wherever they are."""
        return self._begin(ErasureRecord("subject", "", subject, self._now(), by))

    def again(
        self,
        kind: Literal["instance", "stream", "subject"],
        name: str,
        which: str,
        by: str | None,
    ) -> None:
        """Erase what was erased in a store that was lost; nothing need be here of it."""
        self._begin(ErasureRecord(kind, name, which, self._now(), by))

    def go_on(self) -> None:
        """Take up what was cut off."""
        for record in list(self._store.scan_erasures()):
            if not record.is_done:
                self._carry_out(record)

    def _begin(self, record: ErasureRecord) -> ErasureRecord:
        self._write(EraseRows(record.time, record=record))
        self._carry_out(record)
        return record

    def _carry_out(self, record: ErasureRecord) -> None:
        if record.kind == "subject":
            self._erase_subject(record)
        else:
            self._erase_rows(record.time, self._places_of(record))
        if self._store.codec is not None:
            if self._is_at_home(record):
                # Last: what else is to go is found by what can still be read, and one that was cut
                # off is carried out anew, so that no key outlives its erasure.
                self._store.codec.forget(owner_of_erasure(record), record.time)
            else:
                # Once is enough: what comes after that has another key, and is to stay.
                self._store.codec.look_again()
        for erase_there in self._engine.when_erasing:
            erase_there(record)
        record.is_done = True
        # First, so that it is forgotten at the latest when this is durable.
        self._engine.forget()
        self._write(EraseRows(record.time, record=record))

    def _is_at_home(self, record: ErasureRecord) -> bool:
        """Whether what is erased belongs to this partition, and others have copies at most."""
        own = self._store.partition
        if own is None:
            return True
        there = own.of_stream(record.id) if record.kind == "stream" else own.of(record.id)
        return there == own.number

    def _places_of(self, record: ErasureRecord) -> Iterable[list[Place]]:
        if record.kind == "stream":
            return places_of_stream(self._store, record.id)
        return places_of_instance(self._store, record.name, record.id, self._end(record))

    def _end(self, record: ErasureRecord) -> int:
        """Have the instance forget all; the version of the last transition that is to be erased."""
        reply: ReplyFuture[int] = ReplyFuture.within(self._engine.services.replies)
        message = InstanceMessage(Erase(record.by), reply=reply)
        if not self._engine.deliver(record.name, record.id, message):
            # Its class is gone; or another partition has it, and here is what that one sent.
            last = self._store.last_transition(record.name, record.id)
            return 0 if last is None else last.version
        self._engine.dispatcher.nudge()
        # The transition that says that it was erased has nothing else to say.
        version: int = reply.get()
        return max(0, version - 1)

    def _erase_rows(self, time: int, pages: Iterable[list[Place]]) -> None:
        is_of_events = False
        for page in chain(pages, [[]]):
            if is_of_events and not (page and page[0][0] in EVENTS):
                # An aggregate that has them in memory would go on by them.
                self._engine.forget()
                self._write(EraseRows(time, page))
                is_of_events = False
            elif page:
                is_of_events = page[0][0] in EVENTS
                self._write(EraseRows(time, page))

    def _erase_subject(self, record: ErasureRecord) -> None:
        """Go through the store until nothing of that person's is found: others write meanwhile."""
        engine, is_found = self._engine, True
        while is_found:
            is_found = False
            rows = SubjectRows(self._store, engine.services.registry, record.id, record.time)
            for page in rows.messages():
                is_found = True
                self._write(EraseRows(record.time, anew=page))
            for definition, instance in rows.instances():
                fields = rows.fields_of(definition, instance)
                if fields:
                    # What it goes on from, before what it was.
                    Admin(engine, self._store).amend(definition, instance, Amend(fields, record.by))
                for page in rows.history(definition, instance):
                    is_found = True
                    self._write(EraseRows(record.time, anew=page))
            snapshots = [("snapshots", stream.encode()) for stream in rows.streams()]
            engine.forget()
            self._write(EraseRows(record.time, snapshots))
            for page in rows.snapshots():
                is_found = True
                self._write(EraseRows(record.time, anew=page))

    def _write(self, erase: EraseRows) -> None:
        work = Receipt(Step(extras=StepExtras(erase=erase)))
        receipts = Receipts([work], self._engine.command_queue, self._engine.services.replies)
        self._engine.journal.add(work)
        receipts.wait()

    def _now(self) -> int:
        return self._engine.services.now()
