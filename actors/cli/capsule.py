"""`capsule`: one instance with what it came of in a file; the file as a store, and as a test."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ..capsule import Capsule, Contents, make_capsule
from ..capsule.making import MOST
from ..testing.incident_test import write_incident_test
from .named import codec_of, domain_of
from .options import CodecOption, JsonOption, pairs
from .output import show

__all__ = ["capsule"]

FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="The capsule.")]
ClassesOption = Annotated[
    list[str],
    typer.Option(
        "--domain", "-d", metavar="MODULE:NAME", help="Where the classes are; may be repeated."
    ),
]


class _Group(TyperGroup):
    """Commands of which one needs no name: `procession capsule STORE ...` takes a capsule."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in {*self.commands, "--help"}:
            args = ["take", *args]
        return super().parse_args(ctx, args)


def capsule() -> typer.Typer:
    """The commands."""
    made = typer.Typer(cls=_Group, help="Take an incident out of a store.", no_args_is_help=True)
    made.command("take")(_take)
    made.command("open")(_open)
    made.command("test")(_test)
    return made


def _take(
    store: Annotated[str, typer.Argument(help="The store's folder, or postgresql://...")],
    process: Annotated[str, typer.Argument(help="The process manager.")],
    instance: Annotated[str, typer.Argument(metavar="ID", help="The instance.")],
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="The file, which is missing.")],
    domain: ClassesOption,
    mask: Annotated[
        list[str] | None,
        typer.Option(metavar="TYPE.FIELD", help="A field to mask; may be repeated."),
    ] = None,
    mask_ids: Annotated[
        bool, typer.Option("--mask-ids", help="Mask also what is the id of something.")
    ] = False,
    codec: CodecOption = None,
    most: Annotated[int, typer.Option(min=1, help="Most events and transitions.")] = MOST,
    as_json: JsonOption = False,
) -> None:
    """Take one instance with all that it came of into a file; `take` need not be written.

    Example: procession capsule var/shop Fulfilment o17 -o o17.capsule --domain shop.domain:shop
    """
    contents = make_capsule(
        store,
        [domain_of(one) for one in domain],
        process,
        instance,
        output,
        mask=mask or (),
        mask_ids=mask_ids,
        codec=codec_of(codec),
        most=most,
    )
    show(_data(output, contents), _lines(output, contents), as_json=as_json)


def _open(
    file: FileArgument,
    *,
    directory: Annotated[
        Path, typer.Option("--directory", "-d", help="The folder, which is missing or empty.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Make a store of a capsule, which all commands and a runtime can open.

    Example: procession capsule open o17.capsule -d var/o17
    """
    found = Capsule(file)
    found.open_in(directory)
    lines = [
        f"{directory}: a store with what is in {file}",
        *map(str, found.contents.failures),
    ]
    show(_data(file, found.contents) | {"directory": str(directory)}, lines, as_json=as_json)


def _test(
    file: FileArgument,
    *,
    domain: ClassesOption,
    expect: Annotated[
        list[str] | None,
        typer.Option(metavar="FIELD=VALUE", help="What the state should be; may be repeated."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The test's file, which is missing.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a test of a capsule, which fails until the flaw is mended.

    Example: procession capsule test o17.capsule --domain shop.domain:shop
    """
    for one in domain:
        domain_of(one)
    expected = {name: _value(text) for name, text in pairs(expect or []).items()}
    test = write_incident_test(file, domain, expected, output)
    show(
        {"test": str(test), "capsule": str(file)},
        [f"{test} has what happened as a test, which fails until the flaw is mended"],
        as_json=as_json,
    )


def _value(text: str) -> Any:
    """A value as JSON says it, or else as text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _data(file: Path, contents: Contents) -> dict[str, Any]:
    return {
        "file": str(file),
        "process": contents.process,
        "instance": contents.instance,
        "events": contents.events,
        "transitions": contents.transitions,
        "failures": [str(one) for one in contents.failures],
        "masked": {name: one.values for name, one in contents.masked.items()},
        "kept": {name: one.kept for name, one in contents.masked.items() if one.kept},
        "short": {name: one.short for name, one in contents.masked.items() if one.short},
    }


def _lines(file: Path, contents: Contents) -> list[str]:
    counted = f"{contents.events:,} events and {contents.transitions:,} transitions"
    lines = [f"{file}: {contents.process} {contents.instance}, {counted}"]
    for name, one in contents.masked.items():
        told = [f"{name}: {one.values:,} value{'s' * (one.values != 1)} masked"]
        if one.kept:
            told.append(f"{one.kept:,} stayed as ids (--mask-ids)")
        if one.short:
            told.append(f"{one.short:,} too short to be looked for in other fields")
        lines.append("; ".join(told))
    return [*lines, *map(str, contents.failures)]
