"""Listing a directory tree in the order of its paths, a page at a time. Any thread; pages block.

A directory's entries are read and sorted when the walk gets there, its files are looked at when their page is made. The
walk's state between pages is a tuple of frames, never changed: a page that was cancelled is made again from the same
state. No descriptor stays open between pages. A directory sorts as its name with a slash, as its paths do.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from cumulo._drivers.effects import END, Plan
from cumulo._providers.base import Listing
from cumulo._records import record, replace

from ._local_root import TEMPORARY, Refused, Root, Segments, text_of

if TYPE_CHECKING:
    from cumulo._types import ObjectMeta

PAGE = 1000
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_GONE = (FileNotFoundError, NotADirectoryError)


def meta_of(path: str, status: os.stat_result) -> ObjectMeta:
    """A file as an object. Its ETag is obstore's: inode, time in microseconds and size."""
    microseconds = status.st_mtime_ns // 1000
    return {
        "path": path,
        "last_modified": _EPOCH + timedelta(microseconds=microseconds),
        "size": status.st_size,
        "e_tag": f'"{status.st_ino:x}-{microseconds:x}-{status.st_size:x}"',
        "version": None,
    }


@record(frozen=True)
class _Frame:
    """A directory on the way: what is in it and how far it has been listed."""

    segments: Segments
    above: tuple[tuple[int, int], ...]
    """Identities of the directories it is in: a link to one of them would lead round and round."""
    entries: tuple[tuple[str, bytes, bool], ...] | None = None
    """Sort name (with a slash for a directory), name, whether it is a link. None: not read yet."""
    at: int = 0
    beginning: str = ""
    """Of the names that are wanted."""


class Walk:
    """One listing. `page` takes a state and gives what was found and the next state."""

    def __init__(self, root: Root, segments: Segments, offset: str | None, *, beginning: str = "") -> None:
        self._root = root
        self._offset = offset
        self.start: tuple[_Frame, ...] = (_Frame(segments, (), beginning=beginning),)

    def page(self, state: tuple[_Frame, ...]) -> tuple[Listing, tuple[_Frame, ...]]:
        """Up to `PAGE` objects."""
        objects: list[ObjectMeta] = []
        frames = list(state)
        while frames and len(objects) < PAGE:
            frame = frames.pop()
            if frame.entries is None:
                read = self._read(frame)
                if read is None:
                    continue
                frame = read
            frames.extend(self._list_frame(frame, objects))
        return Listing(objects, [], None), tuple(frames)

    def level(self) -> Listing:
        """The objects and directories of the first directory alone."""
        frame = self._read(self.start[0])
        if frame is None or frame.entries is None:
            return Listing([], [], None)
        base = _base(frame.segments)
        directories = [base + name[:-1] for name, _, _ in frame.entries if name.endswith("/")]
        files = tuple(entry for entry in frame.entries if not entry[0].endswith("/"))
        objects: list[ObjectMeta] = []
        self._list_frame(replace(frame, entries=files), objects, most=len(files))
        return Listing(objects, directories, None)

    def _list_frame(self, frame: _Frame, objects: list[ObjectMeta], most: int = PAGE) -> list[_Frame]:
        """List on in a directory. The frames to go on with: its rest, and a directory in it that comes before that."""
        entries = frame.entries or ()
        base = _base(frame.segments)
        directory = -1
        try:
            for index in range(frame.at, len(entries)):
                sort_name, name, is_link = entries[index]
                if len(objects) >= most:
                    return [replace(frame, at=index)]
                if self._before_offset(base + sort_name):
                    continue
                if sort_name.endswith("/"):
                    return [replace(frame, at=index + 1), _Frame((*frame.segments, name), frame.above)]
                if directory < 0 and not is_link:
                    directory = self._root.open_directory(frame.segments)
                status = self._file_status(frame.segments, name, directory, is_link=is_link)
                if status is not None:
                    objects.append(meta_of(base + sort_name, status))
        except _GONE:
            pass  # the directory went away meanwhile
        finally:
            if directory >= 0:
                os.close(directory)
        return []

    def _before_offset(self, path: str) -> bool:
        offset = self._offset
        if offset is None or path > offset:
            return False
        return not (path.endswith("/") and offset.startswith(path))

    def _read(self, frame: _Frame) -> _Frame | None:
        try:
            directory = self._root.open_directory(frame.segments)
        except _GONE:
            return None
        try:
            status = os.fstat(directory)
            identity = (status.st_dev, status.st_ino)
            if identity in frame.above:
                return None
            with os.scandir(directory) as scan:
                found = [entry for each in scan if (entry := self._entry(frame.segments, each)) is not None]
        finally:
            os.close(directory)
        found = sorted(entry for entry in found if entry[0].startswith(frame.beginning))
        return replace(frame, entries=tuple(found), above=(*frame.above, identity))

    def _entry(self, segments: Segments, entry: os.DirEntry[str]) -> tuple[str, bytes, bool] | None:
        name = os.fsencode(entry.name)
        if entry.is_dir(follow_symlinks=False):
            return text_of(name) + "/", name, False
        if entry.is_file(follow_symlinks=False):
            return None if TEMPORARY.fullmatch(name) else (text_of(name), name, False)
        if not entry.is_symlink():
            return None  # a pipe, a device or a socket
        status = self._link_status(segments, name)
        if status is None:
            return None
        if stat.S_ISDIR(status.st_mode):
            return text_of(name) + "/", name, True
        return (text_of(name), name, True) if stat.S_ISREG(status.st_mode) else None

    def _link_status(self, segments: Segments, name: bytes) -> os.stat_result | None:
        """What a link leads to; None for one that leads nowhere or out of the store."""
        try:
            with self._root.locate((*segments, name)) as place:
                return place.status
        except (OSError, Refused):
            return None

    def _file_status(self, segments: Segments, name: bytes, directory: int, *, is_link: bool) -> os.stat_result | None:
        if is_link:
            status = self._link_status(segments, name)
        else:
            try:
                status = os.stat(name, dir_fd=directory, follow_symlinks=False)
            except FileNotFoundError:
                return None
        return status if status is not None and stat.S_ISREG(status.st_mode) else None


class LocalPages:
    """The pages of one listing, each made in a blocking call."""

    def __init__(self, walk: Walk, call: Callable[..., Any], *, delimiter: bool) -> None:
        self._walk = walk
        self._call = call
        self._delimiter = delimiter
        self._state: tuple[_Frame, ...] = walk.start

    def next_page(self) -> Plan[Any]:
        if not self._state:
            return END
        if self._delimiter:
            listing = yield self._call(self._walk.level)
            self._state = ()
            return listing
        listing, self._state = yield self._call(self._walk.page, self._state)
        return listing


def _base(segments: Segments) -> str:
    return "".join(text_of(segment) + "/" for segment in segments)
