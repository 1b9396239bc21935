"""The commands on a store whose content is encoded, and that no service has open."""

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Annotated

import pytest

from procession import Command, Domain, Event, Personal, ProcessManager, Runtime, handle
from procession.cli import main, without_extra
from procession.encryption import AesGcm, SqliteKeys
from procession.importing import import_file
from procession.shadowing.shadow import shadow

NAME = "Lovelace"

clinic = Domain("clinic")


class Referred(Event):
    case: str
    name: Annotated[str, Personal]


class Call(Command):
    case: str


@clinic.register
class Case(ProcessManager, correlate="case"):
    case: str = ""
    name: str = ""

    @handle(Referred, start=True)
    def on_referred(self, event: Referred) -> None:
        self.name = event.name
        if event.case == "k2":
            raise ValueError("full")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a store, and its keys beside it."""
    folder = tmp_path_factory.mktemp("coded")
    codec = AesGcm(SqliteKeys(folder / "keys.sqlite"))
    with Runtime(folder / "s", clinic, codec=codec, durability="none") as runtime:
        for case in ("k1", "k2"):
            runtime.publish(Referred(case, NAME), stream=f"web-{case}", event_id=f"e-{case}")
        runtime.settle(timeout=10)
    return folder


@pytest.fixture(autouse=True)
def module(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = ModuleType("clinic_code")
    vars(made).update(clinic=clinic, codec=AesGcm(SqliteKeys(folder / "keys.sqlite")), other="x")
    monkeypatch.setitem(sys.modules, "clinic_code", made)
    monkeypatch.setenv("COLUMNS", "200")


DOMAIN = ("--domain", "clinic_code:clinic")

NEEDING_IT = [
    "ls -s {s}",
    "ls Case -s {s}",
    "show Case k1 -s {s}",
    "stuck -s {s}",
    "parked -s {s}",
    "timeouts -s {s}",
    "events -s {s}",
    "tail -s {s}",
    "why e-k1 -s {s}",
    "trace e-k1 -s {s}",
    "graph -s {s}",
    "graph --measured -s {s}",
    "erasures -s {s}",
    "verify {s}",
    "export {t}/log.jsonl -s {s}",
    "shadow {s} clinic_code:clinic",
    "capsule {s} Case k1 -o {t}/k1.capsule",
    "retry 1 -s {s}",
    "refresh Case k1 -s {s}",
    "prune {s} --before 2020-01-01",
    "erase Case k2 --yes -s {s}",
]

WITH_CLASSES = ("why", "trace", "graph", "capsule", "retry", "refresh", "prune", "erase ")


@pytest.mark.parametrize("line", NEEDING_IT)
def test_a_command_refuses_a_coded_store_in_a_sentence_and_works_with_its_codec(
    line: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = line.format(s=folder / "s", t=tmp_path).split()
    words += DOMAIN if line.startswith(WITH_CLASSES) else ()
    assert main(words) == 2
    refused = capsys.readouterr().err
    assert refused.startswith("error: the store is encoded by 'aes-256-gcm ")
    assert refused.endswith("to a command by --codec MODULE:name\n")
    status = main([*words, "--codec", "clinic_code:codec"])
    assert (status, capsys.readouterr().err) == (0, "")


def test_what_is_looked_at_is_decoded_and_masked_where_the_classes_are(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROCESSION_CODEC", "clinic_code:codec")
    assert main(["show", "Case", "k1", "-s", str(folder / "s"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["state"]["name"] == NAME
    assert main(["events", "-s", str(folder / "s")]) == 0
    assert NAME in capsys.readouterr().out


def test_what_is_no_codec_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for said, why in (
        ("clinic_code:other", "clinic_code:other is no PayloadCodec, but str"),
        ("clinic_code", "'clinic_code' is no codec; write MODULE:name, as in shop.keys:codec"),
    ):
        assert main(["ls", "-s", str(folder / "s"), "--codec", said]) == 2
        assert capsys.readouterr().err == f"error: {why}\n"


def test_copies_need_no_codec(folder: Path, tmp_path: Path) -> None:
    store = str(folder / "s")
    copies = [tmp_path / name for name in ("backup", "small", "copy")]
    for command, target in zip(("backup", "compact", "copy"), copies, strict=True):
        assert main([command, store, str(target)]) == 0
        assert main(["verify", str(target), "--codec", "clinic_code:codec"]) == 0
    assert without_extra.run(["verify", "--codec", "clinic_code:codec", str(copies[0])]) == 0


def test_history_is_imported_into_a_store_with_a_codec(folder: Path, tmp_path: Path) -> None:
    log, target = tmp_path / "log.jsonl", tmp_path / "history"
    code = sys.modules["clinic_code"]
    assert main(["export", str(log), "-s", str(folder / "s"), "--codec", "clinic_code:codec"]) == 0
    words = ["import", str(log), "-s", str(target), *DOMAIN, "--codec", "clinic_code:codec"]
    assert main(words) == 0
    assert import_file(log, target, clinic, codec=code.codec).known == 2
    with Runtime(target, clinic, read_only=True, codec=code.codec) as runtime:
        view = runtime.get(Case, "k1")
        assert view is not None
        assert view.state["name"] == NAME
    assert NAME.encode() not in b"".join(
        one.read_bytes() for one in target.rglob("*") if one.is_file()
    )


def test_no_other_process_has_the_codec_of_a_shadow(folder: Path) -> None:
    codec = sys.modules["clinic_code"].codec
    with pytest.raises(ValueError, match="a codec is in this process, and no other can have it"):
        shadow(folder / "s", clinic, codec=codec, processes=2)
