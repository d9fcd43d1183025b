"""`GetResult` and `BytesStream`: a response whose body is still to come, and the ways to consume it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from ._drivers import run_async, run_in_background, sync
from ._drivers.effects import END, Plan, Until
from ._native import Bytes, Request

if TYPE_CHECKING:
    from concurrent.futures import Future

    from ._types import Attributes, CallFuture, ObjectMeta

DEFAULT_CHUNK_BYTES = 10 * 1024 * 1024
_NO_MINIMUM_BYTES = 256 * 1024
"""A chunk where none is too small: what one read of a connection brings at most."""


class Body(Protocol):
    """A body that can be consumed once, whole or in chunks."""

    def collect(self) -> Plan[Bytes]: ...

    def next_chunk(self, chunk_bytes: int) -> Plan[Any]:
        """At least `chunk_bytes` (the last: what is left), or `END`."""
        ...

    def close(self) -> None:
        """Stop what is under way: nobody wants the rest."""
        ...


class HeldBody:
    """A body that is in memory already."""

    def __init__(self, content: Bytes) -> None:
        self.content = content
        self._at = 0

    def collect(self) -> Plan[Bytes]:
        yield from ()
        return self.content

    def next_chunk(self, chunk_bytes: int) -> Plan[Any]:
        yield from ()
        start, self._at = self._at, self.end_of_next(chunk_bytes)
        return bytes(self.content[start : self._at]) if start < self._at else END

    def end_of_next(self, chunk_bytes: int) -> int:
        """Where the next chunk ends."""
        return min(self._at + chunk_bytes, len(self.content))

    def close(self) -> None:
        pass


class RequestBody:
    """The body of a request that waits after its headers. Dropping it stops the transfer."""

    _AHEAD = 2
    """Chunks of room given at a time: one being filled while one is being used."""

    def __init__(self, request: Request, posted: int = 0) -> None:
        self._request = request
        self._size: int | None = request.response[2]
        self._posted = posted
        self._held: HeldBody | None = None

    def __del__(self) -> None:
        if hasattr(self, "_request"):
            self.close()

    def close(self) -> None:
        self._request.cancel()

    def collect(self) -> Plan[Bytes]:
        request, size = self._request, self._size
        whole = request.prefetched
        if whole is not None:
            yield Until(request)
            return whole
        if size is None:
            return (yield from self._collect_unknown())
        if size > 0:
            request.feed_target(size)
        yield Until(request)
        return request.take_target() if size > 0 else Bytes(b"")

    def _collect_unknown(self) -> Plan[Bytes]:
        pieces: list[bytes] = []
        while True:
            piece = yield from self.next_chunk(min(1 << 20 << len(pieces), 64 << 20))
            if piece is END:
                return Bytes(b"".join(pieces))
            pieces.append(piece)

    def next_chunk(self, chunk_bytes: int) -> Plan[Any]:
        request = self._request
        if self._held is None and (whole := request.prefetched) is not None:
            self._held = HeldBody(whole)
        if self._held is not None:
            yield from self._until_here(self._held.end_of_next(chunk_bytes))
            return (yield from self._held.next_chunk(chunk_bytes))
        while True:
            self._give_room(chunk_bytes)
            piece = request.take_piece()
            if piece is not None:
                return piece
            if request.finished:
                request.raise_if_failed()
                piece = request.take_piece()  # the end may have come between the two looks
                if piece is not None:
                    return piece
                if request.progress[4] == 0:
                    return END
                continue
            yield Until(request, pieces=request.pieces_taken + 1)

    def _until_here(self, end: int) -> Plan[None]:
        """Wait for the bytes before `end` of a body that is fetched unasked; with the last ones comes the verdict."""
        request = self._request
        request.raise_if_failed()
        if end == self._size:
            yield Until(request)
            return
        while pieces := request.claim_before(end):
            yield Until(request, pieces=pieces)

    def _give_room(self, chunk_bytes: int) -> None:
        while self._request.pieces_waiting < self._AHEAD:
            size = chunk_bytes
            if self._size is not None:
                size = min(size, self._size - self._posted)
            if size <= 0 or not self._request.feed_piece(size):
                return
            self._posted += size


class GetResult:
    """The result of `get`: metadata now, content when asked for.

    The content can be consumed once: whole (`bytes`, `bytes_async`) or in chunks (`stream`, iteration). A result that
    is dropped unread stops its transfer.
    """

    def __init__(self, body: Body, meta: ObjectMeta, span: tuple[int, int], attributes: Attributes) -> None:
        self._body: Body | None = body
        self._meta = meta
        self._range = span
        self._attributes = attributes

    @property
    def meta(self) -> ObjectMeta:
        """The object's metadata; of the whole object, also when a range was asked for."""
        return self._meta

    @property
    def range(self) -> tuple[int, int]:
        """`(start, end)` of the content in the object, `end` exclusive."""
        return self._range

    @property
    def attributes(self) -> Attributes:
        """The object's attributes."""
        return self._attributes

    def _consume(self) -> Body:
        body, self._body = self._body, None
        if body is None:
            raise ValueError("the content of this result has been consumed; call get again")
        return body

    def bytes(self) -> Bytes:
        """All content. Raises `ValueError` when it has been consumed before."""
        return sync.run(self._consume().collect())

    def bytes_async(self) -> CallFuture[Bytes]:
        """All content, awaited."""
        return run_async(self._consume().collect())

    def buffer(self) -> Bytes:
        """The same as `bytes`."""
        return self.bytes()

    def buffer_async(self) -> CallFuture[Bytes]:
        """The same as `bytes_async`."""
        return self.bytes_async()

    def bytes_future(self) -> Future[Bytes]:
        """All content, as a `concurrent.futures.Future`."""
        return run_in_background(self._consume().collect())

    def stream(self, min_chunk_size: int = DEFAULT_CHUNK_BYTES) -> BytesStream:
        """The content in chunks of `min_chunk_size` bytes (the last may be shorter), for `for` and `async for`.

        0 leaves the size to cumulo: 256 KiB.
        """
        if not isinstance(min_chunk_size, int) or isinstance(min_chunk_size, bool) or min_chunk_size < 0:
            raise ValueError(f"min_chunk_size must be 0 or a positive integer, not {min_chunk_size!r}")
        return BytesStream(self._consume(), min_chunk_size or _NO_MINIMUM_BYTES)

    def __iter__(self) -> BytesStream:
        return self.stream()

    def __aiter__(self) -> BytesStream:
        return self.stream()

    def __repr__(self) -> str:
        start, end = self._range
        return f"GetResult(path={self._meta['path']!r}, range=({start}, {end}))"


class BytesStream:
    """Content in chunks of `bytes`, received in place, one ahead of the reader. Sync or async, not both at once."""

    def __init__(self, body: Body, chunk_bytes: int) -> None:
        self._body: Body | None = body
        self._chunk_bytes = chunk_bytes
        self._busy = False
        self._broken = False

    def __iter__(self) -> BytesStream:
        return self

    def __aiter__(self) -> BytesStream:
        return self

    def __next__(self) -> bytes:
        chunk = sync.run(self._next(StopIteration))
        if chunk is END:
            raise StopIteration
        return chunk

    def __anext__(self) -> CallFuture[bytes]:
        return run_async(self._next(StopAsyncIteration))

    def _next(self, at_end: Callable[[], BaseException]) -> Plan[Any]:
        if self._busy:
            raise RuntimeError("this stream is being read by another thread or task")
        if self._broken:  # an end here would pass for the content's
            raise RuntimeError("this stream was broken off by an error or a cancel; call get again")
        if self._body is None:
            return (yield from self._ended(at_end))
        self._busy = True
        try:
            chunk = yield from self._body.next_chunk(self._chunk_bytes)
        except BaseException:
            self._body, self._broken = None, True
            raise
        finally:
            self._busy = False
        if chunk is END:
            self._body = None
            return (yield from self._ended(at_end))
        return chunk

    def _ended(self, at_end: Callable[[], BaseException]) -> Plan[Any]:
        yield from ()
        if at_end is StopIteration:
            return END  # a generator can't raise it
        raise at_end()
