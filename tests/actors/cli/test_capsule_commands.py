"""`procession capsule`: out of a store, into a folder, and as a test."""

import json
from collections.abc import Callable
from pathlib import Path
from runpy import run_path
from typing import Any

import pytest

from procession import Runtime
from procession.cli import main
from procession.testing import VirtualClock
from tests.actors.capsule.orders import Arrived, Pack, Reserved, Sending, shop

DOMAIN = "tests.actors.capsule.orders:shop"

Say = Callable[..., tuple[int, str]]


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Say:
    """Runs a command; gives its status and what it printed, an error's sentence among it."""
    monkeypatch.setenv("COLUMNS", "300")

    def run(*arguments: object) -> tuple[int, str]:
        status = main([str(one) for one in arguments])
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err
        return status, printed.out + printed.err

    return run


def as_json(say: Say, *arguments: object) -> Any:
    status, printed = say(*arguments, "--json")
    assert status == 0, printed
    return json.loads(printed)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("incident") / "store"
    with Runtime(folder, shop, clock=VirtualClock(), durability="none") as runtime:
        for number in (1, 2):
            event = Reserved(article="hat", order_id=f"o{number}", customer="Alexandra Muster")
            runtime.publish(event, stream=f"reservations-o{number}")
        runtime.settle(timeout=20)
        runtime.publish(Pack(order_id="o1", parcel="p1"), stream="packing-1")
        runtime.settle(timeout=20)
        runtime.publish(Arrived(parcel="p1", signed="Mallory"), stream="arrivals-1")
        runtime.settle(timeout=20)
    return folder


def test_an_incident_is_taken_opened_and_tested_until_it_is_mended(
    store: Path, tmp_path: Path, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    capsule, test = tmp_path / "o1.capsule", tmp_path / "test_o1.py"
    mask = ("--mask", "Reserved.customer", "-d", DOMAIN)

    taken = as_json(say, "capsule", store, "Sending", "o1", "-o", capsule, *mask)
    assert (taken["events"], taken["transitions"]) == (3, 2)
    assert taken["masked"] == {"Reserved.customer": 1}
    assert taken["failures"][0].startswith("incident.Sending o1, arrivals-1@1 in arrived: ValueErr")

    assert say("capsule", "open", capsule, "-d", tmp_path / "opened")[0] == 0
    shown = as_json(say, "show", "Sending", "o1", "-s", tmp_path / "opened")
    assert shown["status"] == "suspended"

    assert as_json(say, "capsule", "test", capsule, "-d", DOMAIN, "-o", test)["test"] == str(test)
    assert "Alexandra" not in test.read_text()
    with pytest.raises(AssertionError, match="signed by Mallory, and reserved for"):
        run_test(test)
    monkeypatch.setattr(Sending, "LOOKS_AT_SIGNATURES", False)
    run_test(test)


def run_test(file: Path) -> None:
    """As pytest would, without a process of its own."""
    [test] = [one for name, one in run_path(str(file)).items() if name.startswith("test_")]
    test()


def test_a_capsule_in_which_nothing_failed_needs_to_be_told_what_should_be(
    store: Path, tmp_path: Path, say: Say
) -> None:
    capsule, test = tmp_path / "o2.capsule", tmp_path / "test_o2.py"
    say("capsule", "take", store, "incident.Sending", "o2", "-o", capsule, "-d", DOMAIN)

    status, said = say("capsule", "test", capsule, "-d", DOMAIN, "-o", test)
    assert (status, test.exists()) == (2, False)
    assert "say what its state should be, with --expect FIELD=VALUE" in said

    expect = ("--expect", "parcel=p2", "--expect", 'told=["sent"]')
    assert say("capsule", "test", capsule, "-d", DOMAIN, "-o", test, *expect)[0] == 0
    assert "assert again.state['parcel'] == 'p2', again" in test.read_text()
    assert "assert again.state['told'] == ['sent'], again" in test.read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("Sending", "o9", "-d", DOMAIN), "has no instance 'o9'"),
        (("Nothing", "o1", "-d", DOMAIN), "there is no process manager 'Nothing'"),
        (("Sending", "o1", "-d", "nowhere:shop"), "nowhere:shop cannot be imported"),
        (("Sending", "o1", "-d", DOMAIN, "--mask", "name"), "write Type.field"),
    ],
)
def test_what_cannot_be_taken_is_said_in_a_sentence(
    arguments: tuple[str, ...], said: str, store: Path, tmp_path: Path, say: Say
) -> None:
    status, printed = say("capsule", store, *arguments, "-o", tmp_path / "capsule")

    assert status == 2
    assert said in printed
    assert not (tmp_path / "capsule").exists()


def test_a_folder_is_no_capsule(store: Path, tmp_path: Path, say: Say) -> None:
    status, said = say("capsule", "open", store, "-d", tmp_path / "opened")
    assert status == 2
    assert "is no capsule" in said
