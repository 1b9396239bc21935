"""Calls to a service in another process, and to a store that no process has open."""

import asyncio
import json
import queue
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from decimal import Decimal
from itertools import repeat
from typing import Any

import pytest

from procession import Indexed, LockedStore, Runtime
from procession.control import instances as control_instances
from procession.control import serving
from procession.control.application import _followed, _response, application
from procession.control.calls import (
    CALLS,
    Amend,
    Call,
    CancelTimeout,
    Decide,
    End,
    Events,
    Graph,
    Health,
    Instance,
    Instances,
    MoveTimeout,
    Parked,
    ParkedGroups,
    Processes,
    Rebuild,
    Refresh,
    RefreshAll,
    Selected,
    Stats,
    Stuck,
    Tail,
    Timeouts,
    Trace,
    Why,
)
from procession.control.client import Client, Refused, connect
from procession.control.face import CannotAct, Face
from procession.control.following import Following
from procession.control.instances import Status, instances
from procession.control.people import caller
from procession.control.plain import STILL, plain, unpacked
from procession.listening.listener import Listener, Serve, Waker
from procession.messages.typed import typed
from procession.store import Store
from tests.actors.control.service import Service, running, short_folder
from tests.actors.control.shop import PlaceOrder, shop


def test_what_is_followed_ends_with_a_sentence_when_the_service_is_closed() -> None:
    async def follow() -> list[str]:
        found: list[str] = []
        with Runtime.ephemeral(shop) as runtime:
            runtime.ask(PlaceOrder("good", 1))
            following = Following(Face(runtime))
            async for line in _followed(following):
                found.append(line)
                # As by another thread, in the middle of it.
                runtime.close()
        return found

    first, *_, last = asyncio.run(follow())
    assert "OrderPlaced" in first
    assert "closed" in last


def test_a_search_ends_when_its_client_has_gone() -> None:
    async def gone() -> dict[str, str]:
        return {"type": "http.disconnect"}

    async def unheard(message: object) -> None:
        del message

    async def answered() -> None:
        endless = _response(repeat(STILL))
        await endless({"type": "http", "asgi": {"spec_version": "2.3"}}, gone, unheard)

    asyncio.run(asyncio.wait_for(answered(), 30))


def test_a_search_says_that_it_goes_on_and_its_client_gets_rows_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(control_instances, "BETWEEN", 2)
    with short_folder() as folder, Runtime(folder / "store", shop) as runtime:
        for number in range(5):
            runtime.ask(PlaceOrder(f"o{number}", number))
        runtime.settle(timeout=10)
        runtime.backup(folder / "copy")
        searched = instances(Face(runtime), "Fulfilment", where={"amount": "4"}, limit=5)
        assert [row is STILL for row in searched] == [True, True, False]
        call = Instances(process="Fulfilment", where={"amount": "4"})
        for store, is_service in ((folder / "store", True), (folder / "copy", False)):
            with connect(store) as client:
                assert client.is_service is is_service
                assert [row["id"] for row in client.rows(call)] == ["o4"]


@contextmanager
def shop_with_orders() -> Iterator[Service]:
    with short_folder() as folder, running(folder / "store") as service:
        service.tell("place good", "place bad1", "place bad2", "place open1")
        yield service


@pytest.fixture
def service() -> Iterator[Service]:
    with shop_with_orders() as service:
        yield service


@pytest.fixture(scope="module", params=["service", "store"])
def client(request: pytest.FixtureRequest) -> Iterator[Client]:
    """A client of the running service, and one of the store when the service has ended."""
    with shop_with_orders() as service:
        if request.param == "store":
            service.close()
        with connect(service.store, [shop]) as client:
            assert client.is_service is (request.param == "service")
            yield client


def rows(client: Client, call: Any) -> list[dict[str, Any]]:
    return list(client.rows(call))


def test_processes_are_counted_by_status(client: Client) -> None:
    assert rows(client, Processes()) == [
        {
            "process": "shop.Fulfilment",
            "running": 1,
            "suspended": 2,
            "complete": 1,
            "backlog": 0,
            "oldest": None,
        }
    ]


def test_instances_are_found_by_status_and_by_fields(client: Client) -> None:
    def ids(**wanted: Any) -> list[str]:
        return [one["id"] for one in rows(client, Instances(process="Fulfilment", **wanted))]

    assert ids() == ["good", "bad1", "bad2", "open1"]
    assert ids(status=[Status.SUSPENDED]) == ["bad1", "bad2"]
    assert ids(status=[Status.COMPLETE, Status.RUNNING]) == ["good", "open1"]
    assert ids(where={"order_id": "bad2"}) == ["bad2"]
    assert ids(where={"amount": "7", "status": "charged"}) == ["good"]
    assert ids(where={"amount": "8"}) == []
    assert ids(limit=2) == ["good", "bad1"]
    assert ids(after="bad1") == ["bad2", "open1"]
    assert ids(after="bad1", status=[Status.SUSPENDED]) == ["bad2"]
    assert ids(after="open1") == []


def test_an_instance_shows_its_state_what_it_waits_for_and_what_changed_it(client: Client) -> None:
    found = client.one(Instance(process="shop.Fulfilment", id="good"))
    assert (found["status"], found["version"]) == ("complete", 2)
    assert found["state"] == {
        "order_id": "good",
        "status": "charged",
        "amount": 7,
        "card": "card-good",
    }
    first, second = found["history"]
    assert first["handler"] == "on_placed"
    assert first["type"] == "shop.OrderPlaced.v1"
    assert first["changes"]["status"] == [None, "charging"]
    assert [one["type"] for one in first["commands"]] == ["shop.Charge.v1"]
    assert second["changes"] == {"status": ["charging", "charged"]}
    assert second["is_complete"]

    waits = client.one(Instance(process="Fulfilment", id="bad1", limit=1))
    assert waits["parked"] == {
        "id": 1,
        "error": "tests.actors.control.shop.CardDeclined: card of bad1",
    }
    assert list(waits["due"]) == ["payment"]
    assert [one["version"] for one in waits["history"]] == [1]
    assert client.one(Instance(process="Fulfilment", id="nobody")) is None


def test_what_is_parked_is_grouped_and_never_by_the_text_of_an_error(client: Client) -> None:
    [group] = rows(client, ParkedGroups())
    assert (group["process"], group["count"]) == ("shop.Fulfilment", 2)
    assert group["error_type"].endswith("CardDeclined")
    assert group["handler"] == "on_charged"
    assert "shop.py:" in group["place"]
    assert rows(client, ParkedGroups(process="Fulfilment")) == [group]


def test_what_is_parked_is_listed_by_error_and_by_process(client: Client) -> None:
    def ids(**wanted: Any) -> list[int]:
        return [one["id"] for one in rows(client, Parked(**wanted))]

    assert ids() == [1, 2]
    assert ids(error="CardDeclined", process="Fulfilment") == [1, 2]
    assert ids(error="tests.actors.control.shop.CardDeclined", after=1) == [2]
    assert ids(error="Declined") == []
    assert ids(decided=True) == []
    assert rows(client, Parked(limit=1))[0]["error"] == "card of bad1"
    assert client.one(Selected(error="CardDeclined")) == {"count": 2, "until": 2}
    assert client.one(Selected(ids=[2])) == {"count": 1, "until": 2}


def test_what_does_not_move_and_what_is_due_are_listed(client: Client) -> None:
    found = rows(client, Stuck(seconds=0))
    assert {one["id"]: one["parked"] and one["parked"]["id"] for one in found} == {
        "bad1": 1,
        "bad2": 2,
        "open1": None,
    }
    assert rows(client, Stuck(seconds=3600)) == []
    due = rows(client, Timeouts(process="Fulfilment"))
    assert {(one["id"], one["name"]) for one in due} == {
        ("bad1", "payment"),
        ("bad2", "payment"),
        ("open1", "payment"),
    }
    assert [one["id"] for one in rows(client, Timeouts(id="open1"))] == ["open1"]
    assert len(rows(client, Timeouts(limit=1))) == 1


def test_events_are_listed_without_their_classes(client: Client) -> None:
    first, *_ = rows(client, Events(stream="shop::order"))
    assert first["type"] == "shop.OrderPlaced.v1"
    assert first["data"] == {"order_id": "good", "amount": 7}
    assert [one["stream"] for one in rows(client, Events(stream="shop::payment-bad1"))] == [
        "shop::payment-bad1"
    ]
    everything = rows(client, Events())
    assert [one["position"] for one in everything] == list(range(1, len(everything) + 1))
    assert rows(client, Events(limit=1)) == everything[-1:]
    assert rows(client, Events(after=2, limit=1)) == everything[2:3]


def test_the_end_of_the_log_is_printed_as_events_or_as_steps(client: Client) -> None:
    assert [one["position"] for one in rows(client, Tail(last=2))] == [6, 7]
    assert [one["stream"] for one in rows(client, Tail(stream="shop::order-good", last=99))] == [
        "shop::order-good"
    ]
    steps = rows(client, Tail(process="Fulfilment", last=99))
    assert ("good", "on_charged", True) in {
        (one["id"], one["handler"], one["is_complete"]) for one in steps
    }


def test_a_browser_follows_by_server_sent_events_and_goes_on_where_it_was() -> None:
    def first_of(seen: str | None, count: int) -> list[tuple[str, Any]]:
        """Events as an `EventSource` gets them, until there are so many."""
        found: list[tuple[str, Any]] = []
        headers = [(b"accept", b"text/event-stream")]
        if seen is not None:
            headers.append((b"last-event-id", seen.encode()))
        scope = {
            "type": "http",
            "method": "GET",
            "path": "/tail",
            "query_string": b"last=99&kinds=event&kinds=transition",
            "headers": headers,
        }

        class Enough(Exception):
            pass

        async def unheard() -> dict[str, Any]:
            await asyncio.sleep(3600)
            raise AssertionError

        async def heard(message: Any) -> None:
            for block in message.get("body", b"").decode().split("\n\n"):
                if block.startswith("id: "):
                    name, data = block.removeprefix("id: ").split("\ndata: ")
                    found.append((name, json.loads(data)))
                    if len(found) == count:
                        raise Enough

        with suppress(Enough, BaseExceptionGroup):
            asyncio.run(application(face, lambda *_: "a test")(scope, unheard, heard))
        return found

    with Runtime.ephemeral(shop) as runtime:
        runtime.ask(PlaceOrder("good", 1))
        runtime.settle(timeout=10)
        face = Face(runtime)
        whole = first_of(None, 4)
        assert [row["kind"] for _, row in whole] == ["event", "transition"] * 2
        assert first_of(whole[1][0], 2) == whole[2:]


def test_why_trace_and_graph_are_explained(client: Client) -> None:
    [row] = rows(client, Why(event="shop::payment-good@1"))
    assert (row["instance"], row["outcome"]) == ("good", "stepped")
    tree = rows(client, Trace(event="shop::payment-good@1"))
    assert [(one["depth"], one["kind"]) for one in tree][:3] == [
        (0, "command"),
        (1, "event"),
        (2, "transition"),
    ]
    assert "Fulfilment" in client.one(Graph())["shop"]


def test_a_name_that_is_none_is_refused_with_those_that_there_are(client: Client) -> None:
    with pytest.raises(Exception, match=r"no process manager 'Nothing'.*shop\.Fulfilment"):
        rows(client, Instances(process="Nothing"))
    with pytest.raises(Exception, match="no event has the id 'x'"):
        rows(client, Why(event="x"))


def test_a_service_says_how_it_is(service: Service) -> None:
    with connect(service.store) as client:
        assert client.one(Stats())["transitions"] == 5
        health = client.one(Health())
        assert not health["is_healthy"]
        assert [one["name"] for one in health["problems"]] == ["parked"]
    service.close()
    with connect(service.store) as client:
        assert client.one(Health())["problems"][0]["name"] == "not_running"
        with pytest.raises(CannotAct, match="stats needs a running service"):
            client.one(Stats())


def test_a_kind_of_error_is_retried_to_completion_and_it_is_recorded_who_did_it(
    service: Service,
) -> None:
    service.tell("mend")
    with connect(service.store, acts=True, by="maria") as client:
        told = rows(client, Decide(verdict="retry", error="CardDeclined", until=1))
        assert told == [{"id": 1, "done": True}]
        told = rows(client, Decide(verdict="retry", ids=[1, 2]))
        assert [one["done"] for one in told] == [False, True]
        assert "retry was decided" in told[0]["why"]
        service.tell("settle")
        [decided, _] = rows(client, Parked(decided=True))
        assert decided["decided_by"].startswith("maria (as claimed by uid ")
        status = [Status.COMPLETE]
        found = rows(client, Instances(process="Fulfilment", status=status))
        assert [one["id"] for one in found] == ["good", "bad1", "bad2"]


def test_skipped_work_stays_undone(service: Service) -> None:
    with connect(service.store, acts=True) as client:
        assert rows(client, Decide(verdict="skip", process="Fulfilment")) == [
            {"id": 1, "done": True},
            {"id": 2, "done": True},
        ]
        service.tell("settle")
        assert rows(client, Parked()) == []
        [one, _] = rows(client, Parked(decided=True))
        assert one["decided_by"].startswith("uid ")


def test_a_timeout_is_moved_and_cancelled(service: Service) -> None:
    with connect(service.store, acts=True, by="maria") as client:
        whose: dict[str, Any] = {"process": "Fulfilment", "id": "open1", "name": "payment"}
        when = "2030-01-01T00:00:00+00:00"
        assert client.one(MoveTimeout(**whose, when=when)) == {"was_set": True}
        assert rows(client, Timeouts(id="open1"))[0]["due"] == when
        note = client.one(Instance(process="Fulfilment", id="open1"))["history"][-1]["note"]
        assert "maria (as claimed by uid " in note
        assert client.one(CancelTimeout(**whose)) == {"was_set": True}
        assert client.one(CancelTimeout(**whose)) == {"was_set": False}
        for unfit in ("soon", "2030-01-01T00:00:00"):
            with pytest.raises(Refused, match="is no time; give seconds"):
                client.one(MoveTimeout(**whose, when=unfit))


def test_an_instance_is_ended_as_it_was_seen(service: Service) -> None:
    with connect(service.store, acts=True, by="maria") as client:
        whose: dict[str, Any] = {"process": "Fulfilment", "id": "open1"}
        with pytest.raises(Refused, match="version"):
            client.one(End(**whose, reason="not wanted", version=7))
        assert client.one(End(**whose, reason="not wanted", version=1)) == {"version": 2}
        found = client.one(Instance(**whose))
        assert (found["status"], found["due"]) == ("complete", {})
        assert "not wanted" in found["history"][-1]["note"]
        with pytest.raises(Refused):
            client.one(End(**whose, reason="again"))


def test_an_instance_is_amended_and_what_suspends_it_is_tried_again(service: Service) -> None:
    service.tell("mend")
    with connect(service.store, acts=True, by="maria") as client:
        whose: dict[str, Any] = {"process": "Fulfilment", "id": "bad1"}
        client.one(Amend(**whose, fields={"amount": "12", "status": "7"}, retry=True))
        service.tell("settle")
        found = client.one(Instance(**whose))
        assert (found["status"], found["state"]["amount"]) == ("complete", 12)
        assert found["history"][1]["changes"] == {
            "amount": [7, 12],
            "status": ["charging", "7"],
        }
        with pytest.raises(Refused, match="amount=much does not fit"):
            client.one(Amend(**whose, fields={"amount": "much"}))
        with pytest.raises(Refused, match="no field 'nothing'; it has order_id"):
            client.one(Amend(**whose, fields={"nothing": "1"}))


@pytest.mark.parametrize(
    ("hint", "said", "value"),
    [
        (str, "7", "7"),
        (int, "7", 7),
        (bool, "true", True),
        (Decimal, "12.50", Decimal("12.50")),
        (Decimal | None, "null", None),
        (datetime, "2030-01-01T00:00:00Z", datetime(2030, 1, 1, tzinfo=UTC)),
        (list[int], "[1, 2]", [1, 2]),
        (dict[str, Decimal], '{"a": "1.10"}', {"a": Decimal("1.10")}),
        (Indexed[str], "k", "k"),
    ],
)
def test_what_is_typed_becomes_a_value_of_the_field(hint: Any, said: str, value: object) -> None:
    assert typed(hint, "field", said) == value


def test_state_is_rebuilt_and_the_progress_is_told(service: Service) -> None:
    with connect(service.store, acts=True) as client:
        assert client.one(Refresh(process="Fulfilment", id="good")) == {"rebuilt": 1}
        *_, last = rows(client, RefreshAll(process="Fulfilment", since="origin"))
        assert (last["rebuilt"], last["of"], last["finished"]) == (4, 4, True)
        *_, last = rows(client, Rebuild(process="Fulfilment"))
        assert (last["rebuilt"] + last["passed_over"], last["finished"]) == (4, True)
        with pytest.raises(Refused, match="no process manager 'Nothing'"):
            rows(client, Rebuild(process="Nothing"))


@pytest.mark.parametrize(
    "call",
    [
        Refresh(process="Fulfilment", id="good"),
        RefreshAll(process="Fulfilment"),
        RefreshAll(process="Fulfilment", since="origin"),
        Rebuild(process="Fulfilment"),
    ],
    ids=["refresh", "refresh all", "since the origin", "rebuild"],
)
def test_the_history_says_who_had_state_rebuilt(service: Service, call: Call) -> None:
    with connect(service.store, acts=True, by="ann") as client:
        rows(client, call)
        newest = client.one(Instance(process="Fulfilment", id="good"))["history"][-1]
        assert newest["by"].startswith("ann (as claimed by uid ")
        assert newest["note"] == f"rebuilt by {newest['by']}"


def test_a_follower_gets_what_comes_and_is_told_when_the_service_goes(service: Service) -> None:
    with connect(service.store) as client:
        following = client.rows(Tail(last=0, follow=True))
        # The stream is open before the event is made.
        assert client.one(Stats())["events"] == 7
        service.tell("place good2")
        assert next(following)["stream"] == "shop::order-good2"
        assert next(following)["stream"] == "shop::payment-good2"
        service.kill()
        with pytest.raises(Refused, match="went away"):
            list(following)
    with connect(service.store) as client:
        assert not client.is_service


def test_what_answers_is_let_go_of_when_no_client_calls_and_comes_back_with_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(serving, "LINGER", 0.01)
    ended: queue.SimpleQueue[str] = queue.SimpleQueue()

    def load() -> Serve:
        serve = serving.server_for(runtime)

        def until_it_ends(listening: socket.socket, waker: Waker) -> None:
            serve(listening, waker)
            ended.put("ended")

        return until_it_ends

    with short_folder() as folder, Runtime(folder / "store", shop, control=False) as runtime:
        listener = Listener(folder / "store", load)
        listener.start()
        for _ in range(2):
            with connect(folder / "store") as client:
                assert client.is_service
                assert client.one(Stats())["events"] == 0
            assert ended.get(timeout=30) == "ended"
        listener.close()


def test_a_store_is_followed_beside_an_owner_that_does_not_listen() -> None:
    with (
        short_folder() as folder,
        Runtime(folder / "store", shop, control=False) as runtime,
        connect(folder / "store") as client,
    ):
        following = client.rows(Tail(last=5, follow=True))
        for name in ("open1", "open2"):
            runtime.ask(PlaceOrder(order_id=name, amount=1))
            assert next(following)["stream"] == f"shop::order-{name}"


def test_a_store_without_a_service_is_acted_on_with_its_classes(service: Service) -> None:
    service.close()
    with pytest.raises(CannotAct, match="--domain MODULE:domain"):
        connect(service.store, acts=True)
    with connect(service.store, [shop], acts=True) as client:
        assert rows(client, Decide(verdict="skip", ids=[1])) == [{"id": 1, "done": True}]
    with connect(service.store) as client, pytest.raises(CannotAct, match="why needs the classes"):
        rows(client, Why(event="shop::order-good@1"))


def test_a_store_whose_owner_does_not_listen_can_be_looked_at_and_not_acted_on() -> None:
    with short_folder() as folder, Runtime(folder / "store", shop, control=False) as runtime:
        runtime.ask(PlaceOrder(order_id="good", amount=1))
        runtime.settle(timeout=30)
        with connect(folder / "store") as client:
            assert not client.is_service
            assert rows(client, Processes())[0]["complete"] == 1
        with pytest.raises(LockedStore, match="answers at no socket"):
            connect(folder / "store", [shop], acts=True)


def test_a_request_that_does_not_fit_is_refused_and_says_what_is_wrong(service: Service) -> None:
    class Misfit(Timeouts, frozen=True):
        limits: int = 1

    with connect(service.store) as client, pytest.raises(Refused, match="limits"):
        client.one(Misfit())


def test_instances_that_failed_at_their_start_are_listed_first_and_in_pages() -> None:
    with short_folder() as folder, Runtime(folder / "store", shop) as runtime:
        for name in ("odd2", "even", "odd1"):
            runtime.ask(PlaceOrder(order_id=name, amount=1))
        runtime.settle(timeout=30)

        with connect(folder / "store") as client:

            def ids(**wanted: Any) -> list[str]:
                return [
                    one["id"] for one in rows(client, Instances(process="Fulfilment", **wanted))
                ]

            for status in ([], [Status.SUSPENDED]):
                page = ids(status=status, limit=1)
                assert page == ["odd1"]
                assert ids(status=status, after=page[-1], limit=1) == ["odd2"]
            assert ids(after="odd2") == ["even"]
            assert ids(status=[Status.SUSPENDED], after="odd2") == []
            found = client.one(Instance(process="Fulfilment", id="odd1"))
            assert (found["status"], found["version"], found["history"]) == ("suspended", 0, [])
            assert [one["id"] for one in rows(client, Stuck(seconds=0))] == ["odd1", "odd2"]
            assert rows(client, Processes())[0]["suspended"] == 2


def test_by_a_learnt_key_no_other_instance_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    with short_folder() as folder, Runtime(folder / "store", shop) as runtime:
        for name in ("good1", "good2"):
            runtime.ask(PlaceOrder(order_id=name, amount=1))
        runtime.settle(timeout=30)
        with monkeypatch.context() as patch, connect(folder / "store") as client:
            patch.setattr(Store, "scan_started", None)
            wanted = Instances(process="Fulfilment", where={"card": "card-good2"})
            assert [one["id"] for one in rows(client, wanted)] == ["good2"]
            patch.setattr(Store, "scan_blocked", lambda *_: iter(()))
            wanted = Instances(process="Fulfilment", status=[Status.SUSPENDED])
            assert rows(client, wanted) == []


def test_a_limit_is_from_1_on(service: Service) -> None:
    with connect(service.store) as client, pytest.raises(Refused, match="limit"):
        client.one(Timeouts(limit=0))


def test_what_a_handler_raises_is_told_to_the_client_and_not_to_the_log(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    service.close()
    with Runtime(service.store, shop) as runtime, connect(service.store) as client:

        def fail(*_: object, **__: object) -> None:
            raise ZeroDivisionError("of 17")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(runtime, "refresh", fail)
            with pytest.raises(Refused, match="ZeroDivisionError: of 17"):
                client.one(Refresh(process="Fulfilment", id="good"))
            patch.setattr(runtime, "why", fail)
            with pytest.raises(Refused, match="ZeroDivisionError: of 17"):
                rows(client, Why(event="x"))
    assert "a call failed: ZeroDivisionError at " in caplog.text
    assert "17" not in caplog.text


def test_a_service_that_hangs_is_not_waited_for_when_it_is_asked_how_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Health, "within", 0.01)
    with short_folder() as folder, socket.socket(socket.AF_UNIX) as hanging:
        with Runtime(folder / "store", shop, control=False):
            pass
        (folder / "store" / "control").mkdir()
        hanging.bind(str(folder / "store" / "control" / "socket"))
        hanging.listen()
        with (
            connect(folder / "store") as client,
            pytest.raises(Refused, match="did not answer within"),
        ):
            client.one(Health())


def test_nothing_is_done_by_a_get(service: Service) -> None:
    class Sneaky(Decide, frozen=True):
        acts = False

    with connect(service.store) as client, pytest.raises(Refused, match="status 405"):
        client.one(Sneaky(verdict="skip", ids=[1]))


def test_each_call_has_a_path_of_its_own() -> None:
    assert len({one.path for one in CALLS}) == len(CALLS)


def test_who_asks_is_what_the_system_says_and_what_is_claimed_is_called_so() -> None:
    assert caller(0, None) == "uid 0, root"
    assert caller(0, " maria ") == "maria (as claimed by uid 0, root)"
    assert caller(987_654_321, "") == "uid 987654321"
    assert caller(None, "maria") == "maria (as claimed)"
    assert caller(None, None) == "unknown"


def test_what_is_stored_is_plain_data() -> None:
    assert plain({1: b"\0", "b": [(1, None)]}) == {"1": "AA==", "b": [[1, None]]}
    assert unpacked(None) == {}
    assert unpacked(b"\x81\x01\xa1x") == {"1": "x"}
