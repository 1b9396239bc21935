"""What the runtime raises. The base, `ProcessionError`, and all about the disk are in `store`."""

from __future__ import annotations

import traceback
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pykka

from .store import ProcessionError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "AlreadyDecided",
    "AlreadyEnded",
    "AlreadyStarted",
    "BeginUndecided",
    "DefinitionError",
    "EarlyEvent",
    "Erased",
    "IdReused",
    "InfiniteLoopError",
    "InvalidMessage",
    "LateEvent",
    "MissingExtra",
    "MovedOn",
    "NotProjected",
    "NotRefreshed",
    "PartitionDown",
    "ProcessEnded",
    "QueryInHandler",
    "Rejected",
    "SeveralDocuments",
    "StreamHeldUp",
    "TimedOut",
    "UnknownInstance",
    "UnknownMessage",
    "UnreadableRecord",
    "UnreadableRow",
    "WaitingInHandler",
    "place_of_error",
    "shown",
    "their_place_of_error",
    "type_of_error",
]


LONGEST_SHOWN = 200


def shown(value: object) -> str:
    """A value as an error shows it: cut short, and whatever its own code does, without failing."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - it is the value that is refused, for another reason
        text = object.__repr__(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"


def type_of_error(error: BaseException) -> str:
    """The name of an error's class, with its module unless that is Python's own."""
    cls = type(error)
    name = (
        cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"
    )
    # It may be anything that was assigned, and what is stored must be UTF-8.
    return str.encode(name, "utf-8", "backslashreplace").decode()


_PACKAGE = f"{Path(__file__).parent}/"


def place_of_error(error: BaseException) -> str:
    """Where an error was raised: the innermost line of code that is none of this package's.

    It says no value of any variable. Where all lines are the package's, the innermost of these.
    """
    theirs, ours = _places_of(error)
    return theirs or ours or "no line of code"


def their_place_of_error(error: BaseException) -> str:
    """As `place_of_error`; empty where all lines are this package's."""
    return _places_of(error)[0]


def _places_of(error: BaseException) -> tuple[str, str]:
    """The innermost lines: of code that is none of this package's, and of its own."""
    theirs = ours = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        code = frame.f_code
        place = f"{code.co_filename}:{line} in {code.co_name}"
        if code.co_filename.startswith(_PACKAGE):
            ours = place
        else:
            theirs = place
    return theirs, ours


class Rejected(ProcessionError):
    """A command is refused: raise it, or a class below it, in an aggregate's handler.

    A command that is asked for again under its id is refused as before: by the same class, with
    the attributes that can be stored. These are plain values, times, `Decimal`, `UUID`, members of
    an `Enum`, and lists, tuples, sets and dictionaries of them; a note says what is missing.

    Args:
        reason: why, in words for the sender of the command

    """

    reason = ""

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        # It may quote anything, and what is stored must be text in UTF-8.
        self.reason = str.encode(str(reason), "utf-8", "backslashreplace").decode()


class DefinitionError(ProcessionError, TypeError):
    """A class cannot work as it is written: which one, where in it, and the mend."""


class BeginUndecided(DefinitionError):
    """A process manager is new to a store with history, and it is not clear where it begins.

    Nothing was opened.

    Attributes:
        counts: how many events the store holds that it handles, by the process manager's name

    """

    def __init__(self, message: str, counts: Mapping[str, int]) -> None:
        super().__init__(message)
        self.counts = counts


class InvalidMessage(ProcessionError, ValueError):
    """An event, a command or a state does not fit its annotations; nothing was stored."""


class IdReused(ProcessionError, ValueError):
    """An id was given that stands for something else already; nothing was stored under it.

    Attributes:
        id: the id
        type: the wire name of what it stands for
        stream: where that is, or which aggregate it is for
        time: when that was published or sent
        position: where an event is in the log; 0 for a command
        places: of a batch, which entries were refused, from 0; all others are stored

    """

    id: str = ""
    type: str = ""
    stream: str = ""
    time: datetime | None = None
    position: int = 0
    places: tuple[int, ...] = ()


class UnknownMessage(ProcessionError, LookupError):
    """Nothing registered takes this command, or knows this event or class."""


class UnknownInstance(ProcessionError, LookupError):
    """There is no instance of that id, or it has not started."""


class UnreadableRecord(ProcessionError, ValueError):
    """What a listing went past cannot be read: it is damaged, or fits no class here."""


class Erased(UnreadableRecord):
    """What was asked for was erased: it was there, and is not kept any more.

    Attributes:
        when: the moment

    """

    def __init__(self, what: str, time: int) -> None:
        self.when = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time)
        super().__init__(f"{what} was erased at {self.when.isoformat(timespec='seconds')}")
        self._given = what, time

    def __reduce__(self) -> tuple[type[Erased], tuple[str, int]]:
        return type(self), self._given


class MissingExtra(ProcessionError, ImportError):
    """What was asked for needs a package that is not installed.

    Args:
        what: needs it
        extra: of this project, which brings it

    """

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs a package: pip install 'procession[{extra}]'")


class UnreadableRow(ProcessionError, ValueError):
    """A file cannot be imported: which one, which row, and why. Nothing of it is stored."""


class TimedOut(ProcessionError, pykka.Timeout, TimeoutError):
    """The time given to `ask` or `settle` ran out. What was accepted goes on all the same."""


class AlreadyDecided(ProcessionError):
    """Another decision about the same parked thing was made before this one, which did nothing.

    Attributes:
        parked_id: what `parked` called it
        decision: what was decided: ``"retry"``, ``"skip"`` or ``"end"``
        time: when
        by: who asked, if that was said

    """

    def __init__(self, parked_id: int, decision: str, time: datetime, by: str | None) -> None:
        self.parked_id, self.decision, self.time, self.by = parked_id, decision, time, by
        who = "" if by is None else f" by {by}"
        super().__init__(
            f"{decision} was decided about what was parked under {parked_id} already, at "
            f"{time.isoformat()}{who}; parked(decided=True) lists it. If it failed again, it is "
            f"parked under a new id, which parked() lists"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.parked_id, self.decision, self.time, self.by)


class AlreadyEnded(ProcessionError):
    """An instance was to be ended that has ended, by itself or by another operator.

    Attributes:
        process: the process manager's name
        instance: the instance's id
        time: when it ended, or when something was last done to it
        by: the operator who ended it; None if no operator did

    """

    def __init__(self, process: str, instance: str, time: datetime, by: str | None) -> None:
        self.process, self.instance, self.time, self.by = process, instance, time, by
        who = "has ended" if by is None else f"was ended by {by}"
        super().__init__(
            f"{process} {instance!r} {who} already, at {time.isoformat()}, so nothing was done; "
            f"history() has what happened"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.process, self.instance, self.time, self.by)


class MovedOn(ProcessionError):
    """An operator acted on what an instance was, and something has happened to it since.

    Attributes:
        process: the process manager's name
        instance: the instance's id
        expected: the version that the operator had seen
        version: the one that it is at

    """

    def __init__(self, process: str, instance: str, expected: int, version: int) -> None:
        self.process, self.instance = process, instance
        self.expected, self.version = expected, version
        super().__init__(
            f"{process} {instance!r} is at version {version}, and not at {expected} any more, so "
            f"nothing was done; look at it again, and decide by what it is now"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.process, self.instance, self.expected, self.version)


class AlreadyStarted(ProcessionError):
    """A second start event came for a live instance whose handler has `start="only"`."""


class EarlyEvent(ProcessionError):
    """An event came too early.

    Before its instance's start, where the class says `early="park"`; or before any instance learnt
    the key by which it would find it, where the class says `unmatched="park"`, or while one that
    may learn it is held up.
    """


class LateEvent(ProcessionError):
    """An event came for an instance that has ended, where the class says `late="park"`."""


class InfiniteLoopError(ProcessionError):
    """A chain of events and commands comes back to itself, or is longer than allowed."""


class NotRefreshed(ProcessionError):
    """Some instances could not be rebuilt and are as before; all others were rebuilt.

    Attributes:
        process: the process manager's name
        rebuilt: how many were rebuilt
        not_rebuilt: how many were not
        errors: why, by instance, of the first thousand of them

    """

    def __init__(
        self, process: str, rebuilt: int, not_rebuilt: int, errors: Mapping[str, str]
    ) -> None:
        self.process, self.rebuilt, self.not_rebuilt = process, rebuilt, not_rebuilt
        self.errors = errors
        first, error = next(iter(errors.items()))
        super().__init__(
            f"{not_rebuilt} of {rebuilt + not_rebuilt} instances of {process} could not be "
            f"rebuilt and are as before, such as {first!r}: {error}. Mend the class or the store, "
            f"and call it again; `errors` has them by id"
        )


class Pruned(ProcessionError):
    """What is asked for was in the store, and was pruned since; an archive may have it."""


class PartitionDown(ProcessionError):
    """The process that runs a partition has ended before it answered; it is started again."""


class StreamHeldUp(ProcessionError):
    """A projection has not written an event, since something in its stream is parked.

    Attributes:
        projection: its name
        stream: which waits until an operator decides
        position: of the event that was asked for
        parked_id: what `parked` calls what was parked

    """

    def __init__(self, projection: str, stream: str, position: int, parked_id: int) -> None:
        self.projection, self.stream = projection, stream
        self.position, self.parked_id = position, parked_id
        super().__init__(
            f"{projection} has not written the event at position {position}: in its stream "
            f"{stream!r}, something is parked under {parked_id}. retry({parked_id}) or "
            f"skip({parked_id}) lets the stream go on"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.projection, self.stream, self.position, self.parked_id)


class SeveralDocuments(ProcessionError):
    """Several partitions have a document under a key, and nothing says what they are together.

    Attributes:
        projection: its name
        key: of the documents

    """

    def __init__(self, projection: str, key: str) -> None:
        self.projection, self.key = projection, key
        super().__init__(
            f"{projection}: several partitions have a document under {key!r}, since events of "
            f"streams in each of them put one there. Say in the class what they are together, as "
            f"`database=Documents(merge=...)`, or keep it under the id of the stream"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.projection, self.key)


class NotProjected(ProcessionError):
    """A projection could not be made anew; the tables that are read are as before.

    What was made is kept beside them, and goes on from there when it is called again.

    Attributes:
        projection: its name
        position: of the event that could not be written
        error: why, in words

    """

    def __init__(self, projection: str, position: int, error: str) -> None:
        self.projection, self.position, self.error = projection, position, error
        super().__init__(
            f"{projection} was not made anew, since the event at position {position} could not be "
            f"written: {error}. The tables that are read are as before. Mend the class, and call "
            f"it again; or skip the event where it is parked"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.projection, self.position, self.error)


class ProcessEnded(ProcessionError):
    """A process ended, and what a caller waits for never was.

    Attributes:
        version: the instance's, as it ended
        state: its fields

    """

    def __init__(self, process: str, instance: str, version: int, state: dict[str, Any]) -> None:
        self.version = version
        self.state = state
        super().__init__(
            f"wait: {instance!r} of {process} has ended, at version {version}, and what `until` "
            f"looks for never was since this began to wait; have it look for the ways in which the "
            f"process may end as well"
        )


class QueryInHandler(ProcessionError, RuntimeError):
    """A handler looked something up, which would be another thing when the handler runs again."""

    def __init__(self, call: str) -> None:
        super().__init__(
            f"{call}() was called from a handler. What it answers depends on what else has been "
            f"done by then, so the step would differ with the order of things, and when state is "
            f"rebuilt. Have the event carry what is needed, or correlate by a learnt key, so that "
            f"each instance concerned handles the event itself; an @after method may look things up"
        )


class WaitingInHandler(ProcessionError, RuntimeError):
    """A handler called something that waits, which would hold up every other instance."""
