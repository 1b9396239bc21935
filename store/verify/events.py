"""Checks what is about events and commands from outside: the log, their ids, the checkpoints."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ..gauges import last_backup_from
from ..identifiers import (
    category_of,
    effect_command_id_at,
    event_id_at,
    place_of_event,
    place_of_transition,
)
from ..layout.frames import number
from ..layout.keys import digest
from ..layout.schema import (
    CODEC,
    COMMITS,
    EXCERPT,
    IMPORTED,
    IMPORTED_UP_TO,
    LAST_BACKUP,
    LOOKALIKE,
    PRUNED_UP_TO,
    SECRET,
    Marks,
    copies_key,
    readable,
    stream_key,
    transitions_key,
)
from ..records import SourceMark

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..layout.schema import (
        EffectRow,
        EventIdRow,
        EventRow,
        ResultRow,
        SnapshotRow,
        TombstoneRow,
    )
    from .inspecting import Inspection

__all__ = ["check_effects", "check_events", "problems_of_cause"]


def check_events(inspection: Inspection, format_version: int, *, has_format: bool) -> None:
    """Go through all tables whose rows come of events.

    Args:
        inspection: of the store
        format_version: the one that is known
        has_format: whether the store says which format it has, and its id

    """
    _check_meta(inspection, format_version, has_format=has_format)
    inspection.read_names()
    _check_log(inspection)
    for key, position, tombstone in inspection.rows("tombstones"):
        inspection.say_all("tombstones", key, _of_tombstone(inspection, position, tombstone))
        inspection.say_unknown("tombstones", key, "event", tombstone.type)
    for key, event_id, given in inspection.rows("event_ids"):
        inspection.say_all("event_ids", key, _of_event_id(inspection, event_id, given.position))
    for key, command_id, result in inspection.rows("command_ids"):
        inspection.say_all("command_ids", key, _of_result(inspection, command_id, result))
    for key, stream, snapshot in inspection.rows("snapshots"):
        inspection.say_all("snapshots", key, _of_snapshot(inspection, stream, snapshot))
    for key, router, position in inspection.rows("checkpoints"):
        # What begins at a position may begin behind the newest event.
        beyond = inspection.last_position + router.startswith("since:")
        if position > beyond:
            inspection.say(
                "checkpoints",
                key,
                f"is at position {position}, and the log ends at {inspection.last_position}",
            )


def _check_meta(inspection: Inspection, format_version: int, *, has_format: bool) -> None:
    found = {name: row for _, name, row in inspection.rows("meta")}
    if found.get("format", format_version) != format_version:
        inspection.say("meta", b"format", f"is {found['format']}, and {format_version} is known")
    store_id = found.get("store_id", "0" * 32)
    if not (isinstance(store_id, str) and len(store_id) == 32):
        inspection.say("meta", b"store_id", f"is {store_id!r}, and not 32 hexadecimal digits")
    if SECRET.decode() in found and not _is_key(found[SECRET.decode()]):
        # What it is stays a secret.
        inspection.say("meta", SECRET, "is not 64 hexadecimal digits")
    if not isinstance(found.get(COMMITS.decode(), 0), int):
        inspection.say("meta", COMMITS, f"is {found[COMMITS.decode()]!r}, and no number")
    backup = found.get(LAST_BACKUP.decode(), "0 /")
    if not (isinstance(backup, str) and last_backup_from(backup) is not None):
        inspection.say("meta", LAST_BACKUP, "is no moment and folder")
    if Marks.parse(str(found.get(PRUNED_UP_TO.decode(), Marks()))) is None:
        inspection.say("meta", PRUNED_UP_TO, "is not four numbers")
    imported = found.get(IMPORTED_UP_TO.decode())
    if imported is not None and SourceMark.parse(str(imported)) is None:
        inspection.say("meta", IMPORTED_UP_TO, "does not say how far a source is imported")
    for name in ("format", "store_id", SECRET.decode()) if has_format else ():
        if not inspection.has("meta", name.encode()):
            inspection.say("meta", name.encode(), "is missing")
    known = {
        "format",
        "store_id",
        *(
            one.decode()
            for one in (
                CODEC,
                COMMITS,
                EXCERPT,
                IMPORTED,
                IMPORTED_UP_TO,
                LAST_BACKUP,
                LOOKALIKE,
                PRUNED_UP_TO,
                SECRET,
            )
        ),
    }
    for name in found.keys() - known:
        inspection.say("meta", name.encode(), "is no name of the format")


def _is_key(secret: object) -> bool:
    return isinstance(secret, str) and re.fullmatch("[0-9a-f]{64}", secret) is not None


def _check_log(inspection: Inspection) -> None:
    before = 0
    for key, position, event in inspection.rows("log"):
        # A copy that another partition sent is counted where it is an event of its stream.
        if event.sent_for is None:
            inspection.counts["event", category_of(event.stream), event.type] += 1
        if position != before + 1 and not inspection.is_excerpt:
            _say_missing(inspection, key, before, position)
        before = position
        # A clock may be ahead of the one that asks, or have been set back since.
        inspection.now = max(inspection.now, event.time)
        if event.sent_for is None:
            inspection.say_all("log", key, _of_event(inspection, position, event))
        inspection.say_unknown("log", key, "event", event.type)


def _say_missing(inspection: Inspection, key: bytes, before: int, position: int) -> None:
    """Note if an event before one is missing that was not pruned."""
    for missing in range(max(before, inspection.pruned.tombstones) + 1, position):
        # Rows that could not be read are reported, and are no gap.
        if not any(inspection.has(one, number(missing)) for one in ("tombstones", "log")):
            inspection.say("log", key, f"comes where {missing} is missing")
            return


def _of_tombstone(inspection: Inspection, position: int, tombstone: TombstoneRow) -> Iterator[str]:
    if inspection.has("log", number(position)):
        yield f"says that the event at position {position} was pruned, and the log has it"
    if position > inspection.pruned.events:
        yield f"is of position {position}, and meta says {inspection.pruned.events} at most"
    if tombstone.sent_for:
        prefix = copies_key(tombstone.sent_for, tombstone.stream, tombstone.version)
        place = prefix + number(position)
    else:
        place = stream_key(tombstone.stream) + number(tombstone.version)
    if inspection.look("ids", place) != position:
        yield f"is of {tombstone.id}, and ids does not have it there"


def check_effects(inspection: Inspection) -> None:
    """Go through what after-effects issued, and those that are owed."""
    for key, (position, found), row in inspection.rows("effects"):
        inspection.say_all("effects", key, _of_effect(inspection, position, found, row))
        inspection.say_unknown("effects", key, "process", row.process)
        for _, kind, _ in row.commands:
            inspection.say_unknown("effects", key, "command", kind)
    for key, (process, position, instance), version in inspection.rows("owed"):
        problems = _of_owed(inspection, process, instance, position, version)
        inspection.say_all("owed", key, problems)
        inspection.say_unknown("owed", key, "process", process)


def _of_owed(
    inspection: Inspection, process: str, instance: str, position: int, version: int
) -> Iterator[str]:
    if inspection.event(position) is None:
        yield "is after an event that the log does not have"
    if version and not inspection.has("ids", transitions_key(process, instance) + number(version)):
        yield f"is of version {version}, which is not there"


def _of_effect(
    inspection: Inspection, position: int, found: bytes, row: EffectRow
) -> Iterator[str]:
    if found != digest(row.process, row.instance):
        yield f"has the key of another than {row.process} {row.instance}"
    if inspection.event(position) is None:
        yield "is after an event that the log does not have"
    if (
        row.version
        and not inspection.has(
            "ids", transitions_key(row.process, row.instance) + number(row.version)
        )
        and not inspection.is_pruned(row.process, row.instance, row.version)
    ):
        yield f"is of version {row.version} of {row.process} {row.instance}, which is not there"
    for which, (command_id, _, _) in enumerate(row.commands):
        expected = effect_command_id_at(row.process, row.instance, position, which)
        if command_id != expected:
            yield f"issued command {command_id}, whose id would be {expected}"


def _of_event(inspection: Inspection, position: int, event: EventRow) -> Iterator[str]:
    """What is wrong with an event of its stream, but for its cause."""
    if event.event_id is None and not inspection.any_given_ids:
        return
    event_id = event.id
    row: EventIdRow | None = inspection.look("event_ids", event_id.encode())
    given = None if row is None else row.position
    if event.event_id is None and given not in {None, position}:
        yield f"has the id {event_id}, which event_ids has for position {given}"
    elif event.event_id is not None and given != position and not _evades(event, given):
        yield f"has the id {event_id}, and event_ids has {given or 'nothing'} for it"


def problems_of_cause(inspection: Inspection, position: int, event: EventRow) -> Iterator[str]:
    """What is wrong with the cause of an event of its stream."""
    cause = event.causation_id
    if cause is None:
        return
    if event.depth:
        if inspection.is_issued(cause):
            return
        if place_of_transition(cause) is None:
            yield f"was caused by command {cause}, which no transition issued"
        elif not inspection.is_end(cause):
            yield f"tells of an end by {cause}, which ended no instance"
        return
    result: ResultRow | None = inspection.look("command_ids", cause.encode())
    # What is older may be of a command whose id was forgotten, and given to this one.
    if (
        result is not None
        and event.time >= result.time
        and not (0 <= position - result.first_position < result.events and result.first_position)
    ):
        yield f"is no result of command {cause}, which is said to have caused it"


def _evades(event: EventRow, given: int | None) -> bool:
    """Whether the store named it, out of the way of an id from outside."""
    return given is None and place_of_event(event.id) == (event.stream, event.version)


def _of_event_id(inspection: Inspection, event_id: str, position: int) -> Iterator[str]:
    event = inspection.event(position) or inspection.tombstone(position)
    if event is None:
        yield f"is at position {position}, which the log does not have"
    elif event.id != event_id:
        yield f"is at position {position}, where the log has {event.id}"
    elif (
        place_of_event(event_id) is not None
        and event_id != event_id_at(event.stream, event.version)
        and not inspection.has("meta", LOOKALIKE)
    ):
        yield "looks like an id that the store makes, and meta has no row that says so"


def _of_result(inspection: Inspection, command_id: str, result: ResultRow) -> Iterator[str]:
    first, count = result.first_position, result.events
    if not result.is_done and (count or result.refusal is not None or result.error is not None):
        yield "is of a command that is not carried out, and says what came of it"
    if result.error is not None and result.refusal is None:
        yield "has the error of a refusal, and no reason"
    if bool(first) != bool(count) or (count and result.refusal is not None):
        yield f"says {count} events from position {first}, and the refusal {result.refusal!r}"
        return
    stream = ""
    for position in range(first, first + count):
        event = inspection.event(position)
        if event is None:
            if not inspection.was_there(position):
                yield f"made the event at position {position}, which the log does not have"
            return
        if event.causation_id != command_id:
            yield f"made the event at position {position}, which {event.causation_id} caused"
            return
        if stream and event.stream != stream:
            yield f"made events of {stream} and of {event.stream}"
            return
        stream = event.stream
    # Events of one command follow each other, so these would be its own as well. What refers
    # to it from farther away is found there.
    for position in (first - 1, first + count) if count else ():
        event = inspection.event(position)
        if event is not None and event.causation_id == command_id and not event.depth:
            yield f"made the event at position {position}, too, and says only {count}"


def _of_snapshot(inspection: Inspection, stream: str, snapshot: SnapshotRow) -> Iterator[str]:
    key = stream_key(stream) + number(snapshot.version)
    if not (inspection.has("ids", key) or inspection.pruned.tombstones):
        yield f"was made after {readable('ids', key)}, which is not there"
