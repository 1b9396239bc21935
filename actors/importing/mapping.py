"""Which row is which event: what a person writes in TOML, checked before any row is read."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from functools import partial
from math import isnan
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct

from ..clock import LATEST, to_micros
from ..errors import DefinitionError, InvalidMessage, shown
from ..messages.codec import dump_headers
from ..messages.fields import hints_of
from ..messages.typed import typed
from ..messages.types import Event
from ..store import check_name

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ..engine.ingress import Ingress
    from ..model.registry import Registry
    from .files_opened import Row

    Teller: TypeAlias = Callable[[Row], Any]

__all__ = [
    "EXPORTED",
    "EventRule",
    "LogMapping",
    "Placed",
    "Prepared",
    "Reading",
    "read_mapping",
]

_COLUMN = re.compile(r"\{([^{}]+)\}")
_LEFT_OUT = object()
OBJECTS = "object:"
"""Begins the name of a column that has the ids of an event's objects of one type."""
_BITS = 64
_UNITS = {"s": 1_000_000, "ms": 1_000, "us": 1}


class Constant(Struct, frozen=True, forbid_unknown_fields=True):
    """A value that is the same in all rows."""

    value: Any


class EventRule(Struct, frozen=True, forbid_unknown_fields=True):
    """Rows that are events of one type.

    Attributes:
        type: the class's name or wire name; `{column}` stands for what a row has there
        when: values that a row must have, by column; a list for any of several
        fields: where the fields of the event come from: a column, text with `{column}` in it, or
            `{ value = ... }`. A field that is not here comes from the column of its own name
        data: a column that holds all fields as JSON

    """

    type: str
    when: dict[str, Any] = {}
    fields: dict[str, str | Constant] = {}
    data: str | None = None


class LogMapping(Struct, frozen=True, forbid_unknown_fields=True):
    """How rows become events.

    Attributes:
        time: the column that says when it happened
        stream: where it belongs: text with `{column}` in it
        event: the rules; the first that fits a row is the one
        id: what tells the event from others: text with `{column}` in it; without it, the file's
            name and the number of the row
        zone: of times that have none, as ``"Europe/Amsterdam"``; without it they are refused
        unit: of times that are numbers since 1970: ``"s"``, ``"ms"`` or ``"us"``
        headers: a column that holds headers as JSON
        correlation: a column that holds the id of what the event belongs to
        causation: a column that holds the id of what caused it
        order: a column that holds the order of events of one time, as a number; without it, they
            are in the order of the rows
        others: what becomes of a row that no rule fits

    """

    time: str
    stream: str
    event: list[EventRule]
    id: str | None = None
    zone: str | None = None
    unit: Literal["s", "ms", "us"] | None = None
    headers: str | None = None
    correlation: str | None = None
    causation: str | None = None
    order: str | None = None
    others: Literal["refuse", "skip"] = "refuse"


EXPORTED = LogMapping(
    time="time",
    stream="{stream}",
    event=[EventRule(type="{type}", data="data")],
    id="{id}",
    headers="headers",
    correlation="correlation_id",
    causation="causation_id",
    order="position",
)
"""Of files that `procession export` wrote."""


class Placed(NamedTuple):
    """Where a row is in the order of time: when, where among those of one time, and its number."""

    time: int
    place: int
    row: int


class Prepared(Struct, array_like=True, gc=False):
    """An event that was checked, on its way into the order of time.

    Attributes:
        digest: of its row

    """

    time: int
    place: int
    row: int
    digest: int
    type: str
    stream: str
    event_id: str
    data: bytes
    headers: bytes | None
    correlation_id: str
    causation_id: str | None


def read_mapping(path: Path) -> LogMapping:
    """The mapping that a TOML file holds.

    Raises:
        DefinitionError: it cannot be read, or is no mapping

    """
    try:
        return msgspec.toml.decode(path.read_bytes(), type=LogMapping)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise DefinitionError(f"{path}: {said}") from error


class Reading:
    """Makes events of rows.

    Args:
        mapping: says how
        registry: all classes
        ingress: checks events
        name: of the file, for ids of events that have none

    Raises:
        DefinitionError: the mapping does not fit the classes

    """

    def __init__(
        self, mapping: LogMapping, registry: Registry, ingress: Ingress, name: str
    ) -> None:
        self._mapping, self.registry, self._ingress = mapping, registry, ingress
        self._name = name
        if mapping.zone is not None:
            try:
                self._zone = ZoneInfo(mapping.zone)
            except (LookupError, ValueError, OSError) as error:
                raise DefinitionError(f"zone = {mapping.zone!r} is not known here") from error
        if not mapping.event:
            raise DefinitionError("the mapping has no [[event]]; say which rows are which events")
        self._stream = _text("stream", mapping.stream)
        self._id = None if mapping.id is None else _text("id", mapping.id)
        self._rules = [_Rule(rule, registry) for rule in mapping.event]

    def refuse_unseen(self) -> None:
        """Refuse what is mapped from a column that no row had, behind the last one.

        Raises:
            InvalidMessage: there are some

        """
        for rule in self._rules:
            rule.refuse_unseen()

    @property
    def said(self) -> bytes:
        """What tells this reading of the file from others."""
        return msgspec.msgpack.encode((self._name, self._mapping))

    def placed(self, number: int, row: Row) -> Placed | None:
        """Where a row is in the order of time; None of one that is left out.

        Raises:
            InvalidMessage: it is no event, or has no time

        """
        if self._rule_of(row) is None:
            if self._mapping.others == "skip":
                return None
            raise InvalidMessage(
                'no [[event]] fits the row; write one, or others = "skip" to leave such rows out'
            )
        time = self._time(_value(row, self._mapping.time))
        return Placed(time, self._place(row, number), number)

    def prepared(self, placed: Placed, row: Row, digest: int) -> Prepared:
        """The event that a row is.

        Args:
            placed: where the row is
            row: its values
            digest: of these

        Raises:
            InvalidMessage: it does not fit its class
            ProcessionError: its stream, its type or its id is none

        """
        rule, number = self._rule_of(row), placed.row
        assert rule is not None
        event, stream = rule.event(row), self._stream(row)
        is_own = self.registry.owner_of(stream) is not None
        headers = _told(row, self._mapping.headers)
        if headers is not None:
            headers = _json("headers", headers)
        receipt = self._ingress.publication(event, stream, None, None, as_import=is_own)
        assert receipt.step.append is not None
        [record] = receipt.step.append.events
        event_id = f"{self._name}#{number}" if self._id is None else self._id(row)
        check_name("id", event_id)
        return Prepared(
            *placed,
            digest,
            record.type,
            stream,
            event_id,
            record.data,
            dump_headers(headers),
            _said(_told(row, self._mapping.correlation)),
            _said(_told(row, self._mapping.causation)) or None,
        )

    def _rule_of(self, row: Row) -> _Rule | None:
        return next((one for one in self._rules if one.fits(row)), None)

    def _place(self, row: Row, number: int) -> int:
        column = self._mapping.order
        if column is None:
            return number
        try:
            place = int(_value(row, column))
        except (ValueError, TypeError) as error:
            raise InvalidMessage(f"{column} {shown(row[column])} is no whole number") from error
        if place.bit_length() >= _BITS:
            raise InvalidMessage(f"{column} {shown(row[column])} does not fit 64 bits")
        return place

    def _time(self, said: Any) -> int:
        moment = self._moment(said)
        if moment.tzinfo is None or moment.utcoffset() is None:
            if self._mapping.zone is None:
                raise InvalidMessage(
                    f'time {shown(said)} has no zone; write zone = "..." in the mapping'
                )
            moment = moment.replace(tzinfo=self._zone)
        micros = to_micros(moment)
        if not 0 <= micros <= LATEST:
            raise InvalidMessage(f"time {shown(said)} is not from 1970 to 9999")
        return micros

    def _moment(self, said: Any) -> datetime:
        if isinstance(said, datetime):
            return said
        try:
            if self._mapping.unit is not None:
                micros = round(float(said) * _UNITS[self._mapping.unit])
                return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)
            return datetime.fromisoformat(said)
        except (ValueError, TypeError, OverflowError) as error:
            raise InvalidMessage(
                f"time {shown(said)} is not as ISO 8601 has it; of a number, write unit"
            ) from error


class _Rule:
    """One rule, with the class that it makes."""

    def __init__(self, rule: EventRule, registry: Registry) -> None:
        self._registry = registry
        self._when = [
            (
                column,
                frozenset(_said(one) for one in (wanted if isinstance(wanted, list) else [wanted])),
            )
            for column, wanted in rule.when.items()
        ]
        self._type = _text("type", rule.type)
        self._rule = rule
        self._makers: dict[str, _Maker] = {}
        if not _COLUMN.search(rule.type):
            self._maker(rule.type)

    def fits(self, row: Row) -> bool:
        """Whether a row is an event of this rule."""
        return all(_said(row.get(column)) in wanted for column, wanted in self._when)

    def event(self, row: Row) -> Event:
        """The event that a row is."""
        return self._maker(self._type(row)).event(row)

    def refuse_unseen(self) -> None:
        """Refuse columns that no row had.

        Raises:
            InvalidMessage: there are some

        """
        for kind, maker in self._makers.items():
            for name, column in maker.unseen.items():
                if name not in maker.seen:
                    raise InvalidMessage(f"{name} of {kind}: no row has the column {column}")

    def _maker(self, kind: str) -> _Maker:
        maker = self._makers.get(kind)
        if maker is None:
            maker = self._makers[kind] = _Maker(self._rule, _class_of(kind, self._registry))
        return maker


class _Maker:
    """Makes events of one class."""

    def __init__(self, rule: EventRule, cls: type[Event]) -> None:
        self._cls, self._data = cls, rule.data
        self._hints = hints_of(cls)
        unknown = rule.fields.keys() - self._hints.keys()
        if unknown:
            raise DefinitionError(
                f"fields of [[event]] {rule.type}: {cls.__qualname__} has no "
                f"{', '.join(sorted(unknown))}"
            )
        self._fields = {
            name: _teller(name, rule.fields.get(name, name), hint)
            for name, hint in self._hints.items()
        }
        self._must_be = frozenset(rule.fields)
        self._may_be_missing = {
            one.name
            for one in msgspec.structs.fields(cls)
            if not one.required or _takes(self._hints[one.name], None)
        }
        # Of those that a row may lack: the columns that no row had so far.
        self.unseen: dict[str, str] = {}
        self.seen: set[str] = set()
        # What an empty cell is, of fields that do not take None.
        self._empty = {
            one.name: "" if one.required else _LEFT_OUT
            for one in msgspec.structs.fields(cls)
            if not _takes(self._hints[one.name], None)
        }

    def event(self, row: Row) -> Event:
        """The event that a row is.

        Raises:
            InvalidMessage: a field does not fit

        """
        if self._data is not None:
            return self._cls.from_dict(_json(self._data, _value(row, self._data)))
        values: dict[str, Any] = {}
        for name, tell in self._fields.items():
            try:
                value = tell(row)
            except KeyError as error:
                if name not in self._must_be:
                    continue
                if name not in self._may_be_missing:
                    raise InvalidMessage(f"{name}: the row has no column {error}") from None
                # Rows of some formats have what they say only.
                if name not in self.seen:
                    self.unseen[name] = str(error)
                value = None
            else:
                self.seen.add(name)
            if _is_nan(value):
                value = None
            if value is None and name in self._empty:
                value = self._empty[name]
                if value is _LEFT_OUT:
                    continue
            values[name] = value
        try:
            return msgspec.convert(values, self._cls, strict=False, str_keys=True)
        except msgspec.ValidationError as error:
            return self._one_by_one(values, error)

    def _one_by_one(self, values: dict[str, Any], error: msgspec.ValidationError) -> Event:
        """As `event`, of what is text in the place of lists and times of our own writing."""
        found = {
            name: typed(self._hints[name], name, value) if isinstance(value, str) else value
            for name, value in values.items()
        }
        try:
            return self._cls(**found)
        except TypeError:
            raise InvalidMessage(f"{self._cls.__qualname__} is not valid: {error}") from error


def _is_nan(value: Any) -> bool:
    """Whether it is what columns of numbers have where there is none."""
    return isinstance(value, float) and isnan(value)


def _takes(hint: Any, value: object) -> bool:
    try:
        msgspec.convert(value, hint)
    except msgspec.ValidationError:
        return False
    return True


def _class_of(kind: str, registry: Registry) -> type[Event]:
    found = {
        cls
        for name, cls in registry.classes().items()
        if issubclass(cls, Event) and kind in {name, cls.__qualname__, cls.__name__}
    }
    if len(found) == 1:
        [cls] = found
        return cls
    known = sorted(name for name, cls in registry.classes().items() if issubclass(cls, Event))
    raise DefinitionError(
        f"type {kind!r} is {'no event' if not found else 'several events'} of the domains; they "
        f"have {', '.join(known) or 'none'}"
    )


def _teller(name: str, source: str | Constant, hint: Any) -> Teller:
    if isinstance(source, Constant):
        return lambda _: source.value
    if _COLUMN.search(source):
        return _text(name, source)
    if source.startswith(OBJECTS) and _takes(hint, [""]) and not _takes(hint, ""):
        return lambda row: _several(row[source])
    return lambda row: row[source]


def _several(value: Any) -> Any:
    """The ids of objects, of which a row with a single one has no list."""
    return [value] if isinstance(value, str) else value


def _text(name: str, template: str) -> Callable[[Row], str]:
    """What makes text of a row."""
    parts = _COLUMN.split(template)
    if any("{" in one or "}" in one for one in parts[::2]):
        raise DefinitionError(f"{name} = {template!r}: write {{column}} for what a row has there")
    if len(parts) == 1:
        return lambda _: template
    return partial(_filled, parts)


def _filled(parts: list[str], row: Row) -> str:
    return "".join(
        _said(_value(row, part)) if place % 2 else part for place, part in enumerate(parts)
    )


def _value(row: Row, column: str) -> Any:
    try:
        return row[column]
    except KeyError:
        raise InvalidMessage(
            f"the row has no column {column!r}; it has {', '.join(row) or 'none'}"
        ) from None


def _told(row: Row, column: str | None) -> Any:
    """What a row has in a column that may be empty, or may not be there."""
    value = None if column is None else row.get(column)
    return None if value == "" else value


def _said(value: Any) -> str:
    """A value as a template or a condition has it."""
    if value is None or _is_nan(value):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, list):
        raise InvalidMessage(f"{shown(value)} are several; a field that is a list can have them")
    return str(value)


def _json(column: str, said: Any) -> Any:
    if not isinstance(said, str | bytes):
        return said
    try:
        return json.loads(said)
    except ValueError as error:
        raise InvalidMessage(f"{column} is no JSON: {error}") from error
