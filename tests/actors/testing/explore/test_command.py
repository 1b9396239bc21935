"""`procession explore`: what it says, how it ends, and the test that it writes."""

import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from procession.cli import main
from procession.testing import Coverage
from procession.testing.explore.command import CannotExplore, run_explore

ROOT = Path(__file__).parents[4]
FLAWED = "domain_examples.flawed.ships_twice:program"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def ticking(step: float) -> Iterator[float]:
    return itertools.count(0.0, step)


def explored(target: str, **options: object) -> tuple[int, list[str]]:
    """A minute of a clock that goes on by a second with each look."""
    said: list[str] = []
    clock = ticking(1.0)
    settings: dict[str, object] = {"minutes": 1, "stopwatch": lambda: next(clock)}
    searched = run_explore(target, said.append, **(settings | options))  # type: ignore[arg-type]
    return searched.status, said


def test_what_is_found_ends_with_1_and_is_shown_with_its_seed(folder: Path) -> None:
    status, said = explored(FLAWED, domains=["flawed"])
    assert status == 1
    first, *_, last = said
    assert first == f"{FLAWED}, search 0, for 1 minutes"
    assert last.startswith("an_order_is_shipped_once does not hold: o1 was shipped 2 times")
    assert 'seed="' in last
    assert last.endswith(
        "test_pinned_an_order_is_shipped_once.py has this run as a test, which fails until the "
        "flaw is mended"
    )


def test_the_test_that_it_writes_fails_until_the_flaw_is_mended(folder: Path) -> None:
    explored(FLAWED, domains=["flawed"])
    (file,) = folder.glob("test_*.py")
    assert run_pytest(file).returncode == 1
    code = file.read_text()
    assert "# an_order_is_shipped_once does not hold: o1 was shipped 2 times" in code
    assert "Careless o1 handled PaymentConfirmed → issued Ship" in code
    file.write_text(code.replace("explored.flawed", "explored.correct"))
    assert run_pytest(file).returncode == 0


def run_pytest(file: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(file)],
        check=False,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        cwd=file.parent,
    )


def test_what_the_module_says_of_the_search_is_in_the_test_too(folder: Path) -> None:
    (folder / "checks.py").write_text("""
from datetime import timedelta
from domain_examples.flawed.ships_twice import *
from domain_examples.flawed.ships_twice import flawed
domain = flawed
faults = ["time"]
horizon = timedelta(days=3)
class Nested:
    programs = [program]
    program = program
""")
    status, _ = explored("checks:Nested.program", pin="tests_pinned.py")
    assert status == 1
    code = (folder / "tests_pinned.py").read_text()
    for part in ("explored.domain,", "explored.Nested.program,", "faults=explored.faults,"):
        assert part in code
    assert run_pytest(folder / "tests_pinned.py").returncode == 1


def test_a_program_that_a_strategy_made_is_in_the_seed(folder: Path) -> None:
    (folder / "made.py").write_text("""
from hypothesis import strategies as st
from domain_examples.flawed.ships_twice import ConfirmPayment, PlaceOrder, flawed, invariants
from datetime import timedelta
programs = st.just([PlaceOrder("o1"), timedelta(minutes=20), ConfirmPayment("o1")])
""")
    status, _ = explored("made:programs", minutes=60)
    assert status == 1
    (file,) = folder.glob("test_*.py")
    assert run_pytest(file).returncode == 1


def test_a_second_test_does_not_overwrite_the_first(folder: Path) -> None:
    for _ in range(2):
        explored(FLAWED, domains=["flawed"])
    assert sorted(one.name for one in folder.glob("test_*.py")) == [
        "test_pinned_an_order_is_shipped_once.py",
        "test_pinned_an_order_is_shipped_once_2.py",
    ]


def test_when_nothing_is_found_it_ends_with_0_and_says_what_was_covered(folder: Path) -> None:
    status, said = explored(FLAWED, domains=["correct"], minutes=2)
    assert status == 0
    assert said[-1].startswith("nothing found; ")
    assert "1 of 1 orders of the clients" in said[-1]
    assert list(folder.iterdir()) == []


def test_every_ten_seconds_it_says_how_far_it_is() -> None:
    _, said = explored(FLAWED, domains=["correct"], minutes=1)
    progress = [line for line in said if " s: " in line]
    assert len(progress) >= 3
    assert progress[0].lstrip().startswith("10 s: ")
    assert "runs; 1 of 1 orders of the clients; 6 handlers of 6" in progress[-1]


def test_another_seed_is_another_search_and_a_corpus_is_kept(folder: Path) -> None:
    for seed in (0, 1):
        explored(FLAWED, domains=["correct"], seed=seed, corpus=f"{seed}.corpus")
    first, second = ((folder / f"{seed}.corpus").read_text() for seed in (0, 1))
    assert first
    assert first != second


def test_an_interrupt_ends_it_with_what_was_covered_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, on_progress: object, **__: object) -> Coverage:
        raise KeyboardInterrupt

    command = sys.modules["procession.testing.explore.command"]
    monkeypatch.setattr(command, "explore", interrupted)
    assert explored(FLAWED, domains=["correct"]) == (
        130,
        [f"{FLAWED}, search 0, for 1 minutes", "interrupted; there was no run yet"],
    )


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("checks", "'checks' names no program; write MODULE:program"),
        ("not_there:program", "not_there cannot be imported: ModuleNotFoundError: No module "),
        ("broken:program", "broken cannot be imported: ZeroDivisionError: division by zero ("),
        (FLAWED, "has flawed and correct, and nothing called `domains`; say which domains to run"),
        ("domain_examples.flawed.ships_twice:none", "domain_examples.flawed.ships_twice has "),
        ("empty:program", "empty has no Domain, and nothing called `domains`"),
        ("number:program", "number:program cannot be explored: TypeError: a program is a list"),
    ],
)
def test_what_cannot_be_explored_is_one_line_and_ends_with_2(
    target: str, said: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "broken.py").write_text("1 / 0\n")
    (folder / "empty.py").write_text("program = []\n")
    (folder / "number.py").write_text(
        "from domain_examples.flawed.ships_twice import flawed\nprogram = 7\n"
    )
    assert main(["explore", target]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("minutes", [0, -1, float("nan"), float("inf")])
def test_a_time_that_is_none_is_refused(minutes: float) -> None:
    with pytest.raises(CannotExplore, match="give a number above 0"):
        explored(FLAWED, domains=["flawed"], minutes=minutes)


def test_a_test_that_cannot_be_written_is_shown_instead() -> None:
    with pytest.raises(CannotExplore, match="cannot be written") as caught:
        explored(FLAWED, domains=["flawed"], pin="no/folder/test.py")
    assert 'seed="' in str(caught.value)


def test_the_command_line_passes_everything_on(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--minutes", "0.5", "--seed", "3", "--domain", "flawed", "--pin", "pinned.py"]
    assert main(["explore", FLAWED, *arguments]) == 1
    assert capsys.readouterr().out.startswith(f"{FLAWED}, search 3, for 0.5 minutes\n")
    assert (folder / "pinned.py").exists()


def test_a_program_is_given_the_run_that_was_found_and_what_was_covered(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--minutes", "0.5", "--domain", "flawed", "--pin", "pinned.py", "--json"]
    assert main(["explore", FLAWED, *arguments]) == 1
    output = capsys.readouterr()
    told = json.loads(output.out)
    assert told["found"].startswith(
        "an_order_is_shipped_once does not hold: o1 was shipped 2 times"
    )
    assert (told["program"], told["search"], told["test"]) == (FLAWED, 0, "pinned.py")
    assert told["invariant"] == "an_order_is_shipped_once"
    assert f'seed="{told["seed"]}"' in (folder / "pinned.py").read_text()
    assert any(line["text"].startswith("Careless o1 handled") for line in told["run"])
    assert output.err.startswith(f"{FLAWED}, search 0, for 0.5 minutes\n")

    arguments = ["--minutes", "0.001", "--domain", "correct", "--json"]
    assert main(["explore", FLAWED, *arguments]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["found"], told["orders"], told["orders_in_all"]) == (None, 1, 1)
    assert told["runs"] >= 1
    assert isinstance(told["handlers"], list)


def test_domains_may_be_several(folder: Path) -> None:
    (folder / "several.py").write_text("""
from procession import Aggregate, Command, Domain, handle
one, other = Domain("one"), Domain("other")

@one.register
class Do(Command):
    it: str

@other.register
class Doer(Aggregate, identity="it"):
    @handle(Do)
    def do(self, command):
        raise ValueError("always")

program = [Do("a")]
""")
    assert explored("several:program", domains=["one", "other"])[0] == 1
    (file,) = folder.glob("test_*.py")
    assert "[explored.one, explored.other]," in file.read_text()
    assert run_pytest(file).returncode == 1
