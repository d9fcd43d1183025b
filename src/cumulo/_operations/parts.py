"""Large objects in parallel: ranges of one version of an object, each straight to where its bytes belong.

The first request asks for everything and stops after the first part; the others ask for one part each, on condition
that the object is still the same. What has its place already (memory, a file) has all parts under way at once; see
`streamed.py` for what is consumed in order. The first request stays open until the server has shown that it serves
ranges: where it does not, the first goes on alone.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from typing import TYPE_CHECKING, Any, Protocol

from cumulo._drivers.effects import News, Plan, Start, Until
from cumulo._native import Request, combine_digests
from cumulo.exceptions import BaseError, ChecksumError, ObjectChangedError, PreconditionError

from . import bulk, ranges
from .in_order import InOrder

if TYPE_CHECKING:
    from cumulo._providers.base import Objects
    from cumulo._providers.s3_bulk import S3Bulk

    from .get import Wanted
    from .in_order import Place

DEFAULT_PART_BYTES = 8 * 1024 * 1024
DEFAULT_CONCURRENCY = 16
MIN_PART_BYTES = 64 * 1024
_OF_PARTS = ("CRC64NVME", "CRC32C", "CRC32")
"""Checksums that those of parts make."""

_EXPIRED = (401, 403, 410)


def check_parts(part_size: Any, max_concurrency: Any) -> tuple[int, int]:
    """The arguments of that name with their defaults. Raises `ValueError` for what makes no sense."""
    part = DEFAULT_PART_BYTES if part_size is None else part_size
    most = DEFAULT_CONCURRENCY if max_concurrency is None else max_concurrency
    for name, value, least in (("part_size", part, MIN_PART_BYTES), ("max_concurrency", most, 1)):
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ValueError(f"{name} must be an integer of at least {least}, not {value!r}")
        if value > ranges.MOST:
            raise ValueError(f"{name} is larger than any object: {value}")
    return part, most


class Source:
    """Where parts come from: what the first response said of the object, and how to ask for more of the same."""

    def __init__(
        self,
        provider: Objects,
        path: str,
        first: Request,
        wanted: Wanted,
        span: tuple[int, int],
        job: str | None = "get",
    ) -> None:
        self.first = first
        self.etag: str | None = first.response[1].get("etag")
        self._provider = provider
        self._path = path
        self._wanted = wanted
        self._start, end = span
        self.size = end - self._start
        _, _, length, found = first.response
        self._total = length if found is None else found[2]
        self._job = job
        self._may_ask = True
        self.announced = first.announced_checksum if wanted.range is None else None
        """The checksum of the whole, if that is what is wanted: algorithm and value."""
        self.kept: str | None = None
        """The name of a checksum for parts to keep, whatever the server has sent. The first request keeps none."""

    def serves_parts(self) -> bool:
        """Whether other requests can be sure to get the same object."""
        _, headers, length, found = self.first.response
        strong = self.etag is not None and not self.etag.startswith("W/")
        known = length is not None or found is not None
        return strong and known and headers.get("accept-ranges", self._provider.accept_ranges) == "bytes"

    @property
    def digest(self) -> str | None:
        """The name of the checksum that all parts keep, if any; the first request was told where its part ends."""
        return self.announced[0] if self.announced is not None and self.announced[0] in _OF_PARTS else None

    @property
    def whole_digest(self) -> str | None:
        """The name of the checksum to make of the whole, since those of parts don't make it."""
        return self.announced[0] if self.announced is not None and self.announced[0] not in _OF_PARTS else None

    def request(self, start: int, length: int, digest: str | None, sink: str) -> Request:
        """A part of the content."""
        at = self._start + start
        assert self.etag is not None
        return self._provider.get_part(
            self._path, self._wanted.version, self.etag, (at, at + length), digest=digest, sink=sink
        )

    @property
    def bulk(self) -> S3Bulk | None:
        """What is to fetch all of it in the engine's place, if anything is."""
        return bulk.taking(self._provider, self._job)

    def bulk_request(self, client: S3Bulk, part_bytes: int, most: int) -> Request:
        """All of the content, as a job of the bulk client."""
        assert self.etag is not None
        span = (self._start, self._start + self.size)
        return client.get(
            self._path, self._wanted.version, self.etag, span, part_bytes=part_bytes, most=most,
            expected=self.announced, foreign=True, to_file=self._job == "get_file",
        )  # fmt: skip

    def again(self) -> Request:
        """All of the content in one response."""
        return self._provider.get(self._path, self._wanted)

    def check(self, part: Request) -> None:
        """Raises if a part is of another object than the first response."""
        _, headers, _, found = part.response
        etag = headers.get("etag")
        if etag != self.etag:
            raise self._changed(etag)
        if found is not None and self._total not in (None, found[2]):  # a part at its end would be short
            told, details = self._about(f"its size was {self._total} bytes, and is {found[2]} now")
            raise ObjectChangedError(told, **details)
        self._may_ask = True

    def may_go_on(self, refused: Request) -> Plan[bool]:
        """Whether to ask for a part once more, since the place that a redirect had led to has expired.

        Once until another part has come: a place that is refused as soon as it is named is not asked for for ever.
        """
        if not self._provider.redirected or refused.failure[0][0] not in _EXPIRED:
            return False
        provider: Any = self._provider  # redirects are HTTP's
        if not provider.goes_to(refused.context.target):
            return True  # for another part it has been asked for
        if not self._may_ask:
            return False
        from .follow import renewed

        self._may_ask = False
        return (yield from renewed(provider, self._path))

    def explained(self, error: BaseError) -> Plan[BaseError]:
        """The error to raise for a part's: what no longer matches was replaced, and the object says by what."""
        refused = isinstance(error, ObjectChangedError) and error.status == 412  # as it went on after a break
        if not refused and not isinstance(error, PreconditionError):
            return error
        head = self._provider.head(self._path, self._wanted.unconditional())
        now = None
        with suppress(BaseError):
            yield head
            now = head.response[1].get("etag")
        changed = self._changed(now)
        changed.__cause__ = error
        return changed

    def verify(self, digest: str, sums: list[tuple[int, int]]) -> None:
        """Compare the checksum of all parts, (sum, length) in order, with the one the server sent."""
        total, _ = sums[0]
        for value, length in sums[1:]:
            total = combine_digests(digest, total, value, length)
        self.compare(total.to_bytes(8 if digest == "CRC64NVME" else 4, "big"))

    def compare(self, found: bytes) -> None:
        """Compare the checksum of the whole with the one the server sent."""
        assert self.announced is not None
        algorithm, expected = self.announced
        try:
            value = binascii.a2b_base64(expected)
        except binascii.Error:
            return  # as with one request: nothing to hold the content against
        if value != found:
            made = base64.b64encode(found).decode()
            told, details = self._about(f"the content's {algorithm} is {made}, but the server says {expected}")
            raise ChecksumError(told, **details)

    def _changed(self, now: str | None) -> ObjectChangedError:
        found = now or "unknown"
        told, details = self._about(f"the object was replaced while it was read: its ETag was {self.etag}, now {found}")
        return ObjectChangedError(told, **details)

    def _about(self, message: str) -> tuple[str, dict[str, Any]]:
        store = repr(self.first.context.store)
        details = {"operation": "get", "store": store, "path": self._path, "attempts": self.first.attempts}
        return f"get {self._path!r} in {store}: {message}", details


def ignores_ranges(request: Request) -> bool:
    """Whether a part failed since its server sends whole objects only."""
    return request.error == "wrong_range" and request.failure[0][0] == 200


class Record(Protocol):
    """Who keeps account of the parts that are in their places."""

    def done(self, at: int, length: int, digest: int | None) -> Plan[None]:
        """The part at `at` of the content is; its checksum, if it has kept one."""
        ...

    def alone(self) -> None:
        """There are no parts: the server sends whole objects only."""
        ...


class Filling:
    """All parts to their places at once; run by one plan."""

    def __init__(
        self, source: Source, place: Place, part_bytes: int, max_concurrency: int, record: Record | None = None
    ) -> None:
        self._source = source
        self._place = place
        whole = source.whole_digest
        self._in_order = InOrder(whole, place) if whole is not None else None
        self._part = part_bytes
        self._most = max_concurrency
        self._record = record
        self._under_way: dict[Request, tuple[int, int]] = {}
        self._news = News()
        self._sums: dict[int, tuple[int, int]] = {}
        self._spans = self._parts(0)
        self._proven = False
        self._first_done = False

    def run(self, *, fed: bool) -> Plan[None]:
        """Fetch it all. `fed`: the first part has its room already. When this raises, nothing is written any more."""
        source = self._source
        length = min(self._part, source.size)
        try:
            if source.bulk is not None:
                yield from self._in_bulk(source.bulk)
                return
            if not fed:
                self._place.room(source.first, 0, length)
            self._under_way[source.first] = (0, length)
            self._news.watch(source.first, pieces=1)
            self._spans = self._parts(length)
            yield from self._fetch()
            yield from self._verify()
        finally:
            self._stop()

    def _in_bulk(self, client: S3Bulk) -> Plan[None]:
        source = self._source
        source.first.cancel()  # what it has brought is fetched once more: the memory is the job's
        request = source.bulk_request(client, self._part, self._most)
        self._place.room(request, 0, source.size)
        try:
            yield from bulk.perform(client, request)
        except BaseError as error:
            if request.error != "wrong_range":
                raise (yield from source.explained(error)) from None
            self._in_order = None
            request = yield from self._in_one(source.again())
        source.check(request)
        if self._in_order is not None:
            self._in_order.has(0, source.size)
            source.compare((yield from self._in_order.value()))

    def _in_one(self, request: Request) -> Plan[Request]:
        """From a server that serves no parts."""
        self._place.room(request, 0, self._source.size)
        try:
            yield Start(request)
            yield Until(request)
        finally:
            request.cancel()
        return request

    def go_on(self, sums: dict[int, int]) -> Plan[None]:
        """Fetch what an earlier run has left. `sums`: by the first byte of each part that is there, its checksum."""
        self._proven = self._first_done = True
        self._sums = {at: (value, self._length(at)) for at, value in sums.items()}
        self._spans = (span for span in self._parts(0) if span[0] not in sums)
        if self._in_order is not None:
            for at in sums:
                self._in_order.has(at, self._length(at))
        try:
            yield from self._fetch()
            yield from self._verify()
        finally:
            self._stop()

    def _parts(self, start: int) -> Iterator[tuple[int, int]]:
        return ((at, self._length(at)) for at in range(start, self._source.size, self._part))

    def _length(self, at: int) -> int:
        return min(self._part, self._source.size - at)

    def _verify(self) -> Plan[None]:
        digest = self._source.digest
        if digest is not None and self._sums:
            self._source.verify(digest, [self._sums[at] for at in sorted(self._sums)])
        if self._in_order is not None:
            self._source.compare((yield from self._in_order.value()))

    def _stop(self) -> None:
        if self._in_order is not None:
            self._in_order.stop()
        for request in self._under_way:
            request.cancel()
        self._under_way.clear()
        self._news.clear()
        self._source.first.cancel()

    def _fetch(self) -> Plan[None]:
        digest = self._source.digest or self._source.kept
        while True:
            while len(self._under_way) < self._most and (span := next(self._spans, None)) is not None:
                request = self._source.request(*span, digest, "buffer")
                self._place.room(request, *span)
                self._under_way[request] = span
                self._news.watch(request)
                yield Start(request)
            if not self._under_way:
                return
            done = yield from self._news.one_done()
            if not (yield from self._take(done)):
                yield from self._alone()
                return

    def _take(self, request: Request) -> Plan[bool]:
        """Account for what has come; False when this server serves no parts."""
        at, length = self._under_way.pop(request)
        is_first = request is self._source.first
        if request.error is not None:
            if not self._proven and ignores_ranges(request):
                return False
            if not is_first and (yield from self._source.may_go_on(request)):
                self._spans = chain([(at, length)], self._spans)
                return True
            try:
                request.raise_if_failed()
            except BaseError as error:
                raise (yield from self._source.explained(error)) from None
        if is_first:
            self._first_done = True
        else:
            self._source.check(request)
            self._proven = True
        digest = self._source.digest or (None if is_first else self._source.kept)
        if digest is not None:
            self._sums[at] = (request.digest, length)
        if self._proven and self._first_done:
            self._source.first.cancel()
        if self._record is not None:
            yield from self._record.done(at, length, request.digest if digest is not None else None)
        if self._in_order is not None:
            self._in_order.has(at, length)
            yield from self._in_order.go_on(self._part)
        return True

    def _alone(self) -> Plan[None]:
        """Let the first request go on to the end: it verifies the whole itself."""
        first, done = self._source.first, min(self._part, self._source.size)
        for request in self._under_way:
            if request is not first:
                request.cancel()
        self._under_way.clear()
        self._news.clear()
        self._sums.clear()
        self._in_order = None
        if self._record is not None:
            self._record.alone()
        self._place.room(first, done, self._source.size - done)
        yield Until(first)
