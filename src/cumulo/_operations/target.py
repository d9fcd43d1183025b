"""The local file that an object goes to, and that nobody ever sees half of.

Content goes to a temporary file beside it, which takes its name in one step when all is there. Methods block, run in
any thread, one at a time; `discard` may be called at any time, also while another runs in another thread, and leaves
nothing behind. Whoever gives `fileno` to requests has ended them before that. What the system refuses is a
`LocalFileError` that names the file as the caller did.
"""

from __future__ import annotations

import binascii
import errno
import fcntl
import os
import stat
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Any, Final

from cumulo import _native
from cumulo._digests import sha256
from cumulo._errors import Context, of_file

CANNOT: Final = frozenset((errno.ENOSYS, errno.EINVAL, errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EXDEV))
"""What says "not on this file system" of linking, renaming or copying, rather than that something is wrong."""
_STEP_BYTES = 8 << 20
_NAME_KEPT_BYTES = 160


def copy_some(source: int, at: int, target: int, length: int) -> int:
    """Some of the bytes of a file from `at` on to where another is, inside the kernel where it can; how many. 0 at the
    end.
    """
    if hasattr(os, "copy_file_range"):
        try:
            copied = os.copy_file_range(source, target, length, at)
        except OSError as error:
            if error.errno not in CANNOT:
                raise
        else:
            if copied > 0:
                return copied
    content = os.pread(source, min(length, _STEP_BYTES), at)
    left = memoryview(content)
    while left:
        left = left[os.write(target, left) :]
    return len(content)


class FileTarget:
    """One file under way: `open`, then content, then `commit`; or `discard` at any point.

    `partial`: what was written stays for another process, under a name that it will find (`partial_path`), unless the
    target is discarded whole.
    """

    def __init__(self, name: str, context: Context, *, partial: bool, fsync: bool) -> None:
        self.name = name
        self.partial_path = ""
        self._context = context
        self._partial = partial
        self._fsync = fsync
        self._path = ""
        self._temporary = ""
        self._file = -1
        self._stopped = False
        self._lock = threading.Lock()
        self._process = os.getpid()

    def forget_partial(self) -> None:
        """Leave nothing for another process after all. Before `open`."""
        self._partial = False

    def fileno(self) -> int:
        """The descriptor, for requests to write to."""
        return self._file

    @contextmanager
    def _guarded(self) -> Generator[None]:
        with self._lock:
            if self._stopped:
                raise OSError(errno.ECANCELED, os.strerror(errno.ECANCELED))
            try:
                yield
            except OSError as error:
                raise of_file(self._context, error.errno or errno.EIO, self.name) from error

    def open(self) -> None:
        """Make the temporary file, or take up the one that was left."""
        with self._guarded():
            path = os.path.realpath(self.name)
            if self.name.endswith(os.sep) or os.path.isdir(path):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            kept = _mode_of(path)
            folder, name = os.path.split(path)
            self._path = path
            self.partial_path = os.path.join(folder, f".{shortened(name)}.cumulo-part")
            if self._partial:
                self._temporary = self.partial_path
                self._file = _locked(self._temporary, 0o666 if kept is None else 0o600)
            else:
                part = f".{shortened(name)}.cumulo-{os.getpid()}-{os.urandom(8).hex()}.tmp"
                self._temporary = os.path.join(folder, part)
                flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
                self._file = os.open(self._temporary, flags, 0o666 if kept is None else 0o600)
                with suppress(OSError):  # tells it from those of killed processes
                    fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if kept is not None:
                os.fchmod(self._file, kept)  # what was private stays private

    def clear(self) -> None:
        """Drop what another process has left."""
        with self._guarded():
            os.ftruncate(self._file, 0)

    def expect(self, size: int) -> None:
        """Fail at once where the file system has no room for so many bytes, or none that are not here yet."""
        with self._guarded():
            system, file = os.fstatvfs(self._file), os.fstat(self._file)
            free = system.f_bfree * system.f_frsize + file.st_blocks * 512
            if system.f_blocks > 0 and size > free:  # some don't say how large they are
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def write(self, content: Any) -> None:
        """Append a buffer."""
        with memoryview(content) as view:
            at = 0
            while at < len(view):
                with self._guarded():
                    at += os.write(self._file, view[at : at + _STEP_BYTES])

    def copy_from(self, source: int, start: int, length: int) -> int:
        """Append from a file; how many bytes it had."""
        done = 0
        while done < length:
            with self._guarded():
                copied = copy_some(source, start + done, self._file, min(_STEP_BYTES, length - done))
            if copied == 0:
                break
            done += copied
        return done

    def read(self, start: int, length: int) -> bytes:
        """What has been written there so far."""
        with self._guarded():
            return os.pread(self._file, length, start)

    def sum(self, algorithm: str, start: int, length: int) -> int:
        """A CRC of what has been written there so far; a wrong one where the file ends before."""
        with self._guarded():
            try:
                made = _native.checksum(algorithm, None, (self, start, length))
            except EOFError:
                return -1
        return int.from_bytes(binascii.a2b_base64(made), "big")

    def status(self) -> os.stat_result:
        """Of what has been written so far."""
        with self._guarded():
            return os.fstat(self._file)

    def flush(self) -> None:
        """Return when what has been written would survive a power cut."""
        with self._guarded():
            getattr(os, "fdatasync", os.fsync)(self._file)

    def commit(self, size: int) -> None:
        """Cut it to its size and give it its name."""
        with self._guarded():
            os.ftruncate(self._file, size)
            if self._fsync:
                os.fsync(self._file)
            os.replace(self._temporary, self._path)
            self._temporary = ""
            if self._fsync:
                _sync_folder(os.path.dirname(self._path))
        self.discard()

    def discard(self, *, keep_partial: bool = False) -> None:
        """Leave nothing behind, or just the partial file."""
        if os.getpid() != self._process:
            return  # a forked child's copy: the file is its parent's
        self._stopped = True  # what is under way in another thread ends after its present step
        with self._lock:
            if self._temporary and not (self._partial and keep_partial) and self._file >= 0:
                with suppress(OSError):
                    os.unlink(self._temporary)
            self._temporary = ""
            file, self._file = self._file, -1
            if file >= 0:
                os.close(file)


def _mode_of(path: str) -> int | None:
    """The permission bits of the file that is there, or None."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "what is there is no regular file")
    return stat.S_IMODE(status.st_mode) & 0o777


def shortened(name: str) -> str:
    """A name to put more behind, of a length that any file system takes."""
    raw = os.fsencode(name)
    if len(raw) <= _NAME_KEPT_BYTES:
        return name
    kept = raw[:_NAME_KEPT_BYTES].decode("utf-8", "ignore")  # cut between characters: some take UTF-8 only
    return f"{kept}-{sha256(raw)[:16]}"


def _locked(path: str, mode: int) -> int:
    """Open a partial file that nobody else is at. Raises `BlockingIOError` when somebody is."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
        try:
            _lock(file)
            if os.path.samestat(os.fstat(file), os.stat(path)):
                return file
        except FileNotFoundError:
            pass  # it has been completed meanwhile
        except BaseException:
            os.close(file)
            raise
        os.close(file)


def _lock(file: int) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in CANNOT and error.errno != errno.ENOLCK:
            raise


def _sync_folder(path: str) -> None:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
