"""Uploads by either bulk client: from memory, files and iterators, in the three ways, failing, cancelled."""

from __future__ import annotations

import asyncio
import os
import pickle
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import pytest

from cumulo.exceptions import (
    AlreadyExistsError,
    NotFoundError,
    PermissionDeniedError,
    SourceChangedError,
    ThrottledError,
)
from cumulo.store import S3Store
from tests.ctrl_c import ctrl_c_when
from tests.faults import FaultServer, Object, Request, Response, Step, Upload
from tests.faults.checksums import checksum_header
from tests.servers import S3Server

from .support import MIB, NO_RETRY, PATH, fault_store, of_aws_c_s3, server_store, with_query

DATA = os.urandom(12 * MIB + 321)
CLIENTS = ("crt", "engine")


def _pieces(size: int = 1_000_003) -> Iterator[bytes]:
    return (DATA[start : start + size] for start in range(0, len(DATA), size))


async def _async_pieces() -> AsyncIterator[bytes]:
    for piece in _pieces():
        await asyncio.sleep(0)
        yield piece


def _file(path: Path) -> Path:
    path.write_bytes(DATA)
    return path


def _from_the_middle(path: Path) -> Any:
    path.write_bytes(b"-" * 100 + DATA)
    file = path.open("rb")
    file.seek(100)
    return file


SOURCES: dict[str, Callable[[Path], Any]] = {
    "memory": lambda _: DATA,
    "path": _file,
    "file": lambda path: _file(path).open("rb"),
    "rest of a file": _from_the_middle,
    "iterator": lambda _: _pieces(),
    "one piece": lambda _: iter([DATA]),
}


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> str:
    """Each bulk client in turn."""
    return request.param


@pytest.fixture
def store(fault_server: FaultServer, client: str) -> S3Store:
    """A store on the fault server with that bulk client."""
    return fault_store(fault_server, bulk_client=client)


@pytest.fixture
def crt(fault_server: FaultServer) -> S3Store:
    """The same with aws-c-s3."""
    return fault_store(fault_server, bulk_client="crt")


@pytest.mark.parametrize("source", SOURCES)
def test_sources(fault_server: FaultServer, store: S3Store, tmp_path: Path, source: str) -> None:
    upload = Upload()
    fault_server.script(PATH, upload)
    content = SOURCES[source](tmp_path / "f")
    result = store.put("key", content)
    if hasattr(content, "close"):
        content.close()
    assert upload.object.data == DATA
    assert result["e_tag"] == upload.object.etag
    assert not upload.parts


def test_three_ways(fault_server: FaultServer, store: S3Store) -> None:
    upload = Upload()
    fault_server.script(PATH, upload)

    async def main() -> None:
        await store.put_async("key", DATA)
        await store.put_async("key", _async_pieces())

    asyncio.run(main())
    store.futures.put("key", DATA).result(60)
    store.futures.put("key", _pieces()).result(60)
    assert len(upload.completed) == 4
    assert upload.object.data == DATA


@pytest.mark.parametrize("source", ["memory", "path", "iterator"])
def test_on_real_servers(server: S3Server, client: str, tmp_path: Path, source: str) -> None:
    store = server_store(server, bulk_client=client)
    store.put("key", SOURCES[source](tmp_path / "f"), attributes={"Content-Type": "text/x-own", "own": "1"})
    result = store.get("key")
    assert result.attributes["Content-Type"] == "text/x-own"
    assert result.attributes["own"] == "1"
    assert result.bytes() == DATA


@pytest.mark.parametrize("algorithm", ["CRC64NVME", "CRC32C", "SHA256"])
@pytest.mark.parametrize("source", ["memory", "path", "iterator"])
def test_checksums(fault_server: FaultServer, client: str, tmp_path: Path, algorithm: str, source: str) -> None:
    fault_server.script(PATH, Upload())
    store = fault_store(fault_server, bulk_client=client, checksum_algorithm=algorithm)
    store.put("key", SOURCES[source](tmp_path / "f"))
    parts = with_query(fault_server, "partNumber")
    assert len(parts) == 3
    for part in parts:
        name, value = checksum_header(algorithm.lower(), part.body)
        assert part.header(name) == value


def test_parts_that_are_asked_for(fault_server: FaultServer, store: S3Store, tmp_path: Path) -> None:
    """Even of what would fit in one request."""
    upload = Upload()
    fault_server.script(PATH, upload)
    path = tmp_path / "f"
    path.write_bytes(b"short")
    for count, content in enumerate((b"short", path, iter([b"short"])), 1):
        store.put("key", content, use_multipart=True)
        assert upload.object.data == b"short"
        assert len(upload.completed) == count


def test_conditions(fault_server: FaultServer, store: S3Store) -> None:
    upload = Upload()
    fault_server.script(PATH, upload)
    store.put("key", DATA, mode="create", use_multipart=True)
    assert fault_server.requests[-1].header("if-none-match") == "*"
    fault_server.script(PATH, _answer("complete", Response.error(412, "PreconditionFailed"), upload))
    with pytest.raises(AlreadyExistsError):
        store.put("key", DATA, mode="create", use_multipart=True)


def _kind(request: Request) -> str:
    if request.method == "DELETE":
        return "abort"
    if "uploads" in request.query:
        return "create"
    return "part" if "partNumber" in request.query else "complete"


def _answer(kind: str, response: Step, otherwise: Step, times: int = 1000) -> Step:
    """An answer of its own for one kind of request."""
    left = [times]

    def step(request: Request) -> Response:
        chosen = otherwise
        if _kind(request) == kind and left[0] > 0:
            left[0] -= 1
            chosen = response
        return chosen if isinstance(chosen, Response) else chosen(request)

    return step


@pytest.mark.parametrize("kind", ["create", "part", "complete"])
@pytest.mark.parametrize("name", ["forbidden", "missing", "slow down", "too many"])
def test_failures(fault_server: FaultServer, client: str, kind: str, name: str) -> None:
    response, error, status = {
        "forbidden": (Response.error(403, "AccessDenied"), PermissionDeniedError, 403),
        "missing": (Response.error(404, "NoSuchBucket"), NotFoundError, 404),
        "slow down": (Response.error(503, "SlowDown"), ThrottledError, 503),
        "too many": (Response.error(429), ThrottledError, 429),
    }[name]
    upload = Upload()
    fault_server.script(PATH, _answer(kind, response, upload))
    store = fault_store(fault_server, bulk_client=client, retry_config=NO_RETRY)
    with pytest.raises(error) as caught:
        store.put("key", DATA)
    assert type(caught.value) is error
    assert (caught.value.operation, caught.value.path, caught.value.status) == ("put", "key", status)
    assert upload.object.data is None
    assert not upload.parts
    assert len(upload.aborted) == (0 if kind == "create" else 1)


@pytest.mark.parametrize("kind", ["create", "part", "complete"])
@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_heals(fault_server: FaultServer, store: S3Store, kind: str, status: int) -> None:
    upload = Upload()
    fault_server.script(PATH, _answer(kind, Response.error(status, "SlowDown"), upload, times=2))
    store.put("key", DATA)
    assert upload.object.data == DATA
    assert not upload.parts


def _stuck(upload: Upload) -> Step:
    return _answer("part", Response.never(), upload)


@pytest.mark.parametrize("source", ["memory", "path", "iterator"])
def test_a_cancelled_task(fault_server: FaultServer, store: S3Store, tmp_path: Path, source: str) -> None:
    upload = Upload()
    fault_server.script(PATH, _stuck(upload))

    async def main() -> None:
        task = asyncio.ensure_future(store.put_async("key", SOURCES[source](tmp_path / "f")))
        await fault_server.wait_for_async(lambda: fault_server.stalled)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await fault_server.wait_for_async(lambda: upload.aborted)

    asyncio.run(main())


def test_a_cancelled_future(fault_server: FaultServer, store: S3Store) -> None:
    upload = Upload()
    fault_server.script(PATH, _stuck(upload))
    future = store.futures.put("key", DATA)
    fault_server.wait_for(lambda: fault_server.stalled)
    assert future.cancel()
    with pytest.raises(CancelledError):
        future.result(30)
    fault_server.wait_for(lambda: upload.aborted)


def test_ctrl_c(fault_server: FaultServer, store: S3Store) -> None:
    upload = Upload()
    fault_server.script(PATH, _stuck(upload))
    with ctrl_c_when(lambda: fault_server.stalled):
        store.put("key", DATA)
    fault_server.wait_for(lambda: upload.aborted)


def test_an_iterator_that_fails(fault_server: FaultServer, store: S3Store) -> None:
    upload = Upload()
    fault_server.script(PATH, upload)

    def broken() -> Iterator[bytes]:
        yield DATA[: 11 * MIB]
        raise KeyError("broken")

    with pytest.raises(KeyError, match="broken"):
        store.put("key", broken())
    fault_server.wait_for(lambda: upload.aborted)
    assert not upload.parts


def test_a_file_that_shrinks(fault_server: FaultServer, store: S3Store, tmp_path: Path) -> None:
    upload = Upload()
    path = _file(tmp_path / "f")

    def shrink(request: Request) -> Response:
        os.truncate(path, MIB)
        return upload(request)

    fault_server.script(PATH, _answer("create", shrink, upload))
    with pytest.raises(SourceChangedError):
        store.put("key", path)
    assert not upload.parts


def test_a_file_that_is_written_to(fault_server: FaultServer, store: S3Store, tmp_path: Path) -> None:
    upload = Upload()
    path = _file(tmp_path / "f")

    def write(request: Request) -> Response:
        path.write_bytes(DATA[::-1])
        return upload(request)

    fault_server.script(PATH, _answer("part", write, upload))
    with pytest.raises(SourceChangedError):
        store.put("key", path)
    assert upload.object.data is None
    assert not upload.parts


def test_a_copy_keeps_metadata_and_tags(fault_server: FaultServer, store: S3Store) -> None:
    """Of what is copied in parts: 2 GiB for aws-c-s3, 6 GiB for the engine; no byte of which goes over the wire."""
    source_headers = (("ETag", '"source"'), ("Content-Type", "text/x-own"), ("x-amz-meta-own", "1"),
                      ("x-amz-tagging-count", "1"), ("Last-Modified", "Tue, 02 Jan 2024 03:04:05 GMT"))  # fmt: skip
    size = str((2 if store.config["bulk_client"] == "crt" else 6) << 30)
    head = Response(headers=(*source_headers, ("Content-Length", size)), framing="none")
    tags = Response.xml("<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>")

    def read(request: Request) -> Response:
        return tags if "tagging" in request.query else head

    part = Response.xml("<CopyPartResult><ETag>&quot;part&quot;</ETag></CopyPartResult>")
    too_large = Response.error(400, "InvalidRequest")

    def write(request: Request) -> Response:
        kind = _kind(request)
        return {"part": part, "create": upload_started, "abort": Response(204)}.get(kind, completed(request))

    begun = "<UploadId>u</UploadId>"
    upload_started = Response.xml(f"<InitiateMultipartUploadResult>{begun}</InitiateMultipartUploadResult>")

    def completed(request: Request) -> Response:
        if request.method == "PUT":
            return too_large
        return Response.xml("<CompleteMultipartUploadResult><ETag>&quot;e&quot;</ETag></CompleteMultipartUploadResult>")

    fault_server.script("/bucket/source", read)
    fault_server.script("/bucket/target", write)
    store.copy("source", "target")
    created = with_query(fault_server, "uploads")[0]
    assert created.header("content-type") == "text/x-own"
    assert created.header("x-amz-meta-own") == "1"
    assert created.header("x-amz-tagging") == "a=b"
    assert len(with_query(fault_server, "partNumber")) > 1


def test_the_option() -> None:
    stores = [S3Store("bucket", region="us-east-1", bulk_client=name) for name in ("crt", "engine", "CRT")]
    assert stores[0] != stores[1]
    assert stores[0] == stores[2]
    assert pickle.loads(pickle.dumps(stores[0])) == stores[0]
    assert stores[0].config["bulk_client"] == "crt"
    assert S3Store("bucket", config={"AWS_BULK_CLIENT": "crt"}).config["bulk_client"] == "crt"
    with pytest.raises(ValueError, match="bulk_client"):
        S3Store("bucket", bulk_client="other")


def test_what_the_crt_cannot_do_goes_to_the_engine(fault_server: FaultServer) -> None:
    upload = Upload()
    fault_server.script(PATH, upload)
    store = fault_store(fault_server, bulk_client="crt", client_options={"timeout": "60s"})
    store.put("key", DATA)
    assert upload.object.data == DATA
    assert of_aws_c_s3(fault_server) == []


def test_an_empty_stream_and_a_short_one(fault_server: FaultServer, crt: S3Store) -> None:
    content = Object(None)
    fault_server.script(PATH, content)
    crt.put("key", iter([]))
    assert content.data == b""
    crt.put("key", iter([b"short"]))
    assert content.data == b"short"
