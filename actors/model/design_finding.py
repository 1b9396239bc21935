"""One thing that is found in a design."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DesignFinding"]


@dataclass(frozen=True, slots=True)
class DesignFinding:
    """One thing that is wrong or doubtful in a design.

    `code` says what kind of thing, such as ``"no-end"``; `place` is the class or the
    ``Class.method`` that it is about; `message` says what is there, `mend` what to do.
    """

    code: str
    place: str
    message: str
    mend: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message}; {self.mend} [{self.code}]"
