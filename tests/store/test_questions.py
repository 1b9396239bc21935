"""Questions of several partitions in one statement, over a real server."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("psycopg")

from procession.store.postgresql.address import Address
from procession.store.postgresql.connecting import Connector
from procession.store.postgresql.connection import Statement
from procession.store.postgresql.migrations import make_tables
from procession.store.postgresql.questions import Between, Newest, Question, Together, Values, ask
from procession.store.postgresql.statements import Rows, commit_of
from tests.postgresql import shared_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from procession.store.postgresql.connection import Connection

PARTS = 3
TABLES = ("ids", "log", "meta")
EMPTIED = [
    Statement(f"emptied_{table}".encode(), f'DELETE FROM "{table}"'.encode()) for table in TABLES
]
BEHIND = b"\xff" * 4

keys = st.binary(min_size=1, max_size=2)
tables = st.sampled_from(TABLES)
parts = st.integers(0, PARTS - 1)
some_rows = st.dictionaries(tables, st.dictionaries(keys, st.binary(max_size=3), max_size=4))
some_keys = st.dictionaries(tables, st.lists(keys, max_size=3, unique=True))
commits = st.lists(
    st.builds(Rows, parts, some_rows, some_keys, some_rows),
    max_size=PARTS,
    unique_by=lambda one: one.part,
)
ranges = st.lists(st.tuples(keys, keys | st.just(BEHIND)), min_size=1, max_size=3)
questions = st.lists(
    st.builds(Values, parts, st.lists(st.tuples(tables, keys), min_size=1, max_size=5))
    | st.builds(Newest, parts, tables, ranges)
    | st.builds(Between, parts, tables, keys, keys, st.integers(1, 3), backwards=st.booleans()),
    max_size=6,
)

Model = dict[tuple[int, str], dict[bytes, bytes]]


@pytest.fixture(scope="module")
def connection() -> Iterator[Connection]:
    url = shared_server().new_url(without_tables=True)
    address = Address.parse(url)
    found = Connector(address)()
    make_tables(found, address, PARTS)
    yield found
    found.close()


def carry_out(commit: Rows, model: Model) -> None:
    """Do to the model what a commit does to the tables."""
    for table, rows in commit.puts.items():
        model.setdefault((commit.part, table), {}).update(rows)
    for table, gone in commit.deletes.items():
        for key in gone:
            model.get((commit.part, table), {}).pop(key, None)
    for table, rows in commit.rewritten.items():
        model.setdefault((commit.part, table), {}).update(rows)


def answer(question: Question[Any], model: Model) -> Any:
    """What a model says."""
    if isinstance(question, Values):
        asked = [(table, key) for table, keys in question.by_table.items() for key in keys]
        found = [model.get((question.part, table), {}).get(key) for table, key in asked]
        return question.in_the_order_asked(found)
    assert isinstance(question, Newest)
    rows = sorted(model.get((question.part, question.table), {}).items())
    return [
        max((row for row in rows if low <= row[0] < high), default=None)
        for low, high in question.ranges
    ]


@settings(max_examples=150)
@given(commits, commits, questions)
def test_partitions_that_write_and_ask_together_are_answered_as_if_each_did_alone(
    connection: Connection,
    first: list[Rows],
    second: list[Rows],
    questions: list[Question[Any]],
) -> None:
    connection.run(*((one, ()) for one in EMPTIED))
    model: Model = {}
    for some in (first, second):
        if calls := commit_of(some, new=()):
            connection.run(*calls)
        for one in some:
            carry_out(one, model)

    together = Together(questions)
    answers = together.answers(connection.run(*together.calls) if questions else [])

    assert answers == [ask(lambda call: connection.one(*call), one) for one in questions]
    for question, found in zip(questions, answers, strict=True):
        if not isinstance(question, Between):
            assert found == answer(question, model)


def test_questions_of_a_kind_are_one_statement_and_so_are_the_rows_of_a_table() -> None:
    asked = [Values(part, [("ids", b"a"), ("log", b"b")]) for part in range(100)]
    asked_newest = [Newest(part, "log", [(b"a", b"b")]) for part in range(100)]
    assert len(Together([*asked, *asked_newest]).calls) == 2

    written = [Rows(part, {"ids": {b"a": b""}}, {"log": [b"b"]}) for part in range(100)]
    sent = Counter(statement.name for (statement, _) in commit_of(written, new=("ids",)))
    assert sent.total() == 2
