"""What the user sees of a run: a bar on a terminal, quiet lines elsewhere; failures always. All of it on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from .text import human, shown


class Reporter:
    """Counts files and bytes, and shows them.

    Args:
        quiet: nothing but failures.
        verbose: a line for each object.
        on_wire: bytes sent or received so far. Files go between disk and wire without passing here, and this tells how
            they are doing.
    """

    def __init__(self, *, quiet: bool = False, verbose: bool = False, on_wire: Callable[[], int] | None = None) -> None:
        self.total = self.finished = self.failures = 0
        self._bytes_total = self._bytes_moved = self._bytes_done = 0
        self._quiet = quiet
        self._verbose = verbose
        self._on_wire = on_wire
        self._bar = None if quiet or not sys.stderr.isatty() else _bar()
        self._started = time.monotonic()

    def __enter__(self) -> Reporter:
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task("", total=None, files="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self.tick()
            self._bar.stop()

    def found(self, size: int) -> None:
        """One more object is to be copied; a negative size is one that the server does not say."""
        self.total += 1
        self._bytes_total += max(0, size)

    def moved(self, count: int) -> None:
        """Bytes have arrived."""
        self._bytes_moved += max(0, count)

    def done(self, label: str, size: int) -> None:
        """An object is complete."""
        self.finished += 1
        self._bytes_done += max(0, size)
        if self._verbose and not self._quiet:
            self._line(shown(label))

    def failed(self, label: str, reason: str) -> None:
        """An object failed, and won't be tried again."""
        self.failures += 1
        self._line(f"failed: {shown(label)}: {reason}")

    def tick(self) -> None:
        """Bring the bar up to date."""
        if self._bar is None:
            return
        moved = max(self._bytes_moved, self._on_wire() if self._on_wire else 0)
        files = f"{self.finished}/{self.total} files"
        self._bar.update(self._task, total=self._bytes_total, completed=min(moved, self._bytes_total), files=files)

    def summary(self, verb: str) -> None:
        """The last line."""
        if self._quiet:
            return
        seconds = time.monotonic() - self._started
        rate = human(self._bytes_done / seconds) if seconds > 0 else "-"
        line = f"{verb} {self.finished} files, {human(self._bytes_done)} in {seconds:.1f} s ({rate}/s)"
        self._line(line + (f"; {self.failures} failed" if self.failures else ""))

    def _line(self, text: str) -> None:
        if self._bar is not None and self._bar.live.is_started:
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            click.echo(text, err=True)


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.fields[files]}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
