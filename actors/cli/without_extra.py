"""The commands that do without the extra `control`: stores as files, and a search.

They are the ones of an emergency, of a container that holds nothing but a service, and of tests.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from .. import __version__
from ..store.verify.verify import LIMIT
from .files import Done, copied, explored, made_small, moved, upgraded, verified
from .named import codec_of

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["run"]

COMMANDS = ("backup", "compact", "copy", "explore", "upgrade", "verify")

INSTALL = (
    "without the extra there are only backup, compact, copy, explore, upgrade and verify; for the "
    "other commands: pip install 'procession[control]'"
)


def run(arguments: Sequence[str]) -> int:
    """Do what the command line says.

    Returns:
        what the process ends with

    """
    if arguments and arguments[0] not in COMMANDS and not arguments[0].startswith("-"):
        sys.stderr.write(f"error: procession {arguments[0]}: {INSTALL}\n")
        return 2
    try:
        options = _parser().parse_args(arguments)
    except SystemExit as end:
        return int(end.code or 0)
    done: Done | int = options.run(options)
    if isinstance(done, int):
        return done
    sys.stdout.writelines(f"{line}\n" for line in done.lines)
    return done.status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="procession",
        description="Compact, copy, upgrade or check a store; search for a run that goes wrong.",
        epilog=INSTALL,
    )
    parser.add_argument("--version", action="version", version=f"procession {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    one = commands.add_parser("compact", help="write it anew, as small as can be")
    one.add_argument("path", help="the store's folder")
    one.add_argument(
        "target", nargs="?", help="a new folder; without it, the store itself is compacted"
    )
    one.set_defaults(run=lambda given: made_small(given.path, given.target))

    one = commands.add_parser("backup", help="copy it, beside its writer or without one")
    one.add_argument("path", help="the store's folder, or its address: postgresql://...")
    one.add_argument("target", help="the copy's folder, which is missing or empty")
    one.set_defaults(run=lambda given: copied(given.path, given.target))

    one = commands.add_parser("copy", help="take it to another place, while no process has it")
    one.add_argument("path", help="the store's folder, or its address: postgresql://...")
    one.add_argument("target", help="a folder that is missing or empty, or an address")
    one.add_argument("--partitions", type=int, default=1, help="divide it into so many")
    one.add_argument(
        "--projections-anew", action="store_true", help="divided, have projections begin anew"
    )
    one.add_argument("--codec", metavar="MODULE:NAME", help="where the codec is, if there is one")
    one.set_defaults(
        run=lambda given: moved(
            given.path,
            given.target,
            partitions=given.partitions,
            projections_anew=given.projections_anew,
            codec=codec_of(given.codec),
        )
    )

    one = commands.add_parser("upgrade", help="turn it into one of this version's format")
    one.add_argument("path", help="the store's folder")
    one.set_defaults(run=lambda given: upgraded(given.path))

    one = commands.add_parser("verify", help="check all that is in it; 1 if something is wrong")
    one.add_argument("path", help="the store's folder, or its address: postgresql://...")
    one.add_argument("--limit", type=int, default=LIMIT, help="most findings (%(default)s)")
    one.add_argument("--codec", metavar="MODULE:NAME", help="where the codec is, if there is one")
    one.set_defaults(
        run=lambda given: verified(given.path, given.limit, codec=codec_of(given.codec))
    )

    one = commands.add_parser("explore", help="search for a run that breaks an invariant; 1 if so")
    one.add_argument("program", help="MODULE:program, as shop.checks:program")
    one.add_argument("--minutes", type=float, default=1.0, help="how long (%(default)s)")
    one.add_argument("--seed", type=int, default=0, help="of the search (%(default)s)")
    one.add_argument("--domain", action="append", default=[], help="a Domain in the module")
    one.add_argument("--store", help="what each run begins with: a store, or an incident capsule")
    one.add_argument("--corpus", help="a file that keeps seeds of runs that reached something new")
    one.add_argument("--pin", help="the file of the test that is written when something is found")
    one.set_defaults(
        run=lambda given: explored(
            given.program,
            minutes=given.minutes,
            seed=given.seed,
            domains=given.domain,
            store=given.store,
            corpus=given.corpus,
            pin=given.pin,
        )
    )
    return parser
