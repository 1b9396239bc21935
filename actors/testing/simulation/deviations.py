"""What makes a simulated run another than the ordinary one, and how that is written down.

The ordinary run gives every actor its turn in order of arrival, lets everything settle before the
next thing comes from outside, and has no accident. Any other run is the ordinary one with an order
in which the clients bring their messages, and a few deviations. So a short schedule says exactly
how a run goes, and a shorter one is a simpler run.
"""

from __future__ import annotations

import base64
import random
import zlib
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, get_args

import msgpack

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "ALL_FAULTS",
    "FAULTS",
    "KINDS",
    "Deviation",
    "Deviations",
    "Fault",
    "Planned",
    "Schedule",
    "Seeded",
    "deviation",
    "kinds_of",
    "number_of",
    "seed_of",
    "unpacked",
]

Fault: TypeAlias = Literal[
    "order",
    "time",
    "crash",
    "commit",
    "handler",
    "duplicate",
    "sleep",
    "service",
    "disk",
    "upgrade",
    "clock",
    "resend",
    "operator",
    "node",
    "erasure",
    "pruning",
]

ALL_FAULTS: tuple[Fault, ...] = get_args(Fault)
"""All that can be let happen, by the names that `faults=` takes."""

FAULTS: tuple[Fault, ...] = tuple(
    one for one in ALL_FAULTS if one not in {"clock", "resend", "operator", "erasure", "pruning"}
)
"""What is let happen unless something else is said.

Not among them is what may rightly break an invariant: by a clock that is set back, what happened
later has an earlier time, what a client sends again without an id is done twice, an instance
that an operator ends or erases does not come to its own end, and of one that is pruned there is no
history any more.
"""

KINDS: tuple[tuple[str, Fault], ...] = (
    ("turn", "order"),
    ("hold", "order"),
    ("time", "time"),
    ("crash", "crash"),
    ("crash_before_commit", "crash"),
    ("crash_after_commit", "crash"),
    ("commit_fails", "commit"),
    ("fails_before", "handler"),
    ("fails_after", "handler"),
    ("repeat_event", "duplicate"),
    ("repeat_command", "duplicate"),
    ("repeat_outside", "duplicate"),
    ("sleep", "sleep"),
    ("arrival", "order"),
    ("cut", "order"),
    ("overtake", "order"),
    ("shuffle", "order"),
    ("demote", "order"),
    ("late", "time"),
    ("answers_late", "service"),
    ("answers_half", "service"),
    ("answers_never", "service"),
    ("disk_error", "disk"),
    ("disk_full", "disk"),
    ("torn", "disk"),
    ("power_cut", "disk"),
    ("clock_forward", "clock"),
    ("clock_back", "clock"),
    ("upgrade", "upgrade"),
    ("resend", "resend"),
    ("end", "operator"),
    ("amend", "operator"),
    ("hang", "node"),
    ("lease", "node"),
    ("hand_over", "node"),
    ("deploy", "node"),
    ("lane", "node"),
    ("skew", "clock"),
    ("prune", "pruning"),
    ("erase", "erasure"),
)
"""The kinds of deviations, and what they belong to. Seeds hold their places: add at the end."""

WEIGHTS = {
    "turn": 4,
    "hold": 2,
    "time": 2,
    "arrival": 3,
    "cut": 3,
    "overtake": 3,
    "upgrade": 4,
    "hang": 3,
    "lease": 3,
    "hand_over": 3,
    "lane": 2,
    "skew": 2,
}
"""How often a kind is tried, if more than once: most flaws are about the order of things."""

SEEDED_GAP = 6
"""Turns between two deviations of a run that a number seeds, on average."""


class Deviation(NamedTuple):
    """At the first chance from that turn on, something else happens than the ordinary.

    `kind` is a place in `KINDS`; `which` chooses where there are several.
    """

    at: int
    kind: int
    which: int

    @property
    def name(self) -> str:
        """The kind's name."""
        return KINDS[self.kind][0]


class Schedule(NamedTuple):
    """How a run goes.

    `order` says which client brings the next message, by the clients' places in the program; when
    it is empty, each brings its next one as soon as it can. `deviations` are those from the
    ordinary run.
    """

    order: tuple[int, ...] = ()
    deviations: tuple[Deviation, ...] = ()


class Deviations:
    """The deviations of a run; of this one, those that a test provokes."""

    def __init__(self) -> None:
        self.armed: list[Deviation] = []
        """The deviations whose turn has come, and that wait for their chance."""
        self.taken: dict[str, None] = {}
        """The names of those that had their chance."""

    def arm(self, turn: int) -> None:
        """Arm the deviations of that turn."""

    def take(self, *kinds: str) -> Deviation | None:
        """The first of these kinds that is armed; it is no more afterwards."""
        for deviation in self.armed:
            if deviation.name in kinds:
                self.armed.remove(deviation)
                self.taken[deviation.name] = None
                return deviation
        return None

    def stop(self) -> None:
        """Have no more of them happen."""
        self.armed.clear()


class Planned(Deviations):
    """Just the deviations of a list."""

    def __init__(self, deviations: Iterable[Deviation]) -> None:
        super().__init__()
        self._left = sorted(deviations, reverse=True)

    def arm(self, turn: int) -> None:
        while self._left and self._left[-1].at <= turn:
            self.armed.append(self._left.pop())

    def stop(self) -> None:
        """Nothing: planned deviations happen where they are planned."""


class Seeded(Deviations):
    """As many deviations as the run has turns for, all made of one number."""

    def __init__(self, seed: int, kinds: Sequence[int]) -> None:
        super().__init__()
        self._random = random.Random(seed)  # noqa: S311 - the same again is what it is for
        self._kinds = list(kinds)
        self._next = self._after(0) if kinds else None

    def arm(self, turn: int) -> None:
        while self._next is not None and self._next.at <= turn:
            one = self._next
            # What never gets a chance does not pile up.
            if all(other.kind != one.kind for other in self.armed):
                self.armed.append(one)
            self._next = self._after(turn)

    def stop(self) -> None:
        super().stop()
        self._next = None

    def _after(self, turn: int) -> Deviation:
        chance = self._random
        return Deviation(
            turn + chance.randrange(1, 2 * SEEDED_GAP),
            self._kinds[chance.randrange(len(self._kinds))],
            chance.randrange(8),
        )


def number_of(name: str) -> int:
    """The place of a kind in `KINDS`.

    Raises:
        ValueError: there is no such kind

    """
    names = [kind for kind, _ in KINDS]
    if name not in names:
        raise ValueError(f"there is no {name!r}; there are {', '.join(names)}")
    return names.index(name)


def deviation(name: str, which: int) -> Deviation:
    """A deviation of that name, for the turn in hand.

    Raises:
        ValueError: there is no such kind

    """
    return Deviation(0, number_of(name), which)


def kinds_of(
    faults: Iterable[str],
    *,
    has_services: bool = True,
    has_upgrade: bool = True,
    has_nodes: bool = True,
) -> list[int]:
    """The kinds of deviations that belong to faults, each as often as it is to be tried.

    What cannot happen is left out: it would only take the place of what can.

    Args:
        faults: what may happen
        has_services: whether there are services outside
        has_upgrade: whether there is another version of the domains
        has_nodes: whether there are several nodes

    Raises:
        ValueError: there is no such fault

    """
    chosen = (faults,) if isinstance(faults, str) else tuple(faults)
    for fault in chosen:
        if fault not in ALL_FAULTS:
            raise ValueError(f"faults={chosen!r}: there is no {fault!r}; there are {ALL_FAULTS}")
    idle = {"service"} if not has_services else set()
    idle |= {"upgrade"} if not has_upgrade else set()
    idle |= {"node"} if not has_nodes else set()
    return [
        number
        for number, (name, fault) in enumerate(KINDS)
        if fault in chosen and fault not in idle and (has_nodes or name != "skew")
        for _ in range(WEIGHTS.get(name, 1))
    ]


def seed_of(schedule: Schedule, program: Any = None) -> str:
    """One word that says how a run went."""
    order, deviations = schedule
    packed = msgpack.packb([order, [list(one) for one in sorted(deviations)], program])
    # Its checksum tells a word that was not copied whole.
    return base64.urlsafe_b64encode(zlib.compress(packed, 9)).decode().rstrip("=")


def unpacked(seed: str) -> tuple[Schedule, Any]:
    """What `seed_of` was given.

    Raises:
        ValueError: it is no such word, or one of another version

    """
    try:
        packed = zlib.decompress(base64.urlsafe_b64decode(seed + "=" * (-len(seed) % 4)))
        order, rows, program = msgpack.unpackb(packed, strict_map_key=False)
        schedule = Schedule(tuple(map(int, order)), tuple(Deviation(*row) for row in rows))
        for one in schedule.deviations:
            KINDS[one.kind]
    except Exception as error:
        raise ValueError(
            f"seed={seed!r} was not made by this version of explore, or not copied whole"
        ) from error
    return schedule, program
