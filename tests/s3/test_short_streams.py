"""Streams of bodies that are short enough to be fetched unasked: they give what has come, while the rest is coming."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections.abc import Callable
from typing import Any

import pytest

from cumulo.exceptions import ChecksumError, ConnectionFailedError
from cumulo.store import S3Store
from tests.ctrl_c import ctrl_c_when
from tests.faults import Cut, FaultServer, Faulty, Flip, Object, Stall

from .support import MIB, NO_RETRY, PATH, fault_store

DATA = os.urandom(3 * MIB)
CHUNK = 65_536
WAYS = ("sync", "async", "futures")


def chunks_of(way: str, store: S3Store, after: Callable[[int], None], size: int = CHUNK) -> list[bytes]:
    """The chunks of `key`; `after` is called with their number after each."""
    found: list[bytes] = []

    def take(chunk: bytes) -> None:
        found.append(chunk)
        after(len(found))

    async def run() -> None:
        async for chunk in (await store.get_async("key")).stream(size):
            take(chunk)

    if way == "async":
        asyncio.run(run())
    else:
        result = store.get("key") if way == "sync" else store.futures.get("key").result(10)
        for chunk in result.stream(size):
            take(chunk)
    return found


def store_of(server: FaultServer, **options: Any) -> S3Store:
    """One that gives up while the server still waits to be told to go on, instead of hanging."""
    return fault_store(server, client_options={"timeout": 20}, **options)


def go_on(server: FaultServer) -> None:
    """Let the server send on, which it waits for: it has not sent all."""
    server.wait_for(lambda: server.stalled)
    server.release()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("tls", [False, True])
def test_chunks_come_while_the_server_sends(fault_server: FaultServer, way: str, tls: bool) -> None:
    fault_server.script(PATH, Faulty(Object(DATA), Stall(100_000), Stall(MIB)))
    client = {"timeout": 20, "root_certificate": fault_server.ca_file.read_bytes()} if tls else {"timeout": 20}
    url = fault_server.tls_url() if tls else fault_server.url
    store = fault_store(fault_server, endpoint=url, client_options=client)

    def after(number: int) -> None:
        if number in (1, MIB // CHUNK):  # the last that is there while the server waits, or all that is
            go_on(fault_server)

    found = chunks_of(way, store, after)
    assert b"".join(found) == DATA
    assert {len(chunk) for chunk in found} == {CHUNK}
    assert len(fault_server.requests) == 1


@pytest.mark.parametrize("size", [1, 1000, CHUNK, 300_000, 10 * MIB])
@pytest.mark.parametrize("length", [1, 2000, 3 * CHUNK, 3 * CHUNK + 1, 4 * MIB])
def test_chunks_of_any_size(fault_server: FaultServer, faulty: S3Store, size: int, length: int) -> None:
    data = (DATA + DATA)[:length] if size > 1 else DATA[: min(length, 2000)]
    fault_server.script(PATH, Object(data))
    found = chunks_of("sync", faulty, lambda _: None, size)
    assert b"".join(found) == data
    assert {len(chunk) for chunk in found[:-1]} <= {size}


def test_what_is_waited_for_comes_when_it_is_there(fault_server: FaultServer) -> None:
    """Less than the kernel keeps to itself while a long piece is awaited."""
    fault_server.script(PATH, Faulty(Object(DATA), Stall(40_000), Stall(100_000)))
    store = store_of(fault_server)

    async def run() -> None:
        stream = (await store.get_async("key")).stream(CHUNK)
        await fault_server.wait_for_async(lambda: fault_server.stalled)
        first = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        assert not first.done()
        fault_server.release()
        assert await first == DATA[:CHUNK]
        await fault_server.wait_for_async(lambda: fault_server.stalled)  # it has 3 MiB more to send
        fault_server.release()
        assert b"".join([chunk async for chunk in stream]) == DATA[CHUNK:]

    asyncio.run(run())
    assert len(fault_server.requests) == 1


def test_a_stream_of_another_thread(fault_server: FaultServer) -> None:
    fault_server.script(PATH, Faulty(Object(DATA), Stall(100_000)))
    stream = asyncio.run(_begun(store_of(fault_server)))  # whose loop is gone
    found: list[bytes] = []
    thread = threading.Thread(target=lambda: found.extend(stream))
    thread.start()
    fault_server.wait_for(lambda: found)
    go_on(fault_server)
    thread.join(20)
    assert b"".join(found) == DATA


async def _begun(store: S3Store) -> Any:
    return (await store.get_async("key")).stream(CHUNK)


# -- what may go wrong in the middle


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("how", ["fin", "rst"])
def test_it_goes_on_where_it_was_cut(fault_server: FaultServer, way: str, how: Any) -> None:
    obj = Object(DATA)
    fault_server.script(PATH, [Faulty(obj, Stall(100_000), Cut(150_000, how)), Faulty(obj, Cut(MIB)), obj])

    def after(number: int) -> None:
        if number == 1:
            go_on(fault_server)

    assert b"".join(chunks_of(way, store_of(fault_server), after)) == DATA
    assert len(fault_server.requests) == 3
    for request in fault_server.requests[1:]:
        assert request.header("if-match") == obj.current_etag
        assert request.header("range")


@pytest.mark.parametrize("way", WAYS)
def test_an_error_comes_after_what_was_given(fault_server: FaultServer, way: str) -> None:
    fault_server.script(PATH, Faulty(Object(DATA), Stall(100_000), Cut(150_000)))
    found: list[int] = []

    def after(number: int) -> None:
        found.append(number)
        if number == 1:
            go_on(fault_server)

    with pytest.raises(ConnectionFailedError):
        chunks_of(way, store_of(fault_server, retry_config=NO_RETRY), after)
    assert found in ([1], [1, 2])


def test_a_stream_that_broke_has_no_end(fault_server: FaultServer) -> None:
    fault_server.script(PATH, Faulty(Object(DATA), Stall(100_000), Cut(150_000)))
    stream = store_of(fault_server, retry_config=NO_RETRY).get("key").stream(200_000)
    go_on(fault_server)  # cut off before that, it would be the get's own error
    with pytest.raises(ConnectionFailedError):
        next(stream)
    with pytest.raises(RuntimeError, match="broken off"):
        next(stream)


def test_what_nobody_has_seen_begins_anew(fault_server: FaultServer) -> None:
    """Where there is nothing to go on by; what was handed out can't."""
    obj = Object(DATA, etag='W/"a"')
    fault_server.script(PATH, [Faulty(obj, Stall(100_000), Cut(150_000)), obj])
    store = store_of(fault_server)
    stream = store.get("key").stream(200_000)
    fault_server.wait_for(lambda: fault_server.stalled)
    threading.Timer(0.2, fault_server.release).start()  # most often it waits by then
    assert b"".join(stream) == DATA
    assert fault_server.requests[1].header("range") is None
    fault_server.script(PATH, [Faulty(obj, Stall(100_000), Cut(150_000)), obj])
    stream = store.get("key").stream(CHUNK)
    assert next(stream) == DATA[:CHUNK]
    go_on(fault_server)
    with pytest.raises(ConnectionFailedError):
        list(stream)


@pytest.mark.parametrize("way", WAYS)
def test_the_last_chunk_comes_after_the_verdict(fault_server: FaultServer, way: str) -> None:
    fault_server.script(PATH, Faulty(Object(DATA, checksums=["crc32"]), Flip(MIB), Stall(100_000)))
    found: list[int] = []

    def after(number: int) -> None:
        found.append(number)
        if number == 1:
            go_on(fault_server)

    with pytest.raises(ChecksumError):
        chunks_of(way, store_of(fault_server), after)
    assert found == list(range(1, len(found) + 1))
    assert 1 <= len(found) < len(DATA) // CHUNK
    assert len(fault_server.requests) == 1


# -- who stops in the middle


def test_a_cancelled_task_stops_the_transfer(fault_server: FaultServer) -> None:
    fault_server.script(PATH, Faulty(Object(DATA), Stall(100_000)))
    store = store_of(fault_server)

    async def run() -> None:
        stream = (await store.get_async("key")).stream(CHUNK)
        assert await anext(stream) == DATA[:CHUNK]
        second = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        await fault_server.wait_for_async(lambda: fault_server.connections.closed_by_peer)
        with pytest.raises(RuntimeError, match="broken off"):
            await anext(stream)

    asyncio.run(run())


def test_ctrl_c_stops_the_transfer(fault_server: FaultServer) -> None:
    fault_server.script(PATH, Faulty(Object(DATA), Stall(100_000)))
    stream = store_of(fault_server).get("key").stream(CHUNK)
    assert next(stream) == DATA[:CHUNK]
    with ctrl_c_when(lambda: fault_server.stalled):
        next(stream)
    fault_server.wait_for(lambda: fault_server.connections.closed_by_peer)


def test_a_stream_that_is_dropped_stops_the_transfer(fault_server: FaultServer) -> None:
    fault_server.script(PATH, Faulty(Object(DATA), Stall(100_000)))
    stream = store_of(fault_server).get("key").stream(CHUNK)
    assert next(stream) == DATA[:CHUNK]
    del stream
    gc.collect()
    fault_server.wait_for(lambda: fault_server.connections.closed_by_peer)
