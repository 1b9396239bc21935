"""Over random domains: code that did not change does the same, and what changed is found."""

import os
from contextlib import closing

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from procession import ShadowReport, shadow
from procession.store import DictionaryEngine
from procession.testing import FAULTS, Simulation
from tests.actors.testing.descriptions import Action, DomainMade, ManagerMade
from tests.actors.testing.random_domains import (
    Example,
    examples,
    items_of,
    learning,
    restarting,
)
from tests.actors.testing.written import Written, written

EXAMPLES = int(os.environ.get("PROCESSION_EXAMPLES", "100"))

MOST_TURNS = 2_000

exploring = settings(
    max_examples=EXAMPLES // 3,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
)


def stored(one: Example, code: Written, seed: int) -> DictionaryEngine:
    """What a run of an example leaves on its disk."""
    items = items_of(code.classes, one.program)
    options = {"faults": FAULTS} | one.options
    with Simulation(code.domain, program=items, seed=seed, **options) as run:
        for turn, _ in enumerate(run.steps(max_steps=30_000)):
            if turn > MOST_TURNS:
                break
        with run._world.store.snapshot() as snapshot:
            return DictionaryEngine.copy_of(snapshot)


def tried(engine: DictionaryEngine, code: Written) -> ShadowReport:
    with closing(engine.beside(read_only=True)) as tables:
        return shadow(tables, code.domain)


@exploring
@given(examples() | learning() | restarting(), st.integers(0, 1_000_000))
def test_code_that_did_not_change_does_the_same(one: Example, seed: int) -> None:
    code = written(one.made)
    report = tried(stored(one, code, seed), code)
    assert (report.differences, report.not_deterministic, report.outside) == ((), (), ())
    assert not report.damaged
