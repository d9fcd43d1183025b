"""A reader: one version of an object as a file with a position, over any store.

What is fetched depends on how it is read. A read somewhere gets what was asked for, and nothing else; a third one near
two others gets its whole block. A read that goes on where the last one ended gets more than was asked for, each time
four times as much; and when that is more than `_RAMP_BYTES`, or than can be kept, the rest of the object becomes a
stream, whose parts are fetched ahead of the reader, twice as many with each chunk that is read, up to a bound. A read
elsewhere ends that.

Methods that return plans are run one at a time. Every response has to be of the version that was opened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cumulo._drivers.effects import END, Plan
from cumulo._native import Extent, ShortReads, generation
from cumulo.exceptions import BaseError, GenericError, NotSupportedError, ObjectChangedError, PreconditionError

from .parts import DEFAULT_CONCURRENCY, DEFAULT_PART_BYTES

if TYPE_CHECKING:
    from cumulo._result import Body, GetResult
    from cumulo._types import GetOptions, ObjectMeta
    from cumulo.store._base import ObjectStoreMethods

_FIRST_AHEAD_BYTES = 128 << 10
_RAMP_BYTES = 2 << 20
_FACTOR = 4
_FIRST_PARTS = 2
_SKIP_BYTES = DEFAULT_PART_BYTES
"""Up to so many bytes a stream is read on to get to a place ahead of it."""
_MOST_CHUNK_BYTES = 16 << 20
_LINE_BYTES = 8 << 10
_CACHED_BLOCKS = 8
_MOST_BLOCK_BYTES = 1 << 40
"""More than can be kept: what is behind it makes no difference."""


class Reader(ShortReads):
    """The state of a reader. `at` is its position."""

    stream: _Stream | None

    def __init__(
        self, store: ObjectStoreMethods, path: str, size: int, version: ObjectMeta | None, block_bytes: int
    ) -> None:
        block_bytes = min(block_bytes, _MOST_BLOCK_BYTES)
        super().__init__(
            size, block_bytes=block_bytes, kept_bytes=_CACHED_BLOCKS * block_bytes, range_bytes=DEFAULT_PART_BYTES
        )
        self._store = store
        self._path = path
        self._version: ObjectMeta | None = None
        """What is read; not known before the first response where the size was given."""
        self._etag: str | None = None
        """Its ETag, where requests can be made to depend on it."""
        if version is not None:
            self._pin(version)
        self._block = block_bytes
        self._ramp = min(_RAMP_BYTES, _CACHED_BLOCKS * block_bytes // 2)  # larger spans are not kept
        self._lines = Extent(0, b"")

    def _pin(self, version: ObjectMeta) -> None:
        self._version = version
        etag = version["e_tag"]
        self._etag = etag if etag is not None and not etag.startswith("W/") else None  # RFC 9110 13.1.1
        self._prepare()

    def _prepare(self) -> None:
        etag = self._etag
        self.ranges = None if etag is None else self._store._pinned_ranges(self._path, etag.encode())

    # -- reading

    def read(self, length: int | None, *, once: bool = False) -> Plan[bytes]:
        """So many bytes, or those that are left; with `once`, what comes without a second wait."""
        end = self.size if length is None else min(self.size, self.at + length)
        if end <= self.at:
            return b""
        ahead = self.at == self.expected
        extent = yield from self._extent(self.at, end, ahead)
        result = extent.cut(self.at, end)
        if not once and self.at + len(result) < end:
            result = yield from self._joined(result, end, ahead)
        self._advance(len(result))
        return result

    def _joined(self, first: bytes, end: int, ahead: bool) -> Plan[bytes]:
        pieces, at = [first], self.at + len(first)
        while at < end:
            piece = (yield from self._extent(at, end, ahead)).cut(at, end)
            pieces.append(piece)
            at += len(piece)
        return b"".join(pieces)

    def read_into(self, view: memoryview) -> Plan[int]:
        """Fill a buffer, or as much of it as there is left."""
        start, end = self.at, min(self.size, self.at + view.nbytes)
        ahead, at = start == self.expected, start
        while at < end:
            extent = yield from self._extent(at, end, ahead)
            first, last = at - extent.start, min(end, extent.end) - extent.start
            view[at - start : at - start + last - first] = memoryview(extent.content)[first:last]
            at += last - first
        if at > start:
            self._advance(at - start)
        return at - start

    def _advance(self, length: int) -> None:
        self.at += length
        self.expected = self.at

    # -- lines

    def line_here(self) -> bytes | None:
        """The next line, if it is here: where most lines are."""
        text = self._lines.content
        first = self.at - self._lines.start
        if 0 <= first < len(text):
            last = text.find(b"\n", first) + 1
            if last > 0:
                self._advance(last - first)
                return text[first:last]
        return None

    def line(self, limit: int = -1) -> Plan[bytes]:
        """The next line with its end, `limit` bytes of it at most."""
        if limit < 0 and (line := self.line_here()) is not None:
            return line
        end = self.size if limit < 0 else min(self.size, self.at + limit)
        pieces: list[bytes] = []
        at, ahead = self.at, self.at == self.expected
        while at < end and not (pieces and pieces[-1].endswith(b"\n")):
            extent = yield from self._extent(at, min(end, at + _LINE_BYTES), ahead or bool(pieces))
            text = extent.content
            self._lines = extent
            first, most = at - extent.start, end - extent.start
            last = text.find(b"\n", first, most) + 1 or min(most, len(text))
            pieces.append(text[first:last])
            at += last - first
        line = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self._advance(len(line))
        return line

    # -- where content comes from

    def _extent(self, at: int, end: int, ahead: bool) -> Plan[Extent]:
        """A span with the byte `at`: one that is here, or what is to be fetched for a read up to `end`."""
        found = self.kept.find(at)
        if found is not None:
            return found
        stream = self.stream
        if stream is not None and not stream.leads_to(at):
            self._stop_stream()
            stream = None
        if stream is None:
            if not ahead:
                return (yield from self._somewhere(at, end))
            begins = self.window == 0
            ahead_bytes = max(_FACTOR * self.window, _FACTOR * (end - at), _FIRST_AHEAD_BYTES)
            self.window = min(ahead_bytes, self.size)
            if begins or ahead_bytes <= self._ramp or self.size - at <= self._ramp:
                return (yield from self._fetched(at, max(end, at + min(ahead_bytes, self._ramp))))
            if end == self.size and end - at > _MOST_CHUNK_BYTES:  # all the rest in one go, in parts to their places
                return (yield from self._fetched(at, end))
            stream = yield from self._open_stream(at, end - at)
        return (yield from self._from_stream(stream, at))

    def _somewhere(self, at: int, end: int) -> Plan[Extent]:
        self.window = 0
        if self.ranges is not None and self.ranges.is_inherited:
            self._prepare()  # for reads to come
        if self.is_near(at, end - at):
            start = at // self._block * self._block
            return (yield from self._fetched(start, max(end, start + self._block)))
        self.miss(at)
        return (yield from self._fetched(at, end))

    def _fetched(self, start: int, end: int) -> Plan[Extent]:
        end = min(end, self.size)
        etag = self._etag
        try:
            if etag is None or end - start > DEFAULT_PART_BYTES:
                result = yield from self._get({"range": (start, end)}, None)
                body = result._consume()
                content = yield from body.next_chunk(end - start)
                ended = yield from body.next_chunk(1)
                if content is END or ended is not END:
                    content = b""
            else:
                content = yield from self._store._plan_get_pinned(self._path, etag, start, end)
        except PreconditionError as error:
            raise (yield from self._explained(error)) from error
        if len(content) != end - start:
            raise self._error(GenericError, f"{len(content)} bytes came where {end - start} were asked for")
        extent = Extent(start, content)
        self.kept.add(extent)
        return extent

    def _get(self, options: GetOptions, most: int | None) -> Plan[GetResult]:
        """A response of the version that is read; the first decides which that is, if it is open yet."""
        version = self._version
        if self._etag is not None:
            options["if_match"] = self._etag
        result = yield from self._store._plan_get(self._path, options, None, most)
        if version is None:
            if result.meta["size"] != self.size:
                told = f"the size given was {self.size} bytes, but the object has {result.meta['size']}"
                raise self._error(GenericError, told)
            self._pin(result.meta)
        elif not _is_same(version, result.meta):
            raise self._changed(_difference(version, result.meta))
        return result

    # -- ahead of the reader

    def _open_stream(self, at: int, need: int) -> Plan[_Stream]:
        try:
            result = yield from self._get({"range": {"offset": at}}, _FIRST_PARTS)
        except PreconditionError as error:
            raise (yield from self._explained(error)) from error
        chunk = min(max(need, self._block), _MOST_CHUNK_BYTES)
        self.stream = _Stream(result._consume(), at, chunk)
        return self.stream

    def _from_stream(self, stream: _Stream, at: int) -> Plan[Extent]:
        """Read the stream on until it has come to `at`."""
        while True:
            try:
                extent = yield from stream.next()
            except BaseException:
                self._stop_stream()
                raise
            if extent is None:
                self._stop_stream()
                raise self._error(GenericError, f"the content ended at {stream.at} of {self.size} bytes")
            self.kept.add(extent)
            if extent.end == self.size:
                self._stop_stream()
            if at < extent.end:
                return extent

    def _stop_stream(self) -> None:
        stream, self.stream = self.stream, None
        if stream is not None:
            stream.close()

    def close(self) -> None:
        """Stop what is under way, and keep nothing."""
        self._stop_stream()
        self.kept.clear()
        self._lines = Extent(0, b"")

    # -- errors

    def _explained(self, error: PreconditionError) -> Plan[BaseError]:
        now = "another"
        try:
            found = yield from self._store._plan_head(self._path)
            now = found["e_tag"] or now
        except BaseError:
            pass
        was = self._version["e_tag"] if self._version is not None else None
        changed = self._changed(f"its ETag was {was}, now {now}")
        changed.__cause__ = error
        return changed

    def _changed(self, told: str) -> ObjectChangedError:
        return self._error(ObjectChangedError, f"the object was replaced while it was read: {told}")

    def _error(self, kind: type[Any], told: str) -> Any:
        store = repr(self._store)
        details = {"operation": "open_reader", "store": store, "path": self._path}
        return kind(f"open_reader {self._path!r} in {store}: {told}", **details)


class _Stream:
    """The rest of the object from some place on, in chunks."""

    def __init__(self, body: Body, at: int, chunk_bytes: int) -> None:
        self.at = at
        self._body = body
        self._chunk = chunk_bytes
        self._parts = _FIRST_PARTS
        self._generation = generation()

    def leads_to(self, at: int) -> bool:
        """Whether it is worth reading on to get there; never what a parent process has begun."""
        return self.at <= at <= self.at + _SKIP_BYTES and self._generation == generation()

    def next(self) -> Plan[Extent | None]:
        """The next chunk; None at the end."""
        chunk = yield from self._body.next_chunk(self._chunk)
        if chunk is END:
            return None
        if self._parts < DEFAULT_CONCURRENCY:
            self._parts = min(2 * self._parts, DEFAULT_CONCURRENCY)
            widen = getattr(self._body, "widen", None)
            if widen is not None:
                widen(self._parts)
        extent = Extent(self.at, chunk)
        self.at = extent.end
        return extent

    def close(self) -> None:
        """Stop it."""
        self._body.close()


def _is_same(one: ObjectMeta, other: ObjectMeta) -> bool:
    if one["e_tag"] is not None and other["e_tag"] is not None:
        return one["e_tag"] == other["e_tag"]
    return (one["last_modified"], one["size"]) == (other["last_modified"], other["size"])


def _difference(was: ObjectMeta, now: ObjectMeta) -> str:
    if was["e_tag"] is not None and now["e_tag"] is not None:
        return f"its ETag was {was['e_tag']}, now {now['e_tag']}"
    if was["size"] != now["size"]:
        return f"its size was {was['size']} bytes, and is {now['size']} bytes now"
    return f"it was last modified at {was['last_modified']}, and at {now['last_modified']} now"


def opened(store: ObjectStoreMethods, path: str, block_bytes: int) -> Plan[Reader]:
    """A reader of the object as it is now."""
    meta = yield from store._plan_head(path)
    if meta["size"] < 0:
        told = f"open_reader {path!r} in {store!r}: the server does not say how long it is; use get and stream"
        raise NotSupportedError(told, operation="open_reader", store=repr(store), path=path)
    return Reader(store, path, meta["size"], meta, block_bytes)
