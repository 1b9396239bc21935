"""Looking at a store: what `get`, `history` and `events` answer, beside a writer or without one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .aggregate_actor import load_aggregate
from .clock import from_micros
from .codec import load_headers
from .names import category_of, id_of
from .process_manager import ProcessManager
from .views import AggregateView, InstanceView, StoredEvent, Transition

if TYPE_CHECKING:
    from collections.abc import Iterator

    from store import EventRecord, Store, TransitionRecord

    from .aggregate import Aggregate
    from .catalog import Catalog
    from .process_definition import ProcessDefinition

__all__ = ["Reader"]

PAGE = 256
"""Rows read at a time; no read transaction is kept while the caller looks at them."""


class Reader:
    """Answers questions from the store alone, so that only what is on disk is seen."""

    def __init__(self, store: Store, catalog: Catalog) -> None:
        self._store = store
        self._catalog = catalog

    def get(
        self, cls: type[ProcessManager | Aggregate], name: object
    ) -> InstanceView | AggregateView | None:
        """One instance or aggregate, or None if nothing ever happened to it."""
        found = id_of(name, f"for {cls.__name__}")
        if issubclass(cls, ProcessManager):
            return self._instance(self._catalog.process(cls), found)
        return self._aggregate(cls, found)

    def history(self, cls: type[ProcessManager], name: object) -> Iterator[Transition]:
        """The transitions of one instance, oldest first."""
        definition = self._catalog.process(cls)
        return self._transitions(definition, id_of(name, f"for {cls.__name__}"))

    def events(self, stream_or_category: str | None, after: int) -> Iterator[StoredEvent]:
        """Events of the log, of a category, or of a stream, in order of position."""
        if stream_or_category is not None and "-" in stream_or_category:
            return self._stream(stream_or_category, after)
        return self._log(stream_or_category, after)

    def _instance(self, definition: ProcessDefinition, name: str) -> InstanceView | None:
        last = self._store.last_transition(definition.name, name)
        waiting = self._store.last_waiting(definition.name, name)
        if last is None:
            if not waiting:
                return None
            return InstanceView(name, definition.state.fresh(), 0, False, "suspended")
        state = definition.state.load(last.state)
        if waiting:
            return InstanceView(name, state, last.version, last.is_complete, "suspended")
        status: str = "complete" if last.is_complete else "running"
        return InstanceView(name, state, last.version, last.is_complete, status)  # type: ignore[arg-type]

    def _aggregate(self, cls: type[Aggregate], name: str) -> AggregateView | None:
        definition = self._catalog.aggregate(cls)
        aggregate = load_aggregate(
            definition, f"{definition.category}-{name}", self._store, self._catalog
        )
        if not aggregate.version:
            return None
        return AggregateView(name, dict(aggregate.__dict__), aggregate.version)

    def _transitions(self, definition: ProcessDefinition, name: str) -> Iterator[Transition]:
        after = 0
        while True:
            page = self._store.read_transitions(definition.name, name, after, PAGE)
            for record in page:
                yield self._transition(definition, record)
            if len(page) < PAGE:
                return
            after = page[-1].version

    def _transition(self, definition: ProcessDefinition, record: TransitionRecord) -> Transition:
        return Transition(
            version=record.version,
            handler=record.handler,
            state=definition.state.load(record.state),
            is_complete=record.is_complete,
            cause=record.cause,
            commands=tuple(
                self._catalog.load_command(kind, data) for _, kind, data in record.commands
            ),
            time=from_micros(record.time),
            correlation_id=record.correlation_id,
        )

    def _stream(self, stream: str, after: int) -> Iterator[StoredEvent]:
        version = 0
        while True:
            page = self._store.read_stream(stream, version, PAGE)
            for record in page:
                if record.position > after:
                    yield self._event(record)
            if len(page) < PAGE:
                return
            version = page[-1].version

    def _log(self, category: str | None, after: int) -> Iterator[StoredEvent]:
        while True:
            page = self._store.read_log(after, PAGE)
            for record in page:
                if category is None or category_of(record.stream) == category:
                    yield self._event(record)
            if len(page) < PAGE:
                return
            after = page[-1].position

    def _event(self, record: EventRecord) -> StoredEvent:
        return StoredEvent(
            event=self._catalog.load_event(record),
            event_id=record.event_id,
            type=record.type,
            stream=record.stream,
            version=record.version,
            position=record.position,
            time=from_micros(record.time),
            correlation_id=record.correlation_id,
            causation_id=record.causation_id,
            headers=load_headers(record.headers),
        )
