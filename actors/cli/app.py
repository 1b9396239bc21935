"""All commands, put together."""

import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

from .. import __version__
from . import (
    capsule,
    condition,
    erasing,
    explained,
    exploring,
    forking,
    log,
    mending,
    nodes,
    parked,
    partitions,
    processes,
    projections,
    pruning,
    rebuilding,
    serve,
    store_files,
    timeouts,
    transfer,
    trying,
)

__all__ = ["run"]

_LOOKING: dict[str, Callable[..., Any]] = {
    "ls": processes.ls,
    "partitions": partitions.partitions,
    "show": processes.show,
    "stuck": processes.stuck,
    "projections": projections.projections,
    "documents": projections.documents,
    "parked": parked.parked,
    "timeouts": timeouts.timeouts,
    "events": log.events,
    "tail": log.tail,
    "why": explained.why,
    "trace": explained.trace,
    "graph": explained.graph,
    "stats": condition.stats,
    "health": condition.health,
}

_ACTING: dict[str, Callable[..., Any]] = {
    "retry": parked.retry,
    "skip": parked.skip,
    "end": mending.end,
    "amend": mending.amend,
    "erase": erasing.erase,
    "erasures": erasing.erasures,
    "refresh": rebuilding.refresh,
    "rebuild": rebuilding.rebuild,
    "rebuild-projection": projections.rebuild_projection,
    "prune": pruning.prune,
}

_NODES: dict[str, Callable[..., Any]] = {
    "nodes": nodes.nodes,
    "drain": nodes.drain,
    "move": nodes.move,
}

_FILES: dict[str, Callable[..., Any]] = {
    "backup": store_files.backup,
    "compact": store_files.compact,
    "copy": store_files.copy,
    "upgrade": store_files.upgrade,
    "verify": store_files.verify,
}

_HISTORY: dict[str, Callable[..., Any]] = {
    "import": transfer.import_,
    "export": transfer.export,
}

_DESIGN: dict[str, Callable[..., Any]] = {
    "check": explained.check,
    "explore": exploring.explore,
    "shadow": trying.shadow,
    "fork": forking.fork,
    "serve": serve.serve,
}

_PANELS = {
    "Looking": _LOOKING,
    "Acting": _ACTING,
    "Nodes that share a database": _NODES,
    "The store as a file": _FILES,
    "History as files": _HISTORY,
    "The classes": _DESIGN,
}


def _app() -> typer.Typer:
    app = typer.Typer(
        name="procession",
        help="Look at a store of process managers, and act on it, beside its service or without.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(_whole)
    for panel, commands in _PANELS.items():
        for name, command in commands.items():
            app.command(name, rich_help_panel=panel)(command)
    one = typer.Typer(help="Move or cancel a timeout.", no_args_is_help=True)
    one.command("move")(timeouts.move)
    one.command("cancel")(timeouts.cancel)
    app.add_typer(one, name="timeout", rich_help_panel="Acting")
    app.add_typer(capsule.capsule(), name="capsule", rich_help_panel="The store as a file")
    return app


def _version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"procession {__version__}")
        raise typer.Exit


def _whole(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say the version.")
    ] = False,
) -> None:
    """Look at a store of process managers, and act on it."""


def run(arguments: list[str]) -> int:
    """Do what the command line says.

    Returns:
        what the process ends with

    """
    try:
        status = _app()(arguments, prog_name="procession", standalone_mode=False)
    except TyperException as error:
        said = error.format_message().rstrip(".")
        # The help of a command that was given nothing has lines.
        is_help = "\n" in said
        mend = "" if is_help else "; `--help` behind the command says what it takes"
        sys.stderr.write(f"{'' if is_help else 'error: '}{said}{mend}\n")
        return error.exit_code
    except typer.Abort:
        sys.stderr.write("aborted: nothing was done\n")
        return 1
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return status if isinstance(status, int) else 0
