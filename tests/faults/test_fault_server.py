"""The fault server does what it is told, byte by byte: seen by a raw client, so that the tests of
cumulo's behaviour may trust it. test_fault_connections.py looks at connections and TLS."""

from __future__ import annotations

import gzip
import hashlib
import time
import zlib
from base64 import b64decode, b64encode
from collections.abc import Iterator

import pytest

from . import (
    BadChunk,
    Cut,
    Delay,
    FaultServer,
    Faulty,
    Flip,
    Object,
    Request,
    Response,
    Stall,
    Trickle,
    Upload,
    error_document,
)
from .checksums import crc32c, crc64nvme
from .rawclient import RawClient

DATA = bytes(range(256)) * 4


@pytest.fixture
def client(fault_server: FaultServer) -> Iterator[RawClient]:
    """A connection to the server."""
    with RawClient(fault_server.url) as client:
        yield client


def test_unscripted_paths_are_404(client: RawClient, fault_server: FaultServer) -> None:
    assert client.get("/nothing").status == 404
    assert fault_server.requests[0].status == 404


def test_the_last_step_repeats(client: RawClient, fault_server: FaultServer) -> None:
    fault_server.script("/k", [Response.error(503, retry_after=2), Response.error(429), Response.of(b"ok")])
    answers = [client.get("/k") for _ in range(4)]
    assert [each.status for each in answers] == [503, 429, 200, 200]
    assert answers[0].header("retry-after") == "2"
    assert b"<Code>SlowDown</Code>" in answers[0].body


def test_the_narrowest_script_wins(client: RawClient, fault_server: FaultServer) -> None:
    fault_server.script("/b/*", Response.of(b"prefix"))
    fault_server.script("/b/k", Response.of(b"path"))
    fault_server.script("/b/k", Response.of(b"head"), method="DELETE")
    fault_server.script("/b/k?uploadId", Response.of(b"name"))
    fault_server.script("/b/k?uploadId&partNumber=2", Response.of(b"value"))
    paths = ["/b/x", "/b/k", "/b/k?uploadId=1", "/b/k?partNumber=2&uploadId=1", "/b/k?partNumber=3&uploadId=1"]
    assert [client.get(path).body for path in paths] == [b"prefix", b"path", b"name", b"value", b"name"]


def test_requests_are_recorded(client: RawClient, fault_server: FaultServer) -> None:
    fault_server.script("/b/*", Response())
    client.send("PUT", "/b/a%20b?x=%2F", b"body", {"X-Amz-Meta-A": "1"})
    client.answer()
    request = fault_server.requests[0]
    assert (request.method, request.target, request.path) == ("PUT", "/b/a%20b?x=%2F", "/b/a%20b")
    assert request.query == {"x": "/"}
    assert request.header("x-amz-meta-a") == "1"
    assert (request.body, request.body_length) == (b"body", 4)
    assert request.body_sha256 == hashlib.sha256(b"body").hexdigest()
    assert request.body_done is not None
    fault_server.wait_for(lambda: request.answered)


def test_a_script_that_raises_is_an_error(client: RawClient, fault_server: FaultServer) -> None:
    def broken(request: Request) -> Response:
        raise KeyError(request.target)

    fault_server.script("/k", broken)
    assert client.get("/k").status == 500
    assert isinstance(fault_server.errors.pop(), KeyError)


# Objects


@pytest.mark.parametrize(
    ("wanted", "start", "end"), [("0-9", 0, 10), ("1000-", 1000, 1024), ("-24", 1000, 1024), ("1000-5000", 1000, 1024)]
)
def test_ranges(client: RawClient, fault_server: FaultServer, wanted: str, start: int, end: int) -> None:
    fault_server.script("/k", Object(DATA))
    answer = client.get("/k", {"Range": f"bytes={wanted}"})
    assert (answer.status, answer.body) == (206, DATA[start:end])
    assert answer.header("content-range") == f"bytes {start}-{end - 1}/1024"


@pytest.mark.parametrize("wanted", ["1024-", "2000-3000", "-0"])
def test_unsatisfiable_ranges(client: RawClient, fault_server: FaultServer, wanted: str) -> None:
    fault_server.script("/k", Object(DATA))
    answer = client.get("/k", {"Range": f"bytes={wanted}"})
    assert (answer.status, answer.header("content-range")) == (416, "bytes */1024")


def test_dishonest_ranges(client: RawClient, fault_server: FaultServer) -> None:
    answers = {}
    for ranges in ("half", "shifted", "relabelled", "ignored"):
        fault_server.script("/k", Object(DATA, ranges=ranges))
        answer = client.get("/k", {"Range": "bytes=10-19"})
        answers[ranges] = answer.status, answer.header("content-range"), answer.body
    assert answers["half"] == (206, "bytes 10-19/1024", DATA[10:15])
    assert answers["shifted"] == (206, "bytes 11-20/1024", DATA[11:21])
    assert answers["relabelled"] == (206, "bytes 10-19/1024", DATA[11:21])
    assert answers["ignored"] == (200, None, DATA)


def test_conditions(client: RawClient, fault_server: FaultServer) -> None:
    thing = Object(DATA)
    fault_server.script("/k", thing)
    etag, past, future = thing.current_etag, "Mon, 01 Jan 2001 00:00:00 GMT", "Fri, 01 Jan 2100 00:00:00 GMT"
    headers = [
        {"If-Match": etag},
        {"If-Match": '"other"'},
        {"If-None-Match": etag},
        {"If-None-Match": '"other"'},
        {"If-Modified-Since": future},
        {"If-Modified-Since": past},
        {"If-Unmodified-Since": past},
        {"If-Unmodified-Since": future},
    ]
    assert [client.get("/k", each).status for each in headers] == [200, 412, 304, 200, 304, 200, 412, 200]


def test_writing(client: RawClient, fault_server: FaultServer) -> None:
    fault_server.script("/k", Object(None))
    create, statuses = {"If-None-Match": "*"}, list[int]()
    for method, body, headers in [
        ("GET", b"", {}),
        ("PUT", b"one", create),
        ("PUT", b"two", create),
        ("PUT", b"two", {"If-Match": '"other"'}),
        ("DELETE", b"", {}),
        ("GET", b"", {}),
    ]:
        client.send(method, "/k", body, headers)
        statuses.append(client.answer().status)
    assert statuses == [404, 200, 412, 412, 204, 404]


def test_head_has_the_length_and_no_body(client: RawClient, fault_server: FaultServer) -> None:
    fault_server.script("/k", Object(DATA))
    client.send("HEAD", "/k")
    answer = client.answer(body=False)
    assert answer.header("content-length") == "1024"
    assert client.get("/k").body == DATA


def test_an_object_replaced_between_requests(client: RawClient, fault_server: FaultServer) -> None:
    fault_server.script("/k", [Object(b"old"), Object(b"new")])
    first, second = client.get("/k"), client.get("/k")
    assert (first.body, second.body) == (b"old", b"new")
    assert first.header("etag") != second.header("etag")


def test_known_checksums() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    assert crc64nvme(b"123456789") == 0xAE8B14860A799888


def test_a_flipped_bit_under_right_checksums(client: RawClient, fault_server: FaultServer) -> None:
    names = ("crc32", "crc32c", "crc64nvme", "sha256", "md5")
    fault_server.script("/k", Faulty(Object(DATA, checksums=names), Flip(100)))
    answer = client.get("/k", {"x-amz-checksum-mode": "ENABLED"})
    assert [at for at, byte in enumerate(answer.body) if byte != DATA[at]] == [100]
    assert b64decode(answer.header("x-amz-checksum-crc32") or "") == zlib.crc32(DATA).to_bytes(4, "big")
    assert answer.header("content-md5") == b64encode(hashlib.md5(DATA).digest()).decode()
    assert all(answer.header(f"x-amz-checksum-{name}") for name in names[:-1])
    assert client.get("/k").header("x-amz-checksum-crc32") is None


def test_a_multipart_upload(client: RawClient, fault_server: FaultServer) -> None:
    upload = Upload()
    fault_server.script("/k", upload)
    client.send("POST", "/k?uploads")
    assert b"<UploadId>upload-1</UploadId>" in client.answer().body
    for number, part in ((2, b"two"), (1, b"one")):
        client.send("PUT", f"/k?partNumber={number}&uploadId=upload-1", part)
        assert client.answer().header("etag") == f'"{hashlib.md5(part).hexdigest()}"'
    client.send("POST", "/k?uploadId=upload-1", b"<CompleteMultipartUpload/>")
    assert b"CompleteMultipartUploadResult" in client.answer().body
    assert client.get("/k").body == b"onetwo"
    assert upload.completed == ["upload-1"]
    assert not upload.parts


def test_a_lost_reply_keeps_its_effect(client: RawClient, fault_server: FaultServer) -> None:
    thing = Object(None)
    fault_server.script("/k", [Faulty(thing, Cut()), thing])
    client.send("PUT", "/k", b"data")
    assert client.rest() == (b"", "fin")
    with RawClient(fault_server.url) as again:
        assert again.get("/k").body == b"data"


# Timing


def test_a_delay_before_the_head(client: RawClient, fault_server: FaultServer) -> None:
    fault_server.script("/k", Response.of(b"late").having(Delay(0.1)))
    started = time.monotonic()
    assert client.get("/k").body == b"late"
    assert time.monotonic() - started >= 0.1


def test_a_stall_until_released(client: RawClient, fault_server: FaultServer) -> None:
    fault_server.script("/k", Response.of(DATA).having(Stall(after=10)))
    client.send("GET", "/k")
    client.until(b"\r\n\r\n")
    assert client.exactly(10) == DATA[:10]
    fault_server.wait_for(lambda: fault_server.stalled == 1)
    client.sock.settimeout(0.05)
    with pytest.raises(TimeoutError):
        client.exactly(1)
    fault_server.release()
    client.sock.settimeout(30)
    assert client.exactly(len(DATA) - 10) == DATA[10:]


def test_a_stall_before_the_head_that_ends(client: RawClient, fault_server: FaultServer) -> None:
    fault_server.script("/k", [Response.of(b"a").having(Stall(None, 0.05)), Response.never()])
    assert client.get("/k").body == b"a"
    client.send("GET", "/k")
    fault_server.wait_for(lambda: fault_server.stalled == 1)
    client.sock.close()
    fault_server.wait_for(lambda: fault_server.stalled == 0)
    assert fault_server.connections.closed_by_peer == 1
    assert fault_server.requests[-1].answered is None


def test_a_trickle(client: RawClient, fault_server: FaultServer) -> None:
    fault_server.script("/k", Response.of(DATA).having(Trickle(10_240)))
    started = time.monotonic()
    assert client.get("/k").body == DATA
    assert time.monotonic() - started >= 0.07


def test_slow_and_stalled_reading(client: RawClient, fault_server: FaultServer) -> None:
    fault_server.script("/k", [Response(read_rate=100_000), Faulty(Object(None), read_stall=5000)])
    started = time.monotonic()
    client.send("PUT", "/k", b"x" * 10_000)
    client.answer()
    assert time.monotonic() - started >= 0.07
    client.send("PUT", "/k", b"x" * 10_000)
    fault_server.wait_for(lambda: fault_server.stalled == 1)
    assert fault_server.requests[-1].body_length == 5000
    fault_server.release()
    assert client.answer().status == 200


# Cuts and framing


@pytest.mark.parametrize("how", ["fin", "rst"])
def test_a_body_cut(client: RawClient, fault_server: FaultServer, how: str) -> None:
    fault_server.script("/k", Response.of(DATA).having(Cut(100, how)))  # pyright: ignore[reportArgumentType]
    client.send("GET", "/k")
    assert b"Content-Length: 1024" in client.until(b"\r\n\r\n")
    assert client.rest() == (DATA[:100], how)
    assert fault_server.connections.closed_by_server == 1


def test_a_large_body_cut_is_delivered_up_to_the_cut(client: RawClient, fault_server: FaultServer) -> None:
    data = bytes(8 << 20)
    fault_server.script("/k", Response.of(data).having(Cut(5 << 20, "rst")))
    client.send("GET", "/k")
    client.until(b"\r\n\r\n")
    assert len(client.rest()[0]) == 5 << 20


@pytest.mark.parametrize("how", ["fin", "rst"])
def test_what_came_before_a_cut_waits_for_a_client_that_reads_late(fault_server: FaultServer, how: str) -> None:
    data = bytes(1 << 20)
    fault_server.script("/k", Response.of(data).having(Cut(len(data) - 1, how)))  # pyright: ignore[reportArgumentType]
    with RawClient(fault_server.url) as client:
        client.send("GET", "/k")
        client.until(b"\r\n\r\n")
        time.sleep(1.5)  # the client's kernel takes little of it meanwhile, and the server's has the rest
        assert client.rest() == (data[:-1], how)


@pytest.mark.parametrize("how", ["fin", "rst"])
def test_a_dropped_request(client: RawClient, fault_server: FaultServer, how: str) -> None:
    fault_server.script("/k", Response.dropped(how))  # pyright: ignore[reportArgumentType]
    client.send("GET", "/k")
    assert client.rest() == (b"", how)


def test_neither_length_nor_chunking(client: RawClient, fault_server: FaultServer) -> None:
    fault_server.script("/k", [Response.of(DATA).but(framing="none")])
    client.send("GET", "/k")
    head = client.until(b"\r\n\r\n")
    assert b"Content-Length" not in head
    assert b"Transfer-Encoding" not in head
    assert client.rest() == (DATA, "fin")


def test_chunked_and_its_trailers(client: RawClient, fault_server: FaultServer) -> None:
    response = Response.of(DATA).but(framing="chunked", chunk_bytes=100, trailers=(("x-amz-checksum-crc32", "AAAA"),))
    fault_server.script("/k", response)
    assert client.get("/k").body == DATA
    client.send("GET", "/k")
    client.until(b"\r\n\r\n")
    assert client.until(b"0\r\nx-amz-checksum-crc32: AAAA\r\n\r\n").startswith(b"64\r\n")


def test_a_bad_chunk_size(client: RawClient, fault_server: FaultServer) -> None:
    fault_server.script("/k", Response.of(DATA).but(framing="chunked", chunk_bytes=100).having(BadChunk(1, b"zz")))
    client.send("GET", "/k")
    client.until(b"\r\n\r\n")
    assert client.exactly(104 + 3) == b"64\r\n" + DATA[:100] + b"\r\nzz\r"[:3]


def test_a_cut_chunk(client: RawClient, fault_server: FaultServer) -> None:
    fault_server.script("/k", Response.of(DATA).but(framing="chunked").having(Cut(50)))
    client.send("GET", "/k")
    client.until(b"\r\n\r\n")
    assert client.rest() == (b"400\r\n" + DATA[:45], "fin")


def test_a_wrong_content_length(client: RawClient, fault_server: FaultServer) -> None:
    fault_server.script("/k", Response.of(b"abc").but(content_length=10, after="fin"))
    client.send("GET", "/k")
    assert b"Content-Length: 10\r\n" in client.until(b"\r\n\r\n")
    assert client.rest() == (b"abc", "fin")


def test_odd_heads(client: RawClient, fault_server: FaultServer) -> None:
    steps = [
        Response.of(b"a").but(status_line=b"HTTP/1.1 200"),
        Response.of(b"b").but(newline=b"\n", after="fin"),
    ]
    fault_server.script("/k", steps)
    assert client.get("/k").status_line == b"HTTP/1.1 200"
    client.send("GET", "/k")
    raw, _ = client.rest()
    assert raw.startswith(b"HTTP/1.1 200 OK\n")
    assert raw.endswith(b"\n\nb")
    assert b"\r" not in raw


def test_http_1_0(client: RawClient, fault_server: FaultServer) -> None:
    fault_server.script("/k", Response.of(b"old").but(version="HTTP/1.0", framing="none"))
    client.send("GET", "/k")
    raw, how = client.rest()
    assert raw.startswith(b"HTTP/1.0 200 OK\r\n")
    assert raw.endswith(b"\r\n\r\nold")
    assert how == "fin"


def test_huge_headers(client: RawClient, fault_server: FaultServer) -> None:
    fault_server.script("/k", Response.of(b"ok").header("x-amz-meta-huge", "x" * 200_000))
    answer = client.get("/k")
    assert len(answer.header("x-amz-meta-huge") or "") == 200_000
    assert answer.body == b"ok"


def test_garbage(client: RawClient, fault_server: FaultServer) -> None:
    fault_server.script("/k", Response.raw(b"\x00\xffgarbage"))
    client.send("GET", "/k")
    assert client.rest() == (b"\x00\xffgarbage", "fin")


# Request bodies


def test_expect_continue(client: RawClient, fault_server: FaultServer) -> None:
    fault_server.script("/k", Response())
    client.send("PUT", "/k", headers={"Expect": "100-continue", "Content-Length": "4"})
    assert client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.sock.sendall(b"data")
    assert client.answer().status == 200
    assert fault_server.requests[0].body == b"data"


def test_unasked_interim_responses(client: RawClient, fault_server: FaultServer) -> None:
    fault_server.script("/k", Response.of(b"ok").but(interim=(100, 103)))
    answer = client.get("/k")
    assert answer.interim == [b"HTTP/1.1 100 Continue", b"HTTP/1.1 103 Early Hints"]
    assert answer.body == b"ok"


def test_an_early_answer_leaves_the_body_unread(client: RawClient, fault_server: FaultServer) -> None:
    fault_server.script("/k", Response.error(413).but(read_body=False))
    client.send("PUT", "/k", b"x" * 1000, {"Content-Length": "1000000000"})
    answer = client.answer()
    assert (answer.status, fault_server.requests[0].body_length) == (413, 0)
    fault_server.wait_for(lambda: fault_server.connections.closed_by_server == 1)


def test_chunked_request_bodies(client: RawClient, fault_server: FaultServer) -> None:
    aws = b"4;chunk-signature=0\r\ndata\r\n0;chunk-signature=0\r\nx-amz-checksum-crc32:AAAA\r\n\r\n"
    thing = Object(None)
    fault_server.script("/k", thing)
    client.send("PUT", "/k", b"2\r\nda\r\n2\r\nta\r\n0\r\n\r\n", {"Transfer-Encoding": "chunked"})
    assert client.answer().status == 200
    assert thing.data == b"data"
    client.send("PUT", "/k", aws, {"Content-Encoding": "aws-chunked"})
    assert client.answer().status == 200
    assert thing.data == b"data"


# Answers that mean trouble


@pytest.mark.parametrize(
    ("response", "status", "needle"),
    [
        (Response.error(400), 400, b"RequestTimeout"),
        (Response.error(403, "RequestTimeTooSkewed", date=86400.0), 403, b"RequestTimeTooSkewed"),
        (Response.error(401), 401, b"ExpiredToken"),
        (Response.error(403, "ExpiredToken"), 403, b"ExpiredToken"),
        (Response.error(409), 409, b"ConditionalRequestConflict"),
        (Response.xml(error_document("InternalError")), 200, b"<Error><Code>InternalError"),
        (Response.redirect("http://127.0.0.2/k"), 307, b"TemporaryRedirect"),
        (Response.json({"Token": "t"}), 200, b'{"Token": "t"}'),
    ],
)
def test_errors(client: RawClient, fault_server: FaultServer, response: Response, status: int, needle: bytes) -> None:
    fault_server.script("/k", response)
    answer = client.get("/k")
    assert answer.status == status
    assert needle in answer.body
    if status == 307:
        assert answer.header("location") == "http://127.0.0.2/k"


def test_a_date_header_of_choice(client: RawClient, fault_server: FaultServer) -> None:
    fault_server.script("/k", Response.error(403, "RequestTimeTooSkewed", date=86400.0))
    dates = [value for name, value in client.get("/k").headers if name.lower() == "date"]
    assert dates == ["Fri, 02 Jan 1970 00:00:00 GMT"]


def test_a_long_html_page(client: RawClient, fault_server: FaultServer) -> None:
    fault_server.script("/k", Response.html(502))
    answer = client.get("/k")
    assert answer.status == 502
    assert 90_000 < len(answer.body) < 110_000


def test_gzip_content_encoding(client: RawClient, fault_server: FaultServer) -> None:
    fault_server.script("/k", Object(gzip.compress(DATA), headers=(("Content-Encoding", "gzip"),)))
    answer = client.get("/k")
    assert answer.header("content-encoding") == "gzip"
    assert gzip.decompress(answer.body) == DATA
