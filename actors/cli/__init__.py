"""The command line: what is done to a store as a file. `procession --help` lists it."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, TextIO

from .. import __version__
from ..store import FORMAT_VERSION, StoreError, backup, compact, upgrade
from ..store.verify.verify import LIMIT, verify_path

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says.

    Returns:
        what the process ends with: 0, or 1 if something was found, or 2 if it could not be done

    """
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except StoreError as error:
        _say(f"error: {error}", sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="procession", description="Compact, copy, upgrade or check a store."
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
    findings, checked = verify_path(options.path, limit=options.limit)
    for finding in findings:
        _say(str(finding), sys.stdout)
    records, tables = sum(checked.values()), sum(1 for count in checked.values() if count)
    _say(
        f"{options.path}: {records:,} records in {tables} tables checked, "
        f"{len(findings):,} finding{'s' * (len(findings) != 1)}",
        sys.stdout,
    )
    return 1 if findings else 0


def _say(line: str, to: TextIO) -> None:
    to.write(f"{line}\n")
