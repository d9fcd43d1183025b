"""Uploads in parts that end early leave nothing at real servers: no object, and no upload under way."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from cumulo.store import S3Store
from tests.ctrl_c import ctrl_c_when
from tests.servers import S3Server

from .support import MIB, server_store

PIECE = bytes(MIB)
ERRORS = [LookupError, GeneratorExit, KeyboardInterrupt, SystemExit, asyncio.CancelledError]
Put = Callable[[S3Store, "Pieces"], None]


class Pieces:
    """More than two parts, and then what happens."""

    def __init__(self, then: type[BaseException] | None) -> None:
        self._then = then
        self.ended = False
        self.waits = threading.Event()

    def here(self) -> Iterator[bytes]:
        """For any call."""
        try:
            for _ in range(12):
                yield PIECE
            self.waits.set()
            if self._then is not None:
                raise self._then
            while True:  # until somebody ends it
                yield b"x"
        finally:
            self.ended = True

    async def on_loop(self) -> AsyncIterator[bytes]:
        """For async calls."""
        try:
            for piece in self.here():
                yield piece
                await asyncio.sleep(0)
        finally:
            self.ended = True


def _sync(store: S3Store, pieces: Pieces) -> None:
    store.put("key", pieces.here())


def _thread(store: S3Store, pieces: Pieces) -> None:
    async def run() -> None:
        await store.put_async("key", pieces.here())

    asyncio.run(run())


def _async(store: S3Store, pieces: Pieces) -> None:
    async def run() -> None:
        await store.put_async("key", pieces.on_loop())

    asyncio.run(run())


def _futures(store: S3Store, pieces: Pieces) -> None:
    store.futures.put("key", pieces.here()).result(60)


@pytest.fixture(params=["ministack", "moto"])
def server(request: pytest.FixtureRequest) -> S3Server:
    """Servers that list uploads."""
    return request.getfixturevalue(request.param)


def _nothing_is_left(server: S3Server, bucket: str) -> bool:
    uploads = server.boto3.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
    return not uploads and server.boto3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def _comes_to_nothing(server: S3Server, bucket: str) -> None:
    """An abort by a loop's heir takes a moment."""
    patience = threading.Event()
    for _ in range(1000):
        if _nothing_is_left(server, bucket):
            return
        patience.wait(0.01)
    raise AssertionError(server.boto3.list_multipart_uploads(Bucket=bucket))


@pytest.mark.parametrize("put", [_sync, _thread, _async, _futures])
@pytest.mark.parametrize("error", ERRORS)
def test_an_iterator_that_raises(server: S3Server, put: Put, error: type[BaseException]) -> None:
    bucket = server.new_bucket()
    pieces = Pieces(error)
    with pytest.raises(BaseException) as caught:
        put(server_store(server, bucket=bucket), pieces)
    assert not isinstance(caught.value, AssertionError)
    _comes_to_nothing(server, bucket)
    assert pieces.ended


def test_a_cancelled_task(server: S3Server) -> None:
    bucket = server.new_bucket()
    store, pieces = server_store(server, bucket=bucket), Pieces(None)

    async def run() -> None:
        task = asyncio.ensure_future(store.put_async("key", pieces.on_loop()))
        await asyncio.to_thread(pieces.waits.wait, 60)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())
    _comes_to_nothing(server, bucket)
    assert pieces.ended


def test_a_cancelled_future(server: S3Server) -> None:
    bucket = server.new_bucket()
    pieces = Pieces(None)
    future = server_store(server, bucket=bucket).futures.put("key", pieces.here())
    assert pieces.waits.wait(60)
    future.cancel()
    _comes_to_nothing(server, bucket)


def test_ctrl_c(server: S3Server) -> None:
    bucket = server.new_bucket()
    store, pieces = server_store(server, bucket=bucket), Pieces(None)
    with ctrl_c_when(pieces.waits.is_set):
        store.put("key", pieces.here())
    _comes_to_nothing(server, bucket)
    assert pieces.ended


def test_the_rest_works_on(server: S3Server) -> None:
    """That nothing is left shows only if uploads show."""
    bucket = server.new_bucket()
    upload: Any = server.boto3.create_multipart_upload(Bucket=bucket, Key="key")
    assert not _nothing_is_left(server, bucket)
    server.boto3.abort_multipart_upload(Bucket=bucket, Key="key", UploadId=upload["UploadId"])
    assert _nothing_is_left(server, bucket)
