"""The test of an incident, which reproduces what a capsule holds, and fails until a mend."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from ..capsule import Capsule, CapsuleError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["incident_test", "write_incident_test"]

LONGEST_NAME = 60
"""Characters of the name of a test."""


def write_incident_test(
    capsule: str | os.PathLike[str],
    domains: Sequence[str],
    expected: Mapping[str, object],
    file: str | os.PathLike[str] | None = None,
) -> Path:
    """Write the test of a capsule.

    Args:
        capsule: its file
        domains: where the classes are, each as ``MODULE:NAME``
        expected: fields of the instance's state, and what each should be
        file: of the test, which is missing; without it, one in the folder in hand that is named
            after the instance

    Returns:
        the test's file

    Raises:
        CapsuleError: it is no capsule; nothing failed in it, and nothing is expected; or the file
            cannot be written

    """
    found = Capsule(capsule)
    contents = found.contents
    name = _name(f"{contents.process.rpartition('.')[2]}_{contents.instance}")
    target = Path(f"test_incident_{name}.py") if file is None else Path(file)
    text = incident_test(found, _from(target, Path(capsule)), domains, expected)
    try:
        with target.open("x", encoding="utf-8") as opened:
            opened.write(text)
    except OSError as error:
        raise CapsuleError(f"{target} cannot be written: {error.strerror}") from error
    return target


def incident_test(
    capsule: Capsule, place: str, domains: Sequence[str], expected: Mapping[str, object]
) -> str:
    """The text of the test of a capsule.

    Args:
        capsule: the capsule
        place: of its file, as seen from the test's folder
        domains: where the classes are, each as ``MODULE:NAME``
        expected: fields of the instance's state, and what each should be

    Raises:
        CapsuleError: nothing failed in it, and nothing is expected; or a domain is in no module

    """
    contents = capsule.contents
    if not contents.failures and not expected:
        raise CapsuleError(
            "nothing failed in this capsule, so a test of it would have nothing to find; say what "
            "its state should be, with --expect FIELD=VALUE"
        )
    modules: dict[str, str] = {}
    names: list[str] = []
    for one in domains:
        module, colon, domain = one.partition(":")
        if not (module and colon and domain):
            raise CapsuleError(f"{one!r} is no domain; write MODULE:NAME, as in shop.domain:shop")
        alias = modules.setdefault(module, f"classes_{len(modules) + 1}" if modules else "classes")
        names.append(f"{alias}.{domain}")
    who = f"{contents.process} {contents.instance}"
    masked = ", ".join(sorted(contents.masked)) or "none"
    expectations = "".join(
        f"    assert again.state[{name!r}] == {value!r}, again\n"
        for name, value in sorted(expected.items())
    )
    state = "    assert again.state is not None, again\n" if expected else ""
    happened = "".join(f"# {line}\n" for one in contents.failures for line in str(one).splitlines())
    imports = "".join(f"import {module} as {alias}\n" for module, alias in modules.items())
    return f'''"""What happened to {who}, as taken from its store at {contents.made}.

It fails until the flaw is mended. Fields that are masked in the capsule: {masked}.
"""

from pathlib import Path

{imports}from procession.testing import reproduce

CAPSULE = Path(__file__).parent / {place!r}

{happened or "# Nothing failed; the state is another than it should be." + chr(10)}

def test_{_name(who)}_goes_on_as_it_should() -> None:
    again = reproduce(CAPSULE, {", ".join(names)})
    assert not again.failures, again
{state}{expectations}'''


def _from(target: Path, capsule: Path) -> str:
    return os.path.relpath(capsule.absolute(), target.absolute().parent)


def _name(text: str) -> str:
    return re.sub(r"[^a-zA-Z0-9]+", "_", text).strip("_").lower()[:LONGEST_NAME]
