"""What comes to the end of a store's logs, told as plain data to who follows it from outside."""

from __future__ import annotations

from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING

from ..errors import Pruned
from ..queries.follower import open_log, wanted
from ..queries.log_end import LogEnd, text_of
from ..store import CorruptRecord, EventRecord, ParkedRecord
from .aside import parked_row
from .log import event_row
from .plain import moment

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from ..queries.log_end import Found, Kind
    from ..store import TransitionRecord
    from .face import Face
    from .plain import Plain

__all__ = ["AT_ONCE", "Following"]

AT_ONCE = 500
"""Most rows of one look at the end of the log."""


class Following:
    """What comes to the end of the log, looked at again and again.

    Args:
        face: where to look
        kinds: what is followed; without any, events, or transitions if a process manager is named
        stream: events of this stream or category only
        types: events of these wire names only
        process: transitions and what is parked of this process manager only
        last: how many of the newest of each kind are looked at to begin with
        after: begin where another one's newest row said `after` instead
        most_behind: how far behind the end to begin at most; what was missed is not told then

    Attributes:
        has_more: whether the last look came to no end, so that another finds more at once

    Raises:
        UnknownMessage: there is no such process manager
        InvalidMessage: `after` is no place of what is followed

    """

    def __init__(
        self,
        face: Face,
        *,
        kinds: Collection[Kind] = (),
        stream: str | None = None,
        types: Collection[str] = (),
        process: str | None = None,
        last: int = 10,
        after: str | None = None,
        most_behind: int | None = None,
    ) -> None:
        self._face = face
        known = None if process is None else face.known(process)
        kinds = kinds or ({"event"} if process is None else {"transition"})
        is_wanted = wanted(kinds, stream=stream, types=types or None, process=known)
        stores = [log.store for log in face.logs]
        self._stores = stores
        self._log = open_log(stores, kinds, after, is_wanted)
        if after is None:
            self._log.go_back(last)
        elif most_behind is not None:
            ends = LogEnd(stores, kinds, {}, is_wanted).place
            for one, end in ends.items():
                self._log.place[one] = max(self._log.place[one], end - most_behind)
            self._log.pass_pruned()
        self._has_kinds = len(set(kinds)) > 1
        self._found = self._log.look()
        self.has_more = True

    @property
    def is_over(self) -> bool:
        """Whether nothing more comes, since the runtime is being closed."""
        return self._face.is_closing

    @property
    def place(self) -> str:
        """How far it is."""
        return text_of(self._log.place)

    def look(self) -> list[Plain]:
        """What is new since the last look, or a part of it that is long enough.

        Where something was pruned that was not told yet, a row says so and it goes on behind it.
        """
        try:
            found = [self._row(one) for one in islice(self._found, AT_ONCE)]
        except Pruned as error:
            self._log.pass_pruned()
            self._found = self._log.look()
            return [{"pruned": True, "error": str(error), "after": self.place}]
        self.has_more = len(found) == AT_ONCE
        if not self.has_more:
            self._found = self._log.look()
        return found

    def rows(self) -> Iterator[Plain]:
        """What there is by now."""
        while self.has_more:
            yield from self.look()

    def _row(self, found: Found) -> Plain:
        row = self._shown(found)
        if self._has_kinds:
            row = {"kind": found.kind, **row}
        if self._face.is_divided:
            row = {"partition": found.partition, **row}
        return {**row, "after": self.place}

    def _shown(self, found: Found) -> Plain:
        log, record = self._face.logs[found.partition], found.record
        if isinstance(record, CorruptRecord):
            place = "position" if found.kind == "event" else "number"
            return {place: found.number, "error": str(record)}
        if isinstance(record, EventRecord):
            return event_row(log, record)
        if isinstance(record, ParkedRecord):
            return parked_row(log, record)
        return self._moved(found.partition, *record)

    def _moved(
        self, partition: int, process: str, instance: str, record: TransitionRecord
    ) -> Plain:
        kind = None
        with suppress(CorruptRecord):
            store = self._stores[partition]
            event = store.event_at(record.position) if record.position else None
            kind = None if event is None else event.type
        return {
            "process": process,
            "id": instance,
            "version": record.version,
            "time": moment(record.time),
            "handler": record.handler,
            "cause": record.cause,
            "type": kind,
            "commands": [kind for _, kind, _ in record.commands],
            "is_complete": record.is_complete,
        }
