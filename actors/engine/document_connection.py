"""A projection's documents in the runtime's own store, in the place of a database.

What a transaction writes is in memory until it is committed, and goes to the journal as one step
then, with how far the documents are. Each making of them is a generation: another one is made
beside, and what is not read any more is deleted little by little, with what is written next.

Where each look at the store is a trip, and a batch had some, the handlers of what is left of it are
begun, to see what they ask for, and that is read at once.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar

from msgspec import Struct

from ..authoring.projection_database import Checkpoint
from ..store import CorruptRecord, DocumentChanges, DocumentSet, StoreError, check_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from ..authoring.documents import Documents
    from ..authoring.projection_database import Tables
    from ..store import EventRecord, Store
    from .recent_documents import Place, RecentDocuments

__all__ = ["DocumentConnection", "DocumentWriter"]

P = ParamSpec("P")
T = TypeVar("T")

PAGE = 256
"""Documents that are read, or deleted with others, at a time."""

FEW = 4
"""Looks that handlers have one by one before those of others are read ahead; then twice as many."""

PASSES = 4
"""How often handlers are begun to read ahead: each asks for another document when it has one."""


class _NotReadYetError(BaseException):
    """A handler asked for what is not here; nothing that a handler is to catch."""


class _Before(Struct):
    """What a transaction had under a key at a point to go back to."""

    is_there: bool
    packed: bytes | None


class DocumentWriter:
    """What handlers get as `self.db`: the documents, with what the transaction has written."""

    def __init__(
        self, documents: Documents[Any], projection: str, store: Store, recent: RecentDocuments
    ) -> None:
        self._documents = documents
        self._projection = projection
        self._store = store
        self._is_remote = store.is_remote
        self._recent = recent
        self.generation = 0
        """Which making is read and written."""
        self.values: dict[Place, bytes | None] = {}
        """What the transaction has written, by generation and key."""
        self.wanted: dict[str, None] | None = None
        """The keys that handlers ask for, where it is only looked for these."""
        self.looks = 0
        """Documents that handlers asked the store for, one by one."""
        self._failure: StoreError | None = None
        self._before: dict[Place, _Before] | None = None

    def get(self, key: str) -> Any:
        """The document under a key, or None.

        Raises:
            InvalidName: no key can be that

        """
        check_name("document's key", key)
        place = self.generation, key
        if place in self.values:
            packed = self.values[place]
        elif self._is_remote:
            packed = self._recently(place)
        else:
            packed = self._look(self._store.document_at, self._projection, *place)
        return None if packed is None else self._documents.load(packed)

    def put(self, key: str, value: Any) -> None:
        """Keep a document under a key, in the place of one that is there.

        Raises:
            InvalidName: no key can be that
            InvalidMessage: the document is of another kind, or would not read back equal

        """
        check_name("document's key", key)
        self._write(key, self._documents.pack(value))

    def delete(self, key: str) -> None:
        """Keep no document under a key.

        Raises:
            InvalidName: no key can be that

        """
        check_name("document's key", key)
        self._write(key, None)

    def items(self, prefix: str = "") -> Iterator[tuple[str, Any]]:
        """Keys and documents, in order of the keys.

        Args:
            prefix: what the keys begin with

        """
        if self.wanted is not None:
            raise _NotReadYetError
        after: str | None = None
        while True:
            page = self._look(
                self._store.read_documents,
                self._projection,
                self.generation,
                prefix,
                after,
                PAGE,
            )
            last = page[-1][0] if len(page) == PAGE else None
            found: dict[str, bytes | None] = dict(page)
            for (generation, key), packed in self.values.items():
                is_wanted = generation == self.generation and key.startswith(prefix)
                if is_wanted and key > (after or "") and (last is None or key <= last):
                    found[key] = packed
            for key in sorted(found):
                packed = found[key]
                if packed is not None:
                    yield key, self._documents.load(packed)
            if last is None:
                return
            after = last

    def _recently(self, place: Place) -> bytes | None:
        if place not in self._recent:
            if self.wanted is not None:
                self.wanted[place[1]] = None
                raise _NotReadYetError
            self.looks += 1
            self.read([place[1]])
        return self._recent[place]

    def _write(self, key: str, packed: bytes | None) -> None:
        place = self.generation, key
        if self._before is not None and place not in self._before:
            self._before[place] = _Before(place in self.values, self.values.get(place))
        self.values[place] = packed

    # For the connection

    def read(self, keys: Sequence[str]) -> None:
        """Ask for documents at once."""
        found = self._look(self._store.documents_at, self._projection, self.generation, keys)
        for key, packed in zip(keys, found, strict=True):
            self._recent[self.generation, key] = packed

    def _look(self, look: Callable[P, T], *asked: P.args, **named: P.kwargs) -> T:
        """Look at the store; one that cannot be read is told from a handler that fails."""
        try:
            return look(*asked, **named)
        except CorruptRecord:
            # That of this document, and others must not suffer from it.
            raise
        except StoreError as error:
            self._failure = error
            raise

    def refuse_failure(self) -> None:
        """Go on if the store could be read.

        Raises:
            StoreError: it could not, since the transaction was begun

        """
        if self._failure is not None:
            raise self._failure

    def save(self) -> None:
        """Set a point to go back to."""
        self._before = {}

    def keep(self) -> None:
        """Go on without that point."""
        self._before = None

    def go_back(self) -> None:
        """Undo what was written since that point.

        Raises:
            StoreError: the store could not be read since the transaction was begun

        """
        self.refuse_failure()
        for place, before in (self._before or {}).items():
            if before.is_there:
                self.values[place] = before.packed
            else:
                del self.values[place]
        self._before = None

    def forget(self) -> None:
        """The transaction is over."""
        self.values, self._before = {}, None
        self.looks, self._failure = 0, None
        self._recent.shrink()


class DocumentConnection:
    """Transactions on the documents of one projection. Satisfies `Connection`.

    Args:
        documents: what they are
        projection: its name
        store_id: what tells the store from others
        store: where they are read
        write: has changes written with a step of their own, after those that it was given before
        recent: what is known of them; it is bounded to nothing where others may write them

    """

    is_exact = True

    def __init__(
        self,
        documents: Documents[Any],
        projection: str,
        store_id: str,
        store: Store,
        write: Callable[[DocumentChanges], None],
        recent: RecentDocuments,
    ) -> None:
        self.handle = DocumentWriter(documents, projection, store, recent)
        self.is_remote = store.is_remote
        """Whether each look at the documents is a trip."""
        self._recent = recent
        self._patience = FEW
        self._projection = projection
        self._store_id = store_id
        self._store = store
        self._write = write
        self._sets: dict[int, DocumentSet] = {}
        self._changed: set[int] = set()

    def make(self) -> None:
        self.roll_back()
        self._sets = {one.generation: one for one in self._store.document_sets(self._projection)}

    def begin(self, tables: Tables) -> Checkpoint | None:
        self.make()
        return self.checkpoint(tables)

    def checkpoint(self, tables: Tables) -> Checkpoint | None:
        found = self._found(tables)
        if found is None:
            return None
        self.handle.generation = found.generation
        return Checkpoint(self._store_id, found.version, found.generation, found.position)

    def set_checkpoint(self, tables: Tables, checkpoint: Checkpoint) -> None:
        generation, done = checkpoint.generation, list[int]()
        found = self._found(tables)
        if found is not None and found.generation == generation:
            done = found.done
        self._sets[generation] = DocumentSet(
            self._projection,
            generation,
            _state(tables),
            checkpoint.version,
            checkpoint.position,
            done,
        )
        self._changed.add(generation)
        self.handle.generation = generation

    def drop_checkpoint(self, tables: Tables) -> None:
        found = self._found(tables)
        if found is not None:
            found.state, found.done = "gone", []
            self._changed.add(found.generation)

    def positions_done(self, tables: Tables) -> set[int]:
        found = self._found(tables)
        return set() if found is None else set(found.done)

    def note_done(self, tables: Tables, position: int) -> None:
        found = self._found(tables)
        assert found is not None
        found.done.append(position)
        self._changed.add(found.generation)

    def forget_done(self, tables: Tables, positions: Iterable[int]) -> None:
        found, gone = self._found(tables), set(positions)
        if found is not None and gone:
            found.done = [one for one in found.done if one not in gone]
            self._changed.add(found.generation)

    def save(self) -> None:
        self.handle.save()

    def keep(self) -> None:
        self.handle.keep()

    def go_back(self) -> None:
        self.handle.go_back()

    def swap(self, names: Iterable[tuple[str, str]]) -> None:
        """There are no tables: what is read says its row in the store."""

    def drop(self, names: Iterable[str]) -> None:
        """As `swap`."""

    def commit(self) -> None:
        self.handle.refuse_failure()
        changes = DocumentChanges(self._projection)
        changes.values = self.handle.values
        if self.is_remote:
            self._recent.take(changes.values)
        changes.sets = [self._sets[one] for one in sorted(self._changed)]
        self._delete_some(changes)
        self.roll_back()
        if changes.values or changes.sets or changes.dropped:
            self._write(changes)

    @property
    def is_to_read_ahead(self) -> bool:
        """Whether the handlers of a transaction had so many looks that others are to have none."""
        return self.handle.looks >= self._patience

    def read_ahead(
        self, records: Sequence[EventRecord], run: Callable[[EventRecord], object]
    ) -> None:
        """Ask at once for what handlers are going to ask for.

        Each is begun, up to where it asks for a document that is not here, and what it wrote is
        undone. It asks for another one when it has the first, so this is done a few times.

        Args:
            records: the events that are left of a batch
            run: has the handler of one run

        Raises:
            StoreError: the store cannot be read
            BaseException: what a handler raised that is no `Exception`

        """
        handle = self.handle
        handle.looks, self._patience = 0, self._patience * 2
        for _ in range(PASSES):
            records, wanted = self._begun(records, run)
            if not wanted:
                return
            try:
                handle.read(wanted)
            except CorruptRecord:
                # The handler that asks for it meets it, and no other one.
                return

    def _begun(
        self, records: Sequence[EventRecord], run: Callable[[EventRecord], object]
    ) -> tuple[list[EventRecord], list[str]]:
        """The events whose handlers ask for documents that are not here, and the keys of these."""
        handle = self.handle
        stopped: list[EventRecord] = []
        handle.wanted = {}
        try:
            for record in records:
                self.save()
                # What it raises, it raises again when it is run for good.
                with suppress(Exception):
                    try:
                        run(record)
                    except _NotReadYetError:
                        stopped.append(record)
                    finally:
                        self.go_back()
            return stopped, list(handle.wanted)
        finally:
            handle.wanted = None

    def roll_back(self) -> None:
        self.handle.forget()
        self._patience = FEW
        self._sets, self._changed = {}, set()

    def close(self) -> None:
        """Nothing is open."""

    def _found(self, tables: Tables) -> DocumentSet | None:
        state = _state(tables)
        return next((one for one in self._sets.values() if one.state == state), None)

    def _delete_some(self, changes: DocumentChanges) -> None:
        """Let go of some of the documents that are not read any more."""
        for one in self._sets.values():
            if one.state == "gone":
                page = self._store.read_documents(self._projection, one.generation, "", None, PAGE)
                changes.values |= {(one.generation, key): None for key, _ in page}
                if len(page) < PAGE:
                    changes.dropped.append(one.generation)


def _state(tables: Tables) -> Literal["live", "beside"]:
    return "beside" if tables.is_beside else "live"
