"""What async calls return is a future, and good wherever asyncio asks for a coroutine."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable
from typing import Any

import pytest

import cumulo
from cumulo.exceptions import NotFoundError
from cumulo.store import MemoryStore, S3Store
from tests.faults import FaultServer, Faulty, Object, Stall
from tests.s3.support import PATH, fault_store


@pytest.fixture(params=["memory", "plan", "range"])
def read(request: pytest.FixtureRequest, fault_server: FaultServer) -> Callable[[], Any]:
    """A call that reads `data`: without requests, by a plan, by the short cut."""
    if request.param == "memory":
        store: Any = MemoryStore()
        store.put("key", b"data")
    else:
        store = fault_store(fault_server)
        fault_server.script(PATH, Object(b"data"))
    if request.param == "range":
        return lambda: store.get_range_async("key", start=0, end=4)
    return lambda: store.get_ranges_async("key", starts=[0], ends=[4])


def content(found: Any) -> bytes:
    return bytes(found[0] if isinstance(found, list) else found)


async def test_it_is_a_future_and_a_coroutine(read: Callable[[], Any]) -> None:
    call = read()
    assert asyncio.isfuture(call)
    assert asyncio.iscoroutine(call)
    assert inspect.isawaitable(call)
    assert content(await call) == b"data"
    assert content(await call) == b"data", "a future can be awaited again"


async def test_in_tasks(read: Callable[[], Any]) -> None:
    task = asyncio.create_task(read())
    assert content(await task) == b"data"
    done, _ = await asyncio.wait([asyncio.create_task(read()) for _ in range(3)])
    assert [content(task.result()) for task in done] == [b"data"] * 3
    assert [content(found) for found in await asyncio.gather(read(), read())] == [b"data"] * 2
    assert content(await asyncio.wait_for(read(), 10)) == b"data"
    assert [content(await each) for each in asyncio.as_completed([read(), read()])] == [b"data"] * 2


def test_without_a_running_loop(read: Callable[[], Any]) -> None:
    assert content(asyncio.run(read())) == b"data"
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        assert content(asyncio.run_coroutine_threadsafe(read(), loop).result(10)) == b"data"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def test_results_are_read_without_a_running_loop_too() -> None:
    store = MemoryStore()
    store.put("key", b"data")
    result = asyncio.run(store.get_async("key"))
    assert asyncio.run(result.bytes_async()) == b"data"
    assert asyncio.run(cumulo.list(store).collect_async())[0]["path"] == "key"


async def test_errors_come_out_of_tasks() -> None:
    with pytest.raises(NotFoundError):
        await asyncio.create_task(MemoryStore().head_async("none"))


@pytest.mark.parametrize("verb", ["get_range_async", "get_ranges_async"])
async def test_a_cancelled_task_stops_the_transfer(fault_server: FaultServer, verb: str) -> None:
    store: S3Store = fault_store(fault_server)
    fault_server.script(PATH, Faulty(Object(bytes(100)), Stall(10)))
    span: dict[str, Any] = {"start": 0, "end": 90} if verb == "get_range_async" else {"starts": [0], "ends": [90]}
    call = getattr(store, verb)("key", **span)
    task = asyncio.create_task(call)
    await fault_server.wait_for_async(lambda: fault_server.stalled == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert call.cancelled()


@pytest.mark.parametrize("verb", ["get_range_async", "get_ranges_async"])
async def test_a_task_cancelled_before_it_began_stops_the_transfer(fault_server: FaultServer, verb: str) -> None:
    store: S3Store = fault_store(fault_server)
    fault_server.script(PATH, Faulty(Object(bytes(100)), Stall(10)))
    span: dict[str, Any] = {"start": 0, "end": 90} if verb == "get_range_async" else {"starts": [0], "ends": [90]}
    call = getattr(store, verb)("key", **span)
    task = asyncio.create_task(call)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert call.cancelled()


async def test_closing_cancels() -> None:
    store = MemoryStore()
    call = store.put_async("key", _slowly())
    call.close()
    assert call.cancelled()


async def _slowly() -> Any:
    await asyncio.sleep(60)
    yield b""


def test_a_call_that_nobody_awaits_does_nothing_without_a_loop() -> None:
    store = MemoryStore()
    call = store.put_async("key", b"data")
    call.close()
    assert store.list().collect() == []
