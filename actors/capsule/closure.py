"""What an instance came of: which records belong into its capsule.

Its transitions, and the events that made them; up from each of these, the instance that issued
the command behind it, as whole; the streams of all these events, and of the aggregates that the
instance commanded, as whole; and what is under way or set aside for any of them. What the instance
led to in other instances is left out: nothing of its own state depends on that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import UnknownInstance
from ..store import Excerpt, place_of_effect, place_of_issue
from .errors import CapsuleError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..model.registry import Registry
    from ..store import Store

__all__ = ["Closure"]


class Closure:
    """The records that belong to one instance, partition by partition.

    Args:
        stores: the partitions, in order, as they are at one moment; of a store that is not divided,
            the one
        registry: the classes, which say where a command goes
        most: events and transitions that there may be

    """

    def __init__(self, stores: Sequence[Store], registry: Registry, most: int) -> None:
        self.excerpts = [Excerpt() for _ in stores]
        self._stores = stores
        self._registry = registry
        self._most = most
        self._streams: set[str] = set()
        self._seen: set[tuple[str, str]] = set()
        self._todo: list[tuple[str, str]] = []

    def gather(self, process: str, instance: str) -> None:
        """Take all that belongs to an instance.

        Raises:
            UnknownInstance: the store has no such instance, and nothing is set aside for it
            CapsuleError: there is more than a capsule may have
            CorruptRecord: a record that belongs to it is damaged

        """
        self._reach(process, instance)
        is_own = True
        while self._todo:
            self._take(*self._todo.pop(), is_own=is_own)
            is_own = False
        if not any(one.size for one in self.excerpts):
            raise UnknownInstance(
                f"{process} has no instance {instance!r}, and nothing is set aside for one; "
                f"`procession ls` lists the instances"
            )
        names = sorted({name for name, _ in self._seen})
        for store, excerpt in zip(self._stores, self.excerpts, strict=True):
            for position in excerpt.events:
                excerpt.take_effects(store, position, names)
            excerpt.take_work(store)
            self._note_indexed(excerpt)

    def _reach(self, process: str, instance: str) -> None:
        if (process, instance) not in self._seen:
            self._seen.add((process, instance))
            self._todo.append((process, instance))

    def _take(self, process: str, instance: str, *, is_own: bool) -> None:
        """An instance, wherever it is, with what it handled and what is set aside for it."""
        for store, excerpt in zip(self._stores, self.excerpts, strict=True):
            positions = dict.fromkeys(store.scan_set_aside(process, instance))
            if not positions and store.last_transition(process, instance) is None:
                continue
            for one in excerpt.take_instance(store, process, instance):
                self._check_size()
                if one.position:
                    positions[one.position] = None
                self._climb(one.cause)
                if is_own:
                    self._go_to_aggregates(one.commands)
            for position in positions:
                event = store.event_at(position)
                if event is None:
                    continue
                excerpt.take_event(store, event)
                self._take_stream(event.stream)
                self._climb(event.causation_id if event.depth else None)
                effect = store.effect_at(position, process, instance)
                if is_own and effect is not None:
                    self._go_to_aggregates(effect.commands)

    def _climb(self, command_id: str | None) -> None:
        """Reach the instance that issued the command behind an event, a refusal or a chain."""
        issue = None if command_id is None else place_of_effect(command_id)
        found = issue or (None if command_id is None else place_of_issue(command_id))
        if found is not None:
            # An id from outside may look like this; then there is no such instance.
            self._reach(found.process, found.instance)

    def _go_to_aggregates(self, commands: Iterable[tuple[str, str, bytes]]) -> None:
        for _, kind, data in commands:
            stream = self._stream_of(kind, data)
            if stream is not None:
                self._take_stream(stream)

    def _stream_of(self, kind: str, data: bytes) -> str | None:
        """Where a command went; None if its classes are not here, or are other ones by now."""
        try:
            command = self._registry.load_command(kind, data)
            return self._registry.taker_of(type(command)).stream_of(command)
        except Exception:  # noqa: BLE001 - users' code reads what older versions wrote
            return None

    def _take_stream(self, stream: str) -> None:
        if stream in self._streams:
            return
        self._streams.add(stream)
        for store, excerpt in zip(self._stores, self.excerpts, strict=True):
            for _ in excerpt.take_stream(store, stream):
                self._check_size()

    def _check_size(self) -> None:
        size = sum(one.size for one in self.excerpts)
        if size > self._most:
            raise CapsuleError(
                f"what belongs to it has more than {self._most:,} events and transitions; allow "
                f"more with --most, or take the whole store with `procession backup`"
            )

    def _note_indexed(self, excerpt: Excerpt) -> None:
        """Which instances the index finds; by which values is said when these were masked."""
        for process, instance, field, value in self.keys_in(excerpt):
            if any(instance in store.read_index(process, field, value) for store in self._stores):
                excerpt.indexed.add((process, instance))

    def keys_in(self, excerpt: Excerpt) -> list[tuple[str, str, str, str]]:
        """Process, instance, field and value of each learnt key that an instance has now."""
        last = {(process, name): one for process, name, one in excerpt.transitions.values()}
        found: list[tuple[str, str, str, str]] = []
        for (process, name), one in last.items():
            definition = self._registry.process_named(process)
            if definition is None or not definition.state.indexed:
                continue
            keys = definition.state.keys_of(definition.state_of(one))
            found += [
                (process, name, field, value) for field, values in keys.items() for value in values
            ]
        return found

    def index(self) -> None:
        """Have the index find the instances by the learnt keys that their states say by now."""
        for excerpt in self.excerpts:
            for process, name, field, value in self.keys_in(excerpt):
                if (process, name) in excerpt.indexed:
                    partition = self._stores[0].partition
                    where = 0 if partition is None else partition.of(value)
                    self.excerpts[where].learnt.add((process, field, value, name))
