"""Several runtimes over one database: each has its share, and each answers for all partitions."""

from __future__ import annotations

import json
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("psycopg")

from procession import (
    AlreadyEnded,
    Command,
    Domain,
    Event,
    ProcessManager,
    Rejected,
    Runtime,
    handle,
    upcast,
)
from procession.cli import main
from procession.listening.place import sockets_of
from procession.store import partition_of
from tests.actors.cluster.crossing import (
    Called,
    Case,
    Desk,
    Made,
    Make,
    Marked,
    Note,
    NoteMade,
    Numbered,
    Open,
    Opened,
    Part,
    crossing,
)
from tests.actors.cluster.two_nodes import PARTITIONS, PATIENCE, owned, two_nodes, until
from tests.actors.cluster.two_nodes import node as node_of
from tests.postgresql import Server, shared_server

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def server() -> Server:
    return shared_server()


@pytest.fixture
def url(server: Server) -> str:
    return server.new_url(without_tables=True)


def node(url: str, domain: Domain = crossing) -> Runtime:
    return node_of(url, domain)


@pytest.fixture
def both(url: str) -> Iterator[tuple[Runtime, Runtime]]:
    with two_nodes(crossing, url) as opened:
        yield opened


def case_in(partitions: list[int]) -> str:
    return next(
        name
        for name in (f"c{number}" for number in range(1_000))
        if partition_of(name, PARTITIONS) in partitions
    )


def test_each_node_has_its_share_and_answers_for_all(both: tuple[Runtime, Runtime]) -> None:
    for number in range(20):
        runtime = both[number % 2]
        parts = (f"p{number}", f"bad{number}")
        assert runtime.ask(Open(f"c{number}", parts)) == [Opened(f"c{number}", parts)]
    for runtime in both:
        runtime.settle(timeout=PATIENCE)
        assert [view.state["made"] for view in runtime.find(Case)] != []
        for number in range(20):
            view = runtime.get(Case, f"c{number}")
            assert view is not None
            assert view.state["made"] == (f"p{number}",)
            assert view.state["refused"] == (f"bad{number}",)
            made, note = (
                runtime.get(Part, f"p{number}"),
                runtime.get(Note, f"note-c{number}-p{number}"),
            )
            assert made is not None
            assert made.state == {"made": 1}
            assert note is not None
            assert note.state == {"count": 1}


def test_what_is_asked_of_another_node_is_answered_as_by_itself(
    both: tuple[Runtime, Runtime],
) -> None:
    one, other = both
    case = case_in(owned(other))
    assert one.ask(Open(case, ()), command_id="once") == [Opened(case, ())]
    assert one.ask(Open(case, ()), command_id="once") == [Opened(case, ())]
    assert other.ask(Open(case, ()), command_id="once") == [Opened(case, ())]
    assert len(list(one.events(f"crossing::desk-{case}"))) == 1
    assert one.tell(Open(case, ()), command_id="told") == "told"
    assert len(one.tell_many([Open(case, ()), Open(case, ())])) == 2
    one.settle(timeout=PATIENCE)
    assert len(list(one.events(f"crossing::desk-{case}"))) == 4
    assert one.get(Desk, case) == other.get(Desk, case)


def test_a_node_that_closes_leaves_its_share_to_the_others(
    url: str, both: tuple[Runtime, Runtime]
) -> None:
    one, other = both
    other.close()
    assert one.ask(Open(case_in(list(range(PARTITIONS))), ())) != []
    until(lambda: len(owned(one)) == PARTITIONS)
    one.settle(timeout=PATIENCE)


def test_a_node_that_closes_takes_no_call_up_that_it_can_carry_out_no_more(
    both: tuple[Runtime, Runtime], monkeypatch: pytest.MonkeyPatch
) -> None:
    looking: list[bool] = []
    share: Any = both[1]._share  # type: ignore[attr-defined]
    close = share._answering.close

    def closed() -> None:
        looking.append(share._correspondence._thread.is_alive())
        close()

    monkeypatch.setattr(share._answering, "close", closed)
    both[1].close()
    assert looking == [False]


def test_callers_see_nothing_of_a_node_that_comes_and_goes(url: str) -> None:
    errors: list[Exception] = []
    with node(url) as one:
        is_over = threading.Event()

        def ask() -> None:
            number = 0
            while not is_over.is_set():
                try:
                    one.ask(Open(f"c{number}", (f"p{number}",)), timeout=PATIENCE)
                except Exception as error:  # noqa: BLE001 - looked at below
                    errors.append(error)
                number += 1

        thread = threading.Thread(target=ask)
        thread.start()
        for _ in range(3):
            with node(url) as other:
                until(lambda: len(owned(other)) == PARTITIONS // 2)
            until(lambda: len(owned(one)) == PARTITIONS)
        is_over.set()
        thread.join()
        assert errors == []
        one.settle(timeout=PATIENCE)
        assert {len(view.state["made"]) for view in one.find(Case)} == {1}


def test_a_partition_that_was_taken_over_ends_alone(server: Server, url: str) -> None:
    with node(url) as runtime:
        case = case_in([2])
        server.ask(url, "UPDATE owners SET epoch = epoch + 1, token = 'other' WHERE part = 2")
        until(lambda: owned(runtime) == [0, 1, 3])
        assert runtime.ask(Open(case_in([0]), ())) != []
        # The lease of that other one is over after a while, and it has no lock.
        until(lambda: len(owned(runtime)) == PARTITIONS)
        assert runtime.ask(Open(case, ())) == [Opened(case, ())]


def test_a_partition_that_was_taken_without_an_answer_is_run_all_the_same(
    server: Server, url: str
) -> None:
    with node(url) as runtime:
        lease = runtime._share.node.lease  # type: ignore[attr-defined]
        server.ask(url, "UPDATE owners SET epoch = epoch + 1, token = 'other' WHERE part = 2")
        until(lambda: owned(runtime) == [0, 1, 3])
        server.ask(url, "UPDATE owners SET epoch = epoch + 1, token = %s WHERE part = 2", lease.id)
        until(lambda: len(owned(runtime)) == PARTITIONS)
        case = case_in([2])
        assert runtime.ask(Open(case, ())) == [Opened(case, ())]


def test_connections_are_those_of_a_node_however_many_partitions_it_has(server: Server) -> None:
    for partitions in (2, 16):
        url = server.new_url(without_tables=True)
        with Runtime(f"{url}&application_name=counted", crossing, partitions=partitions) as runtime:
            for number in range(20):
                runtime.ask(Open(f"c{number}", (f"p{number}",)))
            runtime.settle(timeout=PATIENCE)
            ((count,),) = server.ask(
                url, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'counted'"
            )
            assert count <= 6


class Pay(Command):
    case: str


class Paid(Event):
    case: str


newer = Domain("crossing")
for _cls in (Desk, Part, Note, Case):
    newer.register(_cls)


@newer.register
class Till(ProcessManager, correlate="case"):
    case: str = ""

    @handle(Paid, start=True)
    def on_paid(self, event: Paid) -> None:
        self.case = event.case


def test_a_node_that_writes_what_another_cannot_read_owns_nothing_until_that_one_is_gone(
    server: Server, url: str
) -> None:
    with node(url) as old, node(url, newer) as new:
        until(lambda: server.ask(url, "SELECT 1 FROM procession_nodes WHERE waits_for <> ''"))
        assert owned(new) == []
        # It is of use all the same.
        assert new.ask(Open("c1", ())) == [Opened("c1", ())]
        old.close()
        until(lambda: len(owned(new)) == PARTITIONS)


class NextCase(Case, correlate="case", unmatched="hold", version=2, name="crossing.Case"):
    @staticmethod
    @upcast(from_version=1)
    def as_it_was(old: dict[str, Any]) -> dict[str, Any]:
        return old


next_states = Domain("crossing")
next_states.register(Opened, Made, Numbered, Marked, Called, NoteMade)
next_states.register(Desk, Part, Note, NextCase)


def test_a_node_that_writes_states_which_another_cannot_read_waits_for_that_one(
    server: Server, url: str
) -> None:
    with node(url) as old, node(url, next_states) as new:
        until(lambda: server.ask(url, "SELECT 1 FROM procession_nodes WHERE waits_for <> ''"))
        assert owned(new) == []
        old.ask(Open("c1", ("p1",)))
        old.settle(timeout=PATIENCE)
        old.close()
        until(lambda: len(owned(new)) == PARTITIONS)
        view = new.get(NextCase, "c1")
        assert view is not None
        assert view.state["made"] == ("p1",)


def test_a_node_that_was_taken_for_gone_comes_behind_those_that_came_meanwhile(
    server: Server, url: str, both: tuple[Runtime, Runtime]
) -> None:
    del both
    names = "SELECT name FROM nodes ORDER BY since, id"
    (first,), (second,) = server.ask(url, names)
    server.ask(
        url,
        "UPDATE nodes SET alive_until = clock_timestamp() - interval '1 second' WHERE name = %s",
        first,
    )
    until(lambda: server.ask(url, names) == [(second,), (first,)])


def test_a_refusal_of_another_node_is_raised_here(both: tuple[Runtime, Runtime]) -> None:
    one, other = both
    part = next(
        f"bad{number}"
        for number in range(1_000)
        if partition_of(f"bad{number}", PARTITIONS) in owned(other)
    )
    with pytest.raises(Rejected, match="it is bad"):
        one.ask(Make(part, "c1"))


def written_twice(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a node write each call again, as it does when the answer to writing it was lost."""
    calls = runtime._share.node.calls  # type: ignore[attr-defined]
    write = calls.write
    monkeypatch.setattr(calls, "write", lambda rows: (write(rows), write(rows))[1])


def test_an_operator_who_asks_through_another_node_has_it_done_once(
    both: tuple[Runtime, Runtime], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = both
    case = case_in(owned(other))
    one.ask(Open(case, ()))
    one.settle(timeout=PATIENCE)
    written_twice(one, monkeypatch)
    assert one.amend(Case, case, marks=3, by="me") == 2
    assert one.amend(Case, case, marks=4, by="me") == 3
    one.settle(timeout=PATIENCE)
    assert [step.handler for step in one.history(Case, case)] == ["on_opened", "amend", "amend"]
    assert one.end(Case, case, reason="a test", by="me") == 4
    with pytest.raises(AlreadyEnded):
        one.end(Case, case, reason="a test", by="me")


class Asked(Event):
    name: str


unsure = Domain("unsure")
is_unsure: list[str] = []


@unsure.register
class Clerk(ProcessManager, correlate="name"):
    name: str = ""

    @handle(Asked, start=True)
    def on_asked(self, event: Asked) -> None:
        if event.name in is_unsure:
            raise ValueError("ask a person")


def test_what_an_operator_retries_and_skips_through_another_node_is_decided_once(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"c{number}" for number in range(8)]
    monkeypatch.setattr(f"{__name__}.is_unsure", list(names))
    with node(url, unsure) as one, node(url, unsure) as other:
        until(lambda: len(owned(one)) == len(owned(other)) == PARTITIONS // 2)
        written_twice(one, monkeypatch)
        for name in names:
            one.publish(Asked(name), stream=f"desk-{name}")
        one.settle(timeout=PATIENCE)
        parked = [each.id for each in one.parked()]
        is_unsure.clear()
        for number, each in enumerate(parked):
            (one.retry if number % 2 else one.skip)(each, by="me")
        one.settle(timeout=PATIENCE)
        assert list(one.parked()) == []
        assert len(list(one.find(Clerk))) == len(parked) // 2
        assert {each.decided_by for each in one.parked(decided=True)} == {"me"}


def test_any_node_answers_what_operators_ask_without_classes(
    url: str, both: tuple[Runtime, Runtime], capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = both
    cases = [case_in(owned(one)), case_in(owned(other))]
    for case in cases:
        one.ask(Open(case, ()))
    one.settle(timeout=PATIENCE)
    dead = sockets_of(url)[-1].with_name("socket-of-one-that-was-killed")
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(dead))
    for case in cases:
        assert main(["amend", "Case", case, "marks=3", "--by", "me", "--store", url]) == 0
    one.close()
    # The other one has a socket of its own.
    assert main(["end", "Case", cases[0], "--reason", "a test", "--store", url, "--yes"]) == 0
    assert main(["health", "--store", url]) == 0
    capsys.readouterr()
    for case in cases:
        view = other.get(Case, case)
        assert view is not None
        assert view.state["marks"] == 3
        assert view.is_complete == (case == cases[0])
    assert dead.exists()
    with node(url):
        assert not dead.exists()


def rows(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    assert main([*arguments, "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_operators_see_the_nodes_drain_one_and_move_partitions(
    url: str, both: tuple[Runtime, Runtime], capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = both
    first, second = (row["node"] for row in rows(capsys, "nodes", "--store", url))
    assert {row["owner"] for row in rows(capsys, "partitions", "--store", url)} == {first, second}
    moved = owned(one)[0]
    assert main(["move", str(moved), second, "--store", url]) == 0
    until(lambda: moved in owned(other))
    assert main(["drain", first, "--store", url]) == 0
    until(lambda: not owned(one) and len(owned(other)) == PARTITIONS)
    assert one.ask(Open("c1", ())) == [Opened("c1", ())]
    assert main(["drain", first, "--undo", "--store", url]) == 0
    until(lambda: len(owned(one)) == PARTITIONS // 2)
    assert main(["drain", "none", "--store", url]) == 2
    assert "has no node 'none'" in capsys.readouterr().err
    assert main(["nodes"]) == 2
    assert "nodes share a store in a database" in capsys.readouterr().err
