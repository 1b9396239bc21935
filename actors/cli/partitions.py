"""`partitions`: who runs each partition of a divided store, and how far it is behind."""

from ..control.calls import Partitions
from ..store import is_address
from .nodes import show_partitions
from .options import CodecOption, JsonOption, StoreOption, looking
from .output import Column, show_rows, when

__all__ = ["partitions"]

_PARTITIONS: list[Column] = [
    ("PARTITION", lambda row: row["number"]),
    ("PROCESS", lambda row: row["process"]),
    ("EVENTS", lambda row: f"{row['events']:,}"),
    ("BACKLOG", lambda row: f"{row['backlog']:,}"),
    ("LANES", lambda row: f"{row['lane_backlog']:,}"),
    ("OLDEST WAITING", lambda row: when(row["oldest_waiting"])),
]


def partitions(
    *,
    store: StoreOption = ".",
    codec: CodecOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the partitions of a divided store: who runs each, and how far it is behind.

    Example: procession partitions --store var/shop
    """
    if is_address(store):
        show_partitions(store, as_json=as_json)
        return
    with looking(store, codec=codec) as client:
        rows = client.rows(Partitions())
        show_rows(rows, _PARTITIONS, as_json=as_json, nothing="no partition")
