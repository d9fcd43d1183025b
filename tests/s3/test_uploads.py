"""Multipart uploads: what goes over the wire, how many parts at a time, and that none is left behind."""

from __future__ import annotations

import asyncio
import gzip
import io
import tarfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cumulo.exceptions import BaseError, GenericError, PermissionDeniedError, ServerError
from cumulo.store import S3Store
from tests.ctrl_c import ctrl_c_when
from tests.faults import FaultServer, Faulty, Request, Response, Stall, Step, Upload, error_document
from tests.servers import S3Server

from .support import MIB, NO_RETRY, PATH, fault_store, server_store, with_query

DATA = b"".join(bytes([number]) * MIB for number in range(17))


def _pieces(data: bytes, size: int = 700_000) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


def _parts(server: FaultServer) -> dict[int, int]:
    return {int(each.query["partNumber"]): each.body_length for each in with_query(server, "partNumber")}


SOURCES: dict[str, Callable[[bytes, Path], Any]] = {
    "bytes": lambda data, _: data,
    "iterator": lambda data, _: _pieces(data),
    "file": lambda data, path: path if path.write_bytes(data) else None,
    "stream": lambda data, _: io.BytesIO(data),
}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(
    ("chunk", "sizes"), [(5 * MIB, [5, 5, 5, 2]), (1, [5, 5, 5, 2]), (8 * MIB, [8, 8, 1]), (16 * MIB, [16, 1])]
)
def test_sizes_and_number_of_parts(
    fault_server: FaultServer, faulty: S3Store, tmp_path: Path, source: str, chunk: int, sizes: list[int]
) -> None:
    upload = Upload()
    fault_server.script(PATH, upload)
    result = faulty.put("key", SOURCES[source](DATA, tmp_path / "f"), chunk_size=chunk)
    assert _parts(fault_server) == {number: size * MIB for number, size in enumerate(sizes, 1)}
    assert upload.object.data == DATA
    assert result["e_tag"] == upload.object.etag
    for part in with_query(fault_server, "partNumber"):
        assert part.header("x-amz-content-sha256") == part.body_sha256
        assert part.header("content-length") == str(part.body_length)


def test_the_completion_names_each_part_in_order(fault_server: FaultServer, faulty: S3Store) -> None:
    fault_server.script(PATH, Upload())
    faulty.put("key", DATA)
    body = with_query(fault_server, "uploadId", "POST")[0].body.decode()
    assert [f"<PartNumber>{number}</PartNumber>" in body for number in range(1, 6)] == [True] * 4 + [False]
    assert body.index("<PartNumber>1<") < body.index("<PartNumber>2<") < body.index("<PartNumber>4<")
    assert body.count("<ETag>&quot;") + body.count('<ETag>"') == 4


@pytest.mark.parametrize("most", [1, 3])
@pytest.mark.parametrize("source", ["bytes", "iterator"])
def test_concurrency_is_bounded(
    fault_server: FaultServer, faulty: S3Store, tmp_path: Path, most: int, source: str
) -> None:
    upload = Upload()
    fault_server.script(PATH, upload)
    fault_server.script(PATH + "?partNumber", Faulty(upload, Stall()), method="PUT")
    future = faulty.futures.put("key", SOURCES[source](DATA * 2, tmp_path / "f"), max_concurrency=most)
    for _ in range(7):
        fault_server.wait_for(lambda: future.done() or fault_server.stalled)
        before = time.monotonic()
        while time.monotonic() - before < 0.05:  # more would have come by now
            assert fault_server.stalled <= most
            time.sleep(0.01)
        if most == 3 and len(_parts(fault_server)) == 3:
            fault_server.wait_for(lambda: fault_server.stalled == 3)
        fault_server.release()
    fault_server.script(PATH + "?partNumber", upload, method="PUT")
    fault_server.wait_for(lambda: fault_server.release() or future.done())
    assert future.result(30)["e_tag"] == upload.object.etag
    assert upload.object.data == DATA * 2


def _assert_aborted(server: FaultServer, upload: Upload) -> None:
    server.wait_for(lambda: upload.aborted)
    assert upload.parts == {}
    assert upload.completed == []
    assert upload.object.data is None
    assert len(with_query(server, "uploadId", "DELETE")) == 1


def test_a_part_that_fails_aborts_the_upload(fault_server: FaultServer, faulty: S3Store) -> None:
    upload = Upload()
    fault_server.script(PATH, upload)
    fault_server.script(PATH + "?partNumber=2", Response.error(403))
    with pytest.raises(PermissionDeniedError):
        faulty.put("key", DATA)
    _assert_aborted(fault_server, upload)


@pytest.mark.parametrize("status", [403, 500])
def test_a_completion_that_fails_aborts_the_upload(fault_server: FaultServer, faulty: S3Store, status: int) -> None:
    upload = Upload()
    fault_server.script(PATH, upload)
    fault_server.script(PATH + "?uploadId", Response.error(status), method="POST")
    with pytest.raises(BaseError) as caught:
        faulty.put("key", DATA)
    assert caught.value.status == status
    _assert_aborted(fault_server, upload)


def test_a_buffer_is_its_owners_again_when_the_call_has_failed(fault_server: FaultServer, faulty: S3Store) -> None:
    """Not when the thread makes another call, which hears that the other parts have ended."""
    upload, data = Upload(), bytearray(DATA)
    fault_server.script(PATH, upload)
    fault_server.script(PATH + "?partNumber=1", Response.error(403, "AccessDenied"), method="PUT")
    fault_server.script(PATH + "?partNumber", Faulty(upload, Stall()), method="PUT")
    with pytest.raises(PermissionDeniedError):
        faulty.put("key", data)
    data.clear()  # an error while anything has a view of it


def test_a_failing_abort_does_not_hide_the_reason(fault_server: FaultServer, faulty: S3Store) -> None:
    fault_server.script(PATH, Upload())
    fault_server.script(PATH + "?partNumber=1", Response.error(403))
    fault_server.script(PATH + "?uploadId", Response.error(500), method="DELETE")
    with pytest.raises(PermissionDeniedError) as caught:
        faulty.put("key", DATA)
    assert caught.value.operation == "put"


def test_an_iterator_that_raises_aborts_the_upload(fault_server: FaultServer, faulty: S3Store) -> None:
    upload = Upload()
    fault_server.script(PATH, upload)

    def pieces() -> Iterator[bytes]:
        yield bytes(12 * MIB)
        raise RuntimeError("the source's own")

    with pytest.raises(RuntimeError, match="the source's own"):
        faulty.put("key", pieces())
    _assert_aborted(fault_server, upload)


def test_an_async_iterator_that_raises_aborts_the_upload(fault_server: FaultServer, faulty: S3Store) -> None:
    upload = Upload()
    fault_server.script(PATH, upload)

    async def pieces() -> AsyncIterator[bytes]:
        yield bytes(12 * MIB)
        await asyncio.sleep(0)
        raise RuntimeError("the source's own")

    async def run() -> None:
        await faulty.put_async("key", pieces())

    with pytest.raises(RuntimeError, match="the source's own"):
        asyncio.run(run())
    _assert_aborted(fault_server, upload)


async def _until_aborted(server: FaultServer, upload: Upload) -> None:
    await server.wait_for_async(lambda: upload.aborted)
    await asyncio.sleep(0.1)  # the loop still has to hear of it


def _stalling(server: FaultServer, where: str) -> Upload:
    upload = Upload()
    server.script(PATH, upload)
    if where == "parts":
        server.script(PATH + "?partNumber", Response.never(), method="PUT")
    else:
        server.script(PATH + "?uploadId", Response.never(), method="POST")
    return upload


@pytest.mark.parametrize("where", ["parts", "complete"])
def test_ctrl_c_aborts_the_upload(fault_server: FaultServer, faulty: S3Store, where: str) -> None:
    upload = _stalling(fault_server, where)
    with ctrl_c_when(lambda: fault_server.stalled):
        faulty.put("key", DATA)
    _assert_aborted(fault_server, upload)


@pytest.mark.parametrize("where", ["parts", "complete"])
def test_a_cancelled_task_aborts_the_upload(fault_server: FaultServer, faulty: S3Store, where: str) -> None:
    upload = _stalling(fault_server, where)

    async def run() -> None:
        task = asyncio.create_task(faulty.put_async("key", DATA))
        await fault_server.wait_for_async(lambda: fault_server.stalled)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await _until_aborted(fault_server, upload)

    asyncio.run(run())
    _assert_aborted(fault_server, upload)


@pytest.mark.parametrize("where", ["parts", "complete"])
def test_a_cancelled_future_aborts_the_upload(fault_server: FaultServer, faulty: S3Store, where: str) -> None:
    upload = _stalling(fault_server, where)
    future = faulty.futures.put("key", DATA)
    fault_server.wait_for(lambda: fault_server.stalled)
    assert future.cancel()
    _assert_aborted(fault_server, upload)
    fault_server.wait_for(future.done)
    assert future.cancelled()


def test_a_cancel_while_the_source_is_waited_for_aborts_the_upload(fault_server: FaultServer, faulty: S3Store) -> None:
    upload = Upload()
    fault_server.script(PATH, upload)

    async def pieces() -> AsyncIterator[bytes]:
        yield bytes(12 * MIB)
        await asyncio.sleep(60)

    async def run() -> None:
        task = asyncio.create_task(faulty.put_async("key", pieces()))
        await fault_server.wait_for_async(lambda: with_query(fault_server, "partNumber"))
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        await _until_aborted(fault_server, upload)

    asyncio.run(run())
    _assert_aborted(fault_server, upload)


def test_nothing_is_left_on_a_real_server(server: S3Server) -> None:
    store = server_store(server)

    def pieces() -> Iterator[bytes]:
        yield bytes(6 * MIB)
        raise RuntimeError("the source's own")

    with pytest.raises(RuntimeError, match="the source's own"):
        store.put("key", pieces())
    assert store.list().collect() == []
    uploads = server.boto3.list_multipart_uploads(Bucket=store.config["bucket"])
    assert "Uploads" not in uploads


def _error_in_200(code: str) -> Response:
    return Response.xml(error_document(code))


def test_an_error_in_the_200_of_a_completion_is_tried_again(fault_server: FaultServer, faulty: S3Store) -> None:
    upload = Upload()
    fault_server.script(PATH, upload)
    fault_server.script(PATH + "?uploadId", [_error_in_200("InternalError"), upload], method="POST")
    assert faulty.put("key", DATA)["e_tag"] == upload.object.etag


def test_an_error_in_the_200_of_a_completion_that_stays(fault_server: FaultServer, faulty: S3Store) -> None:
    upload = Upload()
    fault_server.script(PATH, upload)
    fault_server.script(PATH + "?uploadId", _error_in_200("InternalError"), method="POST")
    with pytest.raises(ServerError) as caught:
        faulty.put("key", DATA)
    assert (caught.value.status, caught.value.code, caught.value.attempts) == (200, "InternalError", 4)
    _assert_aborted(fault_server, upload)


@pytest.mark.parametrize("body", ["<html><body>hello</body></html>", "", "<CompleteMultipartUploadResult/>", "{"])
def test_a_200_that_is_no_completion_is_an_error(fault_server: FaultServer, faulty: S3Store, body: str) -> None:
    fault_server.script(PATH, Upload())
    fault_server.script(PATH + "?uploadId", Response.xml(body), method="POST")
    with pytest.raises(GenericError, match="lacks"):
        faulty.put("key", DATA)


@pytest.mark.parametrize("body", ["<html/>", "", "<InitiateMultipartUploadResult/>"])
def test_a_200_that_gives_no_upload_is_an_error(fault_server: FaultServer, faulty: S3Store, body: str) -> None:
    fault_server.script(PATH, Response.xml(body))
    with pytest.raises(GenericError, match="lacks"):
        faulty.put("key", DATA)


def _lost(upload: Upload) -> Step:
    """Does it, and drops the connection instead of answering."""

    def step(request: Request) -> Response:
        upload(request)
        return Response.dropped("rst")

    return step


@pytest.mark.parametrize("mode", ["overwrite", "create"])
@pytest.mark.parametrize("retries", [True, False])
def test_a_completion_whose_answer_is_lost_is_a_success(fault_server: FaultServer, mode: Any, retries: bool) -> None:
    """The second try finds the upload gone (or the object there), and the object's ETag is the one of these parts."""
    store = fault_store(fault_server) if retries else fault_store(fault_server, retry_config=NO_RETRY)
    upload = Upload()
    fault_server.script(PATH, upload)
    then: Step = Response.error(412) if mode == "create" else upload
    fault_server.script(PATH + "?uploadId", [_lost(upload), then], method="POST")
    assert store.put("key", DATA, mode=mode, use_multipart=True)["e_tag"] == upload.object.etag
    assert upload.object.data == DATA
    assert fault_server.seen(method="HEAD")


def test_a_completion_that_is_lost_and_not_done_is_an_error(fault_server: FaultServer, faulty: S3Store) -> None:
    """Another object is there: not ours."""
    upload = Upload()
    upload.object.replace(b"someone else's")
    fault_server.script(PATH, upload)
    lost = [Response.dropped("rst"), Response.error(404, "NoSuchUpload")]
    fault_server.script(PATH + "?uploadId", lost, method="POST")
    with pytest.raises(BaseError) as caught:
        faulty.put("key", DATA)
    assert caught.value.code == "NoSuchUpload"


def test_an_upload_that_someone_aborted_is_an_error(fault_server: FaultServer, faulty: S3Store) -> None:
    fault_server.script(PATH, Upload())
    fault_server.script(PATH + "?uploadId", Response.error(404, "NoSuchUpload"), method="POST")
    with pytest.raises(BaseError) as caught:
        faulty.put("key", DATA)
    assert caught.value.code == "NoSuchUpload"
    assert caught.value.operation == "put"


def test_files_that_are_not_their_descriptor(faulty: S3Store, fault_server: FaultServer, tmp_path: Path) -> None:
    """A gzip reader's descriptor is of the compressed file; a member of a tar archive has none."""
    fault_server.script(PATH, upload := Upload())
    packed = tmp_path / "f.gz"
    packed.write_bytes(gzip.compress(b"content" * 100))
    with gzip.open(packed) as reader, io.BufferedReader(reader) as buffered:  # type: ignore[type-var]
        faulty.put("key", buffered)
    assert upload.object.data == b"content" * 100
    archive = tmp_path / "f.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(packed, "member")
    with tarfile.open(archive) as tar:
        faulty.put("key", tar.extractfile("member"))
    assert upload.object.data == packed.read_bytes()
