"""What the server refuses a node that has lost a partition, and what it keeps of its others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

pytest.importorskip("psycopg")

from procession.store import Append, EventRecord, Step, StoreError, TakenOver, make_divided_store
from procession.store.postgresql import lease, writer
from procession.store.postgresql.connection import Statement
from tests.postgresql import shared_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from procession.store.postgresql.store import PostgresStore

PARTS = (0, 1)


def happened(data: bytes) -> Step:
    return Step(append=Append("s-1", None, [EventRecord("A.B.v1", "s", 0, 1, data, "", "")]))


def seize(url: str, part: int) -> None:
    """Do what another node does that takes a partition over; this one has not heard of it."""
    shared_server().ask(
        url, "UPDATE owners SET epoch = epoch + 1, token = 'another' WHERE part = %s", part
    )


@pytest.fixture
def url() -> str:
    return shared_server().new_url(without_tables=True)


@pytest.fixture
def stores(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[PostgresStore]]:
    """Two partitions of one node, whose thread for the lease sees nothing while the test runs."""
    monkeypatch.setattr(lease, "RENEW_EVERY", 3_600.0)
    divided = make_divided_store(url, len(PARTS))
    node = divided.node()  # type: ignore[attr-defined]
    try:
        node.lease.begin([], [])
        epochs = {row.part: row.epoch for row in node.lease.look()[0]}
        assert node.lease.take(epochs) == list(PARTS)
        opened = [divided.open(part, node=node) for part in PARTS]  # type: ignore[call-arg]
        yield opened  # type: ignore[misc]
        for store in opened:
            store.close()
    finally:
        node.close()


def commit_to_each(stores: list[PostgresStore]) -> list[Exception | None]:
    """Commit a step to each partition; what was told of it."""
    told: list[Exception | None] = []
    for store in stores:
        try:
            store.commit([happened(b"late")])
        except StoreError as error:
            told.append(error)
        else:
            told.append(None)
    return told


def test_a_node_that_lost_a_partition_commits_nothing_to_it_and_all_to_its_others(
    url: str, stores: list[PostgresStore]
) -> None:
    seize(url, 1)
    kept, refused = commit_to_each(stores)
    assert kept is None
    assert isinstance(refused, TakenOver)
    assert [len(list(store.scan_log())) for store in stores] == [1, 0]


def test_without_the_fence_a_node_writes_to_a_partition_that_it_lost(
    url: str, stores: list[PostgresStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So what the test above sees refused is refused by the fence."""
    monkeypatch.setattr(writer, "fence", lambda epochs: (Statement(b"", b"SELECT 1"), ()))
    seize(url, 1)
    assert commit_to_each(stores) == [None, None]
    assert [len(list(store.scan_log())) for store in stores] == [1, 1]
