"""Following a runtime: an iterator that waits for what comes to the end of the log."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from ..clock import seconds
from ..errors import InvalidMessage, shown
from ..messages.identifiers import plain_text
from ..store import CorruptRecord, EventRecord, ParkedRecord, category_of, check_name
from ..store.interrupts import Latch
from .log_end import Found, LogEnd, place_of, text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from ..model.registry import Registry
    from ..store import Store
    from .log_end import Kind, Place

__all__ = ["LOOK_AGAIN", "Follower", "open_log", "types_of", "wanted"]

LOOK_AGAIN = 0.25
"""Seconds between two looks where no commit is told of, as when another process has the store."""

T = TypeVar("T")


class Follower(Iterator[T], Generic[T]):
    """What comes to the end of the log, for as long as its owner asks for more.

    It belongs to one thread at a time; `stop` may be called from any. It holds no read transaction
    and no place in the runtime while it waits, so the service goes on however slow its owner is.

    Args:
        log: what it looks at
        show: how what is found is shown
        watch: has a latch opened with the next commit, where commits are told of
        refuse_closed: raises once the runtime is closed
        timeout: most seconds to wait for the next one

    """

    def __init__(
        self,
        log: LogEnd,
        show: Callable[[Found], T],
        watch: Callable[[Latch], None],
        refuse_closed: Callable[[], None],
        timeout: float | None,
    ) -> None:
        self._log = log
        self._show = show
        self._watch = watch
        self._refuse_closed = refuse_closed
        self._timeout = timeout
        self._found: Iterator[Found] = iter(())
        self._latch = Latch()
        self._latch.open()
        self.is_stopped = False
        """Whether it was told to end."""

    @property
    def position(self) -> str:
        """How far it is, behind what it gave last: `after` of another one, which goes on there."""
        return text_of(self._log.place)

    @property
    def place(self) -> Place:
        """The same as data."""
        return self._log.place.copy()

    def stop(self) -> None:
        """Have it end, also while it waits; any thread may call this, and a signal's handler."""
        self.is_stopped = True
        self._latch.open()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        end = self.end()
        while not self.is_stopped:
            # First, so that no commit falls between the look and the wait.
            latch = self.next_commit()
            found = self.taken()
            if found is not None:
                return self._show(found)
            left = self.left(end)
            if left <= 0:
                break
            latch.wait(left)
        raise StopIteration

    def end(self) -> float | None:
        """When its patience ends if nothing comes, by `seconds`."""
        return None if self._timeout is None else seconds() + self._timeout

    def next_commit(self) -> Latch:
        """What opens when there may be more than a look from now on finds, or when it is stopped.

        Raises:
            ClosedError: the runtime is closed

        """
        self._refuse_closed()
        if self._latch.is_open:
            self._latch = Latch()
            self._watch(self._latch)
            if self.is_stopped:
                self._latch.open()
        return self._latch

    def left(self, end: float | None) -> float:
        """Seconds to wait before the next look; none if the time is up.

        Args:
            end: when it is, by `seconds`

        """
        return LOOK_AGAIN if end is None else min(LOOK_AGAIN, end - seconds())

    def taken(self) -> Found | None:
        """The next record that is there; None if there is none for now."""
        found = next(self._found, None)
        if found is None:
            self._found = self._log.look()
            found = next(self._found, None)
        return found

    def page(self, size: int) -> list[tuple[T, Place]]:
        """As many as are there, at most, and how far the follower is behind each of them."""
        page: list[tuple[T, Place]] = []
        while len(page) < size and (found := self.taken()) is not None:
            page.append((self._show(found), self.place))
        return page


def _begun_behind(
    after: int | str | Mapping[int, int] | None, kinds: Collection[Kind], partitions: int
) -> Place:
    """How far a follower is that begins behind a position.

    Args:
        after: as for `Runtime.follow`
        kinds: what is followed
        partitions: how many there are

    Returns:
        nothing of what it begins at the end of

    Raises:
        InvalidMessage: it is no position, or not one of what is followed

    """
    if after is None:
        return {}
    if isinstance(after, str):
        return place_of(after, kinds, partitions)
    numbers: Mapping[int, int]
    if type(after) is int:
        numbers = dict.fromkeys(range(partitions), after)
        if after and partitions > 1:
            raise InvalidMessage(
                f"after={after}: a divided store has a position for each partition; give a mapping "
                f"of partitions to positions, or the `position` of a follower"
            )
    else:
        try:
            numbers = dict(after)  # type: ignore[arg-type] # what is no mapping is refused
        except TypeError:
            numbers = {}
        if not numbers or not numbers.keys() <= set(range(partitions)):
            raise InvalidMessage(
                f"after={shown(after)} is no position; give a number, a mapping of partitions from "
                f"0 to {partitions - 1} to numbers, or the `position` of a follower"
            )
    for one in numbers.values():
        if type(one) is not int or not 0 <= one < 1 << 63:
            raise InvalidMessage(f"after={shown(after)} is no position; give whole numbers from 0")
    if any(numbers.values()) and set(kinds) != {"event"}:
        raise InvalidMessage(
            f"after={shown(after)} is a position of events, and transitions and what is parked "
            f"have numbers of their own; give 0, or the `position` of a follower of the same"
        )
    return {(kind, one): numbers.get(one, 0) for kind in kinds for one in range(partitions)}


def wanted(
    kinds: Collection[Kind],
    *,
    stream: str | None,
    types: Collection[str] | None,
    process: str | None,
) -> Callable[[Found], bool]:
    """Whether a record is one that is looked for; a damaged one is, since it may be one.

    Args:
        kinds: what is followed
        stream: events of this stream or category only
        types: events of these wire names only
        process: transitions and what is parked of this process manager only

    Raises:
        InvalidMessage: a stream is none
        ValueError: a filter is for what is not followed

    """
    if not kinds:
        raise ValueError("follow: nothing is followed; leave events, transitions or parked true")
    if stream is not None:
        name = plain_text(stream)
        if name is None:
            raise InvalidMessage(f"{shown(stream)} is no stream or category; give a str")
        check_name("stream or category", name)
    for what, given, of in (
        ("stream", stream, {"event"}),
        ("type", types, {"event"}),
        ("process", process, {"transition", "parked"}),
    ):
        if given is not None and not of & set(kinds):
            raise ValueError(
                f"follow: {what}={shown(given)} is for {' and '.join(sorted(of))}s, and none are "
                f"followed"
            )

    def is_wanted(found: Found) -> bool:
        record = found.record
        if isinstance(record, CorruptRecord):
            return True
        if isinstance(record, EventRecord):
            # A copy is told of where it is an event of its stream.
            return (
                not record.sent_for
                and stream in {None, record.stream, category_of(record.stream)}
                and (types is None or record.type in types)
            )
        name = record.process if isinstance(record, ParkedRecord) else record[0]
        return process in {None, name}

    return is_wanted


def types_of(registry: Registry, given: Any) -> frozenset[str] | None:
    """The wire names of the events that are looked for, with those of their older versions.

    Args:
        registry: all classes
        given: an event's class, a wire name, or several of them

    """
    if given is None:
        return None
    several = list(given) if isinstance(given, list | tuple | set | frozenset) else [given]
    found: set[str] = set()
    for one in several:
        name = one if isinstance(one, str) else registry.name_of(one)
        found.add(name)
        found |= {older for older in registry.reads() if registry.name_today(older) == name}
    return frozenset(found)


def open_log(
    stores: Sequence[Store],
    kinds: Collection[Kind],
    after: int | str | Mapping[int, int] | None,
    is_wanted: Callable[[Found], bool],
) -> LogEnd:
    """The end of logs, looked at from a position on.

    Raises:
        InvalidMessage: it is no position of what is followed, or behind the end of a log

    """
    place = _begun_behind(after, kinds, len(stores))
    now = LogEnd(stores, kinds, {}, is_wanted).place
    beyond = [one for one, number in place.items() if number > now[one]]
    if beyond:
        kind, partition = beyond[0]
        raise InvalidMessage(
            f"after={shown(after)}: the newest {kind} of partition {partition} has the number "
            f"{now[kind, partition]}; this position is of another store, or of one that was "
            f"restored from a backup"
        )
    return LogEnd(stores, kinds, {**now, **place}, is_wanted)
