"""Web servers of all kinds: without ranges, lengths, ETags, dates, HEAD; what can't be read is a clear error."""

from __future__ import annotations

import asyncio
import gzip
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import cumulo
from cumulo import GetResult
from cumulo.exceptions import GenericError, NotSupportedError, ObjectChangedError, RangeNotSatisfiableError
from cumulo.store import HTTPStore
from tests.contract.conftest import gcs_store
from tests.faults import Cut, FaultServer, Object, Request, Response
from tests.servers.gcs import GCSServer

from .support import MIB, READS, bare, web_store

DATA = os.urandom(300_000)
LARGE = os.urandom(6 * MIB + 11)


@pytest.fixture
def plain_server(tmp_path: Path) -> Iterator[str]:
    """Python's http.server on a folder: no ranges, no ETags, HTTP/1.0."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: Any) -> None:
            """A client that has enough hangs up: nothing to print."""

    with Server(("127.0.0.1", 0), partial(Handler, directory=str(tmp_path))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("read", READS)
def test_pythons_http_server(plain_server: str, tmp_path: Path, read: str) -> None:
    (tmp_path / "key").write_bytes(DATA)
    assert READS[read](web_store(plain_server), DATA)


def test_pythons_http_server_can_not_do_more(plain_server: str, tmp_path: Path) -> None:
    store = web_store(plain_server)
    (tmp_path / "key").write_bytes(LARGE)
    assert store.get("key").bytes() == LARGE
    assert store.head("key")["e_tag"] is None
    with pytest.raises(RangeNotSatisfiableError):
        store.get_range("key", start=len(LARGE), length=1)
    for attempt in (lambda: store.put("x", b""), lambda: store.delete("key"), lambda: store.copy("key", "x"),
                    lambda: store.rename("key", "x")):  # fmt: skip
        with pytest.raises(NotSupportedError):
            attempt()
    with pytest.raises(NotSupportedError, match="WebDAV"):
        store.list().collect()
    with pytest.raises(FileNotFoundError):
        store.get("missing")


def _servers() -> dict[str, Any]:
    """Answers to GET and HEAD alike."""
    modified = ("Last-Modified", "Wed, 01 May 2024 10:00:00 GMT")
    return {
        "nothing but a length": bare(DATA),
        "weak ETag": bare(DATA, ("ETag", 'W/"1"'), modified),
        "weak ETag and ranges": Object(DATA, etag='W/"1"'),
        "ignores ranges": Object(DATA, ranges="ignored"),
        "chunks": bare(DATA, framing="chunked"),
        "chunks and a strong ETag": bare(DATA, ("ETag", '"1"'), framing="chunked"),
    }


@pytest.mark.parametrize("server", _servers())
@pytest.mark.parametrize("read", READS)
def test_every_read(fault_server: FaultServer, web: HTTPStore, server: str, read: str) -> None:
    fault_server.script("/data/key", _servers()[server])
    assert READS[read](web, DATA) if (server[:6], read) != ("chunks", "head") else _has_no_length(web)


def _has_no_length(web: HTTPStore) -> bool:
    with pytest.raises(GenericError, match="no Content-Length"):
        web.head("key")
    return True


@pytest.mark.parametrize("server", ["nothing but a length", "ignores ranges", "chunks"])
def test_ranges_that_go_too_far(fault_server: FaultServer, web: HTTPStore, server: str) -> None:
    fault_server.script("/data/key", _servers()[server])
    assert web.get_range("key", start=len(DATA) - 5, length=100) == DATA[-5:]
    assert web.get("key", options={"range": (len(DATA) - 5, 10**9)}).bytes() == DATA[-5:]
    for start in (len(DATA), len(DATA) + 1, 10**12):
        with pytest.raises(RangeNotSatisfiableError):
            web.get_range("key", start=start, length=1)
        with pytest.raises(RangeNotSatisfiableError):
            web.get("key", options={"range": {"offset": start}}).bytes()


def test_a_cut_range_is_as_if_the_server_had_cut_it(fault_server: FaultServer, web: HTTPStore) -> None:
    fault_server.script("/data/key", Object(LARGE, ranges="ignored"))
    result = web.get("key", options={"range": (MIB, MIB + 10)})
    assert (result.range, result.meta["size"]) == ((MIB, MIB + 10), len(LARGE))
    assert result.bytes() == LARGE[MIB : MIB + 10]


def test_no_more_is_read_than_needed(fault_server: FaultServer, web: HTTPStore) -> None:
    huge = bytes(256 * MIB)
    fault_server.script("/data/key", bare(huge))
    assert web.get_range("key", start=100, length=100) == bytes(100)
    assert b"".join(web.get("key", options={"range": (0, 2 * MIB)}).stream(MIB)) == bytes(2 * MIB)
    assert web.stats()["bytes_received"] < 3 * MIB
    fault_server.script("/data/key", bare(huge[: 64 * MIB], framing="chunked"))
    assert web.get_range("key", start=100, length=100) == bytes(100)


def test_a_short_rest_keeps_the_connection(fault_server: FaultServer, web: HTTPStore) -> None:
    fault_server.script("/data/key", bare(DATA[:20_000]))
    for _ in range(5):
        assert web.get_range("key", start=100, length=100) == DATA[100:200]
    assert fault_server.connections.accepted == 1


@pytest.mark.parametrize("etag", ['"strong"', 'W/"weak"', None])
def test_a_cut_range_survives_a_broken_connection(fault_server: FaultServer, web: HTTPStore, etag: str | None) -> None:
    whole = bare(LARGE, *([("ETag", etag)] if etag else []))
    fault_server.script("/data/key", [whole.having(Cut(2 * MIB)), whole])
    assert web.get_range("key", start=MIB, end=3 * MIB) == LARGE[MIB : 3 * MIB]
    fault_server.script("/data/key", [whole.having(Cut(2 * MIB)), whole])
    target = bytearray(2 * MIB)
    assert web.get_into("key", target, options={"range": (MIB, 3 * MIB)}) == 2 * MIB
    assert target == LARGE[MIB : 3 * MIB]


def test_resumed_by_a_server_that_forgot_ranges(fault_server: FaultServer, web: HTTPStore) -> None:
    """A range is cut off, and what comes next is the whole object: not a byte too much is taken of it."""
    serving, ignoring = Object(LARGE), Object(LARGE, ranges="ignored")

    def first(request: Request) -> Response:
        return serving(request).having(Cut(MIB))

    fault_server.script("/data/key", [first, ignoring])
    assert web.get("key", options={"range": (100, 3 * MIB)}, max_concurrency=1).bytes() == LARGE[100 : 3 * MIB]


def test_in_parts_where_ranges_are_announced(fault_server: FaultServer, web: HTTPStore) -> None:
    fault_server.script("/data/key", Object(LARGE))
    assert web.get("key", part_size=MIB).bytes() == LARGE
    assert len(fault_server.requests) == 7
    for other in (bare(LARGE, ("ETag", '"1"')), bare(LARGE), Object(LARGE, etag='W/"1"')):
        fault_server.requests.clear()
        fault_server.script("/data/key", other)
        assert web.get("key", part_size=MIB).bytes() == LARGE
        assert len(fault_server.requests) == 1


def test_announced_and_ignored_all_the_same(fault_server: FaultServer, web: HTTPStore) -> None:
    fault_server.script("/data/key", Object(LARGE, ranges="ignored"))  # with Accept-Ranges: bytes
    assert web.get("key", part_size=MIB).bytes() == LARGE
    assert b"".join(web.get("key", part_size=MIB).stream(MIB)) == LARGE


def test_replaced_without_an_etag(fault_server: FaultServer, web: HTTPStore) -> None:
    dates = iter(["Wed, 01 May 2024 10:00:00 GMT", "Thu, 02 May 2024 10:00:00 GMT"])

    def changing(_: Request) -> Response:
        return bare(DATA, ("Last-Modified", next(dates)))

    fault_server.script("/data/key", changing)
    with pytest.raises(ObjectChangedError):
        web.get_ranges("key", starts=[0, 1000], lengths=[10, 10], coalesce=0)


async def _more_results_than_connections(server: FaultServer) -> tuple[HTTPStore, list[GetResult]]:
    store = web_store(server.url + "/data/", client_options={"max_connections": 2})
    return store, await asyncio.wait_for(asyncio.gather(*(store.get_async("key") for _ in range(8))), 60)


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
async def test_more_results_than_connections(fault_server: FaultServer, etag: str | None) -> None:
    """Without a strong ETag nothing goes on where it was; but of a result that nobody has read, all can come again."""
    obj = Object(LARGE)
    fault_server.script("/data/key", lambda request: obj(request).header("ETag", etag))
    _, results = await _more_results_than_connections(fault_server)
    for result in reversed(results):
        assert await asyncio.wait_for(result.bytes_async(), 60) == LARGE
    assert fault_server.connections.most_open <= 2


async def test_a_result_that_is_replaced_before_it_is_read(fault_server: FaultServer) -> None:
    fault_server.script("/data/key", Object(LARGE, etag='W/"before"'))
    _, results = await _more_results_than_connections(fault_server)
    fault_server.script("/data/key", Object(LARGE, etag='W/"after"'))
    found = await asyncio.wait_for(asyncio.gather(*(r.bytes_async() for r in results), return_exceptions=True), 60)
    errors = [each for each in found if isinstance(each, BaseException)]
    assert len(errors) >= 6
    assert all(isinstance(each, ObjectChangedError) and 'now W/"after"' in str(each) for each in errors)


@pytest.mark.parametrize("how", ["sync", "async"])
@pytest.mark.parametrize("ranges", ["honest", "ignored"])
def test_replaced_on_a_server_without_conditions(
    fault_server: FaultServer, web: HTTPStore, how: str, ranges: Any
) -> None:
    """It takes no notice of If-Match: a reader has to look at what came."""
    fault_server.script("/data/key", bare(DATA, ("ETag", '"before"')))
    after = Object(DATA[::-1], etag='"after"', ranges=ranges)

    def unconditional(request: Request) -> Response:
        return after(replace(request, headers=[each for each in request.headers if each[0].lower() != "if-match"]))

    async def read() -> bytes:
        reader = await cumulo.open_reader_async(web, "key")
        fault_server.script("/data/key", unconditional)
        await reader.seek(100_000)
        return bytes(await reader.read(10))

    def read_here() -> bytes:
        with cumulo.open_reader(web, "key") as reader:
            fault_server.script("/data/key", unconditional)
            reader.seek(100_000)
            return bytes(reader.read(10))

    with pytest.raises(ObjectChangedError, match='was "before", now "after"'):
        asyncio.run(read()) if how == "async" else read_here()


def test_chunks(fault_server: FaultServer, web: HTTPStore) -> None:
    fault_server.script("/data/key", bare(DATA, framing="chunked"))
    result = web.get("key")
    assert (result.meta["size"], result.range) == (len(DATA), (0, len(DATA)))
    assert result.meta["last_modified"] == datetime(1970, 1, 1, tzinfo=timezone.utc)
    fault_server.script("/data/key", bare(b"", framing="chunked"))
    assert web.get("key").bytes() == b""
    fault_server.script("/data/key", bare(DATA, framing="chunked"))
    with pytest.raises(ValueError, match="buffer"):
        web.get_into("key", bytearray(1000))


@pytest.mark.parametrize("wanted", [(1000, 1015), {"offset": len(DATA) - 15}, {"suffix": 15}])
def test_chunks_leave_what_is_behind_a_range_alone(fault_server: FaultServer, web: HTTPStore, wanted: Any) -> None:
    fault_server.script("/data/key", bare(DATA, framing="chunked"))
    buffer = bytearray(1000)
    assert web.get_into("key", buffer, options={"range": wanted}) == 15
    assert buffer == (DATA[1000:1015] if isinstance(wanted, tuple) else DATA[-15:]).ljust(1000, b"\0")


def test_long_chunks_are_streamed(fault_server: FaultServer, web: HTTPStore) -> None:
    huge = os.urandom(MIB) * 80
    fault_server.script("/data/key", bare(huge, framing="chunked").but(chunk_bytes=MIB))
    result = web.get("key")
    assert result.meta["size"] == -1
    assert b"".join(result.stream(MIB)) == huge
    assert web.get("key").bytes() == huge
    assert web.get("key", options={"range": {"suffix": 10}}).bytes() == huge[-10:]


def test_chunks_that_break_off_are_an_error(fault_server: FaultServer, web: HTTPStore) -> None:
    fault_server.script("/data/key", bare(DATA, framing="chunked").having(Cut(100_000)))
    with pytest.raises(GenericError):
        web.get("key").bytes()


def test_neither_length_nor_chunks(fault_server: FaultServer, web: HTTPStore) -> None:
    fault_server.script("/data/key", bare(DATA, framing="none").but(after="fin"))
    with pytest.raises(GenericError, match="neither Content-Length nor chunked"):
        web.get("key").bytes()
    assert len(fault_server.requests) == 2  # said twice, that is enough


def test_head_where_there_is_none(fault_server: FaultServer, web: HTTPStore) -> None:
    for refusal in (405, 501, 403):
        fault_server.requests.clear()
        fault_server.script("/data/key", Object(LARGE))
        fault_server.script("/data/key", Response(refusal), method="HEAD")
        assert web.head("key")["size"] == len(LARGE)
        assert web.get("key", options={"head": True}).meta["size"] == len(LARGE)
        assert [request.method for request in fault_server.requests] == ["HEAD", "GET"] * 2
    fault_server.script("/data/key", Response(200, bodyless=True, framing="chunked"), method="HEAD")
    assert web.head("key")["size"] == len(LARGE)
    fault_server.script("/data/key", Object(b""))
    fault_server.script("/data/key", Response(405), method="HEAD")
    assert web.head("key")["size"] == 0


def test_head_that_is_forbidden_in_every_way(fault_server: FaultServer, web: HTTPStore) -> None:
    fault_server.script("/data/key", Response(403))
    with pytest.raises(PermissionError):
        web.head("key")


def test_cloud_storages_public_objects(gcs: GCSServer) -> None:
    """By their URLs. One that is stored with gzip comes without, and with the hash of what is stored."""
    bucket = gcs.new_bucket()
    owner = gcs_store(gcs, bucket=bucket)
    store = web_store(f"{gcs.url}/{bucket}")
    owner.put("plain", DATA)
    assert store.get("plain", part_size=64 << 10).bytes() == DATA
    owner.put("key", gzip.compress(DATA), attributes={"Content-Encoding": "gzip"})
    assert store.get("key").bytes() == DATA
    assert b"".join(store.get("key").stream(64 << 10)) == DATA
