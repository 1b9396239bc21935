"""Carries out what other nodes ask of the partitions that this one owns."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from ..engine.ingress import Receipt
from ..store import Append, ClosedError, FailingDisk, LostStore, Step, owner_of_stream

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..store.postgresql.calls import OpenCall
    from .call_format import CallFormat
    from .node_partition import NodePartition
    from .partition_runtime import PartitionRuntime

__all__ = ["Answering"]

logger = logging.getLogger("procession")

THREADS = 32
"""Calls that are carried out at once."""

NOT_YET = (ClosedError, LostStore, FailingDisk)
"""After which a call is left to who owns the partition next, or to the next attempt."""


class Answering:
    """Takes up calls, each until its answer is written.

    Args:
        parts: all partitions
        form: reads calls, and writes answers
        answered: called when there is an answer to be written

    """

    def __init__(
        self,
        parts: Sequence[NodePartition],
        form: CallFormat,
        answered: Callable[[], None],
    ) -> None:
        self._parts = parts
        self._form = form
        self._answered = answered
        self._answers: dict[int, bytes] = {}
        self.known: dict[int, None] = {}
        """Ids of calls that are carried out, or whose answers are not written yet."""
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="procession-calls")

    def take(self, call: OpenCall) -> None:
        """Have a call carried out."""
        self.known[call.id] = None
        self._threads.submit(self._carry_out, call)

    def take_answers(self) -> dict[int, bytes]:
        """What is to be written; `forget` is called when it is."""
        return dict(self._answers)

    def forget(self, answers: dict[int, bytes]) -> None:
        """These answers are written."""
        for one in answers:
            self._answers.pop(one, None)
            self.known.pop(one, None)

    def _carry_out(self, call: OpenCall) -> None:
        owner = ""
        try:
            with self._parts[call.part].using() as local:
                if local is None:
                    raise ClosedError("the partition was handed over")  # noqa: TRY301
                # It is let go of before the wait, which a hand-over would wait for.
                owner, wait = self._begin(local, call)
            answer = self._form.packed_value(wait(), owner)
        except NOT_YET:
            self.known.pop(call.id, None)
            return
        except BaseException as error:  # noqa: BLE001 - it is raised where the caller waits
            answer = self._form.packed_error(error, owner)
        self._answers[call.id] = answer
        self._answered()

    def _begin(self, local: PartitionRuntime, call: OpenCall) -> tuple[str, Callable[[], Any]]:
        """Whom a call is about, and what waits for what comes of it."""
        form, kind = self._form, call.kind
        if kind == "ask":
            record = form.asked(call.request)
            future = local.ask_record(record, is_remembered=True)
            return owner_of_stream(record.stream), lambda: _asked(local, record.command_id, future)
        if kind == "tell":
            told = form.told(call.request)
            works = [Receipt(Step(enqueue=[one], given=one)) for one in told]
            return owner_of_stream(told[0].stream), lambda: local.write_all(works)
        if kind == "publish":
            published = form.published(call.request)
            works = [
                Receipt(Step(append=Append(stream, None, [record], unique=True)))
                for stream, record in published
            ]
            return owner_of_stream(published[0][0]), lambda: _published(local, works)
        given = form.arguments(call.request)
        return form.owner_of(given), self._other(local, kind, given)

    @staticmethod
    def _other(local: PartitionRuntime, kind: str, given: list[Any]) -> Callable[[], Any]:
        if kind == "runtime":
            name, positional, named = given
            return lambda: getattr(local, name)(*positional, **named)
        if kind == "once":
            call_id, name, positional, named = given
            return lambda: local.once(call_id, name, positional, named)
        if kind == "settle":
            return lambda: local.settle(*given)
        return lambda: getattr(local, kind)

    def close(self) -> None:
        """Take nothing up any more; what is carried out goes on."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _asked(local: PartitionRuntime, command_id: str, future: Any) -> None:
    """Wait for the answer, which the caller reads by the id of its command."""
    try:
        future.get()
    except NOT_YET:
        raise
    except Exception:
        # A refusal is stored as well.
        if local.result_of(command_id) is None:
            raise


def _published(local: PartitionRuntime, works: list[Receipt]) -> list[int]:
    local.write_all(works)
    return [work.position for work in works]
