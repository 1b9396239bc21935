"""What every test here stores is tried again on the same code, which must do the same."""

from typing import Any

import pytest

from procession import Runtime, shadow


@pytest.fixture(autouse=True)
def does_the_same_again(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Before a runtime closes, all that it stored is decided again; gives the steps of each."""
    steps: list[int] = []
    close = Runtime.close

    def closing(runtime: Runtime, *arguments: Any, **options: Any) -> None:
        if not runtime._is_closed:
            domains: Any = runtime._registry.domains
            report = shadow(str(runtime._path), *domains, processes=0)
            assert (report.differences, report.not_deterministic, report.damaged) == ((), (), {})
            steps.append(report.steps)
        close(runtime, *arguments, **options)

    monkeypatch.setattr(Runtime, "close", closing)
    return steps
