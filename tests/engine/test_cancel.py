"""Cancelling stops the transfer on the wire, gives everything back, and lets go of the caller's memory at once.

That nothing is left alive is asserted after each test, by the suite's `no_native_leaks`.
"""

from __future__ import annotations

import asyncio
import gc
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from cumulo import _native as native
from tests.faults import FaultServer, Faulty, Object, Response, Stall, Step

from .support import (
    CHILD_S,
    PATH,
    STREAM,
    Dispatcher,
    EngineError,
    ended,
    error_of,
    get,
    make_client,
    open_stream,
    raw_server,
    read_piece,
    request,
    settled,
)

STALLED = Faulty(Object(b"x" * 100_000), Stall(50_000))
Connect = Callable[..., native.Client]


@pytest.mark.parametrize("step", [Response.never(), STALLED], ids=["before headers", "mid-body"])
async def test_a_cancelled_task_closes_its_connection(
    fault_server: FaultServer, client: native.Client, step: Step
) -> None:
    fault_server.script(PATH, step)

    async def whole() -> None:
        await native.get_range_async(client, "key", 0, 100_000, None)

    task = asyncio.create_task(whole())
    await fault_server.wait_for_async(lambda: fault_server.stalled == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await fault_server.wait_for_async(lambda: fault_server.connections.closed_by_peer == 1)
    assert len(fault_server.requests) == 1


async def test_a_cancelled_future_closes_its_connection(fault_server: FaultServer, client: native.Client) -> None:
    fault_server.script(PATH, Response.never())
    future = native.get_range_async(client, "key", 0, 100, None)
    await fault_server.wait_for_async(lambda: fault_server.stalled == 1)
    assert future.cancel()
    assert not future.cancel()
    with pytest.raises(asyncio.CancelledError):
        await future
    await fault_server.wait_for_async(lambda: fault_server.connections.closed_by_peer == 1)


async def test_wait_for_gives_up_and_the_transfer_with_it(fault_server: FaultServer, client: native.Client) -> None:
    fault_server.script(PATH, Response.never())
    transfer = native.get_range_async(client, "key", 0, 100, None)
    await fault_server.wait_for_async(lambda: fault_server.stalled == 1)
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(transfer, 0.1)
    await fault_server.wait_for_async(lambda: fault_server.connections.closed_by_peer == 1)


async def test_cancelling_a_finished_future_changes_nothing(fault_server: FaultServer, client: native.Client) -> None:
    fault_server.script(PATH, Object(b"0123456789"))
    future = native.get_range_async(client, "key", 2, 6, None)
    assert bytes(await future) == b"2345"
    assert not future.cancel()
    assert bytes(future.result()) == b"2345"


async def test_cancelled_while_it_waits_for_a_connection(fault_server: FaultServer, connect: Connect) -> None:
    client, before = connect(max_connections=1), native.runtime_stats()["requests"]
    fault_server.script("/bucket/first", [Response.of(b"first").having(Stall())])
    fault_server.script(PATH, Object(b"never asked for"))
    first = asyncio.create_task(ended(request(client, path="/bucket/first")))
    await fault_server.wait_for_async(lambda: fault_server.stalled == 1)
    waiting = [native.get_range_async(client, "key", 0, 5, None) for _ in range(10)]
    await asyncio.sleep(0.05)
    for future in waiting:
        future.cancel()
    # The engine hears of it a moment later; until then one of them might still get the connection.
    await fault_server.wait_for_async(lambda: native.runtime_stats()["requests"] <= before + 1)
    fault_server.release()
    assert bytes((await first).take_body()) == b"first"
    await asyncio.sleep(0.05)
    assert [each.path for each in fault_server.requests] == ["/bucket/first"]


async def test_cancelled_between_two_attempts(fault_server: FaultServer, client: native.Client) -> None:
    fault_server.script(PATH, Response.error(503, retry_after=10))
    future = native.get_range_async(client, "key", 0, 5, None)
    await fault_server.wait_for_async(lambda: fault_server.requests and fault_server.requests[0].answered)
    await asyncio.sleep(0.05)
    future.cancel()
    with pytest.raises(asyncio.CancelledError):
        await future
    await settled()


async def test_cancelled_at_once(fault_server: FaultServer, client: native.Client) -> None:
    fault_server.script(PATH, Object(b"0123456789"))
    for _ in range(200):
        native.get_range_async(client, "key", 0, 5, None).cancel()
    assert bytes(await native.get_range_async(client, "key", 0, 5, None)) == b"01234"


def test_cancelled_by_another_thread(fault_server: FaultServer, client: native.Client) -> None:
    fault_server.script(PATH, Response.never())
    blocked = request(client)
    threading.Thread(
        target=lambda: (fault_server.wait_for(lambda: fault_server.stalled == 1), blocked.cancel()), daemon=True
    ).start()
    assert error_of(blocked.perform).error == "cancelled"
    fault_server.wait_for(lambda: fault_server.connections.closed_by_peer == 1)


def test_a_cancelled_future_of_a_dispatcher(fault_server: FaultServer, client: native.Client) -> None:
    fault_server.script(PATH, STALLED)
    with Dispatcher() as dispatcher:
        stopped = request(client)
        done = dispatcher.submit(stopped)
        fault_server.wait_for(lambda: fault_server.stalled == 1)
        stopped.cancel()
        assert done.wait(CHILD_S)
    with pytest.raises(EngineError, match="cancelled"):
        stopped.raise_if_failed()
    fault_server.wait_for(lambda: fault_server.connections.closed_by_peer == 1)


def test_a_cancelled_stream(fault_server: FaultServer, client: native.Client) -> None:
    fault_server.script(PATH, Faulty(Object(b"x" * STREAM), Stall(STREAM // 2)))
    stream = open_stream(client)
    assert read_piece(stream, 1000) == b"x" * 1000
    stream.cancel()
    fault_server.wait_for(lambda: fault_server.connections.closed_by_peer == 1)
    assert not stream.feed_piece(1000)


def test_its_connection_goes_to_who_waits_for_one(fault_server: FaultServer, connect: Connect) -> None:
    client = connect(max_connections=1)
    fault_server.script("/bucket/first", Response.never())
    fault_server.script(PATH, Object(b"data"))
    with Dispatcher() as dispatcher:
        first = request(client, path="/bucket/first")
        first_done = dispatcher.submit(first)
        fault_server.wait_for(lambda: fault_server.stalled == 1)
        second = request(client)
        second_done = dispatcher.submit(second)
        first.cancel()
        assert first_done.wait(CHILD_S)
        assert second_done.wait(CHILD_S)
    assert bytes(second.take_body()) == b"data"


def test_no_byte_is_written_after_it(fault_server: FaultServer, client: native.Client) -> None:
    size = 32 << 20
    fault_server.script(PATH, Response.of(b"x" * size))
    cut_short = 0
    while cut_short < 10:
        stream = open_stream(client)
        stream.feed_piece(size)
        while stream.progress[3] < 1 << 20:
            time.sleep(0)
        stream.cancel()
        # Where the engine writes: Python code can't reach it otherwise before it is full.
        (pieces,) = (each for each in gc.get_referents(stream) if isinstance(each, deque))
        written = pieces[0].count(b"x")
        assert written > 0
        cut_short += written < size  # or this thread had to wait for a processor, and all of it is there
        time.sleep(0.02)
        assert pieces[0].count(b"x") == written


def test_no_byte_is_read_from_the_source_after_it() -> None:
    go_on, received = threading.Event(), bytearray()
    source = bytearray(b"a" * (64 << 20))

    def read_late(sock: socket.socket) -> None:
        received.extend(sock.recv(4096))
        go_on.wait(20)
        while data := sock.recv(1 << 20):
            received.extend(data)

    with raw_server(read_late) as url, Dispatcher() as dispatcher:
        upload = request(make_client(url), "PUT", body=source)
        done = dispatcher.submit(upload)
        while not received:
            time.sleep(0.005)
        time.sleep(0.05)
        upload.cancel()
        source[:] = b"b" * len(source)
        go_on.set()
        assert done.wait(CHILD_S)
    _, _, body = bytes(received).partition(b"\r\n\r\n")
    assert len(body) < len(source)
    assert b"b" not in body


def test_nothing_is_sent_of_what_a_file_holds_after_it(tmp_path: Path) -> None:
    """Where the server could not tell, the kernel has a copy of what it is to send."""
    begun, go_on, received, size = threading.Event(), threading.Event(), bytearray(), 1_500_000
    path = tmp_path / "source"
    path.write_bytes(b"a" * size)

    def read_late(sock: socket.socket) -> None:
        sock.recv(1, socket.MSG_PEEK)
        begun.set()
        go_on.wait(20)
        with suppress(ConnectionResetError):
            while data := sock.recv(1 << 20):
                received.extend(data)

    with raw_server(read_late) as url, Dispatcher() as dispatcher, path.open("r+b") as file:
        upload = request(make_client(url), "PUT", file=(file, 0, size))
        done = dispatcher.submit(upload)
        assert begun.wait(20)
        time.sleep(0.1)  # for what the kernel takes
        upload.cancel()
        assert done.wait(CHILD_S)
        while native.runtime_stats()["connections"]:
            time.sleep(0.005)
        file.write(b"b" * size)
        file.flush()
        go_on.set()
    _, _, body = bytes(received).partition(b"\r\n\r\n")
    assert body
    assert b"b" not in body


def test_many_cancels_leave_nothing_behind(fault_server: FaultServer, client: native.Client) -> None:
    fault_server.script(PATH, Object(b"x" * 200_000))

    async def storm() -> None:
        for turn in range(40):
            futures = [native.get_range_async(client, "key", 0, 200_000, None) for _ in range(25)]
            await asyncio.sleep(0.0002 * turn)
            for future in futures:
                future.cancel()
            await asyncio.gather(*futures, return_exceptions=True)

    asyncio.run(storm())
    assert get(client) == b"x" * 200_000
