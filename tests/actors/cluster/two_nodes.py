"""Two runtimes over one database, each with half of its partitions."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from procession import Runtime
from procession.clock import seconds
from procession.store.interrupts import Latch
from tests.postgresql import shared_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from procession import Domain

PARTITIONS = 4

PATIENCE = 60


def until(is_so: Callable[[], object]) -> None:
    end = seconds() + PATIENCE
    while not is_so():
        assert seconds() < end
        Latch().wait(0.01)


def owned(runtime: Runtime) -> list[int]:
    return runtime._share._owned()  # type: ignore[attr-defined, no-any-return]


def node(url: str, domain: Domain) -> Runtime:
    return Runtime(url, domain, partitions=PARTITIONS)


@contextmanager
def two_nodes(domain: Domain, url: str = "") -> Iterator[tuple[Runtime, Runtime]]:
    url = url or shared_server().new_url(without_tables=True)
    with node(url, domain) as one, node(url, domain) as other:
        until(lambda: len(owned(one)) == len(owned(other)) == PARTITIONS // 2)
        yield one, other
