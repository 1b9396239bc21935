"""Reads a page as a person does who follows it: its files, its terminals, and what they print."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

_FENCE = re.compile(r'^```(\w+)(?: title="([^"]*)")?\n(.*?)^```', re.MULTILINE | re.DOTALL)
_ANYTHING = "..."


@dataclass(frozen=True)
class Block:
    language: str
    title: str
    text: str


@dataclass(frozen=True)
class Line:
    """What is typed, and what is shown below it; nothing is shown where that is another matter."""

    typed: str
    shown: str
    prompt: str


def blocks(document: str) -> list[Block]:
    """The fenced blocks of a document, which is named from the project's folder."""
    return [Block(*parts) for parts in _FENCE.findall((ROOT / document).read_text())]


def files(document: str) -> dict[str, str]:
    """The blocks that are whole files, by the names in their titles."""
    named = (one for one in blocks(document) if re.fullmatch(r"[\w./-]+", one.title))
    return {one.title: one.text for one in named}


def lines(block: Block, *prompts: str) -> list[Line]:
    """What is typed in a block, at the shell's prompt or at these."""
    typed: list[list[str]] = []
    for line in block.text.splitlines():
        prompt = next((one for one in prompts or ("$ ",) if f"{line} ".startswith(one)), None)
        if prompt is not None:
            typed.append([prompt, line[len(prompt) :]])
        elif typed:
            typed[-1].append(line)
    return [Line(first, "\n".join(rest), prompt) for prompt, first, *rest in typed]


def is_printed(shown: str, printed: str) -> bool:
    """Whether a program printed what is shown, whatever the widths of columns; ``...`` is anything.

    Where nothing is shown, anything may be printed.
    """
    words = [re.escape(word).replace(re.escape(_ANYTHING), ".*?") for word in shown.split()]
    pattern = r"\s+".join(words)
    return not words or re.fullmatch(pattern, printed.strip(), re.DOTALL) is not None
