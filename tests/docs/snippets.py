"""The Python blocks of the documentation, taken out of their pages and run.

A page's ```python blocks run one after the other in one namespace, in an empty directory. Lines `#> text` are what a
block has to print. One that can't run has `<!-- not run: why -->` on the line above it.
"""

from __future__ import annotations

import contextlib
import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted(path for path in (ROOT / "docs").rglob("*.md") if "design" not in path.parts)]

_FENCE = re.compile(r"^(?P<indent> *)```(?P<info>.*)$")
_NOT_RUN = re.compile(r"^\s*<!-- not run: (?P<why>.+) -->$")
_OUTPUT = re.compile(r"^#> ?(.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """One fenced block. `line` is that of its first line of code; `not_run` says why it is only shown."""

    page: Path
    line: int
    code: str
    not_run: str | None

    @property
    def output(self) -> list[str]:
        """The lines that it says it prints."""
        return _OUTPUT.findall(self.code)

    def run(self, namespace: dict[str, Any]) -> list[str]:
        """Run it; the lines it prints. Tracebacks name the page and its line."""
        code = compile("\n" * (self.line - 1) + self.code, str(self.page), "exec", dont_inherit=True)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code, namespace)
        return printed.getvalue().splitlines()


def name(page: Path) -> str:
    """A page's path in the checkout."""
    return str(page.relative_to(ROOT))


def blocks(page: Path) -> list[Block]:
    """The ```python blocks of a page, in order."""
    found: list[Block] = []
    lines = page.read_text().splitlines()
    at = 0
    while at < len(lines):
        fence = _FENCE.match(lines[at])
        at += 1
        if fence is None:
            continue
        first = at
        while lines[at].strip() != "```":
            at += 1
        if fence["info"].split()[:1] == ["python"]:
            indent = len(fence["indent"])
            code = "\n".join(line[indent:] for line in lines[first:at]) + "\n"
            mark = _NOT_RUN.match(lines[first - 2]) if first > 1 else None
            found.append(Block(page, first + 1, code, mark["why"] if mark else None))
        at += 1
    return found
