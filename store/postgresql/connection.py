"""One connection to PostgreSQL: statements that are sent together and answered together.

It is in libpq's pipeline mode, but for a COPY: what is sent together is one trip, and one
transaction unless one was begun before. Nothing here takes a lock, and what is interrupted in the
middle closes the connection, so it may be used in a signal handler by whom it belongs to.
"""

from __future__ import annotations

import os
import select
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from psycopg import OperationalError, pq

from ..errors import DatabaseRefused, StoreError, UnknownFormat
from .parameters import text
from .postgresql_errors import error_for, is_end_of_connection

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import TypeAlias

    from psycopg.pq.abc import PGconn, PGresult

    from .address import Address

__all__ = ["Call", "Connection", "Session", "Statement"]

CONNECT_WITHIN = 10_000
"""Milliseconds without progress after which connecting is given up."""

ANSWER_WITHIN = 60_000
"""Milliseconds without a byte after which an answer is given up."""

OLDEST_SERVER = 120_000
"""As PostgreSQL counts versions: 12."""

_BINARY = 1


class Statement(NamedTuple):
    """SQL that is prepared once in each connection that has it run; each time without a name."""

    name: bytes
    sql: bytes


Call: TypeAlias = "tuple[Statement, Sequence[bytes | None]]"
"""A statement, and its parameters in the binary format."""

# Rows are found by their keys. The planner, which knows nothing of a table that grew a second ago,
# must not come to read it whole; and the statements of one trip are carried out in their order.
_SETTINGS = {
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_bitmapscan": "off",
    "max_parallel_workers_per_gather": "0",
    "plan_cache_mode": "force_generic_plan",
    "jit": "off",
    "idle_in_transaction_session_timeout": "0",
    "statement_timeout": "0",
    "lock_timeout": "0",
}

_SET_UP = Statement(
    b"set_up",
    (
        "SELECT set_config('search_path', quote_ident($1), false), "
        "set_config('default_transaction_read_only', $2, false), "
        "CASE WHEN $3::text <> '' THEN set_config('synchronous_commit', $3, false) "
        "ELSE current_setting('synchronous_commit') END, "
        "current_setting('fsync'), pg_is_in_recovery()::text, "
        + ", ".join(f"set_config('{name}', '{value}', false)" for name, value in _SETTINGS.items())
    ).encode(),
)


class Session(NamedTuple):
    """What a connection is for.

    Attributes:
        is_read_only: whether it refuses to write
        synchronous_commit: what to set it to; empty for what the server, role or database says

    """

    is_read_only: bool = False
    synchronous_commit: str = ""


class Connection:
    """A connection, for one thread at a time.

    Args:
        address: where to
        session: what for

    Attributes:
        is_broken: whether it is of no use any more
        synchronous_commit: as the session has it
        fsync: as the server has it
        is_standby: whether the server only follows another one
        trips: how often something was sent and waited for

    Raises:
        DatabaseRefused: the server could not be reached, or did not let this user in
        UnknownFormat: the server is too old

    """

    def __init__(self, address: Address, session: Session = Session()) -> None:  # noqa: B008 - immutable
        self._address = address
        self.is_broken = False
        self.trips = 0
        self._prepared: set[bytes] = set()
        self._pg = pg = _connect(address)
        self._poll = select.poll()
        self._poll.register(pg.socket, select.POLLIN)
        self._owner = os.getpid()
        try:
            _refuse_old(pg, address)
            pg.nonblocking = 1
            pg.enter_pipeline_mode()
            read_only = "on" if session.is_read_only else "off"
            given = [address.schema, read_only, session.synchronous_commit]
            found = self.one(_SET_UP, [text(one) for one in given])
            said = [(found.get_value(0, column) or b"").decode() for column in range(5)]
            self.synchronous_commit, self.fsync = said[2], said[3]
            self.is_standby = said[4] == "true"
        except BaseException:
            self.close()
            raise

    def fileno(self) -> int:
        """The socket, which can be read from when the server says something unasked."""
        return self._pg.socket

    def is_fresh(self) -> bool:
        """Whether the server has said nothing since it was used last, which is that it ends it."""
        if not self.is_broken and self._poll.poll(0):
            self.close()
        return not self.is_broken

    def one(self, statement: Statement, parameters: Sequence[bytes | None] = ()) -> PGresult:
        """As `run`, of one statement."""
        return self.run((statement, parameters))[0]

    def run(self, *calls: Call) -> list[PGresult]:
        """Have statements carried out in one trip, in their order, and get their answers.

        Unless a transaction was begun before, they are one: if one fails, nothing of any is kept.

        Raises:
            StoreError: the server refused; if `is_broken` is set, it may have carried it out

        """
        pg, prepared = self._pg, self._prepared
        self.trips += 1
        # In the order of the answers: the name of what is prepared, or None for what is wanted.
        sent: list[bytes | None] = []
        with self._closed_on_failure():
            for (name, sql), parameters in calls:
                if name not in prepared and (not name or name not in sent):
                    pg.send_prepare(name, sql)
                    sent.append(name)
                pg.send_query_prepared(name, parameters, [_BINARY] * len(parameters), _BINARY)
                sent.append(None)
            pg.pipeline_sync()
            self._send()
            found, refused = self._answers(sent)
        if refused is not None:
            raise error_for(refused, self._address)
        return found

    def copy_in(self, sql: bytes, parts: Iterable[bytes]) -> None:
        """Have a COPY take what is given, which the server does while more of it is made.

        Raises:
            StoreError: as `run`

        """
        pg = self._pg
        with self._closed_on_failure():
            self.trips += 1
            pg.exit_pipeline_mode()
            pg.send_query(sql)
            self._send()
            refused = self._refusal_of_copy()
            if refused is None:
                for one in parts:
                    pg.put_copy_data(one)
                    self._send()
                pg.put_copy_end()
                self._send()
                refused = self._refusal_of_copy()
            pg.enter_pipeline_mode()
        if refused is not None:
            raise error_for(refused, self._address)

    def _refusal_of_copy(self) -> PGresult | None:
        """What the server says against a COPY, once it waits for rows, or has them all."""
        refused: PGresult | None = None
        while (result := self._next_result()) is not None:
            if result.status == pq.ExecStatus.COPY_IN:
                return None
            if result.status == pq.ExecStatus.FATAL_ERROR:
                refused = result
        return refused

    @contextmanager
    def _closed_on_failure(self) -> Iterator[None]:
        try:
            yield
        except OperationalError as error:
            self.close()
            raise self._lost(str(error)) from error
        except BaseException:
            # Its answer would be taken for that to the next question.
            self.close()
            raise

    def _send(self) -> None:
        pg = self._pg
        while pg.flush():
            # The server may wait until some of its answers are taken.
            poll = select.poll()
            poll.register(pg.socket, select.POLLIN | select.POLLOUT)
            if not poll.poll(ANSWER_WITHIN):
                raise self._silent()
            pg.consume_input()

    def _answers(self, sent: list[bytes | None]) -> tuple[list[PGresult], PGresult | None]:
        prepared = self._prepared
        found: list[PGresult] = []
        refused: PGresult | None = None
        place = 0
        while True:
            result = self._next_result()
            if result is None:
                # The end of what answers one of them.
                place += 1
                continue
            status = result.status
            if status == pq.ExecStatus.PIPELINE_SYNC:
                return found, refused
            if status == pq.ExecStatus.FATAL_ERROR:
                refused = refused or result
            elif status != pq.ExecStatus.PIPELINE_ABORTED:
                name = sent[place]
                if name is None:
                    found.append(result)
                elif name:
                    prepared.add(name)

    def _next_result(self) -> PGresult | None:
        pg, poll = self._pg, self._poll.poll
        while pg.is_busy():
            if not poll(ANSWER_WITHIN):
                raise self._silent()
            pg.consume_input()
        result = pg.get_result()
        if (
            result is not None
            and result.status == pq.ExecStatus.FATAL_ERROR
            and (is_end_of_connection(result) or pg.status == pq.ConnStatus.BAD)
        ):
            self.close()
            raise self._lost(result.get_error_message())
        return result

    def _silent(self) -> DatabaseRefused:
        self.close()
        return self._lost(f"it said nothing for {ANSWER_WITHIN // 1000} seconds")

    def _lost(self, why: str) -> DatabaseRefused:
        return DatabaseRefused(
            f"the connection to {self._address} broke: {_in_a_line(why)}. It is made again by "
            f"itself as soon as the server answers"
        )

    def close(self) -> None:
        """Let go of it, whatever state it is in."""
        self.is_broken = True
        # In a child, this would end the connection of the parent.
        if os.getpid() == self._owner:
            self._pg.finish()


def _refuse_old(pg: PGconn, address: Address) -> None:
    if pg.server_version < OLDEST_SERVER:
        raise UnknownFormat(
            f"the server at {address} is PostgreSQL {pg.server_version // 10_000}; a store needs "
            f"version {OLDEST_SERVER // 10_000} or newer"
        )


def _connect(address: Address) -> PGconn:
    conninfo = address.conninfo.encode()
    try:
        pq.Conninfo.parse(conninfo)
    except OperationalError:
        # What it says may have the password in it.
        raise StoreError(f"{address} is no address that PostgreSQL understands") from None
    pg = pq.PGconn.connect_start(conninfo)
    while True:
        if pg.status == pq.ConnStatus.BAD:
            raise _unreachable(address, pg.get_error_message())
        state = pg.connect_poll()
        if state == pq.PollingStatus.OK:
            return pg
        if state == pq.PollingStatus.FAILED:
            raise _unreachable(address, pg.get_error_message())
        wanted = select.POLLIN if state == pq.PollingStatus.READING else select.POLLOUT
        # It may be another socket each time.
        poll = select.poll()
        poll.register(pg.socket, wanted)
        if not poll.poll(CONNECT_WITHIN):
            raise _unreachable(address, f"no answer for {CONNECT_WITHIN // 1000} seconds")


def _unreachable(address: Address, why: str) -> DatabaseRefused:
    return DatabaseRefused(
        f"no connection to {address}: {_in_a_line(why)}. See whether the server runs, and lets "
        f"this user in"
    )


def _in_a_line(said: str) -> str:
    """What libpq says, as a part of a sentence."""
    return " ".join(said.split()).rstrip(".")
