"""Gets of large objects in parallel parts: what goes over the wire, and that the content is whole or an error."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import cumulo
from cumulo.exceptions import BaseError, ChecksumError, NotFoundError, ObjectChangedError
from cumulo.store import S3Store
from tests.faults import Cut, FaultServer, Faulty, Flip, Object, Request, Response, Stall

from .support import MIB, PATH, fault_store

DATA = os.urandom(5 * MIB + 12_345)
PART = MIB
RANGES = [f"bytes={start}-{min(start + PART, len(DATA)) - 1}" for start in range(PART, len(DATA), PART)]


def _start(request: Request) -> int:
    wanted = request.header("range")
    return int(wanted.removeprefix("bytes=").split("-")[0]) if wanted else 0


def _whole(result: Any) -> bytes:
    return bytes(result.bytes())


def _streamed(result: Any) -> bytes:
    return b"".join(result.stream(min_chunk_size=300_000))


def _streamed_async(result: Any) -> bytes:
    async def run() -> bytes:
        return b"".join([chunk async for chunk in result.stream(min_chunk_size=MIB)])

    return asyncio.run(run())


consume = pytest.mark.parametrize("consume", [_whole, _streamed, _streamed_async])


@consume
def test_the_requests_there_are(fault_server: FaultServer, faulty: S3Store, consume: Callable[[Any], bytes]) -> None:
    obj = Object(DATA)
    fault_server.script(PATH, obj)
    result = faulty.get("key", part_size=PART)
    assert [request.header("range") for request in fault_server.requests] == [None]
    assert consume(result) == DATA
    first, *others = fault_server.requests
    assert (first.header("range"), first.header("if-match")) == (None, None)
    assert {other.header("if-match") for other in others} == {obj.current_etag}
    assert min(_start(other) for other in others) <= PART
    if consume is _whole:
        assert sorted(other.header("range") or "" for other in others) == sorted(RANGES)


@consume
def test_one_at_a_time_is_one_request(
    fault_server: FaultServer, faulty: S3Store, consume: Callable[[Any], bytes]
) -> None:
    fault_server.script(PATH, Object(DATA))
    assert consume(faulty.get("key", part_size=PART, max_concurrency=1)) == DATA
    assert len(fault_server.requests) == 1


def test_what_fits_into_a_part_is_one_request(fault_server: FaultServer, faulty: S3Store) -> None:
    fault_server.script(PATH, Object(DATA))
    assert faulty.get("key", part_size=len(DATA)).bytes() == DATA
    assert len(fault_server.requests) == 1


def test_a_result_that_is_not_consumed_is_one_request(fault_server: FaultServer, faulty: S3Store) -> None:
    fault_server.script(PATH, Object(DATA))
    result = faulty.get("key", part_size=PART)
    assert result.meta["size"] == len(DATA)
    del result
    gc.collect()
    assert len(fault_server.requests) == 1


@consume
def test_a_range_in_parts(fault_server: FaultServer, faulty: S3Store, consume: Callable[[Any], bytes]) -> None:
    fault_server.script(PATH, Object(DATA))
    result = faulty.get("key", options={"range": (1000, len(DATA) - 7)}, part_size=PART)
    assert (result.range, result.meta["size"]) == ((1000, len(DATA) - 7), len(DATA))
    assert consume(result) == DATA[1000:-7]


@consume
@pytest.mark.parametrize("etag", ['W/"weak"', ""])
def test_without_a_strong_etag_it_is_one_stream(
    fault_server: FaultServer, faulty: S3Store, consume: Callable[[Any], bytes], etag: str
) -> None:
    obj = Object(DATA, etag=etag)

    def step(request: Request) -> Response:
        return obj(request) if etag else obj(request).header("ETag", None)

    fault_server.script(PATH, step)
    assert consume(faulty.get("key", part_size=PART)) == DATA
    assert len(fault_server.requests) == 1


@consume
def test_a_server_that_ignores_ranges(
    fault_server: FaultServer, faulty: S3Store, consume: Callable[[Any], bytes]
) -> None:
    fault_server.script(PATH, Object(DATA, ranges="ignored"))
    assert consume(faulty.get("key", part_size=PART, max_concurrency=3)) == DATA
    assert sum(request.header("range") is None for request in fault_server.requests) == 1


@consume
def test_a_server_that_says_it_has_no_ranges(
    fault_server: FaultServer, faulty: S3Store, consume: Callable[[Any], bytes]
) -> None:
    obj = Object(DATA, ranges="ignored")
    fault_server.script(PATH, lambda request: obj(request).header("Accept-Ranges", "none"))
    assert consume(faulty.get("key", part_size=PART)) == DATA
    assert len(fault_server.requests) == 1


def _changing(obj: Object, after: int) -> Callable[[Request], Response]:
    seen = 0

    def step(request: Request) -> Response:
        nonlocal seen
        seen += 1
        if seen == after:
            obj.replace(os.urandom(len(DATA)))
        return obj(request)

    return step


@consume
@pytest.mark.parametrize("after", [2, 4])
@pytest.mark.parametrize("conditions", [True, False])
def test_an_object_that_changes_midway(
    fault_server: FaultServer, faulty: S3Store, consume: Callable[[Any], bytes], after: int, conditions: bool
) -> None:
    """By the condition (412), and where a server takes no notice of it by the ETags of its answers."""
    obj = Object(DATA)
    before = obj.current_etag
    step = _changing(obj, after)

    def deaf(request: Request) -> Response:
        request.headers[:] = [pair for pair in request.headers if pair[0].lower() != "if-match"]
        return step(request)

    fault_server.script(PATH, step if conditions else deaf)
    with pytest.raises(ObjectChangedError) as caught:
        consume(faulty.get("key", part_size=PART, max_concurrency=3))
    assert before in str(caught.value)
    assert obj.current_etag in str(caught.value)
    assert caught.value.path == "key"


@consume
def test_an_object_deleted_midway(fault_server: FaultServer, faulty: S3Store, consume: Callable[[Any], bytes]) -> None:
    fault_server.script(PATH, [Object(DATA), Response.error(404, "NoSuchKey")])
    with pytest.raises(NotFoundError):
        consume(faulty.get("key", part_size=PART))


@consume
@pytest.mark.parametrize("how", ["fin", "rst"])
def test_parts_that_are_cut_go_on(
    fault_server: FaultServer, faulty: S3Store, consume: Callable[[Any], bytes], how: Any
) -> None:
    obj = Object(DATA)
    cut = Faulty(obj, Cut(600_000, how))
    fault_server.script(PATH, [cut, obj, cut, cut, obj])
    assert consume(faulty.get("key", part_size=PART, max_concurrency=2)) == DATA


@consume
def test_a_part_that_fails_for_good(
    fault_server: FaultServer, faulty: S3Store, consume: Callable[[Any], bytes]
) -> None:
    obj = Object(DATA)

    def step(request: Request) -> Response:
        refused = _start(request) >= 2 * PART
        return Response.error(403, "AccessDenied") if refused else obj(request)

    fault_server.script(PATH, step)
    with pytest.raises(PermissionError):
        consume(faulty.get("key", part_size=PART))


@consume
@pytest.mark.parametrize("algorithm", ["crc32", "crc32c", "crc64nvme", "sha256", "sha1", "md5"])
def test_the_whole_is_checked(
    fault_server: FaultServer, faulty: S3Store, consume: Callable[[Any], bytes], algorithm: str
) -> None:
    """Against the checksum of all content: from the CRC of each part, or made of all of it in order."""
    data = DATA[: 4 * MIB + 70_001]
    obj = Object(data, checksums=[algorithm])
    fault_server.script(PATH, obj)
    assert consume(faulty.get("key", part_size=PART)) == data

    def flipped(request: Request) -> Response:
        damaged = _start(request) >= 2 * PART
        return obj(request).having(Flip(1000)) if damaged else obj(request)

    fault_server.script(PATH, flipped)
    with pytest.raises(ChecksumError, match="key"):
        consume(faulty.get("key", part_size=PART))


@consume
@pytest.mark.parametrize("algorithm", ["crc32", "sha256"])
def test_the_whole_is_checked_by_a_server_that_ignores_ranges(
    fault_server: FaultServer, faulty: S3Store, consume: Callable[[Any], bytes], algorithm: str
) -> None:
    obj = Object(DATA, checksums=[algorithm], ranges="ignored")
    fault_server.script(PATH, obj)
    assert consume(faulty.get("key", part_size=PART)) == DATA
    fault_server.script(PATH, Faulty(obj, Flip(4 * MIB)))
    with pytest.raises(BaseError):
        consume(faulty.get("key", part_size=PART))


def _all_stopped(server: FaultServer) -> bool:
    """Whether each connection that has carried a request is closed; others may have been made, and wait for one."""
    return all(each.closed is not None for each in server.connections.all if each.requests)


async def _until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110 - it is the server's state
        await asyncio.sleep(0.01)


def test_a_stream_dropped_midway_stops_all(fault_server: FaultServer, faulty: S3Store) -> None:
    obj = Object(DATA)
    stalled = Faulty(obj, Stall(1000))
    fault_server.script(PATH, lambda request: stalled(request) if request.header("range") else obj(request))
    stream = iter(faulty.get("key", part_size=PART).stream(min_chunk_size=100_000))
    next(stream)
    del stream
    gc.collect()
    deadline = time.monotonic() + 30
    while not _all_stopped(fault_server) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert _all_stopped(fault_server)


@pytest.mark.parametrize("how", ["bytes_async", "stream"])
def test_a_cancel_stops_all(fault_server: FaultServer, faulty: S3Store, how: str) -> None:
    obj = Object(DATA)
    fault_server.script(PATH, Faulty(obj, Stall(1000)))

    async def run() -> None:
        result = await faulty.get_async("key", part_size=PART)
        waiting = result.bytes_async() if how == "bytes_async" else anext(result.stream(min_chunk_size=MIB))
        await _until(lambda: len(fault_server.requests) >= 3)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        del result, waiting
        gc.collect()
        await _until(lambda: _all_stopped(fault_server))

    asyncio.run(asyncio.wait_for(run(), 60))


def test_a_stream_stays_within_the_budget(fault_server: FaultServer) -> None:
    """Parts ahead of the reader take their memory from the budget: where it is used up, one part at a time comes."""
    data = os.urandom(24 * MIB)
    fault_server.script(PATH, Object(data))
    store = fault_store(fault_server)
    cumulo.runtime.configure(memory_bytes=3 * MIB)
    try:
        before = cumulo.runtime.stats()["buffer_bytes"]
        most, got = 0, []
        for chunk in store.get("key", part_size=MIB).stream(min_chunk_size=MIB):
            most = max(most, cumulo.runtime.stats()["buffer_bytes"] - before)
            got.append(chunk)
        assert b"".join(got) == data
        assert most <= 3 * MIB
    finally:
        cumulo.runtime.configure(memory_bytes=1 << 30)
    gc.collect()
    fault_server.wait_for(lambda: cumulo.runtime.stats()["buffer_bytes"] <= before)


def test_a_stream_that_goes_from_thread_to_thread_and_back(fault_server: FaultServer) -> None:
    """A part that another thread has started, which did not wait for it, is heard of by the one that does."""
    obj, stalls = Object(DATA), {0: Stall(500_000), 2 * PART: Stall()}
    fault_server.script(
        PATH, lambda request: obj(request).having(*[stalls[at] for at in stalls if at == _start(request)])
    )
    stream = fault_store(fault_server).get("key", part_size=PART, max_concurrency=2).stream(PART)

    def next_on(thread: ThreadPoolExecutor) -> bytes:
        """Let it wait for a part that its server keeps back until then."""
        chunk = thread.submit(next, stream)
        fault_server.wait_for(lambda: fault_server.stalled == 1)
        time.sleep(0.2)
        fault_server.release()
        return chunk.result(30)

    with ThreadPoolExecutor(1) as here, ThreadPoolExecutor(1) as there:
        got = [next_on(here)]
        fault_server.wait_for(lambda: fault_server.requests[1].answered)
        time.sleep(0.2)
        got += [there.submit(next, stream).result(30), next_on(here)]
    assert b"".join(got) == DATA[: 3 * PART]


ORIGINS: dict[str, Callable[[bytes], Any]] = {
    "honest": Object,
    "ignores ranges": lambda data: Object(data, ranges="ignored"),
    "ignores later ranges": lambda data: [Object(data), Object(data, ranges="ignored")],
    "breaks off": lambda data: Faulty(Object(data), Cut(700_000)),
    "breaks off early": lambda data: [Object(data), Faulty(Object(data), Cut(100_000)), Object(data)],
}


@pytest.mark.parametrize("origin", ORIGINS)
@pytest.mark.parametrize("chunk", [64 * 1024, 300_000, 2 * MIB])
def test_streams_read_halfway_stay_within_the_budget(fault_server: FaultServer, origin: str, chunk: int) -> None:
    """Each has the chunk that is read next, not a part: and all end well, whichever goes on first."""
    data, count = os.urandom(9 * MIB), 12
    for number in range(count):
        fault_server.script(f"/bucket/{number}", ORIGINS[origin](data))
    store = fault_store(fault_server)
    cumulo.runtime.configure(memory_bytes=4 * MIB)
    try:
        before, most = cumulo.runtime.stats()["buffer_bytes"], 0
        streams = [store.get(f"{number}", part_size=4 * MIB).stream(chunk) for number in range(count)]
        got = [[next(stream), next(stream)] for stream in streams]
        most = cumulo.runtime.stats()["buffer_bytes"] - before
        for stream, chunks in [*zip(streams, got, strict=True)][::-1]:
            for each in stream:
                chunks.append(each)
                most = max(most, cumulo.runtime.stats()["buffer_bytes"] - before)
    finally:
        cumulo.runtime.configure(memory_bytes=1 << 30)
    assert all(b"".join(chunks) == data for chunks in got)
    assert most <= 4 * MIB + count * chunk


WRONG = [("part_size", wrong) for wrong in (0, 1000, "8MiB", True)] + [("max_concurrency", 0), ("max_concurrency", 1.5)]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_arguments_that_make_no_sense(fault_server: FaultServer, faulty: S3Store, name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=name):
        faulty.get("key", **{name: value})
    assert not fault_server.requests


def test_a_large_range_is_fetched_in_parts(fault_server: FaultServer, faulty: S3Store) -> None:
    data = os.urandom(20 * MIB)
    fault_server.script(PATH, Object(data))
    assert faulty.get_range("key", start=10, end=20 * MIB - 10) == data[10:-10]
    assert len(fault_server.requests) == 3
    assert asyncio.run(_range(faulty)) == data[10:-10]


async def _range(store: S3Store) -> bytes:
    return bytes(await store.get_range_async("key", start=10, end=20 * MIB - 10))


@pytest.mark.parametrize("most", [2, 3, 16])
@pytest.mark.parametrize("chunk", [1, 65_536, 100_000, MIB, 2 * MIB, 7 * MIB])
@pytest.mark.parametrize("part", [65_536, 70_000, MIB, 3 * MIB + 1])
@pytest.mark.parametrize("ranges", ["honest", "ignored"])
def test_chunks_and_parts_of_any_sizes(
    fault_server: FaultServer, faulty: S3Store, ranges: Any, part: int, chunk: int, most: int
) -> None:
    fault_server.script(PATH, Object(DATA, ranges=ranges))
    chunks = list(faulty.get("key", part_size=part, max_concurrency=most).stream(min_chunk_size=chunk))
    assert b"".join(chunks) == DATA
    assert all(len(each) >= chunk for each in chunks[:-1])


@pytest.mark.parametrize("most", [1, 4])
def test_a_stream_that_was_broken_off_does_not_end(fault_server: FaultServer, faulty: S3Store, most: int) -> None:
    """Its content would seem to be whole."""
    obj = Object(DATA)
    fault_server.script(PATH, Faulty(obj, Stall(MIB + 1000)))

    async def run() -> None:
        stream = (await faulty.get_async("key", part_size=2 * MIB, max_concurrency=most)).stream(min_chunk_size=MIB)
        assert await anext(stream) == DATA[:MIB]
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(anext(stream), 0.2)
        with pytest.raises(RuntimeError, match="broken off"):
            await anext(stream)

    asyncio.run(run())
