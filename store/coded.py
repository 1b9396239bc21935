"""Tables whose content is encoded by a codec of the user's, in the place of the engine's own.

Rows keep their shape, their keys and what is no content, so what looks at rows alone (a copy, the
scrubber) needs no codec. All else sees them decoded, and does not know of this.
"""

from __future__ import annotations

import binascii
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

import msgpack

from .content import CONTENT, parts
from .erasing import erased
from .errors import CorruptRecord, ForgottenKey, StoreError, WrongCodec
from .layout.frames import frame, unframe
from .layout.markers import erased_at
from .layout.schema import CODEC, COMMITS
from .personal import NO_FIELDS, persons_in, sealed, whole
from .storage_engine import NOTHING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from .personal import PersonalFields, Said
    from .storage_engine import EngineReads, EngineSnapshot, Row, StorageEngine, Ticket

__all__ = ["AS_STORED", "AsStored", "CodedEngine", "PayloadCodec", "coded", "forget_codec"]


@runtime_checkable
class PayloadCodec(Protocol):
    """Encodes what a store holds of people, with a key for each subject that can be forgotten.

    A subject is a stream, an instance, or a person whose data is marked as `Personal`. All calls
    may come from any thread, and from several at once.
    """

    @property
    def name(self) -> str:
        """Stands in the store, which is opened with a codec of this name only."""
        ...

    def prepare(self, subjects: Collection[str]) -> None:
        """Make durable what is needed to decode what is about to be encoded for subjects.

        Args:
            subjects: all that one commit encodes for

        """
        ...

    def encode(self, data: bytes, subject: str) -> bytes:
        """Bytes from which `decode` makes the same data again.

        Args:
            data: a payload, a state, one field of these, or a text
            subject: whose it is; one that was forgotten gets another key

        """
        ...

    def decode(self, data: bytes) -> bytes:
        """What was encoded.

        Args:
            data: what `encode` made

        Raises:
            ForgottenKey: that subject was forgotten; it is read as erased
            ValueError: it was not made by this codec, or was changed

        """
        ...

    def forget(self, subject: str, time: int) -> None:
        """Make all that was encoded for a subject so far unreadable for good, wherever it is.

        Args:
            subject: which
            time: of the erasure, in microseconds

        """
        ...

    def look_again(self) -> None:
        """Trust no key that is in memory: another process may have forgotten its subject."""
        ...


class AsStored:
    """In the place of a codec: rows are taken as they are stored, encoded or not."""


AS_STORED: Final = AsStored()

ENCODED = b"\xc1"
"""Begins what is encoded; nothing in MessagePack begins so."""


def coded(engine: StorageEngine, codec: PayloadCodec | AsStored | None) -> StorageEngine:
    """An engine as its store sees it.

    Args:
        engine: where the rows are
        codec: what they are to be encoded with; None for a store that has none

    Raises:
        WrongCodec: the store was written with another codec, or with none

    """
    if isinstance(codec, AsStored):
        return engine
    raw, commits = engine.get_many((("meta", CODEC), ("meta", COMMITS)))
    found = None if raw is None else str(unframe(raw, "meta", CODEC))
    if codec is None:
        if found is not None:
            raise WrongCodec(
                f"the store is encoded by {found!r}: give the codec of that name, in a program by "
                f"codec=…, to a command by --codec MODULE:name"
            )
        return engine
    if found is None and commits is not None:
        raise WrongCodec(
            f"the store was written without a codec, and was opened with {codec.name!r}: only a "
            f"new store can be given one"
        )
    if found is None and not engine.read_only:
        ticket = engine.commit({"meta": {CODEC: frame(CODEC, codec.name)}}, {})
        if ticket.outcome != "committed":
            raise ticket.error or StoreError("the name of the codec could not be written")
    elif found not in {None, codec.name}:
        raise WrongCodec(
            f"the store is encoded by {found!r}, and was opened with {codec.name!r}: give the "
            f"codec that it was made with"
        )
    if not engine.read_only:
        # Who had the store before may have used the same keys.
        codec.look_again()
    return CodedEngine(engine, codec)


def forget_codec(tables: StorageEngine) -> None:
    """Have tables say of no codec, into which another store's rows were copied decoded.

    Args:
        tables: in memory

    """
    tables.commit({}, {"meta": [CODEC]})


class _Encoding:
    """Satisfies `Change`."""

    def __init__(self, codec: PayloadCodec, personal: PersonalFields) -> None:
        self._encode = codec.encode
        self._personal = personal

    def payload(self, owner: str, content: Any) -> Any:
        if content is None or erased_at(content) is not None:
            return content
        return ENCODED + self._encode(content, owner)

    def fields(self, owner: str, content: Any, said: Said) -> Any:
        if erased_at(content) is not None:
            return content
        return ENCODED + self._encode(sealed(content, said, self._personal, self._encode), owner)

    def text(self, owner: str, content: Any) -> Any:
        if content is None:
            return None
        return binascii.b2a_base64(self._encode(content.encode(), owner), newline=False).decode()


class _Decoding:
    """Satisfies `Change`."""

    def __init__(self, codec: PayloadCodec) -> None:
        self._decode = codec.decode

    def payload(self, owner: str, content: Any) -> Any:
        del owner
        if content is None or content[:1] != ENCODED:
            return content
        return self._decode(content[1:])

    def fields(self, owner: str, content: Any, said: Said) -> Any:
        del said
        return whole(self.payload(owner, content), self._decode)

    def text(self, owner: str, content: Any) -> Any:
        del owner
        if content is None:
            return None
        return self._decode(binascii.a2b_base64(content, strict_mode=True)).decode()


class _Owners:
    """Notes whose content a row has. Satisfies `Change`."""

    def __init__(self, personal: PersonalFields) -> None:
        self.found: set[str] = set()
        self._personal = personal

    def payload(self, owner: str, content: Any) -> Any:
        if content is not None:
            self.found.add(owner)
        return content

    text = payload

    def fields(self, owner: str, content: Any, said: Said) -> Any:
        if erased_at(content) is None:
            self.found.add(owner)
            self.found |= persons_in(content, said, self._personal)
        return content


class _Rows:
    """Encodes and decodes the rows of all tables."""

    def __init__(self, codec: PayloadCodec) -> None:
        self._codec = codec
        self._decoding = _Decoding(codec)
        self.personal = NO_FIELDS

    def encoded(
        self, puts: Mapping[str, Mapping[bytes, bytes]]
    ) -> Mapping[str, Mapping[bytes, bytes]]:
        """Rows as they are stored."""
        owners, encoding = _Owners(self.personal), _Encoding(self._codec, self.personal)
        rows = [
            (table, key, row)
            for table in CONTENT.keys() & puts.keys()
            for key, raw in puts[table].items()
            if (row := _columns(raw)) is not None
        ]
        if not rows:
            return puts
        for table, key, row in rows:
            for part in parts(table, row):
                CONTENT[table](key, part, owners)
        self._codec.prepare(owners.found)
        changed: dict[str, dict[bytes, bytes]] = {}
        for table, key, row in rows:
            for part in parts(table, row):
                CONTENT[table](key, part, encoding)
            changed.setdefault(table, {})[key] = frame(key, row)
        # What is no row stays, and all have the order that they had.
        return {
            table: {**there, **changed[table]} if table in changed else there
            for table, there in puts.items()
        }

    def decoded(self, table: str, key: bytes, raw: bytes | None) -> bytes | None:
        """A row as the store wrote it; None of one that went with its key."""
        if raw is None or table not in CONTENT:
            return raw
        try:
            row = unframe(raw, table, key)
        except CorruptRecord:
            # Who asked for it is told when it looks into it.
            return raw
        if not isinstance(row, list):
            return raw
        as_stored: list[list[Any]] = []
        for place, part in enumerate(parts(table, row)):
            try:
                CONTENT[table](key, part, self._decoding)
            except ForgottenKey as forgotten:
                # Some of its columns are decoded by now, and others are not.
                as_stored = as_stored or parts(table, unframe(raw, table, key))
                without = erased(table, as_stored[place], forgotten.time)
                if without is None:
                    return None
                part[:] = without
            except ValueError:
                # As a row that does not match its checksum, so that those beside it can be read.
                return bytes(one ^ 0xFF for one in raw[:4]) + raw[4:]
        return frame(key, row)

    def all_decoded(self, table: str, rows: list[Row]) -> list[Row]:
        if table not in CONTENT:
            return rows
        found = ((key, self.decoded(table, key, raw)) for key, raw in rows)
        return [(key, raw) for key, raw in found if raw is not None]


def _columns(raw: bytes) -> list[Any] | None:
    """The columns of a row; None of what is none, and has no content."""
    try:
        row = msgpack.unpackb(raw[4:], strict_map_key=False)
    except ValueError:
        return None
    return row if isinstance(row, list) else None


class _CodedReads:
    """Satisfies `EngineReads`."""

    def __init__(self, reads: EngineReads, rows: _Rows) -> None:
        self._reads = reads
        self._rows = rows

    def get_many(self, keys: Sequence[tuple[str, bytes]]) -> list[bytes | None]:
        found = zip(keys, self._reads.get_many(keys), strict=True)
        return [self._rows.decoded(table, key, raw) for (table, key), raw in found]

    def range(
        self, table: str, start: bytes, end: bytes, limit: int, *, backwards: bool = False
    ) -> list[Row]:
        rows = self._reads.range(table, start, end, limit, backwards=backwards)
        return self._rows.all_decoded(table, rows)

    def newest(self, table: str, ranges: Sequence[tuple[bytes, bytes]]) -> list[Row | None]:
        found = self._reads.newest(table, ranges)
        return [
            None if row is None else next(iter(self._rows.all_decoded(table, [row])), None)
            for row in found
        ]


class _CodedSnapshot(_CodedReads):
    """Satisfies `EngineSnapshot`."""

    def __init__(self, snapshot: EngineSnapshot, rows: _Rows) -> None:
        super().__init__(snapshot, rows)
        self._snapshot = snapshot
        self.count = snapshot.count

    @property
    def last_written(self) -> int | None:
        return self._snapshot.last_written

    def get(self, table: str, key: bytes) -> bytes | None:
        return self._rows.decoded(table, key, self._snapshot.get(table, key))

    def scan(self, table: str, start: bytes = b"", *, backwards: bool = False) -> Iterator[Row]:
        for row in self._snapshot.scan(table, start, backwards=backwards):
            yield from self._rows.all_decoded(table, [row])


class CodedEngine(_CodedReads):
    """Another engine, whose content is encoded. Satisfies `StorageEngine`.

    Args:
        engine: where the rows are
        codec: encodes what they say

    """

    def __init__(self, engine: StorageEngine, codec: PayloadCodec) -> None:
        super().__init__(engine, _Rows(codec))
        self._engine = engine
        self._writer_reads = _CodedReads(engine.writer_reads, self._rows)
        self.read_only, self.is_remote = engine.read_only, engine.is_remote
        self.check_usable, self.check_owner = engine.check_usable, engine.check_owner
        self.close = engine.close

    def encode_apart(self, personal: PersonalFields) -> None:
        """As `Store.encode_apart`."""
        self._rows.personal = personal

    @property
    def writer_reads(self) -> EngineReads:
        return self._writer_reads

    def commit(
        self,
        puts: Mapping[str, Mapping[bytes, bytes]],
        deletes: Mapping[str, Collection[bytes]],
        rewritten: Mapping[str, Mapping[bytes, bytes]] = NOTHING,
    ) -> Ticket:
        return self._engine.commit(self._rows.encoded(puts), deletes, self._rows.encoded(rewritten))

    @contextmanager
    def snapshot(self) -> Iterator[EngineSnapshot]:
        with self._engine.snapshot() as snapshot:
            yield _CodedSnapshot(snapshot, self._rows)


if TYPE_CHECKING:
    _satisfies_the_seam: Callable[[StorageEngine, PayloadCodec], StorageEngine] = CodedEngine
