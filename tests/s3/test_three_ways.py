"""The three ways to call: cancelling each, callbacks, threads and event loops."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
import weakref
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, as_completed
from typing import Any

import pytest
import uvloop

from cumulo.store import S3Store
from tests.ctrl_c import ctrl_c_when
from tests.faults import FaultServer, Faulty, Object, Response, Stall, Trickle

from .support import MIB, PATH, fault_store

DATA = os.urandom(100_000)
LARGE = os.urandom(5 * MIB)


@pytest.fixture
def store(fault_server: FaultServer) -> S3Store:
    """A store with a small object `key` and a large one, `large`."""
    fault_server.script(PATH, Object(DATA))
    fault_server.script("/bucket/large", Object(LARGE))
    return fault_store(fault_server)


VERBS: dict[str, Callable[[Any, str], Any]] = {
    "get": lambda store, suffix: getattr(store, "get" + suffix)("slow"),
    "get_range": lambda store, suffix: getattr(store, "get_range" + suffix)("slow", start=0, end=10),
    "get_ranges": lambda store, suffix: getattr(store, "get_ranges" + suffix)("slow", starts=[0], ends=[10]),
    "head": lambda store, suffix: getattr(store, "head" + suffix)("slow"),
    "put": lambda store, suffix: getattr(store, "put" + suffix)("slow", b"x"),
    "delete": lambda store, suffix: getattr(store, "delete" + suffix)("slow"),
    "copy": lambda store, suffix: getattr(store, "copy" + suffix)("from", "slow"),
}


@pytest.mark.parametrize("verb", VERBS)
def test_a_cancelled_task_stops_the_transfer(fault_server: FaultServer, store: S3Store, verb: str) -> None:
    fault_server.script("/bucket/slow", Response.never())

    async def run() -> None:
        task = asyncio.ensure_future(VERBS[verb](store, "_async"))
        await fault_server.wait_for_async(lambda: fault_server.stalled)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await fault_server.wait_for_async(lambda: fault_server.connections.closed_by_peer)

    asyncio.run(run())


@pytest.mark.parametrize("verb", VERBS)
def test_a_cancelled_future_stops_the_transfer(fault_server: FaultServer, store: S3Store, verb: str) -> None:
    fault_server.script("/bucket/slow", Response.never())
    future = VERBS[verb](store.futures, "")
    fault_server.wait_for(lambda: fault_server.stalled)
    assert future.cancel()
    fault_server.wait_for(lambda: fault_server.connections.closed_by_peer)
    with pytest.raises(CancelledError):
        future.result(10)
    assert future.cancelled()


@pytest.mark.parametrize("verb", VERBS)
def test_ctrl_c_stops_the_transfer(fault_server: FaultServer, store: S3Store, verb: str) -> None:
    fault_server.script("/bucket/slow", Response.never())
    with ctrl_c_when(lambda: fault_server.stalled):
        VERBS[verb](store, "")
    fault_server.wait_for(lambda: fault_server.connections.closed_by_peer)


def test_a_time_limit_of_the_callers_own(fault_server: FaultServer, store: S3Store) -> None:
    fault_server.script("/bucket/slow", Response.never())

    async def run() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(store.get_async("slow"), 0.2)
        await fault_server.wait_for_async(lambda: fault_server.connections.closed_by_peer)
        assert await store.get_range_async("key", start=0, end=3) == DATA[:3]

    asyncio.run(run())


def test_a_stream_that_is_dropped_stops_the_transfer(fault_server: FaultServer, store: S3Store) -> None:
    fault_server.script("/bucket/slow", Faulty(Object(LARGE), Trickle(2 * MIB)))
    stream = store.get("slow").stream(min_chunk_size=1000)
    assert next(stream) == LARGE[:1000]
    del stream
    gc.collect()
    fault_server.wait_for(lambda: fault_server.connections.closed_by_peer)


def test_callbacks_that_wait_for_other_futures(store: S3Store) -> None:
    """They run on the one thread that hands out results, which must not wait for itself."""
    outcome: Future[list[int]] = Future()

    def nested(first: Future[Any]) -> None:
        try:
            second = store.futures.get("large").result(20)
            third = store.futures.get_ranges("key", starts=[0, 50], lengths=[5, 5], coalesce=0).result(20)
            body = second.bytes()
            outcome.set_result([len(first.result()), len(body), len(third), len(second.meta)])
        except BaseException as error:
            outcome.set_exception(error)

    store.futures.get_range("key", start=0, end=7).add_done_callback(nested)
    assert outcome.result(30) == [7, len(LARGE), 2, 5]


def test_callbacks_deep_in_callbacks(store: S3Store) -> None:
    done: Future[int] = Future()

    def go_on(left: int) -> Callable[[Future[Any]], None]:
        def callback(future: Future[Any]) -> None:
            if left == 0:
                done.set_result(len(future.result()))
                return
            future = store.futures.get_range("key", start=0, end=left)
            assert future.result(20) == DATA[:left]
            future.add_done_callback(go_on(left - 1))

        return callback

    store.futures.get_range("key", start=0, end=9).add_done_callback(go_on(30))
    assert done.result(30) == 1


def test_futures_of_many(store: S3Store) -> None:
    futures = {store.futures.get_range("key", start=number, end=number + 10): number for number in range(200)}
    for future in as_completed(futures, timeout=60):
        assert future.result() == DATA[futures[future] : futures[future] + 10]


def test_a_future_that_times_out_can_be_asked_again(fault_server: FaultServer, store: S3Store) -> None:
    fault_server.script("/bucket/slow", Faulty(Object(DATA), Stall()))
    future = store.futures.get_range("slow", start=0, end=4)
    with pytest.raises(TimeoutError):
        future.result(0.1)
    fault_server.release()
    assert future.result(20) == DATA[:4]


def test_a_future_that_is_done_lets_go_of_its_result(store: S3Store) -> None:
    """It may be a gigabyte, which the cyclic garbage collector knows nothing of."""
    gc.collect()
    gc.disable()
    try:
        future = store.futures.head("key")
        assert future.result(20)["size"] == len(DATA)
        dropped = weakref.ref(future)
        del future
        until = time.monotonic() + 20
        while dropped() is not None and time.monotonic() < until:
            time.sleep(0.01)
        assert dropped() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_event_loops_in_threads(store: S3Store, run: Callable[[Coroutine[Any, Any, bool]], bool]) -> None:
    async def work(seed: int) -> bool:
        spans = [(seed * 100 + number, seed * 100 + number + 50) for number in range(25)]
        found = await asyncio.gather(*(store.get_range_async("key", start=s, end=e) for s, e in spans))
        body = await (await store.get_async("large")).bytes_async()
        return body == LARGE and [bytes(part) for part in found] == [DATA[s:e] for s, e in spans]

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(lambda seed: run(work(seed)), range(12)))


def test_one_store_in_many_threads(store: S3Store) -> None:
    barrier = threading.Barrier(16)

    def work(number: int) -> bool:
        barrier.wait()
        return all(store.get_range("key", start=number, end=number + 9) == DATA[number : number + 9] for _ in range(20))

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(work, range(16)))


def test_an_async_iterator_needs_an_async_call(store: S3Store) -> None:
    async def pieces() -> Any:
        yield b"x"

    with pytest.raises(TypeError, match="put_async"):
        store.put("key", pieces())
    with pytest.raises(TypeError, match="put_async"):
        store.futures.put("key", pieces()).result(20)
