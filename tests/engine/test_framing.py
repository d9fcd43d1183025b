"""Answers that are not quite HTTP end in an error or in the right bytes, never in empty or short data."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from cumulo import _native as native
from tests.faults import BadChunk, Cut, FaultServer, Object, Response

from .support import PATH, error_of, get, open_stream, read_stream, request

DATA = bytes(range(256)) * 100
OK = Response.of(DATA)
OBJECT = Object(DATA)
Connect = Callable[..., native.Client]


def raw(*lines: bytes, body: bytes = DATA) -> Response:
    """A hand-made answer; the connection ends after it."""
    return Response.raw(b"\r\n".join(lines) + b"\r\n\r\n" + body)


CHUNKS = b"5\r\nhello\r\n0\r\n\r\n"
LENGTH = b"Content-Length: %d" % len(DATA)

BROKEN = {
    "neither length nor chunks": OK.but(framing="none"),
    "neither, and held open": OK.but(framing="none", after="hold"),
    "neither, and cut": OK.but(framing="none").having(Cut(100, "rst")),
    "no space after the code": OK.but(status_line=b"HTTP/1.1 200"),
    "bare line feeds": OK.but(newline=b"\n"),
    "no status": OK.but(status_line=b"HTTP/1.1"),
    "a status of letters": OK.but(status_line=b"HTTP/1.1 abc OK"),
    "another protocol": OK.but(status_line=b"RTSP/1.0 200 OK"),
    "a version to come": OK.but(status_line=b"HTTP/3.0 200 OK"),
    "garbage": Response.raw(b"\x00\x01\x02 this is not HTTP at all\r\n\r\n" + DATA),
    "only a line end": Response.raw(b"\r\n"),
    "a header without a colon": raw(b"HTTP/1.1 200 OK", b"Nonsense", LENGTH),
    "a header without a name": raw(b"HTTP/1.1 200 OK", b": value", LENGTH),
    "a header that is cut": Response.raw(b"HTTP/1.1 200 OK\r\nContent-Len"),
    "a length of letters": raw(b"HTTP/1.1 200 OK", b"Content-Length: many"),
    "a negative length": raw(b"HTTP/1.1 200 OK", b"Content-Length: -5"),
    "a length with a sign": raw(b"HTTP/1.1 200 OK", b"Content-Length: +25600"),
    "a length beyond all bounds": raw(b"HTTP/1.1 200 OK", b"Content-Length: 99999999999999999999999"),
    "the same length twice": raw(b"HTTP/1.1 200 OK", LENGTH, LENGTH),
    "two lengths": raw(b"HTTP/1.1 200 OK", LENGTH, b"Content-Length: 5"),
    "a length and chunks": raw(b"HTTP/1.1 200 OK", LENGTH, b"Transfer-Encoding: chunked", body=CHUNKS),
    "a short body": OK.but(content_length=len(DATA) + 1, after="fin"),
    "no body": OK.but(after="fin", bodyless=True),
    "a chunk size of letters": OK.but(framing="chunked").having(BadChunk(1, b"zz")),
    "a chunk size too large": OK.but(framing="chunked", after="fin").having(BadChunk(1, b"ffffff")),
    "a chunk size beyond all bounds": OK.but(framing="chunked").having(BadChunk(1, b"f" * 40)),
    "a chunk size too small": OK.but(framing="chunked").having(BadChunk(0, b"10")),
    "a negative chunk size": OK.but(framing="chunked").having(BadChunk(0, b"-5")),
    "an empty chunk size": OK.but(framing="chunked").having(BadChunk(0, b"")),
    "no last chunk": OK.but(framing="chunked").having(Cut(len(DATA) + 20, "fin")),
}


@pytest.fixture
def hasty(connect: Connect) -> native.Client:
    """What holds a connection open is given up soon."""
    return connect(max_retries=1, stall_timeout_ms=500)


@pytest.mark.parametrize("name", BROKEN)
def test_broken(fault_server: FaultServer, hasty: native.Client, name: str) -> None:
    fault_server.script(PATH, BROKEN[name])
    error = error_of(lambda: get(hasty))
    assert error.error in ("no_length", "protocol", "truncated", "reset", "stall_timeout", "too_large")
    assert error.attempts == 2


@pytest.mark.parametrize("name", BROKEN)
def test_broken_once(fault_server: FaultServer, hasty: native.Client, name: str) -> None:
    fault_server.script(PATH, [BROKEN[name], OBJECT])
    assert get(hasty) == DATA


@pytest.mark.parametrize("name", BROKEN)
def test_broken_while_streamed(fault_server: FaultServer, hasty: native.Client, name: str) -> None:
    fault_server.script(PATH, BROKEN[name])
    assert error_of(lambda: list(read_stream(open_stream(hasty)))).error


@pytest.mark.parametrize("name", BROKEN)
def test_the_same_for_a_range(fault_server: FaultServer, hasty: native.Client, name: str) -> None:
    fault_server.script(PATH, BROKEN[name].header("Content-Range", f"bytes 0-{len(DATA) - 1}/{len(DATA)}"))
    assert error_of(lambda: native.get_range(hasty, "key", 0, len(DATA), None)).error


ODD = {
    "no reason": OK.but(status_line=b"HTTP/1.1 200 "),
    "a long reason": OK.but(reason="because " * 1000),
    "HTTP/1.0": OK.but(version="HTTP/1.0", after="fin"),
    "HTTP/1.0, kept open": OK.but(version="HTTP/1.0"),
    "a header in another case": raw(b"HTTP/1.1 200 OK", LENGTH.upper()),
    "spaces around a value": raw(b"HTTP/1.1 200 OK", b"Content-Length:   %d  " % len(DATA)),
    "an empty value": raw(b"HTTP/1.1 200 OK", b"x-empty:", LENGTH),
    "chunks": OK.but(framing="chunked"),
    "chunks and trailers": OK.but(framing="chunked", trailers=(("x-checksum", "1"), ("x-more", "2"))),
    "one chunk a byte": Response.of(DATA).but(framing="chunked", chunk_bytes=1),
    "interim answers": OK.but(interim=(100, 102, 103)),
    "a server that closes": OK.header("Connection", "close").but(after="fin"),
    "a server that resets at the end": OK.but(after="fin"),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_but_right(fault_server: FaultServer, client: native.Client, name: str) -> None:
    fault_server.script(PATH, ODD[name])
    assert [get(client), get(client), get(client)] == [DATA] * 3
    assert len(fault_server.requests) == 3


@pytest.mark.parametrize("size", [60_000, 200_000])
def test_large_headers(fault_server: FaultServer, client: native.Client, size: int) -> None:
    fault_server.script(PATH, OK.header("x-amz-meta-large", "v" * size))
    done = request(client).perform()
    assert done.response[1]["x-amz-meta-large"] == "v" * size


@pytest.mark.parametrize("headers", [(("x-large", "v" * 900_000),), tuple(("x-many", "v" * 90) for _ in range(20_000))])
def test_headers_without_end(
    fault_server: FaultServer, hasty: native.Client, headers: tuple[tuple[str, str], ...]
) -> None:
    fault_server.script(PATH, OK.but(headers=headers))
    assert error_of(lambda: get(hasty)).error in ("protocol", "too_large", "reset", "truncated")


def test_one_header_line_without_end(fault_server: FaultServer, connect: Connect) -> None:
    fault_server.script(PATH, Response.raw(b"HTTP/1.1 200 OK\r\nx-large: " + b"v" * (24 << 20), after="hold"))
    began = time.monotonic()
    error = error_of(lambda: get(connect(max_retries=0, stall_timeout_ms=500)))
    assert error.error in ("protocol", "too_large", "stall_timeout")
    assert time.monotonic() - began < 10


def test_headers_of_one_name(fault_server: FaultServer, client: native.Client) -> None:
    fault_server.script(PATH, OK.but(headers=(("x-a", "1"), ("X-A", "2"), ("x-b", "\u00e9"))))
    headers = request(client).perform().response[1]
    assert headers["x-a"] == "1, 2"
    assert headers["x-b"].encode("utf-8", "surrogateescape") == b"\xe9"


@pytest.mark.parametrize("status", [204, 205])
def test_no_content(fault_server: FaultServer, client: native.Client, status: int) -> None:
    fault_server.script(PATH, Response(status))
    assert get(client) == b""
    assert request(client, "DELETE").perform().response[0] == status


def test_an_empty_object(fault_server: FaultServer, client: native.Client) -> None:
    fault_server.script(PATH, Object(b""))
    done = request(client).perform()
    assert (done.response[2], bytes(done.take_body())) == (0, b"")


@pytest.mark.parametrize("framing", ["length", "chunked", "none"])
def test_head_has_no_body(fault_server: FaultServer, client: native.Client, framing: str) -> None:
    fault_server.script(PATH, OK.but(framing=framing))
    for _ in range(2):
        done = request(client, "HEAD").perform()
        assert done.response[0] == 200
        assert done.response[2] == (len(DATA) if framing == "length" else None)
        assert bytes(done.take_body()) == b""


def test_an_unasked_answer_on_an_idle_connection(fault_server: FaultServer, client: native.Client) -> None:
    stray = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstray"
    head = b"HTTP/1.1 200 OK\r\n" + LENGTH + b"\r\n\r\n"
    fault_server.script(PATH, [Response.raw(head + DATA + stray, after="keep"), OBJECT])
    assert get(client) == DATA
    assert get(client) == DATA


def test_a_body_beyond_the_limit(fault_server: FaultServer, connect: Connect) -> None:
    fault_server.script(PATH, OK)
    error = error_of(lambda: get(connect(max_retries=0), collect_limit=len(DATA) - 1))
    assert error.error == "too_large"
    fault_server.script(PATH, OK.but(framing="chunked"))
    assert error_of(lambda: get(connect(max_retries=0), collect_limit=1000)).error == "too_large"
