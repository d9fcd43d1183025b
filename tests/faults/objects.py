"""Steps that behave: an object with ranges and conditions, a multipart upload, and combinators.

A step is a `Response` or a callable that makes one from the request, called once the request's
body is in. `Object` and `Upload` are honest unless told otherwise; the combinators put faults
over any step while keeping its side effects.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate, parsedate_to_datetime
from typing import Literal, TypeAlias

from .checksums import checksum_header
from .records import Request
from .responses import XML_HEAD, Fault, Headers, Response

Step: TypeAlias = Response | Callable[[Request], Response]

Ranges: TypeAlias = Literal["honest", "half", "shifted", "relabelled", "ignored"]
"""How an `Object` serves a range: `half` sends the right Content-Range with half the bytes, as a
well-framed body; `shifted` sends and declares the range one byte further on; `relabelled` declares
the range asked for and sends the shifted bytes; `ignored` answers 200 with everything."""

LONG_AGO = 1_700_000_000.0


def resolve(step: Step, request: Request) -> Response:
    """The response this step gives to this request."""
    return step if isinstance(step, Response) else step(request)


@dataclass
class Object:
    """One object: GET, HEAD, PUT and DELETE with ranges, conditions, ETag and Last-Modified."""

    data: bytes | None = b""
    """None: it doesn't exist (yet)."""
    etag: str | None = None
    """In quotes; the data's MD5 unless given."""
    modified: float = LONG_AGO
    headers: Headers = ()
    checksums: Sequence[str] = ()
    """Any of crc32, crc32c, crc64nvme, sha1, sha256, md5: sent with whole bodies."""
    checksums_asked: bool = True
    """Send them only to requests with `x-amz-checksum-mode: ENABLED`, as S3 does (md5: always)."""
    ranges: Ranges = "honest"
    _sent: dict[str, tuple[str, str]] = field(default_factory=dict, repr=False)
    _data_etag: str | None = field(default=None, repr=False)

    def replace(self, data: bytes | None, *, headers: Headers | None = None) -> None:
        """Become another version: new data, ETag and modification time."""
        self.data, self.etag, self._data_etag = data, None, None
        self._sent.clear()
        self.modified += 1
        self.headers = self.headers if headers is None else headers

    @property
    def current_etag(self) -> str:
        """The ETag it sends."""
        if self.etag is not None:
            return self.etag
        if self._data_etag is None:
            self._data_etag = f'"{hashlib.md5(self.data or b"").hexdigest()}"'
        return self._data_etag

    def __call__(self, request: Request) -> Response:
        """Answer as S3 would."""
        match request.method:
            case "GET" | "HEAD":
                return self._read(request)
            case "PUT":
                return self._failed_condition(request) or self._write(request)
            case "DELETE":
                failed = self._failed_condition(request)
                if failed is None:
                    self.replace(None)
                return failed or Response(204)
            case _:
                return Response.error(405)

    def _write(self, request: Request) -> Response:
        self.replace(decoded_body(request))
        self.modified = time.time()
        return Response(headers=(("ETag", self.current_etag),))

    def _read(self, request: Request) -> Response:
        if self.data is None:
            return Response.error(404)
        failed = self._failed_condition(request)
        if failed is not None:
            return failed
        described = Response(headers=self._describe(request))
        wanted = request.header("range")
        if wanted is None or self.ranges == "ignored":
            return described.but(body=self.data, headers=described.headers + self._checksum_headers(request))
        return self._part(described, wanted)

    def _part(self, described: Response, wanted: str) -> Response:
        assert self.data is not None
        size = len(self.data)
        span = parse_range(wanted, size)
        if span is None:
            return Response.error(416, headers=(("Content-Range", f"bytes */{size}"),))
        start, end = span
        shift = 1 if self.ranges in ("shifted", "relabelled") else 0
        body = memoryview(self.data)[start + shift : end + shift]
        if self.ranges == "half":
            body = body[: len(body) // 2]
        if self.ranges == "shifted":
            start, end = start + shift, start + shift + len(body)
        return described.but(status=206, body=body).header("Content-Range", f"bytes {start}-{end - 1}/{size}")

    def _describe(self, request: Request) -> Headers:
        etag = ("ETag", self.current_etag)
        base = (etag, ("Last-Modified", formatdate(self.modified, usegmt=True)), ("Accept-Ranges", "bytes"))
        typed = any(name.lower() == "content-type" for name, _ in self.headers)
        return base + self.headers + (() if typed else (("Content-Type", "application/octet-stream"),))

    def _checksum_headers(self, request: Request) -> Headers:
        asked = (request.header("x-amz-checksum-mode") or "").lower() == "enabled"
        wanted = [name for name in self.checksums if name == "md5" or asked or not self.checksums_asked]
        for name in wanted:
            if name not in self._sent:
                self._sent[name] = checksum_header(name, self.data or b"")
        return tuple(self._sent[name] for name in wanted)

    def _failed_condition(self, request: Request) -> Response | None:
        """412 or 304 when a condition fails, in the order of RFC 9110, 13.2.2."""
        exists, etag = self.data is not None, self.current_etag
        match, none_match = request.header("if-match"), request.header("if-none-match")
        if match is not None and not (exists and _names(match, etag)):
            return Response.error(412 if exists else 404)
        if match is None and self._modified_after(request.header("if-unmodified-since")):
            return Response.error(412)
        reading = request.method in ("GET", "HEAD")
        unchanged = none_match is not None and exists and _names(none_match, etag)
        since = request.header("if-modified-since")
        if none_match is None and reading and since is not None:
            unchanged = not self._modified_after(since)
        if not unchanged:
            return None
        return Response(304, headers=(("ETag", etag),)) if reading else Response.error(412)

    def _modified_after(self, date: str | None) -> bool:
        return date is not None and self.modified > parsedate_to_datetime(date).timestamp()


def _names(condition: str, etag: str) -> bool:
    return condition.strip() == "*" or etag.strip('"') in [each.strip().strip('"') for each in condition.split(",")]


def parse_range(value: str, size: int) -> tuple[int, int] | None:
    """Start and end (exclusive) of a single `bytes=` range; None when no byte can be served."""
    first, _, last = value.removeprefix("bytes=").partition("-")
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(size, int(last) + 1) if last else size
    return (start, end) if start < end else None


def decoded_body(request: Request) -> bytes:
    """The body, out of aws-chunked framing when it came in that."""
    if "aws-chunked" not in (request.header("content-encoding") or ""):
        return request.body
    rest, pieces = request.body, list[bytes]()
    while rest:
        line, _, rest = rest.partition(b"\r\n")
        length = int(line.partition(b";")[0], 16)
        if length == 0:
            break
        pieces.append(rest[:length])
        rest = rest[length + 2 :]
    return b"".join(pieces)


@dataclass
class Upload:
    """A key that takes multipart uploads: create, parts, listing, complete, abort; else its `object`."""

    object: Object = field(default_factory=lambda: Object(None))
    parts: dict[str, dict[int, bytes]] = field(default_factory=dict)
    """Open uploads: id to parts by number. Empty again once each was completed or aborted."""
    completed: list[str] = field(default_factory=list)
    aborted: list[str] = field(default_factory=list)
    page: int = 1000
    """How many parts a page of a listing has."""

    def __call__(self, request: Request) -> Response:
        """Answer as S3 would."""
        query = request.query
        if request.method == "POST" and "uploads" in query:
            return self._create()
        upload = query.get("uploadId")
        if upload is None:
            return self.object(request)
        if upload not in self.parts:
            return Response.error(404, "NoSuchUpload")
        return self._of_upload(request, upload)

    def _of_upload(self, request: Request, upload: str) -> Response:
        query = request.query
        match request.method:
            case "PUT":
                return self._part(upload, int(query["partNumber"]), decoded_body(request))
            case "POST":
                return self._complete(upload)
            case "GET":
                return self._list(upload, int(query.get("part-number-marker", "0")))
            case _:
                del self.parts[upload]
                self.aborted.append(upload)
                return Response(204)

    def _create(self) -> Response:
        upload = f"upload-{len(self.parts) + len(self.completed) + len(self.aborted) + 1}"
        self.parts[upload] = {}
        fields = f"<Bucket>bucket</Bucket><Key>key</Key><UploadId>{upload}</UploadId>"
        return Response.xml(f"{XML_HEAD}<InitiateMultipartUploadResult>{fields}</InitiateMultipartUploadResult>")

    def _part(self, upload: str, number: int, data: bytes) -> Response:
        self.parts[upload][number] = data
        return Response(headers=(("ETag", f'"{hashlib.md5(data).hexdigest()}"'),))

    def _list(self, upload: str, marker: int) -> Response:
        behind = sorted(item for item in self.parts[upload].items() if item[0] > marker)
        rows = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>&quot;{hashlib.md5(data).hexdigest()}&quot;</ETag>"
            f"<Size>{len(data)}</Size></Part>"
            for number, data in behind[: self.page]
        )
        more = str(len(behind) > self.page).lower()
        return Response.xml(f"{XML_HEAD}<ListPartsResult>{rows}<IsTruncated>{more}</IsTruncated></ListPartsResult>")

    def _complete(self, upload: str) -> Response:
        parts = self.parts.pop(upload)
        self.completed.append(upload)
        self.object.replace(b"".join(data for _, data in sorted(parts.items())))
        self.object.modified = time.time()
        digests = b"".join(hashlib.md5(data).digest() for _, data in sorted(parts.items()))
        self.object.etag = f'"{hashlib.md5(digests).hexdigest()}-{len(parts)}"'
        fields = f"<Bucket>bucket</Bucket><Key>key</Key><ETag>{self.object.etag}</ETag>"
        return Response.xml(f"{XML_HEAD}<CompleteMultipartUploadResult>{fields}</CompleteMultipartUploadResult>")


class Faulty:
    """Any step with faults laid over its response, or some of its fields changed."""

    def __init__(self, step: Step, *faults: Fault, **changes: object) -> None:
        """`changes` are fields of `Response`, such as `after="rst"` or `read_rate=1e6`."""
        self.step, self.faults, self.changes = step, faults, changes
        self.read_body = bool(changes.get("read_body", True))
        self.read_rate = changes.get("read_rate")
        self.read_stall = changes.get("read_stall")
        self.send_continue = bool(changes.get("send_continue", True))

    def __call__(self, request: Request) -> Response:
        """The step's response, side effects and all, with the faults on."""
        return resolve(self.step, request).having(*self.faults).but(**self.changes)


class Reused:
    """One step for requests on a connection that has served before, another for the first on each."""

    def __init__(self, reused: Step, fresh: Step) -> None:
        """`Reused(Response.dropped("rst"), obj)`: every idle connection dies as it is used again."""
        self.reused, self.fresh = reused, fresh

    def __call__(self, request: Request) -> Response:
        """Choose by the request's number on its connection."""
        return resolve(self.reused if request.number else self.fresh, request)
