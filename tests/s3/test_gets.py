"""get and get_ranges: what goes over the wire, and objects that change or break while they are read."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import pytest

from cumulo.exceptions import (
    ChecksumError,
    ConnectionFailedError,
    GenericError,
    NotFoundError,
    NotModifiedError,
    ObjectChangedError,
    PreconditionError,
)
from cumulo.store import S3Store
from tests.faults import Cut, FaultServer, Faulty, Flip, Object, Request, Response
from tests.servers import S3Server

from .support import MIB, PATH, fault_store, server_store

DATA = os.urandom(100_000)
LARGE = os.urandom(12 * MIB)
"""More than is fetched unasked."""
WHEN = datetime(2024, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
HTTP_WHEN = "Tue, 02 Jan 2024 03:04:05 GMT"


@pytest.mark.parametrize(
    ("options", "header", "value"),
    [
        ({"if_match": '"a"'}, "If-Match", '"a"'),
        ({"if_match": "*"}, "If-Match", "*"),
        ({"if_none_match": '"a", "b"'}, "If-None-Match", '"a", "b"'),
        ({"if_modified_since": WHEN}, "If-Modified-Since", HTTP_WHEN),
        ({"if_unmodified_since": WHEN}, "If-Unmodified-Since", HTTP_WHEN),
        ({"range": (1, 5)}, "Range", "bytes=1-4"),
        ({"range": {"offset": 7}}, "Range", "bytes=7-"),
        ({"range": {"suffix": 7}}, "Range", "bytes=-7"),
    ],
)
@pytest.mark.parametrize("head", [False, True])
def test_options_on_the_wire(
    fault_server: FaultServer, faulty: S3Store, options: Any, header: str, value: str, head: bool
) -> None:
    fault_server.script(PATH, Object(DATA, etag='"a"', modified=WHEN.timestamp() - 9))
    try:
        faulty.get("key", options={**options, "head": head}).bytes()
    except NotModifiedError:
        assert header in ("If-None-Match", "If-Modified-Since")
    if not (head and header == "Range"):  # HEAD tells of the whole object
        assert fault_server.requests[0].header(header) == value
    assert len(fault_server.requests) == 1


def test_versions_on_a_real_server(ministack: S3Server) -> None:
    store = server_store(ministack, bucket=ministack.new_bucket(versioned=True))
    first, second = store.put("x", b"one"), store.put("x", b"two")
    assert first["version"] != second["version"]
    assert store.get("x").bytes() == b"two"
    old = store.get("x", options={"version": first["version"]})
    assert (old.bytes(), old.meta["version"]) == (b"one", first["version"])
    assert store.head("x")["version"] == second["version"]
    store.delete("x")
    with pytest.raises(NotFoundError):
        store.get("x")
    assert store.get("x", options={"version": second["version"]}).bytes() == b"two"


def test_conditions_on_real_servers(server: S3Server) -> None:
    store = server_store(server)
    etag = store.put("x", b"0123")["e_tag"]
    assert store.get("x", options={"if_match": etag, "range": (1, 3)}).bytes() == b"12"
    for head in (False, True):
        with pytest.raises(PreconditionError):
            store.get("x", options={"if_match": '"other"', "head": head})
        with pytest.raises(NotModifiedError):
            store.get("x", options={"if_none_match": etag, "head": head})


@pytest.mark.parametrize(
    ("spans", "coalesce", "requests"),
    [
        ([(0, 10), (10, 20)], 0, ["0-9", "10-19"]),
        ([(0, 10), (5, 20)], 0, ["0-9", "5-19"]),
        ([(0, 10), (0, 10)], 0, ["0-9", "0-9"]),
        ([(0, 10), (10, 20)], 1, ["0-19"]),
        ([(0, 10), (11, 20)], 1, ["0-19"]),
        ([(0, 10), (12, 20)], 1, ["0-9", "12-19"]),
        ([(500, 600), (0, 10), (5, 20)], 100, ["0-19", "500-599"]),
        ([(0, 50), (10, 20), (30, 60)], 1, ["0-59"]),
        ([(0, 10), (50_000, 50_010), (99_990, 200_000)], MIB, ["0-199999"]),
    ],
)
def test_how_many_requests_ranges_are(
    fault_server: FaultServer, faulty: S3Store, spans: list[tuple[int, int]], coalesce: int, requests: list[str]
) -> None:
    fault_server.script(PATH, Object(DATA))
    starts, ends = zip(*spans, strict=True)
    found = faulty.get_ranges("key", starts=list(starts), ends=list(ends), coalesce=coalesce)
    assert [bytes(part) for part in found] == [DATA[start:end] for start, end in spans]
    assert sorted(each.header("range") or "" for each in fault_server.requests) == [
        f"bytes={r}" for r in sorted(requests)
    ]


def _replaced_after(number: int, obj: Object) -> Callable[[Request], Response]:
    """The object becomes another after so many requests."""
    seen = 0

    def step(request: Request) -> Response:
        nonlocal seen
        seen += 1
        if seen == number + 1:
            obj.replace(os.urandom(len(DATA)))
        return obj(request)

    return step


def test_an_object_replaced_between_ranges(fault_server: FaultServer, faulty: S3Store) -> None:
    obj = Object(DATA)
    before = obj.current_etag
    fault_server.script(PATH, _replaced_after(2, obj))
    with pytest.raises(ObjectChangedError) as caught:
        faulty.get_ranges("key", starts=[0, 1000, 2000, 3000], lengths=[9] * 4, coalesce=0)
    assert before in str(caught.value)
    assert obj.current_etag in str(caught.value)
    assert (caught.value.operation, caught.value.path, caught.value.store) == ("get_ranges", "key", repr(faulty))


@pytest.mark.parametrize("streamed", [False, True])
def test_a_part_that_breaks_off_and_is_replaced(fault_server: FaultServer, faulty: S3Store, streamed: bool) -> None:
    """What is refused as it goes on says nothing of what there is now: the object is asked."""
    obj = Object(LARGE)
    before = obj.current_etag

    def cut_and_replace(request: Request) -> Response:
        response = obj(request)
        if request.header("range") is None:
            return response
        obj.replace(LARGE[::-1])
        return response.having(Cut(MIB))

    fault_server.script(PATH, cut_and_replace)
    result = faulty.get("key", max_concurrency=2)
    with pytest.raises(ObjectChangedError) as caught:
        list(result.stream()) if streamed else result.bytes()
    assert f"its ETag was {before}, now {obj.current_etag}" in str(caught.value)


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_another_size_and_nothing_to_tell_versions_by(
    fault_server: FaultServer, faulty: S3Store, etag: str | None
) -> None:
    first = Object(LARGE)(Request("GET", PATH, "HTTP/1.1", [], 0, 0, 0.0)).header("ETag", etag)
    fault_server.script(PATH, [first.having(Cut(MIB)), first.but(body=LARGE[:-1])])
    with pytest.raises(ObjectChangedError, match=f"its size was {len(LARGE)} bytes, and is {len(LARGE) - 1} bytes now"):
        faulty.get("key", max_concurrency=1).bytes()


@pytest.mark.parametrize("how", ["fin", "rst"])
@pytest.mark.parametrize("streamed", [False, True])
def test_an_object_replaced_while_it_is_read(
    fault_server: FaultServer, faulty: S3Store, how: Any, streamed: bool
) -> None:
    data = LARGE
    obj = Object(data)
    before = obj.current_etag

    def cut_and_replace(request: Request) -> Response:
        response = obj(request)
        obj.replace(os.urandom(len(data)))
        return response.having(Cut(8 * MIB, how))

    fault_server.script(PATH, [cut_and_replace, obj])
    result = faulty.get("key")
    with pytest.raises(ObjectChangedError) as caught:
        list(result.stream(min_chunk_size=MIB // 2)) if streamed else result.bytes()
    assert before in str(caught.value)
    assert fault_server.requests[1].header("if-match") == before


@pytest.mark.parametrize("how", ["fin", "rst"])
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("asked", [None, (1000, 11_000_000), {"suffix": 11_000_000}])
def test_a_body_goes_on_where_it_was_cut(
    fault_server: FaultServer, faulty: S3Store, how: Any, streamed: bool, asked: Any
) -> None:
    data = LARGE
    obj = Object(data)
    cut = Faulty(obj, Cut(4 * MIB, how))
    fault_server.script(PATH, [cut, cut, obj])
    result = faulty.get("key", options={"range": asked}, max_concurrency=1)
    body = b"".join(result.stream(min_chunk_size=700_000)) if streamed else result.bytes()
    start, end = result.range
    assert body == data[start:end]
    assert len(fault_server.requests) == 3
    for request in fault_server.requests[1:]:
        assert request.header("if-match") == obj.current_etag


def test_a_weak_etag_is_nothing_to_go_on_by(fault_server: FaultServer, faulty: S3Store) -> None:
    """Where nobody has seen the first bytes it begins anew; a stream's were handed out, so it fails."""
    obj = Object(LARGE, etag='W/"a"')
    fault_server.script(PATH, [Faulty(obj, Cut(8 * MIB)), obj])
    assert faulty.get("key").bytes() == LARGE
    assert fault_server.requests[1].header("range") is None
    fault_server.script(PATH, [Faulty(obj, Cut(8 * MIB)), obj])
    stream = faulty.get("key").stream(min_chunk_size=MIB // 2)
    with pytest.raises(ConnectionFailedError):
        list(stream)


SUMS = ["crc32", "crc32c", "crc64nvme", "sha1", "sha256"]


# Large bodies by the sums that Python has: the others it would compute byte by byte. In parts: test_parallel.py.
@pytest.mark.parametrize(
    ("algorithm", "size"), [(name, 1000) for name in SUMS] + [(name, 5 * MIB) for name in ("crc32", "sha1", "sha256")]
)
def test_a_body_that_does_not_match_its_checksum(
    fault_server: FaultServer, faulty: S3Store, algorithm: str, size: int
) -> None:
    obj = Object(LARGE[:size], checksums=[algorithm])
    fault_server.script(PATH, obj)
    assert faulty.get("key").bytes() == obj.data
    fault_server.script(PATH, Faulty(obj, Flip(500)))
    with pytest.raises(ChecksumError):
        faulty.get("key").bytes()
    with pytest.raises(ChecksumError):
        list(faulty.get("key").stream(min_chunk_size=size // 7))


@pytest.mark.parametrize("algorithm", SUMS)
def test_such_a_body_is_fetched_once_more(fault_server: FaultServer, faulty: S3Store, algorithm: str) -> None:
    obj = Object(DATA, checksums=[algorithm])
    told = []
    for steps in ([Faulty(obj, Flip(500)), obj], [Faulty(obj, Flip(500))]):
        fault_server.script(PATH, steps)
        try:
            told.append(faulty.get("key").bytes() == DATA)
        except ChecksumError as error:  # not kept: a failing test's traceback would keep the request alive
            told.append(error.attempts)
    assert told == [True, 2]


def test_a_checksum_of_parts_is_none_of_the_body(fault_server: FaultServer, faulty: S3Store) -> None:
    """S3 sends them for multipart uploads, with the number of parts."""
    headers = (("x-amz-checksum-crc32", "AAAAAA==-2"), ("x-amz-checksum-type", "COMPOSITE"))
    fault_server.script(PATH, Object(DATA, headers=headers))
    assert faulty.get("key").bytes() == DATA


@pytest.mark.parametrize("ranges", ["half", "shifted", "ignored"])
@pytest.mark.parametrize("verb", ["get", "get_range", "get_ranges"])
def test_ranges_that_lie(fault_server: FaultServer, faulty: S3Store, ranges: Any, verb: str) -> None:
    """An error or the right bytes, never others or fewer. (A whole object instead of a range is refused.)"""
    fault_server.script(PATH, Object(DATA, ranges=ranges))
    calls: dict[str, Callable[[], Any]] = {
        "get": lambda: faulty.get("key", options={"range": (1000, 3000)}).bytes(),
        "get_range": lambda: faulty.get_range("key", start=1000, end=3000),
        "get_ranges": lambda: faulty.get_ranges("key", starts=[1000], ends=[3000])[0],
    }
    with pytest.raises(GenericError):
        calls[verb]()


@pytest.mark.parametrize("size", [1000, 400_000, 9 * MIB])
@pytest.mark.parametrize("streamed", [False, True])
def test_a_range_that_is_shorter_than_it_says_goes_on(
    fault_server: FaultServer, faulty: S3Store, streamed: bool, size: int
) -> None:
    """A Content-Length that is right for the body, which ends before the Content-Range does."""
    whole = Object(LARGE)
    fault_server.script(PATH, [Object(LARGE, etag=whole.current_etag, ranges="half"), whole])
    result = faulty.get("key", options={"range": (1000, 1000 + size)})
    content = b"".join(result.stream(100_000)) if streamed else result.bytes()
    assert content == LARGE[1000 : 1000 + size]


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("size", [1000, 9 * MIB])
@pytest.mark.parametrize("streamed", [False, True])
def test_a_range_that_is_longer_than_it_says(
    fault_server: FaultServer, faulty: S3Store, streamed: bool, size: int, framing: Any
) -> None:
    """Whose bytes are they? There is no room for them, so who reads would wait for ever."""
    whole = Object(LARGE)
    longer = LARGE[1000 : 1000 + size + 200_000]
    fault_server.script(PATH, lambda request: whole(request).but(body=longer, framing=framing))

    def fetch() -> None:
        result = faulty.get("key", options={"range": (1000, 1000 + size)}, max_concurrency=1)
        _ = list(result.stream(100_000)) if streamed else result.bytes()

    with pytest.raises(GenericError, match="other bytes than those asked for"):
        fetch()


@pytest.mark.parametrize("size", [1000, 9 * MIB])
@pytest.mark.parametrize("streamed", [False, True])
def test_a_range_in_chunks_that_breaks_off_behind_its_last_byte(
    fault_server: FaultServer, faulty: S3Store, streamed: bool, size: int
) -> None:
    """All that its Content-Range has is here; there is no rest to ask for."""
    whole = Object(LARGE)

    def cut(request: Request) -> Response:
        answer = whole(request).but(framing="chunked", chunk_bytes=size)
        return answer.having(Cut(len(f"{size:x}\r\n") + size + 2))

    fault_server.script(PATH, [cut, Response.error(416)])
    result = faulty.get("key", options={"range": (1000, 1000 + size)}, max_concurrency=1)
    content = b"".join(result.stream(100_000)) if streamed else result.bytes()
    assert content == LARGE[1000 : 1000 + size]


@pytest.mark.parametrize("framing", ["none", "chunked"])
def test_bodies_of_unknown_length(fault_server: FaultServer, faulty: S3Store, framing: Any) -> None:
    """Ended by the connection alone, nothing says whether it is whole. get's metadata needs a size anyway."""
    fault_server.script(PATH, Faulty(Object(DATA), framing=framing))
    with pytest.raises(GenericError):
        faulty.get("key").bytes()


def test_gzip_stays_as_it_is_stored(server: S3Server) -> None:
    store = server_store(server)
    packed = gzip.compress(b"text" * 1000)
    store.put("x", packed, attributes={"Content-Encoding": "gzip", "Content-Type": "text/plain"})
    result = store.get("x")
    assert result.attributes["Content-Encoding"] == "gzip"
    assert result.meta["size"] == len(packed)
    assert result.bytes() == packed
    assert b"".join(store.get("x").stream()) == packed
    assert store.get_range("x", start=0, end=2) == b"\x1f\x8b"


def test_nothing_is_asked_to_be_encoded(fault_server: FaultServer, faulty: S3Store) -> None:
    fault_server.script(PATH, Object(DATA))
    faulty.get("key").bytes()
    assert fault_server.requests[0].header("accept-encoding") in (None, "identity")
    assert fault_server.requests[0].header("x-amz-checksum-mode") == "ENABLED"


def test_an_if_match_of_the_caller_holds_for_the_rest_too(fault_server: FaultServer) -> None:
    store = fault_store(fault_server)
    obj = Object(os.urandom(3 * MIB))
    fault_server.script(PATH, [Faulty(obj, Cut(MIB)), obj])
    assert store.get("key", options={"if_match": obj.current_etag}).bytes() == obj.data
    assert [request.header("if-match") for request in fault_server.requests] == [obj.current_etag] * 2
