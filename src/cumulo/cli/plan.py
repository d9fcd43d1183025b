"""Where each object of a `cp` goes. Knows paths and keys only: nothing here looks at a disk or a server."""

from __future__ import annotations

import mimetypes
import posixpath
from dataclasses import dataclass

from .urls import Location

_COMPRESSED = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}


@dataclass(frozen=True)
class Move:
    """One object to be copied."""

    source: Location
    target: Location
    size: int


@dataclass(frozen=True)
class Refusal:
    """One object that won't be copied, and why."""

    label: str
    reason: str


def check_pair(source: Location, target: Location, *, recursive: bool) -> None:
    """Refuse what can't be meant.

    Raises:
        ValueError: the reason, for the user.
    """
    if source.kind == target.kind == "stream":
        raise ValueError("'-' can be the source or the target, not both")
    if recursive:
        _check_recursive(source, target)
    elif source.remote and source.is_folder:
        raise ValueError(f"{source} is a folder: add --recursive to copy what is in it")
    elif source == target:
        raise ValueError(f"{source} would be copied onto itself")
    elif source.kind == "stream" and target.remote and target.is_folder:
        raise ValueError(f"what comes from stdin has no name: write a whole key instead of {target}")


def _check_recursive(source: Location, target: Location) -> None:
    if "stream" in (source.kind, target.kind):
        raise ValueError("'-' is one object: leave out --recursive")
    inside = source.remote and source.root == target.root
    if inside and folder(target.path).startswith(folder(source.path)):
        raise ValueError(f"{target} is inside {source}: its copies would be copied again")


def folder(key: str) -> str:
    """The key's prefix as a folder: whole segments, or all of the bucket."""
    return key if not key or key.endswith("/") else key + "/"


def one_target(source: Location, target: Location, *, is_directory: bool) -> Location:
    """Where a single object goes: into a folder under its own name, or exactly there.

    Args:
        source: the object.
        target: as the user wrote it.
        is_directory: `target` is a directory on this machine.

    Raises:
        ValueError: the source's name can't be a file's.
    """
    if target.kind == "stream" or not (is_directory or target.is_folder):
        return target
    name = posixpath.basename(source.path)
    if target.kind == "local":
        reason = unsafe(name)
        if reason:
            raise ValueError(f"{source}: {reason}")
    return below(target, name)


def below(root: Location, name: str) -> Location:
    """`name`, a relative path with `/`, under a folder."""
    if root.remote:
        return root.at(folder(root.path) + name)
    return root.at(posixpath.join(root.path, name))


def unsafe(name: str) -> str | None:
    """Why a key can't be a path below the target directory; None if it can.

    Besides what would leave the directory this refuses what a disk would fold into another key's name.
    """
    if name.startswith("/"):
        return "the key begins with a slash: as a path it would leave the target directory"
    parts = name.split("/")
    if ".." in parts:
        return "the key has a '..' in it: as a path it would leave the target directory"
    if "" in parts or "." in parts:
        return "the key has an empty or '.' segment in it, which no path has"
    if "\0" in name:
        return "the key has a NUL in it, which no path has"
    return None


def move_of(source_root: Location, target_root: Location, path: str, size: int) -> Move | Refusal | None:
    """What becomes of one listed object or file; None for the marker of a folder, which no disk needs.

    `path` is the whole key, or the path relative to the source directory.
    """
    if source_root.kind == "local":
        return Move(below(source_root, path), below(target_root, path), size)
    source = source_root.at(path)
    name = path.removeprefix(folder(source_root.path))
    if target_root.remote:
        return Move(source, below(target_root, name), size)
    if size == 0 and (not name or name.endswith("/")):
        return None
    reason = unsafe(name)
    if reason:
        return Refusal(str(source), reason)
    return Move(source, below(target_root, name), size)


def content_type(name: str) -> str | None:
    """A guess from the file's name."""
    kind, encoding = mimetypes.guess_type(name)
    return _COMPRESSED.get(encoding) if encoding else kind


def byte_range(text: str) -> tuple[int, int | None] | int:
    """`START-END` (both included), `START-` or `-LAST`, as `(start, end)` with `end` exclusive, or the last n bytes.

    Raises:
        ValueError: none of these.
    """
    start, dash, end = text.partition("-")
    if dash and all(not part or (part.isascii() and part.isdigit()) for part in (start, end)):
        if start and (not end or int(end) >= int(start)):
            return int(start), int(end) + 1 if end else None
        if not start and end and int(end) > 0:
            return int(end)
    raise ValueError(f"{text!r} is not a range: write 0-99 (both included), 100- or -50 (the last 50)")
