"""Files of this machine: finding them, and writing them so that none is ever seen half-written."""

from __future__ import annotations

import io
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from .plan import Refusal
from .text import reason


class NewFile:
    """A file written under a temporary name beside its own, and renamed when it is complete.

    Devices and pipes, which can't be replaced, are written directly. Symbolic links are followed.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(os.path.realpath(path))
        self._temporary: Path | None = None
        self._file: io.FileIO | None = None
        self._written = 0

    def open(self) -> None:
        """Make the file, and the directories above it."""
        if self._path.is_dir():
            raise IsADirectoryError(f"{self._path} is a directory")
        if self._path.exists() and not self._path.is_file():
            self._file = self._path.open("wb", buffering=0)
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._temporary = self._path.parent / f".cumulo-{secrets.token_hex(8)}.part"
        self._file = self._temporary.open("xb", buffering=0)

    @property
    def _opened(self) -> io.FileIO:
        if self._file is None:
            raise ValueError("the file is not open")
        return self._file

    def write(self, content: bytes | memoryview) -> None:
        """Append all of `content`."""
        view = memoryview(content)
        while view:  # an unbuffered write may take less than it is given
            count = self._opened.write(view)
            self._written += count
            view = view[count:]

    def commit(self, size: int | None = None) -> None:
        """Give it its name, if it has `size` bytes (None: whatever it has)."""
        if size is not None and self._written != size:
            raise OSError(f"{self._path}: {self._written} bytes came instead of {size}")
        self._opened.close()
        if self._temporary is not None:
            os.replace(self._temporary, self._path)
            self._temporary = None

    def discard(self) -> None:
        """Remove what was not committed. Can be called at any time, more than once."""
        if self._file is not None:
            self._file.close()
        if self._temporary is not None:
            self._temporary.unlink(missing_ok=True)
            self._temporary = None

    def __enter__(self) -> NewFile:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()


def walk(root: str) -> Iterator[tuple[str, os.stat_result] | Refusal]:
    """Every file below a directory: its path relative to it, and its status.

    Symbolic links are followed, but not back into a directory on the way to them. What can't be read, and what is no
    file, comes as a refusal.
    """
    yield from _walk(root, "", frozenset())


def _walk(
    root: str, relative: str, above: frozenset[tuple[int, int]]
) -> Iterator[tuple[str, os.stat_result] | Refusal]:
    directory = os.path.join(root, relative)
    try:
        status = os.stat(directory)
        names = sorted(os.listdir(directory))
    except OSError as error:
        yield Refusal(directory, reason(error))
        return
    identity = (status.st_dev, status.st_ino)
    if identity in above:
        yield Refusal(directory, "a symbolic link to a directory above it")
        return
    for name in names:
        yield from _entry(root, os.path.join(relative, name), above | {identity})


def _entry(
    root: str, relative: str, above: frozenset[tuple[int, int]]
) -> Iterator[tuple[str, os.stat_result] | Refusal]:
    path = os.path.join(root, relative)
    try:
        status = os.stat(path)
    except OSError as error:
        yield Refusal(path, reason(error))
        return
    if stat.S_ISDIR(status.st_mode):
        yield from _walk(root, relative, above)
    elif stat.S_ISREG(status.st_mode):
        yield relative, status
    else:
        yield Refusal(path, "neither a file nor a directory")


def remove_tree(root: str) -> Iterator[str]:
    """Every path below `root` and itself, as something to be removed: files and links first, then their directory."""
    for directory, names, files in os.walk(root, topdown=False, onerror=_raise):
        for name in files + [name for name in names if os.path.islink(os.path.join(directory, name))]:
            yield os.path.join(directory, name)
        yield directory


def _raise(error: OSError) -> None:
    raise error
