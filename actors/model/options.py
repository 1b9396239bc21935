"""Options that classes of more than one kind have."""

from __future__ import annotations

from ..authoring.retry import Retry
from ..errors import DefinitionError, shown

__all__ = ["check_retry", "check_version"]


def check_retry(cls: type, retry: object) -> None:
    """Refuse what does not say how something is tried again.

    Raises:
        DefinitionError: it does not

    """
    if not isinstance(retry, Retry):
        raise DefinitionError(
            f"{cls.__qualname__}: retry={shown(retry)}; give a Retry, such as "
            f"`retry=Retry(attempts=3)`"
        )


def check_version(cls: type, version: object, of: str) -> None:
    """Refuse what is no version of what a class stores.

    Args:
        cls: the class
        version: what it says
        of: what that is, in words

    Raises:
        DefinitionError: it is none

    """
    if type(version) is not int or version < 1:
        raise DefinitionError(
            f"{cls.__qualname__}: version={shown(version)}; give the version of its {of}, a whole "
            f"number from 1"
        )
