"""A divided store out of history: it is imported as a whole, and taken apart when it goes live.

So deadlines fall where they would have over all partitions, with one clock and one log. The work is
in a folder beside the store's until all is done, so that an import which is cut off goes on.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from ..clock import to_micros
from ..model.registry import Registry
from ..store import (
    Partition,
    StoreError,
    backup,
    copy,
    divided_store,
    is_address,
    open_store,
    sync_folder,
)
from .backtest import Backtest, BacktestCounts

if TYPE_CHECKING:
    import os
    from collections.abc import Callable
    from datetime import datetime

    from ..model.domain import Domain
    from ..store import PayloadCodec

__all__ = ["DividedImport"]

BESIDE = ".importing"
"""What stands behind the store's name in that of the folder where the work is."""


class DividedImport:
    """Where history is imported to until it goes live, and what divides it then.

    Args:
        store: the folder of the divided store that is to be; missing or empty
        partitions: how many
        since: the first moment whose commands and after-effects leave

    Raises:
        StoreError: the store cannot become that, which it says; nothing was written

    """

    def __init__(
        self, store: str | os.PathLike[str], partitions: int, since: datetime | None
    ) -> None:
        Partition(0, partitions).check()
        if is_address(store):
            raise StoreError(
                f"{store} is in a database, and history is divided in a folder: import into a "
                f"folder without partitions, and copy that with `procession copy --partitions`"
            )
        if since is None:
            raise StoreError(
                f"partitions={partitions}: history is divided when it goes live; say from when, "
                f"with live_from (--live-from)"
            )
        self._folder = folder = Path(store).absolute()
        if divided_store(folder) is not None or (
            folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
        ):
            raise StoreError(
                f"{folder} is not empty: history is divided into a folder of its own, which is "
                f"missing or empty"
            )
        self._partitions = partitions
        self._since = since
        self._beside = folder.with_name(f"{folder.name}{BESIDE}")
        self.history = self._beside / "history"
        """The store that the history is imported into, and stays until all is done."""

    def finish(
        self,
        *domains: Domain,
        codec: PayloadCodec | None,
        progress: Callable[[str, int, int | None], object],
    ) -> tuple[BacktestCounts, datetime]:
        """Let a copy of the history go live, divide it, and put it where it is to be.

        Args:
            domains: whose classes to run
            codec: as for `Runtime`
            progress: called now and then with what is done, how much of it is, and of how much

        Returns:
            what came of it when it went live, and the time at which it stands

        Raises:
            StoreError: after-effects would leave, which are to run before a store is divided; or
                the disk refused; the same import goes on

        """
        self._refuse_effects(domains, codec)
        live, divided = self._beside / "live", self._beside / "divided"
        for left in (live, divided):
            # Of an attempt that was cut off.
            shutil.rmtree(left, ignore_errors=True)
        # The history itself stays an import: it says how far it is, if this is cut off.
        backup(self.history, live)
        with Backtest(live, *domains, codec=codec) as backtest:
            backtest.go_live(self._since)
            counts, now = backtest.counts, backtest.now
        copy(
            live,
            divided,
            partitions=self._partitions,
            codec=codec,
            # None has begun: a projection is no part of an import.
            projections_anew=True,
            on_progress=lambda done, of: progress("dividing", done, of),
        )
        try:
            if self._folder.exists():
                self._folder.rmdir()
            divided.rename(self._folder)
            sync_folder(self._folder.parent)
            shutil.rmtree(self._beside)
        except OSError as error:
            raise StoreError(
                f"{divided} could not be put in the place of {self._folder}: {error}"
            ) from error
        return counts, now

    def _refuse_effects(self, domains: tuple[Domain, ...], codec: PayloadCodec | None) -> None:
        acting = [one.name for one in Registry(domains).processes.values() if one.effects]
        if not acting:
            return
        with open_store(self.history, read_only=True, codec=codec) as store:
            has_later = store.last_position() > store.position_before(to_micros(self._since))
        if has_later:
            raise StoreError(
                f"{', '.join(acting)} would act after events of {self._since} and later, which a "
                f"service does before a store is divided. Import again with a later live_from "
                f"(--live-from), behind the last event; or without partitions, let a service "
                f"settle, and divide the store with `procession copy --partitions`"
            )
