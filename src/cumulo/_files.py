"""Objects as files: `ReadableFile`, `WritableFile`. `_files_async.py` has their twins for event loops.

They are `io.RawIOBase`s, so what takes a binary file takes them: `io.TextIOWrapper`, `zipfile`, `tarfile`, `gzip`,
pandas. All four are faces of a `Reader` or a `Writer`, whose plans run on the calling thread or the running event loop;
one call at a time, others wait for it.
"""

from __future__ import annotations

import io
import operator
import os
import sys
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ._drivers import run_in_background, sync
from ._drivers.turns import Turns
from ._operations.reading import Reader, opened
from ._operations.writing import Writer
from ._redirected import Redirected
from .exceptions import PreconditionError

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Buffer, Self

    from ._drivers.effects import Plan
    from ._types import PutResult
    from .store import ObjectStoreMethods


if TYPE_CHECKING:

    class Closed(bool):  # type: ignore[misc]  # what io's protocols ask for
        """As type checkers take it: a bool that can be called."""

        def __new__(cls, *, closed: bool) -> Self: ...
        def __call__(self) -> bool: ...

else:

    class Closed:
        """Whether a file is closed: true or false as `io` has it, and called for the same, as obstore has it."""

        __slots__ = ("_is",)

        def __init__(self, *, closed: bool) -> None:
            self._is = closed

        def __bool__(self) -> bool:
            return self._is

        def __call__(self) -> bool:
            return self._is

        def __repr__(self) -> str:
            return repr(self._is)


def length_of(size: Any) -> int | None:
    """The argument of `read`. None and -1 are all there is."""
    if type(size) is int and size >= 0:  # most often
        return size
    if size is None:
        return None
    try:
        number = operator.index(size)
    except TypeError:
        raise TypeError(f"the size must be an integer or None, not {type(size).__name__}") from None
    if number < -1:
        raise ValueError(f"the size must not be negative, but for -1: {number}")
    return None if number == -1 else number


def place_of(reader: Reader, offset: Any, whence: Any) -> int:
    """Where a `seek` goes."""
    if whence == os.SEEK_SET and type(offset) is int and offset >= 0:  # most often
        return offset
    if whence not in (os.SEEK_SET, os.SEEK_CUR, os.SEEK_END):
        raise ValueError(f"whence must be 0, 1 or 2, not {whence!r}")
    base = {os.SEEK_SET: 0, os.SEEK_CUR: reader.at, os.SEEK_END: reader.size}[whence]
    place = base + operator.index(offset)
    if place < 0:
        raise ValueError(f"can't seek to {place}: it is before the beginning")
    return place


def closed_error() -> ValueError:
    return ValueError("I/O operation on closed file")


class ReadableFile(io.RawIOBase):
    """An object as a binary file, of the version that was there when it was opened.

    What is read somewhere is fetched as asked for; where a reader goes on from read to read, parts are fetched ahead of
    it. Up to eight times `buffer_size` of what was read last is kept. Any thread may use it, one at a time.
    """

    mode = "rb"

    def __init__(self, reader: Reader, name: str) -> None:
        self._reader = reader
        self._turns = Turns("reader")
        self._over = False
        self.name = name
        """The object's path."""

    def _open(self) -> Reader:
        if self._over:
            raise closed_error()
        return self._reader

    # -- reading

    def read(self, size: int | None = -1, /) -> bytes:
        """So many bytes from the position on: fewer only where the object ends; all of them for None or -1.

        Raises:
            ObjectChangedError: the object was replaced since it was opened.
        """
        length = length_of(size)
        with self._turns.lock:
            reader = self._open()
            try:
                found = None if length is None else reader.read_here(length)
            except (PreconditionError, Redirected):
                found = None  # the plan says why
            return sync.run(reader.read(length)) if found is None else found

    def read1(self, size: int | None = -1, /) -> bytes:
        """Up to so many bytes, with one wait at most."""
        length = length_of(size)
        with self._turns.lock:
            return sync.run(self._open().read(length, once=True))

    def readall(self) -> bytes:
        """All bytes from the position on."""
        return self.read(-1)

    def readinto(self, buffer: Buffer, /) -> int:
        """Fill a buffer; how many bytes there were."""
        with self._turns.lock, memoryview(buffer) as view, view.cast("B") as target:
            return sync.run(self._open().read_into(target))

    readinto1 = readinto

    def readline(self, size: int | None = -1, /) -> bytes:
        """The next line, with its end; empty at the end of the object."""
        with self._turns.lock:
            return self._line(size)

    def _line(self, size: int | None = -1) -> bytes:
        limit = length_of(size)
        reader = self._open()
        if limit is None and (line := reader.line_here()) is not None:
            return line
        return sync.run(reader.line(-1 if limit is None else limit))

    def readlines(self, hint: int | None = -1, /) -> list[bytes]:
        """The lines that are left; with a positive `hint` no more after so many bytes."""
        most = hint if hint is not None and hint > 0 else None
        lines: list[bytes] = []
        found = 0
        with self._turns.lock:
            while (most is None or found < most) and (line := self._line()):
                lines.append(line)
                found += len(line)
        return lines

    def __iter__(self) -> Iterator[bytes]:
        self._open()
        return self

    def __next__(self) -> bytes:
        line = self.readline()
        if len(line) == 0:
            raise StopIteration
        return line

    # -- position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to a place: from the beginning (0), from here (1), or from the end (2). Nothing is fetched by it.

        Raises:
            ValueError: the place is before the beginning.
        """
        with self._turns.lock:
            reader = self._open()
            reader.at = place_of(reader, offset, whence)
            return reader.at

    def tell(self) -> int:
        """The position, in bytes from the beginning."""
        return self._open().at

    @property
    def size(self) -> int:
        """How many bytes the object has."""
        return self._reader.size

    def seekable(self) -> bool:
        self._open()
        return True

    def readable(self) -> bool:
        self._open()
        return True

    def write(self, _buffer: Any, /) -> int:
        """An `io.UnsupportedOperation`: the file is open for reading."""
        raise io.UnsupportedOperation("the file is open for reading")

    # -- the end

    @property
    def closed(self) -> Closed:
        """Whether it is closed: to be read, and to be called."""
        return Closed(closed=getattr(self, "_over", True))

    def close(self) -> None:
        """Let go of what was kept, and of what is fetched ahead. A read on another thread ends first."""
        with self._turns.lock:
            self._over = True
            self._reader.close()

    def __del__(self) -> None:
        """Nothing: what is fetched ahead ends with the last who holds it. `close` would wait for a read on another
        thread.
        """

    def __enter__(self) -> Self:
        self._open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<ReadableFile {self.name!r} of {self._reader.size} bytes>"


class WritableFile(io.RawIOBase):
    """An object that is being written. It is there when `close` has returned, and not before.

    What is less than `buffer_size` is one request, more is uploaded in parts while it is written. Leaving a `with`
    block by an error, `discard`, and dropping the file publish nothing. Any thread may use it, one at a time.
    """

    mode = "wb"

    def __init__(self, writer: Writer, name: str) -> None:
        self._writer = writer
        self._turns = Turns("writer")
        self._dropped = False
        self.name = name
        """The object's path."""

    @property
    def result(self) -> PutResult | None:
        """The ETag and version of what was written, once it is closed."""
        return self._writer.result

    def write(self, buffer: Buffer, /) -> int:
        """Write all of a buffer; how many bytes it has. Waits while `max_concurrency` parts are under way.

        An error is raised by the first call after it: the upload has then been taken back, and nothing is published.
        """
        with self._turns.lock:
            if self._dropped:
                return len(memoryview(buffer))
            writer = self._writer
            if writer.over:
                raise closed_error()
            size = writer.take(buffer)
            if writer.has_work:
                sync.run(writer.advance())
            return size

    def flush(self) -> None:
        """Nothing: an object is there as a whole or not at all, and `close` is what makes it so."""
        if self._writer.over and not self._dropped:
            raise closed_error()

    def tell(self) -> int:
        """How many bytes have been written."""
        return self._writer.written

    def writable(self) -> bool:
        return True

    def readinto(self, _buffer: Any, /) -> int:
        """An `io.UnsupportedOperation`: the file is open for writing."""
        raise io.UnsupportedOperation("the file is open for writing")

    def close(self) -> None:
        """Publish what was written. An error that a `write` has raised is raised once more."""
        with self._turns.lock:
            sync.run(self._writer.discard() if self._dropped else self._writer.close())

    def discard(self) -> None:
        """Publish nothing, and take back what was sent. Nothing is done after `close`."""
        with self._turns.lock:
            sync.run(self._writer.discard())

    @property
    def closed(self) -> Closed:
        """Whether it is closed: to be read, and to be called."""
        writer: Writer | None = getattr(self, "_writer", None)
        return Closed(closed=writer is None or writer.over)

    def __enter__(self) -> Self:
        if self._writer.over:
            raise closed_error()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def _dealloc_warn(self, source: object) -> None:
        """What wraps this file was dropped, and closes it in a moment (`io.TextIOWrapper`, `io.BufferedWriter`)."""
        self._dropped = not self._writer.over
        _warn_of(self._writer, source)

    def __del__(self) -> None:
        abandon(self)

    def __repr__(self) -> str:
        return f"<WritableFile {self.name!r}, {self._writer.written} bytes written>"


def _warn_of(writer: Writer, source: object) -> None:
    if not writer.over:
        warnings.warn(
            f"{source!r} was dropped without close(): nothing is published",
            ResourceWarning,
            stacklevel=3,
            source=source,
        )


def abandon(file: Any) -> None:
    """What becomes of a file that nobody has closed."""
    writer: Writer | None = getattr(file, "_writer", None)
    if writer is None or writer.over or writer.is_inherited or sys.is_finalizing():
        return
    try:
        _warn_of(writer, file)
    finally:  # a warning may be an error
        run_in_background(writer.discard())


def open_reader(store: ObjectStoreMethods, path: str, buffer_size: int, size: int | None) -> Plan[Reader]:
    """What `ReadableFile` and `AsyncReadableFile` read. One HEAD, or nothing where the size is given."""
    _check_buffer(buffer_size)
    store._check_path(path)
    if size is None:
        return (yield from opened(store, path, buffer_size))
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= sys.maxsize:
        raise ValueError(f"size must be 0 or a positive integer of 64 bits, not {size!r}")
    return Reader(store, path, size, None, buffer_size)


def _check_buffer(buffer_size: Any) -> None:
    if not isinstance(buffer_size, int) or isinstance(buffer_size, bool) or buffer_size < 1:
        raise ValueError(f"buffer_size must be a positive integer, not {buffer_size!r}")


def open_writer(
    store: ObjectStoreMethods,
    path: str,
    *,
    attributes: Any,
    buffer_size: int,
    tags: Any,
    mode: Any,
    max_concurrency: int,
) -> Writer:
    """What `WritableFile` and `AsyncWritableFile` write. Nothing is sent yet."""
    _check_buffer(buffer_size)
    return Writer(
        store, path, attributes=attributes, tags=tags, mode=mode, chunk_bytes=buffer_size,
        max_concurrency=max_concurrency,
    )  # fmt: skip
