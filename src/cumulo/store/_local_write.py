"""Writing a file so that nobody ever sees half of it.

Content goes to a temporary file in the target's directory, `.<name>.cumulo-<process>-<random>.tmp`, which then takes
the target's name in one step. The temporary file is locked (flock) while it is written, so that leftovers of a killed
process can be told from files under way, and it is removed on every error. Each method blocks and may run in any
thread, one at a time; `discard` may be called at any time, also while another method runs in another thread.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
import threading
import time
from contextlib import suppress
from typing import Any

from cumulo import _native
from cumulo._operations.target import CANNOT, copy_some

from ._local_root import TEMPORARY, Place, Refused, Root, Segments, text_of

_STEP_BYTES = 8 << 20
"""Written or copied by one system call: Ctrl-C and cancel wait for no more than that."""
_NAME_KEPT_BYTES = 160
_ATTEMPTS = 100


class Writer:
    """One file under way: `open`, then `write` or `copy_from`, then `commit`; or `discard` at any point."""

    def __init__(self, root: Root, segments: Segments, *, create: bool, fsync: bool) -> None:
        self._root = root
        self._segments = segments
        self._create = create
        self._fsync = fsync
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._stopped = False
        self._over = False
        self._place: Place | None = None
        self._file = -1
        self._temporary = _temporary_name(segments[-1])

    def open(self) -> None:
        """Make the temporary file, and the directories above it."""
        with self._lock:
            self._check_open()
            for attempt in range(_ATTEMPTS):
                try:
                    self._place = self._root.locate(self._segments, last_link=False, make=True)
                    self._file = self._make_file(self._place)
                    return
                except FileNotFoundError:
                    # Someone's automatic clean-up took the directory between its making and its use.
                    if attempt == _ATTEMPTS - 1:
                        raise
                    self._close_place()

    def _make_file(self, place: Place) -> int:
        status = place.status
        if status is not None and not stat.S_ISREG(status.st_mode) and not stat.S_ISLNK(status.st_mode):
            raise Refused("what is there is not a regular file, and is not replaced")
        if status is not None and self._create:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        kept = stat.S_IMODE(status.st_mode) & 0o777 if status is not None and stat.S_ISREG(status.st_mode) else None
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        file = os.open(self._temporary, flags, 0o666 if kept is None else 0o600, dir_fd=place.directory)
        self._file = file
        if kept is not None:
            os.fchmod(file, kept)  # what was private stays private
        with suppress(OSError):  # a file system without locks: leftovers are then told by their age alone
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return file

    def put(self, content: Any) -> os.stat_result:
        """The whole file at once. Its status."""
        self.open()
        self.write(content)
        return self.commit()

    def copy_whole(self, source: int) -> os.stat_result:
        """The whole file from another, as it is at present."""
        self.open()
        self.copy_from(source, 0, None)
        return self.commit()

    def write(self, content: Any) -> None:
        """Append a buffer."""
        with self._lock, memoryview(content) as view:
            at = 0
            while at < len(view):
                self._check_open()
                at += os.write(self._file, view[at : at + _STEP_BYTES])

    def copy_from(self, source: int, start: int, length: int | None) -> int:
        """Append from a file, inside the kernel where it can (as shared blocks, where the file system has them).

        Stops at the end of the source; returns how many bytes it was.
        """
        with self._lock:
            done = 0
            while length is None or done < length:
                self._check_open()
                step = _STEP_BYTES * 8 if length is None else min(_STEP_BYTES * 8, length - done)
                copied = copy_some(source, start + done, self._file, step)
                if copied == 0:
                    break
                done += copied
            return done

    def commit(self) -> os.stat_result:
        """Give the file its name. Its status then."""
        with self._lock:
            self._check_open()
            place = self._place
            assert place is not None
            if self._fsync:
                os.fsync(self._file)
            status = os.fstat(self._file)
            if self._create:
                move_new(place.directory, self._temporary, place.directory, place.name)
            else:
                os.replace(self._temporary, place.name, src_dir_fd=place.directory, dst_dir_fd=place.directory)
            self._over = True
            try:
                if self._fsync:
                    sync_directory(place)
                    self._sync_made(place)
            finally:
                self._close()
            return status

    def _sync_made(self, place: Place) -> None:
        for segments in place.made:
            with self._root.locate(segments, last_link=False) as above:
                sync_directory(above)

    def discard(self) -> None:
        """Leave nothing behind. Does nothing after `commit`."""
        if os.getpid() != self._process:
            return  # a forked child's copy: the file is its parent's
        self._stopped = True  # a write under way in another thread ends after its present step
        with self._lock:
            over, self._over = self._over, True
            place = self._place
            if over or place is None:
                return
            with suppress(OSError):  # never made, or the disk refuses: the name says what it is
                os.unlink(self._temporary, dir_fd=place.directory)
            made = place.made
            self._close()
            self._root.prune(made[::-1])

    def _check_open(self) -> None:
        if self._over or self._stopped:
            raise OSError(errno.ECANCELED, os.strerror(errno.ECANCELED))

    def _close(self) -> None:
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)
        self._close_place()

    def _close_place(self) -> None:
        place, self._place = self._place, None
        if place is not None:
            place.close()


def _temporary_name(name: bytes) -> bytes:
    # Cut between characters: some file systems take UTF-8 only.
    kept = name[:_NAME_KEPT_BYTES].decode("utf-8", "ignore").encode() if len(name) > _NAME_KEPT_BYTES else name
    return b".%s.cumulo-%d-%s.tmp" % (kept, os.getpid(), secrets.token_hex(8).encode())


def move_new(from_directory: int, name: bytes, to_directory: int, new_name: bytes) -> None:
    """Rename in one step, unless there is a file of the new name (`FileExistsError`)."""
    try:
        _native.rename_new(from_directory, name, to_directory, new_name)
        return
    except OSError as error:
        if error.errno not in CANNOT - {errno.EXDEV}:
            raise
    os.link(name, new_name, src_dir_fd=from_directory, dst_dir_fd=to_directory, follow_symlinks=False)
    os.unlink(name, dir_fd=from_directory)


def sync_directory(place: Place) -> None:
    """Make a name in a directory last."""
    directory = os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=place.directory)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def remove_leftovers(root: Root, older_than_s: float) -> list[str]:
    """Remove temporary files that nobody writes any more; their paths."""
    removed: list[str] = []
    pending: list[Segments] = [()]
    while pending:
        segments = pending.pop()
        try:
            directory = root.open_directory(segments)
        except FileNotFoundError:
            continue
        try:
            with os.scandir(directory) as entries:
                for entry in entries:
                    name = os.fsencode(entry.name)
                    if entry.is_dir(follow_symlinks=False):
                        pending.append((*segments, name))
                    elif TEMPORARY.fullmatch(name) and _remove_leftover(directory, name, older_than_s):
                        removed.append("/".join(text_of(part) for part in (*segments, name)))
        finally:
            os.close(directory)
    return sorted(removed)


def _remove_leftover(directory: int, name: bytes, older_than_s: float) -> bool:
    try:
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    except OSError:
        return False
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode) or time.time() - status.st_mtime < older_than_s:
            return False
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False  # it is being written
        except OSError:
            pass
        os.unlink(name, dir_fd=directory)
        return True
    except FileNotFoundError:
        return False
    finally:
        os.close(file)
