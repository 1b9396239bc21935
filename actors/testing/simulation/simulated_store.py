"""A store whose commits can fail, before or after they are durable."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...store import Store, StoreError
from .faults import Crash, InjectedStoreError, RuntimeBroke

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...store import Outcome, Partition, Step, StorageEngine
    from .faults import Faults

__all__ = ["SimulatedStore"]


class SimulatedStore(Store):
    """Stands where the runtime's store stands, and asks first whether a commit is to fail."""

    def __init__(
        self,
        engine: StorageEngine,
        faults: Faults,
        partition: Partition | None = None,
        family: str = "",
    ) -> None:
        super().__init__(engine, secret="0" * 64, partition=partition, family=family)
        self._faults = faults

    def close_commit(self, checkpoints: Mapping[str, int] | None = None) -> None:
        faults, steps = self._faults, self.ahead.steps
        size = f"{steps} step{'' if steps == 1 else 's'}"
        accident = faults.accident("crash_before_commit", "crash_after_commit", "commit_fails")
        faults.reached.closed(accident)
        if accident == "commit_fails":
            faults.note(f"a commit of {size} fails: nothing of it is kept")
            # What was brought of late may be gone with it.
            faults.forget()
            self.drop_commit()
            raise InjectedStoreError("the disk refused, as the simulation had it do")
        if accident == "crash_before_commit":
            faults.note(f"crash inside a commit of {size}: nothing of it is kept")
            raise Crash(faults)
        try:
            super().close_commit(checkpoints)
        except StoreError:
            # What was brought of late may be gone with it.
            faults.forget()
            raise
        except Exception as error:
            raise RuntimeBroke(f"a commit failed: {error!r}") from error
        if accident == "crash_after_commit":
            faults.note(
                f"crash inside a commit of {size}: all of it is kept, and no actor was told"
            )
            raise Crash(faults)
        faults.note(f"commit of {size}", True)

    def hand_over(self, step: Step) -> Outcome:
        try:
            return super().hand_over(step)
        except StoreError:
            raise
        except Exception as error:
            raise RuntimeBroke(f"a step failed: {error!r}") from error
