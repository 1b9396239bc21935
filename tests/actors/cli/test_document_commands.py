"""What the person on call asks of documents, beside their service and without it."""

import json
import sys
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import pytest

from procession import Domain, Event, Personal, Projection, Runtime, project
from procession.cli import main
from procession.projections import Documents

WAIT = 30


class Placed(Event):
    customer: str
    name: str
    total: int


@dataclass
class Order:
    total: int
    signed: Annotated[str | None, Personal] = None


@dataclass
class Account:
    """One document."""

    name: Annotated[str, Personal]
    total: int = 0
    orders: list[Order] = field(default_factory=list)


shop = Domain("shop")


@shop.projection
class Accounts(Projection, database=Documents(Account)):
    @project(Placed)
    def placed(self, event: Placed) -> None:
        account = self.db.get(event.customer) or Account(event.name)
        account.total += event.total
        account.orders.append(Order(event.total, event.name))
        self.db.put(event.customer, account)


@shop.projection
class Elsewhere(Projection):
    @project(Placed)
    def placed(self, event: Placed) -> None:
        """Written to some other place."""


CUSTOMERS = ("c1", "c2", "c3", "d1")


def filled(store: Path, partitions: int) -> Path:
    with Runtime(store, shop, partitions=partitions) as runtime:
        for number, customer in enumerate(CUSTOMERS, 1):
            event = Placed(customer, "Ann Example", number)
            runtime.publish(event, stream=f"shop::order-{customer}")
        runtime.read(Accounts, timeout=WAIT)
        runtime.read(Elsewhere, timeout=WAIT)
    return store


@pytest.fixture(params=[1, 3], ids=["one log", "three partitions"])
def partitions(request: pytest.FixtureRequest) -> int:
    found: int = request.param
    return found


@pytest.fixture
def store(tmp_path: Path, partitions: int, monkeypatch: pytest.MonkeyPatch) -> Path:
    module = ModuleType("documents_code")
    vars(module)["shop"] = shop
    monkeypatch.setitem(sys.modules, "documents_code", module)
    monkeypatch.setenv("COLUMNS", "200")
    return filled(tmp_path / "s", partitions)


def said(capsys: pytest.CaptureFixture[str], *words: object) -> list[Any]:
    assert main(["documents", *map(str, words), "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize("has_service", [True, False])
def test_documents_are_listed_in_order_of_their_keys_beside_a_service_and_without_classes(
    store: Path, partitions: int, capsys: pytest.CaptureFixture[str], has_service: bool
) -> None:
    with Runtime(store, shop) if has_service else nullcontext():
        rows = said(capsys, "Accounts", "-s", store)
        assert [row["key"] for row in rows] == list(CUSTOMERS)
        assert [row["document"]["total"] for row in rows] == [1, 2, 3, 4]
        assert all(("partition" in row) == (partitions > 1) for row in rows)
        some = said(capsys, "shop.Accounts", "-s", store, "--prefix", "c", "--after", "c1")
        assert [row["key"] for row in some] == ["c2", "c3"]
        assert said(capsys, "Accounts", "-s", store, "--limit", 2) == rows[:2]
        assert said(capsys, "Accounts", "d1", "-s", store) == rows[3:]
        assert said(capsys, "Accounts", "d2", "-s", store) == []
        assert main(["documents", "Accounts", "-s", str(store), "--limit", "2"]) == 0
        assert "the first 2; --limit and --after have more" in capsys.readouterr().out
        assert main(["documents", "Accounts", "d1", "-s", str(store)]) == 0
        assert '"total": 4' in capsys.readouterr().out


@pytest.mark.parametrize("has_service", [True, False])
def test_what_is_marked_as_personal_is_masked_however_deep_where_the_classes_are(
    store: Path, capsys: pytest.CaptureFixture[str], has_service: bool
) -> None:
    with Runtime(store, shop) if has_service else nullcontext():
        words = () if has_service else ("-d", "documents_code:shop")
        [row] = said(capsys, "Accounts", "c2", "-s", store, *words)
    assert row["document"] == {
        "name": "(personal)",
        "total": 2,
        "orders": [{"total": 2, "signed": "(personal)"}],
    }


def test_what_keeps_no_documents_and_what_no_key_can_be_are_refused(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, sentence in (
        (("Elsewhere",), "shop.Elsewhere keeps no documents in the store"),
        (("Others",), "there is no projection 'Others'; there are: "),
        (("Accounts", ""), "document's key"),
    ):
        assert main(["documents", *words, "-s", str(store)]) == 2
        assert sentence in capsys.readouterr().err
