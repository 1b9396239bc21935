"""`shadow`: other code, tried on all that is stored."""

from typing import Annotated, Any

import typer

from ..shadowing.shadow import shadow as try_on
from .named import codec_of, domain_of
from .options import CodecOption, JsonOption
from .output import Column, progress, said, short, show_json, show_rows
from .store_files import PlaceArgument

__all__ = ["shadow"]


def _has(row: dict[str, Any]) -> str:
    if row["of"] == "events":
        return "not counted"
    running = f" ({row['running']:,} running)" if row["of"] == "instances" else ""
    return f"{row['instances']:,}{running}"


_DIFFERENCES: list[Column] = [
    ("KIND", lambda row: row["kind"]),
    ("HANDLER", lambda row: f"{row['process']}.{row['handler']}".rstrip(".")),
    ("WHAT", lambda row: f"{row['how']}{', since its state is another' * row['follows']}"),
    ("STEPS", lambda row: f"{row['steps']:,}"),
    ("INSTANCES", _has),
    ("EXAMPLE", lambda row: _example(row["example"])),
]


def shadow(
    path: PlaceArgument,
    domains: Annotated[
        list[str],
        typer.Argument(metavar="MODULE:NAME...", help="Where the domains with the code are."),
    ],
    *,
    sample: Annotated[
        int | None,
        typer.Option("--sample", min=1, help="Most of each kind."),
    ] = None,
    live: Annotated[
        bool, typer.Option("--live", help="Only instances that are not complete.")
    ] = False,
    processes: Annotated[
        int | None, typer.Option("--processes", min=1, help="How many share the work.")
    ] = None,
    codec: CodecOption = None,
    as_json: JsonOption = False,
) -> None:
    """Try code on what is stored, which stays as it is; 1 if the code does something else.

    Example: procession shadow var/shop shop.domain:shop --processes 4
    """
    found = [domain_of(one) for one in domains]
    with progress("trying") as told:
        report = try_on(
            path,
            *found,
            sample=sample,
            live=live,
            processes=processes,
            codec=codec_of(codec),
            on_progress=told,
        )
    told_of = report.to_dict()
    if as_json:
        show_json(told_of)
    else:
        _say(told_of, str(report).splitlines()[-1])
    raise typer.Exit(1 if report.differences or report.damaged else 0)


def _say(report: dict[str, Any], last: str) -> None:
    for title, name in (
        ("", "differences"),
        ("not deterministic, since it differs from itself:", "not_deterministic"),
        ("refused, so what comes of it is not known:", "outside"),
    ):
        if report[name]:
            if title:
                said(title)
            show_rows(report[name], _DIFFERENCES, as_json=False, nothing="")
    for instance, error in report["damaged"].items():
        said(f"cannot be read: {instance}: {error}")
    for one in report["not_known"]:
        said(f"not known: {one}")
    said(last)


def _example(example: dict[str, Any]) -> str:
    change = f": {short(example['stored'])} → {short(example['now'])}" if example["now"] else ""
    return f"{example['instance']} at {example['version']}{change}" if example["version"] else ""
