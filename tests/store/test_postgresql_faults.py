"""What goes wrong around a store in a database: owners that die, hang and come back, servers that
end, connections that break, and answers that are lost."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from psycopg import connect

from procession.store import (
    Append,
    DatabaseRefused,
    EventRecord,
    LockedStore,
    ReadOnlyStore,
    Step,
    StorageEngine,
    StoreError,
    TakenOver,
)
from procession.store.postgresql import ownership
from procession.store.postgresql.engine import PostgresEngine
from procession.store.postgresql.store import PostgresStore
from tests.postgresql import Server, new_server, shared_server
from tests.proxy import Proxy, proxy_to

ROOT = Path(__file__).parents[2]
MARK = b"a row that the proxy knows again"


@pytest.fixture
def server() -> Server:
    return shared_server()


@pytest.fixture
def url(server: Server) -> str:
    return server.new_url()


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    with proxy_to(server.port) as proxy:
        yield proxy


def put(engine: StorageEngine, key: bytes, value: bytes = b"value") -> str:
    ticket = engine.commit({"checkpoints": {key: value}}, {})
    assert (ticket.outcome == "committed") == (ticket.error is None)
    return ticket.outcome


def keys_of(engine: StorageEngine) -> list[bytes]:
    return [key for key, _ in engine.range("checkpoints", b"", b"\xff", 1_000)]


def happened(data: str) -> Step:
    return Step(append=Append("s", None, [EventRecord("A.B.v1", "s", 0, 1, data.encode(), "", "")]))


def log_of(store: PostgresStore) -> list[bytes]:
    return [event.data for event in store.scan_log()]


# One owner


def test_a_store_that_a_living_process_has_is_refused_to_another_one(url: str) -> None:
    with PostgresStore(url), pytest.raises(LockedStore, match=f"by process {os.getpid()} on "):
        PostgresStore(url)
    PostgresStore(url).close()


def test_a_store_is_read_beside_its_owner(url: str) -> None:
    with PostgresStore(url) as store, PostgresStore(url, read_only=True) as reader:
        store.commit([happened("first")])
        assert log_of(reader) == [b"first"]
        with pytest.raises(ReadOnlyStore):
            reader.commit([happened("second")])


def test_what_waits_for_the_owner_goes_on_when_that_closes(url: str) -> None:
    first = PostgresEngine(url)
    opened: list[PostgresEngine] = []
    waiting = threading.Thread(
        target=lambda: opened.append(PostgresEngine(f"{url}&wait_for_owner=60"))
    )
    waiting.start()
    assert put(first, b"a") == "committed"
    first.close()
    waiting.join()
    assert keys_of(opened[0]) == [b"a"]
    opened[0].close()


def seize(server: Server, url: str) -> None:
    """Do what another process does that takes a store over."""
    server.ask(url, "UPDATE owners SET epoch = epoch + 1, token = 'another', owner = 'another one'")


def test_a_commit_of_an_owner_that_was_replaced_writes_nothing(server: Server, url: str) -> None:
    zombie = PostgresEngine(url)
    assert put(zombie, b"a") == "committed"
    # It has not heard of it.
    seize(server, url)
    ticket = zombie.commit(
        {"checkpoints": {b"b": b""}, "log": {b"1": b""}}, {"checkpoints": [b"a"]}
    )
    assert ticket.outcome == "failed"
    assert isinstance(ticket.error, TakenOver)
    assert "another one" in str(ticket.error)
    assert keys_of(zombie) == [b"a"]
    assert zombie.range("log", b"", b"\xff", 9) == []
    # And so it stays.
    assert put(zombie, b"c") == "failed"
    zombie.close()
    assert server.ask(url, "SELECT token FROM owners") == [("another",)]


def test_an_owner_is_not_replaced_in_the_middle_of_its_commit(server: Server, url: str) -> None:
    PostgresEngine(url).close()
    schema = url.partition("schema=")[2]
    with connect(server.url(), autocommit=True) as owner:
        owner.execute(f'SET search_path = "{schema}"')
        owner.execute("BEGIN")
        owner.execute("SELECT fence(ARRAY[0], ARRAY[epoch]) FROM owners")
        opened: list[PostgresEngine] = []
        taking = threading.Thread(target=lambda: opened.append(PostgresEngine(url)))
        taking.start()
        waits = (
            "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
            "AND query LIKE '%%taken%%'"
        )
        while not server.ask(url, waits):
            assert taking.is_alive()
        owner.execute("INSERT INTO checkpoints VALUES (0, 'a', '')")
        owner.execute("COMMIT")
        taking.join()
    assert keys_of(opened[0]) == [b"a"]
    opened[0].close()


OWNER = """
import sys
from itertools import count
from procession.store.postgresql import ownership
ownership.LEASE, ownership.RENEW_EVERY = float(sys.argv[2]), float(sys.argv[3])
from procession.store import TakenOver
from procession.store.postgresql.engine import PostgresEngine
engine = PostgresEngine(sys.argv[1])
for number in count():
    ticket = engine.commit({"log": {b"%08d" % number: b""}}, {})
    if ticket.error is not None:
        print(type(ticket.error).__name__, flush=True)
        break
    print(number, flush=True)
"""


@contextmanager
def owner_of(url: str, lease: float) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the store, and commits one row after the other."""
    command = [sys.executable, "-c", OWNER, url, str(lease), str(lease / 3)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    with process:
        assert process.stdout.readline() == "0\n"
        yield process
        process.kill()


def said_by(owner: subprocess.Popen[str]) -> list[str]:
    """All that it says until it ends, and what it said before."""
    assert owner.stdout is not None
    return ["0", *owner.stdout.read().split()]


def numbers_in(engine: PostgresEngine) -> list[int]:
    return [int(key) for key, _ in engine.range("log", b"", b"\xff", 1 << 30)]


def test_the_store_of_a_process_that_was_killed_is_taken_over_before_its_lease_ends(
    url: str,
) -> None:
    with owner_of(url, lease=3600) as owner:
        owner.kill()
        said = said_by(owner)
    engine = PostgresEngine(url)
    found = numbers_in(engine)
    assert found == list(range(len(found)))
    assert int(said[-1]) in {found[-1], found[-1] - 1}
    engine.close()


def test_a_process_that_hangs_is_replaced_and_refused_when_it_goes_on(url: str) -> None:
    with owner_of(url, lease=0.6) as owner:
        owner.send_signal(signal.SIGSTOP)
        with PostgresStore(f"{url}&wait_for_owner=60") as store:
            before = numbers_in(store._tables)
            owner.send_signal(signal.SIGCONT)
            assert said_by(owner)[-1] == "TakenOver"
            assert numbers_in(store._tables) == before
            assert store.commit([]) == []


# Connections


def end_connections(server: Server) -> None:
    server.ask(
        server.url("public"),
        "SELECT pg_terminate_backend(pid, 20000) FROM pg_stat_activity "
        "WHERE application_name = 'procession'",
    )


def test_connections_that_the_server_ended_are_made_again_unseen(server: Server, url: str) -> None:
    with PostgresStore(url) as store:
        for number in range(3):
            store.commit([happened(str(number))])
            end_connections(server)
            assert store.last_position() == number + 1
        assert log_of(store) == [b"0", b"1", b"2"]


def test_an_owner_whose_connections_broke_keeps_the_store(server: Server, url: str) -> None:
    with PostgresStore(url) as store:
        end_connections(server)
        with pytest.raises(LockedStore):
            PostgresStore(url)
        store.commit([happened("first")])


# Answers


def through(proxy: Proxy, server: Server, url: str) -> str:
    return server.url(url.partition("schema=")[2], proxy.port)


def test_a_commit_whose_answer_was_lost_is_found_and_counts(
    server: Server, url: str, proxy: Proxy
) -> None:
    with PostgresStore(through(proxy, server, url)) as store:
        store.commit([happened("first")])
        proxy.loses_answer_to = MARK
        store.commit([happened(MARK.decode())])
        assert proxy.has_lost.is_set()
        store.commit([happened("third")])
        assert log_of(store) == [b"first", MARK, b"third"]


def test_a_commit_that_never_came_is_not_carried_out_later(
    server: Server, url: str, proxy: Proxy
) -> None:
    with PostgresStore(through(proxy, server, url)) as store:
        store.commit([happened("first")])
        proxy.holds_back = MARK
        with pytest.raises(DatabaseRefused):
            store.commit([happened(MARK.decode())])
        assert not store.is_unsure
        # What was on its way comes to the server now, when its caller was told that it failed.
        assert b"PX001" in proxy.release()
        assert log_of(store) == [b"first"]
        store.commit([happened("second")])
        assert log_of(store) == [b"first", b"second"]


def test_a_commit_of_which_nothing_is_known_is_never_taken_for_that_of_another_owner(
    server: Server, url: str, proxy: Proxy
) -> None:
    with PostgresStore(through(proxy, server, url)) as store:
        store.commit([happened("first")])
        proxy.loses_answer_to = MARK
        commit = store._tables._claim
        assert commit is not None
        raise_epoch = commit.raise_epoch

        def raise_late(connection: object) -> None:
            seize(server, url)
            raise_epoch(connection)  # type: ignore[arg-type]

        commit.raise_epoch = raise_late  # type: ignore[method-assign]
        with pytest.raises(TakenOver):
            store.commit([happened(MARK.decode())])
        assert store.is_unsure
        with pytest.raises(TakenOver):
            store.commit([happened("third")])


# The server


def test_a_store_goes_on_when_its_server_is_there_again() -> None:
    with new_server() as server, PostgresStore(server.new_url()) as store:
        store.commit([happened("first")])
        server.stop()
        with pytest.raises(DatabaseRefused, match="no connection to postgresql://postgres@"):
            store.commit([happened("lost")])
        with pytest.raises(DatabaseRefused):
            store.last_transition_number()
        server.start()
        store.commit([happened("second")])
        assert log_of(store) == [b"first", b"second"]


def test_a_signal_handler_reads_while_its_thread_reads(url: str) -> None:
    engine = PostgresEngine(url)
    put(engine, b"a")
    found: list[list[bytes | None]] = []
    before = signal.signal(
        signal.SIGALRM, lambda *_: found.append(engine.get_many([("checkpoints", b"a")]))
    )
    try:
        while len(found) < 50:
            signal.setitimer(signal.ITIMER_REAL, 0.000_2)
            assert engine.get_many([("checkpoints", b"a")]) == [b"value"]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert found == [[b"value"]] * len(found)
    engine.close()


def test_a_connection_that_was_interrupted_is_used_for_nothing_more(url: str) -> None:
    engine = PostgresEngine(url)
    put(engine, b"a", b"1")
    put(engine, b"b", b"2")
    interrupted = 0

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        while interrupted < 20:
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.000_3)
                while True:
                    engine.get_many([("checkpoints", b"a")])
            except KeyboardInterrupt:
                interrupted += 1
            assert engine.get_many([("checkpoints", b"b")]) == [b"2"]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert len(engine._readers._idle) <= 2
    engine.close()


def test_many_threads_read_by_few_connections(url: str) -> None:
    engine = PostgresEngine(url)
    put(engine, b"a")
    most: list[int] = []

    def read() -> None:
        for _ in range(50):
            assert engine.get_many([("checkpoints", b"a")]) == [b"value"]
            most.append(len(engine._readers._lent) + len(engine._readers._idle))

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) <= 4
    engine.close()


def test_a_lease_is_kept_while_nothing_is_committed(
    url: str, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    monkeypatch.setattr(ownership, "RENEW_EVERY", 0.01)
    engine = PostgresEngine(url)
    (first,) = server.ask(url, "SELECT leased_until FROM owners")
    while server.ask(url, "SELECT leased_until FROM owners") == [first]:
        pass
    engine.close()
    with pytest.raises(StoreError, match="closed"):
        engine.check_usable()


def test_a_forked_child_is_refused_and_harms_no_connection_of_its_parent(url: str) -> None:
    engine = PostgresEngine(url)
    put(engine, b"a")
    child = os.fork()
    if not child:
        refused = 0
        for use in (
            lambda: engine.get_many([("checkpoints", b"a")]),
            lambda: engine.range("checkpoints", b"", b"\xff", 1),
            lambda: put(engine, b"b"),
            lambda: engine.snapshot().__enter__(),
        ):
            try:
                use()
            except ReadOnlyStore:
                refused += 1
        engine.close()
        os._exit(refused)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 4
    assert put(engine, b"b") == "committed"
    assert keys_of(engine) == [b"a", b"b"]
    with pytest.raises(LockedStore):
        PostgresEngine(url)
    engine.close()
