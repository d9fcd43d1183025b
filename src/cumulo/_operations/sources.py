"""What `put` uploads: memory, a regular file, or a stream of unknown length; and its checksum."""

from __future__ import annotations

import io
import os
import re
import stat
import threading
from binascii import a2b_base64
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast

from cumulo._digests import md5
from cumulo._drivers.effects import END, Call, Close, Plan, Pull
from cumulo._native import Bytes, Pieces, checksum
from cumulo.exceptions import GenericError, SourceChangedError

if TYPE_CHECKING:
    from cumulo._native import Request

T = TypeVar("T")

_AT_ONCE_BYTES = 256 << 10
"""Memory of which a checksum is made where we are: a thread costs more than that."""
_READ_BYTES = 1 << 20
_LEAST_PIECE_BYTES = 32 << 10
"""Smaller pieces are joined: to hold and to send them one by one costs more than a copy."""
_JOINED_BYTES = 1 << 20
"""So many of them at a time."""


_FIELD_NAMES = re.compile(":[^:]*:")
"""In a buffer's format (PEP 3118)."""


def holds_objects(view: memoryview) -> bool:
    """Whether what is in a buffer are references to Python objects: addresses, and not their content."""
    return view.format != "B" and "O" in _FIELD_NAMES.sub("", view.format)


def check_content(view: memoryview) -> None:
    """Raises `TypeError` for a buffer whose bytes mean nothing to anyone else."""
    if holds_objects(view):
        raise TypeError("the buffer holds references to Python objects, not their content")


def with_source(content: Any, use: Callable[[Source], Plan[T]]) -> Plan[T]:
    """What `use` makes of the content. When that fails, an iterator that gave it is told so: it is closed."""
    source = yield from open_source(content)
    try:
        return (yield from use(source))
    except GeneratorExit:  # the call was dropped: nobody runs another effect
        raise
    except BaseException:
        yield from source.give_up()
        raise
    finally:
        source.close()


class _Source:
    """What sources have in common. A part is the arguments that a provider's `put` or `put_part` takes."""

    size: int | None
    may_change = False
    """Whether others may change what is uploaded, so that `check` has something to do."""

    def part(self, start: int, length: int) -> Plan[dict[str, Any]]:
        """That span of the content: its `body`, a buffer, or its `file` (with offset and length)."""
        raise NotImplementedError

    def part_in_pieces(self, start: int, length: int) -> Plan[dict[str, Any]]:
        """The same for who takes `Pieces` for a body as well."""
        return self.part(start, length)

    def checksum(self, algorithm: str, part: Mapping[str, Any]) -> str:
        """A part's checksum, as S3's headers have it. Blocks."""
        return checksum(algorithm, part.get("body"), part.get("file"))

    def check(self) -> None:
        """Raise if this is not what it was any more. Blocks."""

    def give_up(self) -> Plan[None]:
        """Say to whom it comes from that no more is wanted."""
        yield from ()

    def close(self) -> None:
        """Let go of it."""


class MemorySource(_Source):
    """Content in one buffer."""

    def __init__(self, content: Any) -> None:
        view = memoryview(content)
        check_content(view)
        if not view.c_contiguous:
            raise ValueError("the buffer must be C-contiguous")
        if not view.nbytes:
            view = memoryview(b"")  # an array with a side of 0 can't be cast
        self._view = view.cast("B") if view.ndim != 1 or view.format != "B" or view.itemsize != 1 else view
        self.size: int | None = self._view.nbytes

    def part(self, start: int, length: int) -> Plan[dict[str, Any]]:
        yield from ()
        return {"body": self._view[start : start + length]}


class FileSource(_Source):
    """Content in a regular file, read by the engine without passing through Python.

    It has to stay as it was when the upload began: what is sent may otherwise be of two versions.
    """

    may_change = True

    def __init__(self, file: Any, start: int, status: os.stat_result, *, owned: bool) -> None:
        self._file = file
        self._start = start
        self._owned = owned
        self._was = status
        self.size: int | None = max(0, status.st_size - start)

    @property
    def identity(self) -> list[int]:
        """What tells it, as it was when it was opened, from other files and from what it may become."""
        was = self._was
        return [was.st_dev, was.st_ino, was.st_size, was.st_mtime_ns, was.st_ctime_ns]

    def part(self, start: int, length: int) -> Plan[dict[str, Any]]:
        yield from ()
        return {"file": (self._file, self._start + start, length)}

    def checksum(self, algorithm: str, part: Mapping[str, Any]) -> str:
        try:
            made = super().checksum(algorithm, part)
        except EOFError:
            self.check()
            raise
        except OSError as error:
            raise GenericError(f"put: {self._name} could not be read: {error}", operation="put") from error
        self.check()
        return made

    def check(self) -> None:
        is_now = os.fstat(self._file.fileno())
        if is_now.st_size != self._was.st_size:
            self._fail(f"its size was {self._was.st_size} bytes, and is {is_now.st_size} now")
        if is_now.st_mtime_ns != self._was.st_mtime_ns:
            self._fail("it was written to")

    def _fail(self, why: str) -> NoReturn:
        raise SourceChangedError(f"put: {self._name} changed while it was uploaded: {why}", operation="put")

    @property
    def _name(self) -> str:
        name: Any = self._file.name
        return "the file" if isinstance(name, int) else repr(str(name))

    def close(self) -> None:
        if self._owned:
            self._file.close()


class StreamSource(_Source):
    """Content that comes in order: an iterator's buffers, or what a file-like object's `read` gives.

    Of unknown length, but for a subclass's.
    """

    def __init__(self, pull: Any) -> None:
        self._pull = pull
        self._rest: deque[memoryview] = deque()
        self._small = bytearray()
        """What has come after those, in small pieces."""
        self._have = 0
        self._ended = False
        self.size: int | None = None

    def gather(self, length: int) -> Plan[int]:
        """Pull until there are so many bytes, or the end is there. How many there are."""
        while self._have < length and not self._ended:
            item = yield from self._take(length)
            if item is END:
                self._ended = True
                break
            self._add(_as_bytes(item))
        return self._have

    def _add(self, view: memoryview) -> None:
        self._have += len(view)
        if len(view) < _LEAST_PIECE_BYTES:
            self._small += view
            if len(self._small) >= _JOINED_BYTES:
                self._join()
        else:
            self._join()
            self._rest.append(view)

    def _join(self) -> None:
        if self._small:
            self._rest.append(memoryview(self._small).toreadonly())
            self._small = bytearray()

    def _take(self, length: int) -> Plan[Any]:
        item = yield self._pull(length)
        return END if self._pull.ends_when_empty and item is not None and len(item) == 0 else item

    def part(self, start: int, length: int) -> Plan[dict[str, Any]]:
        """Exactly `length` bytes, or fewer at the end."""
        part: dict[str, Any] = yield from self.part_in_pieces(start, length)
        return {"body": whole(part["body"])}

    def part_in_pieces(self, start: int, length: int) -> Plan[dict[str, Any]]:
        have = yield from self.gather(length)
        return {"body": self._cut(min(length, have))}

    def _cut(self, length: int) -> Any:
        self._join()
        taken: list[memoryview] = []
        left = length
        while left > 0:
            first = self._rest[0]
            if len(first) <= left:
                taken.append(self._rest.popleft())
                left -= len(first)
            else:
                taken.append(first[:left])
                self._rest[0] = first[left:]
                left = 0
        self._have -= length
        return taken[0] if len(taken) == 1 else Pieces(taken)

    def give_up(self) -> Plan[None]:
        if not self._ended:
            with suppress(Exception):  # the call has failed already, and says why
                yield from self._pull.give_up()

    def close(self) -> None:
        self._rest.clear()
        self._small.clear()


class _PullItems:
    ends_when_empty = False

    def __init__(self, iterator: Any) -> None:
        self._iterator = iterator

    def __call__(self, _: int) -> Any:
        return Pull(self._iterator)

    def give_up(self) -> Plan[None]:
        if hasattr(self._iterator, "aclose") or hasattr(self._iterator, "close"):
            yield Close(self._iterator)


class _PullReads:
    ends_when_empty = True

    def __init__(self, file: Any) -> None:
        self._file = file
        self._length = 0

    def __call__(self, length: int) -> Any:
        self._length = length
        return Pull(self)

    def __next__(self) -> Any:
        try:
            return self._file.read(self._length)
        except StopIteration as error:  # it would pass for the end of the content
            raise RuntimeError("the file's read raised StopIteration") from error

    def give_up(self) -> Plan[None]:
        yield from ()  # the file is the caller's


def _as_bytes(item: Any) -> memoryview:
    try:
        view = memoryview(item)
    except TypeError:
        raise TypeError(f"the source must give bytes-like objects, not {type(item).__name__}") from None
    check_content(view)
    # It is sent later, perhaps twice, while its owner goes on: what is not constant for certain is copied. To be
    # read-only does not say that: it may be a view of memory that is filled anew, or of a file.
    constant = isinstance(view.obj, (bytes, Bytes)) and view.c_contiguous
    return (view if constant else memoryview(bytes(view))).cast("B")


Source = MemorySource | FileSource | StreamSource


def open_source(content: Any) -> Plan[Source]:
    """What `put` was given, ready to be read. Raises `TypeError` for what can't be uploaded."""
    if isinstance(content, (MemorySource, FileSource, StreamSource)):
        return content
    if isinstance(content, str):
        raise TypeError("a str is neither content nor a file: give bytes, or pathlib.Path for a file's name")
    if isinstance(content, os.PathLike):
        opening = _Opening(os.fsdecode(cast("os.PathLike[str]", content)))
        try:
            return (yield Call(opening.open))
        except BaseException:
            opening.give_up()
            raise
    if hasattr(content, "read"):
        return _of_file(content)
    try:
        view = memoryview(content)
    except TypeError:
        pass
    else:
        return MemorySource(view)
    if isinstance(content, Mapping):
        raise TypeError("a mapping is not content")
    if hasattr(content, "__aiter__"):
        return StreamSource(_PullItems(content.__aiter__()))
    if hasattr(content, "__iter__"):
        return StreamSource(_PullItems(iter(content)))
    raise TypeError(
        f"put takes bytes, a buffer, a file, a Path or an iterator of buffers, not {type(content).__name__}"
    )


class _Opening:
    """A file that is being opened in a thread, perhaps for nobody any more."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._source: FileSource | None = None
        self._over = False

    def open(self) -> FileSource:
        source = _open_path(self._path)
        with self._lock:
            self._source = source
            over = self._over
        if over:
            source.close()
        return source

    def give_up(self) -> None:
        with self._lock:
            self._over = True
        if self._source is not None:
            self._source.close()


def _open_path(path: str) -> FileSource:
    file = open(path, "rb", buffering=0, opener=_at_once)  # noqa: SIM115 - the source closes it
    try:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"{path} is not a regular file")
    except BaseException:
        file.close()
        raise
    return FileSource(file, 0, status, owned=True)


def _at_once(path: str, flags: int) -> int:
    """An opener that does not wait for who might write to a pipe: what is no regular file is refused."""
    return os.open(path, flags | os.O_NONBLOCK)


def _of_file(file: Any) -> Source:
    if isinstance(file, io.TextIOBase):
        raise TypeError("the file is open in text mode: open it in binary mode ('rb')")
    # Only what reads the descriptor's own bytes: a gzip file has a descriptor too, and a tar member's is missing.
    plain = type(file) is io.FileIO or (type(file) is io.BufferedReader and type(file.raw) is io.FileIO)
    if plain and not file.closed:
        status = os.fstat(file.fileno())
        if stat.S_ISREG(status.st_mode):
            return FileSource(file, file.tell(), status, owned=False)
    return StreamSource(_PullReads(file))


def with_checksum(source: Source, algorithm: str | None, part: dict[str, Any]) -> Plan[dict[str, Any]]:
    """The part and its checksum, if there is to be one. What takes long is not done on an event loop."""
    if algorithm is None:
        return part
    if "body" in part and len(part["body"]) <= _AT_ONCE_BYTES:
        made = source.checksum(algorithm, part)
    else:
        made = yield Call(source.checksum, algorithm, part)
    return {**part, "checksum": made}


def sum_ahead(source: Source, part: Mapping[str, Any], request: Request) -> Plan[None]:
    """Before the request is sent: the sum that its signature needs, made here if it takes long.

    The engine would make it on the loop that is to send what others have ready. A retry has it already.
    """
    if request.signs_payload and size_of(part) > _AT_ONCE_BYTES:
        made = yield Call(source.checksum, "SHA256", part)
        request.set_payload_sha256(a2b_base64(made))


def comes_in_pieces(source: Source, length: int) -> bool:
    """Whether it need not be held in memory all at once, and has more than `length` bytes, or perhaps has."""
    return isinstance(source, StreamSource) and (source.size is None or source.size > length)


def check(source: Source) -> Plan[None]:
    """Raise `SourceChangedError` if the source was changed meanwhile: what was sent may be of two versions."""
    if source.may_change:
        yield Call(source.check)


def whole(body: Any) -> Any:
    """A body as one buffer."""
    return body.join() if isinstance(body, Pieces) else body


def size_of(part: Mapping[str, Any]) -> int:
    """How many bytes a part has."""
    return part["file"][2] if "file" in part else len(part["body"])


def md5_of(part: Mapping[str, Any]) -> str:
    """The MD5 of a part's content, in hex. Blocks."""
    digest = md5()
    if "body" in part:
        digest.update(whole(part["body"]))
        return digest.hexdigest()
    file, at, length = part["file"]
    end = at + length
    while at < end and (piece := os.pread(file.fileno(), min(end - at, _READ_BYTES), at)):
        digest.update(piece)
        at += len(piece)
    return digest.hexdigest()
