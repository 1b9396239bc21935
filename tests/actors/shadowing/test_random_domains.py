"""Over random domains: code that did not change does the same, and what changed is found."""

import os
from contextlib import closing
from dataclasses import replace
from random import Random

from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from procession import ShadowReport, shadow
from procession.store import DictionaryEngine, Store
from procession.testing import FAULTS, Simulation
from tests.actors.testing.descriptions import Action, DomainMade, ManagerMade, OnEvent
from tests.actors.testing.random_domains import (
    Example,
    examples,
    items_of,
    learning,
    restarting,
)
from tests.actors.testing.written import Written, written

EXAMPLES = int(os.environ.get("PROCESSION_EXAMPLES", "100"))

MOST_TURNS = 1_000

exploring = settings(
    max_examples=EXAMPLES // 8,
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


def counting_twice(made: DomainMade, manager: ManagerMade, name: str) -> DomainMade:
    """The same domain, in which one handler counts once more."""

    def changed(handler: OnEvent) -> OnEvent:
        actions = (Action("count"), *handler.actions)
        return replace(handler, actions=actions) if handler.name == name else handler

    other = replace(manager, events=tuple(changed(one) for one in manager.events))
    managers = tuple(other if one is manager else one for one in made.managers)
    return replace(made, managers=managers)


def steps_by(engine: DictionaryEngine, process: str, handler: str) -> int:
    with closing(engine.beside(read_only=True)) as tables:
        found = [one for _, one in Store(tables).scan_all_transitions()]
    return sum(
        not isinstance(one, Exception) and one[0] == process and one[2].handler == handler
        for one in found
    )


@exploring
@given(examples() | learning() | restarting(), st.integers(0, 1_000_000), st.randoms())
def test_what_a_changed_handler_does_is_found_and_nothing_else(
    one: Example, seed: int, chance: Random
) -> None:
    managers = [each for each in one.made.managers if not each.stateless]
    assume(managers)
    manager = chance.choice(managers)
    handler = chance.choice(manager.events)
    engine = stored(one, written(one.made), seed)
    report = tried(engine, written(counting_twice(one.made, manager, handler.name)))

    own = [each for each in report.differences if not each.follows]
    process = f"wild.{manager.name}"
    assert {(each.process, each.handler) for each in own} <= {(process, handler.name)}
    assert {each.process for each in report.differences} <= {process}
    counted = sum(each.steps for each in own if each.how == "count is another")
    assert counted == steps_by(engine, process, handler.name)
    assert not report.not_deterministic
