"""What a node has for the owners of other partitions: a row of a table, until it is answered.

The row is durable, so it is carried out whatever becomes of who wrote it and of who owns the
partition; the owner may be another one by then. It may be carried out twice, so it has an id that
is taken once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..layout.frames import unframe
from ..layout.keys import numbered
from .connection import Statement
from .parameters import bigint, bigints, byteas, integers, number_of, text, texts

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from psycopg.pq.abc import PGresult

__all__ = ["Calls", "LaneEnds", "OpenCall", "Seen"]

MOST = 1_024
"""Rows that are taken up at a time."""

_WRITE = Statement(
    b"write_calls",
    b"INSERT INTO calls (part, asker, kind, request) SELECT part, $2, kind, request "
    b"FROM unnest($1::int[], $3::text[], $4::bytea[]) WITH ORDINALITY "
    b"AS given(part, kind, request, place) ORDER BY place RETURNING id",
)
_OPEN = Statement(
    b"open_calls",
    b"SELECT id, part, kind, request FROM unnest($1::int[]) AS mine(part) CROSS JOIN LATERAL "
    b"(SELECT id, kind, request FROM calls WHERE calls.part = mine.part AND answer IS NULL "
    b"AND id <> ALL($2::bigint[]) ORDER BY id LIMIT $3::bigint) AS there",
)
_ANSWERED = Statement(
    b"answered_calls",
    b"SELECT id, answer FROM calls WHERE id = ANY($1::bigint[]) AND answer IS NOT NULL",
)
_ANSWER = Statement(
    b"answer_calls",
    b"UPDATE calls SET answer = given.answer FROM unnest($1::bigint[], $2::bytea[]) "
    b"AS given(id, answer) WHERE calls.id = given.id",
)
_DROP = Statement(b"drop_calls", b"DELETE FROM calls WHERE id = ANY($1::bigint[])")
_SWEEP = Statement(
    b"sweep_calls",
    b"DELETE FROM calls WHERE answer IS NOT NULL AND NOT EXISTS "
    b"(SELECT FROM nodes WHERE nodes.id = calls.asker)",
)
# Of each lane the newest row: a key is the target and the number, eight bytes each. It goes from
# one lane to the next, since most of those that could be there are not.
_HEADS = Statement(
    b"heads_of_lanes",
    b"WITH RECURSIVE lanes AS ("
    b"SELECT source, ''::bytea AS beyond FROM unnest($1::int[]) AS source UNION ALL "
    b"SELECT source, substr(first.key, 1, 8) || '\\xffffffffffffffffff'::bytea FROM lanes "
    b"CROSS JOIN LATERAL (SELECT key FROM outgoing WHERE part = source AND key > beyond "
    b"ORDER BY key LIMIT 1) AS first) "
    b"SELECT source, newest.key FROM lanes CROSS JOIN LATERAL (SELECT key FROM outgoing "
    b"WHERE part = source AND key < beyond ORDER BY key DESC LIMIT 1) AS newest",
)
_CURSORS = Statement(b"cursors_of_all", b"SELECT part, key, value FROM cursors")
_COMMITS = Statement(
    b"commits_of_others",
    b"SELECT part, value FROM unnest($1::int[]) AS other(part) JOIN meta USING (part) "
    b"WHERE key = 'commits'",
)


class OpenCall(NamedTuple):
    """A call that waits for its owner."""

    id: int
    part: int
    kind: str
    request: bytes


class LaneEnds(NamedTuple):
    """How far a lane goes, and how far it was taken; durably, and as of one moment."""

    sent: int
    taken: int


class Seen(NamedTuple):
    """What a look at the database found.

    Attributes:
        commits: by partition of others, what is another one after each commit
        calls: for this node
        answers: to its own, by their ids

    """

    commits: dict[int, bytes]
    calls: list[OpenCall]
    answers: dict[int, bytes]


class Calls:
    """Writes calls, and looks for calls and answers.

    Args:
        look: asks a question on a connection of the readers
        asker: the node

    """

    def __init__(self, look: Callable[..., list[PGresult]], asker: str) -> None:
        self._look = look
        self._asker = asker

    def write(self, calls: Sequence[tuple[int, str, bytes]]) -> list[int]:
        """Write calls: each the partition, what is asked for, and with what. Returns their ids."""
        parts, kinds, requests = zip(*calls, strict=True)
        given = [integers(parts), text(self._asker), texts(kinds), byteas(requests)]
        (found,) = self._look((_WRITE, given))
        return [number_of(found.get_value(row, 0)) for row in range(found.ntuples)]

    def see(
        self,
        owned: Collection[int],
        others: Collection[int],
        known: Collection[int],
        asked: Collection[int],
    ) -> Seen:
        """Look once, in one trip.

        Args:
            owned: partitions for which calls are taken up
            others: partitions whose commits are of interest
            known: ids of calls that were taken up already
            asked: ids of calls whose answers this node waits for

        """
        commits, calls, answers = self._look(
            (_COMMITS, [integers(others)]),
            (_OPEN, [integers(owned), bigints(known), bigint(MOST)]),
            (_ANSWERED, [bigints(asked)]),
        )
        return Seen(
            {
                number_of(commits.get_value(row, 0)): commits.get_value(row, 1) or b""
                for row in range(commits.ntuples)
            },
            [
                OpenCall(
                    number_of(calls.get_value(row, 0)),
                    number_of(calls.get_value(row, 1)),
                    (calls.get_value(row, 2) or b"").decode(),
                    calls.get_value(row, 3) or b"",
                )
                for row in range(calls.ntuples)
            ],
            {
                number_of(answers.get_value(row, 0)): answers.get_value(row, 1) or b""
                for row in range(answers.ntuples)
            },
        )

    def heads(self, sources: Collection[int]) -> dict[tuple[int, int], int]:
        """The number of the newest row of each lane from these partitions: source and target."""
        (found,) = self._look((_HEADS, [integers(sources)]))
        return _heads_from(found)

    def lanes(self, sources: Collection[int]) -> dict[tuple[int, int], LaneEnds]:
        """All lanes from these partitions that hold something, by source and target.

        Where both ends are equal, they were at one moment: what was sent is looked at after what
        was taken.
        """
        cursors, heads = self._look((_CURSORS, ()), (_HEADS, [integers(sources)]))
        taken = {
            (numbered(key), number_of(cursors.get_value(row, 0))): unframe(
                cursors.get_value(row, 2) or b"", "cursors", key
            )
            for row in range(cursors.ntuples)
            if (key := cursors.get_value(row, 1)) is not None
        }
        return {
            lane: LaneEnds(head, int(taken.get(lane, 0)))
            for lane, head in _heads_from(heads).items()
        }

    def are_lanes_empty(self, sources: Collection[int]) -> bool:
        """Whether all that these partitions have sent, durably, was taken, durably."""
        return all(ends.sent == ends.taken for ends in self.lanes(sources).values())

    def answer(self, answers: dict[int, bytes]) -> None:
        """Write what came of calls, by their ids."""
        self._look((_ANSWER, [bigints(answers), byteas(answers.values())]))

    def drop(self, ids: Collection[int]) -> None:
        """Forget calls of this node whose answers it has."""
        self._look((_DROP, [bigints(ids)]))

    def sweep(self) -> None:
        """Forget calls that were answered to nodes that are gone."""
        self._look((_SWEEP, ()))


def _heads_from(result: PGresult) -> dict[tuple[int, int], int]:
    found: dict[tuple[int, int], int] = {}
    for row in range(result.ntuples):
        key = result.get_value(row, 1) or b""
        found[number_of(result.get_value(row, 0)), numbered(key[:8])] = numbered(key[8:])
    return found
