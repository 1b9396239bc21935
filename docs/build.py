"""Builds the site of these documents: ``python docs/build.py``, which `make docs` calls.

The folder ``docs`` is the site. What its pages lead to beside it, the examples and the figures,
comes in under it, and the links to these are one folder shorter there.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "build/pages"

_UP = re.compile(r"\]\(((?:\.\./)+)")


def main() -> int:
    """Lay the pages out, and have Zensical make the site; a link that leads nowhere fails."""
    shutil.rmtree(PAGES, ignore_errors=True)
    for page in sorted(ROOT.glob("docs/**/*.md")):
        here = page.relative_to(ROOT / "docs")
        _copy(page, here, out_of_docs=len(here.parts))
    for example in sorted(ROOT.glob("domain_examples/**/*.py")):
        _copy(example, example.relative_to(ROOT))
    _copy(ROOT / "domain_examples/README.md", Path("domain_examples/README.md"))
    for figure in sorted(ROOT.glob("bench/results/*.svg")):
        _copy(figure, figure.relative_to(ROOT))
    zensical = str(Path(sys.executable).parent / "zensical")
    build = [zensical, "build", "--clean", "--strict"]
    return subprocess.run(build, cwd=ROOT, check=False).returncode


def _copy(file: Path, to: Path, out_of_docs: int = 0) -> None:
    """Copy a file; the links of a page that go up so many folders leave the folder ``docs``."""

    def inside(link: re.Match[str]) -> str:
        ups = link[1].count("../")
        return f"]({'../' * (ups - 1 if ups == out_of_docs else ups)}"

    target = PAGES / to
    target.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix == ".md" and out_of_docs:
        target.write_text(_UP.sub(inside, file.read_text()))
    else:
        shutil.copy(file, target)


if __name__ == "__main__":
    sys.exit(main())
