"""Verifying in this process: to start another one takes longer than most tests."""

from procession import Runtime
from procession.store import StoreFinding, verify_open


def verify_here(runtime: Runtime) -> list[StoreFinding]:
    """As `runtime.verify()`."""
    learnt = runtime._learnt_keys()
    return verify_open(runtime._store, now=runtime._now, learnt=learnt).findings
