"""CPython keeps up to 29 attributes beside their object, where it finds them fastest.

An object with more, or that was asked for its `__dict__`, as a cached property does, has a
dictionary of its own, in which each attribute and each method takes two to three times as long to
be found; an order has hundreds of them.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import pytest

from procession import Domain, Event, ProcessManager, Runtime, handle

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST = 29


class Opened(Event):
    case: str


cases = Domain("attributes")


@cases.register
class Case(ProcessManager, correlate="case"):
    case: str = ""

    @handle(Opened, start=True)
    def on_opened(self, event: Opened) -> None: ...


@pytest.fixture
def looked_at_by_each_step() -> Iterator[list[object]]:
    with Runtime.ephemeral(cases) as runtime:
        engine = runtime._engine("ask")
        services, [router] = engine.services, engine.routers
        yield [
            engine.dispatcher,
            engine.journal,
            engine.residency,
            engine.command_queue,
            router,
            router.plan,
            router.plan.definition,
            services.registry,
            services.event_buffer,
            services.store,
            services.store.ahead,
        ]


def test_what_each_step_looks_at_has_its_attributes_beside_it(
    looked_at_by_each_step: list[object],
) -> None:
    many = {type(one).__name__: len(vars(one)) for one in looked_at_by_each_step}
    assert {name: count for name, count in many.items() if count > MOST} == {}


def test_what_each_step_looks_at_has_no_cached_property(
    looked_at_by_each_step: list[object],
) -> None:
    bodies = [body for one in looked_at_by_each_step for body in type(one).__mro__]
    cached = [
        f"{body.__name__}.{name}"
        for body in bodies
        for name, value in vars(body).items()
        if isinstance(value, cached_property)
    ]
    assert cached == []
