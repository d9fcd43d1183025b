"""put: one request, or a multipart upload that is completed or aborted, never left."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from cumulo._drivers.effects import END, AnyOf, Call, Plan, Pull, Start
from cumulo.exceptions import (
    AlreadyExistsError,
    BaseError,
    ConnectionFailedError,
    NotFoundError,
    NotSupportedError,
    PreconditionError,
    RequestTimeoutError,
)

from .get import Wanted, header_value

if TYPE_CHECKING:
    from cumulo._native import Request
    from cumulo._providers.base import Provider, PutPlan
    from cumulo._types import PutResult

_GROW_EVERY = 900
"""Parts of an upload of unknown length double in size after so many: 10,000 of them then hold 5 TiB."""


class MemorySource:
    """Content in one buffer."""

    def __init__(self, content: Any) -> None:
        view = memoryview(content)
        if not view.c_contiguous:
            raise ValueError("the buffer must be C-contiguous")
        self._view = view.cast("B") if view.ndim != 1 or view.format != "B" or view.itemsize != 1 else view
        self.size: int | None = self._view.nbytes

    def part(self, start: int, length: int) -> Plan[dict[str, Any]]:
        yield from ()
        return {"body": self._view[start : start + length]}

    def close(self) -> None:
        pass


class FileSource:
    """Content in a regular file, read by the engine without passing through Python."""

    def __init__(self, file: Any, start: int, size: int, *, owned: bool) -> None:
        self._file = file
        self._start = start
        self._owned = owned
        self.size: int | None = size

    def part(self, start: int, length: int) -> Plan[dict[str, Any]]:
        yield from ()
        return {"file": (self._file, self._start + start, length)}

    def close(self) -> None:
        if self._owned:
            self._file.close()


class StreamSource:
    """Content of unknown length: an iterator's buffers, or what a file-like object's `read` gives."""

    def __init__(self, pull: Any) -> None:
        self._pull = pull
        self._rest: list[memoryview] = []
        self._have = 0
        self._ended = False
        self.size: int | None = None

    def part(self, start: int, length: int) -> Plan[dict[str, Any]]:
        """Exactly `length` bytes, or fewer at the end."""
        while self._have < length and not self._ended:
            item = yield self._pull(length)
            if item is END or (item is not None and len(item) == 0 and self._pull.ends_when_empty):
                self._ended = True
                break
            view = _as_bytes(item)
            if len(view):
                self._rest.append(view)
                self._have += len(view)
        return {"body": self._cut(min(length, self._have))}

    @property
    def exhausted(self) -> bool:
        return self._ended and self._have == 0

    def _cut(self, length: int) -> Any:
        taken: list[memoryview] = []
        left = length
        while left > 0:
            first = self._rest[0]
            if len(first) <= left:
                taken.append(self._rest.pop(0))
                left -= len(first)
            else:
                taken.append(first[:left])
                self._rest[0] = first[left:]
                left = 0
        self._have -= length
        return taken[0] if len(taken) == 1 else b"".join(taken)

    def close(self) -> None:
        self._rest.clear()


class _PullItems:
    ends_when_empty = False

    def __init__(self, iterator: Any) -> None:
        self._iterator = iterator

    def __call__(self, _: int) -> Any:
        return Pull(self._iterator)


class _PullReads:
    ends_when_empty = True

    def __init__(self, file: Any) -> None:
        self._file = file

    def __call__(self, length: int) -> Any:
        return Call(self._file.read, length)


def _as_bytes(item: Any) -> memoryview:
    try:
        view = memoryview(item)
    except TypeError:
        raise TypeError(f"the source must give bytes-like objects, not {type(item).__name__}") from None
    # A buffer that its owner may change while it is being sent is copied.
    return (view if view.readonly and view.c_contiguous else memoryview(bytes(view))).cast("B")


Source = MemorySource | FileSource | StreamSource


def open_source(content: Any) -> Plan[Source]:
    """What `put` was given, ready to be read. Raises `TypeError` for what can't be uploaded."""
    if isinstance(content, str):
        raise TypeError("a str is neither content nor a file: give bytes, or pathlib.Path for a file's name")
    if isinstance(content, os.PathLike):
        return (yield Call(_open_path, Path(cast("os.PathLike[str]", content))))
    if hasattr(content, "read"):
        return _of_file(content)
    try:
        return MemorySource(content)
    except TypeError:
        pass
    if isinstance(content, Mapping):
        raise TypeError("a mapping is not content")
    if hasattr(content, "__aiter__"):
        return StreamSource(_PullItems(content.__aiter__()))
    if hasattr(content, "__iter__"):
        return StreamSource(_PullItems(iter(content)))
    raise TypeError(
        f"put takes bytes, a buffer, a file, a Path or an iterator of buffers, not {type(content).__name__}"
    )


def _open_path(path: Path) -> FileSource:
    file = path.open("rb", buffering=0)
    try:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"{path} is not a regular file")
    except BaseException:
        file.close()
        raise
    return FileSource(file, 0, status.st_size, owned=True)


def _of_file(file: Any) -> Source:
    if isinstance(file, io.TextIOBase):
        raise TypeError("the file is open in text mode: open it in binary mode ('rb')")
    # Only what reads the descriptor's own bytes: a gzip file has a descriptor too, and a tar member's is missing.
    plain = type(file) is io.FileIO or (type(file) is io.BufferedReader and type(file.raw) is io.FileIO)
    if plain and not file.closed:
        status = os.fstat(file.fileno())
        if stat.S_ISREG(status.st_mode):
            at = file.tell()
            return FileSource(file, at, max(0, status.st_size - at), owned=False)
    return StreamSource(_PullReads(file))


def checked(attributes: Any, tags: Any, mode: Any) -> PutPlan:
    """`attributes`, `tags` and `mode`, checked before any request."""
    from cumulo._providers.base import PutPlan

    plan = PutPlan()
    for name, value in _items(attributes):
        header_value("an attribute's name", name)
        if not name or not name.isascii() or any(c in '()<>@,;:\\"/[]?={} \t' for c in name):
            raise ValueError(f"{name!r} can't be the name of an attribute (it becomes part of a header's name)")
        plan.attributes[name] = header_value(f"attribute {name!r}", value)
    for name, value in _items(tags):
        if not isinstance(name, str) or not isinstance(value, str):
            raise TypeError("tags must be strings")
        plan.tags[name] = value
    if isinstance(mode, Mapping):
        etag = cast("Mapping[str, Any]", mode).get("e_tag")
        if etag is None:
            raise ValueError("an update needs the e_tag of the version it replaces")
        plan.if_match = header_value("e_tag", etag)
    elif mode == "create":
        plan.create = True
    elif mode not in (None, "overwrite"):
        raise ValueError(f"mode must be 'create', 'overwrite' or a dict with e_tag, not {mode!r}")
    return plan


def _items(mapping: Any) -> list[tuple[Any, Any]]:
    return list(dict(mapping or {}).items())


def put(
    provider: Provider,
    path: str,
    content: Any,
    plan: PutPlan,
    *,
    use_multipart: bool | None,
    chunk_bytes: int,
    max_concurrency: int,
) -> Plan[PutResult]:
    """Upload what `content` holds."""
    for name, value in (("chunk_size", chunk_bytes), ("max_concurrency", max_concurrency)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{name} must be a positive integer, not {value!r}")
    source = yield from open_source(content)
    try:
        return (yield from _put_source(provider, path, source, plan, use_multipart, chunk_bytes, max_concurrency))
    finally:
        source.close()


def _put_source(
    provider: Provider,
    path: str,
    source: Source,
    plan: PutPlan,
    use_multipart: bool | None,
    chunk_bytes: int,
    max_concurrency: int,
) -> Plan[PutResult]:
    conditional = plan.create or plan.if_match is not None
    whole = chunk_bytes if use_multipart is None and not conditional else provider.max_put_bytes
    if use_multipart:
        whole = -1
    if source.size is None:
        first = yield from source.part(
            0, provider.max_put_bytes if use_multipart is False else _first(provider, chunk_bytes)
        )
        assert isinstance(source, StreamSource)
        short = len(first["body"]) < _first(provider, chunk_bytes)
        if use_multipart is False or (short and not use_multipart):
            if use_multipart is False and not source.exhausted and len(first["body"]) >= provider.max_put_bytes:
                raise NotSupportedError(f"put {path!r}: more than one request may hold; allow use_multipart")
            return (yield from _put_whole(provider, path, first, plan))
        upload = _Upload(provider, path, source, plan, chunk_bytes, max_concurrency, first)
        return (yield from upload.run())
    if source.size <= whole or source.size == 0:
        content = yield from source.part(0, source.size)
        return (yield from _put_whole(provider, path, content, plan))
    if use_multipart is False:
        raise NotSupportedError(f"put {path!r}: {source.size} bytes are more than one request may hold")
    return (yield from _Upload(provider, path, source, plan, chunk_bytes, max_concurrency, None).run())


def _put_whole(provider: Provider, path: str, content: dict[str, Any], plan: PutPlan) -> Plan[PutResult]:
    request = provider.put(path, plan, **content)
    try:
        yield request
    except BaseException:
        request.cancel()
        raise
    return provider.put_result(request)


def _first(provider: Provider, chunk_bytes: int) -> int:
    return min(max(chunk_bytes, provider.min_part_bytes), provider.max_part_bytes)


def part_bytes(provider: Provider, chunk_bytes: int, size: int | None, number: int) -> int:
    """The size of part `number` (from 1): as asked for, but never so small that the parts run out."""
    base = _first(provider, chunk_bytes)
    if size is not None:
        needed = -(-size // provider.max_parts)
        return max(base, -(-needed // (1 << 20)) << 20 if needed > base else base)
    return min(base << ((number - 1) // _GROW_EVERY), provider.max_part_bytes)


class _Upload:
    """A multipart upload under way: parts in flight, parts done."""

    def __init__(
        self,
        provider: Provider,
        path: str,
        source: Source,
        plan: PutPlan,
        chunk_bytes: int,
        max_concurrency: int,
        first: dict[str, Any] | None,
    ) -> None:
        self._provider = provider
        self._path = path
        self._source = source
        self._plan = plan
        self._chunk_bytes = chunk_bytes
        self._most = max_concurrency
        self._first = first
        self._in_flight: dict[Request, int] = {}
        self._done: dict[int, Any] = {}

    def run(self) -> Plan[PutResult]:
        create = self._provider.create_upload(self._path, self._plan)
        yield create
        upload_id = self._provider.upload_id(create)
        try:
            yield from self._send_parts(upload_id)
            parts = [self._done[number] for number in sorted(self._done)]
            return (yield from self._complete(upload_id, parts))
        except BaseException:
            yield from self._abort(upload_id)
            raise

    def _send_parts(self, upload_id: str) -> Plan[None]:
        at, number = 0, 1
        while True:
            length = part_bytes(self._provider, self._chunk_bytes, self._source.size, number)
            if self._source.size is not None:
                length = min(length, self._source.size - at)
                if length <= 0:
                    break
            content = self._first or (yield from self._source.part(at, length))
            self._first = None
            if self._source.size is None and len(content["body"]) == 0 and number > 1:
                break
            if number > self._provider.max_parts:
                raise NotSupportedError(f"put {self._path!r}: the object is larger than its parts can hold")
            while len(self._in_flight) >= self._most:
                yield from self._take_one()
            request = self._provider.put_part(self._path, upload_id, number, **content)
            self._in_flight[request] = number
            yield Start(request)
            at += length
            number += 1
        while self._in_flight:
            yield from self._take_one()

    def _take_one(self) -> Plan[None]:
        request = yield AnyOf(list(self._in_flight))
        number = self._in_flight.pop(request)
        request.raise_if_failed()
        self._done[number] = self._provider.part_of(request, number)

    def _complete(self, upload_id: str, parts: list[Any]) -> Plan[PutResult]:
        request = self._provider.complete_upload(self._path, upload_id, parts, self._plan)
        try:
            yield request
        except BaseError as error:
            # Perhaps completed, and only the answer was lost: the object says whether it is ours.
            if not _may_be_done(error):
                raise
            head = self._provider.head(self._path, Wanted(None))
            with suppress(BaseError):
                yield head
                if self._provider.is_completed_as(head, parts):
                    return self._provider.put_result(head)
            raise
        return self._provider.completed(request)

    def _abort(self, upload_id: str) -> Plan[None]:
        for request in self._in_flight:
            request.cancel()
        with suppress(BaseError):  # what made us abort is what the caller has to know
            yield self._provider.abort_upload(self._path, upload_id)


def _may_be_done(error: BaseError) -> bool:
    """Whether what failed may have been done nonetheless: by an attempt whose answer never came."""
    if isinstance(error, (ConnectionFailedError, RequestTimeoutError)):
        return True
    gone = isinstance(error, (NotFoundError, AlreadyExistsError, PreconditionError))
    return gone and error.attempts > 1
