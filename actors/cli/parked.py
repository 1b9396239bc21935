"""`parked`, `retry` and `skip`: what waits for a person, and what the person decides."""

from typing import Annotated, Any, Literal

import typer

from ..control.calls import Decide, Parked, ParkedGroups, Selected
from ..errors import InvalidMessage
from .options import (
    ByOption,
    CodecOption,
    DomainsOption,
    JsonOption,
    LimitOption,
    ProcessOption,
    StoreOption,
    YesOption,
    acting,
    ask,
    looking,
)
from .output import Column, progress, said, short, show_json, show_rows, when

__all__ = ["parked", "retry", "skip"]


_GROUPS: list[Column] = [
    ("COUNT", lambda row: f"{row['count']:,}"),
    ("PROCESS", lambda row: row["process"] or "(from outside)"),
    ("ERROR", lambda row: row["error_type"]),
    ("HANDLER", lambda row: row["handler"]),
    ("RAISED AT", lambda row: row["place"]),
]

_EACH: list[Column] = [
    ("ID", lambda row: row["id"]),
    ("PROCESS", lambda row: row["process"] or "(from outside)"),
    ("INSTANCE", lambda row: row["instance"]),
    ("CAUSE", lambda row: row["type"] or row["cause"]),
    ("HANDLER", lambda row: row["handler"]),
    ("ERROR", lambda row: short(f"{row['error_type']}: {row['error']}")),
    ("ATTEMPTS", lambda row: row["attempts"]),
    ("TIME", lambda row: when(row["time"])),
]

_DECIDED: list[Column] = [
    *_EACH[:-2],
    ("DECISION", lambda row: row["decision"]),
    ("AT", lambda row: when(row["decided_at"])),
    ("BY", lambda row: row["decided_by"]),
]

IdsArgument = Annotated[list[int] | None, typer.Argument(help="As `parked --each` lists them.")]
ErrorOption = Annotated[
    str | None, typer.Option("--error", "-e", help="All with an error of this type.")
]
AllOption = Annotated[bool, typer.Option("--all", help="All that is parked.")]


def parked(
    *,
    store: StoreOption = ".",
    codec: CodecOption = None,
    process: ProcessOption = None,
    error: ErrorOption = None,
    each: Annotated[bool, typer.Option("--each", help="One by one, with the texts.")] = False,
    decided: Annotated[bool, typer.Option("--decided", help="What was decided instead.")] = False,
    after: Annotated[int, typer.Option("--after", help="Only with higher ids.")] = 0,
    limit: LimitOption = 50,
    as_json: JsonOption = False,
) -> None:
    """List what is parked, by where it failed and how, or one by one.

    Example: procession parked --each --error PaymentDown
    """
    with looking(store, codec=codec) as client:
        if not (each or decided or error or after):
            rows = client.rows(ParkedGroups(process=process))
            show_rows(rows, _GROUPS, as_json=as_json, nothing="nothing is parked")
            return
        call = Parked(process=process, error=error, decided=decided, after=after, limit=limit)
        columns = _DECIDED if decided else _EACH
        show_rows(client.rows(call), columns, as_json=as_json, nothing="there is none")


def retry(
    ids: IdsArgument = None,
    *,
    store: StoreOption = ".",
    domain: DomainsOption = None,
    codec: CodecOption = None,
    error: ErrorOption = None,
    process: ProcessOption = None,
    everything: AllOption = False,
    yes: YesOption = False,
    by: ByOption = None,
    as_json: JsonOption = False,
) -> None:
    """Handle what was parked once more, and then what waited behind it.

    Without ids it asks first, and says how many there are. 1 if one of them was not retried.

    Example: procession retry --error PaymentDown --yes
    """
    call = _meant("retry", ids, error, process, everything=everything)
    _decide(call, store, domain, codec, by, yes=yes, as_json=as_json)


def skip(
    ids: IdsArgument = None,
    *,
    store: StoreOption = ".",
    domain: DomainsOption = None,
    codec: CodecOption = None,
    error: ErrorOption = None,
    process: ProcessOption = None,
    everything: AllOption = False,
    yes: YesOption = False,
    by: ByOption = None,
    as_json: JsonOption = False,
) -> None:
    """Go on without what was parked.

    Without ids it asks first, and says how many there are. 1 if one of them was not skipped.

    Example: procession skip 17 18 --by maria
    """
    call = _meant("skip", ids, error, process, everything=everything)
    _decide(call, store, domain, codec, by, yes=yes, as_json=as_json)


def _meant(
    verdict: Literal["retry", "skip"],
    ids: list[int] | None,
    error: str | None,
    process: str | None,
    *,
    everything: bool,
) -> Decide:
    kinds = bool(error or process) + everything
    if bool(ids) + kinds != 1:
        raise InvalidMessage(
            f"{verdict}: say which: ids, or --error and --process, or --all; "
            f"`procession parked` lists what there is"
        )
    return Decide(verdict=verdict, ids=ids or [], error=error, process=process)


def _decide(
    call: Decide,
    store: str,
    domains: list[str] | None,
    codec: str | None,
    by: str | None,
    *,
    yes: bool,
    as_json: bool,
) -> None:
    with acting(store, domains, by, codec) as client:
        meant = client.one(Selected(ids=call.ids, error=call.error, process=call.process))
        count = meant["count"]
        if not call.ids:
            if count and not yes:
                ask(f"{call.verdict} {count:,} parked thing{'s' * (count != 1)}?")
            # What is parked meanwhile was not asked about.
            call = Decide(
                verdict=call.verdict,
                error=call.error,
                process=call.process,
                until=meant["until"],
            )
        refused = _carried_out(client.rows(call), call.verdict, count, as_json=as_json)
    raise typer.Exit(1 if refused else 0)


def _carried_out(rows: Any, verdict: str, count: int, *, as_json: bool) -> int:
    """Tell what came of each; returns of how many nothing came."""
    refused: list[dict[str, Any]] = []
    number = 0
    with progress(verdict, count) as done:
        for number, row in enumerate(rows, 1):
            done(number)
            if not row["done"]:
                refused.append(row)
            if as_json:
                show_json(row)
    if as_json:
        return len(refused)
    for row in refused:
        said(f"{row['id']}: {row['why']}")
    said(f"{verdict}: {number - len(refused):,} done, {len(refused):,} not")
    return len(refused)
