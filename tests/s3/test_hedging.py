"""`client_options={"hedge": True}`: slow answers are asked for twice, by every way to call; nothing else changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import cumulo as obs
from cumulo.store import S3Store
from tests.faults import FaultServer, Object, Request, Response, Stall, Step

from .support import fault_store

DATA = bytes(range(256)) * 40
Read = Callable[[S3Store, str], bytes]


def get(store: S3Store, path: str) -> bytes:
    """Synchronously."""
    return bytes(store.get(path).bytes())


def get_range(store: S3Store, path: str) -> bytes:
    """By the short cut."""
    return bytes(store.get_range(path, start=0, end=len(DATA)))


def get_ranges(store: S3Store, path: str) -> bytes:
    """In two halves, a request each."""
    half = len(DATA) // 2
    return b"".join(map(bytes, store.get_ranges(path, starts=[0, half], lengths=[half, half], coalesce=0)))


def stream(store: S3Store, path: str) -> bytes:
    """In chunks."""
    return b"".join(store.get(path).stream(min_chunk_size=1000))


def get_async(store: S3Store, path: str) -> bytes:
    """On an event loop."""

    async def run() -> bytes:
        return bytes(await (await obs.get_async(store, path)).bytes_async())

    return asyncio.run(run())


def get_range_async(store: S3Store, path: str) -> bytes:
    """On an event loop, by the short cut."""

    async def run() -> bytes:
        return bytes(await store.get_range_async(path, start=0, end=len(DATA)))

    return asyncio.run(run())


def futures(store: S3Store, path: str) -> bytes:
    """By a future."""
    return bytes(store.futures.get(path).result(30).bytes())


WAYS: list[Read] = [get, get_range, get_ranges, stream, get_async, get_range_async, futures]


def hedging(server: FaultServer, *, hedge: bool = True, **options: Any) -> S3Store:
    """A store that knows how long answers take."""
    server.script("/bucket/key", Object(DATA))
    store = fault_store(server, skip_signature=True, client_options={"hedge": hedge, **options})
    for _ in range(20):
        before = store.stats()["hedges"]
        for _ in range(150):
            store.get_range("key", start=0, end=10)
        if store.stats()["hedges"] == before:  # none used up for a busy machine's own slow answers
            break
    return store


def never_at_first(times: int = 1) -> list[Step]:
    """No answer to so many requests, the object to all others."""
    return [*[Response(200, DATA).having(Stall())] * times, Object(DATA)]


@pytest.mark.parametrize("read", WAYS, ids=lambda read: read.__name__)
def test_another_answer_is_used(fault_server: FaultServer, read: Read) -> None:
    store = hedging(fault_server)
    fault_server.script("/bucket/slow", never_at_first())
    before, hedges = fault_server.connections.closed_by_peer, store.stats()["hedges"]
    assert read(store, "slow") == DATA
    stats = store.stats()
    assert stats["hedges"] > hedges
    assert (stats["retries"], stats["errors"]) == (0, 0)
    fault_server.wait_for(lambda: fault_server.connections.closed_by_peer > before)  # the slow one, on the wire
    assert read(store, "key") == DATA


def test_off_unless_asked_for(fault_server: FaultServer) -> None:
    store = hedging(fault_server, hedge=False, read_timeout="1s")
    fault_server.script("/bucket/slow", never_at_first())
    before = store.stats()["retries"]
    assert get(store, "slow") == DATA
    assert (store.stats()["hedges"], store.stats()["retries"] - before) == (0, 1)


def test_the_callers_memory_is_written_by_one(fault_server: FaultServer) -> None:
    """The slow answer comes after all, when the call is over."""
    store = hedging(fault_server)
    other = Object(DATA[::-1], etag=Object(DATA).current_etag)
    fault_server.script("/bucket/slow", [lambda request: other(request).having(Stall()), Object(DATA)])
    memory = bytearray(len(DATA))
    store.get_range_into("slow", memory, start=0, end=len(DATA))
    assert memory == DATA
    fault_server.release()
    fault_server.wait_for(lambda: fault_server.stalled == 0)
    assert get(store, "key") == DATA
    assert memory == DATA


def test_one_in_twenty_at_most(fault_server: FaultServer) -> None:
    store = hedging(fault_server)
    before, seen = store.stats()["requests"], 0

    def sometimes(request: Request) -> Response:
        nonlocal seen
        seen += 1
        return Object(DATA)(request).having(*[Stall(seconds=0.05)] * (seen % 4 == 0))

    fault_server.script("/bucket/often", sometimes)

    async def run() -> None:
        for _ in range(20):
            await asyncio.gather(*(store.get_range_async("often", start=0, end=10) for _ in range(10)))

    asyncio.run(run())
    stats = store.stats()
    assert stats["requests"] == before + 200
    assert 1 <= stats["hedges"] <= stats["requests"] / 20


@pytest.mark.parametrize("operation", ["put", "delete", "head", "list"])
def test_only_objects_are_read_twice(fault_server: FaultServer, operation: str) -> None:
    store = hedging(fault_server, read_timeout="1s")
    page = Response.xml("<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>")
    last = {"put": Response(200, headers=(("ETag", '"a"'),)), "delete": Response(204), "list": page}
    path = "/bucket" if operation == "list" else "/bucket/slow"
    fault_server.script(path, [Response(200).having(Stall()), last.get(operation, Object(DATA))])
    before = store.stats()
    if operation == "put":
        store.put("slow", b"content")
    elif operation == "list":
        store.list().collect()
    else:
        getattr(store, operation)("slow")
    after = store.stats()
    assert (after["hedges"] - before["hedges"], after["retries"] - before["retries"]) == (0, 1)
