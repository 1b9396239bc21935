"""The command line: stores as files, and a search. `procession --help` lists it."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, TextIO

from . import __version__
from .store import FORMAT_VERSION, ProcessionError, backup, compact, upgrade, verify_apart
from .store.verify.verify import LIMIT

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says.

    Returns:
        what the process ends with: 0, or 1 if something was found, or 2 if it could not be done,
        or 130 if it was interrupted

    """
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except (ProcessionError, OSError) as error:
        _say(f"error: {error}", sys.stderr)
        return 2
    except KeyboardInterrupt:
        _say("interrupted", sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="procession",
        description="Compact, copy, upgrade or check a store; search for a run that goes wrong.",
    )
    parser.add_argument("--version", action="version", version=f"procession {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    one = commands.add_parser("compact", help="write it anew, as small as can be")
    one.add_argument("path", help="the store's folder")
    one.add_argument(
        "target", nargs="?", help="a new folder; without it, the store itself is compacted"
    )
    one.set_defaults(run=_compact)

    one = commands.add_parser("backup", help="copy it, beside its writer or without one")
    one.add_argument("path", help="the store's folder")
    one.add_argument("target", help="the copy's folder, which is missing or empty")
    one.set_defaults(run=_backup)

    one = commands.add_parser("upgrade", help="turn it into one of this version's format")
    one.add_argument("path", help="the store's folder")
    one.set_defaults(run=_upgrade)

    one = commands.add_parser("verify", help="check all that is in it; 1 if something is wrong")
    one.add_argument("path", help="the store's folder")
    one.add_argument("--limit", type=int, default=LIMIT, help="most findings (%(default)s)")
    one.set_defaults(run=_verify)

    one = commands.add_parser("explore", help="search for a run that breaks an invariant; 1 if so")
    one.add_argument("program", help="MODULE:program, as shop.checks:program")
    one.add_argument("--minutes", type=float, default=1.0, help="how long (%(default)s)")
    one.add_argument("--seed", type=int, default=0, help="of the search (%(default)s)")
    one.add_argument("--domain", action="append", default=[], help="a Domain in the module")
    one.add_argument("--corpus", help="a file that keeps seeds of runs that reached something new")
    one.add_argument("--pin", help="the file of the test that is written when something is found")
    one.set_defaults(run=_explore)
    return parser


def _compact(options: argparse.Namespace) -> int:
    before, after = compact(options.path, options.target)
    where = options.target or options.path
    _say(f"{where}: {after:,} bytes, and {before:,} before", sys.stdout)
    return 0


def _backup(options: argparse.Namespace) -> int:
    backup(options.path, options.target)
    _say(f"{options.target}: copied from {options.path}", sys.stdout)
    return 0


def _upgrade(options: argparse.Namespace) -> int:
    did = upgrade(options.path)
    _say(f"{options.path}: has format {FORMAT_VERSION} {'now' if did else 'already'}", sys.stdout)
    return 0


def _verify(options: argparse.Namespace) -> int:
    findings, checked = verify_apart(options.path, limit=options.limit)
    for finding in findings:
        _say(str(finding), sys.stdout)
    records, tables = sum(checked.values()), sum(1 for count in checked.values() if count)
    _say(
        f"{options.path}: {records:,} records in {tables} tables checked, "
        f"{len(findings):,} finding{'s' * (len(findings) != 1)}",
        sys.stdout,
    )
    return 1 if findings else 0


def _explore(options: argparse.Namespace) -> int:
    from .testing.explore.command import run_explore  # noqa: PLC0415 - only for those who search

    return run_explore(
        options.program,
        lambda line: _say(line, sys.stdout),
        minutes=options.minutes,
        seed=options.seed,
        domains=options.domain,
        corpus=options.corpus,
        pin=options.pin,
    )


def _say(line: str, to: TextIO) -> None:
    to.write(f"{line}\n")
    to.flush()
