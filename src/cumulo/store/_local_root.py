"""How paths become files below a root, without leaving it. Any thread; every call may block.

Each segment is opened below the one before it, by descriptor and never following a symbolic link by itself. Where a
link is found, its target is walked the same way, from its directory or, if it is absolute, from the root; `..` in it
goes back to the directory that was passed, and no further than the root. So whatever is renamed or replaced by a link
meanwhile, what is opened was reached from the root, step by step. (A directory that is moved out of the root while a
call is under way may still be used by that call.) With `follow_symlinks` links are the kernel's business and may lead
anywhere.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Sequence
from types import TracebackType
from typing import Final

from cumulo.exceptions import BaseError, GenericError, InvalidPathError, NotFoundError

TEMPORARY: Final = re.compile(rb"\..*\.cumulo-[0-9]+-[0-9a-f]{16}\.tmp", re.DOTALL)
"""What files are called while they are written. No object can have such a name, and no listing shows one."""

_DIRECTORY: Final = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
_MOST_LINKS: Final = 40
_MOST_NAME_BYTES: Final = 255

Segments = tuple[bytes, ...]


class Refused(Exception):
    """What was found is not for us. `kind` is what the caller is told, with what was asked of whom."""

    def __init__(self, message: str, kind: type[BaseError] = GenericError) -> None:
        super().__init__(message)
        self.kind = kind


def _outside() -> Refused:
    return Refused("a symbolic link leads out of the store's directory", InvalidPathError)


def segments_of(path: object, *, empty: bool = False) -> Segments:
    """The names on the way to an object. Raises `InvalidPathError` for what no file can be called."""
    if not isinstance(path, str):
        raise TypeError(f"a path must be a str, not {type(path).__name__}")
    plain = path.removeprefix("/").removesuffix("/")
    if not plain:
        if empty:
            return ()
        raise InvalidPathError("the path of an object can't be empty", path=path)
    try:
        names = plain.encode("utf-8", "surrogateescape").split(b"/")
    except UnicodeEncodeError as error:
        raise InvalidPathError(f"the path {path!r} can't be encoded as UTF-8", path=path) from error
    for name in names:
        if why := _unusable(name):
            raise InvalidPathError(f"the path {path!r} can't be a file's: {why}", path=path)
    return tuple(names)


def _unusable(name: bytes) -> str | None:
    if not name:
        return "it has an empty segment"
    if name in (b".", b".."):
        return f"it has a segment {name.decode()!r}"
    if b"\0" in name:
        return "it has a NUL"
    if len(name) > _MOST_NAME_BYTES:
        return f"it has a segment of {len(name)} bytes, more than {_MOST_NAME_BYTES}"
    return "names of this form are for files that are being written" if TEMPORARY.fullmatch(name) else None


def text_of(name: bytes) -> str:
    """A file's name as part of a path; bytes that aren't UTF-8 as surrogates, which `segments_of` takes back."""
    return name.decode("utf-8", "surrogateescape")


class Place:
    """A name in an open directory, and what was found there (None: nothing). Close it."""

    __slots__ = ("directory", "made", "name", "status")

    def __init__(self, directory: int, name: bytes, status: os.stat_result | None, made: list[Segments]) -> None:
        self.directory = directory
        self.name = name
        self.status = status
        self.made = made
        """Directories that were made on the way, outermost first."""

    def __enter__(self) -> Place:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the directory."""
        directory, self.directory = self.directory, -1
        if directory >= 0:
            os.close(directory)

    def object_status(self) -> os.stat_result:
        """The status of the regular file that is there. Raises for anything else."""
        status = self.status
        if status is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        if stat.S_ISDIR(status.st_mode):
            raise Refused("it is a directory", NotFoundError)
        if not stat.S_ISREG(status.st_mode):
            raise Refused("it is a device, pipe or socket and not a regular file")
        return status

    def open(self) -> tuple[int, os.stat_result]:
        """Open the regular file that is there: never waits for a pipe's other end, never touches a device."""
        self.object_status()
        # O_NOFOLLOW is left out only where the caller allowed links: `status` is then the target's.
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
        descriptor = os.open(self.name, flags | self._no_link(), dir_fd=self.directory)
        try:
            status = self.status = os.fstat(descriptor)
            self.object_status()
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor, status

    def _no_link(self) -> int:
        return os.O_NOFOLLOW


class _FollowedPlace(Place):
    """A place in a store that follows links wherever they lead."""

    __slots__ = ()

    def _no_link(self) -> int:
        return 0


class Root:
    """A directory that all objects of a store are below."""

    def __init__(self, path: str, *, follow_symlinks: bool, make: bool) -> None:
        self._path = os.fsencode(path)
        self._make = make
        self._follow = follow_symlinks
        self._no_link = 0 if follow_symlinks else os.O_NOFOLLOW

    def locate(self, segments: Sequence[bytes], *, last_link: bool = True, make: bool = False) -> Place:
        """Where an object is or would be.

        Args:
            segments: its path; at least one.
            last_link: whether a link in the last place stands for its target, rather than for itself.
            make: make the directories that are missing.
        """
        walk = _Walk(self, segments, make=make)
        try:
            while True:
                name = walk.to_last()
                status = self._status(name, walk.here, last_link=last_link)
                if status is None or not stat.S_ISLNK(status.st_mode) or not last_link:
                    kind = _FollowedPlace if self._follow and last_link else Place
                    return kind(walk.take(), name, status, walk.made)
                walk.follow(name)
        except BaseException:
            # The directories stay: someone else may be about to use them, and they hold nothing.
            walk.close()
            raise

    def _status(self, name: bytes, directory: int, *, last_link: bool) -> os.stat_result | None:
        try:
            return os.stat(name, dir_fd=directory, follow_symlinks=self._follow and last_link)
        except FileNotFoundError:
            return None

    def open_directory(self, segments: Sequence[bytes]) -> int:
        """A directory, open for reading its entries."""
        walk = _Walk(self, (*segments, b"."), make=False)
        try:
            walk.to_last()
            return os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=walk.here)
        finally:
            walk.close()

    def open_root(self, *, make: bool) -> int:
        """The root itself, made if it is missing and the store may."""
        try:
            if make and self._make:
                os.makedirs(self._path, exist_ok=True)
            return os.open(self._path, _DIRECTORY)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise Refused("the store's directory is gone", NotFoundError) from error

    def enter(self, name: bytes, directory: int) -> int:
        """A directory in another; raises `ELOOP` or `ENOTDIR` for a link, unless links are followed."""
        return os.open(name, _DIRECTORY | self._no_link, dir_fd=directory)

    def below(self, target: bytes) -> bytes:
        """What an absolute link's target is below the root."""
        inside = target.removeprefix(self._path.rstrip(b"/"))
        if (inside == target and self._path != b"/") or (inside and not inside.startswith(b"/")):
            raise _outside()
        return inside

    def prune(self, directories: Sequence[Segments]) -> None:
        """Remove directories, innermost first, up to the first that has something in it."""
        for segments in directories:
            try:
                with self.locate(segments, last_link=False) as place:
                    os.rmdir(place.name, dir_fd=place.directory)
            except (OSError, Refused):
                return


class _Walk:
    """One way down: the directories passed, and the names still to come."""

    def __init__(self, root: Root, segments: Sequence[bytes], *, make: bool) -> None:
        self._root = root
        self._make = make
        self._names = list(reversed(segments))
        self._links = 0
        self._passed: list[bytes] = []
        self.made: list[Segments] = []
        self._trail = [root.open_root(make=make)]

    @property
    def here(self) -> int:
        return self._trail[-1]

    def to_last(self) -> bytes:
        """Go down until one name is left; that name."""
        while True:
            name = self._names.pop()
            if name == b"..":
                self._up()
            elif not self._names:
                return name or b"."
            elif name not in (b"", b"."):
                self._down(name)
            if not self._names:  # a link's target that ends in ".."
                return b"."

    def _up(self) -> None:
        if len(self._trail) == 1:
            raise _outside()
        os.close(self._trail.pop())
        self._passed.pop()

    def _down(self, name: bytes) -> None:
        try:
            self._enter(name)
        except FileNotFoundError:
            if not self._make:
                raise
            self._make_directory(name)
            self._enter(name)
        except OSError as error:
            # Linux says ENOTDIR of a link that is not to be followed, others ELOOP.
            if error.errno not in (errno.ENOTDIR, errno.ELOOP, getattr(errno, "EMLINK", errno.ELOOP)):
                raise
            try:
                self.follow(name)
            except OSError as unread:
                if unread.errno == errno.EINVAL:  # no link
                    raise error from None
                raise

    def _enter(self, name: bytes) -> None:
        self._trail.append(self._root.enter(name, self.here))
        self._passed.append(name)

    def _make_directory(self, name: bytes) -> None:
        try:
            os.mkdir(name, dir_fd=self.here)
        except FileExistsError:
            return  # someone else did, or it is a link to nothing
        self.made.append((*self._passed, name))

    def follow(self, name: bytes) -> None:
        """Go on where a link in the present directory points to."""
        self._links += 1
        if self._links > _MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        target = os.readlink(name, dir_fd=self.here)
        if target.startswith(b"/"):
            target = self._root.below(target)
            for descriptor in self._trail[1:]:
                os.close(descriptor)
            del self._trail[1:]
            self._passed.clear()
        self._names.extend(reversed(target.split(b"/")))

    def take(self) -> int:
        """The present directory, now the caller's."""
        directory = self._trail.pop()
        self.close()
        return directory

    def close(self) -> None:
        for descriptor in self._trail:
            os.close(descriptor)
        self._trail.clear()
