"""What the fault server may answer: a response and the faults laid over it.

Pure data: nothing here touches a socket (wire.py plays it). A `Response` is immutable;
`but()` and `having()` make changed copies, so one can be kept and varied. Offsets in faults
count bytes of the body as it goes over the wire, that is after chunk framing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from http import HTTPStatus
from typing import Literal, TypeAlias
from xml.sax.saxutils import escape

Ending: TypeAlias = Literal["fin", "rst", "truncate"]
"""How the server leaves: `fin` closes cleanly (with TLS's close_notify), `rst` resets,
`truncate` closes TCP under TLS without close_notify (the same as `fin` on plain HTTP)."""

Framing: TypeAlias = Literal["length", "chunked", "none"]
"""`none` sends neither Content-Length nor Transfer-Encoding: the body ends with the connection."""

After: TypeAlias = Literal["keep", "fin", "rst", "truncate", "hold"]
"""What follows the response: `hold` leaves the connection open and reads nothing more."""

Headers: TypeAlias = tuple[tuple[str, str], ...]

XML_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'
S3_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
REQUEST_ID = "FAULTSERVER00001"


@dataclass(frozen=True)
class Delay:
    """Wait before the first byte of the head."""

    seconds: float


@dataclass(frozen=True)
class Stall:
    """Send nothing from body byte `after` on (None: before the head), for `seconds` or until `release()`."""

    after: int | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Trickle:
    """Send the body at this rate, in pieces every `interval` seconds."""

    bytes_per_second: float
    interval: float = 0.02


@dataclass(frozen=True)
class Cut:
    """End the connection at body byte `after`; None cuts before the head: no response at all."""

    after: int | None = None
    how: Ending = "fin"


@dataclass(frozen=True)
class Flip:
    """Invert the lowest bit of payload byte `at`: checksums and ETag stay those of the right data."""

    at: int = 0


@dataclass(frozen=True)
class BadChunk:
    """Replace the size line of chunk number `chunk` (0 first), e.g. `b"zz"` or a size too large."""

    chunk: int = 0
    line: bytes = b"zz"


Fault: TypeAlias = Delay | Stall | Trickle | Cut | Flip | BadChunk


@dataclass(frozen=True)
class Response:
    """One answer. The defaults make a well-formed one; every field that differs is a fault."""

    status: int = 200
    body: bytes | memoryview = b""
    headers: Headers = ()
    faults: tuple[Fault, ...] = ()
    framing: Framing = "length"
    after: After = "keep"
    content_length: int | None = None
    """What Content-Length claims, when that isn't the body's length (also for HEAD)."""
    status_line: bytes | None = None
    """Replaces the status line, e.g. `b"HTTP/1.1 200"`, without the line end."""
    reason: str | None = None
    version: str = "HTTP/1.1"
    newline: bytes = b"\r\n"
    chunk_bytes: int = 16384
    trailers: Headers = ()
    """Trailer fields of a chunked body."""
    interim: tuple[int, ...] = ()
    """1xx responses sent just before this one, asked for or not."""
    send_continue: bool = True
    """Answer `Expect: 100-continue` with 100 before the request's body is read."""
    read_body: bool = True
    """False answers as soon as the request's head is in, leaving its body unread."""
    read_rate: float | None = None
    """Read the request's body at this many bytes a second."""
    read_stall: int | None = None
    """Stop reading the request's body at this byte, until `release()`."""
    wire: bytes | None = None
    """Sent instead of head and body, as it is: garbage, or a hand-made response."""
    bodyless: bool = field(default=False)
    """Send the head only, whatever the method (HEAD, 204 and 304 do so by themselves)."""

    def but(self, **changes: object) -> Response:
        """A copy with some fields changed."""
        return replace(self, **changes)  # pyright: ignore[reportArgumentType]

    def having(self, *faults: Fault) -> Response:
        """A copy with more faults."""
        return replace(self, faults=self.faults + faults)

    def header(self, name: str, value: str | None) -> Response:
        """A copy with one header set, or taken out by None."""
        kept = tuple(pair for pair in self.headers if pair[0].lower() != name.lower())
        return replace(self, headers=kept if value is None else (*kept, (name, value)))

    @staticmethod
    def of(body: bytes, *, status: int = 200, content_type: str = "application/octet-stream") -> Response:
        """A plain response with this body."""
        return Response(status, body, (("Content-Type", content_type),))

    @staticmethod
    def xml(body: str, *, status: int = 200) -> Response:
        """An XML document given literally, such as a list page."""
        return Response(status, body.encode(), (("Content-Type", "application/xml"),))

    @staticmethod
    def json(value: object, *, status: int = 200) -> Response:
        """A value as JSON, such as what a credential endpoint answers."""
        return Response(status, json.dumps(value).encode(), (("Content-Type", "application/json"),))

    @staticmethod
    def error(
        status: int,
        code: str | None = None,
        message: str = "a scripted error",
        *,
        retry_after: float | str | None = None,
        date: float | None = None,
        headers: Headers = (),
    ) -> Response:
        """S3's error document; the code follows from the status unless given. `date` is a Unix time."""
        response = Response.xml(error_document(code or ERROR_CODES[status], message), status=status)
        response = replace(response, headers=(*response.headers, ("x-amz-request-id", REQUEST_ID), *headers))
        if retry_after is not None:
            response = response.header("Retry-After", str(retry_after))
        return response if date is None else response.header("Date", formatdate(date, usegmt=True))

    @staticmethod
    def html(status: int = 503, size: int = 100_000) -> Response:
        """A proxy's error page of about `size` bytes."""
        page = b"<!DOCTYPE html><html><head><title>Error</title></head><body>"
        page += b"<p>The service is unavailable.</p>\n" * (size // 36) + b"</body></html>"
        return Response(status, page, (("Content-Type", "text/html"),))

    @staticmethod
    def redirect(location: str, status: int = 307) -> Response:
        """To another URL, with S3's error document as the body."""
        code = "TemporaryRedirect" if status == 307 else "PermanentRedirect"
        return Response.error(status, code, headers=(("Location", location),))

    @staticmethod
    def raw(wire: bytes, after: After = "fin") -> Response:
        """These bytes and nothing else, then the connection ends."""
        return Response(wire=wire, after=after)

    @staticmethod
    def dropped(how: Ending = "fin") -> Response:
        """The request is read and the connection closed without a byte of response."""
        return Response(faults=(Cut(None, how),))

    @staticmethod
    def never() -> Response:
        """The request is read and nothing is ever sent, until `release()`."""
        return Response(faults=(Stall(None, None),))


ERROR_CODES: Mapping[int, str] = {
    301: "PermanentRedirect",
    307: "TemporaryRedirect",
    400: "RequestTimeout",
    401: "ExpiredToken",
    403: "AccessDenied",
    404: "NoSuchKey",
    405: "MethodNotAllowed",
    408: "RequestTimeout",
    409: "ConditionalRequestConflict",
    411: "MissingContentLength",
    412: "PreconditionFailed",
    413: "EntityTooLarge",
    416: "InvalidRange",
    429: "TooManyRequests",
    500: "InternalError",
    501: "NotImplemented",
    502: "BadGateway",
    503: "SlowDown",
    504: "GatewayTimeout",
}


def error_document(code: str, message: str = "a scripted error") -> str:
    """S3's `<Error>` document; with status 200 it is the late failure of copy and complete."""
    fields = f"<Code>{escape(code)}</Code><Message>{escape(message)}</Message>"
    return f"{XML_HEAD}<Error>{fields}<RequestId>{REQUEST_ID}</RequestId></Error>"


def encode_head(response: Response, date: str) -> bytes:
    """The status line and headers as they go over the wire."""
    names = {name.lower() for name, _ in response.headers}
    headers = list(response.headers)
    if "date" not in names:
        headers.append(("Date", date))
    if response.framing == "chunked":
        headers.append(("Transfer-Encoding", "chunked"))
    elif response.framing == "length" and response.status not in (204, 304) and "content-length" not in names:
        claimed = len(response.body) if response.content_length is None else response.content_length
        headers.append(("Content-Length", str(claimed)))
    lines = [status_line(response), *(f"{name}: {value}".encode("latin-1") for name, value in headers)]
    return response.newline.join(lines) + response.newline * 2


def status_line(response: Response) -> bytes:
    """The status line without its end."""
    if response.status_line is not None:
        return response.status_line
    reason = response.reason
    if reason is None:
        reason = HTTPStatus(response.status).phrase if response.status in STATUSES else "Unknown"
    return f"{response.version} {response.status} {reason}".encode("latin-1")


STATUSES = frozenset(int(status) for status in HTTPStatus)


def encode_body(response: Response) -> bytes | memoryview:
    """The body as it goes over the wire: bits flipped, then chunk framing put on."""
    body = response.body
    for fault in response.faults:
        if isinstance(fault, Flip) and fault.at < len(body):
            flipped = bytearray(body)
            flipped[fault.at] ^= 1
            body = bytes(flipped)
    return b"".join(_chunks(response, body)) if response.framing == "chunked" else body


def _chunks(response: Response, body: bytes | memoryview) -> Iterator[bytes]:
    bad = {fault.chunk: fault.line for fault in response.faults if isinstance(fault, BadChunk)}
    starts = range(0, len(body), response.chunk_bytes)
    for number, start in enumerate(starts):
        piece = bytes(body[start : start + response.chunk_bytes])
        yield bad.get(number, f"{len(piece):x}".encode()) + b"\r\n" + piece + b"\r\n"
    yield bad.get(len(starts), b"0") + b"\r\n"
    for name, value in response.trailers:
        yield f"{name}: {value}\r\n".encode("latin-1")
    yield b"\r\n"
