"""Results that are made in one way, thread or event loop and consumed in another."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import uvloop

from cumulo.store import S3Store
from tests.faults import FaultServer, Object

from .support import MIB, fault_store

LARGE = os.urandom(5 * MIB)


@pytest.fixture
def store(fault_server: FaultServer) -> S3Store:
    """A store with an object larger than what is fetched unasked, `large`."""
    fault_server.script("/bucket/large", Object(LARGE))
    return fault_store(fault_server)


def _in_thread(function: Callable[[], Any]) -> Any:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result(60)


async def _collected(result: Any) -> bytes:
    return b"".join([chunk async for chunk in result.stream(min_chunk_size=MIB)])


async def _get(store: S3Store) -> Any:
    return await store.get_async("large")


MAKERS: dict[str, Callable[[S3Store], Any]] = {
    "sync": lambda store: store.get("large"),
    "asyncio": lambda store: asyncio.run(_get(store)),
    "uvloop": lambda store: uvloop.run(_get(store)),
    "futures": lambda store: store.futures.get("large").result(30),
    "another thread": lambda store: _in_thread(lambda: store.get("large")),
    "a loop in another thread": lambda store: _in_thread(lambda: asyncio.run(_get(store))),
}


async def _bytes(result: Any) -> Any:
    return await result.bytes_async()


CONSUMERS: dict[str, Callable[[Any], Any]] = {
    "sync": lambda result: result.bytes(),
    "stream": lambda result: b"".join(result.stream(min_chunk_size=MIB)),
    "asyncio": lambda result: asyncio.run(_bytes(result)),
    "async stream": lambda result: asyncio.run(_collected(result)),
    "uvloop": lambda result: uvloop.run(_bytes(result)),
    "future": lambda result: result.bytes_future().result(30),
    "another thread": lambda result: _in_thread(result.bytes),
    "a loop in another thread": lambda result: _in_thread(lambda: asyncio.run(_collected(result))),
}


@pytest.mark.parametrize("consumer", CONSUMERS)
@pytest.mark.parametrize("maker", MAKERS)
def test_a_result_made_one_way_is_consumed_another(store: S3Store, maker: str, consumer: str) -> None:
    """Also where the event loop or thread that it was made by has gone since."""
    assert CONSUMERS[consumer](MAKERS[maker](store)) == LARGE


PROGRAM = """
import asyncio, gc, sys, time, uvloop
from cumulo import _native, runtime
from cumulo.store import S3Store
store = S3Store("bucket", endpoint=sys.argv[1], skip_signature=True, client_options={"allow_http": True})
run = {"asyncio": asyncio, "uvloop": uvloop}[sys.argv[2]].run
def left(count):
    until = time.monotonic() + 30
    while (found := count()) and time.monotonic() < until:
        gc.collect()
        time.sleep(0.01)
    return found
"""

UNREAD = """
async def get():
    return await store.get_async("large")
for _ in range(40):
    assert sum(map(len, run(get()).stream(min_chunk_size=1 << 20))) == 5 << 20
sys.exit(left(lambda: _native.live_objects()["requests"]))
"""

CANCELLED = """
async def begin(n):
    gets = [asyncio.ensure_future(store.get_async("large")) for _ in range(2)]
    gets += [asyncio.ensure_future(store.get_range_async("large", start=0, end=99999)) for _ in range(2)]
    await asyncio.sleep(n % 5 / 1000)
    for get in gets[::2]:
        get.cancel()
for n in range(500):
    run(begin(n))
sys.exit(left(lambda: _native.live_objects()["requests"]))
"""

OUTLIVED = """
async def begin():
    return [store.get_async("large"), store.get_range_async("large", start=0, end=99999)]
store.head("large")
begun = run(begin())
del begun
def others():
    store.head("large")  # whoever hears its own news ends what the closed loop has left, in the end
    return runtime.stats()["requests"]
sys.exit(left(others))
"""


DROPPED = """
async def get_and_drop():
    for _ in range(10):
        await store.get_async("large")
    while runtime.stats()["requests"]:  # in a loop that goes on, so nothing but the result's end can stop them
        gc.collect()
        await asyncio.sleep(0.01)
run(asyncio.wait_for(get_and_drop(), 30))
for _ in range(10):
    store.futures.get("large").result(30)
sys.exit(left(lambda: runtime.stats()["requests"]))
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize(
    "program",
    [
        pytest.param(UNREAD, id="a note unread"),
        pytest.param(CANCELLED, id="cancelled gets, 500 times"),
        pytest.param(DROPPED, id="results that nobody reads"),
        pytest.param(OUTLIVED, id="requests under way, and a thread that goes on"),
    ],
)
def test_a_loop_that_closes_leaks_nothing(fault_server: FaultServer, store: S3Store, program: str, loop: str) -> None:
    """In a process of its own, as what leaks here would fail other tests."""
    assert store.head("large")["size"] == 5 * MIB
    command = [sys.executable, "-c", PROGRAM + program, fault_server.url, loop]
    done = subprocess.run(command, timeout=100, check=False, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_stream_goes_on_in_another_thread(store: S3Store) -> None:
    stream = store.get("large").stream(min_chunk_size=MIB)
    pieces = [next(stream), _in_thread(lambda: next(stream)), asyncio.run(_next(stream)), *stream]
    assert b"".join(pieces) == LARGE


async def _next(stream: Any) -> bytes:
    return await anext(stream)
