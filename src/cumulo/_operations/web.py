"""What verbs do on a plain web server or a WebDAV share, where that is more than one request as it stands.

Each plan here is of one place (see `follow.py`); stores run them through `followed`.
"""

from __future__ import annotations

import os
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

from cumulo._drivers.effects import END, Call, Plan, Start, Until
from cumulo._providers.http import UnknownLengthError
from cumulo.exceptions import (
    AlreadyExistsError,
    BaseError,
    GenericError,
    NotSupportedError,
    PermissionDeniedError,
    RangeNotSatisfiableError,
)

from . import download as files
from . import get as plain
from . import into, unsized
from .follow import followed
from .get import Wanted
from .parts import DEFAULT_PART_BYTES
from .put import put_whole
from .sources import FileSource, MemorySource, Source, StreamSource, with_source

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO

    from cumulo._native import Bytes, Request
    from cumulo._providers.base import PutPlan
    from cumulo._providers.http import HTTPProvider
    from cumulo._result import GetResult
    from cumulo._types import GetOptions, ObjectMeta, PutResult

    from .target import FileTarget

_IN_MEMORY_BYTES = 16 << 20
_STEP_BYTES = 1 << 20


# -- reading


def get(
    provider: HTTPProvider, path: str, options: GetOptions | None, part_size: int | None, max_concurrency: int | None
) -> Plan[GetResult]:
    """As everywhere, and from servers that don't say how long the response is."""
    wanted = Wanted(options)
    if wanted.head:
        meta, attributes = yield from _described(provider, path, wanted)
        return plain.without_content(meta, attributes)
    return (yield from plain.get(provider, path, options, part_size, max_concurrency, unsized.result))


def get_range(provider: HTTPProvider, path: str, start: int, end: int) -> Plan[Bytes]:
    """As everywhere; what is long comes in parts where it can."""
    if end - start <= DEFAULT_PART_BYTES:
        return (yield from plain.get_range(provider, path, start, end))
    result = yield from get(provider, path, {"range": (start, end)}, None, None)
    return (yield from result._consume().collect())


def head(provider: HTTPProvider, path: str) -> Plan[ObjectMeta]:
    """The metadata. Servers that refuse HEAD, or don't say the length there, are asked for the first byte instead."""
    return (yield from _described(provider, path, Wanted(None)))[0]


def _described(provider: HTTPProvider, path: str, wanted: Wanted) -> Plan[tuple[ObjectMeta, Any]]:
    request = provider.head(path, wanted)
    try:
        yield request
        return provider.meta(path, request), provider.attributes(request)
    except (NotSupportedError, PermissionDeniedError, UnknownLengthError) as error:
        if isinstance(error, NotSupportedError) and error.status is None:
            raise
        found = yield from _by_first_byte(provider, path, wanted)
        if found is None:
            raise
        return found


def _by_first_byte(provider: HTTPProvider, path: str, wanted: Wanted) -> Plan[tuple[ObjectMeta, Any] | None]:
    for asked in (("bounded", 0, 1), None):  # an empty object has no first byte
        wanted.range = asked
        request = provider.get(path, wanted)
        try:
            yield Start(request)
            yield Until(request, headers=True)
            return provider.meta(path, request), provider.attributes(request)
        except RangeNotSatisfiableError:
            continue
        except (NotSupportedError, PermissionDeniedError):
            return None
        finally:
            request.cancel()
    return None


def get_into(
    provider: HTTPProvider, path: str, buffer: Any, options: Any, part_size: int | None, max_concurrency: int | None
) -> Plan[int]:
    """As everywhere; what has no length is copied as it comes."""
    try:
        return (yield from into.get_into(provider, path, buffer, options, part_size, max_concurrency))
    except UnknownLengthError:
        pass
    with into.writable(buffer) as view:
        result = yield from get(provider, path, options, part_size, 1)
        body, at = result._consume(), 0
        while (chunk := (yield from body.next_chunk(_STEP_BYTES))) is not END:
            if at + len(chunk) > view.nbytes:
                raise ValueError(f"{path!r} has more bytes than the buffer's {view.nbytes}")
            view[at : at + len(chunk)] = chunk
            at += len(chunk)
        return at


def download(
    provider: HTTPProvider,
    path: str,
    target: Callable[[], FileTarget],
    options: GetOptions | None,
    part_size: int | None,
    max_concurrency: int | None,
    *,
    resume: bool,
) -> Plan[ObjectMeta]:
    """As everywhere; what has no length is written as it comes."""
    try:
        return (yield from files.download(provider, path, target(), options, part_size, max_concurrency, resume=resume))
    except UnknownLengthError:
        pass
    place = target()

    def content() -> Plan[tuple[ObjectMeta, int]]:
        result = yield from get(provider, path, options, None, 1)
        body, size = result._consume(), 0
        while (chunk := (yield from body.next_chunk(_STEP_BYTES))) is not END:
            yield Call(place.write, chunk)
            size += len(chunk)
        return result.meta, size

    return (yield from files.whole_or_nothing(place, content))


# -- writing


def put(provider: HTTPProvider, path: str, content: Any, plan: PutPlan) -> Plan[PutResult]:
    """One PUT of all of it. What comes from an iterator waits in memory, or if it is long in a temporary file."""

    def send(source: Source) -> Plan[PutResult]:
        if not isinstance(source, StreamSource):
            return (yield from _send(provider, path, source, plan))
        gathered = yield from _gathered(source)
        try:
            return (yield from _send(provider, path, gathered, plan))
        finally:
            gathered.close()

    return (yield from with_source(content, send))


def _send(provider: HTTPProvider, path: str, source: Source, plan: PutPlan) -> Plan[PutResult]:
    assert source.size is not None
    part = yield from source.part(0, source.size)

    def once(at: HTTPProvider) -> Plan[PutResult]:
        return put_whole(at, path, source, part, plan)

    return (yield from _in_its_collection(provider, "put", path, once))


def _gathered(source: StreamSource) -> Plan[MemorySource | FileSource]:
    if (yield from source.gather(_IN_MEMORY_BYTES)) < _IN_MEMORY_BYTES:
        return MemorySource((yield from source.part(0, _IN_MEMORY_BYTES))["body"])
    file: IO[bytes] = yield Call(_open_temporary)
    try:
        while len(piece := (yield from source.part(0, _IN_MEMORY_BYTES))["body"]):
            yield Call(_write_all, file, piece)
        return FileSource(file, 0, os.fstat(file.fileno()), owned=True)
    except BaseException:
        file.close()
        raise


def _open_temporary() -> IO[bytes]:
    return TemporaryFile(buffering=0, prefix="cumulo-put-")


def _write_all(file: IO[bytes], piece: Any) -> None:
    left = memoryview(piece)
    while left:
        left = left[file.write(left) :]


def transfer(
    provider: HTTPProvider, operation: str, method: str, source: str, target: str, *, overwrite: bool
) -> Plan[None]:
    """COPY or MOVE by the server."""
    provider.destination(target)  # a path that can't be is refused before any request

    def once(at: HTTPProvider) -> Plan[Request]:
        request = at.transfer(operation, method, source, target, overwrite=overwrite)
        yield request
        return request

    try:
        request = yield from _in_its_collection(provider, operation, target, once)
    except AlreadyExistsError as error:
        error.path = target
        raise
    if request.response[0] == 207:  # RFC 4918 9.8.5: it went wrong for a part of a collection
        raise GenericError(
            f"{operation} {source!r} in {request.context.store!r}: the server did a part of it only",
            operation=operation, store=repr(request.context.store), path=source, status=207,
            attempts=request.attempts,
        )  # fmt: skip


def _in_its_collection(
    provider: HTTPProvider, operation: str, path: str, once: Callable[[HTTPProvider], Plan[Any]]
) -> Plan[Any]:
    """What writes to `path`; where the server misses the collections that it is to be in, they are made first."""
    try:
        return (yield from followed(provider, once))
    except BaseError as error:
        # 409 by RFC 4918 9.7.1 and 9.8.5; some servers say 404.
        if error.status != 409 and not (error.status == 404 and operation == "put"):
            raise
        if not (yield from _make_collections(provider, operation, path)):
            raise
    return (yield from followed(provider, once))


def _make_collections(provider: HTTPProvider, operation: str, path: str) -> Plan[bool]:
    """From the innermost up to the first that is there, then down again. False if that can't be what was missing."""
    missing: list[bytes] = []
    for base in provider.parents(path):
        made = yield from _make_collection(provider, operation, path, base)
        if made is False:
            return bool(missing)
        if made:
            break
        missing.append(base)
    for base in reversed(missing):
        if not (yield from _make_collection(provider, operation, path, base)):
            return False
    return True


def _make_collection(provider: HTTPProvider, operation: str, path: str, base: bytes) -> Plan[bool | None]:
    """True when it is there now, None when what it is to be in is missing, False when the server makes none."""
    request = provider.make_collection(operation, path, base)
    try:
        yield request
    except BaseError as error:
        if error.status in (404, 409):
            return None
        # 405: there is something (RFC 4918 9.3.1), or the server knows no MKCOL; a redirect adds the slash to what is.
        return error.status in (405, 301, 308)
    return True
