"""The plugin for pytest: its fixtures, its marker, what it reports, and what it costs."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

pytest_plugins = "pytester"

SHOP = """
import pytest
from domain_examples.flawed import ships_twice as shop
from procession.testing import at_end, explore
"""

DOMAIN = """
@pytest.fixture
def domain():
    return shop.flawed
"""


def run(pytester: pytest.Pytester, code: str, *arguments: str) -> pytest.RunResult:
    pytester.makepyfile(SHOP + code)
    return pytester.runpytest_inprocess("--strict-markers", *arguments)


# What it costs


def test_pytest_starts_without_importing_anything_of_procession(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import sys

        def test_nothing_is_there(pytestconfig):
            assert pytestconfig.pluginmanager.hasplugin("procession")
            assert not {"procession", "lmdb", "pykka", "msgspec", "hypothesis"} & sys.modules.keys()
    """)
    pytester.runpytest_subprocess().assert_outcomes(passed=1)


# Fixtures


def test_a_fixture_called_domain_is_what_they_run(pytester: pytest.Pytester) -> None:
    code = """
from datetime import timedelta

def test_a_runtime_by_the_virtual_clock(runtime, virtual_clock):
    begun = virtual_clock.now()
    runtime.ask(shop.PlaceOrder("o1"))
    virtual_clock.advance(timedelta(days=1))
    assert runtime.clock is virtual_clock
    assert virtual_clock.now() == begun + timedelta(days=1)
    assert runtime.events("shop::warehouse-o1")

def test_a_simulation(simulation):
    simulation.tell(shop.PlaceOrder("o1"))
    simulation.run()
    assert len(list(simulation.events("shop::warehouse-o1"))) == 1
"""
    run(pytester, DOMAIN + code).assert_outcomes(passed=2)


@pytest.mark.parametrize("made", ["[shop.flawed]", "shop.flawed", "iter((shop.flawed,))"])
def test_a_fixture_called_domains_goes_before_it(pytester: pytest.Pytester, made: str) -> None:
    code = f"""
@pytest.fixture
def domain():
    return "example.org"

@pytest.fixture
def domains():
    return {made}

def test_it(runtime):
    runtime.ask(shop.PlaceOrder("o1"))
"""
    run(pytester, code).assert_outcomes(passed=1)


def test_a_runtime_is_closed_and_its_folder_is_gone_when_the_test_is_over(
    pytester: pytest.Pytester,
) -> None:
    code = """
from pathlib import Path
seen = []

def test_first(runtime):
    seen.append(runtime)
    assert Path(runtime._path).is_dir()

def test_second():
    from procession import ClosedError
    with pytest.raises(ClosedError):
        seen[0].stats()
    assert not Path(seen[0]._path).exists()
"""
    run(pytester, DOMAIN + code).assert_outcomes(passed=2)


def test_without_a_domain_the_error_says_which_fixture_to_write(pytester: pytest.Pytester) -> None:
    result = run(pytester, "def test_it(runtime): pass")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*write a fixture `domain` that returns a Domain*"])
    result.stdout.no_fnmatch_line("*_procession_pytest.py*")


def test_what_a_fixture_of_yours_lacks_is_told_as_pytest_tells_it(
    pytester: pytest.Pytester,
) -> None:
    code = """
@pytest.fixture
def domain(not_there): pass

def test_it(runtime): pass
"""
    result = run(pytester, code)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["E *fixture 'not_there' not found"])


def test_what_is_no_domain_is_refused_with_what_to_write(pytester: pytest.Pytester) -> None:
    code = """
@pytest.fixture
def domain():
    return "example.org"

def test_it(simulation): pass
"""
    result = run(pytester, code)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*were given 'example.org'; write a fixture `domains`*"])


# The marker


def test_a_marked_test_is_asked_in_every_run_and_with_its_other_fixtures(
    pytester: pytest.Pytester,
) -> None:
    code = """
asked = []

@pytest.fixture
def other():
    return "fixture"

@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.explored(shop.program, max_examples=20)
def test_it(simulation, other, number):
    asked.append((id(simulation), other, number))

class TestOfAClass:
    @pytest.mark.explored(shop.program, max_examples=20)
    def test_it(self, simulation):
        assert simulation.turns

def test_so_it_was():
    assert {(other, number) for _, other, number in asked} == {("fixture", 1), ("fixture", 2)}
    assert len(asked) > 40
"""
    result = run(pytester, DOMAIN + code, "-rA")
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["*- what was explored -*", "20 runs; 1 of 1 orders*"])


def test_a_failing_one_shows_its_assertion_and_the_shortest_run(pytester: pytest.Pytester) -> None:
    code = """
@pytest.mark.explored(shop.program)
def test_an_order_is_shipped_once(simulation):
    shipped = list(simulation.events("shop::warehouse-o1"))
    assert len(shipped) <= 1
"""
    result = run(pytester, DOMAIN + code, "--junitxml=report.xml")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            ">       assert len(shipped) <= 1",
            "E *assert 2 <= 1",
            "*- the shortest run that breaks it -*",
            "*Careless o1 handled timeout payment → issued Ship",
            "*Careless o1 handled PaymentConfirmed → issued Ship",
            'To have this run again, add seed="*" to the marker `explored`.',
            "FAILED *test_an_order_is_shipped_once*",
        ]
    )
    # None of the lines that called the test.
    result.stdout.no_fnmatch_line("*actors/testing*")
    report = (pytester.path / "report.xml").read_text()
    assert 'name="procession_seed"' in report
    assert 'value="test_an_order_is_shipped_once"' in report


def test_the_seed_has_just_that_run_again(pytester: pytest.Pytester) -> None:
    code = """
asked = set()

@pytest.mark.explored(shop.program, seed="eNqbPGHiZEYh1gMAD9kDIA")
def test_once(simulation):
    asked.add(simulation)

def test_so_it_was():
    assert len(asked) == 1
"""
    run(pytester, DOMAIN + code).assert_outcomes(passed=2)


def test_one_that_holds_at_the_end_only_is_marked_so(pytester: pytest.Pytester) -> None:
    code = """
@pytest.mark.explored(shop.program, max_examples=20)
@at_end
def test_all_is_shipped(simulation):
    return bool(list(simulation.events("shop::warehouse-o1")))

@pytest.mark.explored(shop.program, max_examples=20)
def test_all_is_shipped_at_once(simulation):
    return bool(list(simulation.events("shop::warehouse-o1")))
"""
    result = run(pytester, DOMAIN + code)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["test_all_is_shipped_at_once does not hold: it returned False"])


def test_what_explore_checks_itself_is_shown_in_a_sentence(pytester: pytest.Pytester) -> None:
    code = """
from procession import Command, Aggregate, Domain, handle

class Fail(Command):
    it: str

failing = Domain("failing")

@failing.register
class It(Aggregate, identity="it"):
    @handle(Fail)
    def fail(self, command):
        raise ValueError("always")

@pytest.fixture
def domain():
    return failing

@pytest.mark.explored([Fail("a")])
def test_it(simulation): pass
"""
    result = run(pytester, code)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["nothing_unexpected_is_parked does not hold*ValueError: always"])


@pytest.mark.parametrize("test", ["(shop.program)\ndef test_it()", "\ndef test_it(simulation)"])
def test_a_marked_test_needs_a_simulation_and_a_program(
    pytester: pytest.Pytester, test: str
) -> None:
    result = run(pytester, f"{DOMAIN}\n@pytest.mark.explored{test}: pass")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["test_it is marked as explored: it takes `simulation`, and *"])


def test_a_failing_call_of_explore_shows_its_line_and_none_below(
    pytester: pytest.Pytester,
) -> None:
    code = """
def test_it():
    explore(shop.flawed, shop.program, shop.invariants)
"""
    result = run(pytester, code, "--junitxml=report.xml")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            ">       explore(shop.flawed, shop.program, shop.invariants)",
            "E*Careless o1 handled timeout payment → issued Ship",
            'E *explore(shop, program, invariants, seed="*")',
        ]
    )
    result.stdout.no_fnmatch_line("*testing/explore/explore.py*")
    assert 'name="procession_seed"' in (pytester.path / "report.xml").read_text()


def test_a_profile_of_hypothesis_says_how_many_runs_there_are(pytester: pytest.Pytester) -> None:
    pytester.makeconftest("""
        import os
        from hypothesis import settings
        settings.register_profile("short", max_examples=10)
        settings.register_profile("long", max_examples=20)
        settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "short"))
    """)
    code = """
@pytest.mark.explored(shop.program)
def test_it(simulation): pass
"""
    pytester.makepyfile(SHOP + DOMAIN + code)
    for profile, runs in (("", 30), ("long", 60)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PYTHONPATH", str(ROOT))
            if profile:
                patch.setenv("HYPOTHESIS_PROFILE", profile)
            else:
                patch.delenv("HYPOTHESIS_PROFILE", raising=False)
            result = pytester.runpytest_subprocess("-rA")
        result.assert_outcomes(passed=1)
        result.stdout.fnmatch_lines([f"{runs} runs; *"])
