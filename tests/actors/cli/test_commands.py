"""Each command, against a service in another process."""

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from rich.progress import Progress

import procession.cli
from procession import Runtime
from procession.cli import DEBUG, main
from procession.cli.output import LONGEST, Growing, printable, progress, short
from procession.cli.spans import seconds_in
from procession.control.calls import Health
from procession.control.client import connect
from procession.errors import InvalidMessage
from tests.actors.control.service import ROOT, Service, running, short_folder
from tests.actors.control.shop import shop

DOMAIN = "tests.actors.control.shop:shop"

COMMANDS = (
    *("ls", "show", "stuck", "parked", "timeouts", "events", "tail", "why", "trace", "graph"),
    *("stats", "health", "retry", "skip", "end", "amend", "erase", "erasures"),
    *("refresh", "rebuild", "projections", "documents", "rebuild-projection"),
    *("backup", "compact", "copy", "upgrade", "verify", "check", "shadow", "fork", "serve"),
    *("import", "export", "prune"),
)

Say = Callable[..., tuple[int, str]]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@contextmanager
def shop_with_orders() -> Iterator[Service]:
    with short_folder() as folder, running(folder / "store") as service:
        service.tell("place good", "place bad1", "place bad2", "place open1")
        yield service


@pytest.fixture
def service() -> Iterator[Service]:
    with shop_with_orders() as service:
        yield service


@pytest.fixture(scope="module")
def shared() -> Iterator[Service]:
    """One that no test changes."""
    with shop_with_orders() as service:
        yield service


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Say:
    """Runs a command; gives its status and what it printed, an error's sentence among it."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: object) -> tuple[int, str]:
        status = main([str(one) for one in arguments])
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err
        return status, printed.out + printed.err

    return run


def as_json(say: Say, *arguments: object) -> list[Any]:
    status, printed = say(*arguments, "--json")
    assert status in {0, 1}, printed
    return [json.loads(line) for line in printed.splitlines()]


# Looking


def test_ls_lists_process_managers_and_their_instances(shared: Service, say: Say) -> None:
    line = say("ls", "-s", shared.store)[1].splitlines()[1]
    assert line.split() == ["shop.Fulfilment", "1", "2", "1", "0"]
    [row] = as_json(say, "ls", "-s", shared.store)
    assert (row["running"], row["suspended"], row["complete"]) == (1, 2, 1)

    found = ("ls", "Fulfilment", "-s", shared.store)
    assert [one["id"] for one in as_json(say, *found, "--status", "suspended")] == ["bad1", "bad2"]
    assert [one["id"] for one in as_json(say, *found, "--where", "order_id=good")] == ["good"]
    status, printed = say(*found, "--limit", 2)
    assert (status, printed.splitlines()[-1]) == (0, "the first 2; --limit and --after have more")
    assert say(*found, "--where", "nonsense") == (2, "error: nonsense: write FIELD=VALUE\n")


def test_show_prints_one_instance_with_its_history(shared: Service, say: Say) -> None:
    status, printed = say("show", "Fulfilment", "good", "-s", shared.store)
    assert status == 0
    for part in (
        "shop.Fulfilment good: complete, version 2",
        "  status = charged",
        "waits for: events only",
        "status: charging → charged",
        "shop.Charge.v1",
    ):
        assert part in printed
    assert "you, to retry or skip 1" in say("show", "Fulfilment", "bad1", "-s", shared.store)[1]
    assert as_json(say, "show", "Fulfilment", "good", "-s", shared.store)[0]["version"] == 2
    status, printed = say("show", "Fulfilment", "nobody", "-s", shared.store)
    assert (status, printed.startswith("error: Fulfilment has no instance 'nobody'")) == (2, True)


def test_stuck_says_what_instances_wait_for(shared: Service, say: Say) -> None:
    assert "payment at " in say("stuck", "--since", "0s", "-s", shared.store)[1]
    assert say("stuck", "-s", shared.store) == (0, "all have moved within 1h\n")
    found = as_json(say, "stuck", "--since", "0s", "-s", shared.store)
    assert [one["id"] for one in found] == ["bad1", "bad2", "open1"]
    assert say("stuck", "--since", "soon", "-s", shared.store)[0] == 2


def test_parked_groups_and_lists(shared: Service, say: Say) -> None:
    status, printed = say("parked", "-s", shared.store)
    assert status == 0
    assert "CardDeclined" in printed
    assert "card of" not in printed
    [group] = as_json(say, "parked", "-s", shared.store)
    assert group["count"] == 2
    assert "card of bad1" in say("parked", "--each", "-s", shared.store)[1]
    assert len(as_json(say, "parked", "--error", "CardDeclined", "-s", shared.store)) == 2
    assert say("parked", "--decided", "-s", shared.store) == (0, "there is none\n")


def test_timeouts_lists_what_is_due(shared: Service, say: Say) -> None:
    assert "payment" in say("timeouts", "-s", shared.store)[1]
    [one] = as_json(say, "timeouts", "--process", "Fulfilment", "--id", "open1", "-s", shared.store)
    assert one["kind"] == "timeout"


def test_events_and_tail_print_the_log(shared: Service, say: Say) -> None:
    assert '{"order_id": "good"' in say("events", "-s", shared.store)[1]
    assert len(as_json(say, "events", "shop::order", "-s", shared.store)) == 4
    assert say("tail", "-n", 1, "-s", shared.store)[1].startswith("7 ")
    [row] = as_json(say, "tail", "--stream", "shop::order-open1", "-s", shared.store)
    assert row["event_id"] == "shop::order-open1@1"
    assert " ended\n" in say("tail", "--process", "Fulfilment", "-s", shared.store)[1]


def test_why_trace_and_graph_ask_the_service(shared: Service, say: Say) -> None:
    event = "shop::payment-good@1"
    assert "stepped" in say("why", event, "-s", shared.store)[1]
    assert as_json(say, "why", event, "-s", shared.store)[0]["instance"] == "good"
    assert "\n  event shop.OrderPlaced.v1" in say("trace", event, "-s", shared.store)[1]
    assert as_json(say, "trace", event, "-s", shared.store)[0]["depth"] == 0
    assert say("graph", "-s", shared.store)[1].startswith("flowchart LR")
    assert list(as_json(say, "graph", "-s", shared.store)[0]) == ["shop"]


def test_the_design_is_drawn_with_what_happened_on_it(shared: Service, say: Say) -> None:
    asked = ("graph", "-s", shared.store, "--measured")
    drawn = say(*asked, "--beside", "..2020-01-01")[1]
    assert "flowchart LR" in drawn
    assert "| never" in drawn
    assert "%% shop.Fulfilment" in drawn
    assert say(*asked, "--format", "svg")[1].startswith("<svg")
    [found] = as_json(say, *asked, "--since", "2020-01-01")
    assert {"arrows", "variants", "mermaid"} <= found["shop"].keys()
    assert say(*asked, "--beside", "yesterday")[0] == 2
    assert say("graph", "-s", shared.store, "--code", "1")[0] == 2


def test_stats_and_health_tell_how_the_service_is(shared: Service, say: Say) -> None:
    assert "transitions" in say("stats", "-s", shared.store)[1]
    assert as_json(say, "stats", "-s", shared.store)[0]["transitions"] == 5
    status, printed = say("health", "-s", shared.store)
    assert (status, printed.startswith("parked: ")) == (1, True)
    assert not as_json(say, "health", "-s", shared.store)[0]["is_healthy"]


def test_the_store_may_be_named_in_the_environment(
    shared: Service, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROCESSION_STORE", str(shared.store))
    assert say("ls")[0] == 0


# Acting


def test_retry_asks_first_and_says_how_many(
    service: Service, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = ("--error", "CardDeclined", "-s", service.store)
    status, printed = say("retry", *kind)
    assert (status, "retry 2 parked things? " in printed, "--yes" in printed) == (2, True, True)

    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    assert say("retry", *kind)[0] == 1
    service.tell("mend")
    status, printed = say("retry", *kind, "--by", " ")
    assert (status, "by=' ' names no person; leave it out" in printed) == (2, True)
    # An empty variable is one that is not set.
    monkeypatch.setenv("PROCESSION_BY", "")
    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    assert say("retry", *kind)[0] == 1
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    status, printed = say("retry", *kind, "--by", "maria")
    assert (status, "retry: 2 done, 0 not\n" in printed) == (0, True)
    service.tell("settle")
    assert say("parked", "-s", service.store) == (0, "nothing is parked\n")
    assert "maria (as claimed by uid" in say("parked", "--decided", "-s", service.store)[1]
    assert say("health", "-s", service.store) == (0, "all is well\n")


def test_skip_tells_what_came_of_each_and_ends_with_1_if_one_was_refused(
    service: Service, say: Say
) -> None:
    assert as_json(say, "skip", 1, "-s", service.store) == [{"id": 1, "done": True}]
    status, printed = say("skip", 1, 2, "-s", service.store)
    assert status == 1
    assert "1: skip was decided about what was parked under 1 already" in printed
    assert printed.splitlines()[-1] == "skip: 1 done, 1 not"
    assert say("skip", "--all", "-s", service.store) == (0, "skip: 0 done, 0 not\n")


@pytest.mark.parametrize("meant", [[], ["1", "--all"], ["--all", "--error", "X"], ["1", "-p", "X"]])
def test_a_decision_is_about_ids_or_a_kind_or_all(
    meant: list[str], shared: Service, say: Say
) -> None:
    status, printed = say("retry", *meant, "-s", shared.store)
    assert (status, "say which: ids, or --error" in printed) == (2, True)


def test_timeout_moves_and_cancels(service: Service, say: Say) -> None:
    whose = ("Fulfilment", "open1", "payment")
    assert say("timeout", "move", *whose, "+2h", "-s", service.store) == (0, "payment: moved\n")
    moment = "2030-01-01T00:00:00+00:00"
    assert as_json(say, "timeout", "move", *whose, moment, "-s", service.store) == [
        {"was_set": True}
    ]
    assert "2030-01-01 00:00:00" in say("timeouts", "-s", service.store)[1]
    cancel = ("timeout", "cancel", *whose, "-s", service.store)
    assert say(*cancel) == (0, "payment: cancelled\n")
    assert say(*cancel) == (1, "payment is not set; nothing was done\n")
    assert say("timeout", "move", *whose, "later", "-s", service.store)[0] == 2


def test_what_was_erased_is_told_and_listed(service: Service, say: Say, tmp_path: Path) -> None:
    where = ("--by", "maria", "-s", service.store)
    assert say("erasures", "-s", service.store) == (0, "nothing was erased\n")
    erase = ("erase", "Fulfilment", "open1", *where)
    assert "There is no terminal" in say(*erase)[1]
    assert say(*erase, "--yes") == (0, "shop.Fulfilment open1: erased\n")
    assert say("erase", "--stream", "shop::payment-open1", "--yes", *where)[0] == 0
    shown = as_json(say, "show", "Fulfilment", "open1", "-s", service.store)
    assert list(shown[0]["state"]) == ["erased"]
    told = as_json(say, "erasures", "-s", service.store)
    assert [(one["kind"], one["id"], one["by"].split()[0]) for one in told] == [
        ("instance", "open1", "maria"),
        ("stream", "shop::payment-open1", "maria"),
    ]
    file = tmp_path / "erasures.jsonl"
    file.write_text(say("erasures", "--json", "-s", service.store)[1], encoding="utf-8")
    again = ("erase", "--again", file, "--yes", "-s", service.store)
    assert say(*again) == (0, "all of these are erased here already\n")
    assert say("erase", "--yes", "-s", service.store)[0] == 2
    file.write_text("{}", encoding="utf-8")
    assert say(*again)[0] == 2


def test_end_and_amend_are_told_with_the_version(service: Service, say: Say) -> None:
    where = ("--by", "maria", "-s", service.store)
    status, printed = say("amend", "Fulfilment", "open1", "amount=12", *where)
    assert (status, printed) == (0, "Fulfilment open1: amended, version 2\n")
    assert say("amend", "Fulfilment", "open1", "amount", *where)[0] == 2
    assert as_json(say, "amend", "Fulfilment", "bad1", "amount=1", "--retry", *where) == [
        {"version": 2}
    ]
    end = ("end", "Fulfilment", "open1", "--reason", "the customer called", "--yes", *where)
    assert say(*end, "--version", 1)[0] == 2
    assert say(*end) == (0, "Fulfilment open1: ended, version 3\n")
    status, printed = say("show", "Fulfilment", "open1", "-s", service.store)
    assert "the customer called" in printed
    assert say(*end)[0] == 2


def test_end_asks_first(service: Service, say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    end = ("end", "Fulfilment", "open1", "--reason", "lost", "-s", service.store)
    status, printed = say(*end)
    assert (status, "end Fulfilment open1? " in printed, "--yes" in printed) == (2, True, True)
    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    assert say(*end)[0] == 1
    assert say("show", "Fulfilment", "open1", "-s", service.store)[1].split()[2] == "running,"
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    assert say(*end)[0] == 0


def test_prune_tells_how_much_went(service: Service, say: Say) -> None:
    (found,) = as_json(say, "prune", service.store, "--before", "1990-01-31")
    assert found == {"instances": 0, "transitions": 0, "events": 0, "forgotten": 0}
    status, printed = say("prune", service.store, "--before", "1990-01-31T12:00+01:00")
    assert status == 0
    assert "0 instances with 0 transitions and 0 events were pruned" in printed
    status, printed = say("prune", service.store, "--before", "yesterday")
    assert status == 2
    assert "'yesterday' is no day and no moment" in printed


def test_refresh_and_rebuild_tell_how_many(service: Service, say: Say) -> None:
    named = ("refresh", "Fulfilment", "good", "--by", "ann", "-s", service.store)
    assert say(*named) == (0, "1 rebuilt\n")
    assert "rebuilt by ann (as claimed by " in say("show", *named[1:3], *named[5:])[1]
    assert as_json(say, "refresh", "Fulfilment", "-s", service.store) == [{"rebuilt": 4}]
    assert say("refresh", "Fulfilment", "--since", "now", "-s", service.store)[0] == 2
    status, printed = say("rebuild", "Fulfilment", "--by", "bea", "-s", service.store)
    assert (status, printed.startswith("4 rebuilt, 0 were")) == (0, True)
    assert "rebuilt by bea (as claimed by " in say("show", *named[1:3], *named[5:])[1]
    assert as_json(say, "rebuild", "Fulfilment", "-s", service.store)[0]["passed_over"] == 4


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What bars were told."""
    told: list[tuple[Any, ...]] = []

    @contextmanager
    def progress(what: str, total: int | None = None) -> Iterator[Callable[..., None]]:
        yield lambda *said: told.append((*said, total)[:2])

    for module in ("output", "parked", "rebuilding", "store_files"):
        monkeypatch.setattr(f"procession.cli.{module}.progress", progress)
    return told


def test_a_bar_knows_how_much_there_is_to_do(
    service: Service, say: Say, told: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for command in (["refresh", "Fulfilment"], ["rebuild", "Fulfilment"], ["skip", "--all", "-y"]):
        assert say(*command, "-s", service.store)[0] == 0
        assert told[-1] == ((2, 2) if command[0] == "skip" else (4, 4))
        told.clear()
    assert say("verify", service.store)[0] == 0
    assert told == []  # it is told every 10,000 rows
    for search in (["ls", "Fulfilment"], ["stuck", "--since", "0s"]):
        assert say(*search, "-s", service.store)[0] == 0
        assert told[-1][1] is None  # how many there are to look at is not known
        told.clear()


def test_a_bar_moves_and_takes_the_total_when_that_is_known() -> None:
    drawn: list[Any] = []

    class Bar(Progress):
        def stop(self) -> None:
            drawn.extend((one.completed, one.total) for one in self.tasks)
            super().stop()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("procession.cli.output.Progress", Bar)
        with progress("checking") as told:
            told(3, 9)
        with progress("retry", 4) as told:
            told(1)
    assert drawn == [(3, 9), (1, 4)]


def test_a_store_without_a_service_is_acted_on_with_its_domain(service: Service, say: Say) -> None:
    service.close()
    assert say("skip", 1, "-s", service.store)[0] == 2
    status, printed = say("skip", 1, "--domain", DOMAIN, "-s", service.store)
    assert (status, printed) == (0, "skip: 1 done, 0 not\n")
    assert say("parked", "-s", service.store)[1].splitlines()[1].split()[:2] == [
        "1",
        "shop.Fulfilment",
    ]
    assert say("ls", "-s", service.store)[1].splitlines()[1].split()[0] == "shop.Fulfilment"
    assert say("health", "-s", service.store)[0] == 1
    assert say("stats", "-s", service.store)[0] == 2
    assert say("graph", "-d", DOMAIN, "-s", service.store)[0] == 0


# Following, and serving


@contextmanager
def command(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", "procession", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def test_tail_follows_until_it_is_interrupted(service: Service) -> None:
    with command("tail", "-f", "-n", "1", "--json", "-s", service.store) as tail:
        assert json.loads(line_of(tail))["position"] == 7
        service.tell("place good2")
        assert json.loads(line_of(tail))["stream"] == "shop::order-good2"
        tail.send_signal(signal.SIGINT)
        assert tail.wait(timeout=30) == 0


def test_serve_runs_the_domains_until_a_signal_ends_it(service: Service, say: Say) -> None:
    assert say("serve", service.store, "-d", DOMAIN)[0] == 2
    service.close()
    assert say("serve", service.store)[0] == 2
    with command("serve", service.store, "--domain", DOMAIN) as serving:
        assert line_of(serving).startswith(f"{service.store}: runs, and answers at ")
        assert as_json(say, "stats", "-s", service.store)[0]["events"] == 7
        serving.terminate()
        assert serving.wait(timeout=30) == 0


def test_serve_tells_a_program_where_it_answers(tmp_path: Path, say: Say) -> None:
    store = tmp_path / "store"
    serve = ("serve", store, "--domain", DOMAIN, "--json")
    for arguments, has_page in ((["--http", "127.0.0.1:0", "--no-token"], True), ([], False)):
        with command(*serve, *arguments) as serving:
            told = json.loads(line_of(serving))
            assert told["path"] == str(store)
            assert Path(told["control"]).is_socket()
            assert (told["control_problem"], told["page_problem"]) == (None, None)
            if has_page:
                with urlopen(told["page"]) as answer:
                    assert answer.status == 200
            else:
                assert told["page"] is None
            serving.terminate()
            assert serving.wait(timeout=30) == 0


def test_serve_has_a_page_whose_address_it_prints(tmp_path: Path, say: Say) -> None:
    serve = ("serve", tmp_path / "store", "--domain", DOMAIN, "--http")
    for arguments, has_token in (([], True), (["--no-token"], False)):
        with command(*serve, "127.0.0.1:0", *arguments) as serving:
            line_of(serving)
            said, _, url = line_of(serving).strip().rpartition(" ")
            assert (said, "?token=" in url) == ("the page is at", has_token)
            with urlopen(url.partition("?")[0] + "static/page.css") as answer:
                assert answer.status == 200
            serving.terminate()
            assert serving.wait(timeout=30) == 0
    status, printed = say(*serve, "0.0.0.0:8090")
    assert (status, "for this machine alone" in printed) == (2, True)


# The classes


def test_check_ends_with_1_if_there_is_something(say: Say) -> None:
    flawed = "domain_examples.flawed.learns_late:flawed"
    assert say("check", DOMAIN) == (0, f"{DOMAIN}: 0 findings\n")
    status, printed = say("check", flawed)
    assert (status, "finding" in printed.splitlines()[-1]) == (1, True)
    assert as_json(say, "check", flawed)[0][0]["code"]


@pytest.mark.parametrize(
    ("domain", "why"),
    [
        ("nonsense", "write MODULE:name"),
        ("no_such_module:shop", "ModuleNotFoundError"),
        ("json:loads", "is no Domain, but function"),
        ("json:nothing", "AttributeError"),
    ],
)
def test_a_domain_that_is_none_is_refused_in_a_sentence(domain: str, why: str, say: Say) -> None:
    status, printed = say("check", domain)
    assert (status, why in printed, printed.count("\n")) == (2, True, 1)


# The store as a file, and errors


def test_the_commands_about_files_have_json(shared: Service, tmp_path: Path, say: Say) -> None:
    copy = tmp_path / "copy"
    assert as_json(say, "backup", shared.store, copy) == [
        {"path": str(shared.store), "target": str(copy), "noted": True}
    ]
    assert as_json(say, "verify", copy)[0]["findings"] == []
    assert as_json(say, "compact", copy)[0]["path"] == str(copy)
    assert as_json(say, "upgrade", copy)[0]["upgraded"] is False


def test_a_backup_is_noted_by_the_service_and_without_one_in_the_store(
    service: Service, tmp_path: Path, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    def last() -> str:
        with connect(service.store) as client:
            return str(client.one(Health())["last_backup"]["path"])

    assert say("backup", service.store, tmp_path / "one")[0] == 0
    assert last() == str(tmp_path / "one")
    service.kill()
    monkeypatch.chdir(tmp_path)
    assert say("backup", service.store, "two") == (0, f"two: copied from {service.store}\n")
    with running(service.store):
        assert last() == str(tmp_path / "two")


def test_a_backup_that_cannot_be_noted_is_whole_and_says_why(tmp_path: Path, say: Say) -> None:
    with short_folder() as folder, Runtime(folder / "store", shop, control=False):
        status, printed = say("backup", folder / "store", tmp_path / "copy")
    assert (status, "answers at no socket" in printed) == (0, True)
    assert say("verify", tmp_path / "copy")[0] == 0


def test_a_bar_shows_how_much_is_written(tmp_path: Path) -> None:
    with Growing("copying", tmp_path / "partial", 10) as bar:
        bar.get_renderables()
        assert bar.tasks[0].completed == 0
        (tmp_path / "partial").write_bytes(b"12345")
        bar.get_renderables()
        assert (bar.tasks[0].completed, bar.tasks[0].total) == (5, 10)


def test_an_error_is_one_sentence_and_a_status(tmp_path: Path, say: Say) -> None:
    for arguments in (["ls", "-s", tmp_path], ["retry", 1, "-s", tmp_path], ["verify", tmp_path]):
        status, printed = say(*arguments)
        assert (status, printed.startswith("error: "), printed.count("\n")) == (2, True, 1)
    assert say("nonsense")[0] == 2


def test_a_fault_of_the_command_is_one_sentence_and_says_how_to_see_more(
    say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(name: str) -> None:
        raise RuntimeError("a fault")

    monkeypatch.setattr(procession.cli, "find_spec", broken)
    assert say("ls") == (2, f"error: RuntimeError: a fault; with {DEBUG}=1 it says where\n")
    monkeypatch.setenv(DEBUG, "1")
    with pytest.raises(RuntimeError):
        main(["ls"])


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment without the extra."""
    monkeypatch.setattr(procession.cli, "find_spec", lambda name: None)


@pytest.mark.usefixtures("bare")
def test_without_the_extra_the_commands_about_files_work_and_the_others_say_what_to_install(
    shared: Service, tmp_path: Path, say: Say
) -> None:
    assert say("verify", shared.store)[0] == 0
    assert say("backup", shared.store, tmp_path / "copy")[0] == 0
    assert say("compact", tmp_path / "copy")[0] == 0
    assert say("upgrade", tmp_path / "copy")[0] == 0
    status, printed = say("ls", "-s", shared.store)
    assert (status, "pip install 'procession[control]'" in printed) == (2, True)
    assert say("verify")[0] == 2
    assert say("--version")[0] == 0


def test_every_command_has_a_help_with_an_example(say: Say) -> None:
    status, printed = say("--help")
    assert status == 0
    for name in COMMANDS:
        assert f" {name} " in printed
        assert f"Example: procession {name}" in " ".join(say(name, "--help")[1].split())
    for name in ("move", "cancel"):
        assert f"Example: procession timeout {name}" in say("timeout", name, "--help")[1]
    assert "Example: procession capsule var/shop" in say("capsule", "take", "--help")[1]
    for name in ("open", "test"):
        assert f"Example: procession capsule {name}" in say("capsule", name, "--help")[1]


def completed(line: str, **variables: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-m", "procession"],
        env={
            **os.environ,
            **variables,
            "_PROCESSION_COMPLETE": "complete_bash",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(line.split()) - 1),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_the_shell_completes_commands_and_the_names_of_process_managers(
    shared: Service, tmp_path: Path
) -> None:
    assert completed("procession st") == ["stuck", "stats"]
    store = str(shared.store)
    assert completed(f"procession ls -s {store} Ful") == ["Fulfilment"]
    assert completed("procession show sh", PROCESSION_STORE=store) == ["shop.Fulfilment"]
    assert completed("procession stuck --process F", PROCESSION_STORE=store) == ["Fulfilment"]
    assert completed("procession show F", PROCESSION_STORE=str(tmp_path)) == []


def test_nothing_that_was_stored_steers_the_terminal() -> None:
    assert printable("a\x1b[2Jb\nc") == "a\\x1b[2Jb\nc"
    assert printable(None) == ""
    assert len(short("x" * 1_000)) == LONGEST
    assert short({"a": "ü"}) == '{"a": "ü"}'


def test_spans_of_time_are_typed_with_a_unit() -> None:
    assert [seconds_in(one) for one in ("5", "90s", "30m", "2h", "1.5d")] == [
        5,
        90,
        1_800,
        7_200,
        129_600,
    ]
    with pytest.raises(InvalidMessage, match="is no span of time"):
        seconds_in("-1h")


def test_a_store_that_no_process_has_is_copied_and_one_that_a_service_has_is_not(
    service: Service, tmp_path: Path, say: Say
) -> None:
    status, printed = say("copy", service.store, tmp_path / "copy")
    assert (status, "already open for writing" in printed) == (2, True)
    assert say("backup", service.store, tmp_path / "one")[0] == 0
    (said,) = as_json(say, "copy", tmp_path / "one", tmp_path / "two")
    assert said["target"] == str(tmp_path / "two")
    assert said["rows"] > said["before"] == 0
    status, printed = say("copy", tmp_path / "one", tmp_path / "two")
    assert (status, "is not empty" in printed) == (2, True)
