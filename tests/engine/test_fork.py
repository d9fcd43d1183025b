"""A forked child starts afresh and touches nothing of its parent's; the parent notices nothing."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cumulo import _native as native
from tests.faults import FaultServer, Faulty, Object, Response, Stall

from .support import (
    CHILD_S,
    PATH,
    STREAM,
    Dispatcher,
    EngineError,
    ended,
    error_of,
    fork,
    get,
    in_child,
    join_child,
    make_client,
    open_stream,
    read_stream,
    request,
    settled,
)

DATA = bytes(range(256)) * 400
STALLED = Response.of(DATA).having(Stall(50_000))


@pytest.fixture(autouse=True)
def objects(fault_server: FaultServer) -> None:
    """One object that comes, one that stalls half-way."""
    fault_server.script(PATH, Object(DATA))
    fault_server.script("/bucket/stalls", STALLED)


@pytest.fixture
def url(fault_server: FaultServer) -> str:
    """The server's address, which a child can't ask it for."""
    return fault_server.url


def test_a_child_gets(url: str, client: native.Client) -> None:
    assert get(client) == DATA
    in_child(lambda: _gets(url))
    assert get(client) == DATA


def test_a_child_of_a_process_that_has_used_nothing_yet(url: str) -> None:
    in_child(lambda: _gets(url))


def test_parent_and_child_go_on(fault_server: FaultServer, url: str, client: native.Client) -> None:
    with Dispatcher() as dispatcher:
        stalled = [request(client, path="/bucket/stalls") for _ in range(8)]
        done = [dispatcher.submit(each) for each in stalled]
        fault_server.wait_for(lambda: fault_server.stalled == 8)
        in_child(lambda: _gets(url))
        assert fault_server.stalled == 8, "the child's end has disturbed the parent's transfers"
        fault_server.release()
        assert all(each.wait(CHILD_S) for each in done)
    assert {bytes(each.take_body()) for each in stalled} == {DATA}
    assert get(client) == DATA


def test_children_of_children(url: str, client: native.Client) -> None:
    get(client)

    def generation(left: int) -> None:
        _gets(url)
        if left:
            in_child(lambda: generation(left - 1))
        _gets(url)

    in_child(lambda: generation(2))


def test_a_child_gets_over_tls(fault_server: FaultServer) -> None:
    url, options = fault_server.tls_url(), {"ca_pem": fault_server.ca_file.read_bytes()}
    client = make_client(url, **options)
    assert get(client) == DATA
    in_child(lambda: _gets(url, **options))
    assert get(client) == DATA


def test_a_child_in_its_own_event_loop(url: str, client: native.Client) -> None:
    async def gets() -> None:
        ours = make_client(url)
        every = await asyncio.gather(*[native.get_range_async(ours, "key", 0, 1000, None) for _ in range(20)])
        assert {bytes(each) for each in every} == {DATA[:1000]}

    asyncio.run(_parent_gets(client))
    in_child(lambda: asyncio.run(gets()))
    asyncio.run(_parent_gets(client))


def _pool_job(url: str) -> int:
    return len(get(make_client(url)))


def test_a_fork_pool(url: str, client: native.Client) -> None:
    get(client)
    with multiprocessing.get_context("fork").Pool(4) as pool:
        jobs = pool.map_async(_pool_job, [url] * 40)
        assert get(client) == DATA
        assert jobs.get(60) == [len(DATA)] * 40
        pool.close()
        pool.join()
    assert get(client) == DATA


def test_a_parents_client_is_refused(fault_server: FaultServer, client: native.Client) -> None:
    get(client)

    def child() -> None:
        with pytest.raises(RuntimeError, match="before a fork"):
            native.get_range(client, "key", 0, 10, None)
        assert error_of(request(client).perform).error == "forked"

    in_child(child)


def test_a_request_that_waits_fails_in_the_child(fault_server: FaultServer, client: native.Client) -> None:
    with Dispatcher() as dispatcher:
        stalled = request(client, path="/bucket/stalls")
        done = dispatcher.submit(stalled)
        fault_server.wait_for(lambda: fault_server.stalled == 1)

        def child() -> None:
            assert done.is_set()
            assert stalled.finished
            assert error_of(stalled.raise_if_failed).error == "forked"
            assert error_of(lambda: (stalled.wait(), stalled.raise_if_failed())).error == "forked"
            stalled.cancel()

        in_child(child)
        assert not done.is_set()
        fault_server.release()
        assert done.wait(CHILD_S)
    assert bytes(stalled.take_body()) == DATA


async def test_a_future_that_waits_fails_in_the_child(fault_server: FaultServer, client: native.Client) -> None:
    fault_server.script("/bucket/stalls", Faulty(Object(DATA), Stall(50_000)))
    future = native.get_range_async(client, "stalls", 0, len(DATA), None)
    await fault_server.wait_for_async(lambda: fault_server.stalled == 1)

    def child() -> None:
        assert isinstance(future.exception(), EngineError)
        assert future.exception().error == "forked"
        future.cancel()

    in_child(child)
    assert not future.done()
    future.cancel()
    with pytest.raises(asyncio.CancelledError):
        await future
    await settled()


def test_a_stream_fails_in_the_child_and_goes_on_in_the_parent(
    fault_server: FaultServer, client: native.Client
) -> None:
    data = DATA * (STREAM // len(DATA))
    fault_server.script("/bucket/stalls", Faulty(Object(data), Stall(50_000)))
    stream = open_stream(client, "/bucket/stalls")
    stream.feed_piece(80_000)

    def child() -> None:
        assert error_of(lambda: list(read_stream(stream))).error == "forked"
        stream.cancel()

    in_child(child)
    fault_server.wait_for(lambda: fault_server.stalled == 1)
    fault_server.release()
    assert b"".join(read_stream(stream, 80_000)) == data


def test_bytes_live_on_in_the_child(fault_server: FaultServer, url: str) -> None:
    fault_server.script(PATH, Object(DATA * 20))
    body = request(make_client(url)).perform().take_body()

    def child() -> None:
        nonlocal body
        assert body == DATA * 20
        body = None
        gc.collect()
        _gets(url, DATA * 20)

    in_child(child)
    assert body == DATA * 20


def test_what_the_child_drops_stays_with_the_parent(fault_server: FaultServer, url: str, client: native.Client) -> None:
    with Dispatcher() as dispatcher:
        kept = [client, request(client, path="/bucket/stalls"), request(client)]
        done = dispatcher.submit(kept[1])
        fault_server.wait_for(lambda: fault_server.stalled == 1)

        def child() -> None:
            kept.clear()
            gc.collect()
            _gets(url)

        in_child(child)
        fault_server.release()
        assert done.wait(CHILD_S)
        assert bytes(kept[1].take_body()) == DATA


def test_a_child_signs_with_credentials_of_its_own(fault_server: FaultServer, url: str) -> None:
    def signed() -> dict[str, object]:
        credentials = native.Credentials()
        credentials.publish("AKIDEXAMPLE", "secret")
        return {"credentials": credentials, "region": "us-east-1"}

    parents = signed()
    get(make_client(url, **parents))

    def child() -> None:
        with pytest.raises(RuntimeError, match="before a fork"):
            make_client(url, **parents)
        _gets(url, **signed())

    in_child(child)
    assert all("AKIDEXAMPLE" in (each.header("authorization") or "") for each in fault_server.requests)
    assert len(fault_server.requests) == 2


def test_a_child_waits_for_no_thread_of_its_parents(
    fault_server: FaultServer, client: native.Client, tmp_path: Path
) -> None:
    """What those threads had in their hands is closed in the child, before any of Python's fork handlers runs."""
    data = os.urandom(4 << 20)
    fault_server.script(PATH, Object(data))
    stop = threading.Event()

    def downloads(number: int) -> None:
        with (tmp_path / str(number)).open("w+b") as file:
            while not stop.is_set():
                download = request(client, sink="stream")
                download.feed_file(file, 0, len(data))
                download.perform()

    threads = [threading.Thread(target=downloads, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(100):
            in_child(lambda: None)
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_what_a_thread_has_of_its_own_is_dropped_in_the_child(fault_server: FaultServer, client: native.Client) -> None:
    class Closing:
        def __init__(self, stream: native.Request) -> None:
            self.stream = stream

        def __del__(self) -> None:
            self.stream.cancel()

    local, stop, started = threading.local(), threading.Event(), threading.Event()

    def hold() -> None:
        local.closing = Closing(open_stream(client, "/bucket/stalls"))
        local.closing.stream.feed_piece(80_000)
        started.set()
        stop.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert started.wait(CHILD_S)
        fault_server.wait_for(lambda: fault_server.stalled == 1)
        in_child(lambda: None)
        assert fault_server.stalled == 1, "the child has closed its parent's stream"
    finally:
        stop.set()
        thread.join()


def test_a_child_counts_its_own(url: str, client: native.Client) -> None:
    get(client)

    def child() -> None:
        before = native.live_objects()
        assert all(count <= 0 for count in before.values()), "what it inherited counts as its own"
        assert native.runtime_stats()["connections"] == 0
        _gets(url)
        until = time.monotonic() + 10  # the engine lets go of a request a moment after its news
        while native.live_objects() != before and time.monotonic() < until:
            time.sleep(0.005)
        assert native.live_objects() == before
        assert native.runtime_stats()["connections"] == 1

    in_child(child)


def test_a_child_may_configure(url: str, client: native.Client) -> None:
    get(client)

    def child() -> None:
        native.configure(threads=1, connections=10)
        _gets(url)
        assert native.runtime_stats()["threads"] == 1

    in_child(child)


@pytest.mark.parametrize("debug", [False, True])
def test_in_the_thick_of_traffic(url: str, client: native.Client, debug: bool) -> None:
    # Whatever lock is held at the moment of the fork must not matter to the child; nor that a loop in debug mode
    # refuses to hear of an end from another thread than its own.
    with _traffic(client, debug) as in_flight:
        for _ in range(20):

            def child() -> None:
                for each in list(in_flight):
                    assert each.finished, each.progress
                    assert each.error in (None, "forked")
                    each.cancel()
                _gets(url)

            in_child(child)
    assert get(client) == DATA


@contextmanager
def _traffic(client: native.Client, debug: bool) -> Iterator[set[native.Request]]:
    """Requests without a pause, by a thread of their own; yields those under way."""
    in_flight = set[native.Request]()
    stopping = threading.Event()

    async def one() -> None:
        while not stopping.is_set():
            started = request(client)
            ending = asyncio.ensure_future(ended(started))
            await asyncio.sleep(0)  # it is submitted now: a child has no end for what never was
            in_flight.add(started)
            await ending
            in_flight.discard(started)
            started.raise_if_failed()

    async def many() -> None:
        await asyncio.gather(*[one() for _ in range(32)])

    thread = threading.Thread(target=lambda: asyncio.run(many(), debug=debug))
    thread.start()
    time.sleep(0.1)
    try:
        yield in_flight
    finally:
        stopping.set()
        thread.join()


def test_many_children_at_once(url: str, client: native.Client) -> None:
    get(client)
    children = [fork(lambda: _gets(url)) for _ in range(16)]
    for pid in children:
        join_child(pid)
    assert get(client) == DATA


def _gets(url: str, data: bytes = DATA, **options: object) -> None:
    assert get(make_client(url, **options)) == data


async def _parent_gets(client: native.Client) -> None:
    assert bytes(await native.get_range_async(client, "key", 0, len(DATA), None)) == DATA
