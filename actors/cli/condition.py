"""`stats` and `health`: how a service is."""

from typing import Any

import typer

from ..control.calls import Health, Stats
from .options import CodecOption, JsonOption, StoreOption, looking
from .output import show

__all__ = ["health", "stats"]


def stats(
    *,
    store: StoreOption = ".",
    codec: CodecOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the counters of a running service.

    Example: procession stats --json
    """
    with looking(store, codec=codec) as client:
        found = client.one(Stats())
    show(found, (f"{name:<20}{value:>14,}" for name, value in found.items()), as_json=as_json)


def health(
    *,
    store: StoreOption = ".",
    codec: CodecOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say how a running service is: 0 if all is well, 1 if not or if none answers.

    Example: procession health || notify-the-person-on-call
    """
    with looking(store, codec=codec) as client:
        found = client.one(Health())
    show(found, _lines(found), as_json=as_json)
    raise typer.Exit(0 if found["is_healthy"] else 1)


def _lines(found: dict[str, Any]) -> list[str]:
    problems = [f"{one['name']}: {one['detail']}" for one in found["problems"]]
    return problems or ["all is well"]
