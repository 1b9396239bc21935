"""Builds the site of these documents: ``python docs/build.py``, which `make docs` calls.

The folder ``docs`` is the site. What its pages lead to beside it, the examples and the figures,
comes in under it, and the links to these are one folder shorter there. Mermaid, which draws the
diagrams in the browser, comes from npm, so that a page loads nothing from elsewhere.
"""

import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]

MERMAID = "12.3.0"
"""Pinned, as Zensical is."""

SCRIPT = "mermaid.min.js"

_UP = re.compile(r"\]\(((?:\.\./)+)")


def main(folder: Path = ROOT) -> int:
    """Lay the pages out, and have Zensical make the site; a link that leads nowhere fails.

    Args:
        folder: below which ``build/pages`` and ``build/site`` are made

    Returns:
        what the process ends with

    """
    pages = folder / "build/pages"
    shutil.rmtree(pages, ignore_errors=True)
    for page in sorted(ROOT.glob("docs/**/*.md")):
        here = page.relative_to(ROOT / "docs")
        _copy(page, pages / here, len(here.parts), out_of_docs=len(here.parts))
    for example in sorted(ROOT.glob("domain_examples/**/*.py")):
        _copy(example, pages / example.relative_to(ROOT))
    _copy(ROOT / "domain_examples/README.md", pages / "domain_examples/README.md", 2)
    for figure in sorted(ROOT.glob("bench/results/*.svg")):
        _copy(figure, pages / figure.relative_to(ROOT))
    shutil.copytree(ROOT / "docs/pictures", pages / "pictures")
    shutil.copy(_mermaid(), pages / SCRIPT)
    if folder != ROOT:
        shutil.copy(ROOT / "zensical.toml", folder)
    zensical = str(Path(sys.executable).parent / "zensical")
    build = [zensical, "build", "--clean", "--strict"]
    return subprocess.run(build, cwd=folder, check=False).returncode


def _copy(file: Path, target: Path, depth: int = 0, out_of_docs: int = 0) -> None:
    """Copy a file. The links of a page that go up so many folders leave the folder ``docs``.

    Args:
        file: to copy
        target: where to
        depth: how many names there are in the path of a page
        out_of_docs: how many folders up a link leaves ``docs``; 0 if none does

    """

    def inside(link: re.Match[str]) -> str:
        ups = link[1].count("../")
        return f"]({'../' * (ups - 1 if ups == out_of_docs else ups)}"

    target.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix != ".md":
        shutil.copy(file, target)
        return
    text = file.read_text()
    if out_of_docs:
        text = _UP.sub(inside, text)
    if "```mermaid" in text:
        # Zensical's own script fetches Mermaid only where it is not there yet.
        text += f'\n<script src="{"../" * (depth - 1)}{SCRIPT}"></script>\n'
    target.write_text(text)


def _mermaid() -> Path:
    """Mermaid's script, which is fetched once."""
    kept = ROOT / "build/npm" / MERMAID / SCRIPT
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        npm = shutil.which("npm")
        if npm is None:
            sys.exit("the diagrams of the site need npm, which fetches mermaid; install Node.js")
        # In a folder of its own, since another build may do the same.
        with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
            pack = [npm, "pack", "--silent", f"mermaid@{MERMAID}"]
            subprocess.run(pack, cwd=folder, check=True)
            with tarfile.open(Path(folder) / f"mermaid-{MERMAID}.tgz") as packed:
                packed.extract(f"package/dist/{SCRIPT}", folder, filter="data")
            (Path(folder) / "package/dist" / SCRIPT).replace(kept)
    return kept


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:])))
