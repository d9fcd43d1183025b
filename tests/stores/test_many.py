"""What get_many and put_many promise beyond results: how much is under way, pulled and held, and who may read."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import cumulo.runtime
from cumulo.store import LocalStore, MemoryStore, S3Store
from tests.faults import Delay, FaultServer, Faulty, Object, Stall
from tests.s3.support import MIB

from .many import Counted, closed, small, store_of


@pytest.fixture
def store(fault_server: FaultServer) -> S3Store:
    """A store as `many.store_of` makes it."""
    return store_of(fault_server)


# -- requests


def test_a_small_object_is_one_request(fault_server: FaultServer, store: S3Store) -> None:
    assert len(list(store.get_many([*small(20), ("small/1", 0, 3)]))) == 21
    assert len(fault_server.requests) == 21
    assert {request.method for request in fault_server.requests} == {"GET"}


def test_large_objects_come_in_parts(fault_server: FaultServer, store: S3Store) -> None:
    large = bytes(range(256)) * 4096 * 20
    fault_server.script("/bucket/large", Object(large))
    items = list(store.get_many(["large", ("large", 5, 5 * MIB), "small/1"], ordered=True))
    assert [bytes(item.bytes) for item in items] == [large, large[5 : 5 + 5 * MIB], b"small"]
    assert len(fault_server.requests) > 3


def test_near_ranges_stay_requests_of_their_own(fault_server: FaultServer, store: S3Store) -> None:
    assert len(list(store.get_many([("small/1", at, 1) for at in range(5)]))) == 5
    assert len(fault_server.requests) == 5


@pytest.mark.parametrize("most", [1, 7])
def test_no_more_than_max_concurrency_are_under_way(fault_server: FaultServer, store: S3Store, most: int) -> None:
    taken: list[Any] = []
    stream = store.get_many((f"stalls/{number}" for number in range(21)), max_concurrency=most)
    thread = threading.Thread(target=lambda: taken.extend(stream))
    thread.start()
    for round_ in range(1, 4):
        # Those of the round before may seem to stall still.
        fault_server.wait_for(
            lambda round_=round_: fault_server.stalled == most and len(fault_server.requests) >= most * round_
        )
        time.sleep(0.05)
        assert len(fault_server.requests) == most * round_
        fault_server.release()
    while thread.is_alive():
        fault_server.release()
        thread.join(0.01)
    assert len(taken) == 21


def test_results_come_as_they_are_complete_unless_in_order(fault_server: FaultServer, store: S3Store) -> None:
    fault_server.script("/bucket/late", Faulty(Object(b"late"), Stall()))
    paths = ["late", *small(30)]
    stream = store.get_many(paths)
    assert 0 not in [next(stream).index for _ in range(30)]
    fault_server.wait_for(lambda: fault_server.stalled)
    fault_server.release()
    assert [item.index for item in stream] == [0]
    fault_server.script("/bucket/late", Faulty(Object(b"late"), Delay(0.3)))
    assert [item.index for item in store.get_many(paths, ordered=True)] == list(range(31))


# -- pulling


@pytest.mark.parametrize("most", [1, 8])
def test_items_are_pulled_as_results_are_taken(store: S3Store, most: int) -> None:
    items = Counted()
    stream = store.get_many(items, max_concurrency=most)
    for number in range(1, 40):
        next(stream)
        assert items.taken <= number + 2 * most
    stream.close()
    taken = items.taken
    assert list(stream) == []
    assert items.taken == taken


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_items_are_pulled_as_results_are_taken_from_asyncio(store: S3Store, asynchronous: bool) -> None:
    items = Counted()
    stream = store.get_many(items.run() if asynchronous else items, max_concurrency=4)
    for number in range(1, 40):
        await anext(stream)
        assert items.taken <= number + 8
    await stream.aclose()
    taken = items.taken
    await asyncio.sleep(0.05)
    assert items.taken <= taken + 1


def test_a_consumer_that_stops_taking_stops_the_transfers(fault_server: FaultServer, store: S3Store) -> None:
    items = Counted()
    stream = store.get_many(items, max_concurrency=4)
    next(stream)
    time.sleep(0.2)
    assert len(fault_server.requests) <= 9
    stream.close()


def test_a_slow_iterator_does_not_hold_back_what_is_there(fault_server: FaultServer, store: S3Store) -> None:
    def slowly() -> Iterator[str]:
        for path in small(8):
            time.sleep(0.3)
            pulled.append(path)
            yield path

    pulled: list[str] = []
    for number, _ in enumerate(store.get_many(slowly(), max_concurrency=8), 1):
        assert len(pulled) <= number + 3
    assert len(fault_server.requests) == 8


async def test_a_blocking_iterator_does_not_block_the_loop(store: S3Store) -> None:
    gate = threading.Event()

    def blocking() -> Iterator[str]:
        yield "small/1"
        gate.wait(30)
        yield "small/2"

    stream = store.get_many(blocking())
    assert (await anext(stream)).path == "small/1"
    following = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0.05)
    assert not following.done()
    gate.set()
    assert (await following).path == "small/2"
    assert [item async for item in stream] == []


async def test_an_async_iterator_may_wait_for_results(store: S3Store) -> None:
    turn = asyncio.Queue[str]()
    turn.put_nowait("small/1")

    async def fed() -> AsyncIterator[str]:
        for _ in range(5):
            yield await turn.get()

    count = 0
    async for _ in store.get_many(fed()):
        count += 1
        turn.put_nowait(f"small/{count + 1}")
    assert count == 5


def test_an_error_of_the_iterator_comes_behind_the_results(store: S3Store) -> None:
    def failing() -> Iterator[str]:
        yield from small(3)
        raise LookupError("no more keys")

    for errors in ("raise", "return"):
        stream = store.get_many(failing(), errors=errors, ordered=True)
        assert [next(stream).index for _ in range(3)] == [0, 1, 2]
        with pytest.raises(LookupError, match="no more keys"):
            next(stream)
        assert list(stream) == []


async def test_an_error_of_an_async_iterator(store: S3Store) -> None:
    async def failing() -> AsyncIterator[str]:
        for path in small(3):
            yield path
        raise LookupError("no more keys")

    stream = store.get_many(failing(), ordered=True)
    assert [(await anext(stream)).index for _ in range(3)] == [0, 1, 2]
    with pytest.raises(LookupError, match="no more keys"):
        await anext(stream)


@pytest.mark.parametrize("item", [None, 7, b"path", (), ("path", None, None), (1, 2), ["path", 0]])
def test_what_is_no_item(item: Any) -> None:
    with pytest.raises(TypeError, match="an item of get_many is"):
        list(MemoryStore().get_many([item], errors="return"))
    with pytest.raises(TypeError, match="an item of put_many is"):
        list(MemoryStore().put_many([item], errors="return"))


def test_an_item_that_is_wrong_is_named() -> None:
    store = MemoryStore()
    with pytest.raises(ValueError, match="'a/key': the range is empty"):
        list(store.get_many([("a/key", 5, 0)]))
    with pytest.raises(TypeError, match="'a/key': it takes bytes"):
        list(store.put_many([("a/key", iter([b"x"]))]))  # type: ignore[list-item]


def test_arguments_are_checked_at_the_call() -> None:
    store: Any = MemoryStore()
    for most in (0, -1, True, 1.5, None):
        with pytest.raises(ValueError, match="max_concurrency"):
            store.get_many([], max_concurrency=most)
        with pytest.raises(ValueError, match="max_concurrency"):
            store.futures.get_many([], max_concurrency=most)
    with pytest.raises(ValueError, match="errors"):
        store.put_many([], errors="ignore")
    for items in ("path", b"path", None, 3):
        with pytest.raises(TypeError, match="items"):
            store.get_many(items)


def test_an_async_iterable_needs_an_async_loop() -> None:
    with pytest.raises(TypeError, match="async for"):
        next(MemoryStore().get_many(Counted().run()))


# -- the budget


@pytest.fixture
def budget() -> Iterator[int]:
    """A small budget of the process."""
    before = cumulo.runtime.stats()["memory_bytes"]
    cumulo.runtime.configure(memory_bytes=24 * MIB)
    yield 24 * MIB
    cumulo.runtime.configure(memory_bytes=before)


@pytest.mark.parametrize("ordered", [False, True])
def test_large_objects_stay_within_the_budget(
    fault_server: FaultServer, store: S3Store, budget: int, ordered: bool
) -> None:
    fault_server.script("/bucket/large/*", Object(b"L" * 6 * MIB))
    before = cumulo.runtime.stats()["buffer_bytes"]
    count = 0
    for item in store.get_many((f"large/{number}" for number in range(16)), ordered=ordered):
        assert len(item.bytes) == 6 * MIB
        # One result is ours, and no longer the stream's; buffers are rounded up.
        assert cumulo.runtime.stats()["buffer_bytes"] - before <= budget + 7 * MIB
        time.sleep(0.01)
        count += 1
    assert count == 16


def test_the_first_in_order_gets_its_memory_whatever_the_others_hold(
    fault_server: FaultServer, store: S3Store, budget: int
) -> None:
    fault_server.script("/bucket/large/*", Object(b"L" * 6 * MIB))
    fault_server.script("/bucket/first", Faulty(Object(b"1" * budget), Delay(0.3)))
    paths = ["first", *(f"large/{number}" for number in range(8))]
    sizes = [len(item.bytes) for item in store.get_many(paths, ordered=True)]
    assert sizes == [budget] + [6 * MIB] * 8


def test_two_streams_share_the_budget_and_both_end(fault_server: FaultServer, store: S3Store, budget: int) -> None:
    fault_server.script("/bucket/large/*", Object(b"L" * 6 * MIB))
    streams = [store.get_many([f"large/{number}" for number in range(6)]) for _ in range(2)]
    first = [next(stream) for stream in streams]  # both hold some now
    counts = [len(list(stream)) for stream in streams]
    assert counts == [5, 5]
    assert len(first) == 2


def test_contents_to_be_put_are_pulled_within_the_budget(store: S3Store, budget: int) -> None:
    pulled = 0

    def contents() -> Iterator[tuple[str, bytes]]:
        nonlocal pulled
        for number in range(20):
            pulled += 1
            yield f"small/{number}", b"c" * (8 * MIB)

    stream = store.put_many(contents(), chunk_size=16 * MIB)
    for number, _ in enumerate(stream, 1):
        assert pulled <= number + budget // (8 * MIB) + 2
    assert pulled == 20


# -- who reads


def test_a_stream_may_move_to_another_thread(fault_server: FaultServer, store: S3Store, tmp_path: Path) -> None:
    local = LocalStore(tmp_path)
    for number in range(30):
        local.put(f"small/{number}", b"small")
    for each in (store, local):
        stream = each.get_many(small(30), max_concurrency=4)
        count = 1 if next(stream) else 0
        for _ in range(3):
            with ThreadPoolExecutor(1) as pool:
                pool.submit(lambda stream=stream: [next(stream) for _ in range(5)]).result(30)
        count += 15 + len(list(stream))
        assert count == 30


def test_one_reader_at_a_time(fault_server: FaultServer, store: S3Store) -> None:
    stream = store.get_many(["stalls/1"])
    thread = threading.Thread(target=lambda: list(stream))
    thread.start()
    fault_server.wait_for(lambda: fault_server.stalled == 1)
    with pytest.raises(RuntimeError, match="another thread or task"):
        next(stream)
    fault_server.release()
    thread.join()


async def test_one_way_of_reading(store: S3Store) -> None:
    stream = store.get_many(small(300), max_concurrency=1)
    next(stream)
    next(stream)
    next(stream)
    with pytest.raises(RuntimeError, match="async for"):
        await anext(stream)


async def test_the_loop_goes_on_meanwhile(store: S3Store) -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0)
            ticks += 1

    ticking = asyncio.ensure_future(tick())
    assert len([item async for item in store.get_many(small(200))]) == 200
    ticking.cancel()
    assert ticks > 5


# -- futures


def test_futures_are_submitted_as_they_are_asked_for(fault_server: FaultServer, store: S3Store) -> None:
    items = Counted("stalls")
    futures = store.futures.get_many(items, max_concurrency=3)
    begun = [next(futures) for _ in range(3)]
    fault_server.wait_for(lambda: fault_server.stalled == 3)
    assert items.taken == 3
    waiting = ThreadPoolExecutor(1).submit(next, futures)
    time.sleep(0.05)
    assert not waiting.done()
    assert items.taken == 3
    begun[0].cancel()
    fourth = waiting.result(30)
    assert items.taken == 4
    with pytest.raises(CancelledError):
        begun[0].result(30)
    fault_server.wait_for(lambda: len(fault_server.requests) == 4)
    for future in (*begun[1:], fourth):
        future.cancel()
    fault_server.wait_for(lambda: closed(fault_server))


def test_a_callback_may_ask_for_more_futures(store: S3Store) -> None:
    done = threading.Event()
    found: list[int] = []

    def read(_: Any) -> None:
        found.extend(future.result().index for future in store.futures.get_many(small(20), max_concurrency=2))
        done.set()

    store.futures.get("small/1").add_done_callback(read)
    assert done.wait(30)
    assert found == list(range(20))


def test_futures_of_local_files(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    put = [future.result(30).path for future in store.futures.put_many((path, b"small") for path in small(40))]
    assert put == small(40)
    assert [future.result(30).bytes for future in store.futures.get_many(iter(put))] == [b"small"] * 40
