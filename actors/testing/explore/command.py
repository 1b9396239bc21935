"""`procession explore`: a search for as long as there is time, and a test of what it found."""

from __future__ import annotations

import importlib
import os
import re
import sys
import traceback
from dataclasses import dataclass
from datetime import timedelta
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ...clock import seconds
from ...model.domain import Domain
from ...store import ProcessionError
from .counterexample import CounterExample
from .explore import explore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from os import PathLike
    from types import ModuleType

    from .coverage import Coverage

__all__ = ["CannotExplore", "Exploration", "Searched", "pinned_test", "run_explore"]

NOTHING_FOUND, FOUND, INTERRUPTED = 0, 1, 130
"""What the process ends with; what could not be done is 2, as for every command."""

PROGRESS_EVERY = 10.0
"""Seconds between two lines about how far it is."""

TAKEN = ("faults", "before_each", "horizon", "allow_parked", "nodes", "codec")
"""Arguments of `explore` that are taken from the module, where it has something by their names."""


class CannotExplore(ProcessionError):
    """What was named is not there, or is not what a search needs."""


@dataclass(frozen=True, slots=True)
class Exploration:
    """What is searched, as a module says it.

    Attributes:
        module: the module's name
        program: the name of the program in it
        domains: the names of the domains in it, or the one name of a list of them
        module_itself: where these names are looked up

    """

    module: str
    program: str
    domains: tuple[str, ...]
    module_itself: ModuleType

    @classmethod
    def named(cls, target: str, domains: Sequence[str] = ()) -> Exploration:
        """What a word such as ``shop.checks:program`` names.

        Args:
            target: a module that Python finds, and the name of a program in it
            domains: names of domains in it. Without them it is what the module calls `domains` or
                `domain`, or the one domain that it has

        Raises:
            CannotExplore: there is no such module, program or domain

        """
        name, colon, program = target.partition(":")
        if not (name and colon and program):
            raise CannotExplore(f"{target!r} names no program; write MODULE:program")
        if "" not in sys.path:
            # As `python -m` does; an installed command has the folder of the command there.
            sys.path.insert(0, "")
        try:
            module = importlib.import_module(name)
        except Exception as error:
            raise CannotExplore(f"{name} cannot be imported: {_in_one_line(error)}") from error
        found = cls(name, program, tuple(domains) or _domains_of(module), module)
        for one in (program, *found.domains):
            found.look_up(one)
        return found

    def look_up(self, name: str) -> Any:
        """What the module calls by a name, with dots in it perhaps.

        Raises:
            CannotExplore: it has no such name

        """
        try:
            return attrgetter(name)(self.module_itself)
        except AttributeError as error:
            raise CannotExplore(f"{self.module} has no {name!r}") from error

    @property
    def taken(self) -> list[str]:
        """Which arguments of `explore` beside the invariants the module has."""
        return [one for one in TAKEN if hasattr(self.module_itself, one)]

    @property
    def has_invariants(self) -> bool:
        """Whether the module says what must hold, beside what `explore` checks by itself."""
        return hasattr(self.module_itself, "invariants")

    def run(self, **options: Any) -> Coverage:
        """Explore; raises what `explore` does."""
        found = [self.look_up(one) for one in self.domains]
        domains = found[0] if len(found) == 1 else found
        invariants = self.look_up("invariants") if self.has_invariants else ()
        own = {one: self.look_up(one) for one in self.taken}
        return explore(domains, self.look_up(self.program), invariants, **own, **options)


class Searched(NamedTuple):
    """What came of a search.

    Attributes:
        status: what the process ends with: 0 when nothing was found, 1 when something was, 130 when
            the search was interrupted
        data: the same for programs

    """

    status: int
    data: dict[str, Any]


def _domains_of(module: ModuleType) -> tuple[str, ...]:
    for name in ("domains", "domain"):
        if hasattr(module, name):
            return (name,)
    there = [name for name, value in vars(module).items() if isinstance(value, Domain)]
    if len(there) == 1:
        return (there[0],)
    raise CannotExplore(
        f"{module.__name__} has {' and '.join(there) or 'no Domain'}, and nothing called "
        f"`domains`; say which domains to run: --domain NAME"
    )


def run_explore(
    target: str,
    say: Callable[[str], object],
    *,
    minutes: float,
    seed: int = 0,
    domains: Sequence[str] = (),
    store: str | PathLike[str] | None = None,
    corpus: str | PathLike[str] | None = None,
    pin: str | PathLike[str] | None = None,
    stopwatch: Callable[[], float] = seconds,
) -> Searched:
    """Search for a run that breaks an invariant, and write a test of the shortest one.

    Args:
        target: a module and the name of a program in it, as ``shop.checks:program``
        say: is given each line for people
        minutes: how long to search, of real time
        seed: of the search; another one has other runs
        domains: names of domains in the module; see `Exploration.named`
        store: what each run begins with: a store's folder, or an incident capsule
        corpus: a file of seeds, as for `explore`
        pin: the file of the test; without it, one in the folder in hand that is named after the
            invariant
        stopwatch: what time is measured by; it tells seconds

    Returns:
        what came of it

    Raises:
        CannotExplore: the search could not begin, or the test could not be written

    """
    exploration = Exploration.named(target, domains)
    if not 0 < minutes < float("inf"):
        raise CannotExplore(f"--minutes {minutes}: give a number above 0")
    say(f"{target}, search {seed}, for {minutes:g} minutes")
    progress = _Progress(say, stopwatch)
    asked = {"program": target, "search": seed}
    try:
        coverage = exploration.run(
            budget=timedelta(minutes=minutes),
            seed=seed,
            store=store,
            corpus=corpus,
            stopwatch=stopwatch,
            on_progress=progress.look,
        )
    except CounterExample as found:
        file = _free_file(found.invariant) if pin is None else Path(pin)
        _write(file, pinned_test(exploration, found, store))
        say(f"{found}\n\n{file} has this run as a test, which fails until the flaw is mended")
        return Searched(FOUND, {**asked, **_run_in(found), "test": str(file)})
    except KeyboardInterrupt:
        say(f"interrupted; {progress.last or 'there was no run yet'}")
        return Searched(INTERRUPTED, {**asked, "found": None, **_covered(progress.last)})
    except Exception as error:
        raise CannotExplore(f"{target} cannot be explored: {_in_one_line(error)}") from error
    say(f"nothing found; {coverage}")
    return Searched(NOTHING_FOUND, {**asked, "found": None, **_covered(coverage)})


def _run_in(found: CounterExample) -> dict[str, Any]:
    """The shortest run that breaks an invariant, as data; its text is a sentence."""
    return {
        "found": str(found).partition("\n")[0],
        "invariant": found.invariant,
        "seed": found.seed,
        "run": [
            {"turn": line.turn, "seconds": line.after / 1_000_000, "text": line.text}
            for line in found.trace.essential
        ],
    }


def _covered(coverage: Coverage | None) -> dict[str, Any]:
    """What the runs reached, as data; nothing of none."""
    if coverage is None:
        return {"runs": 0}
    return {
        "runs": coverage.runs,
        "orders": coverage.orders,
        "orders_in_all": coverage.orders_in_all,
        "handlers": coverage.handlers,
        "never": coverage.never,
    }


class _Progress:
    """Says how far a search is, every few seconds."""

    def __init__(self, say: Callable[[str], object], stopwatch: Callable[[], float]) -> None:
        self._say = say
        self._stopwatch = stopwatch
        self._began = self._said = stopwatch()
        self.last: Coverage | None = None

    def look(self, coverage: Coverage) -> None:
        self.last = coverage
        now = self._stopwatch()
        if now - self._said >= PROGRESS_EVERY:
            self._said = now
            summary = str(coverage).partition("\n")[0]
            self._say(f"{now - self._began:6.0f} s: {summary}")


# The test


def pinned_test(
    exploration: Exploration, found: CounterExample, store: str | PathLike[str] | None = None
) -> str:
    """The text of a test that has the run of a counterexample again."""
    invariant = re.sub(r"\W+", "_", found.invariant)
    names = [f"explored.{one}" for one in exploration.domains]
    arguments = [
        names[0] if len(names) == 1 else f"[{', '.join(names)}]",
        f"explored.{exploration.program}",
        *(["explored.invariants"] if exploration.has_invariants else []),
        *(f"{one}=explored.{one}" for one in exploration.taken),
        *([] if store is None else [f"store={os.fspath(store)!r}"]),
        f'seed="{found.seed}"',
    ]
    lines = [
        f'"""A run in which {found.invariant} does not hold, found by `procession explore`.',
        "",
        "It fails until the flaw is mended. The seed is for this program, these domains and the",
        "version of Procession that found it; after a change it may stand for another run.",
        '"""',
        "",
        f"import {exploration.module} as explored",
        "from procession.testing import explore",
        "",
        *(f"# {line}".rstrip() for line in str(found).partition("\n\nTo have")[0].splitlines()),
        "",
        "",
        f"def test_{invariant}_in_the_run_that_was_found() -> None:",
        "    explore(",
        *(f"        {one}," for one in arguments),
        "    )",
        "",
    ]
    return "\n".join(lines)


def _free_file(invariant: str) -> Path:
    """A file for a test, by a name that none has."""
    stem = f"test_pinned_{re.sub(r'[^a-zA-Z0-9]+', '_', invariant).strip('_')}"
    number, file = 1, Path(f"{stem}.py")
    while file.exists():
        number += 1
        file = Path(f"{stem}_{number}.py")
    return file


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, "utf-8")
    except OSError as error:
        raise CannotExplore(f"{file} cannot be written: {error}\n\n{text}") from error


def _in_one_line(error: BaseException) -> str:
    """An exception with the line that raised it."""
    (*_, last) = traceback.extract_tb(error.__traceback__)
    text = str(error).partition("\n")[0]
    return f"{type(error).__name__}: {text} ({last.filename}:{last.lineno})"
