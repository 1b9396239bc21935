"""The plugin that pytest loads where Procession is installed: fixtures, and the marker `explored`.

It stands beside the package, since to import a part of that is to import all of it. What pytest
loads at its start must cost those nothing who test something else; so Procession is imported when a
test first asks for it.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from procession import Domain, Runtime
    from procession.testing import CounterExample, Simulation, VirtualClock

MARKER = (
    "explored(program, **options): the test is an invariant of its `simulation`, for which "
    "procession.testing.explore searches a run that breaks it. The options are those of explore"
)


COVERED = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", MARKER)


# Fixtures


@pytest.fixture
def domains(request: pytest.FixtureRequest) -> Iterable[Domain]:
    """The domains that `runtime` and `simulation` run: to be overridden.

    Without a fixture of your own by this name, it is your fixture `domain`, if there is one.
    """
    try:
        found = request.getfixturevalue("domain")
    except pytest.FixtureLookupError as error:
        if error.argname != "domain":
            raise
        pytest.fail(
            "Procession's fixtures need domains: write a fixture `domain` that returns a Domain, "
            "or a fixture `domains` that returns several, in a conftest.py or beside the tests",
            pytrace=False,
        )
    return _several(found)


@pytest.fixture
def virtual_clock() -> VirtualClock:
    """A clock that stands still until `advance` moves it."""
    from procession.testing import VirtualClock  # noqa: PLC0415 - when a test first asks for it

    return VirtualClock()


@pytest.fixture
def runtime(domains: Iterable[Domain], virtual_clock: VirtualClock) -> Iterator[Runtime]:
    """A runtime of the domains by the virtual clock, in a temporary folder that goes with it."""
    from procession import Runtime  # noqa: PLC0415 - as above

    with Runtime.ephemeral(*_several(domains), clock=virtual_clock) as runtime:
        yield runtime


@pytest.fixture
def simulation(
    request: pytest.FixtureRequest, domains: Iterable[Domain]
) -> Iterator[Simulation | list[Domain]]:
    """A simulation of the domains; in a test that is marked with `explored`, that of each run."""
    if request.node.get_closest_marker("explored") is not None:
        # Each run brings a simulation of its own, which is made of these.
        yield _several(domains)
        return
    from procession.testing import Simulation  # noqa: PLC0415 - as above

    with Simulation(*_several(domains)) as simulation:
        yield simulation


def _several(found: Any) -> list[Domain]:
    from procession import Domain  # noqa: PLC0415 - as above

    is_one = isinstance(found, Domain) or not isinstance(found, Iterable)
    domains = [found] if is_one else list(found)
    if not all(isinstance(one, Domain) for one in domains):
        pytest.fail(
            f"Procession's fixtures run Domains, and were given {found!r}; write a fixture "
            f"`domains` that returns those of your tests",
            pytrace=False,
        )
    return domains


# The marker


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Explore, with a test that is marked as the invariant."""
    marker = pyfuncitem.get_closest_marker("explored")
    if marker is None:
        return None
    from procession.testing import explore  # noqa: PLC0415 - as above
    from procession.testing.explore.invariants import at_end, is_for_the_end  # noqa: PLC0415

    test, given = pyfuncitem.obj, pyfuncitem.funcargs
    names = inspect.signature(test).parameters
    if "simulation" not in names or len(marker.args) != 1:
        pytest.fail(
            f"{pyfuncitem.name} is marked as explored: it takes `simulation`, and the marker the "
            f"program, as explored([PlaceOrder(...)])",
            pytrace=False,
        )
    arguments = {name: given[name] for name in names if name in given}

    def invariant(simulation: Simulation) -> object:
        return test(**(arguments | {"simulation": simulation}))

    invariant.__name__ = pyfuncitem.name
    if is_for_the_end(test):
        at_end(invariant)
    options = dict(marker.kwargs)
    invariants = [invariant, *options.pop("invariants", ())]
    domains: Any = given["simulation"]
    coverage = explore(domains, marker.args[0], invariants, **options)
    pyfuncitem.stash[COVERED] = str(coverage)
    return True


# The report


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, Any, None]:
    """Show the run that was found below what failed; of a test that passed, what was covered."""
    outcome = yield
    report: pytest.TestReport = outcome.get_result()
    if call.when == "call" and COVERED in item.stash:
        report.sections.append(("what was explored", item.stash[COVERED]))
    found = _counter_example(call)
    if found is None:
        return
    properties = [("procession_invariant", found.invariant), ("procession_seed", found.seed)]
    report.user_properties += properties
    # JUnit's file takes those of the last report of a test, which is made of the item's.
    item.user_properties += properties
    if item.get_closest_marker("explored") is None:
        # The text of the error has all of it, and its traceback the line that called `explore`.
        return
    again = f'To have this run again, add seed="{found.seed}" to the marker `explored`.'
    report.sections.append(("the shortest run that breaks it", f"{found.trace}\n\n{again}"))
    if found.invariant == item.name and found.__cause__ is not None:
        # What failed in the test, as of any other test.
        report.longrepr = item.repr_failure(pytest.ExceptionInfo.from_exception(found.__cause__))
    else:
        report.longrepr = str(found).partition("\n")[0]


def _counter_example(call: pytest.CallInfo[None]) -> CounterExample | None:
    # Where nothing has imported it, nothing can have raised it.
    testing = sys.modules.get("procession.testing")
    if testing is None or call.excinfo is None:
        return None
    error = call.excinfo.value
    return error if isinstance(error, testing.CounterExample) else None
