"""Documents of a divided store: each partition has its own, and all are read as one."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from procession import Runtime, SeveralDocuments
from tests.actors.cluster.sums import Counted, Newest, Totals, sums

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PARTITIONS = 4
WAIT = 60
KEYS = [f"k{number:02}" for number in range(12)]


@contextmanager
def of_processes(path: Path, processes: int) -> Iterator[tuple[Runtime, Runtime]]:
    with (
        Runtime(path, sums, partitions=PARTITIONS, processes=processes) as runtime,
        Runtime(path, sums, read_only=True) as beside,
    ):
        yield runtime, beside


@pytest.fixture(params=["one process", "two processes", "two nodes"])
def both(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Runtime, Runtime]]:
    """One that writes and acts, and one that reads beside it."""
    if request.param == "two nodes":
        pytest.importorskip("psycopg")
        from tests.actors.cluster.two_nodes import two_nodes  # noqa: PLC0415 - it needs the driver

        with two_nodes(sums) as opened:
            yield opened
    else:
        with of_processes(tmp_path / "store", 1 + (request.param == "two processes")) as opened:
            yield opened


def test_documents_of_all_partitions_are_read_as_one_and_made_anew_where_they_are(
    both: tuple[Runtime, Runtime],
) -> None:
    runtime, beside = both
    events = [Counted(key, number) for number, key in enumerate(KEYS, 1)]
    runtime.publish_many(events, stream=lambda event: f"sums::sum-{event.key}")
    whole = {**{key: number for number, key in enumerate(KEYS, 1)}, "all": sum(range(1, 13))}
    told: list[int] = []
    for version in (1, 2):
        runtime.read(Totals, timeout=WAIT)
        runtime.read(Newest, timeout=WAIT)
        for one in both:
            found = list(one.documents(Totals).items())
            assert dict(found) == {key: version * value for key, value in whole.items()}
            assert found == sorted(found)
            assert one.documents(Totals).get("all") == version * whole["all"]
            assert [key for key, _ in one.documents(Totals).items("k", after="k09")] == KEYS[10:]
            with pytest.raises(SeveralDocuments, match=r"under 'newest'.*merge="):
                one.documents(Newest).get("newest")
            with pytest.raises(SeveralDocuments):
                list(one.documents(Newest).items())
        progress = runtime.rebuild(Totals, on_progress=lambda one: told.append(one.projected))
        assert progress.projected == told[-1] == version * len(KEYS)
        assert dict(beside.documents(Totals).items())["all"] == version * whole["all"]
        if version == 1:
            runtime.publish_many(events, stream=lambda event: f"sums::sum-{event.key}")
