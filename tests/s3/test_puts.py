"""put: conditions and their races, slow servers, and sources that change while they are sent."""

from __future__ import annotations

import asyncio
import gc
import io
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cumulo._operations import sources
from cumulo.exceptions import (
    AlreadyExistsError,
    GenericError,
    NotSupportedError,
    PreconditionError,
    RequestTimeoutError,
    SourceChangedError,
)
from cumulo.store import S3Store
from tests.faults import FaultServer, Faulty, Object, Request, Response, Upload, error_document
from tests.servers import S3Server

from .support import MIB, NO_RETRY, PATH, copied, fault_store, server_store, with_query


def test_one_of_many_creates_wins(ministack: S3Server) -> None:
    """Moto and Swift check and write in two steps, and let several win."""
    store = server_store(ministack)

    async def create(number: int) -> int | None:
        try:
            await store.put_async("x", str(number).encode(), mode="create")
        except AlreadyExistsError:
            return None
        return number

    async def race() -> list[int | None]:
        return await asyncio.gather(*(create(number) for number in range(32)))

    winners = [number for number in asyncio.run(race()) if number is not None]
    assert len(winners) == 1
    assert store.get("x").bytes() == str(winners[0]).encode()


def test_one_of_many_updates_wins(ministack: S3Server) -> None:
    store = server_store(ministack)
    etag = store.put("x", b"first")["e_tag"]

    def update(number: int) -> bool:
        try:
            store.futures.put("x", str(number).encode(), mode={"e_tag": etag}).result(60)
        except PreconditionError:
            return False
        return True

    assert Counter(update(number) for number in range(16)) == {True: 1, False: 15}
    assert store.get("x").bytes() == b"0"


def test_conditions_on_the_wire(fault_server: FaultServer, faulty: S3Store) -> None:
    fault_server.script(PATH, Response(headers=(("ETag", '"e"'),)))
    faulty.put("key", b"x", mode="create")
    faulty.put("key", b"x", mode={"e_tag": '"abc"'})
    faulty.put("key", b"x")
    sent = [(each.header("if-none-match"), each.header("if-match")) for each in fault_server.requests]
    assert sent == [("*", None), (None, '"abc"'), (None, None)]


def test_a_large_create_is_checked_when_it_is_completed(fault_server: FaultServer, faulty: S3Store) -> None:
    fault_server.script(PATH, Upload())
    faulty.put("key", bytes(12 * MIB), mode="create", use_multipart=True)
    marked = [each for each in fault_server.requests if each.header("if-none-match") == "*"]
    assert marked == with_query(fault_server, "uploadId", "POST")
    fault_server.script(PATH, Upload())
    faulty.put("key", bytes(12 * MIB), mode="create")
    assert (fault_server.requests[-1].method, fault_server.requests[-1].query) == ("PUT", {})


def test_conditions_that_are_switched_off(fault_server: FaultServer) -> None:
    with pytest.raises(NotSupportedError):
        fault_store(fault_server, conditional_put="disabled").put("key", b"", mode="create")
    assert fault_server.requests == []


def test_an_upload_slower_than_any_timeout_goes_on(fault_server: FaultServer, tmp_path: Path) -> None:
    """4 seconds with a read_timeout of 2: bytes move, so nothing is cut. The kernel's buffers drain in less than 2."""
    store = fault_store(fault_server, client_options={"read_timeout": 2}, retry_config=NO_RETRY)
    data = os.urandom(32 * MIB)
    (tmp_path / "f").write_bytes(data)
    stored = {name: Object(None) for name in ("memory", "file")}
    for name, source in stored.items():
        fault_server.script(f"/bucket/{name}", Faulty(source, read_rate=8.0 * MIB))
    futures = [
        store.futures.put(name, data if name == "memory" else tmp_path / "f", use_multipart=False) for name in stored
    ]
    for future in futures:
        future.result(60)
    assert [source.data == data for source in stored.values()] == [True, True]


def test_an_upload_that_stalls_is_an_error(fault_server: FaultServer) -> None:
    store = fault_store(fault_server, client_options={"read_timeout": 0.4}, retry_config=NO_RETRY)
    fault_server.script(PATH, Response(read_stall=MIB))
    with pytest.raises(RequestTimeoutError) as caught:
        store.put("key", bytes(64 * MIB), use_multipart=False)
    assert isinstance(caught.value, TimeoutError)
    assert isinstance(caught.value, GenericError)
    assert caught.value.operation == "put"


@pytest.mark.parametrize("multipart", [False, True])
@pytest.mark.parametrize("algorithm", [None, "SHA256"])
def test_a_file_that_is_cut_while_it_is_sent(
    fault_server: FaultServer, tmp_path: Path, multipart: bool, algorithm: str | None
) -> None:
    store = fault_store(fault_server, **({"checksum_algorithm": algorithm} if algorithm else {}))
    upload = Upload()
    file = tmp_path / "f"
    file.write_bytes(bytes(12 * MIB))

    def cut(request: Request) -> Response:
        os.truncate(file, 6 * MIB)
        return upload(request)

    def cut_and_fail(request: Request) -> Response:
        os.truncate(file, 6 * MIB)
        return Response.error(503)

    fault_server.script(PATH, cut)
    if not multipart:
        fault_server.script(PATH, [cut_and_fail, upload])
    with pytest.raises(SourceChangedError, match=str(file)):
        store.put("key", file, use_multipart=multipart, max_concurrency=1)
    assert upload.object.data is None
    assert upload.parts == {}
    assert len(upload.aborted) == multipart


@pytest.mark.parametrize("change", [b"more", b""], ids=["extended", "overwritten"])
@pytest.mark.parametrize("call", ["put", "put_async", "futures"])
def test_a_file_that_is_written_to_while_it_is_sent(
    fault_server: FaultServer, faulty: S3Store, tmp_path: Path, change: bytes, call: str
) -> None:
    upload = Upload()
    file = tmp_path / "f"
    file.write_bytes(bytes(6 * MIB))
    os.utime(file, (1, 1))  # the clock of a file system is coarse

    def write(request: Request) -> Response:
        with file.open("r+b") as other:
            other.seek(0, os.SEEK_END if change else os.SEEK_SET)
            other.write(change or b"other")
        return upload(request)

    fault_server.script(PATH + "?partNumber=2", write)
    fault_server.script(PATH, upload)
    with pytest.raises(SourceChangedError, match=str(file)):
        CALLS[call](faulty, file)
    assert upload.object.data is None
    assert len(upload.aborted) == 1


CALLS: dict[str, Callable[[S3Store, Any], Any]] = {
    "put": lambda store, file: store.put("key", file),
    "put_async": lambda store, file: asyncio.run(_put_async(store, file)),
    "futures": lambda store, file: store.futures.put("key", file).result(60),
}


async def _put_async(store: S3Store, file: Any) -> None:
    await store.put_async("key", file)


@pytest.mark.parametrize("call", CALLS)
def test_a_file_that_is_cut_while_its_checksum_is_made(
    fault_server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """Not a byte of it is sent; and the process lives, which a mapped file's end would kill."""
    store = fault_store(fault_server, checksum_algorithm="CRC64NVME")
    fault_server.script(PATH, upload := Upload())
    file = tmp_path / "f"
    file.write_bytes(bytes(6 * MIB))
    make, threads = sources.checksum, list[threading.Thread]()

    def cut_first(*arguments: Any) -> str:
        threads.append(threading.current_thread())
        os.truncate(file, MIB)
        return make(*arguments)

    monkeypatch.setattr(sources, "checksum", cut_first)
    with pytest.raises(SourceChangedError, match=r"its size was 6291456 bytes, and is 1048576 now"):
        CALLS[call](store, file)
    assert upload.aborted
    assert not with_query(fault_server, "partNumber")
    assert (threading.main_thread() in threads) == (call == "put"), "an event loop would stand still meanwhile"


def test_a_bytearray_can_not_be_resized_while_it_is_sent(fault_server: FaultServer, faulty: S3Store) -> None:
    fault_server.script(PATH, Response.never())
    data = bytearray(b"x" * 1000)
    future = faulty.futures.put("key", data)
    fault_server.wait_for(lambda: fault_server.stalled)
    with pytest.raises(BufferError):
        data.append(1)
    data[0:1] = b"y"  # of the same size: allowed, and the sender's own business
    fault_server.script(PATH, Object(None))
    fault_server.release()
    future.cancel()
    fault_server.wait_for(future.done)
    del future
    fault_server.wait_for(lambda: _can_grow(data))


def _can_grow(data: bytearray) -> bool:
    gc.collect()  # the error's traceback holds the source in a cycle
    try:
        data.append(1)
    except BufferError:
        return False
    return True


def test_pieces_an_iterator_uses_again_are_copied(fault_server: FaultServer, faulty: S3Store) -> None:
    upload = Upload()
    fault_server.script(PATH, upload)
    piece = bytearray(MIB)

    def pieces() -> Iterator[bytearray]:
        for number in range(12):
            piece[:] = bytes([number]) * MIB
            yield piece

    faulty.put("key", pieces())
    assert upload.object.data == b"".join(bytes([number]) * MIB for number in range(12))


SMALL: dict[str, Callable[[bytes], Any]] = {"iterator": lambda data: iter([data]), "stream": io.BytesIO}


@pytest.mark.parametrize("kind", SMALL)
def test_a_small_source_of_unknown_length_is_one_request(fault_server: FaultServer, faulty: S3Store, kind: str) -> None:
    fault_server.script(PATH, Object(None))
    faulty.put("key", SMALL[kind](b"small"))
    assert [request.query for request in fault_server.requests] == [{}]


def test_an_error_in_the_200_of_a_copy(fault_server: FaultServer, faulty: S3Store) -> None:
    failed = Response.xml(error_document("InternalError"))
    fault_server.script("/bucket/to", [failed, copied()])
    faulty.copy("key", "to")
    assert len(fault_server.requests) == 2
    fault_server.script("/bucket/to", failed)
    with pytest.raises(GenericError) as caught:
        faulty.copy("key", "to")
    assert (caught.value.code, caught.value.status, caught.value.attempts) == ("InternalError", 200, 4)
    for body in ("", "<html/>", "<CopyObjectResult/>"):
        fault_server.script("/bucket/to", Response.xml(body))
        with pytest.raises(GenericError, match="lacks"):
            faulty.copy("key", "to")
